//! Jobs in their order, and out of it.

use seedbed_guest::JobState;
use seedbed_kubeadm::upgrade::Job;
use seedbed_simulator::Leftover;

use crate::setting::{ADDRESS, CP, FROM, LONG, Setting, TO, WORKER};

fn version(version: &str, emulated: Option<&str>) -> (String, Option<String>) {
    (version.to_owned(), emulated.map(str::to_owned))
}

fn kubelets(setting: &Setting) -> Vec<(String, String)> {
    setting.machines.kubelets(ADDRESS)
}

fn both(cp: &str, worker: &str) -> Vec<(String, String)> {
    [(CP, cp), (WORKER, worker)]
        .map(|(node, version)| (node.to_owned(), version.to_owned()))
        .into()
}

#[tokio::test]
async fn a_cluster_is_upgraded_step_by_step_and_keeps_its_objects() {
    let setting = Setting::new().await;
    setting.put_object();
    assert!(setting.configuration().contains("kubernetesVersion: v1.35.4"));
    assert_eq!(setting.version(), version(FROM, None));
    assert_eq!(
        setting.image("kube-apiserver"),
        "registry.k8s.io/kube-apiserver:v1.35.4"
    );

    setting
        .all(&[(CP, Job::Snapshot), (CP, Job::Preload), (WORKER, Job::Preload)])
        .await;
    assert_eq!(setting.version(), version(FROM, None));
    let process = setting.machines.server(ADDRESS);

    setting.all(&[(CP, Job::ControlPlane)]).await;
    assert_eq!(setting.version(), version(TO, Some("1.35")));
    assert_ne!(setting.machines.server(ADDRESS), process, "it is another process");
    assert_eq!(
        setting.image("kube-apiserver"),
        "registry.k8s.io/kube-apiserver:v1.36.3"
    );
    let configuration = setting.configuration();
    assert!(
        configuration.contains("emulated-version") && configuration.contains(FROM),
        "{configuration}"
    );

    setting.all(&[(CP, Job::Commit)]).await;
    assert_eq!(setting.version(), version(TO, None));
    let configuration = setting.configuration();
    assert!(
        !configuration.contains("emulated") && configuration.contains(TO),
        "{configuration}"
    );
    assert_eq!(kubelets(&setting), both(FROM, FROM));

    let etcd = setting.image("etcd");
    setting.all(&[(CP, Job::Etcd)]).await;
    assert_ne!(setting.image("etcd"), etcd);

    setting
        .all(&[(CP, Job::Kubelet), (WORKER, Job::Kubelet), (CP, Job::Addons)])
        .await;
    assert_eq!(kubelets(&setting), both(TO, TO));
    for node in [CP, WORKER] {
        let told = setting.get("nodes", "", node).unwrap();
        assert_eq!(told["status"]["nodeInfo"]["kubeletVersion"], TO);
        assert!(setting.is_ready(node), "{node}");
    }
    assert!(setting.has_object());
    // What there was before, for the case that it is restored.
    let left = Leftover {
        upgrade: "u".to_owned(),
        snapshot: false,
        programs: None,
        before: Some(FROM.to_owned()),
        undone: false,
    };
    assert_eq!(setting.machines.upgrade_leftovers(WORKER), [left]);
}

#[tokio::test]
async fn the_api_goes_for_a_while_and_the_job_ends_after_it_is_back() {
    let setting = Setting::new().await;
    setting.all(&[(CP, Job::Snapshot), (CP, Job::Preload)]).await;
    let token = setting.begin(CP, Job::ControlPlane).await;
    setting.pass(3);
    assert_eq!(setting.version(), version(FROM, None));
    assert!(setting.configuration().contains("emulated-version"));
    setting.pass(2);
    assert!(setting.machines.api(ADDRESS).is_none());
    assert_eq!(setting.machines.control_plane_version(ADDRESS), None);
    setting.pass(6);
    assert_eq!(setting.version(), version(TO, Some("1.35")));
    assert!(matches!(
        setting.state(CP, &token).await,
        JobState::Running { .. }
    ));
    setting.pass(10);
    assert_eq!(setting.state(CP, &token).await, JobState::Succeeded);
}

#[tokio::test]
async fn a_kubelet_is_not_ready_for_a_moment_when_it_is_replaced() {
    let setting = Setting::new().await;
    let before = [Job::Snapshot, Job::Preload, Job::ControlPlane, Job::Commit].map(|job| (CP, job));
    setting.all(&before).await;
    setting.all(&[(WORKER, Job::Preload)]).await;
    let token = setting.begin(WORKER, Job::Kubelet).await;
    setting.pass(3);
    assert!(setting.is_ready(WORKER));
    setting.pass(2);
    assert_eq!(setting.state(WORKER, &token).await, JobState::Succeeded);
    assert!(!setting.is_ready(WORKER));
    setting.pass(3);
    assert!(setting.is_ready(WORKER));
}

