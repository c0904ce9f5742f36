//! The judge through its front door: counts in, verdicts out.

use std::time::Duration;

use super::*;
use crate::domain::evidence::cells::{Cell, CellTable};
use crate::domain::evidence::{ArmCounts, Failure, Outcome, OutcomeClass, Stratum};
use crate::domain::judge::sequential::Unit;
use crate::domain::stage_weights::StageWeights;
use crate::domain::variant::Variant;
use crate::domain::weight::Weight;

fn weight(text: &str) -> Weight {
    text.parse().unwrap()
}

pub(super) fn stage(now: &str, next: &str) -> StageContext {
    let weights = |text| StageWeights {
        default: weight(text),
        ..StageWeights::default()
    };
    StageContext {
        epoch: 1,
        counted_from: at(0),
        min_requests: 100,
        weights: weights(now),
        next: weights(next),
        left: Vec::new(),
    }
}

pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::since_start(Duration::from_secs(seconds))
}

/// The place, of 97 in turn, says how long it takes: `latency_ms` at the median, and spread as latencies are.
fn outcome(is_failure: bool, latency_ms: u64, place: u64) -> Outcome {
    let class = if is_failure {
        OutcomeClass::BackendFailure(Failure::Status)
    } else {
        OutcomeClass::Success
    };
    let quantile = ((place % 97) as f64 + 0.5) / 97.0;
    let spread = (quantile / (1.0 - quantile)).powf(0.3);
    Outcome {
        class,
        head_latency: Some(Duration::from_millis(latency_ms).mul_f64(spread)),
        ..Outcome::default()
    }
}

/// `requests` of which `failures` fail.
pub(super) fn arm(requests: u64, failures: u64, latency_ms: u64) -> ArmCounts {
    let mut arm = ArmCounts::default();
    for i in 0..requests {
        // The order of failures and of latencies is not the same.
        arm.record(&outcome(i < failures, latency_ms, i * 41), i);
    }
    arm
}

pub(super) fn stratum(
    group: Option<&str>,
    share: &str,
    canary: ArmCounts,
    stable: ArmCounts,
) -> Stratum {
    Stratum {
        group: group.map(|name| name.parse().unwrap()),
        epoch: 1,
        weight: weight(share),
        is_keyed: true,
        arms: PerVariant { stable, canary },
    }
}

/// What the judge says at the end of each second of the same counts.
pub(super) fn judged_for(
    seconds: u64,
    settings: JudgeSettings,
    stage: &StageContext,
    strata: impl IntoIterator<Item = Stratum>,
) -> (Judge, Verdict) {
    let counts = strata.into_iter().collect();
    let mut judge = Judge::new(settings);
    let mut verdict = Verdict::NOTHING_SEEN;
    for second in 1..=seconds {
        verdict = second_of(&mut judge, &counts, stage, at(second));
        if verdict.action == Action::Rollback {
            break;
        }
    }
    (judge, verdict)
}

pub(super) fn second_of(
    judge: &mut Judge,
    counts: &TickCounts,
    stage: &StageContext,
    now: Timestamp,
) -> Verdict {
    let _ = judge.next_tick(stage, now);
    judge.observe(counts, stage, now)
}

pub(super) fn judged(
    settings: JudgeSettings,
    stage: &StageContext,
    strata: impl IntoIterator<Item = Stratum>,
) -> Verdict {
    judged_for(60, settings, stage, strata).1
}

/// A minute at 10 %, with 50 % next.
fn verdict(canary: ArmCounts, stable: ArmCounts) -> Verdict {
    let arms = stratum(None, "10%", canary, stable);
    judged(JudgeSettings::default(), &stage("10%", "50%"), [arms])
}

fn finding(verdict: &Verdict, check: CheckName) -> &Finding {
    let mut findings = verdict.findings.iter();
    let found = findings.find(|finding| finding.check == check);
    found.unwrap_or_else(|| panic!("no {check} in {verdict:#?}"))
}

