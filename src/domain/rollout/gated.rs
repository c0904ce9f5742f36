//! What gates make of a rollout: it waits before them, and goes on by itself once they are open.
//!
//! A gate is looked at when the stage before it has passed, and then stands in the way of the next one
//! only. Whatever is found to be harm meanwhile takes canary back as in any other phase.

use crate::domain::gate::{Awaits, ClosedGate};
use crate::domain::rollout::cause::Cause;
use crate::domain::rollout::effect::Effect;
use crate::domain::rollout::state::{Phase, Resumption, RolloutState, Wait};
use crate::domain::rollout::transition::{Rollout, Step, Target};

impl Rollout<'_> {
    /// The gate that keeps a stage from beginning, if one does. One that nobody has looked at is closed.
    pub(super) fn closed_before(&self, stage: usize) -> Option<ClosedGate> {
        let first = self.plan.stages().get(stage)?.gates.first()?;
        match self.moment.gates {
            Some(gates) => gates.closed.clone(),
            None => Some(ClosedGate {
                name: first.name.clone(),
                awaits: first.kind.awaits(),
                says: format!("gate `{}` has not been looked at yet", first.name),
                gist: String::new(),
            }),
        }
    }

    /// Begins the first stage, or waits for the gates before it.
    pub(super) fn begin_gated(self, cause: Cause) -> Step {
        match self.closed_before(0) {
            None => self.begin(cause),
            Some(_) => self.wait_to_begin(cause),
        }
    }

    /// A tick before the first stage.
    pub(super) fn tick_waiting(self, wait: Wait) -> Step {
        let begins_by_itself = matches!(wait, Wait::Freeze | Wait::State | Wait::Gate);
        if !begins_by_itself || self.obstacle().is_some() {
            return self.stay();
        }
        match (self.closed_before(0), wait) {
            (None, Wait::Gate) => {
                let cause = self.cause_of_opening();
                self.begin(cause)
            }
            (None, _) => self.begin(Cause::of_plan("what was in the way is gone")),
            (Some(closed), Wait::Gate) => self.tell_closed(&closed, 0),
            (Some(_), _) => self.wait_to_begin(Cause::of_plan("what was in the way is gone")),
        }
    }

    fn wait_to_begin(self, cause: Cause) -> Step {
        let wait = Wait::Gate;
        let what = format!("waiting {wait}");
        let phase = Phase::Waiting { wait };
        let target = Target {
            phase,
            stage: 0,
            what,
        };
        self.change(target, cause)
    }

    /// A stage has passed, and the gate before the next one is closed.
    pub(super) fn wait_for_gate(self, closed: &ClosedGate, cause: Cause) -> Step {
        let stage = self.state.stage;
        let name = &closed.name;
        let approved = match self.state.phase {
            Phase::WaitingForApproval
            | Phase::Paused {
                from: Resumption::Approval,
                ..
            } => "approved, ",
            _ => "",
        };
        let what = match closed.awaits {
            Awaits::Window => format!(
                "{approved}stage {} waits for the time of gate `{name}`",
                stage + 2
            ),
            Awaits::Webhook => format!("{approved}stage {} waits for gate `{name}`", stage + 2),
        };
        let phase = Phase::WaitingForGate {
            awaits: closed.awaits,
        };
        self.change(Target { phase, stage, what }, cause)
    }

    /// A tick before the gates of the next stage.
    pub(super) fn tick_at_gate(self, awaits: Awaits) -> Step {
        if self.obstacle().is_some() {
            return self.stay();
        }
        let next = self.state.stage + 1;
        match self.closed_before(next) {
            None => {
                let cause = self.cause_of_opening();
                self.advance_to(next, cause)
            }
            Some(closed) if closed.awaits == awaits => self.tell_closed(&closed, next),
            Some(closed) => {
                let cause = Cause::by("gate", closed.says.clone(), Vec::new());
                self.wait_for_gate(&closed, cause)
            }
        }
    }

    fn cause_of_opening(&self) -> Cause {
        let opened = self.moment.gates.map(|gates| gates.opened_by.clone());
        let why = opened.filter(|why| !why.is_empty());
        let why = why.unwrap_or_else(|| "there is no gate any more".to_owned());
        Cause::by("gate", why, Vec::new())
    }

    /// Has the journal say why a gate is closed, once for each reason; nobody is told otherwise.
    fn tell_closed(self, closed: &ClosedGate, stage: usize) -> Step {
        let is_told = self.state.gate_told.as_ref() == Some(&closed.gist);
        if is_told || closed.gist.is_empty() {
            return self.stay();
        }
        let state = RolloutState {
            gate_told: Some(closed.gist.clone()),
            under_way: self.state.under_way.settled(self.moment.now),
            ..self.state
        };
        let what = format!("gate `{}` holds stage {}", closed.name, stage + 1);
        let cause = Cause::by("gate", closed.says.clone(), Vec::new());
        let mut told = cause.persisted(self.plan, &state, what);
        if let Effect::Persist { notice, .. } = &mut told {
            *notice = None;
        }
        Step {
            state,
            effects: vec![told],
            refused: None,
        }
    }
}
