//! What every engine keeps per database: counts, topics and the names of unique indexes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::unique::UniqueNames;

/// How long a transaction may take before it is worth a line in the log.
const SLOW: Duration = Duration::from_secs(1);

pub(crate) struct Shared {
    pub(crate) service: &'static str,
    statements: AtomicU64,
    topics: Mutex<BTreeMap<&'static str, Arc<Notify>>>,
    unique_names: RwLock<Arc<UniqueNames>>,
}

impl Shared {
    pub(crate) fn new(service: &'static str) -> Arc<Shared> {
        Arc::new(Shared {
            service,
            statements: AtomicU64::new(0),
            topics: Mutex::default(),
            unique_names: RwLock::default(),
        })
    }

    pub(crate) fn count_statements(&self, n: u64) {
        self.statements.fetch_add(n, Ordering::Relaxed);
        metrics::counter!("mallard_db_statements_total", "service" => self.service).increment(n);
    }

    pub(crate) fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Counts one commit of `jobs` transactions.
    pub(crate) fn count_commit(&self, jobs: usize) {
        metrics::counter!("mallard_db_commits_total", "service" => self.service).increment(1);
        metrics::histogram!("mallard_db_batch_jobs", "service" => self.service).record(jobs as f64);
    }

    pub(crate) fn count_retry(&self, tx: &'static str) {
        metrics::counter!("mallard_db_tx_retries_total", "service" => self.service, "tx" => tx).increment(1);
    }

    pub(crate) fn record_tx(&self, tx: &'static str, took: Duration) {
        metrics::histogram!("mallard_db_tx_seconds", "service" => self.service, "tx" => tx).record(took.as_secs_f64());
        if took >= SLOW {
            let took_ms = took.as_millis() as u64;
            tracing::warn!(service = self.service, tx, took_ms, "slow transaction");
        }
    }

    pub(crate) fn topic(&self, topic: &'static str) -> Arc<Notify> {
        self.topics.lock().entry(topic).or_default().clone()
    }

    /// Wakes one listener of each topic; a listener that is not waiting right now finds the permit when it comes.
    pub(crate) fn wake(&self, topics: &[&'static str]) {
        for topic in topics {
            self.topic(topic).notify_one();
        }
    }

    pub(crate) fn unique_names(&self) -> Arc<UniqueNames> {
        self.unique_names.read().clone()
    }

    pub(crate) fn set_unique_names(&self, names: UniqueNames) {
        *self.unique_names.write() = Arc::new(names);
    }
}
