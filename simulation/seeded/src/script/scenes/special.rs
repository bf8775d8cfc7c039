//! Rare scenes. Every seed has some of them.

use super::{DAY, Desk, HOUR, MINUTE, MadeBy, Plan, SECOND, Weather, What, transfers};
use crate::{draw::Draw, office::Looked};

type Scene = fn(&mut Plan);

/// The special scenes of a seed, in any order.
pub(super) fn drawn(draw: &mut Draw) -> Vec<Scene> {
    let mut all: Vec<Scene> = vec![
        reassign,
        reassign,
        move_cards,
        revoke,
        wipe,
        lose,
        clone_phone,
        clone_phone,
        erase,
        erase,
        redact,
        redact,
        compact,
        backup_and_restore,
        backup_and_restore,
        failover,
        die,
        die,
        older,
        merge,
        merge_and_undo,
        conflict_of_three,
        enrol_again,
        transfers::clock,
        office_clock,
        desert,
        hostile,
        overlap,
        half_download,
        half_download,
        half_download,
        refused_and_forgotten,
        refused_and_forgotten,
        redact_twice,
        marathon,
        consent,
    ];
    let count = draw.between(4, 8) as usize;
    (0..count)
        .map(|_| all.swap_remove(draw.below(all.len())))
        .collect()
}

/// A user's grids change while a phone has unsent edits in them; some get them back.
fn reassign(plan: &mut Plan) {
    let phone = plan.phone();
    let (username, before) = (
        plan.phones[phone].username.clone(),
        plan.phones[phone].grids.clone(),
    );
    let cards: Vec<_> = plan
        .cards
        .iter()
        .filter(|card| before.contains(&card.grid))
        .cloned()
        .collect();
    if cards.is_empty() {
        return;
    }
    let card = plan.draw.pick(&cards).clone();
    plan.edit(phone, &card);
    let others: Vec<_> = plan
        .setup
        .grids
        .iter()
        .filter(|grid| **grid != card.grid)
        .cloned()
        .collect();
    let after = vec![plan.draw.pick(&others).clone()];
    plan.desk(Desk::Assign {
        username: username.clone(),
        grids: after.clone(),
    });
    plan.wait(5 * SECOND);
    plan.sync(phone);
    if plan.draw.one_in(2) {
        plan.edit(phone, &card);
        plan.sync(phone);
    }
    if plan.draw.one_in(2) {
        plan.review();
    }
    if !plan.draw.one_in(3) {
        plan.desk(Desk::Assign {
            username,
            grids: before,
        });
        plan.sync(phone);
        return;
    }
    for planned in plan
        .phones
        .iter_mut()
        .filter(|planned| planned.username == username)
    {
        planned.grids.clone_from(&after);
    }
}

fn move_cards(plan: &mut Plan) {
    let Some(card) = plan.card() else { return };
    let phone = plan.phone();
    plan.edit(phone, &card);
    let mut records = vec![card.made];
    if let Some(other) = plan.card().filter(|other| other.made != card.made) {
        records.push(other.made);
    }
    let grid = plan.draw.pick(&plan.setup.grids).clone();
    for planned in plan
        .cards
        .iter_mut()
        .filter(|planned| records.contains(&planned.made))
    {
        planned.grid.clone_from(&grid);
    }
    plan.desk(Desk::Move { records, grid });
    plan.sync(phone);
    let other = plan.phone();
    plan.sync(other);
}

/// A device is revoked by mistake: its user enrols again on the same file.
fn revoke(plan: &mut Plan) {
    let phone = plan.phone();
    if let Some(card) = plan.card_of(phone) {
        plan.edit(phone, &card);
    }
    plan.desk(Desk::Revoke { phone, wipe: false });
    plan.sync(phone);
    let username = plan.phones[phone].username.clone();
    plan.push(What::Enrol { phone, username });
    plan.sync(phone);
}

fn wipe(plan: &mut Plan) {
    if plan.alive.len() < 3 {
        return;
    }
    let phone = plan.phone();
    if let Some(card) = plan.card_of(phone) {
        plan.edit(phone, &card);
    }
    plan.desk(Desk::Revoke { phone, wipe: true });
    plan.sync(phone);
    plan.alive.retain(|alive| *alive != phone);
    if plan.draw.one_in(2) {
        plan.review();
    }
    replace(plan, phone);
}

