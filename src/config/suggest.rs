//! Finds the name that was probably meant.

/// The known name closest to what was written, where it is close enough to be a slip.
///
/// A third of the letters may differ: `heade` is `header`, `foo` is nothing.
pub(super) fn closest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let slips_max = written.chars().count().div_ceil(3).max(1);
    known
        .into_iter()
        .map(|name| (edit_distance(written, name), name))
        .filter(|(slips, name)| *slips <= slips_max && *slips < name.chars().count())
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, name)| name)
}

/// A hint for a name that does not exist: what was probably meant, else what there is.
pub(super) fn hint<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    match closest(written, known.clone()) {
        Some(name) => Some(format!("did you mean `{name}`?")),
        None => all(known),
    }
}

/// A hint for a value that does not exist: what was probably meant, and what there is in any case, for
/// who writes it wrong may not know the others.
pub(super) fn hint_with_all<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    let all = all(known.clone())?;
    Some(match closest(written, known) {
        Some(name) => format!("did you mean `{name}`? {all}"),
        None => all,
    })
}

fn all<'a>(known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    /// As many as a reader takes in at a glance.
    const LISTED_MAX: usize = 20;
    let mut listed: Vec<_> = known.into_iter().map(|name| format!("`{name}`")).collect();
    if listed.is_empty() {
        return None;
    }
    if listed.len() > LISTED_MAX {
        listed.truncate(LISTED_MAX);
        listed.push("…".to_owned());
    }
    Some(format!("expected {}", one_of(&listed)))
}

fn one_of(listed: &[String]) -> String {
    match listed {
        [only] => only.clone(),
        _ => format!("one of {}", listed.join(", ")),
    }
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour.
///
/// The restricted Damerau-Levenshtein distance (optimal string alignment).
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
    // Lengths alone rule out most pairs, and bound the work for absurdly long keys: those have nothing in
    // common.
    if a.len().abs_diff(b.len()) > 3 {
        return a.len().max(b.len());
    }
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            let is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if is_swap {
                let swapped: usize = before_last[j - 2];
                row[j] = row[j].min(swapped + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_count_once_each() {
        for (a, b, slips) in [
            ("weight", "weight", 0),
            ("weigth", "weight", 1),
            ("wait", "weight", 3),
            ("", "abc", 3),
            ("größe", "grösse", 2),
        ] {
            assert_eq!(edit_distance(a, b), slips, "{a} {b}");
            assert_eq!(edit_distance(b, a), slips, "{b} {a}");
        }
    }

    #[test]
    fn only_what_is_close_is_suggested() {
        let known = ["stable", "canary", "salt"];
        assert_eq!(closest("stabel", known), Some("stable"));
        assert_eq!(closest("canray", known), Some("canary"));
        assert_eq!(closest("color", known), None);
        assert_eq!(closest("xyzzy/plugh", ["Africa/Blantyre"]), None);
        assert_eq!(hint("x", []), None);
        let all = hint("color", known).unwrap();
        assert_eq!(all, "expected one of `stable`, `canary`, `salt`");
        let both = hint_with_all("stabel", known).unwrap();
        assert_eq!(both, format!("did you mean `stable`? {all}"));
        assert_eq!(hint_with_all("color", known), Some(all));
        assert_eq!(hint_with_all("color", []), None);
    }
}
