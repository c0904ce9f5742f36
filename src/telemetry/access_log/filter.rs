//! Which requests somebody wants to see.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::telemetry::access_log::line;
use crate::telemetry::access_log::record::Record;

/// What a request must be to be seen; what is not said is no condition. Names are those of the access
/// log's fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFilter {
    /// The flag that decided.
    pub flag: Option<String>,
    /// The variant decided for.
    pub variant: Option<String>,
    /// The group that the rule which decided is about; `default` for everyone else.
    pub group: Option<String>,
    /// The route.
    pub route: Option<String>,
    /// The backend asked last.
    pub backend: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// What the path begins with.
    pub path: Option<String>,
    /// Whose fault it was that it failed.
    pub fault: Option<String>,
    /// The status.
    pub status: Option<Statuses>,
    /// How long it took at least.
    pub slower_than: Option<Duration>,
}

impl RequestFilter {
    /// Whether a request that has ended is wanted.
    pub fn wants(&self, record: &Record) -> bool {
        let (way, routing) = (&record.way, &record.routing);
        let decided = way.flag;
        let flag = || decided.map(|(flag, _)| routing.flag(flag).name.as_str());
        let variant = || decided.map(|(_, decision)| decision.variant.as_str());
        let group = || decided.and_then(|(_, decision)| line::group(routing, decision.reason));
        let route = || way.route.map(|route| &*routing.routes.get(route).label);
        let backend = || way.backend.map(|at| routing.backend(at).name.as_str());
        let method = || str::from_utf8(record.method().bytes).ok();
        let begins = |start: &String| record.path().bytes.starts_with(start.as_bytes());
        let includes = |wanted: &Statuses| wanted.include(record.end.status);
        let lasted = |least: &Duration| record.end.duration >= *least;
        is(self.flag.as_ref(), flag)
            && is(self.variant.as_ref(), variant)
            && is(self.group.as_ref(), group)
            && is(self.route.as_ref(), route)
            && is(self.backend.as_ref(), backend)
            && is(self.method.as_ref(), method)
            && is(self.fault.as_ref(), || line::fault(record.end.class))
            && self.path.as_ref().is_none_or(begins)
            && self.status.as_ref().is_none_or(includes)
            && self.slower_than.as_ref().is_none_or(lasted)
    }
}

fn is<'a>(wanted: Option<&String>, found: impl FnOnce() -> Option<&'a str>) -> bool {
    wanted.is_none_or(|wanted| found() == Some(wanted))
}

/// Some statuses, written as `404`, `5xx`, `400-499`, or several of these with commas between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<RangeInclusive<u16>>);

/// A text that stands for no statuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no status such as `404`, `5xx` or `500-503`")]
pub struct InvalidStatuses(String);

impl Statuses {
    fn include(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

impl FromStr for Statuses {
    type Err = InvalidStatuses;

    fn from_str(text: &str) -> Result<Self, InvalidStatuses> {
        let parts = text.split(',').map(|part| {
            let part = part.trim();
            range(part).ok_or_else(|| InvalidStatuses(part.to_owned()))
        });
        parts.collect::<Result<_, _>>().map(Self)
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let status = |text: &str| {
        let is_number = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_number);
        number.filter(|number: &u16| (100..=599).contains(number))
    };
    if let Some((from, to)) = text.split_once('-') {
        let (from, to) = (status(from)?, status(to)?);
        return (from <= to).then_some(from..=to);
    }
    if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
        let first = status(&format!("{class}00"))?;
        return Some(first..=first + 99);
    }
    status(text).map(|status| status..=status)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Version;

    use super::*;
    use crate::domain::evidence::{Failure, OutcomeClass};
    use crate::telemetry::access_log::record::Arrival;

    #[test]
    fn statuses_are_one_or_many() {
        for (text, within, without) in [
            ("404", &[404][..], &[403, 405][..]),
            ("5xx", &[500, 599], &[499, 600]),
            ("4XX, 502-503", &[400, 499, 502, 503], &[501, 504, 399]),
        ] {
            let statuses: Statuses = text.parse().unwrap();
            assert!(
                within.iter().all(|status| statuses.include(*status)),
                "{text}"
            );
            assert!(
                !without.iter().any(|status| statuses.include(*status)),
                "{text}"
            );
        }
        for wrong in [
            "", "6xx", "xx", "20", "1000", "500-", "503-500", "5x", "ok", "-1", "+50",
        ] {
            assert!(wrong.parse::<Statuses>().is_err(), "{wrong}");
        }
    }

    fn record() -> Record {
        let arrival = Arrival {
            client: "192.0.2.1".parse().unwrap(),
            scheme: "http",
            version: Version::HTTP_11,
        };
        let texts: [&[u8]; 3] = [b"POST", b"shop", b"/orders/7"];
        let mut record = Record::new(arrival, Arc::default(), texts);
        record.end.status = 502;
        record.end.class = OutcomeClass::BackendFailure(Failure::Reset);
        record.end.duration = Duration::from_millis(20);
        record
    }

    /// How a condition is set.
    type Set = fn(&mut RequestFilter, Option<String>);

    #[test]
    fn each_condition_must_hold() {
        let mut record = record();
        let conditions: [(Set, &str, &str); 4] = [
            (|filter, text| filter.method = text, "POST", "GET"),
            (|filter, text| filter.path = text, "/orders/", "/order/"),
            (|filter, text| filter.fault = text, "backend", "client"),
            (
                |filter, text| filter.status = text.map(|text| text.parse().unwrap()),
                "5xx",
                "503",
            ),
        ];
        let mut all = RequestFilter {
            slower_than: Some(Duration::from_millis(20)),
            ..RequestFilter::default()
        };
        for (set, fits, differs) in conditions {
            let mut filter = RequestFilter::default();
            set(&mut filter, Some(fits.to_owned()));
            assert!(filter.wants(&record), "{fits}");
            set(&mut filter, Some(differs.to_owned()));
            assert!(!filter.wants(&record), "{differs}");
            set(&mut all, Some(fits.to_owned()));
        }
        assert!(all.wants(&record));
        record.end.duration = Duration::from_millis(19);
        assert!(!all.wants(&record));
    }

    #[test]
    fn what_was_not_routed_has_no_flag_and_no_backend() {
        let record = record();
        assert!(RequestFilter::default().wants(&record));
        let conditions: [Set; 5] = [
            |filter, text| filter.flag = text,
            |filter, text| filter.variant = text,
            |filter, text| filter.group = text,
            |filter, text| filter.route = text,
            |filter, text| filter.backend = text,
        ];
        for set in conditions {
            let mut filter = RequestFilter::default();
            set(&mut filter, Some("canary".to_owned()));
            assert!(!filter.wants(&record), "{filter:?}");
        }
    }
}
