//! Backends that are not there for a while: how long callers wait, whom it costs anything, and how soon it is
//! over.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]
#![allow(clippy::print_stdout, reason = "the times are to be read")]

mod support;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use serin::runtime::clock;
use socket2::{Domain, Socket, Type};
use support::blackhole::Blackhole;
use support::frames::{END_HEADERS, HEADERS, block, frame};
use support::lateness::Lateness;
use support::raw::{Line, Raw};
use support::{Answer, Behaviour, Connection, Request, TestBackend, TestProxy};

/// Each limit of the backend that fails.
const LIMIT: Duration = Duration::from_millis(500);

/// How much later than its limit a caller may be told.
const GRACE: Duration = Duration::from_millis(100);

/// How soon a backend that is there again is used.
const RECOVERY: Duration = Duration::from_secs(1);

/// How many wait at once.
const CALLERS: usize = 200;

/// A proxy that sends `/bad` to a backend that fails, `/slow` to one that is slow, and all else to one that is
/// neither.
fn proxy(bad: &str, good: &TestBackend, slow: &TestBackend) -> TestProxy {
    let limit = LIMIT.as_millis();
    TestProxy::start(&format!(
        "workers: 1\nbackends:\n  good: \"{}\"\n  slow: \"{}\"\n  \
         bad: {{ endpoints: [\"{bad}\"], timeouts: {{ connect: {limit}ms, response: {limit}ms, idle: {limit}ms }} }}\n\
         routes: [{{ path: /bad, backend: bad }}, {{ path: /slow, backend: slow }}, {{ backend: good }}]\n",
        good.url(),
        slow.url()
    ))
}

/// Asks for something else on and on, and tells how long an answer took at the most.
struct Neighbour {
    is_stopping: Arc<AtomicBool>,
    asking: JoinHandle<(u64, Duration)>,
}

impl Neighbour {
    fn start(proxy: &TestProxy) -> Self {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_stopping);
        let mut connection = proxy.connect();
        let asking = spawn(move || {
            let (mut count, mut slowest) = (0, Duration::ZERO);
            while !stop.load(Ordering::SeqCst) {
                let begun = clock::monotonic();
                assert_eq!(connection.ask(&Request::get("/")).text(), "good");
                slowest = slowest.max(begun.elapsed());
                count += 1;
                sleep(Duration::from_millis(2));
            }
            (count, slowest)
        });
        Self {
            is_stopping,
            asking,
        }
    }

    fn stop(self) -> (u64, Duration) {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.asking.join().unwrap()
    }
}

/// Many callers who have asked for the same at once, and read on a thread of their own.
struct Crowd(JoinHandle<(Duration, Duration)>);

impl Crowd {
    /// Asks, and looks at each answer.
    fn ask(proxy: &TestProxy, path: &str, is_told: fn(&Answer) -> bool) -> Self {
        let mut callers: Vec<_> = (0..CALLERS).map(|_| proxy.connect()).collect();
        let head = Request::get(path).head();
        Self(spawn(move || {
            let begun = clock::monotonic();
            for caller in &mut callers {
                caller.send(head.as_bytes());
            }
            // Whoever is read later may have been told before.
            let told = callers.iter_mut().map(|caller| {
                let answer = caller.answer();
                assert!(is_told(&answer), "{} {}", answer.status, answer.text());
                begun.elapsed()
            });
            let told: Vec<_> = told.collect();
            (told[0], told[CALLERS - 1])
        }))
    }

    /// When the first and the last was told.
    fn told(self) -> (Duration, Duration) {
        self.0.join().unwrap()
    }
}

/// Has many wait at once for a backend that fails, and as many for one that answers when that one's limit is
/// over: those must not be told much later than these.
fn assert_told_in_time(name: &str, bad: &str, is_told: fn(&Answer) -> bool) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let good = TestBackend::start("good");
    let slow = TestBackend::with("slow", Behaviour::Slow(LIMIT));
    let proxy = proxy(bad, &good, &slow);
    let lateness = Lateness::watch();
    let neighbour = Neighbour::start(&proxy);
    let waiting = Crowd::ask(&proxy, "/bad", is_told);
    let control = Crowd::ask(&proxy, "/slow", |answer| answer.text() == "slow");
    let ((first, last), (_, control)) = (waiting.told(), control.told());
    let (others, slowest) = neighbour.stop();
    println!(
        "{name}: {CALLERS} told after {} to {} ms, those of a backend that takes as long after {} ms; \
         of {others} others the slowest took {} ms",
        first.as_millis(),
        last.as_millis(),
        control.as_millis(),
        slowest.as_millis()
    );
    assert!(first >= LIMIT, "{name}: {first:?}");
    let most = lateness.allow(control + GRACE);
    assert!(last < most, "{name}: {last:?}, not {most:?}");
    let most = lateness.allow(control.saturating_sub(LIMIT) + GRACE);
    assert!(
        others > 10 && slowest < most,
        "{name}: {slowest:?}, not {most:?}"
    );
    assert_eq!(good.requests() as u64, others);
}

