//! The server as a process of its own on a private Postgres: started, killed, started again.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use lianka_server::{
    config::ServeConfig, embedded_postgres, privacy::forgetting::files_with, upkeep::refresh,
};
use lianka_sync_core::{crdt::record::Edit, id::EntryId};
use lianka_tests::{TestApp, program};
use serde_json::json;
use sqlx::{ConnectOptions, PgConnection};
use uuid::Uuid;

use crate::sync::phone::{HOME, Office, Phone, put};

struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Starts on `data_dir` and waits for the line that tells the address.
    fn start(data_dir: &Path) -> Self {
        let mut child = command(data_dir)
            .stdout(Stdio::piped())
            .spawn()
            .expect("lianka runs");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("a line or the end");
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .expect("the server starts")
            .to_owned();
        Self { child, url }
    }

    fn stop(mut self) {
        signal(&self.child.id(), "TERM");
        assert!(self.child.wait().expect("it ends").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After an orderly stop there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(program("lianka"));
    command
        .args([
            "serve",
            "--listen=127.0.0.1:0",
            "--ops-listen=127.0.0.1:0",
            "--log=warn",
        ])
        .arg("--data-dir")
        .arg(data_dir);
    command.env_remove("DATABASE_URL");
    command
}

fn signal(process: &impl std::fmt::Display, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &format!("{process}")])
        .status()
        .expect("kill runs");
    assert!(sent.success());
}

fn postmaster(data_dir: &Path) -> Option<String> {
    let text = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
    Some(text.lines().next()?.to_owned())
}

async fn connect(data_dir: &Path) -> PgConnection {
    embedded_postgres::running_on(data_dir)
        .expect("a server runs here")
        .connect()
        .await
        .expect("its Postgres takes connections")
}

/// Processes end in their own time, and nothing tells a stranger when.
async fn until(what: &str, mut come: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while !come().await {
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "{what} did not come"
        );
        tick.tick().await;
    }
}

/// By hand: this asks whether a process answers at all, and reqwest wants a TLS provider even for that.
fn is_ready(server: &Server) -> bool {
    let mut answer = String::new();
    let asked =
        TcpStream::connect(server.url.trim_start_matches("http://")).and_then(|mut stream| {
            stream
                .write_all(b"GET /readyz HTTP/1.1\r\nhost: lianka\r\nconnection: close\r\n\r\n")?;
            stream.read_to_string(&mut answer)
        });
    asked.is_ok() && answer.starts_with("HTTP/1.1 200")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn what_was_committed_survives_a_killed_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut server = Server::start(&data);
    let mut connection = connect(&data).await;
    sqlx::raw_sql("create table kept as select 42 as answer")
        .execute(&mut connection)
        .await
        .expect("committed");
    server.child.kill().expect("kill -9");
    server.child.wait().expect("it is gone");

    let server = Server::start(&data);
    let kept: i32 = sqlx::query_scalar("select answer from kept")
        .fetch_one(&mut connect(&data).await)
        .await
        .expect("still there");
    assert_eq!(kept, 42);
    server.stop();
    assert_eq!(postmaster(&data), None, "Postgres ends with the server");
}

#[tokio::test]
async fn a_killed_server_takes_its_postgres_along() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut server = Server::start(&data);
    server.child.kill().expect("kill -9");
    server.child.wait().expect("it is gone");
    until("the end of Postgres", async || postmaster(&data).is_none()).await;
}

#[tokio::test]
async fn a_killed_postgres_is_started_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = Server::start(&data);
    for _ in 0..3 {
        let before = postmaster(&data).expect("it runs");
        signal(&before, "KILL");
        until("another Postgres", async || {
            postmaster(&data).is_some_and(|now| now != before) && is_ready(&server)
        })
        .await;
    }
    server.stop();
    assert_eq!(postmaster(&data), None, "the last one ends with the server");
}

#[tokio::test]
async fn a_postgres_whose_keeper_was_killed_too_is_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut server = Server::start(&data);
    let first = postmaster(&data).expect("it runs");
    // The shell between the two and its helper, which share a process group.
    let parent = Command::new("ps")
        .args(["-o", "ppid=", "-p", &first])
        .output()
        .expect("ps runs");
    let shell = String::from_utf8_lossy(&parent.stdout).trim().to_owned();
    signal(&server.child.id(), "STOP");
    for helper in String::from_utf8_lossy(
        &Command::new("pgrep")
            .args(["-P", &shell])
            .output()
            .expect("pgrep runs")
            .stdout,
    )
    .lines()
    {
        if helper != first {
            signal(&helper, "KILL");
        }
    }
    signal(&shell, "KILL");
    server.child.kill().expect("kill -9");
    server.child.wait().expect("it is gone");

    assert_eq!(
        postmaster(&data).as_deref(),
        Some(&*first),
        "Postgres is an orphan now"
    );
    let server = Server::start(&data);
    assert_ne!(postmaster(&data).as_deref(), Some(&*first));
    server.stop();
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = Server::start(&data);
    let refused = command(&data).output().expect("lianka runs");
    assert!(
        !refused.status.success() && text(&refused).contains("in use by another Lianka server"),
        "{}",
        text(&refused)
    );
    assert!(is_ready(&server), "the first one does not notice");
    server.stop();
}

