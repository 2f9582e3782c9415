//! Checks of volumes.

use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Failure, Fixture, Report, conflict, ensure, equal};
use crate::{ByteSource, Fault, Hypervisor, VolumeFormat, VolumeSpec};

pub(super) const LIMIT: Duration = Duration::from_mins(1);

pub(super) async fn run(host: &dyn Hypervisor, fixture: &Fixture, report: &mut Report) {
    report.add(
        "a volume is created once and deleted once",
        created_once(host, fixture).await,
    );
    report.add(
        "an upload is done once and can be built upon",
        uploaded_once(host, fixture).await,
    );
    report.add(
        "an upload that is not what was promised leaves nothing",
        bad_uploads(host, fixture).await,
    );
    report.add(
        "nothing is built upon a volume that is not complete",
        incomplete(host, fixture).await,
    );
}

/// Bytes in memory that count how often they are asked for.
#[derive(Debug)]
pub(super) struct Bytes {
    content: Vec<u8>,
    opened: AtomicUsize,
    /// What it says of its length, where that is not the truth.
    claimed: Option<u64>,
}

impl Bytes {
    pub(super) fn new(content: Vec<u8>) -> Arc<Self> {
        Arc::new(Self {
            content,
            opened: AtomicUsize::new(0),
            claimed: None,
        })
    }
}

impl ByteSource for Bytes {
    fn open(&self) -> io::Result<(Box<dyn Read + Send>, u64)> {
        self.opened.fetch_add(1, Ordering::AcqRel);
        let length = self.claimed.unwrap_or(self.content.len() as u64);
        Ok((Box::new(Cursor::new(self.content.clone())), length))
    }

    fn describe(&self) -> String {
        format!("{} bytes in memory", self.content.len())
    }
}

/// Virtual size of [`qcow2`].
const SIZE: u64 = 1 << 20;

