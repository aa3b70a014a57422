//! Signing in and renewing tokens.

use mallard_types::{Micros, Result};
use tracing::warn;

use super::App;
use super::caller::client;
use crate::domain::{Client, Email, Renewal, Session, User};
use crate::error::Refusal;
use crate::store;
use crate::tokens::{Claims, RefreshToken};

/// What a client signs its requests with, and what it renews that with.
#[derive(Clone)]
pub struct TokenPair {
    /// JWT.
    pub access: String,
    /// Opaque, good for one renewal.
    pub refresh: String,
    /// Seconds until the access token expires.
    pub expires_in_s: i64,
}

/// What a refresh token led to.
enum Renewed {
    Granted(User, Session, Micros),
    Reused(Session),
    Over,
}

impl App {
    /// Signs in. Unknown address, wrong password and deleted account get the same answer after the same work. A session
    /// that stands on the same device ends.
    ///
    /// # Errors
    /// `invalid_credentials`, `account_banned`, `too_many_attempts`, `busy`; `too_long`, `invalid_text` for the device.
    pub async fn login(&self, email: &str, password: String, device: &str) -> Result<(User, TokenPair)> {
        let client = client(device)?;
        let attempt = self.login_attempt(email);
        let known = match Email::parse(email) {
            Ok(email) => store::user_by_email(&self.db, &email).await?,
            Err(_) => None,
        };
        let (user_id, hash) = known.as_ref().map_or(("", None), |user| (user.id.as_str(), user.password_hash.clone()));
        self.prove(&attempt, user_id, hash, password).await?;
        // Without an account no password is right.
        let Some(verified) = known else { return Err(Refusal::CredentialsInvalid.into()) };
        let (session, token) = self.new_session(&verified.id, client);
        let input = (verified, session.clone(), token.hash, attempt);
        let user = self
            .tx("identity.login", input, |work, (verified, session, token, attempt)| async move {
                // Held until the session stands: a ban, a change of roles or a deletion sees the session, or is seen here.
                if !store::lock_for_login(&work.tx, &verified.id, work.now).await? {
                    return Err(Refusal::CredentialsInvalid.into());
                }
                work.passed(&attempt, &verified.id).await?;
                let user = store::user(&work.tx, &verified.id).await?;
                if user.password_hash != verified.password_hash {
                    return Err(Refusal::CredentialsInvalid.into());
                }
                user.admit(work.now)?;
                store::insert_session(&work.tx, &session, &token).await?;
                let keep = work.app.config.sessions_per_user_max;
                let at = work.app.moment(work.now);
                let replaced = store::replaced_sessions(&work.tx, &session, at, keep).await?;
                work.revoke(&user.id, &replaced).await?;
                Ok(user)
            })
            .await?;
        let tokens = self.token_pair(&user, &session, &token, session.created_at).await?;
        Ok((user, tokens))
    }

