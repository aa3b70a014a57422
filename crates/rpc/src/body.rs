//! The guard around a response body: the deadline covers the answer to its last byte, and a panic stays inside.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::error::status;
use crate::guard::{Broken, broken_by};

/// Reads base64 with or without padding, as gRPC demands.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Guards the body of a response until `deadline`.
pub(crate) fn guarded(response: Response<Body>, deadline: Instant) -> Response<Body> {
    if response.body().is_end_stream() {
        return response;
    }
    response.map(|inner| Body::new(Guarded { inner, deadline, timer: None, ended: false }))
}

/// Removes status details that are not base64: tonic's client panics on them.
pub(crate) fn drop_bad_details(headers: &mut HeaderMap) {
    let bad = headers.get(Status::GRPC_STATUS_DETAILS).is_some_and(|value| LENIENT.decode(value.as_bytes()).is_err());
    if bad {
        headers.remove(Status::GRPC_STATUS_DETAILS);
    }
}

struct Guarded {
    inner: Body,
    deadline: Instant,
    /// Made once the body has to be waited for.
    timer: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.inner).poll_frame(cx)));
        let polled = polled.unwrap_or_else(|panic| Poll::Ready(Some(Err(status(broken_by(&*panic).error())))));
        match polled {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    drop_bad_details(trailers);
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(Some(Err(error))) => {
                self.ended = true;
                return Poll::Ready(Some(Err(self.repaired(error))));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {}
        }
        let deadline = self.deadline;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.ended = true;
        Poll::Ready(Some(Err(status(Broken::Deadline.error()))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Guarded {
    /// Gives a connection that broke in the middle of an answer the status it has at the beginning of one.
    fn repaired(&self, error: Status) -> Status {
        match error.code() {
            Code::Cancelled if Instant::now() >= self.deadline => status(Broken::Deadline.error()),
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn response(
        frames: impl futures_util::Stream<Item = Result<Frame<Bytes>, Status>> + Send + 'static,
    ) -> Response<Body> {
        Response::new(Body::new(StreamBody::new(Box::pin(frames))))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_ends_at_the_deadline() {
        let deadline = Instant::now() + Duration::from_secs(1);
        let body = guarded(response(stream::pending()), deadline).into_body();
        let error = body.collect().await.err().unwrap();
        assert_eq!(error.code(), Code::DeadlineExceeded);
        assert_eq!(Instant::now(), deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_panics_ends_with_an_internal_error() {
        let body = response(stream::poll_fn(|_| panic!("in the body")));
        let body = guarded(body, Instant::now() + Duration::from_secs(1)).into_body();
        assert_eq!(body.collect().await.err().unwrap().code(), Code::Internal);
    }

    #[tokio::test(start_paused = true)]
    async fn details_that_are_not_base64_are_removed_before_tonic_reads_them() {
        let bad = || HeaderMap::from_iter([(Status::GRPC_STATUS_DETAILS, "%%%".parse().unwrap())]);
        let frames = stream::iter([Ok(Frame::trailers(bad()))]);
        let response = guarded(response(frames), Instant::now() + Duration::from_secs(1));
        let collected = response.into_body().collect().await.unwrap();
        assert!(collected.trailers().unwrap().is_empty());
    }
}
