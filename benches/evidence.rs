//! What the evidence of one request costs the worker that ends it: counts, cuts and the caller's cell.
//!
//! The goal is 50 nanoseconds, a three hundredth part of what a request costs in all.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serin::domain::decision::{Decision, Reason, StratumIndex};
use serin::domain::evidence::cells::CellClock;
use serin::domain::evidence::{ContentTypeIndex, Outcome, OutcomeClass};
use serin::domain::judge::SightCuts;
use serin::domain::variant::{PerVariant, Variant};
use serin::domain::weight::Weight;
use serin::runtime::recorder::ArmCounters;
use serin::runtime::watch::{RolloutWatch, Watched};

/// Requests of one worker in a tick.
const REQUESTS_PER_TICK: usize = 10_000;

/// Callers' requests, in their order, that are used again and again.
const REQUESTS: usize = 1 << 20;

/// Answers that are used again and again: few, for a worker has them at hand.
const ANSWERS: usize = 1 << 10;

/// One worker's arm, and a rollout in its second quarter of an hour, so that three starts are alive.
struct Scene {
    watch: RolloutWatch,
    arm: ArmCounters,
    clock: CellClock,
    hashes: Vec<u32>,
    answers: Vec<Outcome>,
    is_keyed: bool,
    seen: usize,
}

impl Scene {
    /// Requests of so many callers in random order.
    fn new(callers: u32, is_keyed: bool) -> Self {
        let watch = RolloutWatch::default();
        let mut clock = CellClock::new(0);
        watch.cells.clear(clock.begin_stage());
        watch.sight.cut_at(&SightCuts {
            slow_above: PerVariant::from_fn(|_| [Some(30), Some(60), Some(80)]),
            usual_sizes: Some((20, 60)),
            usual_types: Some(0b110),
        });
        let mut random = SmallRng::seed_from_u64(7);
        let known: Vec<u32> = (0..callers).map(|_| random.random()).collect();
        let caller = |random: &mut SmallRng| known[random.random_range(0..known.len())];
        Self {
            watch,
            arm: ArmCounters::default(),
            clock,
            hashes: (0..REQUESTS).map(|_| caller(&mut random)).collect(),
            answers: (0..ANSWERS).map(|_| answer(&mut random)).collect(),
            is_keyed,
            seen: 0,
        }
    }

    /// Counts the next request, after the tick has changed if it is time.
    fn count(&mut self) {
        if self.seen.is_multiple_of(REQUESTS_PER_TICK) {
            let second = 900 + self.seen as u64 / REQUESTS_PER_TICK as u64;
            let clearing = self.clock.next_tick(Duration::from_secs(second));
            self.watch.cells.clear(clearing);
            self.watch.sight.count_callers(1, Some(self.clock.now()));
        }
        let outcome = black_box(&self.answers[self.seen % ANSWERS]);
        let decision = Decision {
            variant: Variant::Canary,
            reason: Reason::Default {
                weight: Weight::FULL,
            },
            stratum: StratumIndex(0),
            hash: self.hashes[self.seen % REQUESTS],
            is_keyed: self.is_keyed,
        };
        self.seen += 1;
        let request = Watched {
            decision,
            epoch: 1,
            was_waiting: false,
        };
        self.watch
            .count_end(black_box(&request), outcome, &self.arm.cells);
        self.arm.record(outcome, decision.hash);
    }
}

/// One answer in a hundred is not good, and more are slow by one cut or another.
fn answer(random: &mut SmallRng) -> Outcome {
    let class = match random.random_range(0..200) {
        0 => OutcomeClass::ClientError,
        1 => OutcomeClass::TooManyRequests,
        _ => OutcomeClass::Success,
    };
    Outcome {
        class,
        head_latency: Some(Duration::from_micros(random.random_range(1_000..40_000))),
        bytes: Some(random.random_range(100..20_000)),
        content_type: Some(ContentTypeIndex::at(1)),
    }
}

fn benches(criterion: &mut Criterion) {
    let cases = [
        ("a million callers", 1_000_000, true),
        ("ten thousand callers", 10_000, true),
        ("a hundred callers", 100, true),
        ("requests drawn anew", 1_000_000, false),
    ];
    for (name, callers, is_keyed) in cases {
        let mut scene = Scene::new(callers, is_keyed);
        criterion.bench_function(&format!("the evidence of a request, {name}"), |bencher| {
            bencher.iter(|| scene.count());
        });
    }
    let arm = ArmCounters::default();
    let looked_at = Outcome {
        head_latency: Some(Duration::from_millis(7)),
        bytes: Some(1_000),
        content_type: Some(ContentTypeIndex::at(1)),
        ..Outcome::default()
    };
    criterion.bench_function("the same without callers", |bencher| {
        bencher.iter(|| arm.record(black_box(&looked_at), black_box(7)));
    });
    let outcome = Outcome {
        head_latency: Some(Duration::from_millis(7)),
        ..Outcome::default()
    };
    criterion.bench_function("the same where no rollout watches", |bencher| {
        bencher.iter(|| arm.record(black_box(&outcome), black_box(7)));
    });
}

criterion_group!(evidence, benches);
criterion_main!(evidence);
