//! Ranges of addresses.

use super::*;

fn is_allocation(step: &Step) -> bool {
    step.verb == "POST" && step.boundary == Boundary::Seed && step.object.ends_with("/configmaps")
}

#[tokio::test(start_paused = true)]
async fn a_range_that_may_be_written_down_yet_is_given_to_nobody_else() {
    // The first allocation is written when nobody waits for it any more, and no other but the second is.
    let first_is_late = |before: u64| match before {
        0 => End::Late(Duration::from_secs(36)),
        1 => End::Done,
        _ => End::Refused(Refusal::Answered(503)),
    };
    let world = World::new(Settings::new(VERSION), Ending::of(is_allocation, first_is_late));
    let _operator = world.operator();
    world.create(cluster("first", "local", VERSION)).unwrap();
    sleep(Duration::from_secs(25)).await;
    world.create(cluster("second", "local", VERSION)).unwrap();
    for name in ["first", "second"] {
        until(&world, "Ready", async |w| is_ready(w, name)).await;
    }
    let address = |name: &str| world.get("DevCluster", name).unwrap()["status"]["endpoint"].clone();
    assert_ne!(address("first"), address("second"));
}

#[tokio::test(start_paused = true)]
async fn of_two_clusters_that_were_given_one_range_one_takes_another() {
    // Whoever asks for the first allocation has ended when it is written, and the next one gave the range to another cluster.
    let first_is_late = |before: u64| match before {
        0 => End::Late(Duration::from_secs(45)),
        _ => End::Done,
    };
    let world = World::new(Settings::new(VERSION), Ending::of(is_allocation, first_is_late));
    let asking = world.operator();
    world.create(cluster("first", "local", VERSION)).unwrap();
    sleep(Duration::from_secs(5)).await;
    asking.kill();
    world
        .change("DevCluster", "first", &json!({"paused": true}))
        .unwrap();
    world.create(cluster("second", "local", VERSION)).unwrap();
    let _next = world.operator();
    let range = |name: &str| {
        let found = world.get("ConfigMap", &format!("{name}-allocations"))?;
        let found: Value = serde_json::from_str(found["data"]["allocations.json"].as_str()?).ok()?;
        Some(found["nodeCIDR"].clone())
    };
    until(&world, "two of one range", async |_| {
        range("first").is_some_and(|first| Some(first) == range("second"))
    })
    .await;
    world
        .change("DevCluster", "first", &json!({"paused": false}))
        .unwrap();
    for name in ["first", "second"] {
        until(&world, "Ready", async |w| is_ready(w, name)).await;
    }
    assert_ne!(range("first"), range("second"));
}
