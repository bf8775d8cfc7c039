//! Requests and answers, item by item, without a store.

use std::collections::HashMap;

use lianka_sync_core::{
    codec::wire::{PushedChange, Verdict, VerdictStatus},
    id::ChangeHash,
    kinds::Kind,
    limits,
    time::ServerTime,
};

use super::*;
use lianka_client_core::{Effect, Known, OutboxState};

/// What one request may hold of changes, with what each costs beside its bytes (docs/protocol.md allows more).
const BYTES_MAX: usize = 3 * 1024 * 1024;
const OVERHEAD: usize = 128;

fn entry(number: u64, bytes: usize) -> OutboxEntry {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    OutboxEntry {
        record: RecordId(Uuid::from_u128(u128::from(number % 3))),
        kind: Kind::ShopCard,
        generation: 1,
        hash: ChangeHash(hash),
        bytes: vec![0; bytes],
        edits: vec![Edit::set("unit", &number.to_string())],
        made_at: NOW,
        state: OutboxState::Unsent,
        reason: None,
        tries: 0,
        rebases: 0,
    }
}

fn changes(request: &Request) -> Vec<&PushedChange> {
    let changes = request.items[1..].iter().map(|item| match item {
        RequestItem::Change(change) => change,
        RequestItem::Hello(_) => panic!("a second hello"),
    });
    changes.collect()
}

fn verdict(index: usize, entry: &OutboxEntry, status: VerdictStatus, code: &str) -> ResponseItem {
    ResponseItem::Verdict(Verdict {
        index: index as u32,
        hash: Some(entry.hash),
        record: entry.record,
        status,
        seq: Some(1),
        code: (!code.is_empty()).then(|| code.to_owned()),
        field: None,
        message: None,
        retryable: false,
    })
}

fn end(cursor: Option<&str>) -> ResponseItem {
    let cursor = cursor.map(str::to_owned);
    ResponseItem::End {
        cursor,
        head: 1,
        server_time: ServerTime::from_unix_ms(1),
        lease_seconds: None,
    }
}

fn receive_one(
    sync: &mut Synchronisation,
    item: ResponseItem,
) -> Result<Vec<Effect>, ProtocolError> {
    let identity = identity(1);
    sync.receive(
        item,
        None,
        &Author {
            identity: &identity,
            epoch: 1,
        },
    )
}

/// Sends everything, each request answered in full; what stood in each, and whether it pulled.
fn requests(mut outbox: Vec<OutboxEntry>) -> Vec<(Vec<ChangeHash>, usize, bool)> {
    let mut sync = Synchronisation::new(CLIENT);
    let mut made = Vec::new();
    while let Some(request) = sync.next_request(Holdings {
        outbox: outbox.clone(),
        ..Holdings::default()
    }) {
        let sent: Vec<_> = outbox.drain(..changes(&request).len()).collect();
        let bytes = sent.iter().map(|entry| entry.bytes.len() + OVERHEAD).sum();
        made.push((
            sent.iter().map(|entry| entry.hash).collect(),
            bytes,
            request.pull,
        ));
        for (index, entry) in sent.iter().enumerate() {
            receive_one(
                &mut sync,
                verdict(index, entry, VerdictStatus::Accepted, ""),
            )
            .unwrap();
        }
        receive_one(&mut sync, end(Some("c"))).unwrap();
        let stored = sync.finish();
        assert_eq!(
            stored.is_empty(),
            !request.pull,
            "only a pull moves the cursor"
        );
        assert!(made.len() < 99);
    }
    made
}

