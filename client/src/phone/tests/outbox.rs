//! The outbox, entry by entry: an answer is about one of them, and what waits keeps its order.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use lianka_sync_core::{
    codec::{
        change,
        wire::{Verdict, VerdictStatus},
    },
    id::EntryId,
    kinds::Kind,
};

use super::{office::Rule, *};
use lianka_client_core::{Effect, Filing, OutboxState, Reason};

/// What a user did, as far as it is still in the outbox: record, value, state, tries, code.
fn waiting(rig: &Rig) -> Vec<(RecordId, String, OutboxState, u32, Option<String>)> {
    let value = |entry: &OutboxEntry| match &entry.edits[..] {
        [Edit::Put { value, .. }] => value.as_str().unwrap().to_owned(),
        other => format!("{other:?}"),
    };
    let described = |entry: OutboxEntry| {
        (
            entry.record,
            value(&entry),
            entry.state,
            entry.tries,
            entry.reason.map(|reason| reason.code),
        )
    };
    rig.phone
        .outbox()
        .unwrap()
        .into_iter()
        .map(described)
        .collect()
}

fn verdict(
    index: usize,
    entry: &OutboxEntry,
    status: VerdictStatus,
    code: &str,
    retryable: bool,
) -> ResponseItem {
    let (index, hash, record) = (index as u32, Some(entry.hash), entry.record);
    let code = (!code.is_empty()).then(|| code.to_owned());
    ResponseItem::Verdict(Verdict {
        index,
        hash,
        record,
        status,
        seq: Some(9),
        code,
        field: None,
        message: None,
        retryable,
    })
}

#[test]
fn a_verdict_is_about_one_change() {
    let statuses = [
        (VerdictStatus::Accepted, "", false, None),
        (VerdictStatus::Duplicate, "", false, None),
        (
            VerdictStatus::Held,
            "reassigned",
            false,
            Some((OutboxState::Held, 0)),
        ),
        (
            VerdictStatus::Rejected,
            "dependency_missing",
            true,
            Some((OutboxState::Unsent, 1)),
        ),
        (
            VerdictStatus::Rejected,
            "value_too_long",
            false,
            Some((OutboxState::Refused, 0)),
        ),
    ];
    for (status, code, retryable, left) in statuses {
        let mut office = MemoryOffice::new();
        let records = [card(&mut office, 1), card(&mut office, 2)];
        let rig = Rig::new(1, &mut office);
        rig.sync(&mut office);
        for name in ["甲", "乙", "丙"] {
            for record in records {
                rig.set(record, "sign_name", name);
            }
        }
        let entries = rig.phone.outbox().unwrap();
        let mut expected = waiting(&rig);
        let mut sync = Synchronisation::new(CLIENT);
        sync.next_request(rig.phone.read(|tx| Ok(tx.holdings()?)).unwrap())
            .unwrap();
        // The second edit of the second record.
        rig.take(
            &mut sync,
            &[verdict(3, &entries[3], status, code, retryable)],
        );
        match left {
            Some((state, tries)) => {
                expected[3] = (records[1], "乙".into(), state, tries, Some(code.into()));
            }
            None => drop(expected.remove(3)),
        }
        assert_eq!(waiting(&rig), expected, "{status:?} {code}");
        for record in records {
            assert_eq!(rig.text(record, "sign_name").as_deref(), Some("丙"));
        }
    }
}

#[test]
fn the_newest_word_about_an_entry_stands() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    rig.set(record, "sign_name", "甲");
    let entry = rig.phone.outbox().unwrap().remove(0);
    let rejected = VerdictStatus::Rejected;
    let words = [
        (
            rejected,
            "document_unavailable",
            true,
            OutboxState::Unsent,
            1,
        ),
        (rejected, "dependency_missing", true, OutboxState::Unsent, 2),
        (
            VerdictStatus::Held,
            "reassigned",
            false,
            OutboxState::Held,
            2,
        ),
        (rejected, "value_too_long", false, OutboxState::Refused, 2),
    ];
    for (status, code, retryable, state, tries) in words {
        let mut sync = Synchronisation::new(CLIENT);
        sync.next_request(rig.phone.read(|tx| Ok(tx.holdings()?)).unwrap())
            .unwrap();
        rig.take(&mut sync, &[verdict(0, &entry, status, code, retryable)]);
        assert_eq!(
            waiting(&rig),
            [(record, "甲".into(), state, tries, Some(code.into()))]
        );
    }
}

/// The same actor, the same number, the same content in the same second: one hash, two records.
#[test]
fn two_cards_made_alike_are_two() {
    let mut office = MemoryOffice::new();
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    let made = [0, 1].map(|_| {
        rig.phone
            .create_card("A1", &[Edit::set("sign_name", "新店")], NOW)
            .unwrap()
    });
    assert_eq!(made[0].hash, made[1].hash, "else this test says nothing");
    assert_ne!(made[0].record, made[1].record);
    let entries = rig.phone.outbox().unwrap();
    // The answer breaks off after the first verdict.
    let cut = |_, mut items: Vec<ResponseItem>| {
        items.truncate(1);
        Some(items)
    };
    assert_eq!(rig.sync_cut(&mut office, cut), None);
    assert_eq!(rig.phone.outbox().unwrap(), entries[1..]);
    settle(&mut office, &[&rig]);
    assert!(made.iter().all(|made| office.holds(made.record)));
}

