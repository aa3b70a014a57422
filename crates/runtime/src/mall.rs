//! Starts the chosen services in one process, in order; one signal stops them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use mallard_bus::Bus;
use mallard_db::{Db, DbConfig, MemoryDisk, Migration};
use mallard_flow::Engine;
use mallard_proto::platform::v1::platform_service_server::PlatformServiceServer;
use mallard_rpc::{Channels, Client, Fault, ServerConfig, ServiceChannel};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::service::interceptor::InterceptedService;
use tracing::{error, info, warn};

use crate::context::Inner;
use crate::pages::{guard_files, in_front};
use crate::platform::Platform;
use crate::{Chance, Clock, Config, Context, Health, HttpConfig, ServiceSpec, Shutdown, Task, http, ops};

/// How long a stop waits for requests in flight.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// Where the services keep their data: one database each.
#[derive(Clone)]
pub enum Storage {
    /// SQLite files in a folder.
    Folder(PathBuf),
    /// PostgreSQL, one schema per service.
    Postgres {
        /// Connection URL.
        url: String,
        /// Connections per service.
        pool_max: usize,
    },
    /// In memory, for simulation.
    Memory(MemoryDisk),
}

impl Storage {
    pub(crate) fn config(&self) -> DbConfig {
        match self {
            Storage::Folder(dir) => DbConfig::Sqlite { dir: dir.clone(), synchronous_full: true },
            Storage::Postgres { url, pool_max } => DbConfig::Postgres { url: url.clone(), pool_max: *pool_max },
            Storage::Memory(disk) => DbConfig::Memory(disk.clone()),
        }
    }
}

/// What a process runs and on what.
pub struct Settings {
    /// Every service the mall knows, in order of start.
    pub known: Vec<ServiceSpec>,
    /// The ones this process runs; empty means all.
    pub run: Vec<String>,
    /// Where the others are: service name to `http://host:port` endpoints.
    pub remotes: BTreeMap<String, Vec<String>>,
    /// Shared secret of the mall's processes; see `mallard_rpc`.
    pub cluster_secret: String,
    /// Merged configuration.
    pub config: Config,
    /// Where data is kept.
    pub storage: Storage,
    /// Address of the HTTP surface; none serves no HTTP.
    pub listen: Option<SocketAddr>,
    /// Address of the RPC surface for other processes.
    pub rpc_listen: Option<SocketAddr>,
    /// Clock of the mall.
    pub clock: Clock,
    /// Randomness of the mall.
    pub chance: Chance,
    /// Seed of balancing, jitter and span ids; unpredictable when absent.
    pub seed: Option<u64>,
    /// Planted bugs, for tests of the checker.
    pub switches: BTreeSet<String>,
    /// Fault layer, for simulation.
    pub fault: Option<Arc<dyn Fault>>,
    /// Files the binary adds to the HTTP surface, such as the demo shop's pictures.
    pub pages: Option<axum::Router>,
}

impl Settings {
    /// Makes the settings of a whole mall in this process.
    pub fn new(known: Vec<ServiceSpec>, config: Config, storage: Storage) -> Settings {
        Settings {
            known,
            run: Vec::new(),
            remotes: BTreeMap::new(),
            cluster_secret: String::new(),
            config,
            storage,
            listen: None,
            rpc_listen: None,
            clock: Clock::System,
            chance: Chance::system(),
            seed: None,
            switches: BTreeSet::new(),
            fault: None,
            pages: None,
        }
    }
}

/// A running mall, or the part of one that this process runs. Dropping it aborts everything, as a crash would.
pub struct Mall {
    channels: Channels,
    contexts: BTreeMap<&'static str, Context>,
    shutdown: Shutdown,
    health: Health,
    tasks: JoinSet<()>,
    http_addr: Option<SocketAddr>,
    rpc_addr: Option<SocketAddr>,
}

