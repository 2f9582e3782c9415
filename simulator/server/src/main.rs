//! `seedbed-simulator`: simulated hosts in real time, until it is asked to stop.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use seedbed_simulator_server::{Hosts, server};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Keeps the simulated hosts of `HypervisorHost`s with `spec.simulated` in its memory, with their machines and clusters. Ended, all
/// of them are gone.
#[derive(Debug, Parser)]
#[command(name = "seedbed-simulator", version)]
struct Args {
    /// The Unix socket to listen on: `spec.simulated.socket`. Its folder is made where it is missing.
    #[arg(long, value_name = "PATH", default_value = "/run/seedbed/simulator.sock")]
    socket: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("threads: {error}"))
        .and_then(|runtime| runtime.block_on(run(&args)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // There is nobody left to tell where standard error is closed.
            let _ = writeln!(std::io::stderr(), "seedbed-simulator: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), String> {
    let signals = |error: std::io::Error| format!("signals: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
    let told = |error: std::io::Error| format!("--socket {}: {error}", args.socket.display());
    let listener = server::bind(&args.socket).map_err(told)?;
    tracing::info!(socket = %args.socket.display(), "listening");
    tokio::select! {
        result = server::serve(listener, Arc::new(Hosts::default())) => {
            let Err(error) = result;
            return Err(told(error));
        }
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    std::fs::remove_file(&args.socket).map_err(told)
}
