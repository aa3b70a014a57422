//! The inventory in a test, on every engine.
#![allow(dead_code, reason = "every test binary uses its own part")]

use std::sync::Arc;

use mallard_db::Db;
use mallard_proto::common::v1::{Check, RunChecksRequest};
use mallard_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use mallard_proto::inventory::v1::*;
use mallard_rpc::{Call, Caller, ServiceChannel, current};
use mallard_runtime::{Config, Mall, ServiceSpec, Settings, Storage};
use mallard_testkit::patiently;
use mallard_testkit::pgtest::PgServer;
use mallard_types::Error;
use tempfile::TempDir;

pub type Client = InventoryServiceClient<ServiceChannel>;

/// A running inventory and what must outlive it.
pub struct House {
    pub mall: Mall,
    pub client: Client,
    pub db: Db,
    pub folder: Option<TempDir>,
    server: Option<Arc<PgServer>>,
}

/// Where a suite runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Memory,
    Sqlite,
    Postgres,
}

pub const ENGINES: [Engine; 3] = [Engine::Memory, Engine::Sqlite, Engine::Postgres];

/// Makes the settings of an engine; `None` when it is not installed here.
pub async fn settings(
    engine: Engine,
    specs: Vec<ServiceSpec>,
) -> Option<(Settings, Option<TempDir>, Option<Arc<PgServer>>)> {
    let (storage, folder, server) = match engine {
        Engine::Memory => (Storage::Memory(Default::default()), None, None),
        Engine::Sqlite => {
            let folder = TempDir::new().unwrap();
            (Storage::Folder(folder.path().to_owned()), Some(folder), None)
        }
        Engine::Postgres => {
            let server = PgServer::shared()?;
            let url = server.fresh_url().await;
            (Storage::Postgres { url, pool_max: 16 }, None, Some(server))
        }
    };
    Some((Settings::new(specs, config(), storage), folder, server))
}

pub fn config() -> Config {
    mallard_testkit::config().set("inventory.expiry_interval_ms", 5).set("inventory.announce_linger_ms", 1)
}

/// Starts an inventory; `None` when the engine is not installed here.
pub async fn house(engine: Engine) -> Option<House> {
    house_with(engine, vec![mallard_inventory::service()], |_| {}).await
}

pub async fn house_with(engine: Engine, specs: Vec<ServiceSpec>, change: impl FnOnce(&mut Settings)) -> Option<House> {
    let (mut settings, folder, server) = settings(engine, specs).await?;
    change(&mut settings);
    let mall = mallard_testkit::start(settings).await;
    Some(House { folder, server, ..House::of(mall, None) })
}

pub fn lines(lines: &[(&str, i64)]) -> Vec<Line> {
    lines.iter().map(|(sku_id, quantity)| Line { sku_id: (*sku_id).to_owned(), quantity: *quantity }).collect()
}

/// The far future, in microseconds.
pub const NEVER: i64 = 4_000_000_000_000_000;

/// What a call answers: the reservation's state, or the code of the error.
pub type Told = Result<ReservationState, String>;

/// Runs work as the mall itself, at the time of the call in progress.
async fn as_mall<F: Future>(work: F) -> F::Output {
    mallard_rpc::scope(Call { caller: Caller::system("test"), ..current() }, work).await
}

/// Runs a call as the mall itself, again while the database is asked too much; every call here may run twice, or has done
/// nothing when it says so.
async fn asked<T, Fut>(call: impl FnMut() -> Fut) -> Result<T, Error>
where
    Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
{
    as_mall(patient(call)).await
}

async fn patient<T, Fut>(mut call: impl FnMut() -> Fut) -> Result<T, Error>
where
    Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
{
    patiently(|| {
        let answer = call();
        async { answer.await.map(tonic::Response::into_inner).map_err(mallard_rpc::error) }
    })
    .await
}

impl House {
    pub fn of(mall: Mall, folder: Option<TempDir>) -> House {
        let (client, db) = (mall.client(), mall.context("inventory").unwrap().db());
        House { mall, client, db, folder, server: None }
    }

