//! Each checker passes an honest story and finds a doctored one.

use std::collections::BTreeMap;

use automerge::{ActorId, AutoCommit, ObjType, ROOT, ReadDoc, transaction::Transactable};
use uuid::Uuid;

use super::*;
use crate::{
    Coverage,
    journal::{Did, Event, Journal, Line, PhoneEvidence, PhoneNo, PhoneRecord, Saw},
    office::{
        Act, Acted, ChoiceLine, Evidence, HeldLine, LogLine, MergeLine, NoticeLine, OfficeRecord,
        Shown,
    },
};

const CARD: Uuid = Uuid::from_u128(0xca4d);
const DESK: Uuid = Uuid::from_u128(0xde5c);

fn phone_device(phone: usize) -> Uuid {
    Uuid::from_u128(0x1000 + phone as u128)
}

#[expect(
    clippy::disallowed_methods,
    reason = "every copy gets its actor before anything is written"
)]
fn unsigned() -> AutoCommit {
    AutoCommit::new()
}

fn actor(device: Uuid) -> ActorId {
    ActorId::from([device.as_bytes().as_slice(), &[0, 0, 0, 1]].concat())
}

/// A run made by hand: every edit goes up at once and is accepted, unless a test says otherwise.
struct Hand {
    setup: Setup,
    story: Story,
    document: AutoCommit,
    seq: u64,
}

impl Hand {
    fn new() -> Self {
        let setup = Setup {
            street: "310104003".into(),
            grids: vec!["A1".into(), "A2".into()],
            roads: Vec::new(),
            secretaries: vec![
                ("xuna".into(), vec!["A1".into()]),
                ("lihua".into(), vec!["A1".into()]),
            ],
            log_days: 30,
        };
        let evidence = Evidence {
            epoch: Uuid::from_u128(7),
            head: 0,
            log: Vec::new(),
            records: BTreeMap::new(),
            held: Vec::new(),
            conflicts: Vec::new(),
            notices: Vec::new(),
            choices: Vec::new(),
            merges: Vec::new(),
            joins: Vec::new(),
            told: Vec::new(),
            audit: Vec::new(),
            rows_differ: None,
            stored: Vec::new(),
        };
        let story = Story {
            seed: 0,
            journal: Journal::default(),
            phones: Vec::new(),
            evidence,
            coverage: Coverage::default(),
            alarms: Vec::new(),
        };
        let mut hand = Self {
            setup,
            story,
            document: unsigned(),
            seq: 0,
        };
        for (phone, username) in ["xuna", "lihua"].into_iter().enumerate() {
            hand.tell(Event::Enrolled {
                phone: PhoneNo(phone),
                username: username.into(),
                device: phone_device(phone),
            });
        }
        hand
    }

    fn tell(&mut self, event: Event) {
        let at_unix_ms = self.story.journal.lines.len() as i64;
        self.story.journal.lines.push(Line { at_unix_ms, event });
    }

    /// A copy of the document that a device writes to.
    fn copy(&mut self, device: Uuid) -> AutoCommit {
        self.document.fork().with_actor(actor(device))
    }

    /// What a phone wrote to its copy goes up.
    fn push(
        &mut self,
        phone: usize,
        copy: &mut AutoCommit,
        did: Vec<Did>,
        creating: bool,
    ) -> (String, Vec<u8>) {
        copy.commit();
        let mut change = copy.get_last_local_change().unwrap();
        let (hash, bytes) = (change.hash().to_string(), change.bytes().to_vec());
        let saved = Event::Saved {
            phone: PhoneNo(phone),
            record: CARD,
            creating,
            kind: "shop_card".into(),
            did,
            saw: Vec::new(),
            hash: Some(hash.clone()),
        };
        self.tell(saved);
        self.tell(Event::Arrived {
            device: phone_device(phone),
            record: CARD,
            generation: 1,
            bytes: bytes.clone(),
        });
        (hash, bytes)
    }

    fn verdict(
        &mut self,
        phone: usize,
        hash: &str,
        status: &str,
        code: Option<&str>,
        seq: Option<u64>,
    ) {
        let (status, code) = (status.to_owned(), code.map(str::to_owned));
        self.tell(Event::Verdict {
            device: phone_device(phone),
            record: CARD,
            hash: hash.into(),
            status,
            code,
            seq,
        });
    }

    fn accept(
        &mut self,
        phone: usize,
        copy: &mut AutoCommit,
        did: Vec<Did>,
        creating: bool,
    ) -> String {
        let (hash, bytes) = self.push(phone, copy, did, creating);
        self.seq += 1;
        self.verdict(phone, &hash, "accepted", None, Some(self.seq));
        self.document.load_incremental(&bytes).unwrap();
        self.story.evidence.log.push(LogLine {
            seq: self.seq,
            what: "change".into(),
            record: CARD,
            hash: Some(hash.clone()),
        });
        hash
    }

