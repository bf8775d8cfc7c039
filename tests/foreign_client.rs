//! A client that shares no code with ours: a node program on the npm package `@automerge/automerge` enrols, syncs, conflicts and converges
//! with a phone of ours.
//!
//! `npm ci` puts the package beside the build, once for each lock file. Without node these tests fail and say what to do.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use lianka_server::upkeep::refresh;
use lianka_sync_core::{
    codec::{change::Scalar, wire::ResponseItem},
    crdt::{
        record::{Edit, Record},
        view::View,
    },
    id::RecordId,
};
use lianka_tests::Served;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};

use crate::sync::phone::{HOME, Office, Phone, put, text};

const MISSING: &str = "node and npm are needed for the foreign client: `make setup` installs them (Debian: apt-get install nodejs npm)";

/// The folder where the client and its packages are.
fn installed() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign_client");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("foreign_client");
        fs::create_dir_all(&folder).expect("a folder beside the build");
        let lock = fs::read(source.join("package-lock.json")).expect("the lock file");
        let stamp = folder.join("installed.json");
        if fs::read(&stamp).ok() != Some(lock.clone()) {
            for name in ["package.json", "package-lock.json"] {
                fs::copy(source.join(name), folder.join(name)).expect("a copy");
            }
            let mut npm = Command::new("npm");
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                .current_dir(&folder)
                .stdout(Stdio::null());
            let done = npm
                .status()
                .unwrap_or_else(|error| panic!("{MISSING}: {error}"));
            assert!(
                done.success(),
                "npm ci fetches @automerge/automerge; is there a way to the npm registry?"
            );
            fs::write(&stamp, lock).expect("the stamp");
        }
        fs::copy(source.join("client.mjs"), folder.join("client.mjs")).expect("a copy");
        folder
    })
}

/// The node program, and the server it talks to.
struct Foreign {
    child: tokio::process::Child,
    answers: Lines<BufReader<tokio::process::ChildStdout>>,
    _served: Served,
}

impl Foreign {
    async fn enrolled(office: &Office, username: &str) -> Self {
        let served = office.test.serve().await;
        let mut command = tokio::process::Command::new("node");
        command
            .arg("client.mjs")
            .current_dir(installed())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| match error.kind() {
            ErrorKind::NotFound => panic!("{MISSING}"),
            _ => panic!("node: {error}"),
        });
        let answers = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let url = served.url();
        let mut foreign = Self {
            child,
            answers,
            _served: served,
        };
        let code = office.code(username).await;
        foreign
            .run(json!({ "command": "enrol", "url": url, "code": code, "street": HOME }))
            .await;
        foreign
    }

    async fn run(&mut self, command: Value) -> Value {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin
            .write_all(format!("{command}\n").as_bytes())
            .await
            .expect("node listens");
        let line = self
            .answers
            .next_line()
            .await
            .expect("a line")
            .expect("node has not ended");
        let answer: Value = serde_json::from_str(&line).expect("an answer");
        assert!(answer["error"].is_null(), "{command}: {}", answer["error"]);
        answer
    }

    /// Syncs; for each change sent `accepted`, or the code.
    async fn sync(&mut self) -> Vec<String> {
        let answer = self.run(json!({ "command": "sync" })).await;
        let items = answer["items"].as_array().expect("items").clone();
        let verdicts = items.iter().filter(|item| item["type"] == "verdict");
        verdicts
            .map(|verdict| {
                text(if verdict["code"].is_null() {
                    &verdict["status"]
                } else {
                    &verdict["code"]
                })
            })
            .collect()
    }

    async fn create(&mut self, fields: Value, note: &str) -> (RecordId, Value) {
        let written = self
            .run(json!({ "command": "create", "grid": "A1", "fields": fields, "note": note }))
            .await;
        (
            text(&written["record"]).parse().expect("a record id"),
            written,
        )
    }

    async fn set(&mut self, record: RecordId, fields: Value) -> Value {
        self.run(json!({ "command": "set", "record": record, "fields": fields }))
            .await
    }

    async fn note(&mut self, record: RecordId, note: &str) {
        self.run(json!({ "command": "note", "record": record, "text": note }))
            .await;
    }

    async fn show(&mut self, record: RecordId) -> Value {
        self.run(json!({ "command": "show", "record": record }))
            .await
    }
}

