//! What a caller gets and what counts, for each fault of a backend, in either arm and with `shield` or
//! without.
//!
//! Prints a row for each, as a table: `cargo test --test fault_matrix -- --nocapture`.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]
#![allow(clippy::print_stdout, reason = "the rows are to be read")]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serin::runtime::clock;
use support::blackhole::Blackhole;
use support::lateness::Lateness;
use support::raw::{Line, Raw};
use support::{Request, SOON, TestBackend, TestProxy, wait_until};

/// The limits of the backend that fails.
const CONNECT: Duration = Duration::from_millis(300);
const RESPONSE: Duration = Duration::from_millis(400);
const IDLE: Duration = Duration::from_millis(500);

/// A fault, and what is expected of it.
struct Fault {
    name: &'static str,
    backend: Backend,
    /// What a caller gets from the backend itself.
    gets: Gets,
    /// How that counts; none where nobody has failed.
    failure: Option<&'static str>,
    rescue: Rescue,
    /// How long it takes until the fault is seen.
    takes: Duration,
    /// How much later than that the caller may be told.
    grace: Duration,
}

#[derive(Clone, Copy)]
enum Backend {
    Refusing,
    Blackholed,
    /// Does this with a request, when it is the one of so many on its connection.
    Serving(fn(&mut Line<'_>, usize) -> io::Result<()>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gets {
    /// The whole answer.
    Whole(u16),
    /// The beginning of one, which does not look whole.
    Cut,
    /// Nothing, for it leaves when the backend has been asked.
    Leaves,
}

/// When stable answers in canary's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rescue {
    /// In any case: nothing was sent.
    Always,
    Shielded,
    /// An answer has begun, or there is nothing to rescue.
    Never,
}

const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello";
const HALF_IN_CHUNKS: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhole";

const FAULTS: &[Fault] = &[
    Fault {
        name: "refuses connections",
        backend: Backend::Refusing,
        failure: Some("connect"),
        rescue: Rescue::Always,
        ..broken("", |_, _| Ok(()))
    },
    Fault {
        name: "swallows connections",
        backend: Backend::Blackholed,
        gets: Gets::Whole(504),
        failure: Some("connect"),
        rescue: Rescue::Always,
        takes: CONNECT,
        ..broken("", |_, _| Ok(()))
    },
    silent("hangs before the head", |line, _| line.read_on()),
    silent("hangs within the head", |line, _| {
        line.say("HTTP/1.1 200 OK\r\ncontent-")?;
        line.read_on()
    }),
    Fault {
        // There is much to read, which takes a machine that has others to do its time.
        grace: Duration::from_secs(1),
        ..broken("sends 103 without end", |line, _| {
            let hint = format!("HTTP/1.1 103 Hints\r\nlink: {}\r\n\r\n", "y".repeat(1000));
            loop {
                line.say(&hint)?;
            }
        })
    },
    broken("closes every connection without a word", |_, _| Ok(())),
    broken("resets the connection", |line, _| {
        line.reset();
        Ok(())
    }),
    broken("closes within the head", |line, _| {
        line.say("HTTP/1.1 200 OK\r\ncontent-")
    }),
    broken("sends garbage", |line, _| {
        line.say([22, 3, 1, 0, 5, 1, 0, 0, 1, 3])?;
        line.read_on()
    }),
    broken("sends 2 MB of fields", |line, _| {
        line.say("HTTP/1.1 200 OK\r\n")?;
        let field = format!("x-much: {}\r\n", "y".repeat(1000));
        (0..2000).try_for_each(|_| line.say(&field))?;
        line.say("content-length: 0\r\n\r\n")?;
        line.read_on()
    }),
    broken("sends two lengths", |line, _| {
        line.say("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nok")?;
        line.read_on()
    }),
    Fault {
        name: "answers 500",
        gets: Gets::Whole(500),
        failure: Some("status"),
        ..broken("", |line, _| {
            line.say("HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno")
        })
    },
    cut("closes within a body of known length", |line, _| {
        line.say(HALF)
    }),
    cut("closes within a body in chunks", |line, _| {
        line.say(HALF_IN_CHUNKS)
    }),
    cut("resets the connection within a body", |line, _| {
        line.say(HALF)?;
        // Once the beginning has been passed back.
        line.read_on_for(Duration::from_millis(50));
        line.reset();
        Ok(())
    }),
    cut("sends garbage for a chunk", |line, _| {
        line.say([HALF_IN_CHUNKS, "no chunk\r\n"].concat())?;
        line.read_on()
    }),
    Fault {
        name: "hangs within a body",
        failure: Some("timeout"),
        takes: IDLE,
        ..cut("", |line, _| {
            line.say(HALF)?;
            line.read_on()
        })
    },
    harmless("closes a kept connection under the request", |line, nth| {
        if nth == 1 { line.say(WHOLE) } else { Ok(()) }
    }),
    harmless("resets a kept connection under the request", |line, nth| {
        if nth == 1 {
            return line.say(WHOLE);
        }
        line.reset();
        Ok(())
    }),
    harmless("sends another answer behind the answer", |line, _| {
        line.say([WHOLE, &WHOLE.replace("whole", "other")].concat())?;
        line.read_on()
    }),
    harmless("sends garbage behind the answer", |line, _| {
        line.say([WHOLE, "garbage"].concat())?;
        line.read_on()
    }),
    Fault {
        name: "(the caller leaves before the head)",
        gets: Gets::Leaves,
        ..harmless("", |line, _| line.read_on())
    },
];

/// Breaks the exchange at once, before there is an answer.
const fn broken(name: &'static str, serve: fn(&mut Line<'_>, usize) -> io::Result<()>) -> Fault {
    Fault {
        name,
        backend: Backend::Serving(serve),
        gets: Gets::Whole(502),
        failure: Some("reset"),
        rescue: Rescue::Shielded,
        takes: Duration::ZERO,
        grace: Duration::from_millis(100),
    }
}

