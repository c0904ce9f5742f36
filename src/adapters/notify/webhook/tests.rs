//! Deliveries to real servers: what arrives, what is tried again, and what is not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Uri};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;
use crate::adapters::http_client::HttpClients;
use crate::adapters::notify::webhook::testing::{TestOutbox, message};
use crate::adapters::testing::{Reply, TestAuthority, TestServer, wait_for};
use crate::domain::notify::{NotifyFormat, NotifyTarget};
use crate::runtime::clock::{self, Clock};
use crate::runtime::delivery::{DeliveryStatus, TargetStatus};
use crate::runtime::shutdown::ShutdownTrigger;
use crate::runtime::snapshot::{SnapshotReader, SnapshotWriter};

fn target(name: &str, url: &str) -> NotifyTarget {
    NotifyTarget {
        name: name.parse().unwrap(),
        url: url.parse::<Uri>().unwrap().try_into().unwrap(),
        format: NotifyFormat::Json,
        phases: Vec::new(),
        flags: Vec::new(),
        headers: HeaderMap::new(),
        timeout: Duration::from_secs(30),
        authorities: Vec::new(),
        hook: None,
    }
}

fn at(name: &str, server: &TestServer) -> NotifyTarget {
    target(name, &format!("http://{}/s3cret", server.address))
}

fn webhooks(targets: &[NotifyTarget]) -> Webhooks {
    Webhooks::new(targets, &HttpClients::new()).unwrap()
}

/// A running deliverer.
struct Running {
    targets: SnapshotWriter<Webhooks>,
    wake: Arc<Notify>,
    status: SnapshotReader<DeliveryStatus>,
    stop: ShutdownTrigger,
    task: JoinHandle<()>,
}

impl Running {
    fn start(outbox: &Arc<TestOutbox>, targets: &[NotifyTarget]) -> Self {
        let targets = SnapshotWriter::new(webhooks(targets));
        let (wake, stop) = (Arc::new(Notify::new()), ShutdownTrigger::new());
        let deliverer = Deliverer::new(
            Arc::clone(outbox) as _,
            targets.reader(),
            Arc::clone(&wake),
            Clock::start(),
        );
        Self {
            targets,
            wake,
            status: deliverer.status(),
            task: tokio::spawn(deliverer.run(stop.listener())),
            stop,
        }
    }

    fn status(&self, name: &str) -> TargetStatus {
        let status: BTreeMap<_, _> = self.status.load().targets.clone();
        status
            .get(&name.parse().unwrap())
            .cloned()
            .unwrap_or_default()
    }

    /// Waits until the first attempt has failed, and says why it did.
    async fn problem(&self, name: &str) -> String {
        wait_for(|| self.status(name).problem.is_some()).await;
        self.status(name).problem.unwrap()
    }

    async fn stop(self) {
        self.stop.pull();
        timeout(Duration::from_secs(10), self.task)
            .await
            .unwrap()
            .unwrap();
    }
}

fn outbox(messages: &[(u64, &str)]) -> Arc<TestOutbox> {
    let outbox = TestOutbox::default();
    for (id, target) in messages {
        outbox.put(message(*id, target));
    }
    Arc::new(outbox)
}

#[tokio::test]
async fn a_message_arrives_with_its_number_and_the_headers_of_its_target() {
    let server = TestServer::start(vec![Reply::Status(200, "")]).await;
    let mut chat = at("chat", &server);
    let token = HeaderValue::from_static("Bearer t0p");
    chat.headers.insert("authorization", token);
    let outbox = outbox(&[]);
    let running = Running::start(&outbox, &[chat]);
    outbox.put(message(7, "chat"));
    running.wake.notify_one();
    let received = server.wait_for(1).await.remove(0);
    assert!(received.head.starts_with("POST /s3cret HTTP/1.1\r\n"));
    assert_eq!(received.field("content-type"), Some("application/json"));
    assert_eq!(received.field("authorization"), Some("Bearer t0p"));
    let id = received.field("x-serin-notification-id");
    assert_eq!(id, Some("7-1764000000000"));
    let body: serde_json::Value = serde_json::from_str(&received.body).unwrap();
    assert_eq!(body["what"], "change 7");
    wait_for(|| outbox.is_empty() && running.status("chat").pending == 0).await;
    assert_eq!(running.status("chat").delivered, 1);
    running.stop().await;
}

