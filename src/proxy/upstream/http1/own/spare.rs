//! The buffer that a worker's answers are read into, one after the other.
//!
//! Most answers are read, passed on and forgotten in one go, so one buffer does for all of them, and stays in the
//! processor's caches. An allocator hands out pieces of this size in turn, and goes a long way for each.

use std::cell::Cell;

use bytes::BytesMut;

use crate::proxy::upstream::codec::BUFFER_BYTES_MAX;

thread_local! {
    /// What was read into last. Parts of it may be in use still.
    static SPARE: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// An empty buffer, with room for so many bytes.
pub(super) fn take(bytes: usize) -> BytesMut {
    let mut spare = SPARE.take().unwrap_or_default();
    if spare.try_reclaim(bytes) {
        return spare;
    }
    BytesMut::with_capacity(bytes)
}

/// Has a buffer that was read into used again, once nobody uses what was read.
pub(super) fn give_back(mut buffer: BytesMut) {
    buffer.clear();
    // One that was never read into has none, and a large one is not kept for small answers.
    if (1..=BUFFER_BYTES_MAX).contains(&buffer.capacity()) {
        SPARE.set(Some(buffer));
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    #[test]
    fn a_buffer_is_used_again_once_nobody_uses_what_was_in_it() {
        let mut first = take(4096);
        let place = first.as_ptr();
        first.put_bytes(b'a', 100);
        let read = first.split_to(60).freeze();
        give_back(first);

        let second = take(4096);
        assert_ne!(second.as_ptr(), place, "what was read is in use");
        assert_eq!(read, [b'a'; 60][..]);

        let place = second.as_ptr();
        give_back(second);
        let third = take(4096);
        assert_eq!((third.as_ptr(), third.len()), (place, 0));
        assert!(third.capacity() >= 4096);
    }

    #[test]
    fn one_that_is_too_small_or_too_large_or_empty_is_not() {
        give_back(take(16));
        assert!(take(4096).capacity() >= 4096);
        give_back(take(BUFFER_BYTES_MAX * 4));
        give_back(BytesMut::new());
        assert!(take(16).capacity() < BUFFER_BYTES_MAX);
    }
}