/// Gives no answer in time.
const fn silent(name: &'static str, serve: fn(&mut Line<'_>, usize) -> io::Result<()>) -> Fault {
    Fault {
        gets: Gets::Whole(504),
        failure: Some("timeout"),
        takes: RESPONSE,
        ..broken(name, serve)
    }
}

/// Gives a part of an answer.
const fn cut(name: &'static str, serve: fn(&mut Line<'_>, usize) -> io::Result<()>) -> Fault {
    Fault {
        gets: Gets::Cut,
        failure: Some("cut_body"),
        rescue: Rescue::Never,
        ..broken(name, serve)
    }
}

/// Costs nobody anything.
const fn harmless(name: &'static str, serve: fn(&mut Line<'_>, usize) -> io::Result<()>) -> Fault {
    Fault {
        gets: Gets::Whole(200),
        failure: None,
        rescue: Rescue::Never,
        ..broken(name, serve)
    }
}

/// A backend with its fault; ends when it is dropped.
struct Running {
    url: String,
    /// How often it was asked what it does not answer well.
    asked: Arc<AtomicUsize>,
    _alive: Box<dyn std::any::Any>,
}

impl Running {
    fn start(backend: Backend) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let (url, alive): (_, Box<dyn std::any::Any>) = match backend {
            Backend::Refusing => {
                let dead = TestBackend::dead();
                (dead.url(), Box::new(dead))
            }
            Backend::Blackholed => {
                let hole = Blackhole::open();
                (hole.url(), Box::new(hole))
            }
            Backend::Serving(serve) => {
                let count = Arc::clone(&asked);
                let raw = Raw::start(move |line| {
                    let mut nth = 0;
                    while let Some(head) = line.head()? {
                        nth += 1;
                        if head.starts_with("GET /before ") {
                            line.answer("before")?;
                            continue;
                        }
                        count.fetch_add(1, Ordering::SeqCst);
                        return serve(line, nth);
                    }
                    Ok(())
                });
                (raw.url(), Box::new(raw))
            }
        };
        Self {
            url,
            asked,
            _alive: alive,
        }
    }
}

/// An arm that a request gets, and whether its flag is shielded.
#[derive(Clone, Copy)]
struct Case {
    flag: &'static str,
    variant: &'static str,
    is_shielded: bool,
}

const CASES: [Case; 4] = [
    Case {
        flag: "stable-bare",
        variant: "stable",
        is_shielded: false,
    },
    Case {
        flag: "stable-shielded",
        variant: "stable",
        is_shielded: true,
    },
    Case {
        flag: "canary-bare",
        variant: "canary",
        is_shielded: false,
    },
    Case {
        flag: "canary-shielded",
        variant: "canary",
        is_shielded: true,
    },
];

/// A proxy with a flag and a route for each case; what the decided arm gets has a fault.
fn proxy(faulty: &str, good: &TestBackend, response: Duration) -> TestProxy {
    let flag = |case: &Case| {
        let (stable, canary, share) = match case.variant {
            "stable" => ("bad", "good", "0%"),
            _ => ("good", "bad", "100%"),
        };
        format!(
            "  {}: {{ stable: {stable}, canary: {canary}, default: {share}, shield: {} }}\n",
            case.flag, case.is_shielded
        )
    };
    let route = |case: &Case| format!("  - {{ path: /{0}, flag: {0} }}\n", case.flag);
    TestProxy::start(&format!(
        "workers: 1\nbackends:\n  good: \"{}\"\n  bad: {{ endpoints: [\"{faulty}\"], timeouts: \
         {{ connect: {}ms, response: {}ms, idle: {}ms }} }}\n\
         flags:\n{}routes:\n{}  - {{ backend: bad }}\n",
        good.url(),
        CONNECT.as_millis(),
        response.as_millis(),
        IDLE.as_millis(),
        CASES.iter().map(flag).collect::<String>(),
        CASES.iter().map(route).collect::<String>(),
    ))
}

