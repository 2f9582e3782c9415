//! `up`.

use std::{
    env,
    path::{Path, PathBuf},
};

use seedbed_seed::{Instance, Seed, UpOptions};

use crate::{arguments::UpArguments, checkout::Checkout, console::Console, error::Error, prepare, sample};

pub(crate) fn up(instance: &Instance, options: &UpArguments, console: &mut Console) -> Result<(), Error> {
    let checkout = Checkout::find()?;
    prepare::install(&checkout, console)?;
    let versions = match options.releases.as_slice() {
        [] => vec![checkout.pinned("KUBERNETES")?],
        named => named.to_vec(),
    };
    let mut releases = Vec::new();
    let programs = if options.no_release {
        prepare::seed_tools(&checkout, &checkout.pinned("KUBERNETES")?, console)?
    } else {
        for version in &versions {
            releases.push(prepare::release(&checkout, version, console)?);
        }
        releases[0].clone()
    };
    let operator = match &options.operator_binary {
        _ if options.no_operator => None,
        Some(path) => Some(absolute(path)?),
        None => Some(prepare::operator(&checkout, console)?),
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
        role: Some(checkout.path("config/rbac/role.yaml")).filter(|_| operator.is_some()),
        releases,
        kvm_record,
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
    next(&seed, console);
    Ok(())
}

/// The lines that a person types next.
fn next(seed: &Seed, console: &mut Console) {
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
    console.plain("kubectl get nodes");
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
