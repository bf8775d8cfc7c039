//! A private Postgres for a server that was given none.
//!
//! Input: a data folder. Output: a cluster of this server's own, run from the installed binaries on a Unix socket only, and where to
//! connect. Blocking on purpose: it must outlive any async runtime (tests have one each), and it waits on processes.
//!
//! Invariants:
//! - One server a data folder: an exclusive `flock` on `DIR/lock`, which the kernel drops with the process, however that ends.
//! - Durability is never traded: `fsync`, `synchronous_commit` and `full_page_writes` stay on, except in a throwaway cluster of the tests.
//! - Postgres ends with the server, even after `kill -9`. A small `sh` stands between the two and holds the reading end of a pipe whose
//!   writing end only the server has; the kernel closes it when the server dies, and `sh` asks Postgres for a fast shutdown. (A
//!   parent-death signal would need unsafe code, is bound to a *thread*, and exists on Linux only.)
//! - Should `sh` be killed too, the next start finds the postmaster by `postmaster.pid`, stops it cleanly and starts it again as a child.
//! - A Postgres that dies under a living server is started again, ever more slowly where it does not stay; committed data is in its log.
//! - Postgres refuses to be root, so root runs it as `postgres` or `nobody`, or as whoever owns the cluster already. That user need not
//!   be able to reach the folder (a clone below `/root`): the process then names its data folder `/proc/self/fd/9`, a descriptor that root opened
//!   for it, and the data stays where the operator put it.
//! - It gets a process group of its own: Ctrl-C in a terminal reaches the server alone, which stops Postgres after the last request.

mod account;
mod binaries;
mod error;
mod postmaster;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::{
        fs::{OpenOptionsExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use sqlx::postgres::PgConnectOptions;
use tracing::{error, info, warn};

use self::{account::Account, binaries::Binaries, error::START_TIME_MAX, postmaster::Postmaster};
pub use self::{binaries::BinariesError, error::EmbeddedPostgresError};

/// Superuser and database of the private cluster.
const NAME: &str = "lianka";
/// Only part of the socket's file name; nothing listens on a TCP port.
const PORT: u16 = 5432;
/// `sun_path` holds 108 bytes on Linux (104 on macOS) with the closing NUL; the smaller one, so that a folder works on both.
const SOCKET_PATH_BYTES_MAX: usize = 103;
/// After a postmaster was killed its orphaned workers need a moment to notice and let go of the shared memory: more than one where the disk is slow.
const SHARED_MEMORY_WAIT_MAX: Duration = Duration::from_mins(3);
const REPORT_INTERVAL: Duration = Duration::from_secs(10);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Between two starts of a Postgres that does not stay: twice as long each time.
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(100);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);
/// One that ran for so long is started again at once.
const STEADY_AFTER: Duration = Duration::from_mins(1);
const LOG_BYTES_MAX: u64 = 10 << 20;

/// Appended once to the cluster's postgresql.conf, where an operator may change it. Sized for 2 cores and 4 GB beside the server.
const TUNING: &str = "
# Lianka. Durability (fsync, synchronous_commit, full_page_writes) is left on: an acknowledged edit must survive a power cut.
max_connections = 64
shared_buffers = 128MB
effective_cache_size = 1GB
work_mem = 8MB
maintenance_work_mem = 64MB
random_page_cost = 1.1
jit = off
wal_compression = on
max_wal_size = 1GB
checkpoint_timeout = 15min
autovacuum_naptime = 20s
timezone = 'UTC'
log_timezone = 'UTC'
# Rows hold personal data: no statement and no detail of a row goes to the log.
log_min_messages = warning
log_checkpoints = off
log_min_error_statement = panic
log_error_verbosity = terse
";

/// The socket lies in a folder that only the cluster's user (and root) can enter; that is the authentication.
const ACCESS: &str = "local all all trust\nlocal replication all trust\n";

/// Runs initdb, then makes the database. Standard output arrives as a descriptor of the cluster's folder and becomes number 9.
const CREATE: &str = r#"
exec 9<&1 1>&2 </dev/null
initdb=$1 postgres=$2 folder=$3 sync=$4
"$initdb" -D "$folder" -U lianka -A trust -E UTF8 --locale=C -k $sync >&2 || exit
printf 'create database lianka\n' | "$postgres" --single -D "$folder" postgres >&2
"#;

/// Runs Postgres until it ends or the pipe on standard input closes, whichever is first. Standard output as above.
const RUN: &str = r#"
exec 3<&0 9<&1 1>&2 </dev/null
signal=$1 remove_folder=$2 remove_empty=$3; shift 3
"$@" 3<&- &
postgres=$!
{ read -r _ <&3; kill -s "$signal" "$postgres"; } 2>/dev/null &
watch=$!
exec 3<&-
wait "$postgres"; status=$?
kill "$watch" 2>/dev/null
if [ -n "$remove_empty" ]; then rmdir "$remove_empty" 2>/dev/null; fi
if [ -n "$remove_folder" ]; then rm -rf -- "$remove_folder"; fi
exit "$status"
"#;

/// Names the file with the failure, which `io::Error` alone does not.
fn at<T>(
    doing: &'static str,
    path: &Path,
    result: io::Result<T>,
) -> Result<T, EmbeddedPostgresError> {
    result.map_err(|cause| EmbeddedPostgresError::Io {
        doing,
        path: path.to_owned(),
        cause,
    })
}

/// What the cluster is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// The store: everything is kept and synced.
    Keep,
    /// Tests: nothing is synced, and the whole folder is removed when the process that started it ends.
    Throwaway,
}

