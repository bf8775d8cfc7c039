//! Street addresses: raw text → road, lane, number, suffix, unit; the order in which a street is walked; same-door keys.
//!
//! In: an address as typed and, if known, the street's road table. Out: the parts that were understood and the rest. The raw
//! text is stored beside the parts and is never lost, so an address that is not understood costs nothing but its order.

use std::cmp::Ordering;

use crate::search;
use crate::values::text::half_width;

/// The longest text that is taken apart; what lies beyond goes into `rest`.
const CHARS_MAX: usize = 200;

/// Suffixes of a house number in walking order; what stands further back comes later along the road.
const SUFFIXES: [&str; 12] = [
    "甲", "乙", "丙", "丁", "戊", "己", "庚", "辛", "壬", "癸", "临", "底层",
];

/// An address taken apart. Parts hold half-width text without white space.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    /// Road name, for example 天平路.
    pub road: Option<String>,
    /// Whether the road stands in the road table that was given.
    pub road_known: bool,
    /// Lane (弄) without the word: `123`, or `123弄4支` for a branch.
    pub lane: Option<String>,
    /// House number without 号: `378`, or a range as typed, `12-14`.
    pub number: Option<String>,
    /// 甲 乙 丙 丁 …, 临, 底层, 之一, a letter; `36乙号` and `36号乙` both give 乙.
    pub number_suffix: Option<String>,
    /// Room, floor or building: `2楼201室`.
    pub unit: Option<String>,
    /// What was not understood.
    pub rest: Option<String>,
}

/// Side of the street by the parity of the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Odd numbers (单号).
    Odd,
    /// Even numbers (双号).
    Even,
}

/// Sort key for walking a street: road, side, number, suffix, then the number inside a lane and the unit. Addresses without a
/// road or number come last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WalkOrder {
    road: (bool, String),
    side: (bool, Option<Side>),
    number: i32,
    suffix: Suffix,
    inner: (i32, Suffix),
    unit: String,
}

/// Suffix text ordered by its place along the road instead of by code point.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Suffix(String);

/// The normal form of a door: equal for two spellings of the same door (`徐汇区天平路３６号乙`, `天平路36乙号`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DoorKey(String);

impl Address {
    /// Takes an address apart. Known roads win by their longest name; without a table, or where no name of it fits, the
    /// road is what ends in 路, 街, 道 or 巷 before the first number.
    pub fn parse(text: &str, roads: &[&str]) -> Self {
        let plain: String = half_width(text)
            .chars()
            .filter(|c| !c.is_whitespace())
            .map(plain_sign)
            .collect();
        let cut = plain
            .char_indices()
            .nth(CHARS_MAX)
            .map_or(plain.len(), |(at, _)| at);
        let (plain, beyond) = plain.split_at(cut);
        let mut address = Self::default();
        let local = without_region(plain, roads);
        let mut rest = match known_road(local, roads) {
            Some((road, rest)) => {
                address.road = Some(road.to_owned());
                address.road_known = true;
                rest
            }
            None => match generic_road(local) {
                Some((road, rest)) => {
                    address.road = Some(road.to_owned());
                    rest
                }
                None => local,
            },
        };
        rest = address.take_lane(rest);
        rest = address.take_number(rest);
        rest = address.take_unit(rest);
        let rest = format!("{rest}{beyond}");
        address.rest = (!rest.is_empty()).then_some(rest);
        address
    }

