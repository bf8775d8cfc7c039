//! One hostile device at work: a volley, the answer, the next volley. It heeds no `Retry-After`.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use lianka_simulator::office::http_client;
use lianka_sync_core::id::RecordId;
use reqwest::{Method, header};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    office::Hostile,
    volley::{Arsenal, Manner, Volley},
};

/// Longer than any answer may be waited for: an answer that takes longer is a finding.
const ANSWER_TIME_MAX: Duration = Duration::from_mins(1);
/// So long somebody stays who reads nothing, and so long one waits for a server that has nothing to say.
const STARE: Duration = Duration::from_millis(500);
/// Bytes of an answer that are looked at.
const ANSWER_BYTES_MAX: usize = 256 << 10;

pub struct Thrower {
    device: Hostile,
    http: reqwest::Client,
    volleys: Vec<Volley>,
}

/// What came back.
#[derive(Default)]
pub struct Thrown {
    pub volleys: usize,
    pub answers: BTreeMap<String, usize>,
    pub verdicts: BTreeMap<String, usize>,
}

impl Thrower {
    /// Makes the device's record at the server, and its volleys.
    pub async fn prepare(
        device: Hostile,
        seed: u64,
        volleys: usize,
        targets: Vec<RecordId>,
    ) -> anyhow::Result<Self> {
        let arsenal = Arsenal::new(&device.street, device.device, &device.token, seed, targets);
        let (mut arsenal, first) = arsenal.context("a hostile device cannot make its own card")?;
        let thrower = Self {
            device,
            http: http_client()?,
            volleys: Vec::new(),
        };
        let mut thrown = Thrown::default();
        thrower.send(&first, &mut thrown).await;
        ensure!(
            thrown.verdicts.get("accepted") == Some(&1),
            "the first card of a hostile device is honest: {:?}",
            thrown.answers
        );
        let volleys =
            tokio::task::spawn_blocking(move || (0..volleys).map(|_| arsenal.next()).collect())
                .await?;
        Ok(Self { volleys, ..thrower })
    }

    /// Throws them in turn until it is over.
    pub async fn throw(self, over: CancellationToken) -> Thrown {
        let mut thrown = Thrown::default();
        for volley in self.volleys.iter().cycle() {
            tokio::select! {
                () = over.cancelled() => break,
                () = self.send(volley, &mut thrown) => thrown.volleys += 1,
            }
        }
        thrown
    }

    async fn send(&self, volley: &Volley, thrown: &mut Thrown) {
        let answer = match timeout(ANSWER_TIME_MAX, self.exchange(volley, thrown)).await {
            Ok(answer) => answer,
            Err(_) => format!("599 no answer within {} s", ANSWER_TIME_MAX.as_secs()),
        };
        *thrown.answers.entry(answer).or_default() += 1;
    }

    async fn exchange(&self, volley: &Volley, thrown: &mut Thrown) -> String {
        let Hostile {
            url, street, token, ..
        } = &self.device;
        let request = match volley {
            Volley::Raw { bytes, manner } => return self.raw(bytes, *manner).await,
            Volley::Crowd { bytes, times } => return self.crowd(bytes, *times, thrown).await,
            Volley::Sync {
                encoding,
                packing,
                body,
            } => {
                let request = self
                    .http
                    .post(format!("{url}/v1/streets/{street}/sync"))
                    .body(body.clone());
                let request = request
                    .header(header::CONTENT_TYPE, encoding.media_type())
                    .header(header::ACCEPT, "application/x-ndjson");
                match packing {
                    Some(packing) => request.header(header::CONTENT_ENCODING, *packing),
                    None => request,
                }
            }
            Volley::Call {
                method,
                path,
                json,
                body,
            } => {
                let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
                let request = self
                    .http
                    .request(method, format!("{url}{path}"))
                    .body(body.clone());
                if *json {
                    request.header(header::CONTENT_TYPE, "application/json")
                } else {
                    request
                }
            }
        };
        match request.bearer_auth(token).send().await {
            // Nothing but a refusal to connect or a line that was cut: the body was too large to be heard out, perhaps.
            Err(_) => "no answer".to_owned(),
            Ok(answer) => {
                let status = answer.status().as_u16();
                let body = answer.bytes().await.unwrap_or_default();
                read(status, &body, thrown)
            }
        }
    }

    /// Every answer counts; told apart from others, because a crowd that is refused says little.
    async fn crowd(&self, bytes: &[u8], times: usize, thrown: &mut Thrown) -> String {
        let mut answers: Vec<_> =
            futures::future::join_all((0..times).map(|_| self.raw(bytes, Manner::ClosesHalf)))
                .await;
        let last = answers.pop().unwrap_or_default();
        for answer in answers {
            *thrown.answers.entry(answer).or_default() += 1;
        }
        last
    }

    async fn raw(&self, bytes: &[u8], manner: Manner) -> String {
        let address = self.device.url.trim_start_matches("http://");
        let Ok(mut stream) = TcpStream::connect(address).await else {
            return "no connection".to_owned();
        };
        // The server may have had enough before it has everything.
        let _ = stream.write_all(bytes).await;
        match manner {
            Manner::Leaves => return "left".to_owned(),
            Manner::Ignores => {
                // Until something could be read, and a while longer.
                let _ = timeout(STARE, stream.readable()).await;
                return "ignored".to_owned();
            }
            Manner::ClosesHalf => drop(stream.shutdown().await),
            Manner::Reads => {}
        }
        let mut heard = Vec::new();
        let mut piece = [0; 8192];
        // A request that promised more than it sent has no answer yet.
        while let Ok(Ok(length @ 1..)) = timeout(STARE, stream.read(&mut piece)).await {
            heard.extend_from_slice(&piece[..length]);
            if heard.len() > ANSWER_BYTES_MAX {
                break;
            }
        }
        let text = String::from_utf8_lossy(&heard);
        // The worst of several answers on one connection.
        let statuses = text.split("HTTP/1.").filter_map(|answer| answer.get(2..5));
        match statuses
            .filter(|status| status.parse().is_ok_and(|status: u16| status >= 100))
            .max()
        {
            Some(status) => format!("{status} to raw bytes"),
            None => "silence to raw bytes".to_owned(),
        }
    }
}

fn read(status: u16, body: &[u8], thrown: &mut Thrown) -> String {
    if status == 200 {
        for line in body
            .split(|byte| *byte == b'\n')
            .filter(|line| line.starts_with(b"{\"type\":\"verdict\""))
        {
            let Ok(verdict) = serde_json::from_slice::<serde_json::Value>(line) else {
                continue;
            };
            let word = |name: &str| verdict[name].as_str().unwrap_or_default().to_owned();
            let verdict = match word("status").as_str() {
                "rejected" => format!("rejected: {}", word("code")),
                other => other.to_owned(),
            };
            *thrown.verdicts.entry(verdict).or_default() += 1;
        }
        return "200".to_owned();
    }
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    format!("{status} {}", problem["code"].as_str().unwrap_or_default())
}
