//! Erasing and redacting in the middle of offline work: gone from every table and every phone, and nothing brings it back.

use axum::http::StatusCode;
use lianka_client::phone::Phone;
use lianka_office_core::{acts::erase, store::Receipt};
use lianka_server::{
    street::merge::{Author, Ingested, Push},
    upkeep::refresh,
};
use lianka_sync_core::{
    access::Role,
    codec::wire::{PushedChange, ResponseItem, VerdictStatus},
    crdt::record::{Edit, Record},
    id::RecordId,
    kinds::Kind,
};
use lianka_tests::{Answer, START_UNIX_MS};
use serde_json::{Value, json};

use crate::{
    scene::{NOW, Scene},
    sync::phone::{HOME, pushed, put, text},
};

const WANG: &str = "0198c0de-0000-7000-8000-00000000000a";
const LI: &str = "0198c0de-0000-7000-8000-00000000000b";
const CONSENT: &str = "0198c0de-0000-7000-8000-0000000000c1";
/// What must be nowhere afterwards: the person's name, as typed and as search keys would spell it, and every number.
const SECRETS: [&str; 5] = [
    "欧阳小明",
    "ouyangxiaoming",
    "13812345678",
    "13887654321",
    "下午三点后",
];

fn contact(entry: &str, field: &str, value: &str) -> Edit {
    put(&format!("contacts/{entry}/{field}"), value)
}

impl Scene {
    /// As the admin, whatever the answer is.
    async fn post(&self, path: &str, json: Value) -> Answer {
        self.office.admin().call("POST", path, json).await
    }

    async fn get(&self, path: &str) -> Value {
        self.office.admin().get(path).await
    }

    async fn erase(&self, record: RecordId, reason: &str) -> Answer {
        let json = json!({ "reason": reason });
        self.post(&format!("records/{record}/erase"), json).await
    }

    async fn redact(&self, record: RecordId, json: Value) -> Answer {
        self.post(&format!("records/{record}/redact"), json).await
    }

    /// A card with two contact persons, at the office and on the phone.
    async fn card(&self, phone: &Phone) -> RecordId {
        let card = phone
            .create_card(
                "A1",
                &[put("sign_name", "王记包子"), put("road", "天平路")],
                NOW,
            )
            .expect("created")
            .record;
        let mut edits = vec![
            contact(WANG, "name", "欧阳小明"),
            put("opening_hours", "早6点到下午2点"),
            contact(WANG, "phones", "13812345678"),
            contact(LI, "name", "李建国"),
        ];
        edits.extend(
            [
                ("contact", WANG),
                ("scope", "party_status"),
                ("decision", "grant"),
            ]
            .map(|(field, value)| put(&format!("consent/{CONSENT}/{field}"), value)),
        );
        phone.edit(card, &edits, NOW).expect("saved");
        phone.sync().await.expect("synced");
        card
    }

    /// Every row of every table as text, bytes in hexadecimal, and what the documents hold once they are unpacked.
    async fn everything(&self) -> String {
        let pool = &self.office.test.app.pool;
        let tables: Vec<String> = sqlx::query_scalar(
            "select table_name::text from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'",
        )
        .fetch_all(pool)
        .await
        .expect("the tables");
        assert!(tables.len() > 25, "{tables:?}");
        let mut all = String::new();
        for table in tables {
            let statement = format!("select t::text from {table} t");
            let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
                .fetch_all(pool)
                .await
                .expect("the rows");
            all.push_str(&rows.join("\n"));
        }
        let documents: Vec<Vec<u8>> =
            sqlx::query_scalar("select snapshot from record where snapshot is not null")
                .fetch_all(pool)
                .await
                .expect("the snapshots");
        for document in documents {
            for change in Record::load(&document).expect("a document").changes() {
                all.push_str(&hex::encode(change));
            }
        }
        all
    }

