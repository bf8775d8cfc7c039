//! What comes back: first download, delta, resume, scope, conflicts; and that every form of the wire says the same.

use std::collections::BTreeMap;

use futures::StreamExt;
use lianka_server::{sync::ingest::Packing, upkeep::refresh};
use lianka_sync_core::{
    codec::{
        block::Block,
        cursor::Cursor,
        wire::{Encoding, PushedChange, ResponseItem},
    },
    crdt::record::{Edit, Record},
    id::RecordId,
    kinds::Kind,
    limits,
};

use super::phone::{Form, HOME, OTHER, Office, Phone, STORE, items, put, unpacked};

async fn two_phones() -> (Office, Phone, Phone) {
    let office = Office::open().await;
    let one = office.secretary("wang.fang", &["A1", "A2"]).await;
    let two = office.secretary("li.na", &["A1"]).await;
    (office, one, two)
}

#[tokio::test]
async fn a_first_sync_then_a_delta_then_nothing() {
    let (_office, mut one, mut two) = two_phones().await;
    assert_eq!(one.sync().await.end().1, 0, "an empty street");
    let shared = one.create(
        "A1",
        &[
            put("sign_name", "王记包子"),
            Edit::Note {
                text: "门口积水".into(),
            },
        ],
    );
    let own = one.create("A2", &[]);
    let reply = one.sync().await;
    assert_eq!(
        (reply.codes(), reply.seqs()),
        (vec!["accepted"; 2], vec![1, 2])
    );
    assert_eq!(
        reply.items.len(),
        3,
        "what a phone sent does not come back: {:?}",
        reply.items
    );

    let first = two.sync().await;
    assert_eq!(first.snapshots(), [shared], "{own} is in another grid");
    assert_eq!(two.views()[&shared], one.views()[&shared]);
    two.edit(shared, &[put("unit", "201")]);
    two.edit(shared, &[put("lane", "5")]);
    let new = two.create("A1", &[]);
    two.sync().await;

    let delta = one.sync().await;
    assert_eq!(
        (delta.snapshots(), delta.changes()),
        (vec![new], vec![shared, shared])
    );
    assert_eq!(one.views()[&shared], two.views()[&shared]);
    for phone in [&mut one, &mut two] {
        let cursor = phone.cursor.clone();
        let idle = phone.sync().await;
        assert_eq!(idle.items.len(), 1, "{:?}", idle.items);
        assert_eq!(phone.cursor, cursor);
        assert!(idle.body.len() < 200);
    }
    // A phone that lost its data gets everything, its own changes too.
    one.cursor = None;
    assert_eq!(one.sync().await.snapshots().len(), 3);
}

#[tokio::test]
async fn sending_again_changes_nothing() {
    let (office, mut one, _) = two_phones().await;
    let card = one.create("A1", &[put("sign_name", "王记包子")]);
    one.edit(card, &[put("unit", "201")]);
    let outbox = one.outbox.clone();
    let seqs = one.push(true, &outbox).await.seqs();
    let before = office.rows(&STORE).await;
    let again = one.push(true, &outbox).await;
    assert_eq!(
        (again.codes(), again.seqs()),
        (vec!["duplicate"; 2], seqs.clone())
    );
    let twice: Vec<_> = outbox
        .iter()
        .flat_map(|change| [change.clone(), change.clone()])
        .collect();
    assert_eq!(one.push(false, &twice).await.codes(), ["duplicate"; 4]);
    assert_eq!(office.rows(&STORE).await, before);

    // Twice in the very request that brings it.
    let other = one.create("A1", &[]);
    let creation = one.outbox.last().unwrap().clone();
    let reply = one.push(false, &[creation.clone(), creation]).await;
    assert_eq!(
        (reply.codes(), reply.seqs()),
        (vec!["accepted", "duplicate"], vec![3, 3]),
        "{other}"
    );
}