#[test]
fn no_evidence_is_a_hold_even_if_nothing_is_demanded() {
    for (now, next) in [("10%", "50%"), ("100%", "100%")] {
        let stage = StageContext {
            min_requests: 0,
            ..stage(now, next)
        };
        let nothing = judged(JudgeSettings::default(), &stage, []);
        assert_eq!(nothing.action, Action::Hold);
        assert!(!nothing.is_undecided);
        let empty = stratum(None, now, ArmCounts::default(), ArmCounts::default());
        let empty = judged(JudgeSettings::default(), &stage, [empty]);
        assert_eq!(empty.action, Action::Hold);
        assert!(!empty.is_undecided);
    }
}

#[test]
fn equal_arms_are_promoted() {
    let verdict = verdict(arm(200, 2, 50), arm(1800, 18, 50));
    assert_eq!(verdict.action, Action::Promote, "{verdict:#?}");
    assert!(!verdict.findings.is_empty());
}

#[test]
fn failures_beyond_the_tolerated_are_a_breach_told_in_words_and_numbers() {
    let verdict = verdict(arm(80, 4, 50), arm(720, 8, 50));
    assert_eq!(verdict.action, Action::Rollback);
    let found = verdict.breaches().next().unwrap();
    assert_eq!(found.check, CheckName::ErrorRate);
    let begin = "canary fails 5 % of requests (";
    assert!(found.reason.starts_with(begin), "{}", found.reason);
    assert!(found.reason.contains("; tolerated up to 1.4 %; evidence "));
    assert!(found.reason.ends_with(" of 100 needed"), "{}", found.reason);
    let needed = found.evidence_needed.unwrap();
    assert!((needed - 100.0).abs() < 1e-9 && found.evidence >= 1.0);
    assert_eq!(found.n.canary % 80, 0);
}

#[test]
fn a_hiccup_of_one_second_decides_nothing_however_many_requests_it_meets() {
    let mut judge = Judge::new(JudgeSettings::default());
    let hiccup = [stratum(
        None,
        "10%",
        arm(3000, 300, 400),
        arm(27_000, 27, 50),
    )];
    let calm = [stratum(None, "10%", arm(3000, 3, 50), arm(27_000, 27, 50))];
    let (hiccup, calm) = (hiccup.into_iter().collect(), calm.into_iter().collect());
    let stage = stage("10%", "50%");
    for second in 1..=12 {
        let tick = if second == 3 { &hiccup } else { &calm };
        let verdict = second_of(&mut judge, tick, &stage, at(second));
        assert_ne!(verdict.action, Action::Rollback, "{second}: {verdict:#?}");
    }
    let lasting = (13..=60).map(|second| second_of(&mut judge, &hiccup, &stage, at(second)).action);
    assert!(lasting.into_iter().any(|action| action == Action::Rollback));
}

#[test]
fn a_cold_canary_is_not_judged_by_its_warm_up_and_stable_is_learnt_from() {
    let stage = StageContext {
        counted_from: at(30),
        ..stage("10%", "50%")
    };
    let mut judge = Judge::new(JudgeSettings::default());
    let cold = [stratum(None, "10%", arm(80, 40, 500), arm(720, 0, 50))]
        .into_iter()
        .collect();
    for second in 1..=30 {
        let verdict = second_of(&mut judge, &cold, &stage, at(second));
        assert_eq!(verdict.action, Action::Hold, "{verdict:#?}");
    }
    assert_eq!(judge.stage_requests(), PerVariant::default());
    assert_eq!(judge.seen_in_stage().0.requests().canary, 30 * 80);
    assert!(judge.sight().slow_above.canary[0].is_some(), "of stable's");
    let _ = second_of(&mut judge, &cold, &stage, at(31));
    assert_eq!(judge.stage_requests().canary, 80);
}

