//! Signing in, up and out. The session's id changes each time.

use askama::Template;
use http::StatusCode;
use mallard_proto::cart::v1::{Cart, MergeCartRequest};
use mallard_proto::identity::v1::{LoginRequest, LogoutRequest, RegisterRequest, Tokens, User};
use mallard_rpc::Caller;
use mallard_types::{Error, Kind, Result};

use crate::answer::{Answer, CookieChange};
use crate::ask::Ask;
use crate::domain::{local_path, split_language};
use crate::error::at_field;
use crate::session::Session;
use crate::store::Kept;
use crate::view::{Field, Frame};

const PASSWORD_CHARS_MAX: u32 = 200;
/// Route of the merge.
pub const MERGE: &str = "/store/v1/cart/merge";

#[derive(Template)]
#[template(path = "sign.html")]
struct Page {
    f: Frame,
    trouble: &'static str,
    action: &'static str,
    next: String,
    fields: Vec<Field>,
    other: &'static str,
    other_text: &'static str,
    other_link: &'static str,
}

/// Shows the form to sign in; who is signed in goes where he was going.
///
/// # Errors
/// Identity's when it does not answer.
pub async fn show_in(ask: &Ask) -> Result<Answer> {
    if !ask.caller().await?.user_id.is_empty() {
        return Ok(Answer::to(destination(ask)));
    }
    form_in(ask, StatusCode::OK, "")
}

/// Shows the form to make an account.
///
/// # Errors
/// Identity's when it does not answer.
pub async fn show_up(ask: &Ask) -> Result<Answer> {
    if !ask.caller().await?.user_id.is_empty() {
        return Ok(Answer::to(destination(ask)));
    }
    form_up(ask, StatusCode::OK, "", None)
}

fn form_in(ask: &Ask, status: StatusCode, trouble: &'static str) -> Result<Answer> {
    let t = ask.t;
    let page = Page {
        f: Frame::new(ask, t.sign_in).at(here(ask, "/sign-in")),
        trouble,
        action: "/sign-in",
        next: next(ask).to_owned(),
        fields: vec![email(ask), password(t.password, "password", "current-password")],
        other: "/sign-up",
        other_text: t.no_account,
        other_link: t.sign_up,
    };
    Answer::with(status, &page)
}

fn form_up(ask: &Ask, status: StatusCode, trouble: &'static str, error: Option<&Error>) -> Result<Answer> {
    let t = ask.t;
    let mut fields = vec![
        email(ask),
        Field::text("name", t.name, ask.form.get("name"), "name"),
        Field { hint: t.password_hint, ..password(t.password, "password", "new-password") },
        password(t.password_again, "password_confirmation", "new-password"),
    ];
    if let Some(error) = error {
        let name = field_of(error);
        for field in fields.iter_mut().filter(|field| field.name == name) {
            field.error = at_field(t, error);
        }
    }
    let page = Page {
        f: Frame::new(ask, t.sign_up).at(here(ask, "/sign-up")),
        trouble,
        action: "/sign-up",
        next: next(ask).to_owned(),
        fields,
        other: "/sign-in",
        other_text: t.have_account,
        other_link: t.sign_in,
    };
    Answer::with(status, &page)
}

/// Returns where the form is to be found again, with the place to come back to.
fn here(ask: &Ask, path: &str) -> String {
    match next(ask) {
        "/" => path.to_owned(),
        next => {
            format!("{path}?{}", form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish())
        }
    }
}

fn field_of(error: &Error) -> &str {
    match error.code.as_ref() {
        "invalid_email" | "email_taken" => "email",
        "password_too_short" | "password_too_long" | "password_is_email" => "password",
        "password_mismatch" => "password_confirmation",
        _ => error.param.as_deref().unwrap_or_default(),
    }
}

fn email(ask: &Ask) -> Field {
    let field = Field::text("email", ask.t.email, ask.form.get("email"), "username").required();
    Field { kind: "email", inputmode: "email", maxlength: 254, ..field }
}

/// Makes the field of a password.
pub fn password(label: &'static str, name: &'static str, autocomplete: &'static str) -> Field {
    // Never shown again: what was typed stays out of the page.
    Field { kind: "password", maxlength: PASSWORD_CHARS_MAX, ..Field::text(name, label, "", autocomplete).required() }
}

/// Signs in.
///
/// # Errors
/// Identity's when it does not answer.
pub async fn sign_in(ask: &Ask) -> Result<Answer> {
    let request = LoginRequest {
        email: ask.form.get("email").to_owned(),
        password: ask.form.raw("password").to_owned(),
        device: String::new(),
    };
    let mut client = ask.site.peers.identity();
    let caller = ask.permit("POST", "/auth/v1/login").await?;
    match ask.write(&stranger(caller), client.login(request)).await {
        Ok(answer) => enter(ask, answer.user, answer.tokens).await,
        Err(error) => match error.kind {
            Kind::Unauthenticated | Kind::Invalid => form_in(ask, StatusCode::UNPROCESSABLE_ENTITY, ask.t.bad_login),
            Kind::Forbidden => form_in(ask, StatusCode::FORBIDDEN, ask.t.banned),
            Kind::TooMany => form_in(ask, StatusCode::TOO_MANY_REQUESTS, ask.t.too_many_tries),
            Kind::Unavailable if error.code == "busy" => form_in(ask, StatusCode::SERVICE_UNAVAILABLE, ask.t.too_busy),
            _ => Err(error),
        },
    }
}