    fn take_lane<'a>(&mut self, text: &'a str) -> &'a str {
        let digits = leading_digits(text);
        let (number, mut rest) = text.split_at(digits);
        let Some(after) = rest.strip_prefix('弄') else {
            return text;
        };
        if number.is_empty() {
            return text;
        }
        let mut lane = number.to_owned();
        rest = after;
        let (branch, after) = rest.split_at(leading_digits(rest));
        if let Some(after) = after.strip_prefix("支弄").filter(|_| !branch.is_empty()) {
            lane = format!("{number}弄{branch}支");
            rest = after;
        }
        self.lane = Some(lane);
        rest
    }

    fn take_number<'a>(&mut self, text: &'a str) -> &'a str {
        let (temporary, body) = match text.strip_prefix('临') {
            Some(body) if leading_digits(body) > 0 => (true, body),
            _ => (false, text),
        };
        let span = number_span(body);
        if span == 0 {
            return text;
        }
        let (number, rest) = body.split_at(span);
        let (mut suffix, mut rest) = leading_suffix(rest);
        // 201室 right after a lane is a unit, not a house number.
        if suffix.is_empty() && !temporary && starts_as_unit(rest) {
            return text;
        }
        if let Some(after) = rest.strip_prefix('号') {
            let (behind, after) = leading_suffix(after);
            suffix.push_str(&behind);
            rest = after;
        }
        if temporary && !suffix.contains('临') {
            suffix.insert(0, '临');
        }
        self.number = Some(number.to_owned());
        self.number_suffix = (!suffix.is_empty()).then_some(suffix);
        rest
    }

    fn take_unit<'a>(&mut self, text: &'a str) -> &'a str {
        if self.number.is_none() && self.lane.is_none() && self.road.is_none() {
            return text;
        }
        let body = text.trim_start_matches(['-', ',']);
        // Everything up to the last unit word within the leading run of what units are written with.
        let run = body.len()
            - body
                .trim_start_matches(|c: char| is_unit_char(c) || is_unit_word(c))
                .len();
        let end = body[..run]
            .char_indices()
            .filter(|&(_, c)| is_unit_word(c))
            .map(|(at, c)| at + c.len_utf8())
            .next_back();
        let bare = body.len()
            - body
                .trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '-')
                .len();
        let end = match end {
            Some(end) if end > leading_unit_word(body) => end,
            _ if bare > 0
                && bare == body.len()
                && (self.number.is_some() || self.lane.is_some()) =>
            {
                bare
            }
            _ => return text,
        };
        self.unit = Some(body[..end].to_owned());
        &body[end..]
    }

    /// Side of the street, if there is a number.
    pub fn side(&self) -> Option<Side> {
        side_of(self.number_order()?)
    }

    /// The number that decides the place along the road: the lane's, or the house's; of a range the first.
    pub fn number_order(&self) -> Option<i32> {
        self.lane
            .as_deref()
            .or(self.number.as_deref())
            .and_then(first_number)
    }

    /// The key that sorts a street into walking order.
    pub fn walk_order(&self) -> WalkOrder {
        WalkOrder::of(
            self.road.as_deref(),
            self.lane.as_deref(),
            self.number.as_deref(),
            self.number_suffix.as_deref(),
            self.unit.as_deref(),
        )
    }

    /// The door, if road and number (or lane) are known.
    pub fn door_key(&self) -> Option<DoorKey> {
        DoorKey::of(
            self.road.as_deref(),
            self.lane.as_deref(),
            self.number.as_deref(),
            self.number_suffix.as_deref(),
            self.unit.as_deref(),
        )
    }
}

impl WalkOrder {
    /// The key from the registers of a card.
    pub fn of(
        road: Option<&str>,
        lane: Option<&str>,
        number: Option<&str>,
        suffix: Option<&str>,
        unit: Option<&str>,
    ) -> Self {
        let text = |part: Option<&str>| part.map(half_width).unwrap_or_default().trim().to_owned();
        let road = text(road);
        let (house, suffix) = (number.map(half_width), Suffix(text(suffix)));
        let house = house.as_deref().and_then(first_number);
        let lane = lane.map(half_width).as_deref().and_then(first_number);
        let order = lane.or(house);
        let side = order.and_then(side_of);
        let (outer, inner) = match lane {
            Some(_) => (Suffix(String::new()), (house.unwrap_or(0), suffix)),
            None => (suffix, (0, Suffix(String::new()))),
        };
        Self {
            road: (road.is_empty(), road),
            side: (side.is_none(), side),
            number: order.unwrap_or(i32::MAX),
            suffix: outer,
            inner,
            unit: text(unit),
        }
    }
}

impl DoorKey {
    /// The door from the registers of a card; nothing where road or number is missing.
    pub fn of(
        road: Option<&str>,
        lane: Option<&str>,
        number: Option<&str>,
        suffix: Option<&str>,
        unit: Option<&str>,
    ) -> Option<Self> {
        let part = |text: Option<&str>| text.map(door_part).unwrap_or_default();
        let (road, lane, number, unit) = (part(road), part(lane), part(number), part(unit));
        if road.is_empty() || lane.is_empty() && number.is_empty() {
            return None;
        }
        let mut suffixes: Vec<String> = split_suffix(&part(suffix))
            .into_iter()
            .map(str::to_owned)
            .collect();
        suffixes.sort_unstable();
        Some(Self(format!(
            "{road}|{lane}|{number}|{}|{unit}",
            suffixes.concat()
        )))
    }

