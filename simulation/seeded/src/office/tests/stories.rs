//! The stories.

use lianka_sync_core::{codec::wire::Report, id::RecordId, kinds::Kind};
use uuid::Uuid;

use super::{
    phone::{Phone, items, rest, verdicts},
    told_in_memory,
};
use crate::office::{Act, Acted, HeldId, Looked, Office, START_UNIX_MS};

const DAY_MS: i64 = 86_400_000;

async fn act(office: &mut impl Office, act: Act) -> Acted {
    office.act(&act).await
}

fn set(pairs: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)))
        .collect()
}

fn grids(grids: &[&str]) -> Vec<String> {
    grids.iter().map(|grid| (*grid).to_owned()).collect()
}

/// Two phones, a conflict, a choice, and a value that was not chosen.
pub async fn conflict(office: &mut impl Office) {
    let (mut wang, mut li) = (
        Phone::enrol(office, "wang.fang").await,
        Phone::enrol(office, "li.na").await,
    );
    let card = wang.card(1, "A1", "王记包子");
    wang.edit(card, &[("note", "朝南"), ("tags/late_night", "true")]);
    assert_eq!(verdicts(&wang.sync(office).await), ["accepted", "accepted"]);
    assert_eq!(rest(&li.sync(office).await), "snapshot1 end");
    wang.edit(card, &[("sign_name", "王记包子铺")]);
    li.edit(card, &[("sign_name", "王家包子")]);
    let again = wang.outbox.clone();
    assert_eq!(verdicts(&wang.sync(office).await), ["accepted"]);
    let items = li.sync(office).await;
    assert_eq!(
        (verdicts(&items), rest(&items)),
        (vec!["accepted".to_owned()], "change1 end".to_owned())
    );
    assert_eq!(
        office.evidence().await.conflicts,
        [(card.0, "sign_name".to_owned())]
    );
    wang.outbox = again;
    let items = wang.sync(office).await;
    assert_eq!(
        (verdicts(&items), rest(&items)),
        (vec!["duplicate".to_owned()], "change1 end".to_owned())
    );
    let resolve = |nth| Act::Resolve {
        record: card.0,
        field: "sign_name".into(),
        nth,
        instead: None,
        looked_at: None,
    };
    assert_eq!(
        act(office, resolve(2)).await,
        Acted::Nothing,
        "there are two values"
    );
    assert_eq!(act(office, resolve(0)).await, Acted::Done);
    assert_eq!(
        act(office, resolve(0)).await,
        Acted::Nothing,
        "it is settled"
    );
    let told: Vec<_> = [rest(&wang.sync(office).await), rest(&li.sync(office).await)].into();
    assert!(
        told.contains(&"value_not_chosen change1 end".to_owned())
            && told.contains(&"change1 end".to_owned()),
        "{told:?}"
    );
    assert_eq!(
        act(
            office,
            Act::Edit {
                record: card.0,
                set: set(&[("note", Some("朝北")), ("sign_name", None)]),
                looked: Looked::Unsaid,
            }
        )
        .await,
        Acted::Done
    );
    let forbidden = Act::Edit {
        record: card.0,
        set: set(&[("kind", Some("shop_card"))]),
        looked: Looked::Unsaid,
    };
    assert_eq!(
        act(office, forbidden).await,
        Acted::Nothing,
        "it says so already"
    );
    let forbidden = Act::Edit {
        record: card.0,
        set: set(&[("occupancy", Some("倒闭"))]),
        looked: Looked::Unsaid,
    };
    assert_eq!(
        act(office, forbidden).await,
        Acted::Refused("value_not_in_list".into())
    );
}

