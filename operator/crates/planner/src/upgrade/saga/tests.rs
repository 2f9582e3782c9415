use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use seedbed_crds::{RequestCounts, UpgradeTargetKind};

use super::machine::{Task, Tried, Work};
use super::*;
use crate::Observed;
use crate::machine::Drain;
use crate::upgrade::plan::{Machines, plan};
use crate::upgrade::version::{Hop, Version};

const TO: &str = "v1.36.3";

/// Guests in which jobs come to the end that a test wants.
#[derive(Default)]
struct Guests {
    /// How each job ends, by its token and machine; those that are not here run.
    ended: BTreeMap<(String, String), Job>,
    started: BTreeSet<(String, String)>,
    attached: BTreeSet<String>,
    /// Machines whose disks are kept.
    kept: BTreeSet<String>,
    /// Whether the host cannot keep any.
    keeps_none: bool,
    /// Machines that do not come up.
    silent: BTreeSet<String>,
    cordoned: BTreeSet<String>,
    kubelets: BTreeMap<String, String>,
    pods: BTreeMap<String, usize>,
}

impl Guests {
    fn machine(&self, name: &str, token: &str) -> Machine {
        let key = (token.to_owned(), name.to_owned());
        if self.silent.contains(name) {
            let why = || "the guest does not answer".to_owned();
            return Machine {
                job: Observed::Unknown(why()),
                node: Observed::Unknown(why()),
                ..self.answering(name, Job::NotStarted)
            };
        }
        let job = match self.ended.get(&key) {
            Some(job) => job.clone(),
            None if self.started.contains(&key) => Job::Running,
            None => Job::NotStarted,
        };
        self.answering(name, job)
    }

    fn answering(&self, name: &str, job: Job) -> Machine {
        Machine {
            name: name.to_owned(),
            job: Observed::Known(job),
            attached: Observed::Known(self.attached.contains(name)),
            kept: Observed::Known((!self.keeps_none).then(|| self.kept.contains(name))),
            reverts: false,
            node: Observed::Known(Some(Node {
                kubelet: self
                    .kubelets
                    .get(name)
                    .cloned()
                    .unwrap_or_else(|| "v1.35.4".into()),
                ready: true,
                cordoned: self.cordoned.contains(name),
                closed_by_us: self.cordoned.contains(name),
            })),
            drain: Observed::Known(Drain {
                remaining: self.pods.get(name).copied().unwrap_or(0),
                blocked: None,
            }),
        }
    }
}

/// An upgrade of a cluster with one control plane and a pool of `workers`, of which `width` may be worked on at once.
struct Trial {
    saga: Saga,
    guests: Guests,
    workers: usize,
    width: usize,
    now: Timestamp,
    /// Between two passes.
    pause: SignedDuration,
    cancel: bool,
    restores: bool,
    health: Health,
    watched: Watched,
    /// What was written and done, in order.
    log: Vec<String>,
}

impl Trial {
    fn new(workers: usize, width: usize) -> Self {
        let v = |text| Version::parse(text).unwrap();
        let machines = Machines {
            cluster: "demo".into(),
            control_planes: vec!["demo-cp-0".into()],
            pools: vec!["demo-w".into()],
            held: Vec::new(),
            replaced: Vec::new(),
            etcd: Some(("v3.6.6".into(), "v3.6.8".into())),
        };
        let plan = plan(Hop::Minor, v("v1.35.4"), v(TO), &machines);
        let now = Timestamp::UNIX_EPOCH;
        Self {
            saga: Saga::begun("uid".into(), plan.steps, now),
            guests: Guests::default(),
            workers,
            width,
            now,
            pause: SignedDuration::from_secs(1),
            cancel: false,
            restores: false,
            health: Health::Well,
            watched: Watched {
                restarts: Observed::Known([("kube-scheduler-demo-cp-0".to_owned(), 1)].into()),
                requests: Observed::Known(RequestCounts {
                    process_started: 1,
                    total: 1000,
                    failed: 30,
                }),
                checks: Vec::new(),
            },
            log: Vec::new(),
        }
    }

    fn step(&self) -> Option<&UpgradeStep> {
        self.saga.current().and_then(|index| self.saga.steps.get(index))
    }

    fn names(&self) -> Vec<String> {
        match self.step().map(|step| &step.target) {
            Some(target) if target.kind == UpgradeTargetKind::NodePool => {
                (0..self.workers).map(|n| format!("demo-w-{n}")).collect()
            }
            _ => vec!["demo-cp-0".into()],
        }
    }

    fn seen(&self) -> Seen {
        let token = self
            .step()
            .and_then(|step| step.token.clone())
            .unwrap_or_default();
        Seen {
            paused: false,
            cancel: self.cancel.then(|| "spec.cancel is true".into()),
            approved: true,
            restores: self.restores,
            soak: Duration::from_mins(1),
            machines: self
                .names()
                .iter()
                .map(|name| Machine {
                    reverts: self.saga.reverts(name),
                    ..self.guests.machine(name, &token)
                })
                .collect(),
            width: self.width,
            to: TO.into(),
            health: self.health.clone(),
            watched: self.watched.clone(),
        }
    }

