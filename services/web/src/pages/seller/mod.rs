//! The sellers' console. This file is its table of contents.
//!
//! | file | pages below `/seller` |
//! |---|---|
//! | `overview.rs` | the first page |
//! | `products.rs` | `/products` |
//! | `product.rs`, `product_actions.rs` | `/products/{id}` and what is done to a product |
//! | `create.rs` | `/products/new` |
//! | `variants.rs` | the rows of variants of both |
//! | `pictures.rs` | pictures of a product |
//! | `stock.rs` | `/stock`, `/stock/{sku}` |
//! | `orders.rs` | `/orders`, `/orders/{id}` |

mod create;
mod orders;
mod overview;
mod pictures;
mod product;
mod product_actions;
mod products;
mod stock;
mod text;
mod variants;

use futures_util::future::BoxFuture;
use mallard_rpc::Caller;
use mallard_types::{Error, Result};

use super::decoded;
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::confirm;
use crate::console::shell::Shell;
use text::Words;

/// A page of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Overview,
    Products,
    New,
    Product(String),
    Variants(String),
    PictureAdd(String),
    Pictures(String),
    List(String),
    Delist(String),
    Delete(String),
    Stocks,
    Stock(String),
    Orders,
    Order(String),
    Ship(String),
}

/// Finds the page of a path below the console's.
pub fn find(parts: &[&str]) -> Option<Route> {
    Some(match parts {
        [] => Route::Overview,
        ["products"] => Route::Products,
        ["products", "new"] => Route::New,
        ["products", id] => Route::Product(decoded(id)?),
        ["products", id, "variants"] => Route::Variants(decoded(id)?),
        ["products", id, "pictures"] => Route::Pictures(decoded(id)?),
        ["products", id, "pictures", "add"] => Route::PictureAdd(decoded(id)?),
        ["products", id, "list"] => Route::List(decoded(id)?),
        ["products", id, "delist"] => Route::Delist(decoded(id)?),
        ["products", id, "delete"] => Route::Delete(decoded(id)?),
        ["stock"] => Route::Stocks,
        ["stock", sku] => Route::Stock(decoded(sku)?),
        ["orders"] => Route::Orders,
        ["orders", id] => Route::Order(decoded(id)?),
        ["orders", id, "ship"] => Route::Ship(decoded(id)?),
        _ => return None,
    })
}

impl Route {
    /// Returns the page's name in metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Route::Overview => "seller",
            Route::Products => "seller.products",
            Route::New => "seller.product.new",
            Route::Product(_) => "seller.product",
            Route::Variants(_) => "seller.product.variants",
            Route::PictureAdd(_) => "seller.product.picture",
            Route::Pictures(_) => "seller.product.pictures",
            Route::List(_) => "seller.product.list",
            Route::Delist(_) => "seller.product.delist",
            Route::Delete(_) => "seller.product.delete",
            Route::Stocks => "seller.stocks",
            Route::Stock(_) => "seller.stock",
            Route::Orders => "seller.orders",
            Route::Order(_) => "seller.order",
            Route::Ship(_) => "seller.order.ship",
        }
    }

    /// Tells whether the page takes forms (true) or is read (false).
    pub fn takes(&self, is_form: bool) -> bool {
        match self {
            Route::New | Route::Product(_) | Route::Stock(_) => true,
            _ => self.readable().is_empty() != is_form,
        }
    }

    /// Returns the page to read where a form was sent to; empty for a page that is read itself.
    pub fn readable(&self) -> String {
        match self {
            Route::Variants(id)
            | Route::PictureAdd(id)
            | Route::Pictures(id)
            | Route::List(id)
            | Route::Delist(id)
            | Route::Delete(id) => format!("/seller/products/{id}"),
            Route::Ship(id) => format!("/seller/orders/{id}"),
            _ => String::new(),
        }
    }

    /// Tells whether the page's form brings a file.
    pub fn takes_file(&self) -> bool {
        matches!(self, Route::PictureAdd(_))
    }
}

/// Answers a page.
///
/// # Errors
/// Whatever keeps it from being made.
pub async fn answer(ask: &Ask, route: Route, is_form: bool) -> Result<Answer> {
    confirm::guard(ask, is_form, || shell(ask, ask.t.password, ""), page(ask, route, is_form)).await
}

fn page<'a>(ask: &'a Ask, route: Route, is_form: bool) -> BoxFuture<'a, Result<Answer>> {
    match (route, is_form) {
        (Route::Overview, _) => Box::pin(overview::show(ask)),
        (Route::Products, _) => Box::pin(products::show(ask)),
        (Route::New, false) => Box::pin(create::show(ask)),
        (Route::New, true) => Box::pin(create::create(ask)),
        (Route::Product(id), false) => Box::pin(async move { product::show(ask, &id).await }),
        (Route::Product(id), true) => Box::pin(async move { product_actions::texts(ask, &id).await }),
        (Route::Variants(id), _) => Box::pin(async move { product_actions::variants(ask, &id).await }),
        (Route::PictureAdd(id), _) => Box::pin(async move { pictures::add(ask, &id).await }),
        (Route::Pictures(id), _) => Box::pin(async move { pictures::change(ask, &id).await }),
        (Route::List(id), _) => Box::pin(async move { product_actions::list(ask, &id).await }),
        (Route::Delist(id), _) => Box::pin(async move { product_actions::delist(ask, &id).await }),
        (Route::Delete(id), _) => Box::pin(async move { product_actions::delete(ask, &id).await }),
        (Route::Stocks, _) => Box::pin(stock::all(ask)),
        (Route::Stock(sku), false) => Box::pin(async move { stock::show(ask, &sku).await }),
        (Route::Stock(sku), true) => Box::pin(async move { stock::adjust(ask, &sku).await }),
        (Route::Orders, _) => Box::pin(orders::show(ask)),
        (Route::Order(id), _) => Box::pin(async move { orders::one(ask, &id).await }),
        (Route::Ship(id), _) => Box::pin(async move { orders::ship(ask, &id).await }),
    }
}

/// Decides whether the visitor may do what a route does, and acts for a seller.
///
/// # Errors
/// As [`crate::console::permit`]; `seller_required`.
async fn permit(ask: &Ask, verb: &'static str, route: &str, params: &[&str]) -> Result<Caller> {
    let caller = crate::console::permit(ask, verb, route, params).await?;
    if caller.seller_id.is_empty() {
        return Err(Error::forbidden("seller_required", "the account does not act for a seller"));
    }
    Ok(caller)
}

/// Makes the frame of a page; `here` is the path of its tab.
fn shell(ask: &Ask, title: impl Into<String>, here: &str) -> Shell {
    let w = Words::of(ask.lang);
    let tabs = [
        ("/seller", w.overview),
        ("/seller/products", w.products),
        ("/seller/stock", w.stock),
        ("/seller/orders", w.orders),
    ];
    Shell::new(ask, title, w.place, &tabs, here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_with_a_picture_is_as_large_as_a_picture() {
        let all = ["products/new", "products/p", "products/p/variants", "products/p/pictures", "orders/o/ship"];
        for path in all {
            let parts: Vec<&str> = path.split('/').collect();
            assert!(!find(&parts).is_some_and(|route| route.takes_file()), "{path}");
        }
        let add = find(&["products", "p", "pictures", "add"]);
        assert!(add.is_some_and(|route| route.takes_file() && route.takes(true) && !route.takes(false)));
        assert!(find(&["v1", "products"]).is_none());
    }
}
