//! HTTP: enrolment, token refresh, and one synchronisation request as a stream of items both ways.
//!
//! In: items and credentials. Out: items as they arrive, or a [`TransportError`] that says whether trying again makes sense. Keeps nothing
//! and retries nothing: [`crate::phone`] does, because what was received has to be stored before.
//!
//! What lies beneath is HTTP, or a [`Line`] of somebody else's making, for example a simulated network; everything above is the same.

use std::{io::Write, sync::Arc, time::Duration};

use lianka_client_core::{Grid, Request};
use lianka_sync_core::{
    access::Role,
    codec::wire::{Encoding, ItemReader, ResponseItem, WireError},
    id::{DeviceId, StreetCode},
    lang::Lang,
};
use reqwest::{
    StatusCode,
    header::{
        ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE,
        HeaderName, RETRY_AFTER,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

mod line;

use line::{Body, Response, Way};
pub use line::{Broken, Chunks, Line, LineRequest, LineResponse, Pending};

const CONNECT_SECONDS_MAX: u64 = 10;
/// Silence after which a connection counts as broken.
const SILENCE_SECONDS_MAX: u64 = 60;
/// Requests shorter than this are sent as they are.
const COMPRESS_BYTES_MIN: usize = 512;
const COMPRESSION_LEVEL: i32 = 3;
/// Memory an answer may ask the decoder for: 2^23 bytes.
const WINDOW_LOG_MAX: u32 = 23;
/// Compressed bytes that are inflated before items are taken out.
const INFLATE_STEP_BYTES: usize = 4 * 1024;
/// Bytes of a JSON answer.
const JSON_BYTES_MAX: usize = 1024 * 1024;
/// Longest time a server can tell this phone to wait.
const RETRY_AFTER_SECONDS_MAX: u64 = 120;

/// A problem document (RFC 9457), as far as it concerns a phone.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Stable code.
    pub code: String,
    /// What happened, in the language asked for.
    pub title: String,
    /// What to do about it.
    pub detail: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Under which the server's log knows more.
    pub request_id: String,
    /// What `Retry-After` said.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

/// Why a request brought no complete answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No connection, or it broke.
    #[error("the connection: {0}")]
    Network(#[source] Broken),
    /// The answer ended before its end.
    #[error("the answer ended early")]
    Incomplete,
    /// The server refused.
    #[error("{} {}: {}", .0.status, .0.code, .0.title)]
    Refused(Box<Problem>),
    /// The answer is not one of this protocol.
    #[error("the answer: {0}")]
    Answer(String),
    /// The address is none.
    #[error("{0} is no http or https address")]
    Address(String),
    /// No HTTP client could be made, for example because the system's certificates cannot be read.
    #[error("no HTTP client: {0}")]
    Client(#[source] reqwest::Error),
}

impl TransportError {
    /// Whether the same request may succeed a little later.
    pub fn transient(&self) -> bool {
        match self {
            Self::Network(_) | Self::Incomplete => true,
            Self::Refused(problem) => {
                problem.retryable || matches!(problem.status, 429 | 502 | 503 | 504)
            }
            Self::Answer(_) | Self::Address(_) | Self::Client(_) => false,
        }
    }

    /// How long the server asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(problem) => problem.retry_after,
            _ => None,
        }
    }

    /// Whether the access token was not accepted.
    pub fn unauthenticated(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == 401)
    }

    /// A stable code.
    pub fn code(&self) -> &str {
        match self {
            Self::Network(_) => "network",
            Self::Incomplete => "incomplete",
            Self::Refused(problem) => &problem.code,
            Self::Answer(_) => "bad_answer",
            Self::Address(_) => "bad_address",
            Self::Client(_) => "no_client",
        }
    }
}

impl From<WireError> for TransportError {
    fn from(error: WireError) -> Self {
        Self::Answer(error.to_string())
    }
}

/// Tokens and scope, as `POST /v1/devices` and `POST /v1/tokens` answer.
#[derive(Clone, Deserialize)]
pub struct Session {
    /// This enrolment.
    pub device_id: DeviceId,
    /// For the Authorization header.
    pub access_token: String,
    /// Seconds.
    pub expires_in: i64,
    /// Good for one exchange.
    pub refresh_token: String,
    /// Who.
    pub user: User,
    /// Where.
    pub streets: Vec<Street>,
}

