//! Feedback of callers, from the first rating to what it decides: whose counts, whose does not, and
//! what no flood can do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::process::Command;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use serin::runtime::clock;
use support::disk::fast_folder;
use support::proxy::{SERIN, backends};
use support::tokens::{Signer, jwks};
use support::{
    Answer, Connection, Load, Request, SOON, TestBackend, TestProxy, wait_for, wait_until,
};
use tempfile::TempDir;

const PATH: &str = "/.serin/feedback";

/// How long ratings may take to decide something: the judge takes some twenty seconds for what they say.
const RATED: Duration = Duration::from_secs(60);

/// How many callers of one address may rate an arm that nobody else has rated.
const FORGED_MAX: usize = 4;

/// Stays in its first stage for want of requests, beyond a warm-up of a moment.
const LONG: &str = "stages: [50%, 100%], hold: 2s, min_requests: 1000000";

/// Passes within seconds, if it may.
const SHORT: &str = "stages: [50%, 100%], hold: 2s, min_requests: 50, watch: 60s, \
                     final_control: 20%";

/// A release between two backends, and a listener that takes ratings.
struct Release {
    proxy: TestProxy,
    folder: TempDir,
    backends: [TestBackend; 2],
}

impl Release {
    fn of(rollout: &str) -> Self {
        Self::with("feedback: true", "", rollout)
    }

    /// The same with what is written of the listener and of `admin`.
    fn with(listener: &str, admin: &str, rollout: &str) -> Self {
        let backends = ["stable", "canary"].map(TestBackend::start);
        let folder = fast_folder();
        let release = Self::text(&backends, listener, admin, rollout);
        std::fs::write(folder.path().join("serin.yaml"), release).unwrap();
        Self {
            proxy: TestProxy::in_folder(folder.path(), Command::new(SERIN)),
            folder,
            backends,
        }
    }

    fn text(servers: &[TestBackend; 2], listener: &str, admin: &str, rollout: &str) -> String {
        let [stable, canary] = servers;
        format!(
            "listeners: [{{ address: \"127.0.0.1:0\", {listener} }}]\n\
             admin: {{ address: \"127.0.0.1:0\", {admin} }}\nstate: {{ path: state }}\n{}\
             trusted_proxies: [127.0.0.0/8]\n\
             identity: [{{ header: x-user-id }}, {{ cookie: uid }}]\n\
             flags:\n  orders:\n    stable: v1\n    canary: v2\n\
             \x20   rollout: {{ revision: \"2.4.0\", {rollout} }}\n\
             routes: [{{ flag: orders }}]\n",
            backends(&[("v1", stable), ("v2", canary)])
        )
    }

    /// Ends the process as `kill -9` does, and starts it again.
    fn restart(&mut self) {
        self.proxy.kill();
        self.proxy = TestProxy::in_folder(self.folder.path(), Command::new(SERIN));
    }

    fn status(&self) -> Value {
        self.proxy.rollout("orders")
    }

    /// What a caller is shown, for it is shown something by this.
    fn served(&self, caller: &str) -> String {
        let request = Request::get("/").field("x-user-id", caller);
        self.proxy.ask(&request).text().to_owned()
    }

    /// Rates as a caller, from an address of its own.
    fn rate(&self, caller: u32, rating: u8) -> Answer {
        let address = format!("198.51.{}.{}", caller / 250, caller % 250 + 1);
        let body = json!({ "flag": "orders", "rating": rating });
        let request = post(&body).field("x-user-id", &format!("u-{caller}"));
        self.proxy.ask(&request.field("x-forwarded-for", &address))
    }

    /// At least thirty callers of each arm, who have been shown something.
    fn callers_by_arm(&self) -> [Vec<u32>; 2] {
        wait_for("callers are known", SOON, || {
            let mut by_arm = [Vec::new(), Vec::new()];
            for caller in 0..100 {
                let arm = self.served(&format!("u-{caller}"));
                by_arm[usize::from(arm == "canary")].push(caller);
            }
            by_arm
                .iter()
                .all(|callers| callers.len() >= 30)
                .then_some(by_arm)
        })
    }

