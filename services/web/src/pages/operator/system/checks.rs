//! The books of the whole mall, checked on request. A check reads everything there is: it runs beside the pages, one at a time,
//! and the page says that it runs and for how long, which is all anybody knows until the last service has answered.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use mallard_proto::Timestamp;
use mallard_proto::gateway::v1::{CheckRequest, CheckResponse};
use mallard_rpc::Caller;
use mallard_types::{Error, Kind, Micros, Result};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::dashboard::signed_out;
use super::super::text::Words;
use super::shell;
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::panel::Panel;
use crate::console::permit;
use crate::console::text::Words as Common;
use crate::console::view::{Block, Cell, Form, Page, Part, Piece, Table, time};
use crate::text::fill;

/// Longest a check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(600);
const LOOK_AGAIN_S: u32 = 2;

/// The check that runs, or ran last.
#[derive(Default)]
pub struct Examination(Arc<Mutex<State>>);

#[derive(Clone, Default)]
enum State {
    #[default]
    Never,
    Running(Instant),
    Done {
        at: Micros,
        took: Duration,
        outcome: Arc<Result<CheckResponse>>,
    },
}

impl Examination {
    /// Starts a check, unless one runs.
    fn start(&self, ask: &Ask, caller: &Caller) {
        let begun = Instant::now();
        {
            let mut state = self.0.lock();
            if matches!(*state, State::Running(_)) {
                return;
            }
            *state = State::Running(begun);
        }
        let (state, site) = (Arc::clone(&self.0), Arc::clone(&ask.site));
        let mut call = ask.call(caller.clone(), 0);
        call.deadline = Some(begun + CHECK_TIMEOUT);
        tokio::spawn(async move {
            let mut ended = Ended { state, outcome: None, begun, at: 0 };
            let mut client = site.console.gateway();
            let answer = mallard_rpc::scope(call, client.check(CheckRequest {})).await;
            ended.outcome = Some(answer.map(|answer| answer.into_inner()).map_err(mallard_rpc::error));
            ended.at = site.ctx.clock().now();
        });
    }
}

/// Writes down how a check ended, also when its task did not come to its end.
struct Ended {
    state: Arc<Mutex<State>>,
    outcome: Option<Result<CheckResponse>>,
    begun: Instant,
    at: Micros,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let broken = || Err(Error::internal("task_failed", "the check ended without an answer"));
        let outcome = self.outcome.take().unwrap_or_else(broken);
        if let Err(error) = &outcome {
            tracing::warn!(%error, "the books could not be checked");
        }
        *self.state.lock() = State::Done { at: self.at, took: self.begun.elapsed(), outcome: Arc::new(outcome) };
    }
}

/// Shows how the books stand: as a page, or as the part of it that is looked at again.
///
/// # Errors
/// `forbidden`.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let w = Words::of(ask.lang);
    let is_part = !ask.query.get("part").is_empty();
    match permit(ask, "GET", "/admin/v1/check", &[]).await {
        // The page is still open, the session is not.
        Err(error) if is_part && error.kind == Kind::Unauthenticated => {
            return signed_out(ask, "books", w.checks, "/operator/system/checks");
        }
        permitted => permitted?,
    };
    let state = ask.site.console.examination.0.lock().clone();
    let running = matches!(state, State::Running(_));
    let block = block(ask, &state);
    let s = shell(ask, w.checks, "/operator/system/checks");
    if is_part {
        return Answer::page(&Piece { s, b: block });
    }
    let mut page = Page::new(s, vec![block]);
    page.refresh_s = if running { LOOK_AGAIN_S } else { 0 };
    page.answer(StatusCode::OK)
}

/// Starts a check.
///
/// # Errors
/// `forbidden`.
pub async fn run(ask: &Ask) -> Result<Answer> {
    let caller = permit(ask, "GET", "/admin/v1/check", &[]).await?;
    ask.site.console.examination.start(ask, &caller);
    Ok(Answer::to(ask.link("/operator/system/checks")))
}

fn block(ask: &Ask, state: &State) -> Block {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let start = Part::Form(Box::new(Form {
        action: ask.link("/operator/system/checks"),
        button: w.checks_run,
        ..Form::default()
    }));
    let block = |parts| Block::of("books", w.checks, Panel::Ready(parts)).text(w.checks_text);
    match state {
        State::Never => block(vec![Part::Note("", w.checks_never.to_owned()), start]),
        State::Running(begun) => {
            let note = Part::Note("warn", fill(w.checks_running, begun.elapsed().as_secs()));
            block(vec![note]).live(ask.link("/operator/system/checks?part=1"), LOOK_AGAIN_S)
        }
        State::Done { at, took, outcome } => {
            let when = time(ask, &Some(Timestamp::from_micros(*at)));
            let seconds = format!("{}.{}", took.as_secs(), took.subsec_millis() / 100);
            let done = Part::Note("", fill(&fill(w.checks_done, when), seconds));
            match &**outcome {
                Ok(answer) => {
                    let (words, tone) = if answer.ok { (w.checks_ok, "good") } else { (w.checks_bad, "bad") };
                    block(vec![Part::Note(tone, words.to_owned()), done, Part::Table(table(ask, answer)), start])
                }
                Err(error) => {
                    let why = crate::console::form::say(c, error);
                    block(vec![Part::Note("bad", fill(w.checks_failed, why)), start])
                }
            }
        }
    }
}

fn table(ask: &Ask, answer: &CheckResponse) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    // What is broken stands on top.
    let mut checks: Vec<_> = answer.checks.iter().collect();
    checks.sort_by_key(|check| check.ok);
    let rows = checks.into_iter().map(|check| {
        let (words, tone) = if check.ok { (w.holds, "good") } else { (w.broken, "bad") };
        vec![Cell::code(check.name.clone()), Cell::state(words, tone), Cell::text(check.detail.clone())]
    });
    Table {
        caption: w.checks.to_owned(),
        columns: vec![w.check, c.status, w.found],
        rows: rows.collect(),
        empty: w.checks_never,
    }
}
