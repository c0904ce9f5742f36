//! The threads: one for each worker, one for health checks, one for the control plane and the admin API.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle, sleep};

use anyhow::{Context, Result, anyhow};
use tokio::sync::mpsc;

use crate::adapters::key_fetcher::FollowingFetcher;
use crate::adapters::notify::webhook::Deliverer;
use crate::admin::{AdminServer, AdminState};
use crate::app::access_log::LastLines;
use crate::app::reload::Reloader;
use crate::config::ShutdownConfig;
use crate::control::Controller;
use crate::proxy::{HealthContext, WorkerContext, run_health_checks, run_worker};
use crate::runtime::shutdown::ShutdownTrigger;

/// What the control thread runs.
pub(crate) struct Control {
    pub(crate) controller: Controller,
    pub(crate) reloader: Option<Reloader>,
    pub(crate) deliverer: Deliverer,
    /// Fetches the keys that tokens are verified by.
    pub(crate) keys: FollowingFetcher,
    pub(crate) admin: AdminServer,
    pub(crate) state: AdminState,
    /// What health checks need, which run on a thread of their own.
    pub(crate) health: HealthContext,
}

/// What tells whom to stop, and when.
pub(crate) struct Stops {
    /// Tells those who ask whether to send requests here.
    pub(crate) readiness: ShutdownTrigger,
    /// Tells the data plane.
    pub(crate) workers: ShutdownTrigger,
    pub(crate) times: ShutdownConfig,
}

impl Stops {
    /// None of them pulled.
    pub(crate) fn new(times: ShutdownConfig) -> Self {
        Self {
            readiness: ShutdownTrigger::new(),
            workers: ShutdownTrigger::new(),
            times,
        }
    }
}

/// All threads, with the means to stop them and to hear of their ends.
pub(crate) struct Threads {
    workers: Vec<JoinHandle<()>>,
    /// Control plane and health checks: needed until the last worker has ended.
    beside: Vec<JoinHandle<()>>,
    stops: Stops,
    stop_control: ShutdownTrigger,
    last_lines: LastLines,
    ends: mpsc::UnboundedReceiver<End>,
}

/// How a thread ended.
struct End {
    name: String,
    result: Result<()>,
}

impl Threads {
    /// Starts all threads.
    pub(crate) fn start(
        workers: Vec<WorkerContext>,
        stops: Stops,
        control: Control,
        last_lines: LastLines,
    ) -> Result<Self> {
        let stop_control = ShutdownTrigger::new();
        let (report, ends) = mpsc::unbounded_channel();
        let mut started = Vec::new();
        for context in workers {
            let name = format!("worker-{}", context.index);
            started.push(spawn(name, report.clone(), || Ok(run_worker(context)?))?);
        }
        let (health, stopping) = (control.health, stop_control.listener());
        let checks = move || Ok(run_health_checks(health, stopping)?);
        let health = spawn("health".to_owned(), report.clone(), checks)?;
        let stopping = stop_control.listener();
        let control = spawn("control".to_owned(), report, move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let ended = runtime.block_on(async {
                let admin = control.admin.run(control.state, stopping.clone());
                let delivering = tokio::spawn(control.deliverer.run(stopping.clone()));
                tokio::spawn(control.keys.run());
                if let Some(reloader) = control.reloader {
                    tokio::spawn(reloader.run());
                }
                // The controller has no end of its own, so an early end is the admin API's.
                let ended = tokio::select! {
                    served = admin => served.context("the admin API ended"),
                    () = control.controller.run(stopping.clone()) => Ok(()),
                };
                // It ends by itself once it is time to stop; messages left over are kept.
                if stopping.is_requested() {
                    delivering.await?;
                }
                ended
            });
            // The system may be looking a name up, for a webhook or a custom check. That takes as long
            // as it takes, and nobody waits for it any more.
            runtime.shutdown_background();
            ended
        })?;
        Ok(Self {
            workers: started,
            beside: vec![control, health],
            stops,
            stop_control,
            last_lines,
            ends,
        })
    }

    /// Waits until a thread ends without having been told to.
    pub(crate) async fn failed(&mut self) -> Result<()> {
        match self.ends.recv().await {
            Some(End { name, result }) => {
                result.with_context(|| format!("thread `{name}` failed"))?;
                Err(anyhow!("thread `{name}` ended without being told to"))
            }
            None => Err(anyhow!("all threads have ended")),
        }
    }

    /// Has load balancers told, which may take their time; stops the workers, then what they need, and
    /// then waits for the last lines of the access log, which nobody is left to add to.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.stops.readiness.pull();
        sleep(self.stops.times.delay);
        self.stops.workers.pull();
        join(self.workers);
        self.stop_control.pull();
        join(self.beside);
        self.last_lines.wait();
        while let Ok(End { name, result }) = self.ends.try_recv() {
            result.with_context(|| format!("thread `{name}` failed"))?;
        }
        Ok(())
    }
}

/// Waits for threads to end. How they ended they have reported themselves, a panic included.
fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        let _ = thread.join();
    }
}

fn spawn(
    name: String,
    report: mpsc::UnboundedSender<End>,
    run: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<JoinHandle<()>> {
    let builder = Builder::new().name(name.clone());
    let thread = builder.spawn(move || {
        let ended = catch_unwind(AssertUnwindSafe(run));
        let result = ended.unwrap_or_else(|_| Err(anyhow!("it panicked")));
        // Whoever started it may have gone; then nobody wants to know.
        let _ = report.send(End { name, result });
    });
    thread.context("cannot start a thread")
}