/// The account.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "as in the protocol")]
pub struct User {
    pub username: String,
    pub display_name: String,
    pub role: Role,
}

/// A street and the user's grids in it.
#[derive(Clone, Debug, Deserialize)]
#[expect(missing_docs, reason = "as in the protocol")]
pub struct Street {
    pub street: StreetCode,
    pub name: String,
    pub grids: Vec<Grid>,
}

#[derive(Serialize)]
struct NewDevice<'a> {
    code: &'a str,
    name: &'a str,
    platform: &'a str,
}

#[derive(Serialize)]
struct Refresh<'a> {
    refresh_token: &'a str,
}

/// A connection pool to one server.
#[derive(Clone, Debug)]
pub struct Transport {
    way: Way,
    server: String,
    lang: Lang,
}

impl Transport {
    /// `server`: base address, `https://…`; `http://` is for tests and a server on the same machine.
    pub fn new(server: &str, lang: Lang) -> Result<Self, TransportError> {
        let server = server.trim().trim_end_matches('/');
        let url = reqwest::Url::parse(server)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(host) = url.as_ref().and_then(reqwest::Url::host_str) else {
            return Err(TransportError::Address(server.to_owned()));
        };
        // A second call finds the provider installed; that is no error.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("lianka-phone/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
            .read_timeout(Duration::from_secs(SILENCE_SECONDS_MAX));
        if matches!(host, "localhost" | "127.0.0.1" | "[::1]") {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(TransportError::Client)?;
        Ok(Self {
            way: Way::Http(http),
            server: server.to_owned(),
            lang,
        })
    }

    /// The same over a line of the caller's; `server` is a name only.
    pub fn over(line: Arc<dyn Line>, server: &str, lang: Lang) -> Self {
        Self {
            way: Way::Line(line),
            server: server.trim().trim_end_matches('/').to_owned(),
            lang,
        }
    }

    /// The base address, without a slash at its end.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Spends an enrolment code.
    pub async fn enrol(
        &self,
        code: &str,
        name: &str,
        platform: &str,
    ) -> Result<Session, TransportError> {
        self.post(
            "/v1/devices",
            &NewDevice {
                code,
                name,
                platform,
            },
        )
        .await
    }

    /// Exchanges a refresh token.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Session, TransportError> {
        self.post("/v1/tokens", &Refresh { refresh_token }).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, TransportError> {
        let headers = vec![
            (CONTENT_TYPE, "application/json".to_owned()),
            self.language(),
        ];
        let body =
            serde_json::to_vec(body).map_err(|error| TransportError::Answer(error.to_string()))?;
        let response = checked(self.send(path, headers, body).await?).await?;
        let bytes = bounded(response).await?;
        serde_json::from_slice(&bytes).map_err(|error| TransportError::Answer(error.to_string()))
    }

    /// Sends a request; the answer is read with [`Answer::next`].
    pub async fn sync(
        &self,
        street: &StreetCode,
        access_token: &str,
        request: &Request,
    ) -> Result<Answer, TransportError> {
        let mut body = Vec::new();
        for item in &request.items {
            Encoding::CborSeq.write(item, &mut body);
        }
        let media_type = Encoding::CborSeq.media_type().to_owned();
        let mut headers = vec![
            (AUTHORIZATION, format!("Bearer {access_token}")),
            (CONTENT_TYPE, media_type.clone()),
            (ACCEPT, media_type),
            (ACCEPT_ENCODING, "zstd".to_owned()),
            self.language(),
        ];
        if body.len() >= COMPRESS_BYTES_MIN {
            body = zstd::encode_all(body.as_slice(), COMPRESSION_LEVEL)
                .map_err(|error| TransportError::Answer(error.to_string()))?;
            headers.push((CONTENT_ENCODING, "zstd".to_owned()));
        }
        let bytes_up = body.len() as u64;
        let response = checked(
            self.send(&format!("/v1/streets/{street}/sync"), headers, body)
                .await?,
        )
        .await?;
        Answer::new(response, bytes_up)
    }

    fn language(&self) -> (HeaderName, String) {
        (ACCEPT_LANGUAGE, self.lang.as_str().to_owned())
    }

    async fn send(
        &self,
        path: &str,
        headers: Vec<(HeaderName, String)>,
        body: Vec<u8>,
    ) -> Result<Response, TransportError> {
        self.way
            .post(&self.server, path, headers, body)
            .await
            .map_err(TransportError::Network)
    }
}

/// The stream of items that answers a request.
pub struct Answer {
    body: Body,
    inflate: Option<zstd::stream::write::Decoder<'static, Vec<u8>>>,
    reader: ItemReader,
    items: std::collections::VecDeque<ResponseItem>,
    /// Bytes of the request's body as sent.
    pub bytes_up: u64,
    /// Bytes of the answer's body so far, as they came.
    pub bytes_down: u64,
}

impl Answer {
    fn new(response: Response, bytes_up: u64) -> Result<Self, TransportError> {
        let encoding = response
            .header(&CONTENT_TYPE)
            .and_then(Encoding::from_media_type);
        let Some(encoding) = encoding else {
            return Err(TransportError::Answer("it is of another media type".into()));
        };
        let inflate = match response.header(&CONTENT_ENCODING) {
            None | Some("identity") => None,
            Some("zstd") => {
                let bad = |error: std::io::Error| TransportError::Answer(error.to_string());
                let mut decoder = zstd::stream::raw::Decoder::new().map_err(bad)?;
                decoder
                    .set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(WINDOW_LOG_MAX))
                    .map_err(bad)?;
                Some(zstd::stream::write::Decoder::with_decoder(
                    Vec::new(),
                    decoder,
                ))
            }
            Some(other) => return Err(TransportError::Answer(format!("it is encoded as {other}"))),
        };
        Ok(Self {
            body: response.body,
            inflate,
            reader: ItemReader::new(encoding),
            items: std::collections::VecDeque::new(),
            bytes_up,
            bytes_down: 0,
        })
    }

