//! The judge through its front door: counts in, verdicts out.

use std::time::Duration;

use super::*;
use crate::domain::evidence::{ArmCounts, Failure, Outcome, OutcomeClass, Stratum};
use crate::domain::weight::Weight;

const STAGE: StageContext = StageContext {
    epoch: 1,
    counted_from: Timestamp::since_start(Duration::ZERO),
    min_requests: 100,
    has_control: true,
};

/// `requests` of which `failures` fail; the good ones take `latency_ms` or, one in ten, twice it.
fn arm(requests: u64, failures: u64, latency_ms: u64) -> ArmCounts {
    let mut arm = ArmCounts::default();
    for i in 0..requests {
        let class = if i < failures {
            OutcomeClass::BackendFailure(Failure::Status)
        } else {
            OutcomeClass::Success
        };
        let factor = if i % 10 == 0 { 2 } else { 1 };
        let head_latency = Some(Duration::from_millis(latency_ms * factor));
        arm.record(
            &Outcome {
                class,
                head_latency,
                ..Outcome::default()
            },
            i,
        );
    }
    arm
}

fn stratum(group: Option<&str>, weight: &str, canary: ArmCounts, stable: ArmCounts) -> Stratum {
    Stratum {
        group: group.map(|name| name.parse().unwrap()),
        epoch: 1,
        weight: weight.parse::<Weight>().unwrap(),
        is_keyed: true,
        arms: PerVariant { stable, canary },
    }
}

fn judged(
    settings: JudgeSettings,
    stage: &StageContext,
    strata: impl IntoIterator<Item = Stratum>,
) -> Verdict {
    // The same in each of six seconds, so that it shows in every part of the stage.
    let counts = strata.into_iter().collect();
    let mut judge = Judge::new(settings);
    let seconds = (1..=6).map(|second| Timestamp::since_start(Duration::from_secs(second)));
    let verdicts = seconds.map(|now| judge.observe(&counts, stage, now));
    verdicts.last().unwrap()
}

fn verdict(canary: ArmCounts, stable: ArmCounts) -> Verdict {
    let stratum = stratum(None, "10%", canary, stable);
    judged(JudgeSettings::default(), &STAGE, [stratum])
}

fn finding(verdict: &Verdict, check: CheckName) -> &Finding {
    let mut findings = verdict.findings.iter();
    findings.find(|finding| finding.check == check).unwrap()
}

#[test]
fn no_evidence_is_a_hold_even_if_nothing_is_demanded() {
    let stage = StageContext {
        min_requests: 0,
        ..STAGE
    };
    for has_control in [true, false] {
        let stage = StageContext {
            has_control,
            ..stage
        };
        let verdict = judged(JudgeSettings::default(), &stage, []);
        assert_eq!(verdict.action, Action::Hold);
    }
}

#[test]
fn equal_arms_are_promoted() {
    let verdict = verdict(arm(1000, 10, 50), arm(9000, 90, 50));
    assert_eq!(verdict.action, Action::Promote, "{verdict:#?}");
}

#[test]
fn failures_beyond_the_tolerated_are_a_breach_told_in_words() {
    let verdict = verdict(arm(80, 4, 50), arm(720, 8, 50));
    assert_eq!(verdict.action, Action::Rollback);
    let found = verdict.breaches().next().unwrap();
    assert_eq!(
        found.reason,
        "canary fails 5 % of requests (24 of 480), stable 1.1 % (48 of 4320); \
         tolerated up to 1.4 %"
    );
    assert_eq!((found.n.canary, found.n.stable), (480, 4320));
}

#[test]
fn a_hiccup_of_one_second_decides_nothing_however_many_requests_it_meets() {
    let mut judge = Judge::new(JudgeSettings::default());
    let hiccup = stratum(None, "10%", arm(3000, 300, 400), arm(27_000, 27, 50));
    let calm = stratum(None, "10%", arm(3000, 3, 50), arm(27_000, 27, 50));
    for second in 1..=12 {
        let tick = if second == 3 { &hiccup } else { &calm };
        let now = Timestamp::since_start(Duration::from_secs(second));
        let verdict = judge.observe(&TickCounts::from_iter([tick.clone()]), &STAGE, now);
        assert_ne!(verdict.action, Action::Rollback, "{second}: {verdict:#?}");
    }
    for second in 13..=24 {
        let now = Timestamp::since_start(Duration::from_secs(second));
        let verdict = judge.observe(&TickCounts::from_iter([hiccup.clone()]), &STAGE, now);
        if verdict.action == Action::Rollback {
            return;
        }
    }
    panic!("harm that lasts was not found");
}

