//! `serin top`: all rollouts at one look, again and again.

use std::collections::BTreeMap;
use std::io::{IsTerminal, stdout};
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::admin::client::ClientError;
use crate::admin::wire::{BackendStatus, Overview};
use crate::cli::Done;
use crate::cli::backends;
use crate::cli::exit::Exit;
use crate::cli::picture::{self, LINES_MIN, Line, Screen, Size, Tone, Trail, View};
use crate::cli::remote::{Remote, RemoteArguments};
use crate::cli::status::alarms;
use crate::cli::words::{self, Paint, span};
use crate::control::status::{RolloutStatus, Status};
use crate::domain::ids::BackendName;
use crate::runtime::clock;

/// How long an answer may take before the picture says that none comes.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(crate) struct Top {
    /// How often to look.
    #[arg(
        long,
        default_value = "1s",
        value_parser = humantime::parse_duration,
        value_name = "DURATION"
    )]
    every: Duration,
    /// End after so many looks; where the output is no terminal, after one.
    #[arg(short = 'n', long, value_name = "LOOKS", value_parser = clap::value_parser!(u64).range(1..))]
    looks: Option<u64>,
    #[command(flatten)]
    remote: RemoteArguments,
}

/// What was seen, and what it was like before.
#[derive(Default)]
struct Seen {
    overview: Option<Overview>,
    trail: Trail,
    /// When it was looked last, and requests of each backend until then.
    before: Option<(Instant, BTreeMap<BackendName, u64>)>,
    /// Requests in a second of each backend.
    rates: BTreeMap<BackendName, f64>,
    /// Why nothing newer was seen.
    trouble: Option<String>,
}

