//! Bringing an instance up, step by step. Each step looks first and does only what is missing.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use crate::{
    credentials,
    error::{Error, Result},
    files,
    instance::{Instance, Mode, Settings},
    kubeconfig::{self, Current},
    kubectl::{Kubectl, Manifest},
    kvm, libvirt, manifests,
    namespace::Namespaces,
    plane,
    report::{Outcome, Report},
    simulator,
    supervisor::{Control, Unit, revision_of},
};

/// What an instance is made from.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// Whose libvirt to use; none to use the machine's own where one answers.
    pub mode: Option<Mode>,
    /// The folder that holds `etcd`, `etcdctl`, `kube-apiserver` and `kubectl`.
    pub programs: PathBuf,
    /// The program `kubectl-seedbed`, which supervises.
    pub supervisor: PathBuf,
    /// The folder of the generated CRDs; none to install none.
    pub crds: Option<PathBuf>,
    /// The kustomization with the operator's namespace, roles and bindings; none to install none.
    pub rbac: Option<PathBuf>,
    /// Folders of releases, for the `KubernetesRelease`s; the first one's kernel is booted to find the `HypervisorHost`'s
    /// domain type. None to create neither.
    pub releases: Vec<PathBuf>,
    /// Where to keep what was found out about KVM while the machine is up.
    pub kvm_record: Option<PathBuf>,
    /// The program seedbed-simulator, for mode `none`; none to run none.
    pub simulator: Option<PathBuf>,
    /// The operator's program; none to run none.
    pub operator: Option<PathBuf>,
    /// `RUST_LOG` for the operator.
    pub operator_log_filter: Option<String>,
}

/// An instance that is up.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Which one.
    pub instance: Instance,
    /// What was decided for it.
    pub settings: Settings,
    /// Whether this run changed anything.
    pub changed: bool,
}

impl Seed {
    /// Its kubectl.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::of(&self.instance, &self.settings)
    }

    /// A command that runs where the instance's parts see each other.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> std::process::Command {
        self.instance.command(&self.settings, program)
    }

    /// Name of its network namespace; none where it uses the machine's own network.
    pub fn network_namespace(&self) -> Option<String> {
        (self.settings.mode == Mode::Namespace).then(|| Namespaces::of(&self.instance).net_name)
    }
}

impl Instance {
    /// Brings it up, or completes or renews what is there.
    pub fn up(&self, options: &UpOptions, report: &mut dyn Report) -> Result<Seed> {
        let _alone =
            self.lock(|| report.begin("lock", "waiting for another run that works on this instance"))?;
        let settings = self.decide(options.mode, libvirt::detect)?;
        let mut run = Run {
            instance: self,
            kubectl: Kubectl::of(self, &settings),
            settings: &settings,
            options,
            report,
            started: Vec::new(),
            changed: false,
        };
        run.all()?;
        let changed = run.changed;
        Ok(Seed {
            instance: self.clone(),
            settings,
            changed,
        })
    }
}

struct Run<'a> {
    instance: &'a Instance,
    settings: &'a Settings,
    kubectl: Kubectl,
    options: &'a UpOptions,
    report: &'a mut dyn Report,
    /// Names of the units that this run started, apart from the operator's.
    started: Vec<String>,
    changed: bool,
}

