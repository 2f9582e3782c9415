//! Whether the host has what the upgrade takes.

use seedbed_crds::PreflightCheck;

use super::{Findings, OnHost, Seen};

pub(super) fn release(seen: &Seen, findings: &mut Findings) {
    let check = PreflightCheck::Release;
    let object = format!("KubernetesRelease {}", seen.to);
    let what = format!("whether it is on host {}", seen.host);
    match findings.known(check, &object, &what, &seen.release) {
        None | Some(OnHost::Present) => {}
        Some(OnHost::NotFound(others)) => {
            let others = if others.is_empty() {
                "none".to_owned()
            } else {
                others.join(", ")
            };
            let message = format!(
                "there is no such release; those that there are: {others}: create it, or ask for one of these"
            );
            findings.error(check, object, message);
        }
        Some(OnHost::Incomplete(why)) => {
            let message = format!(
                "it is not complete on host {}, where the cluster's machines are: {why}",
                seen.host
            );
            findings.error(check, object, message);
        }
    }
}

pub(super) fn capacity(seen: &Seen, findings: &mut Findings) {
    let check = PreflightCheck::HostCapacity;
    let object = format!("HypervisorHost {}", seen.host);
    let room = findings.known(check, &object, "how much room it has", &seen.capacity);
    if let Some(Err(message)) = room {
        findings.warning(check, object, message.clone());
    }
}

#[cfg(test)]
mod tests {
    use seedbed_crds::PreflightSeverity;

    use super::super::seen::tests::{has, only, well};
    use super::*;
    use crate::Observed;

    #[test]
    fn a_release_that_there_is_not_is_an_error_and_the_others_are_named() {
        let found = |others: &[&str]| {
            let others = others.iter().map(|&other| other.to_owned()).collect();
            only(&Seen {
                release: Observed::Known(OnHost::NotFound(others)),
                ..well()
            })
        };
        let (severity, object, message) = found(&["v1.35.4", "v1.35.5"]);
        assert_eq!(
            (severity, object.as_str()),
            (PreflightSeverity::Error, "KubernetesRelease v1.36.3")
        );
        has(&message, &["v1.35.4, v1.35.5", "create it"]);
        has(&found(&[]).2, &["those that there are: none"]);
    }

    #[test]
    fn a_release_that_is_not_on_the_host_is_an_error_with_its_own_words() {
        let (severity, _, message) = only(&Seen {
            release: Observed::Known(OnHost::Incomplete("the digest is wrong".into())),
            ..well()
        });
        assert_eq!(severity, PreflightSeverity::Error);
        has(&message, &["host local", "the digest is wrong"]);
    }

    #[test]
    fn a_host_without_room_for_snapshots_is_a_warning() {
        let (severity, object, message) = only(&Seen {
            capacity: Observed::Known(Err("1.0Gi left".into())),
            ..well()
        });
        assert_eq!(
            (severity, object.as_str(), message.as_str()),
            (PreflightSeverity::Warning, "HypervisorHost local", "1.0Gi left")
        );
    }
}
