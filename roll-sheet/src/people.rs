//! Whose the columns and cells about people are: columns of one person together, and several people in one cell apart.
//!
//! In: headings with what they are read as, and the texts of a row. Out: the person of each column, and the people that a name and a number
//! cell speak of. What cannot be told apart stays together as it was typed, and the caller reports it.

use std::collections::BTreeSet;

use lianka_sync_core::{
    kinds::{Field, Meaning},
    search::fold,
    values::{phone, text::half_width},
};

use crate::{ColumnTarget, target::field};

/// The group of a landline in a column of its own, until it is known whose it is.
pub(crate) const LANDLINE: &str = "座机";
/// The role of who is asked when the ordinary contact is not there.
const SPARE: &str = "备用联系人";

/// A column of a person.
struct Column {
    at: usize,
    group: String,
    part: &'static Field,
    /// Its heading says whose it is: 房东电话, and not 电话.
    named: bool,
}

/// A person as the headings tell of one.
struct Person {
    group: String,
    base: String,
    parts: BTreeSet<&'static str>,
    /// Where the columns begin.
    at: usize,
}

/// Gives every column of a person the group of the person it belongs to. Columns that are nobody's are taken out.
pub(crate) fn assign(
    headings: &[String],
    targets: &mut [Option<ColumnTarget>],
    names_person: impl Fn(&str) -> bool,
) {
    let columns: Vec<Column> = targets
        .iter()
        .enumerate()
        .filter_map(|(at, target)| match target {
            Some(ColumnTarget::Contact { group, part }) => Some(Column {
                at,
                group: group.clone(),
                part,
                named: names_person(&headings[at]),
            }),
            _ => None,
        })
        .collect();
    let mut persons: Vec<Person> = Vec::new();
    let mut whose: Vec<Option<usize>> = vec![None; columns.len()];
    let is_spare = |column: &Column| {
        column.group == SPARE
            && column.part.meaning == Meaning::Telephone
            && !columns
                .iter()
                .any(|c| c.group == SPARE && c.part.meaning == Meaning::PersonName)
    };
    for (nth, column) in columns.iter().enumerate() {
        let is_name = column.part.meaning == Meaning::PersonName;
        if is_name || column.named && column.group != LANDLINE && !is_spare(column) {
            whose[nth] = own_person(&mut persons, column);
        }
    }
    // 电话2 is the number of 联系人2, where there is one.
    for (nth, column) in columns.iter().enumerate() {
        if whose[nth].is_none() && !column.group.is_empty() {
            whose[nth] = persons.iter().position(|person| {
                person.group == column.group && !person.parts.contains(column.part.name)
            });
            if let Some(person) = whose[nth] {
                persons[person].parts.insert(column.part.name);
            }
        }
    }
    let is_bare_phone = |nth: usize, whose: &[Option<usize>]| {
        whose[nth].is_none() && columns[nth].part.meaning == Meaning::Telephone
    };
    let bare: Vec<usize> = (0..columns.len())
        .filter(|nth| is_bare_phone(*nth, &whose))
        .filter(|nth| columns[*nth].group != LANDLINE && !is_spare(&columns[*nth]))
        .collect();
    bare_phones(&columns, &bare, &mut persons, &mut whose);
    for nth in 0..columns.len() {
        let column = &columns[nth];
        if is_bare_phone(nth, &whose) {
            // A second number of whom the columns before it are about.
            whose[nth] = Some(nearest(&mut persons, column.at));
        } else if whose[nth].is_none() {
            whose[nth] = detail(&mut persons, column);
        }
    }
    for (column, person) in columns.iter().zip(whose) {
        targets[column.at] = person.map(|person| ColumnTarget::Contact {
            group: persons[person].group.clone(),
            part: column.part,
        });
    }
}

