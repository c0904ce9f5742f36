//! Takes canary back in all flags at once: for whoever does not know yet which one it is.
//!
//! Nobody gets canary any more before anything is written down: a disk that hangs delays the answer, and not the
//! next request.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::controller::Controller;
use crate::control::flags::FlagOrder;
use crate::control::moment::moment_of;
use crate::control::running::RunningRollout;
use crate::control::settings::with;
use crate::control::status::WeightsStatus;
use crate::domain::flag::Flag;
use crate::domain::ids::{FlagIndex, FlagName};
use crate::domain::rollout::{Author, Command, Event, Phase, RolloutState, step};
use crate::domain::settings::FlagChange;
use crate::domain::share::Share;
use crate::domain::weight::Weight;

/// What became of taking canary back everywhere.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TakenBack {
    /// The flags in which canary had callers, in the file's order.
    pub flags: Vec<FlagTakenBack>,
    /// The flags that go on giving values to callers: those without backends have no canary to take back.
    #[serde(default)]
    pub untouched: Vec<FlagName>,
    /// The flags in which callers may still choose canary by a header, for `force.after_rollback` says so.
    #[serde(default)]
    pub choosable: Vec<FlagName>,
}

/// What became of it in one flag.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FlagTakenBack {
    /// The flag.
    pub flag: FlagName,
    /// The weights that it had.
    pub before: WeightsStatus,
    /// What became of callers who choose their variant by a header, where the flag lets any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<Forced>,
    /// Whether a restart would find it so.
    pub is_written: bool,
    /// Why canary has callers as before, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What becomes of callers who choose their variant by a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Forced {
    /// They get stable, for the rollout is taken back.
    Stopped,
    /// They get stable, for the flag is off: without a rollout nothing else stops them.
    FlagOff,
    /// They may still choose canary: `force.after_rollback` says so.
    MayChoose,
}

/// How canary is taken back in one flag.
enum Way {
    /// By its rollout's verb.
    Rollback,
    /// By its weights, and by its switch.
    Set(FlagChange),
}

impl Controller {
    /// Takes canary to nothing in every flag in which it has any callers, whatever is the matter with others.
    ///
    /// Rollouts that have not begun are left as they are, if nobody may choose their canary: a freeze keeps them
    /// from it.
    pub(super) fn take_back_all(&mut self, by: &Author) -> TakenBack {
        let count = self.performer.routing.flags.len();
        let places = (0..count).map(FlagIndex);
        let ways = places.filter_map(|place| Some((place, self.way(place)?)));
        let ways: Vec<_> = ways.collect();
        let flags = self.performer.routing.flags.iter();
        let untouched =
            flags.filter(|flag| flag.backends.is_none() && flag.enabled && !is_at_zero(flag));
        let untouched = untouched.map(|flag| flag.name.clone()).collect();
        let may_choose = |flag: &&Arc<Flag>| {
            let force = flag.force.as_ref();
            flag.enabled && flag.backends.is_some() && force.is_some_and(|it| it.after_rollback)
        };
        let flags = self.performer.routing.flags.iter();
        let choosable = flags
            .filter(may_choose)
            .map(|flag| flag.name.clone())
            .collect();
        let groups = Arc::clone(&self.performer.routing.groups);
        let before = ways
            .iter()
            .map(|(place, _)| WeightsStatus::of_flag(self.performer.routing.flag(*place), &groups));
        let before: Vec<_> = before.collect();
        self.stop_all(&ways, by);
        let taken = ways.into_iter().zip(before);
        let taken = taken.map(|((place, way), before)| self.take_back(place, way, before, by));
        let flags = taken.collect();
        // The last of them may have been taken back by its rollout.
        self.performer.publish();
        TakenBack {
            flags,
            untouched,
            choosable,
        }
    }

    /// `None` where canary has no callers, or there is none: a flag without backends has values only.
    fn way(&self, place: FlagIndex) -> Option<Way> {
        let flag = self.performer.routing.flag(place);
        flag.backends.as_ref()?;
        let is_forced = flag.enabled
            && flag
                .force
                .as_ref()
                .is_some_and(|force| !force.after_rollback);
        if let Some(rollout) = self.rollout_at(place) {
            let phase = &rollout.state().phase;
            let may_choose = is_forced && matches!(phase, Phase::Waiting { .. });
            return (phase.has_traffic() || may_choose).then_some(Way::Rollback);
        }
        if is_at_zero(flag) && !is_forced {
            return None;
        }
        let groups = flag.weights.groups.iter();
        let groups = groups.map(|entry| {
            let group = self.performer.routing.groups.name(entry.group).clone();
            (group, Some(Share::NOBODY))
        });
        Some(Way::Set(FlagChange {
            enabled: is_forced.then_some(false),
            groups: groups.collect(),
            default: Some(Share::NOBODY),
        }))
    }

