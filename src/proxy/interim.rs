//! Answers that come before the answer: `103 Early Hints`, `100 Continue` (RFC 9110, section 15.2).
//!
//! hyper's server has no way to send them, and its client none that costs nothing where there are
//! none. So they are heard by our own codec, or on the stream of the backend before hyper's client ignores them, and wait
//! here until the client's stream has nothing else to write. Whoever cannot be told, as in HTTP/2, does
//! without; nothing depends on them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::proxy::headers;

/// The most bytes that wait to be written to one client.
const WAITING_BYTES_MAX: usize = 16 * 1024;

/// What one client is to be told before its answer. Shared with the stream of a backend, which is
/// read by another task of the same thread.
#[derive(Debug)]
pub(crate) struct Interim {
    has_text: AtomicBool,
    text: Mutex<Vec<u8>>,
    /// Whether the client keeps its body until it is asked for it.
    expects_continue: AtomicBool,
    /// Whether the backend has asked for it.
    is_body_wanted: AtomicBool,
    /// The task that writes to the client.
    writer: Waker,
}

impl Interim {
    /// For a client whose connection is driven by the task of `writer`.
    pub(crate) const fn new(writer: Waker) -> Self {
        Self {
            has_text: AtomicBool::new(false),
            text: Mutex::new(Vec::new()),
            expects_continue: AtomicBool::new(false),
            is_body_wanted: AtomicBool::new(false),
            writer,
        }
    }

    /// Takes note that a request begins.
    pub(crate) fn begin(&self, expects_continue: bool) {
        self.expects_continue
            .store(expects_continue, Ordering::Relaxed);
        self.is_body_wanted.store(false, Ordering::Relaxed);
    }

    /// Whether the backend has asked for the body.
    pub(crate) fn is_body_wanted(&self) -> bool {
        self.is_body_wanted.load(Ordering::Relaxed)
    }

    /// Takes in a head of a backend with its last empty line; `false` where it is none.
    pub(crate) fn hear(&self, head: &[u8]) -> bool {
        let Some((status, mut fields)) = read(head) else {
            return false;
        };
        if status == StatusCode::CONTINUE && self.expects_continue.load(Ordering::Relaxed) {
            // hyper tells the client so itself when the body is asked for.
            self.is_body_wanted.store(true, Ordering::Relaxed);
            return true;
        }
        headers::remove_hop_by_hop(&mut fields);
        fields.remove(header::CONTENT_LENGTH);
        self.add(status, &fields);
        true
    }

    fn add(&self, status: StatusCode, fields: &HeaderMap) {
        let mut waiting = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let before = waiting.len();
        let reason = status.canonical_reason().unwrap_or("");
        waiting.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
        for (name, value) in fields {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                waiting.extend_from_slice(part);
            }
        }
        waiting.extend_from_slice(b"\r\n");
        if waiting.len() > WAITING_BYTES_MAX {
            waiting.truncate(before);
            return;
        }
        self.has_text.store(true, Ordering::Relaxed);
        self.writer.wake_by_ref();
    }

    /// What waits to be written; it does not wait any longer.
    pub(crate) fn take(&self) -> Vec<u8> {
        if !self.has_text.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.has_text.store(false, Ordering::Relaxed);
        let mut waiting = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting)
    }
}

/// Understands a head: its status and its fields. All its lines must end with CRLF, or it may have ended
/// before.
fn read(head: &[u8]) -> Option<(StatusCode, HeaderMap)> {
    let text = head.strip_suffix(b"\n\r\n")?;
    let mut lines = text.split(|byte| *byte == b'\n');
    let status_line = lines.next()?.strip_suffix(b"\r")?;
    let status = StatusCode::from_bytes(status_line.get(9..12)?).ok()?;
    let status = status.is_informational().then_some(status)?;
    let mut fields = HeaderMap::new();
    for line in lines {
        let line = line.strip_suffix(b"\r")?;
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        fields.append(name, value);
    }
    Some((status, fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(heads: &[&str]) -> String {
        let interim = Interim::new(Waker::noop().clone());
        interim.begin(false);
        for head in heads {
            interim.hear(head.as_bytes());
        }
        let text = String::from_utf8(interim.take()).unwrap();
        assert!(interim.take().is_empty());
        text
    }

    #[test]
    fn what_comes_before_the_answer_is_told_without_what_is_of_one_connection() {
        let head = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\nX: y\r\n\r\n";
        let told = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";
        assert_eq!(heard(&[head]), told);
        assert_eq!(heard(&[head, head]), told.repeat(2));
        assert_eq!(
            heard(&["HTTP/1.1 102\r\n\r\n"]),
            "HTTP/1.1 102 Processing\r\n\r\n"
        );
    }

    #[test]
    fn nothing_is_told_that_is_no_head() {
        for none in [
            "",
            "HTTP/1.1 103",
            "HTTP/1.1 1\r\n\r\n",
            "HTTP/1.1 103 x\r\nno colon\r\n\r\n",
            "HTTP/1.1 103 x\na: b\r\n\r\n",
            "HTTP/1.1 103 x\r\na: b\nc: d\r\n\r\n",
            "HTTP/1.1 103 x\n\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 103 x\r\na b: c\r\n\r\n",
            "HTTP/1.1 103 x\r\na: b\rc: d\r\n\r\n",
        ] {
            assert_eq!(heard(&[none]), "", "{none:?}");
        }
        let large = format!("HTTP/1.1 103 x\r\na: {}\r\n\r\n", "b".repeat(20_000));
        assert_eq!(heard(&[&large]), "");
    }

    #[test]
    fn the_word_for_a_body_is_not_told_but_taken() {
        let interim = Interim::new(Waker::noop().clone());
        interim.begin(true);
        assert!(!interim.is_body_wanted());
        interim.hear(b"HTTP/1.1 100 Continue\r\n\r\n");
        assert!(interim.is_body_wanted() && interim.take().is_empty());
        interim.begin(false);
        assert!(!interim.is_body_wanted());
    }
}
