//! Kept connections to a backend: one that is closed under a request costs nothing that may be asked twice,
//! nothing else is asked twice, and nothing of a request is left on one that is used again.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use support::raw::{Line, Raw};
use support::{Answer, Request, TestBackend, TestProxy};

const REPEATS: &str = "serin_upstream_repeats_total";

/// A proxy before a backend that is the stable of a flag, of whom everyone gets it.
fn proxy(backend: &str, more: &str) -> TestProxy {
    TestProxy::start(&format!(
        "workers: 1\nbackends:\n  v1: {{ endpoints: [\"{backend}\"], {more} }}\n  v2: \"http://[::1]\"\n\
         flags: {{ orders: {{ stable: v1, canary: v2 }} }}\nroutes: [{{ flag: orders }}]\n"
    ))
}

/// So many requests of stable ended well, and so many failed by a reset.
#[track_caller]
fn assert_evidence(proxy: &TestProxy, good: u64, reset: u64) {
    proxy.wait_for_count("serin_outcomes_total", &[], good + reset);
    let metrics = proxy.metrics();
    let labels = [("variant", "stable"), ("fault", "none")];
    assert_eq!(metrics.count("serin_outcomes_total", &labels), good);
    let labels = [("variant", "stable"), ("failure", "reset")];
    assert_eq!(
        metrics.count("serin_backend_failures_total", &labels),
        reset
    );
    assert_eq!(metrics.count("serin_backend_failures_total", &[]), reset);
}

/// The value of a field in a head.
fn field(head: &str, name: &str) -> Option<String> {
    let fields = support::http::fields_of(head);
    let found = fields.into_iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value)
}

/// How often each request came, by its number.
#[derive(Clone, Default)]
struct Register(Arc<Mutex<HashMap<String, usize>>>);

impl Register {
    fn note(&self, head: &str) {
        let number = field(head, "x-number").unwrap();
        *self.0.lock().unwrap().entry(number).or_default() += 1;
    }

    /// How many there are.
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// How often one came.
    fn times(&self, number: &str) -> usize {
        self.0.lock().unwrap().get(number).copied().unwrap_or(0)
    }

    /// Whether one came twice whose number begins so.
    fn has_twice(&self, beginning: &str) -> bool {
        let known = self.0.lock().unwrap();
        let mut known = known.iter();
        known.any(|(number, count)| number.starts_with(beginning) && *count > 1)
    }
}

/// Four clients with kept connections, each of whom asks so many times and pauses for up to 3 ms.
fn ask_on(proxy: &TestProxy, method: &'static str, each: usize) -> Vec<Answer> {
    let ask = |client: u64| -> JoinHandle<Vec<Answer>> {
        let mut connection = proxy.connect();
        spawn(move || {
            let mut random = SmallRng::seed_from_u64(client);
            let ask = |turn: usize| {
                let number = format!("{method}-{client}-{turn}");
                let answer = connection.ask(&Request::new(method, "/").field("x-number", &number));
                sleep(Duration::from_micros(random.random_range(0..3000)));
                answer
            };
            (0..each).map(ask).collect()
        })
    };
    let clients: Vec<_> = (0..4).map(ask).collect();
    let answers = clients.into_iter().map(|client| client.join().unwrap());
    answers.flatten().collect()
}

/// Answers, and closes the connection up to 3 ms later.
fn hasty(register: &Register) -> impl Fn(&mut Line<'_>) -> io::Result<()> + use<> {
    let (register, seeds) = (register.clone(), AtomicU64::new(1));
    move |line| {
        let seed = seeds.fetch_add(1, Ordering::SeqCst);
        if let Some(head) = line.head()? {
            register.note(&head);
            line.answer("ok")?;
            let pause = SmallRng::seed_from_u64(seed).random_range(0..3000);
            sleep(Duration::from_micros(pause));
        }
        Ok(())
    }
}

#[test]
fn a_backend_that_closes_soon_after_each_answer_costs_no_get_and_gets_no_post_twice() {
    let register = Register::default();
    let backend = Raw::start(hasty(&register));
    let proxy = proxy(&backend.url(), "");
    let answers = ask_on(&proxy, "GET", 200);
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(good, 800);
    assert_evidence(&proxy, 800, 0);
    assert_eq!(register.count(), 800);
    let repeats = proxy.metrics().count(REPEATS, &[]);
    let posts = ask_on(&proxy, "POST", 50);
    let lost = posts.iter().filter(|answer| answer.status == 502).count() as u64;
    let good = posts.iter().filter(|answer| answer.status == 200).count() as u64;
    assert_eq!(good + lost, 200);
    assert_evidence(&proxy, 800 + good, lost);
    assert!(!register.has_twice("POST"));
    println!("of 800 GETs {repeats} were sent once more, of 200 POSTs {lost} were lost");
}

