//! Which row holds the headings, and what each column means.
//!
//! Headings are compared in folded form (width, case, script, punctuation and brackets do not count): first with the whole headings that
//! the card's fields name, then with words that a heading contains. What neither knows becomes a field of the street's own.

use std::{collections::BTreeSet, sync::LazyLock};

use lianka_sync_core::{
    kinds::{Field, Kind, Meaning, Shape, kind::AddressPart},
    search::fold,
    values::geo::Crs,
};

use crate::{Sheet, people, target::ColumnTarget};

/// Columns that tell beside the card, and what it is known by: a sheet from elsewhere that has them says nothing by them.
pub const TOLD_HEADINGS: [(&str, &str); 4] = [
    ("冲突字段数", "fields in conflict"),
    ("已并入", "merged into"),
    ("卡片编号", "card id"),
    ("导出编号", "export id"),
];

/// The last visit, behind everything else: an import passes these columns over. None is called as a field's heading is.
pub const VISIT_HEADINGS: [(&str, &str); 3] = [
    ("末次走访", "visited at"),
    ("走访结果", "visit outcome"),
    ("走访人", "visited by"),
];

/// Rows of a sheet among which the headings are looked for.
const HEADER_ROWS_MAX: usize = 60;
/// A heading is short; a long text is an explanation.
const HEADING_CHARS_MAX: usize = 40;

/// Where the headings stand.
#[derive(Debug)]
pub(crate) struct Header {
    /// Index of the sheet.
    pub(crate) sheet: usize,
    /// Index of the row among the sheet's rows.
    pub(crate) row: usize,
    /// Index of a row of groups above it (经营者 | 房东), whose headings stand in `row`.
    pub(crate) groups: Option<usize>,
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
            .map(|(row, (_, cells))| (score(&cells), std::cmp::Reverse(row)))
            .max();
        if let Some((score, std::cmp::Reverse(row))) = best.filter(|(score, _)| *score > 0) {
            found.push((score, sheet.rows.len() - row - 1, at, row));
        }
    }
    found.sort_by_key(|&(score, below, at, _)| (std::cmp::Reverse((score, below)), at));
    let &(score, _, sheet, best) = found.first()?;
    let (groups, row) = two_rows(&sheets[sheet], best);
    let other_sheet = found
        .get(1)
        .filter(|(other, below, ..)| other * 2 >= score && *below > 0)
        .map(|&(_, _, at, _)| at);
    Some(Header {
        sheet,
        row,
        groups,
        score,
        other_sheet,
    })
}

/// Whether the headings take two rows, with groups above: whichever of the two was found, the answer is (groups, headings).
fn two_rows(sheet: &Sheet, best: usize) -> (Option<usize>, usize) {
    let pair = |upper: usize| -> Option<bool> {
        let ((first, above), (second, below)) =
            (sheet.rows.get(upper)?, sheet.rows.get(upper + 1)?);
        Some(second == first + 1 && are_two_rows(&above, &below))
    };
    if pair(best) == Some(true) {
        return (Some(best), best + 1);
    }
    match best.checked_sub(1) {
        Some(upper) if pair(upper) == Some(true) => (Some(upper), best),
        _ => (None, best),
    }
}

/// Whether a row of groups stands above a row of headings. A merged heading says the same in both, or nothing in the lower.
fn are_two_rows(above: &[String], below: &[String]) -> bool {
    let is_label = |text: &str| {
        !text.contains([':', '：'])
            && text.chars().count() <= HEADING_CHARS_MAX / 2
            && text.chars().filter(char::is_ascii_digit).count() < 4
    };
    let is_known = |text: &str| matches!(known(text), Some((_, true)));
    let upper = |at: usize| above.get(at).map_or("", |text| text.trim());
    let said = |cells: &[String]| -> Vec<(usize, String)> {
        let cells = cells.iter().enumerate();
        cells
            .map(|(at, text)| (at, text.trim().to_owned()))
            .filter(|(_, text)| !text.is_empty())
            .collect()
    };
    let (groups, lower) = (said(above), said(below));
    let is_group = |text: &str| is_known(text) || person_of_group(text).is_some();
    let titled = groups.len() < 2
        && !groups
            .iter()
            .any(|(_, text)| person_of_group(text).is_some());
    if titled
        || !groups.iter().all(|(_, text)| is_label(text))
        || !groups.iter().any(|(_, text)| is_group(text))
    {
        return false;
    }
    let new: Vec<&(usize, String)> = lower
        .iter()
        .filter(|(at, text)| upper(*at) != text)
        .collect();
    let known_ones = new.iter().filter(|(_, text)| is_known(text)).count();
    // A shop's own row says something else under the heading of its sign or address.
    let is_of_shop = |at: usize| {
        matches!(known(upper(at)), Some((ColumnTarget::Field(field), true))
            if NAMES_SHOP.contains(&field.meaning))
    };
    known_ones >= 2
        && known_ones * 2 >= new.len()
        && new.iter().all(|(at, text)| {
            is_label(text)
                && (is_known(text) || !is_of_shop(*at))
                && (is_known(text) || !group_at(above, below, *at).is_empty())
        })
}

