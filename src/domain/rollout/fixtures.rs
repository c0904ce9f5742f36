//! Plans, states and events for the tests of this folder.

use std::time::Duration;

use super::*;
use crate::domain::gate::{Awaits, Days, Gate, GateKind, TimeOfDay, Window};
use crate::domain::judge::{Action, Assessment, CheckName, Finding, Verdict};
use crate::domain::stopwatch::Stopwatch;
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::PerVariant;

pub(super) const HOLD: Duration = Duration::from_secs(60);
pub(super) const WATCH: Duration = Duration::from_secs(600);
pub(super) const DEADLINE: Duration = Duration::from_secs(3_600);

pub(super) const POLICY: RolloutPolicy = RolloutPolicy {
    deadline: DEADLINE,
    ..RolloutPolicy::PLAIN
};

pub(super) fn stage(groups: &[&str], weight: &str) -> Stage {
    Stage {
        shape: StageShape {
            groups: groups.iter().map(|name| name.parse().unwrap()).collect(),
            weight: weight.parse().unwrap(),
        },
        hold: HOLD,
        min_requests: 100,
        needs_approval: false,
        gates: Vec::new(),
    }
}

pub(super) fn release(revision: &str) -> Release {
    Release {
        revision: revision.to_owned(),
        stable: "v1".parse().unwrap(),
        canary: "v2".parse().unwrap(),
    }
}

pub(super) fn plan_of(stages: Vec<Stage>, policy: RolloutPolicy) -> RolloutPlan {
    RolloutPlan::new(PlanDraft {
        flag: "orders".parse().unwrap(),
        release: release("2"),
        stages,
        watch: WATCH,
        final_control: "1%".parse().unwrap(),
        policy,
    })
    .unwrap()
}

/// `beta` to 20 % and 100 %, then, once approved, everyone to 25 % and 100 %.
pub(super) fn plan_with(policy: RolloutPolicy) -> RolloutPlan {
    let gated = Stage {
        needs_approval: true,
        ..stage(&[], "25%")
    };
    let (first, second) = (stage(&["beta"], "20%"), stage(&["beta"], "100%"));
    plan_of(vec![first, second, gated, stage(&[], "100%")], policy)
}

pub(super) fn plan() -> RolloutPlan {
    plan_with(POLICY)
}

/// Everyone to 5 %, 25 % and 100 %, with a gate before each stage.
pub(super) fn gated_plan() -> RolloutPlan {
    let gate = Gate {
        name: "office".parse().unwrap(),
        kind: GateKind::Window(vec![Window {
            days: Days::ALL,
            from: TimeOfDay::START,
            to: TimeOfDay::END,
            zone: jiff::tz::TimeZone::UTC,
        }]),
    };
    let stages = ["5%", "25%", "100%"].map(|weight| Stage {
        gates: vec![gate.clone()],
        ..stage(&[], weight)
    });
    plan_of(stages.to_vec(), POLICY)
}

pub(super) fn finding(assessment: Assessment, evidence: f64) -> Finding {
    Finding {
        check: CheckName::ErrorRate,
        assessment,
        group: None,
        canary: 0.5,
        stable: Some(0.0),
        bound: 0.01,
        evidence,
        evidence_needed: None,
        n: PerVariant::default(),
        callers: None,
        missing: None,
        reason: "canary fails".to_owned(),
    }
}

pub(super) fn judged(assessment: Assessment, evidence: f64, canary: u64) -> Event {
    Event::Tick {
        verdict: Verdict::from_findings(vec![finding(assessment, evidence)]),
        requests: PerVariant {
            stable: 1000,
            canary,
        },
    }
}

pub(super) fn tick(action: Action, canary: u64) -> Event {
    let (assessment, evidence) = match action {
        Action::Promote => (Assessment::Pass, 0.0),
        Action::Hold => (Assessment::Undecided, 0.9),
        Action::Rollback => (Assessment::Breach, 1.0),
    };
    judged(assessment, evidence, canary)
}

pub(super) fn tripped(assessment: Assessment) -> Event {
    let finding = finding(assessment, 1.0);
    Event::Tripped { finding }
}

pub(super) fn kim() -> Author {
    Author {
        who: "kim".to_owned(),
        why: "told so".to_owned(),
    }
}

pub(super) fn command(command: Command) -> Event {
    let by = kim();
    Event::Command { command, by }
}

pub(super) fn switched(is_on: bool) -> Event {
    let by = kim();
    Event::Switched { is_on, by }
}

pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::since_start(Duration::from_secs(seconds))
}

pub(super) fn before(plan: &RolloutPlan, state: &RolloutState) -> PlanBefore {
    PlanBefore {
        stages: plan.shapes(),
        weights: plan.weights_at(state),
    }
}

/// Every phase, with every reason for being in it.
pub(super) fn phases() -> Vec<(&'static str, Phase)> {
    let reason = || "before".to_owned();
    let waiting = |wait| Phase::Waiting { wait };
    let gate = |awaits| Phase::WaitingForGate { awaits };
    let rolling_back = Phase::RollingBack {
        reason: reason(),
        known: vec!["error_rate".to_owned()],
    };
    let mut phases = vec![
        ("waiting", waiting(Wait::Start)),
        ("off", waiting(Wait::FlagOff)),
        ("frozen", waiting(Wait::Freeze)),
        ("unwritten", waiting(Wait::State)),
        ("gated", waiting(Wait::Gate)),
        ("higher", waiting(Wait::PlanBeginsHigher)),
        ("progressing", Phase::Progressing),
        ("approval", Phase::WaitingForApproval),
        ("window", gate(Awaits::Window)),
        ("gate", gate(Awaits::Webhook)),
    ];
    phases.extend(paused_phases());
    phases.extend([
        ("watching", Phase::Watching),
        ("succeeded", Phase::Succeeded),
        ("rolling_back", rolling_back),
        ("rolled_back", Phase::RolledBack { reason: reason() }),
        ("aborted", Phase::Aborted { reason: reason() }),
    ]);
    phases
}

fn paused_phases() -> [(&'static str, Phase); 6] {
    let paused = |from, cause| Phase::Paused {
        from,
        cause,
        reason: "before".to_owned(),
    };
    let by_operator = |from| paused(from, PauseCause::Operator);
    let awaits = Awaits::Webhook;
    [
        ("paused", by_operator(Resumption::Stage)),
        (
            "paused-late",
            paused(Resumption::Stage, PauseCause::Deadline),
        ),
        ("paused-off", paused(Resumption::Stage, PauseCause::FlagOff)),
        ("paused-approval", by_operator(Resumption::Approval)),
        ("paused-gate", by_operator(Resumption::Gate { awaits })),
        ("paused-watch", by_operator(Resumption::Watch)),
    ]
}

/// A state that began at second 1000.
pub(super) fn state(phase: &str, stage: usize) -> RolloutState {
    let known = phases().into_iter().find(|(name, _)| *name == phase);
    RolloutState {
        phase: known.unwrap_or_else(|| panic!("no phase {phase}")).1,
        stage,
        in_stage: Stopwatch::started(at(1000)),
        judged_since: Some(Duration::ZERO),
        under_way: Stopwatch::started(at(1000)),
        epoch: 7,
        ..RolloutState::waiting(Wait::Start, 0)
    }
}
