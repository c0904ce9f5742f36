//! Flags: how they stand, and what operators want of them.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::control::controller::Controller;
use crate::control::created::CREATED_FLAGS_MAX;
use crate::control::installation::follow_switch;
use crate::control::perform::{Unwritten, line, not_done};
use crate::control::ports::{JournalLine, Transition};
use crate::control::requirement::Requirement;
use crate::control::settings::with;
use crate::control::status::WeightsStatus;
use crate::domain::flag::{Flag, Stickiness};
use crate::domain::group::GroupTable;
use crate::domain::ids::{BackendName, FlagIndex, FlagName, GroupName, VariantName};
use crate::domain::rollout::{Author, JournalEntry, Moment};
use crate::domain::settings::{FlagChange, FlagOverrides, FlagSettings};
use crate::domain::variants::InvalidShare;

/// How a flag stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FlagStatus {
    /// Its name.
    pub flag: FlagName,
    /// Where it is defined.
    pub source: FlagSource,
    /// Its definition without secrets, where it was created at run time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Value>,
    /// Whether it is on; off means stable for everyone.
    pub enabled: bool,
    /// The backend that everyone has who does not get canary; none where it has no backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<BackendName>,
    /// The backend of the new version; none where it has no backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<BackendName>,
    /// Its variants, in the order of the configuration.
    pub variants: Vec<VariantStatus>,
    /// The variant of everyone who gets no other, and of everyone while it is off.
    pub off: VariantName,
    /// What a caller's variant sticks to: `caller` or `request`.
    pub stickiness: String,
    /// What goes before a caller's key when it is hashed.
    pub salt: String,
    /// How it is hashed: `murmur3`, `unleash`, `growthbook` or `growthbook_v1`.
    pub hash: String,
    /// What other flags have to give a caller before this one gives anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Requirement>,
    /// Whether a rollout sets its weights.
    pub has_rollout: bool,
    /// The weights that hold now.
    pub weights: WeightsStatus,
    /// What was set at run time and is not as configured, such as `enabled` or `groups.beta`.
    pub overridden: Vec<String>,
    /// Changes whenever anything of the above does: what a change may be made to depend on.
    pub version: String,
}

/// One of a flag's variants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VariantStatus {
    /// Its name.
    pub name: VariantName,
    /// What applications get.
    pub value: Value,
}

/// Where a flag is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlagSource {
    /// In the configuration's file.
    File,
    /// Over the API, at run time.
    Api,
}

/// What an operator wants of a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagOrder {
    /// To change some of its settings.
    Change(FlagChange),
    /// To have all as configured.
    Reset,
}

/// Why a flag was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// There is no such flag.
    #[error("no flag `{0}`, there are: {1}")]
    NoFlag(String, String),
    /// There is no such group.
    #[error("no group `{0}`, there are: {1}")]
    NoGroup(GroupName, String),
    /// Its variants cannot be shared out so.
    #[error("flag `{0}`: {1}")]
    Share(FlagName, InvalidShare),
    /// A rollout sets its weights.
    #[error("the weights of flag `{0}` are set by its rollout; use its verbs, or end it first")]
    HasRollout(FlagName),
    /// It is not what whoever asks has seen.
    #[error("flag `{flag}` has changed meanwhile: its version is {version}")]
    Stale {
        /// The flag.
        flag: FlagName,
        /// Its version now.
        version: String,
    },
    /// It is the configuration's.
    #[error(
        "flag `{0}` is declared in the configuration, `flags.{0}` at line {1}, and is changed there"
    )]
    Declared(FlagName, usize),
    /// It was created already, and nothing was said of that.
    #[error(
        "flag `{0}` exists already; to define it anew, say by `If-Match` which version you have seen"
    )]
    Exists(FlagName),
    /// It was to be a new one.
    #[error("flag `{0}` exists already")]
    IsThere(FlagName),
    /// It was to be one that there is.
    #[error("there is no flag `{0}` to define anew")]
    IsAbsent(FlagName),
    /// Others need it as it is.
    #[error("flag `{0}` is in use: {1}")]
    InUse(FlagName, String),
    /// Its definition is wrong; all that is.
    #[error("the definition is refused")]
    Unfit(Vec<String>),
    /// It would move callers in a way that nobody can have meant.
    #[error("{0}")]
    Refused(String),
    /// There is no room for one more.
    #[error("{CREATED_FLAGS_MAX} flags are created already, which is the most there may be")]
    TooMany,
    /// It could not be written down, so it was not done.
    #[error("not done, for it could not be written down: {0}")]
    NotWritten(String),
    /// Serin is stopping.
    #[error("the controller is stopping")]
    Stopping,
}

