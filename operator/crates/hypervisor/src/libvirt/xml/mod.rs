//! libvirt's XML, rendered and read. Pure: no connection, no clock.

mod domain;
mod metadata;
mod network;
mod tree;
mod volume;

pub(crate) use domain::{
    BootPaths, DiskXml, DomainXml, Guests, PoolVolumes, free_letter, kept_definition, parse_domain,
    render_attached, render_domain, render_kept,
};
pub(crate) use metadata::{NAMESPACE, parse_metadata};
pub(crate) use network::{NetworkXml, parse_network, render_network, render_reservation};
pub(crate) use tree::XmlError;
pub(crate) use volume::render_volume;
