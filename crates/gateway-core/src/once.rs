//! The `Idempotency-Key`: the same request sent twice is done once and answered twice.
//!
//! A request claims its key, is done, and its answer is stored before it is given. A second request with the same key waits
//! for the first up to [`WAIT_MAX`] and gets the same answer. Claims live in a store that all gateways share; requests that meet in
//! one process wait for each other in memory. A claim whose holder died may be taken over after [`CLAIM_AGE_MAX`]: the
//! services get the same key and do nothing twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use mallard_types::{Error, Result};
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::endpoint::Reply;

/// Header of the key.
pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Header that marks an answer given again.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longest wait for a first request with the same key.
pub const WAIT_MAX: Duration = Duration::from_secs(2);
/// A claim older than this may be taken over: no request lives this long.
pub const CLAIM_AGE_MAX: Duration = Duration::from_secs(60);
/// How long answers are kept.
pub const ANSWER_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Pause between looks at a claim that another process holds.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Attempts to store an answer.
const STORE_ATTEMPTS: u32 = 3;

/// A request's hold on its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Hash of caller, verb, path and key.
    pub id: String,
    /// Hash of the body in canonical form.
    pub body: String,
    /// Tells this attempt from every other.
    pub attempt: String,
}

/// An answer that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// HTTP status.
    pub status: u16,
    /// Names and values of the answer's own headers.
    pub headers: Vec<(String, String)>,
    /// Body as it was sent.
    pub body: Bytes,
}

/// What a store says to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// The key is new, or its holder died: the request may be done.
    New,
    /// It was done before with this answer.
    Replay(Remembered),
    /// Another request holds the key.
    InFlight,
    /// The key was used with another body.
    Mismatch,
}

/// Keeps claims and answers, for [`ANSWER_AGE_MAX`].
#[async_trait]
pub trait IdempotencyStore: Send + Sync {
    /// Claims the key.
    ///
    /// # Errors
    /// When the store cannot tell; nothing is claimed then.
    async fn begin(&self, claim: &Claim) -> Result<Begin>;

    /// Stores the answer of a claim. Does nothing when the claim was taken over.
    ///
    /// # Errors
    /// When the answer may not be stored.
    async fn finish(&self, claim: &Claim, answer: &Remembered) -> Result<()>;

    /// Gives the key back, as if the request had never come.
    ///
    /// # Errors
    /// When the key may not be free.
    async fn abandon(&self, claim: &Claim) -> Result<()>;
}

/// Hashes who asks for what under which key.
pub fn claim_id(caller: &str, verb: &str, path: &str, key: &str) -> String {
    let mut hash = Sha256::new();
    for part in [caller, verb, path, key] {
        // Lengths keep parts apart: no two different lists of parts hash the same bytes.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// Hashes a JSON body so that order of names and white space do not count (after RFC 8785). Empty counts as `{}`.
///
/// The key, which is kept nowhere in clear, goes into the hash: nobody who reads the store can try out bodies, cards above all.
///
/// # Errors
/// `malformed_json`.
pub fn body_hash(key: &str, body: &[u8]) -> Result<String> {
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { body };
    let value: Value =
        serde_json::from_slice(body).map_err(|_| Error::invalid("malformed_json", "the body is not JSON"))?;
    let mut text = String::with_capacity(body.len());
    canonical(&value, &mut text);
    let hash =
        Sha256::new().chain_update((key.len() as u64).to_be_bytes()).chain_update(key).chain_update(text.as_bytes());
    Ok(hex(&hash.finalize()))
}

fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut names: Vec<&String> = map.keys().collect();
            names.sort_unstable();
            out.push('{');
            for (index, name) in names.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                *out += &Value::from(name.as_str()).to_string();
                out.push(':');
                canonical(&map[name.as_str()], out);
            }
            out.push('}');
        }
        Value::Array(list) => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        scalar => *out += &scalar.to_string(),
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// What the first request tells those that wait for it.
#[derive(Clone)]
struct Outcome {
    body: String,
    answer: Arc<Remembered>,
}

type Watch = watch::Receiver<Option<Outcome>>;

/// Does each claimed request once.
pub struct Once {
    store: Arc<dyn IdempotencyStore>,
    under_way: Mutex<HashMap<String, Watch>>,
}

/// The place of the first request of this process; leaving it lets the others go on.
struct Lead<'a> {
    once: &'a Once,
    id: &'a str,
    tell: watch::Sender<Option<Outcome>>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.once.under_way.lock().remove(self.id);
    }
}

impl Once {
    /// Makes it over a store.
    pub fn new(store: Arc<dyn IdempotencyStore>) -> Self {
        Once { store, under_way: Mutex::new(HashMap::new()) }
    }

