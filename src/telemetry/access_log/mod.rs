//! The access log: what is known of a request that has ended, and the line that tells it.
//!
//! A record is filled in on the way of a request and made into text elsewhere. It holds what it
//! tells, not handles to where that came from: a record that waits must not keep the buffer of a
//! connection with it. No caller's key is in it, no header, and no agent.

mod filter;
mod json;
mod line;
mod record;

pub use filter::{InvalidStatuses, RequestFilter, Statuses};
pub use line::write_line;
pub use record::{Arrival, End, Record, Way};
