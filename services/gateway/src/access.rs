//! Whether a caller may take a route: what a token says, corrected by how its account stands, held against the policy.

mod feeds;
mod policies;

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use mallard_access::ANONYMOUS;
use mallard_gateway_core::{Authenticate, Identity, auth};
use mallard_proto::rest::{Access, RouteInfo};
use mallard_rpc::{Caller, CallerKind, Surface};
use mallard_types::{Error, Micros, Result};

use crate::bans::{self, Level, Verdict};
use crate::cache::Now;
use crate::standings::Standings;
use crate::tokens::Tokens;
use crate::uses::Uses;

pub use feeds::Feeds;
pub use policies::Policies;

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
}

impl Door {
    /// Makes the door.
    pub fn new(
        tokens: Arc<Tokens>,
        standings: Arc<Standings>,
        policies: Arc<Policies>,
        uses: Arc<Uses>,
        now: Now,
        trust: Micros,
    ) -> Door {
        Door { tokens, standings, policies, uses, now, trust, strangers: vec![ANONYMOUS.to_owned()] }
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

    fn is_fresh(&self, authenticated_at: Micros) -> bool {
        authenticated_at.saturating_add(self.trust) > (self.now)()
    }
}

#[async_trait]
impl Authenticate for Door {
    async fn authenticate(&self, headers: &HeaderMap) -> Result<Identity> {
        let Some(token) = auth::bearer(headers)? else { return Ok(Identity::default()) };
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
