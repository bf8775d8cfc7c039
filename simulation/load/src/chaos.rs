//! Chaos: real processes behind a proxy that misbehaves, killed with -9 at random moments; then quiet, and nothing may be missing.
//!
//! Input: minutes and a seed. Output: [`Outcome`]. The server, its Postgres and every phone (`lianka-phone`, one process an action) are
//! killed while they work. Each phone writes a column of its own on every card of its grid, with growing numbers: nobody else writes it, so in
//! the end the office must show at least the last number whose saving the phone confirmed, and no number that it never tried. Liveness: after
//! quiet every outbox is empty within [`QUIET_SYNCS_MAX`] synchronisations.

mod proxy;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use lianka_client::Phone;
use lianka_sync_core::{id::RecordId, kinds::projection::Projected, lang::Lang};
use tokio::{process::Command, task::JoinSet, time::sleep};

use crate::{
    draw::Draw,
    fleet::Fleet,
    office::Login,
    progress::{bar, say, spinner},
    server_process::{ServerProcess, program},
    soak::{GRIDS, agrees, grid, prepare, seed_cards},
    stage,
};
use proxy::Proxy;

const PHONES: usize = 6;
const CARDS: usize = 24;
/// Synchronisations within which every outbox is empty once everything is well again: one that was under way when the server died may
/// have to be sent again, what was refused is written anew, and one more says that nothing is left.
pub const QUIET_SYNCS_MAX: u32 = 3;
/// An action that does not end in this time hangs, which is a finding of its own.
const ACTION_TIME_MAX: Duration = Duration::from_mins(3);
const DISTURBANCE_PAUSE_MS: (usize, usize) = (1_500, 5_000);

/// How to run it.
#[derive(Clone, Debug)]
pub struct Options {
    pub length: Duration,
    pub seed: u32,
    pub lang: Lang,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    pub counts: Vec<(&'static str, u64)>,
    /// Numbers that a phone had confirmed, and that the office does not show, or shows without anybody having written them.
    pub wrong: Vec<String>,
    /// Phones with something unsent after [`QUIET_SYNCS_MAX`] synchronisations.
    pub unsent: Vec<usize>,
    /// Synchronisations that the slowest phone needed.
    pub syncs_needed: u32,
    pub drafts: u64,
    pub disagreeing: Vec<usize>,
    /// Actions of phones that did not end.
    pub hung: u64,
}

impl Outcome {
    /// What must hold; empty where it does.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = self.wrong.clone();
        if !self.unsent.is_empty() {
            failures.push(format!(
                "phones {:?} still hold unsent edits after {QUIET_SYNCS_MAX} synchronisations in quiet",
                self.unsent
            ));
        }
        if self.drafts > 0 {
            failures.push(format!("{} edits became drafts", self.drafts));
        }
        if !self.disagreeing.is_empty() {
            failures.push(format!(
                "phones {:?} disagree with the office",
                self.disagreeing
            ));
        }
        if self.hung > 0 {
            failures.push(format!(
                "{} actions of phones did not end within {} s",
                self.hung,
                ACTION_TIME_MAX.as_secs()
            ));
        }
        failures
    }
}

#[derive(Default)]
struct Counts {
    saved: AtomicU64,
    syncs: AtomicU64,
    syncs_failed: AtomicU64,
    phones_killed: AtomicU64,
    servers_killed: AtomicU64,
    postgres_killed: AtomicU64,
    hung: AtomicU64,
}

/// The last number that a phone tried to write, and the last one that it confirmed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Column {
    tried: u64,
    confirmed: u64,
}

/// Runs it until it ends, or `interrupted` does.
pub async fn run(
    options: &Options,
    interrupted: impl Future<Output = ()>,
) -> anyhow::Result<Outcome> {
    let (mut server, login) = stage::start_server(None, None).await?;
    let ran = tokio::select! {
        outcome = chaos(options, &mut server, login) => outcome,
        () = interrupted => Err(anyhow::anyhow!("{}", say(options.lang, "已中断", "interrupted"))),
    };
    let ran = ran.map_err(|error| anyhow::anyhow!("{error:#}{}", server.log_tail()));
    let ended = server.stop().await;
    ran.and_then(|outcome| ended.map(|()| outcome))
}

