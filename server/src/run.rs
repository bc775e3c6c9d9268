//! `azud run`: reads, checks, builds and runs a plan until it is told to stop.

use crate::api::{self, Api, LocalSocket, Repeats};
use crate::cli::{Global, Run};
use crate::connectors;
use crate::data_folder::{self, INCARNATION};
use crate::database;
use crate::documents::{self, Loaded};
use crate::keys;
use crate::letters_table::LettersTable;
use crate::outcome::Outcome;
use crate::probers::Probers;
use crate::wiring::{self, NotBuilt};
use crate::{replays, retention, secrets};
use azud_client::Traces;
use azud_engine::{Acknowledge, Durability, Engine, EngineError, Settings};
use azud_event::clock::Clock;
use azud_plan::component::{Connectors, Resource, SecretService, Secrets, Services, StatusHistory};
use azud_plan::plan::Plan;
use azud_plan::resolve::Instance;
use azud_secrets::Cache;
use azud_store::{Declared, Registry};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, pending};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How many threads serve sockets and files. Workers have the other cores; taking in a stream costs
/// a tenth of shaping it.
const ASYNC_THREADS: usize = 2;

/// How often the recorder tidies up.
const RECORDER_UPKEEP: Duration = Duration::from_secs(5);

/// How long an end waits for the last word about the connectors to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the documents.
pub fn run(arguments: &Run, global: &Global) -> Outcome {
    let Some(Loaded { plan, instance, .. }) =
        documents::load_or_explain(&arguments.documents, global)
    else {
        return Outcome::Faults;
    };
    crate::logging::install(global);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(ASYNC_THREADS)
        .thread_name("async")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("the system gives no threads: {error}")),
    };
    let outcome = runtime.block_on(run_plan(plan, &instance, arguments));
    // A sink that hangs in the system must not keep the process from ending.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Says why the environment does not allow a start.
fn refuse(message: &str) -> Outcome {
    eprintln!("error: {message}");
    Outcome::Environment
}

async fn run_plan(plan: Plan, instance: &Instance, arguments: &Run) -> Outcome {
    let clock = Clock::system();
    clock.monotonic();
    let recorder = match install_recorder() {
        Ok(recorder) => recorder,
        Err(error) => return refuse(&error),
    };
    let prepared = match prepare(&plan, instance, &clock, arguments).await {
        Ok(prepared) => prepared,
        Err(outcome) => return outcome,
    };
    let Prepared { built, settings, registry, replaced, probers, secrets, traces } = prepared;
    let listener = match instance.api_address {
        Some(address) => match api::Listener::bind(address, instance.api_tls.as_ref()).await {
            Ok(listener) => Some(listener),
            Err(error) => return refuse(&error),
        },
        None => None,
    };
    let greeting = greeting(&plan, instance);
    // Before anything is taken in: from then on a stop delivers it.
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return refuse(&format!("signals cannot be received: {error}")),
    };
    let engine = match Engine::start(plan, built, settings) {
        Ok(engine) => Arc::new(engine),
        Err(error) => return refuse(&error.to_string()),
    };
    tokio::spawn(recorder_upkeep(recorder.clone()));
    // The folder is this instance's from here on.
    let socket = local_socket(&instance.data_dir);
    let api = Api {
        engine: Arc::clone(&engine),
        recorder,
        rotating: Arc::default(),
        repeats: Repeats::new(clock.clone()),
        clock,
        registry: registry.clone(),
        probers: Some(probers),
        traces,
        data_dir: instance.data_dir.clone(),
        secrets,
        on_loopback: instance.api_address.is_some_and(|at| at.ip().is_loopback()),
    };
    tokio::spawn(api::serve(listener, socket, api));
    eprint!("{greeting}");
    let outcome = live(&engine, signals, replaced, instance.shutdown_timeout).await;
    if let Some(registry) = registry {
        // A database that is down must not hold up the end.
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, registry.close()).await;
    }
    outcome
}

