//! What the tests are told of a tick: the counts of its epoch, by group, and how many are exposed.

use crate::domain::evidence::{Stratum, TickCounts};
use crate::domain::ids::GroupName;
use crate::domain::judge::sequential::{ArmTick, CallerStart, StratumTick, Tick, Unit};
use crate::domain::judge::stage::StageContext;
use crate::domain::stage_weights::StageWeights;
use crate::domain::variant::PerVariant;

/// What is known of a tick besides its counts and its stage.
pub(super) struct Circumstances<'a> {
    /// Its number, and that of its stage.
    pub(super) number: i64,
    pub(super) stage_number: i64,
    /// The groups that are judged for themselves.
    pub(super) groups: &'a [GroupName],
    /// The starts in which its callers were counted; `None` while canary is cold.
    pub(super) starts: Option<&'a [CallerStart]>,
    /// What was seen since the stage began, the tick included.
    pub(super) seen: &'a TickCounts,
    pub(super) unit: Unit,
}

/// The tick as the tests are told it.
pub(super) fn tick(
    counts: &TickCounts,
    stage: &StageContext,
    circumstances: &Circumstances<'_>,
) -> Tick {
    let Circumstances { groups, seen, .. } = circumstances;
    let starts = match circumstances.unit {
        Unit::Caller => circumstances.starts.unwrap_or_default(),
        Unit::Request => &[],
    };
    let is_current = |stratum: &&Stratum| stratum.epoch == stage.epoch;
    let strata = counts.strata().iter().filter(is_current);
    Tick {
        number: circumstances.number,
        stage: circumstances.stage_number,
        exposed: exposed(&stage.weights, seen, stage.epoch),
        exposed_next: Some(exposed(&stage.next, seen, stage.epoch)),
        is_warm_up: circumstances.starts.is_none(),
        requests_min: Some(stage.min_requests.max(1)),
        starts: starts.to_vec(),
        left: stage
            .left
            .iter()
            .filter_map(|left| place(left, groups))
            .collect(),
        strata: strata
            .map(|stratum| of_stratum(stratum, groups, starts))
            .collect(),
    }
}

/// The number of a group.
fn place(group: &GroupName, groups: &[GroupName]) -> Option<usize> {
    groups.iter().position(|other| other == group)
}

fn of_stratum(stratum: &Stratum, groups: &[GroupName], starts: &[CallerStart]) -> StratumTick {
    let own = stratum
        .group
        .as_ref()
        .and_then(|group| place(group, groups));
    let arms = PerVariant::from_fn(|variant| {
        let counts = stratum.arms.get(variant);
        let mut arm = ArmTick::from(counts);
        arm.count_callers(&counts.cells, starts);
        arm
    });
    StratumTick {
        group: own.unwrap_or(groups.len()),
        weight: stratum.weight.ratio(),
        arms,
    }
}

/// The share of all callers that weights expose to canary. Groups count by the requests they have sent in
/// the stage; before any, all count like the most exposed.
fn exposed(weights: &StageWeights, seen: &TickCounts, epoch: u64) -> f64 {
    // In whole basis points, so that one weight for all is exactly that share.
    let (mut all, mut canary) = (0.0, 0.0);
    for stratum in seen
        .strata()
        .iter()
        .filter(|stratum| stratum.epoch == epoch)
    {
        let requests = stratum.arms.stable.requests + stratum.arms.canary.requests;
        let weight = weights.of(stratum.group.as_ref()).basis_points();
        all += requests as f64 * 1e4;
        canary += requests as f64 * f64::from(weight);
    }
    if all > 0.0 {
        canary / all
    } else {
        weights.greatest().ratio()
    }
}