/// A running private Postgres; dropping it stops it.
pub struct EmbeddedPostgres {
    socket_dir: PathBuf,
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
    /// Held until Postgres has stopped.
    _lock: File,
}

struct Shared {
    stopping: Arc<AtomicBool>,
    /// The pipe whose closing stops Postgres.
    life: Mutex<Option<ChildStdin>>,
}

impl EmbeddedPostgres {
    /// Starts the cluster in `data_dir`, making it first if there is none. Blocks until it takes connections.
    ///
    /// `bin_dir` names the folder of the Postgres programs; otherwise the installed ones are looked for.
    pub fn start(data_dir: &Path, bin_dir: Option<&Path>) -> Result<Self, EmbeddedPostgresError> {
        Self::start_for(data_dir, bin_dir, Purpose::Keep)
    }

    /// Starts a cluster for tests in a temporary folder: quick, not durable, gone when this process is gone, however it ends.
    pub fn start_throwaway() -> Result<Self, EmbeddedPostgresError> {
        let temporary = std::env::temp_dir();
        let account = Account::choose(&temporary.join("none"))?;
        let parent = if account
            .as_ref()
            .is_none_or(|account| account.can_reach(&temporary))
        {
            temporary
        } else {
            PathBuf::from("/tmp")
        };
        let folder = at(
            "cannot make a folder in",
            &parent,
            tempfile::Builder::new()
                .prefix("lianka-tests-")
                .tempdir_in(&parent),
        )?
        .keep();
        // The closing `rm` runs as the cluster's user, to whom the folder must belong.
        own(account.as_ref(), &folder)?;
        Self::start_for(&folder, None, Purpose::Throwaway)
    }

    fn start_for(
        data_dir: &Path,
        bin_dir: Option<&Path>,
        purpose: Purpose,
    ) -> Result<Self, EmbeddedPostgresError> {
        at(
            "cannot make the data folder",
            data_dir,
            fs::create_dir_all(data_dir),
        )?;
        let data_dir = at(
            "cannot open the data folder",
            data_dir,
            data_dir.canonicalize(),
        )?;
        let cluster = data_dir.join("postgres");
        // Before the lock: whose folder it is explains a refusal better than a file that cannot be opened.
        let account = Account::choose(&cluster)?;
        let lock = lock_soon(&data_dir)?;
        let binaries = Binaries::find(bin_dir, major_version(&cluster))?;
        let log = data_dir.join("postgres.log");
        if fs::metadata(&log).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
            at(
                "cannot rotate",
                &log,
                fs::rename(&log, log.with_extension("log.old")),
            )?;
        }
        let socket_dir = SocketDir::choose(&data_dir, account.as_ref())?;
        let stopping = Arc::new(AtomicBool::new(false));
        let launcher = Launcher {
            data_dir,
            cluster,
            account,
            binaries,
            log,
            socket_dir,
            purpose,
            stopping: Arc::clone(&stopping),
        };
        if !launcher.cluster.join("PG_VERSION").exists() {
            launcher.create()?;
        }
        launcher.stop_earlier()?;
        let (child, life) = launcher.run()?;

