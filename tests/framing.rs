//! Messages that others might read otherwise: what is answered, that nothing comes after it, and
//! that a backend sees each sound request once, framed anew, and nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::io::Write;
use std::net::TcpStream;

use rustls::{ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use support::http::read_answers;
use support::proxy::SERIN;
use support::recorder::{Edge, Seen, config};
use support::{Answer, Authority, Recorder, SOON, TestProxy, wait_until};
use tempfile::TempDir;

/// A message that is refused, with the status of the answer.
type Rule = (u16, &'static [u8]);

/// Heads of which not one byte goes on.
// One line for each.
#[rustfmt::skip]
const HEADS: &[Rule] = &[
    // Two lengths, and lengths that are none.
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5;\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \"5\"\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: five\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \xd9\xa5\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\x0b\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length\t: 5\r\n\r\nhello"),
    // Any coding but `chunked`, and that once.
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x0c\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \xefchunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\r\n : chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nX: x\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nX: x\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (400, b"POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    // Ends of lines.
    (400, b"GET / HTTP/1.1\nHost: a\n\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    (400, b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\rX: y\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n"),
    (400, b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
    (400, b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    // Lines that go on, and names that are none.
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\n:\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX(): y\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: y\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\n\"X\": y\r\n\r\n"),
    // Characters that must not be.
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x08b\r\n\r\n"),
    (400, b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET /a\x0bb HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"G\0T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    // First lines.
    (400, b"GET /\r\n\r\n"),
    (400, b"GET\r\n\r\n"),
    (400, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\tx\r\nHost: a\r\n\r\n"),
    (400, b"GET / HTTP/11\r\nHost: a\r\n\r\n"),
    (400, b"GET / HTTP/1.11\r\nHost: a\r\n\r\n"),
    (400, b"GET / HTTP/01.1\r\nHost: a\r\n\r\n"),
    (400, b"GET / HTTP/1,1\r\nHost: a\r\n\r\n"),
    (400, b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET / XTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET / ICE/1.0\r\nHost: a\r\n\r\n"),
    (400, b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"G\xc3\x89T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET a/b HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET /<a> HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"GET http://a:99999/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    (505, b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    (505, b"GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    (501, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    // Hosts.
    (400, b"GET / HTTP/1.1\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nX: y\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\tb\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: http://a\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a#b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: ::1]\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\xe9\r\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n"),
    (400, b"GET http://a/ HTTP/1.1\r\n\r\n"),
    (400, b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    (400, b"GET http://a/ HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    // Requests of HTTP/2 on a connection of HTTP/1, and what is no HTTP.
    (505, b"PRI * HTTP/2.0\r\nHost: a\r\n\r\nSM\r\n\r\n"),
    (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    (400, b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    (400, b"{\"json\": 1}\r\n\r\n"),
];

/// Bodies of chunks that break off; the backend may have seen the beginning and never an end.
const CHUNKS: &[&[u8]] = &[
    b"x\r\n",
    b"\r\n",
    b";\r\n",
    b"-1\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n",
    b"5\rhello\r\n0\r\n\r\n",
    b"5\r\r\nhello\r\n0\r\n\r\n",
    b"5;a\nhello\r\n0\r\n\r\n",
    b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    b"5;\n\r\nhello\r\n0\r\n\r\n",
    b"5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
    b"5;a\0\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhelloXX0\r\n\r\n",
    b"5\r\nhello\r\r\n0\r\n\r\n",
    b"5\r\nhello!\r\n0\r\n\r\n",
    b"6\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    b"1000000000000000a\r\nhello\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    b"00000000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
    b"0\n\n",
    b"0\r\n\n",
    b"0\n\r\n",
    b"0\r\nx: y\n\r\n",
    b"0\r\nx: y\rz\r\n\r\n",
    b"0\r\n x: y\r\n\r\n",
    b"0\r\nx: y\r\n z\r\n\r\n",
    b"0\r\n: y\r\n\r\n",
    b"0\r\nx : y\r\n\r\n",
    b"0\r\nno colon\r\n\r\n",
    b"0\r\nx: a\0b\r\n\r\n",
    b"0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    b"0\r\n\rX\r\n\r\n",
];

/// A request in front of what is tried, so that it comes pipelined.
const SOUND: &[u8] = b"POST /sound HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";

/// The same as the last of its connection.
const LAST: &[u8] =
    b"POST /sound HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";

/// A request behind it, which must never be one.
const BEHIND: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// What went otherwise than it should, all of a table at once.
#[derive(Default)]
struct Complaints(Vec<String>);

impl Complaints {
    fn note(&mut self, what: &[u8], said: impl std::fmt::Debug) {
        self.0.push(format!("{}: {said:?}", what.escape_ascii()));
    }

    /// The last of the answers must be this refusal, and those before are to sound requests.
    fn check_refused(&mut self, what: &[u8], answers: &[Answer], sound: usize, status: u16) {
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        if statuses != [vec![200; sound], vec![status]].concat() {
            self.note(what, statuses);
        }
        let says_why = answers.last().is_some_and(|answer| {
            answer.field("content-type") == Some("application/problem+json")
                && answer.text().contains("\"detail\":\"")
        });
        if !says_why {
            self.note(what, "without a word of why");
        }
    }

    /// Only the sound requests have come, each once and whole.
    fn check_seen(&mut self, what: &[u8], seen: &[Seen], sound: usize) {
        let is_sound =
            |seen: &Seen| seen.what() == "POST /sound" && seen.body == b"abc" && seen.is_whole;
        if seen.len() != sound || !seen.iter().all(is_sound) {
            self.note(what, seen);
        }
    }
}

impl Drop for Complaints {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "\n{}", self.0.join("\n"));
        }
    }
}

/// Tries all heads, each behind so many sound requests, in pieces of a size.
fn try_heads(sound: usize, size: usize) {
    let edge = Edge::start();
    let mut complaints = Complaints::default();
    for (status, message) in HEADS {
        let all = [&SOUND.repeat(sound), *message, BEHIND].concat();
        let pieces: Vec<_> = all.chunks(size).collect();
        let answers = edge.send(&pieces);
        complaints.check_refused(message, &answers, sound, *status);
        complaints.check_seen(message, &edge.seen(), sound);
    }
}

#[test]
fn a_head_that_breaks_a_rule_is_refused_and_nothing_of_it_goes_on() {
    try_heads(0, usize::MAX);
}

#[test]
fn what_comes_behind_sound_requests_is_refused_just_so() {
    try_heads(2, usize::MAX);
}

#[test]
fn bytes_one_by_one_make_no_difference() {
    try_heads(1, 1);
}

#[test]
fn a_body_of_bad_chunks_is_refused_and_never_becomes_whole() {
    let edge = Edge::start();
    let mut complaints = Complaints::default();
    let head = b"POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in CHUNKS {
        let broken = [head, *chunks, BEHIND].concat();
        for (sound, size) in [(0, usize::MAX), (1, usize::MAX), (0, 1), (1, 1)] {
            let all = [&SOUND.repeat(sound), broken.as_slice()].concat();
            let pieces: Vec<_> = all.chunks(size).collect();
            let answers = edge.send(&pieces);
            complaints.check_refused(chunks, &answers, sound, 400);
            let mut seen = edge.seen();
            if seen.len() > sound {
                let last = seen.pop().unwrap();
                let is_beginning =
                    last.what() == "POST /chunks" && b"hello!".starts_with(&last.body);
                if last.is_whole || !is_beginning {
                    complaints.note(chunks, last);
                }
            }
            complaints.check_seen(chunks, &seen, sound);
        }
    }
}

#[test]
fn what_is_too_long_is_named() {
    let edge = Edge::start();
    let mut complaints = Complaints::default();
    let long = |length| "x".repeat(length);
    for (status, message) in [
        (501, format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", long(65))),
        (501, long(40_000)),
        (
            414,
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", long(17_000)),
        ),
        (414, format!("GET /{}", long(40_000))),
        (
            431,
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", long(33_000)),
        ),
        (
            431,
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", long(100_000)),
        ),
        (
            431,
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "X: y\r\n".repeat(8_000)
            ),
        ),
        (
            431,
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "X: y\r\n".repeat(101)
            ),
        ),
    ] {
        let what = &message.as_bytes()[..message.len().min(80)];
        let answers = edge.send(&[SOUND, message.as_bytes(), BEHIND]);
        complaints.check_refused(what, &answers, 1, status);
        complaints.check_seen(what, &edge.seen(), 1);
    }
}

/// What is unusual and can be read in one way only, with what the backend sees of it.
// One line for each.
#[rustfmt::skip]
const UNUSUAL: &[(&[u8], &str, &[u8])] = &[
    (b"\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x", b""),
    (b"GET /x HTTP/1.1\r\nHost:a\r\n\r\n", "GET /x", b""),
    (b"GET /x HTTP/1.1\r\nHOST: \t a \t \r\n\r\n", "GET /x", b""),
    (b"GET /x HTTP/1.1\r\nHost: a\r\nX:\r\nY: \xe9\r\n\r\n", "GET /x", b""),
    (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS *", b""),
    (b"OPTIONS http://a HTTP/1.1\r\nHost: b\r\n\r\n", "OPTIONS /", b""),
    (b"GET http://a?x HTTP/1.1\r\nHost: b\r\n\r\n", "GET /?x", b""),
    (b"GET http://a/x HTTP/1.1\r\nHost: b:80\r\n\r\n", "GET /x", b""),
    (b"GET //x/../y?a=b?c HTTP/1.1\r\nHost: a\r\n\r\n", "GET //x/../y?a=b?c", b""),
    (b"GET /http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET /http://b/", b""),
    (b"get /x HTTP/1.1\r\nHost: a\r\n\r\n", "get /x", b""),
    (b"M-SEARCH /x HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH /x", b""),
    (b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "GET /x", b"abc"),
    (b"DELETE /x HTTP/1.1\r\nHost: a\r\nContent-Length: 003\r\n\r\nabc", "DELETE /x", b"abc"),
    (b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "GET /x", b""),
    (b"GET /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "GET /x", b"abc"),
    (b"POST /x HTTP/1.1\r\nHost: a\r\ntransfer-encoding: CHUNKED\r\n\r\n0003\r\nabc\r\n00\r\n\r\n", "POST /x", b"abc"),
    (b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b;c=\"d;e\"\r\nabc\r\n0;f\r\nx: y\r\n\r\n", "POST /x", b"abc"),
    (b"POST /x HTTP/1.1\r\nHost: a\r\nX-Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc", "POST /x", b"abc"),
    (b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc", "POST /x", b"abc"),
];

#[test]
fn what_is_unusual_and_sound_goes_on_once_and_so_does_what_follows() {
    let edge = Edge::start();
    let mut complaints = Complaints::default();
    for (message, expected, body) in UNUSUAL {
        let all = [SOUND, message, LAST].concat();
        for size in [usize::MAX, 1] {
            let pieces: Vec<_> = all.chunks(size).collect();
            let answers = edge.send(&pieces);
            let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
            let mut seen = edge.seen();
            if statuses != [200; 3] || seen.len() != 3 {
                complaints.note(message, (statuses, seen));
                continue;
            }
            let own = seen.remove(1);
            complaints.check_seen(message, &seen, 2);
            let is_same = own.what() == *expected && own.body == *body && own.is_whole;
            if !is_same || own.all("host") != ["a"] {
                complaints.note(message, own);
            }
        }
    }
}

#[test]
fn over_tls_the_rules_are_the_same() {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    authority.issue("a", &["a.test"]).write(folder.path(), "a");
    let backend = Recorder::start();
    let text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\", tls: {{ certificates: [{{ cert: a.pem, key: a.key }}] }} }}]\n\
         admin: {{ address: \"127.0.0.1:0\" }}\nstate: {{ path: state }}\n{}",
        config(&backend)
    );
    std::fs::write(folder.path().join("serin.yaml"), text).unwrap();
    let proxy = TestProxy::in_folder(folder.path(), std::process::Command::new(SERIN));
    let mut complaints = Complaints::default();
    for (status, message) in HEADS.iter().step_by(7) {
        let all = [SOUND, message, BEHIND].concat();
        for size in [usize::MAX, 1] {
            let name = ServerName::try_from("a.test").unwrap();
            let client = ClientConnection::new(authority.trusting_client(), name).unwrap();
            let socket = TcpStream::connect(proxy.address()).unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            let mut stream = StreamOwned::new(client, socket);
            for piece in all.chunks(size) {
                let _ = stream.write_all(piece).and_then(|()| stream.flush());
            }
            let answers = read_answers(stream);
            complaints.check_refused(message, &answers, 1, *status);
            complaints.check_seen(message, &backend.take(), 1);
        }
    }
}

#[test]
fn a_sound_request_in_front_keeps_its_own_answer() {
    let backend = Recorder::start();
    let url = backend.url();
    let proxy = TestProxy::start(&format!(
        "workers: 1\nbackends: {{ v1: \"{url}\" }}\nroutes: [{{ path: /here, backend: v1 }}]\n"
    ));
    let edge = Edge { proxy, backend };
    let all = b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\nHost: a\r\n\r\n";
    let answers = edge.send(&[all]);
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [404, 400]);
}

#[test]
fn refusals_are_counted_as_the_clients() {
    let edge = Edge::start();
    let heads = [
        &b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /< HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for head in heads {
        edge.send(&[head]);
    }
    wait_until("they are counted", SOON, || {
        let metrics = edge.proxy.metrics();
        metrics.count("serin_requests_total", &[("code", "400")]) == heads.len() as u64
    });
    let metrics = edge.proxy.metrics();
    assert_eq!(metrics.count("serin_backend_failures_total", &[]), 0);
}

#[test]
fn a_client_that_was_refused_gets_to_read_why_whatever_it_still_sends() {
    let edge = Edge::start();
    let mut complaints = Complaints::default();
    let rest = vec![b'x'; 200_000];
    let message: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n";
    for _ in 0..20 {
        let answers = edge.send(&[message, &rest]);
        complaints.check_refused(message, &answers, 0, 400);
        assert!(
            answers[0]
                .text()
                .contains("`Content-Length` must be one number")
        );
        assert_eq!(answers[0].field("connection"), Some("close"));
    }
}