    /// One pass; the end, if that is it.
    fn pass(&mut self) -> Option<End> {
        self.now += self.pause;
        match advance(&self.saga, &self.seen(), self.now) {
            Decision::Ended(end) => return Some(end),
            Decision::Write(next) => {
                assert!(next.transitions > self.saga.transitions);
                for (old, new) in self.saga.steps.iter().zip(&next.steps) {
                    if old.state != new.state {
                        self.log.push(format!("{} {:?}", new.id, new.state));
                    }
                }
                self.saga = *next;
            }
            Decision::Do(effects) => {
                let step = self.step().cloned().unwrap();
                assert!(
                    matches!(step.state, State::Running | State::Undoing),
                    "not written down: {step:?}"
                );
                for (name, effect) in effects {
                    if effect == Effect::StartCheck {
                        self.start_check(&step, &name);
                        continue;
                    }
                    self.log.push(format!("{name} {effect:?}"));
                    self.carry_out(&step, &name, effect);
                }
            }
            Decision::Wait(_) => {}
        }
        None
    }

    fn carry_out(&mut self, step: &UpgradeStep, name: &str, effect: Effect) {
        let token = step.token.clone().unwrap();
        match effect {
            Effect::AttachDisk => assert!(self.guests.attached.insert(name.into()), "attached twice"),
            Effect::DetachDisk => assert!(self.guests.attached.remove(name)),
            Effect::KeepDisk => assert!(self.guests.kept.insert(name.into()), "kept twice"),
            Effect::MergeDisk => assert!(self.guests.kept.remove(name)),
            Effect::RevertDisk => {
                assert!(self.saga.reverts(name), "not written down");
                assert_eq!(step.phase, UpgradePhase::Commit);
                let kubelets = self.guests.kubelets.keys().filter(|of| *of != name);
                assert_eq!(kubelets.count(), 0, "newer than the API server");
                assert!(self.guests.kept.remove(name));
                self.guests.silent.remove(name);
                self.guests.kubelets.remove(name);
                // What was done there since then was never done.
                self.guests.started.retain(|(_, of)| of != name);
                self.guests.ended.retain(|(_, of), _| of != name);
            }
            Effect::StartJob => {
                let is_drained = step.phase == UpgradePhase::Nodes && step.state == State::Running;
                if is_drained && step.target.kind == UpgradeTargetKind::NodePool {
                    assert!(self.guests.cordoned.contains(name), "not drained");
                    assert_eq!(self.guests.pods.get(name).copied().unwrap_or(0), 0);
                }
                assert!(self.guests.started.insert((token, name.into())), "started twice");
            }
            Effect::Cordon => assert!(self.guests.cordoned.insert(name.into())),
            Effect::Evict => _ = self.guests.pods.remove(name),
            Effect::Uncordon => assert!(self.guests.cordoned.remove(name)),
            Effect::Begin
            | Effect::StartCheck
            | Effect::RemoveChecks
            | Effect::Finish
            | Effect::RemoveFinalizer => panic!("{effect:?} of a machine"),
        }
    }

    /// The Job of a check begins to run.
    fn start_check(&mut self, step: &UpgradeStep, name: &str) {
        let noted = step.watch.as_ref().map_or(&[][..], |watch| &watch.jobs);
        assert!(noted.iter().any(|job| job.check == name), "not written down");
        let check = self.watched.checks.iter_mut().find(|(check, _)| check == name);
        let (_, check) = check.unwrap();
        assert_eq!(*check, Check::Job(Observed::Known(CheckState::NotStarted)));
        *check = Check::Job(Observed::Known(CheckState::Running));
        self.log.push(format!("{name} StartCheck"));
    }

    /// Goes on until it is watched.
    fn until_soak(&mut self) {
        while self.step().unwrap().phase != UpgradePhase::Soak {
            assert_eq!(self.pass(), None);
            self.end_jobs(|_, _| Job::Succeeded);
        }
        for _ in 0..5 {
            assert_eq!(self.pass(), None);
        }
    }

    fn requests(&mut self, process_started: i64, total: i64, failed: i64) {
        self.watched.requests = Observed::Known(RequestCounts {
            process_started,
            total,
            failed,
        });
    }

    /// What it was taken back for.
    fn taken_back(&mut self) -> String {
        assert_eq!(self.run(|_, _| Job::Succeeded), End::RolledBack);
        let undo = self.saga.undo.clone().unwrap();
        assert_eq!(undo.cause, UndoCause::SoakFailed);
        undo.message
    }

