//! Streams of events: Server-Sent Events (the HTML standard, section 9.2).
//!
//! Whoever makes events leaves them at an [`Outlet`]; the answer's body hands them to the client as it reads
//! them. In between is a queue with a bound. Who reads too slowly loses what is [`offer`](Outlet::offer)ed
//! meanwhile and is told how much by an event `lagged`, or has whoever [`send`](Outlet::send)s wait. Streams
//! are few, silent ones are kept open by comments, and each ends after a while, or when it is time to stop;
//! clients come back by themselves and say by `Last-Event-ID` what they have seen.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep};

use crate::admin::error::ApiError;
use crate::admin::limits::CONNECTION_AGE_MAX;
use crate::runtime::clock;
use crate::runtime::shutdown::Shutdown;

/// Streams at a time: a quarter of the connections, so that there is always room for commands.
const STREAMS_MAX: usize = 64;

/// Events that wait for one client: what it may miss between two looks without being told.
const QUEUE_MAX: usize = 128;

/// How long a stream is silent at the most. Proxies close connections that are silent for a minute, some
/// for half of one; and a client that is gone shows when something is written to it.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a client waits before it comes back, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// The name of the field by which a client says what it has seen.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The longest identifier that is looked at, in bytes.
const ID_BYTES_MAX: usize = 128;

const TEXT_EVENT_STREAM: &str = "text/event-stream";

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    id: Option<String>,
    name: Option<&'static str>,
    data: String,
}

impl Event {
    /// An event with a name and JSON as data.
    pub(crate) fn named(name: &'static str, data: &impl Serialize) -> Self {
        Self {
            name: Some(name),
            // What is sent has no keys but texts, so it can be written.
            data: serde_json::to_string(data).unwrap_or_default(),
            id: None,
        }
    }

    /// An event whose data is JSON already, on one line.
    pub(crate) const fn of_json(name: &'static str, data: String) -> Self {
        Self {
            name: Some(name),
            data,
            id: None,
        }
    }

    /// The same with what the client shall say when it comes back: no line's end, no NUL.
    pub(crate) fn with_id(mut self, id: String) -> Self {
        self.id = Some(id);
        self
    }

    /// As it is sent. JSON is one line.
    fn to_bytes(&self) -> Bytes {
        let mut text = String::with_capacity(self.data.len() + 64);
        // Writing to a text does not fail.
        if let Some(id) = &self.id {
            let _ = writeln!(text, "id: {id}");
        }
        if let Some(name) = self.name {
            let _ = writeln!(text, "event: {name}");
        }
        let _ = write!(text, "data: {}\n\n", self.data);
        Bytes::from(text)
    }
}

/// What a client that comes back has seen last; none for one that comes for the first time.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(LAST_EVENT_ID)?.to_str().ok()?;
    Some(id).filter(|id| !id.is_empty() && id.len() <= ID_BYTES_MAX)
}

/// All streams, of which there is a bounded number.
#[derive(Clone, Debug)]
pub struct Streams {
    places: Arc<Semaphore>,
    stop: Shutdown,
    began_unix_ms: u64,
}

