//! From the version that a cluster's spec asks for to the upgrades that lead there.

use super::saga::End;
use super::version::Version;
use crate::Observed;

/// What is known of a cluster's versions.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Name of the cluster.
    pub cluster: String,
    /// Generation of its spec.
    pub generation: i64,
    /// The version that the spec asks for.
    pub desired: Version,
    /// The version that its API server runs.
    pub running: Observed<Version>,
    /// All versions that there are releases of.
    pub releases: Vec<Version>,
    /// Its upgrades, the oldest first, without those that only plan.
    pub upgrades: Vec<Upgrade>,
}

/// One upgrade of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// Its name.
    pub name: String,
    /// The version that it leads to.
    pub to: Version,
    /// The generation of the cluster's spec that it was made for; none where a person made it.
    pub generation: Option<i64>,
    /// Whether it was begun.
    pub begun: bool,
    /// How it ended, if it has.
    pub end: Option<End>,
    /// Whether that was so short a time ago that the API server may not have been asked since what it runs.
    pub ended_just_now: bool,
}

/// What follows from the version that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Desired {
    /// The cluster runs it.
    Runs,
    /// It is not known what the cluster runs: why.
    Unknown(String),
    /// An upgrade is there that has not come to its end: its name.
    UnderWay(String),
    /// An upgrade is to be made, of that name and to that version.
    Make(String, Version),
    /// An upgrade that was made for what is not asked for any more, and not begun, is to go: its name.
    Forget(String),
    /// The cluster runs a newer one, which stays.
    Newer(Version),
    /// The upgrade of that name failed, or was cancelled, and nobody asked for anything else since.
    Failed(String),
    /// No upgrade leads there: why.
    NoWay(String),
}

/// What follows from the version that is asked for: one upgrade after another, a minor version each. `is_taken` says whether the cluster's
/// namespace has an upgrade of a name, whosever it is.
pub fn decide(seen: &Seen, is_taken: &dyn Fn(&str) -> bool) -> Desired {
    let open = seen.upgrades.iter().find(|upgrade| upgrade.end.is_none());
    if let Some(upgrade) = open {
        let is_wanted = upgrade.generation.is_none() || upgrade.to <= seen.desired;
        return if upgrade.begun || is_wanted {
            Desired::UnderWay(upgrade.name.clone())
        } else {
            Desired::Forget(upgrade.name.clone())
        };
    }
    let running = match &seen.running {
        Observed::Known(version) => *version,
        Observed::Unknown(why) => return Desired::Unknown(why.clone()),
    };
    // An API server is asked for its version now and then: what it said may be from before the last upgrade's end.
    let is_stale = |upgrade: &Upgrade| match upgrade.end {
        Some(End::Done) => running < upgrade.to,
        Some(End::Cancelled | End::RolledBack) => running == upgrade.to,
        None => false,
    };
    if seen
        .upgrades
        .iter()
        .any(|upgrade| upgrade.ended_just_now && is_stale(upgrade))
    {
        return Desired::Unknown(
            "the API server was not asked again since the last upgrade came to its end".to_owned(),
        );
    }
    if running == seen.desired {
        return Desired::Runs;
    }
    if running > seen.desired {
        return Desired::Newer(running);
    }
    let next = match next(seen, running) {
        Ok(next) => next,
        Err(why) => return Desired::NoWay(why),
    };
    let last = seen.upgrades.iter().rev().find(|upgrade| upgrade.to == next);
    match last {
        Some(upgrade) if upgrade.generation == Some(seen.generation) => Desired::Failed(upgrade.name.clone()),
        _ => Desired::Make(name(seen, next, is_taken), next),
    }
}

/// The version of the next upgrade on the way.
fn next(seen: &Seen, running: Version) -> Result<Version, String> {
    let desired = seen.desired;
    if desired.major != running.major {
        return Err(format!(
            "{desired} is another major version than {running}, which the cluster runs"
        ));
    }
    if desired.minor - running.minor <= 1 {
        return Ok(desired);
    }
    let minor = running.minor + 1;
    let between = seen
        .releases
        .iter()
        .filter(|v| (v.major, v.minor) == (running.major, minor))
        .max();
    between.copied().ok_or_else(|| {
        format!(
            "from {running}, which the cluster runs, to {desired} the way leads through a v{}.{minor}, because no minor version may be skipped, and there is no KubernetesRelease of one: create it",
            running.major
        )
    })
}