#[tokio::test]
async fn a_note_typed_into_a_card_of_the_same_request_is_there() {
    let (office, mut one, mut two) = two_phones().await;
    let card = one.create("A1", &[put("sign_name", "王记包子")]);
    one.edit(card, &[put("unit", "201")]);
    one.edit(
        card,
        &[Edit::Note {
            text: "门口积水".into(),
        }],
    );
    one.edit(
        card,
        &[Edit::Note {
            text: "门口有积水".into(),
        }],
    );
    assert_eq!(one.sync().await.codes(), ["accepted"; 4]);
    two.sync().await;
    assert_eq!(two.view(card).note.as_deref(), Some("门口有积水"));
    assert_eq!(
        office
            .count("select count(*) from shop_card where note = '门口有积水'")
            .await,
        1
    );
    let pass = refresh::pass(&office.test.app.pool, &office.test.clock)
        .await
        .unwrap();
    assert_eq!((pass.refreshed, pass.disputed), (1, 0));
}

#[tokio::test]
async fn notes_of_two_phones_merge_letter_by_letter() {
    let (office, mut one, mut two) = two_phones().await;
    let card = one.create(
        "A1",
        &[Edit::Note {
            text: "门口积水".into(),
        }],
    );
    one.sync().await;
    two.sync().await;
    one.edit(
        card,
        &[Edit::Note {
            text: "门口常积水".into(),
        }],
    );
    two.edit(
        card,
        &[Edit::Note {
            text: "门口积水，已报修".into(),
        }],
    );
    one.sync().await;
    two.sync().await;
    one.sync().await;
    let merged = Some("门口常积水，已报修".to_owned());
    assert_eq!(
        (one.view(card).note, two.view(card).note),
        (merged.clone(), merged)
    );
    assert_eq!(
        office
            .count("select count(*) from shop_card where note = '门口常积水，已报修'")
            .await,
        1
    );
}

#[tokio::test]
async fn without_pull_only_verdicts_come() {
    let (_office, mut one, mut two) = two_phones().await;
    let card = one.create("A1", &[]);
    one.sync().await;
    two.sync().await;
    one.edit(card, &[put("unit", "201")]);
    one.edit(card, &[put("nope", "x")]);
    let outbox = std::mem::take(&mut one.outbox);
    let reply = one.push(false, &outbox).await;
    assert_eq!(reply.codes(), ["accepted", "unknown_field"]);
    assert!(
        matches!(
            reply.items[2..],
            [ResponseItem::End {
                cursor: None,
                head: 2,
                ..
            }]
        ),
        "{:?}",
        reply.items
    );
    assert!(matches!(
        two.push(false, &[]).await.items[..],
        [ResponseItem::End {
            cursor: None,
            head: 2,
            ..
        }]
    ));
}

/// Cards in [`big_roll`].
const MANY: usize = 160;

/// A roll of cards of ten kilobytes each, which no packing makes much smaller.
async fn big_roll(office: &Office) -> Phone {
    let mut desk = office.desk_phone("importer", "reviewer").await;
    desk.form = Form::DENSE;
    let mut seed = 1_u32;
    let mut han = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from_u32(0x4e00 + (seed >> 16) % 0x5000).expect("a letter")
    };
    for n in 0..MANY {
        let mut edits = vec![put("sign_name", &format!("店{n}"))];
        edits.extend((0..8).map(|field| {
            put(
                &format!("custom/栏{field}"),
                &(0..400).map(|_| han()).collect::<String>(),
            )
        }));
        desk.create("A1", &edits);
    }
    assert_eq!(desk.sync().await.codes(), ["accepted"; MANY]);
    desk
}

/// Edits that make a card a few kilobytes long.
pub fn big_fields() -> Vec<Edit> {
    (0..2)
        .map(|n| put(&format!("custom/栏{n}"), &"长".repeat(400)))
        .collect()
}

