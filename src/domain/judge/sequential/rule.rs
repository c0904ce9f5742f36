//! What follows from everything known: roll back, promote, or wait and for what.

use smallvec::SmallVec;

use crate::domain::judge::sequential::SequentialJudge;
use crate::domain::judge::sequential::check::{Check, PerCheck};
use crate::domain::judge::sequential::gates::Standing;
use crate::domain::judge::sequential::ruling::{Reason, Ruling};
use crate::domain::judge::sequential::tick::Tick;
use crate::domain::judge::verdict::Action;
use crate::domain::stats::log_space::log_sum_exp;

impl SequentialJudge {
    /// What follows from everything known after a tick.
    pub(super) fn rule(&self, tick: &Tick) -> Ruling {
        let known = &self.evidence;
        let shares = self.shares_in_force();
        let parts = known.together.parts(&shares);
        let log_evidence = log_sum_exp(Check::ALL.map(|check| parts[check]));
        let harmlessness = known.in_stage.promotion.levels(&self.settings);
        let log_split = known.split.log_evidence();
        let mut ruling = Ruling {
            tick: tick.number,
            exposed: tick.exposed,
            action: Action::Hold,
            reason: self.reason_to_roll_back(&parts, log_evidence, &shares),
            log_evidence,
            parts,
            harmlessness,
            log_split,
            wait: SmallVec::new(),
            undecided: SmallVec::new(),
            no_control: !known.in_stage.totals.has_control,
        };
        if ruling.reason.is_some() {
            ruling.action = Action::Rollback;
            ruling.no_control = false;
            return ruling;
        }
        let standing = Standing {
            settings: &self.settings,
            seconds_per_tick: self.seconds_per_tick,
            totals: &known.in_stage.totals,
            harmlessness: &ruling.harmlessness,
            log_harm: log_evidence.max(self.log_evidence_of_groups(&shares)),
            log_split,
            ratings: &known.ratings.canary,
        };
        let closed = standing.closed(tick);
        if closed.wait.is_empty() {
            ruling.action = Action::Promote;
        }
        ruling.wait = closed.wait;
        ruling.undecided = closed.undecided;
        ruling
    }

    /// `ln` of the most evidence in any group for itself, as if as much were needed as of all together.
    fn log_evidence_of_groups(&self, shares: &PerCheck<f64>) -> f64 {
        let Some(needed) = self.settings.log_evidence_needed_of_group() else {
            return f64::NEG_INFINITY;
        };
        let surplus = needed - self.settings.log_evidence_needed();
        let each = self.own_evidence(shares);
        let each = each.map(|own| own.log_evidence - surplus);
        each.fold(f64::NEG_INFINITY, f64::max)
    }

    fn reason_to_roll_back(
        &self,
        parts: &PerCheck<f64>,
        log_evidence: f64,
        shares: &PerCheck<f64>,
    ) -> Option<Reason> {
        if let Some(reason) = self.reason_of_one_group(parts, log_evidence, shares) {
            return Some(reason);
        }
        let log_needed = self.settings.log_evidence_needed();
        if log_evidence >= log_needed {
            return Some(Reason {
                check: strongest(parts),
                group: None,
                log_evidence,
                log_needed,
            });
        }
        let log_needed = self.settings.log_evidence_needed_of_group()?;
        let mut each = self.own_evidence(shares);
        let own = each.find(|own| own.log_evidence >= log_needed)?;
        let reason = own.reason(log_needed);
        // Where a group is told of only if the harm is its alone, this was not.
        let group = reason.group.filter(|_| !self.settings.finds_one_group);
        Some(Reason { group, ..reason })
    }
}

/// The first check with the most evidence.
pub(super) fn strongest(parts: &PerCheck<f64>) -> Check {
    let mut best = Check::Errors;
    for (check, part) in parts.iter() {
        if *part > parts[best] {
            best = check;
        }
    }
    best
}
