//! skeleton

use mallard_types::{Error, Result};

use crate::answer::Answer;
use crate::ask::Ask;

/// A page of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Home,
}

/// Finds the page of a path below the console's.
pub fn find(parts: &[&str]) -> Option<Route> {
    match parts {
        [] => Some(Route::Home),
        _ => None,
    }
}

impl Route {
    /// Returns the page's name in metrics and logs.
    pub fn name(&self) -> &'static str {
        "console"
    }

    /// Tells whether the page takes forms (true) or is read (false).
    pub fn takes(&self, is_form: bool) -> bool {
        !is_form
    }

    /// Returns the page to read where a form was sent to.
    pub fn readable(&self) -> String {
        String::new()
    }

    /// Tells whether the page's form brings a file.
    pub fn takes_file(&self) -> bool {
        false
    }
}

/// Answers a page.
///
/// # Errors
/// Whatever keeps it from being made.
pub async fn answer(_ask: &Ask, _route: Route, _is_form: bool) -> Result<Answer> {
    Err(Error::not_found("page_not_found", "there is no such page"))
}
