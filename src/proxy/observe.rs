//! Sees how a request ends, and counts it exactly once.
//!
//! An [`Observation`] begins with the request and ends with the last byte of the answer. It
//! travels with the answer's body; dropped before it was told how things ended, it takes that to
//! mean that the client left.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::domain::decision::Decision;
use crate::domain::evidence::{Failure, Outcome, OutcomeClass};
use crate::domain::ids::{FlagIndex, RouteIndex};
use crate::proxy::connection::Client;
use crate::proxy::upstream::pool::Lease;
use crate::proxy::view::View;
use crate::proxy::worker::Worker;
use crate::runtime::clock;

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
    status: Option<StatusCode>,
    head_latency: Option<Duration>,
    /// The failure of the arm that was decided, whatever was made good afterwards.
    first_failure: Option<Failure>,
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
            status: None,
            head_latency: None,
            first_failure: None,
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

    /// Says that the first attempt failed, though another may still succeed.
    pub(crate) fn first_attempt_failed(&mut self, class: OutcomeClass, was_refused: bool) {
        if let OutcomeClass::BackendFailure(failure) = class {
            self.first_failure.get_or_insert(failure);
        }
        if let Some((flag, decision)) = self.flag {
            let arm = self
                .view
                .meters()
                .arm(flag, decision.stratum, decision.variant);
            if was_refused {
                arm.record_refused();
            }
        }
    }

    /// Says that another variant's backend answers in place of the one decided.
    pub(crate) fn rescued(&self) {
        if let Some((flag, decision)) = self.flag {
            self.view
                .meters()
                .arm(flag, decision.stratum, decision.variant)
                .record_rescued();
        }
    }

    /// Says that the head of the backend's answer has come.
    pub(crate) fn head(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.head_latency = Some(self.started.elapsed());
    }

    /// Counts a request that Serin answered itself.
    pub(crate) fn answered(mut self, status: StatusCode, class: OutcomeClass) {
        self.status = Some(status);
        self.count(class);
    }

    /// Counts a request whose answer came to its end, or broke.
    fn ended(mut self, broken: Option<Failure>) {
        let class = match (broken, self.status) {
            (Some(failure), _) => OutcomeClass::BackendFailure(failure),
            (None, Some(status)) => OutcomeClass::of_status(status),
            (None, None) => OutcomeClass::ProxyFault,
        };
        self.count(class);
    }

    fn count(&mut self, class: OutcomeClass) {
        self.is_counted = true;
        let class = self
            .first_failure
            .map_or(class, OutcomeClass::BackendFailure);
        let status = self.status.map_or(CLIENT_LEFT, |status| status.as_u16());
        let meters = self.view.meters();
        let decision = self.flag.map(|(_, decision)| decision);
        meters.codes(self.route, decision).record(status);
        if let Some((flag, decision)) = self.flag {
            let outcome = Outcome {
                class,
                head_latency: self.head_latency,
            };
            meters
                .arm(flag, decision.stratum, decision.variant)
                .record(&outcome, decision.hash);
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if !self.is_counted {
            // A client that leaves in the middle of a failed answer has still seen it fail.
            let failed = self.status.map(OutcomeClass::of_status);
            let failed = failed.filter(|class| matches!(class, OutcomeClass::BackendFailure(_)));
            self.count(failed.unwrap_or(OutcomeClass::ClientAborted));
        }
        self.client.end_request(self.worker.coarse_now());
    }
}

/// A backend's answer on its way to the client.
pub(crate) struct Download {
    body: Incoming,
    idle_limit: Duration,
    /// Runs only while the backend keeps us waiting.
    idle: Option<Pin<Box<Sleep>>>,
    /// Until the answer has ended.
    open: Option<(Observation, Lease)>,
}

/// Why an answer is cut off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    /// The backend broke off.
    #[error("the backend broke off its answer")]
    Cut(#[source] hyper::Error),
    /// The backend sent nothing for too long.
    #[error("the backend sent nothing for {0:?}")]
    Idle(Duration),
}

impl Download {
    fn end(&mut self, broken: Option<Failure>) {
        if let Some((observation, lease)) = self.open.take() {
            if broken.is_none() {
                lease.give_back();
            }
            observation.ended(broken);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.idle = None;
                if self.body.is_end_stream() {
                    self.end(None);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.end(None);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.end(Some(Failure::CutBody));
                Poll::Ready(Some(Err(DownloadError::Cut(error))))
            }
            Poll::Pending => {
                let limit = self.idle_limit;
                let idle = self
                    .idle
                    .get_or_insert_with(|| Box::pin(sleep_until(clock::monotonic() + limit)));
                std::task::ready!(idle.as_mut().poll(cx));
                self.end(Some(Failure::Timeout));
                Poll::Ready(Some(Err(DownloadError::Idle(limit))))
            }
        }
    }
}

/// The body of an answer: a backend's, or one of our own.
pub(crate) enum ResponseBody {
    /// Comes from a backend.
    Download(Download),
    /// Is here already.
    Full(Option<Bytes>),
}

impl ResponseBody {
    /// A backend's answer, observed to its end.
    pub(crate) fn download(
        body: Incoming,
        idle_limit: Duration,
        observation: Observation,
        lease: Lease,
    ) -> Self {
        let mut download = Download {
            body,
            idle_limit,
            idle: None,
            open: Some((observation, lease)),
        };
        if download.body.is_end_stream() {
            download.end(None);
        }
        Self::Download(download)
    }

    /// An answer of our own.
    pub(crate) const fn full(bytes: Bytes) -> Self {
        Self::Full(Some(bytes))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = DownloadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        match self.get_mut() {
            Self::Download(download) => download.poll(cx),
            Self::Full(bytes) => Poll::Ready(bytes.take().map(Frame::data).map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Download(download) => download.body.is_end_stream(),
            Self::Full(bytes) => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Download(download) => download.body.size_hint(),
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}
