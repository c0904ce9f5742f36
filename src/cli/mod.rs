//! The command line: arguments, exit codes, printing. What is done is done elsewhere.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where things are printed"
)]

mod app;
mod backends;
mod callers;
mod check;
mod completions;
mod confirm;
mod demo;
mod diff;
mod exit;
mod explain;
mod feedback;
mod flag;
mod flag_define;
mod freeze;
mod group;
mod journal;
mod man;
mod picture;
mod reload;
mod remote;
mod replay;
mod rollout;
mod schema;
mod segment;
mod serve;
mod simulate;
mod status;
mod tail;
mod top;
mod whole_file;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::cli::exit::Exit;

/// An edge reverse proxy for gradual releases.
///
/// Splits requests between a stable and a canary backend, measures both, and ramps up or rolls
/// back on its own.
#[derive(Parser)]
#[command(name = "serin", version, max_term_width = 100, after_help = exit::HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy.
    Serve(serve::Serve),
    /// Say whether a configuration is right, or all that is wrong with it.
    Check(check::Check),
    /// Say what a change of the configuration changes.
    Diff(diff::Diff),
    /// Print the JSON Schema of the configuration, for editors.
    Schema(schema::Schema),
    /// Say where a given request would go, and why.
    Explain(explain::Explain),
    /// Say where everything is, and why.
    Status(status::Status),
    /// Look at rollouts, and move them.
    #[command(subcommand)]
    Rollout(rollout::Rollout),
    /// Look at flags, and set them at run time.
    #[command(subcommand)]
    Flag(flag::Flag),
    /// Look at groups, and put single callers into them.
    #[command(subcommand)]
    Group(group::Group),
    /// Look at third-party applications, review them, and give them keys.
    #[command(subcommand)]
    App(app::App),
    /// Learn groups of callers from what callers do.
    #[command(subcommand)]
    Segment(segment::Segment),
    /// Read what callers say, and pass it on.
    #[command(subcommand)]
    Feedback(feedback::Feedback),
    /// Look at what callers do, export it, and erase callers.
    #[command(subcommand)]
    Callers(callers::Callers),
    /// Promote nothing anywhere for now; rollbacks stay possible.
    Freeze(freeze::Freeze),
    /// Tell who did what, and why; the last thing that happened comes last.
    Journal(journal::Journal),
    /// Watch all rollouts, and what they are doing to requests.
    Top(top::Top),
    /// Show requests as they end.
    Tail(tail::Tail),
    /// Have the configuration read again.
    Reload(reload::Reload),
    /// Watch a good release promoted and a bad one rolled back, within a minute.
    Demo(demo::Demo),
    /// Say what the judge makes of recorded ticks.
    Replay(replay::Replay),
    /// Simulate rollouts of a plan: how long they take, and how soon harm is found.
    Simulate(simulate::Simulate),
    /// Print what a shell needs to complete command lines.
    #[command(after_help = completions::HELP)]
    Completions(completions::Completions),
    /// Print the manual page, or write those of all commands.
    Man(man::Manual),
}

/// Which configuration a command is about.
#[derive(Args)]
struct ConfigArgument {
    /// The configuration file.
    #[arg(
        short,
        long,
        env = "SERIN_CONFIG",
        default_value = "serin.yaml",
        value_name = "FILE"
    )]
    config: PathBuf,
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    end_quietly_without_readers();
    let done = match Arguments::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Check(check) => check.run(),
        Command::Diff(diff) => diff.run(),
        Command::Schema(schema) => schema.run(),
        Command::Explain(explain) => explain.run(),
        Command::Status(status) => status.run(),
        Command::Rollout(rollout) => rollout.run(),
        Command::Flag(flag) => flag.run(),
        Command::Group(group) => group.run(),
        Command::App(app) => app.run(),
        Command::Segment(segment) => segment.run(),
        Command::Feedback(feedback) => feedback.run(),
        Command::Callers(callers) => callers.run(),
        Command::Freeze(freeze) => freeze.run(),
        Command::Journal(journal) => journal.run(),
        Command::Top(top) => top.run(),
        Command::Tail(tail) => tail.run(),
        Command::Reload(reload) => reload.run(),
        Command::Demo(demo) => demo.run(),
        Command::Replay(replay) => replay.run(),
        Command::Simulate(simulate) => simulate.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(manual) => manual.run(),
    };
    let exit = done.unwrap_or_else(|error| {
        let exit = exit::of_error(&error);
        if exit != Exit::Unread {
            eprintln!("{}", exit::render(&error));
        }
        exit
    });
    exit.into()
}

/// What a command comes to.
type Done = anyhow::Result<Exit>;

/// Whoever reads our output may have seen enough, as `head` has. `println` panics then; that is no defect to
/// tell of. What is written otherwise ends as an error, with the same exit code.
fn end_quietly_without_readers() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload_as_str().unwrap_or_default();
        if said.starts_with("failed printing to std") && said.contains("Broken pipe") {
            std::process::exit(exit::UNREAD.into());
        }
        tell(panic);
    }));
}
