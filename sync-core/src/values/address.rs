//! Street addresses: raw text → road, lane, number, suffix, unit; the order in which a street is walked; same-door keys.
//!
//! In: an address as typed and, if known, the street's road table. Out: the parts that were understood and the rest. The raw
//! text is stored beside the parts and is never lost, so an address that is not understood costs nothing but its order.

use std::cmp::Ordering;

use crate::search;
use crate::values::text::half_width;

/// The longest text that is taken apart; what lies beyond goes into `rest`.
const CHARS_MAX: usize = 200;
/// Digits of a postcode.
const POSTCODE_DIGITS: usize = 6;

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
    /// Takes an address apart. Known roads win by their longest name, in either script and with Arabic or Chinese numerals; without a table, or
    /// where no name of it fits, the road is what ends in 路, 街, 道 or 巷 before the first number.
    pub fn parse(text: &str, roads: &[&str]) -> Self {
        let plain = plain_text(text);
        let cut = plain
            .char_indices()
            .nth(CHARS_MAX)
            .map_or(plain.len(), |(at, _)| at);
        let (plain, beyond) = plain.split_at(cut);
        let mut address = Self::default();
        let local = without_region(without_postcode(plain), roads);
        let (local, aside) = without_place(local, roads);
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
        let mut passed = aside.to_owned();
        if let Some((road, crossing, after)) = behind_crossing(rest, roads) {
            passed.push_str(address.road.as_deref().unwrap_or_default());
            passed.push_str(crossing);
            address.road = Some(road.to_owned());
            address.road_known = true;
            rest = after;
        }
        if address.road.is_some() {
            let (between, after) = before_number(rest);
            passed.push_str(between);
            rest = after;
        }
        rest = address.take_lane(rest);
        if address.lane.is_some() {
            let (estate, after) = estate(rest);
            passed.push_str(estate);
            rest = after;
        }
        rest = address.take_number(rest);
        if address.number.is_some() || address.lane.is_some() {
            let (building, after) = building(rest);
            passed.push_str(building);
            rest = after;
        }
        rest = address.take_unit(rest);
        if address.road.is_some() || address.lane.is_some() {
            rest = without_trailing_postcode(rest);
        }
        let rest = format!("{passed}{rest}{beyond}");
        address.rest = (!rest.is_empty()).then_some(rest);
        address
    }

    /// 123弄, 123弄4支弄, and lanes within lanes: 123弄4弄.
    fn take_lane<'a>(&mut self, text: &'a str) -> &'a str {
        let mut lane = String::new();
        let mut rest = text;
        loop {
            // 123弄甲支弄
            if let Some(stem) = rest.chars().next().filter(|c| is_stem(*c))
                && let Some(after) = rest[stem.len_utf8()..].strip_prefix("支弄")
                && !lane.is_empty()
            {
                lane.push_str(if lane.ends_with('弄') { "" } else { "弄" });
                lane.extend([stem, '支']);
                rest = after;
                continue;
            }
            let body = rest.strip_prefix('第').unwrap_or(rest);
            let Some((mut number, mut after)) = numerals(body) else {
                break;
            };
            // 123甲弄
            if let Some(stem) = after.chars().next().filter(|c| is_stem(*c))
                && after[stem.len_utf8()..].starts_with(['弄', '支'])
            {
                number.push(stem);
                after = &after[stem.len_utf8()..];
            }
            let (word, after) = if let Some(after) = after.strip_prefix("支弄") {
                ("支", after)
            } else if let Some(after) = after.strip_prefix('弄') {
                ("", after)
            } else if let Some(after) = after
                .strip_prefix('支')
                .filter(|after| !lane.is_empty() && numerals(after).is_some())
            {
                ("支", after)
            } else {
                break;
            };
            if !lane.is_empty() && !lane.ends_with('弄') {
                lane.push('弄');
            }
            lane.push_str(&number);
            lane.push_str(word);
            rest = after;
        }
        if lane.is_empty() {
            return text;
        }
        self.lane = Some(lane);
        // 123弄内5号
        rest.strip_prefix(['内', '里'])
            .filter(|within| numerals(within).is_some_and(|(_, after)| after.starts_with('号')))
            .unwrap_or(rest)
    }

    fn take_number<'a>(&mut self, text: &'a str) -> &'a str {
        let (mut before, mut body) = ("", text);
        // 临36号, 甲36号
        if let Some(word) = ["临", "甲", "乙", "丙", "丁"]
            .iter()
            .find(|word| text.starts_with(**word))
            && text[word.len()..].starts_with(|c: char| c.is_ascii_digit())
        {
            (before, body) = (word, &text[word.len()..]);
        }
        // 第36号, A36号; 第3层 and A3铺 are units.
        let (letters, digits) = number_prefix(body);
        let Some((mut number, rest)) = numerals(digits) else {
            return text;
        };
        let is_arabic = digits.starts_with(|c: char| c.is_ascii_digit());
        let (mut suffix, mut rest) = leading_suffix(rest);
        // 201室 right after a lane is a unit, not a house number; of a 巷 the number is that of a lane.
        if suffix.is_empty()
            && before.is_empty()
            && (starts_as_unit(rest) || rest.starts_with('巷'))
        {
            return text;
        }
        let named = rest
            .strip_prefix(['号', '#'])
            .filter(|_| !starts_as_unit(rest));
        let is_numbered = NUMBER_SIGNS.iter().any(|sign| body.starts_with(sign));
        if named.is_none()
            && !(is_arabic && letters.is_empty() && (digits.len() == body.len() || is_numbered))
        {
            // Without its word, only plain digits are a house number.
            return text;
        }
        if named.is_none() && is_postcode(&number) {
            return text;
        }
        if let Some(after) = named {
            rest = after;
            while let Some((more, after)) = another_number(rest) {
                number.push_str(&more);
                rest = after;
            }
            let (behind, after) = leading_suffix(rest);
            suffix.push_str(&behind);
            rest = after;
        }
        if !before.is_empty() && !suffix.contains(before) {
            suffix.insert_str(0, before);
        }
        self.number = Some(format!("{letters}{number}"));
        self.number_suffix = (!suffix.is_empty()).then_some(suffix);
        rest
    }

    fn take_unit<'a>(&mut self, text: &'a str) -> &'a str {
        if self.number.is_none() && self.lane.is_none() && self.road.is_none() {
            return text;
        }
        let body = text.trim_start_matches(['-', ',', '、', '/', '.', ':']);
        let (body, closes) = match body.strip_prefix('(') {
            Some(within) if text.starts_with('(') => (within, true),
            _ => (body, false),
        };
        let has_door = self.number.is_some() || self.lane.is_some();
        let Some(end) = unit_end(body, has_door) else {
            return text;
        };
        let (unit, mut rest) = body.split_at(end);
        if closes {
            // (底商3) is a unit, (1楼扶梯旁) a remark.
            match rest.strip_prefix(')') {
                Some(after) => rest = after,
                None => return text,
            }
        }
        if is_postcode(unit) {
            return text;
        }
        self.unit = Some(unit.to_owned());
        rest
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

