//! Changes of votes and comments that wait to be written.
//!
//! What takes something out of the file is kept apart from what puts something in. It is never dropped, it is
//! written first, and alone where a caller is forgotten: that takes little room, and must not wait. A later change
//! takes the place of earlier ones of the same vote or comment, so the order between the two does not matter.

use std::collections::BTreeMap;

use crate::control::ports::FeedbackChange;
use crate::domain::feedback::FeedbackPart;
use crate::domain::ids::FlagName;

/// Kinds of changes, those of a flag that are to be written first at the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Gone,
    Began,
    Vote,
    Comment,
}

/// Flag, kind, number.
type Place = (FlagName, Kind, u64);

/// What puts something in.
#[derive(Debug)]
struct Insertion {
    /// Its place among all, in the order they came.
    turn: u64,
    part: FeedbackPart,
    /// Whether it was to be written once already, so that the file may have it whatever was said.
    is_tried: bool,
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct WaitingFeedback {
    removals: BTreeMap<Place, FeedbackPart>,
    insertions: BTreeMap<Place, Insertion>,
    by_turn: BTreeMap<u64, Place>,
    turns: u64,
}

impl WaitingFeedback {
    pub(super) fn is_empty(&self) -> bool {
        self.removals.is_empty() && self.insertions.is_empty()
    }

    /// Whether something waits to be taken out of the file.
    pub(super) fn has_removals(&self) -> bool {
        !self.removals.is_empty()
    }

    /// Adds changes, and drops the oldest of what is to be put in where more than `max` would wait; says how many.
    pub(super) fn add(&mut self, changes: Vec<FeedbackChange>, max: usize) -> u64 {
        for change in changes {
            self.push(change, false);
        }
        let excess = (self.removals.len() + self.insertions.len()).saturating_sub(max);
        let mut dropped = 0;
        while dropped < excess
            && let Some((_, place)) = self.by_turn.pop_first()
        {
            self.insertions.remove(&place);
            dropped += 1;
        }
        dropped as u64
    }

    /// Puts back what could not be written, before what has come since.
    pub(super) fn put_back(&mut self, changes: Vec<FeedbackChange>) {
        let newer = std::mem::take(self);
        for change in changes {
            self.push(change, true);
        }
        let Self {
            removals,
            mut insertions,
            by_turn,
            ..
        } = newer;
        for ((flag, _, _), part) in removals {
            self.push(FeedbackChange { flag, part }, true);
        }
        for place in by_turn.into_values() {
            if let Some(Insertion { part, is_tried, .. }) = insertions.remove(&place) {
                let flag = place.0;
                self.push(FeedbackChange { flag, part }, is_tried);
            }
        }
    }

    /// Takes what is to be taken out of the file.
    pub(super) fn take_removals(&mut self) -> Vec<FeedbackChange> {
        let removals = std::mem::take(&mut self.removals).into_iter();
        removals
            .map(|((flag, _, _), part)| FeedbackChange { flag, part })
            .collect()
    }

    /// Takes everything, in an order in which it can be written.
    pub(super) fn take(&mut self) -> Vec<FeedbackChange> {
        let mut changes = self.take_removals();
        let by_turn = std::mem::take(&mut self.by_turn);
        let mut insertions = std::mem::take(&mut self.insertions);
        changes.extend(by_turn.into_values().filter_map(|place| {
            let part = insertions.remove(&place)?.part;
            let flag = place.0;
            Some(FeedbackChange { flag, part })
        }));
        changes
    }

    fn push(&mut self, change: FeedbackChange, is_tried: bool) {
        let FeedbackChange { flag, part } = change;
        let (kind, number, is_removal) = match &part {
            FeedbackPart::Gone => {
                self.clear(&flag, [Kind::Gone, Kind::Comment]);
                (Kind::Gone, 0, true)
            }
            FeedbackPart::Began(_) => {
                self.clear(&flag, [Kind::Began, Kind::Vote]);
                (Kind::Began, 0, true)
            }
            FeedbackPart::Vote(voter, vote) => (Kind::Vote, *voter, vote.is_none()),
            FeedbackPart::Comment(number, comment) => (Kind::Comment, *number, comment.is_none()),
        };
        let place = (flag, kind, number);
        let earlier = self.remove_insertion(&place);
        if !is_removal {
            self.turns += 1;
            self.by_turn.insert(self.turns, place.clone());
            let insertion = Insertion {
                turn: self.turns,
                part,
                is_tried,
            };
            self.insertions.insert(place, insertion);
            return;
        }
        // A comment is written once, so one that still waits is not in the file. While the disk is full, comments
        // come and go for as long as that lasts.
        let never_was = kind == Kind::Comment && earlier.is_some_and(|earlier| !earlier.is_tried);
        if !never_was {
            self.removals.insert(place, part);
        }
    }

