//! The use cases: load, decide, save, publish, in one transaction each.

mod accounts;
mod addresses;
mod operators;
mod sessions;
mod sweep;

use std::future::Future;
use std::sync::Arc;

use mallard_bus::Outbox;
use mallard_db::{Db, Tx};
use mallard_runtime::Context;
use mallard_types::{Micros, Result, id, page};

pub use accounts::{NewAccount, Registration};
pub use sessions::TokenPair;

use crate::config::Config;
use crate::domain::{Role, User, keep_operator};
use crate::error::Refusal;
use crate::events::{self, Event};
use crate::passwords::Passwords;
use crate::store::{self, StoredKey};
use crate::tokens::Tokens;

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
}

impl App {
    /// Reads the configuration and the signing keys; the first start makes a key.
    ///
    /// # Errors
    /// A bad configuration, or the database fails.
    pub async fn start(ctx: Context) -> anyhow::Result<App> {
        let config: Config = ctx.config::<Config>()?.check()?;
        let passwords = Passwords::new(&config, ctx.random_bytes())?;
        let fresh =
            StoredKey { kid: ctx.id("key"), secret: ctx.random_bytes(), created_at: ctx.now(), retired_at: None };
        let tokens = Tokens::open(ctx.db(), config.access_ttl(), fresh).await?;
        Ok(App { db: ctx.db(), outbox: ctx.outbox(), config: Arc::new(config), passwords, tokens, ctx })
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
        let trace = mallard_rpc::with_current(|call| call.trace.traceparent());
        self.db.tx(name, move |tx| f(Work { app: app.clone(), tx, now, trace: trace.clone() }, input.clone())).await
    }
}

/// A running transaction, and what it must know of the call it belongs to, which cannot be asked from inside.
struct Work {
    app: App,
    tx: Tx,
    now: Micros,
    trace: String,
}

impl Work {
    /// Publishes an event if this transaction commits.
    async fn publish(&self, event: Event) -> Result<()> {
        let id = id::make("evt", self.now, self.app.ctx.random_bytes());
        self.app.outbox.append(&self.tx, event.seal(id, self.now, self.trace.clone())).await?;
        Ok(())
    }

    /// Loads an account that is not deleted.
    async fn user(&self, id: &str) -> Result<User> {
        let user = store::user(&self.tx, id).await?;
        if user.deleted_at.is_some() { Err(Refusal::UserNotFound.into()) } else { Ok(user) }
    }

    /// Saves a changed account, but not the change that would leave the mall without an operator.
    async fn save(&self, before: &User, after: &User) -> Result<()> {
        if before.roles.has(Role::Admin) {
            let admins = store::lock_admins(&self.tx).await?;
            keep_operator(&admins, after, self.now)?;
        }
        store::save_user(&self.tx, after).await
    }

    /// Ends these sessions of a user.
    async fn revoke(&self, user_id: &str, session_ids: &[String]) -> Result<()> {
        if session_ids.is_empty() {
            return Ok(());
        }
        // Tokens are issued by the clock; a backdated revocation must not be forgotten before they expire.
        let until = self.app.ctx.clock().now().saturating_add(self.app.config.access_ttl());
        store::revoke_sessions(&self.tx, session_ids, self.now, until).await?;
        self.publish(events::sessions_revoked(user_id, session_ids, until)).await
    }

    /// Ends every session of a user.
    async fn revoke_all(&self, user_id: &str) -> Result<()> {
        loop {
            let live = store::live_sessions(&self.tx, user_id, self.now, REVOKE_BATCH_MAX).await?;
            let ids: Vec<String> = live.into_iter().map(|session| session.id).collect();
            self.revoke(user_id, &ids).await?;
            if ids.len() < REVOKE_BATCH_MAX {
                return Ok(());
            }
        }
    }
}

/// Returns the id of the signed-in user who asks.
fn caller_id() -> Result<String> {
    mallard_rpc::with_current(|call| call.caller.require_user().map(str::to_owned))
}

/// Checks that an operator or the mall itself asks. The edge does so too; this is the last door.
fn require_operator() -> Result<()> {
    let allowed = mallard_rpc::with_current(|call| call.caller.is_admin() || call.caller.is_system());
    if allowed { Ok(()) } else { Err(Refusal::AdminOnly.into()) }
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
