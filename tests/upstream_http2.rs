//! HTTP/2 to backends, over TCP, by a real library's server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::io::Write;
use std::thread::{scope, spawn};

use http::Version;
use support::backend::pattern;
use support::frames::{DATA, END_HEADERS, END_STREAM, End, HEADERS, Http2, block, fields, frame};
use support::upstream::{Conduct, Upstream};
use support::{Behaviour, Connection, Request, SOON, TestBackend, TestProxy, wait_until};

/// One worker, so that all requests share its connections; one backend that speaks HTTP/2.
fn config(upstream: &Upstream, more: &str) -> String {
    format!(
        "workers: 1\nbackends: {{ v1: {{ endpoints: [\"{}\"], protocol: h2, {more} }} }}\n\
         routes: [{{ backend: v1 }}]\n",
        upstream.url()
    )
}

fn start(conduct: Conduct) -> (Upstream, TestProxy) {
    start_with(conduct, "")
}

fn start_with(conduct: Conduct, more: &str) -> (Upstream, TestProxy) {
    let upstream = Upstream::start(conduct);
    let proxy = TestProxy::start(&config(&upstream, more));
    (upstream, proxy)
}

/// Asks for a path so many times at once; all must be answered with a text.
fn ask_at_once(proxy: &TestProxy, count: usize, path: &str, expected: &str) {
    scope(|threads| {
        for _ in 0..count {
            threads.spawn(|| {
                let answer = proxy.get(path);
                assert_eq!((answer.status, answer.text()), (200, expected));
            });
        }
    });
}

fn outcomes(proxy: &TestProxy, outcome: &[(&str, &str)]) -> u64 {
    proxy
        .metrics()
        .count("serin_backend_failures_total", outcome)
}

/// A stable backend that is well, and a canary, which everyone gets.
fn canary(stable: &TestBackend, canary: &Upstream, more: &str) -> TestProxy {
    TestProxy::start(&format!(
        "workers: 1\nbackends:\n  v1: \"{}\"\n  \
         v2: {{ endpoints: [\"{}\"], protocol: h2, {more} }}\n\
         flags: {{ shop: {{ stable: v1, canary: v2, default: 100% }} }}\n\
         routes: [{{ flag: shop }}]\n",
        stable.url(),
        canary.url()
    ))
}

#[test]
fn a_request_has_the_form_of_http2() {
    let (upstream, proxy) = start(Conduct::http2());
    let request = Request::new("POST", "/some/path?q=1")
        .field("te", "trailers, deflate")
        .field("connection", "x-hop, te")
        .field("x-hop", "gone")
        .body("body");
    let answer = proxy.ask(&request);
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    assert_eq!(answer.field("via"), Some("2 serin"));
    let asked = &upstream.asked()[0];
    assert_eq!(asked.version, Version::HTTP_2);
    assert_eq!(asked.target, "http://shop.test/some/path?q=1");
    let field = |name: &str| asked.fields.get(name).map(|value| value.to_str().unwrap());
    for absent in ["host", "connection", "x-hop", "transfer-encoding"] {
        assert_eq!(field(absent), None, "{absent}");
    }
    assert_eq!(field("te"), Some("trailers"));
    assert_eq!(field("content-length"), Some("4"));
    assert_eq!(field("via"), Some("1.1 serin"));
    assert_eq!(field("x-forwarded-host"), Some("shop.test"));
}

#[test]
fn a_burst_shares_one_connection() {
    let (upstream, proxy) = start(Conduct::http2());
    ask_at_once(&proxy, 50, "/slow", "slow");
    ask_at_once(&proxy, 50, "/slow", "slow");
    assert_eq!(upstream.seen().len(), 1);
    let metrics = proxy.metrics();
    let labels = [("backend", "v1")];
    assert_eq!(metrics.count("serin_upstream_connects_total", &labels), 1);
    assert_eq!(metrics.count("serin_upstream_connections", &labels), 1);
    assert_eq!(metrics.count("serin_upstream_requests_total", &labels), 100);
    assert_eq!(
        metrics.count("serin_upstream_connect_failures_total", &labels),
        0
    );
}

