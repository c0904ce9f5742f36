//! What the data plane counts of answers and callers where a rollout watches: real workers between real
//! sockets, and the test in the controller's place.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use serin::domain::cookie_key::CookieKey;
use serin::domain::evidence::cells::{CellClock, Event};
use serin::domain::evidence::{ArmCounts, ContentTypeIndex, SizeCounts, TickCounts};
use serin::domain::ids::FlagName;
use serin::domain::judge::SightCuts;
use serin::domain::variant::{PerVariant, Variant};
use serin::proxy::{Socket, Tail, WorkerContext, bind, run_worker};
use serin::runtime::assignments::CallerAssignments;
use serin::runtime::caller_book::CallerBookWriter;
use serin::runtime::clock::Clock;
use serin::runtime::inbox::{self, Inbox};
use serin::runtime::key_ring::KeyRingReader;
use serin::runtime::ledger::Ledger;
use serin::runtime::published::{Published, Publisher};
use serin::runtime::shutdown::ShutdownTrigger;
use serin::runtime::snapshot::SnapshotWriter;
use serin::runtime::watch::RolloutWatch;
use serin::{app, config};
use support::proxy::backends;
use support::{Behaviour, Connection, Request, SOON, TestBackend, wait_until};

const WORKERS: usize = 2;

/// Two workers, the backends behind them, and what the controller would have in hand.
struct DataPlane {
    address: SocketAddr,
    _stable: TestBackend,
    canary: TestBackend,
    ledger: Arc<Ledger>,
    watch: Arc<RolloutWatch>,
    epoch: u64,
    clock: CellClock,
    ticks: u64,
    seen: TickCounts,
    stop: ShutdownTrigger,
    workers: Vec<JoinHandle<io::Result<()>>>,
    _inbox: Inbox,
    publisher: Publisher,
}

/// A socket of a listener that speaks HTTP and nothing else.
fn plain(socket: std::net::TcpListener) -> Socket {
    Socket {
        socket,
        tls: None,
        proxy_protocol: None,
        limits: config::defaults::LISTENER_LIMITS,
        feedback: false,
    }
}

