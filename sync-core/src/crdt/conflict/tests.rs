//! Classes of conflicts, and what a change settles, by tables and small histories.

use crate::crdt::conflict::*;
use crate::{
    access::Writer,
    crdt::{
        merge::{self, Context, Merged, Replaces, Target, Write},
        record::{Edit, Record},
    },
    id::{Actor, StreetCode},
    kinds::Kind,
};

fn classify(key: &str, texts: &[&str]) -> Option<(HarmlessClass, String)> {
    let (field, _) = Kind::ShopCard.field(key).unwrap();
    let values: Vec<Scalar> = texts.iter().map(|text| (*text).into()).collect();
    let harmless = harmless(field, &values.iter().collect::<Vec<_>>())?;
    Some((
        harmless.class,
        harmless.suggestion.as_str().unwrap().to_owned(),
    ))
}

#[track_caller]
fn check(key: &str, texts: &[&str], expected: Option<(HarmlessClass, &str)>) {
    assert_eq!(
        classify(key, texts),
        expected.map(|(class, text)| (class, text.to_owned())),
        "{key} {texts:?}"
    );
}

const PHONES: &str = "contacts/0198c0de-0000-7000-8000-000000000001/phones";
const NAME: &str = "contacts/0198c0de-0000-7000-8000-000000000001/name";
const PARTY: &str = "contacts/0198c0de-0000-7000-8000-000000000001/party_status";

#[test]
fn spelling_is_width_case_spaces_and_punctuation() {
    use HarmlessClass::Spelling;
    check(
        "sign_name",
        &["Ｗａｎｇ记", "Wang记"],
        Some((Spelling, "Wang记")),
    );
    check(
        "sign_name",
        &["wang记", "Wang记"],
        Some((Spelling, "Wang记")),
    );
    check(
        "sign_name",
        &["王记 包子", "王记包子"],
        Some((Spelling, "王记 包子")),
    );
    check(
        "sign_name",
        &[" 王记包子", "王记包子"],
        Some((Spelling, "王记包子")),
    );
    check(
        "sign_name",
        &["王记包子（天平店）", "王记包子(天平店)"],
        Some((Spelling, "王记包子(天平店)")),
    );
    check(
        "opening_hours",
        &["9：00～21：00", "9:00-21:00"],
        Some((Spelling, "9:00-21:00")),
    );
    check("number", &["３７８", "378"], Some((Spelling, "378")));
    check("unit", &["b座２室", "B座2室"], Some((Spelling, "B座2室")));
    check(NAME, &["王 芳", "王芳"], Some((Spelling, "王 芳")));
}

#[test]
fn what_may_be_another_door_or_number_is_no_spelling() {
    for (key, texts) in [
        ("number", ["12-1", "121"]),
        ("number", ["12 1", "121"]),
        ("number", ["12/1", "12-1"]),
        ("custom/温度", ["-5", "5"]),
        ("opening_hours", ["9:00-21:00", "9:00-22:00"]),
        ("sign_name", ["王记包子", "王记早点"]),
        ("sign_name", ["國泰", "国泰"]),
        ("sign_name", ["——", "……"]),
        ("custom/消防", ["合格", "不合格"]),
        ("custom/消防", ["合格", "合格证过期"]),
        (NAME, ["王芳", "王芳菲"]),
        (
            "legal_name",
            ["上海王记餐饮有限公司", "上海王记餐饮有限公司徐汇分公司"],
        ),
        ("occupancy", ["营业", "空置"]),
        (PARTY, ["群众", "群 众"]),
    ] {
        check(key, &texts, None);
    }
    check("sign_name", &["王记", "王记"], None);
    check("sign_name", &["王记"], None);
    check("category", &["餐饮", " 餐饮"], None);
}

#[test]
fn numbers_may_be_written_in_many_ways() {
    use HarmlessClass::{MoreComplete, PhoneFormat};
    check(
        PHONES,
        &["166 3410 9680", "16634109680"],
        Some((PhoneFormat, "16634109680")),
    );
    check(
        PHONES,
        &["50932417", "021-50932417"],
        Some((PhoneFormat, "021-50932417")),
    );
    check(
        PHONES,
        &["16634109680/95588", "95588、16634109680"],
        Some((PhoneFormat, "16634109680/95588")),
    );
    check(
        PHONES,
        &["16634109680", "16634109680/021-50932417"],
        Some((MoreComplete, "16634109680/021-50932417")),
    );
    check(PHONES, &["021-50932417转8", "021-50932417转9"], None);
    check(PHONES, &["16634109680", "16634109681"], None);
    check(PHONES, &["16634109680", "16634109680（晚上）"], None);
    check(PHONES, &["1868600564", "18686005640"], None);
    check(PHONES, &["0512-65221234", "65221234"], None);
}