/// A card moves and a user moves: what was edited meanwhile is held, and a reviewer decides.
pub async fn moves_and_held(office: &mut impl Office) {
    let (mut wang, mut li) = (
        Phone::enrol(office, "wang.fang").await,
        Phone::enrol(office, "li.na").await,
    );
    let (one, two) = (wang.card(1, "A1", "甲"), wang.card(2, "A1", "乙"));
    wang.sync(office).await;
    assert_eq!(rest(&li.sync(office).await), "snapshot1 snapshot2 end");
    let moved = Act::Move {
        records: vec![two.0, one.0, Uuid::from_u128(9)],
        grid: "A2".into(),
    };
    assert_eq!(act(office, moved.clone()).await, Acted::Done);
    assert_eq!(act(office, moved).await, Acted::Nothing);
    wang.edit(one, &[("sign_name", "甲一")]);
    wang.edit(one, &[("sign_name", "甲二")]);
    wang.edit(two, &[("sign_name", "乙一")]);
    let sent = wang.outbox.clone();
    let items = wang.sync(office).await;
    assert_eq!(
        (verdicts(&items), rest(&items)),
        (
            vec!["grid_lost".to_owned(); 3],
            "leave1 leave2 end".to_owned()
        )
    );
    assert_eq!(rest(&li.sync(office).await), "snapshot1 snapshot2 end");
    let held = office.evidence().await.held;
    assert_eq!(
        held.iter()
            .map(|held| held.status.as_str())
            .collect::<Vec<_>>(),
        ["held"; 3]
    );
    let waiting = office.held(false).await;
    let decide = |held: &HeldId, accept| Act::Held {
        held: held.clone(),
        accept,
    };
    let unknown = (one.0, "00".repeat(32));
    assert_eq!(act(office, decide(&unknown, true)).await, Acted::Nothing);
    for (held, accept) in [(2, false), (1, true)] {
        let acted = act(office, decide(&waiting[held], accept)).await;
        assert_eq!(acted, Acted::Done);
    }
    while let Some(held) = office.held(false).await.first() {
        assert_eq!(act(office, decide(held, true)).await, Acted::Done);
    }
    wang.outbox = sent;
    let items = wang.sync(office).await;
    assert_eq!(verdicts(&items), ["duplicate", "duplicate", "held_refused"]);
    // Who may not see a record is refused what never was theirs.
    let stranger = wang.card(3, "A3", "丙");
    assert_eq!(verdicts(&wang.sync(office).await), ["not_your_grid"]);
    wang.docs.remove(&stranger);
    assert_eq!(
        act(
            office,
            Act::Assign {
                username: "wang.fang".into(),
                grids: grids(&["A2"])
            }
        )
        .await,
        Acted::Done
    );
    assert_eq!(rest(&wang.sync(office).await), "snapshot2 snapshot1 end");
    assert_eq!(
        act(
            office,
            Act::Assign {
                username: "wang.fang".into(),
                grids: grids(&["A9"])
            }
        )
        .await,
        Acted::Refused("exists".into())
    );
    assert_eq!(
        act(
            office,
            Act::Assign {
                username: "wang.fang".into(),
                grids: grids(&[])
            }
        )
        .await,
        Acted::Done
    );
    assert_eq!(rest(&wang.sync(office).await), "leave1 leave2 end");
}

/// Erased and redacted: gone everywhere, and nothing brings it back.
pub async fn forgetting(office: &mut impl Office) {
    let (mut wang, mut li) = (
        Phone::enrol(office, "wang.fang").await,
        Phone::enrol(office, "li.na").await,
    );
    let (one, two) = (wang.card(1, "A1", "甲"), wang.card(2, "A1", "乙"));
    let person = Uuid::from_u128(0x0198_c0de_0000_7000_8000_0000_0000_00aa);
    let (name, phone) = (
        format!("contacts/{person}/name"),
        format!("contacts/{person}/phones"),
    );
    wang.edit(
        one,
        &[("category", "餐饮"), (&name, "陈建国"), ("road", "天平路")],
    );
    wang.edit(one, &[(&phone, "13800000001")]);
    wang.sync(office).await;
    li.sync(office).await;
    li.edit(one, &[(&phone, "13900000002")]);
    li.edit(two, &[("sign_name", "乙一")]);
    assert_eq!(
        act(
            office,
            Act::Redact {
                record: one.0,
                entry: Uuid::from_u128(5)
            }
        )
        .await,
        Acted::Nothing
    );
    assert_eq!(
        act(
            office,
            Act::Redact {
                record: one.0,
                entry: person
            }
        )
        .await,
        Acted::Done
    );
    assert_eq!(act(office, Act::Erase { record: two.0 }).await, Acted::Done);
    assert_eq!(
        act(office, Act::Erase { record: two.0 }).await,
        Acted::Done,
        "the receipt is there"
    );
    assert_eq!(
        act(
            office,
            Act::Erase {
                record: Uuid::from_u128(5)
            }
        )
        .await,
        Acted::Nothing
    );
    let items = li.sync(office).await;
    assert_eq!(
        (verdicts(&items), rest(&items)),
        (
            vec!["redacted".to_owned(), "erased".to_owned()],
            "snapshot1 erase2 redact1 end".to_owned()
        )
    );
    assert_eq!(
        rest(&wang.sync(office).await),
        "erase2 redact1 snapshot1 end"
    );
    wang.edit(one, &[("road", "衡山路")]);
    assert_eq!(verdicts(&wang.sync(office).await), ["accepted"]);
    let evidence = office.evidence().await;
    let stored = String::from_utf8_lossy(&evidence.stored).into_owned();
    for gone in ["陈建国", "13800000001", "13900000002", "乙一"] {
        assert!(!stored.contains(gone), "{gone} is still there");
    }
    assert!(stored.contains("餐饮") && stored.contains("衡山路"));
    assert_eq!(evidence.records[&one.0].generation, 2);
}

