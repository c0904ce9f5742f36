//! The line that tells of one request: names, order and units of its fields.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::Version;

use crate::domain::decision::Reason;
use crate::domain::evidence::{Fault, OutcomeClass};
use crate::domain::routing::RoutingSnapshot;
use crate::telemetry::access_log::json::Object;
use crate::telemetry::access_log::record::{Record, Text, Way};

/// The group of those who are in none that the flag names, as in metrics.
const DEFAULT_GROUP: &str = "default";

/// Appends a line, with its line break.
///
/// Every line has every field; `null` stands for what there is not. `time` is when the request
/// ended, so that lines come in its order; `duration_ms` before that it came. Bytes that are no
/// UTF-8 are replaced by U+FFFD, and what is longer than its limit is cut and ends in `…`.
pub fn write_line(record: &Record, out: &mut Vec<u8>) {
    let (arrival, way, end) = (&record.arrival, &record.way, &record.end);
    let mut object = Object::begin(out);
    let at = humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + end.at);
    object.word("time", at);
    match record.request_id() {
        b"" => object.bare("request_id", "null"),
        id => object.text("request_id", id),
    }
    match &way.trace_id {
        None => object.bare("trace_id", "null"),
        Some(id) => object.text("trace_id", id),
    }
    object.word("client", arrival.client);
    text(&mut object, "method", &record.method());
    object.word("scheme", arrival.scheme);
    text(&mut object, "host", &record.host());
    text(&mut object, "path", &record.path());
    object.word("protocol", protocol(arrival.version));
    object.bare("status", end.status);
    object.bare("bytes_in", end.bytes_in);
    object.bare("bytes_out", end.bytes_out);
    object.bare("duration_ms", Milliseconds(end.duration));
    match end.head_latency {
        None => object.bare("head_ms", "null"),
        Some(latency) => object.bare("head_ms", Milliseconds(latency)),
    }
    write_way(&mut object, &record.routing, way);
    object.word_or_null("fault", fault(end.class));
    object.word_or_null("failure", failure(end.class));
    object.end();
    out.push(b'\n');
}

fn text(object: &mut Object<'_>, key: &str, text: &Text<'_>) {
    object.cut_text(key, text.bytes, text.is_cut);
}

fn write_way(object: &mut Object<'_>, routing: &RoutingSnapshot, way: &Way) {
    match way.route.map(|route| routing.routes.get(route)) {
        None => object.bare("route", "null"),
        Some(route) => object.text("route", route.label.as_bytes()),
    }
    let flag = way.flag.map(|(flag, _)| &routing.flag(flag).name);
    let decision = way.flag.map(|(_, decision)| decision);
    let group = decision.and_then(|decision| group(routing, decision.reason));
    object.word_or_null("flag", flag);
    object.word_or_null("group", group);
    object.word_or_null("variant", decision.map(|decision| decision.variant));
    object.word_or_null("reason", decision.map(|decision| decision.reason));
    let backend = way.backend.map(|backend| routing.backend(backend));
    object.word_or_null("backend", backend.map(|backend| &backend.name));
    let endpoint = backend.zip(way.endpoint);
    match endpoint.and_then(|(backend, place)| backend.endpoints.get(place)) {
        None => object.bare("upstream", "null"),
        Some(endpoint) => object.text("upstream", endpoint.to_string().as_bytes()),
    }
    object.bare("rescued", way.is_rescued);
    object.bare("retries", way.retries);
}

/// The group that the rule which decided is about.
pub(super) fn group(routing: &RoutingSnapshot, reason: Reason) -> Option<&str> {
    match reason {
        Reason::Disabled | Reason::Barred | Reason::RolledBack | Reason::Prerequisite { .. } => {
            None
        }
        Reason::Forced { group } | Reason::Group { group, .. } => {
            Some(routing.groups.name(group).as_str())
        }
        Reason::Default { .. } => Some(DEFAULT_GROUP),
    }
}

pub(super) const fn fault(class: OutcomeClass) -> Option<&'static str> {
    match class.fault() {
        Fault::None => None,
        fault => Some(fault.as_str()),
    }
}

/// How a backend failed, or the client; a status of 4xx is no failure.
const fn failure(class: OutcomeClass) -> Option<&'static str> {
    match class {
        OutcomeClass::BackendFailure(failure) => Some(failure.as_str()),
        OutcomeClass::ClientAborted => Some("aborted"),
        OutcomeClass::Success
        | OutcomeClass::ClientError
        | OutcomeClass::TooManyRequests
        | OutcomeClass::ProxyFault => None,
    }
}

