//! The version that a cluster's spec asks for, and the upgrades that lead there.

use jiff::SignedDuration;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use seedbed_crds::{
    Approval, ClusterUpgrade, ClusterUpgradeSpec, DevCluster, LocalReference, OnFailureAfterCommit,
    default_soak,
};
use seedbed_planner::Observed;
use seedbed_planner::names::GENERATION_ANNOTATION;
use seedbed_planner::upgrade::Version;
use seedbed_planner::upgrade::desired::{self, Desired, Upgrade};

use super::observe::Subject;
use crate::controllers::world::World;
use crate::controllers::{owned, upgrade};
use crate::deletion;
use crate::errors::Error;

/// Within which time an API server is asked for its version again.
const ASKED_WITHIN: SignedDuration = SignedDuration::from_mins(3);

/// What follows from the version that the spec asks for; nothing before the control plane is initialised, or where it cannot be read.
pub fn desired(subject: &Subject, world: &World) -> Option<Desired> {
    let cluster = &subject.cluster;
    if !cluster.status.as_ref().is_some_and(|status| status.initialized) {
        return None;
    }
    let running = match &subject.view.api_version {
        Observed::Unknown(why) => Observed::Unknown(why.clone()),
        Observed::Known(text) => match Version::parse(text) {
            Some(version) => Observed::Known(version),
            None => Observed::Unknown(format!(
                "the API server says that it runs {text}, which is no version"
            )),
        },
    };
    let seen = desired::Seen {
        cluster: owned::name(cluster),
        generation: cluster.metadata.generation.unwrap_or_default(),
        desired: Version::parse(&cluster.spec.version)?,
        running,
        releases: world
            .versions()
            .iter()
            .filter_map(|text| Version::parse(text))
            .collect(),
        upgrades: upgrades(subject, world),
    };
    let namespace = owned::namespace(cluster);
    Some(desired::decide(&seen, &|name| {
        world.has_upgrade(&namespace, name)
    }))
}

/// The upgrades that the cluster made.
pub fn own(cluster: &DevCluster, world: &World) -> Vec<ClusterUpgrade> {
    let uid = owned::uid(cluster);
    world
        .upgrades_of(&owned::namespace(cluster), &owned::name(cluster))
        .filter(|upgrade| owned::owner_uid(upgrade, "DevCluster") == Some(uid.as_str()))
        .collect()
}

/// Names of the upgrades that are more than are kept.
pub fn surplus(subject: &Subject, world: &World) -> Vec<String> {
    let cluster = &subject.cluster;
    let generation = cluster.metadata.generation.unwrap_or_default();
    // The schema has no negative one.
    let limit = usize::try_from(cluster.spec.upgrade_history_limit).unwrap_or(usize::MAX);
    desired::beyond(&upgrades(subject, world), limit, generation)
}

/// The cluster's upgrades, the oldest first.
fn upgrades(subject: &Subject, world: &World) -> Vec<Upgrade> {
    let cluster = &subject.cluster;
    let now = world.context.clock.now();
    let mut all: Vec<_> = world
        .upgrades_of(&owned::namespace(cluster), &owned::name(cluster))
        .filter(|upgrade| !upgrade.spec.dry_run)
        .filter(|upgrade| {
            owned::owner_uid(upgrade, "DevCluster").is_none_or(|uid| uid == owned::uid(cluster))
        })
        .filter(|upgrade| upgrade::begun_on(upgrade).is_none_or(|uid| uid == owned::uid(cluster)))
        .collect();
    all.sort_by_key(|upgrade| (upgrade.metadata.creation_timestamp.clone(), upgrade.name_any()));
    all.iter()
        .filter_map(|found| {
            let (begun, end) = upgrade::progress_of(found);
            let ended_at = upgrade::ended_at(found);
            Some(Upgrade {
                name: found.name_any(),
                to: Version::parse(&found.spec.version)?,
                generation: upgrade::generation(found),
                begun,
                end,
                ended_just_now: ended_at.is_some_and(|at| now.duration_since(at) < ASKED_WITHIN),
            })
        })
        .collect()
}

/// Makes the upgrade.
pub async fn create(subject: &Subject, world: &World) -> Result<(), Error> {
    let Some(Desired::Make(name, version)) = desired(subject, world) else {
        return Ok(());
    };
    let cluster = &subject.cluster;
    let spec = ClusterUpgradeSpec {
        cluster_ref: LocalReference {
            name: owned::name(cluster),
        },
        version: version.to_string(),
        dry_run: false,
        cancel: false,
        soak: default_soak(),
        on_failure_after_commit: OnFailureAfterCommit::Stall,
        checks: Vec::new(),
        approval: Approval::Automatic,
        skip_preflight: Vec::new(),
    };
    let generation = cluster.metadata.generation.unwrap_or_default().to_string();
    let mut upgrade = ClusterUpgrade::new(&name, spec);
    upgrade.metadata = ObjectMeta {
        namespace: cluster.metadata.namespace.clone(),
        labels: Some(owned::labels(&owned::name(cluster))),
        annotations: Some([(GENERATION_ANNOTATION.to_owned(), generation)].into()),
        owner_references: owned::owner_reference(cluster).map(|owner| vec![owner]),
        ..upgrade.metadata
    };
    let api = Api::<ClusterUpgrade>::namespaced(world.context.client.clone(), &owned::namespace(cluster));
    match api.create(&PostParams::default(), &upgrade).await {
        Ok(_) => Ok(()),
        // It is there already and the cache does not know yet, or a person has made one of this name.
        Err(error) => Err(Error::api(format!("ClusterUpgrade {name}: create"), error)),
    }
}

/// Deletes the upgrades that are not asked for any more, or are more than are kept.
pub async fn delete(subject: &Subject, world: &World) -> Result<(), Error> {
    let cluster = &subject.cluster;
    let mut names = surplus(subject, world);
    if let Some(Desired::Forget(name)) = desired(subject, world) {
        names.push(name);
    }
    let upgrades = world.upgrades_of(&owned::namespace(cluster), &owned::name(cluster));
    let unwanted = upgrades.filter(|upgrade| names.contains(&upgrade.name_any()));
    delete_these(cluster, unwanted, world).await
}

/// Deletes all upgrades that the cluster made.
pub async fn delete_own(cluster: &DevCluster, world: &World) -> Result<(), Error> {
    let own = own(cluster, world).into_iter();
    let staying = own.filter(|upgrade| upgrade.metadata.deletion_timestamp.is_none());
    delete_these(cluster, staying, world).await
}

async fn delete_these(
    cluster: &DevCluster,
    upgrades: impl Iterator<Item = ClusterUpgrade>,
    world: &World,
) -> Result<(), Error> {
    let api = Api::<ClusterUpgrade>::namespaced(world.context.client.clone(), &owned::namespace(cluster));
    for upgrade in upgrades {
        let name = upgrade.name_any();
        deletion::delete(&api, &name, upgrade.uid())
            .await
            .map_err(|error| Error::api(format!("ClusterUpgrade {name}: delete"), error))?;
    }
    Ok(())
}
