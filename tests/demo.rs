//! The demonstration keeps its promise: every verdict is right, within a minute, and what it says
//! to try next can be tried.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what goes wrong here fails the test that is running"
)]

use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};
use std::time::Duration;

use assert_cmd::Command;

/// What the program printed, and how it ended.
struct Told {
    lines: Vec<String>,
    code: Option<i32>,
}

impl Told {
    fn by(arguments: &[&str], seconds: u64) -> Self {
        let Output { stdout, status, .. } = Command::new(env!("CARGO_BIN_EXE_serin"))
            .arg("demo")
            .args(arguments)
            .timeout(Duration::from_secs(seconds))
            .output()
            .unwrap();
        let text = String::from_utf8(stdout).unwrap();
        Self {
            lines: text.lines().map(str::to_owned).collect(),
            code: status.code(),
        }
    }

    fn has(&self, flag: &str, text: &str) -> bool {
        let mut lines = self.lines.iter();
        lines.any(|line| line.contains(flag) && line.contains(text))
    }

    /// The second at which a line begins that has this text.
    fn second_of(&self, text: &str) -> u32 {
        let line = self.lines.iter().find(|line| line.contains(text));
        let line = line.unwrap_or_else(|| panic!("no `{text}` in\n{self}"));
        let (second, _) = line.trim_start().split_once('s').unwrap();
        second.parse().unwrap()
    }

    fn promotes(&self, flag: &str) -> bool {
        self.has(flag, "started with stage 1 of 3")
            && self.has(flag, "succeeded: ")
            && !self.has(flag, "rolled back")
    }

    fn rolls_back(&self, flag: &str) -> bool {
        self.has(flag, "started with stage 1 of 3")
            && self.has(flag, "rolled back from stage ")
            && !self.has(flag, "succeeded")
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\nexit code {:?}", self.lines.join("\n"), self.code)
    }
}

#[test]
fn the_demo_promotes_the_good_release_and_rolls_back_the_bad_one() {
    let told = Told::by(&[], 60);
    assert_eq!(told.code, Some(0), "{told}");
    assert!(told.promotes("search"), "{told}");
    assert!(told.rolls_back("checkout"), "{told}");
    assert!(told.has("", "both verdicts are right: "), "{told}");
    assert!(told.has("", "What to try next:"), "{told}");
}

#[test]
fn garbage_is_taken_out_within_seconds() {
    let told = Told::by(&["--scenario", "garbage"], 30);
    assert_eq!(told.code, Some(0), "{told}");
    assert!(told.rolls_back("images"), "{told}");
    assert!(told.has("images", "canary is down"), "{told}");
    // Two seconds of evidence, and one in which threads and connections begin.
    let second = told.second_of("rolled back from stage 1");
    assert!(second <= 3, "{told}");
    assert!(
        told.has("", "the verdict is right: nobody has the new `images`"),
        "{told}"
    );
}

#[test]
fn simulated_each_scenario_ends_as_it_should() {
    let good = Told::by(&["--fast", "--scenario", "good"], 10);
    assert_eq!(good.code, Some(0), "{good}");
    assert!(
        good.promotes("search") && !good.has("checkout", ""),
        "{good}"
    );
    let bad = Told::by(&["--fast", "--scenario", "bad"], 10);
    assert_eq!(bad.code, Some(0), "{bad}");
    assert!(
        bad.rolls_back("checkout") && !bad.has("search", ""),
        "{bad}"
    );
    let garbage = Told::by(&["--fast", "--scenario", "garbage"], 10);
    assert_eq!(garbage.code, Some(0), "{garbage}");
    assert!(garbage.rolls_back("images"), "{garbage}");
    assert!(
        garbage.second_of("rolled back from stage 1") <= 2,
        "{garbage}"
    );
}

#[test]
fn equal_seeds_tell_the_same_story_and_others_another_with_the_same_end() {
    let told = |seed: &str| Told::by(&["--fast", "--seed", seed], 10);
    let (first, again, other) = (told("7"), told("7"), told("8"));
    assert_eq!(first.lines, again.lines);
    assert_ne!(first.lines, other.lines);
    for told in [first, other] {
        assert_eq!(told.code, Some(0), "{told}");
        assert!(
            told.promotes("search") && told.rolls_back("checkout"),
            "{told}"
        );
    }
}

