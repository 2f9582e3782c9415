//! Keys of clusters.

use super::*;

#[tokio::test(start_paused = true)]
async fn keys_that_are_written_late_are_those_that_the_cluster_has() {
    // The second key is written too late to be of the first try. That of the second try begins with the first key, and is carried
    // out long after the third try made all of them.
    let secrets = |step: &Step| {
        step.verb == "POST" && step.boundary == Boundary::Seed && step.object.ends_with("/secrets")
    };
    let late = |before: u64| match before {
        1 => End::Late(Duration::from_secs(5)),
        2 => End::Late(Duration::from_mins(20)),
        _ => End::Done,
    };
    let world = World::new(Settings::new(VERSION), Ending::of(secrets, late));
    let _operator = world.operator();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    until(&world, "Ready", async |w| is_ready(w, "demo")).await;
    let authority = |world: &World| {
        world
            .get("Secret", "demo-ca")
            .map(|secret| secret["data"].clone())
    };
    let trusted = authority(&world).unwrap();
    world.delete("Secret", "demo-ca").unwrap();
    until(&world, "the late one is there", async |w| authority(w).is_some()).await;
    assert_eq!(authority(&world).unwrap(), trusted);
    sleep(Duration::from_mins(30)).await;
    assert!(is_ready(&world, "demo"), "{}", world.told());
}
