//! How late this machine is: limits of time are held by programs that get to run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use serin::runtime::clock;

/// How long each sleep is meant to be.
const NAP: Duration = Duration::from_millis(1);

/// How often somebody must get to run until an answer has been seen: the caller, the proxy and the backend,
/// some of them twice.
const TURNS: u32 = 5;

/// Sleeps in the background, and tells how much longer than it should.
pub(crate) struct Lateness {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    is_stopping: AtomicBool,
    most_micros: AtomicU64,
}

impl Lateness {
    pub(crate) fn watch() -> Self {
        let shared = Arc::<Shared>::default();
        let thread = spawn({
            let shared = Arc::clone(&shared);
            move || {
                while !shared.is_stopping.load(Ordering::SeqCst) {
                    let begun = clock::monotonic();
                    sleep(NAP);
                    let late = begun.elapsed().saturating_sub(NAP).as_micros();
                    let late = u64::try_from(late).unwrap();
                    shared.most_micros.fetch_max(late, Ordering::SeqCst);
                }
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// What must be there after a time is there after so long, on a machine that has been this late.
    pub(crate) fn allow(&self, time: Duration) -> Duration {
        let most = Duration::from_micros(self.shared.most_micros.load(Ordering::SeqCst));
        time + TURNS * most
    }
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
