//! A table of features: one row for each caller, one column of numbers for each feature.
//!
//! It is what models are trained on and what the proxy looks callers up in; read from
//! comma-separated values with a header, or put together in memory.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::domain::segment::FEATURES_MAX;
use crate::domain::segment::csv::{CsvError, CsvReader};

/// Columns with one of these names hold the callers' keys, where nothing else is said.
pub const KEY_COLUMNS: [&str; 3] = ["key", "caller", "pseudonym"];

/// How much of a value that is no number is shown.
const SHOWN_CHARS_MAX: usize = 40;

/// Which columns of a file mean what.
#[derive(Clone, Copy, Debug, Default)]
pub struct Columns<'c> {
    /// The column of keys; the first of [`KEY_COLUMNS`] that there is, where this is none.
    pub key: Option<&'c str>,
    /// The column of labels.
    pub label: Option<&'c str>,
    /// Columns to pass over.
    pub ignored: &'c [&'c str],
    /// The features to take, in this order, passing over all others; every column that is left
    /// where this is none.
    pub features: Option<&'c [&'c str]>,
}

/// Rows of features, with keys and labels where there are some.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeatureTable {
    /// The name of the column of keys, and a key for each row.
    pub keys: Option<TextColumn>,
    /// The name of the column of labels, and a label for each row.
    pub labels: Option<TextColumn>,
    /// The features' names, in the order of the columns.
    pub features: Vec<Box<str>>,
    /// Row after row, each with one number for each feature.
    pub values: Vec<f64>,
}

/// A column of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextColumn {
    /// What its header says.
    pub name: Box<str>,
    /// One text for each row.
    pub values: Vec<Box<str>>,
}

/// Where a value stands: the row, from 1 without the header, and the line of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The row, from 1.
    pub row: usize,
    /// The line of the file, from 1.
    pub line: usize,
}

impl std::fmt::Display for At {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "row {} (line {})", self.row, self.line)
    }
}

/// Why a text is no table of features.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each is")]
pub enum TableError {
    #[error("the file is empty; its first line names the columns")]
    Empty,
    #[error("there is a header and no row below it")]
    NoRows,
    #[error(transparent)]
    Csv(#[from] CsvError),
    #[error("column {number} of the header has no name")]
    NamelessColumn { number: usize },
    #[error("the header names the column `{name}` twice")]
    DuplicateColumn { name: String },
    #[error("there is no column `{name}`; {known}")]
    MissingColumn { name: String, known: String },
    #[error("no column is left that could be a feature")]
    NoFeatures,
    #[error("{found} features are more than {FEATURES_MAX}")]
    TooManyFeatures { found: usize },
    #[error("{at} has {found} fields, and the header has {expected}")]
    FieldCount {
        at: At,
        found: usize,
        expected: usize,
    },
    #[error("column `{column}`: the value in {at} is missing")]
    MissingValue { column: String, at: At },
    #[error(
        "column `{column}`: `{text}` in {at} is not a number; leave the column out, or name it as key or label"
    )]
    NotANumber {
        column: String,
        at: At,
        text: String,
    },
    #[error("column `{column}`: `{text}` in {at} is not a finite number")]
    NotFinite {
        column: String,
        at: At,
        text: String,
    },
    #[error("column `{column}`: the key in row {row} is that of an earlier row")]
    DuplicateKey { column: String, row: usize },
}

impl FeatureTable {
    /// Reads comma-separated values whose first line names the columns.
    ///
    /// # Errors
    /// With the first thing that is wrong, and its column or row.
    pub fn read(text: &str, columns: &Columns<'_>) -> Result<Self, TableError> {
        let mut reader = CsvReader::new(text);
        let mut fields = Vec::new();
        if reader.next_record(&mut fields)?.is_none() {
            return Err(TableError::Empty);
        }
        let plan = Plan::new(&fields, columns)?;
        let mut table = plan.table(&fields);
        let width = fields.len();
        let mut row = 0;
        while let Some(line) = reader.next_record(&mut fields)? {
            row += 1;
            let at = At { row, line };
            if fields.len() != width {
                let found = fields.len();
                return Err(TableError::FieldCount {
                    at,
                    found,
                    expected: width,
                });
            }
            table.push(&fields, &plan, at)?;
        }
        if row == 0 {
            return Err(TableError::NoRows);
        }
        table.has_each_key_once()?;
        Ok(table)
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        match self.features.len() {
            0 => 0,
            features => self.values.len() / features,
        }
    }

