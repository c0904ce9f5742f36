//! Looks at the gates before the next stage of a rollout, and asks those that are webhooks.
//!
//! Gates are looked at in their order, and a webhook is asked once all before it are open. Each question is
//! a task of its own, started at a tick and looked for at a later one, as those of custom checks are: no tick
//! waits for it, and one that hangs costs nothing but the task. What is under way is dropped when the rollout
//! waits no more. An answer that passes holds for this wait only: before the next stage all are asked anew.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::sleep;
use utoipa::ToSchema;

use crate::control::TICK;
use crate::control::ports::{HookCall, HookCaller};
use crate::control::status::{RolloutStatus, percent};
use crate::domain::gate::{
    ClosedGate, Gate, GateKind, GatesNow, HookAnswer, HookSaid, Webhook, Window,
};
use crate::domain::rollout::{Phase, RolloutPlan, RolloutState, Wait};
use crate::domain::timestamp::Timestamp;

/// How long after a question without an answer it is asked once more.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A gate before the next stage.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GateStatus {
    /// Its name.
    pub name: String,
    /// What opens it: `window` or `webhook`.
    pub kind: String,
    /// Whether it is open. Those after one that is closed have not been asked yet.
    pub is_open: bool,
    /// Why it is closed, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
    /// When its window opens next, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens_at_unix_ms: Option<u64>,
}

/// The gates of one rollout.
#[derive(Default)]
pub(crate) struct Gatekeeper {
    /// Whether webhooks are being asked.
    is_asking: bool,
    /// Before which stage they stand, of which attempt.
    place: Option<(usize, u32)>,
    gates: Vec<Gate>,
    /// One for each gate; of no use for windows.
    polls: Vec<Poll>,
    /// What they amounted to when they were looked at last.
    now: GatesNow,
    /// When the window that is closed opens next, as the time since 1970.
    opens: Option<Duration>,
}

/// What is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Standing<'a> {
    pub(crate) plan: &'a RolloutPlan,
    pub(crate) state: &'a RolloutState,
    pub(crate) now: Timestamp,
    /// The time since 1970, by which windows open.
    pub(crate) wall: Duration,
}

impl Standing<'_> {
    /// The stage whose gates matter.
    fn next_stage(&self) -> Option<usize> {
        let next = match self.state.phase {
            Phase::Waiting {
                wait: Wait::Freeze | Wait::State | Wait::Gate,
            } => 0,
            Phase::Progressing | Phase::WaitingForApproval | Phase::WaitingForGate { .. } => {
                self.state.stage + 1
            }
            Phase::Waiting { .. }
            | Phase::Paused { .. }
            | Phase::Watching
            | Phase::Succeeded
            | Phase::RollingBack { .. }
            | Phase::RolledBack { .. }
            | Phase::Aborted { .. } => return None,
        };
        let has_gates = |stage: &usize| {
            let stage = self.plan.stages().get(*stage);
            stage.is_some_and(|stage| !stage.gates.is_empty())
        };
        Some(next).filter(has_gates)
    }

    /// Whether the stage before has passed, so that webhooks are asked.
    const fn is_at_gate(&self) -> bool {
        matches!(
            self.state.phase,
            Phase::Waiting { wait: Wait::Gate }
                | Phase::WaitingForApproval
                | Phase::WaitingForGate { .. }
        )
    }

    /// What a webhook is told.
    fn said(&self, stage: usize, gate: &Gate, hook: &Webhook) -> HookSaid {
        HookSaid {
            name: self.plan.flag().to_string(),
            gate: gate.name.to_string(),
            phase: self.state.phase.as_str().to_owned(),
            stage: stage + 1,
            stages: self.plan.stages().len(),
            weight: percent(self.plan.stage(stage).shape.weight),
            revision: self.plan.revision().to_owned(),
            metadata: hook.metadata.clone(),
        }
    }
}

impl Gatekeeper {
    /// What the gates before the next stage amount to; `None` where there are none.
    pub(crate) fn look(
        &mut self,
        standing: &Standing<'_>,
        caller: &Arc<dyn HookCaller>,
    ) -> Option<GatesNow> {
        let Some(stage) = standing.next_stage() else {
            *self = Self::default();
            return None;
        };
        let gates = &standing.plan.stage(stage).gates;
        let place = Some((stage, standing.state.attempt));
        let is_asking = standing.is_at_gate();
        if place != self.place || *gates != self.gates || is_asking != self.is_asking {
            *self = Self {
                place,
                is_asking,
                gates: gates.clone(),
                polls: gates.iter().map(|_| Poll::default()).collect(),
                ..Self::default()
            };
        }
        let mut now = GatesNow::default();
        self.opens = None;
        for (gate, poll) in self.gates.iter().zip(&mut self.polls) {
            let looked = match &gate.kind {
                GateKind::Window(windows) => {
                    let looked = look_at_windows(windows, standing.wall);
                    self.opens = looked.as_ref().err().and_then(|(_, opens)| *opens);
                    looked.map_err(|(says, _)| (says.clone(), says))
                }
                GateKind::Webhook(_) if !is_asking => {
                    Err(("has not been asked yet".to_owned(), String::new()))
                }
                GateKind::Webhook(hook) => {
                    let said = || standing.said(stage, gate, hook);
                    poll.look(hook, said, standing.now, caller)
                }
            };
            match looked {
                Ok(says) => now.opened_by = format!("gate `{}` {says}", gate.name),
                Err((says, gist)) => {
                    now.closed = Some(ClosedGate {
                        name: gate.name.clone(),
                        awaits: gate.kind.awaits(),
                        says: format!("gate `{}` {says}", gate.name),
                        gist,
                    });
                    break;
                }
            }
        }
        self.now = now.clone();
        Some(now)
    }

