//! The pages. This file is their table of contents.
//!
//! | file | pages |
//! |---|---|
//! | `home.rs` | `/` |
//! | `list.rs` | `/c/{slug}`, `/search` |
//! | `product.rs` | `/p/{id}` |
//! | `cart.rs` | `/cart` and what changes it |
//! | `sign.rs` | `/sign-in`, `/sign-up`, `/sign-out` |
//! | `checkout/` | `/checkout`, `/checkout/result/{order}` |
//! | `orders.rs`, `order.rs`, `returns.rs` | `/orders`, `/orders/{id}` and what is done to an order |
//! | `account.rs`, `addresses.rs` | `/account`, `/account/addresses`; the form itself is `address_form.rs` |
//! | `security.rs` | `/account/password`, `/account/delete` |
//! | `seller/`, `operator/` | `/seller`, `/operator`: the consoles |
//! | `problem.rs` | what went wrong, in words |

mod account;
mod address_form;
mod addresses;
mod cart;
mod checkout;
mod home;
mod list;
pub mod operator;
mod order;
mod orders;
pub mod problem;
mod product;
mod returns;
mod security;
pub mod seller;
mod sign;

use std::future::ready;

use futures_util::future::BoxFuture;
use http::StatusCode;
use mallard_rpc::Surface;
use mallard_types::Result;

use crate::answer::Answer;
use crate::ask::Ask;
use crate::visits::Visit;

/// A page, with what its path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Home,
    Category(String),
    Search,
    Product(String),
    Cart,
    CartAdd,
    CartSet,
    CartRemove,
    CartClear,
    SignIn,
    SignUp,
    SignOut,
    Checkout,
    Result(String),
    Orders,
    Order(String),
    OrderCancel(String),
    OrderPay(String),
    OrderAddress(String),
    OrderReturn(String),
    Account,
    Password,
    Deletion,
    SessionEnd(String),
    Addresses,
    Address(String),
    AddressDelete(String),
    Favicon,
    Robots,
    Seller(seller::Route),
    Operator(operator::Route),
}

/// Finds the page of a path without its language.
pub fn find(path: &str) -> Option<Route> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    Some(match parts.as_slice() {
        [""] => Route::Home,
        ["c", slug] if !slug.is_empty() => Route::Category(decoded(slug)?),
        ["search"] => Route::Search,
        ["p", id] if !id.is_empty() => Route::Product(decoded(id)?),
        ["cart"] => Route::Cart,
        ["cart", "add"] => Route::CartAdd,
        ["cart", "set"] => Route::CartSet,
        ["cart", "remove"] => Route::CartRemove,
        ["cart", "clear"] => Route::CartClear,
        ["sign-in"] => Route::SignIn,
        ["sign-up"] => Route::SignUp,
        ["sign-out"] => Route::SignOut,
        ["checkout"] => Route::Checkout,
        ["checkout", "result", id] => Route::Result(decoded(id)?),
        ["orders"] => Route::Orders,
        ["orders", id] => Route::Order(decoded(id)?),
        ["orders", id, "cancel"] => Route::OrderCancel(decoded(id)?),
        ["orders", id, "pay"] => Route::OrderPay(decoded(id)?),
        ["orders", id, "address"] => Route::OrderAddress(decoded(id)?),
        ["orders", id, "returns"] => Route::OrderReturn(decoded(id)?),
        ["account"] => Route::Account,
        ["account", "password"] => Route::Password,
        ["account", "delete"] => Route::Deletion,
        ["account", "sessions", id, "end"] => Route::SessionEnd(decoded(id)?),
        ["account", "addresses"] => Route::Addresses,
        ["account", "addresses", id] => Route::Address(decoded(id)?),
        ["account", "addresses", id, "delete"] => Route::AddressDelete(decoded(id)?),
        ["favicon.ico"] => Route::Favicon,
        ["robots.txt"] => Route::Robots,
        ["seller", rest @ ..] => Route::Seller(seller::find(rest)?),
        ["operator", rest @ ..] => Route::Operator(operator::find(rest)?),
        _ => return None,
    })
}

