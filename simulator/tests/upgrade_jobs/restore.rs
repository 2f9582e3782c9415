//! Going back by the snapshot.

use seedbed_guest::JobState;
use seedbed_kubeadm::upgrade::Job;
use seedbed_simulator::Failure;

use crate::setting::{ADDRESS, CP, FROM, LONG, Setting, WORKER};

const FORWARD: [(&str, Job); 9] = [
    (CP, Job::Snapshot),
    (CP, Job::Preload),
    (WORKER, Job::Preload),
    (CP, Job::ControlPlane),
    (CP, Job::Commit),
    (CP, Job::Etcd),
    (CP, Job::Kubelet),
    (WORKER, Job::Kubelet),
    (CP, Job::Addons),
];
const BACK: [(&str, Job); 8] = [
    (CP, Job::PrepareRestore),
    (WORKER, Job::UndoKubelet),
    (CP, Job::UndoKubelet),
    (CP, Job::Restore),
    (CP, Job::UndoControlPlane),
    (WORKER, Job::UndoPreload),
    (CP, Job::UndoPreload),
    (CP, Job::UndoSnapshot),
];

/// A cluster with something in it from before the upgrade, and something from after the jobs up to that one.
async fn upgraded(done: usize) -> Setting {
    let setting = Setting::new().await;
    setting.put_object();
    setting.all(&FORWARD[..done]).await;
    setting.put_later();
    setting
}

/// It is as the snapshot has it.
fn assert_restored(setting: &Setting, what: &str) {
    assert_eq!(setting.version(), (FROM.to_owned(), None), "{what}");
    for (node, kubelet) in setting.machines.kubelets(ADDRESS) {
        assert_eq!(kubelet, FROM, "{what}: {node}");
        assert!(setting.is_ready(&node), "{what}: {node}");
    }
    for component in ["kube-apiserver", "kube-scheduler"] {
        let image = format!("registry.k8s.io/{component}:{FROM}");
        assert_eq!(setting.image(component), image, "{what}");
    }
    assert!(setting.configuration().contains(FROM), "{what}");
    assert!(setting.has_object(), "{what}");
    assert!(setting.get("configmaps", "default", "later").is_none(), "{what}");
}

#[tokio::test]
async fn wherever_it_is_restored_the_cluster_is_as_the_snapshot_has_it() {
    for done in 5..=FORWARD.len() {
        let setting = upgraded(done).await;
        let etcd = setting.image("etcd");
        let revision = setting.api().with(|store| store.revision());
        setting.all(&BACK).await;
        setting.pass(LONG);
        assert_restored(&setting, &format!("after {done} jobs"));
        assert_eq!(setting.image("etcd") != etcd, done > 5, "after {done} jobs");
        // Who watches does not go back in time.
        setting.api().with(|store| {
            assert!(store.revision() > revision + 900_000_000);
            assert!(store.after(revision).is_err());
        });
        assert_eq!(setting.machines.restores().len(), 1);
        for name in [CP, WORKER] {
            let left = setting.machines.upgrade_leftovers(name);
            let is_bare = |l: &seedbed_simulator::Leftover| {
                l.undone && !l.snapshot && l.programs.is_none() && l.before.is_none()
            };
            assert!(left.iter().all(is_bare), "{name}: {left:?}");
        }
    }
}

#[tokio::test]
async fn what_is_written_after_a_restore_is_not_thrown_away_by_another_attempt() {
    let setting = upgraded(FORWARD.len()).await;
    setting.all(&BACK[..3]).await;
    setting.machines.fail_jobs(CP, 1, Failure::Late);
    setting.refused(CP, Job::Restore).await;
    setting.pass(LONG);
    assert!(setting.get("configmaps", "default", "later").is_none());
    setting.put_later();
    setting.all(&BACK[3..]).await;
    assert!(setting.get("configmaps", "default", "later").is_some());
    assert_eq!(setting.machines.restores().len(), 1);
}

#[tokio::test]
async fn a_restore_can_be_cut_off_and_done_again() {
    // Before the control plane is stopped, when it is, and when etcd is restored.
    for (seconds, answers) in [(1, true), (4, false), (6, true)] {
        let setting = upgraded(FORWARD.len()).await;
        setting.all(&BACK[..3]).await;
        let first = setting.begin(CP, Job::Restore).await;
        setting.pass(seconds);
        setting.power_cut(CP).await;
        let state = setting.state(CP, &first).await;
        let is_over = matches!(state, JobState::Interrupted { .. } | JobState::Succeeded);
        assert!(is_over, "after {seconds} s: {state:?}");
        let found = setting.machines.api(ADDRESS).is_some();
        assert_eq!(found, answers, "after {seconds} s");
        setting.all(&BACK[3..]).await;
        setting.pass(LONG);
        assert_restored(&setting, &format!("after {seconds} s"));
        assert_eq!(setting.machines.restores().len(), 1);
    }
}

#[tokio::test]
async fn without_a_snapshot_that_is_whole_nothing_is_touched() {
    let setting = upgraded(FORWARD.len()).await;
    let (version, process) = (setting.version(), setting.machines.server(ADDRESS));
    setting.machines.damage_snapshots(CP);
    for job in [Job::PrepareRestore, Job::Restore] {
        let log = setting.refused(CP, job).await;
        assert!(
            log.contains("the snapshot is damaged; nothing was touched"),
            "{job:?}: {log}"
        );
    }
    let other = setting.begin_of("other", WORKER, Job::PrepareRestore, &[]).await;
    setting.pass(LONG);
    let log = crate::setting::failed(setting.state(WORKER, &other).await);
    assert!(log.contains("there is no snapshot to restore"), "{log}");
    assert_eq!(
        (setting.version(), setting.machines.server(ADDRESS)),
        (version, process)
    );
}

#[tokio::test]
async fn nodes_are_told_as_they_are_and_not_as_the_snapshot_has_them() {
    let setting = upgraded(FORWARD.len()).await;
    setting.all(&BACK[..3]).await;
    setting.switch(WORKER, false).await;
    setting.all(&[(CP, Job::Restore)]).await;
    setting.pass(LONG);
    assert!(setting.is_ready(CP) && !setting.is_ready(WORKER));
    setting.switch(WORKER, true).await;
    setting.pass(LONG);
    assert!(setting.is_ready(WORKER));
    let node = setting.get("nodes", "", WORKER).unwrap();
    assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], FROM);
}

#[tokio::test]
async fn a_job_that_comes_after_a_restore_began_does_nothing() {
    let setting = upgraded(FORWARD.len()).await;
    setting.all(&BACK[..4]).await;
    setting.pass(LONG);
    for (name, job) in [(CP, Job::Commit), (CP, Job::Kubelet), (WORKER, Job::Kubelet)] {
        let log = setting.refused(name, job).await;
        assert!(log.contains("the upgrade is being undone"), "{job:?}: {log}");
    }
    setting.all(&[(CP, Job::PrepareRestore)]).await;
    assert_restored(&setting, "afterwards");
}
