//! The proof: reads a whole chain, and the log that it tells of, in one state of the database, and names every place where they do not fit.
//!
//! In: a chain, and where somebody noted it elsewhere an anchor. Out: a [`Proof`] that names numbers and never content. Memory is bounded by a
//! page of events, and some bytes for each change that was trimmed from the log; time grows with the chain.
//!
//! What it finds: changed, deleted, inserted and swapped rows, a cut-off end, broken or missing seals, a past pruned without a seal, an
//! entry of the street's log that is not the one an event named, or that no event named. What it cannot find: a chain made anew from some
//! point on by somebody who can write every table, while no seal of a key they lack and no anchor lies behind that point.

use std::collections::{BTreeMap, HashMap};

use lianka_sync_core::{codec::change, id::StreetCode};
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgPool};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    audit::{
        Action, Chain, genesis, hash, seal,
        store::{self as store, EventRow, SealRow},
    },
    problem::Text,
    street::{history as past, store::trimmed},
};

/// Events read at once; one may name two thousand changes.
const PAGE: i64 = 200;
/// Entries of the log looked up at once.
const LOG_PAGE: usize = 2_000;
/// Records whose trimmed changes are looked up at once.
const RECORDS_PAGE: i64 = 50;
/// Problems named; the rest is counted.
const PROBLEMS_MAX: usize = 100;

macro_rules! breaks {
    ($($variant:ident $code:literal: $zh:literal / $en:literal;)*) => {
        /// What does not fit. The words are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Break { $($variant),* }

        impl Break {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// A stable word.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// For people.
            pub fn text(self) -> Text {
                match self { $(Self::$variant => Text { zh: $zh.into(), en: $en.into() }),* }
            }
        }
    };
}

breaks! {
    Changed "changed": "该条记录被改动过" / "the row was changed";
    Unlinked "unlinked": "与前一条不衔接：前一条被改动、替换或调换" / "it does not follow the row before it, which was changed, replaced or swapped";
    Missing "missing": "之前有记录被删除" / "rows before it were deleted";
    StartUnsealed "start_unsealed": "链的开头既不是第一条，也没有封存签名" / "the chain begins neither with its first row nor at a seal";
    PrunedUnrecorded "pruned_unrecorded": "开头的记录被删除，但没有清理记录" / "rows before it are gone, and no event tells of pruning them";
    Truncated "truncated": "末尾的记录被删除" / "rows at the end were deleted";
    BeyondHead "beyond_head": "末尾之后还有记录" / "there are rows behind the end of the chain";
    HeadDiffers "head_differs": "链尾登记的散列与最后一条不符" / "the head names another hash than the last row has";
    HeadMissing "head_missing": "链尾登记丢失" / "the chain's head is missing";
    SealMissing "seal_missing": "封存签名被删除" / "the signature of a seal is missing";
    SealBroken "seal_broken": "封存签名无效" / "the signature of a seal does not hold";
    SealForeign "seal_foreign": "封存签名没有对应的记录" / "a seal's signature has no event of its own";
    AnchorMissing "anchor_missing": "没有外部留存的那一条" / "the row noted elsewhere is not there";
    AnchorDiffers "anchor_differs": "与外部留存的散列不符" / "the row noted elsewhere had another hash";
    ContentMissing "content_missing": "所记的修改已不在日志中" / "a change that it names is not in the log any more";
    ContentChanged "content_changed": "所记的修改在日志中已不同" / "a change that it names is another one in the log";
    ContentUntold "content_untold": "日志中有未记入审计的修改" / "the log holds a change that no event names";
    DetailUnreadable "detail_unreadable": "明细无法读取" / "its detail cannot be read";
}

