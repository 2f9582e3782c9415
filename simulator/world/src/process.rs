//! A process of the operator, as something that can be killed or stopped from one moment to the next.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::future::BoxFuture;
use seedbed_operator::context::Tasks;
use tokio::task::AbortHandle;

/// A process of the operator.
pub(crate) struct Process {
    name: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    dead: bool,
    tasks: Vec<AbortHandle>,
    /// While it is stopped: whom to wake when it goes on.
    stopped: Option<Vec<Waker>>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Process {
    pub(crate) fn new(name: String) -> Arc<Self> {
        Arc::new(Self {
            name,
            state: Mutex::default(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs something in it. In one that is dead nothing runs any more.
    pub(crate) fn spawn(self: &Arc<Self>, future: BoxFuture<'static, ()>) {
        let mut state = self.lock();
        if state.dead {
            return;
        }
        state.tasks.retain(|task| !task.is_finished());
        let process = self.clone();
        let task = tokio::spawn(Stoppable {
            process,
            inner: future,
        });
        state.tasks.push(task.abort_handle());
    }

    /// Ends all that runs in it. What it asked for and was not done yet is not done.
    pub(crate) fn kill(&self) {
        let tasks = {
            let mut state = self.lock();
            state.dead = true;
            std::mem::take(&mut state.tasks)
        };
        for task in tasks {
            task.abort();
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// Nothing in it goes on until [`Process::resume`].
    pub(crate) fn stop(&self) {
        self.lock().stopped.get_or_insert_default();
    }

    pub(crate) fn resume(&self) {
        let waiting = self.lock().stopped.take();
        for waker in waiting.into_iter().flatten() {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Stoppable {
    process: Arc<Process>,
    inner: BoxFuture<'static, ()>,
}

impl Future for Stoppable {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(waiting) = &mut self.process.lock().stopped {
            waiting.push(context.waker().clone());
            return Poll::Pending;
        }
        self.inner.as_mut().poll(context)
    }
}

/// The tasks of a process.
#[derive(Debug)]
pub(crate) struct TasksOf(pub(crate) Arc<Process>);

impl Tasks for TasksOf {
    fn spawn(&self, _: &'static str, future: BoxFuture<'static, ()>) {
        self.0.spawn(future);
    }
}
