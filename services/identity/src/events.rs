//! What this service tells the others. It listens to nobody.

use mallard_bus::Envelope;
use mallard_proto::events;
use mallard_proto::identity::v1::{SessionRevoked, UserDeleted, UserRegistered};
use mallard_types::Micros;

use crate::domain::User;

/// An event before it has an id and a time.
pub struct Event {
    kind: &'static str,
    key: String,
    payload: Vec<u8>,
}

impl Event {
    fn new<M: events::Event>(user_id: &str, message: &M) -> Event {
        Event { kind: events::kind::<M>(), key: user_id.to_owned(), payload: message.encode_to_vec() }
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

/// Tells that sessions have ended; their access tokens must be refused from now on.
pub fn sessions_revoked(user_id: &str, session_ids: &[String], until: Micros) -> Event {
    let message =
        SessionRevoked { user_id: user_id.to_owned(), session_ids: session_ids.to_vec(), until_micros: until };
    Event::new(user_id, &message)
}
