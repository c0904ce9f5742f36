//! What the control plane's ports are connected to.

pub mod access_log;
pub mod config_file;
pub mod evidence;
pub mod gate;
pub mod http_client;
pub mod key_fetcher;
pub mod metric;
pub mod notify;
mod quoted;
pub mod store;
pub mod system_trust;
#[cfg(test)]
mod testing;
