//! Scenes that every store of a street must play alike: pushes, acts of desks, and what follows. What is written down is the outcome of each
//! step and, at the end, the answer to every kind of question.

use std::{collections::BTreeSet, fmt::Write as _};

use lianka_office_core::{
    acts::{Desk, edit, erase, held, import, join_contacts, merge_cards, relocate},
    ids::Ids,
    memory::run,
    push::{Author, Ingested, Push, Pushes, Resent},
    store::{Loaded, Store, Stored, Wants},
};
use lianka_sync_core::{
    access::Role,
    codec::{change::Scalar, wire::PushedChange},
    crdt::record::{Edit, Record},
    id::{Actor, DeviceId, EntryId, RecordId},
    kinds::{Kind, duplicate::persons::Same},
    time::{DeviceTime, ServerTime},
};
use uuid::Uuid;

/// Who plays.
pub struct Cast {
    pub street: String,
    /// Two grids of it.
    pub grids: [String; 2],
    /// A secretary of the first grid, who once worked the second.
    pub secretary: (String, DeviceId),
    /// A reviewer's desk.
    pub reviewer: (String, DeviceId),
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0000 | n)
}

/// A phone of the secretary's: what it writes of one record.
struct Writer<'c> {
    cast: &'c Cast,
    record: RecordId,
    document: Record,
    at: i64,
}

impl<'c> Writer<'c> {
    fn create(cast: &'c Cast, n: u128, grid: &str, edits: &[Edit]) -> (Self, Ingested) {
        let record = RecordId(id(n));
        let mut all = vec![
            put("kind", Kind::ShopCard.as_str()),
            put("street", &cast.street),
            put("grid", grid),
        ];
        all.extend_from_slice(edits);
        let actor = Actor::new(cast.secretary.1, n as u32);
        let (document, change) =
            Record::create(actor, DeviceTime::from_unix_seconds(1), &all).expect("created");
        let this = Self {
            cast,
            record,
            document,
            at: 1,
        };
        let bytes = change.bytes;
        let ingested = this.sent(bytes);
        (this, ingested)
    }

    fn edit(&mut self, n: u32, edits: &[Edit]) -> Ingested {
        self.at += 1;
        let at = DeviceTime::from_unix_seconds(self.at);
        let actor = Actor::new(self.cast.secretary.1, n);
        let change = self.document.edit(actor, at, edits, "").expect("edited");
        self.sent(change.expect("says something").bytes)
    }

    fn sent(&self, bytes: Vec<u8>) -> Ingested {
        Ingested::new(PushedChange {
            record: self.record,
            kind: Kind::ShopCard,
            generation: 1,
            bytes,
        })
    }
}

fn put(key: &str, value: &str) -> Edit {
    Edit::Put {
        key: key.into(),
        value: Scalar::Str(value.into()),
    }
}

