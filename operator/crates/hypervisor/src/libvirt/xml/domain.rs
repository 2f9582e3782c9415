//! Domains.

use std::str::FromStr;

use uuid::Uuid;

use super::metadata::{metadata, owner_of};
use super::tree::{Element, XmlError};
use super::volume::format_name;
use crate::{AttachedDisk, Boot, DiskSpec, DomainSpec, DomainType, NicSpec, Owner, VolumeFormat};

/// What QEMU's emulated processor offers and a guest is faster without: a fifth level of page tables, which each miss of the
/// emulated TLB walks through; string instructions that are emulated byte by byte and that a guest prefers where they are said to be
/// fast; and protection of memory whose every change drops what was translated for the other state.
const COSTLY_EMULATED: [&str; 5] = ["la57", "erms", "fsrm", "smap", "pku"];

const AGENT_CHANNEL: &str = "org.qemu.guest_agent.0";

/// What the XML of a domain says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DomainXml {
    pub uuid: Uuid,
    pub owner: Option<Owner>,
    pub spec_hash: Option<String>,
    pub agent_connected: Option<bool>,
    pub memory_bytes: u64,
    pub cpus: u32,
    pub disks: Vec<DiskXml>,
    /// How many of the ports into which a disk can be plugged have nothing in them.
    pub free_ports: usize,
}

/// A disk as the XML of a domain has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiskXml {
    /// What it is called within the domain, such as `vda`.
    pub target: String,
    /// Its volume, where it is one.
    pub volume: Option<String>,
    /// Its file on the host, where it is one that is named by its path.
    pub file: Option<String>,
    /// None in what is rendered here for a definition.
    pub serial: Option<String>,
}

/// What kind of guests the host's driver makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guests {
    /// QEMU's.
    Qemu,
    /// Those of libvirt's test driver, which exist in its memory only.
    Test,
}

/// Where kernel and initrd are on the host, for a direct boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BootPaths {
    pub kernel: String,
    pub initrd: String,
}

/// Where the disks come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolVolumes<'a> {
    /// The storage pool's name.
    pub pool: &'a str,
    /// Host paths of kernel and initrd; needed for [`Boot::Direct`] and looked up on the host.
    pub boot: Option<&'a BootPaths>,
}

/// The domain's XML. Disks are named by pool and volume; no path of the operator's machine is in it.
pub(crate) fn render_domain(
    spec: &DomainSpec,
    volumes: PoolVolumes<'_>,
    guests: Guests,
) -> Result<String, XmlError> {
    let domain_type = match (guests, spec.domain_type) {
        (Guests::Test, _) => "test",
        (Guests::Qemu, DomainType::Kvm) => "kvm",
        (Guests::Qemu, DomainType::Qemu) => "qemu",
    };
    let mut domain = Element::new("domain")
        .attribute("type", domain_type)
        .child(Element::new("name").text(&spec.name))
        .child(Element::new("uuid").text(spec.uuid))
        .child(metadata(&spec.owner, Some(&spec.spec_hash)))
        .child(
            Element::new("memory")
                .attribute("unit", "bytes")
                .text(spec.memory_bytes),
        )
        .child(Element::new("vcpu").text(spec.cpus))
        .child(os(&spec.boot, volumes.boot, guests))
        .child(Element::new("on_poweroff").text("destroy"))
        .child(Element::new("on_reboot").text("restart"))
        .child(Element::new("on_crash").text("restart"));
    if guests == Guests::Qemu {
        domain = domain
            .child(
                Element::new("features")
                    .child(Element::new("acpi"))
                    .child(Element::new("apic")),
            )
            .child(cpu(spec))
            .child(Element::new("clock").attribute("offset", "utc"));
    }
    domain.child(devices(spec, volumes.pool, guests)).render()
}

