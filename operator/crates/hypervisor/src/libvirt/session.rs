//! One operation on an open connection: what it is called, where it acts, and how its errors read.

use virt::connect::Connect;
use virt::error::Error;
use virt::storage_pool::StoragePool;

use super::errors::{Meaning, meaning, xml_fault};
use super::link::Connected;
use super::xml::{Guests, XmlError};
use crate::Fault;

/// One operation on an open connection.
pub(super) struct Session {
    pub connect: Connect,
    pub guests: Guests,
    /// Whether it can merge what is written above a disk that is kept.
    pub keeps_disks: bool,
    /// What is being done, for messages.
    pub operation: String,
    /// Name of the storage pool.
    pub pool: String,
}

impl Session {
    pub(super) fn new(connected: Connected, operation: String, pool: String) -> Self {
        Self {
            connect: connected.connect,
            guests: connected.guests,
            keeps_disks: connected.keeps_disks,
            operation,
            pool,
        }
    }

    /// The fault that an error of libvirt's is.
    pub(super) fn fault(&self, error: &Error) -> Fault {
        let operation = self.operation.clone();
        let message = error.message().to_owned();
        match meaning(error) {
            Meaning::Absent => Fault::NotFound {
                operation,
                what: format!("a part of it ({message})"),
            },
            Meaning::Unsupported => Fault::Unsupported { operation },
            Meaning::Connection => Fault::Unavailable { operation, message },
            // The end of a connection has many codes; whether it is alive has one answer.
            _ if !self.connect.is_alive().unwrap_or(false) => Fault::Unavailable { operation, message },
            _ => Fault::Refused { operation, message },
        }
    }

    pub(super) fn xml_fault(&self, error: &XmlError) -> Fault {
        xml_fault(&self.operation, error)
    }

    pub(super) fn refused(&self, message: impl Into<String>) -> Fault {
        Fault::Refused {
            operation: self.operation.clone(),
            message: message.into(),
        }
    }

    pub(super) fn not_found(&self, what: impl Into<String>) -> Fault {
        Fault::NotFound {
            operation: self.operation.clone(),
            what: what.into(),
        }
    }

    pub(super) fn conflict(&self, what: String, found: String, expected: String) -> Fault {
        Fault::Conflict {
            operation: self.operation.clone(),
            what,
            found,
            expected,
        }
    }

    /// A look-up's result, `None` where the host's word is that there is no such thing.
    pub(super) fn present<T>(&self, found: Result<T, Error>) -> Result<Option<T>, Fault> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if meaning(&error) == Meaning::Absent => Ok(None),
            Err(error) => Err(self.fault(&error)),
        }
    }

    /// The storage pool, which has to be there and active.
    pub(super) fn storage_pool(&self) -> Result<StoragePool, Fault> {
        let pool = self.present(self.connect.lookup_storage_pool_by_name(&self.pool))?.ok_or_else(|| {
            self.not_found(format!(
                "storage pool {}, which is to hold the volumes (define and start it there, or name another one),",
                self.pool
            ))
        })?;
        if pool.is_active().map_err(|error| self.fault(&error))? {
            return Ok(pool);
        }
        Err(self.refused(format!(
            "storage pool {} is not active; start it with virsh pool-start",
            self.pool
        )))
    }
}
