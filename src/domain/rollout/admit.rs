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
    /// The release that ends for it, while canary still had callers.
    pub superseded: Option<RolloutRecord>,
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
        |current: &&RolloutRecord| current.release != *release && !current.state.phase.has_ended();
    Ok(Admission {
        known: known.cloned(),
        superseded: current.filter(is_superseded).cloned(),
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
