//! The work of a request: body, idempotency key, call, hook.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use mallard_proto::rest::{Idempotency, RouteInfo, header};
use mallard_rpc::Call;
use mallard_types::{Error, Result};

use super::visit::Visit;
use super::{Done, Edge, Hook, refuse};
use crate::concurrency::{Knock, Place};
use crate::crowd::CART_TOKEN;
use crate::endpoint::{Input, Reply};
use crate::once::{self, Claim};
use crate::table::Route;
use crate::{body, problem};

impl Edge {
    /// Reads the body and does what the route does; the place is kept until that is done, even when the client goes away.
    pub(super) async fn carry_out(
        &self,
        route: &Route,
        params: &[String],
        parts: &Parts,
        body: Body,
        call: Call,
        mut place: Place,
        knock: &Knock<'_>,
        visit: &mut Visit,
    ) -> Result<Reply> {
        let info = route.info;
        let key = match info.idempotency {
            Idempotency::None => None,
            Idempotency::Accepted => parts.headers.get(once::KEY),
            Idempotency::Required => match parts.headers.get(once::KEY) {
                Some(key) => Some(key),
                None => {
                    let message = "send a fresh Idempotency-Key with every new request and the same one with a repeat";
                    return Err(Error::invalid("idempotency_key_required", message).param("Idempotency-Key"));
                }
            },
        };
        // Not every request message carries the key, so it is checked here.
        let key = key.map(|_| header::text(&parts.headers, "Idempotency-Key")).transpose()?;
        let body = if info.body {
            let bytes_max = route.policy.body_bytes_max;
            let read = async {
                visit.awaits_body = true;
                let body = body::read(&parts.headers, body, bytes_max, &self.config.patience).await;
                visit.awaits_body = false;
                body
            };
            place.aside(knock, read).await??
        } else {
            Default::default()
        };
        let query = parts.uri.query().unwrap_or_default();
        let work = route.endpoint.start(&Input { path: params, query, headers: &parts.headers, body: &body })?;
        let Some((key, caller)) = key.zip(caller_scope(parts, &call)) else {
            let hook = self.hook.clone().filter(|hook| hook.wants(info));
            let reply = perform(hook, info, call, &parts.headers, work).await;
            place.answered(status(&reply));
            return reply;
        };

        let claim = Claim {
            id: once::claim_id(&caller, info.verb, parts.uri.path(), &key),
            body: once::body_hash(&key, &body)?,
            attempt: (self.source.id)("try"),
        };
        let hooked = self.hook.clone().filter(|hook| hook.wants(info));
        let headers = if hooked.is_some() { parts.headers.clone() } else { HeaderMap::new() };
        let work: BoxFuture<'static, Reply> = Box::pin(async move {
            let request_id = call.request_id.clone();
            let answer = AssertUnwindSafe(perform(hooked, info, call, &headers, work)).catch_unwind().await;
            let answer = answer.unwrap_or_else(|_| Err(Error::internal("panic", "the edge panicked")));
            answer.unwrap_or_else(|error| refuse(&error, &request_id))
        });
        let once = Arc::clone(&self.once);
        // A task of its own: a client that goes away must find the answer when it comes back with the same key.
        let task = tokio::spawn(async move {
            let reply = once.run(&claim, work).await;
            place.answered(status(&reply));
            reply
        });
        task.await.map_err(|error| Error::internal("task_failed", "the request's task ended").source(error))?
    }
}

/// Does the work as the caller and runs the hook after a success.
async fn perform(
    hook: Option<Arc<dyn Hook>>,
    info: &'static RouteInfo,
    call: Call,
    headers: &HeaderMap,
    work: BoxFuture<'static, Result<Reply>>,
) -> Result<Reply> {
    let Some(hook) = hook else { return mallard_rpc::scope(call, work).await };
    let reply = mallard_rpc::scope(call.clone(), work).await?;
    hook.done(Done { info, call: &call, headers, reply: &reply }).await;
    Ok(reply)
}

/// Returns the status an outcome is answered with.
pub(super) fn status(outcome: &Result<Reply>) -> StatusCode {
    match outcome {
        Ok(reply) => reply.status,
        Err(error) => problem::status(error),
    }
}

/// Names the caller for the scope of an idempotency key: the user, else the guest's cart. Strangers have no scope: two who
/// choose the same key must not get each other's answer, which may hold the token of a new cart.
fn caller_scope(parts: &Parts, call: &Call) -> Option<String> {
    if !call.caller.user_id.is_empty() {
        return Some(call.caller.user_id.clone());
    }
    let token = parts.headers.get(CART_TOKEN)?;
    Some(format!("cart {}", String::from_utf8_lossy(token.as_bytes())))
}
