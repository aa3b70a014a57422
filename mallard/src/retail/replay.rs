//! Lives the papers again through the calls a shopper's request takes, each at its own time.
//!
//! Papers of one customer go in order; different customers go side by side. Every call carries a key made of the paper, so a
//! replay that was killed goes on without a duplicate.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use anyhow::Context;
use indicatif::ProgressBar;
use mallard_proto::common::v1::{Address, Money};
use mallard_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use mallard_proto::inventory::v1::{AdjustStockRequest, Line, ReturnRequest};
use mallard_proto::order::v1::order_service_client::OrderServiceClient;
use mallard_proto::order::v1::*;
use mallard_proto::payment::v1::payment_service_client::PaymentServiceClient;
use mallard_proto::payment::v1::{PaymentInput, RefundLine, RefundOrderRequest};
use mallard_rpc::{Call, Caller, ServiceChannel};
use mallard_runtime::Mall;
use mallard_types::{Error, Kind, Result};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::journal::{Aside, Journal, Part};
use super::matching::Purchases;
use super::rows::{Class, Paper};
use super::{Imported, Options, bar, derived_id, import, sku_id};

const CURRENCY: &str = "GBP";
/// Attempts of a call that found somebody away.
const TRIES_MAX: u32 = 5;

/// What a replay did, row by row of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Class to rows.
    pub rows: HashMap<&'static str, u64>,
    /// Class to papers.
    pub papers: HashMap<&'static str, u64>,
    /// Papers that an earlier, interrupted run had done.
    pub done_before: u64,
    /// Parts of cancellations that went back to an order.
    pub matched_parts: u64,
    /// Parts of cancellations without an earlier purchase.
    pub unmatched_parts: u64,
}

struct Lane {
    order: OrderServiceClient<ServiceChannel>,
    payment: PaymentServiceClient<ServiceChannel>,
    inventory: InventoryServiceClient<ServiceChannel>,
    journal: Journal,
    users: Arc<HashMap<String, String>>,
    purchases: Arc<Mutex<Purchases>>,
    totals: Arc<Mutex<Replayed>>,
}

/// Replays papers on a mall; imports first what they need.
///
/// # Errors
/// The data folder holds another file's replay, or a service refuses a paper; the paper is named.
pub async fn replay(mall: &Mall, papers: Vec<Paper>, options: &Options) -> anyhow::Result<(Imported, Replayed)> {
    let journal = Journal::open(mall.context("order").context("the order service runs elsewhere")?).await?;
    journal.claim(&fingerprint(&papers)).await?;
    let imported = import(mall, &papers, options).await?;
    let done = journal.done().await?;
    let purchases = Arc::new(Mutex::new(Purchases::default()));
    if !done.is_empty() {
        recall(mall, &purchases).await?;
    }
    let totals = Arc::new(Mutex::new(Replayed::default()));
    let lines: u64 = papers.iter().map(|paper| paper.rows.len() as u64).sum();
    let progress = bar(options, lines, "lines");
    let users = Arc::new(imported.users.clone());
    let mut senders = Vec::new();
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..options.lanes.max(1) {
        let lane = Lane {
            order: mall.client(),
            payment: mall.client(),
            inventory: mall.client(),
            journal: journal.clone(),
            users: users.clone(),
            purchases: purchases.clone(),
            totals: totals.clone(),
        };
        let (sender, receiver) = mpsc::channel(64);
        senders.push(sender);
        lanes.spawn(lane.work(receiver, progress.clone()));
    }
    for paper in papers {
        {
            let mut totals = totals.lock();
            *totals.rows.entry(paper.class.as_str()).or_default() += paper.rows.len() as u64;
            *totals.papers.entry(paper.class.as_str()).or_default() += 1;
            if done.contains(&paper.name()) {
                totals.done_before += 1;
            }
        }
        if done.contains(&paper.name()) {
            progress.inc(paper.rows.len() as u64);
            continue;
        }
        let lane = lane_of(&paper, senders.len());
        if senders[lane].send(paper).await.is_err() {
            // The lane ended with an error, which is told below.
            break;
        }
    }
    drop(senders);
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    progress.finish();
    let totals = totals.lock().clone();
    Ok((imported, totals))
}

