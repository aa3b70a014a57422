//! Where the endpoints of a service are learnt from.

use tokio::sync::watch;

/// Knows the endpoints of services and tells of changes.
pub trait Discover: Send + Sync {
    /// Watches the endpoints of `service`, as `http://host:port`. The list may be empty, and may change at any time;
    /// when the sender is gone the last list stays.
    fn watch(&self, service: &str) -> watch::Receiver<Vec<String>>;
}

/// A list of endpoints that never changes.
#[derive(Clone, Debug)]
pub struct StaticEndpoints(pub Vec<String>);

impl Discover for StaticEndpoints {
    fn watch(&self, _service: &str) -> watch::Receiver<Vec<String>> {
        watch::channel(self.0.clone()).1
    }
}
