//! Use cases, one function each: check with the neighbours, change the cart in one transaction, show it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mallard_rpc::{Caller, Surface};
use mallard_runtime::Context;
use mallard_types::{Currency, Micros, Result};

use crate::checks::{self, Check};
use crate::config::Config;
use crate::domain::{self, Cart, Goods, Limits, Shown};
use crate::goods::Neighbours;
use crate::store::{Birth, Outcome, Owner, Saved, Store};
use crate::{error, token};

const MICROS_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;
/// Attempts to write a cart that others change at the same time.
const ATTEMPTS_MAX: u32 = 32;
/// Locks that carts in a race queue at; two carts that share one wait for each other, no more.
const QUEUES: usize = 256;
/// Batches of old guest carts removed in one round.
const PRUNE_BATCHES_MAX: u32 = 50;

/// A cart as it is answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `cart_…`; empty while there is no cart.
    pub id: String,
    /// Version; 0 while there is no cart.
    pub version: i64,
    /// When it last changed.
    pub updated_at: Option<Micros>,
    /// Lines and total against today's catalog and stock.
    pub shown: Shown,
    /// Token of a guest's new cart; empty otherwise.
    pub cart_token: String,
}

/// Keeps carts.
pub struct App {
    ctx: Context,
    config: Config,
    currency: Currency,
    store: Store,
    neighbours: Neighbours,
    queues: Vec<tokio::sync::Mutex<()>>,
}

/// What a change knows beforehand: whose cart, which version was seen, which limits hold.
struct Intent {
    owner: Owner,
    if_version: Option<i64>,
    limits: Limits,
}

impl App {
    /// Makes the application from its settings.
    ///
    /// # Errors
    /// A currency that is none.
    pub fn new(ctx: Context, config: Config) -> anyhow::Result<App> {
        Ok(App {
            currency: Currency::parse(&config.currency)?,
            store: Store::new(ctx.db()),
            neighbours: Neighbours::new(&ctx),
            queues: (0..QUEUES).map(|_| tokio::sync::Mutex::new(())).collect(),
            config,
            ctx,
        })
    }

    /// Shows the caller's cart; an empty one without id when there is none.
    ///
    /// # Errors
    /// `Unavailable` when the catalog is away.
    pub async fn get(&self, cart_token: &str) -> Result<Answer> {
        let saved = self.store.find(&owner(&mallard_rpc::current().caller, cart_token)).await?;
        let sku_ids = sku_ids(saved.as_ref(), &[]);
        let (goods, left) = tokio::join!(self.neighbours.goods(sku_ids.clone()), self.units_left(sku_ids));
        self.answer(saved, Some(&goods?), left.as_ref(), String::new())
    }

    /// Adds units of a SKU to the caller's cart.
    ///
    /// # Errors
    /// The refusals of [`domain::Refusal`]; `Unavailable` when the catalog is away.
    pub async fn add_line(
        &self,
        sku_id: String,
        quantity: i64,
        cart_token: &str,
        if_version: Option<i64>,
    ) -> Result<Answer> {
        self.put(sku_id, quantity, cart_token, if_version, "cart.add", Cart::add).await
    }

    /// Sets the units of a SKU in the caller's cart.
    ///
    /// # Errors
    /// The refusals of [`domain::Refusal`]; `Unavailable` when the catalog is away.
    pub async fn set_line(
        &self,
        sku_id: String,
        quantity: i64,
        cart_token: &str,
        if_version: Option<i64>,
    ) -> Result<Answer> {
        self.put(sku_id, quantity, cart_token, if_version, "cart.set", Cart::put).await
    }

    /// Removes a SKU from the caller's cart; a SKU that is not in it is success.
    ///
    /// # Errors
    /// `version_mismatch`.
    pub async fn remove_line(&self, sku_id: String, cart_token: &str, if_version: Option<i64>) -> Result<Answer> {
        let intent = intent(cart_token, if_version);
        let changed = self.change("cart.remove", &intent, move |cart| Ok(cart.remove(&sku_id))).await?;
        self.answer_change(changed, None).await
    }

    /// Removes every line of the caller's cart.
    ///
    /// # Errors
    /// `version_mismatch`.
    pub async fn clear(&self, cart_token: &str, if_version: Option<i64>) -> Result<Answer> {
        let intent = intent(cart_token, if_version);
        let changed = self.change("cart.clear", &intent, |cart| Ok(cart.clear())).await?;
        self.answer_change(changed, None).await
    }

    /// Takes a guest's cart over into the signed-in caller's, once.
    ///
    /// # Errors
    /// `Unauthenticated` for a guest.
    pub async fn merge(&self, cart_token: &str) -> Result<Answer> {
        let caller = mallard_rpc::current().caller;
        let user_id = caller.require_user()?.to_owned();
        let Some(token_hash) = token::hash(cart_token) else {
            let own = self.store.find(&Owner::User(user_id)).await?;
            return self.answer_change((own, String::new()), None).await;
        };
        let limits = limits(&caller);
        let keeps_lines = self.ctx.switch("cart.merge_keeps_guest_lines");
        let decide = move |own: &mut Cart, guest: &mut Cart| {
            let before = guest.clone();
            let taken = own.merge(guest, limits);
            if keeps_lines {
                *guest = before;
            }
            taken
        };
        let merge = || {
            let (birth, _) = self.birth();
            self.store.merge(user_id.clone(), token_hash.clone(), birth, decide)
        };
        let own = match self.until_written(&user_id, merge).await? {
            Outcome::Unchanged(own) => own,
            Outcome::Written(own) | Outcome::Made(own) => Some(own),
            Outcome::Raced => return Err(error::busy()),
        };
        self.answer_change((own, String::new()), None).await
    }

