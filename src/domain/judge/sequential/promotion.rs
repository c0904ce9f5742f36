//! Evidence of harmlessness in the current stage.
//!
//! Each quantity is a plain product of e-values since the stage began, none mixed over starts:
//! harmlessness is to hold for the whole stage. Where callers are the unit, errors use first failures;
//! evidence is then a product over the starts of a slot, which do not overlap in time, and the slots
//! are mixed. All requests must pass the same margin as well: first failures alone do not see callers
//! who fail anyway fail twice as often.

use serde::{Deserialize, Serialize};

use crate::domain::judge::sequential::check::Check;
use crate::domain::judge::sequential::comparison::{
    Counted, Tests, compared, latency_table, table, zeros,
};
use crate::domain::judge::sequential::cuts::{Cuts, moved};
use crate::domain::judge::sequential::settings::{SequentialSettings, Unit};
use crate::domain::judge::sequential::tick::Tick;
use crate::domain::stats::log_space::{self, log_mean_exp, log_sum_exp};
use crate::domain::stats::odds_ratio::Table;

/// What must be shown to be no worse than the margin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NonInferiority {
    /// Failures: requests, or callers' first.
    Errors,
    /// Callers as the unit: failures among all requests.
    AllRequests,
    /// The median of latency.
    P50,
    /// The 90th percentile of latency.
    P90,
}

impl NonInferiority {
    /// The short word used in traces and the API.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Errors => "err",
            Self::AllRequests => "req",
            Self::P50 => "p50",
            Self::P90 => "p90",
        }
    }
}

/// `ln` of the evidence for each, in the order in which it is reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Harmlessness {
    /// Failures: requests, or callers' first.
    pub errors: f64,
    /// Failures among all requests, where callers are the unit.
    pub all_requests: Option<f64>,
    /// The median of latency.
    pub p50: f64,
    /// The 90th percentile of latency.
    pub p90: f64,
}

impl Harmlessness {
    /// What there is, in order.
    pub fn iter(&self) -> impl Iterator<Item = (NonInferiority, f64)> {
        let all = [
            (NonInferiority::Errors, Some(self.errors)),
            (NonInferiority::AllRequests, self.all_requests),
            (NonInferiority::P50, Some(self.p50)),
            (NonInferiority::P90, Some(self.p90)),
        ];
        all.into_iter()
            .filter_map(|(what, log_e)| Some((what, log_e?)))
    }
}

/// The margins of one tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Margins {
    /// The odds ratio of failures to be excluded.
    pub(super) odds: f64,
    /// The failure rate to be excluded.
    pub(super) error_rate: f64,
    /// Buckets by which canary may be slower.
    pub(super) buckets: i32,
}

impl Margins {
    /// By the share of callers exposed now and next: what few see may be less certain.
    pub(super) fn of(settings: &SequentialSettings, tick: &Tick, failure_rate: f64) -> Self {
        let promotion = &settings.promotion;
        let next = tick.exposed_next.filter(|next| *next > 0.0).unwrap_or(1.0);
        let error_rate = (promotion.risk / next)
            .max(promotion.error_rate_least)
            .min(promotion.error_rate_most);
        let relative = promotion
            .errors_relative
            .max(settings.tolerated.errors_relative);
        let margins = &promotion.latency_margins;
        let margin = margins
            .iter()
            .find(|margin| tick.exposed <= margin.exposed_max)
            .or_else(|| margins.last());
        Self {
            odds: 1.0 + relative.max(error_rate / failure_rate),
            error_rate,
            buckets: margin.map_or(0, |margin| margin.buckets),
        }
    }
}

/// The evidence of one stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct PromotionEvidence {
    /// By slot; a slot that no start has used yet is empty and says nothing.
    errors: Vec<LogValues>,
    errors_alone: LogValues,
    all_requests: LogValues,
    /// All requests of canary, against a failure rate.
    #[serde(default)]
    all_requests_alone: LogValues,
    p50: LogValues,
    p90: LogValues,
}

/// `ln` of a product for each alternative.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct LogValues(#[serde(with = "log_space::stored")] Vec<f64>);

impl LogValues {
    fn ones(alternatives: usize) -> Self {
        Self(vec![0.0; alternatives])
    }

    fn log_mean(&self) -> f64 {
        log_mean_exp(&self.0)
    }
}

impl PromotionEvidence {
    /// That of a stage that begins.
    pub(super) fn new(tests: &Tests) -> Self {
        let ones = || LogValues::ones(tests.harmless.len());
        Self {
            errors: vec![ones()],
            errors_alone: ones(),
            all_requests: ones(),
            all_requests_alone: ones(),
            p50: ones(),
            p90: ones(),
        }
    }

