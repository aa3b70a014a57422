//! The record of what operators and sellers change, written in the transaction of the change.
//!
//! Every change made by a signed-in user who came through the operators' or the sellers' door is recorded: the service adds
//! an `audit.recorded.v1` to its outbox in the same transaction, so a change without a record, or a record without a change,
//! cannot be. Work of the mall itself is not: imports, seeding, replays and flows carry out what was recorded where it was
//! asked for, or nothing a person decided.
//!
//! The event's key is the target: the records of one thing arrive in the order of its changes, because they are appended
//! after the statement that guards it, and a record that cannot be taken holds up no other thing's. A key common to a whole
//! service would promise an order that concurrent transactions do not have.

use std::sync::Arc;

use mallard_bus::{Envelope, Outbox};
use mallard_db::{Tx, Unit};
use mallard_proto::audit::v1::Recorded;
use mallard_proto::events::AUDIT_RECORDED_V1;
use mallard_rpc::{Call, CallerKind, Surface};
use mallard_types::{Micros, Result, id};
use prost::Message;
use serde_json::{Map, Value};

use crate::{Chance, Context};

/// Most bytes of what was, and of what is now.
pub const AUDIT_JSON_BYTES_MAX: usize = 16 * 1024;

/// Bytes kept of a text that is too long: quoting it at most doubles them, and the mark needs the rest.
const KEPT_BYTES: usize = AUDIT_JSON_BYTES_MAX / 2 - 64;

/// Writes the records of one call; see [`Context::audit`]. Usable inside a transaction, where there is no call in progress.
#[derive(Clone)]
pub struct Audit {
    /// None when the call is not one that is recorded.
    call: Option<Arc<Recording>>,
}

/// The call that makes the changes.
struct Recording {
    who: Recorded,
    trace: String,
    at: Micros,
    outbox: Outbox,
    chance: Chance,
}

impl Context {
    /// Returns what records the changes of the call in progress. To be taken before the transaction.
    pub fn audit(&self) -> Audit {
        mallard_rpc::with_current(|call| Audit::of(call, self))
    }
}

impl Audit {
    fn of(call: &Call, ctx: &Context) -> Audit {
        let recorded = call.caller.kind == CallerKind::User
            && matches!(call.caller.surface, Surface::Admin | Surface::Seller)
            && ctx.outbox().is_wanted(AUDIT_RECORDED_V1);
        if !recorded {
            return Audit { call: None };
        }
        let at = ctx.now();
        let who = Recorded {
            actor: call.caller.user_id.clone(),
            session_id: call.caller.session_id.clone(),
            address: call.origin.as_ref().map(|origin| origin.address.clone()).unwrap_or_default(),
            request_id: call.request_id.clone(),
            service: ctx.service().to_owned(),
            at_micros: at,
            ..Recorded::default()
        };
        let trace = call.trace.traceparent();
        Audit { call: Some(Arc::new(Recording { who, trace, at, outbox: ctx.outbox(), chance: ctx.chance() })) }
    }

    /// Tells whether changes of this call are recorded; for those that would have to read what was before.
    pub fn is_due(&self) -> bool {
        self.call.is_some()
    }

    /// Adds the record of a change to the transaction that makes it. `change` gives what was and what is now, `null` for
    /// nothing; it runs only when the change is recorded. Of two objects the fields that are equal are left out, and when
    /// nothing differs there is no record. It must give nothing secret. One statement, none when nothing is recorded.
    ///
    /// # Errors
    /// The database's.
    pub async fn append(
        &self,
        tx: &Tx,
        action: &str,
        target: &str,
        change: impl FnOnce() -> (Value, Value),
    ) -> Result<()> {
        match (&self.call, self.record(action, target, change)) {
            (Some(call), Some(record)) => call.outbox.append(tx, record).await,
            _ => Ok(()),
        }
    }

    /// As [`Audit::append`], for a unit of work.
    ///
    /// # Errors
    /// None that happen: a record is always small enough for the outbox.
    pub fn add_to(
        &self,
        unit: Unit,
        action: &str,
        target: &str,
        change: impl FnOnce() -> (Value, Value),
    ) -> Result<Unit> {
        match (&self.call, self.record(action, target, change)) {
            (Some(call), Some(record)) => call.outbox.add_to(unit, record),
            _ => Ok(unit),
        }
    }

    /// Makes the record of a change, for a store that publishes it itself; none when nothing is recorded.
    pub fn record(&self, action: &str, target: &str, change: impl FnOnce() -> (Value, Value)) -> Option<Envelope> {
        let call = self.call.as_ref()?;
        let (before, after) = change();
        let (before, after) = differing(before, after)?;
        let message = Recorded {
            action: action.to_owned(),
            target: target.to_owned(),
            before: text(&before),
            after: text(&after),
            ..call.who.clone()
        };
        Some(Envelope {
            id: id::make("evt", call.at, call.chance.bytes()),
            kind: AUDIT_RECORDED_V1.to_owned(),
            key: target.to_owned(),
            at: call.at,
            trace: call.trace.clone(),
            payload: message.encode_to_vec().into(),
        })
    }
}

/// Leaves out what did not change; none when that is everything.
fn differing(before: Value, after: Value) -> Option<(Value, Value)> {
    if before == after {
        return None;
    }
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let only = |fields: &Map<String, Value>, others: &Map<String, Value>| {
                let changed = fields.iter().filter(|(name, value)| others.get(*name) != Some(value));
                Value::Object(changed.map(|(name, value)| (name.clone(), value.clone())).collect())
            };
            Some((only(&before, &after), only(&after, &before)))
        }
        different => Some(different),
    }
}

/// Writes JSON text of at most [`AUDIT_JSON_BYTES_MAX`]; one that is longer becomes an object that says so and holds its
/// beginning.
fn text(value: &Value) -> String {
    if value.is_null() {
        return String::new();
    }
    let text = value.to_string();
    if text.len() <= AUDIT_JSON_BYTES_MAX {
        return text;
    }
    let beginning = &text[..text.floor_char_boundary(KEPT_BYTES)];
    serde_json::json!({ "cut_from_bytes": text.len(), "beginning": beginning }).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_changed_is_recorded() {
        let before = json!({ "title": "Tea", "price": 10, "gone": true });
        let after = json!({ "title": "Tea", "price": 12, "new": [1] });
        let (before, after) = differing(before, after).unwrap();
        assert_eq!(before, json!({ "price": 10, "gone": true }));
        assert_eq!(after, json!({ "price": 12, "new": [1] }));
        assert_eq!(differing(json!({ "price": 10 }), json!({ "price": 10 })), None);
        assert_eq!(differing(Value::Null, json!({ "price": 10 })), Some((Value::Null, json!({ "price": 10 }))));
        assert_eq!(text(&Value::Null), "");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let fits = json!({ "text": "茶".repeat(5_000) });
        assert_eq!(text(&fits), fits.to_string());
        // Everything in it doubles when it is quoted again.
        for long in [json!("\"".repeat(20_000)), json!({ "text": "茶".repeat(200_000) })] {
            let cut = text(&long);
            assert!(cut.len() <= AUDIT_JSON_BYTES_MAX, "{} bytes", cut.len());
            let read: Value = serde_json::from_str(&cut).unwrap();
            assert_eq!(read["cut_from_bytes"], json!(long.to_string().len()));
            assert!(long.to_string().starts_with(read["beginning"].as_str().unwrap()));
        }
    }
}
