//! Calls of the operator that leave its process, and what may become of them.

use std::fmt;
use std::time::Duration;

use seedbed_hypervisor::Owner;

/// What is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Boundary {
    /// The API that the operator's objects are in.
    Seed,
    /// A child cluster's API, by its address.
    Child(String),
    /// A host, by its name.
    Host(String),
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed => f.write_str("seed"),
            Self::Child(address) => write!(f, "child {address}"),
            Self::Host(name) => write!(f, "host {name}"),
        }
    }
}

/// A call of the operator that leaves its process.
#[derive(Debug, Clone)]
pub struct Step {
    /// Which instance of the operator calls.
    pub instance: String,
    /// What it calls.
    pub boundary: Boundary,
    /// What it asks: an HTTP method (or `LIST`, `WATCH`), or a method of the host.
    pub verb: String,
    /// About what: a path, or a name on the host.
    pub object: String,
    /// What else tells the call from others: an address, or the name of an agent's command. Never a secret.
    pub detail: String,
    /// For whom it acts on a host, where it says so.
    pub owner: Option<Owner>,
    /// Whether it can change anything.
    pub changes: bool,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}: {} {}",
            self.instance, self.boundary, self.verb, self.object
        )?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}

/// Why a call is not answered as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The connection broke, or could not be made.
    Unreachable,
    /// It answers that it will not, or cannot now, do it: an HTTP status code. A host says so in its own words.
    Answered(u16),
}

/// What becomes of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum End {
    /// It is done and answered.
    #[default]
    Done,
    /// It is not done, and the caller hears so.
    Refused(Refusal),
    /// It is done, and the caller hears that it is not.
    Lost(Refusal),
    /// It is not done, and never answered.
    Hangs,
    /// It is done, and never answered.
    DoneAndHangs,
    /// It is never answered, and done after so long.
    Late(Duration),
    /// The caller is killed before it is done.
    KilledBefore,
    /// The caller is killed when it is done, before it hears of it.
    KilledAfter,
}

/// What becomes of a call, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fate {
    /// How long it is on its way.
    pub before: Duration,
    /// What becomes of it.
    pub end: End,
    /// How long the answer is on its way.
    pub after: Duration,
}

/// What becomes of an event of a watch that is open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Delivery {
    /// It comes at once.
    #[default]
    Now,
    /// It comes later, and those after it do not come before.
    After(Duration),
    /// The connection breaks instead.
    Broken,
}

/// Decides what becomes of every call. All of its methods are told in the order in which things happen, and return at once.
pub trait Director: Send + Sync + 'static {
    /// What becomes of the call.
    fn fate(&self, _: &Step) -> Fate {
        Fate::default()
    }

    /// What becomes of the next event of that watch.
    fn delivery(&self, _: &Step) -> Delivery {
        Delivery::Now
    }

    /// What becomes of the next thing that happens on that host, on its way to the instance.
    fn host_event(&self, _instance: &str, _host: &str) -> Delivery {
        Delivery::Now
    }

    /// How much later than it should something in a machine happens, or an object without owners is collected.
    fn later(&self, delay: Duration) -> Duration {
        delay
    }

    /// The call is about to be done.
    fn doing(&self, _: &Step) {}

    /// The call was done; what it answered, in a word or a message.
    fn done(&self, _: &Step, _answer: &str) {}

    /// Garbage was collected.
    fn collected(&self) {}

    /// The instance was killed.
    fn killed(&self, _instance: &str) {}
}

/// Lets everything happen as it should, at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Undisturbed;

impl Director for Undisturbed {}
