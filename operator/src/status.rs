//! Writing an object's status: only where it changed, and only over the version that was read.

use std::fmt::Debug;

use kube::api::PostParams;
use kube::core::object::HasStatus;
use kube::{Api, Resource, ResourceExt};
use seedbed_planted::planted;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::errors::{Error, status_code};

/// Writes `new` as the status of `old` where it differs from the one that `old` has, with the resource version of `old`, and
/// returns the object as it was stored; none where nothing had to be written.
///
/// A status that somebody else wrote since `old` was read is [`Error::Conflict`]; an object that is gone is [`Error::Gone`].
/// In both cases nothing was written.
pub async fn write_status<K>(api: &Api<K>, old: &K, new: K::Status) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = ()> + HasStatus + Clone + Debug + Serialize + DeserializeOwned,
    K::Status: PartialEq,
{
    if old.status() == Some(&new) {
        return Ok(None);
    }
    let mut object = old.clone();
    *object.status_mut() = Some(new);
    object.meta_mut().managed_fields = None;
    if planted!(ForgetVersionOfStatus) {
        object.meta_mut().resource_version = api
            .get(&old.name_any())
            .await
            .ok()
            .and_then(|o| o.resource_version());
    }
    match api
        .replace_status(&old.name_any(), &PostParams::default(), &object)
        .await
    {
        Ok(stored) => Ok(Some(stored)),
        Err(source) => Err(match status_code(&source) {
            Some(409) => Error::Conflict {
                object: describe(old),
            },
            Some(404) => Error::Gone {
                object: describe(old),
            },
            _ => Error::Api {
                operation: format!("{}: write status", describe(old)),
                source,
            },
        }),
    }
}

/// How people know the object: kind, namespace and name.
pub fn describe<K: Resource<DynamicType = ()>>(object: &K) -> String {
    let (kind, name) = (K::kind(&()), object.name_any());
    match object.namespace() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use seedbed_crds::NodePool;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{Asked, client, refusal};

    fn pool(replicas: i32) -> NodePool {
        serde_json::from_value(json!({
            "apiVersion": "seedbed.dev/v1alpha1", "kind": "NodePool",
            "metadata": {"namespace": "default", "name": "workers", "resourceVersion": "7"},
            "spec": {
                "clusterRef": {"name": "demo"},
                "machine": {"cpus": 2, "memory": "2Gi", "disk": "20Gi"},
            },
            "status": {"replicas": replicas},
        }))
        .unwrap()
    }

    fn api(answer: impl Fn(Asked) -> (u16, Value) + Send + Sync + 'static) -> Api<NodePool> {
        Api::namespaced(client(move |asked| std::future::ready(answer(asked))), "default")
    }

    #[tokio::test]
    async fn an_unchanged_status_is_not_written() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let api = api(move |asked| {
            counted.fetch_add(1, Ordering::SeqCst);
            (200, asked.body)
        });
        let old = pool(1);
        let written = write_status(&api, &old, old.status.clone().unwrap())
            .await
            .unwrap();
        assert!(written.is_none());
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_changed_status_is_written_over_the_version_that_was_read() {
        let api = api(|asked| {
            assert_eq!(asked.method, "PUT");
            assert!(
                asked.path.ends_with("/nodepools/workers/status"),
                "{}",
                asked.path
            );
            assert_eq!(asked.body["metadata"]["resourceVersion"], "7");
            (200, asked.body)
        });
        let written = write_status(&api, &pool(1), pool(2).status.unwrap())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(written.status.unwrap().replicas, 2);
    }

    #[tokio::test]
    async fn a_lost_race_and_a_deleted_object_are_told_apart_from_failures() {
        let write = async |code: u16| {
            let api = api(move |_| refusal(code, "Reason", "words"));
            write_status(&api, &pool(1), pool(2).status.unwrap())
                .await
                .unwrap_err()
        };
        assert!(matches!(write(409).await, Error::Conflict { .. }));
        assert!(matches!(write(404).await, Error::Gone { .. }));
        let refused = write(403).await.to_string();
        assert_eq!(
            refused,
            "NodePool default/workers: write status: the API server answered 403: words"
        );
    }
}