    /// The jobs that run come to their end, each as `how` says.
    fn end_jobs(&mut self, mut how: impl FnMut(&str, bool) -> Job) {
        let Some(step) = self.step().cloned() else { return };
        let Some(token) = step.token.clone() else { return };
        for name in self.names() {
            let key = (token.clone(), name.clone());
            if !self.guests.started.contains(&key) || self.guests.ended.contains_key(&key) {
                continue;
            }
            let job = how(&step.id, step.state == State::Undoing);
            match (step.phase, step.state == State::Undoing) {
                (UpgradePhase::Nodes, undo) if job == Job::Succeeded => {
                    if undo {
                        self.guests.kubelets.remove(&name);
                    } else {
                        self.guests.kubelets.insert(name.clone(), TO.into());
                    }
                }
                // What was noted on nodes since the snapshot is lost with the rest.
                (UpgradePhase::Commit, true) if job == Job::Succeeded => self.guests.cordoned.clear(),
                _ => {}
            }
            self.guests.ended.insert(key, job);
        }
    }

    fn run(&mut self, mut how: impl FnMut(&str, bool) -> Job) -> End {
        for _ in 0..20_000 {
            if let Some(end) = self.pass() {
                assert!(self.guests.kept.is_empty(), "kept for ever");
                return end;
            }
            self.end_jobs(&mut how);
        }
        panic!("it does not end: {:#?}\n{}", self.step(), self.log.join("\n"));
    }

    fn states(&self) -> BTreeSet<String> {
        self.saga
            .steps
            .iter()
            .map(|step| format!("{:?}", step.state))
            .collect()
    }
}

#[test]
fn an_upgrade_goes_through_all_steps_and_leaves_no_node_closed_and_no_disk_attached() {
    let mut trial = Trial::new(3, 1);
    trial.guests.pods.insert("demo-w-1".into(), 4);
    assert_eq!(trial.run(|_, _| Job::Succeeded), End::Done);
    assert_eq!(trial.states(), BTreeSet::from(["Succeeded".to_owned()]));
    assert!(trial.guests.cordoned.is_empty() && trial.guests.attached.is_empty());
    assert_eq!(trial.guests.kubelets.len(), 4);
    let place = |what: &str| trial.log.iter().position(|line| line == what).unwrap();
    assert!(place("Commit Succeeded") < place("Nodes/DevMachine/demo-cp-0 Running"));
    assert!(place("demo-w-1 Evict") < place("Nodes/NodePool/demo-w Succeeded"));
}

#[test]
fn the_job_of_a_new_kubelet_is_waited_for() {
    const STEP: &str = "Nodes/DevMachine/demo-cp-0";
    let mut trial = Trial::new(1, 1);
    let is_at_it = |trial: &Trial| trial.step().is_some_and(|step| step.id == STEP);
    while !is_at_it(&trial) {
        assert_eq!(trial.pass(), None);
        if !is_at_it(&trial) {
            trial.end_jobs(|_, _| Job::Succeeded);
        }
    }
    for _ in 0..20 {
        trial.pass();
        trial.guests.kubelets.insert("demo-cp-0".into(), TO.into());
    }
    assert!(is_at_it(&trial), "{:#?}", trial.step());
    // One of whose job nothing is known any more is done, as its node says.
    trial.guests.started.clear();
    for _ in 0..3 {
        trial.pass();
    }
    assert!(!is_at_it(&trial), "{:#?}", trial.step());
}

#[test]
fn a_node_with_its_new_kubelet_is_not_closed_again_and_one_without_is() {
    let work = |kubelet: &str| {
        let node = Node {
            kubelet: kubelet.into(),
            ready: false,
            cordoned: false,
            closed_by_us: false,
        };
        let machine = Machine {
            node: Observed::Known(Some(node)),
            ..Guests::default().answering("demo-w-0", Job::NotStarted)
        };
        let tried = Tried {
            since: SignedDuration::ZERO,
            attempt: 2,
        };
        machine.work(Task::Kubelet { drained: true }, TO, false, tried)
    };
    assert_eq!(work(TO), Work::Do(Effect::StartJob));
    assert_eq!(work("v1.35.4"), Work::Do(Effect::Cordon));
}

#[test]
fn a_step_that_fails_for_good_before_commit_takes_everything_back_in_reverse_order() {
    let mut trial = Trial::new(1, 1);
    let end = trial.run(|id, undo| match id {
        "ControlPlane/DevMachine/demo-cp-0" if !undo => Job::Failed("no".into()),
        _ => Job::Succeeded,
    });
    assert_eq!(end, End::RolledBack);
    let undone: Vec<_> = trial
        .log
        .iter()
        .filter(|line| line.ends_with(" Undone"))
        .collect();
    assert_eq!(
        undone,
        [
            "ControlPlane/DevMachine/demo-cp-0 Undone",
            "Preload/NodePool/demo-w Undone",
            "Preload/DevMachine/demo-cp-0 Undone",
            "Snapshot/DevMachine/demo-cp-0 Undone",
            "Preflight Undone",
        ]
    );
    let undo = trial.saga.undo.unwrap();
    assert_eq!(undo.cause, UndoCause::StepFailed);
    assert!(undo.message.contains("failed 3 times: demo-cp-0: no"), "{undo:?}");
}

