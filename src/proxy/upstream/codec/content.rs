//! The body of an answer, however it is framed (RFC 9112, section 6.3).

use bytes::BytesMut;

use super::CodecError;
use super::chunked::{Chunks, Piece};

/// How far a body has come.
#[derive(Debug)]
pub enum Content {
    /// So many bytes are to come.
    Length(u64),
    /// In chunks.
    Chunked(Chunks),
    /// It ends with the stream.
    UntilClose,
    /// It has ended with the stream.
    Closed,
}

impl Content {
    /// A body that has ended, or that there never was.
    pub const NONE: Self = Self::Length(0);

    /// Whether it has come to its end.
    pub const fn has_ended(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.has_ended(),
            Self::UntilClose => false,
            Self::Closed => true,
        }
    }

    /// How many bytes are to come, if that is known.
    pub const fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose | Self::Closed => None,
        }
    }

    /// Takes the next piece out of what has come.
    ///
    /// # Errors
    /// Where what has come is no such body.
    pub fn take(&mut self, bytes: &mut BytesMut) -> Result<Piece, CodecError> {
        match self {
            Self::Chunked(chunks) => chunks.take(bytes),
            Self::Closed | Self::Length(0) => Ok(Piece::End),
            Self::Length(_) | Self::UntilClose if bytes.is_empty() => Ok(Piece::NotYet),
            Self::UntilClose => Ok(Piece::Data(bytes.split().freeze())),
            Self::Length(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let data = bytes.split_to(bytes.len().min(most)).freeze();
                *left -= data.len() as u64;
                Ok(Piece::Data(data))
            }
        }
    }

    /// Takes in that nothing more comes.
    ///
    /// # Errors
    /// Where the body is not whole.
    pub fn end(&mut self) -> Result<(), CodecError> {
        match self {
            Self::UntilClose => *self = Self::Closed,
            content if content.has_ended() => {}
            _ => return Err(CodecError::CutBody),
        }
        Ok(())
    }
}
