//! The judge through its front door: properties, and what goes beyond recorded traces.

use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::domain::judge::verdict::{Action, Assessment};
use crate::domain::stats::intervals::Share;
use crate::domain::variant::PerVariant;

/// Good answers of an arm in a second, spread like latencies are.
fn arm(requests: u64, failures: u64) -> ArmTick {
    let good = requests - failures;
    let spread = [(96, 3), (100, 3), (104, 2), (108, 1), (112, 1)];
    let parts = spread.map(|(bucket, tenths)| (bucket, good * tenths / 10));
    ArmTick {
        requests,
        failures,
        latency: parts.to_vec(),
        sizes: vec![(40, good / 2), (44, good - good / 2)],
        new_callers: requests / 4,
        stage_callers: requests / 4,
        ..ArmTick::default()
    }
}

fn stratum(group: usize, weight: f64, canary: ArmTick, stable: ArmTick) -> StratumTick {
    StratumTick {
        group,
        weight,
        arms: PerVariant { stable, canary },
    }
}

fn tick(number: i64, strata: Vec<StratumTick>) -> Tick {
    Tick {
        number,
        exposed: 0.1,
        exposed_next: Some(0.5),
        strata,
        ..Tick::default()
    }
}

/// A tick of one group at 10 %, with failures per arm.
fn plain(number: i64, canary_failures: u64, stable_failures: u64) -> Tick {
    let arms = (arm(100, canary_failures), arm(900, stable_failures));
    tick(number, vec![stratum(0, 0.1, arms.0, arms.1)])
}

/// Rules on ticks until one is no hold, at most so many.
fn until_decided(
    judge: &mut SequentialJudge,
    ticks: i64,
    make: impl Fn(i64) -> Tick,
) -> (i64, Ruling) {
    for number in 0..ticks {
        let ruling = judge.observe(&make(number));
        if ruling.action != Action::Hold || number + 1 == ticks {
            return (number, ruling);
        }
    }
    panic!("no tick")
}

fn judge(settings: SequentialSettings) -> SequentialJudge {
    SequentialJudge::new(settings, 1.0)
}

/// By caller: `n` at risk and `k` first failures of canary and of stable, in one start.
fn of_callers(number: i64, start: CallerStart, canary: [u64; 2], stable: [u64; 2]) -> Tick {
    let with = |mut arm: ArmTick, [trials, events]: [u64; 2]| {
        let mut firsts = FirstEvents::default();
        *firsts.of_mut(Check::Errors).unwrap() = Share { events, trials };
        arm.firsts = vec![firsts];
        arm
    };
    let strata = vec![stratum(
        0,
        0.1,
        with(arm(100, canary[1]), canary),
        with(arm(900, stable[1]), stable),
    )];
    Tick {
        starts: vec![start],
        ..tick(number, strata)
    }
}

fn by_caller() -> SequentialSettings {
    SequentialSettings {
        unit: Unit::Caller,
        ..SequentialSettings::default()
    }
}

#[test]
fn a_failing_canary_is_rolled_back_and_a_healthy_one_promoted() {
    let mut bad = judge(SequentialSettings::default());
    let (at, ruling) = until_decided(&mut bad, 100, |number| plain(number, 10, 9));
    assert_eq!(ruling.action, Action::Rollback);
    assert_eq!(ruling.reason.unwrap().check, Check::Errors);
    assert!(
        (8..30).contains(&at),
        "the cap needs about eleven seconds: {at}"
    );
    let mut good = judge(SequentialSettings::default());
    let (at, ruling) = until_decided(&mut good, 600, |number| plain(number, 1, 9));
    assert_eq!(ruling.action, Action::Promote, "{:?}", ruling.wait);
    assert!(at >= 59, "the least time is a minute: {at}");
}

#[test]
fn an_outage_of_both_arms_rolls_nothing_back() {
    let mut judge = judge(SequentialSettings::default());
    let outage = |number| match number {
        0..60 => plain(number, 1, 9),
        _ => plain(number, 40, 360),
    };
    for number in 0..300 {
        assert_ne!(judge.observe(&outage(number)).action, Action::Rollback);
    }
}

#[test]
fn nothing_seen_is_never_promoted() {
    for settings in [SequentialSettings::default(), by_caller()] {
        let mut judge = judge(settings);
        for number in 0..500 {
            let empty = stratum(0, 0.1, ArmTick::default(), ArmTick::default());
            let strata = if number % 2 == 0 {
                vec![empty]
            } else {
                Vec::new()
            };
            assert_eq!(judge.observe(&tick(number, strata)).action, Action::Hold);
        }
    }
}

