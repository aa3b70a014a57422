//! Events the cart listens to.

use std::sync::Arc;

use mallard_bus::{Envelope, Handler, Subscription};
use mallard_db::Tx;
use mallard_proto::identity::v1::UserDeleted;
use mallard_types::{Error, Result};
use prost::Message;

use crate::store;

/// Kinds of events the service subscribes to.
pub const KINDS: &[&str] = &["user.deleted.v1"];

/// Returns the handler of [`KINDS`].
pub fn subscription() -> Subscription {
    Subscription { kinds: KINDS, handler: Arc::new(Forget) }
}

/// Removes the cart of a deleted user.
struct Forget;

#[async_trait::async_trait]
impl Handler for Forget {
    async fn handle(&self, tx: &Tx, event: &Envelope) -> Result<()> {
        let broken = |e: prost::DecodeError| Error::invalid("bad_event", "the event's payload cannot be read").source(e);
        let deleted = UserDeleted::decode(event.payload.clone()).map_err(broken)?;
        store::forget(tx, &deleted.user_id).await
    }
}
