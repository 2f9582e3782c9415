//! Upgrades of clusters.

use seedbed_simulation::objects::{carried_out, release};

use super::*;

/// A cluster with workers, and an upgrade of it that has just been filed.
async fn begun(world: &World, workers: u64) {
    world.create(release(NEXT)).unwrap();
    ready_with(world, workers).await;
    sleep(Duration::from_mins(2)).await;
    world.create(carried_out("next", "demo", NEXT)).unwrap();
}

async fn is_done(world: &World) {
    until(world, "done", async |w| phase(w) == "Done").await;
}

fn phase(world: &World) -> String {
    let upgrade = world.get("ClusterUpgrade", "next").unwrap();
    upgrade["status"]["phase"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_opened_again_is_not_closed_by_a_call_that_comes_late() {
    // The first write to the node is done when nobody waits for it any more.
    let closing = |step: &Step| step.verb == "PATCH" && step.object.ends_with("/nodes/demo-workers-0");
    let director = Ending::later(closing, |before| match before {
        0 => End::Late(Duration::from_mins(3)),
        _ => End::Done,
    });
    let world = World::new(Settings::new(VERSION), director.clone());
    let _operator = world.operator();
    begun(&world, 1).await;
    director.begin();
    is_done(&world).await;
    assert!(director.count() > 0);
    sleep(Duration::from_mins(10)).await;
    let node = with_nodes(&world, |nodes, kind| {
        nodes.get(kind, "", "demo-workers-0").cloned().unwrap()
    });
    assert!(node["spec"]["unschedulable"].is_null(), "{}", node["spec"]);
}

#[tokio::test(start_paused = true)]
async fn workers_whose_statuses_are_lost_are_upgraded_all_the_same() {
    let world = world();
    let _operator = world.operator();
    begun(&world, 3).await;
    until(&world, "kubelets are replaced", async |w| phase(w) == "Nodes").await;
    for machine in world.all("DevMachine") {
        let name = machine["metadata"]["name"].as_str().unwrap();
        world.lose_status("DevMachine", name).unwrap();
    }
    is_done(&world).await;
    let found = world.host().machines.kubelets(address(&world));
    assert!(found.iter().all(|(_, kubelet)| kubelet == NEXT), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_written_when_its_upgrade_has_ended_does_not_hold_the_turn() {
    let world = world();
    let _operator = world.operator();
    begun(&world, 1).await;
    let is_there = async |w: &World| w.get("ConfigMap", "demo-upgrade").is_some();
    until(&world, "begun", is_there).await;
    let journal = world.get("ConfigMap", "demo-upgrade").unwrap();
    world
        .change("ClusterUpgrade", "next", &json!({"cancel": true}))
        .unwrap();
    until(&world, "cancelled", async |w| phase(w) == "Cancelled").await;
    until(&world, "the turn is given back", async |w| !is_there(w).await).await;
    // As by a request that is carried out long after it was sent.
    world.create(made_again(journal)).unwrap();
    world.create(carried_out("second", "demo", NEXT)).unwrap();
    until(&world, "done", async |w| {
        w.get("ClusterUpgrade", "second").unwrap()["status"]["phase"] == "Done"
    })
    .await;
    until(&world, "the turn is given back", async |w| !is_there(w).await).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_upgraded_and_is_not_ready_is_not_closed_again() {
    let world = world();
    let _operator = world.operator();
    begun(&world, 3).await;
    let node = |world: &World| {
        with_nodes(world, |nodes, kind| {
            nodes.get(kind, "", "demo-workers-0").cloned().unwrap()
        })
    };
    let is_closed = |node: &Value| node["spec"]["unschedulable"] == true;
    until(&world, "its kubelet is replaced", async |w| {
        phase(w) == "Nodes" && {
            let node = node(w);
            node["status"]["nodeInfo"]["kubeletVersion"] == NEXT && !is_closed(&node)
        }
    })
    .await;
    let isolate = |isolated| {
        let machines = &world.host().machines;
        machines.set_isolated("default.demo-workers-0", isolated);
    };
    isolate(true);
    // There is nothing to make room for.
    for _ in 0..300 {
        assert!(!is_closed(&node(&world)), "{}", world.told());
        sleep(Duration::from_secs(1)).await;
    }
    isolate(false);
    is_done(&world).await;
    assert!(!is_closed(&node(&world)), "{}", world.told());
}

/// As on a seed that is a kube-apiserver alone.
#[tokio::test(start_paused = true)]
async fn a_cluster_takes_the_upgrades_that_it_made_along_and_leaves_those_of_persons() {
    let settings = Settings {
        collects_garbage: false,
        ..Settings::new(VERSION)
    };
    let world = World::new(settings, Arc::new(Undisturbed));
    let _operator = world.operator();
    world.create(release(NEXT)).unwrap();
    // The name of the first one's upgrade is free for that of the second.
    for by_a_person in [None, Some("of-a-person")] {
        ready_with(&world, 1).await;
        world
            .change("DevCluster", "demo", &json!({"version": NEXT}))
            .unwrap();
        let made = format!("demo-{NEXT}");
        until(&world, "upgraded", async |w| {
            w.get("ClusterUpgrade", &made)
                .is_some_and(|upgrade| upgrade["status"]["phase"] == "Done")
        })
        .await;
        if let Some(name) = by_a_person {
            world.create(carried_out(name, "demo", NEXT)).unwrap();
        }
        for (kind, name) in [("NodePool", "demo-workers"), ("DevCluster", "demo")] {
            world.delete(kind, name).unwrap();
        }
        until(&world, "gone", async |w| {
            w.all("DevCluster").is_empty() && w.all("NodePool").is_empty()
        })
        .await;
        let left = world.all("ClusterUpgrade");
        let left: Vec<_> = left
            .iter()
            .map(|upgrade| upgrade["metadata"]["name"].as_str())
            .collect();
        assert_eq!(left, Vec::from_iter(by_a_person.map(Some)));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_in_a_control_plane_that_somebody_removes() {
    let world = world();
    let _operator = world.operator();
    begun(&world, 1).await;
    until(&world, "under way", async |w| phase(w) == "Snapshot").await;
    // It stays for as long as the cluster cannot be asked for its node.
    world.set_cut(address(&world), true);
    world.delete("DevMachine", "demo-cp-0").unwrap();
    sleep(Duration::from_secs(1)).await;
    let jobs = world.host().machines.begun();
    sleep(Duration::from_mins(2)).await;
    assert!(world.get("DevMachine", "demo-cp-0").is_some(), "it is gone");
    assert_eq!(world.host().machines.begun(), jobs, "{}", world.told());
}
