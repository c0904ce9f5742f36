//! One head: where it ends, and what it says of the body.

use memchr::memchr;

use crate::proxy::framing::{HEAD_BYTES_MAX, Refusal};

/// The longest method, in bytes. The longest that is registered has 17 (`UPDATEREDIRECTREF`).
const METHOD_BYTES_MAX: usize = 64;

/// The longest target, in bytes. Everyone should take 8,000 (RFC 9112, section 3).
const TARGET_BYTES_MAX: usize = 16 * 1024;

/// The most empty lines before a head. Some clients send one after the body of a `POST`.
const EMPTY_LINES_MAX: usize = 4;

/// A whole head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// So many bytes, with empty lines before it and the one after it.
    pub(super) length: usize,
    pub(super) body: Body,
    /// Whether it has a field `Upgrade`.
    pub(super) wants_switch: bool,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Length(u64),
    Chunked,
}

/// What the fields so far say of framing.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    is_chunked: bool,
    wants_switch: bool,
}

/// Reads the head that bytes begin with; `None` where it is not whole.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Head>, Refusal> {
    let mut lines = Lines::of(bytes);
    let mut empty = 0;
    let request_line = loop {
        match lines.next()? {
            None => return Ok(None),
            Some([]) if empty < EMPTY_LINES_MAX => empty += 1,
            Some(line) => break line,
        }
    };
    let is_http_10 = check_request_line(request_line)?;
    let mut fields = Fields::default();
    loop {
        match lines.next()? {
            None => return Ok(None),
            Some([]) => break,
            Some(field) => fields.take(field)?,
        }
    }
    if lines.start > HEAD_BYTES_MAX {
        return Err(Refusal::HeadTooLong);
    }
    let body = match (fields.length, fields.is_chunked) {
        (Some(_), true) => return Err(Refusal::TwoLengths),
        (None, true) if is_http_10 => return Err(Refusal::BadEncoding),
        (None, true) => Body::Chunked,
        (length, false) => Body::Length(length.unwrap_or(0)),
    };
    Ok(Some(Head {
        length: lines.start,
        body,
        wants_switch: fields.wants_switch,
    }))
}

/// Lines that end with CRLF.
struct Lines<'a> {
    bytes: &'a [u8],
    /// Where the next one begins.
    start: usize,
    /// Where the word lies in which ends are looked for.
    word: usize,
    /// A bit for each byte of it that is an LF and was not come to.
    ends: u64,
}

impl<'a> Lines<'a> {
    const fn of(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            start: 0,
            word: 0,
            ends: 0,
        }
    }

    /// The next line without its end; `None` where it is not whole.
    fn next(&mut self) -> Result<Option<&'a [u8]>, Refusal> {
        let Some(end) = self.next_end() else {
            return Ok(None);
        };
        let line = &self.bytes[self.start..end];
        self.start = end + 1;
        match line.split_last() {
            Some((b'\r', line)) => Ok(Some(line)),
            _ => Err(Refusal::BareLineEnd),
        }
    }

    /// Where the next LF is. Eight bytes at a time: lines are short, and a search that is set up for
    /// each of them costs more than it finds.
    fn next_end(&mut self) -> Option<usize> {
        while self.ends == 0 {
            let word = self.bytes[self.word..].first_chunk::<8>();
            let Some(word) = word else {
                return self.last_end();
            };
            self.ends = line_feeds(u64::from_le_bytes(*word));
            self.word += 8;
        }
        let place = self.ends.trailing_zeros() as usize / 8;
        self.ends &= self.ends - 1;
        Some(self.word - 8 + place)
    }

    /// The same behind the last whole word.
    fn last_end(&self) -> Option<usize> {
        let from = self.word.max(self.start);
        let rest = self.bytes[from..].iter();
        rest.copied()
            .position(|byte| byte == b'\n')
            .map(|place| from + place)
    }
}

/// Where the line feeds are.
#[cfg(test)]
pub(super) fn ends(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let mut lines = Lines::of(bytes);
    std::iter::from_fn(move || {
        let end = lines.next_end()?;
        lines.start = end + 1;
        Some(end)
    })
}