/// An empty qcow2 image of version 2 with clusters of 64 KiB: header, refcount table, refcount block, L1 table.
pub(super) fn qcow2() -> Vec<u8> {
    const CLUSTER: usize = 1 << 16;
    let mut image = vec![0; 4 * CLUSTER];
    let mut put = |offset: usize, bytes: &[u8]| image[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb");
    put(4, &2_u32.to_be_bytes());
    put(20, &16_u32.to_be_bytes());
    put(24, &SIZE.to_be_bytes());
    put(36, &1_u32.to_be_bytes());
    put(40, &(3 * CLUSTER as u64).to_be_bytes());
    put(48, &(CLUSTER as u64).to_be_bytes());
    put(56, &1_u32.to_be_bytes());
    put(CLUSTER, &(2 * CLUSTER as u64).to_be_bytes());
    for cluster in 0..4 {
        put(2 * CLUSTER + 2 * cluster, &1_u16.to_be_bytes());
    }
    image
}

async fn created_once(host: &dyn Hypervisor, fixture: &Fixture) -> Result<(), Failure> {
    let spec = fixture.disk("volume");
    host.create_volume(&spec).await?;
    host.create_volume(&spec).await?;
    let facts = host.volume(&spec.name).await?;
    ensure(
        facts
            .as_ref()
            .is_some_and(|facts| facts.capacity_bytes == spec.capacity_bytes && !facts.complete),
        || format!("the volume is {facts:?}, made as {spec:?}"),
    )?;
    let larger = VolumeSpec {
        capacity_bytes: 2 << 20,
        ..spec.clone()
    };
    conflict(
        "creating it with another size",
        &host.create_volume(&larger).await,
    )?;
    host.delete_volume(&spec.name).await?;
    host.delete_volume(&spec.name).await?;
    equal("the deleted volume", &host.volume(&spec.name).await?, &None)
}

async fn uploaded_once(host: &dyn Hypervisor, fixture: &Fixture) -> Result<(), Failure> {
    let name = fixture.name("base");
    let source = Bytes::new(qcow2());
    host.upload_volume(&name, VolumeFormat::Qcow2, source.clone(), None, LIMIT)
        .await?;
    host.upload_volume(&name, VolumeFormat::Qcow2, source.clone(), None, LIMIT)
        .await?;
    equal(
        "how often the source was read",
        &source.opened.load(Ordering::Acquire),
        &1,
    )?;
    let facts = host.volume(&name).await?;
    ensure(
        facts
            .as_ref()
            .is_some_and(|facts| facts.complete && facts.capacity_bytes == SIZE),
        || {
            format!(
                "the uploaded volume is {facts:?}, expected a complete one with a virtual size of {SIZE} bytes"
            )
        },
    )?;
    let listed = host
        .inventory()
        .await?
        .volumes
        .into_iter()
        .filter(|volume| volume.name.starts_with(&name));
    equal("what the upload made", &listed.collect(), &Vec::from_iter(facts))?;
    let overlay = VolumeSpec {
        backing: Some(name.clone()),
        capacity_bytes: 2 * SIZE,
        ..fixture.disk("overlay")
    };
    host.create_volume(&overlay).await?;
    host.create_volume(&overlay).await?;
    let facts = host.volume(&overlay.name).await?;
    ensure(
        facts
            .as_ref()
            .is_some_and(|facts| !facts.complete && facts.capacity_bytes == 2 * SIZE),
        || format!("the overlay is {facts:?}"),
    )?;
    host.delete_volume(&overlay.name).await?;
    host.delete_volume(&name).await?;
    equal("the deleted volume", &host.volume(&name).await?, &None)
}

async fn bad_uploads(host: &dyn Hypervisor, fixture: &Fixture) -> Result<(), Failure> {
    let name = fixture.name("bad");
    let wrong = "0".repeat(64);
    let short = Bytes {
        claimed: Some(9),
        ..Bytes {
            content: b"eight by".to_vec(),
            opened: AtomicUsize::new(0),
            claimed: None,
        }
    };
    let cases: [(&str, VolumeFormat, Arc<Bytes>, Option<&str>); 4] = [
        (
            "another digest",
            VolumeFormat::Raw,
            Bytes::new(b"bytes".to_vec()),
            Some(&wrong),
        ),
        (
            "another format",
            VolumeFormat::Qcow2,
            Bytes::new(b"bytes".to_vec()),
            None,
        ),
        ("nothing at all", VolumeFormat::Raw, Bytes::new(Vec::new()), None),
        ("less than its length", VolumeFormat::Raw, Arc::new(short), None),
    ];
    for (what, format, source, sha256) in cases {
        match host.upload_volume(&name, format, source, sha256, LIMIT).await {
            Err(Fault::Source { .. }) => {}
            Err(fault @ Fault::Unsupported { .. }) => return Err(fault.into()),
            other => return Err(Failure::Broken(format!("a source with {what} gave {other:?}"))),
        }
        equal(
            &format!("the volume of a source with {what}"),
            &host.volume(&name).await?,
            &None,
        )?;
    }
    Ok(())
}

async fn incomplete(host: &dyn Hypervisor, fixture: &Fixture) -> Result<(), Failure> {
    let base = fixture.disk("base");
    host.create_volume(&base).await?;
    let overlay = VolumeSpec {
        backing: Some(base.name.clone()),
        ..fixture.disk("overlay")
    };
    let result = host.create_volume(&overlay).await;
    ensure(matches!(result, Err(Fault::Refused { .. })), || {
        format!("an overlay of it gave {result:?}")
    })?;
    host.delete_volume(&base.name).await?;
    let result = host.create_volume(&overlay).await;
    ensure(matches!(result, Err(Fault::NotFound { .. })), || {
        format!("an overlay of nothing gave {result:?}")
    })?;
    equal("the overlay", &host.volume(&overlay.name).await?, &None)
}