#[test]
fn canary_alone_is_never_proof_of_its_harmlessness() {
    // Stable is silent: no comparison can be passed.
    let mut judge = judge(SequentialSettings::default());
    for number in 0..500 {
        let strata = vec![stratum(0, 0.1, arm(100, 0), ArmTick::default())];
        assert_eq!(judge.observe(&tick(number, strata)).action, Action::Hold);
    }
}

#[test]
fn where_nobody_is_left_to_compare_with_it_says_so() {
    let mut judge = judge(SequentialSettings::default());
    let full = |number| {
        let strata = vec![
            stratum(0, 1.0, arm(50, 0), ArmTick::default()),
            stratum(1, 0.0, ArmTick::default(), arm(500, 5)),
        ];
        tick(number, strata)
    };
    let (_, ruling) = until_decided(&mut judge, 100, full);
    assert_eq!((ruling.action, ruling.no_control), (Action::Promote, true));
}

#[test]
fn weights_may_change_midway_without_looking_like_harm() {
    // Both arms fail 1 % of requests, and the outage of one group falls into the change.
    let mut judge = judge(SequentialSettings::default());
    for number in 0..400 {
        let (weight, canary, stable) = match number / 50 % 4 {
            0 => (0.01, arm(100, 1), arm(9900, 99)),
            1 => (0.9, arm(9000, 3600), arm(1000, 400)),
            2 => (0.5, arm(1000, 10), arm(1000, 10)),
            _ => (0.1, arm(100, 1), arm(900, 9)),
        };
        let ruling = judge.observe(&tick(number, vec![stratum(0, weight, canary, stable)]));
        assert_ne!(ruling.action, Action::Rollback, "tick {number}");
        assert!(ruling.log_split < 0.0, "tick {number}");
    }
}

#[test]
fn a_lost_arm_holds_as_a_wrong_split_and_never_rolls_back() {
    let mut judge = judge(SequentialSettings::default());
    let mut last = None;
    for number in 0..120 {
        let strata = vec![stratum(0, 0.1, arm(60, 0), arm(900, 0))];
        last = Some(judge.observe(&tick(number, strata)));
    }
    let ruling = last.unwrap();
    assert_eq!(ruling.action, Action::Hold);
    assert!(ruling.wait.contains(&Gate::Split));
    let findings = judge.findings(&ruling);
    let split = findings
        .iter()
        .find(|found| found.subject == Subject::Split);
    let reason = &split.unwrap().reason;
    assert!(
        reason
            .starts_with("canary has 6.2 % of requests (7200 of 115200), the weights ask for 10 %"),
        "{reason}"
    );
}

#[test]
fn evidence_taken_up_again_goes_on_to_the_bit() {
    let mut whole = judge(SequentialSettings::default());
    let mut first = judge(SequentialSettings::default());
    let failures = |number: i64| u64::from(number % 7 == 0) * 3;
    for number in 0..70 {
        let tick = plain(number, failures(number), 9);
        assert_eq!(whole.observe(&tick), first.observe(&tick));
    }
    let stored = serde_json::to_string(&first.evidence()).unwrap();
    let evidence: Evidence = serde_json::from_str(&stored).unwrap();
    assert!(evidence == first.evidence(), "stored: {stored}");
    let settings = SequentialSettings::default();
    let mut second = SequentialJudge::restore(settings, 1.0, evidence).unwrap();
    for number in 70..150 {
        let tick = plain(number, failures(number), 9);
        assert_eq!(whole.observe(&tick), second.observe(&tick));
    }
}

#[test]
fn starts_of_callers_go_on_too_and_ended_ones_keep_their_evidence() {
    let mut whole = judge(by_caller());
    let mut split = judge(by_caller());
    for number in 0..200 {
        // A start every five ticks, so that many have ended.
        let start = CallerStart {
            number: 1 + u64::try_from(number / 5).unwrap(),
            slot: 0,
        };
        let tick = of_callers(number, start, [40, 1], [300, 6]);
        let (one, other) = (whole.observe(&tick), split.observe(&tick));
        // Ended starts are summed up in another order, so not to the bit.
        assert!((one.log_evidence - other.log_evidence).abs() < 1e-9);
        assert_eq!(one.wait, other.wait);
        if number % 33 == 0 {
            let stored = serde_json::to_string(&split.evidence()).unwrap();
            let evidence = serde_json::from_str(&stored).unwrap();
            split = SequentialJudge::restore(by_caller(), 1.0, evidence).unwrap();
        }
    }
    assert_eq!(split.latest_start(), 40);
}

