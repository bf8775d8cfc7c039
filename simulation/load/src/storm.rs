//! The storm: the phases of the demo on a workload file, measured.
//!
//! Input: a workload and, where the server is not to be started here, where it is. Output: [`Figures`]. Every phone holds every card. Bytes
//! are those of request and answer bodies as sent, compressed; headers come on top.

mod baseline;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use lianka_sync_core::{id::RecordId, kinds::projection, lang::Lang};
use serde::{Serialize, Serializer};

use baseline::{Baseline, Pushes};

use crate::{
    findings::{Expected, UnlistedValues, Written, expected_conflicts, judge},
    fleet::{Fleet, Secretary, Sizes},
    mapping,
    office::{Grid, Login, Office},
    progress::{bar, say, spinner},
    server_process::{Cost, ServerProcess},
    stage::{self, NewStreet, Stage},
    workload::Workload,
};

/// Phones that sync for the first time alone, for a median; they take no other part.
const PROBES: usize = 3;

/// How to run the storm.
#[derive(Clone, Debug)]
pub struct Options {
    pub workload: PathBuf,
    /// Servers that run already, in front of one store, and their administrator.
    pub running: Option<(Vec<String>, Login)>,
    pub lang: Lang,
}

/// What was measured. The first keys are the agreed ones; what concerns the server's machine is null where the server was not started here.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub seed_ms: u64,
    /// One phone alone: median of three.
    pub first_sync_ms: u64,
    pub first_sync_all_ms: u64,
    pub storm_ms: u64,
    /// Median over the phones, each alone.
    pub idle_resync_ms: f64,
    /// In the storm; means.
    pub bytes_up_per_phone: u64,
    pub bytes_down_per_phone: u64,
    /// Of an idle resync; medians.
    pub idle_bytes: UpDown,
    /// From the first seed to the last idle resync, Postgres included.
    pub server_cpu_ms: Option<u64>,
    /// Peak of the server, and of its Postgres with shared pages counted once.
    pub server_rss_peak_mib: Option<f64>,
    pub store_mib: Option<f64>,
    pub edits: usize,
    pub conflicts_expected: usize,
    pub conflicts_visible: usize,
    pub digests_equal: bool,

    pub cards: usize,
    pub phones: usize,
    pub field_writes: usize,
    pub edits_missing: usize,
    /// Of the expected conflicts those whose field keeps every value in the roll; the others are read from the record.
    pub conflicts_listed_expected: usize,
    pub conflicts_listed_visible: usize,
    pub conflicts_unexpected: usize,
    pub verdicts: Verdicts,
    pub first_sync_bytes: u64,
    pub storm_phone_ms: Spread,
    pub storm_bytes_max: UpDown,
    pub settle_ms: u64,
    pub settle_bytes_down_per_phone: u64,
    pub drafts: usize,
    pub unsent: u64,
    pub retries: u32,
    #[serde(serialize_with = "in_order")]
    pub server_by_phase: Vec<(&'static str, PhaseCost)>,
    pub server_rss_peak_mib_server: Option<f64>,
    pub server_rss_peak_mib_postgres: Option<f64>,
    pub store_wal_mib: Option<f64>,
    /// The same changes, stored and fetched where nobody decides anything.
    pub baseline: Baseline,
}

/// Bytes in both directions.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UpDown {
    pub up: u64,
    pub down: u64,
}

/// Milliseconds of the phones of a round.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    pub median: u64,
    pub max: u64,
}

/// Verdicts of the storm by status.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Verdicts {
    pub accepted: u32,
    pub duplicate: u32,
    pub held: u32,
    pub rejected: u32,
}

/// What the server used in one phase, and its greatest memory up to the phase's end.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PhaseCost {
    pub server_cpu_ms: u64,
    pub postgres_cpu_ms: u64,
    pub server_rss_peak_mib: f64,
    pub postgres_rss_peak_mib: f64,
}

