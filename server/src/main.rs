//! `lianka`: reads the settings, opens the store, and serves until it is told to stop. Everything else is in the library.

use std::{
    io::{BufRead, ErrorKind, IsTerminal, Write},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use lianka_server::{
    Server,
    admin::audit_proof::{self, Anchor, Proof},
    audit::{self, Chain},
    auth,
    clock::{Clock, Entropy},
    config::{ConfigErrors, Lang, LogArgs, ServeArgs, StoreArgs, StoreConfig},
    edge,
    embedded_postgres::{self, EmbeddedPostgres},
    state::App,
    store,
    street::projection as project,
    telemetry,
    upkeep::{
        compaction, health, passes,
        trimming::{self, Keep},
    },
};
use lianka_sync_core::id::{RecordId, StreetCode};
use sqlx::PgPool;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::{error, info, warn};

/// Lianka (联卡): the server that merges what grid secretaries edit offline into one roll.
///
/// Every flag has an environment variable and a default; `lianka serve` alone works, with a private Postgres in ./data.
#[derive(Parser)]
#[command(name = "lianka", version, next_line_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve phones and desks until SIGTERM or Ctrl-C.
    Serve(Box<ServeArgs>),
    /// Accounts that no other account can make.
    #[command(subcommand)]
    Admin(Admin),
    /// Bring the database's schema up to this version; also works beside a running server.
    Migrate(Migrate),
    /// The audit trail.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Make the read models of a street, or of all, anew from its records; also works beside a running server.
    Rebuild(Rebuild),
    /// Trim the logs, and compact the records that have become large, or one record whatever its size; also works beside a running server.
    Compact(Compact),
}

#[derive(Args)]
struct Compact {
    /// Only records of this street; absent: of every street.
    #[arg(long, value_name = "CODE")]
    street: Option<StreetCode>,
    /// Only this record, however full it is. Needs --street.
    #[arg(long, value_name = "ID", requires = "street")]
    record: Option<RecordId>,
    /// Days of changes that stay whole (0 to 3650).
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=3_650))]
    log_days: u64,
    /// How full a record is that is compacted, in percent of what it may hold (1 to 90).
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=90))]
    percent: u32,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Args)]
struct Rebuild {
    /// Only this street; absent: every street.
    #[arg(long, value_name = "CODE")]
    street: Option<StreetCode>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Prove the audit trail: read every chain and the logs they tell of. The exit status is 1 where something does not fit.
    Verify(Verify),
}

#[derive(Args)]
struct Verify {
    /// Only the chain of this street, or `deployment`; absent: every chain.
    #[arg(long, value_name = "CODE")]
    street: Option<String>,
    /// Number and hash that an earlier proof gave and that were kept elsewhere: 4711:9f… Needs --street.
    #[arg(long, value_name = "NO:HASH", requires = "street")]
    anchor: Option<Anchor>,
    /// Language of what is printed: zh or en.
    #[arg(long, env = "LIANKA_LANG", default_value = "zh", value_name = "LANG", value_parser = clap::value_parser!(Lang))]
    lang: Lang,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Subcommand)]
enum Admin {
    /// Make an admin of the whole deployment; also works beside a running server.
    ///
    /// The password is the first line of standard input, so that it stands in no process list and no shell history.
    Create(CreateAdmin),
}

#[derive(Args)]
struct CreateAdmin {
    /// Name to sign in with.
    #[arg(long, value_name = "NAME")]
    username: String,
    /// Name that people read. Absent: the username.
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Args)]
struct Migrate {
    /// Say that the database came back from a backup: phones then start over and send again what it lacks.
    #[arg(long)]
    restored: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    log: LogArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve(arguments) => serve(&arguments).await,
        Command::Admin(Admin::Create(arguments)) => create_admin(&arguments).await,
        Command::Migrate(arguments) => migrate(&arguments).await,
        Command::Rebuild(arguments) => rebuild(&arguments).await,
        Command::Compact(arguments) => compact(&arguments).await,
        Command::Audit(AuditCommand::Verify(arguments)) => verify(&arguments).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lianka: {error:#}");
            // As clap does for a flag it does not know.
            ExitCode::from(if error.is::<ConfigErrors>() { 2 } else { 1 })
        }
    }
}

