//! Kills the program with `kill -9`, at each write and at random moments, while requests and
//! orders come in, and starts it again on what it has left.
//!
//! The rules: each rollout is where the last order that was answered put it, or where the one that
//! was under way would; nobody gets the canary whom neither gives it to; what was taken back stays
//! so; the journal has each order that was answered once; no rollout is forgotten; and requests are
//! answered within a second of nine starts in ten.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use serin::adapters::store::EmbeddedStore;
use serin::control::ports::{JournalQuery, Subject};
use serin::runtime::clock;
use support::disk::fast_folder;
use support::position::{Act, Position, config, servers_of, telling_callers};
use support::proxy::{SERIN, backends, replace_file, signal};
use support::{Load, Request, SOON, TestBackend, TestProxy, wait_for, wait_until};
use tempfile::TempDir;

/// How soon after its start the program answers, where the machine does not stall.
const READY_MAX: Duration = Duration::from_secs(1);

/// How soon it did.
static READY_AFTER: Mutex<Vec<Duration>> = Mutex::new(Vec::new());

/// Kills at random moments.
const RANDOM_KILLS: usize = 100;

/// Kills at a write, at least.
const WRITE_KILLS_MIN: usize = 100;

/// The longest time from the first order to a kill at random.
const KILL_WITHIN: Duration = Duration::from_millis(80);

/// What the API can be asked for.
const VERBS: [Act; 7] = [
    Act::Promote,
    Act::PromoteFull,
    Act::Pause,
    Act::Resume,
    Act::Rollback,
    Act::Abort,
    Act::Retry,
];

/// What the configuration can change.
const CHANGES: [Act; 3] = [Act::Revise, Act::SwitchOff, Act::SwitchOn];

/// How writes reach the disk.
const WRITES: [&str; 6] = [
    "mkdir",
    "ftruncate",
    "pwrite64",
    "fdatasync",
    "fsync",
    "rename",
];

/// A flag, and where its rollout may be.
#[derive(Clone)]
struct Tracked {
    flag: &'static str,
    path: &'static str,
    callers: Vec<String>,
    /// Where it is, as was answered last.
    held: Position,
    /// Where it is put by an order that has not been answered, and that order's reason.
    under_way: Option<(Position, Option<String>)>,
    /// The reasons of orders that were answered.
    answered: Vec<String>,
    /// The reasons of those that were cut off.
    cut_off: Vec<String>,
}

impl Tracked {
    fn new(flag: &'static str, path: &'static str) -> Self {
        Self {
            flag,
            path,
            callers: telling_callers(flag),
            held: Position::START,
            under_way: None,
            answered: Vec::new(),
            cut_off: Vec::new(),
        }
    }

    /// Where the configuration wants it.
    fn wanted(&self) -> Position {
        self.under_way
            .as_ref()
            .map_or(self.held, |(target, _)| *target)
    }

    /// Asserts all rules of one flag, and takes note of where it is.
    fn assert_rules(&mut self, proxy: &TestProxy) {
        // Requests first: the very first is as good as any later one.
        let servers = servers_of(proxy, self.path, &self.callers);
        let status = proxy.rollout(self.flag);
        let target = self.under_way.take();
        let is_file = matches!(&target, Some((_, None)));
        let allowed = [
            Some(self.held).filter(|_| !is_file),
            target.as_ref().map(|(to, _)| *to),
        ];
        let is_here = |position: &Position| position.is_told_by(&status);
        let here = allowed.iter().flatten().copied().find(is_here);
        let here =
            here.unwrap_or_else(|| panic!("{} is not at {allowed:?}: {status:#}", self.flag));
        let expected = self
            .callers
            .iter()
            .map(|caller| here.server_of(self.flag, caller));
        assert_eq!(servers, expected.collect::<Vec<_>>(), "{here:?}");
        let journal = journal(proxy, self.flag);
        if let Some(last) = self.answered.last() {
            assert_eq!(times(&journal, last), 1, "{last} was answered: {journal:#}");
        }
        if let Some((to, Some(reason))) = target {
            let is_done = usize::from(here == to && to != self.held);
            assert_eq!(times(&journal, &reason), is_done, "{reason}: {journal:#}");
            if is_done == 1 {
                self.answered.push(reason);
            } else {
                self.cut_off.push(reason);
            }
        }
        self.held = here;
    }
}

