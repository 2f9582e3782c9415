//! Jobs while things go wrong.

use std::time::Duration;

use seedbed_guest::JobState;
use seedbed_kubeadm::upgrade::Job;
use seedbed_simulator::Failure;

use crate::setting::{ADDRESS, CP, FROM, LONG, Setting, TO, WORKER, failed};

async fn prepared() -> Setting {
    let setting = Setting::new().await;
    setting.put_object();
    setting
        .all(&[(CP, Job::Snapshot), (CP, Job::Preload), (WORKER, Job::Preload)])
        .await;
    setting
}

#[tokio::test]
async fn after_a_loss_of_power_the_control_plane_is_what_its_disk_says() {
    for (seconds, expected) in [
        (1, (FROM, None)),
        (3, (FROM, None)),
        (5, (TO, Some("1.35"))),
        (15, (TO, Some("1.35"))),
    ] {
        let setting = prepared().await;
        let token = setting.begin(CP, Job::ControlPlane).await;
        setting.pass(seconds);
        setting.power_cut(CP).await;
        let (version, emulated) = setting.version();
        assert_eq!(
            (version.as_str(), emulated.as_deref()),
            expected,
            "after {seconds} s"
        );
        let state = setting.state(CP, &token).await;
        assert!(matches!(state, JobState::Interrupted { .. }), "{state:?}");
        assert!(setting.has_object() && setting.is_ready(CP));
        assert_eq!(
            setting.image("kube-apiserver"),
            format!("registry.k8s.io/kube-apiserver:{}", expected.0)
        );
        setting.all(&[(CP, Job::ControlPlane), (CP, Job::Commit)]).await;
        assert_eq!(setting.version(), (TO.to_owned(), None));
    }
}

#[tokio::test]
async fn what_a_loss_of_power_cuts_off_was_done_or_not() {
    for (job, seconds) in [(Job::Snapshot, 0), (Job::Preload, 2)] {
        let setting = Setting::new().await;
        setting.begin(CP, job).await;
        setting.pass(seconds);
        setting.power_cut(CP).await;
        assert_eq!(setting.machines.upgrade_leftovers(CP), [], "{job:?}");
        setting.all(&[(CP, job)]).await;
        assert_eq!(setting.machines.upgrade_leftovers(CP).len(), 1, "{job:?}");
    }
    let setting = prepared().await;
    setting.all(&[(CP, Job::ControlPlane), (CP, Job::Commit)]).await;
    setting.begin(WORKER, Job::Kubelet).await;
    setting.pass(2);
    setting.power_cut(WORKER).await;
    let of_worker = || setting.machines.kubelets(ADDRESS).pop().unwrap().1;
    assert_eq!(of_worker(), FROM);
    setting.all(&[(WORKER, Job::Kubelet)]).await;
    assert_eq!(of_worker(), TO);
}

#[tokio::test]
async fn an_attempt_takes_the_place_of_the_one_before() {
    let setting = prepared().await;
    let first = setting.begin(CP, Job::ControlPlane).await;
    setting.pass(2);
    let second = setting.begin_of("u", CP, Job::ControlPlane, &[&first]).await;
    setting.pass(3);
    assert_eq!(setting.version().0, FROM, "the first one's moment is over");
    setting.pass(2);
    assert!(setting.machines.api(ADDRESS).is_none());
    setting.pass(LONG);
    assert_eq!(setting.state(CP, &second).await, JobState::Succeeded);
    assert!(matches!(
        setting.state(CP, &first).await,
        JobState::Interrupted { .. }
    ));
}

#[tokio::test]
async fn an_api_server_that_is_on_its_way_comes_though_its_job_was_ended() {
    let setting = prepared().await;
    let first = setting.begin(CP, Job::ControlPlane).await;
    setting.pass(5);
    assert!(setting.machines.api(ADDRESS).is_none());
    // A job that has nothing to do with it.
    setting.begin_of("u", CP, Job::Preload, &[&first]).await;
    setting.pass(LONG);
    assert_eq!(setting.version(), (TO.to_owned(), Some("1.35".to_owned())));
    assert!(matches!(
        setting.state(CP, &first).await,
        JobState::Interrupted { .. }
    ));
}

#[tokio::test]
async fn a_job_that_fails_at_first_changed_nothing_and_one_that_fails_late_did_it() {
    let setting = prepared().await;
    setting.machines.fail_jobs(CP, 1, Failure::Preflight);
    setting.refused(CP, Job::ControlPlane).await;
    assert_eq!(setting.version(), (FROM.to_owned(), None));
    setting.machines.fail_jobs(CP, 1, Failure::Late);
    setting.refused(CP, Job::ControlPlane).await;
    assert_eq!(setting.version(), (TO.to_owned(), Some("1.35".to_owned())));
    setting.machines.fail_jobs(CP, 1, Failure::Late);
    setting.refused(CP, Job::UndoControlPlane).await;
    assert_eq!(setting.version(), (FROM.to_owned(), None));
    setting.all(&[(CP, Job::UndoControlPlane)]).await;

    // Also one that fails at first ends the attempt before it.
    let setting = prepared().await;
    let first = setting.begin(CP, Job::ControlPlane).await;
    setting.machines.fail_jobs(CP, 1, Failure::Preflight);
    setting.begin_of("u", CP, Job::ControlPlane, &[&first]).await;
    setting.pass(LONG);
    assert_eq!(setting.version(), (FROM.to_owned(), None));
}

#[tokio::test]
async fn a_job_waits_for_the_api_and_not_for_ever() {
    let setting = prepared().await;
    setting.all(&[(CP, Job::ControlPlane), (CP, Job::Commit)]).await;
    setting.machines.set_isolated(WORKER, true);
    let token = setting.begin(WORKER, Job::Kubelet).await;
    setting.pass(2 * LONG);
    assert!(matches!(
        setting.state(WORKER, &token).await,
        JobState::Running { .. }
    ));
    setting.machines.set_isolated(WORKER, false);
    setting.pass(LONG);
    assert_eq!(setting.state(WORKER, &token).await, JobState::Succeeded);
    assert!(setting.is_ready(WORKER));

    let setting = prepared().await;
    setting.machines.set_isolated(CP, true);
    let token = setting.begin(CP, Job::ControlPlane).await;
    setting.clock.advance(Duration::from_mins(6));
    let log = failed(setting.state(CP, &token).await);
    assert!(log.contains("did not answer in time"), "{log}");
    assert_eq!(setting.version().0, FROM);
}
