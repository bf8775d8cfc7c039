//! Which row holds the headings, and what each column means.
//!
//! Headings are compared in folded form (width, case, script, punctuation and brackets do not count): first with the whole headings that
//! the card's fields name, then with words that a heading contains. What neither knows becomes a field of the street's own.

use std::collections::BTreeSet;

use lianka_sync_core::{
    kinds::{Field, Kind, Meaning, Shape, key, kind::AddressPart, shop_card::CONTACTS},
    search::fold,
    values::geo::Crs,
};

use crate::roll::{export::VISIT_HEADINGS, sheet::Sheet};

/// Rows of a sheet among which the headings are looked for.
const HEADER_ROWS_MAX: usize = 60;
/// A heading is short; a long text is an explanation.
const HEADING_CHARS_MAX: usize = 40;

/// What a column is read as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnTarget {
    /// Running number; kept in the cells only.
    Serial,
    /// What an exported roll tells beside the card; kept in the cells only.
    Exported,
    /// Area that a grid lies in.
    Area,
    /// A field of the card.
    Field(&'static Field),
    /// A part of a contact person. Columns of one person share the group.
    Contact {
        /// Empty for the ordinary contact, else what tells the person apart: `2`, `负责人`.
        group: String,
        /// Which part.
        part: &'static Field,
    },
    /// Both coordinates, in the system that the heading names.
    Point(Option<Crs>),
    /// Longitude alone.
    Longitude(Option<Crs>),
    /// Latitude alone.
    Latitude(Option<Crs>),
    /// Sensitive personal data: read, reported, and not to be stored.
    Sensitive,
    /// `custom/<name>`
    Custom(String),
}

impl ColumnTarget {
    /// As the report of an import names it.
    pub fn name(&self) -> String {
        match self {
            Self::Serial => "serial".to_owned(),
            Self::Exported => "exported".to_owned(),
            Self::Area => "area".to_owned(),
            Self::Field(field) => field.name.to_owned(),
            Self::Contact { part, .. } => format!("{CONTACTS}/{}", part.name),
            Self::Point(_) | Self::Longitude(_) | Self::Latitude(_) => {
                field(Meaning::Point).map_or_else(String::new, |field| field.name.to_owned())
            }
            Self::Sensitive => "sensitive".to_owned(),
            Self::Custom(name) => format!("{}/{name}", key::CUSTOM),
        }
    }
}

/// The card's field of this meaning, where it is the only one.
pub(crate) fn field(meaning: Meaning) -> Option<&'static Field> {
    Kind::ShopCard
        .fields()
        .iter()
        .find(|field| field.meaning == meaning)
}

/// Where the headings stand.
#[derive(Debug)]
pub(crate) struct Header {
    /// Index of the sheet.
    pub(crate) sheet: usize,
    /// Index of the row among the sheet's rows.
    pub(crate) row: usize,
    /// How sure that is.
    pub(crate) score: u32,
    /// Index of another sheet that looks like a roll too.
    pub(crate) other_sheet: Option<usize>,
}

/// The row that reads most like headings, over all sheets; at equal score the sheet with more rows below it.
pub(crate) fn find(sheets: &[Sheet]) -> Option<Header> {
    let mut found: Vec<(u32, usize, usize, usize)> = Vec::new();
    for (at, sheet) in sheets.iter().enumerate() {
        let rows = sheet.rows.iter().take(HEADER_ROWS_MAX).enumerate();
        // Of equal rows the first: a second one is the heading repeated on the next printed page.
        let best = rows
            .map(|(row, (_, cells))| (score(cells), std::cmp::Reverse(row)))
            .max();
        if let Some((score, std::cmp::Reverse(row))) = best.filter(|(score, _)| *score > 0) {
            found.push((score, sheet.rows.len() - row - 1, at, row));
        }
    }
    found.sort_by_key(|&(score, below, at, _)| (std::cmp::Reverse((score, below)), at));
    let &(score, _, sheet, row) = found.first()?;
    let other_sheet = found
        .get(1)
        .filter(|(other, below, ..)| other * 2 >= score && *below > 0)
        .map(|&(_, _, at, _)| at);
    Some(Header {
        sheet,
        row,
        score,
        other_sheet,
    })
}

/// What tells that a row, or a sheet, is about a shop.
pub(crate) const NAMES_SHOP: [Meaning; 5] = [
    Meaning::TradeName,
    Meaning::LegalName,
    Meaning::CreditCode,
    Meaning::Address,
    Meaning::AddressPart(AddressPart::Road),
];

