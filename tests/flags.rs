//! Flags at run time: over the API and the command line, effective on the next request, durable, and
//! safe where several operators change one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::process::{Command, Output};
use std::thread::spawn;

use serde_json::Value;
use support::disk::fast_folder;
use support::proxy::{SERIN, backends, replace_file};
use support::{Answer, Request, SOON, TestBackend, TestProxy, wait_until};
use tempfile::TempDir;

const FLAGS: &str = "identity: [{ header: x-user-id }]\n\
    trusted_proxies: [127.0.0.1]\n\
    groups: { beta: { header: { x-beta: \"1\" } }, vip: { header: { x-vip: \"1\" } } }\n\
    flags:\n  shop: { stable: v1, canary: v2, groups: { beta: 0% }, default: 0% }\n\
    routes: [{ flag: shop }]\n";

struct Edge {
    proxy: TestProxy,
    stable: TestBackend,
    canary: TestBackend,
    folder: TempDir,
}

impl Edge {
    fn start() -> Self {
        let [stable, canary] = ["v1", "v2"].map(TestBackend::start);
        let folder = fast_folder();
        let written = config(&stable, &canary, FLAGS);
        std::fs::write(folder.path().join("serin.yaml"), written).unwrap();
        let proxy = TestProxy::in_folder(folder.path(), Command::new(SERIN));
        Self {
            proxy,
            stable,
            canary,
            folder,
        }
    }

    /// Ends the process and starts it again with what it has written down.
    fn restart(&mut self) {
        self.proxy.kill();
        self.proxy = TestProxy::in_folder(self.folder.path(), Command::new(SERIN));
    }

    /// Puts another configuration in place, and waits until it decides.
    fn bring(&self, flags: &str) {
        let taken = |proxy: &TestProxy| {
            proxy
                .metrics()
                .count("serin_config_reloads_total", &[("result", "taken")])
        };
        let before = taken(&self.proxy);
        let text = config(&self.stable, &self.canary, flags);
        replace_file(&self.folder.path().join("serin.yaml"), &text);
        wait_until("it is taken", SOON, || taken(&self.proxy) > before);
    }

    fn change(&self, said: &str) -> Answer {
        self.proxy.command("PATCH", "/api/v1/flags/shop", said)
    }

    fn change_if(&self, version: &str, said: &str) -> Answer {
        let host = self.proxy.admin().to_string();
        let request = Request::new("PATCH", "/api/v1/flags/shop").host(&host);
        let request = request.field("if-match", version).body(said);
        request.send_to(self.proxy.admin())
    }

    fn flag(&self) -> Value {
        let answer = self.proxy.command("GET", "/api/v1/flags/shop", "");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let version = answer.json()["version"].as_str().unwrap().to_owned();
        assert_eq!(
            answer.field("etag"),
            Some(format!("\"{version}\"").as_str())
        );
        answer.json()
    }

    /// Who answers a caller with a header.
    fn served(&self, header: &str) -> String {
        let request = Request::get("/")
            .field("x-user-id", "ann")
            .field(header, "1");
        self.proxy.ask(&request).text().to_owned()
    }

    fn cli(&self, arguments: &[&str]) -> Output {
        let mut serin = Command::new(SERIN);
        let serin = serin.env("SERIN_ADMIN", format!("http://{}", self.proxy.admin()));
        serin.args(arguments).env("USER", "ann").output().unwrap()
    }
}