/// One place that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
// A refusal is a problem too: one name in the documentation is one shape.
#[schema(as = ProofProblem)]
pub struct Problem {
    /// Stable word.
    pub code: &'static str,
    /// Number of the event.
    pub no: i64,
    /// Sequence in the street's log, where it is about a change.
    pub seq: Option<i64>,
    pub message_zh: String,
    pub message_en: String,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Proof {
    /// A street's code, or `deployment`.
    pub chain: String,
    /// Nothing was found.
    pub ok: bool,
    /// Events read.
    pub events: i64,
    /// The first number present: above 1 where the past was pruned.
    pub first: Option<i64>,
    /// The last number present, and its hash: note them elsewhere, and give them back as an anchor next time.
    pub last: Option<i64>,
    pub hash: Option<String>,
    /// Changes of the log that were held to the chain.
    pub changes: i64,
    /// Seals whose signature holds.
    pub seals: i64,
    /// The newest of them.
    pub sealed_upto: Option<i64>,
    /// At most a hundred.
    pub problems: Vec<Problem>,
    pub problem_count: usize,
}

/// Number and hash of an event, as somebody noted them elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    pub no: i64,
    pub hash: [u8; 32],
}

/// Why a text is no anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an anchor is a number and 64 hexadecimal digits: 4711:9f…")]
pub struct AnchorError;

impl std::str::FromStr for Anchor {
    type Err = AnchorError;

    fn from_str(text: &str) -> Result<Self, AnchorError> {
        let (no, hash) = text.split_once(':').ok_or(AnchorError)?;
        let hash = hex::decode(hash)
            .ok()
            .and_then(|hash| hash.try_into().ok())
            .ok_or(AnchorError)?;
        Ok(Self {
            no: no.parse().map_err(|_| AnchorError)?,
            hash,
        })
    }
}

/// Verifies a chain as it is at one moment.
pub async fn verify(
    pool: &PgPool,
    chain: Chain<'_>,
    anchor: Option<&Anchor>,
) -> sqlx::Result<Proof> {
    let mut tx = pool
        .begin_with("begin isolation level repeatable read read only")
        .await?;
    let seals = store::seals(&mut tx, chain.as_str()).await?;
    let mut reading = Reading {
        chain,
        anchor,
        seals: seals.iter().map(|seal| (seal.no, seal)).collect(),
        rebuilt: rebuilt(&mut tx, chain).await?,
        trimmed: Trimmed::read(&mut tx, chain).await?,
        last: None,
        described_from: None,
        described_upto: None,
        prunes: 0,
        proof: Proof::of(chain),
    };
    loop {
        let after = reading.last.as_ref().map_or(0, |(no, _)| *no);
        let events = store::events_after(&mut tx, chain.as_str(), after, PAGE).await?;
        let full = events.len() as i64 == PAGE;
        for event in &events {
            reading.event(event);
        }
        reading.content(&mut tx, &events).await?;
        if !full {
            break;
        }
    }
    reading.end(&mut tx).await?;
    tx.commit().await?;
    Ok(reading.proof)
}

/// For each record whose log was rewritten, the last event that did.
async fn rebuilt(tx: &mut PgConnection, chain: Chain<'_>) -> sqlx::Result<HashMap<Uuid, i64>> {
    let mut last = HashMap::new();
    for (no, detail) in store::rebuilding(tx, chain.as_str()).await? {
        let Ok(detail) = serde_json::from_str::<Detail>(&detail) else {
            continue;
        };
        for record in detail.rebuilt {
            let at = last.entry(record).or_insert(no);
            *at = no.max(*at);
        }
    }
    Ok(last)
}

/// What matters here of an event's detail.
#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Detail {
    changes: Changes,
    rebuilt: Vec<Uuid>,
}

/// What an event says of changes.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Changes {
    /// Which ones came of it.
    Named(Vec<(i64, Uuid, String)>),
    /// How many a person's export showed: so 0.2.0 wrote it.
    Counted(#[expect(dead_code, reason = "a count names nothing")] u64),
}