impl Controller {
    /// How all flags stand, in the order of the configuration.
    pub(super) fn flag_statuses(&self) -> Vec<FlagStatus> {
        let count = self.performer.routing.flags.len();
        (0..count)
            .map(|place| self.flag_status(FlagIndex(place)))
            .collect()
    }

    pub(super) fn flag_status(&self, index: FlagIndex) -> FlagStatus {
        let routing = &self.performer.routing;
        let flag = routing.flag(index);
        let overrides = self.settings.overrides.get(&flag.name);
        let backends = flag.backends;
        let backends = backends.map(|backends| backends.map(|it| routing.backend(it).name.clone()));
        let (stable, canary) = backends.map(|it| (it.stable, it.canary)).unzip();
        let variants = flag.variants.iter().map(|one| VariantStatus {
            name: one.name.clone(),
            value: one.value.clone(),
        });
        let stickiness = match flag.stickiness {
            Stickiness::Caller => "caller",
            Stickiness::Request => "request",
        };
        let needed = flag.requires.iter();
        let needed = needed.map(|needed| Requirement::of(needed, routing));
        let mut status = FlagStatus {
            flag: flag.name.clone(),
            source: if self.created.texts.contains_key(&flag.name) {
                FlagSource::Api
            } else {
                FlagSource::File
            },
            definition: self.created.definition(&flag.name),
            enabled: flag.enabled,
            stable,
            canary,
            variants: variants.collect(),
            off: flag.variants.get(flag.variants.off()).name.clone(),
            stickiness: stickiness.to_owned(),
            salt: flag.salt.to_string(),
            hash: flag.hash.as_str().to_owned(),
            requires: needed.collect(),
            has_rollout: self.rollouts.iter().any(|rollout| rollout.flag == index),
            weights: WeightsStatus::of_flag(flag, &routing.groups),
            overridden: overrides.map(FlagOverrides::keys).unwrap_or_default(),
            version: String::new(),
        };
        status.version = version(&status, self.created.texts.get(&flag.name));
        status
    }

    /// Changes what is set of a flag; whoever waits for the answer sees the effect on every request.
    pub(super) fn change_flag(
        &mut self,
        flag: &str,
        order: &FlagOrder,
        expected: Option<&str>,
        by: &Author,
    ) -> Result<FlagStatus, FlagError> {
        let routing = &self.performer.routing;
        let index = routing.flag_index(flag).ok_or_else(|| self.no_flag(flag))?;
        let name = routing.flag(index).name.clone();
        let before = self.flag_status(index);
        if expected.is_some_and(|expected| expected != before.version) {
            return Err(FlagError::Stale {
                flag: name,
                version: before.version,
            });
        }
        let current = self.settings.of(&name);
        let wanted = match order {
            FlagOrder::Change(change) => {
                if change.is_of_weights() && before.has_rollout {
                    return Err(FlagError::HasRollout(name));
                }
                known_groups(change, &routing.groups)?;
                let variants = &routing.flag(index).variants;
                let normal = change.map(|share| variants.normal(share));
                let normal = normal.map_err(|error| FlagError::Share(name.clone(), error))?;
                normal.of(&current)
            }
            FlagOrder::Reset => self
                .settings
                .configured
                .get(&name)
                .cloned()
                .unwrap_or_default(),
        };
        if wanted == current {
            return Ok(before);
        }
        self.write_flag(&name, (&current, &wanted), before.has_rollout, by)?;
        self.set_flag(index, &wanted, by);
        Ok(self.flag_status(index))
    }

    pub(super) fn no_flag(&self, flag: &str) -> FlagError {
        let flags = self.performer.routing.flags.iter();
        let known: Vec<_> = flags.map(|flag| flag.name.as_str()).collect();
        FlagError::NoFlag(flag.to_owned(), known.join(", "))
    }