    /// The key as text, for an index.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Suffix {
    /// Rank by known suffix, then the text itself.
    fn rank(&self) -> (Vec<usize>, &str) {
        let ranks = split_suffix(&self.0)
            .into_iter()
            .map(|s| {
                SUFFIXES
                    .iter()
                    .position(|k| *k == s)
                    .unwrap_or(SUFFIXES.len())
            })
            .collect();
        (ranks, &self.0)
    }
}

impl Ord for Suffix {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Suffix {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn plain_sign(c: char) -> char {
    match c {
        '－' | '–' | '—' | '―' | '‐' | '‑' | '−' | '~' | '～' | '〜' | '至' => '-',
        '號' => '号',
        '樓' => '楼',
        '層' => '层',
        '臨' => '临',
        _ => c,
    }
}

fn side_of(number: i32) -> Option<Side> {
    match number {
        i32::MAX => None,
        n if n % 2 == 0 => Some(Side::Even),
        _ => Some(Side::Odd),
    }
}

fn first_number(text: &str) -> Option<i32> {
    let from = text.find(|c: char| c.is_ascii_digit())?;
    let digits = &text[from..from + leading_digits(&text[from..])];
    if digits.len() > 8 {
        None
    } else {
        digits.parse().ok()
    }
}

fn leading_digits(text: &str) -> usize {
    text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len()
}

/// Strips province, city, district, street office and town, unless a road would be left without its name.
fn without_region<'a>(text: &'a str, roads: &[&str]) -> &'a str {
    const REGIONS: [(&str, usize); 8] = [
        ("省", 4),
        ("自治区", 8),
        ("市", 6),
        ("新区", 6),
        ("区", 5),
        ("县", 5),
        ("街道", 8),
        ("镇", 6),
    ];
    let mut local = text.strip_prefix("中国").unwrap_or(text);
    for (word, chars_max) in REGIONS {
        if known_road(local, roads).is_some() {
            return local;
        }
        if word == "新区" {
            // A city is often written without its word: 上海徐汇区天平路.
            local = ["上海", "北京", "天津", "重庆"]
                .iter()
                .find_map(|city| local.strip_prefix(city))
                .filter(|l| is_local(l, roads))
                .unwrap_or(local);
        }
        let Some(at) = local.find(word) else { continue };
        let (name, after) = (&local[..at], &local[at + word.len()..]);
        let is_name = (1..=chars_max).contains(&name.chars().count())
            && !name.contains(|c: char| c.is_ascii_digit() || matches!(c, '号' | '弄' | '(' | ','))
            && (word == "街道" || !name.contains(['路', '街']));
        if is_name
            && !after.is_empty()
            && !starts_as_road(after)
            && !after.starts_with(|c: char| c.is_ascii_digit())
        {
            local = after;
        }
    }
    local
}

/// Whether what follows a city's name is a district or a known road, and not the rest of 北京西路.
fn is_local(text: &str, roads: &[&str]) -> bool {
    let district = text
        .chars()
        .take(6)
        .take_while(|c| !c.is_ascii_digit() && !matches!(c, '路' | '街'))
        .any(|c| c == '区');
    district || known_road(text, roads).is_some()
}

/// Whether a text begins with the word of a road: what was cut off before it was part of its name.
fn starts_as_road(text: &str) -> bool {
    text.starts_with(['路', '街', '道', '巷', '弄'])
        || text.starts_with("大道")
        || text.starts_with("公路")
        || text.starts_with("大街")
}

fn known_road<'a>(text: &'a str, roads: &[&str]) -> Option<(&'a str, &'a str)> {
    let longest = roads
        .iter()
        .filter(|r| !r.is_empty() && text.starts_with(**r))
        .max_by_key(|r| r.len())?;
    let (road, rest) = text.split_at(longest.len());
    // 天平路街道 is a street office, and 天平路东段 or 天平路支路 would be another road.
    (!rest.starts_with("街道") && !starts_as_road(rest)).then_some((road, rest))
}

