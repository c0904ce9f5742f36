//! Answers that come before the answer: `103 Early Hints`, `100 Continue` (RFC 9110, section 15.2).
//!
//! hyper tells of them on the side of backends and has no way to send them to clients. So they wait
//! here until the client's stream has nothing else to write, and are written past hyper. Whoever
//! cannot be told, as in HTTP/2, does without; nothing depends on them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use http::{HeaderMap, Request, StatusCode, header};

use crate::proxy::headers;

/// The most bytes that wait to be written to one client.
const WAITING_BYTES_MAX: usize = 16 * 1024;

/// What one client is to be told before its answer. Shared with the connection to a backend, which
/// is driven by another task of the same thread.
#[derive(Debug)]
pub(crate) struct Interim {
    has_text: AtomicBool,
    text: Mutex<Vec<u8>>,
    /// Whether the backend wants to have the body.
    is_body_wanted: AtomicBool,
    /// Who writes to the client, and who waits to send the body.
    writer: Waker,
}

impl Interim {
    /// For a client whose connection is driven by this task.
    pub(crate) const fn new(writer: Waker) -> Self {
        Self {
            has_text: AtomicBool::new(false),
            text: Mutex::new(Vec::new()),
            is_body_wanted: AtomicBool::new(false),
            writer,
        }
    }

    /// Has a request tell what its backend says before it answers.
    pub(crate) fn listen<B>(self: &Arc<Self>, request: &mut Request<B>, expects_continue: bool) {
        self.is_body_wanted.store(false, Ordering::Relaxed);
        let this = Arc::clone(self);
        hyper::ext::on_informational(request, move |answer| {
            if expects_continue && answer.status() == StatusCode::CONTINUE {
                // hyper tells the client so itself when the body is asked for.
                this.is_body_wanted.store(true, Ordering::Relaxed);
            } else {
                this.add(answer.status(), answer.headers());
            }
        });
    }

    /// Whether the backend has asked for the body.
    pub(crate) fn is_body_wanted(&self) -> bool {
        self.is_body_wanted.load(Ordering::Relaxed)
    }

    fn add(&self, status: StatusCode, fields: &HeaderMap) {
        let mut fields = fields.clone();
        headers::remove_hop_by_hop(&mut fields);
        fields.remove(header::CONTENT_LENGTH);
        let mut waiting = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let before = waiting.len();
        let reason = status.canonical_reason().unwrap_or("");
        waiting.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
        for (name, value) in &fields {
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
        if !self.has_text.swap(false, Ordering::Relaxed) {
            return Vec::new();
        }
        let mut waiting = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting)
    }
}
