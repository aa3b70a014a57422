//! One request for a page: who asks, in which language, with which fields; and the calls made for it.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::{ACCEPT_LANGUAGE, COOKIE, HOST, REFERER};
use http::request::Parts;
use mallard_gateway_core::edge::{Quota, request_id};
use mallard_gateway_core::origin;
use mallard_rpc::{Call, Caller, Origin, Surface, Trace};
use mallard_types::{Error, Result};
use tokio::time::Instant;
use tonic::{Response, Status};

use crate::domain::{Lang, Secret, local_path, negotiate, split_language};
use crate::session::Session;
use crate::site::Site;
use crate::text::Text;

/// Cookie of the session; behind TLS its name forbids that another host sets it.
pub const SESSION_COOKIE: &str = "mallard_session";
pub const SESSION_COOKIE_TLS: &str = "__Host-mallard_session";
/// Cookie of the language chosen last.
pub const LANGUAGE_COOKIE: &str = "mallard_language";
/// What the door says of a token that may have a successor.
const TOKEN_IS_OVER: [&str; 3] = ["token_expired", "invalid_token", "session_revoked"];

/// Most fields of a query that are read; what comes after them is no link of ours.
const QUERY_FIELDS_MAX: usize = 1_000;
/// Most fields of a form: a product of 100 variants with 10 options has less than half of them.
const FORM_FIELDS_MAX: usize = 4_000;

/// Fields of a query or a form, in order.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads the urlencoded fields of a query; at most 1,000.
    pub fn parse(text: &[u8]) -> Fields {
        let pairs = form_urlencoded::parse(text).take(QUERY_FIELDS_MAX);
        Fields(pairs.map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// Reads the urlencoded fields of a form. Never a part of them: what is missing would be taken for what is not wanted.
    ///
    /// # Errors
    /// `form_too_large` for more than 4,000.
    pub fn form(text: &[u8]) -> Result<Fields> {
        if form_urlencoded::parse(text).nth(FORM_FIELDS_MAX).is_some() {
            return Err(Error::invalid("form_too_large", "a form has at most 4,000 fields"));
        }
        Ok(Fields(form_urlencoded::parse(text).map(|(name, value)| (name.into(), value.into())).collect()))
    }

    /// Takes fields that were read elsewhere.
    pub fn of(pairs: Vec<(String, String)>) -> Fields {
        Fields(pairs)
    }

    /// Returns all fields in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns a field without blanks around it, empty when it is missing.
    pub fn get(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// Returns a field as it was typed: passwords may begin with a blank.
    pub fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value.as_str())
    }

    /// Returns every value of a field.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Returns a whole number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.get(name).parse().ok()
    }
}

/// A request for a page.
pub struct Ask {
    /// The site.
    pub site: Arc<Site>,
    /// Language of the answer.
    pub lang: Lang,
    /// Its texts.
    pub t: &'static Text,
    /// What stands in front of every link: nothing, or the language the path forces.
    pub base: &'static str,
    /// Language the path forces.
    pub forced: Option<Lang>,
    /// Path without the language.
    pub path: String,
    /// Query as it came, empty without one.
    pub query_text: String,
    /// Fields of the query.
    pub query: Fields,
    /// Fields of the form.
    pub form: Fields,
    /// The file that came with the form.
    pub file: Option<crate::console::upload::Upload>,
    /// Whether the browser came over TLS.
    pub tls: bool,
    /// Host the browser asked for.
    pub host: String,
    /// Secret of the visitor's session.
    pub secret: Secret,
    /// Token of the forms of the page.
    pub csrf: String,
    /// Whether the visitor has no cookie with it yet.
    pub is_new: bool,
    /// The visitor's session, when something is remembered.
    pub session: Option<Arc<Session>>,
    /// Language of the cookie.
    pub language_cookie: Option<Lang>,
    /// For support and logs.
    pub request_id: String,
    /// Path and query of the page the request came from, where that was one of ours; else empty.
    pub from: String,
    /// Refresh token when the request began: where there is another at its end, the cookie lives on.
    pub refresh_before: String,
    /// Network address of the visitor's own machine.
    pub address: Option<IpAddr>,
    /// Limits by user, where the gateway's guard stands before the pages.
    quota: Option<Quota>,
    trace: Trace,
    origin: Arc<Origin>,
    started: Instant,
    /// When its calls may begin: a form that takes long to come leaves them their time.
    ready: Instant,
}

