//! `serin freeze`: no promotions anywhere, for now.

use clap::Args;
use http::Method;
use serde_json::json;

use crate::cli::Done;
use crate::cli::exit::Exit;
use crate::cli::remote::CallArguments;
use crate::cli::status::frozen;
use crate::cli::words;
use crate::control::status::FreezeStatus;

#[derive(Args)]
pub(crate) struct Freeze {
    /// Why, for the journal and whoever wonders.
    #[arg(short = 'm', long, default_value = "", value_name = "TEXT")]
    reason: String,
    /// Let promotions go on.
    #[arg(long)]
    lift: bool,
    #[command(flatten)]
    call: CallArguments,
}

impl Freeze {
    pub(crate) fn run(self) -> Done {
        let remote = self.call.open()?;
        let method = if self.lift {
            Method::DELETE
        } else {
            Method::POST
        };
        let said = json!({ "reason": self.reason });
        let answer = remote.command(method, "/api/v1/freeze", &said)?;
        if let Some(answer) = remote.unless_json(answer) {
            let FreezeStatus { freeze, is_written } = remote.read(answer)?;
            match freeze {
                Some(freeze) => println!("{}", frozen(&freeze)),
                None => println!("promotions go on"),
            }
            words::warn_unwritten(is_written);
        }
        Ok(Exit::Done)
    }
}
