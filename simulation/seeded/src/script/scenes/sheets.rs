//! The roll taken home as a sheet and brought back, sheets from elsewhere, and contacts who stand twice on a card; phones and desks write meanwhile.
//!
//! Drawn beside the plan and not within it, as visits are: everything else in a run happens as it would without them.

use super::{
    DAY, Desk, HOUR, LAST, MINUTE, MadeBy, Plan, PlannedCard, SECOND, TAGS, TEXTS, What,
    rare::{at_hand, cards_before, well, write},
};
use crate::{
    draw::Draw,
    office::{Looked, Taken},
};

type Scene = fn(&mut Plan, &mut Draw) -> Option<()>;

const SCENES: &[Scene] = &[
    ours,
    ours,
    ours,
    ours,
    elsewhere,
    elsewhere,
    twice_on_one_card,
    twice_on_one_card,
];

/// Adds some of them to a plan that is drawn.
pub(super) fn among(plan: &mut Plan, mut draw: Draw) {
    let end = plan.steps.iter().map(|step| step.at_ms).max();
    let end = end.unwrap_or_default().max(DAY);
    for _ in 0..draw.between(2, 3) {
        plan.at_ms = draw.between(DAY / 2, end);
        let scene = *draw.pick(SCENES);
        // A plan may have no phone or card that the scene needs.
        let _ = scene(plan, &mut draw);
    }
}

/// Registers that a sheet has.
const SHEET_TEXTS: [&str; 6] = [
    "sign_name",
    "legal_name",
    "number",
    "unit",
    "lane",
    "opening_hours",
];

/// A value that no other cell says.
fn value(plan: &mut Plan, nth: &mut usize) -> String {
    *nth += 1;
    plan.value(*nth)
}

/// A word for the note, of characters that no phone types.
fn word(plan: &Plan) -> String {
    (0..3)
        .filter_map(|nth| char::from_u32(0x3400 + plan.no * 3 % 6_000 + nth))
        .collect()
}

/// Some of the cards, each once.
fn some(draw: &mut Draw, cards: &[PlannedCard], most: usize) -> Vec<PlannedCard> {
    let mut left = cards.to_vec();
    let count = 1 + draw.below(most.min(left.len()));
    (0..count)
        .map(|_| left.remove(draw.below(left.len())))
        .collect()
}

/// What somebody types in the row of a card.
fn cells(
    plan: &mut Plan,
    draw: &mut Draw,
    card: &PlannedCard,
    nth: &mut usize,
) -> Vec<(MadeBy, String, String)> {
    let mut cells: Vec<(MadeBy, String, String)> = Vec::new();
    for _ in 0..draw.between(1, 3) {
        let (key, text) = match draw.below(12) {
            0..=5 => {
                let from: &[&str] = if draw.one_in(2) {
                    &TEXTS[..2]
                } else {
                    &SHEET_TEXTS
                };
                ((*draw.pick(from)).to_owned(), value(plan, nth))
            }
            6 => (LAST[0].to_owned(), value(plan, nth)),
            7 => ((*draw.pick(&SHEET_TEXTS[1..])).to_owned(), String::new()),
            8 => {
                let tags = TAGS.iter().filter(|_| draw.one_in(2));
                let names = tags.filter_map(|tag| tag.strip_prefix("tags/"));
                ("tags".to_owned(), names.collect::<Vec<_>>().join("、"))
            }
            9 => ("note".to_owned(), word(plan)),
            _ => match card.contacts.last() {
                Some(entry) => (format!("contacts/{entry}/name"), value(plan, nth)),
                None => ("sign_name".to_owned(), value(plan, nth)),
            },
        };
        if !cells.iter().any(|(_, of, _)| *of == key) {
            cells.push((card.made, key, text));
        }
    }
    cells
}

