//! What happens seldom and must go right: acts of the office that the plan lacks, and somebody's own program.
//!
//! Drawn beside the plan and not within it, as visits are: everything else in a run happens as it would without them.

use super::{DAY, Desk, MINUTE, MadeBy, Plan, PlannedCard, SECOND, Set, Weather, What, transfers};
use crate::{draw::Draw, office::Looked};

pub(super) type Scene = fn(&mut Plan, &mut Draw) -> Option<()>;

const SCENES: &[Scene] = &[
    stranger,
    stranger,
    held_chain,
    held_chain,
    held_chain,
    held_chain,
    moved_away,
    left_before_lost,
    forgotten_and_restored,
    spelling,
    spelling,
    created_at_the_desk,
    looked_at,
    companion,
    same_member,
    same_letter,
    same_person,
];

/// Adds some of them to a plan that is drawn.
pub(super) fn among(plan: &mut Plan, mut draw: Draw) {
    let end = plan.steps.iter().map(|step| step.at_ms).max();
    let end = end.unwrap_or_default().max(DAY);
    for _ in 0..draw.between(3, 5) {
        plan.at_ms = draw.between(DAY / 2, end);
        let scene = *draw.pick(SCENES);
        // A plan may have no phone or card that the scene needs.
        let _ = scene(plan, &mut draw);
    }
    if draw.one_in(4) {
        plan.at_ms = draw.between(DAY / 2, end);
        let _ = other_role(plan, &mut draw);
    }
    if draw.one_in(6) {
        plan.at_ms = draw.between(DAY / 2, end);
        let _ = enrolled_anew(plan, &mut draw);
    }
}

/// Adds one or two of a scene to a plan that is drawn.
pub(super) fn one_or_two(plan: &mut Plan, mut draw: Draw, scene: Scene) {
    let end = plan.steps.iter().map(|step| step.at_ms).max();
    let end = end.unwrap_or_default().max(DAY);
    for _ in 0..draw.between(1, 2) {
        plan.at_ms = draw.between(DAY / 2, end);
        // A plan may have no phone or card that the scene needs.
        let _ = scene(plan, &mut draw);
    }
}

/// The phone's user works another grid from now on, where there is one; who that is.
pub(super) fn lose(plan: &mut Plan, phone: usize, grid: &str) -> Option<String> {
    let mut others = plan.setup.grids.iter().filter(|other| *other != grid);
    let grids = vec![others.next()?.clone()];
    let username = plan.phones[phone].username.clone();
    plan.desk(Desk::Assign {
        username: username.clone(),
        grids,
    });
    Some(username)
}

/// A phone over a good network, and a card that its user works and that was created before.
pub(super) fn at_hand(plan: &mut Plan, draw: &mut Draw) -> Option<(usize, PlannedCard)> {
    let phone = *draw.pick(&plan.alive);
    let own = &plan.phones[phone].grids;
    let cards = cards_before(plan, |card| own.contains(&card.grid));
    if cards.is_empty() {
        return None;
    }
    let card = draw.pick(&cards).clone();
    well(plan, phone);
    Some((phone, card))
}

pub(super) fn cards_before(plan: &Plan, fits: impl Fn(&PlannedCard) -> bool) -> Vec<PlannedCard> {
    let made_before = |card: &PlannedCard| {
        let mut steps = plan.steps.iter();
        steps.any(|step| step.no == card.made.0 && step.at_ms < plan.at_ms)
    };
    let cards = plan.cards.iter();
    let cards = cards.filter(|card| fits(card) && made_before(card));
    cards.cloned().collect()
}

/// Whether the office's store is put back in this plan. Of what was noted after the backup and forgotten before, the restored office never knew.
pub(super) fn restores(plan: &Plan) -> bool {
    let mut steps = plan.steps.iter();
    steps.any(|step| step.what == What::Desk(Desk::Restore))
}

/// Synchronises over a good network, and some time passes.
pub(super) fn well(plan: &mut Plan, phone: usize) {
    plan.push(What::Network {
        phone,
        weather: Weather::Fine,
    });
    sync(plan, phone);
}

/// Synchronises, and a minute passes.
pub(super) fn sync(plan: &mut Plan, phone: usize) {
    plan.push(What::Sync { phone });
    plan.at_ms += MINUTE;
}

pub(super) fn edit(plan: &mut Plan, phone: usize, record: MadeBy, set: Set) {
    plan.push(What::Edit {
        phone,
        record,
        set,
        note: None,
    });
    plan.at_ms += SECOND;
}

