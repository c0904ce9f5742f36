//! Where state is remembered.

pub mod memory;
