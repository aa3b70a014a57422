//! A small request body kept so that the request can be sent again.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, Request};
use http_body::{Body as _, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

/// Largest body kept, in bytes.
pub(crate) const REPLAY_BYTES_MAX: usize = 256 * 1024;

/// A request that can be sent several times: head and the whole small body.
pub(crate) struct Replay {
    head: Parts,
    body: Bytes,
}

impl Replay {
    /// Keeps the request if its whole body is there at once and small; else gives it back unchanged.
    pub(crate) async fn keep(request: Request<Body>) -> Result<Replay, Request<Body>> {
        let (head, body) = request.into_parts();
        match read(body).await {
            Ok(body) => Ok(Replay { head, body }),
            Err(body) => Err(Request::from_parts(head, body)),
        }
    }

    /// Makes the request once more.
    pub(crate) fn request(&self) -> Request<Body> {
        Request::from_parts(self.head.clone(), self.body())
    }

    /// Makes the request for the last time.
    pub(crate) fn into_request(self) -> Request<Body> {
        let body = self.body();
        Request::from_parts(self.head, body)
    }

    /// Returns the headers.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Returns the whole body.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.body
    }

    fn body(&self) -> Body {
        whole(self.body.clone(), None)
    }
}

/// Makes a body of what was read.
pub(crate) fn whole(read: Bytes, trailers: Option<HeaderMap>) -> Body {
    Body::new(Rest { read: Some(read), trailers, error: None, rest: Body::empty() })
}

/// What came of reading a body to its end.
pub(crate) enum Collected {
    /// All of it, with the trailers.
    Whole(Bytes, Option<HeaderMap>),
    /// More than wanted: an equal body.
    TooLarge(Body),
    /// It broke.
    Failed(Status),
}

/// Reads a body to its end, waiting for it, as long as it has no more than `bytes_max`.
pub(crate) async fn collect(mut body: Body, bytes_max: usize) -> Collected {
    let mut read = Bytes::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(status) => return Collected::Failed(status),
        };
        match frame.into_data() {
            Ok(data) => read = joined(read, data),
            Err(frame) => return Collected::Whole(read, frame.into_trailers().ok()),
        }
        if read.len() > bytes_max {
            return Collected::TooLarge(Body::new(Rest { read: Some(read), trailers: None, error: None, rest: body }));
        }
    }
    Collected::Whole(read, None)
}

/// Reads a body that is ready at once; gives back an equal one when it is not, is too large, fails or has trailers.
async fn read(mut body: Body) -> Result<Bytes, Body> {
    let mut whole = Bytes::new();
    let (trailers, error) = loop {
        if whole.len() > REPLAY_BYTES_MAX {
            break (None, None);
        }
        match poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await {
            Poll::Ready(None) => return Ok(whole),
            Poll::Ready(Some(Err(error))) => break (None, Some(error)),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => whole = joined(whole, data),
                Err(frame) => break (frame.into_trailers().ok(), None),
            },
            Poll::Pending => break (None, None),
        }
    };
    Err(Body::new(Rest { read: Some(whole), trailers, error, rest: body }))
}

/// Appends `more`; the usual body of one frame is not copied.
fn joined(whole: Bytes, more: Bytes) -> Bytes {
    if whole.is_empty() {
        return more;
    }
    let mut both = BytesMut::with_capacity(whole.len() + more.len());
    both.extend_from_slice(&whole);
    both.extend_from_slice(&more);
    both.freeze()
}

/// A body of which the beginning was read already.
struct Rest {
    read: Option<Bytes>,
    trailers: Option<HeaderMap>,
    error: Option<Status>,
    rest: Body,
}

impl http_body::Body for Rest {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(read) = self.read.take().filter(|read| !read.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(read))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        Pin::new(&mut self.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        let read = self.read.as_ref().is_none_or(Bytes::is_empty);
        read && self.trailers.is_none() && self.error.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.as_ref().map_or(0, |read| read.len() as u64);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(read)) {
            hint.set_upper(upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt, Full, StreamBody};

    use super::*;

    fn request(body: Body) -> Request<Body> {
        Request::builder().uri("/a/b").header("x", "y").body(body).unwrap()
    }

    async fn bytes(request: Request<Body>) -> Bytes {
        assert_eq!(request.headers()["x"], "y");
        request.into_body().collect().await.unwrap().to_bytes()
    }

    fn frames(frames: Vec<&'static [u8]>) -> Body {
        let frames = frames.into_iter().map(|data| Ok::<_, Status>(Frame::data(Bytes::from_static(data))));
        Body::new(StreamBody::new(stream::iter(frames)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_body_can_be_sent_again_and_again() {
        let replay = Replay::keep(request(frames(vec![b"one ", b"two"]))).await.ok().unwrap();
        assert_eq!(bytes(replay.request()).await, "one two");
        assert_eq!(bytes(replay.request()).await, "one two");
        assert_eq!(bytes(replay.into_request()).await, "one two");
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_body_is_given_back_whole() {
        let large = Bytes::from(vec![7_u8; REPLAY_BYTES_MAX + 1]);
        let back = Replay::keep(request(Body::new(Full::new(large.clone())))).await.err().unwrap();
        assert_eq!(bytes(back).await, large);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_not_there_yet_is_given_back_whole() {
        let later = stream::unfold(0, |index| async move {
            if index == 1 {
                tokio::task::yield_now().await;
            }
            (index < 3).then(|| (Ok::<_, Status>(Frame::data(Bytes::from_static(b"x"))), index + 1))
        });
        let back = Replay::keep(request(Body::new(StreamBody::new(Box::pin(later))))).await.err().unwrap();
        assert_eq!(bytes(back).await, "xxx");
    }
}