/// A phone is lost for good; its user gets another.
fn lose(plan: &mut Plan) {
    if plan.alive.len() < 3 {
        return;
    }
    let phone = plan.phone();
    plan.push(What::Sync { phone });
    plan.wait(3 * SECOND);
    plan.push(What::Lose { phone });
    plan.desk(Desk::Revoke { phone, wipe: false });
    plan.alive.retain(|alive| *alive != phone);
    replace(plan, phone);
}

fn replace(plan: &mut Plan, phone: usize) {
    let planned = plan.phones[phone].clone();
    plan.wait(HOUR);
    let new = plan.new_phone(planned.username, planned.grids);
    plan.sync(new);
}

/// A phone's file is copied; both go on under one name.
fn clone_phone(plan: &mut Plan) {
    let phone = plan.phone();
    let copy = plan.phones.len();
    plan.phones.push(plan.phones[phone].clone());
    plan.alive.push(copy);
    // Its access token is fresh: the copy is let in as well.
    plan.sync(phone);
    plan.wait(20 * SECOND);
    plan.push(What::Clone { phone, to: copy });
    for _ in 0..plan.draw.between(1, 2) {
        let Some(card) = plan.card_of(phone) else {
            break;
        };
        plan.edit(phone, &card);
        plan.edit(copy, &card);
    }
    let copy_first = plan.draw.one_in(2);
    for phone in if copy_first {
        [copy, phone]
    } else {
        [phone, copy]
    } {
        plan.sync(phone);
    }
    if plan.draw.one_in(2) {
        if let Some(card) = plan.card() {
            plan.edit(copy, &card);
        }
        let username = plan.phones[copy].username.clone();
        plan.push(What::Enrol {
            phone: copy,
            username,
        });
        plan.sync(copy);
    }
}

/// A record is erased while edits of it are on their way.
fn erase(plan: &mut Plan) {
    let Some(card) = plan.card() else { return };
    let phones = plan.some_phones(3);
    for phone in &phones {
        plan.edit(*phone, &card);
    }
    for phone in phones {
        plan.push(What::Sync { phone });
        plan.wait(3 * SECOND);
    }
    plan.desk(Desk::Erase { record: card.made });
    plan.wait(MINUTE);
    let phone = plan.phone();
    plan.edit(phone, &card);
    plan.sync(phone);
    plan.cards.retain(|left| left.made != card.made);
}

/// One person on a card is forgotten while somebody edits what concerns them.
fn redact(plan: &mut Plan) {
    let Some(card) = plan.card() else { return };
    let phone = plan.phone();
    let entry = plan.contact(phone, card.made);
    plan.sync(phone);
    let others = plan.some_phones(2);
    let about = |plan: &mut Plan, phone: usize, field: &str| {
        let mut set = vec![(format!("contacts/{entry}/{field}"), Some(plan.value(0)))];
        if plan.draw.one_in(2) {
            // What is not about the person stays.
            set.push(("lane".into(), Some(plan.value(1))));
        }
        plan.push(What::Edit {
            phone,
            record: card.made,
            set,
            note: None,
        });
    };
    for other in &others {
        plan.sync(*other);
        about(plan, *other, "name");
        plan.edit(*other, &card);
    }
    if plan.draw.one_in(2) {
        plan.push(What::Sync { phone: others[0] });
        plan.wait(3 * SECOND);
    }
    plan.desk(Desk::Redact {
        record: card.made,
        entry,
    });
    if plan.draw.one_in(3) {
        plan.desk(Desk::Compact { record: card.made });
    }
    for other in others {
        plan.sync(other);
        if plan.draw.one_in(2) {
            // Again about the person, by somebody who does not know.
            about(plan, other, "phones");
            plan.sync(other);
        }
    }
    if let Some(card) = plan
        .cards
        .iter_mut()
        .find(|planned| planned.made == card.made)
    {
        card.contacts.retain(|contact| *contact != entry);
    }
}

fn compact(plan: &mut Plan) {
    let Some(card) = plan.card() else { return };
    let phones = plan.some_phones(2);
    for phone in &phones {
        plan.edit(*phone, &card);
        plan.edit(*phone, &card);
    }
    plan.desk(Desk::Compact { record: card.made });
    for phone in phones {
        plan.sync(phone);
    }
}

