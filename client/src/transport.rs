//! HTTP: carries a call of the session, and brings its answer as tokens or as a stream of items.
//!
//! In: calls. Out: items as they arrive, or a [`LinkError`] that says whether trying again makes sense. Keeps nothing and retries nothing:
//! the session decides that.
//!
//! What lies beneath is HTTP, or a [`Line`] of somebody else's making, for example a simulated network; everything above is the same.

use std::{io::Write, sync::Arc, time::Duration};

pub use lianka_client_core::link::{Call, LinkError, Problem};
use lianka_client_core::link::{JSON_BYTES_MAX, SignedIn};
use lianka_sync_core::{
    codec::wire::{Encoding, ItemReader, ResponseItem},
    lang::Lang,
};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE,
    HeaderName, RETRY_AFTER,
};

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
/// A connection pool to one server.
#[derive(Clone, Debug)]
pub struct Transport {
    way: Way,
    server: String,
    lang: Lang,
}

impl Transport {
    /// `server`: base address, `https://…`; `http://` is for tests and a server on the same machine.
    pub fn new(server: &str, lang: Lang) -> Result<Self, LinkError> {
        let server = server.trim().trim_end_matches('/');
        let url = reqwest::Url::parse(server)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(host) = url.as_ref().and_then(reqwest::Url::host_str) else {
            return Err(LinkError::Address(server.to_owned()));
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
        let http = builder
            .build()
            .map_err(|error| LinkError::Client(line::in_words(&error)))?;
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

    /// Lets this time pass, before a call is tried again.
    pub async fn pause(&self, wait: Duration) {
        self.way.pause(wait).await;
    }

    /// Sends a call that is answered with tokens.
    pub async fn sign_in(&self, call: &Call) -> Result<SignedIn, LinkError> {
        let response = checked(self.send(call, Vec::new(), call.body()?).await?).await?;
        SignedIn::read(&bounded(response).await?)
    }

    /// Sends a call that is answered with items, which are read with [`Answer::next`].
    pub async fn synchronise(&self, call: &Call) -> Result<Answer, LinkError> {
        let mut body = call.body()?;
        let mut headers = vec![
            (ACCEPT, call.media_type().to_owned()),
            (ACCEPT_ENCODING, "zstd".to_owned()),
        ];
        if body.len() >= COMPRESS_BYTES_MIN {
            body = zstd::encode_all(body.as_slice(), COMPRESSION_LEVEL)
                .map_err(|error| LinkError::Answer(error.to_string()))?;
            headers.push((CONTENT_ENCODING, "zstd".to_owned()));
        }
        let bytes_up = body.len() as u64;
        let response = checked(self.send(call, headers, body).await?).await?;
        Answer::new(response, bytes_up)
    }

    async fn send(
        &self,
        call: &Call,
        more: Vec<(HeaderName, String)>,
        body: Vec<u8>,
    ) -> Result<Response, LinkError> {
        let mut headers = vec![
            (CONTENT_TYPE, call.media_type().to_owned()),
            (ACCEPT_LANGUAGE, self.lang.as_str().to_owned()),
        ];
        headers.extend(
            call.access_token()
                .map(|token| (AUTHORIZATION, format!("Bearer {token}"))),
        );
        headers.extend(more);
        Ok(self
            .way
            .post(&self.server, &call.path(), headers, body)
            .await?)
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
    fn new(response: Response, bytes_up: u64) -> Result<Self, LinkError> {
        let encoding = response
            .header(&CONTENT_TYPE)
            .and_then(Encoding::from_media_type);
        let Some(encoding) = encoding else {
            return Err(LinkError::Answer("it is of another media type".into()));
        };
        let inflate = match response.header(&CONTENT_ENCODING) {
            None | Some("identity") => None,
            Some("zstd") => {
                let bad = |error: std::io::Error| LinkError::Answer(error.to_string());
                let mut decoder = zstd::stream::raw::Decoder::new().map_err(bad)?;
                decoder
                    .set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(WINDOW_LOG_MAX))
                    .map_err(bad)?;
                Some(zstd::stream::write::Decoder::with_decoder(
                    Vec::new(),
                    decoder,
                ))
            }
            Some(other) => return Err(LinkError::Answer(format!("it is encoded as {other}"))),
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
    pub async fn next(&mut self) -> Result<Option<ResponseItem>, LinkError> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Ok(Some(item));
            }
            let Some(chunk) = self.body.chunk().await? else {
                return self.reader.finish().map_err(|_| LinkError::Incomplete);
            };
            self.bytes_down += chunk.len() as u64;
            for step in chunk.chunks(INFLATE_STEP_BYTES) {
                match &mut self.inflate {
                    None => self.reader.push(step),
                    Some(inflate) => {
                        let broken = |error: std::io::Error| LinkError::Answer(error.to_string());
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
async fn checked(response: Response) -> Result<Response, LinkError> {
    let status = response.status;
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = response.header(&RETRY_AFTER).map(str::to_owned);
    let body = bounded(response).await.unwrap_or_default();
    Err(LinkError::refused(
        status.as_u16(),
        &status.to_string(),
        retry_after.as_deref(),
        &body,
    ))
}

async fn bounded(mut response: Response) -> Result<Vec<u8>, LinkError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.body.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > JSON_BYTES_MAX {
            return Err(LinkError::Answer("it is too long".into()));
        }
    }
    Ok(bytes)
}
