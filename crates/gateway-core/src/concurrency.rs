//! The door: how many requests are under way at once, and who is turned away when it is too many.
//!
//! The limit follows the latency ([`crate::gradient`]). A tier of requests may use a share of it only, the less important the
//! smaller; within a tier those clients are shed first that stand further back in the crowd ([`crate::crowd`]), so that the
//! same ones are served from the cart to the payment. Requests that matter most may wait a moment for a place.
//!
//! What counts is work: a request whose client is still sending its body does not, nor does one service that hangs count for
//! more than its share against the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use mallard_types::Error;
use metrics::{counter, gauge};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::crowd::PLACES;
use crate::gradient::{self, Gradient, Usual};
use crate::protection::TierState;
use crate::tiers::{self, TIERS};

mod place;

pub use place::Place;

/// What the door does.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the limit moves.
    pub gradient: gradient::Settings,
    /// Share of the limit that each of [`TIERS`] may use, in percent, falling.
    pub shares_percent: [u8; TIERS.len()],
    /// Share of the limit that one service may take from the requests of others, in percent.
    pub one_service_percent: u8,
    /// Requests of one tier and service that may wait for a place while a queue stands; only those of the first two tiers do.
    /// With 0 nobody waits, nor in a burst.
    pub waiting_max: usize,
    /// Longest such wait.
    pub wait_max: Duration,
    /// Requests of one tier and service that may wait for a place in a burst; those of the last tier do not.
    pub burst_waiting_max: usize,
    /// Longest wait of those that came in a burst.
    pub burst_wait_max: Duration,
    /// Most requests of any kind, those whose bodies are still on their way included.
    pub requests_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            gradient: gradient::Settings::default(),
            shares_percent: [100, 95, 85, 70, 50],
            one_service_percent: 45,
            waiting_max: 32,
            wait_max: Duration::from_millis(25),
            burst_waiting_max: 512,
            burst_wait_max: Duration::from_secs(1),
            requests_max: 10_000,
        }
    }
}

