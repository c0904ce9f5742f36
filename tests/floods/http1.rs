//! Clients of HTTP/1 that take their time, or never come to an end.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::scope;
use std::time::Duration;

use crate::support::flood::{Field, narrow, open_files_max};
use crate::support::{Behaviour, SOON, wait_until};

/// Limits of time that tests can wait for.
const SHORT: &str = "limits: { header_timeout: 1s, idle_timeout: 2s }";

/// Connections on which the same was begun.
fn begin(field: &Field, count: usize, beginning: &str) -> Vec<TcpStream> {
    let client = || {
        let mut client = TcpStream::connect(field.proxy.address()).unwrap();
        client.write_all(beginning.as_bytes()).unwrap();
        client.set_nonblocking(true).unwrap();
        client
    };
    (0..count).map(|_| client()).collect()
}

/// Sends one byte more on each until `is_over`; whoever was cut is left out.
fn drip(clients: &mut Vec<TcpStream>, what: &str, mut is_over: impl FnMut(usize) -> bool) {
    wait_until(what, 2 * SOON, || {
        clients.retain_mut(|client| client.write_all(b"x").is_ok());
        is_over(clients.len())
    });
}

#[test]
fn heads_that_come_byte_by_byte() {
    open_files_max();
    let field = Field::start(SHORT, Behaviour::Name, "");
    let watch = field.watch();
    let mut clients = begin(&field, 1_000, "GET /x HTTP/1.1\r\nhost: a\r\nx: ");
    drip(&mut clients, "all are cut", |_| {
        field.cuts("slow_head") == 1_000
    });
    assert_eq!(field.backend.requests(), 0);
    watch.end(
        "slow heads",
        "1,000 connections",
        "the connection, after `header_timeout`",
    );
}

#[test]
fn bodies_that_come_byte_by_byte_and_then_not() {
    open_files_max();
    let field = Field::start(SHORT, Behaviour::Name, "timeouts: { idle: 1s }");
    let watch = field.watch();
    let mut clients = begin(
        &field,
        200,
        "POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n",
    );
    let mut rounds = 0;
    drip(&mut clients, "all have sent some", |left| {
        rounds += 1;
        assert_eq!(left, 200, "who sends is not cut");
        rounds >= 50 && field.backend.requests() == 200
    });
    let refused = clients.iter_mut().map(said);
    assert!(
        refused
            .into_iter()
            .all(|said| said.starts_with("HTTP/1.1 408"))
    );
    watch.end("slow bodies", "200 connections", "408, after the idle time");
}

/// All that a client is told until the connection ends.
fn said(client: &mut TcpStream) -> String {
    client.set_nonblocking(false).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    let mut bytes = Vec::new();
    if let Err(error) = client.read_to_end(&mut bytes) {
        // What was sent and not read any more has the connection reset.
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends pieces without end until the connection takes no more; tells how many bytes went and what was
/// said.
fn endless(field: &Field, beginning: &str, piece: &str) -> (usize, String) {
    let mut client = TcpStream::connect(field.proxy.address()).unwrap();
    client
        .set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    client.write_all(beginning.as_bytes()).unwrap();
    let pieces = piece.repeat(1_000);
    let mut sent = 0;
    while sent < 100_000_000 && client.write_all(pieces.as_bytes()).is_ok() {
        sent += pieces.len();
    }
    (sent, said(&mut client))
}

#[test]
fn what_never_comes_to_an_end() {
    let field = Field::start("", Behaviour::Name, "");
    let watch = field.watch();
    let chunked = "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let (chunk, last_chunk) = (format!("{chunked}1;x="), format!("{chunked}0\r\n"));
    let floods = [
        ("a target", "GET /", "x", "414"),
        ("a field", "GET / HTTP/1.1\r\nx: ", "x", "431"),
        ("fields", "GET / HTTP/1.1\r\n", "x: y\r\n", "431"),
        ("a chunk's extension", &*chunk, "x", "400"),
        (
            "chunks of one byte, extended",
            chunked,
            "1;xxxxxxxxxx\r\nx\r\n",
            "400",
        ),
        ("trailers", &*last_chunk, "x: y\r\n", "400"),
    ];
    let sent = scope(|scope| {
        let floods = floods.map(|(what, beginning, piece, status)| {
            let field = &field;
            scope.spawn(move || {
                let (sent, said) = endless(field, beginning, piece);
                assert!(
                    said.starts_with(&format!("HTTP/1.1 {status}")),
                    "{what}: {said}"
                );
                sent
            })
        });
        floods
            .map(|flood| flood.join().unwrap())
            .iter()
            .sum::<usize>()
    });
    let what = format!("{} KB of each of six kinds", sent / 6_000);
    watch.end(
        "heads, chunks and trailers without end",
        what,
        "414, 431 or 400",
    );
}

#[test]
fn requests_whose_answers_are_not_read() {
    let field = Field::start(SHORT, Behaviour::Echo, "timeouts: { idle: 1s }");
    let watch = field.watch();
    // Answers of some length, so that it does not take long until no more of them finds room.
    let padding = "y".repeat(2_000);
    let requests = format!("GET /x HTTP/1.1\r\nhost: a\r\nx-y: {padding}\r\n\r\n").repeat(100);
    let client = |_| (narrow(field.proxy.address()), 0);
    let mut clients: Vec<_> = (0..50).map(client).collect();
    for (client, _) in &clients {
        client.set_nonblocking(true).unwrap();
    }
    wait_until("all are cut", 2 * SOON, || {
        // Each goes on where it was stopped, so that no request is malformed.
        clients.retain_mut(
            |(client, at)| match client.write(&requests.as_bytes()[*at..]) {
                Ok(length) => {
                    *at = (*at + length) % requests.len();
                    true
                }
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            },
        );
        field.cuts("not_taking") == 50
    });
    watch.end(
        "pipelining without reading",
        "50 connections",
        "the connection, after the idle time",
    );
}
