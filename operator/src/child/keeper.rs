//! Keeps one client and one set of watches for each child cluster.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::future::{AbortHandle, abortable};
use futures::stream::BoxStream;
use kube::Client;
use tokio::sync::Notify;

use super::kube_child::KubeChild;
use super::watch::{Seen, Watching};
use super::{ChildAccess, ChildApi, ChildError, ChildKey, Children};
use crate::context::{Clock, Tasks};
use crate::triggers::Triggers;

/// Makes a client of a child's API.
type Connect = Box<dyn Fn(&ChildKey, &ChildAccess) -> Result<Client, ChildError> + Send + Sync>;

/// One client and one set of watches for each child cluster, made when it is first asked for.
pub struct ChildKeeper {
    clock: Arc<dyn Clock>,
    tasks: Arc<dyn Tasks>,
    connect: Connect,
    kept: Mutex<HashMap<ChildKey, Kept>>,
    triggers: Triggers<ChildKey>,
}

struct Kept {
    access: ChildAccess,
    child: Arc<KubeChild>,
    watching: AbortHandle,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl ChildKeeper {
    /// Reaches each child by the client that `connect` makes: one whose calls have their answer within a limit.
    pub fn new(
        clock: Arc<dyn Clock>,
        tasks: Arc<dyn Tasks>,
        connect: impl Fn(&ChildKey, &ChildAccess) -> Result<Client, ChildError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            clock,
            tasks,
            connect: Box::new(connect),
            kept: Mutex::default(),
            triggers: Triggers::default(),
        }
    }

    fn keep(&self, key: &ChildKey, access: &ChildAccess) -> Result<Kept, ChildError> {
        let client = (self.connect)(key, access)?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let again = Arc::new(Notify::new());
        let watching = Watching {
            key: key.clone(),
            client: client.clone(),
            seen: seen.clone(),
            again: again.clone(),
            clock: self.clock.clone(),
            triggers: self.triggers.clone(),
        };
        let (work, watching) = abortable(watching.run());
        self.tasks.spawn(
            "child-watch",
            Box::pin(async move {
                // Aborted when the child is forgotten: nobody looks at its view then.
                let _ = work.await;
            }),
        );
        let child = Arc::new(KubeChild::new(key.clone(), client, seen, again));
        Ok(Kept {
            access: access.clone(),
            child,
            watching,
        })
    }
}

impl Children for ChildKeeper {
    fn api(&self, key: &ChildKey, access: &ChildAccess) -> Result<Arc<dyn ChildApi>, ChildError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.get(key).filter(|known| known.access == *access) {
            return Ok(known.child.clone());
        }
        let new = self.keep(key, access)?;
        let child = new.child.clone();
        kept.insert(key.clone(), new);
        Ok(child)
    }

    fn forget(&self, key: &ChildKey) {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }

    fn triggers(&self) -> BoxStream<'static, ChildKey> {
        self.triggers.stream().boxed()
    }
}
