//! Turns of a worker: what its tasks do before it looks for what has come.
//!
//! What is sent wakes who gets it, unless it is awake already: sent one by one, each with the work of another request
//! before it, each has the system wake somebody up, which costs it more than the sending. So what has come in a turn is
//! all read first, and what is to be sent leaves at its end, one behind the other.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use tokio::task::coop::unconstrained;

/// Something that leaves at the end of a turn.
pub(crate) trait Departing {
    /// Leaves, as far as it can now. Waits for nothing, and lists nobody.
    fn leave(self: Rc<Self>);
}

/// What leaves at the end of a worker's turn.
#[derive(Default)]
pub(crate) struct Departures {
    listed: RefCell<Vec<Rc<dyn Departing>>>,
    waker: RefCell<Option<Waker>>,
}

impl Departures {
    /// Has something leave at the end of the turn.
    pub(crate) fn list(&self, departing: Rc<dyn Departing>) {
        let mut listed = self.listed.borrow_mut();
        if listed.is_empty()
            && let Some(waker) = &*self.waker.borrow()
        {
            // Woken now, whoever has it leave is behind all that are ready.
            waker.wake_by_ref();
        }
        listed.push(departing);
    }

    /// Has leave what is listed, turn by turn, for as long as there is a worker.
    pub(crate) async fn run(&self) {
        let mut leaving = Vec::new();
        let turns = poll_fn(|cx| {
            self.waker
                .borrow_mut()
                .get_or_insert_with(|| cx.waker().clone());
            std::mem::swap(&mut leaving, &mut *self.listed.borrow_mut());
            leaving.drain(..).for_each(Departing::leave);
            Poll::Pending
        });
        // However many there are, none is told that this task has done enough.
        unconstrained(turns).await
    }
}

/// Lets the tasks go first that are ready as well: for what cannot be listed.
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
    use tokio::task::{JoinSet, spawn_local, yield_now};

    use super::*;

    /// Says when it leaves.
    struct Guest(&'static str, Rc<RefCell<Vec<&'static str>>>);

    impl Departing for Guest {
        fn leave(self: Rc<Self>) {
            self.1.borrow_mut().push(self.0);
        }
    }

    #[test]
    fn what_is_listed_leaves_once_all_that_are_ready_have_been_at_work() {
        let runtime = Builder::new_current_thread().build_local(LocalOptions::default());
        let said = Rc::new(RefCell::new(Vec::new()));
        runtime.unwrap().block_on(async {
            let departures = Rc::<Departures>::default();
            let running = Rc::clone(&departures);
            let running = spawn_local(async move { running.run().await });
            for turn in [["works", "leaves"], ["works again", "leaves again"]] {
                let mut tasks = JoinSet::new();
                for _ in 0..2 {
                    let (departures, said) = (Rc::clone(&departures), Rc::clone(&said));
                    tasks.spawn_local(async move {
                        let [works, leaves] = turn;
                        said.borrow_mut().push(works);
                        departures.list(Rc::new(Guest(leaves, said)) as _);
                    });
                }
                tasks.join_all().await;
                yield_now().await;
            }
            running.abort();
        });
        let first = ["works", "works", "leaves", "leaves"];
        let second = ["works again", "works again", "leaves again", "leaves again"];
        assert_eq!(*said.borrow(), [first, second].concat());
    }

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
