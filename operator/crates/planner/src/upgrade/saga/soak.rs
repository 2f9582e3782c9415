//! Watching the new control plane: what is noted of it, what is not borne at all, and what is not borne for long.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use seedbed_crds::reasons::Reason;
use seedbed_crds::{CheckJob, PodRestarts, RequestCounts, UpgradeStep, UpgradeWatch};

use super::step::Work;
use super::{Health, Seen, Wait};
use crate::Observed;
use crate::upgrade::effect::Effect;

/// How long the cluster may be unwell while it is watched: leaders change, and a busy API server answers late.
const PATIENCE: SignedDuration = SignedDuration::from_mins(3);
/// How often a container of the control plane may restart while it is watched, and once more for each hour of that. One that loses its
/// election on a slow machine ends and is started again, and so are all when the machine is restarted. One that does not stay up is
/// started every five minutes at least (<https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>), and so is
/// found at any length of a watch.
const RESTARTS: i64 = 2;
/// The share of requests, in percent, that the API server may answer with an error of its own: five times what is left by an
/// objective of 99 %, as kubernetes-mixin's alerts have it (<https://github.com/kubernetes-monitoring/kubernetes-mixin>).
const FAILED_PERCENT: i64 = 5;
/// The least number of requests whose share of errors says anything: a cluster in which nothing runs makes as many in a minute.
const LEAST_REQUESTS: i64 = 100;
/// How long a check's Job may take, where the watch is not longer. It is no measure of how long it takes, only an end to one that hangs.
const LONGEST_CHECK: SignedDuration = SignedDuration::from_mins(45);

/// What was seen of the cluster for a step that watches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// How often containers of the control plane's pods have restarted, by the pods' names.
    pub restarts: Observed<BTreeMap<String, i64>>,
    /// What the API server has answered since it was started.
    pub requests: Observed<RequestCounts>,
    /// The user's checks, by their names.
    pub checks: Vec<(String, Check)>,
}

/// One of the user's checks, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// A request; why it counts as not answered, if it does.
    Probe(Result<(), String>),
    /// A Job.
    Job(Observed<CheckState>),
}

/// How far the Job of a check is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckState {
    /// There is none.
    NotStarted,
    /// It has not come to an end.
    Running,
    /// It is Complete.
    Complete,
    /// It failed: its own words.
    Failed(String),
}

impl Watched {
    /// Nothing was seen, for that reason.
    pub fn unseen(why: &str) -> Self {
        Self {
            restarts: Observed::Unknown(why.to_owned()),
            requests: Observed::Unknown(why.to_owned()),
            checks: Vec::new(),
        }
    }
}

/// What is done of the watch now.
pub(super) fn soak(step: &UpgradeStep, seen: &Seen, since: SignedDuration, now: Timestamp) -> Work {
    if seen.health == Health::NotLookedAt {
        return waits("the new control plane is looked at".to_owned());
    }
    let noted = step.watch.clone().unwrap_or_default();
    let next = noted_anew(&noted, &seen.watched, now);
    if next != noted {
        return Work::Note(next);
    }
    let soak = SignedDuration::try_from(seen.soak).unwrap_or(SignedDuration::MAX);
    if let Some(why) = breach(&noted, &seen.watched, since, soak, now) {
        return Work::Breach(format!("while the new control plane was watched, {why}"));
    }
    let unwell = step.unwell_since.as_ref().map(|at| at.0);
    match (trouble(&noted, seen), unwell) {
        (Some(_), None) => Work::Unwell(Some(now)),
        (Some(why), Some(at)) if now.duration_since(at) >= PATIENCE => Work::Breach(format!(
            "while the new control plane was watched, it was not well for {} s: {why}",
            PATIENCE.as_secs()
        )),
        (Some(why), Some(_)) => waits(format!("the new control plane is not well: {why}")),
        (None, Some(_)) => Work::Unwell(None),
        (None, None) => well(step, &noted, seen, since, soak),
    }
}

