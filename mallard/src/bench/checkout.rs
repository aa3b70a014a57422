//! From an empty cart to a paid order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use serde_json::{Value, json};

use super::Options;
use super::load::{self, Outcome, Work};
use super::shop::{BenchShop, PRICE};
use crate::http::Client;

/// Runs the scenario.
pub async fn run(shop: &BenchShop, options: &Options) -> anyhow::Result<Value> {
    let mut clients = buyers(shop, options.clients, options).await?;
    let paid = clients.first().map(|buyer| Arc::clone(&buyer.paid)).unwrap_or_default();
    let before = shop.statements().await?;
    let report = load::run(&mut clients, options.warm_up, options.duration, options.rate).await?;
    let statements = shop.statements().await? - before;
    let mut result = report.to_json();
    result["scenario"] = json!("checkout");
    result["lines_per_order"] = json!(options.lines.max(1));
    // Orders of the warm-up count on both sides; what the mall does in the background is in the statements.
    let orders = paid.load(Ordering::Relaxed) as f64;
    result["statements_per_checkout"] = json!((statements / orders.max(1.0) * 10.0).round() / 10.0);
    Ok(result)
}

/// Makes shoppers who buy, each on a connection of its own. They count their orders together.
pub async fn buyers(shop: &BenchShop, count: usize, options: &Options) -> anyhow::Result<Vec<Buyer>> {
    let skus: Arc<Vec<String>> = Arc::new(shop.products.iter().map(|product| product.sku.clone()).collect());
    let paid = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::with_capacity(count);
    for i in 0..count {
        let token = shop.shopper(i).await?;
        clients.push(Buyer {
            sender: shop.client.connect().await?,
            client: shop.client.clone(),
            authorization: format!("Bearer {token}"),
            skus: skus.clone(),
            // A different walk through the products for each client.
            next: i * 7_919,
            lines: options.lines.max(1),
            tag: mallard_runtime::Chance::system().number(),
            in_cart: 0,
            orders: 0,
            paid: paid.clone(),
        });
    }
    Ok(clients)
}

/// A shopper who fills a cart and pays, again and again.
pub struct Buyer {
    sender: SendRequest<Full<Bytes>>,
    client: Client,
    authorization: String,
    skus: Arc<Vec<String>>,
    next: usize,
    lines: usize,
    tag: u64,
    /// Lines in the cart.
    in_cart: usize,
    orders: u64,
    paid: Arc<AtomicU64>,
}

impl Buyer {
    async fn buy(&mut self) -> anyhow::Result<Outcome> {
        // What was told to come back with a full cart comes back with that cart.
        while self.in_cart < self.lines {
            let sku = &self.skus[self.next % self.skus.len()];
            self.next += 1;
            let body = format!(r#"{{"sku_id":"{sku}","quantity":1}}"#);
            let (status, bytes) = self.post("/store/v1/cart/lines", None, body).await?;
            if status != 200 {
                return Ok(failed(status, &bytes));
            }
            self.in_cart += 1;
        }
        self.orders += 1;
        let key = format!("bench-{:016x}-{}", self.tag, self.orders);
        let total = PRICE * self.lines as i64;
        let body = format!(
            r#"{{"address":{{"name":"Ada","country":"CN","city":"Beijing","street":"1 Bench Road","postal_code":"01234"}},"payment":{{"method":"card","number":"4242424242424242","exp_month":12,"exp_year":2030,"cvc":"123"}},"expected_total":{{"amount":{total},"currency":"CNY"}}}}"#
        );
        let (status, bytes) = self.post("/store/v1/orders", Some(&key), body).await?;
        if status != 201 {
            return Ok(failed(status, &bytes));
        }
        self.in_cart = 0;
        let paid = bytes.windows(15).any(|window| window == br#""status":"paid""#);
        if paid {
            self.paid.fetch_add(1, Ordering::Relaxed);
        }
        Ok(if paid { Outcome::Done(bytes.len()) } else { Outcome::Failed("not_paid".into()) })
    }

    async fn post(&mut self, path: &str, key: Option<&str>, body: String) -> anyhow::Result<(u16, Bytes)> {
        let mut request = http::Request::post(path)
            .header("host", self.client.authority())
            .header("authorization", &self.authorization)
            .header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        // A mall that sheds load may close the connection with its answer.
        if self.sender.is_closed() {
            self.sender = self.client.connect().await?;
        }
        self.sender.ready().await?;
        let answer = self.sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
        let status = answer.status().as_u16();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }
}

fn failed(status: u16, bytes: &[u8]) -> Outcome {
    let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let code = format!("{status} {}", body["error"]["code"].as_str().unwrap_or("?"));
    if matches!(status, 429 | 503) { Outcome::Refused(code) } else { Outcome::Failed(code) }
}

impl Work for Buyer {
    async fn once(&mut self) -> Outcome {
        match self.buy().await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed(format!("connection: {error}")),
        }
    }
}
