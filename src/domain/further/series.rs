//! What the samples of a custom check amount to.
//!
//! One odd sample is no reason to take canary back: [`BREACH_SAMPLES`] bad ones in a row are, each asked
//! for at least [`CustomCheck::every`] after the one before. What is asked for sooner may be the same number
//! once more: an instant query answers with the moment of the question, whenever the last scrape was, so
//! how old a sample says it is does not tell two of them apart. A source that says nothing says nothing
//! *good* either: the stage holds, for as long as the latest answer is none, is too old, or is no number,
//! and the finding tells why. Such an answer neither adds to a row of bad samples nor breaks it.
//!
//! What was asked before the stage began, or while canary warmed up, counts for nothing.

use std::collections::VecDeque;
use std::time::Duration;

use crate::domain::further::check::{CustomCheck, Limits};
use crate::domain::further::words::Plain;
use crate::domain::judge::{Assessment, CheckName, Finding};
use crate::domain::timestamp::Timestamp;
use crate::domain::variant::PerVariant;

/// Bad samples in a row that are a breach.
///
/// Three: a scrape that was missed or a batch that was late makes one odd sample, and with it perhaps
/// the next; what three in a row show is how things are. They take twice the time between two questions, so
/// a minute by default: at least two scrapes, where a source is scraped once a minute, and as many as there
/// are samples where it is more often.
pub const BREACH_SAMPLES: usize = 3;

/// Samples that are remembered: a row of bad ones, were some of them asked for too soon to count.
const JUDGED_MAX: usize = 4 * BREACH_SAMPLES;

/// A number, and how old it was when it came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The number; not necessarily finite.
    pub value: f64,
    /// Its age, where the source tells when it was true; else zero.
    pub age: Duration,
}

/// Why there is no sample, in words that go after the name of the source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Silence(pub String);

/// What came of asking once.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// When it was asked.
    pub asked: Timestamp,
    /// What was said of canary.
    pub canary: Result<Sample, Silence>,
    /// What was said of stable; `None` where it was not asked about.
    pub stable: Option<Result<Sample, Silence>>,
}

/// What is made of an answer.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    /// Within all limits.
    Good,
    /// Beyond this limit.
    Bad { limit: f64 },
    /// It cannot be told.
    Silent { why: String },
}

/// An answer that was taken in, with what is made of it.
#[derive(Clone, Debug)]
struct Latest {
    asked: Timestamp,
    values: PerVariant<Option<f64>>,
    age: Duration,
    outcome: Outcome,
}

/// The answers to one check.
#[derive(Clone, Debug, Default)]
pub struct Series {
    latest: Option<Latest>,
    /// The last samples that could be judged, oldest first: when, and whether they were bad.
    judged: VecDeque<(Timestamp, bool)>,
}

impl Series {
    /// Takes an answer in.
    pub fn add(&mut self, check: &CustomCheck, answer: &Answer) {
        let outcome = judge(check, answer);
        if !matches!(outcome, Outcome::Silent { .. }) {
            let is_bad = matches!(outcome, Outcome::Bad { .. });
            self.judged.push_back((answer.asked, is_bad));
            if self.judged.len() > JUDGED_MAX {
                self.judged.pop_front();
            }
        }
        let stable = answer
            .stable
            .as_ref()
            .and_then(|stable| stable.as_ref().ok());
        let canary = answer.canary.as_ref().ok();
        let ages = [canary, stable]
            .into_iter()
            .flatten()
            .map(|sample| sample.age);
        self.latest = Some(Latest {
            asked: answer.asked,
            values: PerVariant {
                stable: stable.map(|sample| sample.value),
                canary: canary.map(|sample| sample.value),
            },
            age: ages.max().unwrap_or_default(),
            outcome,
        });
    }

    /// What is found at `now`, of what was asked since `counted_from`.
    pub fn assess(&self, check: &CustomCheck, counted_from: Timestamp, now: Timestamp) -> Finding {
        let latest = self.latest.as_ref();
        let Some(latest) = latest.filter(|latest| latest.asked >= counted_from) else {
            let what = if now < counted_from {
                "waits until canary has warmed up"
            } else {
                "waits for a first answer in this stage"
            };
            return finding(check, Assessment::NeedsData, 0.0, what.to_owned());
        };
        let age = (now - latest.asked).saturating_add(latest.age);
        let found = match &latest.outcome {
            Outcome::Silent { why } => finding(
                check,
                Assessment::NeedsData,
                0.0,
                format!("has no value: {why}"),
            ),
            _ if age > check.max_age => {
                let why = format!("has no value: {}", too_old(age, check.max_age));
                finding(check, Assessment::NeedsData, 0.0, why)
            }
            Outcome::Good => finding(check, Assessment::Pass, 0.0, told(check, latest)),
            Outcome::Bad { .. } => self.bad(check, latest, counted_from),
        };
        let ratio = check.comparison.as_ref().zip(latest.values.stable);
        let of_ratio = ratio.and_then(|(compared, stable)| compared.ratio.times(stable).either());
        let bound = match latest.outcome {
            Outcome::Bad { limit } => Some(limit),
            Outcome::Good | Outcome::Silent { .. } => check.limits.either().or(of_ratio),
        };
        Finding {
            canary: latest.values.canary.unwrap_or(f64::NAN),
            stable: latest.values.stable,
            bound: bound.unwrap_or(f64::NAN),
            ..found
        }
    }

