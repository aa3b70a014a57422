//! What the catalog says of SKUs, in the domain's words.

use std::collections::BTreeMap;

use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_proto::catalog::v1::{BatchGetSkusRequest, Sku};
use mallard_rpc::ServiceChannel;
use mallard_types::{Money, Result};

use crate::domain::Listing;

/// Asks the catalog for the SKUs in one call; unknown ones are left out.
///
/// # Errors
/// What the catalog answers; `Unavailable` when it is away.
pub(crate) async fn fetch(
    mut catalog: CatalogServiceClient<ServiceChannel>,
    sku_ids: Vec<String>,
) -> Result<BTreeMap<String, Listing>> {
    let answer =
        catalog.batch_get_skus(BatchGetSkusRequest { sku_ids }).await.map_err(mallard_rpc::error)?.into_inner();
    answer.skus.into_iter().map(listing).collect()
}

fn listing(sku: Sku) -> Result<(String, Listing)> {
    let price = Money::try_from(sku.price.unwrap_or_default())?;
    let listing = Listing {
        product_id: sku.product_id,
        seller_id: sku.seller_id,
        title: sku.title,
        options: sku.options,
        price,
        sellable: sku.sellable,
        image_url: sku.image.map(|image| image.url).unwrap_or_default(),
        code: sku.code,
    };
    Ok((sku.sku_id, listing))
}
