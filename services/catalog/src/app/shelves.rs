//! Categories and brands.

use std::collections::BTreeSet;
use std::sync::Arc;

use mallard_types::{Result, page};

use super::{App, audited, require_admin};
use crate::directory::Listing;
use crate::domain::{Brand, Category, check_brand_name, check_category, check_own_id};
use crate::error::Refusal;

impl App {
    /// Returns all categories and brands.
    ///
    /// # Errors
    /// The database's.
    pub async fn listing(&self) -> Result<Arc<Listing>> {
        self.directory.listing().await
    }

    /// Makes a category. The same id again returns the one that is there.
    ///
    /// # Errors
    /// `admin_required`, `slug_taken`, or a malformed request.
    pub async fn create_category(&self, mut category: Category) -> Result<Category> {
        require_admin()?;
        let listing = self.directory.refreshed().await?;
        if category.id.is_empty() {
            category.id = self.ctx.id("cat");
        } else if let Some(existing) = listing.tree.get(&category.id) {
            return Ok(existing.clone());
        }
        check_own_id("cat", &category.id)?;
        let category = check_category(&listing.tree, category)?;
        let audit = self.ctx.audit();
        let record = |unit| audit.add_to(unit, "category.create", &category.id, || audited::category(&category));
        if self.store.insert_category(&category, self.ctx.now(), record).await? {
            self.directory.refreshed().await?;
            return Ok(category);
        }
        // Somebody was faster: with this id, or with this slug.
        match self.directory.refreshed().await?.tree.get(&category.id) {
            Some(existing) => Ok(existing.clone()),
            None => Err(Refusal::SlugTaken.into()),
        }
    }

    /// Makes a brand. The same id again returns the one that is there.
    ///
    /// # Errors
    /// `admin_required`, `brand_taken`, or a malformed request.
    pub async fn create_brand(&self, mut brand: Brand) -> Result<Brand> {
        require_admin()?;
        check_brand_name(&brand.name)?;
        if brand.id.is_empty() {
            brand.id = self.ctx.id("brand");
        }
        check_own_id("brand", &brand.id)?;
        let audit = self.ctx.audit();
        let record = |unit| audit.add_to(unit, "brand.create", &brand.id, || audited::brand(&brand));
        if self.store.insert_brand(&brand, self.ctx.now(), record).await? {
            self.directory.refreshed().await?;
            return Ok(brand);
        }
        match self.directory.refreshed().await?.brand(&brand.id) {
            Some(existing) => Ok(existing.clone()),
            None => Err(Refusal::BrandTaken.into()),
        }
    }

    /// Returns a page of brands in order of id.
    ///
    /// # Errors
    /// `admin_required`, `limit_out_of_range`, `bad_cursor`.
    pub async fn brands(&self, limit: i32, cursor: &str) -> Result<(Vec<Brand>, String)> {
        require_admin()?;
        let limit = page::limit(limit)?;
        let after = match cursor {
            "" => String::new(),
            cursor => page::decode_cursor(cursor, 1)?.swap_remove(0),
        };
        let listing = self.directory.listing().await?;
        let start = listing.brands.partition_point(|brand| brand.id <= after);
        let rest = &listing.brands[start..];
        let brands = rest[..limit.min(rest.len())].to_vec();
        let next_cursor = match brands.last() {
            Some(last) if rest.len() > limit => page::encode_cursor(&[&last.id]),
            _ => String::new(),
        };
        Ok((brands, next_cursor))
    }

    /// Finds a category by id or slug; looks again when the copy in memory does not have it.
    pub(super) async fn category_id(&self, id_or_slug: &str) -> Result<Option<String>> {
        let listing = self.directory.listing().await?;
        Ok(listing.tree.find(id_or_slug).map(|category| category.id.clone()))
    }

    /// Finds a brand by id or name.
    pub(super) async fn brand_id(&self, id_or_name: &str) -> Result<Option<String>> {
        let listing = self.directory.listing().await?;
        Ok(listing.find_brand(id_or_name).map(|brand| brand.id.clone()))
    }

    /// Returns the brand with this id.
    ///
    /// # Errors
    /// `brand_unknown`.
    pub(super) async fn brand(&self, id: &str) -> Result<Brand> {
        if let Some(brand) = self.directory.listing().await?.brand(id) {
            return Ok(brand.clone());
        }
        match self.directory.refreshed().await?.brand(id) {
            Some(brand) => Ok(brand.clone()),
            None => Err(Refusal::bad("brand_unknown", "brand_id", "there is no such brand").into()),
        }
    }

    /// Returns these categories and all above them.
    ///
    /// # Errors
    /// `category_unknown`, naming the one at fault.
    pub(super) async fn category_lines(&self, ids: &[String]) -> Result<BTreeSet<String>> {
        let mut listing = self.directory.listing().await?;
        if ids.iter().any(|id| listing.tree.get(id).is_none()) {
            listing = self.directory.refreshed().await?;
        }
        let mut lines = BTreeSet::new();
        for (i, id) in ids.iter().enumerate() {
            let line = listing.tree.line_of(id);
            if line.is_empty() {
                return Err(Refusal::bad(
                    "category_unknown",
                    format!("category_ids[{i}]"),
                    "there is no such category",
                )
                .into());
            }
            lines.extend(line.into_iter().map(str::to_owned));
        }
        Ok(lines)
    }
}
