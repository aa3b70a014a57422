//! First stock: new variants get their stock rows, however often the inventory is away.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use mallard_flow::{At, Flow, Next};
use mallard_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use mallard_proto::inventory::v1::{BatchGetStockRequest, Line, ReceiveStockRequest};
use mallard_rpc::ServiceChannel;
use mallard_types::Result;
use serde::{Deserialize, Serialize};

use crate::app::App;

/// Makes the stock rows of new variants. Started in the transaction that makes the variants, keyed by product and version.
pub struct FirstStock {
    app: Arc<App>,
}

/// What is to be received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiving {
    /// SKU and units on hand at the beginning.
    pub lines: Vec<(String, i64)>,
    /// Product, for the ledger.
    pub product_id: String,
}

impl FirstStock {
    /// Makes the flow.
    pub fn new(app: Arc<App>) -> FirstStock {
        FirstStock { app }
    }
}

#[async_trait]
impl Flow for FirstStock {
    const NAME: &'static str = "catalog.first_stock";
    type State = Receiving;

    async fn step(&self, _at: &At, state: Receiving) -> Result<Next<Receiving>> {
        let mut inventory = self.app.ctx.client::<InventoryServiceClient<ServiceChannel>>();
        let lines =
            state.lines.iter().map(|(sku_id, quantity)| Line { sku_id: sku_id.clone(), quantity: *quantity }).collect();
        let request = ReceiveStockRequest { lines, reason: format!("first stock of {}", state.product_id) };
        let created = inventory.receive_stock(request).await.map_err(mallard_rpc::error)?.into_inner().created;
        if created < state.lines.len() as i64 {
            self.adopt(&mut inventory, &state).await?;
        }
        Ok(Next::Done)
    }
}

impl FirstStock {
    /// Takes over the state of SKUs whose stock rows were there before the product, or before this step ran twice.
    async fn adopt(&self, inventory: &mut InventoryServiceClient<ServiceChannel>, state: &Receiving) -> Result<()> {
        let sku_ids: Vec<String> = state.lines.iter().map(|(sku_id, _)| sku_id.clone()).collect();
        let answer =
            inventory.batch_get_stock(BatchGetStockRequest { sku_ids }).await.map_err(mallard_rpc::error)?.into_inner();
        let in_stock: BTreeSet<&str> =
            answer.stocks.iter().filter(|stock| stock.available > 0).map(|stock| stock.sku_id.as_str()).collect();
        let differing: Vec<(String, bool)> = state
            .lines
            .iter()
            .map(|(sku_id, quantity)| (sku_id, *quantity > 0, in_stock.contains(sku_id.as_str())))
            .filter(|(_, told, found)| told != found)
            .map(|(sku_id, _, found)| (sku_id.clone(), found))
            .collect();
        if differing.is_empty() {
            return Ok(());
        }
        self.app.store.correct_first_state(differing.clone()).await?;
        for (sku_id, _) in &differing {
            self.app.shelf.stock_changed(sku_id);
        }
        Ok(())
    }
}
