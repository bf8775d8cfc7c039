//! The real transport against a server of a few lines: tokens, refusals, broken connections.

use std::{collections::VecDeque, sync::Arc};

use lianka_sync_core::{codec::wire::StreamItem, lang::Lang};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

/// How the next request for a synchronisation is answered; whole answers once the list is empty.
enum Reply {
    /// A status, headers and a problem document's code.
    Problem(u16, &'static str, &'static str),
    /// A whole answer, compressed.
    Zstd,
    /// The answer up to so many items, then the connection breaks.
    Broken(usize),
}

#[derive(Default)]
struct Seen {
    /// Path and Authorization header of every request.
    requests: Vec<(String, String)>,
    /// What was asked, decoded.
    items: Vec<Vec<RequestItem>>,
}

struct Office {
    memory: Mutex<MemoryOffice>,
    replies: Mutex<VecDeque<Reply>>,
    refresh_refused: bool,
    seen: Mutex<Seen>,
}

impl Office {
    /// Serves until the runtime ends.
    async fn open(
        memory: MemoryOffice,
        replies: Vec<Reply>,
        refresh_refused: bool,
    ) -> (String, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let office = Arc::new(Self {
            memory: Mutex::new(memory),
            replies: Mutex::new(replies.into()),
            refresh_refused,
            seen: Mutex::default(),
        });
        let served = office.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().answer(stream));
            }
        });
        (address, office)
    }

    async fn answer(self: Arc<Self>, mut stream: TcpStream) {
        let (head, body) = read_request(&mut stream).await;
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let header = |name: &str| {
            let line = head
                .lines()
                .find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
            line.and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        self.seen
            .lock()
            .unwrap()
            .requests
            .push((path.clone(), header("authorization")));
        if path == "/v1/tokens" && self.refresh_refused {
            return respond(&mut stream, 401, "", problem("token_reused").as_bytes()).await;
        }
        if path != "/v1/streets/310104003/sync" {
            return respond(
                &mut stream,
                200,
                "Content-Type: application/json\r\n",
                session(&path).as_bytes(),
            )
            .await;
        }
        let body = if header("content-encoding") == "zstd" {
            zstd::decode_all(body.as_slice()).unwrap()
        } else {
            body
        };
        let items: Vec<RequestItem> = read_items(&body);
        self.seen.lock().unwrap().items.push(items.clone());
        let reply = self
            .replies
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Reply::Zstd);
        if let Reply::Problem(status, headers, code) = reply {
            return respond(&mut stream, status, headers, problem(code).as_bytes()).await;
        }
        let mut answer = self
            .memory
            .lock()
            .unwrap()
            .answer(identity(1).device, &items);
        let broken = if let Reply::Broken(kept) = reply {
            answer.truncate(kept);
            true
        } else {
            false
        };
        let mut bytes = Vec::new();
        for item in &answer {
            Encoding::CborSeq.write(item, &mut bytes);
        }
        let bytes = zstd::encode_all(bytes.as_slice(), 3).unwrap();
        let headers = "Content-Type: application/cbor-seq\r\nContent-Encoding: zstd\r\n";
        if broken {
            // More is promised than comes.
            let head = format!(
                "HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n",
                bytes.len() + 1_000
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            return;
        }
        respond(&mut stream, 200, headers, &bytes).await;
    }
}

async fn read_request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length:")?
                    .trim()
                    .parse::<usize>()
                    .ok()
            });
            let whole = end + 4 + length.unwrap_or(0);
            if bytes.len() >= whole {
                return (head, bytes[end + 4..whole].to_vec());
            }
        }
        let read = stream.read(&mut chunk).await.unwrap();
        assert!(read > 0, "a request is whole");
        bytes.extend_from_slice(&chunk[..read]);
    }
}

async fn respond(stream: &mut TcpStream, status: u16, headers: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
}

fn read_items<T: StreamItem>(bytes: &[u8]) -> Vec<T> {
    let mut reader = ItemReader::new(Encoding::CborSeq);
    reader.push(bytes);
    std::iter::from_fn(|| reader.next_item().unwrap()).collect()
}

fn problem(code: &str) -> String {
    let retryable = matches!(code, "overloaded");
    serde_json::json!({ "status": 0, "code": code, "title": "标题", "detail": "说明", "retryable": retryable, "request_id": "r-1" })
        .to_string()
}

