//! `serin rollout plan`: what each stage takes at the rate so far, and what it would see.

use clap::Args;

use crate::cli::Done;
use crate::cli::exit::Exit;
use crate::cli::remote::CallArguments;
use crate::cli::words::{self, percent, span};
use crate::control::status::{PlanOutlook, StageAhead};
use crate::domain::ids::FlagName;
use crate::domain::judge::outlook::WaitsFor;

/// What the numbers are, and what they leave out.
const ABOUT: &str = "\
Times and harm are what the judge's tests expect of the requests of the last minutes, if as many and the same
callers go on coming.

What they leave out:
  chance                  makes them a third more or less; harm is found at these sizes in about half of all cases
  callers with habits     who are always slow, or fail again and again, say less than others: it takes longer,
                          most of all where callers are few
  harm that comes later   what is found is harm that is there from the beginning of the stage, and for everybody

Where callers stay in their arm, each counts at most once in a start, and starts begin every five minutes: few
callers show little, however long they are looked at. Before a stage has counted them, more than some 5,000
are not told apart; how many there are beyond is reckoned from how many come in shorter times.

`serin simulate` draws whole rollouts.";

#[derive(Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Plan {
    /// The flag whose rollout it is.
    flag: FlagName,
    #[command(flatten)]
    call: CallArguments,
}

impl Plan {
    pub(crate) fn run(self) -> Done {
        let remote = self.call.open()?;
        let answer = remote.get(&format!("/api/v1/rollouts/{}/plan", self.flag), &[])?;
        if let Some(answer) = remote.unless_json(answer) {
            print(&remote.read(answer)?);
        }
        Ok(Exit::Done)
    }
}

fn print(plan: &PlanOutlook) {
    let flag = &plan.flag;
    if plan.seconds_seen <= 0.0 {
        println!("{flag}: no requests have come yet");
    } else {
        println!(
            "{flag}: {:.1} requests/s from {:.1} callers/s, over the last {}",
            plan.requests_per_second,
            plan.callers_per_second,
            span(plan.seconds_seen)
        );
    }
    let titles = [
        "",
        "CANARY",
        "FOR",
        "TAKES ABOUT",
        "WAITS FOR",
        "SEES FAILURES FROM",
        "SEES LATENCY FROM",
    ];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(plan.stages.iter().map(|stage| row(stage, plan.stage)));
    for line in words::table(&rows, |_, cell| cell.to_owned()) {
        println!("  {line}");
    }
    match plan.seconds_left {
        Some(seconds) => println!("about {} until the watch is over", span(seconds)),
        None => println!("how long it takes until the watch is over cannot be told"),
    }
}

fn row(stage: &StageAhead, current: usize) -> Vec<String> {
    let dash = || "-".to_owned();
    let ahead = &stage.outlook;
    let mark = if stage.stage == current { ">" } else { " " };
    vec![
        format!("{mark}{}", stage.stage),
        percent(stage.percent),
        match stage.groups.as_slice() {
            [] => "everyone".to_owned(),
            groups => groups
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        },
        ahead.seconds.map_or_else(dash, span),
        waits_for(ahead.waits_for).to_owned(),
        ahead
            .failures_found
            .map_or_else(dash, |share| format!("{:.2} %", share * 100.0)),
        ahead
            .slowdown_found
            .map_or_else(dash, |ratio| format!("+{:.0} %", (ratio - 1.0) * 100.0)),
    ]
}

const fn waits_for(waits_for: WaitsFor) -> &'static str {
    match waits_for {
        WaitsFor::Requests => "requests: none come in",
        WaitsFor::Hold => "its hold",
        WaitsFor::MinRequests => "min_requests",
        WaitsFor::StableRequests => "requests of stable to compare with",
        WaitsFor::MinCallers => "callers",
        WaitsFor::Failures => "proof that it fails no more",
        WaitsFor::AllFailures => "proof that no more of all requests fail",
        WaitsFor::LatencyP50 => "proof of its median",
        WaitsFor::LatencyP90 => "proof of its p90",
        WaitsFor::Patience => "its patience: proof would take longer",
    }
}
