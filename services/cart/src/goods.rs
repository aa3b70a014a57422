//! What the neighbours say: the catalog of SKUs, the inventory of units left. In the domain's words.

use std::collections::BTreeMap;

use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_proto::catalog::v1::{BatchGetSkusRequest, Sku};
use mallard_proto::inventory::v1::BatchGetStockRequest;
use mallard_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use mallard_rpc::ServiceChannel;
use mallard_runtime::Context;
use mallard_types::{Money, Result};

use crate::domain::Goods;

/// The services a cart asks.
pub(crate) struct Neighbours {
    catalog: CatalogServiceClient<ServiceChannel>,
    inventory: InventoryServiceClient<ServiceChannel>,
}

impl Neighbours {
    pub(crate) fn new(ctx: &Context) -> Neighbours {
        Neighbours { catalog: ctx.client(), inventory: ctx.client() }
    }

    /// Asks the catalog for SKUs in one call; unknown ones are left out. Nothing is asked about nothing.
    ///
    /// # Errors
    /// `Unavailable` when the catalog is away.
    pub(crate) async fn goods(&self, sku_ids: Vec<String>) -> Result<BTreeMap<String, Goods>> {
        if sku_ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let answer =
            self.catalog.clone().batch_get_skus(BatchGetSkusRequest { sku_ids }).await.map_err(mallard_rpc::error)?;
        answer.into_inner().skus.into_iter().map(|sku| goods(sku).map(|goods| (goods.sku_id.clone(), goods))).collect()
    }

    /// Asks the inventory for the units left of SKUs in one call.
    ///
    /// # Errors
    /// `Unavailable` when the inventory is away.
    pub(crate) async fn units_left(&self, sku_ids: Vec<String>) -> Result<BTreeMap<String, i64>> {
        if sku_ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let answer = self
            .inventory
            .clone()
            .batch_get_stock(BatchGetStockRequest { sku_ids })
            .await
            .map_err(mallard_rpc::error)?;
        Ok(answer.into_inner().stocks.into_iter().map(|stock| (stock.sku_id, stock.available)).collect())
    }
}

fn goods(sku: Sku) -> Result<Goods> {
    Ok(Goods {
        price: Money::try_from(sku.price.unwrap_or_default())?,
        sku_id: sku.sku_id,
        product_id: sku.product_id,
        title: sku.title,
        options: sku.options,
        sellable: sku.sellable,
    })
}
