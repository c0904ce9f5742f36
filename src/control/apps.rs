//! Apps: registered, reviewed and given keys at run time; written down first, then in force.
//!
//! What a file declares, and what was done beside it, are put together for each app alone, so a change of
//! one is a change of one. Of a key nothing is kept, logged or written but its hash.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::control::app_orders::{AppError, AppOrder, AppView, Ordered};
use crate::control::controller::Controller;
use crate::control::perform::{Saved, Unwritten, line_about, not_done, now_unix_ms};
use crate::control::ports::{JournalLine, Subject, Transition};
use crate::control::shared_keys;
use crate::domain::app::{
    APPS_MAX, App, AppKey, AppProfile, AppRecord, Declarations, Declared, Final, GivenStatus,
    KEYS_MAX, Review,
};
use crate::domain::ids::AppId;
use crate::domain::key_digest::KeyDigest;
use crate::domain::rollout::{Author, JournalEntry};
use crate::domain::secret::Secret;
use crate::runtime::api_key;
use crate::runtime::apps::{AppRegistry, Moment};
use crate::runtime::key_hash::KeyHash;

/// What is known of apps: what files declare, and what was done beside.
#[derive(Debug, Default)]
pub(crate) struct Apps {
    declared: Arc<Declarations>,
    records: BTreeMap<AppId, AppRecord>,
    pub(super) registry: Arc<AppRegistry>,
}

impl Apps {
    pub(crate) fn new(records: BTreeMap<AppId, AppRecord>, registry: Arc<AppRegistry>) -> Self {
        Self {
            declared: Arc::default(),
            records,
            registry,
        }
    }

    fn app(&self, id: &AppId) -> Option<App> {
        App::of(id, self.declared.get(id), self.records.get(id))
    }

    /// Takes what files declare now; gives what gives way to it, to be written down.
    pub(super) fn declare(&mut self, declared: &Arc<Declarations>, moment: Moment) -> Transition {
        let mut gone = Transition::default();
        for (id, record) in &mut self.records {
            let left = record.beside(declared.get(id));
            if left == *record {
                continue;
            }
            if let (Some(given), None) = (record.given, left.given) {
                let own = declared.get(id).map(|app| app.status).unwrap_or_default();
                let entry = JournalEntry {
                    who: "configuration".to_owned(),
                    what: format!("{} -> {own}", given.status),
                    why: "the configuration has changed under what was set at run time".to_owned(),
                    findings: Vec::new(),
                };
                gone.lines.push(line_about(Subject::App(id.clone()), entry));
            }
            gone.apps.push((id.clone(), stored(&left)));
            *record = left;
        }
        self.records.retain(|_, record| !record.is_empty());
        self.declared = Arc::clone(declared);
        shared_keys::warn(declared, &self.records);
        let ids = self.declared.keys().chain(self.records.keys());
        let mut ids: Vec<_> = ids.collect();
        ids.sort_unstable();
        ids.dedup();
        let apps = ids.into_iter().filter_map(|id| self.app(id)).collect();
        self.registry.replace(apps, moment);
        gone
    }
}

/// A record as it is written down; one of nothing is none.
fn stored(record: &AppRecord) -> Option<AppRecord> {
    (!record.is_empty()).then(|| record.clone())
}

/// A record that is to hold from now on, with what is told of it.
struct Change {
    record: AppRecord,
    /// What the journal tells; none where nothing changes.
    what: Option<String>,
    key: Option<Secret>,
}

impl Change {
    const fn quiet(record: AppRecord, what: Option<String>) -> Self {
        Self {
            record,
            what,
            key: None,
        }
    }
}

impl Controller {
    /// Puts the apps of a configuration in place.
    pub(super) fn declare_apps(&mut self, declared: &Arc<Declarations>) {
        let moment = self.moment();
        let gone = self.apps.declare(declared, moment);
        if !gone.apps.is_empty() {
            // The configuration holds in any case.
            let _ = self.performer.save(gone, Unwritten::Allowed);
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            now: self.clock.now(),
            wall_unix_ms: now_unix_ms(),
        }
    }

