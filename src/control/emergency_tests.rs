//! The red button on a disk that is late: nobody gets canary any more before anything is written.

use std::sync::Arc;
use std::time::Duration;

use crate::control::fixtures::{configuration, operator, planned, routing, seconds, started};
use crate::control::installation::NewConfiguration;
use crate::domain::flag::{Flag, FlagWeights};
use crate::domain::rollout::{PlanDraft, RolloutPlan, RolloutPolicy};
use crate::domain::testing::{self, name, percent};
use crate::domain::weight::Weight;

/// `orders` with a rollout that is taken back stage by stage, and then `checkout` with 20 % set by hand.
fn two_flags() -> NewConfiguration {
    let mut planned = planned("2", &[10, 50]);
    let plan = RolloutPlan::new(PlanDraft {
        flag: name("orders"),
        release: planned.plan.release().clone(),
        stages: planned.plan.stages().to_vec(),
        watch: Duration::from_secs(5),
        final_control: percent(1),
        policy: RolloutPolicy {
            rollback_step: Some(Duration::from_secs(60)),
            ..RolloutPolicy::PLAIN
        },
    });
    planned.plan = plan.unwrap();
    let mut routing = routing();
    routing.flags.push(Arc::new(Flag {
        weights: FlagWeights {
            default: percent(20),
            ..FlagWeights::default()
        },
        ..testing::flag("checkout")
    }));
    NewConfiguration {
        routing,
        ..configuration(planned)
    }
}

#[tokio::test(start_paused = true)]
async fn the_red_button_stops_all_before_the_first_is_written_down() {
    let world = started(two_flags(), &Arc::default(), &Arc::default()).unwrap();
    seconds(1).await;
    let full = crate::domain::rollout::Command::Promote { full: false };
    let promoted = world.commands.send("orders", full, operator(""));
    assert_eq!(promoted.await.unwrap().phase, "progressing");
    assert_eq!(world.weight(), percent(50));

    world.events.lock().unwrap().clear();
    let taken = world.commands.take_back_all(operator("all is down")).await;
    let taken = taken.unwrap().flags;
    let told: Vec<_> = taken
        .iter()
        .map(|flag| {
            (
                flag.flag.as_str(),
                flag.before.default_percent,
                flag.is_written,
            )
        })
        .collect();
    assert_eq!(told, [("orders", 50.0, true), ("checkout", 20.0, true)]);
    let events = world.events.lock().unwrap().join("\n");
    let saved: Vec<_> = events.lines().filter(|it| it.starts_with("save")).collect();
    assert_eq!(
        saved,
        [
            "save rolling_back while 0% and 0% is published",
            "save rolled_back while 0% and 0% is published"
        ]
    );
    let flags = &world.subscriber.load().routing.flags;
    assert!(
        flags
            .iter()
            .all(|flag| flag.weights.default == Weight::ZERO)
    );
    assert_eq!(world.phase(), "rolled_back");
}