/// The last thousand lines of a flag's journal: more than all lives of a test write.
fn journal(proxy: &TestProxy, flag: &str) -> Value {
    let path = format!("/api/v1/journal?flag={flag}&limit=1000");
    proxy.command("GET", &path, "").json()
}

/// How often a reason is among the lines of a journal.
fn times(journal: &Value, reason: &str) -> usize {
    let lines = journal["lines"].as_array().unwrap();
    lines.iter().filter(|line| line["why"] == reason).count()
}

/// A folder in which the program lives again and again, and what is known of it.
struct Rig {
    folder: TempDir,
    backends: String,
    flags: Vec<Tracked>,
    orders: usize,
}

impl Rig {
    fn new(backends: &str) -> Self {
        Self {
            folder: fast_folder(),
            backends: backends.to_owned(),
            flags: vec![
                Tracked::new("orders", "/"),
                Tracked::new("search", "/search"),
            ],
            orders: 0,
        }
    }

    /// The same, as if it had come as far.
    fn copy(&self) -> Self {
        let copy = Self {
            folder: fast_folder(),
            backends: self.backends.clone(),
            flags: self.flags.clone(),
            orders: self.orders,
        };
        let (from, to) = (
            self.folder.path().join("state"),
            copy.folder.path().join("state"),
        );
        std::fs::create_dir(&to).unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
        copy
    }

    fn write_config(&self) {
        let flags = self
            .flags
            .iter()
            .map(|tracked| (tracked.flag, tracked.wanted()));
        let text = config(&self.backends, &flags.collect::<Vec<_>>());
        replace_file(&self.folder.path().join("serin.yaml"), &text);
    }

    /// Starts the program where it was killed, and asserts all rules.
    fn restart(&mut self) -> TestProxy {
        self.write_config();
        let begun = clock::monotonic();
        let proxy = TestProxy::in_folder(self.folder.path(), Command::new(SERIN));
        proxy.wait_until_ready();
        assert_eq!(proxy.get("/").status, 200);
        let took = begun.elapsed();
        self.flags
            .iter_mut()
            .for_each(|tracked| tracked.assert_rules(&proxy));
        READY_AFTER.lock().unwrap().push(took);
        let rollouts = proxy.command("GET", "/api/v1/rollouts", "").json();
        assert_eq!(
            rollouts["rollouts"].as_array().unwrap().len(),
            self.flags.len()
        );
        assert_eq!(proxy.metrics().count("serin_state_writable", &[]), 1);
        assert_calm(&proxy);
        proxy
    }

    /// Does something to a flag's rollout; `false` when the program ended under it.
    fn act(&mut self, place: usize, act: Act, proxy: &TestProxy) -> bool {
        let tracked = &mut self.flags[place];
        let target = tracked.held.after(act).unwrap();
        self.orders += 1;
        let reason = format!("order {}", self.orders);
        let is_done = if let Some(verb) = act.verb() {
            tracked.under_way = Some((target, Some(reason.clone())));
            let body = json!({ "reason": reason, "full": act == Act::PromoteFull });
            command(proxy, tracked.flag, verb, &body)
        } else {
            tracked.under_way = Some((target, None));
            let flag = tracked.flag;
            self.write_config();
            reload(proxy, flag, target)
        };
        let tracked = &mut self.flags[place];
        let Some(status) = is_done else {
            return false;
        };
        assert!(
            target.is_told_by(&status),
            "{act:?} leads to {target:?}: {status:#}"
        );
        tracked.held = target;
        tracked.under_way = None;
        if act.verb().is_some() {
            tracked.answered.push(reason);
        }
        true
    }

    /// Acts at random until the program has ended.
    fn act_on(&mut self, proxy: &TestProxy, random: &mut SmallRng) {
        loop {
            let place = random.random_range(0..self.flags.len());
            let held = self.flags[place].held;
            let acts = VERBS.iter().chain(&CHANGES).copied();
            let acts: Vec<_> = acts.filter(|act| held.after(*act).is_some()).collect();
            if !self.act(place, *acts.choose(random).unwrap(), proxy) {
                return;
            }
        }
    }

