//! What the judge makes of real traffic: which harm takes canary back and by which check, what takes
//! nobody back, and what is known after a restart and elsewhere.
//!
//! A scenario is a flag with two backends and a crowd of its own; those that take equally long share a
//! proxy, so that all of them together take a minute.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;
use support::proxy::{SERIN, replace_file};
use support::release::{
    FOUND_MAX, LONG, Release, answering_in, breach, config, crowd, finding, impatient_crowd,
    passing, slow_by, stalling,
};
use support::{Behaviour, Crowd, Manner, Request, SOON, TestProxy, wait_for, wait_until};
use tempfile::TempDir;

/// For how many seconds nothing is to be found: longer than harm takes.
const QUIET_SECONDS: f64 = 25.0;

fn serin(proxy: &TestProxy, arguments: &[&str]) -> Output {
    Command::new(SERIN)
        .args(arguments)
        .env("SERIN_ADMIN", format!("http://{}", proxy.admin()))
        .timeout(SOON)
        .output()
        .unwrap()
}

/// A release for each kind of harm, and the crowds that meet with it.
fn harmful() -> (TestProxy, [Release; 7], Vec<Crowd>) {
    let in_groups =
        "stages: [{ groups: [beta], weight: 50% }, 50%], hold: 5s, min_requests: 1000000";
    let alike = ["refused", "empty", "typed", "slow"];
    let [refused, empty, typed, slow] = alike.map(Release::new);
    let (stalled, grouped) = (Release::new("stalled"), Release::by("grouped", in_groups));
    refused.canary.behave(Behaviour::Status(404));
    empty.canary.behave(Behaviour::Bytes(0));
    typed.stable.behave(answering_in("application/json"));
    typed.canary.behave(answering_in("text/html"));
    slow.stable.behave(slow_by(20));
    slow.canary.behave(slow_by(50));
    stalled.canary.behave(stalling());
    // Half of its callers fail each time; all have been there within seconds.
    let known = Release::new("known");
    known
        .canary
        .behave(Behaviour::StatusWhere(vec![("poison", 500)]));
    // Some fail on both arms, and those in the group on canary.
    let (both, group) = (("poison", 500), ("x-beta", 500));
    grouped.stable.behave(Behaviour::StatusWhere(vec![both]));
    grouped
        .canary
        .behave(Behaviour::StatusWhere(vec![both, group]));

    let releases = [refused, empty, typed, slow, stalled, known, grouped];
    let proxy = TestProxy::start(&config(&releases));
    let promoted = proxy.command("POST", "/api/v1/rollouts/grouped/promote", "");
    assert_eq!(promoted.json()["weights"]["default_percent"], 50.0);
    let mut crowds: Vec<_> = alike.map(|flag| crowd(&proxy, flag)).into();
    crowds.push(impatient_crowd(&proxy, "stalled"));
    let known = |number: u64| {
        let caller = number % 300;
        let path = ["/known", "/known/poison"][usize::from(caller.is_multiple_of(2))];
        Request::get(path).field("x-user-id", &format!("k-{caller}"))
    };
    crowds.push(Crowd::start(proxy.address(), Manner::default(), known));
    let of_groups = |number: u64| match number / 3 % 5 {
        0 => passing("/grouped", number).field("x-beta", "yes"),
        1 => passing("/grouped/poison", number),
        _ => passing("/grouped", number),
    };
    crowds.push(Crowd::start(proxy.address(), Manner::default(), of_groups));
    (proxy, releases, crowds)
}