    fn rate_all(&self, callers: &[u32], rating: u8) {
        for caller in callers {
            let answer = self.rate(*caller, rating);
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }

    /// How callers rate a variant: how many rate it 1, 2, 3, 4 and 5.
    fn ratings(&self, variant: &str) -> Value {
        let answer = self.proxy.command("GET", "/api/v1/feedback", "");
        answer.json()["ratings"][0][variant]["ratings"].clone()
    }

    fn raters(&self, variant: &str) -> u64 {
        let ratings = self.ratings(variant);
        let counts = ratings.as_array().unwrap().iter();
        counts.map(|count| count.as_u64().unwrap()).sum()
    }

    /// The backends' own count, so that nobody takes our path for one of theirs.
    fn asked(&self) -> usize {
        self.backends.iter().map(TestBackend::requests).sum()
    }

    /// Posts of callers who are made up, from one address; a hundred of them have asked before. Says how
    /// many were counted.
    fn flood(&self, rating: u8) -> usize {
        let mut connection = Connection::open(self.proxy.address());
        let cookie = |caller: u32| format!("uid=forged-{caller}");
        for caller in 0..100 {
            let request = Request::get("/").field("cookie", &cookie(caller));
            assert_eq!(connection.ask(&request).status, 200);
        }
        let mut counted = 0;
        for caller in 0..2_000 {
            let body = json!({ "flag": "orders", "rating": rating });
            let answer = connection.ask(&post(&body).field("cookie", &cookie(caller)));
            match answer.status {
                200 => counted += 1,
                403 | 409 => drop(answer.problem(answer.status)),
                429 => assert!(answer.field("retry-after").is_some()),
                other => panic!("{other}: {}", answer.text()),
            }
        }
        counted
    }
}

/// A rating as a page of the same origin sends it.
fn post(body: &Value) -> Request {
    let request = Request::new("POST", PATH).field("content-type", "application/json");
    let request = request.field("sec-fetch-site", "same-origin");
    request.body(body.to_string())
}

fn finding(status: &Value, check: &str) -> Option<Value> {
    let findings = status["findings"].as_array()?;
    findings.iter().find(|it| it["check"] == check).cloned()
}

#[test]
fn bad_ratings_take_canary_back_and_no_flood_of_good_ones_prevents_that() {
    let release = Release::of(LONG);
    let _load = Load::start(release.proxy.address());
    let by_arm = release.callers_by_arm();
    let counted = release.flood(5);
    assert!((1..=2 * FORGED_MAX).contains(&counted), "{counted}");
    let [stable, canary] = by_arm;
    release.rate_all(&stable, 5);
    release.rate_all(&canary, 1);
    let status = release.proxy.wait_for_phase("orders", "rolled_back", RATED);
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains("rated"), "{reason}");
    let late = release.rate(canary[0], 5);
    late.problem(409);
    assert_eq!(release.served("u-1"), "stable");
}

#[test]
fn a_flood_of_bad_ratings_from_one_address_decides_nothing() {
    let release = Release::of(LONG);
    let _load = Load::start(release.proxy.address());
    let [stable, canary] = release.callers_by_arm();
    let counted = release.flood(1);
    assert!((1..=2 * FORGED_MAX).contains(&counted), "{counted}");
    // With these there are just enough that ratings decide something.
    let honest = 20 - usize::try_from(release.raters("canary")).unwrap();
    release.rate_all(&stable[..20], 5);
    release.rate_all(&canary[..honest], 5);
    assert_eq!(release.raters("canary"), 20);
    let judged = wait_for("the judge was told of all", RATED, || {
        let found = finding(&release.status(), "feedback_min")?;
        let said = found["reason"].as_str()?;
        said.contains(" by 20 of ").then_some(found)
    });
    let evidence = judged["evidence"].as_f64().unwrap();
    assert!((0.0..0.5).contains(&evidence), "{judged}");
    assert_eq!(release.status()["phase"], "progressing");
}