#[test]
fn a_cold_canary_is_not_judged_by_its_warm_up() {
    let stage = StageContext {
        counted_from: Timestamp::since_start(Duration::from_secs(5)),
        ..STAGE
    };
    let mut judge = Judge::new(JudgeSettings::default());
    let cold = TickCounts::from_iter([stratum(None, "10%", arm(80, 20, 50), arm(720, 0, 50))]);
    for second in 1..=4 {
        judge.observe(
            &cold,
            &stage,
            Timestamp::since_start(Duration::from_secs(second)),
        );
    }
    assert_eq!(judge.stage_requests(), PerVariant::default());
    judge.observe(
        &cold,
        &stage,
        Timestamp::since_start(Duration::from_secs(5)),
    );
    assert_eq!(judge.stage_requests().canary, 80);
}

#[test]
fn too_few_requests_hold_and_say_how_many_are_missing() {
    let verdict = verdict(arm(10, 0, 50), arm(90, 0, 50));
    assert_eq!(verdict.action, Action::Hold);
    let found = finding(&verdict, CheckName::ErrorRate);
    assert_eq!(found.assessment, Assessment::NeedsData);
    assert!(found.reason.ends_with("; needs 100 of canary, has 60"));
}

#[test]
fn a_slower_canary_is_a_breach_of_the_quantile_it_moves() {
    let slower = verdict(arm(1000, 0, 80), arm(9000, 0, 50));
    let p50 = finding(&slower, CheckName::LatencyP50);
    assert_eq!(p50.assessment, Assessment::Breach, "{p50:?}");
    let slightly = verdict(arm(1000, 0, 52), arm(9000, 0, 50));
    assert_eq!(slightly.action, Action::Promote, "{slightly:#?}");
}

#[test]
fn a_millisecond_more_is_nothing_whatever_it_is_in_percent() {
    let busier = verdict(arm(1000, 0, 2), arm(9000, 0, 1));
    assert_eq!(busier.action, Action::Promote, "{busier:#?}");
    let slower = verdict(arm(1000, 0, 5), arm(9000, 0, 1));
    let p50 = finding(&slower, CheckName::LatencyP50);
    assert_eq!(p50.assessment, Assessment::Breach, "{p50:?}");
}

#[test]
fn without_a_control_a_canary_that_fails_many_is_not_given_to_more() {
    let everyone = StageContext {
        has_control: false,
        ..STAGE
    };
    let alone = |failures, stable| {
        let staff = stratum(
            Some("staff"),
            "100%",
            arm(120, failures, 50),
            ArmCounts::default(),
        );
        let others = stratum(None, "0%", ArmCounts::default(), stable);
        judged(JudgeSettings::default(), &everyone, [staff, others]).action
    };
    assert_eq!(alone(0, arm(900, 0, 50)), Action::Promote);
    assert_eq!(alone(36, arm(900, 9, 50)), Action::Rollback);
    assert_eq!(alone(36, ArmCounts::default()), Action::Rollback);
    // The others, who have stable, fail as well.
    assert_eq!(alone(36, arm(900, 270, 50)), Action::Hold);

    // With a control that nobody belongs to it is the same.
    let unseen = stratum(None, "99%", arm(120, 36, 50), ArmCounts::default());
    let verdict = judged(JudgeSettings::default(), &STAGE, [unseen]);
    assert_eq!(verdict.action, Action::Rollback, "{verdict:#?}");
}

#[test]
fn the_mean_is_held_against_its_goal() {
    let mut settings = JudgeSettings::default();
    settings.latency.mean_max = Some(Duration::from_millis(100));
    let judged = |latency_ms| {
        let arms = stratum(
            None,
            "10%",
            arm(500, 0, latency_ms),
            arm(4500, 0, latency_ms),
        );
        let verdict = judged(settings.clone(), &STAGE, [arms]);
        finding(&verdict, CheckName::LatencyMean).assessment
    };
    assert_eq!(judged(50), Assessment::Pass);
    assert_eq!(judged(92), Assessment::Undecided);
    assert_eq!(judged(200), Assessment::Breach);
}

