//! Reads the configuration file and the files it names, and watches all of them.

mod places;
mod usable;
mod watch;

use std::cell::RefCell;
use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use crate::config::{self, Change, Config, ConfigErrors, Diff};
use crate::domain::secret::HIDDEN;

pub use self::watch::{ConfigWatch, Pace};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// The file cannot be read.
    #[error("cannot read `{}`", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it says is wrong.
    #[error("{}", .errors.display(.path))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All that is wrong.
        errors: ConfigErrors,
        /// The file and those it names: a change of one of them may put it right.
        files: Vec<LoadedFile>,
    },
}

impl ConfigFileError {
    /// The files whose change may put it right.
    pub fn files(&self) -> Vec<LoadedFile> {
        match self {
            Self::Unreadable { path, .. } => vec![LoadedFile::missing(path.clone())],
            Self::Invalid { files, .. } => files.clone(),
        }
    }
}

/// A configuration with what it was read from.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    /// The file's text, as it is written.
    pub text: String,
    /// What it means.
    pub config: Config,
    /// The file itself, then the files it names, in the order they were read.
    pub files: Vec<LoadedFile>,
}

impl LoadedConfig {
    /// What the configuration means, and where it comes from.
    pub fn split(self, path: &Path) -> (Config, Source) {
        let source = Source {
            path: path.to_owned(),
            text: self.text,
            files: self.files,
        };
        (self.config, source)
    }
}

/// Where a configuration comes from, to be read again and compared.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// What it said.
    pub text: String,
    /// The file itself, then the files it names, in the order they were read.
    pub files: Vec<LoadedFile>,
}

impl Source {
    /// What is different from another one: in the texts, and whether files that both name hold
    /// something else.
    pub fn diff_from(&self, old: &Self) -> Diff {
        let mut diff = config::diff(&old.text, &self.text);
        let before: Vec<_> = old.named().collect();
        for (name, file) in self.named() {
            let was = before.iter().find(|(known, _)| *known == name);
            if was.is_some_and(|(_, was)| was.content != file.content) {
                // A name that is not written as it is came from the environment.
                let shown = name.to_str().filter(|name| self.text.contains(*name));
                diff.add(Change {
                    path: shown.unwrap_or(HIDDEN).to_owned(),
                    before: None,
                    after: None,
                    note: Some("the file holds something else".to_owned()),
                });
            }
        }
        diff
    }

    /// The files that the configuration names, by their names as they are written.
    fn named(&self) -> impl Iterator<Item = (&Path, &LoadedFile)> {
        let folder = self.files.first().and_then(|file| file.path.parent());
        let folder = folder.unwrap_or_else(|| Path::new(""));
        self.files.iter().skip(1).map(move |file| {
            let name = file.path.strip_prefix(folder).unwrap_or(&file.path);
            (name, file)
        })
    }
}

/// A file, and what was in it when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedFile {
    /// Where it is; relative paths of the configuration are resolved.
    pub path: PathBuf,
    /// None where it could not be read.
    content: Option<Fingerprint>,
}

/// The length of a text and a hash of it: enough to see that it has changed, and nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint(u64, u64);

impl LoadedFile {
    fn of(path: PathBuf, text: &io::Result<String>) -> Self {
        let content = text
            .as_ref()
            .ok()
            .map(|text| Fingerprint::of(text.as_bytes()));
        Self { path, content }
    }

    const fn missing(path: PathBuf) -> Self {
        Self {
            path,
            content: None,
        }
    }

    /// Reads the file again.
    fn now(&self) -> Self {
        let content = fs::read(&self.path).ok();
        Self {
            path: self.path.clone(),
            content: content.as_deref().map(Fingerprint::of),
        }
    }
}

impl Fingerprint {
    fn of(content: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(content);
        Self(content.len() as u64, hasher.finish())
    }
}

/// Reads a configuration file. Files that it names are looked for beside it, variables in the
/// environment of the process.
///
/// # Errors
/// When it cannot be read, is not UTF-8, or what it says is wrong.
pub fn read(path: &Path) -> Result<LoadedConfig, ConfigFileError> {
    let unreadable = |source| ConfigFileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let read = fs::read_to_string(path);
    let files = RefCell::new(vec![LoadedFile::of(path.to_owned(), &read)]);
    let text = read.map_err(unreadable)?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let read_beside = |named: &Path| {
        let path = folder.join(named);
        let text = fs::read_to_string(&path);
        let mut files = files.borrow_mut();
        // A file that two keys name is read twice.
        files.retain(|file| file.path != path);
        files.push(LoadedFile::of(path, &text));
        text
    };
    let parsed = config::parse(&text, &read_beside, &|name| env::var(name));
    let files = files.into_inner();
    let usable = parsed.and_then(|config| {
        let objections = usable::objections(&config);
        match objections.is_empty() {
            true => Ok(config),
            false => Err(config::object(&text, &objections)),
        }
    });
    match usable {
        Ok(config) => Ok(LoadedConfig {
            text,
            config,
            files,
        }),
        Err(errors) => Err(ConfigFileError::Invalid {
            path: path.to_owned(),
            errors,
            files,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "listeners: [{ address: 127.0.0.1:0 }]\nbackends: { a: http://a }\n\
                          groups: { g: { callers_file: g.txt }, h: { callers_file: g.txt } }\n\
                          routes: [{ path: /, backend: a }]\n";

    fn names(files: &[LoadedFile]) -> Vec<&str> {
        files
            .iter()
            .filter_map(|file| file.path.file_name()?.to_str())
            .collect()
    }

    #[test]
    fn what_was_read_is_listed_whether_it_was_right_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serin.yaml");
        let error = read(&path).unwrap_err();
        assert_eq!(names(&error.files()), ["serin.yaml"]);

        fs::write(&path, CONFIG).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.to_string().contains("cannot read `g.txt`"), "{error}");
        let files = error.files();
        assert_eq!(names(&files), ["serin.yaml", "g.txt"]);

        fs::write(folder.path().join("g.txt"), "ann\n").unwrap();
        assert_ne!(files[1].now(), files[1], "it is there now");
        let loaded = read(&path).unwrap();
        assert_eq!(loaded.text, CONFIG);
        assert_eq!(loaded.config.groups.iter().count(), 2);
        assert_eq!(names(&loaded.files), ["serin.yaml", "g.txt"]);
        assert!(loaded.files.iter().all(|file| file.now() == *file));
    }
}
