//! What the operator logs of its calls to a host.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::prelude::*;

/// Runs it in virtual time; what was logged meanwhile, a line each.
pub fn during(work: impl Future<Output = ()>) -> String {
    let lines = Arc::new(Mutex::new(String::new()));
    let hearing = Hearing(lines.clone());
    let _guard = tracing_subscriber::registry().with(hearing).set_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(work);
    lines.lock().unwrap().clone()
}

struct Hearing(Arc<Mutex<String>>);

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl<S: Subscriber> tracing_subscriber::Layer<S> for Hearing {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == seedbed_guest::recorded::TARGET
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let mut lines = self.0.lock().unwrap();
        lines.push_str(&message.0);
        lines.push('\n');
    }
}
