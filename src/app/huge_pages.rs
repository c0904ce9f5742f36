//! In pages of which size the process has its memory.

use rustix::thread::disable_transparent_huge_pages;

/// Has all memory in small pages. The system clears a huge one, 2 MiB, while whoever touches it first waits:
/// where that was a worker, in the table of a rollout's callers, every request waited with it, for 35 ms on a virtual
/// machine. Requests take no less time with huge pages (`benches/README.md`).
pub(super) fn do_without() {
    if let Err(error) = disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "memory may be in huge pages");
    }
}

#[cfg(test)]
mod tests {
    use rustix::thread::transparent_huge_pages_are_disabled;

    use super::*;

    #[test]
    fn pages_are_small() {
        do_without();
        assert_eq!(transparent_huge_pages_are_disabled(), Ok(true));
    }
}
