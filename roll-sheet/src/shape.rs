//! What a row below the headings is, and which cells say nothing: footers, notes, totals, bands, placeholders.
//!
//! In: the texts of a row. Out: what it is by its words alone; whether it names a shop its reader knows. Nothing here writes or reports.

use lianka_sync_core::{
    search::fold,
    values::{address::Address, date, text::half_width},
};

use crate::grids::{GridNames, is_area, matching_grid};

/// A cell that stands for something else than its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placeholder {
    /// Nothing, by a sign: `-`, `/`, `——`.
    Sign,
    /// Nothing, in words: 无, 暂无, 不详, N/A.
    Word,
    /// The value above: 同上, 〃.
    Ditto,
}

/// Words for nothing, in small letters.
const NOTHING: &[&str] = &[
    "无",
    "暂无",
    "没有",
    "暂缺",
    "缺",
    "不详",
    "未知",
    "不明",
    "不清楚",
    "不知道",
    "未提供",
    "不提供",
    "拒绝提供",
    "不愿提供",
    "不肯提供",
    "未登记",
    "未填",
    "未填写",
    "未采集",
    "未留",
    "没留",
    "待补",
    "待补充",
    "待定",
    "待查",
    "待核实",
    "待完善",
    "略",
    "空",
    "空白",
    "无此项",
    "不适用",
    "无信息",
    "暂无信息",
    "无数据",
    "無",
    "暫無",
    "沒有",
    "不詳",
    "無資料",
    "na",
    "n/a",
    "n.a",
    "none",
    "null",
    "nil",
    "nan",
    "unknown",
    "n\\a",
    "notapplicable",
    "notavailable",
    "无人",
    "未办",
    "未办理",
    "无证",
    "无照",
    "没办",
    "无执照",
    "无营业执照",
    "保密",
    "拒绝",
    "拒填",
    "拒绝填写",
    "拒绝透露",
    "不愿透露",
    "不愿提供",
    "不愿意提供",
    "不便透露",
    "不便提供",
    "不方便",
    "不方便提供",
    "不清",
    "不祥",
    "不知",
    "不晓得",
    "查无",
    "未掌握",
    "无法联系",
    "无从得知",
    "暂未提供",
    "暂未登记",
    "暂未采集",
    "没提供",
    "没登记",
    "tbd",
    "\\n",
];

/// No word for nothing is longer.
const PLACEHOLDER_BYTES_MAX: usize = 48;

/// What a cell stands for, if it is no value.
pub(crate) fn placeholder(text: &str) -> Option<Placeholder> {
    if text.len() > PLACEHOLDER_BYTES_MAX {
        return None;
    }
    let plain: String = half_width(text)
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect();
    let inner = plain.trim_matches(|c| "()[]【】〔〕。.；;".contains(c));
    if plain.is_empty() {
        return None;
    }
    let is_ditto = plain.chars().count() <= 4
        && plain.chars().all(|c| {
            matches!(
                c,
                '〃' | '″' | '"' | '“' | '”' | '〞' | '〝' | '\'' | '‘' | '’' | '′'
            )
        });
    let words: &[&str] = &[
        "同上",
        "同上行",
        "同前",
        "同上栏",
        "同上格",
        "同上面",
        "同上户",
        "同上家",
        "同左",
        "同右",
        "同下",
        "同下行",
        "如上",
        "见上",
        "见上行",
        "上同",
        "ditto",
        "idem",
        "sameasabove",
    ];
    let lower = inner.to_lowercase();
    if is_ditto || words.contains(&lower.as_str()) {
        return Some(Placeholder::Ditto);
    }
    if !plain.chars().any(char::is_alphanumeric)
        && plain
            .chars()
            .all(|c| "-–—―‐−_/\\|、.。…·*×?~+()[]【】╱∕⁄﹨".contains(c) || c == '─')
    {
        return Some(Placeholder::Sign);
    }
    // XXX
    if lower.len() > 2 && lower.bytes().all(|b| b == b'x') {
        return Some(Placeholder::Sign);
    }
    // 无联系人, 暂无电话, 没有店招
    let of_field = [
        "无",
        "暂无",
        "没有",
        "没",
        "未留",
        "无法提供",
        "未提供",
        "不提供",
    ]
    .iter()
    .find_map(|word| {
        let rest = inner.strip_prefix(word)?;
        [
            "电话",
            "手机",
            "手机号",
            "号码",
            "联系人",
            "联系方式",
            "联系电话",
            "姓名",
            "名字",
            "店招",
            "招牌",
            "店名",
            "门头",
            "名称",
            "代码",
            "信用代码",
            "统一社会信用代码",
            "备注",
            "地址",
            "门牌",
            "门牌号",
            "座机",
            "房东",
            "法人",
        ]
        .contains(&rest)
        .then_some(())
    });
    (NOTHING.contains(&lower.as_str()) || of_field.is_some()).then_some(Placeholder::Word)
}

