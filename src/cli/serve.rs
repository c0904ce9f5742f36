//! `serin serve`: run the proxy until told to stop.

use clap::{Args, ValueEnum};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;

use crate::adapters::config_file;
use crate::app::App;
use crate::cli::exit::Exit;
use crate::cli::{ConfigArgument, Done};
use crate::config::Config;
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
        let config = config_file::read(&self.config.config)?.config;
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
            .block_on(serve(config))
    }
}

async fn serve(config: Config) -> Done {
    // First of all: a signal that comes while things start must not end the process unheard.
    let signals = Signals::listen()?;
    let app = App::start(config)?;
    for listener in app.listeners() {
        tracing::info!(address = %listener, "listening");
    }
    tracing::info!(address = %app.admin(), "admin API");
    until_stopped(app, signals).await
}

/// The first signal lets requests under way end; the second does not wait for them.
async fn until_stopped(mut app: App, mut signals: Signals) -> Done {
    tokio::select! {
        name = signals.next() => tracing::info!(signal = name, "stopping"),
        failed = app.failed() => {
            if let Err(error) = failed {
                tracing::error!("{error:#}");
            }
            // The other threads are let go of: half a proxy must not pretend to be one.
            return Ok(Exit::Refused);
        }
    }
    tokio::select! {
        stopped = spawn_blocking(|| app.stop()) => stopped??,
        name = signals.next() => {
            tracing::warn!(signal = name, "stopping at once");
            std::process::exit(1);
        }
    }
    tracing::info!("stopped");
    Ok(Exit::Done)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self {
            terminate,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
