//! Marks by which a request can be found again in the logs of everyone it passed.

use http::{HeaderMap, HeaderName, HeaderValue};
use rand::RngExt;
use rand::rngs::SmallRng;

use crate::proxy::postscript::{Draft, Own};

/// Names a request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static(Own::RequestId.as_str());

/// The place of a request in a trace (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static(Own::Traceparent.as_str());

/// The longest foreign request id that is passed on, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Gives a request an id, unless a trusted peer has given it one, and returns it.
pub(crate) fn set_request_id(
    draft: &mut Draft<'_>,
    is_trusted: bool,
    random: &mut SmallRng,
) -> HeaderValue {
    if is_trusted
        && let Some(known) = draft.get(Own::RequestId)
        && is_plain_id(known.as_bytes())
    {
        let known = known.clone();
        // Of several the first is used, and only that.
        draft.set(Own::RequestId, known.clone());
        return known;
    }
    let value = ascii(&uuid(random.random(), random.random()));
    draft.set(Own::RequestId, value.clone());
    value
}

/// Letters, digits and a few marks: safe in any log and in JSON.
fn is_plain_id(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(is_plain)
}

/// Passes a trace on, or begins one where there is none.
///
/// Serin adds no span of its own, so a valid `traceparent` goes on unchanged. A new one is not
/// marked as sampled: nobody has asked for a recording.
pub(crate) fn set_traceparent(draft: &mut Draft<'_>, random: &mut SmallRng) {
    if draft.brings(Own::Traceparent) && is_traced(draft.fields()) {
        return;
    }
    // State belongs to the trace it came with.
    draft.remove(Own::Tracestate);
    let [trace, rest, span]: [u64; 3] = random.random();
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    text[3..19].copy_from_slice(&digits(trace));
    // Zero stands for "none", and one bit less of chance is no loss.
    text[19..35].copy_from_slice(&digits(rest | 1));
    text[36..52].copy_from_slice(&digits(span | 1));
    draft.set(Own::Traceparent, ascii(&text));
}

/// Whether fields say one place in a trace, and a valid one.
fn is_traced(fields: &HeaderMap) -> bool {
    let mut places = fields.get_all(&TRACEPARENT).iter();
    let first = places.next();
    first.is_some_and(|place| is_traceparent(place.as_bytes())) && places.next().is_none()
}

/// The id of the trace that a request is part of, once it has one.
pub(crate) fn trace_id(draft: &Draft<'_>) -> Option<[u8; 32]> {
    let field = draft.get(Own::Traceparent)?.as_bytes();
    field.get(3..35)?.try_into().ok()
}

/// A random identifier of version 4 (RFC 9562, section 5.4), of two random numbers.
fn uuid(high: u64, low: u64) -> [u8; 36] {
    let high = digits(high & !0xf000 | 0x4000);
    let low = digits(low & (u64::MAX >> 2) | 1 << 63);
    let mut text = [b'-'; 36];
    text[..8].copy_from_slice(&high[..8]);
    text[9..13].copy_from_slice(&high[8..12]);
    text[14..18].copy_from_slice(&high[12..]);
    text[19..23].copy_from_slice(&low[..4]);
    text[24..].copy_from_slice(&low[4..]);
    text
}

/// A number in sixteen hexadecimal digits.
fn digits(number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    let (first, last) = digits.split_at_mut(8);
    first.copy_from_slice(&eight_digits(number >> 32).to_be_bytes());
    last.copy_from_slice(&eight_digits(number & 0xffff_ffff).to_be_bytes());
    digits
}

/// The digits of 32 bits, one in each byte. All at once, for each request has ten times eight of them; what that spares
/// is measured in `benches/README.md`.
const fn eight_digits(number: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let halves = (number | number << 16) & 0x0000_ffff_0000_ffff;
    let bytes = (halves | halves << 8) & 0x00ff_00ff_00ff_00ff;
    let values = (bytes | bytes << 4) & (ONES * 0x0f);
    // Six more than a value above nine are more than four bits can hold.
    let letters = ((values + ONES * 6) >> 4) & ONES;
    values + ONES * b'0' as u64 + letters * (b'a' - b'0' - 10) as u64
}