#[test]
fn too_few_requests_hold_and_say_how_many_are_missing() {
    // A stage takes so many requests whether they are the unit or not.
    for unit in [Unit::Request, Unit::Caller] {
        let arms = stratum(None, "10%", arm(1, 0, 50), arm(9, 0, 50));
        let settings = JudgeSettings {
            unit,
            ..JudgeSettings::default()
        };
        let verdict = judged(settings, &stage("10%", "50%"), [arms]);
        assert_eq!(verdict.action, Action::Hold);
        assert!(!verdict.is_undecided);
        let found = finding(&verdict, CheckName::ErrorRate);
        assert_eq!(found.assessment, Assessment::NeedsData);
        let missing = "about 41 more canary requests, 41 seconds at this rate, to judge at all";
        assert!(found.reason.ends_with(missing), "{}", found.reason);
        assert_eq!(found.missing.unwrap().count, 41);
    }
}

#[test]
fn without_stable_nothing_passes_and_nothing_is_undecided() {
    let alone = stratum(None, "99%", arm(100, 0, 50), ArmCounts::default());
    let verdict = judged(JudgeSettings::default(), &stage("99%", "100%"), [alone]);
    assert_eq!(verdict.action, Action::Hold, "{verdict:#?}");
    assert!(!verdict.is_undecided);
    let found = finding(&verdict, CheckName::ErrorRate);
    let missing = "needs 100 requests of stable where both are asked, has 0";
    assert!(found.reason.ends_with(missing), "{}", found.reason);
}

#[test]
fn a_slower_canary_is_a_breach_of_the_quantile_it_moves() {
    let slower = verdict(arm(200, 0, 80), arm(1800, 0, 50));
    assert_eq!(slower.action, Action::Rollback, "{slower:#?}");
    let checks = slower.breaches().map(|found| found.check.clone());
    let is_latency = |check: CheckName| check.as_str().starts_with("latency_p");
    assert!(checks.into_iter().all(is_latency), "{slower:#?}");
    let slightly = verdict(arm(200, 2, 52), arm(1800, 18, 50));
    assert_eq!(slightly.action, Action::Promote, "{slightly:#?}");
}

#[test]
fn a_millisecond_more_is_nothing_whatever_it_is_in_percent() {
    let later_by = |millis| {
        let mut arm = arm(0, 0, 0);
        for i in 0..200 {
            let mut outcome = outcome(i < 2, 1, i * 41);
            let latency = outcome.head_latency.as_mut().unwrap();
            *latency += Duration::from_millis(millis);
            arm.record(&outcome, i);
        }
        arm
    };
    let busier = verdict(later_by(1), arm(1800, 18, 1));
    assert_eq!(busier.action, Action::Promote, "{busier:#?}");
    let slower = verdict(later_by(4), arm(1800, 18, 1));
    assert_eq!(slower.action, Action::Rollback, "{slower:#?}");
}

#[test]
fn without_a_control_a_canary_that_fails_many_is_not_given_to_more() {
    let everyone = |stage: StageContext| StageContext {
        weights: StageWeights {
            groups: [("staff".parse().unwrap(), Weight::FULL)].into(),
            default: Weight::ZERO,
        },
        ..stage
    };
    let everyone = everyone(stage("0%", "10%"));
    let settings = || JudgeSettings {
        groups: vec!["staff".parse().unwrap()],
        ..JudgeSettings::default()
    };
    let alone = |failures, stable| {
        let staff = arm(120, failures, 50);
        let staff = stratum(Some("staff"), "100%", staff, ArmCounts::default());
        let others = stratum(None, "0%", ArmCounts::default(), stable);
        judged(settings(), &everyone, [staff, others])
    };
    let fine = alone(0, arm(900, 0, 50));
    assert_eq!(fine.action, Action::Promote, "{fine:#?}");
    let found = finding(&fine, CheckName::ErrorRateMax);
    assert!(
        found
            .reason
            .starts_with("no control in this group: canary fails 0 %")
    );
    assert_eq!(alone(36, arm(900, 9, 50)).action, Action::Rollback);
    assert_eq!(alone(36, ArmCounts::default()).action, Action::Rollback);
    // The others, who have stable, fail as well.
    assert_eq!(alone(36, arm(900, 270, 50)).action, Action::Hold);

    // With a control that nobody belongs to it is the same.
    let unseen = stratum(None, "99%", arm(120, 36, 50), ArmCounts::default());
    let verdict = judged(JudgeSettings::default(), &stage("99%", "100%"), [unseen]);
    assert_eq!(verdict.action, Action::Rollback, "{verdict:#?}");
}