/// The group over a column: its own, or the one to the left that reaches over it.
fn group_at(above: &[String], below: &[String], at: usize) -> String {
    let text =
        |cells: &[String], at: usize| cells.get(at).map_or("", |text| text.trim()).to_owned();
    for left in (0..=at).rev() {
        let (group, under) = (text(above, left), text(below, left));
        if under.is_empty() {
            break;
        }
        if !group.is_empty() {
            // One heading merged over both rows is no group of its neighbours.
            return if group == under { String::new() } else { group };
        }
    }
    String::new()
}

/// The headings of a table whose groups stand in a row above.
pub(crate) fn composed(above: &[String], below: &[String]) -> Vec<String> {
    let text =
        |cells: &[String], at: usize| cells.get(at).map_or("", |text| text.trim()).to_owned();
    let one = |at: usize| {
        let (upper, lower) = (text(above, at), text(below, at));
        if lower.is_empty() || lower == upper {
            return upper;
        }
        let group = group_at(above, below, at);
        if group.is_empty() || fold(&lower).starts_with(&fold(&group)) {
            return lower;
        }
        let is_known = matches!(known(&lower), Some((_, true)));
        match person_of_group(&group) {
            Some(person) => format!("{person}{lower}"),
            None if is_known => lower,
            None => format!("{group}{lower}"),
        }
    };
    (0..above.len().max(below.len())).map(one).collect()
}

/// The word for a person that a group of headings consists of: 房东信息 is about a 房东.
fn person_of_group(group: &str) -> Option<String> {
    let plain = fold(&without_brackets(group));
    let plain = ["信息", "情况", "资料", "栏", "info"]
        .iter()
        .find_map(|word| plain.strip_suffix(word))
        .unwrap_or(&plain);
    let (person, index, rest) = person(plain)?;
    rest.is_empty().then(|| format!("{}{index}", person.word))
}