impl DataPlane {
    /// Starts with a flag for everything, callers known by `x-user-id`, and more keys of the flag.
    fn start(flag: &str) -> Self {
        let (stable, canary) = (TestBackend::start("stable"), TestBackend::start("canary"));
        let backends = backends(&[("v1", &stable), ("v2", &canary)]);
        let text = format!(
            "listeners: [{{ address: \"127.0.0.1:0\" }}]\n{backends}\
             trusted_proxies: [127.0.0.0/8]\nidentity: [{{ header: x-user-id }}]\n\
             groups: {{ testers: {{ callers: [tess] }} }}\n\
             routes: [{{ flag: orders }}]\n\
             flags: {{ orders: {{ stable: v1, canary: v2, {flag} }} }}\n"
        );
        let config = config::parse(&text, &|path| std::fs::read_to_string(path), &|name| {
            std::env::var(name)
        });
        let (routing, apps) = app::initial_routing(config.unwrap());
        let apps = Arc::new(apps);
        let (epoch, ledger) = (routing.flags[0].epoch, Arc::new(Ledger::new(WORKERS)));
        let watch = ledger.watch(&orders());
        let publisher = Publisher::new(Published::new(routing, &ledger));
        let bound = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), WORKERS).unwrap();
        let (sender, inbox) = inbox::inbox();
        let stop = ShutdownTrigger::new();
        let contexts = bound.sockets.into_iter().enumerate();
        let contexts = contexts.map(|(index, socket)| WorkerContext {
            index,
            connections_max: usize::MAX,
            sockets: vec![plain(socket)],
            subscriber: publisher.reader(),
            assignments: Arc::<CallerAssignments>::default(),
            apps: Arc::clone(&apps),
            feedback: Arc::default(),
            callers: CallerBookWriter::new(None).reader(),
            pseudonyms: Arc::default(),
            keys: KeyRingReader::default(),
            tokens: Arc::default(),
            cookie_key: Arc::new(CookieKey::new(&[7; 32])),
            clock: Clock::start(),
            connections: Arc::default(),
            inbox: sender.clone(),
            access_log: SnapshotWriter::new(None).reader(),
            tail: Tail::new(WORKERS),
            shutdown: stop.listener(),
            drain_deadline: config::defaults::SHUTDOWN.deadline,
        });
        let workers = contexts.map(|context| spawn(|| run_worker(context)));
        let mut plane = Self {
            address: bound.address,
            _stable: stable,
            canary,
            ledger,
            watch,
            epoch,
            clock: CellClock::new(0),
            ticks: 0,
            seen: TickCounts::default(),
            workers: workers.collect(),
            stop,
            _inbox: inbox,
            publisher,
        };
        plane.tick();
        plane
    }

    /// Ends a tick as the controller does, and adds what it was to what was seen before.
    fn tick(&mut self) {
        let clearing = match self.ticks {
            0 => self.clock.begin_stage(),
            ticks => self.clock.next_tick(Duration::from_secs(ticks)),
        };
        self.ticks += 1;
        self.watch.cells.clear(clearing);
        let now = self.clock.now();
        self.watch.sight.count_callers(self.epoch, Some(now));
        self.seen.merge(&self.ledger.drain()[&orders()]);
    }

    /// All that was seen so far of an arm's callers who are known again, or of requests drawn anew.
    fn seen(&self, variant: Variant, is_keyed: bool) -> ArmCounts {
        let mut sum = ArmCounts::default();
        let strata = self.seen.strata().iter();
        for stratum in strata.filter(|stratum| stratum.is_keyed == is_keyed) {
            sum.merge(stratum.arms.get(variant));
        }
        sum
    }

    fn canary_seen(&mut self) -> ArmCounts {
        self.tick();
        self.seen(Variant::Canary, true)
    }

    /// Answers above 50 ms are slow, and sizes above 15 bytes odd.
    fn cut(&self) {
        let bucket_of_50_ms = 90;
        self.watch.sight.cut_at(&SightCuts {
            slow_above: PerVariant::from_fn(|_| [Some(bucket_of_50_ms); 3]),
            usual_sizes: Some((0, SizeCounts::bucket_of(15).try_into().unwrap())),
            usual_types: None,
        });
    }

    fn ask(&self, caller: &str) -> u16 {
        by(caller).send_to(self.address).status
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.stop.pull();
        self.canary.behave(Behaviour::Name);
        for worker in self.workers.drain(..) {
            worker.join().unwrap().unwrap();
        }
    }
}

fn orders() -> FlagName {
    "orders".parse().unwrap()
}

fn by(caller: &str) -> Request {
    Request::get("/").field("x-user-id", caller)
}

/// Callers at risk of an event and those who had it, in the stage's own start.
fn of(counts: &ArmCounts, event: Event) -> (u64, u64) {
    let share = counts.cells.slots[0].of(event);
    (share.trials, share.events)
}

#[test]
fn a_caller_who_fails_a_hundred_times_counts_once() {
    let mut plane = DataPlane::start("default: 100%");
    plane.canary.behave(Behaviour::Status(500));
    for _ in 0..100 {
        assert_eq!(plane.ask("ann"), 500);
    }
    for caller in ["bob", "cid"] {
        plane.ask(caller);
    }
    let seen = plane.canary_seen();
    assert_eq!((seen.requests, seen.failures.total()), (102, 102));
    assert_eq!(of(&seen, Event::Failure), (3, 3));
    assert_eq!((seen.cells.new, seen.cells.new_in_stage), (3, 3));
    // In later ticks, too: nobody is at risk of a first failure twice.
    plane.ask("ann");
    plane.ask("dan");
    assert_eq!(of(&plane.canary_seen(), Event::Failure), (4, 4));
}

