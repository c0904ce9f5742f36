//! One stream of a client's HTTP/2 connection, and whether the client takes what it is sent on it.
//!
//! A client that opens no window holds up the answer without its socket ever being full, and hyper asks
//! for no more of it, so that nothing further up gets to wait for anything. So each stream tells when it
//! was handed something that nobody has asked more of since, and one that is late is ended from outside,
//! by the look at its connection.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::proxy::client::Client;
use crate::proxy::worker::HOUSEKEEPING;

thread_local! {
    /// The stream that is worked on, for as long as it is.
    static CURRENT: RefCell<Option<Rc<Stream>>> = const { RefCell::new(None) };
}

/// What is known of a stream.
#[derive(Default)]
pub(crate) struct Stream {
    /// Since when a part of the answer waits to be taken, and how long it may.
    handed: Cell<Option<(Instant, Duration)>>,
    is_cut: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Stream {
    /// The stream whose request is being handled, if it comes by HTTP/2.
    pub(crate) fn current() -> Option<Rc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Says that a part of the answer was handed over, and for how long the next may not be asked for.
    pub(crate) fn hand_over(&self, now: Instant, limit: Duration) {
        self.handed.set(Some((now, limit)));
    }

    /// Says that more is asked for.
    pub(crate) fn is_asked(&self) {
        self.handed.set(None);
    }

    /// Ends the stream if it is late at `now`, told to the second.
    pub(crate) fn look(&self, now: Instant) {
        let is_late = |(since, limit)| now - since > limit + HOUSEKEEPING;
        if self.handed.get().is_some_and(is_late)
            && !self.is_cut.replace(true)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }
}

/// Works on a stream until it has ended, or is ended: what it is dropped with, it is reset with.
pub(super) struct Work<F> {
    future: Pin<Box<F>>,
    stream: Rc<Stream>,
    client: Rc<Client>,
    place: usize,
}

impl<F> Work<F> {
    pub(super) fn new(future: F, client: &Rc<Client>) -> Self {
        let stream = Rc::new(Stream::default());
        Self {
            future: Box::pin(future),
            place: client.enter_stream(Rc::clone(&stream)),
            stream,
            client: Rc::clone(client),
        }
    }
}

impl<F> Drop for Work<F> {
    fn drop(&mut self) {
        self.client.leave_stream(self.place);
    }
}

impl<F: Future> Future for Work<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.stream.is_cut.get() {
            return Poll::Ready(());
        }
        CURRENT.set(Some(Rc::clone(&self.stream)));
        let polled = self.future.as_mut().poll(cx);
        CURRENT.set(None);
        if polled.is_pending() && self.stream.handed.get().is_some() {
            self.stream.waker.set(Some(cx.waker().clone()));
        }
        polled.map(drop)
    }
}