#[tokio::test]
async fn a_cut_download_resumes_at_its_last_checkpoint() {
    let office = Office::open().await;
    let mut desk = big_roll(&office).await;
    office.user("wang.fang", "secretary", Some(HOME)).await;
    office.assign(HOME, "wang.fang", &["A1", "A2"]).await;
    for form in [
        Form::PLAIN,
        Form::DENSE,
        Form {
            down: Packing::Gzip,
            ..Form::PLAIN
        },
    ] {
        let mut phone = office.phone("wang.fang").await;
        phone.form = form;
        let whole = phone.push(true, &[]).await;
        assert!(
            whole.checkpoints() >= 1,
            "{form:?}: {} bytes, {} checkpoints",
            whole.body.len(),
            whole.checkpoints()
        );
        let cut = unpacked(form.down.name(), &whole.body[..whole.body.len() * 5 / 6]);
        let first = items(form.encoding, &cut);
        let checkpoint = first
            .iter()
            .rposition(|item| matches!(item, ResponseItem::Checkpoint { .. }))
            .expect("a checkpoint in what came");
        phone.take_in(&first[..=checkpoint]);
        let before = phone.records.len();
        assert!(before < MANY);

        // Meanwhile one card that came changes, one leaves for a grid elsewhere, and one comes.
        let ids: Vec<_> = phone.records.keys().copied().collect();
        desk.edit(
            ids[0],
            &[put(
                "unit",
                &format!("{form:?}").chars().take(20).collect::<String>(),
            )],
        );
        desk.edit(ids[1], &[put("grid", "A3")]);
        let new = desk.create("A2", &[]);
        desk.sync().await;
        let rest = phone.sync().await;
        assert_eq!(rest.leaves(), [ids[1]]);
        assert!(rest.snapshots().contains(&ids[0]) && rest.snapshots().contains(&new));
        assert!(
            rest.snapshots().len() < MANY - before + 10,
            "what came before the checkpoint does not come again"
        );
        let mut fresh = office.phone("wang.fang").await;
        fresh.sync().await;
        assert_eq!(phone.views(), fresh.views());
        assert_eq!(phone.sync().await.items.len(), 1);
        desk.edit(ids[1], &[put("grid", "A1")]);
        desk.sync().await;
    }
}

#[tokio::test]
async fn a_grid_lost_in_the_middle_of_a_download_is_left() {
    let office = Office::open().await;
    let mut desk = big_roll(&office).await;
    let kept = desk.create("A2", &[]);
    let gained = desk.create("A3", &[]);
    desk.sync().await;
    let mut phone = office.secretary("wang.fang", &["A1", "A2"]).await;
    let whole = phone.push(true, &[]).await;
    let checkpoint = whole
        .items
        .iter()
        .position(|item| matches!(item, ResponseItem::Checkpoint { .. }))
        .expect("a checkpoint");
    phone.take_in(&whole.items[..=checkpoint]);
    assert!(!phone.records.is_empty());
    office.assign(HOME, "wang.fang", &["A2", "A3"]).await;
    phone.sync().await;
    assert_eq!(
        phone.records.keys().copied().collect::<Vec<_>>(),
        [kept, gained],
        "nothing stays of a grid that is not theirs"
    );
}

#[tokio::test]
async fn a_card_that_leaves_while_it_is_downloaded_does_not_stay() {
    let office = Office::open().await;
    let mut desk = office.desk_phone("reviewer", "reviewer").await;
    desk.form = Form::DENSE;
    let cards: Vec<_> = (0..900).map(|_| desk.create("A1", &big_fields())).collect();
    desk.sync().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let response = phone.send(&[], phone.body(&[phone.hello(true)])).await;
    let mut stream = response.into_body().into_data_stream();
    let mut body = stream
        .next()
        .await
        .expect("a piece")
        .expect("no error")
        .to_vec();
    // The first card has come and leaves. Those that have not come are edited after that, so that they stand beyond it in the log.
    desk.edit(cards[0], &[put("grid", "A3")]);
    for card in &cards[450..] {
        desk.edit(*card, &[put("unit", "201")]);
    }
    desk.sync().await;
    while let Some(piece) = stream.next().await {
        body.extend_from_slice(&piece.expect("no error"));
    }
    let came = items(Encoding::Ndjson, &body);
    let moved = came
        .iter()
        .position(|item| matches!(item, ResponseItem::Snapshot { seq: 901.., .. }))
        .expect("edited ones come last");
    let checkpoint = came
        .iter()
        .rposition(|item| matches!(item, ResponseItem::Checkpoint { .. }))
        .expect("a checkpoint");
    assert!(checkpoint > moved);
    phone.take_in(&came[..=checkpoint]);
    assert!(phone.records.contains_key(&cards[0]));
    assert_eq!(phone.sync().await.leaves(), [cards[0]]);
    assert_eq!(phone.records.len(), 899);
    assert!(phone.sync().await.items.len() == 1);
}

