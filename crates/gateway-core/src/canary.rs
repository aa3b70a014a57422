//! Canaries: a part of the requests goes to a named version of a service.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::crowd::{self, PLACES};

/// Header of an answer that names the versions chosen, e.g. `order=v2`.
pub const CANARY: HeaderName = HeaderName::from_static("x-mallard-canary");

/// A version on trial.
#[derive(Clone, Debug)]
pub struct Canary {
    /// Service, e.g. `order`.
    pub service: String,
    /// Version, e.g. `v2`.
    pub version: String,
    /// Header that asks for it by a value of `v2` or `order=v2`; none: nobody may ask.
    pub header: Option<HeaderName>,
    /// Part of the clients that get it without asking, of ten thousand.
    pub weight: u32,
}

/// Versions for a request, by service.
pub type Versions = Arc<Vec<(String, String)>>;

/// Chooses the versions for a client: what it asks for, else by its place in the crowd, so that it always sees the same.
pub fn choose(canaries: &[Canary], headers: &HeaderMap, who: &[u8]) -> Option<Versions> {
    let mut chosen: Vec<(String, String)> = Vec::new();
    for canary in canaries {
        if chosen.iter().any(|(service, _)| *service == canary.service) {
            continue;
        }
        // Another salt per version: who has the canary of one service need not have all.
        let drawn = || crowd::place(&format!("canary {} {}", canary.service, canary.version), who) < canary.weight;
        if canary.asked_by(headers) || (canary.weight > 0 && drawn()) {
            chosen.push((canary.service.clone(), canary.version.clone()));
        }
    }
    (!chosen.is_empty()).then(|| Arc::new(chosen))
}

/// Names what was chosen.
pub fn named(versions: &[(String, String)]) -> Option<HeaderValue> {
    let names: Vec<String> = versions.iter().map(|(service, version)| format!("{service}={version}")).collect();
    HeaderValue::from_str(&names.join(", ")).ok()
}

impl Canary {
    fn asked_by(&self, headers: &HeaderMap) -> bool {
        let Some(value) = self.header.as_ref().and_then(|name| headers.get(name)) else { return false };
        let wishes = value.to_str().unwrap_or_default().split(',').map(str::trim);
        let ours = |wish: &str| match wish.split_once('=') {
            Some((service, version)) => service == self.service && version == self.version,
            None => wish == self.version,
        };
        wishes.into_iter().any(ours)
    }
}

/// Returns a weight in percent as a part of ten thousand; none when it is no percentage.
pub fn weight(percent: f64) -> Option<u32> {
    // Within the range it fits.
    (0.0..=100.0).contains(&percent).then(|| (percent * f64::from(PLACES) / 100.0).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(service: &str, version: &str, percent: f64) -> Canary {
        let (service, version) = (service.to_owned(), version.to_owned());
        Canary { service, version, header: Some(CANARY), weight: weight(percent).unwrap() }
    }

    fn asking(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(CANARY, value.parse().unwrap())])
    }

    #[test]
    fn a_client_may_ask() {
        let canaries = [canary("order", "v2", 0.0), canary("order", "v3", 0.0), canary("cart", "v2", 0.0)];
        let chosen = |value: &str| choose(&canaries, &asking(value), b"").map(|versions| named(&versions).unwrap());
        assert_eq!(chosen("v2").unwrap(), "order=v2, cart=v2");
        assert_eq!(chosen("cart=v2").unwrap(), "cart=v2");
        assert_eq!(chosen("v3, cart=v2").unwrap(), "order=v3, cart=v2");
        assert!(chosen("v4").is_none() && choose(&canaries, &HeaderMap::new(), b"").is_none());
    }

    #[test]
    fn a_weight_is_kept_and_sticks() {
        let canaries = [canary("order", "v2", 5.0)];
        let has = |user: u32| choose(&canaries, &HeaderMap::new(), format!("usr_{user}").as_bytes()).is_some();
        let first: Vec<bool> = (0..20_000).map(has).collect();
        let share = first.iter().filter(|has| **has).count();
        assert!((850..1_150).contains(&share), "{share} of 20,000 are 5 %");
        assert!((0..20_000).all(|user| has(user) == first[user as usize]));
        assert!(
            (0..1_000)
                .all(|user| { choose(&[canary("order", "v2", 100.0)], &HeaderMap::new(), &[user as u8]).is_some() })
        );
    }

    #[test]
    fn a_weight_is_a_percentage() {
        assert_eq!((weight(0.0), weight(0.01), weight(100.0)), (Some(0), Some(1), Some(10_000)));
        assert!(weight(-1.0).is_none() && weight(100.1).is_none() && weight(f64::NAN).is_none());
    }
}
