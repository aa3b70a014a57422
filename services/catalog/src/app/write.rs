//! Create, change, list, delist, delete. One unit of work each, with the event in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use mallard_db::Unit;
use mallard_proto::events::PRODUCT_CHANGED_V1;
use mallard_types::Result;
use tracing::{debug, warn};

use super::{App, Scope, audited, images};
use crate::domain::{self, Change, Draft, Product, Status};
use crate::error::Refusal;
use crate::events;
use crate::flows::{FirstStock, Receiving};
use crate::shelf::Tide;
use crate::store::{Created, Replaced, Store};

/// How often a change without `If-Match` is tried again when somebody else changes the product.
const ATTEMPTS_MAX: usize = 5;
/// Largest event of a product, in bytes: below what the bus takes, because every change has to be published whole.
const PRODUCT_BYTES_MAX: usize = 240 * 1024;

/// A product to be made.
#[derive(Clone, Debug)]
pub struct Creating {
    /// Id an import chose; empty makes one.
    pub id: String,
    /// Idempotency key with its scope; empty when there is none.
    pub key: String,
    /// Hash of the whole request: the same key with another is refused.
    pub request_hash: Vec<u8>,
    /// Brand id, empty for none.
    pub brand_id: String,
    /// Everything else; brand and seller are filled in here.
    pub draft: Draft,
}

/// A product to be changed.
#[derive(Clone, Debug)]
pub struct Changing {
    /// Product.
    pub id: String,
    /// Version the caller saw, when it sent one.
    pub if_version: Option<i64>,
    /// Brand id: `None` leaves it, empty takes it away.
    pub brand_id: Option<String>,
    /// Everything else; the brand is filled in here.
    pub change: Change,
}

impl App {
    /// Makes a product and the first stock of its variants. The same id or idempotency key again returns the product that is
    /// there.
    ///
    /// # Errors
    /// `seller_required`, `sku_taken`, `category_unknown`, `brand_unknown`, `idempotency_conflict`, or a malformed request.
    pub async fn create(&self, creating: Creating) -> Result<Arc<Product>> {
        let scope = Scope::of_caller()?;
        let Creating { id, key, request_hash, brand_id, mut draft } = creating;
        draft.seller_id = self.seller_of(&scope, draft.seller_id);
        if !brand_id.is_empty() {
            draft.brand = Some(self.brand(&brand_id).await?);
        }
        let categories = self.category_lines(&draft.category_ids).await?;
        self.measure(&mut draft.images).await?;
        let id = if id.is_empty() { self.ctx.id("prod") } else { id };
        domain::check_own_id("prod", &id)?;
        let tide = self.shelf.tide();
        let now = self.ctx.now();
        let (product, first) = Product::create(id, draft, scope.rules(), now, &mut || self.ctx.id("sku"))?;
        let unit = Store::creation(&product, &borrowed(&categories), (&key, &request_hash), now)?;
        let unit = self.ctx.audit().add_to(unit, "product.create", &product.id, || audited::product(None, &product))?;
        let (unit, flow) = self.with_effects(unit, &product, first)?;
        match self.store.create(unit).await? {
            Created::Done => Ok(self.committed(product, tide, flow).await),
            Created::IdTaken => self.existing(&product.id, &scope).await,
            Created::KeyTaken => match self.store.created_with(&key).await? {
                Some((_, Some(hash))) if hash != request_hash => Err(Refusal::KeyUsed.into()),
                Some((id, _)) => self.existing(&id, &scope).await,
                None => Err(Refusal::Contended.into()),
            },
            Created::SkuTaken => Err(Refusal::SkuTaken.into()),
            Created::ImageGone => Err(images::gone()),
        }
    }

    /// Changes a product.
    ///
    /// # Errors
    /// `product_not_found`, `version_mismatch`, `sku_taken`, or a malformed request.
    pub async fn change(&self, changing: Changing) -> Result<Arc<Product>> {
        let scope = Scope::of_caller()?;
        let Changing { id, if_version, brand_id, mut change } = changing;
        change.brand = match brand_id {
            None => None,
            Some(id) if id.is_empty() => Some(None),
            Some(id) => Some(Some(self.brand(&id).await?)),
        };
        let categories = self.category_lines(&change.category_ids).await?;
        self.measure(&mut change.images).await?;
        let categories = borrowed(&categories);
        let rules = scope.rules();
        self.rewrite(("product.update", &id), &scope, if_version, &categories, |before| {
            let next = before.change(change.clone(), rules, self.ctx.now(), &mut || self.ctx.id("sku"))?;
            Ok(Some(next))
        })
        .await
    }

