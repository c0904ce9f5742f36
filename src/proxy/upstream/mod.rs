//! Connections to the backends: making them, keeping them, lending them.

pub(crate) mod alarms;
pub(crate) mod answer;
pub(crate) mod broken;
pub mod codec;
mod connect;
pub(crate) mod establish;
mod hearing;
pub(crate) mod http1;
mod http2;
pub(crate) mod lease;
mod making;
pub(crate) mod pool;
pub(crate) mod probe;
mod room;
mod said;
pub(crate) mod tls;
