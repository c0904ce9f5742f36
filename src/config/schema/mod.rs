//! The JSON Schema of the configuration, for editors.
//!
//! It is made from the types of [`super::document`]: their keys, their comments, and the shape of
//! each single text. What those types leave to the reader is added here: which keys must be there,
//! that nothing may be left without a value, and the defaults. A schema sees one value at a time,
//! so `serin check` finds more: names that refer to nothing, two keys that contradict each other.

mod flag;

use std::time::Duration;

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, json_schema};
use serde_json::{Map, Value, json};

use crate::domain::judge::JudgeSettings;

use crate::config::ShutdownConfig;
use crate::config::defaults;
use crate::config::document::{Document, instead_of_required, required};

pub use flag::{FLAG_SCHEMA, flag_schemas};

/// What a single text looks like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// A regular expression that the whole of each right text fits, and few wrong ones do, in the
    /// dialect that Rust and JavaScript share.
    pub(super) pattern: Option<&'static str>,
    /// A few right ones.
    pub(super) examples: &'static [&'static str],
}

impl Shape {
    /// Any text.
    pub(super) const ANY: Self = Self {
        pattern: None,
        examples: &[],
    };
    /// A text that is not blank.
    pub(super) const NOT_BLANK: Self = Self::of(r"[\s\S]*\S[\s\S]*", &[]);
    /// A name of one of our own things.
    pub(super) const NAME: Self = Self::of("[A-Za-z0-9][A-Za-z0-9._-]{0,62}", &[]);
    /// What HTTP calls a token (RFC 9110, section 5.6.2).
    pub(super) const TOKEN: Self = Self::of("[!#$%&'*+.^_`|~0-9A-Za-z-]+", &[]);
    /// A duration.
    pub(super) const DURATION: Self = Self::of(
        r"\s*(?:0|(?:[0-9]+\s*[A-Za-zµ]+\s*)+)\s*",
        &["500ms", "30s", "5m", "1h30m", "30d"],
    );

    /// A text that fits a pattern.
    pub(super) const fn of(pattern: &'static str, examples: &'static [&'static str]) -> Self {
        Self {
            pattern: Some(pattern),
            examples,
        }
    }

    /// The same shape with other examples.
    pub(super) const fn such_as(self, examples: &'static [&'static str]) -> Self {
        Self { examples, ..self }
    }
}

/// Where a variable of the environment stands, any value may come of it.
const VARIABLE: &str = r"\$\{";

/// The schema of a single text.
pub(super) fn text(shape: Shape, is_secret: bool) -> Schema {
    let mut schema = json_schema!({ "type": "string" });
    if let Some(pattern) = shape.pattern {
        schema.insert(
            "pattern".to_owned(),
            json!(format!("^(?:{pattern})$|{VARIABLE}")),
        );
    }
    if !shape.examples.is_empty() {
        schema.insert("examples".to_owned(), json!(shape.examples));
    }
    if is_secret {
        schema.insert("writeOnly".to_owned(), json!(true));
        schema.insert("minLength".to_owned(), json!(1));
    }
    schema
}

/// The schema of a map whose keys are names. No variables are filled into keys.
pub(super) fn map_of(name: Shape, value: Schema) -> Schema {
    let mut schema = json_schema!({ "type": "object", "additionalProperties": value });
    if let Some(pattern) = name.pattern {
        let names = json!({ "pattern": format!("^(?:{pattern})$") });
        schema.insert("propertyNames".to_owned(), names);
    }
    schema
}

/// The schema of a number or boolean, which a variable may bring in.
pub(super) fn or_variable(value: Schema) -> Schema {
    let variable = json_schema!({ "type": "string", "pattern": VARIABLE });
    json_schema!({ "anyOf": [value, variable] })
}

/// The JSON Schema (2020-12) of a configuration file, with a line break at its end.
pub fn schema() -> String {
    // Of a value whose keys are texts, this cannot fail.
    let text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text + "\n"
}

/// The schema as a value.
pub(super) fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(WithoutNull);
    let schema = settings.into_generator().into_root_schema_for::<Document>();
    let mut schema = schema.to_value();
    for (kind, key, default) in default_values() {
        if let Some(property) = kind_mut(&mut schema, kind)
            .and_then(|kind| kind.get_mut("properties")?.get_mut(key)?.as_object_mut())
        {
            property.insert("default".to_owned(), default);
        }
    }
    for kind in kinds(&schema) {
        let (keys, instead) = (required(&kind), instead_of_required(&kind));
        if let (false, Some(kind)) = (keys.is_empty(), kind_mut(&mut schema, &kind)) {
            let (key, keys) = match instead {
                None => ("required", json!(keys)),
                Some(instead) => {
                    let ways = json!([{ "required": keys }, { "required": instead }]);
                    ("anyOf", ways)
                }
            };
            kind.insert(key.to_owned(), keys);
        }
    }
    for kind in kinds(&schema) {
        if let Some(kind) = kind_mut(&mut schema, &kind) {
            complete_choice(kind);
        }
    }
    schema["title"] = json!("The configuration of Serin");
    schema
}

