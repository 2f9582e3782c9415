//! A seed for one test program.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use seedbed_seed::{
    DownOptions, Instance, Mode, OPERATOR_UNIT, Outcome, ProcessId, Report, SYSTEM_NAMESPACE, Seed, Silent,
    UpOptions,
};

use crate::{LIMIT, eventually, root_of_checkout};

/// Where the programs are that the tests run.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Cargo's target folder.
    pub target: PathBuf,
    /// The operator.
    pub operator: PathBuf,
    /// The command line, which supervises.
    pub supervisor: PathBuf,
    /// The folder of a release or of the seed's tools: `bin/kube-apiserver` and the like.
    pub release: PathBuf,
    /// The folders of the other releases, where upgrades are tested.
    pub others: Vec<PathBuf>,
}

impl Programs {
    /// Finds them beside this test program, and makes the release where `SEEDBED_TEST_RELEASE` names none.
    fn find(whole_release: bool, upgrades: bool) -> Self {
        let own = std::env::current_exe().unwrap();
        // target/debug/deps/<test program>
        let built = own.ancestors().nth(2).unwrap().to_owned();
        let program = |name: &str| {
            let path = built.join(name);
            assert!(
                path.is_file(),
                "{} is missing: run `cargo build --workspace --all-targets --all-features`",
                path.display()
            );
            path
        };
        Self {
            target: built.parent().unwrap().to_owned(),
            operator: program("seedbed-operator"),
            supervisor: program("kubectl-seedbed"),
            release: std::env::var_os("SEEDBED_TEST_RELEASE")
                .map_or_else(|| make_release(whole_release), PathBuf::from),
            others: if upgrades { other_releases() } else { Vec::new() },
        }
    }
}

fn other_releases() -> Vec<PathBuf> {
    let folders = std::env::var_os("SEEDBED_TEST_OTHERS")
        .expect("SEEDBED_TEST_OTHERS is not set: run `make e2e-upgrade`");
    std::env::split_paths(&folders).collect()
}

fn make_release(whole: bool) -> PathBuf {
    let images = root_of_checkout().join("images");
    let versions = fs::read_to_string(images.join("versions.env")).unwrap();
    let version = versions
        .lines()
        .find_map(|line| line.strip_prefix("KUBERNETES="))
        .unwrap();
    let script = images.join(if whole { "release" } else { "seed-tools" });
    let output = Command::new(&script)
        .arg(version)
        .stderr(std::process::Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}: {}", script.display(), output.status);
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// What a seed for tests is made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeedOptions {
    /// With the `HypervisorHost` and the `KubernetesRelease` that real machines need.
    pub machines: bool,
    /// With other releases, whose folders `SEEDBED_TEST_OTHERS` names, with a colon between them.
    pub upgrades: bool,
}

/// A seed of this test program's own.
pub struct TestSeed {
    /// The seed.
    pub seed: Seed,
    /// What it was made from.
    pub programs: Programs,
    options: UpOptions,
}

/// Says what is made, so that a run that hangs says where.
struct Said;

impl Report for Said {
    fn begin(&mut self, step: &str, what: &str) {
        println!("seed: {step}: {what}");
    }

    fn end(&mut self, step: &str, outcome: &Outcome) {
        let (Outcome::Changed(what) | Outcome::Unchanged(what)) = outcome;
        println!("seed: {step}: {what}");
    }
}

