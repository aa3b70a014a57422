//! What accounts may do.

use std::collections::BTreeSet;

use crate::error::Refusal;

/// What an account may do. The order is that of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Operates the mall.
    Admin,
    /// Sells in it.
    Seller,
    /// Shops in it.
    User,
}

impl Role {
    /// Returns the public name.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Seller => "seller",
            Role::User => "user",
        }
    }

    fn parse(name: &str) -> Result<Role, Refusal> {
        [Role::Admin, Role::Seller, Role::User]
            .into_iter()
            .find(|role| role.as_str() == name)
            .ok_or(Refusal::RoleUnknown)
    }
}

/// A set of at least one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// Returns what a newcomer gets: [`Role::User`].
    pub fn shopper() -> Roles {
        Roles(BTreeSet::from([Role::User]))
    }

    /// Parses names; a name twice is the same as once.
    ///
    /// # Errors
    /// `unknown_role`, `roles_empty`.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Roles, Refusal> {
        let roles = names.into_iter().map(Role::parse).collect::<Result<BTreeSet<_>, _>>()?;
        if roles.is_empty() { Err(Refusal::RolesEmpty) } else { Ok(Roles(roles)) }
    }

    /// Tells whether a role is in the set.
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Returns the public names in order.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|role| role.as_str().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_known_roles_and_at_least_one() {
        assert_eq!(Roles::parse(["user", "admin", "user"]).unwrap().names(), ["admin", "user"]);
        assert_eq!(Roles::parse(["user", "merchant"]), Err(Refusal::RoleUnknown));
        assert_eq!(Roles::parse([]), Err(Refusal::RolesEmpty));
    }

    proptest! {
        #[test]
        fn role_sets_survive_their_names(picks in proptest::collection::vec(0usize..3, 1..6)) {
            let names = ["user", "seller", "admin"];
            let once = Roles::parse(picks.iter().map(|i| names[*i])).unwrap();
            let again = once.names();
            prop_assert_eq!(Roles::parse(again.iter().map(String::as_str)).unwrap(), once);
        }
    }
}
