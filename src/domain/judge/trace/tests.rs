use std::num::NonZeroU32;

use super::*;
use crate::domain::judge::sequential::{ArmTick, CallerStart, Check, StratumTick};
use crate::domain::variant::PerVariant;

const REQUESTS: &str = r#"{"format":"canary-trace/2","tick_s":10}"#;
const CALLERS: &str = r#"{"format":"canary-trace/2","tick_s":10,"params":{"unit":"caller"}}"#;

fn problem(lines: &[&str]) -> String {
    Trace::parse(&lines.join("\n")).unwrap_err().to_string()
}

/// A tick with one group, whose canary is written.
fn tick_of(canary: &str) -> String {
    format!(
        r#"{{"t":0,"stage":0,"exposed":[0.1,null],"starts":[[1,0],[2,1]],"groups":[{{"w":0.1,
        "c":{canary},"s":{{"n":9,"err":0,"new":3,"first":[{{"err":[9,0]}},{{"err":[9,0]}}]}}}}]}}"#
    )
    .replace('\n', "")
}

#[test]
fn a_tick_is_read_whole() {
    let canary = r#"{"n":5,"err":1,"e4":2,"h":[[-3,1],[90,1]],"z":[[4,2]],"fb":[0,1,0,0,2],
        "new":4,"seen":5,"first":[{"err":[5,1],"p50":[2,1]},{"err":[4,0]}],"later":"unknown"}"#;
    let trace = Trace::parse(&[CALLERS, &tick_of(&canary.replace('\n', ""))].join("\n")).unwrap();
    assert_eq!(trace.ticks.len(), 1);
    let tick = &trace.ticks[0];
    assert_eq!(tick.exposed_next, None);
    assert_eq!(tick.starts[1], CallerStart { number: 2, slot: 1 });
    let canary = &tick.strata[0].arms.canary;
    assert_eq!(
        (canary.requests, canary.failures, canary.client_errors),
        (5, 1, 2)
    );
    assert_eq!(canary.latency, [(-3, 1), (90, 1)]);
    assert_eq!((canary.new_callers, canary.stage_callers), (4, 5));
    assert_eq!(canary.firsts[0].of(Check::Errors).events, 1);
    assert_eq!(canary.firsts[0].of(Check::P50).trials, 2);
    assert_eq!(
        canary.firsts[0].of(Check::P90).trials,
        0,
        "left out: the cut is unknown"
    );
    assert_eq!(tick.strata[0].arms.stable.sizes, []);
}

#[test]
fn a_header_changes_settings_and_its_params_win() {
    let header = r#"{"format":"canary-trace/2","tick_s":1,"name":"x",
        "tolerances":{"max_increase":0.5,"p99":0.25},
        "params":{"err_rel":0.75,"comp":{"err":0.5},"alpha":0.05,"lat_promote":[[0.5,7]],"odd":1}}"#;
    let tick = tick_of(r#"{"n":0,"err":0}"#);
    let trace = Trace::parse(&[&header.replace('\n', ""), tick.as_str()].join("\n")).unwrap();
    let settings = trace.settings;
    assert!((settings.tolerated.errors_relative - 0.75).abs() < 1e-12);
    assert_eq!(settings.tolerated.latency_buckets.p99, 5);
    assert!((settings.shares[Check::Errors] - 0.5).abs() < 1e-12);
    assert!(
        settings.shares[Check::P50].abs() < 1e-12,
        "not named is off"
    );
    assert_eq!(settings.promotion.latency_margins[0].buckets, 7);
    assert_eq!(trace.name.as_deref(), Some("x"));
}

#[test]
fn a_wrong_header_is_told_with_what_would_be_right() {
    let cases = [
        (
            r#"{"format":"canary-trace/1","tick_s":1}"#,
            "line 1: format `canary-trace/1`, expected `canary-trace/2`",
        ),
        (
            r#"{"format":"canary-trace/2"}"#,
            "line 1: column 27: missing field `tick_s`",
        ),
        (
            r#"{"format":"canary-trace/2","tick_s":0}"#,
            "line 1: tick_s is 0, expected seconds above 0",
        ),
        (
            r#"{"format":"canary-trace/2","tick_s":1,"sub":8}"#,
            "line 1: sub is 8, expected 16: buckets per octave are not free to choose",
        ),
        (
            r#"{"format":"canary-trace/2","tick_s":1,"params":{"alpha":1.5}}"#,
            "line 1: params.alpha is 1.5, expected above 0 and below 1",
        ),
        (
            r#"{"format":"canary-trace/2","tick_s":1,"params":{"grid":[0.5]}}"#,
            "line 1: params.grid is [0.5], expected numbers above 1",
        ),
        (
            r#"{"format":"canary-trace/2","tick_s":1,"params":{"comp":{"err":-1}}}"#,
            "line 1: params.comp.err is -1, expected a share of 0 or more",
        ),
        (
            r#"{"format":"canary-trace/2","tick_s":1,"goes_on":true}"#,
            "line 1: goes_on without evidence, expected what the ticks before amount to",
        ),
        (
            REQUESTS,
            "line 1: no tick follows the header, expected one line for each",
        ),
    ];
    for (header, expected) in cases {
        assert_eq!(problem(&[header]), expected);
    }
}

