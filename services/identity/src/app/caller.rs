//! Who asks, and what they may ask for. The edge asks the policies; these are the last doors.

use mallard_rpc::Call;
use mallard_types::Result;

use super::Work;
use crate::domain::{ADMIN, Client, Roles, Ruleset, User};
use crate::error::Refusal;
use crate::store;

/// Who does something, from where: all that the log and the events say of a call, which cannot be asked inside a
/// transaction.
#[derive(Clone, Debug, Default)]
pub struct Doer {
    /// A user's id, or the name of a service.
    pub id: String,
    /// The session of a user.
    pub session_id: String,
    /// Network address; empty for the mall itself.
    pub address: String,
    /// Id of the outermost request.
    pub request_id: String,
    /// Trace the work belongs to.
    pub trace: String,
    /// Roles of a user.
    pub roles: Vec<String>,
    /// Whether the caller holds role admin itself, or is the mall.
    pub is_admin: bool,
}

impl Doer {
    /// Reads a call.
    pub fn of(call: &Call) -> Doer {
        Doer {
            id: call.caller.user_id.clone(),
            session_id: call.caller.session_id.clone(),
            address: call.origin.as_ref().map(|origin| origin.address.clone()).unwrap_or_default(),
            request_id: call.request_id.clone(),
            trace: call.trace.traceparent(),
            roles: call.caller.roles.clone(),
            is_admin: call.caller.has_role(ADMIN) || call.caller.is_system(),
        }
    }
}

impl Work {
    /// Checks that the caller may act against an account: against one that holds role admin, or one that inherits it, only
    /// who holds role admin itself, or operators of less could take the mall over by keeping its administrators out.
    pub(super) async fn may_touch(&self, user: &User) -> Result<()> {
        if self.doer.is_admin || !self.known_roles(&user.roles).await?.make_admin(&user.roles) {
            return Ok(());
        }
        Err(Refusal::AdminRoleOnly.into())
    }

    /// Loads the roles that operators have defined, when any of these is one.
    async fn known_roles(&self, roles: &Roles) -> Result<Ruleset> {
        let roles = if roles.custom().is_empty() { Vec::new() } else { store::roles(&self.tx).await? };
        Ok(Ruleset { roles, ..Ruleset::default() })
    }
}

/// Returns the id of the signed-in user who asks.
pub(super) fn caller_id() -> Result<String> {
    mallard_rpc::with_current(|call| call.caller.require_user().map(str::to_owned))
}

/// Returns the session of the caller's token.
pub(super) fn caller_session() -> String {
    mallard_rpc::with_current(|call| call.caller.session_id.clone())
}

/// Checks that an operator or the mall itself asks.
pub(super) fn require_operator() -> Result<()> {
    let allowed = mallard_rpc::with_current(|call| call.caller.is_admin() || call.caller.is_system());
    if allowed { Ok(()) } else { Err(Refusal::AdminOnly.into()) }
}

/// Checks that somebody who holds role admin itself, or the mall, asks: whoever changes who may do what, or the keys.
pub(super) fn require_admin_role() -> Result<()> {
    let allowed = mallard_rpc::with_current(|call| Doer::of(call).is_admin);
    if allowed { Ok(()) } else { Err(Refusal::AdminRoleOnly.into()) }
}

/// Checks that the mall itself asks.
pub(super) fn require_system() -> Result<()> {
    mallard_rpc::with_current(|call| call.caller.require_system())
}

/// Returns what is known of the client that asks.
pub(super) fn client(device: &str) -> Result<Client> {
    mallard_rpc::with_current(|call| {
        let origin = call.origin.as_deref();
        let (user_agent, address) = origin.map_or(("", ""), |origin| (&origin.user_agent, &origin.address));
        Ok(Client::new(device, user_agent, address)?)
    })
}
