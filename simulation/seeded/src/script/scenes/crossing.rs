//! Two things that seldom meet: something waits for a reviewer or for the network while something else happens to the same card.
//!
//! Drawn beside the plan, after all else: everything else in a run happens as it would without them.

use uuid::Uuid;

use super::{
    Desk, MINUTE, MadeBy, Plan, SECOND, Set, Weather, What, consent,
    rare::{
        Scene, at_hand, cards_before, edit, lose, one_or_two, one_person_on_two, restores, sync,
        well, write,
    },
    transfers,
};
use crate::{draw::Draw, office::Looked};

const SCENES: &[Scene] = &[
    held_beside_another,
    held_and_withdrawn,
    status_of_two,
    chain_of_merges,
    chosen_again,
    chosen_and_written,
    gained_while_behind,
    gained_and_moved,
    consent_of_a_joined,
    same_person_parted,
    compacted_meanwhile,
    all_write_of_a_member,
];

/// Adds one or two of them to a plan that is drawn.
pub(super) fn among(plan: &mut Plan, mut draw: Draw) {
    let scene = *draw.pick(SCENES);
    one_or_two(plan, draw, scene);
}

/// Another phone over a good network whose user works the grid.
fn another(plan: &mut Plan, phone: usize, grid: &String) -> Option<usize> {
    let works = |other: &usize| *other != phone && plan.phones[*other].grids.contains(grid);
    let other = plan.alive.iter().copied().find(works)?;
    well(plan, other);
    Some(other)
}

/// Somebody else writes the same field while an edit of it waits; a desk takes over what waits as its own edit.
fn held_beside_another(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let other = another(plan, phone, &card.grid)?;
    let before = plan.phones[phone].grids.clone();
    let key = *draw.pick(&["sign_name", "unit"]);
    let username = lose(plan, phone, &card.grid)?;
    let value = plan.value(0);
    write(plan, phone, card.made, key, value);
    sync(plan, phone);
    let value = plan.value(0);
    write(plan, other, card.made, key, value);
    sync(plan, other);
    plan.desk(Desk::HeldAsEdit { nth: 0 });
    plan.at_ms += MINUTE;
    plan.desk(Desk::Assign {
        username,
        grids: before,
    });
    sync(plan, phone);
    Some(())
}

/// A consent to a party status, as an entry of its own.
fn anew(plan: &mut Plan, contact: Uuid, decision: &str) -> Set {
    consent(plan.entry(), contact, decision)
}

/// What is said of a person waits, and meanwhile the person withdraws a consent, or is forgotten.
fn held_and_withdrawn(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let other = another(plan, phone, &card.grid)?;
    let before = plan.phones[phone].grids.clone();
    let entry = plan.entry();
    let mut set = vec![(format!("contacts/{entry}/name"), Some(plan.value(0)))];
    let only_the_consent = draw.one_in(2);
    if !only_the_consent {
        set.extend(anew(plan, entry, "grant"));
    }
    edit(plan, phone, card.made, set);
    sync(plan, phone);
    sync(plan, other);
    let username = lose(plan, phone, &card.grid)?;
    let set = if only_the_consent {
        anew(plan, entry, "grant")
    } else {
        vec![(
            format!("contacts/{entry}/party_status"),
            Some(plan.value(1)),
        )]
    };
    edit(plan, phone, card.made, set);
    sync(plan, phone);
    if only_the_consent && !restores(plan) {
        plan.desk(Desk::Redact {
            record: card.made,
            entry,
        });
        plan.at_ms += SECOND;
    } else {
        let set = anew(plan, entry, "withdraw");
        edit(plan, other, card.made, set);
        sync(plan, other);
    }
    if draw.one_in(3) {
        let accept = draw.one_in(2);
        plan.desk(Desk::Held { nth: 0, accept });
        plan.at_ms += SECOND;
    }
    plan.desk(Desk::Assign {
        username,
        grids: before,
    });
    sync(plan, phone);
    sync(plan, phone);
    Some(())
}

/// Two write the party status of one person at once, one of them may choose between the two, and the person withdraws the consent.
fn status_of_two(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let other = another(plan, phone, &card.grid)?;
    let entry = plan.entry();
    let mut set = vec![(format!("contacts/{entry}/name"), Some(plan.value(0)))];
    set.extend(anew(plan, entry, "grant"));
    edit(plan, phone, card.made, set);
    sync(plan, phone);
    sync(plan, other);
    for author in [phone, other] {
        let status = vec![(
            format!("contacts/{entry}/party_status"),
            Some(plan.value(1)),
        )];
        edit(plan, author, card.made, status);
    }
    sync(plan, other);
    sync(plan, phone);
    if !draw.one_in(4) {
        sync(plan, other);
        if !draw.one_in(3) {
            // Who sees both values chooses.
            let key = format!("contacts/{entry}/party_status");
            let value = plan.value(1);
            write(plan, other, card.made, &key, value);
            sync(plan, other);
        }
    }
    let set = anew(plan, entry, "withdraw");
    edit(plan, other, card.made, set);
    sync(plan, other);
    sync(plan, phone);
    Some(())
}

