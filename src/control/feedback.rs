//! Takes feedback of callers to where it counts: the judge, the state, the journal.
//!
//! Votes are handed in at the [desk](crate::runtime::feedback), whose word on each is final. Once a tick this
//! takes from there what the judge is to be told, what is to be written down, and what the journal is told: of
//! many votes one line.

use crate::control::controller::Controller;
use crate::control::judging::Judged;
use crate::control::perform::{Performer, Unwritten, line};
use crate::control::ports::Transition;
use crate::control::ratings::FeedbackStatus;
use crate::control::running::{JOURNAL_SHOWN, RunningRollout};
use crate::domain::feedback::{News, Rated, Tried};
use crate::domain::ids::FlagName;
use crate::domain::rating::mean;
use crate::domain::rollout::{JournalEntry, Moment, RolloutState};
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::{PerVariant, Variant};

/// Who rates, in the journal.
const CALLERS: &str = "callers";

impl RunningRollout {
    /// Takes feedback while canary has callers, and no longer.
    pub(super) fn follow_feedback(&self, state: &RolloutState, performer: &mut Performer) {
        if !self.takes_feedback || !state.phase.is_judged() {
            performer.feedback.close(&self.name);
            return;
        }
        // Unwritten they hold until the process ends, which is better than no ratings.
        match performer.pseudonyms(Unwritten::Allowed) {
            Ok(pseudonyms) => performer.feedback.call_by(pseudonyms),
            Err(error) => {
                tracing::error!(flag = %self.name, %error, "callers cannot rate");
                return;
            }
        }
        let watch = performer.ledger.watch(&self.name);
        let ratings_min = self.judging.ratings_min();
        let rated = (&self.tried(state), ratings_min);
        performer.feedback.open(&self.name, rated, watch);
    }

    /// What is rated.
    fn tried(&self, state: &RolloutState) -> Tried {
        Tried {
            release: self.plan.release().clone(),
            attempt: state.attempt,
        }
    }

    /// Tells the judge of ratings, where they are evidence: with the counts of the tick that ends.
    pub(super) fn tell_ratings(&mut self, moment: &Moment<'_>, performer: &Performer) {
        let Self { plan, state, .. } = self;
        let judged = Judged { plan, state };
        if !self.takes_feedback || !self.judging.counts(judged) {
            return;
        }
        let (desk, ledger) = (&performer.feedback, &performer.ledger);
        // As evidence they have been told, and count no second time; as what callers think they still do.
        let left = self.judging.take_left(judged);
        let told = left.map(|left| desk.told_of_others(&self.name, &left));
        for Rated { shown, rating } in told.unwrap_or_default() {
            let group = shown.group.as_ref();
            ledger.change_ratings(&self.name, group, shown.variant, (rating, 1));
        }
        if let Some(known) = self.judging.take_known_ratings() {
            desk.tell_anew(&self.name, known, moment.now);
        }
        let (due, changed) = desk.take_due(&self.name, moment.now);
        for Rated { shown, rating } in due {
            ledger.rate(&self.name, shown.group.as_ref(), shown.variant, rating);
        }
        for (from, to) in changed {
            for (Rated { shown, rating }, by) in [(from, -1), (to, 1)] {
                let group = shown.group.as_ref();
                ledger.change_ratings(&self.name, group, shown.variant, (rating, by));
            }
        }
    }

    /// How callers rate it, where they may.
    pub(super) fn feedback(&self, performer: &Performer) -> Option<FeedbackStatus> {
        let raters = performer
            .feedback
            .raters(&self.name, &self.tried(&self.state));
        let raters = raters.filter(|_| self.takes_feedback)?;
        Some(FeedbackStatus::of(&raters))
    }
}

impl Controller {
    /// Has votes and comments written down, and told in the journal.
    pub(super) fn keep_feedback(&mut self, now: Timestamp) {
        let changes = self.performer.feedback.take_unsaved();
        if !changes.is_empty() {
            self.performer.writer.keep_feedback(changes);
        }
        for (flag, news, raters) in self.performer.feedback.take_news(now) {
            let line = line(&flag, entry(&news, &raters));
            tracing::info!(%flag, who = line.entry.who, why = line.entry.why, "{}", line.entry.what);
            let transition = Transition {
                lines: vec![line.clone()],
                ..Transition::default()
            };
            // It is told as soon as it can be, so there is no error.
            let _ = self.performer.save(transition, Unwritten::Allowed);
            let mut rollouts = self.rollouts.iter_mut();
            if let Some(rollout) = rollouts.find(|rollout| rollout.name == flag) {
                rollout.journal.push_front(line);
                rollout.journal.truncate(JOURNAL_SHOWN);
            }
        }
    }

    /// Erases ratings and comments of the caller with this key; says how many there were. What the judge was
    /// told of them has no names, and stays.
    pub fn forget_feedback(&mut self, key: &str) -> usize {
        let flags = &self.performer.routing.flags;
        let hash_of = |name: &FlagName| {
            let flag = flags.iter().find(|flag| flag.name == *name);
            flag.and_then(|flag| flag.hash_of(key))
        };
        let erased = self.performer.feedback.forget(key, hash_of);
        let changes = self.performer.feedback.take_unsaved();
        self.performer.writer.keep_feedback(changes);
        erased
    }
}

fn entry(news: &News, raters: &PerVariant<[u64; 5]>) -> JournalEntry {
    let mut who: Vec<_> = news.by.iter().map(String::as_str).collect();
    if news.from_callers || who.is_empty() {
        who.push(CALLERS);
    }
    let rated = |variant| {
        let ratings = raters.get(variant);
        let n: u64 = ratings.iter().sum();
        mean(ratings).map_or_else(
            || format!("{variant} by nobody"),
            |mean| format!("{variant} {mean:.2} by {n}"),
        )
    };
    let [stable, canary] = Variant::ALL.map(rated);
    JournalEntry {
        who: who.join(", "),
        what: format!("rated: {canary}, {stable}"),
        why: format!("{} new ratings, {} changed", news.recorded, news.changed),
        findings: Vec::new(),
    }
}