/// The store goes back to its backup: what came after is lost there, and phones bring it again.
fn backup_and_restore(plan: &mut Plan) {
    plan.desk(Desk::Backup);
    let days = plan.draw.between(0, 6);
    for _ in 0..plan.draw.between(2, 4) {
        plan.walk();
        plan.wait(days * DAY / 4);
    }
    if plan.draw.one_in(3) {
        plan.note_clash();
    }
    let phone = plan.phone();
    // A desk writes the same card on both sides: its second change must not pass for the first.
    let card = plan.card_of(phone).filter(|_| plan.draw.one_in(2));
    let at_the_desk = |plan: &mut Plan| {
        let Some(card) = &card else { return };
        let set = vec![("legal_name".into(), Some(plan.value(0)))];
        plan.desk(Desk::Edit {
            record: card.made,
            set,
            looked: Looked::Unsaid,
        });
        plan.at_ms += SECOND;
    };
    at_the_desk(plan);
    plan.push(What::Sync { phone });
    plan.wait(3 * SECOND);
    plan.desk(Desk::Restore);
    at_the_desk(plan);
    for phone in plan.some_phones(4) {
        if plan.draw.one_in(2)
            && let Some(card) = plan.card_of(phone)
        {
            plan.edit(phone, &card);
        }
        plan.sync(phone);
    }
}

fn failover(plan: &mut Plan) {
    let phone = plan.phone();
    plan.push(What::Sync { phone });
    plan.wait(3 * SECOND);
    let desk = if plan.draw.one_in(3) {
        Desk::Restart
    } else {
        Desk::Failover
    };
    plan.desk(desk);
    plan.wait(MINUTE);
    plan.gather();
}

/// The office dies after the commit and before the answer.
fn die(plan: &mut Plan) {
    let phone = plan.phone();
    for _ in 0..plan.draw.between(1, 2) {
        if let Some(card) = plan.card_of(phone) {
            plan.edit(phone, &card);
        }
    }
    plan.push(What::DieBeforeReply);
    plan.sync(phone);
    if plan.draw.one_in(2) {
        plan.push(What::DieBeforeReply);
        plan.push(What::Crash { phone });
        plan.sync(phone);
    }
}

/// A phone runs an older version for a while.
fn older(plan: &mut Plan) {
    let phone = plan.phone();
    plan.push(What::Older { phone, older: true });
    plan.walk();
    if let Some(card) = plan.card_of(phone) {
        plan.edit(phone, &card);
    }
    plan.sync(phone);
    let days = plan.draw.between(1, 10);
    plan.push_later(
        days * DAY,
        What::Older {
            phone,
            older: false,
        },
    );
}

fn merge(plan: &mut Plan) {
    let (Some(winner), Some(loser)) = (plan.card(), plan.card()) else {
        return;
    };
    if winner.made == loser.made {
        return;
    }
    let phones = plan.some_phones(2);
    for phone in &phones {
        plan.edit(*phone, &loser);
    }
    plan.desk(Desk::Merge {
        winner: winner.made,
        loser: loser.made,
    });
    for phone in phones {
        plan.sync(phone);
        plan.edit(phone, &winner);
        plan.sync(phone);
    }
}

/// Two cards are merged; somebody would put a third one into the card that went away; then the merge is taken back, perhaps twice.
fn merge_and_undo(plan: &mut Plan) {
    let (Some(winner), Some(loser)) = (plan.card(), plan.card()) else {
        return;
    };
    if winner.made == loser.made {
        return;
    }
    let phone = plan.phone();
    plan.contact(phone, loser.made);
    plan.sync(phone);
    plan.at_ms += MINUTE;
    plan.desk(Desk::Merge {
        winner: winner.made,
        loser: loser.made,
    });
    plan.edit(phone, &loser);
    plan.sync(phone);
    if let Some(third) = plan
        .card()
        .filter(|card| card.made != winner.made && card.made != loser.made && plan.at_ms % 2 == 0)
    {
        plan.desk(Desk::Merge {
            winner: loser.made,
            loser: third.made,
        });
    }
    if plan.draw.one_in(3) {
        plan.contact(phone, loser.made);
        plan.sync(phone);
    }
    for _ in 0..plan.draw.between(1, 2) {
        plan.desk(Desk::UndoMerge {
            winner: winner.made,
            loser: loser.made,
        });
        plan.wait(HOUR);
    }
    plan.sync(phone);
}

