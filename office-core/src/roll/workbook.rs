//! A workbook that came from an export here: its rows against what the export said.
//!
//! In: the lines of the sheet and the fingerprints of the export. Out: by row the cells that somebody changed. An untouched cell is no edit,
//! whatever happened to the card since. Columns are known by their headings and, where these were renamed, by what stands under them; rows by the
//! card's id, wherever they were moved to.

use std::collections::{BTreeMap, HashMap};

use lianka_sync_core::{
    authority::{self, Said as NewlySaid},
    codec::change::Scalar,
    id::EntryId,
    kinds::{Field, Kind, Meaning, Shape, key},
    values::{
        credit_code, date,
        geo::{Crs, GeoPoint},
        personal, phone,
    },
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    cells::{listed, many_lines, occupancy, one_line, unprotected},
    grids::{GridNames, matching_grid},
    problem::ProblemCode,
    said::{self, BYTES},
};

/// An export, as it is remembered.
#[derive(Clone, Debug)]
pub struct Export {
    pub export: Uuid,
    /// The street's head that it shows.
    pub head: i64,
    /// Key and heading, from the left.
    pub columns: Vec<(String, String)>,
}

/// What an export said of a card.
#[derive(Clone, Debug)]
pub struct Said {
    /// A fingerprint for each column.
    pub cells: Vec<u8>,
    /// The contact persons, by their lines.
    pub entries: Vec<EntryId>,
    /// A fingerprint for each column of each of them.
    pub lines: Vec<u8>,
}

/// A cell that somebody changed, as an edit of a key.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Changed {
    pub key: String,
    /// `None`: emptied.
    pub value: Option<Scalar>,
    /// Heading of its column.
    pub column: String,
}

/// What somebody made of a card's row.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct OwnRow {
    pub changed: Vec<Changed>,
    /// The tags as the cell lists them now.
    pub tags: Option<(Vec<String>, String)>,
    /// The note as it reads now, and the fingerprint of what the export said.
    pub note: Option<(String, Vec<u8>)>,
    /// Lines of persons that the export did not have: field and value.
    pub persons: Vec<Vec<(String, String)>>,
    pub problems: Vec<OwnProblem>,
}

/// What of a row is not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnProblem {
    pub code: ProblemCode,
    pub column: String,
    pub zh: String,
    pub en: String,
}

fn problem(code: ProblemCode, column: &str, zh: &str, en: &str) -> OwnProblem {
    OwnProblem {
        code,
        column: column.to_owned(),
        zh: zh.to_owned(),
        en: en.to_owned(),
    }
}

/// A column of the sheet that is one of the export's.
#[derive(Clone, Debug)]
struct Placed {
    /// Where it stands in the sheet.
    at: usize,
    /// Where it stood in the export.
    nth: usize,
    key: String,
    heading: String,
}

/// The sheet's columns, as the export's.
#[derive(Debug)]
pub struct Columns {
    placed: Vec<Placed>,
    /// Columns of the sheet that the export did not have.
    pub added: Vec<usize>,
    /// How many columns of persons the export had.
    of_persons: Vec<usize>,
}

/// Columns of an export that nobody may change: what follows from others, and what the office decides elsewhere.
fn is_read_only(key: &str) -> bool {
    match key {
        said::CONFIRMED => false,
        key if said::POINT.contains(&key) => false,
        key if key.starts_with("custom/") => false,
        _ => said::field(key).is_none_or(|field| field.meaning == Meaning::Succession),
    }
}

impl Columns {
    /// Key and place in the sheet of each column that is one of the export's.
    pub fn keys(&self) -> impl Iterator<Item = (usize, &str)> {
        self.placed
            .iter()
            .map(|placed| (placed.at, placed.key.as_str()))
    }

