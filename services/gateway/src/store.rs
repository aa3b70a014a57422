//! The answers kept under idempotency keys: one statement to claim, one to store, in the usual case.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mallard_db::{Db, Row, Tx, Unit, UnitError, params};
use mallard_gateway_core::once::{ANSWER_AGE_MAX, CLAIM_AGE_MAX};
use mallard_gateway_core::{Begin, Claim, IdempotencyStore, Remembered};
use mallard_runtime::{Clock, Shutdown};
use mallard_types::{Error, Micros, Result};

/// Pause between removals of old answers.
const PRUNE_PAUSE: Duration = Duration::from_secs(600);
/// Most answers removed in one transaction.
const PRUNE_ROWS_MAX: u64 = 500;
/// A claim meets at most this many other claims that vanish before it can look at them.
const BEGIN_ATTEMPTS: u32 = 3;

/// Keeps claims and answers in the gateway's database.
pub struct Answers {
    db: Db,
    clock: Clock,
}

struct Held {
    body_hash: String,
    attempt: String,
    claimed_at: Micros,
    answer: Option<Remembered>,
}

impl Answers {
    /// Makes the store.
    pub fn new(db: Db, clock: Clock) -> Answers {
        Answers { db, clock }
    }

    /// Frees the keys of requests that died with the process before this one. Only for a database that no other process
    /// uses: there nobody else can hold them.
    ///
    /// # Errors
    /// The database's.
    pub async fn void_claims(&self) -> Result<()> {
        // Older ones are free anyway, and the index keeps this from reading every answer.
        let since = self.clock.now() - micros(CLAIM_AGE_MAX);
        let sql = "DELETE FROM answers WHERE claimed_at >= ? AND status IS NULL";
        Ok(self.db.apply(Unit::new("gateway.void_claims").exec(sql, params![since])).await?)
    }

    /// Removes answers that are old enough, until shutdown.
    pub async fn prune(self: Arc<Self>, shutdown: Shutdown) {
        loop {
            match self.prune_page().await {
                Ok(PRUNE_ROWS_MAX) => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "old answers were not removed"),
            }
            tokio::select! {
                () = tokio::time::sleep(PRUNE_PAUSE) => {}
                () = shutdown.wait() => return,
            }
        }
    }

    async fn prune_page(&self) -> Result<u64> {
        let before = self.clock.now() - micros(ANSWER_AGE_MAX);
        let sql = "DELETE FROM answers WHERE id IN (SELECT id FROM answers WHERE claimed_at < ? ORDER BY claimed_at, id LIMIT ?)";
        let rows = self
            .db
            .tx("gateway.prune_answers", move |tx: Tx| async move {
                tx.execute(sql, params![before, PRUNE_ROWS_MAX as i64]).await
            })
            .await;
        rows.map_err(|error: mallard_db::Error| error.into())
    }

    async fn held(&self, id: &str) -> Result<Option<Held>> {
        let sql = "SELECT body_hash, attempt, claimed_at, status, headers, body FROM answers WHERE id = ?";
        self.db.query_opt(sql, params![id]).await?.map(|row| held(&row)).transpose()
    }

    /// Takes a claim over from the attempt that holds it. False when somebody else was faster.
    async fn take_over(&self, claim: &Claim, from: &str, now: Micros) -> Result<bool> {
        let sql = "UPDATE answers SET body_hash = ?, attempt = ?, claimed_at = ?, status = NULL, headers = NULL, body = NULL \
                   WHERE id = ? AND attempt = ?";
        let params = params![claim.body.as_str(), claim.attempt.as_str(), now, claim.id.as_str(), from];
        applied(self.db.apply(Unit::new("gateway.take_over").guard(sql, params, 1, 0)).await)
    }
}

