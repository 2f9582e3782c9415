//! Asking the pods of a node to leave.

use crate::child::{ChildApi, Eviction};
use crate::errors::Error;

/// Asks every pod that has to go to leave; what holds some of them up.
pub async fn evict(child: &dyn ChildApi, node: &str) -> Result<Option<String>, Error> {
    let mut blocked = Vec::new();
    for pod in child
        .evictable_pods(node)
        .await?
        .iter()
        .filter(|p| !p.terminating)
    {
        if let Eviction::Blocked { message } = child.evict(pod).await? {
            blocked.push(format!("{}/{}: {message}", pod.namespace, pod.name));
        }
    }
    Ok((!blocked.is_empty()).then(|| blocked.join("; ")))
}
