//! The pages people read most, each beside a bare handler that returns the same bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Options;
use super::browse::{Bare, median, readers};
use super::load;
use super::shop::BenchShop;

/// Times a page and the bare handler are measured in turn.
const ROUNDS: u32 = 3;
/// Products on the shelf that is read.
const SHELF: usize = 40;

/// Runs the scenario: home, a category, products; of each the median of the rounds.
pub async fn run(shop: &BenchShop, options: &Options) -> anyhow::Result<Value> {
    let shelf = shop.shelf(SHELF).await?;
    let products = shop.products.iter().map(|product| format!("/en/p/{}", product.id)).collect();
    let kinds =
        [("home", vec!["/en/".to_owned()]), ("category", vec![format!("/en/c/{shelf}")]), ("product", products)];
    let share = |time: Duration| time / ROUNDS / kinds.len() as u32;
    let mut result = Value::Null;
    let (mut slowest, mut pages) = (f64::MAX, serde_json::Map::new());
    for (name, paths) in &kinds {
        let paths = Arc::new(paths.clone());
        let body = Bytes::from(shop.text(&paths[0]).await?);
        let bare = Bare::start(body.clone(), "text/html; charset=utf-8").await?;
        let mut rates = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let warm_up = if round == 0 { options.warm_up } else { Duration::ZERO };
            let mut mall = readers(&shop.client, &paths, options.clients).await?;
            let mall = load::run(&mut mall, warm_up, share(options.duration), options.rate).await?;
            let mut plain = readers(&bare.client, &paths, options.clients).await?;
            let plain = load::run(&mut plain, warm_up, share(options.duration), options.rate).await?;
            rates.0.push(mall.rate());
            rates.1.push(plain.rate());
            result = mall.to_json();
        }
        let (mall, plain) = (median(rates.0), median(rates.1));
        slowest = slowest.min(mall);
        let page = json!({
            "per_second": mall.round(),
            "bare_per_second": plain.round(),
            "ratio_to_bare": (mall / plain * 1000.0).round() / 1000.0,
            "bytes": body.len(),
        });
        pages.insert((*name).to_owned(), page);
        bare.task.abort();
    }
    // Latency and errors are those of the last kind; the rate is that of the slowest.
    result["scenario"] = json!("pages");
    result["per_second"] = json!(slowest.round());
    result["pages"] = Value::Object(pages);
    Ok(result)
}
