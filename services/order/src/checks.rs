//! What must be true of the order books. Each rule reads in pages and looks again at what seems wrong, because a mall that
//! sells is never quite still.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use mallard_proto::common::v1::Check;
use mallard_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use mallard_proto::inventory::v1::{BatchGetReservationsRequest, ReservationState};
use mallard_proto::payment::v1::payment_service_client::PaymentServiceClient;
use mallard_proto::payment::v1::{PaymentStatus, ScanPaymentsRequest};
use mallard_rpc::ServiceChannel;
use mallard_types::Result;

use crate::app::App;
use crate::domain::{Order, Status};
use crate::store::{self, AsWritten};

const PAGE: i64 = 500;
const SHOWN_MAX: usize = 10;
/// Orders looked at again one by one; more than this are simply wrong.
const SUSPECTS_MAX: usize = 2_000;
const LOOKS: usize = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);
/// How long past its deadline an unpaid order may rest, in microseconds.
const OVERDUE_MICROS: i64 = 60_000_000;

/// Names and what they say, in order of report.
const NAMES: [&str; 8] = [
    "order.totals_add_up",
    "order.stream_folds_to_row",
    "order.stock_follows_status",
    "order.captured_equals_total",
    "order.sellers_see_their_orders",
    "order.returns_add_up",
    "order.no_overdue_unpaid",
    "order.flows_not_stuck",
];

/// Captured and refunded minor units of an order, captures counted.
#[derive(Clone, Copy, Default)]
struct Moneys {
    captured: i64,
    refunded: i64,
    captures: u32,
}

type Faults = BTreeMap<&'static str, Vec<String>>;

