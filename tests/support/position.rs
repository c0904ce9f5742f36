//! Where a rollout may be: a small model of its own, to hold the real program against.
//!
//! All rollouts of it have one plan, of which no stage ends by itself: whatever moves was told to.

use std::fmt::Write as _;

use serde_json::Value;
use serin::domain::bucket::Bucket;
use serin::domain::weight::Weight;

use super::{Request, TestProxy};

/// The plan of every rollout, but for its revision.
const PLAN: &str = "stages: [10%, 40%, 100%], hold: 1h, watch: 1h, min_requests: 1000000000, \
                    final_control: 20%, deadline: 365d";

/// The weight of each stage, in basis points; the last is what the final control leaves.
const STAGES: [u16; 3] = [1_000, 4_000, 8_000];

/// The last stage.
const LAST: usize = STAGES.len() - 1;

/// Where a rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) revision: u32,
    /// Whether `v2` is stable and `v1` is canary.
    pub(crate) is_swapped: bool,
    /// Whether the flag is on.
    pub(crate) is_on: bool,
    pub(crate) phase: Phase,
    /// Counted from 0.
    pub(crate) stage: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Progressing,
    PausedInStage,
    Watching,
    PausedInWatch,
    Succeeded,
    RolledBack,
    Aborted,
}

/// What somebody does to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Promote,
    PromoteFull,
    Rollback,
    Pause,
    Resume,
    Abort,
    Retry,
    /// Another revision, by the configuration.
    Revise,
    /// The flag off and on, by the configuration.
    SwitchOff,
    SwitchOn,
}

impl Act {
    /// The verb of the API; none for what the configuration does.
    pub(crate) const fn verb(self) -> Option<&'static str> {
        match self {
            Self::Promote | Self::PromoteFull => Some("promote"),
            Self::Rollback => Some("rollback"),
            Self::Pause => Some("pause"),
            Self::Resume => Some("resume"),
            Self::Abort => Some("abort"),
            Self::Retry => Some("retry"),
            Self::Revise | Self::SwitchOff | Self::SwitchOn => None,
        }
    }
}

impl Phase {
    const fn word(self) -> &'static str {
        match self {
            Self::Progressing => "progressing",
            Self::PausedInStage | Self::PausedInWatch => "paused",
            Self::Watching => "watching",
            Self::Succeeded => "succeeded",
            Self::RolledBack => "rolled_back",
            Self::Aborted => "aborted",
        }
    }

    const fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::RolledBack | Self::Aborted)
    }
}

impl Position {
    /// The first stage of the first revision.
    pub(crate) const START: Self = Self {
        revision: 1,
        is_swapped: false,
        is_on: true,
        phase: Phase::Progressing,
        stage: 0,
    };

    /// Where something leads; `None` where it makes no sense.
    pub(crate) fn after(self, act: Act) -> Option<Self> {
        let (phase, stage) = match (act, self.phase) {
            (Act::Promote | Act::PromoteFull | Act::Resume | Act::Retry, _) if !self.is_on => {
                return None;
            }
            (Act::Promote, Phase::Progressing | Phase::PausedInStage) if self.stage < LAST => {
                (Phase::Progressing, self.stage + 1)
            }
            (Act::Promote | Act::PromoteFull, Phase::Progressing | Phase::PausedInStage) => {
                (Phase::Watching, LAST)
            }
            (Act::Promote | Act::PromoteFull, Phase::Watching | Phase::PausedInWatch) => {
                (Phase::Succeeded, LAST)
            }
            (Act::Rollback, phase) if phase != Phase::RolledBack => (Phase::RolledBack, self.stage),
            (Act::Pause | Act::SwitchOff, Phase::Progressing) => (Phase::PausedInStage, self.stage),
            (Act::Pause | Act::SwitchOff, Phase::Watching) => (Phase::PausedInWatch, self.stage),
            (Act::Resume, Phase::PausedInStage) => (Phase::Progressing, self.stage),
            (Act::Resume, Phase::PausedInWatch) => (Phase::Watching, self.stage),
            (Act::SwitchOn, Phase::PausedInStage) if !self.is_on => {
                (Phase::Progressing, self.stage)
            }
            (Act::SwitchOn, Phase::PausedInWatch) if !self.is_on => (Phase::Watching, self.stage),
            (Act::SwitchOn, phase) if !self.is_on => (phase, self.stage),
            (Act::Abort, phase) if !phase.has_ended() => (Phase::Aborted, self.stage),
            (Act::Retry, Phase::RolledBack | Phase::Aborted) => (Phase::Progressing, 0),
            (Act::Revise, _) => (Phase::Progressing, 0),
            _ => return None,
        };
        let is_new = act == Act::Revise;
        // Who has everyone is stable for the next one.
        let swaps = is_new && self.phase == Phase::Succeeded;
        Some(Self {
            revision: self.revision + u32::from(is_new),
            is_swapped: self.is_swapped != swaps,
            is_on: act != Act::SwitchOff && (self.is_on || is_new || act == Act::SwitchOn),
            phase,
            stage,
        })
    }

