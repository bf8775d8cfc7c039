//! `lianka import`: a sheet proposed and written from a terminal.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use lianka_server::{
    auth::terminal,
    clock::{Clock, Entropy},
    config::ImportParts,
    roll::import::{
        self, Apply, Office,
        diff::Take,
        propose::{self, Options},
        report::ImportReport,
        store,
    },
};
use lianka_sync_core::id::StreetCode;
use uuid::Uuid;

use crate::commands::database::{OnDatabase, must_exist};

/// How long one part is written before the bar moves.
const PART: Duration = Duration::from_millis(700);

#[derive(Args)]
pub struct Import {
    /// The sheet: .xlsx, or delimited text.
    #[arg(value_name = "FILE", required_unless_present = "undo")]
    file: Option<PathBuf>,
    /// The street.
    #[arg(long, value_name = "CODE")]
    street: StreetCode,
    /// In whose name: an admin or a reviewer.
    #[arg(long, value_name = "NAME")]
    username: String,
    /// Write every row that leaves nothing to decide. Without it the sheet is only proposed.
    #[arg(long)]
    apply: bool,
    /// How columns of a sheet from elsewhere are taken where the card says something else.
    #[arg(long, value_name = "HOW", default_value = "empty")]
    columns: How,
    /// Grid of rows whose own grid the street does not know; absent: 未分配.
    #[arg(long, value_name = "GRID")]
    grid: Option<String>,
    /// Take an import back instead.
    #[arg(long, value_name = "IMPORT", conflicts_with_all = ["file", "apply"])]
    undo: Option<Uuid>,
    #[command(flatten)]
    database: OnDatabase,
}

#[derive(Clone, Copy, ValueEnum)]
enum How {
    /// Only where the card says nothing.
    Empty,
    /// Instead of what the card says.
    Take,
    /// Beside what the card says.
    Conflict,
}

impl Import {
    pub async fn run(self) -> anyhow::Result<()> {
        let (clock, entropy) = (Clock::System, Entropy::System);
        self.database
            .run(async |pool| {
                must_exist(pool, self.street.as_str()).await?;
                let by = terminal::desk(pool, &clock, &entropy, &self.username).await?;
                let office = Office {
                    pool,
                    clock: &clock,
                    entropy: &entropy,
                    street: &self.street,
                    by,
                    rows_at_once: ImportParts::USUAL.rows,
                    at_most: PART,
                    queues: None,
                };
                match (self.undo, &self.file) {
                    (Some(import), _) => undo(&office, import).await,
                    (None, Some(file)) => self.sheet(&office, file).await,
                    (None, None) => bail!("name a FILE, or --undo an import"),
                }
            })
            .await
    }

    async fn sheet(&self, office: &Office<'_>, file: &PathBuf) -> anyhow::Result<()> {
        let bytes = tokio::fs::read(file)
            .await
            .with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let options = Options {
            dry_run: false,
            grid: self.grid.clone(),
            file_name: name.chars().take(80).collect(),
        };
        let spinner = ProgressBar::new_spinner().with_message("读取并比对 · reading and comparing");
        spinner.enable_steady_tick(Duration::from_millis(120));
        let proposed = propose::propose(office, bytes.into(), options).await;
        spinner.finish_and_clear();
        let proposed = proposed.map_err(explained)?;
        told(&proposed);
        let Some(import) = proposed.import else {
            bail!("nothing was kept");
        };
        if proposed.status != "proposed" {
            println!("没有可写入的改动 · nothing is left to write");
            return Ok(());
        }
        if !self.apply {
            println!(
                "尚未写入；加 --apply 写入，或在审核页面逐行处理 · nothing is written yet: add --apply, or decide row by row\n  import {import}"
            );
            return Ok(());
        }
        let take = match self.columns {
            How::Empty => Take::Empty,
            How::Take => Take::Take,
            How::Conflict => Take::Conflict,
        };
        let wanted = Apply {
            columns: BTreeMap::from([("*".to_owned(), take)]),
            ..Apply::default()
        };
        let waiting = |report: &ImportReport| report.waiting();
        let bar = bar(waiting(&proposed));
        import::apply(office, import, &wanted)
            .await
            .map_err(explained)?;
        let done = loop {
            let report = now(office, import).await?;
            bar.set_position(bar.length().unwrap_or(0).saturating_sub(waiting(&report)));
            if report.status != "applying" {
                break report;
            }
            import::apply(office, import, &Apply::default())
                .await
                .map_err(explained)?;
        };
        bar.finish_and_clear();
        told(&done);
        println!(
            "已写入；撤销：lianka import --street {} --username {} --undo {import} · written; --undo takes it back",
            self.street, self.username
        );
        Ok(())
    }
}

async fn undo(office: &Office<'_>, import: Uuid) -> anyhow::Result<()> {
    let before = now(office, import).await?;
    let bar = bar(before.written());
    let done = loop {
        import::undo(office, import).await.map_err(explained)?;
        let report = now(office, import).await?;
        bar.set_position(bar.length().unwrap_or(0).saturating_sub(report.undoing()));
        if report.status != "undoing" {
            break report;
        }
    };
    bar.finish_and_clear();
    told(&done);
    println!("已撤销；有人改过的保留（kept）· taken back; what somebody wrote since stays (kept)");
    Ok(())
}

async fn now(office: &Office<'_>, import: Uuid) -> anyhow::Result<ImportReport> {
    let mut conn = office.pool.acquire().await?;
    let row = store::import(&mut conn, office.street, import)
        .await?
        .with_context(|| format!("the street has no import {import}"))?;
    Ok(ImportReport::of(row, false, Vec::new()))
}

fn bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta}");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn told(report: &ImportReport) {
    for (what, counts) in [
        ("行 · rows", report.outcomes()),
        ("状态 · stand", report.states()),
    ] {
        let counts: Vec<_> = counts
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        println!("{what}: {}", counts.join(", "));
    }
    let problems: Vec<_> = report
        .problem_counts()
        .iter()
        .map(|(code, count)| format!("{code} {count}"))
        .collect();
    if !problems.is_empty() {
        println!("疑点 · doubtful: {}", problems.join(", "));
    }
}

/// What people can act on; the cause follows.
fn explained(error: import::ImportError) -> anyhow::Error {
    match error {
        import::ImportError::File(error) => anyhow::anyhow!("{} · {error}", error.zh()),
        error => error.into(),
    }
}
