//! Specs that are changed while something is under way.

use super::*;

/// The first deletion of a machine is not done, and nobody hears of it.
struct DeletionHangs(AtomicBool);

impl Director for DeletionHangs {
    fn fate(&self, step: &Step) -> Fate {
        let is_it = step.verb == "DELETE" && step.object.contains("/devmachines/");
        if is_it && !self.0.swap(true, Ordering::SeqCst) {
            return Fate {
                end: End::Hangs,
                ..Fate::default()
            };
        }
        Fate::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_came_up_before_it_could_be_replaced_is_replaced_all_the_same() {
    let director = Arc::new(DeletionHangs(AtomicBool::new(false)));
    let world = World::new(Settings::new(VERSION), director.clone());
    let _operator = world.operator();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    until(&world, "its machine runs", async |w| w.boots() == 1).await;
    let machine = json!({"controlPlane": {"machine": {"memory": "3Gi"}}});
    world.change("DevCluster", "demo", &machine).unwrap();
    until(&world, "Ready", async |w| is_ready(w, "demo")).await;
    assert!(director.0.load(Ordering::SeqCst));
    let found = &world.inventory().await.domains[0];
    assert_eq!(found.memory_bytes, 3 << 30, "{found:?}");
}
