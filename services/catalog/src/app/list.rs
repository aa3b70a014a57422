//! Lists: for shoppers what is listed, for sellers their own, for operators everything.

use std::sync::Arc;

use mallard_types::{Result, page};

use super::{App, Facets, Scope};
use crate::domain::{Filter, Order, Product, Status};
use crate::error::Refusal;
use crate::store::{Key, ListPage};

/// Stands for a category or brand that nobody knows: no row has this id.
const NOBODY: &str = "-";

/// What a shopper asks for; empty means no matter.
#[derive(Clone, Debug, Default)]
pub struct ShopQuery {
    /// Part of a title or description.
    pub q: String,
    /// Category id or slug.
    pub category: String,
    /// Brand id or name.
    pub brand: String,
    /// Seller id.
    pub seller: String,
    /// Minor units.
    pub price_gte: Option<i64>,
    /// Minor units.
    pub price_lte: Option<i64>,
    /// Whether any variant can be bought.
    pub in_stock: Option<bool>,
    /// Name of the order.
    pub order: String,
    /// Products in a page.
    pub limit: i32,
    /// Where the page begins.
    pub cursor: String,
    /// Whether to count all pages.
    pub count: bool,
    /// Whether to count what the found products have in common.
    pub facets: bool,
}

/// What a seller or operator asks for; empty means no matter.
#[derive(Clone, Debug, Default)]
pub struct AdminQuery {
    /// `draft`, `listed` or `delisted`.
    pub status: String,
    /// Seller id.
    pub seller: String,
    /// Part of a title or description.
    pub q: String,
    /// Products in a page.
    pub limit: i32,
    /// Where the page begins.
    pub cursor: String,
    /// Whether to count all pages.
    pub count: bool,
}

/// A page of products.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Products in order.
    pub products: Vec<Arc<Product>>,
    /// Cursor of the next page, empty on the last.
    pub next_cursor: String,
    /// Products in all pages, when asked.
    pub count: Option<i64>,
    /// What the products of all pages have in common, when asked.
    pub facets: Option<Arc<Facets>>,
}

impl App {
    /// Returns a page of listed products. A category or brand nobody knows has none.
    ///
    /// # Errors
    /// `bad_order`, `bad_q`, `limit_out_of_range`, `bad_cursor`.
    pub async fn shop_list(&self, query: ShopQuery) -> Result<Page> {
        let limit = page::limit(query.limit)?;
        let order = Order::parse(&query.order)?;
        let after = cursor_key(&query.cursor, order)?;
        let mut filter = Filter {
            statuses: vec![Status::Listed],
            seller_id: (!query.seller.is_empty()).then_some(query.seller),
            price_gte: query.price_gte,
            price_lte: query.price_lte,
            in_stock: query.in_stock,
            order,
            ..Filter::default()
        }
        .with_q(&query.q)?;
        let mut known = true;
        if !query.category.is_empty() {
            let id = self.category_id(&query.category).await?;
            known &= id.is_some();
            filter.category_id = Some(id.unwrap_or_else(|| NOBODY.to_owned()));
        }
        if !query.brand.is_empty() {
            let id = self.brand_id(&query.brand).await?;
            known &= id.is_some();
            filter.brand_id = Some(id.unwrap_or_else(|| NOBODY.to_owned()));
        }
        let facets = match query.facets {
            true => Some(self.facets(&filter).await?),
            false => None,
        };
        if !known {
            return Ok(Page { count: query.count.then_some(0), facets, ..Page::default() });
        }
        let list = self.list(filter, after, limit, query.count).await?;
        let page = self.page(&list, order, |product| product.status == Status::Listed).await?;
        Ok(Page { facets, ..page })
    }

    /// Returns a page of products in any state but deleted, newest first.
    ///
    /// # Errors
    /// `bad_status`, `bad_q`, `limit_out_of_range`, `bad_cursor`, `seller_required`.
    pub async fn own_list(&self, query: AdminQuery) -> Result<Page> {
        let scope = Scope::of_caller()?;
        let limit = page::limit(query.limit)?;
        let order = Order::Newest;
        let after = cursor_key(&query.cursor, order)?;
        let statuses = match query.status.as_str() {
            "" => Vec::new(),
            name => match Status::parse(name) {
                None | Some(Status::Deleted) => {
                    return Err(Refusal::bad("bad_status", "status", "status must be draft, listed or delisted").into());
                }
                Some(status) => vec![status],
            },
        };
        let seller_id = match &scope {
            Scope::Seller(own) if !query.seller.is_empty() && query.seller != *own => {
                return Ok(Page { count: query.count.then_some(0), ..Page::default() });
            }
            Scope::Seller(own) => Some(own.clone()),
            Scope::All(_) => (!query.seller.is_empty()).then_some(query.seller),
        };
        let filter = Filter { statuses, seller_id, order, ..Filter::default() }.with_q(&query.q)?;
        let list = self.list(filter, after, limit, query.count).await?;
        self.page(&list, order, |product| product.status != Status::Deleted).await
    }

    /// Reads the ids of a page, from memory when nothing has changed since.
    async fn list(&self, filter: Filter, after: Option<Key>, limit: usize, count: bool) -> Result<Arc<ListPage>> {
        let mut tide = self.shelf.tide();
        if filter.in_stock.is_none() {
            tide.stock = 0;
        }
        let key = format!("{tide:?} {filter:?} {after:?} {limit} {count}");
        self.pages
            .get_or_load(
                key,
                || async move { Ok(Arc::new(self.store.list(&filter, after.as_ref(), limit, count).await?)) },
            )
            .await
    }

    /// Turns ids into products; one that has changed since and no longer belongs here is left out.
    async fn page(&self, list: &ListPage, order: Order, belongs: impl Fn(&Product) -> bool) -> Result<Page> {
        let found = self.shelf.products(list.ids.iter().map(String::as_str)).await?;
        let products =
            list.ids.iter().filter_map(|id| found.get(id)).filter(|product| belongs(product)).cloned().collect();
        let next_cursor = match &list.next {
            Some(key) => page::encode_cursor(&[order.as_str(), &key.value, &key.id]),
            None => String::new(),
        };
        Ok(Page { products, next_cursor, count: list.count, facets: None })
    }
}

/// Reads a cursor; one of a list in another order is refused.
fn cursor_key(cursor: &str, order: Order) -> Result<Option<Key>> {
    if cursor.is_empty() {
        return Ok(None);
    }
    let parts = page::decode_cursor(cursor, 3)?;
    let number_needed = order != Order::Title;
    if parts[0] != order.as_str() || (number_needed && parts[1].parse::<i64>().is_err()) {
        return Err(Refusal::bad(
            "bad_cursor",
            "cursor",
            "the cursor is not one this list gave; leave it out to start anew",
        )
        .into());
    }
    Ok(Some(Key { value: parts[1].clone(), id: parts[2].clone() }))
}
