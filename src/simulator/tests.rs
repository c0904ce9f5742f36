//! Whole rollouts in a synthetic world: plan, judge and step together, tick by tick.
//!
//! The world is drawn from a seed, so a failure can be repeated by it.

use std::time::Duration;

use super::*;
use crate::domain::judge::JudgeSettings;
use crate::domain::judge::sequential::Unit;
use crate::domain::rollout::{
    Phase, PlanDraft, Release, RolloutPlan, RolloutPolicy, Stage, StageShape, StageWeights,
};
use crate::domain::testing::{name, percent};
use crate::domain::variant::{PerVariant, Variant};

/// Ten simulated minutes, looked at every second. How often a judge is wrong is measured elsewhere, over
/// more of them.
const TICKS: u64 = 600;

const HEALTHY: Behaviour = Behaviour {
    median: Duration::from_millis(40),
    sigma: 0.45,
    failures: 0.01,
    ..Behaviour::HEALTHY
};

/// Both arms healthy, and callers who ask equally often.
fn world(rate: f64) -> World {
    World {
        crowd: Crowd {
            callers: 5000,
            rate,
            activity: Activity::Equal,
        },
        groups: Vec::new(),
        arms: PerVariant::from_fn(|_| HEALTHY),
        regressions: Vec::new(),
    }
}

fn world_with(rate: f64, regressions: Vec<Regression>) -> World {
    World {
        regressions,
        ..world(rate)
    }
}

fn stage(groups: &[&str], weight: u16) -> Stage {
    Stage {
        shape: StageShape {
            groups: groups.iter().map(|group| name(group)).collect(),
            weight: percent(weight),
        },
        hold: Duration::from_secs(60),
        min_requests: 100,
        needs_approval: false,
        gates: Vec::new(),
    }
}

fn plan(stages: Vec<Stage>) -> RolloutPlan {
    RolloutPlan::new(PlanDraft {
        flag: name("orders"),
        release: Release {
            revision: "2".to_owned(),
            stable: name("v1"),
            canary: name("v2"),
        },
        stages,
        watch: Duration::from_secs(90),
        final_control: percent(1),
        policy: RolloutPolicy::PLAIN,
    })
    .unwrap()
}

fn start_with(world: World, stages: Vec<Stage>, seed: u64) -> Simulation {
    let parameters = Parameters {
        world,
        plan: plan(stages),
        judge: JudgeSettings {
            unit: Unit::Caller,
            ..JudgeSettings::default()
        },
    };
    Simulation::start(parameters, seed)
}

/// Runs one rollout through 5, 25, 50 and 100 % to its end, or for ten minutes.
fn run(seed: u64, world: World) -> Simulation {
    let stages = [5, 25, 50, 100].map(|weight| stage(&[], weight)).into();
    let mut simulation = start_with(world, stages, seed);
    simulation.run(TICKS);
    simulation
}

fn is_rolled_back(simulation: &Simulation) -> bool {
    matches!(simulation.state().phase, Phase::RolledBack { .. })
}

fn share_rolled_back(runs: u32, world: &World) -> f64 {
    let rolled_back = |seed: &u32| is_rolled_back(&run(u64::from(*seed), world.clone()));
    f64::from(u32::try_from((1..=runs).filter(rolled_back).count()).unwrap()) / f64::from(runs)
}

#[test]
fn sixty_healthy_rollouts_are_never_rolled_back() {
    let mut near_the_end = 0;
    for seed in 1..=60 {
        let run = run(seed, world(20.0));
        let (state, second) = (run.state(), run.second());
        assert!(
            !is_rolled_back(&run),
            "seed {seed}, second {second}: {state:?}"
        );
        near_the_end += u32::from(state.stage == 3);
    }
    assert!(
        near_the_end > 50,
        "only {near_the_end} came to the last stage"
    );
}

#[test]
fn a_canary_that_fails_ten_times_as_often_is_found() {
    let failing = |failures| Behaviour {
        failures,
        ..HEALTHY
    };
    let world = World {
        arms: PerVariant {
            stable: failing(0.005),
            canary: failing(0.05),
        },
        ..world(100.0)
    };
    assert!(share_rolled_back(20, &world) >= 1.0);
}

#[test]
fn a_canary_with_twice_the_tail_is_found() {
    let slow = Regression {
        p99_factor: 2.0,
        ..Regression::of_canary(1)
    };
    let world = world_with(100.0, vec![slow]);
    let run = run(1, world.clone());
    let Phase::RolledBack { reason } = &run.state().phase else {
        panic!("{:?}", run.state());
    };
    assert!(reason.starts_with("canary's p99 is"), "{reason}");
    assert!(share_rolled_back(20, &world) >= 1.0);
}

#[test]
fn a_canary_that_becomes_slower_in_every_answer_is_found_after_that_and_not_before() {
    let slow = Regression {
        latency_factor: 1.5,
        ..Regression::of_canary(100)
    };
    for seed in 1..=20 {
        let run = run(seed, world_with(100.0, vec![slow.clone()]));
        assert!(is_rolled_back(&run), "seed {seed}: {:?}", run.state());
        assert!(run.second() > 100, "seed {seed}: second {}", run.second());
    }
}

