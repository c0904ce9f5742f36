//! Which of a backend's endpoints get no requests for a while because requests to them go wrong.
//!
//! An endpoint that has failed several requests in a row is ejected: a guess by what requests come to,
//! without a question to the endpoint. Each ejection in a row is longer than the one before, and a calm
//! makes the next one shorter again. A share of the endpoints at the most is out at once, for what makes
//! all of them fail is nothing that the others could bear. This is Envoy's outlier detection by
//! consecutive failures, but for its share, which is rounded down here.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::domain::backend::Endpoint;
use crate::domain::timestamp::Timestamp;
use crate::domain::weight::Weight;

/// What ejections in a row grow to; one that is configured to be longer is as long as it is.
const GROWTH_MAX: Duration = Duration::from_secs(300);

/// How long a calm is at least after which the next ejection is shorter by one step.
const CALM_MIN: Duration = Duration::from_secs(10);

/// When an endpoint is ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlierRule {
    /// Requests in a row that it must fail.
    pub consecutive_failures: NonZeroU32,
    /// How long the first ejection is; more than nothing.
    pub eject_for: Duration,
    /// The share of a backend's endpoints that may be out at once.
    pub max_ejected: Weight,
}

impl OutlierRule {
    /// How many of so many endpoints may be out at once: the share, rounded down; never the only one.
    pub fn ejected_max(&self, endpoints: usize) -> usize {
        if endpoints < 2 {
            return 0;
        }
        endpoints * usize::from(self.max_ejected.basis_points()) / usize::from(Weight::WHOLE)
    }

    fn time_max(&self) -> Duration {
        GROWTH_MAX.max(self.eject_for)
    }

    /// How long an ejection is that is the n-th in a row.
    fn time(&self, in_a_row: u32) -> Duration {
        self.eject_for.saturating_mul(in_a_row).min(self.time_max())
    }

    /// After how many in a row they grow no more.
    fn in_a_row_max(&self) -> u32 {
        let steps = self
            .time_max()
            .as_nanos()
            .div_ceil(self.eject_for.as_nanos().max(1));
        u32::try_from(steps).unwrap_or(u32::MAX)
    }

    /// By how much a calm shortens a row.
    fn forgotten(&self, calm: Duration) -> u32 {
        let steps = calm.as_nanos() / CALM_MIN.max(self.eject_for).as_nanos();
        u32::try_from(steps).unwrap_or(u32::MAX)
    }
}

/// Why an endpoint is not ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotEjected {
    /// It is out already.
    IsOut,
    /// As many as may be are out, or it is not one of the backend's.
    TooMany,
}

/// What is known of one endpoint.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    /// Until when it is out, if it is.
    until: Option<Timestamp>,
    /// How many ejections in a row there were.
    in_a_row: u32,
    /// When the last one was over.
    over_at: Timestamp,
}

/// Which of one backend's endpoints are out.
#[derive(Clone, Debug)]
pub struct Ejections {
    rule: OutlierRule,
    records: BTreeMap<Endpoint, Record>,
}

impl Ejections {
    /// None yet, of no endpoints.
    pub const fn new(rule: OutlierRule) -> Self {
        Self {
            rule,
            records: BTreeMap::new(),
        }
    }

    /// Goes on with another rule and other endpoints; what is known of those that stay is kept.
    /// Returns whom the new rule lets back before their time, those first who would have come first.
    pub fn renew(
        &mut self,
        rule: OutlierRule,
        endpoints: &[Endpoint],
        now: Timestamp,
    ) -> Vec<Endpoint> {
        self.rule = rule;
        let known = std::mem::take(&mut self.records);
        for endpoint in endpoints {
            let record = known.get(endpoint).copied().unwrap_or_default();
            self.records.insert(endpoint.clone(), record);
        }
        let mut out: Vec<_> = self.out().collect();
        out.sort_by_key(|(_, until)| *until);
        let too_many = out
            .len()
            .saturating_sub(rule.ejected_max(self.records.len()));
        let released = out.into_iter().take(too_many);
        let released: Vec<_> = released.map(|(endpoint, _)| endpoint.clone()).collect();
        self.end(&released, now);
        released
    }

