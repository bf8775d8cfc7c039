//! Draws a script: scenes of a few steps each, spread over days.
//!
//! Common scenes (a walk, a clash, everybody synchronises) make the run; every seed gets some of the special ones (a restore, a clone, an
//! erasure in mid-request, …), so that each of them happens in many of 200 seeds.

use uuid::Uuid;

use super::{BEGIN_UNIX_MS, Desk, MadeBy, Script, Set, Step, Weather, What};
use crate::{
    draw::Draw,
    office::{Looked, Setup},
};

mod contacts;
mod corners;
mod crossing;
mod imports;
mod rare;
mod special;
mod transfers;
mod visits;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Registers that keep every concurrent value, of a text that may be unique.
const TEXTS: &[&str] = &[
    "sign_name",
    "legal_name",
    "credit_code",
    "unit",
    "lane",
    "opening_hours",
    "number",
];
/// Registers whose last writer wins.
const LAST: &[&str] = &["category", "address_raw"];
const OCCUPANCY: &[&str] = &["营业", "装修", "空置", "关闭"];
const TAGS: &[&str] = &["tags/late_night", "tags/delivery", "tags/parking"];

#[derive(Clone, Debug)]
struct PlannedPhone {
    username: String,
    grids: Vec<String>,
    /// When it was last to synchronise.
    synced_ms: i64,
}

#[derive(Clone, Debug)]
struct PlannedCard {
    made: MadeBy,
    grid: String,
    contacts: Vec<Uuid>,
}

pub(super) struct Plan {
    draw: Draw,
    setup: Setup,
    /// When the next step happens.
    at_ms: i64,
    no: u32,
    steps: Vec<Step>,
    phones: Vec<PlannedPhone>,
    /// Phones that are used.
    alive: Vec<usize>,
    cards: Vec<PlannedCard>,
    transfers: Vec<PlannedCard>,
}

/// The script of a seed.
/// What a consent says of a contact's party status.
fn consent(consent: Uuid, contact: Uuid, decision: &str) -> Set {
    [
        ("contact", contact.to_string()),
        ("scope", "party_status".to_owned()),
        ("decision", decision.to_owned()),
    ]
    .map(|(name, value)| (format!("consent/{consent}/{name}"), Some(value)))
    .into()
}

pub(super) fn draw(seed: u64) -> Script {
    let mut draw = Draw::of(seed, "script", 0);
    let setup = setup(&mut draw);
    let mut plan = Plan {
        draw,
        setup,
        at_ms: 0,
        no: 0,
        steps: Vec::new(),
        phones: Vec::new(),
        alive: Vec::new(),
        cards: Vec::new(),
        transfers: Vec::new(),
    };
    plan.whole();
    visits::among(&mut plan, Draw::of(seed, "visits", 0));
    rare::among(&mut plan, Draw::of(seed, "rare", 0));
    corners::among(&mut plan, Draw::of(seed, "corners", 0));
    contacts::among(&mut plan, Draw::of(seed, "contacts", 0));
    imports::among(&mut plan, Draw::of(seed, "imports", 0));
    for nth in 0..2 {
        crossing::among(&mut plan, Draw::of(seed, "crossing", nth));
    }
    plan.steps.sort_by_key(|step| (step.at_ms, step.no));
    Script {
        seed,
        setup: plan.setup,
        steps: plan.steps,
    }
}

fn setup(draw: &mut Draw) -> Setup {
    let grids: Vec<String> = (1..=draw.between(2, 4))
        .map(|number| format!("A{number}"))
        .collect();
    let names = ["xuna", "lihua", "zhaomin", "sunqi"];
    let users = draw.between(2, 4) as usize;
    let secretaries = names[..users]
        .iter()
        .enumerate()
        .map(|(number, name)| {
            // Everybody works the first grid, where they clash; most work another as well.
            let mut own = vec![grids[0].clone()];
            if number > 0 || draw.one_in(2) {
                own.push(grids[1 + draw.below(grids.len() - 1)].clone());
            }
            ((*name).to_owned(), own)
        })
        .collect();
    let roads = vec!["康平路".to_owned(), "天平路".to_owned()];
    Setup {
        street: "310104003".into(),
        grids,
        roads,
        secretaries,
        log_days: draw.between(2, 12) as u32,
    }
}

