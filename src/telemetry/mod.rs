//! Names, labels and units of everything that is exported, in one place.
//!
//! Labels come from the configuration, never from a request, so the number of series is known
//! when a configuration is read.

pub mod access_log;
mod access_log_metrics;
mod app_metrics;
mod caller_metrics;
mod connection_metrics;
mod control_metrics;
mod exporter;
mod family;
mod feedback_metrics;
pub mod logs;
mod notification_metrics;
mod process;
mod request_metrics;
mod rollout_metrics;
pub mod samples;
mod token_metrics;

pub use exporter::Exporter;