#[test]
fn the_mean_is_held_against_its_goal() {
    let settings = JudgeSettings {
        mean_latency_max: Some(Duration::from_millis(100)),
        ..JudgeSettings::default()
    };
    let judged = |latency_ms| {
        let (canary, stable) = (arm(200, 2, latency_ms), arm(1800, 18, latency_ms));
        let arms = stratum(None, "10%", canary, stable);
        judged(settings.clone(), &stage("10%", "50%"), [arms])
    };
    assert_eq!(judged(50).action, Action::Promote);
    let above = judged(86);
    assert_eq!(above.action, Action::Hold, "{above:#?}");
    assert!(!above.is_undecided);
    let breach = judged(200);
    let checks: Vec<_> = breach.breaches().map(|found| found.check.clone()).collect();
    assert_eq!(checks, [CheckName::LatencyMean], "{breach:#?}");
}

#[test]
fn a_common_outage_breaks_only_the_fixed_limit() {
    let arms = || stratum(None, "10%", arm(500, 200, 50), arm(4500, 1800, 50));
    let stage = stage("10%", "50%");
    let compared = judged(JudgeSettings::default(), &stage, [arms()]);
    assert_eq!(compared.action, Action::Hold, "{compared:#?}");
    assert!(!compared.is_undecided, "nothing is seen of how they differ");
    let settings = JudgeSettings {
        error_rate_max: Some(0.05),
        ..JudgeSettings::default()
    };
    let guarded = judged(settings, &stage, [arms()]);
    let checks: Vec<_> = guarded
        .breaches()
        .map(|found| found.check.clone())
        .collect();
    assert_eq!(checks, [CheckName::ErrorRateMax]);
}

fn with_beta() -> JudgeSettings {
    JudgeSettings {
        groups: vec!["beta".parse().unwrap()],
        ..JudgeSettings::default()
    }
}

#[test]
fn a_canary_made_of_one_odd_group_is_compared_with_that_group() {
    // The beta group fails a tenth whatever serves it, and is most of the canary.
    let beta = stratum(Some("beta"), "50%", arm(2000, 200, 50), arm(2000, 200, 50));
    let rest = stratum(None, "1%", arm(50, 0, 50), arm(4950, 5, 50));
    let verdict = judged(with_beta(), &stage("50%", "100%"), [beta, rest]);
    assert_ne!(verdict.action, Action::Rollback, "{verdict:#?}");
}

#[test]
fn harm_to_one_small_group_is_found_under_a_large_healthy_one() {
    let beta = stratum(Some("beta"), "50%", arm(20, 4, 50), arm(20, 0, 50));
    let rest = stratum(None, "50%", arm(2000, 40, 50), arm(2000, 40, 50));
    let verdict = judged(with_beta(), &stage("50%", "100%"), [beta, rest]);
    assert_eq!(verdict.action, Action::Rollback, "{verdict:#?}");
    let found = verdict.breaches().next().unwrap();
    assert_eq!(found.group, Some("beta".parse().unwrap()));
    let begin = "in group `beta`, canary fails 20 %";
    assert!(found.reason.starts_with(begin), "{}", found.reason);
}

/// A stage in which `beta` has canary altogether, and everyone else is split.
fn beyond_beta(now: &str, next: &str) -> StageContext {
    let beta = |mut weights: StageWeights| {
        weights.groups = [("beta".parse().unwrap(), Weight::FULL)].into();
        weights
    };
    let stage = stage(now, next);
    StageContext {
        weights: beta(stage.weights),
        next: beta(stage.next),
        ..stage
    }
}

