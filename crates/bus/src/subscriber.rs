//! Delivers the rows of one subscriber: in order per key, keys that failed set aside, with back-off while it is away.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use mallard_db::{Db, Row, Unit, Value, params};
use mallard_proto::bus::v1::DeliverRequest;
use mallard_proto::bus::v1::event_intake_client::EventIntakeClient;
use mallard_rpc::{Call, Channels, ServiceChannel};
use mallard_types::{Error, Micros, Result};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::envelope::Envelope;
use crate::many::{MANY_MAX, in_list};
use crate::routes::Target;
use crate::{Bus, Clock, Switches, backoff};

/// Rows read at once.
const PAGE_ROWS: usize = MANY_MAX;

/// Payload of one call; well below what a channel takes.
const CALL_BYTES_MAX: usize = 1024 * 1024;

/// Pages read before starting again at the first row, where keys that failed are waiting.
const ROUND_PAGES_MAX: usize = 64;

/// Pause between a bell and reading: events of one request come close together and travel in one page.
const LINGER: Duration = Duration::from_millis(5);

/// A call of which nothing is accepted, and at least this many keys failed, says the subscriber is away.
const KEYS_OF_ONE_AWAY: usize = 8;

/// A page takes its consumer at most this long; what is applied by then is not applied again.
const DEADLINE: Duration = Duration::from_secs(30);

const PAGE: &str = "SELECT seq, event_id, kind, event_key, at_us, trace, payload, appended_at, attempts FROM outbox \
     WHERE subscriber = ? ORDER BY seq LIMIT ?";

/// As [`PAGE`], behind rows that stay, and how many of those there are.
const PAGE_BEHIND: &str = "SELECT seq, event_id, kind, event_key, at_us, trace, payload, appended_at, attempts, \
     (SELECT COUNT(*) FROM outbox WHERE subscriber = ? AND seq <= ?) FROM outbox \
     WHERE subscriber = ? AND seq > ? ORDER BY seq LIMIT ?";

const DELETE: &str = "DELETE FROM outbox WHERE seq IN ({})";

const FAILED: &str = "UPDATE outbox SET attempts = attempts + 1, next_attempt_at = ? WHERE seq = ?";

struct OutboxRow {
    seq: i64,
    event: Envelope,
    appended_at: Micros,
    attempts: i64,
}

/// The rows of a round that stay behind because their keys wait.
#[derive(Default)]
struct Behind {
    /// Number of the last row of their pages.
    seq: i64,
    rows: usize,
}

/// What came of one call.
struct Delivered {
    accepted: Vec<i64>,
    /// The first event of each key that was not accepted.
    failed: Vec<Failed>,
}

struct Failed {
    seq: i64,
    key: String,
    attempts: i64,
}

/// Why a round ended early: the subscriber is away, or this database is.
struct Away(Error);

impl<E: Into<Error>> From<E> for Away {
    fn from(error: E) -> Self {
        Away(error.into())
    }
}

pub(crate) struct Delivery {
    db: Db,
    target: Target,
    client: EventIntakeClient<ServiceChannel>,
    clock: Clock,
    switches: Switches,
    nudge: Arc<Notify>,
    /// Keys whose event was not accepted, and until when they wait. Only keys that failed within the longest back-off.
    waiting: HashMap<String, Instant>,
}

impl Delivery {
    pub(crate) fn new(bus: &Bus, channels: &Channels, db: &Db, target: Target, nudge: Arc<Notify>) -> Delivery {
        let client = EventIntakeClient::new(channels.channel(target.service))
            .max_encoding_message_size(mallard_rpc::MESSAGE_BYTES_MAX);
        Delivery {
            db: db.clone(),
            target,
            client,
            clock: Arc::clone(&bus.clock),
            switches: Arc::clone(&bus.switches),
            nudge,
            waiting: HashMap::new(),
        }
    }

    pub(crate) async fn run(mut self) {
        let bell = self.db.woken(self.target.topic);
        let mut failures = 0;
        loop {
            match self.round().await {
                Ok(more) => {
                    if failures > 0 {
                        tracing::info!(
                            from = self.db.service(),
                            to = self.target.service,
                            "events are delivered again"
                        );
                    }
                    failures = 0;
                    if more {
                        continue;
                    }
                    let due = self.waiting.values().min().copied();
                    tokio::select! {
                        () = bell.notified() => sleep(LINGER).await,
                        () = self.nudge.notified() => {}
                        () = wait_until(due) => {}
                    }
                }
                Err(Away(error)) => {
                    failures += 1;
                    let service = self.target.service;
                    metrics::counter!("mallard_bus_delivery_failures_total", "subscriber" => service).increment(1);
                    if failures == 1 {
                        tracing::warn!(from = self.db.service(), to = service, %error, "events cannot be delivered");
                    }
                    sleep(backoff::away(failures)).await;
                }
            }
        }
    }

    /// Delivers page after page from the first row on; returns whether there may be more.
    async fn round(&mut self) -> Result<bool, Away> {
        if (self.switches)("bus.stall") {
            return Ok(false);
        }
        let now = Instant::now();
        self.waiting.retain(|_, until| *until > now);
        let mut behind = Behind::default();
        for _ in 0..ROUND_PAGES_MAX {
            let Some(page) = self.page(&behind).await? else { return Ok(true) };
            let Some(last) = page.last().map(|row| row.seq) else { return Ok(false) };
            let rows = page.len();
            let stay = rows - self.deliver_page(page).await?;
            if rows < PAGE_ROWS {
                return Ok(false);
            }
            // While none stays the next page begins at the first row again.
            if stay > 0 {
                behind = Behind { seq: last, rows: behind.rows + stay };
            }
        }
        Ok(true)
    }

