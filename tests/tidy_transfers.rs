//! docs/transfers.md is written from the table of `sync_core::kinds::transfer`, and from nothing else.
//!
//! Where it differs the test fails; `LIANKA_WRITE_DOCS=1 cargo test -p lianka-tests tidy` writes it.

use std::{collections::BTreeMap, fs, path::Path};

use lianka_sync_core::kinds::{
    Kind, Rule,
    transfer::{
        CROSSINGS, Code, Outcome, STATES, STEPS, State,
        table::{CONTENT, StateRow, StepRow, Term, Then, To},
    },
};

#[test]
fn the_transfers_document_is_written_from_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/transfers.md");
    let text = document();
    if std::env::var_os("LIANKA_WRITE_DOCS").is_some() {
        fs::write(&path, &text).expect("the document can be written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == text,
        "docs/transfers.md is not what the table says: LIANKA_WRITE_DOCS=1 cargo test -p lianka-tests tidy"
    );
}

fn term(row: &StateRow) -> String {
    let Some((term, then)) = row.limit else {
        return String::new();
    };
    let long = match term {
        Term::Days(days) => format!("{days} days"),
        Term::WorkingDays(days) => format!("{days} working days"),
        Term::Letter => "the letter's validity, from its date of issue".into(),
        Term::Month => "one month from the date of acceptance".into(),
        Term::Contact => "the agreed interval after the last contact".into(),
    };
    let then = match then {
        Then::Remind => "`remind`",
        Then::ProposeExpiry => "`propose_expiry`, and an officer confirms with `expire`",
        Then::Lapse => "`lapse`",
        Then::Erase => "the draft is erased",
    };
    format!("{long}, then {then}")
}

fn who(row: &StepRow) -> String {
    match row.roles {
        [] => "the server's clock".into(),
        roles if row.second => format!("{} and a second, different one", roles[0]),
        roles => roles
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" or "),
    }
}

fn needs(row: &StepRow) -> String {
    let mut needs: Vec<String> = Vec::new();
    if row.content {
        needs.push(format!(
            "the request's {}, and the member's consent (scope `transfer`)",
            list(CONTENT)
        ));
    }
    needs.extend(
        row.form
            .iter()
            .filter(|input| input.required)
            .map(|input| format!("`{}`", input.name)),
    );
    if !row.one_of.is_empty() {
        needs.push(
            row.one_of
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(" or "),
        );
    }
    let optional = row
        .form
        .iter()
        .filter(|input| !input.required && !row.one_of.contains(&input.name));
    needs.extend(optional.map(|input| format!("`{}` if there is one", input.name)));
    needs.join(", ")
}

fn to(row: &StepRow) -> String {
    match row.to {
        To::State(state) => format!("`{state}`"),
        To::Same => "stays".into(),
        To::Decision => "`accepted` or `withdrawn`, as `decision` says".into(),
    }
}

