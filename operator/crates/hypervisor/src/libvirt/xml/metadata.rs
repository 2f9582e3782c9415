//! Whose a domain or network is, in its metadata.

use super::tree::{Element, XmlError};
use crate::Owner;

/// Namespace of our element in the metadata of domains and networks.
pub(crate) const NAMESPACE: &str = "https://seedbed.dev/libvirt/v1";
const ELEMENT: &str = "owner";

/// The `<metadata>` element.
pub(super) fn metadata(owner: &Owner, spec_hash: Option<&str>) -> Element {
    let mut element = Element::new(&format!("seedbed:{ELEMENT}"))
        .attribute("xmlns:seedbed", NAMESPACE)
        .attribute("namespace", &owner.namespace)
        .attribute("cluster", &owner.cluster)
        .attribute("cluster-uid", &owner.cluster_uid);
    let optional = [
        ("machine", owner.machine.as_deref()),
        ("machine-uid", owner.machine_uid.as_deref()),
        ("spec-hash", spec_hash),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            element = element.attribute(name, value);
        }
    }
    Element::new("metadata").child(element)
}

/// Owner and spec hash in the `<metadata>` of a domain or network. An element of ours that lacks a UID counts as none: nothing
/// is destroyed on its word.
pub(super) fn owner_of(root: &Element) -> (Option<Owner>, Option<String>) {
    root.get("metadata")
        .and_then(|metadata| {
            metadata
                .all(ELEMENT)
                .find(|child| child.namespace.as_deref() == Some(NAMESPACE))
        })
        .map_or((None, None), read)
}

/// Owner and spec hash in our metadata element, as libvirt gives it on its own.
pub(crate) fn parse_metadata(xml: &str) -> Result<(Option<Owner>, Option<String>), XmlError> {
    let element = Element::parse(xml)?;
    Ok(if element.name == ELEMENT {
        read(&element)
    } else {
        (None, None)
    })
}

fn read(element: &Element) -> (Option<Owner>, Option<String>) {
    let value = |name: &str| element.value(name).map(str::to_owned);
    let (Some(namespace), Some(cluster), Some(cluster_uid)) =
        (value("namespace"), value("cluster"), value("cluster-uid"))
    else {
        return (None, None);
    };
    let owner = Owner {
        namespace,
        cluster,
        cluster_uid,
        machine: value("machine"),
        machine_uid: value("machine-uid"),
    };
    (Some(owner), value("spec-hash"))
}
