//! Where what outlives the process is kept.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::document::StateDocument;

/// The folder of Serin below the one that a user keeps state in.
const FOLDER: &str = "serin";

/// Where what outlives the process is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateConfig {
    /// The folder, as it is written: a relative one is the caller's to resolve. `None` for the
    /// one that the environment suggests, see [`default_folder`].
    pub path: Option<PathBuf>,
}

/// Understands `state`.
pub(super) fn state(document: &StateDocument) -> StateConfig {
    let path = document.path.as_ref();
    StateConfig {
        path: path.map(|written| PathBuf::from(&written.value.0)),
    }
}

/// The folder for state that the environment suggests; `None` where it suggests nothing.
///
/// It is the first of `$STATE_DIRECTORY` (systemd sets it to the unit's own folders, separated by
/// colons; the first counts), `$XDG_STATE_HOME/serin` and `$HOME/.local/state/serin` (XDG Base
/// Directory Specification 0.8) that is set to an absolute path; that specification wants
/// relative ones to be ignored. `variable` gives the value of a variable of the environment.
pub fn default_folder(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = PathBuf::from(variable(name)?);
        path.is_absolute().then_some(path)
    };
    let of_unit = || {
        let listed = variable("STATE_DIRECTORY")?;
        let first = first_listed(&listed);
        first.is_absolute().then_some(first)
    };
    of_unit()
        .or_else(|| Some(absolute("XDG_STATE_HOME")?.join(FOLDER)))
        .or_else(|| {
            Some(
                absolute("HOME")?
                    .join(Path::new(".local/state"))
                    .join(FOLDER),
            )
        })
}

/// The first path of a list separated by colons.
fn first_listed(listed: &OsString) -> PathBuf {
    std::env::split_paths(listed).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_in(environment: &[(&str, &str)]) -> Option<PathBuf> {
        default_folder(&|name| {
            let found = environment.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_folder_of_the_unit_comes_before_those_of_the_user() {
        let all = [
            ("STATE_DIRECTORY", "/var/lib/serin:/var/lib/other"),
            ("XDG_STATE_HOME", "/x"),
            ("HOME", "/home/op"),
        ];
        let expected = ["/var/lib/serin", "/x/serin", "/home/op/.local/state/serin"];
        for (set, expected) in expected.into_iter().enumerate() {
            assert_eq!(folder_in(&all[set..]), Some(PathBuf::from(expected)));
        }
        assert_eq!(folder_in(&[]), None);
    }

    #[test]
    fn relative_and_empty_paths_of_the_environment_are_passed_over() {
        let odd = [
            ("STATE_DIRECTORY", ""),
            ("XDG_STATE_HOME", "state"),
            ("HOME", "/root"),
        ];
        let folder = folder_in(&odd);
        assert_eq!(folder, Some(PathBuf::from("/root/.local/state/serin")));
    }
}