/// Papers of one customer stay in order; those of guests need none.
fn lane_of(paper: &Paper, lanes: usize) -> usize {
    let mut hasher = std::hash::DefaultHasher::new();
    if paper.customer.is_empty() {
        paper.invoice.hash(&mut hasher)
    } else {
        paper.customer.hash(&mut hasher)
    }
    (hasher.finish() % lanes as u64) as usize
}

/// Tells one file from another by what is in it, not by its name.
fn fingerprint(papers: &[Paper]) -> String {
    use sha2::Digest;
    let mut digest = sha2::Sha256::new();
    for paper in papers {
        digest.update(paper.name());
        for row in &paper.rows {
            digest.update(format!("{} {} {} {}\n", row.code, row.quantity, row.at, row.price_nanos));
        }
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads back what earlier runs bought.
async fn recall(mall: &Mall, purchases: &Mutex<Purchases>) -> Result<()> {
    let mut client: OrderServiceClient<ServiceChannel> = mall.client();
    let mut after_id = String::new();
    loop {
        let request = ScanOrdersRequest { after_id: after_id.clone(), limit: 500 };
        let scan = client.scan_orders(request);
        let orders = crate::up::as_system(scan).await.map_err(mallard_rpc::error)?.into_inner().orders;
        let Some(last) = orders.last() else { return Ok(()) };
        after_id = last.id.clone();
        let mut purchases = purchases.lock();
        for order in &orders {
            purchases.note(order);
        }
    }
}

impl Lane {
    async fn work(mut self, mut papers: mpsc::Receiver<Paper>, progress: ProgressBar) -> anyhow::Result<()> {
        while let Some(paper) = papers.recv().await {
            let call = Call { caller: Caller::system("replay"), at: Some(paper.at), ..Call::default() };
            mallard_rpc::scope(call, self.paper(&paper)).await.with_context(|| format!("invoice {}", paper.invoice))?;
            progress.inc(paper.rows.len() as u64);
        }
        Ok(())
    }

    async fn paper(&mut self, paper: &Paper) -> Result<()> {
        match paper.class {
            Class::Sale => self.sale(paper).await?,
            Class::Cancellation => self.cancellation(paper).await?,
            Class::StockAdjustment => self.adjustment(paper).await?,
            Class::Accounting => self.accounting(paper).await?,
        }
        self.journal.finish(&paper.name()).await
    }

    async fn sale(&mut self, paper: &Paper) -> Result<()> {
        let lines: Vec<LineInput> = paper
            .rows
            .iter()
            .map(|row| LineInput {
                sku_id: sku_id(&row.code),
                quantity: row.quantity,
                agreed_unit_price_nanos: Some(row.price_nanos),
            })
            .collect();
        let address =
            Address { name: shown(&paper.customer).to_owned(), country: paper.country.clone(), ..Address::default() };
        let quote = QuoteRequest { lines: lines.clone(), address: Some(address.clone()), ..QuoteRequest::default() };
        let client = self.order.clone();
        let quoted = again(|| {
            let (mut client, request) = (client.clone(), quote.clone());
            async move { client.quote(request).await }
        })
        .await?
        .quote
        .unwrap_or_default();
        let request = PlaceOrderRequest {
            address: Some(address),
            payment: Some(PaymentInput { method: "external".into(), ..PaymentInput::default() }),
            expected_total: quoted.total,
            lines,
            idempotency_key: format!("online-retail:{}", paper.invoice),
            on_behalf_of: self.users.get(&paper.customer).cloned().unwrap_or_default(),
            reference: paper.invoice.clone(),
            customer: paper.customer.clone(),
            ..PlaceOrderRequest::default()
        };
        let client = self.order.clone();
        let placed = again(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.place_order(request).await }
        })
        .await?
        .order
        .unwrap_or_default();
        if placed.status() == OrderStatus::PendingPayment {
            return Err(Error::unavailable(
                "not_paid",
                "the order was placed but its payment is not settled; run the replay again",
            ));
        }
        self.ship(&placed).await?;
        self.purchases.lock().note(&placed);
        Ok(())
    }

    async fn ship(&mut self, order: &Order) -> Result<()> {
        if order.status() != OrderStatus::Paid {
            return Ok(());
        }
        let request = AdminShipOrderRequest {
            id: order.id.clone(),
            carrier: "replay".into(),
            ..AdminShipOrderRequest::default()
        };
        let client = self.order.clone();
        match again(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.admin_ship_order(request).await }
        })
        .await
        {
            Ok(_) => Ok(()),
            // A repeat after an answer that was lost.
            Err(error) if error.kind == Kind::Conflict && error.code == "illegal_transition" => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn cancellation(&mut self, paper: &Paper) -> Result<()> {
        let plan = match self.journal.plan(&paper.name()).await? {
            Some(plan) => plan,
            None => {
                let plan = self.purchases.lock().plan(paper);
                self.journal.keep_plan(&paper.name(), &plan).await?;
                plan
            }
        };
        let mut by_order: Vec<(String, Vec<Part>)> = Vec::new();
        for part in plan {
            match by_order.iter_mut().find(|(order, _)| *order == part.order_id) {
                Some((_, parts)) => parts.push(part),
                None => by_order.push((part.order_id.clone(), vec![part])),
            }
        }
        for (order_id, parts) in by_order {
            let count = parts.len() as u64;
            if order_id.is_empty() {
                self.unmatched(paper, &parts).await?;
                self.totals.lock().unmatched_parts += count;
            } else {
                self.matched(paper, &order_id, &parts).await?;
                self.totals.lock().matched_parts += count;
            }
        }
        Ok(())
    }

    async fn matched(&mut self, paper: &Paper, order_id: &str, parts: &[Part]) -> Result<()> {
        let request = AdminRefundOrderRequest {
            id: order_id.to_owned(),
            amount: Some(total(parts)),
            reason: "cancelled".into(),
            idempotency_key: format!("online-retail:{}", paper.invoice),
            lines: parts
                .iter()
                .map(|p| LineInput { sku_id: sku_id(&p.code), quantity: p.units, agreed_unit_price_nanos: None })
                .collect(),
            reference: paper.invoice.clone(),
            refund_lines: refund_lines(parts),
            customer: paper.customer.clone(),
            country: paper.country.clone(),
            if_version: None,
            units_sent: false,
        };
        let client = self.order.clone();
        let order = again(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.admin_refund_order(request).await }
        })
        .await?
        .order
        .unwrap_or_default();
        self.purchases.lock().note(&order);
        Ok(())
    }

    /// A refund of which no purchase is known: money that went elsewhere, units that came back.
    async fn unmatched(&mut self, paper: &Paper, parts: &[Part]) -> Result<()> {
        let refund_id = derived_id("ref", &format!("online-retail unmatched {}", paper.invoice));
        let request = RefundOrderRequest {
            order_id: String::new(),
            refund_id: refund_id.clone(),
            amount: Some(total(parts)),
            reason: "cancelled, no earlier purchase".into(),
            reference: paper.invoice.clone(),
            customer: paper.customer.clone(),
            country: paper.country.clone(),
            lines: refund_lines(parts),
        };
        let client = self.payment.clone();
        again(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.refund_order(request).await }
        })
        .await?;
        let mut lines: Vec<Line> = Vec::new();
        for part in parts {
            let sku_id = sku_id(&part.code);
            match lines.iter_mut().find(|line| line.sku_id == sku_id) {
                Some(line) => line.quantity += part.units,
                None => lines.push(Line { sku_id, quantity: part.units }),
            }
        }
        let request = ReturnRequest {
            id: String::new(),
            return_id: refund_id,
            lines,
            reason: "cancelled, no earlier purchase".into(),
        };
        let client = self.inventory.clone();
        again(|| {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.r#return(request).await }
        })
        .await?;
        Ok(())
    }

    async fn adjustment(&mut self, paper: &Paper) -> Result<()> {
        for row in &paper.rows {
            let reason: String =
                if row.description.trim().is_empty() { "adjustment".into() } else { row.description.trim().to_owned() };
            let request = AdjustStockRequest {
                sku_id: sku_id(&row.code),
                delta: row.quantity,
                reason,
                idempotency_key: format!("online-retail:{}:{}", paper.invoice, row.number),
                reference: Reference::of(paper, row.number, &row.code).to_text(),
            };
            let client = self.inventory.clone();
            again(|| {
                let (mut client, request) = (client.clone(), request.clone());
                async move { client.adjust_stock(request).await }
            })
            .await?;
        }
        Ok(())
    }

    async fn accounting(&mut self, paper: &Paper) -> Result<()> {
        for row in &paper.rows {
            self.journal
                .set_aside(Aside {
                    row: row.number,
                    invoice: paper.invoice.clone(),
                    code: row.code.clone(),
                    quantity: row.quantity,
                    price_nanos: row.price_nanos,
                    at: row.at,
                    customer: paper.customer.clone(),
                    country: paper.country.clone(),
                })
                .await?;
        }
        Ok(())
    }
}

