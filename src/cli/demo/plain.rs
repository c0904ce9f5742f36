//! The demo in lines, for files, pipes and people who prefer to scroll.

use std::io::{self, Write, stdout};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::app::demo::{Demo, Ending, Scenario, SimulatedDemo};
use crate::cli::Done;
use crate::cli::exit::Exit;
use crate::cli::picture::words;
use crate::control::status::{ArmStatus, JournalStatus, RolloutStatus, Status};
use crate::runtime::clock;

use super::{SECONDS_MAX, next, verdict};

/// Tells how the demo goes over real sockets, in real time.
pub(super) async fn watch(demo: &Demo, scenario: Scenario) -> Done {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let proxy = demo.proxy();
    let proxy = proxy.map_or_else(String::new, |proxy| format!("proxy on http://{proxy}, "));
    say(&[format!("{proxy}admin API on http://{}", demo.admin())])?;
    let mut story = Story::begin(scenario)?;
    let second = Duration::from_secs(1);
    let first: Instant = clock::monotonic() + second;
    let mut seconds = interval_at(first, second);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = seconds.tick() => {}
            _ = interrupt.recv() => return story.end(Exit::Interrupted),
            _ = terminate.recv() => return story.end(Exit::Interrupted),
        }
        if let Some(exit) = story.go_on(&demo.status())? {
            return story.end(exit);
        }
    }
}

/// Tells how the demo goes in a simulated world, as fast as that can be told.
pub(super) fn simulate(mut demo: SimulatedDemo, scenario: Scenario) -> Done {
    say(&["simulated: no sockets, and seconds that pass at once".to_owned()])?;
    let mut story = Story::begin(scenario)?;
    loop {
        demo.tick();
        if let Some(exit) = story.go_on(&demo.status())? {
            return story.end(exit);
        }
    }
}

/// A demo as it is told.
struct Story {
    scenario: Scenario,
    second: u64,
    told: Told,
}

impl Story {
    fn begin(scenario: Scenario) -> io::Result<Self> {
        let trials = scenario.trials().iter();
        let stories = trials.map(|trial| format!("`{}` {}", trial.flag, trial.story));
        say(&stories.collect::<Vec<_>>())?;
        say(&[
            "25 % of callers get the new version first, then 50 %, then everyone, if the judge lets it"
                .to_owned(),
            String::new(),
        ])?;
        Ok(Self {
            scenario,
            second: 0,
            told: Told::default(),
        })
    }

    /// Tells of one more second; says how the demo ends when it does.
    fn go_on(&mut self, status: &Status) -> io::Result<Option<Exit>> {
        self.second += 1;
        say(&self.told.lines(self.second, status))?;
        let is_late = self.second >= SECONDS_MAX;
        Ok(verdict(status).or_else(|| is_late.then_some(Exit::TimedOut)))
    }

    fn end(&self, exit: Exit) -> Done {
        say(&[String::new(), next::conclusion(exit, self.scenario)])?;
        Ok(exit)
    }
}

/// What has been told of each rollout: its newest line of the journal.
#[derive(Default)]
pub(super) struct Told(Vec<Option<(u64, String)>>);

impl Told {
    /// What is new of each rollout, and how those stand that have not ended.
    pub(super) fn lines(&mut self, second: u64, status: &Status) -> Vec<String> {
        self.0.resize(status.rollouts.len(), None);
        let mut lines = Vec::new();
        for (rollout, told) in status.rollouts.iter().zip(&mut self.0) {
            let flag = rollout.flag.as_str();
            let mark = |line: &JournalStatus| (line.at_unix_ms, line.entry.what.clone());
            let news = rollout.journal.iter();
            let news = news.take_while(|line| told.as_ref() != Some(&mark(line)));
            let news: Vec<_> = news.collect();
            for line in news.iter().rev() {
                let (what, why) = (&line.entry.what, &line.entry.why);
                lines.push(format!("{second:>3}s {flag:<9} {what}: {why}"));
            }
            *told = rollout.journal.first().map(mark);
            if Scenario::ending(rollout) == Ending::Open {
                lines.push(format!("{second:>3}s {flag:<9} {}", standing(rollout)));
            }
        }
        lines
    }
}

fn standing(rollout: &RolloutStatus) -> String {
    format!(
        "{:>5}  stable {}  canary {}",
        words::percent(rollout.weights.default_percent),
        numbers(&rollout.arms.stable),
        numbers(&rollout.arms.canary),
    )
}

fn numbers(arm: &ArmStatus) -> String {
    format!(
        "{:>5} requests {:>6} failed p50 {:>6} p99 {:>6}",
        arm.requests,
        words::share(arm.error_rate),
        words::milliseconds(arm.latency_p50_ms),
        words::milliseconds(arm.latency_p99_ms),
    )
}

/// Prints lines. A reader who has left is an error like any other, and no panic.
fn say(lines: &[String]) -> io::Result<()> {
    let mut out = stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()
}
