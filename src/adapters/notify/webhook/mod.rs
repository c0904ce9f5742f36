//! Tells webhooks: programs, Slack, Microsoft Teams.
//!
//! Messages come from the outbox, which outlives the process, and are delivered at least once: one
//! whose answer is lost is sent again, with the same `x-serin-notification-id`. Nothing else waits
//! for a delivery.

mod deliverer;
mod outcome;
mod schedule;
mod shape;
mod target;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use self::deliverer::Deliverer;
pub use self::target::{InvalidTarget, Webhooks};
