//! `serin simulate` through the real program: what a plan comes to, and what is wrong with a question.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::NamedTempFile;

/// How long a few small rollouts may take.
const SIMULATION_MAX: Duration = Duration::from_secs(60);

const CONFIG: &str = r#"
listeners: [{ address: 127.0.0.1:0 }]
trusted_proxies: [127.0.0.1]
identity: [{ header: x-user-id }]
groups: { beta: { header: { x-beta: "1" } } }
backends: { v1: http://127.0.0.1:9, v2: http://127.0.0.1:9 }
flags:
  orders:
    stable: v1
    canary: v2
    rollout:
      revision: v2
      stages: [{ weight: 50%, groups: [beta] }, 25%, 50%]
      hold: 30s
      min_requests: 50
      watch: 30s
      gates: [{ before: 25%, approve: manual }]
      mode: observe
      release_when: "latency_mean_ms < 1000"
  dark: { stable: v1, canary: v2 }
routes: [{ path: /, flag: orders }]
"#;

fn simulate(config: &str, arguments: &[&str]) -> Output {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    Command::new(env!("CARGO_BIN_EXE_serin"))
        .args(["simulate", "--config"])
        .arg(file.path())
        .args(arguments)
        .timeout(SIMULATION_MAX)
        .output()
        .unwrap()
}

/// A few rollouts of the flag `orders`.
fn orders(arguments: &[&str]) -> Output {
    let few = ["--flag", "orders", "--rate", "60/s", "--runs", "4"];
    simulate(CONFIG, &[&few[..], arguments].concat())
}

fn json(arguments: &[&str]) -> Value {
    let output = orders(&[arguments, &["--json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn assert_refused(output: &Output, problem: &str) {
    let said = str::from_utf8(&output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(problem), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_healthy_plan_is_promoted_and_the_answer_says_how_long_it_takes() {
    let answer = json(&[]);
    assert_eq!(answer["promoted"]["runs"], 4, "{answer:#}");
    assert_eq!(answer["false_rollbacks"]["runs"], 0);
    // Three stages and the watch last half a minute each at least.
    assert!(answer["seconds_to_success"]["median"].as_u64().unwrap() >= 120);
    assert!(answer["found"].is_null());
    let setting = &answer["setting"];
    assert_eq!(setting["callers"], 2_000);
    assert_eq!(setting["stages"][0], "beta 50%");
    let not_simulated: Vec<_> = setting["not_simulated"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert_eq!(not_simulated, ["ratings", "content types"]);
    // Three holds, four times, the watch and a minute.
    assert_eq!(setting["seconds_max"], 30 * 3 * 4 + 30 + 60);
    assert_eq!(answer["open"]["runs"], 0);
    let waits = answer["waited_for"].as_array().unwrap();
    assert!(waits.iter().any(|wait| wait["for"] == "the hold"));
}

#[test]
fn a_plan_that_waits_for_what_never_comes_is_not_followed_for_ever() {
    let few = ["--flag", "orders", "--rate", "60/s", "--runs", "4"];
    let never = CONFIG.replace("latency_mean_ms < 1000", "latency_mean_ms < 1");
    let output = simulate(&never, &[&few[..], &["--for", "3m"]].concat());
    let said = str::from_utf8(&output.stdout).unwrap();
    for part in ["not ended in 3 min", "4 of 4", "what release_when asks for"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let rated = CONFIG.replace("latency_mean_ms < 1000", "feedback_mean > 4");
    let output = simulate(&rated, &few);
    let said = str::from_utf8(&output.stdout).unwrap();
    let left_out = "taken for met: release_when, which asks for ratings, ratings, content types";
    assert!(said.contains(left_out), "{said}");
    assert!(!said.contains("not ended"), "{said}");
}

#[test]
fn equal_seeds_give_equal_answers_and_others_do_not() {
    assert_eq!(json(&["--seed", "5"]), json(&["--seed", "5"]));
    assert_ne!(json(&["--seed", "5"]), json(&["--seed", "50"]));
}

#[test]
fn harm_is_found_and_the_answer_says_how_soon_and_by_what() {
    let answer = json(&[
        "--regression",
        "errors 1%->60% from stage 2",
        "--group",
        "beta=20%",
    ]);
    let found = &answer["found"];
    assert_eq!(found["found"]["runs"], 4, "{answer:#}");
    assert_eq!(found["found"]["of"], 4);
    assert!(found["seconds"]["median"].as_u64().unwrap() <= 60);
    assert!(found["canary_requests"]["median"].as_u64().unwrap() > 10);
    assert!(found["canary_callers"]["p90"].as_u64().unwrap() > 2);
    assert_eq!(found["in_stage"]["2"], 4);
    assert_eq!(answer["setting"]["errors"], 0.01);
    assert_eq!(answer["promoted"]["runs"], 0);
}

#[test]
fn requests_may_be_drawn_anew_each() {
    let answer = json(&["--callers", "0", "--regression", "dead after 10s"]);
    assert!(answer["setting"]["callers"].is_null());
    let found = &answer["found"];
    assert_eq!(found["found"]["runs"], 4, "{answer:#}");
    assert!(found["canary_callers"].is_null());
}

#[test]
fn a_comparison_of_equals_says_how_often_it_is_wrong() {
    let output = orders(&["--aa"]);
    assert_eq!(output.status.code(), Some(0));
    let said = str::from_utf8(&output.stdout).unwrap();
    for part in [
        "nothing is wrong with canary",
        "false rollbacks",
        "by the tripwire",
        "at most 5",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn what_is_wrong_with_the_question_is_said() {
    let both = ["--aa", "--regression", "dead"];
    assert_refused(&orders(&both), "cannot be used with");
    let late = ["--regression", "dead from stage 4"];
    assert_refused(&orders(&late), "the plan has 3 stages");
    let odd = ["--regression", "errors 1%->2"];
    assert_refused(
        &orders(&odd),
        "`2` is no percentage, expected one such as 0.5%",
    );
    let other = ["--errors", "2%", "--regression", "errors 1%->3%"];
    assert_refused(
        &orders(&other),
        "begins from 1%, but 2% is what was said before",
    );
    assert_refused(&orders(&["--group", "gamma=5%"]), "expected one of `beta`");
    let slow = ["--flag", "orders", "--rate", "0/s"];
    assert_refused(&simulate(CONFIG, &slow), "expected above 0");
}

#[test]
fn a_flag_without_a_plan_or_no_flag_at_all_is_refused() {
    let dark = ["--flag", "dark", "--rate", "1/s"];
    assert_refused(&simulate(CONFIG, &dark), "has no `rollout`");
    let unknown = ["--flag", "order", "--rate", "1/s"];
    assert_refused(
        &simulate(CONFIG, &unknown),
        "expected one of `orders`, `dark`",
    );
}

#[test]
fn a_false_file_is_refused_with_the_place() {
    let arguments = ["--flag", "orders", "--rate", "1/s"];
    assert_refused(&simulate("flags: [", &arguments), ":1:");
    let wrong = CONFIG.replace("hold: 30s", "hold: soon");
    assert_refused(&simulate(&wrong, &arguments), "hold");
}