/// Somebody writes fields that a sheet wrote, or will write.
fn meanwhile(
    plan: &mut Plan,
    draw: &mut Draw,
    phone: usize,
    cells: &[(MadeBy, String, String)],
    nth: &mut usize,
) {
    for _ in 0..draw.between(1, 2) {
        let (record, key, _) = draw.pick(cells).clone();
        let text = value(plan, nth);
        let word = plan.word();
        let (set, note) = match key.as_str() {
            "note" => (Vec::new(), Some(word)),
            "tags" => {
                let there = (!draw.one_in(2)).then(|| "true".to_owned());
                (vec![((*draw.pick(TAGS)).to_owned(), there)], None)
            }
            _ => {
                let gone = draw.one_in(6);
                (vec![(key, (!gone).then_some(text))], None)
            }
        };
        let is_note = note.is_some();
        if draw.one_in(3) && !is_note {
            plan.desk(Desk::Edit {
                record,
                set,
                looked: Looked::Unsaid,
            });
        } else {
            plan.push(What::Edit {
                phone,
                record,
                set,
                note,
            });
        }
        plan.at_ms += SECOND;
    }
}

/// Rows are written a few at a time; the process may die between two requests, and somebody asks again.
fn parts(plan: &mut Plan, draw: &mut Draw, rows: usize, what: impl Fn() -> Desk) {
    for part in 0..=rows.div_ceil(2) {
        if part > 0 && draw.one_in(4) {
            plan.desk(if draw.one_in(2) {
                Desk::Restart
            } else {
                Desk::Failover
            });
        }
        plan.desk(what());
        plan.at_ms += SECOND;
        if draw.one_in(4) {
            let phone = *draw.pick(&plan.alive);
            plan.push(What::Sync { phone });
            plan.at_ms += MINUTE;
        }
    }
}

/// The roll is taken home; phones and desks write; it comes back with changed cells, and is perhaps taken back later.
fn ours(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let all = cards_before(plan, |_| true);
    let mut cards = some(draw, &all, 5);
    if !cards.iter().any(|of| of.made == card.made) {
        cards.push(card);
    }
    let mut nth = 0;
    let sheet = MadeBy(plan.push(What::Desk(Desk::Export)));
    plan.at_ms += SECOND;
    let mut typed = Vec::new();
    for card in &cards {
        typed.extend(cells(plan, draw, card, &mut nth));
    }
    // Before the phone hears of anything, in an order of its own.
    let is_offline = draw.one_in(2);
    if draw.one_in(3) {
        meanwhile(plan, draw, phone, &typed, &mut nth);
    }
    if !is_offline {
        plan.push(What::Sync { phone });
        plan.at_ms += MINUTE;
    }
    plan.at_ms += draw.between(0, 12 * HOUR);
    let import = MadeBy(plan.push(What::Desk(Desk::ProposeOurs {
        sheet,
        cells: typed.clone(),
    })));
    plan.at_ms += SECOND;
    if draw.one_in(3) {
        meanwhile(plan, draw, phone, &typed, &mut nth);
        plan.push(What::Sync { phone });
        plan.at_ms += MINUTE;
    }
    parts(plan, draw, cards.len(), || Desk::Apply { import });
    if is_offline || draw.one_in(2) {
        plan.push(What::Sync { phone });
        plan.at_ms += MINUTE;
    }
    if draw.one_in(2) {
        take_back(plan, draw, phone, &typed, import, &mut nth);
    }
    Some(())
}

/// An import is taken back, after somebody worked with what it wrote, or nobody did.
fn take_back(
    plan: &mut Plan,
    draw: &mut Draw,
    phone: usize,
    typed: &[(MadeBy, String, String)],
    import: MadeBy,
    nth: &mut usize,
) {
    plan.at_ms += draw.between(0, 6 * HOUR);
    if draw.one_in(2) {
        well(plan, phone);
        meanwhile(plan, draw, phone, typed, nth);
        plan.push(What::Sync { phone });
        plan.at_ms += MINUTE;
    }
    let rows = typed.iter().map(|(record, ..)| record);
    let rows = rows.collect::<std::collections::BTreeSet<_>>().len();
    parts(plan, draw, rows, || Desk::UndoImport { import });
    if draw.one_in(3) {
        // Taken back, it is not written again.
        plan.desk(Desk::Apply { import });
        plan.at_ms += SECOND;
    }
    plan.push(What::Sync { phone });
    plan.at_ms += MINUTE;
}

