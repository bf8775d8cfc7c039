//! What every record store must do: one suite, run on each of them.
//!
//! In: a way to make an empty store. Every case begins with one of its own, and panics where the store does otherwise.

use lianka_sync_core::{
    access::Role,
    codec::{change::Scalar, wire::Notice},
    crdt::record::{Edit, Record},
    id::{Actor, ChangeHash, DeviceId, EntryId, RecordId},
    kinds::Kind,
    time::{DeviceTime, ServerTime},
};

use super::{Credentials, LastSync, RecordStore, Records, Unfit};
use crate::{
    Draft, Effect, Grid, Identity, Known, NewestOwn, OutboxEntry, OutboxState, Reason,
    StoredRecord, TailChange, lease::Lease,
};

/// Runs every case.
pub fn run<S: RecordStore>(mut empty: impl FnMut() -> S) {
    for case in [
        values_are_kept_and_a_failed_transaction_keeps_none,
        a_snapshot_takes_the_place_of_what_it_reaches,
        a_tail_holds_changes_of_its_generation_once,
        the_changes_of_a_copy_are_told_by_name,
        a_reset_doubts_what_the_office_had_and_nothing_else,
        what_came_beyond_the_cursor_is_known_until_the_next_one,
        the_newest_own_change_is_found_again_and_the_highest_number,
        a_record_that_leaves_stays_until_it_goes,
        the_outbox_keeps_its_order_and_what_was_said,
        an_answered_change_goes_into_the_copy,
        what_is_due_is_named_once,
        drafts_are_numbered_and_go,
        notices_are_kept_once_and_the_oldest_go,
        an_erased_record_goes_with_all_of_it,
        an_erased_person_goes_from_outbox_and_drafts,
        what_changed_is_indexed_anew,
        a_wipe_leaves_the_way_to_tell_of_it,
    ] {
        case(&mut empty());
    }
}

fn record(number: u128) -> RecordId {
    RecordId(uuid::Uuid::from_u128(number))
}