fn in_order<S: Serializer>(
    phases: &[(&'static str, PhaseCost)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(phases.iter().copied())
}

/// Runs the storm until it ends, or `interrupted` does.
pub async fn run(
    options: &Options,
    interrupted: impl Future<Output = ()>,
) -> anyhow::Result<Figures> {
    let workload = Workload::read(&options.workload)?;
    tokio::pin!(interrupted);
    let stopped = || anyhow::anyhow!("{}", say(options.lang, "已中断", "interrupted"));
    if let Some((urls, login)) = &options.running {
        return tokio::select! {
            figures = measure(&workload, None, urls, login.clone(), options.lang) => figures,
            () = &mut interrupted => Err(stopped()),
        };
    }
    let (server, login) = tokio::select! {
        started = stage::start_server(None, None) => started?,
        () = &mut interrupted => return Err(stopped()),
    };
    let urls = [server.url()];
    let measured = tokio::select! {
        figures = measure(&workload, Some(&server), &urls, login, options.lang) => figures,
        () = &mut interrupted => Err(stopped()),
    };
    let measured = measured.map_err(|error| anyhow::anyhow!("{error:#}{}", server.log_tail()));
    let ended = server.stop().await;
    measured.and_then(|figures| ended.map(|()| figures))
}

/// Processor time by phase.
struct Meter<'s> {
    server: Option<&'s ServerProcess>,
    last: Cost,
    phases: Vec<(&'static str, PhaseCost)>,
}

impl<'s> Meter<'s> {
    fn new(server: Option<&'s ServerProcess>) -> Self {
        Self {
            server,
            last: server.map(ServerProcess::cost).unwrap_or_default(),
            phases: Vec::new(),
        }
    }

    /// Ends a phase.
    fn phase(&mut self, name: &'static str) {
        let Some(server) = self.server else { return };
        let now = server.cost();
        let used = now.since(self.last);
        self.last = now;
        let memory = server.memory_peak();
        memory.sample();
        let cost = PhaseCost {
            server_cpu_ms: used.server_cpu_ms,
            postgres_cpu_ms: used.postgres_cpu_ms,
            server_rss_peak_mib: round(memory.server_mib()),
            postgres_rss_peak_mib: round(memory.postgres_mib()),
        };
        self.phases.push((name, cost));
    }
}

async fn measure(
    workload: &Workload,
    server: Option<&ServerProcess>,
    urls: &[String],
    login: Login,
    lang: Lang,
) -> anyhow::Result<Figures> {
    let phones = workload.phones.len();
    let (stage, secretaries) = prepare(
        urls.first().context("no server is named")?,
        login,
        phones,
        lang,
    )
    .await?;
    let folder = tempfile::Builder::new()
        .prefix("lianka-storm-")
        .tempdir()
        .context("cannot make a folder for the phones")?;
    let enrolling = bar(
        say(lang, "登记手机", "enrolling phones"),
        phones + PROBES + 1,
    );
    let enrol = async |name: &str, secretaries: &[Secretary]| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder)?;
        Fleet::enrol(
            &stage.admin,
            urls,
            &stage.street,
            secretaries,
            &folder,
            &enrolling,
        )
        .await
    };
    let desk = enrol(
        "desk",
        &[Secretary {
            username: stage.reviewer_login.username.clone(),
            grids: Vec::new(),
        }],
    )
    .await?;
    let probes = enrol("probes", &vec![secretaries[0].clone(); PROBES]).await?;
    let mut fleet = enrol("phones", &secretaries).await?;
    enrolling.finish_and_clear();

    let mut meter = Meter::new(server);
    let (records, seeded) = seed(workload, &desk, lang).await?;
    meter.phase("seed");

    let working = spinner(say(lang, "首次同步", "first synchronisation"));
    let alone = probes.sync_in_turn().await?;
    meter.phase("first_sync");
    let first = fleet.sync_all().await?;
    meter.phase("first_sync_all");
    working.finish_and_clear();

    fleet.go_offline()?;
    let written = written(workload, &records);
    let editing = bar(
        say(lang, "离线修改", "editing offline"),
        workload.edit_count(),
    );
    let edits = |phone: &crate::workload::PhoneEdits| {
        phone
            .edits
            .iter()
            .map(|edit| (records[edit.card], mapping::change(edit)))
            .collect()
    };
    fleet
        .edit(workload.phones.iter().map(edits).collect(), &editing)
        .await?;
    editing.finish_and_clear();
    let pushes = fleet
        .phones()
        .iter()
        .map(|phone| {
            Ok(phone
                .outbox()?
                .into_iter()
                .map(|entry| entry.bytes)
                .collect())
        })
        .collect::<anyhow::Result<Pushes>>()?;
    // Whatever the server does in its own time is no cost of the storm.
    meter.phase("offline");

    let working = spinner(say(
        lang,
        "全部手机同时重新连接",
        "all phones reconnect at once",
    ));
    let storm = fleet.sync_all().await?;
    meter.phase("storm");
    let settle = fleet.sync_all().await?;
    meter.phase("settle");
    let idle = fleet.sync_in_turn().await?;
    meter.phase("idle_resync");
    working.finish_and_clear();

    let expected = expected_conflicts(&written);
    let roll = stage.reviewer.cards(stage.street.as_str()).await?;
    let unlisted = unlisted_values(&stage.reviewer, &stage.street, &expected).await?;
    let findings = judge(&written, &roll, &unlisted);
    let comparing = bar(say(lang, "核对每部手机", "comparing every phone"), phones);
    let (held, _) = fleet
        .compare(&roll, |_, _| true, &expected, &comparing)
        .await?;
    comparing.finish_and_clear();
    let office_digest = projection::digest(roll.values());
    let digests_equal =
        roll.len() == records.len() && held.iter().all(|held| held.digest == office_digest);

    let took = |reports: &[lianka_client::SyncReport]| {
        Sizes::of(
            reports
                .iter()
                .map(|report| report.duration.as_micros() as u64),
        )
    };
    let tally = storm.tally();
    let on_disk = server.map(ServerProcess::store_mib);
    let memory = server.map(ServerProcess::memory_peak);
    let baseline = baseline::measure(&pushes, folder.path(), server).await?;
    Ok(Figures {
        seed_ms: ms(seeded),
        first_sync_ms: took(&alone.reports).median / 1000,
        first_sync_all_ms: ms(first.duration),
        storm_ms: ms(storm.duration),
        idle_resync_ms: round(took(&idle.reports).median as f64 / 1000.0),
        bytes_up_per_phone: storm.up().mean,
        bytes_down_per_phone: storm.down().mean,
        idle_bytes: UpDown {
            up: idle.up().median,
            down: idle.down().median,
        },
        server_cpu_ms: server.map(|_| {
            meter
                .phases
                .iter()
                .map(|(_, cost)| cost.server_cpu_ms + cost.postgres_cpu_ms)
                .sum()
        }),
        server_rss_peak_mib: memory.map(|peak| round(peak.together_mib())),
        store_mib: on_disk.map(|(all, _)| round(all)),
        edits: findings.edits,
        conflicts_expected: findings.conflicts_expected,
        conflicts_visible: findings.conflicts_visible,
        digests_equal,

        cards: roll.len(),
        phones,
        field_writes: written.len(),
        edits_missing: findings.edits_missing.len(),
        conflicts_listed_expected: findings.conflicts_listed.0,
        conflicts_listed_visible: findings.conflicts_listed.1,
        conflicts_unexpected: findings.conflicts_unexpected,
        verdicts: Verdicts {
            accepted: tally.accepted,
            duplicate: tally.duplicate,
            held: tally.held,
            rejected: tally.rejected,
        },
        first_sync_bytes: alone.down().median,
        storm_phone_ms: Spread {
            median: took(&storm.reports).median / 1000,
            max: took(&storm.reports).max / 1000,
        },
        storm_bytes_max: UpDown {
            up: storm.up().max,
            down: storm.down().max,
        },
        settle_ms: ms(settle.duration),
        settle_bytes_down_per_phone: settle.down().mean,
        drafts: held.iter().map(|held| held.drafts).sum(),
        unsent: idle.unsent(),
        retries: first.retries() + storm.retries() + settle.retries() + idle.retries(),
        server_by_phase: meter.phases,
        server_rss_peak_mib_server: memory.map(|peak| round(peak.server_mib())),
        server_rss_peak_mib_postgres: memory.map(|peak| round(peak.postgres_mib())),
        store_wal_mib: on_disk.map(|(_, wal)| round(wal)),
        baseline,
    })
}

