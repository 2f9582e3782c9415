//! How long a decision takes.
#![allow(missing_docs)]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use seedbed_crds::{BootstrapPhase, IntOrPercent, MachineRole};
use seedbed_planner::Observed;
use seedbed_planner::address;
use seedbed_planner::capacity::{self, Demand, Limits};
use seedbed_planner::machine::{self, Attempt, Domain, Job, Network, Node, Power, Seen};
use seedbed_planner::pool::{self, Going, PoolMachine, Rollout};

/// A worker that is as it should be: every check is made.
fn ready() -> Seen {
    Seen {
        role: MachineRole::Worker,
        paused: false,
        capacity: Observed::Known(Ok(())),
        release: Observed::Known(Ok(())),
        network: Network::Up,
        address: Some(Ipv4Addr::new(10, 64, 0, 10)),
        reserved: Observed::Known(true),
        root_volume: Observed::Known(true),
        cidata_volume: Observed::Known(true),
        domain: Observed::Known(Some(Domain {
            power: Power::Running,
            foreign: None,
        })),
        agent: Observed::Known(true),
        attempt: Some(Attempt {
            phase: BootstrapPhase::Succeeded,
            number: 1,
        }),
        job: Observed::Known(Job::Succeeded),
        retry_due: true,
        keys: true,
        joinable: Observed::Known(true),
        superseded: None,
        token_lost: Observed::Known(false),
        left_behind: false,
        was_node: false,
        node: Observed::Known(Some(Node {
            ready: true,
            message: String::new(),
            settings_applied: true,
            cordoned: false,
        })),
    }
}

fn machines(c: &mut Criterion) {
    let seen = ready();
    c.bench_function("a machine that is Ready", |b| {
        b.iter(|| machine::advance(black_box(&seen)));
    });
}

fn pools(c: &mut Criterion) {
    let mut group = c.benchmark_group("a pool in the middle of a rollout");
    for count in [3_u32, 50] {
        let machines: Vec<PoolMachine> = (0..count)
            .map(|index| PoolMachine {
                name: format!("demo-workers-{index}"),
                index: Some(index),
                up_to_date: index % 2 == 0,
                ready: index % 3 != 0,
                going: Going::No,
            })
            .collect();
        let rollout = Rollout::resolve(&IntOrPercent::Int(1), &IntOrPercent::Int(0), count);
        group.bench_with_input(BenchmarkId::from_parameter(count), &machines, |b, machines| {
            b.iter(|| pool::plan(count, rollout, black_box(machines)));
        });
    }
    group.finish();
}

/// What is counted once for each machine, over all others of its host.
fn hosts(c: &mut Criterion) {
    let limits = Limits {
        memory_bytes: 1 << 42,
        reserved_memory_bytes: 2 << 30,
        memory_percent: 100,
        disk_bytes: 1 << 46,
        disk_percent: 100,
    };
    let demand = Demand {
        memory_bytes: 2 << 30,
        disk_bytes: 20 << 30,
    };
    let mut capacities = c.benchmark_group("room for one more machine on a host");
    for count in [10_usize, 1000] {
        let older = vec![demand; count];
        capacities.bench_with_input(BenchmarkId::from_parameter(count), &older, |b, older| {
            b.iter(|| capacity::admit("local", &limits, black_box(older), demand));
        });
    }
    capacities.finish();
    let mut ranges = c.benchmark_group("a free node range beside others");
    for count in [10_u8, 250] {
        let pool = ipnet::Ipv4Net::new_assert(Ipv4Addr::new(10, 64, 0, 0), 16);
        let used: Vec<_> = (0..count)
            .map(|n| ipnet::Ipv4Net::new_assert(Ipv4Addr::new(10, 64, n, 0), 24))
            .collect();
        ranges.bench_with_input(BenchmarkId::from_parameter(count), &used, |b, used| {
            b.iter(|| address::free_range(&pool, black_box(used)));
        });
    }
    ranges.finish();
}

criterion_group! {
    name = planner;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = machines, pools, hosts
}
criterion_main!(planner);
