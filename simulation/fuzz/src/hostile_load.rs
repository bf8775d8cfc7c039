//! The hostile load: hostile devices send mutants at a running server while honest phones edit and synchronise.
//!
//! A real server as a process of its own, on a private Postgres. Honest phones are the real ones, with stores and tokens, and each edits and
//! synchronises at a steady pace. Hostile devices hold valid tokens of the same street. What they send (`attack`) comes from this crate's
//! mutations ([`crate::mutate`], on changes in the device's own name, so that many pass the gate), from a second generator that shares no code
//! with them (`garbage`), from a third that breaks nothing and asks for all there is (`costly`), and from people who speak HTTP wrongly; each attacker sends its next attack when the last one was answered.
//!
//! Claims, in [`Report::failures`]: the server neither panics nor answers 5xx nor ends; no honest edit is lost; and everything that was sent was answered. What
//! honest phones wait, with the hostile load and without it, in the same run, and the server's memory are figures: a test that judged them would judge
//! the machine.

mod attack;
mod attacker;
mod costly;
mod garbage;
mod office;
mod sending;

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use lianka_client::{Phone, phone::Backoff};
use lianka_simulator::{
    findings::{UnlistedValues, Written, judge},
    server_process::ServerProcess,
    stage,
};
use lianka_sync_core::{crdt::record::Edit, id::RecordId, lang::Lang};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use attacker::Attacker;
use office::Office;

/// Cards that each honest phone made before the hostile load.
const CARDS: usize = 6;
/// An honest phone begins an edit and a synchronisation so often.
const PACE: Duration = Duration::from_millis(250);
/// After the hostile load an honest phone gets what it still has to the office within so many synchronisations.
const LAST_SYNCS: usize = 20;

/// How to run it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub honest: usize,
    pub hostile: usize,
    /// The hostile load; the calm before it takes half as long.
    pub duration: Duration,
    /// Attacks that each hostile device prepares before the hostile load, and then sends in turn.
    pub attacks: usize,
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub calm: Waits,
    pub hostile_load: Waits,
    pub edits: usize,
    pub edits_lost: usize,
    pub unsent: usize,
    /// Synchronisations of honest phones that gave up for the time being, by code.
    pub given_up: BTreeMap<String, usize>,
    /// Answers to hostile devices: status and code, or how the connection ended.
    pub answers: BTreeMap<String, usize>,
    /// Verdicts on hostile changes.
    pub verdicts: BTreeMap<String, usize>,
    pub attacks: usize,
    /// Lines of the server's log that tell of a panic or an error.
    pub log: Vec<String>,
    pub ended: Option<String>,
    pub server_mib_calm: f64,
    pub server_mib_peak: f64,
}

/// How long honest synchronisations took, in milliseconds, waits between tries included.
#[derive(Clone, Debug, Default)]
pub struct Waits(Vec<f64>);

