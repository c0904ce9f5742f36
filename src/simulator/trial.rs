//! One rollout of a real plan in a scene: the judge, `step` and the data plane's counts together, as the
//! control plane drives them.
//!
//! Whoever has to approve does so at once, and a plan that just observes acts: what is asked is how long
//! judging takes and what it finds. There is one proxy, no operator, and nothing is restarted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::domain::evidence::TickCounts;
use crate::domain::further::{Condition, StageValues};
use crate::domain::judge::{
    Action, Assessment, CallersTick, CheckName, Finding, Judge, JudgeSettings, Verdict,
};
use crate::domain::rollout::{
    Author, Command, Effect, Event, Moment, Phase, RolloutPlan, RolloutState, StageWeights, Step,
    Wait, start, step,
};
use crate::domain::timestamp::Timestamp;
use crate::simulator::scene::{Look, Scene, Tally};

/// What is tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The world it happens in.
    pub scene: Scene,
    /// What is to be done.
    pub plan: RolloutPlan,
    /// What canary is judged by.
    pub judge: JudgeSettings,
    /// What must be so besides before a stage passes.
    pub release_when: Option<Condition>,
    /// How long it is followed at most.
    pub longest: Duration,
}

/// How a rollout ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What it came to.
    pub came: Came,
    /// After how many seconds.
    pub second: u64,
    /// In which stage, counted from 0.
    pub stage: usize,
    /// Since when canary did harm, in seconds; `None` if it never did.
    pub harmful_since: Option<u64>,
    /// Canary's requests since then, or since the beginning.
    pub canary_requests: u64,
    /// Callers who have been to canary since then; `None` where callers are not known again.
    pub canary_callers: Option<u64>,
    /// How many seconds the stages took, the watch left out.
    pub seconds_in_stages: u64,
    /// How many of them had to wait for what; several things may be waited for at a time.
    pub waits: BTreeMap<Waited, u64>,
}

/// What a rollout came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// Canary has everything that the plan gives it.
    Succeeded,
    /// It was taken back by what a check found.
    RolledBack(CheckName),
    /// It was taken back for another reason: too little was seen, or the deadline passed.
    TakenBack,
    /// It neither came to its end nor was taken back in the time that it was followed.
    Open,
}

/// What a stage waited for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waited {
    /// Its hold had not passed.
    Hold,
    /// Too few requests of canary.
    Requests,
    /// A check that had seen too little.
    Data(CheckName),
    /// A check that had seen enough, and neither harm nor harmlessness.
    Proof(CheckName),
    /// A check of something that was not so.
    Condition(CheckName),
}

impl Trial {
    /// How long a plan takes in which every stage takes as long as it may: a hold more than its patience,
    /// for warming up. What goes on for longer waits for something that may never come.
    pub fn usual_length(plan: &RolloutPlan) -> Duration {
        let holds = plan.stages().iter().map(|stage| stage.hold);
        let holds = holds.fold(Duration::ZERO, Duration::saturating_add);
        let holds = holds.saturating_mul(plan.policy().patience.saturating_add(1));
        holds.saturating_add(plan.watch()).saturating_add(GRACE)
    }

    /// How long it is followed: not beyond the plan's deadline and watch, whatever is asked for.
    pub fn seconds_max(&self) -> u64 {
        let deadline = self.plan.policy().deadline;
        let allowed = deadline.saturating_add(self.plan.watch());
        self.longest.min(allowed.saturating_add(GRACE)).as_secs()
    }

    /// Runs it to its end, or for as long as it is followed.
    pub fn run(&self, seed: u64) -> Ending {
        let seconds_max = self.seconds_max();
        let mut rollout = Rollout::start(self, seed);
        while rollout.came().is_none() && rollout.second < seconds_max {
            rollout.tick();
        }
        rollout.ending()
    }
}

/// What a rollout gets beyond its deadline and its watch to come to an end.
const GRACE: Duration = Duration::from_secs(60);

/// A rollout under way.
struct Rollout<'a> {
    plan: &'a RolloutPlan,
    release_when: Option<&'a Condition>,
    tally: Tally,
    callers: CallersTick,
    judge: Judge,
    judged_since: Timestamp,
    verdict: Verdict,
    state: RolloutState,
    weights: StageWeights,
    second: u64,
    harmful_since: Option<u64>,
    canary_requests: u64,
    seconds_in_stages: u64,
    waits: BTreeMap<Waited, u64>,
}

impl<'a> Rollout<'a> {
    fn start(trial: &'a Trial, seed: u64) -> Self {
        let plan = &trial.plan;
        let first = start(plan, 0, true, &Moment::at(Timestamp::default()));
        let mut rollout = Self {
            plan,
            release_when: trial.release_when.as_ref(),
            tally: Tally::new(trial.scene.clone(), seed),
            callers: CallersTick::default(),
            judge: Judge::new(trial.judge.clone()),
            judged_since: Timestamp::default(),
            verdict: Verdict::NOTHING_SEEN,
            state: first.state.clone(),
            weights: plan.weights_at(&first.state),
            second: 0,
            harmful_since: None,
            canary_requests: 0,
            seconds_in_stages: 0,
            waits: BTreeMap::new(),
        };
        rollout.take(first);
        rollout.agree();
        rollout
    }

