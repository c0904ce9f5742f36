//! Which message goes when: one queue for each target, each in order, none waiting for another.
//!
//! Pure: messages, outcomes and the time come in as values. Waits are counted on the monotonic
//! clock from the attempt that failed, so a wall clock set back or forward changes none of them,
//! and a restart begins with an attempt at once. How often a message was tried is written down
//! with it, so it is not tried for ever by a process that keeps restarting.
//!
//! The outbox may list a message a little longer than it is settled, or for as long as its disk is
//! full; what is settled here is not sent again by this process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::adapters::notify::webhook::outcome::{Outcome, back_off};
use crate::control::ports::OutboxMessage;
use crate::domain::timestamp::Timestamp;

/// The most messages looked at at a time.
pub(super) const LISTED_MAX: usize = 1_000;

/// How many messages of a target are kept once there are more than can be looked at: all that a
/// person would read through, and together, for as many targets as there may be, less than
/// [`LISTED_MAX`].
const KEPT_MAX: usize = 50;

/// How long a message is tried for: after a day it is no news.
const TRIED_FOR_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a message is tried, over all restarts: about a day, at the longest wait.
const ATTEMPTS_MAX: u32 = 300;

/// All queues, by the name of their target.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    queues: BTreeMap<String, Queue>,
    /// Settled, and perhaps listed still.
    settled: BTreeSet<u64>,
}

/// The messages of one target.
#[derive(Debug, Default)]
struct Queue {
    /// Oldest first.
    waiting: VecDeque<OutboxMessage>,
    /// What this process knows of each that waits, by its number.
    known: BTreeMap<u64, Known>,
    /// Whether the first of them is being sent.
    is_sending: bool,
    /// Nothing is sent before.
    ready_at: Timestamp,
    /// Failures in a row, of whichever messages.
    failures: u32,
}

/// What this process knows of a message.
#[derive(Clone, Copy, Debug)]
struct Known {
    since: Timestamp,
    attempts: u32,
}

/// Messages that are not sent, and are to be settled.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Those of targets that are no more.
    pub(super) orphaned: Vec<OutboxMessage>,
    /// Where there may be more messages than can be looked at, the oldest of queues that are too
    /// long, so that one target's backlog does not hide the messages of others.
    pub(super) dropped: Vec<OutboxMessage>,
}

/// What is to be done with a message after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It was delivered: settle it.
    Settle,
    /// There is no use in another attempt: settle it, and say so.
    GiveUp {
        /// Why.
        reason: String,
    },
    /// Try again.
    PutOff {
        /// What happened.
        reason: String,
        /// How often it was tried.
        attempts: u32,
        /// After so long.
        wait: Duration,
    },
}

impl Schedule {
    /// Takes over what the outbox lists: everything that waits, at most [`LISTED_MAX`] messages.
    pub(super) fn look(
        &mut self,
        mut listed: Vec<OutboxMessage>,
        is_target: impl Fn(&str) -> bool,
        now: Timestamp,
    ) -> Looked {
        let is_full = listed.len() >= LISTED_MAX;
        listed.sort_by_key(|message| message.id);
        let ids: BTreeSet<u64> = listed.iter().map(|message| message.id).collect();
        if !is_full {
            self.settled.retain(|id| ids.contains(id));
        }
        for queue in self.queues.values_mut() {
            queue.waiting.clear();
            queue.known.retain(|id, _| is_full || ids.contains(id));
        }
        let mut looked = Looked::default();
        listed.retain(|message| !self.settled.contains(&message.id));
        for message in listed {
            if is_target(&message.draft.target) {
                self.enqueue(message, now);
            } else {
                self.settled.insert(message.id);
                looked.orphaned.push(message);
            }
        }
        if is_full {
            looked.dropped = self.cut_queues();
        }
        looked
    }

    fn enqueue(&mut self, message: OutboxMessage, now: Timestamp) {
        let known = Known {
            since: now,
            attempts: message.attempts,
        };
        let queue = self.queues.entry(message.draft.target.clone());
        let queue = queue.or_default();
        queue.known.entry(message.id).or_insert(known);
        queue.waiting.push_back(message);
    }