pub(super) fn write(plan: &mut Plan, phone: usize, record: MadeBy, key: &str, value: String) {
    edit(plan, phone, record, vec![(key.to_owned(), Some(value))]);
}

/// A program with a phone's tokens writes on cards of grids that its user works, worked once, or never worked.
fn stranger(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (from, card) = at_hand(plan, draw)?;
    let phones = plan.alive.clone();
    for phone in phones.into_iter().filter(|phone| *phone != from) {
        well(plan, phone);
        let key = *draw.pick(&["sign_name", "lane", "grid"]);
        let value = match key {
            "grid" => draw.pick(&plan.setup.grids).clone(),
            _ => plan.value(0),
        };
        plan.push(What::Forge {
            phone,
            from,
            record: card.made,
            set: vec![(key.to_owned(), Some(value))],
        });
        plan.at_ms += SECOND;
    }
    Some(())
}

/// Edits of one card that build on one another wait for a reviewer, who decides on some; their author goes on.
fn held_chain(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let before = plan.phones[phone].grids.clone();
    let username = lose(plan, phone, &card.grid)?;
    for key in ["sign_name", "lane", "note", "sign_name"] {
        if key == "note" {
            let note = Some(plan.word());
            plan.push(What::Edit {
                phone,
                record: card.made,
                set: Vec::new(),
                note,
            });
        } else {
            let value = plan.value(0);
            write(plan, phone, card.made, key, value);
        }
        if draw.one_in(3) {
            // The rest comes with another request.
            sync(plan, phone);
        }
    }
    sync(plan, phone);
    for _ in 0..draw.between(1, 2) {
        let nth = draw.below(4);
        let accept = !draw.one_in(4);
        plan.desk(if draw.one_in(2) {
            Desk::HeldAsEdit { nth }
        } else {
            Desk::Held { nth, accept }
        });
        plan.at_ms += MINUTE;
    }
    if draw.one_in(2) {
        let value = plan.value(0);
        write(plan, phone, card.made, "sign_name", value);
        sync(plan, phone);
    }
    plan.desk(Desk::Assign {
        username,
        grids: before,
    });
    if draw.one_in(2) {
        // What it builds on came with another request.
        let value = plan.value(0);
        plan.push(What::Forge {
            phone,
            from: phone,
            record: card.made,
            set: vec![("unit".into(), Some(value))],
        });
        plan.at_ms += SECOND;
    }
    let value = plan.value(0);
    write(plan, phone, card.made, "lane", value);
    plan.push(What::Sync { phone });
    Some(())
}

/// What waits for a reviewer has the name of a device that its phone is no longer.
fn enrolled_anew(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let before = plan.phones[phone].grids.clone();
    let username = lose(plan, phone, &card.grid)?;
    for key in ["sign_name", "lane"] {
        let value = plan.value(0);
        write(plan, phone, card.made, key, value);
    }
    sync(plan, phone);
    // With the grid given back, it could write there itself what waits.
    plan.desk(Desk::Assign {
        username: username.clone(),
        grids: before,
    });
    plan.push(What::Enrol { phone, username });
    plan.at_ms += SECOND;
    for _ in 0..2 {
        sync(plan, phone);
    }
    if draw.one_in(2) {
        let accept = !draw.one_in(3);
        plan.desk(Desk::Held { nth: 0, accept });
        plan.at_ms += SECOND;
        plan.push(What::Sync { phone });
    }
    Some(())
}

/// A card is moved to a grid that nobody of before works, and somebody who does not know has written on it.
fn moved_away(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let own = plan.phones[phone].grids.clone();
    let others = plan.setup.grids.iter().filter(|grid| !own.contains(grid));
    let grid = others.cloned().next_back()?;
    let value = plan.value(0);
    write(plan, phone, card.made, "sign_name", value);
    let mut records = vec![card.made];
    let mut more = cards_before(plan, |other| own.contains(&other.grid));
    more.retain(|other| other.made != card.made);
    records.extend(more.last().map(|other| other.made));
    plan.desk(Desk::Move {
        records: records.clone(),
        grid,
    });
    plan.at_ms += SECOND;
    sync(plan, phone);
    if draw.one_in(2) {
        let accept = draw.one_in(2);
        plan.desk(Desk::Held { nth: 0, accept });
    }
    if draw.one_in(2) {
        plan.desk(Desk::Move {
            records,
            grid: card.grid,
        });
    }
    Some(())
}

