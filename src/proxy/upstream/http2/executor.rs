//! Runs what hyper needs run for a connection, on the worker's own thread.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;

use hyper::rt::Executor;
use tokio::task::spawn_local;

use crate::proxy::upstream::http2::Link;

/// Runs tasks of one connection, each of which keeps it counted as open.
#[derive(Clone)]
pub(super) struct LinkedExecutor(pub(super) Rc<Link>);

impl<F: Future + 'static> Executor<F> for LinkedExecutor {
    fn execute(&self, task: F) {
        let link = Rc::clone(&self.0);
        spawn_local(async move {
            let mut task = pin!(task);
            poll_fn(|context| {
                let polled = task.as_mut().poll(context);
                // What the peer says first is read by one of these tasks, and nobody is told of it.
                if let Some(waiting) = link.waiting.take() {
                    waiting.wake();
                }
                polled.map(|_| ())
            })
            .await;
        });
    }
}
