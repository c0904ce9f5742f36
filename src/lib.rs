//! Serin, an edge reverse proxy for gradual releases.

pub mod adapters;
pub mod admin;
pub mod control;
pub mod config;
pub mod domain;
pub mod proxy;
pub mod runtime;
pub mod telemetry;
