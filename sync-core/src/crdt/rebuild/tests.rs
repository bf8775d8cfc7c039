//! Whatever was edited concurrently: the next generation reads as the one before, less what is forgotten, in Automerge's eyes too.

use proptest::{collection::vec, prelude::*, sample::Index};
use uuid::Uuid;

use crate::crdt::rebuild::*;
use crate::{
    access::Role,
    crdt::{
        merge::{Context, Merged, NoteDocument, Refusal, Target, merge},
        record::Edit,
    },
    id::{DeviceId, StreetCode},
    kinds::Kind,
    time::DeviceTime,
};

const WANG: &str = "0198c0de-0000-7000-8000-00000000000a";
const LI: &str = "0198c0de-0000-7000-8000-00000000000b";
const CONSENT: &str = "0198c0de-0000-7000-8000-0000000000c1";
/// Texts that stand for the person: in their entry, and where a worker typed them into the note.
const SECRETS: [&str; 3] = ["王小明", "13800000001", "13800000002"];

fn street() -> StreetCode {
    "310104003".parse().unwrap()
}

fn actor(n: u8) -> Actor {
    Actor::new(
        DeviceId(Uuid::from_u128(
            0x0198_0000_0000_7000_8000_0000_0000_0000 + u128::from(n),
        )),
        1,
    )
}

fn at(seconds: i64) -> DeviceTime {
    DeviceTime::from_unix_seconds(1_795_000_000 + seconds)
}

fn put(key: &str, value: &str) -> Edit {
    Edit::Put {
        key: key.into(),
        value: value.into(),
    }
}

fn entry(id: &str) -> EntryId {
    id.parse().unwrap()
}

fn contact(entry: &str, field: &str) -> String {
    format!("contacts/{entry}/{field}")
}

fn creation() -> Vec<Edit> {
    vec![
        put("kind", "shop_card"),
        put("street", "310104003"),
        put("grid", "康平01"),
        put(&contact(WANG, "name"), "王小明"),
        put("sign_name", "王记包子"),
        put(&contact(WANG, "phones"), "13800000001"),
        Edit::Note {
            text: "门口积水".into(),
        },
    ]
}

fn push(target: &mut Target, change: &Change, generation: u32) -> Result<Merged, Refusal> {
    let street = street();
    merge(
        target,
        change,
        &Context {
            street: &street,
            kind: Kind::ShopCard,
            generation,
            device: change.actor.device(),
            writer: Role::Reviewer.into(),
            received_at: ServerTime::from_unix_ms(1_795_000_000_000 + i64::from(change.max_op())),
        },
    )
}

