//! The soak: mixed load at half of what the machine can do, for as long as one likes, and a look at everything that might grow.
//!
//! Input: minutes. Output: [`Outcome`]: samples, verdicts, and whether every edit arrived. The server trims its log after [`Options::log_seconds`]
//! and compacts cards from a hundredth of what they may hold on, so that an hour shows what a year does.

mod load;
mod plot;
mod samples;

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use lianka_client::Phone;
use lianka_sync_core::{
    id::RecordId,
    kinds::projection::{self, Projected},
    lang::Lang,
};
use tokio::{task::JoinSet, time::interval};

pub use samples::{Judgement, Sample};

use crate::{
    fleet::{Fleet, Secretary},
    mapping,
    office::{Grid, Login},
    progress::{bar, say, spinner},
    server_process::ServerProcess,
    stage::{self, NewStreet, Stage},
    workload::{self, Arguments},
};
use load::{Load, Worker};
use samples::{Sampler, csv, judge, number};

/// Phones that work all the time; as many as a small machine can play beside the server it measures.
const PHONES: usize = 12;
pub(crate) const GRIDS: usize = 4;
/// Few, so that the busiest of them come to be compacted by themselves on a slow machine too.
const CARDS: usize = 80;
/// In percent of what a card may hold: 200 changes.
const COMPACT_PERCENT: u32 = 1;
/// The log must have been trimmed, and everything compared, so long after the load has ended.
const SETTLING_MAX: Duration = Duration::from_mins(3);

/// How to run it.
#[derive(Clone, Debug)]
pub struct Options {
    pub length: Duration,
    /// How long the capacity is measured first.
    pub measuring: Duration,
    pub sampling: Duration,
    pub log_seconds: u64,
    /// Where `soak.md` and `soak.csv` are written.
    pub write: Option<PathBuf>,
    /// As typed, for the page.
    pub command: String,
    pub lang: Lang,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub samples: Vec<Sample>,
    pub judgements: Vec<Judgement>,
    /// Cycles of phones a second: all that was possible, and what was played.
    pub capacity: f64,
    pub rate: f64,
    pub counts: Vec<(&'static str, u64)>,
    /// Values that were acknowledged and are not there.
    pub missing: Vec<String>,
    pub unsent: u64,
    pub drafts: u64,
    /// Phones whose cards are not the office's.
    pub disagreeing: Vec<usize>,
    /// Cards × compactions, and the most of one card.
    pub compactions: (i64, i32),
    /// Changes left in the log once everything was old enough to go, entries then, and records.
    pub log_left: (i64, i64, i64),
}

impl Outcome {
    /// What must hold on any machine, in any time; empty where it does.
    pub fn failures(&self) -> Vec<String> {
        let (changes, entries, records) = self.log_left;
        let promises = [
            (
                self.missing.is_empty(),
                format!(
                    "{} edits are missing: {:?}",
                    self.missing.len(),
                    self.missing.first()
                ),
            ),
            (
                self.unsent == 0,
                format!("{} changes are unsent", self.unsent),
            ),
            (
                self.drafts == 0,
                format!("{} edits became drafts", self.drafts),
            ),
            (
                self.disagreeing.is_empty(),
                format!("phones disagree with the office: {:?}", self.disagreeing),
            ),
            (
                changes == 0,
                format!("{changes} changes were not trimmed from the log"),
            ),
            (
                entries <= records,
                format!("{entries} entries of the log are left for {records} records"),
            ),
        ];
        promises
            .into_iter()
            .filter(|(kept, _)| !kept)
            .map(|(_, line)| line)
            .collect()
    }

    /// Whether everything that must be flat is.
    pub fn is_flat(&self) -> bool {
        self.judgements.iter().all(|judgement| judgement.flat)
    }

