//! Pages that are the same for everybody without an account and a filled cart, kept as they are written for a moment: most
//! requests of a shop are for these. What differs between such visitors is the token of their forms, which is put in.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use mallard_cache::{Cache, Options};
use mallard_runtime::Context;
use mallard_types::Result;

use crate::answer::{Answer, CookieChange};
use crate::ask::Ask;
use crate::config::Config;
use crate::domain::Lang;
use crate::pages::{self, Route};

/// Longest address whose page is kept.
const ADDRESS_BYTES_MAX: usize = 512;

/// Names a copy: language of the page, whether its links force it, path and query.
type Key = (Lang, bool, String);

/// A page, cut where a form's token goes.
struct Copy {
    pieces: Vec<Bytes>,
    status: StatusCode,
    kind: &'static str,
}

/// Keeps pages.
pub struct Copies {
    memory: Option<Cache<Key, Arc<Copy>>>,
    /// Stands for the token in a page that is to be kept; nobody outside knows it.
    token: String,
}

impl Copies {
    /// Makes an empty memory.
    pub fn new(ctx: &Context, config: &Config) -> Copies {
        let options = Options::new(config.copies_max, Duration::from_millis(config.catalogue_ms));
        let memory = (config.copies_max > 0).then(|| Cache::new("web_copies", options));
        let token: [u8; 16] = ctx.random_bytes();
        Copies { memory, token: token.iter().map(|byte| format!("{byte:02x}")).collect() }
    }

    /// Answers a page that may be kept, for a visitor of whom nothing is shown; nothing for the others.
    ///
    /// # Errors
    /// Whatever keeps the page from being made.
    pub async fn answer(&self, ask: &mut Ask, route: &Route) -> Option<Result<Answer>> {
        let memory = self.memory.as_ref()?;
        let is_shared = matches!(route, Route::Home | Route::Category(_) | Route::Search | Route::Product(_));
        let address = ask.path.len() + ask.query_text.len();
        if !is_shared || address > ADDRESS_BYTES_MAX || !is_nobody(ask) {
            return None;
        }
        let key = (ask.lang, ask.forced.is_some(), ask.here());
        let own = std::mem::replace(&mut ask.csrf, self.token.clone());
        let made = memory.get_or_load(key, || self.make(ask, route)).await;
        ask.csrf = own;
        Some(made.map(|copy| copy.answer(&ask.csrf)))
    }

    async fn make(&self, ask: &Ask, route: &Route) -> Result<Arc<Copy>> {
        let answer = pages::answer(ask, route.clone(), false).await?;
        let mut pieces = Vec::new();
        let (mut rest, mark) = (answer.body, self.token.as_bytes());
        while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
            pieces.push(rest.split_to(at));
            let _ = rest.split_to(mark.len());
        }
        pieces.push(rest);
        Ok(Arc::new(Copy { pieces, status: answer.status, kind: answer.kind }))
    }
}

/// Tells whether a page shows nothing of its visitor.
fn is_nobody(ask: &Ask) -> bool {
    ask.session.as_ref().is_none_or(|session| {
        let stored = session.stored();
        stored.kept.user.is_none() && stored.kept.cart_lines == 0
    })
}

impl Copy {
    fn answer(&self, token: &str) -> Answer {
        let mut answer = Answer::to(String::new());
        (answer.status, answer.location, answer.kind) = (self.status, None, self.kind);
        answer.body = match self.pieces.as_slice() {
            // Without a form there is nothing to protect, and no session to begin.
            [whole] => {
                answer.cookie = CookieChange::Unneeded;
                whole.clone()
            }
            pieces => {
                let room = pieces.iter().map(|piece| piece.len() + token.len()).sum();
                let mut body = BytesMut::with_capacity(room);
                for (index, piece) in pieces.iter().enumerate() {
                    if index > 0 {
                        body.extend_from_slice(token.as_bytes());
                    }
                    body.extend_from_slice(piece);
                }
                body.freeze()
            }
        };
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_put_wherever_a_form_wants_it() {
        let copy = |pieces: &[&'static str]| Copy {
            pieces: pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect(),
            status: StatusCode::OK,
            kind: "text/html",
        };
        let one = copy(&["whole"]).answer("tok");
        assert_eq!((&one.body[..], matches!(one.cookie, CookieChange::Unneeded)), (&b"whole"[..], true));
        let two = copy(&["a=", "&b=", ""]).answer("tok");
        assert_eq!((&two.body[..], matches!(two.cookie, CookieChange::Keep)), (&b"a=tok&b=tok"[..], true));
    }
}