impl Run<'_> {
    fn all(&mut self) -> Result<()> {
        self.step("instance", Self::prepare)?;
        match self.settings.mode {
            Mode::System | Mode::Namespace => {
                self.step("libvirt", Self::libvirt)?;
                self.step("pool", Self::pool)?;
            }
            Mode::None => self.step("simulator", Self::simulator)?,
        }
        self.step("seed", Self::seed)?;
        if let Some(folder) = self.options.crds.clone() {
            self.step("crds", |run| run.crds(&folder))?;
        }
        if let Some(file) = self.options.rbac.clone() {
            self.step("rbac", |run| run.rbac(file))?;
        }
        if let Some(first) = self.options.releases.first().cloned() {
            self.step("host", |run| run.host(&first))?;
        }
        for folder in self.options.releases.clone() {
            self.step("release", |run| run.release(&folder))?;
        }
        if let Some(program) = self.options.operator.clone() {
            self.step("operator", |run| run.operator(&program))?;
        }
        Ok(())
    }

    fn step(&mut self, name: &str, body: impl FnOnce(&mut Self) -> Result<Outcome>) -> Result<()> {
        let outcome = body(self)?;
        self.changed |= matches!(outcome, Outcome::Changed(_));
        self.report.end(name, &outcome);
        Ok(())
    }

    /// Folders, programs, keys and namespaces.
    fn prepare(&mut self) -> Result<Outcome> {
        for folder in ["bin", "logs", "pids", "units"] {
            files::create_folder(&self.instance.path(folder))?;
        }
        // Machines and the person have to get through to their files; what is secret is protected by itself.
        for folder in [self.instance.root(), &self.instance.folder()] {
            let passable = fs::Permissions::from_mode(0o755);
            fs::set_permissions(folder, passable).map_err(Error::file("open up", folder))?;
        }
        let mut changed = link_programs(
            &self.options.programs,
            &self.options.supervisor,
            &self.instance.programs(),
        )?;
        changed |= credentials::ensure(self.instance)?;
        credentials::write_kubeconfigs(self.instance, self.settings)?;
        let place = match self.settings.mode {
            Mode::Namespace => {
                let namespaces = Namespaces::of(self.instance);
                if namespaces.make()? {
                    changed = true;
                    // What runs in namespaces that are gone cannot be reached any more.
                    Control::of(self.instance).stop()?;
                }
                format!(", network namespace {}", namespaces.net_name)
            }
            Mode::System | Mode::None => String::new(),
        };
        Ok(Outcome::of(
            changed,
            format!("{} in {}{place}", self.instance, self.instance.folder().display()),
        ))
    }

    /// Starts libvirt, etcd and kube-apiserver at once, and waits for the first.
    fn libvirt(&mut self) -> Result<Outcome> {
        let mut units = plane::units(self.instance, self.settings, &self.options.programs)?.to_vec();
        let mut whose = "the machine's own";
        if self.settings.mode == Mode::Namespace {
            units.push(libvirt::unit(self.instance)?);
            whose = "its own libvirtd";
        }
        self.started = self.supervise(&units)?;
        libvirt::wait_until_ready(self.instance, self.settings)?;
        let changed = self.started.iter().any(|unit| unit == libvirt::UNIT);
        Ok(Outcome::of(
            changed,
            format!("{whose} answers at {}", libvirt::URI),
        ))
    }

    /// Starts etcd, kube-apiserver and the simulator at once.
    fn simulator(&mut self) -> Result<Outcome> {
        let mut units = plane::units(self.instance, self.settings, &self.options.programs)?.to_vec();
        let mut what = "none, and no libvirt".to_owned();
        if let Some(program) = &self.options.simulator {
            units.push(simulator::unit(self.instance, program)?);
            what = format!(
                "{}, in place of libvirt",
                self.instance.simulator_socket().display()
            );
        }
        self.started = self.supervise(&units)?;
        let changed = self.started.iter().any(|unit| unit == SIMULATOR_UNIT);
        Ok(Outcome::of(changed, what))
    }

    fn pool(&mut self) -> Result<Outcome> {
        let changed = libvirt::ensure_pool(self.instance, self.settings)?;
        let folder = libvirt::pool_folder(self.instance);
        let name = self.settings.storage_pool(self.instance);
        Ok(Outcome::of(
            changed,
            format!("storage pool {name} in {}", folder.display()),
        ))
    }

    fn seed(&mut self) -> Result<Outcome> {
        let changed = self
            .started
            .iter()
            .any(|unit| unit != libvirt::UNIT && unit != SIMULATOR_UNIT);
        plane::wait_until_ready(self.instance, &self.kubectl)?;
        kubeconfig::refresh(self.instance, self.settings, Current::Keep)?;
        let version = self.kubectl.json("ask for the seed's version", &["version"])?;
        let version = version["serverVersion"]["gitVersion"]
            .as_str()
            .unwrap_or("unknown")
            .to_owned();
        let port = self.settings.api_port();
        Ok(Outcome::of(
            changed,
            format!("kube-apiserver {version} ready on 127.0.0.1:{port}"),
        ))
    }

    fn crds(&mut self, folder: &Path) -> Result<Outcome> {
        let changed = self.apply("install the CRDs", &Manifest::Path(folder.to_owned()))?;
        let folder = folder.display().to_string();
        let arguments = [
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "-f",
            &folder,
        ];
        let established = self.kubectl.run("wait for the CRDs", &arguments)?;
        Ok(match changed.len() {
            0 => Outcome::Unchanged(format!("{} established", established.lines().count())),
            number => Outcome::Changed(format!(
                "{number} installed, {} established",
                established.lines().count()
            )),
        })
    }

    fn rbac(&mut self, folder: PathBuf) -> Result<Outcome> {
        let changed = self.apply("install the operator's roles", &Manifest::Kustomization(folder))?;
        let user = credentials::OPERATOR_USER;
        Ok(Outcome::of(
            !changed.is_empty(),
            format!("user {user} has the ClusterRole of that name and no more"),
        ))
    }

    fn host(&mut self, release: &Path) -> Result<Outcome> {
        if self.settings.mode == Mode::None {
            let host = manifests::simulated_host(self.instance, self.settings);
            let changed = self.apply("create the HypervisorHost", &host)?;
            return Ok(Outcome::of(
                !changed.is_empty(),
                "HypervisorHost local, simulated".to_owned(),
            ));
        }
        let kvm = kvm::probe(release, self.options.kvm_record.as_deref())?;
        let host = manifests::local_host(self.instance, self.settings, kvm.domain_type());
        let changed = self.apply("create the HypervisorHost", &host)?;
        let what = format!(
            "HypervisorHost local, domain type {} ({})",
            kvm.domain_type(),
            kvm.found
        );
        Ok(Outcome::of(!changed.is_empty(), what))
    }

    fn release(&mut self, release: &Path) -> Result<Outcome> {
        let manifest = Manifest::Path(release.join("kubernetesrelease.json"));
        let changed = self.apply("create the KubernetesRelease", &manifest)?;
        Ok(Outcome::of(
            !changed.is_empty(),
            format!("KubernetesRelease from {}", release.display()),
        ))
    }

    fn operator(&mut self, program: &Path) -> Result<Outcome> {
        let metrics = format!("127.0.0.1:{}", self.settings.metrics_port());
        let kubeconfig = self.instance.operator_kubeconfig().display().to_string();
        let arguments = [
            "--kubeconfig",
            &kubeconfig,
            "--metrics-address",
            &metrics,
            "--lease-namespace",
            manifests::SYSTEM_NAMESPACE,
            // Of this unit one process runs at a time: one that follows a killed one has its lease at once.
            "--identity",
            OPERATOR_UNIT,
        ];
        let filter = self.options.operator_log_filter.iter();
        let unit = Unit {
            name: OPERATOR_UNIT.to_owned(),
            order: 40,
            program: program.display().to_string(),
            arguments: arguments.map(str::to_owned).to_vec(),
            environment: filter
                .map(|filter| ("RUST_LOG".to_owned(), filter.clone()))
                .collect(),
            inside: self.settings.mode == Mode::Namespace,
            revision: revision_of(&[program, &self.instance.operator_kubeconfig()])?,
            patience_seconds: 30,
        };
        let changed = self.supervise(&[unit])?;
        Ok(Outcome::of(
            !changed.is_empty(),
            format!("{}, metrics on {metrics}", program.display()),
        ))
    }

    /// Has the supervisor run these units. Returns the names of those that are started by that.
    fn supervise(&mut self, units: &[Unit]) -> Result<Vec<String>> {
        let mut changed = Vec::new();
        for unit in units {
            if unit.write(self.instance)? {
                changed.push(unit.name.clone());
            }
        }
        let control = Control::of(self.instance);
        let runs = control.running()?.is_some() && !control.outdated(&self.options.supervisor)?;
        if !runs || !changed.is_empty() {
            control.ensure(&self.options.supervisor)?;
        }
        Ok(if runs {
            changed
        } else {
            units.iter().map(|unit| unit.name.clone()).collect()
        })
    }

    fn apply(&mut self, purpose: &str, manifest: &Manifest) -> Result<Vec<String>> {
        let changed = self.kubectl.apply(purpose, manifest)?;
        self.changed |= !changed.is_empty();
        Ok(changed)
    }
}

/// The simulator's name among units, pid files and logs.
pub const SIMULATOR_UNIT: &str = "simulator";

/// The operator's name among units, pid files and logs.
pub const OPERATOR_UNIT: &str = "operator";

/// What a person in the instance's shell finds before the machine's own.
const LINKED: [&str; 2] = ["kubectl", "etcdctl"];

/// Puts links to a folder's programs, and to this command as kubectl's plugin, into another. Returns whether any changed.
fn link_programs(from: &Path, plugin: &Path, to: &Path) -> Result<bool> {
    let mut changed = false;
    let programs = LINKED.map(|name| from.join(name));
    for program in programs.iter().map(PathBuf::as_path).chain([plugin]) {
        fs::metadata(program).map_err(Error::file("look at", program))?;
        let Some(name) = program.file_name() else { continue };
        let link = to.join(name);
        if fs::read_link(&link).is_ok_and(|target| target == program) {
            continue;
        }
        files::remove(&link)?;
        symlink(program, &link).map_err(Error::file("link", &link))?;
        changed = true;
    }
    Ok(changed)
}
