//! `serin flag create` and `serin flag delete`: flags beside those of the configuration.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};

use crate::admin::client::segment;
use crate::cli::Done;
use crate::cli::confirm::Confirmation;
use crate::cli::exit::{Exit, Unusable};
use crate::cli::flag::print;
use crate::cli::remote::CallArguments;
use crate::domain::ids::{BackendName, FlagName, GroupName};
use crate::domain::share::Share;

#[derive(Args)]
pub(crate) struct Create {
    /// The flag.
    flag: FlagName,
    /// Its definition, in JSON, as the configuration would have it below the flag's name.
    #[arg(value_name = "JSON")]
    definition: Option<String>,
    /// Read the definition from this file; `-` is the standard input.
    #[arg(long, conflicts_with = "definition", value_name = "FILE")]
    file: Option<PathBuf>,
    /// The backend that everyone has who does not get canary.
    #[arg(long, value_name = "BACKEND")]
    stable: Option<BackendName>,
    /// The backend of the new version.
    #[arg(long, value_name = "BACKEND")]
    canary: Option<BackendName>,
    /// The share of everyone who is in none of the flag's groups.
    ///
    /// Of a flag that has values each variant's, such as `on=20%,blue=5%`.
    #[arg(long, value_name = "SHARE", allow_hyphen_values = true)]
    default: Option<Share>,
    /// The share of a group, such as `beta=50%` or `beta=on=20%,blue=5%`; may be said several times.
    #[arg(long = "group", value_name = "GROUP=SHARE", value_parser = group_share)]
    groups: Vec<(GroupName, Share)>,
    /// Create it turned off.
    #[arg(long)]
    disabled: bool,
    /// Define a flag anew that was created and has this version, which `serin flag show` tells.
    #[arg(long, value_name = "VERSION")]
    if_version: Option<String>,
    /// Why, for the journal.
    #[arg(short = 'm', long, default_value = "", value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    call: CallArguments,
}

#[derive(Args)]
pub(crate) struct Delete {
    /// The flag.
    flag: FlagName,
    #[command(flatten)]
    confirmation: Confirmation,
    /// Only if it still has this version, which `serin flag show` tells.
    #[arg(long, value_name = "VERSION")]
    if_version: Option<String>,
    /// Why, for the journal.
    #[arg(short = 'm', long, default_value = "", value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    call: CallArguments,
}

fn group_share(text: &str) -> Result<(GroupName, Share), String> {
    let (group, share) = text
        .split_once('=')
        .ok_or("expected a group and its share, such as `beta=50%`")?;
    let group = group
        .parse::<GroupName>()
        .map_err(|error| error.to_string())?;
    let share = share.parse::<Share>().map_err(|error| error.to_string())?;
    Ok((group, share))
}

/// A share as a definition has it.
fn written(share: &Share) -> Value {
    match share {
        Share::Of(weight) => json!(weight.to_string()),
        Share::Split(parts) => {
            let parts = parts.iter();
            let parts = parts.map(|(name, weight)| (name.to_string(), json!(weight.to_string())));
            Value::Object(parts.collect())
        }
    }
}

impl Create {
    pub(crate) fn run(self) -> Done {
        let definition = Value::from(self.definition()?);
        let remote = self.call.open()?;
        let (flag, reason) = (&self.flag, segment(&self.reason));
        let path = format!("/api/v1/flags/{flag}?reason={reason}");
        let answer = match self.if_version.as_deref() {
            Some(version) => remote.command_if(Method::PUT, &path, &definition, Some(version))?,
            None => remote.create(&path, &definition)?,
        };
        print(&remote, answer)
    }

    /// What is written, with what the options add.
    fn definition(&self) -> anyhow::Result<Map<String, Value>> {
        let text = match (&self.definition, &self.file) {
            (Some(text), _) => text.clone(),
            (None, Some(path)) => read(path)?,
            (None, None) => "{}".to_owned(),
        };
        let mut definition: Map<String, Value> = serde_json::from_str(&text)
            .map_err(|error| Unusable(format!("the definition is no JSON object: {error}")))?;
        for (key, option, value) in self.added() {
            if definition.contains_key(key) {
                let problem = format!("`{key}` is in the definition already; leave `{option}` out");
                return Err(Unusable(problem).into());
            }
            definition.insert(key.to_owned(), value);
        }
        Ok(definition)
    }

    /// What options say: keys of the definition, the options, and the values.
    fn added(&self) -> impl Iterator<Item = (&'static str, &'static str, Value)> {
        let text = |name: &BackendName| json!(name.as_str());
        let groups = self.groups.iter();
        let groups: Map<_, _> = groups
            .map(|(group, share)| (group.to_string(), written(share)))
            .collect();
        let groups = (!groups.is_empty()).then_some(Value::Object(groups));
        let all = [
            ("stable", "--stable", self.stable.as_ref().map(text)),
            ("canary", "--canary", self.canary.as_ref().map(text)),
            ("default", "--default", self.default.as_ref().map(written)),
            ("groups", "--group", groups),
            (
                "enabled",
                "--disabled",
                self.disabled.then_some(json!(false)),
            ),
        ];
        let all = all.into_iter();
        all.filter_map(|(key, option, value)| Some((key, option, value?)))
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    let read = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let shown = path.display();
    Ok(read.map_err(|error| Unusable(format!("cannot read `{shown}`: {error}")))?)
}

impl Delete {
    pub(crate) fn run(self) -> Done {
        let flag = &self.flag;
        let what = format!("delete flag {flag} for good");
        self.confirmation.demand(&what)?;
        let remote = self.call.open()?;
        let said = json!({ "reason": self.reason });
        let path = format!("/api/v1/flags/{flag}");
        let version = self.if_version.as_deref();
        remote.command_if(Method::DELETE, &path, &said, version)?;
        if !remote.is_json {
            println!("{flag} is deleted");
        }
        Ok(Exit::Done)
    }
}
