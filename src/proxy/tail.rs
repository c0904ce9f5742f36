//! Requests as they end, for whoever looks on.
//!
//! While somebody does, workers leave a record of each request in a tray, and one thread tells those that
//! are wanted. Otherwise a request pays for a look at a number, and there is no thread.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use crate::runtime::clock;
use crate::runtime::trays::{Tally, TrayReceiver, TraySender, trays};
use crate::telemetry::access_log::{Record, RequestFilter, write_line};

/// How long the thread stays when nobody looks on any more: until each worker has noticed, which each does
/// once a second, so that no record is left behind.
const LINGER: Duration = Duration::from_secs(3);

/// Somebody who looks on. Nothing here may block.
pub trait Onlooker: Send {
    /// Shows a request that has ended, as a line of the access log without its line break.
    fn show(&mut self, line: &str);

    /// Says that so many requests could not be looked at, for there were too many at once.
    fn lost(&mut self, requests: u64);

    /// Whether nobody looks any more.
    fn is_gone(&self) -> bool;
}

/// Lets look on at requests.
#[derive(Clone)]
pub struct Tail {
    shared: Arc<Shared>,
}

struct Shared {
    is_watched: AtomicBool,
    sender: TraySender<Record>,
    tally: Arc<Tally>,
    hall: Mutex<Hall>,
}

/// Where onlookers wait to be let in.
struct Hall {
    arrived: Vec<Guest>,
    /// None while the thread has it.
    receiver: Option<TrayReceiver<Record>>,
}

struct Guest {
    filter: RequestFilter,
    onlooker: Box<dyn Onlooker>,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_watched = self.is_watched();
        f.debug_struct("Tail")
            .field("is_watched", &is_watched)
            .finish_non_exhaustive()
    }
}

impl Tail {
    /// For so many workers; nobody looks on yet.
    pub fn new(workers: usize) -> Self {
        let tally = Arc::<Tally>::default();
        let (sender, receiver) = trays(workers, Arc::clone(&tally));
        let hall = Hall {
            arrived: Vec::new(),
            receiver: Some(receiver),
        };
        Self {
            shared: Arc::new(Shared {
                is_watched: AtomicBool::new(false),
                sender,
                tally,
                hall: Mutex::new(hall),
            }),
        }
    }

    /// Shows somebody all requests that a filter wants, from about now on and until they have gone.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn show_to(&self, filter: RequestFilter, onlooker: Box<dyn Onlooker>) -> io::Result<()> {
        let mut hall = self.shared.hall();
        hall.arrived.push(Guest { filter, onlooker });
        self.shared.is_watched.store(true, Ordering::Relaxed);
        if let Some(receiver) = hall.receiver.take() {
            let guide = Guide {
                shared: Arc::clone(&self.shared),
                receiver: Some(receiver),
                guests: Vec::new(),
                lost: self.shared.tally.dropped(),
            };
            // Where there is no thread, the guide puts all back as it goes.
            drop(hall);
            Builder::new()
                .name("tail".to_owned())
                .spawn(move || guide.run())?;
        }
        Ok(())
    }

    /// Whether anybody looks on.
    pub(super) fn is_watched(&self) -> bool {
        self.shared.is_watched.load(Ordering::Relaxed)
    }

    /// Leaves a request that has ended.
    pub(super) fn leave(&self, worker: usize, record: Record) {
        // What finds no room is counted, and told to those who look on.
        let _ = self.shared.sender.leave(worker, record);
    }
}

impl Shared {
    fn hall(&self) -> MutexGuard<'_, Hall> {
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows requests to those who look on, in a thread of its own.
struct Guide {
    shared: Arc<Shared>,
    /// Put back when it goes.
    receiver: Option<TrayReceiver<Record>>,
    guests: Vec<Guest>,
    /// How many records had found no room when it was told last.
    lost: u64,
}

impl Guide {
    fn run(mut self) {
        let mut busy = clock::monotonic();
        loop {
            let Some(receiver) = &self.receiver else {
                return;
            };
            receiver.wait();
            self.show();
            self.guests.retain(|guest| !guest.onlooker.is_gone());
            let mut hall = self.shared.hall();
            self.guests.append(&mut hall.arrived);
            let now = clock::monotonic();
            if self.guests.is_empty() {
                self.shared.is_watched.store(false, Ordering::Relaxed);
                if now - busy >= LINGER {
                    hall.receiver = self.receiver.take();
                    return;
                }
            } else {
                busy = now;
            }
        }
    }

