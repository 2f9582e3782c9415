//! Somebody who writes into the cluster all the time, and knows what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use seedbed_tests::{Cases, Objects};

use super::lab::{CLUSTER, kubeconfig, name};

/// How often something is written. Each of them costs an emulated API server more than a real one.
const PAUSE: Duration = Duration::from_secs(1);
/// After how long an answer does not count any more.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);
const LABEL: &str = "seedbed.dev/written-in";
const VALUE: &str = "upgrade";

/// One that writes until it is stopped.
pub struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Written>,
}

/// What was written.
#[derive(Debug, Default)]
pub struct Written {
    /// Names of the objects that the API server said it has.
    pub acknowledged: Vec<String>,
    /// The longest time without such an answer.
    pub longest_gap: Duration,
}

impl Writer {
    /// Begins to write objects with that word in their names.
    pub async fn start(cases: &Cases, word: &'static str) -> Self {
        let kubeconfig = kubeconfig(cases, CLUSTER).await;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        // A thread of its own: what the case itself does is not to keep it waiting. It is in the same network.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let client = seedbed_tests::client(kubeconfig).await;
                write(&Api::default_namespaced(client), word, &stopped).await
            })
        });
        Self { stop, thread }
    }

    /// Stops it.
    pub fn stop(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

async fn write(api: &Api<ConfigMap>, word: &str, stopped: &AtomicBool) -> Written {
    let mut written = Written::default();
    let mut last = Instant::now();
    for number in 0.. {
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{word}-{number:05}");
        let object = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some([(LABEL.to_owned(), VALUE.to_owned())].into()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
        let params = PostParams::default();
        if let Ok(Ok(_)) = tokio::time::timeout(ANSWERED_WITHIN, api.create(&params, &object)).await {
            written.longest_gap = written.longest_gap.max(last.elapsed());
            last = Instant::now();
            written.acknowledged.push(name);
        }
        tokio::time::sleep(PAUSE).await;
    }
    written
}

/// Which of the acknowledged objects are not there.
pub async fn lost(objects: &Objects, written: &Written) -> Vec<String> {
    let found: std::collections::BTreeSet<String> = objects
        .list("ConfigMap", &format!("{LABEL}={VALUE}"))
        .await
        .iter()
        .map(name)
        .collect();
    written
        .acknowledged
        .iter()
        .filter(|written| !found.contains(*written))
        .cloned()
        .collect()
}
