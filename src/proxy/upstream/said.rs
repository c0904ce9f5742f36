//! Keeps the head of a request as it was sent, so that it can be sent again where nobody read it.
//!
//! hyper gives no request back that it has begun to write. To copy each beforehand would cost an
//! allocation or more for something that is hardly ever needed. The bytes that go by are copied instead, into a buffer
//! that stays with the connection, and read again only where the connection turns out to be closed.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use http::{HeaderName, HeaderValue, Method, Request, Uri};

/// The largest buffer that stays with a connection, in bytes: most heads are smaller.
const KEPT_BYTES_MAX: usize = 4 * 1024;

/// Nothing is to be kept, or what was kept has been answered.
const DONE: u8 = 0;
/// The next bytes that are sent are a head to keep.
const AWAITED: u8 = 1;
/// A head is kept, and nothing was heard since.
const KEPT: u8 = 2;

/// The head that was sent last. Between tasks of one thread; hyper wants it to be more.
#[derive(Debug, Default)]
pub(super) struct Said {
    stage: AtomicU8,
    head: Mutex<Vec<u8>>,
}

impl Said {
    /// Keeps the head that is sent next, of a request without a body.
    pub(super) fn begin(&self) {
        self.stage.store(AWAITED, Ordering::Relaxed);
    }

    /// Hears what is offered to the endpoint. hyper offers a head as a whole, however much of it is taken.
    pub(super) fn offered<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) {
        if self.stage.load(Ordering::Relaxed) == AWAITED {
            self.stage.store(KEPT, Ordering::Relaxed);
            let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
            head.clear();
            head.shrink_to(KEPT_BYTES_MAX);
            pieces
                .into_iter()
                .for_each(|piece| head.extend_from_slice(piece));
        }
    }

    /// Says that something has come from the endpoint, so that it is there.
    pub(super) fn answered(&self) {
        if self.stage.load(Ordering::Relaxed) != DONE {
            self.stage.store(DONE, Ordering::Relaxed);
        }
    }

    /// The request that was sent, if nothing has come since.
    pub(super) fn take(&self) -> Option<Request<()>> {
        let stage = self.stage.swap(DONE, Ordering::Relaxed);
        let head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        (stage == KEPT).then(|| read(&head)).flatten()
    }
}

/// Reads a head as hyper writes it; `None` where it is not whole.
fn read(head: &[u8]) -> Option<Request<()>> {
    let text = head.strip_suffix(b"\r\n\r\n")?;
    let mut lines = text.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(words.next()?).ok()?;
    *request.uri_mut() = Uri::try_from(words.next()?).ok()?;
    for line in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii_start()).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET /a?b=c HTTP/1.1\r\nhost: shop.test\r\nx: 1\r\nx: \xff: 2\r\n\r\n";

    fn sent(said: &Said, head: &[u8]) {
        said.begin();
        said.offered([&head[..3], &head[3..]]);
    }

    #[test]
    fn a_head_is_read_as_it_was_sent() {
        let said = Said::default();
        sent(&said, HEAD);
        // The rest of what was not taken at once.
        said.offered([&HEAD[10..]]);
        let request = said.take().unwrap();
        assert_eq!(
            (request.method(), request.uri().to_string()),
            (&Method::GET, "/a?b=c".to_owned())
        );
        let values: Vec<_> = request.headers().get_all("x").iter().collect();
        assert_eq!(values, [&b"1"[..], b"\xff: 2"]);
        assert_eq!(request.headers()["host"], "shop.test");
        assert_eq!(request.headers().len(), 3);
        assert!(said.take().is_none(), "it is taken once");
    }

    #[test]
    fn what_was_answered_or_not_asked_for_or_is_no_head_is_not_kept() {
        let said = Said::default();
        said.offered([HEAD]);
        assert!(said.take().is_none());
        sent(&said, HEAD);
        said.answered();
        assert!(said.take().is_none());
        said.begin();
        assert!(said.take().is_none(), "nothing was sent");
        sent(&said, &HEAD[..HEAD.len() - 1]);
        assert!(said.take().is_none());
        sent(&said, HEAD);
        assert!(said.take().is_some());
    }

    #[test]
    fn a_large_head_does_not_stay() {
        let said = Said::default();
        let field = [&b"y: "[..], &[b'y'; 20_000], b"\r\n\r\n"].concat();
        let head = [&HEAD[..HEAD.len() - 2], &field].concat();
        sent(&said, &head);
        assert_eq!(said.take().unwrap().headers()["y"].len(), 20_000);
        sent(&said, HEAD);
        assert!(said.head.lock().unwrap().capacity() <= KEPT_BYTES_MAX);
    }
}