#[test]
fn a_busy_healthy_rollout_comes_to_its_end() {
    let mut run = run(1, world(400.0));
    run.run(900);
    assert_eq!(run.state().phase, Phase::Succeeded);
}

#[test]
fn an_outage_of_both_arms_rolls_nothing_back() {
    let both = |seconds| Regression {
        seconds,
        strikes: PerVariant::from_fn(|_| true),
        ..Regression::of_canary(0)
    };
    let failing = |seconds, failures| Regression {
        failures: Some(failures),
        ..both(seconds)
    };
    let slow = |seconds| Regression {
        latency_factor: 10.0,
        ..both(seconds)
    };
    let regressions = vec![
        failing(100..130, 1.0),
        failing(300..400, 0.3),
        slow(151..200),
        slow(351..400),
        slow(551..600),
    ];
    assert!(share_rolled_back(30, &world_with(100.0, regressions)) <= 0.0);
}

#[test]
fn a_canary_that_dies_is_taken_back_within_two_seconds() {
    let dead = Regression {
        failures: Some(1.0),
        ..Regression::of_canary(90)
    };
    for seed in 1..=20 {
        let run = run(seed, world_with(400.0, vec![dead.clone()]));
        let second = run.second();
        assert!(is_rolled_back(&run), "seed {seed}");
        assert!((90..=91).contains(&second), "seed {seed}: second {second}");
    }
}

#[test]
fn a_canary_that_answers_garbage_is_taken_back_within_two_seconds() {
    let world = World {
        arms: PerVariant {
            stable: HEALTHY,
            canary: Behaviour {
                cut_short: 0.6,
                no_http: 0.37,
                ..HEALTHY
            },
        },
        ..world(400.0)
    };
    for seed in 1..=20 {
        let run = run(seed, world.clone());
        assert!(is_rolled_back(&run), "seed {seed}");
        assert!(run.second() <= 2, "seed {seed}: second {}", run.second());
    }
}

#[test]
fn equal_seeds_give_equal_rollouts_and_others_do_not() {
    let trace = |seed| {
        let run = run(seed, world(50.0));
        let seen = run.judge().seen_in_stage().0.clone();
        (run.second(), run.journal().to_vec(), seen)
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

#[test]
fn callers_stay_where_they_are_when_the_weight_grows() {
    let mut traffic = Traffic::new(world(400.0), &name("orders"), 3);
    let mut callers_at = |second, weight| {
        let weights = StageWeights {
            default: percent(weight),
            ..StageWeights::default()
        };
        let counts = traffic.second(second, &weights, 1);
        counts.total(Variant::Canary).requests
    };
    let [nobody, some, everybody] = [callers_at(1, 0), callers_at(2, 25), callers_at(3, 100)];
    assert_eq!(nobody, 0);
    assert!((60..=140).contains(&some), "{some} of about 400");
    assert!(everybody > 300, "{everybody}");
}

#[test]
fn a_stage_for_a_group_is_for_its_callers_alone() {
    let beta = GroupShare {
        group: name("beta"),
        share: percent(20),
    };
    let world = World {
        groups: vec![beta],
        ..world(200.0)
    };
    let mut simulation = start_with(world, vec![stage(&["beta"], 50), stage(&[], 100)], 1);
    simulation.run(30);
    let strata = simulation.last_tick().strata();
    assert_eq!(strata.len(), 2, "{strata:?}");
    for stratum in strata {
        let has_canary = stratum.arms.canary.requests > 0;
        assert_eq!(has_canary, stratum.group.is_some(), "{stratum:?}");
    }
}

#[test]
fn the_p99_factor_moves_the_p99_and_leaves_the_median() {
    let quantiles = |tail_factor| {
        let behaviour = Behaviour {
            tail_factor,
            ..HEALTHY
        };
        let mut world = world(20_000.0);
        world.arms = PerVariant::from_fn(|_| behaviour);
        let mut traffic = Traffic::new(world, &name("orders"), 5);
        let counts = traffic.second(1, &StageWeights::default(), 1);
        let latency = counts.total(Variant::Stable).latency;
        [0.5, 0.99].map(|level| latency.quantile_ms(level).unwrap())
    };
    let ([p50, p99], [p50_after, p99_after]) = (quantiles(1.0), quantiles(3.0));
    let is_near = |value: f64, wanted: f64| (value / wanted - 1.0).abs() < 0.1;
    assert!(is_near(p50, 40.0) && is_near(p50_after, p50), "{p50}");
    // exp(2.326 sigma) above the median.
    assert!(is_near(p99, 40.0 * (2.326_f64 * 0.45).exp()), "{p99}");
    assert!(is_near(p99_after, 3.0 * p99), "{p99} {p99_after}");
}

#[test]
fn the_busiest_of_a_thousand_makes_a_tenth_of_all_requests() {
    let mut random = rand::SeedableRng::seed_from_u64(1);
    let crowd = Crowd {
        callers: 1000,
        rate: 1.0,
        activity: Activity::ByRank,
    };
    let drawn: Vec<_> = (0..20_000)
        .map(|_| crowd.draw_caller(&mut random))
        .collect();
    let busiest = drawn.iter().filter(|caller| **caller == 0).count();
    assert!((1_600..=2_400).contains(&busiest), "{busiest} of 20,000");
    assert!(drawn.iter().all(|caller| *caller < 1000));
}
