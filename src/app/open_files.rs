//! How many files the process may have open, each connection being one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets the process open as many files as the system lets it, and tells how many those are; none where
/// there is no limit. Shells start programs with 1024, for the sake of some that cannot do with more.
fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if current != maximum && setrlimit(Resource::Nofile, raised).is_ok() {
        return maximum;
    }
    current
}

/// How many connections of clients there may be at all, of so many that listeners want at the most.
pub(super) fn room(wanted: usize) -> usize {
    let files = raise().and_then(|files| usize::try_from(files).ok());
    let most = files.map_or(usize::MAX, most);
    if most < wanted {
        tracing::warn!(
            connections = most,
            wanted,
            open_files = files,
            "a listener takes fewer connections than its limit, for few files may be open"
        );
    }
    most
}

/// A quarter of all files is left for backends and everything else, so that whoever is let in can be
/// served.
fn most(files: usize) -> usize {
    (files / 4 * 3).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_is_left() {
        assert_eq!(most(1024), 768);
        assert_eq!(most(1), 1);
    }

    #[test]
    fn as_many_are_open_as_may_be() {
        let limit = raise();
        assert_eq!(getrlimit(Resource::Nofile).current, limit);
        assert_eq!(raise(), limit);
    }
}
