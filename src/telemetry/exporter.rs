//! Gathers everything that is exported and writes it as text.

use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};

use crate::telemetry::family::Family;
use crate::telemetry::samples::Samples;
use crate::telemetry::{
    access_log_metrics, app_metrics, caller_metrics, connection_metrics, control_metrics,
    feedback_metrics, notification_metrics, process, request_metrics, rollout_metrics,
    token_metrics,
};

/// Reads all samples at the moment of a scrape.
type ReadSamples = Box<dyn Fn() -> Samples + Send + Sync>;

struct SampleCollector {
    read: ReadSamples,
    started: Duration,
    /// The registry wants to know something of each collector; this one makes its families anew.
    description: Desc,
}

impl SampleCollector {
    fn families(&self) -> Vec<Family> {
        let samples = (self.read)();
        let mut build = Family::gauge("serin_build_info", "Always 1; the label tells the version");
        build.add(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        let mut assigned = Family::gauge(
            "serin_assigned_callers",
            "Callers that were assigned to a group at run time",
        );
        assigned.add_count(&[], samples.assigned_callers);
        let mut dropped = Family::counter(
            "serin_dropped_messages_total",
            "Messages from requests to the control plane that found no room",
        );
        dropped.add_count(&[], samples.dropped_messages);
        let mut denied = Family::counter(
            "serin_admin_denied_requests_total",
            "Requests to the admin API without a token that is good for them",
        );
        for (reason, count) in &samples.denied_requests {
            denied.add_count(&[("reason", reason)], *count);
        }
        let mut families = vec![build, assigned, dropped, denied];
        families.extend(request_metrics::requests(&samples.requests));
        families.extend(request_metrics::arms(&samples.arms));
        families.extend(request_metrics::endpoints(&samples.endpoints));
        families.extend(request_metrics::health(&samples.endpoints));
        families.extend(rollout_metrics::weights(&samples.weights));
        families.extend(rollout_metrics::rollouts(&samples.rollouts));
        families.extend(control_metrics::config(samples.config.as_ref()));
        families.extend(control_metrics::store(&samples.store, samples.is_frozen));
        families.extend(notification_metrics::notifications(&samples.notifications));
        families.push(connection_metrics::handshakes(&samples.handshakes));
        families.push(connection_metrics::cuts(&samples.cuts));
        families.extend(app_metrics::apps(&samples.apps));
        families.extend(access_log_metrics::access_log(samples.access_log));
        families.extend(feedback_metrics::feedback(&samples.feedback));
        families.extend(caller_metrics::callers(samples.callers));
        families.extend(token_metrics::tokens(&samples));
        families.extend(process::families(self.started));
        families
    }
}

impl Collector for SampleCollector {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.families()
            .into_iter()
            .filter_map(Family::into_proto)
            .collect()
    }
}

/// Writes all metrics in Prometheus's text format.
#[derive(Clone)]
pub struct Exporter {
    registry: Registry,
}

impl Exporter {
    /// The media type of the text.
    pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

