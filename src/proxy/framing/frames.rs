//! Looks at the frames of an HTTP/2 connection on their way in.
//!
//! The library drops pseudo-header fields that stand in trailers, where they make a message malformed
//! (RFC 9113, section 8.1); nobody further up can see that they were there. So trailers are looked
//! at here, and those with such a field lose the mark that ends their stream: the library resets a
//! stream for that, and the state of its header compression stays what it must be.
//!
//! A field that stands for one of the connection's own table is not looked up; the library drops it.
//! So it does with a pseudo-header field in a continuation, unless another field stands before it.

use tokio::time::Instant;

use crate::proxy::framing::overhead::{Overhead, RESET, TRIFLE};

/// The length of a frame's head (RFC 9113, section 4.1).
const FRAME_HEAD: usize = 9;

/// The longest frame that is let in by the library's settings.
const PAYLOAD_BYTES_MAX: usize = 16 * 1024;

/// The length of what a client begins with (section 3.4).
const PREFACE: usize = 24;

/// The most streams that are known not to have ended. A client has some left over if it is answered
/// before it has sent all; the oldest are forgotten.
const OPEN_MAX: usize = 1024;

/// How many continuations are more than the library takes, however long a head may be.
const CONTINUATIONS: usize = 128;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY_FRAME: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
/// No client may send one, so that in the place of another it ends the connection.
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
/// Kinds beyond it are unknown, and passed over.
const KIND_MAX: u8 = CONTINUATION;
const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Pseudo-header fields are the first in the table that all know (RFC 7541, appendix A).
const PSEUDO_FIELDS: std::ops::RangeInclusive<usize> = 1..=14;

/// Follows the frames of one connection.
#[derive(Debug)]
pub struct Frames {
    /// Bytes that go by unseen: of the preface, or of a frame.
    unseen: usize,
    /// Whether the first frame is still to come, which must be one of settings (section 3.4).
    is_first: bool,
    /// The latest stream that has begun.
    last_stream: u32,
    /// Those whose client has not ended them, in order; the next head of one of them is its trailers.
    open: Vec<u32>,
    /// Whether the latest frame is a part of a head, and the last of it.
    is_head: bool,
    is_head_whole: bool,
    /// What the client asks for beside whole requests.
    overhead: Overhead,
    is_excessive: bool,
}

impl Frames {
    /// At the beginning of a connection.
    pub const fn new() -> Self {
        Self {
            unseen: PREFACE,
            is_first: true,
            last_stream: 0,
            open: Vec::new(),
            is_head: false,
            is_head_whole: true,
            overhead: Overhead::new(),
            is_excessive: false,
        }
    }

    /// Looks at bytes that follow those passed before; returns how many go on. The others are to be
    /// given again with more after them.
    pub fn advance(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        loop {
            let step = self.unseen.min(bytes.len() - at);
            self.unseen -= step;
            at += step;
            if self.has_come_to_end() {
                return at;
            }
            let Some(head) = bytes[at..].first_chunk::<FRAME_HEAD>() else {
                return at;
            };
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & (u32::MAX >> 1);
            let whole = FRAME_HEAD + length;
            if std::mem::replace(&mut self.is_first, false) && kind != SETTINGS {
                bytes[at + 3] = PUSH_PROMISE;
            }
            let is_end = flags & END_STREAM != 0;
            match kind {
                HEADERS if stream > self.last_stream => self.begin(stream, is_end),
                HEADERS
                    if length <= PAYLOAD_BYTES_MAX && self.open.binary_search(&stream).is_ok() =>
                {
                    let Some(frame) = bytes[at..].get(..whole) else {
                        return at;
                    };
                    if has_pseudo_field(fragment(flags, &frame[FRAME_HEAD..])) {
                        bytes[at + 4] &= !END_STREAM;
                    } else if is_end {
                        self.end(stream);
                    }
                }
                DATA if is_end => self.end(stream),
                RST_STREAM => {
                    self.overhead.owe(RESET);
                    self.end(stream);
                }
                SETTINGS if flags & ACK == 0 => self.overhead.owe(RESET),
                PING | PRIORITY_FRAME => self.overhead.owe(TRIFLE),
                _ if kind > KIND_MAX => self.overhead.owe(TRIFLE),
                _ => {}
            }
            self.is_head = matches!(kind, HEADERS | CONTINUATION);
            if self.is_head {
                self.is_head_whole = flags & END_HEADERS != 0;
            }
            self.unseen = whole;
        }
    }

