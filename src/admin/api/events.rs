//! What happens, as it happens.
//!
//! A stream begins with `ready`. Changes of state come as they are seen, and lines of the journal as they are
//! written; these carry identifiers, so that who comes back gets all lines that were written meanwhile. Where
//! that cannot be, `resync` says so: everything has to be looked at anew.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;

use crate::admin::AdminState;
use crate::admin::api::apart;
use crate::admin::api::query::{Parameters, Written};
use crate::admin::changes;
use crate::admin::error::ApiError;
use crate::admin::sse::{Event, Outlet, last_event_id};
use crate::admin::wire::JournalEvent;
use crate::control::ports::{JournalLine, JournalQuery, StateReader};
use crate::control::reload::ReloadStatus;
use crate::control::status::Status;
use crate::domain::ids::FlagName;
use crate::runtime::snapshot::SnapshotReader;

/// The most lines that are made up for: those of a busy day. More are to be read from the journal.
const LINES_MAX: usize = 1000;

/// Opens a stream of everything, or of one flag and what concerns all.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events",
    params(
        ("flag" = Option<FlagName>, Query, description = "of other flags nothing"),
        ("last-event-id" = Option<String>, Header, description = "what was seen last"),
    ),
    responses(
        (
            status = 200,
            description = "a stream of events: `ready`, `rollout`, `rollout_removed`, `verdict`, `flag`, `flag_removed`, `freeze`, `store`, `reload`, `journal`, `lagged`, `resync`",
            body = String, content_type = "text/event-stream",
        ),
        (status = 404, description = "there is no such flag"),
    ),
)]
pub(crate) async fn events(
    State(state): State<AdminState>,
    headers: HeaderMap,
    written: Written,
) -> Result<Response, ApiError> {
    let flag = Parameters::read(written, &["flag"])?.flag("flag")?;
    if let Some(flag) = &flag {
        known(&state.status.load(), flag)?;
    }
    let (outlet, response) = state.streams.open()?;
    let mut sources = Sources {
        status: state.status,
        reloaded: state.reloaded,
    };
    // From here on nothing is missed.
    let known = sources.begin().await;
    let stream = Stream {
        outlet,
        flag,
        reader: state.reader,
        told: Position::default(),
    };
    let seen = last_event_id(&headers).map(str::to_owned);
    tokio::spawn(stream.run(sources, known, seen));
    Ok(response)
}

/// Nothing would ever be told of a flag that there is not.
fn known(status: &Status, flag: &FlagName) -> Result<(), ApiError> {
    let mut known = status.flags.iter().map(|known| &known.flag);
    if known.any(|known| known == flag) {
        return Ok(());
    }
    let all: Vec<_> = status
        .flags
        .iter()
        .map(|known| known.flag.as_str())
        .collect();
    let problem = format!("no flag `{flag}`, there are: {}", all.join(", "));
    Err(ApiError::NotFound(problem))
}

/// Where changes are seen.
struct Sources {
    status: SnapshotReader<Status>,
    reloaded: Option<SnapshotReader<ReloadStatus>>,
}

/// Something new.
enum News {
    Status(Arc<Status>),
    Reload(Arc<ReloadStatus>),
}

impl Sources {
    /// How things stand; what comes later is news.
    async fn begin(&mut self) -> Arc<Status> {
        if let Some(reloaded) = &mut self.reloaded {
            reloaded.changed().await;
        }
        self.status.changed().await
    }

    async fn next(&mut self) -> News {
        let Some(reloaded) = &mut self.reloaded else {
            return News::Status(self.status.changed().await);
        };
        tokio::select! {
            // A reload is told after what it has changed.
            biased;
            status = self.status.changed() => News::Status(status),
            reloaded = reloaded.changed() => News::Reload(reloaded),
        }
    }
}

/// A line's place in the journal. Its moment tells it from one of the same number in another journal, such
/// as one that is kept in memory and began anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    sequence: u64,
    at_unix_ms: u64,
}

impl Position {
    const fn of(line: &JournalLine) -> Self {
        Self {
            sequence: line.sequence,
            at_unix_ms: line.at_unix_ms,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.sequence, self.at_unix_ms)
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (sequence, at_unix_ms) = text.split_once('-').ok_or(())?;
        Ok(Self {
            sequence: sequence.parse().map_err(|_| ())?,
            at_unix_ms: at_unix_ms.parse().map_err(|_| ())?,
        })
    }
}

