//! Long lists come in parts, and the parts are the list.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where it cannot go on, in its helpers too"
)]

mod support;

use support::proxy::backends;
use support::{TestBackend, TestProxy};

#[test]
fn parts_of_a_list_are_the_list() {
    let [v1, v2] = ["v1", "v2"].map(TestBackend::start);
    let names = ["e", "a", "d", "b", "c"];
    let flag = |name: &str| {
        format!(
            "  {name}: {{ stable: v1, canary: v2, rollout: {{ revision: a, stages: [5%] }} }}\n"
        )
    };
    let config = backends(&[("v1", &v1), ("v2", &v2)])
        + "flags:\n"
        + &names.map(flag).concat()
        + "routes: [{ flag: a }]\n";
    let proxy = TestProxy::on_fast_disk("", &config);
    for list in ["flags", "rollouts"] {
        let ask = |query: &str| proxy.command("GET", &format!("/api/v1/{list}{query}"), "");
        let names_of = |query: &str| {
            let answer = ask(query).json();
            let entries = answer[list].as_array().unwrap().iter();
            let names = entries.map(|entry| entry["flag"].as_str().unwrap().to_owned());
            (
                names.collect::<Vec<_>>(),
                answer["next"].as_str().map(str::to_owned),
            )
        };
        let (all, next) = names_of("");
        assert_eq!(
            (all.as_slice(), next),
            (&names.map(str::to_owned)[..], None)
        );
        let (mut joined, mut next) = names_of("?limit=2");
        while let Some(after) = next {
            let (part, more) = names_of(&format!("?limit=2&after={after}"));
            assert!(!part.is_empty() && part.len() <= 2);
            joined.extend(part);
            next = more;
        }
        assert_eq!(joined, all);
        // A part that is full and the last one says so.
        assert_eq!(names_of("?limit=5").1, None);
        assert_eq!(names_of("?after=c"), (Vec::new(), None));
        for query in [
            "?limit=0",
            "?limit=1001",
            "?after=nobody",
            "?after=no!",
            "?before=a",
        ] {
            ask(query).problem(400);
        }
    }
}