#[test]
fn a_step_that_fails_once_is_tried_again_under_another_token() {
    let mut trial = Trial::new(1, 1);
    let mut failed = false;
    let end = trial.run(|id, _| {
        if id.starts_with("Snapshot") && !std::mem::replace(&mut failed, true) {
            return Job::Failed("once".into());
        }
        Job::Succeeded
    });
    assert_eq!(end, End::Done);
    let step = trial
        .saga
        .steps
        .iter()
        .find(|step| step.phase == UpgradePhase::Snapshot)
        .unwrap();
    assert_eq!((step.attempt, step.failure.as_deref()), (2, None));
}

#[test]
fn after_commit_a_failure_is_tried_again_and_again_and_asks_for_a_person() {
    let mut trial = Trial::new(1, 1);
    let mut tries = 0;
    let mut asked = false;
    for _ in 0..20_000 {
        if let Decision::Wait(wait) = advance(&trial.saga, &trial.seen(), trial.now) {
            asked |= wait.stalled && wait.reason == Reason::StepFailed;
        }
        if let Some(end) = trial.pass() {
            assert_eq!(end, End::Done);
            assert!(asked);
            return;
        }
        trial.end_jobs(|id, _| {
            if id.starts_with("Etcd") {
                tries += 1;
                if tries < 6 {
                    return Job::Failed("no".into());
                }
            }
            Job::Succeeded
        });
    }
    panic!("it does not end");
}

fn undone(trial: &Trial) -> Vec<&str> {
    let ids = trial.log.iter().filter_map(|line| line.strip_suffix(" Undone"));
    ids.collect()
}

#[test]
fn after_commit_a_failure_restores_the_snapshot_where_that_is_asked_for() {
    let mut trial = Trial::new(2, 1);
    trial.restores = true;
    trial.now = Timestamp::from_second(1_800_000_000).unwrap();
    let end = trial.run(|id, undo| match id {
        "Nodes/NodePool/demo-w" if !undo => Job::Failed("disk full".into()),
        _ => Job::Succeeded,
    });
    assert_eq!(end, End::RolledBack);
    assert_eq!(
        undone(&trial),
        [
            "Verify",
            "Nodes/NodePool/demo-w",
            "Nodes/DevMachine/demo-cp-0",
            "Etcd/DevMachine/demo-cp-0",
            "Commit",
            "Soak",
            "ControlPlane/DevMachine/demo-cp-0",
            "Preload/NodePool/demo-w",
            "Preload/DevMachine/demo-cp-0",
            "Snapshot/DevMachine/demo-cp-0",
            "Preflight",
        ]
    );
    assert!(trial.guests.cordoned.is_empty() && trial.guests.kubelets.is_empty());
    assert!(!trial.saga.has_passed() && trial.saga.is_restored());
    let undo = trial.saga.undo.unwrap();
    let since = undo.writes_lost_since.unwrap().0;
    assert_eq!(since, Timestamp::from_second(1_800_000_001).unwrap());
    assert!(
        undo.message.contains("failed 3 times: demo-w-0: disk full")
            && undo.message.contains(&format!("since {since} is lost")),
        "{}",
        undo.message
    );
    let place = |what: &str| trial.log.iter().position(|line| line == what).unwrap();
    assert!(place("Verify Undoing") < place("Nodes/NodePool/demo-w Undoing"));
}

#[test]
fn a_snapshot_that_an_earlier_attempt_may_have_taken_counts_from_before_it() {
    let mut trial = Trial::new(0, 1);
    trial.pause = SignedDuration::from_secs(20);
    let mut failed = false;
    while trial.saga.done() < 3 {
        trial.pass();
        trial.end_jobs(|id, _| {
            if id.starts_with("Snapshot") && !std::mem::replace(&mut failed, true) {
                return Job::Failed("late".into());
            }
            Job::Succeeded
        });
    }
    assert_eq!(trial.saga.snapshot_since().unwrap().0, Timestamp::UNIX_EPOCH);
}