    fn edit(&mut self, phone: usize, copy: &mut AutoCommit, key: &str, value: &str) -> String {
        copy.put(ROOT, key, value).unwrap();
        self.accept(phone, copy, vec![put(key, value)], false)
    }

    fn create(&mut self) {
        let mut copy = self.copy(phone_device(0));
        for (key, value) in [
            ("kind", "shop_card"),
            ("street", "310104003"),
            ("grid", "A1"),
            ("sign_name", "v1"),
        ] {
            copy.put(ROOT, key, value).unwrap();
        }
        copy.put_object(ROOT, "note", ObjType::Text).unwrap();
        self.accept(0, &mut copy, vec![put("sign_name", "v1")], true);
    }

    /// What is there when all is quiet.
    fn quiet(mut self) -> (Setup, Story) {
        let document = self.document.save();
        let read = bytes::document(&document).unwrap();
        let mut fields: BTreeMap<String, Vec<Shown>> = BTreeMap::new();
        for (key, values) in &read.fields {
            let shown = values.iter().map(|((_, actor), value)| Shown {
                value: value.clone(),
                device: bytes::device(actor),
            });
            let mut shown: Vec<_> = shown.collect();
            shown.sort();
            if shown.iter().any(|one| one.value != shown[0].value) && rules::keeps_conflicts(key) {
                self.story.evidence.conflicts.push((CARD, key.clone()));
            }
            fields.insert(key.clone(), shown);
        }
        fields.insert(
            "note".into(),
            vec![Shown {
                value: read.note.clone().unwrap_or_default(),
                device: Uuid::nil(),
            }],
        );
        let grid = read.text("grid").unwrap().to_owned();
        let won = read.won.clone();
        self.story.evidence.head = self.seq;
        for line in &self.story.evidence.log {
            let author = self
                .story
                .journal
                .lines
                .iter()
                .find_map(|told| match &told.event {
                    Event::Verdict { hash, device, .. } if Some(hash) == line.hash.as_ref() => {
                        Some(*device)
                    }
                    _ => None,
                });
            let username = if author == Some(phone_device(0)) {
                "xuna"
            } else {
                "lihua"
            };
            self.story.evidence.told.push(serde_json::json!({
                "username": username,
                "action": "content",
                "record": null,
                "detail": { "changes": [[line.seq, line.record, line.hash]] },
            }));
        }
        let record = OfficeRecord {
            kind: "shop_card".into(),
            grid: grid.clone(),
            generation: 1,
            fields: fields.clone(),
            won: won.clone(),
            sealed: BTreeMap::new(),
            document,
        };
        self.story.evidence.records.insert(CARD, record);
        for (phone, username) in ["xuna", "lihua"].into_iter().enumerate() {
            self.story.phones.push(PhoneEvidence {
                phone: PhoneNo(phone),
                username: username.into(),
                device: phone_device(phone),
                gone: false,
                grids: vec!["A1".into()],
                records: BTreeMap::from([(
                    CARD,
                    PhoneRecord {
                        generation: 1,
                        grid: grid.clone(),
                        fields: fields.clone(),
                        won: won.clone(),
                    },
                )]),
                outbox: Vec::new(),
                drafts: Vec::new(),
                was_older: false,
                notices: Vec::new(),
                file: b"SQLite".to_vec(),
            });
        }
        (self.setup, self.story)
    }
}

fn put(key: &str, value: &str) -> Did {
    Did::Put {
        key: key.into(),
        value: value.into(),
    }
}

/// A card, two values side by side, one of them edited again, a tag put and taken.
fn honest() -> Hand {
    let mut hand = Hand::new();
    hand.create();
    let (mut one, mut two) = (hand.copy(phone_device(0)), hand.copy(phone_device(1)));
    hand.edit(0, &mut one, "sign_name", "v2");
    hand.edit(1, &mut two, "sign_name", "v3z");
    hand.edit(0, &mut one, "opening_hours", "v4");
    hand.edit(0, &mut one, "opening_hours", "v5");
    hand
}

fn promises((setup, story): &(Setup, Story)) -> Vec<&'static str> {
    let mut promises: Vec<_> = check(setup, story)
        .into_iter()
        .map(|finding| finding.promise)
        .collect();
    promises.sort_unstable();
    promises.dedup();
    promises
}

#[track_caller]
fn finds(promise: &str, doctored: &(Setup, Story)) {
    let found = promises(doctored);
    assert!(
        found.contains(&promise),
        "{promise:?} is not among {found:?}"
    );
}

/// The honest story after `doctor` falsified the evidence.
fn doctored(doctor: impl FnOnce(&mut Story)) -> (Setup, Story) {
    let mut simulation = honest().quiet();
    doctor(&mut simulation.1);
    simulation
}

fn office(story: &mut Story) -> &mut OfficeRecord {
    story.evidence.records.get_mut(&CARD).unwrap()
}