/// All is well: Jobs of checks are begun, and waited for until the time is over, and longer.
fn well(
    step: &UpgradeStep,
    noted: &UpgradeWatch,
    seen: &Seen,
    since: SignedDuration,
    soak: SignedDuration,
) -> Work {
    let open: Vec<_> = jobs(&seen.watched)
        .filter(|(check, _)| !has_passed(noted, check))
        .collect();
    let begun: Vec<_> = open
        .iter()
        .filter(|(_, state)| **state == Observed::Known(CheckState::NotStarted))
        .map(|(check, _)| ((*check).to_owned(), Effect::StartCheck))
        .collect();
    if !begun.is_empty() {
        return Work::Do(begun);
    }
    if since >= soak && open.is_empty() {
        return Work::Done;
    }
    let until = step
        .started_at
        .as_ref()
        .and_then(|at| at.0.checked_add(soak).ok());
    let until = until.filter(|_| since < soak);
    let until = until.map(|at| at.strftime(" until %H:%M:%SZ").to_string());
    let mut message = format!("the new control plane is watched{}", until.unwrap_or_default());
    if !open.is_empty() {
        let names: Vec<_> = open.iter().map(|(check, _)| *check).collect();
        message = format!("{message}; the Jobs of these checks run: {}", names.join(", "));
    }
    waits(message)
}

/// What is noted from now on: where counts begin, and which Jobs there are. A Job is noted before it is made.
fn noted_anew(noted: &UpgradeWatch, watched: &Watched, now: Timestamp) -> UpgradeWatch {
    let mut next = noted.clone();
    for (pod, &count) in watched.restarts.known().into_iter().flatten() {
        match next.restarts.iter_mut().find(|known| known.pod == *pod) {
            // Another pod has the name, and its containers have restarted that often since it was made.
            Some(known) if count < known.count => known.count = 0,
            Some(_) => {}
            None => next.restarts.push(PodRestarts {
                pod: pod.clone(),
                count,
            }),
        }
    }
    if let Observed::Known(found) = &watched.requests {
        next.requests = Some(match next.requests {
            None => *found,
            Some(begun) if is_same_process(&begun, found) => begun,
            // It was restarted, and has counted from nothing since.
            Some(_) => RequestCounts {
                process_started: found.process_started,
                total: 0,
                failed: 0,
            },
        });
    }
    for (check, state) in jobs(watched) {
        let Observed::Known(state) = state else { continue };
        match next.jobs.iter_mut().find(|job| job.check == check) {
            Some(job) => job.passed |= *state == CheckState::Complete,
            None => next.jobs.push(CheckJob {
                check: check.to_owned(),
                begun_at: Time(now),
                passed: *state == CheckState::Complete,
            }),
        }
    }
    next
}

fn is_same_process(begun: &RequestCounts, found: &RequestCounts) -> bool {
    begun.process_started == found.process_started
        && found.total >= begun.total
        && found.failed >= begun.failed
}

fn jobs(watched: &Watched) -> impl Iterator<Item = (&str, &Observed<CheckState>)> {
    watched.checks.iter().filter_map(|(name, check)| match check {
        Check::Job(state) => Some((name.as_str(), state)),
        Check::Probe(_) => None,
    })
}

fn has_passed(noted: &UpgradeWatch, check: &str) -> bool {
    noted.jobs.iter().any(|job| job.check == check && job.passed)
}