    /// Reads the next page. `None` when there are others than the known rows before it: a row is numbered before it commits,
    /// so an earlier event of a key may come to light after rows with greater numbers, and must not be overtaken.
    async fn page(&self, behind: &Behind) -> Result<Option<Vec<OutboxRow>>, Away> {
        let (service, rows_max) = (self.target.service, PAGE_ROWS as i64);
        let rows = if behind.rows == 0 {
            self.db.query(PAGE, params![service, rows_max]).await?
        } else {
            self.db.query(PAGE_BEHIND, params![service, behind.seq, service, behind.seq, rows_max]).await?
        };
        if let (true, Some(row)) = (behind.rows > 0, rows.first())
            && row.get::<i64>(9)? != behind.rows as i64
        {
            return Ok(None);
        }
        Ok(Some(rows.iter().map(decode).collect::<Result<_, mallard_db::Error>>()?))
    }

    /// Delivers the rows of a page whose keys do not wait, deletes those that were accepted, and returns how many these are.
    async fn deliver_page(&mut self, page: Vec<OutboxRow>) -> Result<usize, Away> {
        let mut accepted = 0;
        let mut rows = page.into_iter().peekable();
        while rows.peek().is_some() {
            let mut call = Vec::new();
            let mut bytes = 0;
            // Taken call by call, because a key may begin to wait in between.
            while let Some(row) =
                rows.next_if(|row| call.is_empty() || bytes + row.event.payload.len() <= CALL_BYTES_MAX)
            {
                if !self.waiting.contains_key(&row.event.key) {
                    bytes += row.event.payload.len();
                    call.push(row);
                }
            }
            if call.is_empty() {
                continue;
            }
            let delivered = self.deliver(call).await?;
            let away = delivered.accepted.is_empty() && delivered.failed.len() >= KEYS_OF_ONE_AWAY;
            accepted += delivered.accepted.len();
            self.delete(delivered.accepted).await?;
            self.set_aside(delivered.failed).await?;
            if away {
                return Err(Away(Error::unavailable("nothing_accepted", "the subscriber accepts nothing")));
            }
        }
        Ok(accepted)
    }

    async fn deliver(&mut self, rows: Vec<OutboxRow>) -> Result<Delivered, Away> {
        let events = rows.iter().map(|row| row.event.clone().into_proto()).collect();
        let request = DeliverRequest { subscriber: self.target.service.to_owned(), events };
        let call = Call { deadline: Some(Instant::now() + DEADLINE), ..Call::system(self.db.service()) };
        let response = mallard_rpc::scope(call, self.client.deliver(request)).await.map_err(mallard_rpc::error)?;
        let accepted: HashSet<String> = response.into_inner().accepted_ids.into_iter().collect();
        self.measure(&rows, &accepted);

        let mut delivered = Delivered { accepted: Vec::with_capacity(accepted.len()), failed: Vec::new() };
        let mut failed_keys = HashSet::new();
        for row in rows {
            if accepted.contains(&row.event.id) {
                delivered.accepted.push(row.seq);
            } else if failed_keys.insert(row.event.key.clone()) {
                delivered.failed.push(Failed { seq: row.seq, key: row.event.key, attempts: row.attempts });
            }
        }
        Ok(delivered)
    }

    fn measure(&self, rows: &[OutboxRow], accepted: &HashSet<String>) {
        let service = self.target.service;
        metrics::counter!("mallard_bus_delivered_total", "subscriber" => service).increment(accepted.len() as u64);
        let now = (self.clock)();
        let lag = metrics::histogram!("mallard_bus_lag_seconds", "subscriber" => service);
        for row in rows.iter().filter(|row| accepted.contains(&row.event.id)) {
            lag.record((now - row.appended_at).max(0) as f64 / 1e6);
        }
    }

    async fn delete(&self, seqs: Vec<i64>) -> Result<(), Away> {
        if seqs.is_empty() {
            return Ok(());
        }
        let (sql, params) = in_list(DELETE, seqs.into_iter().map(Value::Int).collect());
        Ok(self.db.apply(Unit::new("bus.delivered").exec_dyn(sql, params)).await?)
    }

    /// Lets the keys of failed events wait; their later events stay behind them.
    async fn set_aside(&mut self, failed: Vec<Failed>) -> Result<(), Away> {
        if failed.is_empty() {
            return Ok(());
        }
        let mut unit = Unit::new("bus.failed");
        for failed in failed {
            let wait = backoff::key(failed.attempts + 1);
            let next_attempt_at = (self.clock)() + wait.as_micros() as Micros;
            unit = unit.exec(FAILED, params![next_attempt_at, failed.seq]);
            self.waiting.insert(failed.key, Instant::now() + wait);
        }
        Ok(self.db.apply(unit).await?)
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn decode(row: &Row) -> Result<OutboxRow, mallard_db::Error> {
    let event = Envelope {
        id: row.get(1)?,
        kind: row.get(2)?,
        key: row.get(3)?,
        at: row.get(4)?,
        trace: row.get(5)?,
        payload: row.get(6)?,
    };
    Ok(OutboxRow { seq: row.get(0)?, event, appended_at: row.get(7)?, attempts: row.get(8)? })
}
