//! Whether a caller may take a route: what a token says, corrected by how its account stands, held against the policy.

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use mallard_access::ANONYMOUS;
use mallard_gateway_core::{Authenticate, Contract, Identity, auth};
use mallard_proto::rest::{Access, RouteInfo};
use mallard_rpc::{Caller, CallerKind, Surface};
use mallard_types::{Error, Micros, Result};

use crate::bans::{self, Level, Verdict};
use crate::cache::Now;
use crate::policies::{self, Policies};
use crate::standings::Standings;
use crate::tokens::Tokens;
use crate::uses::Uses;

/// Methods of identity after which sessions may be revoked.
const REVOKING: [&str; 6] =
    ["Logout", "RevokeSession", "ChangePassword", "DeleteMe", "AdminKickUser", "AdminRevokeSession"];
/// Methods of identity after which accounts may stand differently.
const STANDING: [&str; 4] = ["DeleteMe", "AdminBanUser", "AdminUnbanUser", "AdminSetRoles"];
/// Methods of identity after which there may be another policy.
const POLICY: [&str; 5] =
    ["AdminCreatePolicy", "AdminDeletePolicy", "AdminPutRole", "AdminDeleteRole", "AdminPutAllowList"];
/// Method of identity after which there is another key.
const KEYS: &str = "AdminRotateKeys";

/// What every account may do, whatever its roles: end its sessions, and say that it is still itself.
const OPEN_TO_ACCOUNTS: [&str; 2] = [bans::LEAVING, "Reauthenticate"];

/// Decides who comes in. Everything it needs is in memory.
pub struct Door {
    tokens: Arc<Tokens>,
    standings: Arc<Standings>,
    policies: Arc<Policies>,
    uses: Arc<Uses>,
    now: Now,
    /// How long a password that was entered is trusted for dangerous actions, in microseconds.
    trust: Micros,
    /// Roles of those who are not signed in.
    strangers: Vec<String>,
    contract: Contract,
}

impl Door {
    /// Makes the door.
    ///
    /// # Errors
    /// Two routes of the contracts cannot be told apart, which every test of the gateway shows.
    pub fn new(
        tokens: Arc<Tokens>,
        standings: Arc<Standings>,
        policies: Arc<Policies>,
        uses: Arc<Uses>,
        now: Now,
        trust: Micros,
    ) -> anyhow::Result<Door> {
        let contract = Contract::new().map_err(anyhow::Error::msg)?;
        let strangers = vec![ANONYMOUS.to_owned()];
        Ok(Door { tokens, standings, policies, uses, now, trust, strangers, contract })
    }

    /// Reads what must be known before anybody but strangers is let in, unless it was read before.
    ///
    /// # Errors
    /// When identity cannot be asked, or its policy does not load.
    pub async fn complete(&self) -> Result<()> {
        self.tokens.complete().await?;
        self.standings.complete().await?;
        self.policies.complete().await
    }

    /// Decides whether the holder of a token may do what a route of the API does, for callers that have no request of the API
    /// in hand: the same decision as the edge's, and the use of the session is noted. `verb` and `path` are those of the
    /// route, with its parameters filled in: `POST`, `/admin/v1/users/usr_1/ban`. An empty token is nobody's. The caller that
    /// is returned stands at the door the path belongs to.
    ///
    /// # Errors
    /// As the edge's: `unauthenticated`, `invalid_token`, `token_expired`, `session_revoked`, `forbidden`, `account_banned`,
    /// `reauthentication_required`, `policy_unavailable`; `route_not_found` and `method_not_allowed` when the contracts have
    /// no such route; identity's own when it has to be asked and cannot be.
    pub async fn enter(&self, token: &str, verb: &str, path: &str) -> Result<Caller> {
        let info = self.contract.find(verb, path)?;
        let known = if token.is_empty() { Ok(Identity::default()) } else { self.identify(token).await };
        auth::admit(self, info, path, known, None)
    }

