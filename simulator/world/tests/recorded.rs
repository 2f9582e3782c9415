//! A simulated host behaves as a real one did: the same is done on it that was recorded with libvirt and QEMU, and what it answers, in
//! which order and with which words, is compared.
//!
//! A recording is what the operator logs under `seedbed_guest::calls`: a line for each call to the host, and for each event. How often
//! something is asked, and how long it takes, differs: what is compared is, for each domain, network and volume, which questions and
//! answers there were, in the order in which each of them came first.
//!
//! To record: `RUST_LOG=info,kube_client=off,kube_runtime=warn,seedbed_guest::calls=trace make up`; once the sample is Ready and two minutes
//! went by, delete its pool and its cluster; then take the lines of JSON out of the operator's log:
//! `sed -nE 's/^.* TRACE .*(\{"(answer|asked|call|event)".*\})$/\1/p' | awk '!seen[$0]++'`.

// A helper of a test fails the test that uses it, and says what it saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "recorded/behaviour.rs"]
mod behaviour;
#[path = "recorded/heard.rs"]
mod heard;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use behaviour::{Behaviour, Meant};
use seedbed_simulation::objects::{cluster, pool};
use seedbed_simulation::{Settings, Undisturbed, World};

const VERSION: &str = "v1.35.4";

/// Where the simulated host is meant to behave otherwise.
const MEANT: &[Meant] = &[
    Meant {
        line: "event HostConnected",
        reason: "a simulated host is connected from the start",
    },
    Meant {
        line: r#"network -> {"active":false,"bridge":true,"ours":true,"range":true,"reservations":true}"#,
        reason: "libvirt defines a network before it starts it, and a look may come between",
    },
    Meant {
        line: r#"reserve_address -> "done""#,
        reason: "whether an address is allotted before the network is made is a matter of moments",
    },
    Meant {
        line: r#"volume -> {"complete":false}"#,
        reason: "an upload takes no time on a simulated host",
    },
    Meant {
        line: r#"agent {"execute":"guest-exec-status","what":"start"} -> {"errors":false,"exitcode":null,"exited":false,"output":false,"signal":null}"#,
        reason: "commands that end at once have ended when they are first asked for",
    },
];

/// The sample is made and, once it is Ready, deleted; things in machines take so many times as long as by default.
async fn sample(times: u32) {
    let mut settings = Settings::new(VERSION);
    let timing = &mut settings.timing;
    for time in [
        &mut timing.boot,
        &mut timing.api_server,
        &mut timing.init,
        &mut timing.join,
    ] {
        *time *= times;
    }
    let world = World::new(settings, Arc::new(Undisturbed));
    let operator = world.operator();
    world.create(cluster("demo", "local", VERSION)).unwrap();
    world.create(pool("demo-workers", "demo", 1)).unwrap();
    let limit = Duration::from_mins(10);
    let ready = world.within(limit, async |world| {
        let of = |kind, name| world.condition(kind, name, "Ready").as_deref() == Some("True");
        of("DevCluster", "demo") && of("NodePool", "demo-workers")
    });
    assert!(ready.await, "{}", world.told());
    tokio::time::sleep(Duration::from_mins(2)).await;
    world.delete("NodePool", "demo-workers").unwrap();
    world.delete("DevCluster", "demo").unwrap();
    let gone = world.within(limit, async |world| world.all("DevCluster").is_empty());
    assert!(gone.await, "{}", world.told());
    drop(operator);
}

#[test]
fn how_long_things_take_makes_no_difference() {
    let [fast, slow] = [1, 7].map(|times| Behaviour::read(&heard::during(sample(times))));
    assert!(!fast.is_empty());
    let differences = fast.differences(&slow, &[]);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn a_simulated_host_behaves_as_the_one_that_was_recorded() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces/sample.jsonl");
    let recorded = std::fs::read_to_string(&file).unwrap();
    let simulated = heard::during(sample(1));
    let (recorded, simulated) = (Behaviour::read(&recorded), Behaviour::read(&simulated));
    assert!(!recorded.is_empty(), "{}: it has no calls", file.display());
    let differences = recorded.differences(&simulated, MEANT);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
