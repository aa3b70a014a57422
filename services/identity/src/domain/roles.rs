//! What accounts may do: names of roles, each everywhere or in one seller's domain only. What a role allows is data
//! (`policies.rs`); three names have a meaning here.

use std::collections::BTreeSet;

use crate::error::Refusal;

/// Operates the mall.
pub const ADMIN: &str = "admin";
/// Sells in it.
pub const SELLER: &str = "seller";
/// Shops in it.
pub const USER: &str = "user";
/// Everybody who is not signed in. No account holds it.
pub const ANONYMOUS: &str = mallard_access::ANONYMOUS;

/// Roles that always exist, each with those it inherits.
pub const BUILT_IN: [(&str, &[&str]); 4] = [(ADMIN, &[SELLER]), (SELLER, &[USER]), (USER, &[]), (ANONYMOUS, &[])];

/// Most roles of one account.
pub const ROLES_PER_USER_MAX: usize = 20;

const NAME_BYTES_MAX: usize = 64;

/// Tells whether a role always exists.
pub fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(built_in, _)| *built_in == name)
}

/// A set of at least one role, as `name` or `name@domain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(BTreeSet<String>);

impl Roles {
    /// Returns what a newcomer gets: `user`.
    pub fn shopper() -> Roles {
        Roles(BTreeSet::from([USER.to_owned()]))
    }

    /// Parses names; a name twice is the same as once. Whether a role exists is another question.
    ///
    /// # Errors
    /// `unknown_role` for what cannot be one, `roles_empty`, `too_many_roles`.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Roles, Refusal> {
        let mut roles = BTreeSet::new();
        for name in names {
            if !is_role(name) {
                return Err(Refusal::RoleUnknown(shown(name)));
            }
            roles.insert(name.to_owned());
            if roles.len() > ROLES_PER_USER_MAX {
                return Err(Refusal::RolesTooMany);
            }
        }
        if roles.is_empty() { Err(Refusal::RolesEmpty) } else { Ok(Roles(roles)) }
    }

    /// Tells whether the account operates the mall.
    pub fn is_admin(&self) -> bool {
        self.0.contains(ADMIN)
    }

    /// Tells whether the account sells on its own account, so that it needs a seller id.
    pub fn is_seller(&self) -> bool {
        self.0.contains(SELLER)
    }

    /// Tells whether an account with these roles acts for a seller: as the seller, in the seller's domain, or in a role
    /// that operators have defined, for which the policies say what it may do.
    pub fn act_for(&self, seller_id: &str) -> bool {
        self.0.iter().any(|role| match split(role) {
            (_, Some(domain)) => domain == seller_id,
            (name, None) => name == SELLER || !is_built_in(name),
        })
    }

    /// Returns the public names in order.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }

    /// Tells whether a role, as `name` or `name@domain`, is among them.
    pub fn has(&self, role: &str) -> bool {
        self.0.contains(role)
    }

    /// Returns the names without their domains, each once.
    pub fn bare(&self) -> BTreeSet<&str> {
        self.0.iter().map(|role| split(role).0).collect()
    }

    /// Returns those of [`Roles::bare`] that operators have defined.
    pub fn custom(&self) -> BTreeSet<&str> {
        self.bare().into_iter().filter(|name| !is_built_in(name)).collect()
    }
}

/// Returns the name and the domain of a role.
pub(super) fn split(role: &str) -> (&str, Option<&str>) {
    match role.split_once('@') {
        Some((name, domain)) => (name, Some(domain)),
        None => (role, None),
    }
}

fn is_role(role: &str) -> bool {
    let (name, domain) = split(role);
    let is_word = |text: &str| {
        (1..=NAME_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    is_word(name) && name != ANONYMOUS && domain.is_none_or(is_word)
}

/// Cuts what a caller sent to what an answer may repeat.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(NAME_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn roles(names: &[&str]) -> Roles {
        Roles::parse(names.iter().copied()).unwrap()
    }

    #[test]
    fn names_are_kept_once_and_in_order() {
        assert_eq!(roles(&["user", "admin", "user"]).names(), ["admin", "user"]);
        assert_eq!(roles(&["support", "packer@sel_1", "packer@sel_2"]).bare(), ["packer", "support"].into());
        assert_eq!(roles(&["user", "packer@sel_1"]).custom(), ["packer"].into());
    }

    #[test]
    fn what_cannot_be_a_role_is_refused_by_name() {
        for name in ["", "a,b", "a b", "ban:buy", "x@", "@x", "a@b@c", "anonymous", "anonymous@sel_1", "é"] {
            assert_eq!(Roles::parse(["user", name]), Err(Refusal::RoleUnknown(name.to_owned())), "{name:?}");
        }
        let long = "x".repeat(65);
        assert_eq!(Roles::parse([long.as_str()]), Err(Refusal::RoleUnknown("x".repeat(64))));
        assert_eq!(Roles::parse([]), Err(Refusal::RolesEmpty));
        let many: Vec<String> = (0..21).map(|i| format!("role{i}")).collect();
        assert_eq!(Roles::parse(many.iter().map(String::as_str)), Err(Refusal::RolesTooMany));
    }

    #[test]
    fn only_the_bare_name_makes_an_operator_or_a_seller() {
        assert!(roles(&["admin"]).is_admin() && !roles(&["admin@sel_1", "adminx"]).is_admin());
        assert!(roles(&["seller"]).is_seller() && !roles(&["seller@sel_1"]).is_seller());
    }

    #[test]
    fn a_seller_is_acted_for_as_seller_in_its_domain_or_in_a_role_of_the_operators() {
        for (held, acts) in [
            (&["seller"][..], true),
            (&["user", "packer@sel_1"], true),
            (&["packer"], true),
            (&["user"], false),
            (&["admin", "user"], false),
            (&["packer@sel_2"], false),
        ] {
            assert_eq!(roles(held).act_for("sel_1"), acts, "{held:?}");
        }
    }

    proptest! {
        #[test]
        fn role_sets_survive_their_names(names in proptest::collection::vec("[a-z][a-z0-9_-]{0,9}(@sel_[0-9]{1,3})?", 1..6)) {
            let once = Roles::parse(names.iter().map(String::as_str)).unwrap();
            let again = once.names();
            prop_assert_eq!(Roles::parse(again.iter().map(String::as_str)).unwrap(), once);
        }
    }
}
