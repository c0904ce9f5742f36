//! The breach of one group takes canary back from that group alone, where the plan says so.
//!
//! The stage begins again without the group: hold and what shows harmlessness start from nothing, and what had
//! passed already has to pass once more. Harm that is not one named group's takes back everything, and so does
//! harm that leaves nobody on canary: then there is nothing to go on with.

use crate::domain::ids::GroupName;
use crate::domain::judge::{RollbackScope, Verdict};
use crate::domain::rollout::cause::Cause;
use crate::domain::rollout::state::{Phase, Resumption};
use crate::domain::rollout::taken_back::GroupTakenBack;
use crate::domain::rollout::transition::{Rollout, Step, Target};
use crate::domain::weight::Weight;

impl Rollout<'_> {
    /// Takes back what a verdict of harm is about: one group, or everything.
    pub(super) fn take_back_harmed(self, verdict: Verdict) -> Step {
        match self.harmed_alone(&verdict) {
            Some(group) => self.take_back_group(group, Cause::of_breach(verdict)),
            None => self.take_back(Cause::of_breach(verdict)),
        }
    }

    /// The group that all breaches are about, if there is a rollout without it.
    fn harmed_alone(&self, verdict: &Verdict) -> Option<GroupName> {
        if self.plan.policy().rollback_scope != RollbackScope::Group {
            return None;
        }
        let mut breaches = verdict.breaches().map(|finding| finding.group.as_ref());
        let group = breaches.next()??;
        let mut weights = self.plan.weights_at(&self.state);
        let own = weights.groups.insert(group.clone(), Weight::ZERO);
        let is_exposed = own.is_some_and(|weight| weight != Weight::ZERO);
        let is_alone = breaches.all(|other| other == Some(group));
        (is_alone && is_exposed && !weights.is_zero()).then(|| group.clone())
    }

    fn take_back_group(mut self, group: GroupName, cause: Cause) -> Step {
        let before = self.plan.weights_at(&self.state);
        let stage = self.state.stage;
        let what = format!(
            "group `{group}` rolled back in stage {}, the others go on",
            stage + 1
        );
        self.state.rolled_back_groups.push(GroupTakenBack {
            group: group.clone(),
            reason: cause.why.clone(),
        });
        let phase = judged_again(&self.state.phase);
        let cause = cause.about(group);
        self.enter_anew_from(&before, Target { phase, stage, what }, cause)
    }

    /// Why everything is taken back where a plan has no place any more for a group that was: its callers
    /// would get canary with everyone.
    pub(super) fn lost_group(&self) -> Option<String> {
        let is_held = !self.state.phase.is_taken_back();
        let mut groups = self.state.rolled_back_groups.iter();
        let lost = groups.find(|taken| is_held && !self.plan.names(&taken.group))?;
        let GroupTakenBack { group, reason } = lost;
        Some(format!(
            "the plan no longer names group `{group}`, which was rolled back: {reason}"
        ))
    }
}

/// The phase in which a stage that loses a group is judged again.
fn judged_again(phase: &Phase) -> Phase {
    match phase {
        Phase::WaitingForApproval | Phase::WaitingForGate { .. } => Phase::Progressing,
        Phase::Paused {
            from: Resumption::Approval | Resumption::Gate { .. },
            cause,
            reason,
        } => Phase::Paused {
            from: Resumption::Stage,
            cause: *cause,
            reason: reason.clone(),
        },
        other => other.clone(),
    }
}
