//! What simulated rollouts came to, for people and for machines.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::words;
use crate::domain::judge::CheckName;
use crate::domain::stats::intervals::Share;
use crate::domain::stats::proportion::{lower_bound, upper_bound};
use crate::simulator::forecast::{Forecast, Spread};
use crate::simulator::trial::{Came, Ending, Waited};

/// The chance that a bound is wrong: 95 % of intervals hold what they are of.
const ERROR: f64 = 0.05;

/// What was asked.
#[derive(Serialize)]
pub(super) struct Setting {
    pub(super) flag: String,
    pub(super) revision: String,
    pub(super) stages: Vec<String>,
    pub(super) requests_per_second: f64,
    /// `None` where each request is drawn anew.
    pub(super) callers: Option<u32>,
    pub(super) activity: Option<&'static str>,
    pub(super) errors: f64,
    pub(super) latency_ms: f64,
    pub(super) regressions: Vec<String>,
    /// What the plan asks for beside its judge: nobody knows what others would have answered.
    pub(super) not_simulated: Vec<String>,
    /// How long a rollout was followed at most.
    pub(super) seconds_max: u64,
    pub(super) runs: u64,
    pub(super) seed: u64,
}

/// The answer.
#[derive(Serialize)]
pub(super) struct Report {
    setting: Setting,
    /// Came to the end of their plan.
    promoted: Estimate,
    /// Taken back for what a check found, or for another reason.
    rolled_back: Estimate,
    /// Neither of the two in the time that they were followed.
    open: Estimate,
    /// From the first stage to the end of the watch, where it came to that.
    seconds_to_success: Option<Numbers>,
    /// Of the runs in which canary came to do harm; `None` where nothing is wrong.
    found: Option<Found>,
    /// Taken back by a check while nothing was wrong yet.
    false_rollbacks: Estimate,
    /// Those of them that the tripwire took back.
    false_trips: Estimate,
    /// What stages waited for, as shares of their time; several at a time are possible.
    waited_for: Vec<Wait>,
}

/// A share that was counted, and what it may really be.
#[derive(Clone, Copy, Serialize)]
struct Estimate {
    runs: u64,
    of: u64,
    share: f64,
    /// The ends of a 95 % interval (Clopper and Pearson).
    low: f64,
    high: f64,
    /// What it exceeds with a chance of 5 %.
    upper: f64,
}

impl From<Share> for Estimate {
    fn from(share: Share) -> Self {
        Self {
            runs: share.events,
            of: share.trials,
            share: share.ratio(),
            low: lower_bound(share, ERROR / 2.0),
            high: upper_bound(share, ERROR / 2.0),
            upper: upper_bound(share, ERROR),
        }
    }
}

#[derive(Clone, Copy, Serialize)]
struct Numbers {
    median: u64,
    p90: u64,
}

impl From<Spread> for Numbers {
    fn from(spread: Spread) -> Self {
        Self {
            median: spread.median,
            p90: spread.p90,
        }
    }
}

/// How harm was found.
#[derive(Serialize)]
struct Found {
    found: Estimate,
    /// Since it began.
    seconds: Option<Numbers>,
    /// Canary's requests that it struck, as far as it strikes, until canary was taken back.
    canary_requests: Option<Numbers>,
    /// Callers who were on canary meanwhile.
    canary_callers: Option<Numbers>,
    /// In which stage, counted from 1, and how often.
    in_stage: BTreeMap<usize, u64>,
    /// By which check, and how often.
    by_check: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct Wait {
    #[serde(rename = "for")]
    what: String,
    share: f64,
}

impl Report {
    pub(super) fn of(forecast: &Forecast, setting: Setting) -> Self {
        let share = |is_so: &dyn Fn(&Ending) -> bool| Estimate::from(forecast.share(is_so));
        let is_false =
            |ending: &Ending| ending.harmful_since.is_none() && check_of(ending).is_some();
        let is_trip = |ending: &Ending| check_of(ending) == Some(&CheckName::Tripwire);
        let is_back =
            |ending: &Ending| matches!(ending.came, Came::RolledBack(_) | Came::TakenBack);
        let waits = forecast.waits().into_iter();
        Self {
            promoted: share(&|ending| ending.came == Came::Succeeded),
            rolled_back: share(&is_back),
            open: share(&|ending| ending.came == Came::Open),
            seconds_to_success: forecast.seconds_to_success().map(Numbers::from),
            found: (!setting.regressions.is_empty()).then(|| Found::of(forecast)),
            false_rollbacks: share(&is_false),
            false_trips: share(&|ending| is_false(ending) && is_trip(ending)),
            waited_for: waits
                .map(|(waited, share)| Wait {
                    what: words_of(waited),
                    share,
                })
                .collect(),
            setting,
        }
    }
}

impl Found {
    fn of(forecast: &Forecast) -> Self {
        let is_harmful = |ending: &Ending| ending.harmful_since.is_some();
        let is_found = |ending: &Ending| is_harmful(ending) && check_of(ending).is_some();
        let numbers = |of: &dyn Fn(&Ending) -> Option<u64>| {
            Spread::of(forecast.those(is_found).filter_map(of)).map(Numbers::from)
        };
        let (mut in_stage, mut by_check) = (BTreeMap::new(), BTreeMap::new());
        for ending in forecast.those(is_found) {
            *in_stage.entry(ending.stage + 1).or_default() += 1;
            if let Some(check) = check_of(ending) {
                *by_check.entry(check.to_string()).or_default() += 1;
            }
        }
        Self {
            found: Estimate::from(Share {
                trials: forecast.share(is_harmful).events,
                ..forecast.share(is_found)
            }),
            seconds: numbers(&|ending| Some(ending.second - ending.harmful_since?)),
            canary_requests: numbers(&|ending| Some(ending.canary_requests)),
            canary_callers: numbers(&|ending| ending.canary_callers),
            in_stage,
            by_check,
        }
    }
}

/// The check that took canary back, if one did.
const fn check_of(ending: &Ending) -> Option<&CheckName> {
    match &ending.came {
        Came::RolledBack(check) => Some(check),
        Came::Succeeded | Came::TakenBack | Came::Open => None,
    }
}

fn words_of(waited: Waited) -> String {
    match waited {
        Waited::Hold => "the hold".to_owned(),
        Waited::Requests => "requests of canary".to_owned(),
        Waited::Data(check) => format!("data for {check}"),
        Waited::Proof(check) => format!("proof by {check}"),
        Waited::Condition(check) => format!("what {check} asks for"),
    }
}

/// How many of the things that were waited for are printed.
const WAITS_MAX: usize = 6;

impl Report {
    pub(super) fn print(&self) {
        for line in self
            .title()
            .into_iter()
            .chain(words::table(&self.rows(), |_, cell| cell.to_owned()))
        {
            println!("{line}");
        }
    }