#[test]
fn one_that_asks_for_a_person_is_restored_once_the_person_says_so() {
    let mut trial = Trial::new(0, 1);
    let fails = |id: &str, undo: bool| match id {
        "Addons" if !undo => Job::Failed("no".into()),
        _ => Job::Succeeded,
    };
    let stalls = |trial: &Trial| match advance(&trial.saga, &trial.seen(), trial.now) {
        Decision::Wait(wait) => wait.stalled,
        _ => false,
    };
    for _ in 0..20_000 {
        if stalls(&trial) && trial.step().unwrap().attempt > MAX_ATTEMPTS {
            break;
        }
        assert_eq!(trial.pass(), None);
        trial.end_jobs(fails);
    }
    let last = trial.step().unwrap().attempt;
    trial.restores = true;
    assert_eq!(trial.run(fails), End::RolledBack);
    assert_eq!(
        trial.saga.undo.as_ref().unwrap().cause,
        UndoCause::FailedAfterCommit
    );
    let addons = trial.saga.steps.iter().find(|s| s.id == "Addons").unwrap();
    assert_eq!((addons.state, addons.attempt), (State::Undone, last));
}

/// A job of which nobody knows may still run: whatever undoes its step stops it, however often it was tried.
#[test]
fn the_last_attempts_are_stopped_before_a_step_is_undone() {
    let mut trial = Trial::new(0, 1);
    trial.pause = SignedDuration::from_mins(11);
    let mut stopped = None;
    for _ in 0..2_000 {
        if let Some(step) = trial.step().cloned()
            && step.id == "Commit"
        {
            trial.restores |= step.attempt == 5;
            if step.state == State::Undoing && stopped.is_none() {
                stopped = Some(trial.saga.earlier_tokens(&step));
            }
        }
        if trial.pass().is_some() {
            break;
        }
        trial.end_jobs(|id, undo| match id {
            "Commit" if !undo => Job::Failed("no".into()),
            _ => Job::Succeeded,
        });
    }
    let commit = trial.saga.steps.iter().find(|s| s.id == "Commit").unwrap();
    let expected: Vec<_> = (3..=5)
        .map(|attempt| trial.saga.token(commit, false, attempt))
        .collect();
    assert_eq!(stopped.unwrap(), expected);
}

#[test]
fn where_there_is_nothing_to_go_back_to_nothing_is_touched_and_it_can_go_on() {
    let mut trial = Trial::new(1, 1);
    trial.guests.keeps_none = true;
    trial.restores = true;
    let mut mended = false;
    for pass in 0..20_000 {
        let step = trial.step().cloned();
        if step.is_some_and(|step| step.state == State::UndoFailed && step.attempt == 4) {
            assert_eq!(undone(&trial), [""; 0]);
            trial.restores = false;
            mended = true;
        }
        if let Some(end) = trial.pass() {
            assert_eq!(end, End::Done, "after {pass} passes");
            assert!(mended && trial.saga.undo.is_none());
            assert!(
                trial
                    .saga
                    .steps
                    .iter()
                    .all(|s| s.phase < UpgradePhase::Commit || s.compensation.is_none())
            );
            return;
        }
        trial.end_jobs(|id, undo| match id {
            "Verify" if undo => Job::Failed("the snapshot is damaged".into()),
            "Nodes/DevMachine/demo-cp-0" if !mended => Job::Failed("no".into()),
            _ => Job::Succeeded,
        });
    }
    panic!("it does not end: {:#?}", trial.step());
}

/// An upgrade that fails for good after its point of no return, and whose snapshot cannot be used as it is.
fn with_a_useless_snapshot() -> Trial {
    let mut trial = Trial::new(1, 1);
    trial.restores = true;
    while trial.saga.undo.is_none() {
        assert_eq!(trial.pass(), None);
        trial.end_jobs(|id, _| match id {
            "Nodes/DevMachine/demo-cp-0" => Job::Failed("no".into()),
            _ => Job::Succeeded,
        });
    }
    trial
}

#[test]
fn where_the_snapshot_cannot_be_used_the_disk_is_taken_back() {
    let mut trial = with_a_useless_snapshot();
    let mut tries = 0;
    let end = trial.run(|id, undo| match id {
        "Verify" if undo => {
            tries += 1;
            Job::Failed("the snapshot is damaged".into())
        }
        _ => Job::Succeeded,
    });
    assert_eq!((end, tries), (End::RolledBack, 3));
    let undo = trial.saga.undo.unwrap();
    assert_eq!(undo.reverted_disks, ["demo-cp-0"]);
    assert!(
        undo.message.ends_with("; the snapshot on demo-cp-0 cannot be used (the snapshot is damaged): its disk is taken back to when that was taken"),
        "{}",
        undo.message
    );
    let of_disk = trial.log.iter().filter(|line| *line == "demo-cp-0 RevertDisk");
    assert_eq!(of_disk.count(), 1);
}

#[test]
fn a_snapshot_that_cannot_be_used_any_more_when_it_is_restored_is_found_out_then() {
    let mut trial = with_a_useless_snapshot();
    let mut tries = 0;
    let end = trial.run(|id, undo| {
        tries += i32::from(undo && id == "Commit");
        match id {
            "Commit" if undo && tries <= 3 => Job::Failed("the snapshot is damaged".into()),
            _ => Job::Succeeded,
        }
    });
    assert_eq!((end, tries), (End::RolledBack, 4));
    assert!(trial.log.contains(&"demo-cp-0 RevertDisk".to_owned()));
}

