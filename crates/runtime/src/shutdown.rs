//! One signal that everything in a process watches.

use tokio::sync::watch;

/// Tells background work when to end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown {
    sender: watch::Sender<bool>,
}

impl Shutdown {
    /// Makes a signal that has not been given.
    pub fn new() -> Shutdown {
        Shutdown { sender: watch::Sender::new(false) }
    }

    /// Gives the signal. Giving it twice is the same as once.
    pub fn begin(&self) {
        self.sender.send_replace(true);
    }

    /// Tells whether the signal has been given.
    pub fn is_set(&self) -> bool {
        *self.sender.borrow()
    }

    /// Waits for the signal.
    pub async fn wait(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender lives as long as `self`, so the wait ends only with the signal.
        let _ = receiver.wait_for(|set| *set).await;
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Shutdown::new()
    }
}
