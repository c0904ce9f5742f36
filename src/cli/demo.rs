//! `serin demo`: a good release promoted, a bad one rolled back.

use std::thread::sleep;
use std::time::Duration;

use clap::Args;

use crate::app::demo::{Demo as Running, Ending};
use crate::cli::Done;
use crate::cli::exit::Exit;
use crate::control::status::{ArmStatus, RolloutStatus};

/// How long the demo may take.
const SECONDS_MAX: u32 = 60;

#[derive(Args)]
pub(crate) struct Demo {
    /// The seed of everything that is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Demo {
    pub(crate) fn run(self) -> Done {
        let demo = Running::start(self.seed)?;
        let (good, bad) = (Running::GOOD, Running::BAD);
        if let Some(proxy) = demo.proxy() {
            println!(
                "proxy on http://{proxy}, admin API on http://{}",
                demo.admin()
            );
        }
        println!(
            "`{good}` releases a good version, `{bad}` one that fails 5 % and has a slow tail"
        );
        println!("each goes 10 % -> 50 % -> 100 % if the judge lets it\n");
        let exit = watch(&demo);
        demo.stop()?;
        Ok(exit)
    }
}

/// Prints a line for each rollout every second until both have ended.
fn watch(demo: &Running) -> Exit {
    let mut told = [const { None }; 2];
    for second in 1..=SECONDS_MAX {
        sleep(Duration::from_secs(1));
        let status = demo.status();
        for (rollout, told) in status.rollouts.iter().zip(&mut told) {
            tell(second, rollout, told);
        }
        let endings: Vec<_> = status.rollouts.iter().map(Running::ending).collect();
        if endings.iter().all(|ending| *ending != Ending::Open) {
            let is_right = endings.iter().all(|ending| *ending == Ending::Right);
            println!("\n{}", conclusion(is_right));
            return if is_right { Exit::Done } else { Exit::Refused };
        }
    }
    println!("\nnot done after {SECONDS_MAX} seconds");
    Exit::TimedOut
}

const fn conclusion(is_right: bool) -> &'static str {
    if is_right {
        "both verdicts are right: the good release has everyone, the bad one nobody"
    } else {
        "a verdict is wrong"
    }
}

/// Tells what changed, then how things stand.
fn tell(second: u32, rollout: &RolloutStatus, told: &mut Option<u64>) {
    let news = rollout
        .journal
        .iter()
        .rev()
        .filter(|line| Some(line.at_unix_ms) > *told);
    for line in news {
        let (flag, entry) = (&rollout.flag, &line.entry);
        println!("{second:>3}s {flag:<9} {}: {}", entry.what, entry.why);
    }
    *told = rollout.journal.first().map(|line| line.at_unix_ms);
    if Running::ending(rollout) == Ending::Open {
        println!(
            "{second:>3}s {:<9} {:>3}%  stable {}  canary {}",
            rollout.flag,
            rollout.weights.default_percent,
            describe(&rollout.arms.stable),
            describe(&rollout.arms.canary),
        );
    }
}

fn describe(arm: &ArmStatus) -> String {
    let ms =
        |latency: Option<f64>| latency.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"));
    format!(
        "{:>5} requests {:>4.1}% failed p50 {:>5} p99 {:>6}",
        arm.requests,
        arm.error_rate * 100.0,
        ms(arm.latency_p50_ms),
        ms(arm.latency_p99_ms),
    )
}