/// A fresh street with one grid that all secretaries share.
async fn prepare(
    url: &str,
    login: Login,
    phones: usize,
    lang: Lang,
) -> anyhow::Result<(Stage, Vec<Secretary>)> {
    let (code, suffix) = stage::fresh_street()?;
    let grid = Grid {
        code: GRID.into(),
        name: "全街道".into(),
        area: "全街道".into(),
    };
    let name = format!("风暴{suffix}");
    let street = NewStreet {
        code,
        name: &name,
        district: "模拟",
        grids: &[grid],
        roads: &[],
    };
    let stage = stage::set_up(url, login, &street, &suffix, lang).await?;
    let secretary = |number: usize| Secretary {
        username: format!("secretary{:02}{suffix}", number + 1),
        grids: vec![GRID.into()],
    };
    let secretaries: Vec<_> = (0..phones).map(secretary).collect();
    stage.hire(&secretaries).await?;
    Ok((stage, secretaries))
}

const GRID: &str = "01";

/// A reviewer's phone creates every card and sends them through the ordinary door. Only the sending is timed.
async fn seed(
    workload: &Workload,
    desk: &Fleet,
    lang: Lang,
) -> anyhow::Result<(Vec<RecordId>, Duration)> {
    let phone = desk.phones().first().context("the desk has no phone")?;
    let creating = bar(
        say(lang, "新建卡片", "creating cards"),
        workload.cards.len(),
    );
    let mut records = Vec::new();
    for (index, card) in workload.cards.iter().enumerate() {
        let created = phone.create_card(GRID, &mapping::creation(card, index), phone.now());
        records.push(
            created
                .with_context(|| format!("card {index} of the workload cannot be created"))?
                .record,
        );
        creating.inc(1);
    }
    creating.finish_and_clear();
    let sending = spinner(say(lang, "上传卡片", "sending the cards"));
    let round = desk.sync_all().await?;
    sending.finish_and_clear();
    let tally = round.tally();
    ensure!(
        tally.accepted as usize == records.len() && round.unsent() == 0,
        "of {} new cards the server accepted {} ({} held, {} rejected, {} unsent)",
        records.len(),
        tally.accepted,
        tally.held,
        tally.rejected,
        round.unsent()
    );
    Ok((records, round.duration))
}

