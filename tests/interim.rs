//! What a backend says before its answer, and answers that are news for as long as there is some.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::spawn;
use std::time::Duration;

use serin::runtime::clock;
use socket2::SockRef;
use support::frames::{DATA, End, Http2, WINDOW_UPDATE, frame, get, post};
use support::recorder::Edge;
use support::{Answer, Connection, SOON, TestProxy};

/// A backend of which every step is taken by the test: it writes what it is told, and tells what it
/// reads.
struct Puppet {
    say: Sender<Option<Vec<u8>>>,
    heard: Receiver<Vec<u8>>,
    proxy: TestProxy,
}

impl Puppet {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (say, said) = channel::<Option<Vec<u8>>>();
        let (told, heard) = channel();
        spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reading = stream.try_clone().unwrap();
            spawn(move || {
                let mut piece = [0; 4096];
                while let Ok(count @ 1..) = reading.read(&mut piece) {
                    if told.send(piece[..count].to_vec()).is_err() {
                        return;
                    }
                }
            });
            for bytes in said {
                match bytes {
                    Some(bytes) => (&stream).write_all(&bytes).unwrap(),
                    None => break,
                }
            }
            // Whoever still reads is told, whatever was not read here.
            SockRef::from(&stream).shutdown(Shutdown::Both).unwrap();
        });
        Self {
            say,
            heard,
            proxy: TestProxy::start(&config(address)),
        }
    }

    fn say(&self, text: &str) {
        self.say.send(Some(text.as_bytes().to_vec())).unwrap();
    }

    fn leave(&self) {
        self.say.send(None).unwrap();
    }

    /// Waits until all was heard up to this text.
    #[track_caller]
    fn hear(&self, end: &str) -> String {
        let mut all = String::new();
        while !all.ends_with(end) {
            let piece = self.heard.recv_timeout(SOON);
            all += str::from_utf8(&piece.unwrap_or_else(|_| panic!("only {all:?}"))).unwrap();
        }
        all
    }
}

