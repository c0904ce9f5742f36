//! How those are told of changes who are not here: the outbox, whom it is for, and its delivery.

use std::sync::Arc;

use anyhow::Result;
use tokio::sync::Notify;

use crate::adapters::http_client::HttpClients;
use crate::adapters::notify::webhook::{Deliverer, InvalidTarget, Webhooks};
use crate::control::ports::{Notifier, Outbox};
use crate::domain::notify::NotifyTarget;
use crate::domain::rollout::Notice;
use crate::runtime::clock::Clock;
use crate::runtime::delivery::DeliveryStatus;
use crate::runtime::snapshot::{SnapshotReader, SnapshotWriter};

/// The delivery of messages before it has begun.
pub(crate) struct Telling {
    deliverer: Deliverer,
    recipients: Recipients,
}

/// Whom messages are for; replaced when the configuration is.
pub(crate) struct Recipients {
    clients: HttpClients,
    webhooks: SnapshotWriter<Webhooks>,
    wake: Arc<Notify>,
}

/// Wakes the delivery when there is something to tell.
pub(crate) struct Waker(Arc<Notify>);

impl Notifier for Waker {
    fn notify(&mut self, _: &Notice) {
        self.0.notify_one();
    }

    fn written(&mut self) {
        self.0.notify_one();
    }
}

impl Telling {
    /// Prepares the delivery from an outbox to the targets of a configuration.
    pub(crate) fn start(
        targets: &[NotifyTarget],
        outbox: Arc<dyn Outbox>,
        clock: Clock,
    ) -> Result<Self> {
        let clients = HttpClients::new();
        let webhooks = SnapshotWriter::new(Webhooks::new(targets, &clients)?);
        let wake = Arc::<Notify>::default();
        let deliverer = Deliverer::new(outbox, webhooks.reader(), Arc::clone(&wake), clock);
        let recipients = Recipients {
            clients,
            webhooks,
            wake,
        };
        Ok(Self {
            deliverer,
            recipients,
        })
    }

    /// Reads how it goes.
    pub(crate) fn status(&self) -> SnapshotReader<DeliveryStatus> {
        self.deliverer.status()
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.recipients.wake))
    }

    pub(crate) fn split(self) -> (Deliverer, Recipients) {
        (self.deliverer, self.recipients)
    }
}

impl Recipients {
    /// Prepares other targets, which changes nothing yet.
    pub(crate) fn prepare(&self, targets: &[NotifyTarget]) -> Result<Webhooks, InvalidTarget> {
        Webhooks::new(targets, &self.clients)
    }

    /// Delivers to others from now on.
    pub(crate) fn replace(&mut self, webhooks: Webhooks) {
        self.webhooks.publish(webhooks);
        self.wake.notify_one();
    }
}
