//! Use cases, one function each.
//!
//! | file | use cases |
//! |---|---|
//! | `read.rs` | get, batch get, SKUs |
//! | `list.rs` | lists for shoppers, sellers and operators |
//! | `facets.rs` | what found products have in common |
//! | `write.rs` | create, change, list, delist, delete |
//! | `shelves.rs` | categories and brands |
//! | `images.rs` | pictures |

mod audited;
mod facets;
mod images;
mod list;
mod read;
mod shelves;
mod write;

pub use facets::{Facets, Value};
pub use images::remove_images_loop;
pub use list::{AdminQuery, Page, ShopQuery};
pub use read::SkuView;
pub use write::{Changing, Creating};

use std::sync::Arc;
use std::time::Duration;

use mallard_cache::{Cache, Options};
use mallard_runtime::Context;
use mallard_types::Result;

use crate::config::Config;
use crate::directory::Directory;
use crate::domain::Rules;
use crate::error::Refusal;
use crate::shelf::Shelf;
use crate::store::{ListPage, Store};

/// How long an unused page of a list is kept where nobody else writes.
const PAGE_TTL: Duration = Duration::from_secs(600);

/// The service's use cases.
pub struct App {
    /// What the service may reach.
    pub ctx: Context,
    /// Its rows.
    pub store: Store,
    /// Products in memory.
    pub shelf: Shelf,
    config: Config,
    directory: Directory,
    pages: Cache<String, Arc<ListPage>>,
    facets: Cache<String, Arc<Facets>>,
}

/// Whose products a caller may change.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    /// Everybody's: an operator or the mall itself.
    All(Rules),
    /// Its own.
    Seller(String),
}

impl App {
    /// Makes the use cases.
    pub fn new(ctx: Context, config: Config) -> App {
        let store = Store::new(ctx.db());
        // Pages are keyed by the tide, so a change of this process makes them unreachable at once; the time to live is for
        // changes of others.
        let ttl = config.trust().unwrap_or(PAGE_TTL);
        let facets_ttl = config.trust().map_or(PAGE_TTL, |_| Duration::from_millis(config.facets_trust_ms));
        App {
            shelf: Shelf::new(store.clone(), &config),
            directory: Directory::new(store.clone(), &config),
            pages: Cache::new("catalog_pages", Options::new(config.pages_max, ttl)),
            facets: Cache::new("catalog_facets", Options::new(config.pages_max, facets_ttl)),
            ctx,
            store,
            config,
        }
    }
}

impl Scope {
    /// Reads the scope off the caller.
    fn of_caller() -> Result<Scope> {
        mallard_rpc::with_current(|call| {
            let caller = &call.caller;
            if caller.is_system() {
                return Ok(Scope::All(Rules { free_prices: true, own_ids: true }));
            }
            if caller.is_admin() {
                return Ok(Scope::All(Rules::default()));
            }
            if caller.seller_id.is_empty() {
                return Err(Refusal::SellerRequired.into());
            }
            Ok(Scope::Seller(caller.seller_id.clone()))
        })
    }

    fn rules(&self) -> Rules {
        match self {
            Scope::All(rules) => *rules,
            Scope::Seller(_) => Rules::default(),
        }
    }

    /// Tells whether a seller's product is in the scope.
    fn covers(&self, seller_id: &str) -> bool {
        match self {
            Scope::All(_) => true,
            Scope::Seller(own) => own == seller_id,
        }
    }
}

/// Checks that the caller is an operator or the mall itself.
fn require_admin() -> Result<()> {
    match mallard_rpc::with_current(|call| call.caller.is_admin() || call.caller.is_system()) {
        true => Ok(()),
        false => Err(Refusal::AdminRequired.into()),
    }
}
