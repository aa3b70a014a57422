//! What the consoles of sellers and operators share: who may do what, the frame, forms, charts.
//!
//! | file | holds |
//! |---|---|
//! | `shell.rs` | what stands around every page |
//! | `confirm.rs` | the password once more, before what is dangerous |
//! | `panel.rs` | a part of a page whose service may be away |
//! | `form.rs` | fields, and refusals in words |
//! | `upload.rs` | forms with a file |
//! | `chart.rs` | charts |
//! | `shipping.rs` | units of an order's lines |
//! | `sales.rs` | the chart of sales |
//! | `view.rs` | blocks a page is put together of: facts, tables, forms |
//! | `text.rs` | words |

pub mod chart;
pub mod confirm;
pub mod form;
pub mod panel;
pub mod sales;
pub mod shell;
pub mod shipping;
pub mod text;
pub mod upload;
pub mod view;

use std::future::Future;

use mallard_proto::catalog::v1::catalog_service_client::CatalogServiceClient;
use mallard_proto::gateway::v1::gateway_service_client::GatewayServiceClient;
use mallard_proto::insight::v1::insight_service_client::InsightServiceClient;
use mallard_proto::inventory::v1::inventory_service_client::InventoryServiceClient;
use mallard_proto::payment::v1::payment_service_client::PaymentServiceClient;
use mallard_rpc::{Caller, ServiceChannel};
use mallard_runtime::Context;
use mallard_types::Result;
use tonic::{Response, Status};

use crate::ask::Ask;
use crate::console::upload::Places;
use crate::pages::operator::Examination;

/// Most files on their way at once.
const UPLOADS_MAX: usize = 8;
/// How long a page waits that asks every service of the mall: one that hangs is given up by the gateway after 2 s.
const PATIENT_TIMEOUT_MS: u64 = 5_000;

/// What the consoles ask and remember.
pub struct Console {
    catalog: CatalogServiceClient<ServiceChannel>,
    inventory: InventoryServiceClient<ServiceChannel>,
    payment: PaymentServiceClient<ServiceChannel>,
    insight: InsightServiceClient<ServiceChannel>,
    gateway: GatewayServiceClient<ServiceChannel>,
    /// Places for files on their way.
    pub uploads: Places,
    /// The check of the books that runs, or ran last.
    pub examination: Examination,
}

impl Console {
    /// Makes the clients.
    pub fn new(ctx: &Context) -> Console {
        Console {
            catalog: ctx.client(),
            inventory: ctx.client(),
            payment: ctx.client(),
            insight: ctx.client(),
            gateway: ctx.client(),
            uploads: Places::new(UPLOADS_MAX),
            examination: Examination::default(),
        }
    }

    /// Returns a client of the catalogue.
    pub fn catalog(&self) -> CatalogServiceClient<ServiceChannel> {
        self.catalog.clone()
    }

    /// Returns a client of the stock.
    pub fn inventory(&self) -> InventoryServiceClient<ServiceChannel> {
        self.inventory.clone()
    }

    /// Returns a client of the payments.
    pub fn payment(&self) -> PaymentServiceClient<ServiceChannel> {
        self.payment.clone()
    }

    /// Returns a client of the sums.
    pub fn insight(&self) -> InsightServiceClient<ServiceChannel> {
        self.insight.clone()
    }

    /// Returns a client of the edge's own resources.
    pub fn gateway(&self) -> GatewayServiceClient<ServiceChannel> {
        self.gateway.clone()
    }
}

/// Decides whether the visitor may do what a route of the API does, and returns as whom it is done. Every page and every form of
/// the consoles asks here before it calls a service; `params` fill the places `{}` of the route.
///
/// # Errors
/// `unauthenticated`, which becomes the way to sign in; `forbidden`; `account_banned`; `reauthentication_required`, which
/// becomes the question for the password.
pub async fn permit(ask: &Ask, verb: &'static str, route: &str, params: &[&str]) -> Result<Caller> {
    ask.permit(verb, &filled(route, params)).await
}

/// Writes a path: each parameter is one part of it, whatever it holds.
fn filled(route: &str, params: &[&str]) -> String {
    let mut pieces = route.split("{}");
    let mut path = pieces.next().unwrap_or_default().to_owned();
    for (piece, param) in pieces.zip(params) {
        for byte in param.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'@' => path.push(char::from(byte)),
                _ => path.push_str(&format!("%{byte:02X}")),
            }
        }
        path.push_str(piece);
    }
    path
}

/// Has the door of this process obey at once what a method of identity has changed; the others learn it within a second.
pub async fn settle(ask: &Ask, method: &str) {
    if let Err(error) = ask.site.door.read_after(method).await {
        tracing::warn!(%error, method, "what an operator changed holds here a moment later");
    }
}

/// Reads what has to be asked of every service, and so may take longer than a page usually waits.
///
/// # Errors
/// The callee's.
pub async fn patiently<T>(
    ask: &Ask,
    caller: &Caller,
    work: impl Future<Output = std::result::Result<Response<T>, Status>>,
) -> Result<T> {
    let call = ask.call(caller.clone(), PATIENT_TIMEOUT_MS);
    mallard_rpc::scope(call, work).await.map(Response::into_inner).map_err(mallard_rpc::error)
}

/// Makes the key under which a form is sent, so that sent twice it counts once.
pub fn fresh_key(ask: &Ask) -> String {
    ask.site.ctx.id("web")
}

/// Returns the key a form brought, cut to what every service takes.
pub fn sent_key(ask: &Ask) -> String {
    ask.form.get("key").chars().take(100).collect()
}

/// Leads to what a page leaves out after a form was refused, so that it asks no more than any other.
pub fn look_again(ask: &Ask, path: String) -> view::Part {
    view::Part::Links(vec![(ask.link(&path), text::Words::of(ask.lang).look_again.to_owned())])
}

/// Writes a link with those fields that hold something.
pub fn link(ask: &Ask, path: &str, fields: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    match query.finish() {
        query if query.is_empty() => ask.link(path),
        query => ask.link(&format!("{path}?{query}")),
    }
}

#[cfg(test)]
mod tests {
    use super::filled;

    #[test]
    fn a_parameter_is_one_part_of_the_path_whatever_it_holds() {
        assert_eq!(filled("/admin/v1/users/{}/ban", &["usr_1"]), "/admin/v1/users/usr_1/ban");
        assert_eq!(
            filled("/admin/v1/users/{}/ban", &["x/../../products"]),
            "/admin/v1/users/x%2F%2E%2E%2F%2E%2E%2Fproducts/ban"
        );
        assert_eq!(filled("/a/{}/b/{}", &["1?x", "#"]), "/a/1%3Fx/b/%23");
        assert_eq!(filled("/admin/v1/roles/{}", &["clerk@sel_1"]), "/admin/v1/roles/clerk@sel_1");
    }
}
