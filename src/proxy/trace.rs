//! Marks by which a request can be found again in the logs of everyone it passed.

use http::{HeaderMap, HeaderName, HeaderValue};
use rand::RngExt;
use rand::rngs::SmallRng;
use uuid::Builder;

use crate::proxy::postscript::{Draft, Own};

/// Names a request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The place of a request in a trace (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

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
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let id = Builder::from_random_bytes(random.random()).into_uuid();
    id.hyphenated().encode_lower(&mut text);
    let value = ascii(&text);
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
    let (trace, span): (u128, u64) = (random.random(), random.random());
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    // Zero stands for "none", and one bit less of chance is no loss.
    write_hex(&mut text[3..35], trace | 1);
    write_hex(&mut text[36..52], u128::from(span | 1));
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

fn write_hex(out: &mut [u8], mut number: u128) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
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
    use rand::SeedableRng;

    use super::*;

    const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

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
