//! What is understood, what is refused with which words, and what conditions say of values.

use proptest::prelude::*;

use super::*;
use crate::domain::further::values::ArmValues;
use crate::domain::variant::PerVariant;

/// Canary is fast, fails a little and is not rated; nothing is known of stable's latency.
fn values() -> StageValues {
    StageValues(PerVariant {
        canary: ArmValues {
            latency_mean_ms: Some(1204.0),
            error_rate: Some(0.02),
            requests: 500,
            ..ArmValues::default()
        },
        stable: ArmValues {
            error_rate: Some(0.01),
            requests: 4500,
            ..ArmValues::default()
        },
    })
}

fn is_met(text: &str) -> Option<bool> {
    text.parse::<Condition>().unwrap().is_met(&values())
}

fn problem(text: &str) -> String {
    text.parse::<Condition>().unwrap_err().to_string()
}

#[test]
fn what_nothing_can_meet_is_known() {
    for text in [
        "feedback_mean > 5",
        "feedback_mean < 1 or error_rate > 1",
        "error_rate < 0",
        "not (error_rate <= 1)",
        "latency_mean_ms < 1000 and feedback_mean > 7",
        "feedback_mean - stable_feedback_mean > 4",
        "error_rate * 2 > 2",
        "-requests > 0",
        "error_rate / feedback_mean > 1",
        "1 > 2",
    ] {
        assert!(!text.parse::<Condition>().unwrap().can_be_met(), "{text}");
    }
    for text in [
        "feedback_mean >= 5",
        "error_rate <= 0",
        "feedback_mean > 7 or latency_mean_ms < 1000",
        "error_rate / stable_error_rate > 100",
        "latency_mean_ms * error_rate > 1000",
        "latency_mean_ms - stable_latency_mean_ms < -5",
        "not (feedback_mean > 4)",
    ] {
        assert!(text.parse::<Condition>().unwrap().can_be_met(), "{text}");
    }
}

#[test]
fn conditions_are_computed_as_people_read_them() {
    for (text, expected) in [
        ("latency_mean_ms < 1000", false),
        ("latency_mean_ms<=1204", true),
        ("requests >= 500 and requests <= 500", true),
        ("requests != 500", false),
        ("requests == 500", true),
        ("error_rate > stable_error_rate * 1.5", true),
        ("error_rate < stable_error_rate + 0.02", true),
        ("1 + 2 * 3 == 7", true),
        ("(1 + 2) * 3 == 9", true),
        ("10 - 2 - 3 == 5", true),
        ("8 / 2 / 2 == 2", true),
        ("-1 < 0 and --1 == 1", true),
        ("not 1 > 2", true),
        ("not (1 < 2 or 1 > 2)", false),
        ("1 > 2 and 1 > 2 or 1 < 2", true),
        ("1 < 2 or 1 > 2 and 1 > 2", true),
        ("((requests)) > .5", true),
        ("not not (1 < 2)", true),
        ("requests\n  >\n  1.", true),
    ] {
        assert_eq!(is_met(text), Some(expected), "{text}");
    }
}

#[test]
fn what_is_unknown_is_neither_true_nor_false() {
    let (yes, no, unknown) = ("1 < 2", "1 > 2", "feedback_mean > 4");
    let (t, f, u) = (Some(true), Some(false), None);
    for (left, right, and, or) in [
        (yes, yes, t, t),
        (yes, no, f, t),
        (yes, unknown, u, t),
        (no, no, f, f),
        (no, unknown, f, u),
        (unknown, unknown, u, u),
    ] {
        for (left, right) in [(left, right), (right, left)] {
            assert_eq!(
                is_met(&format!("{left} and {right}")),
                and,
                "{left} and {right}"
            );
            assert_eq!(
                is_met(&format!("{left} or {right}")),
                or,
                "{left} or {right}"
            );
        }
    }
    for text in [
        "not feedback_mean > 4",
        "feedback_mean == feedback_mean",
        "stable_latency_p99_ms * 0 == 0",
        "-feedback_mean < 0",
        "1 / 0 > 1",
        "0 / 0 == 0",
        "1 / (requests - 500) > 0",
    ] {
        assert_eq!(is_met(text), None, "{text}");
    }
}

/// Texts that are no conditions, and what is said of them.
const WRONG: &[(&str, &str)] = &[
    ("", "the condition is empty"),
    (" \n", "the condition is empty"),
    (
        "requests",
        "expected a comparison at column 1, found a number",
    ),
    (
        "requests >",
        "expected a number, a name or `(` at column 11, found the end",
    ),
    (
        "requests > and 1 < 2",
        "expected a number, a name or `(` at column 12, found `and`",
    ),
    (
        "requests > 1 2",
        "expected `and`, `or` or the end at column 14, found `2`",
    ),
    (
        "1 < requests < 2",
        "expected `and`, `or` or the end at column 14, found `<`",
    ),
    (
        "(1 < 2) < 3",
        "expected a number at column 1, found a comparison",
    ),
    (
        "1 + (1 < 2)",
        "expected a number at column 5, found a comparison",
    ),
    (
        "1 < 2 and 3",
        "expected a comparison at column 11, found a number",
    ),
    (
        "not requests",
        "expected a comparison at column 5, found a number",
    ),
    ("(requests > 1", "expected `)` at column 14, found the end"),
    (
        "requests > 1)",
        "expected `and`, `or` or the end at column 13, found `)`",
    ),
    (
        "latency_mean < 1",
        "no value is called `latency_mean`, at column 1",
    ),
    ("größe > 1", "no value is called `größe`, at column 1"),
    (
        "1 < 2 && 1 < 2",
        "expected a number, a name or an operator at column 7, found `&&`",
    ),
    (
        "requests = 1",
        "expected a number, a name or an operator at column 10, found `=`",
    ),
    (
        "requests > 1000ms",
        "expected a number such as `1000` or `0.05` at column 12, found `1000ms`",
    ),
    (
        "requests > 1e3",
        "expected a number such as `1000` or `0.05` at column 12, found `1e3`",
    ),
    (
        "requests > 1,000",
        "expected a number such as `1000` or `0.05` at column 12, found `1,000`",
    ),
    (
        "requests > 1.2.3",
        "expected a number such as `1000` or `0.05` at column 12, found `1.2.3`",
    ),
    (
        "\u{7}",
        "expected a number, a name or an operator at column 1, found `\\u{7}`",
    ),
    ("AND", "no value is called `AND`, at column 1"),
];

