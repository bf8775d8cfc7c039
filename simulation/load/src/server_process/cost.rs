//! What a process and everything below it use, read from Linux' `/proc`; elsewhere everything is nought.
//!
//! Processor time counts every living process and the children that each has waited for, so a Postgres backend that came and went is in
//! its postmaster's. Memory is proportional: a page that ten backends share counts once, where a sum of resident sizes counts it ten times.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

/// The kernel counts processor time for user space in hundredths of a second on every architecture.
const TICK_MS: u64 = 10;
/// Reading the sizes of twenty backends takes milliseconds of the two cores that are measured, and memory seldom shrinks.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(500);

/// Processor time used so far.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Cost {
    /// By the server itself, in milliseconds.
    pub server_cpu_ms: u64,
    /// By its Postgres, in milliseconds.
    pub postgres_cpu_ms: u64,
}

impl Cost {
    /// Of both together.
    pub fn cpu_ms(self) -> u64 {
        self.server_cpu_ms + self.postgres_cpu_ms
    }

    /// What was used since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            server_cpu_ms: self.server_cpu_ms.saturating_sub(earlier.server_cpu_ms),
            postgres_cpu_ms: self.postgres_cpu_ms.saturating_sub(earlier.postgres_cpu_ms),
        }
    }
}

/// What the process `server` and everything below it used.
pub fn of(server: u32) -> Cost {
    let mut cost = Cost::default();
    for process in tree(server) {
        if process.id == server {
            // Its only children are its Postgres and programs that set that up.
            cost.server_cpu_ms = process.own_ticks * TICK_MS;
            cost.postgres_cpu_ms += process.waited_ticks * TICK_MS;
        } else {
            cost.postgres_cpu_ms += (process.own_ticks + process.waited_ticks) * TICK_MS;
        }
    }
    cost
}

/// What is held at one moment.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Holding {
    /// Resident memory of the server.
    pub server_kib: u64,
    /// Proportional memory of all processes of its Postgres, its buffer cache as far as it was touched.
    pub postgres_kib: u64,
    /// What these processes hold for themselves, without the buffer cache that they share.
    pub postgres_own_kib: u64,
    /// Open files and sockets of the server.
    pub files: usize,
}

/// What the process `server` and everything below it hold.
pub fn holding(server: u32) -> Holding {
    Holding {
        server_kib: status_kib(server, "VmRSS:").unwrap_or(0),
        postgres_kib: of_postgres_kib(server, "Pss:"),
        postgres_own_kib: of_postgres_kib(server, "Pss_Anon:"),
        files: fs::read_dir(format!("/proc/{server}/fd")).map_or(0, Iterator::count),
    }
}

/// The greatest resident memory that a process had, in KiB.
pub fn peak_kib(process: u32) -> u64 {
    status_kib(process, "VmHWM:").unwrap_or(0)
}

/// Lets the kernel count a process' greatest memory anew: proc(5), `clear_refs`.
pub fn forget_peak(process: u32) {
    // Where it may not, the peak is that of all phases before as well.
    let _ = fs::write(format!("/proc/{process}/clear_refs"), "5");
}

/// Watches the memory of a process tree from a thread of its own, so that busy phones do not delay it.
pub struct PeakMemory {
    server: u32,
    peaks: Arc<Peaks>,
    /// Dropping it ends the thread.
    _running: Sender<()>,
}

#[derive(Default)]
struct Peaks {
    server_kib: AtomicU64,
    postgres_kib: AtomicU64,
}

impl PeakMemory {
    pub fn watch(server: u32) -> Self {
        let peaks = Arc::new(Peaks::default());
        let (running, ended) = mpsc::channel::<()>();
        let noted = Arc::clone(&peaks);
        // Without the thread there would merely be no figures.
        let _ = thread::Builder::new()
            .name("memory-watch".into())
            .spawn(move || {
                while ended.recv_timeout(SAMPLE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    noted.sample(server);
                }
            });
        Self {
            server,
            peaks,
            _running: running,
        }
    }

    /// Looks now: at the end of a phase, which the thread may just miss.
    pub fn sample(&self) {
        self.peaks.sample(self.server);
    }

