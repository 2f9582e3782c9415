//! libvirt's event loop and callbacks: the only unsafe code of this crate.
//!
//! The loop runs on one thread for the whole process. Callbacks run on it and must not wait: they only put something into a
//! channel that never blocks, and cannot panic.

use std::ffi::{CStr, c_int, c_void};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use tokio::sync::broadcast;
use virt::connect::Connect;
use virt::error::clear_error_callback;
use virt::event::{event_register_default_impl, event_run_default_impl};
use virt::sys;

use crate::{EventKind, HostEvent};

/// Starts the process's event loop, once. Has to happen before the first connection is opened.
pub(super) fn start_event_loop() -> Result<(), String> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    STARTED
        .get_or_init(|| {
            // libvirt writes every error to standard error otherwise.
            clear_error_callback();
            event_register_default_impl().map_err(|error| error.to_string())?;
            std::thread::Builder::new()
                .name("libvirt-events".to_owned())
                .spawn(run_event_loop)
                .map(drop)
                .map_err(|error| error.to_string())
        })
        .clone()
}

fn run_event_loop() {
    loop {
        if let Err(error) = event_run_default_impl() {
            tracing::warn!(%error, "libvirt's event loop stumbled");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// What the thread that keeps a connection is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// A connection was closed.
    Closed {
        /// Which of the connections that were made, one after the other.
        generation: u64,
        /// Why, in words.
        reason: &'static str,
    },
    /// Nobody needs the connection any more.
    Stop,
}

/// Keeps the callbacks of one connection registered.
pub(super) struct Subscription {
    connect: Connect,
    callbacks: Vec<c_int>,
    close_callback: bool,
}

struct CloseData {
    generation: u64,
    closed: mpsc::Sender<Notice>,
}

impl Subscription {
    /// Registers for domain events and for the end of the connection. What the driver does not offer is left out.
    pub(super) fn new(
        connect: &Connect,
        generation: u64,
        events: &broadcast::Sender<HostEvent>,
        closed: &mpsc::Sender<Notice>,
    ) -> Self {
        let data = CloseData {
            generation,
            closed: closed.clone(),
        };
        let close_callback = register_close(connect, data);
        let lifecycle: LifecycleCallback = on_lifecycle;
        let agent: AgentCallback = on_agent;
        // SAFETY: libvirt calls a callback with the signature that belongs to its event ID; both have that one.
        let (lifecycle, agent) = unsafe {
            (
                std::mem::transmute::<LifecycleCallback, GenericCallback>(lifecycle),
                std::mem::transmute::<AgentCallback, GenericCallback>(agent),
            )
        };
        let wanted = [
            (sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle),
            (sys::VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, agent),
        ];
        let callbacks = wanted
            .into_iter()
            .filter_map(|(id, callback)| register(connect, id, callback, events.clone()))
            .collect();
        Self {
            connect: connect.clone(),
            callbacks,
            close_callback,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        for &callback in &self.callbacks {
            // SAFETY: the connection is held by self; the callback's ID came from it.
            unsafe { sys::virConnectDomainEventDeregisterAny(self.connect.as_ptr(), callback) };
        }
        if self.close_callback {
            // SAFETY: the connection is held by self and has this callback registered.
            unsafe { sys::virConnectUnregisterCloseCallback(self.connect.as_ptr(), Some(on_close)) };
        }
    }
}

type LifecycleCallback =
    unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_int, c_int, *mut c_void) -> c_int;
type AgentCallback = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_int, c_int, *mut c_void);
type GenericCallback = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void);

fn register(
    connect: &Connect,
    id: sys::virDomainEventID,
    callback: GenericCallback,
    events: broadcast::Sender<HostEvent>,
) -> Option<c_int> {
    let opaque = Box::into_raw(Box::new(events)).cast::<c_void>();
    let id = c_int::try_from(id).unwrap_or_default();
    // SAFETY: the connection is valid; the data is a box that libvirt gives to `free_events` once it no longer calls back.
    let registered = unsafe {
        sys::virConnectDomainEventRegisterAny(
            connect.as_ptr(),
            std::ptr::null_mut(),
            id,
            Some(callback),
            opaque,
            Some(free_events),
        )
    };
    if registered < 0 {
        // SAFETY: a failed registration does not take the data.
        unsafe { free_events(opaque) };
        tracing::debug!(id, "the host does not offer these domain events");
        return None;
    }
    Some(registered)
}

fn register_close(connect: &Connect, data: CloseData) -> bool {
    let opaque = Box::into_raw(Box::new(data)).cast::<c_void>();
    // SAFETY: as for `register`, with `free_close`.
    let registered = unsafe {
        sys::virConnectRegisterCloseCallback(connect.as_ptr(), Some(on_close), opaque, Some(free_close))
    };
    if registered < 0 {
        // SAFETY: a failed registration does not take the data.
        unsafe { free_close(opaque) };
        tracing::debug!("the host does not tell when the connection ends");
    }
    registered >= 0
}

/// SAFETY: `opaque` is the box that [`register`] made, still owned by the registration.
unsafe fn send_event(domain: sys::virDomainPtr, opaque: *mut c_void, kind: EventKind) {
    // SAFETY: see above; libvirt holds the domain during the callback, and its name with it.
    let (events, name) = unsafe {
        (
            &*opaque.cast::<broadcast::Sender<HostEvent>>(),
            sys::virDomainGetName(domain),
        )
    };
    if name.is_null() {
        return;
    }
    // SAFETY: a C string that lives as long as the domain does.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
    // Without a receiver nobody has to be told.
    drop(events.send(HostEvent {
        domain: Some(name),
        kind,
    }));
}

unsafe extern "C" fn on_lifecycle(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _event: c_int,
    _detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: registered with the data of `register`.
    unsafe { send_event(domain, opaque, EventKind::DomainChanged) };
    0
}

unsafe extern "C" fn on_agent(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    state: c_int,
    _reason: c_int,
    opaque: *mut c_void,
) {
    let connected = sys::VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED;
    let kind = if u32::try_from(state) == Ok(connected) {
        EventKind::AgentConnected
    } else {
        EventKind::AgentDisconnected
    };
    // SAFETY: registered with the data of `register`.
    unsafe { send_event(domain, opaque, kind) };
}

unsafe extern "C" fn on_close(_: sys::virConnectPtr, reason: c_int, opaque: *mut c_void) {
    let reason = match u32::try_from(reason) {
        Ok(sys::VIR_CONNECT_CLOSE_REASON_EOF) => "the daemon closed the connection",
        Ok(sys::VIR_CONNECT_CLOSE_REASON_KEEPALIVE) => "the daemon did not answer keepalive messages",
        Ok(sys::VIR_CONNECT_CLOSE_REASON_CLIENT) => "the connection was closed here",
        _ => "the connection broke",
    };
    // SAFETY: the box that `register_close` made, still owned by the registration.
    let data = unsafe { &*opaque.cast::<CloseData>() };
    // The link is gone where nobody receives.
    let _ = data.closed.send(Notice::Closed {
        generation: data.generation,
        reason,
    });
}

unsafe extern "C" fn free_events(opaque: *mut c_void) {
    // SAFETY: made by `register` and no longer used by anybody else.
    drop(unsafe { Box::from_raw(opaque.cast::<broadcast::Sender<HostEvent>>()) });
}

unsafe extern "C" fn free_close(opaque: *mut c_void) {
    // SAFETY: made by `register_close` and no longer used by anybody else.
    drop(unsafe { Box::from_raw(opaque.cast::<CloseData>()) });
}
