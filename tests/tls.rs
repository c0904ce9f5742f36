//! TLS with clients, by real ones: curl, `openssl s_client` and a library's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustls::{ClientConnection, NamedGroup, StreamOwned};
use rustls_pki_types::ServerName;
use serin::runtime::clock;
use support::authority::Issued;
use support::backend::pattern;
use support::proxy::{SERIN, backends};
use support::{Authority, Behaviour, Connection, Request, SOON, TestBackend, TestProxy, wait_for};
use tempfile::TempDir;

/// The certificates that most tests serve, by the names of their files: subject and names.
const CERTIFICATES: [(&str, &str, &[&str]); 3] = [
    ("first", "first", &["first.test"]),
    ("shop", "shop", &["shop.test"]),
    ("wild", "wild", &["*.shop.test", "deep.shop.test"]),
];

/// A proxy that serves TLS before one backend.
struct Edge {
    proxy: TestProxy,
    backend: TestBackend,
    authority: Authority,
    folder: TempDir,
}

impl Edge {
    fn start() -> Self {
        Self::with("")
    }

    /// With more keys of `tls`.
    fn with(tls: &str) -> Self {
        let authority = Authority::new();
        let folder = TempDir::new().unwrap();
        for (file, subject, names) in CERTIFICATES {
            authority.issue(subject, names).write(folder.path(), file);
        }
        let backend = TestBackend::start("v1");
        let proxy = serve(folder.path(), &config(&backend, tls));
        Self {
            proxy,
            backend,
            authority,
            folder,
        }
    }

    fn port(&self) -> String {
        self.proxy.address().port().to_string()
    }

    /// The file by which clients know the authority.
    fn authority_file(&self) -> PathBuf {
        let path = self.folder.path().join("authority.crt");
        fs::write(&path, &self.authority.pem).unwrap();
        path
    }

    /// Asks for `https://shop.test/` by curl.
    fn curl(&self, options: &[&str]) -> Output {
        let resolve = format!("shop.test:{}:127.0.0.1", self.port());
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "30", "--http1.1"])
            .args(["--resolve", &resolve, "--cacert"])
            .arg(self.authority_file())
            .args(options)
            .arg(format!("https://shop.test:{}/", self.port()))
            .output()
            .unwrap()
    }

    /// What `openssl s_client` says of a handshake.
    fn openssl(&self, options: &[&str]) -> String {
        let mut openssl = Command::new("openssl");
        openssl
            .args(["s_client", "-connect", &self.proxy.address().to_string()])
            .arg("-CAfile")
            .arg(self.authority_file())
            .args(options)
            .stdin(Stdio::null());
        text(&openssl.output().unwrap())
    }

    /// The subject of the certificate that a client gets for a name.
    fn subject(&self, name: Option<&str>) -> String {
        let said = match name {
            Some(name) => self.openssl(&["-servername", name]),
            None => self.openssl(&["-noservername"]),
        };
        let line = said.lines().find(|line| line.starts_with("subject="));
        let subject = line.unwrap_or_else(|| panic!("{said}"));
        subject.rsplit(['=', ' ']).next().unwrap().to_owned()
    }

    /// A connection to `shop.test` on which requests can be sent.
    fn connect(&self) -> Secure {
        let name = ServerName::try_from("shop.test").unwrap();
        let client = ClientConnection::new(self.authority.trusting_client(), name).unwrap();
        let socket = TcpStream::connect(self.proxy.address()).unwrap();
        socket.set_read_timeout(Some(3 * SOON)).unwrap();
        Secure(StreamOwned::new(client, socket))
    }

    fn count(&self, result: &str) -> u64 {
        let labels = [("result", result)];
        self.proxy
            .metrics()
            .count("serin_tls_handshakes_total", &labels)
    }

    fn wait_for_count(&self, result: &str, count: u64) {
        let labels = [("result", result)];
        self.proxy
            .wait_for_count("serin_tls_handshakes_total", &labels, count);
    }
}

/// A client's end of a connection.
struct Secure(StreamOwned<ClientConnection, TcpStream>);

