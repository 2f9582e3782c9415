//! Domains.

use seedbed_planted::planted;

use super::refusal::Refusal;
use super::state::{Change, State};
use crate::{AttachedDisk, Boot, DomainFacts, DomainSpec, Owner, PowerState};

/// A domain.
#[derive(Debug)]
pub(super) struct Domain {
    /// What it is defined from. Its owner and hash only count while `ours` is set.
    spec: DomainSpec,
    /// Whether its metadata hold anything of ours.
    ours: bool,
    power: PowerState,
    /// Attached since it is on.
    attached: Vec<AttachedDisk>,
    /// Whether its first disk is kept.
    kept: bool,
}

impl Domain {
    pub(super) fn facts(&self) -> DomainFacts {
        DomainFacts {
            name: self.spec.name.clone(),
            uuid: self.spec.uuid,
            owner: self.owner().cloned(),
            spec_hash: self.ours.then(|| self.spec.spec_hash.clone()),
            power: self.power,
            agent_connected: Some(false),
            memory_bytes: self.spec.memory_bytes,
            cpus: self.spec.cpus,
            attached: self
                .owner()
                .map(|_| self.attached.iter().map(|disk| disk.serial.clone()).collect())
                .unwrap_or_default(),
            kept: Some(self.kept),
        }
    }

    fn owner(&self) -> Option<&Owner> {
        self.ours.then_some(&self.spec.owner)
    }

    fn check(&self, owner: &Owner) -> Result<(), Refusal> {
        match self.owner() {
            Some(found) if found.same_machine(owner) => Ok(()),
            Some(_) if planted!(SkipUidCheck) => Ok(()),
            None if planted!(AdoptUnowned) => Ok(()),
            found => Err(Refusal::foreign(
                format!("domain {}", self.spec.name),
                found,
                owner,
            )),
        }
    }
}

impl State {
    pub(super) fn add_foreign_domain(&mut self, spec: DomainSpec, with_metadata: bool) {
        self.domains.entry(spec.name.clone()).or_insert(Domain {
            spec,
            ours: with_metadata,
            power: PowerState::Off,
            attached: Vec::new(),
            kept: false,
        });
    }

    pub(super) fn define_domain(&mut self, spec: &DomainSpec) -> Result<(), Refusal> {
        if let Some(known) = self.domains.get(&spec.name) {
            known.check(&spec.owner)?;
            if known.spec.spec_hash == spec.spec_hash {
                return Ok(());
            }
            if known.kept {
                return Err(Refusal::Refused(format!(
                    "the disk of domain {} is kept as it was, and would lose what was written since; merge it first",
                    spec.name
                )));
            }
        }
        let other = self
            .domains
            .values()
            .find(|d| d.spec.uuid == spec.uuid && d.spec.name != spec.name);
        if let Some(other) = other {
            return Err(Refusal::conflict(
                format!("a domain with UUID {}", spec.uuid),
                format!("domain {}", other.spec.name),
                &format_args!("domain {}", spec.name),
            ));
        }
        if let Boot::Direct { kernel, initrd, .. } = &spec.boot {
            self.complete_volume(kernel)?;
            self.complete_volume(initrd)?;
        }
        // One that is on goes on as it was.
        let known = self.domains.remove(&spec.name);
        let (power, attached, kept) = known.map_or((PowerState::Off, Vec::new(), false), |known| {
            (known.power, known.attached, known.kept)
        });
        let domain = Domain {
            spec: spec.clone(),
            ours: true,
            power,
            attached,
            kept,
        };
        self.domains.insert(spec.name.clone(), domain);
        self.changes.push(Change::Definition(spec.name.clone()));
        Ok(())
    }