#[tokio::test]
async fn a_port_in_use_is_told_with_a_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    let mut command = Command::new(program("lianka"));
    command
        .args([
            "serve",
            "--ops-listen=127.0.0.1:0",
            &format!("--listen={address}"),
            "--data-dir",
        ])
        .arg(folder.path().join("data"));
    let refused = command
        .env_remove("DATABASE_URL")
        .output()
        .expect("lianka runs");
    assert!(
        !refused.status.success() && text(&refused).contains("choose another port with --listen"),
        "{}",
        text(&refused)
    );
    assert!(
        !folder.path().join("data").exists(),
        "no database is made for nothing"
    );
}

#[tokio::test]
async fn missing_postgres_programs_are_told_with_a_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = command(&folder.path().join("data"))
        .arg("--postgres-bin-dir")
        .arg(folder.path())
        .output()
        .expect("lianka runs");
    assert!(
        !refused.status.success() && text(&refused).contains("--postgres-bin-dir"),
        "{}",
        text(&refused)
    );
}

/// The files below a folder that hold a text as it is.
fn plainly_in(folder: &Path, text: &str) -> Vec<String> {
    let grep = Command::new("grep")
        .args(["-rlaF", text])
        .arg(folder)
        .output()
        .expect("grep runs");
    String::from_utf8_lossy(&grep.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn forget(data_dir: &Path, texts: &[&str]) -> (Option<i32>, String) {
    let mut child = Command::new(program("lianka"))
        .args(["forget", "--now", "--proof", "--lang=en", "--log=warn"])
        .arg("--data-dir")
        .arg(data_dir)
        .env_remove("DATABASE_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("lianka runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin
        .write_all(texts.join("\n").as_bytes())
        .expect("it listens");
    drop(stdin);
    let done = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &text(&done);
    (done.status.code(), said)
}

/// Rows, indexes, statistics and the write-ahead log hold what was erased, as it is and packed, although nobody who asks is told it.
#[tokio::test]
async fn what_was_erased_is_in_no_file_after_forgetting() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = Server::start(&data);
    let cluster = data.join("postgres");
    // A second server on the same Postgres, for phones without a socket.
    let options = embedded_postgres::running_on(&data).expect("a server runs here");
    let test = TestApp::start_elsewhere(options, ServeConfig::for_tests()).await;
    let office = Office::on(test).await;
    office.street(HOME, "天平路街道").await;
    office.grid(HOME, "A1").await;
    let mut wang = office.secretary("wang.fang", &["A1"]).await;

    let (person, secret, kept) = [
        "忘掉的人甲乙丙",
        "藏在长备注里的暗语丁戊己",
        "留下的人庚辛壬",
    ]
    .into();
    let card = |phone: &mut Phone, name: &str, note: String| {
        let contact = EntryId(Uuid::from_u128(51));
        let fields = [
            put("sign_name", "王记包子"),
            put(&format!("contacts/{contact}/name"), name),
            Edit::Note { text: note },
        ];
        phone.create("A1", &fields)
    };
    let long = format!("{0}{secret}{0}", "门口积水，已报修。".repeat(90));
    let mut cards: Vec<_> = (0..3)
        .map(|_| card(&mut wang, person, long.clone()))
        .collect();
    card(&mut wang, kept, "门口".to_owned());
    assert_eq!(wang.sync().await.codes(), ["accepted"; 4]);
    // One of them was written over before.
    wang.edit(
        cards[0],
        &[Edit::Note {
            text: "短".to_owned(),
        }],
    );
    wang.sync().await;
    let app = &office.test.app;
    refresh::pass(&app.pool, &app.clock).await.expect("a pass");
    office.execute("analyze").await;
    office.execute("checkpoint").await;
    for card in cards.drain(..) {
        let path = format!("/v1/streets/{HOME}/records/{card}/erase");
        let reason = json!({ "reason": "本人要求" });
        let erased = office
            .call("POST", &path, Some(&office.admin), reason)
            .await;
        assert!(erased.status.is_success(), "{}", erased.json);
    }
    office.execute("checkpoint").await;

    let found = |texts: &[&str]| {
        let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
        files_with(&cluster, &texts).expect("they can be read")
    };
    assert!(plainly_in(&cluster.join("base"), person).len() > 1);
    assert!(!plainly_in(&cluster.join("pg_wal"), person).is_empty());
    assert!(
        found(&[secret]).len() > plainly_in(&cluster, secret).len(),
        "packed, so that it is not found as it is"
    );

    let (code, said) = forget(&data, &[person, secret]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("None of the 2 texts is in a file"), "{said}");
    for text in [person, secret] {
        assert_eq!(plainly_in(&data, text), [""; 0], "{text}");
    }
    let left = found(&[person, secret]);
    assert!(left.is_empty(), "{left:?}");
    assert!(is_ready(&server), "the server goes on");
    assert_eq!(wang.sync().await.codes(), [""; 0]);

    // A proof that could not fail would be none; it says where the text stands.
    let (code, said) = forget(&data, &[person, kept]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("still there: ") && said.contains("(shop_contact)"),
        "{said}"
    );
    server.stop();

    // Without a server it runs the Postgres itself.
    let (code, said) = forget(&data, &[person]);
    assert_eq!(code, Some(0), "{said}");
}