#[tokio::test]
async fn cursors_of_another_history_start_over() {
    let (office, mut one, mut two) = two_phones().await;
    one.create("A1", &[]);
    one.sync().await;
    two.sync().await;
    let mine = Cursor::decode(two.cursor.as_deref().unwrap()).unwrap();
    let other_epoch = Cursor {
        store_epoch: RecordId::default().0,
        ..mine.clone()
    }
    .encode();
    let ahead = Cursor {
        sequence: mine.sequence + 1000,
        ..mine.clone()
    }
    .encode();
    let elsewhere = Cursor {
        street: OTHER.into(),
        ..mine.clone()
    }
    .encode();
    for cursor in [
        other_epoch,
        ahead,
        elsewhere,
        "garbage".into(),
        String::new(),
        "京".into(),
        "A".repeat(5000),
    ] {
        two.cursor = Some(cursor);
        let change = two.create("A1", &[]);
        let outbox = std::mem::take(&mut two.outbox);
        let reply = two.push(true, &outbox).await;
        assert_eq!(
            reply.codes(),
            ["accepted"],
            "{change}: what it brings is taken all the same"
        );
        assert!(
            matches!(
                reply.items[1..],
                [
                    ResponseItem::Reset { .. },
                    ResponseItem::End { cursor: None, .. }
                ]
            ),
            "{:?}",
            reply.items
        );
    }
    two.cursor = None;
    two.sync().await;
    assert_eq!(
        two.records.len() as i64,
        office.count("select count(*) from record").await
    );
}

#[tokio::test]
async fn a_changed_scope_is_told_exactly() {
    let office = Office::open().await;
    let mut desk = office.desk_phone("reviewer", "reviewer").await;
    let cards: BTreeMap<_, _> = ["A1", "A2", "A3"]
        .into_iter()
        .map(|grid| (grid, [desk.create(grid, &[]), desk.create(grid, &[])]))
        .collect();
    desk.sync().await;
    let mut phone = office.secretary("wang.fang", &["A1", "A2"]).await;
    assert_eq!(phone.sync().await.snapshots().len(), 4);

    office.assign(HOME, "wang.fang", &["A2", "A3"]).await;
    desk.edit(cards["A3"][0], &[put("unit", "9")]);
    desk.edit(cards["A2"][0], &[put("unit", "9")]);
    desk.sync().await;
    let reply = phone.sync().await;
    assert_eq!(reply.leaves(), cards["A1"]);
    assert_eq!(reply.snapshots(), cards["A3"]);
    assert_eq!(
        reply.changes(),
        [cards["A2"][0]],
        "what came whole does not come again as changes"
    );
    assert_eq!(phone.sync().await.items.len(), 1);

    // Lost and gained again before the phone asked.
    office.assign(HOME, "wang.fang", &["A3"]).await;
    office.assign(HOME, "wang.fang", &["A2", "A3"]).await;
    let reply = phone.sync().await;
    assert_eq!((reply.leaves().len(), reply.snapshots().len()), (0, 0));
    office.assign(HOME, "wang.fang", &[]).await;
    phone.sync().await;
    assert!(phone.records.is_empty());
}

#[tokio::test]
async fn a_card_that_moves_leaves_one_phone_and_comes_to_another() {
    let office = Office::open().await;
    let mut from = office.secretary("wang.fang", &["A1"]).await;
    let mut to = office.secretary("li.na", &["A2"]).await;
    let mut both = office.secretary("zhao.min", &["A1", "A2"]).await;
    let mut desk = office.desk_phone("reviewer", "reviewer").await;
    let card = from.create("A1", &[put("sign_name", "王记包子")]);
    from.sync().await;
    for phone in [&mut to, &mut both, &mut desk] {
        phone.sync().await;
    }
    desk.edit(card, &[put("grid", "A2")]);
    let moved = desk.sync().await;
    assert_eq!((moved.codes(), moved.seqs()), (vec!["accepted"], vec![2]));
    let reply = from.sync().await;
    assert_eq!(
        (reply.leaves(), reply.snapshots(), reply.changes()),
        (vec![card], vec![], vec![])
    );
    assert_eq!(to.sync().await.snapshots(), [card]);
    let reply = both.sync().await;
    assert_eq!((reply.leaves(), reply.snapshots()), (vec![], vec![card]));
    assert_eq!(both.records[&card].grid, "A2");
    assert_eq!(to.views(), both.views());

    // Away and back before anybody asked.
    desk.edit(card, &[put("grid", "A3")]);
    desk.sync().await;
    desk.edit(card, &[put("grid", "A2"), put("unit", "201")]);
    desk.sync().await;
    let reply = to.sync().await;
    assert_eq!((reply.leaves(), reply.snapshots()), (vec![], vec![card]));
    assert_eq!(to.view(card).text("unit"), Some("201"));
    assert!(from.sync().await.snapshots().is_empty());
    assert_eq!(
        office
            .count("select count(*) from change_log where type = 'leave'")
            .await,
        3
    );
}