        let socket_dir = launcher.socket_dir.path.clone();
        let shared = Arc::new(Shared {
            stopping,
            life: Mutex::new(Some(life)),
        });
        let keeper = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("postgres-keeper".into())
                .spawn(move || keep_running(&launcher, &shared, child))
        };
        let keeper = Some(at("cannot start a thread for", &socket_dir, keeper)?);
        Ok(Self {
            socket_dir,
            shared,
            keeper,
            _lock: lock,
        })
    }

    /// How to connect to the database `lianka` of this cluster.
    pub fn connect_options(&self) -> PgConnectOptions {
        connect_options(&self.socket_dir)
    }

    /// The same as a URL that `psql` understands.
    pub fn url(&self) -> String {
        format!(
            "postgresql:///{NAME}?host={}&user={NAME}",
            percent_encoded(&self.socket_dir)
        )
    }

    /// Stops Postgres: open transactions are rolled back, a checkpoint is written. Blocks until it has ended.
    pub fn stop(mut self) {
        self.stop_now();
    }

    fn stop_now(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        drop(
            self.shared
                .life
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        if let Some(keeper) = self.keeper.take() {
            keeper.thread().unpark();
            if keeper.join().is_err() {
                error!("the thread that looks after Postgres panicked");
            }
        }
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        self.stop_now();
    }
}

/// How to connect to the private cluster of a server that runs on `data_dir` now, for commands beside it. `None` when none runs.
pub fn running_on(data_dir: &Path) -> Option<PgConnectOptions> {
    if lock(&data_dir.canonicalize().ok()?).is_ok() {
        return None;
    }
    let postmaster = Postmaster::read(&data_dir.join("postgres"))?;
    postmaster
        .ready
        .then(|| connect_options(&postmaster.socket_dir))
}

fn connect_options(socket_dir: &Path) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(socket_dir)
        .port(PORT)
        .username(NAME)
        .database(NAME)
}

fn percent_encoded(path: &Path) -> String {
    use std::{fmt::Write, os::unix::ffi::OsStrExt};
    path.as_os_str()
        .as_bytes()
        .iter()
        .fold(String::new(), |mut out, byte| {
            match byte {
                b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                    out.push(char::from(*byte));
                }
                _ => write!(out, "%{byte:02X}").unwrap_or_default(),
            }
            out
        })
}

/// How long a server that was just killed may take to let go of its folder.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(3);

/// Takes the data folder for this process; waits a moment for one whose server is being killed right now, as `kill -9 …; lianka serve` finds it.
fn lock_soon(data_dir: &Path) -> Result<File, EmbeddedPostgresError> {
    let began = Instant::now();
    loop {
        match lock(data_dir) {
            Err(EmbeddedPostgresError::InUse { .. }) if began.elapsed() < LOCK_WAIT_MAX => {
                thread::sleep(POLL_INTERVAL);
            }
            taken => return taken,
        }
    }
}

/// Takes the data folder for this process.
fn lock(data_dir: &Path) -> Result<File, EmbeddedPostgresError> {
    let path = data_dir.join("lock");
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let mut file = at("cannot open", &path, open)?;
    match file.try_lock() {
        Ok(()) => {
            let written = file
                .set_len(0)
                .and_then(|()| writeln!(file, "{}", std::process::id()));
            at("cannot write", &path, written)?;
            Ok(file)
        }
        Err(fs::TryLockError::WouldBlock) => {
            let process = fs::read_to_string(&path)
                .ok()
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty());
            Err(EmbeddedPostgresError::InUse {
                folder: data_dir.to_owned(),
                process,
            })
        }
        Err(fs::TryLockError::Error(cause)) => Err(EmbeddedPostgresError::Io {
            doing: "cannot lock",
            path,
            cause,
        }),
    }
}

