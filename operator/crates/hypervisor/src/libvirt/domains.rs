//! Domains.

use std::time::Duration;

use virt::domain::{Domain, DomainState};
use virt::sys;

use super::errors::{Meaning, meaning};
use super::session::Session;
use super::xml::{BootPaths, Guests, NAMESPACE, PoolVolumes, parse_domain, parse_metadata, render_domain};
use crate::{Boot, DomainFacts, DomainSpec, Fault, Owner, PowerState};

impl Session {
    pub(super) fn domains(&self) -> Result<Vec<DomainFacts>, Fault> {
        let domains = self
            .connect
            .list_all_domains(0)
            .map_err(|error| self.fault(&error))?;
        let mut facts = Vec::with_capacity(domains.len());
        for domain in domains {
            match self.domain_facts(&domain) {
                // Gone since the list was made.
                Err(Fault::NotFound { .. }) => {}
                known => facts.push(known?),
            }
        }
        Ok(facts)
    }

    pub(super) fn domain(&self, name: &str) -> Result<Option<DomainFacts>, Fault> {
        let Some(domain) = self.find_domain(name)? else {
            return Ok(None);
        };
        match self.domain_facts(&domain) {
            // Gone since it was found.
            Err(Fault::NotFound { .. }) => Ok(None),
            known => known.map(Some),
        }
    }

    pub(super) fn define_domain(&self, spec: &DomainSpec) -> Result<(), Fault> {
        if let Some(domain) = self.find_domain(&spec.name)? {
            let (owner, spec_hash) = self.metadata(&domain)?;
            self.check_machine(&spec.name, owner.as_ref(), &spec.owner)?;
            if spec_hash.as_deref() == Some(&spec.spec_hash) {
                return Ok(());
            }
            if self.keeps_disks && self.snapshot(&domain)?.is_some() {
                return Err(self.refused(format!(
                    "the disk of domain {} is kept as it was, and would lose what was written since; merge it first",
                    spec.name
                )));
            }
        }
        if let Some(other) = self.present(self.connect.lookup_domain_by_uuid(spec.uuid))? {
            let name = other.name().map_err(|error| self.fault(&error))?;
            if name != spec.name {
                return Err(self.conflict(
                    format!("a domain with UUID {}", spec.uuid),
                    format!("domain {name}"),
                    format!("domain {}", spec.name),
                ));
            }
        }
        let boot = self.boot_paths(&spec.boot)?;
        let volumes = PoolVolumes {
            pool: &self.pool,
            boot: boot.as_ref(),
        };
        let xml = render_domain(spec, volumes, self.guests).map_err(|error| self.xml_fault(&error))?;
        self.connect
            .define_domain_xml(&xml)
            .map(drop)
            .map_err(|error| self.fault(&error))
    }

