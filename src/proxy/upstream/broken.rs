//! Why an exchange with an endpoint broke off.

use std::io;

use crate::proxy::upstream::codec::CodecError;

/// Why an exchange broke off, or could not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenError {
    /// By the words of hyper.
    #[error(transparent)]
    Hyper(#[from] hyper::Error),
    /// What came is no answer.
    #[error(transparent)]
    Answer(#[from] CodecError),
    /// The stream broke.
    #[error("the connection broke")]
    Stream(#[from] io::Error),
    /// More came before an answer than may.
    #[error("too much came before the answer")]
    Excess,
    /// There is no more of a request's body.
    #[error("the request's body broke off")]
    Upload(#[source] hyper::Error),
    /// A request's body ended before its length was reached.
    #[error("the request's body is shorter than it was said to be")]
    ShortUpload,
    /// The connection was closed.
    #[error("the connection was closed")]
    Closed,
}
