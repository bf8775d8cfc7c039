//! Phones: the real client on a real `SQLite` file each, and what can befall such a file.
//!
//! **What a loss of power leaves.** The client's store promises that a commit is on the medium before it returns (write-ahead log, `synchronous`
//! FULL: `SQLite` flushes the log at every commit). So a crash keeps the file and the log up to the last commit, and behind it a torn piece of what
//! was being written: frames with the right salt and a wrong checksum, or random bytes. Where a connection does not flush at every commit, the log's last
//! commits are still in memory when power fails, and some of them are lost: the engine asks the connection how it is set (`flushed`) instead
//! of trusting it. Whatever lives in the process alone is lost in any case.

use std::{
    fs,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use lianka_client::{
    Phone, PhoneError, SyncReport,
    clock::{Clock, Entropy},
    phone::Backoff,
    transport::Transport,
};
use lianka_sync_core::lang::Lang;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    draw::Draw,
    network::{Signal, SimulatedLine},
    script::Weather,
};

/// A synchronisation under way.
pub type Running = Pin<Box<dyn Future<Output = Result<SyncReport, PhoneError>> + Send>>;

/// The name that phones give to the office.
pub const SERVER: &str = "http://office.test";
/// `PRAGMA user_version` of the file that 0.1.0 wrote, and what later ones added to it.
const OLD_FILE: &str = "
    PRAGMA secure_delete = ON;
    DROP TABLE IF EXISTS notice;
    CREATE TABLE old_record (
        record BLOB PRIMARY KEY CHECK (length(record) = 16),
        kind TEXT NOT NULL,
        grid TEXT NOT NULL,
        generation INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        leaving INTEGER NOT NULL DEFAULT 0,
        before_reset INTEGER NOT NULL DEFAULT 0,
        snapshot BLOB NOT NULL
    ) STRICT;
    INSERT INTO old_record SELECT record, kind, grid, generation, seq, leaving, before_reset, bytes FROM record JOIN snapshot USING (record);
    DROP TABLE record;
    DROP TABLE snapshot;
    ALTER TABLE old_record RENAME TO record;
    PRAGMA user_version = 1;";

/// One phone and what it stands in.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own that the script sets"
)]
pub struct Rig {
    pub no: usize,
    pub username: String,
    pub device: Uuid,
    pub path: PathBuf,
    /// `None`: never enrolled, or gone.
    pub phone: Option<Phone>,
    pub gone: bool,
    pub skew_ms: i64,
    pub weather: Weather,
    /// [`Weather::Tunnel`]: one request of this synchronisation was sent.
    pub in_tunnel: bool,
    pub older: bool,
    /// It was an older version once, whose file has no place for notices.
    pub was_older: bool,
    pub running: Option<Running>,
    /// Counts synchronisations and crashes: what was meant for a former one is nobody's.
    pub incarnation: u64,
    /// The step that began the synchronisation under way, and its calls so far.
    pub sync_step: u64,
    pub calls: u64,
    pub signals: mpsc::UnboundedReceiver<Signal>,
    /// Length of the log before and after the newest thing that the synchronisation did, where nobody outside heard of it.
    pub unheard: Option<(usize, usize)>,
    line: SimulatedLine,
    clock: Arc<AtomicI64>,
    entropy: Entropy,
}

impl Rig {
    pub fn new(seed: u64, no: usize, username: &str, folder: &Path) -> Self {
        let (sender, signals) = mpsc::unbounded_channel();
        Self {
            no,
            username: username.to_owned(),
            device: Uuid::nil(),
            path: folder.join(format!("phone-{no}.db")),
            phone: None,
            gone: false,
            skew_ms: 0,
            weather: Weather::default(),
            in_tunnel: false,
            older: false,
            was_older: false,
            running: None,
            incarnation: 0,
            sync_step: 0,
            calls: 0,
            signals,
            unheard: None,
            line: SimulatedLine(sender),
            clock: Arc::default(),
            entropy: Entropy::seeded(Draw::of(seed, "entropy", no as u64).number()),
        }
    }

    pub fn set_time(&self, true_unix_ms: i64) {
        self.clock
            .store(true_unix_ms + self.skew_ms, Ordering::SeqCst);
    }

    pub fn clock(&self) -> Clock {
        Clock::Fixed(self.clock.clone())
    }

    pub fn entropy(&self) -> Entropy {
        self.entropy.clone()
    }

    pub fn line(&self) -> SimulatedLine {
        self.line.clone()
    }

    pub fn transport(&self) -> Transport {
        Transport::over(Arc::new(self.line.clone()), SERVER, Lang::Zh)
    }

    /// A line on which nothing of before is heard any more.
    pub fn new_line(&mut self) {
        let (sender, signals) = mpsc::unbounded_channel();
        (self.line, self.signals) = (SimulatedLine(sender), signals);
        (self.running, self.unheard) = (None, None);
        self.incarnation += 1;
    }

    /// Length of the log beside the file.
    pub fn log_bytes(&self) -> usize {
        fs::metadata(log_of(&self.path)).map_or(0, |log| log.len() as usize)
    }

    /// Starts the program on the file that is there.
    pub fn open(&mut self) -> Result<(), PhoneError> {
        self.new_line();
        let phone = Phone::open(&self.path)?
            .with_clock(self.clock())
            .with_entropy(self.entropy())
            .with_transport(self.transport());
        self.take(phone);
        Ok(())
    }