impl Settings {
    /// Returns how many may wait, and for how long.
    fn patience(&self, rank: usize, burst: bool) -> (usize, Duration) {
        if self.waiting_max > 0 && burst && rank <= BURST_RANK_MAX && self.burst_waiting_max > 0 {
            (self.burst_waiting_max, self.burst_wait_max)
        } else if rank <= WAITING_RANK_MAX {
            (self.waiting_max, self.wait_max)
        } else {
            (0, Duration::ZERO)
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Code of the refusal of a request there is no place for.
pub const OVERLOADED: &str = "overloaded";
/// Tiers up to this rank may wait for a place.
const WAITING_RANK_MAX: usize = 1;
/// Tiers up to this rank may wait in a burst.
const BURST_RANK_MAX: usize = 3;
/// A queue that has been there for less is a burst; one that stands longer means that more comes than can be done, and waiting
/// helps nobody then (the controlled delay of "Fail at Scale", ACM Queue 13.8, 2015).
const BURST: Duration = Duration::from_millis(100);
/// After a refusal it takes so long until a burst may wait again.
const CALM: Duration = Duration::from_secs(5);
/// Longest time after which a client that was shed is asked to come back, in seconds.
const RETRY_AFTER_S_MAX: u64 = 3;

/// A request at the door.
pub struct Knock<'a> {
    /// Its tier's place in [`TIERS`].
    pub rank: usize,
    /// Number of the service that answers it.
    pub service: usize,
    /// Number of the route whose latency it tells, where it is measured.
    pub lane: Option<usize>,
    /// When its answer is no longer wanted.
    pub deadline: Instant,
    /// Tells its client's place in the crowd, below [`PLACES`]; asked only when it matters.
    pub crowd: &'a (dyn Fn() -> u32 + Sync),
}

/// A request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shed {
    /// Why: `concurrency`, `queue_full`, `queue_age` or `requests_max`.
    pub reason: &'static str,
    /// When to come back, in seconds.
    pub retry_after_s: u64,
}

impl From<Shed> for Error {
    fn from(shed: Shed) -> Error {
        Error::unavailable(OVERLOADED, "the mall is full; come back after the time in Retry-After")
            .details(serde_json::json!({ "reason": shed.reason }))
            .retry_after_ms(shed.retry_after_s * 1_000)
    }
}

#[derive(Default)]
struct Counts {
    admitted: AtomicU64,
    shed: AtomicU64,
}

/// Answers of one route in the present window.
#[derive(Default)]
struct Lane {
    answers: AtomicU64,
    micros: AtomicU64,
}

/// What a window is judged by.
struct Core {
    gradient: Gradient,
    usual: Vec<Usual>,
    window_began: Instant,
}

/// The door. Shared by all requests.
pub struct Door {
    settings: Settings,
    limit: AtomicUsize,
    /// Requests that count, by service.
    under_way: Box<[AtomicUsize]>,
    /// All requests inside, those that do not count included.
    inside: AtomicUsize,
    /// For each service one per tier; what matters more goes first, and is not kept back by what matters less.
    queues: Box<[[Queue; TIERS.len()]]>,
    began: Instant,
    /// When somebody was last refused, in microseconds since the door was made; 0 is never.
    refused_at: AtomicU64,
    tiers: [Counts; TIERS.len()],
    lanes: Box<[Lane]>,
    window_answers: AtomicU64,
    window_peak: AtomicUsize,
    core: Mutex<Core>,
}

/// Those who wait for a place.
#[derive(Default)]
struct Queue {
    waiting: AtomicUsize,
    freed: Notify,
    /// Since when somebody waits, in microseconds since the door was made.
    standing_since: AtomicU64,
}

/// One in a queue, until it is dropped.
struct Waiting<'a>(&'a Queue);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Door {
    /// Makes the door for so many services and measured routes.
    pub fn new(settings: Settings, services: usize, lanes: usize) -> Arc<Door> {
        let gradient = Gradient::new(&settings.gradient);
        Arc::new(Door {
            limit: AtomicUsize::new(gradient.limit()),
            under_way: (0..services).map(|_| AtomicUsize::new(0)).collect(),
            inside: AtomicUsize::new(0),
            queues: (0..services).map(|_| Default::default()).collect(),
            began: Instant::now(),
            refused_at: AtomicU64::new(0),
            tiers: Default::default(),
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            window_answers: AtomicU64::new(0),
            window_peak: AtomicUsize::new(0),
            core: Mutex::new(Core { gradient, usual: vec![Usual::default(); lanes], window_began: Instant::now() }),
            settings,
        })
    }

    /// Lets a request in, at once or after a short wait.
    ///
    /// # Errors
    /// [`Shed`] when there is no place for it.
    pub async fn enter(self: &Arc<Self>, knock: &Knock<'_>) -> Result<Place, Shed> {
        let mut place = self.come_near(knock)?;
        self.find_room(knock).await?;
        place.came_in();
        self.tiers[knock.rank].admitted.fetch_add(1, Ordering::Relaxed);
        Ok(place)
    }

    /// Lets a request in at once or not at all.
    ///
    /// # Errors
    /// [`Shed`] when there is no place for it.
    pub fn try_enter(self: &Arc<Self>, knock: &Knock<'_>) -> Result<Place, Shed> {
        let mut place = self.come_near(knock)?;
        if !self.take(knock) {
            return Err(self.shed(knock.rank, "concurrency"));
        }
        place.came_in();
        self.tiers[knock.rank].admitted.fetch_add(1, Ordering::Relaxed);
        Ok(place)
    }

    /// Counts a request among all that are inside; the place gives back what was taken.
    fn come_near(self: &Arc<Self>, knock: &Knock<'_>) -> Result<Place, Shed> {
        if self.inside.fetch_add(1, Ordering::Relaxed) >= self.settings.requests_max {
            self.inside.fetch_sub(1, Ordering::Relaxed);
            return Err(self.shed(knock.rank, "requests_max"));
        }
        Ok(Place::outside(self, knock))
    }