/// Makes an account and signs in.
///
/// # Errors
/// Identity's when it does not answer.
pub async fn sign_up(ask: &Ask) -> Result<Answer> {
    let request = RegisterRequest {
        email: ask.form.get("email").to_owned(),
        password: ask.form.raw("password").to_owned(),
        password_confirmation: Some(ask.form.raw("password_confirmation").to_owned()),
        name: ask.form.get("name").to_owned(),
        language: ask.lang.tag().to_owned(),
        device: String::new(),
    };
    let mut client = ask.site.peers.identity();
    let caller = ask.permit("POST", "/auth/v1/register").await?;
    match ask.write(&stranger(caller), client.register(request)).await {
        Ok(answer) => enter(ask, answer.user, answer.tokens).await,
        Err(error) => match error.kind {
            Kind::Invalid => form_up(ask, StatusCode::UNPROCESSABLE_ENTITY, ask.t.see_fields, Some(&error)),
            Kind::Conflict => form_up(ask, StatusCode::CONFLICT, ask.t.email_taken, Some(&error)),
            Kind::TooMany => form_up(ask, StatusCode::TOO_MANY_REQUESTS, ask.t.too_many_tries, None),
            Kind::Unavailable if error.code == "busy" => {
                form_up(ask, StatusCode::SERVICE_UNAVAILABLE, ask.t.too_busy, None)
            }
            _ => Err(error),
        },
    }
}

/// Starts a new session for who has just proved who he is, takes the guest's cart along, and goes where he was going.
async fn enter(ask: &Ask, user: Option<User>, tokens: Option<Tokens>) -> Result<Answer> {
    let user = user.unwrap_or_default();
    let name = if user.name.is_empty() { user.email } else { user.name };
    let sessions = &ask.site.sessions;
    let guest_cart = ask.cart_token();
    let signed_in = sessions.signed_in(tokens.unwrap_or_default(), name, user.language);
    let kept = Kept { user: Some(signed_in), cart_token: guest_cart.clone(), ..Kept::default() };
    let (secret, session) = sessions.start(&kept).await?;
    // The sign-in stands whatever becomes of the cart: what was not merged now is merged when the cart is looked at.
    let merged = async { merge(ask, &ask.permit_with(&session, "POST", MERGE).await?, &session, guest_cart).await };
    if let Err(error) = merged.await {
        tracing::warn!(%error, request_id = ask.request_id, "the guest's cart was not merged at sign-in");
    }
    if ask.session.is_some() {
        sessions.end(&ask.secret).await?;
    }
    Ok(Answer::to(destination(ask)).cookie(CookieChange::New(secret)))
}

/// Merges the guest's cart into the shopper's own, once however often it is asked for, and returns that; without a guest's cart
/// the shopper's own as it is.
///
/// # Errors
/// The cart's; then the session still knows the guest's cart.
pub async fn merge(ask: &Ask, caller: &Caller, session: &Session, cart_token: String) -> Result<Cart> {
    let mut client = ask.site.peers.cart();
    let answer = ask.write(caller, client.merge_cart(MergeCartRequest { cart_token })).await?;
    let cart = answer.cart.unwrap_or_default();
    let lines = u32::try_from(cart.lines.len()).unwrap_or(u32::MAX);
    let change = |kept: &mut Kept| {
        kept.cart_token.clear();
        kept.cart_lines = lines;
    };
    ask.site.sessions.change(session, change).await?;
    Ok(cart)
}

/// Signs out: the account's session ends at once, and this one with it.
///
/// # Errors
/// Identity's when it does not answer.
pub async fn sign_out(ask: &Ask) -> Result<Answer> {
    match ask.permit("POST", "/auth/v1/logout").await {
        Ok(caller) => {
            let mut client = ask.site.peers.identity();
            ask.write(&caller, client.logout(LogoutRequest { all_devices: false })).await?;
            ask.site.door.read_after("Logout").await?;
        }
        // Nobody is signed in any more.
        Err(error) if error.kind == Kind::Unauthenticated => {}
        // The mall does not know the account any more; its tokens are forgotten here.
        Err(error) if error.code == "account_banned" => {}
        Err(error) => return Err(error),
    }
    ask.site.sessions.end(&ask.secret).await?;
    Ok(Answer::to(ask.link("/?done=signed-out")).cookie(CookieChange::End))
}

fn next(ask: &Ask) -> &str {
    let asked = if ask.form.get("next").is_empty() { ask.query.get("next") } else { ask.form.get("next") };
    match local_path(asked) {
        // Who has just signed in is not sent back to the form.
        Some(path) if !path.starts_with("/sign-") => path,
        _ => "/",
    }
}

fn destination(ask: &Ask) -> String {
    let next = next(ask);
    if split_language(next).0.is_some() { next.to_owned() } else { ask.link(next) }
}

/// Returns somebody who is not signed in, at the same door: a login says anew who somebody is.
fn stranger(caller: Caller) -> Caller {
    Caller { surface: caller.surface, ..Caller::default() }
}