/// The person of a column that says whose it is: the first of that word who lacks this part, or one more.
fn own_person(persons: &mut Vec<Person>, column: &Column) -> Option<usize> {
    let of_word = |person: &Person| person.base == column.group;
    let lacking = persons
        .iter()
        .position(|person| of_word(person) && !person.parts.contains(column.part.name));
    let found = lacking.or_else(|| {
        // 房东电话 and 房东手机 are two numbers of one person.
        (column.part.meaning == Meaning::Telephone)
            .then(|| persons.iter().rposition(of_word))
            .flatten()
    });
    if let Some(person) = found {
        persons[person].parts.insert(column.part.name);
        return Some(person);
    }
    let before = persons.iter().filter(|person| of_word(person)).count();
    if before > 0 && column.part.meaning != Meaning::PersonName {
        return None;
    }
    let mut group = column.group.clone();
    let mut number = before + 1;
    while number > 1 || persons.iter().any(|person| person.group == group) {
        number = number.max(2);
        group = format!("{}{number}", column.group);
        if !persons.iter().any(|person| person.group == group) {
            break;
        }
        number += 1;
    }
    persons.push(Person {
        group,
        base: column.group.clone(),
        parts: [column.part.name].into(),
        at: column.at,
    });
    Some(persons.len() - 1)
}

/// Whose the numbers are whose headings do not say so.
fn bare_phones(
    columns: &[Column],
    bare: &[usize],
    persons: &mut Vec<Person>,
    whose: &mut [Option<usize>],
) {
    let Some(phones) = field(Meaning::Telephone) else {
        return;
    };
    let mut lacking: Vec<usize> = (0..persons.len())
        .filter(|person| !persons[*person].parts.contains(phones.name))
        .collect();
    lacking.sort_by_key(|person| persons[*person].at);
    let pairs: Vec<(usize, usize)> = if bare.len() == lacking.len() {
        bare.iter().copied().zip(lacking).collect()
    } else if lacking.is_empty() {
        bare.first()
            .map(|first| (*first, ordinary(persons, columns[*first].at)))
            .into_iter()
            .collect()
    } else if let [only] = bare {
        let ordinary = lacking
            .iter()
            .copied()
            .find(|person| persons[*person].group.is_empty());
        vec![(
            *only,
            ordinary.unwrap_or_else(|| nearest(persons, columns[*only].at)),
        )]
    } else {
        bare.iter()
            .map(|nth| (*nth, nearest(persons, columns[*nth].at)))
            .collect()
    };
    for (nth, person) in pairs {
        whose[nth] = Some(person);
        persons[person].parts.insert(phones.name);
    }
}

/// The person whose columns begin last before this one, or the first.
fn nearest(persons: &mut Vec<Person>, at: usize) -> usize {
    if persons.is_empty() {
        return ordinary(persons, at);
    }
    let before = (0..persons.len())
        .filter(|person| persons[*person].at < at)
        .max_by_key(|person| persons[*person].at);
    before.unwrap_or(0)
}

fn ordinary(persons: &mut Vec<Person>, at: usize) -> usize {
    persons
        .iter()
        .position(|person| person.group.is_empty())
        .unwrap_or_else(|| {
            persons.push(Person {
                group: String::new(),
                base: String::new(),
                parts: BTreeSet::new(),
                at,
            });
            persons.len() - 1
        })
}

/// Whose a role or a time is.
fn detail(persons: &mut Vec<Person>, column: &Column) -> Option<usize> {
    let lacks = |person: &Person| !person.parts.contains(column.part.name);
    let near = nearest(persons, column.at);
    let person = if lacks(&persons[near]) {
        near
    } else {
        persons.iter().position(lacks)?
    };
    persons[person].parts.insert(column.part.name);
    Some(person)
}

/// One of the people that two cells speak of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) name: Option<String>,
    /// Text with the person's numbers.
    pub(crate) phones: String,
    pub(crate) role: Option<String>,
}