#[test]
fn an_outbox_goes_in_as_few_requests_as_hold_it_and_in_order() {
    // Bytes are what is short; the last one fits exactly.
    let size = 64_000;
    let fit = BYTES_MAX / (size + OVERHEAD);
    let mut outbox: Vec<_> = (0..fit as u64).map(|n| entry(n, size)).collect();
    outbox.push(entry(900, BYTES_MAX - fit * (size + OVERHEAD) - OVERHEAD));
    outbox.push(entry(901, 1));
    let sent = requests(outbox.clone());
    let all: Vec<_> = sent
        .iter()
        .flat_map(|(hashes, ..)| hashes.clone())
        .collect();
    assert_eq!(
        all,
        outbox.iter().map(|entry| entry.hash).collect::<Vec<_>>()
    );
    assert_eq!(
        sent.iter()
            .map(|(_, bytes, pull)| (*bytes, *pull))
            .collect::<Vec<_>>(),
        [(BYTES_MAX, false), (1 + OVERHEAD, true)]
    );
    // Small ones: their number is.
    let sent = requests(
        (0..=limits::SYNC_CHANGES_MAX as u64)
            .map(|n| entry(n, 9))
            .collect(),
    );
    assert_eq!(
        sent.iter()
            .map(|(hashes, _, pull)| (hashes.len(), *pull))
            .collect::<Vec<_>>(),
        [(limits::SYNC_CHANGES_MAX, false), (1, true)]
    );
    let sent = requests(
        (0..limits::SYNC_CHANGES_MAX as u64)
            .map(|n| entry(n, 9))
            .collect(),
    );
    assert_eq!(
        sent.iter()
            .map(|(hashes, _, pull)| (hashes.len(), *pull))
            .collect::<Vec<_>>(),
        [(limits::SYNC_CHANGES_MAX, true)]
    );
    assert_eq!(
        requests(vec![]).len(),
        1,
        "with nothing to send it still asks"
    );
}

#[test]
fn what_the_server_asked_for_again_is_sent_again() {
    for tries in [1, 2, 7] {
        let waiting = OutboxEntry {
            tries,
            ..entry(1, 9)
        };
        let held = OutboxEntry {
            state: OutboxState::Held,
            ..entry(2, 9)
        };
        let request = Synchronisation::new(CLIENT)
            .next_request(Holdings {
                outbox: vec![waiting, held],
                ..Holdings::default()
            })
            .unwrap();
        assert_eq!(
            changes(&request).len(),
            2,
            "and what is held asks what became of it"
        );
        let RequestItem::Hello(hello) = &request.items[0] else {
            panic!("hello first")
        };
        assert_eq!((hello.report.unsent, hello.report.held), (Some(1), Some(1)));
    }
}

#[test]
fn a_verdict_names_the_change_by_its_place_and_its_record() {
    let outbox = vec![entry(1, 9), entry(2, 9)];
    for (index, about) in [(0, &outbox[1]), (1, &outbox[0]), (2, &outbox[1])] {
        let mut sync = Synchronisation::new(CLIENT);
        sync.next_request(Holdings {
            outbox: outbox.clone(),
            ..Holdings::default()
        })
        .unwrap();
        let error = receive_one(
            &mut sync,
            verdict(index, about, VerdictStatus::Accepted, ""),
        )
        .unwrap_err();
        assert!(
            matches!(error, ProtocolError::ForeignVerdict { .. }),
            "{error}"
        );
    }
}

#[test]
fn nothing_follows_an_end_and_no_cursor_a_reset() {
    let started = || {
        let mut sync = Synchronisation::new(CLIENT);
        sync.next_request(Holdings {
            cursor: Some("before".into()),
            ..Holdings::default()
        })
        .unwrap();
        sync
    };
    let checkpoint = || ResponseItem::Checkpoint {
        cursor: "here".into(),
    };
    let set = |cursor: &str| vec![Effect::SetCursor(Some(cursor.into()))];
    let mut sync = started();
    assert_eq!(receive_one(&mut sync, checkpoint()).unwrap(), set("here"));
    assert!(
        !sync.ended() && sync.finish().is_empty(),
        "nothing is complete before the end"
    );
    receive_one(&mut sync, end(Some("there"))).unwrap();
    assert!(sync.ended());
    assert_eq!(sync.finish(), set("there"));
    assert!(matches!(
        receive_one(&mut sync, checkpoint()),
        Err(ProtocolError::AfterEnd)
    ));
    let mut sync = started();
    assert_eq!(
        receive_one(
            &mut sync,
            ResponseItem::Reset {
                epoch: Uuid::from_u128(2)
            }
        )
        .unwrap(),
        [Effect::BeginReset]
    );
    assert_eq!(receive_one(&mut sync, checkpoint()).unwrap(), []);
    receive_one(&mut sync, end(Some("there"))).unwrap();
    assert_eq!(sync.finish(), []);
    assert!(
        sync.next_request(Holdings::default()).is_some(),
        "the new history is still to come"
    );
}