#[test]
fn each_harm_is_found_by_its_check_and_told_in_words() {
    let (proxy, _releases, _crowds) = harmful();
    for (flag, check, words) in [
        ("refused", "client_errors", "are refused with 4xx"),
        (
            "empty",
            "answer_size",
            "have a size that stable's hardly ever have",
        ),
        (
            "typed",
            "content_type",
            "have a content type that stable's hardly ever have",
        ),
        ("slow", "latency_", "ms"),
        ("stalled", "latency_", "ms"),
        ("known", "error_rate", "canary fails"),
        (
            "grouped",
            "error_rate",
            "in group `beta`, canary fails 100 % of requests",
        ),
    ] {
        let (found_by, found) = breach(&proxy, flag);
        assert!(found_by.starts_with(check), "{flag}: {found:#}");
        let reason = found["reason"].as_str().unwrap();
        assert!(
            reason.contains(words) && reason.contains("needed"),
            "{flag}: {reason}"
        );
        let in_group = found["group"] == "beta";
        assert_eq!(in_group, flag == "grouped", "{flag}: {found:#}");
    }
    // Nobody waited for the time to be over: all that hung were left by their clients, and count for nothing.
    let metrics = proxy.metrics();
    let of_stalled = |label| [("flag", "stalled"), ("variant", "canary"), label];
    let left = metrics.count("serin_requests_total", &of_stalled(("code", "499")));
    assert!(left > 100, "{left}");
    let fault = of_stalled(("fault", "backend"));
    assert_eq!(metrics.count("serin_outcomes_total", &fault), 0);
}

#[test]
fn what_befalls_both_arms_alike_takes_nobody_back() {
    let releases = ["refused", "empty", "typed", "slower", "stalled"].map(Release::new);
    let [refused, empty, typed, slower, stalled] = &releases;
    typed.behave(&answering_in("application/json"));
    slower.stable.behave(slow_by(20));
    slower.canary.behave(slow_by(21));
    let proxy = TestProxy::start(&config(&releases));
    let mut crowds: Vec<_> = ["refused", "empty", "typed", "slower"]
        .map(|flag| crowd(&proxy, flag))
        .into();
    crowds.push(impatient_crowd(&proxy, "stalled"));
    // Not before it is known what is usual.
    for Release { flag, .. } in &releases {
        wait_until("there are cuts", FOUND_MAX, || {
            let asked_once = finding(&proxy.rollout(flag), "latency_p50");
            asked_once.is_some_and(|found| found["n"]["stable"].as_u64() > Some(300))
        });
    }
    refused.behave(&Behaviour::Status(404));
    empty.behave(&Behaviour::Bytes(0));
    typed.behave(&answering_in("text/html"));
    stalled.behave(&stalling());
    let begun = proxy.rollout("slower")["seconds_in_stage"]
        .as_f64()
        .unwrap();
    wait_until("much time has passed", 2 * FOUND_MAX, || {
        let rollout = proxy.rollout("slower");
        rollout["seconds_in_stage"].as_f64().unwrap() > begun + QUIET_SECONDS
    });
    for (Release { flag, .. }, check, least) in [
        (refused, "client_errors", 0.5),
        (empty, "answer_size", 0.01),
        (typed, "content_type", 0.01),
        (slower, "latency_p50", 20.0),
        (stalled, "latency_p99", 200.0),
    ] {
        let rollout = proxy.rollout(flag);
        assert_eq!(rollout["phase"], "progressing", "{flag}: {rollout:#}");
        let found = finding(&rollout, check).unwrap();
        for arm in ["stable", "canary"] {
            assert!(found[arm].as_f64().unwrap() >= least, "{flag}: {found:#}");
        }
        assert!(
            found["evidence"].as_f64().unwrap() < 1.0,
            "{flag}: {found:#}"
        );
    }
}