#[test]
fn more_connections_are_made_where_each_takes_few_requests() {
    let conduct = Conduct {
        streams_max: Some(1),
        ..Conduct::http2()
    };
    let (upstream, proxy) = start(conduct);
    ask_at_once(&proxy, 50, "/slow", "slow");
    assert!(upstream.seen().len() > 1);
    let before = upstream.seen().len();
    proxy.get("/");
    assert_eq!(upstream.seen().len(), before, "one that is there has room");
    assert_eq!(upstream.asked().len(), 51, "none was sent twice");
}

#[test]
fn behind_a_body_nothing_is_said_that_could_not_be_said_before_it() {
    let (_upstream, proxy) = start(Conduct::http2());
    let mut client = Http2::open(proxy.address());
    let head = fields("POST", &[("te", "trailers")]).into_iter();
    let head = head.map(|(name, value)| match name {
        ":path" => (name, "/trailers"),
        _ => (name, value),
    });
    let head: Vec<_> = head.collect();
    let trailers = [
        ("x-sum", "1"),
        ("serin-flags", "orders=canary"),
        ("x-forwarded-for", "192.0.2.1"),
        ("host", "evil.test"),
        ("grpc-status", "0"),
    ];
    client.send(&frame(HEADERS, END_HEADERS, 1, block(&head)));
    client.send(&frame(DATA, 0, 1, "abc"));
    let flags = END_HEADERS | END_STREAM;
    client.send(&frame(HEADERS, flags, 1, block(&trailers)));
    assert_eq!(client.answer(1), End::Answered(200));
    let names = String::from_utf8(client.body(1)).unwrap();
    let mut names: Vec<_> = names.split(' ').collect();
    names.sort_unstable();
    assert_eq!(names, ["grpc-status", "x-sum"]);
    // Where nothing is left of them the request ends all the same.
    client.send(&frame(HEADERS, END_HEADERS, 3, block(&head)));
    client.send(&frame(HEADERS, flags, 3, block(&trailers[1..2])));
    assert_eq!(client.answer(3), End::Answered(200));
}

#[test]
fn bodies_and_trailers_go_both_ways_at_once() {
    let (_upstream, proxy) = start(Conduct::http2());
    let mut client = proxy.connect();
    client.send(
        b"POST /echo HTTP/1.1\r\nhost: shop.test\r\nte: trailers\r\ntrailer: x-sum\r\n\
          transfer-encoding: chunked\r\n\r\n",
    );
    let head = client.answer_head();
    assert_eq!(head.status, 200);
    for _ in 0..3 {
        client.send(b"4\r\nping\r\n");
        let mut back = [0; 9];
        let mut filled = 0;
        while filled < back.len() {
            filled += client.read(&mut back[filled..]).unwrap();
        }
        assert_eq!(&back, b"4\r\nping\r\n");
    }
    client.send(b"0\r\nx-sum: 12\r\n\r\n");
    let mut rest = Vec::new();
    while !rest.ends_with(b"\r\n\r\n") {
        let mut bytes = [0; 64];
        let count = client.read(&mut bytes).unwrap();
        assert!(count > 0, "{:?}", String::from_utf8_lossy(&rest));
        rest.extend_from_slice(&bytes[..count]);
    }
    assert_eq!(rest, b"0\r\nx-sum: 12\r\n\r\n");
}

