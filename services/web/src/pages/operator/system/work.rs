//! Work that waits or is stuck, events that could not be applied, requests that took long.

use http::StatusCode;
use mallard_proto::gateway::v1::{
    DeadLetter, ListDeadLettersRequest, ListFlowsRequest, ListTracesRequest, RetryDeadLetterRequest, SlowTrace,
    UnstickFlowRequest,
};
use mallard_proto::platform::v1::{Flow, SlowCall};
use mallard_types::Result;

use super::super::audit::indented;
use super::super::text::Words;
use super::{lasting, shell};
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::form::{Input, say, status};
use crate::console::panel::Panel;
use crate::console::text::Words as Common;
use crate::console::view::{Block, Cell, Form, Page, Part, Table, time};
use crate::console::{patiently, permit};
use crate::text::fill;

/// Most rows of a page, of each service.
const ROWS: i32 = 100;
const TRACES: i32 = 30;
/// Most calls of a trace that are shown, the first ones.
const CALLS_MAX: usize = 50;

/// Shows flows that wait or are stuck.
///
/// # Errors
/// `forbidden`.
pub async fn flows(ask: &Ask) -> Result<Answer> {
    render_flows(ask, StatusCode::OK, "").await
}

async fn render_flows(ask: &Ask, code: StatusCode, trouble: &str) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let stuck = ask.query.get("stuck");
    let caller = permit(ask, "GET", "/admin/v1/system/flows", &[]).await?;
    let request = ListFlowsRequest { service: String::new(), stuck: !stuck.is_empty(), limit: ROWS };
    let mut client = ask.site.console.gateway();
    let flows = Panel::of(patiently(ask, &caller, client.list_flows(request)).await)?;
    let body = flows.map(|flows| {
        let table = Part::Table(flow_table(ask, &flows.flows, !stuck.is_empty()));
        cut_note(ask, flows.flows.len()).into_iter().chain([table]).collect()
    });
    let mut s = shell(ask, w.flows, "/operator/system/flows").trouble(trouble);
    s.f.notice = match ask.query.get("done") {
        "unstuck" => w.unstuck_done,
        "not-stuck" => w.not_stuck,
        _ => "",
    };
    let mut page = Page::new(s, vec![Block::of("list", w.flows, body).text(w.flows_text)]);
    let choices = vec![(String::new(), c.any.to_owned()), ("1".to_owned(), w.only_stuck.to_owned())];
    page.filter = Some(Form {
        action: ask.link("/operator/system/flows"),
        fields: vec![Input::select("stuck", c.status, stuck, choices).required()],
        button: c.show,
        ..Form::default()
    });
    page.answer(code)
}

fn flow_table(ask: &Ask, flows: &[Flow], only_stuck: bool) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let row = |flow: &Flow| {
        let unstick = Form {
            action: ask.link("/operator/system/flows/unstick"),
            title: w.unstick.into(),
            text: w.unstick_text.into(),
            hidden: vec![("service", flow.service.clone()), ("name", flow.name.clone()), ("flow", flow.key.clone())],
            button: w.unstick,
            folded: true,
            ..Form::default()
        };
        let (words, tone) = if flow.stuck { (w.stuck, "bad") } else { (w.waiting, "warn") };
        vec![
            Cell::text(flow.name.clone()).note(flow.service.clone()),
            Cell::code(flow.key.clone()).long(story(ask, flow)),
            Cell::state(words, tone).note(flow.last_error.clone()),
            Cell::text(time(ask, &flow.wake_at)),
            Cell::number(flow.attempts),
            if flow.stuck { Cell::acts(vec![unstick.about(&flow.key, &flow.key)]) } else { Cell::text("–") },
        ]
    };
    Table {
        caption: w.flows.to_owned(),
        columns: vec![w.flow, w.key, c.status, w.due, w.attempts, w.do_something],
        rows: flows.iter().map(row).collect(),
        empty: if only_stuck { w.no_stuck } else { w.no_flows },
    }
}

