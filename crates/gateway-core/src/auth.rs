//! Who asks, and whether a route lets them.

use async_trait::async_trait;
use http::HeaderMap;
use mallard_proto::rest::{Access, RouteInfo};
use mallard_rpc::{Caller, CallerKind, Surface};
use mallard_types::{Error, Kind, Micros, Result};

use crate::table;

/// Who a request comes from, as its headers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The caller; an anonymous one when the request names nobody.
    pub caller: Caller,
    /// When the caller last proved to know the password, in microseconds since the epoch; 0 when not known.
    pub authenticated_at: Micros,
}

/// Knows callers by the headers of their request.
#[async_trait]
pub trait Authenticate: Send + Sync {
    /// Returns who a request comes from.
    ///
    /// # Errors
    /// `invalid_token`, `token_expired` or `session_revoked` when it names somebody wrongly.
    async fn authenticate(&self, headers: &HeaderMap) -> Result<Identity>;

    /// Decides whether a caller may take a route, and returns as whom: an account that must not act here may still look as
    /// a stranger. `identity.caller.surface` is the route's, `access` what the contract says of it, `path` the request's
    /// own, undecoded.
    ///
    /// # Errors
    /// `unauthenticated` when nobody is signed in and somebody must be, otherwise why not.
    fn authorise(&self, info: &RouteInfo, access: Access, path: &str, identity: Identity) -> Result<Caller> {
        let _ = (info, path);
        check(access, &identity.caller)?;
        Ok(identity.caller)
    }
}

/// Decides whether who is known to ask may take a route, and returns as whom; the one way in, for requests of the API and for
/// whatever stands for one. `known` is what [`Authenticate::authenticate`] found, `path` the request's own.
///
/// # Errors
/// Those of `known`, and of [`Authenticate::authorise`].
pub fn admit(
    door: &dyn Authenticate,
    info: &RouteInfo,
    path: &str,
    known: Result<Identity>,
    language: Option<&str>,
) -> Result<Caller> {
    let (surface, access) = (table::surface(info.path), table::access(info));
    let is_open_door = surface == Surface::Auth && access == Access::Public;
    let mut identity = match known {
        Ok(identity) => identity,
        // A client whose token has expired must still be able to sign in or refresh.
        Err(error) if error.kind == Kind::Unauthenticated && is_open_door => Identity::default(),
        Err(error) => return Err(error),
    };
    identity.caller.surface = surface;
    if let Some(language) = language {
        language.clone_into(&mut identity.caller.language);
    }
    door.authorise(info, access, path, identity)
}

/// Checks the access level of a route.
///
/// # Errors
/// `unauthenticated` when nobody is signed in, `forbidden` when the role is missing.
pub fn check(access: Access, caller: &Caller) -> Result<()> {
    if access == Access::Public {
        return Ok(());
    }
    if caller.kind != CallerKind::User {
        return Err(Error::unauthenticated(
            "unauthenticated",
            "sign in and send the access token as Authorization: Bearer",
        ));
    }
    let allowed = match access {
        Access::Public | Access::User => true,
        Access::Seller => caller.has_role("seller") || caller.has_role("admin"),
        // Not `is_admin`: the door a caller stands at says nothing before this decision, which is what lets it through.
        Access::Admin => caller.has_role("admin"),
    };
    if allowed { Ok(()) } else { Err(Error::forbidden("forbidden", "your account may not do this")) }
}

/// Returns the token of `Authorization: Bearer …`.
///
/// # Errors
/// `invalid_token` when the header is something else.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(value) = headers.get(http::header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(Some(token.trim()))
        }
        _ => Err(Error::unauthenticated("invalid_token", "Authorization must be Bearer and an access token")),
    }
}

/// Returns the language a client asks for first (`Accept-Language`), a BCP 47 tag of at most 35 characters.
pub fn language(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(http::header::ACCEPT_LANGUAGE)?.to_str().ok()?;
    let first = text.split(',').next()?.split(';').next()?.trim();
    let shaped = !first.is_empty()
        && first.len() <= 35
        && first.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    shaped.then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn user(roles: &[&str]) -> Caller {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Caller { kind: CallerKind::User, user_id: "usr_1".into(), roles, ..Caller::default() }
    }

    #[test]
    fn each_level_lets_in_whom_it_should() {
        let code = |access, caller: &Caller| check(access, caller).err().map(|error| error.code.into_owned());
        let (nobody, shopper, seller, admin) =
            (Caller::default(), user(&["user"]), user(&["seller"]), user(&["admin"]));
        for caller in [&nobody, &shopper, &seller, &admin] {
            assert_eq!(code(Access::Public, caller), None);
        }
        for access in [Access::User, Access::Seller, Access::Admin] {
            assert_eq!(code(access, &nobody).as_deref(), Some("unauthenticated"));
            assert_eq!(code(access, &admin), None);
        }
        assert_eq!(code(Access::User, &shopper), None);
        assert_eq!(code(Access::Seller, &shopper).as_deref(), Some("forbidden"));
        assert_eq!(code(Access::Seller, &seller), None);
        assert_eq!(code(Access::Admin, &seller).as_deref(), Some("forbidden"));
    }

    #[test]
    fn a_bearer_token_is_found_whatever_the_case_of_the_scheme() {
        let with = |value: &'static str| {
            HeaderMap::from_iter([(http::header::AUTHORIZATION, HeaderValue::from_static(value))])
        };
        assert_eq!(bearer(&HeaderMap::new()).unwrap(), None);
        assert_eq!(bearer(&with("bearer abc")).unwrap(), Some("abc"));
        for bad in ["Basic abc", "Bearer", "Bearer ", "abc"] {
            assert_eq!(bearer(&with(bad)).unwrap_err().code, "invalid_token", "{bad}");
        }
    }

    #[test]
    fn the_first_language_counts() {
        let with = |value: &'static str| {
            HeaderMap::from_iter([(http::header::ACCEPT_LANGUAGE, HeaderValue::from_static(value))])
        };
        assert_eq!(language(&with("zh-CN,zh;q=0.9,en;q=0.8")), Some("zh-CN"));
        assert_eq!(language(&with("en;q=0.5")), Some("en"));
        assert_eq!(language(&with("*")), None);
        assert_eq!(language(&HeaderMap::new()), None);
    }
}