    /// Drops the oldest messages of queues that are too long, but for one that is being sent.
    fn cut_queues(&mut self) -> Vec<OutboxMessage> {
        let mut dropped = Vec::new();
        for queue in self.queues.values_mut() {
            let kept_in_front = usize::from(queue.is_sending);
            while queue.waiting.len() > KEPT_MAX {
                dropped.extend(queue.waiting.remove(kept_in_front));
            }
        }
        for message in &dropped {
            self.forget(&message.draft.target, message.id);
        }
        dropped
    }

    /// The messages to be sent now: at most one for each target. They count as being sent until
    /// [`concluded`](Self::conclude).
    pub(super) fn take_ready(&mut self, now: Timestamp) -> Vec<OutboxMessage> {
        let mut ready = Vec::new();
        for queue in self.queues.values_mut() {
            if queue.is_sending || queue.ready_at > now {
                continue;
            }
            if let Some(message) = queue.waiting.front() {
                ready.push(message.clone());
                queue.is_sending = true;
            }
        }
        ready
    }

    /// Takes over what an attempt came to. `draw` is a random number from 0 to 1.
    pub(super) fn conclude(
        &mut self,
        message: &OutboxMessage,
        outcome: Outcome,
        now: Timestamp,
        draw: f64,
    ) -> Next {
        let target = &message.draft.target;
        let queue = self.queues.entry(target.clone()).or_default();
        queue.is_sending = false;
        let (reason, retry_after) = match outcome {
            Outcome::Failed {
                reason,
                retry_after,
            } => (reason, retry_after),
            Outcome::Delivered => {
                self.answered(target, message.id);
                return Next::Settle;
            }
            Outcome::Refused { status } => {
                self.answered(target, message.id);
                let reason = format!("refused with {status}");
                return Next::GiveUp { reason };
            }
        };
        let known = queue.known.entry(message.id).or_insert(Known {
            since: now,
            attempts: message.attempts,
        });
        known.attempts = known.attempts.saturating_add(1);
        let Known { since, attempts } = *known;
        queue.failures = queue.failures.saturating_add(1);
        let wait = back_off(queue.failures.max(attempts), draw).max(retry_after);
        queue.ready_at = now + wait;
        if attempts >= ATTEMPTS_MAX || now - since >= TRIED_FOR_MAX {
            self.forget(target, message.id);
            let reason = format!("{reason}, after {attempts} attempts");
            return Next::GiveUp { reason };
        }
        Next::PutOff {
            reason,
            attempts,
            wait,
        }
    }

    /// A target has answered, so the next message need not wait.
    fn answered(&mut self, target: &str, id: u64) {
        self.forget(target, id);
        if let Some(queue) = self.queues.get_mut(target) {
            queue.failures = 0;
            queue.ready_at = Timestamp::default();
        }
    }

    fn forget(&mut self, target: &str, id: u64) {
        self.settled.insert(id);
        if let Some(queue) = self.queues.get_mut(target) {
            queue.known.remove(&id);
            queue.waiting.retain(|message| message.id != id);
        }
    }

    /// Lets every target be tried at once, for they may have been corrected, and forgets those
    /// that are gone.
    pub(super) fn retarget(&mut self, is_target: impl Fn(&str) -> bool) {
        self.queues
            .retain(|target, queue| queue.is_sending || is_target(target));
        for queue in self.queues.values_mut() {
            queue.failures = 0;
            queue.ready_at = Timestamp::default();
        }
    }

    /// When the next message becomes ready, of those that are not being sent.
    pub(super) fn next_ready(&self) -> Option<Timestamp> {
        let idle = self.queues.values().filter(|queue| !queue.is_sending);
        idle.filter(|queue| !queue.waiting.is_empty())
            .map(|queue| queue.ready_at)
            .min()
    }

