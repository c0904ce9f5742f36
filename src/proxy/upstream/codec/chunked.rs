//! A body of chunks, read piece by piece (RFC 9112, section 7.1).

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{CodecError, FIELDS_MAX};

/// The most bytes of all extensions of all chunks.
const EXTENSIONS_BYTES_MAX: usize = 16 * 1024;

/// The most bytes of all fields behind the chunks.
const TRAILERS_BYTES_MAX: usize = 16 * 1024;

/// A place in a body of chunks.
#[derive(Debug)]
pub struct Chunks {
    place: Place,
    /// Of the chunk, as far as it is known, or is still to come.
    size: u64,
    /// Bytes of extensions so far.
    extensions: usize,
    /// The fields behind the chunks so far, where there are any.
    trailers: Vec<u8>,
    /// How many they are.
    fields: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the first digit of a size.
    Start,
    Size,
    /// In the space behind a size, which some servers write.
    SizeSpace,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a field behind the chunks, or of the last line.
    LineStart,
    Trailer,
    TrailerLf,
    LastLf,
    Ended,
}

/// What a body goes on with.
#[derive(Debug)]
pub enum Piece {
    /// So much of its data.
    Data(Bytes),
    /// What stands behind its data.
    Trailers(HeaderMap),
    /// Nothing, before more bytes have come.
    NotYet,
    /// Nothing: it has ended.
    End,
}

impl Default for Chunks {
    fn default() -> Self {
        Self::new()
    }
}

impl Chunks {
    /// The beginning of a body.
    pub const fn new() -> Self {
        Self {
            place: Place::Start,
            size: 0,
            extensions: 0,
            trailers: Vec::new(),
            fields: 0,
        }
    }

    /// Whether the body has come to its end.
    pub const fn has_ended(&self) -> bool {
        matches!(self.place, Place::Ended)
    }

    /// Takes the next piece out of what has come.
    ///
    /// # Errors
    /// Where what has come is no body of chunks.
    pub fn take(&mut self, bytes: &mut BytesMut) -> Result<Piece, CodecError> {
        loop {
            if self.place == Place::Ended {
                return Ok(Piece::End);
            }
            if bytes.is_empty() {
                return Ok(Piece::NotYet);
            }
            if self.place == Place::Data {
                return Ok(Piece::Data(self.take_data(bytes)));
            }
            self.place = self.step(bytes[0])?;
            bytes.advance(1);
            if self.place == Place::Ended && !self.trailers.is_empty() {
                let text = std::mem::take(&mut self.trailers);
                return read_fields(&text, self.fields).map(Piece::Trailers);
            }
        }
    }

    fn take_data(&mut self, bytes: &mut BytesMut) -> Bytes {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let data = bytes.split_to(bytes.len().min(size)).freeze();
        self.size -= data.len() as u64;
        if self.size == 0 {
            self.place = Place::DataCr;
        }
        data
    }

    /// The place after one byte.
    fn step(&mut self, byte: u8) -> Result<Place, CodecError> {
        match self.place {
            Place::Start | Place::Size => self.step_in_size(byte),
            Place::SizeSpace => match byte {
                b'\t' | b' ' => Ok(Place::SizeSpace),
                b';' => Ok(Place::Extension),
                b'\r' => Ok(Place::SizeLf),
                _ => Err(CodecError::BadChunk("something behind its size")),
            },
            Place::Extension => self.step_in_extension(byte),
            Place::SizeLf if byte == b'\n' && self.size == 0 => Ok(Place::LineStart),
            Place::SizeLf if byte == b'\n' => Ok(Place::Data),
            Place::DataCr if byte == b'\r' => Ok(Place::DataLf),
            Place::DataLf if byte == b'\n' => Ok(Place::Start),
            Place::SizeLf | Place::DataCr | Place::DataLf => {
                Err(CodecError::BadChunk("a line does not end where it should"))
            }
            Place::LineStart if byte == b'\r' => {
                if !self.trailers.is_empty() {
                    self.keep(byte)?;
                }
                Ok(Place::LastLf)
            }
            Place::LineStart | Place::Trailer => {
                self.keep(byte)?;
                let is_end = byte == b'\r' && self.place == Place::Trailer;
                Ok(if is_end {
                    Place::TrailerLf
                } else {
                    Place::Trailer
                })
            }
            Place::TrailerLf if byte == b'\n' => {
                if self.fields == FIELDS_MAX {
                    return Err(CodecError::BadTrailers("too many"));
                }
                self.fields += 1;
                self.keep(byte)?;
                Ok(Place::LineStart)
            }
            Place::LastLf if byte == b'\n' => {
                if !self.trailers.is_empty() {
                    self.keep(byte)?;
                }
                Ok(Place::Ended)
            }
            Place::TrailerLf | Place::LastLf => Err(CodecError::BadTrailers(
                "a line does not end where it should",
            )),
            Place::Data | Place::Ended => Ok(self.place),
        }
    }

