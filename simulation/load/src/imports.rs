//! Imports and exports, measured: a roll of invented shops is read, proposed, written, exported and taken back, while phones are at rest and while
//! they work.
//!
//! Input: how many rows. Output: [`Figures`]: medians, ratios to reading the file alone in the same run, and the server's greatest memory in each
//! phase. The phones have a grid of their own, so that what they are sent does not grow with the import: what is measured is whether they wait.

mod sheet;

use std::{
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use lianka_client::Phone;
use lianka_server::roll::sheet::{KnownGrid, Roll, RollLimits, StreetTables};
use lianka_sync_core::{crdt::record::Edit, id::RecordId, lang::Lang};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{process::Command, task::JoinSet};

use crate::{
    draw::Draw,
    fleet::{Fleet, Secretary},
    office::{Grid, Login},
    progress::{bar, say, spinner},
    roll,
    server_process::ServerProcess,
    stage::{self, NewStreet, Stage},
};

/// The phones' grid, which the roll does not have.
const GRID: &str = "手机01";
const CARDS_A_PHONE: usize = 20;
/// A phone edits, synchronises, and looks up again.
const EDITS_A_CYCLE: usize = 2;
const BETWEEN_CYCLES: Duration = Duration::from_millis(100);

/// How to measure.
#[derive(Clone, Debug)]
pub struct Options {
    pub rows: usize,
    /// How often each phase is measured.
    pub runs: usize,
    pub phones: usize,
    /// How long phones work while nothing is imported.
    pub rest: Duration,
    pub lang: Lang,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub rows: usize,
    pub file_bytes: usize,
    pub runs: usize,
    /// Reading the file in a process of its own: median, and the process' memory at its peak.
    pub read_ms: f64,
    pub read_peak_mib: f64,
    /// The server before anything is imported.
    pub rest_mib: f64,
    pub proposal: Phase,
    pub apply: Phase,
    pub export_xlsx: Phase,
    pub export_csv: Phase,
    pub undo: Phase,
    /// An apply while phones work.
    pub apply_with_phones: Phase,
    pub phones: usize,
    /// What a phone's synchronisation takes.
    pub sync_at_rest: Latency,
    pub sync_during_apply: Latency,
    pub p99_ratio: f64,
}

/// One phase.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Phase {
    /// Median.
    pub ms: f64,
    /// Of that to reading the file alone.
    pub to_reading: f64,
    pub rows_a_second: f64,
    /// Processor time of the last run.
    pub server_cpu_ms: u64,
    pub postgres_cpu_ms: u64,
    /// The server's greatest memory in any run, and how much that is more than at its beginning.
    pub peak_mib: f64,
    pub more_mib: f64,
}

/// How long synchronisations took.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    pub count: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Latency {
    fn of(mut micros: Vec<u64>) -> Self {
        micros.sort_unstable();
        let at = |part: f64| {
            let place = ((micros.len() as f64 * part) as usize).min(micros.len().saturating_sub(1));
            micros
                .get(place)
                .map_or(0.0, |us| round(*us as f64 / 1_000.0))
        };
        Self {
            count: micros.len(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            max_ms: at(1.0),
        }
    }
}

impl Figures {
    /// The aims that these figures miss, in words.
    pub fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        let mut aim = |what: &str, is: f64, at_most: f64| {
            if is > at_most {
                missed.push(format!("{what}: {is:.1}, at most {at_most}"));
            }
        };
        if self.rows <= 1_600 {
            aim("a proposal of 1,600 rows, ms", self.proposal.ms, 500.0);
        } else if self.rows >= 100_000 {
            aim("a proposal of 100,000 rows, ms", self.proposal.ms, 20_000.0);
        }
        aim("a proposal, MiB", self.proposal.peak_mib, 200.0);
        aim(
            "an export as a workbook, MiB more",
            self.export_xlsx.more_mib,
            60.0,
        );
        aim(
            "an export as text, MiB more",
            self.export_csv.more_mib,
            60.0,
        );
        aim(
            "3,000 / rows a second of an apply",
            3_000.0 / self.apply.rows_a_second.max(1.0),
            1.0,
        );
        aim(
            "p99 of phones during an apply, to that at rest",
            self.p99_ratio,
            4.0,
        );
        missed
    }
}

/// What reading a file alone took.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReadAlone {
    pub ms: f64,
    pub rows: usize,
    pub peak_mib: f64,
}

