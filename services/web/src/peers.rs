//! The services the pages ask, each by the same client as everybody else's.

use mallard_proto::cart::v1::cart_service_client::CartServiceClient;
use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_proto::order::v1::order_service_client::OrderServiceClient;
use mallard_rpc::ServiceChannel;
use mallard_runtime::Context;

/// Clients; a call takes a clone, which is cheap.
pub struct Peers {
    identity: IdentityServiceClient<ServiceChannel>,
    cart: CartServiceClient<ServiceChannel>,
    order: OrderServiceClient<ServiceChannel>,
}

impl Peers {
    /// Makes the clients.
    pub fn new(ctx: &Context) -> Peers {
        Peers { identity: ctx.client(), cart: ctx.client(), order: ctx.client() }
    }

    /// Returns a client of identity.
    pub fn identity(&self) -> IdentityServiceClient<ServiceChannel> {
        self.identity.clone()
    }

    /// Returns a client of the carts.
    pub fn cart(&self) -> CartServiceClient<ServiceChannel> {
        self.cart.clone()
    }

    /// Returns a client of the orders.
    pub fn order(&self) -> OrderServiceClient<ServiceChannel> {
        self.order.clone()
    }
}