fn written(workload: &Workload, records: &[RecordId]) -> Vec<Written> {
    let edits = workload.phones.iter().flat_map(|phone| {
        phone
            .edits
            .iter()
            .enumerate()
            .map(move |(number, edit)| (phone.phone, number, edit))
    });
    edits
        .flat_map(|(phone, number, edit)| {
            edit.set.iter().map(move |(field, value)| Written {
                phone,
                edit: number,
                record: records[edit.card],
                key: mapping::key(field),
                value: value.to_owned(),
            })
        })
        .collect()
}

/// Where a field has a winner only, the other values stand in the record.
async fn unlisted_values(
    reviewer: &Office,
    street: &lianka_sync_core::id::StreetCode,
    expected: &[Expected],
) -> anyhow::Result<UnlistedValues> {
    let mut values = UnlistedValues::new();
    for expected in expected.iter().filter(|expected| !expected.listed) {
        let mut of_record = reviewer.values(street.as_str(), expected.record).await?;
        values.insert(
            (expected.record, expected.key.clone()),
            of_record.remove(&expected.key).unwrap_or_default(),
        );
    }
    Ok(values)
}

impl Figures {
    /// What must hold however slow the machine is; empty where it does.
    pub fn failures(&self) -> Vec<String> {
        let promises = [
            (
                self.edits_missing == 0,
                format!("{} edits are missing", self.edits_missing),
            ),
            (
                self.conflicts_visible == self.conflicts_expected,
                format!(
                    "{} of {} conflicts are visible",
                    self.conflicts_visible, self.conflicts_expected
                ),
            ),
            (
                self.digests_equal,
                "the digests of the phones and the office differ".to_owned(),
            ),
            (
                self.unsent == 0 && self.drafts == 0,
                format!(
                    "{} changes are unsent, {} became drafts",
                    self.unsent, self.drafts
                ),
            ),
        ];
        promises
            .into_iter()
            .filter(|(kept, _)| !kept)
            .map(|(_, line)| line)
            .collect()
    }
}

fn ms(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// To a tenth.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use lianka_sync_core::id::RecordId;
    use uuid::Uuid;

    use super::*;
    use crate::workload::{Arguments, generate};

    #[test]
    fn the_workloads_own_conflicts_are_the_expected_ones() {
        let workload = generate(&Arguments {
            shops: 200,
            phones: 6,
            edits: 20,
            seed: 1,
        })
        .expect("possible");
        let records: Vec<_> = (0..200).map(|n| RecordId(Uuid::from_u128(n))).collect();
        let written = written(&workload, &records);
        assert_eq!(written.len(), workload.stats.field_writes);
        let expected = expected_conflicts(&written);
        assert_eq!(expected.len(), workload.stats.true_conflicts);
        for conflict in &workload.conflicts {
            let found = expected.iter().find(|expected| {
                expected.record == records[conflict.card]
                    && expected.key == mapping::key(&conflict.field)
            });
            let values = conflict
                .writers
                .iter()
                .map(|writer| writer.value.clone())
                .collect();
            assert_eq!(found.map(|found| &found.values), Some(&values));
        }
    }
}
