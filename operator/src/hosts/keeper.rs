//! Keeps one backend for each host, and forwards what happens on them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::future::{AbortHandle, abortable};
use futures::stream::BoxStream;
use kube::ResourceExt;
use seedbed_crds::{HypervisorHost, LibvirtHost, SimulatedHost};
use seedbed_guest::recorded;
use seedbed_hypervisor::{EventKind, HostEvent, Hypervisor};
use tokio::sync::broadcast::{self, error::RecvError};

use super::{HostTrigger, Hosts};
use crate::context::Tasks;
use crate::triggers::Triggers;

/// Makes the backend of a host.
type Open = Box<dyn Fn(&HypervisorHost) -> Arc<dyn Hypervisor> + Send + Sync>;

/// One backend for each host, made when it is first asked for.
pub struct HostKeeper {
    open: Open,
    tasks: Arc<dyn Tasks>,
    kept: Mutex<HashMap<String, Kept>>,
    triggers: Triggers<HostTrigger>,
}

struct Kept {
    reached_by: (Option<LibvirtHost>, Option<SimulatedHost>),
    hypervisor: Arc<dyn Hypervisor>,
    forwarder: AbortHandle,
}

impl Kept {
    fn is_of(&self, host: &HypervisorHost) -> bool {
        (&self.reached_by.0, &self.reached_by.1) == (&host.spec.libvirt, &host.spec.simulated)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.forwarder.abort();
    }
}

impl HostKeeper {
    /// Keeps what `open` makes.
    pub fn new(
        tasks: Arc<dyn Tasks>,
        open: impl Fn(&HypervisorHost) -> Arc<dyn Hypervisor> + Send + Sync + 'static,
    ) -> Self {
        Self {
            open: Box::new(open),
            tasks,
            kept: Mutex::default(),
            triggers: Triggers::default(),
        }
    }

    fn keep(&self, host: &HypervisorHost) -> Kept {
        let hypervisor = recorded::recorded((self.open)(host));
        let (forwarding, forwarder) = abortable(forward(
            host.name_any(),
            hypervisor.events(),
            self.triggers.clone(),
        ));
        self.tasks.spawn(
            "host-events",
            Box::pin(async move {
                // Aborted when the backend is let go of: nothing is left to forward then.
                let _ = forwarding.await;
            }),
        );
        Kept {
            reached_by: (host.spec.libvirt.clone(), host.spec.simulated.clone()),
            hypervisor,
            forwarder,
        }
    }
}

impl Hosts for HostKeeper {
    fn hypervisor(&self, host: &HypervisorHost) -> Arc<dyn Hypervisor> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let name = host.name_any();
        match kept.get(&name) {
            Some(known) if known.is_of(host) => known.hypervisor.clone(),
            _ => {
                let new = self.keep(host);
                let hypervisor = new.hypervisor.clone();
                kept.insert(name, new);
                hypervisor
            }
        }
    }

    fn forget(&self, name: &str) {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }

    fn triggers(&self) -> BoxStream<'static, HostTrigger> {
        self.triggers.stream().boxed()
    }
}

/// Passes the events of one host on until its backend is gone. Where some were lost, the whole host is to be looked at again.
async fn forward(host: String, mut events: broadcast::Receiver<HostEvent>, triggers: Triggers<HostTrigger>) {
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(_)) => HostEvent {
                domain: None,
                kind: EventKind::HostConnected,
            },
            Err(RecvError::Closed) => return,
        };
        recorded::happened(&event);
        triggers.send(HostTrigger {
            host: host.clone(),
            domain: event.domain,
            kind: event.kind,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;
    use crate::context::TokioTasks;
    use crate::testing::TransferHost;

    fn host(uri: &str) -> HypervisorHost {
        serde_json::from_value(json!({
            "apiVersion": "seedbed.dev/v1alpha1", "kind": "HypervisorHost", "metadata": {"name": "local"},
            "spec": {
                "libvirt": {"uri": uri, "domainType": "qemu", "storagePool": "default"},
                "nodeAddressRange": "10.64.0.0/16",
            },
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_host_has_one_backend_until_it_is_reached_otherwise() {
        let made = Arc::new(AtomicUsize::new(0));
        let counted = made.clone();
        let keeper = HostKeeper::new(Arc::new(TokioTasks), move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            TransferHost::new().0
        });
        let first = keeper.hypervisor(&host("qemu:///system"));
        assert!(Arc::ptr_eq(&first, &keeper.hypervisor(&host("qemu:///system"))));
        let other = keeper.hypervisor(&host("qemu+tls://far/system"));
        assert!(!Arc::ptr_eq(&first, &other));
        assert_eq!(made.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn what_happens_on_a_host_is_told_with_its_name_and_lost_events_as_the_whole_host() {
        let (backend, _outcomes) = TransferHost::new();
        let given = backend.clone();
        let keeper = HostKeeper::new(Arc::new(TokioTasks), move |_| given.clone());
        let mut triggers = keeper.triggers();
        keeper.hypervisor(&host("qemu:///system"));
        let event = |name: &str| HostEvent {
            domain: Some(name.into()),
            kind: EventKind::DomainChanged,
        };
        // Its buffer holds two: the first of three is lost.
        for name in ["default.a", "default.b", "default.c"] {
            backend.happens(event(name));
        }
        let told: Vec<_> = triggers.by_ref().take(3).collect().await;
        assert!(told.iter().all(|trigger| trigger.host == "local"));
        assert_eq!(
            (told[0].domain.clone(), told[0].kind),
            (None, EventKind::HostConnected)
        );
        assert_eq!(told[1].domain.as_deref(), Some("default.b"));
        assert_eq!(told[2].domain.as_deref(), Some("default.c"));
    }
}
