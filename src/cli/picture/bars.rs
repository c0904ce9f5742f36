//! Numbers as pictures of characters.

/// The eighths of a block, from nothing to all of it.
const RISING: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A bar of so many columns, filled from the left by a share of 0 to 1; the filled part and the
/// rest. Whatever is more than nothing shows, and only all of it fills the bar.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a few columns"
)]
pub(crate) fn bar(share: f64, columns: usize) -> (String, String) {
    let share = share.clamp(0.0, 1.0);
    let columns_filled = (share * columns as f64).round() as usize;
    let filled = if share <= 0.0 {
        0
    } else if share < 1.0 {
        columns_filled.clamp(1, columns.saturating_sub(1).max(1))
    } else {
        columns
    };
    (
        "█".repeat(filled),
        "░".repeat(columns - filled.min(columns)),
    )
}

/// A column for each number, as high as it is of `top`; a number that is missing leaves a gap.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place among nine"
)]
pub(crate) fn sparkline(numbers: &[Option<f64>], top: f64) -> String {
    let column = |number: &Option<f64>| {
        let Some(number) = *number else {
            return RISING[0];
        };
        let share = if top > 0.0 { number / top } else { 0.0 };
        RISING[1 + (share.clamp(0.0, 1.0) * 7.0).round() as usize]
    };
    numbers.iter().map(column).collect()
}
