use proptest::prelude::*;

use super::*;

/// What becomes of bytes that come at once: how many go on, and what is needed then.
fn at_once(bytes: &[u8]) -> (usize, Then) {
    let progress = Framing::new().advance(bytes);
    (progress.passed, progress.then)
}

/// The same where they come in pieces that end at these places.
fn in_pieces(bytes: &[u8], ends: &[usize]) -> (usize, Then) {
    let mut framing = Framing::new();
    let mut passed = 0;
    let mut then = Then::More;
    for end in ends.iter().copied().chain([bytes.len()]) {
        let progress = framing.advance(&bytes[passed..end.max(passed)]);
        passed += progress.passed;
        then = progress.then;
        if then != Then::More {
            break;
        }
    }
    (passed, then)
}

#[test]
fn what_can_be_read_in_one_way_goes_on() {
    for whole in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length:\t 5 \t\r\n\r\nhello\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n000\r\nx: y\r\n\r\n",
        "GET / HTTP/1.1\r\nX-Content-Length: 5\r\nContent-Lengthy: 5\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
        "GET /\u{e9}{}\"?a=`^|#x HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nX_Y.!#$%&'*+-.^_`|~: \ta\tb\u{e9}\r\n\r\n",
    ] {
        assert_eq!(
            at_once(whole.as_bytes()),
            (whole.len(), Then::More),
            "{whole:?}"
        );
    }
}

/// Heads that others may read otherwise, each with why it is refused.
const AMBIGUOUS: &[(&str, Refusal)] = &[
    ("GET / HTTP/1.1\nHost: a\r\n\r\n", Refusal::BareLineEnd),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", Refusal::BareLineEnd),
    ("GET / HTTP/1.1\r\nHost: a\r\n\n", Refusal::BareLineEnd),
    ("\nGET / HTTP/1.1\r\n\r\n", Refusal::BareLineEnd),
    ("GET /\r\n\r\n", Refusal::BadRequestLine),
    (" GET / HTTP/1.1\r\n\r\n", Refusal::BadRequestLine),
    ("GET  HTTP/1.1\r\n\r\n", Refusal::BadRequestLine),
    ("GET / http/1.1\r\n\r\n", Refusal::BadRequestLine),
    ("GET / HTTP/1.1 \r\n\r\n", Refusal::BadRequestLine),
    ("GET / HTTP/1.10\r\n\r\n", Refusal::BadRequestLine),
    ("GET / HTTP/1.2\r\n\r\n", Refusal::BadVersion),
    ("GET / HTTP/3.0\r\n\r\n", Refusal::BadVersion),
    ("G@T / HTTP/1.1\r\n\r\n", Refusal::BadRequestLine),
    ("GET\t/ HTTP/1.1\r\n\r\n", Refusal::BadRequestLine),
    ("GET /a b HTTP/1.1\r\n\r\n", Refusal::BadTarget),
    ("GET /a\tb HTTP/1.1\r\n\r\n", Refusal::BadTarget),
    ("GET /<a> HTTP/1.1\r\n\r\n", Refusal::BadTarget),
    ("GET http:// HTTP/1.1\r\n\r\n", Refusal::BadTarget),
    ("GET /a\rb HTTP/1.1\r\n\r\n", Refusal::BareLineEnd),
    ("GET /\0 HTTP/1.1\r\n\r\n", Refusal::ControlCharacter),
    ("GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", Refusal::BareLineEnd),
    (
        "GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
        Refusal::ControlCharacter,
    ),
    (
        "GET / HTTP/1.1\r\nX: a\x7fb\r\n\r\n",
        Refusal::ControlCharacter,
    ),
    ("GET / HTTP/1.1\r\nX : y\r\n\r\n", Refusal::BadField),
    ("GET / HTTP/1.1\r\nX\r\n\r\n", Refusal::BadField),
    ("GET / HTTP/1.1\r\n: y\r\n\r\n", Refusal::BadField),
    (
        "GET / HTTP/1.1\r\nX-Long-Name(): y\r\n\r\n",
        Refusal::BadField,
    ),
    ("GET / HTTP/1.1\r\nX\u{e9}: y\r\n\r\n", Refusal::BadField),
    ("GET / HTTP/1.1\r\n X: y\r\n\r\n", Refusal::BadField),
    ("GET / HTTP/1.1\r\nX: y\r\n\tz\r\n\r\n", Refusal::BadField),
    (
        "GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        Refusal::BadLength,
    ),
    (
        "GET / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n",
        Refusal::BadLength,
    ),
    (
        "GET / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
        Refusal::BadLength,
    ),
    (
        "GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        Refusal::BadLength,
    ),
    (
        "GET / HTTP/1.1\r\nContent-Length: 5 5\r\n\r\n",
        Refusal::BadLength,
    ),
    (
        "GET / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n",
        Refusal::BadLength,
    ),
    (
        "GET / HTTP/1.1\r\nContent-Length:\r\n\r\n",
        Refusal::BadLength,
    ),
    (
        "GET / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n",
        Refusal::BadLength,
    ),
    (
        "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        Refusal::BadLength,
    ),
    (
        "GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        Refusal::BadEncoding,
    ),
    (
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        Refusal::BadEncoding,
    ),
    (
        "GET / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
        Refusal::BadEncoding,
    ),
    (
        "GET / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
        Refusal::ControlCharacter,
    ),
    (
        "GET / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
        Refusal::BadEncoding,
    ),
    (
        "GET / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n",
        Refusal::BadEncoding,
    ),
    (
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        Refusal::BadEncoding,
    ),
    (
        "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        Refusal::BadEncoding,
    ),
    (
        "GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        Refusal::TwoLengths,
    ),
    (
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-length: 0\r\n\r\n",
        Refusal::TwoLengths,
    ),
];

