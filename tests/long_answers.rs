//! Requests and answers that take their time: when they are over, and whose fault it is if they are not.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::time::Duration;

use serin::runtime::clock;
use support::frames::{DATA, END_STREAM, End, Http2, frame, post};
use support::{Behaviour, Request, TestBackend, TestProxy};

const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n";

/// A proxy that gives everyone canary, and has little patience.
fn proxy(stable: &TestBackend, canary: &TestBackend, timeouts: &str) -> TestProxy {
    let endpoints = |backend: &TestBackend| {
        format!(
            "{{ endpoints: [\"{}\"], timeouts: {timeouts} }}",
            backend.url()
        )
    };
    TestProxy::start(&format!(
        "workers: 1\nbackends: {{ v1: {}, v2: {} }}\n\
         flags: {{ orders: {{ stable: v1, canary: v2, default: 100% }} }}\n\
         routes: [{{ flag: orders }}]\n",
        endpoints(stable),
        endpoints(canary)
    ))
}

fn failures(proxy: &TestProxy) -> u64 {
    proxy.metrics().count("serin_backend_failures_total", &[])
}

#[test]
fn an_upload_is_over_with_its_last_byte() {
    let (stable, canary) = (
        TestBackend::start("v1"),
        TestBackend::with("v2", Behaviour::Stall),
    );
    let proxy = proxy(&stable, &canary, "{ response: 300ms, idle: 30s }");
    let begun = clock::monotonic();
    for (stream, body, length) in [(1, "hello", "5"), (3, "", "0")] {
        let mut client = Http2::open(proxy.address());
        client.send(&post(stream, &[("content-length", length)]));
        if !body.is_empty() {
            client.send(&frame(DATA, 0, stream, body));
        }
        client.send(&frame(DATA, END_STREAM, stream, ""));
        assert_eq!(client.answer(stream), End::Answered(504));
    }
    // Not the time that a client may take to go on with its body.
    assert!(begun.elapsed() < Duration::from_secs(15));
    let timeouts = [("variant", "canary"), ("failure", "timeout")];
    proxy.wait_for_count("serin_backend_failures_total", &timeouts, 2);
}

#[test]
fn a_stream_that_is_ended_for_its_silence_is_nobodys_failure() {
    let quiet = Behaviour::RawThenSilence(EVENTS.into());
    let (stable, canary) = (TestBackend::start("v1"), TestBackend::with("v2", quiet));
    let proxy = proxy(&stable, &canary, "{ idle: 300ms }");
    let answer = proxy.get("/");
    assert_eq!((answer.text(), answer.is_whole), ("data: 1\n\n", false));
    proxy.wait_for_count("serin_requests_total", &[("variant", "canary")], 1);
    assert_eq!(failures(&proxy), 0);
}

#[test]
fn a_stream_that_stable_breaks_in_canarys_place_is_not_canarys() {
    let broken = Behaviour::RawThenClose(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
         9\r\ndata: 1\n\n\r\n"
            .into(),
    );
    let (stable, canary) = (TestBackend::with("v1", broken.clone()), TestBackend::dead());
    let proxy = proxy(&stable, &canary, "{}");
    assert!(!proxy.get("/").is_whole);
    let refused = [("variant", "canary"), ("failure", "connect")];
    proxy.wait_for_count("serin_backend_failures_total", &refused, 1);
    assert_eq!(failures(&proxy), 1);

    // Its own it is.
    let canary = TestBackend::with("v2", broken);
    let proxy = self::proxy(&stable, &canary, "{}");
    assert!(!proxy.ask(&Request::get("/")).is_whole);
    let cut = [("variant", "canary"), ("failure", "cut_body")];
    proxy.wait_for_count("serin_backend_failures_total", &cut, 1);
    proxy.wait_for_count("serin_requests_total", &[("variant", "canary")], 1);
}
