//! Values for the tests of the store.

use std::time::Duration;

use crate::control::ports::{
    HistoryPoint, JournalLine, KnownEvidence, OutboxDraft, Subject, Transition,
};
use crate::domain::evidence::{LatencyHistogram, Stratum, TickCounts};
use crate::domain::judge::{Judge, JudgeSettings};
use crate::domain::rollout::{
    JournalEntry, Notice, Release, RolloutRecord, RolloutState, StageShape, StageWeights, Wait,
};
use crate::domain::weight::Weight;

/// A record; `step` is told apart by its epoch.
pub(super) fn record(flag: &str, revision: &str, step: u64) -> RolloutRecord {
    RolloutRecord {
        flag: flag.parse().unwrap(),
        release: Release {
            revision: revision.to_owned(),
            stable: "orders-v1".parse().unwrap(),
            canary: "orders-v2".parse().unwrap(),
        },
        stages: vec![StageShape {
            groups: vec!["beta".parse().unwrap()],
            weight: Weight::FULL,
        }],
        state: RolloutState::waiting(Wait::Start, step),
        weights: StageWeights::default(),
    }
}

pub(super) fn line(flag: &str, at_unix_ms: u64, what: &str) -> JournalLine {
    JournalLine {
        sequence: 0,
        subject: Subject::Flag(flag.parse().unwrap()),
        at_unix_ms,
        entry: JournalEntry {
            who: "judge".to_owned(),
            what: what.to_owned(),
            why: "all checks pass".to_owned(),
            findings: Vec::new(),
        },
    }
}

pub(super) fn message(text: &str) -> OutboxDraft {
    OutboxDraft {
        target: "chat".to_owned(),
        notice: Notice {
            flag: "orders".parse().unwrap(),
            revision: "2.4.0".to_owned(),
            phase: "progressing".to_owned(),
            stage: 1,
            stages: 1,
            who: "judge".to_owned(),
            what: text.to_owned(),
            why: "all checks pass".to_owned(),
            findings: Vec::new(),
            weights: StageWeights::default(),
            at_unix_ms: 1,
            passed: None,
            rolled_back_group: None,
        },
    }
}

/// A transition with a record, a line and a message, all of one step.
pub(super) fn transition(flag: &str, revision: &str, step: u64) -> Transition {
    let name = format!("{flag} {revision} {step}");
    Transition {
        record: Some(record(flag, revision, step)),
        lines: vec![line(flag, step, &name)],
        messages: vec![message(&name)],
        ..Transition::default()
    }
}

/// A point of a busy flag, with latencies of a common shape and spread.
pub(super) fn busy_point(flag: &str, at_unix_ms: u64, requests: u64) -> HistoryPoint {
    let mut stratum = Stratum::empty(None, 3, Weight::from_basis_points(500).unwrap());
    for (arm, share) in [
        (&mut stratum.arms.stable, 95),
        (&mut stratum.arms.canary, 5),
    ] {
        arm.requests = requests * share / 100;
        // A triangle over 60 buckets, from 4 to 54 ms.
        let counts = (0..60_u64).map(|step| {
            let bucket = LatencyHistogram::BUCKET_OF_1_MS + 32 + usize::try_from(step).unwrap();
            (bucket, arm.requests * step.min(59 - step) / 870)
        });
        arm.latency = LatencyHistogram::from_counts(counts, Duration::from_millis(9 * requests));
    }
    HistoryPoint {
        flag: flag.parse().unwrap(),
        at_unix_ms,
        span_seconds: 1,
        phase: "progressing".to_owned(),
        stage: 1,
        counts: TickCounts::from_iter([stratum]),
    }
}

/// What is known of harm by a judge that has seen nothing.
pub(super) fn evidence(flag: &str, attempt: u32) -> KnownEvidence {
    let judge = Judge::new(JudgeSettings::default());
    KnownEvidence {
        flag: flag.parse().unwrap(),
        release: record(flag, "1", 1).release,
        attempt,
        under_way_seconds: 0,
        judged_by: JudgeSettings::default(),
        evidence: judge.evidence(),
    }
}