#[test]
fn evidence_of_another_kind_is_refused() {
    let evidence = judge(SequentialSettings::default()).evidence();
    let restored = |settings| SequentialJudge::restore(settings, 1.0, evidence.clone()).err();
    assert_eq!(restored(SequentialSettings::default()), None);
    let error = restored(by_caller()).unwrap().to_string();
    assert_eq!(
        error,
        "the stored evidence counts by Request, the rollout now by Caller"
    );
    let mut other = SequentialSettings::default();
    other.grids.harmless.pop();
    let part = "harmlessness";
    assert_eq!(restored(other), Some(RestoreError::Alternatives { part }));
    let other = SequentialSettings {
        groups: NonZeroU32::new(2),
        ..SequentialSettings::default()
    };
    let part = "groups";
    assert_eq!(restored(other), Some(RestoreError::Alternatives { part }));
}

#[test]
fn after_a_restart_the_stage_begins_anew_under_the_same_alpha() {
    let mut judge = judge(by_caller());
    let start = |number| CallerStart { number, slot: 0 };
    for number in 0..8 {
        judge.observe(&of_callers(number, start(1), [40, 8], [300, 6]));
    }
    let before = judge
        .observe(&of_callers(8, start(1), [0, 0], [0, 0]))
        .log_evidence;
    judge.begin_stage_anew();
    assert_eq!(judge.latest_start(), 1);
    let ruling = judge.observe(&of_callers(9, start(2), [0, 0], [0, 0]));
    assert!(
        (ruling.log_evidence - before).abs() < 0.2,
        "evidence of harm stays"
    );
    assert_eq!(judge.stage_totals().ticks, 1);
    assert!(ruling.wait.contains(&Gate::Time));
}

#[test]
fn one_groups_harm_is_found_by_its_own_evidence() {
    let settings = SequentialSettings {
        groups: NonZeroU32::new(2),
        ..SequentialSettings::default()
    };
    let mut judge = judge(settings);
    // The large group does so well that the sum over both hides the small one's harm.
    let two = |number| {
        let large = stratum(0, 0.5, arm(5000, 50), arm(5000, 250));
        let small = stratum(1, 0.1, arm(100, 6), arm(900, 9));
        tick(number, vec![large, small])
    };
    let (_, ruling) = until_decided(&mut judge, 300, two);
    let reason = ruling.reason.unwrap();
    assert_eq!((reason.group, reason.check), (Some(1), Check::Errors));
    let finding = judge.findings(&ruling).remove(0);
    assert_eq!(
        (finding.group, finding.assessment),
        (Some(1), Assessment::Breach)
    );
    assert_eq!(
        finding.n.canary % 100,
        0,
        "of that group alone: {}",
        finding.reason
    );
    assert!(
        (finding.needed - 400.0).abs() < 1e-6,
        "half of alpha, over two groups"
    );
}

#[test]
fn a_limit_on_failures_is_kept_whatever_stable_does() {
    for unit in [Unit::Request, Unit::Caller] {
        let decide = |failures: u64| {
            let mut settings = SequentialSettings {
                unit,
                ..SequentialSettings::default()
            };
            settings.limit_error_rate(0.05);
            let mut judge = judge(settings);
            let (_, ruling) = until_decided(&mut judge, 300, |number| {
                plain(number, failures, failures * 9)
            });
            let words = judge.findings(&ruling).remove(0).reason;
            (ruling, words)
        };
        let (broken, words) = decide(9);
        assert_eq!(broken.reason.unwrap().check, Check::ErrorRateMax);
        assert!(words.starts_with("canary fails 9 % of requests"), "{words}");
        assert!(words.contains("the limit is 5 %"), "{words}");
        let (kept, _) = decide(5);
        assert_ne!(kept.action, Action::Rollback);
    }
}

#[test]
fn a_canary_above_its_limit_is_not_promoted_even_if_not_surely_so() {
    let mut settings = SequentialSettings::default();
    settings.limit_error_rate(0.019);
    let mut judge = judge(settings);
    let (_, ruling) = until_decided(&mut judge, 200, |number| plain(number, 2, 30));
    assert_eq!(ruling.wait.as_slice(), [Gate::ErrorRateMax]);
}

