//! What the control plane publishes and every request reads.

use crate::domain::routing::RoutingSnapshot;
use crate::runtime::snapshot::{SnapshotReader, SnapshotWriter};
use crate::runtime::{ledger::Ledger, meters::WorkerMeters};

/// A routing snapshot with the counters that its requests need.
#[derive(Debug)]
pub struct Published {
    /// What requests are decided by.
    pub routing: RoutingSnapshot,
    /// Where they are counted, one set for each worker.
    pub meters: Vec<WorkerMeters>,
}

impl Published {
    /// Makes the counters that a snapshot needs.
    pub fn new(routing: RoutingSnapshot, ledger: &Ledger) -> Self {
        let meters = ledger.meters(&routing);
        Self { routing, meters }
    }
}

/// Publishes snapshots; the control plane has the only one.
pub type Publisher = SnapshotWriter<Published>;

/// Reads snapshots; every worker has one.
pub type Subscriber = SnapshotReader<Published>;
