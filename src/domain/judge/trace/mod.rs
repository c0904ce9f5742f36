//! Recorded ticks: the format `canary-trace/2`, read and written.
//!
//! JSON lines: a header, then one line for each tick. The header has the length of a tick and may
//! change settings, by names that `params` lists; fields that are not known here are left alone, since a
//! recorder may have more to say. Reading is strict about what the judge needs, and says which line
//! is wrong.
//!
//! A header may hold what the judge knew before the first tick: `evidence`. It comes from another
//! process, and the stage begins anew, unless `goes_on` says that ticks of this one were left out before
//! the first; then a replay goes on from there to the rulings that the whole would get.

mod line;
mod params;
mod record;

use serde::{Deserialize, Serialize};

use crate::domain::judge::sequential::{
    Evidence, Ruling, SequentialJudge, SequentialSettings, Tick, Tolerances, Unit,
};
use crate::domain::judge::verdict::Action;

pub use line::{RulingLine, VerdictLine};

/// The one format that is read.
pub const FORMAT: &str = "canary-trace/2";

/// A trace, ready to be judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// What the trace is called, if it says.
    pub name: Option<String>,
    /// Seconds in a tick.
    pub seconds_per_tick: f64,
    /// The settings to judge it with: the defaults, changed by the header.
    pub settings: SequentialSettings,
    /// What the header says should come out.
    pub expected: Option<Expected>,
    /// What the judge knew before the first tick; nothing where it was the first of all.
    pub known: Option<Known>,
    /// The ticks, in order.
    pub ticks: Vec<Tick>,
}

/// What the judge knew before the first tick of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Everything that it knew.
    pub evidence: Evidence,
    /// Whether the ticks just before the first are only left out. Else another process saw them, and what
    /// does not outlive a process begins anew: the stage, the starts and the content types.
    pub goes_on: bool,
}

/// What a trace should come to.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Expected {
    /// `promote`, `hold` or `rollback`.
    pub verdict: String,
    /// The number of the tick at which it ends.
    pub tick: i64,
    /// The numbers of the ticks at which it promotes.
    #[serde(default)]
    pub promotions: Vec<i64>,
    /// `ln` of the evidence of harm at the end; `None` for no evidence at all.
    #[serde(default)]
    pub log_e: Option<f64>,
    /// For a rollback: the short word of the check with the most evidence.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {problem}")]
pub struct TraceError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong, and what would have been right.
    pub problem: String,
}

/// The first line of a trace.
#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    format: Option<String>,
    #[serde(default)]
    name: Option<String>,
    tick_s: f64,
    #[serde(default)]
    sub: Option<u32>,
    #[serde(default)]
    sub_z: Option<u32>,
    #[serde(default)]
    tolerances: Option<Tolerances>,
    #[serde(default)]
    params: Option<params::Params>,
    #[serde(default)]
    expect: Option<Expected>,
    /// What the judge knew before the first tick: a recorder's own addition to the format.
    #[serde(default)]
    evidence: Option<Evidence>,
    /// See [`Known::goes_on`]: likewise.
    #[serde(default)]
    goes_on: bool,
}

/// The first line as it is written.
#[derive(Serialize)]
struct WrittenHeader<'a> {
    format: &'a str,
    name: &'a str,
    tick_s: f64,
    sub: u32,
    sub_z: u32,
    params: params::Params,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<&'a Evidence>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    goes_on: bool,
}