    /// The share of callers that get the canary.
    pub(crate) fn weight(self) -> Weight {
        let basis_points = match self.phase {
            _ if !self.is_on => 0,
            Phase::RolledBack | Phase::Aborted => 0,
            Phase::Succeeded => Weight::WHOLE,
            Phase::Progressing | Phase::PausedInStage => STAGES[self.stage],
            Phase::Watching | Phase::PausedInWatch => STAGES[LAST],
        };
        Weight::from_basis_points(basis_points).unwrap()
    }

    const fn backends(self) -> (&'static str, &'static str) {
        if self.is_swapped {
            ("v2", "v1")
        } else {
            ("v1", "v2")
        }
    }

    /// The flag in a configuration.
    pub(crate) fn written(self, flag: &str) -> String {
        let (stable, canary) = self.backends();
        let (is_on, revision) = (self.is_on, self.revision);
        format!(
            "\x20 {flag}: {{ enabled: {is_on}, stable: {stable}, canary: {canary}, \
             rollout: {{ revision: \"{revision}\", {PLAN} }} }}\n"
        )
    }

    /// Whether the API says that a rollout is here.
    pub(crate) fn is_told_by(self, status: &Value) -> bool {
        let (stable, canary) = self.backends();
        status["phase"] == self.phase.word()
            && status["stage"] == self.stage + 1
            && status["revision"] == *self.revision.to_string()
            && status["stable"] == stable
            && status["canary"] == canary
            && status["enabled"] == self.is_on
    }

    /// Who answers a caller of a flag here.
    pub(crate) fn server_of(self, flag: &str, caller: &str) -> &'static str {
        let (stable, canary) = self.backends();
        if Bucket::of(flag, caller).is_within(self.weight()) {
            canary
        } else {
            stable
        }
    }
}

/// Callers of a flag of whom some change sides with each step of the plan.
pub(crate) fn telling_callers(flag: &str) -> Vec<String> {
    let ends = STAGES.iter().copied().chain([Weight::WHOLE]);
    let begins = [0].into_iter().chain(STAGES);
    let bands = begins.zip(ends).map(|(begin, end)| begin..end);
    let callers = bands.flat_map(|band| {
        let names = (0..).map(|number| format!("caller-{number}"));
        let in_band = names.filter(move |name| band.contains(&Bucket::of(flag, name).place()));
        in_band.take(2)
    });
    callers.collect()
}

/// A configuration with flags at positions, on the backends that `backends` names `v1` and `v2`;
/// the first flag has all requests but those for the others' names.
pub(crate) fn config(backends: &str, flags: &[(&str, Position)]) -> String {
    let mut text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
         state: {{ path: state }}\ntrusted_proxies: [127.0.0.0/8]\n\
         identity: [{{ header: x-user-id }}]\n{backends}flags:\n"
    );
    for (flag, position) in flags {
        text.push_str(&position.written(flag));
    }
    text.push_str("routes:\n");
    for (place, (flag, _)) in flags.iter().enumerate() {
        let path = if place == 0 { "" } else { flag };
        writeln!(text, "  - {{ path: /{path}, flag: {flag} }}").unwrap();
    }
    text
}

/// Who answers each of some callers.
pub(crate) fn servers_of(proxy: &TestProxy, path: &str, callers: &[String]) -> Vec<String> {
    let mut connection = proxy.connect();
    let answers = callers.iter().map(|caller| {
        let answer = connection.ask(&Request::get(path).field("x-user-id", caller));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text().to_owned()
    });
    answers.collect()
}