#[test]
fn fewer_than_twenty_raters_decide_nothing() {
    let release = Release::of(LONG);
    let _load = Load::start(release.proxy.address());
    let [stable, canary] = release.callers_by_arm();
    release.rate_all(&stable[..30], 5);
    release.rate_all(&canary[..19], 1);
    let judged = wait_for("the judge was told of all", RATED, || {
        let found = finding(&release.status(), "feedback_min")?;
        let said = found["reason"].as_str()?;
        said.contains(" by 19 of ").then_some(found)
    });
    assert_eq!(judged["evidence"], 0.0, "{judged}");
    assert_eq!(release.status()["phase"], "progressing");
}

#[test]
fn only_those_who_were_shown_something_rate_and_each_counts_once() {
    let mut release = Release::with("feedback: true", "", "stages: [99%], hold: 1h");
    wait_until("canary is there", SOON, || {
        release.served("u-1") == "canary"
    });
    let asked = release.asked();
    let said = |release: &Release, caller, rating| {
        let answer = release.rate(caller, rating);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["result"].as_str().unwrap().to_owned()
    };
    assert_eq!(said(&release, 1, 1), "recorded");
    assert_eq!(said(&release, 1, 1), "unchanged");
    assert_eq!(said(&release, 1, 4), "changed");
    assert_eq!(release.ratings("canary"), json!([0, 0, 0, 1, 0]));
    let metrics = release.proxy.metrics();
    let labels = [("flag", "orders"), ("variant", "canary")];
    assert_eq!(metrics.count("serin_feedback_rating_count", &labels), 1);
    let four = [labels[0], labels[1], ("rating", "4")];
    assert_eq!(metrics.count("serin_feedback_raters", &four), 1);
    // Nobody has seen this one.
    let problem = release.rate(2, 1).problem(409);
    assert!(
        problem["detail"].as_str().unwrap().contains("shown"),
        "{problem}"
    );
    assert_eq!(said(&release, 1, 5), "changed");
    assert_eq!(said(&release, 1, 4), "changed");
    let limited = release.rate(1, 5);
    limited.problem(429);
    let wait: u64 = limited.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=12).contains(&wait), "{wait}");
    assert_eq!(release.asked(), asked, "no backend hears of it");

    let lines = wait_for("it is in the journal", SOON, || {
        let answer = release
            .proxy
            .command("GET", "/api/v1/journal?flag=orders", "");
        let lines = answer.json()["lines"].as_array().unwrap().clone();
        let about = lines.iter().filter(|line| {
            line["what"]
                .as_str()
                .is_some_and(|what| what.starts_with("rated: canary"))
        });
        let about: Vec<_> = about.cloned().collect();
        (!about.is_empty()).then_some(about)
    });
    assert_eq!(
        (lines.len(), &lines[0]["who"]),
        (1, &json!("callers")),
        "{lines:?}"
    );

    // By the next tick it is on the disk.
    let seconds = || release.status()["seconds_in_stage"].as_f64().unwrap();
    let told = seconds();
    wait_until("it is written down", SOON, || seconds() > told + 1.5);
    release.restart();
    assert_eq!(release.ratings("canary"), json!([0, 0, 0, 1, 0]));
    release.rate(1, 2).problem(409);
    wait_until("canary is there", SOON, || {
        release.served("u-1") == "canary"
    });
    assert_eq!(said(&release, 1, 2), "changed", "and no second vote");
}

