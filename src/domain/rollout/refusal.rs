//! Why a command makes no sense where a rollout is.

/// Why a command makes no sense where a rollout is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has not begun.
    #[error("the rollout has not begun, start it first")]
    NotStarted,
    /// It has begun.
    #[error("the rollout has begun already")]
    AlreadyStarted,
    /// There is nothing to resume.
    #[error("the rollout is not paused")]
    NotPaused,
    /// It is paused.
    #[error("the rollout is paused already")]
    AlreadyPaused,
    /// There is nothing left to do.
    #[error(
        "the rollout has succeeded already, there is nothing left to {verb}; `rollback` takes canary back"
    )]
    AlreadySucceeded {
        /// What was asked for.
        verb: &'static str,
    },
    /// It goes down and does not turn round.
    #[error(
        "the rollout is being rolled back, stage by stage; `rollback` once more ends it at once"
    )]
    RollingBack,
    /// No command but a retry makes anything of a rollback.
    #[error("the rollout is rolled back; `retry` begins it again")]
    RolledBack,
    /// No command but a retry makes anything of an abort.
    #[error("the rollout is aborted; `retry` begins it again")]
    Aborted,
    /// It is under way.
    #[error("the rollout is neither rolled back nor aborted, there is nothing to try again")]
    NothingToRetry,
    /// The flag is off.
    #[error("the flag is off (`enabled: false`), switch it on first")]
    FlagOff,
    /// Promotions are frozen.
    #[error("promotions are frozen by {who}{}", because(.why))]
    Frozen {
        /// By whom.
        who: String,
        /// Why; may be empty.
        why: String,
    },
    /// Stable could not take all callers back.
    #[error(
        "stable has {has} endpoints that take connections, and the plan wants {needs} before canary gets more callers"
    )]
    StableTooSmall {
        /// How many it has.
        has: usize,
        /// How many it needs.
        needs: usize,
    },
}

fn because(why: &str) -> String {
    if why.is_empty() {
        String::new()
    } else {
        format!(": {why}")
    }
}