fn session(path: &str) -> String {
    let device = if path == "/v1/devices" {
        identity(1).device
    } else {
        DeviceId(Uuid::from_u128(0xbad))
    };
    serde_json::json!({
        "device_id": device, "access_token": "at-1", "expires_in": 900, "refresh_token": "rt-1",
        "user": { "username": "user1", "display_name": "许娜", "role": "secretary" },
        "streets": [{ "street": "310104003", "name": "天平路街道", "district": "徐汇区", "grids": [{ "grid": "A1", "name": "康平一", "area": "康平" }] }],
    })
    .to_string()
}

fn memory() -> (MemoryOffice, RecordId) {
    let mut memory = MemoryOffice::new();
    let record = card(&mut memory, 1);
    memory.assign(identity(1).device, &["A1"]);
    (memory, record)
}

async fn rig(replies: Vec<Reply>, refresh_refused: bool) -> (Rig, Arc<Office>, RecordId) {
    let (memory, record) = memory();
    let (address, office) = Office::open(memory, replies, refresh_refused).await;
    let mut rig = Rig::at(&address, 1);
    rig.phone = rig.phone.with_backoff(Backoff {
        tries_max: 3,
        base: Duration::ZERO,
        cap: Duration::ZERO,
    });
    (rig, office, record)
}

#[tokio::test]
async fn an_expired_token_is_exchanged_once_and_stored_before_it_is_used() {
    let (rig, office, record) = rig(vec![Reply::Problem(401, "", "token_expired")], false).await;
    let report = rig.phone.sync().await.unwrap();
    assert_eq!((report.tally.snapshots, report.retries), (1, 0));
    let requests = office.seen.lock().unwrap().requests.clone();
    let sync = "/v1/streets/310104003/sync".to_owned();
    assert_eq!(
        requests,
        [
            (sync.clone(), "Bearer at-0".into()),
            ("/v1/tokens".into(), String::new()),
            (sync, "Bearer at-1".into())
        ]
    );
    let (credentials, identity) = inside(&rig, |tx| Ok((tx.credentials()?, tx.identity()?)));
    assert_eq!(
        (
            credentials.access_token.as_str(),
            credentials.refresh_token.as_str()
        ),
        ("at-1", "rt-1")
    );
    assert_eq!(
        identity.device, rig.device,
        "a refresh makes no other device of this phone"
    );
    assert!(rig.phone.view(record).is_ok());
}

#[tokio::test]
async fn a_token_known_to_have_expired_is_not_tried() {
    let (rig, office, _) = rig(vec![], false).await;
    let old = Credentials {
        access_expires_ms: 0,
        ..inside(&rig, |tx| Ok(tx.credentials()?))
    };
    inside(&rig, |tx| Ok(tx.set_credentials(&old)?));
    rig.phone.sync().await.unwrap();
    assert_eq!(office.seen.lock().unwrap().requests[0].0, "/v1/tokens");
}

