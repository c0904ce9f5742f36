//! The values of both arms, and the words for them, check by check.

use crate::domain::judge::sequential::check::Check;
use crate::domain::judge::sequential::findings::Writer;
use crate::domain::judge::sequential::findings::words::Milliseconds;
use crate::domain::judge::sequential::settings::Unit;
use crate::domain::judge::verdict::Percent;
use crate::domain::stats::odds_ratio::Table;
use crate::domain::variant::PerVariant;

/// How the words begin about canary where it is compared with nothing.
const NO_CONTROL: &str = "no control in this group: ";

/// The numbers of a finding, and the words for them.
pub(super) struct Numbers {
    pub(super) canary: f64,
    pub(super) stable: Option<f64>,
    pub(super) tolerated: f64,
    pub(super) n: PerVariant<u64>,
    pub(super) words: String,
}

impl Writer<'_> {
    /// The numbers of a check; `None` while it has seen nothing.
    pub(super) fn numbers(&self, check: Check) -> Option<Numbers> {
        match check {
            Check::Errors => self.errors(),
            Check::ClientErrors | Check::Size | Check::ContentType | Check::Ratings => {
                self.share(check)
            }
            Check::P50 | Check::P90 | Check::P99 => self.latency(check),
            Check::RatingFloor => self.rating_floor(),
            Check::ErrorRateMax => self.error_rate_max(),
            Check::MeanLatencyMax => self.mean_latency_max(),
        }
    }

    fn errors(&self) -> Option<Numbers> {
        let table = &self.totals.requests;
        if table.canary_trials <= 0.0 {
            return None;
        }
        let tolerated = self.tolerated_share(Check::Errors, table);
        let (canary, stable) = shares(table);
        let of_callers = &self.totals.compared[Check::Errors];
        let words = format!(
            "canary fails {} of requests ({} of {}{}), stable {} ({} of {}{}); tolerated up to {}",
            Percent(canary),
            table.canary_events,
            table.canary_trials,
            self.words_of_callers(self.totals.callers.canary, of_callers.canary_events),
            Percent(stable),
            table.stable_events,
            table.stable_trials,
            self.words_of_callers(self.totals.callers.stable, of_callers.stable_events),
            Percent(tolerated),
        );
        Some(of_table(table, tolerated, words))
    }

    /// From how many callers requests came, and how many of them have met with a failure.
    fn words_of_callers(&self, callers: f64, affected: f64) -> String {
        match self.judge.settings.unit {
            Unit::Caller => format!(" from {callers} callers, {affected} of whom met with one"),
            Unit::Request => String::new(),
        }
    }

    /// A share that both arms have.
    fn share(&self, check: Check) -> Option<Numbers> {
        let table = &self.totals.compared[check];
        if table.canary_trials <= 0.0 {
            return None;
        }
        let tolerated = self.tolerated_share(check, table);
        let (canary, stable) = shares(table);
        let what = match check {
            Check::ClientErrors => "are refused with 4xx",
            Check::Size => "have a size that stable's hardly ever have",
            Check::ContentType => "have a content type that stable's hardly ever have",
            _ => "are 1 or 2",
        };
        let of = match (check, self.judge.settings.unit) {
            (Check::Ratings, _) => "ratings",
            (Check::ClientErrors, Unit::Request) => "requests that did not fail",
            (_, Unit::Request) => "good answers",
            (_, Unit::Caller) => "callers' answers",
        };
        let words = format!(
            "{} of canary's {of} {what} ({} of {}), of stable's {} ({} of {}); tolerated up to {}",
            Percent(canary),
            table.canary_events,
            table.canary_trials,
            Percent(stable),
            table.stable_events,
            table.stable_trials,
            Percent(tolerated),
        );
        Some(of_table(table, tolerated, words))
    }

    fn latency(&self, check: Check) -> Option<Numbers> {
        let latency = &self.totals.latency;
        let q = check.quantile()?;
        let canary = middle_ms(latency.canary.quantile(q)?);
        let stable = middle_ms(latency.stable.quantile(q)?);
        let buckets = self.judge.settings.tolerated.latency_buckets.of(check)?;
        let slack_ms = self.judge.settings.tolerated.latency_slack_ms;
        let tolerated = (stable * (f64::from(buckets) / 16.0).exp2()).max(stable + slack_ms);
        let n = PerVariant {
            stable: latency.stable.total(),
            canary: latency.canary.total(),
        };
        let words = format!(
            "canary's {} is {} ({} good answers), stable's {} ({}); tolerated up to {}",
            check.key(),
            Milliseconds(canary),
            n.canary,
            Milliseconds(stable),
            n.stable,
            Milliseconds(tolerated),
        );
        Some(Numbers {
            canary,
            stable: Some(stable),
            tolerated,
            n,
            words,
        })
    }

    fn rating_floor(&self) -> Option<Numbers> {
        let ratings = self.judge.canary_ratings();
        let raters: f64 = ratings.iter().sum();
        let sum: f64 = (1..)
            .zip(ratings)
            .map(|(rating, n)| f64::from(rating) * n)
            .sum();
        let settings = &self.judge.settings;
        let floor = settings.tolerated.rating_floor_with_dishonest();
        let goal = settings.promotion.rating_goal;
        (raters > 0.0).then(|| Numbers {
            canary: sum / raters,
            stable: None,
            tolerated: floor,
            n: only_canary(raters),
            words: format!(
                "canary is rated {:.2} on average by {raters}{}; the goal is above {goal}, harm below \
                 {floor}",
                sum / raters,
                self.words_of_exposed(raters)
            ),
        })
    }

    /// Of how many a rating could have come, where callers are known. Ratings are of the whole rollout and callers of the
    /// stage, so when it has begun there may be fewer of these.
    fn words_of_exposed(&self, raters: f64) -> String {
        match self.judge.settings.unit {
            Unit::Caller if self.totals.canary_callers < raters => String::new(),
            Unit::Caller => format!(" of {} exposed callers", self.totals.canary_callers),
            Unit::Request => String::new(),
        }
    }

    fn error_rate_max(&self) -> Option<Numbers> {
        let tolerated = &self.judge.settings.tolerated;
        let everywhere = (self.totals.canary_requests, self.totals.canary_failures);
        let (limit, (requests, failures), prefix) = match tolerated.error_rate_max {
            Some(limit) if self.totals.has_control => (limit, everywhere, ""),
            Some(limit) => (limit, everywhere, NO_CONTROL),
            None => (
                tolerated.uncompared_error_rate_max?,
                self.totals.uncompared(),
                NO_CONTROL,
            ),
        };
        (requests > 0.0).then(|| Numbers {
            canary: failures / requests,
            stable: None,
            tolerated: limit,
            n: only_canary(requests),
            words: format!(
                "{prefix}canary fails {} of requests ({failures} of {requests}); the limit is {}",
                Percent(failures / requests),
                Percent(limit)
            ),
        })
    }

    fn mean_latency_max(&self) -> Option<Numbers> {
        let limit = self.judge.settings.tolerated.mean_latency_ms_max?;
        let latency = &self.judge.stage_totals().canary_latency_ms;
        (latency.count > 0.0).then(|| Numbers {
            canary: latency.mean(),
            stable: None,
            tolerated: limit,
            n: only_canary(latency.count),
            words: format!(
                "canary takes {} on average ({} good answers); the limit is {}",
                Milliseconds(latency.mean()),
                latency.count,
                Milliseconds(limit)
            ),
        })
    }

    /// The share that is tolerated of canary where stable has this one.
    fn tolerated_share(&self, check: Check, table: &Table) -> f64 {
        let past = self.judge.stable_failure_rate();
        let odds = self.judge.tolerated_odds()[check];
        let (_, stable) = shares(table);
        let base = if check == Check::Errors && stable <= 0.0 {
            past
        } else {
            stable
        };
        odds * base / (1.0 - base + odds * base)
    }
}

fn of_table(table: &Table, tolerated: f64, words: String) -> Numbers {
    let (canary, stable) = shares(table);
    Numbers {
        canary,
        stable: Some(stable),
        tolerated,
        n: PerVariant {
            stable: whole(table.stable_trials),
            canary: whole(table.canary_trials),
        },
        words,
    }
}

/// Canary's and stable's share of events; 0 without trials.
fn shares(table: &Table) -> (f64, f64) {
    (
        table.canary_events / table.canary_trials.max(1.0),
        table.stable_events / table.stable_trials.max(1.0),
    )
}

fn only_canary(n: f64) -> PerVariant<u64> {
    PerVariant {
        stable: 0,
        canary: whole(n),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a sum of counts, and a cast from a float saturates"
)]
pub(super) fn whole(count: f64) -> u64 {
    count as u64
}

/// The geometric middle of a latency bucket.
fn middle_ms(bucket: i32) -> f64 {
    ((f64::from(bucket) + 0.5) / 16.0).exp2()
}