#[test]
fn what_is_wrong_is_told_with_its_column() {
    for (text, expected) in WRONG {
        assert_eq!(problem(text), *expected, "{text}");
    }
}

#[test]
fn hints_say_what_would_have_been_right() {
    let hint = |text: &str| match text.parse::<Condition>().unwrap_err() {
        ConditionError::Unexpected { hint, .. } => hint.unwrap_or_default(),
        other => panic!("{other}"),
    };
    assert_eq!(hint("1 < 2 || 1 < 2"), "write `or`");
    assert_eq!(hint("!(1 < 2)"), "write `not`");
    assert_eq!(hint("error_rate < 5%"), "write a share: `0.05` is 5 %");
    assert!(hint("1 < 2 < 3").contains("`1 < a and a < 2`"));
    assert!(hint("((1 < 2)").contains("`(` at column 1 is not closed"));
    assert!(hint("latency_mean_ms < 20ms").contains("without the unit"));
}

#[test]
fn length_and_depth_are_bounded() {
    let nested = |depth: usize| format!("{}1 < 2{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(is_met(&nested(32)), Some(true));
    assert!(problem(&nested(33)).contains("nests deeper than 32 at column 34"));
    assert!(problem(&format!("{}1 < 2", "not ".repeat(40))).contains("nests deeper"));
    assert!(problem(&format!("0 < {}1", "-".repeat(40))).contains("nests deeper"));
    let sum = |terms: usize| format!("1{} > 0", "+1".repeat(terms));
    assert_eq!(is_met(&sum(490)), Some(true));
    assert_eq!(
        problem(&sum(500)),
        "the condition is longer than 1000 bytes"
    );
}

#[test]
fn a_finding_says_the_values_it_went_by() {
    let find = |text: &str| text.parse::<Condition>().unwrap().assess(&values());
    let found = find("latency_mean_ms < 1000 and feedback_mean > 4");
    assert_eq!(found.assessment, Assessment::Unmet);
    assert_eq!(
        found.reason,
        "release_when is not met: latency_mean_ms is 1,204, feedback_mean is unknown"
    );
    let found = find("latency_mean_ms < 2000 and feedback_mean > 4 and latency_mean_ms > 0");
    assert_eq!(found.assessment, Assessment::NeedsData);
    assert_eq!(
        found.reason,
        "release_when is not met yet: latency_mean_ms is 1,204, feedback_mean is unknown"
    );
    let found = find("error_rate <= 0.02");
    assert_eq!(found.assessment, Assessment::Pass);
    assert_eq!(found.reason, "release_when is met: error_rate is 0.02");
    assert_eq!((found.evidence, found.n.canary), (0.0, 500));
}

/// Texts of pieces that conditions are made of, mostly in a wrong order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "and",
        "or",
        "not",
        "(",
        ")",
        "<",
        "<=",
        "==",
        "!=",
        "+",
        "-",
        "*",
        "/",
        "1",
        "0",
        ".5",
        "requests",
        "feedback_mean",
        "stable_error_rate",
        "=",
        "x",
        "é",
        "1e",
        "\n",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #[test]
    fn any_text_is_understood_or_refused_within_its_columns(text in ".{0,80}") {
        check(&text);
    }

    #[test]
    fn any_order_of_pieces_is_understood_or_refused(text in pieces()) {
        check(&text);
    }

    #[test]
    fn a_condition_and_its_opposite_are_never_both_so(
        left in -10_i32..10, right in -10_i32..10, comparison in 0_usize..3
    ) {
        let (one, opposite) = [("<", ">="), (">", "<="), ("==", "!=")][comparison];
        let met = is_met(&format!("{left} {one} {right}"));
        prop_assert_eq!(is_met(&format!("{left} {opposite} {right}")), met.map(|met| !met));
    }
}

fn check(text: &str) {
    match text.parse::<Condition>() {
        Ok(condition) => {
            condition.assess(&values());
        }
        Err(
            ConditionError::Unexpected { column, .. }
            | ConditionError::UnknownName { column, .. }
            | ConditionError::TooDeep { column },
        ) => assert!((1..=text.chars().count() + 1).contains(&column), "{text}"),
        Err(ConditionError::Empty | ConditionError::TooLong) => {}
    }
}
