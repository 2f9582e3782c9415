//! The cluster of these tests, and what its guests are doing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::Kubeconfig;
use seedbed_tests::objects::{condition, told};
use seedbed_tests::{Cases, Objects, root_of_checkout, until};
use serde_json::{Value, json};

/// The cluster of the sample.
pub const CLUSTER: &str = "demo";
/// Its pool.
pub const POOL: &str = "demo-workers";
/// The machine of its control plane.
pub const CONTROL_PLANE: &str = "demo-cp-0";
/// The machine of its first worker.
pub const WORKER: &str = "demo-workers-0";

/// What a cluster, or a machine more, may take: an emulated one takes five minutes on an idle machine with two processors.
pub const CREATION: Duration = Duration::from_mins(30);
/// What pods and nodes may take that only have to start or go: a minute or two, and several times that on a host that others use, too.
pub const SOME_MINUTES: Duration = Duration::from_mins(25);

/// The sample that a person applies.
pub fn sample() -> PathBuf {
    root_of_checkout().join("config/samples/devcluster.yaml")
}

/// The seed's namespace of the sample.
pub fn objects(cases: &Cases) -> Objects {
    Objects::new(cases.client.clone(), "default")
}

/// The child cluster's own API.
pub async fn child(cases: &Cases, cluster: &str) -> Objects {
    let kubeconfig = kubeconfig(cases, cluster).await;
    Objects::new(seedbed_tests::client(kubeconfig).await, "default")
}

/// The kubeconfig that a person takes from the cluster's Secret.
pub async fn kubeconfig(cases: &Cases, cluster: &str) -> Kubeconfig {
    let secret = objects(cases)
        .get("Secret", &format!("{cluster}-kubeconfig"))
        .await;
    let bytes = STANDARD
        .decode(secret["data"]["value"].as_str().unwrap())
        .unwrap();
    Kubeconfig::from_yaml(&String::from_utf8(bytes).unwrap()).unwrap()
}

/// Waits until it is so. Meanwhile the machines' progress is shown; when the time is over, what every guest was doing is told.
pub async fn wait<T>(
    cases: &Cases,
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let seen = until(limit, async || {
        show(cases).await;
        look().await
    })
    .await;
    match seen {
        Ok(seen) => {
            say(what);
            seen
        }
        Err(found) => {
            let doing = doing(cases).await;
            panic!(
                "{what}: not so after {} s; found {found}\n{doing}",
                limit.as_secs()
            )
        }
    }
}

/// What each machine said last.
static SHOWN: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
/// When this program began to look.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A line with the time since the first one.
pub fn say(what: &str) {
    println!("  {:4} s  {what}", BEGAN.elapsed().as_secs());
}

/// One line for each machine that says something else than before.
async fn show(cases: &Cases) {
    for machine in objects(cases).list("DevMachine", "").await {
        let name = name(&machine);
        let Some(ready) = condition(&machine, "Ready") else {
            continue;
        };
        let line = if ready.status == "True" {
            "Ready".to_owned()
        } else {
            format!("{}: {}", ready.reason, ready.message)
        };
        // What kubeadm failed with stands at the end.
        let shown = if ready.reason == "BootstrapFailed" {
            line.len()
        } else {
            140
        };
        let line: String = line.chars().take(shown).collect();
        let before = SHOWN.lock().unwrap().insert(name.clone(), line.clone());
        if before.as_ref() != Some(&line) {
            say(&format!("{name}: {line}"));
        }
    }
}

/// What every object of the cluster says, and the end of every guest's log.
async fn doing(cases: &Cases) -> String {
    let objects = objects(cases);
    let mut lines = Vec::new();
    for kind in [
        "HypervisorHost",
        "KubernetesRelease",
        "DevCluster",
        "NodePool",
        "DevMachine",
    ] {
        for object in objects.list(kind, "").await {
            lines.push(format!("{kind} {}: {}", name(&object), told(&object)));
            if kind == "DevMachine" {
                lines.push(format!("  bootstrap: {}", object["status"]["bootstrap"]));
                lines.push(log(cases, &object).await);
            }
        }
    }
    lines.join("\n")
}

