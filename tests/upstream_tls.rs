//! TLS to backends, by a real library's server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs;
use std::process::Command;

use http::Version;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use support::authority::Issued;
use support::proxy::{SERIN, replace_file};
use support::upstream::{Conduct, Upstream, server_config};
use support::{Authority, Connection, Request, SOON, TestBackend, TestProxy, wait_until};
use tempfile::TempDir;

/// A proxy before a backend of HTTP over TLS as canary, which everyone gets, and a stable one that
/// answers where canary takes no connection.
struct Edge {
    proxy: TestProxy,
    stable: TestBackend,
    folder: TempDir,
}

impl Edge {
    /// With keys of `tls` and of the backend; `authority.pem` is one who is trusted in them.
    fn start(upstream: &Upstream, authority: &Authority, tls: &str, more: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("authority.pem"), &authority.pem).unwrap();
        Self::in_folder(folder, upstream, tls, more)
    }

    fn in_folder(folder: TempDir, upstream: &Upstream, tls: &str, more: &str) -> Self {
        Self::by(Command::new(SERIN), folder, upstream, (tls, more))
    }

    fn by(program: Command, folder: TempDir, upstream: &Upstream, keys: (&str, &str)) -> Self {
        let stable = TestBackend::start("v1");
        let text = config(&stable, upstream, keys.0, keys.1);
        fs::write(folder.path().join("serin.yaml"), text).unwrap();
        Self {
            proxy: TestProxy::in_folder(folder.path(), program),
            stable,
            folder,
        }
    }

    /// Asserts that canary takes no connection, and costs nobody anything.
    #[track_caller]
    fn assert_rescued(&self, cause: &str) {
        assert_eq!(self.proxy.get("/").text(), "v1");
        self.proxy.wait_for_log(cause, SOON);
        self.proxy.get("/bare").problem(502);
        let failures = |failure| {
            let labels = [("variant", "canary"), ("failure", failure)];
            let metrics = self.proxy.metrics();
            metrics.count("serin_backend_failures_total", &labels)
        };
        assert_eq!(failures("connect"), 1);
        let metrics = self.proxy.metrics();
        let backend = [("backend", "v2")];
        assert_eq!(metrics.count("serin_upstream_connects_total", &backend), 0);
        assert_eq!(
            metrics.count("serin_upstream_connect_failures_total", &backend),
            2
        );
    }
}

fn config(stable: &TestBackend, upstream: &Upstream, tls: &str, more: &str) -> String {
    format!(
        "workers: 1\nlisteners: [{{ address: \"127.0.0.1:0\" }}]\n\
         admin: {{ address: \"127.0.0.1:0\" }}\nstate: {{ path: state }}\n\
         backends:\n  v1: \"{}\"\n  \
         v2: {{ endpoints: [\"{}\"], tls: {{ {tls} }}, {more} }}\n\
         flags: {{ shop: {{ stable: v1, canary: v2, default: 100% }} }}\n\
         routes: [{{ path: /bare, backend: v2 }}, {{ flag: shop }}]\n",
        stable.url(),
        upstream.url_by_name()
    )
}

const BOTH: [&str; 2] = ["h2", "http/1.1"];
const CA: &str = "ca: authority.pem";

fn serve(config: ServerConfig) -> Upstream {
    Upstream::start(Conduct::tls(config))
}

/// One that `authority` vouches for, by the name that leads to this machine.
fn genuine(authority: &Authority, protocols: &[&str]) -> Upstream {
    let issued = authority.issue("upstream", &["localhost"]);
    serve(server_config(&issued, None, protocols))
}

#[test]
fn the_best_that_both_speak_is_spoken() {
    let authority = Authority::new();
    for (offered, protocol, agreed, version) in [
        (&BOTH[..], "", Some("h2"), Version::HTTP_2),
        (&BOTH, "protocol: auto", Some("h2"), Version::HTTP_2),
        (&BOTH, "protocol: h1", Some("http/1.1"), Version::HTTP_11),
        (&BOTH, "protocol: h2", Some("h2"), Version::HTTP_2),
        (&BOTH[1..], "", Some("http/1.1"), Version::HTTP_11),
        (&[], "", None, Version::HTTP_11),
    ] {
        let upstream = genuine(&authority, offered);
        let edge = Edge::start(&upstream, &authority, CA, protocol);
        for _ in 0..3 {
            let answer = edge.proxy.get("/path");
            assert_eq!((answer.status, answer.text()), (200, "ok"), "{protocol}");
        }
        let seen = upstream.seen();
        assert_eq!(seen.len(), 1, "the connection is kept");
        assert_eq!(seen[0].protocol.as_deref(), agreed);
        assert_eq!(seen[0].server_name.as_deref(), Some("localhost"));
        assert!(seen[0].is_hybrid && seen[0].client.is_none());
        let asked = &upstream.asked()[0];
        assert_eq!(asked.version, version);
        if version == Version::HTTP_2 {
            assert_eq!(asked.target, "https://shop.test/path");
        } else {
            assert_eq!(asked.fields["host"], "shop.test");
        }
        assert_eq!(edge.stable.requests(), 0);
    }
}

