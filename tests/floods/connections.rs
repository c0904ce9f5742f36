//! Connections that do nothing, or never get to their first request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serin::runtime::clock;

use crate::support::flood::{Field, MIB, open_files_max};
use crate::support::proxy::SERIN;
use crate::support::{Behaviour, Request, SOON, wait_until};

/// What an idle connection may take, in bytes.
const IDLE_BYTES_MAX: u64 = 12 * 1024;

#[test]
fn connections_that_are_silent() {
    // Both ends of each are files, one here and one there, and there is more.
    let files = open_files_max();
    let count = files.saturating_sub(files / 4 + 200).min(10_000);
    assert!(count >= 500, "{files} files are too few");
    let field = Field::start("", Behaviour::Name, "");
    let watch = field.watch();
    let before = field.proxy.resident_bytes();
    // Every second one has been served before.
    let client = |place| {
        let mut client = TcpStream::connect(field.proxy.address()).unwrap();
        if place % 2 == 0 {
            ask(&mut client);
        }
        client
    };
    let mut clients: Vec<_> = (0..count).map(client).collect();
    wait_until("all are let in", SOON, || open_files(&field) > count);
    let most = count * IDLE_BYTES_MAX + 4 * MIB;
    let what = format!("{count}, {} KiB each", watch.growth() / count / 1024);
    watch.end_within(
        most,
        "idle connections",
        what,
        "nothing before `idle_timeout`",
    );
    // They rest, and are served all the same, once more and after a rest that follows a request.
    for client in clients.iter_mut().take(1_000) {
        ask(client);
    }
    wait_until("they rest again", SOON, || {
        let grown = field.proxy.resident_bytes().saturating_sub(before);
        grown < count * IDLE_BYTES_MAX
    });
    for client in clients.iter_mut().take(100) {
        ask(client);
    }
    drop(clients);
    wait_until("all have gone", SOON, || open_files(&field) < count);
}

/// Sends a request, in two pieces, and reads the answer.
fn ask(client: &mut TcpStream) {
    let head = Request::get("/x").head();
    let (first, rest) = head.as_bytes().split_at(7);
    client.write_all(first).unwrap();
    client.write_all(rest).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"flooded") {
        let mut piece = [0; 256];
        let length = client.read(&mut piece).unwrap();
        assert!(length > 0, "it is closed");
        answer.extend_from_slice(&piece[..length]);
    }
}

fn open_files(field: &Field) -> u64 {
    let files = format!("/proc/{}/fd", field.proxy.process());
    std::fs::read_dir(files).unwrap().count() as u64
}

#[test]
fn handshakes_that_stand_still() {
    open_files_max();
    let field = Field::start("", Behaviour::Name, "");
    let watch = field.watch();
    // The head of a record, and a little of what it says that it holds.
    let clients: Vec<_> = (0..500)
        .map(|_| {
            let mut client = TcpStream::connect(field.tls_address()).unwrap();
            client.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).unwrap();
            client
        })
        .collect();
    let timed_out = [("result", "timed_out")];
    field
        .proxy
        .wait_for_count("serin_tls_handshakes_total", &timed_out, 500);
    drop(clients);
    watch.end(
        "handshakes that stand still",
        "500 connections",
        "the connection, after `handshake_timeout`",
    );
}

#[test]
fn proxy_headers_without_end() {
    let field = Field::start("", Behaviour::Name, "");
    let watch = field.watch();
    let mut sent = 0;
    for beginning in [
        b"PROXY TCP4 ".as_slice(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ] {
        for _ in 0..100 {
            let mut client = TcpStream::connect(field.tls_address()).unwrap();
            client.write_all(beginning).unwrap();
            client.set_write_timeout(Some(SOON)).unwrap();
            while client.write_all(&[b'1'; 10_000]).is_ok() {
                sent += 10_000;
                assert!(sent < 1_000_000_000, "it goes on");
            }
        }
    }
    watch.end(
        "PROXY headers without end",
        format!("200 connections, {} KB", sent / 1_000),
        "the connection, at the longest header",
    );
}

/// How many files the process may open in the test below.
const FILES: u64 = 256;

#[test]
fn more_connections_than_files() {
    open_files_max();
    let mut program = Command::new("prlimit");
    program.args([&format!("--nofile={FILES}:{FILES}"), SERIN]);
    let field = Field::run_by(program, "", Behaviour::AnswerThenClose, "");
    let mut served = field.proxy.connect();
    let mut ask = || assert_eq!(served.ask(&Request::get("/x")).status, 200);
    ask();
    let before = (clock::monotonic(), cpu(&field));
    let clients: Vec<_> = (0..2 * FILES)
        .map(|_| TcpStream::connect(field.proxy.address()).unwrap())
        .collect();
    // Who is served goes on to be, by a new connection to the backend each time; the admin API, too.
    wait_until("others are turned away", SOON, || {
        ask();
        field.cuts("too_many") >= FILES
    });
    assert!(open_files(&field) < FILES);
    wait_until("a second has gone by", SOON, || {
        ask();
        before.0.elapsed() > Duration::from_secs(1)
    });
    let share = (cpu(&field) - before.1) / before.0.elapsed().as_secs_f64();
    assert!(share < 0.9, "it spins: {share}");
    drop(clients);
    wait_until("there is room", SOON, || {
        Request::get("/")
            .try_send_to(field.proxy.address())
            .is_ok_and(|answer| answer.status == 200)
    });
}

/// The time of processors that the proxy has taken, in seconds.
fn cpu(field: &Field) -> f64 {
    field.proxy.metrics().sum("process_cpu_seconds_total", &[])
}

#[test]
fn files_that_are_used_up_by_requests() {
    open_files_max();
    let mut program = Command::new("prlimit");
    program.args([&format!("--nofile={FILES}:{FILES}"), SERIN]);
    let field = Field::run_by(program, "", Behaviour::Slow(Duration::from_secs(60)), "");
    let mut served = field.proxy.connect();
    assert_eq!(served.ask(&Request::get("/")).status, 200);
    // Each takes a file for itself and one for a backend.
    let clients: Vec<_> = (0..FILES)
        .map(|_| {
            let mut client = TcpStream::connect(field.proxy.address()).unwrap();
            client
                .write_all(Request::get("/x").head().as_bytes())
                .unwrap();
            client
        })
        .collect();
    field.proxy.wait_for_log("cannot accept a connection", SOON);
    let before = clock::monotonic();
    wait_until("a second has gone by", SOON, || {
        assert_eq!(served.ask(&Request::get("/")).status, 200);
        before.elapsed() > Duration::from_secs(1)
    });
    // Said now and then, not each time.
    let log = field.proxy.log();
    assert_eq!(
        log.matches("cannot accept a connection").count(),
        1,
        "{log}"
    );
    drop(clients);
    wait_until("there is room", SOON, || {
        Request::get("/")
            .try_send_to(field.proxy.address())
            .is_ok_and(|answer| answer.status == 200)
    });
}
