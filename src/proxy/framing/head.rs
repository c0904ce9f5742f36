//! One head: where it ends, and what it says of the body.

use http::Uri;
use memchr::memchr;

use crate::proxy::framing::{Bounds, Refusal};

/// The longest method, in bytes. The longest that is registered has 17 (`UPDATEREDIRECTREF`).
pub(crate) const METHOD_BYTES_MAX: usize = 64;

/// The longest target, in bytes. Everyone should take 8,000 (RFC 9112, section 3).
pub(crate) const TARGET_BYTES_MAX: usize = 16 * 1024;

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

/// The fields so far, and what they say of framing.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    is_chunked: bool,
    wants_switch: bool,
}

/// Reads the head that bytes begin with; `None` where it is not whole.
pub(super) fn read(bytes: &[u8], bounds: Bounds) -> Result<Option<Head>, Refusal> {
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
    let mut left = bounds.fields;
    loop {
        match lines.next()? {
            None => return Ok(None),
            Some([]) => break,
            Some(_) if left == 0 => return Err(Refusal::TooManyFields),
            Some(field) => {
                left -= 1;
                fields.take(field)?;
            }
        }
    }
    if lines.start > bounds.bytes {
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

/// Lines that end with CRLF and hold no other control characters than tabs.
struct Lines<'a> {
    bytes: &'a [u8],
    /// Where the next one begins.
    start: usize,
    /// Where the word ends in which control characters are looked for.
    word: usize,
    /// A bit for each byte of it that is one and was not come to.
    controls: u64,
}

impl<'a> Lines<'a> {
    const fn of(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            start: 0,
            word: 0,
            controls: 0,
        }
    }

    /// The next line without its end; `None` where it is not whole.
    fn next(&mut self) -> Result<Option<&'a [u8]>, Refusal> {
        let Some(at) = self.next_control() else {
            return Ok(None);
        };
        match self.bytes[at..] {
            [b'\r', b'\n', ..] => {
                let line = &self.bytes[self.start..at];
                self.start = at + 2;
                Ok(Some(line))
            }
            [b'\r'] => Ok(None),
            [b'\r' | b'\n', ..] => Err(Refusal::BareLineEnd),
            _ => Err(Refusal::ControlCharacter),
        }
    }

    /// Where the next control character of the line is. Eight bytes at a time: lines are short, and a
    /// search that is set up for each of them costs more than it finds.
    fn next_control(&mut self) -> Option<usize> {
        loop {
            while self.controls == 0 {
                let word = self.bytes[self.word..].first_chunk::<8>();
                let Some(word) = word else {
                    return self.last_control();
                };
                self.controls = controls(u64::from_le_bytes(*word));
                self.word += 8;
            }
            let place = self.word - 8 + self.controls.trailing_zeros() as usize / 8;
            self.controls &= self.controls - 1;
            // The LF of the line before lies behind its CR.
            if place >= self.start && self.bytes[place] != b'\t' {
                return Some(place);
            }
        }
    }

    /// The same behind the last whole word.
    fn last_control(&self) -> Option<usize> {
        let from = self.word.max(self.start);
        let mut rest = self.bytes.get(from..)?.iter();
        let place = rest.position(|byte| byte.is_ascii_control() && *byte != b'\t');
        place.map(|place| from + place)
    }
}

/// The high bit of each byte that is a control character, and of no other: no sum goes beyond its byte
/// (Warren, Hacker's Delight, section 6-1).
const fn controls(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = word & (ONES * 0x7f);
    let is_graphic = low + ONES * 0x60;
    let is_delete = low + ONES;
    (!is_graphic | is_delete) & !word & (ONES * 0x80)
}

/// Where lines end, if all of them end rightly.
#[cfg(test)]
pub(super) fn ends(bytes: &[u8]) -> Result<Vec<usize>, Refusal> {
    let mut lines = Lines::of(bytes);
    let mut ends = Vec::new();
    while lines.next()?.is_some() {
        ends.push(lines.start);
    }
    Ok(ends)
}