#[test]
fn a_limit_on_the_mean_latency_is_kept_whatever_stable_does() {
    for unit in [Unit::Request, Unit::Caller] {
        let decide = |limit_ms: f64| {
            let mut settings = SequentialSettings {
                unit,
                ..SequentialSettings::default()
            };
            settings.limit_mean_latency(limit_ms);
            let mut judge = judge(settings);
            until_decided(&mut judge, 300, |number| plain(number, 0, 0)).1
        };
        // The mean is about 85 ms.
        assert_eq!(decide(50.0).reason.unwrap().check, Check::MeanLatencyMax);
        assert_ne!(decide(95.0).action, Action::Rollback);
    }
}

#[test]
fn a_content_type_that_stable_never_sends_is_found() {
    let decide = |canary_type: i32| {
        let mut settings = SequentialSettings::default();
        settings.turn_on(Check::ContentType);
        let mut judge = judge(settings);
        let typed = |number| {
            let mut tick = plain(number, 0, 0);
            tick.strata[0].arms.stable.content_types = vec![(1, 890), (2, 10)];
            let types = vec![(1, 60), (canary_type, 40)];
            tick.strata[0].arms.canary.content_types = types;
            tick
        };
        until_decided(&mut judge, 200, typed).1
    };
    assert_eq!(decide(3).reason.unwrap().check, Check::ContentType);
    assert_ne!(decide(1).action, Action::Rollback);
}

#[test]
fn an_undecided_stage_says_how_much_it_lacks() {
    let mut judge = judge(SequentialSettings::default());
    let (_, ruling) = until_decided(&mut judge, 30, |number| {
        let strata = vec![stratum(0, 0.1, arm(10, 0), arm(90, 0))];
        tick(number, strata)
    });
    let findings = judge.findings(&ruling);
    let errors = &findings[0];
    assert_eq!(errors.subject, Subject::Check(Check::Errors));
    assert_eq!(errors.assessment, Assessment::Undecided);
    let missing = errors.missing.unwrap();
    assert!(missing.count > 100 && missing.seconds > 10, "{missing:?}");
    let words = format!("about {} more canary requests, ", missing.count);
    assert!(errors.reason.contains(&words), "{}", errors.reason);
}

#[test]
fn a_handful_of_raters_decides_nothing_and_none_is_forgotten() {
    let rated = |raters_min| {
        let mut settings = SequentialSettings::default();
        settings.tolerated.raters_min = raters_min;
        let mut judge = judge(settings);
        let (at, ruling) = until_decided(&mut judge, 60, |number| {
            let mut tick = plain(number, 0, 0);
            tick.strata[0].arms.canary.ratings = [1, 0, 0, 0, 0];
            tick.strata[0].arms.stable.ratings = [0, 0, 0, 0, 9];
            tick
        });
        (at, ruling.action)
    };
    let (early, action) = rated(0);
    assert_eq!(action, Action::Rollback);
    assert!(early < 30);
    assert_eq!(
        rated(40),
        (39, Action::Rollback),
        "as soon as there are enough"
    );
    assert_ne!(rated(1000).1, Action::Rollback);
}

#[test]
fn undecided_is_neither_passing_nor_lacking_data() {
    let mut judge = judge(SequentialSettings::default());
    let mut seen = Vec::new();
    for number in 0..600 {
        // Healthy, but seen too seldom for a proof within a minute.
        let strata = vec![stratum(0, 0.1, arm(10, 0), arm(90, 0))];
        let ruling = judge.observe(&tick(number, strata));
        let state = (ruling.passes(), ruling.is_undecided());
        if seen.last() != Some(&state) {
            seen.push(state);
        }
    }
    assert_eq!(seen, [(false, false), (false, true), (true, false)]);
}

/// Two groups with failures, in an order, split into parts or not.
fn groups() -> impl Strategy<Value = Vec<(u64, u64, u64, u64)>> {
    let group = (1..200_u64, 0..9_u64, 1..200_u64, 0..9_u64);
    let group = group.prop_map(|(n, k, m, j)| (n, k.min(n), m, j.min(m)));
    prop::collection::vec(group, 1..5)
}