    /// An exporter that reads its samples anew at each scrape. `started` is the wall time at which
    /// the process began, since 1970.
    ///
    /// # Errors
    /// When the metrics library refuses the collector, which it does for names that clash.
    pub fn new(
        read: impl Fn() -> Samples + Send + Sync + 'static,
        started: Duration,
    ) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let (name, help) = (
            "serin".to_owned(),
            "Everything that Serin exports".to_owned(),
        );
        let description = Desc::new(name, help, Vec::new(), Default::default())?;
        let collector = SampleCollector {
            read: Box::new(read),
            started,
            description,
        };
        registry.register(Box::new(collector))?;
        Ok(Self { registry })
    }

    /// All metrics as they are now.
    ///
    /// # Errors
    /// When a family cannot be written.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::evidence::LatencyHistogram;
    use crate::telemetry::samples::{
        AccessLogSample, ArmSample, CallersSample, NotificationSample, RequestSample,
        RolloutSample, WeightSample,
    };

    fn samples() -> Samples {
        let mut duration = LatencyHistogram::default();
        [1, 3, 3, 200]
            .iter()
            .for_each(|ms| duration.record(Duration::from_millis(*ms)));
        let [flag, variant, group] = ["orders", "canary", "default"].map(str::to_owned);
        Samples {
            requests: vec![RequestSample {
                route: "/".to_owned(),
                flag: flag.clone(),
                variant: variant.clone(),
                group: group.clone(),
                code: "200",
                count: 4,
            }],
            arms: vec![ArmSample {
                flag: flag.clone(),
                variant,
                group: group.clone(),
                duration,
                outcomes: vec![("backend", 2)],
                failures: vec![("status", 2)],
                rescued: 1,
            }],
            weights: vec![WeightSample {
                flag: flag.clone(),
                group,
                ratio: 0.25,
            }],
            rollouts: vec![RolloutSample {
                flag,
                phase: "watching".to_owned(),
                stage: 5,
                evidence: vec![("error_rate".to_owned(), 0.5)],
            }],
            notifications: vec![NotificationSample {
                target: "chat".to_owned(),
                results: vec![("delivered", 3), ("given_up", 0)],
                pending: 2,
            }],
            handshakes: vec![("completed", 5), ("timed_out", 0)],
            cuts: vec![("flood", 2)],
            access_log: AccessLogSample {
                written: 9,
                dropped: 1,
            },
            callers: Some(CallersSample {
                tracked: 7,
                evicted: 3,
            }),
            ..Samples::default()
        }
    }

    #[test]
    fn what_was_counted_is_written_under_its_name() {
        let text = Exporter::new(samples, Duration::from_secs(7))
            .unwrap()
            .render()
            .unwrap();
        for line in [
            r#"serin_requests_total{route="/",flag="orders",variant="canary",group="default",code="200"} 4"#,
            r#"serin_request_duration_seconds_bucket{flag="orders",variant="canary",group="default",le="0.001"} 0"#,
            r#"serin_request_duration_seconds_bucket{flag="orders",variant="canary",group="default",le="0.004"} 3"#,
            r#"serin_request_duration_seconds_bucket{flag="orders",variant="canary",group="default",le="+Inf"} 4"#,
            r#"serin_request_duration_seconds_sum{flag="orders",variant="canary",group="default"} 0.207"#,
            r#"serin_backend_failures_total{flag="orders",variant="canary",group="default",failure="status"} 2"#,
            r#"serin_rescued_requests_total{flag="orders",group="default"} 1"#,
            r#"serin_flag_weight_ratio{flag="orders",group="default"} 0.25"#,
            r#"serin_rollout_phase{flag="orders",phase="watching"} 1"#,
            r#"serin_rollout_phase{flag="orders",phase="succeeded"} 0"#,
            r#"serin_rollout_stage{flag="orders"} 5"#,
            r#"serin_judge_evidence{flag="orders",check="error_rate"} 0.5"#,
            r#"serin_outcomes_total{flag="orders",variant="canary",group="default",fault="backend"} 2"#,
            r#"serin_notifications_total{target="chat",result="delivered"} 3"#,
            r#"serin_notifications_total{target="chat",result="given_up"} 0"#,
            r#"serin_notifications_pending{target="chat"} 2"#,
            r#"serin_tls_handshakes_total{result="completed"} 5"#,
            r#"serin_client_cuts_total{reason="flood"} 2"#,
            "serin_access_log_written_total 9",
            "serin_access_log_dropped_total 1",
            "serin_tracked_callers 7",
            "serin_evicted_callers_total 3",
            r#"serin_tls_handshakes_total{result="timed_out"} 0"#,
            "process_start_time_seconds 7",
        ] {
            assert!(
                text.lines().any(|other| other == line),
                "no {line} in\n{text}"
            );
        }
    }
}
