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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::runtime::{Builder, LocalOptions};
    use tokio::task::{JoinSet, yield_now};

    use super::*;

    #[test]
    fn all_that_are_ready_have_begun_before_any_goes_on() {
        let runtime = Builder::new_current_thread().build_local(LocalOptions::default());
        let said = Rc::new(RefCell::new(Vec::new()));
        runtime.unwrap().block_on(async {
            let mut tasks = JoinSet::new();
            for number in 0..3 {
                let said = Rc::clone(&said);
                tasks.spawn_local(async move {
                    said.borrow_mut().push(("begins", number));
                    wait_for_others().await;
                    said.borrow_mut().push(("goes on", number));
                });
            }
            yield_now().await;
            tasks.join_all().await;
        });
        let said: Vec<_> = said.borrow().iter().map(|(what, _)| *what).collect();
        assert_eq!(
            said,
            [
                "begins", "begins", "begins", "goes on", "goes on", "goes on"
            ]
        );
    }

    #[test]
    fn each_second_call_is_ready() {
        let mut turn = Turn::new();
        let cx = Context::from_waker(std::task::Waker::noop());
        let calls = [(); 4].map(|()| turn.poll_wait(&cx).is_ready());
        assert_eq!(calls, [false, true, false, true]);
    }
}