impl Waits {
    fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        Self(all)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Of a hundred synchronisations, what so many took at most.
    pub fn percentile(&self, percent: usize) -> f64 {
        self.0
            .get((self.0.len() * percent / 100).min(self.0.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }
}

impl Report {
    /// What must hold on any machine; empty where it does.
    pub fn failures(&self) -> Vec<String> {
        // That there is no room for now is no fault of the server's: hostile devices on a slow machine make it so.
        let fault = |answer: &str| answer.starts_with('5') && answer != "503 overloaded";
        let of_server: usize = self
            .answers
            .iter()
            .filter(|(answer, _)| fault(answer))
            .map(|(_, count)| count)
            .sum();
        let heard = |what: &str| self.answers.keys().any(|answer| answer.starts_with(what));
        [
            (
                self.edits > 0 && self.calm.count() > 0 && self.hostile_load.count() > 0,
                "the honest phones did nothing".to_owned(),
            ),
            (
                self.edits_lost == 0,
                format!(
                    "{} of {} honest edits are lost",
                    self.edits_lost, self.edits
                ),
            ),
            (
                self.unsent == 0,
                format!("{} honest edits did not get to the office", self.unsent),
            ),
            (
                self.ended.is_none(),
                format!(
                    "the server ended: {}",
                    self.ended.as_deref().unwrap_or_default()
                ),
            ),
            (
                of_server == 0,
                format!("{of_server} answers are 5xx: {:?}", self.answers),
            ),
            (
                self.log.is_empty(),
                format!(
                    "the server's log tells of {} errors, the first: {:?}",
                    self.log.len(),
                    self.log.first()
                ),
            ),
            (
                heard("200") && heard("400"),
                format!("hardly anything was sent: {:?}", self.answers),
            ),
        ]
        .into_iter()
        .filter(|(kept, _)| !kept)
        .map(|(_, line)| line)
        .collect()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waits = |f: &mut std::fmt::Formatter<'_>, name: &str, waits: &Waits| {
            let [p50, p90, p99] = [50, 90, 99].map(|percent| waits.percentile(percent));
            writeln!(
                f,
                "honest, {name}: {} synchronisations, p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms",
                waits.count()
            )
        };
        waits(f, "calm", &self.calm)?;
        waits(f, "hostile load", &self.hostile_load)?;
        writeln!(
            f,
            "honest edits: {}, lost {}, unsent {}, given up for a while {:?}",
            self.edits, self.edits_lost, self.unsent, self.given_up
        )?;
        writeln!(
            f,
            "server memory: {:.0} MiB before, {:.0} MiB at its peak",
            self.server_mib_calm, self.server_mib_peak
        )?;
        writeln!(f, "attacks: {}; answers: {:#?}", self.attacks, self.answers)?;
        writeln!(f, "verdicts on hostile changes: {:#?}", self.verdicts)?;
        write!(
            f,
            "errors in the log: {}, server {}",
            self.log.len(),
            self.ended.as_deref().unwrap_or("alive")
        )
    }
}

/// Runs it on a server of its own.
pub async fn run(options: Options) -> anyhow::Result<Report> {
    let (mut server, login) = stage::start_server(None, None).await?;
    let result = Box::pin(play(options, &server, login)).await;
    let mut report = match result {
        Ok(report) => report,
        Err(error) => {
            let error = anyhow::anyhow!("{error:#}{}", server.log_tail());
            return server.stop().await.and(Err(error));
        }
    };
    report.ended = server.ended().map(|status| status.to_string());
    let log = fs::read_to_string(server.data_dir().join("server.log")).unwrap_or_default();
    let bad = log
        .lines()
        .filter(|line| line.contains("ERROR") || line.contains("panic"));
    report.log = bad.map(str::to_owned).collect();
    if report.ended.is_none() {
        server.stop().await?;
    }
    Ok(report)
}

/// One honest phone, and what it wrote.
struct Honest {
    number: usize,
    phone: Phone,
    cards: Vec<RecordId>,
    written: Vec<Written>,
    given_up: BTreeMap<String, usize>,
}

async fn play(
    options: Options,
    server: &ServerProcess,
    login: stage::Login,
) -> anyhow::Result<Report> {
    let office = Office::open(server.url(), login).await?;
    let folder = tempfile::Builder::new()
        .prefix("lianka-hostile-load-")
        .tempdir()
        .context("cannot make a folder for the phones")?;
    let mut honest = Vec::new();
    for number in 0..options.honest {
        let phone = office.phone(number, folder.path()).await?;
        // Shorter than a person's patience, so that a short hostile load sees what comes of waiting.
        let phone = phone.with_backoff(Backoff {
            tries_max: 6,
            base: Duration::from_millis(200),
            cap: Duration::from_secs(5),
        });
        let cards = (0..CARDS)
            .map(|card| {
                let edits = [Edit::set("sign_name", &format!("店{number}.{card}"))];
                Ok(phone
                    .create_card(office::HONEST_GRID, &edits, phone.now())?
                    .record)
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        phone.sync().await?;
        honest.push(Honest {
            number,
            phone,
            cards,
            written: Vec::new(),
            given_up: BTreeMap::new(),
        });
    }
    let targets: Vec<_> = honest
        .iter()
        .flat_map(|phone| phone.cards.iter().copied())
        .collect();
    let mut attackers = Vec::new();
    for number in 0..options.hostile {
        let device = office.hostile(number).await?;
        let seed = options.seed.wrapping_mul(1_000).wrapping_add(number as u64);
        attackers.push(
            Box::pin(Attacker::prepare(
                device,
                seed,
                options.attacks,
                targets.clone(),
            ))
            .await?,
        );
    }
    let mut report = Report {
        edits: 0,
        ..Report::default()
    };

    let (honest, calm) = at_work(honest, options.duration / 2).await?;
    report.calm = Waits::of(calm);
    server.memory_peak().sample();
    report.server_mib_calm = server.memory_peak().server_mib();

    let over = CancellationToken::new();
    let mut attacking = JoinSet::new();
    for attacker in attackers {
        attacking.spawn(attacker.attack_until(over.clone()));
    }
    let (mut honest, hostile_load) = at_work(honest, options.duration).await?;
    over.cancel();
    report.hostile_load = Waits::of(hostile_load);
    while let Some(answered) = attacking.join_next().await {
        let answered = answered.context("an attacker was cut off")?;
        report.attacks += answered.attacks;
        for (answer, count) in answered.answers {
            *report.answers.entry(answer).or_default() += count;
        }
        for (verdict, count) in answered.verdicts {
            *report.verdicts.entry(verdict).or_default() += count;
        }
    }
    server.memory_peak().sample();
    report.server_mib_peak = server.memory_peak().server_mib();

    for honest in &mut honest {
        for _ in 0..LAST_SYNCS {
            honest.sync().await?;
            if honest.phone.outbox()?.is_empty() {
                break;
            }
        }
        report.unsent += honest.phone.outbox()?.len();
        for (code, count) in &honest.given_up {
            *report.given_up.entry(code.clone()).or_default() += count;
        }
    }
    let written: Vec<_> = honest
        .iter()
        .flat_map(|honest| honest.written.iter().cloned())
        .collect();
    let findings = judge(&written, &office.roll().await?, &UnlistedValues::new());
    report.edits = findings.edits;
    report.edits_lost = findings.edits_missing.len();
    ensure!(
        findings.edits
            == honest
                .iter()
                .map(|honest| honest.written.len())
                .sum::<usize>(),
        "every edit writes one field"
    );
    Ok(report)
}

/// All honest phones for so long; what each synchronisation took.
async fn at_work(
    honest: Vec<Honest>,
    duration: Duration,
) -> anyhow::Result<(Vec<Honest>, Vec<f64>)> {
    let until = Instant::now() + duration;
    let mut working = JoinSet::new();
    for honest in honest {
        working.spawn(honest.work(until));
    }
    let (mut all, mut waits) = (Vec::new(), Vec::new());
    while let Some(worked) = working.join_next().await {
        let (honest, own) = worked.context("a phone's task was cut off")??;
        all.push(honest);
        waits.extend(own);
    }
    all.sort_by_key(|honest| honest.number);
    Ok((all, waits))
}

impl Honest {
    async fn work(mut self, until: Instant) -> anyhow::Result<(Self, Vec<f64>)> {
        let mut waits = Vec::new();
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while Instant::now() < until {
            pace.tick().await;
            self.edit()?;
            waits.push(self.sync().await?);
        }
        Ok((self, waits))
    }

    /// A field of its own for every edit: whatever is not in the roll in the end is lost.
    fn edit(&mut self) -> anyhow::Result<()> {
        let edit = self.written.len();
        let record = self.cards[edit % self.cards.len()];
        let (key, value) = (
            format!("custom/第{edit}次"),
            format!("{}.{edit}", self.number),
        );
        self.phone
            .edit(record, &[Edit::set(&key, &value)], self.phone.now())?;
        self.written.push(Written {
            phone: self.number,
            edit,
            record,
            key,
            value,
        });
        Ok(())
    }

    /// What one synchronisation took. One that gives up keeps its edits for the next.
    async fn sync(&mut self) -> anyhow::Result<f64> {
        let begun = Instant::now();
        if let Err(error) = self.phone.sync().await {
            *self.given_up.entry(error.code().to_owned()).or_default() += 1;
        }
        Ok(begun.elapsed().as_secs_f64() * 1_000.0)
    }
}

/// The short form, for `make test`.
pub fn short_form() -> Options {
    Options {
        honest: 3,
        hostile: 4,
        duration: Duration::from_secs(6),
        attacks: 40,
        seed: 1,
    }
}

/// What people read is in the language of the office; nobody reads what is sent here.
const LANG: Lang = Lang::En;
