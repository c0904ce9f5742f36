//! Reads comma-separated values (RFC 4180), one record at a time and without copying.
//!
//! Fields may stand in double quotes, which double inside them; lines may end with CR LF or LF; a
//! mark of the encoding at the start and blank lines are passed over. Separators other than the
//! comma are not guessed.

use std::borrow::Cow;

/// What is wrong with a text as comma-separated values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// A quoted field does not end.
    #[error("line {line}: a field that begins with `\"` does not end")]
    OpenQuote {
        /// The line on which the field begins, from 1.
        line: usize,
    },
    /// Something stands behind the end of a quoted field.
    #[error(
        "line {line}: text follows the closing `\"` of a field; double quotes inside are written `\"\"`"
    )]
    BehindQuote {
        /// The line on which the field ends, from 1.
        line: usize,
    },
}

/// Goes through the records of a text.
#[derive(Clone, Debug)]
pub struct CsvReader<'t> {
    rest: &'t str,
    /// The line at which `rest` begins, from 1.
    line: usize,
}

impl<'t> CsvReader<'t> {
    /// Begins at the first record.
    pub fn new(text: &'t str) -> Self {
        Self {
            rest: text.trim_start_matches('\u{feff}'),
            line: 1,
        }
    }

    /// Puts the fields of the next record into `fields`, in place of what they held. The line on
    /// which it begins, or none after the last.
    ///
    /// # Errors
    /// Where quotes are not as they should be. The reader is of no use after that.
    pub fn next_record(
        &mut self,
        fields: &mut Vec<Cow<'t, str>>,
    ) -> Result<Option<usize>, CsvError> {
        fields.clear();
        while let Some(rest) = after_line_end(self.rest) {
            self.rest = rest;
            self.line += 1;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let line = self.line;
        loop {
            fields.push(self.field()?);
            if let Some(rest) = self.rest.strip_prefix(',') {
                self.rest = rest;
                continue;
            }
            if let Some(rest) = after_line_end(self.rest) {
                self.rest = rest;
                self.line += 1;
            }
            return Ok(Some(line));
        }
    }

    /// Takes one field; what follows it is a comma, the end of a line or the end of the text.
    fn field(&mut self) -> Result<Cow<'t, str>, CsvError> {
        match self.rest.strip_prefix('"') {
            Some(quoted) => self.quoted(quoted),
            None => {
                let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
                let (field, rest) = self.rest.split_at(end);
                let field = match rest.starts_with(',') {
                    true => field,
                    false => field.strip_suffix('\r').unwrap_or(field),
                };
                self.rest = rest;
                Ok(Cow::Borrowed(field))
            }
        }
    }

    /// Takes what stands behind an opening quote, and the closing one.
    fn quoted(&mut self, text: &'t str) -> Result<Cow<'t, str>, CsvError> {
        let begun = self.line;
        let mut from = 0;
        loop {
            let Some(quote) = text[from..].find('"').map(|at| from + at) else {
                return Err(CsvError::OpenQuote { line: begun });
            };
            if text[quote + 1..].starts_with('"') {
                from = quote + 2;
                continue;
            }
            let (field, rest) = (&text[..quote], &text[quote + 1..]);
            self.line += field.matches('\n').count();
            if !rest.is_empty() && !rest.starts_with(',') && after_line_end(rest).is_none() {
                return Err(CsvError::BehindQuote { line: self.line });
            }
            self.rest = rest;
            return Ok(match field.contains('"') {
                true => Cow::Owned(field.replace("\"\"", "\"")),
                false => Cow::Borrowed(field),
            });
        }
    }
}

/// What follows the end of a line that a text begins with.
fn after_line_end(text: &str) -> Option<&str> {
    text.strip_prefix('\n')
        .or_else(|| text.strip_prefix("\r\n"))
}

/// A field as it is to be written.
pub fn quoted(field: &str) -> Cow<'_, str> {
    match field.contains([',', '"', '\n', '\r']) || field.starts_with('\u{feff}') {
        true => Cow::Owned(format!("\"{}\"", field.replace('"', "\"\""))),
        false => Cow::Borrowed(field),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(text: &str) -> Result<Vec<(usize, Vec<String>)>, CsvError> {
        let mut reader = CsvReader::new(text);
        let (mut found, mut fields) = (Vec::new(), Vec::new());
        while let Some(line) = reader.next_record(&mut fields)? {
            let fields = fields.iter().map(|field| field.clone().into_owned());
            found.push((line, fields.collect()));
        }
        Ok(found)
    }

    #[test]
    fn records_have_fields_and_lines() {
        for (text, expected) in [
            ("", vec![]),
            ("\n\r\n", vec![]),
            ("a", vec![(1, vec!["a"])]),
            (
                "a,b\r\nc,d\r\n",
                vec![(1, vec!["a", "b"]), (2, vec!["c", "d"])],
            ),
            (
                "\u{feff}a,\n\n,b",
                vec![(1, vec!["a", ""]), (3, vec!["", "b"])],
            ),
            (
                "\"a,\"\"b\"\"\n\",c\nd",
                vec![(1, vec!["a,\"b\"\n", "c"]), (3, vec!["d"])],
            ),
            ("a b ,\"\"\n", vec![(1, vec!["a b ", ""])]),
            ("a\"b,c", vec![(1, vec!["a\"b", "c"])]),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(line, fields)| (line, fields.into_iter().map(str::to_owned).collect()))
                .collect();
            assert_eq!(records(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn quotes_that_are_not_closed_or_followed_by_text_are_refused() {
        assert_eq!(records("a\n\"b\nc"), Err(CsvError::OpenQuote { line: 2 }));
        assert_eq!(records("\"a\nb\"c"), Err(CsvError::BehindQuote { line: 2 }));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(rows in prop::collection::vec(prop::collection::vec("[ab,\"\n\r ]{0,6}", 2..4), 0..5)) {
            let lines = rows.iter().map(|row| row.iter().map(|field| quoted(field).into_owned()).collect::<Vec<_>>().join(",") + "\n");
            let read: Vec<_> = records(&lines.collect::<String>()).unwrap().into_iter().map(|(_, fields)| fields).collect();
            prop_assert_eq!(read, rows);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a,\"\n\r]{0,30}") {
            let _ = records(&text);
        }
    }
}
