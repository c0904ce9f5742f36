//! Evidence of this process's own workers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::control::ports::EvidenceSource;
use crate::domain::evidence::TickCounts;
use crate::domain::ids::FlagName;
use crate::runtime::ledger::Ledger;

/// Drains the workers' counters.
#[derive(Debug)]
pub struct LocalEvidence {
    ledger: Arc<Ledger>,
}

impl LocalEvidence {
    /// Evidence from a ledger, of which this must be the only one that drains.
    pub const fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger }
    }
}

impl EvidenceSource for LocalEvidence {
    fn collect(&mut self) -> BTreeMap<FlagName, TickCounts> {
        self.ledger.drain()
    }
}
