//! The operator's process: from its flags to its end.

mod args;
mod lead;
mod stop;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use seedbed_hypervisor::Wrapped;

pub use args::Args;
pub use lead::lead;
pub use stop::Stop;

use crate::backoff::Backoff;
use crate::child::{self, ChildKeeper};
use crate::context::{
    Clock, Context, Randomness, Settings, SystemClock, SystemRandomness, Tasks, TokioTasks,
};
use crate::events::EventRecorder;
use crate::health::{Health, Role};
use crate::hosts::{Bounded, HostKeeper, Measured, open};
use crate::lease::Election;
use crate::metrics::Metrics;
use crate::schema::{self, SchemaError};
use crate::uploads::Uploads;
use crate::{client, server, telemetry};

/// How long one call to the API may take.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// Between two attempts to reach the API at the start.
const START_PAUSE: Duration = Duration::from_secs(2);
/// How long tasks may take to end once the operator ends: blocking ones do not hear that they should.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(500);

/// Runs the operator until it is asked to stop (SIGTERM, SIGINT) or cannot go on. Ends with success only in the first case.
pub fn run(args: Args) -> ExitCode {
    let told = |message: String| {
        // There is nobody left to tell where standard error is closed.
        let _ = writeln!(std::io::stderr(), "seedbed-operator: {message}");
        ExitCode::FAILURE
    };
    if let Err(message) = telemetry::init(args.log_format) {
        return told(message);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return told(format!("threads: {error}")),
    };
    let result = runtime.block_on(operate(args));
    runtime.shutdown_timeout(SHUTDOWN_LIMIT);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            tracing::error!("{message}");
            ExitCode::FAILURE
        }
    }
}

async fn operate(args: Args) -> Result<(), String> {
    let stop = Stop::on_signal()?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        identity = args.identity,
        "starting"
    );
    let client = connect(&args).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let random: Arc<dyn Randomness> = Arc::new(SystemRandomness);
    let metrics = Arc::new(Metrics::new().map_err(|error| format!("metrics: {error}"))?);
    let health = Arc::new(Health::new(clock.clone()));
    let listener = server::bind(args.metrics_address).await?;
    let serving = server::serve(listener, metrics.clone(), health.clone());

    let work = async {
        if stop.cuts(schemas(&client, &*clock)).await.transpose()?.is_none() {
            return Ok(());
        }
        health.set_role(Role::Standby);
        let election = Election::new(
            client.clone(),
            args.lease(),
            clock.clone(),
            random.clone(),
            health.clone(),
        );
        let made = || {
            context(
                client.clone(),
                clock.clone(),
                random,
                metrics.clone(),
                health.clone(),
                &args,
            )
        };
        Box::pin(lead(election, &stop, &health, made)).await
    };
    tokio::select! {
        result = work => result?,
        result = serving => {
            let why = result.err().map_or_else(|| "the server ended by itself".to_owned(), |error| error.to_string());
            return Err(format!("--metrics-address {}: {why}", args.metrics_address));
        }
    }
    tracing::info!("stopped");
    Ok(())
}

async fn connect(args: &Args) -> Result<Client, String> {
    let config = match &args.kubeconfig {
        Some(path) => {
            let told =
                |error: kube::config::KubeconfigError| format!("--kubeconfig {}: {error}", path.display());
            let kubeconfig = Kubeconfig::read_from(path).map_err(told)?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .map_err(told)?
        }
        None => Config::infer().await.map_err(|error| {
            format!(
                "no API server to work with: {error}; give --kubeconfig, set KUBECONFIG, or run in a cluster"
            )
        })?,
    };
    let url = config.cluster_url.to_string();
    client::build(config, CALL_LIMIT).map_err(|error| format!("API server {url}: {error}"))
}

/// Returns once the CRDs that are installed were found to be those that this operator was built with.
async fn schemas(client: &Client, clock: &dyn Clock) -> Result<(), String> {
    let mut told = None;
    loop {
        match schema::check(client).await {
            Ok(()) => return Ok(()),
            Err(error @ SchemaError::Unreachable { .. }) => {
                let message = error.to_string();
                if told.as_ref() != Some(&message) {
                    tracing::warn!("waiting for the API server: {message}");
                    told = Some(message);
                }
            }
            Err(error) => return Err(error.to_string()),
        }
        clock.sleep(START_PAUSE).await;
    }
}

fn context(
    client: Client,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Randomness>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    args: &Args,
) -> Context {
    let settings = Settings {
        concurrency: args.concurrency,
        ..Settings::default()
    };
    let tasks: Arc<dyn Tasks> = Arc::new(TokioTasks);
    let (counted, timed) = (metrics.clone(), clock.clone());
    let hosts = HostKeeper::new(tasks.clone(), move |host| {
        let bounded = Arc::new(Wrapped::new(open(host), Bounded::new(timed.clone())));
        Arc::new(Wrapped::new(
            bounded,
            Measured::new(counted.clone(), timed.clone()),
        ))
    });
    let uploads = Uploads::new(
        clock.clone(),
        random.clone(),
        tasks.clone(),
        settings.upload_limit,
    );
    let limit = settings.child_call_limit;
    let children = ChildKeeper::new(clock.clone(), tasks.clone(), move |key, access| {
        child::connect(key, access, limit)
    });
    Context {
        events: EventRecorder::new(client.clone(), clock.clone(), random.clone(), &args.identity),
        backoff: Arc::new(Backoff::new(random.clone())),
        client,
        clock,
        random,
        tasks,
        hosts: Arc::new(hosts),
        uploads: Arc::new(uploads),
        children: Arc::new(children),
        metrics,
        health,
        settings,
    }
}