    /// How many may be out at a time.
    pub fn room(&self) -> usize {
        self.rule.ejected_max(self.records.len())
    }

    /// Ejects an endpoint that has failed as many requests in a row as the rule says, if it may be.
    /// Returns for how long.
    ///
    /// # Errors
    /// Where it is out already, or it would be one too many.
    pub fn eject(&mut self, endpoint: &Endpoint, now: Timestamp) -> Result<Duration, NotEjected> {
        let out_count = self.out().count();
        let most = self.room();
        let record = self.records.get_mut(endpoint).ok_or(NotEjected::TooMany)?;
        if record.until.is_some() {
            return Err(NotEjected::IsOut);
        }
        if out_count >= most {
            return Err(NotEjected::TooMany);
        }
        let forgotten = self.rule.forgotten(now - record.over_at);
        let before = record.in_a_row.saturating_sub(forgotten);
        record.in_a_row = (before + 1).min(self.rule.in_a_row_max());
        let time = self.rule.time(record.in_a_row);
        record.until = Some(now + time);
        Ok(time)
    }

    /// Lets those back whose time is over, and returns them.
    pub fn release(&mut self, now: Timestamp) -> Vec<Endpoint> {
        let over = self.out().filter(|(_, until)| *until <= now);
        let over: Vec<_> = over.map(|(endpoint, _)| endpoint.clone()).collect();
        self.end(&over, now);
        over
    }