/// The kinds of maps and choices, by the names of their types.
fn kinds(schema: &Value) -> Vec<String> {
    let below = schema["$defs"].as_object();
    let below = below.into_iter().flat_map(Map::keys).cloned();
    std::iter::once("Document".to_owned())
        .chain(below)
        .collect()
}

fn kind_mut<'s>(schema: &'s mut Value, kind: &str) -> Option<&'s mut Map<String, Value>> {
    match kind {
        "Document" => schema.as_object_mut(),
        _ => schema.get_mut("$defs")?.get_mut(kind)?.as_object_mut(),
    }
}

/// Adds what the reader takes of a choice besides: where all are words, a variable may bring one
/// in; beside keys with values, a word may stand as a key without one.
fn complete_choice(kind: &mut Map<String, Value>) {
    let variable = json!({ "type": "string", "pattern": VARIABLE });
    if let Some(words) = kind.remove("enum") {
        kind.remove("type");
        kind.insert("anyOf".to_owned(), json!([{ "enum": words }, variable]));
        return;
    }
    let Some(Value::Array(choices)) = kind.get_mut("oneOf") else {
        return;
    };
    let words = choices.iter().filter_map(|choice| choice.get("const"));
    let words: Vec<_> = words.filter_map(Value::as_str).map(str::to_owned).collect();
    if words.len() == choices.len() {
        choices.push(variable);
        return;
    }
    for word in words {
        let nothing = json!({ "type": ["object", "null"], "maxProperties": 0 });
        choices.push(json!({
            "type": "object",
            "properties": { &*word: nothing },
            "required": [word],
            "additionalProperties": false,
        }));
    }
}

/// Takes out what the library says of keys that may be left out: that they may be null.
#[derive(Clone, Debug)]
struct WithoutNull;

impl Transform for WithoutNull {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(schema) = schema.as_object_mut() else {
            return;
        };
        if let Some(types) = schema.get_mut("type")
            && let Some([only, Value::String(null)]) = types.as_array().map(Vec::as_slice)
            && null == "null"
        {
            *types = only.clone();
        }
        let Some(Value::Array(any)) = schema.get_mut("anyOf") else {
            return;
        };
        any.retain(|one| one.get("type") != Some(&json!("null")));
        if let [Value::Object(only)] = &any[..] {
            let mut only = only.clone();
            schema.remove("anyOf");
            // What is said of the key goes before what is said of its type.
            only.append(schema);
            *schema = only;
        }
    }
}

/// For each key with a default that can be written: the kind of its map, the key, the default.
fn default_values() -> Vec<(&'static str, &'static str, Value)> {
    let duration = |duration| json!(as_written(duration));
    let increase = |ratio: f64| json!(format!("{}%", ratio * 100.0));
    let judge = JudgeSettings::default().sequential();
    let tolerated = &judge.tolerated;
    let mut found = vec![
        ("AdminDocument", "address", json!(defaults::ADMIN_ADDRESS)),
        (
            "AssignedCookieDocument",
            "name",
            json!(defaults::ASSIGNED_COOKIE_NAME),
        ),
        (
            "AssignedCookieDocument",
            "max_age",
            duration(defaults::ASSIGNED_COOKIE_MAX_AGE),
        ),
        ("FlagDocument", "enabled", json!(true)),
        ("FlagDocument", "stickiness", json!("caller")),
        ("FlagDocument", "shield", json!(false)),
        ("FlagDocument", "default", json!("0%")),
        ("ForceDocument", "after_rollback", json!(false)),
        ("RolloutDocument", "hold", duration(defaults::HOLD)),
        (
            "RolloutDocument",
            "min_requests",
            json!(defaults::MIN_REQUESTS),
        ),
        ("RolloutDocument", "watch", duration(defaults::WATCH)),
        (
            "RolloutDocument",
            "final_control",
            json!(defaults::FINAL_CONTROL.to_string()),
        ),
        (
            "ErrorRateDocument",
            "max_increase",
            increase(tolerated.errors_relative),
        ),
        ("RolloutDocument", "sensitivity", json!("normal")),
        (
            "FeedbackDocument",
            "min",
            json!(judge.promotion.rating_goal),
        ),
        (
            "FeedbackDocument",
            "min_ratings",
            json!(judge.promotion.ratings_min),
        ),
        ("RouteDocument", "path", json!("/")),
    ];
    found.extend(default_values_of_backends());
    found.extend(default_values_of_limits());
    found.extend(default_values_of_shutdown());
    found.extend(default_values_of_tls());
    found.extend(default_values_of_checks());
    found.extend(default_values_of_the_access_log());
    found.extend(default_values_of_caller_features());
    found
}

