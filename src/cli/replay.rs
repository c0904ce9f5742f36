//! `serin replay`: what would the judge have said of recorded ticks?

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::cli::Done;
use crate::cli::exit::{Exit, Unusable};
use crate::domain::judge::sequential::{Found, Ruling, SequentialJudge};
use crate::domain::judge::trace::{RulingLine, Trace, VerdictLine};
use crate::domain::judge::{Action, Assessment};

/// Exit codes of its own kind: a hold is no failure.
const EXIT_CODES: &str = "Exit codes: 0 promoted or held, 1 rolled back, 2 not a readable trace.";

#[derive(Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Replay {
    /// The trace: JSON lines of the format canary-trace/2; `-` reads standard input.
    #[arg(value_name = "TRACE")]
    trace: PathBuf,
    /// Print one JSON line for each tick with all that the judge computed, and the verdict last.
    #[arg(long)]
    judge_only: bool,
    /// Print JSON: one line for each change of mind, with its findings, and the verdict last.
    #[arg(long)]
    json: bool,
}

impl Replay {
    pub(crate) fn run(self) -> Done {
        let text = read(&self.trace)?;
        let trace = Trace::parse(&text)
            .map_err(|error| Unusable(format!("{}: {error}", self.trace.display())))?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        let verdict = if self.judge_only {
            each_tick(&trace, &mut out)
        } else {
            changes(&trace, self.json, &mut out)
        };
        let verdict = verdict.and_then(|verdict| out.flush().map(|()| verdict));
        let verdict = verdict.context("cannot print")?;
        Ok(match verdict.verdict {
            Action::Rollback => Exit::Refused,
            Action::Promote | Action::Hold => Exit::Done,
        })
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    let text = if path == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    text.map_err(|error| Unusable(format!("{}: {error}", path.display())).into())
}

fn each_tick(trace: &Trace, out: &mut impl Write) -> io::Result<VerdictLine> {
    let mut failed = Ok(());
    let verdict = trace.replay(|judge, ruling| {
        if failed.is_ok() {
            failed = json_line(out, &RulingLine::new(ruling, judge.settings()));
        }
    });
    failed?;
    json_line(out, &verdict)?;
    Ok(verdict)
}

/// Prints a ruling when it is another than the one before, and every promotion.
fn changes(trace: &Trace, as_json: bool, out: &mut impl Write) -> io::Result<VerdictLine> {
    let mut failed = Ok(());
    let mut last = None;
    let verdict = trace.replay(|judge, ruling| {
        let now = (ruling.action, ruling.wait.clone());
        let is_news = ruling.action == Action::Promote || last.as_ref() != Some(&now);
        if failed.is_ok() && is_news {
            failed = if as_json {
                json_line(out, &Change::new(judge, ruling))
            } else {
                words(judge, ruling, out)
            };
        }
        last = Some(now);
    });
    failed?;
    if as_json {
        json_line(out, &verdict)?;
    } else {
        let word = match verdict.verdict {
            Action::Promote => "promote",
            Action::Hold => "hold",
            Action::Rollback => "rollback",
        };
        let (tick, weight) = (verdict.tick, verdict.weight * 100.0);
        writeln!(out, "verdict: {word} at tick {tick}, {weight}% exposed")?;
    }
    Ok(verdict)
}

/// A change of mind, for machines.
#[derive(serde::Serialize)]
struct Change {
    #[serde(flatten)]
    ruling: RulingLine,
    findings: Vec<Found>,
}

impl Change {
    fn new(judge: &SequentialJudge, ruling: &Ruling) -> Self {
        Self {
            ruling: RulingLine::new(ruling, judge.settings()),
            findings: judge.findings(ruling),
        }
    }
}

/// A change of mind, for people: what is done, and the findings that explain it.
fn words(judge: &SequentialJudge, ruling: &Ruling, out: &mut impl Write) -> io::Result<()> {
    let (tick, weight) = (ruling.tick, ruling.exposed * 100.0);
    let what = match ruling.action {
        Action::Promote => "promote".to_owned(),
        Action::Rollback => "roll back".to_owned(),
        Action::Hold => {
            let gates: Vec<&str> = ruling.wait.iter().map(|gate| gate.key()).collect();
            format!("hold: {}", gates.join(", "))
        }
    };
    let note = if ruling.no_control {
        " (no group has a control: nothing was compared)"
    } else {
        ""
    };
    writeln!(out, "tick {tick}, {weight}% exposed: {what}{note}")?;
    let findings = judge.findings(ruling);
    let explains = |found: &&Found| match ruling.action {
        Action::Promote => true,
        Action::Rollback => found.assessment == Assessment::Breach,
        Action::Hold => found.assessment != Assessment::Pass,
    };
    for found in findings.iter().filter(explains) {
        writeln!(out, "  {}", found.reason)?;
    }
    Ok(())
}

fn json_line(out: &mut impl Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}