/// Postgres' major version that made the cluster, if there is one.
fn major_version(cluster: &Path) -> Option<u32> {
    fs::read_to_string(cluster.join("PG_VERSION"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Gives a folder to the cluster's user and closes it to everybody else.
fn own(account: Option<&Account>, folder: &Path) -> Result<(), EmbeddedPostgresError> {
    if let Some(account) = account {
        at(
            "cannot give away",
            folder,
            std::os::unix::fs::chown(folder, Some(account.uid), Some(account.gid)),
        )?;
    }
    at(
        "cannot close",
        folder,
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)),
    )
}

/// Where the socket lies.
struct SocketDir {
    path: PathBuf,
    /// A folder below /tmp that is to be removed again.
    temporary: bool,
}

impl SocketDir {
    /// In the data folder where the path is short enough and the cluster's user gets there, else in a new closed folder below /tmp.
    fn choose(data_dir: &Path, account: Option<&Account>) -> Result<Self, EmbeddedPostgresError> {
        let path = data_dir.join("socket");
        let fits =
            path.as_os_str().len() + format!("/.s.PGSQL.{PORT}").len() <= SOCKET_PATH_BYTES_MAX;
        // Postgres takes a comma in the setting for the end of the folder's name, and sqlx and libpq want UTF-8.
        let plain = path.to_str().is_some_and(|path| !path.contains([',', '"']));
        if fits && plain && account.is_none_or(|account| account.can_reach(data_dir)) {
            if !path.is_dir() {
                at("cannot make", &path, fs::create_dir(&path))?;
            }
            own(account, &path)?;
            return Ok(Self {
                path,
                temporary: false,
            });
        }
        let parent = Path::new("/tmp");
        let path = at(
            "cannot make a folder in",
            parent,
            tempfile::Builder::new()
                .prefix("lianka-")
                .tempdir_in(parent),
        )?
        .keep();
        own(account, &path)?;
        Ok(Self {
            path,
            temporary: true,
        })
    }
}

/// Everything that is needed to start Postgres, once more if need be.
struct Launcher {
    data_dir: PathBuf,
    cluster: PathBuf,
    account: Option<Account>,
    binaries: Binaries,
    log: PathBuf,
    socket_dir: SocketDir,
    purpose: Purpose,
    /// The server ends: a Postgres that is not ready yet is not waited for.
    stopping: Arc<AtomicBool>,
}

impl Launcher {
    /// `sh` as the cluster's user, with `folder` open as its standard output and the log as its standard error.
    fn shell(&self, script: &str, folder: &Path) -> Result<Command, EmbeddedPostgresError> {
        let log = at(
            "cannot open",
            &self.log,
            OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(&self.log),
        )?;
        let folder = at("cannot open", folder, File::open(folder))?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script, "lianka-postgres"])
            .stdout(folder)
            .stderr(log)
            .current_dir("/")
            .process_group(0);
        // PGDATA, PGOPTIONS, LC_ALL and their like must not reach a cluster that is ours alone.
        command.env_clear().envs([("LC_ALL", "C"), ("TZ", "UTC")]);
        command.envs(
            ["PATH", "LD_LIBRARY_PATH"]
                .iter()
                .filter_map(|name| Some((*name, std::env::var_os(name)?))),
        );
        if let Some(account) = &self.account {
            // Setting the user of a child of root also clears its supplementary groups.
            command.uid(account.uid).gid(account.gid);
        }
        Ok(command)
    }

    /// The folder's name as its user must spell it.
    fn name_of<'a>(&self, folder: &'a Path) -> &'a Path {
        match &self.account {
            Some(account) if !account.can_reach(folder) => Path::new("/proc/self/fd/9"),
            _ => folder,
        }
    }

    /// Makes the cluster under another name and renames it, so that an interrupted start leaves nothing half made.
    fn create(&self) -> Result<(), EmbeddedPostgresError> {
        info!(
            "making a private Postgres {} in {}",
            self.binaries.version,
            self.cluster.display()
        );
        let unfinished = self.cluster.with_extension("new");
        if unfinished.exists() {
            at(
                "cannot remove",
                &unfinished,
                fs::remove_dir_all(&unfinished),
            )?;
        }
        at("cannot make", &unfinished, fs::create_dir(&unfinished))?;
        own(self.account.as_ref(), &unfinished)?;
        let mut command = self.shell(CREATE, &unfinished)?;
        command
            .arg(&self.binaries.initdb)
            .arg(&self.binaries.postgres)
            .arg(self.name_of(&unfinished));
        command
            .arg(if self.purpose == Purpose::Throwaway {
                "--no-sync"
            } else {
                ""
            })
            .stdin(Stdio::null());
        let status = at("cannot run", &self.binaries.initdb, command.status())?;
        if !status.success() {
            return Err(self.failure("initdb", status));
        }
        let settings = unfinished.join("postgresql.conf");
        let append = OpenOptions::new()
            .append(true)
            .open(&settings)
            .and_then(|mut file| file.write_all(TUNING.as_bytes()));
        at("cannot write", &settings, append)?;
        let access = unfinished.join("pg_hba.conf");
        at("cannot write", &access, fs::write(&access, ACCESS))?;
        if self.purpose == Purpose::Keep {
            for path in [&settings, &access, &unfinished] {
                at(
                    "cannot sync",
                    path,
                    File::open(path).and_then(|file| file.sync_all()),
                )?;
            }
        }
        at(
            "cannot rename",
            &unfinished,
            fs::rename(&unfinished, &self.cluster),
        )?;
        at(
            "cannot sync",
            &self.data_dir,
            File::open(&self.data_dir).and_then(|folder| folder.sync_all()),
        )
    }

    /// Ends a postmaster that a killed server left behind. We hold the folder's lock, so it cannot be another server's.
    fn stop_earlier(&self) -> Result<(), EmbeddedPostgresError> {
        let Some(postmaster) = Postmaster::read(&self.cluster) else {
            return Ok(());
        };
        if postmaster.runs_on(&self.cluster) {
            info!(
                process = postmaster.pid,
                "stopping the Postgres that an earlier server left running"
            );
            return if postmaster.stop() {
                Ok(())
            } else {
                Err(EmbeddedPostgresError::WillNotStop(postmaster.pid))
            };
        }
        if postmaster.is_alive() {
            // After a reboot the number belongs to somebody else, and Postgres would take that process for a postmaster and refuse.
            let path = Postmaster::path(&self.cluster);
            at("cannot remove", &path, fs::remove_file(&path))?;
        }
        Ok(())
    }

    /// Starts Postgres and waits until it takes connections.
    fn run(&self) -> Result<(Child, ChildStdin), EmbeddedPostgresError> {
        let began = Instant::now();
        let mut reported = began;
        loop {
            let stale = Postmaster::read(&self.cluster);
            let mut child = at(
                "cannot start",
                &self.binaries.postgres,
                self.command()?.spawn(),
            )?;
            let life = child.stdin.take();
            let ready = match self.wait_until_ready(&mut child, stale.as_ref(), began) {
                Err(EmbeddedPostgresError::Stopped) => {
                    // `sh` asks it to stop when the pipe closes; the folder is let go only when it has.
                    drop(life);
                    at("cannot wait for", &self.binaries.postgres, child.wait())?;
                    return Err(EmbeddedPostgresError::Stopped);
                }
                ready => ready?,
            };
            let Some(status) = ready else {
                // `stdin` was piped two lines up.
                if let Some(life) = life {
                    return Ok((child, life));
                }
                continue;
            };
            let failure = self.failure("postgres", status);
            let held = matches!(&failure, EmbeddedPostgresError::Failed { tail, .. } if tail.contains("shared memory block"));
            if !held || began.elapsed() > SHARED_MEMORY_WAIT_MAX {
                return Err(failure);
            }
            if reported.elapsed() > REPORT_INTERVAL {
                reported = Instant::now();
                info!(
                    "waiting for what is left of a Postgres that was killed to let go of its memory"
                );
            }
            thread::sleep(POLL_INTERVAL * 10);
        }
    }

    fn command(&self) -> Result<Command, EmbeddedPostgresError> {
        let mut command = self.shell(RUN, &self.cluster)?;
        let throwaway = self.purpose == Purpose::Throwaway;
        let none = Path::new("");
        command.arg(if throwaway { "QUIT" } else { "INT" });
        command.arg(if throwaway { &self.data_dir } else { none });
        command.arg(if self.socket_dir.temporary {
            &self.socket_dir.path
        } else {
            none
        });
        command
            .arg(&self.binaries.postgres)
            .arg("-D")
            .arg(self.name_of(&self.cluster));
        command
            .arg("-k")
            .arg(&self.socket_dir.path)
            .args(["-p", &PORT.to_string()]);
        let durability = if throwaway {
            [
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
            ]
        } else {
            ["fsync=on", "synchronous_commit=on", "full_page_writes=on"]
        };
        for setting in [
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "logging_collector=off",
        ]
        .iter()
        .chain(&durability)
        {
            command.args(["-c", setting]);
        }
        if throwaway {
            // Many test threads, each with a pool of its own.
            command.args(["-c", "max_connections=300", "-c", "autovacuum=off"]);
        }
        command.stdin(Stdio::piped());
        Ok(command)
    }

    /// `None` once Postgres is ready, its exit status when it ended instead.
    fn wait_until_ready(
        &self,
        child: &mut Child,
        stale: Option<&Postmaster>,
        began: Instant,
    ) -> Result<Option<ExitStatus>, EmbeddedPostgresError> {
        let mut reported = began;
        loop {
            if Postmaster::read(&self.cluster)
                .is_some_and(|now| now.ready && stale.is_none_or(|stale| !now.is_same_run(stale)))
            {
                return Ok(None);
            }
            if let Some(status) = at("cannot wait for", &self.binaries.postgres, child.try_wait())?
            {
                return Ok(Some(status));
            }
            if self.stopping.load(Ordering::SeqCst) {
                return Err(EmbeddedPostgresError::Stopped);
            }
            if began.elapsed() > START_TIME_MAX {
                return Err(EmbeddedPostgresError::TooSlow {
                    log: self.log.clone(),
                });
            }
            if reported.elapsed() > REPORT_INTERVAL {
                reported = Instant::now();
                info!("Postgres is still starting (after a crash it replays its log first)");
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    fn failure(&self, program: &'static str, status: ExitStatus) -> EmbeddedPostgresError {
        EmbeddedPostgresError::Failed {
            program,
            status,
            log: self.log.clone(),
            tail: last_lines(&self.log, 6),
        }
    }
}

/// The end of a text file, indented; empty when it cannot be read.
fn last_lines(path: &Path, lines_max: usize) -> String {
    let mut end = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        let start = file.metadata()?.len().saturating_sub(4096);
        file.seek(SeekFrom::Start(start))?;
        file.read_to_end(&mut end)
    });
    if read.is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&end);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(lines_max)..]
        .iter()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The keeper's thread: waits for Postgres to end and starts it again, until it is to stop.
