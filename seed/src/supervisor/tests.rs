use std::{
    collections::BTreeMap,
    fs,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::{child::Keeper, reload, unit::Unit};
use crate::{
    instance::Instance,
    process::ProcessId,
    testing::{Folder, folder},
};

fn instance(root: &Folder) -> Instance {
    let instance = Instance::below(root, "t").unwrap();
    for part in ["logs", "pids", "units"] {
        fs::create_dir_all(instance.path(part)).unwrap();
    }
    instance
}

fn shell(name: &str, script: &str) -> Unit {
    Unit {
        name: name.to_owned(),
        order: 1,
        program: "/bin/sh".to_owned(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        environment: BTreeMap::new(),
        inside: false,
        revision: String::new(),
        patience_seconds: 5,
    }
}

/// Waits for a condition; a test that fails does so with a message instead of hanging.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < limit, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn process(instance: &Instance, unit: &str) -> Option<ProcessId> {
    ProcessId::read(&instance.pid_file(unit))
        .unwrap()
        .filter(ProcessId::is_running)
}

#[test]
fn what_ends_is_started_again_and_what_it_says_is_kept() {
    let root = folder("again");
    let instance = instance(&root);
    let keeper = Keeper::start(&instance, shell("a", "echo one line; exit 3"));
    until("it was started three times", || {
        let log = fs::read_to_string(instance.log("a")).unwrap_or_default();
        (log.matches("one line").count() >= 3).then_some(())
    });
    keeper.stop();
    assert!(!instance.pid_file("a").exists());
}

#[test]
fn what_is_killed_is_replaced_and_a_stop_ends_it() {
    let root = folder("killed");
    let instance = instance(&root);
    let keeper = Keeper::start(&instance, shell("a", "exec sleep 600"));
    let first = until("it starts", || process(&instance, "a"));
    first.signal(nix::sys::signal::Signal::SIGKILL).unwrap();
    let second = until("it is replaced", || {
        process(&instance, "a").filter(|found| *found != first)
    });
    keeper.stop();
    assert!(!second.is_running());
}

#[test]
fn only_what_changed_is_started_anew() {
    let root = folder("reload");
    let instance = instance(&root);
    shell("a", "exec sleep 600").write(&instance).unwrap();
    shell("b", "exec sleep 600").write(&instance).unwrap();
    let mut keepers = Vec::new();
    reload(&instance, &mut keepers);
    let [a, b] = ["a", "b"].map(|unit| until("both start", || process(&instance, unit)));

    let mut changed = shell("b", "exec sleep 600");
    changed.revision = "2".to_owned();
    changed.write(&instance).unwrap();
    reload(&instance, &mut keepers);
    assert!(!b.is_running());
    until("the changed one starts anew", || process(&instance, "b"));
    assert!(a.is_running());

    assert!(Unit::remove(&instance, "a").unwrap());
    reload(&instance, &mut keepers);
    assert!(!a.is_running());
    keepers.into_iter().for_each(Keeper::stop);
    assert!(process(&instance, "b").is_none());
}

#[test]
fn a_process_ends_with_its_keeper() {
    let root = folder("orphan");
    let instance = instance(&root);
    let unit = shell("a", "exec sleep 600");
    let (tell, told) = mpsc::channel();
    // A thread that ends stands for a supervisor that is killed.
    thread::spawn(move || {
        let child = unit.command(&instance).spawn().unwrap();
        let process = ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap();
        // The death signal is in force once the shell has become `sleep`.
        let name = format!("/proc/{}/comm", process.pid);
        until("it becomes sleep", || {
            (fs::read_to_string(&name).unwrap() == "sleep\n").then_some(())
        });
        tell.send((child, process)).unwrap();
    });
    let (mut child, process) = told.recv().unwrap();
    until("it ends too", || (!process.is_running()).then_some(()));
    child.wait().unwrap();
}