#[test]
fn a_caller_who_always_fails_takes_nobody_back_and_as_much_harm_to_many_does() {
    let releases = [Release::new("orders")];
    releases[0]
        .canary
        .behave(Behaviour::StatusWhere(vec![("poison", 500)]));
    let proxy = TestProxy::start(&config(&releases));
    let is_on_canary = |caller: &String| {
        let request = Request::get("/orders").field("x-user-id", caller);
        proxy.ask(&request).text() == "canary"
    };
    let busy = (0..100)
        .map(|n| format!("busy-{n}"))
        .find(is_on_canary)
        .unwrap();
    let one = Crowd::start(proxy.address(), Manner::default(), move |number| {
        if number % 2 == 0 {
            Request::get("/orders/poison").field("x-user-id", &busy)
        } else {
            passing("/orders", number)
        }
    });
    let rollout = wait_for("much time has passed", 2 * FOUND_MAX, || {
        let rollout = proxy.rollout("orders");
        let is_over = rollout["seconds_in_stage"].as_f64().unwrap() > QUIET_SECONDS;
        is_over.then_some(rollout)
    });
    assert_eq!(rollout["phase"], "progressing", "{rollout:#}");
    let error_rate = &rollout["arms"]["canary"]["error_rate"];
    assert!(error_rate.as_f64().unwrap() > 0.5, "{rollout:#}");
    assert_eq!(rollout["arms"]["stable"]["failures"], 0);
    let found = finding(&rollout, "error_rate").unwrap();
    assert!(found["evidence"].as_f64().unwrap() < 0.1, "{found:#}");
    drop(one);

    // The same share of what canary is asked, by two callers of three.
    let _many = Crowd::start(proxy.address(), Manner::default(), |number| {
        let path = if number / 3 % 3 == 0 {
            "/orders"
        } else {
            "/orders/poison"
        };
        Request::get(path).field("x-user-id", &format!("v-{}", number / 3))
    });
    assert_eq!(breach(&proxy, "orders").0, "error_rate");
}

#[test]
fn a_restart_goes_on_from_the_evidence_and_other_checks_begin_anew() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("serin.yaml");
    let releases = [Release::new("orders")];
    releases[0]
        .canary
        .behave(Behaviour::StatusWhere(vec![("poison", 500)]));
    let text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
         state: {{ path: state }}\n{}",
        config(&releases)
    );
    std::fs::write(&file, &text).unwrap();
    let start = || TestProxy::in_folder(folder.path(), std::process::Command::new(SERIN));
    let poisoned = |proxy: &TestProxy| {
        Crowd::start(proxy.address(), Manner::default(), |number| {
            let path = if number / 3 % 2 == 0 {
                "/orders"
            } else {
                "/orders/poison"
            };
            passing(path, number)
        })
    };
    let evidence = |rollout: &Value| finding(rollout, "error_rate")?["evidence"].as_f64();
    let next_evidence = |proxy: &TestProxy| {
        wait_for("callers are counted", FOUND_MAX, || {
            evidence(&proxy.rollout("orders"))
        })
    };

    let mut proxy = start();
    let crowd = poisoned(&proxy);
    wait_until("there is a sign of harm", FOUND_MAX, || {
        evidence(&proxy.rollout("orders")) > Some(0.05)
    });
    releases[0].canary.behave(Behaviour::Name);
    let paused = proxy.command("POST", "/api/v1/rollouts/orders/pause", "");
    assert_eq!(paused.json()["phase"], "paused", "{}", paused.text());
    let before = evidence(&paused.json()).unwrap();
    // What was known at a transition is written right after it, and before the next one is.
    let resumed = proxy.command("POST", "/api/v1/rollouts/orders/resume", "");
    assert_eq!(resumed.json()["phase"], "progressing", "{}", resumed.text());
    proxy.kill();
    drop(crowd);

    let mut proxy = start();
    let crowd = poisoned(&proxy);
    let after = next_evidence(&proxy);
    assert!(
        (after / before - 1.0).abs() < 0.5,
        "{before} became {after}"
    );
    proxy.kill();
    drop(crowd);

    let other = text.replace(
        LONG,
        &format!("{LONG}, checks: {{ error_rate: {{ max_increase: 30% }} }}"),
    );
    replace_file(&file, &other);
    let proxy = start();
    let _crowd = poisoned(&proxy);
    let anew = next_evidence(&proxy);
    assert!(anew < before / 5.0, "{before} became {anew}");
}

