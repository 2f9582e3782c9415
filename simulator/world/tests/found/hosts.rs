//! Hosts that give no answer.

use std::collections::BTreeMap;

use super::*;

/// A world of the host `local` and so many others.
fn with_others(count: u8, director: Arc<dyn Director>) -> World {
    let mut settings = Settings::new(VERSION);
    let others = (1..=count).map(|number| (format!("other-{number}"), format!("10.{}.0.0/16", 64 + number)));
    settings.hosts.extend(others.collect::<BTreeMap<_, _>>());
    World::new(settings, director)
}

/// The other hosts are silent from some moment on, and calls to `local` and what is written are counted from then.
#[derive(Default)]
struct Silence {
    begun: AtomicBool,
    calls: AtomicU64,
    writes: AtomicU64,
}

impl Director for Silence {
    fn fate(&self, step: &Step) -> Fate {
        let mut fate = Fate::default();
        if self.begun.load(Ordering::SeqCst) {
            match &step.boundary {
                Boundary::Host(name) if name != "local" => fate.end = End::Hangs,
                Boundary::Host(_) if step.object.starts_with("default.") => {
                    self.calls.fetch_add(1, Ordering::SeqCst);
                }
                // A step that fails is told every ten minutes.
                Boundary::Seed if step.changes && !step.object.ends_with("/events") => {
                    self.writes.fetch_add(1, Ordering::SeqCst);
                }
                _ => {}
            }
        }
        fate
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_goes_silent_gives_no_work_with_clusters_on_others() {
    let silence = Arc::new(Silence::default());
    let world = with_others(1, silence.clone());
    let _operator = world.operator();
    ready_with(&world, 1).await;
    sleep(Duration::from_mins(1)).await;
    silence.begun.store(true, Ordering::SeqCst);
    until(&world, "told", async |w| {
        w.condition("KubernetesRelease", VERSION, "Ready").as_deref() == Some("Unknown")
    })
    .await;
    sleep(Duration::from_mins(1)).await;
    assert_eq!(silence.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn many_silent_hosts_hold_up_a_release_on_another_no_longer_than_one_does() {
    let mut took = Vec::new();
    for others in [1, 4] {
        let silence = Arc::new(Silence::default());
        silence.begun.store(true, Ordering::SeqCst);
        let world = with_others(others, silence);
        let begun = world.elapsed();
        let _operator = world.operator();
        until(&world, "on the host", async |w| {
            let release = w.get("KubernetesRelease", VERSION).unwrap();
            let hosts = release["status"]["hosts"].as_array();
            hosts.is_some_and(|hosts| {
                hosts
                    .iter()
                    .any(|host| host["name"] == "local" && host["present"] == true)
            })
        })
        .await;
        took.push(world.elapsed().saturating_sub(begun).as_secs());
    }
    assert!(took[1] <= took[0] + 2, "{took:?} s");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_again_and_again_while_a_host_is_silent() {
    let silence = Arc::new(Silence::default());
    let world = with_others(1, silence.clone());
    let _operator = world.operator();
    for number in 0..6 {
        world
            .create(cluster(&format!("demo-{number}"), "other-1", VERSION))
            .unwrap();
    }
    until(&world, "Ready", async |w| {
        (0..6).all(|number| is_ready(w, &format!("demo-{number}")))
    })
    .await;
    silence.begun.store(true, Ordering::SeqCst);
    // Until each has been looked at.
    sleep(Duration::from_mins(10)).await;
    let before = silence.writes.load(Ordering::SeqCst);
    sleep(Duration::from_mins(10)).await;
    assert_eq!(silence.writes.load(Ordering::SeqCst), before);
    let told = world.condition("DevCluster", "demo-0", "ControlPlaneReady");
    assert_eq!(told.as_deref(), Some("Unknown"));
}

/// What lasts, and nobody mends.
type Disturbance = (&'static str, fn(&World));

const LASTING: [Disturbance; 8] = [
    ("connection lost", |w| w.set_connection("local", true)),
    ("the cluster's API cut off", |w| w.set_cut(address(w), true)),
    ("a worker suspended", |w| {
        w.host().simulated.set_suspended("default.demo-workers-0", true);
    }),
    ("the control plane suspended", |w| {
        w.host().simulated.set_suspended("default.demo-cp-0", true);
    }),
    ("the keys lost", |w| drop(w.delete("Secret", "demo-ca"))),
    ("the pool of disks full", |w| {
        w.host().simulated.set_pool_full(true);
        w.change("NodePool", "demo-workers", &json!({"replicas": 3}))
            .unwrap();
    }),
    ("more workers than fit", |w| {
        drop(w.change("NodePool", "demo-workers", &json!({"replicas": 90})));
    }),
    ("an unknown version", |w| {
        drop(w.change("DevCluster", "demo", &json!({"version": "v1.36.9"})));
    }),
];

#[tokio::test(start_paused = true)]
async fn nothing_is_written_again_and_again_while_something_is_wrong() {
    let mut wrong = Vec::new();
    for (what, disturb) in LASTING {
        let silence = Arc::new(Silence::default());
        let settings = Settings {
            memory_bytes: 32 << 30,
            ..Settings::new(VERSION)
        };
        let world = World::new(settings, silence.clone());
        let _operator = world.operator();
        ready_with(&world, 2).await;
        silence.begun.store(true, Ordering::SeqCst);
        disturb(&world);
        sleep(Duration::from_mins(30)).await;
        assert!(!is_ready(&world, "demo"), "{what}: {}", world.told());
        let before = silence.writes.load(Ordering::SeqCst);
        sleep(Duration::from_mins(30)).await;
        let writes = silence.writes.load(Ordering::SeqCst) - before;
        if writes > 0 {
            wrong.push(format!("{what}: {writes} writes"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn workers_that_cannot_be_seen_are_unknown_and_their_nodes_are_told_of() {
    let world = world();
    let _operator = world.operator();
    ready_with(&world, 2).await;
    let of_node = |w: &World| reason(w, "DevMachine", "demo-workers-0", "NodeReady");
    world.set_connection("local", true);
    until(&world, "unknown", async |w| {
        w.condition("NodePool", "demo-workers", "Ready").as_deref() == Some("Unknown")
    })
    .await;
    assert_eq!(
        reason(&world, "NodePool", "demo-workers", "Ready"),
        "HostUnreachable"
    );
    assert_eq!(of_node(&world), "NodeReady");
    world.set_connection("local", false);
    until(&world, "Ready", async |w| is_ready(w, "demo")).await;

    world
        .host()
        .simulated
        .set_suspended("default.demo-workers-0", true);
    until(&world, "told", async |w| {
        reason(w, "NodePool", "demo-workers", "Ready") == "WorkersNotReady"
    })
    .await;
    assert_eq!(
        reason(&world, "DevMachine", "demo-workers-0", "Ready"),
        "NotRunning"
    );
    assert_eq!(of_node(&world), "NodeReady", "as the cluster's API still has it");
}