#[test]
fn a_sign_that_begins_with_the_others_says_more() {
    use HarmlessClass::MoreComplete;
    check(
        "sign_name",
        &["王记包子", "王记包子铺", "王记包"],
        Some((MoreComplete, "王记包子铺")),
    );
    check(
        "sign_name",
        &["联华超市（天平店）", "联华超市"],
        Some((MoreComplete, "联华超市（天平店）")),
    );
    check("sign_name", &["老王记包子", "王记包子"], None);
    check("sign_name", &["王", "王记"], None);
    check("sign_name", &["7-11", "7-1"], None);
    check("sign_name", &["Cafe", "Cafeteria"], None);
    check("sign_name", &["王记包子", "王记包子铺", "王记早点"], None);
}

#[test]
fn classes_have_names_of_their_own() {
    for class in HarmlessClass::ALL {
        assert_eq!(class.as_str().parse(), Ok(class));
        assert_ne!(class.label(Lang::Zh), class.label(Lang::En));
    }
    assert_eq!("harmless".parse::<HarmlessClass>(), Err(UnknownClass));
}

/// A card that devices write to in turn, each from what it had seen.
struct Card {
    target: Target,
    street: StreetCode,
}

fn actor(n: u8) -> Actor {
    Actor::new(DeviceId(uuid::Uuid::from_bytes([n; 16])), 1)
}

impl Card {
    fn new(sign: &str) -> (Self, Vec<u8>) {
        let edits = [
            ("kind", "shop_card"),
            ("street", "310104003"),
            ("grid", "A1"),
            ("sign_name", sign),
        ]
        .map(|(key, text)| Edit::set(key, text));
        let (mut record, change) =
            Record::create(actor(1), DeviceTime::from_unix_seconds(1), &edits).unwrap();
        let mut card = Self {
            target: Target::default(),
            street: "310104003".parse().unwrap(),
        };
        assert!(card.take(&change).is_empty());
        (card, record.save())
    }

    /// What `n` writes on a copy of `seen`.
    fn by(n: u8, seen: &[u8], edits: &[Edit]) -> (Change, Vec<u8>) {
        let mut record = Record::load(seen).unwrap();
        let change = record
            .edit(
                actor(n),
                DeviceTime::from_unix_seconds(i64::from(n)),
                edits,
                "",
            )
            .unwrap()
            .unwrap();
        (change, record.save())
    }

    /// Merges, and tells what was settled as `key: replaced → chosen`.
    fn take(&mut self, change: &Change) -> Vec<String> {
        let settled = self
            .target
            .state
            .as_ref()
            .map(|state| settled(state, change))
            .unwrap_or_default();
        let context = Context {
            street: &self.street,
            kind: Kind::ShopCard,
            generation: 1,
            device: change.actor.device(),
            writer: Writer::Server,
            received_at: ServerTime::from_unix_ms(1_790_000_000_000),
        };
        assert_eq!(
            merge::merge(&mut self.target, change, &context),
            Ok(Merged::Accepted)
        );
        let text = |value: &Scalar| value.as_str().unwrap_or("?").to_owned();
        settled
            .iter()
            .map(|one| {
                let replaced: Vec<_> = one
                    .replaced
                    .iter()
                    .map(|value| text(&value.value))
                    .collect();
                assert!(
                    one.replaced
                        .iter()
                        .all(|value| value.device == value.op.actor.device())
                );
                format!(
                    "{}: {} → {}",
                    one.key,
                    replaced.join(" "),
                    one.chosen.as_ref().map_or("-".into(), text)
                )
            })
            .collect()
    }

    fn state(&self) -> &RegisterState {
        self.target.state.as_ref().unwrap()
    }
}

fn sign(text: &str) -> Vec<Edit> {
    vec![Edit::set("sign_name", text)]
}

fn both(a: &[u8], change: &Change) -> Vec<u8> {
    let mut record = Record::load(a).unwrap();
    record.apply([change.bytes.as_slice()]).unwrap();
    record.save()
}

#[test]
fn settling_is_replacing_values_that_differ() {
    let (mut card, seen) = Card::new("旧招牌");
    let (a, after_a) = Card::by(2, &seen, &sign("王记"));
    let (b, _) = Card::by(3, &seen, &sign("李记"));
    assert!(card.take(&a).is_empty(), "an ordinary edit");
    assert!(
        card.take(&b).is_empty(),
        "a conflict begins, nothing is settled"
    );
    // A goes on from its own value and has not seen B's.
    let (a2, after_a2) = Card::by(2, &after_a, &sign("王记铺"));
    assert!(card.take(&a2).is_empty(), "an edit of one branch");
    let all = both(&after_a2, &b);
    let (choice, after_choice) = Card::by(4, &all, &sign("李记"));
    assert_eq!(card.take(&choice), ["sign_name: 李记 王记铺 → 李记"]);
    let (again, _) = Card::by(4, &after_choice, &sign("赵记"));
    assert!(card.take(&again).is_empty(), "nothing is left to settle");
}

