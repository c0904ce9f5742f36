//! What people read of a change.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::diff::render::SHOWN_CHARS_MAX;

const SMALLEST: &str = include_str!("../../../config/serin.yaml");
const REFERENCE: &str = include_str!("../../../config/reference.yaml");

fn lines(old: &str, new: &str) -> Vec<String> {
    diff(old, new)
        .to_string()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The changes where one part of the reference is replaced.
fn replaced(old: &str, new: &str) -> Vec<String> {
    assert!(REFERENCE.contains(old), "{old}");
    lines(REFERENCE, &REFERENCE.replacen(old, new, 1))
}

/// A part of the reference, what takes its place, and what is told of that.
type Case = (&'static str, &'static str, &'static [&'static str]);

const CASES: &[Case] = &[
    (
        "revision: \"2.4.0\"",
        "revision: \"2.5.0\"",
        &["flags.orders.rollout.revision: \"2.4.0\" -> \"2.5.0\" (another rollout starts, at 0%)"],
    ),
    (
        "enabled: true ",
        "enabled: false ",
        &["flags.checkout.enabled: true -> false (stable for everyone)"],
    ),
    (
        "        - 1%\n",
        "        - 2%\n",
        &["flags.orders.rollout.stages[2]: 1% -> 2%"],
    ),
    (
        "weights: [5%, 25%, 50%, 100%]",
        "weights: [5%, 50%, 100%]",
        &["flags.orders.rollout.stages[3].weights: [5%, 25%, 50%, 100%] -> [5%, 50%, 100%]"],
    ),
    (
        "          p50: +10% ",
        "          p50: +15% ",
        &["flags.orders.rollout.checks.latency.p50: +10% -> +15%"],
    ),
    (
        "    default: 0% ",
        "    # default: 0% ",
        &["flags.checkout.default: removed 0%"],
    ),
    (
        "      internal: 100%\n",
        "      internal: 100%\n      testers: 5%\n",
        &["flags.checkout.groups.testers: added 5%"],
    ),
    (
        "  - address: \"[::1]:8081\"",
        "  - address: \"[::1]:8082\"",
        &["listeners[1].address: \"[::1]:8081\" -> \"[::1]:8082\""],
    ),
    (
        "    protocol: h2 ",
        "    protocol: auto ",
        &["backends.reports.protocol: h2 -> auto"],
    ),
    (
        "      ca: internal.pem\n",
        "      ca: edge.pem\n",
        &["backends.reports.tls.ca: internal.pem -> edge.pem"],
    ),
    (
        "orders-v1: http://10.0.0.1:8000",
        "orders-v1: { endpoints: [http://10.0.0.1:8001] }",
        &["backends.orders-v1: http://10.0.0.1:8000 -> { endpoints: [http://10.0.0.1:8001] }"],
    ),
    (
        "      - url: http://10.0.0.3:8000",
        "      - url: http://10.0.0.3:8001",
        &["backends.orders-v2.endpoints[1].url: http://10.0.0.3:8000 -> http://10.0.0.3:8001"],
    ),
    (
        "    callers: [u-7, u-8] ",
        "    ip: [192.0.2.0/24] ",
        &["groups.testers: { callers: [u-7, u-8] } -> { ip: [192.0.2.0/24] }"],
    ),
    (
        "  - header: x-user-id ",
        "  - header: x-caller ",
        &["identity[5].header: x-user-id -> x-caller"],
    ),
    (
        "  - header: x-user-id             # set by a trusted proxy; removed when anyone else sends it\n  - cookie: uid ",
        "  - cookie: uid\n  - header: x-user-id ",
        &["identity: the order has changed"],
    ),
    (
        "  - path: { exact: /status }      # this path only\n    backend: orders-v1\n",
        "",
        &["routes[1]: removed { path: { exact: /status }, backend: orders-v1 }"],
    ),
    (
        "    backend: orders-v1\n",
        "    backend: orders-v2\n",
        &["routes[1].backend: orders-v1 -> orders-v2"],
    ),
    (
        "routes:\n",
        "routes:\n  - { path: /new, flag: orders }\n",
        &["routes[0]: added { path: /new, flag: orders }"],
    ),
    (
        "salt: checkout ",
        "salt: another ",
        &["flags.checkout.salt: checkout -> another (other callers get canary)"],
    ),
];

#[test]
fn each_change_is_told_where_it_is() {
    for (old, new, expected) in CASES {
        assert_eq!(replaced(old, new), *expected, "{new}");
    }
}

#[test]
fn what_comes_as_a_whole_is_told_as_a_whole() {
    let flag = "  extra: { stable: orders-v1, canary: orders-v2, rollout: { revision: a, stages: [1%] } }\n";
    let added = SMALLEST.replace("routes:", &format!("{flag}routes:"));
    let told = "flags.extra: added { stable: orders-v1, canary: orders-v2, rollout: { revision: a, \
                stages: [1%] } } (its rollout starts, at 0%)";
    assert_eq!(lines(SMALLEST, &added), [told]);
    let told = "flags.extra: removed { stable: orders-v1, canary: orders-v2, rollout: { revision: \
                a, stages: [1%] } }";
    assert_eq!(lines(&added, SMALLEST), [told]);
}

