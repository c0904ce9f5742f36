//! `serin flag create` and `serin flag delete`: flags beside those of the configuration.

use std::collections::BTreeMap;
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
use crate::domain::weight::Weight;

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
    #[arg(long, value_name = "WEIGHT")]
    default: Option<Weight>,
    /// The share of a group, such as `beta=50%`; may be said several times.
    #[arg(long = "group", value_name = "GROUP=WEIGHT", value_parser = group_weight)]
    groups: Vec<(GroupName, Weight)>,
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

fn group_weight(text: &str) -> Result<(GroupName, Weight), String> {
    let (group, weight) = text
        .split_once('=')
        .ok_or("expected a group and its weight, such as `beta=50%`")?;
    let group = group
        .parse::<GroupName>()
        .map_err(|error| error.to_string())?;
    let weight = weight
        .parse::<Weight>()
        .map_err(|error| error.to_string())?;
    Ok((group, weight))
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

    /// What is written, with what the options say in its place.
    fn definition(&self) -> anyhow::Result<Map<String, Value>> {
        let text = match (&self.definition, &self.file) {
            (Some(text), _) => text.clone(),
            (None, Some(path)) => read(path)?,
            (None, None) => "{}".to_owned(),
        };
        let mut definition: Map<String, Value> = serde_json::from_str(&text)
            .map_err(|error| Unusable(format!("the definition is no JSON object: {error}")))?;
        let texts = [
            ("stable", self.stable.as_ref().map(ToString::to_string)),
            ("canary", self.canary.as_ref().map(ToString::to_string)),
            ("default", self.default.map(|weight| weight.to_string())),
        ];
        for (key, text) in texts {
            definition.extend(text.map(|text| (key.to_owned(), Value::from(text))));
        }
        if !self.groups.is_empty() {
            let named = self.groups.iter();
            let named = named.map(|(group, weight)| (group.to_string(), weight.to_string()));
            let named: BTreeMap<_, _> = named.collect();
            definition.insert("groups".to_owned(), json!(named));
        }
        if self.disabled {
            definition.insert("enabled".to_owned(), Value::from(false));
        }
        Ok(definition)
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
