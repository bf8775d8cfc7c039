//! Phones that are lost, copied, away for long, or in trouble: the list that an office sees, and what becomes of what they held.

use std::time::Duration;

use axum::http::StatusCode;
use lianka_client::{
    local_store::LocalStore,
    phone::{Backoff, Phone},
};
use lianka_client_core::store::RecordStore;
use lianka_sync_core::{
    codec::wire::{Hello, Report, RequestItem, ResponseItem, VerdictStatus},
    crdt::record::Edit,
    time::DeviceTime,
};
use lianka_tests::START_UNIX_MS;
use serde_json::{Value, json};

use crate::{
    scene::{NOW, Scene},
    sync::phone::{self, Office, put, text},
};

const DAY_MS: i64 = 86_400_000;
/// The first failure is told at once.
const AT_ONCE: Backoff = Backoff {
    tries_max: 1,
    base: Duration::ZERO,
    cap: Duration::ZERO,
};

/// A secretary's phone.
async fn secretary(scene: &Scene, username: &str) -> Phone {
    scene.phone(username, &["A1"]).await.with_backoff(AT_ONCE)
}

async fn revoke(scene: &Scene, phone: &Phone, query: &str) {
    let device = phone.identity().expect("enrolled").device;
    let path = format!("/v1/devices/{device}{query}");
    let admin = scene.office.admin();
    let answer = admin.call("DELETE", &path, Value::Null).await;
    assert!(answer.status.is_success(), "{}", answer.json);
}

async fn devices(office: &Office) -> Vec<Value> {
    office.admin().items("/v1/devices?page_size=200").await
}

fn troubles(device: &Value) -> Vec<&str> {
    device["troubles"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|trouble| trouble["code"].as_str().expect("a code"))
        .collect()
}

fn hello(report: Report) -> RequestItem {
    RequestItem::Hello(Hello {
        blocks: 0,
        kinds: Vec::new(),
        cursor: None,
        client: "test-phone/2".into(),
        pull: true,
        report,
    })
}

#[tokio::test]
async fn the_list_begins_with_the_devices_that_need_somebody_and_says_why() {
    let office = Office::open().await;
    office.test.clock.advance_ms(-8 * DAY_MS);
    let never = office.secretary("never", &["A1"]).await;
    let stale = office.secretary("stale", &["A1"]).await;
    stale.push(true, &[]).await;
    office.test.clock.advance_ms(8 * DAY_MS);
    let fine = office.secretary("fine", &["A1"]).await;
    let told = async |phone: &phone::Phone, report: Report| {
        phone.post(&[], phone.body(&[hello(report)])).await
    };
    let skewed = DeviceTime::from_unix_ms(START_UNIX_MS - 3_600_000);
    told(
        &fine,
        Report {
            unsent: Some(3),
            held: Some(2),
            device_time: Some(NOW),
            wiped: false,
        },
    )
    .await;
    let full = office.secretary("full", &["A1"]).await;
    told(
        &full,
        Report {
            unsent: Some(100),
            device_time: Some(skewed),
            ..Report::default()
        },
    )
    .await;
    let wiped = office.secretary("wiped", &["A1"]).await;
    office.revoke(&wiped, "?wipe=true").await;
    let revoked = office.secretary("revoked", &["A1"]).await;
    office.revoke(&revoked, "").await;

    let list = devices(&office).await;
    let found: Vec<_> = list
        .iter()
        .map(|device| (text(&device["username"]), troubles(device)))
        .collect();
    let of = |username: &str| {
        found
            .iter()
            .find(|(name, _)| name == username)
            .map(|(_, troubles)| troubles.clone())
            .unwrap()
    };
    assert_eq!(of("never"), ["never_synced"]);
    assert_eq!(of("stale"), ["stale"]);
    assert_eq!(of("full"), ["many_unsent", "clock_skew"]);
    assert_eq!(of("wiped"), ["wipe_pending"]);
    assert_eq!(
        (of("fine"), of("revoked"), of("root")),
        (vec![], vec![], vec![])
    );
    let first_fine = found
        .iter()
        .position(|(_, troubles)| troubles.is_empty())
        .unwrap();
    assert!(
        found[first_fine..]
            .iter()
            .all(|(_, troubles)| troubles.is_empty()),
        "failing ones come first: {found:?}"
    );
    assert_eq!(
        found.last().unwrap().0,
        "revoked",
        "what is out of use comes last"
    );
    let device = list
        .iter()
        .find(|device| device["username"] == "full")
        .unwrap();
    assert_eq!(
        (
            &device["unsent"],
            &device["clock_skew_ms"],
            &device["client_version"]
        ),
        (&json!(100), &json!(-3_600_000), &json!("test-phone/2"))
    );
    assert!(
        device["troubles"][0]["message_zh"]
            .as_str()
            .unwrap()
            .contains("未上传")
    );
    let device = list
        .iter()
        .find(|device| device["username"] == "fine")
        .unwrap();
    assert_eq!(
        (&device["unsent"], &device["held"], &device["clock_skew_ms"]),
        (&json!(3), &json!(2), &json!(0))
    );
    drop(never);
}