    /// Does what is wanted of an app, if it has the expected version; the next request goes by it.
    pub(super) fn order_app(
        &mut self,
        id: &AppId,
        order: &AppOrder,
        expected: Option<&str>,
        by: &Author,
    ) -> Result<Ordered, AppError> {
        let before = self.apps.app(id);
        let view = before.as_ref().map(AppView::of);
        if let (Some(expected), Some(view)) = (expected, &view)
            && expected != view.version
        {
            return Err(AppError::Stale {
                id: id.clone(),
                version: view.version.clone(),
            });
        }
        let Change { record, what, key } = self.changed(id, before.as_ref(), order)?;
        let mut saved = Saved::Now;
        if let Some(what) = what {
            let unwritten = if order.takes_away() {
                Unwritten::Allowed
            } else {
                Unwritten::Refused
            };
            saved = self.write_app(id, record, (what, unwritten), by)?;
        }
        let app = self.apps.app(id);
        let moment = self.moment();
        match &app {
            Some(app) => self.apps.registry.put(app.clone(), moment),
            None => self.apps.registry.remove(id.as_str()),
        }
        Ok(Ordered {
            app: app.as_ref().map(|app| AppView {
                is_unwritten: saved == Saved::Later,
                ..AppView::of(app)
            }),
            key,
        })
    }

    /// What an order makes of an app.
    fn changed(
        &self,
        id: &AppId,
        before: Option<&App>,
        order: &AppOrder,
    ) -> Result<Change, AppError> {
        let mut record = self.apps.records.get(id).cloned().unwrap_or_default();
        let declared = self.apps.declared.get(id);
        if let AppOrder::Register(profile) = order {
            return match before {
                Some(_) => Err(AppError::Exists(id.clone())),
                // One of a file, whose entry has gone.
                None if record.is_revoked() => Err(AppError::Final(id.clone(), Final)),
                None => self.registered(profile, record.ends),
            };
        }
        let before = before.ok_or_else(|| AppError::NoApp(id.to_string()))?;
        let own = || match declared {
            Some(_) => Err(AppError::Declared(id.clone())),
            None => Ok(()),
        };
        match order {
            AppOrder::Register(_) => Err(AppError::Exists(id.clone())),
            AppOrder::Redefine(profile) => {
                own()?;
                profile.check()?;
                let what = (*profile != before.profile).then(|| {
                    format!(
                        "defined anew: {} -> {}",
                        told(&before.profile),
                        told(profile)
                    )
                });
                record.registered = Some(profile.clone());
                Ok(Change::quiet(record, what))
            }
            AppOrder::Review(review) => reviewed(before, record, declared, *review),
            AppOrder::RotateKey {
                name,
                lasting,
                expire_old,
            } => {
                let terms = (name.as_str(), *lasting, *expire_old);
                rotated(id, record, declared, terms)
            }
            AppOrder::Delete => {
                own()?;
                let what = Some(format!("deleted, when it was {}", before.status));
                Ok(Change::quiet(AppRecord::default(), what))
            }
        }
    }

    fn registered(
        &self,
        profile: &AppProfile,
        ends: BTreeMap<KeyDigest, u64>,
    ) -> Result<Change, AppError> {
        profile.check()?;
        if self.apps.registry.len().max(self.apps.records.len()) >= APPS_MAX {
            return Err(AppError::TooManyApps);
        }
        let now = now_unix_ms();
        let (key, secret) = made_key("", None, now)?;
        let what = format!(
            "registered: {}, with key {}",
            told(profile),
            key.sha256.fingerprint()
        );
        let record = AppRecord {
            registered: Some(profile.clone()),
            keys: vec![key],
            ends,
            ..AppRecord::default()
        };
        Ok(Change {
            record,
            what: Some(what),
            key: Some(secret),
        })
    }

