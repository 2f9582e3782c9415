//! What libvirt's errors mean.

use virt::error::{Error, ErrorDomain, ErrorNumber};

use super::xml::XmlError;
use crate::Fault;

/// What an error says, where it says more than that the call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The thing is not there: the host's own word.
    Absent,
    /// The driver cannot do this at all.
    Unsupported,
    /// The connection cannot be made or was lost.
    Connection,
    /// The guest agent is not there, or did not answer before the command was sent.
    AgentSilent,
    /// The guest agent did not answer the command in time.
    AgentTimedOut,
    /// The object is in a state in which this cannot be done.
    WrongState,
    /// Anything else: the host refused.
    Refused,
}

/// What the error says, by its code.
pub(super) fn meaning(error: &Error) -> Meaning {
    let Some(code) = error.code().known() else {
        return Meaning::Refused;
    };
    match code {
        ErrorNumber::NoDomain
        | ErrorNumber::NoNetwork
        | ErrorNumber::NoStoragePool
        | ErrorNumber::NoStorageVolume
        | ErrorNumber::NoDomainSnapshot
        | ErrorNumber::NoDomainMetadata => Meaning::Absent,
        ErrorNumber::NoSupport => Meaning::Unsupported,
        ErrorNumber::AgentUnresponsive | ErrorNumber::AgentUnsynced => Meaning::AgentSilent,
        ErrorNumber::AgentCommandTimeout => Meaning::AgentTimedOut,
        ErrorNumber::OperationInvalid => Meaning::WrongState,
        ErrorNumber::NoConnect
        | ErrorNumber::InvalidConn
        | ErrorNumber::AuthFailed
        | ErrorNumber::AuthCancelled
        | ErrorNumber::AuthUnavailable
        | ErrorNumber::NoServer
        | ErrorNumber::NoClient
        | ErrorNumber::Rpc
        | ErrorNumber::GnutlsError
        | ErrorNumber::Ssh
        | ErrorNumber::Libssh
        | ErrorNumber::UnknownHost => Meaning::Connection,
        _ if error.domain().is_any(vec![ErrorDomain::Rpc, ErrorDomain::Remote]) => Meaning::Connection,
        _ => Meaning::Refused,
    }
}

/// The document cannot be written, so nothing was sent; or the host's answer cannot be read.
pub(super) fn xml_fault(operation: &str, error: &XmlError) -> Fault {
    Fault::Refused {
        operation: operation.to_owned(),
        message: error.to_string(),
    }
}
