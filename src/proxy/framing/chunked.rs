//! A body of chunks: where it ends (RFC 9112, section 7.1).

use memchr::memchr;

use crate::proxy::framing::Refusal;

/// The most digits of a chunk's size.
const SIZE_DIGITS_MAX: u32 = 15;

/// The longest line of a size with its extensions, or of a trailer field, in bytes.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// The most bytes of all trailer fields.
const TRAILERS_BYTES_MAX: usize = 32 * 1024;

/// A place in a body of chunks.
#[derive(Debug)]
pub(super) struct Chunks {
    place: Place,
    /// Bytes of the line so far, the digits of a size left out.
    line: usize,
    /// Bytes of the trailer fields so far.
    trailers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a size of which so many digits are known.
    Size { digits: u32, size: u64 },
    /// In what may follow a size on its line.
    Extension { size: u64 },
    /// Before the LF of a size's line.
    SizeEnd { size: u64 },
    /// In a chunk of which so many bytes are to come.
    Data { left: u64 },
    /// Before the CR after a chunk.
    DataCr,
    /// Before the LF after a chunk.
    DataLf,
    /// At the beginning of a trailer field, or of the last line.
    TrailerStart,
    /// In a trailer field.
    Trailer,
    /// Before the LF of a trailer field.
    TrailerLf,
    /// Before the very last LF.
    LastLf,
    /// Behind it.
    Ended,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self {
            place: Place::Size { digits: 0, size: 0 },
            line: 0,
            trailers: 0,
        }
    }

    /// Whether the body has come to its end.
    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.place, Place::Ended)
    }

    /// Goes on over bytes until they or the body end; returns how many of them are the body's.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < bytes.len() && !self.has_ended() {
            at += match self.place {
                Place::Data { left } => self.skip_data(left, &bytes[at..]),
                Place::Extension { .. } | Place::Trailer => self.skip_line(&bytes[at..])?,
                _ => {
                    self.place = self.step(bytes[at]).ok_or(Refusal::BadChunk)?;
                    1
                }
            };
        }
        Ok(at)
    }

    fn skip_data(&mut self, left: u64, bytes: &[u8]) -> usize {
        let step = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - step as u64;
        self.place = if left == 0 {
            Place::DataCr
        } else {
            Place::Data { left }
        };
        step
    }

    /// Goes to the CR of the line.
    fn skip_line(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let end = memchr(b'\r', bytes);
        let text = &bytes[..end.unwrap_or(bytes.len())];
        self.line += text.len();
        let is_trailer = self.place == Place::Trailer;
        if is_trailer {
            self.trailers += text.len();
        }
        let is_plain = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        if self.line > LINE_BYTES_MAX
            || self.trailers > TRAILERS_BYTES_MAX
            || !text.iter().all(is_plain)
        {
            return Err(Refusal::BadChunk);
        }
        if end.is_some() {
            self.place = match self.place {
                Place::Extension { size } => Place::SizeEnd { size },
                _ => Place::TrailerLf,
            };
        }
        Ok(text.len() + usize::from(end.is_some()))
    }

    /// The place after one byte; `None` where it must not be there.
    fn step(&mut self, byte: u8) -> Option<Place> {
        match (self.place, byte) {
            (Place::Size { digits, size }, _) if byte.is_ascii_hexdigit() => {
                let digit = u64::from(char::from(byte).to_digit(16)?);
                (digits < SIZE_DIGITS_MAX).then_some(Place::Size {
                    digits: digits + 1,
                    size: size << 4 | digit,
                })
            }
            (Place::Size { digits: 1.., size }, b';') => {
                self.line = 0;
                Some(Place::Extension { size })
            }
            (Place::Size { digits: 1.., size }, b'\r') => Some(Place::SizeEnd { size }),
            (Place::SizeEnd { size: 0 }, b'\n') => Some(Place::TrailerStart),
            (Place::SizeEnd { size }, b'\n') => Some(Place::Data { left: size }),
            (Place::DataCr, b'\r') => Some(Place::DataLf),
            (Place::DataLf, b'\n') => Some(Place::Size { digits: 0, size: 0 }),
            (Place::TrailerStart, b'\r') => Some(Place::LastLf),
            // Neither a field without a name nor one that goes on with the line before.
            (Place::TrailerStart, b':' | b' ' | b'\t' | b'\n') => None,
            (Place::TrailerStart, _) => {
                self.line = 1;
                self.trailers += 1;
                (b'!'..=b'~').contains(&byte).then_some(Place::Trailer)
            }
            (Place::TrailerLf, b'\n') => Some(Place::TrailerStart),
            (Place::LastLf, b'\n') => Some(Place::Ended),
            _ => None,
        }
    }
}