impl Plan {
    fn whole(&mut self) {
        self.begin();
        let length = self.draw.between(40, 105) as usize;
        let mut special = special::drawn(&mut self.draw);
        let span = self.draw.between(10, 60) * DAY;
        let gap = span / (length as i64 / 5);
        while self.steps.len() < length || !special.is_empty() {
            self.at_ms += self.draw.between(MINUTE, 2 * gap);
            let due = !special.is_empty() && (self.steps.len() >= length || self.draw.one_in(2));
            match if due { special.pop() } else { None } {
                Some(scene) => scene(self),
                None => self.common(),
            }
        }
    }

    fn begin(&mut self) {
        let phones = self.draw.between(3, 5) as usize;
        for number in 0..phones {
            let (username, grids) =
                self.setup.secretaries[number % self.setup.secretaries.len()].clone();
            let phone = self.new_phone(username, grids);
            if number < 2 || self.draw.one_in(2) {
                for _ in 0..self.draw.between(1, 2) {
                    self.create(phone);
                }
            }
            self.sync(phone);
        }
        self.wait(HOUR);
        self.gather();
        self.wait(DAY);
    }

    fn common(&mut self) {
        let scene = *self.draw.weighted::<fn(&mut Self)>(&[
            (6, Self::walk),
            (6, Self::clash),
            (4, Self::gather),
            (3, Self::note_clash),
            (3, Self::desk_edit),
            (3, Self::resolve),
            (2, Self::review),
            (2, Self::drafts),
            (2, Self::weather),
            (2, Self::crash),
            (2, Self::tend),
            (2, transfers::file),
            (1, Self::skew),
        ]);
        scene(self);
    }

    // Steps.

    fn push(&mut self, what: What) -> u32 {
        self.push_later(0, what)
    }

    /// A step so much later than now; the plan goes on from now.
    fn push_later(&mut self, later_ms: i64, what: What) -> u32 {
        let no = self.no;
        self.no += 1;
        self.steps.push(Step {
            no,
            at_ms: self.at_ms + later_ms,
            what,
        });
        no
    }

    fn desk(&mut self, desk: Desk) {
        self.push(What::Desk(desk));
    }

    fn wait(&mut self, most_ms: i64) {
        self.at_ms += self.draw.between(0, most_ms);
    }

    fn sync(&mut self, phone: usize) {
        self.phones[phone].synced_ms = self.at_ms;
        self.push(What::Sync { phone });
        self.wait(8 * SECOND);
    }

    fn new_phone(&mut self, username: String, grids: Vec<String>) -> usize {
        let phone = self.phones.len();
        self.phones.push(PlannedPhone {
            username: username.clone(),
            grids,
            synced_ms: self.at_ms,
        });
        self.alive.push(phone);
        self.push(What::Enrol { phone, username });
        self.wait(10 * MINUTE);
        phone
    }

    fn phone(&mut self) -> usize {
        *self.draw.pick(&self.alive)
    }

    /// Some phones, each once, at least one.
    fn some_phones(&mut self, most: usize) -> Vec<usize> {
        let mut left = self.alive.clone();
        let count = 1 + self.draw.below(most.min(left.len()));
        (0..count)
            .map(|_| left.remove(self.draw.below(left.len())))
            .collect()
    }

    /// A card, more likely one of the newest few: there people clash.
    fn card(&mut self) -> Option<PlannedCard> {
        self.card_where(|_| true)
    }

    /// A card that the phone's user works, mostly.
    fn card_of(&mut self, phone: usize) -> Option<PlannedCard> {
        if self.draw.one_in(8) {
            return self.card();
        }
        let grids = self.phones[phone].grids.clone();
        self.card_where(|card| grids.contains(&card.grid))
    }

