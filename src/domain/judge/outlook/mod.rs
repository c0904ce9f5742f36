//! What a stage will take at the rates seen so far, and the smallest harm that it would see.
//!
//! The tests of the judge itself, asked about the counts that a second brings *on average*: how fast
//! the evidence then grows, and how long until there is enough. Where callers are the unit each counts at
//! most once in a start, so evidence grows the slower the fewer are left who have had no event yet
//! (`crowd`). Chance makes the true time longer or shorter by a third or so; `serin simulate` draws it.
//!
//! What is left out, and makes it longer: callers who are slow by habit are not known here, and of those
//! who fail by habit only how many different ones there are in some minutes. Nor
//! are more than some thousands of callers in a span of time told apart, for the set in which they are
//! noted is full at seven thousand; what the stage's cells know, or else what shorter spans say, is carried on.
//!
//! | file | holds |
//! | --- | --- |
//! | `crowd` | who asks, how often, and so whom a start still has to ask |
//! | `latency` | which answers are slow |
//! | `proof` | how long until harmlessness is shown |
//! | `harm` | the smallest harm that is found |

mod crowd;
mod harm;
mod latency;
mod proof;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::ids::GroupName;
use crate::domain::judge::outlook::crowd::Crowd;
use crate::domain::judge::outlook::proof::{Proof, START_SECONDS};
use crate::domain::judge::report::needed_of_stable;
use crate::domain::judge::sequential::{SequentialSettings, Unit};
use crate::domain::judge::stage::StageContext;
use crate::domain::stage_weights::StageWeights;
use crate::domain::stats::odds_ratio::Table;
use crate::domain::weight::Weight;

pub use latency::{LOG_BUCKET, Latency, Z90};

/// What takes longer counts as never: a month.
const LONGEST_SECONDS: f64 = 30.0 * 86_400.0;

/// The first steps of time, in seconds; later ones are a tenth of the time that has passed.
const STEP_SECONDS: f64 = 2.0;

/// What comes in, of callers in one group or in none.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupRates {
    /// The group; `None` for everyone else.
    pub group: Option<GroupName>,
    /// Requests in a second, of both arms.
    pub requests: f64,
    /// Those of them that are drawn anew, each as a caller of its own.
    pub anew: f64,
    /// How many different callers the others come from, as a mean over spans of so many seconds:
    /// `(seconds, callers)`, short spans first. Spans with more than can be told apart are missing.
    pub seen: Vec<(f64, f64)>,
    /// The share of requests that stable fails, 0 to 1.
    pub failures: f64,
    /// From how many different callers of stable failures come, as `seen`, and reckoned for all callers.
    pub failing: Vec<(f64, f64)>,
    /// Stable's latency, where enough is known of it.
    pub latency: Option<Latency>,
}

impl GroupRates {
    /// Callers who ask in a second.
    pub fn callers(&self) -> f64 {
        let keyed = self.seen.first().map_or_else(
            || self.requests - self.anew,
            |(seconds, callers)| callers / seconds,
        );
        keyed + self.anew
    }
}

/// How long a stage lasts, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StageSpans {
    /// At least.
    pub hold: f64,
    /// The first part of it, which is no evidence.
    pub warm_up: f64,
    /// At most, where enough requests came and neither harm nor harmlessness is shown; `None` where it
    /// then stays as it is.
    pub patience: Option<f64>,
    /// Starts of callers before the stage's own, in this rollout.
    pub starts_before: u32,
}

impl StageSpans {
    /// Starts of callers within a stage that takes so many seconds: its own, and one every five minutes.
    pub fn starts_in(&self, seconds: f64) -> u32 {
        let further = ((seconds - self.warm_up) / START_SECONDS).max(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast from a float saturates, and it is not negative"
        )]
        let further = further as u32;
        further.saturating_add(1)
    }
}

/// What a stage will take, and what it would see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StageOutlook {
    /// Requests of canary in a second.
    pub canary_per_second: f64,
    /// Seconds until a canary as good as stable may pass, the hold included; `None` where that cannot be
    /// told or is longer than a month, for nothing comes in or too little to compare.
    pub seconds: Option<f64>,
    /// What takes longest until then.
    pub waits_for: WaitsFor,
    /// The smallest failure rate of canary, 0 to 1, that would be found within that time.
    pub failures_found: Option<f64>,
    /// The smallest slowdown of all of canary's answers, as a ratio above 1, that would be.
    pub slowdown_found: Option<f64>,
}