    /// The next item; `None` where the stream is over.
    pub async fn next(&mut self) -> Result<Option<ResponseItem>, TransportError> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Ok(Some(item));
            }
            let Some(chunk) = self.body.chunk().await.map_err(TransportError::Network)? else {
                return self.reader.finish().map_err(|_| TransportError::Incomplete);
            };
            self.bytes_down += chunk.len() as u64;
            for step in chunk.chunks(INFLATE_STEP_BYTES) {
                match &mut self.inflate {
                    None => self.reader.push(step),
                    Some(inflate) => {
                        let broken =
                            |error: std::io::Error| TransportError::Answer(error.to_string());
                        inflate.write_all(step).map_err(broken)?;
                        inflate.flush().map_err(broken)?;
                        let inflated = std::mem::take(inflate.get_mut());
                        self.reader.push(&inflated);
                    }
                }
                while let Some(item) = self.reader.next_item()? {
                    self.items.push_back(item);
                }
            }
        }
    }
}

/// The response, or the problem it carries.
async fn checked(response: Response) -> Result<Response, TransportError> {
    let status = response.status;
    if status.is_success() {
        return Ok(response);
    }
    let seconds = response
        .header(&RETRY_AFTER)
        .and_then(|value| value.trim().parse::<u64>().ok());
    let retry_after =
        seconds.map(|seconds| Duration::from_secs(seconds.min(RETRY_AFTER_SECONDS_MAX)));
    // Something between here and the server may answer without a problem document.
    let problem = bounded(response)
        .await
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Problem>(&bytes).ok());
    let problem = problem
        .filter(|problem| !problem.code.is_empty())
        .unwrap_or_else(|| without_document(status));
    Err(TransportError::Refused(Box::new(Problem {
        status: status.as_u16(),
        retry_after,
        ..problem
    })))
}

fn without_document(status: StatusCode) -> Problem {
    Problem {
        code: "http_status".into(),
        title: status.to_string(),
        ..Problem::default()
    }
}

async fn bounded(mut response: Response) -> Result<Vec<u8>, TransportError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response
        .body
        .chunk()
        .await
        .map_err(TransportError::Network)?
    {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > JSON_BYTES_MAX {
            return Err(TransportError::Answer("it is too long".into()));
        }
    }
    Ok(bytes)
}