    /// Finds the export's columns among the sheet's: by their headings, and the others by what stands under them.
    pub fn find(headings: &[String], export: &Export, rows: &[(&[String], &Said)]) -> Self {
        let plain = |text: &str| one_line(&unprotected(text));
        let width = rows
            .iter()
            .map(|(cells, _)| cells.len())
            .max()
            .unwrap_or(0)
            .max(headings.len());
        let mut taken: HashMap<usize, usize> = HashMap::new();
        let mut free: Vec<usize> = Vec::new();
        for at in 0..width {
            let heading = headings.get(at).map(|heading| plain(heading));
            let named = export.columns.iter().position(|(_, of)| {
                heading
                    .as_ref()
                    .is_some_and(|heading| plain(of) == *heading)
            });
            match named {
                Some(nth) if !taken.values().any(|used| *used == nth) => {
                    taken.insert(at, nth);
                }
                _ => free.push(at),
            }
        }
        let mut added = Vec::new();
        for at in free {
            match by_content(at, export, rows, &taken) {
                Some(nth) => {
                    taken.insert(at, nth);
                }
                None => added.push(at),
            }
        }
        let mut placed: Vec<_> = taken
            .into_iter()
            .map(|(at, nth)| {
                let (key, of) = &export.columns[nth];
                let heading = headings
                    .get(at)
                    .map(|heading| plain(heading))
                    .filter(|heading| !heading.is_empty());
                Placed {
                    at,
                    nth,
                    key: key.clone(),
                    heading: heading.unwrap_or_else(|| of.clone()),
                }
            })
            .collect();
        placed.sort_by_key(|placed| placed.nth);
        let of_persons = export
            .columns
            .iter()
            .enumerate()
            .filter(|(_, (key, _))| said::is_of_persons(key))
            .map(|(nth, _)| nth)
            .collect();
        Self {
            placed,
            added,
            of_persons,
        }
    }
}

/// The column of the export under whose renamed heading most cells still say what the export said.
fn by_content(
    at: usize,
    export: &Export,
    rows: &[(&[String], &Said)],
    taken: &HashMap<usize, usize>,
) -> Option<usize> {
    const LOOKED_AT: usize = 200;
    let filled: Vec<_> = rows
        .iter()
        .filter_map(|(cells, said)| {
            Some((cells.get(at).filter(|cell| !cell.trim().is_empty())?, said))
        })
        .take(LOOKED_AT)
        .collect();
    let fits = |nth: usize| {
        let key = &export.columns[nth].0;
        let same = filled
            .iter()
            .filter(|(cell, said)| said.cell(nth) == Some(&said::of(export.export, key, cell)));
        same.count()
    };
    (0..export.columns.len())
        .filter(|nth| !taken.values().any(|used| used == nth))
        .map(|nth| (fits(nth), nth))
        .filter(|(fits, _)| *fits > 0 && fits * 2 >= filled.len())
        .max_by_key(|(fits, nth)| (*fits, std::cmp::Reverse(*nth)))
        .map(|(_, nth)| nth)
}

impl Said {
    /// Of a row that the export did not have: every cell was empty.
    pub fn nothing(export: &Export) -> Self {
        let empty = export
            .columns
            .iter()
            .flat_map(|(key, _)| said::of(export.export, key, ""));
        Self {
            cells: empty.collect(),
            entries: Vec::new(),
            lines: Vec::new(),
        }
    }

    fn cell(&self, nth: usize) -> Option<&[u8]> {
        self.cells.get(nth * BYTES..(nth + 1) * BYTES)
    }

    /// `nth`: among the columns of persons.
    fn line(&self, entry: usize, columns: usize, nth: usize) -> Option<&[u8]> {
        let at = (entry * columns + nth) * BYTES;
        self.lines.get(at..at + BYTES)
    }
}

/// What is known of the street.
pub struct Known<'k> {
    pub grids: &'k [GridNames],
    pub roads: &'k [&'k str],
    /// Who says what the sheet says, and when.
    pub said: NewlySaid,
}

/// A row of a sheet.
pub struct SheetRow<'l> {
    pub cells: &'l [String],
    /// Columns of which the file does not say what stands there.
    pub unreadable: &'l dyn Fn(usize) -> bool,
}

