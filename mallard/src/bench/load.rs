//! Puts load on a mall and keeps the books of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Longest latency told apart, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

/// How one piece of work ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; bytes read.
    Done(usize),
    /// Told to come back, by code. Never counts as work done.
    Refused(String),
    /// Failed, by code.
    Failed(String),
}

/// What one client, or all together, saw.
pub struct Report {
    latency: Histogram<u64>,
    refusal: Histogram<u64>,
    refused: BTreeMap<String, u64>,
    errors: BTreeMap<String, u64>,
    done: u64,
    bytes: u64,
    elapsed: Duration,
}

impl Report {
    fn new() -> anyhow::Result<Report> {
        Ok(Report {
            latency: Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?,
            refusal: Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?,
            refused: BTreeMap::new(),
            errors: BTreeMap::new(),
            done: 0,
            bytes: 0,
            elapsed: Duration::ZERO,
        })
    }

    fn note(&mut self, outcome: Outcome, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX_US).clamp(1, LATENCY_MAX_US);
        match outcome {
            Outcome::Done(bytes) => {
                self.done += 1;
                self.bytes += bytes as u64;
                self.latency.saturating_record(micros);
            }
            Outcome::Refused(code) => {
                self.refusal.saturating_record(micros);
                *self.refused.entry(code).or_default() += 1;
            }
            Outcome::Failed(code) => *self.errors.entry(code).or_default() += 1,
        }
    }

    /// Adds what another client saw at the same time.
    fn merge(&mut self, other: Report) -> anyhow::Result<()> {
        self.latency.add(other.latency)?;
        self.refusal.add(other.refusal)?;
        self.done += other.done;
        self.bytes += other.bytes;
        self.elapsed = self.elapsed.max(other.elapsed);
        for (code, count) in other.refused {
            *self.refused.entry(code).or_default() += count;
        }
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
        Ok(())
    }

    /// Adds what another stretch of time showed, which came before or after this one.
    ///
    /// # Errors
    /// The histograms do not fit, which those made here always do.
    pub fn append(&mut self, other: Report) -> anyhow::Result<()> {
        let elapsed = self.elapsed + other.elapsed;
        self.merge(other)?;
        self.elapsed = elapsed;
        Ok(())
    }

    /// Returns pieces of work done per second.
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Returns how many were done.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Returns the report as JSON; latencies in milliseconds.
    pub fn to_json(&self) -> Value {
        let at = |quantile: f64| self.latency.value_at_quantile(quantile) as f64 / 1_000.0;
        let refused_at = |quantile: f64| self.refusal.value_at_quantile(quantile) as f64 / 1_000.0;
        json!({
            "done": self.done,
            "per_second": (self.rate() * 10.0).round() / 10.0,
            "seconds": self.elapsed.as_secs_f64(),
            "megabytes": self.bytes as f64 / 1e6,
            "latency_ms": { "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p99_9": at(0.999), "max": self.latency.max() as f64 / 1_000.0 },
            "refused": self.refused,
            "refusal_ms": { "p50": refused_at(0.5), "p99": refused_at(0.99), "max": self.refusal.max() as f64 / 1_000.0 },
            "errors": self.errors,
        })
    }
}

/// A client of the load: does one piece of work after the other.
pub trait Work: Send + 'static {
    /// Does one piece.
    fn once(&mut self) -> impl Future<Output = Outcome> + Send;
}

/// Runs all clients for the warm-up and the measured time. With a rate, arrivals are spread evenly, each is taken by the first
/// client that is free, and latency counts from the moment it was due, so that a slow mall cannot slow the load down unseen.
/// The clients come back as they are at the end.
pub async fn run<W: Work>(
    clients: &mut Vec<W>,
    warm_up: Duration,
    duration: Duration,
    rate: Option<f64>,
) -> anyhow::Result<Report> {
    let begin = Instant::now();
    let measured = begin + warm_up;
    let end = measured + duration;
    let gap = rate.map(|rate| 1.0 / rate.max(0.001));
    let arrivals = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for mut client in clients.drain(..) {
        let arrivals = Arc::clone(&arrivals);
        tasks.spawn(async move {
            let mut report = Report::new()?;
            loop {
                let due = match gap {
                    Some(gap) => begin + Duration::from_secs_f64(arrivals.fetch_add(1, Ordering::Relaxed) as f64 * gap),
                    None => Instant::now(),
                };
                if due >= end {
                    break;
                }
                tokio::time::sleep_until(due).await;
                let outcome = client.once().await;
                if due >= measured {
                    report.note(outcome, due.elapsed());
                }
            }
            report.elapsed = measured.elapsed();
            Ok::<_, anyhow::Error>((client, report))
        });
    }
    let mut total = Report::new()?;
    while let Some(ended) = tasks.join_next().await {
        let (client, report) = ended??;
        clients.push(client);
        total.merge(report)?;
    }
    Ok(total)
}
