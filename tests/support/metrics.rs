//! Reads a page of metrics in Prometheus's text format.

/// All samples of one scrape.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// The page itself.
    pub(crate) text: String,
    samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    pub(crate) fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self {
            text: text.to_owned(),
            samples: lines.map(Sample::read).collect(),
        }
    }

    /// The sum of all samples of a name that have these labels among theirs.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            let has = |(name, value): &(&str, &str)| {
                let mut own = sample.labels.iter();
                own.any(|(known, is)| known == name && is == value)
            };
            sample.name == name && labels.iter().all(has)
        };
        let found = self.samples.iter().filter(fits);
        found.map(|sample| sample.value).sum()
    }

    /// The share of a flag's callers that get the canary, of those who are in no group of its, in
    /// basis points.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share is between 0 and 1"
    )]
    pub(crate) fn default_weight(&self, flag: &str) -> u64 {
        let labels = [("flag", flag), ("group", "default")];
        (self.sum("serin_flag_weight_ratio", &labels) * 10_000.0).round() as u64
    }

    /// The same as [`sum`](Self::sum) of a counter or another whole number.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of a test are small"
    )]
    pub(crate) fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.sum(name, labels) as u64
    }
}

impl Sample {
    /// Reads `name{label="value",…} 7`; no label of a test holds a comma or a quote.
    fn read(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let pairs = labels.trim_end_matches('}').split("\",");
        let labels = pairs.filter_map(|pair| pair.split_once("=\""));
        Self {
            name: name.to_owned(),
            labels: labels
                .map(|(label, value)| (label.to_owned(), value.trim_end_matches('"').to_owned()))
                .collect(),
            value: value.parse().unwrap(),
        }
    }
}
