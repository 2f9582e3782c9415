//! libvirt's XML, rendered and read. Pure: no connection, no clock.

mod domain;
mod metadata;
mod network;
mod tree;
mod volume;

pub(crate) use domain::{BootPaths, Guests, PoolVolumes, parse_domain, render_domain};
pub(crate) use metadata::{NAMESPACE, parse_metadata};
pub(crate) use network::{NetworkXml, parse_network, render_network, render_reservation};
pub(crate) use tree::XmlError;
pub(crate) use volume::render_volume;
