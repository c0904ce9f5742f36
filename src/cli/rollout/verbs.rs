//! The verbs of `serin rollout`: what an operator can ask of a rollout.

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use crate::cli::Done;
use crate::cli::confirm::Confirmation;
use crate::cli::exit::Exit;
use crate::cli::remote::CallArguments;
use crate::cli::words::{self, Paint};
use crate::control::emergency::{FlagTakenBack, Forced, TakenBack};
use crate::control::status::RolloutStatus;
use crate::domain::ids::FlagName;

#[derive(Args)]
pub(crate) struct Verb {
    /// The flag whose rollout it is.
    flag: FlagName,
    /// Why, for the journal and whoever is told.
    #[arg(short = 'm', long, default_value = "", value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    call: CallArguments,
}

#[derive(Args)]
pub(crate) struct Abort {
    #[command(flatten)]
    verb: Verb,
    #[command(flatten)]
    confirmation: Confirmation,
}

#[derive(Args)]
pub(crate) struct Promote {
    #[command(flatten)]
    verb: Verb,
    /// Skip all stages that are left: everyone gets canary, which is watched from then on.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Which rollout canary is taken back in, or all.
#[derive(Args)]
pub(crate) struct Rollback {
    /// The flag whose rollout it is.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    flag: Option<FlagName>,
    /// Take canary back at once in every flag in which it has callers, by a rollout or by hand. A flag
    /// without backends has no canary; `serin flag disable` turns it off.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    confirmation: Confirmation,
    /// Why, for the journal and whoever is told.
    #[arg(short = 'm', long, default_value = "", value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    call: CallArguments,
}

impl Rollback {
    pub(crate) fn run(self) -> Done {
        if let Some(flag) = self.flag {
            let verb = Verb {
                flag,
                reason: self.reason,
                call: self.call,
            };
            return verb.run("rollback");
        }
        let what = "take canary back in every flag, by a rollout or by hand";
        self.confirmation.offer(what)?;
        let remote = self.call.open()?;
        let said = json!({ "reason": self.reason });
        let answer = remote.command(Method::POST, "/api/v1/rollback", &said)?;
        let taken: TakenBack = remote.read(answer.clone())?;
        if remote.unless_json(answer).is_some() {
            print_taken_back(&taken);
        }
        let is_whole = taken.flags.iter().all(|flag| flag.problem.is_none());
        Ok(if is_whole { Exit::Done } else { Exit::Refused })
    }
}

fn print_taken_back(taken: &TakenBack) {
    let TakenBack {
        flags,
        untouched,
        choosable,
    } = taken;
    if flags.is_empty() && choosable.is_empty() {
        println!("canary has callers in no flag");
    }
    for taken in flags {
        let (flag, before) = (&taken.flag, words::weights(&taken.before));
        let forced = match taken.forced {
            Some(Forced::FlagOff) => ", and off, for callers could choose canary",
            Some(Forced::MayChoose) => {
                "; callers may still choose canary, as `force.after_rollback` says"
            }
            Some(Forced::Stopped) | None => "",
        };
        match &taken.problem {
            None => println!("taken back: {flag} (was {before}){forced}"),
            Some(problem) => println!("NOT TAKEN BACK: {flag} (at {before}): {problem}"),
        }
    }
    let is_told = |flag: &&FlagName| {
        let told = |taken: &FlagTakenBack| taken.flag == **flag && taken.forced.is_some();
        flags.iter().any(told)
    };
    let choosable: Vec<_> = choosable.iter().filter(|flag| !is_told(flag)).collect();
    if !choosable.is_empty() {
        let names: Vec<_> = choosable.iter().map(|flag| flag.as_str()).collect();
        println!(
            "callers may still choose canary, as `force.after_rollback` says: {} (`serin flag disable` turns one off)",
            names.join(", ")
        );
    }
    if !untouched.is_empty() {
        let names: Vec<_> = untouched.iter().map(FlagName::as_str).collect();
        println!(
            "as before, for they give values and have no canary: {} (`serin flag disable` turns one off)",
            names.join(", ")
        );
    }
    let is_written = |flag: &FlagTakenBack| flag.is_written || flag.problem.is_some();
    words::warn_unwritten(flags.iter().all(is_written));
}

impl Verb {
    pub(crate) fn run(self, verb: &str) -> Done {
        let said = json!({ "reason": self.reason });
        self.give(verb, &said)
    }

    fn give(&self, verb: &str, said: &Value) -> Done {
        let remote = self.call.open()?;
        let path = format!("/api/v1/rollouts/{}/{verb}", self.flag);
        let answer = remote.command(Method::POST, &path, said)?;
        if let Some(answer) = remote.unless_json(answer) {
            let rollout: RolloutStatus = remote.read(answer)?;
            println!("{}", words::line(&rollout, Paint::of_stdout()));
            words::warn_unwritten(rollout.is_written);
        }
        Ok(Exit::Done)
    }
}

impl Abort {
    pub(crate) fn run(self) -> Done {
        let flag = &self.verb.flag;
        let what = format!("give the rollout of {flag} up, and take canary away from everyone");
        self.confirmation.offer(&what)?;
        self.verb.run("abort")
    }
}

impl Promote {
    pub(crate) fn run(self) -> Done {
        if self.full {
            let flag = &self.verb.flag;
            let what = format!("give canary of {flag} to everyone, past all stages that are left");
            self.confirmation.offer(&what)?;
        }
        let said = json!({ "reason": self.verb.reason, "full": self.full });
        self.verb.give("promote", &said)
    }
}
