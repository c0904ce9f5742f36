//! The loop: wait, look into the outbox, send what is ready, take over what became of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, make_rng};
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use crate::adapters::notify::webhook::outcome::Outcome;
use crate::adapters::notify::webhook::schedule::{LISTED_MAX, Looked, Next, Schedule};
use crate::adapters::notify::webhook::target::Webhooks;
use crate::control::ports::{Outbox, OutboxMessage};
use crate::domain::ids::TargetName;
use crate::runtime::clock::{self, Clock};
use crate::runtime::delivery::{DeliveryStatus, TargetStatus};
use crate::runtime::shutdown::Shutdown;
use crate::runtime::snapshot::{SnapshotReader, SnapshotWriter};

/// How often the outbox is looked at though nobody said that there is something new.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// The same once room was made in it, and it may list what it could not before.
const UNHIDE_INTERVAL: Duration = Duration::from_millis(100);

/// The same once it could not be read.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// How long messages under way may take once it is time to stop: those that are cut are sent
/// again after the next start, though they may have arrived.
const GRACE: Duration = Duration::from_secs(1);

/// Asks the outbox for all that waits. What is put off is wanted as well, for what comes behind it
/// must not overtake it; and a wall clock that was set back must not hide anything.
const ALL: u64 = u64::MAX;

/// Delivers the messages of the outbox.
pub struct Deliverer {
    outbox: Arc<dyn Outbox>,
    published: SnapshotReader<Webhooks>,
    webhooks: Arc<Webhooks>,
    wake: Arc<Notify>,
    clock: Clock,
    schedule: Schedule,
    posts: JoinSet<Outcome>,
    /// What each of `posts` sends: at most one message for each target.
    under_way: HashMap<Id, OutboxMessage>,
    random: SmallRng,
    status: SnapshotWriter<DeliveryStatus>,
    /// Whether the outbox could not be read, which is told once.
    is_blind: bool,
}

impl Deliverer {
    /// Delivers from an outbox to the webhooks published. Whoever writes a message or publishes
    /// other webhooks says so by `wake`.
    pub fn new(
        outbox: Arc<dyn Outbox>,
        published: SnapshotReader<Webhooks>,
        wake: Arc<Notify>,
        clock: Clock,
    ) -> Self {
        Self {
            outbox,
            webhooks: published.load(),
            published,
            wake,
            clock,
            schedule: Schedule::default(),
            posts: JoinSet::new(),
            under_way: HashMap::new(),
            random: make_rng(),
            status: SnapshotWriter::new(DeliveryStatus::default()),
            is_blind: false,
        }
    }

    /// Reads how it goes.
    pub fn status(&self) -> SnapshotReader<DeliveryStatus> {
        self.status.reader()
    }

    /// Runs until it is told to stop, and gives messages under way a second then.
    pub async fn run(mut self, mut shutdown: Shutdown) {
        loop {
            let wait = self.look();
            self.publish_status();
            tokio::select! {
                biased;
                () = shutdown.requested() => break,
                Some(ended) = self.posts.join_next_with_id() => self.conclude(ended),
                () = self.wake.notified() => {}
                () = sleep(wait) => {}
            }
        }
        let last = timeout(GRACE, async {
            while let Some(ended) = self.posts.join_next_with_id().await {
                self.conclude(ended);
            }
        });
        if last.await.is_err() {
            let cut = self.under_way.len();
            tracing::warn!(
                cut,
                "notifications under way are cut; they are sent again at the start"
            );
        }
    }

    /// Sends what is ready; returns how long to wait for more, unless something happens.
    fn look(&mut self) -> Duration {
        if let Some(webhooks) = self.published.refresh() {
            self.schedule.retarget(|name| webhooks.find(name).is_some());
            self.webhooks = webhooks;
        }
        let listed = match self.outbox.due(ALL, LISTED_MAX) {
            Ok(listed) => listed,
            Err(error) => {
                if !self.is_blind {
                    tracing::error!(%error, "notifications cannot be read, so none is sent");
                }
                self.is_blind = true;
                return RETRY_INTERVAL;
            }
        };
        self.is_blind = false;
        let now = self.clock.now();
        let webhooks = Arc::clone(&self.webhooks);
        let is_target = |name: &str| webhooks.find(name).is_some();
        let looked = self.schedule.look(listed, is_target, now);
        let may_hide_more = !looked.dropped.is_empty();
        self.settle_unsent(looked);
        for message in self.schedule.take_ready(now) {
            self.post(message);
        }
        let interval = if may_hide_more {
            UNHIDE_INTERVAL
        } else {
            LOOK_INTERVAL
        };
        let next = self.schedule.next_ready().map(|moment| moment - now);
        next.map_or(interval, |wait| wait.min(interval))
    }

