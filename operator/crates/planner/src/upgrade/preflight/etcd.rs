//! Whether etcd can be relied on: what it holds is all that cannot be made anew.

use seedbed_crds::PreflightCheck;
use seedbed_crds::quantity::display;

use super::guests::{EtcdFacts, control_planes};
use super::{Findings, Seen};

/// The share of its quota, in percent, from which on a database is told as nearly full.
const NEARLY_FULL: u128 = 80;

pub(super) fn healthy(seen: &Seen, findings: &mut Findings) {
    let check = PreflightCheck::Etcd;
    for (name, facts) in control_planes(seen, check, "the health of its etcd", findings) {
        let object = format!("DevMachine {name}");
        let health = findings.known(check, &object, "the health of its etcd", &facts.etcd.health);
        if let Some(Err(words)) = health {
            findings.error(check, object.clone(), unhealthy(words));
        }
        if let Some(message) = nearly_full(&facts.etcd) {
            findings.warning(check, object, message);
        }
    }
}

/// What etcd's words for it mean: <https://etcd.io/docs/v3.6/op-guide/monitoring/#health-check>.
fn unhealthy(words: &str) -> String {
    if words.contains("ALARM NOSPACE") {
        return "etcd has raised the alarm NOSPACE: its database is as large as it may be, and it takes no writes until the alarm is disarmed; compact and defragment it, then run `etcdctl alarm disarm` (https://etcd.io/docs/v3.6/op-guide/maintenance/#space-quota)".to_owned();
    }
    if words.contains("ALARM CORRUPT") {
        return "etcd has raised the alarm CORRUPT: its data is damaged, and a snapshot of it cannot be relied on; restore it before the upgrade (https://etcd.io/docs/v3.6/op-guide/data_corruption/)".to_owned();
    }
    if words.contains("NO LEADER") {
        return "etcd has no leader: too few of its members answer for a quorum; bring the others back before the upgrade".to_owned();
    }
    format!("etcd says that it is not healthy: {words}: its log says why; mend it before the upgrade")
}

fn nearly_full(etcd: &EtcdFacts) -> Option<String> {
    let (database, quota) = (*etcd.database.known()?, *etcd.quota.known()?);
    let is_full = u128::from(database) * 100 >= u128::from(quota) * NEARLY_FULL;
    (quota > 0 && is_full).then(|| {
        format!(
            "etcd's database takes {} of the {} that it may: when it is full, etcd raises an alarm and takes no more writes; delete what is not needed, then compact and defragment it",
            display(database),
            display(quota)
        )
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use seedbed_crds::PreflightSeverity;

    use super::super::guests::tests::{GI, with_control_plane};
    use super::super::seen::tests::{has, only};
    use crate::Observed;

    #[rstest]
    #[case("ALARM NOSPACE", &["the alarm NOSPACE", "takes no writes", "etcdctl alarm disarm"])]
    #[case("ALARM CORRUPT", &["the alarm CORRUPT", "snapshot of it cannot be relied on"])]
    #[case("RAFT NO LEADER", &["no leader", "quorum"])]
    #[case("RANGE ERROR:context deadline exceeded", &["RANGE ERROR:context deadline exceeded", "its log"])]
    fn an_etcd_that_is_not_healthy_is_an_error_with_what_to_do(#[case] words: &str, #[case] parts: &[&str]) {
        let (severity, object, message) = only(&with_control_plane(|facts| {
            facts.etcd.health = Observed::Known(Err(words.into()));
        }));
        assert_eq!(
            (severity, object.as_str()),
            (PreflightSeverity::Error, "DevMachine demo-cp-0")
        );
        has(&message, parts);
    }

    #[test]
    fn a_database_that_is_nearly_full_is_a_warning() {
        let of = |database| {
            with_control_plane(|facts| {
                facts.etcd.database = Observed::Known(database);
            })
        };
        let (severity, _, message) = only(&of(18 * GI / 10));
        assert_eq!(severity, PreflightSeverity::Warning);
        has(&message, &["takes 1.7Gi of the 2.0Gi", "compact"]);
        assert_eq!(super::super::check(&of(GI), &[]), []);
    }

    #[test]
    fn an_etcd_that_does_not_answer_is_not_known_to_be_healthy() {
        let (severity, _, message) = only(&with_control_plane(|facts| {
            facts.etcd.health = Observed::Unknown("no answer".into());
        }));
        assert_eq!(severity, PreflightSeverity::Unknown);
        has(
            &message,
            &["the health of its etcd could not be seen", "no answer"],
        );
    }
}
