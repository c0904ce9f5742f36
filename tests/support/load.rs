//! Callers who ask on and on in the background, and count what they get.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use super::{Connection, Request};

/// How many connections the callers share.
pub(crate) const CONNECTIONS: u64 = 4;

/// How many callers there are; a multiple of the connections, so that each has its own.
const CALLERS: u64 = 400;

/// How long each connection rests between two requests.
const PAUSE: Duration = Duration::from_millis(8);

/// A steady stream of requests from many callers; ends when it is dropped, or when nobody listens
/// any more.
pub(crate) struct Load {
    seen: Arc<Seen>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    is_stopping: AtomicBool,
    good: AtomicU64,
    bad: AtomicU64,
    /// Callers who were served by `canary` and then by `stable`.
    moved_back: AtomicU64,
    /// What the first bad answer was.
    complaint: Mutex<Option<String>>,
}

impl Load {
    /// Starts: some hundred requests a second for `/`, by callers `u-0` to `u-399` in turn, told
    /// by the header `x-user-id`.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let seen = Arc::<Seen>::default();
        let threads = (0..CONNECTIONS).map(|connection| {
            let seen = Arc::clone(&seen);
            spawn(move || seen.ask_on(address, connection))
        });
        Self {
            threads: threads.collect(),
            seen,
        }
    }

    /// Answers below 500 that came whole.
    pub(crate) fn good(&self) -> u64 {
        self.seen.good.load(Ordering::SeqCst)
    }

    /// All others.
    pub(crate) fn bad(&self) -> u64 {
        self.seen.bad.load(Ordering::SeqCst)
    }

    /// How many times a caller was answered by `canary` and the next time by `stable`.
    pub(crate) fn moved_back(&self) -> u64 {
        self.seen.moved_back.load(Ordering::SeqCst)
    }

    /// What the first of the others was.
    pub(crate) fn complaint(&self) -> Option<String> {
        self.seen.complaint.lock().unwrap().clone()
    }
}

impl Seen {
    fn ask_on(&self, address: SocketAddr, first: u64) {
        let Ok(mut connection) = Connection::try_open(address) else {
            return;
        };
        let mut caller = first;
        let mut on_canary = HashSet::new();
        while !self.is_stopping.load(Ordering::SeqCst) {
            caller = (caller + CONNECTIONS) % CALLERS;
            let request = Request::get("/").field("x-user-id", &format!("u-{caller}"));
            match connection.try_ask(&request) {
                Ok(answer) if answer.status < 500 && answer.is_whole => {
                    self.good.fetch_add(1, Ordering::SeqCst);
                    if answer.body == b"canary" {
                        on_canary.insert(caller);
                    } else if on_canary.remove(&caller) {
                        self.moved_back.fetch_add(1, Ordering::SeqCst);
                    }
                }
                Ok(answer) => {
                    let complaint = format!("{} {}", answer.status, answer.text());
                    self.complain(complaint);
                }
                Err(error) => {
                    self.complain(error.to_string());
                    let Ok(another) = Connection::try_open(address) else {
                        return;
                    };
                    connection = another;
                }
            }
            sleep(PAUSE);
        }
    }

    fn complain(&self, complaint: String) {
        self.bad.fetch_add(1, Ordering::SeqCst);
        self.complaint.lock().unwrap().get_or_insert(complaint);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.seen.is_stopping.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A panic in there is told by the counts that are missing.
            let _ = thread.join();
        }
    }
}
