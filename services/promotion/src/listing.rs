//! What the catalog says of SKUs, in the domain's words.

use std::collections::BTreeMap;

use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_proto::catalog::v1::{BatchGetSkusRequest, Sku};
use mallard_rpc::ServiceChannel;
use mallard_types::{Money, Result};

use crate::domain::Listing;

/// Asks the catalog for the SKUs in one call; unknown ones are left out. Titles are in the caller's language where the
/// seller wrote one: what a shopper read is what the order says.
///
/// # Errors
/// What the catalog answers; `Unavailable` when it is away.
pub(crate) async fn fetch(
    mut catalog: CatalogServiceClient<ServiceChannel>,
    sku_ids: Vec<String>,
) -> Result<BTreeMap<String, Listing>> {
    let answer =
        catalog.batch_get_skus(BatchGetSkusRequest { sku_ids }).await.map_err(mallard_rpc::error)?.into_inner();
    mallard_rpc::with_current(|call| answer.skus.into_iter().map(|sku| listing(sku, &call.caller.language)).collect())
}

/// Returns the title in a language, a tag such as `zh` or `zh-CN`; the default when there is none.
fn title_in(language: &str, titles: &mut BTreeMap<String, String>) -> Option<String> {
    let primary = language.split('-').next().unwrap_or_default();
    titles.remove(language).or_else(|| titles.remove(primary))
}

fn listing(mut sku: Sku, language: &str) -> Result<(String, Listing)> {
    let price = Money::try_from(sku.price.unwrap_or_default())?;
    let listing = Listing {
        product_id: sku.product_id,
        seller_id: sku.seller_id,
        title: title_in(language, &mut sku.titles).unwrap_or(sku.title),
        options: sku.options,
        price,
        sellable: sku.sellable,
        image_url: sku.image.map(|image| image.url).unwrap_or_default(),
        code: sku.code,
    };
    Ok((sku.sku_id, listing))
}