fn list(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn rule(rule: Rule) -> String {
    match rule {
        Rule::Text(max) => format!("text, at most {max} characters"),
        Rule::Whole(min, max) => format!("whole number from {min} to {max}"),
        Rule::OneOf(words) => format!("one of {}", list(words)),
        Rule::Kind => format!("one of {}", list(Kind::NAMES)),
        Rule::Date => "day `YYYY-MM-DD`".into(),
        Rule::Minute => "day and time".into(),
        Rule::Entry => "UUID".into(),
        Rule::Point | Rule::Flag | Rule::Note => String::new(),
    }
}

const HEAD: &str = "# Transfers of membership 组织关系转接

<!-- Written from sync-core/src/kinds/transfer by tests/tidy_transfers.rs: change the table, not this page. -->

A tracker beside the official register, not a replacement: it stores the official reference of each step. The member starts it with the
secretary; only an officer takes a binding step. Content is merged like that of any record; the state is not: a person appends an **event**, the server
**rules** on it in the order of the street's log. How a phone or a desk writes one stands in [protocol.md](protocol.md#transfers).

Invariants: the responsible organisation is exactly one at any moment, and the origin until an acceptance is in force; accepted only from `arrived` or
`archive_check`; one live letter number in a street, and a number once replaced is void; one open request per member, where open means every state
below marked so; a refusal takes two different officers. Limits count from the server's receipt or a signed date, never from a phone's
clock. Days are those of UTC+8 and end at midnight; working days are Monday to Friday but for public holidays, and the weekend days that are worked
instead, by the [calendar](operations.md#public-holidays) that an admin keeps. Two spellings of one letter's number (full width, brackets of any kind, spaces,
第 … 号) are one number.

Two things go beyond the agreed table, because a request could otherwise never be ended: `withdraw` is also possible from `expired`, and a
floating member's stay ends with `end_floating`, with `home_contacted` for the regular contact.

";

fn document() -> String {
    let mut page = HEAD.to_owned() + &diagram();
    let mut line = |text: String| page += &(text + "\n");
    line("\n## States\n".into());
    line(
        "| state | Chinese | open | limit | who acts next | next | bring | the member is told |"
            .into(),
    );
    line("|---|---|---|---|---|---|---|---|".into());
    for row in STATES {
        let (open, acting) = (if row.open { "yes" } else { "" }, row.acting.words());
        line(format!(
            "| `{}` | {} | {open} | {} | {} {} | {}<br>{} | {}<br>{} | {}<br>{} |",
            row.code,
            row.label.zh,
            term(row),
            acting.zh,
            acting.en,
            row.next.zh,
            row.next.en,
            row.bring.zh,
            row.bring.en,
            row.member.zh,
            row.member.en
        ));
    }
    line("\n## Steps\n".into());
    line("Values of `events/<event>/type`. *Binding* steps are refused while an earlier request of the same member is open.\n".into());
    line("| type | Chinese | from | to | who | needs | binding |".into());
    line("|---|---|---|---|---|---|---|".into());
    for row in STEPS {
        let from = if row.from.len() > 8 {
            every_but(row.from)
        } else {
            list(
                &row.from
                    .iter()
                    .map(|state| state.as_str())
                    .collect::<Vec<_>>(),
            )
        };
        let binding = if row.binding { "yes" } else { "" };
        line(format!(
            "| `{}` | {} | {from} | {} | {} | {} | {binding} |",
            row.code,
            row.label.zh,
            to(row),
            who(row),
            needs(row)
        ));
    }
    line("\n## Fields of the forms\n".into());
    line("| field | Chinese | value | in |".into());
    line("|---|---|---|---|".into());
    for field in Kind::TransferRequest
        .fields()
        .iter()
        .filter(|field| field.pattern().starts_with("events/"))
    {
        let steps: Vec<_> = STEPS
            .iter()
            .filter(|row| row.takes(field.name))
            .map(|row| row.code)
            .collect();
        if !steps.is_empty() {
            line(format!(
                "| `{}` | {} | {} | {} |",
                field.name,
                field.label_zh,
                rule(field.rule),
                list(&steps)
            ));
        }
    }
    line("\n`validity_days` is usually 10 in the city and 30 elsewhere.\n".into());
    line("## Outcomes\n".into());
    line("| outcome | Chinese | |".into());
    line("|---|---|---|".into());
    for outcome in Outcome::ALL {
        line(format!(
            "| `{}` | {} | {} |",
            outcome.as_str(),
            outcome.words().zh,
            outcome.words().en
        ));
    }
    line("\n| code | Chinese | |".into());
    line("|---|---|---|".into());
    for code in Code::ALL {
        line(format!(
            "| `{}` | {} | {} |",
            code.as_str(),
            code.words().zh,
            code.words().en
        ));
    }
    line("\n## Two people at once\n".into());
    line(
        "Both act on the same sight of the request: the later event's `seen` names nothing that came after. It is judged as its author saw the\nrequest. Either order of arrival gives the same result.\n"
            .into(),
    );
    line("| acts | 同时 | outcome | 结果 |".into());
    line("|---|---|---|---|".into());
    for (acts, outcome) in CROSSINGS {
        line(format!(
            "| {} | {} | {} | {} |",
            acts.en, acts.zh, outcome.en, outcome.zh
        ));
    }
    page
}

fn every_but(states: &[State]) -> String {
    let others: Vec<_> = STATES
        .iter()
        .filter(|row| !states.contains(&row.state))
        .map(|row| row.code)
        .collect();
    format!("every state but {}", list(&others))
}

fn leads_to(row: &StepRow, state: State) -> bool {
    match row.to {
        To::State(to) => to == state,
        To::Decision => matches!(state, State::Accepted | State::Withdrawn),
        To::Same => false,
    }
}

/// States and steps; several steps between the same two states share an arrow.
fn diagram() -> String {
    let mut arrows: BTreeMap<(State, State), Vec<&str>> = BTreeMap::new();
    for row in STEPS {
        for from in row.from {
            for to in STATES.iter().filter(|to| leads_to(row, to.state)) {
                let labels = arrows.entry((*from, to.state)).or_default();
                labels.push(row.step.row().label.zh);
            }
        }
    }
    for (from, label) in [
        (State::Accepted, "同时遇撤回"),
        (State::Withdrawn, "同时遇接收"),
    ] {
        arrows
            .entry((from, State::Contested))
            .or_default()
            .push(label);
    }
    let states = STATES.iter().map(|row| {
        format!(
            "    state \"{} {}\" as {}",
            row.label.zh, row.code, row.code
        )
    });
    let arrows = arrows
        .iter()
        .map(|((from, to), labels)| format!("    {from} --> {to}: {}", labels.join("、")));
    let lines: Vec<_> = states.chain(arrows).collect();
    format!("```mermaid\nstateDiagram-v2\n{}\n```\n", lines.join("\n"))
}
