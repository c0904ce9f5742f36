//! Serin, an edge reverse proxy for gradual releases.

pub mod domain;
pub mod runtime;
