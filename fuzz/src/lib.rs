//! The parts of Serin that are fuzzed, built without the rest of it.

pub mod config;
pub mod proxy;
