//! What runs a service: its specification, the context it lives in, configuration, telemetry, start and stop in order.

mod chance;
mod clock;
mod config;
mod context;
mod mall;
mod ops;
mod shutdown;
mod spec;
pub mod telemetry;

pub use chance::Chance;
pub use clock::Clock;
pub use config::{Config, ConfigError};
pub use context::Context;
pub use mall::{Mall, Settings, Storage};
pub use shutdown::Shutdown;
pub use spec::{Front, Parts, ServiceSpec};