    /// Exchanges a refresh token for a new pair. A token that was exchanged before ends its session: somebody has a copy.
    ///
    /// # Errors
    /// `invalid_refresh_token`, `refresh_token_reused`, `account_banned`.
    pub async fn refresh(&self, refresh_token: &str) -> Result<TokenPair> {
        let next = RefreshToken::new(self.ctx.random_bytes());
        let input = (RefreshToken::hash(refresh_token), next.hash);
        let renewed = self
            .tx("identity.refresh", input, |work, (presented, next)| async move {
                let Some((mut session, used)) = store::session_of_token(&work.tx, &presented).await? else {
                    return Ok(Renewed::Over);
                };
                let at = work.app.moment(work.now);
                let mut renewal = session.renewal(used, at);
                if renewal == Renewal::Granted && !store::use_refresh_token(&work.tx, &presented, work.now).await? {
                    renewal = Renewal::Reused;
                }
                match renewal {
                    Renewal::Over => return Ok(Renewed::Over),
                    Renewal::Reused => {
                        if session.is_live(at) {
                            work.revoke(&session.user_id, std::slice::from_ref(&session.id)).await?;
                        }
                        // Not an error here: that would roll the revocation back.
                        return Ok(Renewed::Reused(session));
                    }
                    Renewal::Granted => {}
                }
                let user = store::user(&work.tx, &session.user_id).await?;
                user.admit(work.now)?;
                session.renew(work.now, work.app.config.session_ttl());
                if !store::save_renewal(&work.tx, &session).await? {
                    return Err(Refusal::RefreshTokenInvalid.into());
                }
                store::insert_refresh_token(&work.tx, &session.id, &next, work.now).await?;
                Ok(Renewed::Granted(user, session, work.now))
            })
            .await?;
        match renewed {
            Renewed::Granted(user, session, at) => self.token_pair(&user, &session, &next, at).await,
            Renewed::Over => Err(Refusal::RefreshTokenInvalid.into()),
            Renewed::Reused(session) => {
                warn!(session_id = session.id, user_id = session.user_id, "refresh token used twice, session ended");
                Err(Refusal::RefreshTokenReused.into())
            }
        }
    }

    pub(super) fn new_session(&self, user_id: &str, client: Client) -> (Session, RefreshToken) {
        let ttl = self.config.session_ttl();
        let session = Session::open(self.ctx.id("sess"), user_id.to_owned(), client, self.ctx.now(), ttl);
        (session, RefreshToken::new(self.ctx.random_bytes()))
    }

    /// Issues an access token, dated before the transaction that decided it: a ban or a change of roles that came after it
    /// must outlast the token.
    pub(super) async fn access_token(&self, user: &User, session: &Session, at: Micros) -> Result<String> {
        let claims = Claims::new(user, session, self.ctx.id("jti"), at, self.config.access_ttl());
        self.tokens.sign(&claims, self.ctx.clock().now()).await
    }

    pub(super) async fn token_pair(
        &self,
        user: &User,
        session: &Session,
        refresh: &RefreshToken,
        at: Micros,
    ) -> Result<TokenPair> {
        Ok(TokenPair {
            access: self.access_token(user, session, at).await?,
            refresh: refresh.text.clone(),
            expires_in_s: i64::from(self.config.access_token_ttl_s),
        })
    }
}

#[cfg(test)]
mod tests {
    use mallard_db::MemoryDisk;
    use mallard_rpc::{Call, Origin};
    use mallard_runtime::{Mall, Settings, Storage};

    use super::*;
    use crate::app::Registration;
    use crate::passwords::work;

    const PASSWORD: &str = "correct horse battery";

    async fn app() -> (Mall, App) {
        app_with(true).await
    }

    async fn app_with(hash_inline: bool) -> (Mall, App) {
        let config = mallard_testkit::config()
            .set("identity.argon2_memory_kib", 8)
            .set("identity.hash_inline", hash_inline)
            .set("identity.hash_parallel_max", 1)
            .set("identity.hash_waiting_max", 1)
            .set("identity.login_failures_max", 2);
        let mall = Mall::start(Settings::new(vec![crate::service()], config, Storage::Memory(MemoryDisk::new())));
        let mall = mall.await.unwrap();
        let app = App::start(mall.context("identity").unwrap().clone()).await.unwrap();
        (mall, app)
    }

    /// Returns the code of a login and the work it took.
    async fn login(app: &App, address: &str, email: &str, password: &str) -> (String, u64) {
        let before = work::done();
        let origin = Origin { address: address.to_owned(), ..Origin::default() };
        let call = Call { origin: Some(std::sync::Arc::new(origin)), ..Call::default() };
        let answer = mallard_rpc::scope(call, app.login(email, password.to_owned(), "")).await;
        (answer.map_or_else(|error| error.code.into_owned(), |_| "ok".to_owned()), work::done() - before)
    }

