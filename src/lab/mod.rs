//! A small world to try things in: backends that behave as told, and callers who call.
//!
//! Real sockets and real HTTP on loopback; what they do is drawn by `simulator`, from a seed.

mod backends;
mod callers;

pub use backends::Backends;
pub use callers::{Callers, PathCrowd};

use std::io;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, LocalOptions};

use crate::runtime::shutdown::{Shutdown, ShutdownTrigger};

/// A thread with a runtime of its own, stopped when dropped.
struct LabThread {
    stop: ShutdownTrigger,
    thread: Option<JoinHandle<()>>,
}

impl LabThread {
    /// Runs until `run` ends or the thread is dropped.
    fn start<F>(name: &str, run: impl FnOnce(Shutdown) -> F + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = ()>,
    {
        let stop = ShutdownTrigger::new();
        let mut stopping = stop.listener();
        let mut runtime = Builder::new_current_thread();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let Ok(runtime) = runtime.enable_all().build_local(LocalOptions::default()) else {
                    return;
                };
                runtime.block_on(async move {
                    let run = run(stopping.clone());
                    tokio::select! {
                        () = run => {}
                        () = stopping.requested() => {}
                    }
                });
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for LabThread {
    fn drop(&mut self) {
        self.stop.pull();
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed; there is nothing to add.
            let _ = thread.join();
        }
    }
}
