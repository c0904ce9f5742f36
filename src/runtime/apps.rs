//! The apps by id and by key, as requests find them.
//!
//! Written by operators and reloads, looked up by every request that brings a key: maps in shards, so that
//! neither waits for the other, and a change of one app touches nothing else. Keys are found by their SHA-256;
//! what lies in the same place is compared in constant time, and a key that nobody has costs no more than one
//! that somebody has.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use dashmap::DashMap;
use http::HeaderValue;
use smallvec::SmallVec;

use crate::domain::app::{App, AppStatus};
use crate::domain::ids::AppId;
use crate::domain::key_digest::KeyDigest;
use crate::domain::timestamp::Timestamp;
use crate::runtime::key_hash::KeyHash;
use crate::runtime::rate::RateMeter;

/// The longest key that is looked for, in bytes: a longer one is nobody's, and is not hashed.
pub const KEY_BYTES_MAX: usize = 512;

/// An app, for as long as there is one of its id.
#[derive(Debug)]
pub struct KnownApp {
    current: ArcSwap<App>,
    /// Its id, as a header tells it.
    id: HeaderValue,
    /// What its limit is kept by.
    pub rate: RateMeter,
}

impl KnownApp {
    fn new(app: App) -> Self {
        // An id is plain ASCII.
        let id = HeaderValue::from_str(app.id.as_str());
        Self {
            id: id.unwrap_or_else(|_| HeaderValue::from_static("")),
            current: ArcSwap::from_pointee(app),
            rate: RateMeter::default(),
        }
    }

    /// As it stands now.
    pub fn now(&self) -> Arc<App> {
        self.current.load_full()
    }

    /// Its id, as a header tells it.
    pub const fn header(&self) -> &HeaderValue {
        &self.id
    }
}

/// A digest in the map, compared in constant time.
#[derive(Debug)]
struct Hashed(KeyHash);

impl PartialEq for Hashed {
    fn eq(&self, other: &Self) -> bool {
        self.0.matches(&other.0)
    }
}

impl Eq for Hashed {}

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0.digest().0);
    }
}

#[derive(Debug)]
struct KeyHolder {
    app: Arc<KnownApp>,
    expires: Option<Timestamp>,
}

/// Those who have a key: one, unless a file gives an app the key that another was given at run time.
type KeyHolders = SmallVec<[KeyHolder; 1]>;

impl KeyHolder {
    fn has_ended(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }

    /// Whose the key is among several who have it: the one's who may pass least, so that what was taken away from
    /// one app is not to be had by another.
    fn precedence(&self, now: Timestamp) -> (u8, AppId) {
        let app = self.app.now();
        let rank = match app.status {
            AppStatus::Revoked => 0,
            AppStatus::Suspended => 1,
            _ if self.has_ended(now) => 2,
            AppStatus::Pending => 3,
            AppStatus::Approved => 4,
        };
        (rank, app.id.clone())
    }
}

/// Whose a key is.
#[derive(Clone, Debug)]
pub enum Holder {
    /// Nobody's.
    Nobody,
    /// It was an app's, and has ended.
    Ended,
    /// This app's.
    App(Arc<KnownApp>),
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// It brings no key.
    #[error("this needs the API key of an approved app, and the request has none")]
    NoKey,
    /// Its key is nobody's.
    #[error("this API key is not known")]
    UnknownKey,
    /// Its key has ended.
    #[error("this API key has expired")]
    ExpiredKey,
    /// Its app waits to be reviewed.
    #[error("this app is pending: it has not been approved yet")]
    Pending,
    /// Its app may not pass for now.
    #[error("this app is suspended")]
    Suspended,
    /// Its app may pass no more.
    #[error("this app is revoked")]
    Revoked,
    /// Its app asks too often.
    #[error("this app has sent more requests than its limit allows")]
    TooMany {
        /// In how many seconds one more is let in, rounded up.
        retry_after_seconds: u64,
    },
}

impl Denial {
    /// The words of metrics, in the order of [`Denial::place`].
    const WORDS: [&'static str; 7] = [
        "no_key",
        "unknown_key",
        "expired_key",
        "pending",
        "suspended",
        "revoked",
        "rate_limited",
    ];

    /// Too many requests, one more of which is let in after a while.
    pub fn too_many(wait: Duration) -> Self {
        let whole = wait.as_secs();
        let is_more = wait > Duration::from_secs(whole);
        Self::TooMany {
            retry_after_seconds: whole.saturating_add(u64::from(is_more)).max(1),
        }
    }

    const fn place(self) -> usize {
        match self {
            Self::NoKey => 0,
            Self::UnknownKey => 1,
            Self::ExpiredKey => 2,
            Self::Pending => 3,
            Self::Suspended => 4,
            Self::Revoked => 5,
            Self::TooMany { .. } => 6,
        }
    }
}

/// All apps.
#[derive(Debug, Default)]
pub struct AppRegistry {
    by_key: DashMap<Hashed, KeyHolders>,
    by_id: DashMap<Box<str>, Arc<KnownApp>>,
    denied: [AtomicU64; Denial::WORDS.len()],
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// On the monotonic one, by which keys end.
    pub now: Timestamp,
    /// On the wall, by which it is written when they do.
    pub wall_unix_ms: u64,
}

