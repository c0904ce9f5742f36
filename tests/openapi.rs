//! The API's description: it is what the standard wants, it tells of every route, and what the API answers
//! is what it says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::proxy::backends;
use support::{Request, TestBackend, TestProxy, wait_for};
use tempfile::TempDir;

const PATH: &str = "/api/v1/openapi.json";

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// How long the checker asks, in seconds. With fewer than thirty it does not get through all operations.
const ASKING_SECONDS: &str = "45";

/// How long it may take in all, on cores that have something else to do.
const CHECK_MAX: Duration = Duration::from_secs(150);

/// What has no end.
const STREAMS: [&str; 3] = ["/api/v1/events", "/api/v1/requests", "/ofrep/v1/events"];

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

fn start(admin: &str) -> (TestProxy, [TestBackend; 2]) {
    let [v1, v2] = ["v1", "v2"].map(TestBackend::start);
    let config = backends(&[("v1", &v1), ("v2", &v2)])
        + "identity: [{ header: x-user-id }]\ntrusted_proxies: [127.0.0.1]\n\
           groups: { beta: { header: { x-beta: \"1\" } } }\n\
           flags:\n\
           \x20 orders: { stable: v1, canary: v2, groups: { beta: 5% } }\n\
           \x20 search: { stable: v1, canary: v2, rollout: { revision: a, stages: [5%, 50%] } }\n\
           routes: [{ path: /search, flag: search }, { flag: orders }]\n";
    (TestProxy::on_fast_disk(admin, &config), [v1, v2])
}

fn document(proxy: &TestProxy) -> Value {
    let answer = proxy.command("GET", PATH, "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.field("content-type"), Some("application/json"));
    answer.json()
}

/// All operations: path and method.
fn operations(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(|method| (path.clone(), method.clone()))
    });
    operations.collect()
}

/// A program that is not of Debian.
fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.stdin(Stdio::null());
    command
}

#[test]
fn the_description_is_what_the_standard_wants() {
    let (proxy, _backends) = start("");
    let document = document(&proxy);
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "Serin API");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("openapi.json");
    fs::write(&file, document.to_string()).unwrap();
    let checked = tool("openapi-spec-validator").arg(&file).output();
    let checked = checked.expect("`openapi-spec-validator` is there: `tests/run` installs it");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{said}");
    // A flag is defined as the file defines it.
    let body = &document["paths"]["/api/v1/flags/{flag}"]["put"]["requestBody"];
    let schema = &body["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(schema, "#/components/schemas/FlagDocument");
    let rollout = &document["components"]["schemas"]["RolloutDocument"]["properties"];
    assert!(rollout["stages"].is_object(), "{rollout}");
    // Every operation has a name of its own, a summary, and tells of what goes wrong in one form.
    let mut names = BTreeSet::new();
    for (path, method) in operations(&document) {
        let operation = &document["paths"][&path][&method];
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name.to_owned()), "{name} is there twice");
        assert!(operation["summary"].is_string(), "{name}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let is_problem = response["content"]["application/problem+json"].is_object();
            assert_eq!(is_problem, status.as_str() >= "400", "{name}: {status}");
        }
    }
}

#[test]
fn every_route_is_described_and_everything_described_is_there() {
    let (proxy, _backends) = start("");
    let document = document(&proxy);
    let described = operations(&document);
    for (path, _) in &described {
        for method in METHODS {
            let asked = path
                .replace("{flag}", "orders")
                .replace("{group}", "beta")
                .replace("{verb}", "nonsense");
            if STREAMS.contains(&path.as_str()) && method == "get" {
                continue;
            }
            let answer = proxy.command(&method.to_uppercase(), &asked, "");
            let is_there = answer.status != 405 && !answer.text().contains("nothing at this path");
            let is_described = described.contains(&(path.clone(), method.to_owned()));
            assert_eq!(is_there, is_described, "{method} {path}: {}", answer.status);
        }
    }
    // Routes are added in one way only, which is by what is written above their handlers.
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/routes.rs");
    let source = fs::read_to_string(source).unwrap();
    for other in [
        ".route(",
        ".route_service(",
        ".nest(",
        ".nest_service(",
        ".merge(",
    ] {
        assert!(
            !source.contains(other),
            "`{other}` adds what nobody describes"
        );
    }
    let handlers = source.split("routes!(").skip(1);
    let handlers = handlers.map(|rest| rest.split(')').next().unwrap().split(',').count());
    assert_eq!(handlers.sum::<usize>(), described.len());
}

#[test]
fn who_may_look_may_read_the_description_and_nobody_else() {
    let viewer = format!("tokens: [{{ name: eye, role: viewer, token: \"{TOKEN}\" }}]");
    let (proxy, _backends) = start(&viewer);
    proxy.command("GET", PATH, "").problem(401);
    let request = Request::get(PATH).field("authorization", &format!("Bearer {TOKEN}"));
    assert_eq!(request.send_to(proxy.admin()).status, 200);
}

#[test]
fn what_is_answered_is_what_is_described() {
    let operator = format!("tokens: [{{ name: ci, role: operator, token: \"{TOKEN}\" }}]");
    let (proxy, _backends) = start(&operator);
    let folder = TempDir::new().unwrap();
    let file = |name: &str| folder.path().join(name);
    // What is there, so that not all that is asked for is unknown.
    let settings = "[parameters]\n\
        \"path.group\" = \"beta\"\n\"path.flag\" = \"orders\"\n\"path.key\" = [\"orders\", \"ann\", \"a b\"]\n\
        [[operations]]\ninclude-path-regex = \"/rollouts/\"\nparameters = { \"path.flag\" = \"search\" }\n";
    fs::write(file("settings.toml"), settings).unwrap();
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,\
                  response_schema_conformance,response_headers_conformance,unsupported_method,\
                  allow_header_conformance";
    let mut checker = tool("schemathesis");
    checker
        .arg("--config-file")
        .arg(file("settings.toml"))
        .args(["run", "--no-color", "--checks", checks, "--seed=1"])
        .args(["--max-time", ASKING_SECONDS, "--request-timeout=60"])
        .args(STREAMS.iter().flat_map(|path| ["--exclude-path", path]))
        .args(["-H", &format!("Authorization: Bearer {TOKEN}")])
        .arg(format!("http://{}{PATH}", proxy.admin()))
        .current_dir(folder.path())
        .stdout(File::create(file("said")).unwrap())
        .stderr(File::create(file("complained")).unwrap());
    let checker = checker.spawn();
    let mut checker = checker.expect("`schemathesis` is there: `tests/run` installs it");
    let ended = wait_for("the check ends", CHECK_MAX, || checker.try_wait().unwrap());
    let said = fs::read_to_string(file("said")).unwrap();
    assert!(ended.success(), "{said}");
    let operations = operations(&{
        let request = Request::get(PATH).field("authorization", &format!("Bearer {TOKEN}"));
        request.send_to(proxy.admin()).json()
    });
    // It does not ask for the description itself again.
    let tested = format!("Tested: {}\n", operations.len() - 1 - STREAMS.len());
    assert!(said.contains(&tested), "expected {tested}{said}");
    assert!(!proxy.log().contains("panicked"));
    assert_eq!(proxy.command("GET", "/readyz", "").status, 200);
}
