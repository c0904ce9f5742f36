//! From text to custom checks and a condition, or to what is wrong with them.

use std::env::VarError;
use std::path::Path;

use super::*;
use crate::domain::further::{Filling, Question, Subject};
use crate::domain::variant::Variant;

const PROMETHEUS: &str = "metrics: { prometheus: { url: http://prom:9090/p/ } }\n";

/// A file that is right but for what is put in: at its top, and into a rollout.
fn file(top: &str, rollout: &str) -> String {
    format!(
        "{top}listeners: [{{ address: 0.0.0.0:80 }}]\nbackends: {{ a: http://a, b: http://b }}\n\
         flags:\n  f:\n    stable: a\n    canary: b\n    rollout:\n      revision: \"2\"\n      \
         stages: [5%]\n      {rollout}\nroutes: [{{ flag: f }}]\n"
    )
}

fn read(top: &str, rollout: &str) -> Result<FurtherChecks, String> {
    let variable = |name: &str| match name {
        "LIMIT" => Ok("4.5".to_owned()),
        _ => Err(VarError::NotPresent),
    };
    let text = file(top, rollout);
    let config = crate::config::parse(&text, &|_| unreachable!(), &variable);
    let config = config.map_err(|errors| errors.display(Path::new("f")).to_string())?;
    Ok(config.flags[0].rollout.clone().unwrap().further)
}

/// The problems of a file with one custom check, without their places.
fn problem(check: &str) -> String {
    let rollout = format!("checks: {{ custom: [{check}] }}");
    read(PROMETHEUS, &rollout).expect_err(check)
}

#[test]
fn checks_mean_what_is_written_and_the_rest_is_default() {
    let found = read(
        PROMETHEUS,
        "checks:\n        custom:\n          - name: orders\n            promql: 'orders{v=\"{variant}\"}'\n            \
         compare: { min_ratio: 0.95 }\n          - name: score\n            \
         http_json: { url: \"http://fb/{flag}?r={revision}\", pointer: /a/0 }\n            \
         min: \"${LIMIT}\"\n            max: 5\n            every: 30s\n            timeout: 500ms\n            \
         max_age: 2m\n      release_when: requests > 10",
    )
    .unwrap();
    let [orders, score] = &found.custom[..] else {
        panic!("{found:?}");
    };
    assert_eq!(found.release_when.unwrap().as_str(), "requests > 10");
    assert_eq!(
        (orders.every, orders.timeout, orders.max_age),
        (CUSTOM_EVERY, CUSTOM_TIMEOUT, CUSTOM_MAX_AGE)
    );
    let filling = Filling {
        flag: "f",
        revision: "2",
        stage: 1,
        variant: Variant::Canary,
    };
    let asked = orders.questions(&filling);
    let query = |question: Option<Question>| match question.unwrap().subject {
        Subject::PromQl { server, query } => format!("{} {query}", server.as_str()),
        Subject::HttpJson { url, pointer } => format!("{url} {pointer}"),
    };
    assert_eq!(
        query(asked.canary),
        "http://prom:9090/p orders{v=\"canary\"}"
    );
    assert_eq!(
        query(asked.stable),
        "http://prom:9090/p orders{v=\"stable\"}"
    );
    assert_eq!(
        query(score.questions(&filling).canary),
        "http://fb/f?r=2 /a/0"
    );
    let both = Limits {
        min: Some(4.5),
        max: Some(5.0),
    };
    assert_eq!(score.limits, both);
    assert_eq!(score.timeout, Duration::from_millis(500));
    assert_eq!(read("", "").unwrap(), FurtherChecks::default());
}

/// Checks that are wrong, and what is said of them.
const WRONG: &[(&str, &str)] = &[
    (
        "{ promql: up, min: 1 }",
        "custom[0]: `name` is missing; add `name:`",
    ),
    (
        "{ name: a, min: 1 }",
        "custom[0]: a custom check needs something to ask; add `promql:` or `http_json:`",
    ),
    (
        "{ name: a, promql: up }",
        "custom[0]: a custom check needs a limit; add `min:`, `max:` or `compare:`",
    ),
    (
        "{ name: a, promql: up, http_json: { url: http://a, pointer: /a }, min: 1 }",
        "custom[0].http_json: `http_json` beside `promql`; remove one of the two",
    ),
    (
        "{ name: a, promql: up, min: 2, max: 1 }",
        "custom[0].max: the most is below the least, 2",
    ),
    (
        "{ name: a, promql: up, compare: { min_ratio: 1 } }",
        "compare: stable would be asked the same as canary",
    ),
    (
        "{ name: a, promql: up, compare: {} }",
        "compare: a comparison needs a limit",
    ),
    (
        "{ name: a, promql: up, compare: { promql: up, max_ratio: -1 } }",
        "max_ratio: a ratio is never negative",
    ),
    (
        "{ name: a, promql: up, min: 1, every: 10ms }",
        "every: that often is more than sources like",
    ),
    (
        "{ name: a, promql: 'up{v=`{revision}`}', min: 1 }",
        "promql: `{revision}` in backticks, where nothing can be escaped; write \"{revision}\"",
    ),
    (
        "{ name: a, promql: up, min: 1, timeout: 2m }",
        "timeout: that is longer than a minute",
    ),
    (
        "{ name: a, promql: up, min: 1, max_age: 5s }",
        "max_age: a sample would be too old before the next",
    ),
    (
        "{ name: a, promql: up, min: 1, every: 3m }",
        "every: a sample would be too old before the next",
    ),
    (
        "{ name: latency_p99, promql: up, min: 1 }",
        "name: `latency_p99` is the name of a built-in check",
    ),
    (
        "{ name: a, promql: up, min: 1 }, { name: a, promql: up, min: 1 }",
        "custom[1].name: another custom check is named `a`; choose another name",
    ),
    (
        "{ name: a b, promql: up, min: 1 }",
        "name: `a b` is not a name",
    ),
    (
        "{ name: a, promql: up, min: few }",
        "min: expected a number such as `4` or `0.95`",
    ),
    (
        "{ name: a, promql: up, min: .inf }",
        "min: expected a number such as `4` or `0.95`",
    ),
    (
        "{ name: a, promql: up, mni: 1 }",
        "unknown key `mni`; did you mean `min`?",
    ),
];

