//! The command line: what is wrong is said at one look and starts nothing, and what would happen
//! to a request is told as it happens.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use assert_cmd::Command;
use serde_json::{Value, json};
use serin::domain::bucket::Bucket;
use support::proxy::{SERIN, backends};
use support::{Request, TestBackend, TestProxy};
use tempfile::TempDir;

/// How long a command may take that does not serve.
const COMMAND_MAX: Duration = Duration::from_secs(10);

fn serin(arguments: &[&str]) -> Output {
    Command::new(SERIN)
        .args(arguments)
        .env_remove("SERIN_CONFIG")
        .timeout(COMMAND_MAX)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// A port of this machine on which nobody listens.
fn free_port() -> u16 {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.local_addr().unwrap().port()
}

/// A configuration in a file of its own.
struct Written {
    path: PathBuf,
    _folder: TempDir,
}

impl Written {
    fn new(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("edge.yaml");
        std::fs::write(&path, text).unwrap();
        Self {
            path,
            _folder: folder,
        }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// A sound configuration, to be spoilt in one place.
const SOUND: &str = "\
listeners: [{ address: \"127.0.0.1:PORT\" }]
admin: { address: \"127.0.0.1:0\" }
groups: { beta: { callers: [ann] }, staff: { not: { group: beta } } }
backends: { v1: http://127.0.0.1:1, v2: http://127.0.0.1:2 }
flags:
  orders: { stable: v1, canary: v2, groups: { beta: 5% }, default: 1% }
  search: { stable: v1, canary: v2, rollout: { revision: \"2\", stages: [1%, 100%] } }
routes:
  - { path: /, flag: orders }
  - { name: search, path: /search, flag: search }
";

/// What is spoilt, by what, and what is said of it.
const SPOILT: [(&str, &str, &[&str]); 14] = [
    (
        "default: 1%",
        "defualt: 1%",
        &["6:59: flags.orders.defualt: unknown key `defualt`; did you mean `default`?"],
    ),
    (
        "listeners: [{ address: \"127.0.0.1:PORT\" }]",
        "listeners: 8080",
        &["1:12: listeners: expected a sequence, found the number `8080`"],
    ),
    (
        "stages: [1%, 100%]",
        "stages: [1, 100%]",
        &[
            "7:72: flags.search.rollout.stages[0]: expected a percentage such as `25%`, \
           found the number `1`; write `1%`",
        ],
    ),
    (
        "flag: search",
        "backend: v3",
        &["10:45: routes[1].backend: no backend is named `v3`; did you mean `v1`?"],
    ),
    (
        "v2: http://127.0.0.1:2 }",
        "v9: http://127.0.0.1:2 }",
        &[
            "6:33: flags.orders.canary: no backend is named `v2`; did you mean `v1`?",
            "7:33: flags.search.canary: no backend is named `v2`; did you mean `v1`?",
        ],
    ),
    (
        "default: 1%",
        "default: 101%",
        &["6:68: flags.orders.default: `101%` is outside 0% to 100%"],
    ),
    (
        "v2: http://127.0.0.1:2 }",
        "v2: http://127.0.0.1:2, v1: http://127.0.0.1:3 }",
        &["4:61: backends.v1: `v1` is written twice; remove one of the two"],
    ),
    (
        "{ path: /, flag: orders }",
        "{ name: search, path: /, flag: orders }",
        &["10:13: routes[1].name: another route is named `search`; choose another name"],
    ),
    (
        "callers: [ann]",
        "group: staff",
        &[
            "3:11: groups.beta: group `beta` refers to itself: beta -> staff -> beta; \
           take one of these references out",
        ],
    ),
    (
        "groups: { beta: 5% }",
        "groups: { betta: 5% }",
        &["6:47: flags.orders.groups.betta: no group is named `betta`; did you mean `beta`?"],
    ),
    (
        "canary: v2, rollout",
        "canary: v2, groups: { beta: 5% }, rollout",
        &[
            "7:45: flags.search.groups: `groups` beside `rollout`, which sets the weights; \
           remove `groups`, or write stages for these callers",
        ],
    ),
    (
        "admin: {",
        "tracing: { otlp: http://c }\nadmin: {",
        &["2:1: tracing: `tracing` is not in this version; remove it"],
    ),
    (
        "listeners: [{ address: \"127.0.0.1:PORT\" }]",
        "listeners: [",
        &["3:1: not valid YAML: did not find expected ',' or ']'"],
    ),
    (
        "stable: v1, canary: v2, groups: { beta: 5% }, default: 1%",
        "canary: v2, groups: { bta: 5% }, default: 1",
        &[
            "6:11: flags.orders: `stable` is missing; add `stable:`",
            "6:35: flags.orders.groups.bta: no group is named `bta`; did you mean `beta`?",
            "6:55: flags.orders.default: expected a percentage such as `25%`, \
             found the number `1`; write `1%`",
        ],
    ),
];

#[test]
fn the_schema_is_printed_as_it_is_beside_the_samples() {
    let output = serin(&["schema"]);
    assert!(output.status.success());
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/serin.schema.json");
    assert_eq!(stdout(&output), std::fs::read_to_string(committed).unwrap());
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
}

#[test]
fn a_wrong_configuration_is_told_line_by_line_and_nothing_is_started() {
    for (part, spoilt, said) in SPOILT {
        let port = free_port();
        assert!(SOUND.contains(part), "{part}");
        let text = SOUND.replacen(part, spoilt, 1);
        let config = Written::new(&text.replace("PORT", &port.to_string()));
        for command in ["check", "serve"] {
            let output = serin(&[command, "--config", config.path()]);
            assert_eq!(output.status.code(), Some(2), "{command} {spoilt}");
            assert_eq!(stdout(&output), "");
            let lines: Vec<_> = stderr(&output).lines().collect();
            assert_eq!(lines.len(), said.len(), "{lines:#?}");
            for (line, said) in lines.iter().zip(said) {
                let expected = format!("{}:{said}", config.path());
                assert!(line.starts_with(&expected), "{line}\nis not\n{expected}");
            }
        }
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    }
}

#[test]
fn the_configuration_that_the_others_spoil_is_right() {
    let config = Written::new(&SOUND.replace("PORT", "8080"));
    let output = serin(&["check", "--config", config.path()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let lines: Vec<_> = stdout(&output).lines().collect();
    let summary = "ok: 1 listeners, 2 backends, 2 groups, 2 flags, 2 routes";
    assert_eq!(lines[0], format!("{}: {summary}", config.path()));
    assert!(lines[1].starts_with("note: no `identity`"), "{lines:?}");

    // The file may be named in the environment instead.
    let output = Command::new(SERIN)
        .arg("check")
        .env("SERIN_CONFIG", config.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn an_access_log_that_cannot_be_written_here_is_noted() {
    let check = |log: &str| {
        let config = Written::new(&format!(
            "{}access_log: {log}\n",
            SOUND.replace("PORT", "80")
        ));
        let folder = config.path.parent().unwrap();
        std::fs::create_dir(folder.join("taken")).unwrap();
        std::fs::write(folder.join("there"), "a line\n").unwrap();
        let output = serin(&["check", "--config", config.path()]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let mut left: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["edge.yaml", "taken", "there"]);
        let there = std::fs::read_to_string(folder.join("there")).unwrap();
        assert_eq!(there, "a line\n");
        stdout(&output).to_owned()
    };
    let note = "access_log: cannot be written: ";
    for log in ["none/log", "taken", "there/log", "/proc/serin.log"] {
        let said = check(&format!("{{ path: {log} }}"));
        let note = said.lines().find(|line| line.contains("cannot be written"));
        let note = note.unwrap_or_else(|| panic!("{log}: {said}"));
        assert!(
            note.starts_with("note: ") && note.contains("edge.yaml:"),
            "{note}"
        );
        assert!(
            note.contains("access_log.path: ") && note.contains("; name a file"),
            "{note}"
        );
    }
    assert!(check("none/log").contains(note));
    for log in ["log", "there", "stdout", "stderr", "/dev/null", "./stdout"] {
        assert!(!check(log).contains("cannot be written"), "{log}");
    }
}

#[test]
fn an_admin_address_for_other_machines_needs_tokens() {
    let check = |admin: &str| {
        let text = SOUND.replace("PORT", "8080");
        let admin = format!("admin: {{ address: \"0.0.0.0:9901\"{admin} }}");
        let config = Written::new(&text.replace("admin: { address: \"127.0.0.1:0\" }", &admin));
        serin(&["check", "--config", config.path()])
    };
    let open = check("");
    assert_eq!(open.status.code(), Some(2));
    let problem = "`0.0.0.0:9901` is not a loopback address, so it needs `tokens`";
    assert!(stderr(&open).contains(problem), "{}", stderr(&open));
    let token = "token: 3f6a0c5b8d1e49f7a2c4";
    let viewers = check(&format!(
        ", tokens: [{{ name: wall, role: viewer, {token} }}]"
    ));
    assert_eq!(viewers.status.code(), Some(0), "{}", stderr(&viewers));
    let note = "note: no token of role `operator`, so nobody can give commands\n";
    assert!(stdout(&viewers).ends_with(note), "{}", stdout(&viewers));
    let operators = check(&format!(
        ", tokens: [{{ name: ci, role: operator, {token} }}]"
    ));
    assert!(!stdout(&operators).contains("note: no token"));
}

#[test]
fn a_file_that_is_not_there_is_told_by_its_name() {
    let config = Written::new("");
    let missing = config.path.with_file_name("missing.yaml");
    let missing = missing.to_str().unwrap();
    for command in [&["check"][..], &["serve"], &["explain", "/"]] {
        let output = serin(&[command, &["--config", missing]].concat());
        assert_eq!(output.status.code(), Some(2));
        let expected =
            format!("serin: cannot read `{missing}`: No such file or directory (os error 2)\n");
        assert_eq!(stderr(&output), expected);
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_told_so() {
    let config = Written::new(&SOUND.replace("PORT", "8080"));
    for arguments in [
        &["sreve"][..],
        &["serve", "--confg", "x"],
        &["serve", "--log-format", "xml", "--config", config.path()],
        &["explain", "--config", config.path()],
        &["explain", "/", "-H", "x-user-id", "--config", config.path()],
        &["explain", "/", "--from", "here", "--config", config.path()],
    ] {
        let output = serin(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!stderr(&output).is_empty() && stdout(&output).is_empty());
    }
    let help = serin(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let exits = stdout(&help).split_once("Exit codes: ").unwrap().1;
    for code in [
        "0 done",
        "1 failed",
        "2 usage",
        "unreachable",
        "4 timed out",
        "5 paused",
    ] {
        assert!(exits.contains(code), "{exits}");
    }
    assert_eq!(stdout(&serin(&["--version"])), "serin 0.1.0\n");
}

/// Asserts that `serve` finds an address in use, and starts nothing.
fn assert_taken(taken: SocketAddr, listener: SocketAddr, admin: SocketAddr) {
    let config = Written::new(&format!(
        "listeners: [{{ address: \"{listener}\" }}]\nadmin: {{ address: \"{admin}\" }}\n\
         backends: {{ a: http://127.0.0.1:1 }}\nroutes: [{{ backend: a }}]\n"
    ));
    let output = serin(&["serve", "--config", config.path()]);
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    let expected =
        format!("serin: cannot listen on {taken}: another program listens there already");
    assert!(
        said.starts_with(&expected) && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn a_port_in_use_is_told_and_the_other_one_is_not_taken() {
    let here = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let other = TcpListener::bind(here(0)).unwrap();
    let taken = other.local_addr().unwrap();
    let free = here(free_port());
    assert_taken(taken, taken, free);
    assert_taken(taken, free, taken);
    assert!(TcpListener::bind(free).is_ok());
}

#[test]
fn another_serin_on_the_port_is_not_joined() {
    let backend = TestBackend::start("a");
    let running = TestProxy::start(&(backends(&[("a", &backend)]) + "routes: [{ backend: a }]\n"));
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    assert_taken(running.address(), running.address(), free);
    assert_taken(running.admin(), free, running.admin());
    assert_eq!(running.get("/").text(), "a");
}

fn explain(config: &Path, arguments: &[&str]) -> Output {
    let config = ["explain", "--config", config.to_str().unwrap()];
    serin(&[&config, arguments].concat())
}

const EXPLAINED: &str = "
trusted_proxies: [127.0.0.0/8]
identity: [{ header: x-user-id }]
groups: { beta: { callers: [ann] }, sample: { percentage: 30% } }
flags:
  orders: { stable: v1, canary: v2, groups: { beta: 100%, sample: 50% }, default: 20% }
  search: { stable: v1, canary: v2, rollout: { revision: \"2\", stages: [30%, 60%] } }
  whole: { stable: v1, canary: v2, rollout: { revision: \"2\", stages: [100%] } }
routes:
  - { host: shop.test, path: /orders, methods: [POST], flag: orders }
  - { path: /search, flag: search }
  - { path: /whole, flag: whole }
  - { path: /plain, backend: v1 }
";

fn explained_proxy() -> (TestProxy, [TestBackend; 2]) {
    let both = ["v1", "v2"].map(TestBackend::start);
    let backends = backends(&[("v1", &both[0]), ("v2", &both[1])]);
    (TestProxy::start(&(backends + EXPLAINED)), both)
}

#[test]
fn explain_says_in_words_why_a_request_goes_where_it_goes() {
    let (proxy, _both) = explained_proxy();
    let config = proxy.config_path();
    let ann = [
        "-X",
        "POST",
        "http://shop.test/orders",
        "-H",
        "x-user-id: ann",
    ];
    let output = explain(&config, &ann);
    assert_eq!(output.status.code(), Some(0));
    let bucket = Bucket::of("orders", "ann");
    let expected = format!(
        "route    POST shop.test/orders\n\
         client   127.0.0.1\n\
         caller   ann, in beta\n\
         flag     orders\n\
         bucket   {bucket} of 0..9999, salt `orders`\n\
         rule     group `beta` has 100%\n\
         variant  canary, for {bucket} is below 10000 (100%)\n\
         backend  v2\n"
    );
    assert_eq!(stdout(&output), expected);
    let plain = explain(&config, &["/plain"]);
    let expected = "route    /plain\nclient   127.0.0.1\ncaller   not known, in no group\n\
                    backend  v1\n";
    assert_eq!(stdout(&plain), expected);
}

#[test]
fn explain_says_from_which_stage_on_a_caller_gets_the_canary() {
    let (proxy, _both) = explained_proxy();
    let mut seen = [0; 3];
    for n in 0..12 {
        let caller = format!("x-user-id: u-{n}");
        let output = explain(&proxy.config_path(), &["/search", "-H", &caller]);
        let bucket = Bucket::of("search", &format!("u-{n}"));
        let (kind, expected) = match bucket.place() {
            0..3000 => (0, "starts at 0%; canary from stage 1 of 2 on (30%)"),
            3000..6000 => (1, "starts at 0%; canary from stage 2 of 2 on (60%)"),
            // The plan ends at 60 %, so success changes nothing for the others.
            _ => (
                2,
                "starts at 0%; stable even after the rollout has succeeded",
            ),
        };
        seen[kind] += 1;
        let line = format!("rollout  {expected}");
        let told = stdout(&output);
        assert!(told.lines().any(|other| other == line), "{bucket}\n{told}");
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");

    // One of those who are kept on stable to the end, to compare with.
    let is_control = |caller: &String| Bucket::of("whole", caller).place() >= 9900;
    let control = (0..).map(|n| format!("u-{n}")).find(is_control).unwrap();
    let caller = format!("x-user-id: {control}");
    let output = explain(&proxy.config_path(), &["/whole", "-H", &caller]);
    let expected = "rollout  starts at 0%; stable until the rollout has succeeded";
    assert!(stdout(&output).contains(expected), "{}", stdout(&output));
}

#[test]
fn explain_names_no_variant_and_no_backend_where_chance_decides() {
    let (proxy, _both) = explained_proxy();
    let at = ["-X", "POST", "http://shop.test/orders"];
    let output = explain(&proxy.config_path(), &at);
    let told = stdout(&output);
    for line in [
        "bucket   drawn anew for each request",
        "variant  canary for 20% of such requests, else stable",
        "backend  v2 for canary, v1 for stable",
    ] {
        assert!(told.lines().any(|other| other == line), "{told}");
    }
    let output = explain(&proxy.config_path(), &[&at[..], &["--json"]].concat());
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["caller"], Value::Null);
    assert_eq!(told["backend"], Value::Null);
    assert_eq!(told["flag"]["variant"], Value::Null);
    assert_eq!(told["flag"]["bucket"], Value::Null);
}

#[test]
fn explain_agrees_with_what_the_running_proxy_does() {
    let (proxy, _both) = explained_proxy();
    let mut variants = [0, 0];
    for caller in ["ann".to_owned()]
        .into_iter()
        .chain((0..24).map(|n| format!("u-{n}")))
    {
        let field = format!("x-user-id: {caller}");
        let at = [
            "--json",
            "-X",
            "POST",
            "http://shop.test/orders",
            "-H",
            &field,
        ];
        let output = explain(&proxy.config_path(), &at);
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let request = Request::new("POST", "/orders").field("x-user-id", &caller);
        let answer = proxy.ask(&request.body("hello"));
        assert_eq!(told["backend"], answer.text(), "{told:#}");
        assert_eq!(told["caller"], caller);
        let is_canary = answer.text() == "v2";
        let variant = if is_canary { "canary" } else { "stable" };
        assert_eq!(told["flag"]["variant"], variant);
        let bucket = Bucket::of("orders", &caller);
        assert_eq!(told["flag"]["bucket"], bucket.place());
        variants[usize::from(is_canary)] += 1;
    }
    assert!(variants.iter().all(|count| *count > 3), "{variants:?}");
}

#[test]
fn explain_takes_the_address_that_a_request_comes_from_into_account() {
    let (proxy, _both) = explained_proxy();
    let at = ["--json", "/search", "-H", "x-user-id: ann"];
    let told = |from: &str| {
        let output = explain(&proxy.config_path(), &[&at[..], &["--from", from]].concat());
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        (told["caller"].clone(), told["client_ip"].clone())
    };
    assert_eq!(told("127.0.0.9"), (json!("ann"), json!("127.0.0.9")));
    // Nobody believes a stranger's header.
    assert_eq!(told("192.0.2.7"), (Value::Null, json!("192.0.2.7")));
}

#[test]
fn a_request_that_goes_nowhere_is_explained_as_such() {
    let (proxy, _both) = explained_proxy();
    let reason = "no route for this host, path and method (answered with 404)";
    for arguments in [&["/none"][..], &["http://shop.test/orders"]] {
        let output = explain(&proxy.config_path(), arguments);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stdout(&output), format!("not sent on: {reason}\n"));
    }
}

#[test]
fn whoever_has_read_enough_is_told_nothing_more() {
    for arguments in [
        &["completions", "bash"][..],
        &["man"],
        &["schema"],
        &["help"],
    ] {
        // Nobody ever reads this pipe.
        let (unread, output) = std::io::pipe().unwrap();
        drop(unread);
        let mut command = std::process::Command::new(SERIN);
        let done = command
            .args(arguments)
            .stdout(output)
            .stderr(Stdio::piped());
        let done = done.spawn().unwrap().wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr);
        assert_eq!(told, "", "{arguments:?}");
        // The help is printed by the parser of arguments, which minds it as little.
        let expected = if arguments == ["help"] { 0 } else { 141 };
        assert_eq!(done.status.code(), Some(expected), "{arguments:?}");
    }
}

#[test]
fn an_argument_that_does_not_fit_is_told_with_what_would() {
    for (arguments, words) in [
        (
            &["flag", "weight", "orders", "-5%"][..],
            "`-5%` is outside 0% to 100%",
        ),
        (
            &["flag", "assign", "orders", "beta", "-1%"],
            "`-1%` is outside 0% to 100%",
        ),
        (
            &["flag", "create", "x", "--default", "-5%"],
            "`-5%` is outside 0% to 100%",
        ),
        (
            &["group", "assign", "beta", "ann", "--for", "0s"],
            "`0s` ends at once; give a span such as `30m`",
        ),
        (
            &["group", "assign", "beta", "ann", "--for", ""],
            "`` is not a span of time such as `30m`",
        ),
        (
            &[
                "flag",
                "create",
                "x",
                r#"{"stable": "v1"}"#,
                "--stable",
                "v2",
            ],
            "`stable` is in the definition already; leave `--stable` out",
        ),
        (
            &[
                "flag",
                "create",
                "x",
                r#"{"groups": {"beta": "5%"}}"#,
                "--group",
                "vip=5%",
            ],
            "`groups` is in the definition already; leave `--group` out",
        ),
        (
            &["flag", "create", "x", "--group", "beta"],
            "such as `beta=50%`",
        ),
    ] {
        let output = serin(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            stderr(&output).contains(words),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_rollout_that_no_request_can_come_to_is_noted() {
    let notes = |route: &str| {
        let config = Written::new(&format!(
            "listeners: [{{ address: \"127.0.0.1:8080\" }}]\n\
             backends: {{ v1: http://127.0.0.1:1, v2: http://127.0.0.1:2 }}\n\
             identity: [{{ assigned_cookie: {{ name: id }} }}]\nflags:\n\
             \x20 orders: {{ stable: v1, canary: v2, rollout: {{ revision: a, stages: [5%] }} }}\n\
             routes: [{route}]\n"
        ));
        let output = serin(&["check", "--config", config.path()]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output).to_owned()
    };
    let note = "note: no route goes by flag `orders`, so its rollout sees no requests";
    assert!(notes("{ backend: v1 }").contains(note));
    assert!(!notes("{ flag: orders }").contains("no route"));
}

#[test]
fn a_flag_that_may_be_created_is_told_of_where_the_file_is_explained() {
    let config = Written::new(
        "listeners: [{ address: \"127.0.0.1:8080\" }]\n\
         backends: { v1: http://127.0.0.1:1, v2: http://127.0.0.1:2 }\n\
         flags: { orders: { stable: v1, canary: v2 } }\n\
         routes: [{ path: /new, flag: new, backend: v1 }, { flag: orders }]\n",
    );
    let explained = |path: &str, more: &[&str]| {
        let output = serin(&[&["explain", "--config", config.path(), path][..], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output).to_owned()
    };
    let note = "flag `new` is not in the file; where it was created at run time, `--live` tells";
    assert!(explained("/new", &[]).contains(&format!("\nnote: {note}")));
    let told: Value = explained("/new", &["--json"]).parse().unwrap();
    assert!(told["note"].as_str().unwrap().starts_with(note), "{told}");
    assert!(!explained("/", &[]).contains("note:"));
}