/// The last lines of the job in a machine's guest, through its agent.
async fn log(cases: &Cases, machine: &Value) -> String {
    let Some(token) = machine["status"]["bootstrap"]["token"].as_str() else {
        return "  no job was begun".to_owned();
    };
    let file = format!("/var/lib/seedbed/jobs/{token}/log");
    match in_guest(cases, &name(machine), "/usr/bin/tail", &["-n", "25", &file]).await {
        Ok(text) => text
            .lines()
            .map(|line| format!("  | {line}"))
            .collect::<Vec<_>>()
            .join("\n"),
        Err(error) => format!("  its log could not be read: {error}"),
    }
}

/// What a program in a machine's guest wrote, through its agent.
pub async fn in_guest(
    cases: &Cases,
    machine: &str,
    program: &str,
    arguments: &[&str],
) -> Result<String, String> {
    let domain = format!("default.{machine}");
    let ask = |command: Value| {
        let said = cases.seed.virsh(&[
            "qemu-agent-command",
            "--timeout",
            "20",
            &domain,
            &command.to_string(),
        ])?;
        serde_json::from_str::<Value>(&said).map_err(|error| error.to_string())
    };
    let started = ask(json!({
        "execute": "guest-exec",
        "arguments": {"path": program, "arg": arguments, "capture-output": true},
    }))?;
    let pid = started["return"]["pid"].clone();
    until(Duration::from_mins(1), async || {
        let status = ask(json!({"execute": "guest-exec-status", "arguments": {"pid": pid}}))?;
        if status["return"]["exited"] != true {
            return Err("it has not ended".to_owned());
        }
        let data = status["return"]["out-data"].as_str().unwrap_or_default();
        let bytes = STANDARD.decode(data).map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    })
    .await
}

/// kubeadm's job ran once for each attempt that the machine tells of, and another one only after one that had failed.
pub async fn one_job_for_each_attempt(cases: &Cases, machine: &str) {
    const RESULTS: &str =
        "cd /var/lib/seedbed/jobs && for job in $(ls -tr); do cat $job/result || echo no result; done";
    let said = in_guest(cases, machine, "/bin/sh", &["-c", RESULTS])
        .await
        .unwrap();
    let results: Vec<&str> = said.lines().collect();
    let status = &objects(cases).get("DevMachine", machine).await["status"];
    assert_eq!(
        status["bootstrap"]["attempt"],
        results.len(),
        "{machine}: its jobs ended with {results:?}"
    );
    let (last, failed) = results.split_last().unwrap();
    assert_eq!(*last, "0", "{machine}: its jobs ended with {results:?}");
    assert!(
        failed
            .iter()
            .all(|result| result.parse::<u8>().is_ok_and(|code| code != 0)),
        "{machine}: an attempt follows one that had not failed; its jobs ended with {results:?}"
    );
}

/// An object's name.
pub fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Waits until an object is Ready for its present spec.
pub async fn is_ready(cases: &Cases, limit: Duration, kind: &str, name: &str) {
    let objects = objects(cases);
    wait(cases, limit, &format!("{kind} {name} is Ready"), async || {
        let object = objects.find(kind, name).await.ok_or("nothing of that name")?;
        let ready = condition(&object, "Ready").filter(|c| c.status == "True");
        let current =
            ready.is_some_and(|c| Some(c.observed_generation) == object["metadata"]["generation"].as_i64());
        if current { Ok(()) } else { Err(told(&object)) }
    })
    .await;
}

/// Domains on the host, running or not.
pub fn domains(cases: &Cases) -> Vec<String> {
    let text = cases.seed.virsh(&["list", "--all", "--name"]).unwrap();
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}