fn config(stable: &TestBackend, canary: &TestBackend, flags: &str) -> String {
    let backends = backends(&[("v1", stable), ("v2", canary)]);
    format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
         state: {{ path: state }}\n{backends}{flags}"
    )
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_change_decides_the_very_next_request() {
    let edge = Edge::start();
    for _ in 0..5 {
        assert_eq!(edge.change(r#"{"default": "100%"}"#).status, 200);
        assert_eq!(edge.served("x-none"), "v2");
        assert_eq!(edge.served("x-beta"), "v1");
        assert_eq!(edge.change(r#"{"groups": {"beta": "100%"}}"#).status, 200);
        assert_eq!(edge.served("x-beta"), "v2");
        assert_eq!(edge.change(r#"{"enabled": false}"#).status, 200);
        assert_eq!(edge.served("x-beta"), "v1");
        assert_eq!(edge.served("x-none"), "v1");
        let back = edge
            .proxy
            .command("DELETE", "/api/v1/flags/shop/overrides", "");
        assert_eq!(back.status, 200);
        assert_eq!(edge.served("x-none"), "v1");
        let flag = edge.flag();
        assert_eq!(
            (&flag["enabled"], &flag["overridden"]),
            (&true.into(), &serde_json::json!([]))
        );
    }
}

#[test]
fn each_change_is_in_the_journal_with_who_why_before_and_after() {
    let edge = Edge::start();
    let host = edge.proxy.admin().to_string();
    let request = Request::new("PATCH", "/api/v1/flags/shop").host(&host);
    let request = request.field("x-serin-user", "ann");
    let said =
        r#"{"default": "20%", "groups": {"beta": null, "vip": "50%"}, "reason": "friends first"}"#;
    let answer = request.body(said).send_to(edge.proxy.admin());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.json()["overridden"],
        serde_json::json!(["groups.beta", "groups.vip", "default"])
    );
    let page = edge
        .proxy
        .command("GET", "/api/v1/journal?flag=shop", "")
        .json();
    let line = &page["lines"][0];
    assert_eq!(line["who"], "ann (unverified)");
    assert_eq!(line["why"], "friends first");
    assert_eq!(
        line["what"],
        "default 0% -> 20%, group beta 0% -> none, group vip none -> 50%"
    );
    // What changes nothing is no line.
    assert_eq!(edge.change(r#"{"default": "20%"}"#).status, 200);
    let page = edge
        .proxy
        .command("GET", "/api/v1/journal?flag=shop", "")
        .json();
    assert_eq!(page["lines"].as_array().unwrap().len(), 1);
}

#[test]
fn what_is_set_outlives_the_process_and_gives_way_to_the_configuration() {
    let mut edge = Edge::start();
    assert_eq!(
        edge.change(r#"{"default": "100%", "groups": {"vip": "0%"}}"#)
            .status,
        200
    );
    edge.restart();
    assert_eq!(
        (edge.served("x-none"), edge.served("x-vip")),
        ("v2".into(), "v1".into())
    );

    // A reload that says the same leaves it.
    edge.bring(&FLAGS.replace("beta: 0%", "beta: 100%"));
    assert_eq!(
        (edge.served("x-none"), edge.served("x-beta")),
        ("v2".into(), "v2".into())
    );
    assert_eq!(edge.served("x-vip"), "v1");
    // One that says something else of the same wins, of that alone.
    edge.bring(&FLAGS.replace("default: 0%", "default: 0.01%"));
    assert_eq!(edge.flag()["weights"]["default_percent"], 0.01);
    assert_eq!(edge.flag()["overridden"], serde_json::json!(["groups.vip"]));
    let journal = edge
        .proxy
        .command("GET", "/api/v1/journal?flag=shop", "")
        .json();
    let line = &journal["lines"][0];
    assert_eq!(
        (&line["who"], &line["what"]),
        (&"configuration".into(), &"default 100% -> 0.01%".into())
    );
    // And it has not come back after a restart.
    edge.restart();
    assert_eq!(edge.flag()["overridden"], serde_json::json!(["groups.vip"]));
}

#[test]
fn of_two_who_change_what_they_have_seen_one_is_told() {
    let edge = Edge::start();
    let seen = edge.flag()["version"].as_str().unwrap().to_owned();
    let tag = format!("\"{seen}\"");
    assert_eq!(edge.change_if(&tag, r#"{"default": "1%"}"#).status, 200);
    let stale = edge.change_if(&tag, r#"{"default": "2%"}"#);
    let told = stale.problem(412)["detail"].as_str().unwrap().to_owned();
    let now = edge.flag()["version"].as_str().unwrap().to_owned();
    assert!(told.contains(&now), "{told}");
    assert_eq!(edge.flag()["weights"]["default_percent"], 1.0);
    assert_eq!(edge.change_if("*", r#"{"default": "3%"}"#).status, 200);
    edge.change_if("\"a\", \"b\"", "{\"default\": \"4%\"}")
        .problem(400);

    // Many at once: each adds one to what it has seen, and none is lost.
    let admin = edge.proxy.admin();
    let add = move || {
        let host = admin.to_string();
        let path = "/api/v1/flags/shop";
        loop {
            let seen = Request::get(path).host(&host).send_to(admin).json();
            let version = format!("\"{}\"", seen["version"].as_str().unwrap());
            let percent = seen["weights"]["default_percent"].as_f64().unwrap() + 1.0;
            let change = Request::new("PATCH", path)
                .host(&host)
                .field("if-match", &version);
            let change = change.body(format!("{{\"default\": \"{percent}%\"}}"));
            match change.send_to(admin).status {
                200 => return,
                412 => {}
                other => panic!("{other}"),
            }
        }
    };
    let adding: Vec<_> = (0..8).map(|_| spawn(add)).collect();
    adding.into_iter().for_each(|adding| adding.join().unwrap());
    assert_eq!(edge.flag()["weights"]["default_percent"], 11.0);
}

#[test]
fn who_has_seen_it_already_is_told_so() {
    let edge = Edge::start();
    let version = edge.flag()["version"].as_str().unwrap().to_owned();
    let ask = |tag: &str| {
        let host = edge.proxy.admin().to_string();
        let request = Request::get("/api/v1/flags/shop").host(&host);
        let request = request.field("if-none-match", tag);
        request.send_to(edge.proxy.admin()).status
    };
    assert_eq!(ask(&format!("\"{version}\"")), 304);
    assert_eq!(ask("\"other\""), 200);
}

#[test]
fn what_makes_no_sense_is_refused_with_what_would() {
    let edge = Edge::start();
    for (said, status, word) in [
        (r#"{"default": "20"}"#, 400, "write `20%`"),
        (r#"{"default": "twenty"}"#, 400, "25%"),
        (r#"{"default": "101%"}"#, 400, "0% to 100%"),
        (r#"{"defualt": "20%"}"#, 400, "defualt"),
        ("{}", 400, "nothing to change"),
        ("[]", 400, "enabled"),
        (r#"{"groups": {"nobody": "5%"}}"#, 404, "beta, vip"),
        (r#"{"groups": {"a b": "5%"}}"#, 400, "a b"),
        (
            "{\"default\": \"1%\", \"reason\": \"two\\nlines\"}",
            400,
            "one line",
        ),
    ] {
        let answer = edge.change(said);
        let told = answer.problem(status)["detail"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(told.contains(word), "{said}: {told}");
    }
    let unknown = edge
        .proxy
        .command("PATCH", "/api/v1/flags/shp", r#"{"enabled": false}"#);
    assert!(
        unknown.problem(404)["detail"]
            .as_str()
            .unwrap()
            .contains("shop")
    );
    assert_eq!(edge.flag()["overridden"], serde_json::json!([]));
}

#[test]
fn a_rollout_keeps_its_weights_and_follows_the_switch() {
    let edge = Edge::start();
    edge.bring(
        "flags:\n  shop:\n    stable: v1\n    canary: v2\n    \
         rollout: { revision: \"1\", stages: [{ weight: 50%, hold: 1h }] }\n\
         routes: [{ flag: shop }]\n",
    );
    edge.proxy.wait_for_phase("shop", "progressing", SOON);
    let told = edge.change(r#"{"default": "20%"}"#);
    let told = told.problem(409)["detail"].as_str().unwrap().to_owned();
    assert!(told.contains("rollout"), "{told}");
    assert_eq!(
        edge.change(r#"{"enabled": false, "reason": "smoke"}"#)
            .status,
        200
    );
    let paused = edge.proxy.wait_for_phase("shop", "paused", SOON);
    assert_eq!(paused["enabled"], false);
    for _ in 0..20 {
        assert_eq!(edge.served("x-none"), "v1");
    }
    assert_eq!(edge.change(r#"{"enabled": true}"#).status, 200);
    edge.proxy.wait_for_phase("shop", "progressing", SOON);
}

#[test]
fn the_command_line_does_the_same() {
    let edge = Edge::start();
    let run = |arguments: &[&str]| {
        let output = edge.cli(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {error}");
        text(&output)
    };
    assert!(run(&["flag", "list"]).contains("shop"));
    assert!(run(&["flag", "weight", "shop", "25%", "-m", "a quarter"]).contains("25%"));
    assert!(run(&["flag", "assign", "shop", "vip"]).contains("vip 100%"));
    assert_eq!(edge.served("x-vip"), "v2");
    run(&["flag", "unassign", "shop", "vip"]);
    run(&["flag", "disable", "shop"]);
    assert_eq!(edge.flag()["enabled"], false);
    run(&["flag", "enable", "shop"]);
    let shown: Value = serde_json::from_str(&run(&["flag", "show", "shop", "--json"])).unwrap();
    assert_eq!(shown["overridden"], serde_json::json!(["default"]));
    let stale = edge.cli(&["flag", "weight", "shop", "50%", "--if-version", "0"]);
    assert_eq!(stale.status.code(), Some(1));
    run(&["flag", "reset", "shop"]);
    assert_eq!(edge.flag()["overridden"], serde_json::json!([]));
    assert!(run(&["journal", "shop"]).contains("a quarter"));
    let unknown = edge.cli(&["flag", "show", "shp"]);
    assert_eq!(unknown.status.code(), Some(2));
}
