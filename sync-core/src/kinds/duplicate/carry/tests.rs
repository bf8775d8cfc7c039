//! Two cards, a merge, late edits and an undo, by tables of fields.

use uuid::Uuid;

use crate::kinds::duplicate::carry::*;
use crate::{
    access::{Role, Writer},
    crdt::{
        merge::{Context, Target, merge},
        record::{Edit, Record},
    },
    id::{DeviceId, StreetCode},
    time::{DeviceTime, ServerTime},
};

const WANG: &str = "0198c0de-0000-7000-8000-00000000000a";
const ALSO_WANG: &str = "0198c0de-0000-7000-8000-00000000000b";
const CONSENT: &str = "0198c0de-0000-7000-8000-0000000000c1";
const MERGE: u32 = 0x8000_0000;

fn at() -> DeviceTime {
    DeviceTime::from_unix_seconds(1_795_000_000)
}

fn actor(n: u8, epoch: u32) -> Actor {
    Actor::new(DeviceId(Uuid::from_u128(u128::from(n))), epoch)
}

fn own(actor: Actor) -> bool {
    actor.epoch() >= MERGE
}

struct Card(Target);

impl Card {
    fn new(n: u8, fields: &[(&str, &str)]) -> Self {
        let mut edits = vec![
            Edit::set("kind", "shop_card"),
            Edit::set("street", "310104003"),
            Edit::set("grid", "康平01"),
        ];
        edits.extend(fields.iter().map(|(key, value)| {
            if *value == "+" {
                Edit::add(*key)
            } else {
                Edit::set(*key, value)
            }
        }));
        let (_, change) = Record::create(actor(n, 1), at(), &edits).unwrap();
        let mut card = Self(Target::default());
        card.accept(&change, Writer::Person(Role::Secretary));
        card
    }

    fn accept(&mut self, change: &Change, writer: Writer) {
        let street: StreetCode = "310104003".parse().unwrap();
        let device = change.actor.device();
        let context = Context {
            street: &street,
            kind: Kind::ShopCard,
            generation: 1,
            device,
            writer,
            received_at: ServerTime::from_unix_ms(1_795_000_000_000),
        };
        merge(&mut self.0, change, &context).unwrap();
    }

    fn state(&self) -> &RegisterState {
        self.0.state.as_ref().unwrap()
    }

    fn write(&mut self, actor: Actor, writes: &[Write]) -> Option<Change> {
        let change = self.state().compose(actor, at(), writes, "").unwrap()?;
        self.accept(&change, Writer::Person(Role::Reviewer));
        Some(change)
    }

    fn edit(&mut self, n: u8, key: &str, value: Option<&str>) -> Change {
        self.write(actor(n, 1), &[Write::new(key, value.map(Scalar::from))])
            .unwrap()
    }

    fn take(&mut self, loser: &Self) -> SamePersons {
        let plan = plan(&self.state().view(), &loser.state().view());
        for (nth, writes) in plan.changes.iter().enumerate() {
            self.write(actor(9, MERGE + nth as u32), writes);
        }
        plan.same_persons
    }

    fn follow(&mut self, same: &SamePersons, change: &Change) {
        let writes = carry(self.state(), own, same, change);
        self.write(actor(8, MERGE), &writes);
    }

    fn undo(&mut self, same: &SamePersons) {
        let writes = undo(self.state(), own, same);
        self.write(actor(9, 1), &writes);
    }

    /// What a key holds, ascending.
    fn at(&self, key: &str) -> Vec<String> {
        let mut texts: Vec<_> = self
            .state()
            .visible(key)
            .into_iter()
            .filter_map(|(_, value)| value.as_str().map(str::to_owned))
            .collect();
        texts.sort();
        texts
    }
}

