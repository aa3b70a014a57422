//! The service in a test, on every engine, told of orders by events as it is in a mall.
#![allow(dead_code, reason = "every test binary uses its own part")]

use std::sync::Arc;

use mallard_proto::bus::v1::event_intake_client::EventIntakeClient;
use mallard_proto::bus::v1::{DeliverRequest, Event};
use mallard_proto::common::v1::Money;
use mallard_proto::insight::v1::insight_service_client::InsightServiceClient;
use mallard_proto::insight::v1::*;
use mallard_proto::order::v1::{Order, OrderChanged, OrderLine};
use mallard_rpc::ServiceChannel;
use mallard_runtime::{Clock, Config, Mall, Settings, Storage};
use mallard_testkit::pgtest::PgServer;
use mallard_testkit::{as_admin, as_system, eventually};
use prost::Message;
use tempfile::TempDir;

pub type Client = InsightServiceClient<ServiceChannel>;

/// 2026-11-21T12:00:00Z, when every test begins.
pub const NOW: i64 = 1_795_262_400_000_000;
pub const DAY: i64 = 86_400_000_000;

/// Where a suite runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Memory,
    Sqlite,
    Postgres,
}

pub const ENGINES: [Engine; 3] = [Engine::Memory, Engine::Sqlite, Engine::Postgres];

/// A running service and what must outlive it.
pub struct Desk {
    pub mall: Mall,
    pub client: Client,
    pub storage: Storage,
    _folder: Option<TempDir>,
    _server: Option<Arc<PgServer>>,
}

pub fn config() -> Config {
    mallard_testkit::config().set("insight.fold_linger_ms", 1).set("insight.fold_interval_ms", 50)
}

/// Starts the service; `None` when the engine is not installed here.
pub async fn desk(engine: Engine) -> Option<Desk> {
    desk_with(engine, |_| {}).await
}

pub async fn desk_with(engine: Engine, change: impl FnOnce(&mut Settings)) -> Option<Desk> {
    let (storage, folder, server) = match engine {
        Engine::Memory => (Storage::Memory(Default::default()), None, None),
        Engine::Sqlite => {
            let folder = TempDir::new().unwrap();
            (Storage::Folder(folder.path().to_owned()), Some(folder), None)
        }
        Engine::Postgres => {
            let server = PgServer::shared()?;
            let url = server.fresh_url().await;
            (Storage::Postgres { url, pool_max: 8 }, None, Some(server))
        }
    };
    let mall = start(&storage, change).await;
    Some(Desk { client: mall.client(), mall, storage, _folder: folder, _server: server })
}

/// Starts one more instance on a storage.
pub async fn start(storage: &Storage, change: impl FnOnce(&mut Settings)) -> Mall {
    let mut settings = Settings::new(vec![mallard_insight::service()], config(), storage.clone());
    settings.clock = Clock::simulated(NOW);
    change(&mut settings);
    mallard_testkit::start(settings).await
}

/// Something that happened to an order, and the order as it was then.
#[derive(Clone, Debug)]
pub struct Happened {
    pub id: String,
    pub kind: &'static str,
    pub at: i64,
    pub order: Order,
}

impl Happened {
    pub fn event(&self) -> Event {
        let changed = OrderChanged { order: Some(self.order.clone()), event: self.kind.into() };
        Event {
            id: self.id.clone(),
            r#type: self.kind.into(),
            key: self.order.id.clone(),
            at_micros: self.at,
            traceparent: String::new(),
            payload: changed.encode_to_vec(),
        }
    }
}

pub fn money(amount: i64) -> Option<Money> {
    Some(Money { amount, currency: "CNY".into() })
}

pub fn line(product: &str, seller: &str, quantity: i64, price: i64) -> OrderLine {
    OrderLine {
        sku_id: format!("sku_{product}"),
        product_id: product.into(),
        seller_id: seller.into(),
        title: format!("The {product}"),
        quantity,
        line_total: money(quantity * price),
        ..OrderLine::default()
    }
}

/// An order and what happens to it.
pub struct Tale {
    order: Order,
    pub told: Vec<Happened>,
}