/// Whether a row below the headings is the headings again, in much the same words: every cell of it is a heading.
pub(crate) fn is_heading_row(cells: &[String]) -> bool {
    let said: Vec<&str> = cells
        .iter()
        .map(|cell| cell.trim())
        .filter(|cell| !cell.is_empty())
        .collect();
    let others_max = said.len() / 4;
    // Most rows say at a glance that they are none: numbers and long texts.
    let is_short = |cell: &str| {
        cell.len() <= HEADING_CHARS_MAX && cell.bytes().filter(u8::is_ascii_digit).count() < 3
    };
    if said.iter().filter(|cell| !is_short(cell)).count() > others_max {
        return false;
    }
    let (mut others, mut guesses) = (0, 0);
    for cell in &said {
        match known(cell) {
            Some((_, true)) => {}
            // 名称 beside 地址 and 网格 is a heading as well.
            Some((_, false)) => guesses += 1,
            None => others += 1,
        }
        if others > others_max {
            return false;
        }
    }
    let exact = said.len() - others - guesses;
    exact >= 2 && guesses + others <= others_max.max(exact / 2)
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
/// a guessed one, rather by the left; what tells of persons again tells of further persons; the rest become custom fields, whose names are
/// unique.
pub(crate) fn targets(headings: &[String]) -> Vec<ColumnTarget> {
    let mut targets: Vec<Option<ColumnTarget>> = vec![None; headings.len()];
    for exact_pass in [true, false] {
        for (at, heading) in headings.iter().enumerate() {
            if let Some((target, exact)) = known(heading)
                && exact == exact_pass
                && (is_repeatable(&target, exact)
                    || !targets
                        .iter()
                        .flatten()
                        .any(|taken| same_place(taken, &target)))
            {
                targets[at] = Some(target);
            }
        }
    }
    let unlisted = unlisted(headings);
    for (target, unlisted) in targets.iter_mut().zip(&unlisted) {
        if let Some(unlisted) = unlisted {
            *target = Some(unlisted.clone());
        }
    }
    let is_unlisted = |heading: &str| {
        let mut places = headings.iter().zip(&unlisted);
        places.any(|(other, unlisted)| other == heading && unlisted.is_some())
    };
    people::assign(headings, &mut targets, |heading| {
        names_person(heading) || is_unlisted(heading)
    });
    let mut names = BTreeSet::new();
    targets
        .into_iter()
        .zip(headings)
        .map(|(target, heading)| {
            target.unwrap_or_else(|| ColumnTarget::Custom(slug(heading, &mut names)))
        })
        .collect()
}

/// Words behind whom a number is of, longer ones first.
const NUMBER_WORDS: [&str; 11] = [
    "联系电话号码",
    "联系电话",
    "联系手机",
    "联系方式",
    "联系号码",
    "手机号码",
    "手机号",
    "手机",
    "电话号码",
    "电话",
    "座机",
];
/// Words before a number that name nobody: a number of whom the columns before it are about.
const NOBODYS: [&str; 62] = [
    "联系",
    "移动",
    "固定",
    "固话",
    "办公",
    "办公室",
    "常用",
    "店铺",
    "商铺",
    "门店",
    "店",
    "本店",
    "店内",
    "店里",
    "店面",
    "商户",
    "商家",
    "单位",
    "公司",
    "企业",
    "值班",
    "前台",
    "总机",
    "服务",
    "客服",
    "预约",
    "订餐",
    "订座",
    "外卖",
    "有效",
    "主要",
    "第一",
    "第二",
    "第三",
    "其他",
    "其它",
    "另一",
    "对外",
    "经营",
    "营业",
    "注册",
    "登记",
    "业务",
    "座机",
    "宅",
    "住宅",
    "家庭",
    "新",
    "旧",
    "原",
    "最新",
    "现",
    "本人",
    "手机",
    "电话",
    "公开",
    "现场",
    "日常",
    "夜间",
    "工作",
    "私人",
    "个人",
];
/// A longer word is no word for a person.
const PERSON_CHARS_MAX: usize = 12;

/// Columns of persons whom no list knows: 户主 and 户主电话, 员工姓名 and 员工手机. Their numbers are nobody else's.
fn unlisted(headings: &[String]) -> Vec<Option<ColumnTarget>> {
    let crs = || None;
    let bare = |heading: &String| fold(&without_brackets(heading));
    let whose = |heading: &String| -> Option<String> {
        let bare = bare(heading);
        let guess = match known(heading)? {
            (ColumnTarget::Contact { part, .. }, false) => part.meaning == Meaning::Telephone,
            _ => false,
        };
        if !guess || person(&bare).is_some() {
            return None;
        }
        let (stem, index) = without_index(&bare).unwrap_or((&bare, String::new()));
        let stem = NUMBER_WORDS
            .iter()
            .find_map(|word| stem.strip_suffix(word))?;
        let stem = stem.strip_suffix('的').unwrap_or(stem);
        let plain = stem.trim_end_matches(|c: char| c.is_ascii_digit());
        let is_person = !plain.is_empty()
            && !plain.is_ascii()
            && stem.chars().count() <= PERSON_CHARS_MAX
            && !NOBODYS.contains(&plain)
            && exact(plain, &crs).is_none();
        is_person.then(|| format!("{stem}{index}"))
    };
    let numbers: Vec<Option<String>> = headings.iter().map(whose).collect();
    let field = |meaning: Meaning| {
        let mut of_person = Kind::ShopCard.person_fields();
        of_person.find(|field| field.meaning == meaning)
    };
    let name_of = |heading: &String| -> Option<String> {
        let bare = bare(heading);
        let (stem, index) = without_index(&bare).unwrap_or((&bare, String::new()));
        let stem = ["姓名", "名字"]
            .iter()
            .find_map(|word| stem.strip_suffix(word))
            .unwrap_or(stem);
        let said = format!("{stem}{index}");
        let mut numbers = numbers.iter().flatten();
        numbers
            .find(|number| **number == said || **number == bare)
            .cloned()
    };
    headings
        .iter()
        .zip(&numbers)
        .map(|(heading, number)| {
            let (group, meaning) = match number {
                Some(group) => (group.clone(), Meaning::Telephone),
                None if matches!(known(heading), Some((_, true))) => return None,
                None => (name_of(heading)?, Meaning::PersonName),
            };
            let part = field(meaning)?;
            Some(ColumnTarget::Contact { group, part })
        })
        .collect()
}

/// A second column of a telephone is somebody's as well; a second guess at a name is none.
fn is_repeatable(target: &ColumnTarget, exact: bool) -> bool {
    match target {
        ColumnTarget::Sensitive | ColumnTarget::Exported => true,
        ColumnTarget::Contact { part, .. } => exact || part.meaning == Meaning::Telephone,
        _ => false,
    }
}

fn same_place(taken: &ColumnTarget, target: &ColumnTarget) -> bool {
    taken == target
        || std::mem::discriminant(taken) == std::mem::discriminant(target)
            && !matches!(
                target,
                ColumnTarget::Contact { .. } | ColumnTarget::Field(_)
            )
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
        "护照",
        "passport",
        "社保卡",
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
    // 房东（电话） is a number, 登记名称（营业执照） a name.
    exact(&whole, &crs)
        .or_else(|| exact(&bare, &crs))
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

/// Headings of columns that only an export has, folded: rows are asked for them too.
static EXPORTED: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let told = VISIT_HEADINGS.iter().chain(&TOLD_HEADINGS);
    told.flat_map(|(zh, en)| [fold(zh), fold(en)]).collect()
});

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
    if EXPORTED.contains(heading) {
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

/// 联系人, 联系电话2, 负责人电话, 第二联系人姓名, 法人 …: a person and a part, in so many words.
fn contact(heading: &str) -> Option<ColumnTarget> {
    let said = person(heading);
    let (person, mut index, what) = match &said {
        Some((person, index, rest)) => (Some(*person), index.clone(), *rest),
        None => (None, String::new(), heading),
    };
    let mut what = what.strip_prefix('的').unwrap_or(what);
    // 法人/负责人电话: one person in two capacities.
    if let (Some(_), Some((_, _, rest))) = (person, self::person(what)) {
        what = rest;
    }
    if what.is_empty() && person.is_some_and(|person| NO_NAMES.contains(&person.word)) {
        return None;
    }
    let of = |what: &str| {
        Kind::ShopCard.person_fields().find(|field| {
            field.headings.whole.contains(&what)
                || person.is_some() && field.headings.of_person.contains(&what)
        })
    };
    let known = of(what).or_else(|| of(number_beside_name(what)?).filter(|_| person.is_some()));
    let (part, what) = if let Some(part) = known {
        (part, what)
    } else {
        let (stem, digit) = without_index(what)?;
        index = digit;
        (of(stem)?, stem)
    };
    // 座机 beside 手机 is a second number of the same person, not a second person.
    let landline = matches!(what, "固定电话" | "座机");
    let group = match person.map(|person| person.role) {
        Some("") | None => index,
        Some(role) => format!("{role}{index}"),
    };
    let group = if landline && group.is_empty() {
        people::LANDLINE.to_owned()
    } else {
        group
    };
    Some(ColumnTarget::Contact { group, part })
}

/// 房东及电话, 房东姓名及电话: one column of names and numbers, read as one of numbers, which may hold names.
fn number_beside_name(what: &str) -> Option<&str> {
    let beside = |text: &str, words: &[&str]| -> Option<usize> {
        words
            .iter()
            .find(|word| text.starts_with(**word))
            .map(|word| word.len())
    };
    let name = beside(what, &["姓名", "名字"]);
    let rest = &what[name.unwrap_or(0)..];
    let joint = beside(rest, &["以及", "及", "和", "与", "加"]);
    (name.is_some() || joint.is_some()).then(|| &rest[joint.unwrap_or(0)..])
}

/// A heading without the number behind it, and the number: `2` to `9`, and nothing for the first.
fn without_index(text: &str) -> Option<(&str, String)> {
    let (at, last) = text.char_indices().next_back()?;
    let index = match last {
        '1' | '一' => String::new(),
        '2'..='9' => last.to_string(),
        'a' | '甲' if !text[..at].ends_with(|c: char| c.is_ascii_alphabetic()) => String::new(),
        'b' | '乙' if !text[..at].ends_with(|c: char| c.is_ascii_alphabetic()) => "2".to_owned(),
        _ => {
            let value = "二三四五六七八九".chars().position(|c| c == last)?;
            (value + 2).to_string()
        }
    };
    Some((&text[..at], index))
}

/// A word for a person in a heading, and the role that it gives them; none for the ordinary contact.
#[derive(Clone, Copy)]
struct PersonWord {
    word: &'static str,
    role: &'static str,
}

const fn word(word: &'static str) -> PersonWord {
    PersonWord { word, role: word }
}

/// Words that have another role than themselves first. A longer word stands before its beginning.
const PERSONS: [PersonWord; 60] = [
    PersonWord {
        word: "联系人",
        role: "",
    },
    PersonWord {
        word: "contactperson",
        role: "",
    },
    PersonWord {
        word: "contact",
        role: "",
    },
    PersonWord {
        word: "紧急联系人",
        role: "紧急联系人",
    },
    PersonWord {
        word: "紧急联络人",
        role: "紧急联系人",
    },
    PersonWord {
        word: "紧急联系",
        role: "紧急联系人",
    },
    PersonWord {
        word: "紧急",
        role: "紧急联系人",
    },
    PersonWord {
        word: "应急联系人",
        role: "应急联系人",
    },
    PersonWord {
        word: "应急联系",
        role: "应急联系人",
    },
    PersonWord {
        word: "应急",
        role: "应急联系人",
    },
    PersonWord {
        word: "emergencycontact",
        role: "emergency contact",
    },
    PersonWord {
        word: "emergency",
        role: "emergency contact",
    },
    word("备用联系人"),
    PersonWord {
        word: "备用",
        role: "备用联系人",
    },
    word("其他联系人"),
    word("另一联系人"),
    word("物业联系人"),
    word("物业负责人"),
    word("物业"),
    word("消防安全责任人"),
    word("消防安全负责人"),
    word("消防安全管理人"),
    word("消防责任人"),
    word("消防负责人"),
    word("安全责任人"),
    word("安全负责人"),
    word("安全员"),
    word("实际经营者"),
    word("实际经营人"),
    word("实际负责人"),
    word("实际控制人"),
    word("现场负责人"),
    word("负责人"),
    word("经营者"),
    word("经营人"),
    word("店主"),
    word("店长"),
    word("店员"),
    word("业主"),
    word("二房东"),
    word("大房东"),
    word("房东"),
    word("房主"),
    word("产权人"),
    word("产权方"),
    word("出租人"),
    word("出租方"),
    word("承租人"),
    word("承租方"),
    word("法定代表人"),
    word("法人代表"),
    word("法人"),
    word("老板娘"),
    word("老板"),
    word("经理"),
    word("合伙人"),
    word("联络员"),
    word("值班人"),
    word("landlord"),
    word("owner"),
];

/// Words for a person that alone are no name's heading: a column 物业 holds a company, or whether there is one.
const NO_NAMES: [&str; 7] = [
    "物业",
    "备用",
    "紧急",
    "紧急联系",
    "应急",
    "应急联系",
    "emergency",
];

/// The person a heading begins with, which one of several, and what follows: `第二联系人电话`, `联系人2电话`, `商户负责人`.
fn person(heading: &str) -> Option<(PersonWord, String, &str)> {
    let mut text = heading;
    for before in [
        "商户",
        "店铺",
        "门店",
        "商铺",
        "企业",
        "单位",
        "本店",
        "主要",
        "店铺主要",
    ] {
        text = text
            .strip_prefix(before)
            .filter(|rest| starts_with_person(rest))
            .unwrap_or(text);
    }
    let mut index = String::new();
    // 第二联系人, 2号联系人
    let ordinal = text.strip_prefix('第').unwrap_or(text);
    if let Some(first) = ordinal.chars().next() {
        let rest = &ordinal[first.len_utf8()..];
        let rest = rest.strip_prefix(['号', '位']).unwrap_or(rest);
        if let Some((_, number)) = without_index(&ordinal[..first.len_utf8()])
            && starts_with_person(rest)
        {
            (text, index) = (rest, number);
        }
    }
    let found = PERSONS
        .iter()
        .filter(|person| text.starts_with(person.word));
    let person = *found.max_by_key(|person| person.word.len())?;
    let mut rest = &text[person.word.len()..];
    // 联系人2电话
    if index.is_empty()
        && let Some(next) = rest.chars().next()
        && (next.is_ascii_digit() || "一二三四五".contains(next))
        && let Some((_, number)) = without_index(&rest[..next.len_utf8()])
    {
        (rest, index) = (&rest[next.len_utf8()..], number);
    }
    Some((person, index, rest))
}

fn starts_with_person(text: &str) -> bool {
    PERSONS.iter().any(|person| text.starts_with(person.word))
}

/// Whether a heading names a person and a part of them in so many words, as 房东电话 does and 电话 does not.
pub(crate) fn names_person(heading: &str) -> bool {
    let bare = fold(&without_brackets(heading));
    person(if bare.is_empty() { heading } else { &bare }).is_some()
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
        "wechat",
        "邮箱",
        "email",
        "住址",
        "家庭",
        "户籍",
        "籍贯",
        "配偶",
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
