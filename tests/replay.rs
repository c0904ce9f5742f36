//! `serin replay`: recorded ticks get the verdicts and numbers they must get.
//!
//! `vectors/traces` are recorded scenarios whose header says what must come out. Beside each trace in
//! `vectors/rulings`, which have odd settings, small grids, ticks of several lengths and gaps, lies what
//! was computed of it, tick by tick, by an implementation of the method in another language.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::NamedTempFile;

/// How long a replay may take.
const REPLAY_MAX: Duration = Duration::from_secs(60);
/// How far a number may be off.
const CLOSE: f64 = 1e-6;

fn replay(arguments: &[&str], trace: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_serin"))
        .arg("replay")
        .args(arguments)
        .arg(trace)
        .timeout(REPLAY_MAX)
        .output()
        .unwrap()
}

fn json_lines(text: &[u8]) -> Vec<Value> {
    let lines = str::from_utf8(text).unwrap().lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn vectors(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(folder);
    let files = std::fs::read_dir(folder).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .collect();
    paths.sort();
    paths
}

fn is_close(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= CLOSE,
        _ => a.is_null() && b.is_null(),
    }
}

#[test]
fn every_recorded_scenario_gets_its_verdict() {
    let traces = vectors("traces", ".jsonl");
    assert_eq!(traces.len(), 13);
    for trace in traces {
        let header: Value = {
            let text = std::fs::read_to_string(&trace).unwrap();
            serde_json::from_str(text.lines().next().unwrap()).unwrap()
        };
        let expected = &header["expect"];
        let output = replay(&["--judge-only"], &trace);
        let lines = json_lines(&output.stdout);
        let (verdict, last) = (&lines[lines.len() - 1], &lines[lines.len() - 2]);
        let name = &header["name"];
        for field in ["verdict", "tick", "promotions"] {
            assert_eq!(verdict[field], expected[field], "{name}: {field}");
        }
        assert!(is_close(&verdict["weight"], &expected["weight"]), "{name}");
        assert!(is_close(&last["log_e"], &expected["log_e"]), "{name}");
        assert_eq!(last["reason"], expected["reason"], "{name}");
        let code = i32::from(expected["verdict"] == "rollback");
        assert_eq!(output.status.code(), Some(code), "{name}");
    }
}

#[test]
fn every_number_of_every_tick_is_the_one_computed_elsewhere() {
    let traces = vectors("rulings", ".trace.jsonl");
    assert_eq!(traces.len(), 6);
    for trace in traces {
        let rulings = trace.to_str().unwrap().replace(".trace.", ".rulings.");
        let expected = json_lines(&std::fs::read(rulings).unwrap());
        let found = json_lines(&replay(&["--judge-only"], &trace).stdout);
        assert_eq!(found.len(), expected.len(), "{}", trace.display());
        for (found, expected) in found.iter().zip(&expected) {
            compare(found, expected, &trace);
        }
    }
}

fn compare(found: &Value, expected: &Value, trace: &Path) {
    let place = format!("{}: tick {}", trace.display(), found["t"]);
    for field in ["t", "action", "wait", "notes", "reason", "undecided"] {
        assert_eq!(found[field], expected[field], "{place}: {field}");
    }
    for field in ["verdict", "tick", "promotions"] {
        assert_eq!(found[field], expected[field], "{place}: {field}");
    }
    for field in ["w", "weight", "log_e", "log_srm"] {
        assert!(
            is_close(&found[field], &expected[field]),
            "{place}: {field}"
        );
    }
    for field in ["parts", "lo"] {
        let Some(expected) = expected[field].as_object() else {
            assert!(found[field].is_null(), "{place}: {field}");
            continue;
        };
        assert_eq!(
            found[field].as_object().unwrap().len(),
            expected.len(),
            "{place}"
        );
        for (name, value) in expected {
            assert!(
                is_close(&found[field][name], value),
                "{place}: {field}.{name}"
            );
        }
    }
}

#[test]
fn a_rollback_is_explained_in_words_and_numbers() {
    let trace = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/traces/err_1_to_5.jsonl");
    let output = replay(&[], &trace);
    let text = str::from_utf8(&output.stdout).unwrap();
    let told: Vec<&str> = text.lines().rev().take(3).collect();
    assert_eq!(told[0], "verdict: rollback at tick 20, 5% exposed");
    assert_eq!(
        told[1],
        "  canary fails 4.1 % of requests (16 of 387), stable 0.84 % (63 of 7536); tolerated up to \
         1 %; evidence 362 of 100 needed"
    );
    assert_eq!(told[2], "tick 20, 5% exposed: roll back");

    let changes = json_lines(&replay(&["--json"], &trace).stdout);
    let breach = &changes[changes.len() - 2]["findings"][0];
    assert_eq!(breach["assessment"], "breach");
    assert_eq!(breach["subject"]["check"], "err");
    assert_eq!(breach["n"]["canary"], 387);
}

#[test]
fn a_trace_that_cannot_be_read_is_refused_with_its_line() {
    let cases = [
        ("", "line 1: nothing here"),
        ("{\"tick_s\":1}", "line 1: no \"format\" in the header"),
        (
            "{\"format\":\"canary-trace/2\",\"tick_s\":1}\n\n{\"t\":0,\"stage\":0}",
            "line 3: column 17: missing field `exposed`",
        ),
    ];
    for (text, problem) in cases {
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let output = replay(&["--judge-only"], file.path());
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(problem), "{told}");
        assert!(output.stdout.is_empty());
    }
    let output = replay(&[], Path::new("no-such-trace.jsonl"));
    assert_eq!(output.status.code(), Some(2));
}