/// What a stock adjustment's ledger entry says about its paper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub invoice: String,
    pub row: i64,
    pub code: String,
    pub customer: String,
    pub country: String,
}

impl Reference {
    fn of(paper: &Paper, row: i64, code: &str) -> Reference {
        Reference {
            invoice: paper.invoice.clone(),
            row,
            code: code.to_owned(),
            customer: paper.customer.clone(),
            country: paper.country.clone(),
        }
    }

    fn to_text(&self) -> String {
        format!("online-retail|{}|{}|{}|{}|{}", self.invoice, self.row, self.code, self.customer, self.country)
    }

    /// Reads a reference back; `None` for an entry of another origin.
    pub fn parse(text: &str) -> Option<Reference> {
        let mut parts = text.strip_prefix("online-retail|")?.splitn(5, '|');
        Some(Reference {
            invoice: parts.next()?.to_owned(),
            row: parts.next()?.parse().ok()?,
            code: parts.next()?.to_owned(),
            customer: parts.next()?.to_owned(),
            country: parts.next()?.to_owned(),
        })
    }
}

fn shown(customer: &str) -> &str {
    if customer.is_empty() { "Guest" } else { customer }
}

fn total(parts: &[Part]) -> Money {
    Money { amount: parts.iter().map(|part| part.amount).sum(), currency: CURRENCY.into() }
}

fn refund_lines(parts: &[Part]) -> Vec<RefundLine> {
    parts
        .iter()
        .map(|part| RefundLine {
            sku_id: sku_id(&part.code),
            code: part.code.clone(),
            quantity: part.units,
            amount: Some(Money { amount: part.amount, currency: CURRENCY.into() }),
            row: part.row,
        })
        .collect()
}

/// Makes a call, again when somebody was away. Every call of a replay carries a key and may run twice.
async fn again<F, Fut, T>(mut call: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = std::result::Result<tonic::Response<T>, tonic::Status>>,
{
    let mut tries = 0;
    loop {
        tries += 1;
        match call().await.map_err(mallard_rpc::error) {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(error) if error.is_retryable() && tries < TRIES_MAX => {
                tokio::time::sleep(std::time::Duration::from_millis(50 << tries)).await;
            }
            Err(error) => return Err(error),
        }
    }
}
