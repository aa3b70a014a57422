//! Sessions whose access tokens are not good any more although they have not expired.
//!
//! Three ways lead here, each enough by itself: the event `user.session_revoked.v1`, a look at identity's list every half
//! second, and a look right after the service passed on a logout or kick. Until the list was read once no token
//! counts, so a process that starts does not let revoked sessions in.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mallard_proto::identity::v1::ListRevocationsRequest;
use mallard_runtime::Shutdown;
use mallard_types::{Micros, Result};
use parking_lot::RwLock;
use tokio::sync::{Mutex, Notify};

use crate::cache::Now;
use crate::feed;
use crate::issuer::Issuer;

/// Longest wait for a page of the list.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// Knows the revoked sessions.
pub struct Revocations {
    identity: Issuer,
    now: Now,
    /// Session to the end of its last token.
    sessions: RwLock<HashMap<String, Micros>>,
    /// Last revocation read from the list.
    read_to: Mutex<i64>,
    complete: AtomicBool,
    wake: Notify,
}

impl Revocations {
    /// Makes an empty set that is not complete yet.
    pub fn new(identity: Issuer, now: Now) -> Revocations {
        Revocations {
            identity,
            now,
            sessions: RwLock::default(),
            read_to: Mutex::new(0),
            complete: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    /// Tells whether a session is revoked.
    pub fn contains(&self, session: &str) -> bool {
        self.sessions.read().contains_key(session)
    }

    /// Adds a session; its tokens end at `until`.
    pub fn add(&self, session: &str, until: Micros) {
        if until > (self.now)() {
            self.sessions.write().insert(session.to_owned(), until);
        }
    }

    /// Tells whether the whole list has been read.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Reads the list unless it was read before.
    ///
    /// # Errors
    /// When identity cannot be asked.
    pub async fn complete(&self) -> Result<()> {
        if self.is_complete() {
            return Ok(());
        }
        self.read().await
    }

    /// Reads what is new on identity's list.
    ///
    /// # Errors
    /// When identity cannot be asked.
    pub async fn read(&self) -> Result<()> {
        let mut read_to = self.read_to.lock().await;
        loop {
            let call = self.identity.call(PAGE_TIMEOUT);
            let request = ListRevocationsRequest { after_seq: *read_to };
            let mut identity = self.identity.client();
            let answer = mallard_rpc::scope(call, identity.list_revocations(request)).await;
            let page = answer.map_err(mallard_rpc::error)?.into_inner().revocations;
            let last = page.iter().map(|revocation| revocation.seq).max().unwrap_or_default();
            for revocation in &page {
                self.add(&revocation.session_id, revocation.until.map_or(Micros::MAX, |until| until.micros()));
            }
            // A page that does not lead on is the last one.
            if last <= *read_to {
                break;
            }
            *read_to = last;
        }
        self.complete.store(true, Ordering::Release);
        Ok(())
    }

    /// Reads the list again and again, until shutdown.
    pub async fn keep_fresh(self: Arc<Self>, pause: Duration, shutdown: Shutdown) {
        let tidy = || self.forget();
        feed::keep_fresh("revoked sessions", pause, &self.wake, &shutdown, || self.read(), tidy).await;
    }

    fn forget(&self) {
        let now = (self.now)();
        self.sessions.write().retain(|_, until| *until > now);
    }
}
