//! PROXY headers: whom they name is the client for everything, and only those who are trusted are
//! asked for them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output};

use rustls::{ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use support::backend::Head;
use support::proxy::{SERIN, backends};
use support::{Authority, Connection, Request, SOON, TestBackend, TestProxy, wait_for};
use tempfile::TempDir;

/// The peer of all tests, and the network of a second proxy.
const TRUSTING: &str = "[127.0.0.1, 10.0.0.0/8]";

/// A network that none of the tests comes from.
const DISTRUSTING: &str = "[192.0.2.0/24]";

/// A header of version 1 for a client of the office.
const TEXT: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n";

/// A proxy that gets canary, `b`, for the office, and stable, `a`, for everybody else.
struct Edge {
    proxy: TestProxy,
    a: TestBackend,
    b: TestBackend,
    authority: Authority,
    folder: TempDir,
}

impl Edge {
    fn start() -> Self {
        Self::with(TRUSTING, "")
    }

    fn with_tls(trusted: &str) -> Self {
        let tls = "tls: { certificates: [{ cert: shop.pem, key: shop.key }] }";
        Self::with(trusted, tls)
    }

    /// Who is trusted, and more keys of the listener.
    fn with(trusted: &str, listener: &str) -> Self {
        let authority = Authority::new();
        let folder = TempDir::new().unwrap();
        let issued = authority.issue("shop", &["shop.test"]);
        issued.write(folder.path(), "shop");
        let (a, b) = (TestBackend::start("a"), TestBackend::start("b"));
        let text = config(
            &a,
            &b,
            trusted,
            &format!("proxy_protocol: from_trusted, {listener}"),
        );
        let proxy = serve(folder.path(), &text);
        Self {
            proxy,
            a,
            b,
            authority,
            folder,
        }
    }

    /// What the backend sees of a request behind a header, and which backend that is.
    fn seen(&self, header: &[u8], request: &Request) -> (Head, String) {
        let mut connection = self.proxy.connect();
        connection.send(&[header, request.head().as_bytes()].concat());
        let answer = connection.answer();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let backend = if answer.text() == "a" {
            &self.a
        } else {
            &self.b
        };
        (backend.last_head(), answer.text().to_owned())
    }

    fn requests(&self) -> usize {
        self.a.requests() + self.b.requests()
    }

    /// Asks by curl, which sends a header of version 1 with its own address.
    fn curl(&self, options: &[&str]) -> Output {
        let port = self.proxy.address().port();
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "30"])
            .args(["--resolve", &format!("shop.test:{port}:127.0.0.1")])
            .args(options)
            .output()
            .unwrap()
    }
}

/// A configuration with the keys of its listener.
fn config(a: &TestBackend, b: &TestBackend, trusted: &str, listener: &str) -> String {
    format!(
        "workers: 2\nlisteners:\n  - {{ address: \"127.0.0.1:0\", {listener} }}\n\
         admin: {{ address: \"127.0.0.1:0\" }}\nstate: {{ path: state }}\n\
         trusted_proxies: {trusted}\nidentity: [{{ header: x-user-id }}, client_ip]\n{}\
         groups: {{ office: {{ ip: [203.0.113.0/24, \"2001:db8::/32\"] }} }}\n\
         flags: {{ orders: {{ stable: a, canary: b, groups: {{ office: 100% }} }} }}\n\
         routes: [{{ flag: orders }}]\n",
        backends(&[("a", a), ("b", b)])
    )
}

fn serve(folder: &Path, config: &str) -> TestProxy {
    fs::write(folder.join("serin.yaml"), config).unwrap();
    // Set by a program in between, for whoever starts the proxy takes the variable away.
    let mut program = Command::new("env");
    program.args(["SERIN_LOG=debug", SERIN]);
    TestProxy::in_folder(folder, program)
}

/// A header of version 2: command, family, and what comes after.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    let start = b"\r\n\r\n\0\r\nQUIT\n";
    [&start[..], &[command, family], &length, rest].concat()
}

/// The same for a client of the office, with more fields.
fn binary_v4(fields: &[u8]) -> Vec<u8> {
    let addresses = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
    binary(0x21, 0x11, &[&addresses[..], fields].concat())
}

fn binary_v6() -> Vec<u8> {
    let client = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap();
    binary(0x21, 0x21, &[&client.octets()[..], &[0; 20]].concat())
}

