//! Transfers: filed on a phone, ruled on at the office, taken back in between.

use super::{DAY, Desk, HOUR, MINUTE, MadeBy, Plan, PlannedCard, What};

pub(super) fn field(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// What a request says of a member: values of this step from the `first` on.
pub(super) fn member(plan: &mut Plan, first: usize) -> Vec<(String, String)> {
    let names = [
        "member_name",
        "origin_organisation",
        "phone",
        "target_branch",
    ];
    let mut fields: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(nth, name)| field(name, &plan.value(nth + first)))
        .collect();
    fields.push(field("member_status", "正式"));
    fields
}

/// The forms of an officer's steps.
fn form(plan: &mut Plan, step: &str) -> Vec<(String, String)> {
    let (value, today) = (plan.value(0), plan.yesterday());
    match step {
        "return" => vec![
            field("reason_code", "information_missing"),
            field("note", &value),
        ],
        "request_origin" => vec![field("addressee", &value)],
        "dispatch" => {
            let days = plan.draw.between(5, 60).to_string();
            // Letters are numbered by hand.
            let letter = if plan.draw.one_in(4) {
                "沪组转0001号".to_owned()
            } else {
                value
            };
            vec![
                field("letter_no", &letter),
                field("issued_on", &today),
                field("validity_days", &days),
                field("dues_until", "2026-05-01"),
            ]
        }
        "arrive" => vec![field("letter_sighted", "yes")],
        "accept" => vec![
            field("branch", &value),
            field("accepted_on", &today),
            field("reference", &plan.value(1)),
        ],
        "floating" => vec![
            field("home_contact", &value),
            field("contact_interval_days", "30"),
        ],
        "withdraw" => vec![
            field("asked_by", "member"),
            field("cause", "member_word"),
            field("reason", &value),
        ],
        "settle" => vec![field("decision", "withdrawn"), field("note", &value)],
        _ => Vec::new(),
    }
}

/// A request is filed; some days later officers and secretary act on it, sometimes at once.
pub(super) fn file(plan: &mut Plan) {
    let phone = plan.phone();
    let grid = plan.phones[phone].grids[0].clone();
    let kind = (*plan
        .draw
        .pick(&["in_city_e", "cross_province_letter", "temporary"]))
    .to_owned();
    let alias = plan.value(0);
    let mut fields = member(plan, 1);
    if plan.draw.one_in(6) {
        fields.pop();
    }
    let submit = !plan.draw.one_in(4);
    let made = MadeBy(plan.push(What::File {
        phone,
        grid: grid.clone(),
        kind,
        alias,
        fields,
        submit,
    }));
    plan.transfers.push(PlannedCard {
        made,
        grid,
        contacts: Vec::new(),
    });
    plan.sync(phone);
    let others: Vec<_> = plan
        .alive
        .iter()
        .copied()
        .filter(|other| *other != phone)
        .collect();
    if let Some(other) = others.first() {
        plan.wait(HOUR);
        plan.sync(*other);
    }
    if plan.draw.one_in(5) {
        step(plan, made, "return");
        plan.sync(phone);
        plan.push(What::Event {
            phone,
            record: made,
            step: "resubmit".into(),
            fields: Vec::new(),
        });
        plan.sync(phone);
    }
    let way: &[&str] = if plan.draw.one_in(8) {
        &["floating"]
    } else {
        &["request_origin", "dispatch", "arrive", "accept"]
    };
    let length = if plan.draw.one_in(3) {
        way.len()
    } else {
        plan.draw.below(way.len() + 1)
    };
    let crossing = plan.draw.one_in(2);
    for (nth, name) in way[..length].iter().enumerate() {
        if crossing && nth + 1 == length {
            // Taken back on the phone before it knows of this step, mostly by somebody who knows of all before it.
            if !plan.draw.one_in(4) {
                plan.sync(phone);
                plan.at_ms += MINUTE;
            }
            withdraw(plan, phone, made);
            step(plan, made, name);
            plan.sync(phone);
        } else {
            step(plan, made, name);
        }
    }
    if crossing && plan.draw.one_in(2) {
        step(plan, made, "settle");
        plan.sync(phone);
    }
}

pub(super) fn step(plan: &mut Plan, record: MadeBy, step: &str) {
    let fields = form(plan, step);
    plan.desk(Desk::Step {
        record,
        step: step.to_owned(),
        fields,
    });
    plan.wait(MINUTE);
}

pub(super) fn withdraw(plan: &mut Plan, phone: usize, record: MadeBy) {
    let fields = form(plan, "withdraw");
    plan.push(What::Event {
        phone,
        record,
        step: "withdraw".into(),
        fields,
    });
    plan.wait(MINUTE);
}

/// The terms of the states pass while nobody acts.
pub(super) fn clock(plan: &mut Plan) {
    file(plan);
    plan.at_ms += plan.draw.between(5, 40) * DAY;
    plan.push(What::Tend);
    let phone = plan.phone();
    plan.sync(phone);
}