/// A backend that answers the first request of each connection, and closes it when the next has come.
fn closing(register: &Register, before: Duration, last_words: &'static str) -> Raw {
    let register = register.clone();
    Raw::start(move |line| {
        if let Some(head) = line.head()? {
            register.note(&head);
            line.answer("ok")?;
        }
        if let Some(head) = line.head()? {
            register.note(&head);
            sleep(before);
            line.say(last_words)?;
        }
        Ok(())
    })
}

/// Asks twice, the second time by a method; the number of the second is `second`.
fn ask_twice(proxy: &TestProxy, second: &Request) -> Answer {
    let first = Request::get("/").field("x-number", "first");
    assert_eq!(proxy.ask(&first).status, 200);
    proxy.ask(&second.clone().field("x-number", "second"))
}

#[test]
fn what_may_be_asked_twice_is_asked_again_on_a_new_connection() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
        let register = Register::default();
        let backend = closing(&register, Duration::ZERO, "");
        let proxy = proxy(&backend.url(), "");
        let answer = ask_twice(&proxy, &Request::new(method, "/"));
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!((register.times("second"), backend.connections()), (2, 2));
        assert_evidence(&proxy, 2, 0);
        assert_eq!(proxy.metrics().count(REPEATS, &[("backend", "v1")]), 1);
    }
}

#[test]
fn it_comes_again_as_it_came() {
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&heads);
    let backend = Raw::start(move |line| {
        while let Some(head) = line.head()? {
            let mut heads = seen.lock().unwrap();
            heads.push(head);
            if heads.len() == 2 {
                break;
            }
            drop(heads);
            line.answer("ok")?;
        }
        Ok(())
    });
    let proxy = proxy(&backend.url(), "");
    proxy.get("/");
    let long = "y".repeat(20_000);
    let request = Request::get("/a%20b?c=d&e=%E9")
        .field("X-Odd", "a: b\t\u{e9}, c")
        .field("cookie", "a=b")
        .field("cookie", "c=d")
        .field("x-empty", "")
        .field("x-long", &long);
    assert_eq!(proxy.ask(&request).status, 200);
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 3);
    assert!(heads[1].contains(&long) && heads[1].contains("x-odd: a: b\t\u{e9}, c\r\n"));
    assert_eq!(heads[1], heads[2]);
}

#[test]
fn what_may_not_be_asked_twice_is_lost_and_counts_once() {
    for request in [
        Request::new("POST", "/"),
        Request::new("POST", "/").body("hello"),
        Request::new("PATCH", "/"),
        // These might be, but their bodies are gone.
        Request::new("PUT", "/").body("hello"),
        Request::get("/").body("hello"),
    ] {
        let register = Register::default();
        let backend = closing(&register, Duration::ZERO, "");
        let proxy = proxy(&backend.url(), "");
        ask_twice(&proxy, &request).problem(502);
        assert_eq!(register.times("second"), 1);
        assert_evidence(&proxy, 1, 1);
        assert_eq!(proxy.metrics().count(REPEATS, &[]), 0);
    }
}

#[test]
fn a_backend_that_has_begun_to_answer_or_taken_its_time_has_failed() {
    let late = Duration::from_millis(1500);
    for (before, last_words) in [(Duration::ZERO, "H"), (Duration::ZERO, HINT), (late, "")] {
        let register = Register::default();
        let backend = closing(&register, before, last_words);
        let proxy = proxy(&backend.url(), "");
        ask_twice(&proxy, &Request::get("/")).problem(502);
        assert_eq!(register.times("second"), 1);
        assert_evidence(&proxy, 1, 1);
    }
}

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";

#[test]
fn a_backend_that_closes_new_connections_too_has_failed_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let backend = Raw::start(move |line| {
        while let Some(head) = line.head()? {
            if head.starts_with("GET /poison ") {
                count.fetch_add(1, Ordering::SeqCst);
                break;
            }
            line.answer("ok")?;
        }
        Ok(())
    });
    let proxy = proxy(&backend.url(), "");
    // Several connections are kept, of which only one is used up.
    let held: Vec<_> = (0..5).map(|_| spawn_get(&proxy)).collect();
    held.into_iter()
        .for_each(|get| assert_eq!(get.join().unwrap(), 200));
    proxy.get("/poison").problem(502);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_evidence(&proxy, 5, 1);
    // On a new one at first, there is no other attempt at all.
    let fresh = crate::proxy(&backend.url(), "");
    fresh.get("/poison").problem(502);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_evidence(&fresh, 0, 1);
}

fn spawn_get(proxy: &TestProxy) -> JoinHandle<u16> {
    let mut connection = proxy.connect();
    spawn(move || connection.ask(&Request::get("/")).status)
}