fn strata_of(groups: &[(u64, u64, u64, u64)]) -> Vec<StratumTick> {
    let stratum_of = |(place, (n, k, m, j)): (usize, &(u64, u64, u64, u64))| {
        stratum(place, 0.3, arm(*n, *k), arm(*m, *j))
    };
    groups.iter().enumerate().map(stratum_of).collect()
}

proptest! {
    #[test]
    fn the_order_of_strata_does_not_matter(ticks in prop::collection::vec(groups(), 1..25)) {
        let mut forward = judge(SequentialSettings::default());
        let mut backward = judge(SequentialSettings::default());
        for (number, groups) in (0..).zip(&ticks) {
            let strata = strata_of(groups);
            let reversed = strata.iter().rev().cloned().collect();
            let one = forward.observe(&tick(number, strata));
            let other = backward.observe(&tick(number, reversed));
            prop_assert!((one.log_evidence - other.log_evidence).abs() < 1e-9);
            prop_assert_eq!(one.wait, other.wait);
        }
    }

    #[test]
    fn more_failures_of_canary_are_more_evidence(
        ticks in prop::collection::vec((0..20_u64, 0..60_u64), 1..40), more in 1..20_u64,
    ) {
        let mut less_harm = judge(SequentialSettings::default());
        let mut more_harm = judge(SequentialSettings::default());
        for (number, (canary, stable)) in (0..).zip(ticks) {
            let less = less_harm.observe(&plain(number, canary, stable));
            let harmful = more_harm.observe(&plain(number, canary + more, stable));
            let part = |ruling: &Ruling| ruling.parts[Check::Errors];
            prop_assert!(part(&harmful) >= part(&less) - 1e-9);
            prop_assert!(harmful.harmlessness.errors <= less.harmlessness.errors + 1e-9);
        }
    }

    #[test]
    fn groups_at_full_or_no_weight_are_compared_with_nothing(
        ticks in prop::collection::vec((0..100_u64, 0..100_u64), 1..30),
    ) {
        let mut with = judge(SequentialSettings::default());
        let mut without = judge(SequentialSettings::default());
        for (number, (full, none)) in (0..).zip(ticks) {
            let compared = stratum(0, 0.1, arm(100, 3), arm(900, 9));
            let outside = [
                stratum(1, 1.0, arm(100, full), ArmTick::default()),
                stratum(2, 0.0, ArmTick::default(), arm(100, none)),
            ];
            let strata = [vec![compared.clone()], outside.to_vec()].concat();
            let one = with.observe(&tick(number, strata));
            let other = without.observe(&tick(number, vec![compared]));
            prop_assert!((one.log_evidence - other.log_evidence).abs() < 1e-12);
            prop_assert_eq!(one.harmlessness, other.harmlessness);
        }
    }

    #[test]
    fn without_evidence_of_canary_nothing_is_promoted(
        ticks in prop::collection::vec((0..=10_u32, 0..500_u64, 0..50_u64), 1..60), by_caller: bool,
    ) {
        let unit = if by_caller { Unit::Caller } else { Unit::Request };
        let mut judge = judge(SequentialSettings { unit, ..SequentialSettings::default() });
        for (number, (tenths, stable, failures)) in (0..).zip(ticks) {
            let weight = f64::from(tenths) / 10.0;
            let stable = arm(stable, failures.min(stable));
            let unseen = stratum(0, weight, ArmTick::default(), stable);
            let ruling = judge.observe(&tick(number, vec![unseen]));
            prop_assert_eq!(ruling.action, Action::Hold);
            prop_assert!(!ruling.passes() && !ruling.is_undecided());
        }
    }

    #[test]
    fn weights_that_change_at_any_tick_are_no_evidence_of_harm(
        ticks in prop::collection::vec((1..10_u64, 1..40_u64, 0..8_u64), 1..80),
    ) {
        let mut judge = judge(SequentialSettings::default());
        for (number, (tenths, scale, failing)) in (0..).zip(ticks) {
            // Both arms fail the very same share, whatever weight and load are.
            let share = |parts: u64| arm(parts * scale * 10, parts * failing.min(scale));
            let (canary, stable) = (share(tenths), share(10 - tenths));
            let weight = tenths as f64 / 10.0;
            let ruling = judge.observe(&tick(number, vec![stratum(0, weight, canary, stable)]));
            prop_assert_ne!(ruling.action, Action::Rollback);
            prop_assert!(ruling.parts[Check::Errors] < 0.0, "{:?}", ruling.parts);
        }
    }
}
