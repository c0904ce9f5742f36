//! What a pick may depend on besides the endpoints: a caller, and luck.

/// What one request brings along for picks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chance {
    /// An evenly spread random number.
    pub(crate) draw: u64,
    /// The hash of the caller's key, if it is known and somebody asks for it.
    pub(crate) caller: Option<u32>,
}

impl Chance {
    /// A number below `bound`, by the draw; 0 where `bound` is.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the product's high half is below the bound"
    )]
    pub(super) const fn below(self, bound: u64) -> u64 {
        ((self.draw as u128 * bound as u128) >> 64) as u64
    }

    /// The same request with another draw.
    pub(super) const fn again(self) -> Self {
        let draw = mix(self.draw);
        Self { draw, ..self }
    }
}

/// Spreads numbers over all 64 bits: equal ones equally, neighbours far apart.
///
/// The output of `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
pub(super) const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
