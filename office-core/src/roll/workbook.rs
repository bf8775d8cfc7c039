//! A workbook that came from an export here: its rows against what the export said.
//!
//! In: the lines of the sheet and the fingerprints of the export. Out: by row the cells that somebody changed. An untouched cell is no edit,
//! whatever happened to the card since. Columns are known by their headings and, where these were renamed, by what stands under them; rows by the
//! card's id, wherever they were moved to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use lianka_sync_core::{
    access::Role,
    authority::{self, Said as NewlySaid},
    codec::change::Scalar,
    crdt::view::View,
    id::EntryId,
    key::NOTE,
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
    said::{self, BYTES, Reads},
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
    /// A fingerprint for each tag.
    pub members: Vec<u8>,
}

/// A line of a person: field and value.
pub type Person = Vec<(String, String)>;

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
    pub tags: Option<TagsCell>,
    /// The note as it reads now, its heading, and the fingerprint of what the export said.
    pub note: Option<NoteCell>,
    /// Lines of persons that the export did not have.
    pub persons: Vec<Person>,
    pub problems: Vec<OwnProblem>,
}

/// A cell of tags that somebody changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TagsCell {
    pub lists: Vec<String>,
    pub column: String,
}

/// A cell of the note that somebody changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoteCell {
    pub text: String,
    pub column: String,
    /// The fingerprint of what the export said.
    pub said: Vec<u8>,
}

impl TagsCell {
    /// The tags that were put in, and those of the card that were taken out. What the export listed and the cell lists still is no edit, whatever
    /// became of it since. `shown`: a tag as the export shows it to those who see no whole numbers.
    pub fn changes(
        &self,
        export: Uuid,
        said: &Said,
        view: &View,
        now: NewlySaid,
        shown: &dyn Fn(&str) -> String,
    ) -> (Vec<Changed>, Vec<OwnProblem>) {
        let (mut changed, mut problems) = (Vec::new(), Vec::new());
        let Some(field) = said::of_meaning(Meaning::Tag) else {
            return (changed, problems);
        };
        let mut write = |tag: &str, value| {
            changed.push(Changed {
                key: format!("{}/{tag}", field.name),
                value,
                column: self.column.clone(),
            });
        };
        let mut listed_now = BTreeSet::new();
        for piece in &self.lists {
            // A tag may have a comma in it: what the export listed is one.
            if said.has_tag(export, piece) {
                listed_now.insert(piece.as_str());
            } else {
                listed_now.extend(listed(piece));
            }
        }
        for tag in &listed_now {
            if said.has_tag(export, tag) {
                continue;
            }
            let key = format!("{}/{tag}", field.name);
            if is_masked(tag) {
                problems.push(masked(&self.column));
            } else if is_of_a_person(&self.column, tag) {
                problems.push(personal_number(&self.column));
            } else if takes_tag(&key, now) {
                write(tag, Some(Scalar::Bool(true)));
            } else {
                problems.push(refused(&self.column));
            }
        }
        for (tag, _) in view.members(field.name) {
            let shown = shown(tag);
            let is_said = [tag, &shown].iter().any(|tag| said.has_tag(export, tag));
            let is_listed = listed_now.contains(tag) || listed_now.contains(shown.as_str());
            if is_said && !is_listed {
                write(tag, None);
            }
        }
        (changed, problems)
    }
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
            // Of two columns of one heading the first stands for the first.
            let named = export
                .columns
                .iter()
                .enumerate()
                .position(|(nth, (_, of))| {
                    let is_it = heading
                        .as_ref()
                        .is_some_and(|heading| plain(of) == *heading);
                    is_it && !taken.values().any(|used| *used == nth)
                });
            match named {
                Some(nth) => {
                    taken.insert(at, nth);
                }
                None => free.push(at),
            }
        }
        free.retain(|at| {
            let found = by_content(*at, export, rows, &taken);
            taken.extend(found.map(|nth| (*at, nth)));
            found.is_none()
        });
        free.retain(|at| {
            let found = by_place(*at, export, rows, &taken);
            taken.extend(found.map(|nth| (*at, nth)));
            found.is_none()
        });
        let added = free;
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

/// The column of the export whose neighbours stand beside it as they stood there: renamed, and nothing under it says what it said, be it that
/// everything was empty.
fn by_place(
    at: usize,
    export: &Export,
    rows: &[(&[String], &Said)],
    taken: &HashMap<usize, usize>,
) -> Option<usize> {
    let left = *taken.get(&at.checked_sub(1)?)?;
    let right = *taken.get(&(at + 1))?;
    let nth = left + 1;
    if right != left + 2 || taken.values().any(|used| *used == nth) {
        return None;
    }
    // A column that was taken out and another put in its place is another one: most of what it said would be gone.
    let key = &export.columns.get(nth)?.0;
    let empty = said::of(export.export, key, "");
    let was_filled = |(_, said): &&(&[String], &Said)| said.cell(nth) != Some(&empty);
    let filled = rows.iter().filter(was_filled).count();
    (filled * 2 <= rows.len()).then_some(nth)
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
            members: Vec::new(),
        }
    }

    /// Whether the export listed the tag.
    pub fn has_tag(&self, export: Uuid, tag: &str) -> bool {
        let of = said::of(export, said::TAG, tag);
        self.members.chunks_exact(BYTES).any(|member| member == of)
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
        reads(export, said, placed, cell) != Reads::Otherwise
    };
    columns.placed.iter().filter(same).count()
}

