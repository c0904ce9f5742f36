//! Turns of a worker: what its tasks do before it looks for what has come.
//!
//! What is sent wakes who gets it, unless it is awake already: sent one by one, each with the work of another request
//! before it, every request and every answer has the system wake somebody up, which costs it more than the sending.
//! So all that have come in a turn are read first, and leave one behind the other.

use std::future::poll_fn;
use std::task::{Context, Poll};

/// Whether the tasks that were ready as well have gone first.
pub(crate) struct Turn {
    has_waited: bool,
}

impl Turn {
    pub(crate) const fn new() -> Self {
        Self { has_waited: false }
    }

    /// Ready at the second call, which comes once all that were ready at the first have been at work; the next one is
    /// a first again.
    pub(crate) fn poll_wait(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.has_waited = !self.has_waited;
        if self.has_waited {
            cx.waker().wake_by_ref();
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

/// Lets the tasks go first that are ready as well.
pub(crate) async fn wait_for_others() {
    let mut turn = Turn::new();
    poll_fn(|cx| turn.poll_wait(cx)).await;
}