impl Ask {
    /// Reads a request's head.
    ///
    /// # Errors
    /// The session store's.
    pub async fn new(site: Arc<Site>, parts: &Parts) -> Result<Ask> {
        let (forced, path) = split_language(parts.uri.path());
        let headers = &parts.headers;
        let client = site.clients.client(parts);
        let tls = client.secure;
        let name = if tls { SESSION_COOKIE_TLS } else { SESSION_COOKIE };
        let known = cookie(headers, name).and_then(Secret::parse);
        let session = match &known {
            Some(secret) => site.sessions.find(secret).await?,
            None => None,
        };
        let language_cookie = cookie(headers, LANGUAGE_COOKIE).and_then(Lang::of_tag);
        let profile = session
            .as_ref()
            .and_then(|session| session.stored().kept.user.as_ref().and_then(|user| Lang::of_tag(&user.language)));
        let accepted = || negotiate(header(headers, ACCEPT_LANGUAGE.as_str()));
        let lang = forced.or(language_cookie).or(profile).unwrap_or_else(accepted);
        let query_text = parts.uri.query().unwrap_or_default().to_owned();
        let is_new = known.is_none();
        let started = Instant::now();
        let secret = known.unwrap_or_else(|| site.sessions.secret());
        Ok(Ask {
            lang,
            t: Text::of(lang),
            base: match forced {
                None => "",
                Some(Lang::En) => "/en",
                Some(Lang::Zh) => "/zh",
            },
            forced,
            path: path.to_owned(),
            query: Fields::parse(query_text.as_bytes()),
            query_text,
            form: Fields::default(),
            file: None,
            tls,
            host: header(headers, HOST.as_str()).to_owned(),
            from: from(headers),
            refresh_before: session.as_ref().map(|one| one.stored().kept.refresh().to_owned()).unwrap_or_default(),
            is_new,
            csrf: secret.csrf(),
            secret,
            session,
            language_cookie,
            request_id: request_id(headers).unwrap_or_else(|| site.ctx.id("req")),
            trace: Trace::parse(header(headers, "traceparent")).unwrap_or_else(|| site.trace()),
            origin: origin::origin(client, headers),
            address: client.address,
            quota: parts.extensions.get().cloned(),
            started,
            ready: started,
            site,
        })
    }

    /// Reads as nobody, within the time of a read: what is public is the same for all.
    pub async fn public<F: Future>(&self, work: F) -> F::Output {
        let caller = Caller { language: self.lang.tag().into(), surface: Surface::Store, ..Caller::default() };
        mallard_rpc::scope(self.call(caller, self.site.config.read_timeout_ms), work).await
    }

    /// Reads as somebody, within the time of a read.
    ///
    /// # Errors
    /// The callee's.
    pub async fn read<T>(&self, caller: &Caller, work: impl Future<Output = Answer<T>>) -> Result<T> {
        let call = self.call(caller.clone(), self.site.config.read_timeout_ms);
        mallard_rpc::scope(call, work).await.map(Response::into_inner).map_err(mallard_rpc::error)
    }

    /// Changes something as somebody, within the time of a change.
    ///
    /// # Errors
    /// The callee's.
    pub async fn write<T>(&self, caller: &Caller, work: impl Future<Output = Answer<T>>) -> Result<T> {
        let call = self.call(caller.clone(), self.site.config.write_timeout_ms);
        mallard_rpc::scope(call, work).await.map(Response::into_inner).map_err(mallard_rpc::error)
    }