/// A view of ours as the node program shows its own.
fn shown(view: &View, heads: &[lianka_sync_core::id::ChangeHash]) -> Value {
    let mut fields = serde_json::Map::new();
    for (key, values) in &view.values {
        let mut values: Vec<_> = values.iter().map(|value| &value.value).collect();
        values.sort();
        fields.insert(
            key.clone(),
            values
                .into_iter()
                .map(|value| match value {
                    Scalar::Str(text) => json!(text),
                    Scalar::Bool(value) => json!(value),
                    Scalar::Int(value) => json!(value),
                })
                .collect(),
        );
    }
    json!({ "fields": fields, "note": view.note, "heads": heads })
}

fn ours(phone: &mut Phone, record: RecordId) -> Value {
    let held = phone.records.get_mut(&record).expect("the phone holds it");
    shown(&held.record.view().expect("a view"), &held.record.heads())
}

async fn scene() -> (Office, Phone, Foreign) {
    let office = Office::open().await;
    let phone = office.secretary("wang.fang", &["A1"]).await;
    office.user("li.na", "secretary", Some(HOME)).await;
    office.assign(HOME, "li.na", &["A1"]).await;
    let foreign = Foreign::enrolled(&office, "li.na").await;
    (office, phone, foreign)
}

#[tokio::test]
async fn it_creates_conflicts_and_converges() {
    let (office, mut phone, mut foreign) = scene().await;
    let fields = json!({ "sign_name": "王记包子", "tags/late_night": true, "road": "天平路" });
    let (card, written) = foreign.create(fields, "门口积水，𠮷野家隔壁👍🏽").await;
    assert_eq!(foreign.sync().await, ["accepted"]);
    let stored: Vec<u8> = sqlx::query_scalar("select bytes from change_log")
        .fetch_one(&office.test.app.pool)
        .await
        .unwrap();
    assert_eq!(
        STANDARD.encode(stored),
        text(&written["bytes"]),
        "byte for byte"
    );

    phone.sync().await;
    assert_eq!(ours(&mut phone, card), foreign.show(card).await);

    // The same field on both sides, and the note on both sides.
    phone.edit(
        card,
        &[
            put("sign_name", "王家包子铺"),
            Edit::Note {
                text: "门口常积水，𠮷野家隔壁👍🏽".into(),
            },
        ],
    );
    foreign
        .set(card, json!({ "sign_name": "老王包子", "unit": "201" }))
        .await;
    foreign.note(card, "门口积水，𠮷野家隔壁👍🏽，已报修𠮷").await;
    assert_eq!(foreign.sync().await, ["accepted"; 2]);
    assert_eq!(phone.sync().await.codes(), ["accepted"]);
    assert!(foreign.sync().await.is_empty());
    let seen = foreign.show(card).await;
    assert_eq!(seen, ours(&mut phone, card));
    assert_eq!(
        seen["fields"]["sign_name"],
        json!(["王家包子铺", "老王包子"])
    );
    assert_eq!(seen["note"], "门口常积水，𠮷野家隔壁👍🏽，已报修𠮷");
    let cards = office
        .call(
            "GET",
            &format!("/v1/streets/{HOME}/cards?conflict=true"),
            Some(&office.admin),
            Value::Null,
        )
        .await
        .json;
    assert_eq!(
        (&cards["total"], &cards["items"][0]["note"]),
        (&json!(1), &seen["note"])
    );

    // The foreign client settles it, on two heads; a deletion, the same key twice in a change, and a message.
    let settled = foreign.set(card, json!({ "sign_name": "老王包子" })).await;
    assert_eq!(settled["deps"].as_array().unwrap().len(), 2);
    foreign
        .set(card, json!({ "tags/late_night": null, "unit": null }))
        .await;
    assert_eq!(
        foreign.set(card, json!({ "unit": null })).await["written"],
        false
    );
    let options = json!({ "message": "电话核实" });
    foreign.run(json!({ "command": "set", "record": card, "fields": { "unit": "3", "lane": "5" }, "options": options })).await;
    assert_eq!(foreign.sync().await, ["accepted"; 3]);
    phone.sync().await;
    assert_eq!(ours(&mut phone, card), foreign.show(card).await);
    assert_eq!(
        lianka_sync_core::kinds::conflicts(&phone.view(card)).count(),
        0
    );
    let history = office
        .call(
            "GET",
            &format!("/v1/streets/{HOME}/records/{card}/history"),
            Some(&office.admin),
            Value::Null,
        )
        .await
        .json;
    assert_eq!(
        (&history["total"], &history["items"][0]["message"]),
        (&json!(7), &json!("电话核实"))
    );
    let pass = refresh::pass(&office.test.app.pool, &office.test.clock)
        .await
        .unwrap();
    assert_eq!((pass.refreshed, pass.disputed), (1, 0));
}

