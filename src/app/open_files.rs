//! How many files the process may have open, each connection being one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::ListenerLimits;

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

/// What clients of a listener may take up, where that may be less for want of files.
pub(super) fn within(limits: ListenerLimits) -> ListenerLimits {
    ListenerLimits {
        connections: room(limits.connections, raise()),
        ..limits
    }
}

/// How many connections there may be, of so many that are wanted. A quarter of all files is left for
/// backends and everything else, so that whoever is let in can be served.
fn room(wanted: usize, files: Option<u64>) -> usize {
    let Some(files) = files.and_then(|files| usize::try_from(files).ok()) else {
        return wanted;
    };
    let most = (files / 4 * 3).max(1);
    if most < wanted {
        tracing::warn!(
            connections = most,
            wanted,
            open_files = files,
            "a listener takes fewer connections than its limit, for few files may be open"
        );
    }
    wanted.min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_is_left_and_nobody_gets_more_than_is_wanted() {
        assert_eq!(room(20_000, None), 20_000);
        assert_eq!(room(20_000, Some(1_048_576)), 20_000);
        assert_eq!(room(20_000, Some(1024)), 768);
        assert_eq!(room(100, Some(1024)), 100);
        assert_eq!(room(100, Some(1)), 1);
    }

    #[test]
    fn as_many_are_open_as_may_be() {
        let limit = raise();
        assert_eq!(getrlimit(Resource::Nofile).current, limit);
        assert_eq!(raise(), limit);
    }
}