    /// Takes in a tick after the stage has settled.
    pub(super) fn observe(
        &mut self,
        settings: &SequentialSettings,
        tests: &Tests,
        (tick, cuts, margins): (&Tick, &Cuts, &Margins),
    ) {
        let tolerated = &settings.tolerated;
        let errors = |counted: Counted| {
            let of = move |stratum| table(Check::Errors, stratum, counted, cuts, tolerated);
            compared(tick, None).filter_map(of)
        };
        let add = |sums: &mut LogValues, tables: &mut dyn Iterator<Item = Table>, odds: f64| {
            let mut sum = zeros(tests.harmless.len());
            tables.for_each(|table| tests.harmless.add(&table, odds, &mut sum));
            for (total, more) in sums.0.iter_mut().zip(sum) {
                *total += more;
            }
        };
        match settings.unit {
            Unit::Request => {
                add(
                    &mut self.errors[0],
                    &mut errors(Counted::Requests),
                    margins.odds,
                );
                let requests = errors(Counted::Requests);
                add_alone(&mut self.errors_alone, tests, requests, margins.error_rate);
            }
            Unit::Caller => {
                for (place, start) in tick.starts.iter().enumerate() {
                    let of_start = || errors(Counted::CallersOf(place));
                    let slot = self.slot(start.slot, tests);
                    add(slot, &mut of_start(), margins.odds);
                    if start.slot == 0 {
                        let firsts = of_start();
                        add_alone(&mut self.errors_alone, tests, firsts, margins.error_rate);
                    }
                }
                add(
                    &mut self.all_requests,
                    &mut errors(Counted::Requests),
                    margins.odds,
                );
                let (sums, requests) = (&mut self.all_requests_alone, errors(Counted::Requests));
                add_alone(sums, tests, requests, margins.error_rate);
            }
        }
        for (check, sums) in [(Check::P50, &mut self.p50), (Check::P90, &mut self.p90)] {
            // The wider of stage margin and tolerance counts.
            let tolerance = tolerated.latency_buckets.of(check).unwrap_or(0);
            let shift = margins.buckets.max(tolerance);
            let Some(cut) = cuts.latency.of(check).flatten() else {
                continue;
            };
            let canary_cut = moved(cut, shift, tolerated.latency_slack_ms);
            let of = |stratum| latency_table(check, stratum, cuts, canary_cut);
            add(sums, &mut compared(tick, None).filter_map(of), 1.0);
        }
    }

    /// `ln` of the evidence so far.
    pub(super) fn levels(&self, settings: &SequentialSettings) -> Harmlessness {
        let weights: &[f64] = match settings.unit {
            Unit::Request => &[1.0],
            Unit::Caller => &settings.promotion.slots,
        };
        let used = self
            .errors
            .iter()
            .zip(weights)
            .filter(|(slot, _)| !slot.0.is_empty());
        let compared = log_sum_exp(used.map(|(slot, weight)| weight.ln() + slot.log_mean()));
        let alone = settings.promotion.absolute_share;
        let either = |compared: f64, absolute: &LogValues| {
            log_sum_exp([
                (1.0 - alone).ln() + compared,
                alone.ln() + absolute.log_mean(),
            ])
        };
        let all_requests = || {
            let compared = self.all_requests.log_mean();
            if settings.promotion.absolute_for_all {
                either(compared, &self.all_requests_alone)
            } else {
                compared
            }
        };
        Harmlessness {
            errors: either(compared, &self.errors_alone),
            all_requests: (settings.unit == Unit::Caller).then(all_requests),
            p50: self.p50.log_mean(),
            p90: self.p90.log_mean(),
        }
    }

    /// Whether all products are over so many alternatives, as a restored one must be.
    pub(super) fn fits(&self, settings: &SequentialSettings) -> bool {
        let slots = &self.errors;
        let products = [
            &self.errors_alone,
            &self.all_requests,
            &self.all_requests_alone,
            &self.p50,
            &self.p90,
        ];
        let alternatives = settings.grids.harmless.len();
        let mut used = slots
            .iter()
            .filter(|slot| !slot.0.is_empty())
            .chain(products);
        !slots.is_empty() && used.all(|product| product.0.len() == alternatives)
    }

    fn slot(&mut self, slot: usize, tests: &Tests) -> &mut LogValues {
        if slot >= self.errors.len() {
            self.errors.resize_with(slot + 1, LogValues::default);
        }
        let product = &mut self.errors[slot];
        if product.0.is_empty() {
            *product = LogValues::ones(tests.harmless.len());
        }
        product
    }
}

/// Against `H0: canary's failure rate >= limit`, so that no failures at all can be good news too.
fn add_alone(sums: &mut LogValues, tests: &Tests, tables: impl Iterator<Item = Table>, limit: f64) {
    let (mut trials, mut events) = (0.0, 0.0);
    for table in tables {
        trials += table.canary_trials;
        events += table.canary_events;
    }
    let points = tests.harmless_alone.points();
    for (sum, (log_g, g_less_one)) in sums.0.iter_mut().zip(points) {
        // (1 - a g) / (1 - a), a likelihood ratio of the rates a g and a.
        let without = (-limit * g_less_one / (1.0 - limit)).ln_1p();
        *sum += events * log_g + (trials - events) * without;
    }
}
