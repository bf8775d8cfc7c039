//! `lianka-simulator`: arguments in, text out; everything else is in the library.

use std::{
    io::{IsTerminal, stdout},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use lianka_simulator::{
    chaos, demo, imports,
    office::Login,
    progress::say,
    soak,
    storm::{self, Figures, UpDown, Verdicts},
    table::Table,
    workload::{self, Arguments},
};
use lianka_sync_core::lang::Lang;
use sha2::{Digest, Sha256};
use tokio::signal::unix::{SignalKind, signal};

/// Real Lianka phones against a real Lianka server: the demo, the storm with its workload, and the soak.
#[derive(Parser)]
#[command(name = "lianka-simulator", version)]
struct Command {
    /// Language of what people read.
    #[arg(long, global = true, value_enum, default_value_t = Language::Zh)]
    lang: Language,
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Copy, ValueEnum)]
enum Language {
    Zh,
    En,
}

#[derive(Subcommand)]
enum Action {
    /// A street, its roll, 42 phones that were offline: one table, then a server to try things on.
    Demo(Demo),
    /// The same phases on a workload file, measured.
    Storm(Storm),
    /// Mixed load at half capacity for as long as one likes, watching memory, files, connections and tables.
    Soak(Soak),
    /// Real processes behind a proxy that delays, cuts, half-opens and reorders connections, killed with -9 at random moments.
    Chaos(Chaos),
    /// A roll of invented shops read, proposed, written, exported and taken back, while phones rest and while they work; measured.
    Imports(Imports),
    /// Write a workload file. The same arguments always write the same bytes.
    Workload(Workload),
}

#[derive(Args)]
struct Demo {
    /// End after the table; fail if an edit is missing, a conflict unseen or a digest different.
    #[arg(long)]
    once: bool,
    /// An empty folder for the server's data, which stays. Absent: a temporary one.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the server listens. Absent: a free port of this machine.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<SocketAddr>,
}

#[derive(Args)]
struct Storm {
    /// The workload; make one with `lianka-simulator workload`.
    #[arg(long, value_name = "FILE")]
    workload: PathBuf,
    /// A server that runs already, instead of one started here; several share the phones between them.
    #[arg(long, value_name = "URL")]
    url: Vec<String>,
    /// With --url: the administrator who sets up a fresh street.
    #[arg(long, value_name = "NAME", default_value = "admin")]
    admin_user: String,
    /// With --url: the file with the administrator's password. Absent: `LIANKA_ADMIN_PASSWORD`.
    #[arg(long, value_name = "FILE")]
    admin_password_file: Option<PathBuf>,
    /// Print nothing but one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Soak {
    /// How long, in minutes; below ten the log is kept for seconds.
    #[arg(long, default_value_t = 60.0, value_name = "N")]
    minutes: f64,
    /// Write soak.md and soak.csv into this folder.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Fail as well where something does not stay flat; a short run cannot tell.
    #[arg(long)]
    flat: bool,
}

#[derive(Args)]
struct Chaos {
    /// How long everything is disturbed, in minutes.
    #[arg(long, default_value_t = 60.0, value_name = "N")]
    minutes: f64,
    /// Which faults come, and what is killed when.
    #[arg(long, default_value_t = 1)]
    seed: u32,
}

#[derive(Args)]
struct Imports {
    /// Rows of the roll.
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    rows: usize,
    /// How often each phase is measured, for a median.
    #[arg(long, default_value_t = 3, value_name = "N")]
    runs: usize,
    /// Phones that work beside it.
    #[arg(long, default_value_t = 8, value_name = "N")]
    phones: usize,
    /// For how many seconds the phones work while nothing is imported.
    #[arg(long, default_value_t = 20, value_name = "N")]
    rest: u64,
    /// Print nothing but one JSON object.
    #[arg(long)]
    json: bool,
    /// Fail where an aim is missed.
    #[arg(long)]
    judge: bool,
    /// Only read this file, and say what that took: for the program itself.
    #[arg(long, hide = true, value_name = "FILE")]
    read_alone: Option<PathBuf>,
}

