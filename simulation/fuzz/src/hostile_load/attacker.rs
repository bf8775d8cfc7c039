//! One hostile device at work: a attack, the answer, the next attack. It heeds no `Retry-After`.

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
    attack::Generator,
    office::Hostile,
    sending::{Attack, Manner},
};

/// Longer than any answer may be waited for: an answer that takes longer is a finding.
const ANSWER_TIME_MAX: Duration = Duration::from_mins(1);
/// So long somebody stays who reads nothing, and so long one waits for a server that has nothing to say.
const STARE: Duration = Duration::from_millis(500);
/// Bytes of an answer that are looked at.
const ANSWER_BYTES_MAX: usize = 256 << 10;

pub struct Attacker {
    device: Hostile,
    http: reqwest::Client,
    attacks: Vec<Attack>,
}

/// What came back.
#[derive(Default)]
pub struct Answered {
    pub attacks: usize,
    pub answers: BTreeMap<String, usize>,
    pub verdicts: BTreeMap<String, usize>,
}

impl Attacker {
    /// Makes the device's record at the server, and its attacks.
    pub async fn prepare(
        device: Hostile,
        seed: u64,
        attacks: usize,
        targets: Vec<RecordId>,
    ) -> anyhow::Result<Self> {
        let generator = Generator::new(&device.street, device.device, &device.token, seed, targets);
        let (mut generator, first) =
            generator.context("a hostile device cannot make its own card")?;
        let attacker = Self {
            device,
            http: http_client()?,
            attacks: Vec::new(),
        };
        let mut answered = Answered::default();
        attacker.send(&first, &mut answered).await;
        ensure!(
            answered.verdicts.get("accepted") == Some(&1),
            "the first card of a hostile device is honest: {:?}",
            answered.answers
        );
        let attacks =
            tokio::task::spawn_blocking(move || (0..attacks).map(|_| generator.next()).collect())
                .await?;
        Ok(Self {
            attacks,
            ..attacker
        })
    }

    /// Throws them in turn until it is over.
    pub async fn attack_until(self, over: CancellationToken) -> Answered {
        let mut answered = Answered::default();
        for attack in self.attacks.iter().cycle() {
            tokio::select! {
                () = over.cancelled() => break,
                () = self.send(attack, &mut answered) => answered.attacks += 1,
            }
        }
        answered
    }

    async fn send(&self, attack: &Attack, answered: &mut Answered) {
        let answer = match timeout(ANSWER_TIME_MAX, self.exchange(attack, answered)).await {
            Ok(answer) => answer,
            Err(_) => format!("599 no answer within {} s", ANSWER_TIME_MAX.as_secs()),
        };
        *answered.answers.entry(answer).or_default() += 1;
    }

    async fn exchange(&self, attack: &Attack, answered: &mut Answered) -> String {
        let Hostile {
            url, street, token, ..
        } = &self.device;
        let request = match attack {
            Attack::Raw { bytes, manner } => return self.raw(bytes, *manner).await,
            Attack::Many { bytes, times } => {
                return self.many_connections(bytes, *times, answered).await;
            }
            Attack::Sync {
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
            Attack::Call {
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
                read(status, &body, answered)
            }
        }
    }

    /// Every answer counts; told apart from others, because a rush that is refused says little.
    async fn many_connections(
        &self,
        bytes: &[u8],
        times: usize,
        answered: &mut Answered,
    ) -> String {
        let mut answers: Vec<_> =
            futures::future::join_all((0..times).map(|_| self.raw(bytes, Manner::ClosesHalf)))
                .await;
        let last = answers.pop().unwrap_or_default();
        for answer in answers {
            *answered.answers.entry(answer).or_default() += 1;
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

fn read(status: u16, body: &[u8], answered: &mut Answered) -> String {
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
            *answered.verdicts.entry(verdict).or_default() += 1;
        }
        return "200".to_owned();
    }
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    format!("{status} {}", problem["code"].as_str().unwrap_or_default())
}
