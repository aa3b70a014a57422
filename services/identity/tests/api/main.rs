//! The service's contract, through a local channel on the real runtime.

mod accounts;
mod addresses;
mod audit;
mod books;
mod contests;
mod devices;
mod events;
mod keys;
mod operators;
mod policies;
mod races;
mod sessions;
mod standings;
mod support;
mod throttle;
mod trust;
