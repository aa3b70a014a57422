//! Pages beside the API of a process: which requests are theirs, and the guard that stands before them.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use http::request::Parts as Head;
use tower::ServiceExt;

/// Pages for people, put in front of the API of the process they run in.
pub struct Pages {
    /// Answers pages and their files.
    pub router: Router,
    /// Tells what a request is, from its head alone.
    pub stands_for: fn(&Head) -> Stand,
}

/// What a request to a process with pages is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// No page: the API answers it.
    Api,
    /// A file that is the same for everybody.
    File,
    /// A page, which does what a route of the API does and is protected like it.
    Page {
        /// Verb of the route.
        verb: &'static str,
        /// Path template of the route, e.g. `/store/v1/orders/{id}/pay`.
        route: &'static str,
        /// The page reads its body piece by piece, as one that takes files must.
        streams: bool,
    },
}

/// Answers a request that was let in.
pub type Answering = Box<dyn FnOnce(Request) -> BoxFuture<'static, Response> + Send>;

/// Lets the requests of pages in, or refuses them; the gateway's.
pub type Guard = Arc<dyn Fn(Request, Stand, Answering) -> BoxFuture<'static, Response> + Send + Sync>;

/// Puts a guard before files.
pub(crate) fn guard_files(files: Router, guard: &Guard) -> Router {
    let guard = Arc::clone(guard);
    files.layer(from_fn(move |request: Request, next: Next| {
        guard(request, Stand::File, Box::new(move |request| Box::pin(next.run(request))))
    }))
}

/// Puts pages in front of an application. Without a guard they answer whoever asks.
pub(crate) fn in_front(pages: Pages, behind: Router, guard: Option<Guard>) -> Router {
    let Pages { router, stands_for } = pages;
    Router::new().fallback(move |request: Request| {
        let (head, body) = request.into_parts();
        let stand = stands_for(&head);
        let request = Request::from_parts(head, body);
        let answering = match stand {
            Stand::Api => behind.clone(),
            Stand::File | Stand::Page { .. } => router.clone(),
        };
        let guard = guard.clone().filter(|_| stand != Stand::Api);
        async move {
            match guard {
                Some(guard) => guard(request, stand, Box::new(move |request| Box::pin(ask(answering, request)))).await,
                None => ask(answering, request).await,
            }
        }
    })
}

async fn ask(router: Router, request: Request) -> Response {
    // Infallible: a router answers every request.
    router.oneshot(request).await.into_response()
}
