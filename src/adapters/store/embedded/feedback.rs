//! Votes and comments in the file: each an entry of its own, so that one more vote is one more entry.

use std::collections::{BTreeMap, HashSet};

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};
use serde::Serialize;

use crate::control::ports::FeedbackChange;
use crate::domain::feedback::{FeedbackPart, SavedFeedback};
use crate::domain::ids::FlagName;

use super::fault::Fault;

/// Flag, kind, number -> JSON. Has come later than the rest, so an older file has none.
pub(super) const FEEDBACK: TableDefinition<'_, (&str, u8, u64), &[u8]> =
    TableDefinition::new("feedback");

/// What votes are on; number 0.
const TRIED: u8 = 0;
/// A vote, by its caller's number.
const VOTE: u8 = 1;
/// A comment, by its number.
const COMMENT: u8 = 2;

/// Writes changes in their order.
pub(super) fn write(
    transaction: &WriteTransaction,
    changes: &[FeedbackChange],
) -> Result<(), Fault> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(FEEDBACK)?;
    let mut began = Vec::new();
    for FeedbackChange { flag, part } in changes {
        let flag = flag.as_str();
        let mut put = |key: (&str, u8, u64), bytes: Option<Vec<u8>>| match bytes {
            Some(bytes) => table.insert(key, bytes.as_slice()).map(drop),
            None => table.remove(key).map(drop),
        };
        match part {
            FeedbackPart::Gone => {
                table.retain_in((flag, TRIED, 0)..=(flag, COMMENT, u64::MAX), |_, _| false)?;
            }
            FeedbackPart::Began(tried) => {
                began.push(flag);
                put((flag, TRIED, 0), bytes(Some(tried))?)?;
            }
            FeedbackPart::Vote(voter, vote) => {
                put((flag, VOTE, *voter), bytes(vote.as_ref())?)?;
            }
            FeedbackPart::Comment(number, comment) => {
                put((flag, COMMENT, *number), bytes(comment.as_ref())?)?;
            }
        }
    }
    if began.is_empty() {
        return Ok(());
    }
    // Votes that were written before are gone, and those of these changes are not.
    let kept = votes_of_the_latest(changes);
    for flag in began {
        let all = (flag, VOTE, 0)..=(flag, VOTE, u64::MAX);
        table.retain_in(all, |(_, _, voter), _| kept.contains(&(flag, voter)))?;
    }
    Ok(())
}

/// The votes among changes that are on what votes are on after all of them.
fn votes_of_the_latest(changes: &[FeedbackChange]) -> HashSet<(&str, u64)> {
    let mut votes = HashSet::new();
    for FeedbackChange { flag, part } in changes {
        let flag = flag.as_str();
        match part {
            FeedbackPart::Began(_) | FeedbackPart::Gone => {
                votes.retain(|(other, _)| *other != flag);
            }
            FeedbackPart::Vote(voter, Some(_)) => {
                votes.insert((flag, *voter));
            }
            FeedbackPart::Vote(..) | FeedbackPart::Comment(..) => {}
        }
    }
    votes
}

fn bytes(value: Option<&impl Serialize>) -> Result<Option<Vec<u8>>, Fault> {
    Ok(value.map(serde_json::to_vec).transpose()?)
}