fn generic_road(text: &str) -> Option<(&str, &str)> {
    let before = text
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(text.len());
    let end = text[..before]
        .char_indices()
        .filter(|(_, c)| matches!(c, '路' | '街' | '道' | '巷'))
        .map(|(at, c)| at + c.len_utf8())
        .next_back()?;
    let (road, rest) = text.split_at(end);
    (road.chars().count() >= 2 && !rest.starts_with("办事处")).then_some((road, rest))
}

/// Bytes of a house number with its ranges: `12`, `12-14`, `12、14`, `378-1`.
fn number_span(text: &str) -> usize {
    let mut end = leading_digits(text);
    if end == 0 {
        return 0;
    }
    loop {
        let Some(joint) = text[end..]
            .chars()
            .next()
            .filter(|c| matches!(c, '-' | '、' | ',' | '/'))
        else {
            return end;
        };
        let from = end + joint.len_utf8();
        let digits = leading_digits(&text[from..]);
        if digits == 0 || starts_as_unit(&text[from + digits..]) {
            return end;
        }
        end = from + digits;
    }
}

/// The run of suffixes at the start, and what follows.
fn leading_suffix(text: &str) -> (String, &str) {
    let mut suffix = String::new();
    let mut rest = text;
    loop {
        // 临街 and 临时 say something else.
        let words = ["临街", "临时", "临近", "临河"]
            .iter()
            .any(|w| rest.starts_with(w));
        if let Some(known) = SUFFIXES
            .iter()
            .find(|s| rest.starts_with(**s))
            .filter(|_| !words)
        {
            suffix.push_str(known);
            rest = &rest[known.len()..];
            continue;
        }
        if let Some(after) = rest.strip_prefix('之') {
            let span = after.len()
                - after
                    .trim_start_matches(|c: char| {
                        c.is_ascii_digit() || "一二三四五六七八九十".contains(c)
                    })
                    .len();
            if span > 0 {
                suffix.push('之');
                suffix.push_str(&after[..span]);
                rest = &after[span..];
                continue;
            }
        }
        // A single letter belongs to the number only if 号 or the end follows: 378A号, but not 378B1层.
        let mut chars = rest.chars();
        if let Some(letter) = chars.next().filter(char::is_ascii_alphabetic)
            && (chars.as_str().is_empty() || chars.as_str().starts_with('号'))
        {
            suffix.push(letter.to_ascii_uppercase());
            rest = chars.as_str();
            continue;
        }
        return (suffix, rest);
    }
}

/// `乙底层` → 乙, 底层; what is not a known suffix stays together.
fn split_suffix(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let known = SUFFIXES
            .iter()
            .find(|s| rest.starts_with(**s))
            .map(|s| s.len());
        let len = known.unwrap_or_else(|| {
            rest.char_indices()
                .skip(1)
                .map(|(at, _)| at)
                .find(|&at| SUFFIXES.iter().any(|s| rest[at..].starts_with(s)))
                .unwrap_or(rest.len())
        });
        let (part, after) = rest.split_at(len);
        parts.push(part);
        rest = after;
    }
    parts
}

fn is_unit_word(c: char) -> bool {
    matches!(
        c,
        '室' | '楼' | '层' | '幢' | '栋' | '座' | '铺' | '元' | '间' | 'F' | 'f'
    )
}

fn is_unit_char(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(
            c,
            '-' | '单' | '商' | '地' | '下' | '底' | '大' | '号' | '第'
        )
        || "一二三四五六七八九十百".contains(c)
}

/// Whether a text, standing right after digits, makes them a unit.
fn starts_as_unit(rest: &str) -> bool {
    rest.starts_with(|c: char| is_unit_word(c) && !c.is_ascii())
        || rest.starts_with("单元")
        || rest.starts_with("号楼")
        || rest.starts_with('F')
}

/// Length of a unit word with nothing before it: 楼上 names no unit.
fn leading_unit_word(text: &str) -> usize {
    text.chars()
        .next()
        .filter(|c| is_unit_word(*c))
        .map_or(0, char::len_utf8)
}

