//! Requests by which another parser is tested, sent as they are and with a `Host` put in: whatever
//! they are, a backend sees only whole requests that were among them, each once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs;

use support::recorder::{Edge, Seen};

/// One line of the file.
struct Vector {
    bytes: Vec<u8>,
    /// Whether nothing may reach a backend behind the first request, if that is sound.
    is_broken: bool,
}

fn vectors() -> Vec<Vector> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/vectors/llhttp_requests.txt"
    );
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (literal, flag) = line.rsplit_once('\t').unwrap();
            Vector {
                bytes: bytes(literal),
                is_broken: flag == "1",
            }
        })
        .collect()
}

/// Reads a literal of bytes in Python.
fn bytes(literal: &str) -> Vec<u8> {
    let quoted = literal.strip_prefix('b').unwrap();
    let mut text = quoted[1..quoted.len() - 1].bytes();
    let mut bytes = Vec::new();
    while let Some(byte) = text.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match text.next().unwrap() {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'x' => {
                let digits = [text.next().unwrap(), text.next().unwrap()];
                u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            same @ (b'\\' | b'\'' | b'"') => same,
            other => panic!("what is \\{}?", char::from(other)),
        });
    }
    bytes
}

/// Puts `Host` behind each first line that is followed by fields without one.
fn with_hosts(bytes: &[u8]) -> Vec<u8> {
    let mut with = Vec::new();
    let mut rest = bytes;
    while let Some(at) = position(rest, b" HTTP/1.").filter(|at| rest.len() >= at + 11) {
        let (line, behind) = rest.split_at(at + 11);
        let fields = &behind[..position(behind, b"\r\n\r\n").unwrap_or(behind.len())];
        with.extend_from_slice(line);
        let is_line = line.ends_with(b"\r\n");
        if is_line && position(&fields.to_ascii_lowercase(), b"host:").is_none() {
            with.extend_from_slice(b"Host: a\r\n");
        }
        rest = behind;
    }
    [&with, rest].concat()
}

fn position(bytes: &[u8], part: &[u8]) -> Option<usize> {
    (0..=bytes.len()).find(|at| bytes[*at..].starts_with(part))
}

/// How many first lines of requests there are at most.
fn lines(bytes: &[u8]) -> usize {
    let parts = bytes.windows(8).filter(|part| part == b" HTTP/1.");
    parts.count()
}

/// What is wrong about what a backend has seen of a vector.
fn wrong(vector: &Vector, sent: &[u8], seen: &[Seen]) -> Option<&'static str> {
    // A target that names a host goes on without it.
    let is_sent = |seen: &Seen| {
        let (method, target) = seen.what().split_once(' ').unwrap_or_default();
        let target = target.strip_prefix('/').unwrap_or(target);
        [method, target]
            .iter()
            .all(|part| position(sent, part.as_bytes()).is_some())
    };
    let all_but_last = seen.len().saturating_sub(1);
    if vector.is_broken && seen.len() > 1 {
        Some("something has come behind the first")
    } else if seen.len() > lines(sent) {
        Some("there are more than were sent")
    } else if !seen[..all_but_last].iter().all(|seen| seen.is_whole) {
        Some("one in the middle is not whole")
    } else if !seen.iter().all(is_sent) {
        Some("a target has changed")
    } else {
        None
    }
}

#[test]
fn a_backend_sees_no_more_of_each_vector_than_whole_requests() {
    let edge = Edge::start();
    let (mut complaints, mut forwarded) = (Vec::new(), 0);
    let vectors = vectors();
    assert_eq!(vectors.len(), 133);
    for vector in &vectors {
        for sent in [vector.bytes.clone(), with_hosts(&vector.bytes)] {
            for size in [usize::MAX, 1] {
                let pieces: Vec<_> = sent.chunks(size).collect();
                let answers = edge.send_for_a_while(&pieces);
                let seen = edge.seen();
                forwarded += seen.len();
                let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
                let more = statuses.iter().filter(|status| **status == 200).count() > seen.len();
                let wrong = match wrong(vector, &sent, &seen) {
                    None if more => Some("more answers than requests"),
                    wrong => wrong,
                };
                if let Some(wrong) = wrong {
                    let sent = sent.escape_ascii();
                    complaints.push(format!("{sent}: {wrong}, {statuses:?}, {seen:?}"));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    // Most are sound but for their host.
    assert!(forwarded > 150, "{forwarded}");
}
