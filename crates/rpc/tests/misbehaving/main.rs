//! The policies against upstreams that misbehave: slow, failing fast, failing half the time, hanging, flapping, gone.
//!
//! Real clients and servers speak HTTP/2 over pipes in memory, under a paused clock: nothing here waits for real time.

#[path = "../support/mod.rs"]
mod support;

mod endpoints;
mod methods;
mod routing;
mod upstream;