/// What is ready to run.
struct Prepared {
    built: azud_engine::Built,
    settings: Settings,
    registry: Option<Arc<Registry>>,
    replaced: Replaced,
    probers: Arc<Probers>,
    traces: Arc<Traces>,
    secrets: Option<Arc<dyn Secrets>>,
}

/// Resolves when another instance has taken over the database.
type Replaced = BoxFuture<'static, ()>;

/// Makes the data folder, opens the store if something needs it, and builds the components.
async fn prepare(
    plan: &Plan,
    instance: &Instance,
    clock: &Clock,
    arguments: &Run,
) -> Result<Prepared, Outcome> {
    let data_dir = &instance.data_dir;
    if let Err(error) = data_folder::make(data_dir) {
        return Err(refuse(&format!(
            "the data folder {} cannot be made: {error}; choose another with `data_dir`",
            data_dir.display()
        )));
    }
    data_folder::warn_of_readers(data_dir);
    let partition = random_file(&data_dir.join("partition.key")).map_err(|error| refuse(&error))?;
    let incarnation = random_file(&data_dir.join(INCARNATION)).map_err(|error| refuse(&error))?;
    let mut services = Services::default();
    let mut secrets = secrets::build(instance, clock)?;
    let standby = arguments.standby;
    let start = Start { plan, instance, incarnation, standby, clock };
    let (registry, replaced) = open_store(&start, &secrets, &mut services).await?;
    if let Some(registry) = &registry {
        secrets::add_credentials(&mut secrets, registry);
    }
    let secrets: Arc<dyn Secrets> = Arc::new(secrets);
    services.add(Arc::new(SecretService(Arc::clone(&secrets))));
    let store = registry.as_ref().map(|registry| &**registry.store());
    let traces = Arc::new(replays::traces(&arguments.replay, plan, store).await?);
    services.add(Arc::clone(&traces));
    let services = Arc::new(services);
    let probers = Arc::new(Probers::new(plan, data_dir, clock, &services));
    let built = match wiring::build(plan, data_dir, clock, &services) {
        Ok(built) => built,
        Err(failed) => {
            if let Some(registry) = &registry {
                let told = connectors::report_not_built(registry, &failed, clock);
                let _ = tokio::time::timeout(FLUSH_TIMEOUT, told).await;
            }
            return Err(explain_not_built(&failed));
        }
    };
    let settings = Settings {
        threads: arguments.threads.or(instance.threads).unwrap_or_else(default_threads).max(1),
        credit_bytes: instance.credit_bytes,
        intake_bytes: instance.intake_bytes,
        durability: durability(instance, arguments, incarnation),
        dead_letters: data_dir.join(azud_engine::dead_letter::FOLDER),
        dead_letter_bytes: instance.dead_letter_bytes,
        partition_secret: partition,
        clock: clock.clone(),
    };
    let secrets = Some(secrets);
    Ok(Prepared { built, settings, registry, replaced, probers, traces, secrets })
}

/// What a start goes by.
struct Start<'a> {
    plan: &'a Plan,
    instance: &'a Instance,
    incarnation: [u8; 16],
    /// Whether another instance that has the database is waited for.
    standby: bool,
    clock: &'a Clock,
}

/// Opens the store if something needs it, with the rules and connectors of the plan, and offers it
/// to the components.
async fn open_store(
    start: &Start<'_>,
    secrets: &Cache,
    services: &mut Services,
) -> Result<(Option<Arc<Registry>>, Replaced), Outcome> {
    let Start { plan, instance, incarnation, standby, clock } = *start;
    let declared = connectors::declared(plan);
    if !needs_store(plan, &declared) {
        return Ok((None, pending().boxed()));
    }
    let location = database::location(instance, secrets).await?;
    let store = Arc::new(database::open(&location, instance, incarnation, standby).await?);
    let keyring = keys::open(&store, instance, secrets).await?;
    database::load_rules(&store, &location, plan).await?;
    let registry = Registry::open(Arc::clone(&store), keyring, &declared).await;
    let registry = registry.map_err(|error| database::explain(&location, &error))?;
    let watched = tokio::spawn(database::watch(Arc::clone(&store)));
    tokio::spawn(retention::run(Arc::clone(&store), instance.retention, clock.clone()));
    let data_dir = &instance.data_dir;
    let table = LettersTable::new(Arc::clone(&store), data_dir, incarnation, clock.clone());
    tokio::spawn(table.run());
    services.add(store);
    services.add(Arc::new(Arc::clone(&registry) as Arc<dyn Connectors>));
    services.add(Arc::new(Arc::clone(&registry) as Arc<dyn StatusHistory>));
    Ok((Some(registry), watched.map(drop).boxed()))
}

