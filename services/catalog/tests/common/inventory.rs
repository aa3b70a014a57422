//! An inventory that only knows how many units a SKU has, and publishes what it is told to.

use futures_util::FutureExt;
use mallard_bus::Envelope;
use mallard_db::{Db, Migration, params};
use mallard_proto::common::v1::{RunChecksRequest, RunChecksResponse};
use mallard_proto::events::STOCK_AVAILABILITY_V1;
use mallard_proto::inventory::v1::inventory_service_server::{InventoryService, InventoryServiceServer};
use mallard_proto::inventory::v1::*;
use mallard_runtime::{Mall, Parts, ServiceSpec};
use tonic::{Request, Response, Status};

const MIGRATIONS: &[Migration] = &[Migration {
    version: 100,
    name: "units",
    sql: "CREATE TABLE units (sku_id TEXT NOT NULL PRIMARY KEY, units INTEGER NOT NULL)",
}];

pub fn service() -> ServiceSpec {
    let start = |ctx: mallard_runtime::Context| {
        async move { Ok(Parts::new(tonic::service::Routes::new(InventoryServiceServer::new(Fake(ctx.db()))))) }.boxed()
    };
    ServiceSpec { name: "inventory", migrations: MIGRATIONS, subscribes: &[], start }
}

/// Publishes `stock.availability.v1` as the inventory does.
pub async fn announce(mall: &Mall, sku_id: &str, in_stock: bool, version: i64) {
    let context = mall.context("inventory").unwrap();
    let changed = AvailabilityChanged { sku_id: sku_id.into(), in_stock, version };
    let event = Envelope::new(context.id("evt"), STOCK_AVAILABILITY_V1, sku_id, context.now(), &changed);
    let outbox = context.outbox();
    let append = move |tx| {
        let (outbox, event) = (outbox.clone(), event.clone());
        async move { outbox.append(&tx, event).await }
    };
    context.db().tx::<_, mallard_types::Error, _, _>("test.announce", append).await.unwrap();
}

/// Puts units of SKUs there before any product has them.
pub async fn stock(mall: &Mall, sku_id: &str, units: i64) {
    insert(&mall.context("inventory").unwrap().db(), sku_id, units).await;
}

async fn insert(db: &Db, sku_id: &str, units: i64) -> u64 {
    let sku_id = sku_id.to_owned();
    let write = move |tx: mallard_db::Tx| {
        let params = params![&sku_id, units];
        async move { tx.execute("INSERT INTO units VALUES (?, ?) ON CONFLICT (sku_id) DO NOTHING", params).await }
    };
    db.tx::<_, mallard_db::Error, _, _>("test.receive", write).await.unwrap()
}

struct Fake(Db);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl InventoryService for Fake {
    async fn receive_stock(&self, request: Request<ReceiveStockRequest>) -> Answer<ReceiveStockResponse> {
        let mut created = 0;
        for line in request.into_inner().lines {
            created += insert(&self.0, &line.sku_id, line.quantity).await as i64;
        }
        Ok(Response::new(ReceiveStockResponse { created }))
    }

    async fn batch_get_stock(&self, request: Request<BatchGetStockRequest>) -> Answer<BatchGetStockResponse> {
        let mut stocks = Vec::new();
        for sku_id in request.into_inner().sku_ids {
            if let Some(row) =
                self.0.query_opt("SELECT units FROM units WHERE sku_id = ?", params![&sku_id]).await.unwrap()
            {
                let units = row.get(0).unwrap();
                stocks.push(Stock { sku_id, on_hand: units, available: units, ..Stock::default() });
            }
        }
        Ok(Response::new(BatchGetStockResponse { stocks }))
    }

    async fn reserve(&self, _: Request<ReserveRequest>) -> Answer<ReserveResponse> {
        Err(Status::unimplemented("reserve"))
    }
    async fn confirm(&self, _: Request<ConfirmRequest>) -> Answer<ConfirmResponse> {
        Err(Status::unimplemented("confirm"))
    }
    async fn release(&self, _: Request<ReleaseRequest>) -> Answer<ReleaseResponse> {
        Err(Status::unimplemented("release"))
    }
    async fn r#return(&self, _: Request<ReturnRequest>) -> Answer<ReturnResponse> {
        Err(Status::unimplemented("return"))
    }
    async fn get_stock(&self, _: Request<GetStockRequest>) -> Answer<GetStockResponse> {
        Err(Status::unimplemented("get_stock"))
    }
    async fn adjust_stock(&self, _: Request<AdjustStockRequest>) -> Answer<AdjustStockResponse> {
        Err(Status::unimplemented("adjust_stock"))
    }
    async fn list_ledger(&self, _: Request<ListLedgerRequest>) -> Answer<ListLedgerResponse> {
        Err(Status::unimplemented("list_ledger"))
    }
    async fn scan_ledger(&self, _: Request<ScanLedgerRequest>) -> Answer<ScanLedgerResponse> {
        Err(Status::unimplemented("scan_ledger"))
    }
    async fn batch_get_reservations(
        &self,
        _: Request<BatchGetReservationsRequest>,
    ) -> Answer<BatchGetReservationsResponse> {
        Err(Status::unimplemented("batch_get_reservations"))
    }
    async fn scan_reservations(&self, _: Request<ScanReservationsRequest>) -> Answer<ScanReservationsResponse> {
        Err(Status::unimplemented("scan_reservations"))
    }
    async fn run_checks(&self, _: Request<RunChecksRequest>) -> Answer<RunChecksResponse> {
        Ok(Response::new(RunChecksResponse::default()))
    }
}
