//! Checks of networks.

use std::net::Ipv4Addr;

use super::{Failure, Fixture, Report, conflict, ensure, equal};
use crate::{Fault, Hypervisor, NetworkSpec, Reservation};

pub(super) async fn run(host: &dyn Hypervisor, fixture: &Fixture, report: &mut Report) {
    report.add(
        "a network is made once and deleted once",
        made_once(host, fixture).await,
    );
    report.add(
        "an address is reserved once and released once",
        reserved_once(host, fixture).await,
    );
    report.add(
        "another cluster's network is not touched",
        stranger(host, fixture).await,
    );
    if let Some(name) = &fixture.foreign_network {
        report.add(
            "a foreign network is not touched",
            foreign(host, fixture, name).await,
        );
    }
}

fn spec(fixture: &Fixture) -> NetworkSpec {
    NetworkSpec {
        name: fixture.name("network"),
        bridge: fixture.bridge.clone(),
        cidr: fixture.cidr,
        dns_domain: format!("{}.seedbed.test", fixture.prefix),
        reservations: vec![reservation(fixture, 9)],
        owner: fixture.owner(0),
    }
}

fn reservation(fixture: &Fixture, index: u32) -> Reservation {
    Reservation {
        mac: format!("52:54:00:5e:ed:{index:02x}"),
        ip: Ipv4Addr::from(u32::from(fixture.cidr.network()) + index),
        hostname: format!("node-{index}"),
    }
}

async fn made_once(host: &dyn Hypervisor, fixture: &Fixture) -> Result<(), Failure> {
    let spec = spec(fixture);
    host.ensure_network(&spec).await?;
    host.ensure_network(&spec).await?;
    let same = host
        .inventory()
        .await?
        .networks
        .into_iter()
        .filter(|network| network.name == spec.name);
    equal("networks of that name", &same.count(), &1)?;
    let facts = host.network(&spec.name).await?;
    ensure(
        facts.as_ref().is_some_and(|facts| {
            facts.active
                && facts.owner.as_ref() == Some(&spec.owner)
                && facts.bridge.as_ref() == Some(&spec.bridge)
                && facts.cidr == Some(spec.cidr)
                && facts.reservations == spec.reservations
        }),
        || format!("the network is {facts:?}, made as {spec:?}"),
    )?;
    let other_bridge = NetworkSpec {
        bridge: "sb-other".to_owned(),
        ..spec.clone()
    };
    conflict(
        "making it with another bridge",
        &host.ensure_network(&other_bridge).await,
    )?;
    host.delete_network(&spec.name, &spec.owner).await?;
    host.delete_network(&spec.name, &spec.owner).await?;
    equal("the deleted network", &host.network(&spec.name).await?, &None)
}

async fn reserved_once(host: &dyn Hypervisor, fixture: &Fixture) -> Result<(), Failure> {
    let spec = spec(fixture);
    let (first, second) = (reservation(fixture, 10), reservation(fixture, 11));
    host.ensure_network(&spec).await?;
    host.reserve_address(&spec.name, &spec.owner, &first).await?;
    host.reserve_address(&spec.name, &spec.owner, &first).await?;
    host.reserve_address(&spec.name, &spec.owner, &second).await?;
    let moved = Reservation {
        ip: reservation(fixture, 12).ip,
        ..first.clone()
    };
    conflict(
        "reserving another address for the same card",
        &host.reserve_address(&spec.name, &spec.owner, &moved).await,
    )?;
    let taken = Reservation {
        mac: "52:54:00:5e:ed:ff".to_owned(),
        hostname: "late".to_owned(),
        ..first.clone()
    };
    let result = host.reserve_address(&spec.name, &spec.owner, &taken).await;
    ensure(
        matches!(result, Err(Fault::Refused { .. } | Fault::Conflict { .. })),
        || format!("reserving a taken address gave {result:?}"),
    )?;
    let reserved = || async {
        host.network(&spec.name)
            .await
            .map(|network| network.map(|facts| facts.reservations))
    };
    equal(
        "reservations",
        &reserved().await?,
        &Some([&spec.reservations[..], &[first.clone(), second.clone()]].concat()),
    )?;
    host.release_address(&spec.name, &spec.owner, &first.mac).await?;
    host.release_address(&spec.name, &spec.owner, &first.mac).await?;
    equal(
        "reservations after a release",
        &reserved().await?,
        &Some([&spec.reservations[..], &[second]].concat()),
    )?;
    host.delete_network(&spec.name, &spec.owner).await?;
    host.release_address(&spec.name, &spec.owner, &first.mac).await?;
    let result = host.reserve_address(&spec.name, &spec.owner, &first).await;
    ensure(matches!(result, Err(Fault::NotFound { .. })), || {
        format!("reserving in an absent network gave {result:?}")
    })
}

async fn stranger(host: &dyn Hypervisor, fixture: &Fixture) -> Result<(), Failure> {
    let spec = spec(fixture);
    let stranger = fixture.stranger();
    host.ensure_network(&spec).await?;
    let before = host.network(&spec.name).await?;
    conflict(
        "making",
        &host
            .ensure_network(&NetworkSpec {
                owner: stranger.clone(),
                ..spec.clone()
            })
            .await,
    )?;
    conflict(
        "reserving",
        &host
            .reserve_address(&spec.name, &stranger, &reservation(fixture, 10))
            .await,
    )?;
    conflict(
        "releasing",
        &host
            .release_address(&spec.name, &stranger, "52:54:00:5e:ed:0a")
            .await,
    )?;
    conflict("deleting", &host.delete_network(&spec.name, &stranger).await)?;
    equal("the network", &host.network(&spec.name).await?, &before)?;
    Ok(host.delete_network(&spec.name, &spec.owner).await?)
}

async fn foreign(host: &dyn Hypervisor, fixture: &Fixture, name: &str) -> Result<(), Failure> {
    let owner = fixture.owner(0);
    let before = host.network(name).await?;
    ensure(before.as_ref().is_some_and(|facts| facts.owner.is_none()), || {
        format!("the foreign network is {before:?}")
    })?;
    conflict(
        "making",
        &host
            .ensure_network(&NetworkSpec {
                name: name.to_owned(),
                ..spec(fixture)
            })
            .await,
    )?;
    conflict(
        "reserving",
        &host
            .reserve_address(name, &owner, &reservation(fixture, 10))
            .await,
    )?;
    conflict(
        "releasing",
        &host.release_address(name, &owner, "52:54:00:5e:ed:0a").await,
    )?;
    conflict("deleting", &host.delete_network(name, &owner).await)?;
    equal("the network", &host.network(name).await?, &before)
}
