//! What tests of the mall share: a service or the whole mall in a test, faults by seed, a JSON client, PostgreSQL as a child
//! process. A dev-dependency only.

mod audit;
mod calm;
mod faults;
mod http;

pub use audit::{Record, audit_records, audited};
pub use calm::{is_crowded, patiently, rest};
pub use faults::{Odds, SeededFaults};
pub use http::{Answer, Http};
use mallard_db::MemoryDisk;
#[cfg(feature = "postgres")]
pub use mallard_db::pgtest;
use mallard_rpc::{Call, Caller, CallerKind, Surface};
use mallard_runtime::{Config, Mall, ServiceSpec, Settings, Storage};

/// Returns a configuration that makes tests cheap: passwords hash in a moment. A call may take ten minutes, so that a machine
/// that stands still for a while does not look like a fault.
pub fn config() -> Config {
    cheap(Config::defaults("")).set("rpc.deadline_default_ms", 600_000)
}

/// Makes a configuration cheap for tests.
pub fn cheap(config: Config) -> Config {
    config.set("identity.argon2_memory_kib", 64).set("identity.argon2_iterations", 1)
}

/// Starts one service alone in memory. Calls to others answer `service_not_running`.
pub async fn single(spec: ServiceSpec) -> Mall {
    several(vec![spec]).await
}

/// Starts some services in memory, in this order.
///
/// # Panics
/// When one does not start: the test cannot go on.
pub async fn several(specs: Vec<ServiceSpec>) -> Mall {
    start(settings(specs)).await
}

/// Returns settings of services in memory, to be changed and given to [`start`].
pub fn settings(specs: Vec<ServiceSpec>) -> Settings {
    Settings::new(specs, config(), Storage::Memory(MemoryDisk::new()))
}

/// Starts services as the settings say.
///
/// # Panics
/// When one does not start: the test cannot go on.
pub async fn start(settings: Settings) -> Mall {
    match Mall::start(settings).await {
        Ok(mall) => mall,
        Err(error) => panic!("the mall does not start: {error:#}"),
    }
}

/// Runs work as the mall itself.
pub async fn as_system<F: Future>(work: F) -> F::Output {
    mallard_rpc::scope(Call::system("test"), work).await
}

/// Runs work as a signed-in shopper at the store surface.
pub async fn as_user<F: Future>(user_id: &str, work: F) -> F::Output {
    mallard_rpc::scope(user(user_id, &["user"], Surface::Store), work).await
}

/// Runs work as an operator at the admin surface.
pub async fn as_admin<F: Future>(user_id: &str, work: F) -> F::Output {
    mallard_rpc::scope(user(user_id, &["user", "admin"], Surface::Admin), work).await
}

/// Runs work as a seller at the sellers' surface.
pub async fn as_seller<F: Future>(user_id: &str, seller_id: &str, work: F) -> F::Output {
    let mut call = user(user_id, &["user", "seller"], Surface::Seller);
    call.caller.seller_id = seller_id.to_owned();
    mallard_rpc::scope(call, work).await
}

/// Runs work as nobody at no surface: what a peer that is not trusted is.
pub async fn as_stranger<F: Future>(work: F) -> F::Output {
    mallard_rpc::scope(Call::default(), work).await
}

/// Runs work as nobody at the store surface.
pub async fn as_guest<F: Future>(work: F) -> F::Output {
    let caller = Caller { surface: Surface::Store, ..Caller::default() };
    mallard_rpc::scope(Call { caller, ..Call::default() }, work).await
}

fn user(user_id: &str, roles: &[&str], surface: Surface) -> Call {
    let caller = Caller {
        kind: CallerKind::User,
        user_id: user_id.into(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        surface,
        ..Caller::default()
    };
    Call { caller, ..Call::default() }
}

/// Waits until a condition holds, looking every few milliseconds.
///
/// # Panics
/// After two minutes, naming what was waited for: long enough for any machine, only to end a test that hangs.
pub async fn eventually<F, Fut>(what: &str, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let begun = tokio::time::Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < std::time::Duration::from_secs(120), "never happened: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
