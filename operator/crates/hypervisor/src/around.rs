//! Something around every call to a host.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::{
    AttachedDisk, ByteSource, DomainFacts, DomainSpec, Fault, HostEvent, HostFacts, Hypervisor, Inventory,
    NetworkFacts, NetworkSpec, Owner, Reservation, VolumeFacts, VolumeFormat, VolumeSpec,
};

/// A call to a host, as far as somebody around it has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<'a> {
    /// The method's name.
    pub verb: &'static str,
    /// Name of the domain, network or volume that it is about; empty where it is about the whole host.
    pub object: &'a str,
    /// For whom it is made, where the method says so.
    pub owner: Option<&'a Owner>,
    /// What else tells it from another call of the same verb and object: an address, or a command for a guest's agent, which may
    /// hold secrets.
    pub detail: Cow<'a, str>,
    /// Whether it can change anything.
    pub changes: bool,
}

/// What happens around every call to a host.
pub trait Around: Send + Sync + 'static {
    /// Makes the call by awaiting `run`, or does something else instead. `run` borrows nothing: it may be left to go on after the
    /// caller has its answer.
    fn around<T: Send + 'static>(
        &self,
        call: Call<'_>,
        run: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> impl Future<Output = Result<T, Fault>> + Send;

    /// What happens on the host, from now on.
    fn events(&self, inner: &dyn Hypervisor) -> broadcast::Receiver<HostEvent> {
        inner.events()
    }
}

/// A host with something around every call to it.
pub struct Wrapped<A> {
    inner: Arc<dyn Hypervisor>,
    around: A,
}

impl<A: Around> Wrapped<A> {
    /// Puts it around the host.
    pub fn new(inner: Arc<dyn Hypervisor>, around: A) -> Self {
        Self { inner, around }
    }
}

fn look<'a>(verb: &'static str, object: &'a str) -> Call<'a> {
    Call {
        verb,
        object,
        owner: None,
        detail: Cow::Borrowed(""),
        changes: false,
    }
}

fn change<'a>(verb: &'static str, object: &'a str, owner: Option<&'a Owner>) -> Call<'a> {
    Call {
        owner,
        changes: true,
        ..look(verb, object)
    }
}

/// Makes a call with the host's own handle: what it is told with is copied, since the call may outlast its caller.
macro_rules! call {
    ($self:ident, $call:expr, |$inner:ident $(, $copy:ident = $from:ident)*| $run:expr) => {{
        let $inner = $self.inner.clone();
        $(let $copy = $from.to_owned();)*
        $self.around.around($call, async move { $run.await }).await
    }};
}

#[async_trait]
impl<A: Around> Hypervisor for Wrapped<A> {
    async fn host(&self) -> Result<HostFacts, Fault> {
        call!(self, look("host", ""), |inner| inner.host())
    }

    async fn inventory(&self) -> Result<Inventory, Fault> {
        call!(self, look("inventory", ""), |inner| inner.inventory())
    }

    async fn domain(&self, name: &str) -> Result<Option<DomainFacts>, Fault> {
        call!(self, look("domain", name), |inner, of = name| inner.domain(&of))
    }

    async fn network(&self, name: &str) -> Result<Option<NetworkFacts>, Fault> {
        call!(self, look("network", name), |inner, of = name| inner.network(&of))
    }

    async fn volume(&self, name: &str) -> Result<Option<VolumeFacts>, Fault> {
        call!(self, look("volume", name), |inner, of = name| inner.volume(&of))
    }

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<(), Fault> {
        call!(self, Call { detail: spec.cidr.to_string().into(), ..change("ensure_network", &spec.name, Some(&spec.owner)) }, |inner, new = spec| inner.ensure_network(&new))
    }

    async fn reserve_address(
        &self,
        network: &str,
        owner: &Owner,
        reservation: &Reservation,
    ) -> Result<(), Fault> {
        call!(self, Call { detail: reservation.ip.to_string().into(), ..change("reserve_address", network, Some(owner)) }, |inner, of = network, whose = owner, new = reservation| inner.reserve_address(&of, &whose, &new))
    }