/// Plays everything; what came of it.
pub fn play(store: &mut impl Store, cast: &Cast) -> String {
    let mut told = String::new();
    let mut clock = 1_795_248_000_000;
    let mut now = || {
        clock += 1_000;
        ServerTime::from_unix_ms(clock)
    };
    let desk = || Desk {
        username: cast.reviewer.0.clone(),
        device: cast.reviewer.1,
        role: Role::Reviewer,
    };
    let push = |store: &mut _, told: &mut String, now, changes| {
        let push = Push {
            author: Author {
                username: cast.secretary.0.clone(),
                role: Role::Secretary,
                device: cast.secretary.1,
                wiped: false,
            },
            changes,
        };
        if let Some(resent) = Resent::of(&push) {
            let Ok(outcome) = run(store, now, resent);
            writeln!(told, "resent {outcome:?}").expect("written");
        }
        let pushes = Pushes {
            pushes: &[push],
            ids: Ids::new([7; 16]),
        };
        let Ok(outcomes) = run(store, now, pushes);
        writeln!(told, "push {outcomes:?}").expect("written");
    };
    let request = |n| erase::Request {
        username: cast.reviewer.0.clone(),
        device: cast.reviewer.1,
        reason: "subject_request",
        erasure: id(n),
    };
    let [first, second] = &cast.grids;
    let (wang, li) = (EntryId(id(51)), EntryId(id(52)));

    // Created, edited, sent again.
    let note = Edit::Note {
        text: "门口积水".into(),
    };
    let person = put(&format!("contacts/{wang}/name"), "王芳");
    let (mut noodles, created) =
        Writer::create(cast, 1, first, &[put("sign_name", "王记"), note, person]);
    let again = noodles.sent(created.pushed.bytes.clone());
    push(store, &mut told, now(), vec![created, again]);
    let renamed = noodles.edit(1, &[put("sign_name", "王记包子")]);
    let longer = noodles.edit(
        1,
        &[Edit::Note {
            text: "门口积水，注意".into(),
        }],
    );
    push(store, &mut told, now(), vec![renamed, longer]);

    // Held, because the grid is not the secretary's any more; accepted by the desk.
    let (_, elsewhere) = Writer::create(cast, 2, second, &[put("sign_name", "李记")]);
    push(store, &mut told, now(), vec![elsewhere]);
    let waits = held_of(store, RecordId(id(2)));
    for held in waits {
        let accept = held::Accept {
            by: desk(),
            held,
            note: Some("好".into()),
            with_needed: false,
            as_edit: false,
        };
        let accepted = run(store, now(), accept).map(|accepted| accepted.len());
        writeln!(told, "accept {accepted:?}").expect("written");
    }

    // An edit at the desk; a stale one; a move there and back.
    for heads in [None, Some(Vec::new())] {
        let edit = edit::Edit {
            by: desk(),
            record: RecordId(id(1)),
            set: [("opening_hours".to_owned(), Some("8-20".into()))].into(),
            note: "电话核实".into(),
            expected_heads: heads,
        };
        let edited = run(store, now(), edit);
        writeln!(told, "edit {edited:?}").expect("written");
    }
    for grid in [second, first] {
        let relocate = relocate::Relocate {
            by: desk(),
            records: vec![RecordId(id(1))],
            from_grid: None,
            to_grid: grid.clone(),
            dry_run: false,
        };
        let moved = run(store, now(), relocate);
        writeln!(told, "move {moved:?}").expect("written");
    }

    // A consent, and its withdrawal.
    let consent = |n, decision| {
        let entry = EntryId(id(n));
        ["contact", "scope", "decision"]
            .into_iter()
            .zip([li.to_string().as_str(), "party_status", decision])
            .map(|(field, value)| put(&format!("consent/{entry}/{field}"), value))
            .collect::<Vec<_>>()
    };
    let mut granted = consent(61, "grant");
    granted.push(put(&format!("contacts/{li}/name"), "李娜"));
    granted.push(put(&format!("contacts/{li}/party_status"), "群众"));
    let granted = noodles.edit(1, &granted);
    let withdrawn = noodles.edit(1, &consent(62, "withdraw"));
    push(store, &mut told, now(), vec![granted, withdrawn]);

    // Two cards of one shop: merged, a late edit, and undone.
    let (mut twin, created) = Writer::create(cast, 3, first, &[put("sign_name", "王记包子铺")]);
    push(store, &mut told, now(), vec![created]);
    let merge = merge_cards::Merge {
        by: desk(),
        winner: RecordId(id(1)),
        loser: RecordId(id(3)),
        note: "同一家".into(),
        merge: id(71),
        epoch: merge_cards::epoch([1, 2, 3, 4]),
    };
    let merged = run(store, now(), merge);
    writeln!(told, "merge {merged:?}").expect("written");
    let late = twin.edit(3, &[put("road", "天平路")]);
    push(store, &mut told, now(), vec![late]);
    let undo = merge_cards::UndoMerge {
        by: desk(),
        merge: id(71),
        note: "两家".into(),
    };
    let undone = run(store, now(), undo);
    writeln!(told, "undo {undone:?}").expect("written");

    // One person twice on the card: joined, a late edit of the entry that went, undone, and joined again, so that both are forgotten together.
    let double = EntryId(id(53));
    let twice = [("name", "王芳"), ("phones", "13700000007")]
        .map(|(field, value)| put(&format!("contacts/{double}/{field}"), value));
    let twice = noodles.edit(1, &twice);
    push(store, &mut told, now(), vec![twice]);
    for n in [91, 92] {
        let join = join_contacts::Join {
            by: desk(),
            record: RecordId(id(1)),
            same: Same {
                kept: wang,
                gone: double,
            },
            note: "同一人".into(),
            join: id(n),
            epoch: merge_cards::epoch([1, 2, 4, n as u8]),
        };
        let joined = run(store, now(), join);
        writeln!(told, "join {joined:?}").expect("written");
        if n == 91 {
            let late = noodles.edit(1, &[put(&format!("contacts/{double}/role"), "店长")]);
            push(store, &mut told, now(), vec![late]);
            let undo = join_contacts::UndoJoin {
                by: desk(),
                join: id(91),
                note: "两人".into(),
            };
            let undone = run(store, now(), undo);
            writeln!(told, "part {undone:?}").expect("written");
        }
    }

    // One person forgotten, twice; a change of the generation before; then a record.
    for n in [81, 82] {
        let redact = erase::Redact {
            record: RecordId(id(1)),
            person: erase::Person::Entry(wang),
            personal: [].into(),
            note: false,
            request: request(n),
        };
        let redacted = run(store, now(), redact);
        writeln!(told, "redact {redacted:?}").expect("written");
    }
    let outdated = noodles.edit(1, &[put(&format!("contacts/{li}/name"), "李")]);
    push(store, &mut told, now(), vec![outdated]);
    for n in [83, 84] {
        let erase = erase::Erase {
            record: RecordId(id(3)),
            request: request(n),
        };
        let erased = run(store, now(), erase);
        writeln!(told, "erase {erased:?}").expect("written");
    }
    let gone = twin.edit(3, &[put("number", "378")]);
    push(store, &mut told, now(), vec![gone]);

    // A card that a row makes goes with its import; then somebody's late edit of it comes.
    let origin = || import::Origin {
        import: id(95),
        file: "街区.xlsx".into(),
        sheet: None,
    };
    let (mut made, _) = Writer::create(cast, 5, first, &[]);
    let rows = import::WriteRows {
        by: desk(),
        from: origin(),
        rows: vec![(
            2,
            import::RowWrite::Create {
                record: RecordId(id(5)),
                kind: Kind::ShopCard,
                edits: vec![
                    put("kind", Kind::ShopCard.as_str()),
                    put("street", &cast.street),
                    put("grid", first),
                    put("sign_name", "张记"),
                ],
            },
        )],
    };
    let written = run(store, now(), rows).expect("rows are written");
    writeln!(told, "rows {written:?}").expect("written");
    let import::RowWritten::Written { hash, seq, .. } = written[0] else {
        return told + "nothing was written\n";
    };
    let undo = import::UndoRows {
        by: desk(),
        from: origin(),
        rows: vec![(
            2,
            import::RowUndo {
                record: RecordId(id(5)),
                hash,
                seq: Some(seq),
                before: None,
            },
        )],
    };
    let undone = run(store, now(), undo);
    writeln!(told, "undo rows {undone:?}").expect("written");
    let late = made.edit(5, &[put("number", "378")]);
    push(store, &mut told, now(), vec![late]);

    let loaded = store.load(&everything(cast));
    writeln!(told, "head {}", store.head().seq).expect("written");
    told + &answers(&loaded)
}

