//! Decides what stands in the way of a promotion.

use smallvec::SmallVec;

use crate::domain::judge::sequential::promotion::Harmlessness;
use crate::domain::judge::sequential::ruling::{Gate, Missing};
use crate::domain::judge::sequential::settings::{SequentialSettings, Unit};
use crate::domain::judge::sequential::stage::StageTotals;
use crate::domain::judge::sequential::tick::Tick;

/// What the gates look at.
pub(super) struct Standing<'a> {
    pub(super) settings: &'a SequentialSettings,
    pub(super) seconds_per_tick: f64,
    pub(super) totals: &'a StageTotals,
    pub(super) harmlessness: &'a Harmlessness,
    /// `ln` of the evidence of harm and of a wrong split.
    pub(super) log_harm: f64,
    pub(super) log_split: f64,
    /// How often canary was rated 1 to 5 in this rollout.
    pub(super) ratings: &'a [f64; 5],
}

/// The gates that are closed, and of those that only lack data how much.
#[derive(Default)]
pub(super) struct Closed {
    pub(super) wait: SmallVec<[Gate; 13]>,
    pub(super) undecided: SmallVec<[(Gate, Option<Missing>); 6]>,
}

impl Standing<'_> {
    /// Goes through all gates in the order in which they are reported.
    pub(super) fn closed(&self, tick: &Tick) -> Closed {
        let mut closed = Closed::default();
        if f64::from(self.totals.ticks) < self.ticks_in(self.settings.promotion.seconds_min) {
            closed.wait.push(Gate::Time);
        }
        self.lacking_data(tick, &mut closed);
        let others = [
            (Gate::Suspicious, self.is_suspicious()),
            (
                Gate::Split,
                self.log_split >= -self.settings.alpha_split.ln(),
            ),
            (Gate::MeanLatency, self.is_mean_latency_open()),
            (Gate::Ratings, self.is_rated_badly()),
            (Gate::ErrorRateMax, self.is_above_error_rate()),
            (Gate::Final, tick.exposed_next.is_none()),
        ];
        let is_closed = others.into_iter().filter(|(_, is_closed)| *is_closed);
        closed.wait.extend(is_closed.map(|(gate, _)| gate));
        closed
    }

    fn ticks_in(&self, seconds: f64) -> f64 {
        (seconds / self.seconds_per_tick).ceil()
    }

    fn lacking_data(&self, tick: &Tick, closed: &mut Closed) {
        let promotion = &self.settings.promotion;
        let is_by_caller = self.settings.unit == Unit::Caller;
        let (requests, callers) = (self.totals.canary_requests, self.totals.canary_callers);
        let have = if is_by_caller { callers } else { requests };
        let mut missing = |gate: Gate, more: f64, of: f64| {
            closed.wait.push(gate);
            closed.undecided.push((gate, self.missing(more, of)));
        };
        let requests_min = tick.requests_min.unwrap_or(promotion.requests_min) as f64;
        if requests < requests_min {
            missing(Gate::Requests, requests_min - requests, requests);
        }
        let callers_min = promotion.callers_min as f64;
        if is_by_caller && callers < callers_min {
            missing(Gate::Callers, callers_min - callers, callers);
        }
        let goal = -self.settings.beta.ln();
        for (what, log_e) in self.harmlessness.iter() {
            if log_e < goal && self.totals.has_control {
                // Evidence grows about in proportion to what was seen.
                let more = have * (goal - log_e) / log_e.max(1e-9);
                let of = if log_e > 0.0 { have } else { 0.0 };
                missing(Gate::NonInferior(what), more, of);
            }
        }
    }

    /// How much more, where so much has come since the stage began.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from a float saturates, and neither number is negative"
    )]
    fn missing(&self, more: f64, have: f64) -> Option<Missing> {
        let seconds = f64::from(self.totals.ticks) * self.seconds_per_tick;
        (have > 0.0).then(|| Missing {
            more: more.ceil() as u64,
            seconds: (seconds * more / have).ceil() as u64,
        })
    }

    fn is_suspicious(&self) -> bool {
        self.log_harm >= self.settings.promotion.suspicious.ln()
    }

    fn is_mean_latency_open(&self) -> bool {
        let latency = &self.totals.canary_latency_ms;
        let is_above = |goal| latency.mean_upper_bound(self.settings.beta) >= goal;
        let goal = self.settings.promotion.mean_latency_ms_goal;
        latency.count > 1.0 && goal.is_some_and(is_above)
    }

    fn is_rated_badly(&self) -> bool {
        let promotion = &self.settings.promotion;
        let raters: f64 = self.ratings.iter().sum();
        let sum: f64 = (1..)
            .zip(self.ratings)
            .map(|(rating, n)| f64::from(rating) * n)
            .sum();
        raters >= promotion.ratings_min as f64 && sum / raters <= promotion.rating_goal
    }

    /// By the bare rate: a limit that is just not surely broken is no reason to go on.
    fn is_above_error_rate(&self) -> bool {
        let tolerated = &self.settings.tolerated;
        let is_above = |limit: Option<f64>, (requests, failures): (f64, f64)| {
            limit.is_some_and(|limit| requests > 0.0 && failures > limit * requests)
        };
        match tolerated.error_rate_max {
            None => is_above(
                tolerated.uncompared_error_rate_max,
                self.totals.uncompared(),
            ),
            limit => is_above(
                limit,
                (self.totals.canary_requests, self.totals.canary_failures),
            ),
        }
    }
}
