//! The features of many callers, looked up by key or pseudonym.

use std::hash::{BuildHasher, RandomState};

use crate::domain::segment::{FeatureTable, SegmentIndex, SegmentModel};

/// Marks a slot without a row.
const EMPTY: u32 = u32::MAX;

/// Marks a row that is in no segment; a model has at most [`super::SEGMENTS_MAX`].
const NOWHERE: SegmentIndex = SegmentIndex(u16::MAX);

/// The name of a column of pseudonyms.
pub const PSEUDONYMS: &str = "pseudonym";

/// What a table calls callers by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// Their keys.
    Key,
    /// The pseudonyms that a Serin gives them, where the column is called [`PSEUDONYMS`].
    Pseudonym,
}

/// The most callers of a table: ten times the million that is meant to fit.
pub const CALLERS_MAX: usize = 10_000_000;

/// The features of many callers, and which segment each is in.
///
/// What a caller is in is found out when the table is made, so that a request costs one look-up;
/// the features are kept to say why. All of it lies in a few large pieces and not in one for each
/// caller: a worker that happens to let go of the last table before a new one is not held up by
/// giving back a million pieces.
#[derive(Clone, Debug)]
pub struct CallerTable {
    named: Named,
    /// All keys or pseudonyms, one behind the other.
    keys: Box<str>,
    /// Where each row's key ends.
    ends: Box<[u32]>,
    /// Rows at the place that the hash of their key says, or at the next one that is free. At most
    /// half of the places are taken; their number is a power of two.
    slots: Box<[u32]>,
    hasher: RandomState,
    segments: Box<[SegmentIndex]>,
    features: usize,
    values: Box<[f64]>,
}

/// Why features of callers are no table to look callers up in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitTable {
    /// There are no keys.
    #[error(
        "there is no column of keys; name one `key` or `caller`, or `pseudonym` where it has those"
    )]
    NoKeys,
    /// There are too many callers, or their keys are too long together.
    #[error(
        "there are more than {CALLERS_MAX} callers, or their keys are longer than 4 GiB together"
    )]
    TooLarge,
}

impl CallerTable {
    /// Classifies all callers of a table, whose features are the model's.
    ///
    /// # Errors
    /// Where callers cannot be looked up in it.
    pub fn new(table: FeatureTable, model: &SegmentModel) -> Result<Self, UnfitTable> {
        let keys = table.keys.as_ref().ok_or(UnfitTable::NoKeys)?;
        let named = match &*keys.name {
            PSEUDONYMS => Named::Pseudonym,
            _ => Named::Key,
        };
        let rows = keys.values.len();
        let length = keys.values.iter().map(|key| key.len()).sum::<usize>();
        if rows > CALLERS_MAX || u32::try_from(length).is_err() {
            return Err(UnfitTable::TooLarge);
        }
        let mut text = String::with_capacity(length);
        let mut ends = Vec::with_capacity(rows);
        for key in &keys.values {
            text.push_str(key);
            ends.push(u32::try_from(text.len()).unwrap_or(EMPTY));
        }
        let segments = (0..rows).map(|row| model.segment(table.row(row)).unwrap_or(NOWHERE));
        let mut made = Self {
            named,
            keys: text.into(),
            ends: ends.into(),
            slots: vec![EMPTY; (rows * 2).next_power_of_two()].into(),
            hasher: RandomState::new(),
            segments: segments.collect(),
            features: table.features.len(),
            values: table.values.into(),
        };
        for row in 0..rows {
            let slot = made.slot(made.key(row));
            made.slots[slot] = u32::try_from(row).unwrap_or(EMPTY);
        }
        Ok(made)
    }

    /// What it calls callers by.
    pub const fn named(&self) -> Named {
        self.named
    }

    /// How many callers it has.
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether it has no callers.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The segment of a caller, where it has one.
    pub fn segment(&self, key: &str) -> Option<SegmentIndex> {
        let segment = self.segments[self.row(key)?];
        (segment != NOWHERE).then_some(segment)
    }

    /// The features of a caller.
    pub fn features(&self, key: &str) -> Option<&[f64]> {
        let row = self.row(key)?;
        Some(&self.values[row * self.features..][..self.features])
    }

    fn row(&self, key: &str) -> Option<usize> {
        let row = self.slots[self.slot(key)];
        (row != EMPTY).then_some(row as usize)
    }

    /// The place of a key, or the one that it would have.
    fn slot(&self, key: &str) -> usize {
        let mask = self.slots.len() - 1;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "some bits of a hash are as good as others"
        )]
        let mut slot = self.hasher.hash_one(key) as usize & mask;
        loop {
            match self.slots[slot] {
                EMPTY => return slot,
                row if self.key(row as usize) == key => return slot,
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    fn key(&self, row: usize) -> &str {
        let begin = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.keys[begin as usize..self.ends[row] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::segment::model::tests::two_segments;
    use crate::domain::segment::{Columns, Method};

    fn made(text: &str) -> Result<CallerTable, UnfitTable> {
        let model = SegmentModel::new(two_segments(Method::Clusters)).unwrap();
        let table = FeatureTable::read(text, &Columns::default()).unwrap();
        CallerTable::new(table, &model)
    }

    #[test]
    fn each_of_many_callers_is_found_and_nobody_else() {
        let rows: String = (0..5_000)
            .map(|row| format!("u-{row},{}\n", row % 101))
            .collect();
        let table = made(&format!("key,rate\n{rows}")).unwrap();
        assert_eq!(table.len(), 5_000);
        for row in 0..5_000_u32 {
            let key = format!("u-{row}");
            let rate = f64::from(row % 101);
            assert_eq!(table.features(&key), Some(&[rate][..]), "{key}");
            let busy = u16::from(rate > 50.0);
            assert_eq!(table.segment(&key), Some(SegmentIndex(busy)), "{key}");
        }
        for key in ["", "u-", "u-5000", "u-01", "key", "u-0u-1"] {
            assert_eq!(table.segment(key), None, "{key}");
        }
    }

    #[test]
    fn the_column_says_what_callers_are_called_by_and_without_one_they_cannot_be_looked_up() {
        assert_eq!(made("rate\n1\n").unwrap_err(), UnfitTable::NoKeys);
        for (column, named) in [
            ("key", Named::Key),
            ("caller", Named::Key),
            ("pseudonym", Named::Pseudonym),
        ] {
            let table = made(&format!("{column},rate\nab12,1\n")).unwrap();
            assert_eq!(table.named(), named, "{column}");
            assert_eq!(table.segment("ab12"), Some(SegmentIndex(0)));
        }
    }

    #[test]
    fn a_row_that_no_segment_is_near_has_features_and_no_segment() {
        let table = made("key,rate\nann,1e200\nbob,1\n").unwrap();
        assert_eq!(table.segment("ann"), None);
        assert_eq!(table.features("ann"), Some(&[1e200][..]));
        assert_eq!(table.segment("bob"), Some(SegmentIndex(0)));
    }
}