fn held_of(store: &impl Store, record: RecordId) -> Vec<Uuid> {
    let wants = Wants {
        held_of: [record].into(),
        ..Wants::default()
    };
    let loaded = store.load(&wants);
    let held = loaded.held_of.get(&record).into_iter().flatten();
    held.map(|held| held.held).collect()
}

/// Every kind of question.
fn everything(cast: &Cast) -> Wants {
    let records: BTreeSet<_> = (1..=5).map(|n| RecordId(id(n))).collect();
    let devices: BTreeSet<_> = [cast.secretary.1, cast.reviewer.1, DeviceId(id(99))].into();
    let users: BTreeSet<_> = [cast.secretary.0.clone(), cast.reviewer.0.clone()].into();
    Wants {
        documents: records.clone(),
        histories: records.clone(),
        assignments: users.clone(),
        roles: users,
        waiting: devices.clone(),
        reasons: records.clone(),
        left_grids: records.clone(),
        people: devices,
        merged_away: records.clone(),
        letters: ["X1".to_owned()].into(),
        requests: [()].into(),
        different: [()].into(),
        restored: records.clone(),
        receipts: records.clone(),
        copies: [(RecordId(id(3)), EntryId(id(51)))].into(),
        merged_with: records.clone(),
        held_of: records.clone(),
        merges: [id(71)].into(),
        joins: [id(91), id(92)].into(),
        joins_of: records.clone(),
        merges_of: records.clone(),
        unmade: records.clone(),
        records,
        ..Wants::default()
    }
}