/// Half width, without white space, with one sign for each of what people write alike. Space between two digits parts two numbers.
fn plain_text(text: &str) -> String {
    let half = half_width(text);
    let mut plain = String::with_capacity(half.len());
    let mut spaced = false;
    for c in half.chars() {
        if c.is_whitespace() || matches!(c, '\u{200b}' | '\u{feff}') {
            spaced = true;
            continue;
        }
        if spaced && c.is_ascii_digit() && plain.ends_with(|p: char| p.is_ascii_digit()) {
            plain.push('、');
        }
        spaced = false;
        plain.push(plain_sign(c));
    }
    plain
}

fn plain_sign(c: char) -> char {
    match c {
        '－' | '–' | '—' | '―' | '‐' | '‑' | '−' | '~' | '～' | '〜' | '至' => '-',
        '號' => '号',
        '樓' => '楼',
        '層' => '层',
        '臨' => '临',
        '鋪' => '铺',
        '單' => '单',
        '棟' => '栋',
        '間' => '间',
        '衖' => '弄',
        '（' | '[' | '【' | '〔' | '［' => '(',
        '）' | ']' | '】' | '〕' | '］' => ')',
        '，' => ',',
        '：' => ':',
        '＃' | '№' => '#',
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

/// A postcode before an address, bare, in brackets or with its word: `200030上海市…`, `邮编200030，天平路…`.
fn without_postcode(text: &str) -> &str {
    let bare = text.trim_start_matches(['(', ':', ',', '、', '.']);
    let bare = ["邮政编码", "邮编"]
        .iter()
        .find_map(|word| bare.strip_prefix(word))
        .unwrap_or(bare)
        .trim_start_matches(':');
    if leading_digits(bare) != POSTCODE_DIGITS {
        return text;
    }
    let after = bare[POSTCODE_DIGITS..].trim_start_matches([')', ',', ':', '-', '、', '.']);
    let is_place = after
        .chars()
        .next()
        .is_some_and(|c| !c.is_ascii() && !"号弄支甲乙丙丁临之室楼层幢栋座铺单房".contains(c));
    if is_place { after } else { text }
}

/// The same behind an address.
fn without_trailing_postcode(rest: &str) -> &str {
    let bare = rest.trim_matches(['(', ')', ',', '、', ':', '.']);
    let bare = ["邮政编码", "邮编"]
        .iter()
        .find_map(|word| bare.strip_prefix(word))
        .unwrap_or(bare)
        .trim_start_matches(':');
    if bare.is_empty() || is_postcode(bare) {
        ""
    } else {
        rest
    }
}

/// Six digits as Shanghai's postcodes begin; a room hardly has as many.
fn is_postcode(text: &str) -> bool {
    text.len() == POSTCODE_DIGITS
        && text.bytes().all(|b| b.is_ascii_digit())
        && ["200", "201", "202"]
            .iter()
            .any(|begins| text.starts_with(begins))
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
            local = local.strip_prefix("市辖区").unwrap_or(local);
        }
        let Some(at) = local.find(word) else { continue };
        let (name, after) = (&local[..at], &local[at + word.len()..]);
        let is_name = (1..=chars_max).contains(&name.chars().count())
            && !name.contains(|c: char| c.is_ascii_digit() || matches!(c, '号' | '弄' | '(' | ','))
            && (word == "街道" || !name.contains(['路', '街']));
        let after = after.trim_start_matches(['-', ',', '、', ':', '.', '/', '·']);
        let after = match word {
            "街道" => after.strip_prefix("办事处").unwrap_or(after),
            _ => after,
        };
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
    district || known_road(text, roads).is_some() || without_district(text, roads).is_some()
}

/// Shanghai's districts, as they are written without their word: 徐汇天平路.
const DISTRICTS: [&str; 19] = [
    "黄浦", "徐汇", "长宁", "静安", "普陀", "虹口", "杨浦", "闵行", "宝山", "嘉定", "浦东", "金山",
    "松江", "青浦", "奉贤", "崇明", "卢湾", "闸北", "南汇",
];

/// What follows a district without its word, where that is a known road or the whole name of one: 浦东南路 and 静安寺路 stay.
fn without_district<'a>(text: &'a str, roads: &[&str]) -> Option<&'a str> {
    let after = DISTRICTS.iter().find_map(|d| text.strip_prefix(d))?;
    if known_road(after, roads).is_some() {
        return Some(after);
    }
    let (road, _) = generic_road(after)?;
    let name = road.chars().count() - 1;
    let directed =
        name <= 2 && road.starts_with(['东', '南', '西', '北', '中', '支', '大', '新', '老']);
    (name >= 2 && !directed && !starts_as_road(after)).then_some(after)
}

