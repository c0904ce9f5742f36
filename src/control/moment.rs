//! The circumstances that a rollout's steps are taken in.

use crate::control::endpoints::EndpointsUp;
use crate::control::perform::Performer;
use crate::control::running::RunningRollout;
use crate::domain::rollout::{Freeze, Moment};
use crate::domain::timestamp::Timestamp;

/// The circumstances of one rollout.
pub(super) fn moment_of<'a>(
    rollout: &RunningRollout,
    (now, freeze): (Timestamp, Option<&'a Freeze>),
    performer: &Performer,
    endpoints: &EndpointsUp,
) -> Moment<'a> {
    let flag = performer.routing.flag(rollout.flag);
    let stable_endpoints = flag.backends.map_or(usize::MAX, |backends| {
        let stable = performer.routing.backend(backends.stable);
        endpoints.count(&stable.name, &stable.endpoints)
    });
    Moment {
        now,
        is_on: flag.enabled,
        freeze,
        stable_endpoints,
        gates: None,
    }
}