#[test]
fn a_wrong_tick_is_told_with_its_line_and_place() {
    let good = tick_of(r#"{"n":0,"err":0,"new":0,"first":[{"err":[0,0]},{"err":[0,0]}]}"#);
    let cases = [
        (
            r#"{"n":1,"err":0}"#,
            "groups[0].c.new is missing, expected the callers never seen before",
        ),
        (
            r#"{"n":1,"err":0,"new":0,"first":[{"err":[1,0]}]}"#,
            "groups[0].c.first has 1 entries, expected one for each of 2 starts",
        ),
        (
            r#"{"n":1,"err":0,"new":0,"h":[[99999,1]]}"#,
            "groups[0].c.h has bucket 99999, expected -16384 to 16384",
        ),
        (
            r#"{"n":18000000000000000000,"err":0,"new":0}"#,
            "groups[0].c.n is 18000000000000000000, expected at most 9007199254740992",
        ),
    ];
    for (canary, expected) in cases {
        let bad = tick_of(canary);
        assert_eq!(
            problem(&[CALLERS, &good, "", &bad]),
            format!("line 4: {expected}")
        );
    }
    let weight = good.replace(r#""w":0.1"#, r#""w":1.5"#);
    assert_eq!(
        problem(&[CALLERS, &weight]),
        "line 2: groups[0].w is 1.5, expected 0 to 1"
    );
    for (starts, expected) in [
        (
            "[[0,0],[2,1]]",
            "starts has number 0, expected numbers from 1",
        ),
        ("[[1,0],[2,3]]", "starts has slot 3, expected 0 to 2"),
        (
            "[[2,0],[2,1]]",
            "starts has number 2 twice, expected each once",
        ),
    ] {
        let bad = good.replace("[[1,0],[2,1]]", starts);
        assert_eq!(problem(&[CALLERS, &bad]), format!("line 2: {expected}"));
    }
    let negative = good.replace(r#""n":0"#, r#""n":-1"#);
    assert!(problem(&[CALLERS, &negative]).starts_with("line 2: column"));
    assert!(problem(&[REQUESTS, "{\"t\":0"]).starts_with("line 2: column 6: EOF"));
}

#[test]
fn callers_are_not_asked_for_where_requests_are_the_unit_or_nothing_is_compared() {
    let bare = tick_of(r#"{"n":1,"err":0}"#);
    assert!(Trace::parse(&[REQUESTS, &bare].join("\n")).is_ok());
    let full = bare.replace(r#""w":0.1"#, r#""w":1"#);
    assert!(Trace::parse(&[CALLERS, &full].join("\n")).is_ok());
}

#[test]
fn what_is_recorded_is_read_back() {
    let mut settings = SequentialSettings {
        unit: Unit::Caller,
        groups: NonZeroU32::new(2),
        finds_one_group: true,
        ..SequentialSettings::default()
    };
    settings.limit_error_rate(0.05);
    settings.turn_on(Check::ContentType);
    settings.promotion.mean_latency_ms_goal = None;
    let canary = r#"{"n":5,"err":1,"e4":2,"h":[[-3,1]],"z":[[4,2]],"fb":[0,1,0,0,2],"ctype":[[7,1]],
        "new":4,"seen":5,"first":[{"err":[5,1],"p50":[2,1]},{"err":[4,0],"size":[3,2]}]}"#;
    let mut original =
        Trace::parse(&[CALLERS, &tick_of(&canary.replace('\n', ""))].join("\n")).unwrap();
    original.ticks[0].left = vec![1];
    let lines = [
        Trace::header_line("recorded", &settings, 2.5, None).unwrap(),
        Trace::tick_line(&original.ticks[0]).unwrap(),
    ];
    let read = Trace::parse(&lines.join("\n")).unwrap();
    assert_eq!(read.ticks, original.ticks);
    assert_eq!(read.settings, settings);
    assert!((read.seconds_per_tick - 2.5).abs() < 1e-12);
}

/// Recorded rollouts: by request and by caller, with groups, promotions, rollbacks and gaps.
const RECORDED: [&str; 7] = [
    include_str!("../../../../tests/vectors/traces/aa_healthy.jsonl"),
    include_str!("../../../../tests/vectors/traces/sticky_late_leak.jsonl"),
    include_str!("../../../../tests/vectors/traces/two_groups.jsonl"),
    include_str!("../../../../tests/vectors/traces/feedback_drop.jsonl"),
    include_str!("../../../../tests/vectors/rulings/caller_promote.trace.jsonl"),
    include_str!("../../../../tests/vectors/rulings/caller_rollback.trace.jsonl"),
    include_str!("../../../../tests/vectors/rulings/request_promote.trace.jsonl"),
];

/// Every ruling up to the end or the first rollback.
fn rulings(trace: &Trace) -> Vec<Ruling> {
    let mut rulings = Vec::new();
    trace.replay(|_, ruling| rulings.push(ruling.clone()));
    rulings
}

/// The trace without its first ticks, as a recorder writes it.
fn cut(whole: &Trace, kept_from: usize) -> Trace {
    let mut judge = whole.judge();
    for tick in &whole.ticks[..kept_from] {
        judge.observe(tick);
    }
    let known = Known {
        evidence: judge.evidence(),
        goes_on: true,
    };
    let (settings, seconds) = (&whole.settings, whole.seconds_per_tick);
    let header = Trace::header_line("cut", settings, seconds, Some(&known));
    let ticks = whole.ticks[kept_from..].iter().map(Trace::tick_line);
    let lines: Result<Vec<_>, _> = std::iter::once(header).chain(ticks).collect();
    Trace::parse(&lines.unwrap().join("\n")).unwrap()
}

#[test]
fn a_recording_without_its_first_ticks_replays_to_the_same_rulings() {
    for text in RECORDED {
        let whole = Trace::parse(text).unwrap();
        let name = whole.name.clone();
        let expected = rulings(&whole);
        for part in [1, 3, 5, 7] {
            let kept_from = expected.len() * part / 8;
            let found = rulings(&cut(&whole, kept_from));
            assert_eq!(found.len(), expected.len() - kept_from, "{name:?}");
            for (found, expected) in found.iter().zip(&expected[kept_from..]) {
                let at = (&name, kept_from, expected.tick);
                assert_eq!(found.action, expected.action, "{at:?}");
                assert_eq!(found.wait, expected.wait, "{at:?}");
                let (found, expected) = (found.log_evidence, expected.log_evidence);
                let is_same = (found - expected).abs() < 1e-9 || found.total_cmp(&expected).is_eq();
                assert!(is_same, "{at:?}: {found} is not {expected}");
            }
        }
    }
}

/// A trace in which the first of two groups fails on canary, and leaves after so many ticks.
fn trace_in_which_one_leaves(after: usize) -> Trace {
    let arm = |requests, failures| ArmTick {
        requests,
        failures,
        ..ArmTick::default()
    };
    let stratum = |group, weight, canary| StratumTick {
        group,
        weight,
        arms: PerVariant {
            stable: arm(200, 2),
            canary,
        },
    };
    let tick = |place: usize| {
        let (left, first) = match place < after {
            true => (vec![], stratum(0, 0.5, arm(200, 60))),
            false => (vec![0], stratum(0, 0.0, arm(0, 0))),
        };
        Tick {
            number: i64::try_from(place).unwrap(),
            stage: i64::from(place >= after),
            left,
            strata: vec![first, stratum(1, 0.5, arm(200, 2))],
            ..Tick::default()
        }
    };
    let bare = tick_of(r#"{"n":1,"err":0}"#);
    let mut trace = Trace::parse(&[REQUESTS, &bare].join("\n")).unwrap();
    trace.settings.groups = NonZeroU32::new(3);
    trace.settings.finds_one_group = true;
    trace.ticks = (0..40).map(tick).collect();
    trace
}

#[test]
fn a_replay_goes_on_with_the_others_where_a_group_has_left() {
    let judged = |after| {
        let mut rollbacks = Vec::new();
        let verdict = trace_in_which_one_leaves(after).replay(|_, ruling| {
            rollbacks.extend(ruling.reason.map(|reason| (ruling.tick, reason.group)));
        });
        (rollbacks, verdict)
    };
    let (rollbacks, verdict) = judged(40);
    let [(found, Some(0))] = rollbacks[..] else {
        panic!("{rollbacks:?}");
    };
    assert_eq!((verdict.verdict, verdict.tick), (Action::Rollback, found));
    let (rollbacks, verdict) = judged(usize::try_from(found).unwrap() + 1);
    assert_eq!(rollbacks, [(found, Some(0))]);
    assert_eq!((verdict.verdict, verdict.tick), (Action::Hold, 39));
}