    fn remove_insertion(&mut self, place: &Place) -> Option<Insertion> {
        let removed = self.insertions.remove(place)?;
        self.by_turn.remove(&removed.turn);
        Some(removed)
    }

    /// Forgets what a later change of a flag covers, from one kind to another.
    fn clear(&mut self, flag: &FlagName, [first, last]: [Kind; 2]) {
        let covered = (flag.clone(), first, 0)..=(flag.clone(), last, u64::MAX);
        let removals = self.removals.range(covered.clone());
        for place in removals.map(|(place, _)| place.clone()).collect::<Vec<_>>() {
            self.removals.remove(&place);
        }
        let insertions = self.insertions.range(covered);
        for place in insertions
            .map(|(place, _)| place.clone())
            .collect::<Vec<_>>()
        {
            self.remove_insertion(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::feedback::{Comment, SavedFeedback, Shown, Tried, Vote};
    use crate::domain::rollout::Release;
    use crate::domain::testing::name;
    use crate::domain::variant::Variant;

    const PLENTY: usize = 1_000;

    fn tried(attempt: u32) -> Tried {
        Tried {
            release: Release {
                revision: "1".to_owned(),
                stable: name("v1"),
                canary: name("v2"),
            },
            attempt,
        }
    }

    fn vote(voter: u64, comment: u64) -> FeedbackPart {
        let vote = Vote {
            number: voter,
            rating: 3.try_into().unwrap(),
            shown: Shown {
                variant: Variant::Canary,
                group: None,
            },
            caller: "ann".into(),
            source: None,
            comment: Some(comment),
            told: None,
        };
        FeedbackPart::Vote(voter, Some(vote))
    }

    fn comment(number: u64) -> FeedbackPart {
        let comment = Comment {
            number,
            at_unix_ms: 5,
            revision: "1".to_owned(),
            caller: "ann".into(),
            rating: 3.try_into().unwrap(),
            variant: Variant::Canary,
            group: None,
            text: number.to_string(),
        };
        FeedbackPart::Comment(number, Some(comment))
    }

    fn of(flag: &str, part: FeedbackPart) -> FeedbackChange {
        let flag = name(flag);
        FeedbackChange { flag, part }
    }

    fn parts(changes: Vec<FeedbackChange>) -> Vec<FeedbackPart> {
        changes.into_iter().map(|change| change.part).collect()
    }

    #[test]
    fn what_takes_something_out_is_never_dropped_however_much_comes_after_it() {
        let mut waiting = WaitingFeedback::default();
        let out = [
            FeedbackPart::Comment(7, None),
            FeedbackPart::Vote(7, None),
            FeedbackPart::Began(tried(2)),
            FeedbackPart::Gone,
        ];
        let flags = ["a", "b", "c", "d"];
        let removals = flags
            .into_iter()
            .zip(out)
            .map(|(flag, part)| of(flag, part));
        let removals: Vec<_> = removals.collect();
        assert_eq!(waiting.add(removals.clone(), 6), 0);
        let votes = (0..10).map(|voter| of("e", vote(voter, 0))).collect();
        assert_eq!(waiting.add(votes, 6), 8, "the oldest votes are");
        let kept = [removals, vec![of("e", vote(8, 0)), of("e", vote(9, 0))]];
        assert_eq!(waiting.take(), kept.concat());
        // Nothing else is dropped where they alone are too many.
        let out = (0..10).map(|voter| of("a", FeedbackPart::Vote(voter, None)));
        assert_eq!(waiting.add(out.collect(), 6), 0);
        assert_eq!(waiting.take_removals().len(), 10);
        assert!(waiting.is_empty());
    }

    #[test]
    fn a_comment_that_came_and_went_leaves_nothing_unless_the_file_may_have_it() {
        let mut waiting = WaitingFeedback::default();
        let gone = || of("a", FeedbackPart::Comment(1, None));
        waiting.add(vec![of("a", comment(1)), gone()], PLENTY);
        assert!(waiting.is_empty());
        waiting.add(vec![of("a", comment(1))], PLENTY);
        let taken = waiting.take();
        waiting.put_back(taken);
        waiting.add(vec![gone()], PLENTY);
        assert_eq!(waiting.take(), [gone()]);
        // A vote may have changed one that the file has.
        let gone = FeedbackPart::Vote(1, None);
        waiting.add(vec![of("a", vote(1, 2)), of("a", gone.clone())], PLENTY);
        assert_eq!(parts(waiting.take()), [gone]);
    }

    #[test]
    fn who_votes_anew_after_being_forgotten_is_forgotten_first() {
        let mut waiting = WaitingFeedback::default();
        let gone = FeedbackPart::Vote(1, None);
        waiting.add(vec![of("a", gone.clone()), of("a", vote(1, 5))], PLENTY);
        let removals = parts(waiting.take_removals());
        assert_eq!(removals, std::slice::from_ref(&gone));
        assert!(!waiting.has_removals() && !waiting.is_empty());
        waiting.put_back(vec![of("a", gone.clone())]);
        assert_eq!(parts(waiting.take()), [gone, vote(1, 5)]);
    }

    #[derive(Clone, Debug)]
    enum Act {
        Add(bool, FeedbackPart),
        /// Takes everything, or only what goes; whether it could be written.
        Write(bool, bool),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let part = prop_oneof![
            1 => Just(FeedbackPart::Gone),
            1 => (1..4_u32).prop_map(|attempt| FeedbackPart::Began(tried(attempt))),
            4 => (0..3_u64, 0..9_u64).prop_map(|(voter, comment)| vote(voter, comment)),
            2 => (0..3_u64).prop_map(|voter| FeedbackPart::Vote(voter, None)),
            4 => Just(comment(0)),
            2 => (0..9_u64).prop_map(|number| FeedbackPart::Comment(number, None)),
        ];
        let act = prop_oneof![
            4 => (any::<bool>(), part).prop_map(|(flag, part)| Act::Add(flag, part)),
            1 => any::<(bool, bool)>().prop_map(|(all, works)| Act::Write(all, works)),
        ];
        prop::collection::vec(act, 1..60)
    }

    type Saved = BTreeMap<FlagName, SavedFeedback>;

    fn apply(saved: &mut Saved, change: FeedbackChange) {
        saved.entry(change.flag).or_default().apply(change.part);
        saved.retain(|_, saved| *saved != SavedFeedback::default());
    }

    proptest! {
        /// Whatever is written when, and fails, in the end the file has what all changes one after the other make.
        /// A write that is said to have failed may have been done all the same.
        #[test]
        fn what_is_written_in_the_end_is_what_was_said(acts in acts(), is_done in any::<u64>()) {
            let mut waiting = WaitingFeedback::default();
            let (mut expected, mut written) = (Saved::new(), Saved::new());
            // Comments are numbered in turn.
            let mut numbers = 0;
            for (step, act) in acts.into_iter().enumerate() {
                match act {
                    Act::Add(flag, mut part) => {
                        if let FeedbackPart::Comment(_, Some(_)) = part {
                            part = comment(numbers);
                            numbers += 1;
                        }
                        let change = of(if flag { "a" } else { "b" }, part);
                        apply(&mut expected, change.clone());
                        waiting.add(vec![change], PLENTY);
                    }
                    Act::Write(all, works) => {
                        let changes = if all { waiting.take() } else { waiting.take_removals() };
                        if works || is_done >> (step % 64) & 1 == 1 {
                            changes.iter().for_each(|change| apply(&mut written, change.clone()));
                        }
                        if !works {
                            waiting.put_back(changes);
                        }
                    }
                }
            }
            let rest = waiting.take();
            rest.into_iter().for_each(|change| apply(&mut written, change));
            prop_assert_eq!(written, expected);
        }

        /// Once what goes is written, the file has nothing that was said to be gone.
        #[test]
        fn what_goes_needs_nothing_else_to_be_written(acts in acts()) {
            let mut waiting = WaitingFeedback::default();
            let (mut expected, mut written) = (Saved::new(), Saved::new());
            let mut numbers = 0;
            for act in acts {
                let Act::Add(flag, mut part) = act else {
                    let rest = waiting.take();
                    rest.into_iter().for_each(|change| apply(&mut written, change));
                    continue;
                };
                if let FeedbackPart::Comment(_, Some(_)) = part {
                    part = comment(numbers);
                    numbers += 1;
                }
                let change = of(if flag { "a" } else { "b" }, part);
                apply(&mut expected, change.clone());
                waiting.add(vec![change], PLENTY);
            }
            let removals = waiting.take_removals();
            removals.into_iter().for_each(|change| apply(&mut written, change));
            for (flag, saved) in &written {
                let expected = expected.get(flag).cloned().unwrap_or_default();
                prop_assert!(saved.votes.keys().all(|voter| expected.votes.contains_key(voter)));
                let mut comments = saved.comments.keys();
                prop_assert!(comments.all(|number| expected.comments.contains_key(number)));
            }
        }
    }
}
