//! Where evidence comes from.

pub mod local;
