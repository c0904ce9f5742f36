//! A stream and the exchanges on it, for those who are at work there.

use std::cell::{RefCell, RefMut};
use std::future::poll_fn;
use std::rc::Rc;

use tokio::task::spawn_local;

use crate::proxy::turn::{Departing, Departures};
use crate::proxy::upstream::broken::BrokenError;
use crate::proxy::upstream::establish::OpenConnection;
use crate::proxy::upstream::http1::own::exchange::Exchange;
use crate::proxy::upstream::http1::own::wire::Wire;

/// A stream, shared by those who are at work on it. All are tasks of one thread, and none keeps it borrowed.
pub(in crate::proxy::upstream) struct Line(RefCell<Exchange>);

impl Line {
    pub(super) fn new(wire: Wire, open: OpenConnection) -> Rc<Self> {
        Rc::new(Self(RefCell::new(Exchange::new(wire, open))))
    }

    pub(super) fn exchange(&self) -> RefMut<'_, Exchange> {
        self.0.borrow_mut()
    }

    /// Has a request leave with the others of the turn, and what has come of its body with it.
    pub(super) async fn depart(
        self: &Rc<Self>,
        departures: &Departures,
    ) -> Result<(), BrokenError> {
        poll_fn(|cx| self.exchange().poll_gather(cx)).await?;
        departures.list(Rc::clone(self) as _);
        Ok(())
    }

    /// Has what is left of the request sent while the answer is read.
    pub(super) fn send_on(self: &Rc<Self>) {
        let line = Rc::clone(self);
        let task = spawn_local(async move {
            poll_fn(|cx| line.exchange().poll_rest(cx)).await;
        });
        self.exchange().is_sent_by(task.abort_handle());
    }
}

impl Departing for Line {
    fn leave(self: Rc<Self>) {
        self.exchange().leave();
    }
}
