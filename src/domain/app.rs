//! Applications of third parties: who they are, what came of their review, and by which keys they are known.
//!
//! An app is declared in a file or registered at run time. What was done at run time, a status given and keys
//! added, is kept in its [`AppRecord`] and lies over the file's declaration: a status until the file's own
//! changes, `revoked` for good, and so are keys and their ends. Of a key only its SHA-256 is known here.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::ids::AppId;
use crate::domain::key_digest::KeyDigest;

/// The most apps that there may be, of file and run time together: a platform with more has a registry of
/// its own to generate a file from.
pub const APPS_MAX: usize = 100_000;

/// The most keys of an app: one in use, one to come, and some for its environments.
pub const KEYS_MAX: usize = 16;

/// The most attributes of an app besides its name and owner.
pub const ATTRIBUTES_MAX: usize = 32;

/// The longest attribute, name or owner, in bytes.
pub const ATTRIBUTE_BYTES_MAX: usize = 256;

/// Attributes that every app has, which no other may be called.
pub const OWN_ATTRIBUTES: [&str; 4] = ["id", "name", "owner", "status"];

/// What came of an app's review.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AppStatus {
    /// It waits to be reviewed.
    #[default]
    Pending,
    /// It may pass.
    Approved,
    /// It may not pass for now.
    Suspended,
    /// It may pass no more, for good.
    Revoked,
}

impl AppStatus {
    /// Each of them.
    pub const ALL: [Self; 4] = [
        Self::Pending,
        Self::Approved,
        Self::Suspended,
        Self::Revoked,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }

    /// The status after a verdict of the review.
    ///
    /// # Errors
    /// When the app is revoked: that is for good, so that a key which had to be taken away does not come back
    /// by a slip of the hand.
    pub fn after(self, review: Review) -> Result<Self, Final> {
        match (self, review) {
            (_, Review::Revoke) => Ok(Self::Revoked),
            (Self::Revoked, _) => Err(Final),
            (_, Review::Approve) => Ok(Self::Approved),
            (_, Review::Suspend) => Ok(Self::Suspended),
        }
    }
}

impl fmt::Display for AppStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a review comes too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is revoked, which is for good; register another app")]
pub struct Final;

/// A verdict of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Review {
    /// It may pass.
    Approve,
    /// It may not pass for now.
    Suspend,
    /// It may pass no more.
    Revoke,
}

/// How often an app may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests in each second.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub requests_per_second: u32,
    /// Requests at once, after a pause.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub burst: u32,
}

/// The most requests per second, and at once, of a limit: beyond it nobody is limited.
pub const RATE_MAX: u32 = 1_000_000;

/// A key of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppKey {
    /// What people call it; empty for no name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its SHA-256.
    pub sha256: KeyDigest,
    /// When it was made, in milliseconds since 1970, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_unix_ms: Option<u64>,
    /// When it ends, in milliseconds since 1970; never, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix_ms: Option<u64>,
}

impl AppKey {
    /// Whether it has ended.
    pub fn has_ended(&self, now_unix_ms: u64) -> bool {
        self.expires_unix_ms.is_some_and(|end| end <= now_unix_ms)
    }

    fn end_by(&mut self, end_unix_ms: u64) {
        let known = self.expires_unix_ms.unwrap_or(u64::MAX);
        self.expires_unix_ms = Some(known.min(end_unix_ms));
    }
}

/// What an app says of itself, and what it is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppProfile {
    /// What people call it; empty for its id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Whose it is; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// What else is known of it, `tier` among it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// How often it may ask; as often as it likes, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

impl AppProfile {
    /// Whether it can be taken.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), UnfitProfile> {
        if self.attributes.len() > ATTRIBUTES_MAX {
            return Err(UnfitProfile::TooMany);
        }
        let own = [("name", &self.name), ("owner", &self.owner)];
        let given = self.attributes.iter();
        let given = given.map(|(name, value)| (name.as_str(), value));
        for (name, value) in own.into_iter().chain(given.clone()) {
            if name.len() > ATTRIBUTE_BYTES_MAX || value.len() > ATTRIBUTE_BYTES_MAX {
                return Err(UnfitProfile::TooLong(name.to_owned()));
            }
            if name.is_empty() || name.chars().chain(value.chars()).any(char::is_control) {
                return Err(UnfitProfile::NotALine(name.to_owned()));
            }
        }
        let mut names = given.map(|(name, _)| name);
        match names.find(|name| OWN_ATTRIBUTES.contains(name)) {
            Some(own) => Err(UnfitProfile::Own(own.to_owned())),
            None => Ok(()),
        }
    }
}