/// Also for a program that was started again.
#[test]
fn a_request_waits_as_one() {
    let mut office = MemoryOffice::new();
    let mut rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    let filing = Filing {
        transfer_kind: "cross_province_letter".into(),
        member_alias: "成员一".into(),
        fields: Vec::new(),
        consent_channel: None,
        consent_wording: None,
        submit: false,
    };
    let made = rig.phone.file_transfer("A1", &filing, NOW).unwrap();
    rig.restart();
    assert_eq!(rig.phone.outbox().unwrap()[0].kind, Kind::TransferRequest);
    assert_eq!(rig.sync(&mut office).accepted, 1);
    assert!(office.holds(made.record));
}

/// Whatever the clock says: what was done first goes first.
#[test]
fn edits_go_in_the_order_in_which_they_were_made() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let mut rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    let clock = Arc::new(AtomicI64::new(NOW.unix_ms()));
    rig.phone = rig.phone.with_clock(Clock::Fixed(clock.clone()));
    let names = ["一", "二", "三", "四", "五", "六", "七", "八"];
    for (day, name) in names.iter().enumerate() {
        clock.store(NOW.unix_ms() - day as i64 * 86_400_000, Ordering::SeqCst);
        rig.phone
            .edit(record, &[Edit::set("sign_name", name)], rig.phone.now())
            .unwrap();
    }
    assert!(waiting(&rig).iter().map(|entry| entry.1.as_str()).eq(names));
    let tally = rig.sync(&mut office);
    assert_eq!((tally.accepted, tally.postponed, tally.rejected), (8, 0, 0));
    assert_eq!(office.text(record, "sign_name").as_deref(), Some("八"));
}

#[test]
fn many_edits_are_written_anew_in_their_order_and_none_is_left_out() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let mut rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    let clock = Arc::new(AtomicI64::new(0));
    rig.phone = rig.phone.with_clock(Clock::Fixed(clock.clone()));
    let names: Vec<_> = (0..70).map(|n| format!("第{n}号")).collect();
    for (n, name) in names.iter().enumerate() {
        let made_at = DeviceTime::from_unix_ms(NOW.unix_ms() - n as i64 * 1_000);
        rig.phone
            .edit(record, &[Edit::set("sign_name", name)], made_at)
            .unwrap();
    }
    let made_at: Vec<_> = rig
        .phone
        .outbox()
        .unwrap()
        .into_iter()
        .map(|entry| entry.made_at)
        .collect();
    let epoch = inside(&rig, |tx| Ok(tx.epoch()?));
    office.compact(record);
    // The first answer refuses them all; the second never comes.
    assert_eq!(
        rig.sync_cut(&mut office, |request, items| (request == 1)
            .then_some(items)),
        None
    );
    rig.restart();
    let entries = rig.phone.outbox().unwrap();
    assert!(
        waiting(&rig)
            .into_iter()
            .map(|entry| entry.1)
            .eq(names.iter().cloned())
    );
    assert!(
        entries
            .iter()
            .all(|entry| (entry.generation, entry.state) == (2, OutboxState::Unsent))
    );
    let rebases: Vec<_> = entries.iter().map(|entry| entry.rebases).collect();
    assert_eq!(
        (rebases[0], rebases[1..].iter().max()),
        (1, Some(&0)),
        "only the first was refused for itself"
    );
    assert_eq!(
        entries
            .iter()
            .map(|entry| entry.made_at)
            .collect::<Vec<_>>(),
        made_at,
        "the times stay those of the edits"
    );
    let times = entries
        .iter()
        .map(|entry| change::decode(&entry.bytes).unwrap().time);
    assert!(times.eq(made_at.into_iter().map(Some)));
    assert!(
        inside(&rig, |tx| Ok(tx.epoch()?)) > epoch,
        "a new name, stored with what is signed with it"
    );
    assert_eq!(rig.text(record, "sign_name").as_deref(), Some("第69号"));
    let tally = rig.sync(&mut office);
    assert_eq!(
        (tally.accepted, tally.duplicate, tally.rejected),
        (0, 70, 0),
        "the lost answer had accepted them"
    );
    settle(&mut office, &[&rig]);
    assert_eq!(office.text(record, "sign_name").as_deref(), Some("第69号"));
}

#[test]
fn an_edit_is_made_for_the_generation_that_the_phone_holds() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    office.compact(record);
    office.compact(record);
    rig.sync(&mut office);
    rig.set(record, "sign_name", "新名");
    assert_eq!(rig.phone.outbox().unwrap()[0].generation, 3);
    let tally = rig.sync(&mut office);
    assert_eq!((tally.accepted, tally.rejected), (1, 0));
}

