//! Real phones against the real server, over a socket: what the two sides promise each other, kept by both at once.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use lianka_client::phone::Phone;
use lianka_sync_core::{
    crdt::record::Edit,
    kinds::projection::{Projected, digest},
};
use lianka_tests::program;

use crate::{
    scene::{NOW, Scene, shown},
    sync::phone::put,
};

#[tokio::test(flavor = "multi_thread")]
async fn two_phones_offline_and_the_office_end_with_the_same_cards() {
    let scene = Scene::open().await;
    let (one, two) = (
        scene.phone("wang.fang", &["A1"]).await,
        scene.phone("li.na", &["A1"]).await,
    );
    let card = one
        .create_card(
            "A1",
            &[put("sign_name", "王记包子"), put("road", "天平路")],
            NOW,
        )
        .expect("created")
        .record;
    one.sync().await.expect("synced");
    two.sync().await.expect("synced");

    one.edit(
        card,
        &[put("sign_name", "王记包子铺"), put("unit", "101室")],
        NOW,
    )
    .expect("saved");
    two.edit(
        card,
        &[
            put("sign_name", "天平包子"),
            put("opening_hours", "早6点到下午2点"),
        ],
        NOW,
    )
    .expect("saved");
    two.edit(
        card,
        &[Edit::Note {
            text: "门口积水".into(),
        }],
        NOW,
    )
    .expect("saved");
    let offline = two
        .create_card("A1", &[put("sign_name", "悦福理发店")], NOW)
        .expect("created")
        .record;
    for phone in [&one, &two, &one] {
        let report = phone.sync().await.expect("synced");
        assert_eq!(
            (report.unsent, report.drafts, report.tally.rejected),
            (0, 0, 0)
        );
    }

    let admin = scene.office.admin();
    let roll = admin.cards("").await;
    assert_eq!(digest(&roll), shown(&one));
    assert_eq!(digest(&roll), shown(&two));
    let Some(Projected::ShopCard(row)) = roll.iter().find(|row| row.record() == card) else {
        panic!("the card is at the office")
    };
    assert_eq!(
        row.conflicts
            .iter()
            .map(|conflict| conflict.field.as_str())
            .collect::<Vec<_>>(),
        ["sign_name", "sign_name"]
    );
    assert_eq!(
        (row.unit.as_deref(), row.note.as_deref()),
        (Some("101室"), Some("门口积水"))
    );
    assert!(roll.iter().any(|row| row.record() == offline));

    one.edit(card, &[put("sign_name", "天平包子")], NOW)
        .expect("saved");
    one.sync().await.expect("synced");
    two.sync().await.expect("synced");
    assert!(
        admin
            .cards("")
            .await
            .iter()
            .all(|row| row.conflicts().is_empty())
    );
    assert_eq!(shown(&one), shown(&two));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_role_that_was_taken_waits_with_its_author_for_a_reviewer() {
    let scene = Scene::open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let card = phone
        .create_card("A1", &[put("sign_name", "王记包子")], NOW)
        .expect("created")
        .record;
    phone.sync().await.expect("synced");
    phone
        .edit(card, &[put("unit", "101室")], NOW)
        .expect("saved");
    // The role changes while the phone is away: it could not know.
    scene
        .office
        .execute("update account set role = 'auditor' where username = 'wang.fang'")
        .await;
    let report = phone.sync().await.expect("synced");
    assert_eq!((report.tally.held, report.drafts), (1, 0));
    let kept = phone.outbox().expect("readable");
    assert_eq!(
        kept.iter().map(|entry| &entry.edits).collect::<Vec<_>>(),
        [&vec![put("unit", "101室")]]
    );
}

fn terminal(store: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("lianka-phone"));
    command
        .arg("--store")
        .arg(store)
        .args(["--lang", "en"])
        .args(arguments)
        .stdin(Stdio::null());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_killed_the_moment_it_said_saved_has_saved() {
    let scene = Scene::open().await;
    let phone = scene.phone("wang.fang", &["A1"]).await;
    let card = phone
        .create_card("A1", &[put("sign_name", "王记包子")], NOW)
        .expect("created")
        .record;
    phone.sync().await.expect("synced");
    drop(phone);
    let store = scene.file("wang.fang");
    let names = ["甲", "乙", "丙"];
    for name in names {
        let (store, id) = (store.clone(), card.to_string());
        let killed = tokio::task::spawn_blocking(move || {
            let mut child = terminal(&store, &["set", &id, &format!("unit={name}")])
                .stdout(Stdio::piped())
                .spawn()
                .expect("lianka-phone");
            let mut said = String::new();
            BufReader::new(child.stdout.take().expect("piped"))
                .read_line(&mut said)
                .expect("a line");
            child.kill().expect("killed");
            child.wait().expect("ended");
            said
        });
        assert!(!killed.await.expect("joined").is_empty());
    }
    let phone = Phone::open(&store).expect("the file is whole");
    assert_eq!(phone.outbox().expect("readable").len(), names.len());
    let report = phone.sync().await.expect("synced");
    assert_eq!((report.tally.accepted, report.unsent), (3, 0));
    let units = scene.office.admin().values(card, "unit").await;
    assert_eq!(units.last().map(String::as_str), Some("丙"));
}
