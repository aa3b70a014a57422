//! The operators' console. This file is its table of contents.
//!
//! | file | pages below `/operator` |
//! |---|---|
//! | `dashboard.rs` | the first page, `/live`, `/stock-alerts` |
//! | `orders.rs`, `order.rs`, `order_actions.rs` | `/orders`, `/orders/{id}` and what is done to an order |
//! | `returns.rs` | `/returns` |
//! | `payments.rs` | `/payments` |
//! | `users.rs`, `user.rs` | `/users`, `/users/{id}` and what is done to an account |
//! | `policies.rs`, `roles.rs`, `gates.rs` | `/policies`, `/roles`, `/allow-list`, `/keys` |
//! | `audit.rs` | `/audit` |
//! | `system/` | `/system/…` |

mod audit;
mod dashboard;
mod gates;
mod order;
mod order_actions;
mod orders;
mod payments;
mod policies;
mod returns;
mod roles;
mod system;
mod text;
mod user;
mod users;

use futures_util::future::BoxFuture;
use mallard_types::Result;

pub use system::Examination;

use super::decoded;
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::confirm;
use crate::console::shell::Shell;
use crate::console::text::Words as Common;
use text::Words;

/// A page of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Dashboard,
    Live,
    StockAlerts,
    Orders,
    Order(String),
    OrderShip(String),
    OrderDeliver(String),
    OrderCancel(String),
    OrderRefund(String),
    Returns,
    ReturnApprove(String),
    ReturnRefuse(String),
    Payments,
    Users,
    User(String),
    UserRoles(String),
    UserBan(String),
    UserUnban(String),
    UserKick(String),
    SessionEnd(String, String),
    Policies,
    PolicyDelete(String),
    Roles,
    RoleDelete(String),
    AllowList,
    Keys,
    Audit,
    System(system::Route),
}

/// Finds the page of a path below the console's.
pub fn find(parts: &[&str]) -> Option<Route> {
    Some(match parts {
        [] => Route::Dashboard,
        ["live"] => Route::Live,
        ["stock-alerts"] => Route::StockAlerts,
        ["orders"] => Route::Orders,
        ["orders", id] => Route::Order(decoded(id)?),
        ["orders", id, "ship"] => Route::OrderShip(decoded(id)?),
        ["orders", id, "deliver"] => Route::OrderDeliver(decoded(id)?),
        ["orders", id, "cancel"] => Route::OrderCancel(decoded(id)?),
        ["orders", id, "refund"] => Route::OrderRefund(decoded(id)?),
        ["returns"] => Route::Returns,
        ["returns", id, "approve"] => Route::ReturnApprove(decoded(id)?),
        ["returns", id, "refuse"] => Route::ReturnRefuse(decoded(id)?),
        ["payments"] => Route::Payments,
        ["users"] => Route::Users,
        ["users", id] => Route::User(decoded(id)?),
        ["users", id, "roles"] => Route::UserRoles(decoded(id)?),
        ["users", id, "ban"] => Route::UserBan(decoded(id)?),
        ["users", id, "unban"] => Route::UserUnban(decoded(id)?),
        ["users", id, "kick"] => Route::UserKick(decoded(id)?),
        ["users", id, "sessions", session, "end"] => Route::SessionEnd(decoded(id)?, decoded(session)?),
        ["policies"] => Route::Policies,
        ["policies", id, "delete"] => Route::PolicyDelete(decoded(id)?),
        ["roles"] => Route::Roles,
        ["roles", name, "delete"] => Route::RoleDelete(decoded(name)?),
        ["allow-list"] => Route::AllowList,
        ["keys"] => Route::Keys,
        ["audit"] => Route::Audit,
        ["system", rest @ ..] => Route::System(system::find(rest)?),
        _ => return None,
    })
}

