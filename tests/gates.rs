//! What stands before stages, over HTTP alone: approvals, webhooks that are slow, failing and gone, windows
//! of time, hooks that are told. None of them ever delays a rollback, which has forms of its own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use serin::runtime::clock;
use support::proxy::{SERIN, backends};
use support::{
    Answer, Behaviour, Hook, Load, Manners, Request, SOON, TestBackend, TestProxy, wait_for,
    wait_until,
};
use tempfile::TempDir;

/// How soon nobody may get a canary any more that does only harm.
const ROLLBACK_MAX: Duration = Duration::from_secs(2);

/// How long a short stage may take.
const STAGE_MAX: Duration = Duration::from_secs(30);

/// Each stage passes within seconds, proven harmless or not.
const SHORT: &str = "stages: [25%, 50%, 100%], hold: 1s, patience: 1, min_requests: 10, watch: 1s, \
                     final_control: 20%";

/// The stage passes when somebody says so.
const LONG: &str = "stages: [50%, 100%], hold: 5s, min_requests: 1000000";

/// A release of a good canary.
struct Release {
    proxy: TestProxy,
    canary: TestBackend,
    stable: TestBackend,
}

impl Release {
    fn by(rollout: &str) -> Self {
        let (stable, canary) = (TestBackend::start("stable"), TestBackend::start("canary"));
        let proxy = TestProxy::start(&config(&stable, &canary, rollout));
        Self {
            proxy,
            canary,
            stable,
        }
    }

