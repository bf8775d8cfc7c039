//! What is played with: servers and phones of any version, as the programs that their users had.
//!
//! In: folders with programs, and where a deployment keeps its data. Out: a server's address and its database, a phone's JSON. A server is stopped by
//! SIGTERM and waited for; one that is dropped is killed, and its private Postgres stops by itself.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use lianka_server::embedded_postgres;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use sqlx::{ConnectOptions, PgConnection};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    time::timeout,
};

use crate::line::Line;

const START_TIME_MAX: Duration = Duration::from_mins(2);
const STOP_TIME_MAX: Duration = Duration::from_mins(1);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A server that runs; see the module.
pub struct Server {
    child: Child,
    data: PathBuf,
    pub url: String,
}

impl Server {
    /// Starts a version's server on a data folder and waits until it is ready. Fails with what it said where it ends before that.
    pub async fn start(programs: &Path, data: &Path) -> anyhow::Result<Self> {
        let (address_file, log) = (data.join("address"), data.join("server.log"));
        let _ = fs::remove_file(&address_file);
        let mut command = bare(&programs.join("lianka"));
        command.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--ops-listen",
            "127.0.0.1:0",
            "--token-minutes",
            "600",
            "--log",
            "warn",
            "--data-dir",
        ]);
        command.arg(data).arg("--address-file").arg(&address_file);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", programs.display()))?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let ready = async {
            let mut poll = tokio::time::interval(POLL_INTERVAL);
            loop {
                poll.tick().await;
                if let Some(status) = child.try_wait()? {
                    bail!(
                        "the server ended ({status}): {}",
                        fs::read_to_string(&log).unwrap_or_default().trim()
                    );
                }
                let Some(address) = fs::read_to_string(&address_file)
                    .ok()
                    .and_then(|text| Some(text.lines().next()?.to_owned()))
                else {
                    continue;
                };
                let url = format!("http://{address}");
                if http
                    .get(format!("{url}/readyz"))
                    .send()
                    .await
                    .is_ok_and(|answer| answer.status().is_success())
                {
                    return anyhow::Ok(url);
                }
            }
        };
        let url = timeout(START_TIME_MAX, ready)
            .await
            .context("the server is not ready in time")??;
        Ok(Self {
            child,
            data: data.to_owned(),
            url,
        })
    }

    /// Its database, beside it.
    pub async fn database(&self) -> anyhow::Result<PgConnection> {
        let options =
            embedded_postgres::running_on(&self.data).context("no private Postgres runs")?;
        Ok(options.connect().await?)
    }

    pub async fn stop(mut self) -> anyhow::Result<()> {
        let id = self.child.id().context("the server has ended by itself")?;
        kill(Pid::from_raw(id.cast_signed()), Signal::SIGTERM)?;
        let status = timeout(STOP_TIME_MAX, self.child.wait())
            .await
            .context("the server does not stop")??;
        ensure!(
            status.success(),
            "the server did not stop cleanly ({status})"
        );
        Ok(())
    }
}

/// A subcommand of a version's `lianka` on a data folder; what it printed.
pub async fn lianka(
    programs: &Path,
    data: &Path,
    arguments: &[&str],
    input: &str,
) -> anyhow::Result<String> {
    let mut command = bare(&programs.join("lianka"));
    command
        .args(arguments)
        .env("LIANKA_DATA_DIR", data)
        .env("LIANKA_LANG", "en")
        .env("LIANKA_LOG", "error");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    // It may end before it reads.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    printed(
        &format!("lianka {}", arguments.join(" ")),
        &child.wait_with_output().await?,
    )
}

/// A program that sees none of the caller's settings.
fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name == "DATABASE_URL" || name.as_encoded_bytes().starts_with(b"LIANKA_") {
            command.env_remove(name);
        }
    }
    command.kill_on_drop(true);
    command
}

fn printed(what: &str, output: &Output) -> anyhow::Result<String> {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(
        output.status.success(),
        "{what}: {} {}",
        err.trim(),
        out.trim()
    );
    Ok(out.into_owned())
}

/// A phone: a version's program and a file.
#[derive(Clone, Debug)]
pub struct Phone {
    pub program: PathBuf,
    pub file: PathBuf,
}

impl Phone {
    pub fn new(programs: &Path, file: &Path) -> Self {
        Self {
            program: programs.join("lianka-phone"),
            file: file.to_owned(),
        }
    }

    pub async fn enrol(&self, server: &str, code: &str) -> anyhow::Result<()> {
        self.run(&[
            "enrol", "--server", server, "--code", code, "--name", "手机",
        ])
        .await
        .map(drop)
    }

    /// Runs a command; what it printed.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = bare(&self.program)
            .arg("--store")
            .arg(&self.file)
            .args(["--lang", "en"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .await?;
        printed(
            &format!("{} {}", self.file.display(), arguments.join(" ")),
            &output,
        )
    }

    pub async fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let arguments = [arguments, &["--json"]].concat();
        Ok(serde_json::from_str(&self.run(&arguments).await?)?)
    }

    pub async fn sync(&self) -> anyhow::Result<Value> {
        self.json(&["sync"]).await
    }

    /// Synchronises over a line that breaks the answer off, and ends the moment the phone has stored what came.
    pub async fn sync_cut(&self, line: &Line) -> anyhow::Result<()> {
        let asked_again = line.cut();
        let mut child = bare(&self.program)
            .arg("--store")
            .arg(&self.file)
            .arg("sync")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // It asks again only after it has stored what it was told.
        timeout(START_TIME_MAX, asked_again.notified())
            .await
            .context("the phone does not ask again")?;
        child.kill().await?;
        line.mend();
        Ok(())
    }

    /// The card with this sign, which only one card has.
    pub async fn card(&self, sign: &str) -> anyhow::Result<String> {
        let cards = self.json(&["cards"]).await?;
        let found: Vec<_> = cards
            .as_array()
            .into_iter()
            .flatten()
            .filter(|card| card["sign_name"] == sign)
            .collect();
        let [card] = found.as_slice() else {
            bail!("{} cards are signed {sign}", found.len())
        };
        Ok(card["record"]
            .as_str()
            .context("a card without an id")?
            .to_owned())
    }

    /// Makes a card; its id.
    pub async fn create(
        &self,
        grid: &str,
        sign: &str,
        address: &str,
        fields: &[&str],
    ) -> anyhow::Result<String> {
        let arguments = [
            &[
                "new",
                "--grid",
                grid,
                "--sign-name",
                sign,
                "--address",
                address,
            ],
            fields,
        ]
        .concat();
        self.run(&arguments).await?;
        self.card(sign).await
    }

    pub async fn set(&self, card: &str, fields: &[&str]) -> anyhow::Result<()> {
        self.run(&[&["set", card], fields].concat()).await.map(drop)
    }

    /// The same phone's file under another program.
    pub fn with(&self, programs: &Path) -> Self {
        Self::new(programs, &self.file)
    }
}
