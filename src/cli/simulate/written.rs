//! What is written about a world on the command line: rates, shares, and what goes wrong when.

use std::time::Duration;

use crate::domain::ids::GroupName;
use crate::domain::weight::Weight;
use crate::simulator::scene::{Begins, Change, Harm};

/// The busiest world that is drawn: a million requests a second.
const RATE_MAX: f64 = 1e6;

/// Ratios beyond which a regression is no longer one of latency.
const FACTOR_MAX: f64 = 1_000.0;

/// How a regression is written, for whoever got it wrong.
const KINDS: &str = "`errors 1%->2%`, `errors x2`, `4xx 1%->5%`, `latency x1.3`, `median +10%`, `p99 x2`, \
    `empty 20%` or `dead`";

/// A regression, as it was written and what it means.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Regression {
    pub(crate) text: String,
    pub(crate) harm: Harm,
    pub(crate) begins: Begins,
    /// What stable must be like for the rate that it begins from.
    pub(crate) from: Option<Before>,
}

/// The rate that a regression begins from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Before {
    Errors(f64),
    ClientErrors(f64),
}

impl Regression {
    pub(crate) const fn change(&self) -> Change {
        Change::of_canary(self.harm, self.begins)
    }
}

/// Reads `200/s`, `12000/min` or `50/h` as requests a second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let wrong = || {
        format!("`{text}` is no rate, expected requests per time such as 200/s, 12000/min or 50/h")
    };
    let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
    let seconds = match unit.trim() {
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3_600.0,
        other => {
            return Err(format!(
                "unknown unit `{other}` after the `/`, expected s, min or h"
            ));
        }
    };
    let rate = number.trim().parse::<f64>().map_err(|_| wrong())? / seconds;
    match rate > 0.0 && rate <= RATE_MAX {
        true => Ok(rate),
        false => Err(format!(
            "`{text}` is beyond what is simulated, expected above 0 and at most {RATE_MAX}/s"
        )),
    }
}

/// Reads `0.5%` as a share, 0 to 1.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let number = text
        .strip_suffix('%')
        .and_then(|number| number.trim().parse::<f64>().ok());
    match number {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        Some(_) => Err(format!("`{text}` is no share, expected 0% to 100%")),
        None => Err(format!(
            "`{text}` is no percentage, expected one such as 0.5%"
        )),
    }
}

/// Reads `beta=5%`: how many callers are in a group.
pub(crate) fn group(text: &str) -> Result<(GroupName, Weight), String> {
    let (name, share) = text.split_once('=').ok_or_else(|| {
        format!("`{text}` has no `=`, expected a group and its share such as beta=5%")
    })?;
    let group = name.trim().parse().map_err(|error| format!("{error}"))?;
    let share = share.trim().parse().map_err(|error| format!("{error}"))?;
    Ok((group, share))
}

/// Reads a regression such as `errors 1%->2% after 15m`.
pub(crate) fn regression(text: &str) -> Result<Regression, String> {
    let at = |piece: &str, problem: String| {
        let place = text
            .find(piece)
            .map_or(0, |byte| text[..byte].chars().count());
        format!("{problem}, at character {}", place + 1)
    };
    let (what, begins) = begin_of(text).map_err(|(piece, problem)| at(piece, problem))?;
    let (kind, how) = what.split_once(char::is_whitespace).unwrap_or((what, ""));
    let how = how.trim();
    let (harm, from) = harm(kind, how).map_err(|problem| match how.is_empty() {
        true => at(kind, problem),
        false => at(if known(kind) { how } else { kind }, problem),
    })?;
    Ok(Regression {
        text: text.to_owned(),
        harm,
        begins,
        from,
    })
}

