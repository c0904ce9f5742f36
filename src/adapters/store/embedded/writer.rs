//! The writer, and the thread that does its work.
//!
//! A disk may hang for minutes, and a rollback must not. So a thread of its own writes, and the
//! writer waits for it for a bounded time. What it has not written by then it goes on with, and
//! whatever is decided meanwhile waits in a queue where newer takes the place of older.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::time::Instant;

use crate::adapters::store::limits::millis;
use crate::control::ports::{
    FeedbackChange, HistoryPoint, KnownEvidence, StateError, StateWriter, Transition,
};
use crate::runtime::clock;

use super::commit::{self, Batch, Points};
use super::fault::Fault;
use super::medium::{self, Medium};
use super::order::Order;
use super::pace::Pace;
use super::reader::add_delivery;
use super::renewal::Renewal;
use super::shared::{Queue, Shared};

/// How often a batch is tried: as it is, in a database opened anew, and once more with the room
/// that was held in reserve.
const TRIES_MAX: usize = 3;

/// How soon reserve that was given up is looked for again: a disk does not stay full for long
/// once somebody looks after it, and a failed look is cheap.
const RESERVE_EVERY: Duration = Duration::from_secs(10);

/// How soon what failed is tried again, where nobody asks for it again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Hands to the thread what is to be written.
#[derive(Debug)]
pub(super) struct EmbeddedWriter {
    shared: Arc<Shared>,
    pace: Pace,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedWriter {
    /// Starts the thread.
    pub(super) fn start(
        shared: Arc<Shared>,
        medium: Box<dyn Medium>,
        pace: Pace,
    ) -> std::io::Result<Self> {
        let now = clock::monotonic();
        let scribe = Scribe {
            shared: Arc::clone(&shared),
            medium,
            pace,
            points_due: now + pace.points_wait_max,
            // The first look comes with the first points.
            upkeep_due: now,
            reserve_due: now,
            has_failed: false,
            renewal: Renewal::default(),
        };
        let named = thread::Builder::new().name("state-writer".to_owned());
        Ok(Self {
            shared,
            pace,
            thread: Some(named.spawn(|| scribe.run())?),
        })
    }
}

impl StateWriter for EmbeddedWriter {
    fn save(&mut self, transition: &Transition) -> Result<(), StateError> {
        let mut queue = self.shared.queue();
        let (number, dropped) = queue.push(transition, millis(clock::wall()));
        self.shared.note_dropped(dropped);
        self.shared.ring();
        let is_waiting = |queue: &mut Queue| queue.ended.0 < number && !queue.has_stopped;
        queue = self
            .shared
            .wait_while(queue, self.pace.wait_max, is_waiting);
        if let Some(end) = queue.told(number) {
            return end;
        }
        let reason = if queue.has_stopped {
            "its writer has stopped".to_owned()
        } else {
            let limit_ms = self.pace.wait_max.as_millis();
            format!("the disk has not answered within {limit_ms} ms")
        };
        drop(queue);
        let error = self.shared.error(&reason);
        self.shared.note_failure(&error);
        Err(error)
    }

    fn keep(&mut self, points: Vec<HistoryPoint>) {
        let mut collector = self.shared.collector();
        let dropped = points.into_iter().map(|point| collector.add(point)).sum();
        self.shared.note_dropped(dropped);
    }

    fn keep_evidence(&mut self, evidence: KnownEvidence) {
        self.shared.leave_evidence(evidence);
    }

    fn keep_feedback(&mut self, changes: Vec<FeedbackChange>) {
        self.shared.leave_feedback(changes);
    }
}

impl Drop for EmbeddedWriter {
    /// Lets the thread write what it has, for a bounded time.
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.is_stopping = true;
        self.shared.ring();
        queue = self
            .shared
            .wait_while(queue, self.pace.stop_wait_max, |queue| !queue.has_stopped);
        if queue.has_stopped {
            drop(queue);
            // It is on its last line.
            let _ = self.thread.take().map(JoinHandle::join);
        } else if queue.is_complete {
            tracing::warn!(
                "the next start writes the state file anew after a caller was forgotten"
            );
        } else {
            tracing::error!("the disk has not answered; what was not written down is lost");
        }
    }
}