    /// Puts a product into the shop, or takes it out; done already is success.
    ///
    /// # Errors
    /// `product_not_found`, `version_mismatch`.
    pub async fn set_status(&self, id: &str, status: Status, if_version: Option<i64>) -> Result<Arc<Product>> {
        let scope = Scope::of_caller()?;
        let action = match status {
            Status::Deleted => "product.delete",
            Status::Listed => "product.list",
            Status::Draft | Status::Delisted => "product.delist",
        };
        self.rewrite((action, id), &scope, if_version, &BTreeSet::new(), |before| {
            Ok(before.with_status(status, self.ctx.now())?.map(|next| (next, Vec::new())))
        })
        .await
    }

    /// Reads, decides, and writes when nobody else wrote meanwhile; `decide` answers `None` when there is nothing to do.
    async fn rewrite(
        &self,
        (action, id): (&str, &str),
        scope: &Scope,
        if_version: Option<i64>,
        categories: &BTreeSet<&str>,
        decide: impl Fn(&Product) -> Result<Option<(Product, Vec<domain::FirstStock>)>, Refusal>,
    ) -> Result<Arc<Product>> {
        let audit = self.ctx.audit();
        for _ in 0..ATTEMPTS_MAX {
            let tide = self.shelf.tide();
            let Some(before) = self.store.products(&[id]).await?.pop().map(|stocked| stocked.product) else {
                return Err(Refusal::ProductNotFound.into());
            };
            if !scope.covers(&before.seller_id) {
                return Err(Refusal::ProductNotFound.into());
            }
            if let Some(expected) = if_version
                && expected != before.version
            {
                return Err(Refusal::VersionMismatch { current: before.version }.into());
            }
            let Some((next, first)) = decide(&before)? else { return Ok(Arc::new(before)) };
            let unit = Store::replacement(&before, &next, categories)?;
            let unit = audit.add_to(unit, action, id, || audited::product(Some(&before), &next))?;
            let (unit, flow) = self.with_effects(unit, &next, first)?;
            match self.store.replace(unit).await {
                Ok(Replaced::Done) => return Ok(self.committed(next, tide, flow).await),
                Ok(Replaced::Moved) => debug!(product_id = id, "somebody else changed the product, trying again"),
                Ok(Replaced::ImageGone) => return Err(images::gone()),
                Err(error) if error.is_unique("product_skus_pkey") => return Err(Refusal::SkuTaken.into()),
                Err(error) => return Err(error.into()),
            }
        }
        Err(Refusal::Contended.into())
    }

    /// Adds to a unit of work what has to happen with it: the event, and the flow that makes first stock.
    fn with_effects(
        &self,
        mut unit: Unit,
        product: &Product,
        first: Vec<domain::FirstStock>,
    ) -> Result<(Unit, Option<(String, Receiving)>)> {
        let outbox = self.ctx.outbox();
        let event = events::product_changed(self.ctx.id("evt"), product, product.updated_at);
        if event.payload.len() > PRODUCT_BYTES_MAX {
            return Err(Refusal::bad(
                "product_too_large",
                "description",
                "all texts of a product have at most 240 KiB together",
            )
            .into());
        }
        if outbox.is_wanted(PRODUCT_CHANGED_V1) {
            unit = outbox.add_to(unit, event)?;
        }
        if first.is_empty() {
            return Ok((unit, None));
        }
        let lines = first.into_iter().map(|first| (first.sku_id, first.quantity)).collect();
        let receiving = Receiving { lines, product_id: product.id.clone() };
        let key = format!("{}:{}", product.id, product.version);
        unit = self.ctx.flows().add_start_inline::<FirstStock>(unit, &key, &receiving)?;
        Ok((unit, Some((key, receiving))))
    }

    /// Puts a committed product on the shelf and makes first stock now. When that fails the flow goes on by itself.
    async fn committed(&self, product: Product, tide: Tide, flow: Option<(String, Receiving)>) -> Arc<Product> {
        let product = self.shelf.put(product, tide);
        if let Some((key, receiving)) = flow {
            let driven = self.ctx.flows().drive_from::<FirstStock>(&key, mallard_flow::FIRST_VERSION, receiving).await;
            if let Err(error) = driven {
                warn!(product_id = product.id, %error, "first stock is not made yet, will try again");
            }
        }
        product
    }

    async fn existing(&self, id: &str, scope: &Scope) -> Result<Arc<Product>> {
        match self.any_product(id).await? {
            Some(product) if scope.covers(&product.seller_id) => Ok(product),
            _ => Err(Refusal::ProductNotFound.into()),
        }
    }

    pub(super) fn seller_of(&self, scope: &Scope, sent: String) -> String {
        let own = match scope {
            Scope::Seller(own) => return own.clone(),
            Scope::All(_) => mallard_rpc::with_current(|call| call.caller.seller_id.clone()),
        };
        [sent, own, self.config.house_seller.clone()].into_iter().find(|id| !id.is_empty()).unwrap_or_default()
    }
}

fn borrowed(ids: &BTreeSet<String>) -> BTreeSet<&str> {
    ids.iter().map(String::as_str).collect()
}