#[derive(Args)]
struct Workload {
    /// Shops of the roll.
    #[arg(long, default_value_t = 1400)]
    shops: usize,
    /// Phones, an even number.
    #[arg(long, default_value_t = 42)]
    phones: usize,
    /// Offline edits of each phone.
    #[arg(long, default_value_t = 60)]
    edits: usize,
    #[arg(long, default_value_t = 20_261_121, allow_negative_numbers = true)]
    seed: i64,
    /// The file to write.
    #[arg(long, value_name = "FILE", default_value = "workload.json")]
    out: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Command::parse();
    let lang = match command.lang {
        Language::Zh => Lang::Zh,
        Language::En => Lang::En,
    };
    let done = match &command.action {
        Action::Demo(arguments) => demo(arguments, lang).await,
        Action::Storm(arguments) => storm(arguments, lang).await,
        Action::Soak(arguments) => soak(arguments, lang).await,
        Action::Chaos(arguments) => chaos(arguments, lang).await,
        Action::Imports(arguments) => measure_imports(arguments, lang).await,
        Action::Workload(arguments) => write_workload(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lianka-simulator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ctrl-C, or a supervisor's SIGTERM.
async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

async fn demo(arguments: &Demo, lang: Lang) -> anyhow::Result<()> {
    let once = arguments.once
        || std::env::var("ONCE").is_ok_and(|once| !matches!(once.as_str(), "" | "0"));
    let options = demo::Options {
        once,
        data_dir: arguments.data_dir.clone(),
        listen: arguments.listen,
        lang,
    };
    demo::run(&options, interrupted()).await
}

async fn storm(arguments: &Storm, lang: Lang) -> anyhow::Result<()> {
    let running = if arguments.url.is_empty() {
        None
    } else {
        Some((arguments.url.clone(), admin_login(arguments)?))
    };
    let options = storm::Options {
        workload: arguments.workload.clone(),
        running,
        lang,
    };
    let figures = storm::run(&options, interrupted()).await?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        println!("{}", storm_table(&figures, lang));
    }
    let failures = figures.failures();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

async fn soak(arguments: &Soak, lang: Lang) -> anyhow::Result<()> {
    let command = match arguments.minutes {
        minutes if minutes.fract() == 0.0 => format!("make soak MINUTES={minutes:.0}"),
        minutes => format!("lianka-simulator soak --minutes {minutes}"),
    };
    let options = soak::options(arguments.minutes, arguments.write.clone(), command, lang)?;
    let outcome = soak::run(&options, interrupted()).await?;
    println!("{}", outcome.done());
    println!(
        "{:.1} of {:.1} cycles a second; {} compactions",
        outcome.rate, outcome.capacity, outcome.compactions.0
    );
    println!("{}", outcome.table());
    let failures = outcome.failures();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    ensure!(
        outcome.is_flat() || !arguments.flat,
        "{}",
        say(lang, "有指标持续上升", "something keeps growing")
    );
    println!(
        "{}",
        say(
            lang,
            "没有丢失任何修改；日志有界",
            "no edit was lost; the log is bounded"
        )
    );
    Ok(())
}

async fn chaos(arguments: &Chaos, lang: Lang) -> anyhow::Result<()> {
    let options = chaos::options(arguments.minutes, arguments.seed, lang)?;
    let outcome = chaos::run(&options, interrupted()).await?;
    for (name, count) in &outcome.counts {
        println!("{count:>8} {name}");
    }
    println!(
        "{:>8} synchronisations of the slowest phone until its outbox was empty (at most {})",
        outcome.syncs_needed,
        chaos::QUIET_SYNCS_MAX
    );
    let failures = outcome.failures();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    println!(
        "{}",
        say(
            lang,
            "没有丢失任何修改；安静后全部送达",
            "no edit was lost; all arrived after quiet"
        )
    );
    Ok(())
}

async fn measure_imports(arguments: &Imports, lang: Lang) -> anyhow::Result<()> {
    if let Some(file) = &arguments.read_alone {
        println!("{}", serde_json::to_string(&imports::read_alone(file)?)?);
        return Ok(());
    }
    let options = imports::Options {
        rows: arguments.rows,
        runs: arguments.runs,
        phones: arguments.phones,
        rest: Duration::from_secs(arguments.rest),
        lang,
    };
    let figures = imports::run(&options, interrupted()).await?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        println!("{}", imports_table(&figures, lang));
    }
    let missed = figures.missed();
    for aim in &missed {
        eprintln!("{}: {aim}", say(lang, "未达到", "missed"));
    }
    ensure!(
        missed.is_empty() || !arguments.judge,
        "{}",
        missed.join("\n")
    );
    Ok(())
}

fn imports_table(figures: &imports::Figures, lang: Lang) -> Table {
    let say = |zh, en| say(lang, zh, en);
    let mut table = Table::new(format!(
        "{} {}",
        say("导入与导出，行数：", "imports and exports, rows:"),
        figures.rows
    ));
    table.row(
        say("只读文件", "reading the file alone"),
        format!(
            "{} ms   {} MiB   {} B",
            figures.read_ms, figures.read_peak_mib, figures.file_bytes
        ),
    );
    table.row(
        say("服务器静止", "server at rest"),
        format!("{} MiB", figures.rest_mib),
    );
    for (name, phase) in [
        (say("提案", "proposal"), figures.proposal),
        (say("写入", "apply"), figures.apply),
        (say("导出 .xlsx", "export .xlsx"), figures.export_xlsx),
        (say("导出 .csv", "export .csv"), figures.export_csv),
        (say("撤销", "undo"), figures.undo),
        (
            say("写入（手机同步中）", "apply while phones work"),
            figures.apply_with_phones,
        ),
    ] {
        table.row(
            name,
            format!(
                "{} ms   × {}   {}/s   CPU {} + {} ms   {} MiB (+{})",
                phase.ms,
                phase.to_reading,
                phase.rows_a_second,
                phase.server_cpu_ms,
                phase.postgres_cpu_ms,
                phase.peak_mib,
                phase.more_mib
            ),
        );
    }
    for (name, latency) in [
        (
            say("手机同步，静止时", "phones, at rest"),
            figures.sync_at_rest,
        ),
        (
            say("手机同步，写入时", "phones, during an apply"),
            figures.sync_during_apply,
        ),
    ] {
        table.row(
            name,
            format!(
                "p50 {} ms   p99 {} ms   max {} ms   n {}",
                latency.p50_ms, latency.p99_ms, latency.max_ms, latency.count
            ),
        );
    }
    table.row(say("p99 之比", "p99, ratio"), figures.p99_ratio);
    table
}

fn admin_login(arguments: &Storm) -> anyhow::Result<Login> {
    let password = match &arguments.admin_password_file {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
        None => std::env::var("LIANKA_ADMIN_PASSWORD").context(
            "a server that runs already needs its administrator: give --admin-password-file FILE, or set LIANKA_ADMIN_PASSWORD; \
             `lianka admin create` makes one",
        )?,
    };
    Ok(Login {
        username: arguments.admin_user.clone(),
        password: password.trim_end_matches(['\r', '\n']).to_owned(),
    })
}

/// The figures a person looks for; `--json` has them all.
fn storm_table(figures: &Figures, lang: Lang) -> Table {
    let say = |zh, en| say(lang, zh, en);
    let mut table = Table::new(say("重新连接的早晨", "reconnect morning"));
    table.row(
        say("卡片、手机", "cards, phones"),
        format!("{}, {}", figures.cards, figures.phones),
    );
    table.row(
        say("离线修改", "offline edits"),
        format!(
            "{} {} {}",
            figures.edits,
            say("其中丢失", "of which missing"),
            figures.edits_missing
        ),
    );
    table.row(
        say("冲突：应有、可见", "conflicts expected, visible"),
        format!(
            "{}, {}",
            figures.conflicts_expected, figures.conflicts_visible
        ),
    );
    let Verdicts {
        accepted,
        duplicate,
        held,
        rejected,
    } = figures.verdicts;
    table.row(
        say("回执", "verdicts"),
        format!("accepted {accepted}   duplicate {duplicate}   held {held}   rejected {rejected}"),
    );
    table.row(say("摘要一致", "digests equal"), figures.digests_equal);
    table.row(say("上传名册", "seed"), format!("{} ms", figures.seed_ms));
    table.row(
        say("首次同步", "first sync"),
        format!(
            "{} {} ms, {} B   {} {} ms",
            say("一部", "one phone"),
            figures.first_sync_ms,
            figures.first_sync_bytes,
            say("同时", "all at once"),
            figures.first_sync_all_ms
        ),
    );
    table.row(
        say("风暴", "storm"),
        format!(
            "{} ms   {} ↑ {} B ↓ {} B",
            figures.storm_ms,
            say("每部", "a phone"),
            figures.bytes_up_per_phone,
            figures.bytes_down_per_phone
        ),
    );
    let UpDown { up, down } = figures.idle_bytes;
    table.row(
        say("空闲再同步", "idle resync"),
        format!("{} ms   ↑ {up} B ↓ {down} B", figures.idle_resync_ms),
    );
    if let (Some(cpu), Some(memory), Some(store)) = (
        figures.server_cpu_ms,
        figures.server_rss_peak_mib,
        figures.store_mib,
    ) {
        table.row(
            say("服务器", "server"),
            format!(
                "CPU {cpu} ms   {} {memory} MiB   {} {store} MiB",
                say("内存峰值", "memory peak"),
                say("磁盘", "disk")
            ),
        );
    }
    table
}

fn write_workload(arguments: &Workload) -> anyhow::Result<()> {
    let Workload {
        shops,
        phones,
        edits,
        seed,
        ref out,
    } = *arguments;
    let workload = workload::generate(&Arguments {
        shops,
        phones,
        edits,
        seed,
    })?;
    let text = workload.to_json();
    std::fs::write(out, &text).with_context(|| format!("cannot write {}", out.display()))?;
    let digest = hex::encode(Sha256::digest(&text));
    println!(
        "{} {} bytes sha256 {}",
        out.display(),
        text.len(),
        &digest[..16]
    );
    if stdout().is_terminal() {
        println!("{}", serde_json::to_string_pretty(&workload.stats)?);
    } else {
        println!("{}", serde_json::to_string(&workload.stats)?);
    }
    Ok(())
}
