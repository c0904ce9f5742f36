//! Tests of the votes on one release.

use std::time::Duration;

use super::*;
use crate::domain::testing::name;
use crate::domain::variant::PerVariant;

fn at(seconds: u64) -> crate::domain::timestamp::Timestamp {
    crate::domain::timestamp::Timestamp::since_start(Duration::from_secs(seconds))
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

fn book() -> FeedbackBook {
    let mut book = FeedbackBook::default();
    book.begin(&tried("1"), 20);
    book
}

fn ballot(caller: u64, variant: Variant, rating: u8) -> Ballot {
    Ballot {
        rating: rating.try_into().unwrap(),
        shown: Shown {
            variant,
            group: None,
        },
        caller: format!("sha256:{caller}").into(),
        source: None,
        comment: None,
        by: None,
        at_unix_ms: caller,
    }
}

fn ratings(told: &[Rated]) -> Vec<(Variant, u8)> {
    let pair = |rated: &Rated| (rated.shown.variant, rated.rating.into());
    told.iter().map(pair).collect()
}

const STABLE: Variant = Variant::Stable;
const CANARY: Variant = Variant::Canary;

#[test]
fn a_caller_has_one_vote_and_the_last_counts() {
    let mut book = book();
    let counted: Vec<_> = [1, 1, 5]
        .map(|rating| book.rate(7, ballot(7, CANARY, rating), at(0)).unwrap())
        .into();
    assert_eq!(
        counted,
        [Counted::Recorded, Counted::Unchanged, Counted::Changed]
    );
    assert_eq!(book.raters().canary, [0, 0, 0, 0, 1]);
    book.rate(8, ballot(8, STABLE, 4), at(0)).unwrap();
    // What was changed before the judge was told is told as it is, once.
    assert_eq!(ratings(&book.take_due(at(1))), [(STABLE, 4), (CANARY, 5)]);
    assert!(book.take_changed().is_empty());
    assert!(book.take_due(at(100)).is_empty());
    // What is changed afterwards is a change, and no further vote.
    book.rate(7, ballot(7, CANARY, 2), at(2)).unwrap();
    let changed = book.take_changed();
    let [(from, to)] = &changed[..] else {
        unreachable!("{changed:?}")
    };
    let pair = [from.clone(), to.clone()];
    assert_eq!(ratings(&pair), [(CANARY, 5), (CANARY, 2)]);
    assert!(book.take_due(at(200)).is_empty());
    assert_eq!(book.raters().canary, [0, 1, 0, 0, 0]);
}

#[test]
fn a_vote_moves_with_the_caller_who_was_shown_something_else() {
    let mut book = book();
    book.rate(7, ballot(7, STABLE, 5), at(0)).unwrap();
    book.rate(7, ballot(7, CANARY, 1), at(0)).unwrap();
    assert_eq!(
        (book.raters().stable, book.raters().canary),
        ([0; 5], [1, 0, 0, 0, 0])
    );
    let told = book.take_due(at(60));
    assert_eq!(ratings(&told), [(CANARY, 1)], "and not twice");
}

#[test]
fn another_release_is_rated_anew_and_comments_stay() {
    let mut book = book();
    let comment = Some("slow".to_owned());
    let said = Ballot {
        comment,
        ..ballot(7, CANARY, 1)
    };
    book.rate(7, said, at(0)).unwrap();
    book.begin(&tried("1"), 20);
    assert_eq!(book.raters().canary, [1, 0, 0, 0, 0], "it goes on");
    book.begin(&tried("2"), 20);
    assert_eq!(book.raters().canary, [0; 5]);
    assert!(book.take_due(at(100)).is_empty());
    let comments = book.comments(None, 9);
    assert_eq!(
        (comments[0].revision.as_str(), comments[0].text.as_str()),
        ("1", "slow")
    );
    assert_eq!(
        book.rate(7, ballot(7, CANARY, 4), at(0)),
        Ok(Counted::Recorded)
    );
}

#[test]
fn nobody_takes_the_place_of_another_and_whoever_moves_on_makes_no_room() {
    let mut book = book();
    let from = |caller, source| Ballot {
        source: Some(source),
        ..ballot(caller, CANARY, 1)
    };
    // Another caller of the same number, and a made-up identity in the place of one that was vouched for.
    book.rate(1, ballot(1, CANARY, 5), at(0)).unwrap();
    assert_eq!(
        book.rate(1, ballot(2, CANARY, 1), at(1)),
        Err(NotCounted::Foreign)
    );
    assert_eq!(book.rate(1, from(1, 3), at(1)), Err(NotCounted::Foreign));
    assert_eq!(book.raters().canary, [0, 0, 0, 0, 1]);
    let all = |book: &mut FeedbackBook, source, first: u64| {
        let callers = first..first + 10;
        let counted =
            callers.filter(|caller| book.rate(*caller, from(*caller, source), at(2)).is_ok());
        counted.count()
    };
    assert_eq!(all(&mut book, 3, 400), 4);
    for caller in 400..404 {
        let moved = Ballot {
            rating: ballot(0, CANARY, 2).rating,
            ..from(caller, 4)
        };
        assert_eq!(book.rate(caller, moved, at(3)), Ok(Counted::Changed));
    }
    assert_eq!(all(&mut book, 4, 6_000), 0, "those who came count there");
    assert_eq!(all(&mut book, 3, 5_000), 4, "and no more where they were");
}

#[test]
fn who_guesses_the_cookies_of_others_changes_no_more_votes_than_it_could_hand_in() {
    let mut book = book();
    let from = |caller, source, rating| Ballot {
        source: Some(source),
        ..ballot(caller, CANARY, rating)
    };
    for caller in 0..30 {
        let source = u16::try_from(caller).unwrap();
        book.rate(caller, from(caller, source, 5), at(0)).unwrap();
    }
    let changed = (0..30).filter(|caller| book.rate(*caller, from(*caller, 99, 1), at(1)).is_ok());
    assert_eq!(changed.count(), 6, "a fifth");
    assert_eq!(book.raters().canary, [6, 0, 0, 0, 24]);
}

#[test]
fn a_caller_that_is_vouched_for_has_its_vote_back_for_good() {
    let mut book = book();
    let forged = Ballot {
        source: Some(3),
        ..ballot(7, CANARY, 1)
    };
    book.rate(7, forged.clone(), at(0)).unwrap();
    let own = book.rate(7, ballot(7, CANARY, 5), at(1));
    assert_eq!(own, Ok(Counted::Changed));
    assert_eq!(book.rate(7, forged, at(2)), Err(NotCounted::Foreign));
    let others = (0..4).map(|caller| Ballot {
        source: Some(3),
        ..ballot(100 + caller, CANARY, 1)
    });
    for (caller, other) in (100..).zip(others) {
        book.rate(caller, other, at(3)).unwrap();
    }
    assert_eq!(book.raters().canary, [4, 0, 0, 0, 1]);
}

#[test]
fn few_callers_of_one_source_and_no_more_than_there_is_room_for_are_counted() {
    let mut book = book();
    let of_source = |caller| Ballot {
        source: Some(3),
        ..ballot(caller, CANARY, 1)
    };
    let counted = (0..2_000).map(|caller| book.rate(caller, of_source(caller), at(0)));
    let counted = counted.filter(Result::is_ok).count();
    assert_eq!(counted, 4);
    assert_eq!(
        book.rate(0, of_source(0), at(0)),
        Ok(Counted::Unchanged),
        "a caller that is counted may go on"
    );
    for caller in 4..50_010 {
        let counted = book.rate(caller, ballot(caller, STABLE, 5), at(0));
        let is_counted = caller < RATERS_MAX as u64;
        assert_eq!(counted.is_ok(), is_counted, "{caller}");
    }
    assert_eq!(
        book.rate(99_999, ballot(99_999, STABLE, 5), at(0)),
        Err(NotCounted::Full)
    );
}

#[test]
fn a_caller_of_a_full_source_stays_with_the_arm_that_it_rated() {
    let mut book = book();
    let from = |caller, variant| Ballot {
        source: Some(3),
        ..ballot(caller, variant, 1)
    };
    for caller in 0..4 {
        book.rate(caller, from(caller, CANARY), at(0)).unwrap();
    }
    for caller in 4..8 {
        book.rate(caller, from(caller, STABLE), at(0)).unwrap();
        let moved = book.rate(caller, from(caller, CANARY), at(1));
        assert_eq!(moved, Err(NotCounted::Source));
    }
    assert_eq!(book.raters().canary, [4, 0, 0, 0, 0]);
    assert_eq!(book.raters().stable, [4, 0, 0, 0, 0]);
}

#[test]
fn a_vote_that_goes_to_and_fro_is_one_change_when_the_judge_is_told() {
    let mut book = book();
    book.rate(7, ballot(7, CANARY, 1), at(0)).unwrap();
    book.take_due(at(60));
    for turn in 0..1_000 {
        let rating = if turn % 2 == 0 { 5 } else { 2 };
        book.rate(7, ballot(7, CANARY, rating), at(61)).unwrap();
    }
    let changed = book.take_changed();
    let each: Vec<_> = changed
        .iter()
        .map(|(from, to)| (u8::from(from.rating), u8::from(to.rating)))
        .collect();
    assert_eq!(each, [(1, 2)]);
    assert!(book.take_changed().is_empty());
}

#[test]
fn comments_are_bounded_and_go_with_their_vote() {
    let mut book = book();
    let says = |caller: u64, text: &str| Ballot {
        comment: Some(text.to_owned()),
        ..ballot(caller, CANARY, 1)
    };
    for caller in 0..1_010 {
        book.rate(caller, says(caller, "a"), at(0)).unwrap();
    }
    let comments = book.comments(None, usize::MAX);
    assert_eq!(comments.len(), COMMENTS_MAX);
    assert!(comments[0].number > comments[1].number, "newest first");
    let rest = book.comments(Some(comments[9].number), 2);
    assert_eq!(rest[..], comments[10..12]);
    book.rate(1_009, says(1_009, "b"), at(0)).unwrap();
    let newest = book.comments(None, 2);
    assert_eq!((&*newest[0].text, &*newest[1].text), ("b", "a"));
    assert_eq!(book.comments(None, usize::MAX).len(), COMMENTS_MAX);
}

#[test]
fn what_is_written_down_is_all_there_is_and_a_judge_is_told_what_it_does_not_know() {
    let mut book = book();
    for caller in 0..4 {
        let rating = u8::try_from(caller).unwrap() + 1;
        let variant = if caller < 3 { CANARY } else { STABLE };
        let ballot = Ballot {
            comment: (caller == 1).then(|| "text".to_owned()),
            ..ballot(caller, variant, rating)
        };
        book.rate(caller, ballot, at(0)).unwrap();
    }
    book.rate(0, ballot(0, CANARY, 5), at(0)).unwrap();
    book.forget("sha256:2");
    let mut saved = SavedFeedback::default();
    for part in book.take_unsaved() {
        saved.apply(part);
    }
    let mut restored = FeedbackBook::restore(saved);
    assert_eq!(restored.raters(), book.raters());
    assert_eq!(restored.comments(None, 9), book.comments(None, 9));
    restored.begin(&tried("1"), 20);
    let known = PerVariant {
        stable: 0,
        canary: 1,
    };
    restored.tell_anew(known, at(0));
    // The oldest of canary's is the changed one.
    assert_eq!(
        ratings(&restored.take_due(at(0))),
        [(STABLE, 4), (CANARY, 2)]
    );
    restored.tell_anew(PerVariant::default(), at(0));
    let mut told = ratings(&restored.take_due(at(0)));
    told.extend(ratings(&restored.take_due(at(60))));
    assert_eq!(told, [(STABLE, 4), (CANARY, 5), (CANARY, 2)]);
}

#[test]
fn after_a_restart_those_are_told_that_the_judge_was_not_told_in_whichever_order_they_came() {
    let mut book = book();
    let of_group = |caller, group: &str, rating| {
        let mut ballot = ballot(caller, CANARY, rating);
        ballot.shown.group = Some(name(group));
        ballot
    };
    // The first waits alone; the others, of another group, are told at once.
    book.rate(1, of_group(1, "beta", 1), at(0)).unwrap();
    for (caller, variant) in [(2, CANARY), (3, STABLE)] {
        let mut ballot = of_group(caller, "staff", 3);
        ballot.shown.variant = variant;
        book.rate(caller, ballot, at(0)).unwrap();
    }
    assert_eq!(ratings(&book.take_due(at(1))).len(), 2);
    let mut saved = SavedFeedback::default();
    book.take_unsaved()
        .into_iter()
        .for_each(|part| saved.apply(part));
    let mut restored = FeedbackBook::restore(saved);
    restored.begin(&tried("1"), 20);
    let known = PerVariant {
        stable: 1,
        canary: 1,
    };
    restored.tell_anew(known, at(0));
    assert_eq!(ratings(&restored.take_due(at(60))), [(CANARY, 1)]);
}

#[test]
fn a_forgotten_caller_leaves_nothing_behind() {
    let mut book = book();
    let said = Ballot {
        comment: Some("it is me".to_owned()),
        ..ballot(7, CANARY, 1)
    };
    book.rate(7, said, at(0)).unwrap();
    book.rate(8, ballot(8, CANARY, 1), at(0)).unwrap();
    assert_eq!(book.forget("sha256:7"), 2);
    assert_eq!(book.forget("sha256:7"), 0);
    assert_eq!(book.raters().canary, [1, 0, 0, 0, 0]);
    assert!(book.comments(None, 9).is_empty());
}

#[test]
fn what_the_judge_was_told_of_others_than_a_group_is_known() {
    let mut book = book();
    let of_group = |caller, group: &str, rating| {
        let mut ballot = ballot(caller, CANARY, rating);
        ballot.shown.group = Some(name(group));
        ballot
    };
    book.rate(1, of_group(1, "beta", 1), at(0)).unwrap();
    book.rate(2, of_group(2, "staff", 2), at(0)).unwrap();
    book.rate(3, ballot(3, CANARY, 3), at(0)).unwrap();
    assert!(book.told_of_others(&[]).is_empty(), "it was told nothing");
    assert_eq!(book.take_due(at(60)).len(), 3);
    book.rate(4, ballot(4, CANARY, 4), at(60)).unwrap();
    book.rate(3, ballot(3, CANARY, 5), at(60)).unwrap();
    let told = book.told_of_others(&[name("beta")]);
    assert_eq!(ratings(&told), [(CANARY, 2), (CANARY, 5)]);
}

#[test]
fn a_flood_of_votes_is_a_handful_of_lines() {
    let mut book = book();
    let mut lines = 0;
    for second in 0..7_200 {
        book.rate(second, ballot(second, CANARY, 3), at(second))
            .unwrap();
        if let Some(news) = book.take_news(at(second)) {
            assert!(news.recorded > 0 && news.from_callers);
            lines += 1;
        }
    }
    assert!((5..15).contains(&lines), "{lines}");
}
