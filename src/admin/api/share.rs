//! How a share of a flag's variants is said to the API: `"20%"`, `"on=20%,blue=30%"`, or an object of the same.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::error::ApiError;
use crate::domain::share::Share;

/// A share as it was said.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Share)]
pub(crate) enum ShareWish {
    Text(String),
    Parts(BTreeMap<String, String>),
}

impl ShareWish {
    /// What it means at this key, or what is wrong with it.
    pub(super) fn read(self, key: &str) -> Result<Share, ApiError> {
        let text = match self {
            Self::Text(text) => text,
            Self::Parts(parts) if parts.is_empty() => return Ok(Share::NOBODY),
            Self::Parts(parts) => {
                let parts = parts.iter();
                let parts: Vec<_> = parts
                    .map(|(name, weight)| format!("{name}={weight}"))
                    .collect();
                parts.join(",")
            }
        };
        text.parse()
            .map_err(|error| ApiError::BadRequest(format!("`{key}`: {error}")))
    }
}

impl<'de> Deserialize<'de> for ShareWish {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShareVisitor)
    }
}

struct ShareVisitor;

impl<'de> Visitor<'de> for ShareVisitor {
    type Value = ShareWish;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a text such as "20%", or an object such as {"on": "20%"}"#)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ShareWish, E> {
        Ok(ShareWish::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ShareWish, A::Error> {
        let mut parts = BTreeMap::new();
        while let Some((name, weight)) = map.next_entry()? {
            parts.insert(name, weight);
        }
        Ok(ShareWish::Parts(parts))
    }
}
