//! A Postgres of a test's own, to be killed, stopped, filled and replaced: run from the programs that the tests' cluster runs from.
//!
//! The first one is made by initdb and migrated; every other is a copy of its files, and so is a standby. The clusters end with the test
//! process, however that ends: a shell holds the other end of a pipe.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use lianka_server::store;
use lianka_tests::fresh_database;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;

use super::until;

const RUN: &str = r#"exec 3<&0 </dev/null
"$@" 3<&- &
postgres=$!
{ read -r _ <&3; kill -s QUIT "$postgres"; } 2>/dev/null &
exec 3<&-
wait "$postgres""#;

/// Where the programs are, and whom they run as: root must become somebody else.
#[derive(Clone)]
struct Installed {
    bin: PathBuf,
    user: Option<(u32, u32)>,
}

impl Installed {
    async fn find() -> Self {
        let database = fresh_database().await;
        let told = async |query: &'static str| {
            let told: String = sqlx::query_scalar(query)
                .fetch_one(&database.pool)
                .await
                .expect("a superuser is told");
            PathBuf::from(told)
        };
        let bin = told("select setting from pg_config() where name = 'BINDIR'").await;
        let cluster = told("select pg_read_file('postmaster.pid', 0, 20)").await;
        let postmaster = cluster
            .to_string_lossy()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        // The owner of the running one: this process' own user, unless that is root.
        let owner = fs::metadata(format!("/proc/{postmaster}"))
            .map(|of| (of.uid(), of.gid()))
            .ok();
        let me = fs::metadata("/proc/self").map_or(0, |of| of.uid());
        Self {
            bin,
            user: owner.filter(|owner| owner.0 != me),
        }
    }

    fn command(&self, program: &str) -> Command {
        self.as_user(Command::new(self.bin.join(program)))
    }

    fn as_user(&self, mut command: Command) -> Command {
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
            .env("LC_ALL", "C")
            .env_remove("PGDATA")
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    fn own(&self, path: &Path) {
        if let Some((uid, gid)) = self.user {
            chown(path, Some(uid), Some(gid)).expect("root gives it away");
        }
    }
}

/// See the module. Dropping it stops it at once.
pub struct Cluster {
    installed: Installed,
    folder: TempDir,
    child: Option<Child>,
    /// Settings of every start.
    settings: Vec<String>,
    /// `ulimit -f` of its processes, in blocks of 512 bytes.
    file_blocks_max: Option<u64>,
}

impl Cluster {
    /// A running cluster with the schema.
    pub async fn start(settings: &[&str]) -> Self {
        let mut cluster = Self::stopped(settings).await;
        cluster.run().await;
        cluster
    }

    /// The same, not started yet.
    pub async fn stopped(settings: &[&str]) -> Self {
        let template = template().await;
        let cluster = Self::beside(template.0.clone(), settings);
        copy(&template.0, &template.1, &cluster.data());
        cluster
    }

    /// A standby of this one, which must be stopped; both are then to be started, this one first.
    pub fn standby(&self, settings: &[&str]) -> Self {
        assert!(self.child.is_none(), "its files do not move");
        let mut standby = Self::beside(self.installed.clone(), settings);
        copy(&self.installed, &self.data(), &standby.data());
        standby.settings.push(format!(
            "primary_conninfo=host={} user=lianka",
            self.socket().display()
        ));
        fs::write(standby.data().join("standby.signal"), "").expect("a file");
        standby
            .installed
            .own(&standby.data().join("standby.signal"));
        standby
    }

    fn beside(installed: Installed, settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("lianka-fault-")
            .tempdir_in("/tmp")
            .expect("a folder");
        installed.own(folder.path());
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        Self {
            installed,
            folder,
            child: None,
            settings,
            file_blocks_max: None,
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn socket(&self) -> &Path {
        self.folder.path()
    }

    /// How to connect.
    pub fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.socket())
            .username("lianka")
            .database("lianka")
    }

    pub async fn connect(&self) -> PgConnection {
        self.options()
            .connect()
            .await
            .expect("it takes connections")
    }

