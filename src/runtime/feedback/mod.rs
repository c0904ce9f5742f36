//! Where feedback is handed in, by the proxy's listeners and by the API, and where the control plane fetches it.
//!
//! Whoever hands in is told at once what became of it, so both doors and the control plane share books under a
//! lock. No other request takes it; who does holds it for a moment.
//!
//! What is believed of a caller is its key alone. Whether it was shown anything, and what, is looked up.
//! One that says much has to wait, and so have all behind one source: both are counted in tables of a
//! fixed size, by a hash that nobody can choose, so that floods take no memory and turn nobody else away.

mod receipt;
mod waits;

pub use receipt::{Receipt, Refusal, Said};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::domain::bucket::murmur3_x86_32;
use crate::domain::feedback::{
    Ballot, Comment, Counted, FeedbackBook, FeedbackChange, FeedbackPart, News, NotCounted, Rated,
    SavedFeedback, Tried,
};
use crate::domain::ids::{FlagName, GroupName};
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::PerVariant;
use crate::runtime::feedback::receipt::{RESULTS, place};
use crate::runtime::feedback::waits::{PER_ADDRESS, PER_CALLER, PER_SERVER, Waits};
use crate::runtime::pseudonyms::Pseudonyms;
use crate::runtime::watch::RolloutWatch;

/// The flags that there is feedback of; more than anybody releases at a time.
const FLAGS_MAX: usize = 256;

/// The feedback of all flags.
#[derive(Debug, Default)]
pub struct FeedbackDesk {
    flags: Mutex<BTreeMap<FlagName, Desk>>,
    /// Flags whose feedback is forgotten here, and not yet where it is written down.
    gone: Mutex<Vec<FlagName>>,
    /// What callers are called, once it is known.
    pseudonyms: OnceLock<Arc<Pseudonyms>>,
    callers: Waits,
    sources: Waits,
    servers: Waits,
    results: [AtomicU64; RESULTS.len()],
}

/// The feedback of one flag.
#[derive(Debug, Default)]
struct Desk {
    book: FeedbackBook,
    /// While feedback is taken: what callers were shown.
    watch: Option<Arc<RolloutWatch>>,
    /// First votes since the start of the process.
    recorded: PerVariant<[u64; 5]>,
    /// Callers forgotten by watches before this one.
    forgotten: u64,
}

impl Desk {
    fn end(&mut self) {
        if let Some(watch) = self.watch.take() {
            self.forgotten += watch.exposures.forgotten();
        }
    }
}

/// The feedback of a flag in numbers.
#[derive(Clone, Debug)]
pub struct FeedbackReading {
    /// The flag.
    pub flag: FlagName,
    /// First votes since the start of the process, by rating.
    pub recorded: PerVariant<[u64; 5]>,
    /// The callers' last words on the release, by rating.
    pub raters: PerVariant<[u64; 5]>,
    /// Callers of whom was forgotten what they were shown, for want of room.
    pub forgotten: u64,
}

impl FeedbackDesk {
    fn flags(&self) -> MutexGuard<'_, BTreeMap<FlagName, Desk>> {
        // A book is whole between any two calls.
        self.flags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up what was written down.
    pub fn restore(&self, saved: BTreeMap<FlagName, SavedFeedback>) {
        let desks = saved.into_iter().map(|(flag, saved)| {
            let desk = Desk {
                book: FeedbackBook::restore(saved),
                ..Desk::default()
            };
            (flag, desk)
        });
        self.flags().extend(desks);
    }

    /// Has callers called by these pseudonyms; nobody can rate before there are any.
    pub fn call_by(&self, pseudonyms: Arc<Pseudonyms>) {
        self.pseudonyms.get_or_init(|| pseudonyms);
    }

    /// What the caller with a key is called; empty where nobody has a name yet.
    pub fn pseudonym(&self, key: &str) -> String {
        let known = self.pseudonyms.get();
        known.map_or_else(String::new, |pseudonyms| (*pseudonyms.of(key)).to_owned())
    }

