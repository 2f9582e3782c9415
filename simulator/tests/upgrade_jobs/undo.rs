//! Taking back what jobs did.

use seedbed_guest::JobState;
use seedbed_kubeadm::upgrade::Job;
use seedbed_simulator::Leftover;

use crate::setting::{ADDRESS, CP, FROM, LONG, Setting, WORKER, failed};

/// All that there is of the upgrade when it was undone.
fn undone() -> [Leftover; 1] {
    [Leftover {
        upgrade: "u".to_owned(),
        snapshot: false,
        programs: None,
        before: None,
        undone: true,
    }]
}

#[tokio::test]
async fn wherever_it_is_undone_the_control_plane_is_as_it_was() {
    let jobs = [
        Job::Snapshot,
        Job::Preload,
        Job::ControlPlane,
        Job::Commit,
        Job::Etcd,
    ];
    for done in 0..=jobs.len() {
        let setting = Setting::new().await;
        setting.put_object();
        let before = setting.configuration();
        let etcd = setting.image("etcd");
        for job in &jobs[..done] {
            setting.all(&[(CP, *job)]).await;
        }
        let process = setting.machines.server(ADDRESS);
        setting.all(&[(CP, Job::UndoControlPlane)]).await;
        assert_eq!(setting.version(), (FROM.to_owned(), None), "after {done} jobs");
        assert_eq!(setting.configuration(), before, "after {done} jobs");
        assert_eq!(setting.image("etcd"), etcd);
        assert_eq!(
            setting.image("kube-scheduler"),
            "registry.k8s.io/kube-scheduler:v1.35.4"
        );
        assert!(setting.has_object());
        let restarted = setting.machines.server(ADDRESS) != process;
        assert_eq!(restarted, done > 2, "after {done} jobs");
        setting
            .all(&[(CP, Job::UndoPreload), (CP, Job::UndoSnapshot)])
            .await;
        assert_eq!(setting.machines.upgrade_leftovers(CP), undone());
        // Once more does nothing.
        setting
            .all(&[(CP, Job::UndoControlPlane), (CP, Job::UndoPreload)])
            .await;
        assert_eq!(setting.version(), (FROM.to_owned(), None));
    }
}

#[tokio::test]
async fn what_was_changed_cannot_be_put_back_without_a_snapshot() {
    let setting = Setting::new().await;
    setting
        .all(&[(CP, Job::Snapshot), (CP, Job::Preload), (CP, Job::ControlPlane)])
        .await;
    setting.all(&[(CP, Job::UndoSnapshot)]).await;
    let log = setting.refused(CP, Job::UndoControlPlane).await;
    assert!(log.contains("no snapshot to restore from"), "{log}");
}

#[tokio::test]
async fn a_job_that_comes_after_it_was_undone_does_nothing() {
    let setting = Setting::new().await;
    setting
        .all(&[
            (CP, Job::Snapshot),
            (CP, Job::Preload),
            (CP, Job::UndoControlPlane),
        ])
        .await;
    let process = setting.machines.server(ADDRESS);
    for job in [
        Job::Snapshot,
        Job::Preload,
        Job::ControlPlane,
        Job::Commit,
        Job::Etcd,
        Job::Kubelet,
    ] {
        let log = setting.refused(CP, job).await;
        assert!(
            log.contains("seedbed: the upgrade is being undone"),
            "{job:?}: {log}"
        );
    }
    assert_eq!(setting.machines.server(ADDRESS), process);
    // Another guest knows nothing of it, and neither does another upgrade.
    setting.all(&[(WORKER, Job::Preload)]).await;
    let other = setting.begin_of("other", CP, Job::Snapshot, &[]).await;
    setting.pass(LONG);
    assert_eq!(setting.state(CP, &other).await, JobState::Succeeded);
}

#[tokio::test]
async fn an_undo_ends_the_job_that_runs_and_what_it_had_still_to_do() {
    // Before the manifests are replaced, while the API is away, and when it is back.
    for seconds in [1, 6, 15] {
        let setting = Setting::new().await;
        let before = setting.configuration();
        setting.all(&[(CP, Job::Snapshot), (CP, Job::Preload)]).await;
        let forward = setting.begin(CP, Job::ControlPlane).await;
        setting.pass(seconds);
        let undo = setting
            .begin_of("u", CP, Job::UndoControlPlane, &[&forward])
            .await;
        let state = setting.state(CP, &forward).await;
        assert!(matches!(state, JobState::Interrupted { .. }), "{state:?}");
        setting.pass(LONG);
        assert_eq!(
            setting.state(CP, &undo).await,
            JobState::Succeeded,
            "after {seconds} s"
        );
        assert_eq!(setting.version(), (FROM.to_owned(), None), "after {seconds} s");
        assert_eq!(setting.configuration(), before, "after {seconds} s");
        let state = setting.state(CP, &forward).await;
        assert!(matches!(state, JobState::Interrupted { .. }), "{state:?}");
    }
}

#[tokio::test]
async fn an_undo_can_be_cut_off_and_done_again() {
    for seconds in [1, 6, 15] {
        let setting = Setting::new().await;
        let before = setting.configuration();
        setting
            .all(&[(CP, Job::Snapshot), (CP, Job::Preload), (CP, Job::ControlPlane)])
            .await;
        let first = setting.begin(CP, Job::UndoControlPlane).await;
        setting.pass(seconds);
        setting.power_cut(CP).await;
        let state = setting.state(CP, &first).await;
        assert!(matches!(state, JobState::Interrupted { .. }), "{state:?}");
        setting.all(&[(CP, Job::UndoControlPlane)]).await;
        assert_eq!(setting.version(), (FROM.to_owned(), None));
        assert_eq!(setting.configuration(), before);
    }
}

#[tokio::test]
async fn a_kubelet_s_programs_are_forgotten_with_the_rest() {
    let setting = Setting::new().await;
    setting
        .all(&[(WORKER, Job::Preload), (WORKER, Job::UndoPreload)])
        .await;
    assert_eq!(setting.machines.upgrade_leftovers(WORKER), undone());
    let late = setting.begin(WORKER, Job::Kubelet).await;
    setting.pass(LONG);
    let log = failed(setting.state(WORKER, &late).await);
    assert!(log.contains("is being undone"), "{log}");
}
