//! Turns the text of a configuration file into values that need no further check.
//!
//! Two layers. `document` is what is written: keys, lists, `5%`. [`Config`] is what it means:
//! names resolved to places, defaults filled in, contradictions refused. Past [`parse`] nothing is
//! checked again, because nothing wrong can be expressed.
//!
//! A file is either understood completely or refused with *all* its problems, each with line,
//! column, path and a hint:
//!
//! ```
//! use serin::config;
//!
//! let text = "
//! listeners: [{ address: 0.0.0.0:8080 }]
//! backends: { orders-v1: http://10.0.0.1:8000 }
//! routes: [{ path: /, backend: orders-v11 }]
//! ";
//! let read_file = |path: &std::path::Path| std::fs::read_to_string(path);
//! let errors = config::parse(text, &read_file, &|name| std::env::var(name)).unwrap_err();
//! assert_eq!(
//!     errors.display("serin.yaml".as_ref()).to_string(),
//!     "serin.yaml:4:30: routes[0].backend: no backend is named `orders-v11`; \
//!      did you mean `orders-v1`?"
//! );
//! ```
//!
//! The way of a text: `tree` reads YAML into numbered nodes, `variables` fills in what comes from
//! the environment, `reader` reads the document's types from them past every problem, the file of
//! each section says what its part means, and `report` looks up where the problems stand.

mod access_log;
mod address;
mod admin;
mod apps;
mod backend;
mod caller_features;
pub mod defaults;
mod definitions;
mod diff;
mod document;
mod error;
mod flag;
mod further;
mod gate;
mod group;
mod health;
mod identity;
mod jwt;
mod limits;
mod listener;
mod names;
mod notify;
mod number;
mod objection;
mod outlier;
mod planned;
mod rating;
mod reader;
mod report;
mod requires;
mod retries;
mod rollout;
mod route;
mod schema;
mod secret;
mod segment;
mod shutdown;
mod single;
mod size;
pub mod state;
mod suggest;
#[cfg(test)]
mod tests;
mod text;
pub mod tls;
mod tree;
mod value;
mod variables;
mod variants;
mod written;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env::VarError;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;

use crate::domain::backend::Backend;
use crate::domain::group::GroupTable;
use crate::domain::identity::IdentitySource;
use crate::domain::ids::{BackendName, FlagName, GroupName};
use crate::domain::matcher::address::AddressMatcher;
use crate::domain::notify::NotifyTarget;
use crate::domain::route::RouteTable;
use crate::domain::secret::HIDDEN;

pub use self::access_log::{AccessLogConfig, LogTarget};
pub use self::admin::{Admin, Role, TOKEN_BYTES_MIN, Token};
pub use self::apps::AppsConfig;
pub use self::caller_features::CallerFeaturesConfig;
pub use self::definitions::{DEFINITION_BYTES_MAX, Defined, DefinitionError, Definitions};
pub use self::diff::{Change, Diff, diff, dump, dump_flag};
pub use self::error::{ConfigError, ConfigErrors};
pub use self::flag::FlagConfig;
pub use self::limits::ListenerLimits;
pub use self::listener::{Listener, ProxyProtocol};
pub use self::objection::{Objection, object};
pub use self::rollout::RolloutConfig;
pub use self::schema::{FLAG_SCHEMA, flag_schemas, schema};
pub use self::shutdown::ShutdownConfig;
pub use self::state::StateConfig;

use self::backend::BackendReader;
use self::document::Document;
use self::flag::FlagReader;
use self::further::FurtherReader;
use self::gate::with_hooks;
use self::group::{GroupReader, ReadFile};
use self::identity::Vouching;
use self::names::Names;
use self::notify::NotifyReader;
use self::report::Report;
use self::route::RouteReader;
use self::segment::SegmentReader;
use self::tree::{Content, Node};
use self::variables::Variable;

