//! `status`.

use std::process::ExitCode;

use seedbed_seed::{
    Instance, Kubectl,
    kubeconfig::{self, Current},
};

use crate::{console::Console, error::Error};

/// Shows what runs. The exit code says whether the instance is up.
pub(crate) fn status(instance: &Instance, console: &mut Console) -> Result<ExitCode, Error> {
    let Some(settings) = instance.settings()? else {
        console.plain(&format!(
            "instance    {instance} is not there ({})",
            instance.folder().display()
        ));
        return Ok(ExitCode::FAILURE);
    };
    let processes = instance.processes()?;
    console.plain(&format!(
        "instance    {instance} in {}",
        instance.folder().display()
    ));
    console.plain(&format!(
        "libvirt     {} ({})",
        seedbed_seed::LIBVIRT_URI,
        settings.mode
    ));
    console.plain(&format!("addresses   {}", settings.node_address_range()));
    console.plain(&format!("kubeconfig  {}", instance.kubeconfig().display()));
    for (name, pid) in &processes {
        console.plain(&format!(
            "process     {name} ({pid}), log {}",
            instance.log(name).display()
        ));
    }
    if !processes.iter().any(|(name, _)| name == "kube-apiserver") {
        console.plain("process     the seed does not run: `make up` starts it");
        return Ok(ExitCode::FAILURE);
    }
    kubeconfig::refresh(instance, &settings, Current::Keep)?;
    let kubectl = Kubectl::of(instance, &settings);
    let arguments = [
        "get",
        "devclusters,nodepools,devmachines",
        "--all-namespaces",
        "--ignore-not-found",
    ];
    let objects = kubectl.run("list the clusters", &arguments)?;
    if !objects.trim().is_empty() {
        console.plain("");
        console.plain(objects.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}