#[test]
fn an_honest_story_passes() {
    let simulation = honest().quiet();
    assert_eq!(check(&simulation.0, &simulation.1), []);
    assert_eq!(
        simulation.1.evidence.conflicts,
        [(CARD, "sign_name".to_owned())]
    );
}

#[test]
fn lost_and_foreign_values_are_found() {
    finds(
        "document and registers are one",
        &doctored(|story| drop(office(story).fields.remove("opening_hours"))),
    );
    finds(
        "no acknowledged edit is lost",
        &doctored(|story| story.evidence.records.clear()),
    );
    // A change that everybody acknowledged, and that the document lacks.
    let mut hand = honest();
    let mut lacking = hand.document.clone();
    let mut copy = hand.copy(phone_device(1));
    hand.edit(1, &mut copy, "legal_name", "v6");
    std::mem::swap(&mut hand.document, &mut lacking);
    finds("no acknowledged edit is lost", &hand.quiet());
    // And the other way round: refused, and there all the same.
    let mut hand = honest();
    let mut copy = hand.copy(phone_device(1));
    copy.put(ROOT, "legal_name", "v6").unwrap();
    let (hash, bytes) = hand.push(1, &mut copy, vec![put("legal_name", "v6")], false);
    hand.verdict(1, &hash, "rejected", Some("stale_generation"), None);
    hand.document.load_incremental(&bytes).unwrap();
    finds("no refused edit is applied", &hand.quiet());
}

#[test]
fn a_saved_edit_must_be_somewhere() {
    let unanswered = |then: &dyn Fn(&mut Story)| {
        let mut hand = honest();
        let mut copy = hand.copy(phone_device(1));
        copy.put(ROOT, "legal_name", "v6").unwrap();
        hand.push(1, &mut copy, vec![put("legal_name", "v6")], false);
        let mut simulation = hand.quiet();
        then(&mut simulation.1);
        simulation
    };
    finds("no saved edit is lost", &unanswered(&|_| ()));
    let draft = |story: &mut Story| {
        story.phones[1].drafts.push((
            CARD,
            "stale_generation".into(),
            vec![put("legal_name", "v6")],
        ));
    };
    assert!(promises(&unanswered(&draft)).is_empty());
    let lost = |story: &mut Story| {
        story.phones[1].gone = true;
        story.journal.lines.push(Line {
            at_unix_ms: 99,
            event: Event::PhoneLost { phone: PhoneNo(1) },
        });
    };
    assert!(promises(&unanswered(&lost)).is_empty());
    let crashed = |story: &mut Story| {
        story.journal.lines.push(Line {
            at_unix_ms: 99,
            event: Event::PhoneCrashed { phone: PhoneNo(1) },
        });
    };
    finds("no saved edit is lost", &unanswered(&crashed));
    let dropped = |story: &mut Story| {
        let event = Event::DraftDropped {
            phone: PhoneNo(1),
            record: CARD,
            did: vec![put("legal_name", "v6")],
        };
        story.journal.lines.push(Line {
            at_unix_ms: 99,
            event,
        });
    };
    assert!(promises(&unanswered(&dropped)).is_empty());
}

#[test]
fn replicas_that_differ_are_found() {
    finds(
        "replicas and office are equal",
        &doctored(|story| {
            drop(
                story.phones[1]
                    .records
                    .get_mut(&CARD)
                    .unwrap()
                    .fields
                    .remove("sign_name"),
            );
        }),
    );
    finds(
        "phones miss nothing of their grids",
        &doctored(|story| story.phones[1].records.clear()),
    );
    finds(
        "phones miss nothing of their grids",
        &doctored(|story| story.phones[1].grids.push("A2".into())),
    );
    finds(
        "phones hold nothing outside their grids",
        &doctored(|story| office(story).grid = "A2".into()),
    );
    let unsent = |story: &mut Story| {
        story.phones[0]
            .outbox
            .push((CARD, "aa".into(), "unsent".into(), vec![put("lane", "v9")]));
    };
    finds("every edit gets its answer", &doctored(unsent));
}

#[test]
fn conflicts_are_held_to_the_values() {
    finds(
        "conflicts are complete and real",
        &doctored(|story| story.evidence.conflicts.clear()),
    );
    finds(
        "conflicts are complete and real",
        &doctored(|story| {
            story
                .evidence
                .conflicts
                .push((CARD, "opening_hours".into()));
        }),
    );
}

