//! Reads what is exported from where it is counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;

use crate::admin::Gate;
use crate::app::Shared;
use crate::app::reload::Reloader;
use crate::control::reload::ReloadStatus;
use crate::control::status::Status;
use crate::domain::backend::Endpoint;
use crate::domain::evidence::{Failure, Fault};
use crate::domain::ids::{BackendName, TargetName};
use crate::domain::judge::Finding;
use crate::domain::routing::RoutingSnapshot;
use crate::runtime::apps::AppRegistry;
use crate::runtime::assignments::CallerAssignments;
use crate::runtime::caller_book::CallerBookReader;
use crate::runtime::clock;
use crate::runtime::connections::ConnectionCounters;
use crate::runtime::delivery::{DeliveryStatus, TargetStatus};
use crate::runtime::endpoint_health::HealthReading;
use crate::runtime::feedback::FeedbackDesk;
use crate::runtime::inbox::InboxSender;
use crate::runtime::key_ring::{KeySourceStatus, TokenCounters};
use crate::runtime::ledger::{Ledger, Readings};
use crate::runtime::published::Subscriber;
use crate::runtime::recorder::{ArmReading, CODES, EndpointReading};
use crate::runtime::series::{ArmName, RequestSeries, StratumName};
use crate::runtime::snapshot::SnapshotReader;
use crate::runtime::trays::Tally;
use crate::telemetry::Exporter;
use crate::telemetry::samples::{
    AccessLogSample, AppsSample, ArmSample, CallersSample, ConfigSample, EndpointSample,
    FeedbackSamples, FlagFeedbackSample, KeySourceSample, NotificationSample, RequestSample,
    RolloutSample, Samples, StoreSample, WeightSample,
};

/// Where it is counted.
pub(crate) struct Sources {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) subscriber: Subscriber,
    pub(crate) status: SnapshotReader<Status>,
    pub(crate) reloaded: Option<SnapshotReader<ReloadStatus>>,
    pub(crate) assignments: Arc<CallerAssignments>,
    pub(crate) apps: Arc<AppRegistry>,
    pub(crate) feedback: Arc<FeedbackDesk>,
    /// What became of tokens, one for each worker.
    pub(crate) tokens: Vec<Arc<TokenCounters>>,
    /// How it goes with keys that come from elsewhere.
    pub(crate) key_sources: SnapshotReader<Vec<KeySourceStatus>>,
    pub(crate) inbox: InboxSender,
    pub(crate) gate: Arc<Gate>,
    pub(crate) deliveries: SnapshotReader<DeliveryStatus>,
    /// One for each worker.
    pub(crate) connections: Vec<Arc<ConnectionCounters>>,
    /// What became of lines of the access log.
    pub(crate) access_log: Arc<Tally>,
    /// What is known of callers.
    pub(crate) callers: CallerBookReader,
}

/// Exports it at each scrape.
pub(super) fn exporter(
    shared: &Shared,
    status: SnapshotReader<Status>,
    reloader: Option<&Reloader>,
) -> Result<Exporter> {
    let sources = Sources {
        ledger: Arc::clone(&shared.ledger),
        subscriber: shared.subscriber.clone(),
        status,
        reloaded: reloader.map(Reloader::status),
        assignments: Arc::clone(&shared.assignments),
        apps: Arc::clone(&shared.apps),
        feedback: Arc::clone(&shared.feedback),
        tokens: shared.tokens.clone(),
        key_sources: shared.key_sources.clone(),
        inbox: shared.inbox.clone(),
        gate: Arc::clone(&shared.gate),
        deliveries: shared.deliveries.clone(),
        connections: shared.connections.clone(),
        access_log: Arc::clone(&shared.access_log.1),
        callers: shared.callers.clone(),
    };
    let read = move || read(&sources);
    Ok(Exporter::new(read, clock::wall())?)
}

