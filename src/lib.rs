//! Serin, an edge reverse proxy for gradual releases.

pub mod config;
pub mod domain;
