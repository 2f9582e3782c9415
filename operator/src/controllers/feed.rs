//! One watch for each kind, shared by everybody: it fills the cache first and tells of the change after that.
//!
//! With a watch for each controller, a controller could be told of a change that the cache it then reads does not have yet, and
//! would take what it sees for the present state.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::index::Index;
use super::world::Guarded;
use crate::triggers::Triggers;

/// The watch of one kind.
pub struct Feed<K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static> {
    store: Store<Guarded<K>>,
    changes: Triggers<Arc<Guarded<K>>>,
    index: Index,
}

impl<K> Feed<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// A watch over all namespaces, and the future that has to be polled for it to run. `refers_to` gives the keys by which an
    /// object is found in the feed's index.
    pub fn new(
        client: &Client,
        refers_to: fn(&K) -> Vec<String>,
    ) -> (Self, impl Future<Output = ()> + Send + use<K>) {
        let writer = Writer::<Guarded<K>>::default();
        let (store, changes) = (writer.as_reader(), Triggers::default());
        let watch = watcher(Api::<Guarded<K>>::all(client.clone()), watcher::Config::default());
        let tell: Triggers<Arc<Guarded<K>>> = changes.clone();
        let index = Index::default();
        let noted = index.clone();
        let run = reflector(writer, watch.default_backoff().modify(prune))
            .inspect(move |event| {
                if let Ok(event) = event {
                    noted.note(event, refers_to);
                }
            })
            .touched_objects()
            .for_each(move |change| {
                match change {
                    Ok(object) => tell.send(Arc::new(object)),
                    Err(error) => {
                        let kind = K::kind(&());
                        tracing::warn!(%kind, "watch: {}; it is begun again", watch_message(&error));
                    }
                }
                futures::future::ready(())
            });
        (
            Self {
                store,
                changes,
                index,
            },
            run,
        )
    }

    /// The cache.
    pub fn store(&self) -> Store<Guarded<K>> {
        self.store.clone()
    }

    /// Its index.
    pub fn index(&self) -> Index {
        self.index.clone()
    }

    /// Every object that is made, changed or deleted from now on.
    pub fn changes(&self) -> impl Stream<Item = Arc<Guarded<K>>> + Send + use<K> {
        self.changes.stream()
    }

    /// The objects of another kind that each change concerns.
    pub fn concerns<T, F, I>(
        &self,
        whom: F,
    ) -> impl Stream<Item = ObjectRef<Guarded<T>>> + Send + use<K, T, F, I>
    where
        T: Resource<DynamicType = ()> + Send + 'static,
        F: Fn(&Guarded<K>) -> I + Send + 'static,
        I: IntoIterator<Item = ObjectRef<Guarded<T>>> + Send,
        I::IntoIter: Send,
    {
        self.changes()
            .flat_map(move |object| futures::stream::iter(whom(object.as_ref())))
    }
}

impl<K> Feed<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// The objects of another kind that a change concerns, where the change is one of what matters to them.
    pub fn concerns_when<M, T, F, I>(
        &self,
        what_matters: fn(&K) -> M,
        whom: F,
    ) -> impl Stream<Item = ObjectRef<Guarded<T>>> + Send + use<K, M, T, F, I>
    where
        M: PartialEq + Send + 'static,
        T: Resource<DynamicType = ()> + Send + 'static,
        F: Fn(&Guarded<K>) -> I + Send + 'static,
        I: IntoIterator<Item = ObjectRef<Guarded<T>>> + Send,
        I::IntoIter: Send,
    {
        self.changes_of(what_matters)
            .flat_map(move |object| futures::stream::iter(whom(object.as_ref())))
    }

    /// Every object that came, went, or has another `what_matters` than before.
    pub fn changes_of<M: PartialEq + Send + 'static>(
        &self,
        what_matters: fn(&K) -> M,
    ) -> impl Stream<Item = Arc<Guarded<K>>> + Send + use<K, M> {
        let store = self.store();
        let mut known: HashMap<ObjectRef<Guarded<K>>, M> = HashMap::new();
        self.changes().filter(move |object| {
            let reference = ObjectRef::from_obj(object.as_ref());
            // The cache has the change already: what is not there any more is gone.
            let now = store
                .get(&reference)
                .and_then(|found| found.0.as_ref().ok().map(what_matters));
            let changed = known.get(&reference) != now.as_ref() || now.is_none();
            match now {
                Some(now) => known.insert(reference, now),
                None => known.remove(&reference),
            };
            futures::future::ready(changed)
        })
    }
}

/// Nobody here reads who wrote which field, and it is the largest part of many objects.
fn prune<K: Resource<DynamicType = ()>>(object: &mut Guarded<K>) {
    object.meta_mut().managed_fields = None;
}

fn watch_message(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(source)
        | watcher::Error::WatchStartFailed(source)
        | watcher::Error::WatchFailed(source) => crate::errors::api_message(source),
        other => other.to_string(),
    }
}