/// The people of a name cell and a number cell.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum People {
    /// As they stand: one person, or what cannot be told apart.
    One {
        /// Several names, and it is not clear whose the numbers are.
        unclear: bool,
    },
    /// Several, or one whose name and number stood in one cell.
    Told(Vec<Said>),
}

/// Tells the people of a row's two cells apart.
pub(crate) fn people(name: &str, phones: &str) -> People {
    if let Some(told) = line_by_line(name, phones) {
        return People::Told(told);
    }
    let (name, phones) = (name.trim(), phones.trim());
    let (in_name, in_phones) = (spans(name), spans(phones));
    if !in_name.is_empty() {
        let Some(mut told) = pairs(name, &in_name) else {
            return People::One { unclear: true };
        };
        if told
            .iter()
            .all(|said| said.name.is_none() && said.role.is_none())
        {
            return People::One { unclear: false };
        }
        let known = numbers(name);
        let mut further: Vec<String> = numbers(phones);
        further.retain(|number| !known.contains(number));
        if !phones.trim().is_empty() && (!further.is_empty() || in_phones.is_empty()) {
            match &mut told[..] {
                [only] => only.phones = format!("{}/{}", only.phones, phones.trim()),
                // Whose it is nobody says: a contact of its own.
                _ => told.push(Said {
                    phones: phones.trim().to_owned(),
                    ..Said::default()
                }),
            }
        }
        return People::Told(told);
    }
    let (names, unclear) = names(name);
    let Some(told) = pairs(phones, &in_phones) else {
        return People::One { unclear: true };
    };
    let called = told
        .iter()
        .filter(|said| said.name.is_some() || said.role.is_some())
        .count();
    if called > 0 {
        return with_name(&names, name, told);
    }
    if names.len() < 2 {
        return People::One { unclear };
    }
    let lines: Vec<&str> = phones.lines().map(str::trim).collect();
    let single = numbers(phones);
    let each: Vec<String> = if lines.len() == names.len() && name.lines().count() == names.len() {
        lines.into_iter().map(str::to_owned).collect()
    } else if phones.trim().is_empty() {
        vec![String::new(); names.len()]
    } else if single.len() == names.len() {
        phone::parse(phones)
            .into_iter()
            .map(|found| found.raw)
            .collect()
    } else {
        return People::One { unclear: true };
    };
    if each.len() != names.len() {
        return People::One { unclear: true };
    }
    let told = names
        .into_iter()
        .zip(each)
        .map(|((name, role), phones)| Said {
            name: Some(name),
            phones,
            role,
        });
    People::Told(told.collect())
}

/// One person a line, in the same line of both cells, as an exported roll has them.
fn line_by_line(name: &str, phones: &str) -> Option<Vec<Said>> {
    let lines = |text: &str| -> Vec<String> {
        text.split('\n')
            .map(|line| line.trim().to_owned())
            .collect()
    };
    let (names, phones) = (lines(name), lines(phones));
    let is_name = |line: &String| {
        line.is_empty()
            || line.chars().count() <= 20
                && line.starts_with(char::is_alphabetic)
                && !line.chars().any(|c| c.is_ascii_digit())
                && !line.contains(['、', ',', '，'])
    };
    let is_number = |line: &String| line.is_empty() || line.chars().any(|c| c.is_ascii_digit());
    let paired = names.len() > 1
        && names.len() == phones.len()
        && names.iter().filter(|line| !line.is_empty()).count() > 0
        && phones.iter().filter(|line| !line.is_empty()).count() > 0
        && names.iter().all(is_name)
        && phones.iter().all(is_number)
        && phones.iter().all(|line| spans(line).len() <= 1);
    paired.then(|| {
        let pairs = names.into_iter().zip(phones);
        pairs
            .map(|(name, phones)| Said {
                name: (!name.is_empty()).then_some(name),
                phones,
                role: None,
            })
            .collect()
    })
}

