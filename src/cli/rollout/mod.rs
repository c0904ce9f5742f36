//! `serin rollout`: look at rollouts, and move them.

mod list;
mod plan;
mod record;
mod show;
mod verbs;
mod wait;

use clap::Subcommand;

use crate::cli::Done;

#[derive(Subcommand)]
pub(crate) enum Rollout {
    /// List all rollouts.
    List(list::List),
    /// Say where a rollout is, and why.
    Status(show::Show),
    /// Begin a rollout that waits to be started.
    Start(verbs::Verb),
    /// Give canary no more callers for now; it is judged on, and taken back if it does harm.
    Pause(verbs::Verb),
    /// Go on after a pause.
    Resume(verbs::Verb),
    /// Go on to the next stage without waiting, or approve the one that waits for it.
    Promote(verbs::Promote),
    /// Take canary away from everyone, for it does harm; with `--all` in every flag.
    ///
    /// Where the plan says `rollback: stepped`, stage by stage; said once more, to nothing at once.
    Rollback(verbs::Rollback),
    /// Take canary away from everyone and give the rollout up.
    Abort(verbs::Abort),
    /// Begin again after a rollback or an abort.
    Retry(verbs::Verb),
    /// Say how long each stage takes at the rate so far, and which harm it would see.
    Plan(plan::Plan),
    /// Print what the judge was told, tick by tick, for `serin replay`.
    Record(record::Record),
    /// Wait until a rollout has succeeded, or is where it is wanted.
    Wait(wait::Wait),
}

impl Rollout {
    pub(crate) fn run(self) -> Done {
        match self {
            Self::List(list) => list.run(),
            Self::Status(show) => show.run(),
            Self::Start(verb) => verb.run("start"),
            Self::Pause(verb) => verb.run("pause"),
            Self::Resume(verb) => verb.run("resume"),
            Self::Promote(promote) => promote.run(),
            Self::Rollback(rollback) => rollback.run(),
            Self::Abort(abort) => abort.run(),
            Self::Retry(verb) => verb.run("retry"),
            Self::Plan(plan) => plan.run(),
            Self::Record(record) => record.run(),
            Self::Wait(wait) => wait.run(),
        }
    }
}
