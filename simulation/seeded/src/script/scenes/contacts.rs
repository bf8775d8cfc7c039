//! One person twice on a card: two phones note them, a desk joins the two entries, somebody who has not heard of it goes on with the one that went; some
//! are parted again.
//!
//! Drawn beside the plan, after all else: everything else in a run happens as it would without them.

use uuid::Uuid;

use super::{
    DAY, Desk, HOUR, MINUTE, MadeBy, Plan, SECOND, What,
    rare::{at_hand, edit, one_or_two, restores, well, write},
};
use crate::draw::Draw;

/// Adds one or two of them to a plan that is drawn.
pub(super) fn among(plan: &mut Plan, draw: Draw) {
    one_or_two(plan, draw, twice);
}

fn twice(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let others = plan.alive.clone();
    let others: Vec<_> = others
        .into_iter()
        .filter(|other| plan.phones[*other].grids.contains(&card.grid))
        .collect();
    let other = *draw.pick(&others);
    well(plan, other);
    let record = card.made;
    let entries: Vec<Uuid> = (0..if draw.one_in(3) { 3 } else { 2 })
        .map(|nth| noted(plan, draw, if nth == 0 { phone } else { other }, record))
        .collect();
    well(plan, phone);
    well(plan, other);
    let pairs: Vec<_> = entries.windows(2).map(|two| (two[0], two[1])).collect();
    // From the end of a chain, or from its beginning.
    let mut order = pairs.clone();
    if draw.one_in(2) {
        order.reverse();
    }
    for (kept, gone) in order {
        plan.desk(Desk::JoinContacts { record, kept, gone });
        plan.at_ms += MINUTE;
    }
    // Nobody told this phone yet.
    let (kept, gone) = pairs[0];
    for line in ["name", "phones"] {
        if draw.one_in(2) {
            let value = plan.value(1);
            let entry = *draw.pick(&[kept, gone]);
            write(
                plan,
                other,
                record,
                &format!("contacts/{entry}/{line}"),
                value,
            );
        }
    }
    if entries.len() > 2 {
        // One edit about two of them that went.
        let mut set = Vec::new();
        for (nth, entry) in entries[1..].iter().enumerate() {
            let line = format!("contacts/{entry}/role");
            set.push((line, Some(plan.value(2 + nth))));
        }
        plan.push(What::Edit {
            phone: other,
            record,
            set,
            note: None,
        });
    }
    plan.at_ms += draw.between(SECOND, HOUR);
    well(plan, other);
    if draw.one_in(2) {
        for (kept, gone) in pairs.into_iter().rev() {
            plan.desk(Desk::PartContacts { record, kept, gone });
            plan.at_ms += draw.between(MINUTE, DAY / 4);
        }
        well(plan, phone);
        if draw.one_in(2) {
            // It is a person of its own again.
            let value = plan.value(0);
            write(plan, phone, record, &format!("contacts/{gone}/role"), value);
            well(plan, phone);
        }
    } else if !restores(plan) && draw.one_in(4) {
        let entry = *draw.pick(&[kept, gone]);
        plan.desk(Desk::Redact { record, entry });
        plan.at_ms += SECOND;
        well(plan, phone);
    }
    Some(())
}

/// A contact in the plan's words, of whom no other scene knows.
fn noted(plan: &mut Plan, draw: &mut Draw, phone: usize, record: MadeBy) -> Uuid {
    let entry = plan.entry();
    let mut set = vec![(format!("contacts/{entry}/phones"), Some(plan.value(1)))];
    for line in ["name", "role"] {
        if !draw.one_in(4) {
            set.push((format!("contacts/{entry}/{line}"), Some(plan.value(0))));
        }
    }
    edit(plan, phone, record, set);
    entry
}