    fn card_where(&mut self, fits: impl Fn(&PlannedCard) -> bool) -> Option<PlannedCard> {
        let cards: Vec<_> = self.cards.iter().filter(|card| fits(card)).collect();
        if cards.is_empty() {
            return None;
        }
        let from = if self.draw.one_in(3) {
            0
        } else {
            cards.len().saturating_sub(4)
        };
        let place = from + self.draw.below(cards.len() - from);
        Some(cards[place].clone())
    }

    /// The user looks for what is new before going to work after some days, mostly: a phone that was away for too long is locked.
    fn before_work(&mut self, phone: usize) {
        if self.at_ms - self.phones[phone].synced_ms > 2 * DAY && !self.draw.one_in(6) {
            self.sync(phone);
            self.at_ms += 30 * SECOND;
        }
    }

    /// A value that no other step writes.
    fn value(&mut self, nth: usize) -> String {
        format!("v{}.{nth}z", self.no)
    }

    /// A word for a note, of characters that no other step's words have: a diff of two texts cannot take one for a part of another.
    fn word(&self) -> String {
        (0..3)
            .filter_map(|nth| char::from_u32(0x4e00 + self.no * 3 % 20_000 + nth))
            .collect()
    }

    fn entry(&mut self) -> Uuid {
        let mut entropy = [0; 10];
        entropy.copy_from_slice(&self.draw.bytes(10));
        uuid::Builder::from_unix_timestamp_millis((BEGIN_UNIX_MS + self.at_ms) as u64, &entropy)
            .into_uuid()
    }

    /// The day before, as the office's clock has it for certain.
    fn yesterday(&self) -> String {
        let ms = BEGIN_UNIX_MS + self.at_ms - DAY;
        lianka_sync_core::time::ServerTime::from_unix_ms(ms)
            .to_string()
            .chars()
            .take(10)
            .collect()
    }

    fn a_day(&mut self) -> String {
        format!(
            "20{:02}-{:02}-{:02}",
            self.draw.between(10, 25),
            self.draw.between(1, 12),
            self.draw.between(1, 28)
        )
    }

    /// What somebody writes on a card: a few keys.
    fn set(&mut self, card: Option<&PlannedCard>) -> Set {
        let mut set = Set::new();
        for nth in 0..=self.draw.below(3) {
            let (key, value) = match self.draw.below(12) {
                0..=4 => {
                    let from = if self.draw.one_in(2) {
                        &TEXTS[..2]
                    } else {
                        TEXTS
                    };
                    let key = *self.draw.pick(from);
                    (key.to_owned(), self.value(nth))
                }
                5 => ((*self.draw.pick(LAST)).to_owned(), self.value(nth)),
                6 => (
                    "occupancy".to_owned(),
                    (*self.draw.pick(OCCUPANCY)).to_owned(),
                ),
                7 => ("occupancy_observed_on".to_owned(), self.a_day()),
                8 | 9 => ((*self.draw.pick(TAGS)).to_owned(), "true".to_owned()),
                10 => {
                    let day = self.a_day();
                    (format!("confirmations/{day}"), "true".to_owned())
                }
                _ => match card.and_then(|card| card.contacts.last().copied()) {
                    Some(entry) => {
                        let field = *self.draw.pick(&["name", "phones", "preferred_time"]);
                        (format!("contacts/{entry}/{field}"), self.value(nth))
                    }
                    None => ("sign_name".to_owned(), self.value(nth)),
                },
            };
            let delete = card.is_some()
                && self
                    .draw
                    .one_in(if key.starts_with("tags/") { 2 } else { 7 });
            if !set.iter().any(|(written, _)| *written == key) {
                set.push((key, (!delete).then_some(value)));
            }
        }
        set
    }