/// A card goes into another one, and that into a third; a phone that has heard of neither writes on the first.
fn chain_of_merges(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, first) = at_hand(plan, draw)?;
    let mut others = cards_before(plan, |card| card.grid == first.grid);
    others.retain(|card| card.made != first.made);
    let [third, .., second] = &others[..] else {
        return None;
    };
    let (second, third) = (second.made, third.made);
    let mut merges = vec![(second, first.made), (third, second)];
    if draw.one_in(3) {
        merges.reverse();
    }
    for (winner, loser) in merges {
        plan.desk(Desk::Merge { winner, loser });
        plan.at_ms += SECOND;
    }
    for record in [first.made, second] {
        let entry = plan.entry();
        let set = vec![
            (format!("contacts/{entry}/name"), Some(plan.value(0))),
            ("unit".into(), Some(plan.value(1))),
        ];
        edit(plan, phone, record, set);
    }
    sync(plan, phone);
    Some(())
}

/// Two phones write the legal name of a card without seeing each other's value.
fn two_names(plan: &mut Plan, draw: &mut Draw) -> Option<(usize, usize, MadeBy)> {
    let (phone, card) = at_hand(plan, draw)?;
    let other = another(plan, phone, &card.grid)?;
    for author in [phone, other] {
        let value = plan.value(0);
        write(plan, author, card.made, "legal_name", value);
    }
    sync(plan, phone);
    sync(plan, other);
    Some((phone, other, card.made))
}

/// A choice is made between two values, a phone that knows of it writes the field or clears it, and a desk takes the choice back.
fn chosen_and_written(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, other, record) = two_names(plan, draw)?;
    let instead = draw.one_in(4).then(|| plan.value(3));
    plan.desk(Desk::Resolve {
        record,
        field: "legal_name".into(),
        nth: draw.below(2),
        instead,
        looked_at: None,
    });
    plan.at_ms += MINUTE;
    sync(plan, other);
    let value = draw.one_in(2).then(|| plan.value(5));
    edit(plan, other, record, vec![("legal_name".into(), value)]);
    sync(plan, other);
    plan.desk(Desk::UndoChoice {
        record,
        field: "legal_name".into(),
        force: draw.one_in(4),
    });
    plan.at_ms += MINUTE;
    sync(plan, phone);
    sync(plan, other);
    Some(())
}

/// A choice is made between two values, taken back, and made again.
fn chosen_again(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, other, record) = two_names(plan, draw)?;
    for undo in [true, false] {
        let nth = draw.below(2);
        let instead = draw.one_in(4).then(|| plan.value(3));
        plan.desk(Desk::Resolve {
            record,
            field: "legal_name".into(),
            nth,
            instead,
            looked_at: None,
        });
        plan.at_ms += MINUTE;
        if undo {
            plan.desk(Desk::UndoChoice {
                record,
                field: "legal_name".into(),
                force: false,
            });
            plan.at_ms += MINUTE;
        }
    }
    sync(plan, phone);
    sync(plan, other);
    Some(())
}

/// The phone's user works another grid as well, and the answer that brings it breaks off.
fn gain(plan: &mut Plan, phone: usize, grid: String) {
    let mut grids = plan.phones[phone].grids.clone();
    grids.push(grid);
    let username = plan.phones[phone].username.clone();
    plan.desk(Desk::Assign { username, grids });
    plan.at_ms += SECOND;
    plan.push(What::Network {
        phone,
        weather: Weather::Checkpoint,
    });
}

/// A user gains a grid while their phone is far behind in another, and the answer that tells of both breaks off.
fn gained_while_behind(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let own = plan.phones[phone].grids.clone();
    let others = plan.setup.grids.iter().filter(|grid| !own.contains(grid));
    let gained = others.cloned().next_back()?;
    let other = another(plan, phone, &card.grid)?;
    for nth in 0..6 {
        let value = plan.value(nth);
        let key = ["sign_name", "lane", "legal_name"][nth % 3];
        write(plan, other, card.made, key, value);
    }
    sync(plan, other);
    gain(plan, phone, gained);
    for _ in 0..3 {
        sync(plan, phone);
    }
    Some(())
}

/// A user gains a grid, the answer that brings it breaks off, and a card that it had brought leaves the grid again.
fn gained_and_moved(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let phone = *draw.pick(&plan.alive);
    let own = plan.phones[phone].grids.clone();
    let cards = cards_before(plan, |card| !own.contains(&card.grid));
    if cards.is_empty() {
        return None;
    }
    let gained = draw.pick(&cards).grid.clone();
    let grids = plan.setup.grids.iter();
    let away = grids.filter(|grid| !own.contains(grid) && **grid != gained);
    let away = away.cloned().next_back()?;
    well(plan, phone);
    gain(plan, phone, gained.clone());
    sync(plan, phone);
    let moved = cards.into_iter().filter(|card| card.grid == gained);
    plan.desk(Desk::Move {
        records: moved.map(|card| card.made).collect(),
        grid: away,
    });
    plan.at_ms += SECOND;
    sync(plan, phone);
    Some(())
}

