//! Serin, an edge reverse proxy for gradual releases.

pub mod domain;
pub mod proxy;
pub mod runtime;
