//! What a flag chooses between, by name, and the values that applications get for it.
//!
//! One of the variants is *off*: what everybody has who is given nothing else, and everybody while the flag is
//! disabled. Of a flag between two backends the variants are `stable`, which is off, and `canary`.
//!
//! Where there are several beside off, they take the buckets from 0 up in the order in which they are written,
//! each from where the one before it ends; off has the rest. So the last may grow without moving anybody
//! but callers of off. When an earlier one grows, its new callers come from the next, and the next ones each move on by
//! as much: no caller of the grown one loses it. That is flagd's fractional scheme with off as the last of the list.

use std::sync::Arc;

use serde_json::Value;

use crate::domain::ids::VariantName;
use crate::domain::share::Share;
use crate::domain::variant::{PerVariant, Variant};
use crate::domain::weight::Weight;

/// A variant and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedValue {
    /// The name.
    pub name: VariantName,
    /// What applications get; never null.
    pub value: Value,
}

/// The variants of a flag, in the order in which they are written.
#[derive(Clone, Debug, PartialEq)]
pub struct Variants {
    list: Arc<[NamedValue]>,
    off: usize,
}

/// Why a share cannot be of these variants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidShare {
    /// There is no such variant.
    #[error("there is no variant `{0}`, there are: {1}")]
    Unknown(VariantName, String),
    /// What is left over cannot be asked for.
    #[error("`{0}` has the rest; name the others")]
    Off(VariantName),
    /// There is not so much.
    #[error("the weights are more than 100% together")]
    TooMuch,
    /// One weight for several.
    #[error("say which variant gets it, such as `{0}={1}`")]
    Unnamed(VariantName, Weight),
}

/// Where the callers of each variant end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Of all but off together.
    pub(super) total: Weight,
    /// Of each but off, in order; empty where there is one.
    pub(super) each: Box<[Weight]>,
}

impl Variants {
    /// The variants of a flag without backends; `off` is the place of one of at least two.
    ///
    /// `None` where it is not, or a name comes twice.
    pub fn new(list: Vec<NamedValue>, off: usize) -> Option<Self> {
        let is_new = |place: usize| !list[..place].iter().any(|one| one.name == list[place].name);
        let is_sound = list.len() > 1 && off < list.len() && (0..list.len()).all(is_new);
        is_sound.then(|| Self {
            list: list.into(),
            off,
        })
    }

    /// The variants of a flag between two backends; the value of each is its name where there is no other.
    pub fn of_arms(values: PerVariant<Option<Value>>) -> Self {
        let named = |variant: Variant, value: Option<Value>| NamedValue {
            name: variant.into(),
            value: value.unwrap_or_else(|| Value::from(variant.as_str())),
        };
        let PerVariant { stable, canary } = values;
        let list = [
            named(Variant::Stable, stable),
            named(Variant::Canary, canary),
        ];
        Self {
            list: list.into(),
            off: 0,
        }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &NamedValue> {
        self.list.iter()
    }

    /// One of them.
    pub fn get(&self, place: usize) -> &NamedValue {
        &self.list[place]
    }

    /// The place of a name.
    pub fn place_of(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|one| one.name.as_str() == name)
    }

    /// The place of the one that everybody has who gets no other.
    pub const fn off(&self) -> usize {
        self.off
    }

    /// The places of the others, in order.
    pub fn others(&self) -> impl Iterator<Item = usize> {
        let off = self.off;
        (0..self.list.len()).filter(move |place| *place != off)
    }

    fn has_one_other(&self) -> bool {
        self.list.len() == 2
    }

    /// A share as it is kept: a weight where there is one variant beside off, and else the weight of each.
    ///
    /// # Errors
    /// When it is not one of these variants.
    pub fn normal(&self, share: &Share) -> Result<Share, InvalidShare> {
        let mut others = self.others().map(|place| &self.get(place).name);
        match share {
            Share::Of(weight) if self.has_one_other() => Ok(Share::Of(*weight)),
            Share::Of(Weight::ZERO) => Ok(Share::Split(
                others.map(|name| (name.clone(), Weight::ZERO)).collect(),
            )),
            Share::Of(weight) => {
                let first = others.next().unwrap_or_else(|| &self.get(self.off).name);
                Err(InvalidShare::Unnamed(first.clone(), *weight))
            }
            Share::Split(parts) => {
                for name in parts.keys() {
                    self.check_other(name)?;
                }
                let weight = |name: &VariantName| parts.get(name).copied().unwrap_or_default();
                let sum = |sum: u32, weight: &Weight| sum + u32::from(weight.basis_points());
                if parts.values().fold(0, sum) > Weight::WHOLE.into() {
                    return Err(InvalidShare::TooMuch);
                }
                if self.has_one_other() {
                    return Ok(Share::Of(others.next().map(weight).unwrap_or_default()));
                }
                let each = others.map(|name| (name.clone(), weight(name)));
                Ok(Share::Split(each.collect()))
            }
        }
    }