/// Reads a part of a path; nothing for one that is no text or longer than anything we would name.
fn decoded(part: &str) -> Option<String> {
    let text = format!("x={}", part.replace('+', "%2B").replace('&', "%26"));
    let (_, value) = form_urlencoded::parse(text.as_bytes()).next()?;
    (value.len() <= 200 && !value.contains('\u{fffd}') && !value.chars().any(char::is_control))
        .then(|| value.into_owned())
}

impl Route {
    /// Returns the page's name in metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Route::Home => "home",
            Route::Category(_) => "category",
            Route::Search => "search",
            Route::Product(_) => "product",
            Route::Cart => "cart",
            Route::CartAdd => "cart.add",
            Route::CartSet => "cart.set",
            Route::CartRemove => "cart.remove",
            Route::CartClear => "cart.clear",
            Route::SignIn => "sign_in",
            Route::SignUp => "sign_up",
            Route::SignOut => "sign_out",
            Route::Checkout => "checkout",
            Route::Result(_) => "result",
            Route::Orders => "orders",
            Route::Order(_) => "order",
            Route::OrderCancel(_) => "order.cancel",
            Route::OrderPay(_) => "order.pay",
            Route::OrderAddress(_) => "order.address",
            Route::OrderReturn(_) => "order.return",
            Route::Account => "account",
            Route::Password => "account.password",
            Route::Deletion => "account.delete",
            Route::SessionEnd(_) => "account.session",
            Route::Addresses => "addresses",
            Route::Address(_) => "address",
            Route::AddressDelete(_) => "address.delete",
            Route::Favicon => "favicon",
            Route::Robots => "robots",
            Route::Seller(route) => route.name(),
            Route::Operator(route) => route.name(),
        }
    }

    /// Tells whether the page takes forms (true) or is read (false).
    pub fn takes(&self, is_form: bool) -> bool {
        match self {
            Route::SignIn | Route::SignUp | Route::Checkout | Route::Account | Route::Addresses | Route::Address(_) => {
                true
            }
            Route::Password | Route::Deletion => true,
            Route::CartAdd
            | Route::CartSet
            | Route::CartRemove
            | Route::CartClear
            | Route::SignOut
            | Route::OrderCancel(_)
            | Route::OrderPay(_)
            | Route::OrderAddress(_)
            | Route::OrderReturn(_)
            | Route::SessionEnd(_)
            | Route::AddressDelete(_) => is_form,
            Route::Seller(route) => route.takes(is_form),
            Route::Operator(route) => route.takes(is_form),
            _ => !is_form,
        }
    }

    /// Returns the page to read where a form was sent to: after a sign-in a form cannot be sent again.
    pub fn readable(&self) -> String {
        match self {
            Route::CartAdd | Route::CartSet | Route::CartRemove | Route::CartClear => "/cart".into(),
            Route::OrderCancel(id) | Route::OrderPay(id) | Route::OrderAddress(id) | Route::OrderReturn(id) => {
                format!("/orders/{id}")
            }
            Route::SessionEnd(_) => "/account".into(),
            Route::AddressDelete(_) => "/account/addresses".into(),
            Route::Seller(route) => route.readable(),
            Route::Operator(route) => route.readable(),
            _ => String::new(),
        }
    }

    /// Returns what is counted when the page answers with this status.
    pub fn visit(&self, is_form: bool) -> Option<(Visit, StatusCode)> {
        match self {
            Route::Product(_) => Some((Visit::Product, StatusCode::OK)),
            Route::Checkout if !is_form => Some((Visit::Checkout, StatusCode::OK)),
            // Done, and on to a page to read.
            Route::CartAdd => Some((Visit::Cart, StatusCode::SEE_OTHER)),
            _ => None,
        }
    }

    /// Returns the door the page belongs to.
    pub fn surface(&self) -> Surface {
        match self {
            Route::SignIn | Route::SignUp | Route::SignOut => Surface::Auth,
            Route::Seller(_) => Surface::Seller,
            Route::Operator(_) => Surface::Admin,
            _ => Surface::Store,
        }
    }

    /// Tells whether the page's form brings a file.
    pub fn takes_file(&self) -> bool {
        matches!(self, Route::Seller(route) if route.takes_file())
    }
}