fn explain_not_built(failed: &[NotBuilt]) -> Outcome {
    for NotBuilt { id, error } in failed {
        eprintln!("error[E001]: `{id}` cannot be started: {error}");
        if let Some(help) = &error.help {
            eprintln!("help: {help}");
        }
    }
    let faults =
        if failed.len() == 1 { "1 fault".into() } else { format!("{} faults", failed.len()) };
    eprintln!("{faults}; nothing was started");
    Outcome::Environment
}

/// Whether something of a plan is kept in the database.
pub fn needs_store(plan: &Plan, declared: &[Declared]) -> bool {
    !declared.is_empty()
        || has_alerts(plan)
        || plan.sources.iter().any(|source| source.kind == "connector_status")
}

fn has_alerts(plan: &Plan) -> bool {
    plan.pipelines.iter().flat_map(|pipeline| &pipeline.sinks).any(|sink| sink.kind == "alerts")
}

/// One less than the cores, at least one: the rest is for sockets and files.
fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() - 1).max(1)
}

/// Says how what is taken in is kept, if it is.
fn durability(instance: &Instance, arguments: &Run, incarnation: [u8; 16]) -> Option<Durability> {
    let log = instance.log.as_ref()?;
    let delivered = instance.acknowledge_delivered;
    Some(Durability {
        folder: instance.data_dir.clone(),
        incarnation,
        max_bytes: log.max_bytes,
        retain: log.retain,
        acknowledge: if delivered { Acknowledge::Delivered } else { Acknowledge::Logged },
        checkpoint_interval: instance.checkpoint_interval,
        drop_state: arguments.drop_state.clone(),
        accept_gap: arguments.accept_gap.clone(),
    })
}

