//! What a request has to say to the control plane, beyond being counted.
//!
//! The queue is bounded and nobody on the request path waits for it: what does not fit is
//! dropped and counted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::domain::ids::FlagName;

/// The most messages that may wait: seconds' worth of what is sent, in a few tens of kilobytes.
const CAPACITY: usize = 1024;

/// A message from a request to the control plane.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Message {
    /// No endpoint of a flag's canary accepted a connection: worth a look before the next tick.
    CanaryRefused(FlagName),
}

/// The sending end; every worker has one.
#[derive(Clone, Debug)]
pub struct InboxSender {
    queue: mpsc::Sender<Message>,
    dropped: Arc<AtomicU64>,
}

impl InboxSender {
    /// Leaves a message, or drops it when the inbox is full.
    pub fn send(&self, message: Message) {
        if self.queue.try_send(message).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many messages were dropped so far, by all senders.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The receiving end; the control plane has it.
#[derive(Debug)]
pub struct Inbox {
    queue: mpsc::Receiver<Message>,
}

impl Inbox {
    /// Waits for a message, and takes all others that wait along with it, equal ones once; `None`
    /// when all senders are gone.
    pub async fn receive(&mut self) -> Option<BTreeSet<Message>> {
        let mut messages = BTreeSet::from([self.queue.recv().await?]);
        // Bounded, for those who send do not wait while this goes on.
        for _ in 0..CAPACITY {
            let Ok(message) = self.queue.try_recv() else {
                break;
            };
            messages.insert(message);
        }
        Some(messages)
    }
}

/// Makes an inbox and its sending end.
pub fn inbox() -> (InboxSender, Inbox) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (
        InboxSender {
            queue: sender,
            dropped: Arc::default(),
        },
        Inbox { queue: receiver },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_inbox_drops_and_counts() {
        let (sender, mut inbox) = inbox();
        let message = Message::CanaryRefused("orders".parse().unwrap());
        for _ in 0..CAPACITY + 3 {
            sender.send(message.clone());
        }
        assert_eq!(sender.dropped(), 3);
        assert_eq!(inbox.receive().await, Some(BTreeSet::from([message])));
    }
}