    /// Nothing about the person is in the database, nor in the phone's file.
    async fn nothing_is_left(&self, phones: &[&str]) {
        let everything = self.everything().await;
        for secret in SECRETS {
            assert!(
                !everything.contains(secret) && !everything.contains(&hex::encode(secret)),
                "the database still has {secret}"
            );
        }
        for phone in phones {
            let folder = self.file(phone);
            let files: Vec<_> = std::fs::read_dir(folder.parent().expect("a folder"))
                .expect("readable")
                .map(|entry| entry.expect("an entry").path())
                .filter(|path| {
                    path.file_name()
                        .and_then(|name| name.to_str())
                        .is_some_and(|name| name.starts_with(phone))
                })
                .collect();
            assert!(!files.is_empty());
            for file in files.iter().filter(|path| path.is_file()) {
                let bytes = std::fs::read(file).expect("readable");
                for secret in SECRETS {
                    let found = bytes
                        .windows(secret.len())
                        .any(|window| window == secret.as_bytes());
                    assert!(!found, "{} still has {secret}", file.display());
                }
            }
        }
    }

    /// The read models are what a rebuild makes of the records, and the audit trail is whole.
    async fn all_is_sound(&self) {
        self.office.is_sound().await;
        let test = &self.office.test;
        let pass = refresh::pass(&test.app.pool, &test.clock).await;
        let pass = pass.expect("a pass");
        assert_eq!(pass.disputed, 0);
    }
}