    fn settle_unsent(&mut self, Looked { orphaned, dropped }: Looked) {
        for message in orphaned {
            self.outbox.settle(message.id);
            let OutboxMessage { id, draft, .. } = message;
            tracing::warn!(
                id, target_name = draft.target, flag = %draft.notice.flag, what = draft.notice.what,
                "notification dropped: there is no such target any more"
            );
        }
        for message in dropped {
            self.outbox.settle(message.id);
            self.count(&message, |status| status.given_up += 1);
            let OutboxMessage { id, draft, .. } = message;
            tracing::error!(
                id, target_name = draft.target, flag = %draft.notice.flag, what = draft.notice.what,
                "notification given up: too many wait for this target"
            );
        }
    }

    fn post(&mut self, message: OutboxMessage) {
        let Some(webhook) = self.webhooks.find(&message.draft.target) else {
            return;
        };
        let (webhook, sent) = (Arc::clone(webhook), message.clone());
        let post = self.posts.spawn(async move { webhook.post(&sent).await });
        self.under_way.insert(post.id(), message);
    }

    fn conclude(&mut self, ended: Result<(Id, Outcome), JoinError>) {
        let (post, outcome) = ended.unwrap_or_else(|error| {
            let outcome = Outcome::Failed {
                reason: format!("sending it failed in itself: {error}"),
                retry_after: Duration::ZERO,
            };
            (error.id(), outcome)
        });
        let Some(message) = self.under_way.remove(&post) else {
            return;
        };
        let (now, draw) = (self.clock.now(), self.random.random());
        let next = self.schedule.conclude(&message, outcome, now, draw);
        self.follow(&message, next);
    }

    fn follow(&mut self, message: &OutboxMessage, next: Next) {
        let target = &message.draft.target;
        let place = self.webhooks.find(target).map(|webhook| webhook.place());
        let (id, place) = (message.id, place.unwrap_or_default());
        let (flag, what) = (&message.draft.notice.flag, &message.draft.notice.what);
        match next {
            Next::Settle => {
                self.outbox.settle(id);
                tracing::debug!(id, target_name = target, place, %flag, what, "notification delivered");
                self.count(message, |status| {
                    status.delivered += 1;
                    status.problem = None;
                });
            }
            Next::GiveUp { reason } => {
                self.outbox.settle(id);
                tracing::error!(
                    id, target_name = target, place, %flag, what, reason, "notification given up"
                );
                self.count(message, |status| {
                    status.given_up += 1;
                    status.problem = Some(reason);
                });
            }
            Next::PutOff {
                reason,
                attempts,
                wait,
            } => {
                let due = clock::wall().saturating_add(wait).as_millis();
                self.outbox
                    .put_off(id, u64::try_from(due).unwrap_or(u64::MAX));
                tracing::warn!(
                    id, target_name = target, place, %flag, what, reason, attempts, wait = ?wait,
                    "notification not delivered, to be sent again"
                );
                self.count(message, |status| {
                    status.failed += 1;
                    status.problem = Some(reason);
                });
            }
        }
    }

    /// Counts something of a target that is there still.
    fn count(&mut self, message: &OutboxMessage, count: impl FnOnce(&mut TargetStatus)) {
        let mut status = DeliveryStatus::clone(&self.status.current());
        let name = message.draft.target.parse::<TargetName>().ok();
        if let Some(name) = name.filter(|name| self.webhooks.find(name.as_str()).is_some()) {
            count(status.targets.entry(name).or_default());
            self.status.publish(status);
        }
    }

    /// Publishes what waits, if that has changed, for the targets that are there now.
    fn publish_status(&mut self) {
        let current = self.status.current();
        let targets = self.webhooks.names().map(|name| {
            let known = current.targets.get(name).cloned().unwrap_or_default();
            let pending = self.schedule.pending(name.as_str()) as u64;
            (name.clone(), TargetStatus { pending, ..known })
        });
        let status = DeliveryStatus {
            targets: targets.collect(),
        };
        if status != *current {
            self.status.publish(status);
        }
    }
}