#[test]
fn what_can_be_read_in_two_ways_does_not() {
    for (head, refusal) in AMBIGUOUS.iter().copied() {
        assert_eq!(
            at_once(head.as_bytes()),
            (0, Then::Refuse(refusal)),
            "{head:?}"
        );
        // A sound one before it is not touched.
        let sound = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
        let both = format!("{sound}{head}");
        let expected = (sound.len(), Then::Refuse(refusal));
        assert_eq!(at_once(both.as_bytes()), expected, "{head:?}");
    }
}

#[test]
fn what_hyper_does_not_see_of_a_target_is_text_too() {
    let refused = (0, Then::Refuse(Refusal::BadTarget));
    assert_eq!(at_once(b"GET /#\xff HTTP/1.1\r\n\r\n"), refused);
    assert_eq!(at_once(b"GET /# HTTP/1.1 HTTP/1.1\r\n\r\n"), refused);
    assert_eq!(at_once(b"GET /\xff HTTP/1.1\r\n\r\n"), refused);
}

#[test]
fn chunks_are_what_they_promise_or_nothing() {
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+1\r\nx\r\n",
        "0x1\r\nx\r\n",
        "1 \r\nx\r\n",
        " 1\r\nx\r\n",
        "1\nx\r\n",
        "1\rx\r\n",
        "1\r\nx\n0\r\n\r\n",
        "1\r\nxy\r\n",
        "1;\n\r\nx\r\n",
        "1;a\x00\r\nx\r\n",
        "1234567890123456\r\n",
        "0\r\n\n",
        "0\r\n x: y\r\n\r\n",
        "0\r\n: y\r\n\r\n",
        "0\r\nx: y\n\r\n",
        "0\r\nx: y\rz\r\n\r\n",
    ] {
        let message = format!("{head}{body}");
        let (_, then) = at_once(message.as_bytes());
        assert_eq!(then, Then::Refuse(Refusal::BadChunk), "{body:?}");
    }
    let endless = format!("{head}1;{}", "a".repeat(10_000));
    assert_eq!(
        at_once(endless.as_bytes()).1,
        Then::Refuse(Refusal::BadChunk)
    );
    let trailer = format!("x: {}\r\n", "y".repeat(1_000));
    let endless = format!("{head}0\r\n{}", trailer.repeat(40));
    assert_eq!(
        at_once(endless.as_bytes()).1,
        Then::Refuse(Refusal::BadChunk)
    );
}

