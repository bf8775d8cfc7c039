//! The mixed load: phones that edit and synchronise, a desk that edits, settles conflicts and exports, transfers, erasures, new phones.
//!
//! Input: a stage with enrolled phones. Output: what was written where ([`Ledger`]), so that nothing can go missing unseen, and what each
//! synchronisation took. Every phone has a column of its own on every card: nobody else writes it, so its last value must be there in the end,
//! whatever was trimmed or compacted meanwhile.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use lianka_client::{Phone, phone::EnrolOptions};
use lianka_client_core::Filing;
use lianka_sync_core::{
    crdt::record::Edit,
    id::{EntryId, RecordId},
};
use serde_json::{Value, json};
use tokio::sync::{Mutex, Semaphore};
use uuid::Uuid;

use crate::{draw::Draw, fleet::Secretary, stage::Stage};

/// Edits of a phone before it synchronises.
const EDITS_A_CYCLE: usize = 3;
/// Records that are made during the run and wait for the office to erase them.
const SHORT_LIVED: usize = 24;

/// The last value of each column, by card.
pub type Ledger = BTreeMap<(RecordId, String), u64>;

/// Counts, readable at any time.
#[derive(Default)]
pub struct Counts {
    pub cycles: AtomicU64,
    pub edits: AtomicU64,
    pub syncs: AtomicU64,
    pub desk: AtomicU64,
    pub settled: AtomicU64,
    pub exports: AtomicU64,
    pub made: AtomicU64,
    pub erased: AtomicU64,
    pub enrolled: AtomicU64,
    pub rebased: AtomicU64,
    /// Requests of desks that were answered with a refusal, such as a conflict that somebody had settled meanwhile.
    pub refused: AtomicU64,
    /// What the synchronisations since the last look took, in microseconds.
    pub took: std::sync::Mutex<Vec<u64>>,
}

