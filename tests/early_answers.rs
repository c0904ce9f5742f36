//! Backends that answer before they have a request's body: whatever becomes of that body, none of it is read
//! as a request, none of it looks whole that is not, and nobody gets another's answer.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use support::raw::{Line, Raw};
use support::{Connection, Request, TestProxy};

/// What bodies are made of: whoever reads one as a request will think that it is one.
const BAIT: &[u8] = b"GET /bait HTTP/1.1\r\nhost: shop.test\r\n\r\n";

fn body(length: usize) -> Vec<u8> {
    BAIT.iter().copied().cycle().take(length).collect()
}

/// What a backend was asked, and what it should not have been.
#[derive(Clone, Default)]
struct Record {
    asked: Arc<Mutex<HashMap<String, usize>>>,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Record {
    fn complain(&self, what: &str) {
        self.complaints.lock().unwrap().push(what.to_owned());
    }

    /// Reads requests one after the other, as they are framed.
    fn serve(&self, line: &mut Line<'_>) -> io::Result<()> {
        while let Some(head) = line.head()? {
            let mut words = head.split(' ');
            let (method, target) = (words.next().unwrap(), words.next().unwrap_or_default());
            let target = target.to_owned();
            let known: Vec<&str> = target.split('/').collect();
            let &["", "n", _, length, manner] = &*known else {
                self.complain(&head);
                return Ok(());
            };
            *self
                .asked
                .lock()
                .unwrap()
                .entry(target.clone())
                .or_default() += 1;
            let is_early = method == "POST" && !manner.starts_with("late");
            if is_early && !answer(line, manner, &target)? {
                return Ok(());
            }
            let sent = line.body(&head)?;
            if sent != body(length.parse().unwrap()) {
                self.complain(&format!("{head}{} bytes", sent.len()));
                return Ok(());
            }
            if !is_early {
                line.answer(&target)?;
            }
        }
        Ok(())
    }
}

/// Answers in a manner; tells whether it reads on.
fn answer(line: &mut Line<'_>, manner: &str, target: &str) -> io::Result<bool> {
    let (first, second) = target.split_at(target.len() / 2);
    match manner {
        "empty" => line.say("HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n")?,
        "parts" => {
            line.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            line.say(format!("{:x}\r\n{first}\r\n", first.len()))?;
            sleep(Duration::from_micros(300));
            line.say(format!("{:x}\r\n{second}\r\n0\r\n\r\n", second.len()))?;
        }
        _ => line.answer(target)?,
    }
    Ok(manner != "leave")
}

const MANNERS: [&str; 5] = ["late", "whole", "empty", "parts", "leave"];

/// One client of many.
struct Client {
    proxy: std::net::SocketAddr,
    /// For what has no body.
    kept: Connection,
    random: SmallRng,
    /// How many of its answers came before it had sent all.
    early: usize,
}

impl Client {
    /// Sends a request with a body, some of it later or never.
    fn post(&mut self, number: &str) {
        let manner = MANNERS[self.random.random_range(0..MANNERS.len())];
        let body = body(self.random.random_range(1..40_000));
        let target = format!("/n/{number}/{}/{manner}", body.len());
        let mut request = Request::new("POST", &target);
        let is_chunked = self.random.random();
        let mut message = if is_chunked {
            request = request.field("transfer-encoding", "chunked");
            let (one, two) = body.split_at(self.random.random_range(0..body.len()));
            let chunk =
                |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
            let chunks = [one, two].into_iter().filter(|part| !part.is_empty());
            [chunks.flat_map(chunk).collect(), b"0\r\n\r\n".to_vec()].concat()
        } else {
            request = request.field("content-length", &body.len().to_string());
            body
        };
        let rest = message.split_off(self.random.random_range(0..=message.len()));
        let mut connection = Connection::open(self.proxy);
        connection.send(request.head().as_bytes());
        connection.send_in_vain(&message);
        sleep(Duration::from_micros(self.random.random_range(0..500)));
        match self.random.random_range(0..4) {
            // Leaves.
            0 => return,
            // Waits for an answer, and sends the rest behind it or leaves.
            then @ (1 | 2) if manner != "late" => {
                self.early += usize::from(!rest.is_empty());
                let answered = connection.read_answer_of("POST");
                assert_answers(answered, &target);
                if then == 1 {
                    connection.send_in_vain(&rest);
                }
                return;
            }
            _ => connection.send_in_vain(&rest),
        }
        assert_answers(connection.read_answer_of("POST"), &target);
    }

    fn get(&mut self, number: &str) {
        let target = format!("/n/{number}/0/late");
        let answer = self.kept.ask(&Request::get(&target));
        assert_eq!((answer.status, answer.text()), (200, &*target));
    }
}

/// It is this request's own answer, or it has been lost.
#[track_caller]
fn assert_answers(answered: io::Result<support::Answer>, target: &str) {
    let Ok(answer) = answered else { return };
    match answer.status {
        200 if answer.is_whole => assert_eq!(answer.text(), target),
        200 => assert!(target.as_bytes().starts_with(&answer.body)),
        413 => assert!(target.ends_with("/empty") && answer.body.is_empty()),
        lost => assert!(matches!(lost, 408 | 502), "{lost} {}", answer.text()),
    }
}

#[test]
fn nothing_of_a_body_is_read_as_a_request_whenever_the_answer_comes() {
    let record = Record::default();
    let serving = record.clone();
    let backend = Raw::start(move |line| serving.serve(line));
    let proxy = TestProxy::start(&format!(
        "workers: 1\nbackends: {{ v1: \"{}\" }}\nroutes: [{{ backend: v1 }}]\n",
        backend.url()
    ));
    let clients: Vec<_> = (0..4)
        .map(|seed| {
            let mut client = Client {
                proxy: proxy.address(),
                kept: proxy.connect(),
                random: SmallRng::seed_from_u64(seed),
                early: 0,
            };
            spawn(move || {
                for turn in 0..ROUNDS {
                    client.post(&format!("p-{seed}-{turn}"));
                    client.get(&format!("g-{seed}-{turn}"));
                }
                client.early
            })
        })
        .collect();
    let early: usize = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .sum();
    let complaints = record.complaints.lock().unwrap();
    assert!(
        complaints.is_empty(),
        "{}: {}",
        complaints.len(),
        complaints[0]
    );
    assert!(early > ROUNDS, "too few answers came early");
    let asked = record.asked.lock().unwrap();
    let twice = |(target, count): (&String, &usize)| target.starts_with("/n/p-") && *count > 1;
    assert!(!asked.iter().any(twice), "a body was sent twice");
    // Connections were used again, so that there was something to spoil.
    assert!(backend.connections() < asked.len());
    println!(
        "{} requests, {early} answered early, {} connections",
        asked.len(),
        backend.connections()
    );
}

/// How often each of four clients sends a body.
const ROUNDS: usize = 600;
