//! Numbers as people write them, for findings.

use std::fmt;

/// A number of whatever unit: `1,204`, `0.95`, `3.141`.
pub(super) struct Plain(pub(super) f64);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// From here on digits are more than anybody reads.
        const LARGE: f64 = 1e15;
        let size = self.0.abs();
        if size >= LARGE || (size < 0.001 && size > 0.0) || !self.0.is_finite() {
            return write!(f, "{:.3e}", self.0);
        }
        let digits = if size >= 100.0 { 0 } else { 3 };
        let text = format!("{size:.digits$}");
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let fraction = fraction.trim_end_matches('0');
        let is_zero = whole == "0" && fraction.is_empty();
        if self.0 < 0.0 && !is_zero {
            f.write_str("-")?;
        }
        for (place, digit) in whole.chars().enumerate() {
            if place > 0 && (whole.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        if fraction.is_empty() {
            Ok(())
        } else {
            write!(f, ".{fraction}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_grouped() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (0.95, "0.95"),
            (4.0, "4"),
            (99.9996, "100"),
            (123.4, "123"),
            (1203.6, "1,204"),
            (-1_234_567.0, "-1,234,567"),
            (0.000_012, "1.200e-5"),
            (1e18, "1.000e18"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(Plain(number).to_string(), text);
        }
    }
}
