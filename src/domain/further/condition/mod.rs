//! `release_when`: a written condition over the values of a stage.
//!
//! ```text
//! condition := and ("or" and)*            comparison := sum ("<" sum)?    also <= > >= == !=
//! and       := not ("and" not)*           sum        := product (("+" | "-") product)*
//! not       := "not" not | comparison     product    := unary (("*" | "/") unary)*
//!                                         unary      := "-" unary | number | name | "(" or ")"
//! ```
//!
//! A language of its own, because what the field offers can do more than a condition in a
//! configuration may: this one has no calls, no loops, no state, and a bounded length and depth.
//!
//! A value of which nothing was seen is *unknown*, and so is what is computed from it, a division
//! by zero included. Truth is three-valued (Kleene, Introduction to Metamathematics, 1952,
//! section 64): `false and unknown` is false, `true or unknown` is true, all else that depends on
//! the unknown is unknown. A stage passes only where the whole is true.

mod evaluate;
mod parse;
mod range;
mod token;

use std::str::FromStr;
use std::sync::Arc;

use crate::domain::further::condition::evaluate::Truth;
use crate::domain::further::values::{StageValues, ValueName};
use crate::domain::further::words::Plain;
use crate::domain::judge::{Assessment, CheckName, Finding};

pub use parse::ConditionError;

/// The longest condition, in bytes: a line that somebody can still read.
pub const CONDITION_BYTES_MAX: usize = 1000;

/// A condition that has been understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: Arc<str>,
    truth: Truth,
}

impl Condition {
    /// The condition as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is met; `None` where that depends on a value that is not known.
    pub fn is_met(&self, values: &StageValues) -> Option<bool> {
        self.truth.evaluate(values)
    }

    /// Whether there could be values that meet it.
    pub fn can_be_met(&self) -> bool {
        self.truth.can_be(true)
    }

    /// The values that it names, each once.
    pub fn values(&self) -> Vec<ValueName> {
        let mut named = Vec::new();
        self.truth.name_values(&mut named);
        named
    }

    /// What is found of it: met or not, and by which values.
    pub fn assess(&self, values: &StageValues) -> Finding {
        let is_met = self.is_met(values);
        let (assessment, word) = match is_met {
            Some(true) => (Assessment::Pass, "is met"),
            Some(false) => (Assessment::Unmet, "is not met"),
            None => (Assessment::NeedsData, "is not met yet"),
        };
        let told = self.values().into_iter().map(|name| told(name, values));
        let told = told.collect::<Vec<_>>().join(", ");
        let told = if told.is_empty() {
            "it is constant"
        } else {
            &told
        };
        Finding {
            check: CheckName::ReleaseWhen,
            assessment,
            group: None,
            canary: is_met.map_or(f64::NAN, |is_met| f64::from(u8::from(is_met))),
            stable: None,
            bound: 1.0,
            evidence: 0.0,
            evidence_needed: None,
            n: values.requests(),
            callers: None,
            missing: None,
            reason: format!("release_when {word}: {told}"),
        }
    }
}

fn told(name: ValueName, values: &StageValues) -> String {
    let word = name.as_str();
    match values.get(name) {
        Some(value) => format!("{word} is {}", Plain(value)),
        None => format!("{word} is unknown"),
    }
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let truth = parse::parse(text)?;
        let text = text.trim().into();
        Ok(Self { text, truth })
    }
}

#[cfg(test)]
mod tests;