/// So that two crowds do not wait for each other.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn all_who_wait_for_a_connection_are_told_at_its_limit() {
    let hole = Blackhole::open();
    assert_told_in_time("swallows connections", &hole.url(), |answer| {
        answer.status == 504
    });
}

#[test]
fn all_who_wait_for_a_head_are_told_at_its_limit() {
    let silent = Raw::start(|line| line.read_on());
    assert_told_in_time("hangs before the head", &silent.url(), |answer| {
        answer.status == 504
    });
}

#[test]
fn all_who_wait_for_the_rest_of_a_body_are_cut_at_the_idle_limit() {
    let half = Raw::start(|line| {
        line.head()?;
        line.say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")?;
        line.read_on()
    });
    assert_told_in_time("hangs within a body", &half.url(), |answer| {
        answer.status == 200 && !answer.is_whole && answer.body == b"hello"
    });
}

/// Answers whatever comes.
fn well(line: &mut Line<'_>) -> io::Result<()> {
    while line.head()?.is_some() {
        line.answer("well")?;
    }
    Ok(())
}

/// Asserts that a backend that has just come back is used in time.
#[track_caller]
fn assert_recovers(proxy: &TestProxy, lateness: &Lateness) {
    let begun = clock::monotonic();
    while proxy.get("/bad").status != 200 {
        assert!(begun.elapsed() < lateness.allow(RECOVERY));
    }
    let took = begun.elapsed();
    println!("used again after {} ms", took.as_millis());
    assert!(took < lateness.allow(RECOVERY), "{took:?}");
}

#[test]
fn a_backend_that_swallowed_connections_is_used_as_soon_as_it_takes_some() {
    let (good, lateness) = (TestBackend::start("good"), Lateness::watch());
    let hole = Blackhole::open();
    let proxy = proxy(&hole.url(), &good, &good);
    let mut callers: Vec<_> = (0..20).map(|_| proxy.connect()).collect();
    for caller in &mut callers {
        caller.send(Request::get("/bad").head().as_bytes());
    }
    for caller in &mut callers {
        caller.answer().problem(504);
    }
    let _recovered = hole.recover(well);
    assert_recovers(&proxy, &lateness);
}

#[test]
fn a_backend_that_refused_connections_is_used_as_soon_as_it_takes_some() {
    let (good, lateness) = (TestBackend::start("good"), Lateness::watch());
    let place = Place::reserve();
    let proxy = proxy(&place.url(), &good, &good);
    for _ in 0..20 {
        let begun = clock::monotonic();
        proxy.get("/bad").problem(502);
        let took = begun.elapsed();
        assert!(took < lateness.allow(GRACE), "{took:?}");
    }
    let _recovered = place.serve();
    assert_recovers(&proxy, &lateness);
}

#[test]
fn a_backend_that_hung_is_used_as_soon_as_it_answers() {
    let (good, lateness) = (TestBackend::start("good"), Lateness::watch());
    let is_well = Arc::new(AtomicBool::new(false));
    let look = Arc::clone(&is_well);
    let backend = Raw::start(move |line| {
        if look.load(Ordering::SeqCst) {
            return well(line);
        }
        line.read_on()
    });
    let proxy = proxy(&backend.url(), &good, &good);
    proxy.get("/bad").problem(504);
    is_well.store(true, Ordering::SeqCst);
    assert_recovers(&proxy, &lateness);
}

/// A port that nobody else gets, on which connections are refused unless somebody serves there.
struct Place {
    address: SocketAddr,
    _reserved: Socket,
}

impl Place {
    fn reserve() -> Self {
        let reserved = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Self {
            address: reserved.local_addr().unwrap().as_socket().unwrap(),
            _reserved: reserved,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn serve(&self) -> Raw {
        let socket = bound(self.address);
        socket.listen(1024).unwrap();
        Raw::on(TcpListener::from(socket), well)
    }
}

fn bound(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

/// How long a flapping backend is up, and then down.
const FLAP: Duration = Duration::from_millis(300);

/// Has four callers ask on and on while a place is up and down in turns; tells how often they asked.
fn ask_while_flapping(proxy: &TestProxy, place: &Place) -> u64 {
    let is_stopping = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (stop, asked) = (Arc::clone(&is_stopping), Arc::clone(&asked));
            let mut connection: Connection = proxy.connect();
            spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let answer = connection.ask(&Request::get("/"));
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    assert!(answer.is_whole);
                    asked.fetch_add(1, Ordering::SeqCst);
                    sleep(Duration::from_millis(1));
                }
            })
        })
        .collect();
    for _ in 0..4 {
        let up = place.serve();
        sleep(FLAP);
        drop(up);
        sleep(FLAP);
    }
    is_stopping.store(true, Ordering::SeqCst);
    callers
        .into_iter()
        .for_each(|caller| caller.join().unwrap());
    asked.load(Ordering::SeqCst)
}