/// A device is revoked: it sends what it has, is told to clear itself, and is nobody then.
pub async fn wiping(office: &mut impl Office) {
    let (mut wang, mut li) = (
        Phone::enrol(office, "wang.fang").await,
        Phone::enrol(office, "li.na").await,
    );
    let card = wang.card(1, "A1", "甲");
    wang.sync(office).await;
    li.sync(office).await;
    wang.edit(card, &[("sign_name", "甲一")]);
    assert_eq!(
        act(
            office,
            Act::Revoke {
                device: wang.device.0,
                wipe: true
            }
        )
        .await,
        Acted::Done
    );
    assert_eq!(
        act(
            office,
            Act::Revoke {
                device: Uuid::from_u128(3),
                wipe: true
            }
        )
        .await,
        Acted::Nothing
    );
    let more = Report {
        unsent: Some(2),
        ..Report::default()
    };
    assert_eq!(
        rest(&items(&wang.request(office, false, more).await)),
        "end",
        "more is to come"
    );
    let told = wang.sync(office).await;
    assert_eq!(
        (verdicts(&told), rest(&told)),
        (vec!["device_wiped".to_owned()], "wipe end".to_owned())
    );
    let cleared = Report {
        wiped: true,
        ..Report::default()
    };
    assert_eq!(
        rest(&items(&wang.request(office, false, cleared).await)),
        "wipe end"
    );
    assert_eq!(
        wang.request(office, true, Report::default()).await.status,
        401
    );
    assert_eq!(wang.renew(office).await, Err("device_revoked".into()));
    assert_eq!(
        act(
            office,
            Act::Revoke {
                device: li.device.0,
                wipe: false
            }
        )
        .await,
        Acted::Done
    );
    assert_eq!(
        li.request(office, true, Report::default()).await.status,
        401
    );
}

/// Tokens: an answer lost is asked for again; who comes twice with a spent one ends the chain.
pub async fn tokens(office: &mut impl Office) {
    let mut wang = Phone::enrol(office, "wang.fang").await;
    office.set_time(START_UNIX_MS + 901_000);
    assert_eq!(
        wang.request(office, true, Report::default()).await.status,
        401,
        "the access token is over"
    );
    let mut twin = wang.copy();
    assert_eq!(wang.renew(office).await, Ok(()));
    assert_eq!(twin.renew(office).await, Ok(()), "an answer may be lost");
    assert_eq!(wang.renew(office).await, Ok(()));
    assert_eq!(rest(&wang.sync(office).await), "end");
    assert_eq!(twin.renew(office).await, Err("refresh_reused".into()));
    assert_eq!(wang.renew(office).await, Err("device_revoked".into()));
}

/// The store is lost: phones bring back what it lacks.
pub async fn restore(office: &mut impl Office) {
    let mut wang = Phone::enrol(office, "wang.fang").await;
    let card = wang.card(1, "A1", "甲");
    wang.sync(office).await;
    let gone = wang.card(2, "A1", "乙");
    wang.sync(office).await;
    assert_eq!(act(office, Act::Restore).await, Acted::Nothing);
    assert_eq!(act(office, Act::Backup).await, Acted::Done);
    assert_eq!(
        act(office, Act::Erase { record: gone.0 }).await,
        Acted::Done
    );
    wang.edit(card, &[("sign_name", "甲一")]);
    let later = wang.outbox.clone();
    wang.sync(office).await;
    assert_eq!(act(office, Act::Failover).await, Acted::Done);
    assert_eq!(act(office, Act::Restart).await, Acted::Done);
    let epoch = office.evidence().await.epoch;
    assert_eq!(act(office, Act::Restore).await, Acted::Done);
    assert_ne!(office.evidence().await.epoch, epoch);
    assert_eq!(rest(&wang.sync(office).await), "reset end");
    wang.outbox = later;
    let items = wang.sync(office).await;
    assert_eq!(
        (verdicts(&items), rest(&items)),
        (
            vec!["accepted".to_owned()],
            "erase2 snapshot1 end".to_owned()
        )
    );
    assert!(
        !office.evidence().await.records.contains_key(&gone.0),
        "receipts are applied again"
    );
}

