//! Reading and writing an object's metadata.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The text at that place of `metadata`.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object["metadata"][field].as_str()
}

pub(crate) fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(metadata) = metadata(object) {
        metadata.insert(field.to_owned(), value);
    }
}

pub(crate) fn unset(object: &mut Value, field: &str) {
    if let Some(metadata) = metadata(object) {
        metadata.remove(field);
    }
}

fn metadata(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object
        .as_object_mut()?
        .entry("metadata")
        .or_insert_with(|| json!({}))
        .as_object_mut()
}

pub(crate) fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|finalizers| !finalizers.is_empty())
}

/// UIDs of all owners.
pub(crate) fn owners(object: &Value) -> Vec<(&str, &str, &str, &str)> {
    object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|owner| {
            Some((
                owner["apiVersion"].as_str()?,
                owner["kind"].as_str()?,
                owner["name"].as_str()?,
                owner["uid"].as_str()?,
            ))
        })
        .collect()
}

/// Time as metadata have it: whole seconds.
pub(crate) fn stamp(now: Timestamp) -> Value {
    Value::from(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Whether the object says of itself that it is Ready.
pub fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}
