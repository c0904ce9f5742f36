//! What a condition could come to, whatever is seen. One that nothing meets is a slip, and would hold a release for
//! good.

use std::cmp::Ordering;

use crate::domain::further::condition::evaluate::{Arithmetic, Number, Truth};

/// The least and the most that a number can be.
type Range = (f64, f64);

const ANYTHING: Range = (f64::NEG_INFINITY, f64::INFINITY);

impl Truth {
    /// Whether there could be values that make it so. Each comparison is looked at by itself, so that the answer may
    /// be yes where it is no.
    pub(super) fn can_be(&self, wanted: bool) -> bool {
        let (one_of, each_of) = (
            |one: &Self, other: &Self| one.can_be(wanted) || other.can_be(wanted),
            |one: &Self, other: &Self| one.can_be(wanted) && other.can_be(wanted),
        );
        match self {
            Self::Compared(left, comparison, right) => {
                let mut orders = orders(left.range(), right.range());
                orders.any(|order| comparison.holds(order) == wanted)
            }
            Self::Not(turned) => turned.can_be(!wanted),
            Self::And(one, other) if wanted => each_of(one, other),
            Self::Or(one, other) if !wanted => each_of(one, other),
            Self::And(one, other) | Self::Or(one, other) => one_of(one, other),
        }
    }
}

/// How a number in one range may stand to one in another.
fn orders(left: Range, right: Range) -> impl Iterator<Item = Ordering> {
    let possible = [
        (left.0 < right.1, Ordering::Less),
        (left.1 > right.0, Ordering::Greater),
        (left.0 <= right.1 && right.0 <= left.1, Ordering::Equal),
    ];
    possible
        .into_iter()
        .filter_map(|(is_possible, order)| is_possible.then_some(order))
}

impl Number {
    fn range(&self) -> Range {
        match self {
            Self::Constant(number) => (*number, *number),
            Self::Value(name) => name.range(),
            Self::Negated(number) => {
                let (least, most) = number.range();
                (-most, -least)
            }
            Self::Computed(left, operator, right) => {
                computed(left.range(), *operator, right.range())
            }
        }
    }
}

/// The range of what is computed from two ranges: its ends come of theirs.
fn computed(left: Range, operator: Arithmetic, right: Range) -> Range {
    if operator == Arithmetic::Divide && right.0 <= 0.0 && right.1 >= 0.0 {
        return ANYTHING;
    }
    let mut range: Option<Range> = None;
    for left in [left.0, left.1] {
        for right in [right.0, right.1] {
            let end = operator.compute(left, right);
            // Of nothing times endlessly much nothing is known.
            if end.is_nan() {
                return ANYTHING;
            }
            let (least, most) = range.unwrap_or((end, end));
            range = Some((least.min(end), most.max(end)));
        }
    }
    range.unwrap_or(ANYTHING)
}