    /// Makes the context of a call: through the shoppers' door, unless the caller was let in through another.
    pub fn call(&self, mut caller: Caller, timeout_ms: u64) -> Call {
        if caller.surface == Surface::Internal {
            caller.surface = Surface::Store;
        }
        caller.language = self.lang.tag().into();
        Call {
            caller,
            trace: self.trace,
            deadline: Some(self.ready + Duration::from_millis(timeout_ms)),
            request_id: self.request_id.clone(),
            origin: Some(Arc::clone(&self.origin)),
            ..Call::default()
        }
    }

    /// Decides whether the visitor may do what a route of the API does, and returns as whom: what a page does is allowed to the
    /// same people as what it does it with.
    ///
    /// # Errors
    /// `unauthenticated`, which becomes the way to sign in; `forbidden`, `account_banned`; `reauthentication_required` for what
    /// is dangerous; identity's own when it does not answer.
    pub async fn permit(&self, verb: &str, path: &str) -> Result<Caller> {
        let caller = match &self.session {
            Some(session) => self.permit_with(session, verb, path).await?,
            None => self.site.door.enter("", verb, path).await?,
        };
        if let Some(quota) = &self.quota {
            quota.take(&caller)?;
        }
        Ok(caller)
    }

    /// Decides as [`Ask::permit`] for a session that has just begun.
    ///
    /// # Errors
    /// As [`Ask::permit`].
    pub async fn permit_with(&self, session: &Arc<Session>, verb: &str, path: &str) -> Result<Caller> {
        let site = &self.site;
        let decide = async {
            let Some(access) = site.sessions.access(session).await? else {
                return site.door.enter("", verb, path).await;
            };
            match site.door.enter(&access, verb, path).await {
                Err(error) if TOKEN_IS_OVER.contains(&error.code.as_ref()) => {
                    let access = site.sessions.access_after(session, &access).await?.unwrap_or_default();
                    site.door.enter(&access, verb, path).await
                }
                decided => decided,
            }
        };
        mallard_rpc::scope(self.call(Caller::default(), site.config.read_timeout_ms), decide).await
    }

    /// Returns who is signed in; an anonymous caller when nobody is.
    ///
    /// # Errors
    /// As [`Ask::permit`].
    pub async fn caller(&self) -> Result<Caller> {
        self.permit("GET", "/store/v1/cart").await
    }

    /// Returns the signed-in shopper.
    ///
    /// # Errors
    /// As [`Ask::permit`].
    pub async fn shopper(&self) -> Result<Caller> {
        self.permit("GET", "/store/v1/me").await
    }

    /// Tells whether somebody is signed in, as far as the session knows.
    pub fn is_signed_in(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.stored().kept.user.is_some())
    }

    /// Returns the token of the guest's cart, empty without one.
    pub fn cart_token(&self) -> String {
        self.session.as_ref().map(|session| session.stored().kept.cart_token.clone()).unwrap_or_default()
    }

    /// Returns the visitor's session, made now when there is none.
    ///
    /// # Errors
    /// The session store's.
    pub async fn open_session(&self) -> Result<Arc<Session>> {
        match &self.session {
            Some(session) => Ok(Arc::clone(session)),
            None => self.site.sessions.open(&self.secret).await,
        }
    }

    /// Remembers how many different things the cart holds, for the badge.
    pub async fn note_cart(&self, lines: usize) {
        let lines = u32::try_from(lines).unwrap_or(u32::MAX);
        let Some(session) = &self.session else { return };
        if let Err(error) = self.site.sessions.change(session, |kept| kept.cart_lines = lines).await {
            tracing::debug!(%error, request_id = self.request_id, "the badge of the cart was not remembered");
        }
    }

    /// Returns a link within the shop in the language of this page.
    pub fn link(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Returns path and query of this page without the language, to come back to; the first page for a path that a browser
    /// could take for another host.
    pub fn here(&self) -> String {
        if local_path(&self.path).is_none() {
            return "/".to_owned();
        }
        match self.query_text.is_empty() {
            true => self.path.clone(),
            false => format!("{}?{}", self.path, self.query_text),
        }
    }

    /// Begins the time of the calls anew: the form has only now come in whole.
    pub fn form_came(&mut self) {
        self.ready = Instant::now();
    }

    /// Returns how long the request has been under way.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Checks that a form is the visitor's own: the token of the session, and no other site's page behind it.
    ///
    /// # Errors
    /// `csrf_token_invalid`, `origin_mismatch`.
    pub fn check_form(&self, headers: &HeaderMap) -> Result<()> {
        let origin = header(headers, "origin");
        let foreign = !origin.is_empty() && origin.split_once("://").is_none_or(|(_, host)| host != self.host);
        let elsewhere = matches!(header(headers, "sec-fetch-site"), "cross-site" | "same-site");
        if foreign || (origin.is_empty() && elsewhere) {
            return Err(Error::forbidden("origin_mismatch", "the form was sent from another site"));
        }
        if self.is_new || !crate::domain::constant_eq(self.form.get("_csrf"), &self.secret.csrf()) {
            return Err(Error::forbidden(
                "csrf_token_invalid",
                "the form is too old or not yours; load the page again",
            ));
        }
        Ok(())
    }
}

