//! Which addresses may knock at which door.

use std::net::IpAddr;

use ipnet::IpNet;
use mallard_rpc::Surface;
use mallard_types::{Error, Result};

/// The lists of one door.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    /// When it is not empty, only these networks pass.
    pub allow: Vec<IpNet>,
    /// These do not pass, whatever `allow` says.
    pub deny: Vec<IpNet>,
}

/// The lists of all doors.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Holds at every door, before the door's own.
    pub everywhere: Gate,
    /// Shoppers.
    pub store: Gate,
    /// Accounts and tokens.
    pub auth: Gate,
    /// Sellers.
    pub seller: Gate,
    /// Operators.
    pub admin: Gate,
}

impl Gate {
    fn lets(&self, address: Option<IpAddr>) -> bool {
        let Some(address) = address else { return self.allow.is_empty() };
        let among = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        !among(&self.deny) && (self.allow.is_empty() || among(&self.allow))
    }
}

impl Addresses {
    /// Checks an address. An unknown one passes where nothing but a list of the denied stands.
    ///
    /// # Errors
    /// `address_denied`.
    pub fn check(&self, surface: Surface, address: Option<IpAddr>) -> Result<()> {
        let door = match surface {
            Surface::Auth => &self.auth,
            Surface::Seller => &self.seller,
            Surface::Admin => &self.admin,
            Surface::Store | Surface::Internal => &self.store,
        };
        if self.everywhere.lets(address) && door.lets(address) {
            return Ok(());
        }
        Err(Error::forbidden("address_denied", "requests from your network are not accepted here"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|net| net.parse().unwrap()).collect()
    }

    #[test]
    fn a_door_has_lists_of_its_own() {
        let lists = Addresses {
            everywhere: Gate { deny: nets(&["198.51.100.0/24", "2001:db8::/32"]), ..Gate::default() },
            admin: Gate { allow: nets(&["10.0.0.0/8"]), deny: nets(&["10.9.0.0/16"]) },
            ..Addresses::default()
        };
        let passes = |surface, address: &str| lists.check(surface, address.parse().ok()).is_ok();
        assert!(passes(Surface::Store, "203.0.113.1") && !passes(Surface::Admin, "203.0.113.1"));
        assert!(passes(Surface::Admin, "10.1.2.3") && !passes(Surface::Admin, "10.9.2.3"));
        for denied in ["198.51.100.77", "2001:db8::1"] {
            assert!(!passes(Surface::Store, denied) && !passes(Surface::Auth, denied), "{denied}");
        }
        assert!(passes(Surface::Store, "unknown"), "a list of the denied does not name it");
        assert!(!passes(Surface::Admin, "unknown"), "nor does a list of the allowed");
    }
}
