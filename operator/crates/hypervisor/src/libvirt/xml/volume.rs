//! Volumes.

use super::tree::{Element, XmlError};
use crate::VolumeFormat;

/// The volume's XML. `backing` is the host path of the qcow2 volume that it starts as a copy of.
pub(crate) fn render_volume(
    name: &str,
    capacity_bytes: u64,
    format: VolumeFormat,
    backing: Option<&str>,
) -> Result<String, XmlError> {
    let kind = |format| Element::new("format").attribute("type", format_name(format));
    let volume = Element::new("volume")
        .child(Element::new("name").text(name))
        .child(
            Element::new("capacity")
                .attribute("unit", "bytes")
                .text(capacity_bytes),
        )
        .child(Element::new("allocation").attribute("unit", "bytes").text(0))
        .child(Element::new("target").child(kind(format)))
        .children(backing.map(|path| {
            Element::new("backingStore")
                .child(Element::new("path").text(path))
                .child(kind(VolumeFormat::Qcow2))
        }));
    volume.render()
}

/// What libvirt calls the format.
pub(super) fn format_name(format: VolumeFormat) -> &'static str {
    match format {
        VolumeFormat::Qcow2 => "qcow2",
        VolumeFormat::Raw => "raw",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_names_its_base_by_the_hosts_path() {
        let xml = render_volume("a&b", 10, VolumeFormat::Qcow2, Some("/pool/base")).unwrap();
        assert_eq!(
            xml,
            "<volume><name>a&amp;b</name><capacity unit='bytes'>10</capacity><allocation unit='bytes'>0</allocation>\
             <target><format type='qcow2'/></target>\
             <backingStore><path>/pool/base</path><format type='qcow2'/></backingStore></volume>"
        );
    }
}