impl Route {
    /// Returns the page's name in metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Route::Dashboard => "operator",
            Route::Live => "operator.live",
            Route::StockAlerts => "operator.stock_alerts",
            Route::Orders => "operator.orders",
            Route::Order(_) => "operator.order",
            Route::OrderShip(_) => "operator.order.ship",
            Route::OrderDeliver(_) => "operator.order.deliver",
            Route::OrderCancel(_) => "operator.order.cancel",
            Route::OrderRefund(_) => "operator.order.refund",
            Route::Returns => "operator.returns",
            Route::ReturnApprove(_) => "operator.return.approve",
            Route::ReturnRefuse(_) => "operator.return.refuse",
            Route::Payments => "operator.payments",
            Route::Users => "operator.users",
            Route::User(_) => "operator.user",
            Route::UserRoles(_) => "operator.user.roles",
            Route::UserBan(_) => "operator.user.ban",
            Route::UserUnban(_) => "operator.user.unban",
            Route::UserKick(_) => "operator.user.kick",
            Route::SessionEnd(..) => "operator.user.session",
            Route::Policies => "operator.policies",
            Route::PolicyDelete(_) => "operator.policy.delete",
            Route::Roles => "operator.roles",
            Route::RoleDelete(_) => "operator.role.delete",
            Route::AllowList => "operator.allow_list",
            Route::Keys => "operator.keys",
            Route::Audit => "operator.audit",
            Route::System(route) => route.name(),
        }
    }

    /// Tells whether the page takes forms (true) or is read (false).
    pub fn takes(&self, is_form: bool) -> bool {
        match self {
            Route::Policies | Route::Roles | Route::AllowList | Route::Keys => true,
            Route::System(route) => route.takes(is_form),
            _ => self.readable().is_empty() != is_form,
        }
    }

    /// Returns the page to read where a form was sent to; empty for a page that is read itself.
    pub fn readable(&self) -> String {
        match self {
            Route::OrderShip(id) | Route::OrderDeliver(id) | Route::OrderCancel(id) | Route::OrderRefund(id) => {
                format!("/operator/orders/{id}")
            }
            Route::ReturnApprove(_) | Route::ReturnRefuse(_) => "/operator/returns".into(),
            Route::UserRoles(id)
            | Route::UserBan(id)
            | Route::UserUnban(id)
            | Route::UserKick(id)
            | Route::SessionEnd(id, _) => format!("/operator/users/{id}"),
            Route::PolicyDelete(_) => "/operator/policies".into(),
            Route::RoleDelete(_) => "/operator/roles".into(),
            Route::System(route) => route.readable(),
            _ => String::new(),
        }
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
        (Route::Dashboard, _) => Box::pin(dashboard::show(ask)),
        (Route::Live, _) => Box::pin(dashboard::live(ask)),
        (Route::StockAlerts, _) => Box::pin(dashboard::alerts(ask)),
        (Route::Orders, _) => Box::pin(orders::show(ask)),
        (Route::Order(id), _) => Box::pin(async move { order::show(ask, &id).await }),
        (Route::OrderShip(id), _) => Box::pin(async move { order_actions::ship(ask, &id).await }),
        (Route::OrderDeliver(id), _) => Box::pin(async move { order_actions::deliver(ask, &id).await }),
        (Route::OrderCancel(id), _) => Box::pin(async move { order_actions::cancel(ask, &id).await }),
        (Route::OrderRefund(id), _) => Box::pin(async move { order_actions::refund(ask, &id).await }),
        (Route::Returns, _) => Box::pin(returns::show(ask)),
        (Route::ReturnApprove(id), _) => Box::pin(async move { returns::approve(ask, &id).await }),
        (Route::ReturnRefuse(id), _) => Box::pin(async move { returns::refuse(ask, &id).await }),
        (Route::Payments, _) => Box::pin(payments::show(ask)),
        (Route::Users, _) => Box::pin(users::show(ask)),
        (Route::User(id), _) => Box::pin(async move { user::show(ask, &id).await }),
        (Route::UserRoles(id), _) => Box::pin(async move { user::roles(ask, &id).await }),
        (Route::UserBan(id), _) => Box::pin(async move { user::ban(ask, &id).await }),
        (Route::UserUnban(id), _) => Box::pin(async move { user::unban(ask, &id).await }),
        (Route::UserKick(id), _) => Box::pin(async move { user::kick(ask, &id).await }),
        (Route::SessionEnd(id, session), _) => Box::pin(async move { user::end_session(ask, &id, &session).await }),
        (Route::Policies, false) => Box::pin(policies::show(ask)),
        (Route::Policies, true) => Box::pin(policies::create(ask)),
        (Route::PolicyDelete(id), _) => Box::pin(async move { policies::delete(ask, &id).await }),
        (Route::Roles, false) => Box::pin(roles::show(ask)),
        (Route::Roles, true) => Box::pin(roles::put(ask)),
        (Route::RoleDelete(name), _) => Box::pin(async move { roles::delete(ask, &name).await }),
        (Route::AllowList, false) => Box::pin(gates::allow_list(ask)),
        (Route::AllowList, true) => Box::pin(gates::put_allow_list(ask)),
        (Route::Keys, false) => Box::pin(gates::keys(ask)),
        (Route::Keys, true) => Box::pin(gates::rotate(ask)),
        (Route::Audit, _) => Box::pin(audit::show(ask)),
        (Route::System(route), is_form) => Box::pin(system::answer(ask, route, is_form)),
    }
}

/// Makes the frame of a page; `here` is the path of its tab.
fn shell(ask: &Ask, title: impl Into<String>, here: &str) -> Shell {
    let w = Words::of(ask.lang);
    let tabs = [
        ("/operator", w.dashboard),
        ("/operator/orders", Common::of(ask.lang).orders),
        ("/operator/returns", w.returns),
        ("/operator/payments", w.payments),
        ("/operator/users", w.users),
        ("/operator/policies", w.access),
        ("/operator/audit", w.audit),
        ("/operator/system", w.system),
    ];
    Shell::new(ask, title, w.place, &tabs, here)
}

/// Makes the frame of a page about who may do what.
fn access_shell(ask: &Ask, title: &'static str, here: &str) -> Shell {
    let w = Words::of(ask.lang);
    let subs = [
        ("/operator/policies", w.policies),
        ("/operator/roles", w.roles),
        ("/operator/allow-list", w.allow_list),
        ("/operator/keys", w.keys),
    ];
    shell(ask, title, "/operator/policies").subs(ask, &subs, here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_or_takes_forms_and_every_form_knows_what_to_read_instead() {
        for (path, form) in [
            ("", false),
            ("orders/ord_1", false),
            ("orders/ord_1/refund", true),
            ("users/usr_1/sessions/sess_1/end", true),
            ("system/flows", false),
            ("system/flows/unstick", true),
        ] {
            let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            let route = find(&parts).unwrap_or_else(|| panic!("{path}"));
            assert_eq!((route.takes(false), route.takes(true)), (!form, form), "{path}");
            assert_eq!(route.readable().is_empty(), !form, "{path}");
        }
        assert_eq!(find(&["orders", ""]).map(|route| route.takes(false)), Some(true));
        assert!(find(&["nothing"]).is_none() && find(&["orders", "a", "b"]).is_none());
    }
}
