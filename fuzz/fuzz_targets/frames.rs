//! Whatever comes, in whatever pieces: the same goes on, and nothing of it has changed but the flag
//! that ends a stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serin_fuzz::proxy::framing::frames::Frames;

/// The first bytes say where the others are cut.
const CUTS: usize = 4;

fn pass(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut frames, mut held, mut gone) = (Frames::new(), Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        let passed = frames.advance(&mut held);
        gone.extend(held.drain(..passed));
    }
    gone
}

fuzz_target!(|data: &[u8]| {
    let Some((cuts, bytes)) = data.split_at_checked(CUTS) else {
        return;
    };
    // With settings behind it, without which a connection is ended.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let bytes = [&preface[..], bytes].concat();
    let mut cuts: Vec<_> = cuts
        .iter()
        .map(|cut| usize::from(*cut).min(bytes.len()))
        .collect();
    cuts.sort_unstable();
    let mut from = 0;
    let mut pieces: Vec<_> = Vec::new();
    for cut in cuts.into_iter().chain([bytes.len()]) {
        pieces.push(&bytes[from..cut]);
        from = cut;
    }
    let whole = pass(&[&bytes]);
    assert_eq!(whole, pass(&pieces));
    let mut both = whole.iter().zip(&bytes);
    assert!(both.all(|(after, before)| after == before || *after == before & !1));
});
