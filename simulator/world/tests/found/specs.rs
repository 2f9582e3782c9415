//! Specs that are changed while something is under way.

use seedbed_simulation::objects::{carried_out, release};

use super::*;

/// The first deletion of a machine is not done, and nobody hears of it.
fn deletion_hangs() -> Arc<Ending> {
    let deletions = |step: &Step| step.verb == "DELETE" && step.object.contains("/devmachines/");
    Ending::of(deletions, |before| match before {
        0 => End::Hangs,
        _ => End::Done,
    })
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_came_up_before_it_could_be_replaced_is_replaced_all_the_same() {
    let director = deletion_hangs();
    let world = World::new(Settings::new(VERSION), director.clone());
    let _operator = world.operator();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    until(&world, "its machine runs", async |w| w.boots() == 1).await;
    let machine = json!({"controlPlane": {"machine": {"memory": "3Gi"}}});
    world.change("DevCluster", "demo", &machine).unwrap();
    until(&world, "Ready", async |w| is_ready(w, "demo")).await;
    assert!(director.count() > 0);
    let found = &world.inventory().await.domains[0];
    assert_eq!(found.memory_bytes, 3 << 30, "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_is_replaced_by_one_of_the_version_of_an_upgrade_leaves_it_nothing_to_do() {
    let director = deletion_hangs();
    let world = World::new(Settings::new(VERSION), director.clone());
    let _operator = world.operator();
    world.create(release(NEXT)).unwrap();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    world.create(pool("demo-workers", "demo", 1)).unwrap();
    world.create(carried_out("next", "demo", NEXT)).unwrap();
    until(&world, "its machine runs", async |w| w.boots() > 0).await;
    world
        .change("DevCluster", "demo", &json!({"version": NEXT}))
        .unwrap();
    until(&world, "Ready", async |w| {
        is_ready(w, "demo") && w.condition("NodePool", "demo-workers", "Ready").as_deref() == Some("True")
    })
    .await;
    assert!(director.count() > 0);
    sleep(Duration::from_mins(10)).await;
    assert_eq!(
        world.condition("ClusterUpgrade", "next", "Succeeded").as_deref(),
        Some("True")
    );
    let found = world.host().machines.kubelets(address(&world));
    assert!(found.iter().all(|(_, kubelet)| kubelet == NEXT), "{found:?}");
}