/// A refusal across generations: what the client had never seen stays beside what it writes anew.
#[tokio::test]
async fn its_rebase_replaces_nothing_that_it_had_not_seen() {
    let (office, mut phone, mut foreign) = scene().await;
    let person = "0198c0de-0000-7000-8000-00000000000a";
    let mut fields = json!({ "sign_name": "王记包子", "unit": "201" });
    fields[format!("contacts/{person}/name")] = json!("许娜");
    let (card, _) = foreign.create(fields, "门口积水").await;
    assert_eq!(foreign.sync().await, ["accepted"]);
    phone.sync().await;
    phone.edit(
        card,
        &[
            put("sign_name", "王家包子铺"),
            Edit::Note {
                text: "东门口积".into(),
            },
        ],
    );
    assert_eq!(phone.sync().await.codes(), ["accepted"]);
    let path = format!("/v1/streets/{HOME}/records/{card}/redact");
    let body = json!({ "entry": person, "reason": "本人要求" });
    let redacted = office.call("POST", &path, Some(&office.admin), body).await;
    assert!(redacted.status.is_success(), "{}", redacted.json);

    // It knows of neither, and replaces a sign that is not the newest, a unit that is, and a character of the note; it goes on behind one that is gone.
    foreign
        .set(card, json!({ "sign_name": "老王包子", "unit": "202" }))
        .await;
    foreign.note(card, "门口常有水👍🏽深").await;
    let refused = foreign.sync().await;
    assert_eq!(refused[0], "stale_generation", "{refused:?}");
    foreign.run(json!({ "command": "rebase" })).await;
    assert_eq!(foreign.sync().await, ["accepted"; 2]);
    let seen = foreign.show(card).await;
    assert_eq!(
        seen["fields"]["sign_name"],
        json!(["王家包子铺", "老王包子"])
    );
    assert_eq!(seen["fields"]["unit"], json!(["202"]));
    assert_eq!(seen["note"], "东门口常有👍🏽深");
    phone.sync().await;
    assert_eq!(ours(&mut phone, card), seen);
}