async fn serve(arguments: &ServeArgs) -> anyhow::Result<()> {
    let config = Arc::new(arguments.check()?);
    telemetry::init(&config.log);
    let mut signals = Signals::new()?;

    // The ports first: they are what goes wrong most often, and starting a database for nothing takes seconds.
    let listener = bind(config.listen, "--listen").await?;
    let ops_listener = bind(config.ops_listen, "--ops-listen").await?;
    let (address, ops_address) = (listener.local_addr()?, ops_listener.local_addr()?);

    let starting =
        async {
            let opened = Store::open(&config.store, Beside::Nobody).await?;
            store::migrate(&opened.pool)
                .await
                .context("the database's schema could not be brought up to date")?;
            let server = Server::start(
                opened.pool.clone(),
                Arc::clone(&config),
                Clock::System,
                Entropy::System,
            )
            .await?;
            server.auth.check_keys().await.map_err(|error| {
                anyhow::anyhow!("signing keys cannot be read: {}", error.causes())
            })?;
            anyhow::Ok((opened, server))
        };
    let (opened, server) = tokio::select! {
        started = starting => started?,
        () = signals.next() => bail!("stopped before it had started"),
    };

    let app: App = (*server).clone();
    let stopping = app.stopping.clone();
    let ops_stopping = stopping.clone();
    // Before the first connection; the store's are opened already.
    let limits = config
        .edge
        .clone()
        .within_open_files(config.store.connections_max.into());
    let serving = edge::serve(
        listener,
        lianka_server::router(&server),
        limits,
        stopping.clone(),
    );
    let operators = health::operators(app.clone(), passes::start(&server.auth));
    let ops_serving = edge::serve(
        ops_listener,
        operators,
        config.edge.for_operators(),
        ops_stopping,
    );
    let mut serving = tokio::spawn(async move { tokio::join!(serving, ops_serving) });

    if let Some(path) = &config.address_file {
        write_addresses(path, address, ops_address)?;
    }
    println!("Lianka listens on http://{address} (operators: http://{ops_address})");
    info!(%address, %ops_address, version = env!("CARGO_PKG_VERSION"), "ready");

    let ended = tokio::select! {
        ended = &mut serving => Some(ended),
        () = signals.next() => None,
    };
    stopping.cancel();
    let closing = async {
        if ended.is_none() {
            info!(
                "stopping: requests under way may finish within {} s",
                config.shutdown_grace.as_secs()
            );
            if tokio::time::timeout(config.shutdown_grace, &mut serving)
                .await
                .is_err()
            {
                warn!("requests were still under way when the time was up");
                serving.abort();
            }
        }
        opened.close().await;
    };
    tokio::select! {
        () = closing => {}
        () = signals.next() => bail!("told twice to stop, so requests under way were cut off"),
    }
    match ended {
        None => Ok(()),
        Some(ended) => ended.map(drop).context("the server's task failed"),
    }
}

async fn migrate(arguments: &Migrate) -> anyhow::Result<()> {
    let config = arguments.store.check()?;
    telemetry::init(&arguments.log.check()?);
    let opened = Store::open(&config, Beside::Server).await?;
    let done = async {
        store::migrate(&opened.pool)
            .await
            .context("the database's schema could not be brought up to date")?;
        let epoch = if arguments.restored {
            store::deployment::new_epoch(&opened.pool).await?
        } else {
            store::deployment::note_cluster(&opened.pool).await?;
            store::deployment::store_epoch(&opened.pool).await?
        };
        println!("The schema is up to date; store epoch {epoch}");
        anyhow::Ok(())
    };
    let done = done.await;
    opened.close().await;
    done
}

async fn rebuild(arguments: &Rebuild) -> anyhow::Result<()> {
    let config = arguments.store.check()?;
    telemetry::init(&arguments.log.check()?);
    let opened = Store::open(&config, Beside::Server).await?;
    let done = async {
        store::migrate(&opened.pool)
            .await
            .context("the database's schema could not be brought up to date")?;
        let streets = match &arguments.street {
            Some(street) => {
                must_exist(&opened.pool, street.as_str()).await?;
                vec![street.clone()]
            }
            None => {
                lianka_server::street::store::streets::all_streets(
                    &mut *opened.pool.acquire().await?,
                )
                .await?
            }
        };
        for street in streets {
            let progress = |done| eprint!("\r{street}: {done} records");
            let done = project::rebuild(&opened.pool, &street, progress).await?;
            println!("\r{street}: {done} records rebuilt");
        }
        anyhow::Ok(())
    };
    let done = done.await;
    opened.close().await;
    done
}

