//! What requests tell of their callers: a map by key in shards, bounded, written by all workers.
//!
//! Why not one map for each worker, or the inbox: a caller's requests come to all workers, so each of those
//! maps would hold nearly all callers; and a message for each request costs 75 ns of CPU before the same look-up is made on
//! another thread, which runs on the same cores. Here a request costs 95 ns in all while a thousand callers ask, and
//! 500 ns where a hundred thousand do in random order, most of it waiting for memory; with another worker at the same book
//! as much, for two hardly ever want the same one of many shards (`benches/callers.rs`).
//!
//! The list of callers has its room when the book is made, so that no request waits while it is copied to a larger
//! place; what is not in use yet takes no memory. In a full shard a new caller takes the place of another: of `CANDIDATES` drawn at random the one with
//! the fewest requests, as they have aged, and of equal ones the one that was seen longest ago. So a flood of keys
//! that come once pushes out itself, and none of those who come again and again.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::caller_features::{CallerFeatures, CallerTally, Sighting};
use crate::domain::timestamp::Timestamp;
use crate::runtime::snapshot::{SnapshotReader, SnapshotWriter};

/// How many callers are looked at to find one whose place a new one takes; with eight, one of the fewest eighth is
/// found in two of three cases.
const CANDIDATES: usize = 8;

/// The most shards: that two of a few dozen workers want the same one is rare then.
const SHARDS_MAX: usize = 256;

/// The fewest callers of a shard, so that shards fill evenly.
const SHARD_CALLERS_MIN: usize = 256;

/// Half-lives after which a caller that was not seen is forgotten, however many requests it had sent.
const UNSEEN_MAX: u32 = 8;

/// How callers are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerBookTerms {
    /// The most callers that are known at a time.
    pub callers: NonZeroUsize,
    /// The time after which what was counted counts half.
    pub half_life: Duration,
}

/// How many callers are in a book, and how many are no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BookCounts {
    /// Callers that are known.
    pub tracked: u64,
    /// Callers whose place another one took.
    pub evicted: u64,
}

/// The book in use, if there is one, for all who write into it or read it.
pub type CallerBookReader = SnapshotReader<Option<Arc<CallerBook>>>;

/// Puts another book in its place.
pub type CallerBookWriter = SnapshotWriter<Option<Arc<CallerBook>>>;

/// What requests tell of their callers.
pub struct CallerBook {
    terms: CallerBookTerms,
    started: Timestamp,
    /// Drawn anew for each book, so that nobody can send keys that all fall into one shard.
    keys: RandomState,
    shards: Box<[Mutex<Shard>]>,
    tracked: AtomicUsize,
    evicted: AtomicU64,
}