/// A transfer: submitted, sealed, overtaken by its clock.
pub async fn transfer(office: &mut impl Office) {
    let mut wang = Phone::enrol(office, "wang.fang").await;
    let consent = Uuid::from_u128(0x0198_c0de_0000_7000_8000_0000_0000_00cc);
    let event = Uuid::from_u128(0x0198_c0de_0000_7000_8000_0000_0000_00ee);
    let key = |name: &str| format!("consent/{consent}/{name}");
    let request = wang.create(
        1,
        Kind::TransferRequest,
        &[
            ("grid", "A1"),
            ("transfer_kind", "cross_province_letter"),
            ("member_alias", "陈师傅"),
            ("member_name", "陈建国"),
            ("member_status", "正式"),
            ("origin_organisation", "某市某区甲支部"),
            ("phone", "13800000001"),
            ("target_branch", "天平一支部"),
            (&key("scope"), "transfer"),
            (&key("wording"), "2026-01"),
            (&key("channel"), "当面"),
            (&key("decision"), "grant"),
            (&key("given_on"), "2026-11-20"),
        ],
    );
    let (kind, present) = (
        format!("events/{event}/type"),
        format!("events/{event}/member_present"),
    );
    wang.edit(request, &[(&kind, "submit"), (&present, "yes")]);
    let told = wang.sync(office).await;
    assert_eq!(
        (verdicts(&told), rest(&told)),
        (vec!["accepted".to_owned(); 2], "snapshot1 end".to_owned())
    );
    let evidence = office.evidence().await;
    let fields = &evidence.records[&request.0].fields;
    assert_eq!(fields["state"][0].value, "submitted");
    assert_eq!(fields["sealed/member_name"][0].value, "true");
    assert!(!fields.contains_key("member_name"));
    let step = |step: &str, fields: &[(&str, &str)]| Act::Step {
        record: request.0,
        step: step.into(),
        fields: fields
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    };
    assert_eq!(
        act(office, step("leap", &[])).await,
        Acted::Refused("known_step".into())
    );
    assert_eq!(
        act(office, step("request_origin", &[])).await,
        Acted::Refused("event_incomplete".into())
    );
    assert_eq!(
        act(
            office,
            step("request_origin", &[("addressee", "中共某市某区委")])
        )
        .await,
        Acted::Done
    );
    assert_eq!(
        act(office, step("close", &[("origin_confirmed", "yes")])).await,
        Acted::Done,
        "it is written, and ruled on"
    );
    let after = rest(&wang.sync(office).await);
    assert_eq!(after, "change1 change1 change1 change1 end");
    office.set_time(START_UNIX_MS + 100 * DAY_MS);
    office.tend().await;
    let evidence = office.evidence().await;
    let rulings = |evidence: &crate::office::Evidence| {
        evidence.records[&request.0]
            .fields
            .keys()
            .filter(|key| key.starts_with("rulings/") && key.ends_with("/no"))
            .count()
    };
    assert!(
        rulings(&evidence) > 3,
        "the clock acted: {}",
        rulings(&evidence)
    );
}

/// Two cards become one; edits of the one merged away go on to the other.
pub async fn merging(office: &mut impl Office) {
    let mut wang = Phone::enrol(office, "wang.fang").await;
    let (winner, loser) = (
        wang.card(1, "A1", "王记包子"),
        wang.card(2, "A1", "王记包子铺"),
    );
    wang.edit(
        loser,
        &[("opening_hours", "6-20"), ("tags/late_night", "true")],
    );
    wang.sync(office).await;
    let merge = |winner: RecordId, loser: RecordId| Act::Merge {
        winner: winner.0,
        loser: loser.0,
    };
    assert_eq!(
        act(office, merge(winner, RecordId(Uuid::from_u128(3)))).await,
        Acted::Nothing
    );
    assert_eq!(
        act(office, merge(winner, winner)).await,
        Acted::Refused("one_of_the_pair".into())
    );
    assert_eq!(act(office, merge(winner, loser)).await, Acted::Done);
    assert_eq!(
        act(office, merge(loser, winner)).await,
        Acted::Refused("already_merged".into())
    );
    wang.edit(loser, &[("opening_hours", "7-21")]);
    assert_eq!(
        rest(&wang.sync(office).await),
        "change1 change2 change1 end"
    );
    let fields = &office.evidence().await.records[&winner.0].fields;
    assert_eq!(
        fields["opening_hours"]
            .iter()
            .map(|shown| shown.value.as_str())
            .collect::<Vec<_>>(),
        ["7-21"]
    );
    assert_eq!(fields["sign_name"].len(), 2, "somebody has to choose");
}

macro_rules! told {
    ($($story:ident)*) => {
        $(mod $story {
            #[tokio::test]
            async fn in_memory() {
                super::told_in_memory(async |office| super::$story(office).await).await;
            }

            #[cfg(feature = "real")]
            #[tokio::test]
            async fn to_both() {
                super::super::told_to_both(async |office| super::$story(office).await).await;
            }
        })*
    };
}

told! { conflict moves_and_held forgetting wiping tokens restore transfer merging }
