//! Exact lines, of a status that is written down here.

use std::collections::BTreeMap;

use crate::cli::picture::{
    Line, Panel, SECONDS, Seconds, Size, Tone, Trail, View, bar, frame, sparkline, words,
};
use crate::control::status::{
    ArmStatus, GroupWeightStatus, JournalStatus, RolloutStatus, StageStatus, Status, WeightsStatus,
};
use crate::domain::judge::{Action, Assessment, CheckName, Finding};
use crate::domain::rollout::{JournalEntry, Mode};
use crate::domain::testing::name;
use crate::domain::variant::{PerVariant, Variant};

use super::plain::Told;

/// When all of it was seen, in milliseconds since 1970.
const NOW: u64 = 1_000_000;

fn stage(percent: f64) -> StageStatus {
    StageStatus {
        groups: Vec::new(),
        percent,
        hold_seconds: 5.0,
        min_requests: 200,
        needs_approval: false,
        gates: Vec::new(),
    }
}

fn arm(requests: u64, failures: u64, p99_ms: f64) -> ArmStatus {
    ArmStatus {
        requests,
        failures,
        error_rate: failures as f64 / requests as f64,
        requests_per_second: requests as f64,
        latency_mean_ms: Some(5.5),
        latency_p50_ms: Some(5.1),
        latency_p99_ms: Some(p99_ms),
    }
}

fn finding(check: CheckName, assessment: Assessment, evidence: f64) -> Finding {
    Finding {
        check,
        assessment,
        group: None,
        canary: 0.064,
        stable: Some(0.0054),
        bound: 0.0073,
        evidence,
        n: PerVariant::default(),
        reason: String::new(),
        evidence_needed: None,
        callers: None,
        missing: None,
    }
}

/// A median that is fine.
fn p50() -> Finding {
    Finding {
        canary: 5.1,
        stable: Some(5.0),
        bound: 7.2,
        ..finding(CheckName::LatencyP50, Assessment::Pass, 0.0)
    }
}

fn event(seconds_ago: u64, what: &str, why: &str) -> JournalStatus {
    JournalStatus {
        at_unix_ms: NOW - seconds_ago * 1000,
        entry: JournalEntry {
            who: "plan".to_owned(),
            what: what.to_owned(),
            why: why.to_owned(),
            findings: Vec::new(),
        },
    }
}

/// In the second stage of three, three seconds in.
fn rollout() -> RolloutStatus {
    RolloutStatus {
        flag: name("search"),
        enabled: true,
        revision: "v2".to_owned(),
        stable: name("search-v1"),
        canary: name("search-v2"),
        attempt: 1,
        phase: "progressing".to_owned(),
        reason: None,
        rolled_back_groups: Vec::new(),
        blocked: None,
        waiting_for: None,
        gates: Vec::new(),
        mode: Mode::Act,
        stage: 2,
        stages: 3,
        plan: vec![stage(10.0), stage(50.0), stage(100.0)],
        seconds_in_stage: 3.2,
        hold_seconds: 5.0,
        seconds_under_way: 8.0,
        deadline_seconds: 86_400.0,
        min_requests: 200,
        weights: WeightsStatus {
            groups: Vec::new(),
            default_percent: 50.0,
            default_split: BTreeMap::new(),
            control_percent: None,
        },
        counted_requests: PerVariant {
            stable: 180,
            canary: 150,
        },
        last_tick: PerVariant {
            stable: arm(200, 0, 10.0),
            canary: arm(190, 19, 20.0),
        },
        arms: PerVariant {
            stable: arm(600, 3, 10.4),
            canary: arm(570, 25, 19.6),
        },
        groups: Vec::new(),
        action: Action::Hold,
        feedback: None,
        findings: vec![
            finding(CheckName::ErrorRate, Assessment::NeedsData, 0.42),
            p50(),
        ],
        journal: vec![
            event(3, "stage 2 of 3 begins", "all checks pass"),
            event(
                8,
                "started with stage 1 of 3",
                "revision v2 is to be released",
            ),
        ],
        is_written: true,
    }
}

