//! The seam where a simulation loses, repeats and delays calls.

use std::time::Duration;

/// Decides what happens to each attempt of each call; asked once per attempt, in order.
pub trait Fault: Send + Sync {
    /// Returns what happens to this attempt. `method` is the last part of the path, e.g. `PlaceOrder`.
    fn decide(&self, service: &str, method: &str) -> FaultAction;
}

/// What happens to one attempt of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FaultAction {
    /// Nothing.
    #[default]
    Pass,
    /// The callee never sees the request; the caller sees Unavailable.
    LoseRequest,
    /// The callee does its work; the caller sees Unavailable.
    LoseReply,
    /// The callee does its work twice; the caller sees the second answer.
    Duplicate,
    /// The request arrives later.
    Delay(Duration),
}
