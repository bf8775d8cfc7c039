//! Contact persons who stand twice on one card: joined, followed by late edits, parted again.

#[path = "suite/one_card.rs"]
mod one_card;

use lianka_office_core::{
    acts::{
        Desk, Refused,
        erase::{Person, Redact, Request, reason},
        join_contacts::{Join, UndoJoin},
        merge_cards,
    },
    memory::run,
    store::ContactJoin,
};
use lianka_sync_core::{
    access::Role,
    codec::change::{Action, decode},
    crdt::record::{Edit, Record},
    id::EntryId,
    kinds::duplicate::persons::Same,
};
use uuid::Uuid;

use one_card::{CARD, Scene, device};

const ONE: EntryId = EntryId(Uuid::from_u128(0xa1));
const TWO: EntryId = EntryId(Uuid::from_u128(0xa2));

fn of(entry: EntryId, field: &str) -> String {
    format!("contacts/{entry}/{field}")
}

fn person(entry: EntryId, fields: &[(&str, &str)]) -> Vec<Edit> {
    let fields = fields.iter();
    fields
        .map(|(field, value)| Edit::set(of(entry, field), value))
        .collect()
}

fn consent(n: u128, person: EntryId, decision: &str) -> Vec<Edit> {
    let entry = EntryId(Uuid::from_u128(n));
    let fields = [
        ("contact", person.to_string()),
        ("scope", "party_status".into()),
        ("decision", decision.into()),
    ];
    fields
        .iter()
        .map(|(field, value)| Edit::set(format!("consent/{entry}/{field}"), value))
        .collect()
}

/// An office with a card of these persons.
fn of_persons(persons: &[Vec<Edit>]) -> Scene {
    Scene::with(&persons.concat())
}

impl Scene {
    fn late(&mut self, edits: &[Edit]) {
        let bytes = self.edit(edits);
        self.push(bytes);
    }

    fn desk() -> Desk {
        Desk {
            username: "li.na".into(),
            device: device(2),
            role: Role::Reviewer,
        }
    }

    fn join(&mut self, kept: EntryId, gone: EntryId) -> Result<ContactJoin, Refused> {
        let now = self.now();
        let nth = self.calls;
        let join = Join {
            by: Self::desk(),
            record: CARD,
            same: Same { kept, gone },
            note: String::new(),
            join: Uuid::from_u128(0x100 + u128::from(nth)),
            epoch: merge_cards::epoch([0, 0, nth, 0]),
        };
        run(&mut self.store, now, join)
    }

    fn part(&mut self, join: &ContactJoin) -> Result<ContactJoin, Refused> {
        let undo = UndoJoin {
            by: Self::desk(),
            join: join.join,
            note: String::new(),
        };
        let now = self.now();
        run(&mut self.store, now, undo)
    }

    fn redact(&mut self, entry: EntryId) {
        let redact = Redact {
            record: CARD,
            person: Person::Entry(entry),
            personal: [].into(),
            note: false,
            request: Request {
                username: "li.na".into(),
                device: device(2),
                reason: reason("subject_request"),
                erasure: Uuid::from_u128(0xe),
            },
        };
        let now = self.now();
        run(&mut self.store, now, redact).expect("redacted");
    }

    /// Every text that the card's history holds.
    fn written(&self) -> Vec<String> {
        let document = self.store.document(CARD).expect("a document");
        let changes = Record::load(&document).expect("loads").changes();
        let changes = changes.iter().map(|bytes| decode(bytes).expect("decodes"));
        let ops = changes.flat_map(|change| change.ops);
        ops.filter_map(|op| match op.action {
            Action::Put { value, .. } => value.as_str().map(str::to_owned),
            _ => None,
        })
        .collect()
    }