type Answer<T> = std::result::Result<Response<T>, Status>;

/// Writes the path of a route of the API out of fixed pieces and what stands between them: every second piece is one part of the
/// path, whatever it holds.
pub fn route(pieces: &[&str]) -> String {
    let mut path = String::new();
    for (index, piece) in pieces.iter().enumerate() {
        if index % 2 == 0 {
            path.push_str(piece);
            continue;
        }
        for byte in piece.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => path.push(char::from(byte)),
                _ => path.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    path
}

/// Returns a header as text, empty when it is missing.
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Returns path and query of the page a request came from, where it was one of this shop's.
fn from(headers: &HeaderMap) -> String {
    let (host, page) = (header(headers, HOST.as_str()), header(headers, REFERER.as_str()));
    let rest = page.split_once("://").and_then(|(_, rest)| rest.strip_prefix(host));
    let path = rest.filter(|path| !host.is_empty() && local_path(path).is_some());
    path.unwrap_or_default().to_owned()
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|line| line.split(';')).find_map(
        |pair| {
            let (found, value) = pair.trim().split_once('=')?;
            (found == name).then_some(value)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_shop_are_gone_back_to() {
        let from = |page: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "shop.test".parse().unwrap());
            headers.insert(REFERER, page.parse().unwrap());
            from(&headers)
        };
        assert_eq!(from("https://shop.test/zh/p/prod_1?sku=a"), "/zh/p/prod_1?sku=a");
        for other in [
            "https://shop.test.evil.example/",
            "https://evil.example/shop.test/",
            "https://shop.test//evil.example",
            "",
        ] {
            assert_eq!(from(other), "", "{other}");
        }
    }

    #[test]
    fn a_form_is_read_whole_or_not_at_all() {
        let form = |fields: usize| Fields::form("a=1&".repeat(fields).as_bytes()).map(|read| read.pairs().count());
        assert_eq!(form(FORM_FIELDS_MAX).unwrap(), FORM_FIELDS_MAX);
        assert_eq!(form(FORM_FIELDS_MAX + 1).unwrap_err().code, "form_too_large");
        assert_eq!(Fields::parse("a=1&".repeat(2_000).as_bytes()).pairs().count(), QUERY_FIELDS_MAX);
    }

    #[test]
    fn what_a_visitor_sends_is_one_part_of_a_route() {
        assert_eq!(route(&["/store/v1/orders/", "ord_1", "/pay"]), "/store/v1/orders/ord_1/pay");
        assert_eq!(
            route(&["/store/v1/orders/", "../../admin/v1?x#", "/pay"]),
            "/store/v1/orders/%2E%2E%2F%2E%2E%2Fadmin%2Fv1%3Fx%23/pay"
        );
        assert_eq!(route(&["/store/v1/cart/lines/", ""]), "/store/v1/cart/lines/");
    }
}
