//! Sessions in use, told to identity from time to time: for idle limits and lists of devices.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mallard_proto::Timestamp;
use mallard_proto::identity::v1::{SessionUse, TouchSessionsRequest};
use mallard_runtime::Shutdown;
use mallard_types::{Micros, Result};
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::cache::Now;
use crate::issuer::Issuer;

/// Most sessions remembered until they are told; further ones are told when they are used later.
const SESSIONS_MAX: usize = 100_000;
/// Most sessions told in one call.
const BATCH_MAX: usize = 500;
/// Longest wait for an answer.
const TELL_TIMEOUT: Duration = Duration::from_secs(5);

/// Collects uses of sessions.
pub struct Uses {
    identity: Issuer,
    now: Now,
    /// Session to its last use.
    seen: Mutex<HashMap<String, Micros>>,
}

impl Uses {
    /// Makes an empty collection.
    pub fn new(identity: Issuer, now: Now) -> Uses {
        Uses { identity, now, seen: Mutex::default() }
    }

    /// Notes that a session is used now.
    pub fn note(&self, session: &str) {
        let now = (self.now)();
        let mut seen = self.seen.lock();
        if let Some(at) = seen.get_mut(session) {
            *at = now;
        } else if seen.len() < SESSIONS_MAX {
            seen.insert(session.to_owned(), now);
        }
    }

    /// Tells identity after each pause, and once more at shutdown.
    pub async fn keep_telling(self: Arc<Self>, pause: Duration, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = sleep(pause) => {}
                () = shutdown.wait() => break,
            }
            self.tell().await;
        }
        self.tell().await;
    }

    async fn tell(&self) {
        let uses: Vec<(String, Micros)> = std::mem::take(&mut *self.seen.lock()).into_iter().collect();
        for (index, batch) in uses.chunks(BATCH_MAX).enumerate() {
            if let Err(error) = self.touch(batch).await {
                let untold = &uses[index * BATCH_MAX..];
                tracing::warn!(%error, sessions = untold.len(), "uses of sessions were not told; they are told later");
                self.give_back(untold);
                return;
            }
        }
    }

    async fn touch(&self, uses: &[(String, Micros)]) -> Result<()> {
        let one = |(session_id, at): &(String, Micros)| SessionUse {
            session_id: session_id.clone(),
            at: Some(Timestamp::from_micros(*at)),
        };
        let call = self.identity.call(TELL_TIMEOUT);
        let mut identity = self.identity.client();
        let request = TouchSessionsRequest { uses: uses.iter().map(one).collect() };
        mallard_rpc::scope(call, identity.touch_sessions(request)).await.map_err(mallard_rpc::error)?;
        Ok(())
    }

    /// Takes uses back that could not be told, unless the session was used again.
    fn give_back(&self, uses: &[(String, Micros)]) {
        let mut seen = self.seen.lock();
        for (session, at) in uses {
            if seen.len() < SESSIONS_MAX {
                seen.entry(session.clone()).or_insert(*at);
            }
        }
    }
}
