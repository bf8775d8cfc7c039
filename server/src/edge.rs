//! The edge: sockets in, requests for the router out, and nobody who may keep the others waiting.
//!
//! In: a listening socket, the router, [`Limits`]. Out: answers, until told to stop; then requests under way are finished.
//!
//! Invariants:
//! - Nothing waits for a peer longer than its limit says: for a head ([`Limits::head`]), for the next request ([`Limits::idle`]), for a body
//!   or for an answer to be taken ([`Pace`]). What the server itself takes is bounded elsewhere and counts against nobody.
//! - Connections are bounded, in all and for each address. Where the bound is met, whoever is waited for longest makes room (`connection_limit`), so that
//!   idle connections never keep a request out.
//! - A failed `accept` never ends the server.
//!
//! hyper bounds heads, buffers and half-closed peers. What stands here beside it, the hostile load needs and no library has: a time for the rest
//! between requests apart from that for a head, a rate for bodies and for answers that are not taken (tower-http's timeouts begin anew with each
//! byte, or time the maker of an answer), and connections of which idle ones make room (a semaphore lets the newcomer wait);
//! docs/decisions/0021 has the table.
//!
//! TLS is for a proxy in front; see docs/operations.md.

mod body;
mod connection;
mod connection_limit;
mod limits;

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, Response, header},
};
use hyper::{body::Body as _, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_service::Service;
use tracing::{debug, warn};

pub use body::{UploadError, was_too_slow};
pub use limits::{Limits, Pace, networks};

use crate::problem::ErrorCode;
use body::{Answer, Upload};
use connection::{Activity, TimedStream};
use connection_limit::{ConnectionLimit, ConnectionPermit};
use limits::REFUSALS_MAX;

/// Bytes of a request's head, its line and headers together: the longest token and path of ours take a tenth.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of a request.
pub const HEADERS_MAX: usize = 64;
/// Bytes that a connection reads ahead or holds to be written.
const BUFFER_BYTES: usize = 64 * 1024;
/// Pause after a failed `accept`: descriptors may be free again by then.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Failed accepts are told so often at most.
const ACCEPT_WARNING_INTERVAL: Duration = Duration::from_secs(10);
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(1);

/// Serves until `stopping`; returns when the last request under way is answered.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stopping: CancellationToken,
) {
    let limit = Arc::new(ConnectionLimit::new(&limits));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let connections = TaskTracker::new();
    let mut warned: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(permit) = limit.admit(peer.ip()) {
                    connections.spawn(converse(
                        stream,
                        permit,
                        router.clone(),
                        limits.clone(),
                        stopping.clone(),
                    ));
                } else {
                    debug!("a connection is refused: every other one is at work");
                    // Not tracked: nobody waits for a refusal.
                    if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                        tokio::spawn(async move {
                            let _permit = permit;
                            let _ = timeout(REFUSAL_TIME_MAX, refuse(stream)).await;
                        });
                    }
                }
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                if warned.is_none_or(|at| at.elapsed() >= ACCEPT_WARNING_INTERVAL) {
                    warn!(%error, "cannot take a connection; trying again");
                    warned = Some(Instant::now());
                }
                limit.make_room();
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// The peer went away before it was accepted.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// Tells a peer for whom there is no room that it may come back. Its request is read as far as needed for the words to arrive.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    use tokio::io::AsyncWriteExt;
    let ruling = ErrorCode::Overloaded.ruling();
    let body = serde_json::json!({
        "type": format!("/v1/docs#problem-{}", ruling.code),
        "title": ruling.title.zh,
        "status": ruling.status.as_u16(),
        "detail": ruling.advice.zh,
        "code": ruling.code,
        "retryable": ruling.retryable,
        "request_id": "",
    })
    .to_string();
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: {length}\r\nretry-after: 2\r\n\
         cache-control: no-store\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let mut unread = [0; 4096];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}

/// One connection, from its permit to its end.
async fn converse(
    stream: TcpStream,
    permit: ConnectionPermit,
    router: Router,
    limits: Limits,
    stopping: CancellationToken,
) {
    // A response's last packet must not wait for the phone's acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "cannot set TCP_NODELAY");
    }
    let activity = Arc::clone(&permit.activity);
    let line = TimedStream::new(stream, Arc::clone(&activity), &limits);
    let service = service_fn(|request: Request<Incoming>| {
        answer(router.clone(), request, Arc::clone(&activity), limits.pace)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // The line has limits of its own, for either half; this one is behind them.
        .header_read_timeout(limits.head + limits.idle)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES)
        // Who has said everything may still listen.
        .half_close(true);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(line), service));
    let (mut asked_to_stop, mut asked_to_leave) = (false, false);
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = stopping.cancelled(), if !asked_to_stop => {
                asked_to_stop = true;
                connection.as_mut().graceful_shutdown();
            }
            () = permit.leave.cancelled(), if !asked_to_leave => {
                asked_to_leave = true;
                if permit.activity.keeps_us_waiting(Instant::now()) {
                    return;
                }
                // It asked for something in this very moment: that is still answered.
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended early");
    }
}

/// One request. The rest of a body that nobody wanted is read and thrown away, so that the sender hears the answer.
async fn answer(
    mut router: Router,
    request: Request<Incoming>,
    activity: Arc<Activity>,
    pace: Pace,
) -> Result<Response<Answer>, Infallible> {
    let under_way = activity.begin_request();
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        let response = router
            .call(Request::from_parts(parts, Body::empty()))
            .await?;
        return Ok(response.map(|body| Answer::new(body, under_way)));
    }
    let waits_for_us = parts.headers.contains_key(header::EXPECT);
    let in_chunks = parts.headers.contains_key(header::TRANSFER_ENCODING);
    let (upload, rest) = Upload::new(body, activity, pace);
    let mut response = router
        .call(Request::from_parts(parts, Body::new(upload)))
        .await?;
    if in_chunks {
        // There may have been a length beside it, which hyper passes over and something between us and the sender may have believed: whatever
        // follows on this connection is nobody's request (RFC 9112, section 6.1).
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    rest.discard(waits_for_us).await;
    Ok(response.map(|body| Answer::new(body, under_way)))
}
