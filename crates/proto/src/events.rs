//! Event types, as the comments of the contracts name them, and the message each carries.

/// A message that travels as the payload of events.
pub trait Event: prost::Message {
    /// Types of the events that carry it, e.g. `order.placed.v1`.
    const KINDS: &'static [&'static str];
}

/// Returns the only event type of a message, or the first where it has several.
pub fn kind<M: Event>() -> &'static str {
    M::KINDS.first().copied().unwrap_or_default()
}

include!(concat!(env!("OUT_DIR"), "/events.rs"));
