//! `lianka serve`: opens the ports and the store, and serves until it is told to stop.

use std::{
    io::{ErrorKind, Write},
    net::SocketAddr,
    path::Path,
    sync::Arc,
};

use anyhow::{Context, bail};
use lianka_server::{
    Server,
    clock::{Clock, Entropy},
    config::ServeConfig,
    edge,
    state::App,
    telemetry,
    upkeep::{health, passes},
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::{info, warn};

use crate::commands::database::{Beside, Database};

/// Serves until it is told to stop.
pub async fn run(config: ServeConfig) -> anyhow::Result<()> {
    let config = Arc::new(config);
    telemetry::init(&config.log);
    let mut signals = Signals::new()?;

    // The ports first: they are what goes wrong most often, and starting a database for nothing takes seconds.
    let listener = bind(config.listen, "--listen").await?;
    let ops_listener = bind(config.ops_listen, "--ops-listen").await?;
    let (address, ops_address) = (listener.local_addr()?, ops_listener.local_addr()?);

    let starting = async {
        let opened = Database::open(&config.store, Beside::Nobody).await?;
        opened.migrate().await?;
        let server = Server::start(
            opened.pool.clone(),
            Arc::clone(&config),
            Clock::System,
            Entropy::System,
        )
        .await?;
        server
            .auth
            .check_keys()
            .await
            .context("signing keys cannot be read")?;
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
