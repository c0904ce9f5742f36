//! Keys that Serin's design names and this version does not have.
//!
//! They are refused like any unknown key, but told apart from a slip of the pen.

/// For each kind of map, by the name of its type in [`super::document`]: the planned keys.
const PLANNED: &[(&str, &[&str])] = &[
    ("Document", &["fleet", "tracing"]),
    ("ListenerDocument", &["http3"]),
    ("AdminDocument", &["tls"]),
    ("BackendDocument", &["discover", "failure"]),
    (
        "FlagDocument",
        &["mirror", "independent", "failure", "latency"],
    ),
    ("RolloutDocument", &["independent"]),
    ("StageDocument", &["checks", "gates"]),
    ("RouteDocument", &["query", "rate_limit"]),
    ("PathDocument", &["regex"]),
];

/// Keys that stand in the place of one that is needed otherwise, planned ones among them.
const REPLACES: &[(&str, &str, &[&str])] = &[
    ("BackendDocument", "discover", &["endpoints"]),
    ("FlagDocument", "variants", &["stable", "canary"]),
];

/// Whether a kind of map will have this key one day.
pub(super) fn is_planned(kind: &str, key: &str) -> bool {
    PLANNED
        .iter()
        .any(|(planned_kind, keys)| *planned_kind == kind && keys.contains(&key))
}

/// Whether `field` is not missed where `key` is written.
pub(super) fn replaces(kind: &str, key: &str, field: &str) -> bool {
    REPLACES.iter().any(|(planned_kind, planned_key, fields)| {
        *planned_kind == kind && *planned_key == key && fields.contains(&field)
    })
}