/// Everybody writes the same field without a network; a desk looks at some of the values and chooses, and takes it back.
fn conflict_of_three(plan: &mut Plan) {
    let Some(card) = plan.card() else { return };
    plan.gather();
    plan.at_ms += MINUTE;
    let phones = plan.some_phones(4);
    for phone in &phones {
        let value = plan.value(0);
        plan.push(What::Edit {
            phone: *phone,
            record: card.made,
            set: vec![("legal_name".into(), Some(value))],
            note: None,
        });
    }
    for phone in phones {
        plan.sync(phone);
    }
    plan.at_ms += MINUTE;
    let looked_at = plan.draw.one_in(2).then_some(2);
    let nth = plan.draw.below(2);
    let instead = plan.draw.one_in(3).then(|| plan.value(2));
    plan.desk(Desk::Resolve {
        record: card.made,
        field: "legal_name".into(),
        nth,
        instead,
        looked_at,
    });
    if plan.draw.one_in(2) {
        plan.undo_choice(card.made, "legal_name");
    }
}

/// The same file enrols again although nothing is wrong: what is unsent was signed by a device that it is no longer.
fn enrol_again(plan: &mut Plan) {
    let phone = plan.phone();
    for _ in 0..2 {
        if let Some(card) = plan.card_of(phone) {
            plan.edit(phone, &card);
        }
    }
    let username = plan.phones[phone].username.clone();
    plan.push(What::Enrol { phone, username });
    plan.sync(phone);
}

fn office_clock(plan: &mut Plan) {
    let by_ms = plan.draw.between(-2 * HOUR, 2 * HOUR);
    plan.push(What::OfficeSkew { by_ms });
    plan.gather();
    plan.push_later(DAY, What::OfficeSkew { by_ms: 0 });
}

/// A phone is away for long, goes on working, and comes back in bad weather.
fn desert(plan: &mut Plan) {
    let phone = plan.phone();
    plan.push(What::Network {
        phone,
        weather: Weather::None,
    });
    for _ in 0..plan.draw.between(3, 6) {
        match plan.card_of(phone) {
            Some(card) if !plan.draw.one_in(4) => plan.edit(phone, &card),
            _ => plan.create(phone),
        }
        plan.wait(DAY);
    }
    plan.sync(phone);
    plan.push(What::Network {
        phone,
        weather: Weather::Foul,
    });
    plan.sync(phone);
    plan.wait(HOUR);
    plan.sync(phone);
    plan.push_later(
        DAY,
        What::Network {
            phone,
            weather: Weather::Fair,
        },
    );
}

/// Somebody tries what is not theirs.
fn hostile(plan: &mut Plan) {
    let phone = plan.phone();
    if let Some(card) = plan.card() {
        let grid = plan.draw.pick(&plan.setup.grids).clone();
        plan.push(What::Edit {
            phone,
            record: card.made,
            set: vec![("grid".into(), Some(grid))],
            note: None,
        });
    }
    let transfers: Vec<MadeBy> = plan.transfers.iter().map(|planned| planned.made).collect();
    if !transfers.is_empty() {
        let record = *plan.draw.pick(&transfers);
        plan.push(What::Edit {
            phone,
            record,
            set: vec![("state".into(), Some("accepted".into()))],
            note: None,
        });
    }
    plan.sync(phone);
}

/// Requests of several phones and acts at desks in one another's midst.
fn overlap(plan: &mut Plan) {
    let phones = plan.some_phones(4);
    for phone in &phones {
        if let Some(card) = plan.card_of(*phone) {
            plan.edit(*phone, &card);
            plan.edit(*phone, &card);
        }
    }
    for phone in &phones {
        plan.push(What::Sync { phone: *phone });
        plan.wait(SECOND);
    }
    if let Some(card) = plan.card() {
        let set = plan.set(Some(&card));
        plan.desk(Desk::Edit {
            record: card.made,
            set,
            looked: Looked::Unsaid,
        });
        plan.wait(SECOND);
    }
    for phone in phones {
        if let Some(card) = plan.card_of(phone) {
            plan.edit(phone, &card);
        }
        if plan.draw.one_in(3) {
            plan.push(What::Crash { phone });
        }
        plan.sync(phone);
    }
}