    async fn release_address(&self, network: &str, owner: &Owner, mac: &str) -> Result<(), Fault> {
        call!(self, Call { detail: mac.into(), ..change("release_address", network, Some(owner)) }, |inner, of = network, whose = owner, old = mac| inner.release_address(&of, &whose, &old))
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), Fault> {
        call!(self, change("create_volume", &spec.name, None), |inner, new = spec| inner.create_volume(&new))
    }

    async fn upload_volume(
        &self,
        name: &str,
        format: VolumeFormat,
        source: Arc<dyn ByteSource>,
        sha256: Option<&str>,
        limit: Duration,
    ) -> Result<(), Fault> {
        let digest = sha256.map(str::to_owned);
        call!(self, change("upload_volume", name, None), |inner, of = name| inner.upload_volume(
            &of,
            format,
            source,
            digest.as_deref(),
            limit
        ))
    }

    async fn delete_volume(&self, name: &str) -> Result<(), Fault> {
        call!(self, change("delete_volume", name, None), |inner, of = name| inner.delete_volume(&of))
    }

    async fn define_domain(&self, spec: &DomainSpec) -> Result<(), Fault> {
        call!(self, Call { detail: spec.uuid.to_string().into(), ..change("define_domain", &spec.name, Some(&spec.owner)) }, |inner, new = spec| inner.define_domain(&new))
    }

    async fn delete_network(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        call!(self, change("delete_network", name, Some(owner)), |inner, of = name, whose = owner| inner.delete_network(&of, &whose))
    }

    async fn start_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        call!(self, change("start_domain", name, Some(owner)), |inner, of = name, whose = owner| inner.start_domain(&of, &whose))
    }

    async fn shutdown_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        call!(self, change("shutdown_domain", name, Some(owner)), |inner, of = name, whose = owner| inner.shutdown_domain(&of, &whose))
    }

    async fn destroy_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        call!(self, change("destroy_domain", name, Some(owner)), |inner, of = name, whose = owner| inner.destroy_domain(&of, &whose))
    }

    async fn undefine_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        call!(self, change("undefine_domain", name, Some(owner)), |inner, of = name, whose = owner| inner.undefine_domain(&of, &whose))
    }

    async fn disown_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        call!(self, change("disown_domain", name, Some(owner)), |inner, of = name, whose = owner| inner.disown_domain(&of, &whose))
    }

    async fn disown_network(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        call!(self, change("disown_network", name, Some(owner)), |inner, of = name, whose = owner| inner.disown_network(&of, &whose))
    }

    async fn keep_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault> {
        call!(self, change("keep_disk", domain, Some(owner)), |inner, of = domain, whose = owner| inner.keep_disk(&of, &whose))
    }

    async fn merge_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault> {
        call!(self, change("merge_disk", domain, Some(owner)), |inner, of = domain, whose = owner| inner.merge_disk(&of, &whose))
    }

    async fn revert_disk(&self, domain: &str, owner: &Owner) -> Result<(), Fault> {
        call!(self, change("revert_disk", domain, Some(owner)), |inner, of = domain, whose = owner| inner.revert_disk(&of, &whose))
    }

    async fn attach_disk(&self, domain: &str, owner: &Owner, disk: &AttachedDisk) -> Result<(), Fault> {
        call!(self, Call { detail: disk.serial.as_str().into(), ..change("attach_disk", domain, Some(owner)) }, |inner, of = domain, whose = owner, new = disk| inner.attach_disk(&of, &whose, &new))
    }

    async fn detach_disk(&self, domain: &str, owner: &Owner, serial: &str) -> Result<(), Fault> {
        call!(self, Call { detail: serial.into(), ..change("detach_disk", domain, Some(owner)) }, |inner, of = domain, whose = owner, old = serial| inner.detach_disk(&of, &whose, &old))
    }

    async fn agent(
        &self,
        domain: &str,
        owner: &Owner,
        command: &str,
        timeout: Duration,
    ) -> Result<String, Fault> {
        call!(self, Call { detail: command.into(), ..change("agent", domain, Some(owner)) }, |inner, of = domain, whose = owner, asked = command| inner.agent(&of, &whose, &asked, timeout))
    }

    fn events(&self) -> broadcast::Receiver<HostEvent> {
        self.around.events(self.inner.as_ref())
    }
}
