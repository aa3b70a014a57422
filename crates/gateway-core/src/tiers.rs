//! Which requests matter most when not all can be served.

use mallard_proto::rest::Tier;
use mallard_rpc::Surface;

use crate::table::Route;

/// The tiers, the last to be shed first.
pub const TIERS: [Tier; 5] = [Tier::Pay, Tier::Order, Tier::Cart, Tier::Browse, Tier::Assistant];

/// Returns the tier of a route: what the contract says, else by the door and what the route does.
pub fn of(route: &Route) -> Tier {
    match (route.info.tier, route.surface) {
        (Tier::Default, Surface::Store) if route.info.safe => Tier::Browse,
        (Tier::Default, Surface::Store | Surface::Internal) => Tier::Cart,
        // Who cannot sign in cannot pay, and operators are needed most when the mall is full.
        (Tier::Default, Surface::Auth | Surface::Admin | Surface::Seller) => Tier::Order,
        (tier, _) => tier,
    }
}

/// Returns the place of a tier in [`TIERS`].
pub fn rank(tier: Tier) -> usize {
    TIERS.iter().position(|one| *one == tier).unwrap_or(TIERS.len() - 1)
}

/// Returns the name of a tier in configuration, answers and metrics.
pub fn name(tier: Tier) -> &'static str {
    match tier {
        Tier::Pay => "pay",
        Tier::Order => "order",
        Tier::Cart => "cart",
        Tier::Browse | Tier::Default => "browse",
        Tier::Assistant => "assistant",
    }
}
