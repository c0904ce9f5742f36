//! One worker's part in the access log: begins records, and lays them out to be written.
//!
//! Whether there is a log, and what is in it, is looked at once a second, so that without one a
//! request pays for a look at a number and nothing else. With one it pays for a record: an
//! allocation, copies of a few short texts, and a lock that nobody holds for long.

use std::cell::{Cell, RefCell};

use http::{HeaderValue, Request, header};
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::time::Instant;

use crate::domain::backend::Endpoint;
use crate::domain::ids::BackendIndex;
use crate::domain::weight::Weight;
use crate::proxy::client::Client;
use crate::proxy::forwarded;
use crate::proxy::postscript::Draft;
use crate::proxy::tail::Tail;
use crate::proxy::trace;
use crate::proxy::view::View;
use crate::runtime::snapshot::SnapshotReader;
use crate::runtime::trays::TraySender;
use crate::telemetry::access_log::{Arrival, Record};

/// How often each worker logs, at the most, that lines are lost.
const WARNING_SECONDS: u64 = 10;

/// What is logged, and where it is left.
#[derive(Clone, Debug)]
pub struct AccessLogTerms {
    /// The share of requests that are logged.
    pub sample: Weight,
    /// Whether the query is logged with the path.
    pub shows_query: bool,
    /// Where records are left.
    pub trays: TraySender<Box<Record>>,
}

/// Reads what is logged; `None` where nothing is.
pub type AccessLogReader = SnapshotReader<Option<AccessLogTerms>>;

/// One worker's part in the access log.
pub(crate) struct Clerk {
    worker: usize,
    reader: RefCell<AccessLogReader>,
    terms: RefCell<Option<AccessLogTerms>>,
    tail: Tail,
    /// Whether somebody looks on at all requests.
    is_watched: Cell<bool>,
    /// The share that is logged; the same as in the terms, at hand.
    sample: Cell<Weight>,
    /// Records that found no room since it was last said.
    lost: Cell<u64>,
    warned: Cell<Option<Instant>>,
}

impl Clerk {
    pub(crate) fn new(worker: usize, reader: AccessLogReader, tail: Tail) -> Self {
        let clerk = Self {
            worker,
            reader: RefCell::new(reader),
            terms: RefCell::default(),
            tail,
            is_watched: Cell::default(),
            sample: Cell::default(),
            lost: Cell::default(),
            warned: Cell::default(),
        };
        clerk.refresh();
        clerk
    }

    /// Whether anything is logged, or looked at.
    pub(crate) const fn is_on(&self) -> bool {
        !matches!(self.sample.get(), Weight::ZERO) || self.is_watched.get()
    }

    fn refresh(&self) {
        self.is_watched.set(self.tail.is_watched());
        if let Some(terms) = self.reader.borrow_mut().refresh() {
            let share = terms.as_ref().as_ref().map(|terms| terms.sample);
            self.sample.set(share.unwrap_or(Weight::ZERO));
            *self.terms.borrow_mut() = (*terms).clone();
        }
    }

    /// Looks whether other things are to be logged, and says now and then what could not be.
    pub(crate) fn look(&self, now: Instant) {
        self.refresh();
        let is_time = |last: Instant| (now - last).as_secs() >= WARNING_SECONDS;
        if self.lost.get() > 0 && self.warned.get().is_none_or(is_time) {
            self.warned.set(Some(now));
            let lines = self.lost.take();
            tracing::warn!(lines, "access log not written fast enough, lines are lost");
        }
    }

