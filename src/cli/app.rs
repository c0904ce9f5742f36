//! `serin app`: third-party applications, their review and their keys.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Value, json};

use crate::admin::wire::{AppList, AppWithKey};
use crate::cli::Done;
use crate::cli::confirm::Confirmation;
use crate::cli::exit::{Exit, Unusable};
use crate::cli::remote::{CallArguments, Remote};
use crate::cli::words;
use crate::control::app_orders::{AppView, KeyView};
use crate::domain::ids::AppId;

/// The apps of one answer.
const PAGE: &str = "1000";

#[derive(Subcommand)]
pub(crate) enum App {
    /// List apps.
    List(List),
    /// Show an app and what is known of its keys.
    Show(Show),
    /// Register an app, which waits for its review; prints its key, which is shown only once.
    Register(Register),
    /// Let an app pass.
    Approve(Verdict),
    /// Let an app pass no more for now; its next request is refused.
    Suspend(Verdict),
    /// Let an app pass no more, for good; it leaves every canary at once.
    Revoke(Grave),
    /// Give an app a new key; prints it, which is shown only once.
    RotateKey(RotateKey),
    /// Delete an app that was registered, with its keys.
    Delete(Grave),
}

#[derive(Clone, Copy, ValueEnum)]
enum Status {
    Pending,
    Approved,
    Suspended,
    Revoked,
}

#[derive(Args)]
pub(crate) struct List {
    /// Only those of this status.
    #[arg(long, value_enum)]
    status: Option<Status>,
    #[command(flatten)]
    call: CallArguments,
}

#[derive(Args)]
pub(crate) struct Show {
    /// The app.
    app: AppId,
    #[command(flatten)]
    call: CallArguments,
}

#[derive(Args)]
pub(crate) struct Verdict {
    /// The app.
    app: AppId,
    /// Why, for the journal.
    #[arg(short = 'm', long, default_value = "", value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    call: CallArguments,
}

#[derive(Args)]
pub(crate) struct Grave {
    #[command(flatten)]
    verdict: Verdict,
    #[command(flatten)]
    confirmation: Confirmation,
}

#[derive(Args)]
pub(crate) struct Register {
    #[command(flatten)]
    verdict: Verdict,
    /// What people call it.
    #[arg(long, default_value = "")]
    name: String,
    /// Whose it is.
    #[arg(long, default_value = "")]
    owner: String,
    /// Its tier, an attribute like any other.
    #[arg(long)]
    tier: Option<String>,
    /// What else is known of it, for groups; may be given several times.
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// How many requests it may send in each second. Without it, as many as it likes.
    #[arg(long, value_name = "REQUESTS")]
    rate_limit: Option<u32>,
    /// How many it may send at once. Without it, those of a second.
    #[arg(long, requires = "rate_limit", value_name = "REQUESTS")]
    burst: Option<u32>,
}

#[derive(Args)]
pub(crate) struct RotateKey {
    #[command(flatten)]
    verdict: Verdict,
    /// What people call the new key.
    #[arg(long, default_value = "", value_name = "NAME")]
    key_name: String,
    /// For how long the new key lasts, such as `90d`. Without it, for good.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    expires_in: Option<Duration>,
    /// After how long the keys before it end, such as `24h`. Without it, as they would.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    expire_old: Option<Duration>,
}

impl App {
    pub(crate) fn run(self) -> Done {
        match self {
            Self::List(list) => list.run(),
            Self::Show(show) => show.run(),
            Self::Register(register) => register.run(),
            Self::Approve(verdict) => verdict.review("approve"),
            Self::Suspend(verdict) => verdict.review("suspend"),
            Self::Revoke(grave) => grave.revoke(),
            Self::RotateKey(rotate) => rotate.run(),
            Self::Delete(grave) => grave.delete(),
        }
    }
}

impl List {
    fn run(self) -> Done {
        let remote = self.call.open()?;
        let apps = self.read(&remote)?;
        if remote.is_json {
            println!("{:#}", json!({ "apps": apps }));
            return Ok(Exit::Done);
        }
        if apps.is_empty() {
            println!("there are no such apps");
            return Ok(Exit::Done);
        }
        let titles = ["APP", "STATUS", "TIER", "OWNER", "KEYS", "DEFINED IN"];
        let mut rows = vec![titles.map(str::to_owned).to_vec()];
        rows.extend(apps.iter().map(row));
        let lines = words::table(&rows, |_, cell| cell.to_owned());
        lines.iter().for_each(|line| println!("{line}"));
        Ok(Exit::Done)
    }

    /// All of them, page by page.
    fn read(&self, remote: &Remote) -> anyhow::Result<Vec<AppView>> {
        let status = self.status.and_then(|status| status.to_possible_value());
        let status = status.as_ref().map(|status| status.get_name());
        let (mut apps, mut after) = (Vec::new(), None::<AppId>);
        loop {
            let mut query = vec![("limit", PAGE)];
            query.extend(status.map(|status| ("status", status)));
            query.extend(after.as_ref().map(|after| ("after", after.as_str())));
            let page: AppList = remote.read(remote.get("/api/v1/apps", &query)?)?;
            apps.extend(page.apps);
            after = page.next;
            if after.is_none() {
                return Ok(apps);
            }
        }
    }
}