async fn compact(arguments: &Compact) -> anyhow::Result<()> {
    let config = arguments.store.check()?;
    telemetry::init(&arguments.log.check()?);
    let opened = Store::open(&config, Beside::Server).await?;
    let done = async {
        store::migrate(&opened.pool)
            .await
            .context("the database's schema could not be brought up to date")?;
        let (keep, now) = (Keep::days(arguments.log_days), Clock::System.now());
        if let Some(street) = &arguments.street {
            must_exist(&opened.pool, street.as_str()).await?;
        }
        if let (Some(street), Some(record)) = (&arguments.street, arguments.record) {
            let cut = trimming::before(now, keep.changes);
            match compaction::compact(&opened.pool, street, record, cut, now).await? {
                Some(done) => {
                    println!(
                        "{record}: {} changes are left, {} operations are gone; generation {}",
                        done.left, done.ops, done.generation
                    );
                }
                None => println!("{record}: there is nothing to gain"),
            }
            return anyhow::Ok(());
        }
        let swept = trimming::sweep(&opened.pool, keep, now, Duration::ZERO).await?;
        println!(
            "{} changes trimmed from the logs, {} notices removed",
            swept.changes, swept.notices
        );
        let rules = compaction::Rules {
            percent: arguments.percent,
            keep: keep.changes,
        };
        let compacted = compaction::pass(
            &opened.pool,
            rules,
            arguments.street.as_ref(),
            now,
            &mut compaction::Tried::new(),
        )
        .await?;
        println!("{compacted} records compacted");
        anyhow::Ok(())
    };
    let done = done.await;
    opened.close().await;
    done
}

async fn verify(arguments: &Verify) -> anyhow::Result<()> {
    let config = arguments.store.check()?;
    telemetry::init(&arguments.log.check()?);
    let opened = Store::open(&config, Beside::Server).await?;
    let done = async {
        store::migrate(&opened.pool)
            .await
            .context("the database's schema could not be brought up to date")?;
        let chains = audit::store::chains(&mut *opened.pool.acquire().await?).await?;
        let chains = match &arguments.street {
            Some(chain) => {
                // Also one whose street somebody deleted.
                if !chains.contains(chain) {
                    must_exist(&opened.pool, chain)
                        .await
                        .context("--street takes a street's code, or `deployment`")?;
                }
                vec![chain.clone()]
            }
            None => chains,
        };
        let mut broken = 0;
        for chain in &chains {
            let proof =
                audit_proof::verify(&opened.pool, Chain::named(chain), arguments.anchor.as_ref())
                    .await?;
            broken += usize::from(!proof.ok);
            print_proof(&proof, arguments.lang);
        }
        if broken > 0 {
            bail!(
                "{broken} of {} chains of the audit trail do not hold",
                chains.len()
            );
        }
        anyhow::Ok(())
    };
    let done = done.await;
    opened.close().await;
    done
}

/// A mistyped street is not one without records: nothing of it holds, and nothing was done to it.
async fn must_exist(pool: &PgPool, street: &str) -> anyhow::Result<()> {
    let known =
        lianka_server::street::store::streets::all_streets(&mut *pool.acquire().await?).await?;
    if known.iter().any(|known| known.as_str() == street) {
        return Ok(());
    }
    let known: Vec<_> = known.iter().map(StreetCode::as_str).collect();
    bail!(
        "there is no street {street}; the streets are: {}",
        if known.is_empty() {
            "none yet".to_owned()
        } else {
            known.join(", ")
        }
    )
}

fn print_proof(proof: &Proof, lang: Lang) {
    let Proof {
        chain,
        events,
        changes,
        seals,
        problem_count,
        ..
    } = proof;
    let (first, last) = (
        proof.first.unwrap_or_default(),
        proof.last.unwrap_or_default(),
    );
    let hash = proof.hash.as_deref().unwrap_or("-");
    match (lang, proof.ok) {
        (Lang::Zh, true) => {
            println!(
                "{chain}：完好。第 {first}–{last} 条共 {events} 条，核对修改 {changes} 处，封存 {seals} 次。锚点 {last}:{hash}"
            );
        }
        (Lang::Zh, false) => {
            println!("{chain}：有 {problem_count} 处不符（第 {first}–{last} 条共 {events} 条）。");
        }
        (Lang::En, true) => {
            println!(
                "{chain}: holds. Events {first} to {last} ({events}), {changes} changes compared, {seals} seals. Anchor {last}:{hash}"
            );
        }
        (Lang::En, false) => println!(
            "{chain}: {problem_count} places do not fit (events {first} to {last}, {events} in all)."
        ),
    }
    for problem in &proof.problems {
        let (no, code) = (problem.no, problem.code);
        let seq = problem
            .seq
            .map(|seq| format!(" seq {seq}"))
            .unwrap_or_default();
        match lang {
            Lang::Zh => println!("  第 {no} 条{seq} {code}：{}", problem.message_zh),
            Lang::En => println!("  event {no}{seq} {code}: {}", problem.message_en),
        }
    }
}