fn reads(export: &Export, said: &Said, placed: &Placed, cell: &str) -> Reads {
    said::reads(export.export, &placed.key, cell, said.cell(placed.nth))
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
    let mut touched: Vec<(&Placed, &str)> = Vec::new();
    for placed in &columns.placed {
        let cell = cells.get(placed.at).map_or("", String::as_str);
        match reads(export, said, placed, cell) {
            Reads::Same | Reads::Respelled { doubtful: false } => {}
            Reads::Respelled { doubtful: true } => own.problems.push(problem(
                ProblemCode::CellRespelled,
                &placed.heading,
                "表格软件改写了这一格（前面的零没有了，或门牌号变成了日期），按原来的内容处理，没有改动；要改请写明",
                "a spreadsheet wrote this cell in its own way (a zero before a number is gone, or 3-5 became a day): taken as it was",
            )),
            Reads::Otherwise => touched.push((placed, cell)),
        }
    }
    let mut points = BTreeMap::new();
    let mut persons = false;
    for (placed, cell) in &touched {
        let (key, heading) = (placed.key.as_str(), placed.heading.as_str());
        if (line.unreadable)(placed.at) {
            own.problems.push(problem(
                ProblemCode::CellUnreadable,
                heading,
                "这一格读不出来（公式没有结果、错误值、号码位数丢失，或另存时生僻字成了问号），没有改动",
                "nobody can say what stands here (a formula without a value, an error, a number that lost its digits, a rare character that became a question mark): left as it was",
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
            if let Some(note) = own.note.as_mut().filter(|note| note.said.is_empty()) {
                note.said = said.cell(placed.nth).unwrap_or_default().to_vec();
            }
        }
    }
    if !points.is_empty() {
        point(&mut own, cells, columns);
    }
    if persons {
        contacts(&mut own, line, columns, export, said, known);
    }
    address_parts(&mut own, known);
    own
}

/// A cell that is masked was shown so, and is nobody's number.
pub fn is_masked(text: &str) -> bool {
    text.contains("**") || text.contains("＊＊")
}

/// What is told of such a one.
pub fn masked(column: &str) -> OwnProblem {
    problem(
        ProblemCode::MaskedValue,
        column,
        "号码里有星号，不是完整的号码：要改请写全部数字",
        "the number has asterisks in it and is not whole: to change it, write all of its digits",
    )
}

/// What is told of a changed cell of a person who is not on the card any more.
pub fn contact_gone(column: &str) -> OwnProblem {
    problem(
        ProblemCode::ContactGone,
        column,
        "这位联系人已不在卡片上，改动不写入",
        "the contact person is not on the card any more: what was changed of them is not written",
    )
}

/// What is told of a note that was written meanwhile, and of which nobody can say any more what the sheet's author saw.
pub fn note_changed() -> OwnProblem {
    problem(
        ProblemCode::NoteChanged,
        NOTE,
        "备注在导出以后有人改过，而当时的内容已查不到，表里的备注不写入：请看过卡片再改",
        "somebody wrote the note since, and nobody can say any more how it read then: the sheet's note is not written; look at the card, then edit it",
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
        if is_of_a_person(heading, &cell) {
            own.problems.push(personal_number(heading));
        } else {
            own.note = Some(NoteCell {
                text: many_lines(&cell),
                column: heading.to_owned(),
                said: Vec::new(),
            });
        }
        return;
    }
    if field.shape == Shape::SetMember {
        own.tags = Some(TagsCell {
            lists: text.split('、').map(str::to_owned).collect(),
            column: heading.to_owned(),
        });
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

fn takes_tag(key: &str, now: NewlySaid) -> bool {
    let there = Scalar::Bool(true);
    authority::check_write(Kind::ShopCard, Role::Reviewer, false, key, Some(&there)).is_ok()
        && authority::check_new_value(Kind::ShopCard, key, &there, now).is_ok()
}

/// What is told of a value that a field does not take.
pub fn refused(heading: &str) -> OwnProblem {
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
        let placed = columns.placed.iter();
        let mut headings = placed.filter(|placed| said::POINT.contains(&placed.key.as_str()));
        let heading = headings.next().map_or("", |placed| placed.heading.as_str());
        own.problems.push(point_unreadable(heading));
        return;
    };
    let value = if lat.is_empty() && lon.is_empty() {
        None
    } else {
        let point = Crs::from_heading(&crs)
            .and_then(|crs| GeoPoint::parse_cell(&format!("{lon},{lat}"), crs).ok());
        let Some(point) = point else {
            own.problems.push(point_unreadable(&heading));
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

fn point_unreadable(heading: &str) -> OwnProblem {
    problem(
        ProblemCode::PointUnreadable,
        heading,
        "经度、纬度和坐标系要一起写对，没有改动",
        "longitude, latitude and coordinate system must be right together: left as it was",
    )
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
    row: &SheetRow<'_>,
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
        // What nobody can read says nothing of anybody.
        .map(|placed| placed.filter(|placed| !(row.unreadable)(placed.at)))
        .collect();
    let cell = |placed: &Placed| row.cells.get(placed.at).map_or("", String::as_str);
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
        let said = said.line(entry, width, column);
        said::reads(export.export, key, text, said) != Reads::Otherwise
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
    // Whole lines first, wherever they stand; then those of which a part still says the same.
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
    // Where nobody can read a column, nothing but the place may be left to tell a person by.
    let unreadable =
        |placed: &Placed| said::is_of_persons(&placed.key) && (row.unreadable)(placed.at);
    if columns.placed.iter().any(unreadable) {
        for (nth, line) in lines.iter().enumerate() {
            if paired[nth].is_none() && !is_blank(line) && free.contains(&nth) {
                free.retain(|of| *of != nth);
                paired[nth] = Some(nth);
            }
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
    Kind::ShopCard
        .person_field(field)
        .map_or_else(String::new, |field| field.key_in(entry))
}

/// The key of a custom column.
pub fn custom_key(name: &str) -> String {
    format!("{}/{name}", key::CUSTOM)
}
