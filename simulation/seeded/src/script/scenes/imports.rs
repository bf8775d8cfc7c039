//! A sheet of cards is made, somebody works on it for a while, and it comes back; meanwhile phones wrote on the same cards. Some imports are taken back.
//!
//! Drawn beside the plan, after all else: everything else in a run happens as it would without them.

use lianka_office_core::acts::import::Over;

use super::{
    DAY, Desk, HOUR, MINUTE, MadeBy, Plan, SECOND, What,
    rare::{at_hand, cards_before, lose, one_or_two, well, write},
};
use crate::{draw::Draw, office::SheetCell, script::PlannedRow};

/// Fields of which several values stand beside one another, with values in the plan's words.
const KEYS: [&str; 4] = ["sign_name", "lane", "unit", "opening_hours"];

/// Adds one or two sheets to a plan that is drawn.
pub(super) fn among(plan: &mut Plan, draw: Draw) {
    one_or_two(plan, draw, sheet);
}

fn sheet(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let mut more = cards_before(plan, |other| other.grid == card.grid);
    more.retain(|other| other.made != card.made);
    let mut records = vec![card.made];
    records.extend(more.last().map(|other| other.made));
    let sheet = MadeBy(plan.push(What::Desk(Desk::Export {
        records: records.clone(),
    })));
    plan.at_ms += draw.between(MINUTE, HOUR);
    let others = plan.alive.clone();
    let others: Vec<_> = others
        .into_iter()
        .filter(|other| plan.phones[*other].grids.contains(&card.grid))
        .collect();
    let other = *draw.pick(&others);
    // What the sheet's author does not see.
    if draw.one_in(2) {
        walked(plan, draw, other, card.made);
        well(plan, other);
    }
    if draw.one_in(5) {
        plan.desk(Desk::Compact { record: card.made });
        plan.at_ms += SECOND;
    }
    let rows: Vec<_> = records
        .iter()
        .map(|record| row(plan, draw, *record))
        .collect();
    let brings = draw.one_in(2).then(|| {
        let set = vec![
            ("road".into(), Some("康平路".into())),
            ("sign_name".into(), Some(plan.value(9))),
        ];
        (card.grid.clone(), set)
    });
    let is_new = brings.is_some();
    let import = MadeBy(plan.push(What::Desk(Desk::Import {
        sheet,
        rows: rows.clone(),
        brings,
    })));
    plan.at_ms += draw.between(SECOND, HOUR);
    if draw.one_in(4) {
        // The same sheet comes again.
        plan.push(What::Desk(Desk::Import {
            sheet,
            rows: said_again(rows),
            brings: None,
        }));
        plan.at_ms += SECOND;
    }
    if draw.one_in(4) {
        plan.desk(Desk::Compact {
            record: *draw.pick(&records),
        });
    }
    // What came over it, or beside it from a phone that does not know.
    if draw.one_in(2) {
        let by = *draw.pick(&[phone, other]);
        if draw.one_in(2) {
            well(plan, by);
        }
        walked(plan, draw, by, card.made);
        well(plan, by);
    }
    let is_used = is_new && draw.one_in(3);
    if is_used {
        well(plan, other);
        let lost = draw.one_in(3);
        let lost = lost.then(|| lose(plan, other, &card.grid)).flatten();
        let value = plan.value(0);
        write(plan, other, import, "unit", value);
        plan.push(What::Sync { phone: other });
        plan.at_ms += MINUTE;
        if let Some(username) = lost {
            let grids = plan.phones[other].grids.clone();
            plan.push_later(DAY / 4, What::Desk(Desk::Assign { username, grids }));
        }
    }
    if !draw.one_in(3) {
        if is_new && !is_used && draw.one_in(2) {
            // An edit of a card that is about to go.
            well(plan, other);
            let value = plan.value(0);
            write(plan, other, import, "lane", value);
        }
        plan.desk(Desk::UndoImport { import });
        plan.at_ms += MINUTE;
        well(plan, other);
    }
    Some(())
}

/// What a sheet says that comes again. What is to stand beside something, and what was added to a note, would be said twice: whoever reads the sheet
/// leaves that out.
fn said_again(mut rows: Vec<PlannedRow>) -> Vec<PlannedRow> {
    for row in &mut rows {
        row.cells.retain(|cell| cell.over != Over::Nothing);
        row.note = None;
    }
    rows
}

/// Somebody writes some of the fields, and the note.
fn walked(plan: &mut Plan, draw: &mut Draw, phone: usize, record: MadeBy) {
    for key in KEYS {
        if draw.one_in(2) {
            let value = plan.value(0);
            write(plan, phone, record, key, value);
        }
    }
    if draw.one_in(3) {
        let note = Some(plan.word());
        plan.push(What::Edit {
            phone,
            record,
            set: Vec::new(),
            note,
        });
        plan.at_ms += SECOND;
    }
}

fn row(plan: &Plan, draw: &mut Draw, record: MadeBy) -> PlannedRow {
    let mut cells = Vec::new();
    for (nth, key) in KEYS.into_iter().enumerate() {
        if draw.one_in(3) {
            continue;
        }
        let over = *draw.pick(&[
            Over::Seen,
            Over::Seen,
            Over::Seen,
            Over::Nothing,
            Over::Absent,
        ]);
        let is_emptied = over == Over::Seen && draw.one_in(5);
        let value = (!is_emptied).then(|| format!("v{}.{}.{nth}z", plan.no, record.0));
        cells.push(SheetCell {
            key: key.to_owned(),
            value,
            over,
        });
    }
    PlannedRow {
        record,
        cells,
        note: draw.one_in(2).then(|| word(plan, record)),
    }
}

/// As [`Plan::word`], another one for each card of a sheet.
fn word(plan: &Plan, record: MadeBy) -> String {
    let at = 0x4e00 + (plan.no * 3 + 10_000 + record.0 * 300) % 20_000;
    (0..3).filter_map(|nth| char::from_u32(at + nth)).collect()
}