#[test]
fn large_bodies_arrive_whole_in_both_directions() {
    const LENGTH: usize = 9 * 1024 * 1024 + 7;
    let (_upstream, proxy) = start(Conduct::http2());
    let answer = proxy.get(&format!("/bytes/{LENGTH}"));
    assert!(answer.is_whole && answer.body == pattern(LENGTH));
    let sent = spawn({
        let address = proxy.address();
        move || {
            let request = Request::new("POST", "/echo").body(pattern(1024 * 1024));
            Connection::open(address).ask(&request)
        }
    });
    let answer = sent.join().unwrap();
    assert!(answer.is_whole && answer.body == pattern(1024 * 1024));
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody_else() {
    let (_upstream, proxy) = start(Conduct::http2());
    let mut idle: Vec<_> = (0..20).map(|_| proxy.connect()).collect();
    for client in &mut idle {
        client.send(Request::get("/bytes/50000000").head().as_bytes());
        assert_eq!(client.answer_head().status, 200);
    }
    let answer = proxy.get("/bytes/3000000");
    assert!(answer.is_whole && answer.body == pattern(3_000_000));
}

#[test]
fn what_was_refused_is_sent_again() {
    let conduct = Conduct {
        refusals: 2,
        ..Conduct::http2()
    };
    let (upstream, proxy) = start(conduct);
    assert_eq!(proxy.get("/").text(), "taken");
    assert_eq!((upstream.refused(), upstream.asked().len()), (2, 1));
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_body_that_was_refused_is_sent_again_as_far_as_it_is_known() {
    let upstream = Upstream::start(Conduct {
        refusals: usize::MAX,
        ..Conduct::http2()
    });
    let stable = TestBackend::with("v1", Behaviour::Verify);
    let proxy = canary(&stable, &upstream, "");
    let ask = |length| proxy.ask(&Request::new("POST", "/").body(pattern(length)));
    let answer = ask(20_000);
    assert_eq!(answer.text(), "20000 bytes as sent");
    assert_eq!(upstream.refused(), 3);
    // Of this one the beginning may be gone when the refusal comes.
    let answer = ask(3_000_000);
    if answer.status == 200 {
        assert_eq!(answer.text(), "3000000 bytes as sent");
    } else {
        answer.problem(502);
        assert_eq!(stable.requests(), 1);
    }
}

#[test]
fn what_is_always_refused_is_given_up() {
    let conduct = Conduct {
        refusals: usize::MAX,
        ..Conduct::http2()
    };
    let upstream = Upstream::start(conduct);
    let stable = TestBackend::start("v1");
    let proxy = canary(&stable, &upstream, "");
    assert_eq!(proxy.get("/").text(), "v1", "stable answers");
    // Once, though canary was told as well.
    assert_eq!(stable.last_head().all("serin-flags"), ["shop=stable"]);
    let before = upstream.refused();
    assert_eq!(proxy.get("/").text(), "v1", "stable answers");
    assert!(upstream.refused() - before <= 3, "it is tried for ever");
    let labels = [("variant", "canary"), ("failure", "reset")];
    proxy.wait_for_count("serin_backend_failures_total", &labels, 2);
    let (_upstream, proxy) = start(Conduct {
        refusals: usize::MAX,
        ..Conduct::http2()
    });
    proxy.get("/").problem(502);
}

#[test]
fn who_goes_is_left_and_nothing_is_lost() {
    let conduct = Conduct {
        leaves_after: Some(3),
        ..Conduct::http2()
    };
    let (upstream, proxy) = start(conduct);
    for _ in 0..20 {
        let answer = proxy.get("/");
        assert_eq!((answer.status, answer.text()), (200, "taken"));
    }
    ask_at_once(&proxy, 20, "/", "taken");
    assert_eq!(upstream.asked().len(), 40, "none was sent twice");
    assert!(upstream.seen().len() > 6);
    wait_until("those that were left are closed", SOON, || {
        let open = proxy.metrics().count("serin_upstream_connections", &[]);
        open <= 1
    });
}

#[test]
fn a_connection_that_breaks_cuts_what_is_under_way() {
    let upstream = Upstream::start(Conduct::http2());
    let stable = TestBackend::start("v1");
    let proxy = canary(&stable, &upstream, "");
    let mut half = proxy.connect();
    half.send(Request::get("/part").head().as_bytes());
    assert_eq!(half.answer_head().status, 200);
    let waiting = spawn({
        let address = proxy.address();
        move || Connection::open(address).ask(&Request::get("/hold"))
    });
    wait_until("both are under way", SOON, || upstream.asked().len() == 2);
    upstream.cut_connections();
    waiting.join().unwrap().problem(502);
    let mut rest = Vec::new();
    let mut bytes = [0; 64];
    while let Ok(count @ 1..) = half.read(&mut bytes) {
        rest.extend_from_slice(&bytes[..count]);
    }
    assert_eq!(rest, b"4\r\nhalf\r\n", "it does not look whole");
    let failures = |kind| [("variant", "canary"), ("failure", kind)];
    proxy.wait_for_count("serin_backend_failures_total", &failures("reset"), 1);
    proxy.wait_for_count("serin_backend_failures_total", &failures("cut_body"), 1);
    assert_eq!(
        proxy.get("/").text(),
        "ok",
        "the next gets a new connection"
    );
    assert_eq!(stable.requests(), 0);
}

#[test]
fn a_stream_that_is_reset_cuts_its_own_answer_only() {
    let upstream = Upstream::start(Conduct::http2());
    let stable = TestBackend::start("v1");
    let proxy = canary(&stable, &upstream, "");
    let mut other = proxy.connect();
    other.send(Request::get("/hold").head().as_bytes());
    let mut cut = proxy.connect();
    cut.send(Request::get("/cut").head().as_bytes());
    assert_eq!(cut.answer_head().status, 200);
    let mut bytes = [0; 9];
    assert_eq!(cut.read(&mut bytes).unwrap(), 9);
    wait_until("both are under way", SOON, || upstream.asked().len() == 2);
    upstream.release();
    assert!(cut.is_closed(), "it does not look whole");
    assert_eq!(other.answer().text(), "held");
    let labels = [("variant", "canary"), ("failure", "cut_body")];
    proxy.wait_for_count("serin_backend_failures_total", &labels, 1);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn an_end_before_the_end_is_none() {
    let conduct = Conduct {
        leaves_after: Some(usize::MAX),
        ..Conduct::http2()
    };
    let upstream = Upstream::start(conduct);
    let stable = TestBackend::start("v1");
    let proxy = canary(&stable, &upstream, "");
    let mut cut = proxy.connect();
    cut.send(Request::get("/no-error").head().as_bytes());
    assert_eq!(cut.answer_head().status, 200);
    let mut bytes = [0; 9];
    assert_eq!(cut.read(&mut bytes).unwrap(), 9);
    upstream.release();
    assert!(cut.is_closed(), "it does not look whole");
    let labels = [("variant", "canary"), ("failure", "cut_body")];
    proxy.wait_for_count("serin_backend_failures_total", &labels, 1);
}

#[test]
fn an_answer_that_is_overdue_ends_alone_and_its_connection_is_left() {
    let (upstream, proxy) = start_with(Conduct::http2(), "timeouts: { response: 300ms }");
    let mut long = proxy.connect();
    long.send(Request::get("/part").head().as_bytes());
    assert_eq!(long.answer_head().status, 200);
    proxy.get("/hold").problem(504);
    wait_until("it is cancelled there", SOON, || upstream.under_way() == 0);
    assert_eq!(proxy.get("/").text(), "ok");
    assert_eq!(upstream.seen().len(), 2);
    upstream.release();
    let mut rest = Vec::new();
    let mut bytes = [0; 64];
    while !rest.ends_with(b"0\r\n\r\n") {
        let count = long.read(&mut bytes).unwrap();
        assert!(count > 0);
        rest.extend_from_slice(&bytes[..count]);
    }
    wait_until("the one that was left is closed", SOON, || {
        upstream.closed() == 1
    });
}

#[test]
fn an_answer_that_stands_still_is_cut() {
    let (upstream, proxy) = start_with(Conduct::http2(), "timeouts: { idle: 300ms }");
    let answer = proxy.get("/part");
    assert_eq!((answer.text(), answer.is_whole), ("half", false));
    assert_eq!(proxy.get("/").text(), "ok");
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn a_client_that_leaves_ends_its_own_exchange() {
    let (upstream, proxy) = start(Conduct::http2());
    let mut client = proxy.connect();
    client.send(Request::get("/hold").head().as_bytes());
    wait_until("it is under way", SOON, || upstream.under_way() == 1);
    drop(client);
    wait_until("it is cancelled there", SOON, || upstream.under_way() == 0);
    assert_eq!(proxy.get("/").text(), "ok");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn an_upload_that_nobody_wants_any_more_is_stopped() {
    let (upstream, proxy) = start(Conduct::http2());
    let mut client = proxy.connect();
    client.send(
        b"POST /early HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n",
    );
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (200, "early"));
    wait_until("the backend is told", SOON, || upstream.cut_uploads() == 1);
    assert_eq!(proxy.get("/").text(), "ok");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn an_unused_connection_is_closed() {
    let (upstream, proxy) = start_with(Conduct::http2(), "timeouts: { idle: 300ms }");
    assert_eq!(proxy.get("/").text(), "ok");
    wait_until("it is closed", SOON, || upstream.closed() == 1);
    proxy.wait_for_count("serin_upstream_connections", &[], 0);
    assert_eq!(proxy.get("/").text(), "ok");
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn a_server_of_http1_takes_no_connection() {
    let stable = TestBackend::start("v1");
    let other = TestBackend::start("v2");
    let text = format!(
        "backends:\n  v1: \"{}\"\n  v2: {{ endpoints: [\"{}\"], protocol: h2 }}\n\
         flags: {{ shop: {{ stable: v1, canary: v2, default: 100% }} }}\n\
         routes: [{{ path: /bare, backend: v2 }}, {{ flag: shop }}]\n",
        stable.url(),
        other.url()
    );
    let proxy = TestProxy::start(&text);
    assert_eq!(proxy.get("/").text(), "v1", "stable answers");
    let problem = proxy.get("/bare").problem(502);
    assert_eq!(problem["detail"], "the backend does not speak HTTP/2");
    proxy.wait_for_log("does not speak HTTP/2", SOON);
    assert_eq!(
        outcomes(&proxy, &[("variant", "canary"), ("failure", "connect")]),
        1
    );
    assert_eq!(
        proxy
            .metrics()
            .count("serin_upstream_connects_total", &[("backend", "v2")]),
        0
    );
}

#[test]
fn who_is_not_known_to_speak_http2_is_found_out_with_what_cures_it() {
    let url = |address: std::net::SocketAddr| format!("http://{address}");
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    let goes = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01";
    let library = Upstream::start(Conduct::http2());
    let goes = TestBackend::with("goes", Behaviour::RawThenClose(goes.to_vec()));
    // This one says what it speaks before it is asked.
    let eager = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let eager_url = url(eager.local_addr().unwrap());
    spawn(move || {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = eager.accept() {
            // Whoever has connected may have gone.
            let _ = stream.write_all(settings);
            open.push(stream);
        }
    });
    let garbage = Behaviour::RawThenClose(b"\0\0\0\x05\0\0\0\0\0".to_vec());
    let garbage = TestBackend::with("garbage", garbage);
    let all = [
        (library.url(), true),
        (goes.url(), true),
        (eager_url, true),
        (garbage.url(), false),
    ];
    let (mut backends, mut routes) = (String::new(), String::new());
    for (number, (url, _)) in all.iter().enumerate() {
        let health = "health: { path: /, interval: 1s, unhealthy_after: 1 }";
        backends += &format!("v{number}: \"{url}\", ");
        backends += &format!("checked{number}: {{ endpoints: [\"{url}\"], {health} }}, ");
        routes += &format!("{{ path: /{number}, backend: v{number} }}, ");
        routes += &format!("{{ path: /checked{number}, backend: checked{number} }}, ");
    }
    let proxy = TestProxy::start(&format!("backends: {{ {backends} }}\nroutes: [{routes}]\n"));
    let cure = "write `protocol: h2` at the backend";
    for (number, (url, is_http2)) in all.iter().enumerate() {
        let problem = proxy.get(&format!("/{number}")).problem(502);
        let detail = problem["detail"].as_str().unwrap();
        let is_told = detail == "the backend speaks HTTP/2";
        assert_eq!(is_told, *is_http2, "{url}: {detail}");
        let address = url.trim_start_matches("http://");
        for line in [
            format!("no answer endpoint={address}"),
            format!("endpoint is unhealthy backend=checked{number}"),
        ] {
            let log = proxy.wait_for_log(&line, SOON);
            assert_eq!(log.contains(cure), *is_http2, "{url}: {log}");
        }
    }
}

#[test]
fn a_silent_server_is_given_up_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "backends: {{ v1: {{ endpoints: [\"http://{}\"], protocol: h2, \
         timeouts: {{ connect: 300ms }} }} }}\nroutes: [{{ backend: v1 }}]\n",
        silent.local_addr().unwrap()
    );
    let proxy = TestProxy::start(&text);
    scope(|threads| {
        for _ in 0..5 {
            threads.spawn(|| proxy.get("/").problem(504));
        }
    });
}

#[test]
fn another_protocol_is_spoken_after_a_reload() {
    let upstream = Upstream::start(Conduct::http2());
    let proxy = TestProxy::start(&config(&upstream, "").replace("protocol: h2", "protocol: h1"));
    proxy.get("/").problem(502);
    let text = std::fs::read_to_string(proxy.config_path()).unwrap();
    proxy.write_config(&text.replace("protocol: h1", "protocol: h2"));
    proxy.reload();
    wait_until("HTTP/2 is spoken", SOON, || proxy.get("/").status == 200);
    let status = proxy.command("GET", "/api/v1/status", "");
    assert!(
        status.text().contains("backends.v1.protocol: h1 -> h2"),
        "{}",
        status.text()
    );
}

#[test]
fn calls_of_grpc_count_by_their_status() {
    let upstream = Upstream::start(Conduct::http2());
    let stable = TestBackend::start("v1");
    let proxy = canary(&stable, &upstream, "");
    let outcome = |fault| [("variant", "canary"), ("fault", fault)];
    let status = [("variant", "canary"), ("failure", "status")];
    let cut = [("variant", "canary"), ("failure", "cut_body")];
    let ask = |path: &str| {
        let answer = proxy.ask(&Request::new("POST", path).field("te", "trailers").body("m"));
        assert_eq!(answer.status, 200);
        answer
    };
    let answer = ask("/grpc/0");
    assert_eq!(
        answer.trailers,
        [("grpc-status".to_owned(), "0".to_owned())]
    );
    ask("/grpc/head/0");
    proxy.wait_for_count("serin_outcomes_total", &outcome("none"), 2);
    for code in ["5", "16", "3"] {
        ask(&format!("/grpc/{code}"));
    }
    ask("/grpc/head/7");
    proxy.wait_for_count("serin_outcomes_total", &outcome("client"), 4);
    for code in ["2", "4", "12", "13", "14", "15"] {
        ask(&format!("/grpc/{code}"));
    }
    ask("/grpc/head/14");
    proxy.wait_for_count("serin_backend_failures_total", &status, 7);
    assert_eq!(outcomes(&proxy, &cut), 0);
    ask("/grpc/none");
    proxy.wait_for_count("serin_backend_failures_total", &cut, 1);
    assert_eq!(outcomes(&proxy, &status), 7);
}