pub(crate) fn read(sources: &Sources) -> Samples {
    let Readings {
        requests,
        arms,
        endpoints,
        health,
    } = sources.ledger.read();
    let status = sources.status.load();
    let rollouts = status.rollouts.iter().map(|rollout| RolloutSample {
        flag: rollout.flag.to_string(),
        phase: rollout.phase.clone(),
        stage: rollout.stage,
        evidence: evidence(&rollout.findings),
    });
    Samples {
        requests: requests
            .iter()
            .flat_map(|(series, codes)| by_code(series, codes))
            .collect(),
        arms: arms
            .iter()
            .filter(|(name, reading)| is_of_interest(name, reading))
            .map(|(name, reading)| arm(name, reading))
            .collect(),
        endpoints: endpoints.iter().map(|of| endpoint(of, &health)).collect(),
        weights: weights(&sources.subscriber.load().routing),
        rollouts: rollouts.collect(),
        assigned_callers: sources.assignments.len() as u64,
        apps: AppsSample {
            count: sources.apps.len() as u64,
            refused: sources.apps.denied(),
        },
        dropped_messages: sources.inbox.dropped(),
        feedback: feedback(&sources.feedback),
        denied_requests: sources.gate.denied(),
        config: sources.reloaded.as_ref().map(|reloaded| {
            let reloaded = reloaded.load();
            ConfigSample {
                taken: reloaded.taken,
                refused: reloaded.refused,
                is_current: reloaded.is_current,
            }
        }),
        store: StoreSample {
            is_writable: status.store.problem.is_none(),
            failed_writes: status.store.failed_writes,
            dropped: status.store.dropped,
            file_bytes: status.store.file_bytes,
        },
        is_frozen: status.freeze.is_some(),
        notifications: notifications(&sources.deliveries.load()),
        handshakes: sums(sources.connections.iter().map(|of| of.handshakes())),
        tokens: sums(sources.tokens.iter().map(|of| of.results())),
        key_sources: key_sources(&sources.key_sources.load()),
        cuts: sums(sources.connections.iter().map(|of| of.cuts())),
        access_log: AccessLogSample {
            written: sources.access_log.written(),
            dropped: sources.access_log.dropped(),
        },
        callers: callers(&sources.callers),
    }
}

fn feedback(desk: &FeedbackDesk) -> FeedbackSamples {
    let flags = desk.read().into_iter().map(|reading| FlagFeedbackSample {
        flag: reading.flag.to_string(),
        recorded: reading.recorded,
        raters: reading.raters,
        forgotten: reading.forgotten,
    });
    FeedbackSamples {
        flags: flags.collect(),
        results: desk.results(),
    }
}

/// How many callers are in the book, if there is one.
fn callers(books: &CallerBookReader) -> Option<CallersSample> {
    let counts = (*books.load()).as_ref()?.counts();
    Some(CallersSample {
        tracked: counts.tracked,
        evicted: counts.evicted,
    })
}

fn key_sources(sources: &[KeySourceStatus]) -> Vec<KeySourceSample> {
    let sample = |source: &KeySourceStatus| KeySourceSample {
        url: source.url.clone(),
        keys: source.keys as u64,
        had_unix_seconds: source.had_unix_ms.map(|ms| ms / 1000),
        successes: source.successes,
        failures: source.failures,
    };
    sources.iter().map(sample).collect()
}

fn endpoint(
    (key, reading): (&(BackendName, Endpoint), &EndpointReading),
    health: &BTreeMap<(BackendName, Endpoint), HealthReading>,
) -> EndpointSample {
    let (backend, endpoint) = key;
    let health = health.get(key);
    EndpointSample {
        backend: backend.to_string(),
        endpoint: endpoint.to_string(),
        requests: reading.requests,
        connects: reading.connects,
        connect_failures: reading.connect_failures,
        connections: reading.connections,
        retries: reading.retries,
        retries_denied: reading.retries_denied,
        repeats: reading.repeats,
        pending: reading.pending,
        overflows: reading.overflows,
        is_healthy: health.and_then(|health| health.is_healthy),
        is_ejected: health.and_then(|health| health.is_ejected),
        ejections: health.map_or(0, |health| health.ejections),
    }
}

