//! Domain values as messages.

use mallard_proto::Timestamp;
use mallard_proto::identity::v1::{
    AuditEntry, Ban, BookAddress, CreateAddressRequest, GetAccessResponse, Policy, ReauthenticateResponse, Revocation,
    Role, Session, SigningKey, Standing, Tokens, User, UserStatus, VerifyResponse,
};
use mallard_types::Micros;

use super::Rpc;
use crate::app::{AuditItem, TokenPair, Trusted};
use crate::domain::{self, Address, Email, Place, Status};
use crate::store;
use crate::tokens::Claims;

const MICROS_PER_SECOND: Micros = 1_000_000;
const BEARER: &str = "Bearer";

impl Rpc {
    /// Shows an account as it stands now: a ban whose time is over no longer shows.
    pub(super) fn user(&self, user: domain::User) -> User {
        let status = match user.status(self.app.ctx().now()) {
            Status::Active => UserStatus::Active,
            Status::Banned => UserStatus::Banned,
            Status::Deleted => UserStatus::Deleted,
        };
        User {
            id: user.id,
            email: user.email.as_ref().map(Email::as_str).unwrap_or_default().to_owned(),
            name: user.profile.name,
            language: user.profile.language,
            roles: user.roles.names(),
            status: status.into(),
            created_at: time(user.created_at),
            updated_at: time(user.updated_at),
            version: user.version,
            seller_id: user.seller_id,
            ban: None,
        }
    }

    /// Shows an account to an operator: with the ban that stands.
    pub(super) fn full_user(&self, user: domain::User) -> User {
        let ban = user.ban.clone().filter(|ban| ban.stands(self.app.ctx().now()));
        User { ban: ban.map(Ban::from), ..self.user(user) }
    }
}

impl From<domain::Ban> for Ban {
    fn from(ban: domain::Ban) -> Ban {
        Ban {
            level: ban.level.as_str().to_owned(),
            until: ban.until.and_then(time),
            reason: ban.reason,
            at: time(ban.at),
            by: ban.by,
        }
    }
}

/// Shows how an account stands, with the number of the change.
pub fn standing(seq: i64, standing: domain::Standing) -> Standing {
    Standing {
        seq,
        user_id: standing.user_id,
        roles: standing.roles,
        seller_id: standing.seller_id,
        ban_level: standing.ban.map(|(level, _)| level.as_str().to_owned()).unwrap_or_default(),
        ban_until: standing.ban.and_then(|(_, until)| until).and_then(time),
        until: standing.until.and_then(time),
        deleted: standing.deleted,
    }
}

/// Shows everything that decides who may do what, or that it is as the caller knows it.
pub(super) fn access(version: i64, rules: Option<domain::Ruleset>) -> GetAccessResponse {
    let Some(rules) = rules else { return GetAccessResponse { version, ..GetAccessResponse::default() } };
    GetAccessResponse {
        version,
        changed: true,
        policies: rules.policies.into_iter().map(Policy::from).collect(),
        roles: rules.roles.into_iter().map(Role::from).collect(),
        allow_list: rules.allow_list,
    }
}

impl From<domain::Policy> for Policy {
    fn from(policy: domain::Policy) -> Policy {
        let rule = policy.rule;
        Policy {
            id: rule.id,
            role: rule.role,
            domain: rule.domain,
            path: rule.path,
            method: rule.method,
            effect: domain::effect_name(rule.effect).to_owned(),
            note: policy.note,
            created_at: time(policy.created_at),
        }
    }
}

impl From<domain::RoleDef> for Role {
    fn from(role: domain::RoleDef) -> Role {
        let built_in = domain::is_built_in(role.name());
        Role { built_in, name: role.role.name, inherits: role.role.inherits, note: role.note }
    }
}

impl From<store::StoredKey> for SigningKey {
    fn from(key: store::StoredKey) -> SigningKey {
        SigningKey { kid: key.kid, created_at: time(key.created_at), retired_at: key.retired_at.and_then(time) }
    }
}

impl From<AuditItem> for AuditEntry {
    fn from(item: AuditItem) -> AuditEntry {
        let entry = item.stored.entry;
        AuditEntry {
            seq: item.stored.seq,
            at: time(entry.at),
            actor: entry.actor,
            actor_email: item.actor_email,
            address: entry.address,
            request_id: entry.request_id,
            service: entry.service,
            action: entry.action,
            target: entry.target,
            before: entry.was,
            after: entry.became,
            hash: item.stored.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

impl From<Trusted> for ReauthenticateResponse {
    fn from(trusted: Trusted) -> ReauthenticateResponse {
        ReauthenticateResponse {
            access_token: trusted.access,
            expires_in: trusted.expires_in_s,
            token_type: BEARER.to_owned(),
            trusted_until: time(trusted.until),
        }
    }
}

pub(super) fn session(session: domain::Session, current: &str) -> Session {
    Session {
        current: session.id == current,
        id: session.id,
        created_at: time(session.created_at),
        last_used_at: time(session.last_used_at),
        user_agent: session.client.user_agent,
        device: session.client.device,
        address: session.client.address,
        expires_at: time(session.expires_at),
    }
}

fn time(micros: Micros) -> Option<Timestamp> {
    Some(Timestamp::from_micros(micros))
}

impl From<TokenPair> for Tokens {
    fn from(pair: TokenPair) -> Tokens {
        Tokens {
            access_token: pair.access,
            refresh_token: pair.refresh,
            expires_in: pair.expires_in_s,
            token_type: BEARER.to_owned(),
        }
    }
}

impl From<Claims> for VerifyResponse {
    fn from(claims: Claims) -> VerifyResponse {
        VerifyResponse {
            active: true,
            user_id: claims.sub,
            session_id: claims.sid,
            roles: claims.roles,
            expires_at: time(claims.exp.saturating_mul(MICROS_PER_SECOND)),
            seller_id: claims.seller,
        }
    }
}

impl From<store::Revocation> for Revocation {
    fn from(revocation: store::Revocation) -> Revocation {
        Revocation { seq: revocation.seq, session_id: revocation.session_id, until: time(revocation.until) }
    }
}

impl From<CreateAddressRequest> for Place {
    fn from(r: CreateAddressRequest) -> Place {
        Place {
            name: r.name,
            phone: r.phone,
            country: r.country,
            province: r.province,
            city: r.city,
            district: r.district,
            street: r.street,
            postal_code: r.postal_code,
        }
    }
}

impl From<Address> for BookAddress {
    fn from(address: Address) -> BookAddress {
        let place = address.place;
        BookAddress {
            id: address.id,
            name: place.name,
            phone: place.phone,
            country: place.country,
            province: place.province,
            city: place.city,
            district: place.district,
            street: place.street,
            postal_code: place.postal_code,
            is_default: address.is_default,
            created_at: time(address.created_at),
            updated_at: time(address.updated_at),
        }
    }
}