#[test]
fn whom_the_header_names_is_the_client() {
    let edge = Edge::start();
    // A padding, a unique id, and a kind that nobody knows.
    let fields = [4, 0, 3, 0, 0, 0, 5, 0, 2, b'i', b'd', 0xee, 0, 1, 7];
    for (header, client, node) in [
        (TEXT.to_vec(), "203.0.113.7", "203.0.113.7"),
        (
            b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n".to_vec(),
            "2001:db8::7",
            "\"[2001:db8::7]\"",
        ),
        (binary_v4(&[]), "203.0.113.7", "203.0.113.7"),
        (binary_v4(&fields), "203.0.113.7", "203.0.113.7"),
        (binary_v6(), "2001:db8::7", "\"[2001:db8::7]\""),
    ] {
        let (head, backend) = edge.seen(&header, &Request::get("/"));
        assert_eq!(backend, "b", "{}", header.escape_ascii());
        assert_eq!(head.field("x-forwarded-for"), Some(client));
        let forwarded = format!("for={node};host=shop.test;proto=http");
        assert_eq!(head.field("forwarded"), Some(&*forwarded));
    }
    let elsewhere = b"PROXY TCP4 198.51.100.7 10.0.0.1 4711 80\r\n";
    let (head, backend) = edge.seen(elsewhere, &Request::get("/"));
    assert_eq!(backend, "a");
    assert_eq!(head.field("x-forwarded-for"), Some("198.51.100.7"));
}

#[test]
fn who_names_nobody_is_the_client_itself_and_as_trusted_as_before() {
    let edge = Edge::start();
    let request = Request::get("/").field("x-forwarded-for", "203.0.113.9");
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 198.51.100.1 198.51.100.2 1 2\r\n".to_vec(),
        binary(0x20, 0x00, &[]),
        binary(0x20, 0x11, &[198, 51, 100, 1, 10, 0, 0, 1, 0, 1, 0, 2]),
        binary(0x21, 0x00, &[]),
        binary(0x21, 0x31, &[b'x'; 216]),
        // A health check knows of no header.
        Vec::new(),
    ] {
        let (head, backend) = edge.seen(&header, &Request::get("/"));
        assert_eq!(backend, "a", "{}", header.escape_ascii());
        assert_eq!(head.field("x-forwarded-for"), Some("127.0.0.1"));
        let (head, backend) = edge.seen(&header, &request);
        assert_eq!(backend, "b", "{}", header.escape_ascii());
        let chain = "203.0.113.9, 127.0.0.1";
        assert_eq!(head.field("x-forwarded-for"), Some(chain));
    }
}

#[test]
fn what_a_named_client_says_counts_as_far_as_it_is_trusted_itself() {
    let edge = Edge::start();
    let request = Request::get("/")
        .field("x-forwarded-for", "203.0.113.9")
        .field("x-forwarded-proto", "https")
        .field("forwarded", "for=203.0.113.9")
        .field("x-request-id", "mine")
        .field("x-user-id", "admin");
    let stranger = b"PROXY TCP4 198.51.100.7 10.0.0.1 4711 80\r\n";
    let (head, backend) = edge.seen(stranger, &request);
    assert_eq!(backend, "a");
    assert_eq!(head.field("x-forwarded-for"), Some("198.51.100.7"));
    assert_eq!(head.field("x-forwarded-proto"), Some("http"));
    let forwarded = "for=198.51.100.7;host=shop.test;proto=http";
    assert_eq!(head.field("forwarded"), Some(forwarded));
    assert_ne!(head.field("x-request-id"), Some("mine"));
    assert_eq!(head.field("x-user-id"), None);
    // A proxy of ours behind another is believed.
    let (head, backend) = edge.seen(b"PROXY TCP4 10.0.0.7 10.0.0.1 4711 80\r\n", &request);
    assert_eq!(backend, "b");
    let chain = "203.0.113.9, 10.0.0.7";
    assert_eq!(head.field("x-forwarded-for"), Some(chain));
    assert_eq!(head.field("x-forwarded-proto"), Some("https"));
    assert_eq!(head.field("x-user-id"), Some("admin"));
}

