//! The ways to choose one of several endpoints. Whatever the way, the endpoints to choose from are those whose breakers
//! let calls through, and one that joined lately gets less at first.

pub(crate) mod hash;
mod least_connections;
mod maglev;
mod p2c;
mod round_robin;
#[cfg(test)]
pub(crate) mod testing;
mod weighted_round_robin;

use std::sync::Arc;

use tokio::time::Instant;

pub(crate) use self::maglev::Maglev;
use self::round_robin::RoundRobin;
use self::weighted_round_robin::WeightedRoundRobin;
use super::member::Member;
use super::set::Set;
use crate::chance::Chance;
use crate::config::{Balance, Policy};

/// A choice to be made.
pub(crate) struct View<'a> {
    pub(crate) members: &'a [Arc<Member>],
    pub(crate) table: Option<&'a Maglev>,
    /// Those to choose from, never none.
    pub(crate) group: Set,
    pub(crate) key: Option<u64>,
    pub(crate) now: Instant,
    pub(crate) chance: &'a Chance,
}

impl View<'_> {
    /// Draws one of `from` at random, each as often as its share; `None` when there is none.
    fn draw(&self, from: Set) -> Option<usize> {
        let mut left = self.chance.below(self.shares(from));
        for index in from.iter() {
            let share = self.members[index].share(self.now);
            if left < share {
                return Some(index);
            }
            left -= share;
        }
        None
    }

    /// Returns the sum of the shares.
    fn shares(&self, of: Set) -> u64 {
        of.iter().map(|index| self.members[index].share(self.now)).sum()
    }

    /// Returns any of the group.
    fn any(&self) -> usize {
        self.group.nth(0).unwrap_or_default()
    }
}

/// A way to choose, and what it remembers.
#[derive(Debug)]
pub(crate) enum Balancer {
    P2c,
    RoundRobin(RoundRobin),
    WeightedRoundRobin(WeightedRoundRobin),
    LeastConnections,
    /// With the most calls an endpoint may have, in percent of its fair share, if there is a limit.
    Hash(Option<u32>),
}

impl Balancer {
    pub(crate) fn new(policy: &Policy) -> Self {
        match policy.balance {
            Balance::P2c => Balancer::P2c,
            Balance::RoundRobin => Balancer::RoundRobin(RoundRobin::default()),
            Balance::WeightedRoundRobin => Balancer::WeightedRoundRobin(WeightedRoundRobin::default()),
            Balance::LeastConnections => Balancer::LeastConnections,
            Balance::IpHash => Balancer::Hash(None),
            Balance::ConsistentHash => Balancer::Hash(Some(policy.hash_balance_percent)),
        }
    }

    /// Tells whether the choice depends on a key.
    pub(crate) fn hashes(&self) -> bool {
        matches!(self, Balancer::Hash(_))
    }

    /// Chooses one of the group.
    pub(crate) fn choose(&self, view: &View<'_>) -> usize {
        match self {
            Balancer::P2c => p2c::choose(view),
            Balancer::RoundRobin(round_robin) => round_robin.choose(view),
            Balancer::WeightedRoundRobin(round_robin) => round_robin.choose(view),
            Balancer::LeastConnections => least_connections::choose(view),
            Balancer::Hash(percent) => hash::choose(view, *percent),
        }
    }
}
