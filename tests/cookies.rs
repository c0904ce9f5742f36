//! Cookies that Serin gives: signed, kept known over a restart, and kept as a bucket through a login.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use support::proxy::{SERIN, backends};
use support::{Answer, Request, TestBackend, TestProxy};
use tempfile::TempDir;

/// A configuration with more keys of the cookie.
fn config(v1: &TestBackend, v2: &TestBackend, more: &str) -> String {
    format!(
        "{}identity: [{{ cookie: uid }}, {{ assigned_cookie: {{ {more} }} }}]\n\
         flags: {{ shop: {{ stable: v1, canary: v2, default: 50% }} }}\n\
         routes: [{{ flag: shop }}]\n",
        backends(&[("v1", v1), ("v2", v2)])
    )
}

/// The cookie of an answer, as a browser sends it back.
fn given(answer: &Answer) -> String {
    let field = answer.field("set-cookie").unwrap();
    field.split(';').next().unwrap().to_owned()
}

fn with_cookie(cookie: &str) -> Request {
    Request::get("/").field("cookie", cookie)
}

#[test]
fn who_logs_in_keeps_the_variant_of_the_browser_where_that_is_wanted() {
    let (v1, v2) = (TestBackend::start("v1"), TestBackend::start("v2"));
    for link in [true, false] {
        let proxy = TestProxy::start(&config(&v1, &v2, &format!("link: {link}")));
        let kept = (0..30).filter(|number| {
            let before = proxy.get("/");
            let both = format!("{}; uid=user-{number}", given(&before));
            let after = proxy.ask(&with_cookie(&both));
            assert_eq!(after.field("set-cookie"), None);
            before.text() == after.text()
        });
        let kept = kept.count();
        assert_eq!(kept == 30, link, "{kept} of 30");
        // Without a cookie it is the caller's own key that decides.
        let alone = |uid: &str| proxy.ask(&with_cookie(uid)).text().to_owned();
        assert_eq!(alone("uid=ann"), alone("uid=ann"));
    }
}

#[test]
fn a_cookie_is_known_after_a_restart_and_nowhere_else() {
    let (v1, v2) = (TestBackend::start("v1"), TestBackend::start("v2"));
    let folder = TempDir::new().unwrap();
    let text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\nadmin: {{ address: \"127.0.0.1:0\" }}\n\
         state: {{ path: state }}\n{}",
        config(&v1, &v2, "secure: true, same_site: strict")
    );
    fs::write(folder.path().join("serin.yaml"), text).unwrap();
    let start = || TestProxy::in_folder(folder.path(), Command::new(SERIN));
    let mut proxy = start();
    let first = proxy.get("/");
    let attributes = first
        .field("set-cookie")
        .unwrap()
        .split_once("; ")
        .unwrap()
        .1;
    assert_eq!(
        attributes,
        "Max-Age=2592000; Path=/; HttpOnly; Secure; SameSite=Strict"
    );
    let cookie = given(&first);
    proxy.kill();
    let mut proxy = start();
    let again = proxy.ask(&with_cookie(&cookie));
    assert_eq!(
        (again.text(), again.field("set-cookie")),
        (first.text(), None)
    );
    proxy.kill();
    let file = folder.path().join("state/cookie.key");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    fs::remove_file(file).unwrap();
    let answer = start().ask(&with_cookie(&cookie));
    assert_ne!(given(&answer), cookie);
}
