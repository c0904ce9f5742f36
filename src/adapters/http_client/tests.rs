//! Against real servers, well-behaved and not.

use std::net::TcpListener;

use http::Method;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::adapters::testing::{Reply, TestAuthority, TestServer};

const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(10),
    body_bytes_max: 1_000,
};

fn request(url: &str) -> Request<Bytes> {
    Request::builder()
        .method(Method::POST)
        .uri(url)
        .body(Bytes::from_static(b"hello"))
        .unwrap()
}

async fn send(url: &str, limits: Limits) -> Result<Answer, HttpError> {
    let client = HttpClients::new().client(&[]).unwrap();
    client.send(request(url), limits).await
}

async fn send_to(reply: Reply, limits: Limits) -> Result<Answer, HttpError> {
    let server = TestServer::start(vec![reply]).await;
    send(&format!("http://{}/hook", server.address), limits).await
}

#[tokio::test]
async fn a_request_arrives_and_its_answer_comes_back_whole() {
    let text = "HTTP/1.1 201 Created\r\ncontent-length: 2\r\nx-a: b\r\n\r\nok".to_owned();
    let server = TestServer::start(vec![Reply::Raw(text)]).await;
    let url = format!("http://{}/hook?x=1", server.address);
    let answer = send(&url, LIMITS).await.unwrap();
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.headers["x-a"], "b");
    assert_eq!(answer.whole().unwrap(), "ok");
    let [received] = &server.received()[..] else {
        panic!("{:?}", server.received());
    };
    assert!(received.head.starts_with("POST /hook?x=1 HTTP/1.1\r\n"));
    assert_eq!(received.body, "hello");
    let agent = format!("serin/{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(received.field("user-agent"), Some(&*agent));
    assert_eq!(received.field("host"), Some(&*server.address.to_string()));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_nothing_more() {
    let elsewhere = TestServer::start(vec![Reply::Status(200, "")]).await;
    let text = format!(
        "HTTP/1.1 307 Elsewhere\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n",
        elsewhere.address
    );
    let answer = send_to(Reply::Raw(text), LIMITS).await.unwrap();
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let answer = send_to(Reply::Endless, LIMITS).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body.len(), 1_000);
    let problem = answer.whole().unwrap_err().to_string();
    assert!(problem.ends_with("is larger than 1000 bytes"), "{problem}");
}

#[tokio::test]
async fn an_answer_of_just_the_limit_is_whole() {
    let text = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1_000));
    let answer = send_to(Reply::Raw(text), LIMITS).await.unwrap();
    assert_eq!(answer.whole().unwrap().len(), 1_000);
}

#[tokio::test]
async fn silence_ends_with_the_time_before_and_after_the_head() {
    let limits = Limits {
        timeout: Duration::from_millis(50),
        ..LIMITS
    };
    let error = send_to(Reply::Silence(""), limits).await.unwrap_err();
    assert!(matches!(error, HttpError::TimedOut { .. }), "{error}");
    assert!(error.to_string().ends_with("within 50ms"), "{error}");
    let begun = Reply::Silence("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal");
    let answer = send_to(begun, limits).await.unwrap();
    assert_eq!(
        (answer.status, &*answer.body),
        (StatusCode::OK, &b"hal"[..])
    );
    assert!(matches!(answer.cut, Some(HttpError::TimedOut { .. })));
}

#[tokio::test]
async fn what_is_no_http_or_breaks_off_is_told() {
    for text in [
        "",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 200 OK\r\nx: ",
        "HTTP/1.1 200 OK\r\nx: \0\r\n\r\n",
    ] {
        let error = send_to(Reply::Raw(text.to_owned()), LIMITS)
            .await
            .unwrap_err();
        assert!(matches!(error, HttpError::Broken { .. }), "{text}: {error}");
    }
    let torn = Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal".to_owned());
    let answer = send_to(torn, LIMITS).await.unwrap();
    assert!(matches!(answer.cut, Some(HttpError::Broken { .. })));
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    let error = send_to(Reply::Raw(long), LIMITS).await.unwrap_err();
    assert!(matches!(error, HttpError::Broken { .. }), "{error}");
}

#[tokio::test]
async fn a_closed_port_and_an_unknown_name_are_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let error = send(&format!("http://{address}/s3cret"), LIMITS)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`{address}` refuses the connection")
    );
    // A label of more than 63 characters is refused by every resolver, without asking anybody.
    let name = format!("{}.invalid", "x".repeat(64));
    let error = send(&format!("http://{name}/s3cret"), LIMITS)
        .await
        .unwrap_err();
    assert!(matches!(error, HttpError::Lookup { .. }), "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn tls_is_spoken_with_whom_an_authority_vouches_for() {
    let authority = TestAuthority::new();
    let replies = vec![Reply::Status(204, "")];
    let server = TestServer::start_tls(replies, authority.server("127.0.0.1")).await;
    let url = format!("https://{}/", server.address);
    let clients = HttpClients::new();

    let knowing = clients.client(&[authority.der()]).unwrap();
    let answer = knowing.send(request(&url), LIMITS).await.unwrap();
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(server.received().len(), 1);

    let namesake = clients.client(&[TestAuthority::new().der()]).unwrap();
    for (stranger, expected) in [
        (
            clients.client(&[]).unwrap(),
            "its certificate is of an unknown issuer; name that authority under `ca`",
        ),
        (
            namesake,
            "its certificate is not signed with the key of the authority that it names",
        ),
    ] {
        let error = stranger.send(request(&url), LIMITS).await.unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
    }
    assert_eq!(server.received().len(), 1, "nothing is sent to strangers");
}

#[tokio::test]
async fn tls_that_fails_says_on_whose_side() {
    let authority = TestAuthority::new();
    let client = HttpClients::new().client(&[authority.der()]).unwrap();
    let ask = async |server: &TestServer| {
        let url = format!("https://{}/", server.address);
        client
            .send(request(&url), LIMITS)
            .await
            .unwrap_err()
            .to_string()
    };
    let replies = || vec![Reply::Status(200, "")];
    let other_name = TestServer::start_tls(replies(), authority.server("other.example")).await;
    let problem = ask(&other_name).await;
    assert!(
        problem.ends_with("its certificate is for another name"),
        "{problem}"
    );

    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream
    });
    let url = format!("https://{address}/");
    let error = client.send(request(&url), LIMITS).await.unwrap_err();
    assert!(error.to_string().ends_with("is it `http://`?"), "{error}");
    answering.await.unwrap();
}

#[test]
fn what_is_no_certificate_is_refused_with_its_place() {
    let authority = TestAuthority::new().der();
    let error = HttpClients::new()
        .client(&[authority, Arc::from(&b"nonsense"[..])])
        .unwrap_err();
    assert_eq!(error.ordinal, 2);
}