fn row(app: &AppView) -> Vec<String> {
    let tier = app.attributes.get("tier").cloned();
    vec![
        app.app.to_string(),
        app.status.to_string(),
        tier.unwrap_or_default(),
        app.owner.clone(),
        app.keys.len().to_string(),
        source(app).to_owned(),
    ]
}

const fn source(app: &AppView) -> &'static str {
    match app.source {
        crate::domain::app::AppSource::File => "file",
        crate::domain::app::AppSource::Api => "api",
    }
}

impl Show {
    fn run(self) -> Done {
        let remote = self.call.open()?;
        let answer = remote.get(&format!("/api/v1/apps/{}", self.app), &[])?;
        if let Some(answer) = remote.unless_json(answer) {
            print(&remote.read(answer)?);
        }
        Ok(Exit::Done)
    }
}

fn print(app: &AppView) {
    let line = |title: &str, text: &str| println!("{title:<12}{text}");
    line("app", app.app.as_str());
    let given = if app.is_overridden {
        ", given at run time"
    } else {
        ""
    };
    line("status", &format!("{}{given}", app.status));
    for (title, text) in [("name", &app.name), ("owner", &app.owner)] {
        if !text.is_empty() {
            line(title, text);
        }
    }
    for (name, value) in &app.attributes {
        line(name, value);
    }
    if let Some(limit) = app.rate_limit {
        let (rate, burst) = (limit.requests_per_second, limit.burst);
        line(
            "rate limit",
            &format!("{rate} requests a second, {burst} at once"),
        );
    }
    line("defined in", source(app));
    for key in &app.keys {
        line("key", &key_in_words(key));
    }
}

fn key_in_words(key: &KeyView) -> String {
    let mut text = key.fingerprint.clone();
    if !key.name.is_empty() {
        text.push_str(&format!(" `{}`", key.name));
    }
    if let Some(created) = key.created_unix_ms {
        text.push_str(&format!(", made {}", words::moment(created)));
    }
    match key.expires_unix_ms {
        Some(end) => text.push_str(&format!(", until {}", words::moment(end))),
        None => text.push_str(", for good"),
    }
    text
}

impl Verdict {
    fn path(&self) -> String {
        format!("/api/v1/apps/{}", self.app)
    }

    fn review(&self, verb: &str) -> Done {
        let remote = self.call.open()?;
        let path = format!("{}/{verb}", self.path());
        let answer = remote.command(Method::POST, &path, &json!({ "reason": self.reason }))?;
        if let Some(answer) = remote.unless_json(answer) {
            let AppWithKey { app, .. } = remote.read(answer)?;
            println!("{} is {}", app.app, app.status);
            words::warn_unwritten(!app.is_unwritten);
        }
        Ok(Exit::Done)
    }

    /// Prints a key that was made, alone on standard output, so that it can be passed on.
    fn tell_key(&self, remote: &Remote, answer: Value) -> Done {
        if let Some(answer) = remote.unless_json(answer) {
            let AppWithKey { app, key } = remote.read(answer)?;
            eprintln!(
                "{} is {}; this key is not shown again:",
                app.app, app.status
            );
            println!("{}", key.unwrap_or_default());
        }
        Ok(Exit::Done)
    }
}

impl Grave {
    fn revoke(&self) -> Done {
        let app = &self.verdict.app;
        self.confirmation
            .demand(&format!("revoke app {app} for good"))?;
        self.verdict.review("revoke")
    }

    fn delete(&self) -> Done {
        let verdict = &self.verdict;
        let what = format!("delete app {} with its keys", verdict.app);
        self.confirmation.demand(&what)?;
        let remote = verdict.call.open()?;
        let said = json!({ "reason": verdict.reason });
        remote.command(Method::DELETE, &verdict.path(), &said)?;
        if !remote.is_json {
            println!("{} is deleted", verdict.app);
        }
        Ok(Exit::Done)
    }
}

impl Register {
    fn run(self) -> Done {
        let mut attributes = BTreeMap::new();
        for pair in &self.attributes {
            let Some((name, value)) = pair.split_once('=') else {
                let problem = format!("`{pair}` is not NAME=VALUE");
                return Err(Unusable(problem).into());
            };
            attributes.insert(name, value);
        }
        attributes.extend(self.tier.as_deref().map(|tier| ("tier", tier)));
        let rate_limit = self.rate_limit.map(|requests_per_second| {
            json!({ "requests_per_second": requests_per_second, "burst": self.burst })
        });
        let said = json!({
            "name": self.name,
            "owner": self.owner,
            "attributes": attributes,
            "rate_limit": rate_limit,
            "reason": self.verdict.reason,
        });
        let remote = self.verdict.call.open()?;
        let answer = remote.command(Method::PUT, &self.verdict.path(), &said)?;
        self.verdict.tell_key(&remote, answer)
    }
}

impl RotateKey {
    fn run(self) -> Done {
        let written =
            |span: Option<Duration>| span.map(|span| humantime::format_duration(span).to_string());
        let said = json!({
            "key_name": self.key_name,
            "expires_in": written(self.expires_in),
            "expire_old": written(self.expire_old),
            "reason": self.verdict.reason,
        });
        let remote = self.verdict.call.open()?;
        let path = format!("{}/rotate-key", self.verdict.path());
        let answer = remote.command(Method::POST, &path, &said)?;
        self.verdict.tell_key(&remote, answer)
    }
}
