//! What the breach of one group takes back: canary as a whole, or that group alone.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::process::Command;

use serde_json::Value;
use support::proxy::SERIN;
use support::release::{FOUND_MAX, Release, config, passing};
use support::{Behaviour, Crowd, Manner, Request, SOON, TestProxy, wait_for, wait_until};
use tempfile::TempDir;

/// A proxy with its state in a folder.
fn start(folder: &TempDir) -> TestProxy {
    TestProxy::in_folder(folder.path(), Command::new(SERIN))
}

/// A fifth of the callers of a flag are in the group `beta`.
fn crowd(proxy: &TestProxy, flag: &str) -> Crowd {
    let path = format!("/{flag}");
    Crowd::start(proxy.address(), Manner::default(), move |number| {
        match number / 3 % 5 {
            0 => passing(&path, number).field("x-beta", "yes"),
            _ => passing(&path, number),
        }
    })
}

fn serin(proxy: &TestProxy, arguments: &[&str]) -> String {
    let admin = format!("http://{}", proxy.admin());
    let mut command = Command::new(SERIN);
    let output = command.args(arguments).args(["--admin", &admin]).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

fn percent_of_beta(rollout: &Value) -> &Value {
    &rollout["weights"]["groups"][0]["percent"]
}

/// The backends that answer many callers, all of them in the group or in none.
fn servers(proxy: &TestProxy, path: &str, is_beta: bool) -> Vec<String> {
    let asked = |caller: u32| {
        let request = Request::get(path).field("x-user-id", &format!("asked-{caller}"));
        let request = match is_beta {
            true => request.field("x-beta", "yes"),
            false => request,
        };
        let answer = proxy.ask(&request);
        let text = answer.text();
        assert_eq!(answer.status, 200, "{text}");
        text.to_owned()
    };
    (0..40).map(asked).collect()
}

/// Three releases in their second stage, in which canary fails all callers of the group and nobody else.
fn releases() -> [Release; 3] {
    const STAGES: &str = "stages: [{ groups: [beta], weight: 50% }, 50%], watch: 1s";
    let plan = |more: &str| -> &'static str { format!("{STAGES}, {more}").leak() };
    let long = "hold: 5s, min_requests: 1000000";
    let short = "hold: 2s, min_requests: 100, patience: 2";
    let releases = [
        Release::by("whole", plan(long)),
        Release::by("alone", plan(&format!("{long}, rollback_scope: group"))),
        Release::by("onward", plan(&format!("{short}, rollback_scope: group"))),
    ];
    for release in &releases {
        let fails = Behaviour::StatusWhere(vec![("x-beta", 500)]);
        release.canary.behave(fails);
    }
    releases
}

#[test]
fn a_breach_of_one_group_takes_back_the_flag_or_that_group_alone() {
    let releases = releases();
    let folder = TempDir::new().unwrap();
    let text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
         state: {{ path: state }}\n{}",
        config(&releases)
    );
    std::fs::write(folder.path().join("serin.yaml"), text).unwrap();
    let mut proxy = start(&folder);
    for Release { flag, .. } in &releases {
        let path = format!("/api/v1/rollouts/{flag}/promote");
        let promoted = proxy.command("POST", &path, "").json();
        assert_eq!(promoted["weights"]["default_percent"], 50.0, "{flag}");
    }
    assert_found_and_gone_on(&proxy);
    let shown = "group `beta` was rolled back: in group `beta`, canary fails";
    for arguments in [&["status"][..], &["rollout", "status", "alone"]] {
        let printed = serin(&proxy, arguments);
        assert!(printed.contains(shown), "{printed}");
    }
    proxy.kill();
    assert_kept_and_tried_again(&start(&folder));
}