#[test]
fn numbers_are_held_to_the_log() {
    finds(
        "the log has no gap and no repetition",
        &doctored(|story| drop(story.evidence.log.remove(2))),
    );
    finds(
        "the log has no gap and no repetition",
        &doctored(|story| story.evidence.log[3].seq = 3),
    );
    finds(
        "the log has no gap and no repetition",
        &doctored(|story| story.evidence.head = 2),
    );
    let swapped = |story: &mut Story| {
        let hash = story.evidence.log[1].hash.clone();
        story.evidence.log[1].hash = story.evidence.log[2].hash.clone();
        story.evidence.log[2].hash = hash;
    };
    finds("the log has no gap and no repetition", &doctored(swapped));
    let repeated = |story: &mut Story| {
        for line in &mut story.journal.lines {
            if let Event::Verdict { seq, .. } = &mut line.event {
                *seq = seq.map(|seq| seq.min(2));
            }
        }
    };
    finds("numbers rise without repetition", &doctored(repeated));
}

#[test]
fn crossed_authority_is_found() {
    // A grid that the user does not work.
    let mut hand = honest();
    hand.tell(Event::Acted {
        act: Act::Assign {
            username: "lihua".into(),
            grids: vec!["A2".into()],
        },
        acted: Acted::Done,
    });
    let mut copy = hand.copy(phone_device(1));
    hand.edit(1, &mut copy, "lane", "v7");
    finds("authority is never crossed", &hand.quiet());
    // A field that is the office's.
    let mut hand = honest();
    let mut copy = hand.copy(phone_device(1));
    hand.edit(1, &mut copy, "grid", "A2");
    finds("authority is never crossed", &hand.quiet());
    // In another device's name.
    let mut hand = honest();
    let mut copy = hand.copy(phone_device(0));
    hand.edit(1, &mut copy, "lane", "v7");
    finds("authority is never crossed", &hand.quiet());
    // Something that is written once.
    let mut hand = honest();
    let key = format!("consent/{}/scope", Uuid::from_u128(5));
    let (mut one, mut two) = (hand.copy(phone_device(0)), hand.copy(phone_device(1)));
    hand.edit(0, &mut one, &key, "v7");
    hand.edit(1, &mut two, &key, "v8");
    let simulation = hand.quiet();
    finds("authority is never crossed", &simulation);
    finds("written once", &simulation);
}

#[test]
fn honest_edits_must_be_taken_and_decisions_last() {
    let refused = |status: &'static str, code: Option<&'static str>| {
        let mut hand = honest();
        let mut copy = hand.copy(phone_device(1));
        copy.put(ROOT, "lane", "v7").unwrap();
        let (hash, _) = hand.push(1, &mut copy, vec![put("lane", "v7")], false);
        hand.verdict(1, &hash, status, code, None);
        hand.quiet()
    };
    for (status, code) in [
        ("rejected", Some("bad_start_op")),
        ("rejected", Some("not_your_grid")),
        ("rejected", Some("erased")),
        ("held", None),
    ] {
        finds("honest edits are taken", &refused(status, code));
    }
    finds(
        "duplicates were accepted before",
        &refused("duplicate", None),
    );
    finds(
        "what was decided is final",
        &refused("rejected", Some("held_refused")),
    );
    // Held for a grid that was taken away, refused by a reviewer, and accepted all the same.
    let mut hand = honest();
    hand.tell(Event::Acted {
        act: Act::Assign {
            username: "lihua".into(),
            grids: vec!["A2".into()],
        },
        acted: Acted::Done,
    });
    let mut copy = hand.copy(phone_device(1));
    copy.put(ROOT, "lane", "v7").unwrap();
    let (hash, bytes) = hand.push(1, &mut copy, vec![put("lane", "v7")], false);
    hand.verdict(1, &hash, "held", Some("grid_lost"), None);
    let held = |status: &str| HeldLine {
        record: CARD,
        hash: hash.clone(),
        status: status.into(),
        note: None,
    };
    hand.tell(Event::Acted {
        act: Act::Held {
            held: (CARD, hash.clone()),
            accept: false,
        },
        acted: Acted::Done,
    });
    hand.story.evidence.held.push(held("held"));
    hand.tell(Event::Acted {
        act: Act::Assign {
            username: "lihua".into(),
            grids: vec!["A1".into()],
        },
        acted: Acted::Done,
    });
    hand.seq += 1;
    hand.verdict(1, &hash, "accepted", None, Some(hand.seq));
    hand.document.load_incremental(&bytes).unwrap();
    finds("what was decided is final", &hand.quiet());
}