/// A new phone drives into a tunnel in the middle of its first download; when it comes out, something has changed.
fn half_download(plan: &mut Plan) {
    let other = plan.phone();
    let (username, before) = (
        plan.phones[other].username.clone(),
        plan.phones[other].grids.clone(),
    );
    let foreign: Vec<_> = plan
        .setup
        .grids
        .iter()
        .filter(|grid| !before.contains(grid))
        .cloned()
        .collect();
    let gained = if foreign.is_empty() {
        before[0].clone()
    } else {
        plan.draw.pick(&foreign).clone()
    };
    if let Some(card) = plan.card() {
        plan.desk(Desk::Move {
            records: vec![card.made],
            grid: gained.clone(),
        });
        for planned in plan
            .cards
            .iter_mut()
            .filter(|planned| planned.made == card.made)
        {
            planned.grid.clone_from(&gained);
        }
    }
    plan.push(What::Network {
        phone: other,
        weather: Weather::Fine,
    });
    for _ in 0..plan.draw.between(3, 5) {
        plan.create(other);
    }
    plan.sync(other);
    plan.at_ms += MINUTE;
    let phone = plan.phones.len();
    plan.phones.push(plan.phones[other].clone());
    plan.alive.push(phone);
    plan.push(What::Enrol {
        phone,
        username: username.clone(),
    });
    plan.push(What::Network {
        phone,
        weather: Weather::Tunnel,
    });
    let tunnel = |plan: &mut Plan| {
        plan.push(What::Sync { phone });
        plan.wait(8 * SECOND);
        if plan.draw.one_in(2) {
            plan.push(What::Crash { phone });
        } else {
            plan.at_ms += 2 * MINUTE;
        }
    };
    tunnel(plan);
    match plan.draw.below(5) {
        0 | 1 => {
            // Another grid comes to the user, with cards that are older than where the download stood.
            let mut after = before;
            after.push(gained);
            after.sort();
            after.dedup();
            if after.len() > 1 && plan.draw.one_in(4) {
                after.remove(0);
            }
            plan.desk(Desk::Assign {
                username: username.clone(),
                grids: after.clone(),
            });
            for planned in plan
                .phones
                .iter_mut()
                .filter(|planned| planned.username == username)
            {
                planned.grids.clone_from(&after);
            }
        }
        2 => {
            if let Some(card) = plan.card() {
                let other = plan.phone();
                plan.edit(other, &card);
                plan.sync(other);
            }
            plan.push(What::Tend);
        }
        3 => {
            if let Some(card) = plan.card() {
                plan.desk(Desk::Compact { record: card.made });
            }
        }
        _ => {}
    }
    for _ in 0..plan.draw.below(3) {
        tunnel(plan);
    }
    plan.push(What::Network {
        phone,
        weather: Weather::Fair,
    });
    plan.sync(phone);
}

/// A held edit is refused: its author has a draft. Then the office forgets what the draft is about.
fn refused_and_forgotten(plan: &mut Plan) {
    let phone = plan.phone();
    let (username, before) = (
        plan.phones[phone].username.clone(),
        plan.phones[phone].grids.clone(),
    );
    let cards: Vec<_> = plan
        .cards
        .iter()
        .filter(|card| before.contains(&card.grid))
        .cloned()
        .collect();
    let others: Vec<_> = plan
        .setup
        .grids
        .iter()
        .filter(|grid| !before.contains(grid))
        .cloned()
        .collect();
    let (false, Some(other)) = (cards.is_empty(), others.first().cloned()) else {
        return;
    };
    let card = plan.draw.pick(&cards).clone();
    plan.push(What::Network {
        phone,
        weather: Weather::Fine,
    });
    plan.sync(phone);
    let entry = plan.contact(phone, card.made);
    plan.sync(phone);
    plan.desk(Desk::Assign {
        username: username.clone(),
        grids: vec![other],
    });
    let mut set = vec![(format!("contacts/{entry}/name"), Some(plan.value(0)))];
    if plan.draw.one_in(2) {
        set.push(("sign_name".into(), Some(plan.value(1))));
    }
    plan.push(What::Edit {
        phone,
        record: card.made,
        set,
        note: None,
    });
    plan.sync(phone);
    plan.at_ms += MINUTE;
    for _ in 0..4 {
        plan.desk(Desk::Held {
            nth: 0,
            accept: false,
        });
    }
    plan.desk(Desk::Assign {
        username,
        grids: before,
    });
    plan.sync(phone);
    plan.at_ms += MINUTE;
    if plan.draw.one_in(2) {
        plan.desk(Desk::Erase { record: card.made });
        plan.cards.retain(|left| left.made != card.made);
    } else {
        plan.desk(Desk::Redact {
            record: card.made,
            entry,
        });
        if let Some(planned) = plan
            .cards
            .iter_mut()
            .find(|planned| planned.made == card.made)
        {
            planned.contacts.retain(|contact| *contact != entry);
        }
    }
    plan.sync(phone);
}