async fn chaos(
    options: &Options,
    server: &mut ServerProcess,
    login: Login,
) -> anyhow::Result<Outcome> {
    let lang = options.lang;
    let folder = tempfile::Builder::new()
        .prefix("lianka-chaos-")
        .tempdir()
        .context("cannot make a folder for the phones")?;
    let proxy = Proxy::start(server.address(), options.seed)
        .await
        .context("the proxy cannot listen")?;
    let (stage, secretaries) = prepare(server, login, PHONES, lang).await?;
    let enrolling = bar(say(lang, "登记手机", "enrolling phones"), PHONES);
    let fleet = Fleet::enrol(
        &stage.admin,
        &[proxy.url()],
        &stage.street,
        &secretaries,
        folder.path(),
        &enrolling,
    )
    .await?;
    enrolling.finish_and_clear();
    let cards = seed_cards(&fleet, CARDS).await?;
    fleet.sync_all().await?;
    let files: Vec<PathBuf> = fleet
        .phones()
        .iter()
        .map(|phone| phone.path().to_owned())
        .collect();
    // From here on the files belong to processes of their own.
    drop(fleet);

    let counts = Arc::new(Counts::default());
    let stopping = Arc::new(AtomicBool::new(false));
    let phone_program = program("lianka-phone")?;
    let mut working = JoinSet::new();
    for (number, file) in files.iter().enumerate() {
        working.spawn(work(Worker {
            number,
            program: phone_program.clone(),
            file: file.clone(),
            cards: cards[number % GRIDS].clone(),
            draw: Draw::new(options.seed.wrapping_mul(31).wrapping_add(number as u32)),
            counts: Arc::clone(&counts),
            stopping: Arc::clone(&stopping),
            columns: BTreeMap::new(),
        }));
    }
    proxy.set_calm(false);
    disturb(options, server, &counts).await?;
    stopping.store(true, Ordering::SeqCst);
    proxy.set_calm(true);

    let waiting = spinner(say(
        lang,
        "等待手机停下并核对",
        "waiting for the phones, and comparing",
    ));
    let mut written: Vec<(usize, Columns)> = Vec::new();
    while let Some(worker) = working.join_next().await {
        written.push(worker.context("a phone's task was cut off")??);
    }
    let mut outcome = settle(&files, &stage, &written).await?;
    waiting.finish_and_clear();
    let faults = proxy.faults();
    let count = |name, counter: &AtomicU64| (name, counter.load(Ordering::Relaxed));
    outcome.hung = counts.hung.load(Ordering::Relaxed);
    outcome.counts = vec![
        count("edits saved", &counts.saved),
        count("synchronisations", &counts.syncs),
        count("synchronisations that failed", &counts.syncs_failed),
        count("phones killed", &counts.phones_killed),
        count("servers killed", &counts.servers_killed),
        count("Postgres killed", &counts.postgres_killed),
        count("connections", &faults.connections),
        count("refused", &faults.refused),
        count("delayed", &faults.delayed),
        count("cut", &faults.cut),
        count("half-open", &faults.half_open),
        count("overtaken", &faults.overtaken),
    ];
    Ok(outcome)
}

/// Kills server and Postgres at random moments until the time is over; in the end the server runs.
async fn disturb(
    options: &Options,
    server: &mut ServerProcess,
    counts: &Counts,
) -> anyhow::Result<()> {
    let mut draw = Draw::new(options.seed ^ 0x5EED);
    let began = Instant::now();
    let progress = bar(
        say(options.lang, "混乱", "chaos"),
        options.length.as_secs() as usize,
    );
    while began.elapsed() < options.length {
        let (least, most) = DISTURBANCE_PAUSE_MS;
        let pause = Duration::from_millis((least + draw.int(most - least)) as u64);
        sleep(pause.min(options.length.saturating_sub(began.elapsed()))).await;
        progress.set_position(began.elapsed().as_secs());
        if draw.int(2) == 0 {
            server.kill().await?;
            sleep(Duration::from_millis(draw.int(500) as u64)).await;
            server.start_again().await?;
            counts.servers_killed.fetch_add(1, Ordering::Relaxed);
        } else if server.kill_postgres()? {
            counts.postgres_killed.fetch_add(1, Ordering::Relaxed);
        }
        ensure!(
            server.ended().is_none(),
            "the server ended by itself{}",
            server.log_tail()
        );
    }
    progress.finish_and_clear();
    server.wait_ready().await
}

type Columns = BTreeMap<RecordId, Column>;

struct Worker {
    number: usize,
    program: PathBuf,
    file: PathBuf,
    cards: Vec<RecordId>,
    draw: Draw,
    counts: Arc<Counts>,
    stopping: Arc<AtomicBool>,
    columns: Columns,
}

/// Edits and synchronises, one process after the other.
async fn work(mut worker: Worker) -> anyhow::Result<(usize, Columns)> {
    while !worker.stopping.load(Ordering::SeqCst) {
        if worker.draw.int(10) < 6 {
            worker.edit().await?;
        } else {
            worker.sync().await?;
        }
    }
    Ok((worker.number, worker.columns))
}

/// How a process of a phone ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Well,
    Failed,
    Killed,
}