/// What a configuration file means.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many threads serve requests; none for one on each core.
    pub workers: Option<NonZeroUsize>,
    /// Where requests come in: at least one, no two in each other's way.
    pub listeners: Vec<Listener>,
    /// Where operators come in.
    pub admin: Admin,
    /// Where what outlives the process is kept.
    pub state: StateConfig,
    /// How it stops.
    pub shutdown: ShutdownConfig,
    /// Peers whose forwarding and identity headers are believed.
    pub trusted: AddressMatcher,
    /// The apps that are declared, and what is asked of them.
    pub apps: AppsConfig,
    /// Where a caller's key comes from, first source first.
    pub identity: Vec<IdentitySource>,
    /// The groups, in the file's order.
    pub groups: GroupTable,
    /// The backends, in the file's order.
    pub backends: Vec<Backend>,
    /// The flags, in the file's order.
    pub flags: Vec<FlagConfig>,
    /// The routes; at least one.
    pub routes: RouteTable,
    /// Who is told of changes, in the file's order; no two of one name.
    pub notify: Vec<NotifyTarget>,
    /// Where a line about each request is written; none for nowhere.
    pub access_log: Option<AccessLogConfig>,
    /// What is counted of callers; none where nothing is.
    pub caller_features: Option<CallerFeaturesConfig>,
    /// What flags may be defined beside.
    pub definitions: Definitions,
}

