//! The demonstration keeps its promise: both verdicts are right, within a minute.

use std::time::Duration;

use assert_cmd::Command;

#[test]
fn the_demo_promotes_the_good_release_and_rolls_back_the_bad_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_serin"))
        .arg("demo")
        .timeout(Duration::from_secs(60))
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    let has = |flag: &str, text: &str| {
        let mut lines = told.lines();
        lines.any(|line| line.contains(flag) && line.contains(text))
    };
    assert!(has("search", "started with stage 1 of 3"), "{told}");
    assert!(has("search", "succeeded: "), "{told}");
    assert!(has("checkout", "rolled back from stage "), "{told}");
    assert!(
        !has("search", "rolled back") && !has("checkout", "succeeded"),
        "{told}"
    );
    assert!(told.contains("both verdicts are right"), "{told}");
}
