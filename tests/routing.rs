//! Which backend a request goes to, by host, path, method and header.

mod support;

use support::proxy::backends;
use support::{Behaviour, Request, TestBackend, TestProxy};

/// Routes to one backend each, which answers with its own name. Written in an order that a table
/// tried from top to bottom would get wrong.
const ROUTES: &str = "
routes:
  - { path: /, backend: any }
  - { path: /orders, backend: prefix }
  - { path: /orders/special, backend: longer }
  - { path: { exact: /orders/exact }, backend: exact }
  - { path: /orders, methods: [POST, PUT], backend: method }
  - { path: /orders, headers: { x-version: \"2\" }, backend: header }
  - { path: /orders, headers: { x-version: \"2\", x-beta: { present: true } }, backend: headers }
  - { path: /orders, headers: { accept: { prefix: image/ } }, backend: header }
  - { host: \"*.shop.test\", backend: wildcard }
  - { host: \"*.eu.shop.test\", backend: narrower }
  - { host: api.shop.test, path: /orders, backend: host }
";

const NAMES: [&str; 11] = [
    "any", "prefix", "longer", "exact", "method", "header", "headers", "wildcard", "narrower",
    "host", "unused",
];

struct Shop {
    proxy: TestProxy,
    _backends: Vec<TestBackend>,
}

impl Shop {
    fn open(routes: &str) -> Self {
        let started: Vec<_> = NAMES.iter().map(|name| TestBackend::start(name)).collect();
        let named: Vec<_> = NAMES.iter().copied().zip(&started).collect();
        Self {
            proxy: TestProxy::start(&(backends(&named) + routes)),
            _backends: started,
        }
    }

    /// The name of the backend that answers.
    fn asked(&self, request: &Request) -> String {
        let answer = self.proxy.ask(request);
        assert_eq!(answer.status, 200, "{request:?}");
        answer.text().to_owned()
    }
}

#[test]
fn the_most_specific_route_serves_a_request_wherever_it_stands_in_the_file() {
    let shop = Shop::open(ROUTES);
    let get = Request::get;
    for (request, backend) in [
        (get("/"), "any"),
        (get("/other?x=/orders"), "any"),
        (get("/orders"), "prefix"),
        (get("/orders/"), "prefix"),
        (get("/orders/7?x=1"), "prefix"),
        (get("/orders-old"), "any"),
        (get("/Orders"), "any"),
        (get("/orders/special"), "longer"),
        (get("/orders/special/7"), "longer"),
        (get("/orders/exact"), "exact"),
        (get("/orders/exact?x=1"), "exact"),
        (get("/orders/exact/7"), "prefix"),
        (Request::new("POST", "/orders"), "method"),
        (Request::new("DELETE", "/orders"), "prefix"),
        (get("/orders").field("x-version", "2"), "header"),
        (get("/orders").field("X-Version", "2"), "header"),
        (get("/orders").field("x-version", "20"), "prefix"),
        (get("/orders").field("accept", "image/png"), "header"),
        (get("/orders").field("accept", "text/html"), "prefix"),
        (
            get("/orders").field("x-version", "2").field("x-beta", ""),
            "headers",
        ),
        // A path outranks methods, and these outrank headers.
        (Request::new("POST", "/orders/special"), "longer"),
        (
            Request::new("POST", "/orders").field("x-version", "2"),
            "method",
        ),
    ] {
        assert_eq!(shop.asked(&request), backend, "{request:?}");
    }
}

#[test]
fn an_exact_host_comes_before_a_wildcard_and_that_before_none() {
    let shop = Shop::open(ROUTES);
    let at = |host: &str, path: &str| shop.asked(&Request::get(path).host(host));
    assert_eq!(at("api.shop.test", "/orders"), "host");
    assert_eq!(at("API.Shop.Test:8080", "/orders"), "host");
    assert_eq!(at("api.shop.test.", "/orders"), "host");
    // Where the exact host has no fitting path, the next best host does.
    assert_eq!(at("api.shop.test", "/cart"), "wildcard");
    assert_eq!(at("www.shop.test", "/orders"), "wildcard");
    assert_eq!(at("a.b.shop.test", "/orders"), "wildcard");
    assert_eq!(at("www.eu.shop.test", "/"), "narrower");
    assert_eq!(at("shop.test", "/orders"), "prefix");
    assert_eq!(at("evilshop.test", "/"), "any");
    assert_eq!(at("[::1]:80", "/"), "any");
}

#[test]
fn a_request_that_no_route_fits_is_told_so() {
    let shop = Shop::open("routes: [{ host: only.test, path: /here, backend: any }]\n");
    let there = Request::get("/here").host("only.test");
    assert_eq!(shop.asked(&there), "any");
    for request in [
        Request::get("/here").host("other.test"),
        Request::get("/").host("only.test"),
        Request::get("/hereabouts").host("only.test"),
    ] {
        let problem = shop.proxy.ask(&request).problem(404);
        assert_eq!(problem["detail"], "no route for this host, path and method");
    }
    let labels = [("code", "404"), ("route", ""), ("flag", "")];
    shop.proxy
        .wait_for_count("serin_requests_total", &labels, 3);
}

#[test]
fn a_request_that_does_not_name_one_host_is_refused() {
    let backend = TestBackend::with("any", Behaviour::Echo);
    let proxy =
        TestProxy::start(&(backends(&[("any", &backend)]) + "routes: [{ backend: any }]\n"));
    for hosts in ["", "host:\r\n", "host: a.test\r\nhost: b.test\r\n"] {
        let mut connection = proxy.connect();
        connection.send(format!("GET / HTTP/1.1\r\n{hosts}\r\n").as_bytes());
        let problem = connection.answer().problem(400);
        let detail = "the request must name one host, in its target or in one `Host` field";
        assert_eq!(problem["detail"], detail, "{hosts:?}");
    }
    assert_eq!(backend.requests(), 0);
    proxy.wait_for_count("serin_requests_total", &[("code", "400")], 3);
}

#[test]
fn a_tunnel_is_refused() {
    let backend = TestBackend::start("any");
    let proxy =
        TestProxy::start(&(backends(&[("any", &backend)]) + "routes: [{ backend: any }]\n"));
    let target = backend.address().to_string();
    let mut connection = proxy.connect();
    connection.send(format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n").as_bytes());
    let problem = connection.answer().problem(501);
    assert_eq!(problem["detail"], "tunnels are not opened here");
    assert_eq!(backend.connections(), 0);
}