/// Strips a district without its word, and a neighbourhood before a road. The neighbourhood is given back: it is no part of the door.
fn without_place<'a>(text: &'a str, roads: &[&str]) -> (&'a str, &'a str) {
    if known_road(text, roads).is_some() {
        return (text, "");
    }
    let text = without_district(text, roads).unwrap_or(text);
    for word in [
        "居民委员会",
        "居委会",
        "居民区",
        "居委",
        "社区",
        "片区",
        "网格",
        "村委会",
    ] {
        let Some(at) = text.find(word) else { continue };
        let (place, after) = text.split_at(at + word.len());
        let is_place = at > 0 && !place.contains(['路', '号', '弄', '(']);
        let is_road = known_road(after, roads).is_some()
            || !starts_as_road(after) && generic_road(after).is_some();
        if is_place && is_road {
            return (after, place);
        }
    }
    (text, "")
}

/// Whether a text begins with the word of a road: what was cut off before it was part of its name. 路口 and 街面 say where at a road.
fn starts_as_road(text: &str) -> bool {
    const AT_A_ROAD: [&str; 17] = [
        "路口", "路边", "路旁", "路东", "路西", "路南", "路北", "路段", "街面", "街边", "街角",
        "街口", "道口", "巷口", "巷内", "弄口", "弄内",
    ];
    text.starts_with(['路', '街', '道', '巷', '弄'])
        && !AT_A_ROAD.iter().any(|words| text.starts_with(words))
        || text.starts_with("大道")
        || text.starts_with("公路")
        || text.starts_with("大街")
}

/// The longest road of the table with which the text begins, and what follows.
fn known_road<'a, 'r>(text: &'a str, roads: &[&'r str]) -> Option<(&'r str, &'a str)> {
    let fits = |end: usize| {
        let rest = &text[end..];
        // 天平路街道 is a street office, and 天平路东段 or 天平路支路 would be another road.
        !rest.starts_with("街道") && !starts_as_road(rest)
    };
    let exact = roads
        .iter()
        .filter(|road| !road.is_empty() && text.starts_with(**road))
        .max_by_key(|road| road.len());
    let found = match exact {
        Some(road) => (*road, road.len()),
        None => roads
            .iter()
            .filter_map(|road| Some((*road, begins_alike(text, road)?)))
            .max_by_key(|(_, end)| *end)?,
    };
    fits(found.1).then(|| (found.0, &text[found.1..]))
}

/// How much of the text is this road in another spelling: other script, 中山南2路 for 中山南二路.
fn begins_alike(text: &str, road: &str) -> Option<usize> {
    let (mut left, mut right) = (text, road);
    while let Some(wanted) = right.chars().next() {
        let found = left.chars().next()?;
        if let (Some((a, left_len)), Some((b, right_len))) = (numeral(left), numeral(right)) {
            if a != b {
                return None;
            }
            (left, right) = (&left[left_len..], &right[right_len..]);
            continue;
        }
        if found != wanted && search::simplified(found) != search::simplified(wanted) {
            return None;
        }
        (left, right) = (&left[found.len_utf8()..], &right[wanted.len_utf8()..]);
    }
    (!road.is_empty()).then(|| text.len() - left.len())
}