#[test]
fn the_commands_at_the_end_work() {
    let folder = tempfile::tempdir().unwrap();
    let told = Told::by(&["--fast", "--scenario", "garbage"], 10);
    let command = |word: &str| {
        let line = told.lines.iter().find(|line| line.ends_with(word));
        let line = line.unwrap_or_else(|| panic!("no `{word}` in\n{told}"));
        let done = std::process::Command::new("sh")
            .args(["-c", line.trim()])
            .current_dir(folder.path())
            .output()
            .unwrap();
        (
            done.status.success(),
            String::from_utf8(done.stdout).unwrap(),
        )
    };
    assert_eq!(
        command(" demo --sample > serin.yaml"),
        (true, String::new())
    );
    let sample = std::fs::read_to_string(folder.path().join("serin.yaml")).unwrap();
    assert_eq!(sample, include_str!("../config/serin.yaml"));
    let (is_right, says) = command(" check");
    assert!(is_right && says.starts_with("serin.yaml: ok"), "{says}");
    assert!(told.has("", " serve"), "{told}");
    assert!(told.has("", " rollout status orders"), "{told}");
}

/// Runs a demo on a terminal of its own, of 80 columns and 24 lines.
fn on_a_terminal(environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let demo = concat!(env!("CARGO_BIN_EXE_serin"), " demo --scenario garbage");
    // `script` (util-linux) is what gives a program a terminal that has none.
    let done = Command::new("script")
        .args(["-q", "-e", "-c", demo, "/dev/null"])
        .envs([("TERM", "xterm"), ("COLUMNS", "80"), ("LINES", "24")])
        .env_remove("NO_COLOR")
        .envs(environment.iter().copied())
        .timeout(Duration::from_secs(30))
        .output()
        .unwrap();
    (done.status.code(), String::from_utf8(done.stdout).unwrap())
}

#[test]
fn on_a_terminal_it_draws_and_gives_the_cursor_back() {
    let (code, text) = on_a_terminal(&[]);
    assert_eq!(code, Some(0), "{text}");
    let (_, drawn) = text.split_once("\x1b[?25l").unwrap();
    let (drawn, after) = drawn.rsplit_once("\x1b[?25h").unwrap();
    assert!(
        drawn.contains("\x1b[1;31mROLLED BACK: nobody has canary\x1b[0m"),
        "{text}"
    );
    assert!(
        drawn.contains("\r\x1b[16A"),
        "one picture over the other: {text:?}"
    );
    assert!(after.contains("the verdict is right"), "{text}");
}

#[test]
fn colours_and_pictures_can_be_declined() {
    let (code, text) = on_a_terminal(&[("NO_COLOR", "1")]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("ROLLED BACK: nobody has canary"), "{text}");
    assert!(!text.contains("\x1b[0m"), "{text:?}");
    let (code, text) = on_a_terminal(&[("TERM", "dumb")]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("rolled back from stage 1"), "{text}");
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn an_interrupt_ends_it_at_once() {
    let mut demo = std::process::Command::new(env!("CARGO_BIN_EXE_serin"))
        .arg("demo")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let begun = lines.find(|line| line.as_ref().unwrap().contains("started with stage 1"));
    assert!(begun.is_some());
    let process = demo.id().to_string();
    Command::new("kill")
        .args(["-INT", &process])
        .assert()
        .success();
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    assert_eq!(demo.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(rest.len() < 10, "{rest:?}");
    assert_eq!(rest.last().map(String::as_str), Some("interrupted"));
}

#[test]
fn a_scenario_that_is_none_is_refused_with_those_that_are() {
    let output = Command::new(env!("CARGO_BIN_EXE_serin"))
        .args(["demo", "--scenario", "ugly"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let says = String::from_utf8(output.stderr).unwrap();
    assert!(says.contains("good, bad, garbage, both"), "{says}");
}
