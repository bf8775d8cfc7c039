//! Visits to the cards of a plan: noted before a phone synchronises, put right, declared void; and cards that move or merge with their visits.
//!
//! Drawn beside the plan and not within it: everything else in a run happens as it would without them.

use super::{Desk, MINUTE, MadeBy, Plan, PlannedCard, SECOND, What, rare::restores};
use crate::draw::Draw;

const OUTCOMES: &[&str] = &["met", "met_staff", "closed", "refused", "not_there"];

/// Adds visits to a plan that is drawn.
pub(super) fn among(plan: &mut Plan, mut draw: Draw) {
    let syncs: Vec<(i64, u32, usize)> = plan
        .steps
        .iter()
        .filter_map(|step| match step.what {
            What::Sync { phone } => Some((step.at_ms, step.no, phone)),
            _ => None,
        })
        .collect();
    // What was made after a backup and erased before its restore, the restored office never knew: its receipt finds nothing to erase.
    let restores = restores(plan);
    for _ in 0..draw.between(2, 6) {
        let (at_ms, no, phone) = *draw.pick(&syncs);
        let own = &plan.phones[phone].grids;
        let cards: Vec<PlannedCard> = plan
            .cards
            .iter()
            .filter(|card| card.made.0 < no && own.contains(&card.grid))
            .cloned()
            .collect();
        if cards.is_empty() {
            continue;
        }
        let card = draw.pick(&cards).clone();
        plan.at_ms = at_ms - SECOND;
        let made = visit(plan, &mut draw, phone, &card, None);
        let later = syncs
            .iter()
            .find(|(later_ms, _, of)| *of == phone && *later_ms > at_ms);
        if let Some((later_ms, ..)) = later {
            plan.at_ms = later_ms - SECOND;
            match draw.below(4) {
                0 => drop(visit(plan, &mut draw, phone, &card, Some(made))),
                1 => {
                    let reason = plan.value(0);
                    let visit = made;
                    plan.push(What::Void {
                        phone,
                        visit,
                        reason,
                    });
                }
                _ => {}
            }
        }
        plan.at_ms = at_ms + draw.between(SECOND, 5 * MINUTE);
        match draw.below(8) {
            0 | 1 => {
                let grid = draw.pick(&plan.setup.grids).clone();
                plan.desk(Desk::Move {
                    records: vec![card.made],
                    grid,
                });
            }
            2 => {
                let winner = draw.pick(&cards).made;
                if winner != card.made {
                    plan.desk(Desk::Merge {
                        winner,
                        loser: card.made,
                    });
                }
            }
            3 if !restores => plan.desk(Desk::Erase { record: made }),
            _ => {}
        }
    }
}

fn visit(
    plan: &mut Plan,
    draw: &mut Draw,
    phone: usize,
    card: &PlannedCard,
    replaces: Option<MadeBy>,
) -> MadeBy {
    let companion = draw.one_in(2).then(|| plan.value(1));
    let what = What::Visit {
        phone,
        shop: card.made,
        at: format!("{}T10:{:02}", plan.yesterday(), draw.below(60)),
        outcome: (*draw.pick(OUTCOMES)).to_owned(),
        companion,
        remark: plan.value(0),
        replaces,
    };
    MadeBy(plan.push(what))
}
