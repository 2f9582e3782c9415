//! What a machine's cloud-init is told: who it is, and whose SSH keys open it. Nothing secret: the disk that carries
//! it can be read by everybody who can read the host's volumes. The network is not in it: a guest asks by DHCP.

pub mod cidata;

use serde_json::json;

use crate::document;
pub use crate::document::RenderError;

/// A machine, as its cloud-init sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudInit {
    /// The machine's UID. cloud-init sets a machine up anew when this changes.
    pub instance_id: String,
    /// The host name, which is also the node's name.
    pub hostname: String,
    /// The name with the cluster's DNS zone.
    pub fqdn: String,
    /// Public keys that may log in as the image's default user, in the form of `authorized_keys`.
    pub ssh_authorized_keys: Vec<String>,
}

/// One file of a `NoCloud` data source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CidataFile {
    /// Its name: `user-data` or `meta-data`.
    pub name: &'static str,
    /// What it holds.
    pub content: String,
}

impl CloudInit {
    /// The files of the `NoCloud` data source. [`cidata::image`] makes a disk of them.
    pub fn files(&self) -> Result<Vec<CidataFile>, RenderError> {
        let mut user_data = json!({
            "hostname": self.hostname,
            "fqdn": self.fqdn,
            "prefer_fqdn_over_hostname": false,
            "manage_etc_hosts": true,
            "ssh_pwauth": false,
            "disable_root": true,
        });
        if !self.ssh_authorized_keys.is_empty() {
            user_data["ssh_authorized_keys"] = json!(self.ssh_authorized_keys);
        }
        let meta_data = json!({"instance-id": self.instance_id, "local-hostname": self.hostname});
        Ok(vec![
            CidataFile {
                name: "user-data",
                content: format!(
                    "#cloud-config\n{}",
                    document::value_to_yaml("user-data", &user_data)?
                ),
            },
            CidataFile {
                name: "meta-data",
                content: document::value_to_yaml("meta-data", &meta_data)?,
            },
        ])
    }
}