/// The processor: one socket, as of a small machine. A Linux guest with several distrusts their time stamp counters and takes its
/// time from the HPET, each look at which is an exit from the guest.
fn cpu(spec: &DomainSpec) -> Element {
    let (mode, without) = match spec.domain_type {
        DomainType::Kvm => ("host-passthrough", &[][..]),
        DomainType::Qemu => ("maximum", &COSTLY_EMULATED[..]),
    };
    Element::new("cpu")
        .attribute("mode", mode)
        .child(
            Element::new("topology")
                .attribute("sockets", 1)
                .attribute("cores", spec.cpus)
                .attribute("threads", 1),
        )
        .children(without.iter().map(|name| {
            Element::new("feature")
                .attribute("policy", "disable")
                .attribute("name", name)
        }))
}

fn os(boot: &Boot, paths: Option<&BootPaths>, guests: Guests) -> Element {
    let kind = match guests {
        Guests::Qemu => Element::new("type")
            .attribute("arch", "x86_64")
            .attribute("machine", "q35"),
        Guests::Test => Element::new("type"),
    };
    let os = Element::new("os").child(kind.text("hvm"));
    match (boot, paths) {
        (Boot::Direct { arguments, .. }, Some(paths)) => os
            .child(Element::new("kernel").text(&paths.kernel))
            .child(Element::new("initrd").text(&paths.initrd))
            .child(Element::new("cmdline").text(arguments)),
        _ => os.child(Element::new("boot").attribute("dev", "hd")),
    }
}

/// PCI controllers are left to libvirt, which then gives the machine one port more than it has devices: a disk can be attached there.
fn devices(spec: &DomainSpec, pool: &str, guests: Guests) -> Element {
    let devices = Element::new("devices")
        .children(
            spec.disks
                .iter()
                .zip(b'a'..=b'z')
                .map(|(item, letter)| disk(item, char::from(letter), pool)),
        )
        .children(spec.nics.iter().map(nic));
    if guests == Guests::Test {
        return devices;
    }
    devices
        .child(
            Element::new("channel").attribute("type", "unix").child(
                Element::new("target")
                    .attribute("type", "virtio")
                    .attribute("name", AGENT_CHANNEL),
            ),
        )
        .child(Element::new("serial").attribute("type", "pty"))
        .child(
            Element::new("rng")
                .attribute("model", "virtio")
                .child(Element::new("backend").attribute("model", "builtin")),
        )
        .child(
            Element::new("controller")
                .attribute("type", "usb")
                .attribute("model", "none"),
        )
        .child(Element::new("memballoon").attribute("model", "none"))
        .child(Element::new("video").child(Element::new("model").attribute("type", "none")))
}

/// A disk. The cache mode is `writeback`: what the guest flushes is on the host's disk. `none` would need a file system with
/// `O_DIRECT`, and `unsafe` can leave a damaged qcow2 behind when QEMU is killed.
fn disk(disk: &DiskSpec, letter: char, pool: &str) -> Element {
    let mut driver = Element::new("driver")
        .attribute("name", "qemu")
        .attribute("type", format_name(disk.format))
        .attribute("cache", "writeback");
    if disk.format == VolumeFormat::Qcow2 && !disk.read_only {
        driver = driver.attribute("discard", "unmap");
    }
    Element::new("disk")
        .attribute("type", "volume")
        .attribute("device", "disk")
        .child(driver)
        .child(
            Element::new("source")
                .attribute("pool", pool)
                .attribute("volume", &disk.volume),
        )
        .child(
            Element::new("target")
                .attribute("dev", format!("vd{letter}"))
                .attribute("bus", "virtio"),
        )
        .children(disk.read_only.then(|| Element::new("readonly")))
}

/// The XML with which a disk is attached as `vd<letter>`, for reading only, and detached again.
pub(crate) fn render_attached(attached: &AttachedDisk, letter: char, pool: &str) -> Result<String, XmlError> {
    let spec = DiskSpec {
        volume: attached.volume.clone(),
        format: attached.format,
        // QEMU's lock of an image lets many have it that only read.
        read_only: true,
    };
    disk(&spec, letter, pool)
        .child(Element::new("serial").text(&attached.serial))
        .render()
}