impl Streams {
    /// None is open; all end when it is time to stop.
    pub fn new(stop: Shutdown) -> Self {
        Self {
            places: Arc::new(Semaphore::new(STREAMS_MAX)),
            stop,
            began_unix_ms: u64::try_from(clock::wall().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// When this was made: what tells counts of this process from those of one before.
    pub(crate) const fn began_unix_ms(&self) -> u64 {
        self.began_unix_ms
    }

    /// Opens a stream: where to leave events, and what to answer. The stream ends once the outlet is
    /// dropped, and what is left at it comes before.
    ///
    /// # Errors
    /// When there are too many, or it is time to stop.
    pub(crate) fn open(&self) -> Result<(Outlet, Response), ApiError> {
        if self.stop.is_requested() {
            return Err(ApiError::Unavailable("Serin is stopping".to_owned()));
        }
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| {
            let problem = format!("{STREAMS_MAX} streams are open, and there are no more");
            ApiError::Unavailable(problem)
        })?;
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let missed = Arc::<AtomicU64>::default();
        let outlet = Outlet {
            queue: sender,
            missed: Arc::clone(&missed),
        };
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = self.stop.clone();
        let end = async move {
            tokio::select! {
                () = stop.requested() => {}
                () = sleep(CONNECTION_AGE_MAX) => {}
            }
        };
        let body = EventBody {
            greeting: Some(Bytes::from(format!("retry: {RETRY_MS}\n\n"))),
            queue,
            missed,
            heartbeat,
            end: Box::pin(end),
            _place: place,
        };
        let fields = [
            (header::CONTENT_TYPE, TEXT_EVENT_STREAM),
            (header::CACHE_CONTROL, "no-store"),
            // Proxies in between must not gather events; this is how nginx is told.
            (HeaderName::from_static("x-accel-buffering"), "no"),
        ];
        Ok((outlet, (fields, Body::new(body)).into_response()))
    }
}

/// Where events for one client are left.
#[derive(Debug)]
pub(crate) struct Outlet {
    queue: mpsc::Sender<Bytes>,
    /// What was dropped since the client was told of it last.
    missed: Arc<AtomicU64>,
}

impl Outlet {
    /// Leaves an event without waiting. A client that is behind gets none until it has caught up and was
    /// told how many it has missed, so that it knows where.
    pub(crate) fn offer(&self, event: &Event) {
        let is_behind = self.missed.load(Ordering::Acquire) > 0;
        if is_behind || self.queue.try_send(event.to_bytes()).is_err() {
            self.missed.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Leaves an event as soon as there is room; false when the client has gone.
    pub(crate) async fn send(&self, event: &Event) -> bool {
        self.queue.send(event.to_bytes()).await.is_ok()
    }

    /// Whether the client has gone, or the stream has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Waits until the client has gone, or the stream has ended.
    pub(crate) async fn closed(&self) {
        self.queue.closed().await;
    }
}

/// A stream as the body of an answer.
struct EventBody {
    greeting: Option<Bytes>,
    queue: mpsc::Receiver<Bytes>,
    missed: Arc<AtomicU64>,
    heartbeat: Interval,
    /// Done when the stream is to end.
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Free again once the stream has ended.
    _place: OwnedSemaphorePermit,
}

impl EventBody {
    /// What comes next; none at the end.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        if let Some(greeting) = self.greeting.take() {
            return Poll::Ready(Some(greeting));
        }
        if let Poll::Ready(next) = self.queue.poll_recv(context) {
            self.heartbeat.reset();
            return Poll::Ready(next);
        }
        let missed = self.missed.swap(0, Ordering::AcqRel);
        if missed > 0 {
            let event = Event::named("lagged", &json!({ "missed": missed }));
            return Poll::Ready(Some(event.to_bytes()));
        }
        ready!(self.heartbeat.poll_tick(context));
        Poll::Ready(Some(Bytes::from_static(b":\n\n")))
    }
}

impl http_body::Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = ready!(self.get_mut().poll_next(context));
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use http_body_util::BodyExt as _;
    use tokio::time::timeout;

    use super::*;
    use crate::runtime::shutdown::ShutdownTrigger;

    struct Client(Body);

    impl Client {
        /// The next piece; none at the end.
        async fn next(&mut self) -> Option<String> {
            let frame = self.0.frame().await?.unwrap();
            Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
        }
    }

    /// A stream of which the greeting is read already.
    async fn open(streams: &Streams) -> (Outlet, Client) {
        let (outlet, response) = streams.open().unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], TEXT_EVENT_STREAM);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let mut client = Client(response.into_body());
        assert_eq!(client.next().await.unwrap(), "retry: 2000\n\n");
        (outlet, client)
    }

    fn event(number: u64) -> Event {
        Event::named("n", &number)
    }

    #[tokio::test(start_paused = true)]
    async fn events_come_as_the_standard_has_them() {
        let stop = ShutdownTrigger::new();
        let (outlet, mut client) = open(&Streams::new(stop.listener())).await;
        outlet.offer(&Event::named("verdict", &json!({ "why": "a\nb" })).with_id("7".to_owned()));
        let expected = "id: 7\nevent: verdict\ndata: {\"why\":\"a\\nb\"}\n\n";
        assert_eq!(client.next().await.unwrap(), expected);
        // Nothing happens for a while.
        let begun = Instant::now();
        assert_eq!(client.next().await.unwrap(), ":\n\n");
        assert_eq!(client.next().await.unwrap(), ":\n\n");
        assert_eq!(begun.elapsed(), 2 * HEARTBEAT);
        outlet.offer(&event(1));
        drop(outlet);
        assert_eq!(client.next().await.unwrap(), "event: n\ndata: 1\n\n");
        assert_eq!(client.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_too_slowly_is_told_how_much_is_missing_and_where() {
        let stop = ShutdownTrigger::new();
        let (outlet, mut client) = open(&Streams::new(stop.listener())).await;
        let queue = u64::try_from(QUEUE_MAX).unwrap();
        (0..queue + 5).for_each(|number| outlet.offer(&event(number)));
        let first = client.next().await.unwrap();
        assert_eq!(first, "event: n\ndata: 0\n\n");
        // There is room again, and it is still behind.
        outlet.offer(&event(1_000));
        for number in 1..queue {
            let next = client.next().await.unwrap();
            assert_eq!(next, format!("event: n\ndata: {number}\n\n"));
        }
        let lagged = "event: lagged\ndata: {\"missed\":6}\n\n";
        assert_eq!(client.next().await.unwrap(), lagged);
        outlet.offer(&event(2_000));
        assert_eq!(client.next().await.unwrap(), "event: n\ndata: 2000\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_waits_for_room_and_hears_that_the_client_has_gone() {
        let stop = ShutdownTrigger::new();
        let (outlet, mut client) = open(&Streams::new(stop.listener())).await;
        for _ in 0..QUEUE_MAX {
            assert!(outlet.send(&event(1)).await);
        }
        assert!(timeout(HEARTBEAT, outlet.send(&event(1))).await.is_err());
        client.next().await.unwrap();
        assert!(outlet.send(&event(1)).await);
        drop(client);
        outlet.closed().await;
        assert!(!outlet.send(&event(1)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_are_few_and_end_when_it_is_time() {
        let stop = ShutdownTrigger::new();
        let streams = Streams::new(stop.listener());
        let mut open_ones = Vec::new();
        for _ in 0..STREAMS_MAX {
            open_ones.push(open(&streams).await);
        }
        let refused = streams.open().map(|_| ()).unwrap_err().into_response();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        open_ones.pop();
        let (_outlet, mut client) = open(&streams).await;
        let begun = Instant::now();
        while client.next().await.is_some() {}
        assert_eq!(begun.elapsed(), CONNECTION_AGE_MAX);
        drop(open_ones);
        let (_outlet, mut client) = open(&streams).await;
        stop.pull();
        assert_eq!(client.next().await, None);
        assert!(streams.open().is_err());
    }

    #[test]
    fn what_was_seen_last_is_a_short_text_or_nothing() {
        let seen = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LAST_EVENT_ID, text.parse().unwrap());
            last_event_id(&headers).map(str::to_owned)
        };
        assert_eq!(seen("12-34").as_deref(), Some("12-34"));
        assert_eq!(seen(""), None);
        assert_eq!(seen(&"1".repeat(ID_BYTES_MAX + 1)), None);
        assert_eq!(last_event_id(&HeaderMap::new()), None);
    }
}
