//! Rows of a sheet whose headings are known → values of cards, and what is doubtful about them.

use std::collections::HashMap;

use lianka_sync_core::{
    access::FieldError,
    authority::check_value,
    codec::change::Scalar,
    kinds::{Kind, Meaning, Rule, Shape, key, kind::AddressPart, shop_card::CONTACTS},
    limits::NOTE_CHARS_MAX,
    search::fold,
    values::{
        address::{Address, DoorKey},
        credit_code::{self, Verdict},
        date,
        geo::{Crs, GeoPoint},
        phone,
        text::{self, TextWarningKind},
    },
};
use sha2::{Digest, Sha256};

use crate::roll::sheet::{
    ColumnTarget, CustomKind, Problem, ProblemCode, RollColumn, RollContact, RollError, RollPlan,
    RollRow, RollValue, Sheet, StreetTables,
    cell::{many_lines, one_line},
    custom::{custom_fields, number},
    grids::{GridNames, matching_grid},
    headings::{self, Header, NAMES_SHOP, field},
};

pub(crate) fn plan(
    sheets: &[Sheet],
    header: &Header,
    street: &StreetTables<'_>,
) -> Result<RollPlan, RollError> {
    let sheet = sheets.get(header.sheet).ok_or(RollError::NoHeader)?;
    let (header_row, heading_cells) = sheet.rows.get(header.row).ok_or(RollError::NoHeader)?;
    let below = &sheet.rows[header.row + 1..];
    let columns = columns(heading_cells, below);
    let custom_fields = custom_fields(&columns, below);
    let mut reader = Reader {
        columns: &columns,
        street,
        header_row: *header_row,
        problems: Vec::new(),
        grids: street.grids.iter().map(GridNames::of).collect(),
        kinds: custom_fields
            .iter()
            .map(|f| (f.name.as_str(), &f.kind))
            .collect(),
        doors: HashMap::new(),
    };
    reader.look_at_columns(header.other_sheet.and_then(|at| sheets.get(at)));
    let mut rows = Vec::new();
    let mut seen: HashMap<[u8; 32], u32> = HashMap::new();
    let mut total_rows = 0;
    for (row, cells) in below {
        match reader.kind_of(cells, heading_cells) {
            RowKind::Shop => {
                let mut shop = reader.shop(*row, cells);
                shop.identity = reader.identity(cells, &mut seen);
                rows.push(shop);
            }
            RowKind::Total => total_rows += 1,
            RowKind::RepeatedHeader => {}
            RowKind::Other => reader.skipped(*row, cells),
        }
    }
    let last_row = below.last().map_or(*header_row, |(row, _)| *row);
    let blank_rows = ((last_row - header_row) as usize).saturating_sub(below.len());
    let Reader { mut problems, .. } = reader;
    problems.sort_by_key(|p| p.row);
    Ok(RollPlan {
        sheet: sheet.name.clone(),
        header_row: *header_row,
        columns,
        custom_fields,
        rows,
        problems,
        blank_rows,
        total_rows,
    })
}

/// Columns that have a heading or a value, each with its place in the sheet.
fn columns(heading_cells: &[String], below: &[(u32, Vec<String>)]) -> Vec<RollColumn> {
    let width = below
        .iter()
        .map(|(_, cells)| cells.len())
        .max()
        .unwrap_or(0)
        .max(heading_cells.len());
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
    Total,
    RepeatedHeader,
    Other,
}

