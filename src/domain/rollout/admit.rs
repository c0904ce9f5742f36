//! Whether a release may take the place of what was before.
//!
//! Weights belong to a release, so another release starts at zero, and one that was known before
//! goes on where it was. What would move callers in a way that nobody can have meant is refused.

use crate::domain::rollout::plan::RolloutPlan;
use crate::domain::rollout::record::{Release, RolloutRecord};
use crate::domain::rollout::state::Phase;
use crate::domain::weight::Weight;

/// How a release takes its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Admission {
    /// Where it was before; none for one that is new.
    pub known: Option<RolloutRecord>,
    /// The releases that end for it: those that had not ended.
    pub superseded: Vec<RolloutRecord>,
    /// The last epoch of the flag, of whatever release.
    pub epoch_before: u64,
}

/// Why a release may not take the place of what was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseRefusal {
    /// The backend of the new version is another one, and nobody says that it is another version.
    #[error("canary is `{canary}` and was `{before}` under the same revision `{revision}`")]
    CanaryChanged {
        /// The revision of both.
        revision: String,
        /// The backend before.
        before: String,
        /// The backend now.
        canary: String,
    },
    /// Everyone has a backend that is not the new stable.
    #[error(
        "revision `{revision}` has succeeded, so everyone is on `{holder}`, and stable is `{stable}`"
    )]
    StableIsNotHolder {
        /// The revision that has succeeded.
        revision: String,
        /// The backend that everyone is on.
        holder: String,
        /// The backend that is named as stable.
        stable: String,
    },
}

impl ReleaseRefusal {
    /// The key of the flag that would have to be another.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::CanaryChanged { .. } => "canary",
            Self::StableIsNotHolder { .. } => "stable",
        }
    }

    /// What would have been right.
    pub fn hint(&self) -> String {
        match self {
            Self::CanaryChanged { .. } => {
                "another version needs another `rollout.revision`".to_owned()
            }
            Self::StableIsNotHolder { holder, .. } => {
                format!("write `stable: {holder}` before another revision starts")
            }
        }
    }
}

/// Whether a plan's release may take the place of the flag's `records`, of which the one written
/// last stands at the end.
///
/// # Errors
/// When callers would be moved in a way that nobody can have meant.
pub fn admit(plan: &RolloutPlan, records: &[RolloutRecord]) -> Result<Admission, ReleaseRefusal> {
    let release = plan.release();
    let known = records.iter().rfind(|record| record.release == *release);
    let epoch_before = records.iter().map(|record| record.state.epoch).max();
    let current = records.last();
    if let Some(current) = current.filter(|current| current.release != *release) {
        refuse_changed_canary(&current.release, release)?;
        refuse_other_holder(current, release)?;
    }
    let is_superseded =
        |other: &&RolloutRecord| other.release != *release && !other.state.phase.has_ended();
    Ok(Admission {
        known: known.cloned(),
        superseded: records.iter().filter(is_superseded).cloned().collect(),
        epoch_before: epoch_before.unwrap_or_default(),
    })
}

fn refuse_changed_canary(before: &Release, release: &Release) -> Result<(), ReleaseRefusal> {
    if before.revision == release.revision && before.canary != release.canary {
        return Err(ReleaseRefusal::CanaryChanged {
            revision: release.revision.clone(),
            before: before.canary.to_string(),
            canary: release.canary.to_string(),
        });
    }
    Ok(())
}

fn refuse_other_holder(before: &RolloutRecord, release: &Release) -> Result<(), ReleaseRefusal> {
    let holds_all = before.state.phase == Phase::Succeeded
        && before.weights.all().all(|weight| weight == Weight::FULL);
    if holds_all && release.stable != before.release.canary {
        return Err(ReleaseRefusal::StableIsNotHolder {
            revision: before.release.revision.clone(),
            holder: before.release.canary.to_string(),
            stable: release.stable.to_string(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rollout::fixtures::{POLICY, plan_of, release, stage, state};

    fn record(revision: &str, (stable, canary): (&str, &str), phase: &str) -> RolloutRecord {
        let plan = plan_of(vec![stage(&[], "5%"), stage(&[], "100%")], POLICY);
        let state = state(phase, 1);
        RolloutRecord {
            flag: "orders".parse().unwrap(),
            release: Release {
                stable: stable.parse().unwrap(),
                canary: canary.parse().unwrap(),
                ..release(revision)
            },
            stages: plan.shapes(),
            weights: plan.weights_at(&state),
            state,
        }
    }

    /// The answer to the plan of revision 2 from `v1` to `v2`.
    fn admitted(records: &[RolloutRecord]) -> Result<Admission, ReleaseRefusal> {
        let plan = plan_of(vec![stage(&[], "5%"), stage(&[], "100%")], POLICY);
        admit(&plan, records)
    }

    #[test]
    fn a_release_that_was_known_goes_on_and_all_others_end() {
        let known = record("2", ("v1", "v2"), "progressing");
        let other = record("1", ("v1", "v2"), "paused");
        let ended = record("0", ("v1", "v2"), "rolled_back");
        let admission = admitted(&[ended, other.clone(), known.clone()]).unwrap();
        assert_eq!(admission.known, Some(known));
        assert_eq!(admission.superseded, [other]);
        assert_eq!(admission.epoch_before, 7);
        let new = admitted(&[]).unwrap();
        assert_eq!((new.known, new.epoch_before), (None, 0));
    }

    #[test]
    fn another_canary_needs_another_revision() {
        let refusal = admitted(&[record("2", ("v1", "v3"), "progressing")]).unwrap_err();
        assert_eq!(refusal.key(), "canary");
        assert_eq!(
            refusal.to_string(),
            "canary is `v2` and was `v3` under the same revision `2`"
        );
        // Where it was is as far as it goes: it may come back under its own name.
        assert!(admitted(&[record("1", ("v1", "v3"), "rolled_back")]).is_ok());
    }

    #[test]
    fn after_success_stable_has_to_name_who_has_everyone() {
        let refusal = admitted(&[record("1", ("v0", "v7"), "succeeded")]).unwrap_err();
        assert_eq!(refusal.key(), "stable");
        assert_eq!(
            refusal.hint(),
            "write `stable: v7` before another revision starts"
        );
        assert!(admitted(&[record("1", ("v0", "v1"), "succeeded")]).is_ok());
        let watching = admitted(&[record("1", ("v0", "v7"), "watching")]);
        assert!(watching.is_ok(), "nobody has all");
    }
}