    /// The figures, for a terminal and for the page.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| over the last two thirds | mean | max | rise | |\n| --- | ---: | ---: | ---: | --- |\n",
        );
        for Judgement {
            name,
            mean,
            max,
            rise,
            flat,
        } in &self.judgements
        {
            let verdict = if *flat { "flat" } else { "NOT FLAT" };
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} | {verdict} |",
                number(*mean),
                number(*max),
                number(*rise)
            );
        }
        text
    }

    /// One line for everything that was done.
    pub fn done(&self) -> String {
        self.counts
            .iter()
            .map(|(name, n)| format!("{n} {name}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// Runs the soak until it ends, or `interrupted` does.
pub async fn run(
    options: &Options,
    interrupted: impl Future<Output = ()>,
) -> anyhow::Result<Outcome> {
    let settings = [
        ("--log-seconds", options.log_seconds.to_string()),
        ("--compact-percent", COMPACT_PERCENT.to_string()),
    ];
    let (server, login) = stage::start_server_with(None, None, &settings).await?;
    let soaked = tokio::select! {
        outcome = soak(options, &server, login) => outcome,
        () = interrupted => Err(anyhow::anyhow!("{}", say(options.lang, "已中断", "interrupted"))),
    };
    let soaked = soaked.map_err(|error| anyhow::anyhow!("{error:#}{}", server.log_tail()));
    let ended = server.stop().await;
    let outcome = soaked.and_then(|outcome| ended.map(|()| outcome))?;
    if let Some(folder) = &options.write {
        fs::write(folder.join("soak.csv"), csv(&outcome.samples))?;
        fs::write(folder.join("soak.md"), page(options, &outcome))?;
    }
    Ok(outcome)
}

async fn soak(options: &Options, server: &ServerProcess, login: Login) -> anyhow::Result<Outcome> {
    let lang = options.lang;
    let folder = tempfile::Builder::new()
        .prefix("lianka-soak-")
        .tempdir()
        .context("cannot make a folder for the phones")?;
    let (stage, secretaries) = prepare(server, login, PHONES, lang).await?;
    let urls = [server.url()];
    let enrolling = bar(say(lang, "登记手机", "enrolling phones"), PHONES);
    let fleet = Fleet::enrol(
        &stage.admin,
        &urls,
        &stage.street,
        &secretaries,
        folder.path(),
        &enrolling,
    )
    .await?;
    enrolling.finish_and_clear();
    let cards = seed_cards(&fleet, CARDS).await?;
    fleet.sync_all().await?;

    let load = Arc::new(Load {
        stage,
        url: server.url(),
        folder: folder.path().to_owned(),
        secretaries,
        counts: load::Counts::default(),
        pace: tokio::sync::Semaphore::new(0),
        paced: false.into(),
        stopping: false.into(),
        short_lived: tokio::sync::Mutex::default(),
    });
    let mut working = JoinSet::new();
    for (number, phone) in fleet.phones().iter().enumerate() {
        let worker = Worker::new(
            number,
            phone.clone(),
            grid(number).code,
            cards[number % GRIDS].clone(),
        );
        working.spawn(worker.run(Arc::clone(&load)));
    }
    let mut watch = Watch {
        sampler: Sampler::connect(server).await?,
        samples: Vec::new(),
        began: Instant::now(),
    };
    let measuring = spinner(say(lang, "测量能力", "measuring the capacity"));
    let capacity = measure(options, &load, &mut working).await?;
    measuring.finish_and_clear();
    let rate = capacity / 2.0;
    load.paced.store(true, Ordering::SeqCst);
    load.counts.take_times();

    let soaking = bar(
        say(lang, "浸泡", "soaking"),
        options.length.as_secs() as usize,
    );
    watch.began = Instant::now();
    play(
        options,
        server,
        &load,
        rate,
        &mut watch,
        &mut working,
        &soaking,
    )
    .await?;
    soaking.finish_and_clear();
    load.stopping.store(true, Ordering::SeqCst);
    load.pace.close();
    let mut workers = Vec::new();
    while let Some(worker) = working.join_next().await {
        workers.push(worker.context("a phone's task was cut off")??);
    }
    let settling = spinner(say(lang, "核对", "comparing"));
    let outcome = settle(&load, workers, watch, capacity, rate, options).await;
    settling.finish_and_clear();
    outcome
}

pub(crate) fn grid(number: usize) -> Grid {
    let number = number % GRIDS + 1;
    Grid {
        code: format!("{number:02}"),
        name: format!("网格{number}"),
        area: "全街道".into(),
    }
}

/// A street with its grids, and a secretary for each of so many phones.
pub(crate) async fn prepare(
    server: &ServerProcess,
    login: Login,
    phones: usize,
    lang: Lang,
) -> anyhow::Result<(Stage, Vec<Secretary>)> {
    let (code, suffix) = stage::fresh_street()?;
    let grids: Vec<_> = (0..GRIDS).map(grid).collect();
    let street = NewStreet {
        code,
        name: "浸泡街道",
        district: "模拟",
        grids: &grids,
        roads: &[],
    };
    let stage = stage::set_up(&server.url(), login, &street, &suffix, lang).await?;
    let secretary = |number: usize| Secretary {
        username: format!("secretary{:02}{suffix}", number + 1),
        grids: vec![grid(number).code],
    };
    let secretaries: Vec<_> = (0..phones).map(secretary).collect();
    stage.hire(&secretaries).await?;
    Ok((stage, secretaries))
}

/// The roll, made by one phone of each grid; the cards by grid.
pub(crate) async fn seed_cards(fleet: &Fleet, shops: usize) -> anyhow::Result<Vec<Vec<RecordId>>> {
    let workload = workload::generate(&Arguments {
        shops,
        phones: 2,
        edits: 2,
        seed: 20_261_123,
    })?;
    let mut cards = vec![Vec::new(); GRIDS];
    for (index, card) in workload.cards.iter().enumerate() {
        let phone = &fleet.phones()[index % GRIDS];
        let edits = mapping::creation(card, index);
        cards[index % GRIDS].push(
            phone
                .create_card(&grid(index).code, &edits, phone.now())
                .context("a card of the roll")?
                .record,
        );
    }
    fleet.sync_all().await?;
    Ok(cards)
}

/// Ends early where a worker does.
async fn measure(
    options: &Options,
    load: &Load,
    working: &mut JoinSet<anyhow::Result<Worker>>,
) -> anyhow::Result<f64> {
    // The first third warms everything up.
    lasts(options.measuring / 3, working).await?;
    let (before, began) = (load.counts.cycles.load(Ordering::Relaxed), Instant::now());
    lasts(options.measuring * 2 / 3, working).await?;
    let cycles = load.counts.cycles.load(Ordering::Relaxed) - before;
    Ok((cycles as f64 / began.elapsed().as_secs_f64()).max(1.0))
}

async fn lasts(
    time: Duration,
    working: &mut JoinSet<anyhow::Result<Worker>>,
) -> anyhow::Result<()> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        Some(ended) = working.join_next() => ended.context("a phone's task was cut off")?.and_then(|_| anyhow::bail!("a phone stopped by itself")),
    }
}

struct Watch {
    sampler: Sampler,
    samples: Vec<Sample>,
    began: Instant,
}

async fn play(
    options: &Options,
    server: &ServerProcess,
    load: &Load,
    rate: f64,
    watch: &mut Watch,
    working: &mut JoinSet<anyhow::Result<Worker>>,
    progress: &indicatif::ProgressBar,
) -> anyhow::Result<()> {
    let mut ticks = interval(Duration::from_secs_f64((1.0 / rate).clamp(0.002, 1.0)));
    let mut looks = interval(options.sampling);
    let end = tokio::time::sleep(options.length);
    tokio::pin!(end);
    let mut given = 0_f64;
    loop {
        tokio::select! {
            () = &mut end => return Ok(()),
            _ = ticks.tick() => {
                let due = (watch.began.elapsed().as_secs_f64() * rate - given).floor().max(0.0);
                given += due;
                // Whoever was late does not catch up for ever.
                let room = PHONES.saturating_sub(load.pace.available_permits());
                load.pace.add_permits((due as usize).min(room));
            }
            _ = looks.tick() => {
                let seconds = watch.began.elapsed().as_secs_f64();
                watch.samples.push(watch.sampler.look(seconds, server, &load.counts).await?);
                progress.set_position(seconds as u64);
            }
            Some(ended) = working.join_next() => {
                return ended.context("a phone's task was cut off")?.and_then(|_| anyhow::bail!("a phone stopped by itself"));
            }
        }
    }
}

async fn settle(
    load: &Load,
    mut workers: Vec<Worker>,
    mut watch: Watch,
    capacity: f64,
    rate: f64,
    options: &Options,
) -> anyhow::Result<Outcome> {
    workers.sort_by_key(|worker| worker.number);
    sync_all(&workers).await?;
    let (unsent, drafts) = sync_all(&workers).await?;
    // A card that is compacted behind a phone's last synchronisation is another generation, and so another digest, until its next one.
    let began = Instant::now();
    let (roll, disagreeing) = loop {
        let roll = load
            .stage
            .reviewer
            .cards(load.stage.street.as_str())
            .await?;
        let disagreeing: Vec<_> = workers
            .iter()
            .filter(|worker| !agrees(&worker.phone, &worker.grid, &roll))
            .map(|worker| worker.number)
            .collect();
        if disagreeing.is_empty() || began.elapsed() > SETTLING_MAX {
            break (roll, disagreeing);
        }
        sync_all(&workers).await?;
    };
    let missing = missing(&workers, &roll);
    let log_left = trimmed(&mut watch.sampler, options).await?;
    let counts = &load.counts;
    let count =
        |name, counter: &std::sync::atomic::AtomicU64| (name, counter.load(Ordering::Relaxed));
    Ok(Outcome {
        judgements: judge(&watch.samples),
        samples: watch.samples,
        capacity,
        rate,
        counts: vec![
            count("edits on phones", &counts.edits),
            count("synchronisations", &counts.syncs),
            count("edits at desks", &counts.desk),
            count("conflicts settled", &counts.settled),
            count("exports", &counts.exports),
            count("transfers and cards filed", &counts.made),
            count("erasures", &counts.erased),
            count("phones enrolled and lost", &counts.enrolled),
            count("rebases", &counts.rebased),
            count("refusals of desks", &counts.refused),
        ],
        missing,
        unsent,
        drafts,
        disagreeing,
        compactions: watch.sampler.generations().await?,
        log_left,
    })
}

/// Edits that were not sent, and drafts, on all phones together.
async fn sync_all(workers: &[Worker]) -> anyhow::Result<(u64, u64)> {
    let (mut unsent, mut drafts) = (0, 0);
    for worker in workers {
        let report =
            worker.phone.sync().await.map_err(|error| {
                anyhow::anyhow!("phone {:02} in the end: {error}", worker.number)
            })?;
        unsent += report.unsent;
        drafts += report.drafts;
    }
    Ok((unsent, drafts))
}

fn missing(workers: &[Worker], roll: &BTreeMap<RecordId, Projected>) -> Vec<String> {
    let column = |record: &RecordId, key: &str| match roll.get(record) {
        Some(Projected::ShopCard(card)) => {
            card.custom.get(key.trim_start_matches("custom/")).cloned()
        }
        _ => None,
    };
    workers
        .iter()
        .flat_map(|worker| worker.ledger.iter().chain(&worker.desk_ledger))
        .filter(|((record, key), value)| {
            column(record, key).as_deref() != Some(value.to_string().as_str())
        })
        .map(|((record, key), value)| {
            format!(
                "{record} {key} = {value}, and the office has {:?}",
                column(record, key)
            )
        })
        .collect()
}

/// Whether the phone's cards of a grid are the office's.
pub(crate) fn agrees(phone: &Phone, grid: &str, roll: &BTreeMap<RecordId, Projected>) -> bool {
    let is_card = |row: &&Projected| matches!(row, Projected::ShopCard(card) if card.grid == grid);
    let Ok(own) = phone.project_all() else {
        return false;
    };
    projection::digest(own.iter().filter(is_card))
        == projection::digest(roll.values().filter(is_card))
}

/// Waits until the log was trimmed whole: its last change is old enough `log_seconds` after the load, and one more sweep takes it. Where the log is
/// kept for longer, what is left must be no more than it was.
async fn trimmed(sampler: &mut Sampler, options: &Options) -> anyhow::Result<(i64, i64, i64)> {
    let began = Instant::now();
    let limit = SETTLING_MAX + Duration::from_secs(options.log_seconds) * 2;
    let mut look = interval(Duration::from_millis(500));
    loop {
        look.tick().await;
        let changes = sampler.log_changes().await?;
        let (entries, records) = sampler.log_and_records().await?;
        if (changes == 0 && entries <= records) || began.elapsed() > limit {
            return Ok((changes, entries, records));
        }
    }
}

fn length(time: Duration) -> String {
    if time.as_secs() >= 120 {
        format!("{} minutes", time.as_secs() / 60)
    } else {
        format!("{} s", time.as_secs())
    }
}

/// Processor, cores and memory, as Linux tells them.
fn machine() -> String {
    let read = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().find_map(|line| {
            line.strip_prefix(key)?
                .split_once(':')
                .map(|(_, value)| value.trim().to_owned())
        })
    };
    let processor =
        read("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = read("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    format!(
        "{processor}, {cores} cores, {:.0} GiB",
        memory.unwrap_or_default() / 1_048_576.0
    )
}

fn page(options: &Options, outcome: &Outcome) -> String {
    let verdict = if outcome.is_flat() {
        "flat"
    } else {
        "NOT flat: see the table"
    };
    let lost = if outcome.failures().is_empty() {
        "none".to_owned()
    } else {
        outcome.failures().join("; ")
    };
    let (compactions, most) = outcome.compactions;
    let audit = outcome
        .samples
        .last()
        .map_or(0.0, |sample| sample.audit_mib);
    format!(
        "# Soak

`{command}` wrote this page and [soak.csv](soak.csv); the short form runs with the tests.

Verdict: **{verdict}**. Edits lost: **{lost}**.

Machine: {machine}. It played the phones as well, and other work ran beside it, so the latencies are an upper bound.

The load: {phones} phones on {cards} cards in {grids} grids, {rate:.1} cycles a second, half of the {capacity:.1} that the same mix reaches without a
pace. Of 1000 cycles 911 are three edits of a phone and a synchronisation, 45 an edit at a desk, 30 the settling of a conflict, 8 an export of the
roll, one a new card or transfer with an erasure by the office, 5 a phone that is enrolled, takes everything and is lost. Done: {done}.

The log was kept for {log} s instead of 30 days, and cards were compacted from {changes} changes on instead of 10,000, so that {length} show what years
do: {compactions} compactions, at most {most} of one card. After the load the log was trimmed to {entries} entries for {records} records.

{table}
A series is flat where the straight line through its last two thirds rises by a tenth of the mean at most, or by no more than it comes and goes in
any case (8 MiB of the server's memory, 16 MiB of what Postgres' processes hold for themselves, 8 files, 4 connections, 500 entries, 2 MiB of tables, 5000 dead rows).

Not judged is Postgres' buffer cache, which has a bound (`shared_buffers`, 128 MB) and fills up to it; and, because it is to be kept, the audit
trail, which grew to {audit:.1} MiB, and what was settled, erased and enrolled. Every phone writes a
column of its own on every card, and every desk too: its last value is there in the end, across trimming and compaction, and every phone's cards
have the office's digest.

{charts}",
        command = options.command,
        machine = machine(),
        phones = PHONES,
        cards = CARDS,
        grids = GRIDS,
        rate = outcome.rate,
        capacity = outcome.capacity,
        done = outcome.done(),
        log = options.log_seconds,
        changes = lianka_sync_core::limits::RECORD_CHANGES_MAX * COMPACT_PERCENT as usize / 100,
        length = length(options.length),
        entries = outcome.log_left.1,
        records = outcome.log_left.2,
        table = outcome.table(),
        charts = plot::charts(&outcome.samples).trim_end().to_owned() + "\n",
    )
}

/// Options for so many minutes.
pub fn options(
    minutes: f64,
    write: Option<PathBuf>,
    command: String,
    lang: Lang,
) -> anyhow::Result<Options> {
    ensure!(
        (0.05..=7.0 * 24.0 * 60.0).contains(&minutes),
        "a soak lasts from three seconds to a week"
    );
    let length = Duration::from_secs_f64(minutes * 60.0);
    let is_short = minutes < 10.0;
    Ok(Options {
        length,
        measuring: if is_short {
            Duration::from_secs(3)
        } else {
            Duration::from_mins(1)
        },
        sampling: if is_short {
            Duration::from_millis(500)
        } else {
            Duration::from_secs(10)
        },
        log_seconds: if is_short { 2 } else { 60 },
        write,
        command,
        lang,
    })
}
