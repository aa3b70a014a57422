//! Makes products, SKUs, stock and customers of the file. A second run changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::{StreamExt, TryStreamExt, stream};
use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_proto::catalog::v1::{CreateCategoryRequest, CreateProductRequest, ProductStatus, VariantInput};
use mallard_proto::common::v1::Money;
use mallard_proto::identity::v1::CreateUserRequest;
use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_rpc::{Call, Caller, ServiceChannel};
use mallard_runtime::Mall;
use mallard_types::{Error, Result};

use super::rows::{Class, FIRST_DAY_MICROS, NANOS_PER_PENNY, Paper};
use super::{Options, bar, derived_id, sku_id};

/// Name under which purchases without a customer are made.
pub const GUEST: &str = "guest";

/// What an import made or found.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    pub products: usize,
    pub customers: usize,
    /// Customer number to user id; the empty number is the guest.
    pub users: HashMap<String, String>,
}

/// What the file says about a stock code.
#[derive(Default)]
struct Code<'a> {
    titles: BTreeMap<&'a str, usize>,
    prices: BTreeMap<i64, usize>,
    /// Units that leave the shop over the whole file.
    units_out: i64,
}

/// Runs the import.
///
/// # Errors
/// A service refuses, which the file gives no reason for.
pub async fn import(mall: &Mall, papers: &[Paper], options: &Options) -> anyhow::Result<Imported> {
    let codes = codes(papers);
    let customers: BTreeSet<&str> = papers.iter().map(|paper| paper.customer.as_str()).chain([""]).collect();
    let catalog: CatalogServiceClient<ServiceChannel> = mall.client();
    let identity: IdentityServiceClient<ServiceChannel> = mall.client();
    let category = category(catalog.clone()).await?;
    let progress = bar(options, codes.len() as u64, "products");
    stream::iter(&codes)
        .map(|(code, facts)| {
            let (catalog, category, progress) = (catalog.clone(), category.clone(), progress.clone());
            scoped(async move {
                product(catalog, code, facts, category).await?;
                progress.inc(1);
                Ok::<_, Error>(())
            })
        })
        .buffer_unordered(options.lanes)
        .try_collect::<Vec<()>>()
        .await?;
    progress.finish();
    let progress = bar(options, customers.len() as u64, "customers");
    let users = stream::iter(customers.iter().copied())
        .map(|customer| {
            let (identity, progress) = (identity.clone(), progress.clone());
            scoped(async move {
                let id = user(identity, customer).await?;
                progress.inc(1);
                Ok::<_, Error>((customer.to_owned(), id))
            })
        })
        .buffer_unordered(options.lanes)
        .try_collect::<HashMap<_, _>>()
        .await?;
    progress.finish();
    Ok(Imported { products: codes.len(), customers: customers.len() - 1, users })
}

fn codes(papers: &[Paper]) -> BTreeMap<&str, Code<'_>> {
    let mut codes: BTreeMap<&str, Code<'_>> = BTreeMap::new();
    for paper in papers {
        for row in &paper.rows {
            let code = codes.entry(&row.code).or_default();
            if !row.description.trim().is_empty() {
                *code.titles.entry(row.description.trim()).or_default() += 1;
            }
            if row.price_nanos > 0 {
                *code.prices.entry(row.price_nanos).or_default() += 1;
            }
            match paper.class {
                Class::Sale => code.units_out += row.quantity,
                Class::StockAdjustment if row.quantity < 0 => code.units_out -= row.quantity,
                _ => {}
            }
        }
    }
    codes
}

/// Returns the most frequent key; the first in order among equals.
fn mode<K: Copy + Ord>(counts: &BTreeMap<K, usize>) -> Option<K> {
    counts.iter().max_by_key(|(key, count)| (**count, std::cmp::Reverse(**key))).map(|(key, _)| *key)
}

async fn category(mut catalog: CatalogServiceClient<ServiceChannel>) -> Result<String> {
    let id = derived_id("cat", "online-retail category");
    let request = CreateCategoryRequest {
        slug: "online-retail".into(),
        name: "Online Retail".into(),
        names: BTreeMap::from([("zh".into(), "在线零售".into())]),
        id: id.clone(),
        ..CreateCategoryRequest::default()
    };
    scoped(async move { catalog.create_category(request).await.map_err(mallard_rpc::error) }).await?;
    Ok(id)
}

async fn product(
    mut catalog: CatalogServiceClient<ServiceChannel>,
    code: &str,
    facts: &Code<'_>,
    category: String,
) -> Result<()> {
    let title = mode(&facts.titles).unwrap_or(code).to_owned();
    let price = mode(&facts.prices).unwrap_or(0) / NANOS_PER_PENNY;
    let variant = VariantInput {
        id: sku_id(code),
        title: title.clone(),
        price: Some(Money { amount: price, currency: "GBP".into() }),
        code: code.to_owned(),
        // Everything the file ever takes out, so that real demand is never refused.
        stock: facts.units_out,
        ..VariantInput::default()
    };
    let request = CreateProductRequest {
        id: derived_id("prod", &format!("online-retail product {code}")),
        title,
        category_ids: vec![category],
        variants: vec![variant],
        status: ProductStatus::Listed as i32,
        ..CreateProductRequest::default()
    };
    catalog.create_product(request).await.map_err(mallard_rpc::error)?;
    Ok(())
}

async fn user(mut identity: IdentityServiceClient<ServiceChannel>, customer: &str) -> Result<String> {
    let name = if customer.is_empty() { GUEST } else { customer };
    let request = CreateUserRequest {
        email: format!("{name}@online-retail.example"),
        name: if customer.is_empty() { "Guests of Online Retail".into() } else { format!("Customer {customer}") },
        language: "en".into(),
        roles: vec!["user".into()],
        ..CreateUserRequest::default()
    };
    let answer = identity.create_user(request).await.map_err(mallard_rpc::error)?.into_inner();
    Ok(answer.user.unwrap_or_default().id)
}

/// Runs a call as the system, at the beginning of the data's time.
async fn scoped<F: Future>(work: F) -> F::Output {
    let call = Call { caller: Caller::system("import"), at: Some(FIRST_DAY_MICROS), ..Call::default() };
    mallard_rpc::scope(call, work).await
}