#[tokio::test]
async fn what_a_request_delivers_is_not_on_the_phone_any_more() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    phone.create("A1", &[]);
    phone.create("A2", &[]);
    let changes = std::mem::take(&mut phone.outbox)
        .into_iter()
        .map(RequestItem::Change);
    let report = Report {
        unsent: Some(5),
        ..Report::default()
    };
    let items: Vec<_> = std::iter::once(hello(report)).chain(changes).collect();
    let reply = phone.post(&[], phone.body(&items)).await;
    assert_eq!(reply.codes(), ["accepted", "not_your_grid"]);
    let list = devices(&office).await;
    let device = list
        .iter()
        .find(|device| device["username"] == "wang.fang")
        .unwrap();
    assert_eq!(device["unsent"], 4, "one of five arrived");
    // An older phone tells nothing, which is not zero.
    phone.push(true, &[]).await;
    let list = devices(&office).await;
    let device = list
        .iter()
        .find(|device| device["username"] == "wang.fang")
        .unwrap();
    assert_eq!(
        (&device["unsent"], &device["clock_skew_ms"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_phone_hands_over_everything_clears_itself_and_says_so() {
    let scene = Scene::open().await;
    let phone = secretary(&scene, "wang.fang").await;
    let card = phone
        .create_card("A1", &[put("sign_name", "王记包子")], NOW)
        .expect("created")
        .record;
    phone.sync().await.expect("synced");
    let edits = 5;
    for n in 0..edits {
        phone
            .edit(card, &[put("unit", &format!("{n}室"))], NOW)
            .expect("saved");
    }
    let new = phone
        .create_card("A1", &[put("sign_name", "悦福理发店")], NOW)
        .expect("created")
        .record;
    revoke(&scene, &phone, "?wipe=true").await;
    assert_eq!(troubles(&devices(&scene.office).await[0]), ["wipe_pending"]);

    let report = phone.sync().await.expect("synced");
    assert!(report.wiped);
    assert_eq!(
        (
            report.tally.held,
            report.tally.snapshots,
            report.tally.changes
        ),
        (edits + 1, 0, 0),
        "all rescued, nothing given"
    );
    assert_eq!(
        scene
            .office
            .count("select count(*) from held_change where reason = 'device_wiped'")
            .await,
        i64::from(edits) + 1
    );
    assert_eq!(
        scene.office.admin().values(card, "unit").await,
        Vec::<String>::new()
    );
    let _ = new;

    let device = devices(&scene.office)
        .await
        .into_iter()
        .find(|device| device["username"] == "wang.fang")
        .unwrap();
    assert!(
        device["wiped_reported_at"].is_string() && troubles(&device).is_empty(),
        "{device}"
    );
    assert_eq!(
        (
            scene.office.told("wipe_ordered").await,
            scene.office.told("device_wiped").await
        ),
        (1, 1)
    );
    assert_eq!(
        Phone::open(&scene.file("wang.fang")).unwrap_err().code(),
        "wiped"
    );
    for entry in std::fs::read_dir(scene.files.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for trace in ["王记包子", "悦福理发店", "室", "refresh_token", "wang.fang"] {
            assert!(
                !bytes
                    .windows(trace.len())
                    .any(|window| window == trace.as_bytes()),
                "{trace} is left"
            );
        }
    }
    // It has no business here any more, whatever tokens somebody kept.
    Phone::report_wipe(&scene.file("wang.fang"), lianka_sync_core::lang::Lang::Zh)
        .await
        .expect("nothing to tell any more");
}

#[tokio::test]
async fn a_device_is_told_to_wipe_only_when_nothing_more_is_to_come() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    for _ in 0..3 {
        phone.create("A1", &[]);
    }
    let changes: Vec<_> = std::mem::take(&mut phone.outbox)
        .into_iter()
        .map(RequestItem::Change)
        .collect();
    office.revoke(&phone, "?wipe=true").await;
    let send = async |pull: bool, unsent: u64, changes: &[RequestItem]| {
        let report = Report {
            unsent: Some(unsent),
            ..Report::default()
        };
        let hello = RequestItem::Hello(Hello {
            blocks: 0,
            kinds: Vec::new(),
            cursor: None,
            client: "test-phone/2".into(),
            pull,
            report,
        });
        let items: Vec<_> = std::iter::once(hello)
            .chain(changes.iter().cloned())
            .collect();
        let reply = phone.post(&[], phone.body(&items)).await;
        assert!(
            reply
                .verdicts()
                .iter()
                .all(|verdict| verdict.status == VerdictStatus::Held),
            "{:?}",
            reply.items
        );
        reply
            .items
            .iter()
            .any(|item| matches!(item, ResponseItem::Wipe))
    };
    assert!(
        !send(false, 3, &changes[..2]).await,
        "one is still on the phone"
    );
    assert!(send(true, 1, &changes[2..]).await);
    assert!(
        send(false, 1, &changes[2..]).await,
        "pushed ahead, and all there is"
    );
    // Once it says it is done, its tokens are worth nothing.
    let done = RequestItem::Hello(Hello {
        blocks: 0,
        kinds: Vec::new(),
        cursor: None,
        client: "test-phone/2".into(),
        pull: false,
        report: Report {
            wiped: true,
            ..Report::default()
        },
    });
    assert_eq!(
        phone
            .post(&[], phone.body(std::slice::from_ref(&done)))
            .await
            .status,
        StatusCode::OK
    );
    let again = phone.post(&[], phone.body(&[done])).await;
    assert_eq!(
        (again.status, again.json["code"].as_str()),
        (StatusCode::UNAUTHORIZED, Some("device_revoked"))
    );
}

#[tokio::test]
async fn only_a_device_that_was_told_to_wipe_can_say_that_it_did() {
    let office = Office::open().await;
    let phone = office.secretary("wang.fang", &["A1"]).await;
    let lie = hello(Report {
        wiped: true,
        ..Report::default()
    });
    for _ in 0..2 {
        assert_eq!(
            phone
                .post(&[], phone.body(std::slice::from_ref(&lie)))
                .await
                .status,
            StatusCode::OK
        );
    }
    assert_eq!(
        office
            .count("select count(*) from device where wiped_reported_at is not null")
            .await,
        0
    );
}

/// A copy of a phone's file as it is now.
fn copied(scene: &Scene, phone: &Phone, name: &str) -> Phone {
    LocalStore::open(phone.path())
        .expect("its file")
        .truncate_log()
        .expect("nobody reads");
    std::fs::copy(phone.path(), scene.file(name)).expect("copied");
    Phone::open(&scene.file(name))
        .expect("a phone")
        .with_backoff(AT_ONCE)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloned_phone_is_recognised_and_no_edit_of_either_copy_is_lost() {
    let scene = Scene::open().await;
    let first = secretary(&scene, "wang.fang").await;
    let card = first
        .create_card("A1", &[put("sign_name", "王记包子")], NOW)
        .expect("created")
        .record;
    let other = first
        .create_card("A1", &[put("sign_name", "李家面馆")], NOW)
        .expect("created")
        .record;
    first.sync().await.expect("synced");
    let second = copied(&scene, &first, "copy");

    first
        .edit(card, &[put("unit", "101室")], NOW)
        .expect("saved");
    first
        .edit(other, &[put("lane", "5弄")], NOW)
        .expect("saved");
    second
        .edit(card, &[put("opening_hours", "早6点到下午2点")], NOW)
        .expect("saved");
    second
        .edit(
            card,
            &[Edit::Note {
                text: "门口积水".into(),
            }],
            NOW,
        )
        .expect("saved");
    first.sync().await.expect("synced");
    let report = second.sync().await.expect("synced");
    assert_eq!((report.unsent, report.drafts), (0, 0), "{report:?}");
    assert!(
        report.tally.rebased > 0,
        "it writes under another epoch now"
    );
    for (record, key, value) in [
        (card, "unit", "101室"),
        (card, "opening_hours", "早6点到下午2点"),
        (other, "lane", "5弄"),
    ] {
        assert_eq!(scene.office.admin().values(record, key).await, [value]);
    }
    assert_eq!(
        second.view(other).expect("held").text("lane"),
        Some("5弄"),
        "what its twin wrote reached it"
    );
    let device = devices(&scene.office)
        .await
        .into_iter()
        .find(|device| device["username"] == "wang.fang")
        .unwrap();
    assert_eq!(
        (troubles(&device)[0], &device["forks"]),
        ("clone_suspected", &json!(1))
    );
    assert_eq!(scene.office.told("clone_suspected").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_learns_what_its_copy_wrote_although_it_writes_nothing_itself() {
    let scene = Scene::open().await;
    let first = secretary(&scene, "wang.fang").await;
    let card = first
        .create_card("A1", &[put("sign_name", "王记包子")], NOW)
        .expect("created")
        .record;
    first.sync().await.expect("synced");
    let second = copied(&scene, &first, "copy");
    second
        .edit(card, &[put("unit", "101室")], NOW)
        .expect("saved");
    assert_eq!(
        second.sync().await.expect("synced").tally.changes,
        0,
        "what it brought itself is not sent back"
    );
    assert_eq!(first.sync().await.expect("synced").tally.changes, 1);
    assert_eq!(first.view(card).expect("held").text("unit"), Some("101室"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_that_both_refresh_are_signed_out_and_enrol_again_with_all_their_edits() {
    let mut scene = Scene::open().await;
    let first = secretary(&scene, "wang.fang").await;
    let card = first
        .create_card("A1", &[put("sign_name", "王记包子")], NOW)
        .expect("created")
        .record;
    first.sync().await.expect("synced");
    let second = copied(&scene, &first, "copy");
    first
        .edit(card, &[put("unit", "101室")], NOW)
        .expect("saved");
    second
        .edit(card, &[put("lane", "5弄")], NOW)
        .expect("saved");

    // Access tokens expire; both exchange the same refresh token, then each goes on with its own.
    let mut signed_out = 0;
    for _ in 0..3 {
        scene.office.test.clock.advance_ms(16 * 60_000);
        for phone in [&first, &second] {
            signed_out += usize::from(
                phone
                    .sync()
                    .await
                    .is_err_and(|error| error.code() == "signed_out"),
            );
        }
    }
    assert!(signed_out >= 2, "{signed_out}");
    assert_eq!(scene.office.told("token_reused").await, 1);
    // What was not sent before the chain ended is still there, and each of them is a device of its own from now on.
    first
        .edit(card, &[put("number", "378")], NOW)
        .expect("saved");
    second
        .edit(card, &[put("number_suffix", "甲")], NOW)
        .expect("saved");
    let first = scene
        .enrol("wang.fang", "wang.fang")
        .await
        .with_backoff(AT_ONCE);
    let second = scene.enrol("copy", "wang.fang").await.with_backoff(AT_ONCE);
    assert_ne!(
        first.identity().unwrap().device,
        second.identity().unwrap().device
    );
    for phone in [&first, &second, &first] {
        let report = phone.sync().await.expect("synced");
        assert_eq!((report.unsent, report.drafts), (0, 0), "{report:?}");
    }
    scene.office.admin = scene.office.token("root").await;
    for (key, value) in [
        ("unit", "101室"),
        ("lane", "5弄"),
        ("number", "378"),
        ("number_suffix", "甲"),
    ] {
        assert_eq!(
            scene.office.admin().values(card, key).await,
            [value],
            "{key}"
        );
        for phone in [&first, &second] {
            assert_eq!(
                phone.view(card).expect("held").text(key),
                Some(value),
                "{key}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_grants_the_lease() {
    let scene = Scene::open().await;
    let phone = secretary(&scene, "wang.fang").await;
    assert_eq!(
        phone.status().expect("a status").lease_left_ms,
        None,
        "there is nothing to lock yet"
    );
    phone.sync().await.expect("synced");
    let left = phone
        .status()
        .expect("a status")
        .lease_left_ms
        .expect("a lease");
    assert!((7 * DAY_MS - 60_000..=7 * DAY_MS).contains(&left), "{left}");
}
