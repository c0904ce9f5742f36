//! What a condition says of values.

use std::cmp::Ordering;

use crate::domain::further::values::{StageValues, ValueName};

/// Something that is true, false or unknown.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Truth {
    Compared(Number, Comparison, Number),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

/// A number, which may be unknown.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Number {
    Constant(f64),
    Value(ValueName),
    Negated(Box<Self>),
    Computed(Box<Self>, Arithmetic, Box<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Less,
    AtMost,
    Greater,
    AtLeast,
    Equal,
    NotEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Comparison {
    pub(super) fn of(symbol: &str) -> Option<Self> {
        match symbol {
            "<" => Some(Self::Less),
            "<=" => Some(Self::AtMost),
            ">" => Some(Self::Greater),
            ">=" => Some(Self::AtLeast),
            "==" => Some(Self::Equal),
            "!=" => Some(Self::NotEqual),
            _ => None,
        }
    }

    pub(super) const fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::AtLeast => order.is_ge(),
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
        }
    }
}

impl Arithmetic {
    pub(super) fn of_sum(symbol: &str) -> Option<Self> {
        match symbol {
            "+" => Some(Self::Add),
            "-" => Some(Self::Subtract),
            _ => None,
        }
    }

    pub(super) fn of_product(symbol: &str) -> Option<Self> {
        match symbol {
            "*" => Some(Self::Multiply),
            "/" => Some(Self::Divide),
            _ => None,
        }
    }

    pub(super) fn compute(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
        }
    }
}

impl Truth {
    /// Whether it is so; `None` where that depends on something unknown.
    pub(super) fn evaluate(&self, values: &StageValues) -> Option<bool> {
        match self {
            Self::Compared(left, comparison, right) => {
                let (left, right) = (left.evaluate(values)?, right.evaluate(values)?);
                Some(comparison.holds(left.partial_cmp(&right)?))
            }
            Self::Not(turned) => turned.evaluate(values).map(|truth| !truth),
            Self::And(one, other) => match (one.evaluate(values), other.evaluate(values)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                (None, _) | (_, None) => None,
            },
            Self::Or(one, other) => match (one.evaluate(values), other.evaluate(values)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                (None, _) | (_, None) => None,
            },
        }
    }

    /// Adds the values it names, each once, in the order in which they are written.
    pub(super) fn name_values(&self, named: &mut Vec<ValueName>) {
        match self {
            Self::Compared(left, _, right) => {
                left.name_values(named);
                right.name_values(named);
            }
            Self::Not(turned) => turned.name_values(named),
            Self::And(one, other) | Self::Or(one, other) => {
                one.name_values(named);
                other.name_values(named);
            }
        }
    }
}

impl Number {
    /// Its value; `None` where it depends on something unknown, or is none (1 / 0).
    fn evaluate(&self, values: &StageValues) -> Option<f64> {
        let value = match self {
            Self::Constant(number) => *number,
            Self::Value(name) => values.get(*name)?,
            Self::Negated(number) => -number.evaluate(values)?,
            Self::Computed(left, operator, right) => {
                operator.compute(left.evaluate(values)?, right.evaluate(values)?)
            }
        };
        Some(value).filter(|value| value.is_finite())
    }

    fn name_values(&self, named: &mut Vec<ValueName>) {
        match self {
            Self::Constant(_) => {}
            Self::Value(name) if named.contains(name) => {}
            Self::Value(name) => named.push(*name),
            Self::Negated(number) => number.name_values(named),
            Self::Computed(left, _, right) => {
                left.name_values(named);
                right.name_values(named);
            }
        }
    }
}
