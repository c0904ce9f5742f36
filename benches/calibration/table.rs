//! What was measured, beside what it should be.

use std::fmt;

/// How many runs are made of how many that were asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runs(f64);

impl Default for Runs {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Runs {
    pub(crate) const fn scaled_by(factor: f64) -> Self {
        Self(factor)
    }

    /// So many seeds from a first one on, scaled, and at least one.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of runs is small and not negative"
    )]
    pub(crate) fn seeds(self, first: u64, runs: u64) -> std::ops::Range<u64> {
        let runs = (runs as f64 * self.0).round().max(1.0) as u64;
        first..first + runs
    }
}

/// A table of measurements.
pub(crate) struct Table {
    title: &'static str,
    rows: Vec<Row>,
}

/// One measurement.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) wanted: String,
    pub(crate) measured: String,
    /// The first seed.
    pub(crate) seed: u64,
}

impl Table {
    pub(crate) const fn new(title: &'static str) -> Self {
        Self {
            title,
            rows: Vec::new(),
        }
    }

    /// Adds a measurement, and tells of it at once: some take long.
    pub(crate) fn add(&mut self, row: Row) {
        eprintln!("{}: {}, wanted {}", row.what, row.measured, row.wanted);
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.title)?;
        writeln!(f, "| what | wanted | measured | first seed |")?;
        writeln!(f, "| --- | --- | --- | --- |")?;
        for Row {
            what,
            wanted,
            measured,
            seed,
        } in &self.rows
        {
            writeln!(f, "| {what} | {wanted} | {measured} | {seed} |")?;
        }
        Ok(())
    }
}

/// How many of a number of runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) so: u64,
    pub(crate) of: u64,
}

impl Count {
    pub(crate) fn add(&mut self, is_so: bool) {
        self.so += u64::from(is_so);
        self.of += 1;
    }

    pub(crate) fn share(self) -> f64 {
        self.so as f64 / self.of as f64
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.so, self.of)
    }
}

/// The middle of some numbers; infinite where most are.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let (low, high) = ((numbers.len() - 1) / 2, numbers.len() / 2);
    (numbers[low] + numbers[high]) / 2.0
}
