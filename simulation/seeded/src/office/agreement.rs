//! Whether the two offices agree: what the real one was asked is asked of the one in memory, in the same order and at the same times, and every answer,
//! every act's outcome and everything that is left is compared.
//!
//! In: what was said at the door of the real office ([`Overheard`]) and the ids that it made up. Out: the first difference, with its place. Answers
//! are compared item by item, documents by what they say. Not compared, because nothing follows from it: how answers are packed, the order in which
//! records leave, secrets, ids of notices, and the audit trail, which only the real one chains.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Debug},
};

use lianka_sync_core::{
    codec::wire::{Encoding, ItemReader, Notice, ResponseItem},
    crdt::record::Record,
};
use serde_json::Value;

use uuid::Uuid;

use super::{Act, Acted, Call, Evidence, HeldId, Look, Office, Reply};

/// Something that was said at an office's door.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    Exchange(Call, Reply),
    Act(Act, Acted),
    Time(i64),
    Tend,
}

/// An office, and somebody who writes down what is said at its door.
pub struct Overheard<O> {
    pub office: O,
    pub said: Vec<Said>,
}

impl<O> Overheard<O> {
    pub fn new(office: O) -> Self {
        Self {
            office,
            said: Vec::new(),
        }
    }
}

impl<O: Office> Office for Overheard<O> {
    async fn exchange(&mut self, call: &Call) -> Reply {
        let reply = self.office.exchange(call).await;
        self.said.push(Said::Exchange(call.clone(), reply.clone()));
        reply
    }

    async fn held(&mut self, decided: bool) -> Vec<HeldId> {
        self.office.held(decided).await
    }

    async fn look(&mut self, records: &[Uuid]) -> Look {
        self.office.look(records).await
    }

    async fn act(&mut self, act: &Act) -> Acted {
        let acted = self.office.act(act).await;
        self.said.push(Said::Act(act.clone(), acted.clone()));
        acted
    }

    fn set_time(&mut self, unix_ms: i64) {
        self.office.set_time(unix_ms);
        self.said.push(Said::Time(unix_ms));
    }

    async fn tend(&mut self) {
        self.office.tend().await;
        self.said.push(Said::Tend);
    }

    async fn evidence(&mut self) -> Evidence {
        self.office.evidence().await
    }
}

/// Where two offices differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Which of the things said; `None`: what is left in the end.
    pub at: Option<usize>,
    /// What it is about.
    pub about: String,
    pub words: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "said {at}, {}: {}", self.about, self.words),
            None => write!(f, "in the end: {}", self.words),
        }
    }
}

/// Secrets that the one office gave out, and those that the other gave out in their place.
#[derive(Default)]
struct Secrets(BTreeMap<String, String>);

impl Secrets {
    fn learn(&mut self, told: &Reply, answered: &Reply) {
        let (told, answered): (Value, Value) = (parsed(&told.body), parsed(&answered.body));
        for key in ["access_token", "refresh_token"] {
            if let (Some(told), Some(answered)) = (told[key].as_str(), answered[key].as_str()) {
                self.0.insert(told.to_owned(), answered.to_owned());
            }
        }
    }

    fn translated(&self, call: &Call) -> Call {
        let mut call = call.clone();
        for (_, value) in call
            .headers
            .iter_mut()
            .filter(|(name, _)| name == "authorization")
        {
            if let Some(other) = value
                .strip_prefix("Bearer ")
                .and_then(|token| self.0.get(token))
            {
                *value = format!("Bearer {other}");
            }
        }
        if call.path == "/v1/devices" || call.path == "/v1/tokens" {
            let mut body: Value = parsed(&call.body);
            for key in ["code", "refresh_token"] {
                // People type codes as they like.
                let other = body[key].as_str().and_then(|secret| {
                    self.0
                        .get(secret)
                        .or_else(|| self.0.get(&secret.to_uppercase()))
                });
                if let Some(other) = other {
                    body[key] = other.as_str().into();
                }
            }
            call.body = body.to_string().into_bytes();
        }
        call
    }
}

fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

/// Says to `office` what was said to the other one, and holds its answers against the other's; the first that differs.
pub async fn say_again(said: &[Said], office: &mut impl Office) -> Option<Difference> {
    let mut secrets = Secrets::default();
    for (at, one) in said.iter().enumerate() {
        let found = match one {
            Said::Time(unix_ms) => {
                office.set_time(*unix_ms);
                None
            }
            Said::Tend => {
                office.tend().await;
                None
            }
            Said::Act(act, told) => {
                let acted = office.act(act).await;
                if let (Acted::Code(told), Acted::Code(acted)) = (told, &acted) {
                    secrets.0.insert(told.clone(), acted.clone());
                    None
                } else {
                    unequal(told, &acted).map(|words| (format!("{act:?}"), words))
                }
            }
            Said::Exchange(call, told) => {
                let answered = office.exchange(&secrets.translated(call)).await;
                secrets.learn(told, &answered);
                replies_differ(told, &answered).map(|words| (call.path.clone(), words))
            }
        };
        if let Some((about, words)) = found {
            return Some(Difference {
                at: Some(at),
                about,
                words,
            });
        }
    }
    None
}

fn unequal<T: PartialEq + Debug>(told: &T, answered: &T) -> Option<String> {
    (told != answered).then(|| format!("really {told:?}, in memory {answered:?}"))
}

fn replies_differ(told: &Reply, answered: &Reply) -> Option<String> {
    if let Some(words) = unequal(&told.status, &answered.status) {
        return Some(format!(
            "status {words}: {} and {}",
            String::from_utf8_lossy(&told.body),
            String::from_utf8_lossy(&answered.body)
        ));
    }
    let (told, answered) = (comparable(told), comparable(answered));
    for (at, pair) in told.iter().zip(&answered).enumerate() {
        if let Some(words) = unequal(pair.0, pair.1) {
            return Some(format!("item {at} {words}"));
        }
    }
    unequal(&told.len(), &answered.len()).map(|words| {
        format!(
            "items: {words}: {:?} and {:?}",
            told.last(),
            answered.last()
        )
    })
}

/// An answer as far as it matters.
fn comparable(reply: &Reply) -> Vec<String> {
    let header = |name: &str| {
        reply
            .headers
            .iter()
            .find(|(of, _)| of == name)
            .map(|(_, value)| value.as_str())
    };
    let Some(encoding) = header("content-type").and_then(Encoding::from_media_type) else {
        let body = parsed(&reply.body);
        let of = |key: &str| body[key].to_string();
        return vec![
            of("code"),
            of("device_id"),
            of("streets"),
            of("user"),
            of("expires_in"),
        ];
    };
    let body = match header("content-encoding") {
        Some("zstd") => zstd::decode_all(&reply.body[..]).unwrap_or_default(),
        _ => reply.body.clone(),
    };
    let mut reader = ItemReader::new(encoding);
    reader.push(&body);
    let mut items = Vec::new();
    let mut leaving = BTreeSet::new();
    while let Ok(Some(item)) = reader.next_item::<ResponseItem>() {
        match item {
            ResponseItem::Leave { .. } | ResponseItem::Erase { .. } => {
                leaving.insert(format!("{item:?}"));
            }
            ResponseItem::Notice(notice) => items.push(format!(
                "{:?}",
                Notice {
                    id: Uuid::nil(),
                    ..notice
                }
            )),
            ResponseItem::Snapshot {
                record,
                kind,
                grid,
                generation,
                seq,
                bytes,
            } => {
                let says = Record::load(&bytes)
                    .map(|mut document| (document.heads(), document.view().ok()))
                    .ok();
                items.push(format!(
                    "snapshot {record} {kind:?} {grid} {generation} {seq} {says:?}"
                ));
            }
            item => items.push(format!("{item:?}")),
        }
    }
    items.extend(leaving);
    items
}