    /// Answers the claimed request: by doing `work`, or with the answer of the request that did it.
    ///
    /// Answers of 5xx and 429 are not remembered. To be run in a task of its own, so that a client that goes away does not
    /// break off the work half-way.
    ///
    /// # Errors
    /// `idempotency_in_flight`, `idempotency_conflict`, or the store's own.
    pub async fn run(&self, claim: &Claim, work: BoxFuture<'static, Reply>) -> Result<Reply> {
        let give_up = Instant::now() + WAIT_MAX;
        loop {
            let lead = match self.join(&claim.id) {
                Ok(lead) => lead,
                Err(mut watch) => {
                    let told = timeout_at(give_up, watch.wait_for(Option::is_some)).await;
                    match told {
                        Err(_) => return Err(in_flight()),
                        // The first one gave up: this one may be the next first.
                        Ok(Err(_)) => continue,
                        Ok(Ok(outcome)) => match outcome.as_ref() {
                            Some(outcome) if outcome.body == claim.body => return replay(&outcome.answer),
                            _ => return Err(conflict()),
                        },
                    }
                }
            };
            match self.store.begin(claim).await? {
                Begin::New => return self.finish(claim, work.await, lead).await,
                Begin::Replay(answer) => return replay(&answer),
                Begin::Mismatch => return Err(conflict()),
                Begin::InFlight => {
                    drop(lead);
                    let next = Instant::now() + LOOK_AGAIN;
                    if next >= give_up {
                        return Err(in_flight());
                    }
                    sleep_until(next).await;
                }
            }
        }
    }

    /// Takes the lead for a key, or returns the way to wait for who has it.
    fn join<'a>(&'a self, id: &'a str) -> Result<Lead<'a>, Watch> {
        let mut under_way = self.under_way.lock();
        if let Some(watch) = under_way.get(id) {
            return Err(watch.clone());
        }
        let (tell, watch) = watch::channel(None);
        under_way.insert(id.to_owned(), watch);
        Ok(Lead { once: self, id, tell })
    }

    async fn finish(&self, claim: &Claim, reply: Reply, lead: Lead<'_>) -> Result<Reply> {
        if reply.status.is_server_error() || reply.status == StatusCode::TOO_MANY_REQUESTS {
            if let Err(error) = self.store.abandon(claim).await {
                // It can be taken over later, so the client only waits longer.
                tracing::warn!(%error, "an idempotency key was not given back");
            }
            return Ok(reply);
        }
        let answer = remember(&reply);
        let mut attempt = 1;
        while let Err(error) = self.store.finish(claim, &answer).await {
            if attempt == STORE_ATTEMPTS {
                // An answer that is not kept must not be given: the next one with this key could differ.
                tracing::error!(%error, "an answer could not be stored under its idempotency key");
                let after = CLAIM_AGE_MAX.as_millis() as u64;
                return Err(Error::unavailable("answer_not_stored", "send the request again with the same key")
                    .retry_after_ms(after));
            }
            attempt += 1;
            sleep_until(Instant::now() + LOOK_AGAIN).await;
        }
        // Nobody may be waiting.
        lead.tell.send_replace(Some(Outcome { body: claim.body.clone(), answer: Arc::new(answer) }));
        Ok(reply)
    }
}

fn remember(reply: &Reply) -> Remembered {
    let text = |(name, value): (&HeaderName, &HeaderValue)| Some((name.to_string(), value.to_str().ok()?.to_owned()));
    Remembered {
        status: reply.status.as_u16(),
        headers: reply.headers.iter().filter_map(text).collect(),
        body: reply.body.clone(),
    }
}

fn replay(answer: &Remembered) -> Result<Reply> {
    let broken = || Error::internal("answer_unreadable", "a stored answer cannot be read");
    let mut headers = HeaderMap::new();
    for (name, value) in &answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| broken())?;
        headers.insert(name, HeaderValue::from_str(value).map_err(|_| broken())?);
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(Reply { status: StatusCode::from_u16(answer.status).map_err(|_| broken())?, headers, body: answer.body.clone() })
}

fn in_flight() -> Error {
    Error::conflict("idempotency_in_flight", "a request with this Idempotency-Key is still running")
        .retry_after_ms(1_000)
}

fn conflict() -> Error {
    Error::refused("idempotency_conflict", "this Idempotency-Key was used with another request; use a new one")
        .param("Idempotency-Key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_names_and_white_space_do_not_count() {
        let one = body_hash("k", br#"{"b": [1, {"y": 1, "x": null}], "a": "\u00e9"}"#).unwrap();
        let same = body_hash("k", "{\"a\":\"é\",\"b\":[1,{\"x\":null,\"y\":1}]}".as_bytes()).unwrap();
        let other = body_hash("k", br#"{"b": [{"y": 1, "x": null}, 1], "a": "\u00e9"}"#).unwrap();
        assert_eq!(one, same);
        assert_ne!(one, other);
        assert_eq!(body_hash("k", b" ").unwrap(), body_hash("k", b"{}").unwrap());
        assert!(body_hash("k", b"{").is_err());
    }

    #[test]
    fn every_part_of_the_scope_counts() {
        let ids = [
            claim_id("usr_1", "POST", "/a", "k"),
            claim_id("usr_2", "POST", "/a", "k"),
            claim_id("usr_1", "PUT", "/a", "k"),
            claim_id("usr_1", "POST", "/b", "k"),
            claim_id("usr_1", "POST", "/a", "l"),
            claim_id("usr_1P", "OST", "/a", "k"),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(id.len(), 64);
            assert!(!ids[..index].contains(id));
        }
    }
}
