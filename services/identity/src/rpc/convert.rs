//! Domain values as messages.

use mallard_proto::Timestamp;
use mallard_proto::identity::v1::{
    BookAddress, CreateAddressRequest, Revocation, Session, Tokens, User, UserStatus, VerifyResponse,
};
use mallard_types::Micros;

use super::Rpc;
use crate::app::TokenPair;
use crate::domain::{self, Address, Email, Place, Status};
use crate::store;
use crate::tokens::Claims;

const MICROS_PER_SECOND: Micros = 1_000_000;

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
            ..User::default()
        }
    }
}

pub(super) fn session(session: domain::Session, current: &str) -> Session {
    Session {
        current: session.id == current,
        id: session.id,
        created_at: time(session.created_at),
        last_used_at: time(session.last_used_at),
        user_agent: session.user_agent,
        ..Session::default()
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
            token_type: "Bearer".to_owned(),
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
