//! What holds for one route, found once when the edge is made.

use std::time::Duration;

use mallard_proto::rest::{Idempotency, Tier};
use mallard_rpc::Surface;

use crate::edge::EdgeConfig;
use crate::limits::{Limits, RouteRules, is_meant};
use crate::once::CLAIM_AGE_MAX;
use crate::table::Route;
use crate::tiers;

/// Limits of its own for a route.
#[derive(Clone, Debug, Default)]
pub struct RouteConfig {
    /// Routes as [`is_meant`] reads them.
    pub path: String,
    /// Longest time from the request's head to its answer. A route with a time of its own tells nothing about the load.
    pub timeout: Option<Duration>,
    /// Most bytes of the body.
    pub body_bytes_max: Option<usize>,
}

/// The policy of a route.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Its tier's place in [`tiers::TIERS`].
    pub rank: usize,
    /// Number of its service.
    pub service: usize,
    /// Number under which its latency is measured; none where the latency tells nothing about the load.
    pub lane: Option<usize>,
    /// Longest time from the request's head to its answer.
    pub timeout: Duration,
    /// Most bytes of the body.
    pub body_bytes_max: usize,
    /// Its rate limits.
    pub limits: RouteRules,
    /// A request must prove work.
    pub friction: bool,
}

/// Tells whether somebody had better wait than not know how it ended: where orders and money are moved, and where operators
/// and sellers change something. Everything else has an answer soon, though it be that there is none.
fn may_take_long(route: &Route) -> bool {
    let moves = matches!(tiers::of(route), Tier::Pay | Tier::Order);
    !route.info.safe
        && match route.surface {
            Surface::Store => moves,
            Surface::Auth => false,
            _ => true,
        }
}

/// Finds the policy of every route; returns how many services and measured routes there are.
///
/// # Errors
/// Text naming a route of the configuration that there is not.
pub fn find(routes: &mut [Route], config: &EdgeConfig, limits: &Limits) -> Result<(usize, usize), String> {
    let named = config.routes.iter().map(|route| ("routes", &route.path));
    let named = named.chain(config.friction.routes.iter().map(|path| ("friction.routes", path)));
    for (key, pattern) in named {
        if !routes.iter().any(|route| is_meant(pattern, route.info)) {
            return Err(format!("{key}: there is no route {pattern}"));
        }
    }
    let mut services: Vec<&str> = Vec::new();
    let mut lanes = 0;
    for route in routes {
        let info = route.info;
        let service = services.iter().position(|name| *name == info.service).unwrap_or_else(|| {
            services.push(info.service);
            services.len() - 1
        });
        // The last word counts.
        let own = || config.routes.iter().rev().filter(|own| is_meant(&own.path, info));
        let timeout = own().find_map(|own| own.timeout);
        let tier = tiers::of(route);
        let measured = timeout.is_none() && tier != Tier::Assistant;
        let lane = measured.then_some(lanes);
        lanes += usize::from(measured);
        let usual = if may_take_long(route) { config.timeout } else { config.read_timeout.min(config.timeout) };
        if timeout.is_some_and(|timeout| timeout >= CLAIM_AGE_MAX) && info.idempotency != Idempotency::None {
            let seconds = CLAIM_AGE_MAX.as_secs();
            return Err(format!(
                "routes: {} takes an Idempotency-Key, so it must end in less than {seconds} s",
                info.path
            ));
        }
        route.policy = Policy {
            rank: tiers::rank(tier),
            service,
            lane,
            timeout: timeout.unwrap_or(usual),
            body_bytes_max: own().find_map(|own| own.body_bytes_max).unwrap_or(config.body_bytes_max),
            limits: limits.of(route),
            friction: config.friction.routes.iter().any(|pattern| is_meant(pattern, info)),
        };
    }
    Ok((services.len(), lanes))
}