#[test]
fn a_head_has_an_end_to_what_it_may_be() {
    let method = |length| format!("{} / HTTP/1.1\r\n\r\n", "A".repeat(length));
    let target = |length| format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(length));
    let field = |length| format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(length));
    let then = |text: &str| at_once(text.as_bytes()).1;
    assert_eq!(then(&method(64)), Then::More);
    assert_eq!(then(&method(65)), Then::Refuse(Refusal::MethodTooLong));
    assert_eq!(then(&target(16_000)), Then::More);
    assert_eq!(then(&target(17_000)), Then::Refuse(Refusal::TargetTooLong));
    assert_eq!(then(&field(32_000)), Then::More);
    assert_eq!(then(&field(33_000)), Then::Refuse(Refusal::HeadTooLong));
    let fields = |count| format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(count));
    assert_eq!(then(&fields(100)), Then::More);
    assert_eq!(then(&fields(101)), Then::Refuse(Refusal::TooManyFields));
    // Nobody waits for the end of what is too long already.
    assert_eq!(
        then(&"A".repeat(40_000)),
        Then::Refuse(Refusal::MethodTooLong)
    );
    let endless = &target(40_000)[..35_000];
    assert_eq!(then(endless), Then::Refuse(Refusal::TargetTooLong));
    assert_eq!(
        then(&field(40_000)[..35_000]),
        Then::Refuse(Refusal::HeadTooLong)
    );
    assert_eq!(
        then(&"\r\n".repeat(20_000)),
        Then::Refuse(Refusal::BadRequestLine)
    );
}

#[test]
fn what_follows_a_wish_to_switch_waits_for_the_word() {
    let wish = b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
    let hidden = b"GET /two HTTP/1.1\nHost: a\r\n\r\n";
    let both = [&wish[..], &hidden[..]].concat();
    let mut framing = Framing::new();
    let waits = Progress {
        passed: wish.len(),
        then: Then::Switch,
    };
    assert_eq!(framing.advance(&both), waits);
    assert!(framing.awaits_switch());
    framing.stay();
    let refused = Progress {
        passed: 0,
        then: Then::Refuse(Refusal::BareLineEnd),
    };
    assert_eq!(framing.advance(hidden), refused);
}

#[test]
fn http_2_is_known_by_its_preface_at_the_beginning_only() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_eq!(at_once(preface), (0, Then::Http2));
    assert_eq!(in_pieces(preface, &[5, 17]), (0, Then::Http2));
    let agreed = Framing::new().agreed().advance(preface);
    assert_eq!(agreed.then, Then::Refuse(Refusal::BadVersion));
    let first = b"GET / HTTP/1.1\r\n\r\n";
    let later = [&first[..], &preface[..]].concat();
    let refused = Then::Refuse(Refusal::BadVersion);
    assert_eq!(at_once(&later), (first.len(), refused));
}

#[test]
fn http_2_is_known_wherever_its_preface_is_cut() {
    for cut in 0..18 {
        let mut framing = Framing::new();
        assert_eq!(framing.advance(&PREFACE[..cut]).then, Then::More, "{cut}");
        assert_eq!(framing.advance(PREFACE).then, Then::Http2, "{cut}");
    }
    let mut framing = Framing::new();
    assert_eq!(framing.advance(&PREFACE[..16]).then, Then::More);
    let other = [&PREFACE[..16], b"Host: a\r\n\r\n"].concat();
    let refused = Then::Refuse(Refusal::BadVersion);
    assert_eq!(framing.advance(&other).then, refused);
}

/// Lines that mean something to framing, right and wrong, and pieces of bodies.
const PIECES: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a HTTP/1.1\r\n",
    "GET / HTTP/1.0\r\n",
    "GET / HTTP/1.1\n",
    "Host: a\r\n",
    "X: y\r\n",
    "X: y\n",
    " folded\r\n",
    "Content-Length: 3\r\n",
    "content-length: 10\r\n",
    "Content-Length : 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding: gzip\r\n",
    "\r\n",
    "\n",
    "\r",
    "abc",
    "3\r\nabc\r\n",
    "0\r\n\r\n",
    "a",
];

