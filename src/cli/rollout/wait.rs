//! `serin rollout wait`: until a rollout is where it is wanted, for scripts that go on from there.

use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::admin::client::ClientError;
use crate::cli::Done;
use crate::cli::exit::{Exit, Unusable};
use crate::cli::remote::{Remote, RemoteArguments};
use crate::cli::words::{self, Paint};
use crate::control::status::RolloutStatus;
use crate::domain::ids::FlagName;
use crate::domain::rollout::Phase;
use crate::runtime::clock;

/// How often it is looked. A rollout changes once a second at the most.
const LOOK: Duration = Duration::from_millis(500);

/// How long Serin may be away meanwhile: long enough for a restart.
const AWAY_MAX: Duration = Duration::from_secs(60);

/// How long one look may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(crate) struct Wait {
    /// The flag whose rollout it is.
    flag: FlagName,
    /// The phase that is waited for.
    #[arg(
        long = "for",
        default_value = "succeeded",
        value_parser = PossibleValuesParser::new(Phase::WORDS),
        value_name = "PHASE"
    )]
    wanted: String,
    /// How long to wait, such as `30m`; without it, for as long as the rollout takes.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    timeout: Option<Duration>,
    /// Wait on while the rollout is paused or waits for an approval.
    #[arg(long)]
    through_pauses: bool,
    #[command(flatten)]
    remote: RemoteArguments,
}

impl Wait {
    pub(crate) fn run(self) -> Done {
        let limit = self
            .timeout
            .map_or(CALL_TIMEOUT, |limit| limit.min(CALL_TIMEOUT));
        let remote = self.remote.open_within(limit)?;
        let begun = clock::monotonic();
        let mut seen = Seen {
            told: None,
            last: None,
        };
        loop {
            if let Some(rollout) = self.look(&remote, &mut seen)? {
                seen.tell(&rollout, &remote);
                if let Some(exit) = self.end(&rollout.phase) {
                    return Ok(exit);
                }
            }
            if self.timeout.is_some_and(|limit| begun.elapsed() >= limit) {
                eprintln!("serin: not {} in time", self.wanted);
                return Ok(Exit::TimedOut);
            }
            sleep(LOOK);
        }
    }

    /// Where the rollout is; none while Serin is away, which it may be for a while once it has
    /// been seen.
    fn look(&self, remote: &Remote, seen: &mut Seen) -> anyhow::Result<Option<RolloutStatus>> {
        let path = format!("/api/v1/rollouts/{}", self.flag);
        match remote.get(&path, &[]) {
            Ok(answer) => {
                seen.last = Some(clock::monotonic());
                Ok(Some(remote.read(answer)?))
            }
            Err(ClientError::Unreachable { .. } | ClientError::Broken { .. })
                if seen.last.is_some_and(|last| last.elapsed() < AWAY_MAX) =>
            {
                Ok(None)
            }
            // Nothing was looked at: a script must not take that for a rollback.
            Err(ClientError::Refused { status, problem }) if status == StatusCode::FORBIDDEN => {
                Err(Unusable(problem.to_string()).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// How the wait ends with a phase; none if it goes on.
    fn end(&self, phase: &str) -> Option<Exit> {
        if phase == self.wanted {
            return Some(Exit::Done);
        }
        let wants_ending = matches!(self.wanted.as_str(), "rolled_back" | "aborted");
        match phase {
            "rolled_back" | "aborted" => Some(Exit::Refused),
            // Whatever comes before has been, or will not be.
            "succeeded" if wants_ending => Some(Exit::Refused),
            "succeeded" => Some(Exit::Done),
            "paused" | "waiting_for_approval" if !self.through_pauses => Some(Exit::Paused),
            _ => None,
        }
    }
}

/// What was seen and told so far.
struct Seen {
    told: Option<Value>,
    last: Option<Instant>,
}

impl Seen {
    /// Prints a line when something has changed.
    fn tell(&mut self, rollout: &RolloutStatus, remote: &Remote) {
        let now = json!({
            "flag": rollout.flag,
            "revision": rollout.revision,
            "attempt": rollout.attempt,
            "phase": rollout.phase,
            "stage": rollout.stage,
            "stages": rollout.stages,
            "reason": rollout.reason,
            "blocked": rollout.blocked,
        });
        if self.told.as_ref() == Some(&now) {
            return;
        }
        if remote.is_json {
            println!("{now}");
        } else {
            let line = words::line(rollout, Paint::of_stdout());
            println!("{}  {line}", words::date(clock::wall()));
        }
        self.told = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        wait: Wait,
    }

    #[test]
    fn every_phase_ends_the_wait_as_a_script_needs_it() {
        let end = |arguments: &str, phase: &str| {
            let line = format!("wait orders {arguments}");
            let parsed = Line::try_parse_from(line.split_whitespace()).unwrap();
            parsed.wait.end(phase)
        };
        for (phase, wanted, through) in [
            ("waiting", None, None),
            ("progressing", None, None),
            ("waiting_for_approval", Some(Exit::Paused), None),
            ("paused", Some(Exit::Paused), None),
            ("watching", None, None),
            ("succeeded", Some(Exit::Done), Some(Exit::Done)),
            ("rolled_back", Some(Exit::Refused), Some(Exit::Refused)),
            ("aborted", Some(Exit::Refused), Some(Exit::Refused)),
        ] {
            assert_eq!(end("", phase), wanted, "{phase}");
            assert_eq!(end("--through-pauses", phase), through, "{phase}");
            assert_eq!(end(&format!("--for {phase}"), phase), Some(Exit::Done));
        }
        // What is wanted is past, or cannot come any more.
        assert_eq!(end("--for watching", "succeeded"), Some(Exit::Done));
        assert_eq!(end("--for rolled_back", "succeeded"), Some(Exit::Refused));
        assert_eq!(end("--for aborted", "rolled_back"), Some(Exit::Refused));
        assert_eq!(end("--for watching", "paused"), Some(Exit::Paused));
        assert!(Line::try_parse_from(["wait", "orders", "--for", "done"]).is_err());
    }
}
