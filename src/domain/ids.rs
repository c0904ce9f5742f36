//! Names that are checked once, when they are read, and trusted afterwards.
//!
//! Names come from the configuration and the admin API, end up in metric labels, headers and
//! URLs, and are compared on hot paths; so they are short, plain ASCII and cheap to clone.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::domain::variant::Variant;

/// The longest name accepted, in bytes: what a DNS label allows, and short enough for a header.
pub const NAME_BYTES_MAX: usize = 63;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a name: 1 to 63 ASCII letters, digits, `-`, `_` or `.`, starting with a letter or digit"
)]
pub struct InvalidName {
    /// The text that was refused.
    pub text: String,
}

fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
        #[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if is_name(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidName { text: text.to_owned() })
                }
            }
        }

        /// Read as text and checked like any other, so a stored name is no back door.
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    )*};
}

names! {
    /// The name of a flag.
    FlagName;
    /// The name of a group of callers.
    GroupName;
    /// The name of a backend: a pool of servers.
    BackendName;
    /// The name of an operator's token: who did what, in the journal.
    TokenName;
    /// The name of a target: someone who is told of changes.
    TargetName;
    /// The name of a custom check.
    CustomCheckName;
    /// The name of one of a flag's variants.
    VariantName;
    /// The id of an app, and its key as a caller.
    AppId;
}

impl From<Variant> for VariantName {
    fn from(variant: Variant) -> Self {
        Self(variant.as_str().into())
    }
}

macro_rules! indexes {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub usize);
    )*};
}

indexes! {
    /// Place of a flag in [`RoutingSnapshot::flags`](crate::domain::routing::RoutingSnapshot).
    FlagIndex;
    /// Place of a group in the [`GroupTable`](crate::domain::group::GroupTable): the file's order.
    GroupIndex;
    /// Place of a backend in [`RoutingSnapshot::backends`](crate::domain::routing::RoutingSnapshot).
    BackendIndex;
    /// Place of a route in the [`RouteTable`](crate::domain::route::RouteTable): the file's order.
    RouteIndex;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_short_and_start_with_a_letter_or_digit() {
        for good in ["orders", "orders-v2", "a", "2.4_x", &"n".repeat(63)] {
            assert_eq!(good.parse::<FlagName>().unwrap().as_str(), good);
        }
        for bad in ["", "-x", "a b", "größe", "a/b", &"n".repeat(64)] {
            assert!(bad.parse::<FlagName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_stored_name_is_checked_when_it_is_read() {
        let name: GroupName = serde_json::from_str("\"beta\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"beta\"");
        assert!(serde_json::from_str::<GroupName>("\"a b\"").is_err());
    }
}