impl Default for Changes {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

/// A chain while it is read.
struct Reading<'r> {
    chain: Chain<'r>,
    anchor: Option<&'r Anchor>,
    /// Not met yet, by number.
    seals: BTreeMap<i64, &'r SealRow>,
    rebuilt: HashMap<Uuid, i64>,
    trimmed: Trimmed,
    /// Number and stored hash of the event before.
    last: Option<(i64, Vec<u8>)>,
    /// The log is told from beyond here.
    described_from: Option<i64>,
    /// The log is told up to here.
    described_upto: Option<i64>,
    prunes: u64,
    proof: Proof,
}

impl Proof {
    fn of(chain: Chain<'_>) -> Self {
        Self {
            chain: chain.as_str().to_owned(),
            ok: true,
            events: 0,
            first: None,
            last: None,
            hash: None,
            changes: 0,
            seals: 0,
            sealed_upto: None,
            problems: Vec::new(),
            problem_count: 0,
        }
    }

    fn add(&mut self, found: Break, no: i64, seq: Option<i64>) {
        self.ok = false;
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            let Text { zh, en } = found.text();
            self.problems.push(Problem {
                code: found.code(),
                no,
                seq,
                message_zh: zh.into_owned(),
                message_en: en.into_owned(),
            });
        }
    }
}

