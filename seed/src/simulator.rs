//! The instance's simulator, where it has one in place of libvirt.

use std::{collections::BTreeMap, path::Path};

use crate::{
    error::Result,
    instance::Instance,
    supervisor::{Unit, revision_of},
    up::SIMULATOR_UNIT,
};

/// What runs it. Its machines are in its memory: another program means that they are gone.
pub(crate) fn unit(instance: &Instance, program: &Path) -> Result<Unit> {
    let socket = instance.simulator_socket().display().to_string();
    Ok(Unit {
        name: SIMULATOR_UNIT.to_owned(),
        order: 10,
        program: program.display().to_string(),
        arguments: vec!["--socket".to_owned(), socket],
        environment: BTreeMap::new(),
        inside: false,
        revision: revision_of(&[program])?,
        patience_seconds: 5,
    })
}