#[tokio::test]
async fn a_role_that_sees_the_street_sees_all_grids_and_one_that_does_not_drops_them() {
    let office = Office::open().await;
    let mut phone = office.secretary("wang.fang", &["A1"]).await;
    let mut desk = office.desk_phone("reviewer", "reviewer").await;
    let cards: Vec<_> = ["A1", "A2", "A3"].map(|grid| desk.create(grid, &[])).into();
    desk.sync().await;
    assert_eq!(phone.sync().await.snapshots(), cards[..1]);
    assert_eq!(
        office
            .desk_phone("another", "reviewer")
            .await
            .sync()
            .await
            .snapshots(),
        cards
    );
    // Promoted, then back again.
    office
        .execute("update account set role = 'reviewer' where username = 'wang.fang'")
        .await;
    assert!(phone.sync().await.has_reset());
    assert_eq!(phone.sync().await.snapshots(), cards);
    assert_eq!(phone.sync().await.items.len(), 1);
    office
        .execute("update account set role = 'secretary' where username = 'wang.fang'")
        .await;
    phone.sync().await;
    phone.sync().await;
    assert_eq!(
        phone.records.keys().copied().collect::<Vec<_>>(),
        cards[..1]
    );
}

#[tokio::test]
async fn a_long_tail_comes_as_a_snapshot() {
    let (_office, mut one, mut two) = two_phones().await;
    let card = one.create("A1", &[]);
    let brief = one.create("A1", &[]);
    one.sync().await;
    two.sync().await;
    for n in 0..=limits::TAIL_CHANGES_MAX {
        one.edit(card, &[put("unit", &n.to_string())]);
    }
    for n in 0..limits::TAIL_CHANGES_MAX {
        one.edit(brief, &[put("unit", &n.to_string())]);
    }
    one.sync().await;
    let reply = two.sync().await;
    assert_eq!(
        (reply.snapshots(), reply.changes()),
        (vec![card], vec![brief; limits::TAIL_CHANGES_MAX])
    );
    assert_eq!(two.views(), one.views());
}

#[tokio::test]
async fn who_reads_blocks_is_sent_the_same_block_and_holds_what_others_hold() {
    let (office, mut one, mut two) = two_phones().await;
    let mut three = office.secretary("zhao.min", &["A1"]).await;
    let mut old = office.secretary("sun.li", &["A1"]).await;
    let mut elsewhere = office.secretary("he.jun", &["A2"]).await;
    let cards = ["一", "二", "三", "四"].map(|name| one.create("A1", &[put("sign_name", name)]));
    for phone in [&mut one, &mut two, &mut three, &mut old, &mut elsewhere] {
        phone.sync().await;
    }
    (two.blocks, three.blocks, elsewhere.blocks) = (1, 1, 1);
    for card in cards {
        let note = Edit::Note {
            text: "门口积水".into(),
        };
        one.edit(card, &[put("unit", "201"), note]);
    }
    one.sync().await;
    // Its own edit goes beside others' of the same card, and stays in: the block is everybody's.
    two.edit(cards[0], &[put("lane", "5")]);
    let to_two = two.sync().await;
    assert_eq!(
        (to_two.codes(), to_two.changes()),
        (vec!["accepted"], vec![])
    );
    let block = to_two.blocks()[0].to_vec();
    assert_eq!(Block::read(&block).unwrap().len(), 5);
    for encoding in [Encoding::CborSeq, Encoding::Ndjson] {
        for down in [Packing::Zstd, Packing::Gzip, Packing::Identity] {
            let up = Packing::Identity;
            three.form = Form { encoding, up, down };
            let again = three.push(true, &[]).await;
            assert_eq!(again.blocks(), [&block[..]], "{:?}", three.form);
        }
    }
    three.sync().await;
    let to_old = old.sync().await;
    assert_eq!((to_old.blocks(), to_old.changes().len()), (vec![], 5));
    assert!(elsewhere.sync().await.blocks().is_empty());
    one.sync().await;
    let expected = one.views();
    assert_eq!(expected.len(), 4);
    for phone in [&mut two, &mut three, &mut old] {
        assert_eq!(phone.views(), expected);
    }
}