/// Why a profile cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitProfile {
    /// It has too many attributes.
    #[error("an app has at most {ATTRIBUTES_MAX} attributes")]
    TooMany,
    /// A text is too long.
    #[error("`{0}` has more than {ATTRIBUTE_BYTES_MAX} bytes")]
    TooLong(String),
    /// A text cannot be shown on one line.
    #[error("`{0}` is empty or has a control character")]
    NotALine(String),
    /// It is not for `attributes`.
    #[error("`{0}` is what every app has, and no attribute beside it")]
    Own(String),
}

/// An app as a file declares it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// What is said of it.
    pub profile: AppProfile,
    /// Its status, unless another was given at run time.
    pub status: AppStatus,
    /// Its keys.
    pub keys: Vec<AppKey>,
}

/// All apps that files declare.
pub type Declarations = BTreeMap<AppId, Declared>;

/// A status given at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenStatus {
    /// The status.
    pub status: AppStatus,
    /// What the file said then; none where it said nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<AppStatus>,
}

/// What was done of an app at run time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRecord {
    /// What it was registered with; none for one that is in a file only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered: Option<AppProfile>,
    /// The status it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<GivenStatus>,
    /// Keys that were added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<AppKey>,
    /// When keys of the file were made to end, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ends: BTreeMap<KeyDigest, u64>,
}

impl AppRecord {
    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What still holds beside what a file declares now: a status gives way where the file's own has changed, and
    /// neither `revoked` nor the end of a key ever does, for whoever has a key that leaked has it still. Whoever was
    /// suspended stays so where a file declares it from now on.
    pub fn beside(&self, declared: Option<&Declared>) -> Self {
        let Some(declared) = declared else {
            return self.clone();
        };
        let holds = |given: &GivenStatus| {
            let is_new_in_file = given.over.is_none();
            given.status == AppStatus::Revoked
                || given.over == Some(declared.status)
                || is_new_in_file && given.status == AppStatus::Suspended
        };
        Self {
            given: self.given.filter(holds),
            ..self.clone()
        }
    }

    /// Whether it was revoked at run time, so that it stays revoked whatever a file says.
    pub fn is_revoked(&self) -> bool {
        self.given
            .is_some_and(|given| given.status == AppStatus::Revoked)
    }

    /// Adds a key. Those before it end after so long, if that is said; those that have ended are forgotten.
    pub fn rotate(
        &mut self,
        declared: Option<&Declared>,
        key: AppKey,
        expire_old_at_unix_ms: Option<u64>,
        now_unix_ms: u64,
    ) {
        if let Some(end) = expire_old_at_unix_ms {
            self.keys.iter_mut().for_each(|key| key.end_by(end));
            for known in declared.iter().flat_map(|declared| &declared.keys) {
                let at = self.ends.entry(known.sha256).or_insert(end);
                *at = end.min(*at);
            }
        }
        self.keys.retain(|key| !key.has_ended(now_unix_ms));
        self.keys.push(key);
    }
}

/// Where an app is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppSource {
    /// In a file.
    File,
    /// Over the API, at run time.
    Api,
}

/// An app as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its id, which is its key as a caller.
    pub id: AppId,
    /// What is said of it.
    pub profile: AppProfile,
    /// What came of its review.
    pub status: AppStatus,
    /// Whether the status was given at run time and is not the file's.
    pub is_given: bool,
    /// Its keys, those that have ended included.
    pub keys: Vec<AppKey>,
    /// Where it is defined.
    pub source: AppSource,
}