/// The answers, and nothing where one has no entry and another an empty one.
fn answers(loaded: &Loaded) -> String {
    let mut told = String::new();
    for (record, stored) in &loaded.records {
        match stored {
            Stored::Record(stored) => writeln!(
                told,
                "{record} in {} at {} since {}: {:?}",
                stored.grid,
                stored.seq,
                stored.grid_seq,
                stored.state.to_bytes(),
            ),
            Stored::Unreadable => writeln!(told, "{record} is unreadable"),
            Stored::Erased => writeln!(told, "{record} is erased"),
        }
        .expect("written");
    }
    for (record, bytes) in &loaded.documents {
        let read = Record::load(bytes).map(|mut document| document.save());
        writeln!(told, "document {record}: {:?}", read.ok()).expect("written");
    }
    let mut list = |name: &str, text: String| {
        if !text.ends_with(": []") {
            writeln!(told, "{name} {text}").expect("written");
        }
    };
    for (key, places) in &loaded.histories {
        list("history", format!("{key}: {places:?}"));
    }
    for (key, grids) in &loaded.assignments {
        list("grids", format!("{key}: {grids:?}"));
    }
    for (key, roles) in &loaded.roles {
        list("roles", format!("{key}: {roles:?}"));
    }
    for (key, waiting) in loaded.waiting.iter().filter(|(_, waiting)| **waiting > 0) {
        list("waiting", format!("{key}: {waiting}"));
    }
    for (key, reasons) in &loaded.reasons {
        list("reasons", format!("{key}: {reasons:?}"));
    }
    for (key, grids) in &loaded.left_grids {
        list("left", format!("{key}: {grids:?}"));
    }
    for (key, person) in &loaded.people {
        list(
            "person",
            format!("{key}: {} {}", person.username, person.role),
        );
    }
    for (key, merge) in &loaded.merged_away {
        list("merged away", format!("{key}: {merge:?}"));
    }
    for (key, receipts) in &loaded.receipts {
        list("receipts", format!("{key}: {receipts:?}"));
    }
    for (key, copies) in &loaded.copies {
        list("copies", format!("{key:?}: {copies:?}"));
    }
    for (key, others) in &loaded.merged_with {
        list("merged with", format!("{key}: {others:?}"));
    }
    for (key, held) in &loaded.held_of {
        list("held", format!("{key}: {held:?}"));
    }
    for (key, merge) in &loaded.merges {
        list("merge", format!("{key}: {merge:?}"));
    }
    for (key, join) in &loaded.joins {
        list("join", format!("{key}: {join:?}"));
    }
    for (key, merges) in &loaded.merges_of {
        list("merges", format!("{key}: {merges:?}"));
    }
    for key in loaded.unmade.keys() {
        list("unmade", key.to_string());
    }
    for (key, joins) in &loaded.joins_of {
        list("joins", format!("{key}: {joins:?}"));
    }
    told
}
