//! Which row holds the headings, and what each column means.
//!
//! Headings are compared in folded form (width, case, script, punctuation and brackets do not count): first with a table of
//! whole headings, then with words that a heading contains. What neither knows becomes a field of the street's own.

use std::collections::BTreeSet;

use lianka_sync_core::{search::fold, values::geo::Crs};

use crate::roll::sheet::Sheet;

/// Rows of a sheet among which the headings are looked for.
const HEADER_ROWS_MAX: usize = 60;
/// A heading is short; a long text is an explanation.
const HEADING_CHARS_MAX: usize = 40;

/// What a column is read as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnTarget {
    /// Running number; kept in the cells only.
    Serial,
    /// Area that a grid lies in.
    Area,
    /// Grid.
    Grid,
    /// `sign_name`
    SignName,
    /// `legal_name`
    LegalName,
    /// `credit_code`
    CreditCode,
    /// `category`
    Category,
    /// Whole address.
    Address,
    /// `road`
    Road,
    /// `lane`
    Lane,
    /// House number, with or without suffix.
    Number,
    /// `number_suffix`
    NumberSuffix,
    /// `unit`
    Unit,
    /// A part of a contact person. Columns of one person share the group.
    Contact {
        /// Empty for the ordinary contact, else what tells the person apart: `2`, `负责人`.
        group: String,
        /// Which part.
        part: ContactPart,
    },
    /// `occupancy`
    Occupancy,
    /// `opening_hours`
    OpeningHours,
    /// Both coordinates, in the system that the heading names.
    Point(Option<Crs>),
    /// Longitude alone.
    Longitude(Option<Crs>),
    /// Latitude alone.
    Latitude(Option<Crs>),
    /// Date of the last visit: a confirmation of that day.
    LastVisit,
    /// The note.
    Note,
    /// `tags`
    Tags,
    /// Sensitive personal data: read, reported, and not to be stored.
    Sensitive,
    /// `custom/<name>`
    Custom(String),
}

/// Parts of a contact person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContactPart {
    /// Name.
    Name,
    /// Telephone numbers.
    Phones,
    /// Role.
    Role,
    /// When to call.
    PreferredTime,
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
        if !seen.insert(format!("{target:?}")) {
            continue;
        }
        score += if exact { 3 } else { 1 };
        names_shop |= matches!(
            target,
            ColumnTarget::SignName
                | ColumnTarget::LegalName
                | ColumnTarget::CreditCode
                | ColumnTarget::Address
                | ColumnTarget::Road
        );
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
                && (target == ColumnTarget::Sensitive
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
            && !matches!(target, ColumnTarget::Contact { .. })
}