    /// The phone is this one from now on.
    pub fn take(&mut self, phone: Phone) {
        self.phone = Some(phone.with_backoff(Backoff {
            tries_max: 4,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(30),
        }));
    }

    /// Begins to synchronise.
    pub fn begin(&mut self) {
        let Some(phone) = self.phone.clone() else {
            return;
        };
        self.incarnation += 1;
        self.in_tunnel = false;
        self.running = Some(Box::pin(async move { phone.sync().await }));
    }

    /// The program dies, nothing is written any more.
    pub fn stop(&mut self) {
        self.new_line();
        self.phone = None;
    }

    /// Power fails and comes back.
    pub fn crash(&mut self, draw: &mut Draw) -> Result<(), PhoneError> {
        let Some(phone) = &self.phone else {
            return Ok(());
        };
        let left = flushed(phone, &self.path, self.unheard, draw)?;
        // Closing writes the log back into the file; what power left is put in its place.
        self.stop();
        left.put(&self.path)?;
        self.open()
    }

    /// Starts as a copy of another phone: its file, as a backup of the whole phone would bring it.
    pub fn open_copy(&mut self, files: &Files, device: Uuid) -> Result<(), PhoneError> {
        files.put(&self.path)?;
        self.device = device;
        self.open()
    }

    /// The file as an older version of the program has it.
    pub fn age(&mut self) -> Result<(), PhoneError> {
        self.stop();
        if let Ok(connection) = rusqlite::Connection::open(&self.path) {
            connection
                .execute_batch(OLD_FILE)
                .map_err(|error| PhoneError::Store(error.into()))?;
        }
        (self.older, self.was_older) = (true, true);
        self.open()
    }
}

/// A phone's file and the log beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Files {
    pub main: Vec<u8>,
    pub log: Vec<u8>,
}

impl Files {
    pub fn read(path: &Path) -> Result<Self, PhoneError> {
        let log = fs::read(log_of(path)).unwrap_or_default();
        Ok(Self {
            main: fs::read(path).map_err(io)?,
            log,
        })
    }

    pub fn put(&self, path: &Path) -> Result<(), PhoneError> {
        remove(path);
        fs::write(path, &self.main).map_err(io)?;
        if self.log.is_empty() {
            Ok(())
        } else {
            fs::write(log_of(path), &self.log).map_err(io)
        }
    }
}

/// Removes a phone's file and what lies beside it.
pub fn remove(path: &Path) {
    for end in ["", "-wal", "-shm", ".sync-lock"] {
        // What is not there needs no removing.
        let _ = fs::remove_file(beside(path, end));
    }
}

fn io(error: std::io::Error) -> PhoneError {
    PhoneError::Store(error.into())
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn log_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

const LOG_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// What is left of a phone's file when power fails now, or, where a synchronisation is under way, between any two commits of the newest thing that
/// it did: transactions that belong together are one, or a phone can be left with half of them.
fn flushed(
    phone: &Phone,
    path: &Path,
    unheard: Option<(usize, usize)>,
    draw: &mut Draw,
) -> Result<Files, PhoneError> {
    let mut files = Files::read(path)?;
    if files.log.len() < LOG_HEADER_BYTES {
        return Ok(files);
    }
    let commits = commits(&files.log);
    let whole = commits.last().copied().unwrap_or(LOG_HEADER_BYTES);
    let kept = if phone.flushes_every_commit()? || commits.is_empty() {
        match unheard {
            // Nothing was saved for the user since.
            Some((before, after)) if after == files.log.len() => {
                let left: Vec<_> = commits
                    .iter()
                    .copied()
                    .filter(|end| *end >= before)
                    .collect();
                if left.is_empty() {
                    whole
                } else {
                    *draw.pick(&left)
                }
            }
            _ => whole,
        }
    } else {
        // Any number of the last commits were in memory only, one at least.
        let left = draw.below(commits.len());
        if left == 0 {
            LOG_HEADER_BYTES
        } else {
            commits[left - 1]
        }
    };
    let salts = files.log[16..24].to_vec();
    files.log.truncate(kept);
    match draw.below(3) {
        0 => {}
        1 => {
            let length = draw.below(6_000);
            files.log.extend(draw.bytes(length));
        }
        _ => {
            // The next transaction's first frame, torn: page 2 in a file of 9 pages, its checksum that of nothing.
            files.log.extend([0, 0, 0, 2, 0, 0, 0, 9]);
            files.log.extend(salts);
            let torn = 8 + draw.below(4_096);
            files.log.extend(draw.bytes(torn));
        }
    }
    Ok(files)
}

/// Where the log's commits end, in order, after its header: a frame whose second word is not 0 ends one (`SQLite`'s file format, 4.1).
fn commits(log: &[u8]) -> Vec<usize> {
    let word = |at: usize| {
        log.get(at..at + 4).map_or(0, |bytes| {
            u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
        })
    };
    let page = word(8) as usize;
    let mut ends = Vec::new();
    let mut at = LOG_HEADER_BYTES;
    while page > 0
        && at + FRAME_HEADER_BYTES + page <= log.len()
        && log[at + 8..at + 16] == log[16..24]
    {
        let end = at + FRAME_HEADER_BYTES + page;
        if word(at + 4) > 0 {
            ends.push(end);
        }
        at = end;
    }
    ends
}