#[test]
fn keeping_the_value_that_wins_is_a_choice_too() {
    let (mut card, seen) = Card::new("旧招牌");
    let (a, after_a) = Card::by(2, &seen, &sign("王记"));
    let (b, after_b) = Card::by(3, &seen, &sign("李记"));
    card.take(&a);
    card.take(&b);
    let all = both(&after_a, &b);
    let (choice, _) = Card::by(4, &all, &sign("李记"));
    assert!(
        matches!(choice.ops[0].action, Action::Delete { .. }),
        "else this test says nothing"
    );
    // Somebody who saw one of the two only, and clears it, chooses nothing.
    let (cleared, _) = Card::by(
        5,
        &after_b,
        &[Edit::Delete {
            key: "sign_name".into(),
        }],
    );
    assert!(settled(card.state(), &cleared).is_empty());
    let winner = card.state().visible("sign_name").pop().map(|(op, _)| op);
    assert_eq!(
        settled(card.state(), &choice).first().map(|one| one.op),
        winner
    );
    assert_eq!(card.take(&choice), ["sign_name: 王记 李记 → 李记"]);
    assert!(!card.state().has_conflicts());
}

#[test]
fn clearing_and_writing_twice_settle_too() {
    let conflict = || {
        let (mut card, seen) = Card::new("旧招牌");
        let (a, after_a) = Card::by(2, &seen, &sign("王记"));
        let (b, _) = Card::by(3, &seen, &sign("李记"));
        card.take(&a);
        card.take(&b);
        (card, both(&after_a, &b))
    };
    let (mut card, all) = conflict();
    assert_eq!(
        card.take(
            &Card::by(
                4,
                &all,
                &[Edit::Delete {
                    key: "sign_name".into()
                }]
            )
            .0
        ),
        ["sign_name: 王记 李记 → -"]
    );
    let (mut card, all) = conflict();
    let twice = [sign("甲"), sign("乙")].concat();
    assert_eq!(
        card.take(&Card::by(4, &all, &twice).0),
        ["sign_name: 王记 李记 → 乙"]
    );
}

#[test]
fn equal_values_are_no_conflict_and_last_writer_fields_have_none() {
    let (mut card, seen) = Card::new("旧招牌");
    let (a, after_a) = Card::by(
        2,
        &seen,
        &[sign("王记"), vec![Edit::set("category", "餐饮")]].concat(),
    );
    let (b, _) = Card::by(
        3,
        &seen,
        &[sign("王记"), vec![Edit::set("category", "零售")]].concat(),
    );
    card.take(&a);
    card.take(&b);
    let all = both(&after_a, &b);
    assert!(
        card.take(
            &Card::by(
                4,
                &all,
                &[sign("赵记"), vec![Edit::set("category", "服务")]].concat()
            )
            .0
        )
        .is_empty()
    );
}

#[test]
fn a_choice_that_lost_the_race_still_tells_whom_it_overwrote() {
    let (mut card, seen) = Card::new("旧招牌");
    let (a, after_a) = Card::by(2, &seen, &sign("王记"));
    let (b, _) = Card::by(3, &seen, &sign("李记"));
    card.take(&a);
    card.take(&b);
    let all = both(&after_a, &b);
    // A moved on before the choice of 4, made offline, arrives: A's new value stays, B's is replaced.
    card.take(&Card::by(2, &after_a, &sign("王记铺")).0);
    let (choice, _) = Card::by(4, &all, &sign("王记"));
    assert_eq!(card.take(&choice), ["sign_name: 李记 → 王记"]);
    assert!(
        card.state().has_conflicts(),
        "what 4 had not seen stays in conflict"
    );
}

#[test]
fn the_desk_settles_only_what_it_has_seen_and_can_put_all_back() {
    let (mut card, seen) = Card::new("旧招牌");
    for (n, text) in [(2, "王记"), (3, "李记"), (4, "赵记")] {
        card.take(&Card::by(n, &seen, &sign(text)).0);
    }
    let ops: Vec<_> = card
        .state()
        .visible("sign_name")
        .into_iter()
        .map(|(op, _)| op)
        .collect();
    let at = DeviceTime::from_unix_seconds(9);
    let write = |value: &str, replaces| Write {
        key: "sign_name".into(),
        value: Some(value.into()),
        replaces,
    };
    let change = card
        .state()
        .compose(
            actor(9),
            at,
            &[write("王记", Replaces::Only(ops[..2].to_vec()))],
            "核对过",
        )
        .unwrap()
        .unwrap();
    assert_eq!(card.take(&change), ["sign_name: 王记 李记 → 王记"]);
    let values = |card: &Card| {
        let mut values: Vec<_> = card
            .state()
            .visible("sign_name")
            .into_iter()
            .map(|(_, value)| value.as_str().unwrap().to_owned())
            .collect();
        values.sort();
        values
    };
    assert_eq!(values(&card), ["王记", "赵记"]);
    // Undone: the value that was not chosen stands beside the others again, by the same desk.
    let back = card
        .state()
        .compose(actor(9), at, &[write("李记", Replaces::Nothing)], "")
        .unwrap()
        .unwrap();
    assert!(card.take(&back).is_empty());
    assert_eq!(values(&card), ["李记", "王记", "赵记"]);
}