/// Reads a configuration.
///
/// Pure but for `read_file`, by which files that the configuration names (lists of callers,
/// certificates) are read; their paths come as they are written, so relative ones are the caller's to resolve.
/// Pure but for what is passed in. By `read_file` files that the configuration names are read;
/// their paths come as they are written, so relative ones are the caller's to resolve. By
/// `variable` the environment is asked for each `${NAME}`.
///
/// # Errors
/// Everything that is wrong with the text, in its order. What came from the environment is in none
/// of it.
pub fn parse(
    text: &str,
    read_file: &dyn Fn(&Path) -> io::Result<String>,
    variable: &dyn Fn(&str) -> Result<String, VarError>,
) -> Result<Config, ConfigErrors> {
    let text = without_mark(text);
    let used = RefCell::new(BTreeMap::new());
    let noted = |name: &str| {
        let value = variable(name)?;
        used.borrow_mut().insert(name.to_owned(), value.clone());
        Ok(value)
    };
    let (root, report, config) = read(text, read_file, &noted)?;
    if report.may_tell_of_variables() {
        let other_value = |name: &str| variable(name).map(|_| HIDDEN.to_owned());
        let read_other = |path: &Path| match path.to_str() {
            Some(name) if !name.contains(HIDDEN) => read_file(path),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let (_, with_other_values, _) = read(text, &read_other, &other_value)?;
        report.hide_what_differs(&with_other_values);
    }
    report.finish(text, &root)?;
    let config = config.map(|config| Config {
        definitions: Definitions::beside(text, used.into_inner()),
        ..config
    });
    config.ok_or_else(|| {
        // A document that cannot be read has left its reason in the report.
        ConfigErrors::of_whole((1, 1), "the file cannot be read", "please report this")
    })
}

/// Some editors begin a file with a mark of its encoding.
fn without_mark(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
}

/// One reading, whose problems are in the report.
fn read(
    text: &str,
    read_file: ReadFile<'_>,
    variable: Variable<'_>,
) -> Result<(Node, Report, Option<Config>), ConfigErrors> {
    let report = Report::default();
    let mut root = tree::read(text, &report).map_err(|error| not_yaml(&error, text))?;
    if matches!(root.content, Content::Null) && !report.has_problem_within(root.place) {
        return Err(ConfigErrors::of_whole(
            (1, 1),
            "the file is empty",
            "it needs `listeners`, `backends` and `routes`",
        ));
    }
    variables::fill_in(&mut root, variable, &report);
    let document: Option<Document> = reader::read(&root, &report);
    let config = document.map(|document| understand(&document, &root, read_file, &report));
    Ok((root, report, config))
}

fn not_yaml(error: &serde_yaml::Error, text: &str) -> ConfigErrors {
    let at = error
        .location()
        .map_or((1, 1), |at| (at.line(), at.column()));
    // The library repeats the position, which stands at the front of the line already.
    let position = format!(" at line {} column {}", at.0, at.1);
    let message = error.to_string().replacen(&position, "", 1);
    let line = text.lines().nth(at.0.saturating_sub(1)).unwrap_or_default();
    let hint = if message.contains("repetition limit") {
        "aliases repeat too much; write values out"
    } else if message.contains("recursion limit") {
        "values are nested too deeply"
    } else if message.contains("more than one document") {
        "remove what follows after `---`"
    } else if message.contains("cannot start any token") {
        "indent with spaces, not tabs, and quote text that starts with a special character"
    } else if line.contains("${") {
        "put `${NAME}` in quotes where it stands in `[…]` or `{…}`"
    } else {
        "check indentation, quotes and brackets near this place"
    };
    ConfigErrors::of_whole(at, &format!("not valid YAML: {message}"), hint)
}

/// Whose word is taken for who the client is.
fn trusted(document: &Document) -> AddressMatcher {
    let networks = document.trusted_proxies.iter();
    AddressMatcher {
        networks: networks.map(|network| network.value).collect(),
    }
}

/// Goes through the sections in an order in which each finds what it refers to.
fn understand(
    document: &Document,
    root: &Node,
    read_file: ReadFile<'_>,
    report: &Report,
) -> Config {
    let (groups, backends) = (root.get("groups"), root.get("backends"));
    let group_names = Names::new("group", &document.groups, GroupName::as_str, groups);
    let backend_names = Names::new("backend", &document.backends, BackendName::as_str, backends);
    let flag_names = Names::new("flag", &document.flags, FlagName::as_str, root.get("flags"));

    let vouching = Vouching::of(document, root, report);
    let listeners = listener::listeners(document.listeners.as_ref(), &vouching, read_file, report);
    let group_reader = GroupReader {
        names: &group_names,
        read_file,
        asks_for_certificates: vouching.asks_for_certificates,
        segments: SegmentReader::new(read_file, report, vouching.trusts_peers),
        report,
    };
    let flag_reader = FlagReader {
        backends: &backend_names,
        groups: &group_names,
        flags: (&flag_names, &document.flags),
        knows_callers: !document.identity.is_empty(),
        further: FurtherReader::of(&document.metrics, root.get("metrics"), report),
        report,
    };
    let route_reader = RouteReader {
        flags: (&flag_names, &document.flags),
        backends: &backend_names,
        report,
    };
    let notify_reader = NotifyReader {
        flag_names: &flag_names,
        flags: &document.flags,
        read_file,
        report,
    };
    let flags = with_feedback(flag_reader.flags(&document.flags), &listeners);
    let identity = identity::identity(&document.identity, &vouching, read_file, report);
    Config {
        workers: workers(document),
        admin: admin::admin(document.admin.as_ref(), &listeners, read_file, report),
        listeners,
        state: state::state(&document.state),
        shutdown: shutdown::shutdown(&document.shutdown),
        apps: apps::apps(document.apps.as_ref(), &identity, read_file, report),
        identity,
        trusted: trusted(document),
        groups: group_reader.groups(&document.groups),
        backends: BackendReader { read_file, report }.backends(&document.backends),
        notify: with_hooks(notify_reader.targets(document.notify.as_ref()), &flags),
        flags,
        routes: route_reader.routes(document.routes.as_ref()),
        access_log: access_log::access_log(document.access_log.as_ref()),
        caller_features: caller_features::caller_features(document, report),
        definitions: Definitions::default(),
    }
}

/// Flags whose rollouts are rated where a listener takes ratings.
fn with_feedback(mut flags: Vec<FlagConfig>, listeners: &[Listener]) -> Vec<FlagConfig> {
    let is_taken = listeners.iter().any(|listener| listener.feedback);
    for rollout in flags.iter_mut().filter_map(|flag| flag.rollout.as_mut()) {
        rollout.takes_feedback |= is_taken;
    }
    flags
}

fn workers(document: &Document) -> Option<NonZeroUsize> {
    let count = usize::try_from(document.workers?.0).ok()?;
    NonZeroUsize::new(count)
}