/// The road whose number follows, where an address begins with a crossing: 衡山路口天平路123号. With the words of the crossing, and the number.
fn behind_crossing<'a, 'r>(
    text: &'a str,
    roads: &[&'r str],
) -> Option<(&'r str, &'a str, &'a str)> {
    let after = ["交叉口", "路口", "口"]
        .iter()
        .find_map(|word| text.strip_prefix(word))?
        .trim_start_matches([',', '、', '-', '/', ':']);
    let (road, number) = known_road(after, roads)?;
    let is_house = numerals(number).is_some_and(|(_, rest)| rest.starts_with(['号', '弄']));
    is_house.then(|| (road, &text[..text.len() - after.len()], number))
}

fn generic_road(text: &str) -> Option<(&str, &str)> {
    let is_road_word = |c: char| matches!(c, '路' | '街' | '道' | '巷');
    // Up to the first number; one that a road's word follows is part of its name: 石门1路.
    let mut before = 0;
    while let Some(at) = text[before..].find(|c: char| c.is_ascii_digit()) {
        before += at;
        let after = &text[before + leading_digits(&text[before..])..];
        if before > 0 && after.starts_with(is_road_word) {
            before = text.len() - after.len();
        } else {
            break;
        }
    }
    let before = if text[before..].starts_with(|c: char| c.is_ascii_digit()) {
        before
    } else {
        text.len()
    };
    let ends = text[..before]
        .char_indices()
        .filter(|(_, c)| is_road_word(*c))
        .map(|(at, c)| at + c.len_utf8());
    let mut end: Option<usize> = None;
    for next in ends {
        if let Some(end) = end
            && text[..end].ends_with('路')
            && is_cross_street(&text[end..next])
        {
            break;
        }
        end = Some(next);
    }
    let (road, rest) = text.split_at(end?);
    (road.chars().count() >= 2 && !rest.starts_with("办事处")).then_some((road, rest))
}

/// Whether what follows a road, up to the next word of a road, names another: 天平路近淮海路, 天平路淮海中路.
fn is_cross_street(between: &str) -> bool {
    const JOINTS: [&str; 16] = [
        "近", "靠", "临", "与", "和", "、", "/", "&", "-", ",", "(", "交", "口", "路口", "东侧",
        "对面",
    ];
    JOINTS.iter().any(|joint| between.starts_with(joint))
        || between == "路"
        || between.ends_with('路') && between.chars().count() >= 3
}

/// What stands between a road and its number: signs, a remark in brackets, the words for a part of the road.
fn before_number(text: &str) -> (&str, &str) {
    const WORDS: [&str; 13] = [
        "门牌号码",
        "门牌号",
        "门牌",
        "沿街",
        "东段",
        "西段",
        "南段",
        "北段",
        "中段",
        "东侧",
        "西侧",
        "南侧",
        "北侧",
    ];
    let starts_number = |text: &str| {
        let (_, digits) = number_prefix(text);
        numeral(digits).is_some() || text.starts_with('临')
    };
    let signs = |text: &str| -> usize {
        text.len()
            - text
                .trim_start_matches([':', ',', '、', '.', '·', '-', '_', '/', '|'])
                .len()
    };
    let mut at = signs(text);
    if let Some(word) = WORDS.iter().find(|word| text[at..].starts_with(**word)) {
        let after = at + word.len();
        let after = after + signs(&text[after..]);
        if starts_number(&text[after..]) {
            return (word, &text[after..]);
        }
    }
    if let Some(within) = text[at..].strip_prefix('(') {
        if starts_number(within)
            && within
                .find(')')
                .is_some_and(|end| within[..end].contains(['号', '弄']))
        {
            // 天平路(123号)
            return ("", within);
        }
        if let Some(end) = within.find(')') {
            let after = at + 1 + end + 1;
            let next = after + signs(&text[after..]);
            if starts_number(&text[next..]) {
                return (&text[at..after], &text[next..]);
            }
        }
    }
    if !starts_number(&text[at..]) {
        at = 0;
    }
    ("", &text[at..])
}

/// The name of an estate between its lane and a house of it: 123弄永嘉新村5号.
fn estate(text: &str) -> (&str, &str) {
    const ENDS: [&str; 12] = [
        "村", "邨", "坊", "里", "苑", "园", "小区", "公寓", "别墅", "广场", "大楼", "大厦",
    ];
    let digits = text
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(text.len());
    let (name, after) = text.split_at(digits);
    let is_name = (2..=12).contains(&name.chars().count())
        && name.chars().all(|c| c.is_alphabetic() && !c.is_ascii())
        && ENDS.iter().any(|end| name.ends_with(end));
    let is_house = |text: &str| numerals(text).is_some_and(|(_, rest)| rest.starts_with('号'));
    // 123弄(永嘉新村)5号, 123弄(近广元路)5号
    if let Some((within, after)) = text.strip_prefix('(').and_then(|text| text.split_once(')'))
        && !within.contains(|c: char| c.is_ascii_digit())
        && is_house(after)
    {
        return (&text[..text.len() - after.len()], after);
    }
    if is_name && is_house(after) {
        (name, after)
    } else {
        ("", text)
    }
}

/// The name of a building between a number and a unit in it: 1号天平大厦305室, 1号(天平大厦)3楼.
fn building(text: &str) -> (&str, &str) {
    const ENDS: [&str; 16] = [
        "大厦", "大楼", "广场", "中心", "商厦", "商场", "商城", "公寓", "小区", "新村", "花园",
        "花苑", "公馆", "市场", "酒店", "宾馆",
    ];
    let bracketed = text
        .strip_prefix('(')
        .and_then(|within| within.split_once(')'));
    let (name, after) = if let Some(bracketed) = bracketed {
        bracketed
    } else {
        let ends = ENDS
            .iter()
            .filter_map(|end| text.find(end).map(|at| at + end.len()));
        text.split_at(ends.max().unwrap_or(0))
    };
    let is_name = (3..=12).contains(&name.chars().count())
        && name.chars().all(|c| c.is_alphabetic() && !c.is_ascii())
        && ENDS.iter().any(|end| name.ends_with(end));
    if is_name && unit_end(after, true).is_some() {
        (&text[..text.len() - after.len()], after)
    } else {
        ("", text)
    }
}

/// What says that a number follows, without a word behind it.
const NUMBER_SIGNS: [&str; 4] = ["No.", "NO.", "no.", "#"];

/// What may stand before the digits of a number: 第, No., #, or letters that belong to it.
fn number_prefix(text: &str) -> (String, &str) {
    let body = NUMBER_SIGNS
        .iter()
        .chain(&["第"])
        .find_map(|word| text.strip_prefix(word))
        .unwrap_or(text);
    let letters = body.len()
        - body
            .trim_start_matches(|c: char| c.is_ascii_alphabetic())
            .len();
    let digits = &body[letters..];
    let digits = digits
        .strip_prefix('-')
        .filter(|_| letters > 0)
        .unwrap_or(digits);
    if (1..=2).contains(&letters) && digits.starts_with(|c: char| c.is_ascii_digit()) {
        (body[..letters].to_ascii_uppercase(), digits)
    } else {
        (String::new(), body)
    }
}

/// A number at the start, Arabic or Chinese, in Arabic digits, and its length.
fn numeral(text: &str) -> Option<(String, usize)> {
    let digits = leading_digits(text);
    if digits > 0 {
        return Some((text[..digits].to_owned(), digits));
    }
    let end = text.len()
        - text
            .trim_start_matches(|c: char| chinese_digit(c).is_some())
            .len();
    let value = chinese_number(&text[..end])?;
    Some((value.to_string(), end))
}

/// A digit, or ten, a hundred, a thousand.
fn chinese_digit(c: char) -> Option<u32> {
    Some(match c {
        '零' | '〇' | '○' => 0,
        '一' | '壹' | '幺' => 1,
        '二' | '贰' | '貳' | '两' | '兩' => 2,
        '三' | '叁' | '叄' => 3,
        '四' | '肆' => 4,
        '五' | '伍' => 5,
        '六' | '陆' | '陸' => 6,
        '七' | '柒' => 7,
        '八' | '捌' => 8,
        '九' | '玖' => 9,
        '十' | '拾' => 10,
        '廿' => 20,
        '卅' => 30,
        '卌' => 40,
        '百' | '佰' => 100,
        '千' | '仟' => 1_000,
        _ => return None,
    })
}

/// The value of a Chinese numeral below ten thousand: 一百二十三, 一二三, 廿三. Nothing where it is none, or may be read in two ways (一百二).
pub fn chinese_number(text: &str) -> Option<u32> {
    let digits: Vec<u32> = text.chars().map(chinese_digit).collect::<Option<_>>()?;
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    if digits.iter().all(|digit| *digit < 10) {
        // Digit by digit.
        return (digits.len() <= 4)
            .then(|| digits.iter().fold(0, |value, digit| value * 10 + digit));
    }
    let (mut value, mut pending, mut unit_before, mut zero) = (0, None, 10_000, false);
    for digit in digits {
        match (digit, pending) {
            (0, None) => zero = true,
            (1..=9, None) => pending = Some(digit),
            (20 | 30 | 40, None) if unit_before > 10 => {
                value += digit;
                unit_before = 10;
            }
            (10 | 100 | 1_000, _) if digit < unit_before => {
                // 十三 is thirteen; a hundred must say how many.
                if pending.is_none() && (digit > 10 || value > 0 && unit_before > 1_000) {
                    return None;
                }
                value += pending.take().unwrap_or(1) * digit;
                unit_before = digit;
            }
            _ => return None,
        }
    }
    // 一百二 is a hundred and twenty to some and a hundred and two to others.
    if pending.is_some() && unit_before > 10 && !zero {
        return None;
    }
    Some(value + pending.unwrap_or(0))
}

/// A house number with its ranges and lists, `12`, `12-14`, `12、14`, `378-1`, 一百二十三, and what follows.
fn numerals(text: &str) -> Option<(String, &str)> {
    let (mut number, len) = numeral(text)?;
    let mut rest = &text[len..];
    // 12.0号, as a spreadsheet writes a whole number.
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = leading_digits(fraction);
        if digits > 0 && fraction[..digits].bytes().all(|b| b == b'0') {
            rest = &fraction[digits..];
        }
    }
    while let Some((more, after)) = joined_number(rest) {
        let is_word_needed = !rest
            .trim_start_matches(is_joint)
            .starts_with(|c: char| c.is_ascii_digit());
        if starts_as_unit(after)
            || is_word_needed && !after.starts_with(['号', '弄', '甲', '乙', '丙', '-', '、'])
        {
            break;
        }
        number.push_str(&more);
        rest = after;
    }
    Some((number, rest))
}

