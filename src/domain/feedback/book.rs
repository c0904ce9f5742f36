//! The votes on one release, and the comments of a flag.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::feedback::sources::Sources;
use crate::domain::feedback::{
    Ballot, COMMENTS_MAX, Comment, Counted, FeedbackPart, News, NotCounted, RATERS_MAX,
    RATINGS_MIN_MIN, Rated, RatingQueue, SavedFeedback, Tried, Vote,
};
use crate::domain::ids::GroupName;
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::{PerVariant, Variant};

/// How long after one line of the journal the next may come.
const TOLD_AFTER: Duration = Duration::from_secs(60);

/// After how long there is a line about whatever is new; sooner only if there are twice as many. So a
/// flood of ratings is a handful of lines.
const TOLD_ANYHOW_AFTER: Duration = Duration::from_secs(3_600);

/// The numbers of a millisecond, of which a flag uses a few; a thousand times as many milliseconds since 1970 are
/// exact in JSON for centuries.
const NUMBERS_PER_MS: u64 = 1_000;

/// How many names of those who pass on ratings a line tells.
const NAMES_MAX: usize = 5;

/// A flag's feedback.
#[derive(Clone, Debug, Default)]
pub struct FeedbackBook {
    tried: Option<Tried>,
    votes: BTreeMap<u64, Vote>,
    comments: BTreeMap<u64, Comment>,
    /// The last number given.
    last: u64,
    /// The number of the vote that the judge was told last.
    told_last: u64,
    raters: PerVariant<[u64; 5]>,
    sources: Sources,
    /// Of fewer raters in an arm nothing is said.
    ratings_min: u64,
    queue: RatingQueue,
    /// By voter: what the judge was told, and what is to be said instead.
    changed: BTreeMap<u64, (Rated, Rated)>,
    unsaved: Vec<FeedbackPart>,
    news: News,
    /// When the journal was told last, and of how many raters.
    told: Option<(Timestamp, u64)>,
}

impl FeedbackBook {
    /// Takes up what was written down.
    pub fn restore(saved: SavedFeedback) -> Self {
        let mut book = Self {
            tried: saved.tried,
            ..Self::default()
        };
        book.last = saved.comments.keys().copied().max().unwrap_or_default();
        book.comments = saved.comments;
        for (voter, vote) in saved.votes.into_iter().take(RATERS_MAX) {
            book.last = book.last.max(vote.number);
            book.told_last = book.told_last.max(vote.told.unwrap_or_default());
            book.count(&vote, 1);
            book.votes.insert(voter, vote);
        }
        let raters = book.raters_total();
        book.told = (raters > 0).then_some((Timestamp::default(), raters));
        book
    }

    /// Begins to take votes on a release, or goes on. Of fewer than `ratings_min` in an arm nothing is said.
    pub fn begin(&mut self, tried: &Tried, ratings_min: u64) {
        self.ratings_min = ratings_min.max(RATINGS_MIN_MIN);
        if self.tried.as_ref() == Some(tried) {
            return;
        }
        *self = Self {
            tried: Some(tried.clone()),
            told_last: self.told_last,
            comments: std::mem::take(&mut self.comments),
            last: self.last,
            ratings_min: self.ratings_min,
            unsaved: std::mem::take(&mut self.unsaved),
            ..Self::default()
        };
        self.unsaved.push(FeedbackPart::Began(tried.clone()));
    }

    /// What votes are on.
    pub const fn tried(&self) -> Option<&Tried> {
        self.tried.as_ref()
    }

    /// How many callers rate each arm how, their last word.
    pub const fn raters(&self) -> &PerVariant<[u64; 5]> {
        &self.raters
    }

    fn raters_total(&self) -> u64 {
        self.votes.len() as u64
    }