fn keep_running(launcher: &Launcher, shared: &Shared, mut child: Child) {
    let mut pause = Duration::ZERO;
    loop {
        let began = Instant::now();
        match child.wait() {
            Ok(status) if shared.stopping.load(Ordering::SeqCst) => {
                return info!("Postgres has stopped ({status})");
            }
            Ok(status) => error!(
                "Postgres ended by itself ({status}); starting it again, see {}",
                launcher.log.display()
            ),
            Err(error) => error!("cannot wait for Postgres: {error}"),
        }
        if began.elapsed() > STEADY_AFTER {
            pause = Duration::ZERO;
        }
        child = loop {
            thread::park_timeout(pause);
            pause = (pause * 2).clamp(RESTART_PAUSE_MIN, RESTART_PAUSE_MAX);
            if shared.stopping.load(Ordering::SeqCst) {
                return;
            }
            match restart(launcher) {
                Ok((child, life)) => {
                    *shared.life.lock().unwrap_or_else(PoisonError::into_inner) = Some(life);
                    info!("Postgres runs again");
                    break child;
                }
                Err(error) => warn!(
                    "Postgres does not start, trying again in {} s: {error}",
                    pause.as_secs_f32()
                ),
            }
        };
        // `stop` may have come between the look above and the new pipe.
        if shared.stopping.load(Ordering::SeqCst) {
            drop(
                shared
                    .life
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take(),
            );
        }
    }
}

