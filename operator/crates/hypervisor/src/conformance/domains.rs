//! Checks of domains.

use std::time::Duration;

use tokio::sync::broadcast::Receiver;

use super::{Failure, Fixture, Report, conflict, ensure, equal};
use crate::{
    AttachedDisk, DomainSpec, EventKind, Fault, HostEvent, Hypervisor, Owner, PowerState, VolumeFormat,
};

const SOON: Duration = Duration::from_secs(10);

pub(super) async fn run(host: &dyn Hypervisor, fixture: &Fixture, report: &mut Report) {
    let disk = fixture.disk("disk");
    if let Err(fault) = host.create_volume(&disk).await {
        report.add("a disk for the domains is created", Err(fault.into()));
        return;
    }
    let spec = fixture.domain("domain", &disk.name);
    report.add(
        "a domain is defined once and undefined once",
        defined_once(host, &spec).await,
    );
    report.add(
        "a domain's power is switched once",
        switched_once(host, &spec).await,
    );
    report.add(
        "another machine's domain is not touched",
        stranger(host, fixture, &spec).await,
    );
    report.add(
        "a domain's UUID is not given to a second one",
        one_uuid(host, fixture, &spec).await,
    );
    if let Some(name) = &fixture.foreign_domain {
        report.add(
            "a foreign domain is not touched",
            foreign(host, name, &spec).await,
        );
    }
    report.add(
        "the agent of a domain that is off is silent",
        silent(host, &spec).await,
    );
    report.add("changes are told", told(host, &spec).await);
    report.add(
        "the domains' disk is deleted",
        host.delete_volume(&disk.name).await.map_err(Failure::from),
    );
}

async fn defined_once(host: &dyn Hypervisor, spec: &DomainSpec) -> Result<(), Failure> {
    host.define_domain(spec).await?;
    host.define_domain(spec).await?;
    let same = host
        .inventory()
        .await?
        .domains
        .into_iter()
        .filter(|domain| domain.name == spec.name);
    equal("domains of that name", &same.count(), &1)?;
    let facts = host.domain(&spec.name).await?;
    ensure(
        facts.as_ref().is_some_and(|facts| {
            facts.uuid == spec.uuid
                && facts.owner.as_ref() == Some(&spec.owner)
                && facts.spec_hash.as_ref() == Some(&spec.spec_hash)
                && facts.power == PowerState::Off
                && facts.memory_bytes == spec.memory_bytes
                && facts.cpus == spec.cpus
        }),
        || format!("the domain is {facts:?}, defined as {spec:?}"),
    )?;
    let changed = DomainSpec {
        spec_hash: "2".to_owned(),
        memory_bytes: 128 << 20,
        ..spec.clone()
    };
    host.define_domain(&changed).await?;
    let memory = host.domain(&spec.name).await?.map(|facts| facts.memory_bytes);
    equal(
        "memory after it was defined with another hash",
        &memory,
        &Some(changed.memory_bytes),
    )?;
    host.undefine_domain(&spec.name, &spec.owner).await?;
    host.undefine_domain(&spec.name, &spec.owner).await?;
    equal("the undefined domain", &host.domain(&spec.name).await?, &None)
}

async fn power(host: &dyn Hypervisor, spec: &DomainSpec) -> Result<Option<PowerState>, Fault> {
    Ok(host.domain(&spec.name).await?.map(|facts| facts.power))
}

async fn switched_once(host: &dyn Hypervisor, spec: &DomainSpec) -> Result<(), Failure> {
    host.define_domain(spec).await?;
    host.start_domain(&spec.name, &spec.owner).await?;
    host.start_domain(&spec.name, &spec.owner).await?;
    equal(
        "power after the start",
        &power(host, spec).await?,
        &Some(PowerState::Running),
    )?;
    let result = host.undefine_domain(&spec.name, &spec.owner).await;
    ensure(matches!(result, Err(Fault::Refused { .. })), || {
        format!("undefining a running domain gave {result:?}")
    })?;
    host.destroy_domain(&spec.name, &spec.owner).await?;
    host.destroy_domain(&spec.name, &spec.owner).await?;
    equal(
        "power after the cut",
        &power(host, spec).await?,
        &Some(PowerState::Off),
    )?;
    host.shutdown_domain(&spec.name, &spec.owner).await?;
    host.undefine_domain(&spec.name, &spec.owner).await?;
    host.destroy_domain(&spec.name, &spec.owner).await?;
    equal("the undefined domain", &host.domain(&spec.name).await?, &None)
}