/// The first thing that is left differently.
pub fn left_differently(real: &Evidence, memory: &Evidence) -> Option<Difference> {
    let left = |words| {
        Some(Difference {
            at: None,
            about: String::new(),
            words,
        })
    };
    let differ = |what: &str, real: &dyn Debug, memory: &dyn Debug| {
        left(format!("{what}: really {real:?}, in memory {memory:?}"))
    };
    if real.epoch != memory.epoch {
        return differ("epoch", &real.epoch, &memory.epoch);
    }
    if let Some((a, b)) = real.log.iter().zip(&memory.log).find(|(a, b)| a != b) {
        return differ("log", a, b);
    }
    if real.log.len() != memory.log.len() {
        return differ("the log's last line", &real.log.last(), &memory.log.last());
    }
    if real.head != memory.head {
        return differ("head", &real.head, &memory.head);
    }
    let ids: BTreeSet<_> = real.records.keys().chain(memory.records.keys()).collect();
    for id in ids {
        let (Some(a), Some(b)) = (real.records.get(id), memory.records.get(id)) else {
            return differ(
                &format!("record {id} is there"),
                &real.records.contains_key(id),
                &memory.records.contains_key(id),
            );
        };
        if (&a.kind, &a.grid, a.generation) != (&b.kind, &b.grid, b.generation) {
            return differ(
                &format!("record {id}"),
                &(&a.kind, &a.grid, a.generation),
                &(&b.kind, &b.grid, b.generation),
            );
        }
        if let Some(key) = a
            .fields
            .keys()
            .chain(b.fields.keys())
            .find(|key| a.fields.get(*key) != b.fields.get(*key))
        {
            return differ(
                &format!("{key} of {id}"),
                &a.fields.get(key),
                &b.fields.get(key),
            );
        }
    }
    if real.held != memory.held {
        return differ("held", &real.held, &memory.held);
    }
    if real.conflicts != memory.conflicts {
        return differ("conflicts", &real.conflicts, &memory.conflicts);
    }
    if real.notices != memory.notices {
        return differ("notices", &real.notices, &memory.notices);
    }
    if real.choices != memory.choices {
        return differ("choices", &real.choices, &memory.choices);
    }
    if real.joins != memory.joins {
        return differ("joins", &real.joins, &memory.joins);
    }
    if real.merges != memory.merges {
        return differ("merges", &real.merges, &memory.merges);
    }
    None
}

/// Runs a script at the real office, then says the same to the one in memory: the run's story, and the first difference.
#[cfg(feature = "real")]
pub fn both(script: &crate::Script) -> (crate::Story, Option<Difference>) {
    let mut real = Overheard::new(super::RealOffice::new(&script.setup, script.seed));
    let story = crate::run_to_end(script, &mut real);
    let mut memory = super::MemoryOffice::new(
        &script.setup,
        super::Identities::Recorded(real.office.recorded()),
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without sockets needs nothing");
    let difference = runtime.block_on(async {
        let said = say_again(&real.said, &mut memory).await;
        if said.is_some() {
            said
        } else {
            left_differently(&story.evidence, &memory.evidence().await)
        }
    });
    (story, difference)
}

/// Runs `story` at the real office, then says the same to the one in memory; what the story came to, and the first difference.
#[cfg(feature = "real")]
pub async fn told_to_both<T>(
    setup: &super::Setup,
    seed: u64,
    story: impl AsyncFnOnce(&mut Overheard<super::RealOffice>) -> T,
) -> (T, Evidence, Option<Difference>) {
    let mut real = Overheard::new(super::RealOffice::new(setup, seed));
    let told = story(&mut real).await;
    real.tend().await;
    let left = real.evidence().await;
    let mut memory =
        super::MemoryOffice::new(setup, super::Identities::Recorded(real.office.recorded()));
    let mut difference = say_again(&real.said, &mut memory).await;
    if difference.is_none() {
        difference = left_differently(&left, &memory.evidence().await);
    }
    (told, left, difference)
}
