//! One method behind a route: request parts into the typed request, the call, the typed answer into a reply.

use std::marker::PhantomData;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, StatusCode};
use mallard_proto::rest::{Answer, Method, Request, RouteInfo, Slot};
use mallard_rpc::ServiceChannel;
use mallard_types::{Error, Result};

use crate::problem::JSON;
use crate::{body, query};

/// What a client gets.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers that belong to the answer itself.
    pub headers: HeaderMap,
    /// JSON, or nothing.
    pub body: Bytes,
}

/// The parts of a request that the typed request is made from.
pub struct Input<'a> {
    /// Decoded path parameters, in order of the template.
    pub path: &'a [String],
    /// Query as it came.
    pub query: &'a str,
    /// Headers.
    pub headers: &'a HeaderMap,
    /// Body; empty when the route takes none.
    pub body: &'a [u8],
}

/// A method with its types hidden.
pub trait Endpoint: Send + Sync {
    /// Reads the request; the returned future calls the service when it is polled.
    ///
    /// # Errors
    /// What is wrong with the request.
    fn start(&self, input: &Input<'_>) -> Result<BoxFuture<'static, Result<Reply>>>;
}

/// A method over the channel of its service.
pub struct Typed<M> {
    info: &'static RouteInfo,
    channel: ServiceChannel,
    method: PhantomData<fn() -> M>,
}

impl<M: Method> Typed<M> {
    /// Ties a route to the channel of its service.
    pub fn new(info: &'static RouteInfo, channel: ServiceChannel) -> Self {
        Typed { info, channel, method: PhantomData }
    }
}

impl<M: Method> Endpoint for Typed<M> {
    fn start(&self, input: &Input<'_>) -> Result<BoxFuture<'static, Result<Reply>>> {
        let request: M::Request = read(self.info, input)?;
        let (channel, success) = (self.channel.clone(), self.info.status);
        Ok(Box::pin(async move {
            let answer = M::call(channel, request).await.map_err(mallard_rpc::error)?;
            write::<M>(&answer, success)
        }))
    }
}

/// Makes the typed request.
///
/// # Errors
/// As [`body::decode`] and the fields' own; `unknown_field` for a query parameter the method does not have.
pub fn read<R: Request>(info: &RouteInfo, input: &Input<'_>) -> Result<R> {
    let mut request: R = if info.body { body::decode(input.body)? } else { R::default() };
    read_query(info, input.query, &mut request)?;
    for (name, value) in info.path_params.iter().zip(input.path) {
        let Some(field) = request.path_param(name) else { continue };
        // A body that repeats the id from the path is welcome; one that contradicts it is a mistake of the client.
        if !field.is_empty() && field != value {
            return Err(
                Error::invalid("invalid_field", format!("{name} differs from the one in the path")).param(*name)
            );
        }
        field.clone_from(value);
    }
    request.read_headers(input.headers)?;
    Ok(request)
}

fn read_query<R: Request>(info: &RouteInfo, text: &str, request: &mut R) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in query::pairs(text)? {
        let in_path = info.path_params.contains(&name.as_ref());
        let slot = if info.body || in_path { Slot::Unknown } else { request.query_param(&name, &value)? };
        let param = || shorten(&name);
        // The message cannot tell a page of nothing from no wish at all.
        if name == "limit" && !matches!(slot, Slot::Unknown) && value.parse() == Ok(0) {
            return Err(Error::invalid("limit_out_of_range", "limit must be between 1 and 100").param("limit"));
        }
        match slot {
            Slot::Unknown => {
                return Err(
                    Error::invalid("unknown_field", format!("there is no parameter {}", param())).param(param())
                );
            }
            Slot::One if seen.iter().any(|other| *other == name) => {
                return Err(Error::invalid("invalid_field", format!("{name} is given twice")).param(param()));
            }
            Slot::One => seen.push(name.into_owned()),
            Slot::Many => {}
        }
    }
    Ok(())
}

/// Keeps what a client made up from filling the answer.
fn shorten(name: &str) -> String {
    name.chars().take(100).collect()
}

/// Writes the typed answer.
///
/// # Errors
/// `encode_failed` when a value has no JSON form, such as an enum value of a newer contract.
pub fn write<M: Method>(answer: &M::Answer, success: u16) -> Result<Reply> {
    let mut headers = HeaderMap::new();
    answer.write_headers(&mut headers);
    if let Some(version) = M::version(answer) {
        headers.insert(ETAG, etag(version));
    }
    let body = if M::Answer::EMPTY {
        Bytes::new()
    } else {
        headers.insert(CONTENT_TYPE, JSON);
        let mut out = Vec::with_capacity(512);
        serde_json::to_writer(&mut out, answer)
            .map_err(|error| Error::internal("encode_failed", "the answer has no JSON form").source(error))?;
        out.into()
    };
    Ok(Reply { status: StatusCode::from_u16(success).unwrap_or(StatusCode::OK), headers, body })
}

fn etag(version: i64) -> HeaderValue {
    // Digits, a sign and quotes are visible ASCII.
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}