/// The name that the protocol has in its own specification.
const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

/// Milliseconds to the microsecond.
struct Milliseconds(Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:03}", micros / 1_000, micros % 1_000)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::backend::{Backend, Endpoint};
    use crate::domain::evidence::Failure;
    use crate::domain::ids::BackendIndex;
    use crate::domain::testing::backend;
    use crate::telemetry::access_log::record::{Arrival, End};

    fn record(host: &[u8], path: &[u8]) -> Record {
        let arrival = Arrival {
            client: "2001:db8::7".parse().unwrap(),
            scheme: "https",
            version: Version::HTTP_2,
        };
        Record::new(arrival, Arc::default(), [b"GET", host, path])
    }

    fn line(record: &Record) -> Value {
        let mut out = b"before\n".to_vec();
        write_line(record, &mut out);
        let text = String::from_utf8(out).unwrap();
        let [_, line, ""] = text.split('\n').collect::<Vec<_>>()[..] else {
            panic!("{text:?}");
        };
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn every_field_is_there_though_nothing_is_known() {
        let mut record = record(b"", b"/");
        record.end.status = 404;
        record.end.class = OutcomeClass::ClientError;
        let expected = json!({
            "time": "1970-01-01T00:00:00.000Z", "request_id": null, "trace_id": null,
            "client": "2001:db8::7", "method": "GET", "scheme": "https", "host": "", "path": "/",
            "protocol": "HTTP/2", "status": 404, "bytes_in": 0, "bytes_out": 0,
            "duration_ms": 0.0, "head_ms": null, "route": null, "flag": null, "group": null,
            "variant": null, "reason": null, "backend": null, "upstream": null, "rescued": false, "retries": 0,
            "fault": "client", "failure": null,
        });
        assert_eq!(line(&record), expected);
    }

    #[test]
    fn what_is_known_is_told_in_its_unit() {
        let mut record = record(b"shop", b"/a");
        record.set_request_id(b"one");
        record.set_request_id(b"id-7");
        let endpoint = Endpoint {
            host: "2001:db8::1".into(),
            port: 80,
        };
        let backend = Backend {
            endpoints: vec![endpoint],
            ..backend("v1")
        };
        record.routing = Arc::new(RoutingSnapshot {
            backends: Arc::new([backend]),
            ..RoutingSnapshot::default()
        });
        record.way = Way {
            backend: Some(BackendIndex(0)),
            endpoint: Some(0),
            trace_id: Some([b'a'; 32]),
            ..Way::default()
        };
        record.end = End {
            at: Duration::from_millis(1_795_000_000_123),
            status: 200,
            class: OutcomeClass::BackendFailure(Failure::CutBody),
            duration: Duration::from_micros(12_345_006),
            head_latency: Some(Duration::from_micros(70)),
            bytes_in: 1,
            bytes_out: 2,
        };
        let told = line(&record);
        assert_eq!(told["time"], "2026-11-18T11:06:40.123Z");
        assert_eq!(told["request_id"], "id-7");
        assert_eq!(told["trace_id"], "a".repeat(32));
        assert_eq!(told["duration_ms"].to_string(), "12345.006");
        assert_eq!(told["head_ms"].to_string(), "0.07");
        assert_eq!(
            (&told["bytes_in"], &told["bytes_out"]),
            (&json!(1), &json!(2))
        );
        assert_eq!(
            (&told["backend"], &told["upstream"]),
            (&json!("v1"), &json!("[2001:db8::1]:80"))
        );
        assert_eq!(
            (&told["fault"], &told["failure"]),
            (&json!("backend"), &json!("cut_body"))
        );
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let long = line(&record(&[b'h'; 300], &[b'p'; 3_000]));
        assert_eq!(long["host"], "h".repeat(261) + "…");
        assert_eq!(long["path"], "p".repeat(2_048) + "…");
        let fitting = line(&record(b"h", &[b'p'; 2_048]));
        assert_eq!(fitting["path"], "p".repeat(2_048));
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_line_of_valid_json(
            host in proptest::collection::vec(any::<u8>(), 0..400),
            path in proptest::collection::vec(any::<u8>(), 0..2_500),
            id in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut record = record(&host, &path);
            record.set_request_id(&id);
            let told = line(&record);
            prop_assert_eq!(told["method"].as_str(), Some("GET"));
            if path.len() <= 2_048 {
                let expected = String::from_utf8_lossy(&path);
                prop_assert_eq!(told["path"].as_str(), Some(&*expected));
            }
        }
    }
}
