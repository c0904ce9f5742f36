//! The features of many callers, looked up by key or pseudonym.

use crate::domain::key_index::{KeyIndex, TooManyKeys};
use crate::domain::segment::{FeatureTable, SegmentIndex, SegmentModel};

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
/// the features are kept to say why. Like the keys they lie in one piece and not in one for each
/// caller, so that a table is given back at once.
#[derive(Clone, Debug)]
pub struct CallerTable {
    named: Named,
    /// All keys or pseudonyms; the place of each is its row.
    keys: KeyIndex,
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
        if rows > CALLERS_MAX {
            return Err(UnfitTable::TooLarge);
        }
        let keys = KeyIndex::new(keys.values.iter().map(|key| &**key));
        let keys = keys.map_err(|TooManyKeys| UnfitTable::TooLarge)?;
        let segments = (0..rows).map(|row| model.segment(table.row(row)).unwrap_or(NOWHERE));
        Ok(Self {
            named,
            keys,
            segments: segments.collect(),
            features: table.features.len(),
            values: table.values.into(),
        })
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
        let segment = self.segments[self.keys.place(key)?];
        (segment != NOWHERE).then_some(segment)
    }

    /// The features of a caller.
    pub fn features(&self, key: &str) -> Option<&[f64]> {
        let row = self.keys.place(key)?;
        Some(&self.values[row * self.features..][..self.features])
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
