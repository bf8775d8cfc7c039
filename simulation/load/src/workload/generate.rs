//! Makes a workload from a seed.
//!
//! Every draw of randomness stands in the order of the JavaScript original, operand by operand: that order is the format.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};

use super::{
    Card, CardEdit, Conflict, Contact, EditKind, FORMAT, FieldMap, PhoneEdits, Stats, Workload,
    Writer,
};
use crate::draw::Draw;

/// What decides a workload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arguments {
    pub shops: usize,
    /// Even, because conflicts are pairs of phones.
    pub phones: usize,
    /// Edits of each phone.
    pub edits: usize,
    pub seed: i64,
}

const HAN: &str = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制机当使点从业本去把性好应开它合还因由其些然前外天政四日那社义事平形相全表间样与关各重新线内数正心反你明看原又么利比或但质气第向道命此变条只没结解问意建月公无系军很情者最立代想已通并提直题党程展五果料象员革位入常文总次品式活设及管特件长求老头基资边流路级少图山统接知较将组见计别她手角期根论运农指几九区强放决西被干做必战先回则任取据处府究近北门派义南东街巷店铺食杂五金药米布茶花鱼肉果菜修理衣鞋书";
const SURNAMES: &str = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹";
const TAGS: [&str; 16] = [
    "重点", "已查", "待查", "消防", "燃气", "食品", "夜市", "老店", "连锁", "空置", "装修", "投诉",
    "示范", "临街", "二楼", "地下",
];
const FIELDS: [&str; 18] = [
    "name",
    "address",
    "category",
    "licence",
    "hours",
    "owner",
    "phone",
    "grid",
    "status",
    "area",
    "staff",
    "fire",
    "gas",
    "hygiene",
    "opened",
    "checked",
    "inspector",
    "landlord",
];
/// Largest whole number that JavaScript holds exactly.
const SEED_MAX: i64 = (1 << 53) - 1;

/// The same arguments always make the same workload.
pub fn generate(arguments: &Arguments) -> anyhow::Result<Workload> {
    let Arguments {
        shops,
        phones,
        edits,
        seed,
    } = *arguments;
    ensure!(
        phones > 0 && phones % 2 == 0,
        "the number of phones must be even and not 0, because conflicts are pairs of phones"
    );
    ensure!(shops > 0, "a roll needs at least one shop");
    ensure!(
        (-SEED_MAX..=SEED_MAX).contains(&seed),
        "the seed must lie between -{SEED_MAX} and {SEED_MAX}"
    );
    let cards = roll(&mut Words::new(seed as u32), shops);
    // A stream of its own, so that the roll stays the same where only phones or edits differ.
    let mut plan = Plan::new(Words::new(seed as u32 ^ 0x5bd1_e995), shops, phones);
    plan.fill(edits)?;
    let (phones, conflicts) = (plan.phones, plan.conflicts);
    let stats = stats(arguments, &cards, &phones, &conflicts);
    let field_names = FIELDS.map(str::to_owned).to_vec();
    Ok(Workload {
        workload: FORMAT.into(),
        seed,
        stats,
        field_names,
        cards,
        phones,
        conflicts,
    })
}

/// What a roll is written with.
struct Words {
    draw: Draw,
    han: Vec<char>,
    surnames: Vec<char>,
}

impl Words {
    fn new(state: u32) -> Self {
        Self {
            draw: Draw::new(state),
            han: HAN.chars().collect(),
            surnames: SURNAMES.chars().collect(),
        }
    }

    fn int(&mut self, below: usize) -> usize {
        self.draw.int(below)
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        self.draw.pick(choices)
    }

    fn han(&mut self, least: usize, most: usize) -> String {
        let length = least + self.int(most - least + 1);
        (0..length).map(|_| self.one_han()).collect()
    }

    fn one_han(&mut self) -> char {
        let at = self.int(self.han.len());
        self.han[at]
    }

    fn digits(&mut self, count: usize) -> String {
        (0..count)
            .map(|_| char::from(b'0' + self.int(10) as u8))
            .collect()
    }

