//! A crowd whose every request is made for the test: who asks, for what, and for how long they wait.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use super::{Connection, Request};

/// How a crowd asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// How many connections it shares.
    pub(crate) connections: usize,
    /// How long each of them rests between two requests.
    pub(crate) pause: Duration,
    /// After how long without an answer one hangs up.
    pub(crate) patience: Duration,
}

impl Default for Manner {
    /// Some hundred requests a second, and the patience of a saint.
    fn default() -> Self {
        Self {
            connections: 4,
            pause: Duration::from_millis(30),
            patience: Duration::from_secs(30),
        }
    }
}

/// A steady stream of requests; ends when it is dropped, or when nobody listens any more.
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    manner: Manner,
    is_stopping: AtomicBool,
    next: AtomicU64,
    make: Box<dyn Fn(u64) -> Request + Send + Sync>,
}

impl Crowd {
    /// Starts; `make` is told the number of each request, counted from 0.
    pub(crate) fn start(
        address: SocketAddr,
        manner: Manner,
        make: impl Fn(u64) -> Request + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            address,
            manner,
            is_stopping: AtomicBool::new(false),
            next: AtomicU64::new(0),
            make: Box::new(make),
        });
        let threads = (0..manner.connections).map(|_| {
            let shared = Arc::clone(&shared);
            spawn(move || shared.ask_on())
        });
        Self {
            threads: threads.collect(),
            shared,
        }
    }

    /// How many requests were made.
    pub(crate) fn asked(&self) -> u64 {
        self.shared.next.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn ask_on(&self) {
        while !self.is_stopping.load(Ordering::SeqCst) {
            let Ok(connection) = Connection::try_open(self.address) else {
                return;
            };
            self.ask_until_one_fails(connection);
        }
    }

    fn ask_until_one_fails(&self, mut connection: Connection) {
        let patience = Some(self.manner.patience);
        if connection.socket().set_read_timeout(patience).is_err() {
            return;
        }
        while !self.is_stopping.load(Ordering::SeqCst) {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let answer = connection.try_ask(&(self.make)(number));
            sleep(self.manner.pause);
            if answer.is_err() {
                return;
            }
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A panic in there is told by what is missing.
            let _ = thread.join();
        }
    }
}
