//! Who is told of changes.

pub mod log;
pub mod webhook;
