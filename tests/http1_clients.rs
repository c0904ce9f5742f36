//! Both that speak HTTP/1.1 to backends: what must hold whichever is configured.
//!
//! All other tests run with the default; with `SERIN_TEST_HTTP1_CLIENT=hyper` they run with the other.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::spawn;

use support::frames::{DATA, End, Http2, frame, post};
use support::raw::Raw;
use support::{Behaviour, Request, SOON, TestBackend, TestProxy, wait_until};

const CLIENTS: [&str; 2] = ["own", "hyper"];

fn config(url: &str, client: &str) -> String {
    format!(
        "workers: 1\nbackends: {{ v1: {{ endpoints: [\"{url}\"], http1_client: {client} }} }}\n\
         routes: [{{ backend: v1 }}]\n"
    )
}

fn proxy(url: &str, client: &str) -> TestProxy {
    TestProxy::start(&config(url, client))
}

#[test]
fn an_upload_goes_on_while_nobody_reads_an_answer_that_came_early() {
    const UPLOAD: usize = 4 * 1024 * 1024;
    for client in CLIENTS {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let has_all = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&has_all);
        let serving = spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut answering = stream.try_clone().unwrap();
            let mut head = [0; 1];
            stream.read_exact(&mut head).unwrap();
            let length = 16 * 1024 * 1024;
            let answer = spawn(move || {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                answering.write_all(head.as_bytes()).unwrap();
                answering.write_all(&vec![b'a'; length]).unwrap();
            });
            let (mut read, mut piece) = (0, [0; 64 * 1024]);
            while read < UPLOAD {
                read += stream.read(&mut piece).unwrap();
            }
            seen.store(true, Ordering::SeqCst);
            answer.join().unwrap();
            length
        });
        let proxy = proxy(&url, client);
        let mut connection = proxy.connect();
        let request = Request::new("POST", "/").field("content-length", &UPLOAD.to_string());
        connection.send(request.head().as_bytes());
        connection.send(&vec![b'u'; UPLOAD]);
        let all_came = || has_all.load(Ordering::SeqCst);
        wait_until("the upload is there", SOON, all_came);
        let answer = connection.read_answer_of("POST").unwrap();
        assert_eq!(
            (answer.status, answer.body.len()),
            (200, serving.join().unwrap()),
            "{client}"
        );
    }
}

#[test]
fn no_request_is_lost_on_a_connection_that_was_closed_while_nobody_used_it() {
    for client in CLIENTS {
        let backend = TestBackend::start("v1");
        let proxy = proxy(&backend.url(), client);
        let all_closed = || {
            let open = proxy.metrics().count("serin_upstream_connections", &[]);
            open == 0
        };
        let mut connection = proxy.connect();
        for turn in 1..=10 {
            // Nobody may send this one twice.
            let answer = connection.ask(&Request::new("POST", "/"));
            assert_eq!((answer.status, answer.text()), (200, "v1"), "{client}");
            assert_eq!(backend.connections(), turn, "{client}");
            backend.drop_connections();
            if client == "hyper" {
                // It is another task that finds out.
                wait_until("it is known", SOON, all_closed);
            }
        }
        // It is found out without a request as well.
        wait_until("it is known", SOON, all_closed);
    }
}

#[test]
fn a_body_that_is_there_as_a_whole_is_not_waited_for() {
    for client in CLIENTS {
        let backend = TestBackend::with("v1", Behaviour::Verify);
        let proxy = proxy(&backend.url(), client);
        let mut requests = Http2::open(proxy.address());
        // None of these streams ever ends.
        for (turn, body) in [&b"abc"[..], b"", b"abcde"].into_iter().enumerate() {
            let stream = 2 * u32::try_from(turn).unwrap() + 1;
            let length = body.len().to_string();
            let head = post(stream, &[("content-length", &length)]);
            requests.send(&[head, frame(DATA, 0, stream, body)].concat());
            assert_eq!(requests.answer(stream), End::Answered(200), "{client}");
            requests.body(stream);
        }
        assert_eq!(backend.requests(), 3);
        assert_eq!(backend.connections(), 1, "{client}");
    }
}

#[test]
fn a_connection_on_which_something_comes_unasked_is_used_no_more() {
    for client in CLIENTS {
        let spoken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&spoken);
        let backend = Raw::start(move |line| {
            while line.head()?.is_some() {
                line.answer("ok")?;
                line.answer("poison")?;
                count.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        });
        let proxy = proxy(&backend.url(), client);
        let mut connection = proxy.connect();
        for turn in 1..=10 {
            let answer = connection.ask(&Request::get("/"));
            assert_eq!((answer.status, answer.text()), (200, "ok"), "{client}");
            wait_until("it has spoken", SOON, || {
                spoken.load(Ordering::SeqCst) == turn
            });
        }
        assert_eq!(backend.connections(), 10, "{client}");
    }
}

#[test]
fn an_answers_head_has_a_bound() {
    for client in CLIENTS {
        // hyper takes up to half as much again, as it happens to come.
        for (bytes, status) in [(30_000, 200), (60_000, 502), (400_000, 502)] {
            let backend = Raw::start(move |line| {
                while line.head()?.is_some() {
                    let field = "x".repeat(bytes);
                    line.say(format!(
                        "HTTP/1.1 200 OK\r\na: {field}\r\ncontent-length: 0\r\n\r\n"
                    ))?;
                }
                Ok(())
            });
            let proxy = proxy(&backend.url(), client);
            let answer = proxy.connect().ask(&Request::get("/"));
            assert_eq!(answer.status, status, "{client}: {bytes}");
        }
    }
}

#[test]
fn whoever_is_configured_takes_over_at_a_reload_and_no_connection_is_used_by_both() {
    let backend = TestBackend::start("v1");
    let proxy = proxy(&backend.url(), "own");
    let mut connection = proxy.connect();
    for turn in 1..=4 {
        for _ in 0..3 {
            assert_eq!(connection.ask(&Request::get("/")).status, 200);
        }
        assert_eq!(backend.connections(), turn);
        let client = CLIENTS[turn % 2];
        let written = std::fs::read_to_string(proxy.config_path()).unwrap();
        let other = CLIENTS[(turn + 1) % 2];
        let reloads = [("result", "taken")];
        let before = proxy
            .metrics()
            .count("serin_config_reloads_total", &reloads);
        let (now, then) = (
            format!("http1_client: {other}"),
            format!("http1_client: {client}"),
        );
        assert!(written.contains(&now));
        proxy.write_config(&written.replace(&now, &then));
        proxy.reload();
        let is_read = || {
            proxy
                .metrics()
                .count("serin_config_reloads_total", &reloads)
                > before
        };
        wait_until("it is read", SOON, is_read);
    }
}
