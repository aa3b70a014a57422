//! Product pages over REST, beside a bare handler that returns the same bytes.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use serde_json::{Value, json};

use super::Options;
use super::load::{self, Outcome, Work};
use super::shop::BenchShop;
use crate::http::Client;

/// Times the two are measured in turn.
const ROUNDS: u32 = 3;

/// Runs the scenario: mall and bare handler in turn, so that a busy machine is unfair to both alike.
pub async fn run(shop: &BenchShop, options: &Options) -> anyhow::Result<Value> {
    let paths: Arc<Vec<String>> =
        Arc::new(shop.products.iter().map(|product| format!("/store/v1/products/{}", product.id)).collect());
    let body = Bytes::from(shop.text(&paths[0]).await?);
    let bare = Bare::start(body.clone(), "application/json").await?;
    let mut rates = (Vec::new(), Vec::new());
    let mut last = Value::Null;
    for round in 0..ROUNDS {
        let warm_up = if round == 0 { options.warm_up } else { std::time::Duration::ZERO };
        let time = options.duration / ROUNDS;
        let mall =
            load::run(&mut readers(&shop.client, &paths, options.clients).await?, warm_up, time, options.rate).await?;
        let plain =
            load::run(&mut readers(&bare.client, &paths, options.clients).await?, warm_up, time, options.rate).await?;
        rates.0.push(mall.rate());
        rates.1.push(plain.rate());
        last = mall.to_json();
    }
    let (mall, plain) = (median(rates.0), median(rates.1));
    last["scenario"] = json!("browse");
    last["page_bytes"] = json!(body.len());
    last["per_second"] = json!(mall.round());
    last["bare_per_second"] = json!(plain.round());
    last["ratio_to_bare"] = json!((mall / plain * 1000.0).round() / 1000.0);
    bare.task.abort();
    Ok(last)
}

/// Returns the middle one.
pub fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

/// Opens a connection for each reader.
pub async fn readers(client: &Client, paths: &Arc<Vec<String>>, count: usize) -> anyhow::Result<Vec<Reader>> {
    let mut readers = Vec::with_capacity(count);
    for i in 0..count {
        readers.push(Reader {
            sender: client.connect().await?,
            authority: client.authority().to_owned(),
            paths: paths.clone(),
            next: i * 7_919,
        });
    }
    Ok(readers)
}

/// Reads pages in turn.
pub struct Reader {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
    paths: Arc<Vec<String>>,
    next: usize,
}

impl Reader {
    async fn read(&mut self) -> anyhow::Result<Outcome> {
        let path = &self.paths[self.next % self.paths.len()];
        self.next += 1;
        let request = http::Request::get(path).header("host", &self.authority).body(Full::default())?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await?.to_bytes();
        Ok(if status == 200 { Outcome::Done(bytes.len()) } else { Outcome::Failed(status.to_string()) })
    }
}

impl Work for Reader {
    async fn once(&mut self) -> Outcome {
        match self.read().await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed(format!("connection: {error}")),
        }
    }
}

/// The named baseline: an axum handler that returns a page from memory.
pub struct Bare {
    /// The way to it.
    pub client: Client,
    /// Serves until it is aborted.
    pub task: tokio::task::JoinHandle<()>,
}

impl Bare {
    /// Starts it on a free port.
    pub async fn start(body: Bytes, kind: &'static str) -> anyhow::Result<Bare> {
        use axum::serve::ListenerExt;
        let page = move || {
            let body = body.clone();
            async move { ([(http::header::CONTENT_TYPE, kind)], body) }
        };
        let app = axum::Router::new().fallback(page);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let client = Client::new(&format!("http://{}", listener.local_addr()?))?;
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let task = tokio::spawn(async move {
            // Ends with the bench.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Bare { client, task })
    }
}
