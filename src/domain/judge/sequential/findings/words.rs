//! Numbers as people write them.

use std::fmt;

/// Evidence as people write it.
pub(super) struct Amount(pub(super) f64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            amount if amount >= 1e6 => f.write_str("over a million"),
            amount if amount >= 9.95 => write!(f, "{amount:.0}"),
            amount if amount >= 0.05 => write!(f, "{amount:.1}"),
            _ => f.write_str("0"),
        }
    }
}

/// Milliseconds with three digits that matter.
pub(super) struct Milliseconds(pub(super) f64);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms >= 99.95 => write!(f, "{ms:.0} ms"),
            ms if ms >= 9.995 => write!(f, "{ms:.1} ms"),
            ms => write!(f, "{ms:.2} ms"),
        }
    }
}

/// A time as people say it.
pub(super) struct Span(pub(super) u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds if seconds < 120 => write!(f, "{seconds} seconds"),
            seconds if seconds < 7200 => write!(f, "{} minutes", seconds.div_ceil(60)),
            seconds => write!(f, "{} hours", seconds.div_ceil(3600)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        let amounts = [0.0, 0.3, 9.94, 131.8, 2e6].map(|amount| Amount(amount).to_string());
        assert_eq!(amounts, ["0", "0.3", "9.9", "132", "over a million"]);
        let times = [0.98, 12.34, 456.7].map(|ms| Milliseconds(ms).to_string());
        assert_eq!(times, ["0.98 ms", "12.3 ms", "457 ms"]);
        let spans = [30, 119, 120, 601, 7200].map(|seconds| Span(seconds).to_string());
        assert_eq!(
            spans,
            [
                "30 seconds",
                "119 seconds",
                "2 minutes",
                "11 minutes",
                "2 hours"
            ]
        );
    }
}
