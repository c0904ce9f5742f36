//! Turns of a worker: what its tasks do before it looks for what has come.
//!
//! What is sent wakes who gets it, unless it is awake already: sent one by one, each with the work of another request
//! before it, each has the system wake somebody up, which costs it more than the sending. So all requests that have come
//! in a turn are read first, and leave one behind the other.

use std::future::poll_fn;
use std::task::Poll;

/// Lets the tasks go first that are ready as well.
pub(crate) async fn wait_for_others() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if has_waited {
            return Poll::Ready(());
        }
        has_waited = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
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
}