/// Spelling differences that do not make another door: width, case, script, Chinese numerals, leading zeros.
fn door_part(text: &str) -> String {
    let folded = search::fold(
        &half_width(text)
            .chars()
            .map(plain_sign)
            .map(|c| if c == '-' { '之' } else { c })
            .collect::<String>(),
    );
    let mut out = String::with_capacity(folded.len());
    for c in folded.chars() {
        let c = match "一二三四五六七八九".chars().position(|d| d == c) {
            Some(at) => char::from_digit(at as u32 + 1, 10).unwrap_or(c),
            None => c,
        };
        let starts_number = !out.ends_with(|p: char| p.is_ascii_digit());
        if c == '0' && starts_number {
            // A leading zero; a lone one is not a door number either.
            continue;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROADS: &[&str] = &[
        "天平路",
        "广元路",
        "广元西路",
        "嘉善路",
        "乌鲁木齐南路",
        "桃江路",
        "镇宁路",
        "园区路",
    ];

    /// Road, lane, number, suffix, unit, rest; `-` for a part that is missing.
    fn check(text: &str, expected: &str) {
        let address = Address::parse(text, ROADS);
        let parts = [
            &address.road,
            &address.lane,
            &address.number,
            &address.number_suffix,
            &address.unit,
            &address.rest,
        ];
        let seen: Vec<&str> = parts.iter().map(|p| p.as_deref().unwrap_or("-")).collect();
        assert_eq!(seen.join(" "), expected, "{text}");
    }

    #[test]
    fn addresses_as_people_write_them() {
        check("天平路378号", "天平路 - 378 - - -");
        check("天平路 378 号", "天平路 - 378 - - -");
        check("徐汇区天平路378号", "天平路 - 378 - - -");
        check("上海市徐汇区天平路街道天平路378号", "天平路 - 378 - - -");
        check("上海徐汇区天平路378号", "天平路 - 378 - - -");
        check("上海市徐汇区天平路街道广元路8号", "广元路 - 8 - - -");
        check("中国上海市徐汇区广元西路126号", "广元西路 - 126 - - -");
        check("浦东新区天平东路88号", "天平东路 - 88 - - -");
        check("天平路１５３号", "天平路 - 153 - - -");
        check("嘉善路36乙号", "嘉善路 - 36 乙 - -");
        check("嘉善路36号乙", "嘉善路 - 36 乙 - -");
        check("桃江路364号临", "桃江路 - 364 临 - -");
        check("桃江路临364号", "桃江路 - 364 临 - -");
        check("天平路136号底层", "天平路 - 136 底层 - -");
        check("天平路136乙号底层", "天平路 - 136 乙底层 - -");
        check("天平路136號底層", "天平路 - 136 底层 - -");
        check("天平路36号之一", "天平路 - 36 之一 - -");
        check("天平路36之2号", "天平路 - 36 之2 - -");
        check("天平路36a号", "天平路 - 36 A - -");
        check("天平路12-14号", "天平路 - 12-14 - - -");
        check("天平路12、14号", "天平路 - 12、14 - - -");
        check("天平路12～14号", "天平路 - 12-14 - - -");
        check("天平路378", "天平路 - 378 - - -");
        check("天平路123弄5号", "天平路 123 5 - - -");
        check("天平路123弄", "天平路 123 - - - -");
        check("天平路123弄4支弄5号201室", "天平路 123弄4支 5 - 201室 -");
        check("天平路123弄2号楼301室", "天平路 123 - - 2号楼301室 -");
        check("天平路378号2楼201室", "天平路 - 378 - 2楼201室 -");
        check("天平路378号二楼", "天平路 - 378 - 二楼 -");
        check("天平路378号B1层12铺", "天平路 - 378 - B1层12铺 -");
        check("天平路378号1F", "天平路 - 378 - 1F -");
        check("天平路378号101", "天平路 - 378 - 101 -");
        check("天平路378号-2", "天平路 - 378 - 2 -");
        check(
            "天平路378号201室(近广元路)",
            "天平路 - 378 - 201室 (近广元路)",
        );
        check("天平路378号隔壁", "天平路 - 378 - - 隔壁");
        check("镇宁路5号", "镇宁路 - 5 - - -");
        check("静安区镇宁路5号", "镇宁路 - 5 - - -");
        check("园区路5号", "园区路 - 5 - - -");
        check("光明区路5号", "光明区路 - 5 - - -");
        check("金山区朱泾镇临仓街12号", "临仓街 - 12 - - -");
        check("北京西路5号", "北京西路 - 5 - - -");
        check("上海天平路5号", "天平路 - 5 - - -");
        check("天平路5号临街铺", "天平路 - 5 - - 临街铺");
        check("378号", "- - 378 - - -");
        check("光启城", "- - - - - 光启城");
        check("", "- - - - - -");
    }

    #[test]
    fn known_roads_win_and_unknown_ones_are_told() {
        assert!(Address::parse("天平路1号", ROADS).road_known);
        assert!(!Address::parse("天平东路88号", ROADS).road_known);
        assert!(!Address::parse("天平路1号", &[]).road_known);
        assert_eq!(
            Address::parse("天平路1号", &[]).road.as_deref(),
            Some("天平路")
        );
    }

    #[test]
    fn same_door_in_two_spellings() {
        let door = |text: &str| Address::parse(text, ROADS).door_key();
        for (left, right, same) in [
            ("嘉善路36乙号", "徐汇区嘉善路３６号乙", true),
            ("天平路136号底层", "天平路136號底層", true),
            ("天平路36号之一", "天平路36之1号", true),
            ("天平路036号", "天平路36号", true),
            ("烏魯木齊南路5号", "乌鲁木齐南路5号", true),
            ("天平路36号201室", "天平路36号２０１室", true),
            ("嘉善路36乙号", "嘉善路36号", false),
            ("天平路36号201室", "天平路36号202室", false),
            ("天平路123弄5号", "天平路5号", false),
            ("广元路5号", "广元西路5号", false),
        ] {
            assert_eq!(
                door(left) == door(right) && door(left).is_some(),
                same,
                "{left} {right}"
            );
        }
        assert_eq!(door("天平路"), None);
        assert_eq!(door("5号"), None);
    }

    #[test]
    fn walking_order_takes_one_side_after_the_other() {
        let walked = [
            "天平路1号",
            "天平路3号",
            "天平路3甲号",
            "天平路3乙号",
            "天平路3号临",
            "天平路5弄",
            "天平路5弄2号",
            "天平路5弄10号",
            "天平路11号",
            "天平路2号",
            "天平路10号",
            "天平路10号101室",
            "天平路",
            "广元路1号",
            "某某大厦",
        ];
        let mut sorted: Vec<(WalkOrder, &str)> = walked
            .iter()
            .rev()
            .map(|text| (Address::parse(text, ROADS).walk_order(), *text))
            .collect();
        sorted.sort();
        assert_eq!(
            sorted.into_iter().map(|(_, text)| text).collect::<Vec<_>>(),
            walked
        );
    }

    #[test]
    fn sides_and_orders() {
        for (text, side, order) in [
            ("天平路377号", Some(Side::Odd), Some(377)),
            ("天平路12-14号", Some(Side::Even), Some(12)),
            ("天平路123弄6号", Some(Side::Odd), Some(123)),
            ("天平路", None, None),
            ("天平路99999999999号", None, None),
        ] {
            let address = Address::parse(text, ROADS);
            assert_eq!(
                (address.side(), address.number_order()),
                (side, order),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let address = Address::parse(&text, ROADS);
            address.walk_order();
            address.door_key();
        }

        #[test]
        fn never_panics_on_address_like_text(text in "[上海市徐汇区天平路街道镇弄支号甲乙临底层之一室楼0-9０-９A-F\\-、,～() ]{0,40}") {
            let address = Address::parse(&text, ROADS);
            address.door_key();
            prop_assert_eq!(address.walk_order().cmp(&address.walk_order()), Ordering::Equal);
        }

        #[test]
        fn registers_and_address_give_the_same_door(number in 1_u32..9999, suffix in "[甲乙丙]?") {
            let address = Address::parse(&format!("天平路{number}{suffix}号"), ROADS);
            let suffix = (!suffix.is_empty()).then_some(suffix);
            let door = DoorKey::of(Some("天平路"), None, Some(&number.to_string()), suffix.as_deref(), None);
            prop_assert_eq!(address.door_key(), door);
        }
    }
}
