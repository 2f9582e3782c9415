//! Pools and their machines.

use super::*;

#[tokio::test(start_paused = true)]
async fn while_one_may_be_deleted_yet_no_other_is_deleted_in_its_place() {
    let deletions = |step: &Step| {
        step.verb == "DELETE" && step.boundary == Boundary::Seed && step.object.contains("/devmachines/")
    };
    let first_is_late = |before: u64| match before {
        0 => End::Late(Duration::from_mins(2)),
        _ => End::Done,
    };
    let ending = Ending::later(deletions, first_is_late);
    let world = World::new(Settings::new(VERSION), ending.clone());
    let _operator = world.operator();
    ready_with(&world, 3).await;
    let first = world.get("DevMachine", "demo-workers-0").unwrap();
    ending.begin();
    // The first worker is told to be not Ready when the deletion of the last one has not been answered, and would be the first to go.
    world.host().machines.set_isolated("default.demo-workers-0", true);
    sleep(Duration::from_secs(30)).await;
    world
        .change("NodePool", "demo-workers", &json!({"replicas": 2}))
        .unwrap();
    until(&world, "not Ready", async |w| {
        w.condition("DevMachine", "demo-workers-0", "Ready").as_deref() != Some("True")
    })
    .await;
    assert_eq!(ending.count(), 1);
    until(&world, "one less", async |w| w.all("DevMachine").len() == 3).await;
    sleep(Duration::from_mins(5)).await;
    let left = world.get("DevMachine", "demo-workers-0").unwrap();
    assert_eq!(left["metadata"]["uid"], first["metadata"]["uid"]);
    assert!(world.get("DevMachine", "demo-workers-1").is_some());
}