impl CallerBook {
    /// An empty book, begun now.
    pub fn new(terms: CallerBookTerms, now: Timestamp) -> Self {
        let callers = terms.callers.get();
        let shards = (callers / SHARD_CALLERS_MIN).clamp(1, SHARDS_MAX);
        let room = |shard: usize| callers / shards + usize::from(shard < callers % shards);
        let keys = RandomState::new();
        let shard = |shard| Mutex::new(Shard::new(room(shard), keys.hash_one(shard)));
        Self {
            terms,
            started: now,
            shards: (0..shards).map(shard).collect(),
            keys,
            tracked: AtomicUsize::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// How callers are watched.
    pub const fn terms(&self) -> CallerBookTerms {
        self.terms
    }

    /// Counts a request of a caller, which has ended.
    pub fn see(&self, key: &str, sighting: &Sighting, now: Timestamp) {
        let half_life = self.half_life(now);
        let hash = self.keys.hash_one(key);
        let mut shard = self.shard_of(hash);
        let place = match shard.find(hash, key) {
            Lookup::Known(place) => place,
            // Of two keys with one hash of 64 bits the second is not counted.
            Lookup::Other => return,
            Lookup::New => {
                let place = if shard.entries.len() < shard.room {
                    self.tracked.fetch_add(1, Ordering::Relaxed);
                    None
                } else {
                    self.evicted.fetch_add(1, Ordering::Relaxed);
                    Some(shard.dispensable(half_life))
                };
                shard.put(place, hash, key, half_life)
            }
        };
        shard.entries[place].tally.see(sighting, half_life);
        shard.entries[place].seen = seconds(now);
    }

    /// Whether a caller is in it.
    pub fn knows(&self, key: &str) -> bool {
        let hash = self.keys.hash_one(key);
        matches!(self.shard_of(hash).find(hash, key), Lookup::Known(_))
    }

    /// Forgets a caller; tells whether it was known.
    pub fn forget(&self, key: &str) -> bool {
        let hash = self.keys.hash_one(key);
        let mut shard = self.shard_of(hash);
        let Lookup::Known(place) = shard.find(hash, key) else {
            return false;
        };
        shard.take(place);
        self.tracked.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// Forgets those of whom nothing is left to say, and those who were not seen for long.
    pub fn forget_faded(&self, now: Timestamp) {
        let half_life = self.half_life(now);
        let unseen = self.terms.half_life.saturating_mul(UNSEEN_MAX);
        let oldest =
            seconds(now).saturating_sub(u32::try_from(unseen.as_secs()).unwrap_or(u32::MAX));
        for shard in &self.shards {
            let mut shard = lock(shard);
            let before = shard.entries.len();
            for place in (0..before).rev() {
                let entry = &shard.entries[place];
                if entry.seen < oldest || entry.tally.has_faded(half_life) {
                    shard.take(place);
                }
            }
            let gone = before - shard.entries.len();
            self.tracked.fetch_sub(gone, Ordering::Relaxed);
        }
    }

    /// What is known of a caller.
    pub fn find(&self, key: &str, now: Timestamp) -> Option<CallerFeatures> {
        let hash = self.keys.hash_one(key);
        let shard = self.shard_of(hash);
        let Lookup::Known(place) = shard.find(hash, key) else {
            return None;
        };
        let tally = shard.entries[place].tally;
        drop(shard);
        tally.features(self.half_life(now), self.watched(now))
    }

    /// How many parts the book has, which are read one after the other.
    pub const fn parts(&self) -> usize {
        self.shards.len()
    }

    /// The callers of a part with what is known of them, in no order. Requests of these callers, a few hundred to a
    /// few tens of thousands, wait while they are copied, and no others.
    pub fn read_part(&self, part: usize, now: Timestamp) -> Vec<(Box<str>, CallerFeatures)> {
        let (half_life, watched) = (self.half_life(now), self.watched(now));
        let Some(shard) = self.shards.get(part) else {
            return Vec::new();
        };
        let copied: Vec<_> = {
            let shard = lock(shard);
            let entries = shard.entries.iter();
            entries
                .map(|entry| (entry.key.clone(), entry.tally))
                .collect()
        };
        let known = copied.into_iter().filter_map(|(key, tally)| {
            let features = tally.features(half_life, watched)?;
            Some((key, features))
        });
        known.collect()
    }

    /// How many callers there are.
    pub fn counts(&self) -> BookCounts {
        BookCounts {
            tracked: self.tracked.load(Ordering::Relaxed) as u64,
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }

    /// The half-life that a moment is in, counted from the first.
    fn half_life(&self, now: Timestamp) -> u32 {
        let passed = (now - self.started).as_millis() / self.terms.half_life.as_millis().max(1);
        u32::try_from(passed).unwrap_or(u32::MAX)
    }

    /// The time watched, aged as what was counted in it.
    fn watched(&self, now: Timestamp) -> Duration {
        let half_life = self.terms.half_life;
        let whole = self.half_life(now);
        let begun = half_life.saturating_mul(whole);
        let current = (now - self.started).saturating_sub(begun);
        // A half-life that has passed counts a half, the one before it a quarter, and so on.
        let before = 1.0 - (-f64::from(whole)).exp2();
        current + half_life.mul_f64(before)
    }

    fn shard_of(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The lower bits are for the shard's own table.
        let upper = usize::try_from(hash >> 32).unwrap_or_default();
        lock(&self.shards[upper % self.shards.len()])
    }
}

impl fmt::Debug for CallerBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("CallerBook");
        shown
            .field("terms", &self.terms)
            .field("counts", &self.counts());
        shown.finish_non_exhaustive()
    }
}

/// What is under a hash.
enum Lookup {
    Known(usize),
    /// Another key.
    Other,
    New,
}

struct Shard {
    /// Places in the list, by the hash of the key.
    places: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
    entries: Vec<Entry>,
    room: usize,
    /// Draws candidates: Marsaglia's xorshift (2003).
    random: u64,
}

struct Entry {
    key: Box<str>,
    hash: u64,
    tally: CallerTally,
    /// When it was seen last, in seconds since the clock's start.
    seen: u32,
}

impl Shard {
    fn new(room: usize, seed: u64) -> Self {
        Self {
            places: HashMap::with_capacity_and_hasher(room, BuildHasherDefault::default()),
            entries: Vec::with_capacity(room),
            room,
            random: seed | 1,
        }
    }

    fn find(&self, hash: u64, key: &str) -> Lookup {
        let Some(place) = self.places.get(&hash) else {
            return Lookup::New;
        };
        let place = *place as usize;
        if *self.entries[place].key == *key {
            Lookup::Known(place)
        } else {
            Lookup::Other
        }
    }

    /// Puts a caller in the place of another, or at the end.
    fn put(&mut self, place: Option<usize>, hash: u64, key: &str, half_life: u32) -> usize {
        let entry = Entry {
            key: key.into(),
            hash,
            tally: CallerTally::new(half_life),
            seen: 0,
        };
        let place = match place {
            Some(place) => {
                let gone = std::mem::replace(&mut self.entries[place], entry);
                self.places.remove(&gone.hash);
                place
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        };
        self.places
            .insert(hash, u32::try_from(place).unwrap_or_default());
        place
    }

    /// Takes a caller out; the last one takes its place.
    fn take(&mut self, place: usize) {
        let gone = self.entries.swap_remove(place);
        self.places.remove(&gone.hash);
        if let Some(moved) = self.entries.get(place) {
            let place = u32::try_from(place).unwrap_or_default();
            self.places.insert(moved.hash, place);
        }
    }

    /// The place that a new caller takes.
    fn dispensable(&mut self, half_life: u32) -> usize {
        let count = self.entries.len() as u64;
        let candidates: [usize; CANDIDATES] = std::array::from_fn(|_| {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            // The upper bits of a product are spread as evenly as those of its factor.
            let place = (u128::from(self.random) * u128::from(count)) >> 64;
            usize::try_from(place).unwrap_or_default()
        });
        let worth = |place: usize| {
            let entry = &self.entries[place];
            (entry.tally.requests(half_life), entry.seen)
        };
        let fewest = candidates.into_iter().min_by(|one, other| {
            let ((requests, seen), (others, others_seen)) = (worth(*one), worth(*other));
            requests.total_cmp(&others).then(seen.cmp(&others_seen))
        });
        fewest.unwrap_or_default()
    }
}

/// Nobody panics half way through a change.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seconds(now: Timestamp) -> u32 {
    u32::try_from(now.elapsed().as_secs()).unwrap_or(u32::MAX)
}

/// Takes what is a hash already for one.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|byte| self.0 = self.0 << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::thread::scope;

    use crate::domain::caller_features::PathMark;

    use super::*;

    const SIGHTING: fn() -> Sighting = || Sighting {
        is_error: false,
        is_write: false,
        path: PathMark::of("/"),
        head_latency: None,
        request_bytes: 0,
        response_bytes: 7,
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::since_start(Duration::from_secs(seconds))
    }

    fn book(callers: usize) -> CallerBook {
        let terms = CallerBookTerms {
            callers: NonZeroUsize::new(callers).unwrap(),
            half_life: Duration::from_secs(100),
        };
        CallerBook::new(terms, at(0))
    }

    fn keys(book: &CallerBook, now: Timestamp) -> BTreeSet<Box<str>> {
        let parts = 0..book.parts();
        parts
            .flat_map(|part| book.read_part(part, now))
            .map(|(key, _)| key)
            .collect()
    }

    #[test]
    fn callers_beyond_the_bound_take_the_places_of_others_and_are_counted() {
        for callers in [1, 5, 300, 1_000] {
            let book = book(callers);
            for number in 0..callers * 3 {
                book.see(&format!("c-{number}"), &SIGHTING(), at(1));
                assert!(keys(&book, at(1)).len() <= callers || number % 97 > 0);
            }
            let BookCounts { tracked, evicted } = book.counts();
            let known = keys(&book, at(1));
            assert_eq!(
                (known.len() as u64, tracked + evicted),
                (tracked, callers as u64 * 3)
            );
            // Shards are not filled quite evenly.
            assert!(
                known.len() > callers * 9 / 10 && known.len() <= callers,
                "{tracked}"
            );
        }
    }

    #[test]
    fn a_flood_of_strangers_pushes_out_none_of_those_who_come_again() {
        let book = book(200);
        for _ in 0..3 {
            (0..100).for_each(|number| book.see(&format!("regular-{number}"), &SIGHTING(), at(1)));
        }
        (0..5_000).for_each(|number| book.see(&format!("stranger-{number}"), &SIGHTING(), at(2)));
        let regulars = keys(&book, at(2))
            .iter()
            .filter(|key| key.starts_with("reg"))
            .count();
        // All eight candidates may be regulars, with a chance of 2^-8 for each stranger at first.
        assert!(regulars >= 60, "{regulars}");
    }

    #[test]
    fn of_equal_callers_the_one_seen_longest_ago_goes() {
        // Eight draws of two miss one of them once in 128 times, and seeds are drawn.
        let books = (0..40).map(|_| {
            let book = book(2);
            book.see("first", &SIGHTING(), at(1));
            book.see("second", &SIGHTING(), at(2));
            book.see("third", &SIGHTING(), at(3));
            keys(&book, at(3)) == BTreeSet::from(["second".into(), "third".into()])
        });
        assert!(books.filter(|is_right| *is_right).count() >= 30);
    }

    #[test]
    fn what_was_counted_fades_and_who_has_faded_is_forgotten() {
        let book = book(10);
        (0..40).for_each(|_| book.see("ann", &SIGHTING(), at(10)));
        book.see("bob", &SIGHTING(), at(10));
        let seen = book.find("ann", at(20)).unwrap();
        assert_eq!((seen.requests, seen.requests_per_second), (40.0, 2.0));
        let later = book.find("ann", at(150)).unwrap();
        // A hundred seconds count half, and so do the requests.
        assert_eq!((later.requests, later.requests_per_second), (20.0, 0.2));
        book.forget_faded(at(250));
        assert_eq!(keys(&book, at(250)), BTreeSet::from(["ann".into()]));
        assert_eq!(book.counts().tracked, 1);
        (0..40_000).for_each(|_| book.see("ann", &SIGHTING(), at(250)));
        book.forget_faded(at(1_051));
        assert_eq!(
            book.counts(),
            BookCounts::default(),
            "unseen for eight half-lives"
        );
    }

    #[test]
    fn a_caller_is_forgotten_at_once_and_the_others_stay() {
        let book = book(1_000);
        (0..600).for_each(|number| book.see(&format!("c-{number}"), &SIGHTING(), at(1)));
        for number in (0..600).step_by(2) {
            assert!(book.forget(&format!("c-{number}")));
            assert!(!book.forget(&format!("c-{number}")));
        }
        assert_eq!(
            book.counts(),
            BookCounts {
                tracked: 300,
                evicted: 0
            }
        );
        for number in 0..600 {
            let known = book.find(&format!("c-{number}"), at(1));
            assert_eq!(known.is_some(), number % 2 == 1, "{number}");
        }
    }

    #[test]
    fn workers_count_together() {
        let book = book(64);
        scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..4_000).for_each(|number| {
                        book.see(&format!("c-{}", number % 50), &SIGHTING(), at(1));
                    });
                });
            }
        });
        for number in 0..50 {
            let seen = book.find(&format!("c-{number}"), at(1)).unwrap();
            assert_eq!((seen.requests, seen.response_bytes_mean), (320.0, 7.0));
        }
    }
}
