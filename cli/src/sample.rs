//! The sample cluster.

use std::path::Path;

use seedbed_seed::{
    Outcome, Report, Seed,
    kubeconfig::{self, Current},
};

use crate::{
    console::Console,
    error::Error,
    progress::{self, Key, is_ready, key_of},
};

/// Creates what is missing of the sample and shows how it gets ready. Returns whether anything changed.
pub(crate) fn bring_up(seed: &Seed, file: &Path, minutes: u64, console: &mut Console) -> Result<bool, Error> {
    let kubectl = seed.kubectl();
    let shown = file.display().to_string();
    let count = documents(file)?;
    let created = kubectl.create_missing("apply the sample", file, count)?;
    console.end("sample", &Outcome::of(created, shown.clone()));
    let found = kubectl.json("read the sample's objects", &["get", "-f", &shown])?;
    let objects = found["items"].as_array().cloned().unwrap_or_else(|| vec![found]);
    let wanted: Vec<Key> = objects.iter().map(key_of).collect();
    let was_ready = objects.iter().all(is_ready);
    if !was_ready {
        progress::until_ready(seed, &wanted, minutes, console)?;
    }
    let cluster = wanted.iter().find(|key| key.kind == "DevCluster");
    let context = cluster.map(|key| format!("{}-{}", key.namespace, key.name));
    // Who waited for the cluster wants it; who had it may have chosen another since.
    let choose = if was_ready { Current::New } else { Current::Set };
    let current = context.as_deref().map_or(Current::Keep, choose);
    kubeconfig::refresh(&seed.instance, &seed.settings, current)?;
    let names: Vec<_> = wanted.iter().map(Key::for_kubectl).collect();
    console.end("ready", &Outcome::of(!was_ready, names.join(", ")));
    Ok(created || !was_ready)
}

/// How many objects a file holds.
fn documents(file: &Path) -> Result<usize, Error> {
    let text = std::fs::read_to_string(file).map_err(|source| Error::Read {
        path: file.to_owned(),
        source,
    })?;
    Ok(count(&text))
}

fn count(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("kind:")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_holds_a_cluster_and_a_pool() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/samples/devcluster.yaml");
        assert_eq!(documents(&file).unwrap(), 2);
    }
}
