//! What of an instance is there now.

use std::{thread, time::Duration};

use nix::sys::signal::Signal;

use crate::{
    error::Result,
    instance::Instance,
    process::ProcessId,
    supervisor::{Control, Unit},
};

impl Instance {
    /// Its processes that run now, with their process numbers; `supervisor` among them.
    pub fn processes(&self) -> Result<Vec<(String, i32)>> {
        Control::of(self).processes()
    }

    /// One of its processes; none where it does not run.
    pub fn process(&self, unit: &str) -> Result<Option<ProcessId>> {
        Ok(ProcessId::read(&self.pid_file(unit))?.filter(ProcessId::is_running))
    }

    /// Has the supervisor end one of its processes and not start it again; `up` brings it back. Returns whether it ran.
    pub fn stop_unit(&self, unit: &str) -> Result<bool> {
        let running = self.process(unit)?;
        if let (true, Some(supervisor)) = (Unit::remove(self, unit)?, Control::of(self).running()?) {
            supervisor.signal(Signal::SIGHUP)?;
            while running.as_ref().is_some_and(ProcessId::is_running) {
                thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(running.is_some())
    }

    /// The environment that a person's shell or command gets, beside the search path.
    pub fn environment(&self) -> Vec<(&'static str, std::ffi::OsString)> {
        vec![
            ("KUBECONFIG", self.inside_kubeconfig().into()),
            ("LIBVIRT_DEFAULT_URI", crate::libvirt::URI.into()),
            ("SEEDBED_INSTANCE", self.name().into()),
            ("SEEDBED_STATE", self.root().into()),
        ]
    }
}
