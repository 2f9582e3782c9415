//! Finding the objects that belong together without looking at all others.
//!
//! With a thousand clusters, a look at every machine for each pass over one of them is a million looks.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

use super::world::Guarded;

/// Namespace and name of an object.
pub type Place = (String, String);

/// The places of objects by what they refer to. Clones are the same index.
///
/// A reference is never taken out while its object is there: what objects refer to, here, cannot be changed. One may stay in for
/// longer than its object: who finds it looks for the object in the cache next.
#[derive(Debug, Clone, Default)]
pub struct Index(Arc<Mutex<HashMap<String, BTreeSet<Place>>>>);

impl Index {
    /// Notes what a watch told. `refers_to` gives the keys of an object.
    pub fn note<K>(&self, event: &Event<Guarded<K>>, refers_to: fn(&K) -> Vec<String>)
    where
        K: Resource<DynamicType = ()>,
    {
        let (object, is_there) = match event {
            Event::Apply(object) | Event::InitApply(object) => (object, true),
            Event::Delete(object) => (object, false),
            Event::Init | Event::InitDone => return,
        };
        let Ok(read) = &object.0 else { return };
        let place = (read.namespace().unwrap_or_default(), read.name_any());
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in refers_to(read) {
            if is_there {
                groups.entry(key).or_default().insert(place.clone());
            } else if let Some(group) = groups.get_mut(&key) {
                group.remove(&place);
                if group.is_empty() {
                    groups.remove(&key);
                }
            }
        }
    }

    /// The places of objects that refer to that, in their order.
    pub fn places(&self, key: &str) -> Vec<Place> {
        let groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups
            .get(key)
            .map(|group| group.iter().cloned().collect())
            .unwrap_or_default()
    }
}

/// The key of what belongs to a cluster.
pub fn of_cluster(namespace: &str, name: &str) -> String {
    format!("cluster/{namespace}/{name}")
}

/// The key of what belongs to a pool.
pub fn of_pool(namespace: &str, name: &str) -> String {
    format!("pool/{namespace}/{name}")
}

/// The key of what is on a host.
pub fn of_host(name: &str) -> String {
    format!("host/{name}")
}

/// The key of what wants a release.
pub fn of_release(version: &str) -> String {
    format!("release/{version}")
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use seedbed_crds::NodePool;
    use serde_json::json;

    use super::*;

    fn pool(name: &str) -> Guarded<NodePool> {
        let pool = serde_json::from_value(json!({
            "apiVersion": "seedbed.dev/v1alpha1", "kind": "NodePool",
            "metadata": {"namespace": "default", "name": name},
            "spec": {"clusterRef": {"name": "demo"}, "machine": {"cpus": 2, "memory": "2Gi", "disk": "20Gi"}},
        }));
        DeserializeGuard(Ok(pool.unwrap()))
    }

    fn keys(pool: &NodePool) -> Vec<String> {
        vec![of_cluster("default", &pool.spec.cluster_ref.name)]
    }

    #[test]
    fn objects_are_found_by_what_they_refer_to_for_as_long_as_they_are_there() {
        let index = Index::default();
        let names = || -> Vec<String> {
            let found = index.places(&of_cluster("default", "demo"));
            found.into_iter().map(|(_, name)| name).collect()
        };
        index.note(&Event::InitApply(pool("b")), keys);
        index.note(&Event::Apply(pool("a")), keys);
        index.note(&Event::Apply(pool("a")), keys);
        assert_eq!(names(), ["a", "b"]);
        assert!(index.places(&of_cluster("other", "demo")).is_empty());
        index.note(&Event::Delete(pool("a")), keys);
        assert_eq!(names(), ["b"]);
    }
}
