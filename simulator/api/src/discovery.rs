//! What the server says that it has, for clients that ask before they use it, as kubectl does.
//! See <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api>.

use serde_json::{Value, json};

use crate::{Kind, Kinds};

/// The answer to a request for what there is; none where the path asks for something else.
pub(crate) fn answer(path: &str, kinds: &Kinds) -> Option<Value> {
    let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        ["apis"] => Some(groups(kinds)),
        ["api", "v1"] => resources(kinds, "", "v1"),
        ["apis", group, version] => resources(kinds, group, version),
        _ => None,
    }
}

fn groups(kinds: &Kinds) -> Value {
    let mut groups: Vec<Value> = Vec::new();
    for kind in kinds.iter().filter(|kind| !kind.group.is_empty()) {
        if groups.iter().any(|group| group["name"] == kind.group) {
            continue;
        }
        let version = json!({"groupVersion": kind.api_version(), "version": kind.version});
        groups.push(json!({"name": kind.group, "versions": [version], "preferredVersion": version}));
    }
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn resources(kinds: &Kinds, group: &str, version: &str) -> Option<Value> {
    let of_group = |kind: &&Kind| kind.group == group && kind.version == version;
    let name = kinds.iter().find(of_group)?.api_version();
    let all: Vec<Value> = kinds.iter().filter(of_group).flat_map(of_kind).collect();
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": all}))
}

/// The kind, and its subresources.
fn of_kind(kind: &Kind) -> Vec<Value> {
    let verbs = ["create", "delete", "get", "list", "patch", "update", "watch"];
    let mut all = vec![json!({
        "name": kind.plural, "singularName": kind.kind.to_lowercase(), "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": verbs, "shortNames": short_names(kind.plural),
    })];
    if kind.has_status {
        all.push(json!({
            "name": format!("{}/status", kind.plural), "singularName": "", "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": ["get", "patch", "update"],
        }));
    }
    if kind.plural == "pods" {
        all.push(json!({
            "name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy", "version": "v1",
            "kind": "Eviction", "verbs": ["create"],
        }));
    }
    all
}

fn short_names(plural: &str) -> &'static [&'static str] {
    match plural {
        "configmaps" => &["cm"],
        "daemonsets" => &["ds"],
        "deployments" => &["deploy"],
        "events" => &["ev"],
        "namespaces" => &["ns"],
        "networkpolicies" => &["netpol"],
        "nodes" => &["no"],
        "poddisruptionbudgets" => &["pdb"],
        "pods" => &["po"],
        "serviceaccounts" => &["sa"],
        "services" => &["svc"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_from_the_top() {
        let kinds = Kinds::builtin();
        let groups = answer("/apis", &kinds).unwrap();
        let of_groups = groups["groups"].as_array().unwrap().iter().map(|group| {
            let version = group["preferredVersion"]["groupVersion"].as_str().unwrap();
            format!("/apis/{version}")
        });
        let mut found = 0;
        for path in of_groups.chain(["/api/v1".to_owned()]) {
            let list = answer(&path, &kinds).unwrap();
            let resources = list["resources"].as_array().unwrap();
            let is_kind = |resource: &&Value| !resource["name"].as_str().unwrap().contains('/');
            found += resources.iter().filter(is_kind).count();
        }
        assert_eq!(found, kinds.iter().count());
    }

    #[test]
    fn what_is_not_there_is_not_said_to_be() {
        let kinds = Kinds::builtin();
        for path in ["/apis/nothing.dev/v1", "/api/v2", "/api/v1/nodes", "/"] {
            assert_eq!(answer(path, &kinds), None, "{path}");
        }
    }
}