#[test]
fn what_is_no_rating_of_the_same_origin_is_refused_and_other_listeners_have_no_such_path() {
    let release = Release::with("feedback: true", "", "stages: [99%], hold: 1h");
    wait_until("canary is there", SOON, || {
        release.served("u-1") == "canary"
    });
    let good = json!({ "flag": "orders", "rating": 5 });
    let ask = |request: Request| release.proxy.ask(&request.field("x-user-id", "u-1"));
    let json = || Request::new("POST", PATH).field("content-type", "application/json");
    let body = good.to_string();

    assert_eq!(ask(Request::get(PATH)).field("allow"), Some("POST"));
    let options = ask(Request::new("OPTIONS", PATH));
    options.problem(405);
    assert_eq!(options.field("access-control-allow-origin"), None);
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        let request = Request::new("POST", PATH).field("content-type", kind);
        ask(request.body(body.as_str())).problem(415);
    }
    ask(Request::new("POST", PATH).body(body.as_str())).problem(415);
    for site in ["cross-site", "same-site"] {
        ask(json().field("sec-fetch-site", site).body(body.as_str())).problem(403);
    }
    ask(json()
        .field("origin", "https://evil.test")
        .body(body.as_str()))
    .problem(403);
    let own = json()
        .field("origin", "http://shop.test")
        .body(body.as_str());
    assert_eq!(ask(own).status, 200);
    release.proxy.ask(&json().body(body.as_str())).problem(403);

    let detail = |body: Value, status: u16| {
        let problem = ask(post(&body)).problem(status);
        problem["detail"].as_str().unwrap().to_owned()
    };
    let claimed = json!({ "flag": "orders", "rating": 1, "caller": "u-2" });
    assert!(detail(claimed, 400).contains("`caller`"));
    let six = json!({ "flag": "orders", "rating": 6 });
    assert!(detail(six, 400).contains("6 is no rating"));
    let long = json!({ "flag": "orders", "rating": 1, "comment": "x".repeat(1_001) });
    assert!(detail(long, 400).contains("1000 characters"));
    let huge = json!({ "flag": "orders", "rating": 1, "comment": "x".repeat(20_000) });
    assert!(detail(huge, 413).contains("16384 bytes"));
    let other = json!({ "flag": "nothing", "rating": 1 });
    let not_rated = json!({ "flag": "cart", "rating": 1 });
    assert_eq!(detail(other, 409), detail(not_rated, 409));
    let not_taken = [("result", "not_taken")];
    let metrics = release.proxy.metrics();
    assert_eq!(metrics.count("serin_feedback_posts_total", &not_taken), 2);

    let list = json!([good, { "flag": "cart", "rating": 1 }]);
    let answer = ask(post(&list));
    let results = &answer.json()["results"];
    let statuses = [&results[0]["status"], &results[1]["status"]];
    assert_eq!(statuses, [&json!(200), &json!(409)], "{results}");

    let plain = Release::with("", "", "stages: [99%], hold: 1h");
    let before = plain.asked();
    assert_eq!(plain.proxy.ask(&post(&good)).status, 200);
    assert_eq!(plain.asked(), before + 1, "it is a path like any other");
}

#[test]
fn a_body_that_is_not_waited_for_ends_the_connection_and_the_client_is_told() {
    let release = Release::with("feedback: true", "", "stages: [99%], hold: 1h");
    let mut connection = Connection::open(release.proxy.address());
    let head = "POST /.serin/feedback HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\n\
                content-length: 9\r\n\r\n";
    connection.send(head.as_bytes());
    let answer = connection.answer();
    assert_eq!(answer.field("connection"), Some("close"));
    answer.problem(415);
    assert!(connection.is_closed());
    let mut connection = Connection::open(release.proxy.address());
    for body in ["", "rating: 1"] {
        let request = Request::new("POST", PATH).body(body);
        let answer = connection.ask(&request.field("content-type", "text/plain"));
        assert_eq!(answer.field("connection"), None, "all of it is there");
        answer.problem(415);
    }
}

const API: &str = "/api/v1/feedback";

/// A release of which servers tell what callers say, by the token `shop`, and that `eye` may look at.
struct Shop(Release);

impl Shop {
    fn start() -> Self {
        let tokens = "tokens: [{ name: shop, role: feedback, token: 0123456789abcdef-shop }, \
                      { name: eye, role: viewer, token: 0123456789abcdef-eye }, \
                      { name: ops, role: operator, token: 0123456789abcdef-ops }]";
        let rollout = "stages: [99%], hold: 1h, checks: { feedback: {} }";
        let release = Release::with("", tokens, rollout);
        wait_until("canary is there", SOON, || {
            release.served("u-1") == "canary"
        });
        Self(release)
    }