/// Looks at a method, a target and a version; tells whether it is HTTP/1.0.
fn check_request_line(line: &[u8]) -> Result<bool, Refusal> {
    let Some((rest, version)) = line.split_last_chunk::<8>() else {
        return Err(Refusal::BadRequestLine);
    };
    let Some((b' ', rest)) = rest.split_last() else {
        return Err(Refusal::BadRequestLine);
    };
    let method = token_length(rest);
    let target = match rest[method..] {
        [b' ', ref target @ ..] if method > 0 && !target.is_empty() => target,
        _ => return Err(Refusal::BadRequestLine),
    };
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
    if target.len() > TARGET_BYTES_MAX {
        return Err(Refusal::TargetTooLong);
    }
    if !is_target(target) {
        return Err(Refusal::BadTarget);
    }
    Ok(is_http_10)
}

/// Which characters something may consist of.
struct Characters([bool; 256]);

impl Characters {
    /// Letters, digits, and more.
    const fn alphanumeric_and(mut more: &[u8]) -> Self {
        let mut all = [false; 256];
        let mut byte = 0_u8;
        while byte < 128 {
            all[byte as usize] = byte.is_ascii_alphanumeric();
            byte += 1;
        }
        while let [first, rest @ ..] = more {
            all[*first as usize] = true;
            more = rest;
        }
        Self(all)
    }

    const fn has(&self, byte: u8) -> bool {
        self.0[byte as usize]
    }
}

/// What methods and names of fields consist of (RFC 9110, section 5.6.2).
static TOKEN: Characters = Characters::alphanumeric_and(b"!#$%&'*+-.^_`|~");

/// What paths and queries consist of that need no second look (RFC 3986, sections 3.3 and 3.4).
static TARGET: Characters = Characters::alphanumeric_and(b"-._~!$&'()*+,;=:@%/?");

/// How long the token is that bytes begin with.
fn token_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    while let Some(word) = bytes[length..].first_chunk::<8>() {
        let others = others(u64::from_le_bytes(*word));
        length += others.trailing_zeros() as usize / 8;
        if others != 0 {
            break;
        }
    }
    // It ends here, most of the time.
    while length < bytes.len() && TOKEN.has(bytes[length]) {
        length += 1;
    }
    length
}

/// The high bit of each byte that is neither letter, digit nor hyphen, and of no other.
const fn others(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = word & (ONES * 0x7f);
    let small = low | (ONES * 0x20);
    let is_letter = (small + ONES * (0x80 - 0x61)) ^ (small + ONES * (0x80 - 0x7b));
    let is_digit = (low + ONES * (0x80 - 0x30)) ^ (low + ONES * (0x80 - 0x3a));
    let differs_from_hyphen = (low ^ (ONES * 0x2d)) + ONES * 0x7f;
    (!(is_letter | is_digit) & differs_from_hyphen | word) & (ONES * 0x80)
}

/// Whether hyper would take a target; where it is not a plain path, by the same rules.
fn is_target(target: &[u8]) -> bool {
    // Without a way out at each byte, which would cost more than it spares.
    let is_of_them = |bytes: &[u8]| bytes.iter().fold(true, |all, byte| all & TARGET.has(*byte));
    let is_plain = target[0] == b'/' && is_of_them(target);
    // Nothing is known of what stands behind a `#`.
    let is_text = || !target.iter().any(|byte| matches!(byte, b' ' | b'\t'));
    let is_uri = || std::str::from_utf8(target).is_ok_and(|text| text.parse::<Uri>().is_ok());
    is_plain || is_text() && is_uri()
}

impl Fields {
    /// Takes a field, and note of what it says of framing.
    fn take(&mut self, line: &[u8]) -> Result<(), Refusal> {
        // What begins with a space would go on with the line before (obs-fold; RFC 9112, section 5.2).
        let (name, rest) = line.split_at(token_length(line));
        let value = match rest {
            [b':', value @ ..] if !name.is_empty() => value,
            _ => return Err(Refusal::BadField),
        };
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.is_chunked || !trimmed(value).eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::BadEncoding);
            }
            self.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let length = length(trimmed(value)).filter(|_| self.length.is_none());
            self.length = Some(length.ok_or(Refusal::BadLength)?);
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.wants_switch = true;
        }
        Ok(())
    }
}

/// A value without the spaces and tabs around it.
const fn trimmed(value: &[u8]) -> &[u8] {
    // No other space has got here.
    value.trim_ascii()
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