/// How many cells of a row say what the export said.
pub fn untouched(cells: &[String], columns: &Columns, export: &Export, said: &Said) -> usize {
    let same = |placed: &&Placed| {
        let cell = cells.get(placed.at).map_or("", String::as_str);
        said.cell(placed.nth) == Some(&said::of(export.export, &placed.key, cell))
    };
    columns.placed.iter().filter(same).count()
}

/// What somebody made of a row.
pub fn row(
    line: &SheetRow<'_>,
    columns: &Columns,
    export: &Export,
    said: &Said,
    known: &Known<'_>,
) -> OwnRow {
    let mut own = OwnRow::default();
    let cells = line.cells;
    let touched: Vec<(&Placed, &str)> = columns
        .placed
        .iter()
        .filter_map(|placed| {
            let cell = cells.get(placed.at).map_or("", String::as_str);
            let same = said.cell(placed.nth) == Some(&said::of(export.export, &placed.key, cell));
            (!same).then_some((placed, cell))
        })
        .collect();
    let mut points = BTreeMap::new();
    let mut persons = false;
    for (placed, cell) in &touched {
        let (key, heading) = (placed.key.as_str(), placed.heading.as_str());
        if (line.unreadable)(placed.at) {
            own.problems.push(problem(
                ProblemCode::CellUnreadable,
                heading,
                "这一格读不出来（公式没有结果、错误值或号码位数丢失），没有改动",
                "nobody can say what stands here (a formula without a value, an error, a number that lost its digits): left as it was",
            ));
        } else if said::is_of_persons(key) {
            persons = true;
        } else if said::POINT.contains(&key) {
            points.insert(key, *cell);
        } else if [said::RECORD, said::EXPORT].contains(&key) {
            // What the row was found by.
        } else if is_read_only(key) {
            own.problems.push(problem(
                ProblemCode::ReadOnlyColumn,
                heading,
                "这一列由系统算出，改动不写入",
                "this column is worked out from others: what was changed in it is not written",
            ));
        } else {
            one(&mut own, key, heading, cell, known);
            if let Some((_, was)) = own.note.as_mut().filter(|(_, was)| was.is_empty()) {
                *was = said.cell(placed.nth).unwrap_or_default().to_vec();
            }
        }
    }
    if !points.is_empty() {
        point(&mut own, cells, columns);
    }
    if persons {
        contacts(&mut own, cells, columns, export, said, known);
    }
    address_parts(&mut own, known);
    own
}

/// A cell that is masked was shown so, and is nobody's number.
fn is_masked(text: &str) -> bool {
    text.contains("**") || text.contains("＊＊")
}

fn masked(column: &str) -> OwnProblem {
    problem(
        ProblemCode::MaskedValue,
        column,
        "号码里有星号，不是完整的号码：要改请写全部数字",
        "the number has asterisks in it and is not whole: to change it, write all of its digits",
    )
}

/// Whether an identity number, a bank card, a passport or a permit was typed.
fn is_of_a_person(heading: &str, text: &str) -> bool {
    let numbers = personal::find_under(heading, text);
    numbers.iter().any(|number| number.certain)
}

fn personal_number(column: &str) -> OwnProblem {
    problem(
        ProblemCode::PersonalNumber,
        column,
        "填有身份证、银行卡、护照或证件号码，没有导入，请在表中删去",
        "an identity number, a bank card, a passport or a permit stands here and was not imported: please remove it from the sheet",
    )
}

