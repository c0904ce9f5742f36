//! `serin flag`: look at flags, and set what may be set at run time.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use crate::admin::wire::FlagList;
use crate::cli::Done;
use crate::cli::confirm::Confirmation;
use crate::cli::exit::Exit;
use crate::cli::flag_define::{Create, Delete};
use crate::cli::remote::{CallArguments, Remote};
use crate::cli::words;
use crate::control::flags::{FlagSource, FlagStatus, VariantStatus};
use crate::control::requirement::Requirement;
use crate::domain::ids::{FlagName, GroupName};
use crate::domain::share::Share;

#[derive(Subcommand)]
pub(crate) enum Flag {
    /// List all flags.
    List(List),
    /// Say how a flag stands.
    Show(Show),
    /// Create a flag beside those of the configuration, or define one anew that was created.
    Create(Box<Create>),
    /// Delete a flag that was created.
    Delete(Delete),
    /// Turn a flag on.
    Enable(Change),
    /// Turn a flag off: everyone gets stable from the next request on.
    Disable(Change),
    /// Set the weight of everyone who is in none of the flag's groups.
    Weight(SetWeight),
    /// Set the weight of a group; the flag names it from then on.
    Assign(Assign),
    /// Have the flag name a group no more: its callers have the weight of everyone else.
    Unassign(Unassign),
    /// Have everything as the configuration says.
    Reset(Reset),
}

#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    call: CallArguments,
}

#[derive(Args)]
pub(crate) struct Show {
    /// The flag.
    flag: FlagName,
    #[command(flatten)]
    call: CallArguments,
}

#[derive(Args)]
pub(crate) struct Change {
    /// The flag.
    flag: FlagName,
    /// Why, for the journal.
    #[arg(short = 'm', long, default_value = "", value_name = "TEXT")]
    reason: String,
    /// Only if it still has this version, which `serin flag show` tells.
    #[arg(long, value_name = "VERSION")]
    if_version: Option<String>,
    #[command(flatten)]
    call: CallArguments,
}

#[derive(Args)]
pub(crate) struct Reset {
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    confirmation: Confirmation,
}

#[derive(Args)]
pub(crate) struct SetWeight {
    #[command(flatten)]
    change: Change,
    /// The share that gets canary, such as `25%`; of several variants each one's, such as `on=20%,blue=5%`.
    // What is below 0 % is told so, and not taken for an option.
    #[arg(allow_hyphen_values = true)]
    weight: Share,
}

#[derive(Args)]
pub(crate) struct Assign {
    #[command(flatten)]
    change: Change,
    /// The group.
    group: GroupName,
    /// The share of its callers that gets canary.
    #[arg(default_value = "100%", allow_hyphen_values = true)]
    weight: Share,
}

#[derive(Args)]
pub(crate) struct Unassign {
    #[command(flatten)]
    change: Change,
    /// The group.
    group: GroupName,
}

impl Flag {
    pub(crate) fn run(self) -> Done {
        match self {
            Self::List(list) => list.run(),
            Self::Show(show) => show.run(),
            Self::Create(create) => create.run(),
            Self::Delete(delete) => delete.run(),
            Self::Enable(change) => change.give(json!({ "enabled": true })),
            Self::Disable(change) => change.give(json!({ "enabled": false })),
            Self::Weight(SetWeight { change, weight }) => {
                change.give(json!({ "default": weight.to_string() }))
            }
            Self::Assign(Assign {
                change,
                group,
                weight,
            }) => change.give(json!({ "groups": { group.as_str(): weight.to_string() } })),
            Self::Unassign(Unassign { change, group }) => {
                change.give(json!({ "groups": { group.as_str(): null } }))
            }
            Self::Reset(reset) => reset.run(),
        }
    }
}

