//! What this service tells the others, and what it hears from them.

use std::sync::Arc;

use async_trait::async_trait;
use mallard_bus::{Envelope, Handler, Subscription};
use mallard_db::Tx;
use mallard_proto::audit::v1::Recorded;
use mallard_proto::events;
use mallard_proto::identity::v1::{PolicyChanged, SessionRevoked, StandingChanged, UserDeleted, UserRegistered};
use mallard_types::{Micros, Result};

use crate::domain::{Entry, Standing, User};
use crate::{rpc, store};

/// Kinds of events the service wants.
pub const KINDS: &[&str] = &[events::AUDIT_RECORDED_V1];

/// Key of the events about policies: they are all about one thing.
const ACCESS: &str = "access";

/// Returns the handler of [`KINDS`].
pub fn subscription() -> Subscription {
    Subscription::new(KINDS, Arc::new(Log))
}

/// Takes what other services report into the audit log.
struct Log;

#[async_trait]
impl Handler for Log {
    async fn handle(&self, tx: &Tx, event: &Envelope) -> Result<()> {
        let recorded: Recorded = event.decode()?;
        let entry = Entry {
            at: recorded.at_micros,
            actor: recorded.actor,
            session_id: recorded.session_id,
            address: recorded.address,
            request_id: recorded.request_id,
            service: recorded.service,
            action: recorded.action,
            target: recorded.target,
            was: recorded.before,
            became: recorded.after,
        };
        store::append_audit(tx, &entry.bounded()).await
    }
}

/// An event before it has an id and a time.
pub struct Event {
    kind: &'static str,
    key: String,
    payload: Vec<u8>,
}

impl Event {
    fn new<M: events::Event>(key: &str, message: &M) -> Event {
        Event { kind: events::kind::<M>(), key: key.to_owned(), payload: message.encode_to_vec() }
    }

    /// Puts the event into its envelope.
    pub fn seal(self, id: String, at: Micros, trace: String) -> Envelope {
        Envelope { id, kind: self.kind.to_owned(), key: self.key, at, trace, payload: self.payload.into() }
    }
}

/// Tells that an account was made.
pub fn registered(user: &User) -> Event {
    Event::new(&user.id, &UserRegistered { user_id: user.id.clone(), language: user.profile.language.clone() })
}

/// Tells that an account is gone; whoever keeps personal data of it forgets them.
pub fn deleted(user_id: &str) -> Event {
    Event::new(user_id, &UserDeleted { user_id: user_id.to_owned() })
}

/// Tells how an account stands from now on, whatever its tokens say.
pub fn standing_changed(seq: i64, standing: Standing) -> Event {
    let user_id = standing.user_id.clone();
    Event::new(&user_id, &StandingChanged { standing: Some(rpc::standing(seq, standing)) })
}

/// Tells that other rules are in force.
pub fn policy_changed(version: i64) -> Event {
    Event::new(ACCESS, &PolicyChanged { version })
}

/// Tells that sessions have ended; their access tokens must be refused from now on.
pub fn sessions_revoked(user_id: &str, session_ids: &[String], until: Micros) -> Event {
    let message =
        SessionRevoked { user_id: user_id.to_owned(), session_ids: session_ids.to_vec(), until_micros: until };
    Event::new(user_id, &message)
}