/// The high bit of each byte that is an LF, and of no other: those below the first are exact, and so are
/// all others, since none can borrow from them (Warren, Hacker's Delight, section 6-1).
const fn line_feeds(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let differs = word ^ 0x0a0a_0a0a_0a0a_0a0a;
    !(((differs & LOW) + LOW) | differs | LOW)
}

/// Looks at a method, a target and a version; tells whether it is HTTP/1.0.
fn check_request_line(line: &[u8]) -> Result<bool, Refusal> {
    let Some((rest, version)) = line.split_last_chunk::<8>() else {
        return Err(Refusal::BadRequestLine);
    };
    let Some((b' ', rest)) = rest.split_last() else {
        return Err(Refusal::BadRequestLine);
    };
    // Spaces in a target are refused by hyper.
    let method = rest.iter().position(|byte| *byte == b' ').unwrap_or(0);
    if method == 0 || method + 1 == rest.len() {
        return Err(Refusal::BadRequestLine);
    }
    let is_http_10 = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Refusal::BadVersion);
        }
        _ => return Err(Refusal::BadRequestLine),
    };
    if method > METHOD_BYTES_MAX {
        return Err(Refusal::MethodTooLong);
    }
    if rest.len() - method - 1 > TARGET_BYTES_MAX {
        return Err(Refusal::TargetTooLong);
    }
    Ok(is_http_10)
}

impl Fields {
    /// Takes note of a field if it bears on framing.
    fn take(&mut self, line: &[u8]) -> Result<(), Refusal> {
        match line[0] {
            b't' | b'T' => {
                if let Some(value) = value_of(line, b"transfer-encoding") {
                    if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Refusal::BadEncoding);
                    }
                    self.is_chunked = true;
                }
            }
            b'c' | b'C' => {
                if let Some(value) = value_of(line, b"content-length") {
                    let length = length(value).filter(|_| self.length.is_none());
                    self.length = Some(length.ok_or(Refusal::BadLength)?);
                }
            }
            b'u' | b'U' => self.wants_switch |= value_of(line, b"upgrade").is_some(),
            // It would go on with the line before (obs-fold; RFC 9112, section 5.2).
            b' ' | b'\t' => return Err(Refusal::BadField),
            _ => {}
        }
        Ok(())
    }
}

/// The value of a field, if the line is one of this name. hyper refuses a line whose name does not
/// end at its colon.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (own, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    own.eq_ignore_ascii_case(name).then(|| {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
        let start = value.iter().position(|byte| !is_space(byte));
        let end = value.iter().rposition(|byte| !is_space(byte));
        start
            .zip(end)
            .map_or(&[][..], |(start, end)| &value[start..=end])
    })
}

/// Digits only: no sign, no list, nothing that does not fit.
fn length(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // hyper keeps the greatest two numbers for itself.
    let fits = |length: &u64| *length <= u64::MAX - 2;
    is_number.then(|| text.parse().ok().filter(fits))?
}

/// Whether bytes can end a head of which so many were searched before: whether there is an empty line.
pub(super) fn may_end(bytes: &[u8], searched: usize) -> bool {
    let from = searched.saturating_sub(2);
    let mut ends = memchr::memchr_iter(b'\n', &bytes[from..]);
    ends.any(|end| matches!(&bytes[from + end + 1..], [b'\r', b'\n', ..] | [b'\n', ..]))
}

/// How HTTP/2 begins (RFC 9113, section 3.4), as far as it looks like a head.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// Whether bytes begin as HTTP/2 does.
pub(super) fn is_preface(bytes: &[u8]) -> bool {
    bytes.starts_with(PREFACE)
}

/// Whether bytes may go on so that they do.
pub(super) fn may_be_preface(bytes: &[u8]) -> bool {
    PREFACE.starts_with(bytes)
}

/// Which part of a head that is not whole makes it too long.
pub(super) fn what_is_too_long(bytes: &[u8]) -> Refusal {
    let line = &bytes[..memchr(b'\n', bytes).unwrap_or(bytes.len())];
    match memchr(b' ', line) {
        None | Some(METHOD_BYTES_MAX..) => Refusal::MethodTooLong,
        Some(space) if line.len() - space > TARGET_BYTES_MAX => Refusal::TargetTooLong,
        Some(_) => Refusal::HeadTooLong,
    }
}