fn one(own: &mut OwnRow, key: &str, heading: &str, cell: &str, known: &Known<'_>) {
    let cell = unprotected(cell);
    let text = one_line(&cell);
    let changed = |key: &str, value: Option<String>| Changed {
        key: key.to_owned(),
        value: value.map(Scalar::Str),
        column: heading.to_owned(),
    };
    if key == said::CONFIRMED {
        let Some(field) = confirmations() else { return };
        match date::parse(&text) {
            Some(day) => {
                let key = format!("{}/{}", field.name, date::to_iso(day));
                let value = Scalar::Bool(true);
                if takes(field, &key, &value, known) {
                    own.changed.push(Changed {
                        value: Some(value),
                        ..changed(&key, None)
                    });
                } else {
                    own.problems.push(refused(heading));
                }
            }
            None => own.problems.push(unreadable_day(heading)),
        }
        return;
    }
    let Some(field) = said::field(key.split_once('/').map_or(key, |(head, _)| head)) else {
        return;
    };
    if field.meaning == Meaning::Note {
        if is_masked(&cell) {
            own.problems.push(masked(heading));
        } else if is_of_a_person(heading, &cell) {
            own.problems.push(personal_number(heading));
        } else {
            own.note = Some((many_lines(&cell), Vec::new()));
        }
        return;
    }
    if field.shape == Shape::SetMember {
        let tags = listed(&text).map(str::to_owned).collect();
        own.tags = Some((tags, heading.to_owned()));
        return;
    }
    if text.is_empty() {
        if field.required {
            own.problems.push(problem(
                ProblemCode::ValueRequired,
                heading,
                "这一栏不能空着，没有改动",
                "this cell may not be empty: left as it was",
            ));
        } else {
            own.changed.push(changed(key, None));
        }
        return;
    }
    if is_masked(&text) {
        own.problems.push(masked(heading));
        return;
    }
    if is_of_a_person(heading, &text) {
        own.problems.push(personal_number(heading));
        return;
    }
    let value = match field.meaning {
        Meaning::Grid => matching_grid("", &text, known.grids),
        Meaning::Date => {
            let Some(day) = date::parse(&text) else {
                own.problems.push(unreadable_day(heading));
                return;
            };
            Some(date::to_iso(day))
        }
        Meaning::Choice => occupancy(&text).map(str::to_owned),
        Meaning::CreditCode => {
            let code = credit_code::check(&text);
            Some(if code.normalised.is_empty() {
                text
            } else {
                code.normalised
            })
        }
        _ => Some(text),
    };
    match value {
        Some(value) if takes(field, key, &Scalar::from(value.as_str()), known) => {
            own.changed.push(changed(key, Some(value)));
        }
        _ => own.problems.push(refused(heading)),
    }
}

/// Whether a field takes a new value.
fn takes(field: &Field, key: &str, value: &Scalar, known: &Known<'_>) -> bool {
    (matches!(value, Scalar::Bool(_)) || authority::check_value(field, value).is_ok())
        && authority::check_new_value(Kind::ShopCard, key, value, known.said).is_ok()
}

fn refused(heading: &str) -> OwnProblem {
    problem(
        ProblemCode::ValueRefused,
        heading,
        "内容不符合这一栏的要求，没有改动",
        "the field does not take this: left as it was",
    )
}

fn unreadable_day(heading: &str) -> OwnProblem {
    problem(
        ProblemCode::DateUnreadable,
        heading,
        "不是可识别的日期，没有改动",
        "not a day that can be read: left as it was",
    )
}

fn confirmations() -> Option<&'static Field> {
    said::of_meaning(Meaning::Confirmation)
}

/// Latitude, longitude and system together are one value.
fn point(own: &mut OwnRow, cells: &[String], columns: &Columns) {
    let of = |key: &str| {
        let placed = columns.placed.iter().find(|placed| placed.key == key)?;
        Some((
            one_line(cells.get(placed.at).map_or("", String::as_str)),
            placed.heading.clone(),
        ))
    };
    let [lat, lon, crs] = said::POINT.map(of);
    let (Some((lat, heading)), Some((lon, _)), Some((crs, _)), Some(field)) =
        (lat, lon, crs, said::of_meaning(Meaning::Point))
    else {
        return;
    };
    let value = if lat.is_empty() && lon.is_empty() {
        None
    } else {
        let point = Crs::from_heading(&crs)
            .and_then(|crs| GeoPoint::parse_cell(&format!("{lon},{lat}"), crs).ok());
        let Some(point) = point else {
            own.problems.push(problem(
                ProblemCode::PointUnreadable,
                &heading,
                "经度、纬度和坐标系要一起写对，没有改动",
                "longitude, latitude and coordinate system must be right together: left as it was",
            ));
            return;
        };
        Some(Scalar::Str(point.to_string()))
    };
    own.changed.push(Changed {
        key: field.name.to_owned(),
        value,
        column: heading,
    });
}

