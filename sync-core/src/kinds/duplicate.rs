//! Likely duplicates: which cards may be one shop entered twice, and why somebody should look.
//!
//! In: what stands on cards ([`Recognised`]). Out: [`Traits`] (what a card is recognised by), the keys under which two cards meet without a look at every other
//! card, and the reasons that two cards share. The office proposes pairs from it, the phone warns before it creates a card; both by this table.
//!
//! Invariants:
//! - reasons only: nothing here counts, weighs or ranks people or shops, and nothing merges by itself;
//! - every likely pair meets under at least one key, so looking under the keys misses none;
//! - a card that was merged away has no traits, and is in no pair.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    id::RecordId,
    lang::Lang,
    search,
    values::{
        address::{Address, DoorKey},
        credit_code,
        phone::{self, PhoneKind},
    },
};

pub mod carry;
pub mod persons;

/// Keys that one card may have: a card with a hundred numbers must not crowd out the others.
pub const KEYS_MAX: usize = 24;
/// Characters of a key.
const KEY_CHARS_MAX: usize = 200;
/// A credit code, or an old registration number, has at least so many characters; 无 and 个体 are neither.
const CODE_CHARS_MIN: usize = 15;
/// Parts of a name that are compared.
const NAME_PARTS_MAX: usize = 40;

/// What two cards have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Road, lane, number and suffix are the same, and the units do not differ.
    SameDoor,
    /// The sign names are the same, or sound the same.
    SameName,
    /// One sign name begins or holds the other, or they differ in a character.
    SimilarName,
    /// A mobile or landline number is the same.
    SamePhone,
    /// The credit code is the same.
    SameCreditCode,
}

/// Why a text names no reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown reason")]
pub struct UnknownReason;

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::SameDoor,
        Self::SameName,
        Self::SimilarName,
        Self::SamePhone,
        Self::SameCreditCode,
    ];

    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SameDoor => "same_door",
            Self::SameName => "same_name",
            Self::SimilarName => "similar_name",
            Self::SamePhone => "same_phone",
            Self::SameCreditCode => "same_credit_code",
        }
    }

    /// What people read.
    pub const fn label(self, lang: Lang) -> &'static str {
        match (self, lang) {
            (Self::SameDoor, Lang::Zh) => "门牌相同",
            (Self::SameDoor, Lang::En) => "same door",
            (Self::SameName, Lang::Zh) => "店招同名或同音",
            (Self::SameName, Lang::En) => "same sign name, or one that sounds the same",
            (Self::SimilarName, Lang::Zh) => "店招相近",
            (Self::SimilarName, Lang::En) => "similar sign name",
            (Self::SamePhone, Lang::Zh) => "电话相同",
            (Self::SamePhone, Lang::En) => "same phone number",
            (Self::SameCreditCode, Lang::Zh) => "统一社会信用代码相同",
            (Self::SameCreditCode, Lang::En) => "same credit code",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or(UnknownReason)
    }
}

/// What a card is recognised by, as it stands there.
#[derive(Clone, Debug, Default)]
pub struct Recognised<'c> {
    /// What it is called.
    pub name: Option<&'c str>,
    /// Road, lane, number, suffix and unit.
    pub address: [Option<&'c str>; 5],
    /// The address as typed.
    pub address_raw: Option<&'c str>,
    /// What it is registered under.
    pub credit_code: Option<&'c str>,
    /// Telephone numbers, as typed.
    pub phones: Vec<&'c str>,
}

/// What a card is recognised by, each part in a normal form.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Traits {
    /// Road, lane, number and suffix.
    door: Option<String>,
    unit: Option<String>,
    /// The name's parts in pinyin without tones, by the usual readings; letters and digits as they are.
    name: Vec<String>,
    phones: BTreeSet<String>,
    credit_code: Option<String>,
}

const DOOR: &str = "door";
const UNIT: &str = "unit";
const NAME: &str = "name";
const PHONE: &str = "phone";
const CODE: &str = "code";

/// Where two cards stand towards each other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Comparison {
    /// What they share, in the order of [`Reason::ALL`].
    pub reasons: Vec<Reason>,
    /// Both doors are known and differ.
    pub other_door: bool,
}

impl Traits {
    /// Of what is recognised.
    pub fn of(seen: &Recognised<'_>) -> Self {
        let (door, unit) = seen.door();
        let phones = seen
            .phones
            .iter()
            .copied()
            .flat_map(phone::parse)
            .filter_map(|phone| number(&phone));
        let code = seen
            .credit_code
            .map(|code| credit_code::check(code).normalised);
        Self {
            door,
            unit,
            name: seen.name.map(sound).unwrap_or_default(),
            phones: phones.collect(),
            credit_code: code.filter(|code| {
                code.chars().count() >= CODE_CHARS_MIN
                    && code.bytes().all(|b| b.is_ascii_alphanumeric())
            }),
        }
    }