#[tokio::test]
async fn what_is_done_already_is_not_done_again() {
    let setting = Setting::new().await;
    setting.put_object();
    let jobs = [
        Job::Snapshot,
        Job::Preload,
        Job::ControlPlane,
        Job::Commit,
        Job::Etcd,
        Job::Kubelet,
        Job::Addons,
    ];
    for job in jobs {
        setting.all(&[(CP, job)]).await;
        let process = setting.machines.server(ADDRESS);
        setting.all(&[(CP, job)]).await;
        assert_eq!(setting.machines.server(ADDRESS), process, "{job:?}");
    }
    assert!(setting.has_object());
}

#[tokio::test]
async fn jobs_that_come_too_early_fail_and_say_why() {
    let setting = Setting::new().await;
    setting.detach(WORKER).await;
    let log = setting.refused(WORKER, Job::Preload).await;
    assert!(
        log.contains("the upgrade disk seedbed-upgrade did not appear"),
        "{log}"
    );
    setting.power_cut(WORKER).await;
    for (name, job, why) in [
        (WORKER, Job::Snapshot, "no container of etcd runs"),
        (WORKER, Job::ControlPlane, "no control plane"),
        (WORKER, Job::Addons, "no control plane"),
        (CP, Job::ControlPlane, "there is no snapshot"),
        (
            WORKER,
            Job::Kubelet,
            "kubelet v1.36.3 is newer than the API server",
        ),
    ] {
        let log = setting.refused(name, job).await;
        assert!(log.contains(why), "{job:?}: {log}");
    }
    setting.all(&[(CP, Job::Snapshot)]).await;
    let log = setting.refused(CP, Job::ControlPlane).await;
    assert!(log.contains("there is no kubeadm v1.36.3"), "{log}");
    setting.all(&[(CP, Job::Preload), (WORKER, Job::Preload)]).await;
    for job in [Job::Commit, Job::Etcd] {
        let log = setting.refused(CP, job).await;
        assert!(
            log.contains("found an API server v1.35.4, expected v1.36.3"),
            "{job:?}: {log}"
        );
    }
    assert_eq!(setting.version(), version(FROM, None));

    setting.all(&[(CP, Job::ControlPlane)]).await;
    let log = setting.refused(CP, Job::Etcd).await;
    assert!(log.contains("still emulates"), "{log}");
    let log = setting.refused(WORKER, Job::Kubelet).await;
    assert!(log.contains("behaves like 1.35"), "{log}");

    setting
        .all(&[(CP, Job::Commit), (WORKER, Job::UndoPreload)])
        .await;
    let gone = setting.begin_of("other", WORKER, Job::Kubelet, &[]).await;
    setting.pass(LONG);
    let log = crate::setting::failed(setting.state(WORKER, &gone).await);
    assert!(log.contains("found kubelet v1.35.4, expected v1.36.3"), "{log}");
    assert_eq!(kubelets(&setting), both(FROM, FROM));
}

#[tokio::test]
async fn who_joins_gets_the_kubelet_that_the_api_server_behaves_like() {
    let setting = Setting::bare(&[CP, WORKER, "a", "b"]).await;
    let setting = setting.with_cluster().await;
    let before = [Job::Snapshot, Job::Preload, Job::ControlPlane].map(|job| (CP, job));
    setting.all(&before).await;
    setting.join("a").await;
    setting.all(&[(CP, Job::Commit)]).await;
    setting.join("b").await;
    let of = |name: &str| {
        kubelets(&setting)
            .into_iter()
            .find(|(node, _)| node == name)
            .unwrap()
            .1
    };
    assert_eq!((of("a"), of("b")), (FROM.to_owned(), TO.to_owned()));
    // What a kubelet is, it is after a reboot too.
    setting.power_cut("a").await;
    let node = setting.get("nodes", "", "a").unwrap();
    assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], FROM);
}

#[tokio::test]
async fn the_next_upgrade_forgets_what_the_one_before_left() {
    let setting = Setting::new().await;
    setting.all(&[(CP, Job::Snapshot), (CP, Job::Preload)]).await;
    let left = Leftover {
        upgrade: "u".to_owned(),
        snapshot: true,
        programs: Some(TO.to_owned()),
        before: None,
        undone: false,
    };
    assert_eq!(setting.machines.upgrade_leftovers(CP), [left]);
    setting.begin_of("next", CP, Job::Snapshot, &[]).await;
    setting.pass(LONG);
    let left = Leftover {
        upgrade: "next".to_owned(),
        snapshot: true,
        programs: None,
        before: None,
        undone: false,
    };
    assert_eq!(setting.machines.upgrade_leftovers(CP), [left]);
}