    /// Returns the bare cart of a user, for checkout by a system caller or the user.
    ///
    /// # Errors
    /// `cart_unknown` for anybody else.
    pub async fn lines(&self, user_id: String) -> Result<Option<Saved>> {
        may_touch(&mallard_rpc::current().caller, &user_id)?;
        self.store.find(&Owner::User(user_id)).await
    }

    /// Takes ordered units out of a user's cart, once per order.
    ///
    /// # Errors
    /// `order_id_required`; `cart_unknown` for a caller who is neither the system nor the user.
    pub async fn remove_ordered(&self, user_id: String, order_id: String, ordered: Vec<(String, i64)>) -> Result<()> {
        let caller = mallard_rpc::current().caller;
        may_touch(&caller, &user_id)?;
        if order_id.is_empty() {
            // Every order without an id would count as the same one.
            return Err(error::order_id_required());
        }
        let intent = Intent { owner: Owner::User(user_id), if_version: None, limits: limits(&caller) };
        let below_zero = self.ctx.switch("cart.ordered_below_zero");
        self.change("cart.remove_ordered", &intent, move |cart| {
            let before = cart.clone();
            let first = cart.remove_ordered(&order_id, &ordered);
            if below_zero && first {
                cart.lines = before.lines;
                for line in &mut cart.lines {
                    line.quantity -= ordered
                        .iter()
                        .filter(|(sku_id, _)| *sku_id == line.sku_id)
                        .map(|(_, units)| units)
                        .sum::<i64>();
                }
            }
            Ok(first)
        })
        .await?;
        Ok(())
    }

    /// Checks the cart's books.
    ///
    /// # Errors
    /// The database is away.
    pub async fn run_checks(&self) -> Result<Vec<Check>> {
        checks::run(&self.store).await
    }

    /// Checks the books of this service's events.
    ///
    /// # Errors
    /// The database is away.
    pub async fn check_events(&self) -> Result<Vec<mallard_proto::common::v1::Check>> {
        self.ctx.check_events().await
    }

    /// Removes guest carts that expired, in bounded batches.
    ///
    /// # Errors
    /// The database is away.
    pub async fn prune(&self) -> Result<usize> {
        let (now, rows_max) = (self.ctx.clock().now(), self.config.prune_batch_rows_max.max(1));
        let mut removed = 0;
        for _ in 0..PRUNE_BATCHES_MAX {
            let batch = self.store.prune(now, rows_max).await?;
            removed += batch;
            if batch < rows_max as usize {
                break;
            }
        }
        Ok(removed)
    }

    async fn put(
        &self,
        sku_id: String,
        quantity: i64,
        cart_token: &str,
        if_version: Option<i64>,
        name: &'static str,
        rule: fn(&mut Cart, &Goods, i64, Limits) -> Result<(), domain::Refusal>,
    ) -> Result<Answer> {
        let intent = intent(cart_token, if_version);
        domain::check_quantity(quantity, intent.limits)?;
        let found = self.neighbours.goods(vec![sku_id.clone()]).await?;
        let goods = Arc::new(domain::check_sellable(found.get(&sku_id))?.clone());
        let (limits, put) = (intent.limits, goods.clone());
        let changed =
            self.change(name, &intent, move |cart| Ok(rule(cart, &put, quantity, limits).map(|()| true)?)).await?;
        self.answer_change(changed, Some(&goods)).await
    }