    pub async fn receive(&self, skus: &[(&str, i64)]) -> i64 {
        let request = ReceiveStockRequest { lines: lines(skus), reason: "delivery".into() };
        asked(|| async { self.client.clone().receive_stock(request.clone()).await }).await.unwrap().created
    }

    pub async fn try_reserve(
        &self,
        id: &str,
        skus: &[(&str, i64)],
        expires_at_micros: i64,
    ) -> Result<Reservation, Error> {
        let request = ReserveRequest { id: id.into(), lines: lines(skus), expires_at_micros };
        let answer = asked(|| async { self.client.clone().reserve(request.clone()).await }).await?;
        Ok(answer.reservation.unwrap())
    }

    pub async fn reserve(&self, id: &str, skus: &[(&str, i64)]) -> Told {
        told(self.try_reserve(id, skus, NEVER).await)
    }

    pub async fn confirm(&self, id: &str) -> Told {
        let answer = asked(|| async { self.client.clone().confirm(ConfirmRequest { id: id.into() }).await }).await;
        told(answer.map(|answer| answer.reservation.unwrap()))
    }

    pub async fn release(&self, id: &str) -> Told {
        let answer = asked(|| async { self.client.clone().release(ReleaseRequest { id: id.into() }).await }).await;
        told(answer.map(|answer| answer.reservation.unwrap()))
    }

    pub async fn give_back(&self, id: &str, return_id: &str, skus: &[(&str, i64)]) -> Result<bool, Error> {
        let request =
            ReturnRequest { id: id.into(), return_id: return_id.into(), lines: lines(skus), reason: "refund".into() };
        Ok(asked(|| async { self.client.clone().r#return(request.clone()).await }).await?.applied)
    }

    pub async fn adjust(&self, sku_id: &str, delta: i64, key: &str) -> Result<Stock, Error> {
        let request = AdjustStockRequest {
            sku_id: sku_id.into(),
            delta,
            reason: "count".into(),
            idempotency_key: key.into(),
            reference: String::new(),
        };
        let adjust = patient(|| async { self.client.clone().adjust_stock(request.clone()).await });
        Ok(mallard_testkit::as_admin("usr_1", adjust).await?.inventory.unwrap())
    }

    /// Returns (on hand, reserved).
    pub async fn stock(&self, sku_id: &str) -> (i64, i64) {
        let request = BatchGetStockRequest { sku_ids: vec![sku_id.into()] };
        let stocks =
            asked(|| async { self.client.clone().batch_get_stock(request.clone()).await }).await.unwrap().stocks;
        (stocks[0].on_hand, stocks[0].reserved)
    }

    pub async fn state(&self, id: &str) -> Option<ReservationState> {
        let request = BatchGetReservationsRequest { ids: vec![id.into()] };
        let found =
            asked(|| async { self.client.clone().batch_get_reservations(request.clone()).await }).await.unwrap();
        found.reservations.first().map(|reservation| reservation.state())
    }

    pub async fn ledger(&self, sku_id: &str) -> Vec<(String, i64)> {
        let request = ListLedgerRequest { sku_id: sku_id.into(), limit: 100, cursor: String::new() };
        let ask = patient(|| async { self.client.clone().list_ledger(request.clone()).await });
        let answer = mallard_testkit::as_system(ask).await.unwrap();
        answer.entries.into_iter().map(|entry| (entry.kind, entry.delta)).collect()
    }

    pub async fn checks(&self) -> Vec<Check> {
        asked(|| async { self.client.clone().run_checks(RunChecksRequest {}).await }).await.unwrap().checks
    }

    /// Returns the checks that fail.
    pub async fn broken(&self) -> Vec<String> {
        self.checks().await.into_iter().filter(|check| !check.ok).map(|check| check.name).collect()
    }

    pub async fn assert_books_balance(&self) {
        let checks = self.checks().await;
        assert!(checks.len() >= 5);
        let broken: Vec<&Check> = checks.iter().filter(|check| !check.ok).collect();
        assert!(broken.is_empty(), "{broken:#?}");
    }
}

pub fn told(answer: Result<Reservation, Error>) -> Told {
    answer.map(|reservation| reservation.state()).map_err(|error| error.code.into_owned())
}
