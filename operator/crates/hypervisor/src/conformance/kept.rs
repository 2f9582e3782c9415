//! Checks of disks that are kept as they were.

use super::{Failure, Fixture, Report, ensure, equal};
use crate::{DomainSpec, Fault, Hypervisor};

pub(super) async fn run(host: &dyn Hypervisor, fixture: &Fixture, report: &mut Report) {
    let spec = fixture.domain("kept", &fixture.disk("kept").name);
    let result = kept(host, fixture, &spec).await;
    report.add("a disk is kept, merged and reverted", result);
}

async fn is_kept(host: &dyn Hypervisor, spec: &DomainSpec) -> Result<Option<bool>, Fault> {
    Ok(host.domain(&spec.name).await?.and_then(|facts| facts.kept))
}

async fn kept(host: &dyn Hypervisor, fixture: &Fixture, spec: &DomainSpec) -> Result<(), Failure> {
    let (name, owner) = (&spec.name, &spec.owner);
    let absent = host.keep_disk(name, owner).await;
    ensure(matches!(absent, Err(Fault::NotFound { .. })), || {
        format!("keeping the disk of an absent domain gave {absent:?}")
    })?;
    host.merge_disk(name, owner).await?;
    host.revert_disk(name, owner).await?;
    host.create_volume(&fixture.disk("kept")).await?;
    host.define_domain(spec).await?;
    host.start_domain(name, owner).await?;
    let found = used(host, spec).await;
    host.destroy_domain(name, owner).await?;
    host.undefine_domain(name, owner).await?;
    for disk in &spec.disks {
        host.delete_volume(&disk.volume).await?;
    }
    found
}

async fn used(host: &dyn Hypervisor, spec: &DomainSpec) -> Result<(), Failure> {
    let (name, owner) = (&spec.name, &spec.owner);
    if is_kept(host, spec).await?.is_none() {
        let kept = host.keep_disk(name, owner).await;
        return Err(match kept {
            Err(fault @ Fault::Unsupported { .. }) => fault.into(),
            other => Failure::Broken(format!("a host that keeps no disks gave {other:?}")),
        });
    }
    equal("kept at first", &is_kept(host, spec).await?, &Some(false))?;
    // While it runs.
    host.keep_disk(name, owner).await?;
    host.keep_disk(name, owner).await?;
    equal("kept", &is_kept(host, spec).await?, &Some(true))?;
    let other = DomainSpec {
        spec_hash: "another".to_owned(),
        ..spec.clone()
    };
    let redefined = host.define_domain(&other).await;
    ensure(matches!(redefined, Err(Fault::Refused { .. })), || {
        format!("defining one whose disk is kept anew gave {redefined:?}")
    })?;
    let reverted = host.revert_disk(name, owner).await;
    ensure(matches!(reverted, Err(Fault::Refused { .. })), || {
        format!("reverting the disk of one that is on gave {reverted:?}")
    })?;
    host.merge_disk(name, owner).await?;
    host.merge_disk(name, owner).await?;
    equal(
        "kept after it was merged",
        &is_kept(host, spec).await?,
        &Some(false),
    )?;
    // It stays kept over a loss of power, and can be merged while it is off.
    host.keep_disk(name, owner).await?;
    host.destroy_domain(name, owner).await?;
    equal("kept while it is off", &is_kept(host, spec).await?, &Some(true))?;
    host.start_domain(name, owner).await?;
    host.destroy_domain(name, owner).await?;
    host.merge_disk(name, owner).await?;
    equal("kept after that", &is_kept(host, spec).await?, &Some(false))?;
    host.start_domain(name, owner).await?;
    host.keep_disk(name, owner).await?;
    host.destroy_domain(name, owner).await?;
    host.revert_disk(name, owner).await?;
    host.revert_disk(name, owner).await?;
    equal(
        "kept after it was reverted",
        &is_kept(host, spec).await?,
        &Some(false),
    )?;
    host.start_domain(name, owner).await?;
    // With the definition goes the layer.
    Ok(host.keep_disk(name, owner).await?)
}
