//! `up`.

use std::{
    env,
    path::{Path, PathBuf},
};

use seedbed_seed::{Instance, Mode, Seed, UpOptions};

use crate::{arguments::UpArguments, checkout::Checkout, console::Console, error::Error, prepare, sample};

pub(crate) fn up(instance: &Instance, options: &UpArguments, console: &mut Console) -> Result<(), Error> {
    let checkout = Checkout::find()?;
    prepare::install(&checkout, console)?;
    let mut versions = options.releases.clone();
    let mut carried = options.carried.clone();
    for list in [&mut versions, &mut carried] {
        list.retain(|version| !version.is_empty());
    }
    if versions.is_empty() {
        versions.push(checkout.pinned("KUBERNETES")?);
    }
    let mut releases = Vec::new();
    if !options.no_release {
        for version in &versions {
            releases.push(prepare::release(&checkout, version, &carried, console)?);
        }
    }
    let programs = match releases.first() {
        Some(release) => release.clone(),
        None => prepare::seed_tools(&checkout, &checkout.pinned("KUBERNETES")?, console)?,
    };
    let operator = match &options.operator_binary {
        _ if options.no_operator => None,
        Some(path) => Some(absolute(path)?),
        None => Some(prepare::operator(&checkout, console)?),
    };
    let simulator = match mode(instance, options)? {
        Some(Mode::None) => Some(prepare::simulator(&checkout, console)?),
        _ => None,
    };
    let kvm_record = releases
        .first()
        .and_then(|release| release.parent())
        .map(|cache| cache.join("kvm.json"));
    let wanted = UpOptions {
        mode: options.libvirt,
        programs: programs.join("bin"),
        supervisor: env::current_exe().map_err(|source| Error::Read {
            path: PathBuf::from("/proc/self/exe"),
            source,
        })?,
        crds: Some(checkout.path("crds/generated")),
        rbac: Some(checkout.path("config/rbac")),
        releases,
        kvm_record,
        simulator,
        operator,
        operator_log_filter: env::var("RUST_LOG").ok(),
    };
    let seed = instance.up(&wanted, console)?;
    let mut changed = seed.changed;
    if !options.no_sample {
        let file = checkout.path("config/samples/devcluster.yaml");
        changed |= sample::bring_up(&seed, &file, options.timeout, console)?;
    }
    if !changed {
        console.line("unchanged", "everything was as it should be");
    }
    next(
        &seed,
        if options.no_sample {
            "kubectl get devclusters"
        } else {
            "kubectl get nodes"
        },
        console,
    );
    Ok(())
}

/// Whose libvirt is asked for, or was decided before; none where it is still to be found out.
fn mode(instance: &Instance, options: &UpArguments) -> Result<Option<Mode>, Error> {
    Ok(match instance.settings()? {
        Some(settings) => Some(settings.mode),
        None => options.libvirt,
    })
}

/// The lines that a person types next.
fn next(seed: &Seed, command: &str, console: &mut Console) {
    console.plain("");
    if !is_on_path("kubectl") {
        console.plain(&format!(
            "export PATH={}:$PATH",
            seed.instance.programs().display()
        ));
    }
    console.plain(&format!(
        "export KUBECONFIG={}",
        seed.instance.kubeconfig().display()
    ));
    console.plain(command);
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("SEEDBED_PERSON_PATH")
        .or_else(|| env::var_os("PATH"))
        .unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    path.canonicalize().map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}