/// Two people of a card are forgotten, one after the other; then somebody writes about the first.
fn redact_twice(plan: &mut Plan) {
    let Some(card) = plan.card() else { return };
    let phones = plan.some_phones(3);
    let writer = phones[0];
    plan.push(What::Network {
        phone: writer,
        weather: Weather::Fine,
    });
    plan.sync(writer);
    let first = plan.contact(writer, card.made);
    let second = plan.contact(writer, card.made);
    plan.sync(writer);
    plan.at_ms += MINUTE;
    plan.desk(Desk::Redact {
        record: card.made,
        entry: first,
    });
    if plan.draw.one_in(2) {
        plan.sync(writer);
    }
    plan.desk(Desk::Redact {
        record: card.made,
        entry: second,
    });
    if plan.draw.one_in(3) {
        plan.edit(writer, &card);
        plan.desk(Desk::Compact { record: card.made });
    }
    plan.sync(writer);
    plan.at_ms += MINUTE;
    for phone in phones {
        let set = vec![(
            format!("contacts/{first}/preferred_time"),
            Some(plan.value(0)),
        )];
        plan.push(What::Edit {
            phone,
            record: card.made,
            set,
            note: None,
        });
        plan.sync(phone);
    }
    if let Some(planned) = plan
        .cards
        .iter_mut()
        .find(|planned| planned.made == card.made)
    {
        planned
            .contacts
            .retain(|contact| *contact != first && *contact != second);
    }
}

/// Many edits of one card without a network, which all have to be written anew.
fn marathon(plan: &mut Plan) {
    let phone = plan.phone();
    plan.sync(phone);
    plan.at_ms += MINUTE;
    let Some(card) = plan.card_of(phone) else {
        return;
    };
    let other = plan.phone();
    for _ in 0..plan.draw.between(9, 12) {
        plan.edit(phone, &card);
    }
    let note = plan.word();
    plan.push(What::Edit {
        phone,
        record: card.made,
        set: Vec::new(),
        note: Some(note),
    });
    if other != phone {
        // What the first does not know of.
        let note = plan.draw.one_in(2).then(|| plan.word());
        let set = plan.set(Some(&card));
        plan.push(What::Edit {
            phone: other,
            record: card.made,
            set,
            note,
        });
        plan.sync(other);
    }
    if plan.draw.one_in(2) {
        let username = plan.phones[phone].username.clone();
        plan.push(What::Enrol { phone, username });
    } else {
        plan.desk(Desk::Compact { record: card.made });
        plan.desk(Desk::Edit {
            record: card.made,
            set: vec![("category".into(), Some("餐饮".into()))],
            looked: Looked::Unsaid,
        });
        plan.desk(Desk::Compact { record: card.made });
    }
    plan.sync(phone);
}

/// Somebody withdraws a consent while somebody else writes what needs it.
fn consent(plan: &mut Plan) {
    let first = plan.phone();
    plan.push(What::Network {
        phone: first,
        weather: Weather::Fine,
    });
    let Some(card) = plan.card_of(first) else {
        return;
    };
    let mut phones = vec![first];
    phones.extend(
        plan.alive
            .iter()
            .copied()
            .filter(|other| *other != first && plan.phones[*other].grids.contains(&card.grid))
            .take(1),
    );
    for phone in &phones {
        plan.sync(*phone);
    }
    plan.at_ms += MINUTE;
    let (entry, given, withdrawn) = (plan.entry(), plan.entry(), plan.entry());
    let status = |plan: &mut Plan| {
        (
            format!("contacts/{entry}/party_status"),
            Some(plan.value(0)),
        )
    };
    let mut set = vec![(format!("contacts/{entry}/name"), Some(plan.value(1)))];
    set.extend(super::consent(given, entry, "grant"));
    set.push(status(plan));
    plan.push(What::Edit {
        phone: phones[0],
        record: card.made,
        set,
        note: None,
    });
    for phone in &phones {
        plan.sync(*phone);
    }
    plan.at_ms += MINUTE;
    let last = phones[phones.len() - 1];
    let set = vec![status(plan)];
    plan.push(What::Edit {
        phone: last,
        record: card.made,
        set,
        note: None,
    });
    plan.push(What::Edit {
        phone: phones[0],
        record: card.made,
        set: super::consent(withdrawn, entry, "withdraw"),
        note: None,
    });
    for phone in phones {
        plan.sync(phone);
    }
}