    fn ask(&self, token: &str, (method, path): (&str, &str), body: &str) -> Answer {
        let admin = self.0.proxy.admin();
        let request = Request::new(method, path).host(&admin.to_string());
        let secret = format!("Bearer 0123456789abcdef-{token}");
        let request = request.field("authorization", &secret);
        request.body(body).send_to(admin)
    }

    fn post(&self, body: &Value) -> Answer {
        self.ask("shop", ("POST", API), &body.to_string())
    }

    fn page(&self, query: &str) -> Value {
        let path = format!("{API}?{query}");
        self.ask("eye", ("GET", &path), "").json()
    }
}

fn says(caller: &str, comment: &str) -> Value {
    json!({ "flag": "orders", "caller": caller, "rating": 2, "comment": comment })
}

/// What each entry of a list has at a place.
fn each<'v>(list: &'v Value, at: &str) -> Vec<&'v Value> {
    let entries = list.as_array().unwrap().iter();
    entries.map(|entry| &entry[at]).collect()
}

#[test]
fn servers_pass_on_what_callers_say_and_people_read_it() {
    let shop = Shop::start();
    shop.0.served("u-2");
    let one = shop.post(&says("u-1", "slow\nand odd"));
    assert_eq!(one.status, 200, "{}", one.text());
    let one = one.json();
    let told = (&one["result"], &one["variant"]);
    assert_eq!(told, (&json!("recorded"), &json!("canary")));
    let mut receipts = vec![one];
    let list = json!([
        says("u-2", "late"),
        says("u-3", "never there"),
        says("u-1", "better now")
    ]);
    let results = shop.post(&list).json()["results"].clone();
    let statuses = each(&results, "status");
    assert_eq!(statuses, [200, 409, 200], "{results}");
    assert_eq!(results[2]["result"], "changed");
    receipts.extend(results.as_array().unwrap().iter().cloned());

    let page = shop.page("limit=1");
    assert_eq!(each(&page["comments"], "text"), ["better now"]);
    let caller = page["comments"][0]["caller"].as_str().unwrap();
    let is_named = page.to_string().contains("u-1");
    assert!(caller.len() == 32 && !is_named, "{page}");
    // Who hands in ratings learns no pseudonym of a key, whether it rates or not.
    for receipt in receipts {
        assert!(receipt.get("caller").is_none(), "{receipt}");
        assert!(!receipt.to_string().contains(caller), "{receipt}");
    }
    let rest = shop.page(&format!("limit=9&flag=orders&before={}", page["next"]));
    // The one before was taken back by its caller.
    assert_eq!(each(&rest["comments"], "text"), ["late"]);
    let ratings = &rest["ratings"][0]["canary"]["ratings"];
    assert_eq!(*ratings, json!([0, 2, 0, 0, 0]));
}

