//! Texts with places for what is known only while a rollout runs: `orders{variant="{variant}"}`.
//!
//! `{flag}`, `{revision}`, `{stage}` (counted from 1) and `{variant}` (`stable` or `canary`). Braces
//! alone, because `${NAME}` is filled in from the environment when the file is read. No such word
//! stands in braces in PromQL, nor any brace in a URL, so nothing that is meant otherwise is taken
//! for one; whatever else has the look of a placeholder is refused as a slip.
//!
//! What is filled in cannot get out of its place: it is escaped, for a text of PromQL in single or double
//! quotes, or for a URL. PromQL's third kind of text, in backticks, is raw and knows no escapes, so a place
//! in one is to be refused: see [`Template::raw_place`].

use std::fmt::Write;
use std::sync::Arc;

use crate::domain::variant::Variant;

/// What a text leaves a place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// The name of the flag.
    Flag,
    /// What is being released.
    Revision,
    /// The stage, counted from 1.
    Stage,
    /// Which arm is asked about.
    Variant,
}

impl Placeholder {
    const WORDS: [(Self, &'static str); 4] = [
        (Self::Flag, "flag"),
        (Self::Revision, "revision"),
        (Self::Stage, "stage"),
        (Self::Variant, "variant"),
    ];

    /// The words of all placeholders.
    pub fn words() -> impl Iterator<Item = &'static str> + Clone {
        Self::WORDS.iter().map(|(_, word)| *word)
    }

    fn word(self) -> &'static str {
        let mut words = Self::WORDS.iter();
        words
            .find(|(known, _)| *known == self)
            .map_or("", |(_, word)| word)
    }

    fn read(word: &str) -> Option<Self> {
        let mut words = Self::WORDS.iter();
        words.find(|(_, known)| *known == word).map(|(own, _)| *own)
    }
}

/// What is filled in.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    /// The flag.
    pub flag: &'a str,
    /// What is being released.
    pub revision: &'a str,
    /// The stage, counted from 1.
    pub stage: usize,
    /// Which arm is asked about.
    pub variant: Variant,
}

/// What a text is part of, and so how that which is filled in is escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// PromQL, in single or double quotes: `\x22`, which both understand. Not in backticks.
    PromQl,
    /// A path or query of a URL: `%22`.
    Url,
}

impl Escape {
    fn push(self, text: &mut String, byte: u8) {
        let is_plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        // PromQL's quoted texts may hold any letter of Unicode as it is.
        let _ = match self {
            _ if is_plain => write!(text, "{}", char::from(byte)),
            Self::PromQl => write!(text, "\\x{byte:02x}"),
            Self::Url => write!(text, "%{byte:02X}"),
        };
    }
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Something in braces that is none of the placeholders.
    #[error("`{{{word}}}` is no placeholder")]
    Unknown {
        /// What stands in the braces.
        word: String,
    },
    /// A placeholder written as variables of the environment are.
    #[error("`${{{word}}}` is written with a `$`")]
    Dollar {
        /// What stands in the braces.
        word: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Arc<str>),
    Placeholder(Placeholder),
}

/// A text with places to be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

impl Template {
    /// Understands a text.
    ///
    /// # Errors
    /// When something has the look of a placeholder and is none.
    pub fn read(text: &str) -> Result<Self, TemplateError> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            let Some(word) = word_in_braces(from) else {
                plain.push('{');
                rest = &from[1..];
                continue;
            };
            let owned = word.to_owned();
            if plain.ends_with('$') {
                return Err(TemplateError::Dollar { word: owned });
            }
            let placeholder =
                Placeholder::read(word).ok_or(TemplateError::Unknown { word: owned })?;
            parts.push(Part::Text(std::mem::take(&mut plain).into()));
            parts.push(Part::Placeholder(placeholder));
            rest = &from[word.len() + 2..];
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain.into()));
        Ok(Self(parts))
    }

    /// Whether it leaves a place for something.
    pub fn needs(&self, placeholder: Placeholder) -> bool {
        self.0.contains(&Part::Placeholder(placeholder))
    }

    /// The first place that stands in a raw text of PromQL, where nothing can be escaped.
    pub fn raw_place(&self) -> Option<&'static str> {
        let mut around = PromQl::Open;
        self.0.iter().find_map(|part| {
            match part {
                Part::Text(plain) => plain.chars().for_each(|c| around = around.after(c)),
                Part::Placeholder(own) if around == PromQl::Raw => return Some(own.word()),
                Part::Placeholder(_) => {}
            }
            None
        })
    }

    /// The text with everything filled in.
    pub fn fill(&self, filling: &Filling<'_>, escape: Escape) -> String {
        let mut text = String::new();
        for part in &self.0 {
            let value = match part {
                Part::Text(plain) => {
                    text.push_str(plain);
                    continue;
                }
                Part::Placeholder(Placeholder::Flag) => filling.flag,
                Part::Placeholder(Placeholder::Revision) => filling.revision,
                Part::Placeholder(Placeholder::Stage) => &filling.stage.to_string(),
                Part::Placeholder(Placeholder::Variant) => filling.variant.as_str(),
            };
            value.bytes().for_each(|byte| escape.push(&mut text, byte));
        }
        text
    }
}

