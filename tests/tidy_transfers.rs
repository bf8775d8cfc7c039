//! docs/transfers.md and docs/transfer-states.svg are written from the table of `sync_core::transfer`, and from nothing else.
//!
//! Where one differs the test fails; `LIANKA_WRITE_DOCS=1 cargo test -p lianka-tests tidy` writes both.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use lianka_sync_core::kinds::{
    Kind, Rule,
    transfer::{
        CROSSINGS, Code, Outcome, STATES, STEPS, State, Step,
        table::{CONTENT, StateRow, StepRow, Term, Then, To},
    },
};

#[test]
fn the_transfers_documents_are_written_from_the_table() {
    for (name, text) in [
        ("docs/transfers.md", document()),
        ("docs/transfer-states.svg", picture()),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        if std::env::var_os("LIANKA_WRITE_DOCS").is_some() {
            fs::write(&path, &text).expect("the document can be written");
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == text,
            "{name} is not what the table says: LIANKA_WRITE_DOCS=1 cargo test -p lianka-tests tidy"
        );
    }
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

![States and steps](transfer-states.svg)

Invariants: the responsible organisation is exactly one at any moment, and the origin until an acceptance is in force; accepted only from `arrived` or
`archive_check`; one live letter number in a street, and a number once replaced is void; one open request per member, where open means every state
below marked so; a refusal takes two different officers. Limits count from the server's receipt or a signed date, never from a phone's
clock. Days are those of UTC+8 and end at midnight; working days are Monday to Friday (public holidays are not known here).

Two things go beyond the agreed table, because a request could otherwise never be ended: `withdraw` is also possible from `expired`, and a
floating member's stay ends with `end_floating`, with `home_contacted` for the regular contact.

";

fn document() -> String {
    let mut page = HEAD.to_owned();
    let mut line = |text: String| page += &(text + "\n");
    line("## States\n".into());
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

const BOX_W: i32 = 150;
const BOX_H: i32 = 50;
const ROW: i32 = 112;
const MARGIN: i32 = 70;
/// Left edge of each column.
const COLUMNS: [i32; 5] = [40, 270, 560, 850, 1090];
const WIDTH: i32 = 1300;

/// Column, row and rows spanned of each state.
fn place(state: State) -> (usize, i32, i32) {
    match state {
        State::Draft => (2, 0, 1),
        State::Submitted => (2, 1, 1),
        State::AwaitingOrigin => (2, 2, 1),
        State::InTransit => (2, 3, 1),
        State::Arrived => (2, 4, 1),
        State::ArchiveCheck => (2, 5, 1),
        State::Accepted => (2, 6, 1),
        State::ReceiptSent => (2, 7, 1),
        State::Closed => (2, 8, 1),
        State::Lapsed => (0, 1, 1),
        State::Returned => (1, 1, 1),
        State::Floating => (1, 2, 1),
        State::Expired => (1, 3, 1),
        State::Refused => (3, 5, 1),
        State::Contested => (3, 6, 1),
        State::Withdrawn => (4, 1, 6),
    }
}

struct Frame {
    x: i32,
    y: i32,
    h: i32,
}

impl Frame {
    fn of(state: State) -> Self {
        let (column, row, span) = place(state);
        Self {
            x: COLUMNS[column],
            y: MARGIN + row * ROW,
            h: (span - 1) * ROW + BOX_H,
        }
    }

    fn left(&self) -> i32 {
        self.x
    }
    fn right(&self) -> i32 {
        self.x + BOX_W
    }
    fn middle(&self) -> i32 {
        self.x + BOX_W / 2
    }
    fn bottom(&self) -> i32 {
        self.y + self.h
    }
    fn centre(&self) -> i32 {
        self.y + BOX_H / 2
    }
}

type Points = Vec<(i32, i32)>;

/// The way of an arrow, and where its words stand.
fn route(from: State, to: State) -> (Points, (i32, i32)) {
    let (a, b) = (Frame::of(from), Frame::of(to));
    let (fc, fr, _) = place(from);
    let (tc, tr, _) = place(to);
    let straight = |points: Points| {
        let at = (
            i32::midpoint(points[0].0, points[1].0),
            i32::midpoint(points[0].1, points[1].1) - 7,
        );
        (points, at)
    };
    match (from, to) {
        // Past the archive check.
        (State::Arrived, State::Accepted) => {
            let x = a.left() - 34;
            (
                vec![
                    (a.left(), a.centre() + 10),
                    (x, a.centre() + 10),
                    (x, b.centre() - 10),
                    (b.left(), b.centre() - 10),
                ],
                (x - 6, a.centre() + 70),
            )
        }
        (State::Arrived, State::Refused) => {
            let y = a.centre() + 14;
            (
                vec![(a.right(), y), (b.middle(), y), (b.middle(), b.y)],
                (i32::midpoint(a.right(), b.middle()), y + 16),
            )
        }
        (State::Floating, State::Closed) => {
            let x = a.left() - 40;
            (
                vec![
                    (a.left(), a.centre()),
                    (x, a.centre()),
                    (x, b.centre()),
                    (b.left(), b.centre()),
                ],
                (x + 120, b.centre() - 7),
            )
        }
        (State::Submitted, State::Floating) => {
            let y = a.bottom() + 24;
            (
                vec![
                    (a.left() + 30, a.bottom()),
                    (a.left() + 30, y),
                    (b.middle(), y),
                    (b.middle(), b.y),
                ],
                (i32::midpoint(a.left(), b.middle()) + 20, y - 6),
            )
        }
        // Over, or under, the middle column.
        (State::Returned, State::Withdrawn) => {
            let y = a.y - 30;
            (
                vec![
                    (a.middle(), a.y),
                    (a.middle(), y),
                    (b.middle(), y),
                    (b.middle(), b.y),
                ],
                (b.left() - 110, y - 6),
            )
        }
        (State::Expired, State::Withdrawn) => {
            let y = a.bottom() + 32;
            (
                vec![(a.middle(), a.bottom()), (a.middle(), y), (b.left(), y)],
                (b.left() - 110, y - 6),
            )
        }
        (State::Contested, State::Withdrawn) => straight(vec![
            (a.right(), a.centre() - 10),
            (b.left(), a.centre() - 10),
        ]),
        (State::Withdrawn, State::Contested) => {
            let y = b.centre() + 12;
            (
                vec![(a.left(), y), (b.right(), y)],
                (i32::midpoint(a.left(), b.right()), y + 16),
            )
        }
        // Down the main column.
        _ if fc == tc && tr == fr + 1 => {
            let (x, y) = (a.middle(), a.bottom() + 15);
            (vec![(x, a.bottom()), (x, b.y)], (x + 10, y + 5))
        }
        // Along a row: there above, back below.
        _ if fr == tr || to == State::Withdrawn => {
            let there = if fc > tc {
                (a.left(), b.right())
            } else {
                (a.right(), b.left())
            };
            let back = STEPS
                .iter()
                .any(|row| row.from.contains(&to) && leads_to(row, from))
                || from == State::Contested
                || to == State::Contested;
            let first = STATES.iter().position(|row| row.state == from)
                < STATES.iter().position(|row| row.state == to);
            let y = a.centre()
                + if !back {
                    0
                } else if first {
                    -10
                } else {
                    10
                };
            let label = if back && !first { y + 16 } else { y - 6 };
            (
                vec![(there.0, y), (there.1, y)],
                (i32::midpoint(there.0, there.1), label),
            )
        }
        _ => straight(vec![(a.middle(), a.bottom()), (b.middle(), b.y)]),
    }
}

fn leads_to(row: &StepRow, state: State) -> bool {
    match row.to {
        To::State(to) => to == state,
        To::Decision => matches!(state, State::Accepted | State::Withdrawn),
        To::Same => false,
    }
}

fn picture() -> String {
    let height = 2 * MARGIN + 8 * ROW + BOX_H;
    let mut svg = String::new();
    let mut line = |text: String| writeln!(svg, "{text}").expect("text");
    line(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"'Noto Sans CJK SC','Source Han Sans SC','PingFang SC','Microsoft YaHei',sans-serif\">"
    ));
    line("<title>组织关系转接 transfers of membership: states and steps</title>".into());
    line("<defs><marker id=\"a\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto-start-reverse\"><path d=\"M0 0L10 5L0 10z\" fill=\"#445\"/></marker></defs>".into());
    line(format!(
        "<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>"
    ));
    line("<text x=\"40\" y=\"36\" font-size=\"20\" fill=\"#223\">组织关系转接 · transfers of membership</text>".into());
    line("<text x=\"40\" y=\"58\" font-size=\"12\" fill=\"#667\">实线：步骤；虚线：两人同时办理 · solid: a step; dashed: two people at once</text>".into());
    // Several steps between the same states share an arrow.
    let mut arrows: BTreeMap<(State, State), Vec<Step>> = BTreeMap::new();
    for row in STEPS {
        for from in row.from {
            for to in STATES
                .iter()
                .map(|row| row.state)
                .filter(|to| leads_to(row, *to))
            {
                arrows.entry((*from, to)).or_default().push(row.step);
            }
        }
    }
    let arrow = |from: State, to: State, label: &str, style: &str| {
        let (points, (x, y)) = route(from, to);
        let way = points
            .iter()
            .map(|(x, y)| format!("{x},{y}"))
            .collect::<Vec<_>>()
            .join(" ");
        let vertical = points.len() == 2 && points[0].0 == points[1].0;
        let anchor = if vertical {
            "start"
        } else if (from, to) == (State::Arrived, State::Accepted) {
            "end"
        } else {
            "middle"
        };
        format!(
            "<polyline points=\"{way}\" fill=\"none\" stroke=\"#445\" stroke-width=\"1.4\"{style} marker-end=\"url(#a)\"/>\n\
             <text x=\"{x}\" y=\"{y}\" font-size=\"12\" fill=\"#334\" text-anchor=\"{anchor}\" paint-order=\"stroke\" stroke=\"#fff\" stroke-width=\"4\">{label}</text>"
        )
    };
    for ((from, to), steps) in &arrows {
        let label = steps
            .iter()
            .map(|step| step.row().label.zh)
            .collect::<Vec<_>>()
            .join("、");
        line(arrow(*from, *to, &label, ""));
    }
    for from in [State::Accepted, State::Withdrawn] {
        let label = if from == State::Accepted {
            "遇撤回"
        } else {
            "遇接收"
        };
        line(arrow(
            from,
            State::Contested,
            label,
            " stroke-dasharray=\"5 4\"",
        ));
    }
    for row in STATES {
        let frame = Frame::of(row.state);
        let fill = match row.state {
            State::Accepted | State::ReceiptSent | State::Closed => "#e3f3e6",
            State::Contested | State::Expired => "#fdeccb",
            _ if row.open => "#e6eefb",
            _ => "#eee",
        };
        let (x, y, h) = (frame.x, frame.y, frame.h);
        line(format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{BOX_W}\" height=\"{h}\" rx=\"8\" fill=\"{fill}\" stroke=\"#334\"/>"
        ));
        let middle = y + h / 2;
        line(format!(
            "<text x=\"{}\" y=\"{}\" font-size=\"16\" text-anchor=\"middle\" fill=\"#112\">{}</text>",
            frame.middle(),
            middle - 2,
            row.label.zh
        ));
        line(format!(
            "<text x=\"{}\" y=\"{}\" font-size=\"11\" text-anchor=\"middle\" fill=\"#556\">{}</text>",
            frame.middle(),
            middle + 15,
            row.code
        ));
    }
    svg += "</svg>\n";
    svg
}
