//! A failed step, as it is told in a condition: an error that only the log has reaches nobody.

use seedbed_crds::reasons::Reason;
use seedbed_hypervisor::Fault;

use crate::errors::Error;

/// A failed step as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// What was done, and what went wrong.
    pub message: String,
    /// Whether a person has to change something.
    pub stalled: bool,
    /// Whether nothing is known of what came of it.
    pub unknown: bool,
}

impl Failure {
    /// The failure of that step; none where the object only has to be read again.
    pub fn of(step: &str, error: &Error) -> Option<Self> {
        if error.is_conflict() {
            return None;
        }
        let (reason, stalled, unknown) = match error {
            Error::Host(fault) => match fault {
                Fault::Conflict { .. } => (Reason::NameConflict, true, false),
                Fault::Unavailable { .. } | Fault::TimedOut { .. } | Fault::Busy { .. } => {
                    (Reason::HostUnreachable, false, true)
                }
                Fault::AgentSilent { .. } => (Reason::WaitingForGuest, false, false),
                _ => (Reason::HostRefused, false, false),
            },
            Error::Guest(guest) if guest.outcome_unknown() => (Reason::WaitingForGuest, false, true),
            Error::Child(_) => (Reason::ChildUnreachable, false, true),
            Error::Step {
                category: "render", ..
            } => (Reason::InvalidSpec, true, false),
            Error::Step {
                category: "allocation",
                ..
            } => (Reason::AddressesExhausted, true, false),
            Error::Step { category: "name", .. } => (Reason::NameConflict, true, false),
            Error::Step {
                category: "check", ..
            } => (Reason::StepFailed, false, false),
            _ => (Reason::Reconciling, false, false),
        };
        Some(Self {
            reason,
            message: format!("{step}: {error}"),
            stalled,
            unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_race_is_no_failure() {
        assert_eq!(
            Failure::of("writing", &Error::Conflict { object: "x".into() }),
            None
        );
    }

    #[test]
    fn what_a_person_has_to_change_is_stalled_and_what_may_pass_is_not() {
        let of = |error: Error| Failure::of("step", &error).unwrap();
        assert!(of(Error::step("render", "bad patch".to_owned())).stalled);
        assert!(of(Error::step("allocation", "none free".to_owned())).stalled);
        let down = of(Error::Host(Fault::Unavailable {
            operation: "define".into(),
            message: "gone".into(),
        }));
        assert!((down.reason, down.stalled, down.unknown) == (Reason::HostUnreachable, false, true));
    }
}
