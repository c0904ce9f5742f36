//! What a request tells of its caller, where that is wanted.

use http::Request;
use smallvec::SmallVec;

use crate::domain::caller_features::{PathMark, Sighting};
use crate::domain::evidence::OutcomeClass;
use crate::proxy::observe::Observation;
use crate::proxy::resolve::{Found, Sender};

/// The longest key that needs no memory of its own: a UUID, an address, a number.
const SHORT_KEY_BYTES: usize = 40;

/// A caller whose request is under way.
pub(super) struct Seen {
    /// The key, as text.
    key: SmallVec<[u8; SHORT_KEY_BYTES]>,
    is_write: bool,
    path: PathMark,
    request_bytes: u64,
    response_bytes: u64,
}

impl Observation {
    /// Notes who has sent the request, if that is wanted and known. A browser that is only now given a cookie
    /// is nobody yet.
    pub(crate) fn sees<'a, B>(
        &mut self,
        sender: &Sender<'a, impl FnOnce() -> Found<'a>>,
        request: &Request<B>,
    ) {
        if !self.worker.census.is_on() {
            return;
        }
        let (_, identity) = &**sender;
        if identity.set_cookie.is_some() {
            return;
        }
        self.caller = identity.caller().key().map(|key| {
            Box::new(Seen {
                key: SmallVec::from_slice(key.as_bytes()),
                is_write: !request.method().is_safe(),
                path: PathMark::of(request.uri().path()),
                request_bytes: 0,
                response_bytes: 0,
            })
        });
    }

    /// Says that so many bytes of the answer's body go to the client.
    pub(super) fn passed_back(&mut self, bytes: u64) {
        self.entry.passed_back(bytes);
        if let Some(seen) = &mut self.caller {
            seen.response_bytes += bytes;
        }
    }

    /// Says how many bytes went to the backend and to the client after a switch of protocols.
    pub(crate) fn passed_through(&mut self, up: u64, down: u64) {
        self.entry.passed_through(up, down);
        if let Some(seen) = &mut self.caller {
            seen.request_bytes += up;
            seen.response_bytes += down;
        }
    }

    /// Tells, once, how the request of a known caller ended: as the caller has seen it, whatever was made good.
    pub(super) fn tell_of_caller(&mut self, class: OutcomeClass) {
        let Some(seen) = self.caller.take() else {
            return;
        };
        let Ok(key) = std::str::from_utf8(&seen.key) else {
            return;
        };
        let upload = self.upload.as_ref();
        let sighting = Sighting {
            is_error: !matches!(class, OutcomeClass::Success | OutcomeClass::ClientAborted),
            is_write: seen.is_write,
            path: seen.path,
            head_latency: self.head_latency,
            request_bytes: seen.request_bytes + upload.map_or(0, |upload| upload.bytes.get()),
            response_bytes: seen.response_bytes,
        };
        let census = &self.worker.census;
        census.with_book(|book, now| book.see(key, &sighting, now));
    }
}