/// Three phones that edit their copies and now and then see another's.
#[derive(Clone, Debug)]
enum Step {
    Edit(u8, Vec<(Index, u8)>),
    See(u8, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let edits = (0..3_u8, vec((any::<Index>(), any::<u8>()), 1..5))
        .prop_map(|(n, edits)| Step::Edit(n, edits));
    vec(
        prop_oneof![3 => edits, 1 => (0..3_u8, 0..3_u8).prop_map(|(a, b)| Step::See(a, b))],
        1..30,
    )
}

fn arbitrary_edit(which: Index, n: u8) -> Edit {
    let keys = [
        "sign_name".to_owned(),
        "category".into(),
        "tags/a".into(),
        contact(WANG, "name"),
        contact(WANG, "phones"),
        contact(WANG, "role"),
        contact(LI, "name"),
        "note".into(),
    ];
    let key = keys[which.index(keys.len())].clone();
    match (key.as_str(), n % 4) {
        ("note", _) => Edit::Note {
            text: ["门口积水", "", "找王小明", "门口积水，已报𠮷", "👨‍👩‍👧"][usize::from(n) % 5].into(),
        },
        (_, 0) => Edit::Delete { key },
        ("tags/a", _) => Edit::add(key),
        (key, n) if key == contact(WANG, "phones") => put(
            key,
            ["13800000001", "13800000002", "13800000001"][usize::from(n) - 1],
        ),
        (key, n) if key == contact(WANG, "name") => put(
            key,
            ["王小明", "王小明（店主）", "王小明"][usize::from(n) - 1],
        ),
        (key, n) => put(key, ["一", "二", "三"][usize::from(n) - 1]),
    }
}

/// Runs the steps; gives the record as the server holds it, and its document.
fn of_three_phones(steps: &[Step]) -> (RegisterState, Vec<u8>) {
    let (mut first, creating) = Record::create(actor(0), at(0), &creation()).unwrap();
    let mut fork = || Record::load(&first.save()).unwrap();
    let mut phones = [fork(), fork(), fork()];
    let mut made = vec![creating];
    for (time, step) in steps.iter().enumerate() {
        match step {
            Step::Edit(n, edits) => {
                let edits: Vec<_> = edits
                    .iter()
                    .map(|(which, n)| arbitrary_edit(*which, *n))
                    .collect();
                made.extend(
                    phones[usize::from(*n)]
                        .edit(actor(*n), at(time as i64), &edits, "找王小明")
                        .unwrap(),
                );
            }
            Step::See(a, b) => {
                let seen = phones[usize::from(*b)].changes();
                phones[usize::from(*a)]
                    .apply(seen.iter().map(Vec::as_slice))
                    .unwrap();
            }
        }
    }
    let mut target = Target::default();
    let mut bytes = Vec::new();
    for change in &made {
        if change.edits_text() && target.document.is_none() && target.state.is_some() {
            target.document = Some(NoteDocument::load(&bytes).unwrap());
        }
        assert_eq!(push(&mut target, change, 1), Ok(Merged::Accepted));
        bytes.extend(&change.bytes);
    }
    (target.state.unwrap(), Record::load(&bytes).unwrap().save())
}

fn of_person(state: &RegisterState) -> (BTreeSet<EntryId>, impl Fn(&str) -> bool) {
    let entries = state.entries_of_person(entry(WANG));
    let gone = entries.clone();
    let key = move |key: &str| matches!(crate::kinds::Key::parse(key), Some(crate::kinds::Key::Entry { entry, .. }) if gone.contains(&entry));
    (entries, key)
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// Authors and times of every value, by key: what a rebuild must not touch.
fn authored(view: &View) -> BTreeMap<String, Vec<(Actor, Option<DeviceTime>)>> {
    view.values
        .iter()
        .map(|(key, values)| {
            (
                key.clone(),
                values
                    .iter()
                    .map(|value| (value.op.actor, value.time))
                    .collect(),
            )
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_next_generation_reads_as_before_less_the_person(steps in steps(), note in any::<bool>()) {
        let (state, document) = of_three_phones(&steps);
        let (redacted, key) = of_person(&state);
        let rebuilt = rebuild(&state, &document, &Forget { key: &key, note, redacted: &redacted, taken_back: &|_, _| false }).unwrap();
        // Deterministic.
        let again = rebuild(&state, &document, &Forget { key: &key, note, redacted: &redacted, taken_back: &|_, _| false }).unwrap();
        prop_assert_eq!(&again.changes, &rebuilt.changes);
        prop_assert_eq!(&again.document, &rebuilt.document);
        prop_assert_eq!(rebuilt.state.generation(), 2);
        // The old view less the person, with the winners, the conflicts and their authors.
        let mut expected = state.view();
        expected.values.retain(|key, _| !key.contains(WANG));
        if note { expected.note = Some(String::new()); }
        let mut read = Record::load(&rebuilt.document).unwrap();
        prop_assert_eq!(&rebuilt.state.view(), &expected);
        prop_assert_eq!(&read.view().unwrap(), &expected);
        prop_assert_eq!(authored(&rebuilt.state.view()), authored(&expected));
        for value in expected.values.values().flatten() {
            let (before, after) = (state.provenance(value.op).unwrap(), rebuilt.state.provenance(value.op).unwrap());
            prop_assert_eq!((before.device, before.device_time, before.received_at), (after.device, after.device_time, after.received_at));
        }
        // Every change passes the gate, in causal order, and the stored form reads back.
        let mut known = BTreeSet::new();
        for next in &rebuilt.changes {
            let decoded = change::decode(&next.change.bytes);
            prop_assert_eq!(decoded.as_ref(), Ok(&next.change));
            prop_assert!(next.change.deps.iter().all(|dep| known.contains(dep)));
            known.insert(next.change.hash);
        }
        let stored = RegisterState::from_bytes(&rebuilt.state.to_bytes());
        prop_assert_eq!(stored.as_ref(), Ok(&rebuilt.state));
        // Nothing of the person is left, down to the bytes; with the note, nowhere at all.
        prop_assert!(!holds(&rebuilt.document, WANG) && !holds(&rebuilt.document, "1380000000"));
        for next in &rebuilt.changes {
            prop_assert!(!holds(&next.change.bytes, "1380000000"));
            for secret in SECRETS {
                prop_assert!(!note || !holds(&next.change.bytes, secret));
            }
        }
    }

    #[test]
    fn a_compacted_record_reads_as_before_and_has_forgotten_what_was_overwritten(steps in steps(), cut in any::<Index>()) {
        let (state, document) = of_three_phones(&steps);
        let times: Vec<_> = state.accepted().map(|(_, at)| at).chain([ServerTime::from_unix_ms(i64::MAX)]).collect();
        let before = times[cut.index(times.len())];
        let compacted = compact(&state, &document, before).unwrap();
        prop_assert_eq!(&compact(&state, &document, before).unwrap().document, &compacted.document);
        prop_assert_eq!(compacted.state.generation(), 2);
        // Values, winners, conflicts, the note; and whose they are since when.
        let expected = state.view();
        prop_assert_eq!(&compacted.state.view(), &expected);
        prop_assert_eq!(&Record::load(&compacted.document).unwrap().view().unwrap(), &expected);
        prop_assert_eq!(compacted.state.created_at(), state.created_at());
        for value in expected.values.values().flatten() {
            let (before, after) = (state.provenance(value.op).unwrap(), compacted.state.provenance(value.op).unwrap());
            prop_assert_eq!((before.device, before.device_time, before.received_at), (after.device, after.device_time, after.received_at));
        }
        prop_assert_eq!(&RegisterState::from_bytes(&compacted.state.to_bytes()).unwrap(), &compacted.state);
        // What was accepted since stays whole.
        let recent = state.accepted().skip_while(|(_, at)| *at < before);
        for (hash, _) in recent {
            let is_write = |op: &&Op| matches!(op.action, Action::Put { .. } | Action::Delete { .. });
            let stored = history(&state, &document).unwrap();
            let was = stored.iter().filter(|(change, _)| change.hash == hash).flat_map(|(change, _)| &change.ops).filter(is_write).count();
            let is = compacted.changes.iter().filter(|next| next.of == hash).flat_map(|next| &next.change.ops).filter(is_write).count();
            prop_assert_eq!(was, is);
        }
        // A second time there is nothing left to gain.
        prop_assert_eq!(compact(&compacted.state, &compacted.document, before).map_or(0, |again| again.forgotten_ops), 0);
        if before == *times.last().unwrap() {
            let values: usize = expected.values.values().map(Vec::len).sum();
            let puts = compacted.changes.iter().flat_map(|next| &next.change.ops).filter(|op| matches!(op.action, Action::Put { .. })).count();
            prop_assert_eq!(puts, values, "one operation for each value that stands");
        }
    }

    #[test]
    fn phones_go_on_from_a_compacted_record(steps in steps(), more in vec((any::<Index>(), any::<u8>()), 1..5)) {
        let (state, document) = of_three_phones(&steps);
        let compacted = compact(&state, &document, ServerTime::from_unix_ms(i64::MAX)).unwrap();
        let mut phone = Record::load(&compacted.document).unwrap();
        let mut target = Target { document: Some(NoteDocument::load(&compacted.document).unwrap()), state: Some(compacted.state) };
        for (n, (which, value)) in more.iter().enumerate() {
            let Some(change) = phone.edit(actor(n as u8 % 3), at(99), &[arbitrary_edit(*which, *value)], "").unwrap() else { continue };
            prop_assert_eq!(push(&mut target, &change, 2), Ok(Merged::Accepted));
        }
        prop_assert_eq!(&target.state.as_ref().unwrap().view(), &phone.view().unwrap());
        prop_assert_eq!(&Record::load(&phone.save()).unwrap().view().unwrap(), &phone.view().unwrap());
    }

    #[test]
    fn without_anything_to_forget_the_changes_stay_as_they_are(steps in steps()) {
        let (state, document) = of_three_phones(&steps);
        let rebuilt = rebuild(&state, &document, &Forget::keys(&|_| false)).unwrap();
        prop_assert!(rebuilt.changes.iter().all(|next| next.change.hash == next.of));
        prop_assert_eq!(rebuilt.state.view(), state.view());
        prop_assert_eq!(rebuilt.state.heads(), state.heads());
        prop_assert_eq!(rebuilt.forgotten_ops, 0);
    }

    #[test]
    fn phones_go_on_from_the_next_generation(steps in steps(), more in vec((any::<Index>(), any::<u8>()), 1..5)) {
        let (state, document) = of_three_phones(&steps);
        let (redacted, key) = of_person(&state);
        let rebuilt = rebuild(&state, &document, &Forget { redacted: &redacted, ..Forget::keys(&key) }).unwrap();
        let mut phone = Record::load(&rebuilt.document).unwrap();
        let mut target = Target { document: Some(NoteDocument::load(&rebuilt.document).unwrap()), state: Some(rebuilt.state) };
        let edits: Vec<_> = more.iter().map(|(which, n)| arbitrary_edit(*which, *n)).collect();
        if let Some(change) = phone.edit(actor(1), at(99), &edits, "").unwrap() {
            prop_assert_eq!(push(&mut target, &change, 1), Err(Refusal::StaleGeneration));
            let back = edits.iter().any(|edit| matches!(edit, Edit::Put { key, .. } | Edit::Delete { key } if key.contains(WANG)));
            match push(&mut target, &change, 2) {
                Ok(merged) => {
                    prop_assert_eq!(merged, Merged::Accepted);
                    prop_assert_eq!(target.state.unwrap().view(), phone.view().unwrap());
                }
                Err(refusal) => prop_assert_eq!((refusal.code(), back), ("redacted", true)),
            }
        }
    }
}

#[test]
fn a_consent_that_names_the_person_goes_with_them_and_none_comes_back() {
    let (mut record, creating) = Record::create(actor(0), at(0), &creation()).unwrap();
    let consent = |entry: &str, contact: &str| -> Vec<Edit> {
        [
            ("contact", contact),
            ("scope", "party_status"),
            ("decision", "grant"),
            ("wording", "2026-1"),
        ]
        .map(|(field, value)| put(&format!("consent/{entry}/{field}"), value))
        .to_vec()
    };
    let consenting = record
        .edit(actor(0), at(1), &consent(CONSENT, WANG), "")
        .unwrap()
        .unwrap();
    let mut target = Target::default();
    push(&mut target, &creating, 1).unwrap();
    push(&mut target, &consenting, 1).unwrap();
    let state = target.state.unwrap();
    let (redacted, key) = of_person(&state);
    assert_eq!(redacted, BTreeSet::from([entry(WANG), entry(CONSENT)]));
    let rebuilt = rebuild(
        &state,
        &record.save(),
        &Forget {
            key: &key,
            redacted: &redacted,
            ..Forget::keys(&key)
        },
    )
    .unwrap();
    assert!(
        rebuilt
            .state
            .view()
            .values
            .keys()
            .all(|key| !key.starts_with("contacts/") && !key.starts_with("consent/"))
    );
    assert_eq!(
        rebuilt
            .changes
            .iter()
            .filter(|next| next.of == creating.hash)
            .count(),
        3,
        "the contact stood in the middle, twice"
    );
    let mut phone = Record::load(&rebuilt.document).unwrap();
    let mut target = Target {
        state: Some(rebuilt.state),
        document: None,
    };
    for edits in [
        vec![put(&contact(WANG, "name"), "王")],
        consent("0198c0de-0000-7000-8000-0000000000c2", WANG),
        consent(CONSENT, LI),
    ] {
        let mut copy = Record::load(&phone.save()).unwrap();
        let change = copy.edit(actor(1), at(2), &edits, "").unwrap().unwrap();
        assert_eq!(
            push(&mut target, &change, 2).map_err(|refusal| refusal.code()),
            Err("redacted")
        );
    }
    let change = phone
        .edit(actor(1), at(2), &[put(&contact(LI, "name"), "李")], "")
        .unwrap()
        .unwrap();
    assert_eq!(push(&mut target, &change, 2), Ok(Merged::Accepted));
}

#[test]
fn what_a_record_needs_stays_whatever_is_asked() {
    let (state, document) = of_three_phones(&[]);
    let rebuilt = rebuild(
        &state,
        &document,
        &Forget {
            note: true,
            ..Forget::keys(&|_| true)
        },
    )
    .unwrap();
    let view = rebuilt.state.view();
    assert_eq!(
        view.values.keys().collect::<Vec<_>>(),
        ["grid", "kind", "street"]
    );
    assert_eq!(view.note.as_deref(), Some(""));
}

#[test]
fn a_state_of_the_release_before_still_reads() {
    let (state, _) = of_three_phones(&[]);
    let mut bytes = state.to_bytes();
    bytes[0] = 1;
    assert_eq!(
        bytes.pop(),
        Some(0),
        "no redactions: the field that the old encoding lacks"
    );
    assert_eq!(RegisterState::from_bytes(&bytes), Ok(state));
}

/// A shop whose card is written anew every day for ever.
#[test]
fn a_record_that_is_full_takes_edits_again_once_it_is_compacted() {
    let (mut record, creating) = Record::create(actor(0), at(0), &creation()).unwrap();
    let mut target = Target::default();
    push(&mut target, &creating, 1).unwrap();
    let mut refused = None;
    for n in 0.. {
        let day = format!("第{n}天{}", "到晚上".repeat(100));
        let edits = ["custom/甲", "custom/乙", "custom/丙", "custom/丁"].map(|key| put(key, &day));
        let change = record.edit(actor(0), at(n), &edits, "").unwrap().unwrap();
        if let Err(refusal) = push(&mut target, &change, 1) {
            refused = Some((refusal, edits));
            break;
        }
    }
    let (refusal, edits) = refused.unwrap();
    assert_eq!(refusal, Refusal::RecordFull);
    let state = target.state.unwrap();
    assert!(state.fullness() >= 99, "{}", state.fullness());
    // The refused edit is in the phone's copy alone.
    let accepted: Vec<u8> = record
        .changes()
        .into_iter()
        .filter(|bytes| state.contains(change::decode(bytes).unwrap().hash))
        .flatten()
        .collect();
    let compacted = compact(&state, &accepted, ServerTime::from_unix_ms(i64::MAX)).unwrap();
    assert_eq!(
        (compacted.changes.len(), compacted.state.fullness()),
        (2, 0)
    );
    let mut phone = Record::load(&compacted.document).unwrap();
    let change = phone
        .edit(actor(0), at(99_999), &edits, "")
        .unwrap()
        .unwrap();
    let mut target = Target {
        state: Some(compacted.state),
        document: None,
    };
    assert_eq!(push(&mut target, &change, 2), Ok(Merged::Accepted));
}

/// Dropping what had brought many changes together may leave more of them side by side than a change can name.
#[test]
fn too_many_heads_are_refused_and_many_are_not() {
    let heads = |rounds: u8| {
        let (mut record, creating) = Record::create(actor(0), at(0), &creation()).unwrap();
        let mut target = Target::default();
        let mut bytes = creating.bytes.clone();
        push(&mut target, &creating, 1).unwrap();
        let mut made = |record: &mut Record, change: &Change| {
            push(&mut target, change, 1).unwrap();
            bytes.extend(&change.bytes);
            record.apply([change.bytes.as_slice()]).unwrap();
        };
        let base = record.save();
        for round in 0..rounds {
            for n in 0..40_u8 {
                let mut phone = Record::load(&base).unwrap();
                let edits = [Edit::add(format!("tags/第{n}号"))];
                let change = phone
                    .edit(actor(1 + n + 40 * round), at(1), &edits, "")
                    .unwrap()
                    .unwrap();
                made(&mut record, &change);
            }
            let joined = record
                .edit(
                    actor(0),
                    at(2),
                    &[put(&contact(WANG, "role"), &format!("{round}"))],
                    "",
                )
                .unwrap()
                .unwrap();
            made(&mut record, &joined);
        }
        let state = target.state.unwrap();
        let (_, key) = of_person(&state);
        rebuild(&state, &bytes, &Forget::keys(&key)).map(|rebuilt| rebuilt.state.heads().len())
    };
    assert!(matches!(heads(1), Ok(40)));
    assert!(matches!(heads(2), Err(RebuildError::TooWide)));
}
