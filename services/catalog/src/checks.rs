//! The invariants of the catalogue's own rows and pictures, and that what is listed has stock rows. Everything is read in pages.

use std::collections::BTreeSet;

use mallard_proto::inventory::v1::BatchGetStockRequest;
use mallard_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use mallard_rpc::ServiceChannel;
use mallard_types::Result;

use crate::app::App;
use crate::domain::{Product, Status, kept_name};

/// Rows read at once.
const PAGE_ROWS: usize = 200;
/// SKUs asked of the inventory at once.
const SKUS_MAX: usize = 1_000;
/// Breaking rows named in a detail.
const NAMED_MAX: usize = 10;

/// Outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable name.
    pub name: &'static str,
    /// Whether the rule holds.
    pub ok: bool,
    /// What was counted, or the first rows that break the rule.
    pub detail: String,
}

/// Runs all checks.
///
/// # Errors
/// The database's; an inventory that is away fails its check instead.
pub async fn run(app: &App) -> Result<Vec<Finding>> {
    let mut belongs = Tally::new("catalog.sku_belongs_to_product");
    let mut stocked = Tally::new("catalog.listed_skus_have_stock");
    let mut pictured = Tally::new("catalog.product_images_exist");
    sku_rows(app, &mut belongs).await?;
    let mut after = String::new();
    let mut listed: Vec<String> = Vec::new();
    loop {
        let ids = app.store.ids_after(&after, PAGE_ROWS).await?;
        let Some(last) = ids.last() else { break };
        after = last.clone();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        for product in app.store.products(&ids).await?.into_iter().map(|stocked| stocked.product) {
            sku_of_product(app, &product, &mut belongs).await?;
            images_of_product(app, &product, &mut pictured).await?;
            if product.status == Status::Listed {
                listed.extend(product.variants.into_iter().map(|variant| variant.id));
            }
        }
        if listed.len() >= SKUS_MAX {
            have_stock(app, std::mem::take(&mut listed), &mut stocked).await;
        }
    }
    have_stock(app, listed, &mut stocked).await;
    Ok(vec![belongs.finding(), stocked.finding(), pictured.finding(), images_counted(app).await?])
}

/// Checks that the kept pictures a product names are there. Pictures that a product has
/// named are never removed, so no change explains a missing one.
async fn images_of_product(app: &App, product: &Product, tally: &mut Tally) -> Result<()> {
    let names: Vec<&str> = product.images.iter().filter_map(|image| kept_name(&image.url)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let sizes = app.store.image_sizes(&names).await?;
    for name in names {
        tally.count(sizes.contains_key(name), || format!("{}: there is no picture {name}", product.id));
    }
    Ok(())
}

/// Checks that the counts which limit sellers and the mall are those of their pictures.
async fn images_counted(app: &App) -> Result<Finding> {
    let mut tally = Tally::new("catalog.images_counted");
    tally.counted = usize::try_from(app.store.images_count().await?).unwrap_or_default();
    for (seller_id, [said, found, bytes_said, bytes]) in app.store.images_miscounted(NAMED_MAX).await? {
        let whose = if seller_id.is_empty() { "the mall" } else { &seller_id };
        tally.count(false, || {
            format!("{whose}: {said} pictures and {bytes_said} bytes counted, {found} and {bytes} there")
        });
    }
    Ok(tally.finding())
}

/// Checks that every SKU row names a product that has the variant.
async fn sku_rows(app: &App, tally: &mut Tally) -> Result<()> {
    let mut after = String::new();
    loop {
        let rows = app.store.skus_after(&after, PAGE_ROWS).await?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        after = last.clone();
        let ids: BTreeSet<&str> = rows.iter().map(|(_, product_id)| product_id.as_str()).collect();
        let ids: Vec<&str> = ids.into_iter().collect();
        let products = app.store.products(&ids).await?;
        for (sku_id, product_id) in &rows {
            let product = products.iter().map(|stocked| &stocked.product).find(|product| product.id == *product_id);
            let ok = product.is_some_and(|product| product.variant(sku_id).is_some());
            // The row may be gone by now: a change between the two reads is no fault.
            let ok = ok || app.store.products_of(&[sku_id]).await?.is_empty();
            tally.count(ok, || format!("{sku_id}: product {product_id} has no such variant"));
        }
    }
}

/// Checks that every variant of a product has its SKU row.
async fn sku_of_product(app: &App, product: &Product, tally: &mut Tally) -> Result<()> {
    let ids: Vec<&str> = product.variants.iter().map(|variant| variant.id.as_str()).collect();
    let rows = app.store.products_of(&ids).await?;
    let missing: Vec<&str> =
        ids.into_iter().filter(|id| !rows.iter().any(|(sku, of)| sku == id && *of == product.id)).collect();
    if missing.is_empty() {
        tally.counted += 1;
        return Ok(());
    }
    let now = app.store.products(&[&product.id]).await?;
    let changed = now.iter().any(|stocked| stocked.product.version != product.version);
    tally.count(changed, || format!("{}: no SKU row for {}", product.id, missing.join(", ")));
    Ok(())
}

async fn have_stock(app: &App, sku_ids: Vec<String>, tally: &mut Tally) {
    let mut inventory = app.ctx.client::<InventoryServiceClient<ServiceChannel>>();
    for chunk in sku_ids.chunks(SKUS_MAX) {
        let answer = inventory.batch_get_stock(BatchGetStockRequest { sku_ids: chunk.to_vec() }).await;
        let stocks = match answer.map_err(mallard_rpc::error) {
            Ok(answer) => answer.into_inner().stocks,
            Err(error) => {
                tally.count(false, || format!("the inventory does not answer: {error}"));
                return;
            }
        };
        let known: BTreeSet<&str> = stocks.iter().map(|stock| stock.sku_id.as_str()).collect();
        for sku_id in chunk {
            tally.count(known.contains(sku_id.as_str()), || format!("{sku_id}: no stock row"));
        }
    }
}

/// Counts rows and names the first that break a rule.
struct Tally {
    name: &'static str,
    counted: usize,
    broken: usize,
    named: Vec<String>,
}

impl Tally {
    fn new(name: &'static str) -> Tally {
        Tally { name, counted: 0, broken: 0, named: Vec::new() }
    }

    fn count(&mut self, ok: bool, describe: impl FnOnce() -> String) {
        self.counted += 1;
        if ok {
            return;
        }
        self.broken += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(describe());
        }
    }

    fn finding(self) -> Finding {
        let detail = match self.broken {
            0 => format!("{} rows hold", self.counted),
            broken => format!("{broken} rows break it: {}", self.named.join("; ")),
        };
        Finding { name: self.name, ok: self.broken == 0, detail }
    }
}
