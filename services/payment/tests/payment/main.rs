//! The service through its API: a local channel, its own database, the acquirer simulator.

mod audit;
mod books;
mod cards;
mod closing;
mod crash;
mod events;
mod provider;
mod races;
mod refunds;
mod shop;
mod store;
