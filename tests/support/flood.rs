//! A proxy under a flood: what that costs it in memory, and others in time.
//!
//! One worker serves both sides, so that nobody gets out of the flood's way. Neighbours ask a backend of
//! their own, each some twenty times a second: on kept connections of both kinds of HTTP, and on a new one
//! each time.

use std::fmt::Display;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use serin::runtime::clock;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use super::frames::{END_HEADERS, END_STREAM, End, HEADERS, Http2, block};
use super::proxy::SERIN;
use super::{Authority, Behaviour, Connection, Request, TestBackend, TestProxy};

/// How much more memory a flood may take at its height.
pub(crate) const GROWTH_MAX: u64 = 64 * MIB;

/// How long a neighbour may wait for an answer.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(1);

pub(crate) const MIB: u64 = 1024 * 1024;

/// How long a neighbour rests between two requests.
const PAUSE: Duration = Duration::from_millis(50);

/// How often each neighbour has asked before a flood begins, so that what it takes up is there by then.
const WARM_UP: u32 = 3;

/// Floods come one after the other: each is measured by itself.
static TURN: Mutex<()> = Mutex::new(());

/// A proxy with two backends: that of the flood at `/x`, and that of the neighbours.
pub(crate) struct Field {
    pub(crate) proxy: TestProxy,
    pub(crate) backend: TestBackend,
    _beside: TestBackend,
    _folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Field {
    /// Starts a proxy whose listener has more keys, with a backend at `/x` that behaves so and has more
    /// keys, too; each of them as `key: value, `.
    pub(crate) fn start(listener: &str, behaviour: Behaviour, backend: &str) -> Self {
        Self::run_by(Command::new(SERIN), listener, behaviour, backend)
    }

    /// The same for something that runs the program.
    pub(crate) fn run_by(
        program: Command,
        listener: &str,
        behaviour: Behaviour,
        backend: &str,
    ) -> Self {
        // One that has failed is no reason for another.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let flooded = TestBackend::with("flooded", behaviour);
        let beside = TestBackend::start("beside");
        let folder = TempDir::new().unwrap();
        let issued = Authority::new().issue("edge", &["edge.test"]);
        issued.write(folder.path(), "edge");
        let config = format!(
            "listeners:\n\
             - {{ address: \"127.0.0.1:0\", {listener} }}\n\
             - {{ address: \"127.0.0.1:0\", proxy_protocol: from_trusted, \
             tls: {{ certificates: [{{ cert: edge.pem, key: edge.key }}], handshake_timeout: 1s }} }}\n\
             trusted_proxies: [127.0.0.1]\n\
             admin: {{ address: \"127.0.0.1:0\" }}\nstate: {{ path: state }}\nworkers: 1\n\
             backends:\n\
             \x20 flooded: {{ endpoints: [\"{}\"], {backend} }}\n\
             \x20 beside: \"{}\"\n\
             routes: [{{ path: /x, backend: flooded }}, {{ path: /, backend: beside }}]\n",
            flooded.url(),
            beside.url(),
        );
        std::fs::write(folder.path().join("serin.yaml"), config).unwrap();
        Self {
            proxy: TestProxy::in_folder(folder.path(), program),
            backend: flooded,
            _beside: beside,
            _folder: folder,
            _turn: turn,
        }
    }

    /// Where TLS is spoken, behind a PROXY header if there is one.
    pub(crate) fn tls_address(&self) -> SocketAddr {
        let log = self.proxy.log();
        let mut listening = log
            .lines()
            .filter_map(|line| line.split_once("listening address="));
        listening.nth(1).unwrap().1.parse().unwrap()
    }

    /// How many connections of clients the proxy has cut for a reason.
    pub(crate) fn cuts(&self, reason: &str) -> u64 {
        let labels = [("reason", reason)];
        self.proxy
            .metrics()
            .count("serin_client_cuts_total", &labels)
    }

    /// Begins to look at memory and neighbours.
    pub(crate) fn watch(&self) -> Watch<'_> {
        let neighbours = Neighbours::start(self.proxy.address());
        self.proxy.forget_memory_peak();
        Watch {
            proxy: &self.proxy,
            before: self.proxy.resident_bytes(),
            neighbours,
        }
    }
}

/// A look at a proxy from before a flood on.
pub(crate) struct Watch<'a> {
    proxy: &'a TestProxy,
    before: u64,
    neighbours: Neighbours,
}

