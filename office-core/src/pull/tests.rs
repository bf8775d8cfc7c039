//! What a pull answers, scope by scope, over answers written by hand.

use super::*;

const EPOCH: Uuid = Uuid::from_u128(1);

fn record(n: u128) -> RecordId {
    RecordId(Uuid::from_u128(n))
}

fn street() -> StreetCode {
    "310104003".parse().expect("a street code")
}

fn cursor(sequence: u64, scope_epoch: i64, downloading: bool) -> String {
    let cursor = Cursor {
        store_epoch: EPOCH,
        street: street().as_str().to_owned(),
        sequence,
        scope_epoch,
        downloading,
    };
    cursor.encode()
}

fn question(cursor: Option<String>) -> Question {
    Question {
        street: street(),
        store_epoch: EPOCH,
        head: 10,
        scope: Scope::of(Role::Secretary, 2, vec!["A1".into(), "A2".into()]),
        device: DeviceId(Uuid::from_u128(9)),
        wiped: false,
        more_to_come: false,
        verdicts: Vec::new(),
        pull: true,
        kinds: Kind::ALL.to_vec(),
        blocks: false,
        cursor,
        lease_seconds: 60,
        pages: Pages {
            documents: 2,
            log: 2,
            block_numbers: 4,
            block_changes_min: 2,
            notices: 5,
        },
    }
}

fn refused(n: u128) -> Verdict {
    Verdict {
        index: 0,
        hash: None,
        record: record(n),
        status: VerdictStatus::Rejected,
        seq: None,
        code: None,
        field: None,
        message: None,
        retryable: false,
    }
}

fn document(n: u128, seq: i64) -> Document {
    Document {
        record: record(n),
        kind: Kind::ShopCard,
        grid: "A1".into(),
        generation: 1,
        seq,
        bytes: Vec::new(),
        holds_p3: false,
    }
}

/// A store that holds these documents, and says nothing to what a test does not ask of it.
fn nothing(read: &Read, documents: &[(u128, i64)]) -> Answer {
    match read {
        Read::Notices { .. } => Answer::Notices(Vec::new()),
        Read::Forgotten { .. } => Answer::Forgotten(Vec::new()),
        Read::GridsAt { .. } => Answer::GridsAt(Vec::new()),
        Read::Gone(_) => Answer::Gone {
            departures: Vec::new(),
            redactions: Vec::new(),
        },
        Read::Outside { .. } => Answer::Outside(Vec::new()),
        Read::Documents(page) => {
            let there = |(n, seq): &&(u128, i64)| {
                *seq > page.after
                    && page
                        .records
                        .as_ref()
                        .is_none_or(|records| records.contains(&record(*n)))
            };
            let found = documents.iter().filter(there).take(page.limit);
            Answer::Documents(found.map(|(n, seq)| document(*n, *seq)).collect())
        }
        Read::Advances(_) => Answer::Advances(Vec::new()),
        Read::Changes { .. } => Answer::Changes(Vec::new()),
    }
}

fn answered(question: Question, mut store: impl FnMut(&Read) -> Answer) -> Vec<String> {
    let mut pull = Pull::new(question);
    let mut said = Vec::new();
    loop {
        let next = pull.next(ServerTime::from_unix_ms(0), true);
        said.push(match next {
            Next::Done => return said,
            Next::Page(part) => {
                let snapshot = |document: &Document| {
                    format!(
                        "snapshot {} at {}",
                        document.record.0.as_u128(),
                        document.seq
                    )
                };
                said.extend(part.documents().iter().map(snapshot));
                continue;
            }
            Next::Run(run) => {
                let changes = run.0.iter().map(|change| change.seq.to_string());
                format!("block of {}", changes.collect::<Vec<_>>().join(" "))
            }
            Next::Read(read) => {
                let answer = store(&read);
                pull.answer(answer);
                continue;
            }
            Next::Tell { records } => format!("told of {records}"),
            Next::Item(item) => match item {
                ResponseItem::Snapshot { record, seq, .. } => {
                    format!("snapshot {} at {seq}", record.0.as_u128())
                }
                ResponseItem::Change { record, seq, .. } => {
                    format!("change {} at {seq}", record.0.as_u128())
                }
                ResponseItem::Leave { record } => format!("leave {}", record.0.as_u128()),
                ResponseItem::Checkpoint { cursor } => {
                    let cursor = Cursor::decode(&cursor).expect("a cursor");
                    let (at, scope) = (cursor.sequence, cursor.scope_epoch);
                    let of = if cursor.downloading {
                        "download"
                    } else {
                        "log"
                    };
                    format!("checkpoint {at} of the {of}, scope {scope}")
                }
                ResponseItem::End {
                    cursor: Some(_), ..
                } => "end".into(),
                ResponseItem::End { cursor: None, .. } => "end without a cursor".into(),
                ResponseItem::Verdict(_) => "verdict".into(),
                ResponseItem::Wipe => "wipe".into(),
                ResponseItem::Reset { .. } => "reset".into(),
                item => format!("{item:?}"),
            },
        });
    }
}

