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

/// Has clients of listeners take up less where that has to be for want of files.
pub(super) fn fit<'a>(limits: impl Iterator<Item = &'a mut ListenerLimits>) {
    let limits: Vec<_> = limits.collect();
    let wanted: Vec<_> = limits.iter().map(|limits| limits.connections).collect();
    let rooms = rooms(&wanted, raise());
    for (limits, connections) in limits.into_iter().zip(rooms) {
        limits.connections = connections;
    }
}

/// How many connections there may be at each listener, of so many that are wanted. A quarter of all files
/// is left for backends and everything else, so that whoever is let in can be served; each listener has
/// its part of the others, as it wants more or less.
fn rooms(wanted: &[usize], files: Option<u64>) -> Vec<usize> {
    let all: usize = wanted.iter().sum();
    let most = files
        .and_then(|files| usize::try_from(files).ok())
        .map_or(all, |files| files / 4 * 3);
    if most >= all {
        return wanted.to_vec();
    }
    tracing::warn!(
        connections = most,
        wanted = all,
        open_files = files,
        "listeners take fewer connections than their limits, for few files may be open"
    );
    let part = |wanted: &usize| (wanted.saturating_mul(most) / all).max(1);
    wanted.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_is_left_and_nobody_gets_more_than_is_wanted() {
        assert_eq!(rooms(&[20_000], None), [20_000]);
        assert_eq!(rooms(&[20_000], Some(1_048_576)), [20_000]);
        assert_eq!(rooms(&[20_000], Some(1024)), [768]);
        assert_eq!(rooms(&[100], Some(1024)), [100]);
        assert_eq!(rooms(&[100], Some(1)), [1]);
        assert_eq!(rooms(&[20_000, 10_000], Some(1024)), [512, 256]);
        assert_eq!(rooms(&[500, 200], Some(1024)), [500, 200]);
    }

    #[test]
    fn as_many_are_open_as_may_be() {
        let limit = raise();
        assert_eq!(getrlimit(Resource::Nofile).current, limit);
        assert_eq!(raise(), limit);
    }
}