/// What a character of PromQL stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PromQl {
    Open,
    Comment,
    /// A text in these quotes.
    Quoted(char),
    /// The same, behind a backslash.
    Escaped(char),
    Raw,
}

impl PromQl {
    /// What the next character stands in.
    const fn after(self, c: char) -> Self {
        match (self, c) {
            (Self::Open, '"' | '\'') => Self::Quoted(c),
            (Self::Open, '`') => Self::Raw,
            (Self::Open, '#') => Self::Comment,
            (Self::Comment, '\n') | (Self::Raw, '`') => Self::Open,
            (Self::Quoted(quote), '\\') => Self::Escaped(quote),
            (Self::Quoted(quote), _) if quote == c => Self::Open,
            (Self::Escaped(quote), _) => Self::Quoted(quote),
            (same, _) => same,
        }
    }
}

/// The word between the braces that a text begins with, where there is nothing but a word.
fn word_in_braces(text: &str) -> Option<&str> {
    let (word, _) = text.strip_prefix('{')?.split_once('}')?;
    let is_part = |c: char| c.is_ascii_alphabetic() || c == '_';
    (!word.is_empty() && word.chars().all(is_part)).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILLING: Filling<'_> = Filling {
        flag: "orders",
        revision: "2.4 \"b\"\\\n",
        stage: 3,
        variant: Variant::Canary,
    };

    fn fill(text: &str, escape: Escape) -> String {
        Template::read(text).unwrap().fill(&FILLING, escape)
    }

    #[test]
    fn placeholders_are_filled_in_and_escaped_for_where_they_stand() {
        let query = "rate(orders{flag=\"{flag}\",arm=~\"{variant}\"}[1m]) * {stage}";
        assert_eq!(
            fill(query, Escape::PromQl),
            "rate(orders{flag=\"orders\",arm=~\"canary\"}[1m]) * 3"
        );
        assert_eq!(
            fill("r=\"{revision}\"", Escape::PromQl),
            r#"r="2.4\x20\x22b\x22\x5c\x0a""#
        );
        assert_eq!(
            fill("http://a/{flag}?r={revision}", Escape::Url),
            "http://a/orders?r=2.4%20%22b%22%5C%0A"
        );
    }

    #[test]
    fn a_place_in_backticks_is_found() {
        for (text, expected) in [
            ("x{v=`{revision}`}", Some("revision")),
            ("x{v=~`2\\.{stage}`}", Some("stage")),
            ("x{a=\"`\", v=\"{revision}\"}", None),
            ("x{a=`\"`, v='{revision}'}", None),
            (
                "x{a=\"\\\"`\", v='{flag}'} # `{stage}\n + y{v=`{variant}`}",
                Some("variant"),
            ),
            ("x * {stage}", None),
        ] {
            assert_eq!(
                Template::read(text).unwrap().raw_place(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn braces_of_another_meaning_are_left_alone() {
        for text in [
            "up",
            "up{a=\"b\"}",
            "{\"a.b\"}",
            "a=~\"x{2}\"",
            "{",
            "}{",
            "{}",
            "ä{ä",
        ] {
            assert_eq!(fill(text, Escape::PromQl), text);
        }
        let template = Template::read("x{arm=\"{variant}\"}").unwrap();
        assert!(template.needs(Placeholder::Variant) && !template.needs(Placeholder::Flag));
    }

    #[test]
    fn what_looks_like_a_placeholder_and_is_none_is_a_slip() {
        for (text, expected) in [
            ("x{flg}", "`{flg}` is no placeholder"),
            ("{Flag}", "`{Flag}` is no placeholder"),
            ("a${variant}", "`${variant}` is written with a `$`"),
        ] {
            assert_eq!(Template::read(text).unwrap_err().to_string(), expected);
        }
    }
}