fn write<S: RecordStore, T>(
    store: &mut S,
    work: impl FnOnce(&S::Tx<'_>) -> Result<T, S::Error>,
) -> T {
    store.write(work).expect("a transaction")
}

fn apply<S: RecordStore>(store: &mut S, effects: &[Effect]) {
    write(store, |tx| tx.apply(effects));
}

fn stored<S: RecordStore>(store: &mut S, record: RecordId) -> StoredRecord {
    write(store, |tx| tx.record_state(record))
        .stored
        .expect("the record is held")
}

fn known<S: RecordStore>(store: &mut S, record: RecordId) -> Known {
    write(store, |tx| tx.known())[&record]
}

fn tail(byte: u8, seq: Option<u64>) -> TailChange {
    TailChange {
        hash: ChangeHash([byte; 32]),
        seq,
        bytes: vec![byte],
    }
}

fn append(record: RecordId, generation: u32, change: TailChange) -> Effect {
    Effect::AppendTail {
        record,
        generation,
        change,
    }
}

fn acknowledge(record: RecordId, generation: u32, change: TailChange) -> Effect {
    Effect::Acknowledge {
        record,
        generation,
        change,
    }
}

fn create(record: RecordId) -> Effect {
    Effect::CreateRecord {
        record,
        kind: Kind::ShopCard,
        grid: "A1".into(),
    }
}

fn snapshot(record: RecordId, grid: &str, generation: u32, seq: u64) -> Effect {
    Effect::PutSnapshot {
        record,
        kind: Kind::ShopCard,
        grid: grid.into(),
        generation,
        seq,
        bytes: vec![generation as u8, seq as u8],
    }
}

fn entry(record: RecordId, byte: u8, edits: Vec<Edit>) -> OutboxEntry {
    OutboxEntry {
        record,
        kind: Kind::ShopCard,
        generation: 1,
        hash: ChangeHash([byte; 32]),
        bytes: vec![byte],
        edits,
        made_at: DeviceTime::from_unix_ms(5),
        state: OutboxState::Unsent,
        reason: None,
        tries: 0,
        rebases: 0,
    }
}

fn enqueue(record: RecordId, byte: u8) -> Effect {
    let edits = vec![Edit::set("unit", &byte.to_string())];
    Effect::Enqueue(Box::new(entry(record, byte, edits)))
}

fn draft(record: RecordId, edits: Vec<Edit>) -> Draft {
    Draft {
        record,
        kind: Kind::ShopCard,
        creating: false,
        edits,
        made_at: DeviceTime::from_unix_ms(6),
        reason: Reason {
            code: "value_too_long".into(),
            field: Some("unit".into()),
            message: None,
        },
    }
}

fn notice(record: RecordId, id: u128, seq: u64) -> Effect {
    Effect::PutNotice(Box::new(Notice {
        id: uuid::Uuid::from_u128(id),
        seq,
        kind: "conflict_resolved".into(),
        record,
        field: None,
        hash: None,
        by: None,
        at: ServerTime::from_unix_ms(1),
        note: None,
    }))
}

fn identity() -> Identity {
    Identity {
        device: DeviceId(uuid::Uuid::from_u128(0xd001)),
        username: "user1".into(),
        display_name: "许娜".into(),
        role: Role::Secretary,
        street: "310104003".parse().expect("a code"),
        street_name: "天平路街道".into(),
        grids: vec![Grid {
            grid: "A1".into(),
            name: "康平一".into(),
            area: "康平".into(),
        }],
        former_devices: Vec::new(),
    }
}

fn credentials() -> Credentials {
    Credentials {
        server: "http://localhost:1".into(),
        access_token: "at".into(),
        access_expires_ms: 7,
        refresh_token: "rt".into(),
    }
}

/// A record of generation 2 up to 3, and a tail of changes behind it.
fn begun<S: RecordStore>(store: &mut S) -> RecordId {
    let record = record(7);
    apply(
        store,
        &[
            snapshot(record, "A1", 2, 3),
            append(record, 2, tail(9, None)),
            append(record, 2, tail(4, Some(4))),
            append(record, 2, tail(5, Some(5))),
            append(record, 2, tail(7, Some(7))),
        ],
    );
    record
}

fn values_are_kept_and_a_failed_transaction_keeps_none<S: RecordStore>(store: &mut S) {
    let refused = store.identity().expect_err("nobody is enrolled");
    assert_eq!(
        refused.to_string(),
        S::Error::from(Unfit::NotEnrolled).to_string()
    );
    let last = LastSync {
        at: DeviceTime::from_unix_ms(1),
        server_time: ServerTime::from_unix_ms(2),
    };
    let lease = Lease::granted(60, last.at);
    write(store, |tx| {
        assert_eq!(
            (tx.epoch()?, tx.cursor()?, tx.start_over()?),
            (1, None, false)
        );
        tx.set_identity(&identity())?;
        tx.set_credentials(&credentials())?;
        tx.set_last_sync(&last)?;
        tx.set_lease(Some(lease))?;
        tx.apply(&[
            Effect::SetEpoch(3),
            Effect::StartOver,
            Effect::SetCursor(Some("c".into())),
        ])
    });
    let failed: Result<(), S::Error> = store.write(|tx| {
        tx.apply(&[
            Effect::SetEpoch(9),
            create(record(1)),
            enqueue(record(1), 1),
        ])?;
        assert_eq!(tx.epoch()?, 9, "a transaction sees what it wrote");
        Err(Unfit::Damaged("test").into())
    });
    failed.expect_err("as it said");
    write(store, |tx| {
        assert_eq!(tx.identity()?, identity());
        assert_eq!(tx.credentials()?, credentials());
        assert_eq!((tx.last_sync()?, tx.lease()?), (Some(last), Some(lease)));
        assert_eq!((tx.epoch()?, tx.start_over()?), (3, true));
        assert_eq!(tx.cursor()?.as_deref(), Some("c"));
        assert!(tx.records()?.is_empty() && tx.outbox()?.is_empty());
        tx.set_lease(None)?;
        assert_eq!(tx.lease()?, None);
        tx.set_wiped(last.at)
    });
    let refused = store.identity().expect_err("it was wiped");
    assert_eq!(
        refused.to_string(),
        S::Error::from(Unfit::Wiped(last.at.to_string())).to_string()
    );
}

fn a_snapshot_takes_the_place_of_what_it_reaches<S: RecordStore>(store: &mut S) {
    let record = begun(store);
    apply(
        store,
        &[
            Effect::MarkLeaving { record },
            Effect::BeginReset,
            snapshot(record, "B2", 2, 5),
        ],
    );
    let expected = StoredRecord {
        kind: Kind::ShopCard,
        grid: "B2".into(),
        generation: 2,
        seq: 5,
        snapshot: vec![2, 5],
        tail: vec![tail(7, Some(7)), tail(9, None)],
        leaving: false,
        before_reset: false,
    };
    assert_eq!(stored(store, record), expected);
    for generation in [3, 2] {
        apply(
            store,
            &[
                append(record, 2, tail(8, Some(8))),
                snapshot(record, "B2", generation, 6),
            ],
        );
        let now = stored(store, record);
        assert_eq!(
            (now.generation, now.seq, now.tail),
            (generation, 6, vec![]),
            "nothing of another generation stays"
        );
    }
    let listed = write(store, |tx| tx.records_of(Kind::ShopCard));
    assert_eq!(listed, [(record, "B2".to_owned())]);
    assert!(write(store, |tx| tx.records_of(Kind::TransferRequest)).is_empty());
}

fn a_tail_holds_changes_of_its_generation_once<S: RecordStore>(store: &mut S) {
    let record = begun(store);
    let before = stored(store, record);
    apply(
        store,
        &[
            append(record, 1, tail(8, Some(8))),
            append(record, 3, tail(8, Some(8))),
            append(record, 2, tail(4, None)),
            append(self::record(8), 1, tail(8, Some(8))),
        ],
    );
    assert_eq!(
        stored(store, record),
        before,
        "a sequence that is known is not forgotten"
    );
    apply(store, &[append(record, 2, tail(9, Some(6)))]);
    let seqs = |store: &mut S| {
        let tail = stored(store, record).tail;
        tail.iter().map(|change| change.seq).collect::<Vec<_>>()
    };
    assert_eq!(
        seqs(store),
        [Some(4), Some(5), Some(6), Some(7)],
        "and one that was not is learnt"
    );
    apply(
        store,
        &[
            append(record, 2, tail(9, None)),
            append(record, 2, tail(8, None)),
            Effect::ForgetUnconfirmed { record },
        ],
    );
    assert_eq!(seqs(store), [Some(4), Some(5), Some(6), Some(7)]);
    apply(store, &[Effect::ForgetHistory { record }]);
    let now = stored(store, record);
    assert_eq!(
        (now.seq, now.snapshot, now.tail, now.before_reset),
        (0, vec![], vec![], false)
    );
}

/// Those after the snapshot and its heads at once, all others where they are asked for.
fn the_changes_of_a_copy_are_told_by_name<S: RecordStore>(store: &mut S) {
    let (at, author) = (
        DeviceTime::from_unix_ms(5_000),
        Actor::new(DeviceId(uuid::Uuid::from_u128(9)), 1),
    );
    let edits = [Edit::set("kind", "shop_card"), Edit::set("grid", "A1")];
    let (mut copy, first) = Record::create(author, at, &edits).expect("a record");
    let second = copy
        .edit(author, at, &[Edit::set("sign_name", "王记")], "")
        .expect("an edit")
        .expect("a change");
    let whole = Effect::PutSnapshot {
        record: record(1),
        kind: Kind::ShopCard,
        grid: "A1".into(),
        generation: 1,
        seq: 2,
        bytes: copy.save(),
    };
    apply(store, &[whole, append(record(1), 1, tail(3, Some(3)))]);
    let hashes = |store: &mut S, number, all| {
        let mut hashes = write(store, |tx| tx.hashes(record(number), all));
        hashes.sort_unstable();
        hashes
    };
    let in_order = |mut hashes: Vec<ChangeHash>| {
        hashes.sort_unstable();
        hashes
    };
    let third = ChangeHash([3; 32]);
    let cheap = in_order(vec![second.hash, third]);
    assert_eq!(hashes(store, 1, false), cheap);
    let all = in_order(vec![first.hash, second.hash, third]);
    assert_eq!(hashes(store, 1, true), all);
    assert_eq!(hashes(store, 2, true), []);
}

fn a_reset_doubts_what_the_office_had_and_nothing_else<S: RecordStore>(store: &mut S) {
    let sent = begun(store);
    let [made, acknowledged] = [8, 9].map(record);
    apply(
        store,
        &[
            create(made),
            create(acknowledged),
            Effect::SetCursor(Some("c".into())),
        ],
    );
    apply(
        store,
        &[
            append(acknowledged, 1, tail(1, Some(1))),
            Effect::BeginReset,
        ],
    );
    let doubted =
        |store: &mut S| [sent, acknowledged, made].map(|record| known(store, record).before_reset);
    assert_eq!(doubted(store), [true, true, false]);
    assert_eq!(write(store, |tx| tx.cursor()), None);
    for record in [sent, acknowledged] {
        apply(store, &[Effect::ForgetHistory { record }]);
    }
    apply(
        store,
        &[append(sent, 2, tail(1, Some(1))), Effect::BeginAnew],
    );
    assert_eq!(doubted(store), [true, false, false]);
    // Nothing but a pull from the start ends it.
    apply(
        store,
        &[Effect::StartOver, Effect::SetCursor(Some("d".into()))],
    );
    assert!(write(store, |tx| tx.holdings()).start_over);
    apply(store, &[Effect::SetCursor(None)]);
    assert!(!write(store, |tx| tx.holdings()).start_over);
}

fn what_came_beyond_the_cursor_is_known_until_the_next_one<S: RecordStore>(store: &mut S) {
    let [sent, made, left] = [1, 2, 3].map(record);
    let beyond =
        |store: &mut S| [sent, made, left].map(|record| known(store, record).beyond_cursor);
    apply(
        store,
        &[
            snapshot(sent, "A1", 1, 3),
            create(made),
            snapshot(left, "A1", 1, 4),
        ],
    );
    assert_eq!(beyond(store), [true, false, true]);
    let cursor = Effect::SetCursor(Some("c".into()));
    apply(store, std::slice::from_ref(&cursor));
    assert_eq!(beyond(store), [false; 3]);
    apply(
        store,
        &[
            // It was there, and within the cursor.
            snapshot(sent, "A1", 1, 5),
            acknowledge(made, 1, tail(1, Some(6))),
            Effect::MarkLeaving { record: left },
            Effect::Stay { record: left },
        ],
    );
    assert_eq!(beyond(store), [false, true, true]);
    apply(
        store,
        &[
            cursor.clone(),
            acknowledge(made, 1, tail(2, Some(7))),
            Effect::MarkLeaving { record: left },
            snapshot(left, "A1", 1, 8),
            Effect::StayBeyond { record: sent },
        ],
    );
    assert_eq!(beyond(store), [true, false, true]);
    assert!(!known(store, left).leaving);
}

fn the_newest_own_change_is_found_again_and_the_highest_number<S: RecordStore>(store: &mut S) {
    let (sent, made) = (begun(store), record(8));
    let highest = |store: &mut S| write(store, |tx| tx.highest());
    assert_eq!(highest(store), 7);
    apply(
        store,
        &[
            create(made),
            acknowledge(made, 1, tail(1, Some(i64::MAX as u64))),
            acknowledge(made, 1, tail(2, Some(12))),
        ],
    );
    assert_eq!(highest(store), 12, "a number that was not told is none");
    let newest = |record, byte, seq| {
        Effect::SetNewestOwn(Some(NewestOwn {
            record,
            hash: ChangeHash([byte; 32]),
            seq,
        }))
    };
    let own = |store: &mut S| write(store, |tx| tx.holdings()).newest_own;
    assert_eq!(own(store), None);
    apply(store, &[newest(made, 2, 12)]);
    let found = own(store).expect("it is in the copy");
    assert_eq!(
        (found.record, found.generation, found.seq, found.bytes),
        (made, 1, 12, vec![2])
    );
    apply(store, &[newest(made, 3, 13)]);
    assert_eq!(own(store), None, "the copy does not have it");
    apply(store, &[newest(made, 2, 12), Effect::BeginReset]);
    assert_eq!((own(store), highest(store)), (None, 0));
    apply(
        store,
        &[snapshot(sent, "A1", 2, 3), Effect::SetNewestOwn(None)],
    );
    assert_eq!((own(store), highest(store)), (None, 7));
}

fn a_record_that_leaves_stays_until_it_goes<S: RecordStore>(store: &mut S) {
    let record = begun(store);
    apply(store, &[Effect::MarkLeaving { record }, enqueue(record, 1)]);
    assert!(known(store, record).leaving && stored(store, record).leaving);
    apply(store, &[Effect::RemoveRecord { record }]);
    let state = write(store, |tx| tx.record_state(record));
    assert_eq!((state.stored, state.outbox.len()), (None, 1));
    apply(store, &[snapshot(record, "A1", 2, 3)]);
    assert_eq!(
        stored(store, record).tail,
        [],
        "what comes back begins anew"
    );
}

fn the_outbox_keeps_its_order_and_what_was_said<S: RecordStore>(store: &mut S) {
    let [first, second] = [1, 2].map(record);
    let hashes = |store: &mut S| {
        let outbox = write(store, |tx| tx.outbox());
        outbox
            .iter()
            .map(|entry| entry.hash.0[0])
            .collect::<Vec<_>>()
    };
    apply(
        store,
        &[enqueue(first, 3), enqueue(second, 1), enqueue(first, 2)],
    );
    assert_eq!(hashes(store), [3, 1, 2]);
    let reason = Reason {
        code: "reassigned".into(),
        field: Some("grid".into()),
        message: Some("调整".into()),
    };
    let mark = |byte, state, again| Effect::Mark {
        record: first,
        hash: ChangeHash([byte; 32]),
        state,
        reason: reason.clone(),
        again,
    };
    apply(
        store,
        &[
            mark(3, OutboxState::Held, false),
            mark(2, OutboxState::Unsent, true),
            mark(2, OutboxState::Refused, true),
            mark(9, OutboxState::Refused, true),
        ],
    );
    let own = write(store, |tx| tx.outbox_of(first));
    let said: Vec<_> = own
        .iter()
        .map(|entry| (entry.state, entry.tries, entry.reason.as_ref()))
        .collect();
    assert_eq!(
        said,
        [
            (OutboxState::Held, 0, Some(&reason)),
            (OutboxState::Refused, 2, Some(&reason))
        ]
    );
    assert_eq!(write(store, |tx| tx.outbox_count()), [1, 1, 1]);
    let mut again = own;
    again.reverse();
    again[0].rebases = 2;
    apply(
        store,
        &[Effect::ReplaceOutbox {
            record: first,
            entries: again.clone(),
        }],
    );
    assert_eq!(hashes(store), [1, 2, 3], "at the end of the outbox");
    assert_eq!(write(store, |tx| tx.record_state(first)).outbox, again);
}

fn an_answered_change_goes_into_the_copy<S: RecordStore>(store: &mut S) {
    let record = record(1);
    apply(
        store,
        &[
            create(record),
            enqueue(record, 1),
            enqueue(record, 2),
            acknowledge(record, 1, tail(1, Some(4))),
        ],
    );
    let state = write(store, |tx| tx.record_state(record));
    assert_eq!(
        state.stored.map(|stored| stored.tail),
        Some(vec![tail(1, Some(4))])
    );
    assert_eq!(state.outbox.len(), 1);
    assert!(known(store, record).at_office);
    apply(store, &[acknowledge(record, 2, tail(2, Some(5)))]);
    let state = write(store, |tx| tx.record_state(record));
    assert!(state.outbox.is_empty(), "also of another generation");
    assert_eq!(state.stored.map(|stored| stored.tail.len()), Some(1));
}

fn what_is_due_is_named_once<S: RecordStore>(store: &mut S) {
    let [calm, leaving, refused, put_off, outdated, nowhere] = [1, 2, 3, 4, 5, 6].map(record);
    let mark = |record, byte, state, again| Effect::Mark {
        record,
        hash: ChangeHash([byte; 32]),
        state,
        reason: Reason::default(),
        again,
    };
    apply(
        store,
        &[
            create(calm),
            enqueue(calm, 1),
            create(leaving),
            Effect::MarkLeaving { record: leaving },
            create(refused),
            enqueue(refused, 2),
            enqueue(refused, 3),
            mark(refused, 2, OutboxState::Refused, false),
            mark(refused, 3, OutboxState::Refused, false),
            create(put_off),
            enqueue(put_off, 4),
            mark(put_off, 4, OutboxState::Unsent, true),
            snapshot(outdated, "A1", 2, 1),
            enqueue(outdated, 5),
            enqueue(nowhere, 6),
            mark(nowhere, 6, OutboxState::Refused, false),
        ],
    );
    assert_eq!(
        write(store, |tx| tx.due()),
        [leaving, refused, put_off, outdated, nowhere]
    );
    apply(store, &[mark(outdated, 5, OutboxState::Held, false)]);
    assert!(!write(store, |tx| tx.due()).contains(&outdated));
}

fn drafts_are_numbered_and_go<S: RecordStore>(store: &mut S) {
    let record = record(1);
    let edits = vec![Edit::set("unit", "1室")];
    for _ in 0..2 {
        apply(
            store,
            &[Effect::PutDraft(Box::new(draft(record, edits.clone())))],
        );
    }
    let drafts = write(store, |tx| tx.drafts());
    assert_eq!(drafts[0].draft, draft(record, edits));
    assert!(drafts[0].id < drafts[1].id);
    assert!(write(store, |tx| tx.remove_draft(drafts[0].id)));
    assert!(!write(store, |tx| tx.remove_draft(drafts[0].id)));
    apply(store, &[Effect::RemoveDraft { id: drafts[1].id }]);
    assert!(write(store, |tx| tx.drafts()).is_empty());
}

fn notices_are_kept_once_and_the_oldest_go<S: RecordStore>(store: &mut S) {
    let record = record(1);
    apply(store, &[notice(record, 1, 5), notice(record, 2, 9)]);
    assert_eq!(write(store, |tx| tx.unread_notices()), 2);
    write(store, |tx| tx.mark_notices_read());
    apply(store, &[notice(record, 1, 5), notice(record, 3, 7)]);
    let kept: Vec<_> = write(store, |tx| tx.notices())
        .into_iter()
        .map(|kept| (kept.notice.seq, kept.unread))
        .collect();
    assert_eq!(kept, [(9, false), (7, true), (5, false)]);
    let many: Vec<_> = (10..510)
        .map(|seq| notice(record, u128::from(seq), seq))
        .collect();
    apply(store, &many);
    let kept = write(store, |tx| tx.notices());
    assert_eq!((kept.len(), kept[499].notice.seq), (500, 10));
}

fn an_erased_record_goes_with_all_of_it<S: RecordStore>(store: &mut S) {
    let (erased, other) = (begun(store), record(8));
    let edits = vec![Edit::set("unit", "1室")];
    for record in [erased, other] {
        let draft = draft(record, edits.clone());
        apply(
            store,
            &[
                enqueue(record, 1),
                Effect::PutDraft(Box::new(draft)),
                notice(record, record.0.as_u128(), 1),
            ],
        );
    }
    write(store, |tx| tx.set_listing(&[other, erased, other]));
    apply(store, &[Effect::Erase { record: erased }]);
    write(store, |tx| {
        let state = tx.record_state(erased)?;
        assert!(state.stored.is_none() && state.outbox.is_empty());
        assert_eq!((tx.outbox()?.len(), tx.drafts()?.len()), (1, 1));
        assert_eq!(tx.notices()?.len(), 1);
        let listed = [tx.listed(1)?, tx.listed(2)?, tx.listed(3)?, tx.listed(4)?];
        assert_eq!(listed, [Some(other), None, Some(other), None]);
        Ok(())
    });
}

fn an_erased_person_goes_from_outbox_and_drafts<S: RecordStore>(store: &mut S) {
    let [record, other] = [1, 2].map(record);
    let person = EntryId(uuid::Uuid::from_u128(5));
    let about = || Edit::set(format!("contacts/{person}/name"), "王");
    let rest = || Edit::Put {
        key: "unit".into(),
        value: Scalar::from("1室"),
    };
    let enqueue = |record, byte, edits| Effect::Enqueue(Box::new(entry(record, byte, edits)));
    apply(
        store,
        &[
            create(record),
            enqueue(record, 1, vec![about()]),
            enqueue(record, 2, vec![about(), rest()]),
            enqueue(record, 3, vec![rest()]),
            enqueue(other, 4, vec![about()]),
            Effect::PutDraft(Box::new(draft(record, vec![about()]))),
            Effect::PutDraft(Box::new(draft(record, vec![rest(), about()]))),
            Effect::PutDraft(Box::new(draft(other, vec![about()]))),
            notice(record, 1, 1),
            Effect::Redact {
                record,
                entries: vec![person],
            },
        ],
    );
    write(store, |tx| {
        let left: Vec<_> = tx
            .outbox_of(record)?
            .into_iter()
            .map(|entry| (entry.hash.0[0], entry.edits))
            .collect();
        assert_eq!(left, [(2, vec![rest()]), (3, vec![rest()])]);
        assert_eq!(tx.outbox_of(other)?.len(), 1, "other records keep theirs");
        let mut drafts: Vec<_> = tx
            .drafts()?
            .into_iter()
            .map(|kept| (kept.draft.record, kept.draft.edits))
            .collect();
        drafts.sort_by_key(|(record, _)| *record);
        assert_eq!(drafts, [(record, vec![rest()]), (other, vec![about()])]);
        assert!(tx.notices()?.is_empty());
        Ok(())
    });
}

fn what_changed_is_indexed_anew<S: RecordStore>(store: &mut S) {
    let [card, other] = [1, 2].map(record);
    apply(store, &[snapshot(card, "A1", 1, 1), create(other)]);
    let names = |store: &mut S| {
        let unindexed = write(store, |tx| tx.unindexed());
        let mut names: Vec<_> = unindexed.into_iter().map(|(record, _)| record).collect();
        names.sort_unstable();
        names
    };
    let index = |store: &mut S| {
        write(store, |tx| {
            tx.put_index(card, Some("{}"), "key")?;
            tx.put_index(other, None, "")
        });
    };
    assert_eq!(names(store), [card, other]);
    index(store);
    assert!(names(store).is_empty());
    let lines = |store: &mut S| write(store, |tx| tx.indexed());
    let line = &lines(store)[0];
    assert_eq!(
        (
            line.summary.as_str(),
            line.key.as_str(),
            line.unsent,
            line.held
        ),
        ("{}", "key", false, false)
    );
    assert_eq!(lines(store).len(), 1, "another kind is not listed");
    assert_eq!(write(store, |tx| tx.summary(card)).as_deref(), Some("{}"));
    assert_eq!(write(store, |tx| tx.summary(other)), None);
    let mark = |state| Effect::Mark {
        record: card,
        hash: ChangeHash([1; 32]),
        state,
        reason: Reason::default(),
        again: false,
    };
    for effect in [
        snapshot(card, "A1", 1, 2),
        append(card, 1, tail(3, Some(3))),
        enqueue(card, 1),
        acknowledge(card, 1, tail(1, Some(4))),
        Effect::ForgetUnconfirmed { record: card },
        Effect::ReplaceOutbox {
            record: card,
            entries: vec![entry(card, 1, vec![Edit::set("unit", "1")])],
        },
        Effect::Redact {
            record: card,
            entries: vec![],
        },
        Effect::ForgetHistory { record: card },
    ] {
        apply(store, std::slice::from_ref(&effect));
        assert_eq!(names(store), [card], "after {effect:?}");
        index(store);
    }
    let marks = |store: &mut S| {
        let line = lines(store).remove(0);
        (line.unsent, line.held)
    };
    assert_eq!(marks(store), (true, false));
    apply(store, &[mark(OutboxState::Held)]);
    assert_eq!(marks(store), (false, true));
    apply(store, &[mark(OutboxState::Refused)]);
    assert_eq!(marks(store), (true, false));
    apply(store, &[Effect::RemoveRecord { record: card }]);
    assert!(lines(store).is_empty());
}

fn a_wipe_leaves_the_way_to_tell_of_it<S: RecordStore>(store: &mut S) {
    let record = begun(store);
    write(store, |tx| {
        tx.set_identity(&identity())?;
        tx.set_credentials(&credentials())
    });
    apply(
        store,
        &[
            enqueue(record, 1),
            notice(record, 1, 1),
            Effect::PutDraft(Box::new(draft(record, vec![Edit::set("unit", "1")]))),
            Effect::SetCursor(Some("c".into())),
            Effect::Wipe,
        ],
    );
    store.scrub().expect("nothing is left behind");
    write(store, |tx| {
        assert!(tx.records()?.is_empty() && tx.outbox()?.is_empty());
        assert!(tx.drafts()?.is_empty() && tx.notices()?.is_empty());
        assert_eq!(tx.cursor()?, None);
        assert_eq!(tx.enrolled()?, None);
        let report = tx.wipe_report()?.expect("the way to the office");
        assert_eq!(
            (report.street, report.credentials),
            (identity().street, credentials())
        );
        tx.drop_wipe_report()?;
        assert_eq!(tx.wipe_report()?, None);
        Ok(())
    });
}