    fn create(&mut self, phone: usize) {
        self.before_work(phone);
        let grids = self.phones[phone].grids.clone();
        let grid = if self.draw.one_in(3) {
            self.draw.pick(&grids).clone()
        } else {
            grids[0].clone()
        };
        let mut set = self.set(None);
        set.push(("road".into(), Some("康平路".into())));
        let mut contacts = Vec::new();
        if self.draw.one_in(2) {
            let entry = self.entry();
            set.push((format!("contacts/{entry}/name"), Some(self.value(5))));
            set.push((format!("contacts/{entry}/phones"), Some(self.value(6))));
            contacts.push(entry);
        }
        let note = self.word();
        let made = MadeBy(self.push(What::Create {
            phone,
            grid: grid.clone(),
            set,
            note,
        }));
        self.cards.push(PlannedCard {
            made,
            grid,
            contacts,
        });
        self.wait(5 * MINUTE);
    }

    fn edit(&mut self, phone: usize, card: &PlannedCard) {
        self.before_work(phone);
        let mut set = self.set(Some(card));
        if self.draw.one_in(10) {
            // What no secretary may write.
            let grid = self.draw.pick(&self.setup.grids).clone();
            set = vec![("grid".into(), Some(grid))];
        }
        let note = self.draw.one_in(6).then(|| self.word());
        self.push(What::Edit {
            phone,
            record: card.made,
            set,
            note,
        });
        self.wait(2 * MINUTE);
    }

    /// A new contact on a card.
    fn contact(&mut self, phone: usize, made: MadeBy) -> Uuid {
        let entry = self.entry();
        let mut set = vec![
            (format!("contacts/{entry}/name"), Some(self.value(0))),
            (format!("contacts/{entry}/phones"), Some(self.value(1))),
        ];
        if self.draw.one_in(3) {
            set.extend(consent(self.entry(), entry, "grant"));
            set.push((
                format!("contacts/{entry}/party_status"),
                Some(self.value(2)),
            ));
        }
        self.push(What::Edit {
            phone,
            record: made,
            set,
            note: None,
        });
        if let Some(card) = self.cards.iter_mut().find(|card| card.made == made) {
            card.contacts.push(entry);
        }
        entry
    }

    // Common scenes.

    /// A secretary walks the grid and synchronises at its end.
    fn walk(&mut self) {
        let phone = self.phone();
        for _ in 0..self.draw.between(1, 3) {
            match self.card_of(phone) {
                Some(card) if !self.draw.one_in(5) => self.edit(phone, &card),
                _ => self.create(phone),
            }
        }
        if self.draw.one_in(5)
            && let Some(card) = self.card()
        {
            self.contact(phone, card.made);
        }
        if !self.draw.one_in(4) {
            self.sync(phone);
        }
    }

    /// Several phones write the same key of one card before any of them synchronises.
    fn clash(&mut self) {
        let Some(card) = self.card() else { return };
        let phones = self.some_phones(3);
        let key = if self.draw.one_in(4) {
            (*self.draw.pick(TAGS)).to_owned()
        } else {
            (*self.draw.pick(&TEXTS[..3])).to_owned()
        };
        let equal = self.draw.one_in(6).then(|| self.value(0));
        for phone in &phones {
            self.before_work(*phone);
            let value = if key.starts_with("tags/") {
                "true".to_owned()
            } else {
                equal.clone().unwrap_or_else(|| self.value(0))
            };
            let delete = self.draw.one_in(6);
            let set = vec![(key.clone(), (!delete).then_some(value))];
            self.push(What::Edit {
                phone: *phone,
                record: card.made,
                set,
                note: None,
            });
            self.wait(MINUTE);
        }
        for phone in phones {
            if !self.draw.one_in(6) {
                self.sync(phone);
            }
        }
    }

    /// Everybody synchronises at once.
    fn gather(&mut self) {
        for phone in self.alive.clone() {
            self.sync(phone);
        }
    }

    fn note_clash(&mut self) {
        let Some(card) = self.card() else { return };
        let phones = self.some_phones(3);
        for phone in &phones {
            self.before_work(*phone);
            let note = Some(self.word());
            self.push(What::Edit {
                phone: *phone,
                record: card.made,
                set: Set::new(),
                note,
            });
        }
        for phone in phones {
            self.sync(phone);
        }
    }