impl Moment {
    fn at(self, unix_ms: u64) -> Timestamp {
        // What has ended has ended now.
        let left = unix_ms.saturating_sub(self.wall_unix_ms);
        self.now + Duration::from_millis(left)
    }
}

impl AppRegistry {
    /// Whose a key is.
    pub fn holder(&self, key: &[u8], now: Timestamp) -> Holder {
        if key.len() > KEY_BYTES_MAX {
            return Holder::Nobody;
        }
        let Some(holders) = self.by_key.get(&Hashed(KeyHash::of_bytes(key))) else {
            return Holder::Nobody;
        };
        let holder = match holders.as_slice() {
            [only] => Some(only),
            several => several.iter().min_by_key(|holder| holder.precedence(now)),
        };
        match holder {
            None => Holder::Nobody,
            Some(holder) if holder.has_ended(now) => Holder::Ended,
            Some(holder) => Holder::App(Arc::clone(&holder.app)),
        }
    }

    /// An app by its id.
    pub fn find(&self, id: &str) -> Option<Arc<App>> {
        Some(self.by_id.get(id)?.now())
    }

    /// All apps, in the order of their ids.
    pub fn all(&self) -> Vec<Arc<App>> {
        let mut apps: Vec<_> = self.by_id.iter().map(|app| app.now()).collect();
        apps.sort_by(|one, other| one.id.cmp(&other.id));
        apps
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Puts an app in the place of the one of its id; the next request goes by it.
    pub fn put(&self, app: App, moment: Moment) {
        let id: Box<str> = app.id.as_str().into();
        let known = self.by_id.get(&id).map(|known| Arc::clone(&known));
        let before = known.as_ref().map(|known| known.now());
        let keys = app.keys.clone();
        let known = match known {
            Some(known) => {
                known.current.store(Arc::new(app));
                known
            }
            None => {
                let known = Arc::new(KnownApp::new(app));
                self.by_id.insert(id, Arc::clone(&known));
                known
            }
        };
        let kept: HashSet<KeyDigest> = keys.iter().map(|key| key.sha256).collect();
        for key in &keys {
            let holder = KeyHolder {
                app: Arc::clone(&known),
                expires: key.expires_unix_ms.map(|end| moment.at(end)),
            };
            let hashed = Hashed(KeyHash::of_digest(key.sha256));
            let mut holders = self.by_key.entry(hashed).or_default();
            let mut own = holders.iter_mut();
            match own.find(|own| Arc::ptr_eq(&own.app, &known)) {
                Some(own) => *own = holder,
                None => holders.push(holder),
            }
        }
        let gone = before.iter().flat_map(|before| &before.keys);
        let gone = gone.filter(|key| !kept.contains(&key.sha256));
        gone.for_each(|key| self.forget_key(key.sha256, &known));
    }

    /// Forgets an app and its keys.
    pub fn remove(&self, id: &str) {
        if let Some((_, known)) = self.by_id.remove(id) {
            let keys = &known.now().keys;
            keys.iter()
                .for_each(|key| self.forget_key(key.sha256, &known));
        }
    }

    fn forget_key(&self, digest: KeyDigest, of: &Arc<KnownApp>) {
        let hashed = Hashed(KeyHash::of_digest(digest));
        self.by_key.remove_if_mut(&hashed, |_, holders| {
            holders.retain(|holder| !Arc::ptr_eq(&holder.app, of));
            holders.is_empty()
        });
    }

    /// Puts all apps in place, and forgets those that are not among them.
    pub fn replace(&self, apps: Vec<App>, moment: Moment) {
        let ids: HashSet<Box<str>> = apps.iter().map(|app| app.id.as_str().into()).collect();
        let known = self.by_id.iter().map(|entry| entry.key().clone());
        let gone: Vec<_> = known.filter(|id| !ids.contains(id)).collect();
        // A key may go from one app to another, so those that lose it come first.
        gone.iter().for_each(|id| self.remove(id));
        for app in apps {
            let is_same = self.find(app.id.as_str()).is_some_and(|it| *it == app);
            if !is_same || app.keys.iter().any(|key| key.expires_unix_ms.is_some()) {
                self.put(app, moment);
            }
        }
    }

    /// Counts a request that was not let in.
    pub fn count(&self, denial: Denial) {
        self.denied[denial.place()].fetch_add(1, Ordering::Relaxed);
    }

    /// How many were not let in since the start, by reason.
    pub fn denied(&self) -> Vec<(&'static str, u64)> {
        let counts = Denial::WORDS.into_iter().zip(&self.denied);
        counts
            .map(|(word, count)| (word, count.load(Ordering::Relaxed)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::app::{AppKey, AppProfile, AppSource};

    fn moment(seconds: u64) -> Moment {
        Moment {
            now: at(seconds),
            wall_unix_ms: 1_000_000 + seconds * 1000,
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::since_start(Duration::from_secs(seconds))
    }

    fn app(id: &str, keys: &[(&str, Option<u64>)]) -> App {
        let key = |(key, expires_unix_ms): &(&str, Option<u64>)| AppKey {
            name: String::new(),
            sha256: KeyHash::of(key).digest(),
            created_unix_ms: None,
            expires_unix_ms: *expires_unix_ms,
        };
        App {
            id: id.parse().unwrap(),
            profile: AppProfile::default(),
            status: AppStatus::Approved,
            is_given: false,
            keys: keys.iter().map(key).collect(),
            source: AppSource::Api,
        }
    }

    fn whose(registry: &AppRegistry, key: &str, seconds: u64) -> String {
        match registry.holder(key.as_bytes(), at(seconds)) {
            Holder::Nobody => "nobody".to_owned(),
            Holder::Ended => "ended".to_owned(),
            Holder::App(app) => app.now().id.to_string(),
        }
    }

    #[test]
    fn a_key_is_found_until_it_ends_or_its_app_goes() {
        let registry = AppRegistry::default();
        registry.put(
            app("one", &[("k1", Some(1_005_000)), ("k2", None)]),
            moment(1),
        );
        assert_eq!(whose(&registry, "k1", 4), "one");
        assert_eq!(whose(&registry, "k1", 5), "ended");
        assert_eq!(whose(&registry, "k2", 5), "one");
        assert_eq!(whose(&registry, "k3", 5), "nobody");
        registry.put(app("one", &[("k3", None)]), moment(6));
        assert_eq!(
            ["k1", "k2", "k3"].map(|key| whose(&registry, key, 6)),
            ["nobody", "nobody", "one"]
        );
        registry.remove("one");
        assert_eq!(whose(&registry, "k3", 6), "nobody");
        assert!(registry.is_empty() && registry.by_key.is_empty());
        let endless = "x".repeat(KEY_BYTES_MAX + 1);
        assert_eq!(whose(&registry, &endless, 6), "nobody");
    }

    #[test]
    fn a_key_that_two_apps_have_is_the_ones_who_may_pass_least() {
        use AppStatus::{Approved, Pending, Revoked, Suspended};
        let registry = AppRegistry::default();
        let put = |id: &str, status, end: Option<u64>| {
            let app = app(id, &[("k", end)]);
            registry.put(App { status, ..app }, moment(1));
        };
        let seen = || whose(&registry, "k", 5);
        put("one", Approved, None);
        put("two", Approved, None);
        assert_eq!(seen(), "one");
        for (status, end, holder) in [
            (Revoked, None, "two"),
            (Suspended, None, "two"),
            (Pending, None, "two"),
            (Approved, Some(1_005_000), "ended"),
            (Revoked, Some(1_005_000), "ended"),
            (Approved, None, "one"),
        ] {
            put("two", status, end);
            assert_eq!(seen(), holder, "{status} {end:?}");
        }
        put("one", Suspended, None);
        put("two", Approved, Some(1_005_000));
        assert_eq!(seen(), "one");
        // Whoever is left has it alone, whichever of them goes.
        put("two", Approved, None);
        registry.put(app("one", &[]), moment(1));
        assert_eq!(seen(), "two");
        put("one", Revoked, None);
        registry.remove("one");
        assert_eq!(seen(), "two");
        registry.remove("two");
        assert!(registry.by_key.is_empty());
    }

    #[test]
    fn a_change_reaches_those_who_hold_the_app() {
        let registry = AppRegistry::default();
        registry.put(app("one", &[("k", None)]), moment(0));
        let Holder::App(known) = registry.holder(b"k", at(0)) else {
            panic!("it is known");
        };
        let revoked = App {
            status: AppStatus::Revoked,
            ..app("one", &[("k", None)])
        };
        registry.put(revoked, moment(1));
        assert_eq!(known.now().status, AppStatus::Revoked);
        assert_eq!(known.header(), "one");
    }

    #[test]
    fn a_key_goes_over_with_all_apps_that_are_replaced() {
        let registry = AppRegistry::default();
        registry.put(app("old", &[("k", None)]), moment(0));
        registry.put(app("stays", &[("s", None)]), moment(0));
        registry.replace(
            vec![app("new", &[("k", None)]), app("stays", &[("s", None)])],
            moment(1),
        );
        assert_eq!(
            ["k", "s"].map(|key| whose(&registry, key, 1)),
            ["new", "stays"]
        );
        let ids: Vec<_> = registry
            .all()
            .iter()
            .map(|app| app.id.to_string())
            .collect();
        assert_eq!(ids, ["new", "stays"]);
        assert_eq!(registry.len(), 2);
    }

    #[test]
    fn what_is_not_let_in_is_counted_by_its_reason() {
        let registry = AppRegistry::default();
        let limited = Denial::too_many(Duration::from_millis(1200));
        assert_eq!(
            limited,
            Denial::TooMany {
                retry_after_seconds: 2
            }
        );
        for denial in [Denial::NoKey, limited, limited] {
            registry.count(denial);
        }
        let counted: Vec<_> = registry
            .denied()
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(counted, [("no_key", 1), ("rate_limited", 2)]);
    }
}
