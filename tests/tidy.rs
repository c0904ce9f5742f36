//! Keeps files short and finished: no file too long to read at a sitting, nothing left to do.

#[path = "support/source.rs"]
mod source;

use source::{SourceFile, source_files, tokens};

/// Lines of a file before its tests. A file that needs more holds more than one idea.
const LINES_MAX: usize = 400;

/// Macros of unfinished work and of debugging.
const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];

#[test]
fn every_source_file_is_short_and_finished() {
    let files = source_files().unwrap();
    assert!(!files.is_empty(), "no source was read");
    let problems: Vec<String> = files.iter().flat_map(problems).collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

fn problems(file: &SourceFile) -> Vec<String> {
    let mut found = unfinished(file);
    let lines = lines_before_tests(file);
    if lines > LINES_MAX {
        let name = &file.name;
        found.push(format!(
            "{name}: {lines} lines before its tests, at most {LINES_MAX}"
        ));
    }
    found
}

/// A file of tests alone has none.
fn lines_before_tests(file: &SourceFile) -> usize {
    if file.name.ends_with("/tests.rs") {
        return 0;
    }
    file.text
        .lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .count()
}

fn unfinished(file: &SourceFile) -> Vec<String> {
    tokens(&file.text)
        .windows(2)
        .filter(|pair| pair[1].text == "!" && UNFINISHED.contains(&pair[0].text.as_str()))
        .map(|pair| format!("{}:{}: `{}!`", file.name, pair[0].line, pair[0].text))
        .collect()
}

fn file(name: &str, text: String) -> SourceFile {
    SourceFile {
        name: name.to_owned(),
        text,
    }
}

#[test]
fn a_long_file_is_found_and_its_tests_are_not_counted() {
    let just_right = "\n".repeat(LINES_MAX) + "#[cfg(test)]\n" + &"\n".repeat(LINES_MAX);
    assert!(problems(&file("a.rs", just_right)).is_empty());
    assert_eq!(
        problems(&file("a.rs", "\n".repeat(LINES_MAX + 1))),
        ["a.rs: 401 lines before its tests, at most 400"],
    );
    assert!(problems(&file("a/tests.rs", "\n".repeat(LINES_MAX + 1))).is_empty());
}

#[test]
fn unfinished_work_is_found_and_talk_of_it_is_not() {
    let text = "// todo!\nfn f() { let todo = \"dbg!\"; !todo; core::todo!() }\n";
    assert_eq!(
        problems(&file("a.rs", text.to_owned())),
        ["a.rs:2: `todo!`"]
    );
}
