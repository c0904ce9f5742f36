//! What is exported of requests and of the endpoints that answer them.

use crate::telemetry::family::Family;
use crate::telemetry::samples::{ArmSample, EndpointSample, RequestSample};

pub(crate) fn requests(samples: &[RequestSample]) -> Vec<Family> {
    let mut family = Family::counter(
        "serin_requests_total",
        "Requests by route, flag, variant decided, group and status code; 499 is a client that left before the answer",
    );
    for sample in samples {
        let labels = [
            ("route", sample.route.as_str()),
            ("flag", &sample.flag),
            ("variant", &sample.variant),
            ("group", &sample.group),
            ("code", sample.code),
        ];
        family.add_count(&labels, sample.count);
    }
    vec![family]
}

pub(crate) fn arms(samples: &[ArmSample]) -> Vec<Family> {
    let mut durations = Family::histogram(
        "serin_request_duration_seconds",
        "Time from a request's head to its answer's head",
    );
    let mut failures = Family::counter(
        "serin_backend_failures_total",
        "Requests whose first attempt failed by the fault of the variant decided, by kind of failure",
    );
    let mut rescues = Family::counter(
        "serin_rescued_requests_total",
        "Requests of canary that stable answered because canary took no connection, or failed a shielded one",
    );
    let mut outcomes = Family::counter(
        "serin_outcomes_total",
        "First attempts by whose fault it was that they failed; only none and backend are evidence",
    );
    for sample in samples {
        let labels = [
            ("flag", sample.flag.as_str()),
            ("variant", &sample.variant),
            ("group", &sample.group),
        ];
        durations.add_histogram(&labels, &sample.duration);
        for (fault, count) in &sample.outcomes {
            let [flag, variant, group] = labels;
            outcomes.add_count(&[flag, variant, group, ("fault", fault)], *count);
        }
        for (failure, count) in &sample.failures {
            let [flag, variant, group] = labels;
            failures.add_count(&[flag, variant, group, ("failure", failure)], *count);
        }
        if sample.variant == "canary" {
            let [flag, _, group] = labels;
            rescues.add_count(&[flag, group], sample.rescued);
        }
    }
    vec![durations, outcomes, failures, rescues]
}

pub(crate) fn endpoints(samples: &[EndpointSample]) -> Vec<Family> {
    let mut requests = Family::counter(
        "serin_upstream_requests_total",
        "Requests answered by an endpoint",
    );
    let mut connects = Family::counter(
        "serin_upstream_connects_total",
        "Connections made to an endpoint",
    );
    let mut failures = Family::counter(
        "serin_upstream_connect_failures_total",
        "Connections to an endpoint that could not be made",
    );
    let [mut retries, mut denied, mut repeats] = sent_again();
    let mut open = Family::gauge(
        "serin_upstream_connections",
        "Connections open to an endpoint, used or idle",
    );
    let mut pending = Family::gauge(
        "serin_upstream_pending_requests",
        "Requests that wait for a connection to an endpoint",
    );
    let mut overflows = Family::counter(
        "serin_upstream_overflows_total",
        "Requests that found no free connection to an endpoint, and no place to wait or none in time",
    );
    for sample in samples {
        let labels = [
            ("backend", sample.backend.as_str()),
            ("endpoint", &sample.endpoint),
        ];
        requests.add_count(&labels, sample.requests);
        connects.add_count(&labels, sample.connects);
        failures.add_count(&labels, sample.connect_failures);
        retries.add_count(&labels, sample.retries);
        denied.add_count(&labels, sample.retries_denied);
        repeats.add_count(&labels, sample.repeats);
        open.add_count(&labels, sample.connections);
        pending.add_count(&labels, sample.pending);
        overflows.add_count(&labels, sample.overflows);
    }
    vec![
        requests, connects, failures, retries, denied, repeats, open, pending, overflows,
    ]
}

/// How endpoints are, where anybody looks.
pub(crate) fn health(samples: &[EndpointSample]) -> Vec<Family> {
    let mut healthy = Family::gauge(
        "serin_upstream_healthy",
        "Whether health checks find an endpoint well: 1 or 0",
    );
    let mut ejected = Family::gauge(
        "serin_upstream_ejected",
        "Whether an endpoint gets no requests for a while because it has failed some in a row: 1 or 0",
    );
    let mut ejections = Family::counter(
        "serin_upstream_ejections_total",
        "How often an endpoint was ejected for failing requests in a row",
    );
    for sample in samples {
        let labels = [
            ("backend", sample.backend.as_str()),
            ("endpoint", &sample.endpoint),
        ];
        if let Some(is_healthy) = sample.is_healthy {
            healthy.add_count(&labels, u64::from(is_healthy));
        }
        if let Some(is_ejected) = sample.is_ejected {
            ejected.add_count(&labels, u64::from(is_ejected));
            ejections.add_count(&labels, sample.ejections);
        }
    }
    vec![healthy, ejected, ejections]
}

/// What is counted of requests that an endpoint was sent and did not answer.
fn sent_again() -> [Family; 3] {
    let retries = Family::counter(
        "serin_upstream_retries_total",
        "Requests that an endpoint failed and that were sent once more",
    );
    let denied = Family::counter(
        "serin_upstream_retries_over_budget_total",
        "Requests that an endpoint failed and that were not sent once more, for there had been too many",
    );
    let repeats = Family::counter(
        "serin_upstream_repeats_total",
        "Requests sent once more because an endpoint closed the kept connection under them",
    );
    [retries, denied, repeats]
}
