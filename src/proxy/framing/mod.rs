//! Where each message of an HTTP/1 connection ends, before hyper is asked.
//!
//! hyper reads generously: it takes a bare LF for the end of a line, drops a length beside `chunked`
//! and does not tell. Whoever stands before or behind us may read the same bytes otherwise, and what
//! one takes for a body is a request to the other. So the bytes of a client pass through here first.
//! What can be read in one way only goes on, unchanged; of anything else no byte does (RFC 9112,
//! sections 2.2, 3, 5 and 6). That is also why our view of where a message ends cannot be another one
//! than hyper's.
//!
//! Heads that hyper would refuse do not get there either: it answers them itself, without a word of why,
//! and nobody could count or log them. Nothing is copied and nothing done for each byte of a body.

mod chunked;
pub mod frames;
mod head;
mod overhead;
#[cfg(test)]
mod tests;

pub(crate) use self::head::{METHOD_BYTES_MAX, TARGET_BYTES_MAX};
use crate::config::{ListenerLimits, defaults};

use self::chunked::Chunks;
use self::head::{Body, Head};

/// How long the head of a request may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// In bytes.
    pub(crate) bytes: usize,
    /// In fields.
    pub(crate) fields: usize,
}

impl Bounds {
    /// Those among the limits of a client.
    pub(crate) const fn of(limits: &ListenerLimits) -> Self {
        Self {
            bytes: limits.header_bytes,
            fields: limits.headers,
        }
    }
}

/// Why a message is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A line ends with LF alone, or holds a CR that ends none.
    #[error("lines must end with CRLF")]
    BareLineEnd,
    /// The first line is not that of a request.
    #[error("the first line must be a method, a target and `HTTP/1.1`")]
    BadRequestLine,
    /// The target is no path and no URL, or holds what must not be in one.
    #[error("the target must be a path or a URL, without spaces and control characters")]
    BadTarget,
    /// The version is not spoken here.
    #[error("versions spoken are HTTP/1.0, HTTP/1.1 and HTTP/2")]
    BadVersion,
    /// The method is longer than any that is known.
    #[error("the method is longer than any that is known")]
    MethodTooLong,
    /// The target is too long.
    #[error("the target is too long")]
    TargetTooLong,
    /// The head is too long.
    #[error("the header fields are too long")]
    HeadTooLong,
    /// The head has too many fields.
    #[error("there are too many header fields")]
    TooManyFields,
    /// A field goes on over a line's end, or what stands before its colon is no name.
    #[error("a header field must be a name, a colon right behind it and a value, on one line")]
    BadField,
    /// The head holds NUL or another control character.
    #[error("control characters must not be in a head")]
    ControlCharacter,
    /// `Content-Length` is no number, or is there twice.
    #[error("`Content-Length` must be one number")]
    BadLength,
    /// `Transfer-Encoding` is something else than `chunked`, or is there twice.
    #[error("`Transfer-Encoding` must be `chunked`, and that in HTTP/1.1 only")]
    BadEncoding,
    /// Both are there.
    #[error("`Content-Length` and `Transfer-Encoding` exclude each other")]
    TwoLengths,
    /// The body is not what `chunked` promises.
    #[error("the chunks of the body are malformed")]
    BadChunk,
}

/// What becomes of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// So many go on; the others are to be given again.
    pub passed: usize,
    /// Why not all of them.
    pub then: Then,
}

/// What is needed before more bytes go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// More bytes.
    More,
    /// Whether the protocol is switched; see [`Framing::stay`].
    Switch,
    /// They are HTTP/2's, from the first byte that did not go on.
    Http2,
    /// Nothing: the connection is to end.
    Refuse(Refusal),
    /// The same over HTTP/2, on which more is asked for than anybody may.
    Calm,
}

/// Follows the messages of one connection.
#[derive(Debug)]
pub struct Framing {
    state: State,
    bounds: Bounds,
    /// So many bytes of a head that is not whole are known not to end it.
    searched: usize,
    /// Whether it may turn out to be HTTP/2: no message has begun, and nothing else was agreed on.
    may_be_http2: bool,
    /// Whether a request for another protocol has gone on since it was last asked.
    has_wish: bool,
}

#[derive(Debug)]
enum State {
    /// Between two messages, or in a head that is not whole yet.
    Head,
    /// So many bytes of a body are to come.
    Length { left: u64, then_switch: bool },
    /// In a body of chunks.
    Chunked { chunks: Chunks, then_switch: bool },
    /// After a request for another protocol.
    Switch,
}

