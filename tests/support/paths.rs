//! Lists the paths written in a file of source: those of `use` groups one by one, those that
//! start with `self` or `super` as they read from the crate's root.
//!
//! A path of one segment outside `use` is a local name and left out, and so is the one of
//! `pub(in ...)`, which can only name a module that the file is in.

use crate::source::{SourceFile, Token, tokens};

/// A path as written, its `super`s and `self`s replaced by `crate::...`.
pub(crate) struct WrittenPath {
    /// At least one.
    pub(crate) segments: Vec<String>,
    line: usize,
}

impl WrittenPath {
    /// What follows `root`, when the path starts there and goes on.
    pub(crate) fn after(&self, root: &str) -> Option<&str> {
        let [first, second, ..] = self.segments.as_slice() else {
            return None;
        };
        (first == root).then_some(second)
    }

    /// Whether the pattern's segments stand in the path one after the other. A pattern of one
    /// segment, a crate's name, stands first; a final `*` stands for any ending of a name.
    pub(crate) fn contains(&self, pattern: &str) -> bool {
        let pattern: Vec<&str> = pattern.split("::").collect();
        let windows = self.segments.windows(pattern.len());
        let windows = windows.take(if pattern.len() == 1 { 1 } else { usize::MAX });
        windows.into_iter().any(|window| {
            window
                .iter()
                .zip(&pattern)
                .all(|(segment, wanted)| match wanted.strip_suffix('*') {
                    Some(start) => segment.starts_with(start),
                    None => segment == wanted,
                })
        })
    }
}

/// Every path and every module declaration in a file.
pub(crate) struct PathsOf {
    name: String,
    paths: Vec<WrittenPath>,
    /// Names of the modules declared in the file.
    pub(crate) declared: Vec<String>,
}

impl PathsOf {
    /// Reads a file.
    pub(crate) fn new(file: &SourceFile) -> Self {
        let mut reader = Reader {
            tokens: tokens(&file.text),
            at: 0,
            module: module_path(&file.name),
            depth: 0,
            inline: Vec::new(),
            paths: Vec::new(),
            declared: Vec::new(),
        };
        reader.read();
        Self {
            name: file.name.clone(),
            paths: reader.paths,
            declared: reader.declared,
        }
    }

    /// What `about` says of each path, with the place before it.
    pub(crate) fn complaints(&self, about: impl Fn(&WrittenPath) -> Option<String>) -> Vec<String> {
        self.paths
            .iter()
            .filter_map(|path| Some(format!("{}:{}: {}", self.name, path.line, about(path)?)))
            .collect()
    }
}

/// `domain/matcher/mod.rs` is `crate::domain::matcher`; `lib.rs` is `crate`.
fn module_path(name: &str) -> Vec<String> {
    let name = name.strip_suffix(".rs").unwrap_or(name);
    let folders = name
        .split('/')
        .filter(|part| !["mod", "lib", "main"].contains(part));
    std::iter::once("crate")
        .chain(folders)
        .map(str::to_owned)
        .collect()
}

/// Walks the tokens of one file.
struct Reader {
    tokens: Vec<Token>,
    at: usize,
    /// Of the place being read, inline modules included.
    module: Vec<String>,
    /// Of braces.
    depth: usize,
    /// The depths at which inline modules opened.
    inline: Vec<usize>,
    paths: Vec<WrittenPath>,
    declared: Vec<String>,
}

impl Reader {
    fn read(&mut self) {
        while self.at < self.tokens.len() {
            match self.text(0) {
                "{" => self.depth += 1,
                "}" => self.close_brace(),
                "mod" => self.declare_module(),
                "use" => {
                    self.at += if self.text(1) == "::" { 2 } else { 1 };
                    self.read_path(Vec::new());
                    continue;
                }
                _ if self.is_word(0) && !self.is_inside_path() => {
                    let is_visibility = self.is_visibility();
                    let known = self.paths.len();
                    self.read_path(Vec::new());
                    // One segment is a local name, or the `crate` of `pub(crate)`.
                    let is_single = |path: &WrittenPath| path.segments.len() == 1;
                    if is_visibility || self.paths.last().is_some_and(is_single) {
                        self.paths.truncate(known);
                    }
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// The token so many places ahead; empty past the end.
    fn text(&self, ahead: usize) -> &str {
        self.tokens
            .get(self.at + ahead)
            .map_or("", |token| &token.text)
    }

    fn is_word(&self, ahead: usize) -> bool {
        self.tokens
            .get(self.at + ahead)
            .is_some_and(|token| is_word(&token.text))
    }

    /// The token so many places back; empty before the start.
    fn before(&self, back: usize) -> &str {
        let at = self.at.checked_sub(back);
        at.map_or("", |at| &self.tokens[at].text)
    }

    /// Whether the word here goes on from something: a field, a method, or a type's own item.
    fn is_inside_path(&self) -> bool {
        let goes_on = |text: &str| text == ">" || is_word(text);
        match self.before(1) {
            "." => self.before(2) != ".",
            "::" => goes_on(self.before(2)),
            _ => false,
        }
    }

    /// Whether the path here belongs to `pub(in crate::module)`.
    fn is_visibility(&self) -> bool {
        [self.before(3), self.before(2), self.before(1)] == ["pub", "(", "in"]
    }

    fn close_brace(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.inline.last() == Some(&self.depth) {
            self.inline.pop();
            self.module.pop();
        }
    }

    /// At `mod name;` or `mod name {`.
    fn declare_module(&mut self) {
        if !self.is_word(1) {
            return;
        }
        let name = self.text(1).to_owned();
        if self.text(2) == "{" {
            self.inline.push(self.depth);
            self.module.push(name.clone());
        }
        self.declared.push(name);
        self.at += 1;
    }

    /// Reads one path from its next segment on, or each of a group's, and moves past it.
    fn read_path(&mut self, mut segments: Vec<String>) {
        let line = self.tokens[self.at].line;
        loop {
            match self.text(0) {
                "{" => return self.read_group(&segments),
                // `use a::{self}` and `use a::{self as b}` name `a`.
                "self" if !segments.is_empty() => {}
                text => segments.push(text.to_owned()),
            }
            self.at += 1;
            let goes_on = self.is_word(1) || ["{", "*"].contains(&self.text(1));
            if self.text(0) != "::" || !goes_on {
                break;
            }
            self.at += 1;
        }
        let segments = self.resolve(segments);
        self.paths.push(WrittenPath { segments, line });
    }

    /// Reads the paths of `{a, b::{c}}`, each of which goes on from `start`.
    fn read_group(&mut self, start: &[String]) {
        self.at += 1;
        while !["}", ""].contains(&self.text(0)) {
            if self.is_word(0) || ["{", "*"].contains(&self.text(0)) {
                self.read_path(start.to_vec());
            } else {
                self.at += 1;
            }
            if self.text(0) == "as" {
                self.at += 2;
            }
        }
        self.at += 1;
    }

    fn resolve(&self, segments: Vec<String>) -> Vec<String> {
        let supers = segments
            .iter()
            .take_while(|segment| *segment == "super")
            .count();
        let relative = usize::from(segments[0] == "self").max(supers);
        if relative == 0 {
            return segments;
        }
        let kept = self.module.len().saturating_sub(supers).max(1);
        let (start, rest) = (&self.module[..kept], &segments[relative..]);
        start.iter().chain(rest).cloned().collect()
    }
}

/// Whether a token is an identifier or a keyword.
fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first == '_' || first.is_alphabetic())
}
