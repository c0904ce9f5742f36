//! Takes canary back in all flags at once: for whoever does not know yet which one it is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::controller::Controller;
use crate::control::flags::FlagOrder;
use crate::domain::ids::{FlagIndex, FlagName};
use crate::domain::rollout::{Author, Command};
use crate::domain::settings::FlagChange;
use crate::domain::share::Share;
use crate::domain::weight::Weight;

/// What became of taking canary back everywhere.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TakenBack {
    /// The flags in which canary had callers, in the file's order.
    pub flags: Vec<FlagTakenBack>,
}

/// What became of it in one flag.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FlagTakenBack {
    /// The flag.
    pub flag: FlagName,
    /// Whether a restart would find it so.
    pub is_written: bool,
    /// Why canary has callers as before, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Controller {
    /// Takes canary to nothing in every flag in which it has any callers, whatever is the matter with others.
    ///
    /// Rollouts that have not begun are left as they are: a freeze keeps them from it.
    pub(super) fn take_back_all(&mut self, by: &Author) -> TakenBack {
        let count = self.performer.routing.flags.len();
        let places = (0..count).map(FlagIndex);
        let flags = places.filter_map(|place| self.take_back(place, by));
        TakenBack {
            flags: flags.collect(),
        }
    }

    /// `None` where canary has nothing, or there is no canary: a flag without backends has values only.
    fn take_back(&mut self, place: FlagIndex, by: &Author) -> Option<FlagTakenBack> {
        let flag = self.performer.routing.flag(place);
        flag.backends.as_ref()?;
        let (name, weights) = (flag.name.clone(), flag.weights.clone());
        let mut rollouts = self.rollouts.iter();
        let answer = match rollouts.find(|rollout| rollout.flag == place) {
            Some(rollout) if rollout.state().phase.has_traffic() => self.end_rollout(&name, by),
            Some(_) => return None,
            None => {
                let mut all = weights.groups.iter().map(|entry| entry.weight);
                if weights.default == Weight::ZERO && all.all(|weight| weight == Weight::ZERO) {
                    return None;
                }
                self.zero_weights(place, &name, by)
            }
        };
        let (is_written, problem) = match answer {
            Ok(is_written) => (is_written, None),
            Err(problem) => (false, Some(problem)),
        };
        Some(FlagTakenBack {
            flag: name,
            is_written,
            problem,
        })
    }

    /// Whether a restart would find it so.
    fn end_rollout(&mut self, name: &FlagName, by: &Author) -> Result<bool, String> {
        let mut order = || self.command(name.to_string(), Command::Rollback, by.clone());
        let mut status = order().map_err(|error| error.to_string())?;
        if status.phase == "rolling_back" {
            // Said once more, it goes down at once.
            status = order().map_err(|error| error.to_string())?;
        }
        Ok(status.is_written)
    }

    fn zero_weights(
        &mut self,
        place: FlagIndex,
        name: &FlagName,
        by: &Author,
    ) -> Result<bool, String> {
        let routing = &self.performer.routing;
        let groups = routing.flag(place).weights.groups.iter();
        let groups = groups.map(|entry| {
            let group = routing.groups.name(entry.group).clone();
            (group, Some(Share::NOBODY))
        });
        let change = FlagChange {
            enabled: None,
            groups: groups.collect(),
            default: Some(Share::NOBODY),
        };
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