/// Reads everything.
pub(super) fn read(
    transaction: &ReadTransaction,
) -> Result<BTreeMap<FlagName, SavedFeedback>, Fault> {
    let table = match transaction.open_table(FEEDBACK) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    let mut all = BTreeMap::<FlagName, SavedFeedback>::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        let (flag, kind, number) = key.value();
        let flag = flag.parse::<FlagName>();
        let flag = flag.map_err(|error| Fault::Other(error.to_string()))?;
        let saved = all.entry(flag).or_default();
        let bytes = value.value();
        match kind {
            TRIED => saved.tried = Some(serde_json::from_slice(bytes)?),
            VOTE => {
                saved.votes.insert(number, serde_json::from_slice(bytes)?);
            }
            COMMENT => {
                saved
                    .comments
                    .insert(number, serde_json::from_slice(bytes)?);
            }
            _ => {
                let problem = format!("there is feedback of kind {kind}, number {number}");
                return Err(Fault::Other(problem));
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use redb::ReadableDatabase;
    use redb::backends::InMemoryBackend;

    use super::*;
    use crate::domain::feedback::{Comment, Shown, Tried, Vote};
    use crate::domain::rollout::Release;
    use crate::domain::testing::name;
    use crate::domain::variant::Variant;
    use crate::runtime::clock;

    fn tried(revision: &str) -> FeedbackPart {
        FeedbackPart::Began(Tried {
            release: Release {
                revision: revision.to_owned(),
                stable: name("v1"),
                canary: name("v2"),
            },
            attempt: 1,
        })
    }

    fn vote(voter: u64, rating: u8) -> FeedbackPart {
        let vote = Vote {
            number: voter,
            rating: rating.try_into().unwrap(),
            shown: Shown {
                variant: Variant::Canary,
                group: Some(name("beta")),
            },
            caller: "sha256:0".into(),
            source: Some(7),
            comment: Some(1),
            told: Some(3),
        };
        FeedbackPart::Vote(voter, Some(vote))
    }

    fn comment(number: u64) -> FeedbackPart {
        let comment = Comment {
            number,
            at_unix_ms: 5,
            revision: "1".to_owned(),
            caller: "sha256:0".into(),
            rating: 2.try_into().unwrap(),
            variant: Variant::Stable,
            group: None,
            text: "slow".to_owned(),
        };
        FeedbackPart::Comment(number, Some(comment))
    }

    #[test]
    fn many_votes_on_something_else_are_written_in_a_moment() {
        const MANY: u64 = 40_000;
        let backend = InMemoryBackend::new();
        let database = redb::Database::builder().create_with_backend(backend);
        let database = database.unwrap();
        let commit = |parts: Vec<FeedbackPart>| {
            let changes = parts.into_iter().map(|part| FeedbackChange {
                flag: name("orders"),
                part,
            });
            let transaction = database.begin_write().unwrap();
            write(&transaction, &changes.collect::<Vec<_>>()).unwrap();
            transaction.commit().unwrap();
        };
        let votes = |first: u64| (first..first + MANY).map(|voter| vote(voter, 1));
        let took = |parts: Vec<FeedbackPart>| {
            let start = clock::monotonic();
            commit(parts);
            start.elapsed()
        };
        let first = took(votes(0).collect());
        let second = took([tried("2")].into_iter().chain(votes(MANY)).collect());
        // Twice as much to do; were each compared with each, it would be some twenty times as long.
        assert!(second < 8 * first, "{second:?} after {first:?}");
        let mut all = read(&database.begin_read().unwrap()).unwrap();
        let saved = all.remove(&name("orders")).unwrap();
        assert!(saved.votes.into_keys().eq(MANY..2 * MANY));
    }

    #[test]
    fn what_is_read_is_what_was_written_whatever_came_in_one_commit() {
        let backend = InMemoryBackend::new();
        let database = redb::Database::builder().create_with_backend(backend);
        let database = database.unwrap();
        let read_all = || read(&database.begin_read().unwrap()).unwrap();
        // An older file has none.
        database.begin_write().unwrap().commit().unwrap();
        assert!(read_all().is_empty());
        let mut expected = BTreeMap::<FlagName, SavedFeedback>::new();
        let gone = FeedbackPart::Vote(2, None);
        let commits = [
            vec![tried("1"), vote(1, 5), vote(2, 1), comment(1)],
            vec![vote(1, 4), gone, FeedbackPart::Comment(1, None), comment(2)],
            vec![vote(3, 1), tried("2"), vote(1, 2), vote(4, 3)],
            vec![tried("3"), vote(5, 3), tried("4")],
            vec![vote(5, 3), FeedbackPart::Gone, tried("5"), vote(6, 1)],
            vec![vote(7, 2), comment(3), FeedbackPart::Gone],
        ];
        for parts in commits {
            let changes = parts.into_iter().flat_map(|part| {
                ["orders", "cart"].map(|flag| FeedbackChange {
                    flag: name(flag),
                    part: part.clone(),
                })
            });
            let changes: Vec<_> = changes.collect();
            let transaction = database.begin_write().unwrap();
            write(&transaction, &changes).unwrap();
            transaction.commit().unwrap();
            for FeedbackChange { flag, part } in changes {
                expected.entry(flag).or_default().apply(part);
            }
            expected.retain(|_, saved| *saved != SavedFeedback::default());
            assert_eq!(read_all(), expected);
        }
        assert!(expected.is_empty());
    }
}
