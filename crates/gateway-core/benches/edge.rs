//! What the edge adds to a bare handler: `cargo bench -p mallard-gateway-core`.
//!
//! `bare_*` reads and writes the same JSON through structs written by hand and calls no service. `rest_*` is the whole edge:
//! match, caller, typed request, call over the in-process channel, typed answer, headers. `copied_*` is the same with the
//! answer from a copy; `bare_bytes` is a handler that only gives bytes it has, the floor of any answer.

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use divan::Bencher;
use http::{Request, Response};
use http_body_util::BodyExt;
use mallard_gateway_core::{Begin, Claim, CopiesConfig, Edge, EdgeConfig, IdempotencyStore, Remembered};
use mallard_proto::catalog::v1 as catalog;
use mallard_proto::common::v1::Money;
use mallard_proto::order::v1 as order;
use mallard_rpc::Channels;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tonic::Status;
use tonic::service::Routes;

fn main() {
    divan::main();
}

fn money(amount: i64) -> Option<Money> {
    Some(Money { amount, currency: "CNY".into() })
}

fn product() -> catalog::Product {
    let variant = |index: i64| catalog::Variant {
        id: format!("sku_{index}"),
        title: "Red, medium".into(),
        options: [("colour".into(), "red".into()), ("size".into(), "M".into())].into(),
        price: money(990 + index),
        in_stock: true,
        code: "C-1".into(),
    };
    catalog::Product {
        id: "prod_06d4q1z7q8w9e0r1t2y3u4i5o6".into(),
        title: "Mug".into(),
        description: "A mug that holds what a mug should hold, and keeps it warm for as long as one may wish.".into(),
        status: 1,
        variants: (0..3).map(variant).collect(),
        version: 7,
        created_at: Some(mallard_proto::Timestamp::from_micros(1_767_225_600_000_000)),
        ..Default::default()
    }
}

fn placed() -> order::PlaceOrderResponse {
    let line = |index: i64| order::OrderLine {
        id: format!("line_{index}"),
        title: "Mug".into(),
        quantity: 2,
        unit_price: money(990),
        line_total: money(1_980),
        ..Default::default()
    };
    let order = order::Order {
        id: "ord_1".into(),
        lines: (0..3).map(line).collect(),
        total: money(5_940),
        version: 1,
        ..Default::default()
    };
    order::PlaceOrderResponse { order: Some(order), payment: None }
}

struct Fake;

#[async_trait::async_trait]
impl catalog::catalog_service_server::CatalogService for Fake {
    async fn get_product(
        &self,
        _: tonic::Request<catalog::GetProductRequest>,
    ) -> Result<tonic::Response<catalog::GetProductResponse>, Status> {
        Ok(tonic::Response::new(catalog::GetProductResponse { product: Some(product()) }))
    }

    async fn list_products(
        &self,
        _: tonic::Request<catalog::ListProductsRequest>,
    ) -> Result<tonic::Response<catalog::ListProductsResponse>, Status> {
        let products = (0..20).map(|_| product()).collect();
        Ok(tonic::Response::new(catalog::ListProductsResponse { products, ..Default::default() }))
    }
}

#[async_trait::async_trait]
impl order::order_service_server::OrderService for Fake {
    async fn place_order(
        &self,
        _: tonic::Request<order::PlaceOrderRequest>,
    ) -> Result<tonic::Response<order::PlaceOrderResponse>, Status> {
        Ok(tonic::Response::new(placed()))
    }
}

/// Says every key is new, so that only the edge's own work is measured.
struct Forgetful;

