//! The few concurrent primitives that both planes stand on.
//!
//! The data plane reads a published snapshot, counts outcomes, and drops messages into a bounded
//! inbox; the control plane does the reverse. They meet here and nowhere else.

pub mod api_key;
pub mod apps;
mod arm_entry;
pub mod assignments;
pub mod bind;
pub mod caller_book;
pub mod callers_seen;
pub mod clock;
pub mod connections;
pub mod content_types;
pub mod delivery;
mod distributions;
pub mod endpoint_health;
pub mod exposures;
pub mod feedback;
pub mod inbox;
pub mod key_hash;
pub mod key_ring;
pub mod ledger;
pub mod meters;
pub mod pseudonyms;
pub mod published;
pub mod rate;
mod ratings;
pub mod recorder;
pub mod series;
pub mod shutdown;
pub mod sight;
pub mod snapshot;
pub mod trays;
pub mod watch;