#[test]
fn a_flapping_canary_costs_no_get_where_it_is_shielded() {
    let (place, good) = (Place::reserve(), TestBackend::start("good"));
    let proxy = TestProxy::start(&format!(
        "workers: 1\nbackends: {{ v1: \"{}\", v2: \"{}\" }}\n\
         flags: {{ orders: {{ stable: v1, canary: v2, default: 100%, shield: true }} }}\nroutes: [{{ flag: orders }}]\n",
        good.url(),
        place.url()
    ));
    let asked = ask_while_flapping(&proxy, &place);
    let canary = [("variant", "canary")];
    proxy.wait_for_count("serin_outcomes_total", &canary, asked);
    let metrics = proxy.metrics();
    assert_eq!(metrics.count("serin_outcomes_total", &[]), asked);
    let failures = metrics.count("serin_backend_failures_total", &canary);
    assert_eq!(metrics.count("serin_rescued_requests_total", &[]), failures);
    assert_eq!(good.requests() as u64, failures);
    assert!(0 < failures && failures < asked, "{failures} of {asked}");
    println!("a flapping canary failed {failures} of {asked}, all made good");
}

#[test]
fn a_flapping_endpoint_costs_no_get_where_there_is_another() {
    let (place, good) = (Place::reserve(), TestBackend::start("good"));
    let proxy = TestProxy::start(&format!(
        "workers: 1\nbackends:\n  v1: {{ endpoints: [\"{}\", \"{}\"], retries: {{ budget: 100% }} }}\n  v2: \"http://[::1]\"\n\
         flags: {{ orders: {{ stable: v1, canary: v2 }} }}\nroutes: [{{ flag: orders }}]\n",
        good.url(),
        place.url()
    ));
    let asked = ask_while_flapping(&proxy, &place);
    proxy.wait_for_count("serin_outcomes_total", &[("variant", "stable")], asked);
    let metrics = proxy.metrics();
    let refused = [("endpoint", &*place.address.to_string())];
    let refused = metrics.count("serin_upstream_connect_failures_total", &refused);
    assert!(refused > 0, "it was never down");
    let failures = metrics.count("serin_backend_failures_total", &[]);
    let retried = metrics.count("serin_upstream_retries_total", &[]);
    // Only a new connection that broke at once is a failure; that another endpoint takes a request is none.
    assert_eq!(failures, retried);
    println!(
        "a flapping endpoint refused {refused} of {asked}; {failures} were retried, none was lost"
    );
}

#[test]
fn answers_before_the_answer_without_end_keep_nobody_else_waiting() {
    for protocol in ["auto", "h2"] {
        let (good, lateness) = (TestBackend::start("good"), Lateness::watch());
        let flooding = Raw::start(move |line| {
            let hint = if protocol == "h2" {
                line.begin_http2()?;
                let head = block(&[(":status", "103"), ("link", &"y".repeat(1000))]);
                frame(HEADERS, END_HEADERS, line.stream()?, head)
            } else {
                line.head()?;
                format!("HTTP/1.1 103 Hints\r\nlink: {}\r\n\r\n", "y".repeat(1000)).into()
            };
            loop {
                line.say(&hint)?;
            }
        });
        let proxy = TestProxy::start(&format!(
            "workers: 1\nbackends:\n  good: \"{}\"\n  \
             bad: {{ endpoints: [\"{}\"], protocol: {protocol}, timeouts: {{ response: 2s }} }}\n\
             routes: [{{ path: /bad, backend: bad }}, {{ backend: good }}]\n",
            good.url(),
            flooding.url()
        ));
        let before = proxy.resident_bytes();
        let neighbour = Neighbour::start(&proxy);
        let status = proxy.get("/bad").status;
        assert!(matches!(status, 502 | 504), "{status}");
        let (_, slowest) = neighbour.stop();
        let grown = proxy.resident_bytes().saturating_sub(before);
        println!(
            "{protocol}: {status}, the slowest of others took {} ms, {grown} bytes more",
            slowest.as_millis()
        );
        assert!(
            slowest < lateness.allow(Duration::from_secs(1)),
            "{slowest:?}"
        );
        assert!(grown < 64 * 1024 * 1024, "{grown}");
    }
}
