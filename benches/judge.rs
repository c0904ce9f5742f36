//! What a tick costs the judge: twenty groups, two arms each, sixty buckets of latency in an arm.
//!
//! The goal is 200 microseconds: one five-thousandth of the second that a tick covers. And what a request
//! costs where callers are the unit, for which the goal is 50 nanoseconds.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serin::domain::evidence::cells::{Answer, Cell, CellClock, CellCounts, CellTable, Slow};
use serin::domain::evidence::{ArmCounts, Outcome, OutcomeClass, Stratum, TickCounts};
use serin::domain::ids::GroupName;
use serin::domain::judge::sequential::{
    ArmTick, CallerStart, Check, FirstEvents, SequentialJudge, SequentialSettings, StratumTick,
    Tick, Unit,
};
use serin::domain::judge::{Judge, JudgeSettings, StageContext};
use serin::domain::stage_weights::StageWeights;
use serin::domain::stats::intervals::Share;
use serin::domain::timestamp::Timestamp;
use serin::domain::variant::PerVariant;
use serin::domain::weight::Weight;

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

/// A tick as the data plane counts it: twenty groups, sixty buckets of latency in an arm.
fn counts(weight: Weight) -> TickCounts {
    let arm = |requests: u64| {
        let mut arm = ArmCounts::default();
        for request in 0..requests {
            let latency = Duration::from_secs_f64(0.02 * 1.044_f64.powf((request % 60) as f64));
            let outcome = Outcome {
                class: OutcomeClass::Success,
                head_latency: Some(latency),
                bytes: Some(1_000 + request % 500),
                content_type: None,
            };
            arm.record(&outcome, request);
        }
        arm
    };
    let groups = (0..GROUPS).map(|group| Stratum {
        group: format!("group-{group}").parse().ok(),
        epoch: 1,
        weight,
        is_keyed: true,
        arms: PerVariant {
            stable: arm(1_080),
            canary: arm(120),
        },
    });
    groups.collect()
}

/// All that happens once a second: callers' tick, the tests, the words, the cuts.
fn front_door(criterion: &mut Criterion) {
    let weight = |basis_points| Weight::from_basis_points(basis_points).unwrap_or_default();
    let counts = counts(weight(1_000));
    let groups = (0..GROUPS).filter_map(|group| format!("group-{group}").parse().ok());
    let groups: Vec<GroupName> = groups.collect();
    let weights = |weight: Weight| StageWeights {
        groups: groups.iter().map(|group| (group.clone(), weight)).collect(),
        default: weight,
    };
    let stage = StageContext {
        epoch: 1,
        counted_from: Timestamp::default(),
        min_requests: 1_000,
        weights: weights(weight(1_000)),
        next: weights(weight(5_000)),
        left: Vec::new(),
    };
    let mut judge = Judge::new(JudgeSettings {
        unit: Unit::Caller,
        groups: groups.clone(),
        ..JudgeSettings::default()
    });
    let second = |judge: &mut Judge, second| {
        let now = Timestamp::since_start(Duration::from_secs(second));
        black_box(judge.next_tick(&stage, now));
        black_box(judge.observe(black_box(&counts), &stage, now));
        black_box(judge.sight());
    };
    (0..700).for_each(|n| second(&mut judge, n));
    criterion.bench_function("a second of a rollout with 20 groups", |bencher| {
        bencher.iter_batched_ref(
            || judge.clone(),
            |judge| second(judge, 700),
            BatchSize::SmallInput,
        );
    });
}

/// Requests of so many callers in turn: those of a busy service, and one for nearly every cell, so that none
/// is in a cache.
fn cells(criterion: &mut Criterion) {
    let mut clock = CellClock::new(0);
    let mut table = CellTable::default();
    table.clear(clock.begin_stage());
    table.clear(clock.next_tick(Duration::from_secs(600)));
    let (now, mut counts) = (clock.now(), CellCounts::default());
    let answer = Answer::Good {
        slow: Some(Slow::default()),
        odd_size: Some(false),
        unusual_type: Some(false),
    };
    for callers in [20_000_u32, 1_000_000] {
        let mut caller = 0;
        criterion.bench_function(
            &format!("an answer to one of {callers} callers"),
            |bencher| {
                bencher.iter(|| {
                    caller = (caller + 1) % callers;
                    let hash = caller.wrapping_mul(0x9E37_79B9);
                    table.record(Cell::of_hash(hash), &now, black_box(&answer), &mut counts);
                });
            },
        );
    }
    black_box(counts);
}

criterion_group!(judge, benches, front_door, cells);
criterion_main!(judge);