    /// What the contact persons say, `entry field=value|value`, and whose consents there are.
    fn says(&self) -> Vec<String> {
        let view = self.store.records[&CARD].state.view();
        let of_persons = view
            .values
            .iter()
            .filter(|(key, _)| key.starts_with("contacts/") || key.ends_with("/contact"));
        let said = of_persons.map(|(key, values)| {
            let mut texts: Vec<_> = values
                .iter()
                .filter_map(|value| value.value.as_str())
                .collect();
            texts.sort_unstable();
            let key = key
                .replace(&ONE.to_string(), "one")
                .replace(&TWO.to_string(), "two");
            let key = if key.starts_with("consent/") {
                "consent".into()
            } else {
                key
            };
            let texts = texts.join("|");
            format!("{key}={texts}")
                .replace(&ONE.to_string(), "one")
                .replace(&TWO.to_string(), "two")
        });
        let mut said: Vec<_> = said.map(|text| text.replace("contacts/", "")).collect();
        said.sort();
        said
    }
}

#[test]
fn the_entry_that_goes_on_is_filled_in_and_differs_side_by_side() {
    let one = person(ONE, &[("name", "钱小红"), ("phones", "13700000007")]);
    let two = [
        ("name", "钱小红"),
        ("phones", "13700000008"),
        ("role", "店长"),
    ];
    let mut scene = of_persons(&[one, person(TWO, &two)]);
    let before = scene.says();
    let join = scene.join(ONE, TWO).expect("joined");
    assert_eq!(join.reasons, ["same_person_name"]);
    let joined = [
        "one/name=钱小红",
        "one/phones=13700000007|13700000008",
        "one/role=店长",
    ];
    assert_eq!(scene.says(), joined);
    assert!(
        matches!(scene.join(ONE, TWO), Err(Refused::NoEntry)),
        "it is gone"
    );
    assert!(matches!(scene.join(ONE, ONE), Err(Refused::NoEntry)));

    scene.part(&join).expect("parted");
    assert_eq!(scene.says(), before, "as it was");
    assert!(matches!(scene.part(&join), Err(Refused::MergeUndone)));
    // The other way round, once more.
    let again = scene.join(TWO, ONE).expect("joined");
    assert_eq!(scene.says()[0], "two/name=钱小红");
    scene.part(&again).expect("parted");
    assert_eq!(scene.says(), before);
}

#[test]
fn what_was_edited_since_stays_when_they_are_parted() {
    let one = person(ONE, &[("name", "钱小红")]);
    let two = [("name", "钱小红"), ("phones", "13700000008")];
    let mut scene = of_persons(&[one, person(TWO, &two)]);
    let join = scene.join(ONE, TWO).expect("joined");
    let edit = lianka_office_core::acts::edit::Edit {
        by: Scene::desk(),
        record: CARD,
        set: [(of(ONE, "phones"), Some("13700000009".into()))].into(),
        note: String::new(),
        expected_heads: None,
    };
    let now = scene.now();
    run(&mut scene.store, now, edit).expect("edited");
    scene.part(&join).expect("parted");
    assert_eq!(
        scene.says(),
        [
            "one/name=钱小红",
            "one/phones=13700000009",
            "two/name=钱小红",
            "two/phones=13700000008"
        ]
    );
}

#[test]
fn whoever_is_forgotten_is_forgotten_in_what_was_joined_and_parted() {
    let three = EntryId(Uuid::from_u128(0xa3));
    let phone = [("phones", "13700000008"), ("role", "店长")];
    let one = person(ONE, &[("name", "钱小红"), ("phones", "13700000007")]);
    let two = person(TWO, &[("name", "钱小红")]);
    let three_says = person(three, &[&[("name", "钱小红")][..], &phone].concat());
    let mut scene = of_persons(&[one, two, three_says]);
    // Its number went into one entry, and from there into the next; one lacked a number and one had another.
    let first = scene.join(TWO, three).expect("joined");
    let second = scene.join(ONE, TWO).expect("joined");
    scene.late(&person(three, &[("phones", "13700000009")]));
    scene.part(&second).expect("parted");
    scene.part(&first).expect("parted");
    let before = scene.says();
    let others = [
        "one/name=钱小红",
        "one/phones=13700000007",
        "two/name=钱小红",
    ];
    assert!(before.ends_with(&others.map(str::to_owned)), "{before:?}");
    scene.redact(three);
    let rest: Vec<_> = before
        .into_iter()
        .filter(|said| !said.starts_with(&three.to_string()))
        .collect();
    assert_eq!(scene.says(), rest, "what others say stays");
    let written = scene.written();
    assert!(written.iter().any(|text| text == "13700000007"));
    for gone in ["13700000008", "13700000009", "店长"] {
        assert!(!written.iter().any(|text| text == gone), "{gone}");
    }
}