impl Mall {
    /// Starts the services: schema, databases, services in order, background work, then the doors.
    ///
    /// # Errors
    /// Anything that keeps a service from starting, named.
    pub async fn start(settings: Settings) -> anyhow::Result<Mall> {
        let chosen = choose(&settings)?;
        mallard_proto::register();
        let http_config: HttpConfig = settings.config.section("http")?;
        http_config.check()?;
        let rpc: mallard_rpc::Config = settings.config.section("rpc")?;
        let channels = Channels::new(mallard_rpc::Config {
            cluster_secret: settings.cluster_secret.clone(),
            seed: settings.seed,
            ..rpc
        });
        if let Some(fault) = &settings.fault {
            channels.set_fault(fault.clone());
        }
        for (service, endpoints) in &settings.remotes {
            if !chosen.iter().any(|spec| spec.name == service) {
                channels.mount_remote(service, endpoints.clone())?;
            }
        }
        let shutdown = Shutdown::new();
        let switches = Arc::new(settings.switches.clone());
        let bus = new_bus(&settings, &channels, &switches);
        let services = Arc::new(settings.known.iter().map(|spec| spec.name).collect::<Vec<_>>());
        let process: Arc<str> = chosen.iter().map(|spec| spec.name).collect::<Vec<_>>().join(",").into();
        let mut mall = Mall {
            channels: channels.clone(),
            contexts: BTreeMap::new(),
            shutdown: shutdown.clone(),
            health: Health::default(),
            tasks: JoinSet::new(),
            http_addr: None,
            rpc_addr: None,
        };
        let mut site = None;
        let mut pages = None;
        let mut guard = None;
        let mut rpc_routes = Vec::new();
        for spec in &chosen {
            let db = open_db(&settings.storage, spec).await?;
            let engine = db.as_ref().map(|db| new_engine(db, &settings));
            let outbox = bus.outbox();
            let context = Context::new(Inner {
                service: spec.name,
                db: db.clone(),
                storage: settings.storage.clone(),
                channels: channels.clone(),
                outbox,
                engine: engine.clone(),
                clock: settings.clock.clone(),
                chance: settings.chance.clone(),
                config: settings.config.clone(),
                shutdown: shutdown.clone(),
                health: mall.health.clone(),
                switches: switches.clone(),
                services: services.clone(),
                process: process.clone(),
            });
            let parts =
                (spec.start)(context.clone()).await.with_context(|| format!("service {} does not start", spec.name))?;
            let intake = bus.intake(spec.name, db.clone(), parts.subscriptions)?;
            let intake = InterceptedService::new(intake, for_the_mall);
            let platform = PlatformServiceServer::new(Platform::new(context.clone()));
            let routes = parts.routes.add_service(intake).add_service(platform);
            channels.mount_local(spec.name, routes.clone());
            rpc_routes.push((spec.name, routes));
            for task in parts.tasks {
                mall.supervise(spec.name, task);
            }
            if let Some(db) = db {
                let (bus, stop) = (bus.clone(), shutdown.clone());
                let relay = move || bus.relay(db.clone(), wait(&stop));
                mall.supervise(spec.name, Task::restarting("relay", relay));
            }
            if let (true, Some(engine)) = (parts.flows, engine) {
                let stop = shutdown.clone();
                let timers = move || {
                    let (engine, stop) = (engine.clone(), wait(&stop));
                    async move { engine.run(stop).await }
                };
                mall.supervise(spec.name, Task::restarting("flows", timers));
            }
            if let Some(router) = parts.http {
                if site.is_some() {
                    bail!("service {} brings a second HTTP application; one process has one", spec.name);
                }
                site = Some(router);
            }
            if parts.pages.is_some() {
                if pages.is_some() {
                    bail!("service {} brings pages beside those of another; one process has one set", spec.name);
                }
                pages = parts.pages;
            }
            guard = guard.or(parts.guard);
            mall.contexts.insert(spec.name, context);
        }
        if let Some(address) = settings.rpc_listen {
            let listener =
                TcpListener::bind(address).await.with_context(|| format!("cannot listen for RPCs on {address}"))?;
            mall.rpc_addr = Some(listener.local_addr()?);
            let stop = wait(&shutdown);
            let config = ServerConfig {
                cluster_secret: settings.cluster_secret.clone(),
                slow_calls: channels.slow_calls(),
                ..ServerConfig::default()
            };
            let server = async move {
                if let Err(error) = mallard_rpc::serve(listener, rpc_routes, config, stop).await {
                    error!(%error, "rpc server ended");
                }
            };
            mall.supervise("rpc", Task::once("server", server));
        }
        if let Some(address) = settings.listen {
            let mut router = site.unwrap_or_else(|| ops::router(shutdown.clone(), mall.health.clone()));
            if let Some(files) = settings.pages {
                router = router.merge(match &guard {
                    Some(guard) => guard_files(files, guard),
                    None => files,
                });
            }
            if let Some(pages) = pages {
                router = in_front(pages, router, guard);
            }
            mall.serve_http(address, router, http_config).await?;
        }
        Ok(mall)
    }

