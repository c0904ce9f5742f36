//! Sees how a request ends, and counts it exactly once. What has no end to wait for, a stream of events
//! or a switch to another protocol, counts when it begins, and its arm has a failure more if the backend
//! breaks it later.
//!
//! An [`Observation`] begins with the request and ends with the last byte of the answer. It
//! travels with the answer's body; dropped before it was told how things ended, it takes that to
//! mean that the client left.

mod attempts;
mod caller;
mod file;
mod look;
mod patience;

use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use tokio::time::Instant;

use crate::domain::backend::Timeouts;
use crate::domain::decision::Decision;
use crate::domain::evidence::{Failure, Outcome, OutcomeClass, grpc};
use crate::domain::ids::{FlagIndex, RouteIndex};
use crate::proxy::access::Entry;
use crate::proxy::client::Client;
use crate::proxy::observe::caller::Seen;
use crate::proxy::observe::look::Look;
use crate::proxy::upload::UploadProgress;
use crate::proxy::upstream::pool::InFlight;
use crate::proxy::view::View;
use crate::proxy::waiting::Waiting;
use crate::proxy::worker::Worker;
use crate::runtime::clock;
use crate::runtime::recorder::ArmCounters;
use crate::runtime::watch::{RolloutWatch, Watched};

pub(crate) use crate::proxy::observe::patience::patience;

/// The code under which a client counts that left before there was an answer, as in nginx.
const CLIENT_LEFT: u16 = 499;

/// How a call of gRPC went.
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// What is known so far of how one request goes.
pub(crate) struct Observation {
    worker: Rc<Worker>,
    client: Rc<Client>,
    view: Rc<View>,
    route: Option<RouteIndex>,
    flag: Option<(FlagIndex, Decision)>,
    started: Instant,
    upload: Option<Rc<UploadProgress>>,
    /// How long a backend may keep a client waiting before leaving is no longer the client's whim.
    patience: Option<Duration>,
    status: Option<StatusCode>,
    /// Since when the rest of the answer is waited for.
    waits_since: Option<Instant>,
    head_latency: Option<Duration>,
    /// How the answer's call went, where it is one of gRPC: none until it has said so.
    grpc: Option<Option<HeaderValue>>,
    /// What is looked at of the answer where a rollout watches.
    look: Look,
    /// Whether another variant answers in place of the one decided.
    is_rescued: bool,
    /// How the first attempt failed on the arm that was decided, whatever was made good afterwards.
    first_attempt: Option<OutcomeClass>,
    /// Counts the exchange as under way where it is answered.
    in_flight: Option<InFlight>,
    is_counted: bool,
    /// Who has sent it, where that is of interest.
    caller: Option<Box<Seen>>,
    /// What the access log is to tell of it.
    pub(crate) entry: Entry,
}

impl Observation {
    /// Begins with a request that has arrived.
    pub(crate) fn begin(worker: Rc<Worker>, client: Rc<Client>, view: Rc<View>) -> Box<Self> {
        client.begin_request();
        // On the heap: it goes from hand to hand.
        Box::new(Self {
            worker,
            client,
            view,
            route: None,
            flag: None,
            started: clock::monotonic(),
            upload: None,
            patience: None,
            status: None,
            waits_since: None,
            head_latency: None,
            grpc: None,
            look: Look::default(),
            is_rescued: false,
            first_attempt: None,
            in_flight: None,
            is_counted: false,
            caller: None,
            entry: Entry::default(),
        })
    }

    /// Begins what the access log is to tell of the request, as it has come.
    pub(crate) fn log<B>(&mut self, request: &Request<B>) {
        if self.worker.clerk.is_on() {
            self.look.is_bodiless = *request.method() == Method::HEAD;
            self.entry = self.worker.with_random(|random| {
                let clerk = &self.worker.clerk;
                clerk.begin(&self.client, &self.view, request, random)
            });
        }
    }

    /// Says which route the request took.
    pub(crate) const fn routed(&mut self, route: RouteIndex) {
        self.route = Some(route);
    }

