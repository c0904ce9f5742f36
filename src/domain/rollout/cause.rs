//! Who brings a change about, and why.

use crate::domain::ids::GroupName;
use crate::domain::judge::{Finding, Verdict};
use crate::domain::rollout::effect::{Effect, JournalEntry, Notice};
use crate::domain::rollout::event::Author;
use crate::domain::rollout::plan::RolloutPlan;
use crate::domain::rollout::state::RolloutState;

/// Who brings a change about, and why.
pub(super) struct Cause {
    pub(super) who: String,
    pub(super) why: String,
    pub(super) findings: Vec<Finding>,
    /// The stage that has passed by it, counted from 1, if one has.
    pub(super) passed: Option<usize>,
    /// The group that canary is taken back from by it, if from one alone.
    pub(super) rolled_back_group: Option<GroupName>,
}

impl Cause {
    pub(super) fn by(who: &str, why: String, findings: Vec<Finding>) -> Self {
        Self {
            who: who.to_owned(),
            why,
            findings,
            passed: None,
            rolled_back_group: None,
        }
    }

    /// The same where canary is taken back from one group alone by it.
    pub(super) fn about(self, group: GroupName) -> Self {
        Self {
            rolled_back_group: Some(group),
            ..self
        }
    }

    /// The same where a stage, counted from 0, has passed by it.
    pub(super) fn passing(self, stage: usize) -> Self {
        Self {
            passed: Some(stage + 1),
            ..self
        }
    }

    pub(super) fn of_plan(why: &str) -> Self {
        Self::by("plan", why.to_owned(), Vec::new())
    }

    pub(super) fn of_author(by: Author) -> Self {
        let why = if by.why.is_empty() {
            format!("asked for by {}", by.who)
        } else {
            by.why
        };
        Self::by(&by.who, why, Vec::new())
    }

    pub(super) fn of_breach(verdict: Verdict) -> Self {
        let reasons: Vec<_> = verdict.breaches().map(|f| f.reason.as_str()).collect();
        let why = if reasons.is_empty() {
            "the judge calls for it and names no finding".to_owned()
        } else {
            reasons.join("; ")
        };
        Self::by("judge", why, verdict.findings)
    }

    /// What writes a state down with the journal's line and the message about it.
    pub(super) fn persisted(
        self,
        plan: &RolloutPlan,
        state: &RolloutState,
        what: String,
    ) -> Effect {
        let notice = Notice {
            flag: plan.flag().clone(),
            revision: plan.revision().to_owned(),
            phase: state.phase.as_str().to_owned(),
            stage: state.stage + 1,
            stages: plan.stages().len(),
            who: self.who.clone(),
            what: what.clone(),
            why: self.why.clone(),
            findings: self.findings.clone(),
            weights: plan.weights_at(state),
            at_unix_ms: 0,
            passed: self.passed,
            rolled_back_group: self.rolled_back_group,
        };
        let entry = JournalEntry {
            who: self.who,
            what,
            why: self.why,
            findings: self.findings,
        };
        Effect::Persist {
            state: Box::new(state.clone()),
            entry: Box::new(entry),
            notice: Some(Box::new(notice)),
        }
    }
}
