//! An event on its way.

use bytes::Bytes;
use mallard_proto::bus::v1::Event;
use mallard_types::{Error, Micros, Result};

/// Largest payload of one event, in bytes. Bigger things are fetched by the consumer.
pub const EVENT_BYTES_MAX: usize = 256 * 1024;

/// An event and what is known about it without reading its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Unique id; the same event keeps it however often it is delivered.
    pub id: String,
    /// Type, e.g. `order.placed.v1`.
    pub kind: String,
    /// Events of one key are delivered in order; the id of the aggregate.
    pub key: String,
    /// When it happened.
    pub at: Micros,
    /// W3C traceparent of the request that caused it; empty when there is none.
    pub trace: String,
    /// Protobuf message of the kind.
    pub payload: Bytes,
}

impl Envelope {
    /// Makes an event of the call in progress, whose trace it carries. Inside a transaction closure there is no call in
    /// progress: make events before it.
    pub fn new<M: prost::Message>(
        id: impl Into<String>,
        kind: impl Into<String>,
        key: impl Into<String>,
        at: Micros,
        message: &M,
    ) -> Envelope {
        Envelope {
            id: id.into(),
            kind: kind.into(),
            key: key.into(),
            at,
            trace: mallard_rpc::with_current(|call| call.trace.traceparent()),
            payload: message.encode_to_vec().into(),
        }
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// `Internal` (`bad_event`) when it is not such a message; a handler that returns it gets the event parked.
    pub fn decode<M: prost::Message + Default>(&self) -> Result<M> {
        M::decode(self.payload.clone()).map_err(|error| {
            Error::internal("bad_event", format!("event {} of kind {} does not decode", self.id, self.kind))
                .source(error)
        })
    }

    pub(crate) fn into_proto(self) -> Event {
        Event {
            id: self.id,
            r#type: self.kind,
            key: self.key,
            at_micros: self.at,
            traceparent: self.trace,
            payload: self.payload.into(),
        }
    }

    pub(crate) fn from_proto(event: Event) -> Envelope {
        Envelope {
            id: event.id,
            kind: event.r#type,
            key: event.key,
            at: event.at_micros,
            trace: event.traceparent,
            payload: event.payload.into(),
        }
    }
}
