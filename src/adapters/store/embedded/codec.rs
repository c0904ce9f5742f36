//! How a point of history is written: numbers of variable length, empty buckets left out.
//!
//! A busy point of one group takes a few hundred bytes, a tenth of what it takes as JSON. The
//! form stands here and not in derives of the domain's types, so that those can change without
//! making old points unreadable.

use std::time::Duration;

use crate::control::ports::HistoryPoint;
use crate::domain::evidence::{
    ArmCounts, ContentTypeCounts, Failure, FailureCounts, LatencyHistogram, SizeCounts, Stratum,
    TickCounts,
};
use crate::domain::ids::FlagName;
use crate::domain::variant::PerVariant;
use crate::domain::weight::Weight;

/// The first byte: which form the others have.
const FORM: u8 = 2;

/// The form before sizes, content types, ratings, and callers apart from requests drawn anew.
const FIRST_FORM: u8 = 1;

/// Bits of a number in each byte; the last bit says that more follow (LEB128, unsigned).
const BITS: u32 = 7;
const MORE: u8 = 1 << BITS;

/// Writes a point, without its flag and moment, which are its key.
pub(super) fn encode(point: &HistoryPoint) -> Vec<u8> {
    let mut bytes = vec![FORM];
    put(&mut bytes, point.span_seconds.into());
    put_text(&mut bytes, &point.phase);
    put(&mut bytes, point.stage as u64);
    let strata = point.counts.strata();
    put(&mut bytes, strata.len() as u64);
    for stratum in strata {
        put_text(
            &mut bytes,
            stratum.group.as_ref().map_or("", |name| name.as_str()),
        );
        put(&mut bytes, stratum.epoch);
        put(&mut bytes, stratum.weight.basis_points().into());
        put(&mut bytes, stratum.is_keyed.into());
        put_arm(&mut bytes, &stratum.arms.stable);
        put_arm(&mut bytes, &stratum.arms.canary);
    }
    bytes
}

/// Reads a point; `None` for bytes that are none.
pub(super) fn decode(flag: &FlagName, at_unix_ms: u64, bytes: &[u8]) -> Option<HistoryPoint> {
    let (form, bytes) = bytes.split_first()?;
    let is_first_form = *form == FIRST_FORM;
    let mut rest = (*form == FORM || is_first_form).then_some(bytes)?;
    let rest = &mut rest;
    let take_arm = if is_first_form {
        take_first_arm
    } else {
        take_arm
    };
    let span_seconds = u32::try_from(take(rest)?).ok()?;
    let phase = take_text(rest)?.to_owned();
    let stage = usize::try_from(take(rest)?).ok()?;
    let mut counts = TickCounts::default();
    for _ in 0..take(rest)? {
        let group = match take_text(rest)? {
            "" => None,
            name => Some(name.parse().ok()?),
        };
        let epoch = take(rest)?;
        let weight = Weight::from_basis_points(u16::try_from(take(rest)?).ok()?)?;
        let is_keyed = is_first_form || take(rest)? != 0;
        let arms = PerVariant {
            stable: take_arm(rest)?,
            canary: take_arm(rest)?,
        };
        let stratum = Stratum {
            is_keyed,
            arms,
            ..Stratum::empty(group, epoch, weight)
        };
        counts.add(stratum);
    }
    Some(HistoryPoint {
        flag: flag.clone(),
        at_unix_ms,
        span_seconds,
        phase,
        stage,
        counts,
    })
}

fn put_arm(bytes: &mut Vec<u8>, arm: &ArmCounts) {
    put(bytes, arm.requests);
    put(bytes, Failure::ALL.len() as u64);
    for failure in Failure::ALL {
        put(bytes, arm.failures.of(failure));
    }
    put(bytes, arm.client_errors);
    put(bytes, arm.too_many_requests);
    put(bytes, arm.refused_connects);
    let sum = u64::try_from(arm.latency.sum().as_micros()).unwrap_or(u64::MAX);
    put(bytes, sum);
    put_filled(bytes, arm.latency.filled());
    put_filled(bytes, arm.sizes.filled());
    put_filled(bytes, arm.content_types.filled());
    let ratings = arm.ratings.iter().copied().enumerate();
    put_filled(bytes, ratings.filter(|(_, count)| *count > 0));
}

/// Writes the places that hold anything, each as the distance from the one before, with their counts.
fn put_filled(bytes: &mut Vec<u8>, filled: impl Iterator<Item = (usize, u64)>) {
    let filled: Vec<_> = filled.collect();
    put(bytes, filled.len() as u64);
    let mut last = 0;
    for (place, count) in filled {
        put(bytes, (place - last) as u64);
        put(bytes, count);
        last = place;
    }
}

fn take_arm(rest: &mut &[u8]) -> Option<ArmCounts> {
    let first = take_first_arm(rest)?;
    let sizes = SizeCounts::from_counts(take_filled(rest)?);
    Some(ArmCounts {
        sizes,
        content_types: ContentTypeCounts::from_counts(take_places(rest)?),
        ratings: take_places(rest)?,
        ..first
    })
}