    /// Says what was decided for it.
    pub(crate) const fn decided(&mut self, flag: FlagIndex, decision: Decision) {
        self.flag = Some((flag, decision));
    }

    /// Says that the request is on its way, with what is known of its body.
    pub(crate) fn sent(
        &mut self,
        method: &Method,
        upload: Option<Rc<UploadProgress>>,
        timeouts: &Timeouts,
    ) {
        self.client.must_take_within(timeouts.idle);
        self.upload = upload;
        self.patience = Some(patience(timeouts));
        self.look.is_bodiless = *method == Method::HEAD;
        if let Some((flag, decision)) = self.flag
            && self.watch().is_some()
        {
            let ticket = self.worker.waiting.enter(Waiting {
                view: Rc::clone(&self.view),
                flag,
                decision,
                started: self.started,
                upload: self.upload.clone(),
            });
            self.look.ticket = Some(ticket);
        }
    }

    /// It no longer waits for its head, or what it waits for is another arm's.
    fn stop_waiting(&mut self) {
        if let Some(ticket) = self.look.ticket.take() {
            self.look.was_waiting = self.worker.waiting.leave(ticket);
        }
    }

    /// Says by whom the request is answered, which is over when the answer is.
    pub(crate) fn answered_at(&mut self, endpoint: InFlight) {
        self.in_flight = Some(endpoint);
    }

    /// Says that the head of the backend's answer has come.
    pub(crate) fn head(&mut self, status: StatusCode, fields: &HeaderMap) {
        self.stop_waiting();
        self.note_exposure();
        self.status = Some(status);
        self.head_latency = Some(clock::monotonic() - self.backends_turn());
        let content_type = fields.get(header::CONTENT_TYPE);
        if content_type.is_some_and(|value| grpc::is_grpc(value.as_bytes())) {
            self.grpc = Some(fields.get(GRPC_STATUS).cloned());
        }
        if self.watch().is_some() {
            let types = self.view.meters().content_types();
            self.look.see(status, content_type, types);
        }
    }