/// Takes the end off that says when: `after 15m` or `from stage 3`.
fn begin_of(text: &str) -> Result<(&str, Begins), (&str, String)> {
    let text = text.trim();
    if let Some((what, when)) = text.split_once(" from stage ") {
        let stage = when
            .trim()
            .parse::<usize>()
            .ok()
            .and_then(|stage| stage.checked_sub(1));
        let problem = || {
            (
                when.trim(),
                format!(
                    "`{}` is no stage, expected its number from 1 on",
                    when.trim()
                ),
            )
        };
        return Ok((what.trim(), Begins::AtStage(stage.ok_or_else(problem)?)));
    }
    if let Some((what, when)) = text.split_once(" after ") {
        let delay = humantime::parse_duration(when.trim());
        let problem = |_| {
            (
                when.trim(),
                format!("`{}` is no time, expected one such as 15m", when.trim()),
            )
        };
        let delay: Duration = delay.map_err(problem)?;
        return Ok((what.trim(), Begins::AtSecond(delay.as_secs_f64())));
    }
    Ok((text, Begins::AtSecond(0.0)))
}

fn known(kind: &str) -> bool {
    matches!(
        kind,
        "errors" | "4xx" | "latency" | "median" | "p99" | "empty" | "dead"
    )
}

fn harm(kind: &str, how: &str) -> Result<(Harm, Option<Before>), String> {
    Ok(match kind {
        "errors" if how.starts_with(['x', '×']) => (Harm::FailsTimes(factor(how)?), None),
        "errors" => {
            let (from, more) = from_to(how)?;
            (Harm::Fails(more), Some(Before::Errors(from)))
        }
        "4xx" => {
            let (from, more) = from_to(how)?;
            (Harm::Refuses(more), Some(Before::ClientErrors(from)))
        }
        "latency" => (Harm::Slower(factor(how)?), None),
        "median" => {
            let more = how
                .strip_prefix('+')
                .ok_or_else(|| format!("`{how}` is no increase, expected one such as +10%"))?;
            (Harm::Slower(1.0 + increase(more)?), None)
        }
        "p99" => (Harm::TailSlower(factor(how)?), None),
        "empty" => (Harm::Empty(increase(how)?), None),
        "dead" if how.is_empty() => (Harm::Fails(1.0), None),
        "dead" => {
            return Err(format!(
                "`{how}` after `dead`, expected nothing, or `after 15m` or `from stage 3`"
            ));
        }
        other => return Err(format!("unknown regression `{other}`, expected {KINDS}")),
    })
}

/// A percentage above 0%.
fn increase(text: &str) -> Result<f64, String> {
    match percent(text)? {
        share if share > 0.0 => Ok(share),
        _ => Err("0% is no regression, expected more".to_owned()),
    }
}

/// Reads `x1.3`: above 1, because a regression makes worse.
fn factor(text: &str) -> Result<f64, String> {
    let number = text
        .strip_prefix(['x', '×'])
        .and_then(|number| number.trim().parse::<f64>().ok());
    match number {
        Some(factor) if factor > 1.0 && factor <= FACTOR_MAX => Ok(factor),
        Some(_) => Err(format!(
            "`{text}` makes nothing worse, expected above x1 and at most x{FACTOR_MAX}"
        )),
        None => Err(format!("`{text}` is no factor, expected one such as x1.3")),
    }
}