    /// When the next one comes back.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.out().map(|(_, until)| until).min()
    }

    fn out(&self) -> impl Iterator<Item = (&Endpoint, Timestamp)> {
        let records = self.records.iter();
        records.filter_map(|(endpoint, record)| Some((endpoint, record.until?)))
    }

    fn end(&mut self, endpoints: &[Endpoint], now: Timestamp) {
        for endpoint in endpoints {
            if let Some(record) = self.records.get_mut(endpoint) {
                record.until = None;
                record.over_at = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn endpoint(port: u16) -> Endpoint {
        Endpoint {
            host: "a".into(),
            port,
        }
    }

    fn endpoints(count: u16) -> Vec<Endpoint> {
        (0..count).map(endpoint).collect()
    }

    fn rule(eject_for: u64, percent: u16) -> OutlierRule {
        OutlierRule {
            consecutive_failures: NonZeroU32::MIN,
            eject_for: Duration::from_secs(eject_for),
            max_ejected: Weight::from_basis_points(percent * 100).unwrap(),
        }
    }

    fn ejections(rule: OutlierRule, count: u16) -> Ejections {
        let mut ejections = Ejections::new(rule);
        assert_eq!(ejections.renew(rule, &endpoints(count), at(0)), []);
        ejections
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::since_start(Duration::from_secs(seconds))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_share_is_rounded_down_and_the_only_one_stays() {
        for (percent, count, most) in [
            (50, 0, 0),
            (50, 1, 0),
            (100, 1, 0),
            (50, 2, 1),
            (49, 2, 0),
            (50, 3, 1),
            (34, 3, 1),
            (50, 5, 2),
            (100, 2, 2),
            (10, 9, 0),
            (10, 10, 1),
        ] {
            assert_eq!(
                rule(30, percent).ejected_max(count),
                most,
                "{percent}% of {count}"
            );
        }
    }

    #[test]
    fn who_is_out_comes_back_after_its_time_and_is_out_longer_the_next_time() {
        let mut all = ejections(rule(30, 50), 2);
        let one = endpoint(0);
        let mut now = 100;
        for time in [30, 60, 90, 120] {
            assert_eq!(all.eject(&one, at(now)), Ok(seconds(time)));
            assert_eq!(all.eject(&one, at(now)), Err(NotEjected::IsOut));
            assert_eq!(all.next_end(), Some(at(now + time)));
            assert_eq!(all.release(at(now + time - 1)), []);
            assert_eq!(all.release(at(now + time)), std::slice::from_ref(&one));
            assert_eq!(all.next_end(), None);
            now += time + 29;
        }
        // A calm of three steps.
        assert_eq!(all.eject(&one, at(now + 61)), Ok(seconds(60)));
        all.release(at(now + 121));
        assert_eq!(all.eject(&one, at(now + 10_000)), Ok(seconds(30)));
    }

    #[test]
    fn ejections_in_a_row_grow_to_a_bound_and_are_forgotten_as_fast() {
        for (eject_for, longest) in [(30, 300), (100, 300), (200, 300), (700, 700)] {
            let mut all = ejections(rule(eject_for, 50), 2);
            let one = endpoint(1);
            let (mut now, mut last) = (0, Duration::ZERO);
            for _ in 0..100 {
                last = all.eject(&one, at(now)).unwrap();
                now += last.as_secs();
                assert_eq!(all.release(at(now)).len(), 1);
            }
            assert_eq!(last, seconds(longest));
            let calm = eject_for * longest.div_ceil(eject_for);
            assert_eq!(all.eject(&one, at(now + calm)), Ok(seconds(eject_for)));
        }
    }

    #[test]
    fn one_too_many_is_refused_until_another_is_back() {
        let mut all = ejections(rule(30, 50), 3);
        assert!(all.eject(&endpoint(0), at(0)).is_ok());
        assert_eq!(all.eject(&endpoint(1), at(1)), Err(NotEjected::TooMany));
        assert_eq!(all.eject(&endpoint(7), at(1)), Err(NotEjected::TooMany));
        assert_eq!(all.release(at(30)), [endpoint(0)]);
        assert_eq!(all.eject(&endpoint(1), at(31)), Ok(seconds(30)));
        let mut single = ejections(rule(30, 100), 1);
        assert_eq!(single.eject(&endpoint(0), at(0)), Err(NotEjected::TooMany));
    }

    #[test]
    fn what_is_known_of_an_endpoint_outlives_a_change_of_the_others() {
        let mut all = ejections(rule(30, 75), 4);
        for (port, second) in [(3, 0), (1, 1), (2, 2)] {
            assert!(all.eject(&endpoint(port), at(second)).is_ok());
        }
        assert_eq!(all.renew(rule(30, 75), &endpoints(4), at(3)), []);
        // Two of three may be out, and one of those that are has gone.
        assert_eq!(all.renew(rule(30, 75), &endpoints(3), at(3)), []);
        // One of three may: who would have come back first does so now.
        assert_eq!(all.renew(rule(9, 50), &endpoints(3), at(4)), [endpoint(1)]);
        assert_eq!(all.next_end(), Some(at(32)));
        assert_eq!(all.release(at(32)), [endpoint(2)]);
        assert_eq!(all.eject(&endpoint(2), at(33)), Ok(seconds(18)));
        // One that was gone begins anew.
        all.renew(rule(9, 50), &endpoints(2), at(34));
        all.renew(rule(9, 50), &endpoints(3), at(35));
        assert_eq!(all.eject(&endpoint(2), at(36)), Ok(seconds(9)));
    }

    proptest! {
        #[test]
        fn never_more_are_out_than_may_be_and_all_come_back(
            count in 0_u16..9,
            percent in 0_u16..=100,
            eject_for in 1_u64..400,
            steps in prop::collection::vec((0_u16..9, 0_u64..200), 0..60),
        ) {
            let rule = rule(eject_for, percent);
            let mut all = ejections(rule, count);
            let mut now = 0;
            for (port, pause) in steps {
                now += pause;
                all.release(at(now));
                let ejected = all.eject(&endpoint(port), at(now));
                if let Ok(time) = ejected {
                    prop_assert!(time >= rule.eject_for && time <= rule.time_max());
                    prop_assert!(port < count && percent > 0);
                }
                let out = all.out().count();
                prop_assert!(out <= rule.ejected_max(count.into()));
                prop_assert!(count < 2 || percent == 100 || out < usize::from(count));
                let is_refused_wrongly = ejected == Err(NotEjected::TooMany)
                    && port < count
                    && out < rule.ejected_max(count.into());
                prop_assert!(!is_refused_wrongly);
                prop_assert!(all.out().all(|(_, until)| until > at(now)));
            }
            all.release(at(now) + rule.time_max());
            prop_assert_eq!(all.next_end(), None);
        }
    }
}
