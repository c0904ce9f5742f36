//! Fetches the keys that tokens are verified by, in the background and never in a request's way.
//!
//! Each source is asked at the start, again and again by its own pace, and soon when a token names a key
//! that is not known. What cannot be had, or is no set of keys, changes nothing: the last good set stays, and the
//! log, the metrics and the status say so.

mod fetch;
mod source;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use self::fetch::{Fetched, fetch};
use self::source::Source;
use crate::adapters::http_client::HttpClients;
use crate::domain::identity::IdentitySource;
use crate::domain::jwt::{KeySource, RemoteKeys};
use crate::runtime::clock;
use crate::runtime::key_ring::{KeyRing, KeyRingReader, KeySourceStatus};
use crate::runtime::published::Subscriber;
use crate::runtime::snapshot::{SnapshotReader, SnapshotWriter};

/// The time from one attempt to the next that a token with an unknown key brings about: anybody can make
/// such tokens.
const WANTED_PAUSE: Duration = Duration::from_secs(5);

/// The longest that a start waits for keys; without them nobody is known by a token.
const START_MAX: Duration = Duration::from_secs(5);

/// A look at what is to be done, where nothing is: for ever, but for what comes in between.
const IDLE: Duration = Duration::from_secs(3600);

/// What a fetch came to, and for whom.
type Outcome = (Arc<RemoteKeys>, Result<Fetched, String>);

/// Fetches keys for the sources that it has been told of.
pub struct KeyFetcher {
    clients: Arc<HttpClients>,
    sources: Vec<Source>,
    ring: SnapshotWriter<KeyRing>,
    status: SnapshotWriter<Vec<KeySourceStatus>>,
    wanted: Arc<Notify>,
}

/// The same for those whom the published snapshot names.
pub struct FollowingFetcher {
    fetcher: KeyFetcher,
    subscriber: Subscriber,
}

impl KeyFetcher {
    /// Fetches the keys of a configuration for the first time, and waits for them a while. Those that do
    /// not come stop nobody.
    pub fn start(identity: &[IdentitySource]) -> Self {
        let mut fetcher = Self {
            clients: Arc::default(),
            sources: Vec::new(),
            ring: SnapshotWriter::new(KeyRing::default()),
            status: SnapshotWriter::new(Vec::new()),
            wanted: Arc::default(),
        };
        fetcher.adopt(identity);
        if fetcher.sources.is_empty() {
            return fetcher;
        }
        let due = fetcher.due(clock::monotonic());
        let clients = Arc::clone(&fetcher.clients);
        // Whoever starts may stand in a runtime already, in which there can be no other.
        let fetched = thread::spawn(move || fetch_all(&clients, due)).join();
        let outcomes = fetched.unwrap_or_default();
        for source in &mut fetcher.sources {
            source.is_asked = false;
        }
        outcomes
            .into_iter()
            .for_each(|outcome| fetcher.take(outcome));
        for source in &fetcher.sources {
            if source.keys.is_none() {
                let url = source.remote.name();
                tracing::error!(
                    url,
                    "no keys yet: nobody is known by tokens that they are for"
                );
            }
        }
        fetcher
    }

    /// What workers need.
    pub fn reader(&self) -> KeyRingReader {
        KeyRingReader {
            ring: self.ring.reader(),
            wanted: Arc::clone(&self.wanted),
        }
    }

    /// Reads how it goes.
    pub fn status(&self) -> SnapshotReader<Vec<KeySourceStatus>> {
        self.status.reader()
    }

    /// Goes by what is published from now on.
    pub fn following(self, subscriber: Subscriber) -> FollowingFetcher {
        FollowingFetcher {
            fetcher: self,
            subscriber,
        }
    }

    /// Takes other sources; what is known of those that stay is kept.
    fn adopt(&mut self, identity: &[IdentitySource]) {
        let remotes = identity.iter().filter_map(|source| match source {
            IdentitySource::Jwt(source) => match &source.keys {
                KeySource::Remote(remote) => Some(remote),
                KeySource::Fixed(_) => None,
            },
            _ => None,
        });
        let mut sources: Vec<Source> = Vec::new();
        for remote in remotes {
            if sources.iter().any(|source| source.remote == *remote) {
                continue;
            }
            let known = self
                .sources
                .iter()
                .position(|source| source.remote == *remote);
            let source = known.map(|place| self.sources.swap_remove(place));
            sources.push(source.unwrap_or_else(|| Source::new(Arc::clone(remote))));
        }
        let has_changed = !self.sources.is_empty() || sources.iter().any(|source| source.is_new());
        self.sources = sources;
        if has_changed {
            self.publish();
        }
    }