#[test]
fn a_download_comes_in_pages_and_no_checkpoint_lies_beyond_the_head() {
    let store = [(1, 4), (2, 9), (3, 12)];
    let said = answered(question(None), |read| nothing(read, &store));
    let expected = [
        "snapshot 1 at 4",
        "snapshot 2 at 9",
        "checkpoint 9 of the download, scope 2",
        "snapshot 3 at 12",
        "checkpoint 10 of the download, scope 2",
        "end",
    ];
    assert_eq!(said, expected);
    let resumed = answered(question(Some(cursor(9, 2, true))), |read| {
        nothing(read, &store)
    });
    assert_eq!(
        resumed,
        [
            "snapshot 3 at 12",
            "checkpoint 10 of the download, scope 2",
            "end"
        ]
    );
}

#[test]
fn large_documents_come_in_parts() {
    let said = answered(question(None), |read| match read {
        Read::Documents(page) if page.after == 0 => {
            let large = |n| Document {
                bytes: vec![0; PART_BYTES],
                ..document(n, n as i64)
            };
            Answer::Documents([large(1), large(2)].into())
        }
        read => nothing(read, &[]),
    });
    let expected = [
        "snapshot 1 at 1",
        "checkpoint 1 of the download, scope 2",
        "snapshot 2 at 2",
        "checkpoint 2 of the download, scope 2",
        "end",
    ];
    assert_eq!(said, expected);
}

#[test]
fn what_is_rebased_comes_once() {
    let store = [(1, 7), (2, 8), (3, 9)];
    let asked = |cursor| Question {
        verdicts: vec![refused(1)],
        ..question(cursor)
    };
    let said = answered(asked(Some(cursor(5, 2, false))), |read| match read {
        Read::Advances(_) => {
            let advance = |n, entries, arrived| Advance {
                record: record(n),
                kind: Kind::ShopCard,
                entries,
                arrived,
                holds_p3: n != 2,
            };
            Answer::Advances(vec![
                advance(1, 1, true),
                advance(2, limits::TAIL_CHANGES_MAX as i64 + 1, false),
                advance(3, 1, false),
            ])
        }
        Read::Changes { slice, .. } => {
            let all = [(1, 6), (2, 7), (3, 8), (1, 9)];
            let beyond = all.iter().filter(|(_, seq)| *seq > slice.after).take(2);
            let change = |(n, seq): &(u128, i64)| LogChange {
                seq: *seq,
                record: record(*n),
                generation: 1,
                bytes: Some(Vec::new().into()),
                brought: false,
            };
            Answer::Changes(beyond.map(change).collect())
        }
        read => nothing(read, &store),
    });
    let expected = [
        "verdict",
        "snapshot 1 at 7",
        "snapshot 2 at 8",
        "change 3 at 8",
        "checkpoint 8 of the log, scope 2",
        "told of 2",
        "end",
    ];
    assert_eq!(said, expected);
    let whole = answered(asked(None), |read| nothing(read, &store));
    let times = |word: &str| whole.iter().filter(|said| *said == word).count();
    assert_eq!(
        (times("snapshot 1 at 7"), times("snapshot 2 at 8")),
        (1, 1),
        "{whole:?}"
    );
}

