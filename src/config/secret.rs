//! Secrets: written at a key of their own, or in a file that the key beside it names.
//!
//! `token: "${CI_TOKEN}"` and `token_file: /run/secrets/ci` say the same. A section that takes a
//! secret has both keys, the first as [`Written<Secret>`], and reads the pair as a
//! [`SecretSource`]; neither the text nor a part of it comes back in a problem.

use std::io;
use std::path::Path;

use crate::domain::secret::Secret;

use crate::config::group::ReadFile;
use crate::config::report::{AS_WRITTEN, Problem, Report};
use crate::config::text::NonEmpty;
use crate::config::tree::Place;
use crate::config::written::{FromText, Written};

/// The largest file that holds a secret: keys and tokens have a few hundred bytes, and whatever is
/// longer is another file than was meant.
const FILE_BYTES_MAX: usize = 64 * 1024;

impl FromText for Secret {
    const EXPECTED: &'static str = "a text, in quotes where it looks like a number";
    const IS_SECRET: bool = true;

    fn from_text(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Err("is empty".to_owned()),
            _ => Ok(Self::new(text)),
        }
    }
}

/// Where a secret comes from: one of two keys of a map.
pub(super) struct SecretSource<'d> {
    /// The map.
    pub(super) place: Place,
    /// The key of the text, such as `token`; that of the file is `token_file`.
    pub(super) key: &'static str,
    /// What is written at the first.
    pub(super) text: Option<&'d Written<Secret>>,
    /// What is written at the second.
    pub(super) file: Option<&'d Written<NonEmpty>>,
}

impl SecretSource<'_> {
    /// The secret; `None` where there is none, which is reported.
    pub(super) fn read(&self, read_file: ReadFile<'_>, report: &Report) -> Option<Secret> {
        let secret = self.read_if_written(read_file, report);
        let is_written = self.text.is_some() || self.file.is_some();
        if !is_written && !report.has_problem_within(self.place) {
            let key = self.key;
            let problem = Problem::new(format!("`{key}` is missing"));
            let hint =
                format!("add `{key}_file:` with the name of a file, or `{key}: \"${{NAME}}\"`");
            report.add(self.place, problem.hint(hint));
        }
        secret
    }

    /// The secret, which may be left out.
    pub(super) fn read_if_written(
        &self,
        read_file: ReadFile<'_>,
        report: &Report,
    ) -> Option<Secret> {
        let key = self.key;
        match (self.text, self.file) {
            (None, None) => None,
            (Some(text), None) => Some(text.value.clone()),
            (None, Some(file)) => read_secret_file(file, read_file, report),
            (Some(_), Some(file)) => {
                let problem = Problem::new(format!("`{key}_file` beside `{key}`"));
                let problem = problem.hint("remove one of the two");
                report.add(file.place, problem.without_value());
                None
            }
        }
    }
}

/// Reads a file that holds a secret and nothing else but, perhaps, the end of its line.
pub(super) fn read_secret_file(
    file: &Written<NonEmpty>,
    read_file: ReadFile<'_>,
    report: &Report,
) -> Option<Secret> {
    let (problem, hint) = match read_file(Path::new(&file.value.0)).map(secret_of) {
        Ok(Ok(secret)) => return Some(secret),
        Ok(Err(why)) => (
            format!("the secret in `{AS_WRITTEN}` {why}"),
            "write the secret into the file, and nothing else",
        ),
        Err(error) => (
            format!("cannot read `{AS_WRITTEN}`: {}", unreadable(&error)),
            "write a path that is absolute or starts at this file",
        ),
    };
    report.add(file.place, Problem::new(problem).hint(hint).without_value());
    None
}

fn secret_of(mut text: String) -> Result<Secret, String> {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    if text.len() > FILE_BYTES_MAX {
        return Err(format!("is longer than {FILE_BYTES_MAX} bytes"));
    }
    Ok(Secret::new(text))
}

