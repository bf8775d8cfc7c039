//! Corners: what is seen only where several things come together to the minute, to the item, or to the order of two names.
//!
//! Drawn beside the plan, after all else: everything else in a run happens as it would without them.

use super::{
    DAY, Desk, HOUR, MINUTE, MadeBy, Plan, SECOND, Weather, What,
    rare::{at_hand, cards_before, well, write},
    transfers,
};
use crate::{draw::Draw, script::Heads};

type Scene = fn(&mut Plan, &mut Draw) -> Option<()>;

const SCENES: &[Scene] = &[nights, behind_a_checkpoint, two_heads, two_heads];

/// Adds one or two of them to a plan that is drawn, and perhaps the one that a phone does not outlive.
pub(super) fn among(plan: &mut Plan, mut draw: Draw) {
    let end = plan.steps.iter().map(|step| step.at_ms).max();
    let end = end.unwrap_or_default().max(DAY);
    for _ in 0..draw.between(1, 2) {
        plan.at_ms = draw.between(DAY / 2, end);
        let scene = *draw.pick(SCENES);
        // A plan may have no phone or card that the scene needs.
        let _ = scene(plan, &mut draw);
    }
    if draw.one_in(6) {
        plan.at_ms = end + HOUR;
        let _ = handed_over(plan, &mut draw);
    }
}

/// The office's passes run every night, half an hour after the day is over, while nobody acts on a request.
fn nights(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    /// When a day is over in China.
    const MIDNIGHT: i64 = 16 * HOUR;
    let (phone, card) = at_hand(plan, draw)?;
    let fields = transfers::member(plan, 0);
    let alias = plan.value(9);
    let made = MadeBy(plan.push(What::File {
        phone,
        grid: card.grid,
        kind: "in_city_e".into(),
        alias,
        fields,
        submit: true,
    }));
    plan.at_ms += SECOND;
    plan.push(What::Sync { phone });
    plan.at_ms += MINUTE;
    if draw.one_in(2) {
        transfers::step(plan, made, "request_origin");
    }
    plan.at_ms = plan.at_ms.div_euclid(DAY) * DAY + MIDNIGHT + 30 * MINUTE;
    for _ in 0..12 {
        plan.push(What::Tend);
        plan.at_ms += DAY;
    }
    Some(())
}

/// What somebody else wrote comes one change after another, and the answer breaks off right behind a place from which it may go on.
fn behind_a_checkpoint(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (author, card) = at_hand(plan, draw)?;
    let mut others = plan.alive.iter().copied();
    let reader =
        others.find(|other| *other != author && plan.phones[*other].grids.contains(&card.grid))?;
    well(plan, reader);
    let cards = cards_before(plan, |other| other.grid == card.grid);
    // A checkpoint comes after every two kilobytes.
    for nth in 0..20 {
        let value = plan.value(0);
        let card = &cards[nth % cards.len()];
        write(plan, author, card.made, "sign_name", value);
    }
    plan.push(What::Sync { phone: author });
    plan.at_ms += MINUTE;
    let weather = |plan: &mut Plan, weather| {
        let phone = reader;
        plan.push(What::Network { phone, weather });
    };
    weather(plan, Weather::Checkpoint);
    plan.push(What::Sync { phone: reader });
    plan.at_ms += 5 * MINUTE;
    weather(plan, Weather::Fine);
    Some(())
}

/// Two changes side by side and one on both, of which the second does not come as the first does.
fn two_heads(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let how = match draw.below(3) {
        0 => Heads::Late,
        1 => {
            let mut grids = plan.setup.grids.iter();
            let grid = grids.find(|grid| **grid != card.grid)?.clone();
            Heads::Refused { grid }
        }
        _ => {
            let grids = plan.phones[phone].grids.clone();
            Heads::Held { grids }
        }
    };
    let keys = ["sign_name", "lane", "unit"];
    let set = keys.iter().enumerate();
    let set = set
        .map(|(nth, key)| ((*key).to_owned(), Some(plan.value(nth))))
        .collect();
    let record = card.made;
    plan.push(What::Heads {
        phone,
        record,
        set,
        how,
    });
    plan.at_ms += MINUTE;
    plan.push(What::Sync { phone });
    Some(())
}

/// A phone that is to clear itself hands over an edit, which is held, and another one that it must write anew because of a person who was redacted.
fn handed_over(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    if plan.alive.len() < 3 {
        return None;
    }
    let (phone, card) = at_hand(plan, draw)?;
    let entry = plan.contact(phone, card.made);
    plan.push(What::Sync { phone });
    plan.at_ms += MINUTE;
    let record = card.made;
    plan.desk(Desk::Redact { record, entry });
    plan.at_ms += SECOND;
    let value = plan.value(0);
    write(plan, phone, record, "sign_name", value);
    let set = vec![
        (
            format!("contacts/{entry}/preferred_time"),
            Some(plan.value(0)),
        ),
        ("unit".to_owned(), Some(plan.value(1))),
    ];
    let note = None;
    plan.push(What::Edit {
        phone,
        record,
        set,
        note,
    });
    plan.at_ms += SECOND;
    plan.desk(Desk::Revoke { phone, wipe: true });
    plan.push(What::Sync { phone });
    plan.alive.retain(|alive| *alive != phone);
    Some(())
}