#[test]
fn a_burst_finds_out_once_what_is_spoken() {
    let authority = Authority::new();
    for (offered, at_most) in [(&BOTH[..], 1), (&BOTH[1..], 20)] {
        let upstream = genuine(&authority, offered);
        let edge = Edge::start(&upstream, &authority, CA, "");
        std::thread::scope(|threads| {
            for _ in 0..20 {
                threads.spawn(|| assert_eq!(edge.proxy.get("/slow").text(), "slow"));
            }
        });
        let connections = upstream.seen().len();
        assert!((1..=at_most).contains(&connections), "{connections}");
    }
}

#[test]
fn http2_that_was_demanded_is_not_done_without() {
    let authority = Authority::new();
    let upstream = genuine(&authority, &["http/1.1"]);
    let edge = Edge::start(&upstream, &authority, CA, "protocol: h2");
    edge.assert_rescued("NoApplicationProtocol");
    let upstream = genuine(&authority, &[]);
    let edge = Edge::start(&upstream, &authority, CA, "protocol: h2");
    edge.assert_rescued("does not speak HTTP/2");
    assert_eq!(upstream.asked().len(), 0);
}

#[test]
fn whom_nobody_vouches_for_gets_no_request() {
    let (authority, other) = (Authority::new(), Authority::new());
    let issued = [
        (other.issue("upstream", &["localhost"]), "BadSignature"),
        (
            authority.issue("upstream", &["other.test"]),
            "not valid for name",
        ),
        (
            authority.issue_expired("upstream", &["localhost"]),
            "expired",
        ),
    ];
    for (issued, cause) in issued {
        let upstream = serve(server_config(&issued, None, &BOTH));
        let edge = Edge::start(&upstream, &authority, CA, "");
        edge.assert_rescued(cause);
        let line = edge.proxy.wait_for_log("no connection", SOON);
        assert!(line.contains("WARN") && line.contains("over TLS"), "{line}");
        assert!(upstream.asked().is_empty());
    }
}

#[test]
fn a_server_of_plain_http_is_no_server_of_tls() {
    let conduct = Conduct {
        is_http2: false,
        ..Conduct::http2()
    };
    let plain = Upstream::start(conduct);
    let proxy = TestProxy::start(&format!(
        "backends: {{ v1: \"https://{}\" }}\nroutes: [{{ backend: v1 }}]\n",
        plain.address
    ));
    let problem = proxy.get("/").problem(502);
    assert_eq!(problem["detail"], "the backend cannot be reached over TLS");
    assert!(plain.asked().is_empty());
}

#[test]
fn the_next_endpoint_is_tried() {
    let authority = Authority::new();
    let bad = genuine(&Authority::new(), &BOTH);
    let good = genuine(&authority, &BOTH);
    let urls = format!("\"{}\", \"{}\"", bad.url_by_name(), good.url_by_name());
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("authority.pem"), &authority.pem).unwrap();
    let stable = TestBackend::start("v1");
    let text = config(&stable, &good, CA, "");
    let text = text.replace(&format!("\"{}\"", good.url_by_name()), &urls);
    fs::write(folder.path().join("serin.yaml"), text).unwrap();
    let proxy = TestProxy::in_folder(folder.path(), Command::new(SERIN));
    for _ in 0..4 {
        assert_eq!(proxy.get("/").text(), "ok");
    }
    assert_eq!((stable.requests(), bad.asked().len()), (0, 0));
}

