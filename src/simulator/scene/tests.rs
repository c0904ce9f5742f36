//! Is what is counted what was asked for? Tolerances are five standard errors.

use super::*;
use crate::domain::evidence::cells::{CellClock, Now};
use crate::domain::evidence::{ArmCounts, Stratum};
use crate::domain::judge::SightCuts;
use crate::domain::judge::sequential::{Cuts, PerQuantile, SequentialSettings};
use crate::domain::rollout::StageWeights;
use crate::domain::testing::{name, percent};
use crate::domain::variant::PerVariant;

const CUTS: Cuts = Cuts {
    // 93 to 97 ms, 215 ms and 400 ms; sizes from 1 to 64 kB.
    latency: PerQuantile {
        p50: Some(105),
        p90: Some(124),
        p99: Some(138),
    },
    size: Some((40, 64)),
    content_types: None,
};

/// Counts so many ticks of ten seconds at a weight of 20 %, all added up.
fn count(scene: &Scene, ticks: u32, seed: u64) -> Vec<Stratum> {
    let mut tally = Tally::new(scene.clone(), seed);
    let mut clock = CellClock::new(0);
    tally.clear(clock.begin_stage());
    let mut sums: Vec<Stratum> = Vec::new();
    for tick in 0..ticks {
        let strata = count_tick(&mut tally, tick, clock.now());
        match sums.is_empty() {
            true => sums = strata,
            false => sums.iter_mut().zip(&strata).for_each(|(sum, more)| {
                sum.arms.stable.merge(&more.arms.stable);
                sum.arms.canary.merge(&more.arms.canary);
            }),
        }
        tally.clear(clock.next_tick(std::time::Duration::from_secs(u64::from(tick) * 10)));
    }
    sums
}

fn count_tick(tally: &mut Tally, tick: u32, now: Now) -> Vec<Stratum> {
    let weights = StageWeights {
        groups: [(name("beta"), percent(50))].into(),
        default: percent(20),
    };
    tally.tick(&Look {
        second: f64::from(tick) * 10.0,
        seconds: 10.0,
        stage: 0,
        epoch: 1,
        weights: &weights,
        now: Some(now),
        cuts: SightCuts::new(&CUTS, &SequentialSettings::default().tolerated),
    })
}

fn arms(scene: &Scene) -> PerVariant<ArmCounts> {
    let mut strata = count(scene, 50, 3);
    assert_eq!(strata.len(), 1);
    strata.remove(0).arms
}

/// Callers who are all alike, so that the binomial says how far shares may be off.
fn alike() -> Scene {
    let mut scene = Scene::of_callers(Crowd {
        callers: 1_000,
        rate: 200.0,
        activity: Activity::Equal,
    });
    scene.callers = Differences::default();
    scene.service = Service::HEALTHY;
    scene
}

#[track_caller]
fn assert_share(events: u64, trials: u64, share: f64) {
    let error = (share * (1.0 - share) / trials as f64).sqrt();
    let seen = events as f64 / trials as f64;
    assert!(
        (seen - share).abs() < 5.0 * error,
        "{events} of {trials}, expected {share}"
    );
}

#[test]
fn equal_seeds_count_the_same_and_others_something_else() {
    for scene in [Scene::of_requests(200.0), alike()] {
        assert_eq!(count(&scene, 3, 1), count(&scene, 3, 1));
        assert_ne!(count(&scene, 3, 1), count(&scene, 3, 2));
    }
}

#[test]
fn rates_are_what_was_asked_whatever_the_unit() {
    for scene in [Scene::of_requests(200.0), alike()] {
        let PerVariant { stable, canary } = arms(&scene);
        let requests = stable.requests + canary.requests;
        let expected: f64 = 200.0 * 500.0;
        assert!((requests as f64 - expected).abs() < 5.0 * expected.sqrt());
        assert_share(stable.failures.total(), stable.requests, 0.005);
        let answered = stable.requests - stable.failures.total();
        assert_share(stable.client_errors, answered, 0.004);
        for (q, ms) in [(0.5, 100.0), (0.9, 215.8), (0.99, 403.9)] {
            let seen = stable.latency.quantile_ms(q).unwrap();
            assert!((seen / ms - 1.0).abs() < 0.05, "{seen} ms, expected {ms}");
        }
        let sizes: u64 = stable.sizes.filled().map(|(_, n)| n).sum();
        let small = stable.sizes.filled().filter(|(bucket, _)| *bucket < 52);
        assert_share(small.map(|(_, n)| n).sum(), sizes, 0.508_5);
    }
    let by_request = arms(&Scene::of_requests(200.0));
    let all = by_request.stable.requests + by_request.canary.requests;
    assert_share(by_request.canary.requests, all, 0.2);
}

#[test]
fn callers_are_counted_by_the_cells_once_each() {
    let PerVariant { stable, canary } = arms(&alike());
    let callers = stable.cells.new + canary.cells.new;
    // Some share a cell: of 1.28 million, hardly any.
    assert!((995..=1_000).contains(&callers), "{callers}");
    assert_eq!(stable.cells.new, stable.cells.new_in_stage);
    assert_share(canary.cells.new, callers, 0.2);
}

