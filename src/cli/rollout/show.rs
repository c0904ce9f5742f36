//! `serin rollout status`: where one rollout is, and why.

use clap::Args;

use crate::cli::Done;
use crate::cli::exit::Exit;
use crate::cli::feedback::rated;
use crate::cli::remote::CallArguments;
use crate::cli::words::{self, Paint, moment, percent, span};
use crate::control::ratings::FeedbackStatus;
use crate::control::status::{ArmStatus, RolloutStatus, StageStatus};
use crate::domain::ids::FlagName;
use crate::domain::judge::{Action, Finding};
use crate::domain::rollout::Mode;

/// Lines of the journal that are shown; `serin journal` shows more.
const JOURNAL_SHOWN: usize = 5;

#[derive(Args)]
pub(crate) struct Show {
    /// The flag whose rollout it is.
    flag: FlagName,
    #[command(flatten)]
    call: CallArguments,
}

impl Show {
    pub(crate) fn run(self) -> Done {
        let remote = self.call.open()?;
        let answer = remote.get(&format!("/api/v1/rollouts/{}", self.flag), &[])?;
        if let Some(answer) = remote.unless_json(answer) {
            print(&remote.read(answer)?, Paint::of_stdout());
        }
        Ok(Exit::Done)
    }
}

fn print(rollout: &RolloutStatus, paint: Paint) {
    let line = |title: &str, text: &str| println!("{title:<10}{text}");
    line("flag", rollout.flag.as_str());
    let (stable, canary) = (&rollout.stable, &rollout.canary);
    let release = format!("{}, from {stable} to {canary}", rollout.revision);
    line("revision", &release);
    if rollout.attempt > 1 {
        line("attempt", &rollout.attempt.to_string());
    }
    line("phase", &paint.phase(&rollout.phase, 0));
    let why = words::why(rollout);
    if !why.is_empty() {
        line("why", &why);
    }
    line("canary", &words::weights(&rollout.weights));
    if !rollout.is_written {
        line("written", words::UNWRITTEN);
    }
    if rollout.mode == Mode::Observe {
        line(
            "mode",
            "observes only: it says what it would do, and does not",
        );
    }
    let action = match rollout.action {
        Action::Promote => "promote",
        Action::Hold => "hold",
        Action::Rollback => "roll back",
    };
    if has_ended(rollout) {
        line("judge", &format!("said last: {action}"));
    } else {
        let (passed, limit) = (rollout.seconds_under_way, rollout.deadline_seconds);
        line("deadline", &format!("{} of {}", span(passed), span(limit)));
        line("judge", &format!("would {action}"));
    }
    rollout.findings.iter().for_each(print_finding);
    print_stages(rollout);
    print_arms(rollout);
    if let Some(FeedbackStatus(arms)) = &rollout.feedback {
        let (canary, stable) = (rated(&arms.canary), rated(&arms.stable));
        println!("\nratings\n  canary {canary}, stable {stable}");
    }
    print_journal(rollout);
}

fn has_ended(rollout: &RolloutStatus) -> bool {
    matches!(
        rollout.phase.as_str(),
        "succeeded" | "rolled_back" | "aborted"
    )
}

fn print_finding(finding: &Finding) {
    let group = finding.group.as_ref();
    let group = group.map_or_else(String::new, |group| format!("group {group}: "));
    println!("{:<10}  {group}{}", "", finding.reason);
}

fn print_stages(rollout: &RolloutStatus) {
    let stage = |(n, stage): (usize, &StageStatus)| {
        let is_current = n + 1 == rollout.stage && !has_ended(rollout);
        let mut groups: Vec<_> = stage.groups.iter().map(ToString::to_string).collect();
        if groups.is_empty() {
            groups.push("everyone".to_owned());
        }
        let approval = if stage.needs_approval {
            ", once somebody approves it"
        } else {
            ""
        };
        let gates = match stage.gates.as_slice() {
            [] => String::new(),
            gates => format!(", through {}", gates.join(", ")),
        };
        vec![
            format!("{}{}", if is_current { ">" } else { " " }, n + 1),
            percent(stage.percent),
            groups.join(", "),
            format!(
                "for at least {} and {} requests{approval}{gates}",
                span(stage.hold_seconds),
                stage.min_requests
            ),
        ]
    };
    let rows: Vec<_> = rollout.plan.iter().enumerate().map(stage).collect();
    println!("\nstages");
    print_table(&rows);
}

fn print_arms(rollout: &RolloutStatus) {
    let titles = ["", "REQUESTS", "FAILED", "PER SECOND", "MEDIAN", "P99"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for (name, arm) in [
        ("stable", rollout.arms.stable),
        ("canary", rollout.arms.canary),
    ] {
        rows.push(arm_row(name, &arm));
    }
    println!("\nseen since the stage began");
    print_table(&rows);
}

fn arm_row(name: &str, arm: &ArmStatus) -> Vec<String> {
    let latency = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
    vec![
        name.to_owned(),
        arm.requests.to_string(),
        format!("{} ({:.2} %)", arm.failures, arm.error_rate * 100.0),
        format!("{:.1}", arm.requests_per_second),
        latency(arm.latency_p50_ms),
        latency(arm.latency_p99_ms),
    ]
}

fn print_journal(rollout: &RolloutStatus) {
    println!("\nlast changes, newest first");
    for event in rollout.journal.iter().take(JOURNAL_SHOWN) {
        let told = words::journal_entry(&event.entry);
        println!("  {}  {told}", moment(event.at_unix_ms));
    }
}

fn print_table(rows: &[Vec<String>]) {
    let lines = words::table(rows, |_, cell| cell.to_owned());
    lines.iter().for_each(|line| println!("  {line}"));
}