/// Codes that never occurred are left out, but for the one that is hoped for.
fn by_code(series: &RequestSeries, counts: &[u64; CODES.len()]) -> Vec<RequestSample> {
    let arm = series.arm.as_ref();
    let text = |of: &dyn Fn(&ArmName) -> String| arm.map(of).unwrap_or_default();
    let sample = |(code, count): (&&'static str, &u64)| RequestSample {
        route: series.route.to_string(),
        flag: text(&|arm| arm.flag.to_string()),
        variant: text(&|arm| arm.variant.to_string()),
        group: text(&|arm| arm.stratum.as_str().to_owned()),
        code,
        count: *count,
    };
    let counts = CODES.iter().zip(counts);
    counts
        .filter(|(code, count)| **count > 0 || **code == "200")
        .map(sample)
        .collect()
}

/// Nobody chooses a variant of most flags.
fn is_of_interest(name: &ArmName, reading: &ArmReading) -> bool {
    name.stratum != StratumName::Forced || reading.counts.requests > 0
}

fn arm(name: &ArmName, reading: &ArmReading) -> ArmSample {
    let failures = Failure::ALL.map(|kind| (kind.as_str(), reading.counts.failures.of(kind)));
    ArmSample {
        outcomes: outcomes(reading),
        flag: name.flag.to_string(),
        variant: name.variant.to_string(),
        group: name.stratum.as_str().to_owned(),
        duration: reading.latency.clone(),
        failures: failures.to_vec(),
        rescued: reading.rescued,
    }
}

/// Requests by whose fault it was that they failed, if they did.
fn outcomes(reading: &ArmReading) -> Vec<(&'static str, u64)> {
    let counts = &reading.counts;
    let by_client = counts.client_errors + counts.too_many_requests + reading.client_aborts;
    let by_backend = counts.failures.total();
    let well = counts.requests - counts.client_errors - counts.too_many_requests - by_backend;
    vec![
        (Fault::None.as_str(), well),
        (Fault::Client.as_str(), by_client),
        (Fault::Backend.as_str(), by_backend),
        (Fault::Proxy.as_str(), reading.proxy_faults),
    ]
}

/// The strongest evidence of each check, over all groups.
fn evidence(findings: &[Finding]) -> Vec<(String, f64)> {
    let mut strongest = BTreeMap::new();
    for finding in findings {
        let known = strongest.entry(finding.check.as_str()).or_insert(0.0_f64);
        *known = known.max(finding.evidence);
    }
    let owned = |(check, evidence): (&str, f64)| (check.to_owned(), evidence);
    strongest.into_iter().map(owned).collect()
}

/// The weights that hold, whatever set them; a flag that is off has none.
fn weights(routing: &RoutingSnapshot) -> Vec<WeightSample> {
    let mut samples = Vec::new();
    for flag in &routing.flags {
        let is_open = flag.enabled && !flag.rolled_back;
        let mut add = |group: String, ratio: f64| {
            let ratio = if is_open { ratio } else { 0.0 };
            samples.push(WeightSample {
                flag: flag.name.to_string(),
                group,
                ratio,
            });
        };
        for entry in &flag.weights.groups {
            add(
                routing.groups.name(entry.group).to_string(),
                entry.weight.ratio(),
            );
        }
        add("default".to_owned(), flag.weights.default.ratio());
    }
    samples
}

fn notifications(deliveries: &DeliveryStatus) -> Vec<NotificationSample> {
    let targets = deliveries.targets.iter();
    let sample = |(name, status): (&TargetName, &TargetStatus)| NotificationSample {
        target: name.to_string(),
        results: vec![
            ("delivered", status.delivered),
            ("failed", status.failed),
            ("given_up", status.given_up),
        ],
        pending: status.pending,
    };
    targets.map(sample).collect()
}

/// The sums of all workers.
fn sums<const N: usize>(
    readings: impl Iterator<Item = [(&'static str, u64); N]>,
) -> Vec<(&'static str, u64)> {
    let sum = readings.reduce(|mut sum, reading| {
        let pairs = sum.iter_mut().zip(reading);
        pairs.for_each(|((_, sum), (_, more))| *sum += more);
        sum
    });
    sum.map(Vec::from).unwrap_or_default()
}
