//! Where a request comes from: the peer of its connection, or the client that trusted proxies name.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::ConnectInfo;
use http::HeaderMap;
use http::header::USER_AGENT;
use http::request::Parts;
use ipnet::IpNet;
use mallard_rpc::Origin;

/// Most characters of a user agent that are kept.
const USER_AGENT_CHARS_MAX: usize = 200;
/// Most hops looked at, from the right; a longer chain is nobody's honest one.
const HOPS_MAX: usize = 32;
const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
const FORWARDED: &str = "forwarded";

/// The header family that the proxies in front write. Only this one is read: a proxy passes on what it does not write itself,
/// so whoever believes both believes the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forwarding {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Whom to believe about the client.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// Networks of the proxies in front.
    pub trusted: Vec<IpNet>,
    /// What they write.
    pub forwarding: Forwarding,
    /// Says that clients always come over TLS, whatever the headers say.
    pub tls: bool,
}

/// The client at the other end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Its address; none when unknown.
    pub address: Option<IpAddr>,
    /// It came over TLS.
    pub secure: bool,
}

impl Proxies {
    /// Returns the client of a request: the rightmost hop that is no trusted proxy.
    pub fn client(&self, parts: &Parts) -> Client {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip().to_canonical());
        let Some(peer) = peer.filter(|peer| self.trusts(*peer)) else {
            return Client { address: peer, secure: self.tls };
        };
        match self.forwarding {
            Forwarding::XForwarded => {
                let hops = elements(&parts.headers, FORWARDED_FOR);
                let proto = elements(&parts.headers, FORWARDED_PROTO).next();
                Client { address: Some(self.walk(peer, hops)), secure: self.tls || is_https(proto) }
            }
            Forwarding::Forwarded => {
                let hops = elements(&parts.headers, FORWARDED).map(|hop| parameter(hop, "for").unwrap_or_default());
                let last = elements(&parts.headers, FORWARDED).next();
                let proto = last.and_then(|hop| parameter(hop, "proto"));
                Client { address: Some(self.walk(peer, hops)), secure: self.tls || is_https(proto) }
            }
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address))
    }

    /// Goes from hop to hop, from the right, while the one who wrote it is trusted.
    fn walk<'a>(&self, peer: IpAddr, hops: impl Iterator<Item = &'a str>) -> IpAddr {
        let mut address = peer;
        for hop in hops.take(HOPS_MAX) {
            if !self.trusts(address) {
                break;
            }
            // A hop without an address hides who stands behind it: the last one known answers for it.
            let Some(next) = node(hop) else { break };
            address = next;
        }
        address
    }
}

/// Makes what travels with the calls.
pub fn origin(client: Client, headers: &HeaderMap) -> Arc<Origin> {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Arc::new(Origin {
        address: client.address.map(|address| address.to_string()).unwrap_or_default(),
        // `to_str` lets visible ASCII through only, so bytes are characters.
        user_agent: agent[..agent.len().min(USER_AGENT_CHARS_MAX)].to_owned(),
    })
}

/// Returns the elements of a list that may stand in several headers, the last one first.
fn elements<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().collect::<Vec<_>>().into_iter().rev();
    lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(',')).map(str::trim)
}

/// Reads one parameter of an element of `Forwarded`.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
    Some(value.trim().trim_matches('"'))
}

/// Reads an address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

fn is_https(proto: Option<&str>) -> bool {
    proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn client(proxies: &Proxies, peer: &str, headers: &[(&str, &str)]) -> Client {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        if !peer.is_empty() {
            let socket: SocketAddr = peer.parse().unwrap();
            request.extensions_mut().insert(ConnectInfo(socket));
        }
        proxies.client(&request.into_parts().0)
    }

    fn behind(nets: &[&str]) -> Proxies {
        Proxies { trusted: nets.iter().map(|net| net.parse().unwrap()).collect(), ..Proxies::default() }
    }

    fn address(proxies: &Proxies, peer: &str, chain: &[&str]) -> String {
        let headers: Vec<_> = chain.iter().map(|line| ("x-forwarded-for", *line)).collect();
        client(proxies, peer, &headers).address.map(|address| address.to_string()).unwrap_or_default()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let proxies = behind(&["10.0.0.0/8", "fd00::/8"]);
        assert_eq!(address(&proxies, "203.0.113.9:1", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(address(&proxies, "10.0.0.1:1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(address(&proxies, "[::ffff:10.0.0.1]:1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(address(&proxies, "[fd00::1]:1", &["[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(address(&Proxies::default(), "10.0.0.1:1", &["198.51.100.1"]), "10.0.0.1");
        assert_eq!(address(&proxies, "", &["198.51.100.1"]), "");
    }

    #[test]
    fn the_rightmost_hop_that_is_not_ours_counts() {
        let proxies = behind(&["10.0.0.0/8"]);
        // The client wrote the first one itself.
        assert_eq!(address(&proxies, "10.0.0.1:1", &["1.1.1.1, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(address(&proxies, "10.0.0.1:1", &["1.1.1.1", "198.51.100.1:5000", "10.0.0.2"]), "198.51.100.1");
        assert_eq!(address(&proxies, "10.0.0.1:1", &["198.51.100.1, unknown"]), "10.0.0.1");
        assert_eq!(address(&proxies, "10.0.0.1:1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(address(&proxies, "10.0.0.1:1", &[""]), "10.0.0.1");
        let long = vec!["10.0.0.2"; 10_000].join(", ");
        assert_eq!(address(&proxies, "10.0.0.1:1", &[&format!("1.1.1.1, {long}")]), "10.0.0.2");
    }

    #[test]
    fn of_two_headers_only_the_configured_one_is_read() {
        let old = behind(&["10.0.0.0/8"]);
        let new = Proxies { forwarding: Forwarding::Forwarded, ..old.clone() };
        let headers = [
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-proto", "http"),
            ("forwarded", "for=1.1.1.1, For=\"[2001:db8::7]:4711\";proto=https;by=10.0.0.1"),
        ];
        let seen = client(&new, "10.0.0.1:1", &headers);
        assert_eq!((seen.address, seen.secure), (Some("2001:db8::7".parse().unwrap()), true));
        let seen = client(&old, "10.0.0.1:1", &headers);
        assert_eq!((seen.address, seen.secure), (Some("198.51.100.1".parse().unwrap()), false));
        let hidden = [("forwarded", "for=_hidden;proto=https")];
        assert_eq!(client(&new, "10.0.0.1:1", &hidden).address, Some("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn tls_is_known_from_a_trusted_proxy_or_the_configuration() {
        let proxies = behind(&["10.0.0.0/8"]);
        let https = [("x-forwarded-proto", "https")];
        assert!(client(&proxies, "10.0.0.1:1", &https).secure);
        assert!(!client(&proxies, "203.0.113.9:1", &https).secure);
        assert!(client(&Proxies { tls: true, ..Proxies::default() }, "203.0.113.9:1", &[]).secure);
    }

    #[test]
    fn a_user_agent_is_cut() {
        let headers = HeaderMap::from_iter([(USER_AGENT, "x".repeat(1_000).parse().unwrap())]);
        assert_eq!(origin(Client::default(), &headers).user_agent.len(), 200);
    }
}