/// Zero for a row that cannot be the headings of a roll.
fn score(cells: &[String]) -> u32 {
    let mut seen = BTreeSet::new();
    let mut score = 0;
    let mut names_shop = false;
    for cell in cells
        .iter()
        .filter(|c| !c.is_empty() && c.chars().count() <= HEADING_CHARS_MAX)
    {
        let Some((target, exact)) = known(cell) else {
            continue;
        };
        let place = match &target {
            ColumnTarget::Contact { group, .. } => format!("{} {group}", target.name()),
            ColumnTarget::Point(_) | ColumnTarget::Longitude(_) | ColumnTarget::Latitude(_) => {
                format!("{target:?}")
            }
            _ => target.name(),
        };
        if !seen.insert(place) {
            continue;
        }
        score += if exact { 3 } else { 1 };
        names_shop |=
            matches!(target, ColumnTarget::Field(field) if NAMES_SHOP.contains(&field.meaning));
    }
    if seen.len() >= 2 && names_shop {
        score
    } else {
        0
    }
}

/// What the columns under these headings are read as. A target is taken by one column only, rather by an exact heading than by
/// a guessed one, rather by the left; the rest become custom fields, whose names are unique.
pub(crate) fn targets(headings: &[String]) -> Vec<ColumnTarget> {
    let mut targets: Vec<Option<ColumnTarget>> = vec![None; headings.len()];
    for exact_pass in [true, false] {
        for (at, heading) in headings.iter().enumerate() {
            if let Some((target, exact)) = known(heading)
                && exact == exact_pass
                && (matches!(target, ColumnTarget::Sensitive | ColumnTarget::Exported)
                    || !targets
                        .iter()
                        .flatten()
                        .any(|taken| same_place(taken, &target)))
            {
                targets[at] = Some(target);
            }
        }
    }
    join_lone_contact(&mut targets);
    let mut names = BTreeSet::new();
    targets
        .into_iter()
        .zip(headings)
        .map(|(target, heading)| {
            target.unwrap_or_else(|| ColumnTarget::Custom(slug(heading, &mut names)))
        })
        .collect()
}

fn same_place(taken: &ColumnTarget, target: &ColumnTarget) -> bool {
    taken == target
        || std::mem::discriminant(taken) == std::mem::discriminant(target)
            && !matches!(
                target,
                ColumnTarget::Contact { .. } | ColumnTarget::Field(_)
            )
}

/// 负责人 beside 联系电话, and nobody else: the number is that person's.
fn join_lone_contact(targets: &mut [Option<ColumnTarget>]) {
    let groups_with = |targets: &[Option<ColumnTarget>], wanted: Meaning| -> BTreeSet<String> {
        let groups = targets.iter().flatten().filter_map(|t| match t {
            ColumnTarget::Contact { group, part } if part.meaning == wanted => Some(group.clone()),
            _ => None,
        });
        groups.collect()
    };
    let (named, called) = (
        groups_with(targets, Meaning::PersonName),
        groups_with(targets, Meaning::Telephone),
    );
    let [Some(name), None] = [named.first(), named.iter().nth(1)] else {
        return;
    };
    if !name.is_empty() && !called.contains(name) && called.contains("") {
        for target in targets.iter_mut().flatten() {
            if let ColumnTarget::Contact { group, .. } = target
                && group.is_empty()
            {
                group.clone_from(name);
            }
        }
    }
}

/// NFC heading in lower case, letters, digits and Han characters kept, others as one `_`, at most 40 characters, unique.
fn slug(heading: &str, taken: &mut BTreeSet<String>) -> String {
    let mut base = String::new();
    for c in lianka_sync_core::values::text::nfc(heading)
        .chars()
        .flat_map(char::to_lowercase)
    {
        if c.is_alphanumeric() {
            base.push(c);
        } else if !base.is_empty() && !base.ends_with('_') {
            base.push('_');
        }
    }
    let cut = |text: &str, chars: usize| -> String {
        text.chars()
            .take(chars)
            .collect::<String>()
            .trim_end_matches('_')
            .to_owned()
    };
    let mut base = cut(&base, 40);
    if base.is_empty() {
        base.push_str("column");
    }
    let mut name = base.clone();
    let mut count = 1;
    while !taken.insert(name.clone()) {
        count += 1;
        let tail = format!("_{count}");
        name = cut(&base, 40 - tail.len()) + &tail;
    }
    name
}

/// The meaning of a heading, and whether the whole of it is known.
fn known(heading: &str) -> Option<(ColumnTarget, bool)> {
    if heading.chars().count() > HEADING_CHARS_MAX {
        return None;
    }
    let crs = || Crs::from_heading(heading);
    let bare = fold(&without_brackets(heading));
    let whole = fold(heading);
    let bare = if bare.is_empty() { whole.clone() } else { bare };
    if [
        "身份证",
        "证件号",
        "政治面貌",
        "民族",
        "宗教",
        "银行卡",
        "idcard",
        "idnumber",
        "partymember",
    ]
    .iter()
    .any(|w| whole.contains(w))
    {
        return Some((ColumnTarget::Sensitive, true));
    }
    exact(&bare, &crs)
        .or_else(|| exact(&whole, &crs))
        .map(|t| (t, true))
        .or_else(|| guessed(&bare, &crs).map(|t| (t, false)))
}

