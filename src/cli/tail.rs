//! `serin tail`: requests as they end.

use std::io::{self, Write, stdout};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use crate::admin::client::StreamEvent;
use crate::cli::Done;
use crate::cli::exit::Exit;
use crate::cli::remote::RemoteArguments;
use crate::cli::words::Paint;

/// How long the first answer may take.
const TIMEOUT: Duration = Duration::from_secs(40);

#[derive(Args)]
pub(crate) struct Tail {
    /// Only requests that this flag decided.
    #[arg(long, value_name = "FLAG")]
    flag: Option<String>,
    /// Only those decided for this variant, such as `canary`.
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
    /// Only callers of this group; `default` for everyone else.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only those of this route.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Only those whose answer is of this backend.
    #[arg(long, value_name = "BACKEND")]
    backend: Option<String>,
    /// Only those of this method.
    #[arg(short = 'X', long, value_name = "METHOD")]
    method: Option<String>,
    /// Only paths that begin so.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Only these statuses: `404`, `5xx`, `500-503`, or several with commas between.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Only failures, by whose fault: `backend`, `client` or `proxy`.
    #[arg(long, value_name = "FAULT")]
    fault: Option<String>,
    /// Only those that took so long at least, such as `500ms`.
    #[arg(long, value_name = "DURATION")]
    slower_than: Option<String>,
    /// End after so many.
    #[arg(short = 'n', long, value_name = "LINES", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    #[command(flatten)]
    remote: RemoteArguments,
}

impl Tail {
    pub(crate) fn run(self) -> Done {
        let conditions = [
            ("flag", &self.flag),
            ("variant", &self.variant),
            ("group", &self.group),
            ("route", &self.route),
            ("backend", &self.backend),
            ("method", &self.method),
            ("path", &self.path),
            ("status", &self.status),
            ("fault", &self.fault),
            ("slower_than", &self.slower_than),
        ];
        let query: Vec<_> = conditions
            .iter()
            .filter_map(|(name, value)| Some((*name, value.as_deref()?)))
            .collect();
        let remote = self.remote.open_within(TIMEOUT)?;
        let (paint, mut left) = (Paint::of_stdout(), self.limit);
        loop {
            let mut told = Ok(());
            remote.stream("/api/v1/requests", &query, |event| {
                told = self.tell(event, paint, &mut left);
                told.is_ok() && left != Some(0)
            })?;
            told?;
            // A stream ends after a while by itself, and then goes on in another one.
            if left == Some(0) {
                return Ok(Exit::Done);
            }
        }
    }

    fn tell(&self, event: &StreamEvent, paint: Paint, left: &mut Option<u64>) -> io::Result<()> {
        let mut out = stdout().lock();
        match &*event.name {
            "request" => {
                if self.remote.json {
                    writeln!(out, "{}", event.data)?;
                } else {
                    writeln!(out, "{}", line(&event.data, paint))?;
                }
                *left = left.map(|left| left - 1);
            }
            "lagged" => {
                let missed = serde_json::from_str::<Value>(&event.data).unwrap_or_default();
                eprintln!("({} more, too many to show)", missed["missed"]);
            }
            _ => {}
        }
        out.flush()
    }
}

/// What is shown of a request.
#[derive(Deserialize)]
struct Shown {
    time: String,
    status: u16,
    method: String,
    host: String,
    path: String,
    duration_ms: f64,
    route: Option<String>,
    flag: Option<String>,
    group: Option<String>,
    variant: Option<String>,
    backend: Option<String>,
    upstream: Option<String>,
    rescued: bool,
    fault: Option<String>,
    failure: Option<String>,
    request_id: Option<String>,
}

/// One line: when, what came of it, what was asked, how long it took, where it went, and whose fault it was.
fn line(data: &str, paint: Paint) -> String {
    let Ok(shown) = serde_json::from_str::<Shown>(data) else {
        return data.to_owned();
    };
    let time = shown.time.get(11..23).unwrap_or(&shown.time);
    let status = paint.status(shown.status);
    let mut line = format!(
        "{time} {status} {} {}{} {:.1} ms",
        printable(&shown.method),
        printable(&shown.host),
        printable(&shown.path),
        shown.duration_ms
    );
    match (&shown.flag, &shown.variant) {
        (Some(flag), Some(variant)) => {
            let group = shown.group.as_deref().unwrap_or("no group");
            line += &format!(" {flag}={variant} ({group})");
        }
        _ => {
            line += &shown
                .route
                .map_or(String::new(), |route| format!(" {route}"))
        }
    }
    if let Some(backend) = &shown.backend {
        line += &format!(" {backend} {}", shown.upstream.as_deref().unwrap_or("-"));
    }
    if shown.rescued {
        line += " (answered by stable)";
    }
    if let Some(fault) = &shown.fault {
        let failure = shown.failure.as_deref();
        let how = failure.map_or(String::new(), |failure| format!(": {failure}"));
        line += &paint.alarm(&format!(" {fault}'s fault{how}"));
    }
    line + &shown
        .request_id
        .map_or(String::new(), |id| format!(" id={}", printable(&id)))
}

/// Without what would move the terminal's cursor: a request may hold anything.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(changed: &Value) -> String {
        let mut data = json!({
            "time": "2026-11-18T11:06:40.123Z", "status": 200, "method": "GET", "host": "shop", "path": "/a",
            "duration_ms": 12.345, "route": "all", "flag": null, "group": null, "variant": null,
            "backend": null, "upstream": null, "rescued": false, "fault": null, "failure": null,
            "request_id": null,
        });
        let object = data.as_object_mut().unwrap();
        object.extend(changed.as_object().unwrap().clone());
        line(&data.to_string(), Paint::plain())
    }

    #[test]
    fn a_line_says_what_is_known() {
        assert_eq!(shown(&json!({})), "11:06:40.123 200 GET shop/a 12.3 ms all");
        let failed = json!({
            "status": 502, "flag": "orders", "group": "default", "variant": "canary",
            "backend": "v2", "upstream": "10.0.0.2:80", "fault": "backend", "failure": "reset",
            "request_id": "id-7",
        });
        assert_eq!(
            shown(&failed),
            "11:06:40.123 502 GET shop/a 12.3 ms orders=canary (default) v2 10.0.0.2:80 \
             backend's fault: reset id=id-7"
        );
        let rescued = json!({ "rescued": true, "backend": "v1" });
        assert!(shown(&rescued).ends_with(" v1 - (answered by stable)"));
        assert_eq!(line("no JSON", Paint::plain()), "no JSON");
    }

    #[test]
    fn nothing_of_a_request_moves_the_cursor() {
        assert!(!shown(&json!({ "path": "/\u{1b}[2J" })).contains('\u{1b}'));
    }
}
