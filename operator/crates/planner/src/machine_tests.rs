use super::*;

fn fresh(role: MachineRole) -> Seen {
    Seen {
        role,
        paused: false,
        capacity: Observed::Known(Ok(())),
        release: Observed::Known(Ok(())),
        network: Network::Up,
        address: None,
        reserved: Observed::Known(false),
        root_volume: Observed::Known(false),
        cidata_volume: Observed::Known(false),
        domain: Observed::Known(None),
        agent: Observed::Known(false),
        attempt: None,
        job: Observed::Known(Job::NotStarted),
        retry_due: true,
        keys: true,
        joinable: Observed::Known(false),
        superseded: None,
        token_lost: Observed::Known(false),
        left_behind: false,
        was_node: false,
        node: Observed::Known(None),
    }
}

/// Carries the effect out in a world where everything works, so that what follows from it can be seen.
fn apply(effect: Effect, seen: &mut Seen) {
    match effect {
        Effect::Allocate => seen.address = Some(Ipv4Addr::new(10, 64, 0, 10)),
        Effect::ReserveAddress => seen.reserved = Observed::Known(true),
        Effect::CreateRootVolume => seen.root_volume = Observed::Known(true),
        Effect::CreateCidata => seen.cidata_volume = Observed::Known(true),
        Effect::DefineDomain => {
            seen.domain = Observed::Known(Some(Domain {
                power: Power::Off,
                foreign: None,
            }));
        }
        Effect::StartDomain => {
            seen.domain = Observed::Known(Some(Domain {
                power: Power::Running,
                foreign: None,
            }));
            seen.agent = Observed::Known(true);
            seen.joinable = Observed::Known(true);
        }
        Effect::BeginAttempt(number) => {
            seen.attempt = Some(Attempt {
                phase: BootstrapPhase::Started,
                number,
            });
        }
        Effect::StartJob => seen.job = Observed::Known(Job::Succeeded),
        Effect::RecordSuccess => {
            if let Some(a) = &mut seen.attempt {
                a.phase = BootstrapPhase::Succeeded;
            }
            seen.node = Observed::Known(Some(Node {
                ready: true,
                message: String::new(),
                settings_applied: false,
                cordoned: false,
            }));
        }
        Effect::RecordFailure => {
            if let Some(a) = &mut seen.attempt {
                a.phase = BootstrapPhase::Failed;
            }
            seen.job = Observed::Known(Job::NotStarted);
        }
        Effect::ApplyNodeSettings => {
            if let Observed::Known(Some(node)) = &mut seen.node {
                node.settings_applied = true;
            }
        }
        other => panic!("{other:?} has no place in a creation"),
    }
}

fn run(seen: &mut Seen) -> Vec<Effect> {
    let mut done = Vec::new();
    while let Decision::Do(effect) = advance(seen) {
        assert!(done.len() < 50, "does not end: {done:?}");
        done.push(effect);
        apply(effect, seen);
    }
    done
}

#[test]
fn a_machine_is_made_in_this_order_and_each_thing_once() {
    let mut seen = fresh(MachineRole::Worker);
    let expected = [
        Effect::Allocate,
        Effect::CreateCidata,
        Effect::CreateRootVolume,
        Effect::ReserveAddress,
        Effect::DefineDomain,
        Effect::StartDomain,
        Effect::BeginAttempt(1),
        Effect::StartJob,
        Effect::RecordSuccess,
        Effect::ApplyNodeSettings,
    ];
    assert_eq!(run(&mut seen), expected);
    assert_eq!(advance(&seen), Decision::Settled);
}

#[test]
fn a_machine_has_address_and_volumes_before_there_is_a_network_and_is_defined_after() {
    let mut seen = fresh(MachineRole::Worker);
    seen.network = Network::NoRange;
    assert_eq!(run(&mut seen), []);
    seen.network = Network::Down;
    assert_eq!(
        run(&mut seen),
        [Effect::Allocate, Effect::CreateCidata, Effect::CreateRootVolume]
    );
    // The network was made with its address.
    seen.network = Network::Up;
    seen.reserved = Observed::Known(true);
    assert_eq!(run(&mut seen)[0], Effect::DefineDomain);
}

#[test]
fn what_cannot_be_seen_starts_nothing() {
    let not_seen = || "libvirtd does not answer".to_owned();
    let mut seen = fresh(MachineRole::ControlPlane);
    seen.domain = Observed::Unknown(not_seen());
    assert!(matches!(
        advance(&seen),
        Decision::Wait(Wait {
            reason: Reason::HostUnreachable,
            unknown: true,
            ..
        })
    ));

    let mut seen = fresh(MachineRole::ControlPlane);
    run(&mut seen);
    seen.node = Observed::Unknown(not_seen());
    assert!(matches!(
        advance(&seen),
        Decision::Wait(Wait {
            reason: Reason::ChildUnreachable,
            unknown: true,
            ..
        })
    ));

    seen.attempt = Some(Attempt {
        phase: BootstrapPhase::Started,
        number: 1,
    });
    seen.job = Observed::Unknown(not_seen());
    assert!(matches!(
        advance(&seen),
        Decision::Wait(Wait { unknown: true, .. })
    ));
}

