//! The way of a request through the pages: which page, whose session, whose form, which answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt;
use http::{HeaderMap, Method};
use mallard_admission::Door;
use mallard_rpc::{Surface, Trace};
use mallard_runtime::{Context, Task};
use mallard_types::{Error, Result};
use tokio::sync::Semaphore;

use crate::answer::{Answer, seal};
use crate::ask::Ask;
use crate::assets;
use crate::best::BestSellers;
use crate::catalogue::Catalogue;
use crate::client::Clients;
use crate::config::Config;
use crate::console::{Console, upload};
use crate::copies::Copies;
use crate::domain::{has_prefix, split_language};
use crate::images::{self, Images};
use crate::pages::{self, Route};
use crate::peers::Peers;
use crate::session::Sessions;
use crate::stand::ASSETS;
use crate::visits::Visits;

/// Largest form of the shop's pages.
const FORM_BYTES_MAX: usize = 64 * 1024;
/// Largest form of the consoles, for who is signed in: two descriptions of 20,000 characters, of nine bytes each as browsers
/// write Chinese ones, and much room.
const CONSOLE_FORM_BYTES_MAX: usize = 512 * 1024;

/// What every page may use.
pub struct Site {
    /// What the service may reach.
    pub ctx: Context,
    /// Settings.
    pub config: Config,
    /// Sessions.
    pub sessions: Arc<Sessions>,
    /// The catalogue, remembered.
    pub catalogue: Catalogue,
    /// Decides who may do what, as the API does.
    pub door: Arc<Door>,
    /// Who is at the other end.
    pub clients: Clients,
    /// What sells best.
    pub best: Arc<BestSellers>,
    /// What visitors did.
    pub visits: Arc<Visits>,
    /// Pictures sellers put up.
    pub images: Images,
    copies: Copies,
    /// The other services.
    pub peers: Peers,
    /// What the consoles ask and remember.
    pub console: Console,
    under_way: Semaphore,
}

impl Site {
    /// Makes the site.
    pub fn new(ctx: Context, config: Config, sessions: Arc<Sessions>, door: Arc<Door>, clients: Clients) -> Arc<Site> {
        let pause = Duration::from_millis;
        Arc::new(Site {
            catalogue: Catalogue::new(&ctx, &config),
            best: Arc::new(BestSellers::new(ctx.clone(), pause(config.best_sellers_interval_ms.max(1)))),
            visits: Arc::new(Visits::new(ctx.clone(), pause(config.visits_interval_ms.max(1)))),
            images: Images::new(&ctx, &config),
            copies: Copies::new(&ctx, &config),
            peers: Peers::new(&ctx),
            console: Console::new(&ctx),
            under_way: Semaphore::new(config.pages_max),
            sessions,
            door,
            clients,
            config,
            ctx,
        })
    }

    /// Returns the work that goes on beside the pages.
    pub fn tasks(&self) -> Vec<Task> {
        let (sessions, best, visits) = (self.sessions.clone(), self.best.clone(), self.visits.clone());
        vec![
            Task::restarting("prune", move || Arc::clone(&sessions).prune()),
            Task::restarting("best-sellers", move || Arc::clone(&best).keep_fresh()),
            Task::restarting("visits", move || Arc::clone(&visits).keep_telling()),
        ]
    }

    /// Makes a trace for a request that brings none.
    pub fn trace(&self) -> Trace {
        let chance = self.ctx.chance();
        // All zero would mean no trace.
        Trace::new(u128::from_be_bytes(chance.bytes()).max(1), chance.number().max(1))
    }
}

/// Returns the pages and their files. What is neither is not asked of them: `stand.rs` tells.
pub fn router(site: Arc<Site>) -> Router {
    Router::new().fallback(move |request: Request| serve(Arc::clone(&site), request))
}

async fn serve(site: Arc<Site>, request: Request) -> Response {
    let path = request.uri().path();
    if has_prefix(path, &[images::PATH]) {
        let (parts, _) = request.into_parts();
        return site.images.serve(&parts).await;
    }
    if has_prefix(path, &[ASSETS]) {
        return assets::serve(path, request.headers());
    }
    let (_, local) = split_language(path);
    let route = pages::find(local);
    if request.method() != Method::POST {
        return page(site, route, request).await;
    }
    // A task of its own: what a form has begun is finished also when the browser goes away.
    match tokio::spawn(page(site, route, request)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "the task of a form ended");
            pages::problem::plain()
        }
    }
}

/// Answers a page, whatever happens.
async fn page(site: Arc<Site>, route: Option<Route>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut ask = match Ask::new(Arc::clone(&site), &parts).await {
        Ok(ask) => ask,
        Err(error) => {
            tracing::warn!(%error, "a session could not be read");
            return pages::problem::plain();
        }
    };
    let name = route.as_ref().map_or("unmatched", Route::name);
    let visit = route.as_ref().and_then(|route| route.visit(parts.method == Method::POST));
    let work = AssertUnwindSafe(answer(&mut ask, route, &parts.method, &parts.headers, body)).catch_unwind();
    let answered = match work.await {
        Ok(answered) => answered,
        Err(_) => Err(Error::internal("panic", "the page panicked")),
    };
    if let (Ok(answer), Some((visit, status))) = (&answered, visit)
        && answer.status == status
    {
        site.visits.count(visit);
    }
    let answer = answered.unwrap_or_else(|error| pages::problem::answer(&ask, &error));
    let response = seal(&ask, answer, &parts);
    report(&ask, name, &parts.method, &response);
    response
}

async fn answer(
    ask: &mut Ask,
    route: Option<Route>,
    method: &Method,
    headers: &HeaderMap,
    body: Body,
) -> Result<Answer> {
    let site = Arc::clone(&ask.site);
    site.clients.check(route.as_ref().map_or(Surface::Store, Route::surface), ask.address)?;
    let _place = site
        .under_way
        .try_acquire()
        .map_err(|_| Error::unavailable("overloaded", "too many pages are under way").retry_after_ms(1_000))?;
    let Some(route) = route else { return Err(Error::not_found("page_not_found", "there is no such page")) };
    let is_form = *method == Method::POST;
    if !(is_form || *method == Method::GET || *method == Method::HEAD) || !route.takes(is_form) {
        return Ok(pages::problem::other_verb(ask, &route));
    }
    if is_form {
        if route.takes_file() {
            (ask.form, ask.file) = upload::read(ask, headers, body).await?;
        } else {
            let is_console = matches!(route, Route::Seller(_) | Route::Operator(_)) && ask.is_signed_in();
            let bytes_max = if is_console { CONSOLE_FORM_BYTES_MAX } else { FORM_BYTES_MAX };
            ask.form = upload::read_fields(body, bytes_max).await?;
        }
        ask.form_came();
        ask.check_form(headers)?;
    } else if let Some(answer) = site.copies.answer(ask, &route).await {
        return answer;
    }
    pages::answer(ask, route, is_form).await
}

fn report(ask: &Ask, page: &'static str, method: &Method, response: &Response) {
    let status = response.status().as_u16();
    let elapsed = ask.elapsed();
    metrics::counter!("mallard_web_pages_total", "page" => page, "status" => status.to_string()).increment(1);
    metrics::histogram!("mallard_web_page_seconds", "page" => page).record(elapsed.as_secs_f64());
    tracing::info!(
        verb = method.as_str(),
        page,
        status,
        duration_us = elapsed.as_micros() as u64,
        request_id = ask.request_id,
        "page answered"
    );
}
