//! HTTP/2 as real clients speak it: curl, nghttp, h2load and a library.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output};

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use support::backend::pattern;
use support::proxy::{SERIN, backends};
use support::{Authority, Behaviour, SOON, TestBackend, TestProxy};
use tempfile::TempDir;

const MEBIBYTE: usize = 1024 * 1024;

struct Edge {
    proxy: TestProxy,
    backend: TestBackend,
    folder: TempDir,
}

impl Edge {
    /// Serves TLS, or with `plain` the bare socket.
    fn start(behaviour: Behaviour, is_tls: bool) -> Self {
        let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
        authority
            .issue("shop", &["shop.test"])
            .write(folder.path(), "shop");
        fs::write(folder.path().join("authority.crt"), &authority.pem).unwrap();
        let backend = TestBackend::with("v1", behaviour);
        let tls = "tls: { certificates: [{ cert: shop.pem, key: shop.key }] }";
        let config = format!(
            "listeners: [{{ address: \"127.0.0.1:0\", {} }}]\n\
             admin: {{ address: \"127.0.0.1:0\" }}\nstate: {{ path: state }}\n{}\
             routes: [{{ backend: v1 }}]\n",
            if is_tls { tls } else { "" },
            backends(&[("v1", &backend)])
        );
        fs::write(folder.path().join("serin.yaml"), config).unwrap();
        let proxy = TestProxy::in_folder(folder.path(), Command::new(SERIN));
        Self {
            proxy,
            backend,
            folder,
        }
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://shop.test:{}/x", self.proxy.address().port())
    }

    fn curl(&self, scheme: &str, options: &[&str]) -> String {
        let resolve = format!("shop.test:{}:127.0.0.1", self.proxy.address().port());
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--resolve",
            &resolve,
        ])
        .arg("--cacert")
        .arg(self.folder.path().join("authority.crt"))
        .args(options)
        .arg(self.url(scheme));
        said(&curl.output().unwrap())
    }
}

#[track_caller]
fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

const VERSION: [&str; 2] = ["--write-out", " %{http_version} %{http_code}"];

#[test]
fn curl_speaks_what_it_wants_to() {
    let secure = Edge::start(Behaviour::Name, true);
    let plain = Edge::start(Behaviour::Name, false);
    for (edge, scheme, option, expected) in [
        (&secure, "https", "--http2", "v1 2 200"),
        (&secure, "https", "--http1.1", "v1 1.1 200"),
        (&plain, "http", "--http1.1", "v1 1.1 200"),
        (&plain, "http", "--http2-prior-knowledge", "v1 2 200"),
        // It asks for a switch and is not granted it.
        (&plain, "http", "--http2", "v1 1.1 200"),
    ] {
        let text = edge.curl(scheme, &[&[option], &VERSION[..]].concat());
        assert_eq!(text, expected, "{scheme} {option}");
        let head = edge.backend.last_head();
        for name in ["upgrade", "http2-settings", "connection"] {
            assert_eq!(head.field(name), None, "{option}");
        }
        assert_eq!(head.field("x-forwarded-proto"), Some(scheme));
    }
}

#[test]
fn curl_uploads_and_downloads_and_expects() {
    let edge = Edge::start(Behaviour::Verify, true);
    let file = edge.folder.path().join("upload");
    fs::write(&file, pattern(3 * MEBIBYTE)).unwrap();
    let data = format!("@{}", file.display());
    for version in ["--http2", "--http1.1"] {
        for more in [
            &[][..],
            &["-H", "Expect: 100-continue"],
            &["-H", "Transfer-Encoding: chunked"],
        ] {
            if version == "--http2" && more.len() > 1 && more[1].starts_with("Transfer") {
                continue;
            }
            let options = [&[version, "--data-binary", data.as_str()], more].concat();
            let text = edge.curl("https", &options);
            assert_eq!(
                text,
                format!("{} bytes as sent", 3 * MEBIBYTE),
                "{version} {more:?}"
            );
        }
    }
    edge.backend.behave(Behaviour::Bytes(3 * MEBIBYTE));
    for version in ["--http2", "--http1.1"] {
        let path = edge.folder.path().join("download");
        edge.curl("https", &[version, "--output", path.to_str().unwrap()]);
        assert!(
            fs::read(&path).unwrap() == pattern(3 * MEBIBYTE),
            "{version}"
        );
    }
}

#[test]
fn trailers_and_heads_without_bodies_come_through() {
    let raw = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\nconnection: x-a\r\n\
               x-a: 1\r\nkeep-alive: timeout=5\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n";
    let edge = Edge::start(Behaviour::Raw(raw.into()), false);
    let options = ["--http2-prior-knowledge", "--include", "-H", "TE: trailers"];
    let text = edge.curl("http", &options).to_ascii_lowercase();
    assert!(text.starts_with("http/2 200"), "{text}");
    assert!(
        text.contains("hello") && text.contains("x-sum: 7"),
        "{text}"
    );
    for field in ["connection:", "keep-alive:", "transfer-encoding:", "x-a:"] {
        assert!(!text.contains(field), "{text}");
    }
    edge.backend
        .behave(Behaviour::Raw(b"HTTP/1.1 204 No\r\n\r\n".to_vec()));
    let options = [&["--http2-prior-knowledge"], &VERSION[..]].concat();
    assert_eq!(edge.curl("http", &options), " 2 204");
}

