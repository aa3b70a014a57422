//! What runs a service: its specification, the context it lives in, configuration, telemetry, start and stop in order.

mod audit;
mod chance;
mod clock;
mod config;
mod context;
mod health;
mod http;
mod mall;
mod ops;
mod pages;
mod platform;
mod shutdown;
mod spec;
mod tasks;
pub mod telemetry;

pub use audit::{AUDIT_JSON_BYTES_MAX, Audit};
pub use chance::Chance;
pub use clock::Clock;
pub use config::{Config, ConfigError};
pub use context::Context;
pub use health::Health;
pub use http::HttpConfig;
pub use mall::{Mall, Settings, Storage};
pub use pages::{Answering, Guard, Pages, Stand};
pub use shutdown::Shutdown;
pub use spec::{Parts, ServiceSpec};
pub use tasks::Task;
