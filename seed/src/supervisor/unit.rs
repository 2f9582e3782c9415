//! What a supervised process is started with.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path, process::Command};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    files,
    instance::Instance,
    namespace::Namespaces,
};

/// One supervised process. It is started anew when any of this changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name, which its pid file and its log have too.
    pub name: String,
    /// Units are started by rising number and stopped by falling number.
    pub order: u8,
    /// The program's path.
    pub program: String,
    /// Its arguments. Never a secret: others can read them.
    pub arguments: Vec<String>,
    /// Its environment, beside a plain `PATH` and `HOME`.
    pub environment: BTreeMap<String, String>,
    /// Whether it runs in the instance's namespaces.
    pub inside: bool,
    /// Tells different contents of the same files apart: the program's, and those that its arguments name.
    pub revision: String,
    /// How long it may take to end when asked to, in seconds, before it is killed.
    pub patience_seconds: u64,
}

/// The search path of what is supervised: it does not depend on who ran `up`.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Unit {
    /// The command that becomes this process. It ends when the supervisor does, however that ends.
    pub(super) fn command(&self, instance: &Instance) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if self.inside {
            let namespaces = Namespaces::of(instance);
            command.arg("nsenter");
            command.arg(format!("--net={}", namespaces.net.display()));
            command.arg(format!("--mount={}", namespaces.mount.display()));
            command.arg("--");
        }
        command.arg(&self.program).args(&self.arguments);
        command
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env("HOME", "/root")
            .env("LANG", "C.UTF-8");
        command.envs(&self.environment).current_dir("/");
        command
    }

    /// Writes it where the supervisor finds it. Returns whether it changed.
    pub(crate) fn write(&self, instance: &Instance) -> Result<bool> {
        files::create_folder(&folder(instance))?;
        files::write_json(&folder(instance).join(format!("{}.json", self.name)), self)
    }

    /// All units of an instance, by rising order.
    pub(super) fn read_all(instance: &Instance) -> Result<Vec<Self>> {
        let folder = folder(instance);
        let mut units = Vec::new();
        for entry in fs::read_dir(&folder).map_err(Error::file("read", &folder))? {
            let path = entry.map_err(Error::file("read", &folder))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                units.extend(files::read_json::<Self>(&path)?);
            }
        }
        units.sort_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));
        Ok(units)
    }

    /// Takes a unit out. Returns whether it was there.
    pub(crate) fn remove(instance: &Instance, name: &str) -> Result<bool> {
        let path = folder(instance).join(format!("{name}.json"));
        let there = path.exists();
        files::remove(&path)?;
        Ok(there)
    }
}

fn folder(instance: &Instance) -> std::path::PathBuf {
    instance.path("units")
}

/// A text that changes when one of the files is replaced or written.
pub(crate) fn revision_of(files: &[&Path]) -> Result<String> {
    let revision = |path: &&Path| {
        let found = fs::metadata(path).map_err(Error::file("look at", *path))?;
        Ok(format!(
            "{}.{}.{}.{}",
            found.ino(),
            found.len(),
            found.mtime(),
            found.mtime_nsec()
        ))
    };
    Ok(files.iter().map(revision).collect::<Result<Vec<_>>>()?.join(" "))
}