/// An address that was typed anew says where the door is, unless its parts were typed as well.
fn address_parts(own: &mut OwnRow, known: &Known<'_>) {
    let meaning = |key: &str| said::field(key).map(|field| field.meaning);
    let has_parts = own
        .changed
        .iter()
        .any(|changed| matches!(meaning(&changed.key), Some(Meaning::AddressPart(_))));
    let typed = own.changed.iter().find_map(|changed| {
        let text = changed.value.as_ref()?.as_str()?;
        (meaning(&changed.key) == Some(Meaning::Address))
            .then(|| (text.to_owned(), changed.column.clone()))
    });
    let (Some((typed, column)), false) = (typed, has_parts) else {
        return;
    };
    let parsed = lianka_sync_core::values::address::Address::parse(&typed, known.roads);
    let parts = lianka_sync_core::kinds::shop_card::address(&parsed, &typed);
    let fresh = parts
        .into_iter()
        .filter(|(key, _)| matches!(meaning(key), Some(Meaning::AddressPart(_))))
        .map(|(key, value)| Changed {
            key: key.to_owned(),
            value: Some(Scalar::Str(value)),
            column: column.clone(),
        });
    own.changed.extend(fresh.collect::<Vec<_>>());
}

/// A line of persons in the sheet.
struct Line {
    /// By column of persons: the text, where the sheet has the column.
    texts: Vec<Option<String>>,
}

/// The lines of the persons' cells against the persons that the export listed.
fn contacts(
    own: &mut OwnRow,
    cells: &[String],
    columns: &Columns,
    export: &Export,
    said: &Said,
    known: &Known<'_>,
) {
    let width = columns.of_persons.len();
    let places: Vec<Option<&Placed>> = columns
        .of_persons
        .iter()
        .map(|nth| columns.placed.iter().find(|placed| placed.nth == *nth))
        .collect();
    let cell = |placed: &Placed| cells.get(placed.at).map_or("", String::as_str);
    let count = places
        .iter()
        .flatten()
        .map(|placed| said::lines(cell(placed)).count())
        .max()
        .unwrap_or(0);
    let mut lines: Vec<Line> = (0..count)
        .map(|nth| Line {
            texts: places
                .iter()
                .map(|placed| {
                    placed.map(|placed| {
                        let line = said::lines(cell(placed)).nth(nth).unwrap_or_default();
                        one_line(&unprotected(line))
                    })
                })
                .collect(),
        })
        .collect();
    let is_blank = |line: &Line| line.texts.iter().flatten().all(String::is_empty);
    while lines.last().is_some_and(is_blank) {
        lines.pop();
    }
    // Which columns of a line say what they said of a person.
    let same = |line: &Line, entry: usize, column: usize| {
        let Some(text) = &line.texts[column] else {
            return true;
        };
        let key = &export.columns[columns.of_persons[column]].0;
        said.line(entry, width, column) == Some(&said::of(export.export, key, text))
    };
    let shares = |line: &Line, entry: usize| {
        (0..width)
            .filter(|column| {
                line.texts[*column]
                    .as_ref()
                    .is_some_and(|text| !text.is_empty())
                    && same(line, entry, *column)
            })
            .count()
    };
    let mut free: Vec<usize> = (0..said.entries.len()).collect();
    let mut paired: Vec<Option<usize>> = vec![None; lines.len()];
    // Whole lines first, wherever they stand; then those of which a part still says the same; then in place, where nothing else is left.
    for (nth, line) in lines.iter().enumerate() {
        if let Some(at) = free
            .iter()
            .position(|entry| (0..width).all(|column| same(line, *entry, column)))
        {
            paired[nth] = Some(free.remove(at));
        }
    }
    for (nth, line) in lines.iter().enumerate() {
        if paired[nth].is_some() || is_blank(line) {
            continue;
        }
        let best = free
            .iter()
            .copied()
            .map(|entry| (shares(line, entry), usize::from(entry == nth), entry))
            .filter(|(shares, ..)| *shares > 0)
            .max();
        if let Some((.., entry)) = best {
            free.retain(|of| *of != entry);
            paired[nth] = Some(entry);
        }
    }
    for (nth, line) in lines.iter().enumerate() {
        match paired[nth] {
            Some(entry) => edited(own, line, entry, said, known, &places, &|column| {
                same(line, entry, column)
            }),
            None if is_blank(line) => {}
            None => added(own, line, &places, known),
        }
    }
    let heading = places
        .iter()
        .flatten()
        .next()
        .map_or("", |placed| placed.heading.as_str());
    for _ in free {
        own.problems.push(problem(
            ProblemCode::ContactLineMissing,
            heading,
            "表里少了一位联系人：导入不删除联系人，请在卡片上处理",
            "a contact person is missing in the sheet: an import deletes nobody, see to it on the card",
        ));
    }
}