#[test]
fn what_serin_answers_itself_says_nothing_of_the_connection() {
    let edge = Edge::start(Behaviour::Name, false);
    for (option, expected) in [("Host: a,b", "http/2 400"), ("Host: u@a", "http/2 400")] {
        let options = ["--http2-prior-knowledge", "--include", "-H", option];
        let text = edge.curl("http", &options).to_ascii_lowercase();
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("application/problem+json"), "{text}");
        assert!(!text.contains("\nconnection:"), "{text}");
    }
    assert_eq!(edge.backend.requests(), 0);
}

#[test]
fn what_was_agreed_in_the_handshake_is_what_is_spoken() {
    let (edge, name) = (Edge::start(Behaviour::Name, true), "shop.test");
    let pem = fs::read_to_string(edge.folder.path().join("authority.crt")).unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    for (agreed, spoken) in [
        ("h2", "GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n"),
        ("http/1.1", "GET / HTTP/2.0\r\n\r\n"),
        ("http/1.1", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        let mut config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![agreed.into()];
        let session = ClientConnection::new(config.into(), name.try_into().unwrap()).unwrap();
        let socket = TcpStream::connect(edge.proxy.address()).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let mut stream = StreamOwned::new(session, socket);
        stream.write_all(spoken.as_bytes()).unwrap();
        let mut said = Vec::new();
        let ended = stream.read_to_end(&mut said);
        let kind = ended.err().map(|error| error.kind());
        assert_ne!(kind, Some(ErrorKind::WouldBlock), "{agreed}");
        assert!(!said.is_empty(), "{agreed}: {kind:?}");
        let is_refused = said.starts_with(b"HTTP/1.1 505");
        assert_eq!(is_refused, agreed == "http/1.1", "{}", said.escape_ascii());
    }
    assert_eq!(edge.backend.requests(), 0);
}

#[test]
fn nghttp_gets_posts_and_sends_trailers() {
    let edge = Edge::start(Behaviour::Verify, true);
    let file = edge.folder.path().join("upload");
    fs::write(&file, pattern(MEBIBYTE)).unwrap();
    let url = format!("https://127.0.0.1:{}/x", edge.proxy.address().port());
    let nghttp = |options: &[&str]| {
        let mut nghttp = Command::new("nghttp");
        said(
            &nghttp
                .args(["--timeout=30", "--no-verify-peer"])
                .args(options)
                .arg(&url)
                .output()
                .unwrap(),
        )
    };
    let data = format!("--data={}", file.display());
    let expected = format!("{MEBIBYTE} bytes as sent");
    for options in [
        &[data.as_str()][..],
        &[&data, "--no-content-length"],
        &[&data, "--no-content-length", "--trailer=x-sum: 1"],
        &[&data, "--padding=100"],
        &[&data, "--window-bits=10", "--connection-window-bits=10"],
        &[&data, "--expect-continue"],
        &[&data, "--continuation"],
    ] {
        let text = nghttp(options);
        assert!(text.contains(&expected), "{options:?}: {text}");
    }
    edge.backend.behave(Behaviour::Name);
    let text = nghttp(&["--continuation", "--verbose", "--multiply=20"]);
    assert_eq!(text.matches(":status: 200").count(), 20, "{text}");
}

#[test]
fn h2load_finds_every_request_answered() {
    let edge = Edge::start(Behaviour::Name, true);
    let url = format!("https://127.0.0.1:{}/x", edge.proxy.address().port());
    for options in [
        ["-n2000", "-c10", "-m100"],
        ["-n500", "-c1", "-m100"],
        ["-n500", "-c50", "-m1"],
    ] {
        let mut h2load = Command::new("h2load");
        let text = said(&h2load.args(options).arg(&url).output().unwrap());
        let all = &options[0][2..];
        assert!(
            text.contains(&format!("{all} 2xx, 0 3xx, 0 4xx, 0 5xx")),
            "{text}"
        );
        assert!(text.contains("Application protocol: h2"), "{text}");
    }
    assert_eq!(
        edge.proxy
            .metrics()
            .count("serin_requests_total", &[("code", "200")]),
        3000
    );
    // More data than a client takes at once.
    edge.backend.behave(Behaviour::Bytes(MEBIBYTE));
    let mut h2load = Command::new("h2load");
    let options = ["-n60", "-c3", "-m20", "-w16", "-W17"];
    let text = said(&h2load.args(options).arg(&url).output().unwrap());
    assert!(text.contains("60 2xx, 0 3xx"), "{text}");
}