#[test]
fn that_a_disk_is_taken_back_is_told_once() {
    let before = with_a_useless_snapshot().saga;
    let after = before.reverting("demo-cp-0".into(), "the snapshot is damaged");
    let told = news(&before, &after);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].alarms && told[0].message.contains("its disk is taken back"),
        "{told:?}"
    );
    assert_eq!(news(&after, &after), []);
}

#[test]
fn a_machine_that_does_not_come_up_is_given_time_and_then_its_disk_of_before() {
    let mut trial = with_a_useless_snapshot();
    trial.guests.silent.insert("demo-cp-0".into());
    let began = trial.now;
    assert_eq!(trial.run(|_, _| Job::Succeeded), End::RolledBack);
    let took = trial.now.duration_since(began);
    assert!(took > SignedDuration::from_mins(15), "{took}");
    assert!(trial.log.contains(&"demo-cp-0 RevertDisk".to_owned()));
}

#[test]
fn a_disk_that_was_kept_before_is_kept_anew() {
    let mut trial = Trial::new(0, 1);
    trial.guests.kept.insert("demo-cp-0".into());
    assert_eq!(trial.run(|_, _| Job::Succeeded), End::Done);
    let of_disk: Vec<_> = trial
        .log
        .iter()
        .filter_map(|line| line.strip_prefix("demo-cp-0 "))
        .filter(|what| what.ends_with("Disk") && !what.contains("tach"))
        .collect();
    assert_eq!(of_disk, ["MergeDisk", "KeepDisk", "MergeDisk"]);
}

#[test]
fn a_cluster_that_is_not_well_at_the_end_is_restored_where_that_is_asked_for_and_else_asks_for_a_person() {
    let mut trial = Trial::new(0, 1);
    let at_the_end = |trial: &Trial| {
        trial
            .step()
            .is_some_and(|step| step.phase == UpgradePhase::Verify)
    };
    while !at_the_end(&trial) {
        trial.pass();
        trial.end_jobs(|_, _| Job::Succeeded);
    }
    trial.health = Health::Unwell("node demo-cp-0 is not Ready".into());
    trial.now += SignedDuration::from_mins(20);
    assert_eq!(trial.pass(), None);
    assert!(at_the_end(&trial) && trial.saga.undo.is_none());
    trial.restores = true;
    assert_eq!(trial.run(|_, _| Job::Succeeded), End::RolledBack);
    assert!(
        trial
            .saga
            .undo
            .unwrap()
            .message
            .contains("node demo-cp-0 is not Ready")
    );
}

#[test]
fn a_control_plane_that_is_not_well_while_it_is_watched_is_taken_back() {
    let mut trial = Trial::new(0, 1);
    while trial.step().unwrap().phase != UpgradePhase::Soak {
        assert_eq!(trial.pass(), None);
        trial.end_jobs(|_, _| Job::Succeeded);
    }
    trial.health = Health::Unwell("not Ready: kube-scheduler-demo-cp-0".into());
    assert_eq!(trial.run(|_, _| Job::Succeeded), End::RolledBack);
    let undo = trial.saga.undo.unwrap();
    assert_eq!(undo.cause, UndoCause::SoakFailed);
    assert!(undo.message.contains("kube-scheduler-demo-cp-0"));
}

#[test]
fn a_moment_of_trouble_while_it_is_watched_takes_nothing_back() {
    let mut trial = Trial::new(0, 1);
    while trial.step().unwrap().phase != UpgradePhase::Soak {
        trial.pass();
        trial.end_jobs(|_, _| Job::Succeeded);
    }
    trial.health = Health::Unwell("a new leader".into());
    for _ in 0..60 {
        assert_eq!(trial.pass(), None);
    }
    trial.health = Health::Well;
    assert_eq!(trial.run(|_, _| Job::Succeeded), End::Done);
}

#[test]
fn a_container_that_does_not_stay_up_is_no_new_control_plane() {
    let mut trial = Trial::new(0, 1);
    trial.until_soak();
    trial.watched.restarts = Observed::Known([("kube-scheduler-demo-cp-0".to_owned(), 4)].into());
    let why = trial.taken_back();
    assert!(
        why.contains("kube-scheduler-demo-cp-0 restarted 3 times"),
        "{why}"
    );
}

#[test]
fn errors_of_the_api_server_take_it_back_unless_they_were_but_a_moment() {
    let mut trial = Trial::new(0, 1);
    trial.until_soak();
    trial.requests(1, 1200, 60);
    for _ in 0..60 {
        assert_eq!(trial.pass(), None);
    }
    trial.requests(1, 2200, 60);
    assert_eq!(trial.run(|_, _| Job::Succeeded), End::Done);

    let mut trial = Trial::new(0, 1);
    trial.until_soak();
    trial.requests(2, 500, 100);
    let why = trial.taken_back();
    assert!(why.contains("answered 100 of 500 requests"), "{why}");
}