/// What a stage waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// Nothing comes in.
    #[default]
    Requests,
    /// Its hold.
    Hold,
    /// The least number of requests.
    MinRequests,
    /// The least number of stable's requests to compare with.
    StableRequests,
    /// The least number of callers.
    MinCallers,
    /// Proof that canary fails no more.
    Failures,
    /// Where callers are the unit: proof that no more of all requests fail.
    AllFailures,
    /// Proof that its median is no slower.
    LatencyP50,
    /// Proof that its 90th percentile is no slower.
    LatencyP90,
    /// Its patience: proof would take longer, and it goes on undecided.
    Patience,
}

/// Looks ahead to the stages of a plan at the rates seen.
#[derive(Clone, Debug)]
pub struct Outlook<'a> {
    settings: &'a SequentialSettings,
    groups: Vec<(&'a GroupRates, Crowd)>,
}

impl<'a> Outlook<'a> {
    /// Makes up its mind who comes.
    pub fn new(settings: &'a SequentialSettings, rates: &'a [GroupRates]) -> Self {
        let crowd = |rates: &GroupRates| match settings.unit {
            Unit::Request => Crowd::of_requests(rates.requests),
            Unit::Caller => Crowd::of_callers(rates),
        };
        Self {
            settings,
            groups: rates.iter().map(|rates| (rates, crowd(rates))).collect(),
        }
    }

    /// What a stage takes, and what it would see.
    pub fn of_stage(&self, stage: &StageContext, spans: &StageSpans) -> StageOutlook {
        let ahead = self.ahead(stage, spans);
        let canary_per_second = ahead.sum(|group| group.weight * group.requests);
        if canary_per_second <= 0.0 {
            return StageOutlook::default();
        }
        let (waits_for, seconds) = ahead.takes(stage, spans);
        let found = StageOutlook {
            canary_per_second,
            waits_for,
            ..StageOutlook::default()
        };
        if seconds > LONGEST_SECONDS {
            return found;
        }
        let judged = (seconds - spans.warm_up).max(0.0);
        StageOutlook {
            seconds: Some(seconds),
            failures_found: ahead.smallest_failures(judged),
            slowdown_found: ahead.smallest_slowdown(judged),
            ..found
        }
    }

    fn ahead(&self, stage: &StageContext, spans: &StageSpans) -> Ahead<'a> {
        let of_group = |(rates, crowd): &'_ (&GroupRates, Crowd)| GroupAhead {
            weight: share(&stage.weights, rates),
            next: share(&stage.next, rates),
            requests: rates.requests,
            failures: rates.failures,
            latency: rates.latency,
            crowd: crowd.clone(),
        };
        Ahead {
            settings: self.settings,
            groups: self.groups.iter().map(of_group).collect(),
            starts_before: f64::from(spans.starts_before),
        }
    }
}

/// A group in one stage.
#[derive(Clone, Debug)]
struct GroupAhead {
    /// The share that canary gets.
    weight: f64,
    /// The same in the next stage.
    next: f64,
    requests: f64,
    failures: f64,
    latency: Option<Latency>,
    crowd: Crowd,
}

/// What a test counts.
#[derive(Clone, Copy, Debug)]
enum Counted {
    /// Requests.
    Requests,
    /// Callers at risk and their first events, so many seconds after their start.
    Firsts(f64),
    /// The same of failures, which some callers have more than others.
    FirstFailures(f64),
    /// Callers by their second answer.
    Seconds(f64),
}

impl GroupAhead {
    /// A second's table, where so large a share of each arm's requests has the event; `None` without
    /// a control.
    fn table(&self, counted: Counted, canary: f64, stable: f64) -> Option<Table> {
        let weight = self.weight;
        let of = |chance| match counted {
            Counted::Requests => (self.requests, self.requests * chance),
            Counted::Firsts(age) => {
                let counts = self.crowd.firsts(age, chance);
                (counts.trials, counts.events)
            }
            Counted::FirstFailures(age) => {
                let more = (chance - self.failures) / (1.0 - self.failures).max(1e-9);
                let counts = self.crowd.first_failures(age, self.failures, more.max(0.0));
                (counts.trials, counts.events)
            }
            Counted::Seconds(age) => {
                let counts = self.crowd.seconds(age, chance);
                (counts.trials, counts.events)
            }
        };
        let has_control = 0.0 < weight && weight < 1.0;
        has_control.then(|| {
            let ((canary_trials, canary_events), (stable_trials, stable_events)) =
                (of(canary), of(stable));
            Table {
                canary_trials: weight * canary_trials,
                canary_events: weight * canary_events,
                stable_trials: (1.0 - weight) * stable_trials,
                stable_events: (1.0 - weight) * stable_events,
            }
        })
    }
}

/// One stage, as it lies ahead.
struct Ahead<'a> {
    settings: &'a SequentialSettings,
    groups: Vec<GroupAhead>,
    starts_before: f64,
}

