//! The demo on a terminal.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::app::demo::{Demo, Scenario};
use crate::cli::Done;
use crate::cli::exit::Exit;
use crate::cli::picture::{Screen, Trail, View, size};
use crate::runtime::clock;

use super::{SECONDS_MAX, next, verdict};

/// Pictures of each second.
const FRAMES: u64 = 2;

/// Draws until all rollouts have ended, or somebody has seen enough.
pub(super) async fn watch(demo: &Demo, scenario: Scenario) -> Done {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut frames = interval(Duration::from_secs(1) / u32::try_from(FRAMES)?);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut screen = Screen::open()?;
    let mut trail = Trail::default();
    let mut frame = 0;
    let exit = loop {
        tokio::select! {
            _ = frames.tick() => {}
            _ = interrupt.recv() => break Exit::Interrupted,
            _ = terminate.recv() => break Exit::Interrupted,
        }
        let status = demo.status();
        let ending = verdict(&status);
        if frame % FRAMES == 0 || ending.is_some() {
            trail.note(&status);
        }
        let view = View {
            heading: &heading(demo, frame / FRAMES),
            status: &status,
            trail: &trail,
            now_unix_ms: u64::try_from(clock::wall().as_millis())?,
        };
        let size = size();
        screen.draw(&view.draw(size), size)?;
        if let Some(exit) = ending {
            break exit;
        }
        frame += 1;
        if frame >= SECONDS_MAX * FRAMES {
            break Exit::TimedOut;
        }
    };
    drop(screen);
    println!("\n{}", next::conclusion(exit, scenario));
    Ok(exit)
}

fn heading(demo: &Demo, second: u64) -> String {
    let proxy = demo.proxy();
    let proxy = proxy.map_or_else(String::new, |proxy| format!(", proxy {proxy}"));
    let admin = demo.admin();
    format!("serin demo, {second} s, Ctrl-C ends it{proxy}, admin {admin}")
}