#[tokio::test]
async fn a_phone_that_is_signed_out_keeps_its_edits() {
    let (rig, _, record) = rig(
        vec![Reply::Zstd, Reply::Problem(401, "", "token_expired")],
        true,
    )
    .await;
    rig.phone.sync().await.unwrap();
    rig.set(record, "sign_name", "新名");
    let error = rig.phone.sync().await.unwrap_err();
    assert!(
        matches!(&error, PhoneError::SignedOut(problem) if problem.code == "token_reused" && problem.title == "标题"),
        "{error:?}"
    );
    assert_eq!(rig.phone.outbox().unwrap().len(), 1);
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_a_firm_refusal_is_not() {
    let (rig, _, _) = rig(
        vec![Reply::Problem(503, "Retry-After: 0\r\n", "overloaded")],
        false,
    )
    .await;
    assert_eq!(rig.phone.sync().await.unwrap().retries, 1);
    let (rig, office, _) = self::rig(vec![Reply::Problem(403, "", "wrong_street")], false).await;
    let error = rig.phone.sync().await.unwrap_err();
    assert_eq!(error.code(), "wrong_street");
    assert_eq!(office.seen.lock().unwrap().requests.len(), 1);
}

#[tokio::test]
async fn a_broken_download_goes_on_from_its_checkpoint() {
    let (mut memory, _) = memory();
    for number in 2..=6 {
        card(&mut memory, number);
    }
    memory.checkpoint_items = 2;
    let (address, office) = Office::open(
        memory,
        vec![Reply::Broken(4), Reply::Broken(0), Reply::Broken(0)],
        false,
    )
    .await;
    let rig = Rig::at(&address, 1);
    let phone = rig.phone.clone().with_backoff(Backoff {
        tries_max: 4,
        base: Duration::ZERO,
        cap: Duration::ZERO,
    });
    let mut waits = 0;
    let report = phone
        .sync_with(|progress| waits += u32::from(matches!(progress, Progress::Waiting { .. })))
        .await
        .unwrap();
    assert_eq!(
        (report.retries, waits, phone.records().unwrap().len()),
        (3, 3, 6)
    );
    let cursors: Vec<_> = office
        .seen
        .lock()
        .unwrap()
        .items
        .iter()
        .map(|items| match &items[0] {
            RequestItem::Hello(hello) => hello.cursor.is_some(),
            RequestItem::Change(_) => panic!("no hello"),
        })
        .collect();
    assert_eq!(cursors, [false, true, true, true]);
}

#[tokio::test]
async fn a_server_out_of_reach_is_given_up_after_some_tries() {
    let rig = Rig::at("http://127.0.0.1:9", 1);
    let phone = rig.phone.clone().with_backoff(Backoff {
        tries_max: 3,
        base: Duration::ZERO,
        cap: Duration::ZERO,
    });
    let mut waits = 0;
    let error = phone
        .sync_with(|progress| waits += u32::from(matches!(progress, Progress::Waiting { .. })))
        .await
        .unwrap_err();
    assert_eq!((error.code(), waits), ("network", 2));
}

#[tokio::test]
async fn a_large_outbox_goes_up_compressed() {
    let (rig, office, record) = rig(vec![], false).await;
    rig.phone.sync().await.unwrap();
    for round in 0..50 {
        rig.set(record, "sign_name", &format!("店{round}"));
    }
    let report = rig.phone.sync().await.unwrap();
    assert_eq!(report.tally.accepted, 50);
    let raw: usize = office
        .seen
        .lock()
        .unwrap()
        .items
        .last()
        .unwrap()
        .iter()
        .map(|item| match item {
            RequestItem::Change(change) => change.bytes.len(),
            RequestItem::Hello(_) => 0,
        })
        .sum();
    assert!(report.bytes_up > 0 && (report.bytes_up as usize) < raw);
}

#[tokio::test]
async fn enrolling_stores_who_the_phone_is_and_a_foreign_file_costs_no_code() {
    let (memory, _) = memory();
    let (address, office) = Office::open(memory, vec![], false).await;
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.db");
    std::fs::write(
        &bad,
        "something else entirely, and long enough to be looked at",
    )
    .unwrap();
    assert!(
        Phone::enrol(&bad, &address, "CODE", EnrolOptions::default())
            .await
            .is_err()
    );
    assert!(office.seen.lock().unwrap().requests.is_empty());
    let elsewhere = EnrolOptions {
        street: Some("310105009".parse().unwrap()),
        ..EnrolOptions::default()
    };
    let error = Phone::enrol(&folder.path().join("other.db"), &address, "CODE", elsewhere)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "no_street");
    let path = folder.path().join("deep").join("phone.db");
    let options = EnrolOptions {
        lang: Lang::En,
        ..EnrolOptions::default()
    };
    let phone = Phone::enrol(&path, &address, "CODE", options)
        .await
        .unwrap();
    assert_eq!(phone.identity().unwrap().username, "user1");
    phone.sync().await.unwrap();
    drop(phone);
    assert_eq!(Phone::open(&path).unwrap().cards().unwrap().len(), 1);
    assert!(matches!(
        Transport::new("ftp://x", Lang::Zh),
        Err(LinkError::Address(_))
    ));
}

/// The cursor stands for what came with it: both are stored, or neither.
#[tokio::test]
async fn an_answer_that_cannot_be_stored_moves_no_cursor() {
    let (rig, _, record) = rig(vec![], false).await;
    let sql = |sql: &str| {
        let file = rusqlite::Connection::open(rig.phone.path()).unwrap();
        file.execute_batch(sql).unwrap();
    };
    sql("CREATE TRIGGER full BEFORE INSERT ON record BEGIN SELECT RAISE(ABORT, 'no room'); END");
    assert_eq!(rig.phone.sync().await.unwrap_err().code(), "store");
    assert_eq!(
        inside(&rig, |tx| Ok((tx.cursor()?, tx.last_sync()?))),
        (None, None)
    );
    sql("DROP TRIGGER full");
    rig.phone.sync().await.unwrap();
    assert!(rig.phone.view(record).is_ok());
}