    /// Reads what a method of identity may have changed, so that the next decision in this process obeys it. Methods that
    /// change nothing that counts here cost nothing.
    ///
    /// # Errors
    /// When identity cannot be asked; the event and the next look bring it then.
    pub async fn read_after(&self, method: &str) -> Result<()> {
        if REVOKING.contains(&method) {
            self.tokens.read_revocations().await?;
        }
        if STANDING.contains(&method) {
            self.standings.read().await?;
        }
        if POLICY.contains(&method) {
            self.policies.read().await?;
        }
        if method == KEYS {
            self.tokens.refresh_keys().await?;
        }
        Ok(())
    }

    /// Tells whether [`Door::read_after`] has anything to read after a method of identity.
    pub fn concerns(method: &str) -> bool {
        [&REVOKING[..], &STANDING, &POLICY, &[KEYS]].iter().any(|list| list.contains(&method))
    }

    /// Finds out who holds a token, and how the account stands.
    async fn identify(&self, token: &str) -> Result<Identity> {
        let verified = self.tokens.verify(token).await?;
        self.standings.complete().await?;
        let mut caller = verified.caller.clone();
        self.standings.correct(&mut caller)?;
        self.uses.note(&caller.session_id);
        // The first request after a start may be faster than the first look. Whether there is a policy is asked below.
        if self.policies.current().is_none()
            && let Err(error) = self.policies.read().await
        {
            tracing::debug!(%error, "the policies could not be read for a request");
        }
        Ok(Identity { caller, authenticated_at: verified.authenticated_at })
    }

    fn is_fresh(&self, authenticated_at: Micros) -> bool {
        authenticated_at.saturating_add(self.trust) > (self.now)()
    }
}

#[async_trait]
impl Authenticate for Door {
    async fn authenticate(&self, headers: &HeaderMap) -> Result<Identity> {
        let Some(token) = auth::bearer(headers)? else { return Ok(Identity::default()) };
        self.identify(token).await
    }

    fn authorise(&self, info: &RouteInfo, access: Access, path: &str, identity: Identity) -> Result<Caller> {
        let Identity { mut caller, authenticated_at } = identity;
        let policy = self.policies.current();
        let public = access == Access::Public;
        let listed = policy.as_ref().is_some_and(|policy| policy.needs_no_login(info.verb, path));
        if let Some(level) = Level::of(&caller) {
            match level.verdict(info, public || listed) {
                Verdict::Pass => {}
                Verdict::Stranger => caller = as_stranger(caller),
                Verdict::Refuse => return Err(level.refusal(self.standings.ban_until(&caller.user_id))),
            }
        }
        let Some(policy) = policy else {
            return if public { Ok(caller) } else { Err(policies::unavailable()) };
        };

        let signed_in = caller.kind == CallerKind::User;
        let roles = if signed_in { &caller.roles } else { &self.strangers };
        let domain = if caller.surface == Surface::Seller { caller.seller_id.as_str() } else { "" };
        let decision = policy.decide(roles, domain, info.verb, path);
        let refused = || {
            let rule = decision.rule.as_deref();
            tracing::debug!(rule, user_id = caller.user_id, verb = info.verb, path, "the policy refused a request");
            Error::forbidden("forbidden", "your account may not do this")
        };
        let leaving = signed_in && info.name == bans::LEAVING;
        // A rule that denies wins, also where everybody may look.
        if !decision.allowed && decision.rule.is_some() && !leaving {
            return Err(refused());
        }
        if public {
            return Ok(caller);
        }
        if !(signed_in && decision.allowed) && listed {
            // The list opens the path, not the surface: whom the rules do not let through goes in as nobody.
            return Ok(as_stranger(caller));
        }
        if !signed_in {
            return auth::check(Access::User, &caller).map(|()| caller);
        }
        if !decision.allowed && !OPEN_TO_ACCOUNTS.contains(&info.name) {
            return Err(refused());
        }
        if info.dangerous && !self.is_fresh(authenticated_at) {
            let remedy = "enter the password again at POST /auth/v1/reauthenticate and use the token it answers";
            return Err(Error::forbidden("reauthentication_required", remedy));
        }
        Ok(caller)
    }
}

/// Returns somebody who is not signed in, at the same door and of the same language.
fn as_stranger(caller: Caller) -> Caller {
    Caller { surface: caller.surface, language: caller.language, ..Caller::default() }
}
