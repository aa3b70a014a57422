//! Who is at the other end, and whether its network may come in. The keys are those of `[gateway]`, so that pages and API
//! decide alike.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::request::Parts;
use ipnet::IpNet;
use mallard_gateway_core::EdgeConfig;
use mallard_gateway_core::addresses::{Addresses, Gate};
use mallard_gateway_core::origin::{Client, Forwarding, Proxies};
use mallard_rpc::Surface;
use mallard_types::Result;
use serde::Deserialize;

/// The keys of `[gateway]` that are looked at here; the gateway explains and checks them.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Networks of the proxies in front, which are believed about the client.
    pub trusted_proxies: Vec<String>,
    /// The header they write: `x-forwarded-for` (also when empty) or `forwarded`.
    pub forwarded_header: String,
    /// Clients always come over TLS.
    pub tls: bool,
    /// How long browsers that came over TLS are told to come no other way, in seconds; 0 tells them nothing.
    pub hsts_max_age_s: u32,
    /// Networks that may or may not come in, by name of the list: `allow`, `deny`, `store_allow`, …
    pub addresses: BTreeMap<String, Vec<String>>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            trusted_proxies: Vec::new(),
            forwarded_header: String::new(),
            tls: false,
            hsts_max_age_s: EdgeConfig::default().hsts_max_age_s,
            addresses: BTreeMap::new(),
        }
    }
}

/// Tells clients apart.
pub struct Clients {
    proxies: Proxies,
    addresses: Addresses,
    /// How long browsers that came over TLS are told to come no other way, in seconds; 0 tells them nothing.
    pub hsts_max_age_s: u32,
}

impl Clients {
    /// Reads the settings.
    ///
    /// # Errors
    /// Something that is no network, or no such header.
    pub fn new(settings: &Settings) -> anyhow::Result<Clients> {
        let list = |name: &str| networks(name, settings.addresses.get(name).map(Vec::as_slice).unwrap_or_default());
        let gate = |door: &str| {
            let (allow, deny) = (list(&format!("{door}allow"))?, list(&format!("{door}deny"))?);
            anyhow::Ok(Gate { allow, deny })
        };
        let forwarding = match settings.forwarded_header.to_ascii_lowercase().as_str() {
            "" | "x-forwarded-for" => Forwarding::XForwarded,
            "forwarded" => Forwarding::Forwarded,
            other => anyhow::bail!("gateway.forwarded_header: must be x-forwarded-for or forwarded, not {other:?}"),
        };
        Ok(Clients {
            proxies: Proxies {
                trusted: networks("trusted_proxies", &settings.trusted_proxies)?,
                forwarding,
                tls: settings.tls,
            },
            addresses: Addresses {
                everywhere: gate("")?,
                store: gate("store_")?,
                auth: gate("auth_")?,
                seller: gate("seller_")?,
                admin: gate("admin_")?,
            },
            hsts_max_age_s: settings.hsts_max_age_s,
        })
    }

    /// Returns the client of a request: as the gateway's guard found it, or, in a process without the gateway, as the proxies
    /// say.
    pub fn client(&self, parts: &Parts) -> Client {
        parts.extensions.get::<Client>().copied().unwrap_or_else(|| self.proxies.client(parts))
    }

    /// Checks an address at a door. The guard has done so before; a process without the gateway has no guard.
    ///
    /// # Errors
    /// `address_denied`.
    pub fn check(&self, surface: Surface, address: Option<IpAddr>) -> Result<()> {
        self.addresses.check(surface, address)
    }
}

fn networks(key: &str, list: &[String]) -> anyhow::Result<Vec<IpNet>> {
    let network = |text: &String| {
        let parsed = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        parsed.ok_or_else(|| anyhow::anyhow!("gateway {key}: {text:?} is no network such as 10.0.0.0/8"))
    };
    list.iter().map(network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_of_the_pages_is_the_door_of_the_api() {
        let lists = [("deny", "198.51.100.0/24"), ("auth_deny", "203.0.113.7"), ("admin_allow", "10.0.0.0/8")];
        let addresses = lists.iter().map(|(name, net)| ((*name).to_owned(), vec![(*net).to_owned()])).collect();
        let clients = Clients::new(&Settings { addresses, ..Settings::default() }).unwrap();
        let passes = |surface, address: &str| clients.check(surface, address.parse().ok()).is_ok();
        assert!(passes(Surface::Store, "203.0.113.7") && !passes(Surface::Auth, "203.0.113.7"));
        assert!(!passes(Surface::Store, "198.51.100.9"));
        assert!(passes(Surface::Admin, "10.1.1.1") && !passes(Surface::Admin, "203.0.113.7"));
    }

    #[test]
    fn what_is_no_network_or_header_stops_the_start() {
        let bad = |settings: Settings| Clients::new(&settings).is_err();
        assert!(bad(Settings { trusted_proxies: vec!["10.0.0.0/33".into()], ..Settings::default() }));
        assert!(bad(Settings { forwarded_header: "x-real-ip".into(), ..Settings::default() }));
        let addresses = BTreeMap::from([("deny".to_owned(), vec!["nowhere".to_owned()])]);
        assert!(bad(Settings { addresses, ..Settings::default() }));
    }
}
