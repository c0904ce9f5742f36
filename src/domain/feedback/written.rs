//! Feedback as it is written in a request: one rating, or a list of them.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::feedback::COMMENT_CHARS_MAX;
use crate::domain::ids::FlagName;
use crate::domain::rating::Rating;

/// A rating as it is written.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Rating)]
pub struct WrittenRating {
    /// The flag whose variant is rated.
    pub flag: FlagName,
    /// The key of the caller who rates; only whoever passes on what others say may write it.
    #[serde(default)]
    #[schema(value_type = String, required = true, min_length = 1, max_length = 256)]
    pub caller: Option<String>,
    /// From 1, bad, to 5, good.
    #[schema(value_type = u8, minimum = 1, maximum = 5)]
    pub rating: Rating,
    /// What there is to say besides.
    #[serde(default)]
    #[schema(
        max_length = 1000,
        pattern = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$"
    )]
    pub comment: Option<String>,
}

/// What was handed in.
#[derive(Clone, Debug)]
pub enum Handed {
    /// One rating.
    One(Box<WrittenRating>),
    /// A list.
    Many(Vec<WrittenRating>),
}

/// Reads what was handed in: an object, or a list of at most so many.
///
/// # Errors
/// What is wrong with it.
pub fn read(body: &[u8], many_max: usize) -> Result<Handed, String> {
    const EXPECTED: &str = r#"expected {"flag": "…", "rating": 1 to 5}, or a list of these"#;
    let wrong = |error: serde_json::Error| format!("{error}; {EXPECTED}");
    let value: Value = serde_json::from_slice(body).map_err(wrong)?;
    let one = |value: Value| {
        // serde would take a list for an object, too.
        if !value.is_object() {
            return Err(EXPECTED.to_owned());
        }
        let mut written: WrittenRating = serde_json::from_value(value).map_err(wrong)?;
        written.comment = written.comment.map_or(Ok(None), comment)?;
        Ok(written)
    };
    match value {
        Value::Array(list) if list.len() > many_max => {
            Err(format!("a list has at most {many_max} ratings"))
        }
        Value::Array(list) => {
            let list = list.into_iter().enumerate();
            let each = list.map(|(place, value)| {
                one(value).map_err(|error| format!("rating {}: {error}", place + 1))
            });
            Ok(Handed::Many(each.collect::<Result<_, _>>()?))
        }
        value => Ok(Handed::One(Box::new(one(value)?))),
    }
}

/// A comment that can be shown; none where nothing is said.
fn comment(text: String) -> Result<Option<String>, String> {
    let text = text.trim();
    if text.chars().count() > COMMENT_CHARS_MAX {
        return Err(format!(
            "a comment has at most {COMMENT_CHARS_MAX} characters"
        ));
    }
    let is_odd =
        |character: char| character.is_control() && !matches!(character, '\n' | '\r' | '\t');
    if text.chars().any(is_odd) {
        return Err("a comment has no control characters but ends of lines".to_owned());
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(body: &str) -> String {
        read(body.as_bytes(), 2).unwrap_err()
    }

    #[test]
    fn one_rating_and_a_list_are_understood() {
        let body = br#"{"flag": "orders", "rating": 5, "comment": " fast\nand good "}"#;
        let Ok(Handed::One(one)) = read(body, 2) else {
            unreachable!("it is one")
        };
        assert_eq!(one.comment.as_deref(), Some("fast\nand good"));
        let body = br#"[{"flag": "a", "rating": 1, "caller": "ann"}, {"flag": "b", "rating": 2, "comment": ""}]"#;
        let Ok(Handed::Many(many)) = read(body, 2) else {
            unreachable!("they are many")
        };
        assert_eq!(many[0].caller.as_deref(), Some("ann"));
        assert_eq!(many[1].comment, None);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (body, expected) in [
            ("", "expected {"),
            ("3", "expected {"),
            (r#"{"flag": "a", "rating": 6}"#, "6 is no rating"),
            (r#"{"flag": "a", "rating": 4.5}"#, "4.5"),
            (r#"{"flag": "a"}"#, "`rating`"),
            (r#"{"flag": "A B", "rating": 1}"#, "A B"),
            (
                r#"{"flag": "a", "rating": 1, "variant": "canary"}"#,
                "`variant`",
            ),
            (
                r#"[{"flag": "a", "rating": 1}, ["a", 1]]"#,
                "rating 2: expected",
            ),
            (r#"[1, 2, 3]"#, "at most 2"),
            (
                r#"{"flag": "a", "rating": 1, "comment": "\u001b[2J"}"#,
                "control",
            ),
        ] {
            let problem = problem(body);
            assert!(problem.contains(expected), "{body}: {problem}");
        }
        let long = "ä".repeat(COMMENT_CHARS_MAX + 1);
        let body = format!(r#"{{"flag": "a", "rating": 1, "comment": "{long}"}}"#);
        assert!(problem(&body).contains("1000 characters"));
    }
}
