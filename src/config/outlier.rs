//! When an endpoint that fails requests gets none for a while.

use std::num::NonZeroU32;

use crate::domain::outlier::OutlierRule;
use crate::domain::weight::Weight;

use crate::config::defaults::{EJECT_FOR_MAX, EJECT_FOR_MIN, OUTLIER};
use crate::config::document::OutlierDocument;
use crate::config::report::{Problem, Report};

/// Understands `outlier`.
pub(super) fn outlier(document: &OutlierDocument, report: &Report) -> OutlierRule {
    if let Some(written) = &document.eject_for {
        let time = written.value.0;
        let [least, most] = [EJECT_FOR_MIN, EJECT_FOR_MAX].map(humantime::format_duration);
        if !(EJECT_FOR_MIN..=EJECT_FOR_MAX).contains(&time) {
            let problem = Problem::new(format!("an ejection takes {least} to {most}"));
            let hint = format!("write a time such as `30s`, at least `{least}`");
            report.add(written.place, problem.hint(hint));
        }
    }
    if let Some(written) = &document.max_ejected
        && written.value == Weight::ZERO
    {
        let problem = Problem::new("a share of 0% ejects nobody");
        let hint = "remove `outlier`, or write a share such as `50%`";
        report.add(written.place, problem.hint(hint));
    }
    let failures = document.consecutive_failures;
    let failures = failures.and_then(|count| NonZeroU32::new(u32::try_from(count.0).ok()?));
    let eject_for = document.eject_for.as_ref().map(|time| time.value.0);
    let max_ejected = document.max_ejected.as_ref().map(|share| share.value);
    OutlierRule {
        consecutive_failures: failures.unwrap_or(OUTLIER.consecutive_failures),
        eject_for: eject_for.unwrap_or(OUTLIER.eject_for),
        max_ejected: max_ejected.unwrap_or(OUTLIER.max_ejected),
    }
}

#[cfg(test)]
mod tests {
    use std::env::VarError;
    use std::io;
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config::{ConfigErrors, parse};

    fn understood(outlier: &str) -> Result<Option<OutlierRule>, String> {
        let text = format!(
            "listeners: [{{ address: 0.0.0.0:80 }}]\nroutes: [{{ backend: a }}]\n\
             backends:\n  a:\n    endpoints: [http://a, http://b]\n    {outlier}\n"
        );
        let no_file = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
        let parsed = parse(&text, &no_file, &|_| Err(VarError::NotPresent));
        let shown = |errors: ConfigErrors| errors.display(Path::new("f")).to_string();
        parsed
            .map(|config| config.backends[0].outlier)
            .map_err(shown)
    }

    #[test]
    fn what_is_not_written_has_its_default() {
        let all = "outlier: { consecutive_failures: 3, eject_for: 1m, max_ejected: 12.5% }";
        let expected = OutlierRule {
            consecutive_failures: NonZeroU32::new(3).unwrap(),
            eject_for: Duration::from_secs(60),
            max_ejected: Weight::from_basis_points(1_250).unwrap(),
        };
        assert_eq!(understood(all), Ok(Some(expected)));
        assert_eq!(understood("outlier: {}"), Ok(Some(OUTLIER)));
        assert_eq!(OUTLIER.consecutive_failures.get(), 5);
        assert_eq!(OUTLIER.max_ejected.to_string(), "50%");
        assert_eq!(understood(""), Ok(None));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (outlier, problem) in [
            ("{ eject_for: 0s }", "`0s` is no time at all"),
            (
                "{ eject_for: 99ms }",
                "an ejection takes 100ms to 1h; write a time such as `30s`, at least `100ms`",
            ),
            ("{ eject_for: 2h }", "an ejection takes 100ms to 1h"),
            ("{ eject_for: 30 }", "30"),
            (
                "{ max_ejected: 0% }",
                "a share of 0% ejects nobody; remove `outlier`",
            ),
            ("{ max_ejected: 101% }", "`101%` is outside 0% to 100%"),
            ("{ max_ejected: 50 }", "write `50%`"),
            (
                "{ consecutive_failures: 0 }",
                "a whole number from 1 to 1000",
            ),
            ("{ consecutive_5xx: 5 }", "unknown key `consecutive_5xx`"),
            ("5", "expected a map such as `{ consecutive_failures: 5"),
        ] {
            let refused = understood(&format!("outlier: {outlier}")).unwrap_err();
            assert!(refused.contains(problem), "{outlier}: {refused}");
            assert!(refused.starts_with("f:6:"), "{refused}");
        }
    }
}
