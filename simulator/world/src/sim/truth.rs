//! Finding objects in the seed's store.

use std::sync::LazyLock;

use seedbed_simulated_api::{Selector, Store};
use serde_json::Value;

/// Selects everything.
static EVERYTHING: LazyLock<Selector> = LazyLock::new(Selector::default);

/// The objects of the seed.
pub(crate) struct Objects<'a>(pub(crate) &'a Store);

impl<'a> Objects<'a> {
    /// All objects of that kind of ours.
    pub(crate) fn all(&self, kind: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.of_plural(&format!("{}s", kind.to_lowercase()))
    }

    /// All objects of the kind with that name in paths.
    pub(crate) fn of_plural(&self, plural: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
        let kind = self.0.kinds().of_plural(plural);
        kind.into_iter()
            .flat_map(|kind| self.0.list(kind, "", &EVERYTHING))
    }

    pub(crate) fn by_uid(&self, kind: &str, wanted: &str) -> Option<&'a Value> {
        self.all(kind).find(|object| uid(object) == wanted)
    }

    /// Whether the machine's cluster goes and leaves it as it is.
    pub(crate) fn retains(&self, machine: &Value) -> bool {
        let cluster = owner(machine, "DevCluster").unwrap_or_default();
        self.by_uid("DevCluster", &cluster)
            .is_some_and(|cluster| path(cluster, &["spec", "deletionPolicy"]) == Some("Retain"))
    }
}

/// The text at that place.
pub(crate) fn path<'a>(object: &'a Value, words: &[&str]) -> Option<&'a str> {
    words
        .iter()
        .try_fold(object, |value, word| value.get(word))?
        .as_str()
}

pub(crate) fn uid(object: &Value) -> &str {
    path(object, &["metadata", "uid"]).unwrap_or_default()
}

/// UID of the owner of that kind, by the object's references.
pub(crate) fn owner(object: &Value, kind: &str) -> Option<String> {
    let references = object["metadata"]["ownerReferences"].as_array()?;
    let owner = references.iter().find(|owner| owner["kind"] == kind)?;
    owner["uid"].as_str().map(str::to_owned)
}