fn config(backend: SocketAddr) -> String {
    format!(
        "workers: 1\nbackends: {{ v1: \"http://{backend}\", v2: \"http://[::1]\" }}\n\
         flags: {{ orders: {{ stable: v1, canary: v2 }} }}\nroutes: [{{ flag: orders }}]\n"
    )
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OLD: &[u8] = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n";
const HINTS: &str =
    "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\nconnection: x-b\r\nx-b: 1\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const EXPECTING: &[u8] =
    b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

#[track_caller]
fn assert_hints(answer: &Answer) {
    assert_eq!(answer.status, 103);
    assert_eq!(answer.field("link"), Some("</a.css>"));
    assert_eq!(answer.field("x-b"), None);
    assert_eq!(answer.field("content-length"), None);
}

#[test]
fn hints_come_before_the_answer_is_there() {
    let puppet = Puppet::start();
    let mut client = puppet.proxy.connect();
    for _ in 0..3 {
        client.send(GET);
        puppet.hear("\r\n\r\n");
        puppet.say(HINTS);
        assert_hints(&client.answer_head());
        puppet.say(HINTS);
        assert_hints(&client.answer_head());
        puppet.say(OK);
        assert_eq!(client.answer().text(), "ok");
    }
    // In one piece with the answer.
    client.send(GET);
    puppet.hear("\r\n\r\n");
    puppet.say(&[HINTS, OK].concat());
    let first = client.answer_head();
    if first.status == 103 {
        assert_eq!(client.answer().text(), "ok");
    }
    puppet.proxy.wait_for_count("serin_requests_total", &[], 4);
}

#[test]
fn hints_stand_before_their_own_answer_where_requests_are_pipelined() {
    let edge = Edge::start();
    for _ in 0..20 {
        for _ in 0..4 {
            edge.backend
                .answer_with(&[HINTS.as_bytes(), OK.as_bytes()].concat());
        }
        let mut client = edge.proxy.connect();
        client.send(&GET.repeat(4));
        for _ in 0..4 {
            // Whether they are told before they are of no use is a matter of luck.
            let first = client.answer_head();
            if first.status == 103 {
                assert_hints(&first);
                assert_eq!(client.answer().text(), "ok");
            } else {
                let mut body = [0; 2];
                assert_eq!(client.read(&mut body).unwrap(), 2);
                assert_eq!(&body, b"ok");
            }
        }
        edge.seen();
    }
}

#[test]
fn a_body_that_looks_like_hints_is_a_body() {
    let puppet = Puppet::start();
    let mut client = puppet.proxy.connect();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", HINTS.len());
    for before in ["", HINTS, "HTTP/1.1 103 x\n\n", "HTTP/1.1 103 x\r\n\n"] {
        client.send(GET);
        puppet.hear("\r\n\r\n");
        puppet.say(&[before, &head].concat());
        let mut answer = client.answer_head();
        if answer.status == 103 {
            assert_hints(&answer);
            answer = client.answer_head();
        }
        assert_eq!(answer.status, 200, "{before:?}");
        puppet.say(HINTS);
        expect(&mut client, HINTS);
    }
}

#[test]
fn who_cannot_be_told_does_without() {
    let puppet = Puppet::start();
    let mut old = puppet.proxy.connect();
    old.send(OLD);
    puppet.hear("\r\n\r\n");
    puppet.say(&[HINTS, OK].concat());
    assert_eq!(old.answer_head().status, 200);
    let mut client = Http2::open(puppet.proxy.address());
    for stream in [1, 3] {
        client.send(&get(stream));
        puppet.hear("\r\n\r\n");
        puppet.say(&[HINTS, "HTTP/1.1 102 Processing\r\n\r\n", OK].concat());
        let end = client.answer(stream);
        assert!(matches!(end, End::Answered(200 | 103)), "{end:?}");
        assert_eq!(client.body(stream), b"ok");
    }
}

#[test]
fn a_body_that_is_kept_back_comes_when_the_backend_asks_for_it() {
    let puppet = Puppet::start();
    let mut client = puppet.proxy.connect();
    for _ in 0..3 {
        client.send(EXPECTING);
        let head = puppet.hear("\r\n\r\n");
        assert!(head.contains("expect: 100-continue"), "{head}");
        puppet.say("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(client.answer_head().status, 100);
        client.send(b"hello");
        assert_eq!(puppet.hear("hello"), "hello");
        puppet.say(OK);
        assert_eq!(client.answer_head().status, 200);
        let mut body = [0; 2];
        client.read(&mut body).unwrap();
    }
}

#[test]
fn a_body_that_is_not_wanted_is_never_asked_for() {
    for status in [
        "417 Expectation Failed",
        "401 Unauthorized",
        "413 Too Large",
        "200 OK",
    ] {
        let puppet = Puppet::start();
        let mut client = puppet.proxy.connect();
        client.send(EXPECTING);
        puppet.hear("\r\n\r\n");
        puppet.say(&format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno"));
        let answer = client.answer_head();
        assert!(
            status.starts_with(&answer.status.to_string()),
            "{status}: {}",
            answer.status
        );
        let mut body = [0; 2];
        client.read(&mut body).unwrap();
        assert_eq!(&body, b"no");
        // What it sends now is a body, if anything; it may not become a request.
        client.send_in_vain(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.is_closed(), "{status}");
        assert!(puppet.heard.recv_timeout(SOON).is_err(), "{status}");
    }
}

#[test]
fn a_backend_that_does_not_say_whether_it_wants_a_body_gets_it() {
    let puppet = Puppet::start();
    let mut client = puppet.proxy.connect();
    let begun = clock::monotonic();
    client.send(EXPECTING);
    puppet.hear("\r\n\r\n");
    assert_eq!(client.answer_head().status, 100);
    assert!(begun.elapsed() >= Duration::from_millis(900));
    client.send(b"hello");
    assert_eq!(puppet.hear("hello"), "hello");
    puppet.say(OK);
    assert_eq!(client.answer().text(), "ok");
    // One that does not wait is not kept waiting for ever.
    client.send(&[EXPECTING, b"hello"].concat());
    puppet.hear("hello");
    puppet.say(OK);
    assert_eq!(client.answer().text(), "ok");
}

#[test]
fn expectations_make_no_second_request() {
    let edge = Edge::start();
    let within = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for (expect, version) in [
        ("100-continue", "1.1"),
        ("100-Continue", "1.1"),
        ("y 100-continue", "1.1"),
        ("100-continue, x", "1.1"),
        ("100-continue\r\nExpect: 100-continue", "1.1"),
        ("", "1.1"),
        ("100-continue", "1.0"),
    ] {
        let mut client = edge.proxy.connect();
        let length = within.len();
        client.send(
            format!(
                "POST /x HTTP/{version}\r\nHost: a\r\nConnection: close\r\nExpect: {expect}\r\n\
                 Content-Length: {length}\r\n\r\n{within}"
            )
            .as_bytes(),
        );
        assert_eq!(client.answer().text(), "ok", "{expect}");
        assert!(client.is_closed());
        let seen = edge.seen();
        assert_eq!(seen.len(), 1, "{expect}");
        assert_eq!(
            (seen[0].what(), seen[0].body.as_slice()),
            ("POST /x", within.as_bytes())
        );
        let is_old = version == "1.0";
        assert_eq!(seen[0].all("expect").is_empty(), is_old, "{expect}");
    }
    // Nor an expectation of nothing.
    let mut client = edge.proxy.connect();
    client.send(b"GET /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer().text(), "ok");
    assert_eq!(edge.seen().len(), 1);
}

#[test]
fn a_client_of_http_2_is_not_told_and_need_not_be() {
    let puppet = Puppet::start();
    let mut client = Http2::open(puppet.proxy.address());
    client.send(&post(
        1,
        &[("expect", "100-continue"), ("content-length", "5")],
    ));
    let head = puppet.hear("\r\n\r\n");
    assert!(!head.contains("expect"), "{head}");
    puppet.say("HTTP/1.1 100 Continue\r\n\r\n");
    client.send(&frame(DATA, 1, 1, "hello"));
    puppet.hear("hello");
    puppet.say(OK);
    assert_eq!(client.answer(1), End::Answered(200));
    // One that is refused need not send it.
    client.send(&post(
        3,
        &[("expect", "100-continue"), ("content-length", "5")],
    ));
    puppet.hear("\r\n\r\n");
    puppet.say("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno");
    assert_eq!(client.answer(3), End::Answered(417));
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
                      transfer-encoding: chunked\r\n\r\n";

fn event(number: usize) -> (String, String) {
    let event = format!("data: {number}\n\n");
    (format!("{:x}\r\n{event}\r\n", event.len()), event)
}

/// Reads exactly this.
#[track_caller]
fn expect(client: &mut Connection, text: &str) {
    let mut all = vec![0; text.len()];
    let mut filled = 0;
    while filled < all.len() {
        let count = client.read(&mut all[filled..]).unwrap();
        assert!(
            count > 0,
            "ends in {:?}",
            String::from_utf8_lossy(&all[..filled])
        );
        filled += count;
    }
    assert_eq!(String::from_utf8_lossy(&all), text);
}

#[test]
fn each_event_comes_before_the_next_is_there() {
    let puppet = Puppet::start();
    let mut client = puppet.proxy.connect();
    client.send(GET);
    puppet.hear("\r\n\r\n");
    puppet.say(EVENTS);
    assert_eq!(client.answer_head().status, 200);
    // It counts from now on, for nobody knows when it ends.
    puppet
        .proxy
        .wait_for_count("serin_requests_total", &[("code", "200")], 1);
    for number in 0..5 {
        let (chunk, _) = event(number);
        puppet.say(&chunk);
        expect(
            &mut client,
            &chunk.to_ascii_uppercase().replace("DATA", "data"),
        );
    }
    puppet.say("0\r\n\r\n");
    expect(&mut client, "0\r\n\r\n");
    let labels = [("fault", "none")];
    puppet
        .proxy
        .wait_for_count("serin_outcomes_total", &labels, 1);
    // The same by HTTP/2.
    let mut client = Http2::open(puppet.proxy.address());
    client.send(&get(1));
    puppet.hear("\r\n\r\n");
    puppet.say(EVENTS);
    assert_eq!(client.answer(1), End::Answered(200));
    for number in 0..5 {
        let (chunk, event) = event(number);
        puppet.say(&chunk);
        assert_eq!(client.read_kind(DATA).payload, event.as_bytes());
    }
    client.send(&frame(WINDOW_UPDATE, 0, 1, [0, 0, 1, 0]));
    puppet
        .proxy
        .wait_for_count("serin_requests_total", &[("code", "200")], 2);
}

#[test]
fn events_that_break_off_are_a_failure_and_a_client_that_leaves_is_none() {
    let puppet = Puppet::start();
    let mut client = puppet.proxy.connect();
    client.send(GET);
    puppet.hear("\r\n\r\n");
    puppet.say(EVENTS);
    assert_eq!(client.answer_head().status, 200);
    puppet.leave();
    assert!(client.is_closed());
    let proxy = &puppet.proxy;
    proxy.wait_for_count(
        "serin_backend_failures_total",
        &[("failure", "cut_body")],
        1,
    );
    proxy.wait_for_count("serin_requests_total", &[("code", "200")], 1);

    let puppet = Puppet::start();
    let mut client = puppet.proxy.connect();
    client.send(GET);
    puppet.hear("\r\n\r\n");
    puppet.say(EVENTS);
    assert_eq!(client.answer_head().status, 200);
    drop(client);
    // The backend's connection ends with the client's.
    assert!(puppet.heard.recv_timeout(SOON).is_err());
    let metrics = puppet.proxy.metrics();
    assert_eq!(metrics.count("serin_backend_failures_total", &[]), 0);
    assert_eq!(
        metrics.count("serin_outcomes_total", &[("fault", "none")]),
        1
    );
}

#[test]
fn curl_shows_events_as_they_come() {
    let puppet = Puppet::start();
    let mut curl = Command::new("curl")
        .args([
            "--silent",
            "--no-buffer",
            "--max-time",
            "30",
            "--http2-prior-knowledge",
        ])
        .arg(format!("http://{}/", puppet.proxy.address()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    puppet.hear("\r\n\r\n");
    puppet.say(EVENTS);
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
    for number in 0..3 {
        puppet.say(&event(number).0);
        assert_eq!(lines.next().unwrap().unwrap(), format!("data: {number}"));
        assert_eq!(lines.next().unwrap().unwrap(), "");
    }
    puppet.say("0\r\n\r\n");
    assert!(curl.wait().unwrap().success());
}

#[test]
fn a_stream_that_nobody_reads_holds_up_the_backend() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = TestProxy::start(&config(listener.local_addr().unwrap()));
    let mut client = Http2::open(proxy.address());
    client.send(&get(1));
    let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
    SockRef::from(&stream)
        .set_send_buffer_size(64 * 1024)
        .unwrap();
    stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    stream.write_all(EVENTS.as_bytes()).unwrap();
    let chunk = [b"4000\r\n", &[b'x'; 0x4000][..], b"\r\n"].concat();
    // The client's window is 64 KiB; the sockets in between hold some, and then it is full.
    let written = (0..4_000)
        .take_while(|_| stream.write_all(&chunk).is_ok())
        .count();
    assert!(
        written < 4_000,
        "64 MiB wait for a client that does not read"
    );
    assert!(proxy.resident_bytes() < 100 * 1024 * 1024);
}