/// A heading without what stands in brackets: 登记名称（营业执照）, 地址*.
fn without_brackets(heading: &str) -> String {
    let mut depth = 0_u32;
    let mut out = String::new();
    for c in heading.chars() {
        match c {
            '(' | '（' | '[' | '【' | '〔' => depth += 1,
            ')' | '）' | ']' | '】' | '〕' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

fn exact(heading: &str, crs: &impl Fn() -> Option<Crs>) -> Option<ColumnTarget> {
    match heading {
        "序号" | "编号" | "序" | "no" | "seq" | "index" | "id" | "行号" => {
            return Some(ColumnTarget::Serial);
        }
        "片区" | "所属片区" | "片区名称" | "区域" | "责任片区" | "area" | "district" | "zone" =>
        {
            return Some(ColumnTarget::Area);
        }
        "经度" | "lon" | "lng" | "longitude" => return Some(ColumnTarget::Longitude(crs())),
        "纬度" | "lat" | "latitude" => return Some(ColumnTarget::Latitude(crs())),
        _ => {}
    }
    let told = |own: &str| fold(own) == heading;
    if VISIT_HEADINGS.iter().any(|(zh, en)| told(zh) || told(en)) {
        return Some(ColumnTarget::Exported);
    }
    let known = |field: &&Field| {
        !matches!(field.shape, Shape::Entry { .. }) && field.headings.whole.contains(&heading)
    };
    match Kind::ShopCard.fields().iter().find(known) {
        Some(field) => Some(target(field, crs)),
        None => contact(heading),
    }
}

/// The column of a field; of a person's the ordinary one.
fn target(field: &'static Field, crs: &impl Fn() -> Option<Crs>) -> ColumnTarget {
    match (field.shape, field.meaning) {
        (Shape::Entry { .. }, _) => ColumnTarget::Contact {
            group: String::new(),
            part: field,
        },
        (_, Meaning::Point) => ColumnTarget::Point(crs()),
        _ => ColumnTarget::Field(field),
    }
}

/// 联系人, 联系电话2, 负责人电话, 法人 …: a person and a part, in so many words.
fn contact(heading: &str) -> Option<ColumnTarget> {
    const PERSONS: [&str; 12] = [
        "联系人",
        "负责人",
        "经营者",
        "店主",
        "法定代表人",
        "法人代表",
        "法人",
        "房东",
        "老板",
        "店长",
        "备用",
        "contact",
    ];
    let (stem, digit) = match heading.char_indices().next_back() {
        Some((at, digit @ '2'..='9')) => (&heading[..at], digit.to_string()),
        Some((at, '1')) => (&heading[..at], String::new()),
        _ => (heading, String::new()),
    };
    let person = PERSONS.iter().find(|p| stem.starts_with(**p)).copied();
    let what = person.map_or(stem, |p| &stem[p.len()..]);
    let what = what.strip_prefix("的").unwrap_or(what);
    let part = Kind::ShopCard.fields().iter().find(|field| {
        matches!(field.shape, Shape::Entry { list: CONTACTS })
            && (field.headings.whole.contains(&what)
                || person.is_some() && field.headings.of_person.contains(&what))
    })?;
    // 座机 beside 手机 is a second number of the same person, not a second person.
    let landline = matches!(what, "固定电话" | "座机");
    let group = match person {
        Some("联系人" | "contact") | None => digit,
        Some(person) => format!("{person}{digit}"),
    };
    let group = if landline && group.is_empty() {
        "座机".to_owned()
    } else {
        group
    };
    Some(ColumnTarget::Contact { group, part })
}

/// Words within a heading. The order decides: 联系电话 must not be read as a 联系人, 走访备注 is a note.
fn guessed(heading: &str, crs: &impl Fn() -> Option<Crs>) -> Option<ColumnTarget> {
    let says = |words: &[&str]| words.iter().any(|w| heading.contains(w));
    // Columns about somebody or something else: a grid's warden, a permit, an inspection.
    if says(&[
        "网格员",
        "网格长",
        "街长",
        "许可证",
        "检查",
        "走访人",
        "填表",
        "证号",
        "年龄",
        "性别",
        "生日",
        "照片",
        "签名",
        "合同",
        "面积",
        "人数",
        "微信",
    ]) {
        return None;
    }
    let fields = Kind::ShopCard
        .fields()
        .iter()
        .filter(|field| {
            let within = field.headings.within;
            !within.is_empty() && within.iter().all(|words| says(words))
        })
        .map(|field| (field.headings.rank, target(field, crs)));
    let area = says(&["片区"]).then_some((AREA_RANK, ColumnTarget::Area));
    fields
        .chain(area)
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, target)| target)
}

/// Where an area stands among the fields whose words a heading may hold.
const AREA_RANK: u8 = 13;