    /// How many messages of a target wait or are being sent.
    pub(super) fn pending(&self, target: &str) -> usize {
        self.queues
            .get(target)
            .map_or(0, |queue| queue.waiting.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::notify::webhook::outcome::{BACK_OFF_MAX, RETRY_AFTER_MAX};
    use crate::adapters::notify::webhook::testing::message;
    use http::StatusCode;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::since_start(Duration::from_secs(seconds))
    }

    fn failed() -> Outcome {
        Outcome::Failed {
            reason: "answered 503".to_owned(),
            retry_after: Duration::ZERO,
        }
    }

    /// The outbox, to be listed again and again.
    struct World {
        schedule: Schedule,
        listed: Vec<OutboxMessage>,
    }

    impl World {
        fn new(listed: &[(u64, &str)]) -> Self {
            let message = |(id, target): &(u64, &str)| message(*id, target);
            Self {
                schedule: Schedule::default(),
                listed: listed.iter().map(message).collect(),
            }
        }

        /// What is sent now.
        fn sent(&mut self, now: Timestamp) -> Vec<OutboxMessage> {
            self.schedule.look(self.listed.clone(), |_| true, now);
            self.schedule.take_ready(now)
        }

        fn sent_ids(&mut self, now: Timestamp) -> Vec<u64> {
            self.sent(now).iter().map(|message| message.id).collect()
        }

        fn conclude(&mut self, id: u64, outcome: Outcome, now: Timestamp) -> Next {
            let message = self.listed.iter().find(|message| message.id == id);
            self.schedule.conclude(message.unwrap(), outcome, now, 1.0)
        }
    }

    #[test]
    fn each_target_gets_its_messages_one_by_one_in_order() {
        let mut world = World::new(&[(4, "pager"), (3, "chat"), (1, "chat"), (2, "chat")]);
        assert_eq!(world.sent_ids(at(0)), [1, 4]);
        assert!(world.sent_ids(at(9)).is_empty(), "they are under way");
        assert_eq!(world.conclude(1, Outcome::Delivered, at(9)), Next::Settle);
        assert_eq!(world.sent_ids(at(9)), [2], "though 1 is listed still");
        assert_eq!(world.conclude(2, Outcome::Delivered, at(9)), Next::Settle);
        assert_eq!(world.sent_ids(at(9)), [3]);
    }

    #[test]
    fn a_dead_target_holds_up_its_own_messages_only() {
        let mut world = World::new(&[(1, "chat"), (2, "chat"), (3, "pager")]);
        assert_eq!(world.sent_ids(at(0)), [1, 3]);
        let next = world.conclude(1, failed(), at(0));
        assert!(matches!(next, Next::PutOff { attempts: 1, .. }), "{next:?}");
        world.conclude(3, Outcome::Delivered, at(0));
        assert!(world.sent_ids(at(0)).is_empty(), "2 waits for 1");
        assert_eq!(world.schedule.next_ready(), Some(at(1)));
        assert_eq!(world.schedule.pending("chat"), 2);
        assert_eq!(world.sent_ids(at(1)), [1]);
    }

    #[test]
    fn waits_grow_with_failures_and_shrink_with_an_answer() {
        let mut world = World::new(&[(1, "chat"), (2, "chat")]);
        let mut now = at(0);
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(world.sent_ids(now), [1]);
            let Next::PutOff { wait, .. } = world.conclude(1, failed(), now) else {
                panic!("not put off");
            };
            assert_eq!(wait, Duration::from_secs(seconds));
            assert!(
                world
                    .sent_ids(now + (wait - Duration::from_millis(1)))
                    .is_empty()
            );
            now = now + wait;
        }
        assert_eq!(world.sent_ids(now), [1]);
        world.conclude(1, Outcome::Delivered, now);
        assert_eq!(world.sent_ids(now), [2]);
        let next = world.conclude(2, failed(), now);
        let expected = Duration::from_secs(1);
        assert!(matches!(next, Next::PutOff { wait, .. } if wait == expected));
    }

    #[test]
    fn a_target_that_asks_for_time_gets_it() {
        let mut world = World::new(&[(1, "chat")]);
        world.sent(at(0));
        let asked = Outcome::Failed {
            reason: "answered 429".to_owned(),
            retry_after: RETRY_AFTER_MAX,
        };
        let next = world.conclude(1, asked, at(0));
        assert!(matches!(next, Next::PutOff { wait, .. } if wait == RETRY_AFTER_MAX));
    }

    #[test]
    fn what_is_refused_is_given_up_and_the_next_goes_at_once() {
        let mut world = World::new(&[(1, "chat"), (2, "chat")]);
        world.sent(at(0));
        let status = StatusCode::BAD_REQUEST;
        let next = world.conclude(1, Outcome::Refused { status }, at(0));
        let reason = "refused with 400 Bad Request".to_owned();
        assert_eq!(next, Next::GiveUp { reason });
        assert_eq!(world.sent_ids(at(0)), [2]);
    }

