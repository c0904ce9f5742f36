//! How a rollout is judged: by its judge, by what is asked elsewhere, and by whom the data plane counts.

use std::time::Duration;

use crate::control::TICK;
use crate::control::installation::PlannedRollout;
use crate::control::perform::Performer;
use crate::control::polling::{Polling, Stage};
use crate::control::ports::KnownEvidence;
use crate::control::recording::Recordings;
use crate::control::watching::Watching;
use crate::domain::evidence::TickCounts;
use crate::domain::further::FurtherChecks;
use crate::domain::ids::{FlagName, GroupName};
use crate::domain::judge::tripwire::CanaryEndpoints;
use crate::domain::judge::{CallersTick, Finding, Judge, JudgeSettings, StageContext, Verdict};
use crate::domain::rollout::{Moment, RolloutPlan, RolloutState};
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::PerVariant;

/// How often what is known of harm is left to be written; the writer takes it along once a minute.
const KEPT_EVERY: Duration = Duration::from_secs(20);

/// All that judges one rollout.
pub(crate) struct Judging {
    settings: JudgeSettings,
    pub(super) judge: Judge,
    polling: Polling,
    watching: Watching,
    recordings: Recordings,
    /// Whether the judge is to be told anew of ratings that it does not know.
    lacks_ratings: bool,
    /// How many groups had left when the judge was last told of ratings.
    left_seen: Option<usize>,
    /// Which attempt it has judged.
    attempt: u32,
    /// When the evidence that is judged begins.
    since: Timestamp,
    /// When what is known was last left to be written.
    kept: Timestamp,
    /// What the judge said last; the one that ended the rollout, once it has ended.
    pub(super) verdict: Verdict,
}

/// The rollout that is judged.
#[derive(Clone, Copy)]
pub(crate) struct Judged<'a> {
    pub(crate) plan: &'a RolloutPlan,
    pub(crate) state: &'a RolloutState,
}

impl Judged<'_> {
    const fn flag(&self) -> &FlagName {
        self.plan.flag()
    }
}

impl Judging {
    /// A judge that knows nothing of the rollout.
    pub(crate) fn new(planned: &PlannedRollout, attempt: u32, performer: &Performer) -> Self {
        let judge = Judge::new(planned.judge.clone());
        performer.recordings.begin(planned.plan.flag(), &judge);
        // A rollout that this one takes the place of may have been in the middle of a stage.
        performer.ledger.unwatch(planned.plan.flag());
        Self {
            settings: planned.judge.clone(),
            judge,
            polling: Polling::new(planned.further.clone()),
            watching: Watching::default(),
            recordings: performer.recordings.clone(),
            lacks_ratings: true,
            left_seen: None,
            attempt,
            since: Timestamp::default(),
            kept: Timestamp::default(),
            verdict: Verdict::NOTHING_SEEN,
        }
    }

    /// Goes on from what was known before the process, if it is about this rollout, this attempt and these
    /// settings.
    pub(crate) fn resume(&mut self, judged: Judged<'_>, known: &KnownEvidence) {
        let is_of_it =
            known.release == *judged.plan.release() && known.attempt == judged.state.attempt;
        if !is_of_it {
            return;
        }
        if known.judged_by != self.settings {
            let flag = judged.flag();
            tracing::warn!(%flag, "what was known of harm was judged by other settings, and counts no more");
            return;
        }
        match Judge::restore(self.settings.clone(), known.evidence.clone()) {
            Ok(judge) => {
                self.judge = judge;
                self.recordings.begin(judged.flag(), &self.judge);
            }
            Err(error) => {
                let flag = judged.flag();
                tracing::warn!(%flag, %error, "evidence from before the start is not taken up again");
            }
        }
    }

    /// Goes by these settings and checks from now on; tells whether they are others than before, so that
    /// the stage is judged anew.
    pub(crate) fn replace(
        &mut self,
        (settings, further): (JudgeSettings, FurtherChecks),
        flag: &FlagName,
        performer: &Performer,
    ) -> bool {
        let is_other = self.polling.replace(further) | (settings != self.settings);
        if is_other {
            self.settings = settings;
            self.begin(flag);
            self.watching.end(flag, &performer.ledger);
        }
        is_other
    }

    /// Has snapshots that are made from now on count callers, while canary has any.
    pub(crate) fn watch(&mut self, judged: Judged<'_>, performer: &Performer) {
        let (flag, ledger) = (judged.flag(), &performer.ledger);
        if !judged.state.phase.is_judged() {
            self.watching.end(flag, ledger);
        } else if self.watching.begin(flag, ledger) {
            self.judge.forget_callers();
        }
    }

