//! Who may knock and from where: proxies, `[gateway.addresses]`, `[gateway.cors]`.

use std::net::IpAddr;

use http::uri::Authority;
use ipnet::IpNet;
use mallard_gateway_core::addresses::{self, Gate};
use mallard_gateway_core::cors;
use mallard_gateway_core::origin::Forwarding;
use serde::Deserialize;

/// Lists of networks, e.g. `10.0.0.0/8` or `192.0.2.7`. The `deny` lists go first; an `allow` list that is not empty lets
/// nobody else through.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Addresses {
    /// At every door.
    pub allow: Vec<String>,
    /// At every door.
    pub deny: Vec<String>,
    /// Shoppers.
    pub store_allow: Vec<String>,
    /// Shoppers.
    pub store_deny: Vec<String>,
    /// Accounts and tokens.
    pub auth_allow: Vec<String>,
    /// Accounts and tokens.
    pub auth_deny: Vec<String>,
    /// Sellers.
    pub seller_allow: Vec<String>,
    /// Sellers.
    pub seller_deny: Vec<String>,
    /// Operators.
    pub admin_allow: Vec<String>,
    /// Operators.
    pub admin_deny: Vec<String>,
}

impl Addresses {
    /// Returns what the edge takes.
    ///
    /// # Errors
    /// Text naming the key.
    pub fn lists(&self) -> Result<addresses::Addresses, String> {
        let gate = |door: &str, allow: &[String], deny: &[String]| {
            let key = |list: &str| format!("gateway.addresses.{door}{list}");
            Ok::<_, String>(Gate { allow: networks(&key("allow"), allow)?, deny: networks(&key("deny"), deny)? })
        };
        Ok(addresses::Addresses {
            everywhere: gate("", &self.allow, &self.deny)?,
            store: gate("store_", &self.store_allow, &self.store_deny)?,
            auth: gate("auth_", &self.auth_allow, &self.auth_deny)?,
            seller: gate("seller_", &self.seller_allow, &self.seller_deny)?,
            admin: gate("admin_", &self.admin_allow, &self.admin_deny)?,
        })
    }
}

/// Reads a list of networks; a bare address is a network of one.
///
/// # Errors
/// Text naming the key.
pub fn networks(key: &str, list: &[String]) -> Result<Vec<IpNet>, String> {
    let network = |text: &String| {
        let parsed = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        parsed.ok_or_else(|| format!("{key}: {text:?} is no network such as 10.0.0.0/8 or 2001:db8::/32"))
    };
    list.iter().map(network).collect()
}

/// Reads the name of the header that the proxies write.
///
/// # Errors
/// Text naming the key.
pub fn forwarding(name: &str) -> Result<Forwarding, String> {
    match name.to_ascii_lowercase().as_str() {
        "x-forwarded-for" => Ok(Forwarding::XForwarded),
        "forwarded" => Ok(Forwarding::Forwarded),
        other => Err(format!("gateway.forwarded_header: must be x-forwarded-for or forwarded, not {other:?}")),
    }
}

/// Pages of other origins that may call the API from a browser.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Origins such as `https://shop.example`, or `*`; none switches it off.
    pub origins: Vec<String>,
    /// Cookies and client certificates may be sent along; not with `*`.
    pub credentials: bool,
    /// How long a browser may remember a preflight, in seconds.
    pub max_age_s: u32,
}

impl Default for Cors {
    fn default() -> Self {
        Cors { origins: Vec::new(), credentials: false, max_age_s: 600 }
    }
}

impl Cors {
    /// Returns what the edge takes.
    ///
    /// # Errors
    /// Text naming the key.
    pub fn settings(&self) -> Result<cors::Cors, String> {
        if self.credentials && self.origins.iter().any(|origin| origin == "*") {
            return Err("gateway.cors.credentials: not with origins = [\"*\"]; name the origins".to_owned());
        }
        for origin in self.origins.iter().filter(|origin| *origin != "*") {
            let Some(sent) = as_sent(origin) else {
                return Err(format!("gateway.cors.origins: {origin:?} is no origin such as https://shop.example"));
            };
            if *origin != sent {
                return Err(format!("gateway.cors.origins: {origin:?} is never what a browser sends; write {sent:?}"));
            }
        }
        Ok(cors::Cors { origins: self.origins.clone(), credentials: self.credentials, max_age_s: self.max_age_s })
    }
}

/// Returns an origin as browsers send it: in small letters, and without the port that is usual for its scheme.
fn as_sent(origin: &str) -> Option<String> {
    let (scheme, authority) = origin.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let usual = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority: Authority = authority.parse().ok()?;
    let host = authority.host().to_ascii_lowercase();
    if host.is_empty() || authority.as_str().contains('@') {
        return None;
    }
    match authority.as_str()[authority.host().len()..].strip_prefix(':') {
        None | Some("") => Some(format!("{scheme}://{host}")),
        Some(port) => match port.parse::<u16>().ok()? {
            port if port == usual => Some(format!("{scheme}://{host}")),
            port => Some(format!("{scheme}://{host}:{port}")),
        },
    }
}