    pub async fn execute(&self, statement: &str) {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&mut self.connect().await)
            .await
            .expect("the statement works");
    }

    /// No file of the cluster may grow beyond this: what a full disk is to a table, for whoever may not mount one.
    pub fn limit_files(&mut self, blocks_max: Option<u64>) {
        self.file_blocks_max = blocks_max;
    }

    /// Starts it; returns when it takes connections.
    pub async fn run(&mut self) {
        self.launch();
        until("a running Postgres", async || {
            self.options().connect().await.is_ok()
        })
        .await;
    }

    /// Starts it, and waits for nothing.
    pub fn launch(&mut self) {
        let script = self.file_blocks_max.map_or(RUN.to_owned(), |blocks| {
            format!("ulimit -f {blocks}\n{RUN}")
        });
        let mut command = self.installed.as_user(Command::new("/bin/sh"));
        command
            .args(["-c", &script, "lianka-fault"])
            .arg(self.installed.bin.join("postgres"))
            .arg("-D")
            .arg(self.data());
        command.arg("-k").arg(self.socket()).args([
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
            "-c",
            "shared_buffers=16MB",
        ]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let log = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.folder.path().join("log"))
            .expect("a log");
        self.child = Some(
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(log)
                .process_group(0)
                .spawn()
                .expect("sh runs"),
        );
    }

    fn postmaster(&self) -> String {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).expect("it runs");
        text.lines().next().expect("a number").to_owned()
    }

    /// Sends the postmaster a signal.
    pub fn signal(&self, name: &str) {
        signal(&self.postmaster(), name);
    }

    /// The same for the postmaster and all its children.
    pub fn signal_all(&self, name: &str) {
        let postmaster = self.postmaster();
        let children = Command::new("ps")
            .args(["-o", "pid=", "--ppid", &postmaster])
            .output()
            .expect("ps runs")
            .stdout;
        signal(&postmaster, name);
        for child in String::from_utf8_lossy(&children).split_whitespace() {
            signal(child, name);
        }
    }

    /// Waits until every process of the cluster has ended.
    pub async fn ended(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.wait().expect("it can be waited for");
        }
        // Backends of a killed postmaster let go of the folder in their own time.
        let mine = |link: PathBuf| fs::read_link(link).is_ok_and(|cwd| cwd == self.data());
        let lives = || {
            fs::read_dir("/proc")
                .into_iter()
                .flatten()
                .flatten()
                .any(|entry| mine(entry.path().join("cwd")))
        };
        until("the end of the cluster's processes", async || !lives()).await;
        let _ = fs::remove_file(self.data().join("postmaster.pid"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The pipe closes, and the shell asks for an immediate stop.
            drop(child.stdin.take());
            if fs::exists(self.data().join("postmaster.pid")).unwrap_or(false) {
                self.signal_all("CONT");
            }
            let _ = child.wait();
        }
    }
}

pub fn signal(process: &str, name: &str) {
    let _ = Command::new("kill")
        .args(["-s", name, process])
        .stderr(Stdio::null())
        .status()
        .expect("kill runs");
}

fn copy(installed: &Installed, from: &Path, to: &Path) {
    let copied = installed
        .as_user(Command::new("cp"))
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .expect("cp runs");
    assert!(copied.success());
}

/// The files that every cluster begins with, kept as long as the process.
async fn template() -> &'static (Installed, PathBuf) {
    static TEMPLATE: tokio::sync::OnceCell<(Installed, PathBuf)> =
        tokio::sync::OnceCell::const_new();
    /// Statics are not dropped: this shell removes the folder when the process is gone.
    static REMOVER: OnceLock<Child> = OnceLock::new();
    TEMPLATE
        .get_or_init(|| async {
            let installed = Installed::find().await;
            let mut cluster = Cluster::beside(installed.clone(), &[]);
            let data = cluster.data();
            let mut initdb = installed.command("initdb");
            // Small segments, so that a copy is small.
            initdb
                .args([
                    "-U",
                    "lianka",
                    "-A",
                    "trust",
                    "-E",
                    "UTF8",
                    "--locale=C",
                    "--no-sync",
                    "--wal-segsize=1",
                    "-D",
                ])
                .arg(&data);
            assert!(
                initdb
                    .stdout(Stdio::null())
                    .status()
                    .expect("initdb runs")
                    .success()
            );
            cluster.launch();
            let admin = cluster.options().database("postgres");
            until("a running Postgres", async || {
                admin.clone().connect().await.is_ok()
            })
            .await;
            let mut connection = admin.connect().await.expect("it runs");
            sqlx::raw_sql("create database lianka")
                .execute(&mut connection)
                .await
                .expect("a database");
            drop(connection);
            let pool = store::connect(cluster.options(), 1)
                .await
                .expect("it takes connections");
            store::migrate(&pool).await.expect("the migrations apply");
            pool.close().await;
            cluster.signal("INT");
            cluster.ended().await;
            let folder =
                std::mem::replace(&mut cluster.folder, tempfile::tempdir().expect("a folder"))
                    .keep();
            let mut remover = Command::new("/bin/sh");
            remover
                .args(["-c", r#"read -r _; rm -rf -- "$1""#, "lianka-fault"])
                .arg(&folder);
            let remover = remover
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn();
            REMOVER.get_or_init(|| remover.expect("sh runs"));
            (installed, folder.join("data"))
        })
        .await
}