/// What a row is by its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Words {
    /// Who filled it in, who checked it, whose seal and which day.
    Footer,
    /// A note under the table.
    Note,
    /// A sum.
    Total,
    /// A heading over the rows below.
    Band(Band),
    /// Nothing of these.
    Other,
}

/// What a row says of those below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Band {
    /// They are on this road.
    Road(String),
    /// They are in this grid of the street's.
    Grid(String),
    /// They are in this area.
    Area(String),
    /// It heads them, and what it says is no field of theirs: 一、餐饮类.
    Unknown,
}

/// What the cells that are not blank say. `passed`: the row before was a footer or a note.
pub(crate) fn words(cells: &[&str], passed: bool, roads: &[&str], grids: &[GridNames]) -> Words {
    let mut distinct: Vec<String> = Vec::new();
    for cell in cells {
        let cell = cell.trim().to_owned();
        if !distinct.contains(&cell) {
            distinct.push(cell);
        }
    }
    let Some(first) = distinct.first() else {
        return Words::Other;
    };
    // Most rows are shops of many cells: whether the first of these heads others is not asked.
    let stands_alone = distinct.len() <= 3 && distinct.iter().skip(1).all(|cell| is_count(cell));
    let headed = stands_alone.then(|| band(first, roads, grids)).flatten();
    if let Some(band @ (Band::Road(_) | Band::Grid(_) | Band::Area(_))) = headed {
        return Words::Band(band);
    }
    // 一 | 餐饮类: the number of a part of the table, and what the part is called.
    if let [number, title] = &distinct[..]
        && is_part_number(number)
        && !is_count(title)
    {
        return Words::Band(band(title, roads, grids).unwrap_or(Band::Unknown));
    }
    if distinct.len() > ASIDE_CELLS_MAX {
        return if distinct.iter().take(3).any(|cell| says_total(cell)) {
            Words::Total
        } else {
            Words::Other
        };
    }
    if is_footer(&distinct) {
        return Words::Footer;
    }
    let lone = distinct.len() == 1 && !says_total(first);
    let wordy = first.chars().count() >= LONG_CHARS;
    if distinct.len() <= 2 && begins_note(first)
        || lone && (is_labelled(first) || ends_table(first))
        // Behind a footer nothing stands alone that is a shop.
        || lone && passed && (headed.is_none() || enumerated(first).is_some() || wordy)
        || lone && wordy && first.contains(['。', '；', ';'])
    {
        return Words::Note;
    }
    if distinct.iter().take(3).any(|cell| says_total(cell)) {
        return Words::Total;
    }
    headed.map_or(Words::Other, Words::Band)
}

/// 一, （二）, 三、: shops are numbered in Arabic digits.
fn is_part_number(text: &str) -> bool {
    let plain = half_width(text);
    let bare = plain.trim().trim_matches(['(', ')', '、', '.', ' ']);
    !bare.is_empty() && bare.chars().all(|c| "一二三四五六七八九十".contains(c))
}

/// A row that says more is no footer, note or band.
const ASIDE_CELLS_MAX: usize = 8;
/// A remark of a sentence or more.
const LONG_CHARS: usize = 25;

