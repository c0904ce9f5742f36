//! Who gets the canary: by identity, group, weight and switch, and always the same ones.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use std::collections::BTreeSet;

use serin::domain::bucket::Bucket;
use serin::domain::weight::Weight;
use support::proxy::backends;
use support::{Connection, Request, SOON, TestBackend, TestProxy, wait_until};

/// How many callers ask where shares are counted.
const CALLERS: u32 = 2_000;

/// A proxy between a stable and a canary backend that answer with their names.
struct Split {
    proxy: TestProxy,
    _stable: TestBackend,
    canary: TestBackend,
}

impl Split {
    /// Trusts this machine, so that tests can say who they are.
    fn start(config: &str) -> Self {
        Self::with_files(config, &[])
    }

    fn with_files(config: &str, files: &[(&str, &str)]) -> Self {
        let (stable, canary) = (TestBackend::start("stable"), TestBackend::start("canary"));
        let backends = backends(&[("v1", &stable), ("v2", &canary)]);
        let trusted = "trusted_proxies: [127.0.0.0/8]\n";
        Self {
            proxy: TestProxy::with_files(&format!("{backends}{trusted}{config}"), files),
            _stable: stable,
            canary,
        }
    }

    /// One flag for everything, callers known by `x-user-id`.
    fn by_header(flag: &str) -> Self {
        Self::start(&format!(
            "identity: [{{ header: x-user-id }}]\nroutes: [{{ flag: orders }}]\n\
             flags: {{ orders: {{ stable: v1, canary: v2, {flag} }} }}\n"
        ))
    }

    /// Which variant serves a request.
    fn variant(&self, request: &Request) -> String {
        variant(&mut self.proxy.connect(), request)
    }

    fn variant_of(&self, caller: &str) -> String {
        self.variant(&by(caller))
    }

    /// The callers among `u-0`, `u-1`, … who get the canary.
    fn canary_callers(&self) -> BTreeSet<u32> {
        let mut connection = self.proxy.connect();
        let gets_canary = |n: &u32| variant(&mut connection, &by(&format!("u-{n}"))) == "canary";
        (0..CALLERS).filter(gets_canary).collect()
    }
}