fn keys(phone: &Phone, record: RecordId) -> Vec<String> {
    phone
        .view(record)
        .expect("readable")
        .values
        .into_keys()
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_erased_is_refused_and_changes_nothing() {
    let scene = Scene::open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let card = scene.card(&phone).await;
    let before = scene
        .office
        .rows(&["record", "change_log", "erasure"])
        .await;
    let nobody = RecordId::default();
    let reason = json!({ "reason": "subject_request" });
    let person = |entry: &str| json!({ "entry": entry, "reason": "subject_request" });
    for (path, body, code) in [
        (
            format!("records/{nobody}/erase"),
            reason.clone(),
            "not_found",
        ),
        (
            format!("records/{nobody}/redact"),
            person(WANG),
            "not_found",
        ),
        (
            format!("records/{card}/erase"),
            json!({ "reason": " " }),
            "invalid_field",
        ),
        (format!("records/{card}/erase"), json!({}), "invalid_field"),
        (
            format!("records/{card}/redact"),
            person("0198c0de-0000-7000-8000-00000000000f"),
            "invalid_field",
        ),
        // A consent is no person.
        (
            format!("records/{card}/redact"),
            person(CONSENT),
            "invalid_field",
        ),
    ] {
        assert_eq!(scene.post(&path, body).await.code(), code, "{path}");
    }
    let reviewer = scene.office.desk("zhao.min", "reviewer").await;
    let path = format!("records/{card}/erase");
    let refused = reviewer.call("POST", &path, reason).await;
    assert_eq!(refused.code(), "wrong_role");
    assert_eq!(
        scene
            .office
            .rows(&["record", "change_log", "erasure"])
            .await,
        before
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redacted_person_is_gone_from_the_store_and_from_phones_in_the_middle_of_their_work() {
    let scene = Scene::open().await;
    let (one, two) = (
        scene.phone("wang.fang", &["A1"]).await,
        scene.phone("li.na", &["A1"]).await,
    );
    let moved = scene.phone("chen.jie", &["A1"]).await;
    let card = scene.card(&one).await;
    two.sync().await.expect("synced");
    moved.sync().await.expect("synced");
    one.edit(card, &[put("unit", "101室")], NOW).expect("saved");
    two.edit(card, &[put("unit", "102室")], NOW).expect("saved");
    one.sync().await.expect("synced");
    two.sync().await.expect("synced");
    let history = scene.get(&format!("records/{card}/history")).await["total"]
        .as_i64()
        .expect("a number");

    // Offline: edits of the person, of the shop, and of both at once; a draft; one that waits for a reviewer.
    one.edit(
        card,
        &[
            contact(WANG, "phones", "13887654321"),
            put("sign_name", "王记包子铺"),
        ],
        NOW,
    )
    .expect("saved");
    one.edit(card, &[contact(WANG, "preferred_time", "下午三点后")], NOW)
        .expect("saved");
    two.edit(card, &[put("sign_name", "天平包子")], NOW)
        .expect("saved");
    moved
        .edit(card, &[contact(WANG, "preferred_time", "下午三点后")], NOW)
        .expect("saved");
    scene.office.assign(HOME, "chen.jie", &["A2"]).await;
    assert_eq!(moved.sync().await.expect("synced").held, 1);
    two.sync().await.expect("synced");

    let receipt = scene
        .redact(card, json!({ "entry": WANG, "reason": "subject_request" }))
        .await;
    assert_eq!(receipt.status, StatusCode::OK, "{}", receipt.json);
    assert_eq!(
        (
            &receipt.json["receipt"]["generation_after"],
            &receipt.json["mentioned_in"]
        ),
        (&json!(2), &json!([]))
    );
    scene.nothing_is_left(&[]).await;
    scene.all_is_sound().await;

    let report = one.sync().await.expect("synced");
    assert_eq!(
        (report.unsent, report.drafts, report.held),
        (0, 0, 0),
        "what was theirs went without a draft"
    );
    assert_eq!(report.tally.redacted, 1);
    two.sync().await.expect("synced");
    let report = moved.sync().await.expect("synced");
    assert_eq!((report.held, report.drafts), (0, 0));
    two.sync().await.expect("synced");

    // The conflict stands as it stood, with both authors.
    let shown = scene.get(&format!("records/{card}")).await;
    let unit = shown["fields"]
        .as_array()
        .expect("fields")
        .iter()
        .find(|field| field["key"] == "unit")
        .expect("a unit");
    assert_eq!(unit["conflict"], true);
    let mut authors: Vec<_> = unit["values"]
        .as_array()
        .expect("values")
        .iter()
        .map(|value| text(&value["username"]))
        .collect();
    authors.sort();
    assert_eq!(authors, ["li.na", "wang.fang"]);
    // The rest of the edit was written anew, beside what its author could not have seen.
    let sign = shown["fields"]
        .as_array()
        .expect("fields")
        .iter()
        .find(|field| field["key"] == "sign_name")
        .expect("a sign");
    let mut signs: Vec<_> = sign["values"]
        .as_array()
        .expect("values")
        .iter()
        .map(|value| text(&value["value"]))
        .collect();
    signs.sort();
    assert_eq!(signs, ["天平包子", "王记包子铺"]);
    for phone in [&one, &two] {
        assert!(
            keys(phone, card)
                .iter()
                .all(|key| !key.contains(WANG) && !key.contains(CONSENT))
        );
        assert!(keys(phone, card).iter().any(|key| key.contains(LI)));
    }
    assert_eq!(keys(&one, card), keys(&two, card));
    assert_eq!(
        one.view(card).expect("a view"),
        two.view(card).expect("a view")
    );

    // A phone that knows nothing of it writes them again: refused, and dropped.
    one.edit(card, &[contact(WANG, "name", "欧阳小明")], NOW)
        .expect("saved");
    let report = one.sync().await.expect("synced");
    assert_eq!(
        (report.tally.dropped, report.drafts, report.unsent),
        (1, 0, 0)
    );
    scene.all_is_sound().await;
    // A phone that starts over may hold a draft about the person from before: it is told as well.
    let mut anew = scene.office.phone("li.na").await;
    let told = anew.sync().await.items;
    assert!(
        told.iter()
            .any(|item| matches!(item, ResponseItem::Redact { record, .. } if *record == card)),
        "{told:?}"
    );
    let told = scene.get(&format!("records/{card}/history")).await;
    // Every change is still there, with its author and time; those that lost something from their middle stand as two.
    assert!(told["total"].as_i64().expect("a number") >= history);
    drop((one, two, moved));
    scene
        .nothing_is_left(&["wang.fang", "li.na", "chen.jie"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_before_a_redaction_is_not_written_again_after_it() {
    let scene = Scene::open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let card = scene.card(&phone).await;
    phone
        .edit(
            card,
            &[
                put("sign_name", "王记包子铺"),
                Edit::Note {
                    text: "门口积水".into(),
                },
            ],
            NOW,
        )
        .expect("saved");
    phone
        .edit(card, &[contact(LI, "role", "店长")], NOW)
        .expect("saved");
    // It is accepted, and the answer is lost.
    let author = Author {
        username: "wang.fang".into(),
        role: Role::Secretary,
        device: phone.identity().expect("enrolled").device,
        wiped: false,
    };
    let sent = phone.outbox().expect("readable").into_iter().map(|entry| {
        Ingested::new(PushedChange {
            record: entry.record,
            kind: entry.kind,
            generation: entry.generation,
            bytes: entry.bytes,
        })
    });
    let push = Push {
        author,
        changes: sent.collect(),
    };
    let outcomes = scene
        .office
        .test
        .app
        .pipeline
        .queues
        .push(&HOME.parse().expect("a street"), push, false)
        .await
        .expect("committed");
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.status == VerdictStatus::Accepted),
        "{outcomes:?}"
    );
    // The office corrects what it said, and forgets somebody.
    let answer = scene
        .post(
            &format!("records/{card}/edits"),
            json!({ "set": { "sign_name": "王家包子", "note": "" } }),
        )
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
    assert_eq!(
        scene
            .redact(card, json!({ "entry": WANG, "reason": "subject_request" }))
            .await
            .status,
        StatusCode::OK
    );
    let report = phone.sync().await.expect("synced");
    assert_eq!(
        (report.unsent, report.drafts, report.tally.rebased),
        (0, 0, 0),
        "{report:?}"
    );
    let view = phone.view(card).expect("a view");
    let signs: Vec<_> = view.values["sign_name"]
        .iter()
        .filter_map(|value| value.value.as_str())
        .collect();
    assert_eq!(
        (
            signs,
            view.note.as_deref(),
            view.text(&format!("contacts/{LI}/role"))
        ),
        (vec!["王家包子"], Some(""), Some("店长"))
    );
    assert_eq!(scene.get("cards?conflict=true").await["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_note_goes_where_it_names_the_person() {
    let scene = Scene::open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let card = scene.card(&phone).await;
    phone
        .edit(
            card,
            &[Edit::Note {
                text: "找欧阳小明，13812345678".into(),
            }],
            NOW,
        )
        .expect("saved");
    phone.sync().await.expect("synced");
    let answer = scene
        .redact(card, json!({ "entry": WANG, "reason": "subject_request" }))
        .await;
    assert_eq!(answer.json["mentioned_in"], json!(["note"]));
    // The answer was lost, and somebody asks again: one receipt, and no phone takes the card anew.
    let again = scene
        .redact(card, json!({ "entry": WANG, "reason": "other" }))
        .await;
    assert_eq!(
        (again.status, &again.json["receipt"]),
        (StatusCode::OK, &answer.json["receipt"]),
        "{}",
        again.json
    );
    let answer = scene
        .redact(
            card,
            json!({ "entry": WANG, "reason": "subject_request", "note": true }),
        )
        .await;
    assert_eq!(
        (answer.status, &answer.json["receipt"]["generation_after"]),
        (StatusCode::OK, &json!(3))
    );
    phone.sync().await.expect("synced");
    assert_eq!(phone.view(card).expect("a view").note.as_deref(), Some(""));
    phone
        .edit(
            card,
            &[Edit::Note {
                text: "门口积水".into(),
            }],
            NOW,
        )
        .expect("saved");
    assert_eq!(phone.sync().await.expect("synced").tally.accepted, 1);
    scene.all_is_sound().await;
    drop(phone);
    scene.nothing_is_left(&["wang.fang"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_record_is_gone_everywhere_and_never_comes_back() {
    let scene = Scene::open().await;
    let (one, two) = (
        scene.phone("wang.fang", &["A1"]).await,
        scene.phone("li.na", &["A1"]).await,
    );
    let card = scene.card(&one).await;
    two.sync().await.expect("synced");
    let other = two
        .create_card("A1", &[put("sign_name", "李家面馆")], NOW)
        .expect("created")
        .record;
    // One has an edit under way, the other one that is held, and one whose verdict is final already.
    one.edit(card, &[contact(WANG, "phones", "13887654321")], NOW)
        .expect("saved");
    two.edit(card, &[contact(WANG, "preferred_time", "下午三点后")], NOW)
        .expect("saved");
    scene.office.assign(HOME, "li.na", &["A2"]).await;
    assert_eq!(two.sync().await.expect("synced").held, 2);

    let erased = scene.erase(card, "欧阳小明 asked").await;
    assert_eq!(
        erased.json["receipt"]["reason"], "other",
        "no receipt quotes anybody"
    );
    assert_eq!(erased.status, StatusCode::OK, "{}", erased.json);
    assert_eq!(erased.json["receipt"]["what"]["held_change"], 1);
    scene.nothing_is_left(&[]).await;
    let admin = scene.office.admin();
    let gone = admin.ask(&format!("records/{card}")).await;
    assert_eq!(gone.code(), "not_found");

    let report = one.sync().await.expect("synced");
    assert_eq!(
        (report.unsent, report.drafts, report.tally.dropped),
        (0, 0, 1)
    );
    let report = two.sync().await.expect("synced");
    assert_eq!(
        (report.unsent, report.drafts, report.held),
        (0, 0, 1),
        "only the other card still waits"
    );
    assert!(one.view(card).is_err());
    assert!(!one.records().expect("readable").contains(&card));
    assert!(
        two.outbox_of(card).expect("readable").is_empty()
            && !two.outbox_of(other).expect("readable").is_empty()
    );

    // The id is never used again, whoever creates it.
    let again = scene.office.secretary("zhou.wei", &["A1"]).await;
    let edits = [
        put("kind", "shop_card"),
        put("street", HOME),
        put("grid", "A1"),
        put("sign_name", "又来了"),
    ];
    let (_, change) = Record::create(again.actor(), NOW, &edits).expect("a creation");
    let reply = again
        .push(true, &[pushed(card, Kind::ShopCard, &change)])
        .await;
    assert_eq!(reply.verdicts()[0].code.as_deref(), Some("erased"));
    // Who starts over may hold a draft about it from before: it is told as well.
    assert!(
        reply
            .items
            .iter()
            .any(|item| matches!(item, ResponseItem::Erase { record } if *record == card)),
        "{:?}",
        reply.items
    );

    // Asked again it answers with the same receipt, which proves itself and says nothing of anybody.
    let twice = scene.erase(card, "legal_duty").await;
    assert_eq!(twice.json["receipt"], erased.json["receipt"]);
    let receipts = scene.get("erasures").await;
    assert_eq!(receipts["items"], json!([erased.json["receipt"]]));
    assert_eq!(
        hash_of(&receipts["items"][0]),
        text(&receipts["items"][0]["hash"])
    );
    scene.all_is_sound().await;
    drop((one, two));
    scene.nothing_is_left(&["wang.fang", "li.na"]).await;
}

/// Two cards that were merged and are two shops after all: what the merge had brought of a person is in the winner's history still, also where it was
/// put under a person of the winner's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_redaction_reaches_what_an_undone_merge_had_brought() {
    const ZHAO: &str = "0198c0de-0000-7000-8000-00000000000d";
    let scene = Scene::open().await;
    let phone = scene.phone("a", &["A1"]).await;
    let own = [
        put("sign_name", "王记包子"),
        contact(LI, "name", "欧阳小明"),
        contact(LI, "phones", "13812345678"),
    ];
    let winner = phone.create_card("A1", &own, NOW).expect("created").record;
    let loser = scene.card(&phone).await;
    let more = [
        contact(WANG, "preferred_time", "下午三点后"),
        contact(ZHAO, "name", "赵某"),
        contact(ZHAO, "phones", "13887654321"),
    ];
    phone.edit(loser, &more, NOW).expect("saved");
    phone.sync().await.expect("synced");
    let reviewer = scene.office.desk("reviewer", "reviewer").await;
    let pair = lianka_sync_core::kinds::duplicate::pair_id(winner, loser);
    let body = json!({ "winner": winner, "loser": loser, "note": "" });
    let merge = reviewer
        .post(&format!("duplicates/{pair}/merge"), body)
        .await;
    let path = format!("merges/{}/undo", text(&merge["merge"]));
    reviewer.post(&path, json!({ "note": "" })).await;

    for (person, secret) in [(WANG, "下午三点后"), (ZHAO, "13887654321")] {
        let body = json!({ "entry": person, "reason": "subject_request" });
        let gone = scene.redact(loser, body.clone()).await;
        assert_eq!(gone.status, StatusCode::OK, "{}", gone.json);
        assert_eq!(
            gone.json["also_on"],
            json!([winner]),
            "it names the card that holds a copy: {}",
            gone.json
        );
        assert!(scene.everything().await.contains(&hex::encode(secret)));
        let gone = scene.redact(winner, body.clone()).await;
        assert_eq!(gone.status, StatusCode::OK, "{}", gone.json);
        let everything = scene.everything().await;
        assert!(
            !everything.contains(secret) && !everything.contains(&hex::encode(secret)),
            "the database still has {secret}"
        );
        let again = scene.redact(winner, body.clone()).await;
        assert_eq!(again.json["erasure"], gone.json["erasure"]);
        let again = scene.redact(loser, body).await;
        assert_eq!(again.json["also_on"], json!([]), "{}", again.json);
    }
    let consents = scene.office.count("select count(*) from shop_consent");
    assert_eq!(consents.await, 0, "nor a consent that they gave");
    let name = format!("contacts/{LI}/name");
    assert_eq!(
        scene.office.admin().values(winner, &name).await,
        ["欧阳小明"],
        "the winner's own person stays"
    );
    let gone = scene.erase(loser, "subject_request").await;
    assert_eq!(
        gone.json["also_on"],
        json!([winner]),
        "the whole card's values are in that history as well"
    );
    scene.all_is_sound().await;
}

/// The office's own sheet still names the shop: importing it again brings nothing back, neither the card nor a cell.
#[tokio::test(flavor = "multi_thread")]
async fn an_imported_row_does_not_bring_an_erased_card_back() {
    let scene = Scene::open().await;
    let sheet = "店招,地址,责任网格,联系人,联系电话\n王记包子,天平路12号,A1,欧阳小明,13812345678\n李家面馆,天平路14号,A1,,\n";
    let admin = scene.office.admin();
    let import = async || admin.import("?dry_run=false", sheet).await;
    assert_eq!(import().await["created"], 2);
    let cards = scene.get("cards?q=王记包子").await;
    let card: RecordId = text(&cards["items"][0]["record"]).parse().expect("an id");
    assert!(scene.everything().await.contains("13812345678"));
    assert_eq!(
        scene.erase(card, "subject_request").await.status,
        StatusCode::OK
    );
    scene.nothing_is_left(&[]).await;
    let again = import().await;
    assert_eq!(again["created"], 0, "{again}");
    assert_eq!(scene.get("cards").await["total"], 1);
    scene.nothing_is_left(&[]).await;
    scene.all_is_sound().await;
}

/// Anybody can check a receipt.
fn hash_of(receipt: &Value) -> String {
    let id = |key: &str| text(&receipt[key]).parse().expect("an id");
    let entries = receipt["entries"].as_array().expect("entries").iter();
    let row = Receipt {
        erasure: id("erasure"),
        seq: receipt["seq"].as_i64().expect("a number"),
        kind: if text(&receipt["kind"]) == erase::ERASE {
            erase::ERASE
        } else {
            erase::REDACT
        },
        record: RecordId(id("record")),
        entry: None,
        entries: entries
            .map(|entry| text(entry).parse().expect("an id"))
            .collect(),
        note: receipt["note"] == true,
        reason: text(&receipt["reason"]),
        username: text(&receipt["username"]),
        at: lianka_sync_core::time::ServerTime::from_unix_ms(START_UNIX_MS),
        generation_before: receipt["generation_before"].as_i64().expect("a number") as u32,
        generation_after: receipt["generation_after"]
            .as_i64()
            .map(|generation| generation as u32),
        what: receipt["what"].clone(),
        hash: Vec::new(),
    };
    hex::encode(erase::hash(&row, &HOME.parse().expect("a street")))
}