    fn person(&mut self) -> String {
        let at = self.int(self.surnames.len());
        let surname = self.surnames[at];
        format!("{surname}{}", self.han(1, 2))
    }

    fn phone(&mut self) -> String {
        format!(
            "1{}{}",
            self.pick(&["38", "39", "50", "59", "86", "87"]),
            self.digits(8)
        )
    }

    fn date(&mut self) -> String {
        let (year, month, day) = (10 + self.int(16), 1 + self.int(12), 1 + self.int(28));
        format!("20{year}-{month:02}-{day:02}")
    }

    fn uuid(&mut self) -> String {
        let h: String = (0..32)
            .map(|_| char::from(b"0123456789abcdef"[self.int(16)]))
            .collect();
        format!(
            "{}-{}-4{}-a{}-{}",
            &h[0..8],
            &h[8..12],
            &h[13..16],
            &h[17..20],
            &h[20..]
        )
    }

    /// A value for one of [`FIELDS`].
    fn value(&mut self, field: &str) -> String {
        match field {
            "name" => self.han(3, 8) + self.pick(&["店", "铺", "馆", "行", "坊", "超市"]),
            "address" => {
                let street = format!("{}街{}号", self.han(4, 8), 1 + self.int(400));
                if self.draw.unit() < 0.4 {
                    format!("{street}{}楼{}室", self.han(2, 3), 100 + self.int(900))
                } else {
                    street
                }
            }
            "category" => self
                .pick(&[
                    "餐饮",
                    "五金",
                    "药店",
                    "服装",
                    "理发",
                    "食品零售",
                    "维修",
                    "烟酒",
                    "书店",
                    "茶馆",
                    "杂货",
                    "快递",
                ])
                .into(),
            "licence" => format!(
                "92{}{}{}",
                self.digits(14),
                self.pick(&["A", "B", "K", "M", "X"]),
                self.digits(1)
            ),
            "hours" => {
                let (hour, minute) = (5 + self.int(6), self.pick(&["00", "30"]));
                let (until_hour, until_minute) = (18 + self.int(6), self.pick(&["00", "30"]));
                format!("{hour:02}:{minute}-{until_hour:02}:{until_minute}")
            }
            "owner" | "inspector" => self.person(),
            "phone" => self.phone(),
            "grid" => format!("网格{:02}-{:02}", 1 + self.int(60), 1 + self.int(20)),
            "status" => self
                .pick(&["营业", "歇业", "装修", "转让", "空置", "未见"])
                .into(),
            "area" => format!("{}平方米", 8 + self.int(400)),
            "staff" => format!("{}人", 1 + self.int(30)),
            "fire" => format!(
                "{}{}",
                self.pick(&["合格", "过期", "缺失", "待查"]),
                self.han(0, 6)
            ),
            "gas" => format!(
                "{}{}",
                self.pick(&["管道", "瓶装", "无", "电"]),
                self.han(0, 6)
            ),
            "hygiene" => format!("{}级{}", self.pick(&["A", "B", "C"]), self.han(0, 4)),
            "landlord" => format!("{} {}", self.person(), self.phone()),
            _ => self.date(),
        }
    }
}

fn roll(words: &mut Words, shops: usize) -> Vec<Card> {
    (0..shops)
        .map(|_| {
            let id = words.uuid();
            let fields = FieldMap(
                FIELDS
                    .iter()
                    .map(|field| ((*field).to_owned(), words.value(field)))
                    .collect(),
            );
            let mut tags: Vec<String> = Vec::new();
            while tags.len() < 3 {
                let tag = words.pick(&TAGS);
                if !tags.iter().any(|taken| taken == tag) {
                    tags.push(tag.to_owned());
                }
            }
            let contact = |_| Contact {
                name: words.person(),
                phone: words.phone(),
                role: words.pick(&["店主", "店长", "收银", "房东", "家属"]).into(),
            };
            let contacts = [0, 1].map(contact).to_vec();
            Card {
                id,
                fields,
                tags,
                contacts,
                note: words.han(40, 80),
            }
        })
        .collect()
}

