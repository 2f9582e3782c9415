//! Whether the control planes' certificates outlive the upgrade, which leaves them as they are.

use jiff::{SignedDuration, Timestamp};
use seedbed_crds::PreflightCheck;

use super::guests::{Certificate, control_planes};
use super::{Findings, Seen};

/// How long an upgrade may take, beside the time for which the control plane is watched.
const UPGRADE: SignedDuration = SignedDuration::from_hours(24);
/// Within what time a certificate's end is told.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How many files a message names.
const NAMED: usize = 3;
/// How those that kubeadm makes are renewed.
const RENEW: &str = "run `kubeadm certs renew all` on it, and restart the control plane's pods (https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-certs/#manual-certificate-renewal)";
/// How those that others are signed with are renewed.
const ROTATE: &str = "kubeadm does not renew what others are signed with: rotate it (https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/), or make a new cluster";

pub(super) fn valid(seen: &Seen, findings: &mut Findings) {
    let check = PreflightCheck::Certificates;
    let soak = SignedDuration::try_from(seen.soak).unwrap_or(SignedDuration::MAX);
    let is_over = after(after(seen.now, UPGRADE), soak);
    let soon = after(seen.now, SOON).max(is_over);
    for (name, facts) in control_planes(seen, check, "when its certificates expire", findings) {
        let object = format!("DevMachine {name}");
        for (is_authority, how) in [(false, RENEW), (true, ROTATE)] {
            let of_kind = || {
                facts
                    .certificates
                    .iter()
                    .filter(move |c| c.is_authority == is_authority)
            };
            let ends: Vec<_> = of_kind().filter(|c| c.not_after <= is_over).collect();
            let ends_soon: Vec<_> = of_kind()
                .filter(|c| c.not_after > is_over && c.not_after <= soon)
                .collect();
            if !ends.is_empty() {
                let message = format!(
                    "{}: expired, or will before an upgrade that begins now is certainly over: {how}",
                    list(ends)
                );
                findings.error(check, object.clone(), message);
            }
            if !ends_soon.is_empty() {
                let message = format!("{}: will expire within 30 days: {how}", list(ends_soon));
                findings.warning(check, object.clone(), message);
            }
        }
    }
}

fn after(time: Timestamp, long: SignedDuration) -> Timestamp {
    time.saturating_add(long).unwrap_or(Timestamp::MAX)
}

/// The first of them to expire, and how many there are beside.
fn list(mut certificates: Vec<&Certificate>) -> String {
    certificates.sort_by_key(|certificate| (certificate.not_after, &certificate.file));
    let named: Vec<_> = certificates
        .iter()
        .take(NAMED)
        .map(|c| format!("{} ({})", c.file, c.not_after.strftime("%Y-%m-%d %H:%MZ")))
        .collect();
    let more = match certificates.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;
    use seedbed_crds::PreflightSeverity;

    use super::super::guests::tests::{certificate_of_hours, with_control_plane};
    use super::super::seen::tests::{has, only};
    use super::*;

    fn apiserver_ends_after(hours: i64) -> Seen {
        with_control_plane(|facts| {
            facts.certificates[0] = certificate_of_hours("/etc/kubernetes/pki/apiserver.crt", false, hours);
        })
    }

    #[rstest]
    #[case(-1, PreflightSeverity::Error, "expired, or will")]
    #[case(24, PreflightSeverity::Error, "expired, or will")]
    #[case(25, PreflightSeverity::Warning, "within 30 days")]
    #[case(30 * 24, PreflightSeverity::Warning, "within 30 days")]
    fn a_certificate_that_ends_is_told_with_how_it_is_renewed(
        #[case] hours: i64,
        #[case] expected: PreflightSeverity,
        #[case] part: &str,
    ) {
        let (severity, object, message) = only(&apiserver_ends_after(hours));
        assert_eq!((severity, object.as_str()), (expected, "DevMachine demo-cp-0"));
        has(
            &message,
            &[
                "/etc/kubernetes/pki/apiserver.crt (2027-",
                part,
                "kubeadm certs renew all",
            ],
        );
    }

    #[test]
    fn one_that_lasts_is_none_of_it() {
        assert_eq!(super::super::check(&apiserver_ends_after(30 * 24 + 1), &[]), []);
    }

    #[test]
    fn a_long_soak_needs_certificates_that_last_longer() {
        let seen = Seen {
            soak: Duration::from_hours(72),
            ..apiserver_ends_after(90)
        };
        assert_eq!(only(&seen).0, PreflightSeverity::Error);
    }

    #[test]
    fn what_others_are_signed_with_is_not_renewed_by_kubeadm() {
        let (severity, _, message) = only(&with_control_plane(|facts| {
            facts.certificates[1] = certificate_of_hours("/etc/kubernetes/pki/ca.crt", true, 1);
        }));
        assert_eq!(severity, PreflightSeverity::Error);
        has(&message, &["pki/ca.crt", "does not renew", "rotate it"]);
    }

    #[test]
    fn of_many_the_first_to_end_are_named() {
        let (_, _, message) = only(&with_control_plane(|facts| {
            facts.certificates = (0..7)
                .map(|n| certificate_of_hours(&format!("/pki/{n}.crt"), false, 20 - n))
                .collect();
        }));
        has(&message, &["/pki/6.crt (", "and 4 more"]);
        assert!(!message.contains("/pki/0.crt"), "{message}");
    }
}
