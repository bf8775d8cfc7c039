//! Either side dies, or the line between them: nothing acknowledged is lost, nothing is stored twice.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::StreamExt;
use lianka_server::config::ServeConfig;
use lianka_sync_core::{
    codec::wire::{Encoding, RequestItem, ResponseItem},
    crdt::record::Edit,
};
use lianka_tests::{TestApp, program};
use serde_json::{Value, json};

use crate::sync::phone::{Form, HOME, Office, Phone, STORE, items, put, text};
use crate::sync::pull::big_fields;

/// A phone with a day's work: cards, edits of them, and a note.
async fn a_day(office: &Office) -> Phone {
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    for n in 0..20 {
        let card = phone.create("A1", &[put("sign_name", &format!("店{n}"))]);
        phone.edit(
            card,
            &[
                put("unit", "201"),
                Edit::Note {
                    text: "门口积水".into(),
                },
            ],
        );
    }
    phone
}

async fn whole_and_once(office: &Office, changes: i64) {
    assert_eq!(
        office
            .count("select count(*) from change_log where type = 'change'")
            .await,
        changes
    );
    assert_eq!(
        office
            .count("select count(distinct (record, hash)) from change_log")
            .await,
        changes
    );
    assert_eq!(
        office
            .count("select head_seq from street where street = '310104003'")
            .await,
        changes
    );
    assert_eq!(
        office
            .count("select coalesce(max(seq), 0) from change_log")
            .await,
        changes
    );
}

#[tokio::test]
async fn a_reply_that_never_arrives_is_asked_for_again() {
    let office = Office::open().await;
    let phone = a_day(&office).await;
    let push = async || phone.send(&[], phone.body(&whole(&phone))).await;
    // The line goes before a byte of the answer is read.
    drop(push().await);
    whole_and_once(&office, 40).await;
    // Another server on the same store, as after a restart.
    let options = office.test.app.pool.connect_options().as_ref().clone();
    let pool = lianka_server::store::connect(options, 2).await.unwrap();
    let entropy = lianka_server::clock::Entropy::seeded(2);
    let app = lianka_server::Server::start(
        pool,
        ServeConfig::for_tests().into(),
        office.test.clock.clone(),
        entropy,
    )
    .await
    .unwrap();
    let mut again = phone;
    again.use_router(lianka_server::router(&app));
    let before = office.rows(&STORE).await;
    assert_eq!(
        again.push(true, &again.outbox).await.codes(),
        ["duplicate"; 40]
    );
    assert_eq!(office.rows(&STORE).await, before);
}

fn whole(phone: &Phone) -> Vec<RequestItem> {
    std::iter::once(phone.hello(true))
        .chain(phone.outbox.iter().cloned().map(RequestItem::Change))
        .collect()
}

