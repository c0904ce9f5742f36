//! How canary is taken back: at once, or stage by stage where the plan says so.
//!
//! Stage by stage is for stable that could not take all callers back at once, with cold caches or few
//! servers. It only ever goes down. The tripwire takes canary to nothing at once, and so does harm that was not
//! known when the descent began, and whoever says `rollback` once more. Each stage is written down before it
//! holds, so that a restart goes on from there.

use crate::domain::judge::{Action, CheckName, Finding, Verdict};
use crate::domain::rollout::cause::Cause;
use crate::domain::rollout::state::Phase;
use crate::domain::rollout::transition::{Rollout, Step, Target};

impl Rollout<'_> {
    /// Takes canary back, by the rhythm of the plan.
    pub(super) fn take_back(self, cause: Cause) -> Step {
        let known: Vec<_> = breaches(&cause.findings).map(key_of).collect();
        let is_dead = breaches(&cause.findings).any(|found| found.check == CheckName::Tripwire);
        let is_stepped = self.plan.policy().rollback_step.is_some();
        if is_dead || !is_stepped || !self.state.phase.has_traffic() {
            return self.roll_back(cause);
        }
        let reason = cause.why.clone();
        self.step_down(reason, known, cause)
    }

    /// One stage down, or to nothing from the first.
    fn step_down(self, reason: String, known: Vec<String>, cause: Cause) -> Step {
        let from = self.state.stage.min(self.plan.last_stage());
        let Some(stage) = from.checked_sub(1) else {
            let cause = Cause {
                why: reason,
                ..cause
            };
            return self.roll_back(cause);
        };
        let phase = Phase::RollingBack { reason, known };
        let what = format!(
            "rolling back from stage {} to stage {}",
            from + 1,
            stage + 1
        );
        self.enter_anew(Target { phase, stage, what }, cause)
    }

    /// A tick on the way down.
    pub(super) fn descend(self, verdict: Verdict) -> Step {
        let Phase::RollingBack { reason, known } = &self.state.phase else {
            return self.stay();
        };
        let (reason, known) = (reason.clone(), known.clone());
        let is_new =
            |found: &Finding| found.check == CheckName::Tripwire || !known.contains(&key_of(found));
        if verdict.action == Action::Rollback && verdict.breaches().any(is_new) {
            return self.roll_back(Cause::of_breach(verdict));
        }
        match self.plan.policy().rollback_step {
            // The plan wants it at once by now.
            None => self.roll_back(Cause::by("plan", reason, Vec::new())),
            Some(step) if self.elapsed() >= step => {
                let why = format!("no harm was found besides: {reason}");
                let cause = Cause::by("plan", why, Vec::new());
                self.step_down(reason, known, cause)
            }
            Some(_) => self.stay(),
        }
    }
}

fn breaches(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    findings.iter().filter(|finding| finding.is_breach())
}

/// What tells one kind of harm from another.
fn key_of(finding: &Finding) -> String {
    match &finding.group {
        None => finding.check.to_string(),
        Some(group) => format!("{} of {group}", finding.check),
    }
}