    /// Changes a cart under its version; returns it and the token when a guest's was made.
    async fn change<F>(&self, name: &'static str, intent: &Intent, decide: F) -> Result<(Option<Saved>, String)>
    where
        F: Fn(&mut Cart) -> Result<bool> + Send + Sync + 'static,
    {
        let (if_version, decide) = (intent.if_version, Arc::new(decide));
        let decide = move |cart: &mut Cart, version: i64| {
            domain::check_version(if_version, version)?;
            decide(cart)
        };
        let (birth, cart_token) = self.birth();
        let key = match &intent.owner {
            Owner::User(key) | Owner::Guest(key) => key.as_str(),
            Owner::Nobody => "",
        };
        let change = || self.store.change(name, intent.owner.clone(), birth.clone(), decide.clone());
        Ok(match self.until_written(key, change).await? {
            Outcome::Unchanged(saved) => (saved, String::new()),
            Outcome::Written(saved) => (Some(saved), String::new()),
            Outcome::Made(saved) if matches!(intent.owner, Owner::User(_)) => (Some(saved), String::new()),
            Outcome::Made(saved) => (Some(saved), cart_token),
            Outcome::Raced => return Err(error::busy()),
        })
    }

    /// Writes until nobody else was faster. Whoever loses the first time waits in the cart's queue, so that many changes
    /// of one cart in this process do not starve each other; the row's version still decides.
    async fn until_written<W, F>(&self, key: &str, mut write: W) -> Result<Outcome>
    where
        W: FnMut() -> F,
        F: Future<Output = Result<Outcome>>,
    {
        let outcome = write().await?;
        if outcome != Outcome::Raced {
            return Ok(outcome);
        }
        let _turn = self.queues[queue(key)].lock().await;
        for _ in 1..ATTEMPTS_MAX {
            let outcome = write().await?;
            if outcome != Outcome::Raced {
                return Ok(outcome);
            }
        }
        Ok(Outcome::Raced)
    }

    fn birth(&self) -> (Birth, String) {
        let (now, cart_token) = (self.ctx.now(), token::make(self.ctx.random_bytes()));
        let birth = Birth {
            id: self.ctx.id("cart"),
            // A token just made has the shape of one.
            token_hash: token::hash(&cart_token).unwrap_or_default(),
            now,
            guest_expires_at: now + i64::from(self.config.guest_lifetime_days) * MICROS_PER_DAY,
        };
        (birth, cart_token)
    }

    /// Shows a cart after a change. The change stands, so a catalog that is away costs today's prices, not the answer.
    async fn answer_change(
        &self,
        (saved, cart_token): (Option<Saved>, String),
        known: Option<&Goods>,
    ) -> Result<Answer> {
        let unknown: Vec<String> = known.map(|goods| goods.sku_id.clone()).into_iter().collect();
        let rest = sku_ids(saved.as_ref(), &unknown);
        let all = sku_ids(saved.as_ref(), &[]);
        let (goods, left) = tokio::join!(self.neighbours.goods(rest), self.units_left(all));
        let goods = match goods {
            Ok(mut goods) => {
                goods.extend(known.map(|known| (known.sku_id.clone(), known.clone())));
                Some(goods)
            }
            Err(error) => {
                tracing::warn!(%error, "catalog did not answer; showing the cart at the prices it keeps");
                None
            }
        };
        self.answer(saved, goods.as_ref(), left.as_ref(), cart_token)
    }

    async fn units_left(&self, sku_ids: Vec<String>) -> Option<BTreeMap<String, i64>> {
        match self.neighbours.units_left(sku_ids).await {
            Ok(left) => Some(left),
            Err(error) => {
                tracing::warn!(%error, "inventory did not answer; showing the cart without stock");
                None
            }
        }
    }

    fn answer(
        &self,
        saved: Option<Saved>,
        goods: Option<&BTreeMap<String, Goods>>,
        left: Option<&BTreeMap<String, i64>>,
        cart_token: String,
    ) -> Result<Answer> {
        let empty = Cart::default();
        let shown = domain::show(saved.as_ref().map_or(&empty, |saved| &saved.cart), goods, left, self.currency)?;
        Ok(Answer {
            updated_at: saved.as_ref().map(|saved| saved.updated_at),
            version: saved.as_ref().map_or(0, |saved| saved.version),
            id: saved.map(|saved| saved.id).unwrap_or_default(),
            shown,
            cart_token,
        })
    }
}

/// Removes old guest carts from time to time, until the process ends.
pub async fn prune_until_shutdown(app: Arc<App>) {
    let shutdown = app.ctx.shutdown();
    let interval = Duration::from_secs(u64::from(app.config.prune_interval_s.max(1)));
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(interval) => {}
        }
        match app.prune().await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "removed old guest carts"),
            Err(error) => tracing::warn!(%error, "old guest carts were not removed; trying again later"),
        }
    }
}

fn intent(cart_token: &str, if_version: Option<i64>) -> Intent {
    let caller = mallard_rpc::current().caller;
    Intent { owner: owner(&caller, cart_token), if_version, limits: limits(&caller) }
}

fn owner(caller: &Caller, cart_token: &str) -> Owner {
    if let Ok(user_id) = caller.require_user() {
        return Owner::User(user_id.to_owned());
    }
    token::hash(cart_token).map_or(Owner::Nobody, Owner::Guest)
}

fn limits(caller: &Caller) -> Limits {
    if caller.surface == Surface::Store { Limits::STORE } else { Limits::INTERNAL }
}

fn may_touch(caller: &Caller, user_id: &str) -> Result<()> {
    let allowed = !user_id.is_empty() && (caller.is_system() || caller.require_user().is_ok_and(|own| own == user_id));
    if allowed { Ok(()) } else { Err(error::not_yours()) }
}

fn sku_ids(saved: Option<&Saved>, without: &[String]) -> Vec<String> {
    let lines = saved.map(|saved| saved.cart.lines.as_slice()).unwrap_or_default();
    lines.iter().filter(|line| !without.contains(&line.sku_id)).map(|line| line.sku_id.clone()).collect()
}

fn queue(key: &str) -> usize {
    key.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte))) % QUEUES
}
