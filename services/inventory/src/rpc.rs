//! The contract's side of the use cases: requests in, answers out, no decisions.

use std::sync::Arc;

use mallard_proto::Timestamp;
use mallard_proto::common::v1 as common;
use mallard_proto::inventory::v1 as pb;
use mallard_proto::inventory::v1::inventory_service_server::InventoryService;
use mallard_rpc::{status, with_current};
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::checks;
use crate::domain::{Adjustment, LOCATION, Line, Reservation, State, Stock};
use crate::store::{Alert, LedgerEntry};

/// Answers the service's RPCs.
pub struct Rpc(Arc<App>);

impl Rpc {
    /// Makes the server of these use cases.
    pub fn new(app: Arc<App>) -> Rpc {
        Rpc(app)
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl InventoryService for Rpc {
    async fn reserve(&self, request: Request<pb::ReserveRequest>) -> Answer<pb::ReserveResponse> {
        for_the_mall()?;
        let request = request.into_inner();
        let reservation =
            self.0.reserve(&request.id, &lines(request.lines), request.expires_at_micros).await.map_err(status)?;
        Ok(Response::new(pb::ReserveResponse { reservation: Some(reservation_out(reservation)) }))
    }

    async fn confirm(&self, request: Request<pb::ConfirmRequest>) -> Answer<pb::ConfirmResponse> {
        for_the_mall()?;
        let reservation = self.0.confirm(&request.into_inner().id).await.map_err(status)?;
        Ok(Response::new(pb::ConfirmResponse { reservation: Some(reservation_out(reservation)) }))
    }

    async fn release(&self, request: Request<pb::ReleaseRequest>) -> Answer<pb::ReleaseResponse> {
        for_the_mall()?;
        let reservation = self.0.release(&request.into_inner().id).await.map_err(status)?;
        Ok(Response::new(pb::ReleaseResponse { reservation: Some(reservation_out(reservation)) }))
    }

    async fn r#return(&self, request: Request<pb::ReturnRequest>) -> Answer<pb::ReturnResponse> {
        for_the_mall()?;
        let request = request.into_inner();
        let lines = lines(request.lines);
        let applied =
            self.0.give_back(&request.id, &request.return_id, &lines, &request.reason).await.map_err(status)?;
        Ok(Response::new(pb::ReturnResponse { applied }))
    }

    async fn batch_get_stock(&self, request: Request<pb::BatchGetStockRequest>) -> Answer<pb::BatchGetStockResponse> {
        with_current(|call| call.caller.require_identity()).map_err(status)?;
        let stocks = self.0.stocks(&request.into_inner().sku_ids).await.map_err(status)?;
        Ok(Response::new(pb::BatchGetStockResponse { stocks: stocks.into_iter().map(stock_out).collect() }))
    }

    async fn get_stock(&self, request: Request<pb::GetStockRequest>) -> Answer<pb::GetStockResponse> {
        let stock = self.0.stock(&request.into_inner().sku_id).await.map_err(status)?;
        Ok(Response::new(pb::GetStockResponse { inventory: Some(stock_out(stock)) }))
    }

    async fn list_stock_alerts(
        &self,
        request: Request<pb::ListStockAlertsRequest>,
    ) -> Answer<pb::ListStockAlertsResponse> {
        let request = request.into_inner();
        let page = self.0.alerts(&request.sku_ids, request.limit, &request.cursor).await.map_err(status)?;
        let alerts = page.alerts.into_iter().map(alert_out).collect();
        Ok(Response::new(pb::ListStockAlertsResponse { alerts, next_cursor: page.next_cursor }))
    }

    async fn adjust_stock(&self, request: Request<pb::AdjustStockRequest>) -> Answer<pb::AdjustStockResponse> {
        let request = request.into_inner();
        let adjustment = Adjustment {
            sku_id: request.sku_id,
            delta: request.delta,
            reason: request.reason,
            reference: request.reference,
            key: request.idempotency_key,
        };
        let stock = self.0.adjust(adjustment).await.map_err(status)?;
        Ok(Response::new(pb::AdjustStockResponse { inventory: Some(stock_out(stock)) }))
    }

    async fn list_ledger(&self, request: Request<pb::ListLedgerRequest>) -> Answer<pb::ListLedgerResponse> {
        let request = request.into_inner();
        let page = self.0.ledger_of(&request.sku_id, request.limit, &request.cursor).await.map_err(status)?;
        let entries = page.entries.into_iter().map(entry_out).collect();
        Ok(Response::new(pb::ListLedgerResponse { entries, next_cursor: page.next_cursor }))
    }

    async fn receive_stock(&self, request: Request<pb::ReceiveStockRequest>) -> Answer<pb::ReceiveStockResponse> {
        for_the_mall()?;
        let request = request.into_inner();
        let created = self.0.receive(&lines(request.lines), &request.reason).await.map_err(status)?;
        // A call makes at most ten thousand rows.
        Ok(Response::new(pb::ReceiveStockResponse { created: created as i64 }))
    }

    async fn scan_ledger(&self, request: Request<pb::ScanLedgerRequest>) -> Answer<pb::ScanLedgerResponse> {
        for_the_mall()?;
        let request = request.into_inner();
        let entries = self.0.ledger(request.after_seq, request.limit).await.map_err(status)?;
        Ok(Response::new(pb::ScanLedgerResponse { entries: entries.into_iter().map(entry_out).collect() }))
    }

    async fn batch_get_reservations(
        &self,
        request: Request<pb::BatchGetReservationsRequest>,
    ) -> Answer<pb::BatchGetReservationsResponse> {
        for_the_mall()?;
        let reservations = self.0.reservations(&request.into_inner().ids).await.map_err(status)?;
        let reservations = reservations.into_iter().map(reservation_out).collect();
        Ok(Response::new(pb::BatchGetReservationsResponse { reservations }))
    }

    async fn scan_reservations(
        &self,
        request: Request<pb::ScanReservationsRequest>,
    ) -> Answer<pb::ScanReservationsResponse> {
        for_the_mall()?;
        let request = request.into_inner();
        let reservations = self.0.reservations_after(&request.after_id, request.limit).await.map_err(status)?;
        let reservations = reservations.into_iter().map(reservation_out).collect();
        Ok(Response::new(pb::ScanReservationsResponse { reservations }))
    }

    async fn run_checks(&self, _request: Request<common::RunChecksRequest>) -> Answer<common::RunChecksResponse> {
        for_the_mall()?;
        let findings = checks::run(&self.0).await.map_err(status)?;
        let mut checks: Vec<common::Check> = findings
            .into_iter()
            .map(|finding| common::Check { name: finding.name.to_owned(), ok: finding.ok, detail: finding.detail })
            .collect();
        checks.extend(self.0.ctx.check_events().await.map_err(status)?);
        Ok(Response::new(common::RunChecksResponse { checks }))
    }
}

/// Refuses everybody but the mall's own services: what is held, sold and returned is decided by orders, not by shoppers.
fn for_the_mall() -> Result<(), Status> {
    with_current(|call| call.caller.require_system()).map_err(status)
}

fn lines(lines: Vec<pb::Line>) -> Vec<Line> {
    lines.into_iter().map(|line| Line { sku_id: line.sku_id, quantity: line.quantity }).collect()
}

fn reservation_out(reservation: Reservation) -> pb::Reservation {
    let state = match reservation.state {
        State::Held => pb::ReservationState::Held,
        State::Confirmed => pb::ReservationState::Confirmed,
        State::Released => pb::ReservationState::Released,
    };
    let lines = reservation.lines.as_slice().iter();
    pb::Reservation {
        id: reservation.id,
        state: state.into(),
        lines: lines.map(|line| pb::Line { sku_id: line.sku_id.clone(), quantity: line.quantity }).collect(),
        expires_at: Some(Timestamp::from_micros(reservation.expires_at)),
        created_at: Some(Timestamp::from_micros(reservation.created_at)),
    }
}

fn stock_out(stock: Stock) -> pb::Stock {
    pb::Stock {
        on_hand: stock.on_hand,
        reserved: stock.reserved,
        available: stock.available(),
        locations: vec![pb::LocationStock {
            location: LOCATION.to_owned(),
            on_hand: stock.on_hand,
            reserved: stock.reserved,
        }],
        sku_id: stock.sku_id,
    }
}

fn alert_out(alert: Alert) -> pb::StockAlert {
    pb::StockAlert {
        sku_id: alert.sku_id,
        available: alert.available,
        since: Some(Timestamp::from_micros(alert.since)),
    }
}

fn entry_out(entry: LedgerEntry) -> pb::LedgerEntry {
    pb::LedgerEntry {
        seq: entry.seq,
        sku_id: entry.sku_id,
        kind: entry.kind,
        delta: entry.delta,
        reason: entry.reason,
        reference: entry.reference,
        created_at: Some(Timestamp::from_micros(entry.at)),
    }
}