/// People whom the number cell names, beside those of the name cell: a number without a name is that one's.
fn with_name(names: &[(String, Option<String>)], name: &str, mut told: Vec<Said>) -> People {
    let is_told = |name: &str, told: &[Said]| {
        told.iter().any(|said| {
            said.name
                .as_deref()
                .is_some_and(|known| fold(known) == fold(name))
        })
    };
    match names {
        [] if name.trim().is_empty() => {}
        [] => {
            if let Some(nameless) = told.iter_mut().find(|said| said.name.is_none()) {
                nameless.name = Some(name.trim().to_owned());
            } else {
                told.insert(
                    0,
                    Said {
                        name: Some(name.trim().to_owned()),
                        ..Said::default()
                    },
                );
            }
        }
        names => {
            for (name, role) in names.iter().rev() {
                if is_told(name, &told) {
                    continue;
                }
                if let Some(nameless) = told.iter_mut().find(|said| said.name.is_none()) {
                    nameless.name = Some(name.clone());
                } else {
                    told.insert(
                        0,
                        Said {
                            name: Some(name.clone()),
                            role: role.clone(),
                            ..Said::default()
                        },
                    );
                }
            }
        }
    }
    People::Told(told)
}

/// The numbers of a text by their digits.
fn numbers(text: &str) -> Vec<String> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    phone::parse(text)
        .into_iter()
        .map(|found| found.digits)
        .filter(|digits| digits.len() >= NUMBER_DIGITS_MIN)
        .collect()
}

/// Fewer digits are a room, an extension or a remark.
const NUMBER_DIGITS_MIN: usize = 7;

/// Byte ranges of telephone numbers within a text, those that stand side by side together.
fn spans(text: &str) -> Vec<(usize, usize)> {
    let is_part = |c: char| {
        half_width(c.encode_utf8(&mut [0; 4])).chars().all(|c| {
            c.is_ascii_digit() || matches!(c, '+' | '-' | ' ' | '–' | '—' | '转' | '#' | '*')
        })
    };
    let mut found = Vec::new();
    let mut start: Option<usize> = None;
    let ends = text.char_indices().chain([(text.len(), '\0')]);
    for (at, c) in ends {
        if at < text.len() && is_part(c) {
            start.get_or_insert(at);
            continue;
        }
        if let Some(from) = start.take() {
            let digits = half_width(&text[from..at])
                .chars()
                .filter(char::is_ascii_digit)
                .count();
            if digits >= NUMBER_DIGITS_MIN {
                found.push((from, at));
            }
        }
    }
    found
}

/// Each number with the name before it, or behind it where the text begins with a number. Nothing where a further name stands there that nobody can
/// tell from the other words.
fn pairs(text: &str, spans: &[(usize, usize)]) -> Option<Vec<Said>> {
    let between = |nth: usize| {
        let from = if nth == 0 { 0 } else { spans[nth - 1].1 };
        let to = spans.get(nth).map_or(text.len(), |(from, _)| *from);
        &text[from..to]
    };
    let number_first = caller(between(0)).is_none() && caller(between(spans.len())).is_some();
    let mut told: Vec<Said> = Vec::new();
    for (nth, (from, to)) in spans.iter().enumerate() {
        let mut words = between(if number_first { nth + 1 } else { nth });
        let number = text[*from..*to].trim();
        // 张三13800000001（店主）李四: the brackets speak of the number before them.
        if !number_first
            && let Some((aside, rest)) = aside(words)
            && let Some(last) = told.last_mut()
        {
            last.role = last.role.take().or(aside);
            words = rest;
        }
        let (name, role) = match caller(words) {
            Some((name, role)) => (name, role),
            // A second number of the same person.
            None if nth > 0 => {
                let is_name = |word: &str| word.chars().count() > 1 && looks_like_name(word);
                if words.split(|c: char| !c.is_alphabetic()).any(is_name) {
                    return None;
                }
                if let Some(last) = told.last_mut() {
                    last.phones = format!("{}/{number}", last.phones);
                    continue;
                }
                (None, None)
            }
            None => (None, None),
        };
        told.push(Said {
            name,
            phones: number.to_owned(),
            role,
        });
    }
    if !number_first
        && let Some((aside, _)) = aside(between(spans.len()))
        && let Some(last) = told.last_mut().filter(|last| last.name.is_some())
    {
        last.role = last.role.take().or(aside);
    }
    Some(told)
}