#[tokio::test]
async fn messages_of_a_target_arrive_in_order() {
    let server = TestServer::start(vec![Reply::Status(204, "")]).await;
    let messages: Vec<_> = (1..=20).map(|id| (id, "chat")).collect();
    let outbox = outbox(&messages);
    let running = Running::start(&outbox, &[at("chat", &server)]);
    let received = server.wait_for(20).await;
    let ids = received.iter().map(|request| {
        let id = request.field("x-serin-notification-id").unwrap();
        id.split_once('-').unwrap().0.parse::<u64>().unwrap()
    });
    assert!(ids.eq(1..=20));
    running.stop().await;
}

#[tokio::test]
async fn what_fails_is_sent_again_as_the_same_message() {
    let replies = vec![Reply::Status(503, ""), Reply::Status(200, "")];
    let server = TestServer::start(replies).await;
    let outbox = outbox(&[(1, "chat")]);
    let running = Running::start(&outbox, &[at("chat", &server)]);
    assert_eq!(
        running.problem("chat").await,
        "answered 503 Service Unavailable"
    );
    let received = server.wait_for(2).await;
    assert_eq!(received[0].body, received[1].body);
    let id = "x-serin-notification-id";
    assert_eq!(received[0].field(id), received[1].field(id));
    wait_for(|| outbox.is_empty()).await;
    wait_for(|| running.status("chat").delivered == 1).await;
    let status = running.status("chat");
    assert_eq!((status.failed, status.given_up), (1, 0));
    assert_eq!(status.problem, None);
    running.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_given_up_at_once() {
    let replies = vec![Reply::Status(400, ""), Reply::Status(200, "")];
    let server = TestServer::start(replies).await;
    let outbox = outbox(&[(1, "chat"), (2, "chat")]);
    let running = Running::start(&outbox, &[at("chat", &server)]);
    wait_for(|| outbox.is_empty() && running.status("chat").delivered == 1).await;
    assert_eq!(running.status("chat").given_up, 1);
    assert_eq!(server.received().len(), 2, "one attempt for each");
    running.stop().await;
}

#[tokio::test]
async fn a_target_that_asks_for_time_is_left_alone() {
    let replies = vec![Reply::Status(429, "retry-after: 1800\r\n")];
    let server = TestServer::start(replies).await;
    let outbox = outbox(&[(1, "chat")]);
    let before_ms = u64::try_from(clock::wall().as_millis()).unwrap();
    let running = Running::start(&outbox, &[at("chat", &server)]);
    running.problem("chat").await;
    let (message, due) = outbox.waiting().remove(0);
    assert_eq!(message.attempts, 1);
    let wait_ms = due - before_ms;
    assert!((1_800_000..1_900_000).contains(&wait_ms), "{wait_ms}");
    running.stop().await;
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_silence_is_not_waited_out() {
    let elsewhere = TestServer::start(vec![Reply::Status(200, "")]).await;
    let location = format!(
        "HTTP/1.1 307 Elsewhere\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n",
        elsewhere.address
    );
    let moved = TestServer::start(vec![Reply::Raw(location)]).await;
    let silent = TestServer::start(vec![Reply::Silence("")]).await;
    let hasty = NotifyTarget {
        timeout: Duration::from_millis(50),
        ..at("silent", &silent)
    };
    let outbox = outbox(&[(1, "moved"), (2, "silent")]);
    let running = Running::start(&outbox, &[at("moved", &moved), hasty]);
    let problem = running.problem("moved").await;
    assert!(
        problem.ends_with("and redirects are not followed"),
        "{problem}"
    );
    let problem = running.problem("silent").await;
    assert!(problem.ends_with("within 50ms"), "{problem}");
    assert_eq!(outbox.waiting().len(), 2, "both are sent again");
    running.stop().await;
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn an_endless_answer_is_a_delivery_all_the_same() {
    let server = TestServer::start(vec![Reply::Endless]).await;
    let outbox = outbox(&[(1, "chat")]);
    let running = Running::start(&outbox, &[at("chat", &server)]);
    wait_for(|| outbox.is_empty()).await;
    running.stop().await;
}

#[tokio::test]
async fn a_target_that_hangs_does_not_delay_the_others() {
    let hanging = TestServer::start(vec![Reply::Silence("")]).await;
    let pager = TestServer::start(vec![Reply::Status(200, "")]).await;
    let mut targets: Vec<_> = (0..15)
        .map(|n| at(&format!("chat-{n}"), &hanging))
        .collect();
    targets.push(at("pager", &pager));
    let outbox = outbox(&[]);
    for n in 0..15 {
        outbox.put(message(n, &format!("chat-{n}")));
    }
    let running = Running::start(&outbox, &targets);
    hanging.wait_for(15).await;
    outbox.put(message(100, "pager"));
    running.wake.notify_one();
    pager.wait_for(1).await;
    wait_for(|| running.status("pager").delivered == 1).await;
    assert_eq!(running.status("chat-3").pending, 1);
    running.stop().await;
}

#[tokio::test]
async fn what_was_not_delivered_before_a_restart_is_delivered_after_it() {
    let down = TestServer::start(vec![Reply::Status(502, "retry-after: 3600\r\n")]).await;
    let outbox = outbox(&[(1, "chat"), (2, "chat")]);
    let before = Running::start(&outbox, &[at("chat", &down)]);
    before.problem("chat").await;
    before.stop().await;
    assert_eq!(outbox.waiting().len(), 2);

    let up = TestServer::start(vec![Reply::Status(200, "")]).await;
    let after = Running::start(&outbox, &[at("chat", &up)]);
    let received = up.wait_for(2).await;
    assert!(
        received[0].body.contains("change 1"),
        "put off, and still first"
    );
    wait_for(|| outbox.is_empty()).await;
    after.stop().await;
}

#[tokio::test]
async fn a_reload_corrects_a_target_at_once_and_takes_one_away() {
    let wrong = TestServer::start(vec![Reply::Status(500, "retry-after: 3600\r\n")]).await;
    let outbox = outbox(&[(1, "chat"), (2, "old")]);
    let mut running = Running::start(&outbox, &[at("chat", &wrong), at("old", &wrong)]);
    running.problem("chat").await;
    running.problem("old").await;

    let right = TestServer::start(vec![Reply::Status(200, "")]).await;
    running.targets.publish(webhooks(&[at("chat", &right)]));
    running.wake.notify_one();
    right.wait_for(1).await;
    wait_for(|| outbox.is_empty()).await;
    wait_for(|| running.status.load().targets.len() == 1).await;
    running.stop().await;
    assert_eq!(
        right.received().len(),
        1,
        "nothing is left for the target that is gone"
    );
}

#[tokio::test]
async fn secrets_go_to_whom_an_authority_vouches_for_and_to_nobody_else() {
    let authority = TestAuthority::new();
    let replies = vec![Reply::Status(200, "")];
    let server = TestServer::start_tls(replies, authority.server("127.0.0.1")).await;
    let url = format!("https://{}/s3cret", server.address);
    let outbox = outbox(&[(1, "chat")]);
    let mut running = Running::start(&outbox, &[target("chat", &url)]);
    let problem = running.problem("chat").await;
    assert!(problem.contains("unknown issuer"), "{problem}");
    assert!(!problem.contains("s3cret"), "{problem}");
    assert!(server.received().is_empty());

    let knowing = NotifyTarget {
        authorities: vec![authority.der()],
        ..target("chat", &url)
    };
    running.targets.publish(webhooks(&[knowing]));
    running.wake.notify_one();
    server.wait_for(1).await;
    wait_for(|| outbox.is_empty()).await;
    running.stop().await;
}

#[tokio::test]
async fn an_outbox_that_cannot_be_read_is_read_again() {
    let server = TestServer::start(vec![Reply::Status(200, "")]).await;
    let outbox = outbox(&[(1, "chat")]);
    outbox.break_down(true);
    let running = Running::start(&outbox, &[at("chat", &server)]);
    wait_for(|| !running.status.load().targets.is_empty()).await;
    assert!(server.received().is_empty());
    outbox.break_down(false);
    running.wake.notify_one();
    server.wait_for(1).await;
    running.stop().await;
}

#[tokio::test]
async fn a_stop_waits_a_moment_and_loses_nothing() {
    let server = TestServer::start(vec![Reply::Silence("")]).await;
    let outbox = outbox(&[(1, "chat")]);
    let running = Running::start(&outbox, &[at("chat", &server)]);
    server.wait_for(1).await;
    let begun = Instant::now();
    running.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(outbox.waiting().len(), 1);
}

#[test]
fn a_target_with_a_broken_authority_is_named() {
    let broken = NotifyTarget {
        authorities: vec![Arc::from(&b"nonsense"[..])],
        ..target("chat", "https://chat/")
    };
    let error = Webhooks::new(&[broken], &HttpClients::new()).unwrap_err();
    assert_eq!(error.to_string(), "target `chat` of notifications");
    assert_eq!(error.source.ordinal, 1);
}
