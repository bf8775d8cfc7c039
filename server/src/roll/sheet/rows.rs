//! Rows of a sheet whose headings are known → values of cards, and what is doubtful about them.

use std::collections::{HashMap, HashSet};

use lianka_sync_core::{
    access::FieldError,
    authority::{Said, check_value},
    codec::change::Scalar,
    kinds::{
        Class, Field, Kind, Meaning, Rule, Shape, key, kind::AddressPart, shop_card::CONTACTS,
    },
    limits::NOTE_CHARS_MAX,
    search::fold,
    values::{
        address::{Address, DoorKey},
        characters,
        credit_code::{self, Verdict},
        date,
        geo::{Crs, GeoPoint},
        personal::{self, PersonalNumber},
        phone,
        text::{self, TextWarningKind},
    },
};
use sha2::{Digest, Sha256};

use crate::roll::{
    masks::masked_text,
    sheet::{
        ColumnTarget, CustomKind, Lines, Problem, ProblemCode, RollColumn, RollContact, RollError,
        RollPlan, RollRow, RollValue, Sheet, StreetTables,
        cell::{all_lines, listed, many_lines, occupancy, one_line},
        custom::{custom_fields, number},
        flaws,
        grid::Rows,
        grids::{GridNames, matching_grid},
        headings::{self, Header, NAMES_SHOP},
        people::{self, LANDLINE, People},
        shape::{self, Band, Placeholder, Words},
        sound::sound,
        target::field,
    },
};

pub(crate) fn plan(
    sheets: &[Sheet],
    header: &Header,
    street: &StreetTables<'_>,
) -> Result<RollPlan, RollError> {
    let sheet = sheets.get(header.sheet).ok_or(RollError::NoHeader)?;
    let (last_heading_row, lowest) = sheet.rows.get(header.row).ok_or(RollError::NoHeader)?;
    let groups = header.groups.and_then(|at| sheet.rows.get(at));
    let header_row = groups.as_ref().map_or(last_heading_row, |(row, _)| *row);
    let heading_cells = match &groups {
        Some((_, above)) => headings::composed(above, &lowest),
        None => lowest.clone(),
    };
    let below = sheet.rows.from(header.row + 1);
    let columns = columns(&heading_cells, below);
    let custom_fields = custom_fields(&columns, below);
    let mut reader = Reader {
        columns: &columns,
        street,
        header_row,
        problems: Vec::new(),
        grids: street.grids.iter().map(GridNames::of).collect(),
        kinds: custom_fields
            .iter()
            .map(|f| (f.name.as_str(), &f.kind))
            .collect(),
        personal: custom_fields
            .iter()
            .filter(|field| field.class >= Class::P2)
            .map(|field| field.name.as_str())
            .collect(),
        doors: HashMap::new(),
        above: Above::default(),
        moved: None,
    };
    reader.look_at_columns(header.other_sheet.and_then(|at| sheets.get(at)));
    let mut rows: Vec<RollRow> = Vec::new();
    let mut seen: HashMap<[u8; 32], u32> = HashMap::new();
    let (mut total_rows, mut numbered_rows) = (0, 0);
    let is_heading = |cells: &Vec<String>| {
        *cells == lowest || groups.as_ref().is_some_and(|(_, above)| cells == above)
    };
    for (row, mut typed) in below.iter() {
        let flaws = flaws::mend(sheet, row, &mut typed, &columns);
        let (placed, beside) = reader.placed(&typed);
        // Whatever a cell is for, numbers of persons are looked for first.
        let (cells, kept) = reader.without_persons(row, &placed);
        let said = reader.said(&cells);
        let kind = if is_heading(&typed) {
            RowKind::RepeatedHeader
        } else {
            reader.kind_of(row, &cells, &said)
        };
        let passed = matches!(kind, RowKind::Footer);
        if matches!(kind, RowKind::Shop | RowKind::People | RowKind::Other) {
            reader.problems.extend(flaws);
        }
        match kind {
            RowKind::Shop => {
                let joined = rows
                    .last_mut()
                    .filter(|shop| reader.goes_on(shop, row, &cells));
                if let Some(shop) = joined {
                    reader.join(shop, row, &cells);
                } else {
                    let said = reader.without_placeholders(row, &cells, said);
                    let mut shop = reader.shop(row, &kept, &said);
                    shop.identity = reader.identity(&placed, &mut seen);
                    reader.above.shop(row, cells, said);
                    reader.beside(&mut shop, beside);
                    rows.push(shop);
                }
            }
            RowKind::People => {
                if let Some(shop) = rows.last_mut() {
                    reader.join(shop, row, &cells);
                }
            }
            RowKind::Total => total_rows += 1,
            // The same columns again: what moved is back.
            RowKind::RepeatedHeader => reader.moved = None,
            RowKind::OtherHeader => reader.other_header(row, &typed),
            RowKind::Band(band) => reader.band(row, &cells, band),
            RowKind::Numbered => numbered_rows += 1,
            RowKind::Footer => reader.skipped(
                row,
                &cells,
                "表尾、签名或说明，未导入",
                "a footer, a signature or a note; not imported",
            ),
            RowKind::Other => reader.skipped(
                row,
                &cells,
                "没有店招、登记名称、代码或地址，未导入",
                "names no shop, neither sign, registered name, code nor address; not imported",
            ),
        }
        reader.above.passed = passed;
    }
    let last_row = below.last_row().unwrap_or(last_heading_row);
    let blank_rows =
        ((last_row - last_heading_row) as usize).saturating_sub(below.len()) + numbered_rows;
    let Reader { mut problems, .. } = reader;
    problems.sort_by_key(|p| p.row);
    Ok(RollPlan {
        sheet: sheet.name.clone(),
        header_row,
        columns,
        custom_fields,
        rows,
        problems,
        blank_rows,
        total_rows,
        heading_cells,
        lines: Lines::default(),
    })
}

