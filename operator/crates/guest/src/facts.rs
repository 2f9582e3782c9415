//! What a guest says of itself.

use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;

use crate::agent::NoArguments;
use crate::{Guest, GuestError};

/// What a guest says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFacts {
    /// Its operating system, as it calls itself; none where it does not say.
    pub os: Option<String>,
    /// Its kernel's release.
    pub kernel: Option<String>,
    /// Its processor architecture.
    pub architecture: Option<String>,
    /// Its network interfaces.
    pub interfaces: Vec<GuestInterface>,
    /// Its clock, since 1970-01-01T00:00:00Z.
    pub clock: Duration,
}

/// A network interface of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestInterface {
    /// Its name, such as `eth0`.
    pub name: String,
    /// Its MAC address, lower-case; none where it has none.
    pub mac: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct OsInfo {
    pretty_name: Option<String>,
    kernel_release: Option<String>,
    machine: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Interface {
    name: String,
    hardware_address: Option<String>,
    #[serde(default)]
    ip_addresses: Vec<Address>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Address {
    ip_address: IpAddr,
}

impl Guest {
    /// What the guest says of itself: three agent commands.
    pub async fn facts(&self) -> Result<GuestFacts, GuestError> {
        let os: OsInfo = self.command("guest-get-osinfo", NoArguments {}).await?;
        let interfaces = self.interfaces().await?;
        let clock: u64 = self.command("guest-get-time", NoArguments {}).await?;
        Ok(GuestFacts {
            os: os.pretty_name,
            kernel: os.kernel_release,
            architecture: os.machine,
            interfaces,
            clock: Duration::from_nanos(clock),
        })
    }

    /// The guest's network interfaces: one agent command.
    pub async fn interfaces(&self) -> Result<Vec<GuestInterface>, GuestError> {
        let interfaces: Vec<Interface> = self
            .command("guest-network-get-interfaces", NoArguments {})
            .await?;
        Ok(interfaces
            .into_iter()
            .map(|interface| GuestInterface {
                name: interface.name,
                mac: interface.hardware_address.map(|mac| mac.to_ascii_lowercase()),
                addresses: interface
                    .ip_addresses
                    .into_iter()
                    .map(|address| address.ip_address)
                    .collect(),
            })
            .collect())
    }
}
