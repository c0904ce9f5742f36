//! The PROXY header that a trusted peer may begin with, before TLS and before HTTP.

use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout};

use crate::proxy::proxy_protocol::Opening;
use crate::runtime::clock;

/// How long a peer may take until it is clear whether it sends a header, and which. A load balancer
/// sends it with its first bytes.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);

/// How much is read at once: a header, and with it the beginning of what follows.
const PIECE_BYTES: usize = 1024;

/// Why a connection is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpeningError {
    /// What begins like a header is none.
    #[error("a malformed PROXY header")]
    Malformed,
    /// It ended before it was clear what it begins with.
    #[error("ended before its first bytes were read")]
    Ended,
    /// It is not clear what it begins with.
    #[error("the first bytes were not there within {OPENING_TIMEOUT:?}")]
    TimedOut,
    /// The socket fails.
    #[error("{0}")]
    Failed(#[from] io::Error),
}

/// What a connection begins with.
#[derive(Debug)]
pub(super) struct Opened {
    /// Whom the peer passes on, where a header says so.
    pub(super) client: Option<IpAddr>,
    /// What was read behind the header, or all of it where there is none.
    pub(super) rest: Vec<u8>,
}

/// How often each worker says, at the most, that a trusted peer's connection was not opened.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

thread_local! {
    /// When it was said last.
    static WARNED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Says now and then that a trusted peer's connection was not opened.
pub(super) fn warn(peer: IpAddr, error: &OpeningError) {
    let now = clock::monotonic();
    let is_news = |last: Instant| now - last > WARNING_INTERVAL;
    if WARNED.get().is_none_or(is_news) {
        WARNED.set(Some(now));
        tracing::warn!(%peer, %error, "a trusted proxy's connection was not opened");
    }
}

/// Reads the header of a connection, if it begins with one.
pub(super) async fn open(stream: &mut (impl AsyncRead + Unpin)) -> Result<Opened, OpeningError> {
    let opened = timeout(OPENING_TIMEOUT, read(stream)).await;
    opened.unwrap_or(Err(OpeningError::TimedOut))
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Opened, OpeningError> {
    // The longest header bounds it.
    let mut bytes = Vec::with_capacity(PIECE_BYTES);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(OpeningError::Ended);
        }
        let (client, length) = match Opening::of(&bytes) {
            Opening::Partial => continue,
            Opening::Malformed => return Err(OpeningError::Malformed),
            Opening::Other => (None, 0),
            Opening::Header { length, client } => (client, length),
        };
        bytes.drain(..length);
        return Ok(Opened {
            client,
            rest: bytes,
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_has_ten_seconds_to_begin() {
        let begun = Instant::now();
        for beginning in ["", "PROXY TCP4 192.0.2.1 10.0"] {
            let (mut peer, mut stream) = duplex(64);
            peer.write_all(beginning.as_bytes()).await.unwrap();
            let opened = open(&mut stream).await;
            assert!(matches!(opened, Err(OpeningError::TimedOut)), "{opened:?}");
        }
        assert_eq!(begun.elapsed(), 2 * OPENING_TIMEOUT);
    }

    #[tokio::test]
    async fn what_comes_behind_a_header_is_not_lost() {
        for (sent, client, rest) in [
            (
                "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\nGET",
                Some("192.0.2.1"),
                "GET",
            ),
            ("PROXY UNKNOWN\r\nGET", None, "GET"),
            ("PROPFIND", None, "PROPFIND"),
        ] {
            let (mut peer, mut stream) = duplex(64);
            peer.write_all(sent.as_bytes()).await.unwrap();
            let opened = open(&mut stream).await.unwrap();
            assert_eq!(opened.client, client.map(|client| client.parse().unwrap()));
            assert_eq!(opened.rest, rest.as_bytes());
        }
    }
}
