//! Who is told of changes.

pub mod log;
