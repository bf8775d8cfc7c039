//! What is known while a sheet is read from the top, and what every part of the reading asks: a cell by what its column means, a value that the
//! catalogue takes, a problem.

use std::collections::{HashMap, HashSet};

use lianka_sync_core::{
    access::FieldError,
    authority::check_value,
    codec::change::Scalar,
    kinds::{Class, Kind, Meaning, kind::AddressPart},
    values::address::DoorKey,
};

use super::Table;
use crate::{
    ColumnTarget, CustomKind, Problem, ProblemCode, RollColumn, RollRow, RollValue, StreetTables,
    cell::one_line, grids::GridNames, target::field,
};

/// What the rows above say of the next one.
#[derive(Default)]
pub(super) struct Above {
    /// The shop before: its row, or that of the people who were joined to it, its cells, and the same without placeholders.
    pub(super) row: u32,
    pub(super) cells: Vec<String>,
    pub(super) said: Vec<String>,
    /// The row before was a footer or a note.
    pub(super) passed: bool,
    pub(super) road: Option<String>,
    pub(super) grid: Option<String>,
    pub(super) area: Option<String>,
}

pub(super) struct Reader<'a> {
    pub(super) columns: &'a [RollColumn],
    pub(super) street: &'a StreetTables<'a>,
    pub(super) header_row: u32,
    pub(super) problems: Vec<Problem>,
    pub(super) grids: Vec<GridNames>,
    pub(super) kinds: HashMap<&'a str, &'a CustomKind>,
    /// Custom fields that hold personal data.
    pub(super) personal: HashSet<&'a str>,
    /// First row of each door, and whether it was told of a second one.
    pub(super) doors: HashMap<DoorKey, (u32, bool)>,
    pub(super) above: Above,
    /// Under headings of another order: of each cell its column, and the headings.
    pub(super) moved: Option<(Vec<Option<usize>>, Vec<String>)>,
}

impl Above {
    pub(super) fn shop(&mut self, row: u32, cells: Vec<String>, said: Vec<String>) {
        (self.row, self.cells, self.said) = (row, cells, said);
    }

    pub(super) fn is_next(&self, row: u32) -> bool {
        self.row > 0 && self.row + 1 == row
    }
}

/// What a column is looked for by.
#[derive(Clone, Copy)]
pub(super) enum Place {
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

pub(super) const ROAD: Meaning = Meaning::AddressPart(AddressPart::Road);
pub(super) const LANE: Meaning = Meaning::AddressPart(AddressPart::Lane);
pub(super) const NUMBER: Meaning = Meaning::AddressPart(AddressPart::Number);
pub(super) const SUFFIX: Meaning = Meaning::AddressPart(AddressPart::Suffix);
pub(super) const UNIT: Meaning = Meaning::AddressPart(AddressPart::Unit);

impl<'a> Reader<'a> {
    /// Before the first row.
    pub(super) fn of(table: &'a Table, street: &'a StreetTables<'a>) -> Self {
        let own = &table.custom_fields;
        Self {
            columns: &table.columns,
            street,
            header_row: table.header_row,
            problems: Vec::new(),
            grids: street.grids.iter().map(GridNames::of).collect(),
            kinds: own.iter().map(|f| (f.name.as_str(), &f.kind)).collect(),
            personal: own
                .iter()
                .filter(|field| field.class >= Class::P2)
                .map(|field| field.name.as_str())
                .collect(),
            doors: HashMap::new(),
            above: Above::default(),
            moved: None,
        }
    }

    pub(super) fn at(&self, place: impl Into<Place>) -> Option<(usize, &'a RollColumn)> {
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
    pub(super) fn cell(
        &self,
        cells: &[String],
        place: impl Into<Place>,
    ) -> Option<(String, &'a str)> {
        let (at, column) = self.at(place)?;
        let text = one_line(cells.get(at)?);
        (!text.is_empty()).then_some((text, column.heading.as_str()))
    }

    pub(super) fn heading(&self, place: impl Into<Place>) -> Option<&'a str> {
        self.at(place).map(|(_, column)| column.heading.as_str())
    }

    pub(super) fn report(
        &mut self,
        code: ProblemCode,
        row: u32,
        column: Option<&str>,
        zh: impl Into<String>,
        en: impl Into<String>,
    ) {
        self.problems.push(Problem::new(code, row, column, zh, en));
    }

    /// Adds a text value if the catalogue takes it; says so if not.
    pub(super) fn put(
        &mut self,
        shop: &mut RollRow,
        key: &str,
        value: String,
        heading: &str,
    ) -> bool {
        let accepted = self.accepted(shop.row, key, &value, heading);
        if accepted {
            shop.values.push((key.to_owned(), RollValue::Text(value)));
        }
        accepted
    }

    /// Adds a text value of the field of this meaning.
    pub(super) fn put_field(
        &mut self,
        shop: &mut RollRow,
        meaning: Meaning,
        value: String,
        heading: &str,
    ) {
        if let Some(field) = field(meaning) {
            self.put(shop, field.name, value, heading);
        }
    }

    pub(super) fn accepted(&mut self, row: u32, key: &str, value: &str, heading: &str) -> bool {
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
}