    #[test]
    fn after_a_day_of_failures_a_message_is_given_up() {
        let mut world = World::new(&[(1, "chat"), (2, "chat")]);
        let (mut now, mut attempts) = (at(0), 0);
        while let [1] = world.sent_ids(now)[..] {
            attempts += 1;
            match world.conclude(1, failed(), now) {
                Next::PutOff { wait, .. } => now = now + wait,
                Next::GiveUp { reason } => {
                    assert_eq!(reason, format!("answered 503, after {attempts} attempts"));
                    break;
                }
                Next::Settle => panic!("settled"),
            }
        }
        assert!((280..=ATTEMPTS_MAX).contains(&attempts), "{attempts}");
        let day = at(24 * 60 * 60);
        assert!(now >= day && now - day <= BACK_OFF_MAX, "{now:?}");
        // What has waited behind it for as long is tried once, when the target's wait is over.
        assert!(world.sent_ids(now).is_empty());
        now = now + BACK_OFF_MAX;
        assert_eq!(world.sent_ids(now), [2]);
        let next = world.conclude(2, failed(), now);
        assert!(matches!(next, Next::GiveUp { .. }), "{next:?}");
    }

    #[test]
    fn a_restart_tries_at_once_and_does_not_begin_to_count_anew() {
        let mut world = World::new(&[(1, "chat")]);
        world.listed[0].attempts = ATTEMPTS_MAX - 2;
        assert_eq!(world.sent_ids(at(0)), [1], "whatever the wall clock says");
        let next = world.conclude(1, failed(), at(0));
        assert!(matches!(next, Next::PutOff { wait, .. } if wait == BACK_OFF_MAX));
        let later = at(0) + BACK_OFF_MAX;
        assert_eq!(world.sent_ids(later), [1]);
        let next = world.conclude(1, failed(), later);
        assert!(matches!(next, Next::GiveUp { .. }), "{next:?}");
    }

    #[test]
    fn new_targets_are_tried_at_once_and_old_ones_forgotten() {
        let mut world = World::new(&[(1, "chat"), (2, "gone")]);
        world.sent(at(0));
        world.conclude(1, failed(), at(0));
        world.conclude(2, failed(), at(0));
        assert!(world.sent(at(0)).is_empty());
        world.schedule.retarget(|target| target == "chat");
        let is_target = |target: &str| target == "chat";
        let looked = world.schedule.look(world.listed.clone(), is_target, at(0));
        assert_eq!(looked.orphaned[0].id, 2);
        let ready = world.schedule.take_ready(at(0));
        assert_eq!(
            ready.iter().map(|message| message.id).collect::<Vec<_>>(),
            [1]
        );
        let again = world.schedule.look(world.listed.clone(), is_target, at(0));
        assert!(again.orphaned.is_empty(), "it is told of once");
    }

    #[test]
    fn a_backlog_does_not_hide_the_messages_of_others() {
        let mut world = World::new(&[(0, "chat")]);
        assert_eq!(world.sent_ids(at(0)), [0]);
        world.listed = (0..LISTED_MAX as u64)
            .map(|id| message(id, "chat"))
            .collect();
        let schedule = &mut world.schedule;
        let looked = schedule.look(world.listed.clone(), |_| true, at(0));
        let dropped: Vec<_> = looked.dropped.iter().map(|message| message.id).collect();
        // The first is under way; of the rest the latest stay.
        let gone = (LISTED_MAX - KEPT_MAX) as u64;
        assert_eq!(dropped, (1..=gone).collect::<Vec<_>>());
        assert_eq!(schedule.pending("chat"), KEPT_MAX);
        let looked = schedule.look(world.listed.clone(), |_| true, at(0));
        assert!(looked.dropped.is_empty(), "they are dropped once");
        // Once these are settled, what was hidden is listed and sent.
        let mut listed = world.listed.split_off(LISTED_MAX - KEPT_MAX + 1);
        listed.push(message(5_000, "pager"));
        let looked = schedule.look(listed, |_| true, at(1));
        assert!(looked.dropped.is_empty());
        assert_eq!(schedule.take_ready(at(1))[0].id, 5_000);
    }

    #[test]
    fn what_is_settled_is_remembered_only_as_long_as_it_is_listed() {
        let mut world = World::new(&[(1, "chat")]);
        world.sent(at(0));
        world.conclude(1, Outcome::Delivered, at(0));
        world.sent(at(0));
        assert_eq!(world.schedule.settled.len(), 1);
        world.listed.clear();
        world.sent(at(0));
        assert!(world.schedule.settled.is_empty());
        assert_eq!(world.schedule.next_ready(), None);
    }
}