    /// Asserts that the journal has each order that was answered, in their order, and none twice.
    fn assert_journal(&self) {
        let opened = EmbeddedStore::open(&self.folder.path().join("state")).unwrap();
        for tracked in &self.flags {
            let wanted = JournalQuery {
                subject: Some(Subject::Flag(tracked.flag.parse().unwrap())),
                limit: 100_000,
                ..JournalQuery::default()
            };
            let lines = opened.reader.journal(&wanted).unwrap();
            let whys = lines.iter().rev().map(|line| line.entry.why.clone());
            let orders: Vec<_> = whys.filter(|why| why.starts_with("order ")).collect();
            assert_eq!(orders, tracked.answered, "{}", tracked.flag);
            assert!(
                tracked
                    .cut_off
                    .iter()
                    .all(|reason| !orders.contains(reason))
            );
        }
    }
}

/// Gives an order; the status after it, unless the program ended first.
fn command(proxy: &TestProxy, flag: &str, verb: &str, body: &Value) -> Option<Value> {
    let mut body = body.clone();
    if body["full"] == false {
        body.as_object_mut().unwrap().remove("full");
    }
    let path = format!("/api/v1/rollouts/{flag}/{verb}");
    let request = Request::new("POST", &path).host(&proxy.admin().to_string());
    let answer = request
        .body(body.to_string())
        .try_send_to(proxy.admin())
        .ok()?;
    assert_eq!(answer.status, 200, "{verb}: {}", answer.text());
    answer.is_whole.then(|| answer.json())
}

/// Has the configuration read again, and waits until a rollout is where that puts it; its status,
/// unless the program ended first.
fn reload(proxy: &TestProxy, flag: &str, target: Position) -> Option<Value> {
    signal(proxy.process(), "HUP");
    let path = format!("/api/v1/rollouts/{flag}");
    let request = Request::get(&path).host(&proxy.admin().to_string());
    wait_for("the configuration is taken", SOON, || {
        let Ok(answer) = request.try_send_to(proxy.admin()) else {
            return Some(None);
        };
        let status = answer.is_whole.then(|| answer.json())?;
        target.is_told_by(&status).then_some(Some(status))
    })
}

/// Asserts that starts were quick: nine of ten, since the machine may have other things to do.
fn assert_quick_starts() {
    let mut starts = READY_AFTER.lock().unwrap().clone();
    starts.sort_unstable();
    let most = starts[starts.len() * 9 / 10];
    assert!(most < READY_MAX, "ready after {starts:?}");
}

/// Asserts that the log complains of nothing.
fn assert_calm(proxy: &TestProxy) {
    let log = proxy.log();
    assert!(
        !log.contains(" ERROR ") && !log.contains("panicked"),
        "{log}"
    );
}

