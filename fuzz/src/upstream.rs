//! What is spoken with backends, in the place where it expects to be.

#[path = "../../src/proxy/upstream/codec/mod.rs"]
pub mod codec;
