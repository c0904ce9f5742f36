//! How a point of history is written: numbers of variable length, empty buckets left out.
//!
//! A busy point of one group takes a few hundred bytes, a tenth of what it takes as JSON. The
//! form stands here and not in derives of the domain's types, so that those can change without
//! making old points unreadable.

use std::time::Duration;

use crate::control::ports::HistoryPoint;
use crate::domain::evidence::{
    ArmCounts, Failure, FailureCounts, LatencyHistogram, Stratum, TickCounts,
};
use crate::domain::ids::FlagName;
use crate::domain::variant::PerVariant;
use crate::domain::weight::Weight;

/// The first byte: which form the others have.
const FORM: u8 = 1;

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
        put_arm(&mut bytes, &stratum.arms.stable);
        put_arm(&mut bytes, &stratum.arms.canary);
    }
    bytes
}

/// Reads a point; `None` for bytes that are none.
pub(super) fn decode(flag: &FlagName, at_unix_ms: u64, bytes: &[u8]) -> Option<HistoryPoint> {
    let (form, bytes) = bytes.split_first()?;
    let mut rest = (*form == FORM).then_some(bytes)?;
    let rest = &mut rest;
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
        let arms = PerVariant {
            stable: take_arm(rest)?,
            canary: take_arm(rest)?,
        };
        let mut stratum = Stratum::empty(group, epoch, weight);
        stratum.arms = arms;
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
    put(bytes, arm.latency.filled().count() as u64);
    let mut last = 0;
    for (bucket, count) in arm.latency.filled() {
        put(bytes, (bucket - last) as u64);
        put(bytes, count);
        last = bucket;
    }
}

fn take_arm(rest: &mut &[u8]) -> Option<ArmCounts> {
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
    let mut counts = Vec::new();
    let (mut bucket, mut total) = (0_usize, 0_u64);
    for _ in 0..take(rest)? {
        bucket = bucket.checked_add(usize::try_from(take(rest)?).ok()?)?;
        let count = take(rest)?;
        total = total.checked_add(count)?;
        counts.push((bucket, count));
    }
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

    #[test]
    fn a_busy_point_takes_a_few_hundred_bytes() {
        let point = busy_point("orders", 1_000_000, 600);
        let bytes = encode(&point);
        assert!(bytes.len() < 600, "{} bytes", bytes.len());
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
            let _ = decode(&"orders".parse().unwrap(), 1, &[&[FORM], &bytes[..]].concat());
        }
    }
}
