//! What has to be open before a stage begins: windows of time, and webhooks that are asked.
//!
//! A description, and what the gates amount to at a moment. Who asks webhooks is elsewhere, and so is
//! what a rollout makes of the answers. Nothing here ever keeps canary from being taken back.

mod answer;
mod webhook;
mod window;

use crate::domain::ids::TargetName;

pub use answer::{HookAnswer, HookSaid};
pub use webhook::Webhook;
pub use window::{Days, TimeOfDay, Window};

/// Something that has to be open before a stage begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// What the status and the journal call it.
    pub name: TargetName,
    /// What opens it.
    pub kind: GateKind,
}

/// What opens a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateKind {
    /// The time: it is open within any of these, of which there is at least one.
    Window(Vec<Window>),
    /// An answer of 2xx.
    Webhook(Box<Webhook>),
}

impl GateKind {
    /// The word used in the API.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Window(_) => "window",
            Self::Webhook(_) => "webhook",
        }
    }

    /// What whoever stands before it waits for.
    pub const fn awaits(&self) -> Awaits {
        match self {
            Self::Window(_) => Awaits::Window,
            Self::Webhook(_) => Awaits::Webhook,
        }
    }
}

/// What the gates before a stage amount to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatesNow {
    /// The first that is closed; none where all are open.
    pub closed: Option<ClosedGate>,
    /// What opened the last one, for the journal.
    pub opened_by: String,
}

/// A gate that is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedGate {
    /// Its name.
    pub name: TargetName,
    /// What it waits for.
    pub awaits: Awaits,
    /// Why it is closed, in words.
    pub says: String,
    /// What is worth a line in the journal when it changes: less than all that it says, which may
    /// count seconds.
    pub gist: String,
}

/// What a closed gate waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Awaits {
    /// A time.
    Window,
    /// An answer.
    Webhook,
}