#[test]
fn a_strangers_machine_of_the_same_name_is_left_alone() {
    let stranger = Domain {
        power: Power::Off,
        foreign: Some("no owner in its metadata".into()),
    };
    let mut seen = fresh(MachineRole::Worker);
    seen.domain = Observed::Known(Some(stranger.clone()));
    assert!(matches!(
        advance(&seen),
        Decision::Wait(Wait {
            reason: Reason::NameConflict,
            stalled: true,
            ..
        })
    ));

    let mut leaving = gone();
    leaving.domain = Observed::Known(Some(stranger));
    assert_eq!(leave(&leaving), Decision::Do(Effect::RemoveFinalizer));
}

#[test]
fn a_machine_that_was_switched_off_is_started_and_not_made_again() {
    let mut seen = fresh(MachineRole::ControlPlane);
    run(&mut seen);
    seen.domain = Observed::Known(Some(Domain {
        power: Power::Off,
        foreign: None,
    }));
    assert_eq!(run(&mut seen), [Effect::StartDomain]);
}

#[test]
fn a_worker_waits_for_the_control_plane_with_its_guest_running() {
    let mut seen = fresh(MachineRole::Worker);
    seen.domain = Observed::Known(Some(Domain {
        power: Power::Running,
        foreign: None,
    }));
    seen.agent = Observed::Known(true);
    assert!(matches!(
        advance(&seen),
        Decision::Wait(Wait {
            reason: Reason::WaitingForControlPlane,
            ..
        })
    ));
}

#[test]
fn a_worker_of_a_version_that_is_no_longer_that_of_its_pool_does_not_join() {
    let mut seen = fresh(MachineRole::Worker);
    seen.domain = Observed::Known(Some(Domain {
        power: Power::Running,
        foreign: None,
    }));
    seen.agent = Observed::Known(true);
    seen.joinable = Observed::Known(true);
    seen.superseded = Some("v1.36.3".to_owned());
    let Decision::Wait(waits) = advance(&seen) else {
        panic!("it joins");
    };
    assert!(waits.message.contains("are made of v1.36.3 by now"), "{waits:?}");
    seen.superseded = None;
    assert!(matches!(advance(&seen), Decision::Do(_)));
}

#[test]
fn a_worker_whose_control_plane_began_anew_gets_its_token_again_and_goes_on() {
    let mut seen = fresh(MachineRole::Worker);
    seen.domain = Observed::Known(Some(Domain {
        power: Power::Running,
        foreign: None,
    }));
    seen.attempt = Some(Attempt {
        phase: BootstrapPhase::Started,
        number: 1,
    });
    seen.job = Observed::Known(Job::Running);
    for (token_lost, expected) in [
        (Observed::Known(true), Some(Effect::RenewToken)),
        (Observed::Known(false), None),
        // An API server that does not answer says nothing about tokens.
        (Observed::Unknown("no answer".to_owned()), None),
    ] {
        seen.token_lost = token_lost;
        match (advance(&seen), expected) {
            (Decision::Do(effect), Some(expected)) => assert_eq!(effect, expected),
            (Decision::Wait(wait), None) => assert_eq!(wait.reason, Reason::Bootstrapping),
            other => panic!("{other:?}"),
        }
    }
    seen.token_lost = Observed::Known(true);
    seen.job = Observed::Known(Job::Succeeded);
    assert_eq!(advance(&seen), Decision::Do(Effect::RecordSuccess));
}

#[test]
fn a_worker_whose_node_is_gone_joins_again() {
    let mut seen = fresh(MachineRole::Worker);
    seen.domain = Observed::Known(Some(Domain {
        power: Power::Running,
        foreign: None,
    }));
    seen.attempt = Some(Attempt {
        phase: BootstrapPhase::Succeeded,
        number: 1,
    });
    seen.was_node = true;
    match advance(&seen) {
        Decision::Wait(wait) => {
            assert_eq!(wait.reason, Reason::NodeNotRegistered);
            assert!(wait.message.contains("removed"), "{}", wait.message);
        }
        other => panic!("{other:?}"),
    }
    seen.left_behind = true;
    assert_eq!(advance(&seen), Decision::Do(Effect::RecordFailure));
    apply(Effect::RecordFailure, &mut seen);
    seen.agent = Observed::Known(true);
    seen.joinable = Observed::Known(true);
    assert_eq!(advance(&seen), Decision::Do(Effect::BeginAttempt(2)));
}

#[test]
fn a_guest_that_is_off_or_crashed_is_started() {
    let mut seen = fresh(MachineRole::Worker);
    for power in [Power::Off, Power::Crashed] {
        seen.domain = Observed::Known(Some(Domain { power, foreign: None }));
        assert_eq!(advance(&seen), Decision::Do(Effect::StartDomain));
    }
}