fn is_joint(c: char) -> bool {
    matches!(c, '-' | '、' | ',' | '/' | '.' | '&' | '和' | '及' | '与')
}

/// A joint and a number at the start, and what follows.
fn joined_number(text: &str) -> Option<(String, &str)> {
    let joint = text.chars().next().filter(|c| is_joint(*c))?;
    let rest = &text[joint.len_utf8()..];
    let (number, len) = numeral(rest)?;
    let joint = match joint {
        '.' | '&' | '和' | '及' | '与' => '、',
        joint => joint,
    };
    Some((format!("{joint}{number}"), &rest[len..]))
}

/// Behind 12号: another number with its own word, -14号.
fn another_number(text: &str) -> Option<(String, &str)> {
    let (more, after) = joined_number(text)?;
    let after = after
        .strip_prefix('号')
        .filter(|_| !starts_as_unit(after))?;
    Some((more, after))
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
        // 36号附1
        if let Some(after) = rest.strip_prefix('附') {
            let digits = leading_digits(after);
            if digits > 0 && !starts_as_unit(&after[digits..]) {
                suffix.push('附');
                suffix.push_str(&after[..digits]);
                rest = after[digits..]
                    .strip_prefix('号')
                    .unwrap_or(&after[digits..]);
                continue;
            }
        }
        // 36甲、乙号, 36甲-丙号
        let listed = suffix
            .ends_with(is_stem)
            .then(|| rest.strip_prefix(['、', ',', '/', '-']))
            .flatten()
            .filter(|after| after.starts_with(is_stem));
        if let Some(after) = listed {
            if rest.starts_with('-') {
                suffix.push('-');
            }
            rest = after;
            continue;
        }
        // 36-甲
        let dashed = rest.strip_prefix('-').filter(|_| suffix.is_empty());
        if let Some(after) = dashed
            && let Some(stem) = after.chars().next().filter(|c| is_stem(*c))
            && !starts_as_unit(&after[stem.len_utf8()..])
        {
            rest = after;
            continue;
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

/// The heavenly stems, as far as house numbers use them.
fn is_stem(c: char) -> bool {
    "甲乙丙丁戊己庚辛壬癸".contains(c)
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
        '室' | '楼' | '层' | '幢' | '栋' | '座' | '铺' | '元' | '间' | '房' | 'F' | 'f'
    )
}

/// Words for a unit of more than one character, before their shorter beginnings.
const UNIT_WORDS: [&str; 12] = [
    "商铺",
    "铺面",
    "铺位",
    "底商",
    "门面房",
    "门面",
    "店面",
    "摊位",
    "档口",
    "柜台",
    "柜位",
    "车库",
];

fn is_unit_char(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(
            c,
            '-' | '单'
                | '商'
                | '地'
                | '下'
                | '底'
                | '大'
                | '号'
                | '第'
                | '负'
                | '裙'
                | '夹'
                | '东'
                | '西'
                | '南'
                | '北'
                | '区'
        )
        || "一二三四五六七八九十百".contains(c)
}

/// Where the unit at the start of a text ends: behind the last word for one within the run of what units are written with, and behind the
/// number that follows that word (商铺3, 3楼301); without a word only where nothing else is left, or what is left is a number with 号.
fn unit_end(text: &str, has_door: bool) -> Option<usize> {
    let (mut at, mut end) = (0, 0);
    while let Some(c) = text[at..].chars().next() {
        let word = UNIT_WORDS
            .iter()
            .find(|word| text[at..].starts_with(**word));
        if let Some(word) = word {
            at += word.len();
            end = at;
        } else if is_unit_word(c) {
            at += c.len_utf8();
            end = at;
        } else if is_unit_char(c)
            || at > 0
                && matches!(c, '、' | '/' | ',')
                && text[at + c.len_utf8()..].starts_with(|next: char| next.is_ascii_alphanumeric())
        {
            at += c.len_utf8();
        } else {
            break;
        }
    }
    let stops = |text: &str| text.is_empty() || text.starts_with(['(', ')', ',', '、', ';', '/']);
    // With its 号, where it has one.
    let whole = |text: &str, number: usize| {
        let word = usize::from(number > 0 && text[number..].starts_with('号')) * '号'.len_utf8();
        Some(number + word).filter(|end| stops(&text[*end..]))
    };
    if end > 0 {
        let number = whole(&text[end..], unit_number(&text[end..])).unwrap_or(0);
        let named = end > leading_unit_word(text);
        return (named || number > 0).then_some(end + number);
    }
    let bare = unit_span(text);
    if bare == 0 || !has_door {
        return None;
    }
    let (unit, rest) = text.split_at(bare);
    // A区3号
    if let Some(within) = rest.strip_prefix('区')
        && let Some(number) = whole(within, unit_span(within)).filter(|number| *number > 0)
    {
        return Some(bare + '区'.len_utf8() + number);
    }
    // A word is none: 12 Guangyuan Road.
    let is_unit = unit.contains(|c: char| c.is_ascii_digit()) || bare <= LETTERS_MAX;
    match rest.strip_prefix('号') {
        _ if rest.is_empty() => is_unit.then_some(bare),
        Some(after) if stops(after) && unit.ends_with(|c: char| c.is_ascii_digit()) => {
            Some(bare + '号'.len_utf8())
        }
        _ => None,
    }
}

/// Letters that alone name a unit.
const LETTERS_MAX: usize = 3;
/// Digits of each further unit in a list; more are a telephone number.
const LISTED_DIGITS_MAX: usize = 4;

/// Length of the letters and digits at the start.
fn unit_span(text: &str) -> usize {
    text.len()
        - text
            .trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '-')
            .len()
}