    fn title(&self) -> Vec<String> {
        let Setting {
            flag,
            revision,
            runs,
            seed,
            latency_ms,
            ..
        } = &self.setting;
        let stages = self.setting.stages.join(", ");
        let (rate, errors) = (
            self.setting.requests_per_second,
            percent(self.setting.errors),
        );
        let from = match (self.setting.callers, self.setting.activity) {
            (Some(callers), Some(activity)) => format!("from {callers} callers ({activity})"),
            _ => "each drawn anew".to_owned(),
        };
        let wrong = match self.setting.regressions.as_slice() {
            [] => "nothing is wrong with canary".to_owned(),
            regressions => format!("canary: {}", regressions.join(", ")),
        };
        let mut lines = vec![
            format!(
                "{flag}, revision {revision}: {runs} rollouts, seed {seed}, stages {stages}; bounds are right \
                 19 times in 20"
            ),
            format!(
                "{rate} requests/s {from}, {errors} fail, median latency {latency_ms} ms; {wrong}"
            ),
        ];
        let left_out = &self.setting.not_simulated;
        if !left_out.is_empty() {
            lines.push(format!(
                "not simulated, and taken for met: {}",
                left_out.join(", ")
            ));
        }
        lines.push(String::new());
        lines
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![
            row("promoted", &self.promoted),
            row("rolled back", &self.rolled_back),
        ];
        if self.open.runs > 0 {
            let followed = seconds(self.setting.seconds_max);
            rows.push(row(&format!("not ended in {followed}"), &self.open));
        }
        rows.extend(numbers("time to success", self.seconds_to_success, seconds));
        if let Some(found) = &self.found {
            rows.push(row("harm found", &found.found));
            rows.extend(numbers("  after", found.seconds, seconds));
            rows.extend(numbers("  canary requests", found.canary_requests, |n| {
                n.to_string()
            }));
            rows.extend(numbers("  callers on canary", found.canary_callers, |n| {
                n.to_string()
            }));
            rows.extend(counts("  in stage", &found.in_stage));
            rows.extend(counts("  by check", &found.by_check));
        }
        rows.push(row("false rollbacks", &self.false_rollbacks));
        rows.push(row("  by the tripwire", &self.false_trips));
        for (place, wait) in self.waited_for.iter().take(WAITS_MAX).enumerate() {
            let name = if place == 0 { "stages waited for" } else { "" };
            rows.push(vec![
                name.to_owned(),
                wait.what.clone(),
                percent(wait.share),
            ]);
        }
        rows
    }
}

fn row(name: &str, estimate: &Estimate) -> Vec<String> {
    let Estimate {
        runs,
        of,
        share,
        low,
        high,
        upper,
    } = *estimate;
    let interval = match runs {
        0 => format!("at most {}", percent(upper)),
        _ => format!("{} ({} to {})", percent(share), percent(low), percent(high)),
    };
    vec![name.to_owned(), format!("{runs} of {of}"), interval]
}

fn numbers(
    name: &str,
    numbers: Option<Numbers>,
    put: impl Fn(u64) -> String,
) -> Option<Vec<String>> {
    let Numbers { median, p90 } = numbers?;
    let most = format!("nine in ten at most {}", put(p90));
    Some(vec![
        name.to_owned(),
        format!("median {}", put(median)),
        most,
    ])
}

fn counts<K: ToString>(name: &str, counts: &BTreeMap<K, u64>) -> Option<Vec<String>> {
    let each = counts
        .iter()
        .map(|(key, n)| format!("{}: {n}", key.to_string()));
    let each: Vec<_> = each.collect();
    (!each.is_empty()).then(|| vec![name.to_owned(), each.join(", ")])
}

fn seconds(seconds: u64) -> String {
    words::span(seconds as f64)
}

/// A share as a percentage with as many digits as it needs to be told from none.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        p if p >= 10.0 => format!("{p:.0} %"),
        p if p >= 0.1 => format!("{p:.1} %"),
        p => format!("{p:.2} %"),
    }
}
