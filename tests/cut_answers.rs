//! An answer that a backend cuts is never shown whole, whatever either side speaks.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]
#![allow(clippy::print_stdout, reason = "the rows are to be read")]

mod support;

use std::io;
use std::time::Duration;

use support::TestProxy;
use support::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, Http2, RST_STREAM, block, frame, get,
};
use support::raw::{Line, Raw};

/// How a backend ends an answer of which a caller has the beginning.
struct Ending {
    name: &'static str,
    /// `h2` or `auto`.
    protocol: &'static str,
    serve: fn(&mut Line<'_>) -> io::Result<()>,
    is_whole: bool,
}

const fn http1(name: &'static str, serve: fn(&mut Line<'_>) -> io::Result<()>) -> Ending {
    Ending {
        name,
        protocol: "auto",
        serve,
        is_whole: false,
    }
}

const fn http2(name: &'static str, serve: fn(&mut Line<'_>) -> io::Result<()>) -> Ending {
    Ending {
        protocol: "h2",
        ..http1(name, serve)
    }
}

const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
const CHUNK: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
const ENDLESS: &str = "HTTP/1.1 200 OK\r\n\r\nhello";

/// Reasons of HTTP/2.
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const CANCEL: u32 = 8;

const ENDINGS: &[Ending] = &[
    Ending {
        is_whole: true,
        ..http1("ends it", |line| line.answer("hello"))
    },
    Ending {
        is_whole: true,
        ..http1("ends it with the connection", |line| line.say(ENDLESS))
    },
    http1("closes before its length", |line| line.say(HALF)),
    http1("closes before the last chunk", |line| line.say(CHUNK)),
    http1("closes within the last chunk", |line| {
        line.say([CHUNK, "0\r\n"].concat())
    }),
    http1("sends garbage for a chunk", |line| {
        line.say([CHUNK, "no chunk\r\n"].concat())?;
        line.read_on()
    }),
    http1("resets what would end with the connection", |line| {
        line.say(ENDLESS)?;
        line.read_on_for(Duration::from_millis(50));
        line.reset();
        Ok(())
    }),
    Ending {
        is_whole: true,
        ..http2("ends it", |line| {
            let stream = line.stream()?;
            line.answer_stream(stream, "hello", true)
        })
    },
    http2("resets the stream", |line| reset(line, INTERNAL_ERROR)),
    http2("resets the stream without an error", |line| {
        reset(line, NO_ERROR)
    }),
    http2("cancels the stream", |line| reset(line, CANCEL)),
    http2("closes the connection", |line| {
        let stream = line.stream()?;
        line.answer_stream(stream, "hello", false)?;
        closes()
    }),
    http2("goes and closes the connection", |line| {
        let stream = line.stream()?;
        line.answer_stream(stream, "hello", false)?;
        line.go_away(stream)?;
        closes()
    }),
    http2("ends the stream before its length", |line| {
        let stream = line.stream()?;
        let head = block(&[(":status", "200"), ("content-length", "10")]);
        line.say(frame(HEADERS, END_HEADERS, stream, head))?;
        line.say(frame(DATA, END_STREAM, stream, "hello"))
    }),
];

fn reset(line: &mut Line<'_>, code: u32) -> io::Result<()> {
    let stream = line.stream()?;
    line.answer_stream(stream, "hello", false)?;
    line.reset_stream(stream, code)
}

/// Ends a connection of HTTP/2, on which others go on to the next stream.
fn closes() -> io::Result<()> {
    Err(io::ErrorKind::ConnectionAborted.into())
}

/// Whether an answer looks whole to a client of HTTP/1.1.
fn is_whole_over_http1(proxy: &TestProxy) -> bool {
    let answer = proxy.get("/x");
    answer.status == 200 && answer.is_whole
}

/// The same over HTTP/2.
fn is_whole_over_http2(proxy: &TestProxy) -> bool {
    let mut client = Http2::open(proxy.address());
    client.send(&get(1));
    loop {
        let Ok(frame) = client.read() else {
            return false;
        };
        if frame.stream != 1 {
            continue;
        }
        match frame.kind {
            RST_STREAM => return false,
            HEADERS | DATA if frame.flags & END_STREAM != 0 => return true,
            _ => {}
        }
    }
}

#[test]
fn no_answer_that_was_cut_looks_whole_to_anybody() {
    println!("| over | the backend | HTTP/1.1 caller | HTTP/2 caller |");
    println!("| --- | --- | --- | --- |");
    for ending in ENDINGS {
        let (serve, protocol) = (ending.serve, ending.protocol);
        let backend = Raw::start(move |line| {
            if protocol == "h2" {
                line.begin_http2()?;
                loop {
                    serve(line)?;
                }
            } else {
                line.head()?;
                serve(line)
            }
        });
        let proxy = TestProxy::start(&format!(
            "workers: 1\nbackends:\n  v1: {{ endpoints: [\"{}\"], protocol: {protocol} }}\n  v2: \"http://[::1]\"\n\
             flags: {{ orders: {{ stable: v1, canary: v2 }} }}\nroutes: [{{ flag: orders }}]\n",
            backend.url(),
        ));
        let seen = [is_whole_over_http1(&proxy), is_whole_over_http2(&proxy)];
        assert_eq!(seen, [ending.is_whole; 2], "{protocol} {}", ending.name);
        let (fault, count) = if ending.is_whole {
            ("none", 2)
        } else {
            let labels = [("failure", "cut_body"), ("variant", "stable")];
            proxy.wait_for_count("serin_backend_failures_total", &labels, 2);
            ("backend", 2)
        };
        proxy.wait_for_count("serin_outcomes_total", &[("fault", fault)], count);
        assert_eq!(proxy.metrics().count("serin_outcomes_total", &[]), 2);
        let words = seen.map(|is_whole| if is_whole { "whole" } else { "visibly cut" });
        println!(
            "| {protocol} | {} | {} | {} |",
            ending.name, words[0], words[1]
        );
    }
}

#[test]
fn an_answer_that_was_cut_before_a_byte_of_its_body_has_a_head_and_does_not_look_whole() {
    let head = block(&[(":status", "200")]);
    let head = move |line: &mut Line<'_>| {
        let stream = line.stream()?;
        line.say(frame(HEADERS, END_HEADERS, stream, &head))?;
        Ok::<_, io::Error>(stream)
    };
    let other_head = head.clone();
    for (backend, protocol) in [
        (
            Raw::start(|line| {
                line.head()?;
                line.say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
            }),
            "auto",
        ),
        (
            Raw::start(move |line| {
                line.begin_http2()?;
                loop {
                    let stream = head(line)?;
                    line.reset_stream(stream, NO_ERROR)?;
                }
            }),
            "h2",
        ),
        (
            Raw::start(move |line| {
                line.begin_http2()?;
                other_head(line).map(|_| ())
            }),
            "h2",
        ),
    ] {
        let proxy = TestProxy::start(&format!(
            "workers: 1\nbackends: {{ v1: {{ endpoints: [\"{}\"], protocol: {protocol} }} }}\nroutes: [{{ backend: v1 }}]\n",
            backend.url()
        ));
        // A client that got nothing at all might ask again.
        let answer = proxy.get("/");
        assert_eq!((answer.status, answer.is_whole), (200, false));
        assert!(!is_whole_over_http2(&proxy));
    }
}