#[test]
fn nobody_goes_on_from_a_watch_in_which_nothing_was_seen() {
    let mut trial = Trial::new(0, 1);
    trial.until_soak();
    trial.watched = Watched::unseen("no route to host");
    let why = trial.taken_back();
    assert!(why.contains("no route to host"), "{why}");
}

#[test]
fn an_operator_that_was_started_just_now_takes_nothing_for_unwell() {
    let mut trial = Trial::new(0, 1);
    trial.until_soak();
    trial.health = Health::NotLookedAt;
    trial.watched = Watched::unseen("not looked at");
    let before = trial.saga.clone();
    for _ in 0..10 {
        assert_eq!(trial.pass(), None);
    }
    assert_eq!(trial.saga, before);
}

#[test]
fn checks_hold_or_it_is_taken_back() {
    let job = |state| Check::Job(Observed::Known(state));
    let mut trial = Trial::new(0, 1);
    trial.watched.checks = vec![
        ("smoke".into(), job(CheckState::NotStarted)),
        ("shop".into(), Check::Probe(Ok(()))),
    ];
    trial.until_soak();
    assert!(
        trial.log.contains(&"smoke StartCheck".to_owned()),
        "{:?}",
        trial.log
    );
    // The time is over, and the Job is not.
    for _ in 0..200 {
        assert_eq!(trial.pass(), None);
    }
    assert_eq!(trial.step().unwrap().phase, UpgradePhase::Soak);
    trial.watched.checks[0].1 = job(CheckState::Complete);
    for _ in 0..3 {
        assert_eq!(trial.pass(), None);
    }
    // Somebody deletes it: it has passed.
    trial.watched.checks[0].1 = job(CheckState::NotStarted);
    assert_eq!(trial.run(|_, _| Job::Succeeded), End::Done);
    let started = trial.log.iter().filter(|line| line.ends_with("StartCheck"));
    assert_eq!(started.count(), 1);
    assert!(trial.saga.has_begun_checks());

    let mut trial = Trial::new(0, 1);
    trial.watched.checks = vec![("shop".into(), Check::Probe(Err("found 503".into())))];
    trial.until_soak();
    let why = trial.taken_back();
    assert!(why.contains("check shop: found 503"), "{why}");

    let mut trial = Trial::new(0, 1);
    trial.watched.checks = vec![("smoke".into(), job(CheckState::Running))];
    trial.until_soak();
    let began = trial.now;
    trial.watched.checks[0].1 = job(CheckState::Failed("BackoffLimitExceeded".into()));
    let why = trial.taken_back();
    assert!(why.contains("check smoke failed: BackoffLimitExceeded"), "{why}");
    let lasted = trial.saga.undo.unwrap().since.0.duration_since(began);
    assert!(lasted < SignedDuration::from_secs(10), "{lasted}");
}

#[test]
fn a_check_that_hangs_is_given_up() {
    let mut trial = Trial::new(0, 1);
    trial.pause = SignedDuration::from_secs(20);
    trial.watched.checks = vec![(
        "smoke".into(),
        Check::Job(Observed::Known(CheckState::NotStarted)),
    )];
    let why = trial.taken_back();
    assert!(
        why.contains("check smoke was not Complete within 45 min"),
        "{why}"
    );
}

#[test]
fn nobody_passes_the_point_of_no_return_without_a_word_where_one_is_asked_for() {
    let mut trial = Trial::new(0, 1);
    for _ in 0..500 {
        let mut seen = trial.seen();
        seen.approved = false;
        trial.now += SignedDuration::from_secs(1);
        match advance(&trial.saga, &seen, trial.now) {
            Decision::Write(next) => trial.saga = *next,
            Decision::Do(effects) => {
                let step = trial.step().cloned().unwrap();
                for (name, effect) in effects {
                    trial.carry_out(&step, &name, effect);
                }
            }
            Decision::Wait(wait) if wait.reason == Reason::WaitingForApproval => {
                assert!(!trial.saga.has_passed());
                assert_eq!(trial.run(|_, _| Job::Succeeded), End::Done);
                return;
            }
            _ => {}
        }
        trial.end_jobs(|_, _| Job::Succeeded);
    }
    panic!("it did not wait");
}