    /// Those whom it is time to ask, which are being asked from now on.
    fn due(&mut self, now: Instant) -> Vec<Arc<RemoteKeys>> {
        let due = self.sources.iter_mut().filter(|source| source.is_due(now));
        due.map(|source| source.ask(now)).collect()
    }

    /// When the next one is to be asked.
    fn next(&self, now: Instant) -> Instant {
        let waiting = self.sources.iter().filter(|source| !source.is_asked);
        let next = waiting.map(|source| source.next).min();
        next.unwrap_or_else(|| now + IDLE)
    }

    /// Asks sooner, for a token names a key that is not known.
    fn hurry(&mut self) {
        for source in &mut self.sources {
            source.next = source.next.min(source.asked_at + WANTED_PAUSE);
        }
    }

    /// Takes what a fetch came to.
    fn take(&mut self, (remote, result): Outcome) {
        let mut sources = self.sources.iter_mut();
        // It may have been taken out of the configuration meanwhile.
        let Some(source) = sources.find(|source| source.remote == remote) else {
            return;
        };
        let is_other = source.take(result, clock::monotonic(), clock::wall());
        if is_other {
            self.publish();
        } else {
            self.publish_status();
        }
    }

    fn publish(&mut self) {
        let sources = self.sources.iter();
        let sets = sources.filter_map(|source| {
            let keys = source.keys.as_ref()?;
            Some((Arc::clone(&source.remote), Arc::clone(keys)))
        });
        let ring = KeyRing {
            sets: sets.collect(),
        };
        self.ring.publish(ring);
        self.publish_status();
    }

    fn publish_status(&mut self) {
        let mut all: Vec<KeySourceStatus> = Vec::new();
        for source in &self.sources {
            let status = source.status();
            match all.iter_mut().find(|other| other.url == status.url) {
                // One URL for several kinds of keys is shown as one.
                Some(other) => {
                    other.keys += status.keys;
                    other.successes += status.successes;
                    other.failures += status.failures;
                    other.had_unix_ms = other.had_unix_ms.min(status.had_unix_ms);
                    other.problem = other.problem.take().or(status.problem);
                }
                None => all.push(status),
            }
        }
        self.status.publish(all);
    }
}

impl FollowingFetcher {
    /// Fetches until nobody waits for it any more.
    pub async fn run(self) {
        let Self {
            mut fetcher,
            mut subscriber,
        } = self;
        let wanted = Arc::clone(&fetcher.wanted);
        let mut asked: JoinSet<Outcome> = JoinSet::new();
        let mut identity = subscriber.load().routing.identity.clone();
        loop {
            let now = clock::monotonic();
            for remote in fetcher.due(now) {
                asked.spawn(ask(Arc::clone(&fetcher.clients), remote));
            }
            tokio::select! {
                published = subscriber.changed() => {
                    let named = &published.routing.identity;
                    if !Arc::ptr_eq(named, &identity) {
                        fetcher.adopt(named);
                        identity = Arc::clone(named);
                    }
                }
                Some(outcome) = asked.join_next() => {
                    if let Ok(outcome) = outcome {
                        fetcher.take(outcome);
                    }
                }
                () = wanted.notified() => fetcher.hurry(),
                () = sleep_until(fetcher.next(now)) => {}
            }
        }
    }
}

async fn ask(clients: Arc<HttpClients>, remote: Arc<RemoteKeys>) -> Outcome {
    let result = fetch(clients, Arc::clone(&remote)).await;
    (remote, result)
}

/// Asks all at once, and gives what has come in time.
fn fetch_all(clients: &Arc<HttpClients>, remotes: Vec<Arc<RemoteKeys>>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return outcomes;
    };
    runtime.block_on(async {
        let deadline = clock::monotonic() + START_MAX;
        let mut asked = JoinSet::new();
        for remote in remotes {
            asked.spawn(ask(Arc::clone(clients), remote));
        }
        while let Ok(Some(outcome)) = tokio::time::timeout_at(deadline, asked.join_next()).await {
            outcomes.extend(outcome);
        }
    });
    // The system may be looking a name up, which takes as long as it takes.
    runtime.shutdown_background();
    outcomes
}