#[test]
fn what_was_trimmed_meanwhile_comes_whole_before_the_next_checkpoint() {
    let said = answered(question(Some(cursor(5, 2, false))), |read| match read {
        Read::Advances(_) => Answer::Advances(
            [1, 2]
                .map(|n| Advance {
                    record: record(n),
                    kind: Kind::ShopCard,
                    entries: 1,
                    arrived: false,
                    holds_p3: false,
                })
                .into(),
        ),
        Read::Changes { slice, .. } if slice.after == 5 => Answer::Changes(
            [(1, 6), (2, 7)]
                .map(|(n, seq)| LogChange {
                    seq,
                    record: record(n),
                    generation: 1,
                    bytes: (n == 2).then(|| Vec::new().into()),
                    brought: false,
                })
                .into(),
        ),
        read => nothing(read, &[(1, 6), (2, 7)]),
    });
    let expected = [
        "snapshot 1 at 6",
        "change 2 at 7",
        "checkpoint 7 of the log, scope 2",
        "end",
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_scope_that_moved_is_known_once_its_gains_have_come() {
    let said = answered(question(Some(cursor(5, 1, false))), |read| match read {
        Read::GridsAt { epoch: 1 } => Answer::GridsAt(vec!["A0".into(), "A1".into()]),
        Read::Gone(gone) => {
            assert_eq!(gone.lost, ["A0"]);
            let seen = gone.seen.as_ref().expect("grids");
            assert!(seen.contains(&"A0".into()) && seen.contains(&"A2".into()));
            let departure = Departure {
                record: record(7),
                erased: false,
            };
            Answer::Gone {
                departures: vec![departure],
                redactions: Vec::new(),
            }
        }
        Read::Advances(slice) => {
            assert_eq!(slice.grids.as_deref(), Some(&["A1".to_owned()][..]));
            Answer::Advances(vec![Advance {
                record: record(1),
                kind: Kind::ShopCard,
                entries: 1,
                arrived: false,
                holds_p3: false,
            }])
        }
        Read::Changes { .. } => Answer::Changes(vec![LogChange {
            seq: 6,
            record: record(1),
            generation: 1,
            bytes: Some(Vec::new().into()),
            brought: false,
        }]),
        Read::Documents(page) => {
            assert_eq!(page.grids.as_deref(), Some(&["A2".to_owned()][..]));
            nothing(read, &[(3, 2)])
        }
        read => nothing(read, &[]),
    });
    let expected = [
        "leave 7",
        "change 1 at 6",
        "checkpoint 6 of the log, scope 1",
        "snapshot 3 at 2",
        "checkpoint 2 of the download, scope 2",
        "end",
    ];
    assert_eq!(said, expected);
}

#[test]
fn who_gets_nothing_is_told_why() {
    let no_store = |_: &Read| -> Answer { panic!("nothing is read") };
    let elsewhere = answered(question(Some("x".into())), no_store);
    assert_eq!(elsewhere, ["reset", "end without a cursor"]);
    let wiped = |more_to_come| Question {
        wiped: true,
        more_to_come,
        ..question(None)
    };
    assert_eq!(
        answered(wiped(false), no_store),
        ["wipe", "end without a cursor"]
    );
    assert_eq!(answered(wiped(true), no_store), ["end without a cursor"]);
    let pushed = Question {
        pull: false,
        verdicts: vec![refused(1)],
        ..question(None)
    };
    assert_eq!(
        answered(pushed, no_store),
        ["verdict", "end without a cursor"]
    );
}

#[test]
fn a_phone_that_lacks_nothing_costs_no_read() {
    let said = answered(question(Some(cursor(10, 2, false))), |read| {
        panic!("{read:?} is read")
    });
    assert_eq!(said, ["end"]);
}

#[test]
fn an_answer_to_another_question_is_no_whole_answer() {
    let said = answered(question(None), |_| Answer::Advances(Vec::new()));
    assert_eq!(said, Vec::<String>::new());
}

/// What the log holds for a device that reads blocks: the records of `log`, one number each from 6 on; it brought those of `own`.
fn in_blocks(log: &[u128], own: &[i64], pages: Pages) -> Vec<String> {
    let advances: BTreeSet<_> = (6..)
        .zip(log)
        .filter(|(seq, _)| !own.contains(seq))
        .map(|(_, n)| *n)
        .collect();
    let brought = own.iter().map(|seq| Verdict {
        status: VerdictStatus::Accepted,
        seq: Some(seq.unsigned_abs()),
        ..refused(99)
    });
    let asked = Question {
        blocks: true,
        head: 30,
        verdicts: brought.collect(),
        pages,
        ..question(Some(cursor(5, 2, false)))
    };
    let said = answered(asked, |read| match read {
        Read::Advances(slice) => {
            assert!(!slice.with_brought);
            let advance = |n: &u128| Advance {
                record: record(*n),
                kind: Kind::ShopCard,
                entries: 1,
                arrived: false,
                holds_p3: false,
            };
            Answer::Advances(advances.iter().map(advance).collect())
        }
        Read::Changes { slice, limit } => {
            assert!(slice.with_brought);
            let beyond = (6..).zip(log).filter(|(seq, _)| *seq > slice.after);
            let change = |(seq, n): (i64, &u128)| LogChange {
                seq,
                record: record(*n),
                generation: 1,
                bytes: Some(Vec::new().into()),
                brought: own.contains(&seq),
            };
            Answer::Changes(beyond.take(*limit).map(change).collect())
        }
        read => nothing(read, &[]),
    });
    let of_the_log = |said: &&String| said.starts_with("block") || said.starts_with("change");
    said.iter().filter(of_the_log).cloned().collect()
}

#[test]
fn who_reads_blocks_is_sent_the_same_as_others_whatever_its_cursor() {
    let pages = Pages {
        log: 8,
        ..question(None).pages
    };
    // Four numbers of the log to a block, where there is enough for one.
    let log = [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3];
    let said = in_blocks(&log, &[], pages);
    let expected = [
        "block of 6 7",
        "block of 8 9 10 11",
        "block of 12 13 14 15",
        "block of 16 17 18 19",
        "change 3 at 20",
    ];
    assert_eq!(said, expected);
    // A page that ends within a block is read again from there.
    let small = Pages { log: 5, ..pages };
    assert_eq!(in_blocks(&log, &[], small), expected);
    // Unless it holds nothing else.
    let tiny = Pages { log: 3, ..pages };
    let of_tiny = in_blocks(&log, &[], tiny);
    assert_eq!(
        of_tiny[..3],
        ["block of 6 7", "block of 8 9 10", "change 2 at 11"]
    );
}

#[test]
fn a_devices_own_changes_stay_in_a_block_where_they_are_few() {
    let pages = Pages {
        log: 50,
        block_numbers: 8,
        ..question(None).pages
    };
    let log = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
    // Numbers 8 to 15 are one block; of those two are a quarter.
    assert_eq!(
        in_blocks(&log, &[8, 9], pages),
        ["block of 6 7", "block of 8 9 10 11 12 13 14 15"]
    );
    assert_eq!(
        in_blocks(&log, &[8, 9, 10], pages),
        ["block of 6 7", "block of 11 12 13 14 15"]
    );
    assert_eq!(
        in_blocks(&log, &[6, 8, 9, 10, 11, 12, 13, 14], pages),
        ["change 2 at 7", "change 10 at 15"]
    );
    assert_eq!(in_blocks(&log[..2], &[6, 7], pages), Vec::<String>::new());
}

#[test]
fn a_large_change_goes_by_itself() {
    let asked = Question {
        blocks: true,
        ..question(Some(cursor(5, 2, false)))
    };
    let change = |seq: i64, bytes: usize| LogChange {
        seq,
        record: record(1),
        generation: 1,
        bytes: Some(vec![0; bytes].into()),
        brought: false,
    };
    let pages = Pages {
        log: 9,
        block_numbers: 100,
        ..asked.pages
    };
    let said = answered(Question { pages, ..asked }, |read| match read {
        Read::Advances(_) => Answer::Advances(vec![Advance {
            record: record(1),
            kind: Kind::ShopCard,
            entries: 1,
            arrived: false,
            holds_p3: false,
        }]),
        Read::Changes { .. } => {
            let large = limits::BLOCK_CHANGE_BYTES_MAX + 1;
            let changes = [(6, 1), (7, 1), (8, large), (9, 1), (10, 1)];
            Answer::Changes(changes.map(|(seq, bytes)| change(seq, bytes)).into())
        }
        read => nothing(read, &[]),
    });
    let expected = [
        "block of 6 7",
        "checkpoint 7 of the log, scope 2",
        "change 1 at 8",
        "checkpoint 8 of the log, scope 2",
        "block of 9 10",
        "checkpoint 10 of the log, scope 2",
        "end",
    ];
    assert_eq!(said, expected);
}