    /// Writes down what holds of an app from now on. What takes something away is done in any case: a disk that
    /// is full keeps no stolen key in force.
    fn write_app(
        &mut self,
        id: &AppId,
        record: AppRecord,
        (what, unwritten): (String, Unwritten),
        by: &Author,
    ) -> Result<Saved, AppError> {
        let entry = JournalEntry {
            who: by.who.clone(),
            what,
            why: by.why.clone(),
            findings: Vec::new(),
        };
        let transition = Transition {
            apps: vec![(id.clone(), stored(&record))],
            lines: vec![line_about(Subject::App(id.clone()), entry.clone())],
            ..Transition::default()
        };
        let lines = transition.lines.clone();
        let saved = self.performer.save(transition, unwritten);
        let saved = saved.map_err(|error| {
            if self.performer.is_in_doubt {
                let holds = self.apps.records.get(id).cloned();
                self.performer.restore(still((id.clone(), holds), lines));
            }
            AppError::NotWritten(error.to_string())
        })?;
        tracing::info!(app = %id, who = entry.who, why = entry.why, "{}", entry.what);
        if record.is_empty() {
            self.apps.records.remove(id);
        } else {
            self.apps.records.insert(id.clone(), record);
        }
        Ok(saved)
    }
}

/// A record after a verdict of the review.
fn reviewed(
    before: &App,
    mut record: AppRecord,
    declared: Option<&Declared>,
    review: Review,
) -> Result<Change, AppError> {
    let status = before.status.after(review);
    let status = status.map_err(|end| AppError::Final(before.id.clone(), end))?;
    let is_revoke = review == Review::Revoke;
    // What a file alone has revoked so far is revoked for good then.
    let is_news = status != before.status || is_revoke && !record.is_revoked();
    let what = is_news.then(|| {
        if status == before.status {
            format!("{status} for good, which the file alone has said so far")
        } else {
            format!("{} -> {status}", before.status)
        }
    });
    if is_news {
        let over = declared.map(|declared| declared.status);
        let is_own = !is_revoke && over.unwrap_or_default() == status;
        record.given = (!is_own).then_some(GivenStatus { status, over });
    }
    Ok(Change::quiet(record, what))
}

/// A record with one key more.
fn rotated(
    id: &AppId,
    mut record: AppRecord,
    declared: Option<&Declared>,
    (name, lasting, expire_old): (&str, Option<Duration>, Option<Duration>),
) -> Result<Change, AppError> {
    let now = now_unix_ms();
    let (key, secret) = made_key(name, lasting, now)?;
    let mut what = format!("key {} added", key.sha256.fingerprint());
    if let Some(lasting) = lasting {
        what.push_str(&format!(" for {}", humantime::format_duration(lasting)));
    }
    if let Some(span) = expire_old {
        let span = humantime::format_duration(span);
        what.push_str(&format!(", those before it end in {span}"));
    }
    let end = expire_old.map(|span| after(now, span));
    record.rotate(declared, key, end, now);
    let of_file = declared.map_or(0, |declared| declared.keys.len());
    if record.keys.len() + of_file > KEYS_MAX {
        return Err(AppError::TooManyKeys(id.clone()));
    }
    Ok(Change {
        record,
        what: Some(what),
        key: Some(secret),
    })
}

/// A key, and what of it is kept.
fn made_key(
    name: &str,
    lasting: Option<Duration>,
    now_unix_ms: u64,
) -> Result<(AppKey, Secret), AppError> {
    let secret = api_key::generate()?;
    let key = AppKey {
        name: name.to_owned(),
        sha256: KeyHash::of(secret.reveal()).digest(),
        created_unix_ms: Some(now_unix_ms),
        expires_unix_ms: lasting.map(|lasting| after(now_unix_ms, lasting)),
    };
    Ok((key, secret))
}

fn after(now_unix_ms: u64, span: Duration) -> u64 {
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    now_unix_ms.saturating_add(span)
}

/// A profile in one line.
fn told(profile: &AppProfile) -> String {
    serde_json::to_string(profile).unwrap_or_default()
}

/// What holds when a change was refused, as `refused` would have told.
fn still(holds: (AppId, Option<AppRecord>), refused: Vec<JournalLine>) -> Transition {
    Transition {
        apps: vec![holds],
        lines: not_done(refused),
        ..Transition::default()
    }
}