impl Framing {
    /// At the beginning of a connection.
    pub const fn new() -> Self {
        Self::within(Bounds::of(&defaults::LISTENER_LIMITS))
    }

    /// The same with other bounds.
    pub(crate) const fn within(bounds: Bounds) -> Self {
        Self {
            state: State::Head,
            bounds,
            searched: 0,
            may_be_http2: true,
            has_wish: false,
        }
    }

    /// The same where HTTP/1 was agreed on.
    pub(crate) const fn agreed(self) -> Self {
        Self {
            may_be_http2: false,
            ..self
        }
    }

    /// Takes note that the protocol was not switched: the next bytes are a request again.
    pub fn stay(&mut self) {
        if matches!(self.state, State::Switch) {
            self.state = State::Head;
        }
    }

    /// Looks at bytes that follow those passed before, beginning with those that were not passed.
    pub fn advance(&mut self, bytes: &[u8]) -> Progress {
        let mut passed = 0;
        let stopped = |passed, then| Progress { passed, then };
        while passed < bytes.len() {
            let rest = &bytes[passed..];
            let step = match &mut self.state {
                State::Switch => return stopped(passed, Then::Switch),
                State::Head => self.advance_head(rest),
                State::Length { left, then_switch } => {
                    let step = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= step as u64;
                    if *left == 0 {
                        self.state = after_body(*then_switch);
                    }
                    Ok(step)
                }
                State::Chunked {
                    chunks,
                    then_switch,
                } => match chunks.advance(rest) {
                    Ok(step) => {
                        if chunks.has_ended() {
                            self.state = after_body(*then_switch);
                        }
                        Ok(step)
                    }
                    // What was sound before stays back with it; the body is lost in any case.
                    Err(refusal) => Err(Then::Refuse(refusal)),
                },
            };
            match step {
                Ok(step) => passed += step,
                Err(then) => return stopped(passed, then),
            }
        }
        stopped(passed, Then::More)
    }

    /// Whether a request for another protocol has gone on since this was last asked.
    pub(crate) const fn take_wish(&mut self) -> bool {
        std::mem::replace(&mut self.has_wish, false)
    }

    /// Whether a head has begun and is not whole.
    pub(crate) const fn is_within_head(&self) -> bool {
        matches!(self.state, State::Head) && self.searched > 0
    }

    /// Whether a message has ended and nothing of the next has come.
    pub(crate) const fn is_between(&self) -> bool {
        matches!(self.state, State::Head) && self.searched == 0
    }

    /// Whether it must be known whether the protocol is switched before more bytes go on.
    pub(crate) const fn awaits_switch(&self) -> bool {
        matches!(self.state, State::Switch)
    }

    fn advance_head(&mut self, bytes: &[u8]) -> Result<usize, Then> {
        // Bytes may come one by one; they are not all looked at anew each time.
        if self.searched > 0 && !head::may_end(bytes, self.searched) {
            self.searched = bytes.len();
            return self
                .too_long(bytes)
                .map_or(Err(Then::More), |refusal| Err(Then::Refuse(refusal)));
        }
        match head::read(bytes, self.bounds) {
            Ok(Some(Head {
                length,
                body,
                wants_switch,
            })) => {
                self.searched = 0;
                self.may_be_http2 = false;
                self.has_wish |= wants_switch;
                self.state = match body {
                    Body::Length(0) => after_body(wants_switch),
                    Body::Length(left) => State::Length {
                        left,
                        then_switch: wants_switch,
                    },
                    Body::Chunked => State::Chunked {
                        chunks: Chunks::new(),
                        then_switch: wants_switch,
                    },
                };
                Ok(length)
            }
            Ok(None) => {
                self.searched = bytes.len();
                self.too_long(bytes)
                    .map_or(Err(Then::More), |refusal| Err(Then::Refuse(refusal)))
            }
            Err(Refusal::BadVersion) if self.may_be_http2 && head::is_preface(bytes) => {
                Err(Then::Http2)
            }
            Err(Refusal::BadVersion) if self.may_be_http2 && head::may_be_preface(bytes) => {
                self.searched = bytes.len();
                Err(Then::More)
            }
            Err(refusal) => Err(Then::Refuse(refusal)),
        }
    }

    /// Why a head that is not whole is refused already.
    fn too_long(&self, bytes: &[u8]) -> Option<Refusal> {
        (bytes.len() >= self.bounds.bytes).then(|| head::what_is_too_long(bytes))
    }
}

impl Default for Framing {
    fn default() -> Self {
        Self::new()
    }
}

const fn after_body(then_switch: bool) -> State {
    if then_switch {
        State::Switch
    } else {
        State::Head
    }
}
