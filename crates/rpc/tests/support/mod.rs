//! A small service and its client, written by hand: what the generated code would be.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::uri::PathAndQuery;
use mallard_rpc::{Client, MESSAGE_BYTES_MAX, ServiceChannel};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use tower::Service;

/// A method that may run twice.
pub const GET: &str = "/mallard.probe.v1.ProbeService/Get";
/// A method that is not marked as such.
pub const CHANGE: &str = "/mallard.probe.v1.ProbeService/Change";

/// Request and answer of every method.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Note {
    #[prost(string, tag = "1")]
    pub text: String,
    #[prost(int64, tag = "2")]
    pub number: i64,
}

/// Makes a note.
pub fn note(text: impl Into<String>) -> Note {
    Note { text: text.into(), number: 7 }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Handler = Arc<dyn Fn(Request<Note>) -> BoxFuture<Result<Note, Status>> + Send + Sync>;

/// The server: one handler for all methods.
#[derive(Clone)]
pub struct ProbeServer(Handler);

/// Makes the routes of a service whose methods all run `handler`.
pub fn routes<F, Fut>(handler: F) -> Routes
where
    F: Fn(Request<Note>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Note, Status>> + Send + 'static,
{
    Routes::new(ProbeServer(Arc::new(move |request| Box::pin(handler(request)))))
}

/// Makes the routes of a service that answers with what it is sent.
#[allow(dead_code, reason = "not every test needs it")]
pub fn echo() -> Routes {
    routes(|request| async move { Ok(request.into_inner()) })
}

impl NamedService for ProbeServer {
    const NAME: &'static str = "mallard.probe.v1.ProbeService";
}

impl Service<http::Request<Body>> for ProbeServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let handler = Arc::clone(&self.0);
        Box::pin(async move {
            let run = tower::service_fn(move |request| {
                let answer = handler(request);
                async move { answer.await.map(tonic::Response::new) }
            });
            let mut grpc = tonic::server::Grpc::new(ProstCodec::default()).max_decoding_message_size(MESSAGE_BYTES_MAX);
            Ok(grpc.unary(run, request).await)
        })
    }
}

/// The client.
#[derive(Clone)]
pub struct ProbeClient(tonic::client::Grpc<ServiceChannel>);

impl Client for ProbeClient {
    const SERVICE: &'static str = "probe";

    fn from_channel(channel: ServiceChannel) -> Self {
        mallard_rpc::register_idempotent(&[GET]);
        ProbeClient(tonic::client::Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }
}

impl ProbeClient {
    /// Calls a method that may run twice.
    #[allow(dead_code, reason = "not every test needs it")]
    pub async fn get(&mut self, note: Note) -> Result<Note, Status> {
        self.send(GET, Request::new(note)).await
    }

    /// Calls a method that may not.
    #[allow(dead_code, reason = "not every test needs it")]
    pub async fn change(&mut self, note: Note) -> Result<Note, Status> {
        self.send(CHANGE, Request::new(note)).await
    }

    /// Calls a method.
    pub async fn send(&mut self, path: &'static str, request: Request<Note>) -> Result<Note, Status> {
        self.answer(path, request).await.map(tonic::Response::into_inner)
    }

    /// Calls a method and returns the answer with its metadata.
    pub async fn answer(
        &mut self,
        path: &'static str,
        request: Request<Note>,
    ) -> Result<tonic::Response<Note>, Status> {
        self.0.ready().await?;
        self.0.unary(request, PathAndQuery::from_static(path), ProstCodec::<Note, Note>::default()).await
    }
}
