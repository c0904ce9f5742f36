//! Asks for the samples of custom checks, and says what they and the written condition amount to.
//!
//! Each question is a task of its own, started at a tick and looked for at a later one; there is at
//! most one for each check at a time. So a tick never waits for a source: one that is slow or silent
//! only lets its samples grow old, and that is what holds the stage. What is under way is dropped
//! with the rollout, or when its checks change.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::control::TICK;
use crate::control::ports::MetricSource;
use crate::domain::further::{
    Answer, CustomCheck, Filling, FurtherChecks, Question, Sample, Series, Silence, StageValues,
};
use crate::domain::judge::{Finding, Judge};
use crate::domain::rollout::{RolloutPlan, RolloutState};
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::{PerVariant, Variant};

/// What is asked and found beside the judge's own checks.
#[derive(Default)]
pub(crate) struct Polling {
    checks: FurtherChecks,
    /// One for each custom check.
    polls: Vec<Poll>,
}

/// What a rollout is in the middle of when it is looked at.
pub(crate) struct Stage<'a> {
    pub(crate) plan: &'a RolloutPlan,
    pub(crate) state: &'a RolloutState,
    pub(crate) judge: &'a Judge,
    /// When canary has warmed up: what is asked before counts for nothing.
    pub(crate) counted_from: Timestamp,
    pub(crate) now: Timestamp,
}

impl Stage<'_> {
    /// What is known of the stage so far; the one place that a condition's values come from.
    fn values(&self) -> StageValues {
        let (totals, ticks) = self.judge.seen_in_stage();
        let span = TICK * u32::try_from(ticks).unwrap_or(u32::MAX);
        StageValues::of(totals, span).rated(self.judge.ratings(), self.judge.ratings_min())
    }

    /// What is filled into questions.
    fn filling(&self) -> Filling<'_> {
        Filling {
            flag: self.plan.flag().as_str(),
            revision: self.plan.revision(),
            stage: self.state.stage + 1,
            variant: Variant::Canary,
        }
    }
}

impl Polling {
    /// Nothing has been asked yet.
    pub(crate) fn new(checks: FurtherChecks) -> Self {
        let polls = checks.custom.iter().map(|_| Poll::default()).collect();
        Self { checks, polls }
    }

    /// Goes by these checks from now on; tells whether they are others than before. Those begin
    /// anew.
    pub(crate) fn replace(&mut self, checks: FurtherChecks) -> bool {
        let is_other = checks != self.checks;
        if is_other {
            *self = Self::new(checks);
        }
        is_other
    }

    /// Takes in what was answered, asks what is due, and says what is found.
    pub(crate) fn look(
        &mut self,
        stage: &Stage<'_>,
        source: &Arc<dyn MetricSource>,
    ) -> Vec<Finding> {
        let polls = self.polls.iter_mut().zip(&self.checks.custom);
        let mut findings: Vec<_> = polls
            .map(|(poll, check)| poll.look(check, stage, source))
            .collect();
        let condition = self.checks.release_when.as_ref();
        findings.extend(condition.map(|condition| condition.assess(&stage.values())));
        findings
    }
}

/// The state of one custom check.
#[derive(Default)]
struct Poll {
    series: Series,
    /// When it was last asked.
    asked: Option<Timestamp>,
    /// The question under way, if any.
    asking: JoinSet<Answer>,
}

impl Poll {
    fn look(
        &mut self,
        check: &CustomCheck,
        stage: &Stage<'_>,
        source: &Arc<dyn MetricSource>,
    ) -> Finding {
        while let Some(ended) = self.asking.try_join_next() {
            match ended {
                Ok(answer) => self.series.add(check, &answer),
                Err(error) => {
                    tracing::error!(check = %check.name, %error, "asking failed in itself")
                }
            }
        }
        let (counted_from, now) = (stage.counted_from, stage.now);
        if self.is_due(check.every, counted_from, now) {
            self.asked = Some(now);
            // What is under way was asked before the stage began, and counts for nothing.
            self.asking = JoinSet::new();
            let questions = check.questions(&stage.filling());
            self.asking.spawn(ask(questions, Arc::clone(source), now));
        }
        self.series.assess(check, counted_from, now)
    }

    /// Whether it is time to ask: at the beginning of a stage, and then at intervals, once the
    /// question before has been answered.
    fn is_due(&self, every: Duration, counted_from: Timestamp, now: Timestamp) -> bool {
        let in_stage = self.asked.filter(|asked| *asked >= counted_from);
        now >= counted_from
            && in_stage.is_none_or(|asked| now - asked >= every && self.asking.is_empty())
    }
}

/// Asks about both arms at once.
async fn ask(
    questions: PerVariant<Option<Question>>,
    source: Arc<dyn MetricSource>,
    asked: Timestamp,
) -> Answer {
    let PerVariant { stable, canary } = questions;
    let is_compared = stable.is_some();
    let (canary, stable) = tokio::join!(ask_about(canary, &*source), ask_about(stable, &*source));
    Answer {
        asked,
        canary,
        stable: is_compared.then_some(stable),
    }
}

async fn ask_about(
    question: Option<Question>,
    source: &dyn MetricSource,
) -> Result<Sample, Silence> {
    match question {
        Some(question) => source.ask(question).await,
        None => Err(Silence("what is filled in makes no URL".to_owned())),
    }
}

#[cfg(test)]
mod tests;
