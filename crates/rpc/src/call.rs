//! What travels with every call by itself: who asks, on behalf of which request, until when.

use std::future::Future;
use std::sync::Arc;

use mallard_types::{Error, Micros, Result};
use tokio::time::Instant;

use crate::trace::Trace;

/// Class of a caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CallerKind {
    /// Nobody is signed in.
    #[default]
    Anonymous,
    /// A signed-in user.
    User,
    /// A service acting for the mall itself.
    System,
}

/// Door through which the request came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Surface {
    /// Between services.
    #[default]
    Internal,
    /// Shoppers.
    Store,
    /// Sellers.
    Seller,
    /// Operators.
    Admin,
    /// Accounts and tokens.
    Auth,
}

/// Who asks, as the verified token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Class of the caller.
    pub kind: CallerKind,
    /// The user's id; the service's name for a system caller.
    pub user_id: String,
    /// The session the token belongs to.
    pub session_id: String,
    /// Roles the token grants, e.g. `seller`, `admin`.
    pub roles: Vec<String>,
    /// The seller the user acts for.
    pub seller_id: String,
    /// Door through which the request came in.
    pub surface: Surface,
    /// Preferred language of texts, a BCP 47 tag.
    pub language: String,
}

impl Caller {
    /// Makes the caller a service is when it acts for the mall itself.
    pub fn system(service: &str) -> Caller {
        Caller { kind: CallerKind::System, user_id: service.to_owned(), ..Caller::default() }
    }

    /// Returns the signed-in user's id.
    ///
    /// # Errors
    /// `unauthenticated` (code `unauthenticated`) when the caller is not a signed-in user.
    pub fn require_user(&self) -> Result<&str> {
        if self.kind == CallerKind::User && !self.user_id.is_empty() {
            return Ok(&self.user_id);
        }
        Err(Error::unauthenticated("unauthenticated", "sign in first"))
    }

    /// Tells whether the caller acts as an operator: a signed-in user with role `admin`, or one of another role whom the
    /// policies let through the operators' door. Only the edge sets that door, after it has asked them.
    pub fn is_admin(&self) -> bool {
        self.kind == CallerKind::User && (self.surface == Surface::Admin || self.has_role("admin"))
    }

    /// Tells whether the caller is a signed-in user with this role.
    pub fn has_role(&self, role: &str) -> bool {
        self.kind == CallerKind::User && self.roles.iter().any(|held| held == role)
    }

    /// Tells whether a service asks for the mall itself.
    pub fn is_system(&self) -> bool {
        self.kind == CallerKind::System
    }

    /// Refuses a call nobody vouches for: neither a user, nor a visitor whom the edge let in, nor a service. Work outside of any
    /// call sends such.
    ///
    /// # Errors
    /// `unauthenticated` (code `identity_required`).
    pub fn require_identity(&self) -> Result<()> {
        if self.kind != CallerKind::Anonymous || self.surface != Surface::Internal {
            return Ok(());
        }
        Err(Error::unauthenticated(
            "identity_required",
            "a call must say for whom it is made: a user, a visitor of the shop, or a service",
        ))
    }

    /// Refuses everybody but the mall's own services.
    ///
    /// # Errors
    /// `forbidden` (code `internal_only`).
    pub fn require_system(&self) -> Result<()> {
        if self.is_system() {
            return Ok(());
        }
        Err(Error::forbidden("internal_only", "only the mall's own services may call this"))
    }
}

/// The client at the other end of the outermost request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Network address as text, behind trusted proxies the one they name; empty when unknown.
    pub address: String,
    /// What the client says it is.
    pub user_agent: String,
}

/// Context of the work in progress; the channel sends it along, the server layer restores it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// Who asks.
    pub caller: Caller,
    /// The request this work belongs to.
    pub trace: Trace,
    /// When the answer is no longer wanted; none outside a call.
    pub deadline: Option<Instant>,
    /// Business time in microseconds since the epoch, backdated by a system caller (replay).
    pub at: Option<Micros>,
    /// Id of the outermost request, for support and logs.
    pub request_id: String,
    /// Where the outermost request came from; none for work of the mall itself.
    pub origin: Option<Arc<Origin>>,
    /// Versions of services that calls made for this request go to where they exist (canary), by service name.
    pub versions: Option<Arc<Vec<(String, String)>>>,
}

impl Call {
    /// Makes the context of work a service does for the mall itself.
    pub fn system(service: &str) -> Call {
        Call { caller: Caller::system(service), ..Call::default() }
    }
}

tokio::task_local! {
    static CURRENT: Arc<Call>;
}

/// Returns the context of the work in progress, an anonymous one when there is none.
pub fn current() -> Call {
    with_current(Call::clone)
}

/// Runs `f` on the context of the work in progress without copying it.
pub fn with_current<R>(f: impl FnOnce(&Call) -> R) -> R {
    match CURRENT.try_with(Arc::clone) {
        Ok(call) => f(&call),
        Err(_) => f(&Call::default()),
    }
}

/// Runs `f` with `call` as the context of the work in progress. A task spawned inside does not inherit it.
pub fn scope<F: Future>(call: Call, f: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(Arc::new(call), f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_signed_in_user_passes_require_user() {
        let user = Caller { kind: CallerKind::User, user_id: "usr_1".into(), ..Caller::default() };
        assert_eq!(user.require_user().unwrap(), "usr_1");
        for caller in [Caller::default(), Caller::system("order"), Caller { user_id: String::new(), ..user.clone() }] {
            assert_eq!(caller.require_user().unwrap_err().code, "unauthenticated");
        }
        let admin = Caller { roles: vec!["admin".into()], ..user.clone() };
        assert!(admin.is_admin());
        let support = Caller { roles: vec!["support".into()], surface: Surface::Admin, ..user.clone() };
        assert!(support.is_admin() && !Caller { surface: Surface::Store, ..support }.is_admin());
        assert!(!Caller { surface: Surface::Admin, ..Caller::default() }.is_admin());
        assert_eq!(admin.require_system().unwrap_err().code, "internal_only");
        assert!(Caller::system("order").require_system().is_ok());
        assert_eq!(Caller::default().require_identity().unwrap_err().code, "identity_required");
        let visitor = Caller { surface: Surface::Store, ..Caller::default() };
        assert!(
            [visitor, user.clone(), Caller::system("order")].iter().all(|caller| caller.require_identity().is_ok())
        );
        assert!(!Caller { kind: CallerKind::Anonymous, ..admin }.is_admin());
    }

    #[tokio::test(start_paused = true)]
    async fn scopes_nest_and_end() {
        assert_eq!(current(), Call::default());
        let outer = Call { request_id: "outer".into(), ..Call::default() };
        let inner = Call { request_id: "inner".into(), ..Call::default() };
        scope(outer, async {
            scope(inner, async { assert_eq!(current().request_id, "inner") }).await;
            assert_eq!(current().request_id, "outer");
        })
        .await;
        assert_eq!(current(), Call::default());
    }
}