    /// The features of one row, in the order of [`Self::features`].
    pub fn row(&self, row: usize) -> &[f64] {
        let features = self.features.len();
        &self.values[row * features..][..features]
    }

    /// The rows at these places, in this order.
    pub fn select(&self, rows: &[usize]) -> Self {
        let text = |column: &TextColumn| TextColumn {
            name: column.name.clone(),
            values: rows.iter().map(|row| column.values[*row].clone()).collect(),
        };
        Self {
            keys: self.keys.as_ref().map(text),
            labels: self.labels.as_ref().map(text),
            features: self.features.clone(),
            values: rows
                .iter()
                .flat_map(|row| self.row(*row))
                .copied()
                .collect(),
        }
    }

    fn push(&mut self, fields: &[Cow<'_, str>], plan: &Plan, at: At) -> Result<(), TableError> {
        for (place, name) in plan.features.iter().zip(&self.features) {
            let value = number(&fields[*place], name, at)?;
            self.values.push(value);
        }
        for (place, column) in [(plan.key, &mut self.keys), (plan.label, &mut self.labels)] {
            if let (Some(place), Some(column)) = (place, column) {
                let text = fields[place].trim();
                if text.is_empty() {
                    let column = column.name.to_string();
                    return Err(TableError::MissingValue { column, at });
                }
                column.values.push(text.into());
            }
        }
        Ok(())
    }

    fn has_each_key_once(&self) -> Result<(), TableError> {
        let Some(keys) = &self.keys else {
            return Ok(());
        };
        let mut seen = HashSet::with_capacity(keys.values.len());
        match keys.values.iter().position(|key| !seen.insert(&**key)) {
            None => Ok(()),
            Some(place) => Err(TableError::DuplicateKey {
                column: keys.name.to_string(),
                row: place + 1,
            }),
        }
    }
}

/// Which column of a file goes where.
struct Plan {
    key: Option<usize>,
    label: Option<usize>,
    features: Vec<usize>,
}

impl Plan {
    fn new(header: &[Cow<'_, str>], columns: &Columns<'_>) -> Result<Self, TableError> {
        has_each_name_once(header)?;
        let find = |name: &str| {
            let place = header.iter().position(|column| column.trim() == name);
            place.ok_or_else(|| TableError::MissingColumn {
                name: name.to_owned(),
                known: listed(header),
            })
        };
        let label = columns.label.map(find).transpose()?;
        let key = match columns.key {
            Some(name) => Some(find(name)?),
            None => KEY_COLUMNS
                .iter()
                .find_map(|name| find(name).ok())
                .filter(|key| {
                    // A column that was asked for as something else is that.
                    let is_feature = columns
                        .features
                        .is_some_and(|names| names.contains(&header[*key].trim()));
                    Some(*key) != label && !is_feature
                }),
        };
        let ignored = columns.ignored.iter().map(|name| find(name));
        let ignored = ignored.collect::<Result<Vec<_>, _>>()?;
        let features = match columns.features {
            Some(names) => names
                .iter()
                .map(|name| find(name))
                .collect::<Result<Vec<_>, _>>()?,
            None => (0..header.len())
                .filter(|place| ![key, label].contains(&Some(*place)) && !ignored.contains(place))
                .collect(),
        };
        match features.len() {
            0 => Err(TableError::NoFeatures),
            found if found > FEATURES_MAX => Err(TableError::TooManyFeatures { found }),
            _ => Ok(Self {
                key,
                label,
                features,
            }),
        }
    }

    /// A table of these columns without rows.
    fn table(&self, header: &[Cow<'_, str>]) -> FeatureTable {
        let name = |place: usize| Box::from(header[place].trim());
        let text = |place: usize| TextColumn {
            name: name(place),
            values: Vec::new(),
        };
        FeatureTable {
            keys: self.key.map(text),
            labels: self.label.map(text),
            features: self.features.iter().map(|place| name(*place)).collect(),
            values: Vec::new(),
        }
    }
}

fn has_each_name_once(header: &[Cow<'_, str>]) -> Result<(), TableError> {
    let mut seen = HashSet::new();
    for (place, name) in header.iter().enumerate() {
        let name = name.trim();
        if name.is_empty() {
            return Err(TableError::NamelessColumn { number: place + 1 });
        }
        if !seen.insert(name) {
            return Err(TableError::DuplicateColumn {
                name: name.to_owned(),
            });
        }
    }
    Ok(())
}

/// Which columns there are. A line without commas may be anything, a secret even, and is not shown.
fn listed(header: &[Cow<'_, str>]) -> String {
    /// As many as a reader takes in at a glance.
    const LISTED_MAX: usize = 20;
    if header.len() < 2 {
        return "its first line has no comma".to_owned();
    }
    let shown = header.iter().take(LISTED_MAX);
    let mut names: Vec<String> = shown
        .map(|name| format!("`{}`", short(name.trim())))
        .collect();
    if header.len() > LISTED_MAX {
        names.push("\u{2026}".to_owned());
    }
    format!("the columns are {}", names.join(", "))
}

fn short(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

fn number(field: &str, column: &str, at: At) -> Result<f64, TableError> {
    let text = field.trim();
    if let Ok(value) = text.parse::<f64>() {
        return match value.is_finite() {
            true => Ok(value),
            false => Err(TableError::NotFinite {
                column: column.to_owned(),
                at,
                text: short(text),
            }),
        };
    }
    let column = column.to_owned();
    Err(match text.is_empty() {
        true => TableError::MissingValue { column, at },
        false => TableError::NotANumber {
            column,
            at,
            text: short(text),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<FeatureTable, TableError> {
        FeatureTable::read(text, &Columns::default())
    }

    #[test]
    fn a_table_has_features_and_keys() {
        let table = read("rate,key,errors\n1,ann,.5\n-2e3,bob, 0 \n").unwrap();
        assert_eq!(*table.features, [Box::from("rate"), Box::from("errors")]);
        assert_eq!((table.rows(), table.row(1)), (2, &[-2000.0, 0.0][..]));
        let keys = table.keys.as_ref().unwrap();
        assert_eq!((&*keys.name, &*keys.values[1]), ("key", "bob"));
        assert_eq!(table.select(&[1]).row(0), [-2000.0, 0.0]);
    }

    #[test]
    fn columns_are_what_they_are_asked_for_as() {
        let text = "key,plan,rate,note\n7,gold,1,x\n8,free,2,y\n";
        let columns = Columns {
            label: Some("plan"),
            ignored: &["note"],
            ..Columns::default()
        };
        let table = FeatureTable::read(text, &columns).unwrap();
        assert_eq!(*table.features, [Box::from("rate")]);
        assert_eq!(&*table.labels.unwrap().values[0], "gold");

        let columns = Columns {
            key: Some("note"),
            features: Some(&["rate", "key"]),
            ..Columns::default()
        };
        let table = FeatureTable::read(text, &columns).unwrap();
        assert_eq!(table.row(0), [1.0, 7.0]);
        assert_eq!(&*table.keys.unwrap().name, "note");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_column_or_row() {
        for (text, message) in [
            ("", "the file is empty; its first line names the columns"),
            ("a,b\n", "there is a header and no row below it"),
            ("a,a\n1,2\n", "the header names the column `a` twice"),
            ("a,\n1,2\n", "column 2 of the header has no name"),
            ("key\nx\n", "no column is left that could be a feature"),
            (
                "a,b\n1,2\n\n1\n",
                "row 2 (line 4) has 1 fields, and the header has 2",
            ),
            (
                "a,b\n1,\n",
                "column `b`: the value in row 1 (line 2) is missing",
            ),
            (
                "a,key\n1,\n",
                "column `key`: the value in row 1 (line 2) is missing",
            ),
            (
                "a\nNaN\n",
                "column `a`: `NaN` in row 1 (line 2) is not a finite number",
            ),
            (
                "a\n1\n1e999\n",
                "column `a`: `1e999` in row 2 (line 3) is not a finite number",
            ),
            (
                "a\n1\nDE\n",
                "column `a`: `DE` in row 2 (line 3) is not a number; leave the column out, or name it as key or label",
            ),
            (
                "a,key\n1,x\n1,y\n2,x\n",
                "column `key`: the key in row 3 is that of an earlier row",
            ),
            (
                "a\n\"1\n",
                "line 2: a field that begins with `\"` does not end",
            ),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), message, "{text:?}");
        }
        let columns = Columns {
            label: Some("plan"),
            ..Columns::default()
        };
        let error = FeatureTable::read("a,b\n1,2\n", &columns).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no column `plan`; the columns are `a`, `b`"
        );
        let error = FeatureTable::read("s3cret\n1\n", &columns).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no column `plan`; its first line has no comma"
        );
    }
}
