//! What the demo says at its end.

use std::env;

use crate::app::demo::{Scenario, Trial};
use crate::cli::exit::Exit;

/// The smallest useful configuration.
pub(super) const SAMPLE: &str = include_str!("../../../config/serin.yaml");

/// What has become of the releases.
pub(super) fn conclusion(exit: Exit, scenario: Scenario) -> String {
    let trials = scenario.trials();
    match exit {
        Exit::Done => {
            let verdicts = match trials.len() {
                1 => "the verdict is right",
                _ => "both verdicts are right",
            };
            let fates: Vec<_> = trials.iter().map(fate).collect();
            format!("{verdicts}: {}", fates.join(", "))
        }
        Exit::TimedOut => "not done in time".to_owned(),
        Exit::Interrupted => "interrupted".to_owned(),
        Exit::Refused
        | Exit::Different
        | Exit::Usage
        | Exit::Unreachable
        | Exit::Paused
        | Exit::Unread => "a verdict is wrong".to_owned(),
    }
}

fn fate(trial: &Trial) -> String {
    match trial.is_good {
        true => format!("everyone has the new `{}`", trial.flag),
        false => format!("nobody has the new `{}`", trial.flag),
    }
}

/// Commands that work as they stand, with this program called as it was.
pub(super) fn commands() -> String {
    let called = env::args().next();
    let serin = called.unwrap_or_else(|| "serin".to_owned());
    let commands = [
        (
            "the smallest useful file; name your own backends in it",
            format!("{serin} demo --sample > serin.yaml"),
        ),
        (
            "all that is wrong with it, at once",
            format!("{serin} check"),
        ),
        (
            "the proxy on port 8080, the admin API on 127.0.0.1:9901",
            format!("{serin} serve"),
        ),
        (
            "meanwhile, in another terminal: where the rollout is, and why",
            format!("{serin} rollout status orders"),
        ),
    ];
    let lines = commands.map(|(says, command)| format!("  # {says}\n  {command}"));
    format!("What to try next:\n\n{}", lines.join("\n"))
}