/// One person stands twice on a card and is joined; a phone that has not heard of it notes a consent, or its withdrawal, of the entry that went.
fn consent_of_a_joined(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let other = another(plan, phone, &card.grid)?;
    let record = card.made;
    let (kept, gone) = (plan.entry(), plan.entry());
    for (author, entry) in [(phone, kept), (other, gone)] {
        let mut set = vec![
            (format!("contacts/{entry}/name"), Some(plan.value(0))),
            (format!("contacts/{entry}/phones"), Some(plan.value(1))),
        ];
        set.extend(anew(plan, entry, "grant"));
        edit(plan, author, record, set);
        sync(plan, author);
    }
    sync(plan, phone);
    let status = *draw.pick(&[kept, gone]);
    let key = format!("contacts/{status}/party_status");
    let set = vec![(key, Some(plan.value(1)))];
    edit(plan, phone, record, set);
    sync(plan, phone);
    if draw.one_in(2) {
        sync(plan, other);
    }
    plan.desk(Desk::JoinContacts { record, kept, gone });
    plan.at_ms += MINUTE;
    let decision = *draw.pick(&["withdraw", "withdraw", "grant"]);
    let set = anew(plan, gone, decision);
    edit(plan, other, record, set);
    sync(plan, other);
    sync(plan, phone);
    Some(())
}

/// One person stands on two cards, which become one and are parted again.
fn same_person_parted(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, winner, loser) = one_person_on_two(plan, draw)?;
    plan.at_ms += MINUTE;
    plan.desk(Desk::UndoMerge { winner, loser });
    plan.at_ms += MINUTE;
    sync(plan, phone);
    Some(())
}

/// Somebody writes on a card, or a desk does, while its compacted history is being made.
fn compacted_meanwhile(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    for _ in 0..4 {
        let value = plan.value(0);
        write(plan, phone, card.made, "sign_name", value);
        sync(plan, phone);
    }
    plan.desk(Desk::PrepareCompaction { record: card.made });
    plan.at_ms += SECOND;
    match draw.below(3) {
        0 => {}
        1 => {
            let set = vec![("legal_name".into(), Some(plan.value(0)))];
            plan.desk(Desk::Edit {
                record: card.made,
                set,
                looked: Looked::Unsaid,
            });
        }
        _ => {
            let value = plan.value(0);
            write(plan, phone, card.made, "lane", value);
            plan.push(What::Sync { phone });
        }
    }
    plan.at_ms += MINUTE;
    plan.desk(Desk::Compact { record: card.made });
    plan.at_ms += SECOND;
    let value = plan.value(1);
    write(plan, phone, card.made, "lane", value);
    plan.push(What::Sync { phone });
    Some(())
}

/// Phones write the same sensitive field of a request, before it is submitted and after.
fn all_write_of_a_member(plan: &mut Plan, draw: &mut Draw) -> Option<()> {
    let (phone, card) = at_hand(plan, draw)?;
    let works = |other: &usize| plan.phones[*other].grids.contains(&card.grid);
    let others = plan.alive.iter().copied().filter(|other| *other != phone);
    let others: Vec<_> = others.filter(works).take(2).collect();
    for other in &others {
        well(plan, *other);
    }
    let all = [&others[..], &[phone]].concat();
    let fields = transfers::member(plan, 0);
    let alias = plan.value(9);
    let request = MadeBy(plan.push(What::File {
        phone,
        grid: card.grid.clone(),
        kind: "in_city_e".into(),
        alias,
        fields,
        submit: false,
    }));
    plan.at_ms += SECOND;
    let all_sync = |plan: &mut Plan, all: &[usize]| {
        for phone in all {
            sync(plan, *phone);
        }
    };
    sync(plan, phone);
    let all_write = |plan: &mut Plan| {
        for author in &all {
            let value = plan.value(5);
            write(plan, *author, request, "member_name", value);
        }
        all_sync(plan, &all);
    };
    all_sync(plan, &others);
    all_write(plan);
    all_sync(plan, &others);
    plan.push(What::Event {
        phone,
        record: request,
        step: "submit".into(),
        fields: vec![transfers::field("member_present", "yes")],
    });
    plan.at_ms += SECOND;
    let after = draw.below(3);
    if after == 0 {
        sync(plan, phone);
    } else {
        // The others do not know that it is away, or over.
        plan.push(What::Sync { phone });
        if after == 1 {
            transfers::withdraw(plan, phone, request);
        }
        all_write(plan);
    }
    if draw.one_in(2) {
        transfers::step(plan, request, "return");
        all_write(plan);
        plan.push(What::Event {
            phone,
            record: request,
            step: "resubmit".into(),
            fields: Vec::new(),
        });
        plan.push(What::Sync { phone });
    }
    Some(())
}
