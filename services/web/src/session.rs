//! Sessions in memory, in front of the store: a page costs no SQL. Tokens are renewed by one request at a time, also across
//! processes. Whether a token is good is not known here but at the door (`mallard_admission`).

use std::sync::Arc;
use std::time::Duration;

use mallard_cache::{Cache, Options};
use mallard_proto::identity::v1::identity_service_client::IdentityServiceClient;
use mallard_proto::identity::v1::{BookAddress, RefreshRequest, Tokens};
use mallard_proto::promotion::v1::Quote;
use mallard_rpc::ServiceChannel;
use mallard_runtime::Context;
use mallard_types::{Error, Kind, Micros, Result};
use parking_lot::{Mutex, RwLock};
use tokio::time::{Instant, sleep};

use crate::config::Config;
use crate::domain::{Lang, Secret};
use crate::store::{Kept, SignedIn, Store, Stored};

const MICROS_PER_SECOND: Micros = 1_000_000;
const MICROS_PER_DAY: Micros = 24 * 60 * 60 * MICROS_PER_SECOND;
/// Tokens are renewed this long before they end, so that none ends on its way.
const RENEW_EARLY: Micros = 20 * MICROS_PER_SECOND;
/// A renewal that takes longer is somebody else's to do.
const RENEWAL_MAX: Micros = 5 * MICROS_PER_SECOND;
/// Pause between looks at a renewal that another process does.
const RENEWAL_PAUSE: Duration = Duration::from_millis(50);
const RENEWAL_LOOKS_MAX: u32 = 60;
/// How often a change is tried again when another process changes the same session.
const ATTEMPTS_MAX: u32 = 5;
/// How long a session nobody else can change stays in memory.
const OWN_TRUST: Duration = Duration::from_secs(600);

/// What a checkout showed: asked of others once, shown again for a while.
#[derive(Clone)]
pub struct Recall {
    /// When it was asked.
    pub at: Instant,
    /// Lines chosen out of the cart, as they travel in forms; none for the whole cart. Another tab may have shown others.
    pub chosen: Vec<String>,
    /// Language the goods are named in; another tab may show another.
    pub lang: Lang,
    /// What was asked.
    pub offer: Offer,
}

/// What a checkout is made of.
#[derive(Clone)]
pub struct Offer {
    /// The quote.
    pub quote: Arc<Quote>,
    /// Stands for the goods of the quote.
    pub goods: String,
    /// The address book.
    pub book: Arc<Vec<BookAddress>>,
}

/// One visitor's session.
pub struct Session {
    secret: Secret,
    stored: RwLock<Arc<Stored>>,
    /// What the checkout showed last, to be shown again when the order is refused.
    pub recall: Mutex<Option<Recall>>,
    /// Held by who renews tokens or makes the guest's cart: of two at once one would be lost.
    turn: tokio::sync::Mutex<()>,
    /// Held by who writes: requests of one process wait for each other, those of several meet at the row's version.
    writing: tokio::sync::Mutex<()>,
}

impl Session {
    fn new(secret: Secret, stored: Stored) -> Arc<Session> {
        Arc::new(Session {
            secret,
            stored: RwLock::new(Arc::new(stored)),
            recall: Mutex::new(None),
            turn: tokio::sync::Mutex::new(()),
            writing: tokio::sync::Mutex::new(()),
        })
    }

    /// Returns what is remembered of the visitor.
    pub fn stored(&self) -> Arc<Stored> {
        Arc::clone(&self.stored.read())
    }

    /// Waits for the visitor's turn; see the field.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }
}

/// All sessions.
pub struct Sessions {
    ctx: Context,
    config: Config,
    store: Store,
    cache: Cache<String, Arc<Session>>,
    /// Held by who makes a session that a visitor's first requests want at the same time.
    opening: tokio::sync::Mutex<()>,
    identity: IdentityServiceClient<ServiceChannel>,
}