/// The role in brackets at the start, if it is one, and what follows the brackets.
fn aside(words: &str) -> Option<(Option<String>, &str)> {
    let within = words.trim_start().strip_prefix(['(', '（'])?;
    let end = within.find([')', '）'])?;
    let role = within[..end].trim();
    let rest = within[end..].trim_start_matches([')', '）']);
    let is_role = ROLES.contains(&role);
    Some((is_role.then(|| role.to_owned()), rest))
}

/// Words that say that a number follows, longer ones first.
const NUMBER_LABELS: [&str; 11] = [
    "联系电话",
    "联系方式",
    "手机号码",
    "手机号",
    "手机",
    "电话",
    "座机",
    "固话",
    "tel",
    "Tel",
    "TEL",
];

const ROLES: [&str; 22] = [
    "法定代表人",
    "法人代表",
    "紧急联系人",
    "实际经营人",
    "实际经营者",
    "联系人",
    "负责人",
    "经营者",
    "老板娘",
    "老板",
    "店主",
    "店长",
    "店员",
    "房东",
    "业主",
    "法人",
    "经理",
    "员工",
    "合伙人",
    "家属",
    "配偶",
    "物业",
];

/// Whom the words beside a number name: a person, or a role, or both.
fn caller(words: &str) -> Option<(Option<String>, Option<String>)> {
    let plain =
        words.trim_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '(' | ')' | '（' | '）'));
    // 郑五，电话：
    let is_label = |part: &str| {
        let bare = half_width(part);
        let bare = bare.trim_matches([':', ' ', '.']);
        bare.is_empty() || NUMBER_LABELS.contains(&bare)
    };
    let last = plain
        .split(['、', ',', '，', ';', '；', '/', '\n'])
        .rfind(|part| !is_label(part))?;
    let (name, role) = person_of(last)?;
    (name.is_some() || role.is_some()).then_some((name, role))
}

/// 张三, 张三（店主）, 店主张三, 店主：张三, （张三）, 老板.
fn person_of(text: &str) -> Option<(Option<String>, Option<String>)> {
    let text = half_width(text);
    // 1.张三, (2)李四
    let bare = text.trim().trim_start_matches('(');
    let unnumbered = bare.trim_start_matches(|c: char| c.is_ascii_digit());
    let text = (bare.len() - unnumbered.len() <= 2 && unnumbered.len() < bare.len())
        .then(|| unnumbered.strip_prefix(['.', ')', ':', '、']))
        .flatten()
        .unwrap_or(&text);
    let mut text = text.trim().trim_matches(['(', ')']).to_owned();
    let mut role = None;
    for label in NUMBER_LABELS {
        if let Some(rest) = text.trim_end_matches([':', ' ']).strip_suffix(label) {
            text = rest.trim_end().to_owned();
        }
    }
    if let Some((name, within)) = text.split_once('(') {
        let within = within.trim_end_matches(')').trim().to_owned();
        if within.chars().count() > 10 || within.chars().any(|c| c.is_ascii_digit()) {
            return None;
        }
        role = (!within.is_empty()).then_some(within);
        text = name.trim().to_owned();
    }
    if let Some(known) = ROLES.iter().find(|known| text.starts_with(**known)) {
        let rest = text[known.len()..].trim_start_matches([':', ' ']).trim();
        if rest.is_empty() {
            return Some((None, Some((*known).to_owned())));
        }
        if looks_like_name(rest) {
            let named = !matches!(*known, "联系人");
            return Some((
                Some(rest.to_owned()),
                role.or_else(|| named.then(|| (*known).to_owned())),
            ));
        }
    }
    let text = text.trim_end_matches([':', ' ']);
    looks_like_name(text).then(|| (Some(text.to_owned()), role))
}

