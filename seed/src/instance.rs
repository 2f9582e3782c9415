//! An instance: everything that one embedded seed has on this machine, told apart by a name.

use std::{
    env, fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    files, namespace,
    slots::Slots,
};

/// The instance that is meant where none is named.
pub const DEFAULT_NAME: &str = "default";
/// Where instances are kept unless `SEEDBED_STATE` says otherwise.
pub const DEFAULT_ROOT: &str = "/var/lib/seedbed";

/// Whose libvirt an instance uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The machine's own `qemu:///system`; seed and operator run on the machine's loopback.
    System,
    /// A libvirtd of the instance's own, in a network and a mount namespace in which seed and operator run too.
    Namespace,
    /// None: hosts are simulated ones. Seed, simulator and operator run on the machine's loopback.
    None,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::Namespace => "namespace",
            Self::None => "none",
        })
    }
}

impl FromStr for Mode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "system" => Ok(Self::System),
            "namespace" => Ok(Self::Namespace),
            "none" => Ok(Self::None),
            _ => Err(Error::unexpected(
                "SEEDBED_LIBVIRT",
                text,
                "`system`, `namespace` or `none`",
            )),
        }
    }
}

/// What was decided for an instance when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Whose libvirt it uses.
    pub mode: Mode,
    /// Its place among the instances of this machine; ports and addresses follow from it.
    pub slot: u8,
}

/// First port that instances use; it lies below the range from which Linux takes ports for outgoing connections.
const FIRST_PORT: u16 = 26_400;
/// How many ports an instance has.
pub(crate) const PORTS_OF_A_SLOT: u16 = 8;
/// Second number of the first instance's address range.
const FIRST_RANGE: u8 = 64;

impl Settings {
    /// TCP port of the seed's kube-apiserver, on loopback.
    pub fn api_port(&self) -> u16 {
        self.port(0)
    }

    /// TCP port on which the seed's etcd serves kube-apiserver, on loopback.
    pub fn etcd_port(&self) -> u16 {
        self.port(1)
    }

    /// TCP port of the seed's etcd for its peers (it has none), on loopback.
    pub fn etcd_peer_port(&self) -> u16 {
        self.port(2)
    }

    /// TCP port of the proxy that leads into the instance's network namespace, on the machine's loopback.
    pub fn proxy_port(&self) -> u16 {
        self.port(3)
    }

    /// TCP port of the operator's metrics and health, on loopback.
    pub fn metrics_port(&self) -> u16 {
        self.port(4)
    }

    fn port(&self, number: u16) -> u16 {
        first_port(self.slot) + number
    }

    /// The range that the clusters' node networks are cut from, IPv4.
    pub fn node_address_range(&self) -> String {
        let first = match self.mode {
            Mode::System | Mode::Namespace => 10,
            // A simulated cluster is reached on the machine's loopback.
            Mode::None => 127,
        };
        format!("{first}.{}.0.0/16", range_number(self.slot))
    }

    /// Name of the storage pool for the machines' volumes.
    pub fn storage_pool(&self, instance: &Instance) -> String {
        match self.mode {
            Mode::Namespace => "seedbed".to_owned(),
            Mode::System | Mode::None => format!("seedbed-{instance}"),
        }
    }
}

pub(crate) fn first_port(slot: u8) -> u16 {
    FIRST_PORT + u16::from(slot) * PORTS_OF_A_SLOT
}

/// Second number of a slot's address range.
pub(crate) fn range_number(slot: u8) -> u8 {
    FIRST_RANGE + slot
}