    fn rollout_at(&self, place: FlagIndex) -> Option<&RunningRollout> {
        let mut rollouts = self.rollouts.iter();
        rollouts.find(|rollout| rollout.flag == place)
    }

    /// Publishes at once what all of them will come to.
    fn stop_all(&mut self, ways: &[(FlagIndex, Way)], by: &Author) {
        self.performer.is_gathering = true;
        for (place, way) in ways {
            match way {
                Way::Rollback => self.stop_rollout(*place, by),
                Way::Set(change) => self.stop_flag(*place, change),
            }
        }
        self.performer.publish();
    }

    fn stop_rollout(&mut self, place: FlagIndex, by: &Author) {
        let Some(rollout) = self.rollout_at(place) else {
            return;
        };
        let circumstances = (self.clock.now(), self.freeze.as_ref());
        let moment = moment_of(rollout, circumstances, &self.performer, &self.endpoints);
        let rolled_back = |state: RolloutState| {
            let (command, by) = (Command::Rollback, by.clone());
            step(
                &rollout.plan,
                state,
                Event::Command { command, by },
                &moment,
            )
            .state
        };
        let mut state = rolled_back(rollout.state().clone());
        if matches!(state.phase, Phase::RollingBack { .. }) {
            // Said once more, it goes down at once.
            state = rolled_back(state);
        }
        let weights = rollout.plan.weights_at(&state);
        self.performer.publish_weights(place, &weights, &state);
    }

    fn stop_flag(&mut self, place: FlagIndex, change: &FlagChange) {
        let routing = &mut self.performer.routing;
        let flag = routing.flag(place);
        let wanted = change.of(&self.settings.of(&flag.name));
        let stopped = with(flag, &wanted, &routing.groups);
        let is_reweighted = stopped.weights != flag.weights;
        let epoch = flag.epoch.saturating_add(u64::from(is_reweighted));
        routing.flags[place.0] = Arc::new(Flag { epoch, ..stopped });
    }

    fn take_back(
        &mut self,
        place: FlagIndex,
        way: Way,
        before: WeightsStatus,
        by: &Author,
    ) -> FlagTakenBack {
        let flag = self.performer.routing.flag(place);
        let forced = flag.force.as_ref().map(|force| match way {
            _ if force.after_rollback => Forced::MayChoose,
            Way::Rollback => Forced::Stopped,
            Way::Set(_) => Forced::FlagOff,
        });
        let flag = flag.name.clone();
        let answer = match way {
            Way::Rollback => self.end_rollout(&flag, by),
            Way::Set(change) => self.set(&flag, change, by),
        };
        let (is_written, problem) = match answer {
            Ok(is_written) => (is_written, None),
            Err(problem) => (false, Some(problem)),
        };
        FlagTakenBack {
            flag,
            before,
            forced,
            is_written,
            problem,
        }
    }

    /// Whether a restart would find it so.
    fn end_rollout(&mut self, name: &FlagName, by: &Author) -> Result<bool, String> {
        // Where it goes back stage by stage, the first step is not to be seen.
        self.performer.is_gathering = true;
        let mut order = || self.command(name.to_string(), Command::Rollback, by.clone());
        let mut status = order().map_err(|error| error.to_string())?;
        if status.phase == "rolling_back" {
            // Said once more, it goes down at once.
            status = order().map_err(|error| error.to_string())?;
        }
        Ok(status.is_written)
    }

    fn set(&mut self, name: &FlagName, change: FlagChange, by: &Author) -> Result<bool, String> {
        let order = FlagOrder::Change(change);
        let changed = self.change_flag(name.as_str(), &order, None, by);
        let is_saved = || {
            let mut unsaved = self.performer.unsaved.iter();
            !unsaved.any(|known| known.overrides.iter().any(|(flag, _)| flag == name))
        };
        changed
            .map(|_| is_saved())
            .map_err(|error| error.to_string())
    }
}

/// Whether nobody gets canary by the weights.
fn is_at_zero(flag: &Flag) -> bool {
    let weights = &flag.weights;
    let mut groups = weights.groups.iter();
    weights.default == Weight::ZERO && groups.all(|entry| entry.weight == Weight::ZERO)
}
