//! What carries a request: HTTP by `reqwest`, or a line that somebody else made.
//!
//! In: a path, headers and a body. Out: a status, headers and the body chunk by chunk, which ends or breaks. Knows nothing of what they mean.

use std::{fmt::Debug, pin::Pin, sync::Arc, time::Duration};

use lianka_client_core::link::LinkError;
use reqwest::{
    StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderName},
};

/// A future of a line.
pub type Pending<'l, T> = Pin<Box<dyn Future<Output = T> + Send + 'l>>;

/// Another way to the server than a socket: a simulated network, or a browser's.
pub trait Line: Debug + Send + Sync {
    /// Carries one request; the answer's body follows chunk by chunk.
    fn send(&self, request: LineRequest) -> Pending<'_, Result<LineResponse, Broken>>;

    /// Lets this time pass, before the phone tries again.
    fn pause(&self, wait: Duration) -> Pending<'_, ()>;
}

/// A request as it leaves the phone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineRequest {
    /// Such as `/v1/streets/310104003/sync`; the method is always `POST`.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As sent, compressed where the headers say so.
    pub body: Vec<u8>,
}

/// The beginning of an answer.
#[derive(Debug)]
pub struct LineResponse {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The rest.
    pub body: Box<dyn Chunks>,
}

/// A body on its way.
pub trait Chunks: Debug + Send {
    /// The next bytes; `None` where the body ended as it should.
    fn next(&mut self) -> Pending<'_, Result<Option<Vec<u8>>, Broken>>;
}

/// No connection, or it broke.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Broken {
    /// As HTTP tells it.
    #[error("{0}")]
    Http(String),
    /// A line's end.
    #[error("the line broke")]
    Line,
}

impl From<reqwest::Error> for Broken {
    fn from(error: reqwest::Error) -> Self {
        Self::Http(in_words(&error))
    }
}

impl From<Broken> for LinkError {
    fn from(broken: Broken) -> Self {
        Self::Network(broken.to_string())
    }
}

/// An error with its causes.
pub(super) fn in_words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |words, cause| {
        format!("{words}: {cause}")
    })
}

/// How requests go.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Http(reqwest::Client),
    Line(Arc<dyn Line>),
}

/// The beginning of an answer, whichever way it came.
pub(super) struct Response {
    pub status: StatusCode,
    headers: HeaderMap,
    pub body: Body,
}

pub(super) enum Body {
    Http(reqwest::Response),
    Line(Box<dyn Chunks>),
}

impl Way {
    /// Lets this time pass.
    pub async fn pause(&self, wait: Duration) {
        match self {
            Self::Http(_) => tokio::time::sleep(wait).await,
            Self::Line(line) => line.pause(wait).await,
        }
    }

    pub async fn post(
        &self,
        server: &str,
        path: &str,
        headers: Vec<(HeaderName, String)>,
        body: Vec<u8>,
    ) -> Result<Response, Broken> {
        match self {
            Self::Http(http) => {
                let post = http.post(format!("{server}{path}"));
                let post = headers.into_iter().fold(post, |post, (name, value)| {
                    match value.strip_prefix("Bearer ") {
                        // Marked as a secret, which a plain header is not.
                        Some(token) if name == AUTHORIZATION => post.bearer_auth(token),
                        _ => post.header(name, value),
                    }
                });
                let mut response = post.body(body).send().await?;
                Ok(Response {
                    status: response.status(),
                    headers: std::mem::take(response.headers_mut()),
                    body: Body::Http(response),
                })
            }
            Self::Line(line) => {
                let headers = headers
                    .into_iter()
                    .map(|(name, value)| (name.as_str().to_owned(), value))
                    .collect();
                let LineResponse {
                    status,
                    headers,
                    body,
                } = line
                    .send(LineRequest {
                        path: path.to_owned(),
                        headers,
                        body,
                    })
                    .await?;
                let pairs = headers.iter().filter_map(|(name, value)| {
                    Some((name.parse::<HeaderName>().ok()?, value.parse().ok()?))
                });
                let status = StatusCode::from_u16(status).map_err(|_| Broken::Line)?;
                Ok(Response {
                    status,
                    headers: pairs.collect(),
                    body: Body::Line(body),
                })
            }
        }
    }
}

impl Response {
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Body {
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        match self {
            Self::Http(response) => Ok(response.chunk().await?.map(|chunk| chunk.to_vec())),
            Self::Line(chunks) => chunks.next().await,
        }
    }
}
