//! Names for clusters, made of what sets them apart.

/// How many standard deviations from the mean a cluster's centre is at least where that is said.
const TELLING: f64 = 0.3;

/// A name for each centre, in standard deviations of the features: `high-rate`, or more of it where
/// two would be called alike.
pub(super) fn names<N: AsRef<str>>(centres: &[&[f64]], features: &[N]) -> Vec<String> {
    let words: Vec<Vec<String>> = centres
        .iter()
        .map(|centre| words(centre, features))
        .collect();
    let mut lengths = vec![1; words.len()];
    // The names that are alike get a word more, as long as there are words.
    for _ in 0..features.len() {
        let names = joined(&words, &lengths);
        for (place, length) in lengths.iter_mut().enumerate() {
            let is_alone = names.iter().filter(|name| **name == names[place]).count() == 1;
            if !is_alone && *length < words[place].len() {
                *length += 1;
            }
        }
    }
    numbered(joined(&words, &lengths))
}

/// What can be said of a centre, the most telling first.
fn words<N: AsRef<str>>(centre: &[f64], features: &[N]) -> Vec<String> {
    let mut ranked: Vec<(&f64, &str)> = centre
        .iter()
        .zip(features.iter().map(AsRef::as_ref))
        .filter(|(value, _)| value.abs() >= TELLING)
        .collect();
    ranked.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
    if ranked.is_empty() {
        return vec!["average".to_owned()];
    }
    let word = |(value, feature): (&f64, &str)| {
        let side = if *value > 0.0 { "high" } else { "low" };
        format!("{side}-{}", slug(feature))
    };
    ranked.into_iter().map(word).collect()
}

fn joined(words: &[Vec<String>], lengths: &[usize]) -> Vec<String> {
    let each = words.iter().zip(lengths);
    each.map(|(words, length)| words[..*length].join("-"))
        .collect()
}

/// Names that are still alike get numbers, in their order.
fn numbered(mut names: Vec<String>) -> Vec<String> {
    for place in 0..names.len() {
        let mut number = 1;
        let mut name = names[place].clone();
        while names[..place].contains(&name) {
            number += 1;
            name = format!("{}-{number}", names[place]);
        }
        names[place] = name;
    }
    names
}

fn slug(feature: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let replaced = feature.chars().map(|c| if fits(c) { c } else { '-' });
    replaced.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_called_by_what_sets_them_apart() {
        let features = ["rate", "error share"];
        let named = |centres: &[&[f64]]| names(centres, &features);
        assert_eq!(
            named(&[&[-0.5, -0.4], &[2.0, 0.1], &[0.1, 3.0], &[0.1, 0.1]]),
            ["low-rate", "high-rate", "high-error-share", "average"]
        );
        assert_eq!(
            named(&[&[2.0, -1.0], &[2.0, 1.0], &[3.0, 0.0], &[2.0, 1.5]]),
            [
                "high-rate-low-error-share",
                "high-rate-high-error-share",
                "high-rate",
                "high-rate-high-error-share-2"
            ]
        );
    }
}