#[test]
fn requests_drawn_anew_are_callers_of_their_own() {
    let PerVariant { canary, .. } = arms(&Scene::of_requests(200.0));
    assert_eq!(canary.cells.new, canary.requests);
    let of_stage = canary.cells.slots[0];
    let of = |event| of_stage.of(event);
    use crate::domain::evidence::cells::Event;
    assert_eq!(of(Event::Failure).trials, canary.requests);
    assert_eq!(of(Event::Failure).events, canary.failures.total());
    assert_eq!(of(Event::SlowP99).trials, canary.latency.count());
    let slow = canary.latency.count_above(160 + 138 + 1);
    assert_eq!(of(Event::SlowP99).events, slow);
}

#[test]
fn what_goes_wrong_goes_wrong_in_the_arm_and_at_the_time_it_was_told_to() {
    let on_canary = |harm| Change::of_canary(harm, Begins::AtSecond(0.0));
    for scene in [Scene::of_requests(200.0), alike()] {
        let with = |change| {
            let mut scene = scene.clone();
            scene.changes = vec![change];
            arms(&scene)
        };
        let failing = with(on_canary(Harm::Fails(0.5)));
        let share = 0.5 + 0.5 * 0.005;
        assert_share(
            failing.canary.failures.total(),
            failing.canary.requests,
            share,
        );
        assert_share(
            failing.stable.failures.total(),
            failing.stable.requests,
            0.005,
        );
        let often = with(on_canary(Harm::FailsTimes(4.0)));
        assert_share(often.canary.failures.total(), often.canary.requests, 0.02);
        let slow = with(on_canary(Harm::Slower(2.0)));
        assert_times(&slow, 0.5, 2.0);
        let tail = with(on_canary(Harm::TailSlower(2.0)));
        assert_times(&tail, 0.9, 1.0);
        assert_times(&tail, 0.99, 2.0);
        let empty = with(on_canary(Harm::Empty(0.3)));
        let none = empty.canary.sizes.filled().find(|(bucket, _)| *bucket == 0);
        assert_share(none.unwrap().1, empty.canary.latency.count(), 0.3);
        let refused = with(on_canary(Harm::Refuses(1.0)));
        let answered = refused.canary.requests - refused.canary.failures.total();
        assert_eq!(refused.canary.client_errors, answered);
        let short = with(Change::of_stable(Harm::Fails(1.0), 100.0, 50.0));
        let share = 0.1 + 0.9 * 0.005;
        let stable = &short.stable;
        assert!((stable.failures.total() as f64 / stable.requests as f64 - share).abs() < 0.01);
        assert_share(short.canary.failures.total(), short.canary.requests, 0.005);
    }
}

fn assert_times(arms: &PerVariant<ArmCounts>, q: f64, factor: f64) {
    let ms = |arm: &ArmCounts| arm.latency.quantile_ms(q).unwrap();
    let times = ms(&arms.canary) / ms(&arms.stable);
    assert!(
        (times / factor - 1.0).abs() < 0.1,
        "{q}: x{times}, expected x{factor}"
    );
}

#[test]
fn a_change_may_begin_with_a_stage() {
    let change = Change::of_canary(Harm::Fails(1.0), Begins::AtStage(2));
    assert!(!change.is_on(1e6, 1));
    assert!(change.is_on(0.0, 2) && change.is_on(0.0, 3));
}

#[test]
fn groups_have_their_share_and_their_weight() {
    for mut scene in [Scene::of_requests(200.0), alike()] {
        scene.groups = vec![GroupShare {
            group: name("beta"),
            share: percent(10),
        }];
        let strata = count(&scene, 50, 3);
        let requests = |stratum: &Stratum| {
            let PerVariant { stable, canary } = &stratum.arms;
            (canary.requests, stable.requests + canary.requests)
        };
        let (beta, rest) = (requests(&strata[0]), requests(&strata[1]));
        let share = |(part, all): (u64, u64)| part as f64 / all as f64;
        assert!((share((beta.1, beta.1 + rest.1)) - 0.1).abs() < 0.05);
        assert!((share(beta) - 0.5).abs() < 0.2 && (share(rest) - 0.2).abs() < 0.1);
    }
}

#[test]
fn a_wandering_load_has_the_mean_that_was_asked() {
    let mut scene = Scene::of_requests(200.0);
    scene.load = Load::Wandering;
    let strata = count(&scene, 2_000, 3);
    let PerVariant { stable, canary } = &strata[0].arms;
    let ratio = (stable.requests + canary.requests) as f64 / (200.0 * 20_000.0);
    assert!((ratio - 1.0).abs() < 0.25, "{ratio}");
}

#[test]
fn a_few_failing_callers_bear_most_failures() {
    let mut scene = alike();
    scene.callers.failures_shape = Some(0.1);
    let people = people_of(&scene);
    let mut rates: Vec<f64> = people.iter().map(|person| person.failures).collect();
    rates.sort_by(f64::total_cmp);
    let tenth: f64 = rates[900..].iter().sum();
    let all: f64 = rates.iter().sum();
    assert!(tenth > 0.7 * all, "{tenth} of {all}");
}

fn people_of(scene: &Scene) -> Vec<people::Person> {
    use rand::SeedableRng;
    people::draw_all(scene, &mut rand::rngs::Xoshiro256PlusPlus::seed_from_u64(5))
}