impl Reading<'_> {
    /// One event, against itself and the one before.
    fn event(&mut self, event: &EventRow) {
        let no = event.no;
        self.proof.events += 1;
        let intact = hash(self.chain, event)[..] == event.hash[..];
        if !intact {
            self.proof.add(Break::Changed, no, None);
        }
        match &self.last {
            None => self.beginning(event),
            Some((last, _)) if last + 1 != no => self.proof.add(Break::Missing, no, None),
            // Where the row before was changed itself, its stored hash still links; where its hash was made to fit, it does not.
            Some((_, hash)) if *hash != event.previous => self.proof.add(Break::Unlinked, no, None),
            Some(_) => {}
        }
        self.seal(event, intact);
        if self
            .anchor
            .is_some_and(|anchor| anchor.no == no && anchor.hash[..] != event.hash[..])
        {
            self.proof.add(Break::AnchorDiffers, no, None);
        }
        self.prunes += u64::from(event.action == Action::Prune.as_str());
        self.last = Some((no, event.hash.clone()));
    }

    fn beginning(&mut self, event: &EventRow) {
        self.proof.first = Some(event.no);
        if event.no == 1 {
            if event.previous != genesis(self.chain) {
                self.proof.add(Break::Unlinked, 1, None);
            }
        } else if event.action != Action::Seal.as_str() {
            self.proof.add(Break::StartUnsealed, event.no, None);
        }
    }

    fn seal(&mut self, event: &EventRow, intact: bool) {
        let seal = self.seals.remove(&event.no);
        let is_seal = event.action == Action::Seal.as_str();
        match seal {
            None if is_seal => self.proof.add(Break::SealMissing, event.no, None),
            None => {}
            Some(_) if !is_seal => self.proof.add(Break::SealForeign, event.no, None),
            Some(seal) => {
                let named = serde_json::from_str::<serde_json::Value>(&event.detail).ok();
                let named = named
                    .as_ref()
                    .and_then(|detail| detail["public_key"].as_str());
                let fits = seal.hash == event.hash
                    && named == Some(hex::encode(&seal.public_key).as_str());
                if intact && fits && seal::holds(self.chain, seal) {
                    self.proof.seals += 1;
                    self.proof.sealed_upto = Some(event.no);
                } else {
                    self.proof.add(Break::SealBroken, event.no, None);
                }
            }
        }
    }

    /// What a page of events says of the street's log, against the log.
    async fn content(&mut self, tx: &mut PgConnection, events: &[EventRow]) -> sqlx::Result<()> {
        let mut named = Vec::new();
        for event in events {
            match serde_json::from_str::<Detail>(&event.detail) {
                Ok(Detail {
                    changes: Changes::Counted(_),
                    ..
                }) => {}
                Ok(Detail {
                    changes: Changes::Named(changes),
                    rebuilt,
                }) => {
                    let (no, is_fresh) = (event.no, rebuilt.is_empty());
                    named.extend(changes.into_iter().map(|(seq, record, hash)| Named {
                        no,
                        seq,
                        record,
                        hash,
                        is_fresh,
                    }));
                }
                Err(_) => self.proof.add(Break::DetailUnreadable, event.no, None),
            }
        }
        for page in named.chunks(LOG_PAGE) {
            self.held_to_log(tx, page).await?;
        }
        self.undescribed(tx, &named).await
    }

    async fn held_to_log(&mut self, tx: &mut PgConnection, named: &[Named]) -> sqlx::Result<()> {
        let seqs: Vec<_> = named.iter().map(|named| named.seq).collect();
        let log: HashMap<_, _> = store::log_at(tx, self.chain.as_str(), &seqs)
            .await?
            .into_iter()
            .map(|entry| (entry.seq, entry))
            .collect();
        for named in named {
            self.proof.changes += 1;
            let kept = self.trimmed.tell(named);
            if self
                .rebuilt
                .get(&named.record)
                .is_some_and(|no| *no > named.no)
            {
                continue;
            }
            match log.get(&named.seq) {
                None if kept == Some(true) => {}
                None if kept == Some(false) => {
                    self.proof
                        .add(Break::ContentChanged, named.no, Some(named.seq));
                }
                None => self
                    .proof
                    .add(Break::ContentMissing, named.no, Some(named.seq)),
                Some(entry) => {
                    let stored = hex::encode(&entry.hash);
                    let read = change::decode(&entry.bytes).map(|change| change.hash.to_string());
                    if entry.record != named.record
                        || stored != named.hash
                        || read.as_deref() != Ok(named.hash.as_str())
                    {
                        self.proof
                            .add(Break::ContentChanged, named.no, Some(named.seq));
                    }
                }
            }
        }
        Ok(())
    }

    /// Entries of the log between what the events before named and what these name. What was there before the first event is not told of.
    async fn undescribed(&mut self, tx: &mut PgConnection, named: &[Named]) -> sqlx::Result<()> {
        let Some(upto) = named.iter().map(|named| named.seq).max() else {
            return Ok(());
        };
        // What a rebuild names anew may be older than the chain.
        let first = named
            .iter()
            .filter(|named| named.is_fresh)
            .map(|named| named.seq)
            .min();
        let no = named.last().map_or(0, |named| named.no);
        let described: std::collections::HashSet<_> = named.iter().map(|named| named.seq).collect();
        let after = self
            .described_upto
            .unwrap_or_else(|| first.map_or(upto, |first| first - 1));
        self.described_from.get_or_insert(after);
        self.undescribed_between(tx, after, upto, no, |seq| described.contains(&seq))
            .await?;
        self.described_upto = Some(upto.max(after));
        Ok(())
    }

    async fn undescribed_between(
        &mut self,
        tx: &mut PgConnection,
        after: i64,
        upto: i64,
        no: i64,
        described: impl Fn(i64) -> bool,
    ) -> sqlx::Result<()> {
        let mut after = after;
        loop {
            let page =
                store::changes_between(tx, self.chain.as_str(), after, upto, LOG_PAGE as i64)
                    .await?;
            for (seq, _) in &page {
                if !described(*seq) {
                    self.proof.add(Break::ContentUntold, no, Some(*seq));
                }
            }
            match page.last() {
                Some((seq, _)) if page.len() == LOG_PAGE => after = *seq,
                _ => return Ok(()),
            }
        }
    }

    /// The end of the chain against its head, and what should have come by now.
    async fn end(&mut self, tx: &mut PgConnection) -> sqlx::Result<()> {
        let head = store::head(tx, self.chain.as_str()).await?;
        let (last, hash) = self
            .last
            .clone()
            .unwrap_or_else(|| (0, genesis(self.chain).to_vec()));
        match head {
            None if last > 0 => self.proof.add(Break::HeadMissing, last, None),
            Some(head) if head.no > last => self.proof.add(Break::Truncated, head.no, None),
            Some(head) if head.no < last => self.proof.add(Break::BeyondHead, last, None),
            Some(head) if head.hash != hash => self.proof.add(Break::HeadDiffers, last, None),
            Some(_) | None => {}
        }
        let first = self.proof.first.unwrap_or_default();
        if first > 1 && self.prunes == 0 {
            self.proof.add(Break::PrunedUnrecorded, first, None);
        }
        for (no, _) in std::mem::take(&mut self.seals) {
            self.proof.add(Break::SealForeign, no, None);
        }
        if let Some(anchor) = self.anchor
            && !(first..=last).contains(&anchor.no)
        {
            self.proof.add(Break::AnchorMissing, anchor.no, None);
        }
        let described = self.described_upto;
        let after = match described {
            Some(upto) => Some(upto),
            // A street whose trail was removed whole: its log is told of by nothing.
            None if self.chain != Chain::DEPLOYMENT && self.proof.events == 0 => Some(0),
            None => None,
        };
        if let Some(after) = after {
            self.undescribed_between(tx, after, i64::MAX, last, |_| false)
                .await?;
        }
        if let Some(from) = self.described_from.or(after) {
            for seq in self.trimmed.undescribed(from) {
                self.proof.add(Break::ContentUntold, last, Some(seq));
            }
        }
        if last > 0 {
            self.proof.last = Some(last);
            self.proof.hash = Some(hex::encode(hash));
        }
        Ok(())
    }
}