struct Reader<'a> {
    columns: &'a [RollColumn],
    street: &'a StreetTables<'a>,
    header_row: u32,
    problems: Vec<Problem>,
    grids: Vec<GridNames>,
    kinds: HashMap<&'a str, &'a CustomKind>,
    /// First row of each door, and whether it was told of a second one.
    doors: HashMap<DoorKey, (u32, bool)>,
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
                _ => {}
            }
        }
    }

    fn kind_of(&self, cells: &[String], heading_cells: &[String]) -> RowKind {
        if cells == heading_cells {
            return RowKind::RepeatedHeader;
        }
        let has = |meanings: &[Meaning]| meanings.iter().any(|of| self.cell(cells, *of).is_some());
        let says_total = cells.iter().filter(|c| !c.is_empty()).take(3).any(|c| {
            let word = fold(c);
            word.chars().count() <= 12
                && [
                    "合计",
                    "总计",
                    "小计",
                    "共计",
                    "总数",
                    "total",
                    "subtotal",
                    "grandtotal",
                ]
                .iter()
                .any(|w| word.starts_with(w))
        });
        if says_total
            && !has(&[
                Meaning::Address,
                ROAD,
                Meaning::LegalName,
                Meaning::CreditCode,
            ])
        {
            return RowKind::Total;
        }
        // A number says where only if it carries its road.
        let number_with_road = self.at(ROAD).is_none() && has(&[NUMBER]);
        if has(&NAMES_SHOP) || number_with_road {
            RowKind::Shop
        } else {
            RowKind::Other
        }
    }

    fn skipped(&mut self, row: u32, cells: &[String]) {
        let first: String = cells
            .iter()
            .find(|c| !c.is_empty())
            .map(|c| one_line(c))
            .unwrap_or_default()
            .chars()
            .take(40)
            .collect();
        self.report(
            ProblemCode::RowSkipped,
            row,
            None,
            format!("没有店招、登记名称、代码或地址，未导入：{first}"),
            format!("names no shop, neither sign, registered name, code nor address; not imported: {first}"),
        );
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

    fn shop(&mut self, row: u32, cells: &[String]) -> RollRow {
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
        self.names(&mut shop, cells);
        self.texts(&mut shop, cells);
        self.address(&mut shop, cells);
        self.point(&mut shop, cells);
        self.occupancy(&mut shop, cells);
        self.tags(&mut shop, cells);
        self.last_visit(&mut shop, cells);
        self.grid(&mut shop, cells);
        self.contacts(&mut shop, cells);
        self.note(&mut shop, cells);
        self.custom(&mut shop, cells);
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
        let composed = composed(
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
        let raw = whole.clone().unwrap_or_else(|| composed.clone());
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
        if whole.is_some() && !composed.is_empty() {
            // Columns of their own say what the whole address leaves out.
            let parts = Address::parse(&composed, self.street.roads);
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
        for tag in typed
            .split(['、', ',', '，', ';', '；', '|', '/'])
            .map(str::trim)
            .filter(|t| !t.is_empty())
        {
            // A slash would end the key's member; longer ones stay in the cells.
            let key = format!("{}/{tag}", field.name);
            if tag.chars().count() <= lianka_sync_core::limits::MEMBER_CHARS_MAX
                && !shop.values.iter().any(|(k, _)| *k == key)
            {
                shop.values.push((key, RollValue::Flag));
            }
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
        let Some(heading) = columns.0.or(columns.1) else {
            return;
        };
        let area = self
            .cell(cells, Place::Area)
            .map(|(text, _)| text)
            .unwrap_or_default();
        let grid = self
            .cell(cells, Meaning::Grid)
            .map(|(text, _)| text)
            .unwrap_or_default();
        shop.grid = matching_grid(&area, &grid, &self.grids);
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
            self.report(ProblemCode::GridUnknown, shop.row, Some(heading), zh, en);
        }
    }

    fn contacts(&mut self, shop: &mut RollRow, cells: &[String]) {
        let mut contacts: Vec<(&str, RollContact)> = Vec::new();
        for (at, column) in self.columns.iter().enumerate() {
            let ColumnTarget::Contact { group, part } = &column.target else {
                continue;
            };
            let Some(cell) = cells.get(at).map(|c| one_line(c)).filter(|c| !c.is_empty()) else {
                continue;
            };
            let value = match part.meaning {
                Meaning::Telephone => self.phones(shop.row, &cell, &column.heading),
                _ => cell,
            };
            let key = format!(
                "{CONTACTS}/00000000-0000-0000-0000-000000000000/{}",
                part.name
            );
            if value.is_empty() || !self.accepted(shop.row, &key, &value, &column.heading) {
                continue;
            }
            let place = contacts
                .iter()
                .position(|(g, _)| *g == group.as_str())
                .unwrap_or_else(|| {
                    contacts.push((group, RollContact::default()));
                    contacts.len() - 1
                });
            contacts[place].1.set(part, value);
        }
        // A landline in a column of its own belongs to the ordinary contact.
        if contacts.len() > 1
            && let Some(at) = contacts.iter().position(|(group, _)| *group == "座机")
        {
            let (_, landline) = contacts.remove(at);
            let (_, first) = &mut contacts[0];
            let joined: Vec<&str> = [
                first.get(Meaning::Telephone),
                landline.get(Meaning::Telephone),
            ]
            .into_iter()
            .flatten()
            .collect();
            let joined = joined.join("/");
            if let (false, Some(field)) = (joined.is_empty(), field(Meaning::Telephone)) {
                first.set(field, joined);
            }
        }
        for (group, contact) in &mut contacts {
            let role: String = group
                .trim_end_matches(|c: char| c.is_ascii_digit())
                .to_owned();
            if let (None, Some(field), false) = (
                contact.get(Meaning::PersonRole),
                field(Meaning::PersonRole),
                matches!(role.as_str(), "" | "备用" | "座机" | "老板"),
            ) {
                contact.set(field, role);
            }
        }
        shop.contacts = contacts
            .into_iter()
            .map(|(_, contact)| contact)
            .filter(|contact| {
                [Meaning::PersonName, Meaning::Telephone]
                    .iter()
                    .any(|meaning| contact.get(*meaning).is_some())
            })
            .collect();
    }

    fn phones(&mut self, row: u32, cell: &str, heading: &str) -> String {
        let phones = phone::parse(cell);
        for doubtful in phones.iter().filter(|p| !p.is_recognised()) {
            let raw = &doubtful.raw;
            let digits = doubtful.digits.len();
            self.report(
                ProblemCode::PhoneShape,
                row,
                Some(heading),
                format!("“{raw}”不像电话号码（{digits} 位数字）"),
                format!("“{raw}” does not look like a telephone number ({digits} digits)"),
            );
        }
        phone::canonical(&phones)
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

    fn personal_numbers(&mut self, row: u32, text: &str, heading: &str) {
        for warning in text::warnings(text) {
            let (zh, en) = match warning.kind {
                TextWarningKind::IdentityNumber => (
                    "文字中有身份证号码，请删去",
                    "an identity number within the text: please remove it",
                ),
                TextWarningKind::PhoneNumber => (
                    "文字中有电话号码，请移到联系人",
                    "a telephone number within the text: please move it to a contact",
                ),
            };
            self.report(ProblemCode::PersonalNumber, row, Some(heading), zh, en);
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

fn occupancy(typed: &str) -> Option<&'static str> {
    let word = fold(typed);
    let value = match word.as_str() {
        "营业" | "营业中" | "正常" | "正常营业" | "在营" | "开业" | "经营" | "经营中"
        | "正常经营" | "在业" | "试营业" | "开" | "open" | "trading" | "operating" => {
            "营业"
        }
        "装修" | "装修中" | "装潢" | "改造" | "改造中" | "筹备" | "筹备中" | "fittingout"
        | "renovation" | "renovating" | "refurbishing" => "装修",
        "空置" | "空" | "空铺" | "空关" | "空店" | "闲置" | "待租" | "招租" | "招租中" | "无人"
        | "vacant" | "empty" => "空置",
        "关闭" | "关店" | "关门" | "已关闭" | "停业" | "已停业" | "歇业" | "暂停营业" | "倒闭"
        | "关停" | "注销" | "已注销" | "关" | "closed" | "shut" => "关闭",
        _ => return None,
    };
    Some(value)
}
