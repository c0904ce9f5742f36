//! The whole way from text to meaning or to problems.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::cookie_key::CookieKey;
use crate::domain::flag::{Flag, Stickiness};
use crate::domain::identity::{AssignedCookie, IdentitySource, SameSite};
use crate::domain::ids::{BackendIndex, GroupIndex};
use crate::domain::notify::NotifyFormat;
use crate::domain::prerequisite::NeededVariant;
use crate::domain::rollout::{Mode, Stage, StartMode};
use crate::domain::weight::Weight;

const SMALLEST: &str = include_str!("../../config/serin.yaml");
const REFERENCE: &str = include_str!("../../config/reference.yaml");
const APPS: &str = include_str!("../../config/apps.yaml");
const BETA: &str = include_str!("../../config/beta.txt");
const EDGE: [&str; 2] = [
    include_str!("../../config/edge.pem"),
    include_str!("../../config/edge.key"),
];
const AUTHORITY: &str = include_str!("../../config/internal.pem");

/// There are three files that are right, and two that are not what their names say.
fn read_file(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("beta.txt") => Ok(BETA.to_owned()),
        Some("apps.yaml") => Ok(APPS.to_owned()),
        Some("ci.token") => Ok("a-secret-of-24-bytes-abc\r\n".to_owned()),
        Some("jwks.json") => Ok(include_str!("../../config/jwks.json").to_owned()),
        Some("service.secret") => Ok(include_str!("../../config/service.secret").to_owned()),
        Some("short.token") => Ok("hunter2\n".to_owned()),
        Some("edge.pem") => Ok(EDGE[0].to_owned()),
        Some("edge.key") => Ok(EDGE[1].to_owned()),
        Some("internal.pem") => Ok(AUTHORITY.to_owned()),
        Some("segments.json") => Ok(include_str!("../../config/segments.json").to_owned()),
        Some("features.csv") => Ok(include_str!("../../config/features.csv").to_owned()),
        Some("torn.pem") => Ok(AUTHORITY[..200].to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// In these tests the environment is empty unless they say otherwise.
fn parse(
    text: &str,
    read_file: &dyn Fn(&Path) -> io::Result<String>,
) -> Result<Config, ConfigErrors> {
    super::parse(text, read_file, &|_| Err(VarError::NotPresent))
}

fn problems(text: &str) -> Vec<String> {
    let errors = parse(text, &read_file).expect_err(text);
    errors
        .display(Path::new("f"))
        .to_string()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// A text that is right but for what is put in: one flag `f` from backend `a` to `b`.
fn sound(listeners: &str, groups: &str, flag: &str, routes: &str) -> String {
    format!(
        "listeners: [{listeners}]\nbackends: {{ a: http://a, b: http://b }}\ngroups: {groups}\n\
         flags: {{ f: {{ stable: a, canary: b, {flag} }} }}\nroutes: [{routes}]\n"
    )
}

const LISTENER: &str = "{ address: 0.0.0.0:80 }";
const ROUTE: &str = "{ path: /, flag: f }";

fn with_groups(groups: &str) -> String {
    sound(LISTENER, groups, "", ROUTE)
}

fn with_flag(flag: &str) -> String {
    sound(
        LISTENER,
        "{ g: { callers: [] }, h: { callers: [] } }",
        flag,
        ROUTE,
    )
}

fn with_routes(routes: &str) -> String {
    sound(LISTENER, "{}", "", routes)
}

#[test]
fn the_smallest_file_relies_on_defaults() {
    let config = parse(SMALLEST, &read_file).unwrap();
    assert_eq!(config.workers, None);
    assert_eq!(config.listeners[0].address, "0.0.0.0:8080".parse().unwrap());
    assert_eq!(config.admin.address, defaults::ADMIN_ADDRESS);
    assert_eq!(config.state.path, None);
    assert!(config.identity.is_empty() && config.trusted.networks.is_empty());
    assert_eq!(config.backends[1].endpoints[0].to_string(), "10.0.0.2:8000");
    assert_eq!(config.backends[1].timeouts, defaults::TIMEOUTS);
    let FlagConfig { flag, rollout } = &config.flags[0];
    assert_eq!(&*flag.salt, "orders");
    assert!(flag.enabled && flag.force.is_none() && !flag.shield);
    assert_eq!(flag.stickiness, Stickiness::Caller);
    let plan = &rollout.as_ref().unwrap().plan;
    assert_eq!(plan.revision(), "2.4.0");
    assert_eq!(plan.watch(), defaults::WATCH);
    let stages = plan
        .stages()
        .iter()
        .map(|stage| stage.shape.weight.to_string());
    assert_eq!(
        stages.collect::<Vec<_>>(),
        ["1%", "5%", "25%", "50%", "100%"]
    );
    assert!(
        plan.stages()
            .iter()
            .all(|stage| stage.hold == defaults::HOLD)
    );
    assert_eq!(&*config.routes.iter().next().unwrap().1.label, "/");
}

#[test]
fn the_reference_gives_a_cookie_with_all_that_can_be_said_of_it() {
    let config = parse(REFERENCE, &read_file).unwrap();
    let cookie = IdentitySource::AssignedCookie(Box::new(AssignedCookie {
        name: "serin".into(),
        max_age: Duration::from_secs(30 * 86_400),
        key: Some(CookieKey::new(include_bytes!(
            "../../config/service.secret"
        ))),
        secure: true,
        same_site: SameSite::Lax,
        link: true,
    }));
    assert_eq!(config.identity[11], cookie);
}

#[test]
fn the_reference_means_what_it_says() {
    let config = parse(REFERENCE, &read_file).unwrap();
    let groups = config
        .groups
        .iter()
        .map(|(_, group)| group.name.to_string());
    let groups = groups.collect::<Vec<_>>().join(" ");
    assert_eq!(
        groups,
        "internal testers beta early sample gold-apps quiet busy failing gold staff"
    );
    assert_eq!(config.state.path.unwrap(), Path::new("/var/lib/serin"));

    let orders = &config.flags[0];
    let exposed: Vec<_> = orders
        .flag
        .weights
        .groups
        .iter()
        .map(|entry| entry.group.0)
        .collect();
    assert_eq!(exposed, [0, 1, 2]);
    assert!(
        orders
            .flag
            .weights
            .groups
            .iter()
            .all(|entry| entry.weight == Weight::ZERO)
    );
    let plan = &orders.rollout.as_ref().unwrap().plan;
    assert_eq!(plan.stages().len(), 8, "one stage for each weight");
    assert_eq!(plan.stages()[0].hold, Duration::from_secs(600));
    let judge = &orders.rollout.as_ref().unwrap().judge;
    assert_eq!(judge.error_rate_max, Some(0.05));
    assert_eq!(judge.mean_latency_max, Some(Duration::from_secs(1)));

    let checkout = &config.flags[3].flag;
    let weights: Vec<_> = checkout
        .weights
        .groups
        .iter()
        .map(|e| (e.group, e.weight))
        .collect();
    let beta = Weight::from_basis_points(2000).unwrap();
    assert_eq!(
        weights,
        [(GroupIndex(0), Weight::FULL), (GroupIndex(2), beta)]
    );
    assert_eq!(checkout.backends.unwrap().canary, BackendIndex(3));
    let labels: Vec<_> = config
        .routes
        .iter()
        .map(|(_, route)| &*route.label)
        .collect();
    assert_eq!(labels, ["checkout", "=/status", "/orders", "/search"]);
}

#[test]
fn the_reference_says_what_a_rollout_does_where_evidence_does_not() {
    let config = parse(REFERENCE, &read_file).unwrap();
    let plan = &config.flags[0].rollout.as_ref().unwrap().plan;
    let gated = plan.stages().iter().filter(|stage| stage.needs_approval);
    let gated: Vec<_> = gated.map(|stage| stage.shape.weight.to_string()).collect();
    assert_eq!(gated, ["25%"]);
    assert_eq!(plan.policy().deadline, Duration::from_secs(86_400));
    assert_eq!(plan.policy().stable_min_endpoints, 1);
    let careful = config.flags[1].rollout.as_ref().unwrap().plan.policy();
    assert_eq!(careful.start, StartMode::Manual);
    assert_eq!(careful.mode, Mode::Observe);
}

#[test]
fn a_gate_stands_before_a_stage_of_the_plan() {
    let flag = |rollout: &str| with_flag(&format!("rollout: {{ revision: r, {rollout} }}"));
    let found = |rollout: &str| problems(&flag(rollout)).join("\n");
    let unknown = found("stages: [5%, 100%], gates: [{ before: 25%, approve: manual }]");
    assert!(
        unknown.contains("gates[0].before: no stage has a weight of 25%; write one of 5%, 100%"),
        "{unknown}"
    );
    let nobody = found("stages: [5%], gates: [{ before: 5% }]");
    assert!(nobody.contains("nothing opens this gate"), "{nobody}");
    let two = found("stages: [5%], gates: [{ approve: manual, webhook: http://ci }]");
    assert!(two.contains("opened by one of"), "{two}");
    let slip = found("stages: [5%], undecided: promot");
    assert!(slip.contains("did you mean `promote`?"), "{slip}");
    let rating = found("stages: [5%], checks: { feedback: { min: 7, min_ratings: 19 } }");
    for problem in [
        "checks.feedback.min: expected a rating from 1 to 5 such as `4.0`, found `7`",
        "checks.feedback.min_ratings: expected a whole number from 20 up",
    ] {
        assert!(rating.contains(problem), "{rating}");
    }
    let zero = found("stages: [5%], patience: 0");
    assert!(zero.contains("a whole number from 1 to 1000"), "{zero}");
}

#[test]
fn gates_and_hooks_stand_before_the_stages_they_are_written_for() {
    let config = parse(REFERENCE, &read_file).unwrap();
    let rollout = config.flags[0].rollout.as_ref().unwrap();
    let names = |stage: &Stage| {
        let names = stage.gates.iter().map(|gate| gate.name.as_str());
        names.collect::<Vec<_>>().join(" ")
    };
    let gates: Vec<_> = rollout.plan.stages().iter().map(names).collect();
    let [.., half, full] = gates.as_slice() else {
        panic!("{gates:?}");
    };
    assert_eq!(half, "office acceptance");
    assert_eq!(full, "ci acceptance");
    let told: Vec<_> = config
        .notify
        .iter()
        .filter(|target| target.hook.is_some())
        .collect();
    let told: Vec<_> = told.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(
        told,
        [
            "orders.ci.internal",
            "orders.ci.internal-2",
            "orders.registry"
        ]
    );
}

#[test]
fn what_is_wrong_with_gates_and_hooks_is_said_without_their_urls() {
    let flag = |rollout: &str| {
        with_flag(&format!(
            "rollout: {{ revision: r, stages: [5%, 50%], {rollout} }}"
        ))
    };
    for (rollout, problem) in [
        (
            "gates: [{ window: { days: [mon-fry] } }]",
            "gates[0].window.days[0]: no day is called `fry`",
        ),
        (
            "gates: [{ window: { from: \"9\", to: \"17:00\" } }]",
            "gates[0].window.from: `9` is not a time of day",
        ),
        (
            "gates: [{ window: { from: \"09:00\", zone: Asia/Shangai } }]",
            "did you mean `Asia/Shanghai`?",
        ),
        ("gates: [{ window: {} }]", "this window is always open"),
        (
            "gates: [{ window: [] }]",
            "there must be at least one window",
        ),
        (
            "gates: [{ window: { from: \"09:00\", to: \"09:00\" } }]",
            "a window that ends when it begins",
        ),
        (
            "gates: [{ webhook: { url: \"http://ci/s3cret\", timeout: 1h } }]",
            "`1h` is longer than `10m`",
        ),
        (
            "gates: [{ webhook: { url: \"http://ci/s3cret\", every: 10ms } }]",
            "that often is more than a webhook likes",
        ),
        (
            "gates: [{ name: a, webhook: http://ci/s3cret }, { name: a, webhook: http://ci/s3cret }]",
            "another gate or hook is named `a`",
        ),
        (
            "gates: [{ webhook: \"ftp://ci/s3cret\" }]",
            "this secret, which is not shown",
        ),
        (
            "hooks: [{ on: rollback, webhook: { url: \"http://ci/s3cret\", every: 5s } }]",
            "`every` is for hooks that are asked",
        ),
        (
            "hooks: [{ on: rolback, webhook: http://ci }]",
            "did you mean `rollback`?",
        ),
        ("hooks: [{ on: rollback }]", "`webhook` is missing"),
    ] {
        let found = problems(&flag(rollout)).join("\n");
        assert!(found.contains(problem), "{rollout}: {found}");
        assert!(!found.contains("s3cret"), "{found}");
    }
}

#[test]
fn the_reference_tells_a_chat_a_team_a_pager_and_a_hub() {
    let config = parse(REFERENCE, &read_file).unwrap();
    let [chat, team, pager, hub, ..] = config.notify.as_slice() else {
        panic!("{:?}", config.notify);
    };
    assert_eq!(
        (chat.name.as_str(), chat.format),
        ("chat", NotifyFormat::Slack)
    );
    let phases = [
        "waiting_for_approval",
        "succeeded",
        "rolled_back",
        "aborted",
    ];
    assert_eq!(chat.phases, phases);
    let flags: Vec<_> = chat.flags.iter().map(FlagName::as_str).collect();
    assert_eq!(flags, ["orders", "checkout"]);
    assert_eq!(team.format, NotifyFormat::Teams);
    assert_eq!(pager.name.as_str(), "pager.internal");
    assert_eq!(pager.format, NotifyFormat::Json);
    assert!(pager.phases.is_empty() && pager.flags.is_empty());
    assert_eq!(pager.headers["authorization"], "Bearer change-me");
    assert_eq!(pager.authorities.len(), 1);
    assert_eq!(hub.name.as_str(), "hub.internal");
    assert!(hub.phases.is_empty() && hub.headers.is_empty());
}

#[test]
fn no_key_is_missing_from_the_reference() {
    let report = Report::default();
    let root = tree::read(REFERENCE, &report).unwrap();
    reader::read::<Document>(&root, &report).unwrap();
    let coverage = report.coverage.take();
    assert!(coverage.len() > 50, "keys are counted");
    let undocumented: Vec<_> = coverage
        .iter()
        .filter(|(_, is_written)| !**is_written)
        .collect();
    assert!(
        undocumented.is_empty(),
        "not in config/reference.yaml: {undocumented:?}"
    );
}

#[test]
fn the_reference_states_the_defaults() {
    let timeouts = defaults::TIMEOUTS;
    for (key, duration) in [
        ("connect", timeouts.connect),
        ("response", timeouts.response),
        ("idle", timeouts.idle),
        ("hold", defaults::HOLD),
        ("watch", defaults::WATCH),
        ("max_age", defaults::ASSIGNED_COOKIE_MAX_AGE),
        ("timeout", defaults::NOTIFY_TIMEOUT),
        ("every", defaults::CUSTOM_EVERY),
        ("every", defaults::GATE_EVERY),
        ("timeout", defaults::GATE_TIMEOUT),
        ("timeout", defaults::CUSTOM_TIMEOUT),
        ("max_age", defaults::CUSTOM_MAX_AGE),
    ] {
        let is_stated = REFERENCE.lines().any(|line| {
            let (line, comment) = line.split_once('#').unwrap_or((line, ""));
            let written = line
                .trim()
                .strip_prefix(key)
                .and_then(|rest| rest.strip_prefix(": "));
            written.and_then(|text| humantime::parse_duration(text).ok()) == Some(duration)
                && comment.starts_with(" default")
        });
        assert!(is_stated, "{key}");
    }
    let requests = format!("min_requests: {}", defaults::MIN_REQUESTS);
    assert!(REFERENCE.contains(&requests));
    assert!(REFERENCE.contains(&format!("final_control: {}", defaults::FINAL_CONTROL)));
    assert!(REFERENCE.contains(&format!("address: {}", defaults::ADMIN_ADDRESS)));
}

#[test]
fn what_is_not_yaml_is_told_with_its_place() {
    for (text, expected) in [
        (
            "",
            "f:1:1: the file is empty; it needs `listeners`, `backends` and `routes`",
        ),
        (
            "# nothing\n",
            "f:1:1: the file is empty; it needs `listeners`, `backends` and `routes`",
        ),
        (
            "a: b: c",
            "f:1:5: not valid YAML: mapping values are not allowed in this context; \
             check indentation, quotes and brackets near this place",
        ),
        (
            "listeners:\n\t- x",
            "f:2:1: not valid YAML: found character that cannot start any token, while scanning \
             for the next token; indent with spaces, not tabs, and quote text that starts with a \
             special character",
        ),
        (
            "a: *x",
            "f:1:4: not valid YAML: unknown anchor; check indentation, quotes and brackets near \
             this place",
        ),
        (
            "- a",
            "f:1:1: expected a map with `listeners`, `backends` and `routes`, found a list",
        ),
    ] {
        assert_eq!(problems(text), [expected]);
    }
}

#[test]
fn what_can_never_work_is_refused() {
    for (text, expected) in [
        (
            "groups: { forced: { callers: [a] } }",
            "f:4:11: groups.forced: `forced` is reserved for callers who chose their variant; \
             choose another name",
        ),
        (
            "groups: { g: { header: { serin-x: a } } }",
            "f:4:26: groups.g.header.serin-x: `serin-x` is removed from every request, for \
             `serin-` is how our own headers begin; choose another name",
        ),
        (
            "identity: [{ header: Host }]",
            "f:4:22: identity[0].header: `Host` has a meaning of its own, and would be lost; \
             choose another header",
        ),
        (
            "workers: 100000",
            "f:4:10: workers: expected a whole number from 1 to 1024, found the number `100000`",
        ),
        (
            "flags: { f: { stable: a, canary: b, rollout: { revision: r, final_control: 60%, \
             stages: [50%, 100%] } } }",
            "f:4:76: flags.f.rollout.final_control: a final control of this size leaves less \
             than the 50% reached before; write a smaller share",
        ),
    ] {
        let text = format!(
            "listeners: [{{ address: 0.0.0.0:80 }}]\nbackends: {{ a: http://a, b: http://b }}\n\
             routes: [{{ backend: a }}]\n{text}\n"
        );
        assert_eq!(problems(&text), [expected]);
    }
}

#[test]
fn files_from_other_editors_are_read_alike() {
    let foreign = format!("\u{feff}{}", SMALLEST.replace('\n', "\r\n"));
    parse(&foreign, &read_file).unwrap();
    let broken = foreign.replace("canary: orders-v2", "canary: orders-v3");
    let expected = "f:10:13: flags.orders.canary: no backend is named `orders-v3`; \
                    did you mean `orders-v1`?";
    assert_eq!(problems(&broken), [expected]);
}

#[test]
fn a_bomb_of_aliases_is_refused_at_once() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let below = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    assert_eq!(
        problems(&bomb),
        [
            "f:1:1: not valid YAML: repetition limit exceeded; aliases repeat too much; \
          write values out"
        ]
    );
    // Few aliases of much content stay below the library's limit.
    let wide = format!(
        "a: &a [{}]\nb: [{}]\n",
        "x, ".repeat(3000),
        "*a, ".repeat(3000)
    );
    assert!(problems(&wide)[0].contains("more than 1000000 values"));
}

#[test]
fn all_problems_are_told_at_once_in_the_files_order() {
    let text = "\
listners: []
listeners:
  - address: 8080
  - { address: \"localhost:81\", tls: {} }
workers: 0
backends:
  a: ftp://a
  b: { endpoints: [http://b/x], timeouts: { connect: 5 } }
  größe: http://c
flags:
  f:
    stable: a
    canary: c
    default: 101%
    enabled: yes
    rollout: { revision: 2.40, stages: [5%, { weigth: 6% }, 3%] }
routes:
  - { path: orders, flag: g }
  - { flg: f }
";
    let expected = [
        "f:1:1: listners: unknown key `listners`; did you mean `listeners`?",
        "f:3:14: listeners[0].address: expected an address such as `0.0.0.0:8080`, \
         found the number `8080`; write `0.0.0.0:8080`",
        "f:4:16: listeners[1].address: `localhost:81` is not an IP address with a port; \
         write `127.0.0.1:81`",
        "f:4:37: listeners[1].tls: `certificates` is missing; add `certificates:`",
        "f:5:10: workers: expected a whole number from 1 to 1024, found the number `0`",
        "f:7:6: backends.a: unknown scheme `ftp`; write `http://a`",
        "f:8:20: backends.b.endpoints[0]: `http://b/x` has more than host and port (`/x`); \
         a request keeps its own path; choose paths under `routes`",
        "f:8:54: backends.b.timeouts.connect: expected a duration such as `30s` or `5m`, \
         found the number `5`; add a unit: `5s`",
        "f:9:3: backends.größe: `größe` is not a name: 1 to 63 ASCII letters, digits, `-`, `_` \
         or `.`, starting with a letter or digit",
        "f:13:13: flags.f.canary: no backend is named `c`; expected one of `a`, `b`, `größe`",
        "f:14:14: flags.f.default: `101%` is outside 0% to 100%",
        "f:15:14: flags.f.enabled: expected `true` or `false`, found the text `yes`; write `true`",
        "f:16:26: flags.f.rollout.revision: expected text, found the number `2.40`; \
         put it in quotes: `\"2.40\"`",
        "f:16:47: flags.f.rollout.stages[1].weigth: unknown key `weigth`; did you mean `weight`?",
        "f:16:61: flags.f.rollout.stages[2]: 3% is below the 5% that everyone has reached \
         before; weights only grow along a plan",
        "f:18:13: routes[0].path: `orders` does not start with `/`; write `/orders`",
        "f:18:27: routes[0].flag: no flag is named `g`; expected `f`",
        "f:19:7: routes[1].flg: unknown key `flg`; did you mean `flag`?",
    ];
    let found = problems(text);
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn keys_written_twice_merged_or_tagged_are_refused_in_place() {
    let text = "\
listeners: &all
  - &one { address: 0.0.0.0:80 }
  - <<: *one
backends: { a: http://a, b: http://b, a: http://c }
routes:
  - { path: /, backend: a }
  - !odd { path: /x, backend: b }
  - { path: \"${ROOT}\", backend: b }
";
    assert_eq!(
        problems(text),
        [
            "f:3:5: listeners[1].<<: merge keys (`<<`) are not supported; write the keys out, or \
             repeat a whole value with an alias (`*name`)",
            "f:4:39: backends.a: `a` is written twice; remove one of the two",
            "f:7:5: routes[1]: tags such as `!odd` are not supported; remove it",
            "f:8:13: routes[2].path: the environment variable `ROOT` is not set; set it where serin \
             is started, as in `ROOT=… serin`, or write `$${ROOT}` for this very text",
        ]
    );
}

#[test]
fn an_alias_repeats_a_whole_value() {
    let text = "\
listeners: [{ address: 0.0.0.0:80 }]
backends:
  a: { endpoints: [http://a], timeouts: &patient { response: 1m } }
  b: { endpoints: [http://b], timeouts: *patient }
routes: [{ path: /, backend: b }]
";
    let config = parse(text, &read_file).unwrap();
    assert_eq!(
        config.backends[1].timeouts.response,
        Duration::from_secs(60)
    );
}

#[test]
fn listeners_and_admin_stay_out_of_each_others_way() {
    let address = |listeners: &str| problems(&sound(listeners, "{}", "", ROUTE));
    assert_eq!(
        address("{ address: 0.0.0.0:80 }, { address: 0.0.0.0:80 }, { address: \"[::]:80\" }"),
        [
            "f:1:49: listeners[1].address: `0.0.0.0:80` is listed twice; \
             remove one of the two, or give it another port",
            "f:1:74: listeners[2].address: `[::]:80` is in the way of `0.0.0.0:80`; \
             remove one of the two, or give it another port",
        ]
    );
    assert_eq!(
        address("{ address: 0.0.0.0:9901 }"),
        [
            "f:1:1: the admin address `127.0.0.1:9901` is in the way of listener `0.0.0.0:9901`; \
          give `admin.address` another port"
        ]
    );
    assert_eq!(
        address("")[0],
        "f:1:12: listeners: there must be at least one listener; \
                                add `- address: 0.0.0.0:8080`"
    );
    let open = format!("{}admin: {{ address: 10.0.0.1:9901 }}", with_groups("{}"));
    assert_eq!(
        problems(&open),
        [
            "f:6:19: admin.address: `10.0.0.1:9901` is not a loopback address, so it needs \
             `tokens`; add `tokens: [{ name: ci, role: operator, token_file: ci.token }]`, or \
             write `127.0.0.1:9901`"
        ]
    );
}

fn with_admin(admin: &str) -> String {
    format!("{}admin: {admin}\n", with_groups("{}"))
}

#[test]
fn tokens_let_operators_in_from_other_machines() {
    let text = with_admin(
        "{ address: 10.0.0.1:9901, tokens: [{ name: ci, role: operator, token_file: ci.token }, \
         { name: wall, role: viewer, token: another-secret-of-28-bytes-z }] }",
    );
    let admin = parse(&text, &read_file).unwrap().admin;
    let tokens = admin.tokens.iter().map(|token| {
        let Token { name, role, secret } = token;
        (name.as_str(), role.as_str(), secret.reveal())
    });
    assert_eq!(
        tokens.collect::<Vec<_>>(),
        [
            ("ci", "operator", "a-secret-of-24-bytes-abc"),
            ("wall", "viewer", "another-secret-of-28-bytes-z"),
        ]
    );
    assert!(!format!("{admin:?}").contains("secret-of"), "{admin:?}");
}

/// Tokens, and what is wrong with them.
const UNFIT_TOKENS: [(&str, &str); 11] = [
    (
        "tokens: []",
        "admin.tokens: there must be at least one token; \
             add `{ name: ci, role: operator, token_file: ci.token }`, or remove `tokens`",
    ),
    (
        "tokens: [{ name: ci, role: operator, token: hunter2 }]",
        "admin.tokens[0].token: the token has 7 bytes, and one of less than 16 can be \
             guessed; make one: `openssl rand -hex 24`",
    ),
    (
        "tokens: [{ name: ci, role: operator, token_file: short.token }]",
        "admin.tokens[0].token_file: the token has 7 bytes, and one of less than 16 \
             can be guessed; make one: `openssl rand -hex 24`",
    ),
    (
        "tokens: [{ name: ci, role: operator, token: \"hunter2 hunter2 hunter2\" }]",
        "admin.tokens[0].token: the token has a space or another character that no \
             header can carry; make one: `openssl rand -hex 24`",
    ),
    (
        "tokens: [{ name: ci, role: operator, token_file: none }]",
        "admin.tokens[0].token_file: cannot read `none`: entity not found; \
             write a path that is absolute or starts at this file",
    ),
    (
        "tokens: [{ name: ci, role: operator, token: hunter2hunter2hunter2, token_file: ci.token }]",
        "admin.tokens[0].token_file: `token_file` beside `token`; \
             remove one of the two",
    ),
    (
        "tokens: [{ name: ci, role: operator }]",
        "admin.tokens[0]: `token` is missing; \
             add `token_file:` with the name of a file, or `token: \"${NAME}\"`",
    ),
    (
        "tokens: [{ name: ci, role: root, token: hunter2hunter2hunter2 }]",
        "admin.tokens[0].role: unknown value `root`; \
             expected one of `feedback`, `viewer`, `operator`",
    ),
    (
        "tokens: [{ name: judge, role: operator, token: hunter2hunter2hunter2 }]",
        "admin.tokens[0].name: `judge` is who Serin itself is in the journal; \
             choose another name",
    ),
    (
        "tokens: [{ name: a, role: viewer, token_file: ci.token }, \
             { name: a, role: viewer, token: hunter2hunter2hunter2 }]",
        "admin.tokens[1].name: another token is named `a`; choose another name",
    ),
    (
        "tokens: [{ name: a, role: viewer, token_file: ci.token }, \
             { name: b, role: viewer, token_file: ci.token }]",
        "admin.tokens[1].token_file: is the same secret as that of token `a`; \
             make another one: `openssl rand -hex 24`",
    ),
];

#[test]
fn tokens_that_protect_nothing_are_refused_without_being_shown() {
    for (written, expected) in UNFIT_TOKENS {
        let text = with_admin(&format!("{{ {written} }}"));
        let problems = problems(&text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        let (_, problem) = problems[0].split_once(": ").unwrap();
        assert_eq!(problem, expected);
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}

#[test]
fn the_folder_of_the_state_is_a_path_and_nothing_else() {
    let with = |state: &str| format!("{SMALLEST}state: {state}\n");
    for state in ["{}", "{ path: data }"] {
        assert!(parse(&with(state), &read_file).is_ok(), "{state}");
    }
    for (state, problem) in [
        ("{ path: \"\" }", "state.path: is empty"),
        ("{ paths: /x }", "did you mean `path`"),
        ("/var/lib/serin", "a map such as `{ path: /var/lib/serin }`"),
    ] {
        let found = problems(&with(state));
        assert!(found.len() == 1 && found[0].contains(problem), "{found:?}");
    }
}

#[test]
fn a_proxy_header_is_read_from_somebody_or_refused() {
    let with = |key: &str, rest: &str| {
        let listener = format!("{{ address: 0.0.0.0:80, {key} }}");
        format!("{}{rest}\n", sound(&listener, "{}", "", ROUTE))
    };
    let read = |key: &str, rest: &str| {
        let config = parse(&with(key, rest), &read_file).unwrap();
        config.listeners[0].proxy_protocol
    };
    let (key, trusting) = (
        "proxy_protocol: from_trusted",
        "trusted_proxies: [10.0.0.0/8]",
    );
    assert_eq!(read(key, trusting), Some(ProxyProtocol::FromTrusted));
    assert_eq!(read("", trusting), None);
    for (key, rest, problem) in [
        (
            key,
            "",
            "listeners[0].proxy_protocol: a PROXY header is read from trusted proxies only, and \
             there are none; name your load balancers under `trusted_proxies`",
        ),
        ("proxy_protocol: on", trusting, "`from_trusted`"),
        ("proxy_protocol: true", trusting, "`from_trusted`"),
    ] {
        let found = problems(&with(key, rest));
        assert!(found.len() == 1 && found[0].contains(problem), "{found:?}");
    }
}

#[test]
fn identity_sources_that_can_never_speak_are_refused() {
    let identity = |list: &str| problems(&format!("{}identity: {list}\n", with_groups("{}")));
    assert_eq!(
        identity("[header: x-user-id, client_ip: {}, cookie: uid, client_ip]"),
        [
            "f:6:20: identity[0].header: header `x-user-id` is believed from trusted proxies \
             only, and there are none; name your load balancers under `trusted_proxies`",
            "f:6:46: identity[2]: is never reached: every request has a client address; \
             move `client_ip` to the end",
            "f:6:59: identity[3]: the same source is listed before; remove one of the two",
        ]
    );
    assert_eq!(
        identity("[cookie, jwt: {}, cooky: a, { cookie: a b }]"),
        [
            "f:6:12: identity[0]: `cookie` needs a value; write `cookie: …`",
            "f:6:25: identity[1].jwt: has no keys to verify tokens by; add `jwks_url`, `jwks_file`, \
             `key_file` or `key`",
            "f:6:29: identity[2].cooky: unknown key `cooky`; did you mean `cookie`?",
            "f:6:49: identity[3].cookie: `a b` is not the name of a cookie; write letters, \
             digits, `-` and `_`",
        ]
    );
}

#[test]
fn groups_say_who_belongs_and_refer_to_each_other_without_circles() {
    for (groups, expected) in [
        (
            "{ intern: { group: staf }, staff: { callers: [a] } }",
            "f:3:28: groups.intern.group: no group is named `staf`; did you mean `staff`?",
        ),
        (
            "{ x: { group: y }, y: { not: { group: x } } }",
            "f:3:11: groups.x: group `x` refers to itself: x -> y -> x; \
             take one of these references out",
        ),
        (
            "{ x: { header: { x-beta: true } } }",
            "f:3:34: groups.x.header.x-beta: expected text, found the boolean `true`; \
             put it in quotes: `\"true\"`",
        ),
        (
            "{ x: { cookie: { version: 1.10 } } }",
            "f:3:35: groups.x.cookie.version: expected text, found the number `1.10`; \
             put it in quotes: `\"1.10\"`",
        ),
        (
            "{ x: { header: { a: b }, ip: [10.0.0.0/8] } }",
            "f:3:14: groups.x: expected one key, found `header` and `ip`; \
             combine several with `all: [{…}, {…}]` or `any: [{…}, {…}]`",
        ),
    ] {
        assert_eq!(problems(&with_groups(groups)), [expected]);
    }
}

#[test]
fn groups_that_can_be_nobody_or_nothing_are_refused() {
    for (groups, expected) in [
        (
            "{ x: { any: [] } }",
            "f:3:21: groups.x.any: is an empty list, which fits nobody or everybody; \
             write at least one item",
        ),
        (
            "{ x: { app: { status: aproved } } }",
            "f:3:21: groups.x.app: no app has the status `aproved`; did you mean `approved`? \
             expected one of `pending`, `approved`, `suspended`, `revoked`",
        ),
        (
            "{ x: { ip: [10.1.0.0/8] } }",
            "f:3:21: groups.x.ip[0]: `10.1.0.0/8` has bits set after its prefix; \
             write `10.0.0.0/8`",
        ),
        (
            "{ x: { percentage: 10 } }",
            "f:3:28: groups.x.percentage: expected a percentage such as `25%`, \
             found the number `10`; write `10%`",
        ),
        (
            "{ x: { callers_file: none.txt } }",
            "f:3:30: groups.x.callers_file: cannot read `none.txt`: entity not found; \
             write a path that is absolute or starts at this file",
        ),
        (
            "{ default: { callers: [] } }",
            "f:3:11: groups.default: `default` is reserved for everyone who is in no group; \
             choose another name",
        ),
        (
            "{ x: }",
            "f:3:14: groups.x: expected a map with one key, `header`, `cookie`, `query`, `path`, \
             `method`, `certificate`, `app`, `claim`, `ip`, `callers`, `callers_file`, `segment`, `percentage`, `group`, \
             `any`, `all` or `not`",
        ),
    ] {
        assert_eq!(problems(&with_groups(groups)), [expected]);
    }
}

#[test]
fn learned_groups_name_a_model_and_where_features_are() {
    for (groups, expected) in [
        (
            "{ x: { segment: { model: segments.json, name: quiet } } }",
            "f:3:25: groups.x.segment: `features` is missing; add `features:`",
        ),
        (
            "{ x: { segment: { model: none.json, name: quiet, features: { table: features.csv } } } }",
            "f:3:34: groups.x.segment.model: cannot read `none.json`: entity not found; \
             write a path that is absolute or starts at this file",
        ),
        (
            "{ x: { segment: { model: beta.txt, name: quiet, features: { table: features.csv } } } }",
            "f:3:34: groups.x.segment.model: `beta.txt` is not a model of segments: expected value at \
             line 1 column 1; train one by `serin segment train`",
        ),
        (
            "{ x: { segment: { model: segments.json, name: quite, features: { table: features.csv } } } }",
            "f:3:55: groups.x.segment.name: the model has no segment `quite`; \
             did you mean `quiet`? expected one of `quiet`, `busy`, `failing`",
        ),
        (
            "{ x: { segment: { model: segments.json, name: quiet, features: { table: ci.token } } } }",
            "f:3:81: groups.x.segment.features.table: `ci.token`: there is no column \
             `requests_per_minute`; its first line has no comma; each row has a key and the model's \
             features",
        ),
        (
            "{ x: { segment: { model: segments.json, name: quiet, features: { headers: { error_share: x-e } } } } }",
            "f:3:83: groups.x.segment.features.headers: headers with features are believed from trusted \
             proxies only, and there are none; name your load balancers under `trusted_proxies`",
        ),
        (
            "{ x: { segment: { model: segments.json, name: quiet, features: { claims: { eror_share: e } } } } }",
            "f:3:84: groups.x.segment.features.claims.eror_share: the model has no feature `eror_share`; \
             did you mean `error_share`? expected one of `requests_per_minute`, `error_share`, `write_share`",
        ),
    ] {
        assert_eq!(problems(&with_groups(groups)), [expected]);
    }
}

#[test]
fn flags_name_two_backends_and_who_gets_which() {
    for (flag, expected) in [
        (
            "rollout: { revision: \"1\", stages: [1%] }, groups: { g: 5% }, default: 1%",
            &[
                "f:4:87: flags.f.groups: `groups` beside `rollout`, which sets the weights; \
                 remove `groups`, or write stages for these callers",
                "f:4:107: flags.f.default: `default` beside `rollout`, which sets the weights; \
                 remove `default`, or write stages for these callers",
            ][..],
        ),
        (
            "groups: { i: 5% }, force: { header: x, for: [g, g] }",
            &[
                "f:4:47: flags.f.groups.i: no group is named `i`; expected one of `g`, `h`",
                "f:4:85: flags.f.force.for[1]: group `g` is named twice; remove one of the two",
            ],
        ),
        (
            "rollout: { stages: [] }",
            &[
                "f:4:46: flags.f.rollout: `revision` is missing; add `revision:`",
                "f:4:56: flags.f.rollout.stages: there must be at least one stage; \
                 write `stages: [1%, 5%, 25%, 50%, 100%]`",
            ],
        ),
        (
            "rollout: { revision: \"1\", stages: [{ weight: 1%, weights: [2%] }, {}, 0%] }",
            &[
                "f:4:95: flags.f.rollout.stages[0].weights: `weights` beside `weight`; \
                 remove one of the two",
                "f:4:103: flags.f.rollout.stages[1]: a stage needs a weight; add `weight: 5%`",
                "f:4:107: flags.f.rollout.stages[2]: a stage of 0% gives the canary to nobody; \
                 write a weight above 0%",
            ],
        ),
        (
            "stickiness: both, mirror: {}",
            &[
                "f:4:49: flags.f.stickiness: unknown value `both`; \
                 expected one of `caller`, `request`",
                "f:4:55: flags.f.mirror: `mirror` is not in this version; remove it",
            ],
        ),
    ] {
        assert_eq!(problems(&with_flag(flag)), expected);
    }
}

#[test]
fn what_only_one_kind_of_flag_has_is_refused_for_the_other() {
    for (flag, expected) in [
        (
            "hash: md5",
            &["f:4:43: flags.f.hash: unknown value `md5`; \
                 expected one of `murmur3`, `unleash`, `growthbook`, `growthbook_v1`"][..],
        ),
        (
            "off: stable, values: { stable: 1, canary: two }, default: { canary: 5%, stable: 1% }",
            &[
                "f:4:42: flags.f.off: `off` without `variants`; remove `off`",
                "f:4:79: flags.f.values.canary: is a text, while the first value of the flag is a number; \
                 give all variants values of one type",
                "f:4:109: flags.f.default.stable: `stable` has the rest; name the others; remove it",
            ],
        ),
        (
            "variants: { on: true, off: false }, off: off, shield: true",
            &[
                "f:4:23: flags.f.stable: `stable` beside `variants`, which no backend serves; \
                 remove `stable`, or `variants`",
                "f:4:34: flags.f.canary: `canary` beside `variants`, which no backend serves; \
                 remove `canary`, or `variants`",
                "f:4:91: flags.f.shield: `shield` beside `variants`, which no backend serves; \
                 remove `shield`, or `variants`",
                "f:5:27: routes[0].flag: flag `f` has no backends; \
                 name one with `stable` and `canary`, or a `backend`",
            ],
        ),
    ] {
        assert_eq!(problems(&with_flag(flag)), expected);
    }
}

#[test]
fn groups_of_a_flag_come_in_the_order_of_the_top_level() {
    let config = parse(&with_flag("groups: { h: 2%, g: 1% }"), &read_file).unwrap();
    let groups = config.flags[0]
        .flag
        .weights
        .groups
        .iter()
        .map(|entry| entry.group.0);
    assert_eq!(groups.collect::<Vec<_>>(), [0, 1]);
    let staged = "rollout: { revision: \"1\", stages: [{ groups: [h, g], weight: 1% }] }";
    let config = parse(&with_flag(staged), &read_file).unwrap();
    let groups = config.flags[0]
        .flag
        .weights
        .groups
        .iter()
        .map(|entry| entry.group.0);
    assert_eq!(groups.collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn routes_can_all_be_reached_and_told_apart() {
    for (routes, expected) in [
        (
            "{ methods: [GET, POST], flag: f }, { path: \"/\", methods: [POST, GET], flag: f }",
            "f:5:45: routes[1]: is never reached: route `GET,POST /` takes the same; \
             remove one of the two, or tell them apart by host, path, method or header",
        ),
        (
            "{ flag: f, backend: a }",
            "f:5:30: routes[0].backend: `backend` beside `flag`; remove one of the two",
        ),
        (
            "{ path: /x }",
            "f:5:10: routes[0]: a route needs a target; add `flag: …` or `backend: …`",
        ),
        (
            "{ path: { regex: x }, flag: f }",
            "f:5:20: routes[0].path.regex: `regex` is not in this version; remove it",
        ),
        (
            "{ host: \"api.example.com:80\", flag: f }",
            "f:5:18: routes[0].host: `api.example.com:80` has a port; \
             write `api.example.com`, which fits on any port",
        ),
        (
            "{ methods: [get], flag: f }",
            "f:5:22: routes[0].methods[0]: `get` is not in upper case; write `GET`",
        ),
        (
            "{ name: x, flag: f }, { name: x, path: /x, flag: f }",
            "f:5:40: routes[1].name: another route is named `x`; choose another name",
        ),
    ] {
        assert_eq!(problems(&with_routes(routes)), [expected]);
    }
}

#[test]
fn routes_without_a_name_are_called_by_what_they_fit() {
    let routes = "{ name: /a, path: /, flag: f }, { path: /a, flag: f }, { path: { exact: /a }, \
                  flag: f }, { host: \"*.e.com\", methods: [GET], path: /a/, flag: f }, \
                  { path: /a, headers: { x: { present: true } }, flag: f }";
    let config = parse(&with_routes(routes), &read_file).unwrap();
    let labels: Vec<_> = config
        .routes
        .iter()
        .map(|(_, route)| &*route.label)
        .collect();
    assert_eq!(labels, ["/a", "/a#2", "=/a", "GET *.e.com/a", "/a#3"]);
}

fn with_notify(targets: &str) -> String {
    format!("{}notify: [{targets}]\n", with_groups("{}"))
}

#[test]
fn targets_of_notifications_say_where_what_and_how() {
    for (targets, expected) in [
        (
            "{ webhook: http://chat/x, on: [rolled_bak, paused, paused], flags: [g] }",
            &[
                "f:6:41: notify[0].on[0]: no phase is called `rolled_bak`; did you mean \
                 `rolled_back`?",
                "f:6:61: notify[0].on[2]: `paused` is written twice; remove one of the two",
                "f:6:78: notify[0].flags[0]: no flag is named `g`; expected `f`",
            ][..],
        ),
        (
            "{ webhook: http://chat/x, on: [done] }",
            &[
                "f:6:41: notify[0].on[0]: no phase is called `done`; expected one of `waiting`, \
                 `progressing`, `waiting_for_approval`, `waiting_for_gate`, `paused`, `watching`, `succeeded`, \
                 `rolling_back`, `rolled_back`, `aborted`",
            ],
        ),
        (
            "{ webhook: http://chat/x, on: [], flags: [] }",
            &[
                "f:6:40: notify[0].on: is an empty list, by which nobody would ever be told; \
                 remove it to be told of every change",
                "f:6:51: notify[0].flags: is an empty list, by which nobody would ever be told; \
                 remove it to be told of all flags",
            ],
        ),
        (
            "{ webhok: http://chat/x }, { url: \"http://chat\", format: discord }",
            &[
                "f:6:12: notify[0].webhok: unknown key `webhok`; did you mean `webhook`?",
                "f:6:37: notify[1]: `webhook` is missing; add `webhook:`",
                "f:6:39: notify[1].url: unknown key `url`; expected one of `webhook`, `name`, \
                 `format`, `on`, `flags`, `headers`, `timeout`, `ca`",
                "f:6:67: notify[1].format: unknown value `discord`; expected one of `json`, \
                 `slack`, `teams`",
            ],
        ),
        (
            "{ webhook: http://chat, name: x, timeout: 2m }, { webhook: http://b, name: x }",
            &[
                "f:6:52: notify[0].timeout: `2m` is longer than `1m`; a message that fails is \
                 sent again, so there is no need to wait for long",
                "f:6:85: notify[1].name: another target is named `x`; choose another name",
            ],
        ),
    ] {
        assert_eq!(problems(&with_notify(targets)), expected);
    }
    let many = "{ webhook: http://a }, ".repeat(17);
    assert_eq!(
        problems(&with_notify(&many)),
        ["f:6:9: notify: more than 16 targets; tell one, and let it tell the others"]
    );
}

#[test]
fn certificates_and_headers_of_a_target_are_what_they_are_called() {
    for (targets, expected) in [
        (
            "{ webhook: http://chat, ca: internal.pem }, { webhook: https://a, ca: beta.txt }, \
             { webhook: https://b, ca: torn.pem }, { webhook: https://c, ca: none.pem }",
            &[
                "f:6:38: notify[0].ca: `ca` beside a URL of http, where no certificate is shown; \
                 remove it, or write `https://`",
                "f:6:80: notify[1].ca: `beta.txt` has no certificate; give a PEM file that \
                 begins with `-----BEGIN CERTIFICATE-----`",
                "f:6:118: notify[2].ca: `torn.pem` is not PEM, or not all of it; give a PEM file that begins with \
                 `-----BEGIN CERTIFICATE-----`",
                "f:6:156: notify[3].ca: cannot read `none.pem`: entity not found; write a path \
                 that is absolute or starts at this file",
            ][..],
        ),
        (
            "{ webhook: http://a, headers: { Content-Type: x, \"a b\": c } }",
            &[
                "f:6:42: notify[0].headers.Content-Type: `Content-Type` is set with each \
                 message; remove it",
                "f:6:59: notify[0].headers.\"a b\": `a b` is not the name of a header; write it \
                 without `:` and spaces",
            ],
        ),
    ] {
        assert_eq!(problems(&with_notify(targets)), expected);
    }
}

#[test]
fn problems_with_a_secret_do_not_tell_it() {
    for target in [
        "{ webhook: hooks/s3cret }",
        "{ webhook: ftp://a/s3cret }",
        "{ webhook: \"https://u:s3cret@a/\" }",
        "{ webhook: \"https://a:x/s3cret\" }",
        "{ webhook: \"https://a/s3cret key\" }",
        "{ webhook: 53237 }",
        "{ webhook: http://a, headers: { x: \"s3cret\\n\" } }",
        "{ webhook: http://a, headers: { x: 53237 } }",
        "hooks/s3cret",
        "{ webhook: \"https:hooks/s3cret?to=://\" }",
        "{ webhook: http://a, headers: \"authorization: s3cret\" }",
    ] {
        let [problem] = &problems(&with_notify(target))[..] else {
            panic!("{target}");
        };
        let unfit = "this secret, which is not shown, does not fit; expected";
        let is_no_map = problem.contains("found a text");
        assert!(problem.contains(unfit) || is_no_map, "{problem}");
        let is_of_user = target.contains('@');
        assert!(
            !is_of_user || problem.contains("without user and password"),
            "{problem}"
        );
        assert!(
            !problem.contains("s3cret") && !problem.contains("53237"),
            "{problem}"
        );
    }
    let secret = "{ webhook: https://a/s3cret, headers: { x: s3cret } }";
    let config = parse(&with_notify(secret), &read_file).unwrap();
    assert!(!format!("{:?}", config.notify).contains("s3cret"));
}

#[test]
fn targets_without_a_name_are_called_by_their_host() {
    let targets = "{ webhook: http://chat/a }, http://chat/b, { webhook: \
                   \"http://[2001:db8::1]\" }, { webhook: http://b, name: chat-2 }, \
                   { webhook: \"http://[::]\" }";
    let config = parse(&with_notify(targets), &read_file).unwrap();
    let names: Vec<_> = config
        .notify
        .iter()
        .map(|target| target.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["chat", "chat-3", "2001-db8--1", "chat-2", "webhook"]
    );
}

#[test]
fn a_report_stays_short_and_on_its_lines() {
    let many: String = (0..500).map(|n| format!("k{n}: 1\n")).collect();
    let lines = problems(&many);
    assert_eq!(
        lines.len(),
        102,
        "a hundred keys, one place with two problems, and the rest"
    );
    assert_eq!(lines[101], "… and problems in 401 more places");
    let hostile = format!("\"a\\n\\e[31m{}\": 1\n", "b".repeat(1000));
    let lines = problems(&hostile);
    assert!(
        lines
            .iter()
            .all(|line| !line.contains('\u{1b}') && line.chars().count() < 1000)
    );
}

#[test]
fn what_a_backend_cannot_be_is_said_where_it_is_written() {
    let of = |backend: &str| {
        problems(&format!(
            "listeners: [{{ address: \"0.0.0.0:80\" }}]\nbackends: {{ b: {backend} }}\n\
             routes: [{{ backend: b }}]\n"
        ))
    };
    for (backend, problem) in [
        (
            "{ endpoints: [http://a], balance: random }",
            "b.balance: unknown value `random`; \
             expected one of `round_robin`, `power_of_two`, `least_request`, `ring_hash`",
        ),
        (
            "{ endpoints: [http://a], balance: round_robbin }",
            "unknown value `round_robbin`; did you mean `round_robin`? \
             expected one of `round_robin`, `power_of_two`",
        ),
        (
            "{ endpoints: [http://a], balance: { random: {} } }",
            "unknown key `random`",
        ),
        (
            "{ endpoints: [{ url: http://a, weight: 0 }] }",
            "a whole number from 1 to 256",
        ),
        (
            "{ endpoints: [{ url: http://a, weight: 257 }] }",
            "a whole number from 1 to 256",
        ),
        (
            "{ endpoints: [http://a], limits: { connections: 0 } }",
            "a whole number from 1 to 65536",
        ),
        ("{ endpoints: [http://a], health: {} }", "`path` is missing"),
        (
            "{ endpoints: [http://a], health: { path: healthz } }",
            "`healthz` is not a path such as `/healthz`",
        ),
        (
            "{ endpoints: [http://a], health: { path: /, interval: 5ms } }",
            "health checks at most every 100ms",
        ),
        (
            "{ endpoints: [http://a], health: { path: /, timeout: 6s } }",
            "longer than the interval",
        ),
        (
            "{ endpoints: [http://a], limits: { requests: 7 } }",
            "unknown key `requests`",
        ),
    ] {
        let found = of(backend);
        let is_said = found.iter().any(|line| line.contains(problem));
        assert!(found.len() == 1 && is_said, "{backend}: {found:?}");
    }
}

#[test]
fn each_key_of_the_design_is_named_once() {
    let text = include_str!("../../tests/vectors/design.yaml");
    let refused: Vec<_> = problems(text)
        .into_iter()
        .filter_map(|line| Some(line.split_once(" is not in this version")?.0.to_owned()))
        .collect();
    let distinct: BTreeSet<_> = refused.iter().collect();
    assert_eq!(distinct.len(), refused.len());
    for key in ["http3", "fleet", "discover", "mirror", "tracing"] {
        let named = refused
            .iter()
            .any(|line| line.ends_with(&format!("`{key}`")));
        assert!(named, "{key}");
    }
    assert!(
        problems(text)
            .iter()
            .all(|line| !line.contains("unknown key"))
    );
}

/// The problems of a text whose variables all hold `value`; `${NONE}` is not set.
fn problems_with(text: &str, value: &str) -> Vec<String> {
    let variable = |name: &str| match name {
        "NONE" => Err(VarError::NotPresent),
        _ => Ok(value.to_owned()),
    };
    match super::parse(text, &read_file, &variable) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn variables_are_values_of_any_kind() {
    let text = r#"
workers: ${WORKERS}
listeners: [{ address: "0.0.0.0:${PORT}" }]
backends: { a: "http://${HOST}:80", b: "http://b/$${x" }
flags:
  f: { stable: a, canary: b, enabled: "${ON}", default: "${SHARE}%", salt: "${revision}$${A}" }
routes: [{ path: /, flag: "${FLAG}" }]
"#
    .replace("b/$${x", "b");
    let variable = |name: &str| match name {
        "WORKERS" => Ok("4".to_owned()),
        "PORT" => Ok("8443".to_owned()),
        "HOST" => Ok("orders".to_owned()),
        "ON" => Ok("false".to_owned()),
        "SHARE" => Ok("12.5".to_owned()),
        "FLAG" => Ok("f".to_owned()),
        _ => Err(VarError::NotPresent),
    };
    let config = super::parse(&text, &read_file, &variable).unwrap();
    assert_eq!(config.workers.map(NonZeroUsize::get), Some(4));
    assert_eq!(config.listeners[0].address, "0.0.0.0:8443".parse().unwrap());
    assert_eq!(config.backends[0].endpoints[0].to_string(), "orders:80");
    let flag = &config.flags[0].flag;
    assert!(!flag.enabled);
    assert_eq!(
        flag.weights.default,
        Weight::from_basis_points(1250).unwrap()
    );
    assert_eq!(&*flag.salt, "${revision}${A}");
}

#[test]
fn a_problem_shows_the_variable_and_never_its_value() {
    for (text, value, expected) in [
        (
            with_flag("default: \"${SHARE}\""),
            "9000%",
            "4:46: flags.f.default: the value with `${SHARE}`, which is not shown, does not fit; \
             expected a percentage such as `25%`",
        ),
        (
            with_flag("default: \"${A}${B}\""),
            "9000%",
            "4:46: flags.f.default: the value with `${A}` and `${B}`, which is not shown, does \
             not fit; expected a percentage such as `25%`",
        ),
        (
            with_flag("enabled: \"${ON}\""),
            "maybe",
            "4:46: flags.f.enabled: the value with `${ON}`, which is not shown, does not fit; \
             expected `true` or `false`",
        ),
        (
            with_flag("stickiness: \"${S}\""),
            "glue",
            "4:49: flags.f.stickiness: the value with `${S}`, which is not shown, does not fit; \
             expected one of `caller` or `request`",
        ),
        (
            with_flag("force: \"${S}\""),
            "glue",
            "4:44: flags.f.force: the value with `${S}`, which is not shown, does not fit; \
             expected a map with `header` and `for`",
        ),
        (
            format!("workers: ${{N}}\n{}", with_groups("{}")),
            "70000",
            "1:10: workers: the value with `${N}`, which is not shown, does not fit; \
             expected a whole number from 1 to 1024",
        ),
        (
            with_routes("{ path: /, backend: \"${B}\" }"),
            "orders",
            "5:30: routes[0].backend: the value with `${B}`, which is not shown, does not fit; \
             look at what the environment holds",
        ),
    ] {
        let found = problems_with(&text, value);
        assert_eq!(found, [expected]);
    }
}

#[test]
fn problems_around_variables_do_not_show_their_values_either() {
    for (text, value, expected) in [
        (
            with_groups("{ x: { callers_file: \"${FILE}.txt\" } }"),
            "gone",
            "3:30: groups.x.callers_file: cannot read `${FILE}.txt`: entity not found; \
             write a path that is absolute or starts at this file",
        ),
        (
            // The problem stands at the second, and tells of the first.
            sound(
                "{ address: \"${A}\" }, { address: \"[::]:81\" }",
                "{}",
                "",
                ROUTE,
            ),
            "0.0.0.0:81",
            "1:45: listeners[1].address: does not go together with a value from the environment, \
             which is not shown; look at what its variables hold",
        ),
        (
            with_routes("{ path: \"/${NONE}\", flag: f }"),
            "",
            "5:18: routes[0].path: the environment variable `NONE` is not set; set it where serin \
             is started, as in `NONE=… serin`, or write `$${NONE}` for this very text",
        ),
        (
            with_routes("{ path: /${A}, flag: f }"),
            "x",
            "5:20: not valid YAML: did not find expected ',' or '}', while parsing a flow \
             mapping at line 5 column 10; put `${NAME}` in quotes where it stands in `[…]` or `{…}`",
        ),
    ] {
        let found = problems_with(&text, value);
        assert_eq!(found, [expected]);
    }
}

#[test]
fn problems_that_do_not_depend_on_variables_stay_as_they_are() {
    let text = with_flag("default: \"${SHARE}\", groups: { i: 5% }");
    assert_eq!(
        problems_with(&text, "1%"),
        ["4:68: flags.f.groups.i: no group is named `i`; expected one of `g`, `h`"]
    );
}

/// Changes a sample in one place: removes, repeats or replaces a few characters.
fn mutated() -> impl Strategy<Value = String> {
    let sample = prop_oneof![Just(SMALLEST), Just(REFERENCE)];
    let insert = prop_oneof![
        "[-:{}\\[\\],&*!|>'\"%@`#? \n\t~<]{0,4}",
        "\\PC{0,6}",
        Just("<<: *a\n".to_owned()),
        Just("99999999999999999999".to_owned()),
    ];
    (sample, 0.0..1.0f64, 0..12usize, insert).prop_map(|(sample, at, removed, insert)| {
        let chars: Vec<_> = sample.chars().collect();
        let at = (0..chars.len())
            .rev()
            .find(|i| (*i as f64) <= at * chars.len() as f64);
        let at = at.unwrap_or(0);
        let rest = chars.iter().skip(at + removed);
        chars[..at]
            .iter()
            .copied()
            .chain(insert.chars())
            .chain(rest.copied())
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_damaged_file_is_read_or_refused_but_never_panics(text in mutated()) {
        if let Err(errors) = parse(&text, &read_file) {
            let lines = text.lines().count() + 1;
            for error in errors.iter() {
                prop_assert!(error.line >= 1 && error.line <= lines && error.column >= 1);
                prop_assert!(!error.problem.is_empty());
            }
        }
    }

    #[test]
    fn what_the_reader_takes_fits_the_schema(text in mutated()) {
        static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
            jsonschema::draft202012::new(&serde_json::from_str(&schema()).unwrap()).unwrap()
        });
        if parse(&text, &read_file).is_ok() {
            let document = serde_yaml::from_str(&text).unwrap();
            prop_assert!(SCHEMA.is_valid(&document), "{}", text);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_the_environment_holds_is_in_no_problem(
        quoted in proptest::sample::subsequence(REFERENCE_TEXTS.to_vec(), 1..6),
        value in prop_oneof![
            "[a-z]{5,9}", "99[0-9]{3}%", "4[0-9]{4}h", "10\\.99\\.[1-9]{2}\\.0/8",
            "http://[a-z]{6}/q", "/[a-z]{5}",
        ],
    ) {
        let mut text = REFERENCE.to_owned();
        for part in quoted {
            text = text.replacen(part, &part.replace(part_value(part), "\"${SECRET}\""), 1);
        }
        let telling = value.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        prop_assume!(!REFERENCE.to_lowercase().contains(&telling));
        for line in problems_with(&text, &value) {
            prop_assert!(!line.to_lowercase().contains(&telling), "{value} in {line}");
        }
    }
}

/// Values of the reference, each with its key.
const REFERENCE_TEXTS: [&str; 14] = [
    "address: 0.0.0.0:8080",
    "address: 127.0.0.1:9901",
    "header: x-user-id ",
    "max_age: 30d",
    "callers_file: beta.txt",
    "percentage: 10%",
    "url: http://10.0.0.3:8000",
    "connect: 1s",
    "stable: orders-v1 ",
    "- 1%",
    "final_control: 1%",
    "path: /checkout",
    "max: 1000ms",
    "flag: checkout",
];

fn part_value(part: &str) -> &str {
    part.trim_end().rsplit_once(' ').unwrap().1
}

#[test]
fn the_access_log_goes_where_it_says_with_as_much_as_it_says() {
    let log = |text: &str| {
        let text = format!("{SMALLEST}\naccess_log: {text}\n");
        parse(&text, &read_file).unwrap().access_log.unwrap()
    };
    let short = log("stdout");
    assert_eq!(short.target, LogTarget::Stdout);
    assert_eq!((short.sample, short.shows_query), (Weight::FULL, false));
    assert_eq!(
        log("{ path: stdout, format: json, sample: 100%, query: false }"),
        short
    );
    let long = log("{ path: logs/access.json, sample: 0.5%, query: true }");
    assert_eq!(long.target, LogTarget::File("logs/access.json".into()));
    assert_eq!(long.sample, Weight::from_basis_points(50).unwrap());
    assert!(long.shows_query);
    assert_eq!(log("./stdout").target, LogTarget::File("./stdout".into()));
    assert!(parse(SMALLEST, &read_file).unwrap().access_log.is_none());
    let reference = parse(REFERENCE, &read_file).unwrap().access_log.unwrap();
    assert_eq!(reference, short, "nothing but defaults");
}

#[test]
fn what_is_no_access_log_is_refused_with_a_hint() {
    let found = |text: &str| problems(&format!("{SMALLEST}\naccess_log: {text}\n")).join("\n");
    for (text, problem) in [
        ("{ format: json }", "access_log: `path` is missing"),
        ("{ path: \" \" }", "access_log.path: is empty"),
        (
            "{ path: stdout, sample: 5 }",
            "access_log.sample: expected a percentage such as `25%`",
        ),
        ("{ path: stdout, sample: 101% }", "outside 0% to 100%"),
        ("{ path: stdout, format: jsn }", "access_log.format: "),
        ("{ path: stdout, querry: true }", "did you mean `query`?"),
        ("{ path: stdout, query: yes }", "write `true`"),
        ("true", "access_log: "),
    ] {
        let told = found(text);
        assert!(told.contains(problem), "{text}: {told}");
    }
}

/// A file in which nothing but a flag without backends may be wrong, in the fourth line from column 14 on.
fn with_value_flag(flag: &str) -> String {
    format!(
        "listeners: [{LISTENER}]\nbackends: {{ a: http://a }}\ngroups: {{ g: {{ callers: [] }} }}\n\
         flags: {{ f: {{ {flag} }} }}\nroutes: [{{ backend: a }}]\n"
    )
}

#[test]
fn values_of_any_type_keep_it_and_their_order() {
    let flag = |text: &str| {
        let config = parse(&with_value_flag(text), &read_file).unwrap();
        config.flags[0].flag.clone()
    };
    let dark = flag("variants: { on: true, off: false }, off: off, groups: { g: 25% }");
    assert!(dark.backends.is_none());
    let named = |flag: &Flag| {
        let variants = flag.variants.iter();
        let named: Vec<_> = variants
            .map(|one| (one.name.to_string(), one.value.to_string()))
            .collect();
        named
    };
    let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(named(&dark), [owned("on", "true"), owned("off", "false")]);
    assert_eq!(dark.variants.off(), 1);
    assert_eq!(dark.weights.groups[0].weight.to_string(), "25%");

    let deep = "variants: { b: { size: 2.5, tags: [x, 1] }, a: {} }, off: a, default: { b: 1% }";
    assert_eq!(
        named(&flag(deep))[0],
        owned("b", r#"{"size":2.5,"tags":["x",1]}"#)
    );
    let many = flag("variants: { z: 1, y: -2, x: 3 }, off: y, default: { x: 20%, z: 30% }");
    let share = many
        .weights
        .share(many.weights.default_stratum(), &many.variants);
    assert_eq!(share.to_string(), "x=20%,z=30%");
    let ends: Vec<_> = many.weights.ends[0]
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(ends, ["30%", "50%"]);

    let config = parse(&with_flag("values: { stable: 1, canary: 2 }"), &read_file).unwrap();
    assert_eq!(
        named(&config.flags[0].flag),
        [owned("stable", "1"), owned("canary", "2")]
    );
}

#[test]
fn variants_that_cannot_be_are_refused() {
    for (flag, expected) in [
        (
            "off: off",
            "f:4:13: flags.f: `stable` is missing; add `stable:`",
        ),
        (
            "variants: { on: true }, off: on",
            "f:4:25: flags.f.variants: a flag has at least two variants; \
             write `variants: { on: true, off: false }`",
        ),
        (
            "variants: { on: true, off: false }",
            "f:4:25: flags.f.variants: `off` is missing: what everybody has who gets no other; \
             add `off:` with the name of one of them",
        ),
        (
            "variants: { on: true, off: false }, off: oft",
            "f:4:56: flags.f.off: no variant is named `oft`; did you mean `off`? \
             expected one of `on`, `off`",
        ),
        (
            "variants: { on: true, off: }, off: off",
            "f:4:42: flags.f.variants.off: a variant has a value; \
             write a boolean, number, text, list or map",
        ),
        (
            "variants: { on: true, off: \"no\" }, off: off",
            "f:4:42: flags.f.variants.off: is a text, while the first value of the flag is a boolean; \
             give all variants values of one type",
        ),
        (
            "variants: { a: 1, b: 2, c: 3 }, off: a, default: 5%",
            "f:4:64: flags.f.default: say which variant gets it, such as `b=5%`; \
             write a map of variants and weights",
        ),
        (
            "variants: { a: 1, b: 2, c: 3 }, off: a, groups: { g: { b: 60%, c: 41% } }",
            "f:4:68: flags.f.groups.g: the weights are more than 100% together; lower one of them",
        ),
        (
            "variants: { a: 1, b: 2 }, off: a, default: { d: 5% }",
            "f:4:60: flags.f.default.d: there is no variant `d`, there are: a, b; name one of those",
        ),
        (
            "variants: { a: 1, b: 2 }, off: a, force: { header: x-v, for: [g] }",
            "f:4:66: flags.f.force.header: `force` beside `variants`, which no backend serves; \
             remove `force`, or `variants`",
        ),
    ] {
        let found = problems(&with_value_flag(flag));
        assert_eq!(found.first().map(String::as_str), Some(expected), "{flag}");
    }
    let routed =
        with_value_flag("variants: { a: 1, b: 2 }, off: a").replace("backend: a }]", "flag: f }]");
    assert_eq!(
        problems(&routed),
        ["f:5:18: routes[0].flag: flag `f` has no backends; \
          name one with `stable` and `canary`, or a `backend`"]
    );
}

/// A file with these flags, which begin in its fourth line.
fn with_flags(flags: &str) -> String {
    format!(
        "listeners: [{LISTENER}]\nbackends: {{ a: http://a, b: http://b }}\nflags:\n{flags}\
         routes: [{{ backend: a }}]\n"
    )
}

/// A flag that needs others.
fn needing(name: &str, requires: &str) -> String {
    format!("  {name}: {{ stable: a, canary: b, requires: [{requires}] }}\n")
}

#[test]
fn what_flags_need_of_each_other_ends_somewhere() {
    let sound = needing("f", "g, { flag: v, variant: off }")
        + &needing("g", "{ flag: v, variant: on }")
        + "  v: { variants: { on: true, off: false }, off: off }\n";
    let config = parse(&with_flags(&sound), &read_file).unwrap();
    let needed = |place: usize| {
        let requires = config.flags[place].flag.requires.iter();
        requires
            .map(|it| (it.flag.0, it.variant))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        needed(0),
        [(1, NeededVariant::NotOff), (2, NeededVariant::At(1))]
    );
    assert_eq!(needed(1), [(2, NeededVariant::At(0))]);

    for (flags, expected) in [
        (
            needing("f", "h"),
            "f:4:41: flags.f.requires[0]: no flag is named `h`; expected `f`",
        ),
        (
            needing("f", "{ flag: g, variant: on }") + &needing("g", ""),
            "f:4:61: flags.f.requires[0].variant: the flag has no variant `on`; \
             expected one of `stable`, `canary`",
        ),
        (
            needing("f", "f"),
            "f:4:41: flags.f.requires[0]: flags need each other in a circle: f -> f; remove one of them",
        ),
        (
            needing("f", "g") + &needing("g", "h") + &needing("h", "{ flag: g }"),
            "f:6:49: flags.h.requires[0].flag: flags need each other in a circle: g -> h -> g; \
             remove one of them",
        ),
        (
            needing("f", "g, { flag: g, variant: stable }") + &needing("g", ""),
            "f:4:52: flags.f.requires[1].flag: `g` is needed already; name each flag once",
        ),
    ] {
        assert_eq!(problems(&with_flags(&flags)), [expected], "{flags}");
    }
    let many = |count: usize| {
        let names: Vec<_> = (1..=count).map(|n| format!("g{n}")).collect();
        let others: String = names.iter().map(|name| needing(name, "")).collect();
        with_flags(&(needing("f", &names.join(", ")) + &others))
    };
    assert!(parse(&many(16), &read_file).is_ok());
    let found = problems(&many(17));
    assert!(
        found.len() == 1 && found[0].contains("more than 16 flags"),
        "{found:?}"
    );
}

#[test]
fn chains_of_flags_are_only_so_long() {
    let chain = |count: usize, is_backwards: bool| {
        let mut flags: Vec<_> = (1..count)
            .map(|n| needing(&format!("f{n}"), &format!("f{}", n + 1)))
            .collect();
        flags.push(needing(&format!("f{count}"), ""));
        if is_backwards {
            flags.reverse();
        }
        with_flags(&flags.concat())
    };
    for is_backwards in [false, true] {
        assert!(parse(&chain(16, is_backwards), &read_file).is_ok());
        let found = problems(&chain(17, is_backwards));
        let is_told = found[0].contains("a chain of more than 16 flags that need each other");
        assert!(found.len() == 1 && is_told, "{found:?}");
    }
}

#[test]
fn callers_are_counted_where_they_are_known_and_as_many_as_it_says() {
    let features = |text: &str| {
        let text = format!("{SMALLEST}\nidentity: [client_ip]\ncaller_features: {text}\n");
        parse(&text, &read_file).unwrap().caller_features.unwrap()
    };
    let usual = features("{}");
    assert_eq!(usual.callers.get(), 100_000);
    assert_eq!(usual.half_life, Duration::from_secs(3_600));
    let own = features("{ callers: 50, half_life: 2s }");
    assert_eq!((own.callers.get(), own.half_life.as_secs()), (50, 2));
    assert_eq!(parse(SMALLEST, &read_file).unwrap().caller_features, None);
    let reference = parse(REFERENCE, &read_file).unwrap();
    assert_eq!(
        reference.caller_features,
        Some(usual),
        "nothing but defaults"
    );

    let found = |text: &str| problems(&format!("{SMALLEST}\n{text}\n")).join("\n");
    for (text, problem) in [
        (
            "caller_features: {}",
            "say under `identity` where keys come from",
        ),
        (
            "caller_features: { callers: 0 }",
            "a whole number from 1 to 10000000",
        ),
        (
            "caller_features: { half_life: 500ms }",
            "write at least `1s`",
        ),
        (
            "caller_features: { half_live: 1h }",
            "did you mean `half_life`?",
        ),
        (
            "caller_features: true",
            "a map such as `{ callers: 100000, half_life: 1h }`",
        ),
    ] {
        let told = found(text);
        assert!(told.contains(problem), "{text}: {told}");
    }
}