/// Runs every check of the service.
pub async fn run(app: &Arc<App>) -> Result<Vec<Check>> {
    crate::app::require_operator()?;
    let mut moneys = scan_moneys(app).await?;
    let mut suspects = Vec::new();
    let mut seen = 0u64;
    let mut after = String::new();
    loop {
        let page = store::scan_as_written(&app.db, &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.order.id.clone();
        seen += page.len() as u64;
        let faults = faults_of(app, &page, &moneys).await?;
        for list in faults.values() {
            suspects.extend(list.iter().map(|fault| id_of(fault).to_owned()));
        }
    }
    suspects.sort();
    suspects.dedup();
    let mut faults = Faults::new();
    for look in 0..LOOKS {
        if suspects.is_empty() {
            break;
        }
        if look > 0 {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        if suspects.len() <= SUSPECTS_MAX {
            moneys = scan_moneys(app).await?;
        }
        faults = Faults::new();
        for ids in suspects.chunks(PAGE as usize) {
            let mut orders = Vec::new();
            for id in ids {
                orders.extend(store::get_as_written(&app.db, id).await?);
            }
            for (name, list) in faults_of(app, &orders, &moneys).await? {
                faults.entry(name).or_default().extend(list);
            }
        }
        suspects = faults.values().flatten().map(|fault| id_of(fault).to_owned()).collect();
        suspects.sort();
        suspects.dedup();
        if suspects.len() > SUSPECTS_MAX {
            break;
        }
    }
    for flow in app.engine.list(true, SHOWN_MAX).await? {
        faults.entry("order.flows_not_stuck").or_default().push(format!(
            "{} {}: {}",
            flow.key,
            flow.name,
            flow.last_error.unwrap_or_default()
        ));
    }
    let mut checks: Vec<_> =
        NAMES.into_iter().map(|name| report(name, faults.get(name).map_or(&[], Vec::as_slice), seen)).collect();
    checks.extend(app.context.check_events().await?);
    Ok(checks)
}

fn report(name: &str, faults: &[String], seen: u64) -> Check {
    let detail = if faults.is_empty() {
        format!("{seen} orders")
    } else {
        format!("{} of {seen} orders: {}", faults.len(), faults[..faults.len().min(SHOWN_MAX)].join("; "))
    };
    Check { name: name.into(), ok: faults.is_empty(), detail }
}

fn id_of(fault: &str) -> &str {
    fault.split(' ').next().unwrap_or_default()
}

/// Sums the payments of each order. Memory grows with the number of orders: about 100 bytes each.
async fn scan_moneys(app: &Arc<App>) -> Result<HashMap<String, Moneys>> {
    let mut client: PaymentServiceClient<ServiceChannel> = app.context.client();
    let mut moneys: HashMap<String, Moneys> = HashMap::new();
    let mut after_id = String::new();
    loop {
        let request = ScanPaymentsRequest { after_id: after_id.clone(), limit: 1_000 };
        let page = client.scan_payments(request).await.map_err(mallard_rpc::error)?.into_inner().payments;
        let Some(last) = page.last() else { return Ok(moneys) };
        after_id = last.id.clone();
        for payment in &page {
            let captured = payment.captured.as_ref().map_or(0, |m| m.amount);
            let money = moneys.entry(payment.order_id.clone()).or_default();
            money.captured += captured;
            money.refunded += payment.refunded.as_ref().map_or(0, |m| m.amount);
            if matches!(
                payment.status(),
                PaymentStatus::Captured | PaymentStatus::PartiallyRefunded | PaymentStatus::Refunded
            ) {
                money.captures += 1;
            }
        }
    }
}

async fn faults_of(app: &Arc<App>, rows: &[AsWritten], moneys: &HashMap<String, Moneys>) -> Result<Faults> {
    let mut faults = Faults::new();
    let mut fault = |name: &'static str, text: String| faults.entry(name).or_default().push(text);
    let ids: Vec<&str> = rows.iter().map(|row| row.order.id.as_str()).collect();
    let reservations = reservations(app, &ids).await?;
    let mut sellers = store::indexed_sellers(&app.db, &ids).await?;
    let mut returns = store::indexed_returns(&app.db, &ids).await?;
    let now = app.context.clock().now();
    for AsWritten { order, folded } in rows {
        if !order.totals_add_up() {
            fault("order.totals_add_up", format!("{} total {}", order.id, order.total));
        }
        let stream: Vec<_> = store::events(&app.db, &order.id).await?.into_iter().map(|(_, event)| event).collect();
        let ordered = stream.windows(2).all(|w| w[0].at <= w[1].at);
        if !ordered || crate::domain::Order::fold(&stream).as_ref() != Some(order) {
            fault(
                "order.stream_folds_to_row",
                format!("{} version {} with {} events", order.id, order.version, stream.len()),
            );
        }
        let hold = reservations.get(&order.id).copied();
        if let Some(text) = stock_fault(order, hold) {
            fault("order.stock_follows_status", format!("{} {text}", order.id));
        }
        let money = moneys.get(&order.id).copied().unwrap_or_default();
        if let Some(text) = money_fault(order, money) {
            fault("order.captured_equals_total", format!("{} {text}", order.id));
        }
        let listed = sellers.remove(&order.id).unwrap_or_default();
        // What an older program wrote is not listed yet, so it cannot be missed.
        if *folded && let Some(text) = sellers_fault(order, &listed) {
            fault("order.sellers_see_their_orders", format!("{} {text}", order.id));
        }
        if let Some(text) = returns_fault(order, &returns.remove(&order.id).unwrap_or_default()) {
            fault("order.returns_add_up", format!("{} {text}", order.id));
        }
        if order.status == Status::PendingPayment && order.expires_at + OVERDUE_MICROS < now {
            fault("order.no_overdue_unpaid", format!("{} should have been cancelled", order.id));
        }
    }
    Ok(faults)
}

fn stock_fault(order: &Order, hold: Option<ReservationState>) -> Option<String> {
    use ReservationState as S;
    let fine = match order.status {
        Status::PendingPayment => hold == Some(S::Held),
        Status::Cancelled => hold != Some(S::Held) && hold != Some(S::Confirmed),
        // A refund may be for stock that was gone.
        Status::Refunding | Status::Refunded => hold != Some(S::Held),
        _ => hold == Some(S::Confirmed),
    };
    (!fine).then(|| {
        format!("is {} but its stock is {}", order.status.as_str(), hold.map_or("not held", |h| h.as_str_name()))
    })
}

fn money_fault(order: &Order, money: Moneys) -> Option<String> {
    let fine = match order.status {
        Status::PendingPayment => money.captured == 0,
        Status::Cancelled => money.captured == money.refunded,
        _ => money.captured == order.total.amount && money.captures == 1 && money.refunded == order.refunded.amount,
    };
    (!fine).then(|| {
        format!(
            "is {} with total {} and {} refunded, but {} was captured in {} payments and {} refunded",
            order.status.as_str(),
            order.total.amount,
            order.refunded.amount,
            money.captured,
            money.captures,
            money.refunded
        )
    })
}

fn sellers_fault(order: &Order, listed: &[(String, bool)]) -> Option<String> {
    let expected: Vec<_> =
        order.sellers().into_iter().map(|(seller_id, to_ship)| (seller_id.to_owned(), to_ship)).collect();
    (listed != expected).then(|| format!("is listed for {listed:?} and should be for {expected:?} (seller, to ship)"))
}

fn returns_fault(order: &Order, listed: &[(String, String)]) -> Option<String> {
    if !order.returns_fit() {
        return Some("has more units in returns than were bought".into());
    }
    let mut expected: Vec<_> =
        order.returns.iter().map(|asked| (asked.id.clone(), asked.status.as_str().to_owned())).collect();
    expected.sort();
    (listed != expected).then(|| format!("has the returns {expected:?} but listed are {listed:?}"))
}

async fn reservations(app: &Arc<App>, ids: &[&str]) -> Result<HashMap<String, ReservationState>> {
    let mut client: InventoryServiceClient<ServiceChannel> = app.context.client();
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    let answer = client
        .batch_get_reservations(BatchGetReservationsRequest { ids })
        .await
        .map_err(mallard_rpc::error)?
        .into_inner();
    Ok(answer.reservations.into_iter().map(|r| (r.id.clone(), r.state())).collect())
}