    async fn register(app: &App, name: &str) -> User {
        let new = Registration {
            email: format!("{name}@example.com"),
            password: PASSWORD.to_owned(),
            password_confirmation: None,
            name: String::new(),
            language: String::new(),
            device: String::new(),
        };
        app.register(new).await.unwrap().0
    }

    async fn until<F: Future<Output = bool>>(what: impl Fn() -> F) {
        while !what().await {
            tokio::task::yield_now().await;
        }
    }

    /// Returns the most failures counted under one key.
    async fn failures(app: &App) -> i64 {
        let sql = "SELECT COALESCE(MAX(failures), 0) FROM login_attempts";
        app.db.query_opt(sql, mallard_db::params![]).await.unwrap().unwrap().get(0).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_the_client_cuts_off_counts() {
        let (_mall, app) = app().await;
        register(&app, "mei").await;
        for email in ["mei@example.com", "nobody@example.com"] {
            for tries in 1..=2 {
                let before = work::done();
                tokio::select! {
                    biased;
                    () = until(async || work::done() > before) => {}
                    answer = login(&app, "10.0.0.1", email, "wrong horse battery") => panic!("{answer:?} came too soon"),
                }
                let counted = until(async || failures(&app).await == tries);
                tokio::time::timeout(std::time::Duration::from_secs(3_600), counted).await.expect("it was not counted");
            }
            assert_eq!(login(&app, "10.0.0.1", email, PASSWORD).await, ("too_many_attempts".to_owned(), 0), "{email}");
            let clear = app.tx("test.clear", (), |work, ()| async move {
                Ok(work.tx.execute("DELETE FROM login_attempts", mallard_db::params![]).await?)
            });
            clear.await.unwrap();
        }
    }

    #[tokio::test]
    async fn callers_who_go_away_leave_no_more_work_behind_than_may_wait() {
        let (_mall, app) = app_with(false).await;
        let (_, cores) = app.passwords.room();
        let core = cores.acquire_owned().await.unwrap();
        for left in [1, 0] {
            tokio::select! {
                biased;
                answer = login(&app, "10.0.0.1", "mei@example.com", PASSWORD) => panic!("{answer:?} without a core"),
                () = until(async || app.passwords.room().0 == left) => {}
            }
        }
        assert_eq!(login(&app, "10.0.0.1", "mei@example.com", PASSWORD).await.0, "busy");
        drop(core);
        until(async || app.passwords.room().0 == 2 && failures(&app).await == 2).await;
        assert_eq!(login(&app, "10.0.0.1", "mei@example.com", PASSWORD).await.0, "too_many_attempts");
    }

    #[tokio::test(start_paused = true)]
    async fn every_login_takes_the_same_work_and_a_throttled_one_none() {
        let (_mall, app) = app().await;
        for name in ["mei", "gone"] {
            let user = register(&app, name).await;
            if name == "gone" {
                let caller = mallard_rpc::Caller {
                    kind: mallard_rpc::CallerKind::User,
                    user_id: user.id,
                    ..mallard_rpc::Caller::default()
                };
                mallard_rpc::scope(Call { caller, ..Call::default() }, app.delete_me()).await.unwrap();
            }
        }
        let (outcome, hash) = login(&app, "10.0.0.1", "mei@example.com", PASSWORD).await;
        assert_eq!((outcome.as_str(), hash > 0), ("ok", true));
        for email in ["mei@example.com", "nobody@example.com", "gone@example.com", "no address"] {
            for _ in 0..2 {
                let wrong = login(&app, "10.0.0.1", email, "wrong horse battery").await;
                assert_eq!(wrong, ("invalid_credentials".to_owned(), hash), "{email}");
            }
            for password in [PASSWORD, "wrong horse battery"] {
                let throttled = login(&app, "10.0.0.1", email, password).await;
                assert_eq!(throttled, ("too_many_attempts".to_owned(), 0), "{email}");
            }
        }
    }
}
