//! Where a shop is: its address and door, its point, its grid.

use lianka_sync_core::{
    kinds::Meaning,
    values::{
        address::{Address, DoorKey, chinese_number},
        geo::{Crs, GeoPoint},
        text,
    },
};

use super::reader::{LANE, NUMBER, Place, ROAD, Reader, SUFFIX, UNIT};
use lianka_office_core::roll::masks::masked_text;

use crate::{ColumnTarget, Problem, ProblemCode, RollRow, grids::matching_grid};

impl Reader<'_> {
    pub(super) fn address(&mut self, shop: &mut RollRow, cells: &[String]) {
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

    pub(super) fn point(&mut self, shop: &mut RollRow, cells: &[String]) {
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

    pub(super) fn grid(&mut self, shop: &mut RollRow, cells: &[String]) {
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
    // 一百二十三 in a column of lanes or rooms is a number as well.
    let ends_in_digit = |text: &str| {
        text::half_width(text).ends_with(|c: char| c.is_ascii_digit())
            || chinese_number(text.trim()).is_some()
    };
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