    /// The traits as texts, for a store: `door|…`, `name|…`. [`Self::from_keys`] reads them back. At most [`KEYS_MAX`].
    pub fn keys(&self) -> Vec<String> {
        let one = |kind: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!("{kind}|{value}"))
        };
        let name = (!self.name.is_empty()).then(|| self.name.join(" "));
        let mut keys: Vec<String> = [
            one(DOOR, &self.door),
            one(UNIT, &self.unit),
            one(NAME, &name),
            one(CODE, &self.credit_code),
        ]
        .into_iter()
        .flatten()
        .chain(self.phones.iter().map(|phone| format!("{PHONE}|{phone}")))
        .filter(|key| key.chars().count() <= KEY_CHARS_MAX)
        .collect();
        keys.truncate(KEYS_MAX);
        keys
    }

    /// From the texts of [`Self::keys`]; anything else is passed over.
    pub fn from_keys<'k>(keys: impl IntoIterator<Item = &'k str>) -> Self {
        let mut traits = Self::default();
        for (kind, value) in keys.into_iter().filter_map(|key| key.split_once('|')) {
            let value = value.to_owned();
            match kind {
                DOOR => traits.door = Some(value),
                UNIT => traits.unit = Some(value),
                NAME => traits.name = value.split(' ').map(str::to_owned).collect(),
                PHONE => drop(traits.phones.insert(value)),
                CODE => traits.credit_code = Some(value),
                _ => {}
            }
        }
        traits
    }

    /// Whether two cards that share this key are worth comparing. A unit says nothing without its door.
    pub fn meets(key: &str) -> bool {
        !key.starts_with(UNIT)
    }

    /// What two cards share.
    pub fn compare(&self, other: &Self) -> Comparison {
        let both = |mine: &Option<String>, theirs: &Option<String>| match (mine, theirs) {
            (Some(mine), Some(theirs)) => Some(mine == theirs),
            _ => None,
        };
        let (door, unit) = (both(&self.door, &other.door), both(&self.unit, &other.unit));
        let same_door = door == Some(true) && unit != Some(false);
        let name = (!self.name.is_empty() && !other.name.is_empty())
            .then(|| similarity(&self.name, &other.name))
            .flatten();
        let reasons = [
            same_door.then_some(Reason::SameDoor),
            name,
            (!self.phones.is_disjoint(&other.phones)).then_some(Reason::SamePhone),
            (both(&self.credit_code, &other.credit_code) == Some(true))
                .then_some(Reason::SameCreditCode),
        ];
        Comparison {
            reasons: reasons.into_iter().flatten().collect(),
            other_door: door == Some(false) || (door == Some(true) && !same_door),
        }
    }
}

impl Comparison {
    /// Whether the two are likely one shop.
    ///
    /// One reason alone never is enough: a mall has many shops behind one door, chains share their name, one person may run two shops and one
    /// business two branches. Two of door, name, phone and code are, unless both doors are known and differ. Then only name and phone
    /// together are: that is the shop at a corner entered from both streets, or a mistyped number. A shared code adds nothing there: it is what
    /// two branches of one business have in common.
    pub fn is_likely(&self) -> bool {
        if self.other_door {
            return self.reasons.contains(&Reason::SameName)
                && self.reasons.contains(&Reason::SamePhone);
        }
        self.reasons.len() >= 2
    }
}

/// The id of a pair of records: the same whichever stands first.
pub fn pair_id(a: RecordId, b: RecordId) -> Uuid {
    let (first, second) = if a <= b { (a, b) } else { (b, a) };
    let mut hasher = Sha256::new();
    hasher.update(b"lianka duplicate pair");
    hasher.update(first.0.as_bytes());
    hasher.update(second.0.as_bytes());
    let digest: [u8; 32] = hasher.finalize().into();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(id).into_uuid()
}

impl Recognised<'_> {
    /// Door and unit, from the parts or, where there are none, from the address as typed.
    fn door(&self) -> (Option<String>, Option<String>) {
        let [road, lane, number, suffix, unit] = self.address;
        let typed = || {
            self.address_raw
                .and_then(|raw| Address::parse(raw, &[]).door_key())
        };
        let Some(key) = DoorKey::of(road, lane, number, suffix, unit).or_else(typed) else {
            return (None, None);
        };
        match key.as_str().rsplit_once('|') {
            Some((door, unit)) => (
                Some(door.to_owned()),
                (!unit.is_empty()).then(|| unit.to_owned()),
            ),
            None => (None, None),
        }
    }
}