/// Reads a roll and lets every row go, as a proposal does: in a process of its own.
pub fn read_alone(file: &Path) -> anyhow::Result<ReadAlone> {
    let grids = sheet::grids();
    let known: Vec<_> = grids
        .iter()
        .map(|grid| KnownGrid {
            code: &grid.code,
            name: &grid.name,
            area: &grid.area,
        })
        .collect();
    let street = StreetTables {
        roads: &roll::ROADS,
        grids: &known,
        now: None,
    };
    let begun = Instant::now();
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let found = Roll::open(&bytes, &RollLimits::default());
    drop(bytes);
    let found = found.map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut rows = 0;
    found.parts(&street, |part| {
        rows += part.rows.len();
        std::ops::ControlFlow::Continue(())
    });
    Ok(ReadAlone {
        ms: ms(begun.elapsed()),
        rows,
        peak_mib: crate::server_process::own_peak_mib(),
    })
}

/// Measures, until it ends or `interrupted` does.
pub async fn run(
    options: &Options,
    interrupted: impl Future<Output = ()>,
) -> anyhow::Result<Figures> {
    ensure!(
        options.runs > 0 && options.rows > 0,
        "at least one row, at least one run"
    );
    tokio::pin!(interrupted);
    let stopped = || anyhow::anyhow!("{}", say(options.lang, "已中断", "interrupted"));
    let (server, login) = tokio::select! {
        started = stage::start_server(None, None) => started?,
        () = &mut interrupted => return Err(stopped()),
    };
    let measured = tokio::select! {
        figures = measure(options, &server, login) => figures,
        () = &mut interrupted => Err(stopped()),
    };
    let measured = measured.map_err(|error| anyhow::anyhow!("{error:#}{}", server.log_tail()));
    let ended = server.stop().await;
    measured.and_then(|figures| ended.map(|()| figures))
}

async fn measure(
    options: &Options,
    server: &ServerProcess,
    login: Login,
) -> anyhow::Result<Figures> {
    let Options {
        rows, runs, lang, ..
    } = *options;
    let folder = tempfile::Builder::new()
        .prefix("lianka-imports-")
        .tempdir()
        .context("cannot make a folder")?;
    let file = sheet::workbook(rows)?;
    let path = folder.path().join("roll.xlsx");
    std::fs::write(&path, &file)?;
    let reading = spinner(say(lang, "只读文件", "reading the file alone"));
    let mut alone = Vec::new();
    for _ in 0..runs {
        alone.push(in_a_process(&path).await?);
    }
    reading.finish_and_clear();
    ensure!(
        alone.iter().all(|read| read.rows == rows),
        "of {rows} rows {} were read",
        alone[0].rows
    );
    let read_ms = median(alone.iter().map(|read| read.ms).collect());

    let (stage, fleet) = prepare(options, server, login, folder.path()).await?;
    let phones = Phones::of(&fleet)?;
    let rest_mib = mib(server.holding().server_kib);
    let meter = Meter {
        server,
        rows,
        read_ms,
    };
    let mut office = Desk {
        stage: &stage,
        file: &file,
    };
    let working = spinner(say(lang, "导入、导出、撤销", "imports, exports, undoing"));

    let mut proposals = Vec::new();
    let mut import = Value::Null;
    for _ in 0..runs {
        if import.is_string() {
            office.discard(&import).await?;
        }
        let (taken, proposed) = meter.phase(office.propose()).await?;
        ensure!(
            proposed["outcomes"]["new"] == rows,
            "of {rows} rows {} are new",
            proposed["outcomes"]
        );
        import = proposed["import"].clone();
        proposals.push(taken);
    }
    let (mut applies, mut undos) = (Vec::new(), Vec::new());
    let (mut workbooks, mut texts) = (Vec::new(), Vec::new());
    for run in 0..runs {
        applies.push(meter.phase(office.work(&import, "apply")).await?.0);
        if run == 0 {
            for _ in 0..runs {
                workbooks.push(meter.phase(office.export("xlsx")).await?.0);
                texts.push(meter.phase(office.export("csv")).await?.0);
            }
        }
        undos.push(meter.phase(office.work(&import, "undo")).await?.0);
        import = office.propose().await?["import"].clone();
    }
    working.finish_and_clear();

    let working = spinner(say(lang, "手机同步", "phones at work"));
    let at_rest = phones.work_while(tokio::time::sleep(options.rest)).await?.0;
    let (during, taken) = phones
        .work_while(meter.phase(office.work(&import, "apply")))
        .await?;
    working.finish_and_clear();
    let with_phones = taken?.0;
    let cards = stage.reviewer.card_count(stage.street.as_str()).await?;
    let own = options.phones * CARDS_A_PHONE;
    ensure!(
        cards == rows + own,
        "the street has {cards} cards, not {rows} and {own}"
    );

    let (at_rest, during) = (Latency::of(at_rest), Latency::of(during));
    Ok(Figures {
        rows,
        file_bytes: file.len(),
        runs,
        read_ms,
        read_peak_mib: median(alone.iter().map(|read| read.peak_mib).collect()),
        rest_mib: round(rest_mib),
        proposal: meter.sum(&proposals),
        apply: meter.sum(&applies),
        export_xlsx: meter.sum(&workbooks),
        export_csv: meter.sum(&texts),
        undo: meter.sum(&undos),
        apply_with_phones: meter.sum(&[with_phones]),
        phones: options.phones,
        sync_at_rest: at_rest,
        sync_during_apply: during,
        p99_ratio: round(during.p99_ms / at_rest.p99_ms.max(0.001)),
    })
}