#[test]
fn late_edits_of_the_entry_that_went_follow() {
    let one = person(ONE, &[("name", "钱小红"), ("phones", "13700000007")]);
    let two = person(TWO, &[("name", "钱小红"), ("phones", "13700000008")]);
    let mut scene = of_persons(&[one, two]);
    let join = scene.join(ONE, TWO).expect("joined");
    // It replaces what joining had brought over, and stands beside what others wrote.
    scene.late(&person(TWO, &[("phones", "13700000009"), ("role", "店长")]));
    assert_eq!(
        scene.says(),
        [
            "one/name=钱小红",
            "one/phones=13700000007|13700000009",
            "one/role=店长"
        ]
    );
    scene.late(&[Edit::Delete {
        key: of(TWO, "role"),
    }]);
    assert_eq!(scene.says().len(), 2, "only what it had brought");
    scene.part(&join).expect("parted");
    assert_eq!(
        scene.says(),
        [
            "one/name=钱小红",
            "one/phones=13700000007",
            "two/name=钱小红",
            "two/phones=13700000009"
        ]
    );
    // From here on an edit is its entry's own again.
    scene.late(&person(TWO, &[("preferred_time", "上午")]));
    assert!(scene.says().contains(&"two/preferred_time=上午".to_owned()));
}

#[test]
fn a_joined_entry_is_joined_in_turn() {
    let three = EntryId(Uuid::from_u128(0xa3));
    let all = [ONE, TWO, three].map(|entry| person(entry, &[("name", "钱小红")]));
    let mut scene = of_persons(&all);
    let first = scene.join(TWO, three).expect("joined");
    let second = scene.join(ONE, TWO).expect("joined");
    scene.late(&person(three, &[("phones", "13700000009")]));
    assert_eq!(scene.says(), ["one/name=钱小红", "one/phones=13700000009"]);
    assert!(matches!(scene.part(&first), Err(Refused::MergeNotLast)));
    scene.part(&second).expect("parted");
    scene.part(&first).expect("parted");
}

#[test]
fn consents_follow_and_a_withdrawal_of_either_counts() {
    let mut two = person(TWO, &[("name", "钱小红"), ("party_status", "群众")]);
    two.extend(consent(0xc1, TWO, "grant"));
    let one = person(ONE, &[("name", "钱小红")]);
    let mut scene = of_persons(&[one.clone(), two.clone()]);
    let join = scene.join(ONE, TWO).expect("joined");
    assert_eq!(
        scene.says(),
        [
            "consent=one",
            "consent=two",
            "one/name=钱小红",
            "one/party_status=群众"
        ]
    );
    scene.part(&join).expect("parted");
    let parted = [
        "consent=one",
        "consent=two",
        "one/name=钱小红",
        "two/name=钱小红",
        "two/party_status=群众",
    ];
    assert_eq!(scene.says(), parted, "a consent cannot be unsaid");

    // A late withdrawal, by the entry that went.
    let mut scene = of_persons(&[one.clone(), two.clone()]);
    scene.join(ONE, TWO).expect("joined");
    scene.late(&consent(0xc2, TWO, "withdraw"));
    assert!(
        !scene
            .says()
            .iter()
            .any(|said| said.contains("party_status")),
        "{:?}",
        scene.says()
    );
    // One from before, of the entry that goes on.
    let mut one = one;
    one.extend(consent(0xc3, ONE, "withdraw"));
    let mut scene = of_persons(&[one, two]);
    scene.join(ONE, TWO).expect("joined");
    assert!(
        !scene
            .says()
            .iter()
            .any(|said| said.contains("party_status")),
        "{:?}",
        scene.says()
    );
}