#[test]
fn a_header_may_come_in_any_pieces() {
    let edge = Edge::start();
    for header in [TEXT.to_vec(), binary_v4(&[4, 0, 1, 0])] {
        let mut connection = edge.proxy.connect();
        let all = [&header, Request::get("/").head().as_bytes()].concat();
        all.iter().for_each(|byte| connection.send(&[*byte]));
        assert_eq!(connection.answer().text(), "b");
        let head = edge.b.last_head();
        assert_eq!(head.field("x-forwarded-for"), Some("203.0.113.7"));
    }
}

#[test]
fn what_follows_in_the_same_segment_is_served_in_order() {
    let edge = Edge::start();
    for header in [TEXT.to_vec(), binary_v4(&[]), Vec::new()] {
        let before = edge.requests();
        let mut connection = edge.proxy.connect();
        let post = Request::new("POST", "/1").field("content-length", "5");
        let mut all = [&header, post.head().as_bytes(), b"hello"].concat();
        for path in ["/2", "/3"] {
            all.extend_from_slice(Request::get(path).head().as_bytes());
        }
        connection.send(&all);
        for _ in 0..3 {
            assert_eq!(connection.answer().status, 200);
        }
        // The header is the connection's, not the first request's.
        assert_eq!(connection.ask(&Request::get("/4")).status, 200);
        let backend = if header.is_empty() { &edge.a } else { &edge.b };
        let heads = backend.heads();
        let lines: Vec<_> = heads.iter().rev().take(4).map(|head| &*head.line).collect();
        assert_eq!(
            lines,
            [
                "GET /4 HTTP/1.1",
                "GET /3 HTTP/1.1",
                "GET /2 HTTP/1.1",
                "POST /1 HTTP/1.1"
            ]
        );
        let clients: Vec<_> = heads
            .iter()
            .rev()
            .take(4)
            .map(|head| head.field("x-forwarded-for"))
            .collect();
        assert!(
            clients.iter().all(|client| *client == clients[0]),
            "{clients:?}"
        );
        assert_eq!(edge.requests(), before + 4);
    }
}

#[test]
fn a_header_of_anybody_else_is_a_malformed_request() {
    let edge = Edge::with(DISTRUSTING, "");
    for header in [TEXT.to_vec(), binary_v4(&[]), binary(0x20, 0, &[])] {
        let mut connection = edge.proxy.connect();
        connection.send(&[&header, Request::get("/").head().as_bytes()].concat());
        connection.answer().problem(400);
        assert!(connection.is_closed());
    }
    assert_eq!(edge.requests(), 0);
    assert_eq!(edge.proxy.get("/").text(), "a");
}

#[test]
fn a_second_header_is_a_malformed_request() {
    let edge = Edge::start();
    for header in [TEXT.to_vec(), binary_v4(&[])] {
        let mut connection = edge.proxy.connect();
        let request = Request::get("/").head();
        connection.send(&[TEXT, &header, request.as_bytes()].concat());
        connection.answer().problem(400);
        assert!(connection.is_closed());
    }
    assert_eq!(edge.requests(), 0);
}

#[test]
fn a_malformed_header_ends_the_connection_without_a_word() {
    let edge = Edge::start();
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    for header in [
        b"PROXY TCP4 203.0.113.7 10.0.0.1 4711\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.777 10.0.0.1 4711 80\r\n".to_vec(),
        b"PROXY / HTTP/1.1\r\n".to_vec(),
        long.into_bytes(),
        binary(0x11, 0x11, &[0; 12]),
        binary(0x22, 0x11, &[0; 12]),
        binary(0x21, 0x11, &[0; 4]),
        binary(0x21, 0x11, &[0; 5_000]),
    ] {
        let mut connection = edge.proxy.connect();
        let request = Request::get("/").head();
        connection.send_in_vain(&[&header, request.as_bytes()].concat());
        assert!(connection.is_closed(), "{}", header.escape_ascii());
    }
    let line = edge.proxy.wait_for_log("a malformed PROXY header", SOON);
    assert!(
        line.contains("WARN") && line.contains("127.0.0.1"),
        "{line}"
    );
    // So does a beginning without an end.
    for beginning in [&b"PROXY TCP4 203.0"[..], b"\r\n\r\n\0\r\nQUI", b"P", b""] {
        let mut connection = edge.proxy.connect();
        connection.send(beginning);
        connection.end_sending();
        assert!(connection.is_closed(), "{}", beginning.escape_ascii());
    }
    assert_eq!(edge.requests(), 0);
    assert_eq!(edge.proxy.metrics().count("serin_requests_total", &[]), 0);
    assert_eq!(edge.proxy.get("/").text(), "a");
}