#[test]
fn whoever_chose_contributes_nothing_and_a_request_without_a_key_counts_for_itself() {
    let force = "force: { header: x-serin-variant, for: [testers] }";
    let mut plane = DataPlane::start(&format!("default: 0%, {force}"));
    let forced = by("tess").field("x-serin-variant", "canary");
    for _ in 0..5 {
        assert_eq!(forced.send_to(plane.address).text(), "canary");
        assert_eq!(Request::get("/").send_to(plane.address).text(), "stable");
    }
    assert_eq!(plane.canary_seen(), ArmCounts::default());
    let drawn = plane.seen(Variant::Stable, false);
    assert_eq!((drawn.requests, drawn.cells.new), (5, 5));
    assert_eq!(of(&drawn, Event::Failure), (5, 0));
    assert_eq!(plane.seen(Variant::Stable, true).cells.new, 0);
}

#[test]
fn answers_have_a_size_where_they_have_a_body_and_a_type_where_they_say_one() {
    let mut plane = DataPlane::start("default: 100%");
    let ask = |plane: &DataPlane, method: &str, head: &str, body: &str| {
        let raw = format!("HTTP/1.1 {head}\r\n\r\n{body}");
        plane.canary.behave(Behaviour::Raw(raw.into_bytes()));
        let request = Request::new(method, "/").field("x-user-id", "ann");
        let mut connection = Connection::open(plane.address);
        connection.send(request.head().as_bytes());
        connection.answer_head()
    };
    let json = "content-type: Application/JSON; charset=utf-8";
    let five = "content-length: 5";
    ask(
        &plane,
        "GET",
        &format!("200 OK\r\n{five}\r\n{json}"),
        "hello",
    );
    let chunks = "transfer-encoding: chunked\r\ncontent-type: application/json";
    ask(
        &plane,
        "GET",
        &format!("200 OK\r\n{chunks}"),
        "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    );
    ask(&plane, "GET", "200 OK\r\ncontent-length: 0", "");
    ask(
        &plane,
        "HEAD",
        &format!("200 OK\r\n{five}\r\ncontent-type: text/html"),
        "",
    );
    ask(&plane, "GET", "204 No Content", "");
    ask(&plane, "GET", "304 Not Modified", "");
    ask(
        &plane,
        "GET",
        &format!("404 Not Found\r\n{five}\r\n{json}"),
        "hello",
    );
    let mut seen = ArmCounts::default();
    wait_until("all have ended", SOON, || {
        seen = plane.canary_seen();
        let types = seen.content_types.filled();
        seen.requests == 7 && types.map(|(_, count)| count).sum::<u64>() == 5
    });
    let sizes: Vec<_> = seen.sizes.filled().collect();
    assert_eq!(sizes, [(0, 1), (SizeCounts::bucket_of(5), 2)]);
    let types = plane.ledger.content_types();
    let by_name = seen.content_types.filled().map(|(place, count)| {
        let name = types.name(ContentTypeIndex::at(place));
        (name.to_owned(), count)
    });
    let expected = [("none", 2), ("application/json", 2), ("text/html", 1)];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(by_name.collect::<Vec<_>>(), expected);
}

#[test]
fn odd_answers_are_told_by_the_second_of_a_caller() {
    let mut plane = DataPlane::start("default: 100%");
    plane.cut();
    plane.canary.behave(Behaviour::Bytes(1_000));
    plane.ask("ann");
    plane.ask("bob");
    plane.ask("bob");
    let seen = plane.canary_seen();
    assert_eq!(of(&seen, Event::OddSize), (1, 1));
    assert_eq!(of(&seen, Event::SlowP50).0, 1);
    assert_eq!(
        of(&seen, Event::UnusualType),
        (0, 0),
        "nobody knows what is usual"
    );
}

#[test]
fn a_hung_canary_is_slow_while_it_hangs_and_once() {
    let mut plane = DataPlane::start("default: 100%");
    plane.cut();
    plane.canary.behave(Behaviour::Stall);
    let mut waiting: Vec<_> = (0..4)
        .map(|caller| {
            let mut connection = Connection::open(plane.address);
            let request = by(&format!("u-{caller}"));
            connection.send(request.head().as_bytes());
            connection
        })
        .collect();
    let mut seen = ArmCounts::default();
    wait_until("all four count as slow", SOON, || {
        seen = plane.canary_seen();
        seen.latency.count() == 4 && of(&seen, Event::SlowP99).1 == 4
    });
    assert_eq!(seen.requests, 0, "none has ended");
    assert!(seen.latency.sum() >= Duration::from_millis(4 * 50));
    assert_eq!(of(&seen, Event::SlowP99), (4, 4));
    assert_eq!(of(&seen, Event::Failure), (0, 0));

    // One has no patience; the others are answered in the end.
    drop(waiting.pop());
    let aborted = |plane: &DataPlane| {
        let readings = plane.ledger.read();
        readings
            .arms
            .values()
            .map(|arm| arm.client_aborts)
            .sum::<u64>()
    };
    wait_until("the one has left", SOON, || aborted(&plane) == 1);
    plane.canary.behave(Behaviour::Name);
    for connection in &mut waiting {
        assert_eq!(connection.answer().status, 200);
    }
    let seen = plane.canary_seen();
    assert_eq!((seen.requests, seen.latency.count()), (3, 4));
    assert_eq!(of(&seen, Event::SlowP99).1, 4);
    let readings = plane.ledger.read();
    let exported = readings.arms.values().map(|arm| arm.latency.count());
    assert_eq!(exported.sum::<u64>(), 3, "heads are exported as they came");
}

#[test]
fn a_client_that_is_slow_to_send_is_not_a_slow_backend() {
    let mut plane = DataPlane::start("default: 100%");
    plane.cut();
    let mut connection = Connection::open(plane.address);
    connection
        .send(b"POST / HTTP/1.1\r\nhost: a\r\nx-user-id: ann\r\ncontent-length: 5\r\n\r\nhel");
    // Housekeeping has looked at it when another, which hangs, counts as slow.
    wait_until("the request has come", SOON, || {
        plane.canary.requests() == 1
    });
    plane.canary.behave(Behaviour::Stall);
    let mut other = Connection::open(plane.address);
    other.send(by("bob").head().as_bytes());
    let mut seen = ArmCounts::default();
    wait_until("the other counts as slow", SOON, || {
        seen = plane.canary_seen();
        of(&seen, Event::SlowP99).1 >= 1
    });
    plane.canary.behave(Behaviour::Name);
    connection.send(b"lo");
    assert_eq!(connection.answer().status, 200);
    assert_eq!(other.answer().status, 200);
    let seen = plane.canary_seen();
    assert_eq!((seen.requests, seen.latency.count()), (2, 2));
    assert_eq!(of(&seen, Event::SlowP99).1, 1);
}

#[test]
fn what_no_rollout_watches_is_not_looked_at() {
    let mut plane = DataPlane::start("default: 100%");
    plane.cut();
    plane.ledger.unwatch(&orders());
    let routing = plane.publisher.current().routing.clone();
    let published = Published::new(routing, &plane.ledger);
    plane.publisher.publish(published);
    plane.ask("ann");
    plane
        .canary
        .behave(Behaviour::Slow(Duration::from_millis(1_500)));
    plane.ask("ann");
    let seen = plane.canary_seen();
    assert_eq!((seen.requests, seen.latency.count()), (2, 2));
    assert_eq!((seen.cells.new, seen.sizes.filled().count()), (0, 0));
    assert_eq!(seen.content_types.filled().count(), 0);
}