/// Reads the file with this very program, started anew.
async fn in_a_process(file: &Path) -> anyhow::Result<ReadAlone> {
    let own = std::env::current_exe().context("cannot tell where this program lies")?;
    let output = Command::new(own)
        .args(["imports", "--read-alone"])
        .arg(file)
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(output.status.success(), "the file cannot be read alone");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A street with the roll's grids, and phones with cards in a grid of their own.
async fn prepare(
    options: &Options,
    server: &ServerProcess,
    login: Login,
    folder: &Path,
) -> anyhow::Result<(Stage, Fleet)> {
    let (code, suffix) = stage::fresh_street()?;
    let mut grids = sheet::grids();
    grids.push(Grid {
        code: GRID.into(),
        name: GRID.into(),
        area: "手机".into(),
    });
    let street = NewStreet {
        code,
        name: "天平路街道",
        district: "模拟",
        grids: &grids,
        roads: &roll::ROADS.map(str::to_owned),
    };
    let url = server.url();
    let stage = stage::set_up(&url, login, &street, &suffix, options.lang).await?;
    let secretaries: Vec<_> = (0..options.phones)
        .map(|number| Secretary {
            username: format!("secretary{:02}{suffix}", number + 1),
            grids: vec![GRID.into()],
        })
        .collect();
    stage.hire(&secretaries).await?;
    let enrolling = bar(
        say(options.lang, "登记手机", "enrolling phones"),
        options.phones,
    );
    let fleet = Fleet::enrol(
        &stage.admin,
        &[url],
        &stage.street,
        &secretaries,
        folder,
        &enrolling,
    )
    .await?;
    enrolling.finish_and_clear();
    Ok((stage, fleet))
}

/// What the office asks for.
struct Desk<'s> {
    stage: &'s Stage,
    file: &'s [u8],
}

impl Desk<'_> {
    fn path(&self, rest: &str) -> String {
        format!("/v1/streets/{}/{rest}", self.stage.street)
    }

    async fn propose(&mut self) -> anyhow::Result<Value> {
        self.stage
            .reviewer
            .post_sheet(&self.path("imports"), self.file)
            .await
    }

    async fn discard(&mut self, import: &Value) -> anyhow::Result<()> {
        let path = self.path(&format!("imports/{}", import.as_str().unwrap_or_default()));
        self.stage.reviewer.delete(&path).await
    }

    /// Writes an import, or takes it back, until all of it is done.
    async fn work(&self, import: &Value, what: &str) -> anyhow::Result<()> {
        let path = self.path(&format!(
            "imports/{}/{what}",
            import.as_str().unwrap_or_default()
        ));
        loop {
            let stands = self.stage.reviewer.post(&path, json!({})).await?;
            match stands["status"].as_str() {
                Some("applying" | "undoing") => {}
                Some("applied" | "undone") => return Ok(()),
                _ => anyhow::bail!("{what}: the import stands at {}", stands["status"]),
            }
        }
    }

    async fn export(&self, ending: &str) -> anyhow::Result<usize> {
        self.stage
            .reviewer
            .download(&self.path(&format!("cards.{ending}")))
            .await
    }
}

/// What one run of a phase took.
#[derive(Clone, Copy)]
struct Taken {
    time: Duration,
    server_cpu_ms: u64,
    postgres_cpu_ms: u64,
    before_kib: u64,
    peak_kib: u64,
}

/// Looks at the server before and after.
struct Meter<'s> {
    server: &'s ServerProcess,
    rows: usize,
    read_ms: f64,
}