#[tokio::test]
async fn it_reads_our_documents_in_every_form() {
    let (office, mut phone, mut foreign) = scene().await;
    let card = phone.create(
        "A1",
        &[
            put("sign_name", "王记包子"),
            Edit::add("tags/late_night"),
            Edit::Note {
                text: "门口积水".into(),
            },
        ],
    );
    phone.edit(card, &[put("unit", "201")]);
    phone.sync().await;
    let mut forms = Vec::new();
    for (form, refreshed, edit) in [
        ("changes alone", false, None),
        ("a saved document", true, None),
        ("a document and changes", false, Some("202")),
    ] {
        if refreshed {
            assert_eq!(
                refresh::pass(&office.test.app.pool, &office.test.clock)
                    .await
                    .unwrap()
                    .refreshed,
                1
            );
        }
        if let Some(unit) = edit {
            phone.edit(
                card,
                &[
                    put("unit", unit),
                    Edit::Note {
                        text: "门口积水，已修".into(),
                    },
                ],
            );
            phone.sync().await;
        }
        foreign.run(json!({ "command": "forget" })).await;
        foreign.sync().await;
        assert_eq!(foreign.show(card).await, ours(&mut phone, card), "{form}");
        // And writes on what it read.
        foreign
            .set(card, json!({ "lane": format!("{}弄", forms.len() + 1) }))
            .await;
        assert_eq!(foreign.sync().await, ["accepted"], "{form}");
        phone.sync().await;
        let whole = office.phone("li.na").await.push(true, &[]).await;
        let Some(ResponseItem::Snapshot { bytes, .. }) = whole.items.first() else {
            panic!("{whole:?}")
        };
        let read = foreign
            .run(json!({ "command": "load", "document": STANDARD.encode(bytes) }))
            .await;
        let mut record = Record::load(bytes).unwrap();
        assert_eq!(
            read,
            shown(&record.view().unwrap(), &record.heads()),
            "{form}"
        );
        forms.push(bytes[8]);
    }
    assert_eq!(forms, [1, 0, 0], "a change chunk first, then documents");
}

#[tokio::test]
async fn it_types_a_long_note_and_many_fields() {
    let (office, mut phone, mut foreign) = scene().await;
    let custom: serde_json::Map<_, _> = (0..40)
        .map(|n| (format!("custom/栏{n}"), json!("很".repeat(200))))
        .collect();
    let long = "门口积水，已报修。".repeat(200);
    let (card, written) = foreign.create(Value::Object(custom), &long).await;
    foreign.note(card, &long.replace('水', "油")).await;
    assert_eq!(foreign.sync().await, ["accepted"; 2]);
    phone.sync().await;
    assert_eq!(ours(&mut phone, card), foreign.show(card).await);
    assert!(text(&written["bytes"]).len() > 20_000);
    assert_eq!(
        refresh::pass(&office.test.app.pool, &office.test.clock)
            .await
            .unwrap()
            .disputed,
        0
    );
}

/// The gate takes one character for each element of a note: that is what the library writes, whatever a person sees as one.
#[tokio::test]
async fn it_types_what_looks_like_one_character_and_is_several() {
    let (_office, mut phone, mut foreign) = scene().await;
    let (card, _) = foreign
        .create(json!({ "sign_name": "王记包子" }), "👨‍👩‍👧e\u{301}🇨🇳")
        .await;
    assert_eq!(foreign.sync().await, ["accepted"]);
    for note in ["e\u{301}👨‍👩‍👧\n🇨🇳", "👩‍👧𠮷葛\u{e0100}", "👩🏽‍🚒a", ""]
    {
        foreign.note(card, note).await;
        assert_eq!(foreign.sync().await, ["accepted"], "{note}");
        phone.sync().await;
        assert_eq!(ours(&mut phone, card), foreign.show(card).await, "{note}");
        assert_eq!(phone.view(card).note.as_deref(), Some(note));
    }
}

#[tokio::test]
async fn its_mistakes_are_named_and_it_finds_back() {
    let (office, _, mut foreign) = scene().await;
    let (card, _) = foreign.create(json!({ "sign_name": "王记包子" }), "").await;
    assert_eq!(foreign.sync().await, ["accepted"]);
    for (mistake, code) in [
        ("plain_string", "nested_object"),
        ("nested", "nested_object"),
        ("list", "nested_object"),
        ("float", "wrong_type"),
        ("counter", "wrong_type"),
        ("date", "wrong_type"),
        ("null", "wrong_type"),
        ("bytes", "wrong_type"),
        ("milliseconds", "out_of_range"),
    ] {
        foreign
            .run(json!({ "command": "careless", "record": card, "mistake": mistake }))
            .await;
        assert_eq!(foreign.sync().await, [code], "{mistake}");
        // The server's copy came with the refusal, and the next edit stands on it.
        foreign.set(card, json!({ "lane": mistake })).await;
        assert_eq!(foreign.sync().await, ["accepted"], "after {mistake}");
    }
    assert_eq!(office.count("select count(*) from change_log").await, 1 + 9);
}