impl App {
    /// What a declaration and what was done at run time come to; none where there is no app.
    pub fn of(id: &AppId, declared: Option<&Declared>, record: Option<&AppRecord>) -> Option<Self> {
        let registered = record.and_then(|record| record.registered.as_ref());
        let (profile, source) = match declared {
            Some(declared) => (&declared.profile, AppSource::File),
            None => (registered?, AppSource::Api),
        };
        let given = record.and_then(|record| record.given);
        let own = declared.map(|declared| declared.status);
        let mut keys = declared.map(|declared| declared.keys.clone());
        for key in keys.iter_mut().flatten() {
            let end = record.and_then(|record| record.ends.get(&key.sha256));
            end.iter().for_each(|end| key.end_by(**end));
        }
        let mut keys = keys.unwrap_or_default();
        for added in record.iter().flat_map(|record| &record.keys) {
            match keys.iter_mut().find(|key| key.sha256 == added.sha256) {
                Some(known) => added
                    .expires_unix_ms
                    .iter()
                    .for_each(|end| known.end_by(*end)),
                None => keys.push(added.clone()),
            }
        }
        Some(Self {
            id: id.clone(),
            profile: profile.clone(),
            status: given.map(|given| given.status).or(own).unwrap_or_default(),
            is_given: declared.is_some() && given.is_some(),
            keys,
            source,
        })
    }

    /// One of its attributes.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        match name {
            "id" => Some(self.id.as_str()),
            "status" => Some(self.status.as_str()),
            "name" => Some(&self.profile.name),
            "owner" => Some(&self.profile.owner),
            other => self.profile.attributes.get(other).map(String::as_str),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::name;

    fn key(byte: u8, expires_unix_ms: Option<u64>) -> AppKey {
        AppKey {
            name: String::new(),
            sha256: KeyDigest([byte; 32]),
            created_unix_ms: None,
            expires_unix_ms,
        }
    }

    fn declared(status: AppStatus) -> Declared {
        Declared {
            status,
            keys: vec![key(1, None)],
            ..Declared::default()
        }
    }

    fn given(status: AppStatus, over: Option<AppStatus>) -> AppRecord {
        AppRecord {
            given: Some(GivenStatus { status, over }),
            ..AppRecord::default()
        }
    }

    #[test]
    fn each_status_meets_each_review() {
        use AppStatus::{Approved, Pending, Revoked, Suspended};
        for (before, approved, suspended) in [
            (Pending, Ok(Approved), Ok(Suspended)),
            (Approved, Ok(Approved), Ok(Suspended)),
            (Suspended, Ok(Approved), Ok(Suspended)),
            (Revoked, Err(Final), Err(Final)),
        ] {
            assert_eq!(before.after(Review::Approve), approved);
            assert_eq!(before.after(Review::Suspend), suspended);
            assert_eq!(before.after(Review::Revoke), Ok(Revoked));
        }
    }

    #[test]
    fn a_given_status_holds_until_the_files_own_changes() {
        use AppStatus::{Approved, Pending, Suspended};
        let (id, record) = (name("app"), given(Suspended, Some(Approved)));
        let status = |own| {
            let declared = declared(own);
            let left = record.beside(Some(&declared));
            App::of(&id, Some(&declared), Some(&left)).unwrap().status
        };
        assert_eq!(status(Approved), Suspended);
        assert_eq!(status(Pending), Pending);
        // What was given to an app of no file gives way to the first file that declares it.
        let registered = given(Approved, None);
        assert_eq!(registered.beside(None), registered);
        assert_eq!(registered.beside(Some(&declared(Pending))).given, None);
    }

    #[test]
    fn what_was_revoked_stays_so_whatever_a_file_says_later() {
        use AppStatus::{Approved, Pending, Revoked, Suspended};
        for over in [None, Some(Approved), Some(Suspended), Some(Revoked)] {
            let record = given(Revoked, over);
            let files = [Some(Suspended), Some(Approved), None, Some(Pending)];
            for file in files.map(|own| own.map(declared)) {
                let left = record.beside(file.as_ref());
                assert_eq!(left, record);
                let app = App::of(&name("app"), file.as_ref(), Some(&left));
                assert_eq!(app.map(|app| app.status), file.map(|_| Revoked));
            }
        }
    }