#[test]
fn who_is_compared_with_nothing_does_not_stand_in_for_those_who_are() {
    let beta = stratum(Some("beta"), "100%", arm(500, 0, 50), ArmCounts::default());
    let rest = stratum(None, "1%", arm(1, 0, 50), arm(99, 0, 50));
    let stage = beyond_beta("1%", "5%");
    let (judge, verdict) = judged_for(60, with_beta(), &stage, [beta, rest]);
    assert_eq!(verdict.action, Action::Hold);
    assert!(!verdict.is_undecided, "too little is not undecided");
    assert_eq!(judge.stage_requests().canary, 59);
    let found = finding(&verdict, CheckName::ErrorRate);
    assert_eq!(found.assessment, Assessment::NeedsData);
    let missing = "needs 100 requests of canary where both are asked, has 59";
    assert!(found.reason.ends_with(missing), "{}", found.reason);
}

#[test]
fn a_group_without_a_control_is_guarded_while_others_are_compared() {
    let stage = beyond_beta("10%", "50%");
    let beta = |failures| {
        let beta = arm(100, failures, 50);
        stratum(Some("beta"), "100%", beta, ArmCounts::default())
    };
    let rest = || stratum(None, "10%", arm(200, 2, 50), arm(1800, 18, 50));
    let fine = judged(with_beta(), &stage, [beta(1), rest()]);
    assert_eq!(fine.action, Action::Promote, "{fine:#?}");
    let failing = judged(with_beta(), &stage, [beta(40), rest()]);
    assert_eq!(failing.action, Action::Rollback, "{failing:#?}");
    let found = failing.breaches().next().unwrap();
    assert_eq!(found.check, CheckName::ErrorRateMax);
    let begin = "no control in this group: canary fails 40 % of requests";
    assert!(found.reason.starts_with(begin), "{}", found.reason);
}

#[test]
fn harm_in_one_group_that_is_nearly_shown_stops_a_stage_and_says_so() {
    let beta = stratum(Some("beta"), "50%", arm(20, 4, 50), arm(20, 0, 50));
    let rest = stratum(None, "50%", arm(2000, 40, 50), arm(2000, 40, 50));
    let counts = [beta, rest].into_iter().collect();
    let (mut judge, stage) = (Judge::new(with_beta()), stage("50%", "100%"));
    let verdicts = (1..=60).map(|second| second_of(&mut judge, &counts, &stage, at(second)));
    let verdicts: Vec<_> = verdicts
        .take_while(|verdict| verdict.action != Action::Rollback)
        .collect();
    assert!(verdicts.len() < 60, "it is found at last");
    let last = &verdicts[verdicts.len() - 3..];
    for verdict in last {
        assert_eq!(verdict.action, Action::Hold, "{verdict:#?}");
        assert!(!verdict.is_undecided);
        let explains = |finding: &Finding| {
            finding.assessment == Assessment::Undecided
                && finding.reason.contains("and a stage passes below 10")
        };
        assert!(verdict.findings.iter().any(explains), "{verdict:#?}");
    }
}

#[test]
fn a_limit_counts_without_a_control_too() {
    let settings = JudgeSettings {
        error_rate_max: Some(0.01),
        ..JudgeSettings::default()
    };
    let arms = stratum(None, "100%", arm(500, 20, 50), ArmCounts::default());
    let verdict = judged(settings, &stage("100%", "100%"), [arms]);
    assert_eq!(verdict.action, Action::Rollback, "{verdict:#?}");
}

#[test]
fn an_exposed_group_without_control_does_not_stand_in_for_the_compared_one() {
    let internal = stratum(Some("beta"), "100%", arm(500, 0, 50), ArmCounts::default());
    let verdict = judged(with_beta(), &stage("10%", "50%"), [internal]);
    assert_eq!(verdict.action, Action::Hold);
    assert!(!verdict.is_undecided);
}

#[test]
fn only_the_current_epoch_counts_and_a_new_stage_shows_its_own_harmlessness() {
    let mut old = stratum(None, "5%", arm(500, 100, 50), arm(9000, 90, 50));
    old.epoch = 0;
    let fresh = || stratum(None, "10%", arm(200, 2, 50), arm(1800, 18, 50));
    let stage = stage("10%", "50%");
    let settings = JudgeSettings::default;
    let (mut judge, verdict) = judged_for(60, settings(), &stage, [old, fresh()]);
    assert_eq!(verdict.action, Action::Promote, "{verdict:#?}");
    assert_eq!(judge.stage_requests().canary, 59 * 200);
    judge.start_stage();
    assert_eq!(judge.stage_requests(), PerVariant::default());
    let counts = [fresh()].into_iter().collect();
    for second in [61, 62] {
        let verdict = second_of(&mut judge, &counts, &stage, at(second));
        assert_eq!(verdict.action, Action::Hold, "{verdict:#?}");
    }
}

