//! What is learnt from events.

use std::sync::Arc;

use async_trait::async_trait;
use mallard_bus::{Envelope, Handler};
use mallard_proto::events::{POLICY_CHANGED_V1, USER_SESSION_REVOKED_V1, USER_STANDING_CHANGED_V1};
use mallard_proto::identity::v1;
use prost::{DecodeError, Message};

use crate::policies::Policies;
use crate::revocations::Revocations;
use crate::standings::Standings;

/// Events of identity that concern who may do what: a service with [`crate::Feeds`] subscribes to them.
pub const SUBSCRIBES: [&str; 3] = [USER_SESSION_REVOKED_V1, USER_STANDING_CHANGED_V1, POLICY_CHANGED_V1];

/// Takes revoked sessions, standings and changes of the policy into memory.
pub struct AccessChanged {
    revocations: Arc<Revocations>,
    standings: Arc<Standings>,
    policies: Arc<Policies>,
}

impl AccessChanged {
    /// Makes the handler.
    pub fn new(revocations: Arc<Revocations>, standings: Arc<Standings>, policies: Arc<Policies>) -> AccessChanged {
        AccessChanged { revocations, standings, policies }
    }

    fn take(&self, event: &Envelope) -> Result<(), DecodeError> {
        match event.kind.as_str() {
            USER_SESSION_REVOKED_V1 => {
                let revoked = v1::SessionRevoked::decode(event.payload.clone())?;
                revoked.session_ids.iter().for_each(|session| self.revocations.add(session, revoked.until_micros));
            }
            USER_STANDING_CHANGED_V1 => {
                let changed = v1::StandingChanged::decode(event.payload.clone())?;
                changed.standing.into_iter().for_each(|standing| self.standings.tell(standing));
            }
            // It says only that there is another version.
            _ => self.policies.wake(),
        }
        Ok(())
    }
}

#[async_trait]
impl Handler for AccessChanged {
    async fn after(&self, event: &Envelope) {
        if let Err(error) = self.take(event) {
            // The list that is read all the time says the same within half a second.
            tracing::warn!(%error, event_id = event.id, kind = %event.kind, "an event about access could not be read");
        }
    }
}
