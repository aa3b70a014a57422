//! The mall's own workings. Each page asks one or two things, so that one that hangs holds up no other.
//!
//! | file | pages below `/operator/system` |
//! |---|---|
//! | `services.rs` | the first page, `/protection`, `/breakers` |
//! | `work.rs` | `/flows`, `/dead-letters`, `/traces` |
//! | `checks.rs` | `/checks` |

mod checks;
mod services;
mod work;

use futures_util::future::BoxFuture;
use mallard_types::Result;

pub use checks::Examination;

use super::text::Words;
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::shell::Shell;

/// A page about the mall's workings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Services,
    Protection,
    Breakers,
    Flows,
    FlowUnstick,
    DeadLetters,
    DeadLetterRetry,
    Traces,
    Checks,
}

/// Finds the page of a path below `/operator/system`.
pub fn find(parts: &[&str]) -> Option<Route> {
    Some(match parts {
        [] => Route::Services,
        ["protection"] => Route::Protection,
        ["breakers"] => Route::Breakers,
        ["flows"] => Route::Flows,
        ["flows", "unstick"] => Route::FlowUnstick,
        ["dead-letters"] => Route::DeadLetters,
        ["dead-letters", "retry"] => Route::DeadLetterRetry,
        ["traces"] => Route::Traces,
        ["checks"] => Route::Checks,
        _ => return None,
    })
}

impl Route {
    /// Returns the page's name in metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Route::Services => "operator.system",
            Route::Protection => "operator.protection",
            Route::Breakers => "operator.breakers",
            Route::Flows => "operator.flows",
            Route::FlowUnstick => "operator.flow.unstick",
            Route::DeadLetters => "operator.dead_letters",
            Route::DeadLetterRetry => "operator.dead_letter.retry",
            Route::Traces => "operator.traces",
            Route::Checks => "operator.checks",
        }
    }

    /// Tells whether the page takes forms (true) or is read (false).
    pub fn takes(&self, is_form: bool) -> bool {
        *self == Route::Checks || self.readable().is_empty() != is_form
    }

    /// Returns the page to read where a form was sent to; empty for a page that is read itself.
    pub fn readable(&self) -> String {
        match self {
            Route::FlowUnstick => "/operator/system/flows".into(),
            Route::DeadLetterRetry => "/operator/system/dead-letters".into(),
            _ => String::new(),
        }
    }
}

/// Answers a page.
///
/// # Errors
/// Whatever keeps it from being made.
pub fn answer(ask: &Ask, route: Route, is_form: bool) -> BoxFuture<'_, Result<Answer>> {
    match (route, is_form) {
        (Route::Services, _) => Box::pin(services::show(ask)),
        (Route::Protection, _) => Box::pin(services::protection(ask)),
        (Route::Breakers, _) => Box::pin(services::breakers(ask)),
        (Route::Flows, _) => Box::pin(work::flows(ask)),
        (Route::FlowUnstick, _) => Box::pin(work::unstick(ask)),
        (Route::DeadLetters, _) => Box::pin(work::dead_letters(ask)),
        (Route::DeadLetterRetry, _) => Box::pin(work::retry(ask)),
        (Route::Traces, _) => Box::pin(work::traces(ask)),
        (Route::Checks, false) => Box::pin(checks::show(ask)),
        (Route::Checks, true) => Box::pin(checks::run(ask)),
    }
}

fn shell(ask: &Ask, title: &'static str, here: &str) -> Shell {
    let w = Words::of(ask.lang);
    let subs = [
        ("/operator/system", w.services),
        ("/operator/system/protection", w.protection),
        ("/operator/system/breakers", w.breakers),
        ("/operator/system/flows", w.flows),
        ("/operator/system/dead-letters", w.dead_letters),
        ("/operator/system/traces", w.traces),
        ("/operator/system/checks", w.checks),
    ];
    super::shell(ask, title, "/operator/system").subs(ask, &subs, here)
}

/// Writes microseconds as people read them.
fn lasting(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::lasting;

    #[test]
    fn a_time_is_written_in_the_unit_that_fits() {
        assert_eq!(lasting(999), "999 µs");
        assert_eq!(lasting(1_250), "1.2 ms");
        assert_eq!(lasting(2_340_000), "2.3 s");
    }
}