/// Writes what a flow has been through, as far as that is kept, and what it holds now.
fn story(ask: &Ask, flow: &Flow) -> String {
    let w = Words::of(ask.lang);
    let mut lines = vec![format!("{}  {}", time(ask, &flow.created_at), w.made)];
    for step in &flow.history {
        let what = match step.what.as_str() {
            "state" => w.step_state,
            "failed" => w.step_failed,
            "stuck" => w.stuck,
            "freed" => w.step_freed,
            other => other,
        };
        lines.push(format!("{}  {what}: {}", time(ask, &step.at), step.text));
    }
    lines.push(format!("{}  {} ({}: {})", time(ask, &flow.updated_at), w.last_moved, w.attempts, flow.attempts));
    format!("{}\n\n{}", lines.join("\n"), indented(&flow.state))
}

/// Says that more may wait than is shown, where a list came full.
fn cut_note(ask: &Ask, rows: usize) -> Option<Part> {
    let is_full = i32::try_from(rows).is_ok_and(|rows| rows >= ROWS);
    is_full.then(|| Part::Note("warn", fill(Words::of(ask.lang).more_wait, ROWS)))
}

/// Lets a stuck flow go on.
///
/// # Errors
/// `forbidden`, `service_not_found`.
pub async fn unstick(ask: &Ask) -> Result<Answer> {
    let [service, name, key] = ["service", "name", "flow"].map(|field| ask.form.get(field).to_owned());
    let route = "/admin/v1/system/flows/{}/{}/{}/unstick";
    let caller = permit(ask, "POST", route, &[&service, &name, &key]).await?;
    let mut client = ask.site.console.gateway();
    match ask.write(&caller, client.unstick_flow(UnstickFlowRequest { service, name, key })).await {
        Ok(answer) => {
            let word = if answer.unstuck { "unstuck" } else { "not-stuck" };
            Ok(Answer::to(ask.link(&format!("/operator/system/flows?done={word}"))))
        }
        Err(error) => match status(&error) {
            Some(status) => render_flows(ask, status, say(Common::of(ask.lang), &error)).await,
            None => Err(error),
        },
    }
}

/// Shows events that could not be applied.
///
/// # Errors
/// `forbidden`.
pub async fn dead_letters(ask: &Ask) -> Result<Answer> {
    render_letters(ask, StatusCode::OK, "").await
}

async fn render_letters(ask: &Ask, code: StatusCode, trouble: &str) -> Result<Answer> {
    let w = Words::of(ask.lang);
    let caller = permit(ask, "GET", "/admin/v1/system/dead-letters", &[]).await?;
    let request = ListDeadLettersRequest { service: String::new(), limit: ROWS };
    let mut client = ask.site.console.gateway();
    let letters = Panel::of(patiently(ask, &caller, client.list_dead_letters(request)).await)?;
    let body = letters.map(|letters| {
        let table = Part::Table(letter_table(ask, &letters.dead_letters));
        cut_note(ask, letters.dead_letters.len()).into_iter().chain([table]).collect()
    });
    let mut s = shell(ask, w.dead_letters, "/operator/system/dead-letters").trouble(trouble);
    match ask.query.get("done") {
        "applied" => s.f.notice = w.retried_done,
        "not-applied" => s.trouble = w.retried_not.to_owned(),
        _ => {}
    }
    Page::new(s, vec![Block::of("list", w.dead_letters, body).text(w.dead_text)]).answer(code)
}

fn letter_table(ask: &Ask, letters: &[DeadLetter]) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let row = |letter: &DeadLetter| {
        let retry = Form {
            action: ask.link("/operator/system/dead-letters/retry"),
            title: w.retry.into(),
            text: w.retry_text.into(),
            hidden: vec![("service", letter.service.clone()), ("event", letter.event_id.clone())],
            button: w.retry,
            folded: true,
            ..Form::default()
        };
        vec![
            Cell::text(letter.r#type.clone()).note(letter.event_id.clone()),
            Cell::text(letter.service.clone()),
            Cell::code(letter.key.clone()),
            Cell::text(letter.reason.clone()),
            Cell::number(letter.attempts),
            Cell::text(time(ask, &letter.parked_at)),
            Cell::acts(vec![retry.about(&letter.event_id, &letter.event_id)]),
        ]
    };
    Table {
        caption: w.dead_letters.to_owned(),
        columns: vec![w.event, w.service, w.event_key, c.why, w.attempts, w.parked, w.do_something],
        rows: letters.iter().map(row).collect(),
        empty: w.no_dead,
    }
}