    /// Whether a head has begun and is not whole.
    pub(crate) const fn is_within_head(&self) -> bool {
        !self.is_head_whole || self.is_head && self.unseen > 0
    }

    /// Whether the client asks for too much beside whole requests, and no more is to go on. Said where
    /// a frame has ended, and not within a head, so that another may follow.
    pub(crate) fn are_excessive(&mut self, now: impl FnOnce() -> Instant) -> bool {
        self.is_excessive |= self.overhead.is_excessive(now);
        self.has_come_to_end()
    }

    const fn has_come_to_end(&self) -> bool {
        self.is_excessive && self.unseen == 0 && self.is_head_whole
    }

    /// Adds to what has gone on what has the library end the connection with `ENHANCE_YOUR_CALM`, as it
    /// does where a head has too many continuations.
    pub(crate) fn end_with(bytes: &mut Vec<u8>) {
        for kind in std::iter::once(HEADERS).chain([CONTINUATION; CONTINUATIONS]) {
            bytes.extend_from_slice(&[0, 0, 0, kind, 0, 0, 0, 0, 1]);
        }
    }

    fn begin(&mut self, stream: u32, is_end: bool) {
        self.last_stream = stream;
        self.overhead.pay_by_request();
        if !is_end {
            if self.open.len() == OPEN_MAX {
                self.open.remove(0);
            }
            self.open.push(stream);
        }
    }

    fn end(&mut self, stream: u32) {
        if let Ok(place) = self.open.binary_search(&stream) {
            self.open.remove(place);
        }
    }
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}

/// The part of a payload that holds fields.
fn fragment(flags: u8, payload: &[u8]) -> &[u8] {
    let (padding, rest) = match payload.split_first() {
        Some((padding, rest)) if flags & PADDED != 0 => (usize::from(*padding), rest),
        _ => (0, payload),
    };
    let dependency = if flags & PRIORITY == 0 { 0 } else { 5 };
    let end = rest.len().saturating_sub(padding);
    rest.get(dependency..end).unwrap_or(&[])
}

/// Whether one of the fields of a block is a pseudo-header field (RFC 7541, section 6).
fn has_pseudo_field(block: &[u8]) -> bool {
    let mut block = Block(block);
    block.find_pseudo_field().unwrap_or(false)
}

struct Block<'a>(&'a [u8]);

impl Block<'_> {
    /// `None` where the block ends early.
    fn find_pseudo_field(&mut self) -> Option<bool> {
        while let Some(first) = self.0.first().copied() {
            // A field of a table, a change of the table's size, or a field that is written out.
            let (prefix, is_written_out) = match first {
                0x80.. => (7, false),
                0x40.. => (6, true),
                0x20.. => (5, false),
                _ => (4, true),
            };
            let is_field = !(0x20..0x40).contains(&first);
            let index = self.integer(prefix)?;
            if is_field && PSEUDO_FIELDS.contains(&index) {
                return Some(true);
            }
            if is_written_out {
                if index == 0 && self.string()? {
                    return Some(true);
                }
                self.string()?;
            }
        }
        Some(false)
    }

    /// Section 5.1.
    fn integer(&mut self, prefix: u32) -> Option<usize> {
        let most = (1 << prefix) - 1;
        let mut value = usize::from(self.take()?) & most;
        if value < most {
            return Some(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = usize::from(self.take()?);
            value += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Skips a string (section 5.2); tells whether it begins with a colon.
    fn string(&mut self) -> Option<bool> {
        let is_huffman = self.0.first()? & 0x80 != 0;
        let length = self.integer(7)?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        let first = text.first().copied();
        // A colon is the seven bits 1011100 there (appendix B).
        Some(first.is_some_and(|first| {
            if is_huffman {
                first >> 1 == 0b101_1100
            } else {
                first == b':'
            }
        }))
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
}