/// The offline edits, while they are dealt out.
struct Plan {
    words: Words,
    shops: usize,
    /// Cards to be dealt before any card comes again.
    deck: Vec<usize>,
    phones: Vec<PhoneEdits>,
    /// Cards that a phone already edits.
    touched: Vec<BTreeSet<usize>>,
    /// Fields of a card that anybody edits.
    used: Vec<BTreeSet<&'static str>>,
    conflicts: Vec<Conflict>,
}

impl Plan {
    fn new(words: Words, shops: usize, phones: usize) -> Self {
        Self {
            words,
            shops,
            deck: Vec::new(),
            phones: (0..phones)
                .map(|phone| PhoneEdits {
                    phone,
                    edits: Vec::new(),
                })
                .collect(),
            touched: vec![BTreeSet::new(); phones],
            used: vec![BTreeSet::new(); shops],
            conflicts: Vec::new(),
        }
    }

    fn fill(&mut self, edits: usize) -> anyhow::Result<()> {
        // JavaScript's Math.round.
        let share = |part: f64| (edits as f64 * part + 0.5).floor() as usize;
        let (same_field, same_card) = (share(0.10), share(0.20));
        let plain = edits
            .checked_sub(same_field + same_card)
            .context("too few edits for the shares of conflicts")?;
        for (a, b) in self.pairs(same_field) {
            self.same_field(a, b)?;
        }
        for (a, b) in self.pairs(same_card) {
            self.same_card(a, b)?;
        }
        for _ in 0..plain {
            for phone in 0..self.phones.len() {
                self.plain(phone)?;
            }
        }
        for phone in &mut self.phones {
            self.words.draw.shuffle(&mut phone.edits);
        }
        Ok(())
    }