impl TestSeed {
    /// Removes what killed runs left behind and brings a new one up.
    pub fn start(kind: &str, options: SeedOptions) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "a seed needs root: namespaces and a libvirtd are made"
        );
        let programs = Programs::find(options.machines, options.upgrades);
        let states = programs.target.join("test-state");
        let owners = states.join(".owners");
        fs::create_dir_all(&owners).unwrap();
        remove_stale(&states, &owners);
        let name = format!("{kind}-{}", std::process::id());
        ProcessId::current().unwrap().write(&owners.join(&name)).unwrap();
        let instance = Instance::below(&states, &name).unwrap();
        let checkout = root_of_checkout();
        let up = UpOptions {
            mode: Some(Mode::Namespace),
            programs: programs.release.join("bin"),
            supervisor: programs.supervisor.clone(),
            crds: Some(checkout.join("crds/generated")),
            rbac: Some(checkout.join("config/rbac")),
            releases: options
                .machines
                .then(|| programs.release.clone())
                .into_iter()
                .chain(programs.others.clone())
                .collect(),
            kvm_record: options
                .machines
                .then(|| programs.target.join("test-state/.kvm.json")),
            simulator: None,
            operator: Some(programs.operator.clone()),
            operator_log_filter: Some("info,seedbed_operator=debug".to_owned()),
        };
        match instance.up(&up, &mut Said) {
            Ok(seed) => {
                let started = Self {
                    seed,
                    programs,
                    options: up,
                };
                started.wait_for_the_operator();
                started
            }
            Err(error) => {
                keep_logs(&instance, &programs.target.join("test-logs").join(kind));
                let left = remove(&instance).err().unwrap_or_default();
                panic!("the seed did not start: {error} {left}")
            }
        }
    }

    /// Waits until the operator works, so that one that cannot work fails the tests with its own words.
    fn wait_for_the_operator(&self) {
        let end = Instant::now() + LIMIT;
        let asked = [
            "get",
            "lease",
            "seedbed-operator",
            "-n",
            SYSTEM_NAMESPACE,
            "-o",
            "jsonpath={.spec.holderIdentity}",
        ];
        while !self.kubectl(&asked).is_ok_and(|holder| !holder.is_empty()) {
            if Instant::now() > end {
                let log = fs::read_to_string(self.instance().log(OPERATOR_UNIT)).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let last = lines[lines.len().saturating_sub(8)..].join("\n");
                let left = remove(self.instance()).err().unwrap_or_default();
                panic!("the operator did not get to work: {last} {left}");
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Brings it up again after something of it was stopped.
    pub fn complete(&self) {
        self.instance().up(&self.options, &mut Silent).unwrap();
    }

    /// Its instance.
    pub fn instance(&self) -> &Instance {
        &self.seed.instance
    }

    /// The operator that its supervisor keeps running; none while there is none.
    pub fn operator(&self) -> Option<ProcessId> {
        self.instance().process(OPERATOR_UNIT).unwrap()
    }

    /// Kills a unit and waits until its supervisor has another one.
    pub async fn kill(&self, unit: &str) -> ProcessId {
        let old = self.instance().process(unit).unwrap().expect("it runs");
        old.signal(Signal::SIGKILL).unwrap();
        eventually(&format!("{unit} runs again"), async || {
            match self.instance().process(unit).unwrap() {
                Some(new) if new != old => Ok(new),
                found => Err(format!("{found:?}")),
            }
        })
        .await
    }

    /// Moves the calling thread, and those that it starts from now on, into the seed's network.
    pub(crate) fn enter_network(&self) {
        if let Some(name) = self.seed.network_namespace() {
            let file = File::open(Path::new("/run/netns").join(name)).unwrap();
            setns(file, CloneFlags::CLONE_NEWNET).unwrap();
        }
    }

    /// A client of its API as its administrator; for a thread in its network.
    pub async fn client(&self) -> Client {
        client(Kubeconfig::read_from(self.instance().admin_kubeconfig()).unwrap()).await
    }

    /// What kubectl says, run as a person would in the seed's shell.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        said(self.seed.kubectl().command().args(arguments))
    }

    /// What kubectl says of objects given to its standard input.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let folder = self.instance().folder().join("input");
        fs::create_dir_all(&folder).unwrap();
        let number = INPUTS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = folder.join(format!("{number}.yaml"));
        fs::write(&path, input).unwrap();
        said(self.seed.kubectl().command().args(arguments).arg("-f").arg(path))
    }

    /// What virsh says, on the seed's own libvirtd.
    pub fn virsh(&self, arguments: &[&str]) -> Result<String, String> {
        let uri = ["--quiet", "--connect", seedbed_seed::LIBVIRT_URI];
        said(self.seed.command("virsh").args(uri).args(arguments))
    }

    /// A command that runs another crate's test program in the seed's namespaces: the newest of that name.
    pub fn test_program(&self, name: &str) -> Command {
        let own = std::env::current_exe().unwrap();
        let of_name = |path: &PathBuf| {
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            file.strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('-'))
                .is_some_and(|rest| !rest.contains(['.', '-']))
        };
        let found = fs::read_dir(own.parent().unwrap())
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .filter(of_name);
        let newest = found.max_by_key(|path| fs::metadata(path).and_then(|m| m.modified()).ok());
        let program = newest.unwrap_or_else(|| {
            panic!("the test program {name} is missing: run `cargo build --workspace --all-targets --all-features`")
        });
        self.seed.command(program)
    }

    pub(crate) fn stop(&self) -> Result<(), String> {
        remove(self.instance())?;
        let owner = self
            .instance()
            .root()
            .join(".owners")
            .join(self.instance().name());
        fs::remove_file(owner).map_err(|error| error.to_string())
    }
}

static INPUTS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// A client with this kubeconfig.
pub async fn client(kubeconfig: Kubeconfig) -> Client {
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    config.connect_timeout = Some(Duration::from_secs(10));
    Client::try_from(config).unwrap()
}

/// Runs a command: its standard output, or what it said when it failed.
pub fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(format!("{}{}", text(&output.stderr), text(&output.stdout)))
}

/// Copies the logs of an instance, which go with it otherwise.
pub(crate) fn keep_logs(instance: &Instance, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(instance.folder().join("logs"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let _ = fs::copy(entry.path(), to.join(entry.file_name()));
    }
}

fn remove(instance: &Instance) -> Result<(), String> {
    let options = DownOptions {
        force: true,
        ..DownOptions::default()
    };
    instance
        .down(options, &mut Silent)
        .map_err(|error| error.to_string())
}

/// Removes the instances of test programs that do not run any more.
fn remove_stale(states: &Path, owners: &Path) {
    for entry in fs::read_dir(owners).unwrap().flatten() {
        let running = ProcessId::read(&entry.path())
            .ok()
            .flatten()
            .is_some_and(|owner| owner.is_running());
        let name = entry.file_name().to_string_lossy().into_owned();
        if running {
            continue;
        }
        let Ok(instance) = Instance::below(states, &name) else {
            continue;
        };
        println!("removing the seed {name}, which a killed run left behind");
        match remove(&instance) {
            Ok(()) => fs::remove_file(entry.path()).unwrap(),
            Err(error) => println!("it could not be removed: {error}"),
        }
    }
}
