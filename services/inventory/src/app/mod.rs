//! Use cases, one function each.
//!
//! | file | use cases |
//! |---|---|
//! | `holds.rs` | reserve, confirm, release, expire |
//! | `stock.rs` | receive, adjust, return, and all other reading |
//! | `alerts.rs` | SKUs of which little is left |

mod alerts;
mod holds;
mod stock;

pub use alerts::{align_alerts, align_all_alerts};
pub use holds::expire_loop;

use std::time::Duration;

use mallard_runtime::Context;

use crate::availability::Availability;
use crate::config::Config;
use crate::open::Open;
use crate::store::Store;

/// How often a move is tried again when rows change between the refusal and the read that explains it.
const ATTEMPTS_MAX: usize = 5;

/// The service's use cases.
pub struct App {
    /// What the service may reach.
    pub ctx: Context,
    /// Its settings.
    pub config: Config,
    /// Its rows.
    pub store: Store,
    /// Levels and flips.
    pub availability: Availability,
    open: Open,
}

impl App {
    /// Makes the use cases.
    pub fn new(ctx: Context, config: Config) -> App {
        App {
            store: Store::new(ctx.db(), config.alert_below),
            availability: Availability::new(config.levels_max, Duration::from_millis(config.level_trust_ms)),
            open: Open::new(config.open_lines_max),
            ctx,
            config,
        }
    }
}