#[test]
fn where_there_is_room_for_one_connection_it_is_asked_again_when_that_has_gone() {
    let register = Register::default();
    let backend = closing(&register, Duration::ZERO, "");
    let proxy = proxy(&backend.url(), "limits: { connections: 1, pending: 10 }");
    assert_eq!(ask_twice(&proxy, &Request::get("/")).status, 200);
    assert_eq!(register.times("second"), 2);
    assert_evidence(&proxy, 2, 0);
}

#[test]
fn where_the_canary_has_gone_stable_is_asked_what_does_nothing() {
    for (method, status) in [("GET", 200), ("DELETE", 502)] {
        let stable = TestBackend::start("stable");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let known = listener.try_clone().unwrap();
        let canary = Raw::on(listener, move |line| {
            if line.head()?.is_some() {
                line.answer("canary")?;
            }
            if line.head()?.is_some() {
                socket2::SockRef::from(&known).shutdown(Shutdown::Both)?;
            }
            Ok(())
        });
        let proxy = TestProxy::start(&format!(
            "workers: 1\nbackends: {{ v1: \"{}\", v2: \"{}\" }}\n\
             flags: {{ orders: {{ stable: v1, canary: v2, default: 100% }} }}\nroutes: [{{ flag: orders }}]\n",
            stable.url(),
            canary.url()
        ));
        assert_eq!(proxy.get("/").text(), "canary");
        assert_eq!(proxy.ask(&Request::new(method, "/")).status, status);
        assert_eq!(stable.requests(), usize::from(status == 200));
        let labels = [("variant", "canary"), ("failure", "connect")];
        proxy.wait_for_count("serin_backend_failures_total", &labels, 1);
    }
}

/// How a server of HTTP/2 ends a connection when its second request has come.
#[derive(Clone, Copy, Debug)]
enum Leave {
    /// Without a word.
    Silently,
    /// Saying that it has not cared for that one.
    BeforeIt,
    /// Saying that it may have.
    AfterIt,
    /// Not the connection, but the stream.
    Stream,
}

fn leaving(leave: Leave) -> (Raw, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let backend = Raw::start(move |line| {
        line.begin_http2()?;
        let first = line.stream()?;
        count.fetch_add(1, Ordering::SeqCst);
        line.answer_stream(first, "ok", true)?;
        let second = line.stream()?;
        count.fetch_add(1, Ordering::SeqCst);
        match leave {
            Leave::Silently => Ok(()),
            Leave::BeforeIt => line.go_away(first),
            Leave::AfterIt => line.go_away(second),
            Leave::Stream => {
                line.reset_stream(second, INTERNAL_ERROR)?;
                line.read_on()
            }
        }
    });
    (backend, asked)
}

const INTERNAL_ERROR: u32 = 2;

#[test]
fn over_http_2_too_only_what_may_be_asked_twice_or_was_not_cared_for_is_asked_again() {
    for (leave, method, status) in [
        (Leave::Silently, "GET", 200),
        (Leave::Silently, "POST", 502),
        (Leave::BeforeIt, "GET", 200),
        (Leave::BeforeIt, "POST", 200),
        (Leave::AfterIt, "GET", 200),
        (Leave::AfterIt, "POST", 502),
        (Leave::Stream, "GET", 502),
        (Leave::Stream, "POST", 502),
    ] {
        let (backend, asked) = leaving(leave);
        let proxy = proxy(&backend.url(), "protocol: h2");
        assert_eq!(proxy.get("/").status, 200);
        let mut request = Request::new(method, "/");
        if method == "POST" {
            request = request.body("hello");
        }
        assert_eq!(proxy.ask(&request).status, status, "{leave:?} {method}");
        let again = usize::from(status == 200);
        assert_eq!(
            asked.load(Ordering::SeqCst),
            2 + again,
            "{leave:?} {method}"
        );
        assert_evidence(&proxy, 1 + again as u64, 1 - again as u64);
    }
}

#[test]
fn a_server_of_http_2_that_closes_soon_after_each_answer_costs_no_get() {
    let seeds = AtomicU64::new(1);
    let backend = Raw::start(move |line| {
        let seed = seeds.fetch_add(1, Ordering::SeqCst);
        line.begin_http2()?;
        let stream = line.stream()?;
        line.answer_stream(stream, "ok", true)?;
        let pause = SmallRng::seed_from_u64(seed).random_range(0..3000);
        sleep(Duration::from_micros(pause));
        Ok(())
    });
    let proxy = proxy(&backend.url(), "protocol: h2");
    // One at a time, so that each finds the connection idle.
    let mut connection = proxy.connect();
    let mut random = SmallRng::seed_from_u64(0);
    for _ in 0..200 {
        let answer = connection.ask(&Request::get("/"));
        assert_eq!((answer.status, answer.text()), (200, "ok"));
        sleep(Duration::from_micros(random.random_range(0..3000)));
    }
    assert_evidence(&proxy, 200, 0);
}