    /// Pairs of distinct phones, every phone exactly `times` times.
    fn pairs(&mut self, times: usize) -> Vec<(usize, usize)> {
        let mut pairs = Vec::new();
        for _ in 0..times {
            let mut order: Vec<_> = (0..self.phones.len()).collect();
            self.words.draw.shuffle(&mut order);
            pairs.extend(order.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        }
        pairs
    }

    fn same_field(&mut self, a: usize, b: usize) -> anyhow::Result<()> {
        let card = self.card_for(&[a, b], 3)?;
        let [field, more_a, more_b] = self.free_fields(card);
        self.used[card].insert(field);
        let (value_a, value_b) = (self.marked(field, a), self.marked(field, b));
        let mut set_a = vec![(field.to_owned(), value_a.clone())];
        let mut set_b = vec![(field.to_owned(), value_b.clone())];
        for (phone, more, set) in [(a, more_a, &mut set_a), (b, more_b, &mut set_b)] {
            if self.words.draw.unit() < 0.5 {
                self.used[card].insert(more);
                set.push((more.to_owned(), self.marked(more, phone)));
            }
        }
        self.put(a, card, set_a, EditKind::SameField);
        self.put(b, card, set_b, EditKind::SameField);
        let writers = vec![
            Writer {
                phone: a,
                value: value_a,
            },
            Writer {
                phone: b,
                value: value_b,
            },
        ];
        self.conflicts.push(Conflict {
            card,
            field: field.to_owned(),
            writers,
        });
        Ok(())
    }

    fn same_card(&mut self, a: usize, b: usize) -> anyhow::Result<()> {
        let card = self.card_for(&[a, b], 4)?;
        let fields: [_; 4] = self.free_fields(card);
        let mut next = fields.into_iter();
        for phone in [a, b] {
            let count = self.one_or_two();
            let set = self.write(card, phone, next.by_ref().take(count));
            self.put(phone, card, set, EditKind::SameCard);
        }
        Ok(())
    }

    fn plain(&mut self, phone: usize) -> anyhow::Result<()> {
        let card = self.card_for(&[phone], 2)?;
        let count = self.one_or_two();
        let fields: [_; 2] = self.free_fields(card);
        let set = self.write(card, phone, fields.into_iter().take(count));
        self.put(phone, card, set, EditKind::Plain);
        Ok(())
    }

    fn one_or_two(&mut self) -> usize {
        if self.words.draw.unit() < 0.5 { 1 } else { 2 }
    }

    fn write(
        &mut self,
        card: usize,
        phone: usize,
        fields: impl Iterator<Item = &'static str>,
    ) -> Vec<(String, String)> {
        let mut set = Vec::new();
        for field in fields {
            self.used[card].insert(field);
            set.push((field.to_owned(), self.marked(field, phone)));
        }
        set
    }

    fn put(&mut self, phone: usize, card: usize, set: Vec<(String, String)>, kind: EditKind) {
        self.touched[phone].insert(card);
        self.phones[phone].edits.push(CardEdit {
            card,
            kind,
            set: FieldMap(set),
        });
    }

    /// A value with a marker that makes every written value unique.
    fn marked(&mut self, field: &str, phone: usize) -> String {
        format!(
            "{}〔{phone}.{}〕",
            self.words.value(field),
            self.phones[phone].edits.len()
        )
    }

    /// The first `N` of the fields that nobody edits, shuffled. [`Plan::card_for`] saw to it that there are so many.
    fn free_fields<const N: usize>(&mut self, card: usize) -> [&'static str; N] {
        let mut free: Vec<_> = FIELDS
            .into_iter()
            .filter(|field| !self.used[card].contains(field))
            .collect();
        self.words.draw.shuffle(&mut free);
        std::array::from_fn(|n| free[n])
    }

    /// The next card that none of the phones edits and that has `need` fields which nobody edits.
    fn card_for(&mut self, phones: &[usize], need: usize) -> anyhow::Result<usize> {
        for _ in 0..50 * self.shops {
            if self.deck.is_empty() {
                self.deck = (0..self.shops).collect();
                self.words.draw.shuffle(&mut self.deck);
            }
            let Some(card) = self.deck.pop() else { break };
            if phones
                .iter()
                .all(|phone| !self.touched[*phone].contains(&card))
                && FIELDS.len() - self.used[card].len() >= need
            {
                return Ok(card);
            }
        }
        anyhow::bail!(
            "there are too few cards for so many edits: take fewer phones or edits, or more shops"
        )
    }
}

fn stats(
    arguments: &Arguments,
    cards: &[Card],
    phones: &[PhoneEdits],
    conflicts: &[Conflict],
) -> Stats {
    let edits = || phones.iter().flat_map(|phone| &phone.edits);
    let mut editors = vec![0_usize; cards.len()];
    edits().for_each(|edit| editors[edit.card] += 1);
    let cards_edited_by =
        |fits: fn(usize) -> bool| editors.iter().filter(|count| fits(**count)).count();
    let roll_json_bytes = json_bytes(cards);
    Stats {
        cards: cards.len(),
        phones: phones.len(),
        edits_per_phone: arguments.edits,
        edits: phones.len() * arguments.edits,
        field_writes: edits().map(|edit| edit.set.len()).sum(),
        true_conflicts: conflicts.len(),
        cards_edited: cards_edited_by(|count| count > 0),
        cards_edited_by_one: cards_edited_by(|count| count == 1),
        cards_edited_by_many: cards_edited_by(|count| count > 1),
        edits_on_cards_also_edited_by_another: edits()
            .filter(|edit| editors[edit.card] > 1)
            .count(),
        max_editors_of_a_card: editors.iter().copied().max().unwrap_or(0),
        roll_json_bytes,
        mean_card_json_bytes: (roll_json_bytes as f64 / cards.len() as f64 + 0.5).floor() as usize,
        edits_json_bytes: json_bytes(phones),
    }
}

fn json_bytes<T: serde::Serialize + ?Sized>(value: &T) -> usize {
    serde_json::to_vec(value).map_or(0, |text| text.len())
}
