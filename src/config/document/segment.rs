//! What is written of learned segments.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::text::{NonEmpty, OwnHeader};
use crate::config::written::{Named, Placed, Written};

/// A learned segment, and where the features of callers come from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ model: segments.json, name: quiet, features: { table: features.csv } }`"
)]
pub(in crate::config) struct SegmentDocument {
    /// The model, as `serin segment train` writes it. The path is relative to the configuration.
    pub(in crate::config) model: Written<NonEmpty>,
    /// The segment's name in the model.
    pub(in crate::config) name: Written<NonEmpty>,
    /// Where the features of callers come from.
    pub(in crate::config) features: FeaturesDocument,
    /// The segment of callers whose features are not known. Without it, they are in none.
    pub(in crate::config) default: Option<Written<NonEmpty>>,
}

/// Where the features of callers come from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum FeaturesDocument {
    /// A table of comma-separated values with a header: the caller's key in a column `key`, and a column
    /// for each feature of the model. The path is relative to the configuration.
    Table(Written<NonEmpty>),
    /// For each feature of the model the header that has it, believed from trusted proxies only and removed
    /// when anyone else sends it.
    Headers(Placed<Named<NonEmpty, Written<OwnHeader>>>),
    /// For each feature of the model the claim that has it, a number or a text that is one, in a token that `jwt`
    /// has verified. `a.b` is the claim `b` within `a`.
    Claims(Placed<Named<NonEmpty, Written<NonEmpty>>>),
}