fn variant(connection: &mut Connection, request: &Request) -> String {
    let answer = connection.ask(request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().to_owned()
}

fn by(caller: &str) -> Request {
    Request::get("/").field("x-user-id", caller)
}

fn weight(percent: u16) -> Weight {
    Weight::from_basis_points(percent * 100).unwrap()
}

/// The callers among `u-0`, `u-1`, … whose bucket under a salt is within a weight.
fn documented(salt: &str, percent: u16) -> BTreeSet<u32> {
    let is_within = |n: &u32| Bucket::of(salt, &format!("u-{n}")).is_within(weight(percent));
    (0..CALLERS).filter(is_within).collect()
}

#[test]
fn each_caller_is_in_the_arm_that_its_documented_bucket_says() {
    let split = Split::by_header("default: 25%");
    let canary = split.canary_callers();
    assert_eq!(canary, documented("orders", 25));
    let share = canary.len() as f64 / f64::from(CALLERS);
    assert!((0.22..0.28).contains(&share), "{share}");
    assert_eq!(split.canary_callers(), canary, "nobody moves");
    let labels = [("variant", "canary"), ("group", "default"), ("code", "200")];
    let count = 2 * canary.len() as u64;
    split
        .proxy
        .wait_for_count("serin_requests_total", &labels, count);
}

#[test]
fn another_salt_draws_other_callers() {
    let split = Split::by_header("default: 25%, salt: christmas");
    let canary = split.canary_callers();
    assert_eq!(canary, documented("christmas", 25));
    // Two independent quarters share a sixteenth.
    let both = canary.intersection(&documented("orders", 25)).count();
    assert!((60..190).contains(&both), "{both}");
}

#[test]
fn nobody_gets_the_canary_at_zero_and_everybody_at_a_hundred_percent() {
    assert!(Split::by_header("default: 0%").canary_callers().is_empty());
    let everybody = Split::by_header("default: 100%").canary_callers();
    assert_eq!(everybody.len(), CALLERS as usize);
}

/// Only `ann` gets the canary, so the variant tells who a request is taken to be from.
const ANN_ONLY: &str = "
groups: { chosen: { callers: [ann, 198.51.100.7, \"2001:db8:1:2::/64\"] } }
flags: { orders: { stable: v1, canary: v2, groups: { chosen: 100% } } }
routes: [{ flag: orders }]
";

#[test]
fn the_first_identity_source_that_yields_a_key_tells_the_caller() {
    let sources = "identity: [{ header: x-user-id }, { cookie: uid }, client_ip]";
    let split = Split::start(&format!("{sources}\n{ANN_ONLY}"));
    let get = || Request::get("/");
    for (request, expected) in [
        (by("ann"), "canary"),
        (by("bob"), "stable"),
        (get().field("cookie", "uid=ann"), "canary"),
        (get().field("cookie", "a=b; uid=ann; c=d"), "canary"),
        (get().field("cookie", "uid=bob"), "stable"),
        (get().field("cookie", "xuid=ann"), "stable"),
        (by("bob").field("cookie", "uid=ann"), "stable"),
        (by("").field("cookie", "uid=ann"), "canary"),
        (get().field("x-forwarded-for", "198.51.100.7"), "canary"),
        (get().field("x-forwarded-for", "198.51.100.8"), "stable"),
        (
            get().field("x-forwarded-for", "198.51.100.7, 198.51.100.8"),
            "stable",
        ),
        // Of IPv6 a whole /64 is one caller, of IPv4 each address.
        (get().field("x-forwarded-for", "2001:db8:1:2::99"), "canary"),
        (
            get().field("x-forwarded-for", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
            "canary",
        ),
        (get().field("x-forwarded-for", "2001:db8:1:3::99"), "stable"),
        (by("bob").field("x-forwarded-for", "198.51.100.7"), "stable"),
    ] {
        assert_eq!(split.variant(&request), expected, "{request:?}");
    }
}

#[test]
fn an_identity_header_counts_from_trusted_peers_only() {
    let (stable, canary) = (TestBackend::start("stable"), TestBackend::start("canary"));
    let backends = backends(&[("v1", &stable), ("v2", &canary)]);
    let proxy = TestProxy::start(&format!(
        "{backends}trusted_proxies: [192.0.2.1]\n\
         identity: [{{ header: x-user-id }}, {{ cookie: uid }}, client_ip]\n{ANN_ONLY}"
    ));
    assert_eq!(proxy.ask(&by("ann")).text(), "stable");
    let forwarded = Request::get("/").field("x-forwarded-for", "198.51.100.7");
    assert_eq!(proxy.ask(&forwarded).text(), "stable");
    // A cookie is the application's to check, so it counts from anyone.
    let cookie = by("bob").field("cookie", "uid=ann");
    assert_eq!(proxy.ask(&cookie).text(), "canary");
}

#[test]
fn a_new_browser_is_given_a_cookie_and_keeps_its_variant() {
    let split = Split::start(
        "identity: [{ assigned_cookie: { name: sid, max_age: 1h } }]\n\
         flags: { orders: { stable: v1, canary: v2, default: 50% } }\n\
         routes: [{ flag: orders }]\n",
    );
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        let first = split.proxy.get("/");
        let given = first.field("set-cookie").unwrap().to_owned();
        let (cookie, attributes) = given.split_once("; ").unwrap();
        assert_eq!(attributes, "Max-Age=3600; Path=/; HttpOnly; SameSite=Lax");
        let (name, value) = cookie.split_once('=').unwrap();
        assert_eq!((name, value.len()), ("sid", 65));
        let (value, _) = value.split_once('.').unwrap();
        let variant = if Bucket::of("orders", value).is_within(weight(50)) {
            "canary"
        } else {
            "stable"
        };
        let again = split.proxy.ask(&Request::get("/").field("cookie", cookie));
        assert_eq!((first.text(), again.text()), (variant, variant));
        assert_eq!(again.field("set-cookie"), None);
        seen.insert(variant);
    }
    assert_eq!(seen.len(), 2, "both variants are drawn");
    // What nobody has given out is nobody's cookie.
    let made_up = format!("sid={}", "0".repeat(32));
    let signed = format!("{made_up}.{}", "0".repeat(32));
    for forged in ["sid=admin", &made_up, &signed] {
        let answer = split.proxy.ask(&Request::get("/").field("cookie", forged));
        assert!(answer.field("set-cookie").is_some(), "{forged}");
    }
}

#[test]
fn callers_without_a_key_and_flags_that_stick_to_nothing_are_drawn_for_each_request() {
    let by_request = Split::by_header("default: 50%, stickiness: request");
    let anonymous = Split::by_header("default: 50%");
    for (split, request) in [
        (&by_request, by("ann")),
        (&by_request, Request::get("/")),
        (&anonymous, Request::get("/")),
    ] {
        let mut connection = split.proxy.connect();
        let draws = (0..400).map(|_| variant(&mut connection, &request));
        let canary = draws.filter(|variant| variant == "canary").count();
        // Ten standard deviations to each side.
        assert!((100..300).contains(&canary), "{canary} of 400");
    }
    let mut connection = anonymous.proxy.connect();
    let first = variant(&mut connection, &by("ann"));
    assert!((0..50).all(|_| variant(&mut connection, &by("ann")) == first));
}

const GROUPS: &str = "
identity: [{ header: x-user-id }]
groups:
  by-value: { header: { x-employee: \"true\" } }
  by-prefix: { header: { user-agent: { prefix: \"curl/\" } } }
  by-cookie: { cookie: { early: \"yes\" } }
  by-any-cookie: { cookie: { beta: { present: true } } }
  by-ip: { ip: [198.51.100.0/24, \"2001:db8::/32\", 203.0.113.9] }
  by-list: { callers: [u-1, u-2] }
  by-file: { callers_file: beta.txt }
  by-any: { any: [{ callers: [u-1] }, { header: { x-employee: \"true\" } }] }
  by-all: { all: [{ callers: [u-1, u-2] }, { header: { x-employee: \"true\" } }] }
  by-not: { not: { callers: [u-1] } }
  by-group: { all: [{ group: by-list }, { not: { group: by-file } }] }
";

/// A flag and a route for each group, whose callers all get the canary.
fn flag_for_each(groups: &[&str]) -> String {
    let flags = groups.iter().map(|group| {
        format!("  {group}: {{ stable: v1, canary: v2, groups: {{ {group}: 100% }} }}\n")
    });
    let routes = groups
        .iter()
        .map(|group| format!("  - {{ path: /{group}, flag: {group} }}\n"));
    let (flags, routes): (String, String) = (flags.collect(), routes.collect());
    format!("flags:\n{flags}routes:\n{routes}")
}

/// Some fields of a head.
type Fields = &'static [(&'static str, &'static str)];

/// Groups, heads that are in each, and heads that are not.
const MEMBERS: [(&str, &[Fields], &[Fields]); 11] = [
    (
        "by-value",
        &[&[("x-employee", "true")]],
        &[
            &[],
            &[("x-employee", "TRUE")],
            &[("x-employee", "true ish")],
        ],
    ),
    (
        "by-prefix",
        &[&[("user-agent", "curl/8.5")]],
        &[&[("user-agent", "not curl/8")]],
    ),
    (
        "by-cookie",
        &[&[("cookie", "a=b; early=yes")]],
        &[&[("cookie", "early=no")], &[("early", "yes")]],
    ),
    (
        "by-any-cookie",
        &[&[("cookie", "beta=")], &[("cookie", "beta=0")]],
        &[&[("cookie", "alpha=beta")]],
    ),
    (
        "by-ip",
        &[
            &[("x-forwarded-for", "198.51.100.77")],
            &[("x-forwarded-for", "2001:db8:9::1")],
            &[("x-forwarded-for", "203.0.113.9")],
        ],
        &[&[("x-forwarded-for", "203.0.113.10")], &[]],
    ),
    (
        "by-list",
        &[&[("x-user-id", "u-1")], &[("x-user-id", "u-2")]],
        &[&[("x-user-id", "u-3")], &[("x-user-id", "U-1")], &[]],
    ),
    (
        "by-file",
        &[&[("x-user-id", "u-2")], &[("x-user-id", "eve")]],
        &[&[("x-user-id", "u-1")], &[("x-user-id", "# a comment")]],
    ),
    (
        "by-any",
        &[&[("x-user-id", "u-1")], &[("x-employee", "true")]],
        &[&[("x-user-id", "u-2")], &[]],
    ),
    (
        "by-all",
        &[&[("x-user-id", "u-1"), ("x-employee", "true")]],
        &[&[("x-user-id", "u-1")], &[("x-employee", "true")]],
    ),
    (
        "by-not",
        &[&[("x-user-id", "u-2")], &[]],
        &[&[("x-user-id", "u-1")]],
    ),
    (
        "by-group",
        &[&[("x-user-id", "u-1")]],
        &[&[("x-user-id", "u-2")], &[("x-user-id", "u-3")]],
    ),
];

#[test]
fn a_group_has_those_whom_its_rule_fits() {
    let names = MEMBERS.map(|(group, _, _)| group);
    let file = [("beta.txt", "# a comment\nu-2\n\neve\n")];
    let split = Split::with_files(&(GROUPS.to_owned() + &flag_for_each(&names)), &file);
    for (group, members, others) in MEMBERS {
        let asked = |fields: Fields| {
            let request = Request::get(&format!("/{group}"));
            let add = |request: Request, (name, value): &(&str, &str)| request.field(name, value);
            split.variant(&fields.iter().fold(request, add))
        };
        for fields in members {
            assert_eq!(asked(fields), "canary", "{group} {fields:?}");
        }
        for fields in others {
            assert_eq!(asked(fields), "stable", "{group} {fields:?}");
        }
    }
}

#[test]
fn a_group_by_what_is_asked_has_those_who_ask_so() {
    let split = Split::start(
        "identity: [{ header: x-user-id }]
groups:
  by-query: { query: { preview: \"1\" } }
  by-path: { path: /v2 }
  by-exact-path: { path: { exact: /v3 } }
  by-method: { method: [PUT, DELETE] }
flags:
  orders:
    { stable: v1, canary: v2, groups: { by-query: 100%, by-path: 100%, by-exact-path: 100%, by-method: 100% } }
routes: [{ flag: orders }]
",
    );
    for (method, target, expected) in [
        ("GET", "/", "stable"),
        ("GET", "/?preview=1", "canary"),
        ("GET", "/a?x=y&preview=1", "canary"),
        ("GET", "/?preview=10", "stable"),
        ("GET", "/?preview=0&preview=1", "stable"),
        ("GET", "/?Preview=1", "stable"),
        ("GET", "/v2", "canary"),
        ("GET", "/v2/orders?a=b", "canary"),
        ("GET", "/v20", "stable"),
        ("GET", "/a/v2", "stable"),
        ("GET", "/v3", "canary"),
        ("GET", "/v3/orders", "stable"),
        ("PUT", "/", "canary"),
        ("DELETE", "/a", "canary"),
        ("POST", "/", "stable"),
    ] {
        let variant = split.variant(&Request::new(method, target));
        assert_eq!(variant, expected, "{method} {target}");
    }
}

#[test]
fn a_group_by_percentage_has_the_same_callers_whatever_the_flag() {
    let split = Split::start(
        "identity: [{ header: x-user-id }]\ngroups: { sample: { percentage: 30% } }\n\
         flags: { orders: { stable: v1, canary: v2, groups: { sample: 100% } } }\n\
         routes: [{ flag: orders }]\n",
    );
    assert_eq!(split.canary_callers(), documented("sample", 30));
    // Without a key nobody is in a share.
    assert_eq!(split.variant(&Request::get("/")), "stable");
}

#[test]
fn the_first_group_of_the_file_decides_and_everyone_else_has_the_default() {
    let split = Split::start(
        "identity: [{ header: x-user-id }]\n\
         groups: { first: { callers: [both, one] }, second: { callers: [both, two] } }\n\
         flags: { orders: { stable: v1, canary: v2, groups: { second: 100%, first: 0% } },\n\
         \x20        search: { stable: v1, canary: v2, groups: { second: 0% }, default: 100% } }\n\
         routes: [{ flag: orders }, { path: /search, flag: search }]\n",
    );
    let at =
        |path: &str, caller: &str| split.variant(&Request::get(path).field("x-user-id", caller));
    assert_eq!(at("/", "both"), "stable");
    assert_eq!(at("/", "one"), "stable");
    assert_eq!(at("/", "two"), "canary");
    assert_eq!(at("/", "none"), "stable");
    // A group that a flag does not name does not decide it.
    assert_eq!(at("/search", "both"), "stable");
    assert_eq!(at("/search", "one"), "canary");
}

#[test]
fn the_kill_switch_outranks_weights_and_wishes() {
    let split = Split::start(
        "groups: { all: { ip: [0.0.0.0/0] } }\nroutes: [{ flag: orders }]\n\
         flags: { orders: { stable: v1, canary: v2, enabled: false, groups: { all: 100% },\n\
         \x20        default: 100%, force: { header: x-variant, for: [all] } } }\n",
    );
    assert_eq!(split.variant(&Request::get("/")), "stable");
    let wish = Request::get("/").field("x-variant", "canary");
    assert_eq!(split.variant(&wish), "stable");
}

#[test]
fn only_members_of_an_allowed_group_choose_their_variant() {
    let split = Split::start(
        "identity: [{ header: x-user-id }]\nroutes: [{ flag: orders }]\n\
         groups: { testers: { callers: [ann] }, guests: { callers: [bob] } }\n\
         flags: { orders: { stable: v1, canary: v2, groups: { guests: 100% },\n\
         \x20        force: { header: x-variant, for: [testers] } } }\n",
    );
    let wish = |caller: &str, wish: &str| split.variant(&by(caller).field("x-variant", wish));
    assert_eq!(wish("ann", "canary"), "canary");
    assert_eq!(wish("ann", "stable"), "stable");
    assert_eq!(wish("ann", "Canary!"), "stable");
    assert_eq!(wish("bob", "stable"), "canary");
    assert_eq!(wish("eve", "canary"), "stable");
    // Who chose was not drawn, and is counted apart.
    let forced = [("group", "forced")];
    split
        .proxy
        .wait_for_count("serin_requests_total", &forced, 2);
    let head = split.canary.heads();
    assert!(head.iter().all(|head| head.field("x-variant").is_none()));
}

const ASSIGNABLE: &str = "
identity: [{ header: x-user-id }]
groups: { beta: { callers: [] }, other: { callers: [] } }
flags: { orders: { stable: v1, canary: v2, groups: { beta: 100% } } }
routes: [{ flag: orders }]
";

#[test]
fn an_operator_puts_a_caller_into_a_group_and_takes_it_out() {
    let split = Split::start(ASSIGNABLE);
    let proxy = &split.proxy;
    let callers = "/api/v1/groups/beta/callers";
    assert_eq!(split.variant_of("ann"), "stable");

    let put = proxy.command("PUT", &format!("{callers}/ann"), "");
    assert_eq!((put.status, put.json()["key"].as_str()), (200, Some("ann")));
    assert_eq!(split.variant_of("ann"), "canary");
    assert_eq!(split.variant_of("bob"), "stable");
    let listed = proxy.command("GET", callers, "").json();
    assert_eq!(listed["group"], "beta");
    assert_eq!(listed["callers"][0]["key"], "ann");
    assert_eq!(listed["callers"].as_array().unwrap().len(), 1);
    assert_eq!(proxy.metrics().count("serin_assigned_callers", &[]), 1);

    let delete = || proxy.command("DELETE", &format!("{callers}/ann"), "");
    assert_eq!(delete().status, 204);
    assert_eq!(split.variant_of("ann"), "stable");
    delete().problem(404);
    let listed = proxy.command("GET", callers, "").json();
    assert_eq!(listed["callers"], serde_json::json!([]));
}

#[test]
fn an_assignment_ends_when_it_should() {
    let split = Split::start(ASSIGNABLE);
    let path = "/api/v1/groups/beta/callers/ann";
    let put = split
        .proxy
        .command("PUT", path, r#"{ "expires_in": "1500ms" }"#);
    assert_eq!(put.json()["expires_in_seconds"], 1.5);
    assert_eq!(split.variant_of("ann"), "canary");
    wait_until("the assignment ends", SOON, || {
        split.variant_of("ann") == "stable"
    });
    let listed = || {
        split
            .proxy
            .command("GET", "/api/v1/groups/beta/callers", "")
    };
    assert_eq!(listed().json()["callers"], serde_json::json!([]));
    // Said again without an end, it has none.
    for body in [r#"{ "expires_in": "1ms" }"#, "{}"] {
        assert_eq!(split.proxy.command("PUT", path, body).status, 200);
    }
    assert_eq!(split.variant_of("ann"), "canary");
}

#[test]
fn an_assignment_that_makes_no_sense_is_refused_with_the_reason() {
    let split = Split::start(ASSIGNABLE);
    let put = |path: &str, body: &str| {
        let path = format!("/api/v1/groups/{path}");
        split.proxy.command("PUT", &path, body)
    };
    let unknown = put("nobody/callers/ann", "").problem(404);
    assert!(unknown["detail"].as_str().unwrap().contains("beta, other"));
    for body in [r#"{ "expires_in": "soon" }"#, r#"{ "expires": "1h" }"#, "{"] {
        put("beta/callers/ann", body).problem(400);
    }
    put(&format!("beta/callers/{}", "x".repeat(257)), "").problem(400);
    // In a group that the flag does not name, a caller is like everyone else.
    assert_eq!(put("other/callers/ann", "").status, 200);
    assert_eq!(split.variant_of("ann"), "stable");
}
