//! What `up` needs before it touches the machine's libvirt: packages, programs, a release.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use seedbed_seed::{Outcome, Report};

use crate::{
    checkout::Checkout,
    console::{Console, STARTED},
    error::Error,
    root::as_person,
};

/// Installs what is missing from the distribution.
pub(crate) fn install(checkout: &Checkout, console: &mut Console) -> Result<(), Error> {
    let script = checkout.path("hack/install").display().to_string();
    let output = run(
        console,
        "hack/install",
        as_person(&script).stderr(Stdio::inherit()),
    )?;
    let lines: Vec<_> = output
        .lines()
        .map(|line| line.trim_start_matches("install: "))
        .collect();
    let outcome = match lines.as_slice() {
        ["everything is there"] => Outcome::Unchanged("everything is there".to_owned()),
        lines => Outcome::Changed(lines.join("\n")),
    };
    console.end("install", &outcome);
    Ok(())
}

/// Builds the operator.
pub(crate) fn operator(checkout: &Checkout, console: &mut Console) -> Result<PathBuf, Error> {
    program(
        checkout,
        "seedbed-operator",
        "seedbed-operator",
        "operator",
        console,
    )
}

/// Builds the simulator.
pub(crate) fn simulator(checkout: &Checkout, console: &mut Console) -> Result<PathBuf, Error> {
    let package = "seedbed-simulator-server";
    program(checkout, package, "seedbed-simulator", "simulator", console)
}

fn program(
    checkout: &Checkout,
    package: &str,
    name: &str,
    what: &str,
    console: &mut Console,
) -> Result<PathBuf, Error> {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout.path("target"), PathBuf::from);
    let program = folder.join("release").join(name);
    let before = written(&program);
    let mut command = as_person("cargo");
    command.args(["build", "--release", "--locked", "--package", package]);
    command.arg("--manifest-path").arg(checkout.path("Cargo.toml"));
    if before.is_some() {
        command.arg("--quiet");
    } else {
        console.begin(
            "build",
            &format!("the {what}, which takes some minutes the first time"),
        );
    }
    let doing = format!("building the {what}");
    run(console, &doing, command.stderr(Stdio::inherit()))?;
    let outcome = Outcome::of(
        before != written(&program),
        format!("{what} {}", program.display()),
    );
    console.end("build", &outcome);
    Ok(program)
}

/// Makes a release, whose guest image carries the container images of those others too, and gives its folder.
pub(crate) fn release(
    checkout: &Checkout,
    version: &str,
    carried: &[String],
    console: &mut Console,
) -> Result<PathBuf, Error> {
    let others: Vec<_> = carried.iter().filter(|other| *other != version).collect();
    built(checkout, "images/release", version, &others, console)
}

/// Makes the seed's own programs and gives the folder that holds `bin`.
pub(crate) fn seed_tools(
    checkout: &Checkout,
    version: &str,
    console: &mut Console,
) -> Result<PathBuf, Error> {
    built(checkout, "images/seed-tools", version, &[], console)
}

fn built(
    checkout: &Checkout,
    script: &str,
    version: &str,
    others: &[&String],
    console: &mut Console,
) -> Result<PathBuf, Error> {
    let mut command = as_person(&checkout.path(script).display().to_string());
    command.arg(version).args(others).stderr(Stdio::inherit());
    let output = run(console, script, &mut command)?;
    let folder = PathBuf::from(output.trim());
    let new = fs::metadata(&folder)
        .is_ok_and(|found| found.ctime() >= i64::try_from(console.started()).unwrap_or(0));
    if !folder.is_absolute() || !folder.is_dir() {
        return Err(Error::Unexpected {
            what: format!("{script} {version}"),
            found: output.trim().to_owned(),
            expected: "the path of a folder on its standard output".to_owned(),
        });
    }
    console.end(
        "images",
        &Outcome::of(new, format!("Kubernetes {version} in {}", folder.display())),
    );
    Ok(folder)
}

/// Runs a command to its end and gives its standard output.
fn run(console: &Console, what: &str, command: &mut Command) -> Result<String, Error> {
    command.env(STARTED, console.started().to_string());
    let output = command
        .stdout(Stdio::piped())
        .output()
        .map_err(|source| Error::Run {
            program: command.get_program().to_string_lossy().into_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::Step {
        what: what.to_owned(),
        status: output.status.to_string(),
    })
}

fn written(path: &Path) -> Option<(u64, i64, i64)> {
    let found = fs::metadata(path).ok()?;
    Some((found.ino(), found.mtime(), found.mtime_nsec()))
}
