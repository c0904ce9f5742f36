//! What clients of a listener may take up.

use std::time::Duration;

use crate::config::defaults;
use crate::config::document::LimitsDocument;
use crate::config::report::{Problem, Report};
use crate::config::text::Span;
use crate::config::written::Written;

/// What clients of a listener may take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Connections at a time, of all workers together; at least 1.
    pub connections: usize,
    /// Bytes in the head of a request; over HTTP/2 as it counts them, with 32 more for each field.
    pub header_bytes: usize,
    /// Fields in the head of a request.
    pub headers: usize,
    /// From the first byte of a head to its last.
    pub header_timeout: Duration,
    /// Without a request.
    pub idle_timeout: Duration,
}

impl ListenerLimits {
    /// The part of one of so many workers, with at least one connection for each.
    #[must_use]
    pub const fn of_one_of(self, workers: usize) -> Self {
        Self {
            connections: self.connections.div_ceil(workers),
            ..self
        }
    }
}

/// Understands `limits`.
pub(super) fn limits(document: &LimitsDocument, report: &Report) -> ListenerLimits {
    let default = defaults::LISTENER_LIMITS;
    let number = |number: Option<u64>| number.and_then(|number| usize::try_from(number).ok());
    let connections = number(document.connections.map(|count| count.0));
    let header_bytes = number(document.header_bytes.map(|size| size.0));
    let headers = number(document.headers.map(|count| count.0));
    let time = |written: &Option<Written<Span>>, default, most| {
        let written = written.as_ref();
        written.map_or(default, |written| within(written, most, report))
    };
    let (header_max, idle_max) = (defaults::HEADER_TIMEOUT_MAX, defaults::IDLE_TIMEOUT_MAX);
    ListenerLimits {
        connections: connections.unwrap_or(default.connections),
        header_bytes: header_bytes.unwrap_or(default.header_bytes),
        headers: headers.unwrap_or(default.headers),
        header_timeout: time(&document.header_timeout, default.header_timeout, header_max),
        idle_timeout: time(&document.idle_timeout, default.idle_timeout, idle_max),
    }
}

/// Connections are looked at once a second, so that less is no other limit than that.
fn within(written: &Written<Span>, most: Duration, report: &Report) -> Duration {
    let time = written.value.0;
    let least = defaults::CLIENT_TIMEOUT_MIN;
    let given = humantime::format_duration(time);
    let [shortest, longest] = [least, most].map(humantime::format_duration);
    let hint = format!("write a time from `{shortest}` to `{longest}`");
    if time < least {
        let problem = Problem::new(format!("`{given}` is shorter than `{shortest}`"));
        report.add(written.place, problem.hint(hint));
    } else if time > most {
        let problem = Problem::new(format!("`{given}` is longer than `{longest}`"));
        report.add(written.place, problem.hint(hint));
    }
    time
}

#[cfg(test)]
mod tests {
    use std::env::VarError;
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::config::{ConfigErrors, parse};

    fn understood(listener: &str) -> Result<ListenerLimits, String> {
        let text = format!(
            "routes: [{{ backend: a }}]\nbackends: {{ a: http://a }}\n\
             listeners:\n  - address: 0.0.0.0:80\n    {listener}\n"
        );
        let no_file = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
        let parsed = parse(&text, &no_file, &|_| Err(VarError::NotPresent));
        let shown = |errors: ConfigErrors| errors.display(Path::new("f")).to_string();
        parsed
            .map(|config| config.listeners[0].limits)
            .map_err(shown)
    }

    #[test]
    fn what_is_not_written_has_its_default() {
        assert_eq!(understood(""), Ok(defaults::LISTENER_LIMITS));
        assert_eq!(understood("limits: {}"), Ok(defaults::LISTENER_LIMITS));
        let all = "limits: { connections: 7, header_bytes: 8KiB, headers: 20, \
                   header_timeout: 5s, idle_timeout: 2m }";
        let expected = ListenerLimits {
            connections: 7,
            header_bytes: 8192,
            headers: 20,
            header_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(120),
        };
        assert_eq!(understood(all), Ok(expected));
        for (size, bytes) in [
            ("64KB", 64_000),
            ("65536", 65_536),
            ("\"2000\"", 2_000),
            ("1 MiB", 1 << 20),
        ] {
            let limits = understood(&format!("limits: {{ header_bytes: {size} }}"));
            assert_eq!(
                limits.map(|limits| limits.header_bytes),
                Ok(bytes),
                "{size}"
            );
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (limits, problem) in [
            (
                "{ connections: 0 }",
                "expected a whole number from 1 to 1000000",
            ),
            ("{ headers: 0 }", "expected a whole number from 1 to 1000"),
            ("{ header_bytes: 1023 }", "`1023` is less than 1KiB"),
            ("{ header_bytes: 2MiB }", "`2MiB` is more than 1MiB"),
            ("{ header_bytes: 99999999999999GiB }", "is more than 1MiB"),
            (
                "{ header_bytes: 32kib }",
                "`32kib` is not a size such as `32KiB`",
            ),
            ("{ header_bytes: 1.5KiB }", "is not a size"),
            ("{ header_bytes: -1 }", "is not a size"),
            ("{ header_timeout: 10 }", "add a unit: `10s`"),
            ("{ header_timeout: 999ms }", "`999ms` is shorter than `1s`"),
            ("{ header_timeout: 2m }", "`2m` is longer than `1m`"),
            ("{ idle_timeout: 2h }", "`2h` is longer than `1h`"),
            ("{ body_bytes: 1 }", "unknown key `body_bytes`"),
        ] {
            let refused = understood(&format!("limits: {limits}")).unwrap_err();
            assert!(refused.contains(problem), "{limits}: {refused}");
            assert!(refused.starts_with("f:5:"), "{refused}");
        }
    }

    #[test]
    fn each_worker_has_its_share() {
        let of = |workers| defaults::LISTENER_LIMITS.of_one_of(workers).connections;
        assert_eq!([1, 3, 32, 100_000].map(of), [20_000, 6_667, 625, 1]);
    }
}
