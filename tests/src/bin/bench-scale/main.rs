//! Measures an operator with many clusters on simulated hosts: real etcd and kube-apiserver, the release build of the operator, the
//! simulator in a process of its own. Writes `scale.json`; what it holds is said in docs/scale.md.

// A measurement ends where something is not as it should be, and says what.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a program for measurements"
)]

mod clusters;
mod floor;
mod plot;
mod processes;
mod requests;
mod setting;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use clusters::percentile;
use setting::{Setting, Sizes};

/// How long the operator is watched while nothing changes.
const IDLE: Duration = Duration::from_secs(90);
/// How long nothing must have been written before: a host's figures follow within its next look, a minute later.
const QUIET: Duration = Duration::from_secs(70);
/// How many clusters are made one by one while the others are there.
const SINGLES: usize = 60;
/// Between two of those.
const SINGLES_PAUSE: Duration = Duration::from_millis(500);

fn number(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .filter(|text| !text.is_empty())
        .map_or(default, |text| {
            text.parse()
                .unwrap_or_else(|_| panic!("{name}={text}: expected a number"))
        })
}

fn say(message: &str) {
    eprintln!("bench-scale: {message}");
}

fn main() {
    let out = PathBuf::from(std::env::args().nth(1).expect("usage: bench-scale FOLDER [PLOT]"));
    if let Some(plot) = std::env::args().nth(2) {
        plot::draw(&out, plot.as_ref());
        return;
    }
    let sizes = Sizes {
        clusters: number("CLUSTERS", 1000),
        workers: number("WORKERS", 0),
        hosts: number("HOSTS", 0),
    };
    std::fs::create_dir_all(&out).unwrap();
    let setting = Setting::start(&out, sizes);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let result = runtime.block_on(measure(&setting));
    let name = out.join(format!("scale-{}x{}.json", sizes.clusters, sizes.workers));
    let text = serde_json::to_string_pretty(&result).unwrap();
    std::fs::write(&name, &text).unwrap();
    std::fs::write(out.join("scale.json"), &text).unwrap();
    say(&format!("{}\n{text}", name.display()));
    setting.stop();
}

async fn measure(setting: &Setting) -> Value {
    let sizes = setting.sizes;
    let watched = setting.prepare().await;
    say("hosts and release are ready");

    let before = setting.spent();
    let began = Instant::now();
    setting.create_all(&watched).await;
    let applied = began.elapsed();
    watched.all_ready(sizes.clusters).await;
    let ready = began.elapsed();
    let made = setting.spent().since(&before);
    let requests = setting.requests();
    say(&format!(
        "{} clusters Ready after {:.1} s",
        sizes.clusters,
        ready.as_secs_f64()
    ));

    let settled = setting.until_quiet(QUIET).await;
    let requests_settled = setting.requests();
    let before_idle = setting.spent();
    tokio::time::sleep(IDLE).await;
    let idle = setting.spent().since(&before_idle);
    let idle_requests = setting.requests().since(&requests_settled);
    say(&format!(
        "idle: {:.4} core, {} writes",
        idle.operator / IDLE.as_secs_f64(),
        idle_requests.writes()
    ));

    let singles = setting.singles(&watched, "one", SINGLES, SINGLES_PAUSE).await;
    say(&format!(
        "a single cluster: p50 {:.2} s, p99 {:.2} s",
        percentile(&singles, 50),
        percentile(&singles, 99)
    ));
    let fair = if sizes.hosts() >= 10 {
        let hung = setting.hang(sizes.hosts() / 10, true).await;
        let beside = setting.singles(&watched, "beside", SINGLES, SINGLES_PAUSE).await;
        setting.hang(sizes.hosts() / 10, false).await;
        say(&format!(
            "beside {hung} hosts that hang: p50 {:.2} s, p99 {:.2} s",
            percentile(&beside, 50),
            percentile(&beside, 99)
        ));
        json!({
            "hosts": sizes.hosts(), "hang": hung,
            "p50_seconds": percentile(&beside, 50), "p99_seconds": percentile(&beside, 99),
        })
    } else {
        Value::Null
    };
    let peak = setting.memory();
    let restart = setting.restart(&watched).await;
    say(&format!(
        "first action {restart:.2} s after the operator was killed"
    ));

    let there = watched.there();
    let before = Instant::now();
    let spent = setting.spent();
    setting.delete_all(&watched).await;
    let deleted = before.elapsed();
    let deletion = setting.spent().since(&spent);
    say(&format!(
        "{there} clusters deleted in {:.1} s",
        deleted.as_secs_f64()
    ));
    let floor = if std::env::var_os("FLOOR").is_some_and(|floor| floor == "0") {
        Value::Null
    } else {
        setting.floor(&requests).await
    };
    json!({
        "clusters": sizes.clusters, "workers": sizes.workers, "hosts": sizes.hosts(),
        "seconds_to_apply": applied.as_secs_f64(),
        "seconds_to_ready": ready.as_secs_f64(),
        "seconds_to_quiet": settled.as_secs_f64(),
        "cpu_seconds": made.operator,
        "cpu_seconds_beside": made.others(),
        "rss_bytes": peak.operator,
        "rss_bytes_simulator": peak.simulator,
        "requests": requests.by_verb(),
        "requests_by_resource": requests.by_resource(),
        "writes_per_cluster": requests.writes() as f64 / sizes.clusters as f64,
        "idle_seconds": IDLE.as_secs(),
        "idle_writes": idle_requests.writes(),
        "idle_requests": idle_requests.by_resource(),
        "idle_cores": idle.operator / IDLE.as_secs_f64(),
        "p50_seconds": percentile(&singles, 50), "p99_seconds": percentile(&singles, 99),
        "fairness": fair,
        "restart_seconds": restart,
        "delete_seconds": deleted.as_secs_f64(), "deleted": there,
        "delete_cpu_seconds": deletion.operator,
        "floor": floor,
    })
}
