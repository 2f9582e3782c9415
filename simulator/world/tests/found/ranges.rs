//! Ranges of addresses.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_range_that_may_be_written_down_yet_is_given_to_nobody_else() {
    // The first allocation is written when nobody waits for it any more, and no other but the second is.
    let allocations = |step: &Step| {
        step.verb == "POST" && step.boundary == Boundary::Seed && step.object.ends_with("/configmaps")
    };
    let first_is_late = |before: u64| match before {
        0 => End::Late(Duration::from_secs(36)),
        1 => End::Done,
        _ => End::Refused(Refusal::Answered(503)),
    };
    let world = World::new(Settings::new(VERSION), Ending::of(allocations, first_is_late));
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