#[test]
fn a_merge_fills_in_and_puts_beside_and_an_undo_takes_exactly_that_back() {
    let mut winner = Card::new(
        1,
        &[
            ("sign_name", "王记包子"),
            ("category", "餐饮"),
            ("tags/late_night", "+"),
            ("opening_hours", "6–10"),
        ],
    );
    let loser = Card::new(
        2,
        &[
            ("sign_name", "王记包子铺"),
            ("legal_name", "王记餐饮店"),
            ("category", "零售"),
            ("tags/late_night", "+"),
            ("tags/family_run", "+"),
            ("confirmations/2026-11-20", "+"),
            ("opening_hours", "6–10"),
            ("custom/消防检查", "合格"),
            (&format!("contacts/{WANG}/name"), "王某"),
        ],
    );
    let before = winner.state().view().values;
    let same = winner.take(&loser);
    assert!(same.is_empty());
    assert_eq!(
        winner.at("sign_name"),
        ["王记包子", "王记包子铺"],
        "nothing is chosen silently"
    );
    assert_eq!(winner.at("legal_name"), ["王记餐饮店"]);
    assert_eq!(
        winner.at("category"),
        ["餐饮"],
        "a field that needs one value keeps the winner's"
    );
    assert_eq!(
        winner.at("opening_hours"),
        ["6–10"],
        "equal values are no conflict"
    );
    assert_eq!(winner.at("custom/消防检查"), ["合格"]);
    assert_eq!(winner.at(&format!("contacts/{WANG}/name")), ["王某"]);
    assert_eq!(winner.state().visible("tags/family_run").len(), 1);
    assert_eq!(winner.state().visible("tags/late_night").len(), 1);
    assert_eq!(winner.state().visible("confirmations/2026-11-20").len(), 1);
    // Merging again has nothing to write.
    assert!(
        plan(&winner.state().view(), &loser.state().view())
            .changes
            .is_empty()
    );
    winner.undo(&same);
    assert_eq!(winner.state().view().values, before);
}

#[test]
fn an_undo_leaves_what_somebody_edited_since() {
    let mut winner = Card::new(1, &[("sign_name", "王记包子")]);
    let phones = format!("contacts/{WANG}/phones");
    let name = format!("contacts/{WANG}/name");
    let loser = Card::new(
        2,
        &[
            ("sign_name", "汪记包子"),
            ("legal_name", "王记餐饮店"),
            (&name, "王某"),
            (&phones, "13900000001"),
        ],
    );
    let same = winner.take(&loser);
    winner.edit(3, "sign_name", Some("汪记包子"));
    winner.edit(3, &phones, Some("13900000002"));
    winner.undo(&same);
    assert_eq!(winner.at("sign_name"), ["汪记包子"], "somebody settled it");
    assert_eq!(winner.at("legal_name"), [""; 0]);
    assert_eq!(winner.at(&phones), ["13900000002"]);
    assert_eq!(
        winner.at(&name),
        ["王某"],
        "a person who was edited stays whole"
    );
}

#[test]
fn late_edits_follow() {
    let mut winner = Card::new(1, &[("sign_name", "王记包子"), ("unit", "101室")]);
    let mut loser = Card::new(
        2,
        &[
            ("sign_name", "汪记包子"),
            ("legal_name", "王记餐饮店"),
            ("tags/family_run", "+"),
        ],
    );
    let same = winner.take(&loser);
    for (key, value, expected) in [
        // What the merge brought over is replaced by the newer word of the same people …
        (
            "legal_name",
            Some("王记餐饮有限公司"),
            &["王记餐饮有限公司"][..],
        ),
        ("sign_name", Some("王氏包子"), &["王氏包子", "王记包子"]),
        // … what the winner's people wrote never is.
        ("unit", Some("102室"), &["101室", "102室"]),
        ("unit", None, &["101室"]),
        ("opening_hours", Some("6–10"), &["6–10"]),
        ("category", Some("餐饮"), &["餐饮"]),
        ("sign_name", Some("王记包子"), &["王记包子"]),
    ] {
        let change = loser.edit(2, key, value);
        winner.follow(&same, &change);
        assert_eq!(winner.at(key), expected, "{key} {value:?}");
    }
    let change = loser.edit(2, "tags/family_run", None);
    winner.follow(&same, &change);
    assert!(winner.state().visible("tags/family_run").is_empty());
    // Its grid and where it went are the card's own.
    let change = loser.edit(2, "grid", Some("梧桐02"));
    assert_eq!(carry(winner.state(), own, &same, &change), []);
}

