//! What operators may want of apps, and what they are answered.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::app::{
    APPS_MAX, App, AppKey, AppProfile, AppSource, AppStatus, Final, KEYS_MAX, RateLimit, Review,
    UnfitProfile,
};
use crate::domain::ids::AppId;
use crate::domain::secret::Secret;
use crate::runtime::api_key;

/// What operators want of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppOrder {
    /// That there is one, with this profile; it gets a key.
    Register(AppProfile),
    /// That one which was registered has this profile from now on.
    Redefine(AppProfile),
    /// A verdict of its review.
    Review(Review),
    /// A new key.
    RotateKey {
        /// What people call it; empty for no name.
        name: String,
        /// How long it lasts; for good, if `None`.
        lasting: Option<Duration>,
        /// After how long the keys before it end; as they would, if `None`.
        expire_old: Option<Duration>,
    },
    /// That one which was registered is no more.
    Delete,
}

impl AppOrder {
    /// Whether all it does is to keep requests out.
    pub(super) const fn takes_away(&self) -> bool {
        matches!(
            self,
            Self::Review(Review::Suspend | Review::Revoke) | Self::Delete
        )
    }
}

/// Why an app is not as it was wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// There is no such app.
    #[error("no app `{0}`")]
    NoApp(String),
    /// There is one.
    #[error("app `{0}` is there already; `If-Match` with its version defines it anew")]
    Exists(AppId),
    /// It is another version of it.
    #[error("app `{id}` has changed; its version is \"{version}\" now")]
    Stale {
        /// The app.
        id: AppId,
        /// The version it has.
        version: String,
    },
    /// A file declares it.
    #[error("app `{0}` is declared in the configuration; change it there")]
    Declared(AppId),
    /// Its review is over.
    #[error("app `{0}`: {1}")]
    Final(AppId, Final),
    /// What is said of it makes no sense.
    #[error(transparent)]
    Unfit(#[from] UnfitProfile),
    /// There is no room for one more.
    #[error("there are {APPS_MAX} apps already, which is the most there may be")]
    TooManyApps,
    /// There is no room for one more key.
    #[error(
        "app `{0}` has {KEYS_MAX} keys already; have the old ones end at once by `expire_old: 0s`"
    )]
    TooManyKeys(AppId),
    /// No key can be made.
    #[error(transparent)]
    NoRandomness(#[from] api_key::NoRandomness),
    /// It could not be written down, so it was not done.
    #[error("not done, for it could not be written down: {0}")]
    NotWritten(String),
    /// Serin is stopping.
    #[error("the controller is stopping")]
    Stopping,
}

/// How an app stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AppView {
    /// Its id, which is its key as a caller.
    pub app: AppId,
    /// What people call it; absent for no name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// What came of its review.
    pub status: AppStatus,
    /// Whether the status was given at run time and holds in the place of the file's.
    pub is_overridden: bool,
    /// What else is known of it, `tier` among it.
    pub attributes: BTreeMap<String, String>,
    /// How often it may ask; as often as it likes, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Its keys, those that have ended included; nobody is shown a key twice.
    pub keys: Vec<KeyView>,
    /// Where it is defined.
    pub source: AppSource,
    /// Changes whenever anything of the above does: what a change may be made to depend on.
    pub version: String,
    /// Whether a restart would find it as it was before, for the last change could not be written down yet; absent
    /// if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_unwritten: bool,
}

/// What is shown of a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// The start of its SHA-256, which the journal calls it by.
    pub fingerprint: String,
    /// What people call it; absent for no name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// When it was made, in milliseconds since 1970; absent for one of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_unix_ms: Option<u64>,
    /// When it ends, in milliseconds since 1970; never, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix_ms: Option<u64>,
}

impl AppView {
    /// What is shown of an app.
    pub fn of(app: &App) -> Self {
        let key = |key: &AppKey| KeyView {
            fingerprint: key.sha256.fingerprint(),
            name: key.name.clone(),
            created_unix_ms: key.created_unix_ms,
            expires_unix_ms: key.expires_unix_ms,
        };
        let mut view = Self {
            app: app.id.clone(),
            name: app.profile.name.clone(),
            owner: app.profile.owner.clone(),
            status: app.status,
            is_overridden: app.is_given,
            attributes: app.profile.attributes.clone(),
            rate_limit: app.profile.rate_limit,
            keys: app.keys.iter().map(key).collect(),
            source: app.source,
            version: String::new(),
            is_unwritten: false,
        };
        let mut hasher = DefaultHasher::new();
        // What cannot be written as JSON cannot be shown either.
        serde_json::to_string(&view)
            .unwrap_or_default()
            .hash(&mut hasher);
        view.version = format!("{:016x}", hasher.finish());
        view
    }
}

/// What has become of an order.
#[derive(Debug)]
pub struct Ordered {
    /// How the app stands; none where it is gone.
    pub app: Option<AppView>,
    /// A key that was made, to be shown once.
    pub key: Option<Secret>,
}
