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
    for (index, first) in canaries.iter().enumerate() {
        if canaries[..index].iter().any(|other| other.service == first.service) {
            continue;
        }
        let canary = wish(canaries, &first.service, headers).unwrap_or_else(|| drawn(canaries, first, who));
        chosen.extend(canary.map(|canary| (canary.service.clone(), canary.version.clone())));
    }
    (!chosen.is_empty()).then(|| Arc::new(chosen))
}

/// Returns the versions on trial of a service.
fn trials<'a>(canaries: &'a [Canary], service: &'a str) -> impl Iterator<Item = &'a Canary> {
    canaries.iter().filter(move |canary| canary.service == service)
}

/// Returns what a client asks for of a service, if it does: a version on trial, or none of them by naming another one.
fn wish<'a>(canaries: &'a [Canary], service: &'a str, headers: &HeaderMap) -> Option<Option<&'a Canary>> {
    let asks = |asked: &dyn Fn(&Canary, Option<&str>, &str) -> bool| {
        trials(canaries, service).find(|canary| canary.wishes(headers).any(|(of, version)| asked(canary, of, version)))
    };
    // Who names the service means it more than who names only a version.
    if let Some(canary) = asks(&|canary, of, version| of == Some(service) && version == canary.version) {
        return Some(Some(canary));
    }
    if asks(&|_, of, _| of == Some(service)).is_some() {
        return Some(None);
    }
    if let Some(canary) = asks(&|canary, of, version| of.is_none() && version == canary.version) {
        return Some(Some(canary));
    }
    let on_trial = |version: &str| canaries.iter().any(|canary| canary.version == version);
    asks(&|_, of, version| of.is_none() && !on_trial(version)).map(|_| None)
}

/// Draws one of a service's versions, or none, by one place for all of them: each gets its whole share.
fn drawn<'a>(canaries: &'a [Canary], first: &'a Canary, who: &[u8]) -> Option<&'a Canary> {
    if trials(canaries, &first.service).all(|canary| canary.weight == 0) {
        return None;
    }
    // Another salt per service and trial: who has the canary of one need not have all.
    let mut left = crowd::place(&format!("canary {} {}", first.service, first.version), who);
    trials(canaries, &first.service).find(|canary| {
        let is_drawn = left < canary.weight;
        left = left.saturating_sub(canary.weight);
        is_drawn
    })
}

/// Names what was chosen.
pub fn named(versions: &[(String, String)]) -> Option<HeaderValue> {
    let names: Vec<String> = versions.iter().map(|(service, version)| format!("{service}={version}")).collect();
    HeaderValue::from_str(&names.join(", ")).ok()
}

impl Canary {
    /// Reads what this version's header asks for: versions, of one service or of whichever has them.
    fn wishes<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = (Option<&'a str>, &'a str)> {
        let value = self.header.as_ref().and_then(|name| headers.get(name));
        let value = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let wishes = value.split(',').map(str::trim).filter(|wish| !wish.is_empty());
        wishes.map(|wish| wish.split_once('=').map_or((None, wish), |(service, version)| (Some(service), version)))
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
    fn what_a_client_asks_for_goes_before_what_is_drawn() {
        let canaries = [canary("order", "v2", 100.0), canary("order", "v3", 0.0), canary("cart", "v3", 100.0)];
        let chosen = |value: &str| choose(&canaries, &asking(value), b"").map(|versions| named(&versions).unwrap());
        assert_eq!(chosen("order=v3").unwrap(), "order=v3, cart=v3");
        assert_eq!(chosen("v3").unwrap(), "order=v3, cart=v3");
        assert_eq!(chosen("v2").unwrap(), "order=v2, cart=v3", "it says nothing of the cart");
        assert_eq!(chosen("promotion=v1").unwrap(), "order=v2, cart=v3");
        assert_eq!(chosen("").unwrap(), "order=v2, cart=v3");
        // Another version than those on trial is the stable one.
        assert_eq!(chosen("order=v1").unwrap(), "cart=v3");
        assert_eq!(chosen("v3, order=v1").unwrap(), "cart=v3");
        assert_eq!(chosen("v1"), None);
        // Where nobody may ask, nobody may ask for the stable one either.
        let closed = [Canary { header: None, ..canary("order", "v2", 100.0) }];
        assert!(choose(&closed, &asking("order=v1"), b"").is_some());
    }

    #[test]
    fn several_versions_get_their_shares_and_a_client_keeps_its_own() {
        let user = |user: u32| format!("usr_{user}");
        let drawn = |canaries: &[Canary], who: u32| {
            let versions = choose(canaries, &HeaderMap::new(), user(who).as_bytes());
            versions.map(|versions| versions[0].1.clone()).unwrap_or_default()
        };
        let both = [canary("order", "v2", 30.0), canary("order", "v3", 30.0)];
        let first: Vec<String> = (0..10_000).map(|who| drawn(&both, who)).collect();
        for version in ["v2", "v3"] {
            let share = first.iter().filter(|one| *one == version).count();
            assert!((2_800..3_200).contains(&share), "{share} of 10,000 got {version}");
        }
        assert!((0..10_000).all(|who| drawn(&both, who) == first[who as usize]));
        // A second version moves nobody who has the first.
        let has = |who: u32| drawn(&both[..1], who) == "v2";
        assert!((0..10_000).all(|who| has(who) == (first[who as usize] == "v2")));
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