#[tokio::test]
async fn a_checkpoint_is_stored_when_it_comes_and_with_what_came_before() {
    let (mut memory, _) = memory();
    for number in 2..=3 {
        card(&mut memory, number);
    }
    memory.checkpoint_items = 1;
    let (address, _office) = Office::open(memory, vec![], false).await;
    let rig = Rig::at(&address, 1);
    let mut stored = Vec::new();
    let look = |_: Progress| {
        let found = LocalStore::open(rig.phone.path())
            .unwrap()
            .read(|tx| Ok::<_, StoreError>((tx.records()?.len(), tx.cursor()?)));
        stored.push(found.unwrap());
    };
    rig.phone.sync_with(look).await.unwrap();
    let cursors: std::collections::BTreeSet<_> =
        stored.iter().map(|(_, cursor)| cursor.clone()).collect();
    assert_eq!(
        stored
            .iter()
            .map(|(records, _)| *records)
            .collect::<Vec<_>>(),
        [0, 1, 2, 3, 3]
    );
    assert_eq!(
        cursors.len(),
        5,
        "none, three of the way and one at the end"
    );
}

#[tokio::test]
async fn what_came_before_a_break_is_kept() {
    let (rig, _, record) = rig(vec![Reply::Broken(1)], false).await;
    let phone = rig.phone.clone().with_backoff(Backoff {
        tries_max: 1,
        ..Backoff::default()
    });
    assert!(phone.sync().await.is_err());
    assert_eq!(rig.phone.records().unwrap(), [record]);
    assert_eq!(inside(&rig, |tx| Ok(tx.cursor()?)), None);
}

/// `SQLite` overwrites a row that is deleted, but not the copy of it that stays behind where the row was moved to another page.
#[tokio::test]
async fn what_is_erased_is_in_no_page_of_the_phones_file() {
    let (rig, office, _) = rig(vec![], false).await;
    let trace = |number: u32| format!("trace {number:03}#");
    let mut cards = Vec::new();
    // Not in the order of their ids, and of different lengths: pages are divided, and unevenly.
    for step in 0..160 {
        let number = 10 + step * 37 % 160;
        let name = trace(number).repeat(number as usize * 5 % 8);
        let record = {
            let mut memory = office.memory.lock().unwrap();
            let keys = ["sign_name", "legal_name", "opening_hours"];
            memory.import(number, &keys.map(|key| Edit::set(key, &name)))
        };
        cards.push((number, record));
        if step % 8 == 7 {
            for at in [step * 11, step * 7, step * 3, step] {
                let known = &cards[..cards.len() - 8];
                let Some(&(number, record)) = known.get(at as usize % known.len().max(1)) else {
                    continue;
                };
                let name = trace(number).repeat(number as usize * 3 % 8);
                rig.set(record, "legal_name", &name);
                rig.set(record, "address_raw", &trace(number).repeat(9));
            }
            rig.phone.sync().await.unwrap();
            rig.phone.cards().unwrap();
        }
    }
    let erased = cards.iter().filter(|(number, _)| number % 3 != 0);
    for (_, record) in erased.clone() {
        office.memory.lock().unwrap().erase(*record);
    }
    rig.phone.sync().await.unwrap();
    let mut file = Vec::new();
    for entry in std::fs::read_dir(rig.folder.path()).unwrap() {
        file.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    let is_there = |number: &u32| {
        let trace = trace(*number);
        let mut windows = file.windows(trace.len());
        windows.any(|window| window == trace.as_bytes())
    };
    assert!(is_there(&12), "what is not erased is there to be found");
    let numbers = erased.map(|(number, _)| *number);
    let left: Vec<u32> = numbers.filter(is_there).collect();
    assert!(left.is_empty(), "erased cards are in the file: {left:?}");
}

#[tokio::test]
async fn an_edit_saved_while_the_answer_that_wipes_is_on_its_way_is_handed_over() {
    let (rig, office, record) = rig(vec![], false).await;
    rig.phone.sync().await.unwrap();
    office.memory.lock().unwrap().wiped.insert(rig.device);
    let mut saved = None;
    let meanwhile = |progress| {
        if matches!(progress, Progress::Sent { .. }) && saved.is_none() {
            saved = rig.set(record, "sign_name", "最后一笔").hash;
        }
    };
    assert!(rig.phone.sync_with(meanwhile).await.unwrap().wiped);
    let mut memory = office.memory.lock().unwrap();
    memory.accept_held();
    assert!(memory.has(saved.unwrap()));
}