/// Columns that have a heading or a value, each with its place in the sheet.
fn columns(heading_cells: &[String], below: Rows<'_>) -> Vec<RollColumn> {
    let width = below.width().max(heading_cells.len());
    let headings: Vec<String> = (0..width)
        .map(|at| match heading_cells.get(at).map(|h| h.trim()) {
            Some(heading) if !heading.is_empty() => one_line(heading),
            _ => letters(at),
        })
        .collect();
    let targets = headings::targets(&headings);
    headings
        .into_iter()
        .zip(targets)
        .enumerate()
        .map(|(at, (heading, target))| RollColumn {
            letters: letters(at),
            heading,
            target,
        })
        .collect()
}

fn letters(at: usize) -> String {
    let mut out = String::new();
    let mut rest = at + 1;
    while rest > 0 {
        rest -= 1;
        out.insert(0, char::from(b'A' + (rest % 26) as u8));
        rest /= 26;
    }
    out
}

enum RowKind {
    Shop,
    /// Further people of the shop above.
    People,
    Total,
    RepeatedHeader,
    /// Headings in other words, or of other columns.
    OtherHeader,
    Band(Band),
    /// A running number that was filled in ahead.
    Numbered,
    Footer,
    Other,
}

/// What the rows above say of the next one.
#[derive(Default)]
struct Above {
    /// The shop before: its row, or that of the people who were joined to it, its cells, and the same without placeholders.
    row: u32,
    cells: Vec<String>,
    said: Vec<String>,
    /// The row before was a footer or a note.
    passed: bool,
    road: Option<String>,
    grid: Option<String>,
    area: Option<String>,
}

impl Above {
    fn shop(&mut self, row: u32, cells: Vec<String>, said: Vec<String>) {
        (self.row, self.cells, self.said) = (row, cells, said);
    }

    fn is_next(&self, row: u32) -> bool {
        self.row > 0 && self.row + 1 == row
    }
}

struct Reader<'a> {
    columns: &'a [RollColumn],
    street: &'a StreetTables<'a>,
    header_row: u32,
    problems: Vec<Problem>,
    grids: Vec<GridNames>,
    kinds: HashMap<&'a str, &'a CustomKind>,
    /// Custom fields that hold personal data.
    personal: HashSet<&'a str>,
    /// First row of each door, and whether it was told of a second one.
    doors: HashMap<DoorKey, (u32, bool)>,
    above: Above,
    /// Under headings of another order: of each cell its column, and the headings.
    moved: Option<(Vec<Option<usize>>, Vec<String>)>,
}

/// What a column is looked for by.
#[derive(Clone, Copy)]
enum Place {
    /// A field of the card, by its meaning.
    Of(Meaning),
    Area,
    Point,
    Longitude,
    Latitude,
}

impl From<Meaning> for Place {
    fn from(meaning: Meaning) -> Self {
        Self::Of(meaning)
    }
}

const ROAD: Meaning = Meaning::AddressPart(AddressPart::Road);
const LANE: Meaning = Meaning::AddressPart(AddressPart::Lane);
const NUMBER: Meaning = Meaning::AddressPart(AddressPart::Number);
const SUFFIX: Meaning = Meaning::AddressPart(AddressPart::Suffix);
const UNIT: Meaning = Meaning::AddressPart(AddressPart::Unit);

impl<'a> Reader<'a> {
    fn at(&self, place: impl Into<Place>) -> Option<(usize, &'a RollColumn)> {
        let place = place.into();
        self.columns
            .iter()
            .enumerate()
            .find(|(_, column)| match (place, &column.target) {
                (Place::Of(meaning), ColumnTarget::Field(field)) => field.meaning == meaning,
                (Place::Area, ColumnTarget::Area)
                | (Place::Point, ColumnTarget::Point(_))
                | (Place::Longitude, ColumnTarget::Longitude(_))
                | (Place::Latitude, ColumnTarget::Latitude(_)) => true,
                _ => false,
            })
    }

    /// The cell of a place, on one line, with its heading.
    fn cell(&self, cells: &[String], place: impl Into<Place>) -> Option<(String, &'a str)> {
        let (at, column) = self.at(place)?;
        let text = one_line(cells.get(at)?);
        (!text.is_empty()).then_some((text, column.heading.as_str()))
    }

