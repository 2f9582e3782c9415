//! Objects as a table, which kubectl asks for to print them.
//! See <https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::is_ready;

/// The object, or each of a list, as rows of a table.
pub(crate) fn table(value: &Value, now: Timestamp) -> Value {
    let objects: Vec<&Value> = match value["items"].as_array() {
        Some(items) => items.iter().collect(),
        None => vec![value],
    };
    let kind = value["kind"]
        .as_str()
        .unwrap_or_default()
        .trim_end_matches("List");
    let names = columns(kind);
    let columns: Vec<Value> = names
        .iter()
        .map(|name| json!({"name": name, "type": "string", "format": if *name == "Name" { "name" } else { "" }, "description": name, "priority": 0}))
        .collect();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells: Vec<String> = names.iter().map(|name| cell(kind, name, object, now)).collect();
            let metadata = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]});
            json!({"cells": cells, "object": metadata})
        })
        .collect();
    let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": columns, "rows": rows})
}

fn columns(kind: &str) -> &'static [&'static str] {
    match kind {
        "Node" => &["Name", "Status", "Roles", "Age", "Version"],
        "Pod" => &["Name", "Ready", "Status", "Restarts", "Age"],
        _ => &["Name", "Age"],
    }
}

fn cell(kind: &str, column: &str, object: &Value, now: Timestamp) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match (kind, column) {
        (_, "Name") => text(&object["metadata"]["name"]),
        (_, "Age") => {
            let created: Option<Timestamp> = text(&object["metadata"]["creationTimestamp"]).parse().ok();
            created.map_or_else(|| "<unknown>".to_owned(), |at| age((now - at).get_seconds()))
        }
        ("Node", "Status") => {
            let ready = if is_ready(object) { "Ready" } else { "NotReady" };
            let cordoned = object["spec"]["unschedulable"] == Value::Bool(true);
            format!("{ready}{}", if cordoned { ",SchedulingDisabled" } else { "" })
        }
        ("Node", "Roles") => {
            let labels = object["metadata"]["labels"].as_object();
            let mut roles = labels
                .into_iter()
                .flatten()
                .filter_map(|(name, _)| name.strip_prefix("node-role.kubernetes.io/"));
            roles.next().unwrap_or("<none>").to_owned()
        }
        ("Node", "Version") => text(&object["status"]["nodeInfo"]["kubeletVersion"]),
        ("Pod", "Ready") => format!("{}/1", u8::from(is_ready(object))),
        ("Pod", "Status") if object["metadata"]["deletionTimestamp"].is_string() => "Terminating".to_owned(),
        ("Pod", "Status") => object["status"]["phase"].as_str().unwrap_or("Pending").to_owned(),
        ("Pod", "Restarts") => "0".to_owned(),
        _ => String::new(),
    }
}

/// An age as kubectl writes it, without its finer part.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_told_as_kubectl_prints_them() {
        let node = json!({
            "metadata": {
                "name": "a", "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"node-role.kubernetes.io/control-plane": ""},
            },
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.35.4"}},
        });
        let list = json!({"kind": "NodeList", "metadata": {"resourceVersion": "7"}, "items": [node]});
        let table = table(&list, "2026-01-01T00:05:30Z".parse().unwrap());
        assert_eq!(
            table["rows"][0]["cells"],
            json!(["a", "Ready,SchedulingDisabled", "control-plane", "5m", "v1.35.4"])
        );
        assert_eq!(table["columnDefinitions"].as_array().map(Vec::len), Some(5));
    }
}