/// What stands beside the log of changes that were trimmed and that the documents still hold, by sequence: a digest of record and change, and
/// whether an event told of it.
struct Trimmed(HashMap<i64, (u64, bool)>);

impl Trimmed {
    async fn read(tx: &mut PgConnection, chain: Chain<'_>) -> sqlx::Result<Self> {
        let mut places = HashMap::new();
        let Ok(street) = chain.as_str().parse::<StreetCode>() else {
            return Ok(Self(places));
        };
        let mut after = Uuid::nil();
        loop {
            let records = trimmed::records(tx, street.as_str(), after, RECORDS_PAGE).await?;
            let Some(last) = records.last() else {
                return Ok(Self(places));
            };
            after = *last;
            let of_page = past::trimmed(tx, &street, &records).await?;
            places.extend(of_page.iter().map(|change| {
                (
                    change.seq,
                    (digest(change.record.0, &change.hash.to_string()), false),
                )
            }));
        }
    }

    /// Notes that an event names the change. Whether it is the one that was trimmed there; `None` where none was, or its document lacks it.
    fn tell(&mut self, named: &Named) -> Option<bool> {
        let (digest_there, described) = self.0.get_mut(&named.seq)?;
        *described = true;
        Some(*digest_there == digest(named.record, &named.hash))
    }

    fn undescribed(&self, from: i64) -> Vec<i64> {
        let mut undescribed: Vec<_> = self
            .0
            .iter()
            .filter(|(seq, (_, described))| **seq > from && !described)
            .map(|(seq, _)| *seq)
            .collect();
        undescribed.sort_unstable();
        undescribed
    }
}

fn digest(record: Uuid, hash: &str) -> u64 {
    let sha = Sha256::new()
        .chain_update(record.as_bytes())
        .chain_update(hash)
        .finalize();
    sha.iter()
        .take(8)
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

struct Named {
    no: i64,
    seq: i64,
    record: Uuid,
    hash: String,
    /// By an event that rebuilt nothing.
    is_fresh: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_a_number_and_a_hash() {
        let text = format!("12:{}", "ab".repeat(32));
        assert_eq!(
            text.parse(),
            Ok(Anchor {
                no: 12,
                hash: [0xab; 32]
            })
        );
        for bad in ["", "12", "12:", "x:ab", "12:abab"] {
            assert_eq!(bad.parse::<Anchor>(), Err(AnchorError), "{bad}");
        }
    }
}
