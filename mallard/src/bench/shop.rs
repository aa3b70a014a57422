//! The shop that is measured: products, shoppers, and its operator.

use anyhow::{Context, bail};
use mallard_proto::common::v1::Check;
use serde_json::{Value, json};

use super::Options;
use crate::http::Client;
use crate::up;

/// Price of every product of the bench, in minor units of CNY.
pub const PRICE: i64 = 990;
const STOCK: i64 = 1_000_000_000;
const PASSWORD: &str = "bench password 1";

/// A shop with products, and the way to its operator.
pub struct BenchShop {
    pub client: Client,
    pub products: Vec<Product>,
    admin: String,
    local: Option<(up::Shop, Option<TempFolder>)>,
}

/// A product to buy.
#[derive(Clone, Debug)]
pub struct Product {
    pub id: String,
    pub sku: String,
}

/// A folder that goes away with the bench.
struct TempFolder(std::path::PathBuf);

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Opens the shop: a running one, or a fresh one in this process.
pub async fn open(options: &Options, config: mallard_runtime::Config) -> anyhow::Result<BenchShop> {
    let mut local = None;
    let (url, email, password) = match &options.url {
        Some(url) => (url.clone(), options.email.clone(), options.password.clone()),
        None => {
            let (data_dir, temporary) = match &options.data_dir {
                Some(dir) => (dir.clone(), None),
                None => {
                    let dir = std::env::temp_dir()
                        .join(format!("mallard-bench-{:016x}", mallard_runtime::Chance::system().number()));
                    (dir.clone(), Some(TempFolder(dir)))
                }
            };
            let listen = "127.0.0.1:0".parse()?;
            let shop = up::start(&up::Options { data_dir: data_dir.clone(), listen, demo: false }, config).await?;
            let address = shop.mall.http_addr().context("the mall does not listen")?;
            let password = crate::folder::password(&data_dir).context("the mall has no operator")?;
            local = Some((shop, temporary));
            (format!("http://{address}"), up::OPERATOR_EMAIL.to_owned(), password)
        }
    };
    let client = Client::new(&url)?;
    let login = client.call("POST", "/auth/v1/login", None, &json!({ "email": email, "password": password })).await?;
    let admin = login.body["tokens"]["access_token"].as_str().context("the operator cannot sign in")?.to_owned();
    let mut products = Vec::with_capacity(options.products);
    for i in 0..options.products {
        products.push(make_product(&client, &admin, i, &[]).await?);
    }
    Ok(BenchShop { client, products, admin, local })
}

async fn make_product(client: &Client, admin: &str, i: usize, categories: &[&str]) -> anyhow::Result<Product> {
    let body = json!({
        "title": format!("Bench product {i}"),
        "description": "A product of the bench: something to look at and to buy, described in a sentence of ordinary length.",
        "status": "listed",
        "category_ids": categories,
        "images": [{ "url": format!("/media/bench/{i}.svg"), "alt": "Bench product", "width": 800, "height": 800 }],
        "options": [{ "name": "size", "values": ["m"] }],
        "variants": [{ "title": "M", "options": { "size": "m" }, "price": { "amount": PRICE, "currency": "CNY" }, "stock": STOCK }],
    });
    let answer = client.call("POST", "/admin/v1/products", Some(admin), &body).await?;
    let product = &answer.body["product"];
    match (product["id"].as_str(), product["variants"][0]["id"].as_str()) {
        (Some(id), Some(sku)) => Ok(Product { id: id.to_owned(), sku: sku.to_owned() }),
        _ => bail!("product {i} was not made: {} {}", answer.status, answer.body),
    }
}

impl BenchShop {
    /// Makes a category with this many products of its own; returns its slug.
    pub async fn shelf(&self, products: usize) -> anyhow::Result<String> {
        let slug = format!("bench-{:016x}", mallard_runtime::Chance::system().number());
        let body = json!({ "slug": slug, "name": "Bench shelf" });
        let made = self.client.call("POST", "/admin/v1/categories", Some(&self.admin), &body).await?;
        let category = made.body["category"]["id"].as_str().with_context(|| format!("no category: {}", made.body))?;
        for i in 0..products {
            make_product(&self.client, &self.admin, i, &[category]).await?;
        }
        Ok(slug)
    }

    /// Registers a shopper; returns the access token.
    pub async fn shopper(&self, i: usize) -> anyhow::Result<String> {
        let tag = mallard_runtime::Chance::system().number();
        let body = json!({ "email": format!("bench-{i}-{tag:016x}@mallard.test"), "password": PASSWORD });
        let answer = self.client.call("POST", "/auth/v1/register", None, &body).await?;
        Ok(answer.body["tokens"]["access_token"]
            .as_str()
            .with_context(|| format!("a shopper was not made: {}", answer.body))?
            .to_owned())
    }

    /// Reads how many SQL statements the mall's process has run, from its metrics.
    pub async fn statements(&self) -> anyhow::Result<f64> {
        let text = self.text("/metrics").await?;
        Ok(text
            .lines()
            .filter(|line| line.starts_with("mallard_db_statements_total"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }

    /// Reads a page as text.
    pub async fn text(&self, path: &str) -> anyhow::Result<String> {
        use http_body_util::BodyExt;
        let mut sender = self.client.connect().await?;
        let request = http::Request::get(path).header("host", self.client.authority());
        let answer = sender.send_request(request.body(http_body_util::Full::default())?).await?;
        Ok(String::from_utf8_lossy(&answer.into_body().collect().await?.to_bytes()).into_owned())
    }

    /// Checks the books.
    pub async fn check(&self) -> anyhow::Result<Vec<Check>> {
        let answer = self.client.call("GET", "/admin/v1/check", Some(&self.admin), &Value::Null).await?;
        let checks = answer.body["checks"].as_array().with_context(|| format!("no checks: {}", answer.body))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(checks
            .iter()
            .map(|c| Check { name: text(&c["name"]), ok: c["ok"] == true, detail: text(&c["detail"]) })
            .collect())
    }

    /// Closes a shop that was started here.
    pub async fn close(self) {
        if let Some((shop, folder)) = self.local {
            shop.mall.stop().await;
            drop(folder);
        }
    }
}
