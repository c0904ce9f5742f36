//! Whatever comes, in whatever pieces: the same goes on, and a head that goes on ends where the
//! parser under hyper says it does, which refuses none that goes on.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serin_fuzz::proxy::framing::{Framing, Refusal, Then};

/// The first bytes say where the others are cut.
const CUTS: usize = 4;

fn pass(pieces: &[&[u8]]) -> (Vec<u8>, Then) {
    let (mut framing, mut held, mut gone) = (Framing::new(), Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let progress = framing.advance(&held);
            gone.extend(held.drain(..progress.passed));
            match progress.then {
                Then::Switch => framing.stay(),
                Then::More => break,
                then => return (gone, then),
            }
        }
    }
    (gone, Then::More)
}

fn check_head(bytes: &[u8], gone: &[u8]) {
    // As many as hyper takes.
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut head = httparse::Request::new(&mut fields);
    let parsed = head.parse(bytes).expect("hyper refuses it");
    let httparse::Status::Complete(end) = parsed else {
        panic!("it ends later");
    };
    let method = head.method.unwrap_or_default();
    assert!(http::Method::from_bytes(method.as_bytes()).is_ok());
    assert!(http::Uri::try_from(head.path.unwrap_or_default()).is_ok());
    let named = |name: &str| {
        let found = head
            .headers
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name));
        found.map(|field| field.value).collect::<Vec<_>>()
    };
    let (lengths, codings) = (named("content-length"), named("transfer-encoding"));
    // What has gone on is the head as hyper sees it, framed in one way.
    assert!(gone.len() >= end, "it ends elsewhere");
    assert!(lengths.len() + codings.len() <= 1, "framed twice");
    if let [length] = lengths[..] {
        let text = std::str::from_utf8(length).unwrap();
        let length: u64 = text.parse().unwrap();
        let body = (bytes.len() - end) as u64;
        assert!(
            gone.len() as u64 >= end as u64 + length.min(body),
            "a body is cut"
        );
    }
    if let [coding] = codings[..] {
        assert!(coding.eq_ignore_ascii_case(b"chunked"));
        assert_eq!(head.version, Some(1));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((cuts, bytes)) = data.split_at_checked(CUTS) else {
        return;
    };
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
    let (whole, then) = pass(&[bytes]);
    let (in_pieces, later) = pass(&pieces);
    assert!(bytes.starts_with(&whole) && bytes.starts_with(&in_pieces));
    let is_to_be_refused = later == Then::More && matches!(then, Then::Refuse(_));
    assert!(then == later || is_to_be_refused, "{then:?} {later:?}");
    if then == Then::Refuse(Refusal::BadChunk) {
        assert!(in_pieces.len() >= whole.len());
    } else {
        assert_eq!(whole, in_pieces);
    }
    if !whole.is_empty() {
        check_head(bytes, &whole);
    }
});