    /// Says that so many bytes of the answer's body have come.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.passed_back(bytes as u64);
        if let Some(sum) = &mut self.look.bytes {
            *sum += bytes as u64;
        }
    }

    /// Counts a request whose answer has begun and has no end that could be waited for: a switch to
    /// another protocol, a stream of events. Whether the backend breaks it is seen later.
    pub(crate) fn opened(&mut self) {
        // It will be as long as it lasts.
        self.look.bytes = None;
        self.count_once(self.class_by_status());
    }

    /// Says what has come after the answer's body.
    pub(crate) fn trailers(&mut self, fields: &HeaderMap) {
        if let (Some(grpc), Some(status)) = (&mut self.grpc, fields.get(GRPC_STATUS)) {
            *grpc = Some(status.clone());
        }
    }

    /// Counts a request that Serin answered itself.
    pub(crate) fn answered<B: Body>(
        mut self: Box<Self>,
        answer: &Response<B>,
        class: OutcomeClass,
    ) {
        self.tell_endpoint(class);
        if class.is_failure() {
            self.note_exposure();
        }
        self.status = Some(answer.status());
        if !self.look.is_bodiless {
            self.passed_back(answer.body().size_hint().lower());
        }
        self.count(class);
    }

    /// Counts a request whose answer came to its end.
    pub(crate) fn completed(mut self: Box<Self>) {
        if self.is_counted {
            let class = self.class_by_status();
            self.tell_endpoint(class);
            return self.file(class);
        }
        let class = match (self.status.map(OutcomeClass::of_status), &self.grpc) {
            // The status says more than a call's: it was not answered as a call at all.
            (Some(OutcomeClass::Success), Some(status)) if !self.look.is_bodiless => {
                grpc::class(status.as_ref().map(HeaderValue::as_bytes))
            }
            (class, _) => class.unwrap_or(OutcomeClass::ProxyFault),
        };
        self.tell_endpoint(class);
        self.count(class);
    }

    /// Counts a request whose answer was cut off.
    pub(crate) fn cut(mut self: Box<Self>, class: OutcomeClass) {
        if !self.is_counted {
            self.tell_endpoint(class);
            return self.count(class);
        }
        self.file(class);
        // It was counted as what it began as; that it was broken off is its backend's failure as well.
        // That it was silent is not, and a backend that stood in is none of the arm's.
        let is_broken = matches!(
            class,
            OutcomeClass::BackendFailure(Failure::CutBody | Failure::Reset)
        );
        if is_broken {
            self.tell_endpoint(class);
        }
        if is_broken && self.first_attempt.is_none() {
            self.look = Look::default();
            self.head_latency = None;
            self.count_in_arm(class);
        }
    }

    fn class_by_status(&self) -> OutcomeClass {
        let class = self.status.map(OutcomeClass::of_status);
        class.unwrap_or(OutcomeClass::ProxyFault)
    }

    /// The time to the second, without asking for it.
    pub(crate) fn coarse_now(&self) -> Instant {
        self.worker.coarse_now()
    }

    /// Says since when the rest of the answer is waited for, if it is.
    pub(crate) const fn waits_for_backend(&mut self, since: Option<Instant>) {
        self.waits_since = since;
    }

    /// Since when the backend has had all it needs to answer.
    fn backends_turn(&self) -> Instant {
        UploadProgress::backends_turn(self.upload.as_deref(), self.started)
    }

    fn arm(&self) -> Option<&ArmCounters> {
        let (flag, decision) = self.flag?;
        let meters = self.view.meters();
        Some(meters.arm(flag, decision))
    }

    /// How the flag's rollout looks at this request, if there is one and chance decided the variant.
    fn watch(&self) -> Option<&RolloutWatch> {
        let (flag, decision) = self.flag?;
        let watch = self.view.meters().watch(flag)?;
        (!decision.is_apart()).then_some(watch)
    }

    fn count(&mut self, class: OutcomeClass) {
        self.file(class);
        self.count_once(class);
    }

    fn count_once(&mut self, class: OutcomeClass) {
        self.is_counted = true;
        let class = self.first_attempt.unwrap_or(class);
        let decision = self.flag.map(|(_, decision)| decision);
        let codes = self.view.meters().codes(self.route, decision);
        codes.record(self.code());
        self.stop_waiting();
        self.count_in_arm(class);
    }

    /// The status that the client was told, or what stands for one where it left before.
    fn code(&self) -> u16 {
        self.status.map_or(CLIENT_LEFT, |status| status.as_u16())
    }

    fn count_in_arm(&self, class: OutcomeClass) {
        if let (Some(arm), Some((flag, decision))) = (self.arm(), self.flag) {
            let mut outcome = Outcome {
                class,
                head_latency: self.head_latency,
                bytes: self.look.bytes,
                content_type: self.look.content_type,
            };
            let was_waiting = self.look.was_waiting;
            if let Some(watch) = self.watch() {
                let request = Watched {
                    decision,
                    epoch: self.view.epoch(flag),
                    was_waiting,
                };
                watch.count_end(&request, &outcome, &arm.cells);
            }
            if was_waiting
                && class.is_evidence()
                && let Some(latency) = outcome.head_latency.take()
            {
                arm.record_late_head(latency);
            }
            arm.record(&outcome, decision.hash);
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if self.is_counted {
            let class = self.class_by_status();
            self.tell_endpoint(class);
            self.file(class);
        } else {
            // Nobody knows how long the answer would have become.
            self.look.bytes = None;
            let class = self.abandoned();
            self.tell_endpoint(class);
            // An arm whose answer was left has answered well; the log tells that it was left.
            self.file(match class {
                OutcomeClass::BackendFailure(_) => class,
                _ => OutcomeClass::ClientAborted,
            });
            self.count_once(class);
        }
        self.client.end_request(self.worker.coarse_now());
    }
}