/// The names of a name cell that lists several, each with the role beside it; none where it does not. And whether it lists something that is no name
/// beside one that is.
fn names(text: &str) -> (Vec<(String, Option<String>)>, bool) {
    // A role in brackets may stand in a line of its own.
    let text = text.replace("\n（", "（").replace("\n(", "(");
    let text = text.as_str();
    let joined: Vec<&str> = text.split(['和', '与', '及']).map(str::trim).collect();
    let is_pair = joined.len() > 1
        && joined
            .iter()
            .all(|part| part.chars().count() > 1 && looks_like_name(part));
    if is_pair {
        let name = |part: &&str| ((*part).to_owned(), None);
        return (joined.iter().map(name).collect(), false);
    }
    let parts: Vec<&str> = text
        .split(['、', ',', '，', ';', '；', '/', '\n', '&', '|', '｜'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect();
    let is_list = parts.len() > 1;
    let spaced: Vec<&str> = text.split_whitespace().collect();
    let parts = match parts.len() {
        // 张三 李四, but not 欧阳 娜娜 and not 张 三.
        1 if spaced.len() > 1
            && spaced.iter().all(|part| part.chars().count() >= 2)
            && !COMPOUND.contains(&spaced[0]) =>
        {
            spaced
        }
        _ => parts,
    };
    let told: Vec<(String, Option<String>)> = parts
        .iter()
        .filter_map(|part| {
            if is_list && is_latin_name(part) {
                return Some(((*part).to_owned(), None));
            }
            let (name, role) = person_of(part)?;
            Some((name?, role))
        })
        .collect();
    if told.len() == parts.len() {
        (told, false)
    } else {
        (Vec::new(), is_list && !told.is_empty())
    }
}

/// John, John Smith: in a list of people.
fn is_latin_name(text: &str) -> bool {
    text.len() > 1
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text
            .chars()
            .all(|c| c.is_ascii_alphabetic() || matches!(c, ' ' | '.' | '-' | '\''))
}

/// The commonest family names.
const SURNAMES: &str = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林罗高郑梁谢宋唐许邓冯韩曹曾彭萧蔡潘田董袁于余叶蒋杜苏魏程吕丁沈任姚卢傅钟姜崔谭廖范汪陆金石戴贾韦夏邱方侯邹熊孟秦白江阎薛尹段雷黎史龙陶贺顾毛郝龚邵万钱严赖覃洪武莫孔汤向常温康施文牛樊葛邢安齐易乔伍庞颜倪庄聂章鲁岳翟殷詹申欧耿关兰焦俞左柳甘祝包宁尚符舒阮柯纪梅童凌毕单季裴霍涂成苗谷盛曲翁冉骆蓝路游辛靳管柴蒙鲍华喻祁蒲房滕屈饶解牟艾尤阳时穆农司卓古吉缪简车项连芦麦褚娄窦戚岑景党宫费卜冷晏席卫米柏宗瞿桂全佟应臧闵苟邬边卞姬师和仇栾隋商刁沙荣巫寇桑郎甄丛仲虞敖巩明佘池查麻苑迟邝沃";
/// Family names of two characters.
const COMPOUND: [&str; 10] = [
    "欧阳", "司马", "上官", "诸葛", "司徒", "东方", "皇甫", "尉迟", "公孙", "令狐",
];
/// Behind a family name, instead of a given one.
const TITLES: [&str; 22] = [
    "先生",
    "女士",
    "小姐",
    "老板娘",
    "老板",
    "阿姨",
    "师傅",
    "经理",
    "店长",
    "老师",
    "主任",
    "太太",
    "医生",
    "律师",
    "总",
    "姐",
    "哥",
    "嫂",
    "叔",
    "伯",
    "婶",
    "工",
];
/// Words beside a number that begin like a name.
const NO_NAMES: [&str; 26] = [
    "电话", "手机", "座机", "固话", "微信", "办公", "总机", "前台", "店里", "家里", "白天", "晚上",
    "上午", "下午", "备用", "短号", "同号", "同上", "分机", "传真", "联系", "号码", "单位", "门店",
    "无", "或",
];

/// Whether a text is what a person is called: 张三, 欧阳娜娜, 王老板, 小李, 阿依古丽·买买提.
pub(crate) fn looks_like_name(text: &str) -> bool {
    let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let chars: Vec<char> = plain.chars().collect();
    let is_han = |c: char| c.is_alphabetic() && !c.is_ascii();
    if NO_NAMES.iter().any(|word| plain.contains(word)) {
        return false;
    }
    if plain.contains(['·', '•', '・']) {
        let parts: Vec<&str> = plain.split(['·', '•', '・']).collect();
        return parts.len() > 1
            && parts
                .iter()
                .all(|part| (1..=8).contains(&part.chars().count()) && part.chars().all(is_han));
    }
    let Some(first) = chars.first() else {
        return false;
    };
    if !chars.iter().all(|c| is_han(*c)) {
        return false;
    }
    if matches!(first, '老' | '小' | '阿') && (2..=3).contains(&chars.len()) {
        return true;
    }
    let simple = fold(&first.to_string());
    let is_surname = SURNAMES.contains(simple.as_str());
    let titled = |from: usize| {
        let rest: String = chars.iter().skip(from).collect();
        TITLES.iter().any(|title| rest.ends_with(title)) && rest.chars().count() <= 5
    };
    let compound: String = chars.iter().take(2).collect();
    if COMPOUND.contains(&compound.as_str()) {
        return (3..=4).contains(&chars.len()) || titled(2);
    }
    is_surname && (chars.len() <= 3 || chars.len() == 4 && titled(1) || titled(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, phones: &str) -> Vec<String> {
        match people(name, phones) {
            People::One { unclear } => vec![if unclear { "unclear" } else { "one" }.to_owned()],
            People::Told(said) => said
                .into_iter()
                .map(|said| {
                    format!(
                        "{}|{}|{}",
                        said.name.unwrap_or_default(),
                        said.phones,
                        said.role.unwrap_or_default()
                    )
                })
                .collect(),
        }
    }

    #[test]
    fn several_people_in_one_cell() {
        let two = ["张三|13800000001|", "李四|13900000002|"];
        for (name, phones) in [
            ("张三 13800000001、李四 13900000002", ""),
            ("张三13800000001，李四13900000002", ""),
            ("张三：13800000001；李四：13900000002", ""),
            ("张三13800000001\n李四13900000002", ""),
            ("张三 13800000001 李四 13900000002", ""),
            ("13800000001张三、13900000002李四", ""),
            ("13800000001（张三）13900000002（李四）", ""),
            ("", "张三13800000001/李四13900000002"),
            ("张三、李四", "张三13800000001、李四13900000002"),
            ("张三", "13800000001、李四13900000002"),
            ("张三、李四", "13800000001、13900000002"),
            ("张三/李四", "13800000001/13900000002"),
            ("张三\n李四", "13800000001\n13900000002"),
            ("张三 李四", "13800000001 13900000002"),
        ] {
            assert_eq!(told(name, phones), two, "{name} {phones}");
        }
        assert_eq!(
            told("张三（店主）13800000001、房东李四13900000002", ""),
            ["张三|13800000001|店主", "李四|13900000002|房东"]
        );
        assert_eq!(
            told("", "老板13800000001 老板娘13900000002"),
            ["|13800000001|老板", "|13900000002|老板娘"]
        );
        for (name, phones) in [
            ("1.张三 13800000001\n2.李四 13900000002", ""),
            ("1)张三 13800000001；2)李四 13900000002", ""),
            ("张三|李四", "13800000001|13900000002"),
        ] {
            assert_eq!(told(name, phones), two, "{name}");
        }
        assert_eq!(
            told("张小三和李四", "13800000001、13900000002"),
            ["张小三|13800000001|", "李四|13900000002|"]
        );
        assert_eq!(told("李和平", "13800000001"), ["one"]);
        assert_eq!(told("张三\n（店长）", "13800000001"), ["one"]);
        for text in [
            "张三 13800000001（店主） 李四 13900000002（房东）",
            "张三13800000001(店主)、李四13900000002(房东)",
            "店主：张三，电话：13800000001；房东：李四，电话：13900000002",
        ] {
            let expected = ["张三|13800000001|店主", "李四|13900000002|房东"];
            assert_eq!(told(text, ""), expected, "{text}");
            assert_eq!(told("", text), expected, "{text}");
        }
        assert_eq!(
            told("张三，电话：13800000001；李四，手机号码：13900000002", ""),
            two
        );
        assert_eq!(
            told("买买提·艾力、John", "13800000001、13900000002"),
            ["买买提·艾力|13800000001|", "John|13900000002|"]
        );
        assert_eq!(told("王小明13800000001", ""), ["王小明|13800000001|"]);
        assert_eq!(
            told("王小明13800000001", "021-50000000"),
            ["王小明|13800000001/021-50000000|"]
        );
        assert_eq!(told("张三、李四", ""), ["张三||", "李四||"]);
        assert_eq!(
            told("张三", "李四13900000002"),
            ["张三||", "李四|13900000002|"]
        );
        assert_eq!(told("张三", "老板13900000002"), ["张三|13900000002|老板"]);
        assert_eq!(
            told("张三\n李四", "\n13900000002"),
            ["张三||", "李四|13900000002|"]
        );
        assert_eq!(
            told(
                "张三\n\nJohn Smith",
                "13800000001\n13700000003\n13900000002"
            ),
            [
                "张三|13800000001|",
                "|13700000003|",
                "John Smith|13900000002|"
            ]
        );
    }

    #[test]
    fn what_is_one_person_stays_one() {
        for (name, phones) in [
            ("张三", "13800000001"),
            ("张三", "13800000001/13900000002"),
            ("张三", "手机13800000001 座机50000000"),
            ("张三", "白天13800000001晚上13900000002"),
            ("欧阳 娜娜", "13800000001/13900000002"),
            ("张 三", "13800000001"),
            ("阿依古丽·买买提", "13800000001"),
            ("John Smith", "13800000001"),
            ("", "13800000001"),
            ("", ""),
        ] {
            assert_eq!(told(name, phones), ["one"], "{name} {phones}");
        }
        assert_eq!(told("张三、李四", "13800000001"), ["unclear"]);
        assert_eq!(told("张三、食堂", "13800000001/13900000002"), ["unclear"]);
        assert_eq!(
            told("张三13800000001 的朋友 李四 那里 13900000002", ""),
            ["unclear"]
        );
        assert_eq!(
            told("张三、李四", "13800000001/13900000002/13700000003"),
            ["unclear"]
        );
    }

    #[test]
    fn names_and_what_only_begins_like_one() {
        for name in [
            "张三",
            "王老板",
            "小李",
            "欧阳娜娜",
            "陈",
            "黃磊曉",
            "阿依古丽·买买提",
            "王小姐",
        ] {
            assert!(looks_like_name(name), "{name}");
        }
        for other in ["合格", "有", "手机", "13800000001", "有限公司", "白天", ""] {
            assert!(!looks_like_name(other), "{other}");
        }
    }
}