/// Has a service apply an event again. One that is gone was applied meanwhile.
///
/// # Errors
/// `forbidden`, `service_not_found`.
pub async fn retry(ask: &Ask) -> Result<Answer> {
    let [service, event_id] = ["service", "event"].map(|field| ask.form.get(field).to_owned());
    let route = "/admin/v1/system/dead-letters/{}/{}/retry";
    let caller = permit(ask, "POST", route, &[&service, &event_id]).await?;
    let mut client = ask.site.console.gateway();
    let word = match ask.write(&caller, client.retry_dead_letter(RetryDeadLetterRequest { service, event_id })).await {
        Ok(answer) if answer.applied => "applied",
        Ok(_) => "not-applied",
        Err(error) if error.code == "no_such_dead_letter" => "applied",
        Err(error) => {
            return match status(&error) {
                Some(status) => render_letters(ask, status, say(Common::of(ask.lang), &error)).await,
                None => Err(error),
            };
        }
    };
    Ok(Answer::to(ask.link(&format!("/operator/system/dead-letters?done={word}"))))
}

/// Shows requests that took long.
///
/// # Errors
/// `forbidden`.
pub async fn traces(ask: &Ask) -> Result<Answer> {
    let w = Words::of(ask.lang);
    let caller = permit(ask, "GET", "/admin/v1/system/traces", &[]).await?;
    let mut client = ask.site.console.gateway();
    let traces = Panel::of(patiently(ask, &caller, client.list_traces(ListTracesRequest { limit: TRACES })).await)?;
    let body = traces.map(|traces| vec![Part::Table(trace_table(ask, &traces.traces))]);
    let block = Block::of("list", w.traces, body).text(w.traces_text);
    Page::new(shell(ask, w.traces, "/operator/system/traces"), vec![block]).answer(StatusCode::OK)
}

fn trace_table(ask: &Ask, traces: &[SlowTrace]) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let row = |trace: &SlowTrace| {
        let first = trace.calls.first();
        let name = first.map(|call| call.name.clone()).unwrap_or_default();
        let outcome = first.map(|call| call.outcome.clone()).unwrap_or_default();
        let began = trace.started_at.as_ref().map_or(0, |at| at.micros());
        let tone = if outcome.is_empty() || outcome == "ok" { "good" } else { "bad" };
        vec![
            Cell::text(time(ask, &trace.started_at)),
            Cell::text(name).long(calls(w, began, &trace.calls)),
            Cell::number(lasting(trace.duration_us)),
            Cell::state(outcome, tone),
            Cell::code(trace.trace_id.clone()),
        ]
    };
    Table {
        caption: w.traces.to_owned(),
        columns: vec![c.when, c.what, w.took, w.outcome, w.trace],
        rows: traces.iter().map(row).collect(),
        empty: w.no_traces,
    }
}

/// Writes the first calls of a trace, one on a line, and how many more there are.
fn calls(w: &'static Words, began: i64, calls: &[SlowCall]) -> String {
    let mut lines: Vec<String> = calls.iter().take(CALLS_MAX).map(|call| step(began, call)).collect();
    if calls.len() > CALLS_MAX {
        lines.push(fill(w.more_calls, calls.len() - CALLS_MAX));
    }
    lines.join("\n")
}

/// Writes one call of a trace: when it began after the first, how long it took, what it was.
fn step(began: i64, call: &SlowCall) -> String {
    let at = call.started_at.as_ref().map_or(0, |at| at.micros());
    let after = u64::try_from(at.saturating_sub(began)).unwrap_or(0);
    format!(
        "+{:<9} {:<9} {} ({}, {})",
        lasting(after),
        lasting(call.duration_us),
        call.name,
        call.outcome,
        call.process
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Lang;

    #[test]
    fn of_a_long_trace_the_first_calls_are_shown_and_the_others_counted() {
        let shown = |count: usize| {
            let all: Vec<SlowCall> =
                (0..count).map(|i| SlowCall { name: format!("call {i}"), ..SlowCall::default() }).collect();
            calls(Words::of(Lang::En), 0, &all)
        };
        assert_eq!(shown(50).lines().count(), 50);
        let long = shown(1_000);
        assert_eq!(long.lines().count(), 51);
        assert!(
            long.contains("call 49 ") && !long.contains("call 50 ") && long.ends_with("and 950 more calls"),
            "{long}"
        );
    }
}
