//! What is judged beside the proxy's own evidence: custom checks and a written condition.
//!
//! A *custom check* holds a number that another system knows (orders a minute, a score) to limits.
//! It can roll canary back, but not for a single odd sample, and a source that says nothing holds a
//! stage rather than let it pass. `release_when` is a condition over what the proxy measures, which
//! has to be met before a stage passes; it never rolls back. Both hold in every stage.
//!
//! Their findings are added to the judge's by [`Verdict::joined`](crate::domain::judge::Verdict::joined).
//! Nothing here asks anybody anything: samples come in as values.

pub mod check;
pub mod condition;
pub mod series;
pub mod template;
pub mod values;
mod words;

pub use check::{Comparison, CustomCheck, Filling, Limits, Question, Source, SourceUrl, Subject};
pub use condition::Condition;
pub use series::{Answer, Sample, Series, Silence};
pub use values::StageValues;

/// What a rollout is judged by beside the built-in checks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FurtherChecks {
    /// Custom checks, in the file's order; no two of one name.
    pub custom: Vec<CustomCheck>,
    /// What must be so before a stage passes.
    pub release_when: Option<Condition>,
}

impl FurtherChecks {
    /// Whether anything goes by what callers say.
    pub fn reads_ratings(&self) -> bool {
        let condition = self.release_when.as_ref();
        condition.is_some_and(|it| it.values().into_iter().any(values::ValueName::is_rating))
    }
}
