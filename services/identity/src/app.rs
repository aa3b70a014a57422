//! The use cases: load, decide, save, publish, in one transaction each.

mod accounts;
mod addresses;
mod attempts;
mod audit;
mod caller;
mod feeds;
mod keys;
mod login;
mod operators;
mod policies;
mod roles;
mod sessions;
mod sweep;
mod trust;

use std::future::Future;
use std::sync::Arc;

use mallard_bus::Outbox;
use mallard_db::{Db, Tx};
use mallard_runtime::Context;
use mallard_types::{Micros, Result, id, page};

pub use accounts::{NewAccount, Registration};
pub use audit::AuditItem;
pub use login::TokenPair;
pub use trust::Trusted;

use crate::app::caller::Doer;
use crate::app::policies::Judge;
use crate::config::Config;
use crate::domain::{Moment, Standing, User, keep_operator};
use crate::error::Refusal;
use crate::events::{self, Event};
use crate::passwords::Passwords;
use crate::store::{self, StoredKey};
use crate::tokens::{CLOCK_SKEW, SEED_BYTES, Tokens};

/// Most sessions that one event and one statement revoke.
const REVOKE_BATCH_MAX: usize = 1_000;

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct App {
    ctx: Context,
    db: Db,
    outbox: Outbox,
    config: Arc<Config>,
    passwords: Passwords,
    tokens: Tokens,
    judge: Arc<Judge>,
}

impl App {
    /// Reads the configuration and the signing keys; the first start makes a key.
    ///
    /// # Errors
    /// A bad configuration, or the database fails.
    pub async fn start(ctx: Context) -> anyhow::Result<App> {
        let config: Config = ctx.config::<Config>()?.check()?;
        let passwords = Passwords::new(&config, ctx.random_bytes())?;
        let now = ctx.clock().now();
        let fresh = new_key(&ctx, now, now);
        let tokens = Tokens::open(ctx.db(), config.access_ttl(), fresh).await?;
        let judge = Arc::default();
        let app = App { db: ctx.db(), outbox: ctx.outbox(), config: Arc::new(config), passwords, tokens, judge, ctx };
        app.seed_access().await?;
        Ok(app)
    }

    /// Returns what the service was started with, for its checks and its clock.
    pub fn ctx(&self) -> &Context {
        &self.ctx
    }

    /// Runs a use case in one transaction. `f` may run again, so it gets its own copy of the input.
    async fn tx<I, T, F, Fut>(&self, name: &'static str, input: I, f: F) -> Result<T>
    where
        I: Clone + Send + Sync + 'static,
        T: Send + 'static,
        F: Fn(Work, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let app = self.clone();
        let now = self.ctx.now();
        let doer = Arc::new(mallard_rpc::with_current(Doer::of));
        self.db.tx(name, move |tx| f(Work { app: app.clone(), tx, now, doer: doer.clone() }, input.clone())).await
    }

    /// Returns a moment with what must have been used since to stand at it.
    fn moment(&self, now: Micros) -> Moment {
        Moment::new(now, self.config.idle())
    }
}

/// Makes a signing key of random bytes.
fn new_key(ctx: &Context, now: Micros, signs_at: Micros) -> StoredKey {
    let secret = ctx.random_bytes::<SEED_BYTES>().to_vec();
    StoredKey { kid: ctx.id("key"), secret, created_at: now, signs_at, retired_at: None }
}

/// A running transaction, and what it must know of the call it belongs to, which cannot be asked from inside.
struct Work {
    app: App,
    tx: Tx,
    now: Micros,
    doer: Arc<Doer>,
}

impl Work {
    /// Publishes an event if this transaction commits.
    async fn publish(&self, event: Event) -> Result<()> {
        let id = id::make("evt", self.now, self.app.ctx.random_bytes());
        self.app.outbox.append(&self.tx, event.seal(id, self.now, self.doer.trace.clone())).await?;
        Ok(())
    }