    fn heading(&self, place: impl Into<Place>) -> Option<&'a str> {
        self.at(place).map(|(_, column)| column.heading.as_str())
    }

    fn report(
        &mut self,
        code: ProblemCode,
        row: u32,
        column: Option<&str>,
        zh: impl Into<String>,
        en: impl Into<String>,
    ) {
        self.problems.push(Problem::new(code, row, column, zh, en));
    }

    fn look_at_columns(&mut self, other_sheet: Option<&Sheet>) {
        let row = self.header_row;
        if let Some(name) = other_sheet.and_then(|s| s.name.as_deref()) {
            self.report(
                ProblemCode::OtherSheet,
                row,
                None,
                format!("工作表“{name}”看起来也是台账，本次没有读取"),
                format!("sheet “{name}” looks like a roll too and was not read"),
            );
        }
        if self.street.roads.is_empty() {
            self.report(
                ProblemCode::RoadTableEmpty,
                row,
                None,
                "街道还没有路名表，未核对路名",
                "the street has no road table yet: roads were not checked",
            );
        }
        for column in self.columns {
            match column.target {
                ColumnTarget::Sensitive => self.report(
                    ProblemCode::SensitiveColumn,
                    row,
                    Some(&column.heading),
                    format!("“{}”属于敏感个人信息，须逐人取得同意后填写，不导入字段", column.heading),
                    format!("“{}” is sensitive personal data, entered person by person with consent: not imported", column.heading),
                ),
                ColumnTarget::Point(None) | ColumnTarget::Longitude(None) => self.report(
                    ProblemCode::PointCrsMissing,
                    row,
                    Some(&column.heading),
                    format!("“{}”没有注明坐标系（WGS-84、GCJ-02、BD-09、CGCS2000），坐标不导入", column.heading),
                    format!(
                        "“{}” does not name its coordinate system (WGS-84, GCJ-02, BD-09, CGCS2000): points are not imported",
                        column.heading
                    ),
                ),
                ColumnTarget::Custom(ref name) if self.personal.contains(name.as_str()) => self.report(
                    ProblemCode::PersonalColumn,
                    row,
                    Some(&column.heading),
                    format!("“{}”像是个人信息：按个人信息（P2）保存，导出时遮盖", column.heading),
                    format!(
                        "“{}” looks like personal data: kept as such (P2), and masked in exports",
                        column.heading
                    ),
                ),
                _ => {}
            }
        }
    }

    fn kind_of(&self, row: u32, cells: &[String], said: &[String]) -> RowKind {
        if headings::is_heading_row(cells) {
            return RowKind::OtherHeader;
        }
        let is_count = |at: usize| said.get(at).is_some_and(|cell| shape::is_count(cell));
        let has = |meanings: &[Meaning]| {
            meanings.iter().any(|of| {
                self.cell(said, *of)
                    .is_some_and(|(text, _)| !characters::says_nothing(&text))
                    && self.at(*of).is_some_and(|(at, _)| !is_count(at))
            })
        };
        let told: Vec<&str> = cells
            .iter()
            .map(|cell| cell.trim())
            .filter(|cell| !cell.is_empty())
            .collect();
        match shape::words(&told, self.above.passed, self.street.roads, &self.grids) {
            Words::Footer | Words::Note => return RowKind::Footer,
            Words::Total
                if !has(&[
                    Meaning::Address,
                    ROAD,
                    Meaning::LegalName,
                    Meaning::CreditCode,
                ]) =>
            {
                return RowKind::Total;
            }
            Words::Band(band) => return RowKind::Band(band),
            Words::Total | Words::Other => {}
        }
        // A number says where only if it carries its road.
        let number_with_road =
            (self.at(ROAD).is_none() || self.above.road.is_some()) && has(&[NUMBER]);
        let shop = |meaning: &Meaning| match meaning {
            // 1912 and 85度C are signs.
            Meaning::TradeName => self.cell(said, *meaning).is_some(),
            _ => has(&[*meaning]),
        };
        if NAMES_SHOP.iter().any(shop) || number_with_road {
            return RowKind::Shop;
        }
        let filled = |of: fn(&ColumnTarget) -> bool| {
            self.columns
                .iter()
                .zip(said)
                .any(|(column, cell)| !cell.is_empty() && of(&column.target))
        };
        let person = filled(|target| matches!(target, ColumnTarget::Contact { .. }));
        let numbered = filled(|target| matches!(target, ColumnTarget::Serial));
        if person && !numbered && self.above.is_next(row) {
            RowKind::People
        } else if numbered && !filled(|target| !matches!(target, ColumnTarget::Serial)) {
            RowKind::Numbered
        } else {
            RowKind::Other
        }
    }

    fn skipped(&mut self, row: u32, cells: &[String], zh: &str, en: &str) {
        let first: String = cells
            .iter()
            .find(|c| !c.is_empty())
            .map(|c| masked_text(&one_line(c)))
            .unwrap_or_default()
            .chars()
            .take(40)
            .collect();
        self.report(
            ProblemCode::RowSkipped,
            row,
            None,
            format!("{zh}：{first}"),
            format!("{en}: {first}"),
        );
    }

    /// The cells in the columns of the table's own headings, and those that have no column there.
    fn placed(&self, cells: &[String]) -> (Vec<String>, Vec<(String, String)>) {
        let Some((moved, headings)) = &self.moved else {
            return (cells.to_vec(), Vec::new());
        };
        let mut own = vec![String::new(); self.columns.len()];
        let mut beside = Vec::new();
        let filled = cells
            .iter()
            .enumerate()
            .filter(|(_, cell)| !cell.is_empty());
        for (at, cell) in filled {
            if let Some(Some(place)) = moved.get(at) {
                own[*place].clone_from(cell);
                continue;
            }
            let heading = headings.get(at).map_or("", |heading| heading.trim());
            let heading = if heading.is_empty() {
                letters(at)
            } else {
                one_line(heading)
            };
            beside.push((heading, cell.clone()));
        }
        (own, beside)
    }

    /// Cells that have no column: kept as text, and reported.
    fn beside(&mut self, shop: &mut RollRow, beside: Vec<(String, String)>) {
        for (heading, cell) in beside {
            self.report(
                ProblemCode::CellNotTaken,
                shop.row,
                Some(&heading),
                format!("表中间换过表头，“{heading}”不在第一个表头里，未写入字段"),
                format!("the headings changed within the table, and “{heading}” is none of the first ones: kept in the cells only"),
            );
            shop.cells.push((heading, cell));
        }
    }

    /// Headings within the table, in other words or in another order: the rows below are read by them.
    fn other_header(&mut self, row: u32, cells: &[String]) {
        let headings: Vec<String> = cells.iter().map(|cell| one_line(cell)).collect();
        let targets = headings::targets(&headings);
        let place = |at: usize| -> Option<usize> {
            let heading = headings.get(at).filter(|heading| !heading.is_empty())?;
            self.columns
                .iter()
                .position(|column| column.target == targets[at])
                .or_else(|| {
                    self.columns
                        .iter()
                        .position(|column| fold(&column.heading) == fold(heading))
                })
        };
        let places: Vec<Option<usize>> = (0..headings.len()).map(place).collect();
        let is_same = places
            .iter()
            .enumerate()
            .all(|(at, place)| *place == Some(at) || headings[at].is_empty());
        // Only a part of the headings, or a second row of them, in their places: nothing moves.
        let names_shop = targets.iter().any(
            |target| matches!(target, ColumnTarget::Field(field) if NAMES_SHOP.contains(&field.meaning)),
        );
        self.moved = (!is_same && names_shop).then_some((places, headings));
        let (zh, en) = if self.moved.is_some() {
            (
                "表中间换了表头，以下各行按这一行的列名读",
                "other headings within the table: the rows below are read by them",
            )
        } else {
            (
                "表中间重复的表头，未当作商铺",
                "the headings again, not taken for a shop",
            )
        };
        self.report(ProblemCode::HeadingRepeated, row, None, zh, en);
    }

    /// A row that heads those below it.
    fn band(&mut self, row: u32, cells: &[String], band: Band) {
        let (zh, en) = match band {
            Band::Road(road) => {
                let told = (
                    format!("以下没有写路名的各行，按“{road}”读"),
                    format!("the rows below that name no road are read as on “{road}”"),
                );
                self.above.road = Some(road);
                told
            }
            Band::Grid(code) => {
                let told = (
                    format!("以下没有写网格的各行，按网格“{code}”读"),
                    format!("the rows below that name no grid are read as of grid “{code}”"),
                );
                (self.above.grid, self.above.area) = (Some(code), None);
                told
            }
            Band::Area(area) => {
                let told = (
                    format!("以下没有写片区的各行，按“{area}”读"),
                    format!("the rows below that name no area are read as of “{area}”"),
                );
                (self.above.area, self.above.grid) = (Some(area), None);
                told
            }
            Band::Unknown => {
                return self.skipped(
                    row,
                    cells,
                    "表内小标题，既不是路名也不是网格，未导入",
                    "a heading within the table that is neither a road nor a grid; not imported",
                );
            }
        };
        self.above.row = 0;
        self.report(ProblemCode::BandApplied, row, None, zh, en);
    }

    /// The cells without those that stand for nothing, for a look at what the row is.
    fn said(&self, cells: &[String]) -> Vec<String> {
        self.columns
            .iter()
            .zip(cells)
            .map(|(column, cell)| match self.placeholder(column, cell) {
                Some(Placeholder::Sign | Placeholder::Word) => String::new(),
                Some(Placeholder::Ditto) | None => cell.clone(),
            })
            .collect()
    }

    /// What a cell of this column stands for, where it is no value there.
    fn placeholder(&self, column: &RollColumn, cell: &str) -> Option<Placeholder> {
        let found = shape::placeholder(cell)?;
        match (&column.target, found) {
            (ColumnTarget::Serial | ColumnTarget::Exported | ColumnTarget::Sensitive, _) => None,
            // 无 is an answer to whether there is an alarm.
            (ColumnTarget::Custom(name), Placeholder::Word) => {
                self.personal.contains(name.as_str()).then_some(found)
            }
            // 空 and 无人 say that a shop is vacant.
            (ColumnTarget::Field(field), Placeholder::Word) if field.meaning == Meaning::Choice => {
                occupancy(cell).is_none().then_some(found)
            }
            _ => Some(found),
        }
    }

    /// The cells with 同上 read as the value above, where that is safe: of what neighbours have in common.
    fn without_placeholders(
        &mut self,
        row: u32,
        cells: &[String],
        mut said: Vec<String>,
    ) -> Vec<String> {
        for (at, column) in self.columns.iter().enumerate() {
            let Some(cell) = cells.get(at) else { break };
            if self.placeholder(column, cell) != Some(Placeholder::Ditto) {
                continue;
            }
            let is_common = match &column.target {
                ColumnTarget::Area => true,
                ColumnTarget::Field(field) => {
                    // 业态 is the one plain word that neighbours share.
                    matches!(field.meaning, Meaning::Grid | ROAD | Meaning::Text)
                }
                _ => false,
            };
            let above = self
                .above
                .said
                .get(at)
                .filter(|above| is_common && self.above.is_next(row) && !above.is_empty())
                .cloned();
            let heading = column.heading.as_str();
            if let Some(above) = above {
                self.report(
                    ProblemCode::DittoTaken,
                    row,
                    Some(heading),
                    format!("“{cell}”按上一行读作“{above}”"),
                    format!("“{cell}” is read as “{above}”, from the row above"),
                );
                said[at] = above;
            } else {
                self.report(
                    ProblemCode::DittoNotTaken,
                    row,
                    Some(heading),
                    format!("“{cell}”不能替代具体内容，未写入，请填写"),
                    format!(
                        "“{cell}” does not stand for a value here: left empty, please fill it in"
                    ),
                );
                said[at].clear();
            }
        }
        said
    }

    /// Whether a row says the same shop again, in merged or repeated cells, with another person.
    fn goes_on(&self, shop: &RollRow, row: u32, cells: &[String]) -> bool {
        if !self.above.is_next(row) || shop.row > row {
            return false;
        }
        let above = |at: usize| self.above.cells.get(at).map_or("", String::as_str);
        let mut other_person = false;
        let (mut sign, mut place) = (false, false);
        for (at, column) in self.columns.iter().enumerate() {
            let cell = cells.get(at).map_or("", String::as_str);
            match &column.target {
                ColumnTarget::Contact { .. } => {
                    other_person |= !cell.is_empty() && cell != above(at);
                }
                _ if cell.is_empty() => {}
                _ if cell != above(at) => return false,
                ColumnTarget::Field(field) => {
                    sign |= field.meaning == Meaning::TradeName;
                    place |= matches!(
                        field.meaning,
                        Meaning::Address | NUMBER | Meaning::CreditCode
                    );
                }
                _ => {}
            }
        }
        other_person && sign && place
    }

    /// Adds the people of a row that goes on with a shop.
    fn join(&mut self, shop: &mut RollRow, row: u32, cells: &[String]) {
        let first = shop.row;
        let said = self.said(cells);
        let said = self.without_placeholders(row, cells, said);
        let mut further = RollRow {
            row,
            ..shop.clone()
        };
        further.contacts.clear();
        self.contacts(&mut further, &said);
        let known = std::mem::take(&mut shop.contacts);
        let fresh = further
            .contacts
            .into_iter()
            .filter(|contact| !known.contains(contact));
        shop.contacts = known.iter().cloned().chain(fresh).collect();
        self.problems.push(
            Problem::new(
                ProblemCode::RowJoined,
                row,
                None,
                format!("只有联系人，并入第 {first} 行的商铺"),
                format!("only people: joined to the shop of row {first}"),
            )
            .with_other_row(first),
        );
        for (at, column) in self.columns.iter().enumerate() {
            let Some(cell) = cells.get(at).filter(|cell| !cell.is_empty()) else {
                continue;
            };
            let repeated = self.above.cells.get(at) == Some(cell);
            let is_person = matches!(column.target, ColumnTarget::Contact { .. });
            if repeated && !is_person {
                continue;
            }
            shop.cells.push((column.heading.clone(), cell.clone()));
            if !is_person && said.get(at).is_some_and(|cell| !cell.is_empty()) {
                self.report(
                    ProblemCode::CellNotTaken,
                    row,
                    Some(&column.heading),
                    format!(
                        "本行只有联系人，“{}”未写入第 {first} 行的商铺",
                        column.heading
                    ),
                    format!(
                        "a row of people only: “{}” was not written to the shop of row {first}",
                        column.heading
                    ),
                );
            }
        }
        self.above.row = row;
    }

    /// Hash of all cells but the running number, independent of the order of columns; equal rows are told apart by counting.
    fn identity(&self, cells: &[String], seen: &mut HashMap<[u8; 32], u32>) -> [u8; 32] {
        let mut pairs: Vec<(String, String)> = self
            .columns
            .iter()
            .zip(cells)
            .filter(|(column, cell)| {
                !matches!(column.target, ColumnTarget::Serial | ColumnTarget::Exported)
                    && !cell.is_empty()
            })
            .map(|(column, cell)| (column.heading.clone(), one_line(cell)))
            .collect();
        pairs.sort_unstable();
        let mut hash = Sha256::new_with_prefix(b"lianka roll row 1");
        for text in pairs.iter().flat_map(|(heading, cell)| [heading, cell]) {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        let same: [u8; 32] = hash.clone().finalize().into();
        let ordinal = seen.entry(same).or_insert(0);
        *ordinal += 1;
        if *ordinal == 1 {
            return same;
        }
        hash.update(ordinal.to_be_bytes());
        hash.finalize().into()
    }

    /// `cells`: as they are kept. `said`: without placeholders.
    fn shop(&mut self, row: u32, cells: &[String], said: &[String]) -> RollRow {
        let kept = self
            .columns
            .iter()
            .zip(cells)
            .filter(|(_, cell)| !cell.is_empty());
        let mut shop = RollRow {
            row,
            identity: [0; 32],
            grid: None,
            values: Vec::new(),
            contacts: Vec::new(),
            note: None,
            cells: kept
                .map(|(column, cell)| (column.heading.clone(), cell.clone()))
                .collect(),
        };
        self.names(&mut shop, said);
        self.texts(&mut shop, said);
        self.address(&mut shop, said);
        self.point(&mut shop, said);
        self.occupancy(&mut shop, said);
        self.tags(&mut shop, said);
        self.days(&mut shop, said);
        self.last_visit(&mut shop, said);
        self.grid(&mut shop, said);
        self.contacts(&mut shop, said);
        self.note(&mut shop, said);
        self.custom(&mut shop, said);
        sound(
            &mut shop,
            self.columns,
            self.street.now.map_or(Said::Somewhen, Said::AtOffice),
            &mut self.problems,
        );
        shop
    }

    /// Adds a text value if the catalogue takes it; says so if not.
    fn put(&mut self, shop: &mut RollRow, key: &str, value: String, heading: &str) -> bool {
        let accepted = self.accepted(shop.row, key, &value, heading);
        if accepted {
            shop.values.push((key.to_owned(), RollValue::Text(value)));
        }
        accepted
    }

    /// Adds a text value of the field of this meaning.
    fn put_field(&mut self, shop: &mut RollRow, meaning: Meaning, value: String, heading: &str) {
        if let Some(field) = field(meaning) {
            self.put(shop, field.name, value, heading);
        }
    }

    fn accepted(&mut self, row: u32, key: &str, value: &str, heading: &str) -> bool {
        let verdict = match Kind::ShopCard.field(key) {
            Some((field, _)) => check_value(field, &Scalar::Str(value.to_owned())),
            None => Err(FieldError::Unknown),
        };
        match verdict {
            Ok(()) => true,
            Err(FieldError::TooLong(max)) => {
                self.report(
                    ProblemCode::ValueTooLong,
                    row,
                    Some(heading),
                    format!("超过 {max} 个字符，未写入字段"),
                    format!("longer than {max} characters: kept in the cells only"),
                );
                false
            }
            Err(error) => {
                self.report(
                    ProblemCode::ValueRefused,
                    row,
                    Some(heading),
                    "内容不符合字段要求，未写入字段",
                    format!("refused by the field ({})", error.code()),
                );
                false
            }
        }
    }

    fn names(&mut self, shop: &mut RollRow, cells: &[String]) {
        match self.cell(cells, Meaning::TradeName) {
            Some((name, heading)) => {
                if occupancy(&name) == Some("空置") {
                    self.report(
                        ProblemCode::SignNameVacant,
                        shop.row,
                        Some(heading),
                        format!("店招写的是“{name}”：如果是空铺，请填在经营状态里"),
                        format!("the shop sign says “{name}”: if the premises are vacant, please say so under occupancy"),
                    );
                }
                self.put_field(shop, Meaning::TradeName, name, heading);
            }
            None => self.report(
                ProblemCode::SignNameMissing,
                shop.row,
                self.heading(Meaning::TradeName),
                "没有店招",
                "no shop sign",
            ),
        }
        let Some((_, column)) = self.at(Meaning::CreditCode) else {
            return;
        };
        let heading = column.heading.as_str();
        let Some((typed, _)) = self.cell(cells, Meaning::CreditCode) else {
            self.report(
                ProblemCode::CreditCodeMissing,
                shop.row,
                Some(heading),
                "没有统一社会信用代码",
                "no credit code",
            );
            return;
        };
        let code = credit_code::check(&typed);
        match code.verdict {
            Verdict::Valid => {}
            Verdict::WrongShape => self.report(
                ProblemCode::CreditCodeShape,
                shop.row,
                Some(heading),
                format!("“{typed}”不是 18 位统一社会信用代码"),
                format!("“{typed}” is not a credit code of 18 characters"),
            ),
            Verdict::WrongCheck { expected } => self.report(
                ProblemCode::CreditCodeCheck,
                shop.row,
                Some(heading),
                format!("“{}”校验位不对，按前 17 位应为 {expected}", code.normalised),
                format!(
                    "the check character of “{}” is wrong; the first 17 call for {expected}",
                    code.normalised
                ),
            ),
        }
        let stored = if code.normalised.is_empty() {
            typed
        } else {
            code.normalised
        };
        self.put_field(shop, Meaning::CreditCode, stored, heading);
    }

    /// Fields that are stored as they are typed.
    fn texts(&mut self, shop: &mut RollRow, cells: &[String]) {
        for (at, column) in self.columns.iter().enumerate() {
            let ColumnTarget::Field(field) = column.target else {
                continue;
            };
            let as_typed = matches!(field.rule, Rule::Text(_))
                && field.shape == Shape::Register
                && matches!(
                    field.meaning,
                    Meaning::LegalName | Meaning::Text | Meaning::Remark
                );
            if let (true, Some(cell)) = (as_typed, cells.get(at).map(|cell| one_line(cell)))
                && !cell.is_empty()
            {
                self.put(shop, field.name, cell, &column.heading);
            }
        }
    }

    fn address(&mut self, shop: &mut RollRow, cells: &[String]) {
        let part = |meaning: Meaning| self.cell(cells, meaning).map(|(text, _)| text);
        let whole = part(Meaning::Address);
        let (road, lane, number) = (part(ROAD), part(LANE), part(NUMBER));
        let (suffix, unit) = (part(SUFFIX), part(UNIT));
        let named = composed(
            road.as_deref(),
            lane.as_deref(),
            number.as_deref(),
            suffix.as_deref(),
            unit.as_deref(),
        );
        let column = self
            .heading(Meaning::Address)
            .or_else(|| self.heading(ROAD))
            .or_else(|| self.heading(NUMBER));
        let heading = column.unwrap_or_default();
        let mut raw = whole.clone().unwrap_or_else(|| named.clone());
        if raw.is_empty() {
            self.report(
                ProblemCode::AddressMissing,
                shop.row,
                column,
                "没有地址",
                "no address",
            );
            return;
        }
        let mut address = Address::parse(&raw, self.street.roads);
        if whole.is_some() && !named.is_empty() {
            // Columns of their own say what the whole address leaves out.
            let parts = Address::parse(&named, self.street.roads);
            if address.road.is_none() {
                (address.road, address.road_known) = (parts.road, parts.road_known);
            }
            address.lane = address.lane.or(parts.lane);
            if address.number.is_none() {
                (address.number, address.number_suffix) =
                    (parts.number, parts.number_suffix.or(address.number_suffix));
            }
            address.unit = address.unit.or(parts.unit);
        }
        if let (None, None, Some(band)) = (&address.road, &road, &self.above.road) {
            raw = format!("{band}{raw}");
            address = Address::parse(&raw, self.street.roads);
        }
        self.unread(shop.row, column, &address, &raw);
        self.put_field(shop, Meaning::Address, raw.clone(), heading);
        if !address.road_known && !self.street.roads.is_empty() {
            let (zh, en) = match &address.road {
                Some(road) => (
                    format!("“{road}”不在街道路名表中"),
                    format!("“{road}” is not in the street's road table"),
                ),
                None => (
                    format!("“{raw}”中找不到路名"),
                    format!("no road found in “{raw}”"),
                ),
            };
            self.report(ProblemCode::RoadUnknown, shop.row, column, zh, en);
        }
        if let Some(door) = address.door_key() {
            self.same_door(shop.row, column, door, &raw);
        }
        let registers = [
            (ROAD, address.road),
            (LANE, address.lane),
            (NUMBER, address.number),
            (SUFFIX, address.number_suffix),
            (UNIT, address.unit),
        ];
        for (meaning, value) in registers {
            if let Some(value) = value {
                self.put_field(shop, meaning, value, heading);
            }
        }
    }

    /// Says what of an address was not understood.
    fn unread(&mut self, row: u32, column: Option<&str>, address: &Address, raw: &str) {
        let rest = address.rest.as_deref().unwrap_or_default();
        let raw = masked_text(raw);
        if address.number.is_none() && address.lane.is_none() {
            self.report(
                ProblemCode::HouseNumberUnreadable,
                row,
                column,
                format!("“{raw}”中没有能识别的门牌号，请写成“某某路123号”"),
                format!("no house number could be read in “{raw}”; write it as 某某路123号"),
            );
        } else if rest.chars().any(|c| c.is_ascii_digit()) {
            let rest = masked_text(rest);
            self.report(
                ProblemCode::AddressPartUnread,
                row,
                column,
                format!("地址中的“{rest}”没有识别，只保留在原始地址里"),
                format!("“{rest}” was not understood and stays in the address as typed only"),
            );
        }
    }

    /// Both rows of a pair are told; of more rows each later one is told of the first, and the first of the second.
    fn same_door(&mut self, row: u32, column: Option<&str>, door: DoorKey, raw: &str) {
        let (first, reported) = *self.doors.entry(door.clone()).or_insert((row, false));
        if first == row {
            return;
        }
        self.doors.insert(door, (first, true));
        let pairs = [(!reported).then_some((first, row)), Some((row, first))];
        for (here, there) in pairs.into_iter().flatten() {
            let zh = format!("与第 {there} 行是同一门牌（{raw}）");
            let en = format!("the same door as row {there} ({raw})");
            self.problems.push(
                Problem::new(ProblemCode::SameDoorTwice, here, column, zh, en)
                    .with_other_row(there),
            );
        }
    }

    fn point(&mut self, shop: &mut RollRow, cells: &[String]) {
        let read: Option<(String, &str, Crs)> = match self.at(Place::Point) {
            Some((_, column)) => match column.target {
                ColumnTarget::Point(Some(crs)) => self
                    .cell(cells, Place::Point)
                    .map(|(cell, heading)| (cell, heading, crs)),
                _ => None,
            },
            None => self.at(Place::Longitude).and_then(|(_, column)| {
                let crs_of_latitude = self
                    .at(Place::Latitude)
                    .and_then(|(_, c)| crs_of(&c.target));
                let crs = crs_of(&column.target).or(crs_of_latitude)?;
                let (lon, heading) = self.cell(cells, Place::Longitude)?;
                let (lat, _) = self.cell(cells, Place::Latitude)?;
                Some((format!("{lon},{lat}"), heading, crs))
            }),
        };
        let Some((cell, heading, crs)) = read else {
            return;
        };
        match GeoPoint::parse_cell(&cell, crs) {
            Ok(point) => {
                self.put_field(shop, Meaning::Point, point.to_string(), heading);
            }
            Err(_) => self.report(
                ProblemCode::PointUnreadable,
                shop.row,
                Some(heading),
                format!("“{cell}”不是“经度,纬度”"),
                format!("“{cell}” is not longitude and latitude"),
            ),
        }
    }

    fn occupancy(&mut self, shop: &mut RollRow, cells: &[String]) {
        let Some((typed, heading)) = self.cell(cells, Meaning::Choice) else {
            return;
        };
        match occupancy(&typed) {
            Some(value) => {
                self.put_field(shop, Meaning::Choice, value.to_owned(), heading);
            }
            None => self.report(
                ProblemCode::OccupancyUnknown,
                shop.row,
                Some(heading),
                format!("“{typed}”不是营业、装修、空置或关闭"),
                format!("“{typed}” is none of open (营业), fitting out (装修), vacant (空置), closed (关闭)"),
            ),
        }
    }

    fn tags(&mut self, shop: &mut RollRow, cells: &[String]) {
        let (Some((typed, _)), Some(field)) = (self.cell(cells, Meaning::Tag), field(Meaning::Tag))
        else {
            return;
        };
        for tag in listed(&typed) {
            // A slash would end the key's member; longer ones stay in the cells.
            let key = format!("{}/{tag}", field.name);
            if tag.chars().count() <= lianka_sync_core::limits::MEMBER_CHARS_MAX
                && !shop.values.iter().any(|(k, _)| *k == key)
            {
                shop.values.push((key, RollValue::Flag));
            }
        }
    }

    /// Days that are values of fields.
    fn days(&mut self, shop: &mut RollRow, cells: &[String]) {
        let Some((typed, heading)) = self.cell(cells, Meaning::Date) else {
            return;
        };
        match date::parse(&typed) {
            Some(day) => self.put_field(shop, Meaning::Date, date::to_iso(day), heading),
            None => self.report(
                ProblemCode::DateUnreadable,
                shop.row,
                Some(heading),
                format!("“{typed}”不是可识别的日期"),
                format!("“{typed}” is not a date that can be read"),
            ),
        }
    }

    fn last_visit(&mut self, shop: &mut RollRow, cells: &[String]) {
        let (Some((typed, heading)), Some(field)) = (
            self.cell(cells, Meaning::Confirmation),
            field(Meaning::Confirmation),
        ) else {
            return;
        };
        match date::parse(&typed) {
            Some(day) => shop.values.push((
                format!("{}/{}", field.name, date::to_iso(day)),
                RollValue::Flag,
            )),
            None => self.report(
                ProblemCode::DateUnreadable,
                shop.row,
                Some(heading),
                format!("“{typed}”不是可识别的日期"),
                format!("“{typed}” is not a date that can be read"),
            ),
        }
    }

    fn grid(&mut self, shop: &mut RollRow, cells: &[String]) {
        let columns = (self.heading(Meaning::Grid), self.heading(Place::Area));
        let by_band = self.above.grid.is_some() || self.above.area.is_some();
        let heading = columns.0.or(columns.1);
        if heading.is_none() && !by_band {
            return;
        }
        let area = self
            .cell(cells, Place::Area)
            .map(|(text, _)| text)
            .or_else(|| self.above.area.clone())
            .unwrap_or_default();
        let grid = self
            .cell(cells, Meaning::Grid)
            .map(|(text, _)| text)
            .unwrap_or_default();
        let said_here = !grid.is_empty() || self.cell(cells, Place::Area).is_some();
        shop.grid = match (&self.above.grid, said_here) {
            (Some(band), false) => Some(band.clone()),
            _ => matching_grid(&area, &grid, &self.grids),
        };
        if shop.grid.is_none() {
            let said = format!("{area} {grid}").trim().to_owned();
            let (zh, en) = if said.is_empty() {
                ("没有网格".to_owned(), "no grid".to_owned())
            } else {
                (
                    format!("“{said}”不是本街道的网格"),
                    format!("“{said}” is no grid of the street"),
                )
            };
            self.report(ProblemCode::GridUnknown, shop.row, heading, zh, en);
        }
    }

    fn contacts(&mut self, shop: &mut RollRow, cells: &[String]) {
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
        let key = format!(
            "{CONTACTS}/00000000-0000-0000-0000-000000000000/{}",
            field.name
        );
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

    /// The cells without identity numbers and the like, as they are read, and as they are kept: with asterisks. Whatever a cell is for, this is looked
    /// at first.
    fn without_persons(&mut self, row: u32, cells: &[String]) -> (Vec<String>, Vec<String>) {
        let (mut read, mut kept) = (cells.to_vec(), cells.to_vec());
        for (at, cell) in cells.iter().enumerate() {
            let column = self.columns.get(at);
            let heading = column.map_or("", |column| column.heading.as_str());
            let numbers = personal::find_under(heading, cell);
            let mut kinds: Vec<TextWarningKind> =
                numbers.iter().map(|number| number.kind).collect();
            kinds.sort_unstable();
            kinds.dedup();
            // A column of sensitive data is reported as a whole, and none of it is kept.
            if column.is_some_and(|column| column.target != ColumnTarget::Sensitive) {
                for kind in kinds {
                    let withheld = numbers.iter().any(|n| n.kind == kind && n.certain);
                    let (zh, en) = personal_words(kind, withheld);
                    self.report(ProblemCode::PersonalNumber, row, Some(heading), zh, en);
                }
            }
            let withheld: Vec<_> = numbers
                .into_iter()
                .filter(|number| number.certain)
                .collect();
            if withheld.is_empty() {
                continue;
            }
            kept[at] = masked(cell, &withheld);
            let is_prose = column.is_some_and(|column| match column.target {
                ColumnTarget::Custom(_) => true,
                ColumnTarget::Field(field) => {
                    matches!(
                        field.meaning,
                        Meaning::Note | Meaning::Remark | Meaning::Text
                    )
                }
                _ => false,
            });
            read[at] = if is_prose && kept[at].chars().any(char::is_alphanumeric) {
                kept[at].clone()
            } else {
                let words: String = kept[at]
                    .chars()
                    .map(|c| if c == '*' { ' ' } else { c })
                    .collect();
                let is_around = |c: char| {
                    c.is_whitespace()
                        || matches!(c, '/' | '、' | ',' | '，' | ';' | '；' | ':' | '：')
                };
                words.trim_matches(is_around).to_owned()
            };
        }
        (read, kept)
    }

    fn note(&mut self, shop: &mut RollRow, cells: &[String]) {
        let Some((at, column)) = self.at(Meaning::Note) else {
            return;
        };
        let Some(note) = cells
            .get(at)
            .map(|c| many_lines(c))
            .filter(|n| !n.is_empty())
        else {
            return;
        };
        self.personal_numbers(shop.row, &note, &column.heading);
        if text::char_count(&note) > NOTE_CHARS_MAX {
            self.report(
                ProblemCode::ValueTooLong,
                shop.row,
                Some(&column.heading),
                format!("超过 {NOTE_CHARS_MAX} 个字符，未写入字段"),
                format!("longer than {NOTE_CHARS_MAX} characters: kept in the cells only"),
            );
        } else {
            shop.note = Some(note);
        }
    }

    /// Numbers of persons were found before anything else; here it is telephone numbers.
    fn personal_numbers(&mut self, row: u32, text: &str, heading: &str) {
        for warning in text::warnings(text) {
            if warning.kind == TextWarningKind::PhoneNumber {
                let (zh, en) = personal_words(warning.kind, false);
                self.report(ProblemCode::PersonalNumber, row, Some(heading), zh, en);
            }
        }
    }

    fn custom(&mut self, shop: &mut RollRow, cells: &[String]) {
        for (column, cell) in self.columns.iter().zip(cells) {
            let ColumnTarget::Custom(name) = &column.target else {
                continue;
            };
            let value = one_line(cell);
            if value.is_empty() {
                continue;
            }
            let value = match self.kinds.get(name.as_str()) {
                Some(CustomKind::Date) => date::parse(&value).map_or(value, date::to_iso),
                Some(CustomKind::Number) => number(&value).unwrap_or(value),
                _ => value,
            };
            self.personal_numbers(shop.row, &value, &column.heading);
            self.put(
                shop,
                &format!("{}/{name}", key::CUSTOM),
                value,
                &column.heading,
            );
        }
    }
}

/// The cells of one person, each with its heading.
#[derive(Default)]
struct PersonCells<'c> {
    group: &'c str,
    name: Option<(String, &'c str)>,
    phones: Vec<(String, &'c str)>,
    details: Vec<(&'static Field, String, &'c str)>,
}

/// The letters and digits of these numbers as asterisks.
fn masked(text: &str, numbers: &[PersonalNumber]) -> String {
    text.chars()
        .enumerate()
        .map(|(at, c)| {
            let hidden = numbers.iter().any(|number| number.chars.contains(&at));
            if hidden && c.is_alphanumeric() {
                '*'
            } else {
                c
            }
        })
        .collect()
}

/// What was found, in both languages, and what became of it.
fn personal_words(kind: TextWarningKind, withheld: bool) -> (String, String) {
    let (zh, en) = match kind {
        TextWarningKind::IdentityNumber => ("身份证号码", "an identity number"),
        TextWarningKind::BankCard => ("银行卡号", "the number of a bank card"),
        TextWarningKind::Passport => ("护照号码", "the number of a passport"),
        TextWarningKind::Permit => ("通行证或居住证号码", "the number of a permit"),
        TextWarningKind::PhoneNumber => {
            return (
                "文字中有电话号码，请移到联系人".to_owned(),
                "a telephone number within the text: please move it to a contact".to_owned(),
            );
        }
    };
    if withheld {
        (
            format!("填有{zh}，没有导入，请在表中删去并核对这一格应填的内容"),
            format!(
                "{en} stands here and was not imported: please remove it from the sheet and check what belongs there"
            ),
        )
    } else {
        (
            format!("像是{zh}，如果是，请删去"),
            format!("this looks like {en}: please remove it if it is"),
        )
    }
}

fn crs_of(target: &ColumnTarget) -> Option<Crs> {
    match target {
        ColumnTarget::Point(crs) | ColumnTarget::Longitude(crs) | ColumnTarget::Latitude(crs) => {
            *crs
        }
        _ => None,
    }
}

/// One address from columns of its parts; each part may carry its word (弄, 号) or not, and a number may repeat the road.
fn composed(
    road: Option<&str>,
    lane: Option<&str>,
    number: Option<&str>,
    suffix: Option<&str>,
    unit: Option<&str>,
) -> String {
    let ends_in_digit = |text: &str| text::half_width(text).ends_with(|c: char| c.is_ascii_digit());
    let mut out = road.unwrap_or_default().to_owned();
    if let Some(lane) = lane {
        out.push_str(lane);
        out.push_str(if ends_in_digit(lane) { "弄" } else { "" });
    }
    if let Some(number) = number {
        if !out.is_empty() && number.starts_with(&out) {
            out.clear();
        }
        out.push_str(number);
        out.push_str(if number.contains(['号', '號', '弄']) {
            ""
        } else {
            "号"
        });
    }
    out.push_str(suffix.unwrap_or_default());
    if let Some(unit) = unit {
        out.push_str(unit);
        out.push_str(if ends_in_digit(unit) { "室" } else { "" });
    }
    out
}