impl Tale {
    /// Places an order with these lines and shipping.
    pub fn placed(id: &str, at: i64, lines: Vec<OrderLine>, shipping: i64) -> Tale {
        let goods: i64 = lines.iter().map(|line| line.line_total.as_ref().unwrap().amount).sum();
        let order =
            Order { id: id.into(), lines, total: money(goods + shipping), refunded: money(0), ..Order::default() };
        Tale { order, told: Vec::new() }.then("order.placed.v1", at)
    }

    pub fn paid(self, at: i64) -> Tale {
        self.then("order.paid.v1", at)
    }

    /// Gives more back.
    pub fn refunded(mut self, at: i64, amount: i64) -> Tale {
        let so_far = self.order.refunded.as_ref().unwrap().amount + amount;
        self.order.refunded = money(so_far);
        // The request is a version of its own.
        self.order.version += 1;
        self.then("order.refunded.v1", at)
    }

    fn then(mut self, kind: &'static str, at: i64) -> Tale {
        self.order.version += 1;
        let id = format!("evt_{}_{}", self.order.id, self.order.version);
        self.told.push(Happened { id, kind, at, order: self.order.clone() });
        self
    }
}

impl Desk {
    /// Delivers events, as the order service's relay does: again, until all are taken.
    pub async fn tell(&self, happened: &[Happened]) {
        tell(&self.mall.channel("insight"), happened).await;
    }

    /// Stops, and starts again on the same storage with the usual settings.
    pub async fn again(self) -> Desk {
        let Desk { mall, storage, _folder, _server, .. } = self;
        mall.stop().await;
        let mall = start(&storage, |_| {}).await;
        Desk { client: mall.client(), mall, storage, _folder, _server }
    }

    /// Waits until everything told is in the sums.
    pub async fn folded(&self) {
        folded(&self.mall).await;
    }

    pub async fn sales(&self, request: GetSalesRequest) -> GetSalesResponse {
        as_admin("usr_1", self.client.clone().get_sales(request)).await.unwrap().into_inner()
    }

    /// Returns (date, orders, units, revenue, refunded) of the days with anything.
    pub async fn busy_days(&self, seller: &str) -> Vec<(String, i64, i64, i64, i64)> {
        let request = GetSalesRequest { seller: seller.into(), ..GetSalesRequest::default() };
        let days = self.sales(request).await.days.into_iter().map(|day| {
            let (revenue, refunded) = (day.revenue.unwrap().amount, day.refunded.unwrap().amount);
            (day.date, day.orders, day.units, revenue, refunded)
        });
        days.filter(|day| (day.1, day.2, day.3, day.4) != (0, 0, 0, 0)).collect()
    }

    pub async fn top(&self, request: ListTopProductsRequest) -> Vec<(String, String, i64, i64)> {
        let answer = as_admin("usr_1", self.client.clone().list_top_products(request)).await.unwrap().into_inner();
        let top = answer.products.into_iter();
        top.map(|top| (top.product_id, top.title, top.units, top.revenue.unwrap().amount)).collect()
    }

    pub async fn funnel(&self) -> FunnelDay {
        let answer = as_admin("usr_1", self.client.clone().get_funnel(GetFunnelRequest::default())).await;
        answer.unwrap().into_inner().total.unwrap()
    }
}

/// Delivers events to an instance until all are taken.
pub async fn tell(insight: &ServiceChannel, happened: &[Happened]) {
    eventually("all events are taken", async || deliver(insight, happened).await == happened.len()).await;
}

/// Delivers events to an instance; returns how many it took.
pub async fn deliver(insight: &ServiceChannel, happened: &[Happened]) -> usize {
    let mut intake = EventIntakeClient::new(insight.clone());
    let events = happened.iter().map(Happened::event).collect();
    let request = DeliverRequest { subscriber: "insight".into(), events };
    as_system(intake.deliver(request)).await.unwrap().into_inner().accepted_ids.len()
}

pub async fn folded(mall: &Mall) {
    let db = mall.context("insight").unwrap().db();
    eventually("every fact is in the sums", async || {
        db.query("SELECT seq FROM facts WHERE folded = 0 LIMIT 1", Vec::new()).await.unwrap().is_empty()
    })
    .await;
}
