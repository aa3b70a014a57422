//! The service's contract, through a local channel on the real runtime.

mod accounts;
mod addresses;
mod books;
mod events;
mod operators;
mod races;
mod sessions;
mod support;
