//! The files that make a machine part of the `Bridge` network.

use std::{fmt::Write, net::Ipv4Addr};

use serde_json::json;

use super::{BridgeNetwork, CniError};
use crate::file::GuestFile;

/// The CNI configuration that containerd reads. It has to be there before the kubelet starts: then the node is Ready
/// as soon as the kubelet is.
pub const CONFLIST: &str = "/etc/cni/net.d/10-seedbed.conflist";
/// The routes, as commands for `ip -batch`.
pub const ROUTES: &str = "/etc/seedbed/pod-routes";
/// The masquerading, as a script for `nft -f`.
pub const MASQUERADE: &str = "/etc/seedbed/pod-masquerade.nft";
/// The unit that sets routes and masquerading at each boot. It may be started again at any time.
pub const UNIT: &str = "seedbed-pod-network.service";
/// Where the unit is.
pub const UNIT_FILE: &str = "/etc/systemd/system/seedbed-pod-network.service";

/// systemd-networkd removes routes that it did not set itself when it configures an interface, unless told not to.
const NETWORKD_FILE: &str = "/etc/systemd/networkd.conf.d/10-seedbed.conf";

impl BridgeNetwork {
    /// The files for the machine with this address. After they are placed, [`UNIT`] is to be enabled and started.
    pub fn files(&self, machine: Ipv4Addr) -> Result<Vec<GuestFile>, CniError> {
        let pods = self.pods_of(machine)?;
        Ok(vec![
            GuestFile::public(CONFLIST, conflist(&pods.to_string())),
            GuestFile::public(ROUTES, self.routes(machine)),
            GuestFile::public(MASQUERADE, masquerade(&self.pod_cidr.to_string())),
            GuestFile::public(UNIT_FILE, unit()),
            GuestFile::public(NETWORKD_FILE, "[Network]\nManageForeignRoutes=no\n"),
        ])
    }

    /// One command for each machine that there can be, but this one. `replace` makes it fit to be run again.
    fn routes(&self, own: Ipv4Addr) -> String {
        let mut batch = String::new();
        for (machine, pods) in self.machines().filter(|(machine, _)| *machine != own) {
            let _ = writeln!(batch, "route replace {pods} via {machine}");
        }
        batch
    }
}

fn conflist(pods: &str) -> String {
    let bridge = json!({
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": true,
        // See the module's description: pods of other nodes must see a pod's own address.
        "ipMasq": false,
        "hairpinMode": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            // Gone after a reboot, as are the pods that had the addresses: a machine that lost power leaks none.
            "dataDir": "/run/cni/networks",
        },
    });
    let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let mut configuration = json!({"cniVersion": "1.0.0", "name": "seedbed", "plugins": [bridge, portmap]});
    configuration.sort_all_objects();
    format!("{configuration:#}\n")
}

/// The first two lines make the script fit to be run again: what nft reads from one file it does at once.
fn masquerade(pod_cidr: &str) -> String {
    format!(
        "table ip seedbed_pods
delete table ip seedbed_pods
table ip seedbed_pods {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {pod_cidr} ip daddr != {{ {pod_cidr}, 224.0.0.0/4 }} masquerade
  }}
}}
"
    )
}

fn unit() -> String {
    format!(
        "[Unit]
Description=Routes to the pods of the cluster's other nodes, masquerading for those of this one
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ip -batch {ROUTES}
ExecStart=nft -f {MASQUERADE}
Restart=on-failure
RestartSec=2

[Install]
WantedBy=multi-user.target
"
    )
}
