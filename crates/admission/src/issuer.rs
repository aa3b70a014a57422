//! Identity, which issues the tokens, asked as one of the mall's services.

use std::time::Duration;

use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_rpc::{Call, ServiceChannel};
use mallard_runtime::Context;
use tokio::time::Instant;

/// The way to identity. Cheap to clone.
#[derive(Clone)]
pub struct Issuer {
    client: IdentityServiceClient<ServiceChannel>,
    /// Name of the service that asks.
    service: &'static str,
}

impl Issuer {
    /// Makes the way for a service.
    pub fn new(ctx: &Context) -> Issuer {
        Issuer { client: ctx.client(), service: ctx.service() }
    }

    #[cfg(test)]
    pub(crate) fn nowhere() -> Issuer {
        Issuer { client: mallard_rpc::Channels::default().client(), service: "test" }
    }

    /// Returns a client.
    pub(crate) fn client(&self) -> IdentityServiceClient<ServiceChannel> {
        self.client.clone()
    }

    /// Makes the context of a call by the service itself, that waits no longer than this.
    pub(crate) fn call(&self, timeout: Duration) -> Call {
        Call { deadline: Some(Instant::now() + timeout), ..Call::system(self.service) }
    }
}