/// The number as it is compared. Numbers of services (400, 95xxx) belong to a brand, not to a shop; an extension tells two shops behind one
/// switchboard apart.
fn number(phone: &phone::Phone) -> Option<String> {
    match phone.kind {
        PhoneKind::Mobile | PhoneKind::Landline | PhoneKind::Foreign { .. } => {
            let number = phone.compared();
            Some(match &phone.ext {
                Some(ext) => format!("{number}x{ext}"),
                None => number,
            })
        }
        PhoneKind::Service400 | PhoneKind::Short95 | PhoneKind::Unrecognised => None,
    }
}

/// A name as it sounds: a syllable for each character that has one, and each run of letters and digits between them as one part.
fn sound(name: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut run = String::new();
    for c in search::fold(name).chars() {
        match search::syllable(c) {
            Some(syllable) => {
                parts.extend((!run.is_empty()).then(|| std::mem::take(&mut run)));
                parts.push(syllable);
            }
            None => run.push(c),
        }
    }
    parts.extend((!run.is_empty()).then_some(run));
    parts.truncate(NAME_PARTS_MAX);
    parts
}

fn similarity(a: &[String], b: &[String]) -> Option<Reason> {
    if a == b {
        return Some(Reason::SameName);
    }
    // A name of one run of letters is compared letter by letter.
    if let ([a], [b]) = (a, b) {
        let (a, b) = (letters(a), letters(b));
        return alike(&a, &b, 4, 5).then_some(Reason::SimilarName);
    }
    alike(a, b, 2, 4).then_some(Reason::SimilarName)
}

fn letters(text: &str) -> Vec<String> {
    text.chars().map(String::from).collect()
}

/// One begins the other with at least `prefix_min` parts, or stands within it with one more; or both are at least `long` parts, begin alike and
/// differ in one (in two, from twice that length).
fn alike(a: &[String], b: &[String], prefix_min: usize, long: usize) -> bool {
    let (short, other) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if short.len() >= prefix_min && other.starts_with(short) {
        return true;
    }
    if short.len() > prefix_min && other.windows(short.len()).any(|part| part == short) {
        return true;
    }
    let differ = if short.len() >= 2 * long { 2 } else { 1 };
    // 王记 and 李记 are two families: the beginning is what tells trade names apart.
    short.len() >= long
        && short[0] == other[0]
        && other.len() - short.len() <= differ
        && distance(short, other) <= differ
}

