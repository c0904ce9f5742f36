//! Connections to the backends: making them, keeping them, lending them.

pub(crate) mod connect;
pub(crate) mod pool;
