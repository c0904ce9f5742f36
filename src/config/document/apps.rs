//! What is written of apps.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::app::RATE_MAX;
use crate::domain::ids::AppId;
use crate::domain::key_digest::KeyDigest;

use crate::config::single::Date;
use crate::config::text::NonEmpty;
use crate::config::written::{Count, Named, Placed, Switch, Written};

/// The apps of an open platform.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ file: apps.yaml, require_approved: true }`"
)]
pub(in crate::config) struct AppsDocument {
    /// A file of apps, in the form of `list`. The path is relative to the configuration.
    pub(in crate::config) file: Option<Written<NonEmpty>>,
    /// Apps, by id.
    #[serde(default)]
    pub(in crate::config) list: AppListDocument,
    /// Whether only approved apps pass.
    pub(in crate::config) require_approved: Option<Switch>,
}

/// Apps, by id.
pub(in crate::config) type AppListDocument = Named<AppId, Placed<AppDocument>>;

/// An application of a third party.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ owner: acme, status: approved, keys: […] }`"
)]
pub(in crate::config) struct AppDocument {
    /// What people call it.
    pub(in crate::config) name: Option<Written<NonEmpty>>,
    /// Whose it is.
    pub(in crate::config) owner: Option<Written<NonEmpty>>,
    /// What came of its review, unless another status is given at run time.
    pub(in crate::config) status: Option<AppStatusDocument>,
    /// Its tier, an attribute like any other.
    pub(in crate::config) tier: Option<Written<NonEmpty>>,
    /// What else is known of it, for groups.
    #[serde(default)]
    pub(in crate::config) attributes: Named<NonEmpty, Written<NonEmpty>>,
    /// Its keys, each by its hash.
    #[serde(default)]
    pub(in crate::config) keys: Vec<Placed<AppKeyDocument>>,
    /// How often it may ask. Without it, as often as it likes.
    pub(in crate::config) rate_limit: Option<RateLimitDocument>,
}

/// What came of an app's review.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum AppStatusDocument {
    /// It waits to be reviewed.
    Pending,
    /// It may pass.
    Approved,
    /// It may not pass for now.
    Suspended,
    /// It may pass no more.
    Revoked,
}

/// A key, by its hash.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ sha256: …, expires: 2027-01-31T00:00:00Z }`"
)]
pub(in crate::config) struct AppKeyDocument {
    /// Its SHA-256: what `printf %s KEY | sha256sum` prints.
    pub(in crate::config) sha256: Written<KeyDigest>,
    /// What people call it.
    pub(in crate::config) name: Option<Written<NonEmpty>>,
    /// When it ends. Without it, never.
    pub(in crate::config) expires: Option<Written<Date>>,
}

/// How often an app may ask.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a map such as `{ requests_per_second: 50, burst: 100 }`"
)]
pub(in crate::config) struct RateLimitDocument {
    /// Requests in each second, over a longer time.
    pub(in crate::config) requests_per_second: Count<{ RATE_MAX as u64 }>,
    /// Requests at once, after a pause. Without it, those of a second.
    pub(in crate::config) burst: Option<Count<{ RATE_MAX as u64 }>>,
}