#[tokio::test]
async fn a_request_given_up_half_way_is_stored_whole_or_not_at_all() {
    let office = Office::open().await;
    let phone = a_day(&office).await;
    for polls in 0..40_u32 {
        // Polled so often and then dropped, as a server does with a connection that is gone.
        let mut request = std::pin::pin!(phone.send(&[], phone.body(&whole(&phone))));
        for _ in 0..polls {
            if futures::poll!(request.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let stored = office.count("select count(*) from change_log").await;
    assert!(stored == 0 || stored == 40, "{stored}");
    let reply = phone.push(true, &phone.outbox).await;
    assert!(
        reply
            .codes()
            .iter()
            .all(|code| ["accepted", "duplicate"].contains(code)),
        "{:?}",
        reply.codes()
    );
    whole_and_once(&office, 40).await;
}

#[tokio::test]
async fn a_database_that_hangs_up_is_told_as_unavailable_and_the_resend_works() {
    let office = Office::open().await;
    office.user("wang.fang", "secretary", Some(HOME)).await;
    office.assign(HOME, "wang.fang", &["A1"]).await;
    let mut phones = Vec::new();
    for _ in 0..6 {
        let mut phone = office.phone("wang.fang").await;
        for n in 0..30 {
            phone.create(
                "A1",
                &[
                    put("sign_name", &format!("店{n}")),
                    Edit::Note {
                        text: "门口积水".into(),
                    },
                ],
            );
        }
        phones.push(phone);
    }
    // The moment before the commit: a trigger of the last table written terminates its own backend.
    office
        .execute(
            "create function hang_up() returns trigger language plpgsql as
             $$ begin perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(0); return new; end $$;
             create trigger hang_up before update of head_seq on street for each row execute function hang_up()",
        )
        .await;
    let before = office.rows(&STORE).await;
    let replies =
        futures::future::join_all(phones.iter().map(|phone| phone.push(true, &phone.outbox))).await;
    for reply in &replies {
        assert_eq!(
            (reply.status, reply.json["code"].as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, Some("unavailable")),
            "{}",
            reply.json
        );
        assert_eq!(reply.json["retryable"], true);
        assert!(reply.headers.contains_key("retry-after"));
        assert!(
            !String::from_utf8_lossy(&reply.body).contains("backend"),
            "a cause is for the log"
        );
    }
    assert_eq!(
        office.rows(&STORE).await,
        before,
        "nothing of a broken commit stays"
    );

    office.execute("drop trigger hang_up on street").await;
    let replies =
        futures::future::join_all(phones.iter().map(|phone| phone.push(true, &phone.outbox))).await;
    assert!(
        replies
            .iter()
            .all(|reply| reply.codes() == ["accepted"; 30]),
        "{:?}",
        replies.iter().map(|reply| &reply.json).collect::<Vec<_>>()
    );
    whole_and_once(&office, 180).await;
}

#[tokio::test]
async fn backends_terminated_at_any_moment_leave_no_partial_state() {
    let office = Office::open().await;
    let phone = a_day(&office).await;
    let killer = lianka_server::store::connect(office.test.database.options.clone(), 1)
        .await
        .unwrap();
    let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'";
    for round in 0..12 {
        let mut push = std::pin::pin!(phone.push(true, &phone.outbox));
        let mut ended = None;
        for _ in 0..round * 3 {
            if let std::task::Poll::Ready(reply) = futures::poll!(push.as_mut()) {
                ended = Some(reply);
                break;
            }
            tokio::task::yield_now().await;
        }
        let _: i64 = sqlx::query_scalar(kill).fetch_one(&killer).await.unwrap();
        let reply = match ended {
            Some(reply) => reply,
            None => push.await,
        };
        let stored: i64 = sqlx::query_scalar("select count(*) from change_log")
            .fetch_one(&killer)
            .await
            .unwrap();
        assert!(stored == 0 || stored == 40, "round {round}: {stored}");
        if reply.status == StatusCode::OK {
            assert_eq!(stored, 40, "what was acknowledged is there");
        } else {
            assert!(
                reply.status == StatusCode::SERVICE_UNAVAILABLE && reply.json["retryable"] == true,
                "round {round}: {}",
                reply.json
            );
        }
    }
    // Every connection of the pool may be a dead one; each is found out by one request at most.
    let mut reply = phone.push(true, &phone.outbox).await;
    for _ in 0..8 {
        if reply.status == StatusCode::OK {
            break;
        }
        reply = phone.push(true, &phone.outbox).await;
    }
    assert!(
        reply
            .codes()
            .iter()
            .all(|code| ["accepted", "duplicate"].contains(code)),
        "{}",
        reply.json
    );
    whole_and_once(&office, 40).await;
}

#[tokio::test]
async fn a_download_cut_by_the_server_or_the_store_has_no_end_and_goes_on_from_its_checkpoint() {
    let office = Office::open().await;
    let mut desk = office.desk_phone("reviewer", "reviewer").await;
    desk.form = Form::DENSE;
    for _ in 0..900 {
        desk.create("A1", &big_fields());
    }
    assert_eq!(desk.sync().await.codes().len(), 900);
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    // The stream is made while it is read: a table that goes away meanwhile cuts it.
    let response = phone.send(&[], phone.body(&[phone.hello(true)])).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut stream = response.into_body().into_data_stream();
    let mut body = stream
        .next()
        .await
        .expect("a first piece")
        .expect("no error yet")
        .to_vec();
    office
        .execute("alter table change_log rename to gone")
        .await;
    let mut cut = false;
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => body.extend_from_slice(&piece),
            Err(_) => cut = true,
        }
    }
    assert!(
        cut,
        "a broken answer ends with an error, never as if it were whole"
    );
    office
        .execute("alter table gone rename to change_log")
        .await;
    let came = items(Encoding::Ndjson, &body);
    assert!(
        !came
            .iter()
            .any(|item| matches!(item, ResponseItem::End { .. }))
    );
    let upto = came
        .iter()
        .rposition(|item| matches!(item, ResponseItem::Checkpoint { .. }))
        .map_or(0, |at| at + 1);
    phone.take_in(&came[..upto]);
    let before = phone.records.len();
    let rest = phone.sync().await;
    assert_eq!(
        (phone.records.len(), rest.snapshots().len()),
        (900, 900 - before)
    );
}

/// The real program.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(data: &Path) -> Self {
        let mut command = Command::new(program("lianka"));
        command
            .args([
                "serve",
                "--listen=127.0.0.1:0",
                "--ops-listen=127.0.0.1:0",
                "--log=warn",
            ])
            .arg("--data-dir")
            .arg(data);
        let mut child = command
            .env_remove("DATABASE_URL")
            .stdout(Stdio::piped())
            .spawn()
            .expect("lianka runs");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("it is piped"))
            .read_line(&mut line)
            .expect("a line");
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .expect("the server starts");
        Self {
            child,
            address: url.trim_start_matches("http://").to_owned(),
        }
    }

    /// Sends a request; the answer is for the caller to read, or not.
    fn send(&self, path: &str, token: &str, content_type: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: lianka\r\nconnection: close\r\nauthorization: Bearer {token}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
        );
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body))
            .expect("it reads");
        stream
    }

    fn json(&self, path: &str, token: &str, body: &Value) -> Value {
        let mut answer = String::new();
        let mut stream = self.send(path, token, "application/json", body.to_string().as_bytes());
        stream.read_to_string(&mut answer).expect("an answer");
        let body = answer.split_once("\r\n\r\n").expect("a head").1;
        serde_json::from_str(body).unwrap_or_else(|_| panic!("{path}: {answer}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The verdict words of a raw answer.
fn words(answer: &str) -> Vec<String> {
    let lines = answer
        .lines()
        .filter(|line| line.starts_with("{\"type\":\"verdict\""));
    lines
        .map(|line| text(&serde_json::from_str::<Value>(line).expect("an item")["status"]))
        .collect()
}

#[test]
fn a_server_killed_at_any_moment_of_a_push_keeps_what_it_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut server = Server::start(&data);
    let mut create = Command::new(program("lianka"));
    create
        .args(["admin", "create", "--username=root", "--log=warn"])
        .arg("--data-dir")
        .arg(&data)
        .env_remove("DATABASE_URL");
    let mut create = create
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("lianka runs");
    create
        .stdin
        .take()
        .expect("it is piped")
        .write_all(b"a long enough password\n")
        .expect("it reads");
    assert!(create.wait().expect("it ends").success());

    let session = server.json(
        "/v1/sessions",
        "",
        &json!({ "username": "root", "password": "a long enough password" }),
    );
    let token = text(&session["access_token"]);
    server.json(
        "/v1/streets",
        &token,
        &json!({ "street": HOME, "name": "天平路街道", "district": "徐汇区" }),
    );
    server.json(
        &format!("/v1/streets/{HOME}/grids"),
        &token,
        &json!({ "grid": "A1", "name": "康平一", "area": "康平" }),
    );

    let device = text(&session["device_id"]).parse().expect("a device");
    let path = format!("/v1/streets/{HOME}/sync");
    let mut all = String::new();
    for round in 0..3_u64 {
        // Ten cards a round, by the admin's own desk.
        let mut changes = String::new();
        for n in 0..10 {
            let actor = lianka_sync_core::id::Actor::new(device, 1);
            let at = lianka_sync_core::time::DeviceTime::from_unix_seconds(1_795_248_000);
            let edits = [
                put("kind", "shop_card"),
                put("street", HOME),
                put("grid", "A1"),
                put("sign_name", &format!("店{round}.{n}")),
            ];
            let (_, change) = lianka_sync_core::crdt::record::Record::create(actor, at, &edits)
                .expect("a creation");
            let record = lianka_sync_core::id::RecordId::new_v7(1_795_248_000_000 + round, [n; 10]);
            let item = json!({ "type": "change", "record": record, "kind": "shop_card", "generation": 1, "bytes": STANDARD.encode(change.bytes) });
            changes.push_str(&item.to_string());
            changes.push('\n');
        }
        all.push_str(&changes);
        let hello = json!({ "type": "hello", "cursor": null, "client": "crash/1", "pull": false });
        let mut stream = server.send(
            &path,
            &token,
            "application/x-ndjson",
            format!("{hello}\n{changes}").as_bytes(),
        );
        let mut acknowledged = Vec::new();
        if round == 1 {
            // Killed after the commit was told, in the middle of the answer.
            let mut first = [0; 600];
            stream.read_exact(&mut first).expect("the answer begins");
            // Where the answer's head is short, the last line is half a verdict.
            let told = String::from_utf8_lossy(&first);
            acknowledged = words(told.rsplit_once('\n').map_or("", |(whole, _)| whole));
        }
        server.child.kill().expect("kill -9");
        server.child.wait().expect("it is gone");
        server = Server::start(&data);

        let mut answer = String::new();
        let mut stream = server.send(
            &path,
            &token,
            "application/x-ndjson",
            format!("{hello}\n{all}").as_bytes(),
        );
        stream.read_to_string(&mut answer).expect("an answer");
        let told = words(&answer.replace("\r\n", "\n"));
        let earlier = round as usize * 10;
        assert_eq!(told.len(), earlier + 10, "{answer}");
        assert!(
            told[..earlier].iter().all(|word| word == "duplicate"),
            "{told:?}"
        );
        let fresh = &told[earlier..];
        assert!(
            fresh.iter().all(|word| *word == fresh[0] && ["accepted", "duplicate"].contains(&word.as_str())),
            "whole or not at all: {told:?}"
        );
        assert!(acknowledged.is_empty() || fresh[0] == "duplicate");
    }
    let hello = json!({ "type": "hello", "cursor": null, "client": "crash/1", "pull": true });
    let mut answer = String::new();
    server
        .send(
            &path,
            &token,
            "application/x-ndjson",
            format!("{hello}\n").as_bytes(),
        )
        .read_to_string(&mut answer)
        .expect("an answer");
    assert_eq!(answer.matches("\"type\":\"snapshot\"").count(), 30);
    assert!(answer.contains("\"head\":30"), "none lost, none twice");
}

#[tokio::test]
async fn a_restored_store_has_another_epoch_and_phones_bring_back_what_it_lost() {
    let office = Office::on(TestApp::start().await).await;
    office.street(HOME, "天平路街道").await;
    office.grid(HOME, "A1").await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let kept = phone.create("A1", &[put("sign_name", "王记包子")]);
    phone.sync().await;
    // A backup is taken here.
    for table in ["record", "change_log", "shop_card", "street"] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "create table backup_{table} as select * from {table}"
        )))
        .execute(&office.test.app.pool)
        .await
        .unwrap();
    }
    phone.edit(kept, &[put("unit", "201")]);
    let lost = phone.create("A1", &[put("sign_name", "新店")]);
    let sent = phone.outbox.clone();
    phone.sync().await;
    office
        .execute(
            "delete from shop_card; delete from change_log; delete from record;
             insert into record select * from backup_record; insert into change_log select * from backup_change_log;
             insert into shop_card select * from backup_shop_card;
             update street s set head_seq = b.head_seq from backup_street b where b.street = s.street",
        )
        .await;
    lianka_server::store::deployment::new_epoch(&office.test.app.pool)
        .await
        .unwrap();
    let entropy = lianka_server::clock::Entropy::seeded(2);
    let config = ServeConfig::for_tests().into();
    let app = lianka_server::Server::start(
        office.test.app.pool.clone(),
        config,
        office.test.clock.clone(),
        entropy,
    )
    .await
    .unwrap();
    phone.use_router(lianka_server::router(&app));
    assert!(phone.sync().await.has_reset());
    assert_eq!(phone.sync().await.snapshots(), [kept]);
    assert_eq!(phone.push(true, &sent).await.codes(), ["accepted"; 2]);
    phone.cursor = None;
    phone.sync().await;
    assert_eq!(phone.view(kept).text("unit"), Some("201"));
    assert!(phone.records.contains_key(&lost));
}
