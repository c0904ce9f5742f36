//! `serin status`: everything at one look.

use clap::Args;

use crate::admin::wire::Overview;
use crate::cli::Done;
use crate::cli::backends;
use crate::cli::exit::Exit;
use crate::cli::remote::CallArguments;
use crate::cli::words::{self, Paint, moment, span};
use crate::control::definitions::FlagLeftAside;
use crate::control::reload::ReloadStatus;
use crate::control::status::RolloutStatus;
use crate::domain::rollout::{Freeze, Mode};
use crate::runtime::key_ring::KeySourceStatus;

#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    call: CallArguments,
}

impl Status {
    pub(crate) fn run(self) -> Done {
        let remote = self.call.open()?;
        let answer = remote.get("/api/v1/status", &[])?;
        if let Some(answer) = remote.unless_json(answer) {
            let overview: Overview = remote.read(answer)?;
            let up = span(overview.uptime_seconds);
            println!(
                "serin {} at {}, up for {up}",
                overview.version,
                remote.url()
            );
            print(&overview, Paint::of_stdout());
        }
        Ok(Exit::Done)
    }
}

/// What must not be overlooked.
pub(crate) fn alarms(overview: &Overview) -> Vec<String> {
    let mut alarms = Vec::new();
    alarms.extend(overview.freeze.as_ref().map(frozen));
    if let Some(problem) = &overview.store.problem {
        alarms.push(format!(
            "the state cannot be written, so no weight goes up: {problem} ({} failed writes)",
            overview.store.failed_writes
        ));
    }
    let reload = overview.reload.as_ref();
    alarms.extend(reload.filter(|reload| !reload.is_current).map(not_taken));
    alarms.extend(overview.flags_left_aside.iter().map(left_aside));
    alarms.extend(overview.key_sources.iter().filter_map(keys_not_had));
    alarms
}

fn print(overview: &Overview, paint: Paint) {
    for alarm in alarms(overview) {
        println!("{}", paint.alarm(&alarm));
    }
    if let Some(reload) = overview.reload.as_ref().filter(|reload| !reload.is_current) {
        let problems = reload.problems.iter();
        problems.for_each(|problem| println!("  {problem}"));
    }
    println!();
    print_rollouts(&overview.rollouts, paint);
    println!();
    backends::print(&overview.backends, paint);
}

/// Who froze promotions, when and why.
pub(crate) fn frozen(freeze: &Freeze) -> String {
    let why = if freeze.why.is_empty() {
        String::new()
    } else {
        format!(": {}", freeze.why)
    };
    let since = moment(freeze.at_unix_ms);
    format!(
        "promotions are frozen by {} since {since}{why}; rollbacks are not",
        freeze.who
    )
}

fn left_aside(left: &FlagLeftAside) -> String {
    let FlagLeftAside { flag, why } = left;
    format!(
        "flag {flag}, which was created at run time, does not fit the configuration and nobody gets it: {why}; \
         create it anew or delete it: serin flag delete {flag}"
    )
}

/// That keys of tokens cannot be had, if they cannot.
fn keys_not_had(source: &KeySourceStatus) -> Option<String> {
    let problem = source.problem.as_ref()?;
    let kept = match (source.keys, source.had_unix_ms) {
        (0, _) | (_, None) => "nobody is known by tokens that they are for".to_owned(),
        (keys, Some(had)) => format!("the {keys} of {} are used", moment(had)),
    };
    let url = &source.url;
    Some(format!(
        "the keys of tokens at {url} cannot be had: {problem}; {kept}"
    ))
}

fn not_taken(reload: &ReloadStatus) -> String {
    format!(
        "the configuration in the file is not the one that runs; it was refused {}, \
         asked for by {}:",
        moment(reload.at_unix_ms),
        reload.by
    )
}

/// Prints a table of rollouts.
pub(crate) fn print_rollouts(rollouts: &[RolloutStatus], paint: Paint) {
    if rollouts.is_empty() {
        println!("no flag has a rollout");
        return;
    }
    let titles = ["FLAG", "REVISION", "PHASE", "STAGE", "CANARY", "WHY"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(rollouts.iter().map(row));
    let colored = |column: usize, cell: &str| match column {
        2 => paint.phase(cell.trim_end(), cell.len()),
        _ => cell.to_owned(),
    };
    let lines = words::table(&rows, colored);
    lines.iter().for_each(|line| println!("{line}"));
}

fn row(rollout: &RolloutStatus) -> Vec<String> {
    let mut why = words::why(rollout);
    if rollout.mode == Mode::Observe {
        why = format!("observes only; {why}");
    }
    vec![
        rollout.flag.to_string(),
        rollout.revision.clone(),
        rollout.phase.clone(),
        format!("{}/{}", rollout.stage, rollout.stages),
        words::weights(&rollout.weights),
        why,
    ]
}
