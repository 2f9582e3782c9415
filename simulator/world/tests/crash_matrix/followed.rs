//! Which effect is being carried out at the moment, from the operator's own spans.

use std::cell::RefCell;
use std::fmt::Debug;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

thread_local! {
    static STACK: RefCell<Vec<Frame>> = const { RefCell::new(Vec::new()) };
    static DONE: RefCell<Vec<(u64, String)>> = const { RefCell::new(Vec::new()) };
}

/// A span that is entered.
#[derive(Debug, Clone)]
struct Frame {
    id: u64,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Pass,
    Effect(String),
    Other,
}

/// The effect that is being carried out, with a number that no other carrying out has.
pub fn effect() -> Option<(u64, String)> {
    STACK.with_borrow(|stack| {
        stack.iter().rev().find_map(|frame| match &frame.kind {
            Kind::Effect(name) => Some((frame.id, name.clone())),
            _ => None,
        })
    })
}

/// The pass that is being made.
pub fn pass() -> Option<u64> {
    STACK.with_borrow(|stack| {
        let pass = stack.iter().rev().find(|frame| matches!(frame.kind, Kind::Pass));
        pass.map(|frame| frame.id)
    })
}

/// The effects that were done since this was asked last: the pass, and the effect.
pub fn take_done() -> Vec<(u64, String)> {
    DONE.take()
}

/// Follows what is done in this thread until the guard is dropped.
pub fn follow() -> tracing::subscriber::DefaultGuard {
    STACK.take();
    DONE.take();
    tracing_subscriber::registry().with(Follower).set_default()
}

struct Follower;

#[derive(Default)]
struct Fields {
    kind: String,
    effect: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "kind" => value.clone_into(&mut self.kind),
            "effect" => value.clone_into(&mut self.effect),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl<S> tracing_subscriber::Layer<S> for Follower
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let kind = match attributes.metadata().name() {
            "reconcile" => Kind::Pass,
            "effect" => {
                let mut fields = Fields::default();
                attributes.record(&mut fields);
                Kind::Effect(format!("{} {}", fields.kind, fields.effect))
            }
            _ => Kind::Other,
        };
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(kind);
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        if message.0 == "done"
            && let Some((_, effect)) = in_effect()
        {
            let pass = pass().unwrap_or_default();
            DONE.with_borrow_mut(|done| done.push((pass, effect)));
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let kind = context
            .span(id)
            .and_then(|span| span.extensions().get::<Kind>().cloned())
            .unwrap_or(Kind::Other);
        let frame = Frame {
            id: id.into_u64(),
            kind,
        };
        STACK.with_borrow_mut(|stack| stack.push(frame));
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        STACK.with_borrow_mut(|stack| {
            if let Some(at) = stack.iter().rposition(|frame| frame.id == id.into_u64()) {
                stack.remove(at);
            }
        });
    }
}

/// The effect, where its span is the innermost.
fn in_effect() -> Option<(u64, String)> {
    STACK.with_borrow(|stack| match stack.last() {
        Some(Frame {
            id,
            kind: Kind::Effect(name),
        }) => Some((*id, name.clone())),
        _ => None,
    })
}