    fn bad(&self, check: &CustomCheck, latest: &Latest, counted_from: Timestamp) -> Finding {
        let row = self.bad_row(check, counted_from);
        let assessment = if row >= BREACH_SAMPLES {
            Assessment::Breach
        } else {
            Assessment::Undecided
        };
        let told = told(check, latest);
        let reason = format!("{told}; {row} of {BREACH_SAMPLES} bad samples in a row");
        finding(check, assessment, evidence(row), reason)
    }

    /// Bad samples since the last good one, or since a gap in which nobody knows what was: as many as lie
    /// far enough apart, at most [`BREACH_SAMPLES`].
    fn bad_row(&self, check: &CustomCheck, counted_from: Timestamp) -> usize {
        let mut row = 0;
        let (mut after, mut counted) = (None::<Timestamp>, None::<Timestamp>);
        for (asked, is_bad) in self.judged.iter().rev() {
            let is_near = after.is_none_or(|after| after - *asked <= check.max_age);
            if !is_bad || !is_near || *asked < counted_from {
                break;
            }
            if counted.is_none_or(|counted| counted - *asked >= check.every) {
                row += 1;
                counted = Some(*asked);
            }
            after = Some(*asked);
        }
        row.min(BREACH_SAMPLES)
    }
}

/// How much of a breach a row of bad samples is.
///
/// The first counts twice. It is a sign of harm already, and with a sign of harm no stage passes
/// for want of a decision.
#[allow(clippy::cast_precision_loss, reason = "a handful")]
fn evidence(row: usize) -> f64 {
    (row + 1) as f64 / (BREACH_SAMPLES + 1) as f64
}

fn judge(check: &CustomCheck, answer: &Answer) -> Outcome {
    let canary = match usable(check, &answer.canary) {
        Ok(value) => value,
        Err(why) => return Outcome::Silent { why },
    };
    if let Some(limit) = check.limits.broken_by(canary) {
        return Outcome::Bad { limit };
    }
    let Some(compared) = &check.comparison else {
        return Outcome::Good;
    };
    let not_asked = || Err(Silence("stable was not asked about".to_owned()));
    let stable = answer.stable.clone().unwrap_or_else(not_asked);
    let stable = match usable(check, &stable) {
        // A ratio to nothing, or to less than that, says nothing.
        Ok(value) if value <= 0.0 => {
            let why = format!("stable's is {}, so there is no ratio to it", Plain(value));
            return Outcome::Silent { why };
        }
        Ok(value) => value,
        Err(why) => {
            let why = format!("for stable, {why}");
            return Outcome::Silent { why };
        }
    };
    match compared.ratio.times(stable).broken_by(canary) {
        Some(limit) => Outcome::Bad { limit },
        None => Outcome::Good,
    }
}

/// A number that can be judged by, or why there is none.
fn usable(check: &CustomCheck, said: &Result<Sample, Silence>) -> Result<f64, String> {
    match said {
        Err(silence) => Err(silence.to_string()),
        Ok(sample) if !sample.value.is_finite() => Err(format!("the answer is {}", sample.value)),
        Ok(sample) if sample.age > check.max_age => Err(too_old(sample.age, check.max_age)),
        Ok(sample) => Ok(sample.value),
    }
}

fn too_old(age: Duration, max_age: Duration) -> String {
    let (age, max_age) = (seconds(age), seconds(max_age));
    format!("the sample is {age} s old, more than {max_age} s")
}

fn seconds(duration: Duration) -> Plain {
    Plain(duration.as_secs_f64().round())
}

