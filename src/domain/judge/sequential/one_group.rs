//! Whether harm is one group's alone, so that the group can be taken back without the others.
//!
//! A group is named only where nothing speaks against it: its own evidence would take back a rollout of its
//! own, nobody else's shows a sign of harm, and no limit that is for all callers together is in question. The
//! bound on false rollbacks is that of the tests; which group is named follows from what was seen, and has no
//! bound of its own. In doubt none is named, and harm is everyone's.

use crate::domain::judge::sequential::SequentialJudge;
use crate::domain::judge::sequential::check::{Check, PerCheck};
use crate::domain::judge::sequential::rule::strongest;
use crate::domain::judge::sequential::ruling::Reason;
use crate::domain::stats::log_space::log_sum_exp;

/// Checks that are asked of all callers together only.
const OF_ALL_CALLERS: [Check; 2] = [Check::ErrorRateMax, Check::MeanLatencyMax];

/// What was seen of one group alone.
pub(super) struct OwnEvidence {
    /// Its index.
    group: usize,
    /// `ln` of each check's part.
    parts: PerCheck<f64>,
    /// `ln` of all of it.
    pub(super) log_evidence: f64,
}

impl OwnEvidence {
    pub(super) fn reason(&self, log_needed: f64) -> Reason {
        Reason {
            check: strongest(&self.parts),
            group: Some(self.group),
            log_evidence: self.log_evidence,
            log_needed,
        }
    }
}

impl SequentialJudge {
    /// What was seen of each group alone that has not left.
    pub(super) fn own_evidence(&self, shares: &PerCheck<f64>) -> impl Iterator<Item = OwnEvidence> {
        let groups = (0..).zip(&self.evidence.groups);
        let stays = |(group, _): &(usize, _)| !self.evidence.left.contains(group);
        groups.filter(stays).map(|(group, evidence)| {
            let parts = evidence.parts(shares);
            OwnEvidence {
                group,
                log_evidence: log_sum_exp(Check::ALL.map(|check| parts[check])),
                parts,
            }
        })
    }

    /// The reason to roll back where it is one group's harm, and where groups are told apart at all.
    ///
    /// Where the evidence of all callers together rolls back, some group has done harm by the bound that holds
    /// for all, and of the group is asked what a rollout of that group alone would take.
    pub(super) fn reason_of_one_group(
        &self,
        together: &PerCheck<f64>,
        log_together: f64,
        shares: &PerCheck<f64>,
    ) -> Option<Reason> {
        let settings = &self.settings;
        if !settings.finds_one_group {
            return None;
        }
        let log_needed = match log_together >= settings.log_evidence_needed() {
            true => -settings.alpha.ln(),
            false => settings.log_evidence_needed_of_group()?,
        };
        let mut each: Vec<_> = self.own_evidence(shares).collect();
        each.sort_by(|one, other| other.log_evidence.total_cmp(&one.log_evidence));
        let (first, others) = each.split_first()?;
        let suspicious = settings.promotion.suspicious.ln();
        let in_question = |log_evidence: f64| log_evidence >= suspicious;
        let is_alone = others.iter().all(|other| !in_question(other.log_evidence));
        let has_limit = OF_ALL_CALLERS
            .into_iter()
            .any(|check| in_question(together[check]));
        (first.log_evidence >= log_needed && is_alone && !has_limit)
            .then(|| first.reason(log_needed))
    }
}