#[test]
fn what_was_done_must_be_told() {
    finds(
        "the audit trail tells every act",
        &doctored(|story| drop(story.evidence.told.pop())),
    );
    finds(
        "the audit trail tells every act",
        &doctored(|story| story.evidence.told[0]["username"] = serde_json::Value::Null),
    );
    let chosen = |told: bool, remembered: bool| {
        let mut hand = honest();
        hand.tell(Event::Acted {
            act: Act::Resolve {
                record: CARD,
                field: "sign_name".into(),
                nth: 0,
                instead: None,
                looked_at: None,
            },
            acted: Acted::Done,
        });
        let mut simulation = hand.quiet();
        let evidence = &mut simulation.1.evidence;
        evidence.told.push(serde_json::json!({
            "username": "shen.he", "action": "resolution", "record": CARD, "detail": {},
        }));
        if remembered {
            evidence.choices.push(ChoiceLine {
                record: CARD,
                field: "sign_name".into(),
                hash: "ab".into(),
                at_unix_ms: 0,
                source: "desk".into(),
                username: Some("shen.he".into()),
                chosen: Some("v2".into()),
                replaced: vec![
                    ("v2".into(), Some("xuna".into())),
                    ("v3z".into(), Some("lihua".into())),
                ],
                is_undone: false,
                is_bulk: false,
            });
        }
        if told {
            evidence.notices.push(NoticeLine {
                username: "lihua".into(),
                kind: "value_not_chosen".into(),
                record: CARD,
                field: Some("sign_name".into()),
                hash: Some("ab".into()),
                note: None,
            });
        }
        simulation
    };
    // In this story both values still stand there, which is the first thing to be found.
    finds("a choice is remembered", &chosen(true, true));
    finds("a choice is remembered", &chosen(false, false));
    finds("those concerned are told", &chosen(false, true));
    let merged = |remembered: bool| {
        let mut hand = honest();
        hand.tell(Event::Acted {
            act: Act::Merge {
                winner: DESK,
                loser: CARD,
            },
            acted: Acted::Done,
        });
        let mut simulation = hand.quiet();
        if remembered {
            simulation.1.evidence.merges.push(MergeLine {
                winner: DESK,
                loser: CARD,
                is_undone: false,
            });
        }
        simulation
    };
    finds("two cards become one", &merged(true));
    finds("two cards become one", &merged(false));
}

#[test]
fn a_restore_must_be_healed() {
    let restored = |brought_back: bool| {
        let mut hand = honest();
        hand.tell(Event::Acted {
            act: Act::Backup,
            acted: Acted::Done,
        });
        let (seq, log) = (hand.seq, hand.story.evidence.log.clone());
        let mut before = hand.document.clone();
        let mut copy = hand.copy(phone_device(1));
        let hash = hand.edit(1, &mut copy, "lane", "v7");
        let bytes = copy.get_last_local_change().unwrap().bytes().to_vec();
        hand.tell(Event::Acted {
            act: Act::Restore,
            acted: Acted::Done,
        });
        std::mem::swap(&mut hand.document, &mut before);
        (hand.seq, hand.story.evidence.log) = (seq, log);
        if brought_back {
            hand.tell(Event::Arrived {
                device: phone_device(1),
                record: CARD,
                generation: 1,
                bytes: bytes.clone(),
            });
            hand.seq += 1;
            hand.verdict(1, &hash, "accepted", None, Some(hand.seq));
            hand.document.load_incremental(&bytes).unwrap();
            hand.story.evidence.log.push(LogLine {
                seq: hand.seq,
                what: "change".into(),
                record: CARD,
                hash: Some(hash),
            });
        }
        hand.quiet()
    };
    assert_eq!(promises(&restored(true)), Vec::<&str>::new());
    finds("no saved edit is lost", &restored(false));
}

#[test]
fn what_was_erased_must_be_nowhere() {
    let erased = |doctor: &dyn Fn(&mut Story)| {
        let mut simulation = honest().quiet();
        let event = Event::Acted {
            act: Act::Erase { record: CARD },
            acted: Acted::Done,
        };
        simulation.1.journal.lines.push(Line {
            at_unix_ms: 99,
            event,
        });
        simulation.1.evidence.told.push(serde_json::json!({
            "username": "root", "action": "erase", "record": CARD, "detail": {},
        }));
        simulation.1.evidence.records.clear();
        simulation.1.evidence.conflicts.clear();
        simulation
            .1
            .phones
            .iter_mut()
            .for_each(|phone| phone.records.clear());
        doctor(&mut simulation.1);
        simulation
    };
    assert_eq!(promises(&erased(&|_| ())), Vec::<&str>::new());
    finds(
        "erased data is nowhere",
        &erased(&|story| story.evidence.stored = b"...v3z...".to_vec()),
    );
    finds(
        "erased data is nowhere",
        &erased(&|story| story.phones[0].file = b"...v3z...".to_vec()),
    );
    finds(
        "erased stays erased",
        &doctored(|story| {
            let event = Event::Acted {
                act: Act::Erase { record: CARD },
                acted: Acted::Done,
            };
            story.journal.lines.push(Line {
                at_unix_ms: 99,
                event,
            });
        }),
    );
}

