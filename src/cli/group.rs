//! `serin group`: which groups there are, and single callers in them.

use std::time::Duration;

use clap::{Args, Subcommand};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::admin::client::{ClientError, segment};
use crate::admin::wire::{AssignedCaller, CallersPage, GroupList, GroupSummary};
use crate::cli::Done;
use crate::cli::exit::Exit;
use crate::cli::remote::{CallArguments, Remote};
use crate::cli::words;
use crate::control::assignments;
use crate::domain::ids::GroupName;

/// The callers of one answer.
const PAGE: &str = "1000";

#[derive(Subcommand)]
pub(crate) enum Group {
    /// List all groups.
    List(List),
    /// Say which flags name a group, and which callers are put into it.
    Show(Show),
    /// Put a caller into a group; its next request is decided by it.
    Assign(Assign),
    /// Take a caller out again.
    Unassign(Unassign),
}

#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    call: CallArguments,
}

#[derive(Args)]
pub(crate) struct Show {
    /// The group.
    group: GroupName,
    #[command(flatten)]
    call: CallArguments,
}

#[derive(Args)]
pub(crate) struct Caller {
    /// The group.
    group: GroupName,
    /// The caller's key.
    key: String,
    /// Why, for the journal.
    #[arg(short = 'm', long, default_value = "", value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    call: CallArguments,
}

#[derive(Args)]
pub(crate) struct Assign {
    #[command(flatten)]
    caller: Caller,
    /// For how long, such as `1h`. Without it, for good.
    #[arg(
        long = "for",
        value_parser = assignments::lasting,
        value_name = "DURATION"
    )]
    lasting: Option<Duration>,
}

#[derive(Args)]
pub(crate) struct Unassign {
    #[command(flatten)]
    caller: Caller,
}

impl Group {
    pub(crate) fn run(self) -> Done {
        match self {
            Self::List(list) => list.run(),
            Self::Show(show) => show.run(),
            Self::Assign(assign) => assign.run(),
            Self::Unassign(unassign) => unassign.run(),
        }
    }
}

impl List {
    fn run(self) -> Done {
        let remote = self.call.open()?;
        let answer = remote.get("/api/v1/groups", &[])?;
        if let Some(answer) = remote.unless_json(answer) {
            let GroupList { groups } = remote.read(answer)?;
            let titles = ["GROUP", "ASSIGNED", "FLAGS"];
            words::print_table(titles, groups.iter().map(row), "there are no groups");
        }
        Ok(Exit::Done)
    }
}

fn row(group: &GroupSummary) -> [String; 3] {
    let assigned = group.assigned.to_string();
    [group.group.to_string(), assigned, flags(group)]
}

fn flags(group: &GroupSummary) -> String {
    if !group.is_configured {
        return "not in the configuration".to_owned();
    }
    let flags = group.flags.iter();
    let flags = flags.map(|(flag, percent)| match group.splits.get(flag) {
        Some(parts) => format!("{flag} ({})", words::split(parts)),
        None => format!("{flag} {}", words::percent(*percent)),
    });
    flags.collect::<Vec<_>>().join(", ")
}

impl Show {
    fn run(self) -> Done {
        let remote = self.call.open()?;
        let path = format!("/api/v1/groups/{}", self.group);
        let group: GroupSummary = remote.read(remote.get(&path, &[])?)?;
        let callers = match callers(&remote, &path) {
            // The group itself was shown, so it is the callers that are for others.
            Err(ClientError::Refused { status, .. }) if status == StatusCode::FORBIDDEN => None,
            callers => Some(callers?),
        };
        if remote.is_json {
            let mut shown = serde_json::to_value(&group)?;
            if let Some(callers) = callers {
                shown["callers"] = serde_json::to_value(&callers)?;
            }
            println!("{shown:#}");
            return Ok(Exit::Done);
        }
        let named = flags(&group);
        let named = if named.is_empty() { "none" } else { &named };
        println!("{}, named by flags: {named}", group.group);
        let Some(callers) = callers else {
            println!(
                "callers put into it: {}, which operators may see",
                group.assigned
            );
            return Ok(Exit::Done);
        };
        println!("callers put into it: {}", callers.len());
        for caller in callers {
            let until = lasting(&caller);
            let pseudonym = caller.pseudonym.map(|name| format!("  ({name})"));
            println!("  {}  {until}{}", caller.key, pseudonym.unwrap_or_default());
        }
        Ok(Exit::Done)
    }
}

/// All callers of a group, page by page.
fn callers(remote: &Remote, path: &str) -> Result<Vec<AssignedCaller>, ClientError> {
    let (path, mut callers) = (format!("{path}/callers"), Vec::new());
    let mut after: Option<String> = None;
    loop {
        let mut query = vec![("limit", PAGE)];
        query.extend(after.as_deref().map(|after| ("after", after)));
        let page: CallersPage = remote.read(remote.get(&path, &query)?)?;
        callers.extend(page.callers);
        after = page.next;
        if after.is_none() {
            return Ok(callers);
        }
    }
}

fn lasting(caller: &AssignedCaller) -> String {
    match caller.expires_in_seconds {
        Some(seconds) => format!("for {}", words::span(seconds)),
        None => "for good".to_owned(),
    }
}

impl Assign {
    fn run(self) -> Done {
        let lasting_text = self.lasting.map(humantime::format_duration);
        let expires_in = lasting_text.map(|span| span.to_string());
        let said = json!({ "expires_in": expires_in, "reason": self.caller.reason });
        let (remote, answer) = self.caller.give(Method::PUT, &said)?;
        if let Some(answer) = remote.unless_json(answer) {
            let caller: AssignedCaller = remote.read(answer)?;
            let until = lasting(&caller);
            println!("{} is in {} {until}", caller.key, self.caller.group);
        }
        Ok(Exit::Done)
    }
}

impl Unassign {
    fn run(self) -> Done {
        let said = json!({ "reason": self.caller.reason });
        let (remote, _) = self.caller.give(Method::DELETE, &said)?;
        if !remote.is_json {
            let Caller { group, key, .. } = self.caller;
            println!("{key} is no more put into {group}");
        }
        Ok(Exit::Done)
    }
}

impl Caller {
    fn give(&self, method: Method, said: &Value) -> anyhow::Result<(Remote, Value)> {
        let remote = self.call.open()?;
        let (group, key) = (&self.group, segment(&self.key));
        let path = format!("/api/v1/groups/{group}/callers/{key}");
        let answer = remote.command(method, &path, said)?;
        Ok((remote, answer))
    }
}