impl Meter<'_> {
    async fn phase<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(Taken, T)> {
        let cost = self.server.cost();
        self.server.forget_peak();
        let before_kib = self.server.holding().server_kib;
        let begun = Instant::now();
        let done = work.await?;
        let time = begun.elapsed();
        let used = self.server.cost().since(cost);
        let taken = Taken {
            time,
            server_cpu_ms: used.server_cpu_ms,
            postgres_cpu_ms: used.postgres_cpu_ms,
            before_kib,
            peak_kib: self.server.peak_kib(),
        };
        Ok((taken, done))
    }

    fn sum(&self, runs: &[Taken]) -> Phase {
        let took = median(runs.iter().map(|run| ms(run.time)).collect());
        let last = runs.last();
        Phase {
            ms: took,
            to_reading: round(took / self.read_ms.max(0.001)),
            rows_a_second: round(self.rows as f64 * 1_000.0 / took.max(0.001)),
            server_cpu_ms: last.map_or(0, |run| run.server_cpu_ms),
            postgres_cpu_ms: last.map_or(0, |run| run.postgres_cpu_ms),
            peak_mib: round(mib(runs.iter().map(|run| run.peak_kib).max().unwrap_or(0))),
            more_mib: round(mib(runs
                .iter()
                .map(|run| run.peak_kib.saturating_sub(run.before_kib))
                .max()
                .unwrap_or(0))),
        }
    }
}

/// Phones with cards to work on.
struct Phones(Vec<(Phone, Vec<RecordId>)>);

impl Phones {
    fn of(fleet: &Fleet) -> anyhow::Result<Self> {
        let with_cards = |phone: &Phone| {
            let cards = (0..CARDS_A_PHONE).map(|number| {
                let edits = [
                    Edit::set("sign_name", &format!("走访店{number}")),
                    Edit::set("address_raw", &format!("天平路{}号", number + 1)),
                ];
                Ok(phone.create_card(GRID, &edits, phone.now())?.record)
            });
            Ok((phone.clone(), cards.collect::<anyhow::Result<Vec<_>>>()?))
        };
        Ok(Self(
            fleet
                .phones()
                .iter()
                .map(with_cards)
                .collect::<anyhow::Result<_>>()?,
        ))
    }

    /// Lets them work until something else is done; what each of their synchronisations took, in microseconds.
    async fn work_while<T>(&self, other: impl Future<Output = T>) -> anyhow::Result<(Vec<u64>, T)> {
        let stopping = Arc::new(AtomicBool::new(false));
        let mut running = JoinSet::new();
        for (number, (phone, cards)) in self.0.iter().cloned().enumerate() {
            running.spawn(cycles(number, phone, cards, Arc::clone(&stopping)));
        }
        let done = other.await;
        stopping.store(true, Ordering::SeqCst);
        let mut took = Vec::new();
        while let Some(phone) = running.join_next().await {
            took.extend(phone.context("a phone's task was cut off")??);
        }
        Ok((took, done))
    }
}

async fn cycles(
    number: usize,
    phone: Phone,
    cards: Vec<RecordId>,
    stopping: Arc<AtomicBool>,
) -> anyhow::Result<Vec<u64>> {
    let mut draw = Draw::new(number as u32 + 1);
    // What it brings the first time is no measure of its everyday.
    phone.sync().await.context("a phone cannot synchronise")?;
    let (mut took, mut count) = (Vec::new(), 0);
    while !stopping.load(Ordering::SeqCst) {
        let edits: Vec<_> = (0..EDITS_A_CYCLE).map(|_| draw.pick(&cards)).collect();
        let editing = phone.clone();
        count += 1;
        let edit = move || -> anyhow::Result<()> {
            for card in edits {
                let text = format!("早{}点到晚{}点，第{count}次", count % 12, count % 11);
                editing.edit(card, &[Edit::set("opening_hours", &text)], editing.now())?;
            }
            Ok(())
        };
        tokio::task::spawn_blocking(edit).await??;
        let report = phone.sync().await.context("a phone cannot synchronise")?;
        took.push(report.duration.as_micros() as u64);
        tokio::time::sleep(BETWEEN_CYCLES).await;
    }
    Ok(took)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().map_or(0.0, round)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1_024.0
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_slowest_hundredth() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        let latency = Latency::of((1..=1_000).map(|ms| ms * 1_000).collect());
        assert_eq!(latency.count, 1_000);
        assert!(
            latency.p50_ms > 499.0 && latency.p99_ms > 989.0 && latency.p99_ms < latency.max_ms
        );
    }
}
