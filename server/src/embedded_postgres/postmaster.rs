//! What `postmaster.pid` tells about the process that runs a cluster.
//!
//! Postgres writes it at start, keeps it while it runs and leaves it when it is killed. Its lines are part of Postgres' interface
//! (miscadmin.h): process, data folder, start time, port, socket folder, listen address, shared memory, status.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A fast shutdown writes one checkpoint.
const FAST_SHUTDOWN_MAX: Duration = Duration::from_mins(1);
const IMMEDIATE_SHUTDOWN_MAX: Duration = Duration::from_secs(10);

/// One run of Postgres on a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postmaster {
    pub pid: i32,
    /// Seconds since 1970, as text: it is only compared.
    started: String,
    pub socket_dir: PathBuf,
    /// It takes connections.
    pub ready: bool,
}

impl Postmaster {
    pub fn path(cluster: &Path) -> PathBuf {
        cluster.join("postmaster.pid")
    }

    /// What the file says; `None` without a file or while it is being written.
    pub fn read(cluster: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(Self::path(cluster)).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<_> = text.lines().collect();
        Some(Self {
            // A stand-alone backend writes its number negated.
            pid: lines
                .first()?
                .trim()
                .parse()
                .ok()
                .filter(|pid: &i32| *pid > 1)?,
            started: (*lines.get(2)?).to_owned(),
            socket_dir: PathBuf::from(lines.get(4).copied().unwrap_or_default()),
            ready: lines.get(7).is_some_and(|status| status.trim() == "ready"),
        })
    }

    pub fn is_same_run(&self, other: &Self) -> bool {
        (self.pid, &self.started) == (other.pid, &other.started)
    }

    /// Whether any process has the number.
    pub fn is_alive(&self) -> bool {
        matches!(
            kill(Pid::from_raw(self.pid), None),
            Ok(()) | Err(Errno::EPERM)
        )
    }

    /// Whether the process is a Postgres on this very folder, and not one that got the number after a reboot.
    pub fn runs_on(&self, cluster: &Path) -> bool {
        if !self.is_alive() {
            return false;
        }
        match fs::read_link(format!("/proc/{}/cwd", self.pid)) {
            // Postgres changes into its data folder first of all.
            Ok(cwd) => cwd == cluster,
            Err(_) => command_of(self.pid).is_some_and(|command| {
                command.ends_with("postgres") || command.ends_with("postmaster")
            }),
        }
    }

    /// Fast shutdown, then an immediate one; false when neither helps.
    pub fn stop(&self) -> bool {
        for (signal, timeout) in [
            (Signal::SIGINT, FAST_SHUTDOWN_MAX),
            (Signal::SIGQUIT, IMMEDIATE_SHUTDOWN_MAX),
        ] {
            // An error means that it is gone already, which the loop sees.
            let _ = kill(Pid::from_raw(self.pid), signal);
            let began = Instant::now();
            while began.elapsed() < timeout {
                if !self.is_alive() {
                    return true;
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
        !self.is_alive()
    }
}

/// The program a process runs, where there is no /proc.
fn command_of(pid: i32) -> Option<String> {
    let output = std::process::Command::new("ps")
        .args(["-o", "comm=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_postmaster_is_read_and_a_half_written_file_is_not() {
        let text = "12281\n/proc/self/fd/9\n1795296362\n5432\n/tmp/sock\n\n 10117127        10\nready   \n";
        let running = Postmaster::parse(text).expect("complete");
        assert_eq!(
            (running.pid, running.ready, running.socket_dir.as_path()),
            (12281, true, Path::new("/tmp/sock"))
        );
        let starting =
            Postmaster::parse("12281\n/data\n1795296362\n5432\n/tmp/sock\n\n").expect("enough");
        assert!(!starting.ready && starting.is_same_run(&running));
        assert_eq!(Postmaster::parse("122"), None);
        assert_eq!(Postmaster::parse("0\n\n\n"), None);
    }

    #[test]
    fn another_process_with_the_number_is_not_taken_for_postgres() {
        let me = Postmaster {
            pid: std::process::id() as i32,
            started: String::new(),
            socket_dir: PathBuf::new(),
            ready: true,
        };
        assert!(me.is_alive() && !me.runs_on(Path::new("/nowhere")));
    }
}