/// Something is missing here: only a pull from the start brings it, whatever cursor the answer has.
#[test]
fn a_change_of_what_is_not_held_is_followed_by_a_pull_from_the_start() {
    let identity = identity(1);
    let author = Author {
        identity: &identity,
        epoch: 1,
    };
    let edits = [
        Edit::set("kind", "shop_card"),
        Edit::set("street", "310104003"),
        Edit::set("grid", "A1"),
    ];
    let (_, made) =
        lianka_sync_core::crdt::record::Record::create(author.actor(), NOW, &edits).unwrap();
    let record = RecordId(Uuid::from_u128(7));
    let known = |generation, before_reset| {
        HashMap::from([(
            record,
            Known {
                generation,
                before_reset,
                leaving: false,
                at_office: false,
                beyond_cursor: false,
            },
        )])
    };
    let take = |known: HashMap<RecordId, Known>| {
        let mut sync = Synchronisation::new(CLIENT);
        sync.next_request(Holdings {
            known,
            ..Holdings::default()
        })
        .unwrap();
        let item = ResponseItem::Change {
            record,
            generation: 2,
            seq: 5,
            bytes: made.bytes.clone(),
        };
        let effects = receive_one(&mut sync, item).unwrap();
        receive_one(&mut sync, end(Some("there"))).unwrap();
        let last = sync.finish();
        let more = sync.next_request(Holdings::default()).is_some();
        (effects.len(), last, more)
    };
    let over = |effects| (effects, vec![Effect::SetCursor(None)], true);
    assert_eq!(take(HashMap::new()), over(0));
    assert_eq!(take(known(1, false)), over(0));
    assert_eq!(take(known(2, true)), over(0));
    assert_eq!(
        take(known(2, false)),
        (1, vec![Effect::SetCursor(Some("there".into()))], false)
    );
}

/// What follows such a block may build on it: nothing of it is believed, and the same is asked for once more, change by change.
#[test]
fn a_block_that_does_not_come_out_is_asked_for_as_changes() {
    let asked = |sync: &mut Synchronisation| {
        let request = sync.next_request(Holdings {
            cursor: Some("here".into()),
            ..Holdings::default()
        });
        request.map(|request| match &request.items[0] {
            RequestItem::Hello(hello) => (hello.cursor.clone(), hello.blocks),
            RequestItem::Change(_) => panic!("no hello"),
        })
    };
    let mut sync = Synchronisation::new(CLIENT);
    assert_eq!(asked(&mut sync), Some((Some("here".into()), 1)));
    let cursor = || "there".to_owned();
    let answer = [
        ResponseItem::Block { bytes: Vec::new() },
        ResponseItem::Leave {
            record: RecordId(Uuid::from_u128(7)),
        },
        ResponseItem::Checkpoint { cursor: cursor() },
        end(Some("there")),
    ];
    for item in answer {
        assert_eq!(receive_one(&mut sync, item).unwrap(), []);
    }
    assert_eq!(sync.finish(), []);
    assert_eq!(asked(&mut sync), Some((Some("here".into()), 0)));
    receive_one(&mut sync, end(Some("there"))).unwrap();
    assert_eq!(sync.finish(), [Effect::SetCursor(Some(cursor()))]);
    assert_eq!(asked(&mut sync), None);
}

/// An accepted change goes into the tail under the generation that it was made for.
#[test]
fn a_verdict_of_an_older_generation_moves_nothing_into_the_newer() {
    let sent = entry(1, 9);
    let known = HashMap::from([(
        sent.record,
        Known {
            generation: 1,
            before_reset: false,
            leaving: false,
            at_office: false,
            beyond_cursor: false,
        },
    )]);
    let mut sync = Synchronisation::new(CLIENT);
    sync.next_request(Holdings {
        outbox: vec![sent.clone()],
        known,
        ..Holdings::default()
    })
    .unwrap();
    let (record, grid) = (sent.record, "A1".to_owned());
    receive_one(
        &mut sync,
        ResponseItem::Snapshot {
            record,
            kind: Kind::ShopCard,
            grid,
            generation: 2,
            seq: 8,
            bytes: vec![],
        },
    )
    .unwrap();
    let effects = receive_one(&mut sync, verdict(0, &sent, VerdictStatus::Duplicate, "")).unwrap();
    assert!(
        matches!(effects[..], [Effect::Acknowledge { generation: 1, .. }]),
        "{effects:?}"
    );
}