impl Watch<'_> {
    /// How much memory has been added so far, at the height of it.
    pub(crate) fn growth(&self) -> u64 {
        self.proxy.memory_peak().saturating_sub(self.before)
    }

    /// Ends with the flood's line of the table, and fails if it has cost too much.
    #[track_caller]
    pub(crate) fn end(self, flood: &str, how_much: impl Display, cut_by: &str) {
        self.end_within(GROWTH_MAX, flood, how_much, cut_by);
    }

    /// The same with another limit of memory.
    #[track_caller]
    #[allow(
        clippy::print_stdout,
        clippy::cast_precision_loss,
        reason = "a table for people, of numbers that are small"
    )]
    pub(crate) fn end_within(self, most: u64, flood: &str, how_much: impl Display, cut_by: &str) {
        let growth = self.growth();
        let slowest = self.neighbours.stop();
        // Shown with `--nocapture`.
        println!(
            "| {flood} | {how_much} | {:.1} MiB | {} ms | {cut_by} |",
            growth as f64 / MIB as f64,
            slowest.as_millis(),
        );
        assert!(growth < most, "{flood}: {growth} bytes more");
        assert!(
            slowest < WAIT_MAX,
            "{flood}: a neighbour waited {slowest:?}"
        );
        assert!(!self.proxy.log().contains("panicked"), "{flood}");
    }
}

/// Those who are served beside a flood.
struct Neighbours {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Duration>>,
}

impl Neighbours {
    /// Starts them, and goes on when all have been served.
    fn start(address: SocketAddr) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let asking: [fn(SocketAddr) -> Asking; 3] = [by_http1, by_http2, anew];
        let (warm, is_warm) = std::sync::mpsc::channel();
        let threads = asking.map(|begin| {
            let (is_over, warm) = (Arc::clone(&is_over), warm.clone());
            spawn(move || {
                let mut ask = begin(address);
                (0..WARM_UP).for_each(|_| ask());
                warm.send(()).unwrap();
                let mut slowest = Duration::ZERO;
                loop {
                    let begun = clock::monotonic();
                    ask();
                    slowest = slowest.max(begun.elapsed());
                    if is_over.load(Ordering::SeqCst) {
                        return slowest;
                    }
                    sleep(PAUSE);
                }
            })
        });
        for _ in &threads {
            is_warm.recv().unwrap();
        }
        Self {
            is_over,
            threads: threads.into(),
        }
    }

    /// How long the slowest has waited.
    fn stop(self) -> Duration {
        self.is_over.store(true, Ordering::SeqCst);
        let ended = self.threads.into_iter();
        let slowest = ended.map(|thread| thread.join().expect("neighbours are served"));
        slowest.max().unwrap()
    }
}

/// Asks once more each time, and fails where that fails.
type Asking = Box<dyn FnMut()>;

fn by_http1(address: SocketAddr) -> Asking {
    let mut connection = Connection::open(address);
    Box::new(move || assert_eq!(connection.ask(&Request::get("/")).status, 200))
}

fn by_http2(address: SocketAddr) -> Asking {
    let mut connection = Http2::open(address);
    let mut stream = 1;
    Box::new(move || {
        connection.send(&head("GET", "/", stream));
        assert_eq!(connection.answer(stream), End::Answered(200));
        stream += 2;
    })
}

fn anew(address: SocketAddr) -> Asking {
    Box::new(move || assert_eq!(Request::get("/").send_to(address).status, 200))
}

/// The head of a request over HTTP/2; that of a `GET` is also its end.
pub(crate) fn head(method: &str, path: &str, stream: u32) -> Vec<u8> {
    let fields = [
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", "a"),
    ];
    let end = if method == "GET" { END_STREAM } else { 0 };
    super::frames::frame(HEADERS, END_HEADERS | end, stream, block(&fields))
}

/// A connection whose own side holds hardly anything that it has not read.
pub(crate) fn narrow(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 * 1024).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

/// Lets this process, and those that it starts from now on, open as many files as the system lets it;
/// tells how many.
pub(crate) fn open_files_max() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let hard = line.unwrap().split_whitespace().nth(4).unwrap().to_owned();
    let own = std::process::id().to_string();
    let nofile = format!("--nofile={hard}:{hard}");
    let raised = Command::new("prlimit")
        .args(["--pid", &own, &nofile])
        .status();
    assert!(raised.unwrap().success());
    hard.parse().unwrap()
}