impl Counts {
    fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes what was noted since the last time.
    pub fn take_times(&self) -> Vec<u64> {
        std::mem::take(
            &mut *self
                .took
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    fn note_time(&self, took: Duration) {
        self.took
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(took.as_micros() as u64);
    }
}

/// What all workers share.
pub struct Load {
    pub stage: Stage,
    pub url: String,
    pub folder: PathBuf,
    pub secretaries: Vec<Secretary>,
    pub counts: Counts,
    /// One permit a cycle; none are asked for while the capacity is measured.
    pub pace: Semaphore,
    pub paced: AtomicBool,
    pub stopping: AtomicBool,
    pub short_lived: Mutex<VecDeque<RecordId>>,
}

/// One phone with its user.
pub struct Worker {
    pub number: usize,
    pub phone: Phone,
    pub grid: String,
    /// Cards of the roll in its grid, which stay.
    pub cards: Vec<RecordId>,
    pub ledger: Ledger,
    pub desk_ledger: Ledger,
    count: u64,
    draw: Draw,
}

impl Worker {
    pub fn new(number: usize, phone: Phone, grid: String, cards: Vec<RecordId>) -> Self {
        let draw = Draw::new(20_261_123 + number as u32);
        Self {
            number,
            phone,
            grid,
            cards,
            ledger: Ledger::new(),
            desk_ledger: Ledger::new(),
            count: 0,
            draw,
        }
    }

    /// Works until it is told to stop.
    pub async fn run(mut self, load: Arc<Load>) -> anyhow::Result<Self> {
        while !load.stopping.load(Ordering::SeqCst) {
            if load.paced.load(Ordering::SeqCst) {
                match load.pace.acquire().await {
                    Ok(permit) => permit.forget(),
                    // Closed: it is over.
                    Err(_) => break,
                }
            }
            self.cycle(&load)
                .await
                .with_context(|| format!("phone {:02}", self.number))?;
            Counts::add(&load.counts.cycles, 1);
        }
        Ok(self)
    }

    async fn cycle(&mut self, load: &Load) -> anyhow::Result<()> {
        match self.draw.int(1_000) {
            0..911 => self.edit(load).await,
            911..956 => self.desk_edit(load).await,
            956..986 => self.settle(load).await,
            986..994 => self.export(load).await,
            // Seldom: what was erased stays in the log, and a page of its index with it.
            994..995 => self.make_and_erase(load).await,
            _ => self.new_phone(load).await,
        }
    }

    async fn edit(&mut self, load: &Load) -> anyhow::Result<()> {
        let column = format!("custom/手机{:02}", self.number);
        let mut edits = Vec::new();
        for _ in 0..EDITS_A_CYCLE {
            self.count += 1;
            let card = self.draw.pick(&self.cards);
            edits.push((
                card,
                vec![
                    Edit::set(column.clone(), &self.count.to_string()),
                    self.shared_edit(),
                ],
            ));
            self.ledger.insert((card, column.clone()), self.count);
        }
        Counts::add(&load.counts.edits, edits.len() as u64);
        let phone = self.phone.clone();
        let done = tokio::task::spawn_blocking(move || {
            for (card, edits) in edits {
                phone
                    .edit(card, &edits, phone.now())
                    .with_context(|| format!("an edit of {card}"))?;
            }
            anyhow::Ok(())
        });
        done.await.context("a phone's task was cut off")??;
        self.sync(load).await
    }

    /// A field that other phones write as well.
    fn shared_edit(&mut self) -> Edit {
        let n = self.count;
        match self.draw.int(6) {
            0 => Edit::set("opening_hours", &format!("早{}点到晚{}点", n % 12, n % 11)),
            1 => Edit::set("sign_name", &format!("店招{}", n % 97)),
            2 => Edit::Note {
                text: format!(
                    "第{n}次走访：门口{}",
                    ["积水", "堆物", "整洁", "无人"][self.draw.int(4)]
                ),
            },
            3 => Edit::set(
                format!(
                    "contacts/{}/phones",
                    EntryId(Uuid::from_u128(0x0198_c0de_0000_7000_8000_0000_0000_0001))
                ),
                &format!("138{:08}", n % 100_000_000),
            ),
            4 => Edit::set("unit", &format!("{}室", n % 300)),
            _ => Edit::set(
                "category",
                ["餐饮", "零售", "服务", "维修"][self.draw.int(4)],
            ),
        }
    }

    async fn sync(&self, load: &Load) -> anyhow::Result<()> {
        let begun = Instant::now();
        let report = self
            .phone
            .sync()
            .await
            .map_err(|error| anyhow::anyhow!("cannot synchronise: {error}"))?;
        load.counts.note_time(begun.elapsed());
        Counts::add(&load.counts.syncs, 1);
        Counts::add(&load.counts.rebased, u64::from(report.tally.rebased));
        Ok(())
    }

    fn path(load: &Load, rest: &str) -> String {
        format!("/v1/streets/{}/{rest}", load.stage.street)
    }

    async fn desk_edit(&mut self, load: &Load) -> anyhow::Result<()> {
        self.count += 1;
        let card = self.draw.pick(&self.cards);
        let column = format!("custom/电脑{:02}", self.number);
        let body = json!({ "set": { column.clone(): self.count.to_string() } });
        load.stage
            .reviewer
            .post(&Self::path(load, &format!("records/{card}/edits")), body)
            .await?;
        self.desk_ledger.insert((card, column), self.count);
        Counts::add(&load.counts.desk, 1);
        Ok(())
    }

    /// Settles the first conflict of the inbox, if there is one.
    async fn settle(&self, load: &Load) -> anyhow::Result<()> {
        let inbox = load
            .stage
            .reviewer
            .get(&Self::path(load, "conflicts?page_size=5"))
            .await?;
        let Some(item) = inbox["items"].as_array().and_then(|items| items.first()) else {
            return Ok(());
        };
        let field = &item["fields"][0];
        let (Some(record), Some(key)) = (item["record"].as_str(), field["key"].as_str()) else {
            return Ok(());
        };
        let body = json!({ "field": key, "value": field["values"][0]["value"] });
        if field["values"][0]["value"] == Value::Null {
            return Ok(());
        }
        match load
            .stage
            .reviewer
            .post(
                &Self::path(load, &format!("records/{record}/resolutions")),
                body,
            )
            .await
        {
            Ok(_) => Counts::add(&load.counts.settled, 1),
            // Somebody was quicker.
            Err(_) => Counts::add(&load.counts.refused, 1),
        }
        Ok(())
    }

    async fn export(&self, load: &Load) -> anyhow::Result<()> {
        load.stage
            .reviewer
            .download(&Self::path(load, "cards.csv"))
            .await?;
        Counts::add(&load.counts.exports, 1);
        Ok(())
    }

    /// A transfer or a card that is new; the office erases the oldest of those.
    async fn make_and_erase(&mut self, load: &Load) -> anyhow::Result<()> {
        let made = if self.draw.int(2) == 0 {
            let edits = [
                Edit::set("sign_name", "临时摊位"),
                Edit::Note {
                    text: "一个月后撤".into(),
                },
            ];
            self.phone.create_card(&self.grid, &edits, self.phone.now())
        } else {
            self.phone.file_transfer(
                &self.grid,
                &filing(self.draw.int(1_000_000)),
                self.phone.now(),
            )
        };
        let record = made.context("a new record")?.record;
        self.sync(load).await?;
        Counts::add(&load.counts.made, 1);
        let oldest = {
            let mut waiting = load.short_lived.lock().await;
            waiting.push_back(record);
            if waiting.len() > SHORT_LIVED {
                waiting.pop_front()
            } else {
                None
            }
        };
        if let Some(oldest) = oldest {
            load.stage
                .admin
                .post(
                    &Self::path(load, &format!("records/{oldest}/erase")),
                    json!({ "reason": "purpose_ended" }),
                )
                .await?;
            Counts::add(&load.counts.erased, 1);
        }
        Ok(())
    }

    /// A phone that is enrolled, takes everything, and is lost.
    async fn new_phone(&self, load: &Load) -> anyhow::Result<()> {
        let username = &load.secretaries[self.number % load.secretaries.len()].username;
        let number = load.counts.enrolled.fetch_add(1, Ordering::Relaxed);
        let code = load.stage.admin.enrolment_code(username).await?;
        let file = load.folder.join(format!("new-{number}.lianka"));
        let options = EnrolOptions {
            street: Some(load.stage.street.clone()),
            platform: Some("simulator".into()),
            ..EnrolOptions::default()
        };
        let phone = Phone::enrol(&file, &load.url, &code, options)
            .await
            .context("a new phone cannot enrol")?;
        let begun = Instant::now();
        phone
            .sync()
            .await
            .context("a new phone cannot synchronise")?;
        load.counts.note_time(begun.elapsed());
        let device = phone.identity().context("a new phone knows itself")?.device;
        drop(phone);
        load.stage
            .admin
            .delete(&format!("/v1/devices/{device}"))
            .await?;
        for end in ["", "-wal", "-shm"] {
            // The other two are not always there.
            let _ = std::fs::remove_file(format!("{}{end}", file.display()));
        }
        Ok(())
    }
}

/// A transfer of an invented member.
fn filing(number: usize) -> Filing {
    let fields = [
        ("member_name", format!("虚构{number}")),
        ("member_status", "正式".into()),
        ("origin_organisation", format!("某市某街道第{number}支部")),
        ("phone", format!("139{number:08}")),
        ("target_branch", "康平支部".into()),
    ];
    Filing {
        transfer_kind: "cross_province_letter".into(),
        member_alias: format!("成员{number}"),
        fields: fields.map(|(name, value)| (name.into(), value)).to_vec(),
        consent_channel: Some("当面".into()),
        consent_wording: Some("2026-1".into()),
        submit: true,
    }
}
