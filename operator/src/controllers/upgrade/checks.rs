//! An upgrade's own checks, in its cluster.

use futures::future::join_all;
use seedbed_crds::{HttpGetCheck, UpgradeCheck};
use seedbed_planner::Observed;
use seedbed_planner::upgrade::preflight::CheckTried;
use seedbed_planner::upgrade::saga::{Check, CheckState};

use super::subject::Subject;
use crate::child::{ChildApi, ChildError, JobSeen, NewJob};
use crate::controllers::owned;
use crate::controllers::world::World;
use crate::errors::Error;

/// The checks as they are before anything is begun. Jobs are tried only where they are to be made: that is a request to write, and stands
/// in the cluster's audit log as one, though nothing is stored.
pub async fn tried(
    child: &dyn ChildApi,
    checks: &[UpgradeCheck],
    upgrade: &str,
    dry_run: bool,
) -> Vec<CheckTried> {
    let one = |check: UpgradeCheck| async move {
        let name = check.name.clone();
        if let Some(asked) = &check.http_get {
            return Some(CheckTried::Probe(name, Observed::from(child.probe(asked).await)));
        }
        let job = NewJob::of(upgrade, &check).filter(|_| !dry_run)?;
        Some(CheckTried::Job(name, taken(child.try_job(&job).await)))
    };
    let tried = join_all(checks.iter().cloned().map(one)).await;
    tried.into_iter().flatten().collect()
}

/// The same of a cluster that cannot be asked.
pub fn untried(checks: &[UpgradeCheck], dry_run: bool, why: &str) -> Vec<CheckTried> {
    let unknown = || Observed::Unknown(why.to_owned());
    checks
        .iter()
        .filter_map(|check| match &check.http_get {
            Some(_) => Some(CheckTried::Probe(check.name.clone(), unknown())),
            None => (!dry_run).then(|| CheckTried::Job(check.name.clone(), unknown())),
        })
        .collect()
}

fn taken(answer: Result<(), ChildError>) -> Observed<Result<(), String>> {
    match answer {
        Ok(()) => Observed::Known(Ok(())),
        // It has no time for it now.
        Err(ChildError::Refused { code, message, .. }) if code != 429 => Observed::Known(Err(message)),
        Err(error) => Observed::Unknown(error.to_string()),
    }
}

/// The checks as they are while the cluster is watched. `key` names the watch.
pub async fn watched(subject: &Subject, key: &str, world: &World) -> Vec<(String, Check)> {
    let checks = &subject.upgrade.spec.checks;
    let jobs = if checks.iter().any(|check| check.job.is_some()) {
        Observed::from(subject.child.check_jobs(&owned::uid(&subject.upgrade)).await)
    } else {
        Observed::Known(Vec::new())
    };
    let jobs = &jobs;
    let one = |check: UpgradeCheck| async move {
        let found = match &check.http_get {
            Some(asked) => Check::Probe(answered(subject, &check.name, asked, key, world).await),
            None => Check::Job(jobs.clone().map(|jobs| state(&jobs, &check.name))),
        };
        (check.name, found)
    };
    join_all(checks.iter().cloned().map(one)).await
}

fn state(jobs: &[JobSeen], check: &str) -> CheckState {
    let job = jobs.iter().find(|job| job.check == check);
    job.map_or(CheckState::NotStarted, |job| job.state.clone())
}

/// Whether the request is answered as it should be, as of a moment ago.
async fn answered(
    subject: &Subject,
    check: &str,
    asked: &HttpGetCheck,
    key: &str,
    world: &World,
) -> Result<(), String> {
    let key = format!("{key} {check}");
    let clock = &world.context.clock;
    if let Some(known) = world.probed.get(&key, clock.elapsed()) {
        return known;
    }
    let answer = subject.child.probe(asked).await;
    let answer = answer.unwrap_or_else(|error| Err(error.to_string()));
    world.probed.put(&key, answer.clone(), clock.elapsed());
    answer
}

/// Makes the Job of that check, unless it is there.
pub async fn start(subject: &Subject, check: &str) -> Result<(), Error> {
    let mut checks = subject.upgrade.spec.checks.iter();
    let check = checks.find(|found| found.name == check);
    let Some(job) = check.and_then(|check| NewJob::of(&owned::uid(&subject.upgrade), check)) else {
        return Ok(());
    };
    subject.child.make_job(&job).await.map_err(|error| match error {
        ChildError::Refused { .. } => Error::step("check", error),
        other => other.into(),
    })
}

/// Removes the Jobs of the upgrade's checks, whatever its spec says by now.
pub async fn remove(child: &dyn ChildApi, upgrade: &str) -> Result<(), Error> {
    for job in child.check_jobs(upgrade).await? {
        child.delete_job(&job).await?;
    }
    Ok(())
}