#[test]
fn kubeadm_is_tried_three_times_and_then_a_person_is_asked() {
    let mut seen = fresh(MachineRole::ControlPlane);
    let mut attempts = Vec::new();
    for _ in 0..40 {
        match advance(&seen) {
            Decision::Do(Effect::StartJob) => seen.job = Observed::Known(Job::Failed),
            Decision::Do(Effect::BeginAttempt(n)) => {
                attempts.push(n);
                apply(Effect::BeginAttempt(n), &mut seen);
            }
            Decision::Do(effect) => apply(effect, &mut seen),
            Decision::Wait(wait) => {
                assert_eq!((wait.reason, wait.stalled), (Reason::BootstrapGaveUp, true));
                break;
            }
            Decision::Settled => panic!("a machine whose kubeadm failed is not settled"),
        }
    }
    assert_eq!(attempts, [1, 2, 3]);
}

fn gone() -> Leaving {
    Leaving {
        paused: false,
        cluster_leaving: false,
        retain: false,
        node: Observed::Known(None),
        may_be_node: true,
        drain: Observed::Known(Drain {
            remaining: 0,
            blocked: None,
        }),
        drain_overdue: false,
        domain: Observed::Known(None),
        volumes: Observed::Known(0),
        reserved: Observed::Known(false),
        allocated: false,
    }
}

fn whole() -> Leaving {
    Leaving {
        node: Observed::Known(Some(Node {
            ready: true,
            message: String::new(),
            settings_applied: true,
            cordoned: false,
        })),
        drain: Observed::Known(Drain {
            remaining: 2,
            blocked: None,
        }),
        domain: Observed::Known(Some(Domain {
            power: Power::Running,
            foreign: None,
        })),
        volumes: Observed::Known(2),
        reserved: Observed::Known(true),
        allocated: true,
        ..gone()
    }
}

fn run_leave(seen: &mut Leaving) -> Vec<Effect> {
    let mut done = Vec::new();
    loop {
        let Decision::Do(effect) = leave(seen) else {
            panic!("waits: {done:?}")
        };
        assert!(done.len() < 50, "does not end: {done:?}");
        done.push(effect);
        match effect {
            Effect::Cordon => {
                if let Observed::Known(Some(node)) = &mut seen.node {
                    node.cordoned = true;
                }
            }
            Effect::Evict => {
                seen.drain = Observed::Known(Drain {
                    remaining: 0,
                    blocked: None,
                });
            }
            Effect::DeleteNode => seen.node = Observed::Known(None),
            Effect::PowerOff => {
                seen.domain = Observed::Known(Some(Domain {
                    power: Power::Off,
                    foreign: None,
                }));
            }
            Effect::Disown => {
                if let Observed::Known(Some(domain)) = &mut seen.domain {
                    domain.foreign = Some("nobody's".into());
                }
            }
            Effect::UndefineDomain => seen.domain = Observed::Known(None),
            Effect::DeleteVolumes => seen.volumes = Observed::Known(0),
            Effect::ReleaseAddress => seen.reserved = Observed::Known(false),
            Effect::Deallocate => seen.allocated = false,
            Effect::RemoveFinalizer => return done,
            other => panic!("{other:?} has no place in a removal"),
        }
    }
}

#[test]
fn a_worker_leaves_its_cluster_before_its_machine_goes() {
    let expected = [
        Effect::Cordon,
        Effect::Evict,
        Effect::DeleteNode,
        Effect::PowerOff,
        Effect::UndefineDomain,
        Effect::DeleteVolumes,
        Effect::ReleaseAddress,
        Effect::Deallocate,
        Effect::RemoveFinalizer,
    ];
    assert_eq!(run_leave(&mut whole()), expected);
}

#[test]
fn a_cluster_that_goes_is_not_drained() {
    let mut seen = Leaving {
        cluster_leaving: true,
        ..whole()
    };
    assert_eq!(run_leave(&mut seen)[0], Effect::PowerOff);
}

#[test]
fn a_drain_that_takes_too_long_ends() {
    let mut seen = Leaving {
        drain_overdue: true,
        ..whole()
    };
    assert_eq!(run_leave(&mut seen)[..2], [Effect::DeleteNode, Effect::PowerOff]);
}

#[test]
fn what_is_retained_runs_on_and_is_nobodys() {
    let mut seen = Leaving {
        retain: true,
        ..whole()
    };
    assert_eq!(run_leave(&mut seen), [Effect::Disown, Effect::RemoveFinalizer]);
    assert_eq!(seen.volumes, Observed::Known(2));
}

#[test]
fn nothing_is_let_go_while_the_host_does_not_answer() {
    let seen = Leaving {
        cluster_leaving: true,
        domain: Observed::Unknown("down".into()),
        ..whole()
    };
    assert!(matches!(
        leave(&seen),
        Decision::Wait(Wait {
            reason: Reason::HostUnreachable,
            ..
        })
    ));
}
