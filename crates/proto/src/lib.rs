//! The contracts of every service: messages, clients, servers, the JSON form of the public API and its REST table.
//!
//! Everything but the few hand-written modules here is generated from `proto/` when the crate is built.
//!
//! | looking for | go to |
//! |---|---|
//! | messages, clients and servers of a service | `order::v1`, `cart::v1`, … |
//! | event types and the message each carries | [`events`] |
//! | names of enum values | [`Enumeration`] |
//! | what a REST route needs of a method | [`rest`] |
//! | the contracts as data, for OpenAPI and agents | [`schema`], [`DESCRIPTORS`] |

mod enumeration;
mod json;
mod money;
mod timestamp;

pub mod events;
pub mod rest;
pub mod schema;

pub use enumeration::Enumeration;
pub use timestamp::Timestamp;

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

mod clients {
    include!(concat!(env!("OUT_DIR"), "/clients.rs"));
}
pub use clients::{IDEMPOTENT, METHODS, SAFE};

/// Most bytes of one answer that a client reads.
pub const ANSWER_BYTES_MAX: usize = mallard_rpc::MESSAGE_BYTES_MAX;

/// The contracts as an encoded `google.protobuf.FileDescriptorSet`, with source info and all options.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mallard.fds"));

/// Tells the call layers which methods may be sent twice. To be called once when a process starts.
pub fn register() {
    mallard_rpc::register_idempotent(IDEMPOTENT);
    mallard_rpc::register_safe(SAFE);
}