#[test]
fn a_value_that_nobody_saw_may_not_be_replaced() {
    let rebased = |over_the_unseen: bool| {
        let mut hand = honest();
        let mut copy = hand.copy(phone_device(1));
        let mut other = hand.copy(phone_device(0));
        // Written before the other's value was known, and refused …
        copy.put(ROOT, "opening_hours", "v8").unwrap();
        let (hash, _) = hand.push(1, &mut copy, vec![put("opening_hours", "v8")], false);
        hand.verdict(1, &hash, "rejected", Some("actor_forked"), None);
        hand.edit(0, &mut other, "opening_hours", "v7");
        // … and then written anew.
        let mut again = if over_the_unseen {
            hand.copy(DESK)
        } else {
            hand.document
                .fork_at(copy.get_last_local_change().unwrap().deps())
                .unwrap()
        };
        again.set_actor(ActorId::from(
            [phone_device(1).as_bytes().as_slice(), &[0, 0, 0, 2]].concat(),
        ));
        again.put(ROOT, "opening_hours", "v8").unwrap();
        again.commit();
        let mut change = again.get_last_local_change().unwrap();
        let (hash, bytes) = (change.hash().to_string(), change.bytes().to_vec());
        hand.tell(Event::Arrived {
            device: phone_device(1),
            record: CARD,
            generation: 1,
            bytes: bytes.clone(),
        });
        hand.seq += 1;
        hand.verdict(1, &hash, "accepted", None, Some(hand.seq));
        hand.document.load_incremental(&bytes).unwrap();
        hand.story.evidence.log.push(LogLine {
            seq: hand.seq,
            what: "change".into(),
            record: CARD,
            hash: Some(hash),
        });
        hand.quiet()
    };
    assert_eq!(promises(&rebased(false)), Vec::<&str>::new());
    finds("nobody's unseen value is replaced", &rebased(true));
}

#[test]
fn a_copy_of_a_phone_may_not_replace_what_it_never_showed() {
    let copied = |over_the_unseen: bool, showed: bool| {
        let mut hand = honest();
        hand.tell(Event::Cloned {
            phone: PhoneNo(2),
            from: PhoneNo(1),
        });
        let mut before = hand.copy(DESK);
        let mut original = hand.copy(phone_device(1));
        hand.edit(1, &mut original, "opening_hours", "v7");
        let mut copy = if over_the_unseen {
            hand.copy(DESK)
        } else {
            before.fork()
        };
        copy.set_actor(ActorId::from(
            [phone_device(1).as_bytes().as_slice(), &[0, 0, 0, 2]].concat(),
        ));
        let seen = copy.get_all(ROOT, "opening_hours").unwrap();
        let seen: Vec<_> = seen
            .into_iter()
            .map(|(value, _)| Saw {
                key: "opening_hours".into(),
                op: (1, Vec::new()),
                value: value.as_str().unwrap().into(),
            })
            .collect();
        hand.edit(1, &mut copy, "opening_hours", "v8");
        // Typed at the copy, which writes in the same name.
        let last = hand.story.journal.lines.iter_mut().rev();
        let mut events = last.map(|line| &mut line.event);
        let saved = events.find_map(|event| match event {
            Event::Saved { phone, saw, .. } => Some((phone, saw)),
            _ => None,
        });
        let (phone, saw) = saved.unwrap();
        *phone = PhoneNo(2);
        if showed {
            *saw = seen;
        }
        hand.quiet()
    };
    for story in [copied(false, false), copied(true, true)] {
        assert_eq!(promises(&story), Vec::<&str>::new());
    }
    finds("nobody's unseen value is replaced", &copied(true, false));
}

#[test]
fn a_chain_is_hashed_anew() {
    let event = |no: i64, previous: &[u8], action: &str| {
        let mut event = serde_json::json!({
            "no": no, "at": "2026-11-21T08:00:00.5Z", "username": "xuna", "device": null, "action": action, "record": CARD, "detail": {"a": 1},
        });
        let hash = trail::hash(previous, "310104003", no, &event).unwrap();
        event["hash"] = serde_json::Value::String(trail::hex(&hash));
        (event, hash)
    };
    let (first, hash) = event(1, &trail::genesis("310104003"), "content");
    let (second, _) = event(2, &hash, "erase");
    let chain = |events: Vec<serde_json::Value>| doctored(|story| story.evidence.audit = events);
    assert_eq!(
        promises(&chain(vec![first.clone(), second.clone()])),
        Vec::<&str>::new()
    );
    finds("the audit chain is whole", &chain(vec![second.clone()]));
    let mut changed = first.clone();
    changed["username"] = "lihua".into();
    finds("the audit chain is whole", &chain(vec![changed, second]));
    let (unlinked, _) = event(2, &trail::genesis("310104003"), "erase");
    finds("the audit chain is whole", &chain(vec![first, unlinked]));
}

#[test]
fn alarms_and_rows_are_findings() {
    finds(
        "the simulation becomes quiet",
        &doctored(|story| story.alarms.push("phone 1 does not end".into())),
    );
    finds(
        "rows equal a rebuild",
        &doctored(|story| story.evidence.rows_differ = Some("shop_card".into())),
    );
}

