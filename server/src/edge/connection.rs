//! A connection as a stream of bytes that is never waited for too long, and what it is doing.
//!
//! In: a socket and the limits. Out: the same socket, which reads as ended once its request does not come, and fails once its peer does not
//! take what is sent. A body's bytes are timed where somebody wants them ([`super::body`]), not here.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use crate::edge::limits::{Limits, Pace};

/// A peer that is waited for in the middle of a body or an answer for so long may be sent away when there is no room for others.
const GRACE: Duration = Duration::from_secs(5);

/// How long one body or one answer has been waited for.
#[derive(Debug, Default)]
pub(super) struct TransferTimeout {
    bytes: u64,
    waited: Duration,
    since: Option<Instant>,
}

impl TransferTimeout {
    /// So many bytes moved.
    pub fn moved(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes as u64;
        self.waited += self
            .since
            .take()
            .map_or(Duration::ZERO, |since| now.duration_since(since));
    }

    /// Nothing moves: until when that is borne.
    pub fn until(&mut self, pace: Pace, now: Instant) -> Instant {
        let since = *self.since.get_or_insert(now);
        let earned = Duration::from_millis(
            self.bytes.saturating_mul(1_000) / pace.bytes_per_second_min.max(1),
        );
        let left = (pace.stall + earned).saturating_sub(self.waited);
        since + left.min(pace.stall)
    }
}

/// A deadline that moves.
#[derive(Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Whether `deadline` has passed; otherwise the task is woken then.
    pub fn is_over(&mut self, deadline: Instant, context: &mut Context<'_>) -> bool {
        let sleep = self
            .0
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(context).is_ready()
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    /// Its next request is waited for.
    Resting,
    /// The first bytes of a request have come, or should have.
    Asking,
    /// The rest of a body is waited for.
    Uploading,
    /// It is the server's turn.
    Waiting,
    /// It is to take the rest of an answer.
    Downloading,
}

/// The same, shared with those who choose who has to go.
pub(super) struct Activity(Mutex<State>);

struct State {
    doing: Doing,
    since: Instant,
    /// Requests so far.
    requests: u64,
    under_way: bool,
}

impl Activity {
    pub fn new() -> Self {
        Self(Mutex::new(State {
            doing: Doing::Asking,
            since: Instant::now(),
            requests: 0,
            under_way: false,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A head is read; the request lasts until what this gives is dropped.
    pub fn begin_request(self: &Arc<Self>) -> UnderWay {
        let mut state = self.state();
        state.requests += 1;
        state.under_way = true;
        state.turn(Doing::Waiting);
        UnderWay(Arc::clone(self))
    }

    /// The body does not come.
    pub fn uploads(&self) {
        self.state().turn(Doing::Uploading);
    }

    /// It is the server's turn again.
    pub fn moved(&self) {
        let mut state = self.state();
        let doing = if state.under_way {
            Doing::Waiting
        } else {
            Doing::Resting
        };
        state.turn(doing);
    }

    /// How long it has been waited for, and whether that is in the middle of a request.
    pub fn awaited(&self, now: Instant) -> Option<(bool, Duration)> {
        let state = self.state();
        let midway = match state.doing {
            Doing::Resting | Doing::Asking => false,
            Doing::Uploading | Doing::Downloading => true,
            Doing::Waiting => return None,
        };
        Some((midway, now.duration_since(state.since)))
    }

    /// Whether it may be sent away for others' sake.
    pub fn keeps_us_waiting(&self, now: Instant) -> bool {
        self.awaited(now)
            .is_some_and(|(midway, waited)| !midway || waited >= GRACE)
    }
}

impl State {
    fn turn(&mut self, doing: Doing) {
        if self.doing != doing {
            self.doing = doing;
            self.since = Instant::now();
        }
    }
}

/// A request under way, its answer included.
pub(super) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way = false;
        state.turn(Doing::Resting);
    }
}

/// See the module.
pub(super) struct TimedStream {
    stream: TcpStream,
    activity: Arc<Activity>,
    head: Duration,
    idle: Duration,
    pace: Pace,
    read_timer: Timer,
    write_timer: Timer,
    /// Of the answer to this request.
    answering: u64,
    timeout: TransferTimeout,
}

impl TimedStream {
    pub fn new(stream: TcpStream, activity: Arc<Activity>, limits: &Limits) -> Self {
        Self {
            stream,
            activity,
            head: limits.head,
            idle: limits.idle,
            pace: limits.pace,
            read_timer: Timer::default(),
            write_timer: Timer::default(),
            answering: 0,
            timeout: TransferTimeout::default(),
        }
    }

    /// What `result` of a write means: bytes moved, or the peer does not take them.
    fn written(
        &mut self,
        result: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let now = Instant::now();
        let requests = self.activity.state().requests;
        if self.answering != requests {
            self.answering = requests;
            self.timeout = TransferTimeout::default();
        }
        match result {
            Poll::Ready(Ok(bytes)) => {
                if self.timeout.since.is_some() {
                    self.activity.moved();
                }
                self.timeout.moved(bytes, now);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.activity.state().turn(Doing::Downloading);
                let until = self.timeout.until(self.pace, now);
                if self.write_timer.is_over(until, context) {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the peer does not take its answer",
                    )));
                }
                Poll::Pending
            }
        }
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let mut state = this.activity.state();
        if state.under_way {
            return read;
        }
        match read {
            Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                state.turn(Doing::Asking);
                read
            }
            Poll::Pending => {
                let granted = match state.doing {
                    Doing::Asking => this.head,
                    // Also while the end of an answer is still to be taken: that has its own limit.
                    _ => this.idle,
                };
                let until = state.since + granted;
                drop(state);
                if this.read_timer.is_over(until, context) {
                    // As if the peer had said that nothing more comes.
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending
            }
            read @ Poll::Ready(_) => read,
        }
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        stall: Duration::from_secs(30),
        bytes_per_second_min: 1_000,
    };

    #[test]
    fn silence_is_borne_for_the_stall_and_trickling_for_the_rate() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut silent = TransferTimeout::default();
        assert_eq!(silent.until(PACE, begun), at(30));
        assert_eq!(
            silent.until(PACE, at(29)),
            at(30),
            "waiting on does not begin anew"
        );

        let mut trickling = TransferTimeout::default();
        for second in (0..29).step_by(10) {
            assert!(trickling.until(PACE, at(second)) >= at(second + 10));
            trickling.moved(1, at(second + 10));
        }
        assert!(
            trickling.until(PACE, at(30)) < at(31),
            "a byte now and then earns no more"
        );

        let mut fast = TransferTimeout::default();
        fast.moved(1_000_000, begun);
        assert_eq!(
            fast.until(PACE, at(5)),
            at(35),
            "what was earned does not excuse silence"
        );
    }

    #[test]
    fn only_who_is_waited_for_may_be_sent_away() {
        let activity = Arc::new(Activity::new());
        let later = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert!(
            activity.keeps_us_waiting(later(0)),
            "it has asked for nothing yet"
        );
        let request = activity.begin_request();
        assert!(
            !activity.keeps_us_waiting(later(600)),
            "it is the server's turn"
        );
        activity.uploads();
        assert!(
            !activity.keeps_us_waiting(later(1)) && activity.keeps_us_waiting(later(6)),
            "a body may pause for a moment"
        );
        activity.moved();
        assert!(!activity.keeps_us_waiting(later(600)));
        drop(request);
        assert!(activity.keeps_us_waiting(later(0)));
    }
}