    /// Goes on by another plan.
    fn reload(&self, rollout: &str) {
        let text = std::fs::read_to_string(self.proxy.config_path()).unwrap();
        let head: String = text
            .lines()
            .take(3)
            .map(|line| format!("{line}\n"))
            .collect();
        let text = head + &config(&self.stable, &self.canary, rollout);
        self.proxy.write_config(&text);
        let answer = self.proxy.command("POST", "/api/v1/reload", "");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    fn status(&self) -> Value {
        self.proxy.rollout("orders")
    }

    fn command(&self, verb: &str) -> Answer {
        let path = format!("/api/v1/rollouts/orders/{verb}");
        let answer = self
            .proxy
            .command("POST", &path, r#"{ "reason": "told so" }"#);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }

    #[track_caller]
    fn wait_for_phase(&self, phase: &str) -> Value {
        self.proxy.wait_for_phase("orders", phase, STAGE_MAX)
    }

    /// Waits until the status says why it is where it is.
    #[track_caller]
    fn wait_for_reason(&self, reason: &str) -> Value {
        wait_for(&format!("the reason `{reason}`"), STAGE_MAX, || {
            let status = self.status();
            let is_it = status["reason"]
                .as_str()
                .is_some_and(|said| said.contains(reason));
            is_it.then_some(status)
        })
    }

    /// What the journal says happened, oldest first.
    fn journal(&self) -> Vec<String> {
        let answer = self.proxy.command("GET", "/api/v1/journal?limit=100", "");
        let journal = answer.json();
        let lines = journal["lines"].as_array().unwrap();
        let told = |line: &Value| {
            let said = |key: &str| line[key].as_str().unwrap().to_owned();
            format!("{}: {}", said("what"), said("why"))
        };
        lines.iter().rev().map(told).collect()
    }
}

fn config(stable: &TestBackend, canary: &TestBackend, rollout: &str) -> String {
    format!(
        "{}trusted_proxies: [127.0.0.0/8]\nidentity: [{{ header: x-user-id }}]\n\
         flags: {{ orders: {{ stable: v1, canary: v2, rollout: {{ revision: \"2.4.0\", {rollout} }} }} }}\n\
         routes: [{{ flag: orders }}]\n",
        backends(&[("v1", stable), ("v2", canary)])
    )
}

/// The webhook is slow, fails, and says no; each shows.
fn hold_at_gate(release: &Release, gate: &Hook) {
    // Slow: it is given up after a second, and the stage waits.
    let status = release.wait_for_reason("gate `ci` does not answer");
    assert_eq!(status["phase"], "waiting_for_gate");
    assert_eq!(
        (&status["stage"], &status["gates"][0]["name"]),
        (&2.into(), &"ci".into())
    );
    assert_eq!(status["gates"][0]["is_open"], false);
    assert!(
        status["reason"].as_str().unwrap().contains("within 1s"),
        "{status:#}"
    );
    let heard = &gate.heard()[0];
    for (key, expected) in [
        ("name", "orders"),
        ("gate", "ci"),
        ("phase", "waiting_for_gate"),
        ("revision", "2.4.0"),
    ] {
        assert_eq!(heard[key], expected, "{heard}");
    }
    assert_eq!(
        (&heard["stage"], &heard["weight"]),
        (&3.into(), &100.0.into())
    );
    assert_eq!(heard["metadata"]["team"], "shop");

    // Failing, saying no with what is a secret, and gone.
    gate.behave(Manners::Answer(500, "out of order\n"));
    release.wait_for_reason("gate `ci` answered 500: out of order");
    gate.behave(Manners::Repeat(403));
    release.wait_for_reason("gate `ci` answered 403: POST …");
}

/// What is told of all that.
fn journal_of_life(release: &Release) -> Vec<String> {
    let journal = release.journal();
    let begins = |text: &str| journal.iter().filter(|line| line.starts_with(text)).count();
    assert_eq!(begins("stage 2 waits for approval: "), 1, "{journal:#?}");
    assert_eq!(begins("stage 3 waits for gate `ci`: "), 1, "{journal:#?}");
    for said in ["does not answer", "answered 500", "answered 403"] {
        let line = format!("gate `ci` holds stage 3: gate `ci` {said}");
        assert!(begins(&line) >= 1, "{line}: {journal:#?}");
    }
    assert_eq!(
        begins("stage 3 of 3 begins: gate `ci` answered 200"),
        1,
        "{journal:#?}"
    );
    journal
}

/// Each hook has heard of its own occasion, in order.
fn hooks_heard(told: &Hook) {
    let heard = told.wait_for(4);
    let stages = |on: &str| {
        let of = heard.iter().filter(|told| told["on"] == on);
        of.map(|told| told["stage"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(stages("after_stage"), [1, 2, 3], "{heard:#?}");
    assert_eq!(stages("success"), [3], "{heard:#?}");
    assert_eq!(stages("rollback"), [0; 0], "{heard:#?}");
}

#[test]
fn a_rollout_lives_through_an_approval_and_a_webhook_that_is_slow_failing_and_gone() {
    let mut gate = Hook::start(Manners::Hang);
    let told = Hook::start(Manners::Answer(204, ""));
    let (url, hub) = (gate.url(), told.url());
    let release = Release::by(&format!(
        "{SHORT}, gates: [{{ before: 50%, approve: manual }}, {{ before: 100%, name: ci, webhook: \
         {{ url: \"{url}\", timeout: 1s, attempts: 1, every: 1s, metadata: {{ team: shop }} }} }}], \
         hooks: [{{ on: after_stage, webhook: \"{hub}\" }}, {{ on: success, webhook: \"{hub}\" }}, \
         {{ on: rollback, webhook: \"{hub}\" }}]"
    ));
    let load = Load::start(release.proxy.address());
    release.wait_for_phase("waiting_for_approval");
    assert!(
        gate.heard().is_empty(),
        "it is asked when its stage is next"
    );
    release.command("promote");

    hold_at_gate(&release, &gate);
    gate.go();
    release.wait_for_reason("refuses the connection");
    gate.behave(Manners::Answer(200, "go"));
    gate.come_back();
    release.wait_for_phase("succeeded");
    assert_eq!((load.bad(), load.complaint()), (0, None));

    let journal = journal_of_life(&release);
    hooks_heard(&told);
    let everything = format!("{}{}{journal:?}", release.proxy.log(), release.status());
    assert!(!everything.contains("s3cr3t"), "{everything}");
}

#[test]
fn an_approval_goes_on_at_once_where_the_webhook_beside_it_is_open_and_waits_where_it_is_not() {
    let gate = Hook::start(Manners::Answer(403, "not yet"));
    let release = Release::by(&format!(
        "{SHORT}, gates: [{{ before: 50%, approve: manual }}, {{ before: 50%, name: ci, webhook: \
         {{ url: \"{}\", attempts: 1, every: 1s }} }}, {{ before: 100%, approve: manual }}, \
         {{ before: 100%, name: cd, webhook: {{ url: \"{}\", attempts: 1, every: 1s }} }}]",
        gate.url(),
        gate.url()
    ));
    let load = Load::start(release.proxy.address());
    release.wait_for_phase("waiting_for_approval");
    let status = release.command("promote").json();
    assert_eq!(status["phase"], "waiting_for_gate", "{status:#}");
    let journal = release.journal();
    let said = "approved, stage 2 waits for gate `ci`: told so";
    assert_eq!(journal.last().unwrap(), said);
    gate.behave(Manners::Answer(200, "go"));
    release.wait_for_phase("waiting_for_approval");
    wait_until("the other webhook has been asked", STAGE_MAX, || {
        release.status()["gates"][0]["is_open"] == true
    });
    let status = release.command("promote").json();
    assert_eq!(
        (&status["phase"], &status["stage"]),
        (&"progressing".into(), &3.into())
    );
    assert!(release.journal().last().unwrap().ends_with(": told so"));
    assert_eq!(load.bad(), 0);
}

#[test]
fn the_red_button_names_flags_whose_canary_may_still_be_chosen() {
    let (stable, canary) = (TestBackend::start("stable"), TestBackend::start("canary"));
    let config = format!(
        "{}groups: {{ beta: {{ callers: [ann] }} }}\nflags:\n\
         \x20 free: {{ stable: v1, canary: v2, force: {{ header: x-choose, for: [beta], after_rollback: true }} }}\n\
         trusted_proxies: [127.0.0.0/8]\nidentity: [{{ header: x-user }}]\nroutes: [{{ flag: free }}]\n",
        backends(&[("v1", &stable), ("v2", &canary)])
    );
    let proxy = TestProxy::start(&config);
    let pressed = serin(&proxy, &["rollout", "rollback", "--all"]);
    assert_eq!(
        String::from_utf8_lossy(&pressed.stdout),
        "callers may still choose canary, as `force.after_rollback` says: free (`serin flag disable` turns one off)\n"
    );
    let choose = Request::get("/").field("x-user", "ann");
    assert_eq!(
        proxy.ask(&choose.field("x-choose", "canary")).text(),
        "canary"
    );
}

#[test]
fn a_gate_that_hangs_delays_neither_a_rollback_nor_anything_else() {
    let gate = Hook::start(Manners::Hang);
    let told = Hook::start(Manners::Answer(503, ""));
    let release = Release::by(&format!(
        "{LONG}, hooks: [{{ on: before_stage, name: ci, webhook: {{ url: \"{}\", timeout: 5m }} }}, \
         {{ on: rollback, webhook: \"{}\" }}]",
        gate.url(),
        told.url()
    ));
    // It has not begun; an operator does not wait for the hook.
    let status = release.wait_for_reason("gate `ci` has not answered yet");
    assert_eq!(status["phase"], "waiting");
    gate.wait_for(1);
    assert_eq!(release.canary.requests(), 0);
    release.command("promote");
    let load = Load::start(release.proxy.address());
    wait_until("both arms are seen", SOON, || {
        let arms = &release.status()["arms"];
        let seen = |arm: &str| arms[arm]["requests"].as_u64() > Some(100);
        seen("stable") && seen("canary")
    });
    release.canary.behave(Behaviour::Status(500));
    let begun = clock::monotonic();
    release.proxy.wait_for_phase("orders", "rolled_back", SOON);
    let took = begun.elapsed();
    assert!(took < ROLLBACK_MAX, "{took:?}");
    // Whoever is told of it is told again until it has arrived.
    told.wait_for(1);
    told.behave(Manners::Answer(200, ""));
    let heard = told.wait_for(2);
    for told in &heard {
        assert_eq!(
            (&told["on"], &told["phase"]),
            (&"rollback".into(), &"rolled_back".into())
        );
        assert_eq!(told["weight"], 0.0);
    }
    drop(load);
}

#[test]
fn a_rollback_while_a_gate_is_being_asked_is_at_once() {
    let gate = Hook::start(Manners::Hang);
    let release = Release::by(&format!(
        "{SHORT}, gates: [{{ before: 50%, webhook: {{ url: \"{}\", timeout: 5m }} }}]",
        gate.url()
    ));
    let load = Load::start(release.proxy.address());
    release.wait_for_phase("waiting_for_gate");
    gate.wait_for(1);
    release.canary.behave(Behaviour::Status(500));
    let begun = clock::monotonic();
    let status = release.proxy.wait_for_phase("orders", "rolled_back", SOON);
    let took = begun.elapsed();
    assert!(took < ROLLBACK_MAX, "{took:?}");
    assert_eq!(status["weights"]["default_percent"], 0.0);
    assert_eq!(gate.heard().len(), 1);
    drop(load);
}

/// The time of day in Shanghai, which is eight hours ahead all year, so many hours from now.
fn in_shanghai(hours: u64) -> String {
    let minutes = clock::wall().as_secs() / 60 + (8 + hours) * 60;
    format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60)
}

#[test]
fn a_window_holds_a_stage_until_it_opens() {
    // Once: the minute may change meanwhile.
    let [in_six, in_twelve, in_eighteen] = [6, 12, 18].map(in_shanghai);
    let window = |from: &str, to: &str| {
        format!(
            "{SHORT}, gates: [{{ before: 50%, window: {{ from: \"{from}\", to: \"{to}\", \
             zone: Asia/Shanghai }} }}]"
        )
    };
    let release = Release::by(&window(&in_six, &in_twelve));
    let load = Load::start(release.proxy.address());
    let status = release.wait_for_phase("waiting_for_gate");
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.starts_with("gate `window` opens "), "{reason}");
    assert!(
        reason.ends_with(&format!("{in_six} Asia/Shanghai")),
        "{reason}"
    );
    let opens = status["gates"][0]["opens_at_unix_ms"].as_u64().unwrap();
    let ahead = Duration::from_millis(opens)
        .checked_sub(clock::wall())
        .unwrap();
    let hours = Duration::from_secs(5 * 3600)..Duration::from_secs(6 * 3600);
    assert!(hours.contains(&ahead), "{ahead:?}");
    assert_eq!(status["gates"][0]["kind"], "window");

    // From eighteen hours after now, which is six before, to six after.
    release.reload(&window(&in_eighteen, &in_six));
    let status = release.wait_for_phase("succeeded");
    let journal = status["journal"].as_array().unwrap().iter();
    let opened = journal.filter(|line| line["what"] == "stage 2 of 3 begins");
    let opened: Vec<_> = opened.collect();
    assert_eq!(opened[0]["who"], "gate");
    assert_eq!(opened[0]["why"], "gate `window` has come to its time");
    drop(load);
}

/// The program says how to take the rest back at once.
fn assert_stepped_by_command(proxy: &TestProxy) {
    let output = serin(proxy, &["rollout", "rollback", "orders"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let hint = "`serin rollout rollback orders` once more takes it to 0 at once";
    assert!(
        said.contains("rolling_back") && said.contains(hint),
        "{said}"
    );
}

fn serin(proxy: &TestProxy, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(SERIN);
    let admin = format!("http://{}", proxy.admin());
    command
        .args(arguments)
        .args(["--admin", &admin])
        .stdin(Stdio::null());
    command.output().unwrap()
}

#[test]
fn a_stepped_rollback_goes_down_stage_by_stage_and_survives_a_kill() {
    let rollout = "stages: [5%, 25%, 50%], hold: 1h, rollback: { stepped: 2s }";
    let folder = TempDir::new().unwrap();
    let (stable, canary) = (TestBackend::start("stable"), TestBackend::start("canary"));
    let text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
         state: {{ path: state }}\n{}",
        config(&stable, &canary, rollout)
    );
    std::fs::write(folder.path().join("serin.yaml"), text).unwrap();
    let start = || TestProxy::in_folder(folder.path(), Command::new(SERIN));
    let mut release = Release {
        proxy: start(),
        canary,
        stable,
    };
    release.command("promote");
    assert_eq!(
        release.command("promote").json()["weights"]["default_percent"],
        50.0
    );
    let status = release.command("rollback").json();
    assert_eq!(
        (&status["phase"], &status["stage"]),
        (&"rolling_back".into(), &2.into())
    );
    assert_eq!(status["weights"]["default_percent"], 25.0);
    let refused = release
        .proxy
        .command("POST", "/api/v1/rollouts/orders/promote", "");
    assert_eq!(refused.status, 409, "{}", refused.text());

    release.proxy.kill();
    release.proxy = start();
    let status = release.status();
    assert_eq!(
        (&status["phase"], &status["reason"]),
        (&"rolling_back".into(), &"told so".into())
    );
    let mut weights = vec![25.0];
    wait_until("nobody has canary", STAGE_MAX, || {
        let status = release.status();
        let weight = status["weights"]["default_percent"].as_f64().unwrap();
        if weights.last() != Some(&weight) {
            weights.push(weight);
        }
        status["phase"] == "rolled_back"
    });
    assert_eq!(weights, [25.0, 5.0, 0.0]);

    // Said once more, it is meant at once.
    release.command("retry");
    release.command("promote");
    release.command("promote");
    assert_stepped_by_command(&release.proxy);
    let status = release.command("rollback").json();
    assert_eq!(
        (&status["phase"], &status["weights"]["default_percent"]),
        (&"rolled_back".into(), &0.0.into())
    );
}

/// What is said of the one flag without backends.
const UNTOUCHED: &str = "as before, for they give values and have no canary: banner \
                      (`serin flag disable` turns one off)\n";

/// Two flags with rollouts, one of them stepped, one that waits, and one with weights set by hand.
fn many_flags() -> (TestProxy, [TestBackend; 2]) {
    let (stable, canary) = (TestBackend::start("stable"), TestBackend::start("canary"));
    let rollout =
        |more: &str| format!("{{ revision: \"1\", stages: [5%, 50%], hold: 1h, {more} }}");
    let config = format!(
        "{}groups: {{ beta: {{ callers: [ann] }} }}\nflags:\n\
         \x20 orders: {{ stable: v1, canary: v2, rollout: {} }}\n\
         \x20 search: {{ stable: v1, canary: v2, rollout: {} }}\n\
         \x20 later: {{ stable: v1, canary: v2, rollout: {} }}\n\
         \x20 checkout: {{ stable: v1, canary: v2, groups: {{ beta: 100% }}, default: 20% }}\n\
         \x20 plain: {{ stable: v1, canary: v2 }}\n\
         \x20 chosen: {{ stable: v1, canary: v2, force: {{ header: x-choose, for: [beta] }} }}\n\
         \x20 banner: {{ variants: {{ on: true, off: false }}, off: off, default: 30% }}\n\
         trusted_proxies: [127.0.0.0/8]\nidentity: [{{ header: x-user }}]\n\
         routes: [{{ path: /chosen, flag: chosen }}, {{ flag: orders }}]\n",
        backends(&[("v1", &stable), ("v2", &canary)]),
        rollout("rollback: stepped"),
        rollout(""),
        rollout("start: manual"),
    );
    (TestProxy::start(&config), [stable, canary])
}

#[test]
fn the_red_button_takes_canary_back_in_every_flag_that_has_any() {
    let (proxy, _backends) = many_flags();
    let promoted = proxy.command("POST", "/api/v1/rollouts/orders/promote", "");
    assert_eq!(promoted.status, 200);
    let choose = Request::get("/chosen")
        .field("x-user", "ann")
        .field("x-choose", "canary");
    assert_eq!(proxy.ask(&choose).text(), "canary");
    let serin = |arguments: &[&str]| serin(&proxy, arguments);
    let output = serin(&[
        "rollout",
        "rollback",
        "--all",
        "-m",
        "checkout is down",
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let flags = answer["flags"].as_array().unwrap();
    let names: Vec<_> = flags
        .iter()
        .map(|flag| flag["flag"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["orders", "search", "checkout", "chosen"]);
    // Nobody chooses it either, and a flag of values has nothing to take back.
    assert_eq!(proxy.ask(&choose).text(), "stable");
    assert_eq!(flags[3]["forced"], "flag_off", "{answer:#}");
    assert_eq!(answer["untouched"], json!(["banner"]));
    assert!(
        flags.iter().all(|flag| flag["is_written"] == true),
        "{flags:#?}"
    );
    for flag in ["orders", "search"] {
        let status = proxy.rollout(flag);
        assert_eq!(status["phase"], "rolled_back", "{status:#}");
        assert_eq!(status["journal"][0]["why"], "checkout is down");
    }
    assert_eq!(proxy.rollout("later")["phase"], "waiting");
    let metrics = proxy.metrics();
    for flag in ["orders", "search", "later", "checkout", "plain", "chosen"] {
        let weights = metrics.sum("serin_flag_weight_ratio", &[("flag", flag)]);
        assert!(weights.abs() < 1e-9, "{flag}: {weights}");
    }
    let journal = proxy
        .command("GET", "/api/v1/journal?flag=checkout", "")
        .json();
    let line = &journal["lines"][0];
    assert_eq!(line["what"], "default 20% -> 0%, group beta 100% -> 0%");
}

#[test]
fn the_red_button_says_what_it_took_back_from_where() {
    let (proxy, _backends) = many_flags();
    let waits = |flag: &str| {
        let status = proxy.rollout(flag);
        status["waiting_for"]["says"].as_str().unwrap().to_owned()
    };
    let no_route = "no route goes by the flag";
    assert!(waits("search").contains(no_route) && !waits("orders").contains(no_route));
    let serin = |arguments: &[&str]| serin(&proxy, arguments);
    let pressed = serin(&["rollout", "rollback", "--all"]);
    assert_eq!(pressed.status.code(), Some(0), "{pressed:?}");
    // Once more there is nothing to do; a flag beside `--all` is a contradiction.
    let output = serin(&["rollout", "rollback", "--all"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("canary has callers in no flag\n{UNTOUCHED}")
    );
    let weighed = serin(&["flag", "weight", "checkout", "10%"]);
    assert_eq!(weighed.status.code(), Some(0), "{weighed:?}");
    let output = serin(&["rollout", "rollback", "--all"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("taken back: checkout (was 10%, beta 0%)\n{UNTOUCHED}")
    );
    assert_eq!(
        serin(&["rollout", "rollback", "orders", "--all"])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn a_stage_says_about_how_much_data_it_waits_for() {
    let release = Release::by("stages: [50%, 100%], hold: 1s, min_requests: 100000");
    let load = Load::start(release.proxy.address());
    let waiting = wait_for("the rate is known", SOON, || {
        let waiting = release.status()["waiting_for"].clone();
        waiting["seconds"].is_f64().then_some(waiting)
    });
    let requests = waiting["requests"].as_u64().unwrap();
    assert!((90_000..=100_000).contains(&requests), "{waiting}");
    let said = waiting["says"].as_str().unwrap();
    let begins = format!("waiting for data: about {requests} more requests");
    assert!(said.starts_with(&begins), "{said}");
    let mut command = Command::new(SERIN);
    let admin = format!("http://{}", release.proxy.admin());
    let output = command
        .args(["status", "--admin", &admin])
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("waiting for data: about "), "{shown}");
    drop(load);
}
