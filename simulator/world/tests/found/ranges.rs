//! Ranges of addresses.

use super::*;

/// The first allocation that is written is written when nobody waits for it any more, and no other but the second is.
struct FirstIsLate(AtomicU64);

impl Director for FirstIsLate {
    fn fate(&self, step: &Step) -> Fate {
        if step.verb != "POST" || step.boundary != Boundary::Seed || !step.object.ends_with("/configmaps") {
            return Fate::default();
        }
        let end = match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => End::Late(Duration::from_secs(36)),
            1 => End::Done,
            _ => End::Refused(Refusal::Answered(503)),
        };
        Fate {
            end,
            ..Fate::default()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_range_that_may_be_written_down_yet_is_given_to_nobody_else() {
    let world = World::new(Settings::new(VERSION), Arc::new(FirstIsLate(AtomicU64::new(0))));
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
