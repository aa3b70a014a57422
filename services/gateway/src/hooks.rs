//! What the gateway does between a success and its answer: changes of access take hold at once, a guest's cart becomes the user's.

use std::sync::Arc;

use async_trait::async_trait;
use mallard_gateway_core::{Done, Hook};
use mallard_proto::cart::v1::MergeCartRequest;
use mallard_proto::cart::v1::cart_service_client::CartServiceClient;
use mallard_proto::rest::{RouteInfo, header};
use mallard_rpc::{Call, Caller, ServiceChannel, Surface};
use mallard_types::Result;
use serde::Deserialize;

use crate::access::{Feeds, Policies};
use crate::revocations::Revocations;
use crate::standings::Standings;
use crate::tokens::Tokens;

/// Methods of identity after which sessions may be revoked.
const REVOKING: [&str; 6] =
    ["Logout", "RevokeSession", "ChangePassword", "DeleteMe", "AdminKickUser", "AdminRevokeSession"];
/// Methods of identity after which accounts may stand differently.
const STANDING: [&str; 4] = ["DeleteMe", "AdminBanUser", "AdminUnbanUser", "AdminSetRoles"];
/// Methods of identity after which there may be another policy.
const POLICY: [&str; 5] =
    ["AdminCreatePolicy", "AdminDeletePolicy", "AdminPutRole", "AdminDeleteRole", "AdminPutAllowList"];
/// Method of identity after which there is another key.
const KEYS: &str = "AdminRotateKeys";
/// Methods of identity after which somebody is signed in.
const SIGNING_IN: [&str; 2] = ["Login", "Register"];

/// Acts after identity's successes.
pub struct Hooks {
    cart: CartServiceClient<ServiceChannel>,
    tokens: Arc<Tokens>,
    revocations: Arc<Revocations>,
    standings: Arc<Standings>,
    policies: Arc<Policies>,
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
        Hooks {
            cart,
            tokens: Arc::clone(&feeds.tokens),
            revocations: Arc::clone(&feeds.revocations),
            standings: Arc::clone(&feeds.standings),
            policies: Arc::clone(&feeds.policies),
        }
    }

    /// Reads what a method may have changed, so that the next request at this gateway obeys it.
    async fn read(&self, method: &str) -> Result<()> {
        if REVOKING.contains(&method) {
            self.revocations.read().await?;
        }
        if STANDING.contains(&method) {
            self.standings.read().await?;
        }
        if POLICY.contains(&method) {
            self.policies.read().await?;
        }
        if method == KEYS {
            self.tokens.refresh_keys().await?;
        }
        Ok(())
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
        let lists = [&REVOKING[..], &STANDING, &POLICY, &SIGNING_IN, &[KEYS]];
        info.service == "identity" && lists.iter().any(|list| list.contains(&info.name))
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
        if let Err(error) = self.read(done.info.name).await {
            // The event and the next look will bring it.
            tracing::warn!(%error, request_id, "what a request changed was not read at once");
        }
    }
}
