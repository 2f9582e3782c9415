//! Showing how the sample cluster comes up, as it happens.

mod story;
mod watch;

use std::{
    collections::BTreeMap,
    sync::mpsc::RecvTimeoutError,
    time::{Duration, Instant},
};

use seedbed_seed::{OPERATOR_UNIT, Seed};
use serde_json::Value;

pub(crate) use self::story::{Key, is_ready, key_of};
use self::{
    story::{Story, condition},
    watch::{Change, Watch},
};
use crate::{console::Console, error::Error};

/// What is watched. Events are written about these objects by the operator alone.
const KINDS: [&str; 4] = [
    "devclusters.seedbed.dev",
    "nodepools.seedbed.dev",
    "devmachines.seedbed.dev",
    "events.events.k8s.io",
];
/// An object may be Stalled for a moment, while what it needs is not yet observed; a person is called after this.
const STALLED_PATIENCE: Duration = Duration::from_secs(20);

/// Watches until all wanted objects are Ready. Fails where one is stuck until a person does something.
pub(crate) fn until_ready(
    seed: &Seed,
    wanted: &[Key],
    minutes: u64,
    console: &mut Console,
) -> Result<(), Error> {
    let watch = Watch::start(&seed.kubectl(), &KINDS)?;
    let until = Instant::now() + Duration::from_secs(minutes.saturating_mul(60));
    let mut objects: BTreeMap<Key, Value> = BTreeMap::new();
    let mut story = Story::default();
    let mut stalled_since: BTreeMap<Key, Instant> = BTreeMap::new();
    loop {
        match watch.next(Duration::from_secs(1)) {
            Ok(Change::Is(object)) => {
                for line in story.tell(&object) {
                    console.line(&line.who, &line.text);
                }
                objects.insert(key_of(&object), object);
            }
            Ok(Change::Gone(object)) => {
                let key = key_of(&object);
                objects.remove(&key);
                if let Some(line) = story.forget(&key) {
                    console.line(&line.who, &line.text);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::Unexpected {
                    what: "watching the seed".to_owned(),
                    found: "all watches ended".to_owned(),
                    expected: "kubectl to watch; see whether the seed runs with `make status`".to_owned(),
                });
            }
        }
        if wanted.iter().all(|key| objects.get(key).is_some_and(is_ready)) {
            return Ok(());
        }
        stop_if_stalled(wanted, &objects, &mut stalled_since)?;
        if Instant::now() > until {
            return Err(Error::NotReady {
                minutes,
                last: last_words(wanted, &objects),
                log: seed.instance.log(OPERATOR_UNIT),
            });
        }
    }
}

fn stop_if_stalled(
    wanted: &[Key],
    objects: &BTreeMap<Key, Value>,
    since: &mut BTreeMap<Key, Instant>,
) -> Result<(), Error> {
    for key in wanted {
        let stalled = objects.get(key).and_then(|object| condition(object, "Stalled"));
        let Some(stalled) = stalled.filter(|stalled| stalled.status == "True") else {
            since.remove(key);
            continue;
        };
        if since.entry(key.clone()).or_insert_with(Instant::now).elapsed() > STALLED_PATIENCE {
            return Err(Error::Stalled {
                object: key.for_kubectl(),
                reason: stalled.reason.to_owned(),
                message: stalled.message.to_owned(),
            });
        }
    }
    Ok(())
}

fn last_words(wanted: &[Key], objects: &BTreeMap<Key, Value>) -> String {
    let words = |key: &Key| match objects.get(key).and_then(|object| condition(object, "Ready")) {
        Some(ready) => format!("  {}: {} ({})", key.for_kubectl(), ready.message, ready.reason),
        None => format!(
            "  {}: no condition Ready yet; does the operator run?",
            key.for_kubectl()
        ),
    };
    wanted.iter().map(words).collect::<Vec<_>>().join("\n")
}
