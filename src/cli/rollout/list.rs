//! `serin rollout list`: all rollouts.

use clap::Args;

use crate::admin::wire::RolloutList;
use crate::cli::Done;
use crate::cli::exit::Exit;
use crate::cli::remote::CallArguments;
use crate::cli::status::print_rollouts;
use crate::cli::words::Paint;

#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    call: CallArguments,
}

impl List {
    pub(crate) fn run(self) -> Done {
        let remote = self.call.open()?;
        let answer = remote.get("/api/v1/rollouts", &[])?;
        if let Some(answer) = remote.unless_json(answer) {
            let list: RolloutList = remote.read(answer)?;
            print_rollouts(&list.rollouts, Paint::of_stdout());
        }
        Ok(Exit::Done)
    }
}