#[test]
fn what_was_recorded_of_a_rollback_is_replayed_to_it() {
    let releases = [Release::new("orders")];
    releases[0].canary.behave(Behaviour::Status(404));
    let proxy = TestProxy::start(&config(&releases));
    // All of whom come back: what the cap held back at first is replayed as well.
    let crowd = Crowd::start(proxy.address(), Manner::default(), |number| {
        Request::get("/orders").field("x-user-id", &format!("u-{}", number % 300))
    });
    assert_eq!(breach(&proxy, "orders").0, "client_errors");
    drop(crowd);
    let labels = [("flag", "orders"), ("check", "client_errors")];
    assert!(proxy.metrics().sum("serin_judge_evidence", &labels) >= 1.0);

    let asked = proxy.command("GET", "/api/v1/rollouts/orders/trace", "");
    assert_eq!(asked.field("content-type"), Some("application/jsonl"));
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("orders.jsonl");
    let (file, record) = (path.to_str().unwrap(), ["rollout", "record", "orders"]);
    let printed = serin(&proxy, &record);
    let written = serin(&proxy, &[&record[..], &["--output", file]].concat());
    assert!(
        written.status.success() && written.stdout.is_empty(),
        "{written:?}"
    );
    let trace = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        (asked.text(), &printed.stdout[..]),
        (&*trace, trace.as_bytes())
    );
    assert!(!trace.contains("u-1"), "no caller's key is in it");

    let replayed = serin(&proxy, &["replay", "--judge-only", file]);
    assert_eq!(replayed.status.code(), Some(1), "{replayed:?}");
    let lines: Vec<Value> = str::from_utf8(&replayed.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [.., last, verdict] = &lines[..] else {
        panic!("{replayed:?}");
    };
    assert_eq!(verdict["verdict"], "rollback");
    assert_eq!(
        (&last["action"], &last["t"]),
        (&"rollback".into(), &verdict["tick"])
    );
    let last_tick: Value = serde_json::from_str(trace.lines().last().unwrap()).unwrap();
    assert_eq!(verdict["tick"], last_tick["t"]);

    let unknown = serin(&proxy, &["rollout", "record", "nothing"]);
    assert_eq!(unknown.status.code(), Some(2));
    let told = String::from_utf8(unknown.stderr).unwrap();
    assert!(told.contains("flag `nothing` has no rollout"), "{told}");
    proxy
        .command("GET", "/api/v1/rollouts/nothing/trace", "")
        .problem(404);
}

#[test]
fn findings_tell_callers_evidence_and_what_is_missing() {
    let plan = "stages: [50%], hold: 10s, min_requests: 20, undecided: hold";
    let releases = [Release::by("orders", plan), Release::new("search")];
    let proxy = TestProxy::start(&config(&releases));
    let _crowds = ["orders", "search"].map(|flag| crowd(&proxy, flag));
    let found = wait_for("it is told what is missing", FOUND_MAX, || {
        let found = finding(&proxy.rollout("orders"), "error_rate")?;
        (found["assessment"] == "undecided" && found["missing"].is_object()).then_some(found)
    });
    for arm in ["stable", "canary"] {
        let (callers, requests) = (&found["callers"][arm], &found["n"][arm]);
        assert!(
            callers.as_u64() > Some(0) && callers.as_u64() < requests.as_u64(),
            "{found:#}"
        );
    }
    assert!(found["missing"]["count"].as_u64() > Some(0), "{found:#}");
    let needed = found["evidence_needed"].as_f64().unwrap();
    assert!((needed - 100.0).abs() < 1e-6, "{found:#}");
    let labels = [("flag", "orders"), ("check", "error_rate")];
    let evidence = proxy.metrics().sum("serin_judge_evidence", &labels);
    assert!(evidence > 0.0 && evidence < 0.1, "{evidence}");
    for (flag, what) in [
        ("orders", "more canary callers,"),
        ("search", "more canary requests,"),
    ] {
        let status = serin(&proxy, &["rollout", "status", flag]);
        let text = String::from_utf8(status.stdout).unwrap();
        let line = text
            .lines()
            .find(|line| line.contains("canary fails 0 % of requests (0 of"));
        let line = line.unwrap_or_else(|| panic!("{text}"));
        let whom = "callers, 0 of whom met with one), stable 0 %";
        for words in [whom, "of 100 needed; about", what] {
            assert!(line.contains(words), "{line}");
        }
    }
}
