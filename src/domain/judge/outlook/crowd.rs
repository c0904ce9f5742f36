//! How many callers there are and how often each asks, from how many different ones come in spans of time.
//!
//! Where callers are the unit, a test counts each at most once in a start, so what counts is how soon others
//! come. Callers are taken to ask at random moments, each at a rate of its own. Then the number of
//! different ones in a span of `t` is the sum over all of `1 - exp(-rate t)`. Turned round: the rates,
//! sorted into octaves, are those that explain the numbers seen. They are sought from "as many requests
//! come from each octave", which is activity like 1/rank, by expectation and maximisation (Richardson
//! 1972, Lucy 1974); where the numbers say nothing, that is what stays.
//!
//! Who fails by habit is known in the same way: how many different callers of stable fail in a span says how
//! failures spread over them. Ten failures of one caller are one first failure.

use crate::domain::judge::outlook::GroupRates;

/// Octaves of rates: from 64 in a second down to one in a day or so.
const OCTAVES: i32 = 24;

/// The fastest of them: as many doublings of one request in a second.
const FASTEST: i32 = 6;

/// Steps of the search. The numbers are explained to a percent or so long before.
const STEPS: usize = 200;

/// Callers who ask, or fail, equally often.
#[derive(Clone, Copy, Debug)]
struct Class {
    callers: f64,
    /// Requests, or failures, of each in a second.
    rate: f64,
    /// The chance that one has any within a second, which is a tick.
    in_tick: f64,
}

/// Who asks, and how often.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd {
    classes: Vec<Class>,
    /// How those fail who do while nothing is wrong; empty where that is not known.
    failing: Vec<Class>,
    /// Requests in a second that are each a caller of their own.
    anew: f64,
}

/// What is counted in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) trials: f64,
    pub(super) events: f64,
}

impl Crowd {
    /// So many requests in a second, each drawn anew.
    pub(super) fn of_requests(anew: f64) -> Self {
        Self {
            anew,
            ..Self::default()
        }
    }

    /// The callers of a group.
    pub(super) fn of_callers(rates: &GroupRates) -> Self {
        let keyed = (rates.requests - rates.anew).max(0.0);
        Self {
            classes: classes(keyed, &rates.seen),
            failing: match rates.failing.as_slice() {
                [] => Vec::new(),
                failing => classes(keyed * rates.failures, failing),
            },
            anew: rates.anew,
        }
    }

    /// Whether nothing changes as time passes, for nobody is known again.
    pub(super) const fn is_drawn_anew(&self) -> bool {
        self.classes.is_empty()
    }

    /// Different callers within so many seconds.
    pub(super) fn distinct(&self, seconds: f64) -> f64 {
        let of_class = |class: &Class| class.callers * -(-class.rate * seconds).exp_m1();
        self.anew * seconds + self.classes.iter().map(of_class).sum::<f64>()
    }

    /// Callers at risk of an event and those who have it for the first time, in the second that begins
    /// `age` seconds after their start, where each request has it by `chance`.
    pub(super) fn firsts(&self, age: f64, chance: f64) -> Counts {
        let mut counts = Counts {
            trials: self.anew,
            events: self.anew * chance,
        };
        for class in &self.classes {
            let at_risk = class.callers * (-chance * class.rate * age).exp();
            counts.trials += at_risk * class.in_tick;
            counts.events += at_risk * -(-chance * class.rate).exp_m1();
        }
        counts
    }

    /// The same of failures: the share `usual` of all requests fails anyway, by whomever it does, and of the
    /// others the share `more`, whosever they are.
    pub(super) fn first_failures(&self, age: f64, usual: f64, more: f64) -> Counts {
        let either = usual + more - usual * more;
        if self.failing.is_empty() {
            return self.firsts(age, either);
        }
        let Counts { trials, events } = self.firsts(age, more);
        // Those who fail anyway are taken to be others than those who had the event since.
        let of_class = |class: &Class| class.callers * (-class.rate * age).exp() * class.in_tick;
        let usual_events =
            self.anew * (either - more) + self.failing.iter().map(of_class).sum::<f64>();
        Counts {
            trials,
            events: (events + usual_events).min(trials),
        }
    }

    /// Callers who get their second answer, of whom `chance` find it slow.
    pub(super) fn seconds(&self, age: f64, chance: f64) -> Counts {
        let of_class = |class: &Class| {
            let requests = class.rate * age;
            class.callers * class.rate * requests * (-requests).exp()
        };
        let trials = self.anew + self.classes.iter().map(of_class).sum::<f64>();
        Counts {
            trials,
            events: trials * chance,
        }
    }
}