    /// Of the server and its Postgres, as if both had had theirs at the same moment.
    pub fn together_mib(&self) -> f64 {
        self.server_mib() + self.postgres_mib()
    }

    /// Of the server itself; the kernel keeps this peak, so no moment is missed.
    pub fn server_mib(&self) -> f64 {
        mib(&self.peaks.server_kib)
    }

    /// Of all processes of its Postgres at the same moment.
    pub fn postgres_mib(&self) -> f64 {
        mib(&self.peaks.postgres_kib)
    }
}

impl Peaks {
    fn sample(&self, server: u32) {
        self.server_kib
            .fetch_max(status_kib(server, "VmHWM:").unwrap_or(0), Ordering::Relaxed);
        self.postgres_kib
            .fetch_max(of_postgres_kib(server, "Pss:"), Ordering::Relaxed);
    }
}

fn mib(kib: &AtomicU64) -> f64 {
    kib.load(Ordering::Relaxed) as f64 / 1024.0
}

fn status_kib(process: u32, key: &str) -> Option<u64> {
    kib_of(
        &fs::read_to_string(format!("/proc/{process}/status")).ok()?,
        key,
    )
}

/// Proportional memory, or a part of it, of everything below the server together.
fn of_postgres_kib(server: u32, part: &str) -> u64 {
    tree(server)
        .iter()
        .filter(|process| process.id != server)
        .map(|process| proportional_kib(process.id, part))
        .sum()
}

/// Resident memory, or a part of it, with shared pages divided among those who share them; where the kernel does not tell us, what is the process'
/// alone.
fn proportional_kib(process: u32, part: &str) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok();
    rollup
        .and_then(|text| kib_of(&text, part))
        .or_else(|| status_kib(process, "RssAnon:"))
        .unwrap_or(0)
}

/// The number of a line such as `VmHWM:     1234 kB`.
fn kib_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(key)?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    })
}

struct Process {
    id: u32,
    parent: u32,
    own_ticks: u64,
    waited_ticks: u64,
}

/// The process and all its descendants that live.
fn tree(root: u32) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut by_parent: BTreeMap<u32, Vec<Process>> = BTreeMap::new();
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // Gone since the folder was read.
        let Some(process) = fs::read_to_string(format!("/proc/{id}/stat"))
            .ok()
            .and_then(|stat| parse_stat(id, &stat))
        else {
            continue;
        };
        if id == root {
            found.push(process);
        } else {
            by_parent.entry(process.parent).or_default().push(process);
        }
    }
    let mut next = 0;
    while let Some(id) = found.get(next).map(|process| process.id) {
        found.extend(by_parent.remove(&id).unwrap_or_default());
        next += 1;
    }
    found
}

/// proc(5): `pid (name) state ppid …`; the name may hold spaces and parentheses.
fn parse_stat(id: u32, stat: &str) -> Option<Process> {
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
    Some(Process {
        id,
        parent: fields.get(1)?.parse().ok()?,
        own_ticks: number(11)? + number(12)?,
        waited_ticks: number(13)? + number(14)?,
    })
}

/// Disk that a folder takes, in MiB. Files that go while it is read count nothing.
pub fn disk_mib(folder: &Path) -> f64 {
    fn blocks(folder: &Path) -> u64 {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let found = entry.metadata().ok()?;
                Some(
                    found.blocks()
                        + if found.is_dir() {
                            blocks(&entry.path())
                        } else {
                            0
                        },
                )
            })
            .sum()
    }
    blocks(folder) as f64 * 512.0 / 1_048_576.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_hold_anything() {
        let stat = "42 (a) b) S 7 42 42 0 -1 4194304 1 2 3 4 50 60 70 80 20 0 1 0 1 2 3";
        let process = parse_stat(42, stat).expect("a line of the kernel's");
        assert_eq!(
            (process.parent, process.own_ticks, process.waited_ticks),
            (7, 110, 150)
        );
        assert!(parse_stat(42, "nonsense").is_none());
    }

    #[test]
    fn a_status_line_is_in_kib() {
        assert_eq!(
            kib_of("VmRSS:\t  12 kB\nVmHWM:\t  345 kB\n", "VmHWM:"),
            Some(345)
        );
        assert_eq!(kib_of("", "VmHWM:"), None);
    }
}