fn ascii(text: &[u8]) -> HeaderValue {
    // Only called with digits, letters and hyphens, which are always a header value.
    HeaderValue::from_bytes(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Version 00, or a later one that begins alike (W3C Trace Context, section 3.2).
fn is_traceparent(field: &[u8]) -> bool {
    let is_hex = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_set = |part: &[u8]| is_hex(part) && part.iter().any(|digit| *digit != b'0');
    let has_shape = field.len() >= 55
        && [2, 35, 52].iter().all(|place| field[*place] == b'-')
        && is_hex(&field[..2])
        && is_set(&field[3..35])
        && is_set(&field[36..52])
        && is_hex(&field[53..55]);
    let is_version_0 = field.starts_with(b"00");
    has_shape
        && !field.starts_with(b"ff")
        && if is_version_0 {
            field.len() == 55
        } else {
            true
        }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    const TRACESTATE: HeaderName = HeaderName::from_static(Own::Tracestate.as_str());

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn traced(fields: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(TRACESTATE, HeaderValue::from_static("vendor=1"));
        for field in fields {
            headers.append(TRACEPARENT, HeaderValue::from_static(field));
        }
        let mut draft = Draft::of(&mut headers);
        set_traceparent(&mut draft, &mut SmallRng::seed_from_u64(1));
        draft.finish().put(&mut headers);
        headers
    }

    #[test]
    fn a_valid_trace_goes_on_unchanged() {
        let headers = traced(&[VALID]);
        assert_eq!(headers[TRACEPARENT], VALID);
        assert_eq!(headers[TRACESTATE], "vendor=1");
    }

    #[test]
    fn anything_else_becomes_a_new_trace_without_the_old_state() {
        for fields in [
            &[][..],
            &[VALID, VALID],
            &["nonsense"],
            &["00-00000000000000000000000000000000-00f067aa0ba902b7-01"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"],
            &["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"],
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"],
            &["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
        ] {
            let headers = traced(fields);
            let field = headers[TRACEPARENT].as_bytes();
            assert!(
                is_traceparent(field) && field != VALID.as_bytes(),
                "{fields:?}"
            );
            assert_eq!(headers.get_all(TRACEPARENT).iter().count(), 1);
            assert!(!headers.contains_key(TRACESTATE));
        }
    }

    proptest! {
        #[test]
        fn digits_are_those_of_the_number(number: u64) {
            let text = format!("{number:016x}");
            prop_assert_eq!(&digits(number)[..], text.as_bytes());
        }

        #[test]
        fn an_id_says_of_what_kind_it_is(high: u64, low: u64) {
            let id = String::from_utf8(uuid(high, low).to_vec()).unwrap();
            let parts: Vec<_> = id.split('-').map(str::len).collect();
            prop_assert_eq!(parts, [8, 4, 4, 4, 12]);
            let number = u128::from_str_radix(&id.replace('-', ""), 16).unwrap();
            prop_assert_eq!((number >> 76 & 0xf, number >> 62 & 3), (4, 2));
            // All other bits are those it was given.
            let given = (u128::from(high) << 64 | u128::from(low)) ^ number;
            prop_assert_eq!(given & !(0xf << 76 | 3 << 62), 0);
        }
    }

    #[test]
    fn only_a_trusted_peer_names_a_request_and_only_plainly() {
        let mut random = SmallRng::seed_from_u64(1);
        let mut id = |text: &'static str, is_trusted| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static(text));
            let mut draft = Draft::of(&mut headers);
            let id = set_request_id(&mut draft, is_trusted, &mut random);
            draft.finish().put(&mut headers);
            assert_eq!(headers[REQUEST_ID], id);
            id == text
        };
        assert!(id("from-the-edge-7", true));
        assert!(!id("from-the-edge-7", false));
        assert!(!id("with \"quotes\"", true));
        assert!(!id("", true));
    }
}
