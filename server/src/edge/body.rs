//! Bodies at the edge: a request's, whose sender has to keep pace, and an answer's, which ends the request.

use std::{
    error::Error,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::{Buf, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::{Instant, timeout};

use crate::edge::{
    connection::{Activity, Timer, TransferTimeout, UnderWay},
    limits::Pace,
};

/// How much of a refused body is read before the refusal is sent: what is left unread when a connection closes destroys the answer on its way.
const DISCARDED_BYTES_MAX: usize = 8 * 1024 * 1024;
const DISCARDED_TIME_MAX: Duration = Duration::from_secs(5);
/// What a piece of it counts at least.
const DISCARDED_PIECE_BYTES: usize = 512;

/// Pieces in which a body may come: so many, and one more for so many bytes. Chunks of a byte each would take thirty times their bytes in memory
/// and a minute of a processor for every megabyte.
const PIECES: u64 = 4_096;
const BYTES_A_PIECE: u64 = 64;

/// Why a body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("it came too slowly")]
    TooSlow,
    #[error("it came in crumbs")]
    Crumbs,
    #[error("it broke off")]
    Broken(#[source] hyper::Error),
}

/// Whether an error, however it was wrapped, means that a body came too slowly.
pub fn was_too_slow(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if matches!(
            error.downcast_ref::<UploadError>(),
            Some(UploadError::TooSlow)
        ) {
            return true;
        }
        cause = error.source();
    }
    false
}

struct Received {
    body: Incoming,
    begun: bool,
    ended: bool,
}

/// A request's body.
pub(super) struct Upload {
    received: Arc<Mutex<Received>>,
    activity: Arc<Activity>,
    pace: Pace,
    timeout: TransferTimeout,
    timer: Timer,
    waiting: bool,
    pieces: u64,
    bytes: u64,
}

/// What of it was not read.
pub(super) struct Rest(Arc<Mutex<Received>>);

impl Upload {
    pub fn new(body: Incoming, activity: Arc<Activity>, pace: Pace) -> (Self, Rest) {
        let received = Arc::new(Mutex::new(Received {
            body,
            begun: false,
            ended: false,
        }));
        let rest = Rest(Arc::clone(&received));
        (
            Self {
                received,
                activity,
                pace,
                timeout: TransferTimeout::default(),
                timer: Timer::default(),
                waiting: false,
                pieces: 0,
                bytes: 0,
            },
            rest,
        )
    }
}

impl Received {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.begun = true;
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.ended |= matches!(&frame, Poll::Ready(None | Some(Err(_))));
        frame
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = &mut *self;
        let frame = this
            .received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .poll(context);
        let now = Instant::now();
        let Poll::Ready(frame) = frame else {
            this.waiting = true;
            this.activity.uploads();
            let until = this.timeout.until(this.pace, now);
            return if this.timer.is_over(until, context) {
                Poll::Ready(Some(Err(UploadError::TooSlow)))
            } else {
                Poll::Pending
            };
        };
        if std::mem::take(&mut this.waiting) {
            this.activity.moved();
        }
        let bytes = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref())
            .map_or(0, Bytes::remaining);
        this.timeout.moved(bytes, now);
        this.pieces += 1;
        this.bytes += bytes as u64;
        if this.pieces > PIECES + this.bytes / BYTES_A_PIECE {
            return Poll::Ready(Some(Err(UploadError::Crumbs)));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(UploadError::Broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .body
            .is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .body
            .size_hint()
    }
}

impl Rest {
    /// Reads on for a while. A sender that waits for leave to send (`Expect: 100-continue`) and did not get it sends nothing.
    pub async fn discard(self, waits_for_us: bool) {
        let over = |received: &Received| {
            received.ended || received.body.is_end_stream() || (waits_for_us && !received.begun)
        };
        if over(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut discarded = 0;
        let reading = std::future::poll_fn(|context| {
            let mut received = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                match received.poll(context) {
                    Poll::Ready(Some(Ok(frame))) => {
                        discarded += frame
                            .data_ref()
                            .map_or(0, Bytes::remaining)
                            .max(DISCARDED_PIECE_BYTES);
                    }
                    Poll::Ready(None | Some(Err(_))) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
                if discarded > DISCARDED_BYTES_MAX {
                    return Poll::Ready(());
                }
            }
        });
        // Who is too slow even for that hears nothing.
        let _ = timeout(DISCARDED_TIME_MAX, reading).await;
    }
}

/// An answer's body; the request is under way until it is sent or dropped.
pub(super) struct Answer {
    body: Body,
    _under_way: UnderWay,
}

impl Answer {
    pub fn new(body: Body, under_way: UnderWay) -> Self {
        Self {
            body,
            _under_way: under_way,
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