impl Trace {
    /// Reads a trace.
    ///
    /// # Errors
    ///
    /// The first line that is no header of this format, or no tick that a judge can take in.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let lines = (1..).zip(text.lines());
        let mut lines = lines.filter(|(_, line)| !line.trim().is_empty());
        let (number, line) = lines.next().ok_or_else(|| TraceError {
            line: 1,
            problem: format!("nothing here; a header with \"format\": \"{FORMAT}\" comes first"),
        })?;
        let header = header(line).map_err(|problem| TraceError {
            line: number,
            problem,
        })?;
        let mut trace = header;
        for (number, line) in lines {
            let tick = record::tick(line, &trace.settings).map_err(|problem| TraceError {
                line: number,
                problem,
            })?;
            trace.ticks.push(tick);
        }
        if trace.ticks.is_empty() {
            let problem = "no tick follows the header, expected one line for each".to_owned();
            return Err(TraceError {
                line: number,
                problem,
            });
        }
        Ok(trace)
    }

    /// The header line, without its end, of a recording for a judge of these settings.
    ///
    /// # Errors
    ///
    /// A setting that JSON has no number for, such as an infinite one.
    pub fn header_line(
        name: &str,
        settings: &SequentialSettings,
        seconds_per_tick: f64,
        known: Option<&Known>,
    ) -> Result<String, serde_json::Error> {
        serde_json::to_string(&WrittenHeader {
            format: FORMAT,
            name,
            tick_s: seconds_per_tick,
            sub: 16,
            sub_z: 4,
            params: params::Params::from(settings),
            evidence: known.map(|known| &known.evidence),
            goes_on: known.is_some_and(|known| known.goes_on),
        })
    }

    /// The line of a tick, without its end.
    ///
    /// # Errors
    ///
    /// A number that JSON has none for.
    pub fn tick_line(tick: &Tick) -> Result<String, serde_json::Error> {
        record::line(tick)
    }

    /// Judges tick by tick and tells each ruling, until the first rollback or the end. A rollback after which a
    /// group has left was that group's alone, and the rollout went on.
    pub fn replay(&self, mut tell: impl FnMut(&SequentialJudge, &Ruling)) -> VerdictLine {
        let mut judge = self.judge();
        let mut verdict = VerdictLine::default();
        let mut ticks = self.ticks.iter().peekable();
        while let Some(tick) = ticks.next() {
            let ruling = judge.observe(tick);
            verdict.follow(&ruling);
            tell(&judge, &ruling);
            let mut next = ticks.peek().into_iter();
            let goes_on = next.any(|next| next.left.len() > tick.left.len());
            if ruling.action == Action::Rollback && !goes_on {
                break;
            }
        }
        verdict
    }

    /// A judge for the trace, that knows what the header says.
    pub fn judge(&self) -> SequentialJudge {
        let (settings, seconds) = (self.settings.clone(), self.seconds_per_tick);
        let restored = self.known.clone().and_then(|known| {
            let Known { evidence, goes_on } = known;
            let mut judge = SequentialJudge::restore(settings.clone(), seconds, evidence).ok()?;
            if !goes_on {
                judge.begin_process_anew();
            }
            Some(judge)
        });
        restored.unwrap_or_else(|| SequentialJudge::new(settings, seconds))
    }
}

/// A trace without ticks.
fn header(line: &str) -> Result<Trace, String> {
    let header: Header = serde_json::from_str(line).map_err(|error| problem_of(&error))?;
    match header.format.as_deref() {
        Some(FORMAT) => {}
        Some(other) => return Err(format!("format `{other}`, expected `{FORMAT}`")),
        None => {
            return Err(format!(
                "no \"format\" in the header, expected \"{FORMAT}\""
            ));
        }
    }
    if !(header.tick_s > 0.0 && header.tick_s.is_finite()) {
        let seconds = header.tick_s;
        return Err(format!("tick_s is {seconds}, expected seconds above 0"));
    }
    for (name, written, right) in [("sub", header.sub, 16), ("sub_z", header.sub_z, 4)] {
        if written.is_some_and(|written| written != right) {
            let written = written.unwrap_or_default();
            return Err(format!(
                "{name} is {written}, expected {right}: buckets per octave are not free to choose"
            ));
        }
    }
    let mut settings = SequentialSettings::default();
    header.tolerances.unwrap_or_default().apply(&mut settings);
    header.params.unwrap_or_default().apply(&mut settings)?;
    if let Some(evidence) = header.evidence.clone() {
        let restored = SequentialJudge::restore(settings.clone(), header.tick_s, evidence);
        restored.map_err(|error| format!("evidence: {error}"))?;
    } else if header.goes_on {
        return Err("goes_on without evidence, expected what the ticks before amount to".into());
    }
    let goes_on = header.goes_on;
    Ok(Trace {
        name: header.name,
        seconds_per_tick: header.tick_s,
        settings,
        expected: header.expect,
        known: header.evidence.map(|evidence| Known { evidence, goes_on }),
        ticks: Vec::new(),
    })
}

/// What serde says, by the column alone: each line is a document of its own to it.
fn problem_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let bare = text.split(" at line ").next().unwrap_or(&text);
    format!("column {}: {bare}", error.column())
}

/// Whether callers are the unit, for the parts of the format that depend on it.
fn is_by_caller(settings: &SequentialSettings) -> bool {
    settings.unit == Unit::Caller
}

#[cfg(test)]
mod tests;