impl List {
    fn run(self) -> Done {
        let remote = self.call.open()?;
        let answer = remote.get("/api/v1/flags", &[])?;
        if let Some(answer) = remote.unless_json(answer) {
            let FlagList { flags, .. } = remote.read(answer)?;
            let titles = [
                "FLAG",
                "ON",
                "STABLE/OFF",
                "CANARY/OTHERS",
                "WEIGHTS",
                "SET BY HAND",
            ];
            words::print_table(titles, flags.iter().map(row), "there are no flags");
        }
        Ok(Exit::Done)
    }
}

fn row(flag: &FlagStatus) -> [String; 6] {
    let on = if flag.enabled { "yes" } else { "no" };
    let by_hand = if flag.has_rollout && flag.overridden.is_empty() {
        "by its rollout".to_owned()
    } else {
        flag.overridden.join(", ")
    };
    let (rest, others) = arms(flag);
    [
        flag.flag.to_string(),
        on.to_owned(),
        rest,
        others,
        words::weights(&flag.weights),
        by_hand,
    ]
}

/// What everybody has, and what some get: backends, or variants.
fn arms(flag: &FlagStatus) -> (String, String) {
    if let (Some(stable), Some(canary)) = (&flag.stable, &flag.canary) {
        return (stable.to_string(), canary.to_string());
    }
    let others = flag.variants.iter().filter(|one| one.name != flag.off);
    let others: Vec<_> = others.map(|one| one.name.as_str()).collect();
    (flag.off.to_string(), others.join(", "))
}

/// The same with the values that applications get: `off (false) or on (true)`.
fn choices(flag: &FlagStatus) -> String {
    if flag.stable.is_some() {
        let (stable, canary) = arms(flag);
        return format!("{stable} or {canary}");
    }
    let named = |one: &VariantStatus| format!("{} ({})", one.name, one.value);
    let (off, others): (Vec<_>, Vec<_>) =
        flag.variants.iter().partition(|one| one.name == flag.off);
    let all: Vec<_> = off.into_iter().chain(others).map(named).collect();
    all.join(" or ")
}

/// What a flag needs of another: `base (any but off)` or `theme (sale)`.
fn needed(needed: &Requirement) -> String {
    match &needed.variant {
        Some(variant) => format!("{} ({variant})", needed.flag),
        None => format!("{} (any but off)", needed.flag),
    }
}

impl Show {
    fn run(self) -> Done {
        let remote = self.call.open()?;
        let answer = remote.get(&format!("/api/v1/flags/{}", self.flag), &[])?;
        print(&remote, answer)
    }
}

impl Reset {
    fn run(self) -> Done {
        let flag = &self.change.flag;
        let what = format!("forget all that was set by hand of {flag}");
        self.confirmation.offer(&what)?;
        self.change.send(Method::DELETE, "/overrides", json!({}))
    }
}

impl Change {
    fn give(self, said: Value) -> Done {
        self.send(Method::PATCH, "", said)
    }

    fn send(self, method: Method, below: &str, mut said: Value) -> Done {
        let remote = self.call.open()?;
        let path = format!("/api/v1/flags/{}{below}", self.flag);
        said["reason"] = Value::from(self.reason);
        let version = self.if_version.as_deref();
        let answer = remote.command_if(method, &path, &said, version)?;
        print(&remote, answer)
    }
}

pub(super) fn print(remote: &Remote, answer: Value) -> Done {
    if let Some(answer) = remote.unless_json(answer) {
        let flag: FlagStatus = remote.read(answer)?;
        let on = if flag.enabled { "on" } else { "off" };
        println!("{} is {on}: {}", flag.flag, choices(&flag));
        if flag.source == FlagSource::Api {
            println!("created at run time");
        }
        println!("weights: {}", words::weights(&flag.weights));
        if !flag.requires.is_empty() {
            let needed: Vec<_> = flag.requires.iter().map(needed).collect();
            println!("requires: {}", needed.join(", "));
        }
        if flag.has_rollout {
            println!(
                "its rollout sets the weights: serin rollout status {}",
                flag.flag
            );
        }
        if !flag.overridden.is_empty() {
            println!("not as configured: {}", flag.overridden.join(", "));
        }
        println!("version: {}", flag.version);
    }
    Ok(Exit::Done)
}