fn restart(launcher: &Launcher) -> Result<(Child, ChildStdin), EmbeddedPostgresError> {
    if launcher.socket_dir.temporary && !launcher.socket_dir.path.exists() {
        // The dying `sh` took the folder along; the address must stay the same for the pool.
        at(
            "cannot make",
            &launcher.socket_dir.path,
            fs::create_dir(&launcher.socket_dir.path),
        )?;
        own(launcher.account.as_ref(), &launcher.socket_dir.path)?;
    }
    launcher.stop_earlier()?;
    launcher.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_url_survives_spaces_and_chinese() {
        assert_eq!(
            percent_encoded(Path::new("/tmp/a b/联")),
            "/tmp/a%20b/%E8%81%94"
        );
    }

    #[test]
    fn a_data_folder_has_one_user() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let held = lock(folder.path()).expect("the first takes it");
        let refused = lock(folder.path())
            .expect_err("the second is refused")
            .to_string();
        assert!(
            refused.contains(&std::process::id().to_string()) && refused.contains("--data-dir"),
            "{refused}"
        );
        drop(held);
        lock(folder.path()).expect("free again");
    }

    #[test]
    fn a_socket_path_that_is_too_long_moves_below_tmp() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let deep = folder.path().join("d".repeat(120));
        fs::create_dir(&deep).expect("a long name");
        let socket = SocketDir::choose(&deep, None).expect("somewhere");
        assert!(socket.temporary && socket.path.starts_with("/tmp"));
        fs::remove_dir(&socket.path).expect("it is empty");
        let socket = SocketDir::choose(folder.path(), None).expect("somewhere");
        assert!(!socket.temporary && socket.path.starts_with(folder.path()));
    }
}
