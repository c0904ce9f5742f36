//! `serin reload`: take the configuration's file as it is now.

use clap::Args;
use http::Method;
use serde_json::json;

use crate::cli::Done;
use crate::cli::exit::Exit;
use crate::cli::remote::CallArguments;
use crate::control::reload::ReloadStatus;

#[derive(Args)]
pub(crate) struct Reload {
    /// Why, for the log.
    #[arg(short = 'm', long, default_value = "", value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    call: CallArguments,
}

impl Reload {
    pub(crate) fn run(self) -> Done {
        let remote = self.call.open()?;
        let said = json!({ "reason": self.reason });
        let answer = remote.command(Method::POST, "/api/v1/reload", &said)?;
        if let Some(answer) = remote.unless_json(answer) {
            let ReloadStatus { changes, .. } = remote.read(answer)?;
            println!("the configuration is taken");
            changes.iter().for_each(|change| println!("  {change}"));
        }
        Ok(Exit::Done)
    }
}
