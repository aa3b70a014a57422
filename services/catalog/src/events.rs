//! Events in and out: `stock.availability.v1` comes in, `product.changed.v1` goes out.

use std::sync::Arc;

use async_trait::async_trait;
use mallard_bus::{Envelope, Handler};
use mallard_db::Tx;
use mallard_proto::catalog::v1::ProductChanged;
use mallard_proto::events::{PRODUCT_CHANGED_V1, STOCK_AVAILABILITY_V1};
use mallard_proto::inventory::v1::AvailabilityChanged;
use mallard_types::{Micros, Result};

use crate::app::App;
use crate::domain::Product;
use crate::rpc::product_out;
use crate::store::Store;

/// Kinds of events the service wants.
pub const KINDS: &[&str] = &[STOCK_AVAILABILITY_V1];

/// Makes `product.changed.v1`: the whole product.
pub fn product_changed(id: String, product: &Product, at: Micros) -> Envelope {
    Envelope::new(id, PRODUCT_CHANGED_V1, &product.id, at, &ProductChanged { product: Some(product_out(product)) })
}

/// Keeps the stock states of SKUs.
pub struct StockEvents {
    app: Arc<App>,
}

impl StockEvents {
    /// Makes the handler.
    pub fn new(app: Arc<App>) -> StockEvents {
        StockEvents { app }
    }
}

#[async_trait]
impl Handler for StockEvents {
    async fn handle(&self, tx: &Tx, event: &Envelope) -> Result<()> {
        let changed: AvailabilityChanged = event.decode()?;
        Ok(Store::take_availability(tx, &changed.sku_id, changed.in_stock, changed.version).await?)
    }

    async fn after(&self, event: &Envelope) {
        // The key is the SKU.
        self.app.shelf.stock_changed(&event.key);
    }
}