    /// Loads an account that is not deleted.
    async fn user(&self, id: &str) -> Result<User> {
        let user = store::user(&self.tx, id).await?;
        if user.deleted_at.is_some() { Err(Refusal::UserNotFound.into()) } else { Ok(user) }
    }

    /// Saves a changed account, but not the change that would leave the mall without an operator.
    async fn save(&self, before: &User, after: &User) -> Result<()> {
        if before.roles.is_admin() {
            let admins = store::lock_admins(&self.tx).await?;
            keep_operator(&admins, after, self.now)?;
        }
        store::save_user(&self.tx, before, after).await
    }

    /// Tells the gateways how an account stands from now on, whatever its tokens say. After the statement that guards the
    /// account, so that numbers and events come in the order of the changes.
    async fn announce(&self, user: &User) -> Result<()> {
        let standing = Standing::of(user, self.now, self.last_token_ends());
        let over_at = standing.over_at(self.app.config.access_ttl().saturating_add(CLOCK_SKEW));
        let seq = store::append_standing(&self.tx, &standing, over_at).await?;
        self.publish(events::standing_changed(seq, standing)).await
    }

    /// Returns when the last access token that was issued until now has expired on every instance's clock. By the clock,
    /// which tokens are issued by: what a backdated call does must not be forgotten before they expire.
    fn last_token_ends(&self) -> Micros {
        let now = self.app.ctx.clock().now();
        now.saturating_add(self.app.config.access_ttl()).saturating_add(CLOCK_SKEW)
    }

    /// Ends these sessions of a user.
    async fn revoke(&self, user_id: &str, session_ids: &[String]) -> Result<()> {
        for batch in session_ids.chunks(REVOKE_BATCH_MAX) {
            let until = self.last_token_ends();
            store::revoke_sessions(&self.tx, batch, self.now, until).await?;
            self.publish(events::sessions_revoked(user_id, batch, until)).await?;
        }
        Ok(())
    }

    /// Ends every session of a user but this one; returns how many ended.
    async fn revoke_all_but(&self, user_id: &str, kept: &str) -> Result<usize> {
        // Idle ones too: they stand in the table until they are swept.
        let at = Moment::new(self.now, None);
        let mut ended = 0;
        loop {
            let live = store::live_sessions(&self.tx, user_id, at, REVOKE_BATCH_MAX + 1).await?;
            let more = live.len() > REVOKE_BATCH_MAX;
            let ids: Vec<String> = live.into_iter().map(|session| session.id).filter(|id| id != kept).collect();
            self.revoke(user_id, &ids).await?;
            ended += ids.len();
            if !more {
                return Ok(ended);
            }
        }
    }

    /// Ends every session of a user; returns how many ended.
    async fn revoke_all(&self, user_id: &str) -> Result<usize> {
        self.revoke_all_but(user_id, "").await
    }
}

/// A page of a list, newest first.
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; empty on the last one.
    pub next_cursor: String,
}

impl<T> Page<T> {
    /// Makes a page from up to one row more than asked for.
    fn cut(mut items: Vec<T>, limit: usize, key: impl Fn(&T) -> (Micros, &str)) -> Page<T> {
        let mut next_cursor = String::new();
        if items.len() > limit {
            items.truncate(limit);
            if let Some((at, id)) = items.last().map(key) {
                next_cursor = page::encode_cursor(&[&at.to_string(), id]);
            }
        }
        Page { items, next_cursor }
    }
}

/// Reads a cursor of [`Page`]; an empty one stands before the newest row.
fn position(cursor: &str) -> Result<(Micros, String)> {
    if cursor.is_empty() {
        return Ok((Micros::MAX, String::new()));
    }
    let parts: [String; 2] = page::decode_cursor(cursor, 2)?.try_into().map_err(|_| bad_cursor())?;
    let [at, id] = parts;
    Ok((at.parse().map_err(|_| bad_cursor())?, id))
}

fn bad_cursor() -> mallard_types::Error {
    mallard_types::Error::invalid("bad_cursor", "the cursor is not one this list gave; leave it out to start anew")
        .param("cursor")
}