/// Reads `1%->2%`: the rate before, and the share of the spared that is struck.
fn from_to(text: &str) -> Result<(f64, f64), String> {
    let parts = text.split_once("->").or_else(|| text.split_once('→'));
    let (from, to) =
        parts.ok_or_else(|| format!("`{text}` is no change, expected one such as 1%->2%"))?;
    let (from, to) = (percent(from.trim())?, percent(to.trim())?);
    match to > from {
        true => Ok((from, (to - from) / (1.0 - from))),
        false => Err(format!(
            "`{text}` makes nothing worse, expected more after the arrow than before"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Begins = Begins::AtSecond(0.0);

    #[test]
    fn regressions_are_read_with_their_beginning() {
        let read = |text: &str| {
            let read = regression(text).unwrap();
            assert_eq!(read.text, text);
            (read.harm, read.begins, read.from)
        };
        let half = Before::Errors(0.5);
        assert_eq!(
            read("errors 50%->75%"),
            (Harm::Fails(0.5), START, Some(half))
        );
        assert_eq!(
            read("errors 50% → 75%"),
            (Harm::Fails(0.5), START, Some(half))
        );
        assert_eq!(read("errors x2"), (Harm::FailsTimes(2.0), START, None));
        let refused = Before::ClientErrors(0.5);
        assert_eq!(
            read("4xx 50%->75%"),
            (Harm::Refuses(0.5), START, Some(refused))
        );
        assert_eq!(read("latency x1.3"), (Harm::Slower(1.3), START, None));
        assert_eq!(read("median +10%"), (Harm::Slower(1.1), START, None));
        assert_eq!(read("empty 20%"), (Harm::Empty(0.2), START, None));
        let late = Begins::AtSecond(900.0);
        assert_eq!(
            read("p99 x2 after 15m"),
            (Harm::TailSlower(2.0), late, None)
        );
        assert_eq!(
            read("dead from stage 3"),
            (Harm::Fails(1.0), Begins::AtStage(2), None)
        );
    }

    #[test]
    fn what_is_wrong_with_a_regression_is_said_with_its_place() {
        for (text, problem) in [
            (
                "errrors 1%->2%",
                "unknown regression `errrors`, expected `errors 1%->2%`",
            ),
            ("", "unknown regression ``"),
            (
                "errors 1%",
                "`1%` is no change, expected one such as 1%->2%, at character 8",
            ),
            ("errors 2%->1%", "`2%->1%` makes nothing worse"),
            (
                "errors 1->2",
                "`1` is no percentage, expected one such as 0.5%, at character 8",
            ),
            ("errors 1%->200%", "`200%` is no share"),
            (
                "latency 1.3",
                "`1.3` is no factor, expected one such as x1.3, at character 9",
            ),
            ("latency x0.9", "`x0.9` makes nothing worse"),
            ("latency xinf", "`xinf` makes nothing worse"),
            (
                "median 10%",
                "`10%` is no increase, expected one such as +10%",
            ),
            ("median +0%", "0% is no regression"),
            ("dead slowly", "`slowly` after `dead`"),
            (
                "dead after noon",
                "`noon` is no time, expected one such as 15m, at character 12",
            ),
            (
                "dead from stage 0",
                "`0` is no stage, expected its number from 1 on, at character 17",
            ),
            ("dead from stage two", "`two` is no stage"),
        ] {
            let said = regression(text).unwrap_err();
            assert!(said.contains(problem), "{text}: {said}");
        }
    }

    #[test]
    fn rates_are_read_by_the_second() {
        assert_eq!(rate("200/s"), Ok(200.0));
        assert_eq!(rate("120 / min"), Ok(2.0));
        assert_eq!(rate("1800/h"), Ok(0.5));
        for (text, problem) in [
            ("200", "no rate"),
            ("fast/s", "no rate"),
            ("200/d", "unknown unit `d`"),
            ("0/s", "beyond what is simulated"),
            ("-1/s", "beyond what is simulated"),
            ("NaN/s", "beyond what is simulated"),
            ("2000000/s", "beyond what is simulated"),
        ] {
            let said = rate(text).unwrap_err();
            assert!(said.contains(problem), "{text}: {said}");
        }
    }

    #[test]
    fn shares_are_percentages() {
        assert_eq!(percent("0.5%"), Ok(0.005));
        for wrong in ["0.5", "-1%", "101%", "%", "NaN%"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
        let (name, share) = group("beta=5%").unwrap();
        assert_eq!(
            (name.as_str(), share.to_string()),
            ("beta", "5%".to_owned())
        );
        for wrong in ["beta", "beta=5", "be ta=5%", "beta=500%"] {
            assert!(group(wrong).is_err(), "{wrong}");
        }
    }
}