    /// What the judge has to know of the stage. While the flag is off all have stable, whatever their bucket,
    /// and nothing is evidence.
    fn context(&self, judged: Judged<'_>, moment: &Moment<'_>) -> StageContext {
        let stage = judged.plan.stage_context(judged.state, self.since);
        StageContext {
            counted_from: match moment.is_on {
                true => stage.counted_from,
                false => moment.now + TICK,
            },
            ..stage
        }
    }

    /// Ends a tick at the data plane, before it is collected: callers are counted in the next one.
    pub(crate) fn end_tick(&mut self, judged: Judged<'_>, moment: &Moment<'_>) {
        if judged.state.phase.is_judged() {
            let (now, stage) = (moment.now, self.context(judged, moment));
            let callers = self.judge.next_tick(&stage, now);
            self.watching.count(judged.state.epoch, callers);
        }
    }

    /// Whether the tick that ends is evidence; not while canary warms up or the flag is off.
    pub(crate) fn counts(&self, judged: Judged<'_>) -> bool {
        judged.state.phase.is_judged() && self.judge.is_counting()
    }

    /// The groups that have left, where some have since the last time: what the judge knows of ratings begins
    /// anew then.
    pub(crate) fn take_left(&mut self, judged: Judged<'_>) -> Option<Vec<GroupName>> {
        let left = judged.plan.stage_context(judged.state, self.since).left;
        let seen = self.left_seen.replace(left.len());
        seen.is_some_and(|seen| left.len() > seen).then_some(left)
    }

    /// Of fewer raters in an arm nothing is said.
    pub(crate) fn ratings_min(&self) -> u64 {
        self.judge.ratings_min()
    }

    /// How many ratings of each arm the judge knows, where it has to be told anew of the others.
    pub(crate) fn take_known_ratings(&mut self) -> Option<PerVariant<u64>> {
        let sums = self.judge.ratings();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "they are whole numbers from 0 up"
        )]
        let known = |variant| sums.get(variant).iter().sum::<f64>() as u64;
        std::mem::take(&mut self.lacks_ratings).then(|| PerVariant::from_fn(known))
    }

    /// Judges a tick.
    pub(crate) fn tick(
        &mut self,
        counts: &TickCounts,
        judged: Judged<'_>,
        moment: &Moment<'_>,
        performer: &mut Performer,
    ) {
        let Judged { plan, state } = judged;
        let (now, context) = (moment.now, self.context(judged, moment));
        let verdict = self.judge.observe(counts, &context, now);
        self.recordings.add(judged.flag(), &self.judge);
        self.watching.cut_at(&self.judge.sight());
        let stage = Stage {
            plan,
            state,
            judge: &self.judge,
            counted_from: context.counted_from,
            now,
        };
        self.verdict = verdict.joined(self.polling.look(&stage, &performer.metrics));
        if now - self.kept >= KEPT_EVERY {
            self.kept = now;
            let under_way = state.under_way.elapsed(now);
            performer
                .writer
                .keep_evidence(self.known(judged, under_way));
        }
    }

    /// What is known of harm, to be written, and how much of the deadline has passed.
    pub(crate) fn known(&self, judged: Judged<'_>, under_way: Duration) -> KnownEvidence {
        KnownEvidence {
            flag: judged.flag().clone(),
            release: judged.plan.release().clone(),
            attempt: self.attempt,
            under_way_seconds: under_way.as_secs(),
            judged_by: self.settings.clone(),
            evidence: self.judge.evidence(),
        }
    }

    /// Asks the tripwire between ticks: every endpoint of canary refuses. Gives what it found if that is
    /// harm.
    pub(crate) fn check_refused(
        &mut self,
        partial: &TickCounts,
        now: Timestamp,
    ) -> Option<Finding> {
        let endpoints = CanaryEndpoints::AllRefuse;
        let found = self.judge.check_tripwire(partial, endpoints, now);
        let finding = found.filter(Finding::is_breach)?;
        self.verdict = Verdict::from_findings(vec![finding.clone()]);
        Some(finding)
    }

    /// Begins a stage. A release that is tried again is judged by a judge that knows nothing of it.
    pub(crate) fn start_stage(&mut self, judged: Judged<'_>, now: Timestamp) {
        if judged.state.attempt != self.attempt {
            self.attempt = judged.state.attempt;
            self.begin(judged.flag());
        }
        self.judge.start_stage();
        self.watching
            .count(judged.state.epoch, CallersTick::default());
        self.since = now;
        self.verdict = Verdict::NOTHING_SEEN;
    }

    fn begin(&mut self, flag: &FlagName) {
        self.lacks_ratings = true;
        self.left_seen = None;
        self.judge = Judge::new(self.settings.clone());
        self.recordings.begin(flag, &self.judge);
    }
}