/// What is on the thread.
struct Scribe {
    shared: Arc<Shared>,
    medium: Box<dyn Medium>,
    pace: Pace,
    points_due: Instant,
    upkeep_due: Instant,
    reserve_due: Instant,
    /// Whether the last write has.
    has_failed: bool,
    renewal: Renewal,
}

impl Scribe {
    fn run(mut self) {
        while let Some(order) = self.next_order() {
            self.carry_out(order);
            self.renew(false);
            self.look_for_reserve();
        }
        self.follow_up(false);
        self.shared.queue().is_complete = true;
        self.renew(true);
        if let Some(database) = self.shared.swap(None)
            && let Err(error) = database.close()
        {
            tracing::warn!(%error, "the state file was not closed cleanly; nothing is lost");
        }
        // The folder is free before anybody hears of the end.
        let Self { shared, medium, .. } = self;
        drop(medium);
        shared.queue().has_stopped = true;
        shared.ring();
    }

    /// Waits for something to write; `None` when all is written, or cannot be, and no more is to
    /// come.
    fn next_order(&self) -> Option<Order> {
        let now = clock::monotonic();
        let mut limit = self.points_due - now;
        if self.shared.has_shortage() {
            limit = limit.min(self.reserve_due - now);
        }
        let has_failed = self.has_failed;
        if has_failed {
            limit = limit.min(RETRY_EVERY);
        }
        if let Some(due) = self.renewal.due()
            && !has_failed
            && !self.shared.has_shortage()
        {
            limit = limit.min(due - now);
        }
        let takes_feedback = !has_failed && !self.shared.has_shortage();
        let has_work = |queue: &Queue| {
            queue.has_transition()
                || (queue.has_delivery() && !has_failed)
                || (!queue.feedback.is_empty() && takes_feedback)
        };
        let queue = self.shared.queue();
        let mut queue = self
            .shared
            .wait_while(queue, limit, |queue| !has_work(queue) && !queue.is_stopping);
        let is_last = !has_work(&queue) && queue.is_stopping;
        let order = Order::take(&mut queue);
        (!is_last).then_some(order)
    }

    fn carry_out(&mut self, mut order: Order) {
        let moves_rollouts = !order.batch.records.is_empty() || order.batch.freeze.is_some();
        let has_forgotten = !order.batch.forgotten.is_empty();
        if (moves_rollouts || has_forgotten) && !self.shared.has_shortage() {
            order.batch.evidence = self.shared.take_evidence();
        }
        if order.has_work() {
            let error = match self.write(&order.batch) {
                Ok(messages_dropped) => {
                    self.shared.note_dropped(messages_dropped);
                    self.shared.note_success(self.medium.bytes());
                    None
                }
                Err(fault) => {
                    let error = self.shared.error(&fault);
                    self.shared.note_failure(&error);
                    Some(error)
                }
            };
            self.has_failed = error.is_some();
            if self.has_failed {
                let evidence = std::mem::take(&mut order.batch.evidence);
                self.shared.put_back_evidence(evidence);
                let feedback = std::mem::take(&mut order.batch.feedback);
                self.shared.put_back_feedback(feedback);
            } else if has_forgotten {
                self.renewal.note(self.pace.renewal_wait);
            }
            self.tell(order, error);
        }
        self.follow_up(moves_rollouts && !self.has_failed);
    }