/// Every call that changes a domain meets a conflict.
async fn untouchable(host: &dyn Hypervisor, spec: &DomainSpec, owner: &Owner) -> Result<(), Failure> {
    let name = &spec.name;
    conflict(
        "defining",
        &host
            .define_domain(&DomainSpec {
                owner: owner.clone(),
                ..spec.clone()
            })
            .await,
    )?;
    conflict("starting", &host.start_domain(name, owner).await)?;
    conflict("shutting down", &host.shutdown_domain(name, owner).await)?;
    conflict("destroying", &host.destroy_domain(name, owner).await)?;
    conflict("undefining", &host.undefine_domain(name, owner).await)?;
    let disk = AttachedDisk {
        volume: spec
            .disks
            .first()
            .map(|disk| disk.volume.clone())
            .unwrap_or_default(),
        format: VolumeFormat::Qcow2,
        serial: "conformance".to_owned(),
    };
    conflict("attaching", &host.attach_disk(name, owner, &disk).await)?;
    conflict("detaching", &host.detach_disk(name, owner, &disk.serial).await)?;
    conflict(
        "asking the agent",
        &host.agent(name, owner, r#"{"execute":"guest-ping"}"#, SOON).await,
    )
}

async fn stranger(host: &dyn Hypervisor, fixture: &Fixture, spec: &DomainSpec) -> Result<(), Failure> {
    host.define_domain(spec).await?;
    for started in [false, true] {
        if started {
            host.start_domain(&spec.name, &spec.owner).await?;
        }
        let before = host.domain(&spec.name).await?;
        untouchable(host, spec, &fixture.owner(1)).await?;
        untouchable(host, spec, &fixture.stranger()).await?;
        equal("the domain", &host.domain(&spec.name).await?, &before)?;
    }
    host.destroy_domain(&spec.name, &spec.owner).await?;
    Ok(host.undefine_domain(&spec.name, &spec.owner).await?)
}

async fn foreign(host: &dyn Hypervisor, name: &str, spec: &DomainSpec) -> Result<(), Failure> {
    let before = host.domain(name).await?;
    ensure(before.as_ref().is_some_and(|facts| facts.owner.is_none()), || {
        format!("the foreign domain is {before:?}")
    })?;
    untouchable(
        host,
        &DomainSpec {
            name: name.to_owned(),
            ..spec.clone()
        },
        &spec.owner,
    )
    .await?;
    equal("the domain", &host.domain(name).await?, &before)
}

async fn one_uuid(host: &dyn Hypervisor, fixture: &Fixture, spec: &DomainSpec) -> Result<(), Failure> {
    host.define_domain(spec).await?;
    let second = DomainSpec {
        name: fixture.name("second"),
        ..spec.clone()
    };
    conflict(
        "a second domain of the same UUID",
        &host.define_domain(&second).await,
    )?;
    equal("the second domain", &host.domain(&second.name).await?, &None)?;
    Ok(host.undefine_domain(&spec.name, &spec.owner).await?)
}

async fn silent(host: &dyn Hypervisor, spec: &DomainSpec) -> Result<(), Failure> {
    host.define_domain(spec).await?;
    let result = host
        .agent(&spec.name, &spec.owner, r#"{"execute":"guest-ping"}"#, SOON)
        .await;
    host.undefine_domain(&spec.name, &spec.owner).await?;
    match result {
        Err(Fault::AgentSilent { .. }) => Ok(()),
        Err(fault @ Fault::Unsupported { .. }) => Err(fault.into()),
        other => Err(Failure::Broken(format!("asking it gave {other:?}"))),
    }
}

async fn told(host: &dyn Hypervisor, spec: &DomainSpec) -> Result<(), Failure> {
    let mut events = host.events();
    host.define_domain(spec).await?;
    let defined = change_of(&mut events, &spec.name).await;
    host.undefine_domain(&spec.name, &spec.owner).await?;
    ensure(defined, || {
        format!("nothing was told of {} within {} s", spec.name, SOON.as_secs())
    })
}

async fn change_of(events: &mut Receiver<HostEvent>, name: &str) -> bool {
    let wanted = HostEvent {
        domain: Some(name.to_owned()),
        kind: EventKind::DomainChanged,
    };
    let change = async {
        loop {
            match events.recv().await {
                Ok(event) if event == wanted => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    };
    tokio::time::timeout(SOON, change).await.unwrap_or(false)
}