/// The same for backends.
fn default_values_of_backends() -> [(&'static str, &'static str, Value); 7] {
    let duration = |time| json!(as_written(time));
    let timeouts = defaults::TIMEOUTS;
    let budget = defaults::RETRY_BUDGET.to_string();
    let attempts = json!(defaults::RETRY_ATTEMPTS);
    [
        ("BackendDocument", "protocol", json!("auto")),
        ("BackendDocument", "http1_client", json!("own")),
        ("TimeoutsDocument", "connect", duration(timeouts.connect)),
        ("TimeoutsDocument", "response", duration(timeouts.response)),
        ("TimeoutsDocument", "idle", duration(timeouts.idle)),
        ("RetriesDocument", "attempts", attempts),
        ("RetriesDocument", "budget", json!(budget)),
    ]
}

/// The same for the limits of a listener.
fn default_values_of_limits() -> [(&'static str, &'static str, Value); 5] {
    let limits = defaults::LISTENER_LIMITS;
    [
        ("connections", json!(limits.connections)),
        ("header_bytes", json!("32KiB")),
        ("headers", json!(limits.headers)),
        ("header_timeout", json!(as_written(limits.header_timeout))),
        ("idle_timeout", json!(as_written(limits.idle_timeout))),
    ]
    .map(|(key, value)| ("LimitsDocument", key, value))
}

/// The same for how it stops.
fn default_values_of_shutdown() -> [(&'static str, &'static str, Value); 2] {
    let ShutdownConfig { delay, deadline } = defaults::SHUTDOWN;
    [("delay", delay), ("deadline", deadline)]
        .map(|(key, time)| ("ShutdownDocument", key, json!(as_written(time))))
}

/// The same for TLS of a listener.
fn default_values_of_tls() -> [(&'static str, &'static str, Value); 3] {
    let timeout = as_written(defaults::TLS_HANDSHAKE_TIMEOUT);
    [
        ("TlsDocument", "min_version", json!("1.2")),
        ("TlsDocument", "client_certificate", json!("required")),
        ("TlsDocument", "handshake_timeout", json!(timeout)),
    ]
}

/// The same for what is checked.
fn default_values_of_checks() -> Vec<(&'static str, &'static str, Value)> {
    let custom = [
        ("every", defaults::CUSTOM_EVERY),
        ("timeout", defaults::CUSTOM_TIMEOUT),
        ("max_age", defaults::CUSTOM_MAX_AGE),
    ];
    let latency = ["p50", "p90", "p99"].map(|key| ("LatencyDocument", key, json!("5%")));
    let custom = custom.map(|(key, time)| ("CustomCheckDocument", key, json!(as_written(time))));
    latency.into_iter().chain(custom).collect()
}

/// The same for the access log.
fn default_values_of_the_access_log() -> [(&'static str, &'static str, Value); 3] {
    let sample = defaults::ACCESS_LOG_SAMPLE.to_string();
    [
        ("AccessLogDocument", "format", json!("json")),
        ("AccessLogDocument", "sample", json!(sample)),
        ("AccessLogDocument", "query", json!(false)),
    ]
}

/// The same for what is counted of callers.
fn default_values_of_caller_features() -> [(&'static str, &'static str, Value); 2] {
    let half_life = as_written(defaults::CALLERS_HALF_LIFE);
    [
        ("callers", json!(defaults::CALLERS_TRACKED)),
        ("half_life", json!(half_life)),
    ]
    .map(|(key, value)| ("CallerFeaturesDocument", key, value))
}

/// In the largest unit that needs no second one.
fn as_written(duration: Duration) -> String {
    const UNITS: [(u128, &str); 4] = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    let milliseconds = duration.as_millis();
    let fitting = UNITS
        .iter()
        .find(|(unit, _)| milliseconds.is_multiple_of(*unit));
    let (unit, name) = fitting.copied().unwrap_or((1, "ms"));
    format!("{}{name}", milliseconds / unit)
}

#[cfg(test)]
mod tests;