    /// Writes down what is to be set.
    fn write_flag(
        &mut self,
        name: &FlagName,
        (current, wanted): (&FlagSettings, &FlagSettings),
        has_rollout: bool,
        by: &Author,
    ) -> Result<(), FlagError> {
        let configured = self
            .settings
            .configured
            .get(name)
            .cloned()
            .unwrap_or_default();
        let overrides = FlagOverrides::between(&configured, wanted);
        let entry = JournalEntry {
            who: by.who.clone(),
            what: wanted.since(current).to_string(),
            why: by.why.clone(),
            findings: Vec::new(),
        };
        tracing::info!(flag = %name, who = entry.who, why = entry.why, "{}", entry.what);
        let transition = Transition {
            overrides: vec![(name.clone(), overrides.clone())],
            lines: vec![line(name, entry)],
            ..Transition::default()
        };
        // To take canary from callers is safe even where it cannot be written down; to give it is not.
        let takes_away = if has_rollout {
            !wanted.enabled
        } else {
            wanted.is_at_most(current)
        };
        let unwritten = if takes_away {
            Unwritten::Allowed
        } else {
            Unwritten::Refused
        };
        let lines = transition.lines.clone();
        let saved = self.performer.save(transition, unwritten);
        let known = &mut self.settings.overrides;
        if let Err(error) = saved {
            if self.performer.is_in_doubt {
                let holds = known.get(name).cloned().unwrap_or_default();
                self.performer.restore(still(name, holds, lines));
            }
            return Err(FlagError::NotWritten(error.to_string()));
        }
        known.insert(name.clone(), overrides);
        known.retain(|_, overrides| !overrides.is_empty());
        Ok(())
    }

    /// Decides requests by what is set from now on.
    fn set_flag(&mut self, index: FlagIndex, wanted: &FlagSettings, by: &Author) {
        let routing = &mut self.performer.routing;
        let flag = routing.flag(index);
        let rollout = self
            .rollouts
            .iter_mut()
            .find(|rollout| rollout.flag == index);
        let changed = if rollout.is_some() {
            Flag {
                enabled: wanted.enabled,
                ..flag.clone()
            }
        } else {
            let changed = with(flag, wanted, &routing.groups);
            let is_reweighted = changed.weights != flag.weights;
            Flag {
                epoch: flag.epoch.saturating_add(u64::from(is_reweighted)),
                ..changed
            }
        };
        routing.flags[index.0] = Arc::new(changed);
        if let Some(rollout) = rollout {
            let moment = Moment {
                now: self.clock.now(),
                is_on: wanted.enabled,
                freeze: self.freeze.as_ref(),
                stable_endpoints: usize::MAX,
                gates: None,
            };
            follow_switch(rollout, by, &mut self.performer, &moment);
        }
        self.performer.publish();
    }
}

/// What holds when a change was refused, as `refused` would have told.
fn still(name: &FlagName, holds: FlagOverrides, refused: Vec<JournalLine>) -> Transition {
    Transition {
        overrides: vec![(name.clone(), holds)],
        lines: not_done(refused),
        ..Transition::default()
    }
}

fn known_groups(change: &FlagChange, groups: &GroupTable) -> Result<(), FlagError> {
    let mut named = change.groups.keys();
    let unknown = named.find(|group| groups.index_of(group.as_str()).is_none());
    unknown.map_or(Ok(()), |group| {
        let known: Vec<_> = groups
            .iter()
            .map(|(_, group)| group.name.as_str())
            .collect();
        Err(FlagError::NoGroup(group.clone(), known.join(", ")))
    })
}

/// Short, and another for anything else.
fn version(status: &FlagStatus, definition: Option<&Arc<str>>) -> String {
    // Drawn anew by each process, so that nobody can try at home which secret makes a version.
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let mut hasher = KEY.build_hasher();
    // What is shown of a definition lacks its secrets.
    definition.hash(&mut hasher);
    // What cannot be written as JSON cannot be shown either.
    serde_json::to_string(status)
        .unwrap_or_default()
        .hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