#[test]
fn a_failing_worker_stops_the_rollout_before_the_next_and_leaves_the_control_plane_alone() {
    let mut trial = Trial::new(3, 1);
    for _ in 0..600 {
        assert_eq!(trial.pass(), None);
        trial.end_jobs(|id, _| match id {
            "Nodes/NodePool/demo-w" => Job::Failed("disk full".into()),
            _ => Job::Succeeded,
        });
    }
    let started: BTreeSet<_> = trial
        .log
        .iter()
        .skip_while(|line| *line != "Nodes/NodePool/demo-w Running")
        .filter(|line| line.ends_with("StartJob"))
        .collect();
    assert_eq!(started, BTreeSet::from([&"demo-w-0 StartJob".to_owned()]));
    assert!(trial.saga.undo.is_none());
}

#[test]
fn what_cannot_be_seen_is_waited_for() {
    let mut trial = Trial::new(1, 1);
    trial.pass();
    let mut seen = trial.seen();
    for machine in &mut seen.machines {
        machine.job = Observed::Unknown("the agent is silent".into());
    }
    trial.now += SignedDuration::from_hours(5);
    let decision = advance(&trial.saga, &seen, trial.now);
    assert!(
        matches!(&decision, Decision::Wait(wait) if wait.message.contains("the agent is silent")),
        "{decision:?}"
    );
}

#[test]
fn a_job_that_hangs_is_given_up() {
    let mut trial = Trial::new(1, 1);
    while !matches!(trial.step(), Some(step) if step.phase == UpgradePhase::ControlPlane) {
        trial.pass();
        trial.end_jobs(|_, _| Job::Succeeded);
    }
    // Nothing of this step ends by itself.
    let mut hung = 0;
    let end = (0..60_000).find_map(|_| {
        let end = trial.pass();
        trial.end_jobs(|id, undo| {
            if id.starts_with("ControlPlane") && !undo {
                hung += 1;
                return Job::Running;
            }
            Job::Succeeded
        });
        end
    });
    assert_eq!(end, Some(End::RolledBack));
    assert!(trial.saga.undo.unwrap().message.contains("too long"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_upgrade_ends_and_is_taken_back_after_its_point_of_no_return_only_by_the_snapshot(
        workers in 0usize..5,
        width in 1usize..4,
        fates in prop::collection::vec(0u8..10, 60),
        cancel_after in prop::option::of(0usize..120),
        restores in any::<bool>(),
    ) {
        let mut trial = Trial::new(workers, width);
        trial.pause = SignedDuration::from_secs(20);
        trial.restores = restores;
        let mut fates = fates.into_iter();
        let mut end = None;
        let mut cancelled_in_time = false;
        for pass in 0..10_000 {
            if cancel_after == Some(pass) {
                trial.cancel = true;
                cancelled_in_time = !trial.saga.has_passed() && trial.saga.end().is_none();
            }
            end = trial.pass();
            if end.is_some() {
                break;
            }
            trial.end_jobs(|_, _| match fates.next() {
                Some(0) => Job::Failed("fate".into()),
                Some(1) => Job::Interrupted,
                Some(2 | 3) => Job::Running,
                _ => Job::Succeeded,
            });
        }
        let end = end.expect("it does not end");
        prop_assert!(trial.guests.cordoned.is_empty());
        prop_assert!(trial.guests.attached.is_empty());
        match end {
            End::Done => {
                prop_assert!(!cancelled_in_time);
                prop_assert_eq!(trial.guests.kubelets.len(), workers + 1);
            }
            End::Cancelled | End::RolledBack => {
                let committed = trial.log.iter().any(|line| line == "Commit Running");
                prop_assert_eq!(trial.saga.is_restored(), committed);
                prop_assert!(!committed || restores && end == End::RolledBack);
                prop_assert!(trial.guests.kubelets.is_empty());
                prop_assert!(trial.saga.steps.iter().all(|s| matches!(s.state, State::Planned | State::Undone)));
            }
        }
    }
}

#[test]
fn what_happens_is_told_once_and_what_went_wrong_alarms() {
    let mut trial = Trial::new(0, 1);
    let mut told = Vec::new();
    for _ in 0..20_000 {
        let before = trial.saga.clone();
        if trial.pass().is_some() {
            break;
        }
        told.extend(news(&before, &trial.saga));
        trial.end_jobs(|id, undo| match id {
            "ControlPlane/DevMachine/demo-cp-0" if !undo => Job::Failed("no".into()),
            _ => Job::Succeeded,
        });
    }
    let of = |what: &str| told.iter().filter(|news| news.message.contains(what)).count();
    assert_eq!(of("Snapshot/DevMachine/demo-cp-0: done"), 1);
    assert_eq!(
        of("ControlPlane/DevMachine/demo-cp-0: attempt 2 failed: demo-cp-0: no"),
        1
    );
    assert_eq!(
        of("it is undone: ControlPlane/DevMachine/demo-cp-0 failed 3 times"),
        1
    );
    assert_eq!(of("Snapshot/DevMachine/demo-cp-0: undone"), 1);
    let last = told.last().unwrap();
    assert!(last.alarms && last.reason == Reason::RolledBack, "{last:?}");
}
