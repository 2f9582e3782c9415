//! `down`.

use std::time::Duration;

use seedbed_seed::{DownOptions, Instance};

use crate::{arguments::DownArguments, console::Console, error::Error};

pub(crate) fn down(instance: &Instance, options: &DownArguments, console: &mut Console) -> Result<(), Error> {
    let options = DownOptions {
        force: options.force,
        patience: Duration::from_secs(options.timeout.saturating_mul(60)),
    };
    Ok(instance.down(options, console)?)
}