/// Reads the counts of so many places; those of a later version with more are left out.
fn take_places<const PLACES: usize>(rest: &mut &[u8]) -> Option<[u64; PLACES]> {
    let mut places = [0; PLACES];
    for (place, count) in take_filled(rest)? {
        if let Some(slot) = places.get_mut(place) {
            *slot = count;
        }
    }
    Some(places)
}

/// Reads what [`put_filled`] wrote.
fn take_filled(rest: &mut &[u8]) -> Option<Vec<(usize, u64)>> {
    let mut filled = Vec::new();
    let (mut place, mut total) = (0_usize, 0_u64);
    for _ in 0..take(rest)? {
        place = place.checked_add(usize::try_from(take(rest)?).ok()?)?;
        let count = take(rest)?;
        total = total.checked_add(count)?;
        filled.push((place, count));
    }
    Some(filled)
}

fn take_first_arm(rest: &mut &[u8]) -> Option<ArmCounts> {
    let requests = take(rest)?;
    let mut failures = [0; Failure::ALL.len()];
    for kind in 0..take(rest)? {
        let count = take(rest)?;
        // Kinds are only ever added at the end, so those of a later version come last.
        let place = usize::try_from(kind).ok()?;
        if let Some(slot) = failures.get_mut(place) {
            *slot = count;
        }
    }
    let client_errors = take(rest)?;
    let too_many_requests = take(rest)?;
    let refused_connects = take(rest)?;
    let sum = Duration::from_micros(take(rest)?);
    let counts = take_filled(rest)?;
    Some(ArmCounts {
        requests,
        failures: FailureCounts::from_counts(failures),
        client_errors,
        too_many_requests,
        refused_connects,
        latency: LatencyHistogram::from_counts(counts, sum),
        ..ArmCounts::default()
    })
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= u64::from(MORE) {
        bytes.push(number.to_le_bytes()[0] | MORE);
        number >>= BITS;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(BITS as usize) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & !MORE) << shift;
        if byte & MORE == 0 {
            return Some(number);
        }
    }
    None
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(take(rest)?).ok()?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::adapters::store::samples::busy_point;
    use crate::domain::evidence::ContentTypeIndex;

    #[test]
    fn a_busy_point_takes_a_few_hundred_bytes() {
        let point = busy_point("orders", 1_000_000, 600);
        let bytes = encode(&point);
        assert!(bytes.len() < 600, "{} bytes", bytes.len());
        assert_eq!(decode(&point.flag, point.at_unix_ms, &bytes), Some(point));
    }

    #[test]
    fn a_point_of_the_first_form_is_still_read() {
        // Written by the version before: everyone, epoch 3, 5 %, two canary requests at 1 ms.
        let none: &[u8] = &[0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let two: &[u8] = &[2, 5, 0, 0, 0, 0, 0, 0, 0, 0, 208, 15, 1, 160, 1, 2];
        let head: &[u8] = &[1, 1, 5, b'p', b'h', b'a', b's', b'e', 1, 1, 0, 3, 244, 3];
        let bytes = [head, none, two].concat();
        let point = decode(&"orders".parse().unwrap(), 9, &bytes).unwrap();
        let [stratum] = point.counts.strata() else {
            panic!("one stratum");
        };
        assert!(stratum.is_keyed && stratum.arms.stable.is_empty());
        assert_eq!(stratum.weight.basis_points(), 500);
        let canary = &stratum.arms.canary;
        assert_eq!((canary.requests, canary.latency.count()), (2, 2));
        assert_eq!(canary.latency.sum(), Duration::from_millis(2));
        assert_eq!(decode(&point.flag, 9, &encode(&point)), Some(point));
    }

    #[test]
    fn what_answers_are_like_and_who_is_known_again_is_read_back() {
        let mut point = busy_point("orders", 1, 600);
        let mut stratum = Stratum::empty(None, 4, Weight::from_basis_points(500).unwrap());
        stratum.arms.canary = ArmCounts {
            requests: 9,
            sizes: SizeCounts::from_counts([(0, 1), (40, 7), (159, 1)]),
            ratings: [1, 0, 2, 0, 5],
            ..ArmCounts::default()
        };
        for place in [0, 3, 3, 31] {
            let content_type = ContentTypeIndex::at(place);
            stratum.arms.canary.content_types.record(content_type);
        }
        point.counts.add(stratum.clone());
        point.counts.add(stratum.drawn_anew());
        assert_eq!(point.counts.strata().len(), 3);
        let bytes = encode(&point);
        assert_eq!(decode(&point.flag, point.at_unix_ms, &bytes), Some(point));
    }

    proptest! {
        #[test]
        fn numbers_of_any_size_are_read_back(numbers in prop::collection::vec(any::<u64>(), 0..9)) {
            let mut bytes = Vec::new();
            for number in &numbers {
                put(&mut bytes, *number);
            }
            let mut rest = &bytes[..];
            for number in numbers {
                prop_assert_eq!(take(&mut rest), Some(number));
            }
            prop_assert_eq!(take(&mut rest), None);
        }

        #[test]
        fn any_bytes_are_a_point_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&"orders".parse().unwrap(), 1, &bytes);
            for form in [FORM, FIRST_FORM] {
                let _ = decode(&"orders".parse().unwrap(), 1, &[&[form], &bytes[..]].concat());
            }
        }
    }
}