/// An error without what it may quote.
pub(super) fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;

    use super::*;
    use crate::config::written::Placed;
    use crate::config::{reader, tree, variables};

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct TokenDocument {
        token: Option<Written<Secret>>,
        token_file: Option<Written<NonEmpty>>,
    }

    /// Reads the two keys; the problems are those that a person would see.
    fn read(text: &str, files: &[(&str, &str)]) -> Result<String, String> {
        let files: HashMap<_, _> = files.iter().copied().collect();
        let read_file = |path: &Path| {
            let name = path.to_str().unwrap_or_default();
            let text = files.get(name).map(|text| (*text).to_owned());
            text.ok_or_else(|| io::ErrorKind::NotFound.into())
        };
        let report = Report::default();
        let mut root = tree::read(text, &report).unwrap();
        let variable = |name: &str| match name {
            "T" => Ok("hunter2".to_owned()),
            "DIR" => Ok("hidden-folder".to_owned()),
            _ => Err(std::env::VarError::NotPresent),
        };
        variables::fill_in(&mut root, &variable, &report);
        let document: Option<Placed<TokenDocument>> = reader::read(&root, &report);
        let secret = document.and_then(|document| {
            let source = SecretSource {
                place: document.place,
                key: "token",
                text: document.value.token.as_ref(),
                file: document.value.token_file.as_ref(),
            };
            source.read(&read_file, &report)
        });
        report
            .finish(text, &root)
            .map_err(|errors| errors.to_string())?;
        Ok(secret.unwrap().reveal().to_owned())
    }

    #[test]
    fn a_secret_comes_from_its_key_the_environment_or_a_file() {
        let files = [("t", "hunter2\n"), ("crlf", "a b\r\n"), ("two", "x\n\n")];
        for (text, secret) in [
            ("token: hunter2", "hunter2"),
            ("token: \"${T}\"", "hunter2"),
            ("token: Bearer ${T}", "Bearer hunter2"),
            ("token_file: t", "hunter2"),
            ("token_file: crlf", "a b"),
            ("token_file: two", "x\n"),
        ] {
            assert_eq!(read(text, &files).as_deref(), Ok(secret), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_said_without_it() {
        let huge = "s".repeat(FILE_BYTES_MAX + 1);
        let files = [("empty", "\n"), ("huge", &*huge), ("t", "hunter2")];
        for (text, problem) in [
            (
                "{}",
                "1:1: `token` is missing; add `token_file:` with the name of a file, or \
                 `token: \"${NAME}\"`",
            ),
            (
                "token: hunter2\ntoken_file: t",
                "2:13: token_file: `token_file` beside `token`; remove one of the two",
            ),
            (
                "token_file: none",
                "1:13: token_file: cannot read `none`: entity not found; \
                 write a path that is absolute or starts at this file",
            ),
            (
                "token_file: ${DIR}/none",
                "1:13: token_file: cannot read `${DIR}/none`: entity not found; \
                 write a path that is absolute or starts at this file",
            ),
            (
                "token_file: empty",
                "1:13: token_file: the secret in `empty` is empty; \
                 write the secret into the file, and nothing else",
            ),
            (
                "token_file: huge",
                "1:13: token_file: the secret in `huge` is longer than 65536 bytes; \
                 write the secret into the file, and nothing else",
            ),
            (
                "token: 12345",
                "1:8: token: this secret, which is not shown, does not fit; \
                 expected a text, in quotes where it looks like a number",
            ),
            (
                "token: \"\"",
                "1:8: token: this secret, which is not shown, does not fit; \
                 expected a text, in quotes where it looks like a number",
            ),
            (
                "token: [hunter2]",
                "1:8: token: this secret, which is not shown, does not fit; \
                 expected a text, in quotes where it looks like a number",
            ),
        ] {
            let found = read(text, &files).unwrap_err();
            assert_eq!(found, problem);
            assert!(!found.contains("hunter2"), "{found}");
        }
    }
}
