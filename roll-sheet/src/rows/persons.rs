//! The people of a shop, and their numbers.

use lianka_sync_core::{
    id::EntryId,
    kinds::{Field, Meaning},
    search::fold,
    values::phone,
};

use super::reader::Reader;
use crate::{
    ColumnTarget, ProblemCode, RollColumn, RollContact, RollRow,
    cell::{all_lines, one_line},
    people::{self, LANDLINE, People},
    target::field,
};

/// The cells of one person, each with its heading.
#[derive(Default)]
struct PersonCells<'c> {
    group: &'c str,
    name: Option<(String, &'c str)>,
    phones: Vec<(String, &'c str)>,
    details: Vec<(&'static Field, String, &'c str)>,
}

impl<'a> Reader<'a> {
    pub(super) fn contacts(&mut self, shop: &mut RollRow, cells: &[String]) {
        let mut persons: Vec<PersonCells<'a>> = Vec::new();
        let is_landline = |column: &RollColumn| {
            let heading = fold(&column.heading);
            heading.contains(LANDLINE) || heading.contains("固定电话")
        };
        // A landline in a column of its own stands behind the number that people answer.
        let (landlines, others): (Vec<_>, Vec<_>) = self
            .columns
            .iter()
            .enumerate()
            .partition(|(_, column)| is_landline(column));
        for (at, column) in others.into_iter().chain(landlines) {
            let ColumnTarget::Contact { group, part } = &column.target else {
                continue;
            };
            let Some(cell) = cells
                .get(at)
                .map(|c| all_lines(c))
                .filter(|c| !c.trim().is_empty())
            else {
                continue;
            };
            let place = persons
                .iter()
                .position(|person| person.group == group.as_str())
                .unwrap_or_else(|| {
                    persons.push(PersonCells {
                        group,
                        ..PersonCells::default()
                    });
                    persons.len() - 1
                });
            let person = &mut persons[place];
            match part.meaning {
                Meaning::PersonName => person.name = Some((cell, &column.heading)),
                Meaning::Telephone => person.phones.push((cell, &column.heading)),
                _ => person.details.push((part, cell, &column.heading)),
            }
        }
        for person in persons {
            self.person(shop, &person);
        }
        shop.contacts.retain(|contact| {
            [Meaning::PersonName, Meaning::Telephone]
                .iter()
                .any(|meaning| contact.get(*meaning).is_some())
        });
    }

    /// The contact, or contacts, that one person's cells speak of.
    fn person(&mut self, shop: &mut RollRow, person: &PersonCells<'_>) {
        let (name, name_heading) = person
            .name
            .as_ref()
            .map_or(("", ""), |(name, heading)| (name.as_str(), *heading));
        let typed: Vec<&str> = person
            .phones
            .iter()
            .map(|(cell, _)| cell.as_str())
            .collect();
        let typed = typed.join("/");
        let phone_heading = person
            .phones
            .first()
            .map_or(name_heading, |(_, heading)| *heading);
        let heading = if name.is_empty() {
            phone_heading
        } else {
            name_heading
        };
        let told = match people::people(name, &typed) {
            People::One { unclear } => {
                if unclear {
                    self.report(
                        ProblemCode::PeopleNotPaired,
                        shop.row,
                        Some(heading),
                        "几个人名和号码对不上，按原样写在一位联系人里，请分开填写",
                        "several names and numbers that do not pair: kept in one contact as typed, please tell them apart",
                    );
                }
                let mut contact = RollContact::default();
                self.put_person(
                    shop.row,
                    &mut contact,
                    Meaning::PersonName,
                    one_line(name),
                    name_heading,
                );
                let each: Vec<String> = person
                    .phones
                    .iter()
                    .map(|(cell, heading)| self.phones(shop.row, &one_line(cell), heading))
                    .filter(|phones| !phones.is_empty())
                    .collect();
                let mut phones: Vec<&str> = Vec::new();
                for number in each.iter().flat_map(|each| each.split('/')) {
                    if !phones.contains(&number) {
                        phones.push(number);
                    }
                }
                self.put_person(
                    shop.row,
                    &mut contact,
                    Meaning::Telephone,
                    phones.join("/"),
                    phone_heading,
                );
                vec![contact]
            }
            People::Told(told) => {
                if told.len() > 1 {
                    let many = told.len();
                    self.report(
                        ProblemCode::PeopleSplit,
                        shop.row,
                        Some(heading),
                        format!("一格里有 {many} 个人，已分成 {many} 位联系人"),
                        format!("{many} people in one cell: each is a contact of their own"),
                    );
                }
                let contact = |said: people::Said| {
                    let mut contact = RollContact::default();
                    let name = said.name.unwrap_or_default();
                    self.put_person(
                        shop.row,
                        &mut contact,
                        Meaning::PersonName,
                        one_line(&name),
                        heading,
                    );
                    if !said.phones.is_empty() {
                        let phones = self.phones(shop.row, &one_line(&said.phones), phone_heading);
                        self.put_person(
                            shop.row,
                            &mut contact,
                            Meaning::Telephone,
                            phones,
                            phone_heading,
                        );
                    }
                    let role = said.role.unwrap_or_default();
                    self.put_person(shop.row, &mut contact, Meaning::PersonRole, role, heading);
                    contact
                };
                told.into_iter().map(contact).collect()
            }
        };
        let role = person.group.trim_end_matches(|c: char| c.is_ascii_digit());
        let many = told.len();
        for (part, cell, heading) in &person.details {
            if many > 1 && cell.split('\n').count() != many {
                self.report(
                    ProblemCode::PeopleNotPaired,
                    shop.row,
                    Some(heading),
                    format!(
                        "一格里有 {many} 个人，“{}”不知道是谁的，未写入，请分开填写",
                        part.label_zh
                    ),
                    format!(
                        "{many} people in one cell, and whose {} it is nobody can say: left empty",
                        part.label_en
                    ),
                );
            }
        }
        for (nth, mut contact) in told.into_iter().enumerate() {
            for (part, cell, heading) in &person.details {
                let lines: Vec<&str> = cell.split('\n').collect();
                let own = if many == 1 {
                    Some(one_line(cell))
                } else {
                    lines
                        .get(nth)
                        .filter(|_| lines.len() == many)
                        .map(|line| one_line(line))
                };
                if let Some(own) = own {
                    self.put_detail(shop.row, &mut contact, part, own, heading);
                }
            }
            if let (None, Some(field), false) = (
                contact.get(Meaning::PersonRole),
                field(Meaning::PersonRole),
                matches!(role, "" | LANDLINE | "老板"),
            ) {
                contact.set(field, role.to_owned());
            }
            shop.contacts.push(contact);
        }
    }

    fn put_person(
        &mut self,
        row: u32,
        contact: &mut RollContact,
        meaning: Meaning,
        value: String,
        heading: &str,
    ) {
        if let Some(field) = field(meaning) {
            self.put_detail(row, contact, field, value, heading);
        }
    }

    fn put_detail(
        &mut self,
        row: u32,
        contact: &mut RollContact,
        field: &'static Field,
        value: String,
        heading: &str,
    ) {
        let key = field.key_in(EntryId::default());
        if !value.is_empty() && self.accepted(row, &key, &value, heading) {
            contact.set(field, value);
        }
    }

    fn phones(&mut self, row: u32, cell: &str, heading: &str) -> String {
        for doubtful in phone::parse(cell).iter().filter(|p| p.is_doubtful()) {
            let raw = &doubtful.raw;
            let digits = doubtful.digits.len();
            let (zh, en) = if doubtful.is_recognised() {
                (
                    format!("“{raw}”的位数对，但不在当地号码段内，已照原样保留，请核对"),
                    format!(
                        "“{raw}” has the length of a number there, but none like it is given out: kept as typed, please check it"
                    ),
                )
            } else {
                (
                    format!("“{raw}”不像电话号码（{digits} 位数字），已照原样保留，请核对"),
                    format!(
                        "“{raw}” does not look like a telephone number ({digits} digits): kept as typed, please check it"
                    ),
                )
            };
            self.report(ProblemCode::PhoneShape, row, Some(heading), zh, en);
        }
        let words = phone::words_beside(cell);
        if !words.is_empty() {
            self.report(
                ProblemCode::PhoneWords,
                row,
                Some(heading),
                format!("号码旁的“{words}”没有写入电话，只留在原始单元格里"),
                format!("“{words}” beside the number was not taken as a number: kept in the raw cell only"),
            );
        }
        phone::stored(cell)
    }
}