    /// What the gates before the next stage amounted to when they were looked at last, if they were.
    pub(crate) fn seen_before(&self, stage: usize, attempt: u32) -> Option<GatesNow> {
        let is_there = self.place == Some((stage, attempt));
        is_there.then(|| self.now.clone())
    }

    /// Shows the gates where the rollout is.
    pub(crate) fn show(&self, status: &mut RolloutStatus) {
        let closed = self.now.closed.as_ref();
        let first_closed = self
            .gates
            .iter()
            .position(|gate| closed.is_some_and(|closed| closed.name == gate.name));
        let shown = |(place, gate): (usize, &Gate)| GateStatus {
            name: gate.name.to_string(),
            kind: gate.kind.as_str().to_owned(),
            is_open: first_closed.is_none_or(|first| place < first),
            says: closed
                .filter(|_| first_closed == Some(place))
                .map(|closed| closed.says.clone()),
            opens_at_unix_ms: (first_closed == Some(place))
                .then(|| self.opens.map(|at| u64::try_from(at.as_millis()).ok()))
                .flatten()
                .flatten(),
        };
        status.gates = self.gates.iter().enumerate().map(shown).collect();
        let is_before_first = self.is_asking && status.phase == "waiting";
        let is_at_gate = is_before_first || status.phase == "waiting_for_gate";
        if let Some(closed) = closed.filter(|_| is_at_gate) {
            status.reason = Some(closed.says.clone());
        }
    }
}

/// Why windows are open or, with the time of the next opening, are not.
fn look_at_windows(
    windows: &[Window],
    now: Duration,
) -> Result<String, (String, Option<Duration>)> {
    if windows.iter().any(|window| window.is_open(now)) {
        return Ok("has come to its time".to_owned());
    }
    let opening = |window: &Window| {
        let opens = window.opens_after(now)?;
        Some((opens, window.shown(opens)))
    };
    match windows.iter().filter_map(opening).min() {
        Some((opens, shown)) => Err((format!("opens {shown}"), Some(opens))),
        None => Err(("opens at no time that can be told".to_owned(), None)),
    }
}

/// The state of one webhook.
#[derive(Default)]
struct Poll {
    /// When it was last asked.
    asked: Option<Timestamp>,
    /// The question under way, if any.
    asking: JoinSet<HookAnswer>,
    /// What it answered last.
    answer: Option<HookAnswer>,
}

impl Poll {
    /// What it answered, in words and in short: `Ok` if that passes.
    fn look(
        &mut self,
        hook: &Webhook,
        said: impl FnOnce() -> HookSaid,
        now: Timestamp,
        caller: &Arc<dyn HookCaller>,
    ) -> Result<String, (String, String)> {
        while let Some(ended) = self.asking.try_join_next() {
            let failed = |error| HookAnswer::Silent(format!("asking failed in itself: {error}"));
            self.answer = Some(ended.unwrap_or_else(failed));
        }
        let passes = self.answer.as_ref().is_some_and(HookAnswer::passes);
        // Ticks are a little early or late.
        let is_due = |asked| now + TICK / 2 - asked >= hook.every;
        let is_due = self.asked.is_none_or(is_due);
        if !passes && is_due && self.asking.is_empty() {
            self.asked = Some(now);
            let call = HookCall {
                hook: hook.clone(),
                said: said(),
            };
            self.asking.spawn(ask(call, Arc::clone(caller)));
        }
        match &self.answer {
            Some(answer) if passes => Ok(answer.says()),
            Some(answer) => Err((answer.says(), answer.gist())),
            None => Err(("has not answered yet".to_owned(), String::new())),
        }
    }
}

/// Asks, and asks again at once where that may help.
async fn ask(call: HookCall, caller: Arc<dyn HookCaller>) -> HookAnswer {
    let mut left = call.hook.attempts;
    loop {
        let answer = caller.call(call.clone()).await;
        left = left.saturating_sub(1);
        if left == 0 || !answer.is_passing_trouble() {
            return answer;
        }
        sleep(RETRY_AFTER).await;
    }
}
