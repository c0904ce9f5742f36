//! Whole rollouts in a synthetic world: plan, judge and step together, tick by tick.
//!
//! The world is drawn from a seeded generator, so a failure can be repeated by its seed.

use std::time::Duration;

use super::*;
use crate::domain::evidence::{Failure, Outcome, OutcomeClass, Stratum, TickCounts};
use crate::domain::judge::{Judge, JudgeSettings};
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::{PerVariant, Variant};

/// Ten simulated minutes, looked at every second.
const TICKS: u64 = 600;

/// A 64-bit xorshift generator (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Even over 0 to 1.
    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How an arm behaves.
#[derive(Clone, Copy)]
struct Behaviour {
    error_rate: f64,
    latency_ms: f64,
    /// By how much the slowest twentieth is slower still.
    tail_factor: f64,
}

const HEALTHY: Behaviour = Behaviour {
    error_rate: 0.01,
    latency_ms: 40.0,
    tail_factor: 1.0,
};

impl Behaviour {
    fn outcome(self, random: &mut Random) -> Outcome {
        let class = if random.unit() < self.error_rate {
            OutcomeClass::BackendFailure(Failure::Status)
        } else {
            OutcomeClass::Success
        };
        // Log-logistic: skewed and with a long tail, as latencies are.
        let unit = random.unit();
        let factor = if unit > 0.95 { self.tail_factor } else { 1.0 };
        let ms = self.latency_ms * factor * (unit / (1.0 - unit)).powf(0.25);
        Outcome {
            class,
            head_latency: Some(Duration::from_secs_f64(ms.min(1e5) / 1e3)),
            ..Outcome::default()
        }
    }
}

/// What both arms do in a second of a rollout.
type World = fn(second: u64) -> PerVariant<Behaviour>;

fn plan() -> RolloutPlan {
    let stage = |percent: u16| fixtures::stage(&[], &format!("{percent}%"));
    RolloutPlan::new(PlanDraft {
        flag: "orders".parse().unwrap(),
        release: fixtures::release("2"),
        stages: [5, 25, 50, 100].map(stage).into(),
        watch: Duration::from_secs(90),
        final_control: "1%".parse().unwrap(),
        policy: fixtures::POLICY,
    })
    .unwrap()
}

/// A second of traffic, split by the weight.
fn tick(
    mut stratum: Stratum,
    arms: PerVariant<Behaviour>,
    rps: u64,
    random: &mut Random,
) -> TickCounts {
    for _ in 0..rps {
        let is_canary = random.unit() < stratum.weight.ratio();
        let variant = if is_canary {
            Variant::Canary
        } else {
            Variant::Stable
        };
        let outcome = arms.get(variant).outcome(random);
        let caller = random.bits() % 5000;
        stratum.arms.get_mut(variant).record(&outcome, caller);
    }
    TickCounts::from_iter([stratum])
}

/// Runs one rollout; gives the state at its end and the second in which it ended.
fn run(seed: u64, rps: u64, world: World) -> (RolloutState, u64) {
    let (plan, mut random) = (plan(), Random::seeded(seed));
    let mut judge = Judge::new(JudgeSettings::default());
    let mut state = start(&plan, 0, true, &Moment::at(Timestamp::default())).state;
    let mut judged_since = Timestamp::default();
    for second in 1..=TICKS {
        let now = Timestamp::since_start(Duration::from_secs(second));
        let weight = plan.weights_at(&state).default;
        let stratum = Stratum::empty(None, state.epoch, weight);
        let counts = tick(stratum, world(second), rps, &mut random);
        let verdict = judge.observe(&counts, &plan.stage_context(&state, judged_since), now);
        let requests = judge.stage_requests();
        let answer = step(
            &plan,
            state,
            Event::Tick { verdict, requests },
            &Moment::at(now),
        );
        if answer.effects.contains(&Effect::RestartEvidence) {
            judge.start_stage();
            judged_since = now;
        }
        state = answer.state;
        if !state.phase.is_judged() {
            return (state, second);
        }
    }
    (state, TICKS)
}

fn share_rolled_back(runs: u64, rps: u64, world: World) -> f64 {
    let is_rolled_back =
        |seed: &u64| matches!(run(*seed, rps, world).0.phase, Phase::RolledBack { .. });
    (1..=runs).filter(is_rolled_back).count() as f64 / runs as f64
}

#[test]
fn three_hundred_healthy_rollouts_are_never_rolled_back() {
    let world: World = |_| PerVariant {
        stable: HEALTHY,
        canary: HEALTHY,
    };
    let mut near_the_end = 0;
    for seed in 1..=300 {
        let (state, second) = run(seed, 20, world);
        let rolled_back = matches!(state.phase, Phase::RolledBack { .. });
        assert!(!rolled_back, "seed {seed}, second {second}: {state:?}");
        near_the_end += u32::from(state.stage == 3);
    }
    assert!(
        near_the_end > 250,
        "only {near_the_end} came to the last stage"
    );
}

#[test]
fn a_canary_that_fails_ten_times_as_often_is_found() {
    let world: World = |_| PerVariant {
        stable: Behaviour {
            error_rate: 0.005,
            ..HEALTHY
        },
        canary: Behaviour {
            error_rate: 0.05,
            ..HEALTHY
        },
    };
    assert!(share_rolled_back(20, 100, world) >= 1.0);
}

#[test]
fn a_canary_with_twice_the_tail_is_found() {
    let world: World = |_| PerVariant {
        stable: HEALTHY,
        canary: Behaviour {
            tail_factor: 2.0,
            ..HEALTHY
        },
    };
    let (state, _) = run(1, 100, world);
    let Phase::RolledBack { reason } = &state.phase else {
        panic!("{state:?}");
    };
    assert!(reason.starts_with("p99 of canary"), "{reason}");
    assert!(share_rolled_back(20, 100, world) >= 1.0);
}

#[test]
fn a_busy_healthy_rollout_comes_to_its_end() {
    let world: World = |_| PerVariant {
        stable: HEALTHY,
        canary: HEALTHY,
    };
    let (state, second) = run(1, 100, world);
    assert_eq!(state.phase, Phase::Succeeded);
    assert!(second < 500, "second {second}");
}

#[test]
fn an_outage_of_both_arms_rolls_nothing_back() {
    let world: World = |second| {
        let error_rate = match second {
            100..130 => 1.0,
            300..400 => 0.3,
            _ => 0.01,
        };
        let latency_ms = if second % 200 > 150 { 400.0 } else { 40.0 };
        let both = Behaviour {
            error_rate,
            latency_ms,
            ..HEALTHY
        };
        PerVariant {
            stable: both,
            canary: both,
        }
    };
    assert!(share_rolled_back(30, 100, world) <= 0.0);
}

#[test]
fn a_canary_that_dies_is_taken_back_within_two_seconds() {
    let world: World = |second| PerVariant {
        stable: HEALTHY,
        canary: Behaviour {
            error_rate: if second < 90 { 0.01 } else { 1.0 },
            ..HEALTHY
        },
    };
    for seed in 1..=20 {
        let (state, second) = run(seed, 400, world);
        assert!(
            matches!(state.phase, Phase::RolledBack { .. }),
            "seed {seed}"
        );
        assert!((90..=91).contains(&second), "seed {seed}: second {second}");
    }
}