/// One client's stream.
struct Stream {
    outlet: Outlet,
    /// The flag that is asked for, if one is.
    flag: Option<FlagName>,
    reader: Arc<dyn StateReader>,
    /// Up to where the journal was told.
    told: Position,
}

impl Stream {
    /// Runs until the client has gone or the stream has ended.
    async fn run(mut self, mut sources: Sources, mut known: Arc<Status>, seen: Option<String>) {
        self.greet(seen).await;
        loop {
            self.tell_lines().await;
            let news = tokio::select! {
                () = self.outlet.closed() => return,
                news = sources.next() => news,
            };
            match news {
                News::Status(now) => {
                    self.tell_changes(&known, &now);
                    known = now;
                }
                News::Reload(reload) => self.outlet.offer(&Event::named("reload", &*reload)),
            }
        }
    }

    /// Says where it begins: behind what the client has seen, if that is still known, else at the end.
    async fn greet(&mut self, seen: Option<String>) {
        let newest = self.read(None, None, 1).await;
        let newest = newest.first().map(Position::of).unwrap_or_default();
        let found = match &seen {
            None => Some(newest),
            Some(seen) => self.find(seen).await,
        };
        self.told = found.unwrap_or(newest);
        let version = json!({ "version": env!("CARGO_PKG_VERSION") });
        self.send(&Event::named("ready", &version).with_id(self.told.to_string()))
            .await;
        if found.is_none() {
            self.resync(newest).await;
        }
    }

    /// What the client has seen last, if it is in the journal.
    async fn find(&self, seen: &str) -> Option<Position> {
        let wanted: Position = seen.parse().ok()?;
        let Some(before) = wanted.sequence.checked_sub(1) else {
            // There was none yet, so all are new.
            return (wanted == Position::default()).then_some(wanted);
        };
        let end = wanted.sequence.saturating_add(1);
        let lines = self.read(Some(before), Some(end), 1).await;
        let found = lines.first().map(Position::of);
        found.filter(|found| *found == wanted)
    }

    async fn resync(&mut self, newest: Position) {
        let reason = json!({ "reason": "not all that happened meanwhile is known" });
        self.told = newest;
        self.send(&Event::named("resync", &reason).with_id(newest.to_string()))
            .await;
    }

    /// Tells the lines that are new, oldest first.
    async fn tell_lines(&mut self) {
        let lines = self
            .read(Some(self.told.sequence), None, LINES_MAX + 1)
            .await;
        if lines.len() > LINES_MAX
            && let Some(newest) = lines.first()
        {
            return self.resync(Position::of(newest)).await;
        }
        for line in lines.into_iter().rev() {
            self.told = Position::of(&line);
            if self.wants(line.subject.flag()) {
                let event = Event::named("journal", &JournalEvent::from(line));
                self.send(&event.with_id(self.told.to_string())).await;
            }
        }
    }

    fn tell_changes(&self, before: &Status, after: &Status) {
        for change in changes::between(before, after) {
            if self.wants(change.flag()) {
                self.outlet.offer(&Event::named(change.name(), &change));
            }
        }
    }

    fn wants(&self, flag: Option<&FlagName>) -> bool {
        self.flag
            .as_ref()
            .zip(flag)
            .is_none_or(|(wanted, flag)| wanted == flag)
    }

    /// A client that has gone is noticed where it is waited for.
    async fn send(&self, event: &Event) {
        let _ = self.outlet.send(event).await;
    }

    /// Lines between two others, newest first; none where the journal cannot be read, which the status
    /// tells of.
    async fn read(
        &self,
        after: Option<u64>,
        before: Option<u64>,
        limit: usize,
    ) -> Vec<JournalLine> {
        let reader = Arc::clone(&self.reader);
        let wanted = JournalQuery {
            after,
            before,
            limit,
            ..JournalQuery::default()
        };
        let read = apart(move || reader.journal(&wanted)).await;
        read.ok().and_then(Result::ok).unwrap_or_default()
    }
}