#[test]
fn a_name_may_be_given_and_an_address_may_be_one() {
    let authority = Authority::new();
    let issued = authority.issue("upstream", &["orders.internal"]);
    let upstream = serve(server_config(&issued, None, &BOTH));
    let tls = format!("{CA}, server_name: Orders.internal");
    let edge = Edge::start(&upstream, &authority, &tls, "");
    assert_eq!(edge.proxy.get("/").text(), "ok");
    let name = upstream.seen()[0].server_name.clone();
    assert_eq!(name.as_deref(), Some("orders.internal"));

    let issued = authority.issue("upstream", &["127.0.0.1"]);
    let upstream = serve(server_config(&issued, None, &BOTH));
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("authority.pem"), &authority.pem).unwrap();
    let stable = TestBackend::start("v1");
    let text = config(&stable, &upstream, CA, "");
    let text = text.replace(&upstream.url_by_name(), &upstream.url());
    fs::write(folder.path().join("serin.yaml"), text).unwrap();
    let proxy = TestProxy::in_folder(folder.path(), Command::new(SERIN));
    assert_eq!(proxy.get("/").text(), "ok");
    assert_eq!(upstream.seen()[0].server_name, None);
}

#[test]
fn whom_the_system_trusts_is_trusted_where_nobody_else_is_named() {
    let authority = Authority::new();
    let upstream = genuine(&authority, &BOTH);
    let system = |authority: &Authority| {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("system.pem");
        fs::write(&path, &authority.pem).unwrap();
        let mut program = Command::new("env");
        let trusted = format!("SSL_CERT_FILE={}", path.display());
        program.args([&trusted, SERIN]);
        Edge::by(program, folder, &upstream, ("", ""))
    };
    let edge = system(&authority);
    assert_eq!(edge.proxy.get("/").text(), "ok");
    let edge = system(&Authority::new());
    edge.assert_rescued("BadSignature");
}

/// A server that asks for certificates, and an edge that shows `client`.
fn mutual(authority: &Authority, client: &Issued) -> (Upstream, Edge) {
    let issued = authority.issue("upstream", &["localhost"]);
    let upstream = serve(server_config(&issued, Some(authority), &BOTH));
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("authority.pem"), &authority.pem).unwrap();
    client.write(folder.path(), "client");
    let tls = format!("{CA}, client: {{ cert: client.pem, key: client.key }}");
    let edge = Edge::in_folder(folder, &upstream, &tls, "timeouts: { idle: 200ms }");
    (upstream, edge)
}

fn der(issued: &Issued) -> Vec<u8> {
    let der = CertificateDer::from_pem_slice(issued.cert.as_bytes());
    der.unwrap().to_vec()
}

#[test]
fn a_server_that_asks_sees_who_we_are_and_a_renewed_certificate_too() {
    let authority = Authority::new();
    let client = authority.issue("edge", &["edge.test"]);
    let (upstream, edge) = mutual(&authority, &client);
    assert_eq!(edge.proxy.get("/").text(), "ok");
    assert_eq!(upstream.seen()[0].client, Some(der(&client)));

    let renewed = authority.issue("edge", &["edge.test"]);
    renewed.write(edge.folder.path(), "client");
    wait_until("the new one is shown", SOON, || {
        assert_eq!(edge.proxy.get("/").status, 200);
        upstream.seen().last().unwrap().client == Some(der(&renewed))
    });

    // A key that does not belong to it is refused, and what was there goes on.
    let other = authority.issue("edge", &["edge.test"]);
    replace_file(&edge.folder.path().join("client.key"), &other.key);
    let line = edge
        .proxy
        .wait_for_log("does not belong to the certificate", SOON);
    assert!(line.contains("backends.v2.tls.client.key"), "{line}");
    assert_eq!(edge.proxy.get("/").text(), "ok");
    assert_eq!(edge.stable.requests(), 0);
}

#[test]
fn a_certificate_that_has_expired_is_shown_with_a_warning() {
    let authority = Authority::new();
    let client = authority.issue_expired("edge", &["edge.test"]);
    let (upstream, edge) = mutual(&authority, &client);
    let expected = "the client certificate for backend `v2` has expired";
    let line = edge.proxy.wait_for_log(expected, SOON);
    assert!(line.contains("WARN"), "{line}");
    edge.proxy.get("/bare").problem(502);
    assert!(upstream.asked().is_empty());
    let mut check = Command::new(SERIN);
    let check = check.args(["check", "--config"]);
    let output = check.arg(edge.proxy.config_path()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(&format!("note: {expected}")), "{said}");
}

