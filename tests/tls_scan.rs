//! TLS as a scanner sees it that knows every weakness with a name.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::proxy::{SERIN, backends};
use support::{Authority, TestBackend, TestProxy, wait_for};
use tempfile::TempDir;

/// How long a scan may take; it takes half a minute on two cores that have something else to do.
const SCAN_MAX: Duration = Duration::from_secs(180);

/// What is found, by the scanner's own names.
type Findings = BTreeMap<String, (String, String)>;

/// Has a proxy scanned; it must be as good afterwards as before.
fn scan(options: &[&str]) -> Findings {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    authority
        .issue("shop", &["shop.test"])
        .write(folder.path(), "shop");
    let backend = TestBackend::start("v1");
    let config = format!(
        "listeners: [{{ address: \"127.0.0.1:0\", tls: {{ certificates: [{{ cert: shop.pem, key: shop.key }}] }} }}]\n\
         admin: {{ address: \"127.0.0.1:0\" }}\nstate: {{ path: state }}\n{}routes: [{{ backend: v1 }}]\n",
        backends(&[("v1", &backend)])
    );
    fs::write(folder.path().join("serin.yaml"), config).unwrap();
    let proxy = TestProxy::in_folder(folder.path(), Command::new(SERIN));
    let found = folder.path().join("found.json");
    let mut scanner = Command::new("testssl")
        .args([
            "--quiet",
            "--color=0",
            "--warnings=off",
            "--nodns=none",
            "--ip=127.0.0.1",
        ])
        .args(["--connect-timeout=5", "--openssl-timeout=5", "--jsonfile"])
        .arg(&found)
        .args(options)
        .arg(format!("shop.test:{}", proxy.address().port()))
        .stdin(Stdio::null())
        .stdout(fs::File::create(folder.path().join("said")).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the scan ends", SCAN_MAX, || scanner.try_wait().unwrap());
    let said = fs::read_to_string(folder.path().join("said")).unwrap();
    let text = fs::read_to_string(&found).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!(proxy.command("GET", "/readyz", "").status, 200);
    assert!(!proxy.log().contains("panicked"));
    let all: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{said}"));
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = all.iter().map(|finding| {
        let what = (word(finding, "severity"), word(finding, "finding"));
        (word(finding, "id"), what)
    });
    findings.collect()
}

/// What must be among the findings, and be good or say this.
const EXPECTED: &[(&str, &str)] = &[
    ("SSLv2", "not offered"),
    ("SSLv3", "not offered"),
    ("TLS1", "not offered"),
    ("TLS1_1", "not offered"),
    ("TLS1_2", "offered"),
    ("TLS1_3", "offered"),
    ("ALPN_HTTP2", "h2"),
    ("ALPN", "http/1.1"),
    ("cipherlist_NULL", "not offered"),
    ("cipherlist_aNULL", "not offered"),
    ("cipherlist_EXPORT", "not offered"),
    ("cipherlist_LOW", "not offered"),
    ("cipherlist_3DES_IDEA", "not offered"),
    // Those with CBC.
    ("cipherlist_AVERAGE", "not offered"),
    ("cipherlist_STRONG", "offered"),
    ("PFS", "offered"),
    ("cipher_order", "server"),
    ("protocol_negotiated", "Default protocol TLS1.3"),
    ("heartbleed", "not vulnerable"),
    ("CCS", "not vulnerable"),
    ("ticketbleed", "not vulnerable"),
    ("ROBOT", "not vulnerable"),
    ("secure_renego", "supported"),
    ("secure_client_renego", "not vulnerable"),
    ("CRIME_TLS", "not vulnerable"),
    ("BREACH", "not vulnerable"),
    ("POODLE_SSL", "not vulnerable"),
    ("fallback_SCSV", "no protocol below TLS 1.2 offered"),
    ("SWEET32", "not vulnerable"),
    ("FREAK", "not vulnerable"),
    ("DROWN", "not vulnerable"),
    ("LOGJAM", "not vulnerable"),
    ("BEAST", "not vulnerable"),
    ("LUCKY13", "not vulnerable"),
    ("RC4", "not vulnerable"),
];

/// Of the scanner itself, not of what it looks at.
const OF_THE_SCANNER: [&str; 2] = ["engine_problem", "scanTime"];

#[test]
fn a_scanner_finds_nothing() {
    let found = scan(&["-p", "-s", "-f", "-P", "-U", "--sneaky"]);
    for (id, expected) in EXPECTED {
        let said = found.get(*id).map(|(_, said)| said.as_str());
        let is_right = said.is_some_and(|said| said.starts_with(expected));
        assert!(is_right, "{id}: {said:?}, not `{expected}`");
    }
    for (id, (severity, said)) in &found {
        let is_good = matches!(severity.as_str(), "OK" | "INFO");
        assert!(
            is_good || OF_THE_SCANNER.contains(&id.as_str()),
            "{id}: {severity}: {said}"
        );
    }
}