fn messages() -> impl Strategy<Value = Vec<u8>> {
    let pieces = proptest::collection::vec(proptest::sample::select(PIECES), 0..24);
    pieces.prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn it_does_not_matter_in_which_pieces_bytes_come(
        bytes in messages(),
        mut ends in proptest::collection::vec(0..200_usize, 0..8),
    ) {
        ends.iter_mut().for_each(|end| *end = (*end).min(bytes.len()));
        ends.sort_unstable();
        let (whole, pieces) = (at_once(&bytes), in_pieces(&bytes, &ends));
        // A head that comes in pieces is refused once it is whole.
        let is_to_be_refused = pieces.1 == Then::More && matches!(whole.1, Then::Refuse(_));
        prop_assert!(whole.1 == pieces.1 || is_to_be_refused);
        if whole.1 != Then::Refuse(Refusal::BadChunk) {
            prop_assert_eq!(whole.0, pieces.0);
        }
    }

    #[test]
    fn lines_end_at_crlf_and_hold_no_other_control_characters(
        pieces in proptest::collection::vec(proptest::sample::select(
            &["\r\n", "\r\n", "a", "bcd", "\t", "\u{80}", "\u{89}", "~ ", "\0", "\n", "\r", "\x1f", "\x7f"][..]
        ), 0..40),
    ) {
        let text = pieces.concat();
        let mut lines: Vec<_> = text.split("\r\n").collect();
        let rest = lines.pop().unwrap();
        let is_wrong = |line: &str| line.bytes().any(|it| it.is_ascii_control() && it != b'\t');
        let is_refused = lines.iter().any(|line| is_wrong(line))
            || is_wrong(rest.strip_suffix('\r').unwrap_or(rest));
        let found = head::ends(text.as_bytes());
        prop_assert_eq!(found.is_err(), is_refused);
        if let Ok(ends) = found {
            let expected: Vec<_> = text.match_indices("\r\n").map(|(at, _)| at + 2).collect();
            prop_assert_eq!(ends, expected);
        }
    }

    #[test]
    fn names_are_tokens_up_to_their_colon(name in "[ -~\u{80}-\u{ff}]{0,20}") {
        let head = format!("GET / HTTP/1.1\r\n{name}: x\r\n\r\n");
        let name = name.split(':').next().unwrap();
        let is_token = http::HeaderName::from_bytes(name.as_bytes()).is_ok();
        prop_assert_eq!(at_once(head.as_bytes()).1 == Then::More, is_token, "{:?}", head);
    }

    #[test]
    fn targets_are_what_hyper_takes_for_one(target in "[!-~\u{80}-\u{ff}]{1,20}", slash: bool) {
        let target = if slash { format!("/{target}") } else { target };
        let head = format!("GET {target} HTTP/1.1\r\n\r\n");
        let is_target = http::Uri::try_from(target.as_bytes()).is_ok();
        prop_assert_eq!(at_once(head.as_bytes()).1 == Then::More, is_target, "{:?}", head);
    }

    #[test]
    fn any_bytes_come_to_something(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (passed, _) = at_once(&bytes);
        prop_assert!(passed <= bytes.len());
    }
}

/// The bytes of a frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags, 0, 0, 0, stream]].concat();
    [&head, payload].concat()
}