impl Top {
    pub(crate) fn run(self) -> Done {
        let remote = self.remote.open_within(TIMEOUT)?;
        let is_drawn = stdout().is_terminal() && picture::can_draw() && !remote.is_json;
        let mut left = self.looks;
        if !stdout().is_terminal() && !remote.is_json {
            left = left.or(Some(1));
        }
        let mut screen = is_drawn.then(Screen::open).transpose()?;
        let waiting = Builder::new_current_thread().enable_all().build()?;
        let (mut ticks, mut interrupt) = waiting.block_on(async {
            let mut ticks = interval(self.every.max(Duration::from_millis(100)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            anyhow::Ok((ticks, signal(SignalKind::interrupt())?))
        })?;
        let mut seen = Seen::default();
        loop {
            let is_interrupted = waiting.block_on(async {
                tokio::select! {
                    _ = ticks.tick() => false,
                    _ = interrupt.recv() => true,
                }
            });
            if is_interrupted {
                return Ok(Exit::Interrupted);
            }
            let answer = remote.get("/api/v1/status", &[]);
            if let (true, Ok(answer)) = (remote.is_json, &answer) {
                println!("{answer}");
            }
            seen.take(&remote, answer)?;
            if !remote.is_json {
                draw(&seen, &remote, screen.as_mut())?;
            }
            left = left.map(|left| left - 1);
            if left == Some(0) {
                return Ok(Exit::Done);
            }
        }
    }
}

impl Seen {
    /// Takes in what was answered. Whoever was never reached is not waited for.
    fn take(&mut self, remote: &Remote, answer: Result<Value, ClientError>) -> anyhow::Result<()> {
        let overview = match answer.and_then(|answer| remote.read::<Overview>(answer)) {
            Ok(overview) => overview,
            Err(error) if self.overview.is_none() => return Err(error.into()),
            Err(error) => {
                self.trouble = Some(error.to_string());
                return Ok(());
            }
        };
        self.trouble = None;
        let now = clock::monotonic();
        let total = |backend: &BackendStatus| -> u64 {
            backend.endpoints.iter().map(|it| it.requests).sum()
        };
        let totals: BTreeMap<_, _> = overview
            .backends
            .iter()
            .map(|backend| (backend.backend.clone(), total(backend)))
            .collect();
        if let Some((at, before)) = self.before.take() {
            let seconds = (now - at).as_secs_f64().max(0.001);
            let rate = |(name, total): (&BackendName, &u64)| {
                let more = total.saturating_sub(*before.get(name)?);
                // A person reads it.
                #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
                let rate = more as f64 / seconds;
                Some((name.clone(), rate))
            };
            self.rates = totals.iter().filter_map(rate).collect();
        }
        self.before = Some((now, totals));
        self.trail.note(&status_of(&overview, |_| true));
        self.overview = Some(overview);
        Ok(())
    }
}

/// Some rollouts as the picture takes them.
fn status_of(overview: &Overview, is_wanted: impl Fn(&RolloutStatus) -> bool) -> Status {
    let rollouts = overview.rollouts.iter();
    Status {
        rollouts: rollouts.filter(|it| is_wanted(it)).cloned().collect(),
        freeze: overview.freeze.clone(),
        store: overview.store.clone(),
        ..Status::default()
    }
}

fn draw(seen: &Seen, remote: &Remote, screen: Option<&mut Screen>) -> anyhow::Result<()> {
    let Some(overview) = &seen.overview else {
        return Ok(());
    };
    match screen {
        Some(screen) => {
            let size = picture::size();
            screen.draw(&lines(seen, overview, &remote.url(), size), size)?;
        }
        None => {
            let size = Size {
                columns: picture::size().columns,
                lines: usize::MAX,
            };
            let lines = lines(seen, overview, &remote.url(), size);
            let lines = lines.iter().map(Line::plain);
            // Room between rollouts is for eyes that come back again and again.
            let lines = lines.filter(|line| !line.is_empty());
            lines.for_each(|line| println!("{line}"));
        }
    }
    Ok(())
}

/// The page: what must not be overlooked, backends, rollouts that go on, and a line of each other one.
fn lines(seen: &Seen, overview: &Overview, url: &str, size: Size) -> Vec<Line> {
    let mut lines: Vec<_> = seen
        .trouble
        .iter()
        .cloned()
        .chain(alarms(overview))
        .map(|alarm| Line::of(Tone::Bad, alarm))
        .collect();
    lines.extend(overview.backends.iter().map(|it| backend_line(it, seen)));
    let room = size.lines.saturating_sub(lines.len() + 3);
    let mut panels = 0;
    let shown: Vec<_> = overview
        .rollouts
        .iter()
        .filter(|rollout| {
            let is_shown = !has_ended(rollout) && (panels + 1) * LINES_MIN <= room;
            panels += usize::from(is_shown);
            is_shown
        })
        .map(|rollout| rollout.flag.clone())
        .collect();
    let others = overview.rollouts.iter();
    let others = others.filter(|rollout| !shown.contains(&rollout.flag));
    lines.extend(others.map(|it| Line::of(Tone::Plain, words::line(it, Paint::plain()))));
    if overview.rollouts.is_empty() {
        lines.push(Line::of(Tone::Dim, "no flag has a rollout"));
    }
    let heading = format!(
        "serin {} at {url}, up for {}, Ctrl-C ends it",
        overview.version,
        span(overview.uptime_seconds)
    );
    let view = View {
        heading: &heading,
        status: &status_of(overview, |rollout| shown.contains(&rollout.flag)),
        trail: &seen.trail,
        now_unix_ms: u64::try_from(clock::wall().as_millis()).unwrap_or(u64::MAX),
    };
    let mut drawn = view.draw(Size {
        columns: size.columns,
        lines: size.lines.saturating_sub(lines.len()),
    });
    let below = drawn.split_off(1.min(drawn.len()));
    let all = drawn.into_iter().chain(lines).chain(below);
    let clipped = all.map(|line| line.clipped(size.columns));
    clipped.take(size.lines).collect()
}

fn has_ended(rollout: &RolloutStatus) -> bool {
    matches!(
        rollout.phase.as_str(),
        "succeeded" | "rolled_back" | "aborted"
    )
}

fn backend_line(backend: &BackendStatus, seen: &Seen) -> Line {
    let (usable, all) = (
        backend.endpoints.iter().filter(|it| it.is_usable()).count(),
        backend.endpoints.len(),
    );
    let rate = seen.rates.get(&backend.backend);
    let rate = rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"));
    let text = format!(
        "{}: {rate} requests/s, {usable} of {all} endpoints usable",
        backend.backend
    );
    let mut line = Line::of(Tone::Plain, text);
    for endpoint in &backend.endpoints {
        if let Some(trouble) = backends::trouble(endpoint) {
            line = line.and(Tone::Bad, format!("; {} {trouble}", endpoint.endpoint));
        }
    }
    line
}
