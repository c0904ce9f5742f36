//! Sees how a request ends, and counts it exactly once.
//!
//! An [`Observation`] begins with the request and ends with the last byte of the answer. It
//! travels with the answer's body; dropped before it was told how things ended, it takes that to
//! mean that the client left.

use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::domain::backend::Timeouts;
use crate::domain::decision::Decision;
use crate::domain::evidence::{Failure, Outcome, OutcomeClass};
use crate::domain::ids::{FlagIndex, RouteIndex};
use crate::proxy::connection::Client;
use crate::proxy::upload::UploadProgress;
use crate::proxy::view::View;
use crate::proxy::worker::Worker;
use crate::runtime::clock;
use crate::runtime::recorder::ArmCounters;

/// A client that leaves after this part of the time a backend has to answer was kept waiting.
///
/// A fifth, three seconds of fifteen: clients give up before proxies do, and a backend that hangs
/// until they do must not look as if nobody had asked it.
const PATIENCE_PARTS: u32 = 5;

/// The code under which a client counts that left before there was an answer, as in nginx.
const CLIENT_LEFT: u16 = 499;

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
    /// How the first attempt failed on the arm that was decided, whatever was made good afterwards.
    first_attempt: Option<OutcomeClass>,
    is_counted: bool,
}

impl Observation {
    /// Begins with a request that has arrived.
    pub(crate) fn begin(worker: Rc<Worker>, client: Rc<Client>, view: Rc<View>) -> Self {
        client.begin_request();
        Self {
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
            first_attempt: None,
            is_counted: false,
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
    pub(crate) fn sent(&mut self, upload: Option<Rc<UploadProgress>>, timeouts: &Timeouts) {
        let patience = timeouts.response / PATIENCE_PARTS;
        self.client.must_take_within(timeouts.idle);
        self.upload = upload;
        self.patience = Some(patience);
    }

    /// Says that the first attempt failed, though another may still succeed.
    pub(crate) fn first_attempt_failed(&mut self, class: OutcomeClass, was_refused: bool) {
        self.first_attempt = Some(class);
        if was_refused && let Some(arm) = self.arm() {
            arm.record_refused();
        }
    }

    /// Says that another variant's backend answers in place of the one decided.
    pub(crate) fn rescued(&self) {
        if let Some(arm) = self.arm() {
            arm.record_rescued();
        }
    }

    /// Says that the head of the backend's answer has come.
    pub(crate) fn head(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.head_latency = Some(clock::monotonic() - self.backends_turn());
    }

    /// Counts a request that Serin answered itself.
    pub(crate) fn answered(mut self, status: StatusCode, class: OutcomeClass) {
        self.status = Some(status);
        self.count(class);
    }

    /// Counts a request whose answer came to its end.
    pub(crate) fn completed(mut self) {
        let class = self.status.map(OutcomeClass::of_status);
        self.count(class.unwrap_or(OutcomeClass::ProxyFault));
    }

    /// Counts a request whose answer was cut off.
    pub(crate) fn cut(mut self, class: OutcomeClass) {
        self.count(class);
    }

    /// Says since when the rest of the answer is waited for, if it is.
    pub(crate) const fn waits_for_backend(&mut self, since: Option<Instant>) {
        self.waits_since = since;
    }

    /// Since when the backend has had all it needs to answer. The time that a client takes to
    /// send a body is its own.
    fn backends_turn(&self) -> Instant {
        let upload = self.upload.as_ref();
        upload.map_or(self.started, |upload| upload.moved.get().max(self.started))
    }

    /// What it means that the client is gone: once the answer had begun, no more than its status
    /// says; before that nothing. But if the backend had kept it waiting for long, that is why.
    fn abandoned(&self) -> OutcomeClass {
        let is_uploaded = self
            .upload
            .as_ref()
            .is_none_or(|upload| upload.ended.get() && !upload.broken.get());
        let waits_since = match self.status {
            Some(_) => self.waits_since,
            None => Some(self.backends_turn()),
        };
        let waited = waits_since.map(|since| clock::monotonic() - since);
        if is_uploaded
            && waited
                .zip(self.patience)
                .is_some_and(|(waited, most)| waited > most)
        {
            return OutcomeClass::BackendFailure(Failure::Timeout);
        }
        let by_status = self.status.map(OutcomeClass::of_status);
        by_status.unwrap_or(OutcomeClass::ClientAborted)
    }

    fn arm(&self) -> Option<&ArmCounters> {
        let (flag, decision) = self.flag?;
        let meters = self.view.meters();
        Some(meters.arm(flag, decision.stratum, decision.variant))
    }

    fn count(&mut self, class: OutcomeClass) {
        self.is_counted = true;
        let class = self.first_attempt.unwrap_or(class);
        let status = self.status.map_or(CLIENT_LEFT, |status| status.as_u16());
        let decision = self.flag.map(|(_, decision)| decision);
        let codes = self.view.meters().codes(self.route, decision);
        codes.record(status);
        if let (Some(arm), Some(decision)) = (self.arm(), decision) {
            let head_latency = self.head_latency;
            let outcome = Outcome {
                class,
                head_latency,
                ..Outcome::default()
            };
            arm.record(&outcome, decision.hash);
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if !self.is_counted {
            self.count(self.abandoned());
        }
        self.client.end_request(self.worker.coarse_now());
    }
}