/// The values beside what is tolerated, to go after the check's name.
fn told(check: &CustomCheck, latest: &Latest) -> String {
    let canary = latest.values.canary.unwrap_or(f64::NAN);
    let mut told = format!("is {}", Plain(canary));
    if check.limits != Limits::default() {
        told.push_str(&format!(", tolerated is {}", check.limits));
    }
    if let Some((compared, stable)) = check.comparison.as_ref().zip(latest.values.stable) {
        let ratio = Plain(canary / stable);
        told.push_str(&format!(
            ", {ratio} times stable's {}, tolerated is {}",
            Plain(stable),
            compared.ratio
        ));
    }
    told
}

fn finding(check: &CustomCheck, assessment: Assessment, evidence: f64, told: String) -> Finding {
    Finding {
        check: CheckName::Custom(check.name.clone()),
        assessment,
        group: None,
        canary: f64::NAN,
        stable: None,
        bound: check.limits.either().unwrap_or(f64::NAN),
        evidence,
        evidence_needed: None,
        n: PerVariant::default(),
        callers: None,
        missing: None,
        reason: format!("{} {told}", check.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::further::check::{Comparison, Source};
    use crate::domain::further::template::Template;

    const EVERY: u64 = 10;

    fn check(min: Option<f64>, ratio_min: Option<f64>) -> CustomCheck {
        let source = Source::HttpJson {
            url: Template::read("http://a/").unwrap(),
            pointer: String::new(),
        };
        CustomCheck {
            name: "score".parse().unwrap(),
            comparison: ratio_min.map(|min| Comparison {
                stable: source.clone(),
                ratio: Limits {
                    min: Some(min),
                    max: None,
                },
            }),
            source,
            limits: Limits { min, max: None },
            every: Duration::from_secs(EVERY),
            timeout: Duration::from_secs(2),
            max_age: Duration::from_secs(60),
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::since_start(Duration::from_secs(seconds))
    }

    fn sample(value: f64) -> Result<Sample, Silence> {
        let age = Duration::ZERO;
        Ok(Sample { value, age })
    }

    fn silent() -> Result<Sample, Silence> {
        Err(Silence("`a:80` refuses the connection".to_owned()))
    }

    /// What is found right after answers ten seconds apart, the first at second 10.
    fn after(check: &CustomCheck, answers: &[(Result<Sample, Silence>, Option<f64>)]) -> Finding {
        let mut series = Series::default();
        let mut now = Timestamp::default();
        for (canary, stable) in answers {
            now = now + Duration::from_secs(EVERY);
            let answer = Answer {
                asked: now,
                canary: canary.clone(),
                stable: stable.map(sample),
            };
            series.add(check, &answer);
        }
        series.assess(check, Timestamp::default(), now)
    }

    fn alone(answers: &[Result<Sample, Silence>]) -> Finding {
        let answers: Vec<_> = answers.iter().cloned().map(|one| (one, None)).collect();
        after(&check(Some(4.0), None), &answers)
    }

    #[test]
    fn three_bad_samples_in_a_row_are_a_breach_and_fewer_a_sign() {
        use Assessment::{Breach, Pass, Undecided};
        let (good, bad) = (|| sample(4.5), || sample(3.0));
        for (answers, assessment, evidence) in [
            (vec![good()], Pass, 0.0),
            (vec![bad()], Undecided, 0.5),
            (vec![bad(), bad()], Undecided, 0.75),
            (vec![bad(), bad(), bad()], Breach, 1.0),
            (vec![bad(), bad(), bad(), bad()], Breach, 1.0),
            (vec![bad(), bad(), good()], Pass, 0.0),
            (vec![bad(), bad(), good(), bad()], Undecided, 0.5),
            (vec![bad(), silent(), bad(), bad()], Breach, 1.0),
            (vec![bad(), silent(), bad()], Undecided, 0.75),
        ] {
            let found = alone(&answers);
            assert_eq!(found.assessment, assessment, "{answers:?}: {found:?}");
            assert!((found.evidence - evidence).abs() < 1e-9, "{answers:?}");
        }
        let found = alone(&[bad(), bad()]);
        assert_eq!(
            found.reason,
            "score is 3, tolerated is at least 4; 2 of 3 bad samples in a row"
        );
        assert_eq!((found.canary, found.bound), (3.0, 4.0));
        assert_eq!(found.check.as_str(), "score");
    }

    #[test]
    fn a_source_that_says_nothing_never_passes_and_never_breaches() {
        let old = Sample {
            value: 3.0,
            age: Duration::from_secs(300),
        };
        for (answers, why) in [
            (vec![], "waits for a first answer in this stage"),
            (
                vec![silent()],
                "has no value: `a:80` refuses the connection",
            ),
            (vec![sample(4.5), silent()], "`a:80` refuses the connection"),
            (vec![sample(f64::NAN)], "has no value: the answer is NaN"),
            (vec![sample(f64::INFINITY)], "the answer is inf"),
            (vec![Ok(old)], "the sample is 300 s old, more than 60 s"),
            (vec![Ok(old); 5], "the sample is 300 s old"),
            (
                vec![sample(3.0), sample(3.0), sample(3.0), silent()],
                "refuses",
            ),
        ] {
            let found = alone(&answers);
            assert_eq!(found.assessment, Assessment::NeedsData, "{answers:?}");
            assert!(found.reason.contains(why), "{}", found.reason);
            assert!(found.evidence.abs() < 1e-9);
        }
    }

    #[test]
    fn a_sample_grows_old_when_no_other_comes() {
        let check = check(Some(4.0), None);
        let mut series = Series::default();
        let answer = |asked, value| Answer {
            asked,
            canary: sample(value),
            stable: None,
        };
        series.add(&check, &answer(at(100), 5.0));
        let assess = |series: &Series, counted_from: u64, now: u64| {
            series.assess(&check, at(counted_from), at(now))
        };
        assert_eq!(assess(&series, 0, 160).assessment, Assessment::Pass);
        let stale = assess(&series, 0, 175);
        assert_eq!(stale.assessment, Assessment::NeedsData);
        assert!(stale.reason.contains("75 s old"), "{}", stale.reason);
        // The next stage begins: what was asked before it says nothing of it.
        assert_eq!(assess(&series, 101, 105).assessment, Assessment::NeedsData);
        let warming = assess(&series, 110, 105).reason;
        assert!(warming.contains("warmed up"), "{warming}");
        for asked in [200, 210, 220] {
            series.add(&check, &answer(at(asked), 1.0));
        }
        assert_eq!(assess(&series, 200, 220).assessment, Assessment::Breach);
        assert_eq!(assess(&series, 205, 220).assessment, Assessment::Undecided);
        // Nobody knows what was in a gap, so what was before it does not count with what is after.
        series.add(&check, &answer(at(300), 1.0));
        let found = assess(&series, 200, 300);
        assert!(found.reason.contains("1 of 3"), "{}", found.reason);
    }

    #[test]
    fn one_scrape_that_is_read_three_times_is_one_bad_sample() {
        let check = check(Some(4.0), None);
        let mut series = Series::default();
        let mut tell = |asked: u64, value| {
            series.add(
                &check,
                &Answer {
                    asked: at(asked),
                    canary: sample(value),
                    stable: None,
                },
            );
            series.assess(&check, at(0), at(asked))
        };
        for asked in [100, 103, 106, 109] {
            let found = tell(asked, 3.0);
            assert_eq!(found.assessment, Assessment::Undecided);
            assert!(found.reason.contains("1 of 3"), "{}", found.reason);
        }
        assert!(tell(112, 3.0).reason.contains("2 of 3"));
        assert_eq!(tell(119, 3.0).assessment, Assessment::Undecided);
        assert_eq!(tell(122, 3.0).assessment, Assessment::Breach);
    }

    #[test]
    fn a_comparison_is_a_ratio_to_stable() {
        let check = check(None, Some(0.95));
        let found = after(&check, &[(sample(96.0), Some(100.0))]);
        assert_eq!(found.assessment, Assessment::Pass);
        assert_eq!(
            found.reason,
            "score is 96, 0.96 times stable's 100, tolerated is at least 0.95"
        );
        assert_eq!((found.stable, found.bound), (Some(100.0), 95.0));
        let bad = (sample(80.0), Some(100.0));
        let found = after(&check, &[bad.clone(), bad.clone(), bad]);
        assert_eq!(found.assessment, Assessment::Breach, "{}", found.reason);
        for (stable, why) in [
            (Some(0.0), "stable's is 0, so there is no ratio to it"),
            (Some(-2.0), "stable's is -2"),
            (Some(f64::NAN), "for stable, the answer is NaN"),
            (None, "for stable, stable was not asked about"),
        ] {
            let found = after(&check, &[(sample(5.0), stable)]);
            assert_eq!(found.assessment, Assessment::NeedsData, "{stable:?}");
            assert!(found.reason.contains(why), "{}", found.reason);
        }
    }

    #[test]
    fn a_limit_of_its_own_needs_no_stable() {
        let check = check(Some(4.0), Some(0.5));
        let bad = (sample(3.0), None);
        let found = after(&check, &[bad.clone(), bad.clone(), bad]);
        assert_eq!(found.assessment, Assessment::Breach, "{}", found.reason);
        let good = after(&check, &[(sample(5.0), None)]);
        assert_eq!(good.assessment, Assessment::NeedsData);
    }
}
