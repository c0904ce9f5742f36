//! The decisions, as pure functions: same input, same output.
//!
//! Two questions are answered here and nowhere else: "stable or canary?", once per request, and
//! "promote, hold or roll back?", once per tick. Nothing below reads a clock, a file, a socket or
//! a source of randomness, so every answer can be tested, replayed and explained.
//!
//! The words are the field's own: a *flag* has the *variants* stable and canary, a *group* of
//! callers gets the canary with a *weight*, a caller falls into a *bucket*, a *rollout* moves the
//! weights through *stages*, a *tick* is one second of *evidence*, a *verdict* is what the judge
//! makes of it, and its *findings* say why.

pub mod app;
pub mod assignment;
pub mod backend;
pub mod bucket;
pub mod caller;
pub mod caller_features;
pub mod certificate;
pub mod cookie_key;
pub mod decision;
pub mod described;
pub mod evidence;
pub mod feedback;
pub mod flag;
pub mod further;
pub mod gate;
pub mod group;
pub mod hashing;
pub mod identity;
pub mod ids;
pub mod judge;
pub mod jwt;
pub mod key_digest;
pub mod key_index;
pub mod matcher;
pub mod notify;
pub mod outlier;
pub mod prerequisite;
pub mod rating;
pub mod retries;
pub mod rollout;
pub mod route;
pub mod routing;
pub mod secret;
pub mod segment;
pub mod settings;
pub mod share;
pub mod stage_weights;
pub mod stats;
pub mod stopwatch;
#[cfg(test)]
pub(crate) mod testing;
pub mod timestamp;
pub mod variant;
pub mod variants;
pub mod weight;