/// Whether a cell is a sum or a count, and so nobody's name: 合计, 共12户, 12.
pub(crate) fn is_count(cell: &str) -> bool {
    let word = fold(cell);
    says_total(cell) || {
        let bare = [
            "以上共",
            "以上合计",
            "总共",
            "合计",
            "总计",
            "共计",
            "共有",
            "共",
            "计",
            "总",
            "约",
        ]
        .iter()
        .find_map(|begin| word.strip_prefix(begin))
        .unwrap_or(&word);
        let unit = bare.trim_start_matches(|c: char| c.is_ascii_digit());
        unit.len() < bare.len()
            && [
                "",
                "户",
                "家",
                "个",
                "间",
                "条",
                "人",
                "处",
                "铺",
                "店",
                "户商铺",
                "家商铺",
                "家店",
                "家店铺",
                "户店",
                "只",
                "名",
            ]
            .contains(&unit)
    }
}

fn says_total(cell: &str) -> bool {
    let word = fold(cell);
    if word.chars().count() > 12 {
        return false;
    }
    let says = [
        "合计",
        "总计",
        "小计",
        "共计",
        "总数",
        "累计",
        "本页合计",
        "本页小计",
        "本路合计",
        "本路小计",
        "total",
        "subtotal",
        "grandtotal",
        "sum",
    ]
    .iter()
    .any(|total| word.starts_with(total));
    // 共12户
    says || word
        .strip_prefix("以上共")
        .or_else(|| word.strip_prefix("总共"))
        .or_else(|| word.strip_prefix('共'))
        .or_else(|| word.strip_prefix("计"))
        .is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_digit())
                && rest.chars().any(|c| "户家个间条".contains(c))
        })
}

/// Words that open a cell of a footer, with or without a colon behind them.
const FOOTER: &[&str] = &[
    "填表人",
    "填报人",
    "填写人",
    "制表人",
    "制表",
    "审核人",
    "审核",
    "审批人",
    "审批",
    "审阅",
    "复核人",
    "复核",
    "核对人",
    "核对",
    "校对",
    "经办人",
    "经办",
    "统计人",
    "汇总人",
    "报送人",
    "登记人",
    "记录人",
    "采集人",
    "调查人",
    "负责人签字",
    "负责人签名",
    "负责人(签字)",
    "负责人(签名)",
    "签字",
    "签名",
    "签章",
    "盖章",
    "公章",
    "(盖章)",
    "(签章)",
    "(公章)",
    "填表单位",
    "填报单位",
    "制表单位",
    "报送单位",
    "上报单位",
    "编制单位",
    "汇总单位",
    "填表日期",
    "填报日期",
    "填表时间",
    "填报时间",
    "制表日期",
    "制表时间",
    "报送日期",
    "上报日期",
    "统计日期",
    "统计时间",
    "打印日期",
    "打印时间",
    "截止日期",
    "分管领导",
    "主管领导",
    "单位负责人",
    "部门负责人",
    "领导签字",
    "preparedby",
];
/// Words that are a footer's only with a colon behind them.
const FOOTER_WITH_COLON: &[&str] = &[
    "联系人",
    "负责人",
    "联系电话",
    "电话",
    "单位",
    "单位名称",
    "社区",
    "街道",
    "居委会",
    "居委",
    "网格",
    "网格员",
    "网格长",
    "街道名称",
    "所属街道",
    "片区",
    "日期",
    "时间",
    "checkedby",
    "approvedby",
    "signature",
    "date",
    "截至",
    "制单",
];