impl Ahead<'_> {
    fn sum(&self, of: impl Fn(&GroupAhead) -> f64) -> f64 {
        self.groups.iter().map(of).sum()
    }

    /// The share of all requests that some share of each group comes to.
    fn exposed(&self, share: impl Fn(&GroupAhead) -> f64) -> f64 {
        let all = self.sum(|group| group.requests).max(1e-9);
        self.sum(|group| share(group) * group.requests) / all
    }

    /// What takes longest, and how long.
    fn takes(&self, stage: &StageContext, spans: &StageSpans) -> (WaitsFor, f64) {
        let until = |(wait, seconds): (WaitsFor, f64)| (wait, spans.warm_up + seconds);
        let least = self.least(stage).into_iter().map(until);
        let (wait, seconds) = longest([(WaitsFor::Hold, spans.hold)].into_iter().chain(least));
        let waits = match stage.has_control() {
            true => Proof::new(self).waits(),
            false => Vec::new(),
        };
        let (proof, proven) = longest(waits.into_iter().map(until));
        match spans.patience {
            _ if proven <= seconds || seconds > LONGEST_SECONDS => (wait, seconds),
            // It has had patience long before there is enough to go on by.
            Some(patience) if patience < seconds => (wait, seconds),
            Some(patience) if patience < proven => (WaitsFor::Patience, patience),
            _ => (proof, proven),
        }
    }

    /// Seconds until enough has come for anything to be said.
    fn least(&self, stage: &StageContext) -> Vec<(WaitsFor, f64)> {
        let canary = self.sum(|group| group.weight * group.requests);
        let min_requests = stage.min_requests.max(1) as f64;
        let mut least = vec![(WaitsFor::MinRequests, min_requests / canary)];
        if stage.has_control() {
            let stable = self.sum(|group| match group.weight {
                weight if weight > 0.0 => (1.0 - weight) * group.requests,
                _ => 0.0,
            });
            let needed = needed_of_stable(stage.min_requests) as f64;
            least.push((WaitsFor::StableRequests, needed / stable));
        }
        if self.settings.unit == Unit::Caller {
            let callers_min = self.settings.promotion.callers_min as f64;
            let callers = |seconds| self.sum(|group| group.weight * group.crowd.distinct(seconds));
            // To within twice the time; it is short wherever anything else is.
            let mut ages = (0..32).map(|doublings| f64::from(doublings).exp2());
            let seconds = ages.find(|age| callers(*age) >= callers_min);
            let seconds = seconds.unwrap_or(f64::INFINITY);
            least.push((WaitsFor::MinCallers, seconds));
        }
        least
    }

    /// Stable's past failure rate, as the judge has it: where there is a control, and never quite 0 of
    /// what it remembers.
    fn failure_rate(&self) -> f64 {
        let reference = &self.settings.reference;
        let remembered_seconds = 10.0 / -reference.decay.ln();
        let stable = |group: &GroupAhead| match group.weight {
            weight if weight > 0.0 => (1.0 - weight) * group.requests,
            _ => 0.0,
        };
        let (all, failed) = (
            self.sum(stable),
            self.sum(|group| stable(group) * group.failures),
        );
        let answers = (all * remembered_seconds).max(reference.samples_kept);
        (failed / all.max(1e-9) * answers + 0.5) / (answers + 1.0)
    }

    /// Buckets by which canary may be slower at this exposure.
    fn latency_margin(&self) -> i32 {
        // A hair more: a share that is a sum of rounded ones is no other margin.
        let exposed = self.exposed(|group| group.weight) - 1e-9;
        let margins = &self.settings.promotion.latency_margins;
        let margin = margins.iter().find(|margin| exposed <= margin.exposed_max);
        margin
            .or_else(|| margins.last())
            .map_or(0, |margin| margin.buckets)
    }

    /// Steps of time in which about the same comes each second: their middle and their length.
    fn steps(&self, seconds: f64) -> impl Iterator<Item = (f64, f64)> + use<> {
        let is_steady = self.groups.iter().all(|group| group.crowd.is_drawn_anew());
        let mut begin = 0.0;
        std::iter::from_fn(move || {
            let left = seconds - begin;
            let step = match is_steady {
                true => left,
                false => STEP_SECONDS.max(begin / 10.0).min(left),
            };
            let middle = begin + step / 2.0;
            begin += step;
            (left > 0.0).then_some((middle, step))
        })
    }
}

/// What takes longest; nothing takes none.
fn longest(waits: impl Iterator<Item = (WaitsFor, f64)>) -> (WaitsFor, f64) {
    waits
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .unwrap_or_default()
}

fn share(weights: &StageWeights, rates: &GroupRates) -> f64 {
    let weight: Weight = weights.of(rates.group.as_ref());
    f64::from(weight.basis_points()) / 1e4
}

#[cfg(test)]
mod tests;
