//! Which service gets which kind of event.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

/// A service that gets events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) service: &'static str,
    /// Topic that says rows were written for this service.
    pub(crate) topic: &'static str,
}

pub(crate) struct Routes {
    by_kind: BTreeMap<&'static str, Vec<Target>>,
    by_service: BTreeMap<&'static str, BTreeSet<&'static str>>,
}

impl Routes {
    pub(crate) fn new(subscriptions: BTreeMap<&'static str, Vec<&'static str>>) -> Routes {
        let mut by_kind: BTreeMap<&'static str, Vec<Target>> = BTreeMap::new();
        let mut by_service: BTreeMap<&'static str, BTreeSet<&'static str>> = BTreeMap::new();
        for (service, kinds) in subscriptions {
            let kinds: BTreeSet<&'static str> = kinds.into_iter().collect();
            for kind in &kinds {
                by_kind.entry(kind).or_default().push(Target { service, topic: topic(service) });
            }
            by_service.insert(service, kinds);
        }
        Routes { by_kind, by_service }
    }

    pub(crate) fn targets(&self, kind: &str) -> &[Target] {
        self.by_kind.get(kind).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn kinds_of(&self, service: &str) -> BTreeSet<&'static str> {
        self.by_service.get(service).cloned().unwrap_or_default()
    }

    /// Lists every service that gets any event, in order of name.
    pub(crate) fn all_targets(&self) -> Vec<Target> {
        let subscribed = self.by_service.iter().filter(|(_, kinds)| !kinds.is_empty());
        subscribed.map(|(service, _)| Target { service, topic: topic(service) }).collect()
    }
}

/// Returns `outbox.<service>`. Topics live as long as the program; there are as many as services.
fn topic(service: &'static str) -> &'static str {
    static TOPICS: Mutex<BTreeMap<&'static str, &'static str>> = Mutex::new(BTreeMap::new());
    TOPICS.lock().entry(service).or_insert_with(|| Box::leak(format!("outbox.{service}").into_boxed_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_goes_to_each_of_its_subscribers_once() {
        let subscriptions = BTreeMap::from([
            ("cart", vec!["order.paid.v1", "order.paid.v1"]),
            ("mail", vec!["order.paid.v1"]),
            ("web", vec![]),
        ]);
        let routes = Routes::new(subscriptions);
        let services: Vec<&str> = routes.targets("order.paid.v1").iter().map(|target| target.service).collect();
        assert_eq!(services, ["cart", "mail"]);
        assert!(routes.targets("order.lost.v1").is_empty());
        assert_eq!(routes.all_targets().len(), 2);
        assert_eq!(routes.all_targets()[0].topic, "outbox.cart");
    }
}