#[test]
fn the_tripwire_is_part_of_every_verdict_and_can_be_asked_between_ticks() {
    let dead = || stratum(None, "10%", arm(15, 15, 50), arm(30, 0, 50));
    let stage = stage("10%", "50%");
    let verdict = judged_for(1, JudgeSettings::default(), &stage, [dead()]).1;
    assert_eq!(verdict.action, Action::Rollback);
    assert_eq!(verdict.findings[0].check, CheckName::Tripwire);
    let judge = Judge::new(JudgeSettings::default());
    let partial = [dead()].into_iter().collect();
    let found = judge.check_tripwire(&partial, CanaryEndpoints::SomeAccept, Timestamp::default());
    assert_eq!(found.unwrap().assessment, Assessment::Breach);
}

/// Callers on both arms, half of them each, as the data plane counts them.
struct Callers {
    table: CellTable,
    judge: Judge,
    stage: StageContext,
    second: u64,
    count: CallersTick,
}

impl Callers {
    fn new(judge: Judge) -> Self {
        Self {
            table: CellTable::default(),
            judge,
            stage: stage("50%", "100%"),
            second: 0,
            count: CallersTick::default(),
        }
    }

    /// A second in which each of `callers` asks so often as `answers` has entries, caller by caller.
    fn second(
        &mut self,
        callers: u32,
        answers: impl Fn(Variant, u32, u64) -> Vec<Outcome>,
    ) -> Verdict {
        self.second += 1;
        let mut stratum = stratum(None, "50%", ArmCounts::default(), ArmCounts::default());
        let cuts = self.judge.sight();
        for caller in 0..callers {
            // Evenly over all buckets; the lower half is canary's.
            let hash = caller.wrapping_mul(2_654_435_761);
            let variant = match hash < u32::MAX / 2 {
                true => Variant::Canary,
                false => Variant::Stable,
            };
            let counts = stratum.arms.get_mut(variant);
            for outcome in answers(variant, caller, self.second) {
                counts.record(&outcome, caller.into());
                let answer = ArmCuts::answer(&outcome, || cuts.of(variant));
                if let (Some(now), Some(answer)) = (&self.count.now, answer) {
                    let cell = Cell::of_hash(hash);
                    self.table.record(cell, now, &answer, &mut counts.cells);
                }
            }
        }
        let now = at(self.second);
        self.count = self.judge.next_tick(&self.stage, now);
        self.table.clear(self.count.clearing);
        let counts = [stratum].into_iter().collect();
        self.judge.observe(&counts, &self.stage, now)
    }
}

fn by_caller() -> Judge {
    Judge::new(JudgeSettings {
        unit: Unit::Caller,
        ..JudgeSettings::default()
    })
}

#[test]
fn one_caller_who_fails_a_thousand_times_is_one_caller() {
    let mut callers = Callers::new(by_caller());
    // The busiest on canary fails always, and does half of all it is asked.
    let answers = |variant, caller, _| match (variant, caller) {
        (Variant::Canary, 0) => vec![outcome(true, 50, 1); 100],
        _ => vec![outcome(false, 50, caller.into())],
    };
    for _ in 0..120 {
        let verdict = callers.second(200, answers);
        assert_ne!(verdict.action, Action::Rollback, "{verdict:#?}");
    }
    let mut callers = Callers::new(by_caller());
    let many = |variant, caller, second: u64| {
        let fails = variant == Variant::Canary && (u64::from(caller) + second).is_multiple_of(40);
        vec![outcome(fails, 50, u64::from(caller) / 3)]
    };
    let found = (0..60).any(|_| callers.second(2000, many).action == Action::Rollback);
    assert!(
        found,
        "one caller in forty fails each second, on canary alone"
    );
}