impl Sessions {
    /// Makes the sessions over their store.
    pub fn new(ctx: Context, config: Config) -> Sessions {
        let trust = if ctx.shares_storage() { Duration::from_millis(config.shared_trust_ms) } else { OWN_TRUST };
        Sessions {
            store: Store::new(ctx.db()),
            cache: Cache::new("web_sessions", Options::new(config.sessions_max, trust).negative_ttl(trust)),
            opening: tokio::sync::Mutex::new(()),
            identity: ctx.client(),
            config,
            ctx,
        }
    }

    /// Makes the secret of a session that nobody has yet.
    pub fn secret(&self) -> Secret {
        Secret::new(self.ctx.random_bytes())
    }

    /// Finds the session of a cookie.
    ///
    /// # Errors
    /// The database's.
    pub async fn find(&self, secret: &Secret) -> Result<Option<Arc<Session>>> {
        let load = || async {
            match self.store.find(secret, self.ctx.clock().now()).await? {
                Some(stored) => Ok(Session::new(secret.clone(), stored)),
                None => Err(Error::not_found("session_unknown", "there is no such session")),
            }
        };
        match self.cache.get_or_load(secret.id(), load).await {
            Ok(session) => Ok(Some(session)),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Finds the session of a cookie, or makes an empty one under it.
    ///
    /// # Errors
    /// The database's.
    pub async fn open(&self, secret: &Secret) -> Result<Arc<Session>> {
        if let Some(session) = self.find(secret).await? {
            return Ok(session);
        }
        let _alone = self.opening.lock().await;
        if let Some(session) = self.find(secret).await? {
            return Ok(session);
        }
        // Another process may have been faster: then its row is read.
        self.write_new(secret, &Kept::default()).await?;
        self.find(secret).await?.ok_or_else(lost)
    }

    /// Makes a session under a new secret, as a login must.
    ///
    /// # Errors
    /// The database's.
    pub async fn start(&self, kept: &Kept) -> Result<(Secret, Arc<Session>)> {
        let secret = self.secret();
        self.write_new(&secret, kept).await?;
        let session = self.find(&secret).await?.ok_or_else(lost)?;
        Ok((secret, session))
    }

    async fn write_new(&self, secret: &Secret, kept: &Kept) -> Result<bool> {
        let written = self.store.insert(secret, kept, self.ctx.random_bytes(), self.expires_at()).await?;
        self.cache.purge(&secret.id());
        Ok(written)
    }

    fn expires_at(&self) -> Micros {
        self.ctx.clock().now() + i64::from(self.config.session_days) * MICROS_PER_DAY
    }

    /// Changes what is remembered; a change that changes nothing writes nothing.
    ///
    /// # Errors
    /// The database's; `session_lost` when the session has ended meanwhile.
    pub async fn change(&self, session: &Session, change: impl Fn(&mut Kept)) -> Result<()> {
        let _alone = session.writing.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let stored = session.stored();
            let mut kept = stored.kept.clone();
            change(&mut kept);
            if kept == stored.kept {
                return Ok(());
            }
            let (nonce, expires_at) = (self.ctx.random_bytes(), self.expires_at());
            let renewed = kept.refresh() != stored.kept.refresh();
            if self.store.replace(&session.secret, &kept, stored.version, nonce, expires_at, renewed).await? {
                *session.stored.write() = Arc::new(Stored { kept, version: stored.version + 1 });
                return Ok(());
            }
            self.reload(session).await?;
        }
        Err(Error::unavailable("session_busy", "the session is being changed; try again").retry_after_ms(100))
    }

    async fn reload(&self, session: &Session) -> Result<()> {
        let stored = self.store.find(&session.secret, self.ctx.clock().now()).await?.ok_or_else(lost)?;
        *session.stored.write() = Arc::new(stored);
        Ok(())
    }

    /// Returns how long a cookie lives without a change of its session, in seconds.
    pub fn cookie_age_s(&self) -> u64 {
        u64::from(self.config.session_days) * 24 * 60 * 60
    }

    /// Ends a session here; the account's own session is identity's.
    ///
    /// # Errors
    /// The database's.
    pub async fn end(&self, secret: &Secret) -> Result<()> {
        self.store.remove(secret).await?;
        self.cache.purge(&secret.id());
        Ok(())
    }

    /// Returns the access token of who is signed in, renewed in time; nobody's when the account's session has ended, and this
    /// one with it.
    ///
    /// # Errors
    /// `account_banned`; identity's own when it does not answer.
    pub async fn access(self: &Arc<Self>, session: &Arc<Session>) -> Result<Option<String>> {
        let stored = session.stored();
        let Some(user) = &stored.kept.user else { return Ok(None) };
        if user.access_until - RENEW_EARLY > self.ctx.clock().now() {
            return Ok(Some(user.access.clone()));
        }
        self.access_after(session, &user.access).await
    }

    /// Returns the access token that comes after one that is over or was refused: renewing tells whether there is any.
    ///
    /// # Errors
    /// As [`Sessions::access`].
    pub async fn access_after(self: &Arc<Self>, session: &Arc<Session>, access: &str) -> Result<Option<String>> {
        let stored = session.stored();
        let Some(user) = &stored.kept.user else { return Ok(None) };
        if user.access != access {
            return Ok(Some(user.access.clone()));
        }
        let (sessions, session, seen) = (Arc::clone(self), Arc::clone(session), user.clone());
        let work = async move { sessions.renew(&session, &seen).await };
        // A task of its own: a browser that leaves must not take the new tokens with it, for the old ones are used up.
        let renewed = tokio::spawn(mallard_rpc::scope(mallard_rpc::current(), work)).await;
        let ended = |error| Error::internal("task_failed", "the renewal's task ended").source(error);
        Ok(renewed.map_err(ended)??.map(|user| user.access))
    }

    /// Renews the tokens; nobody when identity says that the session is over.
    async fn renew(&self, session: &Session, seen: &SignedIn) -> Result<Option<SignedIn>> {
        let _turn = session.turn.lock().await;
        for _ in 0..RENEWAL_LOOKS_MAX {
            let stored = session.stored();
            let Some(user) = &stored.kept.user else { return Ok(None) };
            if user.refresh != seen.refresh {
                return Ok(Some(user.clone()));
            }
            let now = self.ctx.clock().now();
            if self.store.claim_renewal(&session.secret, stored.version, now, now + RENEWAL_MAX).await? {
                return self.refresh(session, user).await;
            }
            sleep(RENEWAL_PAUSE).await;
            match self.reload(session).await {
                Ok(()) => {}
                Err(error) if error.kind == Kind::Unauthenticated => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Err(Error::unavailable("session_busy", "the session is being renewed; try again").retry_after_ms(1_000))
    }

    async fn refresh(&self, session: &Session, user: &SignedIn) -> Result<Option<SignedIn>> {
        let request = RefreshRequest { refresh_token: user.refresh.clone() };
        let tokens = match self.identity.clone().refresh(request).await.map_err(mallard_rpc::error) {
            Ok(answer) => answer.into_inner().tokens.unwrap_or_default(),
            Err(error) if error.kind == Kind::Unauthenticated => {
                self.end(&session.secret).await?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let renewed = self.signed_in(tokens, user.name.clone(), user.language.clone());
        self.change(session, |kept| kept.user = Some(renewed.clone())).await?;
        Ok(Some(renewed))
    }

    /// Puts tokens and what the pages show of an account together.
    pub fn signed_in(&self, tokens: Tokens, name: String, language: String) -> SignedIn {
        SignedIn {
            access: tokens.access_token,
            refresh: tokens.refresh_token,
            access_until: self.ctx.clock().now() + tokens.expires_in.saturating_mul(MICROS_PER_SECOND),
            name,
            language,
        }
    }

    /// Removes sessions that are over, until shutdown.
    pub async fn prune(self: Arc<Self>) {
        let shutdown = self.ctx.shutdown();
        let rows_max = self.config.prune_batch_rows_max.max(1);
        loop {
            match self.store.prune(self.ctx.clock().now(), rows_max).await {
                Ok(rows) if rows >= u64::from(rows_max) => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "old sessions were not removed"),
            }
            tokio::select! {
                () = sleep(Duration::from_secs(self.config.prune_interval_s.max(1))) => {}
                () = shutdown.wait() => return,
            }
        }
    }
}

fn lost() -> Error {
    Error::unauthenticated("session_lost", "the session has ended; sign in again")
}