#[tokio::test]
async fn every_form_of_the_wire_says_the_same() {
    let (office, mut one, mut two) = two_phones().await;
    two.sync().await;
    let cursor = two.cursor.clone();
    for n in 0..20 {
        let card = one.create("A1", &[put("sign_name", &format!("店{n}"))]);
        one.edit(card, &[put("unit", "1")]);
    }
    one.sync().await;
    for start in [None, cursor] {
        let mut seen: Option<Vec<ResponseItem>> = None;
        for encoding in [Encoding::Ndjson, Encoding::CborSeq] {
            for up in [Packing::Identity, Packing::Zstd, Packing::Gzip] {
                for down in [Packing::Identity, Packing::Zstd, Packing::Gzip] {
                    two.form = Form { encoding, up, down };
                    two.cursor.clone_from(&start);
                    let refused = PushedChange {
                        record: RecordId::default(),
                        kind: Kind::ShopCard,
                        generation: 1,
                        bytes: vec![1, 2, 3],
                    };
                    let reply = two.push(true, &[refused]).await;
                    assert_eq!(reply.headers["content-type"], encoding.media_type());
                    assert_eq!(
                        reply
                            .headers
                            .get("content-encoding")
                            .map(|value| value.to_str().unwrap()),
                        down.name()
                    );
                    assert_eq!(reply.items.len(), 22);
                    assert_eq!(
                        seen.get_or_insert_with(|| reply.items.clone()),
                        &reply.items,
                        "{:?}",
                        two.form
                    );
                }
            }
        }
    }
    // Asked in one encoding, answered in the other.
    two.form = Form::PLAIN;
    let reply = two
        .post(
            &[("accept", "application/cbor-seq")],
            two.body(&[two.hello(true)]),
        )
        .await;
    assert_eq!(
        (
            &*reply.headers["content-type"].to_string_lossy(),
            reply.items.len()
        ),
        ("application/cbor-seq", 1 + 20)
    );
    let reply = two
        .post(
            &[("accept", "*/*"), ("accept-encoding", "br, zstd;q=0, gzip")],
            two.body(&[two.hello(true)]),
        )
        .await;
    assert_eq!(
        (&reply.headers["content-encoding"], reply.items.len()),
        (&"gzip".parse().unwrap(), 1 + 20)
    );
    drop(office);
}

trait Lossy {
    fn to_string_lossy(&self) -> String;
}

impl Lossy for axum::http::HeaderValue {
    fn to_string_lossy(&self) -> String {
        String::from_utf8_lossy(self.as_bytes()).into_owned()
    }
}

#[tokio::test]
async fn a_body_in_several_compressed_frames_is_read_to_its_end() {
    let (_office, mut one, _) = two_phones().await;
    one.create("A1", &[]);
    let hello = one.body(&[one.hello(true)]);
    let change = one.body(&[lianka_sync_core::codec::wire::RequestItem::Change(
        one.outbox[0].clone(),
    )]);
    for (packing, code) in [(Packing::Gzip, "accepted"), (Packing::Zstd, "duplicate")] {
        let body = [
            super::phone::packed(packing, &hello),
            super::phone::packed(packing, &change),
        ]
        .concat();
        assert_eq!(
            one.post(&[("content-encoding", packing.name().unwrap())], body)
                .await
                .codes(),
            [code]
        );
    }
}