#[test]
fn what_means_the_same_is_no_change() {
    for (old, new) in [
        ("[GET, POST]", "[POST, GET]"),
        ("[internal, testers]", "[testers, internal]"),
        ("    hold: 5m ", "    hold:   5m # "),
        ("{ exact: /status }", "\n      exact: \"/status\""),
        (
            "  shop-v1: http://shop-v1.internal\n  shop-v2: http://shop-v2.internal\n",
            "  shop-v2: http://shop-v2.internal\n  shop-v1: http://shop-v1.internal\n",
        ),
    ] {
        assert_eq!(replaced(old, new), [""; 0], "{new}");
    }
}

#[test]
fn the_order_of_groups_is_a_change() {
    let (old, new) = (
        "groups: { a: { callers: [x] }, b: { callers: [y] } }",
        "groups: { b: { callers: [y] }, c: { callers: [] }, a: { callers: [x, z] } }",
    );
    assert_eq!(
        lines(old, new),
        [
            "groups.c: added { callers: [] }",
            "groups.a.callers: [x] -> [x, z]",
            "groups: [a, b] -> [b, a] (the first group that a caller is in decides)",
        ]
    );
}

#[test]
fn of_long_lists_only_the_difference_is_told() {
    let list = |from: u32| {
        let keys: Vec<_> = (from..from + 50_000).map(|n| format!("u{n}")).collect();
        format!("groups: {{ g: {{ callers: [{}] }} }}", keys.join(", "))
    };
    assert_eq!(
        lines(&list(0), &list(2)),
        ["groups.g.callers: [u0, u1] -> [u50000, u50001] \
             (2 removed, 2 added; 50000 before, 50000 now)"]
    );
}

#[test]
fn changes_are_bounded_in_number_and_length() {
    let flags = |count: usize, canary: &str| {
        let flags: Vec<_> = (0..count)
            .map(|n| format!("f{n}: {{ stable: a, canary: \"{canary}\" }}"))
            .collect();
        format!("flags: {{ {} }}", flags.join(", "))
    };
    let many = diff(&flags(300, "a"), &flags(300, &"\\u001b".repeat(1000)));
    assert_eq!((many.changes.len(), many.omitted), (CHANGES_MAX, 100));
    assert!(many.to_string().ends_with("\n… and 100 more changes"));
    let longest = many
        .changes
        .iter()
        .filter_map(|change| change.after.as_ref());
    assert!(
        longest
            .clone()
            .all(|text| text.chars().count() <= SHOWN_CHARS_MAX + 1)
    );
    assert!(!many.to_string().contains('\u{1b}'));
}

#[test]
fn variables_are_shown_as_they_are_written_and_secrets_not_at_all() {
    let old = SMALLEST.replace("http://10.0.0.1:8000", "\"http://${OLD}:8000\"");
    assert_eq!(
        lines(&old, SMALLEST),
        ["backends.orders-v1: http://${OLD}:8000 -> http://10.0.0.1:8000"]
    );
    let schema = json!({
        "properties": {
            "tokens": { "type": "array", "items": { "$ref": "#/$defs/Token" } },
            "headers": { "additionalProperties": { "anyOf": [{ "writeOnly": true }] } },
        },
        "$defs": { "Token": { "properties": {
            "name": {}, "token": { "type": "string", "writeOnly": true },
        } } },
    });
    let side = |token: &str, header: &str| {
        let text =
            format!("tokens: [{{ name: ci, token: {token} }}]\nheaders: {{ a: {header} }}\n");
        Side::by_schema(&text, &schema)
    };
    let (old, new) = (side("hunter2", "x"), side("hunter3", "hunter4"));
    let mut comparison = Comparison::new(&old, &new);
    comparison.compare_roots();
    assert_eq!(
        comparison.into_diff().to_string(),
        "tokens[0].token: *** -> ***\nheaders.a: *** -> ***"
    );
    let none = Side::by_schema("{}", &schema);
    let mut comparison = Comparison::new(&none, &new);
    comparison.compare_roots();
    assert_eq!(
        comparison.into_diff().to_string(),
        "tokens: added [{ name: ci, token: *** }]\nheaders: added { a: *** }"
    );
}

#[test]
fn a_diff_is_plain_json() {
    let diff = diff(SMALLEST, &SMALLEST.replace("2.4.0", "2.5.0"));
    assert_eq!(
        serde_json::to_value(diff).unwrap(),
        json!({
            "changes": [{
                "path": "flags.orders.rollout.revision",
                "before": "\"2.4.0\"",
                "after": "\"2.5.0\"",
                "note": "another rollout starts, at 0%",
            }],
            "omitted": 0,
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Lines are shuffled away from a text: whatever is left, no change is told where there is
    /// none, and some where a value is another one.
    #[test]
    fn a_difference_is_told_exactly_where_there_is_one(
        removed in proptest::collection::vec(0..110usize, 0..3),
    ) {
        let is_left = |(number, _): &(usize, &str)| !removed.contains(number);
        let left: Vec<_> = REFERENCE.lines().enumerate().filter(is_left).map(|(_, l)| l).collect();
        let text = left.join("\n");
        prop_assert!(diff(&text, &text).is_empty());
        let read = |text: &str| serde_yaml::from_str::<serde_json::Value>(text);
        if let Ok(value) = read(&text) {
            let is_same = value == read(REFERENCE).unwrap();
            prop_assert_eq!(diff(REFERENCE, &text).is_empty(), is_same, "{}", text);
            prop_assert_eq!(diff(&text, REFERENCE).is_empty(), is_same, "{}", text);
        }
    }
}