/// Makes a file that is whole or not there, whenever the power goes; what comes after it may rely
/// on it.
fn keep(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Reads 16 random bytes that were made at the first start, or makes them: the secret by which keys
/// are spread over key groups, the life of the data folder.
fn random_file(path: &Path) -> Result<[u8; 16], String> {
    let describe = |error: std::io::Error| format!("{}: {error}", path.display());
    match fs::read(path) {
        Ok(bytes) => bytes.try_into().map_err(|bytes: Vec<u8>| {
            format!("{} has {} bytes instead of 16; restore it", path.display(), bytes.len())
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut secret = [0; 16];
            let random = fs::File::open("/dev/urandom");
            random.and_then(|mut random| random.read_exact(&mut secret)).map_err(describe)?;
            keep(path, &secret).map_err(describe)?;
            Ok(secret)
        }
        Err(error) => Err(describe(error)),
    }
}

fn install_recorder() -> Result<PrometheusHandle, String> {
    let mut builder = PrometheusBuilder::new();
    for (name, bounds) in azud_plan::telemetry::BUCKETS {
        let name = Matcher::Full((*name).to_owned());
        let bounded = builder.set_buckets_for_metric(name, bounds);
        builder = bounded.map_err(|error| format!("metrics cannot be recorded: {error}"))?;
    }
    let recorder = builder.install_recorder();
    let recorder = recorder.map_err(|error| format!("metrics cannot be recorded: {error}"))?;
    azud_plan::telemetry::describe();
    Ok(recorder)
}

async fn recorder_upkeep(recorder: PrometheusHandle) {
    let mut timer = tokio::time::interval(RECORDER_UPKEEP);
    loop {
        timer.tick().await;
        recorder.run_upkeep();
    }
}

/// Opens the socket by which commands of this machine ask the instance.
fn local_socket(data_dir: &Path) -> Option<LocalSocket> {
    let explain = |error: &io::Error| {
        let folder = data_dir.display();
        tracing::warn!(%error, "commands cannot ask this instance: no socket can be made in {folder}");
    };
    LocalSocket::bind(data_dir).inspect_err(explain).ok()
}

/// Says what is listened on, where the data is, and how to look at it.
fn greeting(plan: &Plan, instance: &Instance) -> String {
    let mut lines = vec![format!("azud {} is ready", env!("CARGO_PKG_VERSION"))];
    for source in &plan.sources {
        for resource in source.spec.resources() {
            let what = match resource {
                Resource::TcpPort(address) => format!("listens on tcp {address}"),
                Resource::UdpPort(address) => format!("listens on udp {address}"),
                Resource::Reads(path) => format!("reads {}", path.display()),
                Resource::Writes(_) | Resource::WritesBelow(_) => continue,
            };
            lines.push(format!("  {:<12} {} {what}", source.id, source.kind));
        }
    }
    lines.push(format!("  {:<12} {}", "data", instance.data_dir.display()));
    if let Some(address) = instance.api_address {
        let scheme = if instance.api_tls.is_some() { "https" } else { "http" };
        let origin = format!("{scheme}://{address}");
        lines.push(format!("  {:<12} {origin}/ready  {origin}/metrics", "api"));
    }
    if has_alerts(plan) {
        let data_dir = instance.data_dir.display();
        let option = match &instance.database {
            Some(_) => String::new(),
            None => format!(" --data-dir {data_dir}"),
        };
        lines.push(format!("  {:<12} azud alerts{option}", "alerts"));
    }
    lines.join("\n") + "\n"
}

/// What tells the program to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Signals { terminate, interrupt: signal(SignalKind::interrupt())? })
    }
}

/// Waits for a signal, the end of the plan, or that another instance takes over.
async fn live(
    engine: &Engine,
    signals: Signals,
    replaced: Replaced,
    shutdown_timeout: Duration,
) -> Outcome {
    let Signals { mut terminate, mut interrupt } = signals;
    tokio::select! {
        ended = engine.ended() => conclude(engine, ended),
        () = replaced => {
            tracing::error!("another instance has taken over the database; this one ends");
            stop(engine, shutdown_timeout, &mut interrupt).await;
            Outcome::Environment
        }
        _ = terminate.recv() => stop(engine, shutdown_timeout, &mut interrupt).await,
        _ = interrupt.recv() => stop(engine, shutdown_timeout, &mut interrupt).await,
    }
}

/// Drains; a second Ctrl-C gives up.
async fn stop(engine: &Engine, timeout: Duration, interrupt: &mut Signal) -> Outcome {
    tracing::info!("stopping: delivering what was taken in, for at most {} s", timeout.as_secs());
    tokio::select! {
        ended = engine.shut_down(timeout) => conclude(engine, ended),
        _ = interrupt.recv() => {
            tracing::warn!(
                "stopped at once: the next start delivers what is in the log; without a log it is lost"
            );
            Outcome::Environment
        }
    }
}

fn conclude(engine: &Engine, ended: Result<(), EngineError>) -> Outcome {
    match ended {
        Ok(()) => {
            for (sink, records) in engine.delivered() {
                if records > 0 {
                    tracing::info!("{sink} delivered {records} records");
                }
            }
            // A source that broke was reported when it did; the end of the others does not make it
            // well.
            if engine.troubles().is_empty() { Outcome::Well } else { Outcome::Environment }
        }
        Err(error) => {
            tracing::error!("{error}");
            Outcome::Environment
        }
    }
}