/// A sheet from elsewhere: new cards, and cards that the roll has.
fn elsewhere(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let all = cards_before(plan, |_| true);
    let known = some(draw, &all, 3);
    let grid = card.grid.clone();
    let mut nth = 0;
    let mut rows = Vec::new();
    for _ in 0..draw.between(1, 3) {
        let says = vec![
            ("sign_name".to_owned(), value(plan, &mut nth)),
            ("opening_hours".to_owned(), value(plan, &mut nth)),
        ];
        rows.push((None, says));
    }
    let mut typed = Vec::new();
    for card in &known {
        let mut says = vec![("sign_name".to_owned(), value(plan, &mut nth))];
        for key in ["legal_name", "opening_hours", LAST[0]] {
            if draw.one_in(2) {
                says.push((key.to_owned(), value(plan, &mut nth)));
            }
        }
        let cells = says.iter();
        typed.extend(cells.map(|(key, text)| (card.made, key.clone(), text.clone())));
        rows.push((Some(card.made), says));
    }
    let count = rows.len();
    let take = *draw.pick(&[Taken::Empty, Taken::Over, Taken::Over, Taken::Beside]);
    let import = MadeBy(plan.push(What::Desk(Desk::ProposeElsewhere { rows, take, grid })));
    plan.at_ms += SECOND;
    if draw.one_in(2) {
        meanwhile(plan, draw, phone, &typed, &mut nth);
        plan.push(What::Sync { phone });
        plan.at_ms += MINUTE;
    }
    parts(plan, draw, count, || Desk::Apply { import });
    well(plan, phone);
    // Somebody works with the first of the new cards.
    let works = draw.one_in(2);
    if works {
        let text = value(plan, &mut nth);
        write(plan, phone, import, "sign_name", text);
        if draw.one_in(2) {
            plan.push(What::Sync { phone });
            plan.at_ms += MINUTE;
        }
    }
    if draw.one_in(2) {
        take_back(plan, draw, phone, &typed, import, &mut nth);
    }
    Some(())
}

/// Two phones add one person to one card; a desk joins the two, and a phone that does not know writes on the one that went.
fn twice_on_one_card(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (first, card) = at_hand(plan, draw)?;
    let others = plan.alive.iter().copied();
    let mut others =
        others.filter(|other| *other != first && plan.phones[*other].grids.contains(&card.grid));
    let second = others.next().unwrap_or(first);
    well(plan, second);
    let mut nth = 0;
    let name = value(plan, &mut nth);
    let mut entries = Vec::new();
    for phone in [first, second] {
        let entry = plan.entry();
        let mut set = vec![
            (format!("contacts/{entry}/name"), Some(name.clone())),
            (
                format!("contacts/{entry}/phones"),
                Some(value(plan, &mut nth)),
            ),
        ];
        if draw.one_in(2) {
            let when = value(plan, &mut nth);
            set.push((format!("contacts/{entry}/preferred_time"), Some(when)));
        }
        plan.push(What::Edit {
            phone,
            record: card.made,
            set,
            note: None,
        });
        plan.push(What::Sync { phone });
        plan.at_ms += MINUTE;
        entries.push(entry);
    }
    well(plan, first);
    let (kept, gone) = (entries[0], entries[1]);
    let record = card.made;
    if draw.one_in(4) {
        plan.desk(Desk::TellApart {
            record,
            entries: (kept, gone),
        });
        plan.at_ms += MINUTE;
    }
    plan.desk(Desk::Join { record, kept, gone });
    plan.at_ms += SECOND;
    if draw.one_in(2) {
        // The phone has not heard of it.
        let key = *draw.pick(&["preferred_time", "phones"]);
        let text = value(plan, &mut nth);
        write(
            plan,
            second,
            record,
            &format!("contacts/{gone}/{key}"),
            text,
        );
    }
    plan.push(What::Sync { phone: second });
    plan.at_ms += MINUTE;
    if draw.one_in(2) {
        let text = value(plan, &mut nth);
        write(
            plan,
            first,
            record,
            &format!("contacts/{kept}/preferred_time"),
            text,
        );
        plan.push(What::Sync { phone: first });
        plan.at_ms += MINUTE;
    }
    let parted = draw.below(3);
    for _ in 0..parted {
        plan.desk(Desk::UndoJoin { record, kept, gone });
        plan.at_ms += MINUTE;
    }
    // What a joining copied stays in the history of the other entry once the two are parted: a known fault.
    if parted == 0 && draw.one_in(4) {
        let entry = *draw.pick(&[kept, gone]);
        plan.desk(Desk::Redact { record, entry });
        plan.at_ms += SECOND;
    }
    plan.push(What::Sync { phone: second });
    plan.at_ms += MINUTE;
    Some(())
}
