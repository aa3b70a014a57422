//! Policies of single methods: what stands between a caller and the attempts made for it.
//!
//! A call passes, outside in: the fallback, the bulkhead, the breaker of the method, the hedge, the retries.

pub(crate) mod budget;
mod bulkhead;
pub(crate) mod gate;
pub(crate) mod hedge;
mod last_good;
pub(crate) mod retry;
