//! What was seen of each arm, as numbers that can be added.
//!
//! The data plane records one [`Outcome`] per request into [`ArmCounts`]; once a second they are
//! drained into [`TickCounts`], and the judge reads sums of those. Everything here adds up the
//! same in any order, so that ten workers, or ten edges, count like one.

mod answers;
mod callers;
pub mod cells;
pub mod grpc;
mod histogram;
mod outcome;
mod tick;
mod window;

pub use answers::{ContentTypeCounts, ContentTypeIndex, SizeCounts};
pub use callers::CallerSketch;
pub use histogram::LatencyHistogram;
pub use outcome::{Failure, Fault, Outcome, OutcomeClass};
pub use tick::{ArmCounts, FailureCounts, Stratum, TickCounts};
pub use window::EvidenceWindow;