/// A transfer whose rulings are `rulings`: step, seen, outcome, state, number.
fn transfer(rulings: &[(&str, Option<u128>, &str, &str, u32)]) -> (Setup, Story) {
    let mut simulation = honest().quiet();
    let id = Uuid::from_u128(0x7f);
    let mut document = unsigned().with_actor(actor(DESK));
    for (key, value) in [("kind", "transfer_request"), ("grid", "A2")] {
        document.put(ROOT, key, value).unwrap();
    }
    for (at, (step, seen, outcome, state, no)) in rulings.iter().enumerate() {
        let event = Uuid::from_u128(0xe0 + at as u128);
        let mut put = |key: String, value: &str| document.put(ROOT, key, value).unwrap();
        put(format!("events/{event}/type"), step);
        put(format!("events/{event}/cause"), "member_word");
        if let Some(seen) = seen {
            put(
                format!("events/{event}/seen"),
                &Uuid::from_u128(*seen).to_string(),
            );
        }
        put(format!("rulings/{event}/no"), &no.to_string());
        put(format!("rulings/{event}/outcome"), outcome);
        put(format!("rulings/{event}/state"), state);
        put("state".into(), state);
    }
    document.commit();
    let document = document.save();
    let read = bytes::document(&document).unwrap();
    let shown = |values: &Vec<(bytes::OpId, String)>| {
        values
            .iter()
            .map(|((_, actor), value)| Shown {
                value: value.clone(),
                device: bytes::device(actor),
            })
            .collect()
    };
    let fields = read
        .fields
        .iter()
        .map(|(key, values)| (key.clone(), shown(values)))
        .collect();
    let record = OfficeRecord {
        kind: "transfer_request".into(),
        grid: "A2".into(),
        generation: 1,
        fields,
        won: BTreeMap::new(),
        sealed: BTreeMap::new(),
        document,
    };
    simulation.1.evidence.records.insert(id, record);
    simulation
}

#[test]
fn rulings_are_held_to_the_table() {
    const WRONG: &str = "rulings are given once and in order";
    let accepted = [
        ("submit", None, "applied", "submitted", 1),
        (
            "request_origin",
            Some(0xe0),
            "applied",
            "awaiting_origin",
            2,
        ),
        ("dispatch", Some(0xe1), "applied", "in_transit", 3),
        ("arrive", Some(0xe2), "applied", "arrived", 4),
        ("accept", Some(0xe3), "applied", "accepted", 5),
    ];
    assert_eq!(promises(&transfer(&accepted)), Vec::<&str>::new());
    let then = |last| transfer(&[&accepted[..], &[last]].concat());
    assert_eq!(
        promises(&then(("withdraw", Some(0xe3), "contested", "contested", 6))),
        Vec::<&str>::new()
    );
    finds(
        WRONG,
        &then(("withdraw", Some(0xe3), "refused", "accepted", 6)),
    );
    finds(
        WRONG,
        &then(("withdraw", Some(0xe4), "applied", "withdrawn", 6)),
    );
    finds(
        WRONG,
        &then(("send_receipt", Some(0xe4), "applied", "receipt_sent", 5)),
    );
    finds(
        WRONG,
        &then(("send_receipt", Some(0xe4), "applied", "closed", 6)),
    );
    finds(WRONG, &then(("close", Some(0xe4), "refused", "closed", 6)));
}

#[test]
fn a_finding_tells_its_story() {
    let simulation = doctored(|story| drop(office(story).fields.remove("opening_hours")));
    let found = check(&simulation.0, &simulation.1);
    let told = tell::story(&simulation.1.journal, &found[0].about);
    assert!(
        told.contains("opening_hours = \"v5\"") && told.contains("accepted as number"),
        "{told}"
    );
}

#[test]
fn the_winner_of_several_values_is_automerges() {
    finds(
        "the newest of several values is shown",
        &doctored(|story| drop(office(story).won.insert("sign_name".into(), "v2".into()))),
    );
    let on_a_phone = |story: &mut Story| {
        drop(
            story.phones[1]
                .records
                .get_mut(&CARD)
                .unwrap()
                .won
                .insert("sign_name".into(), "v2".into()),
        );
    };
    finds(
        "the newest of several values is shown",
        &doctored(on_a_phone),
    );
}

/// What a phone showed under a key when its user edited it.
fn saw(hand: &mut Hand, key: &str) {
    let read = bytes::document(&hand.document.save()).unwrap();
    let shown = read.fields.get(key).into_iter().flatten();
    let mut seen: Vec<_> = shown
        .map(|((counter, actor), value)| Saw {
            key: key.into(),
            op: (*counter, actor.to_bytes().to_vec()),
            value: value.clone(),
        })
        .collect();
    seen.extend(read.note.filter(|_| key == "note").map(|value| Saw {
        key: key.into(),
        op: (0, Vec::new()),
        value,
    }));
    let last = hand
        .story
        .journal
        .lines
        .iter_mut()
        .rev()
        .find_map(|line| match &mut line.event {
            Event::Saved { saw, .. } => Some(saw),
            _ => None,
        });
    *last.unwrap() = seen;
}

