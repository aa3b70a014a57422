//! The password once more, before what is dangerous. The question keeps everything that was typed: with the right password the
//! form goes on as if it had been sent so the first time.

use askama::Template;
use futures_util::future::BoxFuture;
use http::StatusCode;
use mallard_proto::identity::v1::ReauthenticateRequest;
use mallard_types::{Error, Kind, Micros, Result};

use super::shell::Shell;
use super::text::Words;
use crate::answer::Answer;
use crate::ask::Ask;

const PASSWORD: &str = "_password";
const MICROS_PER_SECOND: Micros = 1_000_000;
/// Code of the refusal that asks for the password.
const CODE: &str = "reauthentication_required";

#[derive(Template)]
#[template(path = "console/confirm.html")]
struct Page {
    s: Shell,
    action: String,
    error: &'static str,
    fields: Vec<(String, String)>,
}

/// Tells whether a form brings the password, which costs a call.
pub fn brings_password(ask: &Ask) -> bool {
    ask.form.pairs().any(|(name, _)| name == PASSWORD)
}

/// Answers a page of a console. A form that needs the password is asked for it, and goes on with everything that was typed.
///
/// # Errors
/// Whatever keeps the page from being made.
pub async fn guard(
    ask: &Ask,
    is_form: bool,
    shell: impl Fn() -> Shell,
    page: BoxFuture<'_, Result<Answer>>,
) -> Result<Answer> {
    if is_form && let Proof::Again(status, error) = prove(ask).await? {
        return question(ask, shell(), status, error);
    }
    match page.await {
        Err(error) if error.code == CODE => question(ask, shell(), StatusCode::FORBIDDEN, ""),
        answered => answered,
    }
}

/// What became of the password that came with a form.
enum Proof {
    /// None came, or it was the right one.
    Go,
    /// It was wrong; the question again.
    Again(StatusCode, &'static str),
}

/// Proves who is there where a form brings a password.
async fn prove(ask: &Ask) -> Result<Proof> {
    if !brings_password(ask) {
        return Ok(Proof::Go);
    }
    let caller = ask.shopper().await?;
    let request = ReauthenticateRequest { password: ask.form.raw(PASSWORD).to_owned() };
    let mut client = ask.site.peers.identity();
    let proved = match ask.write(&caller, client.reauthenticate(request)).await {
        Ok(proved) => proved,
        Err(error) => return refused(ask, error),
    };
    let Some(session) = &ask.session else { return Ok(Proof::Go) };
    let until = ask.site.ctx.clock().now() + proved.expires_in.saturating_mul(MICROS_PER_SECOND);
    let change = |kept: &mut crate::store::Kept| {
        if let Some(user) = &mut kept.user {
            (user.access, user.access_until) = (proved.access_token.clone(), until);
        }
    };
    ask.site.sessions.change(session, change).await?;
    Ok(Proof::Go)
}

fn refused(ask: &Ask, error: Error) -> Result<Proof> {
    let c = Words::of(ask.lang);
    match error.kind {
        Kind::Unauthenticated | Kind::Invalid if error.code != "session_revoked" => {
            Ok(Proof::Again(StatusCode::UNPROCESSABLE_ENTITY, c.password_wrong))
        }
        Kind::TooMany => Ok(Proof::Again(StatusCode::TOO_MANY_REQUESTS, c.password_too_often)),
        Kind::Unavailable if error.code == "busy" => Ok(Proof::Again(StatusCode::SERVICE_UNAVAILABLE, c.too_many)),
        _ => Err(error),
    }
}

/// Asks for the password, keeping what was typed.
fn question(ask: &Ask, shell: Shell, status: StatusCode, error: &'static str) -> Result<Answer> {
    let kept = ask.form.pairs().filter(|(name, _)| !matches!(*name, "_csrf" | PASSWORD));
    let page = Page {
        s: shell,
        action: ask.link(&ask.here()),
        error,
        fields: kept.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    };
    Answer::with(status, &page)
}
