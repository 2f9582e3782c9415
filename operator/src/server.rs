//! `/metrics`, `/livez` and `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::health::Health;
use crate::metrics::Metrics;

#[derive(Clone)]
struct Told {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

/// Listens on that address. Fails at once where it cannot be had.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        format!("--metrics-address {address}: {error}; stop what listens there, or choose another address")
    })
}

/// Answers on the listener for ever.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, health: Arc<Health>) -> std::io::Result<()> {
    axum::serve(listener, router(metrics, health)).await
}

fn router(metrics: Arc<Metrics>, health: Arc<Health>) -> Router {
    Router::new()
        .route("/metrics", get(tell_metrics))
        .route("/livez", get(tell_live))
        .route("/readyz", get(tell_ready))
        .with_state(Told { metrics, health })
}

async fn tell_metrics(State(told): State<Told>) -> Response {
    match told.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, Metrics::content_type())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn tell_live(State(told): State<Told>) -> Response {
    match told.health.live() {
        Ok(()) => "ok".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

async fn tell_ready(State(told): State<Told>) -> Response {
    match told.health.ready() {
        Ok(role) => role.into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}
