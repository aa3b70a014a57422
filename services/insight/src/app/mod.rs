//! Use cases, one function each.
//!
//! | file | use cases |
//! |---|---|
//! | `report.rs` | sales, top products, funnel, best sellers |
//! | `visits.rs` | counting visits, forgetting batches |
//! | `fold.rs` | facts into sums |
//! | `catch_up.rs` | orders whose events nobody took |

mod catch_up;
mod fold;
mod report;
mod visits;

use std::sync::Arc;
use std::time::Duration;

use mallard_cache::{Cache, Options};
use mallard_runtime::Context;
use mallard_types::Currency;

pub use catch_up::{PAGE_ORDERS, catch_up_task, lacks};
pub use fold::fold_loop;
pub use report::{Report, Step};
pub use visits::prune_loop;

use crate::config::Config;
use crate::store::Store;

/// The service's use cases.
pub struct App {
    /// What the service may reach.
    pub ctx: Context,
    /// Its settings.
    pub config: Config,
    /// Its rows.
    pub store: Store,
    /// Currency of reports that name none.
    pub currency: Currency,
    best_sellers: Cache<(), Arc<Vec<String>>>,
}

impl App {
    /// Makes the use cases.
    ///
    /// # Errors
    /// The configured currency is none.
    pub fn new(ctx: Context, config: Config) -> anyhow::Result<App> {
        let currency = Currency::parse(&config.currency)
            .map_err(|error| anyhow::anyhow!("insight.currency: {}", error.message))?;
        let ttl = Duration::from_millis(config.best_sellers_trust_ms);
        let best_sellers = Cache::new("insight_best_sellers", Options::new(1, ttl));
        Ok(App { store: Store::new(ctx.db()), ctx, config, currency, best_sellers })
    }
}
