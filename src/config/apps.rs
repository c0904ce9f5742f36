//! The apps that are declared, in the configuration and in a file of their own.
//!
//! That file has lines and columns of its own, which a problem of it names behind those of the key that names
//! the file.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::domain::app::{
    APPS_MAX, AppKey, AppProfile, AppStatus, Declarations, Declared, KEYS_MAX, RateLimit,
};
use crate::domain::identity::{ApiKeyPlace, ApiKeySource, IdentitySource};
use crate::domain::ids::AppId;
use crate::domain::key_digest::KeyDigest;
use crate::domain::routing::Admission;

use crate::config::document::{
    ApiKeyDocument, AppDocument, AppKeyDocument, AppListDocument, AppStatusDocument, AppsDocument,
    RateLimitDocument,
};
use crate::config::group::ReadFile;
use crate::config::reader;
use crate::config::report::{AS_WRITTEN, Problem, Report};
use crate::config::secret::unreadable;
use crate::config::text::NonEmpty;
use crate::config::tree;
use crate::config::tree::Place;
use crate::config::written::{Placed, Written};

/// What a configuration says of apps.
#[derive(Clone, Debug, Default)]
pub struct AppsConfig {
    /// The apps that it declares.
    pub declared: Arc<Declarations>,
    /// What is asked of them.
    pub admission: Admission,
}

/// Understands `apps`, beside `identity`.
pub(super) fn apps(
    section: Option<&Placed<AppsDocument>>,
    identity: &[IdentitySource],
    read_file: ReadFile<'_>,
    report: &Report,
) -> AppsConfig {
    let reads_keys = identity
        .iter()
        .any(|source| matches!(source, IdentitySource::ApiKey(_)));
    let Some(Placed { place, value }) = section else {
        return AppsConfig {
            admission: Admission {
                reads_keys,
                require_approved: false,
            },
            ..AppsConfig::default()
        };
    };
    let require_approved = value.require_approved.is_some_and(|switch| switch.0);
    if require_approved && !reads_keys && !report.has_problem_within(*place) {
        let problem = Problem::new("apps have to be approved, and no identity source reads keys");
        let hint = "add `identity: [{ api_key: { header: x-api-key } }]`";
        report.add(*place, problem.hint(hint));
    }
    let mut holders = Holders::new();
    let mut declared = listed(&value.list, ("apps.list.", &mut holders), report);
    if let Some(file) = &value.file {
        for (id, app) in of_file(file, &mut holders, read_file, report) {
            if declared.contains_key(&id) {
                let problem = format!("`{AS_WRITTEN}` has app `{id}`, which `list` has as well");
                let problem = Problem::new(problem).hint("remove one of the two");
                report.add(file.place, problem.without_value());
            }
            declared.insert(id, app);
        }
    }
    if declared.len() > APPS_MAX {
        let problem = Problem::new(format!("more than {APPS_MAX} apps"));
        report.add(*place, problem.hint("that is the most there may be"));
    }
    AppsConfig {
        declared: Arc::new(declared),
        admission: Admission {
            reads_keys,
            require_approved,
        },
    }
}

/// Reads a file of apps.
fn of_file(
    file: &Written<NonEmpty>,
    holders: &mut Holders,
    read_file: ReadFile<'_>,
    report: &Report,
) -> Declarations {
    let refuse = |problem: String, hint: Option<String>| {
        let problem = Problem::new(problem).without_value();
        let problem = match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        };
        report.add(file.place, problem);
        Declarations::new()
    };
    let text = match read_file(Path::new(&file.value.0)) {
        Ok(text) => text,
        Err(error) => {
            let problem = format!("cannot read `{AS_WRITTEN}`: {}", unreadable(&error));
            let hint = "write a path that is absolute or starts at this file";
            return refuse(problem, Some(hint.to_owned()));
        }
    };
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Declarations::new();
    }
    let own = Report::default();
    let root = match tree::read(text, &own) {
        Ok(root) => root,
        Err(error) => {
            let at = error
                .location()
                .map_or((1, 1), |at| (at.line(), at.column()));
            let problem = format!("{AS_WRITTEN}:{}:{}: not valid YAML: {error}", at.0, at.1);
            return refuse(problem, None);
        }
    };
    let document: Option<AppListDocument> = reader::read(&root, &own);
    let declared = document.map(|document| listed(&document, ("", holders), &own));
    if let Err(errors) = own.finish(text, &root) {
        for error in errors.iter() {
            let (line, column, path) = (error.line, error.column, &error.path);
            let problem = format!("{AS_WRITTEN}:{line}:{column}: {path}: {}", error.problem);
            refuse(problem, error.hint.clone());
        }
    }
    declared.unwrap_or_default()
}