impl Worker {
    async fn edit(&mut self) -> anyhow::Result<()> {
        let card = self.draw.pick(&self.cards);
        let column = self.columns.entry(card).or_default();
        column.tried += 1;
        let tried = column.tried;
        let field = format!("custom/{}={tried}", column_name(self.number));
        let kill_after = (self.draw.int(6) == 0).then(|| self.draw.int(40));
        let done = self
            .run(&["set", &card.to_string(), &field], kill_after)
            .await?;
        match done {
            Done::Well => {
                if let Some(column) = self.columns.get_mut(&card) {
                    column.confirmed = tried;
                }
                self.counts.saved.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Done::Killed => Ok(()),
            Done::Failed => anyhow::bail!("phone {}: an edit was not saved", self.number),
        }
    }

    async fn sync(&mut self) -> anyhow::Result<()> {
        let kill_after = (self.draw.int(4) == 0).then(|| self.draw.int(400));
        let counter = match self.run(&["sync"], kill_after).await? {
            Done::Well => &self.counts.syncs,
            Done::Failed => &self.counts.syncs_failed,
            Done::Killed => return Ok(()),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Runs `lianka-phone`, and kills it after so many milliseconds where it still runs.
    async fn run(&self, arguments: &[&str], kill_after: Option<usize>) -> anyhow::Result<Done> {
        let mut child = Command::new(&self.program)
            .args(["--lang", "en", "--store"])
            .arg(&self.file)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let timeout = kill_after.map_or(ACTION_TIME_MAX, |ms| Duration::from_millis(ms as u64));
        if let Ok(ended) = tokio::time::timeout(timeout, child.wait()).await {
            return Ok(if ended?.success() {
                Done::Well
            } else {
                Done::Failed
            });
        }
        child
            .kill()
            .await
            .context("a phone's process cannot be killed")?;
        let counter = if kill_after.is_some() {
            &self.counts.phones_killed
        } else {
            &self.counts.hung
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(Done::Killed)
    }
}

fn column_name(phone: usize) -> String {
    format!("手机{:02}", phone + 1)
}

/// Everything is well again: all phones synchronise, and what they wrote is looked for.
async fn settle(
    files: &[PathBuf],
    stage: &stage::Stage,
    written: &[(usize, Columns)],
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let phones = files
        .iter()
        .map(|file| Phone::open(file).context("a phone's file cannot be opened"))
        .collect::<anyhow::Result<Vec<_>>>()?;
    for (number, phone) in phones.iter().enumerate() {
        let mut left = true;
        for nth in 1..=QUIET_SYNCS_MAX {
            let report = phone
                .sync()
                .await
                .map_err(|error| anyhow::anyhow!("phone {number} in quiet: {error}"))?;
            outcome.syncs_needed = outcome.syncs_needed.max(nth);
            left = report.unsent > 0;
            if !left {
                break;
            }
        }
        if left {
            outcome.unsent.push(number);
        }
    }
    // What the others sent last.
    for phone in &phones {
        let report = phone.sync().await?;
        outcome.drafts += report.drafts;
    }
    let roll = stage.reviewer.cards(stage.street.as_str()).await?;
    for (number, phone) in phones.iter().enumerate() {
        if !agrees(phone, &grid(number).code, &roll) {
            outcome.disagreeing.push(number);
        }
    }
    for (number, columns) in written {
        for (card, column) in columns {
            let shown = shown(&roll, *card, &column_name(*number));
            if !is_right(*column, shown) {
                outcome.wrong.push(format!(
                    "phone {number} confirmed {} of {} on {card}, and the office shows {shown:?}",
                    column.confirmed, column.tried
                ));
            }
        }
    }
    Ok(outcome)
}

fn shown(roll: &BTreeMap<RecordId, Projected>, card: RecordId, column: &str) -> Option<u64> {
    match roll.get(&card)? {
        Projected::ShopCard(row) => row.custom.get(column)?.parse().ok(),
        _ => None,
    }
}

/// An edit whose phone was killed may have been saved or not; a confirmed one is there, or a later one in its place.
fn is_right(column: Column, shown: Option<u64>) -> bool {
    let shown = shown.unwrap_or(0);
    column.confirmed <= shown && shown <= column.tried
}

/// Options for so many minutes.
pub fn options(minutes: f64, seed: u32, lang: Lang) -> anyhow::Result<Options> {
    ensure!(
        (0.1..=24.0 * 60.0).contains(&minutes),
        "chaos lasts from six seconds to a day"
    );
    Ok(Options {
        length: Duration::from_secs_f64(minutes * 60.0),
        seed,
        lang,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmed_number_must_be_there_and_an_invented_one_must_not() {
        let column = |confirmed, tried| Column { tried, confirmed };
        for (column, shown, right) in [
            (column(0, 0), None, true),
            (column(3, 3), Some(3), true),
            (column(3, 4), Some(4), true),
            (column(3, 4), Some(3), true),
            (column(3, 4), Some(2), false),
            (column(3, 4), None, false),
            (column(0, 1), None, true),
            (column(3, 4), Some(5), false),
        ] {
            assert_eq!(is_right(column, shown), right, "{column:?} {shown:?}");
        }
    }
}