    fn show(&mut self) {
        let Some(receiver) = &mut self.receiver else {
            return;
        };
        let guests = &mut self.guests;
        let mut line = Vec::new();
        receiver.take(|records| {
            for record in &*records {
                let wanting = |guest: &&mut Guest| guest.filter.wants(record);
                let mut wanting = guests.iter_mut().filter(wanting).peekable();
                if wanting.peek().is_none() {
                    continue;
                }
                line.clear();
                write_line(record, &mut line);
                let text = String::from_utf8_lossy(&line);
                wanting.for_each(|guest| guest.onlooker.show(text.trim_end()));
            }
        });
        let dropped = self.shared.tally.dropped();
        let lost = dropped.saturating_sub(self.lost);
        self.lost = dropped;
        if lost > 0 {
            guests
                .iter_mut()
                .for_each(|guest| guest.onlooker.lost(lost));
        }
    }
}

/// Who goes, even by a defect, leaves all ready for the next one.
impl Drop for Guide {
    fn drop(&mut self) {
        if let Some(receiver) = self.receiver.take() {
            let mut hall = self.shared.hall();
            hall.receiver = Some(receiver);
            hall.arrived.clear();
            self.shared.is_watched.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Passes on what it is shown, until nobody takes it.
    struct Passing {
        lines: Sender<String>,
        is_gone: Arc<AtomicBool>,
    }

    impl Onlooker for Passing {
        fn show(&mut self, line: &str) {
            let _ = self.lines.send(line.to_owned());
        }

        fn lost(&mut self, requests: u64) {
            let _ = self.lines.send(format!("lost {requests}"));
        }

        fn is_gone(&self) -> bool {
            self.is_gone.load(Ordering::SeqCst)
        }
    }

    fn onlooker() -> (Box<Passing>, Receiver<String>, Arc<AtomicBool>) {
        let (sender, lines) = channel();
        let is_gone = Arc::<AtomicBool>::default();
        let passing = Passing {
            lines: sender,
            is_gone: Arc::clone(&is_gone),
        };
        (Box::new(passing), lines, is_gone)
    }

    fn record(path: &str) -> Record {
        let arrival = crate::telemetry::access_log::Arrival {
            client: "192.0.2.1".parse().unwrap(),
            scheme: "http",
            version: http::Version::HTTP_11,
        };
        Record::new(arrival, Arc::default(), [b"GET", b"shop", path.as_bytes()])
    }

    #[test]
    fn each_onlooker_sees_what_it_wants_while_it_looks() {
        let tail = Tail::new(2);
        assert!(!tail.is_watched());
        let (all, seen, all_gone) = onlooker();
        tail.show_to(RequestFilter::default(), all).unwrap();
        let (few, seen_few, few_gone) = onlooker();
        let filter = RequestFilter {
            path: Some("/b".to_owned()),
            ..RequestFilter::default()
        };
        tail.show_to(filter, few).unwrap();
        assert!(tail.is_watched());
        // The guide lets both in before it shows anything that is left after this.
        let wait = Duration::from_secs(10);
        let mut shown = Vec::new();
        while shown.is_empty() {
            tail.leave(1, record("/first"));
            shown.extend(seen.recv_timeout(Duration::from_millis(10)));
        }
        tail.leave(0, record("/a"));
        tail.leave(0, record("/b"));
        assert!(seen_few.recv_timeout(wait).unwrap().contains("\"/b\""));
        let last = std::iter::from_fn(|| seen.recv_timeout(wait).ok());
        assert!(last.take(10_000).any(|line| line.contains("\"/b\"")));
        all_gone.store(true, Ordering::SeqCst);
        few_gone.store(true, Ordering::SeqCst);
        // Both ends are dropped with their onlookers.
        assert!(seen_few.recv_timeout(wait).is_err());
        let (again, seen, _) = onlooker();
        tail.show_to(RequestFilter::default(), again).unwrap();
        while seen.try_recv().is_err() {
            tail.leave(1, record("/c"));
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_finds_no_room_is_told() {
        let tail = Tail::new(1);
        let (all, seen, _) = onlooker();
        tail.show_to(RequestFilter::default(), all).unwrap();
        // To leave a record is quicker than to tell of it.
        let record = record("/");
        let begun = clock::monotonic();
        let is_told = || seen.try_iter().any(|line| line.starts_with("lost "));
        while !is_told() {
            assert!(begun.elapsed() < Duration::from_secs(10));
            for _ in 0..1_000 {
                tail.leave(0, record.clone());
            }
        }
    }
}
