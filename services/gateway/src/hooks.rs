//! What the gateway does between a success and its answer: changes of access take hold at once, a guest's cart becomes the user's.

use std::sync::Arc;

use async_trait::async_trait;
use mallard_admission::{Door, Feeds, Tokens};
use mallard_gateway_core::{Done, Hook};
use mallard_proto::cart::v1::MergeCartRequest;
use mallard_proto::cart::v1::cart_service_client::CartServiceClient;
use mallard_proto::rest::{RouteInfo, header};
use mallard_rpc::{Call, Caller, ServiceChannel, Surface};
use mallard_types::Result;
use serde::Deserialize;

/// Methods of identity after which somebody is signed in.
const SIGNING_IN: [&str; 2] = ["Login", "Register"];

/// Acts after identity's successes.
pub struct Hooks {
    cart: CartServiceClient<ServiceChannel>,
    tokens: Arc<Tokens>,
    door: Arc<Door>,
}

#[derive(Deserialize)]
struct SignedIn {
    tokens: Pair,
}

#[derive(Deserialize)]
struct Pair {
    access_token: String,
}

impl Hooks {
    /// Makes the hook.
    pub fn new(cart: CartServiceClient<ServiceChannel>, feeds: &Feeds) -> Hooks {
        Hooks { cart, tokens: Arc::clone(&feeds.tokens), door: Arc::clone(&feeds.door) }
    }

    async fn merge_cart(&self, done: &Done<'_>) -> Result<()> {
        let cart_token = header::text(done.headers, "x-cart-token")?;
        let Ok(signed_in) = serde_json::from_slice::<SignedIn>(&done.reply.body) else { return Ok(()) };
        if cart_token.is_empty() {
            return Ok(());
        }
        let verified = self.tokens.verify(&signed_in.tokens.access_token).await?;
        let caller = Caller { surface: Surface::Store, ..verified.caller.clone() };
        let call = Call { caller, ..done.call.clone() };
        let mut cart = self.cart.clone();
        let merged = mallard_rpc::scope(call, cart.merge_cart(MergeCartRequest { cart_token })).await;
        merged.map(|_| ()).map_err(mallard_rpc::error)
    }
}

#[async_trait]
impl Hook for Hooks {
    fn wants(&self, info: &RouteInfo) -> bool {
        info.service == "identity" && (SIGNING_IN.contains(&info.name) || Door::concerns(info.name))
    }

    async fn done(&self, done: Done<'_>) {
        let request_id = done.call.request_id.as_str();
        if SIGNING_IN.contains(&done.info.name) {
            // The sign-in stands whatever becomes of the cart.
            if let Err(error) = self.merge_cart(&done).await {
                tracing::warn!(%error, request_id, "the guest's cart was not merged at sign-in");
            }
            return;
        }
        if let Err(error) = self.door.read_after(done.info.name).await {
            // The event and the next look will bring it.
            tracing::warn!(%error, request_id, "what a request changed was not read at once");
        }
    }
}
