//! `serin serve`: run the proxy until told to stop.

use clap::{Args, ValueEnum};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;

use crate::adapters::config_file::{self, Source};
use crate::app::App;
use crate::cli::exit::Exit;
use crate::cli::{ConfigArgument, Done};
use crate::config::Config;
use crate::domain::rollout::Author;
use crate::telemetry::logs::{self, LogFormat};

#[derive(Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    config: ConfigArgument,
    /// What is logged: error, warn, info, debug, trace, or a list of target=level.
    #[arg(long, env = "SERIN_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    /// How it is written.
    #[arg(
        long,
        env = "SERIN_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    log_format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Serve {
    pub(crate) fn run(self) -> Done {
        let path = self.config.config;
        let (config, source) = config_file::read(&path)?.split(&path);
        logs::start(
            &self.log,
            match self.log_format {
                Format::Text => LogFormat::Text,
                Format::Json => LogFormat::Json,
            },
        )?;
        Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(serve(config, source))
    }
}

async fn serve(config: Config, source: Source) -> Done {
    // First of all: a signal that comes while things start must not end the process unheard.
    let signals = Signals::listen()?;
    let app = App::start(config, Some(source))?;
    for listener in app.listeners() {
        tracing::info!(address = %listener, "listening");
    }
    tracing::info!(address = %app.admin(), "admin API");
    until_stopped(app, signals).await
}

/// The first signal lets requests under way end; the second does not wait for them.
async fn until_stopped(mut app: App, mut signals: Signals) -> Done {
    loop {
        tokio::select! {
            heard = signals.next() => match heard {
                Heard::Stop(name) => {
                    tracing::info!(signal = name, "stopping");
                    break;
                }
                Heard::Reload => reload(&app),
            },
            failed = app.failed() => {
                if let Err(error) = failed {
                    tracing::error!("{error:#}");
                }
                // The other threads are let go of: half a proxy must not pretend to be one.
                return Ok(Exit::Refused);
            }
        }
    }
    tokio::select! {
        stopped = spawn_blocking(|| app.stop()) => stopped??,
        name = signals.stop() => {
            tracing::warn!(signal = name, "stopping at once");
            // That is what it was told to do. Whatever has to outlive it was written down before.
            std::process::exit(0);
        }
    }
    tracing::info!("stopped");
    Ok(Exit::Done)
}

/// Has the configuration read again; what comes of it is logged where that is done.
fn reload(app: &App) {
    let sender = app.reload().clone();
    tokio::spawn(async move {
        let by = Author {
            who: "SIGHUP".to_owned(),
            why: String::new(),
        };
        let _ = sender.request(by).await;
    });
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self {
            terminate,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.terminate.recv() => Heard::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Heard::Stop("SIGINT"),
            _ = self.reload.recv() => Heard::Reload,
        }
    }

    /// Waits for one that asks to stop.
    async fn stop(&mut self) -> &'static str {
        loop {
            if let Heard::Stop(name) = self.next().await {
                return name;
            }
        }
    }
}

/// What a signal asks for.
enum Heard {
    /// To stop; the name of the signal.
    Stop(&'static str),
    /// To read the configuration again.
    Reload,
}