    /// Takes a vote of the caller with this voter.
    ///
    /// # Errors
    /// When it is not counted.
    pub fn rate(
        &mut self,
        voter: u64,
        ballot: Ballot,
        now: Timestamp,
    ) -> Result<Counted, NotCounted> {
        let before = self.votes.get(&voter).cloned();
        let Some(before) = before else {
            self.check_room(&ballot)?;
            self.note(&ballot.by, |news| news.recorded += 1);
            self.put(voter, &ballot, None);
            self.queue.push(voter, &ballot.shown, now);
            return Ok(Counted::Recorded);
        };
        // Numbers may be met, and cookies made up, that are not those of who rated first.
        let is_weaker = before.source.is_none() && ballot.source.is_some();
        if before.caller != ballot.caller || is_weaker {
            return Err(NotCounted::Foreign);
        }
        let said = before.comment.and_then(|number| self.comments.get(&number));
        let is_same = before.rating == ballot.rating
            && before.shown == ballot.shown
            && (ballot.comment.is_none()
                || said.map(|comment| &comment.text) == ballot.comment.as_ref());
        if is_same {
            return Ok(Counted::Unchanged);
        }
        // A vote counts where it comes from last, so whoever guesses others' cookies changes no more votes than
        // it could hand in; and who is shown the other arm now counts among that one's raters.
        let is_moved =
            (before.shown.variant, before.source) != (ballot.shown.variant, ballot.source);
        let source = ballot.source.filter(|_| is_moved);
        if source.is_some_and(|source| !self.has_room(source, ballot.shown.variant)) {
            return Err(NotCounted::Source);
        }
        self.note(&ballot.by, |news| news.changed += 1);
        self.remove(voter);
        self.put(voter, &ballot, Some(&before));
        let (from, to) = (before.shown, ballot.shown);
        if before.told.is_some() {
            let rated = |shown, rating| Rated { shown, rating };
            let change = (rated(from, before.rating), rated(to, ballot.rating));
            let said = self.changed.entry(voter).or_insert_with(|| change.clone());
            said.1 = change.1;
        } else if from != to {
            self.queue.push(voter, &to, now);
        }
        Ok(Counted::Changed)
    }

    fn check_room(&self, ballot: &Ballot) -> Result<(), NotCounted> {
        let variant = ballot.shown.variant;
        let source = ballot.source;
        if source.is_some_and(|source| !self.has_room(source, variant)) {
            return Err(NotCounted::Source);
        }
        if self.votes.len() >= RATERS_MAX {
            return Err(NotCounted::Full);
        }
        Ok(())
    }

    /// Whether one more caller from a source may rate an arm.
    fn has_room(&self, source: u16, variant: Variant) -> bool {
        let raters = self.raters.get(variant).iter().sum();
        let arm = (source, variant);
        self.sources.have_room(arm, raters, self.ratings_min)
    }

    fn note(&mut self, by: &Option<String>, count: impl FnOnce(&mut News)) {
        count(&mut self.news);
        match by {
            None => self.news.from_callers = true,
            Some(by) if self.news.by.len() < NAMES_MAX => {
                self.news.by.insert(by.clone());
            }
            Some(_) => {}
        }
    }

    /// Puts a vote down, in the place of one that was removed if there was one.
    fn put(&mut self, voter: u64, ballot: &Ballot, before: Option<&Vote>) {
        let comment = ballot.comment.as_ref().map(|text| {
            let number = self.next(ballot.at_unix_ms);
            let revision = self.tried.as_ref().map(|tried| &tried.release.revision);
            let comment = Comment {
                number,
                at_unix_ms: ballot.at_unix_ms,
                revision: revision.map_or_else(String::new, ToString::to_string),
                caller: ballot.caller.clone(),
                rating: ballot.rating,
                variant: ballot.shown.variant,
                group: ballot.shown.group.clone(),
                text: text.clone(),
            };
            self.comments.insert(number, comment.clone());
            let change = FeedbackPart::Comment(number, Some(comment));
            self.unsaved.push(change);
            number
        });
        while self.comments.len() > COMMENTS_MAX
            && let Some((number, _)) = self.comments.pop_first()
        {
            self.unsaved.push(FeedbackPart::Comment(number, None));
        }
        let vote = Vote {
            number: before.map_or_else(|| self.next(ballot.at_unix_ms), |vote| vote.number),
            rating: ballot.rating,
            shown: ballot.shown.clone(),
            caller: ballot.caller.clone(),
            source: ballot.source,
            comment,
            told: before.and_then(|vote| vote.told),
        };
        self.count(&vote, 1);
        let change = FeedbackPart::Vote(voter, Some(vote.clone()));
        self.unsaved.push(change);
        self.votes.insert(voter, vote);
    }

    /// Removes a vote with its comment; it is not forgotten on the disk yet.
    fn remove(&mut self, voter: u64) -> Option<Vote> {
        let vote = self.votes.remove(&voter)?;
        self.count(&vote, -1);
        if let Some(number) = vote.comment
            && self.comments.remove(&number).is_some()
        {
            self.unsaved.push(FeedbackPart::Comment(number, None));
        }
        Some(vote)
    }

    fn count(&mut self, vote: &Vote, by: i64) {
        let raters = self.raters.get_mut(vote.shown.variant);
        let count = &mut raters[vote.rating.place()];
        *count = count.saturating_add_signed(by);
        if let Some(source) = vote.source {
            self.sources.count(source, vote.shown.variant, by);
        }
    }