#[tokio::test]
async fn streets_know_nothing_of_each_other() {
    let (office, mut here, _) = two_phones().await;
    office.user("sun.li", "secretary", Some(OTHER)).await;
    office.assign(OTHER, "sun.li", &["B1"]).await;
    let mut there = office.phone_in(OTHER, "sun.li").await;
    here.sync().await;
    there.sync().await;
    let one = here.create("A1", &[]);
    here.sync().await;
    let two = there.create("B1", &[]);
    let reply = there.sync().await;
    assert_eq!(
        (reply.seqs(), reply.snapshots()),
        (vec![1], vec![]),
        "each street counts by itself"
    );
    assert_eq!(here.sync().await.items.len(), 1);

    // The same record id on the other street is another record.
    let mut creation = there.outbox.clone();
    let edits = [
        put("kind", "shop_card"),
        put("street", OTHER),
        put("grid", "B1"),
    ];
    let (_, change) = Record::create(
        there.actor(),
        lianka_sync_core::time::DeviceTime::from_unix_seconds(1_795_248_999),
        &edits,
    )
    .unwrap();
    creation.push(super::phone::pushed(one, Kind::ShopCard, &change));
    assert_eq!(there.push(true, &creation).await.codes(), ["accepted"]);
    assert_eq!(here.sync().await.items.len(), 1);
    assert_eq!(
        office
            .count("select count(distinct record) from record")
            .await,
        2,
        "{two}"
    );
    assert_eq!(office.count("select count(*) from record").await, 3);

    // An account of the whole deployment sees each street by itself.
    let mut root = office.phone_in(OTHER, "root").await;
    assert_eq!(root.sync().await.snapshots().len(), 2);
    root.street = HOME.into();
    assert!(root.sync().await.has_reset(), "a cursor of another street");
}

#[tokio::test]
async fn pushes_that_wait_together_get_distinct_gapless_sequences() {
    let office = Office::open().await;
    office.user("wang.fang", "secretary", Some(HOME)).await;
    office.assign(HOME, "wang.fang", &["A1"]).await;
    let mut phones = Vec::new();
    for _ in 0..30 {
        phones.push(office.phone("wang.fang").await);
    }
    for phone in &mut phones {
        for _ in 0..3 {
            let card = phone.create("A1", &[put("sign_name", "新店")]);
            phone.edit(
                card,
                &[Edit::Note {
                    text: "积水".into(),
                }],
            );
        }
    }
    let replies = futures::future::join_all(phones.iter_mut().map(Phone::sync)).await;
    let mut seqs = Vec::new();
    for reply in &replies {
        assert_eq!(reply.codes(), ["accepted"; 6]);
        assert!(
            reply.seqs().is_sorted(),
            "a phone's changes stand in the order it sent them"
        );
        seqs.extend(reply.seqs());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=180).collect::<Vec<u64>>());
    assert_eq!(
        office
            .count("select head_seq from street where street = '310104003'")
            .await,
        180
    );
    for phone in &mut phones {
        phone.sync().await;
    }
    let first = phones[0].views();
    assert_eq!(first.len(), 90);
    assert!(phones.iter_mut().all(|phone| phone.views() == first));
}

#[tokio::test]
async fn what_the_store_does_not_take_stops_nobody_else() {
    let office = Office::open().await;
    office.user("wang.fang", "secretary", Some(HOME)).await;
    office.assign(HOME, "wang.fang", &["A1"]).await;
    office
        .execute("alter table shop_card add constraint poison check (sign_name <> 'poison')")
        .await;
    let mut phones = Vec::new();
    for n in 0..8 {
        let mut phone = office.phone("wang.fang").await;
        phone.create(
            "A1",
            &[put("sign_name", if n == 5 { "poison" } else { "新店" })],
        );
        phones.push(phone);
    }
    let replies =
        futures::future::join_all(phones.iter().map(|phone| phone.push(true, &phone.outbox))).await;
    for (n, reply) in replies.iter().enumerate() {
        if n == 5 {
            assert_eq!(
                (reply.status.as_u16(), reply.json["code"].as_str()),
                (500, Some("internal")),
                "{}",
                reply.json
            );
            assert_eq!(reply.json["retryable"], true, "the phone keeps it");
        } else {
            assert_eq!(reply.codes(), ["accepted"], "{}", reply.json);
        }
    }
    assert_eq!(
        office
            .count("select head_seq from street where street = '310104003'")
            .await,
        7
    );
}

#[tokio::test]
async fn a_record_that_cannot_be_read_stops_only_itself() {
    let (office, mut one, _) = two_phones().await;
    let broken = one.create("A1", &[]);
    let sound = one.create("A1", &[]);
    one.sync().await;
    sqlx::query("update record set state = '\\x00' where record = $1")
        .bind(broken.0)
        .execute(&office.test.app.pool)
        .await
        .unwrap();
    one.edit(broken, &[put("unit", "1")]);
    one.edit(sound, &[put("unit", "1")]);
    let reply = one.sync().await;
    assert_eq!(reply.codes(), ["document_unavailable", "accepted"]);
    assert!(reply.verdicts()[0].retryable);
}
