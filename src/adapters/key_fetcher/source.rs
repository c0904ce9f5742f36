//! One source of keys: when it is to be asked, and what it gave last.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::fetch::Fetched;
use crate::domain::jwt::{KeySet, RemoteKeys};
use crate::runtime::clock;
use crate::runtime::key_ring::KeySourceStatus;

/// The pause after a first failure, which doubles with each one after it, up to the usual pace.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Doublings of it: beyond that no pace is that slow.
const DOUBLINGS_MAX: u32 = 16;

/// One source of keys.
pub(super) struct Source {
    pub(super) remote: Arc<RemoteKeys>,
    /// The last good set.
    pub(super) keys: Option<Arc<KeySet>>,
    /// The hash of what it was read from.
    hash: Box<[u8]>,
    /// When it is asked next.
    pub(super) next: Instant,
    /// When it was asked last.
    pub(super) asked_at: Instant,
    /// Whether it has not answered yet.
    pub(super) is_asked: bool,
    /// Failures since it went well last.
    streak: u32,
    had_unix_ms: Option<u64>,
    successes: u64,
    failures: u64,
    problem: Option<String>,
}

impl Source {
    pub(super) fn new(remote: Arc<RemoteKeys>) -> Self {
        let now = clock::monotonic();
        Self {
            remote,
            keys: None,
            hash: Box::default(),
            next: now,
            asked_at: now,
            is_asked: false,
            streak: 0,
            had_unix_ms: None,
            successes: 0,
            failures: 0,
            problem: None,
        }
    }

    /// Whether it was never asked.
    pub(super) const fn is_new(&self) -> bool {
        !self.is_asked && self.successes == 0 && self.failures == 0
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.is_asked && now >= self.next
    }

    /// Notes that it is asked.
    pub(super) fn ask(&mut self, now: Instant) -> Arc<RemoteKeys> {
        self.is_asked = true;
        self.asked_at = now;
        Arc::clone(&self.remote)
    }

    /// Takes what came; whether the keys are others now.
    pub(super) fn take(
        &mut self,
        result: Result<Fetched, String>,
        now: Instant,
        wall: Duration,
    ) -> bool {
        self.is_asked = false;
        let url = self.remote.name();
        match result {
            Ok(fetched) => {
                if self.problem.take().is_some() {
                    tracing::info!(url, "keys of tokens can be had again");
                }
                self.streak = 0;
                self.successes += 1;
                self.had_unix_ms = u64::try_from(wall.as_millis()).ok();
                self.next = now + self.remote.refresh;
                let is_other = self.hash != fetched.hash;
                if is_other {
                    tracing::info!(url, keys = fetched.keys.count(), "keys of tokens");
                    self.keys = Some(Arc::new(fetched.keys));
                    self.hash = fetched.hash;
                }
                is_other
            }
            Err(problem) => {
                if self.problem.is_none() {
                    let kept = self.keys.as_ref().map_or(0, |keys| keys.count());
                    tracing::warn!(url, kept, problem, "keys of tokens cannot be had");
                }
                let pause = RETRY_PAUSE * 2_u32.pow(self.streak.min(DOUBLINGS_MAX));
                self.next = now + pause.min(self.remote.refresh);
                self.streak += 1;
                self.failures += 1;
                self.problem = Some(problem);
                false
            }
        }
    }

    pub(super) fn status(&self) -> KeySourceStatus {
        KeySourceStatus {
            url: self.remote.name(),
            keys: self.keys.as_ref().map_or(0, |keys| keys.count()),
            had_unix_ms: self.had_unix_ms,
            successes: self.successes,
            failures: self.failures,
            problem: self.problem.clone(),
        }
    }
}