    /// A number that grows, and by which what is of several flags can be put in order.
    fn next(&mut self, at_unix_ms: u64) -> u64 {
        let by_clock = at_unix_ms.saturating_mul(NUMBERS_PER_MS);
        self.last = by_clock.max(self.last + 1);
        self.last
    }

    /// The ratings that the judge is told in this tick.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<Rated> {
        let mut due = Vec::new();
        for (voter, shown) in self.queue.take(now) {
            // One that was shown something else since waits at another place.
            let vote = self.votes.get_mut(&voter);
            if let Some(vote) = vote.filter(|vote| vote.told.is_none() && vote.shown == shown) {
                self.told_last += 1;
                vote.told = Some(self.told_last);
                let rating = vote.rating;
                self.unsaved
                    .push(FeedbackPart::Vote(voter, Some(vote.clone())));
                due.push(Rated { shown, rating });
            }
        }
        due
    }

    /// Votes that were changed after the judge was told: what they were, and what they are.
    pub fn take_changed(&mut self) -> Vec<(Rated, Rated)> {
        std::mem::take(&mut self.changed).into_values().collect()
    }

    /// The ratings that the judge was told as evidence, as they are now, but for those of these groups.
    pub fn told_of_others(&self, groups: &[GroupName]) -> Vec<Rated> {
        let is_other = |vote: &&Vote| {
            let group = vote.shown.group.as_ref();
            vote.told.is_some() && group.is_none_or(|group| !groups.contains(group))
        };
        let told = self.votes.values().filter(is_other);
        let rated = told.map(|vote| Rated {
            shown: vote.shown.clone(),
            rating: vote.rating,
        });
        rated.collect()
    }

    /// Has a judge told of the votes that it does not know: it knows so many of each arm, those that it was told
    /// first.
    pub fn tell_anew(&mut self, known: PerVariant<u64>, now: Timestamp) {
        self.queue.clear();
        self.changed.clear();
        let mut left = known;
        let mut votes: Vec<_> = self.votes.iter_mut().collect();
        votes.sort_by_key(|(_, vote)| (vote.told.unwrap_or(u64::MAX), vote.number));
        for (voter, vote) in votes {
            let left = left.get_mut(vote.shown.variant);
            if *left == 0 {
                vote.told = None;
                self.queue.push(*voter, &vote.shown, now);
                continue;
            }
            *left -= 1;
            // It may have been told when that could not be written any more.
            if vote.told.is_none() {
                self.told_last += 1;
                vote.told = Some(self.told_last);
            }
        }
    }

    /// What is to be written down since the last time.
    pub fn take_unsaved(&mut self) -> Vec<FeedbackPart> {
        std::mem::take(&mut self.unsaved)
    }

    /// What is to be told in the journal, where it is time to.
    pub fn take_news(&mut self, now: Timestamp) -> Option<News> {
        let raters = self.raters_total();
        let is_due = self.told.is_none_or(|(at, told)| {
            let silence = now - at;
            silence >= TOLD_ANYHOW_AFTER || (silence >= TOLD_AFTER && raters >= 2 * told)
        });
        let has_any = self.news.recorded + self.news.changed > 0;
        (is_due && has_any).then(|| {
            self.told = Some((now, raters));
            std::mem::take(&mut self.news)
        })
    }

    /// Comments, newest first, those before a number only.
    pub fn comments(&self, before: Option<u64>, limit: usize) -> Vec<Comment> {
        let older = self.comments.range(..before.unwrap_or(u64::MAX));
        older
            .rev()
            .take(limit)
            .map(|(_, comment)| comment.clone())
            .collect()
    }

    /// Erases a caller's vote and comments; says how many there were. What the judge was told without a name stays.
    pub fn forget(&mut self, caller: &str) -> usize {
        let before = self.votes.len() + self.comments.len();
        let voters: Vec<_> = self
            .votes
            .iter()
            .filter(|(_, vote)| *vote.caller == *caller)
            .map(|(voter, _)| *voter)
            .collect();
        for voter in &voters {
            self.remove(*voter);
            self.unsaved.push(FeedbackPart::Vote(*voter, None));
        }
        let said = self.comments.values();
        let said = said.filter(|comment| *comment.caller == *caller);
        let numbers: Vec<_> = said.map(|comment| comment.number).collect();
        for number in &numbers {
            self.comments.remove(number);
            self.unsaved.push(FeedbackPart::Comment(*number, None));
        }
        before - self.votes.len() - self.comments.len()
    }
}