#[test]
fn what_is_missing_or_contradicts_itself_is_told_with_its_place() {
    for (check, expected) in WRONG {
        let found = problem(check);
        assert!(found.contains(expected), "{check}: {found}");
        assert_eq!(found.lines().count(), 1, "{check}: {found}");
    }
    let many: Vec<_> = (0..40)
        .map(|n| format!("{{ name: n{n}, promql: up, min: 1 }}"))
        .collect();
    assert!(problem(&many.join(", ")).contains("custom: more than 32 custom checks"));
}

#[test]
fn texts_that_are_no_questions_are_told_with_what_is_right() {
    let of_url = |url: &str| {
        problem(&format!(
            "{{ name: a, http_json: {{ url: \"{url}\", pointer: /a }}, min: 1 }}"
        ))
    };
    for (url, expected) in [
        (
            "https://a/b",
            "https is not in this version; use `http://a/b`",
        ),
        ("ftp://a", "unknown scheme `ftp`"),
        ("a/b", "has no scheme; write `http://a/b`"),
        (
            "http://u:p@a/b",
            "a URL with user and password is not supported",
        ),
        ("http:///b", "the URL has no valid host"),
        ("http://a{flag}/b", "the URL has no valid host"),
        (
            "http://a/b c",
            "the URL has characters that do not belong there",
        ),
        (
            "http://a/{flga}",
            "`{flga}` is no placeholder; did you mean `flag`?",
        ),
    ] {
        let found = of_url(url);
        assert!(found.contains(expected), "{url}: {found}");
    }
    for (query, expected) in [
        ("' '", "promql: is empty"),
        ("5", "expected a query in PromQL, found the number `5`"),
        (
            "'up{job=\"$${flag}\"}'",
            "is written with a `$`; write `{flag}`",
        ),
        (
            "'up{job=\"${flag}\"}'",
            "the environment variable `flag` is not set",
        ),
        ("'{what}'", "`{what}` is no placeholder"),
    ] {
        let found = problem(&format!("{{ name: a, promql: {query}, min: 1 }}"));
        assert!(found.contains(expected), "{query}: {found}");
    }
    let long = "x".repeat(5000);
    let found = problem(&format!("{{ name: a, promql: {long}, min: 1 }}"));
    assert!(found.contains("is longer than 4000 bytes"), "{found}");
    for (pointer, expected) in [
        ("score", "`score` is not a JSON pointer; write `/score`"),
        ("$.a.b", "write `/a/b`"),
        ("/a~2", "has a single `~`"),
    ] {
        let found = problem(&format!(
            "{{ name: a, http_json: {{ url: http://a, pointer: {pointer} }}, min: 1 }}"
        ));
        assert!(found.contains(expected), "{pointer}: {found}");
    }
}

#[test]
fn a_query_needs_a_prometheus() {
    let rollout = "checks: { custom: [{ name: a, promql: up, min: 1 }] }";
    let found = read("", rollout).unwrap_err();
    assert_eq!(
        found,
        "f:10:45: flags.f.rollout.checks.custom[0].promql: there is no Prometheus to ask; add \
         `metrics: { prometheus: { url: \"http://prometheus:9090\" } }` at the top of the file"
    );
    // A section that is wrong is told about once.
    for (url, expected) in [
        ("https://p", "https is not in this version"),
        ("http://p?x", "a Prometheus is at a URL without query"),
        ("p:9090", "has no scheme"),
    ] {
        let top = format!("metrics: {{ prometheus: {{ url: \"{url}\" }} }}\n");
        let found = read(&top, rollout).unwrap_err();
        assert!(found.contains(expected), "{found}");
        assert_eq!(found.lines().count(), 1, "{found}");
    }
}

#[test]
fn a_condition_that_is_wrong_is_told_with_its_column_and_a_hint() {
    for (condition, expected) in [
        (
            "latency_maen_ms < 1000",
            "release_when: no value is called `latency_maen_ms`, at column 1; did you mean \
             `latency_mean_ms`?",
        ),
        (
            "error_rate < 1 && requests > 1",
            "expected a number, a name or an operator at column 16, found `&&`; write `and`",
        ),
        (
            "requests",
            "expected a comparison at column 1, found a number; compare it",
        ),
        (
            "\"\"",
            "the condition is empty; write `latency_mean_ms < 1000`, say",
        ),
        (
            "5",
            "expected a condition such as `latency_mean_ms < 1000`, found the number `5`",
        ),
        (
            "feedback_mean > 5",
            "nothing can ever meet `feedback_mean > 5`; `error_rate` is from 0 to 1, `feedback_mean` from 1 to 5",
        ),
        (
            "foo > 1",
            "no value is called `foo`, at column 1; expected one of `latency_mean_ms`, ",
        ),
    ] {
        let found = read("", &format!("release_when: {condition}")).unwrap_err();
        assert!(
            found.starts_with("f:10:21: flags.f.rollout.release_when: "),
            "{found}"
        );
        assert!(found.contains(expected), "{condition}: {found}");
    }
}