impl Secure {
    /// Sends a request and reads the answer of a backend that says its name, `v1`.
    fn ask(&mut self) {
        let head = Request::get("/").head();
        self.0.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nv1") {
            let mut bytes = [0; 1024];
            let count = self.0.read(&mut bytes).unwrap();
            assert!(
                count > 0,
                "closed after {}",
                String::from_utf8_lossy(&answer)
            );
            answer.extend_from_slice(&bytes[..count]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    }
}

fn serve(folder: &Path, config: &str) -> TestProxy {
    fs::write(folder.join("serin.yaml"), config).unwrap();
    // Set by a program in between, for whoever starts the proxy takes the variable away.
    let mut program = Command::new("env");
    program.args(["SERIN_LOG=debug", SERIN]);
    TestProxy::in_folder(folder, program)
}

/// A configuration that serves [`CERTIFICATES`], with more keys of `tls`.
fn config(backend: &TestBackend, tls: &str) -> String {
    let certificates =
        CERTIFICATES.map(|(file, ..)| format!("{{ cert: {file}.pem, key: {file}.key }}"));
    format!(
        "workers: 2\n\
         listeners:\n  - address: \"127.0.0.1:0\"\n    \
         tls: {{ certificates: [{}], {tls} }}\n\
         admin: {{ address: \"127.0.0.1:0\" }}\nstate: {{ path: state }}\n{}\
         routes: [{{ backend: v1 }}]\n",
        certificates.join(", "),
        backends(&[("v1", backend)])
    )
}

fn text(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

#[track_caller]
fn assert_answered(output: &Output) {
    assert!(output.status.success(), "{}", text(output));
    assert_eq!(output.stdout, b"v1");
}

#[test]
fn both_versions_are_spoken_and_the_backend_is_told() {
    let edge = Edge::start();
    for version in ["1.2", "1.3"] {
        let oldest = format!("--tlsv{version}");
        assert_answered(&edge.curl(&[&oldest, "--tls-max", version]));
        let head = edge.backend.last_head();
        assert_eq!(head.field("x-forwarded-proto"), Some("https"));
        let port = edge.port();
        let forwarded = format!("for=127.0.0.1;host=\"shop.test:{port}\";proto=https");
        assert_eq!(head.field("forwarded"), Some(forwarded.as_str()));
    }
    assert_eq!(edge.count("completed"), 2);
    assert_eq!((edge.count("failed"), edge.count("timed_out")), (0, 0));
}

#[test]
fn an_older_version_than_wanted_is_refused() {
    // Seldom spoken by clients either; these options have this one speak it.
    let old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    let edge = Edge::start();
    let said = edge.openssl(&old);
    assert!(
        said.contains("SSL alert number") && said.contains("(NONE)"),
        "{said}"
    );
    assert!(edge.openssl(&["-tls1_2"]).contains("Protocol  : TLSv1.2"));

    let strict = Edge::with("min_version: \"1.3\"");
    let said = strict.openssl(&["-tls1_2"]);
    assert!(said.contains("alert protocol version"), "{said}");
    assert!(strict.openssl(&["-tls1_3"]).contains("New, TLSv1.3"));
    strict.wait_for_count("failed", 1);
}

#[test]
fn the_name_that_is_asked_for_picks_the_certificate() {
    let edge = Edge::start();
    for (name, subject) in [
        (Some("first.test"), "first"),
        (Some("shop.test"), "shop"),
        (Some("SHOP.test"), "shop"),
        (Some("www.shop.test"), "wild"),
        (Some("deep.shop.test"), "wild"),
        (Some("a.b.shop.test"), "first"),
        (Some("elsewhere.test"), "first"),
        (None, "first"),
    ] {
        assert_eq!(edge.subject(name), subject, "{name:?}");
    }
}

#[test]
fn a_client_that_offers_other_protocols_only_is_told_so() {
    let edge = Edge::start();
    let said = edge.openssl(&["-alpn", "spdy/3"]);
    assert!(said.contains("no application protocol"), "{said}");
    edge.wait_for_count("failed", 1);
    // Of what both speak the newer is taken, in whatever order it is offered.
    for (offered, agreed) in [
        ("http/1.1", "http/1.1"),
        ("http/1.1,h2", "h2"),
        ("h2", "h2"),
    ] {
        let said = edge.openssl(&["-alpn", offered]);
        assert!(said.contains(&format!("ALPN protocol: {agreed}")), "{said}");
    }
}

#[test]
fn a_certificate_of_the_first_version_is_refused_before_it_is_served() {
    let folder = TempDir::new().unwrap();
    // What openssl issues unless it is told of extensions.
    let commands = "openssl req -newkey rsa:2048 -nodes -keyout a.key -subj /CN=a.test -out a.csr \
                    && openssl x509 -req -in a.csr -signkey a.key -out a.pem";
    let mut shell = Command::new("sh");
    let issued = shell.args(["-c", commands]).current_dir(folder.path());
    assert!(issued.output().unwrap().status.success());
    let backend = TestBackend::start("v1");
    let config = format!(
        "listeners: [{{ address: \"127.0.0.1:0\", tls: {{ certificates: [{{ cert: a.pem, key: a.key }}] }} }}]\n\
         {}routes: [{{ backend: v1 }}]\n",
        backends(&[("v1", &backend)])
    );
    fs::write(folder.path().join("serin.yaml"), config).unwrap();
    let mut check = Command::new(SERIN);
    let check = check.args(["check", "--config", "serin.yaml"]);
    let said = check.current_dir(folder.path()).output().unwrap();
    assert_eq!(said.status.code(), Some(2));
    let text = text(&said);
    assert!(
        text.contains("serin.yaml:1:") && text.contains("version 1"),
        "{text}"
    );
}

#[test]
fn keys_are_exchanged_by_the_hybrid_where_the_client_can() {
    let edge = Edge::start();
    let mut secure = edge.connect();
    secure.ask();
    let group = secure.0.conn.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
    let said = edge.openssl(&["-groups", "X25519"]);
    assert!(said.contains("Server Temp Key: X25519"), "{said}");
}

#[test]
fn the_server_chooses_the_cipher() {
    let edge = Edge::start();
    let offered = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
    let said = edge.openssl(&["-tls1_3", "-ciphersuites", offered]);
    assert!(said.contains("Cipher is TLS_AES_256_GCM_SHA384"), "{said}");
}

#[test]
fn who_comes_back_with_a_ticket_is_known_by_every_worker() {
    let edge = Edge::start();
    let said = edge.openssl(&["-tls1_2", "-servername", "shop.test", "-reconnect"]);
    assert_eq!(said.matches("Reused, TLSv1.2").count(), 5, "{said}");
}

#[test]
fn a_body_arrives_whole_in_both_directions() {
    const LENGTH: usize = 9 * 1024 * 1024 + 7;
    let edge = Edge::start();
    let body = edge.folder.path().join("body");
    fs::write(&body, pattern(LENGTH)).unwrap();
    edge.backend.behave(Behaviour::Verify);
    let data = format!("@{}", body.display());
    let answer = edge.curl(&["--data-binary", &data]);
    assert_eq!(text(&answer), format!("{LENGTH} bytes as sent"));
    edge.backend.behave(Behaviour::Bytes(LENGTH));
    let answer = edge.curl(&[]);
    assert!(answer.status.success());
    assert!(answer.stdout == pattern(LENGTH), "it is another body");
}

#[test]
fn another_certificate_is_served_to_new_connections_and_old_ones_go_on() {
    let edge = Edge::start();
    let mut old = edge.connect();
    old.ask();
    let issued = edge.authority.issue("renewed", &["shop.test"]);
    issued.write(edge.folder.path(), "shop");
    let what = "the new certificate is served";
    wait_for(what, SOON, || {
        (edge.subject(Some("shop.test")) == "renewed").then_some(())
    });
    old.ask();
    edge.connect().ask();
    let settings = format!("{} # more\n", config(&edge.backend, "min_version: \"1.3\""));
    edge.proxy.write_config(&settings);
    edge.proxy.reload();
    wait_for("only the newer version is spoken", SOON, || {
        let said = edge.openssl(&["-tls1_2"]);
        said.contains("alert protocol version").then_some(())
    });
    old.ask();
    assert_eq!(edge.backend.requests(), 4);
}

#[test]
fn a_broken_certificate_is_refused_and_the_old_one_stays() {
    let edge = Edge::start();
    let path = edge.folder.path().join("shop.pem");
    let good = fs::read_to_string(&path).unwrap();
    let is_current = || {
        edge.proxy
            .metrics()
            .count("serin_config_last_reload_success", &[])
            == 1
    };
    let key = edge.authority.issue("other", &["shop.test"]).key;
    for (file, content, problem) in [
        ("shop.pem", "nothing", "`shop.pem` has no certificate"),
        (
            "shop.key",
            key.as_str(),
            "does not belong to the certificate",
        ),
    ] {
        let path = edge.folder.path().join(file);
        let before = fs::read_to_string(&path).unwrap();
        fs::write(&path, content).unwrap();
        edge.proxy.reload();
        let line = edge.proxy.wait_for_log(problem, SOON);
        assert!(
            line.contains("configuration refused") && line.contains("serin.yaml:4:"),
            "{line}"
        );
        wait_for("the metric says so", SOON, || (!is_current()).then_some(()));
        let status = edge.proxy.command("GET", "/api/v1/status", "");
        assert!(status.text().contains(problem), "{}", status.text());
        assert_eq!(edge.subject(Some("shop.test")), "shop");
        edge.connect().ask();
        fs::write(&path, before).unwrap();
        edge.proxy.reload();
        wait_for("all is well again", SOON, || is_current().then_some(()));
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), good);
}

#[test]
fn a_peer_that_says_nothing_is_cut_off_in_time() {
    let edge = Edge::with("handshake_timeout: 300ms");
    let begun = clock::monotonic();
    let mut silent = Connection::open(edge.proxy.address());
    assert!(silent.is_closed());
    let lasted = begun.elapsed();
    assert!(lasted >= Duration::from_millis(250), "{lasted:?}");
    // A beginning does not help.
    let mut slow = Connection::open(edge.proxy.address());
    slow.send(&[0x16, 3, 1, 2, 0, 1]);
    assert!(slow.is_closed());
    edge.wait_for_count("timed_out", 2);
    let line = edge.proxy.wait_for_log("handshake failed", SOON);
    assert!(
        line.contains("DEBUG") && line.contains("not done within 300ms"),
        "{line}"
    );
    edge.connect().ask();
}

#[test]
fn plain_http_is_no_handshake_and_nobodys_failure() {
    let edge = Edge::start();
    let mut plain = Connection::open(edge.proxy.address());
    plain.send_in_vain(b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n");
    let mut said = Vec::new();
    let mut bytes = [0; 1024];
    while let Ok(count @ 1..) = plain.read(&mut bytes) {
        said.extend_from_slice(&bytes[..count]);
    }
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
    edge.wait_for_count("failed", 1);
    // Nor is a client that does not trust us, or leaves.
    let strange = edge.openssl(&["-verify_return_error", "-CAfile", "/dev/null"]);
    assert!(
        strange.contains("verify error") || strange.contains("error"),
        "{strange}"
    );
    drop(Connection::open(edge.proxy.address()));
    wait_for("two more", SOON, || {
        (edge.count("failed") >= 2).then_some(())
    });
    assert_eq!(edge.proxy.metrics().count("serin_requests_total", &[]), 0);
    assert_eq!(edge.backend.requests(), 0);
    edge.connect().ask();
}

#[test]
fn a_handshake_under_way_does_not_keep_it_from_stopping() {
    let edge = Edge::with("handshake_timeout: 1m");
    let mut silent = Connection::open(edge.proxy.address());
    edge.connect().ask();
    let begun = clock::monotonic();
    assert!(edge.proxy.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(silent.is_closed());
}

#[test]
fn a_certificate_that_is_not_good_now_is_served_with_a_warning() {
    let authority = Authority::new();
    let folder = TempDir::new().unwrap();
    for (file, subject, names) in CERTIFICATES {
        let issued: Issued = match file {
            "shop" => authority.issue_expired(subject, names),
            _ => authority.issue(subject, names),
        };
        issued.write(folder.path(), file);
    }
    let backend = TestBackend::start("v1");
    let proxy = serve(folder.path(), &config(&backend, ""));
    let expected = "the certificate for `shop.test` at 127.0.0.1:0 has expired";
    let line = proxy.wait_for_log(expected, SOON);
    assert!(line.contains("WARN"), "{line}");
    let mut check = Command::new(SERIN);
    let check = check.args(["check", "--config"]).arg(proxy.config_path());
    let output = check.output().unwrap();
    assert!(output.status.success());
    assert!(
        text(&output).contains(&format!("note: {expected}")),
        "{}",
        text(&output)
    );
}

#[test]
fn whether_a_listener_has_tls_takes_a_restart() {
    let edge = Edge::start();
    let text = config(&edge.backend, "");
    let plain: Vec<_> = text.lines().filter(|line| !line.contains("tls:")).collect();
    edge.proxy.write_config(&plain.join("\n"));
    edge.proxy.reload();
    let line = edge
        .proxy
        .wait_for_log("cannot change while Serin runs", SOON);
    assert!(line.contains("`listeners`"), "{line}");
    edge.connect().ask();
}