/// The snapshot of that name by which the first of the disks is kept as it is, and what is written goes into that file on the host.
pub(crate) fn render_kept(name: &str, layer: &str, disks: &[DiskXml]) -> Result<String, XmlError> {
    let of = |(index, disk): (usize, &DiskXml)| {
        let element = Element::new("disk").attribute("name", &disk.target);
        if index > 0 {
            return element.attribute("snapshot", "no");
        }
        element
            .attribute("snapshot", "external")
            .child(Element::new("source").attribute("file", layer))
            .child(Element::new("driver").attribute("type", format_name(VolumeFormat::Qcow2)))
    };
    Element::new("domainsnapshot")
        .child(Element::new("name").text(name))
        .child(Element::new("disks").children(disks.iter().enumerate().map(of)))
        .render()
}

/// The definition that the domain had when its disk was kept, as the snapshot's XML has it: beside how it ran where it was on. It is taken
/// as it stands, since it holds more than is read here.
pub(crate) fn kept_definition(snapshot: &str) -> Option<String> {
    let of = |name: &str| {
        let begin = snapshot.find(&format!("<{name} "))? + 1 + name.len();
        let end = snapshot.rfind(&format!("</{name}>"))?;
        Some(format!("<domain{}</domain>", snapshot.get(begin..end)?))
    };
    of("inactiveDomain").or_else(|| of("domain"))
}

/// A letter that no disk `vd<letter>` of the domain has.
pub(crate) fn free_letter(disks: &[DiskXml]) -> Option<char> {
    ('a'..='z').find(|letter| !disks.iter().any(|disk| disk.target == format!("vd{letter}")))
}

fn nic(nic: &NicSpec) -> Element {
    Element::new("interface")
        .attribute("type", "network")
        .child(Element::new("mac").attribute("address", &nic.mac))
        .child(Element::new("source").attribute("network", &nic.network))
        .child(Element::new("model").attribute("type", "virtio"))
}

/// Reads the XML of a domain, ours or not.
pub(crate) fn parse_domain(xml: &str) -> Result<DomainXml, XmlError> {
    let root = Element::parse(xml)?;
    let (owner, spec_hash) = owner_of(&root);
    Ok(DomainXml {
        uuid: parsed(&root, "uuid")?,
        owner,
        spec_hash,
        agent_connected: agent_connected(&root),
        memory_bytes: memory(&root)?,
        cpus: parsed(&root, "vcpu")?,
        disks: disks(&root),
        free_ports: free_ports(&root),
    })
}

fn disks(root: &Element) -> Vec<DiskXml> {
    let disk = |disk: &Element| {
        let source = |of: &str| disk.get("source")?.value(of).map(str::to_owned);
        Some(DiskXml {
            target: disk.get("target")?.value("dev")?.to_owned(),
            volume: source("volume"),
            file: source("file"),
            serial: disk.get("serial").map(|serial| serial.text.trim().to_owned()),
        })
    };
    let devices = root.get("devices").into_iter();
    devices
        .flat_map(|devices| devices.all("disk"))
        .filter_map(disk)
        .collect()
}

/// A port is a bus of its own, on which one device has its address.
fn free_ports(root: &Element) -> usize {
    let Some(devices) = root.get("devices") else {
        return 0;
    };
    let bus = |device: &Element| {
        let address = device.get("address").filter(|a| a.value("type") == Some("pci"))?;
        u32::from_str_radix(address.value("bus")?.trim_start_matches("0x"), 16).ok()
    };
    let used: Vec<u32> = devices.children.iter().filter_map(bus).collect();
    devices
        .all("controller")
        .filter(|controller| controller.value("model") == Some("pcie-root-port"))
        .filter_map(|port| port.value("index")?.parse().ok())
        .filter(|index: &u32| !used.contains(index))
        .count()
}