/// Levenshtein's distance.
fn distance(a: &[String], b: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        id::EntryId,
        kinds::shop_card::{CardRow, ContactRow},
    };

    fn compare(a: &CardRow, b: &CardRow) -> Comparison {
        a.traits().compare(&b.traits())
    }

    fn card(text: &str) -> CardRow {
        let mut row = CardRow::default();
        for part in text.split_whitespace() {
            let (kind, value) = part.split_once('=').expect("kind=value");
            let value = Some(value.to_owned());
            match kind {
                "sign" => row.sign_name = value,
                "road" => row.road = value,
                "lane" => row.lane = value,
                "no" => row.number = value,
                "suffix" => row.number_suffix = value,
                "unit" => row.unit = value,
                "raw" => row.address_raw = value,
                "code" => row.credit_code = value,
                "tel" => row.contacts.push(ContactRow {
                    entry: EntryId::default(),
                    name: None,
                    phones: value,
                    role: None,
                    preferred_time: None,
                    party_status: None,
                }),
                _ => panic!("{kind}"),
            }
        }
        row
    }

    fn check(a: &str, b: &str, reasons: &[Reason], likely: bool) {
        let (a, b) = (card(a), card(b));
        let comparison = compare(&a, &b);
        assert_eq!(comparison.reasons, reasons, "{a:?} {b:?}");
        assert_eq!(comparison.is_likely(), likely, "{a:?} {b:?}");
        assert_eq!(compare(&b, &a), comparison, "either way round");
        // What is stored says the same.
        let stored =
            |row: &CardRow| Traits::from_keys(row.traits().keys().iter().map(String::as_str));
        assert_eq!(stored(&a).compare(&stored(&b)), comparison);
    }

    #[test]
    fn one_shop_entered_twice() {
        use Reason::{SameCreditCode, SameDoor, SameName, SamePhone, SimilarName};
        for (a, b, reasons) in [
            (
                "sign=王记包子 road=天平路 no=378",
                "sign=王记包子 road=天平路 no=378",
                &[SameDoor, SameName][..],
            ),
            (
                "sign=王记包子 road=天平路 no=378",
                "sign=王记包子 raw=徐汇区天平路３７８号",
                &[SameDoor, SameName],
            ),
            (
                "sign=王記包子 road=天平路 no=36 suffix=乙",
                "sign=汪记包子 road=天平路 no=36 suffix=乙",
                &[SameDoor, SameName],
            ),
            (
                "sign=王记包子铺 road=天平路 no=378",
                "sign=王记包子店 road=天平路 no=378",
                &[SameDoor, SimilarName],
            ),
            (
                "sign=王记包子 road=天平路 no=378",
                "sign=王记包子(天平路店) road=天平路 no=378 unit=101室",
                &[SameDoor, SimilarName],
            ),
            (
                "sign=天平路包子铺 road=天平路 no=378",
                "sign=包子铺 road=天平路 no=378",
                &[SameDoor, SimilarName],
            ),
            (
                "sign=Café·Ｎｏ.5 road=天平路 no=3",
                "sign=CAFÉ-no5 road=天平路 no=3",
                &[SameDoor, SameName],
            ),
            (
                "sign=Costa road=天平路 no=3",
                "sign=costacoffee road=天平路 no=3",
                &[SameDoor, SimilarName],
            ),
            (
                "sign=花店 tel=021-50932417",
                "sign=春天花坊 road=天平路 no=8 tel=50932417",
                &[SamePhone],
            ),
            (
                "sign=春天花店 tel=021-50932417",
                "sign=春天花店 road=天平路 no=8 tel=50932417",
                &[SameName, SamePhone],
            ),
            (
                "road=天平路 no=8 tel=13900000001",
                "road=天平路 no=8 tel=13900000002/13900000001",
                &[SameDoor, SamePhone],
            ),
            (
                "sign=春天 road=天平路 no=8 code=92310104ma1k0004x0",
                "sign=秋天 road=天平路 no=8 code=92310104-MA1K0004X0",
                &[SameDoor, SameCreditCode],
            ),
            (
                "tel=13900000001 code=92310104MA1K0004X0",
                "road=天平路 no=8 tel=13900000001 code=92310104MA1K0004X0",
                &[SamePhone, SameCreditCode],
            ),
            // The corner shop, entered from both streets.
            (
                "sign=转角书店 road=天平路 no=2 tel=13900000001",
                "sign=转角书店 road=广元路 no=1 tel=13900000001",
                &[SameName, SamePhone],
            ),
        ] {
            check(a, b, reasons, reasons.len() >= 2);
        }
    }

    #[test]
    fn two_shops_that_share_something() {
        use Reason::{SameCreditCode, SameDoor, SameName, SamePhone, SimilarName};
        for (a, b, reasons) in [
            // Neighbours, and floors of one house.
            (
                "sign=春天 road=天平路 no=8",
                "sign=秋天 road=天平路 no=8",
                &[SameDoor][..],
            ),
            (
                "sign=春天花店 road=天平路 no=8 unit=101室",
                "sign=春天花店 road=天平路 no=8 unit=201室",
                &[SameName],
            ),
            (
                "sign=春天 road=天平路 no=8 suffix=甲",
                "sign=春天 road=天平路 no=8 suffix=乙",
                &[SameName],
            ),
            // Chains, and branches of one business.
            (
                "sign=全家便利店 road=天平路 no=8",
                "sign=全家便利店 road=广元路 no=9",
                &[SameName],
            ),
            (
                "sign=全家便利店 road=天平路 no=8 tel=4008001234",
                "sign=全家便利店 road=广元路 no=9 tel=400-800-1234",
                &[SameName],
            ),
            (
                "sign=春天花店 road=天平路 no=8 code=92310104MA1K0004X0",
                "sign=春天花店 road=广元路 no=9 code=92310104MA1K0004X0",
                &[SameName, SameCreditCode],
            ),
            // One person, two shops.
            (
                "sign=春天花店 road=天平路 no=8 tel=13900000001",
                "sign=秋天书店 road=广元路 no=9 tel=13900000001",
                &[SamePhone],
            ),
            (
                "sign=春天花店 road=天平路 no=8 tel=13900000001 code=92310104MA1K0004X0",
                "sign=秋天书店 road=广元路 no=9 tel=13900000001 code=92310104MA1K0004X0",
                &[SamePhone, SameCreditCode],
            ),
            (
                "sign=王记包子铺 road=天平路 no=8 tel=13900000001",
                "sign=王记包子店 road=天平路 no=9 tel=13900000001",
                &[SimilarName, SamePhone],
            ),
            // Two families, a common ending, extensions of one switchboard, and codes that are none.
            (
                "sign=王记包子 road=天平路 no=8",
                "sign=李记包子 road=天平路 no=8",
                &[SameDoor],
            ),
            (
                "sign=联华超市 road=天平路 no=8",
                "sign=超市 road=天平路 no=8",
                &[SameDoor],
            ),
            (
                "sign=春天 tel=021-50932417转801",
                "sign=春天 tel=021-50932417转802",
                &[SameName],
            ),
            ("sign=春天 code=无", "sign=春天 code=无", &[SameName]),
            ("sign=春天", "sign=春天", &[SameName]),
            ("road=天平路 no=8", "road=天平路 no=8", &[SameDoor]),
            ("unit=101室 raw=菜场内", "unit=101室 raw=菜场内", &[]),
            ("", "", &[]),
        ] {
            check(a, b, reasons, false);
        }
    }

    #[test]
    fn a_card_merged_away_is_in_no_pair() {
        let kept = card("sign=王记包子 road=天平路 no=378");
        let away = CardRow {
            merged_into: Some(RecordId(Uuid::from_u128(7))),
            ..kept.clone()
        };
        assert!(away.traits().keys().is_empty());
        assert!(!compare(&kept, &away).is_likely());
    }

    #[test]
    fn a_number_has_one_key_in_every_spelling() {
        for (spellings, key) in [
            (
                &["+852-2123-4567", "0085221234567", "(852)21234567"][..],
                "phone|+85221234567",
            ),
            (
                &["+1(415)555-0100", "001-415-555-0100"],
                "phone|+14155550100",
            ),
            // Stored by offices: must never change.
            (
                &["21234567", "021-21234567", "+86(21)21234567"],
                "phone|21234567",
            ),
            (&["14155550100", "+8614155550100"], "phone|14155550100"),
            (
                &["021-64330000转8", "64330000-8", "64330000ext8"],
                "phone|64330000x8",
            ),
            (&["0512-65221234"], "phone|051265221234"),
        ] {
            for spelling in spellings {
                assert_eq!(
                    card(&format!("tel={spelling}")).traits().keys(),
                    [key],
                    "{spelling}"
                );
            }
        }
        assert!(card("tel=400-820-8820转5").traits().keys().is_empty());
        assert!(card("tel=1391234567O").traits().keys().is_empty());
    }

    #[test]
    fn a_pair_has_one_id() {
        let [a, b, c] = [1, 2, 3].map(|n| RecordId(Uuid::from_u128(n)));
        assert_eq!(pair_id(a, b), pair_id(b, a));
        assert_ne!(pair_id(a, b), pair_id(a, c));
        assert_eq!(
            pair_id(a, b).to_string(),
            "65d42d8e-3c83-8e3a-86e2-7db523e8eb41",
            "stored by offices: must never change"
        );
    }

    #[test]
    fn words_are_stable() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
            assert_eq!(
                serde_json::to_value(reason).expect("serialises"),
                reason.as_str()
            );
            assert_ne!(reason.label(Lang::Zh), reason.label(Lang::En));
        }
        assert_eq!("score".parse::<Reason>(), Err(UnknownReason));
    }

    proptest! {
        #[test]
        fn likely_pairs_meet_under_a_key(
            sign in "[王汪李][记纪][包子面]{1,3}", other in "[王汪李][记纪][包子面]{1,3}",
            no in 1_u8..3, other_no in 1_u8..3, tel in 0_u8..2, other_tel in 0_u8..2,
        ) {
            let row = |sign: &str, no, tel| card(&format!("sign={sign} road=天平路 no={no} tel=1390000000{tel}"));
            let (a, b) = (row(&sign, no, tel), row(&other, other_no, other_tel));
            let keys = |row: &CardRow| row.traits().keys().into_iter().filter(|key| Traits::meets(key)).collect::<BTreeSet<_>>();
            if compare(&a, &b).is_likely() {
                prop_assert!(!keys(&a).is_disjoint(&keys(&b)));
            }
        }

        #[test]
        fn never_panics(sign in "\\PC{0,300}", road in "\\PC{0,40}", number in "\\PC{0,20}", tel in "\\PC{0,100}", code in "\\PC{0,40}") {
            let row = CardRow {
                sign_name: Some(sign), road: Some(road), number: Some(number), credit_code: Some(code),
                contacts: vec![ContactRow {
                    entry: EntryId::default(), name: None, phones: Some(tel), role: None, preferred_time: None, party_status: None,
                }],
                ..CardRow::default()
            };
            let keys = row.traits().keys();
            prop_assert!(keys.len() <= KEYS_MAX);
            compare(&row, &row);
        }
    }
}