/// The program, to be killed when it does a kind of write for the `nth` time in a thread.
fn killed_at(write: &str, nth: usize) -> Command {
    let mut strace = Command::new("strace");
    strace
        .args(["-D", "-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("trace={write}"))
        .arg("-e")
        .arg(format!("inject={write}:signal=SIGKILL:when={nth}"))
        .arg(SERIN);
    strace
}

/// Kills at the `nth` write of a kind, from the start on or under orders; `false` when there are
/// not so many.
fn kill_at(write: &str, nth: usize, mut rig: Rig, acts: &[(usize, Act)]) -> bool {
    rig.write_config();
    let started = TestProxy::try_in_folder(rig.folder.path(), killed_at(write, nth));
    let is_killed = match started {
        Err(ended) => {
            assert_eq!(ended.status.code(), None, "{write} {nth}: {}", ended.log);
            true
        }
        Ok(mut proxy) => {
            let _load = Load::start(proxy.address());
            let is_killed = !acts
                .iter()
                .all(|(place, act)| rig.act(*place, *act, &proxy));
            proxy.kill();
            assert_calm(&proxy);
            is_killed
        }
    };
    rig.restart().kill();
    rig.assert_journal();
    is_killed
}

/// Kills at every write of every kind, in several threads; gives the number of kills.
fn kill_at_each_write(make: &(dyn Fn() -> Rig + Sync), acts: &[(usize, Act)]) -> usize {
    let kills = AtomicUsize::new(0);
    scope(|threads| {
        // Most writes are of one kind, which is dealt out to two.
        let lanes: [(&[&str], usize, usize); 3] = [
            (&["pwrite64"], 1, 2),
            (&["pwrite64"], 2, 2),
            (
                &["mkdir", "ftruncate", "fdatasync", "fsync", "rename"],
                1,
                1,
            ),
        ];
        assert!(
            WRITES
                .iter()
                .all(|write| lanes.iter().any(|lane| lane.0.contains(write)))
        );
        for (kinds, first, step) in lanes {
            let kills = &kills;
            threads.spawn(move || {
                for kind in kinds {
                    let numbers = (first..).step_by(step);
                    let killed = numbers.take_while(|nth| kill_at(kind, *nth, make(), acts));
                    kills.fetch_add(killed.count(), Ordering::SeqCst);
                }
            });
        }
    });
    kills.into_inner()
}

#[test]
fn killed_at_any_write_it_goes_on_where_it_said_it_was() {
    let servers = [TestBackend::start("v1"), TestBackend::start("v2")];
    let backends = backends(&[("v1", &servers[0]), ("v2", &servers[1])]);
    // The file is made, and the rollouts start.
    let at_first = kill_at_each_write(&|| Rig::new(&backends), &[]);

    // One rollout goes on after a restart, and the other has a new revision, which is led to its
    // end and followed by a third one.
    let mut known = Rig::new(&backends);
    let mut proxy = known.restart();
    assert!(known.act(0, Act::Promote, &proxy) && known.act(0, Act::Rollback, &proxy));
    proxy.kill();
    let revised = known.flags[0].held.after(Act::Revise).unwrap();
    known.flags[0].under_way = Some((revised, None));
    let acts = [
        (0, Act::Promote),
        (1, Act::Promote),
        (1, Act::Rollback),
        (1, Act::Retry),
        (1, Act::Pause),
        (1, Act::Abort),
        (0, Act::SwitchOff),
        (0, Act::SwitchOn),
        (0, Act::PromoteFull),
        (0, Act::Promote),
        (0, Act::Revise),
    ];
    let later = kill_at_each_write(
        &|| {
            let mut rig = known.copy();
            rig.write_config();
            rig.flags[0].held = revised;
            rig
        },
        &acts,
    );
    eprintln!("killed at {at_first} writes of a first start and at {later} later ones");
    assert!(
        at_first + later >= WRITE_KILLS_MIN,
        "{at_first} and {later}"
    );
    assert_quick_starts();
}

#[test]
fn killed_at_any_moment_it_goes_on_where_it_said_it_was() {
    let servers = [TestBackend::start("v1"), TestBackend::start("v2")];
    let backends = backends(&[("v1", &servers[0]), ("v2", &servers[1])]);
    let seed = rand::random::<u64>();
    eprintln!("seed {seed}");
    scope(|threads| {
        for lane in 0..2 {
            let backends = &backends;
            threads.spawn(move || {
                let mut random = SmallRng::seed_from_u64(seed.wrapping_add(lane));
                let mut rig = Rig::new(backends);
                for _ in 0..RANDOM_KILLS / 2 {
                    kill_at_random(&mut rig, &mut random);
                }
                rig.restart().kill();
                rig.assert_journal();
            });
        }
    });
    assert_quick_starts();
}

fn kill_at_random(rig: &mut Rig, random: &mut SmallRng) {
    let mut proxy = rig.restart();
    let load = Load::start(proxy.address());
    wait_until("load is on it", SOON, || load.good() > 0);
    let moment = random.random_range(Duration::ZERO..KILL_WITHIN);
    let process = proxy.process();
    let is_killed = AtomicBool::new(false);
    scope(|threads| {
        threads.spawn(|| {
            sleep(moment);
            is_killed.store(signal(process, "KILL"), Ordering::SeqCst);
        });
        rig.act_on(&proxy, random);
    });
    assert!(
        is_killed.into_inner(),
        "it ended by itself: {}",
        proxy.log()
    );
    proxy.kill();
    assert_calm(&proxy);
}