    pub(super) fn start_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let domain = self
            .owned_domain(name, owner)?
            .ok_or_else(|| self.not_found(format!("domain {name}")))?;
        let started = match self.power(&domain)? {
            PowerState::Running => return Ok(()),
            PowerState::Paused => domain.resume().map(drop),
            PowerState::Off => domain.create(),
            PowerState::Crashed => domain.destroy().and_then(|()| domain.create()),
        };
        self.unless(started, || Ok(self.power(&domain)? == PowerState::Running))
    }

    pub(super) fn shutdown_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let domain = self
            .owned_domain(name, owner)?
            .ok_or_else(|| self.not_found(format!("domain {name}")))?;
        if self.power(&domain)? == PowerState::Off {
            return Ok(());
        }
        self.unless(domain.shutdown().map(drop), || {
            Ok(self.power(&domain)? == PowerState::Off)
        })
    }

    pub(super) fn destroy_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let Some(domain) = self.owned_domain(name, owner)? else {
            return Ok(());
        };
        if self.power(&domain)? == PowerState::Off {
            return Ok(());
        }
        self.unless(domain.destroy(), || Ok(self.power(&domain)? == PowerState::Off))
    }

    pub(super) fn undefine_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        let Some(domain) = self.owned_domain(name, owner)? else {
            return Ok(());
        };
        if self.power(&domain)? != PowerState::Off {
            return Err(self.refused(format!("domain {name} is not off; destroy it first")));
        }
        // With the definition goes what says that there is one.
        if self.keeps_disks && self.snapshot(&domain)?.is_some() {
            let uuid = domain.uuid().map_err(|error| self.fault(&error))?;
            self.remove_layer(name, uuid)?;
        }
        let mut flags = sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA;
        if self.guests == Guests::Qemu {
            flags |= sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | sys::VIR_DOMAIN_UNDEFINE_NVRAM;
        }
        self.unless(domain.undefine_flags(flags), || {
            Ok(self.find_domain(name)?.is_none())
        })
    }

    pub(super) fn disown_domain(&self, name: &str, owner: &Owner) -> Result<(), Fault> {
        // One without our metadata is nobody's already; one with another's is none of our business.
        let Some(domain) = self.find_domain(name)? else {
            return Ok(());
        };
        let Some(found) = self.metadata(&domain)?.0 else {
            return Ok(());
        };
        self.check_machine(name, Some(&found), owner)?;
        let mut flags = sys::VIR_DOMAIN_AFFECT_CONFIG;
        if self.power(&domain)? != PowerState::Off {
            flags |= sys::VIR_DOMAIN_AFFECT_LIVE;
        }
        let kind = i32::try_from(sys::VIR_DOMAIN_METADATA_ELEMENT).unwrap_or_default();
        domain
            .set_metadata(kind, None, None, Some(NAMESPACE), flags)
            .map_err(|error| self.fault(&error))
    }

    pub(super) fn agent(
        &self,
        name: &str,
        owner: &Owner,
        command: &str,
        timeout: Duration,
    ) -> Result<String, Fault> {
        let domain = self
            .owned_domain(name, owner)?
            .ok_or_else(|| self.not_found(format!("domain {name}")))?;
        let seconds = i32::try_from(timeout.as_secs().max(1)).unwrap_or(i32::MAX);
        domain
            .qemu_agent_command(command, seconds, 0)
            .map_err(|error| match meaning(&error) {
                Meaning::AgentSilent | Meaning::WrongState => Fault::AgentSilent {
                    operation: self.operation.clone(),
                    domain: name.to_owned(),
                    message: error.message().to_owned(),
                },
                Meaning::AgentTimedOut => Fault::TimedOut {
                    operation: self.operation.clone(),
                    limit: timeout,
                },
                _ => self.fault(&error),
            })
    }

    fn find_domain(&self, name: &str) -> Result<Option<Domain>, Fault> {
        self.present(self.connect.lookup_domain_by_name(name))
    }

    /// The domain, if it is there, once its metadata say that it is the owner's.
    pub(super) fn owned_domain(&self, name: &str, owner: &Owner) -> Result<Option<Domain>, Fault> {
        let Some(domain) = self.find_domain(name)? else {
            return Ok(None);
        };
        let found = self.metadata(&domain)?.0;
        self.check_machine(name, found.as_ref(), owner)?;
        Ok(Some(domain))
    }

    fn check_machine(&self, name: &str, found: Option<&Owner>, expected: &Owner) -> Result<(), Fault> {
        match found {
            Some(found) if found.same_machine(expected) => Ok(()),
            found => Err(self.conflict(
                format!("domain {name}"),
                found.map_or_else(|| "a domain without our metadata".to_owned(), ToString::to_string),
                expected.to_string(),
            )),
        }
    }

    /// Owner and spec hash, as the host's metadata have them now.
    fn metadata(&self, domain: &Domain) -> Result<(Option<Owner>, Option<String>), Fault> {
        let kind = i32::try_from(sys::VIR_DOMAIN_METADATA_ELEMENT).unwrap_or_default();
        match domain.metadata(kind, Some(NAMESPACE), 0) {
            Ok(xml) => parse_metadata(&xml).map_err(|error| self.xml_fault(&error)),
            Err(error) if meaning(&error) == Meaning::Absent => Ok((None, None)),
            Err(error) => Err(self.fault(&error)),
        }
    }

    fn domain_facts(&self, domain: &Domain) -> Result<DomainFacts, Fault> {
        let xml = domain.xml_desc(0).map_err(|error| self.fault(&error))?;
        let power = self.power(domain)?;
        let parsed = parse_domain(&xml).map_err(|error| self.xml_fault(&error))?;
        let is_on = power != PowerState::Off;
        let kept = self.kept(&parsed.disks);
        // What we define has disks without serials. Others may define theirs with one.
        let attached = if is_on && parsed.owner.is_some() {
            parsed.disks.into_iter().filter_map(|disk| disk.serial).collect()
        } else {
            Vec::new()
        };
        Ok(DomainFacts {
            name: domain.name().map_err(|error| self.fault(&error))?,
            uuid: parsed.uuid,
            owner: parsed.owner,
            spec_hash: parsed.spec_hash,
            power,
            agent_connected: if is_on {
                parsed.agent_connected
            } else {
                Some(false)
            },
            memory_bytes: parsed.memory_bytes,
            cpus: parsed.cpus,
            attached,
            kept,
        })
    }

    pub(super) fn power(&self, domain: &Domain) -> Result<PowerState, Fault> {
        let (state, _) = domain.state().map_err(|error| self.fault(&error))?;
        match state.known() {
            // A guest that is shutting down still runs.
            Some(
                DomainState::NoState | DomainState::Running | DomainState::Blocked | DomainState::Shutdown,
            ) => Ok(PowerState::Running),
            Some(DomainState::Paused | DomainState::PMSuspended) => Ok(PowerState::Paused),
            Some(DomainState::Shutoff) => Ok(PowerState::Off),
            Some(DomainState::Crashed) => Ok(PowerState::Crashed),
            None => Err(self.refused(format!(
                "the domain is in a state that is not known here: {}",
                state.to_raw()
            ))),
        }
    }

    /// The call's result, where a refusal does not count if what was wanted is so already: somebody was faster.
    fn unless(
        &self,
        result: Result<(), virt::error::Error>,
        reached: impl FnOnce() -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        match result {
            Ok(()) => Ok(()),
            Err(error) => match (meaning(&error), reached()) {
                (Meaning::WrongState | Meaning::Absent, Ok(true)) => Ok(()),
                _ => Err(self.fault(&error)),
            },
        }
    }

    /// Where kernel and initrd are on the host.
    fn boot_paths(&self, boot: &Boot) -> Result<Option<BootPaths>, Fault> {
        match boot {
            Boot::Disk => Ok(None),
            Boot::Direct { kernel, initrd, .. } => Ok(Some(BootPaths {
                kernel: self.complete_volume_path(kernel)?,
                initrd: self.complete_volume_path(initrd)?,
            })),
        }
    }
}