    /// Lets a second pass.
    fn tick(&mut self) {
        let counts = self.count();
        self.second += 1;
        let now = self.now();
        if self.state.phase.is_judged() {
            let stage = self.plan.stage_context(&self.state, self.judged_since);
            self.callers = self.judge.next_tick(&stage, now);
            self.tally.clear(self.callers.clearing);
            let verdict = self.judge.observe(&counts, &stage, now);
            self.verdict = verdict.joined(self.further_finding().into_iter().collect());
        }
        self.note_waits();
        let requests = self.judge.stage_requests();
        let verdict = self.verdict.clone();
        self.step(Event::Tick { verdict, requests });
        self.agree();
    }

    /// Whether what must be so besides is so.
    fn further_finding(&self) -> Option<Finding> {
        let (totals, ticks) = self.judge.seen_in_stage();
        let span = Duration::from_secs(u64::try_from(ticks).unwrap_or(u64::MAX));
        let condition = self.release_when?;
        Some(condition.assess(&StageValues::of(totals, span)))
    }

    /// What is counted in the second that begins now.
    fn count(&mut self) -> TickCounts {
        let (second, stage) = (self.second as f64, self.state.stage);
        if self.harmful_since.is_none() && self.tally.is_canary_harmful(second, stage) {
            self.harmful_since = Some(self.second);
            self.canary_requests = 0;
            self.tally.forget_canary_callers();
        }
        let strata = self.tally.tick(&Look {
            second,
            seconds: 1.0,
            stage,
            epoch: self.state.epoch,
            weights: &self.weights,
            now: self.callers.now,
            cuts: self.judge.sight(),
        });
        let counts: TickCounts = strata.into_iter().collect();
        self.canary_requests += counts.requests().canary;
        counts
    }

    fn note_waits(&mut self) {
        if self.state.phase != Phase::Progressing {
            return;
        }
        self.seconds_in_stages += 1;
        let stage = self.plan.stage(self.state.stage);
        if self.state.in_stage.elapsed(self.now()) < stage.hold {
            self.wait_for(Waited::Hold);
            return;
        }
        if self.judge.stage_requests().canary < stage.min_requests {
            self.wait_for(Waited::Requests);
        }
        let open = |finding: &Finding| match finding.assessment {
            Assessment::NeedsData => Some(Waited::Data(finding.check.clone())),
            Assessment::Undecided => Some(Waited::Proof(finding.check.clone())),
            Assessment::Unmet => Some(Waited::Condition(finding.check.clone())),
            Assessment::Pass | Assessment::Breach => None,
        };
        // A check may have found something in several groups.
        let waited: BTreeSet<_> = self.verdict.findings.iter().filter_map(open).collect();
        waited.into_iter().for_each(|waited| self.wait_for(waited));
    }

    fn wait_for(&mut self, waited: Waited) {
        *self.waits.entry(waited).or_default() += 1;
    }

    fn step(&mut self, event: Event) {
        let next = step(
            self.plan,
            self.state.clone(),
            event,
            &Moment::at(self.now()),
        );
        self.take(next);
    }

    /// Gives the approvals that the plan wants of people, and opens its gates.
    fn agree(&mut self) {
        let command = match self.state.phase {
            Phase::Waiting { wait: Wait::Gate }
            | Phase::WaitingForApproval
            | Phase::WaitingForGate { .. } => Command::Promote { full: false },
            Phase::Waiting { .. } => Command::Start,
            _ => return,
        };
        let by = Author {
            who: "simulation".to_owned(),
            why: String::new(),
        };
        self.step(Event::Command { command, by });
    }

    /// Carries out what the control plane would.
    fn take(&mut self, step: Step) {
        for effect in step.effects {
            match effect {
                Effect::Persist { .. } => {}
                Effect::PublishWeights { weights, .. } => self.weights = weights,
                Effect::RestartEvidence => {
                    self.judge.start_stage();
                    self.judged_since = self.now();
                    self.callers = CallersTick::default();
                    self.verdict = Verdict::NOTHING_SEEN;
                }
            }
        }
        self.state = step.state;
    }

    const fn now(&self) -> Timestamp {
        Timestamp::since_start(Duration::from_secs(self.second))
    }

    /// What it has come to, if it has.
    fn came(&self) -> Option<Came> {
        match self.state.phase {
            Phase::Succeeded => Some(Came::Succeeded),
            Phase::RolledBack { .. } if self.verdict.action == Action::Rollback => {
                let breach = self.verdict.breaches().next();
                Some(breach.map_or(Came::TakenBack, |found| {
                    Came::RolledBack(found.check.clone())
                }))
            }
            Phase::RolledBack { .. } | Phase::Aborted { .. } => Some(Came::TakenBack),
            // Only the deadline pauses where nobody else does.
            Phase::Paused { .. } => Some(Came::Open),
            Phase::Waiting { .. }
            | Phase::Progressing
            | Phase::WaitingForApproval
            | Phase::WaitingForGate { .. }
            | Phase::Watching
            | Phase::RollingBack { .. } => None,
        }
    }

    fn ending(self) -> Ending {
        Ending {
            came: self.came().unwrap_or(Came::Open),
            second: self.second,
            stage: self.state.stage,
            harmful_since: self.harmful_since,
            canary_requests: self.canary_requests,
            canary_callers: self.tally.canary_callers(),
            seconds_in_stages: self.seconds_in_stages,
            waits: self.waits,
        }
    }
}
