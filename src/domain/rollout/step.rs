//! The one place where a rollout changes.
//!
//! | phase | tick | tripped | promote | rollback |
//! | --- | --- | --- | --- | --- |
//! | progressing | roll back, go on or stay | roll back | next stage or watch | roll back |
//! | watching | roll back, succeed or stay | roll back | succeed | roll back |
//! | succeeded | stay | stay | refuse | roll back |
//! | rolled back | stay | stay | refuse | refuse |
//!
//! A tick rolls back on a breach. A stage goes on when its hold has passed, canary had enough
//! requests and the verdict is to promote, all three; the watch ends with time alone. After
//! success there is no control left to judge by, so only an operator takes canary back.

use std::time::Duration;

use crate::domain::judge::{Action, Assessment, Finding, Verdict};
use crate::domain::rollout::effect::{Effect, JournalEntry, Notice};
use crate::domain::rollout::event::{Author, Command, Event};
use crate::domain::rollout::plan::RolloutPlan;
use crate::domain::rollout::state::{Phase, RolloutState};
use crate::domain::timestamp::Timestamp;

/// The answer to an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The state after it.
    pub state: RolloutState,
    /// What is to be done, in this order; empty when nothing changes.
    pub effects: Vec<Effect>,
    /// Why a command was not followed.
    pub refused: Option<Refusal>,
}

/// Why a command makes no sense in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing left to promote.
    #[error("the rollout has succeeded already, there is nothing left to promote")]
    AlreadySucceeded,
    /// A promotion must not undo a rollback in passing.
    #[error("the rollout is rolled back, a promotion needs a new rollout")]
    RolledBack,
    /// Nobody gets canary.
    #[error("the rollout is rolled back already")]
    AlreadyRolledBack,
}

/// Begins a rollout: its first stage, under the epoch after `epoch_before`.
///
/// `epoch_before` is the flag's last epoch, of whatever rollout, or 0.
pub fn start(plan: &RolloutPlan, epoch_before: u64, now: Timestamp) -> Step {
    let epoch = epoch_before.saturating_add(1);
    let state = RolloutState::new(plan.revision().to_owned(), epoch, now);
    let what = format!("started with stage 1 of {}", plan.stages().len());
    let why = format!("revision {} is to be released", plan.revision());
    let mut effects = vec![Effect::Persist(state.clone()), publish(plan, &state)];
    effects.extend(Cause::by("plan", why, Vec::new()).told(plan, &state, what));
    Step {
        state,
        effects,
        refused: None,
    }
}

/// Advances a rollout by one event.
///
/// Pure: equal arguments give equal results, so a trace can be replayed and every answer tested.
/// The caller performs the returned effects in order; `Persist` always precedes `PublishWeights`.
/// Whenever the stage or the phase changes, it has the judge start a stage too, for evidence is
/// counted from there.
pub fn step(plan: &RolloutPlan, state: RolloutState, event: Event, now: Timestamp) -> Step {
    let rollout = Rollout { plan, state, now };
    match event {
        Event::Tick { verdict, requests } => rollout.tick(verdict, requests.canary),
        Event::Tripped { finding } => rollout.tripped(finding),
        Event::Command { command, by } => match command {
            Command::Promote { full } => rollout.promote_by(by, full),
            Command::Rollback => rollout.roll_back_by(by),
        },
    }
}

/// A rollout at the moment of an event. Each method is one way on from it.
struct Rollout<'a> {
    plan: &'a RolloutPlan,
    state: RolloutState,
    now: Timestamp,
}