/// The classes that explain how many `(seconds, callers)` were seen, with so many requests in a second.
fn classes(requests: f64, seen: &[(f64, f64)]) -> Vec<Class> {
    if requests <= 0.0 {
        return Vec::new();
    }
    let octaves = (0..OCTAVES).map(|octave| f64::from(FASTEST - octave).exp2());
    // Nobody asks more often than all together.
    let rates: Vec<f64> = octaves.filter(|rate| *rate <= requests).collect();
    let share = requests / rates.len().max(1) as f64;
    let mut callers: Vec<f64> = rates.iter().map(|rate| share / rate).collect();
    // What a caller of each class adds to each number, as a part of it.
    let known = seen.iter().filter(|(_, callers)| *callers > 0.0);
    let of_span = |(seconds, callers): &(f64, f64)| -> Vec<f64> {
        let part = |rate: &f64| -(-rate * seconds).exp_m1() / callers;
        rates.iter().map(part).collect()
    };
    let mut rows: Vec<Vec<f64>> = known.map(of_span).collect();
    rows.push(rates.iter().map(|rate| rate / requests).collect());
    let total_of = |class: usize| -> f64 { rows.iter().map(|row| row[class]).sum() };
    let totals: Vec<f64> = (0..rates.len()).map(total_of).collect();
    let mut wanted = vec![0.0; rates.len()];
    for _ in 0..STEPS {
        wanted.fill(0.0);
        for row in &rows {
            let explained: f64 = row.iter().zip(&callers).map(|(part, n)| part * n).sum();
            for (sum, part) in wanted.iter_mut().zip(row) {
                *sum += part / explained.max(f64::MIN_POSITIVE);
            }
        }
        for ((n, wanted), total) in callers.iter_mut().zip(&wanted).zip(&totals) {
            *n *= wanted / total;
        }
    }
    let class = |(callers, rate): (f64, f64)| Class {
        callers,
        rate,
        in_tick: -(-rate).exp_m1(),
    };
    callers.into_iter().zip(rates).map(class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::judge::outlook::tests::by_rank;

    #[test]
    fn a_crowd_seen_for_some_minutes_is_known_for_longer() {
        for callers in [20, 200, 2_000, 20_000] {
            let rates = by_rank(callers, 200.0);
            let crowd = Crowd::of_callers(&rates);
            let each: Vec<f64> = {
                let sum: f64 = (1..=callers).map(|rank| 1.0 / f64::from(rank)).sum();
                let rate = |rank| 200.0 / (f64::from(rank) * sum);
                (1..=callers).map(rate).collect()
            };
            for seconds in [1.0, 30.0, 600.0] {
                let wanted: f64 = each.iter().map(|rate| -(-rate * seconds).exp_m1()).sum();
                let found = crowd.distinct(seconds);
                // Sets that are full after half a minute say little of ten.
                let is_told = callers <= 2_000 || seconds <= 30.0;
                let near = if is_told { 1.15 } else { 2.0 };
                let is_near = (wanted / near..wanted * near).contains(&found);
                assert!(is_near, "{callers} in {seconds} s: {found}, not {wanted}");
            }
            if callers <= 200 {
                // Nearly all have asked twice by then.
                continue;
            }
            let twice = |rate: &f64| rate * rate * 60.0 * (-rate * 60.0).exp();
            let wanted: f64 = each.iter().map(twice).sum();
            let found = crowd.seconds(60.0, 0.5);
            assert!(
                (wanted / 2.0..wanted * 2.0).contains(&found.trials),
                "{callers}: {found:?}"
            );
        }
    }

    #[test]
    fn who_had_the_event_is_at_risk_no_more() {
        let crowd = Crowd::of_callers(&by_rank(200, 200.0));
        let all: f64 = (0..36_000)
            .map(|age| crowd.firsts(f64::from(age), 0.1).events)
            .sum();
        assert!((150.0..260.0).contains(&all), "{all}");
        let anew = Crowd::of_requests(200.0);
        assert_eq!(anew.firsts(1e6, 0.1), anew.firsts(0.0, 0.1));
        assert!(Crowd::of_callers(&by_rank(200, 0.0)).distinct(60.0).abs() < 1e-9);
    }
}
