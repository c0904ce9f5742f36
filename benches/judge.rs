//! What a tick costs the judge: twenty groups, two arms each, sixty buckets of latency in an arm.
//!
//! The goal is 200 microseconds: a thousandth part of a fifth of the second that a tick covers.

use std::hint::black_box;
use std::num::NonZeroU32;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serin::domain::judge::sequential::{
    ArmTick, CallerStart, Check, FirstEvents, SequentialJudge, SequentialSettings, StratumTick,
    Tick, Unit,
};
use serin::domain::stats::intervals::Share;
use serin::domain::variant::PerVariant;

/// Groups of callers in the tick.
const GROUPS: usize = 20;

/// An arm with so many requests to each bucket of latency.
fn arm(per_bucket: u64) -> ArmTick {
    let requests = per_bucket * 60;
    let mut firsts = FirstEvents::default();
    for check in Check::COMPARED {
        if let Some(share) = firsts.of_mut(check) {
            *share = Share {
                events: per_bucket,
                trials: per_bucket * 20,
            };
        }
    }
    ArmTick {
        requests: requests + per_bucket,
        failures: per_bucket,
        client_errors: per_bucket / 2,
        latency: (80..140).map(|bucket| (bucket, per_bucket)).collect(),
        sizes: (30..50).map(|bucket| (bucket, per_bucket * 3)).collect(),
        ratings: [1, 0, 2, 5, 9],
        new_callers: per_bucket,
        stage_callers: per_bucket * 2,
        firsts: vec![firsts; 3],
        ..ArmTick::default()
    }
}

fn tick() -> Tick {
    let stratum = |group| StratumTick {
        group,
        weight: 0.1,
        arms: PerVariant {
            stable: arm(18),
            canary: arm(2),
        },
    };
    let start = |number, slot| CallerStart { number, slot };
    Tick {
        exposed: 0.1,
        exposed_next: Some(0.5),
        starts: vec![start(40, 0), start(41, 1), start(42, 2)],
        strata: (0..GROUPS).map(stratum).collect(),
        ..Tick::default()
    }
}

/// A judge that has its cuts and is past settling.
fn warm(settings: SequentialSettings, tick: &Tick) -> SequentialJudge {
    let mut judge = SequentialJudge::new(settings, 1.0);
    for _ in 0..20 {
        judge.observe(tick);
    }
    judge
}

fn benches(criterion: &mut Criterion) {
    let tick = tick();
    let by = |unit, groups| SequentialSettings {
        unit,
        groups,
        ..SequentialSettings::default()
    };
    let cases = [
        ("requests", by(Unit::Request, None)),
        ("callers, three starts", by(Unit::Caller, None)),
        (
            "callers, three starts, each group for itself",
            by(Unit::Caller, NonZeroU32::new(20)),
        ),
    ];
    for (name, settings) in cases {
        let judge = warm(settings, &tick);
        criterion.bench_function(&format!("a tick of 20 groups by {name}"), |bencher| {
            bencher.iter_batched_ref(
                || judge.clone(),
                |judge| black_box(judge.observe(black_box(&tick))),
                BatchSize::SmallInput,
            );
        });
    }
    let judge = warm(by(Unit::Caller, None), &tick);
    let ruling = judge.clone().observe(&tick);
    criterion.bench_function("the findings of a tick in words", |bencher| {
        bencher.iter(|| black_box(judge.findings(black_box(&ruling))));
    });
}

criterion_group!(judge, benches);
criterion_main!(judge);