/// 负责人 beside 联系电话, and nobody else: the number is that person's.
fn join_lone_contact(targets: &mut [Option<ColumnTarget>]) {
    let groups_with = |targets: &[Option<ColumnTarget>], wanted: ContactPart| -> BTreeSet<String> {
        let groups = targets.iter().flatten().filter_map(|t| match t {
            ColumnTarget::Contact { group, part } if *part == wanted => Some(group.clone()),
            _ => None,
        });
        groups.collect()
    };
    let (named, called) = (
        groups_with(targets, ContactPart::Name),
        groups_with(targets, ContactPart::Phones),
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
    let target = match heading {
        "序号" | "编号" | "序" | "no" | "seq" | "index" | "id" | "行号" => {
            ColumnTarget::Serial
        }
        "片区" | "所属片区" | "片区名称" | "区域" | "责任片区" | "area" | "district" | "zone" => {
            ColumnTarget::Area
        }
        "网格" | "所属网格" | "责任网格" | "网格号" | "网格编号" | "网格名称" | "网格代码"
        | "grid" | "gridcode" | "gridno" => ColumnTarget::Grid,
        "店招" | "店招名称" | "店名" | "店铺名称" | "商铺名称" | "商户名称" | "门店名称"
        | "店铺名" | "商铺名" | "商户名" | "门店名" | "招牌" | "招牌名称" | "商铺" | "店铺"
        | "商户" | "沿街商铺名称" | "店招店名" | "字号" | "signname" | "sign" | "shopname"
        | "shop" | "storename" | "shopsign" | "tradingname" => ColumnTarget::SignName,
        "登记名称" | "企业名称" | "单位名称" | "公司名称" | "营业执照名称" | "执照名称"
        | "市场主体名称" | "主体名称" | "经营主体" | "经营主体名称" | "注册名称"
        | "工商登记名称" | "营业执照" | "法人名称" | "legalname" | "registeredname"
        | "companyname" | "company" | "businessname" => ColumnTarget::LegalName,
        "统一社会信用代码"
        | "社会信用代码"
        | "信用代码"
        | "统一信用代码"
        | "统一代码"
        | "营业执照号"
        | "营业执照编号"
        | "营业执照号码"
        | "注册号"
        | "creditcode"
        | "uscc"
        | "usci"
        | "unifiedsocialcreditcode"
        | "licenceno"
        | "licenseno" => ColumnTarget::CreditCode,
        "业态" | "业态类型" | "行业" | "行业类别" | "行业类型" | "类别" | "类型" | "经营类别"
        | "经营类型" | "经营业态" | "商铺类型" | "所属行业" | "category" | "type" | "industry"
        | "trade" => ColumnTarget::Category,
        "地址" | "经营地址" | "详细地址" | "店铺地址" | "商铺地址" | "门店地址" | "营业地址"
        | "经营场所" | "门牌地址" | "实际经营地址" | "地点" | "address" | "streetaddress"
        | "location" => ColumnTarget::Address,
        "路名" | "道路" | "路段" | "路" | "道路名称" | "所在道路" | "马路" | "road" | "street"
        | "roadname" => ColumnTarget::Road,
        "弄" | "弄号" | "里弄" | "lane" => ColumnTarget::Lane,
        "门牌号" | "门牌" | "号" | "门牌号码" | "门号" | "number" | "houseno" | "housenumber"
        | "doornumber" | "streetnumber" => ColumnTarget::Number,
        "附号" | "门牌附号" | "号后缀" | "numbersuffix" | "suffix" => {
            ColumnTarget::NumberSuffix
        }
        "室" | "室号" | "单元" | "铺位号" | "铺位" | "楼层" | "房号" | "unit" | "room"
        | "floor" => ColumnTarget::Unit,
        "状态" | "经营状态" | "营业状态" | "店铺状态" | "商铺状态" | "经营情况" | "营业情况"
        | "经营现状" | "现状" | "status" | "occupancy" | "state" => ColumnTarget::Occupancy,
        "营业时间" | "经营时间" | "营业时段" | "开门时间" | "营业时间段" | "openinghours"
        | "hours" | "businesshours" => ColumnTarget::OpeningHours,
        "经纬度" | "坐标" | "位置坐标" | "地理坐标" | "定位" | "gps" | "point" | "coordinates"
        | "lonlat" | "coordinate" => ColumnTarget::Point(crs()),
        "经度" | "lon" | "lng" | "longitude" => ColumnTarget::Longitude(crs()),
        "纬度" | "lat" | "latitude" => ColumnTarget::Latitude(crs()),
        "最近走访" | "最近走访日期" | "最近走访时间" | "走访日期" | "走访时间" | "上次走访"
        | "最后走访" | "最后走访日期" | "更新日期" | "核实日期" | "确认日期" | "最近核实"
        | "lastvisit" | "lastvisited" | "visitdate" | "lastconfirmed" | "lastvisitdate" => {
            ColumnTarget::LastVisit
        }
        "备注" | "备注信息" | "说明" | "情况说明" | "其他" | "其他情况" | "note" | "notes"
        | "remark" | "remarks" | "comment" | "comments" => ColumnTarget::Note,
        "标签" | "服务标签" | "店铺标签" | "tags" | "tag" | "labels" => {
            ColumnTarget::Tags
        }
        _ => return contact(heading),
    };
    Some(target)
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
    let part = match what {
        "" | "姓名" | "名字" | "name" | "person" if person.is_some() => ContactPart::Name,
        "姓名" | "主要联系人" | "店铺联系人" | "商户联系人" | "name" | "owner" | "manager"
        | "person" => ContactPart::Name,
        "电话" | "手机" | "手机号" | "手机号码" | "电话号码" | "联系电话" | "联系方式"
        | "联系号码" | "方式" | "号码" | "固定电话" | "座机" | "电话手机" | "手机电话"
        | "phone" | "phones" | "mobile" | "tel" | "telephone" | "phonenumber" | "mobilephone" => {
            ContactPart::Phones
        }
        "身份" | "职务" | "角色" | "人身份" | "与店铺关系" | "关系" | "role" | "position" => {
            ContactPart::Role
        }
        "方便时间" | "联系时间" | "方便联系时间" | "时间" | "preferredtime"
            if person.is_some() || what != "时间" =>
        {
            ContactPart::PreferredTime
        }
        _ => return None,
    };
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
    let ordinary = |part| ColumnTarget::Contact {
        group: String::new(),
        part,
    };
    let target = if says(&["信用代码", "creditcode"]) {
        ColumnTarget::CreditCode
    } else if says(&["电话", "手机", "联系方式", "phone", "mobile"]) {
        ordinary(ContactPart::Phones)
    } else if says(&["备注", "remark"]) {
        ColumnTarget::Note
    } else if says(&[
        "店招",
        "招牌",
        "店名",
        "店铺名",
        "商铺名",
        "商户名",
        "门店名",
        "shopname",
        "signname",
    ]) {
        ColumnTarget::SignName
    } else if says(&[
        "登记名",
        "企业名",
        "公司名",
        "执照名",
        "单位名",
        "主体名",
        "注册名",
        "legalname",
        "registeredname",
    ]) {
        ColumnTarget::LegalName
    } else if says(&["经纬度", "坐标", "coordinate"]) {
        ColumnTarget::Point(crs())
    } else if says(&["地址", "address"]) {
        ColumnTarget::Address
    } else if says(&["营业时间", "经营时间", "openinghours"]) {
        ColumnTarget::OpeningHours
    } else if says(&["走访"]) && says(&["日期", "时间", "最近", "最后", "上次"]) {
        ColumnTarget::LastVisit
    } else if says(&["联系人"]) {
        ordinary(ContactPart::Name)
    } else if says(&["业态"]) {
        ColumnTarget::Category
    } else if says(&["网格"]) {
        ColumnTarget::Grid
    } else if says(&["片区"]) {
        ColumnTarget::Area
    } else if says(&["营业状态", "经营状态"]) {
        ColumnTarget::Occupancy
    } else {
        return None;
    };
    Some(target)
}
