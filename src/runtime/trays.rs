//! What workers leave for one thread that takes it when it can: a tray for each, bounded.
//!
//! A worker lays one piece after the other into its own tray, whose lock it shares with the taker
//! alone, and that one holds it for no longer than it takes to put an empty tray in the place of a
//! full one. Nobody is woken for a piece: the taker looks by itself, ten times a second, and is
//! nudged once when a tray is half full. What finds no room is dropped and counted.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most pieces in a tray: a tenth of a second of more requests than one worker can serve.
pub const TRAY_MAX: usize = 4_096;

/// How often the taker looks.
const PAUSE: Duration = Duration::from_millis(100);

/// What became of the pieces, in numbers that only grow.
#[derive(Debug, Default)]
pub struct Tally {
    written: AtomicU64,
    dropped: AtomicU64,
}

impl Tally {
    /// Counts pieces that arrived where they were to go.
    pub fn add_written(&self, more: u64) {
        self.written.fetch_add(more, Ordering::Relaxed);
    }

    /// Counts pieces that are lost.
    pub fn add_dropped(&self, more: u64) {
        self.dropped.fetch_add(more, Ordering::Relaxed);
    }

    /// How many arrived so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// How many are lost so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

type Trays<T> = Arc<[Mutex<Vec<T>>]>;

/// Where workers leave pieces.
#[derive(Debug)]
pub struct TraySender<T> {
    trays: Trays<T>,
    tally: Arc<Tally>,
    nudge: SyncSender<()>,
}

impl<T> Clone for TraySender<T> {
    fn clone(&self) -> Self {
        Self {
            trays: Arc::clone(&self.trays),
            tally: Arc::clone(&self.tally),
            nudge: self.nudge.clone(),
        }
    }
}

impl<T> TraySender<T> {
    /// Leaves a piece in the tray of a worker; `false` when it found no room and is lost.
    pub fn leave(&self, worker: usize, piece: T) -> bool {
        let tray = &self.trays[worker];
        let mut tray = tray.lock().unwrap_or_else(PoisonError::into_inner);
        if tray.len() >= TRAY_MAX {
            drop(tray);
            self.tally.add_dropped(1);
            return false;
        }
        tray.push(piece);
        let is_half = tray.len() == TRAY_MAX / 2;
        drop(tray);
        if is_half {
            // One nudge that waits is as good as two.
            let _ = self.nudge.try_send(());
        }
        true
    }
}

/// Takes what workers have left.
#[derive(Debug)]
pub struct TrayReceiver<T> {
    trays: Trays<T>,
    nudge: Receiver<()>,
    /// Goes into the place of the next tray that is taken.
    empty: Vec<T>,
}

impl<T> TrayReceiver<T> {
    /// Waits until it is time to look; `false` when nobody can leave anything any more, so that what
    /// lies there is the last.
    pub fn wait(&self) -> bool {
        self.nudge.recv_timeout(PAUSE) != Err(RecvTimeoutError::Disconnected)
    }

    /// Takes all that lies in the trays, one tray after the other.
    pub fn take(&mut self, mut with: impl FnMut(&mut Vec<T>)) {
        for tray in &*self.trays {
            let mut tray = tray.lock().unwrap_or_else(PoisonError::into_inner);
            let mut taken = mem::replace(&mut *tray, mem::take(&mut self.empty));
            drop(tray);
            with(&mut taken);
            taken.clear();
            self.empty = taken;
        }
    }
}

/// Makes a tray for each worker, and the two ends of them.
pub fn trays<T>(workers: usize, tally: Arc<Tally>) -> (TraySender<T>, TrayReceiver<T>) {
    let trays: Trays<T> = (0..workers).map(|_| Mutex::default()).collect();
    let (nudge, nudged) = sync_channel(1);
    let sender = TraySender {
        trays: Arc::clone(&trays),
        tally,
        nudge,
    };
    let receiver = TrayReceiver {
        trays,
        nudge: nudged,
        empty: Vec::new(),
    };
    (sender, receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(receiver: &mut TrayReceiver<usize>) -> Vec<usize> {
        let mut all = Vec::new();
        receiver.take(|tray| all.append(tray));
        all
    }

    #[test]
    fn each_worker_has_a_tray_and_its_pieces_keep_their_order() {
        let (sender, mut receiver) = trays(2, Arc::default());
        for (worker, piece) in [(1, 4), (0, 1), (1, 5), (0, 2)] {
            assert!(sender.leave(worker, piece));
        }
        assert_eq!(taken(&mut receiver), [1, 2, 4, 5]);
        assert!(taken(&mut receiver).is_empty());
        sender.leave(0, 3);
        assert_eq!(taken(&mut receiver), [3]);
    }

    #[test]
    fn a_full_tray_drops_and_counts_and_nobody_waits() {
        let tally = Arc::<Tally>::default();
        let (sender, mut receiver) = trays(2, Arc::clone(&tally));
        for piece in 0..TRAY_MAX {
            assert!(sender.leave(0, piece));
        }
        assert!(!sender.leave(0, TRAY_MAX));
        assert!(!sender.leave(0, TRAY_MAX));
        assert!(sender.leave(1, 7), "another tray has room");
        assert_eq!(tally.dropped(), 2);
        assert!(receiver.wait(), "it was nudged when the tray was half full");
        assert_eq!(taken(&mut receiver).len(), TRAY_MAX + 1);
        assert!(sender.leave(0, 0));
    }

    #[test]
    fn the_taker_learns_that_all_have_gone_and_still_has_what_they_left() {
        let (sender, mut receiver) = trays(1, Arc::default());
        let other = sender.clone();
        sender.leave(0, 1);
        drop(sender);
        assert!(receiver.wait());
        other.leave(0, 2);
        drop(other);
        assert!(!receiver.wait());
        assert_eq!(taken(&mut receiver), [1, 2]);
    }
}