    fn check_other(&self, name: &VariantName) -> Result<(), InvalidShare> {
        match self.place_of(name.as_str()) {
            None => {
                let known: Vec<_> = self.iter().map(|one| one.name.as_str()).collect();
                Err(InvalidShare::Unknown(name.clone(), known.join(", ")))
            }
            Some(place) if place == self.off => Err(InvalidShare::Off(name.clone())),
            Some(_) => Ok(()),
        }
    }

    /// Where the callers of each variant end by a share.
    ///
    /// # Errors
    /// When it is not one of these variants.
    pub fn ends(&self, share: &Share) -> Result<Ends, InvalidShare> {
        let parts = match self.normal(share)? {
            Share::Of(total) => {
                return Ok(Ends {
                    total,
                    each: Box::default(),
                });
            }
            Share::Split(parts) => parts,
        };
        let mut end = 0;
        let ends = self.others().map(|place| {
            let own = parts.get(&self.get(place).name);
            end += own.map_or(0, |weight| weight.basis_points());
            // The sum is at most the whole.
            Weight::from_basis_points(end).unwrap_or(Weight::FULL)
        });
        let each: Box<[Weight]> = ends.collect();
        Ok(Ends {
            total: each.last().copied().unwrap_or_default(),
            each,
        })
    }

    /// The share that ends there.
    pub fn share(&self, ends: &Ends) -> Share {
        if ends.each.is_empty() {
            return Share::Of(ends.total);
        }
        let begins = std::iter::once(Weight::ZERO).chain(ends.each.iter().copied());
        let weights = begins.zip(&ends.each).map(|(begin, end)| {
            let width = end.basis_points().saturating_sub(begin.basis_points());
            Weight::from_basis_points(width).unwrap_or_default()
        });
        let names = self.others().map(|place| self.get(place).name.clone());
        Share::Split(names.zip(weights).collect())
    }
}

impl Default for Variants {
    fn default() -> Self {
        Self::of_arms(PerVariant::default())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::testing::{name, percent};

    /// Variants whose values are their names, the first one off.
    pub(crate) fn named(names: &[&str]) -> Variants {
        let list = names.iter().map(|text| NamedValue {
            name: name(text),
            value: Value::from(*text),
        });
        Variants::new(list.collect(), 0).unwrap()
    }

    #[test]
    fn a_share_names_variants_that_there_are_and_no_more_than_all() {
        let two = named(&["off", "on"]);
        let three = named(&["off", "on", "blue"]);
        let read = |variants: &Variants, text: &str| {
            let share = variants.normal(&text.parse().unwrap());
            share
                .map(|share| share.to_string())
                .map_err(|error| error.to_string())
        };
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(read(&two, "on=20%"), ok("20%"));
        assert_eq!(read(&two, "20%"), ok("20%"));
        assert_eq!(read(&three, "on=20%"), ok("blue=0%,on=20%"));
        assert_eq!(read(&three, "0%"), ok("blue=0%,on=0%"));
        for (variants, text, problem) in [
            (&three, "20%", "say which variant gets it, such as `on=20%`"),
            (&three, "off=20%", "`off` has the rest; name the others"),
            (
                &two,
                "red=20%",
                "there is no variant `red`, there are: off, on",
            ),
            (
                &three,
                "on=60%,blue=40.01%",
                "the weights are more than 100% together",
            ),
        ] {
            assert_eq!(read(variants, text), Err(problem.to_owned()));
        }
    }

    #[test]
    fn variants_are_at_least_two_and_off_is_one_of_them() {
        let list = |names: &[&str]| {
            let named = |text: &&str| NamedValue {
                name: name(text),
                value: Value::Bool(true),
            };
            names.iter().map(named).collect::<Vec<_>>()
        };
        assert!(Variants::new(list(&["on"]), 0).is_none());
        assert!(Variants::new(list(&["on", "off"]), 2).is_none());
        assert!(Variants::new(list(&["on", "on"]), 0).is_none());
        assert!(Variants::new(list(&["on", "off"]), 1).is_some());
    }

    proptest! {
        #[test]
        fn a_share_comes_back_from_where_it_ends(on in 0_u16..=50, blue in 0_u16..=50) {
            let three = named(&["off", "on", "blue"]);
            let parts = [(name("on"), percent(on)), (name("blue"), percent(blue))];
            let share = Share::Split(parts.into_iter().collect());
            let ends = three.ends(&share).unwrap();
            prop_assert_eq!(ends.total, percent(on + blue));
            prop_assert_eq!(three.share(&ends), share);
        }
    }
}