#[test]
fn a_common_outage_breaks_only_the_fixed_limit() {
    let arms = || stratum(None, "10%", arm(500, 200, 50), arm(4500, 1800, 50));
    let compared = judged(JudgeSettings::default(), &STAGE, [arms()]);
    assert_ne!(compared.action, Action::Rollback, "{compared:#?}");
    let mut settings = JudgeSettings::default();
    settings.error_rate.max = Some(0.05);
    let guarded = judged(settings, &STAGE, [arms()]);
    let checks: Vec<_> = guarded.breaches().map(|found| found.check).collect();
    assert_eq!(checks, [CheckName::ErrorRateMax]);
}

#[test]
fn a_canary_made_of_one_odd_group_is_compared_with_that_group() {
    // The beta group fails a tenth whatever serves it, and is most of the canary.
    let beta = stratum(Some("beta"), "50%", arm(2000, 200, 90), arm(2000, 200, 90));
    let rest = stratum(None, "1%", arm(500, 0, 20), arm(49_500, 50, 20));
    let verdict = judged(JudgeSettings::default(), &STAGE, [beta, rest]);
    assert_eq!(verdict.action, Action::Promote, "{verdict:#?}");
}

#[test]
fn harm_to_one_small_group_is_found_under_a_large_healthy_one() {
    let beta = stratum(Some("beta"), "50%", arm(200, 40, 50), arm(200, 2, 50));
    let rest = stratum(None, "50%", arm(20_000, 400, 50), arm(20_000, 400, 50));
    let verdict = judged(JudgeSettings::default(), &STAGE, [beta, rest]);
    let found = verdict.breaches().next().unwrap();
    assert_eq!(found.group, Some("beta".parse().unwrap()));
    assert!(
        found
            .reason
            .starts_with("in group `beta`, canary fails 20 %")
    );
}

#[test]
fn without_a_control_only_guards_can_object() {
    let stage = StageContext {
        has_control: false,
        ..STAGE
    };
    let arms = || stratum(Some("beta"), "100%", arm(500, 10, 50), ArmCounts::default());
    let passed = judged(JudgeSettings::default(), &stage, [arms()]);
    assert_eq!(passed.action, Action::Promote);
    assert!(
        passed.findings[0]
            .reason
            .contains("no control in this group")
    );
    let mut settings = JudgeSettings::default();
    settings.error_rate.max = Some(0.01);
    assert_eq!(judged(settings, &stage, [arms()]).action, Action::Rollback);
}

#[test]
fn an_exposed_group_without_control_does_not_stand_in_for_the_compared_one() {
    let internal = stratum(
        Some("internal"),
        "100%",
        arm(500, 0, 50),
        ArmCounts::default(),
    );
    let verdict = judged(JudgeSettings::default(), &STAGE, [internal]);
    assert_eq!(verdict.action, Action::Hold);
}

#[test]
fn only_the_current_epoch_counts_and_a_new_stage_starts_from_nothing() {
    let mut judge = Judge::new(JudgeSettings::default());
    let mut old = stratum(None, "5%", arm(500, 100, 50), arm(9000, 90, 50));
    old.epoch = 0;
    let fresh = stratum(None, "10%", arm(50, 0, 50), arm(450, 0, 50));
    let counts = [old, fresh].into_iter().collect();
    let verdict = judge.observe(&counts, &STAGE, Timestamp::default());
    assert_eq!(verdict.action, Action::Hold);
    assert_eq!(judge.stage_requests().canary, 50);
    judge.start_stage();
    assert_eq!(judge.stage_requests(), PerVariant::default());
}

#[test]
fn the_tripwire_is_part_of_every_verdict_and_can_be_asked_between_ticks() {
    let dead = || stratum(None, "10%", arm(15, 15, 50), arm(30, 0, 50));
    let verdict = judged(JudgeSettings::default(), &STAGE, [dead()]);
    assert_eq!(
        finding(&verdict, CheckName::Tripwire).assessment,
        Assessment::Breach
    );
    let judge = Judge::new(JudgeSettings::default());
    let partial = [dead()].into_iter().collect();
    let found = judge.check_tripwire(&partial, CanaryEndpoints::SomeAccept, Timestamp::default());
    assert_eq!(found.unwrap().assessment, Assessment::Breach);
}