    /// Takes feedback on a release from now on, of callers whom its watch knows. Fewer than `ratings_min` callers
    /// decide nothing.
    pub fn open(
        &self,
        flag: &FlagName,
        (tried, ratings_min): (&Tried, u64),
        watch: Arc<RolloutWatch>,
    ) {
        let mut flags = self.flags();
        if !flags.contains_key(flag) && flags.len() >= FLAGS_MAX {
            let mut closed = flags.iter().filter(|(_, desk)| desk.watch.is_none());
            let closed = closed.next().map(|(flag, _)| flag.clone());
            let Some(closed) = closed else { return };
            self.drop_desk(&mut flags, &closed);
        }
        let desk = flags.entry(flag.clone()).or_default();
        desk.book.begin(tried, ratings_min);
        if desk
            .watch
            .as_ref()
            .is_some_and(|it| Arc::ptr_eq(it, &watch))
        {
            return;
        }
        desk.end();
        watch.exposures.open();
        desk.watch = Some(watch);
    }

    /// Takes no more of a flag; what there is stays to be looked at.
    pub fn close(&self, flag: &FlagName) {
        if let Some(desk) = self.flags().get_mut(flag) {
            desk.end();
        }
    }

    /// Forgets a flag that is no more, with all that was said of it.
    pub fn remove(&self, flag: &FlagName) {
        self.drop_desk(&mut self.flags(), flag);
    }

    fn drop_desk(&self, flags: &mut BTreeMap<FlagName, Desk>, flag: &FlagName) {
        if flags.remove(flag).is_some() {
            self.gone().push(flag.clone());
        }
    }

    fn gone(&self) -> MutexGuard<'_, Vec<FlagName>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a rating that is refused before its caller is looked at.
    pub fn refuse(&self, why: Refusal) -> Refusal {
        self.count(&Err(why));
        why
    }

    /// Whether clients behind an address may hand in something now.
    ///
    /// # Errors
    /// How long they have to wait.
    pub fn admit_address(&self, address: &str, now: Timestamp) -> Result<(), Duration> {
        let admitted = self.sources.admit(address, PER_ADDRESS, now);
        admitted.inspect_err(|wait| self.count(&Err(Refusal::TooOften(*wait))))
    }