    /// Begins the record of a request, if it is to have one.
    pub(crate) fn begin<B>(
        &self,
        client: &Client,
        view: &View,
        request: &Request<B>,
        random: &mut SmallRng,
    ) -> Entry {
        let share = self.sample.get();
        let is_logged =
            share == Weight::FULL || random.random_range(0..Weight::WHOLE) < share.basis_points();
        if !is_logged && !self.is_watched.get() {
            return Entry::default();
        }
        let shows_query = self
            .terms
            .borrow()
            .as_ref()
            .is_some_and(|terms| terms.shows_query);
        let routing = view.shared_routing();
        let arrival = Arrival {
            client: forwarded::client_ip(request.headers(), client.ip(), &routing.trusted),
            scheme: client.scheme.as_str(),
            version: request.version(),
        };
        let uri = request.uri();
        let host = match uri.authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None => request
                .headers()
                .get(header::HOST)
                .map_or(&b""[..], |host| host.as_bytes()),
        };
        let whole = uri.path_and_query().filter(|_| shows_query);
        let path = whole.map_or_else(|| uri.path(), |whole| whole.as_str());
        let method = request.method().as_str().as_bytes();
        let texts = [method, without_user(host), path.as_bytes()];
        let mut record = Record::new(arrival, routing, texts);
        record.is_logged = is_logged;
        Entry(Some(Box::new(record)))
    }

    /// Leaves a record to be written, and to be looked at where somebody does; one whose log has been taken
    /// out of the configuration is not written.
    pub(crate) fn file(&self, record: Box<Record>) {
        if self.is_watched.get() {
            self.tail.leave(self.worker, Record::clone(&record));
        }
        if record.is_logged
            && let Some(terms) = &*self.terms.borrow()
            && !terms.trays.leave(self.worker, record)
        {
            self.lost.set(self.lost.get() + 1);
        }
    }
}

/// The part of a host that is none of a user's: a request with a user is refused, and a password in the
/// log would remain.
fn without_user(host: &[u8]) -> &[u8] {
    let start = host.iter().rposition(|byte| *byte == b'@');
    &host[start.map_or(0, |at| at + 1)..]
}

/// What is logged of one request, if anything.
#[derive(Default)]
pub(crate) struct Entry(Option<Box<Record>>);

impl Entry {
    /// Says by what marks the request can be found in other logs.
    pub(crate) fn marked(&mut self, request_id: &HeaderValue, draft: &Draft<'_>) {
        if let Some(record) = &mut self.0 {
            record.set_request_id(request_id.as_bytes());
            record.way.trace_id = trace::trace_id(draft);
        }
    }

    /// Says to which backend the request is sent now.
    pub(crate) fn heads_for(&mut self, backend: BackendIndex) -> &mut Self {
        if let Some(record) = &mut self.0 {
            record.way.backend = Some(backend);
            record.way.endpoint = None;
        }
        self
    }

    /// Says which endpoint of that backend is tried now.
    pub(crate) fn tries(&mut self, endpoint: &Endpoint) {
        if let Some(record) = &mut self.0
            && let Some(backend) = record.way.backend
        {
            let endpoints = &record.routing.backend(backend).endpoints;
            record.way.endpoint = endpoints.iter().position(|known| known == endpoint);
        }
    }

    /// Says that the request is sent once more.
    pub(crate) fn retried(&mut self) {
        if let Some(record) = &mut self.0 {
            record.way.retries += 1;
        }
    }

    /// Where the request has been sent.
    pub(crate) fn way(&self) -> Option<(BackendIndex, Option<usize>)> {
        let way = &self.0.as_ref()?.way;
        Some((way.backend?, way.endpoint))
    }

    /// Says that the answer comes from there after all.
    pub(crate) fn went(&mut self, way: Option<(BackendIndex, Option<usize>)>) {
        if let (Some(record), Some((backend, endpoint))) = (&mut self.0, way) {
            record.way.backend = Some(backend);
            record.way.endpoint = endpoint;
        }
    }

    /// Says that another variant's backend answers in place of the one decided.
    pub(crate) fn rescued(&mut self) {
        if let Some(record) = &mut self.0 {
            record.way.is_rescued = true;
        }
    }

    /// Says that so many bytes of the answer's body go to the client.
    pub(crate) fn passed_back(&mut self, bytes: u64) {
        if let Some(record) = &mut self.0 {
            record.end.bytes_out += bytes;
        }
    }

    /// Says how many bytes went to the backend and to the client after a switch of protocols.
    pub(crate) fn passed_through(&mut self, up: u64, down: u64) {
        if let Some(record) = &mut self.0 {
            record.end.bytes_in += up;
            record.end.bytes_out += down;
        }
    }

    /// The record, which nothing is added to any more.
    pub(crate) const fn take(&mut self) -> Option<Box<Record>> {
        self.0.take()
    }
}