    /// Takes a place, at once or after a short wait.
    async fn find_room(&self, knock: &Knock<'_>) -> Result<(), Shed> {
        // Nobody goes past those who wait and matter as much.
        if !self.is_waited_for(knock) && self.take(knock) {
            return Ok(());
        }
        self.wait(knock).await.map_err(|reason| self.shed(knock.rank, reason))?;
        // The limit may have grown, which is announced to nobody.
        if self.in_flight() < self.limit() {
            self.announce();
        }
        Ok(())
    }

    /// Tells whether others wait that go before the request or are as it is. One service's queue is nothing to the requests of
    /// others.
    fn is_waited_for(&self, knock: &Knock<'_>) -> bool {
        let queues = self.queues.get(knock.service);
        let ahead = queues.map(|queues| &queues[..=knock.rank]).unwrap_or_default();
        ahead.iter().any(|queue| queue.waiting.load(Ordering::Relaxed) > 0)
    }

    /// Waits until there is a place, as long as it makes sense.
    async fn wait(&self, knock: &Knock<'_>) -> Result<(), &'static str> {
        let now = self.micros();
        let outcome = self.queue_up(knock, now).await;
        if outcome.is_err() {
            self.refused_at.store(self.micros().max(1), Ordering::Relaxed);
        }
        outcome
    }

    async fn queue_up(&self, knock: &Knock<'_>, now: u64) -> Result<(), &'static str> {
        let Some(queues) = self.queues.get(knock.service) else { return Err("concurrency") };
        let queue = &queues[knock.rank];
        let before = queue.waiting.fetch_add(1, Ordering::Relaxed);
        // Leaves the queue, however this ends.
        let _waiting = Waiting(queue);
        if before == 0 {
            queue.standing_since.store(now, Ordering::Relaxed);
        }
        let standing = now.saturating_sub(queue.standing_since.load(Ordering::Relaxed));
        let refused_at = self.refused_at.load(Ordering::Relaxed);
        let calm = refused_at == 0 || now.saturating_sub(refused_at) > micros(CALM);
        let (waiting_max, wait_max) = self.settings.patience(knock.rank, calm && standing < micros(BURST));
        if before >= waiting_max {
            return Err(if waiting_max == 0 { "concurrency" } else { "queue_full" });
        }
        let until = Instant::now() + wait_max;
        loop {
            let freed = queue.freed.notified();
            // A place that came free before this one waited was not announced to it.
            if before == 0 && self.take(knock) {
                return Ok(());
            }
            if timeout_at(until, freed).await.is_err() {
                return Err("queue_age");
            }
            if self.take(knock) {
                return Ok(());
            }
        }
    }

    /// Returns the time since the door was made, in microseconds.
    fn micros(&self) -> u64 {
        micros(self.began.elapsed())
    }

    /// Takes a place, where there is one for this request.
    fn take(&self, knock: &Knock<'_>) -> bool {
        let Some(own) = self.under_way.get(knock.service) else { return false };
        let limit = self.limit.load(Ordering::Relaxed);
        let one_max = share(limit, self.settings.one_service_percent);
        let services = self.under_way.iter().enumerate().filter(|(service, _)| *service != knock.service);
        let others: usize = services.map(|(_, count)| count.load(Ordering::Relaxed).min(one_max)).sum();
        let whole = self.settings.shares_percent[knock.rank];
        let sure = self.settings.shares_percent.get(knock.rank + 1).copied().unwrap_or(whole / 2);
        let sure = share(limit, sure);
        let mut most = None;
        let taken = own.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            // The service's own requests count whole against it, and up to its share beside those of others.
            let full = count.max(others + count.min(one_max));
            let room = full < sure || full < *most.get_or_insert_with(|| reach(share(limit, whole), sure, knock.crowd));
            room.then_some(count + 1)
        });
        if let Ok(count) = taken {
            self.window_peak.fetch_max(others + count + 1, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    /// Gives a place back.
    fn give_back(&self, service: usize) {
        if let Some(count) = self.under_way.get(service) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        self.announce();
    }

    /// Tells the first of those who wait for each service that there may be a place.
    fn announce(&self) {
        for queues in &self.queues {
            if let Some(queue) = queues.iter().find(|queue| queue.waiting.load(Ordering::Relaxed) > 0) {
                queue.freed.notify_one();
            }
        }
    }

    fn shed(&self, rank: usize, reason: &'static str) -> Shed {
        let before = self.tiers[rank].shed.fetch_add(1, Ordering::Relaxed);
        counter!("mallard_edge_shed_total", "tier" => tiers::name(TIERS[rank]), "reason" => reason).increment(1);
        // Those turned away together must not come back together.
        Shed { reason, retry_after_s: 1 + before % RETRY_AFTER_S_MAX }
    }

    /// Notes how long an answer took, and judges the window when it is over.
    fn note(&self, lane: usize, took: Duration, now: Instant) {
        let Some(lane) = self.lanes.get(lane) else { return };
        lane.answers.fetch_add(1, Ordering::Relaxed);
        lane.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let answers = self.window_answers.fetch_add(1, Ordering::Relaxed) + 1;
        if answers < self.settings.gradient.window_answers_min {
            return;
        }
        // Whoever finds the lock taken leaves the judging to its holder.
        let Some(mut core) = self.core.try_lock() else { return };
        let length = now.saturating_duration_since(core.window_began);
        if length >= self.settings.gradient.window {
            core.window_began = now;
            self.judge(&mut core, length);
        }
    }

    fn judge(&self, core: &mut Core, length: Duration) {
        self.window_answers.store(0, Ordering::Relaxed);
        let in_flight_max = self.window_peak.swap(0, Ordering::Relaxed);
        let (mut answers, mut ratios) = (0.0, 0.0);
        for (lane, usual) in self.lanes.iter().zip(&mut core.usual) {
            let count = lane.answers.swap(0, Ordering::Relaxed);
            let micros = lane.micros.swap(0, Ordering::Relaxed);
            if count == 0 {
                continue;
            }
            let count = count as f64;
            let ratio = usual.compare(micros as f64 / 1e6 / count, length, &self.settings.gradient);
            answers += count;
            ratios += ratio * count;
        }
        core.gradient.update(ratios / answers, in_flight_max, &self.settings.gradient);
        let limit = core.gradient.limit();
        self.limit.store(limit, Ordering::Relaxed);
        gauge!("mallard_edge_limit").set(limit as f64);
        gauge!("mallard_edge_in_flight").set(self.in_flight() as f64);
        for (tier, counts) in TIERS.into_iter().zip(&self.tiers) {
            let admitted = counts.admitted.load(Ordering::Relaxed);
            counter!("mallard_edge_admitted_total", "tier" => tiers::name(tier)).absolute(admitted);
        }
    }

    /// Returns how many requests count at present.
    pub fn in_flight(&self) -> usize {
        self.under_way.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Returns how many requests may be under way at present.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Shows what was let in and what was not.
    pub fn protection(&self) -> Vec<TierState> {
        let states = TIERS.into_iter().zip(&self.tiers).map(|(tier, counts)| TierState {
            name: tiers::name(tier),
            admitted: counts.admitted.load(Ordering::Relaxed),
            shed: counts.shed.load(Ordering::Relaxed),
        });
        states.collect()
    }
}

/// Returns how full the mall may be for a client of a tier: from what the tier has for sure to its whole share, the further in
/// front the more.
fn reach(whole: usize, sure: usize, crowd: &(dyn Fn() -> u32 + Sync)) -> usize {
    let behind = (PLACES - crowd().min(PLACES)) as usize;
    sure + whole.saturating_sub(sure) * behind / PLACES as usize
}

fn share(limit: usize, percent: u8) -> usize {
    (limit * usize::from(percent)).div_ceil(100).max(1)
}

/// Tells whether an answer says how the mall is doing: refusals are fast whatever the load is.
fn tells(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection() || status == StatusCode::GATEWAY_TIMEOUT
}