async fn create_admin(arguments: &CreateAdmin) -> anyhow::Result<()> {
    let config = arguments.store.check()?;
    telemetry::init(&arguments.log.check()?);
    if std::io::stdin().is_terminal() {
        eprint!("Password for {} (it is shown): ", arguments.username);
    }
    let mut password = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut password)
        .context("cannot read the password")?;
    let password = password.trim_end_matches(['\r', '\n']).to_owned();
    let display_name = arguments
        .display_name
        .as_ref()
        .unwrap_or(&arguments.username);

    let opened = Store::open(&config, Beside::Server).await?;
    let done = async {
        store::migrate(&opened.pool)
            .await
            .context("the database's schema could not be brought up to date")?;
        auth::create_admin(
            &opened.pool,
            &Clock::System,
            &Entropy::System,
            &arguments.username,
            display_name,
            password,
        )
        .await?;
        println!("{} is an admin now", arguments.username);
        anyhow::Ok(())
    };
    let done = done.await;
    opened.close().await;
    done
}

/// Whether a command may share the private Postgres of a server that runs now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nobody,
    Server,
}

/// An open database, and the private Postgres that this process runs for it, if any.
struct Store {
    pool: PgPool,
    postgres: Option<EmbeddedPostgres>,
}

impl Store {
    async fn open(config: &StoreConfig, beside: Beside) -> anyhow::Result<Self> {
        let StoreConfig {
            data_dir,
            database,
            other_databases,
            connections_max,
            waits,
            postgres_bin_dir,
        } = config.clone();
        let (options, postgres) = if let Some(options) = database {
            (options, None)
        } else {
            tokio::task::spawn_blocking(move || {
                if beside == Beside::Server
                    && let Some(options) = embedded_postgres::running_on(&data_dir)
                {
                    return anyhow::Ok((options, None));
                }
                let postgres = EmbeddedPostgres::start(&data_dir, postgres_bin_dir.as_deref())?;
                info!(psql = postgres.url(), "a private Postgres runs");
                Ok((postgres.connect_options(), Some(postgres)))
            })
            .await??
        };
        let addresses = std::iter::once(options).chain(other_databases).collect();
        let pool = store::waits::connect_to_primary(addresses, connections_max, &waits)
            .await
            .context("cannot connect to Postgres")?;
        Ok(Self { pool, postgres })
    }

    async fn close(self) {
        // A connection that a cut-off request still holds must not keep Postgres from stopping: a fast shutdown ends it.
        if tokio::time::timeout(Duration::from_secs(5), self.pool.close())
            .await
            .is_err()
        {
            warn!("connections to Postgres were still in use");
        }
        if let Some(postgres) = self.postgres
            && let Err(error) = tokio::task::spawn_blocking(|| postgres.stop()).await
        {
            error!(%error, "Postgres was not stopped");
        }
    }
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow::anyhow!(
            "{address} is in use by another program: stop that one, or choose another port with {flag} HOST:PORT (port 0 takes a free one)"
        ),
        ErrorKind::PermissionDenied => {
            anyhow::anyhow!("{address} may not be used by this user: ports below 1024 need root; choose another with {flag} HOST:PORT")
        }
        ErrorKind::AddrNotAvailable => {
            anyhow::anyhow!("{address} is no address of this machine: choose one with {flag} HOST:PORT, or 0.0.0.0 for all of them")
        }
        _ => anyhow::Error::new(error).context(format!("cannot listen on {address} ({flag})")),
    })
}

/// Whole or not at all: whoever waits for the file must not read half an address.
fn write_addresses(
    path: &Path,
    address: SocketAddr,
    ops_address: SocketAddr,
) -> anyhow::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
        write!(file, "{address}\n{ops_address}\n")?;
        file.persist(path)?;
        Ok(())
    });
    written.with_context(|| format!("cannot write --address-file {}", path.display()))
}

/// SIGTERM from a supervisor, SIGINT from a terminal: both ask to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