fn is_footer(cells: &[String]) -> bool {
    let kind = |cell: &str| -> Option<bool> {
        let plain: String = half_width(cell)
            .chars()
            .filter(|c| !c.is_whitespace())
            .collect::<String>()
            .to_lowercase();
        let sealed = plain.trim_end_matches([':', '_', ')']);
        let seals = ["盖章", "公章", "签章", "签字", "签名"];
        if plain.chars().count() <= 30
            && (seals.iter().any(|seal| sealed.ends_with(seal))
                || seals
                    .iter()
                    .any(|seal| plain.contains(&format!("({seal})"))))
        {
            return Some(true);
        }
        let begins = |words: &[&str], bare: bool| {
            words.iter().any(|word| {
                plain.strip_prefix(word).is_some_and(|rest| {
                    rest.starts_with([':', '：', '_'])
                        || bare && (rest.is_empty() || rest.starts_with('('))
                })
            })
        };
        if begins(FOOTER, true) {
            return Some(true);
        }
        if begins(FOOTER_WITH_COLON, false) {
            return Some(false);
        }
        let blank_date = plain
            .chars()
            .filter(|c| !c.is_ascii_digit() && *c != '_')
            .collect::<String>()
            == "年月日";
        let page = plain.starts_with('第') && plain.contains('页') && plain.chars().count() <= 16;
        (blank_date || page).then_some(false)
    };
    let kinds: Vec<Option<bool>> = cells.iter().map(|cell| kind(cell)).collect();
    let sure = kinds.contains(&Some(true));
    let all = kinds.iter().all(Option::is_some);
    let lone_date = cells.len() == 1
        && cells[0].chars().any(|c| matches!(c, '年' | '-' | '/'))
        && date::parse(&cells[0]).is_some();
    // 填表人 | 张三 | 审核人 | 李四: the label first.
    let labelled = kinds.iter().filter(|kind| kind.is_some()).count();
    all || lone_date
        || sure && kinds[0] == Some(true)
        || sure && labelled * 2 > cells.len()
        || sure
            && cells.len() <= 3
            && ["街道", "办事处", "居委会", "居委", "社区", "网格"]
                .iter()
                .any(|end| cells[0].ends_with(end))
}

/// 抄送：市场监管所, 采集时间：2026年3月: a word, a colon, and nothing else in the row. No shop stands so without an address or a person.
fn is_labelled(text: &str) -> bool {
    let plain = half_width(text);
    plain.trim().split_once(':').is_some_and(|(word, _)| {
        (1..=LABEL_CHARS_MAX).contains(&word.trim().chars().count())
            && word
                .chars()
                .all(|c| c.is_whitespace() || c.is_alphabetic() && !c.is_ascii())
    })
}

/// Longest word before a colon at the foot of a table.
const LABEL_CHARS_MAX: usize = 8;