#[test]
fn harm_that_lasts_is_found_although_everyone_has_met_with_it_at_once() {
    let mut callers = Callers::new(by_caller());
    let half = |variant, caller: u32, _| {
        let fails = variant == Variant::Canary && caller.is_multiple_of(2);
        vec![outcome(fails, 50, u64::from(caller) / 2)]
    };
    let found = (0..30).any(|_| callers.second(400, half).action == Action::Rollback);
    assert!(
        found,
        "all are asked each second, and half of canary's fail"
    );
}

#[test]
fn a_hiccup_that_meets_nearly_every_caller_decides_nothing() {
    let mut callers = Callers::new(by_caller());
    let hiccup = |variant, caller: u32, second: u64| {
        let met = second == 5 && variant == Variant::Canary && !caller.is_multiple_of(5);
        // And one in a hundred fails on either arm, all the time.
        let fails = met || (u64::from(caller) * 7 + second).is_multiple_of(100);
        vec![outcome(fails, 50, u64::from(caller))]
    };
    for _ in 0..200 {
        let verdict = callers.second(400, hiccup);
        assert_ne!(verdict.action, Action::Rollback, "{verdict:#?}");
    }
}

#[test]
fn a_service_that_never_fails_passes_where_callers_are_the_unit() {
    let mut callers = Callers::new(by_caller());
    let fine = |_, caller, _| vec![outcome(false, 50, u64::from(caller))];
    let verdicts = (0..60).map(|_| callers.second(400, fine).action);
    assert_eq!(verdicts.last(), Some(Action::Promote));
}

#[test]
fn callers_who_count_again_after_a_restart_count_with_no_more_luck_than_before() {
    let settings = JudgeSettings {
        unit: Unit::Caller,
        ..JudgeSettings::default()
    };
    let fine = |_, caller, _| vec![outcome(false, 50, u64::from(caller))];
    let mut judge = Judge::new(settings.clone());
    for _ in 0..6 {
        let mut callers = Callers::new(judge);
        let verdicts: Vec<_> = (0..3).map(|_| callers.second(300, fine)).collect();
        let split = finding(&verdicts[2], CheckName::Split);
        assert_eq!(split.n.stable + split.n.canary, 300, "{}", split.reason);
        assert!(split.evidence < 0.1, "{}", split.reason);
        judge = Judge::restore(settings.clone(), callers.judge.evidence()).unwrap();
    }
}

#[test]
fn evidence_of_harm_outlives_the_process_and_that_of_harmlessness_does_not() {
    let mut callers = Callers::new(by_caller());
    let worse = |variant, caller, second: u64| {
        let fails = variant == Variant::Canary && (u64::from(caller) + second).is_multiple_of(25);
        vec![outcome(fails, 50, u64::from(caller) / 3)]
    };
    let mut evidence = 0.0;
    while evidence < 0.02 {
        let verdict = callers.second(200, worse);
        assert_eq!(verdict.action, Action::Hold, "{verdict:#?}");
        evidence = verdict.findings.first().map_or(0.0, |found| found.evidence);
        assert!(callers.second < 120, "no evidence: {verdict:#?}");
    }
    let stored = serde_json::to_string(&callers.judge.evidence()).unwrap();
    let settings = JudgeSettings {
        unit: Unit::Caller,
        ..JudgeSettings::default()
    };
    let read = serde_json::from_str(&stored).unwrap();
    let judge = Judge::restore(settings, read).unwrap();
    let mut again = Callers::new(judge);
    let fine = |_, caller, _| vec![outcome(false, 50, u64::from(caller))];
    let (first, second) = (again.second(200, fine), again.second(200, fine));
    assert_eq!((first.action, second.action), (Action::Hold, Action::Hold));
    let kept = finding(&second, CheckName::ErrorRate).evidence;
    assert!(kept > evidence / 10.0, "{kept} of {evidence}");
    let other = Judge::restore(JudgeSettings::default(), again.judge.evidence());
    assert!(other.is_err(), "counted in requests");
}
