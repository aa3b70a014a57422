//! Events the cart listens to.

use std::sync::Arc;

use mallard_bus::{Envelope, Handler, Subscription};
use mallard_db::Tx;
use mallard_proto::events::USER_DELETED_V1;
use mallard_proto::identity::v1::UserDeleted;
use mallard_types::Result;

use crate::store;

/// Kinds of events the service wants.
pub const KINDS: &[&str] = &[USER_DELETED_V1];

/// Returns the handler of [`KINDS`].
pub fn subscription() -> Subscription {
    Subscription::new(KINDS, Arc::new(Forget))
}

/// Removes the cart of a deleted user.
struct Forget;

#[async_trait::async_trait]
impl Handler for Forget {
    async fn handle(&self, tx: &Tx, event: &Envelope) -> Result<()> {
        let deleted: UserDeleted = event.decode()?;
        store::forget(tx, &deleted.user_id).await
    }
}