/// Answers a page.
///
/// # Errors
/// Whatever keeps it from being made; `problem.rs` says it in words.
pub async fn answer(ask: &Ask, route: Route, is_form: bool) -> Result<Answer> {
    // Boxed one by one: together they would be as large as the largest, on the stack of every call below.
    let page: BoxFuture<'_, Result<Answer>> = match (route, is_form) {
        (Route::Home, _) => Box::pin(home::show(ask)),
        (Route::Category(slug), _) => Box::pin(async move { list::category(ask, &slug).await }),
        (Route::Search, _) => Box::pin(list::search(ask)),
        (Route::Product(id), _) => Box::pin(async move { product::show(ask, &id).await }),
        (Route::Cart, _) => Box::pin(cart::show(ask)),
        (Route::CartAdd, _) => Box::pin(cart::add(ask)),
        (Route::CartSet, _) => Box::pin(cart::set(ask)),
        (Route::CartRemove, _) => Box::pin(cart::remove(ask)),
        (Route::CartClear, _) => Box::pin(cart::clear(ask)),
        (Route::SignIn, false) => Box::pin(sign::show_in(ask)),
        (Route::SignIn, true) => Box::pin(sign::sign_in(ask)),
        (Route::SignUp, false) => Box::pin(sign::show_up(ask)),
        (Route::SignUp, true) => Box::pin(sign::sign_up(ask)),
        (Route::SignOut, _) => Box::pin(sign::sign_out(ask)),
        (Route::Checkout, false) => Box::pin(checkout::show(ask)),
        (Route::Checkout, true) => Box::pin(checkout::place(ask)),
        (Route::Result(id), _) => Box::pin(async move { checkout::result(ask, &id).await }),
        (Route::Orders, _) => Box::pin(orders::show(ask)),
        (Route::Order(id), _) => Box::pin(async move { order::show(ask, &id).await }),
        (Route::OrderCancel(id), _) => Box::pin(async move { order::cancel(ask, &id).await }),
        (Route::OrderPay(id), _) => Box::pin(async move { order::pay(ask, &id).await }),
        (Route::OrderAddress(id), _) => Box::pin(async move { order::address(ask, &id).await }),
        (Route::OrderReturn(id), _) => Box::pin(async move { returns::create(ask, &id).await }),
        (Route::Password, false) => Box::pin(security::show_password(ask)),
        (Route::Password, true) => Box::pin(security::change_password(ask)),
        (Route::Deletion, false) => Box::pin(security::show_deletion(ask)),
        (Route::Deletion, true) => Box::pin(security::delete_account(ask)),
        (Route::Account, false) => Box::pin(account::show(ask)),
        (Route::Account, true) => Box::pin(account::change(ask)),
        (Route::SessionEnd(id), _) => Box::pin(async move { account::end_session(ask, &id).await }),
        (Route::Addresses, false) => Box::pin(addresses::show(ask)),
        (Route::Addresses, true) => Box::pin(addresses::create(ask)),
        (Route::Address(id), false) => Box::pin(async move { addresses::edit(ask, &id).await }),
        (Route::Address(id), true) => Box::pin(async move { addresses::change(ask, &id).await }),
        (Route::AddressDelete(id), _) => Box::pin(async move { addresses::delete(ask, &id).await }),
        (Route::Favicon, _) => Box::pin(ready(Ok(favicon()))),
        (Route::Robots, _) => Box::pin(ready(problem::robots())),
        (Route::Seller(route), is_form) => Box::pin(seller::answer(ask, route, is_form)),
        (Route::Operator(route), is_form) => Box::pin(operator::answer(ask, route, is_form)),
    };
    page.await
}

fn favicon() -> Answer {
    Answer::to(crate::assets::ASSETS.mark.url.clone()).cookie(crate::answer::CookieChange::Unneeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_and_nothing_else() {
        assert_eq!(find("/"), Some(Route::Home));
        assert_eq!(find("/c/shoes"), Some(Route::Category("shoes".into())));
        assert_eq!(find("/c/%E9%9E%8B"), Some(Route::Category("鞋".into())));
        assert_eq!(find("/p/prod_1&x"), Some(Route::Product("prod_1&x".into())));
        assert_eq!(find("/checkout/result/ord_1"), Some(Route::Result("ord_1".into())));
        for missing in ["/c", "/c/", "/p/", "/nothing", "/cart/", "/c/%ff", "/p/%00", "/orders/a/b", "//cart/x"] {
            assert_eq!(find(missing), None, "{missing}");
        }
    }
}