fn parsed<T: FromStr>(root: &Element, name: &str) -> Result<T, XmlError> {
    let text = root.get(name).map(|element| element.text.trim());
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| XmlError::Content {
            found: format!("{text:?}"),
            expected: format!("a valid <{name}>"),
        })
}

fn memory(root: &Element) -> Result<u64, XmlError> {
    let amount: u64 = parsed(root, "memory")?;
    let unit = root
        .get("memory")
        .and_then(|memory| memory.value("unit"))
        .unwrap_or("KiB");
    let factor = match unit {
        "b" | "bytes" => Some(1),
        "k" | "KiB" => Some(1 << 10),
        "M" | "MiB" => Some(1 << 20),
        "G" | "GiB" => Some(1 << 30),
        "T" | "TiB" => Some(1 << 40),
        _ => None,
    };
    factor
        .and_then(|factor| amount.checked_mul(factor))
        .ok_or_else(|| XmlError::Content {
            found: format!("{amount} {unit}"),
            expected: "an amount of memory".to_owned(),
        })
}

/// The state that QEMU reports for the agent's channel; none where the domain has no such channel or nobody reports.
fn agent_connected(root: &Element) -> Option<bool> {
    root.get("devices")?
        .all("channel")
        .filter_map(|channel| channel.get("target"))
        .find(|target| target.value("name") == Some(AGENT_CHANNEL))?
        .value("state")
        .map(|state| state == "connected")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> DomainSpec {
        DomainSpec {
            name: "default.demo-cp-0".to_owned(),
            uuid: Uuid::from_u128(7),
            owner: Owner {
                namespace: "default".to_owned(),
                cluster: "demo".to_owned(),
                cluster_uid: "c-1".to_owned(),
                machine: Some("demo-cp-0".to_owned()),
                machine_uid: Some("m-1".to_owned()),
            },
            spec_hash: "abc".to_owned(),
            cpus: 2,
            memory_bytes: 3 << 30,
            domain_type: DomainType::Qemu,
            boot: Boot::Direct {
                kernel: "k".to_owned(),
                initrd: "i".to_owned(),
                arguments: "root=/dev/vda a='<b>'".to_owned(),
            },
            disks: vec![
                DiskSpec {
                    volume: "disk".to_owned(),
                    format: VolumeFormat::Qcow2,
                    read_only: false,
                },
                DiskSpec {
                    volume: "seed".to_owned(),
                    format: VolumeFormat::Raw,
                    read_only: true,
                },
            ],
            nics: vec![NicSpec {
                network: "default.demo".to_owned(),
                mac: "52:54:00:00:00:01".to_owned(),
            }],
        }
    }

    fn path<'a>(root: &'a Element, names: &[&str]) -> Option<&'a Element> {
        names.iter().try_fold(root, |element, name| element.get(name))
    }

    fn render(spec: &DomainSpec, guests: Guests) -> Element {
        let boot = BootPaths {
            kernel: "/pool/k".to_owned(),
            initrd: "/pool/i".to_owned(),
        };
        let xml = render_domain(
            spec,
            PoolVolumes {
                pool: "images",
                boot: Some(&boot),
            },
            guests,
        )
        .unwrap();
        Element::parse(&xml).unwrap()
    }

    #[test]
    fn is_read_as_it_was_rendered() {
        let boot = BootPaths {
            kernel: "/pool/k".to_owned(),
            initrd: "/pool/i".to_owned(),
        };
        let volumes = PoolVolumes {
            pool: "images",
            boot: Some(&boot),
        };
        let domain = parse_domain(&render_domain(&spec(), volumes, Guests::Qemu).unwrap()).unwrap();
        assert_eq!(
            domain,
            DomainXml {
                uuid: Uuid::from_u128(7),
                owner: Some(spec().owner),
                spec_hash: Some("abc".to_owned()),
                agent_connected: None,
                memory_bytes: 3 << 30,
                cpus: 2,
                disks: [("vda", "disk"), ("vdb", "seed")]
                    .map(|(target, volume)| DiskXml {
                        target: target.to_owned(),
                        volume: Some(volume.to_owned()),
                        file: None,
                        serial: None,
                    })
                    .to_vec(),
                free_ports: 0,
            }
        );
    }

    #[test]
    fn boots_the_volumes_kernel_with_its_arguments_unchanged() {
        let root = render(&spec(), Guests::Qemu);
        let text = |name| path(&root, &["os", name]).unwrap().text.clone();
        assert_eq!(text("kernel"), "/pool/k");
        assert_eq!(text("cmdline"), "root=/dev/vda a='<b>'");
        assert!(path(&root, &["os", "boot"]).is_none());
    }

    #[test]
    fn boots_from_disk_where_the_spec_says_so() {
        let root = render(
            &DomainSpec {
                boot: Boot::Disk,
                ..spec()
            },
            Guests::Qemu,
        );
        assert_eq!(path(&root, &["os", "boot"]).unwrap().value("dev"), Some("hd"));
        assert!(path(&root, &["os", "kernel"]).is_none());
    }

    #[test]
    fn disks_are_named_by_pool_and_volume_in_order() {
        let root = render(&spec(), Guests::Qemu);
        let disks: Vec<_> = root
            .get("devices")
            .unwrap()
            .all("disk")
            .map(|disk| {
                let source = disk.get("source").unwrap();
                let target = disk.get("target").unwrap().value("dev").unwrap();
                (
                    target,
                    source.value("pool").unwrap(),
                    source.value("volume").unwrap(),
                    disk.get("readonly").is_some(),
                )
            })
            .collect();
        assert_eq!(
            disks,
            [("vda", "images", "disk", false), ("vdb", "images", "seed", true)]
        );
    }

    #[test]
    fn an_attached_disk_is_read_only_and_found_by_its_serial() {
        let disk = AttachedDisk {
            volume: "upgrade".to_owned(),
            format: VolumeFormat::Qcow2,
            serial: "a-serial".to_owned(),
        };
        let xml = render_attached(&disk, 'c', "images").unwrap();
        assert!(Element::parse(&xml).unwrap().get("readonly").is_some());
        let domain = format!(
            "<domain><uuid>{}</uuid><memory>1</memory><vcpu>1</vcpu><devices>{xml}</devices></domain>",
            Uuid::nil()
        );
        let found = DiskXml {
            target: "vdc".to_owned(),
            volume: Some("upgrade".to_owned()),
            file: None,
            serial: Some("a-serial".to_owned()),
        };
        assert_eq!(parse_domain(&domain).unwrap().disks, [found]);
    }

    #[test]
    fn the_first_disk_is_kept_below_a_layer_and_the_others_are_left_alone() {
        let disk = |target: &str| DiskXml {
            target: target.to_owned(),
            volume: None,
            file: None,
            serial: None,
        };
        let xml = render_kept("name", "/pool/a&b", &[disk("vda"), disk("vdb")]).unwrap();
        assert_eq!(
            xml,
            "<domainsnapshot><name>name</name><disks>\
             <disk name='vda' snapshot='external'><source file='/pool/a&amp;b'/><driver type='qcow2'/></disk>\
             <disk name='vdb' snapshot='no'/></disks></domainsnapshot>"
        );
    }

    #[test]
    fn a_domain_is_defined_as_it_was_and_not_as_it_ran() {
        let off =
            "<domainsnapshot><name>a</name><domain type='qemu'><name>b</name></domain></domainsnapshot>";
        let on = "<domainsnapshot><domain type='qemu' id='7'><name>c</name></domain>\
                  <inactiveDomain type='qemu'><name>b</name></inactiveDomain></domainsnapshot>";
        for xml in [off, on] {
            let found = kept_definition(xml).unwrap();
            assert_eq!(found, "<domain type='qemu'><name>b</name></domain>");
        }
        assert_eq!(
            kept_definition("<domainsnapshot><name>a</name></domainsnapshot>"),
            None
        );
    }

    #[test]
    fn a_letter_is_free_that_no_disk_has() {
        let disk = |target: &str| DiskXml {
            target: target.to_owned(),
            volume: None,
            file: None,
            serial: None,
        };
        assert_eq!(free_letter(&[disk("vdb"), disk("vda"), disk("sdc")]), Some('c'));
        let all: Vec<_> = ('a'..='z').map(|letter| disk(&format!("vd{letter}"))).collect();
        assert_eq!(free_letter(&all), None);
    }

    #[test]
    fn a_port_is_free_where_no_device_has_its_bus() {
        let port = |index: u32| {
            format!(
                "<controller type='pci' index='{index}' model='pcie-root-port'><address type='pci' bus='0x00'/></controller>"
            )
        };
        let device = "<disk><target dev='vda'/><address type='pci' bus='0x0a'/></disk>";
        let domain = |devices: &str| {
            let xml = format!(
                "<domain><uuid>{}</uuid><memory>1</memory><vcpu>1</vcpu><devices>{devices}</devices></domain>",
                Uuid::nil()
            );
            parse_domain(&xml).unwrap().free_ports
        };
        assert_eq!(domain(&format!("{}{}{device}", port(10), port(11))), 1);
        assert_eq!(domain(&format!("{}{device}", port(10))), 0);
    }

    #[test]
    fn the_domain_type_chooses_the_processor() {
        let processor = |domain_type| {
            let root = render(
                &DomainSpec {
                    domain_type,
                    ..spec()
                },
                Guests::Qemu,
            );
            let cpu = root.get("cpu").unwrap();
            let without: Vec<_> = cpu
                .all("feature")
                .map(|feature| {
                    assert_eq!(feature.value("policy"), Some("disable"));
                    feature.value("name").unwrap().to_owned()
                })
                .collect();
            (cpu.value("mode").unwrap().to_owned(), without)
        };
        assert_eq!(
            processor(DomainType::Kvm),
            ("host-passthrough".to_owned(), Vec::new())
        );
        assert_eq!(
            processor(DomainType::Qemu),
            ("maximum".to_owned(), COSTLY_EMULATED.map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn processors_are_cores_of_one_socket() {
        let root = render(&DomainSpec { cpus: 4, ..spec() }, Guests::Qemu);
        let topology = path(&root, &["cpu", "topology"]).unwrap();
        let of = |name| topology.value(name).unwrap();
        assert_eq!((of("sockets"), of("cores"), of("threads")), ("1", "4", "1"));
    }

    #[test]
    fn tells_a_connected_agent_from_one_that_is_not() {
        let channel = |state: &str| {
            format!(
                "<domain><uuid>{}</uuid><memory unit='MiB'>1</memory><vcpu>1</vcpu><devices><channel><target type='virtio' \
                 name='org.qemu.guest_agent.0'{state}/></channel></devices></domain>",
                Uuid::nil()
            )
        };
        let connected = |state| parse_domain(&channel(state)).unwrap().agent_connected;
        assert_eq!(connected(" state='connected'"), Some(true));
        assert_eq!(connected(" state='disconnected'"), Some(false));
        assert_eq!(connected(""), None);
    }

    #[test]
    fn metadata_of_others_and_without_uid_is_nobodys() {
        let owner = |metadata: &str| {
            parse_domain(&format!(
                "<domain><uuid>{}</uuid><metadata>{metadata}</metadata><memory>1</memory><vcpu>1</vcpu></domain>",
                Uuid::nil()
            ))
            .unwrap()
            .owner
        };
        let ours = "xmlns:s='https://seedbed.dev/libvirt/v1'";
        assert!(
            owner(&format!(
                "<s:owner {ours} namespace='a' cluster='b' cluster-uid='c'/>"
            ))
            .is_some()
        );
        assert_eq!(
            owner(&format!("<s:owner {ours} namespace='a' cluster='b'/>")),
            None
        );
        assert_eq!(
            owner("<s:owner xmlns:s='urn:x' namespace='a' cluster='b' cluster-uid='c'/>"),
            None
        );
    }
}
