//! What the gateway learns from events.

use std::sync::Arc;

use async_trait::async_trait;
use mallard_bus::{Envelope, Handler};
use mallard_proto::identity::v1;
use prost::Message;

use crate::revocations::Revocations;

/// Takes revoked sessions into the set.
pub struct SessionRevoked(Arc<Revocations>);

impl SessionRevoked {
    /// Makes the handler.
    pub fn new(revocations: Arc<Revocations>) -> SessionRevoked {
        SessionRevoked(revocations)
    }
}

#[async_trait]
impl Handler for SessionRevoked {
    async fn after(&self, event: &Envelope) {
        match v1::SessionRevoked::decode(event.payload.clone()) {
            Ok(revoked) => revoked.session_ids.iter().for_each(|session| self.0.add(session, revoked.until_micros)),
            // The list of revocations says the same within half a second.
            Err(error) => tracing::warn!(%error, event_id = event.id, "a revocation event could not be read"),
        }
    }
}