    fn desk_edit(&mut self) {
        let Some(card) = self.card() else { return };
        let phone = self.phone();
        self.edit(phone, &card);
        let set = self.set(Some(&card));
        self.desk(Desk::Edit {
            record: card.made,
            set,
            looked: Looked::Unsaid,
        });
        self.wait(2 * SECOND);
        self.sync(phone);
    }

    fn resolve(&mut self) {
        let Some(card) = self.card() else { return };
        let field = (*self.draw.pick(&TEXTS[..3])).to_owned();
        let nth = self.draw.below(2);
        let looked_at = self.draw.one_in(3).then_some(2);
        self.desk(Desk::Resolve {
            record: card.made,
            field: field.clone(),
            nth,
            instead: None,
            looked_at,
        });
        if self.draw.one_in(4) {
            self.undo_choice(card.made, &field);
        }
        if self.draw.one_in(2) {
            // Somebody writes at the same time.
            let phone = self.phone();
            let value = self.value(0);
            self.push(What::Edit {
                phone,
                record: card.made,
                set: vec![(field, Some(value))],
                note: None,
            });
            self.sync(phone);
        }
    }

    /// Somebody takes a choice back, perhaps after it was written over, perhaps twice.
    fn undo_choice(&mut self, record: MadeBy, field: &str) {
        if self.draw.one_in(2) {
            let phone = self.phone();
            if self.draw.one_in(2) {
                self.sync(phone);
                self.at_ms += MINUTE;
            }
            let value = self.value(1);
            self.push(What::Edit {
                phone,
                record,
                set: vec![(field.to_owned(), Some(value))],
                note: None,
            });
            self.sync(phone);
            self.at_ms += MINUTE;
        }
        for _ in 0..self.draw.between(1, 2) {
            let force = self.draw.one_in(3);
            self.desk(Desk::UndoChoice {
                record,
                field: field.to_owned(),
                force,
            });
            self.wait(MINUTE);
        }
    }

    fn review(&mut self) {
        for _ in 0..self.draw.between(1, 2) {
            let accept = !self.draw.one_in(3);
            let nth = self.draw.below(2);
            self.desk(Desk::Held { nth, accept });
            self.wait(10 * SECOND);
        }
        if self.draw.one_in(3) {
            let (nth, accept) = (self.draw.below(2), self.draw.one_in(2));
            self.desk(Desk::HeldAgain { nth, accept });
        }
    }

    fn drafts(&mut self) {
        let phone = self.phone();
        let nth = self.draw.below(2);
        let what = if self.draw.one_in(3) {
            What::DropDraft { phone, nth }
        } else {
            What::RetryDraft { phone, nth }
        };
        self.push(what);
    }

    fn weather(&mut self) {
        let phone = self.phone();
        let weather =
            *self
                .draw
                .pick(&[Weather::Fine, Weather::Fair, Weather::Foul, Weather::None]);
        self.push(What::Network { phone, weather });
        self.wait(HOUR);
        self.sync(phone);
    }

    /// A phone loses power: after an edit, in the middle of a synchronisation, or just so.
    fn crash(&mut self) {
        let phone = self.phone();
        if let Some(card) = self.card_of(phone) {
            self.edit(phone, &card);
        }
        if self.draw.one_in(2) {
            self.push(What::Sync { phone });
            self.wait(4 * SECOND);
        }
        self.push(What::Crash { phone });
        self.wait(MINUTE);
        self.sync(phone);
    }

    fn tend(&mut self) {
        self.push(What::Tend);
    }

    fn skew(&mut self) {
        let phone = self.phone();
        let by_ms = match self.draw.below(4) {
            0 => 0,
            1 => self.draw.between(-5 * MINUTE, 5 * MINUTE),
            2 => self.draw.between(-3 * DAY, 3 * DAY),
            _ => self.draw.between(-400 * DAY, 30 * DAY),
        };
        self.push(What::Skew { phone, by_ms });
        if self.draw.one_in(2) {
            let by_ms = self.draw.between(-10 * MINUTE, 10 * MINUTE);
            self.push(What::OfficeSkew { by_ms });
        }
    }
}