#[async_trait]
impl IdempotencyStore for Answers {
    async fn begin(&self, claim: &Claim) -> Result<Begin> {
        for _ in 0..BEGIN_ATTEMPTS {
            let now = self.clock.now();
            let sql = "INSERT INTO answers (id, body_hash, attempt, claimed_at) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING";
            let params = params![claim.id.as_str(), claim.body.as_str(), claim.attempt.as_str(), now];
            if applied(self.db.apply(Unit::new("gateway.claim").guard(sql, params, 1, 0)).await)? {
                return Ok(Begin::New);
            }
            // Given back meanwhile: claim again.
            let Some(held) = self.held(&claim.id).await? else { continue };
            let age = now - held.claimed_at;
            let expired = age > micros(ANSWER_AGE_MAX);
            let orphaned = held.answer.is_none() && age > micros(CLAIM_AGE_MAX);
            if !expired && held.body_hash != claim.body {
                return Ok(Begin::Mismatch);
            }
            if expired || orphaned {
                let taken = self.take_over(claim, &held.attempt, now).await?;
                return Ok(if taken { Begin::New } else { Begin::InFlight });
            }
            return Ok(held.answer.map_or(Begin::InFlight, Begin::Replay));
        }
        Ok(Begin::InFlight)
    }

    async fn finish(&self, claim: &Claim, answer: &Remembered) -> Result<()> {
        let headers = serde_json::to_string(&answer.headers)
            .map_err(|error| Error::internal("answer_headers", "the headers have no JSON form").source(error))?;
        let sql = "UPDATE answers SET status = ?, headers = ?, body = ? WHERE id = ? AND attempt = ?";
        let params =
            params![i64::from(answer.status), headers, answer.body.to_vec(), claim.id.as_str(), claim.attempt.as_str()];
        Ok(self.db.apply(Unit::new("gateway.store_answer").exec(sql, params)).await?)
    }

    async fn abandon(&self, claim: &Claim) -> Result<()> {
        let sql = "DELETE FROM answers WHERE id = ? AND attempt = ?";
        let params = params![claim.id.as_str(), claim.attempt.as_str()];
        Ok(self.db.apply(Unit::new("gateway.give_back").exec(sql, params)).await?)
    }
}