/// Understands a list of apps, whose place is told in front of theirs.
fn listed(
    document: &AppListDocument,
    (list, holders): (&'static str, &mut Holders),
    report: &Report,
) -> Declarations {
    let mut declared = Declarations::new();
    for entry in &document.0 {
        let Some(app) = &entry.value else { continue };
        let id = &entry.name.value;
        let app = understood(id, app, (list, holders), report);
        declared.insert(id.clone(), app);
    }
    declared
}

/// Whose each key is, in all lists.
type Holders = HashMap<KeyDigest, KeyPlace>;

/// Where a key is written.
struct KeyPlace {
    list: &'static str,
    app: AppId,
    number: usize,
}

fn understood(
    id: &AppId,
    document: &Placed<AppDocument>,
    (list, holders): (&'static str, &mut Holders),
    report: &Report,
) -> Declared {
    let AppDocument {
        name,
        owner,
        status,
        tier,
        attributes,
        keys,
        rate_limit,
    } = &document.value;
    let text = |text: &Option<Written<NonEmpty>>| {
        let text = text.as_ref().map(|text| text.value.0.clone());
        text.unwrap_or_default()
    };
    let given = attributes.0.iter().filter_map(|entry| {
        let value = entry.value.as_ref()?.value.0.clone();
        Some((entry.name.value.0.clone(), value))
    });
    let mut attributes: BTreeMap<_, _> = given.collect();
    if let Some(tier) = tier
        && let Some(_twice) = attributes.insert("tier".to_owned(), tier.value.0.clone())
    {
        let problem = Problem::new("`tier` is among `attributes` as well");
        report.add(tier.place, problem.hint("remove one of the two"));
    }
    let profile = AppProfile {
        name: text(name),
        owner: text(owner),
        attributes,
        rate_limit: rate_limit.as_ref().map(limit),
    };
    if let Err(unfit) = profile.check() {
        report.add(document.place, Problem::new(unfit.to_string()));
    }
    if keys.len() > KEYS_MAX {
        let problem = format!("an app has at most {KEYS_MAX} keys");
        report.add(document.place, Problem::new(problem));
    }
    Declared {
        profile,
        status: status.map_or_else(AppStatus::default, status_of),
        keys: keys
            .iter()
            .enumerate()
            .map(|(number, key)| {
                let app = id.clone();
                let place = KeyPlace { list, app, number };
                key_of(key, (holders, place), report)
            })
            .collect(),
    }
}

const fn status_of(document: AppStatusDocument) -> AppStatus {
    match document {
        AppStatusDocument::Pending => AppStatus::Pending,
        AppStatusDocument::Approved => AppStatus::Approved,
        AppStatusDocument::Suspended => AppStatus::Suspended,
        AppStatusDocument::Revoked => AppStatus::Revoked,
    }
}

fn key_of(
    document: &Placed<AppKeyDocument>,
    (holders, place): (&mut Holders, KeyPlace),
    report: &Report,
) -> AppKey {
    let AppKeyDocument {
        sha256,
        name,
        expires,
    } = &document.value;
    if let Some(KeyPlace { list, app, number }) = holders.insert(sha256.value, place) {
        let problem = format!("this key is app `{app}`'s already, at `{list}{app}.keys[{number}]`");
        let hint = "a key tells one app; remove one of the two";
        report.add(sha256.place, Problem::new(problem).hint(hint));
    }
    AppKey {
        name: name
            .as_ref()
            .map_or_else(String::new, |name| name.value.0.clone()),
        sha256: sha256.value,
        created_unix_ms: None,
        expires_unix_ms: expires.as_ref().map(|expires| expires.value.0),
    }
}

fn limit(document: &RateLimitDocument) -> RateLimit {
    let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let requests_per_second = number(document.requests_per_second.0);
    let burst = document.burst.as_ref().map(|burst| number(burst.0));
    RateLimit {
        requests_per_second,
        burst: burst.unwrap_or(requests_per_second),
    }
}

/// Understands `api_key` of `identity`; none where it says no place.
pub(super) fn source(
    document: &ApiKeyDocument,
    place: Place,
    report: &Report,
) -> Option<ApiKeySource> {
    let refuse = |problem: &str, hint: &str| {
        if !report.has_problem_within(place) {
            report.add(place, Problem::new(problem).hint(hint));
        }
        None
    };
    let forward = document.forward.is_some_and(|switch| switch.0);
    let place = match (&document.header, &document.query) {
        (Some(name), None) => ApiKeyPlace::Header(name.value.0.clone()),
        (None, Some(_)) if forward => {
            return refuse(
                "a key in the query is not passed on, for queries end up in logs",
                "remove `forward`, or have keys sent in a header",
            );
        }
        (None, Some(name)) => ApiKeyPlace::Query(name.value.0.as_str().into()),
        (None, None) => return refuse("says no place", "add `header: x-api-key`"),
        (Some(_), Some(_)) => {
            return refuse("`query` beside `header`", "list two sources, one for each");
        }
    };
    Some(ApiKeySource { place, forward })
}