    /// Does what nobody waits for: sets the seal, and writes the points that are there.
    fn follow_up(&mut self, has_moved: bool) {
        let now = clock::monotonic();
        let is_due = has_moved || now >= self.points_due || self.shared.queue().is_stopping;
        if is_due {
            self.points_due = now + self.pace.points_wait_max;
        }
        let (mut points, mut evidence, mut feedback) = Default::default();
        // What room is left is for rollbacks.
        if !self.shared.has_shortage() {
            feedback = self.shared.take_feedback();
            if is_due {
                points = self.shared.collector().take();
            }
            if is_due || !feedback.is_empty() {
                evidence = self.shared.take_evidence();
            }
        }
        if points.is_empty() && evidence.is_empty() && feedback.is_empty() && !has_moved {
            return;
        }
        let is_checked = !points.is_empty() && now >= self.upkeep_due;
        let sealed = self.guarded(|database| {
            let points = Points {
                new: &points,
                evidence: &evidence,
                feedback: &feedback,
                is_checked,
            };
            commit::seal(database, points)
        });
        if sealed.is_err() {
            self.shared.put_back_evidence(evidence);
            self.has_failed |= !feedback.is_empty();
            self.shared.put_back_feedback(feedback);
        }
        let dropped = self.shared.collector().settle(sealed.is_ok());
        self.shared.note_dropped(dropped);
        match sealed {
            Ok(()) => {
                self.has_failed = false;
                self.shared.note_success(self.medium.bytes());
                if is_checked {
                    self.upkeep_due = now + self.pace.upkeep;
                }
            }
            // Where only the seal is missing: the next opening, which is now, sets one as well.
            Err(fault) => {
                self.reopen();
                if fault.is_lack_of_room() {
                    self.note_lack_of_room();
                } else if !points.is_empty() {
                    self.shared.note_failure(&self.shared.error(&fault));
                }
            }
        }
    }

    /// Tells the writer how its order ended.
    fn tell(&self, order: Order, error: Option<StateError>) {
        let has_failed = error.is_some();
        let mut queue = self.shared.queue();
        queue.delivering.clear();
        if has_failed {
            // Deliveries are ours to repeat; transitions are asked for again.
            let newer = std::mem::replace(&mut queue.batch.deliveries, order.batch.deliveries);
            for (id, delivery) in newer {
                add_delivery(&mut queue.batch.deliveries, id, delivery);
            }
        }
        if order.is_new {
            queue.end(order.number, error);
        }
        drop(queue);
        self.shared.ring();
    }

    /// Writes a batch, if need be in a database opened anew, or in the room that was held in
    /// reserve; says how many messages had to be dropped for it.
    fn write(&mut self, batch: &Batch) -> Result<u64, Fault> {
        let mut tries = 0;
        loop {
            let now_unix_ms = millis(clock::wall());
            let written = self.guarded(|database| commit::write(database, batch, now_unix_ms));
            let Err(fault) = written else { return written };
            self.close();
            tries += 1;
            let mut has_relief = tries == 1;
            if fault.is_lack_of_room() {
                has_relief |= self.medium.give_up_reserve();
                self.note_lack_of_room();
            }
            if tries >= TRIES_MAX || !has_relief {
                self.reopen();
                return Err(fault);
            }
        }
    }

    fn note_lack_of_room(&mut self) {
        self.shared.note_shortage(true);
        self.reserve_due = clock::monotonic() + RESERVE_EVERY;
    }

    /// Does something with the database, which is opened if need be, and makes an error of a
    /// panic: this thread ends with the process and not before.
    fn guarded<T>(
        &mut self,
        act: impl FnOnce(&redb::Database) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.shared.with_database(|_| ()).is_none() {
            let (database, _) = medium::open(&mut *self.medium)?;
            self.shared.swap(Some(database));
        }
        self.medium.check()?;
        let closed = || Err(Fault::Other("it is closed".to_owned()));
        medium::guarded(|| self.shared.with_database(act).unwrap_or_else(closed))
    }

    /// Closes the database: after an error it takes no more writes.
    fn close(&self) {
        // It has failed; whether its end does as well tells nothing new.
        let _ = medium::guarded(|| {
            drop(self.shared.swap(None));
            Ok(())
        });
    }

    /// Opens the database anew, so that at least it can be read; the next write tries again.
    fn reopen(&mut self) {
        self.close();
        if let Ok((database, _)) = medium::open(&mut *self.medium) {
            self.shared.swap(Some(database));
        }
    }

    /// Writes the file anew where that is due, or at the end where something was erased.
    fn renew(&mut self, is_end: bool) {
        let (shared, medium) = (&self.shared, &mut *self.medium);
        if self.renewal.carry_out(shared, medium, is_end) {
            self.reopen();
        }
    }

    fn look_for_reserve(&mut self) {
        let now = clock::monotonic();
        if self.shared.has_shortage() && now >= self.reserve_due {
            self.reserve_due = now + RESERVE_EVERY;
            let has_reserve = self.medium.take_reserve();
            self.shared.note_shortage(!has_reserve);
        }
    }
}
