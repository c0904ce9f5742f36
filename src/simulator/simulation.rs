//! One rollout in a synthetic world: plan, judge and step together, as the control plane drives
//! them, but as fast as a processor can.

use std::time::Duration;

use crate::domain::evidence::TickCounts;
use crate::domain::judge::{CallersTick, Judge, JudgeSettings, Verdict};
use crate::domain::rollout::{
    Effect, Event, JournalEntry, Moment, RolloutPlan, RolloutState, StageWeights, Step, start, step,
};
use crate::domain::timestamp::Timestamp;
use crate::simulator::traffic::Traffic;
use crate::simulator::world::World;

/// What a simulation is of.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// The world it happens in.
    pub world: World,
    /// What is to be done.
    pub plan: RolloutPlan,
    /// What canary is judged by.
    pub judge: JudgeSettings,
}

/// A rollout under simulation. Equal parameters and seeds give equal simulations.
#[derive(Clone, Debug)]
pub struct Simulation {
    plan: RolloutPlan,
    traffic: Traffic,
    second: u64,
    judge: Judge,
    judged_since: Timestamp,
    verdict: Verdict,
    state: RolloutState,
    weights: StageWeights,
    last_tick: TickCounts,
    journal: Vec<Told>,
}

/// A line of a simulated journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// When, in seconds since the start.
    pub second: u64,
    /// What, by whom and why.
    pub entry: JournalEntry,
}

impl Simulation {
    /// Starts the rollout; no time has passed yet.
    pub fn start(parameters: Parameters, seed: u64) -> Self {
        let Parameters { world, plan, judge } = parameters;
        let first = start(&plan, 0, true, &Moment::at(Timestamp::default()));
        let mut simulation = Self {
            traffic: Traffic::new(world, plan.flag(), seed),
            second: 0,
            judge: Judge::new(judge),
            judged_since: Timestamp::default(),
            verdict: Verdict::NOTHING_SEEN,
            state: first.state.clone(),
            weights: plan.weights_at(&first.state),
            last_tick: TickCounts::default(),
            journal: Vec::new(),
            plan,
        };
        simulation.take(first);
        simulation
    }

    /// Lets a second pass.
    pub fn tick(&mut self) {
        self.second += 1;
        let (epoch, second) = (self.state.epoch, self.second);
        self.last_tick = self.traffic.second(second, &self.weights, epoch);
        let now = self.now();
        if self.state.phase.is_judged() {
            let stage = self.plan.stage_context(&self.state, self.judged_since);
            let callers = self.judge.next_tick(&stage, now);
            self.traffic.count_callers(callers);
            self.verdict = self.judge.observe(&self.last_tick, &stage, now);
            self.traffic.cut_at(self.judge.sight());
        }
        let event = Event::Tick {
            verdict: self.verdict.clone(),
            requests: self.judge.stage_requests(),
        };
        let next = step(&self.plan, self.state.clone(), event, &Moment::at(now));
        self.take(next);
    }

    /// Lets time pass until the rollout is over, or that many seconds have passed altogether.
    pub fn run(&mut self, seconds_max: u64) {
        while !self.state.phase.has_ended() && self.second < seconds_max {
            self.tick();
        }
    }

    /// Carries out what the control plane would: see `control`.
    fn take(&mut self, step: Step) {
        for effect in step.effects {
            match effect {
                Effect::Persist { entry, .. } => self.journal.push(Told {
                    second: self.second,
                    entry: *entry,
                }),
                Effect::PublishWeights { weights, .. } => self.weights = weights,
                Effect::RestartEvidence => {
                    self.judge.start_stage();
                    self.judged_since = self.now();
                    self.traffic.count_callers(CallersTick::default());
                    self.verdict = Verdict::NOTHING_SEEN;
                }
            }
        }
        self.state = step.state;
    }

    /// The simulated time.
    pub const fn now(&self) -> Timestamp {
        Timestamp::since_start(Duration::from_secs(self.second))
    }

    /// The seconds that have passed.
    pub const fn second(&self) -> u64 {
        self.second
    }

    /// What is to be done.
    pub const fn plan(&self) -> &RolloutPlan {
        &self.plan
    }

    /// Where the rollout is.
    pub const fn state(&self) -> &RolloutState {
        &self.state
    }

    /// The weights that hold now.
    pub const fn weights(&self) -> &StageWeights {
        &self.weights
    }

    /// The judge, with all it has seen in this stage.
    pub const fn judge(&self) -> &Judge {
        &self.judge
    }

    /// What the judge said last; what ended the rollout, once it has ended.
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// What was counted in the last second.
    pub const fn last_tick(&self) -> &TickCounts {
        &self.last_tick
    }

    /// What has happened, oldest first.
    pub fn journal(&self) -> &[Told] {
        &self.journal
    }
}