    /// Takes what a caller says of a flag. `hash` is the one by which the flag knows it.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn rate(
        &self,
        flag: &FlagName,
        (hash, key): (u32, &str),
        said: Said,
        now: Timestamp,
    ) -> Result<Receipt, Refusal> {
        let result = self.try_rate(flag, (hash, key), said, now);
        self.count(&result);
        result
    }

    fn try_rate(
        &self,
        flag: &FlagName,
        (hash, key): (u32, &str),
        said: Said,
        now: Timestamp,
    ) -> Result<Receipt, Refusal> {
        if let Some(by) = &said.by {
            let admitted = self.servers.admit(by, PER_SERVER, now);
            admitted.map_err(Refusal::TooOften)?;
        }
        let pseudonyms = self.pseudonyms.get().ok_or(Refusal::NotTaken)?;
        let mut flags = self.flags();
        let desk = flags.get_mut(flag).ok_or(Refusal::NotTaken)?;
        let watch = desk.watch.as_ref().ok_or(Refusal::NotTaken)?;
        let shown = watch.exposures.shown_to(hash);
        let shown = shown.ok_or(Refusal::NotExposed)?;
        // Nobody who guesses another's cookie uses up what that one may say from elsewhere.
        let from = &said.made_up_at;
        let admitted = self.callers.admit((flag, key, from), PER_CALLER, now);
        admitted.map_err(Refusal::TooOften)?;
        let rating = said.rating;
        let ballot = Ballot {
            rating,
            shown: shown.clone(),
            caller: (*pseudonyms.of(key)).into(),
            source: said.made_up_at.as_deref().map(source),
            comment: said.comment,
            by: said.by,
            at_unix_ms: said.at_unix_ms,
        };
        let voter = pseudonyms.number_of(key);
        let counted = desk
            .book
            .rate(voter, ballot, now)
            .map_err(|why| match why {
                NotCounted::Source => Refusal::Source,
                NotCounted::Foreign => Refusal::NotExposed,
                NotCounted::Full => Refusal::Full,
            })?;
        if counted == Counted::Recorded {
            desk.recorded.get_mut(shown.variant)[rating.place()] += 1;
        }
        Ok(Receipt { counted, shown })
    }

    fn count(&self, result: &Result<Receipt, Refusal>) {
        self.results[place(result)].fetch_add(1, Ordering::Relaxed);
    }

    /// The ratings of a flag that its judge is told in this tick, and those that were changed after it was.
    pub fn take_due(&self, flag: &FlagName, now: Timestamp) -> (Vec<Rated>, Vec<(Rated, Rated)>) {
        let mut flags = self.flags();
        let due = flags
            .get_mut(flag)
            .map(|desk| (desk.book.take_due(now), desk.book.take_changed()));
        due.unwrap_or_default()
    }

    /// The ratings that a flag's judge was told, but for those of these groups.
    pub fn told_of_others(&self, flag: &FlagName, groups: &[GroupName]) -> Vec<Rated> {
        let flags = self.flags();
        let told = flags.get(flag).map(|desk| desk.book.told_of_others(groups));
        told.unwrap_or_default()
    }

    /// Has a judge told anew, which knows so many ratings of each arm.
    pub fn tell_anew(&self, flag: &FlagName, known: PerVariant<u64>, now: Timestamp) {
        if let Some(desk) = self.flags().get_mut(flag) {
            desk.book.tell_anew(known, now);
        }
    }

    /// What is to be written down since the last time.
    pub fn take_unsaved(&self) -> Vec<FeedbackChange> {
        let mut flags = self.flags();
        let gone = std::mem::take(&mut *self.gone()).into_iter();
        let gone = gone.map(|flag| FeedbackChange {
            flag,
            part: FeedbackPart::Gone,
        });
        let changes = flags.iter_mut().flat_map(|(flag, desk)| {
            let parts = desk.book.take_unsaved().into_iter();
            parts.map(|part| FeedbackChange {
                flag: flag.clone(),
                part,
            })
        });
        // One that is gone may have come again.
        gone.chain(changes).collect()
    }

    /// What is to be told in the journal, with how each arm is rated.
    pub fn take_news(&self, now: Timestamp) -> Vec<(FlagName, News, PerVariant<[u64; 5]>)> {
        let mut flags = self.flags();
        let news = flags.iter_mut().filter_map(|(flag, desk)| {
            let news = desk.book.take_news(now)?;
            Some((flag.clone(), news, *desk.book.raters()))
        });
        news.collect()
    }

    /// Whether anything was said of a flag.
    pub fn has(&self, flag: &FlagName) -> bool {
        self.flags().contains_key(flag)
    }

    /// The revision of each flag that was rated last, and how callers rate each arm of it.
    pub fn rated(&self) -> Vec<(FlagName, String, PerVariant<[u64; 5]>)> {
        let flags = self.flags();
        let rated = flags.iter().filter_map(|(flag, desk)| {
            let revision = desk.book.tried()?.release.revision.clone();
            Some((flag.clone(), revision, *desk.book.raters()))
        });
        rated.collect()
    }

    /// How callers rate each arm of a release; none where nobody could yet.
    pub fn raters(&self, flag: &FlagName, tried: &Tried) -> Option<PerVariant<[u64; 5]>> {
        let flags = self.flags();
        let book = &flags.get(flag)?.book;
        (book.tried() == Some(tried)).then(|| *book.raters())
    }

    /// Comments on a flag, or on all, newest first, those before a number only.
    pub fn comments(
        &self,
        flag: Option<&FlagName>,
        before: Option<u64>,
        limit: usize,
    ) -> Vec<(FlagName, Comment)> {
        let flags = self.flags();
        let wanted = flags
            .iter()
            .filter(|(name, _)| flag.is_none_or(|flag| flag == *name));
        let mut comments: Vec<_> = wanted
            .flat_map(|(name, desk)| {
                let comments = desk.book.comments(before, limit).into_iter();
                comments.map(|comment| (name.clone(), comment))
            })
            .collect();
        comments.sort_by_key(|(_, comment)| std::cmp::Reverse(comment.number));
        comments.truncate(limit);
        comments
    }

    /// Erases votes and comments of the caller with this key, in all flags, and what it was shown; says how many
    /// votes and comments there were. `hash_of` tells the hash by which a flag knows it.
    pub fn forget(&self, key: &str, hash_of: impl Fn(&FlagName) -> Option<u32>) -> usize {
        let caller = self.pseudonym(key);
        let mut flags = self.flags();
        let erased = flags.iter_mut().map(|(flag, desk)| {
            if let (Some(watch), Some(hash)) = (&desk.watch, hash_of(flag)) {
                watch.exposures.forget(hash);
            }
            desk.book.forget(&caller)
        });
        erased.sum()
    }

    /// The feedback of all flags in numbers.
    pub fn read(&self) -> Vec<FeedbackReading> {
        let flags = self.flags();
        let readings = flags.iter().map(|(flag, desk)| {
            let watch = desk.watch.as_ref();
            FeedbackReading {
                flag: flag.clone(),
                recorded: desk.recorded,
                raters: *desk.book.raters(),
                forgotten: desk.forgotten + watch.map_or(0, |watch| watch.exposures.forgotten()),
            }
        });
        readings.collect()
    }

    /// What became of what was handed in since the start, by a word.
    pub fn results(&self) -> Vec<(&'static str, u64)> {
        let counts = RESULTS.into_iter().zip(&self.results);
        counts
            .map(|(word, count)| (word, count.load(Ordering::Relaxed)))
            .collect()
    }
}

