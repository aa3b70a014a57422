//! Profile, language, and where the account is signed in.

use askama::Template;
use http::StatusCode;
use mallard_proto::identity::v1::{
    GetMeRequest, ListSessionsRequest, RevokeSessionRequest, Session, UpdateMeRequest, UserStatus,
};
use mallard_rpc::Caller;
use mallard_types::{Error, Kind, Result};

use crate::answer::{Answer, CookieChange};
use crate::ask::{Ask, route};
use crate::domain::{self, Lang};
use crate::error::at_field;
use crate::text::fill;
use crate::view::{Field, Frame, moment};

const DEVICE_CHARS_MAX: usize = 80;

struct Device {
    id: String,
    name: String,
    address: String,
    used: String,
    current: bool,
}

#[derive(Template)]
#[template(path = "account.html")]
struct Page {
    f: Frame,
    trouble: &'static str,
    email: String,
    name: Field,
    choices: Vec<(&'static str, &'static str, bool)>,
    sessions: Vec<Device>,
}

/// Shows the account.
///
/// # Errors
/// Identity's.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let caller = ask.shopper().await?;
    render(ask, &caller, StatusCode::OK, None).await
}

async fn render(ask: &Ask, caller: &Caller, status: StatusCode, error: Option<&Error>) -> Result<Answer> {
    let (mut one, mut other) = (ask.site.peers.identity(), ask.site.peers.identity());
    let me = ask.read(caller, one.get_me(GetMeRequest {}));
    let sessions = ask.read(caller, other.list_sessions(ListSessionsRequest {}));
    let (me, sessions) = tokio::try_join!(me, sessions)?;
    let user = me.user.unwrap_or_default();
    if user.status() == UserStatus::Deleted {
        return Err(Error::not_found("user_not_found", "there is no such account"));
    }
    let t = ask.t;
    let typed = if error.is_some() { ask.form.get("name").to_owned() } else { user.name };
    let mut name = Field { maxlength: 100, ..Field::text("name", t.name, typed, "name") };
    if let Some(error) = error {
        name.error = at_field(t, error);
    }
    let language = Lang::of_tag(&user.language).unwrap_or(Lang::En);
    let mut f = Frame::new(ask, t.account);
    f.notice = match ask.query.get("done") {
        "saved" => t.saved,
        "ended" => t.session_ended,
        "password" => t.password_changed,
        _ => "",
    };
    let page = Page {
        f,
        trouble: if error.is_some() { t.see_fields } else { "" },
        email: user.email,
        name,
        choices: Lang::ALL.into_iter().map(|lang| (lang.tag(), lang.name(), lang == language)).collect(),
        sessions: sessions.sessions.into_iter().map(|session| device(ask, session)).collect(),
    };
    Answer::with(status, &page)
}

fn device(ask: &Ask, session: Session) -> Device {
    let name = match domain::device(&session.user_agent) {
        _ if !session.device.is_empty() => session.device,
        Some((browser, system)) => fill(&fill(ask.t.device_on, browser), system),
        None if session.user_agent.is_empty() => ask.t.unknown_device.to_owned(),
        None => session.user_agent.chars().take(DEVICE_CHARS_MAX).collect(),
    };
    Device {
        name,
        address: session.address,
        used: session.last_used_at.map(|at| moment(at.micros(), ask.lang)).unwrap_or_default(),
        current: session.current,
        id: session.id,
    }
}

/// Changes the profile.
///
/// # Errors
/// Identity's.
pub async fn change(ask: &Ask) -> Result<Answer> {
    let caller = ask.permit("PATCH", "/store/v1/me").await?;
    let name = ask.form.get("name").to_owned();
    let lang = Lang::of_tag(ask.form.get("language")).unwrap_or(ask.lang);
    let request = UpdateMeRequest { name: Some(name.clone()), language: Some(lang.tag().to_owned()), if_version: None };
    let mut client = ask.site.peers.identity();
    match ask.write(&caller, client.update_me(request)).await {
        Ok(answer) => {
            let user = answer.user.unwrap_or_default();
            let shown = if user.name.is_empty() { user.email } else { user.name };
            let session = ask.open_session().await?;
            ask.site
                .sessions
                .change(&session, |kept| {
                    if let Some(user) = &mut kept.user {
                        user.name.clone_from(&shown);
                        user.language = lang.tag().to_owned();
                    }
                })
                .await?;
            // In the language just chosen, which the cookie then remembers.
            Ok(Answer::to(format!("/{}/account?done=saved", lang.tag())))
        }
        Err(error) if error.kind == Kind::Invalid => {
            render(ask, &caller, StatusCode::UNPROCESSABLE_ENTITY, Some(&error)).await
        }
        Err(error) => Err(error),
    }
}

/// Ends one of the account's sessions; the present one signs out.
///
/// # Errors
/// `session_not_found`; identity's.
pub async fn end_session(ask: &Ask, id: &str) -> Result<Answer> {
    let caller = ask.permit("DELETE", &route(&["/auth/v1/sessions/", id])).await?;
    let mut client = ask.site.peers.identity();
    ask.write(&caller, client.revoke_session(RevokeSessionRequest { id: id.to_owned() })).await?;
    ask.site.door.read_after("RevokeSession").await?;
    if caller.session_id == id {
        ask.site.sessions.end(&ask.secret).await?;
        return Ok(Answer::to(ask.link("/?done=signed-out")).cookie(CookieChange::End));
    }
    Ok(Answer::to(ask.link("/account?done=ended")))
}