#[test]
fn drafts_of_one_record_stand_side_by_side() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    for key in ["category", "unit", "lane"] {
        office
            .rules
            .insert(rig.device, Rule::RefuseKey(key.into(), "value_too_long"));
        rig.set(record, key, "零售");
        rig.sync(&mut office);
    }
    let kept = rig.phone.drafts().unwrap();
    let keys = |kept: &[KeptDraft]| {
        kept.iter()
            .map(|kept| kept.draft.edits.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        keys(&kept),
        ["category", "unit", "lane"].map(|key| vec![Edit::set(key, "零售")]),
        "the oldest first"
    );
    rig.phone.drop_draft(kept[0].id).unwrap();
    assert_eq!(
        rig.phone.drop_draft(kept[0].id).unwrap_err().code(),
        "no_such_draft"
    );
    assert_eq!(rig.phone.drafts().unwrap(), kept[1..]);
    office.rules.clear();
    rig.phone.retry_draft(kept[2].id, NOW).unwrap();
    assert_eq!(rig.phone.drafts().unwrap(), kept[1..2]);
}

/// A draft that still cannot be applied is still there.
#[test]
fn a_draft_goes_only_when_it_was_saved() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    office
        .rules
        .insert(rig.device, Rule::RefuseKey("unit".into(), "value_too_long"));
    rig.set(record, "unit", "1室");
    rig.sync(&mut office);
    let kept = rig.phone.drafts().unwrap();
    inside(&rig, |tx| Ok(tx.apply(&[Effect::MarkLeaving { record }])?));
    assert_eq!(
        rig.phone.retry_draft(kept[0].id, NOW).unwrap_err().code(),
        "not_your_grid"
    );
    assert_eq!(rig.phone.drafts().unwrap(), kept);
    assert!(rig.phone.outbox().unwrap().is_empty());
}

#[test]
fn redacting_takes_the_person_and_nothing_else() {
    let mut office = MemoryOffice::new();
    let record = card(&mut office, 1);
    let rig = Rig::new(1, &mut office);
    rig.sync(&mut office);
    let (gone, stays) = (
        "0198c0de-0000-7000-8000-00000000000a",
        "0198c0de-0000-7000-8000-00000000000b",
    );
    let name = |entry: &str, name: &str| Edit::set(format!("contacts/{entry}/name"), name);
    office
        .rules
        .insert(rig.device, Rule::RefuseKey("unit".into(), "value_too_long"));
    rig.phone
        .edit(record, &[name(gone, "王"), Edit::set("unit", "1室")], NOW)
        .unwrap();
    rig.sync(&mut office);
    rig.phone
        .edit(record, &[name(gone, "王五"), name(stays, "李四")], NOW)
        .unwrap();
    rig.phone.edit(record, &[name(gone, "王六")], NOW).unwrap();
    rig.set(record, "lane", "5");
    // The office holds what was written of both persons, and the lane.
    for entry in [0, 2].map(|at| rig.phone.outbox().unwrap().remove(at)) {
        let reason = Reason {
            code: "reassigned".into(),
            field: None,
            message: None,
        };
        let held = Effect::Mark {
            record,
            hash: entry.hash,
            state: OutboxState::Held,
            reason,
            again: false,
        };
        inside(&rig, |tx| Ok(tx.apply(&[held])?));
    }
    let entries = vec![gone.parse::<EntryId>().unwrap()];
    inside(&rig, |tx| {
        Ok(tx.apply(&[Effect::Redact {
            record,
            entries: entries.clone(),
        }])?)
    });
    let left: Vec<_> = rig
        .phone
        .outbox()
        .unwrap()
        .into_iter()
        .map(|entry| (entry.edits, entry.state))
        .collect();
    let expected = [
        (vec![name(stays, "李四")], OutboxState::Unsent),
        (vec![Edit::set("lane", "5")], OutboxState::Held),
    ];
    assert_eq!(
        left, expected,
        "what the office kept of the first is gone, so the rest of it is sent; the other is still there"
    );
    let drafts = rig.phone.drafts().unwrap();
    assert_eq!(
        drafts
            .iter()
            .map(|kept| &kept.draft.edits)
            .collect::<Vec<_>>(),
        [&vec![Edit::set("unit", "1室")]]
    );
    inside(&rig, |tx| {
        Ok(tx.apply(&[Effect::Redact { record, entries }])?)
    });
    assert_eq!(
        rig.phone.drafts().unwrap(),
        drafts,
        "what says nothing of the person stays as it is"
    );
}

/// Else two programs on one file could write the same number of a sequence.
#[test]
fn a_transaction_holds_the_file_before_it_reads() {
    let mut office = MemoryOffice::new();
    let rig = Rig::new(1, &mut office);
    let other = rusqlite::Connection::open(rig.phone.path()).unwrap();
    other.busy_timeout(Duration::ZERO).unwrap();
    let busy = inside(&rig, |_| {
        Ok(other.execute_batch("BEGIN IMMEDIATE").is_err())
    });
    assert!(busy);
    other.execute_batch("BEGIN IMMEDIATE; ROLLBACK").unwrap();
}
