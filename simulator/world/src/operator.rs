//! An instance of the operator, as its program makes it, on a simulated world.

use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use kube::Client;
use seedbed_hypervisor::{Hypervisor, Unavailable, Wrapped};
use seedbed_operator::backoff::Backoff;
use seedbed_operator::child::{ChildAccess, ChildKeeper};
use seedbed_operator::context::{Clock, Context, Randomness, Settings, Tasks, VirtualClock};
use seedbed_operator::controllers;
use seedbed_operator::events::EventRecorder;
use seedbed_operator::health::Health;
use seedbed_operator::hosts::{Bounded, HostKeeper};
use seedbed_operator::lease::{Election, LeaseName};
use seedbed_operator::metrics::Metrics;
use seedbed_operator::uploads::Uploads;
use seedbed_operator::{Stop, lead};
use tokio::sync::watch;

use crate::World;
use crate::api::{Find, client_of};
use crate::chance::Drawn;
use crate::host::Way;
use crate::process::{Process, TasksOf};
use crate::step::Boundary;
use crate::world::NAMESPACE;

/// How long a call to the seed's API may take, as in the operator's program.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// An instance of the operator. It works until it is dropped: then it is gone from one moment to the next.
pub struct Operator {
    world: World,
    process: Arc<Process>,
    clock: Arc<VirtualClock>,
    stop: watch::Sender<bool>,
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Operator {
    /// Starts the next instance.
    pub(crate) fn start(world: &World) -> Self {
        let number = {
            let mut started = world.0.started.lock().unwrap_or_else(PoisonError::into_inner);
            *started += 1;
            *started
        };
        let process = Process::new(format!("op-{number}"));
        let clock = Arc::new(VirtualClock::since(world.0.stage.started));
        let (stop, stopped) = Stop::new();
        let operator = Self {
            world: world.clone(),
            process: process.clone(),
            clock,
            stop,
        };
        world.note(&format!("{} starts", process.name()));
        let made = Made::new(&operator);
        let (world, name) = (world.clone(), process.name().to_owned());
        let ending = process.clone();
        process.spawn(Box::pin(async move {
            let result = Box::pin(made.run(world.settings().election, stopped)).await;
            let how = result.err().unwrap_or_else(|| "asked to".to_owned());
            world.note(&format!("{name} ends: {how}"));
            ending.kill();
        }));
        operator
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.process.name()
    }

    /// Whether it has ended: by itself, or because it was killed.
    pub fn has_ended(&self) -> bool {
        self.process.is_dead()
    }

    /// Ends it at once.
    pub fn kill(&self) {
        self.world
            .0
            .stage
            .kill(&self.process, &format!("{} is killed", self.name()));
    }

    /// Asks it to stop.
    pub fn ask_to_stop(&self) {
        self.world.note(&format!("{} is asked to stop", self.name()));
        self.stop.send_replace(true);
    }

    /// Nothing in it goes on, until it is resumed. It does not notice.
    pub fn suspend(&self) {
        self.world.note(&format!("{} is suspended", self.name()));
        self.process.stop();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.world.note(&format!("{} goes on", self.name()));
        self.process.resume();
    }

    /// Somebody sets the time of day on its machine.
    pub fn set_clock_ahead(&self, by: SignedDuration) {
        self.clock.set_ahead(by);
    }
}

/// What an instance is made of.
struct Made {
    client: Client,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Randomness>,
    health: Arc<Health>,
    identity: String,
    world: World,
    process: Arc<Process>,
}

impl Made {
    fn new(operator: &Operator) -> Self {
        let (world, process) = (operator.world.clone(), operator.process.clone());
        let api = world.api().clone();
        let find: Find = Arc::new(move || Ok((api.clone(), 0)));
        let stage = world.0.stage.clone();
        let client = client_of(stage, process.clone(), Boundary::Seed, CALL_LIMIT, find);
        let clock: Arc<dyn Clock> = operator.clock.clone();
        let identity = process.name().to_owned();
        Self {
            client,
            random: Arc::new(Drawn::new(world.chance(&identity))),
            health: Arc::new(Health::new(clock.clone())),
            clock,
            identity,
            world,
            process,
        }
    }

    async fn run(self, election: bool, stop: Stop) -> Result<(), String> {
        if !election {
            Box::pin(controllers::run(Arc::new(self.context()), stop.asked())).await;
            return Ok(());
        }
        let name = LeaseName {
            namespace: NAMESPACE.to_owned(),
            name: "seedbed-operator".to_owned(),
            identity: self.identity.clone(),
        };
        let election = Election::new(
            self.client.clone(),
            name,
            self.clock.clone(),
            self.random.clone(),
            self.health.clone(),
        );
        Box::pin(lead(election, &stop, &self.health, || self.context())).await
    }

    fn context(&self) -> Context {
        let (client, clock, random) = (self.client.clone(), self.clock.clone(), self.random.clone());
        let tasks: Arc<dyn Tasks> = Arc::new(TasksOf(self.process.clone()));
        let settings = Settings::default();
        let (world, process, timed) = (self.world.clone(), self.process.clone(), clock.clone());
        let hosts = HostKeeper::new(tasks.clone(), move |host| {
            let name = host.metadata.name.as_deref().unwrap_or_default();
            Arc::new(Wrapped::new(
                way(&world, &process, name),
                Bounded::new(timed.clone()),
            ))
        });
        let uploads = Uploads::new(
            clock.clone(),
            random.clone(),
            tasks.clone(),
            settings.upload_limit,
        );
        let (world, process, limit) = (
            self.world.clone(),
            self.process.clone(),
            settings.child_call_limit,
        );
        let children = ChildKeeper::new(clock.clone(), tasks.clone(), move |_, access| {
            Ok(child(&world, &process, access, limit))
        });
        Context {
            events: EventRecorder::new(client.clone(), clock.clone(), random.clone(), &self.identity),
            backoff: Arc::new(Backoff::new(random.clone())),
            hosts: Arc::new(hosts),
            uploads: Arc::new(uploads),
            children: Arc::new(children),
            metrics: Arc::new(Metrics::new().expect("metrics")),
            health: self.health.clone(),
            client,
            clock,
            random,
            tasks,
            settings,
        }
    }
}

/// The way to the host of that name.
fn way(world: &World, process: &Arc<Process>, name: &str) -> Arc<dyn Hypervisor> {
    let Some(host) = world.hosts().get(name) else {
        return Arc::new(Unavailable::new("no such host is simulated"));
    };
    let way = Way {
        stage: world.0.stage.clone(),
        process: process.clone(),
        host: name.to_owned(),
        connection: host.connection.clone(),
    };
    Arc::new(Wrapped::new(host.simulated.clone(), way))
}

/// A client of the API at that address.
fn child(world: &World, process: &Arc<Process>, access: &ChildAccess, limit: Duration) -> Client {
    let host = access
        .endpoint
        .trim_start_matches("https://")
        .trim_end_matches(":6443");
    let address: Ipv4Addr = host.parse().expect("a child's endpoint is an address");
    let stage = world.0.stage.clone();
    let seeking = world.clone();
    let ca = access.ca_pem.clone();
    let find: Find = Arc::new(move || seeking.child(address, &ca));
    client_of(
        stage,
        process.clone(),
        Boundary::Child(address.to_string()),
        limit,
        find,
    )
}
