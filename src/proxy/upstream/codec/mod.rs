//! HTTP/1.1 as a client speaks it (RFC 9112): heads written, heads and bodies read.
//!
//! Nothing here reads or writes a socket, so that it can be tested and fuzzed for itself. What is taken and
//! what is refused are what hyper's client takes and refuses: heads are read by the same parser, bodies by
//! the same rules, and a fuzz target compares what the two make of answers.

pub mod chunked;
pub mod content;
pub mod head;
pub mod request;

/// The longest head of an answer, and how much of a body is read at once or waits to be sent, in bytes. A client that
/// reads none of its answer holds a few times as much; twice as much is faster where answers are large.
pub const BUFFER_BYTES_MAX: usize = 32 * 1024;

/// The most fields in a head, and behind a body.
const FIELDS_MAX: usize = 100;

/// Why an answer is none.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// What came is no head of an answer.
    #[error("what came is no head of an answer")]
    BadHead(#[source] httparse::Error),
    /// A status below 100.
    #[error("the status is none")]
    BadStatus,
    /// A name or a value that no field has.
    #[error("a field is malformed")]
    BadField,
    /// `Content-Length` is no number, or several that differ.
    #[error("the content length is no number, or not the only one")]
    BadLength,
    /// Chunks in an answer of HTTP/1.0, which has none.
    #[error("an answer of HTTP/1.0 has a transfer encoding")]
    BadEncoding,
    /// The head is too long.
    #[error("the head is longer than {BUFFER_BYTES_MAX} bytes")]
    HeadTooLong,
    /// The frame of a chunk is malformed.
    #[error("a chunk is malformed: {0}")]
    BadChunk(&'static str),
    /// What stands behind the chunks is malformed.
    #[error("the fields behind the body are malformed: {0}")]
    BadTrailers(&'static str),
    /// The stream ended within a body.
    #[error("end of file before message length reached")]
    CutBody,
    /// The stream ended before there was an answer.
    #[error("connection closed before message completed")]
    NoAnswer,
}