fn rolled_back(reason: &str) -> RolloutStatus {
    RolloutStatus {
        phase: "rolled_back".to_owned(),
        reason: Some(reason.to_owned()),
        weights: WeightsStatus {
            groups: Vec::new(),
            default_percent: 0.0,
            default_split: BTreeMap::new(),
            control_percent: None,
        },
        findings: vec![
            p50(),
            finding(CheckName::ErrorRate, Assessment::Breach, 1.3),
        ],
        journal: vec![event(1, "rolled back from stage 2", reason)],
        ..rollout()
    }
}

fn drawn(rollout: &RolloutStatus, columns: usize, lines: usize) -> Vec<String> {
    let mut seconds = Seconds::default();
    seconds.note(rollout);
    seconds.note(rollout);
    let panel = Panel {
        rollout,
        seconds: &seconds,
        now_unix_ms: NOW,
        columns,
        lines,
    };
    panel.draw().iter().map(Line::plain).collect()
}

#[test]
fn a_rollout_under_way_fits_eighty_columns() {
    let expected = "\
▌search  v2  search-v1 → search-v2  stage 2 of 3: canary is on trial
  ✔ 10 % ─── ● 50 % ─── ○ 100 % ─── ○ watch ─── ○ done
  everyone ███████████████████████████░░░░░░░░░░░░░░░░░░░░░░░░░░ canary 50 %
            req/s  failed     p50     p99  failed 0-10 %   p99 0-20 ms
  stable      200  0.50 %  5.1 ms   10 ms                ▁               ▅
  canary      190   4.4 %  5.1 ms   20 ms                █               █
  to go on time ██████░░░░ 3 s of 5 s   requests ████████░░ 150 of 200
  failures   6.4 %  stable  0.54 %  limit  0.73 %  harm ████░░░░░░ needs data
  p50       5.1 ms  stable  5.0 ms  limit  7.2 ms  harm ░░░░░░░░░░ fine
    3 s ago  stage 2 of 3 begins: all checks pass
    8 s ago  started with stage 1 of 3: revision v2 is to be released";
    assert_eq!(drawn(&rollout(), 80, 11).join("\n"), expected);
}

#[test]
fn a_wide_terminal_shows_every_second_of_the_last_half_minute() {
    let lines = drawn(&rollout(), 110, 12);
    let expected = format!(
        "  canary      190   4.4 %  5.1 ms   20 ms  {:>30} {:>30}",
        "██", "██"
    );
    assert_eq!(lines[5], expected);
    assert_eq!((lines.len(), lines[11].as_str()), (12, ""));
}