/// A card leaves a grid, and then its user loses the grid, before the phone hears of either.
fn left_before_lost(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let own = plan.phones[phone].grids.clone();
    let others = plan.setup.grids.iter().filter(|grid| !own.contains(grid));
    let grid = others.cloned().next_back()?;
    let username = plan.phones[phone].username.clone();
    let mut left = own.clone();
    left.retain(|own| *own != card.grid);
    plan.desk(Desk::Move {
        records: vec![card.made],
        grid,
    });
    plan.at_ms += SECOND;
    plan.desk(Desk::Assign {
        username: username.clone(),
        grids: left,
    });
    sync(plan, phone);
    if draw.one_in(3) {
        plan.desk(Desk::Assign {
            username,
            grids: own,
        });
    }
    Some(())
}

/// A refused edit is a draft; its record is erased, or the person that it is about, and the store is restored before the phone hears of it:
/// it starts over.
fn forgotten_and_restored(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let (username, own) = (
        plan.phones[phone].username.clone(),
        plan.phones[phone].grids.clone(),
    );
    let entry = plan.contact(phone, card.made);
    sync(plan, phone);
    let assign = |plan: &mut Plan, grids: Vec<String>| {
        let username = username.clone();
        plan.desk(Desk::Assign { username, grids });
    };
    assign(plan, Vec::new());
    let value = plan.value(0);
    let key = format!("contacts/{entry}/preferred_time");
    write(plan, phone, card.made, &key, value);
    sync(plan, phone);
    for _ in 0..3 {
        plan.desk(Desk::Held {
            nth: 0,
            accept: false,
        });
    }
    assign(plan, own);
    sync(plan, phone);
    plan.desk(Desk::Backup);
    plan.desk(if draw.one_in(2) {
        Desk::Erase { record: card.made }
    } else {
        Desk::Redact {
            record: card.made,
            entry,
        }
    });
    plan.at_ms += MINUTE;
    plan.desk(Desk::Restore);
    plan.push(What::Sync { phone });
    Some(())
}

/// Two people spell a name differently, or one writes more of it; everything that is only spelling is settled at once, and perhaps taken back.
fn spelling(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (first, card) = at_hand(plan, draw)?;
    let others = plan.alive.iter().copied();
    let mut others =
        others.filter(|other| *other != first && plan.phones[*other].grids.contains(&card.grid));
    let second = others.next()?;
    well(plan, second);
    let name = plan.value(0);
    let other = match draw.below(3) {
        0 | 1 => name.to_uppercase(),
        _ => format!("{name}旗舰店"),
    };
    write(plan, first, card.made, "sign_name", name);
    write(plan, second, card.made, "sign_name", other);
    for phone in [first, second] {
        sync(plan, phone);
    }
    plan.desk(Desk::ResolveSpelling);
    plan.at_ms += MINUTE;
    if draw.one_in(3) {
        plan.desk(Desk::UndoChoice {
            record: card.made,
            field: "sign_name".into(),
            force: false,
        });
    }
    Some(())
}

/// A desk creates a card; phones write on it.
fn created_at_the_desk(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let set = vec![
        ("road".into(), Some("康平路".into())),
        ("sign_name".into(), Some(plan.value(0))),
    ];
    let grid = card.grid;
    let made = MadeBy(plan.push(What::Desk(Desk::Create { grid, set })));
    plan.at_ms += SECOND;
    well(plan, phone);
    let value = plan.value(0);
    write(plan, phone, made, "sign_name", value);
    plan.push(What::Sync { phone });
    Some(())
}

/// Somebody edits at a desk what they looked at a while ago.
fn looked_at(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let value = plan.value(0);
    write(plan, phone, card.made, "sign_name", value);
    sync(plan, phone);
    for looked in [Looked::Before, Looked::Now] {
        let set = vec![("legal_name".into(), Some(plan.value(0)))];
        plan.desk(Desk::Edit {
            record: card.made,
            set,
            looked,
        });
    }
    Some(())
}

/// Whoever went along on a visit is to be forgotten.
fn companion(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let with_companion = |what: &What| {
        matches!(
            what,
            What::Visit {
                companion: Some(_),
                ..
            }
        )
    };
    let visits: Vec<_> = plan
        .steps
        .iter()
        .filter(|step| with_companion(&step.what) && step.at_ms < plan.at_ms)
        .map(|step| MadeBy(step.no))
        .collect();
    if visits.is_empty() || restores(plan) {
        return None;
    }
    let visit = *draw.pick(&visits);
    plan.desk(Desk::RedactCompanion { visit });
    Some(())
}