/// What says that nothing follows: —— 完 ——, END; or up to when the table holds: 截至2026年3月.
fn ends_table(text: &str) -> bool {
    let word = fold(text);
    matches!(
        word.as_str(),
        "完" | "完毕" | "全文完" | "结束" | "止" | "end" | "theend" | "endoftable" | "eof"
    ) || ["截至", "截止"].iter().any(|begin| {
        word.strip_prefix(begin)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

fn begins_note(text: &str) -> bool {
    if [
        "以下空白",
        "以下无正文",
        "此页无正文",
        "本页无正文",
        "续表",
        "续上表",
        "接上页",
        "转下页",
        "接下页",
        "见下页",
    ]
    .iter()
    .any(|words| fold(text).starts_with(words) && text.chars().count() <= 10)
    {
        return true;
    }
    let plain: String = half_width(text)
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect();
    let plain = plain.trim_start_matches(['*', '※', '▲', '●', '◆', '#', '★', '(', '【', '[']);
    let strong = [
        "注",
        "备注",
        "附注",
        "说明",
        "填表说明",
        "填写说明",
        "填报说明",
        "编制说明",
        "使用说明",
        "注意",
        "注意事项",
        "填表要求",
        "填写要求",
        "要求",
        "备 注",
        "note",
        "notes",
        "Note",
        "Notes",
        "NOTE",
        "remark",
        "remarks",
    ];
    strong.iter().any(|word| {
        plain.strip_prefix(word).is_some_and(|rest| {
            rest.starts_with([':', '：', '】', ']', ')'])
                || rest.is_empty() && word.chars().count() > 1
                || rest.starts_with(|c: char| c.is_ascii_digit())
                    && rest
                        .trim_start_matches(|c: char| c.is_ascii_digit())
                        .starts_with(['.', ':', '、', '．', ','])
        })
    })
}

/// What follows a number of a list: 一、…, （二）…, 1. …, ■ ….
fn enumerated(text: &str) -> Option<String> {
    let plain = half_width(text);
    let plain = plain.trim();
    let marked =
        plain.trim_start_matches(['■', '●', '◆', '★', '▶', '▲', '□', '○', '※', '#', '>', '*']);
    if marked.len() < plain.len() {
        return Some(marked.trim().to_owned());
    }
    let (plain, bracket) = match plain.strip_prefix('(') {
        Some(rest) => (rest, true),
        None => (plain, false),
    };
    let rest = plain
        .trim_start_matches(|c: char| c.is_ascii_digit() || "一二三四五六七八九十".contains(c));
    if rest.len() == plain.len() {
        return None;
    }
    let rest = if bracket {
        rest.strip_prefix(')')?
    } else {
        rest.strip_prefix(['、', '.', ')', ',', ':'])?
    };
    Some(rest.trim().to_owned())
}

fn band(text: &str, roads: &[&str], grids: &[GridNames]) -> Option<Band> {
    // A running number that was filled in ahead, whatever a grid is called.
    if half_width(text).trim().bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut listed = enumerated(text);
    let mut said = listed
        .clone()
        .unwrap_or_else(|| half_width(text).trim().to_owned());
    // 路段：天平路, 第二部分：广元路
    if let Some((before, after)) = said
        .split_once(':')
        .filter(|(_, after)| !after.trim().is_empty())
    {
        let names = [
            "路段",
            "道路",
            "路名",
            "网格",
            "责任网格",
            "片区",
            "所属网格",
            "所属片区",
        ];
        let part = before.starts_with('第') && before.ends_with(['分', '段', '组', '批']);
        if part || names.contains(&before.trim()) {
            listed = Some(after.trim().to_owned());
            said = after.trim().to_owned();
        }
    }
    let bracket = |c: char| "[]【】《》<>〔〕「」()".contains(c);
    if said.starts_with(bracket) {
        said = said.trim_matches(bracket).trim().to_owned();
    }
    let mut bare = said.trim_end_matches([':', '：']).to_owned();
    if let Some((before, _)) = bare.split_once('(')
        && !before.trim().is_empty()
    {
        bare = String::from(before.trim());
    }
    // 天平路 12户
    if let Some((before, count)) = bare.split_once([' ', ',', '，', ':', '：'])
        && (is_count(count) || is_count(count.trim()))
    {
        bare = String::from(before.trim());
    }
    for end in [
        "单号侧",
        "双号侧",
        "单号",
        "双号",
        "单侧",
        "双侧",
        "沿线",
        "路段",
        "沿街商铺",
        "商铺",
        "段",
    ] {
        if let Some(before) = bare.strip_suffix(end)
            && before.ends_with(['路', '街', '巷', '道'])
        {
            bare = String::from(before);
        }
    }
    if bare.chars().count() > 20 || bare.is_empty() {
        return None;
    }
    if let Some(code) = matching_grid("", &bare, grids) {
        return Some(Band::Grid(code));
    }
    if is_area(&bare, grids) {
        return Some(Band::Area(bare));
    }
    let address = Address::parse(&bare, roads);
    let only_road = address.number.is_none()
        && address.lane.is_none()
        && address.unit.is_none()
        && address.rest.is_none();
    if let (Some(road), true) = (&address.road, only_road)
        && (address.road_known
            || roads.is_empty() && road.ends_with('路')
            || listed.is_some() && bare.ends_with(['路', '街', '巷', '道']))
    {
        return Some(Band::Road(road.clone()));
    }
    let heads = ["网格", "片区", "居委会", "居委", "社区", "街道", "居民区"]
        .iter()
        .any(|end| bare.ends_with(end));
    (heads || listed.is_some()).then_some(Band::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KnownGrid;

    #[test]
    fn cells_that_say_nothing() {
        for text in [
            "无",
            "暂无",
            "没有",
            "不详",
            "未提供",
            "N/A",
            "n/a",
            "NA",
            "none",
            "（无）",
            "无。",
            "略",
            "未知",
            "無",
            "暂无电话",
            "无联系人",
            "不愿提供",
            "无 ",
        ] {
            assert_eq!(placeholder(text), Some(Placeholder::Word), "{text}");
        }
        for text in [
            "-", "--", "—", "——", "/", "//", "\\", "……", "、", "?", "？", "×", "－", "／",
        ] {
            assert_eq!(placeholder(text), Some(Placeholder::Sign), "{text}");
        }
        for text in [
            "同上",
            "〃",
            "″",
            "\"",
            "“",
            "（同上）",
            "同上。",
            "ditto",
            "〃〃",
        ] {
            assert_eq!(placeholder(text), Some(Placeholder::Ditto), "{text}");
        }
        for text in [
            "无印良品",
            "不二家",
            "空置",
            "同仁堂",
            "-1",
            "没有烦恼花店",
            "有",
            "",
            "7-11",
            "王",
            "略阳面馆",
        ] {
            assert_eq!(placeholder(text), None, "{text}");
        }
    }

    #[test]
    fn rows_that_are_no_shops() {
        let grids = [GridNames::of(&KnownGrid {
            code: "康平01",
            name: "康平01",
            area: "康平",
        })];
        let roads = ["天平路", "广元路"];
        let said = |cells: &[&str]| words(cells, false, &roads, &grids);
        for cells in [
            &["填表人：张三", "审核人：李四", "日期：2026年1月1日"][..],
            &["填表人:张三"],
            &["填表人", "张三", "审核人", "李四"],
            &["单位（盖章）："],
            &["天平路街道（盖章）"],
            &["单位盖章"],
            &["制表：王五", "2026年1月"],
            &["联系人：张三", "联系电话：021-50000000"],
            &["2026年1月1日"],
            &["    年   月   日"],
            &["第1页 共3页"],
            &["负责人（签字）：", "经办人："],
        ] {
            assert_eq!(said(cells), Words::Footer, "{cells:?}");
        }
        for cells in [
            &["注：1.本表由网格书记填写；2.一式两份"][..],
            &["备注：以上为2026年数据"],
            &["说明：本表一式两份"],
            &["填表说明"],
            &["※注：空置的也要填"],
            &["注1：含弄内"],
            &["本表所列商铺均为沿街商铺，不含弄内商铺，如有遗漏请及时补充。"],
        ] {
            assert_eq!(said(cells), Words::Note, "{cells:?}");
        }
        assert_eq!(words(&["2.一式两份"], true, &roads, &grids), Words::Note);
        for cells in [
            &["合计", "12"][..],
            &["合  计", "12户"],
            &["共12户"],
            &["本页小计", "5"],
            &["小计：12家"],
            &["总共 12 家"],
        ] {
            assert_eq!(said(cells), Words::Total, "{cells:?}");
        }
        for (cells, band) in [
            (&["天平路"][..], Band::Road("天平路".into())),
            (&["天平路（共12户）"], Band::Road("天平路".into())),
            (&["一、天平路"], Band::Road("天平路".into())),
            (&["■ 天平路"], Band::Road("天平路".into())),
            (&["天平路", "12户"], Band::Road("天平路".into())),
            (&["天平路单号"], Band::Road("天平路".into())),
            (&["天平路", "天平路"], Band::Road("天平路".into())),
            (&["康平片区第一网格"], Band::Grid("康平01".into())),
            (&["康平片区"], Band::Area("康平片区".into())),
            (&["一、餐饮类"], Band::Unknown),
            (&["某某社区"], Band::Unknown),
        ] {
            assert_eq!(said(cells), Words::Band(band), "{cells:?}");
        }
        for cells in [
            &["王记面馆"][..],
            &["老街"],
            &["王记面馆", "天平路1号"],
            &["注册商标事务所", "天平路1号"],
            &["天平路包子铺"],
            &["7-11"],
        ] {
            assert_eq!(said(cells), Words::Other, "{cells:?}");
        }
    }
}
