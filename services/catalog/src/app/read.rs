//! Get one, get many, get SKUs: from memory when it is warm.

use std::sync::Arc;

use mallard_types::{Error, Result};

use super::{App, Scope};
use crate::domain::{Product, Status};
use crate::error::Refusal;

/// Most products in one read.
const IDS_MAX: usize = 100;
/// Most SKUs in one read.
const SKUS_MAX: usize = 2_000;
/// Longest id that is looked for at all.
const ID_CHARS_MAX: usize = 100;

/// A SKU with the product it belongs to.
pub struct SkuView {
    /// SKU.
    pub sku_id: String,
    /// Its product; the variant is one of its variants.
    pub product: Arc<Product>,
}

impl App {
    /// Returns a listed product.
    ///
    /// # Errors
    /// `product_not_found`.
    pub async fn product(&self, id: &str) -> Result<Arc<Product>> {
        match self.any_product(id).await? {
            Some(product) if product.status == Status::Listed => Ok(product),
            _ => Err(Refusal::ProductNotFound.into()),
        }
    }

    /// Returns a product that is not deleted, for an operator or its seller.
    ///
    /// # Errors
    /// `product_not_found`, `seller_required`.
    pub async fn own_product(&self, id: &str) -> Result<Arc<Product>> {
        let scope = Scope::of_caller()?;
        match self.any_product(id).await? {
            Some(product) if product.status != Status::Deleted && scope.covers(&product.seller_id) => Ok(product),
            _ => Err(Refusal::ProductNotFound.into()),
        }
    }

    pub(super) async fn any_product(&self, id: &str) -> Result<Option<Arc<Product>>> {
        if id.is_empty() || id.len() > ID_CHARS_MAX {
            return Ok(None);
        }
        self.shelf.product(id).await
    }

    /// Returns the listed products among these ids in their order, each once, and the ids without one.
    ///
    /// # Errors
    /// `too_many_ids` over 100.
    pub async fn batch_get(&self, ids: Vec<String>) -> Result<(Vec<Arc<Product>>, Vec<String>)> {
        let ids = distinct(ids, IDS_MAX, "ids")?;
        let found = self.shelf.products(ids.iter().map(String::as_str).filter(|id| is_possible(id))).await?;
        let mut products = Vec::with_capacity(ids.len());
        let mut missing = Vec::new();
        for id in ids {
            match found.get(&id) {
                Some(product) if product.status == Status::Listed => products.push(product.clone()),
                _ => missing.push(id),
            }
        }
        Ok((products, missing))
    }

    /// Returns what these SKUs are, each once, and those nobody knows. Products that are not for sale are included.
    ///
    /// # Errors
    /// `too_many_ids` over 2,000.
    pub async fn skus(&self, sku_ids: Vec<String>) -> Result<(Vec<SkuView>, Vec<String>)> {
        let sku_ids = distinct(sku_ids, SKUS_MAX, "sku_ids")?;
        let mut found = self.shelf.products_of(sku_ids.iter().map(String::as_str).filter(|id| is_possible(id))).await?;
        let mut views = Vec::with_capacity(sku_ids.len());
        let mut missing = Vec::new();
        for sku_id in sku_ids {
            match found.remove(&sku_id) {
                Some(product) => views.push(SkuView { sku_id, product }),
                None => missing.push(sku_id),
            }
        }
        Ok((views, missing))
    }
}

fn is_possible(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_CHARS_MAX
}

/// Drops repetitions and keeps the order.
fn distinct(mut ids: Vec<String>, max: usize, param: &'static str) -> Result<Vec<String>> {
    if ids.len() > max {
        return Err(Error::invalid("too_many_ids", format!("at most {max} ids in one call")).param(param));
    }
    let mut seen = std::collections::HashSet::with_capacity(ids.len());
    ids.retain(|id| seen.insert(id.clone()));
    Ok(ids)
}
