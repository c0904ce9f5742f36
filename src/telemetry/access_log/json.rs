//! Writes one flat JSON object, whatever bytes its texts are made of.

use std::fmt::Display;
use std::io::Write;

/// What stands in the place of bytes that are not UTF-8.
const REPLACEMENT: &str = "\u{fffd}";

/// An object that is being written at the end of a buffer.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            out,
            is_empty: true,
        }
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    /// A text of any bytes.
    pub(super) fn text(&mut self, key: &str, value: &[u8]) {
        self.cut_text(key, value, false);
    }

    /// The same, with a mark at its end where more of it was cut off.
    pub(super) fn cut_text(&mut self, key: &str, value: &[u8], is_cut: bool) {
        self.key(key);
        self.out.push(b'"');
        escape(value, self.out);
        if is_cut {
            self.out.extend_from_slice("…".as_bytes());
        }
        self.out.push(b'"');
    }

    /// A text of ours that needs no escaping.
    pub(super) fn word(&mut self, key: &str, value: impl Display) {
        self.bare(key, format_args!("\"{value}\""));
    }

    /// The same, or `null`.
    pub(super) fn word_or_null(&mut self, key: &str, value: Option<impl Display>) {
        match value {
            Some(value) => self.word(key, value),
            None => self.bare(key, "null"),
        }
    }

    /// A number, `true`, `false` or `null`.
    pub(super) fn bare(&mut self, key: &str, value: impl Display) {
        self.key(key);
        // Writing to memory cannot fail.
        let _ = write!(self.out, "{value}");
    }

    fn key(&mut self, key: &str) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

/// Appends a text as it stands between quotes. Control characters of every kind are escaped, those
/// too that JSON would allow: whoever looks at a log in a terminal must not be steered by it.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                control if control.is_control() => {
                    // Controls end at U+009F; writing to memory cannot fail.
                    let _ = write!(out, "\\u{:04x}", u32::from(control));
                }
                plain => out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(REPLACEMENT.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_text_or_steer_a_terminal_is_escaped() {
        let escaped = |text: &[u8]| {
            let mut out = Vec::new();
            escape(text, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(escaped(b"a\"b\\c"), r#"a\"b\\c"#);
        assert_eq!(
            escaped(b"\n\r\x1b[31m\x7f"),
            r"\u000a\u000d\u001b[31m\u007f"
        );
        assert_eq!(escaped("\u{9b}31m".as_bytes()), r"\u009b31m");
        assert_eq!(escaped("größe 灰度".as_bytes()), "größe 灰度");
        assert_eq!(escaped(b"a\xff\xc3"), "a\u{fffd}\u{fffd}");
    }
}
