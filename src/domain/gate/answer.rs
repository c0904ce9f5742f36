//! What is said to a webhook, and what it answers.

use std::collections::BTreeMap;

use serde::Serialize;

/// The body of a question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HookSaid {
    /// The flag whose rollout it is about.
    pub name: String,
    /// The gate or hook.
    pub gate: String,
    /// The phase it is in, as a word.
    pub phase: String,
    /// The stage that is to begin, counted from 1.
    pub stage: usize,
    /// How many stages there are.
    pub stages: usize,
    /// The weight of that stage, as percent.
    pub weight: f64,
    /// What is being released.
    pub revision: String,
    /// As configured.
    pub metadata: BTreeMap<String, String>,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookAnswer {
    /// An answer.
    Answered {
        /// Its status.
        status: u16,
        /// The beginning of its body, made one line.
        text: String,
    },
    /// None, and why.
    Silent(String),
}

impl HookAnswer {
    /// Whether it lets the rollout go on.
    pub const fn passes(&self) -> bool {
        matches!(
            self,
            Self::Answered {
                status: 200..=299,
                ..
            }
        )
    }

    /// Whether asking once more at once may help: there was no answer, or the server is in trouble.
    pub const fn is_passing_trouble(&self) -> bool {
        matches!(
            self,
            Self::Silent(_)
                | Self::Answered {
                    status: 500..=599,
                    ..
                }
        )
    }

    /// What it was, for the journal: the same for answers that differ in their text only.
    pub fn gist(&self) -> String {
        match self {
            Self::Answered { status, .. } => format!("answered {status}"),
            Self::Silent(_) => "does not answer".to_owned(),
        }
    }

    /// What it was, for people.
    pub fn says(&self) -> String {
        match self {
            Self::Answered { status, text } if text.is_empty() || self.passes() => {
                format!("answered {status}")
            }
            Self::Answered { status, text } => format!("answered {status}: {text}"),
            Self::Silent(why) => format!("does not answer ({why})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hundreds_pass_and_nothing_else_does() {
        for (status, passes, again) in [
            (199, false, false),
            (200, true, false),
            (204, true, false),
            (299, true, false),
            (302, false, false),
            (403, false, false),
            (500, false, true),
            (503, false, true),
        ] {
            let answer = HookAnswer::Answered {
                status,
                text: String::new(),
            };
            assert_eq!(answer.passes(), passes, "{status}");
            assert_eq!(answer.is_passing_trouble(), again, "{status}");
        }
        let silent = HookAnswer::Silent("`ci` refuses the connection".to_owned());
        assert!(!silent.passes() && silent.is_passing_trouble());
        let said = silent.says();
        assert_eq!(said, "does not answer (`ci` refuses the connection)");
    }
}