#[test]
fn who_shows_nothing_or_the_wrong_thing_is_not_served() {
    let authority = Authority::new();
    let issued = authority.issue("upstream", &["localhost"]);
    let mut old = server_config(&issued, Some(&authority), &BOTH);
    let provider = old.crypto_provider().clone();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        std::sync::Arc::new(support::upstream::roots(&authority)),
        provider.clone(),
    );
    let chain = CertificateDer::pem_slice_iter(issued.cert.as_bytes());
    old = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            chain.map(Result::unwrap).collect(),
            rustls_pki_types::PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap(),
        )
        .unwrap();
    // By the older version it is said in the handshake, so stable answers.
    let upstream = serve(old);
    let edge = Edge::start(&upstream, &authority, CA, "");
    edge.assert_rescued("CertificateRequired");
    assert_eq!(upstream.handshakes_failed(), 2);

    // By the newer one it is said after it: before anything is sent where both speak HTTP/2, and
    // else in the place of an answer.
    let upstream = serve(server_config(&issued, Some(&authority), &BOTH));
    let edge = Edge::start(&upstream, &authority, CA, "");
    // The reason is lost where the connection is closed before it is read.
    edge.assert_rescued("cannot be reached over TLS");
    let upstream = serve(server_config(&issued, Some(&authority), &BOTH[1..]));
    let edge = Edge::start(&upstream, &authority, CA, "");
    edge.proxy.get("/").problem(502);
    let labels = [("variant", "canary"), ("failure", "reset")];
    edge.proxy
        .wait_for_count("serin_backend_failures_total", &labels, 1);
    assert_eq!(edge.stable.requests(), 0);

    let stranger = Authority::new().issue("edge", &["edge.test"]);
    let (upstream, edge) = mutual(&authority, &stranger);
    edge.assert_rescued("cannot be reached over TLS");
    assert!(upstream.asked().is_empty());
}

#[test]
fn other_authorities_hold_for_new_connections() {
    let (authority, other) = (Authority::new(), Authority::new());
    let upstream = genuine(&authority, &BOTH);
    let edge = Edge::start(&upstream, &other, CA, "timeouts: { idle: 30s }");
    edge.assert_rescued("BadSignature");
    let path = edge.folder.path().join("authority.pem");
    replace_file(&path, &authority.pem);
    wait_until("it is trusted", SOON, || edge.proxy.get("/").text() == "ok");
    replace_file(&path, &other.pem);
    wait_until("it is not", SOON, || edge.proxy.get("/").text() == "v1");
    let status = edge.proxy.command("GET", "/api/v1/status", "");
    assert!(status.text().contains("authority.pem"), "{}", status.text());

    replace_file(&path, "nothing");
    edge.proxy
        .wait_for_log("`authority.pem` has no certificate", SOON);
    replace_file(&path, &authority.pem);
    wait_until("it is trusted again", SOON, || {
        edge.proxy.get("/").text() == "ok"
    });
}

#[test]
fn a_connection_survives_a_reload_that_does_not_concern_it() {
    let authority = Authority::new();
    let upstream = genuine(&authority, &BOTH);
    let edge = Edge::start(&upstream, &authority, CA, "");
    assert_eq!(edge.proxy.get("/").text(), "ok");
    let text = config(&edge.stable, &upstream, CA, "").replace("default: 100%", "default: 99%");
    edge.proxy.write_config(&text);
    edge.proxy.reload();
    let weight = || edge.proxy.metrics().default_weight("shop");
    wait_until("the weight is there", SOON, || weight() == 9_900);
    edge.proxy.get("/bare");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn who_is_known_is_greeted_shortly() {
    let authority = Authority::new();
    let upstream = genuine(&authority, &["http/1.1"]);
    let edge = Edge::start(&upstream, &authority, CA, "");
    for _ in 0..3 {
        assert_eq!(edge.proxy.get("/close").text(), "closing");
    }
    let resumed: Vec<_> = upstream.seen().iter().map(|seen| seen.is_resumed).collect();
    assert_eq!(resumed, [false, true, true]);
}

#[test]
fn the_time_to_connect_covers_the_handshake() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = TestProxy::start(&format!(
        "backends: {{ v1: {{ endpoints: [\"https://{}\"], timeouts: {{ connect: 300ms }} }} }}\n\
         routes: [{{ backend: v1 }}]\n",
        silent.local_addr().unwrap()
    ));
    proxy.get("/").problem(504);
}

