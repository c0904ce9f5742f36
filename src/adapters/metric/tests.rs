//! Against real sockets: answers that are right, and everything that others may say instead.

use std::time::Duration;

use super::*;
use crate::adapters::http_client::HttpClients;
use crate::adapters::testing::{Reply, TestServer};
use crate::domain::further::{Sample, SourceUrl};

fn with_body(status: u16, body: &str) -> Reply {
    Reply::Raw(format!("HTTP/1.1 {status} Said\r\n\r\n{body}"))
}

/// What is said of a reply, and the head of the request.
async fn ask(
    reply: Reply,
    subject: impl FnOnce(&str) -> Subject,
) -> (Result<Sample, Silence>, String) {
    let server = TestServer::start(vec![reply]).await;
    let metrics = HttpMetrics::new(HttpClients::new().plain());
    let question = Question {
        subject: subject(&format!("http://{}", server.address)),
        timeout: Duration::from_millis(500),
    };
    let said = metrics.ask(question).await;
    let received = server.received();
    (
        said,
        received
            .first()
            .map_or_else(String::new, |one| one.head.clone()),
    )
}

fn promql(base: &str) -> Subject {
    Subject::PromQl {
        server: SourceUrl::try_from(&*format!("{base}/prom/")).unwrap(),
        query: "sum(rate(orders{flag=\"a b\"}[1m])) + 1".to_owned(),
    }
}

fn http_json(base: &str) -> Subject {
    Subject::HttpJson {
        url: format!("{base}/api?flag=f").parse().unwrap(),
        pointer: "/scores/1".to_owned(),
    }
}

/// A result of a query, evaluated so many seconds ago.
fn result(kind: &str, result: &str, seconds_ago: f64) -> Reply {
    let at = clock::wall().as_secs_f64() - seconds_ago;
    let result = result.replace("AT", &at.to_string());
    let data = format!("{{\"resultType\":\"{kind}\",\"result\":{result}}}");
    with_body(200, &format!("{{\"status\":\"success\",\"data\":{data}}}"))
}

async fn silence(reply: Reply, subject: fn(&str) -> Subject) -> String {
    ask(reply, subject).await.0.unwrap_err().to_string()
}

#[tokio::test]
async fn a_query_is_one_get_and_its_one_sample_is_the_answer() {
    let vector = result(
        "vector",
        "[{\"metric\":{\"a\":\"b\"},\"value\":[AT,\"12.5\"]}]",
        20.0,
    );
    let (said, head) = ask(vector, promql).await;
    let sample = said.unwrap();
    assert!((sample.value - 12.5).abs() < 1e-9);
    assert!(
        (18.0..25.0).contains(&sample.age.as_secs_f64()),
        "{sample:?}"
    );
    let line = head.lines().next().unwrap();
    assert_eq!(
        line,
        "GET /prom/api/v1/query?query=sum%28rate%28orders%7Bflag%3D%22a%20b%22%7D%5B1m%5D%29%29%20%2B%201 HTTP/1.1"
    );
    let scalar = ask(result("scalar", "[AT,\"3\"]", 0.0), promql)
        .await
        .0
        .unwrap();
    assert!((scalar.value - 3.0).abs() < 1e-9);
    // No number is not this file's to judge.
    let nan = ask(result("scalar", "[AT,\"NaN\"]", 0.0), promql)
        .await
        .0
        .unwrap();
    assert!(nan.value.is_nan());
    let infinite = ask(result("scalar", "[AT,\"-Inf\"]", 0.0), promql)
        .await
        .0
        .unwrap();
    assert!(infinite.value.is_infinite());
}

#[tokio::test]
async fn what_is_no_single_number_is_told() {
    let one = "{\"metric\":{},\"value\":[AT,\"1\"]}";
    for (reply, expected) in [
        (result("vector", "[]", 0.0), "the query finds no sample"),
        (
            result("vector", &format!("[{one},{one}]"), 0.0),
            "the query finds 2 samples where one is needed; add them up by `sum(…)`",
        ),
        (
            result("vector", "[{\"metric\":{},\"histogram\":[AT,{}]}]", 0.0),
            "the query finds a histogram, no number",
        ),
        (
            result("matrix", "[]", 0.0),
            "the query results in a matrix, not in a number",
        ),
        (
            result("string", "[AT,\"a\"]", 0.0),
            "the query results in a string, not in a number",
        ),
        (result("scalar", "[AT,\"a\"]", 0.0), "`a` is no number"),
        (
            result("scalar", "{}", 0.0),
            "the answer is none of a Prometheus",
        ),
        (
            result("scalar", "[AT,\"1\"]", -3600.0),
            "the sample is 3600 s ahead of this machine's clock",
        ),
        (
            with_body(
                400,
                "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"1:2: parse\\n error\"}",
            ),
            "Prometheus answers bad_data: 1:2: parse error",
        ),
        (
            with_body(200, "<html>"),
            "the answer is none of a Prometheus",
        ),
        (
            with_body(502, "bad gateway"),
            "the answer is 502, and none of a Prometheus",
        ),
        (
            with_body(200, "{\"status\":\"success\"}"),
            "the answer is none of a Prometheus",
        ),
    ] {
        let said = silence(reply, promql).await;
        assert_eq!(said, expected);
    }
}

#[tokio::test]
async fn a_pointer_leads_to_a_number() {
    let (said, head) = ask(with_body(200, "{\"scores\":[1,4.5]}"), http_json).await;
    let sample = said.unwrap();
    assert!((sample.value - 4.5).abs() < 1e-9 && sample.age.is_zero());
    assert!(head.starts_with("GET /api?flag=f HTTP/1.1\r\n"), "{head}");
    for (reply, expected) in [
        (
            with_body(200, "{\"scores\":[1]}"),
            "the answer has nothing at `/scores/1`",
        ),
        (
            with_body(200, "{\"scores\":[1,\"4\"]}"),
            "`/scores/1` is a text, not a number",
        ),
        (
            with_body(200, "{\"scores\":[1,null]}"),
            "`/scores/1` is null, not a number",
        ),
        (
            with_body(200, "{\"scores\":[1,NaN]}"),
            "the answer is not JSON",
        ),
        (with_body(200, ""), "the answer is not JSON"),
        (with_body(500, "{\"scores\":[1,2]}"), "the answer is 500"),
    ] {
        assert_eq!(silence(reply, http_json).await, expected);
    }
}

#[tokio::test]
async fn a_source_that_is_silent_endless_or_gone_is_told_without_its_url() {
    for subject in [promql, http_json] {
        let slow = silence(Reply::Silence("HTTP/1.1 200 OK\r\n\r\n{"), subject).await;
        assert!(slow.ends_with("within 500ms"), "{slow}");
        let endless = silence(Reply::Endless, subject).await;
        assert!(
            endless.ends_with("is larger than 262144 bytes"),
            "{endless}"
        );
        let torn = silence(Reply::Raw("HTTP/1.1 200".to_owned()), subject).await;
        assert!(torn.contains("broke off"), "{torn}");
        for said in [slow, endless, torn] {
            assert!(!said.contains("api") && !said.contains("query"), "{said}");
        }
    }
}