#[test]
fn a_deletion_and_a_replacement_are_held_to_what_their_users_saw() {
    // Nothing came of a deletion.
    let deleted = |comes: bool| {
        let mut hand = honest();
        let mut copy = hand.copy(phone_device(1));
        copy.delete(ROOT, "opening_hours").unwrap();
        let did = vec![Did::Delete {
            key: "opening_hours".into(),
        }];
        let before = hand.document.clone();
        let (hash, _) = if comes {
            (hand.accept(1, &mut copy, did, false), Vec::new())
        } else {
            hand.push(1, &mut copy, did, false)
        };
        let now = std::mem::replace(&mut hand.document, before);
        saw(&mut hand, "opening_hours");
        hand.document = now;
        if !comes {
            hand.verdict(1, &hash, "rejected", Some("actor_forked"), None);
        }
        hand.quiet()
    };
    assert_eq!(promises(&deleted(true)), Vec::<&str>::new());
    finds("no saved edit is lost", &deleted(false));
    // A value stands beside what it was typed over.
    let mut hand = honest();
    let mut copy = hand.copy(phone_device(1));
    let mut other = hand.copy(phone_device(0));
    copy.put(ROOT, "opening_hours", "v8").unwrap();
    hand.edit(0, &mut other, "opening_hours", "v9");
    hand.accept(1, &mut copy, vec![put("opening_hours", "v8")], false);
    saw(&mut hand, "opening_hours");
    finds("what was replaced is gone", &hand.quiet());
}

#[test]
fn words_of_a_note_go_only_where_somebody_took_them_out() {
    let text = |hand: &mut Hand, phone: usize, text: &str, told: &str| {
        let before = hand.document.clone();
        let mut copy = hand.copy(phone_device(phone));
        let (_, note) = copy.get(ROOT, "note").unwrap().unwrap();
        copy.update_text(&note, text).unwrap();
        hand.accept(
            phone,
            &mut copy,
            vec![Did::Note { text: told.into() }],
            false,
        );
        let now = std::mem::replace(&mut hand.document, before);
        saw(hand, "note");
        hand.document = now;
    };
    let mut hand = honest();
    text(&mut hand, 0, "甲乙", "甲乙");
    text(&mut hand, 1, "甲乙 丙丁", "甲乙 丙丁");
    text(&mut hand, 0, "丙丁", "丙丁");
    assert_eq!(promises(&hand.quiet()), Vec::<&str>::new());
    // The other phone had never seen it, and its user only put a word in.
    let mut hand = honest();
    text(&mut hand, 0, "甲乙", "甲乙");
    text(&mut hand, 1, "丙丁", "丙丁");
    let last = hand
        .story
        .journal
        .lines
        .iter_mut()
        .rev()
        .find_map(|line| match &mut line.event {
            Event::Saved { saw, .. } => Some(saw),
            _ => None,
        });
    last.unwrap().clear();
    let simulation = hand.quiet();
    finds("nobody's unseen value is replaced", &simulation);
    finds("no saved edit is lost", &simulation);
}

#[test]
fn a_held_edit_stands_once_before_the_reviewer() {
    const PROMISE: &str = "a held edit stands once before the reviewer";
    let held = |values: [&str; 2]| {
        let mut hand = honest();
        hand.tell(Event::Acted {
            act: Act::Assign {
                username: "lihua".into(),
                grids: Vec::new(),
            },
            acted: Acted::Done,
        });
        for (lane, value) in ["1", "2"].into_iter().zip(values) {
            let mut copy = hand.copy(phone_device(1));
            copy.put(ROOT, "lane", lane).unwrap();
            copy.put(ROOT, "unit", value).unwrap();
            let (hash, _) = hand.push(1, &mut copy, vec![put("unit", value)], false);
            hand.verdict(1, &hash, "held", Some("grid_lost"), None);
        }
        hand.quiet()
    };
    assert!(!promises(&held(["v8z", "v9z"])).contains(&PROMISE));
    finds(PROMISE, &held(["v8z", "v8z"]));
}

#[test]
fn all_that_a_change_builds_on_is_accepted_before_it() {
    let mut hand = honest();
    let mut copy = hand.copy(phone_device(1));
    copy.put(ROOT, "unit", "v8z").unwrap();
    let (_, bytes) = hand.push(1, &mut copy, vec![put("unit", "v8z")], false);
    hand.edit(1, &mut copy, "lane", "v9z");
    hand.document.load_incremental(&bytes).unwrap();
    finds(
        "all that a change builds on is accepted before it",
        &hand.quiet(),
    );
}