/// An embedded seed's name, and where its things are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    name: String,
    root: PathBuf,
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Instance {
    /// The instance of this name below `SEEDBED_STATE` (`/var/lib/seedbed` where that is not set). Nothing is made yet.
    ///
    /// A name has at most 32 lower-case letters, digits and inner hyphens: it is part of names of namespaces and pools.
    pub fn new(name: &str) -> Result<Self> {
        let root = env::var_os("SEEDBED_STATE").filter(|root| !root.is_empty());
        Self::below(Path::new(root.as_deref().unwrap_or(DEFAULT_ROOT.as_ref())), name)
    }

    /// The instance of this name below another folder than the usual one.
    pub fn below(root: &Path, name: &str) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty()
            || name.len() > 32
            || !name.chars().all(allowed)
            || name.starts_with('-')
            || name.ends_with('-')
        {
            return Err(Error::unexpected(
                "the instance's name (SEEDBED_INSTANCE)",
                format!("{name:?}"),
                "1 to 32 lower-case letters, digits and hyphens, with no hyphen at its ends",
            ));
        }
        if !root.is_absolute() {
            return Err(Error::unexpected(
                "the folder of the instances (SEEDBED_STATE)",
                root.display().to_string(),
                "an absolute path",
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            root: root.to_owned(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder that holds all instances.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that holds everything of this one.
    pub fn folder(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// A file or folder of this instance.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.folder().join(relative)
    }

    /// Kubeconfig for the person, with a context for the seed and one for each cluster; works outside the namespaces.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    /// The same for what runs inside the namespaces.
    pub fn inside_kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig.inside")
    }

    /// Kubeconfig of the seed's administrator alone, for what runs inside the namespaces.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.path("admin.kubeconfig")
    }

    /// Kubeconfig with the operator's own identity.
    pub fn operator_kubeconfig(&self) -> PathBuf {
        self.path("operator.kubeconfig")
    }

    /// The audit log of the seed's kube-apiserver: one JSON object a line.
    pub fn audit_log(&self) -> PathBuf {
        self.path("logs/audit.log")
    }

    /// What a supervised process wrote.
    pub fn log(&self, unit: &str) -> PathBuf {
        self.path(&format!("logs/{unit}.log"))
    }

    /// The pid file of a supervised process.
    pub fn pid_file(&self, unit: &str) -> PathBuf {
        self.path(&format!("pids/{unit}.json"))
    }

    /// The socket of its simulator.
    pub fn simulator_socket(&self) -> PathBuf {
        self.path("simulator.sock")
    }

    /// Where the seed's programs are found: `kubectl` among them.
    pub fn programs(&self) -> PathBuf {
        self.path("bin")
    }

    /// What was decided when it was made; none where it does not exist.
    pub fn settings(&self) -> Result<Option<Settings>> {
        files::read_json(&self.path("instance.json"))
    }

    /// Its settings; an error where it does not exist.
    pub fn existing_settings(&self) -> Result<Settings> {
        self.settings()?.ok_or_else(|| {
            Error::unexpected(
                format!("the instance {self}"),
                format!("nothing in {}", self.folder().display()),
                "one that was started: run `make up`",
            )
        })
    }

    /// Decides the settings, or reads what was decided before.
    pub(crate) fn decide(
        &self,
        wanted: Option<Mode>,
        detect: impl FnOnce() -> Result<Mode>,
    ) -> Result<Settings> {
        if let Some(settings) = self.settings()? {
            return match wanted {
                Some(mode) if mode != settings.mode => Err(Error::unexpected(
                    format!("the instance {self}"),
                    format!("one made with libvirt `{}`", settings.mode),
                    format!("`{mode}`, as asked for: run `make down` first, or use another SEEDBED_INSTANCE"),
                )),
                _ => Ok(settings),
            };
        }
        files::create_folder(&self.folder())?;
        let settings = Settings {
            mode: wanted.map_or_else(detect, Ok)?,
            slot: Slots::open(&self.root)?.take(&self.name)?,
        };
        files::write_json(&self.path("instance.json"), &settings)?;
        Ok(settings)
    }

    /// A command that runs where the instance's parts see each other: in its namespaces, where it has them.
    pub fn command(&self, settings: &Settings, program: impl AsRef<std::ffi::OsStr>) -> Command {
        match settings.mode {
            Mode::System | Mode::None => Command::new(program),
            Mode::Namespace => namespace::Namespaces::of(self).command(program.as_ref()),
        }
    }

    /// Keeps other runs of `up` and `down` away from this instance until the result is dropped. `waiting` is called
    /// where somebody else has to finish first.
    pub(crate) fn lock(&self, mut waiting: impl FnMut()) -> Result<File> {
        let folder = self.root.join(".locks");
        let path = folder.join(&self.name);
        loop {
            files::create_folder(&folder)?;
            let file = File::create(&path).map_err(Error::file("open", &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(std::fs::TryLockError::WouldBlock) => {
                    waiting();
                    file.lock().map_err(Error::file("lock", &path))?;
                }
                Err(std::fs::TryLockError::Error(error)) => return Err(Error::file("lock", &path)(error)),
            }
            // `down` removes the file: who waited for it meanwhile holds nothing.
            if files::is_at(&file, &path) {
                return Ok(file);
            }
        }
    }

    /// Removes its lock file, and the folder of the instances where this was the last one.
    pub(crate) fn remove_traces(&self) -> Result<()> {
        files::remove(&self.root.join(".locks").join(&self.name))?;
        for folder in [self.root.join(".locks"), self.root.clone()] {
            match std::fs::remove_dir(&folder) {
                Ok(()) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
                    ) => {}
                Err(error) => return Err(Error::file("remove", folder)(error)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::folder;

    #[test]
    fn names_that_would_make_bad_paths_are_refused() {
        for name in ["", "-a", "a-", "A", "a/b", "..", "a.b", &"a".repeat(33)] {
            let error = Instance::below(Path::new("/x"), name).unwrap_err().to_string();
            assert!(error.contains("SEEDBED_INSTANCE"), "{name}: {error}");
        }
        assert!(Instance::below(Path::new("/x"), "test-7").is_ok());
        assert!(Instance::below(Path::new("x"), "a").is_err());
    }

    #[test]
    fn settings_are_decided_once() {
        let root = folder("decide");
        let instance = Instance::below(&root, "a").unwrap();
        assert!(instance.existing_settings().is_err());
        let first = instance.decide(None, || Ok(Mode::Namespace)).unwrap();
        let again = instance.decide(None, || panic!("looked again")).unwrap();
        assert_eq!(first, again);
        let error = instance
            .decide(Some(Mode::System), || Ok(Mode::System))
            .unwrap_err();
        assert!(error.to_string().contains("make down"), "{error}");
    }

    #[test]
    fn two_instances_share_no_port_and_no_address() {
        let [a, b] = [0, 1].map(|slot| Settings {
            mode: Mode::Namespace,
            slot,
        });
        assert!(a.metrics_port() < b.api_port());
        assert_ne!(a.node_address_range(), b.node_address_range());
        assert_eq!(a.node_address_range(), "10.64.0.0/16");
    }

    #[test]
    fn clusters_of_an_instance_without_libvirt_are_on_loopback() {
        let settings = Settings {
            mode: "none".parse().unwrap(),
            slot: 2,
        };
        assert_eq!(settings.node_address_range(), "127.66.0.0/16");
        assert_eq!(settings.mode.to_string(), "none");
        assert!(
            "never"
                .parse::<Mode>()
                .unwrap_err()
                .to_string()
                .contains("`none`")
        );
    }

    #[test]
    fn the_lock_lets_one_in_at_a_time() {
        let root = folder("lock");
        let instance = Instance::below(&root, "a").unwrap();
        let held = instance.lock(|| panic!("nobody else is there")).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let other = instance.clone();
        let waiter = std::thread::spawn(move || other.lock(|| tell.send(()).unwrap()).map(drop));
        told.recv().unwrap();
        drop(held);
        waiter.join().unwrap().unwrap();
    }

    #[test]
    fn a_lock_whose_file_was_removed_is_taken_anew() {
        let root = folder("lock-removed");
        let instance = Instance::below(&root, "a").unwrap();
        let held = instance.lock(|| panic!("nobody else is there")).unwrap();
        let other = instance.clone();
        let (tell, told) = std::sync::mpsc::channel();
        let waiter = std::thread::spawn(move || other.lock(|| tell.send(()).unwrap()));
        told.recv().unwrap();
        instance.remove_traces().unwrap();
        drop(held);
        let taken = waiter.join().unwrap().unwrap();
        assert!(files::is_at(&taken, &root.join(".locks/a")));
    }
}