/// The flag is taken back in one release, the group alone in the others, one of which goes on to its end.
fn assert_found_and_gone_on(proxy: &TestProxy) {
    // Nothing goes on before it is seen what the group meets with; rollbacks do not wait.
    assert_eq!(proxy.command("POST", "/api/v1/freeze", "").status, 200);
    let _crowds = ["whole", "alone", "onward"].map(|flag| crowd(proxy, flag));
    let whole = proxy.wait_for_phase("whole", "rolled_back", FOUND_MAX);
    assert_eq!(whole["rolled_back_groups"], Value::Null, "{whole:#}");
    assert_eq!(whole["weights"]["default_percent"], 0.0, "{whole:#}");

    let alone = wait_for("the group is taken back", FOUND_MAX, || {
        let alone = proxy.rollout("alone");
        alone["rolled_back_groups"].is_array().then_some(alone)
    });
    assert_taken_back(&alone);
    let line = &alone["journal"][0];
    assert_eq!(
        line["what"], "group `beta` rolled back in stage 2, the others go on",
        "{alone:#}"
    );
    let breach = line["findings"].as_array().unwrap().iter();
    let breach: Vec<_> = breach.filter(|f| f["assessment"] == "breach").collect();
    assert_eq!((breach.len(), &breach[0]["group"]), (1, &"beta".into()));

    // The others go on to the end.
    wait_until("the other flag's is taken back", FOUND_MAX, || {
        proxy.rollout("onward")["rolled_back_groups"].is_array()
    });
    assert_eq!(proxy.command("DELETE", "/api/v1/freeze", "").status, 200);
    let onward = proxy.wait_for_phase("onward", "succeeded", FOUND_MAX);
    assert_eq!(
        onward["rolled_back_groups"][0]["group"], "beta",
        "{onward:#}"
    );
    assert_eq!(percent_of_beta(&onward), 0.0, "{onward:#}");
    assert_eq!(onward["weights"]["default_percent"], 50.0, "{onward:#}");
}

/// After a kill, too, the group has nothing, and has it again once the release is tried again.
fn assert_kept_and_tried_again(proxy: &TestProxy) {
    let alone = proxy.rollout("alone");
    assert_taken_back(&alone);
    assert_eq!(proxy.rollout("whole")["phase"], "rolled_back");
    let _crowd = crowd(proxy, "alone");
    // What is known of the group's harm takes nothing else back.
    let judged = wait_for("it is judged again", SOON, || {
        let rollout = proxy.rollout("alone");
        let seen = rollout["counted_requests"]["canary"].as_u64().unwrap();
        (seen > 0 || rollout["phase"] != "progressing").then_some(rollout)
    });
    assert_taken_back(&judged);
    assert_only_the_others_have_canary(proxy);

    for verb in ["rollback", "retry"] {
        let path = format!("/api/v1/rollouts/alone/{verb}");
        assert_eq!(proxy.command("POST", &path, "").status, 200, "{verb}");
    }
    let again = proxy.rollout("alone");
    assert_eq!(again["rolled_back_groups"], Value::Null, "{again:#}");
    assert_eq!(percent_of_beta(&again), 50.0, "{again:#}");
}

/// The group has nothing, and the others have what the stage gives them.
fn assert_taken_back(rollout: &Value) {
    assert_eq!(rollout["phase"], "progressing", "{rollout:#}");
    assert_eq!(rollout["stage"], 2, "{rollout:#}");
    assert_eq!(rollout["is_written"], true, "{rollout:#}");
    let taken = rollout["rolled_back_groups"].as_array().unwrap();
    assert_eq!((taken.len(), &taken[0]["group"]), (1, &"beta".into()));
    let reason = taken[0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("in group `beta`, canary fails"),
        "{reason}"
    );
    assert_eq!(percent_of_beta(rollout), 0.0, "{rollout:#}");
    assert_eq!(rollout["weights"]["default_percent"], 50.0, "{rollout:#}");
}

fn assert_only_the_others_have_canary(proxy: &TestProxy) {
    let of_beta = servers(proxy, "/alone", true);
    assert!(of_beta.iter().all(|name| name == "stable"), "{of_beta:?}");
    let of_others = servers(proxy, "/alone", false);
    for name in ["stable", "canary"] {
        assert!(of_others.iter().any(|other| other == name), "{of_others:?}");
    }
}