#[test]
fn each_fault_leaves_its_evidence_once_and_costs_no_more_than_it_must() {
    println!(
        "| the backend | stable | stable, `shield` | canary | canary, `shield` | counts once as |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let lateness = Lateness::watch();
    for fault in FAULTS {
        let good = TestBackend::start("good");
        let running = Running::start(fault.backend);
        // Where another fault is tried, an answer must not be overdue on a machine that is late.
        let response = if fault.takes == RESPONSE {
            RESPONSE
        } else {
            SOON
        };
        let proxy = proxy(&running.url, &good, response);
        let mut quickest = Duration::MAX;
        let cells = CASES.map(|case| {
            if matches!(fault.backend, Backend::Serving(_)) {
                // Leaves a connection to be used, and is not spoilt by what was asked before.
                assert_eq!(proxy.get("/before").text(), "before", "{}", fault.name);
            }
            let row = Row { fault, case };
            let took = row.ask(&proxy, &running);
            row.assert_counted(&proxy);
            assert!(took >= fault.takes, "{}: {took:?}", fault.name);
            quickest = quickest.min(took);
            format!("{}, {} ms", row.words(), took.as_millis())
        });
        // One may be late because the machine is; not all of them.
        let most = lateness.allow(fault.takes + fault.grace);
        assert!(
            quickest < most,
            "{}: {quickest:?}, not {most:?}",
            fault.name
        );
        let counts_as = match (fault.failure, fault.gets) {
            (Some(failure), _) => format!("the arm's `{failure}`"),
            (None, Gets::Leaves) => "the caller's".to_owned(),
            (None, _) => "no failure".to_owned(),
        };
        println!("| {} | {} | {counts_as} |", fault.name, cells.join(" | "));
    }
}

/// A fault in one of the cases.
struct Row<'a> {
    fault: &'a Fault,
    case: Case,
}

impl Row<'_> {
    /// Whether stable answers in canary's place.
    fn is_rescued(&self) -> bool {
        let may_be = match self.fault.rescue {
            Rescue::Always => true,
            Rescue::Shielded => self.case.is_shielded,
            Rescue::Never => false,
        };
        may_be && self.case.variant == "canary"
    }

    /// Asks, and says how long it took until the end.
    fn ask(&self, proxy: &TestProxy, running: &Running) -> Duration {
        let (name, path) = (self.fault.name, format!("/{}", self.case.flag));
        let before = running.asked.load(Ordering::SeqCst);
        let begun = clock::monotonic();
        if self.fault.gets == Gets::Leaves {
            let mut leaving = proxy.connect();
            leaving.send(Request::get(&path).head().as_bytes());
            wait_until("the backend is asked", SOON, || {
                running.asked.load(Ordering::SeqCst) > before
            });
            return begun.elapsed();
        }
        let answer = proxy.get(&path);
        let took = begun.elapsed();
        match self.fault.gets {
            _ if self.is_rescued() => assert_eq!(answer.text(), "good", "{name}"),
            Gets::Cut => {
                assert_eq!(
                    (answer.status, &*answer.body),
                    (200, &b"hello"[..]),
                    "{name}"
                );
                assert!(!answer.is_whole, "{name}");
            }
            Gets::Whole(200) => assert_eq!(answer.text(), "whole", "{name}"),
            Gets::Whole(500) => assert_eq!(answer.status, 500, "{name}"),
            Gets::Whole(status) => drop(answer.problem(status)),
            Gets::Leaves => unreachable!("it has left"),
        }
        took
    }

    /// Asserts that the request has left this evidence and no other, once.
    fn assert_counted(&self, proxy: &TestProxy) {
        let (flag, variant) = (("flag", self.case.flag), ("variant", self.case.variant));
        let fault = match (self.fault.failure, self.fault.gets) {
            (Some(_), _) => "backend",
            (None, Gets::Leaves) => "client",
            (None, _) => "none",
        };
        proxy.wait_for_count("serin_outcomes_total", &[flag], 1);
        let metrics = proxy.metrics();
        let count = |name: &str, labels: &[(&str, &str)]| metrics.count(name, labels);
        let name = self.fault.name;
        let labels = [flag, variant, ("fault", fault)];
        assert_eq!(count("serin_outcomes_total", &labels), 1, "{name}: {fault}");
        assert_eq!(count("serin_requests_total", &[flag]), 1, "{name}");
        let failures = u64::from(self.fault.failure.is_some());
        let all = count("serin_backend_failures_total", &[flag]);
        assert_eq!(all, failures, "{name}");
        if let Some(failure) = self.fault.failure {
            let labels = [flag, variant, ("failure", failure)];
            let counted = count("serin_backend_failures_total", &labels);
            assert_eq!(counted, 1, "{name}: {failure}");
        }
        let rescued = count("serin_rescued_requests_total", &[flag]);
        assert_eq!(rescued, u64::from(self.is_rescued()), "{name}");
    }

    /// What the caller gets.
    fn words(&self) -> String {
        match self.fault.gets {
            _ if self.is_rescued() => "200 by stable".to_owned(),
            Gets::Whole(status) => status.to_string(),
            Gets::Cut => "200 and a cut".to_owned(),
            Gets::Leaves => "nothing".to_owned(),
        }
    }
}