/// The cell of an address; the same after a restart.
fn source(address: &str) -> u16 {
    (murmur3_x86_32(b"source", address.as_bytes()) >> 16) as u16
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]
mod tests {
    use super::*;
    use crate::domain::rollout::Release;
    use crate::domain::secret::Secret;
    use crate::domain::testing::name;
    use crate::domain::variant::Variant;
    use crate::runtime::series::StratumName;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::since_start(Duration::from_secs(seconds))
    }

    fn tried(revision: &str) -> Tried {
        Tried {
            release: Release {
                revision: revision.to_owned(),
                stable: name("v1"),
                canary: name("v2"),
            },
            attempt: 1,
        }
    }

    /// A desk for the flag `orders`, whose canary was shown to callers 0 to 9,999.
    fn desk() -> FeedbackDesk {
        let (desk, watch) = (FeedbackDesk::default(), Arc::<RolloutWatch>::default());
        desk.call_by(Arc::new(Pseudonyms::new(&Secret::new("secret"))));
        desk.open(&name("orders"), (&tried("1"), 20), Arc::clone(&watch));
        let group = watch.exposures.number_of(&StratumName::Default).unwrap();
        for hash in 0..10_000 {
            watch.exposures.note(hash, Variant::Canary, group);
        }
        desk
    }

    fn rate(desk: &FeedbackDesk, hash: u32, seconds: u64) -> Result<Counted, Refusal> {
        let said = Said {
            rating: 1.try_into().unwrap(),
            comment: None,
            by: None,
            made_up_at: None,
            at_unix_ms: 0,
        };
        let key = format!("caller-{hash}");
        let receipt = desk.rate(&name("orders"), (hash, &key), said, at(seconds));
        receipt.map(|receipt| receipt.counted)
    }

    #[test]
    fn whoever_was_shown_nothing_is_refused_and_so_is_everybody_once_it_is_over() {
        let desk = desk();
        assert_eq!(rate(&desk, 1, 0), Ok(Counted::Recorded));
        assert_eq!(rate(&desk, 10_000, 0), Err(Refusal::NotExposed));
        desk.close(&name("orders"));
        assert_eq!(rate(&desk, 2, 0), Err(Refusal::NotTaken));
        assert_eq!(
            desk.raters(&name("orders"), &tried("1")).unwrap().canary,
            [1, 0, 0, 0, 0]
        );
        assert_eq!(desk.raters(&name("orders"), &tried("2")), None);
        assert_eq!(desk.raters(&name("cart"), &tried("1")), None);
        let results = desk.results();
        let counted: Vec<_> = results.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(
            counted,
            [&("recorded", 1), &("not_taken", 1), &("not_exposed", 1)]
        );
    }

    #[test]
    fn a_caller_and_an_address_that_come_too_often_are_told_how_long_to_wait() {
        let desk = desk();
        for _ in 0..5 {
            rate(&desk, 1, 100).unwrap();
        }
        let wait = Duration::from_secs(12);
        assert_eq!(rate(&desk, 1, 100), Err(Refusal::TooOften(wait)));
        assert_eq!(rate(&desk, 2, 100), Ok(Counted::Recorded));
        assert_eq!(rate(&desk, 1, 112), Ok(Counted::Unchanged));
        let admitted = (0..2_000).filter(|_| desk.admit_address("192.0.2.1", at(0)).is_ok());
        assert_eq!(admitted.count(), 30);
        assert!(desk.admit_address("192.0.2.2", at(0)).is_ok());
        assert!(desk.admit_address("192.0.2.1", at(1)).is_ok());
    }

    #[test]
    fn another_salt_gives_nobody_a_second_vote() {
        let desk = desk();
        rate(&desk, 1, 0).unwrap();
        let said = Said {
            rating: 5.try_into().unwrap(),
            comment: None,
            by: None,
            made_up_at: None,
            at_unix_ms: 0,
        };
        let receipt = desk.rate(&name("orders"), (2, "caller-1"), said, at(1));
        assert_eq!(receipt.map(|it| it.counted), Ok(Counted::Changed));
    }

    #[test]
    fn a_forgotten_caller_is_erased_in_all_flags() {
        let desk = desk();
        rate(&desk, 1, 0).unwrap();
        let hash_of = |flag: &FlagName| (*flag == name("orders")).then_some(1);
        assert_eq!(desk.forget("caller-1", hash_of), 1);
        assert_eq!(desk.forget("caller-1", hash_of), 0);
        assert_eq!(rate(&desk, 1, 20), Err(Refusal::NotExposed));
        let left = desk.raters(&name("orders"), &tried("1"));
        assert_eq!(left.unwrap().canary, [0; 5]);
    }

    #[test]
    fn a_flag_that_is_no_more_leaves_nothing_and_may_come_again() {
        let desk = desk();
        rate(&desk, 1, 0).unwrap();
        desk.remove(&name("orders"));
        assert_eq!(rate(&desk, 1, 0), Err(Refusal::NotTaken));
        desk.open(&name("orders"), (&tried("2"), 20), Arc::default());
        let parts: Vec<_> = desk.take_unsaved().into_iter().map(|it| it.part).collect();
        let expected = [FeedbackPart::Gone, FeedbackPart::Began(tried("2"))];
        assert_eq!(parts, expected);
        assert!(desk.take_unsaved().is_empty());
    }

    #[test]
    fn there_are_only_so_many_flags_and_one_that_makes_room_is_forgotten_everywhere() {
        let desk = desk();
        for number in 1..FLAGS_MAX {
            let flag = name(&format!("flag-{number}"));
            desk.open(&flag, (&tried("1"), 20), Arc::default());
        }
        desk.take_unsaved();
        desk.open(&name("more"), (&tried("1"), 20), Arc::default());
        assert!(
            desk.take_unsaved().is_empty(),
            "all of them are being rated"
        );
        desk.close(&name("orders"));
        desk.open(&name("more"), (&tried("1"), 20), Arc::default());
        let changes = desk.take_unsaved();
        assert_eq!(
            (&changes[0].flag, &changes[0].part),
            (&name("orders"), &FeedbackPart::Gone)
        );
        assert_eq!(changes[1].flag, name("more"));
    }
}