/// What does not pass by waiting.
fn breach(
    noted: &UpgradeWatch,
    watched: &Watched,
    since: SignedDuration,
    soak: SignedDuration,
    now: Timestamp,
) -> Option<String> {
    let borne = RESTARTS + since.as_hours();
    let found = watched.restarts.known();
    let loops = noted.restarts.iter().find_map(|begun| {
        let restarts = found?.get(&begun.pod)? - begun.count;
        (restarts > borne).then(|| {
            format!(
                "pod kube-system/{} restarted {restarts} times, and more than {borne} are not borne",
                begun.pod
            )
        })
    });
    let longest = soak.max(LONGEST_CHECK);
    loops.or_else(|| {
        jobs(watched)
            .filter(|(check, _)| !has_passed(noted, check))
            .find_map(|(check, state)| {
                if let Observed::Known(CheckState::Failed(words)) = state {
                    return Some(format!("the Job of check {check} failed: {words}"));
                }
                let begun = noted.jobs.iter().find(|job| job.check == check)?;
                (now.duration_since(begun.begun_at.0) >= longest).then(|| {
                    format!(
                        "the Job of check {check} was not Complete within {} min",
                        longest.as_mins()
                    )
                })
            })
    })
}

/// The first thing that is not well, or cannot be seen.
fn trouble(noted: &UpgradeWatch, seen: &Seen) -> Option<String> {
    if let Health::Unwell(why) = &seen.health {
        return Some(why.clone());
    }
    let watched = &seen.watched;
    match &watched.restarts {
        Observed::Unknown(why) => return Some(why.clone()),
        Observed::Known(found) => {
            let is_gone = |begun: &&PodRestarts| !found.contains_key(&begun.pod);
            if let Some(gone) = noted.restarts.iter().find(is_gone) {
                return Some(format!("pod kube-system/{} is not there any more", gone.pod));
            }
        }
    }
    match &watched.requests {
        Observed::Unknown(why) => return Some(why.clone()),
        Observed::Known(found) => {
            if let Some(why) = noted.requests.as_ref().and_then(|begun| errors(begun, found)) {
                return Some(why);
            }
        }
    }
    watched.checks.iter().find_map(|(name, check)| match check {
        Check::Probe(Ok(())) | Check::Job(Observed::Known(_)) => None,
        Check::Probe(Err(why)) => Some(format!("check {name}: {why}")),
        Check::Job(Observed::Unknown(_)) if has_passed(noted, name) => None,
        Check::Job(Observed::Unknown(why)) => Some(format!("the Job of check {name}: {why}")),
    })
}

/// What is told where too many requests were answered with an error of the API server's own. That share falls by itself where it was but
/// a moment.
fn errors(begun: &RequestCounts, found: &RequestCounts) -> Option<String> {
    let (total, failed) = (found.total - begun.total, found.failed - begun.failed);
    (total >= LEAST_REQUESTS && failed * 100 > total * FAILED_PERCENT).then(|| {
        format!(
            "the API server answered {failed} of {total} requests with an error of its own (5xx), which are {} %, and more than {FAILED_PERCENT} % are not borne",
            failed * 100 / total
        )
    })
}