fn applied(outcome: Result<(), UnitError>) -> Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(UnitError::Guard { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn held(row: &Row) -> Result<Held> {
    let status: Option<i64> = row.get(3)?;
    let answer = match status {
        None => None,
        Some(status) => {
            let broken = || Error::internal("answer_unreadable", "a stored answer cannot be read");
            let headers: String = row.get(4)?;
            let body: Vec<u8> = row.get(5)?;
            Some(Remembered {
                status: u16::try_from(status).map_err(|_| broken())?,
                headers: serde_json::from_str(&headers).map_err(|error| broken().source(error))?,
                body: Bytes::from(body),
            })
        }
    };
    Ok(Held { body_hash: row.get(0)?, attempt: row.get(1)?, claimed_at: row.get(2)?, answer })
}

fn micros(duration: Duration) -> Micros {
    // The two ages are constants of at most a day.
    duration.as_micros() as Micros
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use mallard_db::{DbConfig, MemoryDisk};
    use tokio::time::advance;

    use super::*;

    async fn answers() -> Arc<Answers> {
        let db =
            Db::open(&DbConfig::Memory(MemoryDisk::new()), "gateway", crate::migrations::MIGRATIONS).await.unwrap();
        Arc::new(Answers::new(db, Clock::simulated(1_767_225_600_000_000)))
    }

    fn claim(body: &str, attempt: &str) -> Claim {
        Claim { id: "id".into(), body: body.into(), attempt: attempt.into() }
    }

    fn answer() -> Remembered {
        Remembered { status: 201, headers: vec![("etag".into(), "\"1\"".into())], body: Bytes::from_static(b"{}") }
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_is_held_then_answered_and_other_bodies_are_told_apart() {
        let answers = answers().await;
        let begun = answers.db.statements();
        assert_eq!(answers.begin(&claim("a", "1")).await.unwrap(), Begin::New);
        assert_eq!(answers.begin(&claim("a", "2")).await.unwrap(), Begin::InFlight);
        assert_eq!(answers.begin(&claim("b", "3")).await.unwrap(), Begin::Mismatch);
        let before = answers.db.statements();
        answers.finish(&claim("a", "1"), &answer()).await.unwrap();
        assert_eq!(answers.db.statements() - before, 1);
        assert_eq!(answers.begin(&claim("a", "4")).await.unwrap(), Begin::Replay(answer()));
        assert_eq!(answers.begin(&claim("b", "5")).await.unwrap(), Begin::Mismatch);
        assert!(begun < before);
    }

    #[tokio::test(start_paused = true)]
    async fn the_usual_request_costs_two_statements() {
        let answers = answers().await;
        let begun = answers.db.statements();
        assert_eq!(answers.begin(&claim("a", "1")).await.unwrap(), Begin::New);
        answers.finish(&claim("a", "1"), &answer()).await.unwrap();
        assert_eq!(answers.db.statements() - begun, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_is_free() {
        let answers = answers().await;
        answers.begin(&claim("a", "1")).await.unwrap();
        // Another attempt cannot give away what it does not hold.
        answers.abandon(&claim("a", "2")).await.unwrap();
        assert_eq!(answers.begin(&claim("a", "2")).await.unwrap(), Begin::InFlight);
        answers.abandon(&claim("a", "1")).await.unwrap();
        assert_eq!(answers.begin(&claim("b", "3")).await.unwrap(), Begin::New);
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_whose_holder_died_is_taken_over_by_one() {
        let answers = answers().await;
        answers.begin(&claim("a", "1")).await.unwrap();
        advance(CLAIM_AGE_MAX).await;
        assert_eq!(answers.begin(&claim("a", "2")).await.unwrap(), Begin::InFlight);
        advance(Duration::from_secs(1)).await;
        assert_eq!(answers.begin(&claim("b", "3")).await.unwrap(), Begin::Mismatch);
        assert_eq!(answers.begin(&claim("a", "4")).await.unwrap(), Begin::New);
        assert_eq!(answers.begin(&claim("a", "5")).await.unwrap(), Begin::InFlight);
        // The dead one comes back late: its answer is not the one that counts.
        answers.finish(&claim("a", "1"), &Remembered { status: 500, ..answer() }).await.unwrap();
        assert_eq!(answers.begin(&claim("a", "6")).await.unwrap(), Begin::InFlight);
        answers.finish(&claim("a", "4"), &answer()).await.unwrap();
        assert_eq!(answers.begin(&claim("a", "7")).await.unwrap(), Begin::Replay(answer()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_a_day_and_then_removed() {
        let answers = answers().await;
        answers.begin(&claim("a", "1")).await.unwrap();
        answers.finish(&claim("a", "1"), &answer()).await.unwrap();
        advance(ANSWER_AGE_MAX).await;
        assert_eq!(answers.begin(&claim("a", "2")).await.unwrap(), Begin::Replay(answer()));
        assert_eq!(answers.prune_page().await.unwrap(), 0);
        advance(Duration::from_secs(1)).await;
        assert_eq!(answers.begin(&claim("b", "3")).await.unwrap(), Begin::New);
        advance(ANSWER_AGE_MAX + Duration::from_secs(1)).await;
        assert_eq!(answers.prune_page().await.unwrap(), 1);
        assert!(answers.held("id").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn of_many_at_once_one_gets_the_claim() {
        let answers = answers().await;
        let begins = join_all((0..50).map(|attempt| {
            let answers = Arc::clone(&answers);
            async move { answers.begin(&claim("a", &attempt.to_string())).await.unwrap() }
        }));
        let begins = begins.await;
        assert_eq!(begins.iter().filter(|begin| **begin == Begin::New).count(), 1);
        assert_eq!(begins.iter().filter(|begin| **begin == Begin::InFlight).count(), 49);
    }
}
