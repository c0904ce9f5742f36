//! In the place where those parts expect to be.

#[path = "../../src/proxy/framing/mod.rs"]
pub mod framing;

#[path = "upstream.rs"]
pub mod upstream;