    async fn serve_http(
        &mut self,
        address: SocketAddr,
        router: axum::Router,
        config: HttpConfig,
    ) -> anyhow::Result<()> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}; choose another address with --listen HOST:PORT"))?;
        self.http_addr = Some(listener.local_addr()?);
        let server = http::serve(listener, router, config, self.shutdown.clone());
        self.supervise("http", Task::once("server", server));
        Ok(())
    }

    /// Runs background work and notices when it ends before the mall does.
    fn supervise(&mut self, service: &str, task: Task) {
        self.tasks.spawn(task.of(service).supervise(self.health.clone(), self.shutdown.clone()));
    }

    /// Returns the address of the HTTP surface.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http_addr
    }

    /// Returns the address of the RPC surface.
    pub fn rpc_addr(&self) -> Option<SocketAddr> {
        self.rpc_addr
    }

    /// Returns a client of a service, for tools and tests.
    pub fn client<C: Client>(&self) -> C {
        C::from_channel(self.channels.channel(C::SERVICE))
    }

    /// Returns the channel to a service by name.
    pub fn channel(&self, service: &str) -> ServiceChannel {
        self.channels.channel(service)
    }

    /// Returns the names of the services that run here.
    pub fn services(&self) -> Vec<&'static str> {
        self.contexts.keys().copied().collect()
    }

    /// Returns the context of a service that runs here.
    pub fn context(&self, service: &str) -> Option<&Context> {
        self.contexts.get(service)
    }

    /// Returns the SQL statements run so far by every service here; transaction control is not counted.
    pub fn statements(&self) -> u64 {
        self.contexts.values().filter_map(Context::try_db).map(|db| db.statements()).sum()
    }

    /// Returns what of this process is down although it still answers.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Returns the signal that ends this mall.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Stops: takes no new requests, finishes those in flight, ends background work.
    pub async fn stop(mut self) {
        self.shutdown.begin();
        let drained =
            tokio::time::timeout(DRAIN_LIMIT, async { while self.tasks.join_next().await.is_some() {} }).await;
        match drained {
            Ok(()) => info!("stopped"),
            Err(_) => warn!(limit_s = DRAIN_LIMIT.as_secs(), "stopped before everything had drained"),
        }
    }
}

/// Lets through calls of the mall's own services only: nobody else delivers events.
fn for_the_mall(request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
    mallard_rpc::with_current(|call| call.caller.require_system()).map_err(mallard_rpc::status)?;
    Ok(request)
}

fn wait(shutdown: &Shutdown) -> impl Future<Output = ()> + Send + 'static + use<> {
    let shutdown = shutdown.clone();
    async move { shutdown.wait().await }
}

fn new_bus(settings: &Settings, channels: &Channels, switches: &Arc<BTreeSet<String>>) -> Bus {
    let subscribers = settings.known.iter().map(|spec| (spec.name, spec.subscribes.to_vec())).collect();
    let clock = settings.clock.clone();
    let switches = switches.clone();
    let bus = Bus::new(channels.clone(), subscribers, Arc::new(move || clock.now()))
        .with_switches(Arc::new(move |name| switches.contains(name)));
    match settings.storage {
        // Several processes may share the database: one of them relays.
        Storage::Postgres { .. } => bus.with_lease(format!("{:016x}", settings.chance.number())),
        Storage::Folder(_) | Storage::Memory(_) => bus,
    }
}

fn choose(settings: &Settings) -> anyhow::Result<Vec<ServiceSpec>> {
    if settings.run.is_empty() {
        return Ok(settings.known.clone());
    }
    for name in &settings.run {
        if !settings.known.iter().any(|spec| spec.name == name) {
            let names: Vec<_> = settings.known.iter().map(|spec| spec.name).collect();
            bail!("there is no service {name}; the services are {}", names.join(", "));
        }
    }
    Ok(settings.known.iter().filter(|spec| settings.run.iter().any(|name| name == spec.name)).copied().collect())
}

async fn open_db(storage: &Storage, spec: &ServiceSpec) -> anyhow::Result<Option<Db>> {
    if spec.migrations.is_empty() {
        return Ok(None);
    }
    let mut all: Vec<Migration> = Vec::new();
    all.extend_from_slice(mallard_db::lease::LEASE_MIGRATIONS);
    all.extend_from_slice(mallard_bus::MIGRATIONS);
    all.extend_from_slice(mallard_flow::MIGRATIONS);
    all.extend_from_slice(spec.migrations);
    all.sort_by_key(|migration| migration.version);
    // A few hundred bytes per service and start; the schema lives as long as the process.
    let all: &'static [Migration] = Box::leak(all.into_boxed_slice());
    let db = Db::open(&storage.config(), spec.name, all)
        .await
        .with_context(|| format!("database of service {}", spec.name))?;
    Ok(Some(db))
}

fn new_engine(db: &Db, settings: &Settings) -> Engine {
    let clock = settings.clock.clone();
    let chance = settings.chance.clone();
    let engine = Engine::new(db.clone(), Arc::new(move || clock.now()), Arc::new(move || chance.number()));
    engine.set_shared(matches!(settings.storage, Storage::Postgres { .. }));
    engine
}
