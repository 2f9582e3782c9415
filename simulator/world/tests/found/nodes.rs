//! Nodes whose machines are gone.

use super::*;

/// A node that is not Ready, of a machine of ours or not.
fn make_node(world: &World, name: &str, provider_id: Option<&str>) {
    let now = world.now();
    let node = json!({"metadata": {"name": name}, "spec": {"providerID": provider_id}});
    with_nodes(world, |nodes, kind| nodes.create(kind, "", node, now).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_machine_went_while_its_api_was_out_of_reach_goes_afterwards() {
    let world = world();
    let _operator = world.operator();
    ready_with(&world, 2).await;
    let address = address(&world);
    world.set_cut(address, true);
    world
        .change("NodePool", "demo-workers", &json!({"replicas": 1}))
        .unwrap();
    until(&world, "gone", async |w| w.all("DevMachine").len() == 2).await;
    assert!(has_node(&world, "demo-workers-1"), "nobody could remove it");
    world.set_cut(address, false);
    until(&world, "removed", async |w| !has_node(w, "demo-workers-1")).await;
    sleep(Duration::from_mins(10)).await;
    assert_eq!(in_child(&world, "nodes"), ["demo-cp-0", "demo-workers-0"]);
}

#[tokio::test(start_paused = true)]
async fn one_whose_machine_went_while_the_control_plane_was_suspended_goes_afterwards() {
    let world = world();
    let _operator = world.operator();
    ready_with(&world, 2).await;
    let control_plane = |suspended| {
        let host = world.host();
        host.simulated.set_suspended("default.demo-cp-0", suspended);
    };
    control_plane(true);
    world
        .change("NodePool", "demo-workers", &json!({"replicas": 1}))
        .unwrap();
    until(&world, "gone", async |w| w.all("DevMachine").len() == 2).await;
    sleep(Duration::from_mins(5)).await;
    control_plane(false);
    until(&world, "removed", async |w| !has_node(w, "demo-workers-1")).await;
}

#[tokio::test(start_paused = true)]
async fn one_whose_machine_was_suspended_is_not_ready_until_it_goes_on() {
    let world = world();
    let _operator = world.operator();
    ready_with(&world, 1).await;
    let suspended = |suspended| {
        let host = world.host();
        host.simulated.set_suspended("default.demo-workers-0", suspended);
    };
    let is = async |w: &World, status: &str| {
        with_nodes(w, |nodes, kind| {
            nodes.get(kind, "", "demo-workers-0").unwrap()["status"]["conditions"][0]["status"] == status
        })
    };
    suspended(true);
    until(&world, "missed", async |w| is(w, "Unknown").await).await;
    suspended(false);
    until(&world, "heard of again", async |w| is(w, "True").await).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_person_had_join_is_left_alone() {
    let world = world();
    let _operator = world.operator();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    until(&world, "Ready", async |w| is_ready(w, "demo")).await;
    let uuid = "0f9c0a5e-0000-4000-8000-000000000001";
    make_node(&world, "metal", None);
    make_node(
        &world,
        "of-another-host",
        Some(&format!("seedbed://other/{uuid}")),
    );
    make_node(&world, "ours", Some(&format!("seedbed://local/{uuid}")));
    until(&world, "removed", async |w| !has_node(w, "ours")).await;
    sleep(Duration::from_mins(10)).await;
    assert_eq!(
        in_child(&world, "nodes"),
        ["demo-cp-0", "metal", "of-another-host"]
    );
}
