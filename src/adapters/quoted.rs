//! What others answer, made fit to be shown.

/// The most characters of an answer that are quoted.
const QUOTED_CHARS_MAX: usize = 200;

/// What another system says, cut to a few words and to one line.
pub(super) fn quoted(text: &str) -> String {
    let mut chars = text.split_whitespace().flat_map(|word| {
        let word = word.chars().filter(|c| !c.is_control());
        word.chain([' '])
    });
    let mut quoted: String = chars.by_ref().take(QUOTED_CHARS_MAX).collect();
    quoted.truncate(quoted.trim_end().len());
    if chars.next().is_some() {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_is_cut_to_one_short_line() {
        assert_eq!(quoted(" a\n\tb\u{7}c "), "a bc");
        let long = quoted(&"é".repeat(1000));
        assert_eq!(long.chars().count(), QUOTED_CHARS_MAX + 1);
        assert!(long.ends_with('…'));
    }
}