/// The value of a person's cell as it is stored; an error where it cannot be.
fn of_person(
    field: &Field,
    text: &str,
    heading: &str,
    known: &Known<'_>,
) -> Result<Option<String>, OwnProblem> {
    if text.is_empty() {
        return Ok(None);
    }
    if is_masked(text) {
        return Err(masked(heading));
    }
    if is_of_a_person(heading, text) {
        return Err(personal_number(heading));
    }
    let value = match field.meaning {
        Meaning::Telephone => phone::stored(text),
        _ => text.to_owned(),
    };
    let key = person_key(EntryId(Uuid::nil()), field.name);
    if takes(field, &key, &Scalar::from(value.as_str()), known) {
        Ok(Some(value))
    } else {
        Err(refused(heading))
    }
}

fn edited(
    own: &mut OwnRow,
    line: &Line,
    entry: usize,
    said: &Said,
    known: &Known<'_>,
    places: &[Option<&Placed>],
    same: &dyn Fn(usize) -> bool,
) {
    for (column, place) in places.iter().enumerate() {
        let (Some(text), Some(place), false) = (&line.texts[column], place, same(column)) else {
            continue;
        };
        let Some(field) = said::field(&place.key) else {
            continue;
        };
        match of_person(field, text, &place.heading, known) {
            Ok(value) => {
                let (list, name) = place.key.split_once('/').unwrap_or_default();
                own.changed.push(Changed {
                    key: format!("{list}/{}/{name}", said.entries[entry]),
                    value: value.map(Scalar::Str),
                    column: place.heading.clone(),
                });
            }
            Err(problem) => own.problems.push(problem),
        }
    }
}

fn added(own: &mut OwnRow, line: &Line, places: &[Option<&Placed>], known: &Known<'_>) {
    let mut person = Vec::new();
    for (text, place) in line.texts.iter().zip(places) {
        let (Some(text), Some(place)) = (text, place) else {
            continue;
        };
        let Some(field) = said::field(&place.key) else {
            continue;
        };
        match of_person(field, text, &place.heading, known) {
            Ok(Some(value)) => person.push((field.name.to_owned(), value)),
            Ok(None) => {}
            Err(problem) => own.problems.push(problem),
        }
    }
    if !person.is_empty() {
        own.persons.push(person);
    }
}

/// Where a new person's fields are written.
pub fn person_key(entry: EntryId, field: &str) -> String {
    format!(
        "{}/{entry}/{field}",
        lianka_sync_core::kinds::shop_card::CONTACTS
    )
}

/// The key of a custom column.
pub fn custom_key(name: &str) -> String {
    format!("{}/{name}", key::CUSTOM)
}
