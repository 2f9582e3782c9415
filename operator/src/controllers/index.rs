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
/// What an object refers to cannot be changed here, but another object of its name may come without a word of the first one's end: from
/// a list that is read anew. A reference may stay in for longer than its object: who finds it looks for the object in the cache next.
#[derive(Debug, Clone, Default)]
pub struct Index(Arc<Mutex<References>>);

#[derive(Debug, Default)]
struct References {
    places: HashMap<String, BTreeSet<Place>>,
    /// By the object's place.
    keys: HashMap<Place, Vec<String>>,
}

impl References {
    /// What is at that place refers to nothing but that.
    fn set(&mut self, place: Place, keys: Vec<String>) {
        for old in self.keys.remove(&place).unwrap_or_default() {
            if let Some(places) = self.places.get_mut(&old) {
                places.remove(&place);
                if places.is_empty() {
                    self.places.remove(&old);
                }
            }
        }
        for key in &keys {
            self.places.entry(key.clone()).or_default().insert(place.clone());
        }
        if !keys.is_empty() {
            self.keys.insert(place, keys);
        }
    }
}

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
        let keys = if is_there { refers_to(read) } else { Vec::new() };
        let mut references = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        references.set(place, keys);
    }

    /// The places of objects that refer to that, in their order.
    pub fn places(&self, key: &str) -> Vec<Place> {
        let references = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = references.places.get(key);
        found
            .map(|places| places.iter().cloned().collect())
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
        pool_of("demo", name)
    }

    fn pool_of(cluster: &str, name: &str) -> Guarded<NodePool> {
        let pool = serde_json::from_value(json!({
            "apiVersion": "seedbed.dev/v1alpha1", "kind": "NodePool",
            "metadata": {"namespace": "default", "name": name},
            "spec": {"clusterRef": {"name": cluster}, "machine": {"cpus": 2, "memory": "2Gi", "disk": "20Gi"}},
        }));
        DeserializeGuard(Ok(pool.unwrap()))
    }

    fn keys(pool: &NodePool) -> Vec<String> {
        vec![of_cluster("default", &pool.spec.cluster_ref.name)]
    }

    fn names(index: &Index, cluster: &str) -> Vec<String> {
        let found = index.places(&of_cluster("default", cluster));
        found.into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn another_object_of_the_same_name_is_found_by_what_it_refers_to_alone() {
        let index = Index::default();
        index.note(&Event::Apply(pool("a")), keys);
        // The watch missed that it went.
        index.note(&Event::InitApply(pool_of("second", "a")), keys);
        assert_eq!(names(&index, "second"), ["a"]);
        assert!(names(&index, "demo").is_empty());
        index.note(&Event::Delete(pool_of("second", "a")), keys);
        assert!(names(&index, "second").is_empty());
    }

    #[test]
    fn objects_are_found_by_what_they_refer_to_for_as_long_as_they_are_there() {
        let index = Index::default();
        let names = || names(&index, "demo");
        index.note(&Event::InitApply(pool("b")), keys);
        index.note(&Event::Apply(pool("a")), keys);
        index.note(&Event::Apply(pool("a")), keys);
        assert_eq!(names(), ["a", "b"]);
        assert!(index.places(&of_cluster("other", "demo")).is_empty());
        index.note(&Event::Delete(pool("a")), keys);
        assert_eq!(names(), ["b"]);
    }
}
