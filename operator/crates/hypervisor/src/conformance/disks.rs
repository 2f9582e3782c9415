//! Checks of disks that a domain has for as long as it is on.

use super::volumes::{Bytes, LIMIT, qcow2};
use super::{Failure, Fixture, Report, conflict, ensure, equal};
use crate::{AttachedDisk, DomainSpec, Fault, Hypervisor, VolumeFormat};

pub(super) async fn run(host: &dyn Hypervisor, fixture: &Fixture, report: &mut Report) {
    let specs = ["first", "second"].map(|name| fixture.domain(name, &fixture.disk(name).name));
    let [first, second] = &specs;
    report.add(
        "a domain that is off takes no disk and has none",
        off(host, fixture, first).await,
    );
    let used = used(host, fixture, first, second).await;
    let removed = remove(host, fixture, &specs).await;
    report.add("domains share a disk while they are on", used.and(removed));
}

/// The disk that is attached.
fn attached(fixture: &Fixture) -> AttachedDisk {
    AttachedDisk {
        volume: fixture.name("attached"),
        format: VolumeFormat::Qcow2,
        serial: "conformance".to_owned(),
    }
}

async fn define(host: &dyn Hypervisor, fixture: &Fixture, spec: &DomainSpec) -> Result<(), Fault> {
    for disk in &spec.disks {
        let volume = crate::VolumeSpec {
            name: disk.volume.clone(),
            ..fixture.disk("any")
        };
        host.create_volume(&volume).await?;
    }
    host.define_domain(spec).await
}

async fn remove(host: &dyn Hypervisor, fixture: &Fixture, specs: &[DomainSpec]) -> Result<(), Failure> {
    for spec in specs {
        host.destroy_domain(&spec.name, &spec.owner).await?;
        host.undefine_domain(&spec.name, &spec.owner).await?;
        for disk in &spec.disks {
            host.delete_volume(&disk.volume).await?;
        }
    }
    Ok(host.delete_volume(&attached(fixture).volume).await?)
}

async fn serials(host: &dyn Hypervisor, spec: &DomainSpec) -> Result<Vec<String>, Fault> {
    let facts = host.domain(&spec.name).await?;
    Ok(facts.map(|facts| facts.attached).unwrap_or_default())
}

async fn off(host: &dyn Hypervisor, fixture: &Fixture, spec: &DomainSpec) -> Result<(), Failure> {
    let (name, owner, disk) = (&spec.name, &spec.owner, &attached(fixture));
    let absent = host.attach_disk(name, owner, disk).await;
    ensure(matches!(absent, Err(Fault::NotFound { .. })), || {
        format!("attaching to an absent domain gave {absent:?}")
    })?;
    host.detach_disk(name, owner, &disk.serial).await?;
    define(host, fixture, spec).await?;
    let refused = host.attach_disk(name, owner, disk).await;
    ensure(matches!(refused, Err(Fault::Refused { .. })), || {
        format!("attaching to a domain that is off gave {refused:?}")
    })?;
    host.detach_disk(name, owner, &disk.serial).await?;
    equal("its disks", &serials(host, spec).await?, &Vec::new())?;
    remove(host, fixture, std::slice::from_ref(spec)).await
}

async fn used(
    host: &dyn Hypervisor,
    fixture: &Fixture,
    first: &DomainSpec,
    second: &DomainSpec,
) -> Result<(), Failure> {
    let disk = attached(fixture);
    let attach = |spec: &DomainSpec| {
        let (name, owner) = (spec.name.clone(), spec.owner.clone());
        let disk = &disk;
        async move { host.attach_disk(&name, &owner, disk).await }
    };
    host.upload_volume(&disk.volume, disk.format, Bytes::new(qcow2()), None, LIMIT)
        .await?;
    let wanted = vec![disk.serial.clone()];
    for spec in [first, second] {
        define(host, fixture, spec).await?;
        host.start_domain(&spec.name, &spec.owner).await?;
        unusable(host, spec, &disk).await?;
        attach(spec).await?;
        attach(spec).await?;
        equal("attached disks", &serials(host, spec).await?, &wanted)?;
    }
    let other = AttachedDisk {
        volume: fixture.name("first"),
        ..disk.clone()
    };
    conflict(
        "attaching another volume by the serial of an attached one",
        &host.attach_disk(&first.name, &first.owner, &other).await,
    )?;
    detached(host, fixture, first, &disk).await?;
    equal("the other one's", &serials(host, second).await?, &wanted)?;
    host.destroy_domain(&second.name, &second.owner).await?;
    equal(
        "those of one that is off",
        &serials(host, second).await?,
        &Vec::new(),
    )?;
    host.start_domain(&second.name, &second.owner).await?;
    equal("those after it", &serials(host, second).await?, &Vec::new())?;
    Ok(attach(second).await?)
}

/// What cannot be attached leaves no trace.
async fn unusable(host: &dyn Hypervisor, spec: &DomainSpec, disk: &AttachedDisk) -> Result<(), Failure> {
    let absent = AttachedDisk {
        volume: format!("{}.absent", disk.volume),
        ..disk.clone()
    };
    let incomplete = AttachedDisk {
        volume: spec
            .disks
            .first()
            .map(|disk| disk.volume.clone())
            .unwrap_or_default(),
        ..disk.clone()
    };
    let long = AttachedDisk {
        serial: "x".repeat(AttachedDisk::SERIAL_LIMIT + 1),
        ..disk.clone()
    };
    for disk in [&absent, &incomplete, &long] {
        let result = host.attach_disk(&spec.name, &spec.owner, disk).await;
        ensure(
            matches!(result, Err(Fault::NotFound { .. } | Fault::Refused { .. })),
            || format!("attaching {disk:?} gave {result:?}"),
        )?;
    }
    equal("attached disks", &serials(host, spec).await?, &Vec::new())
}

async fn detached(
    host: &dyn Hypervisor,
    fixture: &Fixture,
    spec: &DomainSpec,
    disk: &AttachedDisk,
) -> Result<(), Failure> {
    let detach = || host.detach_disk(&spec.name, &spec.owner, &disk.serial);
    host.detach_disk(&spec.name, &spec.owner, "another").await?;
    if !fixture.guests_let_go {
        let result = detach().await;
        ensure(matches!(result, Err(Fault::TimedOut { .. })), || {
            format!("detaching from a domain without a guest gave {result:?}")
        })?;
        return equal(
            "attached disks",
            &serials(host, spec).await?,
            &vec![disk.serial.clone()],
        );
    }
    detach().await?;
    detach().await?;
    equal("attached disks", &serials(host, spec).await?, &Vec::new())?;
    Ok(host.attach_disk(&spec.name, &spec.owner, disk).await?)
}