    fn step_in_size(&mut self, byte: u8) -> Result<Place, CodecError> {
        if let Some(digit) = char::from(byte).to_digit(16) {
            let size = if self.place == Place::Start {
                0
            } else {
                self.size
            };
            let size = size.checked_mul(16).map(|size| size | u64::from(digit));
            self.size = size.ok_or(CodecError::BadChunk("its size is too large"))?;
            return Ok(Place::Size);
        }
        match byte {
            _ if self.place == Place::Start => Err(CodecError::BadChunk("it has no size")),
            b'\t' | b' ' => Ok(Place::SizeSpace),
            b';' => Ok(Place::Extension),
            b'\r' => Ok(Place::SizeLf),
            _ => Err(CodecError::BadChunk("its size is no number")),
        }
    }

    fn step_in_extension(&mut self, byte: u8) -> Result<Place, CodecError> {
        match byte {
            b'\r' => Ok(Place::SizeLf),
            // Whoever takes it for the end of the line would see another body.
            b'\n' => Err(CodecError::BadChunk("an extension has a line feed")),
            _ => {
                self.extensions += 1;
                if self.extensions >= EXTENSIONS_BYTES_MAX {
                    return Err(CodecError::BadChunk("extensions are too long"));
                }
                Ok(Place::Extension)
            }
        }
    }

    fn keep(&mut self, byte: u8) -> Result<(), CodecError> {
        self.trailers.push(byte);
        if self.trailers.len() >= TRAILERS_BYTES_MAX {
            return Err(CodecError::BadTrailers("too long"));
        }
        Ok(())
    }
}

/// Reads so many fields, with the empty line behind them.
fn read_fields(text: &[u8], count: usize) -> Result<HeaderMap, CodecError> {
    let mut fields = vec![httparse::EMPTY_HEADER; count];
    let parsed = httparse::parse_headers(text, &mut fields);
    let Ok(httparse::Status::Complete((_, fields))) = parsed else {
        return Err(CodecError::BadTrailers("no fields"));
    };
    let mut read = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(CodecError::BadField);
        };
        read.append(name, value);
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of a body that comes in pieces of a size: its data, what stands behind it, and what of the bytes is
    /// left.
    fn read_in(size: usize, text: &[u8]) -> Result<(String, usize, String), String> {
        let (mut chunks, mut bytes) = (Chunks::new(), BytesMut::new());
        let (mut data, mut fields) = (Vec::new(), 0);
        let mut pieces = text.chunks(size);
        loop {
            match chunks.take(&mut bytes).map_err(|error| error.to_string())? {
                Piece::Data(piece) => data.extend_from_slice(&piece),
                Piece::Trailers(trailers) => fields = trailers.len(),
                Piece::NotYet => match pieces.next() {
                    Some(piece) => bytes.extend_from_slice(piece),
                    None => return Err("not whole".to_owned()),
                },
                Piece::End => {
                    bytes.extend(pieces.flatten());
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    return Ok((text(&data), fields, text(&bytes)));
                }
            }
        }
    }

    #[test]
    fn a_body_is_read_in_whatever_pieces_and_what_follows_is_left() {
        for (text, data, fields) in [
            ("0\r\n\r\nHTTP", "", 0),
            ("3\r\nabc\r\n0\r\n\r\nHTTP", "abc", 0),
            (
                "3 \t;x=\"y\"\r\nabc\r\n000a;\r\n0123456789\r\n0\r\n\r\nHTTP",
                "abc0123456789",
                0,
            ),
            ("1\r\na\r\n0\r\nx: y\r\nz: \r\n\r\nHTTP", "a", 2),
        ] {
            for size in 1..=text.len() {
                let read = read_in(size, text.as_bytes()).unwrap();
                assert_eq!(
                    read,
                    (data.to_owned(), fields, "HTTP".to_owned()),
                    "{text:?}"
                );
            }
            let whole = text.len() - "HTTP".len();
            for cut in 0..whole {
                let read = read_in(usize::MAX, &text.as_bytes()[..cut]);
                assert_eq!(read.unwrap_err(), "not whole", "{text:?}");
            }
        }
    }

    #[test]
    fn what_could_be_read_otherwise_is_refused() {
        for text in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "1\n",
            "1\r\r",
            "1 1\r\n",
            "1;a\nb\r\n",
            "1\r\nab",
            "1\r\na\nb",
            "1\r\na\r0",
            "10000000000000000\r\n",
            "0\r\nx\r\n\r\n",
            "0\r\nx : y\r\n\r\n",
            "0\r\n x: y\r\n\r\n",
            "0\r\nx: y\ry\r\n\r\n",
            "0\r\n\rx",
        ] {
            for size in 1..=text.len() {
                let error = read_in(size, text.as_bytes()).unwrap_err();
                assert!(error.contains("malformed"), "{text:?}: {error}");
            }
        }
    }

    #[test]
    fn extensions_and_trailers_have_their_bounds() {
        let extended = |bytes: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(bytes));
        assert!(read_in(4096, extended(16_383).as_bytes()).is_ok());
        assert!(read_in(4096, extended(16_384).as_bytes()).is_err());
        let followed = |count: usize| format!("0\r\n{}\r\n", "x: y\r\n".repeat(count));
        assert_eq!(read_in(4096, followed(100).as_bytes()).unwrap().1, 100);
        assert!(read_in(4096, followed(101).as_bytes()).is_err());
        let long = |bytes: usize| format!("0\r\nx: {}\r\n\r\n", "y".repeat(bytes));
        assert!(read_in(4096, long(16_000).as_bytes()).is_ok());
        assert!(read_in(4096, long(16_384).as_bytes()).is_err());
    }
}
