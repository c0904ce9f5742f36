//! What a backend sees of a request, and a client of an answer: what is removed, what is added,
//! and what nobody can make Serin say.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use support::backend::Head;
use support::proxy::backends;
use support::{Behaviour, Recorder, Request, TestBackend, TestProxy};

/// A flag for everything, half canary, callers known by a header.
const FLAG: &str = "
identity: [{ header: x-user-id }]
flags: { orders: { stable: a, canary: b, default: 50% } }
routes: [{ flag: orders }]
";

const TRUSTING: &str = "trusted_proxies: [127.0.0.0/8]\n";

/// With a network that none of the tests comes from.
const DISTRUSTING: &str = "trusted_proxies: [192.0.2.0/24]\n";

struct Edge {
    proxy: TestProxy,
    backend: TestBackend,
}

impl Edge {
    fn trusting() -> Self {
        Self::with(TRUSTING, Behaviour::Name)
    }

    fn distrusting() -> Self {
        Self::with(DISTRUSTING, Behaviour::Name)
    }

    fn with(trust: &str, behaviour: Behaviour) -> Self {
        let backend = TestBackend::with("a", behaviour);
        let proxy =
            TestProxy::start(&(backends(&[("a", &backend), ("b", &backend)]) + trust + FLAG));
        Self { proxy, backend }
    }

    /// What the backend sees of a request.
    fn seen(&self, request: &Request) -> Head {
        assert_eq!(self.proxy.ask(request).status, 200);
        self.backend.last_head()
    }
}

#[test]
fn a_backend_is_told_by_what_way_a_request_came() {
    let edge = Edge::distrusting();
    let head = edge.seen(&Request::get("/a?b=c").host("shop.test:8080"));
    assert_eq!(head.line, "GET /a?b=c HTTP/1.1");
    assert_eq!(head.field("host"), Some("shop.test:8080"));
    assert_eq!(head.field("via"), Some("1.1 serin"));
    assert_eq!(head.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(head.field("x-forwarded-host"), Some("shop.test:8080"));
    assert_eq!(head.field("x-forwarded-proto"), Some("http"));
    let forwarded = "for=127.0.0.1;host=\"shop.test:8080\";proto=http";
    assert_eq!(head.field("forwarded"), Some(forwarded));
    let id = head.field("x-request-id").unwrap();
    assert!(id.len() == 36 && id.matches('-').count() == 4, "{id}");
    assert!(is_traceparent(head.field("traceparent").unwrap()));
}

fn is_traceparent(value: &str) -> bool {
    let parts: Vec<_> = value.split('-').collect();
    let is_hex = |part: &&str| part.bytes().all(|b| b.is_ascii_hexdigit());
    let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
    lengths == [2, 32, 16, 2] && parts.iter().all(is_hex)
}

#[test]
fn every_request_has_an_id_and_a_trace_of_its_own() {
    let edge = Edge::distrusting();
    let (one, two) = (edge.seen(&Request::get("/")), edge.seen(&Request::get("/")));
    for name in ["x-request-id", "traceparent"] {
        assert_ne!(one.field(name).unwrap(), two.field(name).unwrap());
    }
}

#[test]
fn a_valid_trace_is_kept_and_an_invalid_one_is_begun_anew() {
    let edge = Edge::distrusting();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = |trace: &str| {
        Request::get("/")
            .field("traceparent", trace)
            .field("tracestate", "vendor=1")
    };
    let head = edge.seen(&request(trace));
    assert_eq!(head.field("traceparent"), Some(trace));
    assert_eq!(head.field("tracestate"), Some("vendor=1"));

    for broken in [
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "hello",
    ] {
        let head = edge.seen(&request(broken));
        let begun = head.field("traceparent").unwrap();
        assert!(is_traceparent(begun) && begun != broken, "{begun}");
        assert_eq!(head.field("tracestate"), None);
    }
}

#[test]
fn fields_of_one_connection_go_no_further() {
    let edge = Edge::distrusting();
    let head = edge.seen(
        &Request::get("/")
            .field(
                "Connection",
                "close, X-Secret, host, serin-flags, x-forwarded-for",
            )
            .field("connection", "x-other")
            .field("keep-alive", "timeout=5")
            .field("proxy-connection", "keep-alive")
            .field("proxy-authorization", "Basic YTpi")
            .field("te", "gzip, trailers")
            .field("upgrade", "websocket")
            .field("x-secret", "1")
            .field("x-other", "1")
            .field("x-plain", "1"),
    );
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "upgrade",
        "x-secret",
        "x-other",
    ] {
        assert_eq!(head.field(name), None, "{name}");
    }
    assert_eq!(head.field("te"), Some("trailers"));
    assert_eq!(head.field("x-plain"), Some("1"));
    // What Serin says itself cannot be hidden that way.
    assert_eq!(head.field("host"), Some("shop.test"));
    assert_eq!(head.field("x-forwarded-for"), Some("127.0.0.1"));
    assert!(head.field("serin-flags").is_some());
}