#[test]
fn what_a_forgotten_caller_said_does_not_come_back_after_a_kill() {
    let mut shop = Shop::start();
    let file = shop.0.folder.path().join("state/state.redb");
    let is_in_file = |text: &str| {
        let bytes = std::fs::read(&file).unwrap();
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    let texts = ["u-1 finds it slow", "u-2 finds it odd"];
    for (caller, text) in ["u-1", "u-2"].into_iter().zip(texts) {
        shop.0.served(caller);
        assert_eq!(shop.post(&says(caller, text)).status, 200);
    }
    wait_until("both are written", SOON, || {
        texts.into_iter().all(is_in_file)
    });
    let said = json!({ "key": "u-1" }).to_string();
    let told = shop.ask("ops", ("POST", "/api/v1/callers/forget"), &said);
    assert_eq!(told.status, 200, "{}", told.text());
    shop.0.restart();
    let page = shop.page("limit=9");
    assert_eq!(each(&page["comments"], "text"), ["u-2 finds it odd"]);
    let ratings = &page["ratings"][0]["canary"]["ratings"];
    assert_eq!(*ratings, json!([0, 1, 0, 0, 0]));
    assert!(is_in_file(texts[1]) && !is_in_file(texts[0]));
}

#[test]
fn who_passes_on_ratings_may_do_nothing_else_and_who_looks_may_not() {
    let shop = Shop::start();
    let body = says("u-1", "").to_string();
    shop.ask("eye", ("POST", API), &body).problem(403);
    shop.ask("shop", ("GET", API), "").problem(403);
    shop.ask("shop", ("GET", "/api/v1/status"), "").problem(403);
    shop.ask("shop", ("POST", "/api/v1/freeze"), "")
        .problem(403);
    assert_eq!(shop.ask("shop", ("POST", API), &body).status, 200);
    let nobody = json!({ "flag": "orders", "rating": 1 });
    shop.post(&nobody).problem(400);
    let unknown = json!({ "flag": "cart", "caller": "u-1", "rating": 1 });
    shop.post(&unknown).problem(404);
    shop.ask("eye", ("GET", "/api/v1/feedback?flag=cart"), "")
        .problem(404);
}

#[test]
fn apps_rate_by_the_rules_of_any_request() {
    let servers = ["stable", "canary"].map(TestBackend::start);
    let text = Release::text(&servers, "feedback: true", "", LONG);
    let text = text.replace(
        "{ header: x-user-id }",
        "{ api_key: { header: x-api-key } }",
    ) + "apps: { require_approved: true }\n";
    let folder = fast_folder();
    std::fs::write(folder.path().join("serin.yaml"), text).unwrap();
    let proxy = TestProxy::in_folder(folder.path(), Command::new(SERIN));
    let rating = post(&json!({ "flag": "orders", "rating": 5 }));
    let keyless = proxy.ask(&rating);
    keyless.problem(401);
    let challenge = keyless.field("www-authenticate");
    assert_eq!(challenge, Some("ApiKey realm=\"serin\""));
    let denied = [("reason", "no_key")];
    let metrics = proxy.metrics();
    assert_eq!(metrics.count("serin_admission_refusals_total", &denied), 1);

    let app = r#"{"rate_limit": {"requests_per_second": 1, "burst": 2}}"#;
    let made = proxy.command("PUT", "/api/v1/apps/weather", app).json();
    let key = made["key"].as_str().unwrap();
    let rating = rating.field("x-api-key", key);
    proxy.ask(&rating).problem(403);
    proxy.command("POST", "/api/v1/apps/weather/approve", "{}");
    let shown = proxy.ask(&Request::get("/").field("x-api-key", key));
    assert_eq!(shown.status, 200);
    let rated = proxy.ask(&rating);
    assert_eq!(rated.status, 200, "{}", rated.text());
    // Ratings count towards what the app may ask, and not only towards what a caller may rate.
    let limited = [("reason", "rate_limited")];
    wait_until("the app has asked too often", SOON, || {
        proxy.ask(&rating);
        let metrics = proxy.metrics();
        metrics.count("serin_admission_refusals_total", &limited) > 0
    });
}

/// Has eighty callers of both arms rate through the API.
fn rate_by_server(release: &Release, rating: u8) {
    let all: Vec<_> = (0..80)
        .map(
            |caller| json!({ "flag": "orders", "caller": format!("u-{caller}"), "rating": rating }),
        )
        .collect();
    let body = Value::Array(all).to_string();
    (0..80).for_each(|caller| drop(release.served(&format!("u-{caller}"))));
    let answer = release.proxy.command("POST", "/api/v1/feedback", &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(release.raters("canary") + release.raters("stable"), 80);
}

const CONDITION: &str = "release_when: \"latency_mean_ms < 1000 and feedback_mean > 4\"";

#[test]
fn the_classic_condition_lets_a_release_pass_that_callers_like() {
    let release = Release::with("", "", &format!("{SHORT}, {CONDITION}"));
    let _load = Load::start(release.proxy.address());
    let reason = |status: &Value| {
        let found = finding(status, "release_when")?;
        Some(found["reason"].as_str()?.to_owned())
    };
    wait_for("nobody has rated", SOON, || {
        reason(&release.status()).filter(|said| said.contains("feedback_mean is unknown"))
    });
    rate_by_server(&release, 5);
    let status = release.proxy.wait_for_phase("orders", "watching", RATED);
    let said = wait_for("it is judged there", SOON, || reason(&release.status()));
    assert!(
        said.contains("release_when is met") && said.contains("feedback_mean is 5"),
        "{said}"
    );
    for arm in ["stable", "canary"] {
        assert_eq!(status["feedback"][arm]["mean"], 5.0);
    }
}

#[test]
fn the_classic_condition_holds_a_release_that_callers_do_not_like() {
    let release = Release::with("", "", &format!("{SHORT}, {CONDITION}"));
    let _load = Load::start(release.proxy.address());
    rate_by_server(&release, 4);
    let status = wait_for("all but the condition lets it pass", RATED, || {
        let status = release.status();
        let is_late = status["seconds_in_stage"].as_f64() > Some(10.0);
        let passes = |check| finding(&status, check).is_some_and(|it| it["assessment"] == "pass");
        let is_good = ["error_rate", "latency_p50"].into_iter().all(passes);
        // Until twenty of an arm's raters are told, the mean is not known.
        let found = finding(&status, "release_when")?;
        let is_known = found["assessment"] == "unmet";
        assert!(is_known || found["assessment"] == "needs_data", "{found}");
        (is_late && is_good && is_known).then_some(status)
    });
    let found = finding(&status, "release_when").unwrap();
    let said = found["reason"].as_str().unwrap();
    assert!(said.contains("feedback_mean is 4"), "{said}");
    assert_eq!(
        (&status["phase"], &status["stage"]),
        (&json!("progressing"), &json!(1))
    );
}

#[test]
fn callers_with_tokens_rate_as_they_are_known_and_forged_tokens_rate_nothing() {
    let signer = Signer::new("1", Algorithm::ES256);
    let stranger = Signer::new("1", Algorithm::ES256);
    let release = Release::of(LONG);
    let config = release.folder.path().join("serin.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    let jwks_file = release.folder.path().join("jwks.json");
    std::fs::write(jwks_file, jwks(&[&signer])).unwrap();
    let source = "identity: [{ jwt: { jwks_file: jwks.json } }, ";
    release
        .proxy
        .write_config(&text.replace("identity: [", source));
    release.proxy.reload();
    let token = |signer: &Signer, caller: &str| {
        let exp = clock::wall().as_secs() + 300;
        let token = signer.sign(&json!({ "sub": caller, "exp": exp }));
        format!("Bearer {token}")
    };
    let rate = |token: &str| {
        let body = json!({ "flag": "orders", "rating": 5 });
        release
            .proxy
            .ask(&post(&body).field("authorization", token))
    };
    let ann = token(&signer, "ann");
    wait_until("she is known, and was shown nothing yet", SOON, || {
        rate(&ann).status == 409
    });
    let asked = Request::get("/").field("authorization", &ann);
    let shown = release.proxy.ask(&asked).text().to_owned();
    let answer = wait_for("what she was shown", SOON, || {
        let answer = rate(&ann);
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(answer.json()["result"], "recorded");
    // Another token of hers is no other caller.
    assert_eq!(rate(&token(&signer, "ann")).json()["result"], "unchanged");
    assert_eq!(release.raters(&shown), 1);
    // Bob was shown something; a token that somebody else has signed does not make one Bob.
    let bob = Request::get("/").field("authorization", &token(&signer, "bob"));
    assert_eq!(release.proxy.ask(&bob).status, 200);
    assert_eq!(rate(&token(&stranger, "bob")).status, 403);
    assert_eq!(release.raters("stable") + release.raters("canary"), 1);
    assert!(!release.proxy.log().contains("Bearer"));
}