/// What becomes of the bytes of a connection that come in pieces that end at these places.
fn frames_in_pieces(bytes: &[u8], ends: &[usize]) -> Vec<u8> {
    let (mut frames, mut held, mut gone) = (frames::Frames::new(), Vec::new(), Vec::new());
    let mut from = 0;
    for end in ends.iter().copied().chain([bytes.len()]) {
        held.extend_from_slice(&bytes[from..end]);
        from = end;
        let passed = frames.advance(&mut held);
        gone.extend(held.drain(..passed));
    }
    gone
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn many_frames() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        // A path of the table, one written out, and a field that is not of their kind.
        Just(vec![0x84]),
        Just(b"\x00\x05:path\x01/".to_vec()),
        Just(b"\x00\x01x\x01y".to_vec()),
    ];
    let one = (0..10_u8, any::<u8>(), 0..6_u8, payload);
    let frames = proptest::collection::vec(one, 0..12);
    frames.prop_map(|frames| {
        let bytes = frames
            .iter()
            .flat_map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, payload));
        let beginning = [PREFACE, &frame(4, 0, 0, b"")].concat();
        beginning.into_iter().chain(bytes).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn it_does_not_matter_in_which_pieces_frames_come(
        bytes in many_frames(),
        mut ends in proptest::collection::vec(0..600_usize, 0..8),
    ) {
        ends.iter_mut().for_each(|end| *end = (*end).min(bytes.len()));
        ends.sort_unstable();
        let whole = frames_in_pieces(&bytes, &[]);
        prop_assert_eq!(&whole, &frames_in_pieces(&bytes, &ends));
        // Nothing but one flag of heads changes.
        prop_assert!(whole.len() <= bytes.len() && bytes.len() - whole.len() < 9);
        let changed = whole.iter().zip(&bytes).filter(|(after, before)| after != before);
        prop_assert!(changed.into_iter().all(|(after, before)| *after == before & !1));
    }

    #[test]
    fn any_bytes_are_frames_to_it(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        frames_in_pieces(&bytes, &[]);
    }
}

#[test]
fn a_connection_begins_with_settings_or_with_what_ends_it() {
    let kinds = |frames: &[Vec<u8>]| {
        let all = [PREFACE, &frames.concat()].concat();
        let after = frames_in_pieces(&all, &[20, 30, 33]);
        let mut at = PREFACE.len();
        let heads = frames.iter().map(|frame| {
            let kind = after[at + 3];
            at += frame.len();
            kind
        });
        heads.collect::<Vec<_>>()
    };
    let (settings, head) = (frame(4, 0, 0, b""), frame(1, 5, 1, b"\x82"));
    assert_eq!(kinds(&[settings.clone(), head.clone()]), [4, 1]);
    assert_eq!(kinds(&[head, settings]), [5, 4]);
}

#[test]
fn trailers_with_a_pseudo_field_do_not_end_their_stream() {
    let open = frame(1, 0x4, 1, b"\x82");
    let ended = frame(1, 0x5, 1, b"\x82");
    let last = |frames: &[Vec<u8>]| {
        let all = [PREFACE, &frames.concat()].concat();
        let after = frames_in_pieces(&all, &[]);
        let at = after.len() - frames.last().unwrap().len();
        after[at + 4]
    };
    for block in [
        &b"\x84"[..],
        b"\x20\x84",
        b"\x00\x05:path\x01/",
        b"\x10\x05:path\x01/",
        b"\x40\x05:path\x01/",
        b"\x00\x01x\x01y\x44\x01/",
        // In Huffman's code.
        b"\x00\x84\xb9\x58\xd3\x3f\x01/",
    ] {
        assert_eq!(
            last(&[open.clone(), frame(1, 0x5, 1, block)]),
            0x4,
            "{block:?}"
        );
        let padded = [&[2, 0, 0, 0, 3, 9][..], block, &[0, 0]].concat();
        assert_eq!(
            last(&[open.clone(), frame(1, 0x2d, 1, &padded)]),
            0x2c,
            "{block:?}"
        );
        // What is no trailers stays as it is.
        assert_eq!(last(&[frame(1, 0x5, 1, block)]), 0x5, "{block:?}");
        assert_eq!(
            last(&[ended.clone(), frame(1, 0x5, 1, block)]),
            0x5,
            "{block:?}"
        );
        let reset = frame(3, 0, 1, &[0, 0, 0, 8]);
        assert_eq!(
            last(&[open.clone(), reset, frame(1, 0x5, 1, block)]),
            0x5,
            "{block:?}"
        );
    }
    let sound = frame(1, 0x5, 1, b"\x00\x01x\x05:path");
    assert_eq!(last(&[open, sound]), 0x5);
}
