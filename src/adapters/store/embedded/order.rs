//! What the writer's thread takes from the queue in one go.

use super::commit::Batch;
use super::shared::Queue;

/// What is to be written in one go.
pub(super) struct Order {
    /// The number of the last transition in it.
    pub(super) number: u64,
    /// Whether there is one at all.
    pub(super) is_new: bool,
    pub(super) batch: Batch,
}

impl Order {
    /// Takes what waits. Who is forgotten goes with what it said, in one commit.
    pub(super) fn take(queue: &mut Queue) -> Self {
        let mut batch = std::mem::take(&mut queue.batch);
        if !batch.forgotten.is_empty() {
            batch.feedback = queue.feedback.take_removals();
        }
        queue.delivering.clone_from(&batch.deliveries);
        Self {
            number: queue.asked,
            is_new: queue.has_transition(),
            batch,
        }
    }

    pub(super) fn has_work(&self) -> bool {
        self.is_new || !self.batch.deliveries.is_empty()
    }
}
