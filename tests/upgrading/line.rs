//! The line between phones and server: one address that stays while servers come and go, and a record of what went over it.
//!
//! In: requests of phones. Out: the server's answers, untouched, and each exchange with its bytes where recording is on. A phone keeps the
//! address that it enrolled with, so an upgrade of the server must not change it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Response, StatusCode},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

/// So much is missing of an answer that is cut: a part of its last item.
const CUT_BYTES: usize = 8;
const BODY_BYTES_MAX: usize = 64 << 20;
/// What of a request's head decides about the answer.
const HEADERS: &[&str] = &[
    "authorization",
    "content-type",
    "content-encoding",
    "accept",
    "accept-encoding",
    "accept-language",
];

#[derive(Default)]
struct Wire {
    server: String,
    recorded: Option<Vec<Value>>,
    /// Where the line breaks answers off: how many were, and who waits for the next request.
    cut: Option<(u32, Arc<Notify>)>,
}

/// See the module.
pub struct Line {
    address: SocketAddr,
    wire: Arc<Mutex<Wire>>,
    task: JoinHandle<()>,
}

impl Line {
    /// Listens on a free port of this machine.
    pub async fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let wire = Arc::new(Mutex::new(Wire::default()));
        let http = reqwest::Client::builder().no_proxy().build()?;
        let router = Router::new()
            .fallback(forward)
            .with_state((Arc::clone(&wire), http));
        let task = tokio::spawn(async move {
            // It serves until it is dropped.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            wire,
            task,
        })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on requests go to this server.
    pub fn lead_to(&self, server: &str) {
        server.clone_into(
            &mut self
                .wire
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .server,
        );
    }

    /// The next answer lacks its end, and no request after it is answered; the first of those is told.
    pub fn cut(&self) -> Arc<Notify> {
        let asked_again = Arc::new(Notify::new());
        self.wire.lock().unwrap_or_else(PoisonError::into_inner).cut =
            Some((0, Arc::clone(&asked_again)));
        asked_again
    }

    pub fn mend(&self) {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner).cut = None;
    }

    /// Forgets what was recorded, and records from now on.
    pub fn record(&self) {
        self.wire
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recorded = Some(Vec::new());
    }

    /// What went over the line since; recording ends.
    pub fn recorded(&self) -> Vec<Value> {
        self.wire
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recorded
            .take()
            .unwrap_or_default()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(
    State((wire, http)): State<(Arc<Mutex<Wire>>, reqwest::Client)>,
    request: Request,
) -> Response<Body> {
    match exchange(&wire, &http, request).await {
        Ok(answer) => answer,
        Err(error) => {
            let mut answer = Response::new(Body::from(format!("{error:#}")));
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            answer
        }
    }
}

async fn exchange(
    wire: &Mutex<Wire>,
    http: &reqwest::Client,
    request: Request,
) -> anyhow::Result<Response<Body>> {
    let (mut head, body) = request.into_parts();
    let cut = wire
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .cut
        .as_mut()
        .map(|(answers, asked_again)| {
            *answers += 1;
            (*answers > 1).then(|| asked_again.notify_one());
            *answers
        });
    match cut {
        None => {}
        // Packed, nothing of it could be read without its end.
        Some(1) => drop(head.headers.remove("accept-encoding")),
        Some(_) => anyhow::bail!("the line is cut"),
    }
    let body = to_bytes(body, BODY_BYTES_MAX).await?;
    let server = wire
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .server
        .clone();
    let path = head
        .uri
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let headers: HeaderMap = head
        .headers
        .iter()
        .filter(|(name, _)| HEADERS.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let answer = http
        .request(head.method.clone(), format!("{server}{path}"))
        .headers(headers.clone())
        .body(body.clone())
        .send()
        .await;
    let answer = answer.context("the server does not answer")?;
    let mut builder = Response::builder().status(answer.status());
    for name in ["content-type", "content-encoding", "retry-after"] {
        if let Some(value) = answer.headers().get(name) {
            builder = builder.header(name, value);
        }
    }
    let (status, answer_headers) = (answer.status().as_u16(), answer.headers().clone());
    let mut bytes = answer.bytes().await?;
    if cut.is_some() {
        bytes.truncate(bytes.len().saturating_sub(CUT_BYTES));
    }
    if let Some(recorded) = &mut wire.lock().unwrap_or_else(PoisonError::into_inner).recorded {
        recorded.push(json!({
            "method": head.method.as_str(), "path": path, "headers": texts(&headers), "body": STANDARD.encode(&body),
            "status": status, "answer_headers": texts(&answer_headers), "answer": STANDARD.encode(&bytes),
        }));
    }
    Ok(builder.body(Body::from(bytes))?)
}

fn texts(headers: &HeaderMap) -> Value {
    let named = |name: &&str| {
        Some((
            (*name).to_owned(),
            json!(headers.get(*name)?.to_str().ok()?),
        ))
    };
    Value::Object(HEADERS.iter().filter_map(named).collect())
}