/// What the server has, without saying where, stays beside every snapshot until one comes that is known to hold it.
#[test]
fn a_known_change_without_a_place_is_behind_every_snapshot() {
    let sent = entry(1, 9);
    let mut sync = Synchronisation::new(CLIENT);
    sync.next_request(Holdings {
        outbox: vec![sent.clone()],
        ..Holdings::default()
    })
    .unwrap();
    let ResponseItem::Verdict(known) = verdict(0, &sent, VerdictStatus::Duplicate, "") else {
        panic!("a verdict")
    };
    let effects = receive_one(
        &mut sync,
        ResponseItem::Verdict(Verdict { seq: None, ..known }),
    )
    .unwrap();
    let [Effect::Acknowledge { change, .. }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(
        change.seq,
        Some(i64::MAX as u64),
        "the greatest that the store can hold"
    );
}

/// What a former answer brought, which broke off: the cursor that is stored does not cover it before it came again.
#[test]
fn a_record_stays_beyond_the_cursor_until_it_comes_again() {
    let record = RecordId(Uuid::from_u128(7));
    let cursor = |cursor: &str| Some(cursor.to_owned());
    let began = || {
        let mut sync = Synchronisation::new(CLIENT);
        let held = Known {
            generation: 1,
            before_reset: false,
            leaving: false,
            at_office: true,
            beyond_cursor: true,
        };
        sync.next_request(Holdings {
            cursor: cursor("here"),
            known: HashMap::from([(record, held)]),
            ..Holdings::default()
        })
        .unwrap();
        sync
    };
    let checkpoint = || ResponseItem::Checkpoint {
        cursor: "there".into(),
    };
    let again = ResponseItem::Snapshot {
        record,
        kind: Kind::ShopCard,
        grid: "A1".into(),
        generation: 1,
        seq: 5,
        bytes: Vec::new(),
    };

    let mut sync = began();
    assert_eq!(
        receive_one(&mut sync, checkpoint()).unwrap(),
        [
            Effect::SetCursor(cursor("there")),
            Effect::StayBeyond { record }
        ]
    );
    receive_one(&mut sync, again).unwrap();
    assert_eq!(
        receive_one(&mut sync, checkpoint()).unwrap(),
        [Effect::SetCursor(cursor("there"))]
    );
    receive_one(&mut sync, end(Some("behind"))).unwrap();
    assert_eq!(sync.finish(), [Effect::SetCursor(cursor("behind"))]);

    for (item, then) in [
        (None, None),
        (Some(ResponseItem::Erase { record }), cursor("behind")),
    ] {
        let mut sync = began();
        if let Some(item) = item {
            receive_one(&mut sync, item).unwrap();
        }
        receive_one(&mut sync, end(Some("behind"))).unwrap();
        assert_eq!(sync.finish(), [Effect::SetCursor(then)]);
    }
}

#[test]
fn a_history_that_was_written_anew_takes_the_old_one_away() {
    let record = RecordId(Uuid::from_u128(1));
    let known = Known {
        generation: 1,
        before_reset: false,
        leaving: false,
        at_office: true,
        beyond_cursor: false,
    };
    for (generation, expected) in [(1, false), (2, true)] {
        let mut sync = Synchronisation::new(CLIENT);
        let holdings = Holdings {
            cursor: Some("c".into()),
            known: HashMap::from([(record, known)]),
            ..Holdings::default()
        };
        assert!(sync.next_request(holdings).is_some());
        let snapshot = ResponseItem::Snapshot {
            record,
            kind: Kind::ShopCard,
            grid: "A1".into(),
            generation,
            seq: 2,
            bytes: vec![1],
        };
        let effects = receive_one(&mut sync, snapshot).unwrap();
        assert_eq!(sync.must_scrub(&effects), expected);
        assert!(!sync.must_scrub(&[]), "told once");
    }
}
