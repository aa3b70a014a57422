//! A unit of work in one flight: everything is sent before the first answer is awaited.

use std::pin::Pin;
use std::task::Poll;

use futures_util::future::poll_fn;

use super::Texts;
use super::conn::Conn;
use super::types::Failure;
use crate::exec;
use crate::shared::Shared;
use crate::unit::Unit;

/// Why a unit was not applied.
pub(super) enum Refusal {
    Guard { index: usize, tag: u32 },
    Db(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        Refusal::Db(failure)
    }
}

type Flying<'a> = Pin<Box<dyn Future<Output = Result<u64, Failure>> + Send + 'a>>;

/// Sends BEGIN and all statements at once, then COMMIT or ROLLBACK when the counts are known; without guards the COMMIT
/// flies along, because the server itself makes a ROLLBACK of it when a statement has failed.
pub(super) async fn apply(conn: Conn, texts: &Texts, shared: &Shared, unit: &Unit) -> Result<(), Refusal> {
    if unit.is_empty() {
        return Ok(());
    }
    let mut prepared = Vec::with_capacity(unit.len());
    for statement in &unit.statements {
        exec::check_portable(statement.sql.as_str()).map_err(Failure::from)?;
        let numbered = texts.numbered(&statement.sql);
        prepared.push(conn.prepare(&numbered, &statement.sql, &statement.params).await?);
    }
    let unguarded = unit.statements.iter().all(|s| s.guard.is_none());
    let mut flights: Vec<Flying<'_>> = Vec::with_capacity(unit.len() + 2);
    flights.push(Box::pin(async { conn.begin().await.map(|()| 0) }));
    for (statement, prepared) in unit.statements.iter().zip(&prepared) {
        flights.push(Box::pin(conn.execute(prepared, &statement.params)));
    }
    if unguarded {
        flights.push(Box::pin(async { conn.commit(&unit.wakes).await.map(|()| 0) }));
    }
    shared.count_statements(unit.len() as u64);
    let answers = in_order(flights).await;
    let verdict = judge(unit, answers);
    match verdict {
        Ok(()) if unguarded => {}
        Ok(()) => conn.commit(&unit.wakes).await?,
        // When it fails the connection stays dirty and is cleaned up or closed.
        Err(_) => drop(conn.rollback().await),
    }
    verdict
}

/// Finds the first failure or refused guard, in the order in which the statements ran.
fn judge(unit: &Unit, answers: Vec<Result<u64, Failure>>) -> Result<(), Refusal> {
    // The first answer is that of BEGIN, and without guards there is one more, of COMMIT.
    let mut answers = answers.into_iter();
    if let Some(begun) = answers.next() {
        begun?;
    }
    for (statement, answer) in unit.statements.iter().zip(answers.by_ref()) {
        let rows = answer?;
        if let Some(guard) = statement.guard.filter(|guard| guard.expected_rows != rows) {
            return Err(Refusal::Guard { index: statement.index, tag: guard.tag });
        }
    }
    for committed in answers {
        committed?;
    }
    Ok(())
}

/// Polls each future once, in order, which sends it; then waits for the answers, which come in the same order.
async fn in_order(mut flights: Vec<Flying<'_>>) -> Vec<Result<u64, Failure>> {
    let mut answers: Vec<Option<Result<u64, Failure>>> = flights.iter().map(|_| None).collect();
    let mut sent = false;
    poll_fn(|cx| {
        for (flight, answer) in flights.iter_mut().zip(&mut answers) {
            if answer.is_some() {
                continue;
            }
            match flight.as_mut().poll(cx) {
                Poll::Ready(done) => *answer = Some(done),
                Poll::Pending if sent => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        sent = true;
        if answers.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    answers.into_iter().flatten().collect()
}