/// A second request is filed for a member whose first one is open.
fn same_member(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let fields = transfers::member(plan, 0);
    let alias = plan.value(9);
    let mut requests = Vec::new();
    for _ in 0..2 {
        let made = plan.push(What::File {
            phone,
            grid: card.grid.clone(),
            kind: "in_city_e".into(),
            alias: alias.clone(),
            fields: fields.clone(),
            submit: true,
        });
        requests.push(MadeBy(made));
        plan.at_ms += SECOND;
        if draw.one_in(2) {
            sync(plan, phone);
        }
    }
    sync(plan, phone);
    for request in requests {
        for step in ["request_origin", "dispatch"] {
            transfers::step(plan, request, step);
        }
    }
    Some(())
}

/// One letter is entered for two requests.
fn same_letter(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let mut requests = Vec::new();
    for _ in 0..2 {
        let fields = transfers::member(plan, 0);
        let alias = plan.value(9);
        let made = plan.push(What::File {
            phone,
            grid: card.grid.clone(),
            kind: "cross_province_letter".into(),
            alias,
            fields,
            submit: true,
        });
        requests.push(MadeBy(made));
        plan.at_ms += SECOND;
    }
    sync(plan, phone);
    let letter = plan.value(8);
    for record in requests {
        transfers::step(plan, record, "request_origin");
        let fields = vec![
            transfers::field("letter_no", &letter),
            transfers::field("issued_on", &plan.yesterday()),
            transfers::field("validity_days", "30"),
            transfers::field("dues_until", "2026-05-01"),
        ];
        plan.desk(Desk::Step {
            record,
            step: "dispatch".into(),
            fields,
        });
        plan.at_ms += MINUTE;
    }
    Some(())
}

/// A secretary's role becomes one that edits nothing, before their phone hears of it, and perhaps what it still has is decided; then they are a
/// secretary again.
fn other_role(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let username = plan.phones[phone].username.clone();
    let become_one = |plan: &mut Plan, role: &str| {
        let (username, role) = (username.clone(), role.to_owned());
        plan.desk(Desk::Role { username, role });
        plan.at_ms += MINUTE;
    };
    let idle = *draw.pick(&["auditor", "officer"]);
    become_one(plan, idle);
    for _ in 0..draw.between(1, 2) {
        let value = plan.value(0);
        write(plan, phone, card.made, "sign_name", value);
        sync(plan, phone);
    }
    // What somebody's own program sends is bound by the role as well.
    let value = plan.value(0);
    plan.push(What::Forge {
        phone,
        from: phone,
        record: card.made,
        set: vec![("unit".into(), Some(value))],
    });
    plan.at_ms += MINUTE;
    if draw.one_in(2) {
        let accept = draw.one_in(2);
        plan.desk(Desk::Held { nth: 0, accept });
    }
    plan.at_ms += draw.between(MINUTE, DAY);
    if draw.one_in(2) {
        plan.push(What::Sync { phone });
    }
    become_one(plan, "secretary");
    plan.push(What::Sync { phone });
    Some(())
}

/// One person stands on two cards, which become one; somebody who does not know writes on the card that went away.
fn same_person(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    one_person_on_two(plan, draw).map(drop)
}

/// The phone that wrote, the card that goes on and the one that went.
pub(super) fn one_person_on_two(
    plan: &mut Plan,
    draw: &mut Draw,
) -> Option<(usize, MadeBy, MadeBy)> {
    let (phone, winner) = at_hand(plan, draw)?;
    let mut others = cards_before(plan, |card| card.grid == winner.grid);
    others.retain(|card| card.made != winner.made);
    let loser = others.last()?.clone();
    let (name, number) = (plan.value(0), plan.value(1));
    let mut entries = Vec::new();
    for card in [&winner, &loser] {
        let entry = plan.entry();
        let set = vec![
            (format!("contacts/{entry}/name"), Some(name.clone())),
            (format!("contacts/{entry}/phones"), Some(number.clone())),
        ];
        plan.push(What::Edit {
            phone,
            record: card.made,
            set,
            note: None,
        });
        entries.push(entry);
    }
    sync(plan, phone);
    let when = plan.value(2);
    write(
        plan,
        phone,
        loser.made,
        &format!("contacts/{}/preferred_time", entries[1]),
        when,
    );
    plan.desk(Desk::Merge {
        winner: winner.made,
        loser: loser.made,
    });
    plan.at_ms += SECOND;
    plan.push(What::Sync { phone });
    Some((phone, winner.made, loser.made))
}