#[test]
fn bodies_arrive_whole_and_cuts_are_seen() {
    const LENGTH: usize = 3_000_001;
    let authority = Authority::new();
    for offered in [&BOTH[..], &BOTH[1..]] {
        let upstream = genuine(&authority, offered);
        let edge = Edge::start(&upstream, &authority, CA, "");
        let body = support::backend::pattern(LENGTH);
        let echo = Request::new("POST", "/echo").body(body.clone());
        let address = edge.proxy.address();
        let answer = Connection::open(address).ask(&echo);
        assert!(answer.is_whole && answer.body == body);
        let mut half = edge.proxy.connect();
        half.send(Request::get("/part").head().as_bytes());
        assert_eq!(half.answer_head().status, 200);
        upstream.cut_connections();
        let labels = [("variant", "canary"), ("failure", "cut_body")];
        edge.proxy
            .wait_for_count("serin_backend_failures_total", &labels, 1);
    }
}

#[test]
fn an_authority_that_the_library_refuses_is_refused_when_it_is_read() {
    let authority = Authority::new();
    let upstream = genuine(&authority, &BOTH);
    let edge = Edge::start(&upstream, &authority, CA, "");
    let path = edge.folder.path().join("authority.pem");
    replace_file(&path, &Authority::peculiar().pem);
    let line = edge
        .proxy
        .wait_for_log("TLS cannot be spoken with this", SOON);
    let config = fs::read_to_string(edge.folder.path().join("serin.yaml")).unwrap();
    let of_v2 = |(_, text): &(usize, &str)| !text.trim_start().starts_with("v2:");
    let mut from_v2 = config.lines().enumerate().skip_while(of_v2);
    let (place, _) = from_v2.find(|(_, text)| text.contains("ca:")).unwrap();
    let place = format!("serin.yaml:{}:", place + 1);
    assert!(
        line.contains(&place) && line.contains("backends.v2.tls.ca"),
        "{line}"
    );
    assert_eq!(edge.proxy.get("/").text(), "ok");
    let mut check = Command::new(SERIN);
    let output = check
        .args(["check", "--config"])
        .arg(edge.proxy.config_path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// Backends that cannot be, and what is told of them.
const PROBLEMS: &[(&str, &str)] = &[
    (
        "{ endpoints: [http://a], tls: {} }",
        "2:47: backends.v1.tls: `tls` beside `http://`; write `https://` in the endpoints' URLs, \
         or remove `tls`",
    ),
    (
        "{ endpoints: [https://a, http://b] }",
        "2:42: backends.v1.endpoints[1]: `http://` in a backend that begins with `https://`; \
         give all endpoints of a backend one scheme, or make two backends of them",
    ),
    (
        "{ endpoints: [https://a], tls: { ca: gone.pem } }",
        "2:54: backends.v1.tls.ca: cannot read `gone.pem`",
    ),
    (
        "{ endpoints: [https://a], tls: { ca: a.key } }",
        "2:54: backends.v1.tls.ca: `a.key` has no certificate; give a PEM file",
    ),
    (
        "{ endpoints: [https://a], tls: { client: { cert: a.pem, key: b.key } } }",
        "2:78: backends.v1.tls.client.key: the private key in `b.key` does not belong to the \
         certificate",
    ),
    (
        "{ endpoints: [https://a], tls: { client: { cert: a.pem } } }",
        "2:58: backends.v1.tls.client: `key` is missing",
    ),
    (
        "{ endpoints: [https://a], tls: { server_name: \"https://a\" } }",
        "2:63: backends.v1.tls.server_name: `https://a` is no host name; write it without scheme",
    ),
    (
        "{ endpoints: [https://a], tls: { sni: a } }",
        "unknown key `sni`",
    ),
    (
        "{ endpoints: [https://-a] }",
        "2:31: backends.v1.endpoints[0]: `-a` is no name for TLS; say with `tls.server_name`",
    ),
    (
        "{ endpoints: [https://a], protocol: h3 }",
        "backends.v1.protocol: ",
    ),
];

#[test]
fn what_is_wrong_with_tls_is_told_at_its_place() {
    let authority = Authority::new();
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("authority.pem"), &authority.pem).unwrap();
    authority.issue("a", &["a.test"]).write(folder.path(), "a");
    authority.issue("b", &["b.test"]).write(folder.path(), "b");
    for (backend, problem) in PROBLEMS {
        let text = format!(
            "listeners: [{{ address: \"127.0.0.1:0\" }}]\nbackends: {{ v1: {backend} }}\n\
             routes: [{{ backend: v1 }}]\n"
        );
        let path = folder.path().join("serin.yaml");
        fs::write(&path, text).unwrap();
        let mut check = Command::new(SERIN);
        let output = check
            .args(["check", "--config"])
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(problem), "{backend}: {said}");
    }
}