#[test]
fn the_decision_is_told_upstream_and_nobody_else_can_tell_it() {
    let edge = Edge::trusting();
    let mut told = Vec::new();
    for caller in 0..20 {
        let head = edge.seen(
            &Request::get("/")
                .field("x-user-id", &format!("u-{caller}"))
                .field("serin-flags", "orders=forged")
                .field("Serin-Other", "forged")
                .field("serin_flags", "orders=forged"),
        );
        told.push(head.field("serin-flags").unwrap().to_owned());
        assert!(
            head.fields
                .iter()
                .all(|(_, value)| !value.contains("forged"))
        );
    }
    told.sort();
    told.dedup();
    assert_eq!(told, ["orders=canary", "orders=stable"]);
}

#[test]
fn what_an_untrusted_peer_says_of_others_is_removed() {
    let edge = Edge::distrusting();
    let head = edge.seen(
        &Request::get("/")
            .field("x-user-id", "admin")
            .field("x-forwarded-for", "198.51.100.1")
            .field("x-forwarded-host", "evil.test")
            .field("x-forwarded-proto", "https")
            .field("x-forwarded-user", "admin")
            .field("forwarded", "for=198.51.100.1")
            .field("x-request-id", "mine"),
    );
    assert_eq!(head.field("x-user-id"), None);
    assert_eq!(head.field("x-forwarded-user"), None);
    assert_eq!(head.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(head.field("x-forwarded-host"), Some("shop.test"));
    assert_eq!(head.field("x-forwarded-proto"), Some("http"));
    let forwarded = "for=127.0.0.1;host=shop.test;proto=http";
    assert_eq!(head.field("forwarded"), Some(forwarded));
    assert_ne!(head.field("x-request-id"), Some("mine"));
}

#[test]
fn a_caller_is_not_forged_in_whichever_spelling() {
    let backend = TestBackend::start("a");
    let start = |trust: &str, name: &str| {
        let flag = FLAG.replace("x-user-id", name);
        TestProxy::start(&(backends(&[("a", &backend), ("b", &backend)]) + trust + &flag))
    };
    for name in ["x-user-id", "x_user_id", "X_User-Id"] {
        let (open, closed) = (start(TRUSTING, name), start(DISTRUSTING, name));
        for spelling in ["x-user-id", "x_user_id", "x-user_id", "X_USER-ID"] {
            let request = Request::get("/").field(spelling, "alice");
            assert_eq!(closed.ask(&request).status, 200);
            let head = backend.last_head();
            let is_known = head.fields.iter().any(|(_, value)| value == "alice");
            assert!(!is_known, "{spelling} as {name}: {head:?}");
            assert_eq!(open.ask(&request).status, 200);
            let spelling = spelling.to_ascii_lowercase();
            assert_eq!(backend.last_head().field(&spelling), Some("alice"));
        }
    }
}

#[test]
fn what_forces_a_variant_goes_no_further_in_whichever_spelling() {
    let (stable, canary) = (TestBackend::start("a"), TestBackend::start("b"));
    let config = "groups: { qa: { ip: [127.0.0.0/8] } }\nroutes: [{ flag: orders }]\n\
                  flags: { orders: { stable: a, canary: b, force: { header: x_arm, for: [qa] } } }\n";
    let proxy = TestProxy::start(&(backends(&[("a", &stable), ("b", &canary)]) + config));
    let request = Request::get("/")
        .field("x_arm", "canary")
        .field("x-arm", "canary");
    assert_eq!(proxy.ask(&request).text(), "b");
    let head = canary.last_head();
    assert_eq!((head.field("x_arm"), head.field("x-arm")), (None, None));
    assert_eq!(
        proxy
            .ask(&Request::get("/").field("x-arm", "canary"))
            .text(),
        "a"
    );
}

/// What may not stand behind a body, and what only those may say there who are trusted.
const TRAILERS: &str = "x-sum: 1\r\nserin-flags: orders=forged\r\nhost: forged\r\n\
    content-length: 7\r\nauthorization: forged\r\nx_user_id: forged\r\nx-user-id: alice\r\n";

#[test]
fn behind_a_body_nothing_is_said_that_could_not_be_said_before_it() {
    for (trust, expected) in [
        (DISTRUSTING, "x-sum: 1\r\n"),
        (
            TRUSTING,
            "x-sum: 1\r\nx_user_id: forged\r\nx-user-id: alice\r\n",
        ),
    ] {
        let backend = Recorder::start();
        let url = backend.url();
        let names = "trailer: x-sum, serin-flags, host, content-length, authorization, x_user_id, x-user-id";
        let proxy = TestProxy::start(&format!(
            "backends: {{ a: \"{url}\", b: \"{url}\" }}\n{trust}{FLAG}"
        ));
        let mut connection = proxy.connect();
        connection.send(
            format!(
                "POST / HTTP/1.1\r\nhost: shop.test\r\nte: trailers\r\n{names}\r\n\
                 transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n{TRAILERS}\r\n"
            )
            .as_bytes(),
        );
        assert_eq!(connection.answer().status, 200);
        let seen = backend.take().remove(0);
        let mut lines: Vec<_> = seen.trailers.lines().collect();
        lines.sort_unstable();
        let mut expected: Vec<_> = expected.lines().collect();
        expected.sort_unstable();
        assert_eq!(lines, expected);
    }
}

#[test]
fn what_a_trusted_peer_says_is_kept_and_added_to() {
    let edge = Edge::trusting();
    let head = edge.seen(
        &Request::get("/")
            .field("x-user-id", "ann")
            .field("x-forwarded-for", "198.51.100.1")
            .field("X-Forwarded-For", "198.51.100.2")
            .field("x-forwarded-host", "shop.example.com")
            .field("x-forwarded-proto", "https")
            .field("forwarded", "for=198.51.100.1")
            .field("via", "1.0 fred")
            .field("x-request-id", "mine"),
    );
    assert_eq!(head.field("x-user-id"), Some("ann"));
    let chain = "198.51.100.1, 198.51.100.2, 127.0.0.1";
    assert_eq!(head.field("x-forwarded-for"), Some(chain));
    assert_eq!(head.field("x-forwarded-host"), Some("shop.example.com"));
    assert_eq!(head.field("x-forwarded-proto"), Some("https"));
    let forwarded = "for=198.51.100.1, for=127.0.0.1;host=shop.test;proto=http";
    assert_eq!(head.field("forwarded"), Some(forwarded));
    assert_eq!(head.field("via"), Some("1.0 fred, 1.1 serin"));
    assert_eq!(head.field("x-request-id"), Some("mine"));
}

#[test]
fn a_client_behind_a_proxy_that_writes_forwarded_alone_is_known() {
    let (stable, canary) = (TestBackend::start("a"), TestBackend::start("b"));
    let office = "groups: { office: { ip: [203.0.113.0/24] } }\nroutes: [{ flag: orders }]\n\
                  flags: { orders: { stable: a, canary: b, groups: { office: 100% } } }\n";
    let start = |trust: &str| {
        TestProxy::start(&(backends(&[("a", &stable), ("b", &canary)]) + trust + office))
    };
    let request = Request::get("/").field("forwarded", "for=\"203.0.113.5:4711\", for=127.0.0.9");
    assert_eq!(start(DISTRUSTING).ask(&request).text(), "a");
    assert_eq!(start(TRUSTING).ask(&request).text(), "b");
    let head = canary.last_head();
    let chain = "203.0.113.5, 127.0.0.9, 127.0.0.1";
    assert_eq!(head.field("x-forwarded-for"), Some(chain));
}

#[test]
fn an_absolute_target_decides_the_host_and_goes_on_relative() {
    let edge = Edge::distrusting();
    let head = edge.seen(&Request::get("http://api.test:81/a?b=c").host("other.test"));
    assert_eq!(head.line, "GET /a?b=c HTTP/1.1");
    assert_eq!(head.field("host"), Some("api.test:81"));
    assert_eq!(head.field("x-forwarded-host"), Some("api.test:81"));
    let head = edge.seen(&Request::get("http://api.test").host("other.test"));
    assert_eq!(head.line, "GET / HTTP/1.1");
}

#[test]
fn an_old_client_is_answered_in_its_own_version() {
    let edge = Edge::distrusting();
    let mut connection = edge.proxy.connect();
    connection.send(b"GET / HTTP/1.0\r\nhost: shop.test\r\n\r\n");
    let answer = connection.answer();
    assert_eq!((answer.status, answer.text()), (200, "a"));
    assert!(connection.is_closed());
    let head = edge.backend.last_head();
    assert_eq!(head.line, "GET / HTTP/1.1");
    assert_eq!(head.field("via"), Some("1.0 serin"));
}

#[test]
fn fields_of_the_backends_connection_go_no_further_either() {
    let raw = "HTTP/1.1 200 OK\r\nconnection: x-secret\r\nkeep-alive: timeout=5\r\nx-secret: 1\r\n\
               proxy-authenticate: Basic\r\nvia: 1.1 origin\r\nserver: test\r\nset-cookie: a=1\r\n\
               set-cookie: b=2\r\ncontent-length: 2\r\n\r\nok";
    let edge = Edge::with(DISTRUSTING, Behaviour::Raw(raw.into()));
    let answer = edge.proxy.get("/");
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    for name in ["keep-alive", "x-secret", "proxy-authenticate"] {
        assert_eq!(answer.field(name), None, "{name}");
    }
    assert_eq!(answer.field("via"), Some("1.1 origin, 1.1 serin"));
    assert_eq!(answer.field("server"), Some("test"));
    let cookies = answer
        .fields
        .iter()
        .filter(|(name, _)| name == "set-cookie");
    let cookies: Vec<_> = cookies.map(|(_, value)| value.as_str()).collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
}

/// Two requests for a server that believes the length, one for a server that believes the chunks.
const SMUGGLING: [&str; 4] = [
    "content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\
     host: shop.test\r\n\r\n",
    "transfer-encoding: chunked\r\ncontent-length: 48\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\
     host: shop.test\r\n\r\n",
    "content-length: 0\r\ncontent-length: 44\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: shop.test\r\n\r\n",
    "transfer-encoding: xchunked\r\ncontent-length: 0\r\n\r\nGET /smuggled HTTP/1.1\r\n\
     host: shop.test\r\n\r\n",
];

#[test]
fn a_request_framed_two_ways_never_becomes_two_for_the_backend() {
    for framing in SMUGGLING {
        let edge = Edge::with(DISTRUSTING, Behaviour::Verify);
        let mut connection = edge.proxy.connect();
        let head = "POST /first HTTP/1.1\r\nhost: shop.test\r\n";
        connection.send(format!("{head}{framing}").as_bytes());
        connection.end_sending();
        let answer = connection.answer();
        assert!(matches!(answer.status, 200 | 400), "{framing:?}");
        assert!(connection.is_closed(), "{framing:?}");
        let heads = edge.backend.heads();
        assert!(heads.len() <= 1, "{framing:?}: {heads:?}");
        if let Some(seen) = heads.first() {
            assert_eq!(seen.line, "POST /first HTTP/1.1");
            let framings = [
                seen.field("content-length"),
                seen.field("transfer-encoding"),
            ];
            assert!(framings.iter().flatten().count() <= 1, "{heads:?}");
        }
        // The backend's connection is still good for others.
        assert_eq!(edge.proxy.get("/next").status, 200);
        assert_eq!(edge.backend.last_head().line, "GET /next HTTP/1.1");
    }
}

#[test]
fn a_head_that_is_too_long_is_refused_and_costs_the_backend_nothing() {
    let edge = Edge::distrusting();
    let request = Request::get("/").field("x-long", &"x".repeat(128 * 1024));
    let mut connection = edge.proxy.connect();
    connection.send_in_vain(request.head().as_bytes());
    assert_eq!(connection.answer().status, 431);
    let many: String = (0..120).map(|n| format!("x-{n}: 1\r\n")).collect();
    let mut connection = edge.proxy.connect();
    connection.send(format!("GET / HTTP/1.1\r\nhost: shop.test\r\n{many}\r\n").as_bytes());
    assert_eq!(connection.answer().status, 431);
    assert_eq!(edge.backend.requests(), 0);
    assert_eq!(edge.proxy.get("/").status, 200);
}