#[async_trait::async_trait]
impl IdempotencyStore for Forgetful {
    async fn begin(&self, _: &Claim) -> mallard_types::Result<Begin> {
        Ok(Begin::New)
    }
    async fn finish(&self, _: &Claim, _: &Remembered) -> mallard_types::Result<()> {
        Ok(())
    }
    async fn abandon(&self, _: &Claim) -> mallard_types::Result<()> {
        Ok(())
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn edge() -> Arc<Edge> {
    edge_with(CopiesConfig::default())
}

fn copying_edge() -> Arc<Edge> {
    let mut copies = CopiesConfig { services: vec!["catalog".into()], ..CopiesConfig::default() };
    copies.freshness.fresh = Duration::from_secs(3_600);
    edge_with(copies)
}

fn edge_with(copies: CopiesConfig) -> Arc<Edge> {
    let channels = Channels::default();
    channels.mount_local("catalog", Routes::new(catalog::catalog_service_server::CatalogServiceServer::new(Fake)));
    channels.mount_local("order", Routes::new(order::order_service_server::OrderServiceServer::new(Fake)));
    common::edge_with(&channels, Arc::new(Forgetful), None, EdgeConfig { copies, ..EdgeConfig::default() })
}

const ORDER: &str = r#"{"lines": [{"sku_id": "sku_1", "quantity": 2}, {"sku_id": "sku_2", "quantity": 2}, {"sku_id": "sku_3", "quantity": 2}],
"payment": {"method": "card", "number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123"},
"expected_total": {"amount": 5940, "currency": "CNY"}, "address": {"name": "A", "street": "B", "city": "C", "country": "CN", "postal_code": "100000"}}"#;

fn get() -> Request<Body> {
    Request::get("/store/v1/products/prod_06d4q1z7q8w9e0r1t2y3u4i5o6")
        .header("authorization", "Bearer usr_1")
        .body(Body::empty())
        .unwrap()
}

fn get_as_nobody() -> Request<Body> {
    Request::get("/store/v1/products/prod_06d4q1z7q8w9e0r1t2y3u4i5o6").body(Body::empty()).unwrap()
}

fn post() -> Request<Body> {
    Request::post("/store/v1/orders")
        .header("authorization", "Bearer usr_1")
        .header("idempotency-key", "k")
        .header("content-type", "application/json")
        .body(Body::from(ORDER))
        .unwrap()
}

async fn drain(response: Response<Body>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[divan::bench]
fn bare_get_product(bencher: Bencher) {
    let runtime = runtime();
    bencher.with_inputs(get).bench_local_values(|request| {
        runtime.block_on(async {
            divan::black_box(&request);
            let answer = serde_json::to_vec(&catalog::GetProductResponse { product: Some(product()) }).unwrap();
            drain(Response::new(Body::from(answer))).await
        })
    });
}

#[divan::bench]
fn rest_get_product(bencher: Bencher) {
    let (runtime, edge) = (runtime(), edge());
    bencher
        .with_inputs(get)
        .bench_local_values(|request| runtime.block_on(async { drain(Arc::clone(&edge).handle(request).await).await }));
}

#[divan::bench]
fn bare_bytes(bencher: Bencher) {
    let runtime = runtime();
    let body = Bytes::from(serde_json::to_vec(&catalog::GetProductResponse { product: Some(product()) }).unwrap());
    bencher.with_inputs(get).bench_local_values(|request| {
        runtime.block_on(async {
            divan::black_box(&request);
            drain(Response::new(Body::from(body.clone()))).await
        })
    });
}

#[divan::bench]
fn copied_get_product(bencher: Bencher) {
    let (runtime, edge) = (runtime(), copying_edge());
    bencher
        .with_inputs(get_as_nobody)
        .bench_local_values(|request| runtime.block_on(async { drain(Arc::clone(&edge).handle(request).await).await }));
}

#[divan::bench]
fn copied_list_with_query(bencher: Bencher) {
    let (runtime, edge) = (runtime(), copying_edge());
    let request = || {
        Request::get("/store/v1/products?q=mug&order=price&limit=20&price%5Bgte%5D=100").body(Body::empty()).unwrap()
    };
    bencher
        .with_inputs(request)
        .bench_local_values(|request| runtime.block_on(async { drain(Arc::clone(&edge).handle(request).await).await }));
}

#[divan::bench]
fn copied_not_modified(bencher: Bencher) {
    let (runtime, edge) = (runtime(), copying_edge());
    let first = runtime.block_on(Arc::clone(&edge).handle(get()));
    let etag = first.headers()["etag"].clone();
    let request = || {
        let mut request = get();
        request.headers_mut().insert("if-none-match", etag.clone());
        request
    };
    bencher
        .with_inputs(request)
        .bench_local_values(|request| runtime.block_on(async { drain(Arc::clone(&edge).handle(request).await).await }));
}

#[derive(Deserialize, Serialize)]
struct BareMoney {
    amount: i64,
    currency: String,
}

#[derive(Deserialize)]
struct BareLine {
    sku_id: String,
    quantity: i64,
}

#[derive(Deserialize)]
struct BarePayment {
    method: String,
    number: String,
    exp_month: i32,
    exp_year: i32,
    cvc: String,
}

#[derive(Deserialize)]
struct BareAddress {
    name: String,
    street: String,
    city: String,
    country: String,
    postal_code: String,
}

#[derive(Deserialize)]
struct BareOrder {
    lines: Vec<BareLine>,
    payment: BarePayment,
    expected_total: BareMoney,
    address: BareAddress,
}

#[divan::bench]
fn bare_post_order(bencher: Bencher) {
    let runtime = runtime();
    bencher.with_inputs(post).bench_local_values(|request| {
        runtime.block_on(async {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let order: BareOrder = serde_json::from_slice(&body).unwrap();
            let BareOrder { lines, payment: pay, expected_total: total, address: to } = &order;
            lines.iter().for_each(|line| _ = divan::black_box((&line.sku_id, line.quantity)));
            divan::black_box((
                &pay.method,
                &pay.number,
                pay.exp_month,
                pay.exp_year,
                &pay.cvc,
                total.amount,
                &total.currency,
            ));
            divan::black_box((&to.name, &to.street, &to.city, &to.country, &to.postal_code));
            drain(Response::new(Body::from(serde_json::to_vec(&placed()).unwrap()))).await
        })
    });
}

#[divan::bench]
fn rest_post_order(bencher: Bencher) {
    let (runtime, edge) = (runtime(), edge());
    bencher
        .with_inputs(post)
        .bench_local_values(|request| runtime.block_on(async { drain(Arc::clone(&edge).handle(request).await).await }));
}
