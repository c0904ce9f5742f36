//! What is known of one request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use smallvec::SmallVec;

use crate::domain::decision::Decision;
use crate::domain::evidence::OutcomeClass;
use crate::domain::ids::{BackendIndex, FlagIndex, RouteIndex};
use crate::domain::routing::RoutingSnapshot;

/// The most bytes of a method that are kept: standard ones have seven at the most.
const METHOD_BYTES_MAX: usize = 32;

/// The most bytes of a host that are kept: a name of the longest kind, and a port.
const HOST_BYTES_MAX: usize = 261;

/// The most bytes of a path that are kept.
const PATH_BYTES_MAX: usize = 2_048;

/// The most bytes of a request's id that are kept: as many as are passed on.
const ID_BYTES_MAX: usize = 128;

/// Bytes of texts that find room in the record itself, which is nearly all of them.
const INLINE_BYTES: usize = 192;

/// One request, from its arrival to its end.
#[derive(Clone, Debug)]
pub struct Record {
    /// Who it came from, and by what.
    pub arrival: Arrival,
    /// What it was decided by.
    pub routing: Arc<RoutingSnapshot>,
    /// Where it went, as places in that.
    pub way: Way,
    /// What came of it.
    pub end: End,
    /// Whether the access log is to tell of it; others may want to know of it all the same.
    pub is_logged: bool,
    texts: Texts,
}

/// Who a request came from, and by what.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The address of the client, behind proxies that are believed.
    pub client: IpAddr,
    /// What the connection was spoken on: `http` or `https`.
    pub scheme: &'static str,
    /// The protocol.
    pub version: Version,
}

/// Where a request went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Way {
    /// The route.
    pub route: Option<RouteIndex>,
    /// What a flag decided.
    pub flag: Option<(FlagIndex, Decision)>,
    /// The backend that it was sent to last.
    pub backend: Option<BackendIndex>,
    /// The endpoint of it that was tried last, as its place among the backend's.
    pub endpoint: Option<usize>,
    /// Whether stable answered because canary took no connection, or failed a shielded request.
    pub is_rescued: bool,
    /// How often it was sent once more.
    pub retries: u32,
    /// The id of its trace, in hexadecimal digits.
    pub trace_id: Option<[u8; 32]>,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct End {
    /// When it ended, since 1970.
    pub at: Duration,
    /// The status of the answer, or 499.
    pub status: u16,
    /// How it counts.
    pub class: OutcomeClass,
    /// From its arrival to the end of the answer.
    pub duration: Duration,
    /// From when the backend had it to the head of the answer; none where no backend answered.
    pub head_latency: Option<Duration>,
    /// Bytes of its body that were passed on.
    pub bytes_in: u64,
    /// Bytes of the answer's body that were passed on.
    pub bytes_out: u64,
}

impl Record {
    /// Begins with a request that has arrived, by its method, host and path.
    pub fn new(arrival: Arrival, routing: Arc<RoutingSnapshot>, texts: [&[u8]; 3]) -> Self {
        Self {
            arrival,
            routing,
            way: Way::default(),
            end: End::default(),
            is_logged: false,
            texts: Texts::new(texts),
        }
    }

    /// Takes down the request's id.
    pub fn set_request_id(&mut self, id: &[u8]) {
        self.texts.set_request_id(id);
    }

    pub(super) fn method(&self) -> Text<'_> {
        self.texts.get(0)
    }

    pub(super) fn host(&self) -> Text<'_> {
        self.texts.get(1)
    }

    pub(super) fn path(&self) -> Text<'_> {
        self.texts.get(2)
    }

    pub(super) fn request_id(&self) -> &[u8] {
        self.texts.request_id()
    }
}

/// A text that may have been cut.
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) is_cut: bool,
}

/// Method, host and path of a request, and then its id, one behind the other.
#[derive(Clone, Debug)]
struct Texts {
    bytes: SmallVec<[u8; INLINE_BYTES]>,
    ends: [usize; 3],
    are_cut: [bool; 3],
}

impl Texts {
    fn new(texts: [&[u8]; 3]) -> Self {
        let mut kept = Self {
            bytes: SmallVec::new(),
            ends: [0; 3],
            are_cut: [false; 3],
        };
        let limits = [METHOD_BYTES_MAX, HOST_BYTES_MAX, PATH_BYTES_MAX];
        for (place, (text, limit)) in texts.into_iter().zip(limits).enumerate() {
            kept.are_cut[place] = text.len() > limit;
            kept.bytes.extend_from_slice(&text[..text.len().min(limit)]);
            kept.ends[place] = kept.bytes.len();
        }
        kept
    }

    fn get(&self, place: usize) -> Text<'_> {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        Text {
            bytes: &self.bytes[start..self.ends[place]],
            is_cut: self.are_cut[place],
        }
    }

    fn set_request_id(&mut self, id: &[u8]) {
        self.bytes.truncate(self.ends[2]);
        self.bytes
            .extend_from_slice(&id[..id.len().min(ID_BYTES_MAX)]);
    }

    fn request_id(&self) -> &[u8] {
        &self.bytes[self.ends[2]..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_record_is_one_small_piece_of_memory() {
        assert!(size_of::<Record>() <= 512, "{}", size_of::<Record>());
        let texts = Texts::new([b"GET", b"shop.example.com", &[b'p'; 130]]);
        assert!(!texts.bytes.spilled());
    }
}
