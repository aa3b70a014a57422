//! Endpoints for the tests of balancing.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::breaker::{Breaker, Quota};
use crate::chance::Chance;
use crate::config::Policy;
use crate::remote::endpoint::Endpoint;
use crate::remote::load::Load;
use crate::remote::member::Member;
use crate::remote::select::{Fleet, Selector};

/// Makes endpoints of these texts, with the usual breakers.
pub(crate) fn named<T: AsRef<str>>(texts: &[T], now: Instant) -> Vec<Arc<Member>> {
    let quota = Arc::new(Quota::new(50));
    let chance = Arc::new(Chance::new(Some(1)));
    let member = |text: &T| {
        let endpoint = Endpoint::parse(text.as_ref()).unwrap();
        let policy = Policy::default().breaker;
        let breaker = Breaker::new(policy, Some(Arc::clone(&quota)), Arc::clone(&chance), now);
        Member::new("probe".into(), endpoint, breaker, Load::new(), None)
    };
    quota.set_endpoints(texts.len());
    texts.iter().map(member).collect()
}

/// Makes endpoints of these weights.
pub(crate) fn members(weights: &[u32], now: Instant) -> Vec<Arc<Member>> {
    let text = |(index, weight): (usize, &u32)| format!("http://host-{index}:1#weight={weight}");
    named(&weights.iter().enumerate().map(text).collect::<Vec<_>>(), now)
}

/// Makes the same endpoint, but joining at `joined`.
pub(crate) fn starting(member: &Member, joined: Instant, length: Duration) -> Arc<Member> {
    let (breaker, load) = (Arc::clone(&member.breaker), Arc::clone(&member.load));
    Member::new("probe".into(), member.endpoint.clone(), breaker, load, Some((joined, length)))
}

/// Makes a selector and the fleet of these endpoints.
pub(crate) fn fleet(policy: &Policy, members: Vec<Arc<Member>>) -> (Selector, Fleet) {
    let quota = Arc::new(Quota::new(policy.ejection_max_percent));
    let selector = Selector::new(policy, quota);
    let fleet = selector.fleet(members);
    (selector, fleet)
}