/// Length of the number behind a word for a unit: 3, 3-5, 3、4, 十二, 甲.
fn unit_number(text: &str) -> usize {
    let mut end = unit_span(text);
    if end == 0 {
        let numeral = text.len()
            - text
                .trim_start_matches(|c| chinese_digit(c).is_some())
                .len();
        let stem = text.chars().next().filter(|c| is_stem(*c));
        return numeral.max(stem.map_or(0, char::len_utf8));
    }
    while let Some(after) = text[end..].strip_prefix(['、', ',', '/']) {
        let more = unit_span(after);
        if more == 0 || more > LISTED_DIGITS_MAX {
            break;
        }
        end = text.len() - after.len() + more;
    }
    end
}

/// Whether a text, standing right after digits, makes them a unit.
fn starts_as_unit(rest: &str) -> bool {
    rest.starts_with(|c: char| is_unit_word(c) && !c.is_ascii())
        || rest.starts_with("单元")
        || rest.strip_prefix("号楼").is_some_and(|after| {
            // 123号楼上 is above number 123.
            !after.starts_with(['上', '下', '前', '后', '旁', '内', '梯', '道'])
        })
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
    fn what_neighbours_of_known_spellings_say() {
        check("天平路123号商铺三", "天平路 - 123 - 商铺三 -");
        check("天平路123号商铺十二", "天平路 - 123 - 商铺十二 -");
        check("天平路123号铺位甲", "天平路 - 123 - 铺位甲 -");
        check("天平路123号商铺3号", "天平路 - 123 - 商铺3号 -");
        check("天平路123号商铺3、4", "天平路 - 123 - 商铺3、4 -");
        check("天平路123号门面房3号", "天平路 - 123 - 门面房3号 -");
        check("天平路123号A区3号", "天平路 - 123 - A区3号 -");
        check(
            "天平路123号3楼301,13800000001",
            "天平路 - 123 - 3楼301 ,13800000001",
        );
        check("天平路No.23", "天平路 - 23 - - -");
        check("天平路№23", "天平路 - 23 - - -");
        check("天平路#23", "天平路 - 23 - - -");
        check("天平路23-甲", "天平路 - 23 甲 - -");
        check("天平路23号-甲", "天平路 - 23 甲 - -");
        check("天平路12.0号", "天平路 - 12 - - -");
        check("天平路卌二号", "天平路 - 42 - - -");
        check("天平路123弄内5号", "天平路 123 5 - - -");
        check("天平路123弄甲支弄5号", "天平路 123弄甲支 5 - - -");
        check("天平路123甲弄5号", "天平路 123甲 5 - - -");
        check("天平路123弄(广元小区)5号", "天平路 123 5 - - (广元小区)");
        check("天平路123弄(近广元路)5号", "天平路 123 5 - - (近广元路)");
        check("天平路123巷4号", "天平路 - - - - 123巷4号");
        check("广元路口天平路123号", "天平路 - 123 - - 广元路口");
        check("广元路口，天平路123弄4号", "天平路 123 4 - - 广元路口,");
        check("广元路口", "广元路 - - - - 口");
        check("12 Guangyuan Road", "- - 12 - - GuangyuanRoad");
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
    fn numbers_in_other_spellings() {
        check("天平路二十三号", "天平路 - 23 - - -");
        check("天平路一百二十三号", "天平路 - 123 - - -");
        check("天平路一二三号", "天平路 - 123 - - -");
        check("天平路一百零五号", "天平路 - 105 - - -");
        check("天平路廿三号", "天平路 - 23 - - -");
        check("天平路壹佰贰拾叁号", "天平路 - 123 - - -");
        check("天平路二〇三号", "天平路 - 203 - - -");
        check("天平路三十六号甲", "天平路 - 36 甲 - -");
        check("天平路三十六甲号", "天平路 - 36 甲 - -");
        check("天平路十二至十四号", "天平路 - 12-14 - - -");
        check("天平路一百二十三弄五号", "天平路 123 5 - - -");
        check("天平路十二号二楼", "天平路 - 12 - 二楼 -");
        check("天平路一百二号", "天平路 - - - - 一百二号");
        check("天平路A123号", "天平路 - A123 - - -");
        check("天平路a-123号", "天平路 - A123 - - -");
        check("天平路第123号", "天平路 - 123 - - -");
        check("天平路第一百二十三号", "天平路 - 123 - - -");
        check("天平路No.123号", "天平路 - 123 - - -");
        check("天平路：123号", "天平路 - 123 - - -");
        check("天平路，123号", "天平路 - 123 - - -");
        check("天平路·123号", "天平路 - 123 - - -");
        check("天平路（123号）", "天平路 - 123 - - -");
        check("天平路(近广元路)123号", "天平路 - 123 - - (近广元路)");
        check("天平路东段123号", "天平路 - 123 - - 东段");
        check("天平路门牌123号", "天平路 - 123 - - 门牌");
        check("天平路123#", "天平路 - 123 - - -");
        check("天平路甲36号", "天平路 - 36 甲 - -");
        check("天平路36甲乙丙号", "天平路 - 36 甲乙丙 - -");
        check("天平路36号甲、乙", "天平路 - 36 甲乙 - -");
        check("天平路36甲-丙号", "天平路 - 36 甲-丙 - -");
        check("天平路36号附1号", "天平路 - 36 附1 - -");
        check("天平路12号-14号", "天平路 - 12-14 - - -");
        check("天平路12号至16号", "天平路 - 12-16 - - -");
        check("天平路12号、14号、16号", "天平路 - 12、14、16 - - -");
        check("天平路12/14号", "天平路 - 12/14 - - -");
        check("天平路12和14号", "天平路 - 12、14 - - -");
        check("天平路12.14号", "天平路 - 12、14 - - -");
        check("天平路12 14号", "天平路 - 12、14 - - -");
        check("天平路378 201室", "天平路 - 378 - 201室 -");
        check("天平路１２３號Ｂ座", "天平路 - 123 - B座 -");
    }

    #[test]
    fn regions_and_postcodes_before_a_road() {
        for text in [
            "200030上海市天平路123号",
            "200030 天平路123号",
            "（200030）天平路123号",
            "邮编200030，天平路123号",
            "邮政编码：200030 上海市徐汇区天平路123号",
            "天平路123号 200030",
            "天平路123号（邮编：200030）",
            "徐汇天平路123号",
            "上海徐汇天平路123号",
            "上海市徐汇天平路123号",
            "上海市市辖区徐汇区天平路123号",
            "上海市-徐汇区-天平路123号",
            "上海市徐汇区天平路街道办事处天平路123号",
            "徐汇区天平街道天平路123号",
            "上海徐汇天平街道天平路123号",
        ] {
            check(text, "天平路 - 123 - - -");
        }
        check("天平街道天平社区天平路123号", "天平路 - 123 - - 天平社区");
        check("永嘉居委会天平路123号", "天平路 - 123 - - 永嘉居委会");
        let road = |text: &str| Address::parse(text, &[]).road;
        for (text, expected) in [
            ("徐汇天平路123号", "天平路"),
            ("浦东张杨路5号", "张杨路"),
            ("浦东南路5号", "浦东南路"),
            ("静安寺路5号", "静安寺路"),
            ("普陀山路5号", "普陀山路"),
            ("宝山路5号", "宝山路"),
            ("石门1路5号", "石门1路"),
            ("200030天平路5号", "天平路"),
            ("天平路近淮海中路", "天平路"),
            ("天平路淮海中路路口", "天平路"),
            ("天平路/淮海中路", "天平路"),
            ("天平路与淮海中路交叉口", "天平路"),
            ("天平路(近淮海中路)5号", "天平路"),
            ("天平路路口", "天平路"),
            ("五道口路5号", "五道口路"),
            ("长征路西路5号", "长征路西路"),
        ] {
            assert_eq!(road(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn cross_streets_leave_the_number_out_rather_than_guess_it() {
        check("天平路近广元路", "天平路 - - - - 近广元路");
        check("天平路近广元路5号", "天平路 - - - - 近广元路5号");
        check("天平路路口", "天平路 - - - - 路口");
        check("天平路口", "天平路 - - - - 口");
        check("天平路街面房5号", "天平路 - - - - 街面房5号");
        check("天平路123号近广元路", "天平路 - 123 - - 近广元路");
    }

    #[test]
    fn units_and_lanes_of_every_kind() {
        check("天平路123号商铺3", "天平路 - 123 - 商铺3 -");
        check("天平路123号商铺A12", "天平路 - 123 - 商铺A12 -");
        check("天平路123号铺面2", "天平路 - 123 - 铺面2 -");
        check("天平路123号底商5", "天平路 - 123 - 底商5 -");
        check("天平路123号底商", "天平路 - 123 - 底商 -");
        check("天平路123号（底商3）", "天平路 - 123 - 底商3 -");
        check("天平路123号门面房2", "天平路 - 123 - 门面房2 -");
        check("天平路123号12号铺", "天平路 - 123 - 12号铺 -");
        check("天平路123号A12号", "天平路 - 123 - A12号 -");
        check("天平路123号3楼301", "天平路 - 123 - 3楼301 -");
        check("天平路123号2单元301", "天平路 - 123 - 2单元301 -");
        check("天平路123号A座1201室", "天平路 - 123 - A座1201室 -");
        check("天平路123号101、102室", "天平路 - 123 - 101、102室 -");
        check("天平路123号101-103室", "天平路 - 123 - 101-103室 -");
        check("天平路123号201房", "天平路 - 123 - 201房 -");
        check("天平路123号负一层", "天平路 - 123 - 负一层 -");
        check("天平路1号天平大厦305室", "天平路 - 1 - 305室 天平大厦");
        check("天平路1号(天平大厦)3楼", "天平路 - 1 - 3楼 (天平大厦)");
        check("天平路1号天平大厦", "天平路 - 1 - - 天平大厦");
        check("天平路200030", "天平路 - - - - -");
        check("天平路123号楼上", "天平路 - 123 - - 楼上");
        check("天平路123号（1楼扶梯旁）", "天平路 - 123 - - (1楼扶梯旁)");
        check("天平路123弄4弄5号", "天平路 123弄4 5 - - -");
        check("天平路123弄4弄6弄5号", "天平路 123弄4弄6 5 - - -");
        check("天平路123弄4支5号", "天平路 123弄4支 5 - - -");
        check("天平路123、125弄5号", "天平路 123、125 5 - - -");
        check("天平路123弄永嘉新村5号", "天平路 123 5 - - 永嘉新村");
        check("天平路123弄口", "天平路 123 - - - 口");
    }

    #[test]
    fn roads_are_known_in_other_spellings() {
        let roads = ["中山南二路", "石门一路", "乌鲁木齐南路"];
        for (text, road) in [
            ("中山南2路5号", "中山南二路"),
            ("中山南２路5号", "中山南二路"),
            ("石門一路5号", "石门一路"),
            ("石门1路5号", "石门一路"),
            ("烏魯木齊南路5號", "乌鲁木齐南路"),
        ] {
            let address = Address::parse(text, &roads);
            assert!(address.road_known, "{text}");
            assert_eq!(
                (address.road.as_deref(), address.number.as_deref()),
                (Some(road), Some("5")),
                "{text}"
            );
        }
        assert!(!Address::parse("石门二路5号", &roads).road_known);
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