impl Rollout<'_> {
    fn tick(self, verdict: Verdict, canary_requests: u64) -> Step {
        if self.state.phase.is_judged() && verdict.action == Action::Rollback {
            return self.roll_back(Cause::of_breach(verdict));
        }
        match self.state.phase {
            Phase::Progressing if self.has_passed_stage(&verdict, canary_requests) => {
                let why = format!("all checks pass after {canary_requests} requests of canary");
                let next = self.state.stage + 1;
                self.advance_to(next, Cause::by("judge", why, verdict.findings))
            }
            Phase::Watching if self.elapsed() >= self.plan.watch() => {
                let why = "nothing was found wrong until the end of the watch".to_owned();
                self.succeed(Cause::by("plan", why, verdict.findings))
            }
            Phase::Progressing | Phase::Watching | Phase::Succeeded | Phase::RolledBack { .. } => {
                self.stay()
            }
        }
    }

    fn tripped(self, finding: Finding) -> Step {
        if self.state.phase.is_judged() && finding.assessment == Assessment::Breach {
            let why = finding.reason.clone();
            self.roll_back(Cause::by("tripwire", why, vec![finding]))
        } else {
            self.stay()
        }
    }

    fn promote_by(self, by: Author, full: bool) -> Step {
        match self.state.phase {
            Phase::Progressing => {
                let beyond_last = self.plan.stages().len();
                let next = if full {
                    beyond_last
                } else {
                    self.state.stage + 1
                };
                self.advance_to(next, Cause::of_author(by))
            }
            Phase::Watching => self.succeed(Cause::of_author(by)),
            Phase::Succeeded => self.refuse(Refusal::AlreadySucceeded),
            Phase::RolledBack { .. } => self.refuse(Refusal::RolledBack),
        }
    }

    fn roll_back_by(self, by: Author) -> Step {
        if self.state.phase.has_traffic() {
            self.roll_back(Cause::of_author(by))
        } else {
            self.refuse(Refusal::AlreadyRolledBack)
        }
    }

    /// Whether a stage has passed: time, requests and verdict, all three.
    fn has_passed_stage(&self, verdict: &Verdict, canary_requests: u64) -> bool {
        let stage = self.plan.stage(self.state.stage);
        self.elapsed() >= stage.hold
            && canary_requests >= stage.min_requests.max(1)
            && verdict.action == Action::Promote
    }

    fn elapsed(&self) -> Duration {
        self.now - self.state.stage_since
    }

    /// Goes to a stage, or to the watch where there is none left.
    fn advance_to(self, stage: usize, cause: Cause) -> Step {
        let stages = self.plan.stages().len();
        let (phase, what) = if stage < stages {
            let what = format!("stage {} of {stages} begins", stage + 1);
            (Phase::Progressing, what)
        } else {
            let what = format!("the stages are over, watching for {:?}", self.plan.watch());
            (Phase::Watching, what)
        };
        let stage = stage.min(self.plan.last_stage());
        self.change(Target { phase, stage, what }, cause)
    }

    fn succeed(self, cause: Cause) -> Step {
        let target = Target {
            phase: Phase::Succeeded,
            stage: self.plan.last_stage(),
            what: "succeeded".to_owned(),
        };
        self.change(target, cause)
    }

    fn roll_back(self, cause: Cause) -> Step {
        let target = Target {
            phase: Phase::RolledBack {
                reason: cause.why.clone(),
            },
            stage: self.state.stage,
            what: format!("rolled back from stage {}", self.state.stage + 1),
        };
        self.change(target, cause)
    }

    fn stay(self) -> Step {
        Step {
            state: self.state,
            effects: Vec::new(),
            refused: None,
        }
    }

    fn refuse(self, refusal: Refusal) -> Step {
        Step {
            refused: Some(refusal),
            ..self.stay()
        }
    }

    /// The only place where a state is changed and effects are put in order.
    fn change(self, target: Target, cause: Cause) -> Step {
        let before = self.plan.weights_at(&self.state);
        let mut state = RolloutState {
            phase: target.phase,
            stage: target.stage,
            stage_since: self.now,
            ..self.state
        };
        let is_reweighted = self.plan.weights_at(&state) != before;
        if is_reweighted {
            state.epoch = state.epoch.saturating_add(1);
        }
        let mut effects = vec![Effect::Persist(state.clone())];
        if is_reweighted {
            effects.push(publish(self.plan, &state));
        }
        effects.extend(cause.told(self.plan, &state, target.what));
        Step {
            state,
            effects,
            refused: None,
        }
    }
}

/// Where a change leads, and what it is called.
struct Target {
    phase: Phase,
    stage: usize,
    what: String,
}

/// Who brings a change about, and why.
struct Cause {
    who: String,
    why: String,
    findings: Vec<Finding>,
}

impl Cause {
    fn by(who: &str, why: String, findings: Vec<Finding>) -> Self {
        Self {
            who: who.to_owned(),
            why,
            findings,
        }
    }

    fn of_author(by: Author) -> Self {
        let why = if by.why.is_empty() {
            format!("asked for by {}", by.who)
        } else {
            by.why
        };
        Self::by(&by.who, why, Vec::new())
    }

    fn of_breach(verdict: Verdict) -> Self {
        let reasons: Vec<_> = verdict.breaches().map(|f| f.reason.as_str()).collect();
        let why = if reasons.is_empty() {
            "the judge calls for it and names no finding".to_owned()
        } else {
            reasons.join("; ")
        };
        Self::by("judge", why, verdict.findings)
    }

    /// The journal's entry and the message for it.
    fn told(self, plan: &RolloutPlan, state: &RolloutState, what: String) -> [Effect; 2] {
        let notice = Notice {
            flag: plan.flag().clone(),
            revision: state.revision.clone(),
            phase: state.phase.as_str().to_owned(),
            stage: state.stage + 1,
            stages: plan.stages().len(),
            who: self.who.clone(),
            what: what.clone(),
            why: self.why.clone(),
            findings: self.findings.clone(),
            weights: plan.weights_at(state),
            at_unix_ms: 0,
        };
        let entry = JournalEntry {
            who: self.who,
            what,
            why: self.why,
            findings: self.findings,
        };
        [Effect::Record(entry), Effect::Notify(notice)]
    }
}

fn publish(plan: &RolloutPlan, state: &RolloutState) -> Effect {
    Effect::PublishWeights {
        weights: plan.weights_at(state),
        epoch: state.epoch,
    }
}
