//! What the edge needs of every method that has a REST route: typed request and answer, and the route's rules.
//!
//! [`routes`] shows each route to a [`Visitor`], which makes whatever code it needs for the method's types. So the edge is
//! compiled, not interpreted, and this crate knows nothing about HTTP servers.

use std::future::Future;

use mallard_types::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub mod header;
pub mod query;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Anyone; a token is read when there is one.
    Public,
    /// A signed-in user.
    User,
    /// A user with role seller or admin.
    Seller,
    /// A user with role admin.
    Admin,
}

/// What a route does with the `Idempotency-Key` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotency {
    /// Ignores it.
    None,
    /// Honours it when present.
    Accepted,
    /// Refuses a request without it.
    Required,
}

/// Priority of a route under overload. The order is that of importance, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// What the edge's own table says for the surface and verb.
    Default,
    /// Moves money.
    Pay,
    /// Concerns orders.
    Order,
    /// Concerns carts.
    Cart,
    /// Looks around.
    Browse,
    /// Talks to the assistant.
    Assistant,
}

/// The rules of one route.
#[derive(Debug)]
pub struct RouteInfo {
    /// HTTP method.
    pub verb: &'static str,
    /// Path template, e.g. `/store/v1/products/{id}`.
    pub path: &'static str,
    /// Service that answers, e.g. `catalog`.
    pub service: &'static str,
    /// Name of the method, e.g. `GetProduct`.
    pub name: &'static str,
    /// gRPC path, e.g. `/mallard.catalog.v1.CatalogService/GetProduct`.
    pub rpc: &'static str,
    /// 0 for the method's main route, 1 and more for its additional ones.
    pub binding: usize,
    /// The request is a JSON body; otherwise it is the query.
    pub body: bool,
    /// Status of a success.
    pub status: u16,
    /// Who may call.
    pub access: Access,
    /// What becomes of an `Idempotency-Key`.
    pub idempotency: Idempotency,
    /// The answer carries a version that becomes the `ETag`.
    pub etag: bool,
    /// The method changes nothing.
    pub safe: bool,
    /// Wants an access token that has seen the password lately.
    pub dangerous: bool,
    /// How soon it is shed under overload.
    pub tier: Tier,
    /// Names of the path parameters, in order.
    pub path_params: &'static [&'static str],
    /// Full name of the request message.
    pub request: &'static str,
    /// Full name of the answer message.
    pub answer: &'static str,
    /// Comment above the method.
    pub doc: &'static str,
}

/// How often a query parameter may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// There is no such parameter.
    Unknown,
    /// At most once.
    One,
    /// Any number of times.
    Many,
}

/// A request message as REST sees it.
pub trait Request: DeserializeOwned + Default + Send + 'static {
    /// Returns the field that a path parameter fills.
    fn path_param(&mut self, name: &str) -> Option<&mut String>;

    /// Puts a query parameter into its field.
    ///
    /// # Errors
    /// `invalid_field` when the value is not of the field's type.
    fn query_param(&mut self, name: &str, value: &str) -> Result<Slot, Error>;

    /// Reads the fields that travel in headers.
    ///
    /// # Errors
    /// `invalid_field` or `version_mismatch` when a header's value cannot be the field's.
    fn read_headers(&mut self, headers: &http::HeaderMap) -> Result<(), Error>;
}

/// An answer message as REST sees it.
pub trait Answer: Serialize + Send + 'static {
    /// The answer has no body.
    const EMPTY: bool = false;

    /// Writes the fields that travel in headers.
    fn write_headers(&self, _headers: &mut http::HeaderMap) {}
}

impl Answer for () {
    const EMPTY: bool = true;
}

/// A method that has a REST route.
pub trait Method: Send + Sync + 'static {
    /// Request message.
    type Request: Request;
    /// Answer message.
    type Answer: Answer;

    /// Calls the method over the channel of its service.
    fn call(
        channel: mallard_rpc::ServiceChannel,
        request: Self::Request,
    ) -> impl Future<Output = Result<Self::Answer, tonic::Status>> + Send;

    /// Returns the version in the answer that becomes the `ETag`.
    fn version(_answer: &Self::Answer) -> Option<i64> {
        None
    }
}

/// Sees every route once, with the types of its method.
pub trait Visitor {
    /// Takes one route.
    fn route<M: Method>(&mut self, info: &'static RouteInfo);
}

include!(concat!(env!("OUT_DIR"), "/rest.rs"));
