//! Telling everything to stop, and knowing when it has.

use std::sync::Arc;

use tokio::sync::watch;

/// Tells its listeners to stop, once.
#[derive(Clone, Debug)]
pub struct ShutdownTrigger {
    signal: Arc<watch::Sender<bool>>,
}

/// Hears that it is time to stop.
#[derive(Clone, Debug)]
pub struct Shutdown {
    signal: watch::Receiver<bool>,
}

impl ShutdownTrigger {
    /// Makes a trigger that has not been pulled.
    pub fn new() -> Self {
        Self {
            signal: Arc::new(watch::Sender::new(false)),
        }
    }

    /// A listener of this trigger.
    pub fn listener(&self) -> Shutdown {
        Shutdown {
            signal: self.signal.subscribe(),
        }
    }

    /// Tells all listeners to stop; again does nothing.
    pub fn pull(&self) {
        self.signal.send_replace(true);
    }
}

impl Default for ShutdownTrigger {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Waits until it is time to stop; returns at once if it has been time already.
    pub async fn requested(&mut self) {
        // An error means that the trigger is gone, and with it whoever would have pulled it.
        let _ = self.signal.wait_for(|stop| *stop).await;
    }

    /// Whether it is time to stop.
    pub fn is_requested(&self) -> bool {
        *self.signal.borrow()
    }
}