#[test]
fn a_header_comes_before_the_handshake() {
    let edge = Edge::with_tls(TRUSTING);
    for header in [TEXT.to_vec(), binary_v4(&[])] {
        let name = ServerName::try_from("shop.test").unwrap();
        let mut client = ClientConnection::new(edge.authority.trusting_client(), name).unwrap();
        // The handshake begins in the same segment.
        let mut first = header;
        client.write_tls(&mut first).unwrap();
        let mut connection = Connection::open(edge.proxy.address());
        connection.send(&first);
        let socket = connection.socket().try_clone().unwrap();
        let mut secure = StreamOwned::new(client, socket);
        let request = Request::get("/").field("connection", "close").head();
        secure.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        secure.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nb"),
            "{answer}"
        );
        let head = edge.b.last_head();
        assert_eq!(head.field("x-forwarded-for"), Some("203.0.113.7"));
        assert_eq!(head.field("x-forwarded-proto"), Some("https"));
    }
}

#[test]
fn a_header_of_anybody_else_is_a_failed_handshake() {
    let edge = Edge::with_tls(DISTRUSTING);
    for header in [TEXT.to_vec(), binary_v4(&[])] {
        let mut connection = edge.proxy.connect();
        connection.send_in_vain(&header);
        let mut said = Vec::new();
        let mut bytes = [0; 1024];
        while let Ok(count @ 1..) = connection.read(&mut bytes) {
            said.extend_from_slice(&bytes[..count]);
        }
        assert!(!said.starts_with(b"HTTP"), "{said:?}");
    }
    let failed = [("result", "failed")];
    edge.proxy
        .wait_for_count("serin_tls_handshakes_total", &failed, 2);
    assert_eq!(edge.requests(), 0);
}

#[test]
fn curl_is_understood() {
    let edge = Edge::start();
    let url = format!("http://shop.test:{}/", edge.proxy.address().port());
    let versions = ["--http1.1", "--http2-prior-knowledge"];
    for options in versions
        .iter()
        .flat_map(|v| [vec![*v], vec![*v, "--haproxy-protocol"]])
    {
        let answer = edge.curl(&[&options[..], &[&url]].concat());
        assert_eq!(
            (answer.status.success(), &*answer.stdout),
            (true, &b"a"[..]),
            "{options:?}"
        );
    }
    let untrusted = Edge::with(DISTRUSTING, "");
    let url = format!("http://shop.test:{}/", untrusted.proxy.address().port());
    let code = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    let answer = untrusted.curl(&[&code[..], &["--haproxy-protocol", &url]].concat());
    assert_eq!(answer.stdout, b"400");

    let edge = Edge::with_tls(TRUSTING);
    let authority = edge.folder.path().join("authority.crt");
    fs::write(&authority, &edge.authority.pem).unwrap();
    let url = format!("https://shop.test:{}/", edge.proxy.address().port());
    for version in ["--http1.1", "--http2"] {
        let ca = authority.to_str().unwrap();
        let answer = edge.curl(&[version, "--haproxy-protocol", "--cacert", ca, &url]);
        assert_eq!(
            (answer.status.success(), &*answer.stdout),
            (true, &b"a"[..]),
            "{answer:?}"
        );
    }
}

#[test]
fn whether_headers_are_read_takes_a_restart_and_from_whom_does_not() {
    let edge = Edge::start();
    edge.proxy
        .write_config(&config(&edge.a, &edge.b, TRUSTING, ""));
    edge.proxy.reload();
    let refused = "cannot change while Serin runs";
    let line = edge.proxy.wait_for_log(refused, SOON);
    assert!(line.contains("`listeners`"), "{line}");
    assert_eq!(edge.seen(TEXT, &Request::get("/")).1, "b");

    let key = "proxy_protocol: from_trusted";
    edge.proxy
        .write_config(&config(&edge.a, &edge.b, DISTRUSTING, key));
    edge.proxy.reload();
    wait_for("the peer is not trusted", SOON, || {
        let mut connection = edge.proxy.connect();
        connection.send(&[TEXT, Request::get("/").head().as_bytes()].concat());
        (connection.answer().status == 400).then_some(())
    });
}
