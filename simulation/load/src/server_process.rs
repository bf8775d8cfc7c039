//! A Lianka server as a process of its own, so that what it costs is seen apart from what forty phones cost.
//!
//! Input: the program (found beside this one) and a data folder. Output: its address, once it is ready, and what it used of processor, memory
//! and disk. Invariants: it never sees this process' own `DATABASE_URL` or `LIANKA_…` settings; it is stopped by SIGTERM and waited for; a
//! server that is dropped without that is killed, and its Postgres stops by itself.

mod cost;

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    time::{interval, timeout},
};

pub use cost::{Cost, Holding, PeakMemory};

use crate::office::http_client;

/// initdb and the first start take seconds, on a slow disk a minute.
const START_TIME_MAX: Duration = Duration::from_mins(3);
const STOP_TIME_MAX: Duration = Duration::from_mins(1);
const PROBE_TIME_MAX: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
const LOG_TAIL_LINES: usize = 15;
/// The server's account for everything that the simulator sets up.
pub const ADMIN: &str = "admin";

/// A running server; see the module.
pub struct ServerProcess {
    program: PathBuf,
    /// What `lianka serve` was started with, beside folder and address.
    settings: Vec<(String, String)>,
    child: Child,
    address: SocketAddr,
    data_dir: PathBuf,
    /// Removes the folder when dropped, where it was a temporary one.
    temporary: Option<TempDir>,
    memory: PeakMemory,
}

impl ServerProcess {
    /// Starts a server on a private Postgres and waits until it is ready.
    ///
    /// `data_dir`: an absent or empty folder that stays; `None` takes a temporary one that goes with the server.
    pub async fn start(data_dir: Option<&Path>, listen: SocketAddr) -> anyhow::Result<Self> {
        Self::start_with(data_dir, listen, &[]).await
    }

    /// The same with further settings of `lianka serve`.
    pub async fn start_with(
        data_dir: Option<&Path>,
        listen: SocketAddr,
        settings: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let program = program("lianka")?;
        let (data_dir, temporary) = if let Some(folder) = data_dir {
            (empty_folder(folder)?, None)
        } else {
            let folder = tempfile::Builder::new()
                .prefix("lianka-simulator-")
                .tempdir()
                .context("cannot make a temporary folder")?;
            (folder.path().to_owned(), Some(folder))
        };
        let settings: Vec<_> = settings
            .iter()
            .map(|(flag, value)| ((*flag).to_owned(), value.clone()))
            .collect();
        let child = serve(&program, &data_dir, listen, &settings)?;
        let memory = PeakMemory::watch(child.id().context("the server ended at once")?);
        let mut server = Self {
            program,
            settings,
            child,
            address: listen,
            data_dir,
            temporary,
            memory,
        };
        server.wait_ready().await?;
        Ok(server)
    }