#[test]
fn a_very_long_reason_takes_two_lines_and_no_column_more_than_there_are() {
    let reason =
        "canary fails 6.4 % of requests (11 of 173), stable 0.54 % (10 of 1837); ".repeat(20);
    for columns in [20, 60, 80, 200] {
        let lines = drawn(&rolled_back(&reason), columns, 11);
        assert_eq!(lines.len(), 11);
        let width = |line: &String| Line::of(Tone::Plain, line.as_str()).width();
        assert!(lines.iter().all(|line| width(line) <= columns), "{lines:?}");
    }
    let expected = "\
▌search  v2  search-v1 → search-v2  ROLLED BACK: nobody has canary
  ✔ 10 % ─── ✘ 50 % ─── ○ 100 % ─── ○ watch ─── ○ done
  everyone ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░ canary 0 %
            req/s  failed     p50     p99  failed 0-10 %   p99 0-20 ms
  stable      200  0.50 %  5.1 ms   10 ms                ▁               ▅
  canary      190   4.4 %  5.1 ms   20 ms                █               █
  because  canary fails 6.4 % of requests (11 of 173), stable 0.54 % (10 of
           1837); canary fails 6.4 % of requests (11 of 173), stable 0.54 % (10…
  failures   6.4 %  stable  0.54 %  limit  0.73 %  harm ██████████ HARM
  p50       5.1 ms  stable  5.0 ms  limit  7.2 ms  harm ░░░░░░░░░░ fine
    1 s ago  rolled back from stage 2: canary fails 6.4 % of requests (11 of 17…";
    let lines = drawn(&rolled_back(&reason), 80, 11).join("\n");
    assert_eq!(lines, expected);
}

#[test]
fn many_stages_shrink_to_marks_and_groups_get_bars_of_their_own() {
    let mut rollout = rollout();
    rollout.plan = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0, 70.0, 85.0, 100.0]
        .map(stage)
        .into();
    rollout.plan[1].groups = vec![name("beta")];
    rollout.stages = 10;
    rollout.weights.groups = vec![GroupWeightStatus {
        group: name("beta"),
        percent: 2.0,
        split: BTreeMap::new(),
    }];
    let lines = drawn(&rollout, 80, 14);
    assert_eq!(lines[1], "  ✔ ● beta 2 % ○ ○ ○ ○ ○ ○ ○ ○ ○ ○");
    assert!(lines[2].starts_with("  beta     █░"), "{}", lines[2]);
    assert!(lines[3].starts_with("  others   █"), "{}", lines[3]);
}

#[test]
fn what_keeps_a_stage_is_said_in_place_of_what_it_needs() {
    let rollout = RolloutStatus {
        blocked: Some("promotions are frozen by kim: a holiday".to_owned()),
        ..rollout()
    };
    let lines = drawn(&rollout, 80, 11);
    assert_eq!(
        lines[6],
        "  held:    promotions are frozen by kim: a holiday"
    );
}

#[test]
fn the_picture_of_two_rollouts_fills_a_terminal_of_80_by_24_and_never_more() {
    let status = Status {
        rollouts: vec![rollout(), rolled_back("it does harm")],
        ..Status::default()
    };
    let mut trail = Trail::default();
    trail.note(&status);
    let view = View {
        heading: "serin demo, 8 s",
        status: &status,
        trail: &trail,
        now_unix_ms: NOW,
    };
    let draw = |columns, lines| view.draw(Size { columns, lines });
    let picture = draw(80, 24);
    assert_eq!(picture.len(), 24);
    assert_eq!(picture[0].plain(), "serin demo, 8 s");
    assert!(
        picture[12].plain().starts_with("▌search"),
        "{:?}",
        picture[12]
    );
    assert_eq!(
        picture[23].plain(),
        "canary: new version, stable: old one, harm: share of the proof for a rollback"
    );
    for (columns, lines) in [(80, 24), (100, 40), (200, 60), (40, 10), (10, 3), (1, 1)] {
        let picture = draw(columns, lines);
        assert!(picture.len() <= lines, "{columns} {lines}");
        let widest = picture.iter().map(Line::width).max();
        assert!(widest <= Some(columns), "{columns} {lines}: {widest:?}");
    }
}

#[test]
fn colour_is_left_out_where_it_is_not_wanted() {
    let size = Size {
        columns: 80,
        lines: 24,
    };
    let lines = [
        Line::of(Tone::Bad, "HARM"),
        Line::of(Tone::Plain, "as ever"),
    ];
    let coloured = frame(&lines, None, size, true);
    assert!(coloured.contains("\x1b[1;31mHARM\x1b[0m\x1b[K\r\nas ever\x1b[K"));
    let bare = frame(&lines, None, size, false);
    assert!(bare.contains("HARM\x1b[K\r\nas ever\x1b[K"));
    let has_attributes = |text: &str| text.contains("\x1b[0m") || text.contains("\x1b[1");
    assert!(
        has_attributes(&coloured) && !has_attributes(&bare),
        "{bare:?}"
    );
}

#[test]
fn a_picture_is_drawn_over_the_one_before_unless_the_terminal_has_changed() {
    let size = Size {
        columns: 4,
        lines: 24,
    };
    let lines = [Line::of(Tone::Plain, "one"), Line::of(Tone::Plain, "full")];
    let over = frame(&lines, Some((size, 5)), size, false);
    assert_eq!(
        over,
        "\x1b[?2026h\r\x1b[4Aone\x1b[K\r\nfull\x1b[J\x1b[?2026l"
    );
    let other = Size {
        columns: 100,
        ..size
    };
    let anew = frame(&lines, Some((other, 5)), size, false);
    assert!(anew.starts_with("\x1b[?2026h\x1b[2J\x1b[Hone"), "{anew:?}");
}

#[test]
fn a_line_is_cut_at_its_width_and_cannot_command_the_terminal() {
    let line = Line::of(Tone::Plain, "a\x1b[2Jb\n").and(Tone::Bad, "灰度发布 release");
    assert_eq!(line.plain(), "a\u{fffd}[2Jb\u{fffd}灰度发布 release");
    assert_eq!(line.clone().clipped(11).plain(), "a\u{fffd}[2Jb\u{fffd}灰…");
    assert_eq!(line.clone().clipped(0).plain(), "");
    let width = line.width();
    assert_eq!(line.clone().clipped(width), line);
}

#[test]
fn bars_show_whatever_is_more_than_nothing_and_are_full_only_at_the_end() {
    let filled = |share| bar(share, 10).0.chars().count();
    let table = [
        (0.0, 0),
        (0.001, 1),
        (0.5, 5),
        (0.999, 9),
        (1.0, 10),
        (7.0, 10),
        (-1.0, 0),
    ];
    for (share, expected) in table {
        assert_eq!(filled(share), expected, "{share}");
        let (full, rest) = bar(share, 10);
        assert_eq!((full + &rest).chars().count(), 10, "{share}");
    }
    let numbers = [None, Some(0.0), Some(5.0), Some(10.0), Some(99.0)];
    assert_eq!(sparkline(&numbers, 10.0), " ▁▅██");
    assert_eq!(sparkline(&numbers, 0.0), " ▁▁▁▁");
}

#[test]
fn a_trail_keeps_half_a_minute_and_its_peaks_where_seconds_share_a_column() {
    let mut seconds = Seconds::default();
    for second in 0..100_u32 {
        let mut rollout = rollout();
        rollout.last_tick.canary.latency_p99_ms = Some(f64::from(second));
        seconds.note(&rollout);
    }
    let all = seconds.p99_ms(Variant::Canary, SECONDS);
    assert_eq!((all.len(), all[0], all[29]), (30, Some(70.0), Some(99.0)));
    let shared = seconds.p99_ms(Variant::Canary, 15);
    assert_eq!(
        (shared.len(), shared[0], shared[14]),
        (15, Some(71.0), Some(99.0))
    );
}

#[test]
fn numbers_are_short_and_never_say_that_little_is_nothing() {
    let shares = [0.0, 0.0005, 0.0054, 0.01, 0.064, 0.0996, 0.5, 1.0].map(words::share);
    let expected = [
        "0 %", "0.05 %", "0.54 %", "1.0 %", "6.4 %", "10 %", "50 %", "100 %",
    ];
    assert_eq!(shares, expected);
    let times = [Some(0.3), Some(62.6), Some(12_340.0), None].map(words::milliseconds);
    assert_eq!(times, ["0.3 ms", "63 ms", "12.3 s", "-"]);
    assert_eq!(
        [0.0, 119.0, 600.0, 9e4].map(words::duration),
        ["0 s", "119 s", "10 min", "25 h"]
    );
    assert_eq!(
        [0.0, 0.25, 12.5, 100.0].map(words::percent),
        ["0 %", "0.25 %", "12.5 %", "100 %"]
    );
}

#[test]
fn plain_lines_tell_each_event_once_and_how_things_stand_until_the_end() {
    let mut told = Told::default();
    let status = |rollout| Status {
        rollouts: vec![rollout],
        ..Status::default()
    };
    let standing = "search     50 %  stable   600 requests 0.50 % failed p50 5.1 ms p99  10 ms  \
                    canary   570 requests  4.4 % failed p50 5.1 ms p99  20 ms";
    assert_eq!(
        told.lines(3, &status(rollout())),
        [
            "  3s search    started with stage 1 of 3: revision v2 is to be released".to_owned(),
            "  3s search    stage 2 of 3 begins: all checks pass".to_owned(),
            format!("  3s {standing}"),
        ]
    );
    assert_eq!(
        told.lines(4, &status(rollout())),
        [format!("  4s {standing}")]
    );
    let ended = status(rolled_back("it does harm"));
    assert_eq!(
        told.lines(5, &ended),
        ["  5s search    rolled back from stage 2: it does harm"]
    );
    assert!(told.lines(6, &ended).is_empty());
}
