//! The command line: arguments, exit codes, printing. What is done is done elsewhere.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is where things are printed"
)]

mod check;
mod demo;
mod exit;
mod explain;
mod schema;
mod serve;

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
    /// Print the JSON Schema of the configuration, for editors.
    Schema(schema::Schema),
    /// Say where a given request would go, and why.
    Explain(explain::Explain),
    /// Watch a good release promoted and a bad one rolled back, within a minute.
    Demo(demo::Demo),
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
    let done = match Arguments::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Check(check) => check.run(),
        Command::Schema(schema) => schema.run(),
        Command::Explain(explain) => explain.run(),
        Command::Demo(demo) => demo.run(),
    };
    let exit = done.unwrap_or_else(|error| {
        eprintln!("{}", exit::render(&error));
        exit::of_error(&error)
    });
    exit.into()
}

/// What a command comes to.
type Done = anyhow::Result<Exit>;
