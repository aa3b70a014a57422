//! What a connection is doing, and whether that takes too long. The parser's own time-out cannot tell a slow request from
//! an idle connection, which may rest much longer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Longest times of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From the first byte of a request to the end of its headers.
    pub(super) headers: Duration,
    /// Without a request.
    pub(super) idle: Duration,
    /// Without the client taking a byte of the answer.
    pub(super) stalled: Duration,
}

/// Why a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    Headers,
    Idle,
    Stalled,
}

impl Overdue {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Overdue::Headers => "slow_headers",
            Overdue::Idle => "idle",
            Overdue::Stalled => "slow_reader",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Connected, without a byte so far.
    New,
    /// Between requests.
    Idle,
    /// Some bytes of a request are there, its headers are not complete.
    Headers,
    /// A request is being answered; how long that may take is the application's business.
    Answering,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// Since when the client has not taken what is ready for it.
    stalled_since: Option<Instant>,
}

impl State {
    fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::New | Phase::Idle) && self.stalled_since.is_none()
    }
}

/// What a connection is doing. The connection's reader, its requests and its watch share it.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<State>);

impl Pulse {
    pub(super) fn new() -> Pulse {
        Pulse(Mutex::new(State { phase: Phase::New, since: Instant::now(), stalled_since: None }))
    }

    /// Notes that a request's headers are complete; it is being answered until the value is dropped.
    pub(super) fn answering(self: &Arc<Self>) -> Answering {
        self.enter(Phase::Answering);
        Answering(Arc::clone(self))
    }

    /// Tells whether nothing is asked and nothing is still on its way to the client.
    pub(super) fn is_idle(&self) -> bool {
        self.0.lock().is_idle()
    }

    /// Returns what takes too long by now, or when to look again.
    pub(super) fn check(&self, limits: &Limits) -> Result<Instant, Overdue> {
        let state = self.0.lock();
        let now = Instant::now();
        if let Some(since) = state.stalled_since
            && since + limits.stalled <= now
        {
            return Err(Overdue::Stalled);
        }
        let (limit, overdue) = match state.phase {
            // Who connects and says nothing must not have a place for as long as who was served.
            Phase::New => (Some(limits.headers.min(limits.idle)), Overdue::Idle),
            Phase::Idle if state.is_idle() => (Some(limits.idle), Overdue::Idle),
            Phase::Headers => (Some(limits.headers), Overdue::Headers),
            Phase::Idle | Phase::Answering => (None, Overdue::Stalled),
        };
        if let Some(limit) = limit
            && state.since + limit <= now
        {
            return Err(overdue);
        }
        // Another phase may begin right now, and its end is not to be missed either.
        let soonest = now + limits.headers.min(limits.idle).min(limits.stalled);
        Ok(limit.map_or(soonest, |limit| soonest.min(state.since + limit)))
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.0.lock();
        state.phase = phase;
        state.since = Instant::now();
    }

    fn has_read(&self) {
        let mut state = self.0.lock();
        if matches!(state.phase, Phase::New | Phase::Idle) {
            state.phase = Phase::Headers;
            state.since = Instant::now();
        }
    }

    fn has_written(&self, taken: bool) {
        let mut state = self.0.lock();
        match taken {
            true => state.stalled_since = None,
            false => {
                state.stalled_since.get_or_insert_with(Instant::now);
            }
        }
    }
}

/// A request under way.
pub(super) struct Answering(Arc<Pulse>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.enter(Phase::Idle);
    }
}

/// A socket that tells its pulse what it reads and writes.
pub(super) struct Watched {
    stream: TcpStream,
    pulse: Arc<Pulse>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, pulse: Arc<Pulse>) -> Watched {
        Watched { stream, pulse }
    }

    fn written(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.pulse.has_written(written.is_ready());
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.pulse.has_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LIMITS: Limits =
        Limits { headers: Duration::from_secs(10), idle: Duration::from_secs(75), stalled: Duration::from_secs(30) };

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_own_limit() {
        let pulse = Arc::new(Pulse::new());
        advance(Duration::from_secs(9)).await;
        assert_eq!(pulse.check(&LIMITS), Ok(Instant::now() + Duration::from_secs(1)));
        advance(Duration::from_secs(1)).await;
        assert_eq!(pulse.check(&LIMITS), Err(Overdue::Idle), "it has said nothing yet");

        drop(pulse.answering());
        advance(Duration::from_secs(74)).await;
        assert_eq!(pulse.check(&LIMITS), Ok(Instant::now() + Duration::from_secs(1)));
        advance(Duration::from_secs(1)).await;
        assert_eq!(pulse.check(&LIMITS), Err(Overdue::Idle));

        pulse.has_read();
        advance(Duration::from_secs(9)).await;
        // More bytes of the same headers win no time.
        pulse.has_read();
        assert_eq!(pulse.check(&LIMITS), Ok(Instant::now() + Duration::from_secs(1)));
        advance(Duration::from_secs(1)).await;
        assert_eq!(pulse.check(&LIMITS), Err(Overdue::Headers));

        let answering = pulse.answering();
        advance(Duration::from_secs(3_600)).await;
        assert_eq!(pulse.check(&LIMITS), Ok(Instant::now() + LIMITS.headers));
        pulse.has_written(false);
        advance(Duration::from_secs(29)).await;
        pulse.has_written(false);
        assert!(pulse.check(&LIMITS).is_ok());
        advance(Duration::from_secs(1)).await;
        assert_eq!(pulse.check(&LIMITS), Err(Overdue::Stalled));
        pulse.has_written(true);
        assert!(pulse.check(&LIMITS).is_ok());

        // The answer's last bytes wait for the client.
        pulse.has_written(false);
        drop(answering);
        assert!(!pulse.is_idle());
        let soon = Limits { idle: Duration::ZERO, ..LIMITS };
        assert!(pulse.check(&soon).is_ok());
        pulse.has_written(true);
        assert!(pulse.is_idle());
        assert_eq!(pulse.check(&soon), Err(Overdue::Idle));
        assert_eq!(pulse.check(&LIMITS), Ok(Instant::now() + LIMITS.headers));
    }
}