    /// Waits until the server can take an edit.
    pub async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let address_file = self.data_dir.join("address");
        self.address = match timeout(START_TIME_MAX, self.wait_until_ready(&address_file)).await {
            Ok(ready) => ready?,
            Err(_) => bail!(
                "the server was not ready within {} s{}",
                START_TIME_MAX.as_secs(),
                self.log_tail()
            ),
        };
        Ok(())
    }

    /// Kills the server with -9 and waits for its end; its Postgres stops by itself.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.child
            .kill()
            .await
            .context("the server cannot be killed")
    }

    /// Starts a killed server again, on the same data and the same port, and waits until it is ready.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        let address_file = self.data_dir.join("address");
        // What the killed one wrote says nothing about this one.
        fs::remove_file(&address_file).context("the server's address file cannot be removed")?;
        self.child = serve(&self.program, &self.data_dir, self.address, &self.settings)?;
        self.wait_ready().await
    }

    /// Kills the private Postgres' first process with -9; false where it does not run just now.
    pub fn kill_postgres(&self) -> anyhow::Result<bool> {
        let text = fs::read_to_string(self.data_dir.join("postgres/postmaster.pid"));
        let Some(pid) = text
            .ok()
            .and_then(|text| text.lines().next()?.trim().parse::<i32>().ok())
            .filter(|pid| *pid > 1)
        else {
            return Ok(false);
        };
        match kill(Pid::from_raw(pid), Signal::SIGKILL) {
            Ok(()) => Ok(true),
            // The file is of one that is gone already.
            Err(Errno::ESRCH) => Ok(false),
            Err(error) => Err(error).context("Postgres cannot be killed"),
        }
    }

    async fn wait_until_ready(&mut self, address_file: &Path) -> anyhow::Result<SocketAddr> {
        let http = http_client()?;
        let mut poll = interval(POLL_INTERVAL);
        loop {
            poll.tick().await;
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the server ended before it was ready ({status}){}",
                    self.log_tail()
                );
            }
            let Some(address) = fs::read_to_string(address_file)
                .ok()
                .and_then(|text| text.lines().next()?.parse::<SocketAddr>().ok())
            else {
                continue;
            };
            let answer = http
                .get(format!("http://{address}/readyz"))
                .timeout(PROBE_TIME_MAX)
                .send()
                .await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(address);
            }
        }
    }

    /// `http://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Creates the first administrator, named [`ADMIN`].
    pub async fn create_admin(&self, password: &str) -> anyhow::Result<()> {
        let mut command = command(&self.program, "admin", &self.data_dir);
        command
            .args(["create", "--username", ADMIN])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let mut stdin = child
            .stdin
            .take()
            .context("`lianka admin create` takes no input")?;
        // It may end before it reads, and then says why on standard error.
        let _ = stdin.write_all(format!("{password}\n").as_bytes()).await;
        drop(stdin);
        let output = timeout(START_TIME_MAX, child.wait_with_output())
            .await
            .context("`lianka admin create` does not end")??;
        ensure!(
            output.status.success(),
            "`lianka admin create` did not work ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// What the server and its Postgres used so far.
    pub fn cost(&self) -> Cost {
        self.child.id().map(cost::of).unwrap_or_default()
    }

    /// What the server and its Postgres hold at this moment.
    pub fn holding(&self) -> Holding {
        self.child.id().map(cost::holding).unwrap_or_default()
    }

    /// Forgets the greatest memory that the server itself had, to see that of what comes next.
    pub fn forget_peak(&self) {
        if let Some(id) = self.child.id() {
            cost::forget_peak(id);
        }
    }

    /// The greatest memory of the server itself since it was forgotten, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.child.id().map(cost::peak_kib).unwrap_or_default()
    }

    /// Where its private Postgres listens: the socket's folder and the port.
    pub fn postgres(&self) -> anyhow::Result<(PathBuf, u16)> {
        let text = fs::read_to_string(self.data_dir.join("postgres/postmaster.pid"))
            .context("the private Postgres does not run")?;
        let mut lines = text.lines().skip(3);
        let port = lines.next().and_then(|port| port.trim().parse().ok());
        let folder = lines.next().map(|folder| PathBuf::from(folder.trim()));
        folder
            .zip(port)
            .context("the private Postgres does not say where it listens")
    }

    /// Most memory that the server and its Postgres used at any moment so far, in MiB.
    pub fn memory_peak(&self) -> &PeakMemory {
        &self.memory
    }

    /// Disk used by the private cluster, in MiB: all of it, and of that the write-ahead log.
    pub fn store_mib(&self) -> (f64, f64) {
        let cluster = self.data_dir.join("postgres");
        (
            cost::disk_mib(&cluster),
            cost::disk_mib(&cluster.join("pg_wal")),
        )
    }

    /// Whether the server has ended by itself, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Stops the server as an operator does, and waits for it and its Postgres.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(id) = self.child.id() {
            kill(Pid::from_raw(id.cast_signed()), Signal::SIGTERM)
                .context("cannot stop the server")?;
        }
        let begun = Instant::now();
        let Ok(status) = timeout(STOP_TIME_MAX, self.child.wait()).await else {
            bail!(
                "the server did not stop within {} s of SIGTERM and is killed{}",
                begun.elapsed().as_secs(),
                self.log_tail()
            );
        };
        let status = status?;
        ensure!(
            status.success(),
            "the server did not stop cleanly ({status}){}",
            self.log_tail()
        );
        drop(self.temporary.take());
        Ok(())
    }

    /// The end of the server's log, for a message.
    pub fn log_tail(&self) -> String {
        let path = self.data_dir.join("server.log");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n");
        if tail.is_empty() {
            String::new()
        } else {
            format!("; its log ends with:\n{tail}")
        }
    }
}

/// The greatest memory that this very process had, in MiB.
pub fn own_peak_mib() -> f64 {
    cost::peak_kib(std::process::id()) as f64 / 1024.0
}

/// Makes the folder where it is absent.
fn empty_folder(folder: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the data folder {}", folder.display()))?;
    let mut entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    ensure!(
        entries.next().is_none(),
        "the data folder {} is not empty, and the simulator never touches data that may be somebody's: name another one, or leave the option \
         away for a temporary folder",
        folder.display()
    );
    Ok(folder.canonicalize()?)
}

/// The project's programs lie beside this one; a test binary lies one folder deeper.
pub(crate) fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = env::current_exe().context("cannot tell where this program lies")?;
    let name = format!("{name}{}", env::consts::EXE_SUFFIX);
    let found = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(&name))
        .find(|program| program.is_file());
    found.with_context(|| {
        format!(
            "`{name}` does not lie beside {}: build it into the same folder with `cargo build -p lianka-server -p lianka-client` (add \
             --release if this program was built so)",
            own.display()
        )
    })
}

/// Starts `lianka serve` on a data folder.
fn serve(
    program: &Path,
    data_dir: &Path,
    listen: SocketAddr,
    settings: &[(String, String)],
) -> anyhow::Result<Child> {
    let address_file = data_dir.join("address");
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(data_dir.join("server.log"))
        .context("cannot make the server's log")?;
    let mut command = command(program, "serve", data_dir);
    command
        .arg("--listen")
        .arg(listen.to_string())
        .args(["--ops-listen", "127.0.0.1:0", "--address-file"])
        .arg(&address_file);
    // Codes are made for 42 phones at once and spent one after the other, on a slow machine too.
    command.args(["--enrolment-minutes", "120", "--log", "warn"]);
    for (flag, value) in settings {
        command.arg(flag).arg(value);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true);
    // Ctrl-C in a terminal reaches every process of the group, and the server takes a second signal for impatience.
    command.process_group(0);
    command
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))
}

fn command(program: &Path, subcommand: &str, data_dir: &Path) -> Command {
    let mut command = Command::new(program);
    // Whatever the caller's shell is set up for, this server is one of its own.
    for (name, _) in env::vars_os() {
        if name == "DATABASE_URL" || name.as_encoded_bytes().starts_with(b"LIANKA_") {
            command.env_remove(name);
        }
    }
    command.arg(subcommand);
    if subcommand == "admin" {
        // The folder is an option of the subcommand's subcommand.
        command.env("LIANKA_DATA_DIR", data_dir);
    } else {
        command.arg("--data-dir").arg(data_dir);
    }
    command
}