fn name(seen: &Seen, to: Version, is_taken: &dyn Fn(&str) -> bool) -> String {
    let mut name = format!("{}-{to}", seen.cluster);
    if is_taken(&name) {
        name = format!("{name}-g{}", seen.generation);
    }
    // Another one of the cluster's name may have come as far.
    let plain = name.clone();
    let mut count = 1;
    while is_taken(&name) {
        count += 1;
        name = format!("{plain}-{count}");
    }
    name
}

/// Names of the upgrades beyond the newest `limit` of those that came to their end and that the cluster made by itself. What [`decide`] goes
/// by stays: one that ended just now, and one that did not get to what the spec of that generation still asks for.
pub fn beyond(upgrades: &[Upgrade], limit: usize, generation: i64) -> Vec<String> {
    let ended: Vec<_> = upgrades
        .iter()
        .filter(|upgrade| upgrade.end.is_some() && upgrade.generation.is_some())
        .collect();
    let surplus = ended.len().saturating_sub(limit);
    let failed = |upgrade: &Upgrade| upgrade.end != Some(End::Done) && upgrade.generation == Some(generation);
    ended
        .iter()
        .take(surplus)
        .filter(|upgrade| !upgrade.ended_just_now && !failed(upgrade))
        .map(|upgrade| upgrade.name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn v(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    fn decide(seen: &Seen) -> Desired {
        super::decide(seen, &|name| {
            seen.upgrades.iter().any(|upgrade| upgrade.name == name)
        })
    }

    fn seen(running: &str, desired: &str) -> Seen {
        Seen {
            cluster: "demo".into(),
            generation: 4,
            desired: v(desired),
            running: Observed::Known(v(running)),
            releases: ["v1.34.2", "v1.35.3", "v1.35.4", "v1.36.3"].map(v).into(),
            upgrades: Vec::new(),
        }
    }

    fn upgrade(to: &str, generation: Option<i64>, begun: bool, end: Option<End>) -> Upgrade {
        Upgrade {
            name: format!("demo-{to}"),
            to: v(to),
            generation,
            begun,
            end,
            ended_just_now: false,
        }
    }

    #[rstest]
    #[case("v1.35.4", "v1.36.3", "demo-v1.36.3", "v1.36.3")]
    #[case("v1.35.3", "v1.35.4", "demo-v1.35.4", "v1.35.4")]
    // Two hops, the first one to the newest patch that there is.
    #[case("v1.34.2", "v1.36.3", "demo-v1.35.4", "v1.35.4")]
    fn an_edited_version_makes_the_next_upgrade_on_the_way(
        #[case] running: &str,
        #[case] desired: &str,
        #[case] name: &str,
        #[case] to: &str,
    ) {
        assert_eq!(decide(&seen(running, desired)), Desired::Make(name.into(), v(to)));
    }

    #[rstest]
    #[case(&["demo-v1.36.3"], "demo-v1.36.3-g4")]
    #[case(&["demo-v1.36.3", "demo-v1.36.3-g4"], "demo-v1.36.3-g4-2")]
    #[case(&["demo-v1.36.3", "demo-v1.36.3-g4", "demo-v1.36.3-g4-2"], "demo-v1.36.3-g4-3")]
    fn a_name_that_another_upgrade_has_is_not_asked_for(#[case] taken: &[&str], #[case] name: &str) {
        let made = super::decide(&seen("v1.35.4", "v1.36.3"), &|name| taken.contains(&name));
        assert_eq!(made, Desired::Make(name.into(), v("v1.36.3")));
    }

    #[test]
    fn nothing_follows_where_it_runs_or_is_not_known_and_nothing_is_taken_back() {
        assert_eq!(decide(&seen("v1.35.4", "v1.35.4")), Desired::Runs);
        assert_eq!(decide(&seen("v1.36.3", "v1.35.4")), Desired::Newer(v("v1.36.3")));
        let unknown = Seen {
            running: Observed::Unknown("silent".into()),
            ..seen("v1.35.4", "v1.36.3")
        };
        assert_eq!(decide(&unknown), Desired::Unknown("silent".into()));
    }

    #[test]
    fn a_gap_in_the_releases_is_told() {
        let Desired::NoWay(why) = decide(&seen("v1.32.0", "v1.36.3")) else {
            panic!("there is no way");
        };
        assert!(why.contains("through a v1.33"), "{why}");
    }

    #[test]
    fn there_is_one_upgrade_at_a_time() {
        let mut seen = seen("v1.35.4", "v1.36.3");
        seen.upgrades = vec![upgrade("v1.36.3", Some(4), true, None)];
        assert_eq!(decide(&seen), Desired::UnderWay("demo-v1.36.3".into()));
    }

    #[test]
    fn one_that_was_not_begun_goes_when_the_version_is_set_back_and_one_of_a_person_stays() {
        let mut seen = seen("v1.35.4", "v1.35.4");
        seen.upgrades = vec![upgrade("v1.36.3", Some(3), false, None)];
        assert_eq!(decide(&seen), Desired::Forget("demo-v1.36.3".into()));
        seen.upgrades = vec![upgrade("v1.36.3", None, false, None)];
        assert_eq!(decide(&seen), Desired::UnderWay("demo-v1.36.3".into()));
    }

    #[test]
    fn what_failed_is_not_tried_again_until_somebody_changes_the_spec() {
        let mut seen = seen("v1.35.4", "v1.36.3");
        seen.upgrades = vec![upgrade("v1.36.3", Some(4), true, Some(End::RolledBack))];
        assert_eq!(decide(&seen), Desired::Failed("demo-v1.36.3".into()));
        seen.generation = 5;
        assert_eq!(
            decide(&seen),
            Desired::Make("demo-v1.36.3-g5".into(), v("v1.36.3"))
        );
    }

    #[test]
    fn a_version_that_was_seen_before_the_upgrade_makes_no_second_one() {
        let mut seen = seen("v1.35.4", "v1.36.3");
        let just_now = |end| Upgrade {
            ended_just_now: true,
            ..upgrade("v1.36.3", Some(4), true, Some(end))
        };
        seen.upgrades = vec![just_now(End::Done)];
        assert!(matches!(decide(&seen), Desired::Unknown(_)));
        let mut back = self::seen("v1.36.3", "v1.35.4");
        back.upgrades = vec![just_now(End::Cancelled)];
        assert!(matches!(decide(&back), Desired::Unknown(_)));
        back.running = Observed::Known(v("v1.35.4"));
        assert_eq!(decide(&back), Desired::Runs);
    }

    #[test]
    fn one_that_was_cancelled_long_ago_says_nothing_about_what_runs() {
        let mut seen = seen("v1.36.3", "v1.36.3");
        seen.upgrades = vec![upgrade("v1.36.3", None, false, Some(End::Cancelled))];
        assert_eq!(decide(&seen), Desired::Runs);
    }

    #[test]
    fn the_newest_that_ended_are_kept_and_those_of_persons() {
        let done = Some(End::Done);
        let all = [
            upgrade("v1.33.0", Some(1), true, done),
            upgrade("v1.34.0", None, true, done),
            upgrade("v1.35.0", Some(2), true, done),
            upgrade("v1.36.0", Some(3), true, None),
        ];
        assert_eq!(beyond(&all, 1, 3), ["demo-v1.33.0"]);
        assert_eq!(beyond(&all, 2, 3), Vec::<String>::new());
        assert_eq!(beyond(&all, 0, 3), ["demo-v1.33.0", "demo-v1.35.0"]);
    }

    #[test]
    fn one_by_which_it_is_known_that_nothing_is_to_be_made_is_kept_whatever_the_limit() {
        let mut seen = seen("v1.35.4", "v1.36.3");
        let failed = upgrade("v1.36.3", Some(4), true, Some(End::RolledBack));
        let just_now = Upgrade {
            ended_just_now: true,
            ..upgrade("v1.36.3", Some(3), true, Some(End::Done))
        };
        for kept in [failed, just_now] {
            seen.upgrades = vec![kept];
            assert_eq!(beyond(&seen.upgrades, 0, seen.generation), Vec::<String>::new());
            assert!(!matches!(decide(&seen), Desired::Make(..)));
            // An edit, or some time, lets go of it.
            seen.upgrades[0].ended_just_now = false;
            assert_eq!(beyond(&seen.upgrades, 0, 5), ["demo-v1.36.3"]);
        }
    }
}
