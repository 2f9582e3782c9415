//! Whether the operator is alive and ready, as it tells at `/livez` and `/readyz`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::context::Clock;

/// How long one reconcile may run: a pass never waits for a guest, so that one that runs as long is stuck.
const RECONCILE_LIMIT: Duration = Duration::from_mins(10);
/// How long the election may be silent: it looks every two seconds, and one look ends within ten.
const ELECTION_LIMIT: Duration = Duration::from_mins(1);

/// What the operator does at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It looks at what it needs.
    Starting,
    /// Another instance holds the lease; this one is ready to take over.
    Standby,
    /// It holds the lease and works.
    Leader,
    /// It ends.
    Stopping,
}

/// Whether the operator is alive and ready.
#[derive(Debug)]
pub struct Health {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    role: Role,
    elected: Option<Duration>,
    synced: BTreeMap<&'static str, bool>,
    running: BTreeMap<u64, (String, Duration)>,
    next: u64,
}

impl Health {
    /// Of an operator that starts.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State {
            role: Role::Starting,
            elected: None,
            synced: BTreeMap::new(),
            running: BTreeMap::new(),
            next: 0,
        };
        Self {
            clock,
            state: Mutex::new(state),
        }
    }

    /// What the operator does from now on.
    pub fn set_role(&self, role: Role) {
        self.lock().role = role;
    }

    /// The election had a look at the lease, whatever it found.
    pub fn election_alive(&self) {
        let now = self.clock.elapsed();
        self.lock().elected = Some(now);
    }

    /// Whether a controller's caches hold what is in the API. A leader is ready once all that were named here are.
    pub fn set_synced(&self, controller: &'static str, synced: bool) {
        self.lock().synced.insert(controller, synced);
    }

    /// Notes that a reconcile runs, until the guard is dropped.
    pub fn reconcile(self: &Arc<Self>, what: String) -> Running {
        let now = self.clock.elapsed();
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        state.running.insert(id, (what, now));
        Running {
            health: self.clone(),
            id,
        }
    }

    /// Whether the operator is alive; what is stuck otherwise.
    pub fn live(&self) -> Result<(), String> {
        let now = self.clock.elapsed();
        let state = self.lock();
        if let Some((what, since)) = state
            .running
            .values()
            .find(|(_, since)| now.saturating_sub(*since) > RECONCILE_LIMIT)
        {
            return Err(format!(
                "the reconcile of {what} runs for {} s",
                now.saturating_sub(*since).as_secs()
            ));
        }
        let electing = matches!(state.role, Role::Standby | Role::Leader);
        match state.elected {
            Some(at) if electing && now.saturating_sub(at) > ELECTION_LIMIT => Err(format!(
                "the election has not looked at its lease for {} s",
                now.saturating_sub(at).as_secs()
            )),
            _ => Ok(()),
        }
    }

    /// Whether the operator does its work, or is ready to take over; what it waits for otherwise.
    pub fn ready(&self) -> Result<&'static str, String> {
        let state = self.lock();
        match state.role {
            Role::Starting => Err("starting: looking for the API and its schemas".to_owned()),
            Role::Stopping => Err("stopping".to_owned()),
            Role::Standby => Ok("standby: another instance holds the lease"),
            Role::Leader => match state.synced.iter().find(|(_, synced)| !**synced) {
                Some((controller, _)) => Err(format!(
                    "the caches of controller {controller} are not filled yet"
                )),
                None => Ok("leader"),
            },
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reconcile that runs, for as long as this lives.
#[derive(Debug)]
pub struct Running {
    health: Arc<Health>,
    id: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.health.lock().running.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::virtual_clock;

    #[tokio::test(start_paused = true)]
    async fn a_reconcile_that_never_ends_is_told() {
        let health = Arc::new(Health::new(virtual_clock()));
        let running = health.reconcile("DevCluster default/demo".into());
        assert_eq!(health.live(), Ok(()));
        tokio::time::advance(RECONCILE_LIMIT + Duration::from_secs(1)).await;
        assert!(health.live().unwrap_err().contains("DevCluster default/demo"));
        drop(running);
        assert_eq!(health.live(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_is_ready_once_all_caches_are_filled() {
        let health = Health::new(virtual_clock());
        assert!(health.ready().is_err());
        health.set_role(Role::Standby);
        assert!(health.ready().is_ok());
        health.set_synced("devcluster", false);
        health.set_synced("nodepool", true);
        health.set_role(Role::Leader);
        assert!(health.ready().unwrap_err().contains("devcluster"));
        health.set_synced("devcluster", true);
        assert_eq!(health.ready(), Ok("leader"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_election_that_hangs_is_told() {
        let health = Health::new(virtual_clock());
        health.set_role(Role::Leader);
        health.election_alive();
        tokio::time::advance(ELECTION_LIMIT + Duration::from_secs(1)).await;
        assert!(health.live().is_err());
        health.election_alive();
        assert_eq!(health.live(), Ok(()));
    }
}