    #[test]
    fn a_key_that_was_made_to_end_does_not_come_back_with_the_file() {
        let mut record = AppRecord::default();
        let file = declared(AppStatus::Approved);
        record.rotate(Some(&file), key(2, None), Some(100), 10);
        let without = Declared {
            keys: vec![key(3, None)],
            ..file.clone()
        };
        let left = record.beside(Some(&without)).beside(Some(&file));
        let app = App::of(&name("app"), Some(&file), Some(&left)).unwrap();
        let ends: Vec<_> = app.keys.iter().map(|key| key.expires_unix_ms).collect();
        assert_eq!(ends, [Some(100), None]);
    }

    #[test]
    fn a_key_of_file_and_run_time_alike_is_one_and_ends_with_the_first() {
        let file = declared(AppStatus::Approved);
        for (of_file, of_record) in [(None, Some(7)), (Some(7), None), (Some(7), Some(9))] {
            let file = Declared {
                keys: vec![key(1, of_file)],
                ..file.clone()
            };
            let record = AppRecord {
                keys: vec![key(1, of_record), key(2, None)],
                ..AppRecord::default()
            };
            let app = App::of(&name("app"), Some(&file), Some(&record)).unwrap();
            assert_eq!(app.keys, [key(1, Some(7)), key(2, None)]);
        }
    }

    #[test]
    fn there_is_an_app_where_it_is_declared_or_registered() {
        let (id, record) = (name("app"), given(AppStatus::Approved, None));
        assert_eq!(App::of(&id, None, Some(&record)), None);
        let registered = AppRecord {
            registered: Some(AppProfile::default()),
            ..record
        };
        let app = App::of(&id, None, Some(&registered)).unwrap();
        assert_eq!(
            (app.status, app.source),
            (AppStatus::Approved, AppSource::Api)
        );
        assert_eq!(app.attribute("status"), Some("approved"));
        assert_eq!(app.attribute("tier"), None);
    }

    #[test]
    fn a_new_key_ends_those_before_it_and_no_end_is_put_off() {
        let (file, mut record) = (declared(AppStatus::Approved), AppRecord::default());
        record.rotate(Some(&file), key(2, Some(50)), None, 10);
        record.rotate(Some(&file), key(3, None), Some(100), 20);
        let ends = |record: &AppRecord| {
            let app = App::of(&name("app"), Some(&file), Some(record)).unwrap();
            let ends = app.keys.iter();
            ends.map(|key| key.expires_unix_ms).collect::<Vec<_>>()
        };
        assert_eq!(ends(&record), [Some(100), Some(50), None]);
        record.rotate(Some(&file), key(4, None), Some(200), 60);
        assert_eq!(ends(&record), [Some(100), Some(200), None], "one is gone");
        record.rotate(Some(&file), key(5, None), Some(70), 70);
        assert_eq!(
            record.keys,
            [key(5, None)],
            "those that end at once make room"
        );
    }

    #[test]
    fn whoever_was_suspended_stays_so_where_a_file_declares_it_from_now_on() {
        for (run_time, expected) in [
            (AppStatus::Suspended, AppStatus::Suspended),
            (AppStatus::Revoked, AppStatus::Revoked),
            (AppStatus::Approved, AppStatus::Pending),
        ] {
            let file = declared(AppStatus::Pending);
            let left = given(run_time, None).beside(Some(&file));
            let app = App::of(&name("app"), Some(&file), Some(&left)).unwrap();
            assert_eq!(app.status, expected);
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut record = given(AppStatus::Suspended, Some(AppStatus::Approved));
        record.rotate(
            Some(&declared(AppStatus::Approved)),
            key(2, Some(9)),
            Some(7),
            1,
        );
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<AppRecord>(&text).unwrap(), record);
        assert!(AppRecord::default().is_empty() && !record.is_empty());
    }

    #[test]
    fn what_every_app_has_is_no_attribute() {
        let with = |name: &str, value: &str| {
            let attributes = [(name.to_owned(), value.to_owned())];
            let attributes = attributes.into_iter().collect();
            let profile = AppProfile {
                attributes,
                ..AppProfile::default()
            };
            profile.check()
        };
        assert_eq!(with("tier", "gold"), Ok(()));
        assert_eq!(
            with("status", "x"),
            Err(UnfitProfile::Own("status".to_owned()))
        );
        assert!(with("tier", "a\nb").is_err() && with("", "x").is_err());
        assert!(with("tier", &"x".repeat(ATTRIBUTE_BYTES_MAX + 1)).is_err());
    }
}