#[test]
fn one_person_on_both_cards_stays_one() {
    let contact = |entry: &str, name: &str, phones: &str, role: &str| {
        [("name", name), ("phones", phones), ("role", role)]
            .map(|(field, value)| (format!("contacts/{entry}/{field}"), value.to_owned()))
    };
    let card = |n, fields: &[(String, String)]| {
        Card::new(
            n,
            &fields
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .collect::<Vec<_>>(),
        )
    };
    let mut winner = card(1, &contact(WANG, "王某", "13900000001", "店主"));
    let mut loser = card(2, &contact(ALSO_WANG, "王 某", "139-0000-0001", "老板"));
    let same = winner.take(&loser);
    assert_eq!(
        same,
        SamePersons::from([(ALSO_WANG.parse().unwrap(), WANG.parse().unwrap())])
    );
    assert_eq!(winner.state().view().entries("contacts").len(), 1);
    assert_eq!(
        winner.at(&format!("contacts/{WANG}/role")),
        ["店主", "老板"]
    );
    let change = loser.edit(
        2,
        &format!("contacts/{ALSO_WANG}/preferred_time"),
        Some("下午"),
    );
    winner.follow(&same, &change);
    assert_eq!(
        winner.at(&format!("contacts/{WANG}/preferred_time")),
        ["下午"]
    );
    winner.undo(&same);
    assert_eq!(winner.at(&format!("contacts/{WANG}/role")), ["店主"]);
    assert_eq!(
        winner.at(&format!("contacts/{WANG}/preferred_time")),
        [""; 0]
    );
    // Another number is another person, as far as anybody can tell.
    let other = card(3, &contact(ALSO_WANG, "王某", "13900000009", "店主"));
    assert!(winner.take(&other).is_empty());
    assert_eq!(winner.state().view().entries("contacts").len(), 2);
}

#[test]
fn a_party_status_goes_only_with_its_consent() {
    let person = |entry: &str| {
        vec![
            (format!("contacts/{entry}/name"), "王某"),
            (format!("contacts/{entry}/phones"), "13900000001"),
        ]
    };
    let consent = |person: &str, decision: &'static str| {
        let key = |field: &str| format!("consent/{CONSENT}/{field}");
        [
            ("contact", person.to_owned()),
            ("scope", PARTY_STATUS.to_owned()),
            ("decision", decision.to_owned()),
        ]
        .map(|(field, value)| (key(field), value))
    };
    let status = |entry: &str| format!("contacts/{entry}/{PARTY_STATUS}");
    let build = |n: u8, fields: Vec<(String, String)>| {
        Card::new(
            n,
            &fields
                .iter()
                .map(|(k, v)| (k.as_str(), v.as_str()))
                .collect::<Vec<_>>(),
        )
    };
    let owned = |fields: Vec<(String, &str)>| {
        fields
            .into_iter()
            .map(|(k, v)| (k, v.to_owned()))
            .collect::<Vec<_>>()
    };

    let mut fields = owned(person(ALSO_WANG));
    fields.extend(consent(ALSO_WANG, "grant"));
    fields.push((status(ALSO_WANG), "群众".into()));
    let granted = build(2, fields);
    // With the consent, translated to the person's entry on the winner.
    let mut winner = build(1, owned(person(WANG)));
    winner.take(&granted);
    assert_eq!(winner.at(&status(WANG)), ["群众"]);
    assert_eq!(winner.at(&format!("consent/{CONSENT}/contact")), [WANG]);

    // Not where it was withdrawn; and then it ends on the winner as well.
    let mut fields = owned(person(WANG));
    fields.extend(consent(WANG, "grant").map(|(key, value)| (key.replace("c1/", "c2/"), value)));
    fields.push((status(WANG), "群众".into()));
    let mut winner = build(1, fields);
    let mut fields = owned(person(ALSO_WANG));
    fields.extend(consent(ALSO_WANG, "withdraw"));
    winner.take(&build(3, fields));
    assert_eq!(winner.at(&status(WANG)), [""; 0]);
}
