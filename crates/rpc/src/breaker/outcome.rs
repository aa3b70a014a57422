//! What a breaker is told, and what it says.

use std::time::Duration;

use super::Counts;

/// What a breaker would say to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// All is well.
    Open,
    /// All is not well, but too many are left out already.
    Spared,
    /// It may be well again; one of few calls that find out.
    Probe,
    /// It is left out although it answers: badly, or slowly.
    Ejected,
    /// It is left out because nothing answers.
    Refused,
}

/// How an admitted call ended, as far as the callee is to praise or blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Good,
    /// Refused for want of room: says nothing against a callee that is well, but one that recovers is not there yet.
    Shed,
    /// Answered that it failed.
    Failed,
    /// Did not answer.
    Silent,
}

/// The end of an admitted call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
    /// How long the callee asked to be left alone.
    pub(crate) hint: Option<Duration>,
}

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> Self {
        End { outcome, took: Duration::ZERO, hint: None }
    }
}

/// What an outcome changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// Left out from now on; `ejected` when it still answers.
    Opened {
        ejected: bool,
    },
    /// Used again.
    Closed,
    /// Would have been ejected, but too many are already.
    Spared,
}

/// Where a breaker stands, for people.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) state: &'static str,
    /// Why it was last opened; empty when it never was.
    pub(crate) reason: String,
    pub(crate) opened: u64,
    /// Calls of the window, or the probes since it was opened.
    pub(crate) counts: Counts,
    /// Time until an open one lets the next probe through.
    pub(crate) open_for: Option<Duration>,
}