    pub(super) fn start_domain(&mut self, name: &str, owner: &Owner) -> Result<(), Refusal> {
        let domain = self
            .owned(name, owner)?
            .ok_or_else(|| Refusal::NotFound(format!("domain {name}")))?;
        let spec = match domain.power {
            PowerState::Running => return Ok(()),
            // The guest goes on where it was.
            PowerState::Paused => {
                self.resume(name);
                return Ok(());
            }
            PowerState::Off | PowerState::Crashed => domain.spec.clone(),
        };
        self.cut(name);
        for disk in &spec.disks {
            if !self.volumes.contains_key(&disk.volume) {
                return Err(Refusal::Refused(format!("no storage vol {}", disk.volume)));
            }
        }
        for nic in &spec.nics {
            if !self.networks.get(&nic.network).is_some_and(|n| n.active) {
                return Err(Refusal::Refused(format!("network {} is not active", nic.network)));
            }
        }
        self.switch(name, PowerState::Running);
        self.changes.push(Change::On(Box::new(spec)));
        Ok(())
    }

    /// A simulated guest obeys at once.
    pub(super) fn shutdown_domain(&mut self, name: &str, owner: &Owner) -> Result<(), Refusal> {
        self.owned(name, owner)?
            .ok_or_else(|| Refusal::NotFound(format!("domain {name}")))?;
        self.cut(name);
        Ok(())
    }

    pub(super) fn destroy_domain(&mut self, name: &str, owner: &Owner) -> Result<(), Refusal> {
        if self.owned(name, owner)?.is_some() {
            self.cut(name);
        }
        Ok(())
    }

    pub(super) fn undefine_domain(&mut self, name: &str, owner: &Owner) -> Result<(), Refusal> {
        match self.owned(name, owner)? {
            None => Ok(()),
            Some(domain) if domain.power != PowerState::Off => Err(Refusal::Refused(format!(
                "domain {name} is not off; destroy it first"
            ))),
            Some(_) => {
                self.domains.remove(name);
                self.changes.push(Change::Definition(name.to_owned()));
                Ok(())
            }
        }
    }