fn waits(message: String) -> Work {
    Work::Wait(Wait::new(Reason::Soaking, message))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn counts(process_started: i64, total: i64, failed: i64) -> RequestCounts {
        RequestCounts {
            process_started,
            total,
            failed,
        }
    }

    fn watched(restarts: &[(&str, i64)], requests: RequestCounts) -> Watched {
        let restarts = restarts.iter().map(|(pod, count)| ((*pod).to_owned(), *count));
        Watched {
            restarts: Observed::Known(restarts.collect()),
            requests: Observed::Known(requests),
            checks: Vec::new(),
        }
    }

    fn noted(watched: &Watched) -> UpgradeWatch {
        noted_anew(&UpgradeWatch::default(), watched, Timestamp::UNIX_EPOCH)
    }

    #[rstest]
    #[case(5, 5, 0, false)]
    #[case(5, 7, 0, false)]
    #[case(5, 8, 0, true)]
    #[case(0, 3, 1, false)]
    #[case(0, 4, 1, true)]
    #[case(0, 26, 24, false)]
    #[case(0, 27, 24, true)]
    fn a_container_may_restart_twice_and_once_more_for_each_hour(
        #[case] at_first: i64,
        #[case] now: i64,
        #[case] hours: i64,
        #[case] breached: bool,
    ) {
        let noted = noted(&watched(&[("etcd-a", at_first)], counts(1, 0, 0)));
        let found = watched(&[("etcd-a", now)], counts(1, 0, 0));
        let since = SignedDuration::from_hours(hours);
        let at = Timestamp::UNIX_EPOCH;
        let why = breach(&noted, &found, since, SignedDuration::from_mins(5), at);
        assert_eq!(why.is_some(), breached, "{why:?}");
        assert!(why.is_none_or(|why| why.contains("kube-system/etcd-a restarted")));
    }

    #[test]
    fn another_pod_of_the_name_is_counted_from_its_own_beginning() {
        let first = noted(&watched(&[("a", 9)], counts(1, 0, 0)));
        let found = watched(&[("a", 1), ("b", 4)], counts(1, 0, 0));
        let next = noted_anew(&first, &found, Timestamp::UNIX_EPOCH);
        let told: Vec<_> = next.restarts.iter().map(|r| (r.pod.as_str(), r.count)).collect();
        assert_eq!(told, [("a", 0), ("b", 4)]);
        assert_eq!(noted_anew(&next, &found, Timestamp::UNIX_EPOCH), next);
    }

    #[rstest]
    #[case::too_few(counts(1, 1099, 99), false)]
    #[case::enough(counts(1, 1100, 6), true)]
    #[case::as_many_as_are_borne(counts(1, 1100, 5), false)]
    #[case::none(counts(1, 900_000, 0), false)]
    fn errors_count_by_their_share_of_enough_requests(#[case] found: RequestCounts, #[case] told: bool) {
        let why = errors(&counts(1, 1000, 0), &found);
        assert_eq!(why.is_some(), told, "{why:?}");
        if let Some(why) = why {
            assert!(why.contains("6 of 100 requests") && why.contains("6 %"), "{why}");
        }
    }

    #[rstest]
    #[case::same(counts(1, 120, 3), counts(1, 100, 2))]
    #[case::restarted(counts(2, 500, 3), counts(2, 0, 0))]
    #[case::went_down(counts(1, 50, 0), counts(1, 0, 0))]
    fn an_api_server_that_was_restarted_has_counted_from_nothing(
        #[case] found: RequestCounts,
        #[case] begins: RequestCounts,
    ) {
        let first = noted(&watched(&[], counts(1, 100, 2)));
        let next = noted_anew(&first, &watched(&[], found), Timestamp::UNIX_EPOCH);
        assert_eq!(next.requests, Some(begins));
    }

    #[test]
    fn what_cannot_be_seen_notes_nothing() {
        let first = noted(&watched(&[("a", 1)], counts(1, 100, 2)));
        let unseen = Watched::unseen("no route");
        assert_eq!(noted_anew(&first, &unseen, Timestamp::UNIX_EPOCH), first);
    }

    #[test]
    fn a_job_is_noted_before_it_is_made_and_one_that_passed_stays_so() {
        let job = |state| Watched {
            checks: vec![("smoke".into(), Check::Job(Observed::Known(state)))],
            ..watched(&[], counts(1, 0, 0))
        };
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        let begun = noted_anew(&UpgradeWatch::default(), &job(CheckState::NotStarted), at(5));
        assert_eq!((begun.jobs[0].begun_at.0, begun.jobs[0].passed), (at(5), false));
        let passed = noted_anew(&begun, &job(CheckState::Complete), at(9));
        assert_eq!((passed.jobs[0].begun_at.0, passed.jobs[0].passed), (at(5), true));
        let gone = noted_anew(&passed, &job(CheckState::NotStarted), at(20));
        assert_eq!(gone, passed);
        let soak = SignedDuration::from_mins(1);
        let why = breach(&gone, &job(CheckState::NotStarted), soak, soak, at(90_000));
        assert_eq!(why, None);
    }
}