    pub(super) fn disown_domain(&mut self, name: &str, owner: &Owner) -> Result<(), Refusal> {
        match self.domains.get_mut(name) {
            // One without our metadata is nobody's already.
            Some(domain) if domain.ours => {
                domain.check(owner)?;
                domain.ours = false;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn keep_disk(&mut self, name: &str, owner: &Owner) -> Result<(), Refusal> {
        self.owned(name, owner)?
            .ok_or_else(|| Refusal::NotFound(format!("domain {name}")))?;
        if !self.keeps_disks {
            return Err(Refusal::Unsupported);
        }
        self.layer(name, true, Change::Kept);
        Ok(())
    }

    pub(super) fn merge_disk(&mut self, name: &str, owner: &Owner) -> Result<(), Refusal> {
        self.owned(name, owner)?;
        self.layer(name, false, Change::Merged);
        Ok(())
    }

    pub(super) fn revert_disk(&mut self, name: &str, owner: &Owner) -> Result<(), Refusal> {
        let found = self.owned(name, owner)?;
        if found.is_some_and(|domain| domain.kept && domain.power != PowerState::Off) {
            return Err(Refusal::Refused(format!(
                "domain {name} is not off; destroy it first"
            )));
        }
        self.layer(name, false, Change::Reverted);
        Ok(())
    }

    /// The domain's first disk has a layer from now on, or none: its volume is told where that changes.
    fn layer(&mut self, name: &str, kept: bool, change: fn(String, String) -> Change) {
        let Some(domain) = self.domains.get_mut(name) else {
            return;
        };
        if domain.kept != kept {
            domain.kept = kept;
            let disk = domain.spec.disks.first().map(|disk| disk.volume.clone());
            self.changes
                .push(change(name.to_owned(), disk.unwrap_or_default()));
        }
    }

    pub(super) fn attach_disk(
        &mut self,
        name: &str,
        owner: &Owner,
        disk: &AttachedDisk,
    ) -> Result<(), Refusal> {
        if let Some(problem) = disk.serial_problem() {
            return Err(Refusal::Refused(problem));
        }
        let domain = self
            .owned(name, owner)?
            .ok_or_else(|| Refusal::NotFound(format!("domain {name}")))?;
        if !matches!(domain.power, PowerState::Running | PowerState::Paused) {
            return Err(Refusal::Refused(format!(
                "domain {name} is off, and a disk is attached only to one that is on; start it first"
            )));
        }
        if let Some(found) = domain.attached.iter().find(|d| d.serial == disk.serial) {
            if found.volume == disk.volume {
                return Ok(());
            }
            return Err(Refusal::conflict(
                format!("a disk {} of domain {name}", disk.serial),
                format!("volume {}", found.volume),
                &format_args!("volume {}", disk.volume),
            ));
        }
        self.complete_volume(&disk.volume)?;
        if let Some(domain) = self.domains.get_mut(name) {
            domain.attached.push(disk.clone());
        }
        Ok(())
    }

    /// A simulated guest lets go at once.
    pub(super) fn detach_disk(&mut self, name: &str, owner: &Owner, serial: &str) -> Result<(), Refusal> {
        self.owned(name, owner)?;
        if let Some(domain) = self.domains.get_mut(name) {
            domain.attached.retain(|disk| disk.serial != serial);
        }
        Ok(())
    }

    pub(super) fn attached(&self, name: &str) -> &[AttachedDisk] {
        self.domains.get(name).map_or(&[], |domain| &domain.attached)
    }

    /// Whether the domain of that owner runs.
    pub(super) fn is_running(&self, name: &str, owner: &Owner) -> Result<bool, Refusal> {
        let domain = self
            .owned(name, owner)?
            .ok_or_else(|| Refusal::NotFound(format!("domain {name}")))?;
        Ok(domain.power == PowerState::Running)
    }

    /// The domain, if it is there, once its metadata say that it is the owner's.
    fn owned(&self, name: &str, owner: &Owner) -> Result<Option<&Domain>, Refusal> {
        let Some(domain) = self.domains.get(name) else {
            return Ok(None);
        };
        domain.check(owner)?;
        Ok(Some(domain))
    }

    fn switch(&mut self, name: &str, power: PowerState) {
        if let Some(domain) = self.domains.get_mut(name) {
            domain.power = power;
            if matches!(power, PowerState::Off | PowerState::Crashed) {
                domain.attached.clear();
            }
        }
    }

    /// Somebody suspends the guest.
    pub(super) fn suspend(&mut self, name: &str) {
        if self
            .domains
            .get(name)
            .is_some_and(|d| d.power == PowerState::Running)
        {
            self.switch(name, PowerState::Paused);
            self.changes.push(Change::Suspended(name.to_owned(), true));
        }
    }

    /// Somebody lets a suspended guest go on.
    pub(super) fn resume(&mut self, name: &str) {
        if self
            .domains
            .get(name)
            .is_some_and(|d| d.power == PowerState::Paused)
        {
            self.switch(name, PowerState::Running);
            self.changes.push(Change::Suspended(name.to_owned(), false));
        }
    }

    /// The guest's kernel panics, and the guest is kept as it was then.
    pub(super) fn crash(&mut self, name: &str) {
        if self
            .domains
            .get(name)
            .is_some_and(|d| d.power == PowerState::Running)
        {
            self.switch(name, PowerState::Crashed);
            self.changes.push(Change::Off(name.to_owned()));
        }
    }

    pub(super) fn remove_domain(&mut self, name: &str) {
        self.cut(name);
        if self.domains.remove(name).is_some() {
            self.changes.push(Change::Definition(name.to_owned()));
        }
    }

    pub(super) fn cut(&mut self, name: &str) {
        if self.domains.get(name).is_some_and(|d| d.power != PowerState::Off) {
            self.switch(name, PowerState::Off);
            self.changes.push(Change::Off(name.to_owned()));
        }
    }
}
